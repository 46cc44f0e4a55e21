package clients_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/seal"
	"sluice/shared/store/dynamodb"
	"sluice/tests/lambda/front"
	"sluice/tests/lambda/runtimeapi"
	"sluice/tests/lambda/stores"
)

// lambdaHost runs gateways as they run on AWS: the binaries of the proxy and the admin function behind a fake of Lambda,
// and a front door that makes events of requests and streams of answers, over a store on a server.
type lambdaHost struct {
	door   front.Type // of the proxy, streaming
	manage front.Type // of the admin function, which answers in one piece
	stage  string     // of both: its public paths begin with it
	store  string
	atOnce int // requests that one process serves at once
	dir    string
	server *stores.Server
	n      atomic.Int64 // gateways so far
}

// lambda is the host of all gateways, or nil: they are servers.
var lambda *lambdaHost

// newLambdaHost builds the functions and starts the store. When the server is missing the error is stores.ErrMissing, and
// the host says which store that is.
func newLambdaHost(name, dir string) (*lambdaHost, error) {
	var h *lambdaHost
	switch name {
	case "rest": // as API Gateway: another request is another process
		h = &lambdaHost{door: front.REST, manage: front.RESTBuffered, stage: "/prod", store: stores.DynamoDB, atOnce: 1}
	case "url":
		h = &lambdaHost{door: front.FunctionURL, manage: front.HTTPAPI, store: stores.Redis, atOnce: 16}
	default:
		return nil, fmt.Errorf("CLIENTS_HOST is %q; it can be local, rest or url", name)
	}
	h.dir = dir
	var err error
	if h.server, err = stores.Start(context.Background(), h.store, dir); err != nil {
		return h, err
	}
	for _, kv := range stores.Credentials() { // for the tables that this process makes
		name, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(name, value); err != nil {
			return h, err
		}
	}
	for _, f := range []string{"proxy", "admin"} {
		if err := build(filepath.Join(dir, f, "bootstrap"), "./functions/"+f, "-tags", "lambda.norpc"); err != nil {
			h.server.Stop()
			return h, err
		}
	}
	return h, nil
}

// storeURL is that of a store that nobody else has.
func (h *lambdaHost) storeURL(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("clients%d", h.n.Add(1))
	if h.store == stores.Redis {
		return h.server.URL + "?prefix=" + name + ":"
	}
	url := h.server.Table(name)
	if err := dynamodb.CreateTable(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	return url
}

// start is startGateway for functions. The node is made by the admin function.
func (h *lambdaHost) start(t *testing.T, url string, env ...string) *gateway {
	t.Helper()
	env = append([]string{"STORE_URL=" + h.storeURL(t), "SLUICE_MASTER_KEY=" + seal.NewLocalKey().Reveal(), "UPSTREAM_ALLOW_PRIVATE=true",
		"HOME=" + t.TempDir()}, env...)
	env = append(env, stores.Credentials()...)
	proxy := h.function(t, "proxy", env)
	admin := h.function(t, "admin", append(env, "DEFAULT_PROXY_API_KEY="+proxyKey, "ADMIN_API_KEY="+adminKey))
	model := &front.Door{Type: h.door, Stage: strings.Trim(h.stage, "/"), Invoke: proxy.invoke}
	manage := &front.Door{Type: h.manage, Stage: model.Stage, Invoke: admin.invoke}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if adminapi.Handles(strings.TrimPrefix(r.URL.Path, h.stage)) {
			manage.ServeHTTP(w, r)
		} else {
			model.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	g := &gateway{t: t, URL: srv.URL + h.stage}
	if url != "" {
		g.addNode("first", url)
	}
	poll(t, startWait, "readyz", g.ready)
	return g
}

// function is a deployed function: as many processes as its requests need.
type function struct {
	t      *testing.T
	api    *runtimeapi.Server
	binary string
	env    []string
	atOnce int

	mu    sync.Mutex
	asked int
	procs []*runtimeapi.Process
}

// function deploys one. At the end of the test none of its processes may have ended, no request have failed, and no key be
// in its log.
func (h *lambdaHost) function(t *testing.T, name string, env []string) *function {
	t.Helper()
	api, err := runtimeapi.New()
	if err != nil {
		t.Fatal(err)
	}
	f := &function{t: t, api: api, binary: filepath.Join(h.dir, name, "bootstrap"), env: env, atOnce: h.atOnce}
	if h.atOnce > 1 {
		f.env = append(env[:len(env):len(env)], fmt.Sprintf("AWS_LAMBDA_MAX_CONCURRENCY=%d", h.atOnce))
	}
	t.Cleanup(func() { f.stop(name) })
	return f
}

func (f *function) stop(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.api.Records() {
		if r.Err != nil {
			f.t.Errorf("%s: request %s: %v", name, r.ID, r.Err)
		}
	}
	for _, p := range f.procs {
		select {
		case <-p.Exited():
			f.t.Errorf("%s ended by itself", name)
		default:
			p.Stop()
		}
		for _, key := range []string{proxyKey, adminKey, upstreamKey} {
			if strings.Contains(p.Output(), key) {
				f.t.Errorf("%s logs the key %s", name, key)
			}
		}
		if f.t.Failed() {
			f.t.Logf("output of %s:\n%s", name, p.Output())
		}
	}
	f.api.Close()
}

// invoke is a front.Invoker.
func (f *function) invoke(ctx context.Context, event []byte, timeout time.Duration) (string, io.ReadCloser, error) {
	if err := f.scale(); err != nil {
		return "", nil, err
	}
	a, err := f.api.Invoke(ctx, event, timeout)
	if err != nil {
		return "", nil, err
	}
	return a.ContentType, a.Body, nil
}

// scale starts another process when all are busy, as Lambda does, for one more request.
func (f *function) scale() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	busy := f.asked
	for _, r := range f.api.Records() {
		if r.Done {
			busy--
		}
	}
	if busy <= len(f.procs)*f.atOnce {
		return nil
	}
	p, err := f.api.Start(f.binary, f.env...)
	if err == nil {
		f.procs = append(f.procs, p)
	}
	return err
}

// serverOnly skips a test of what functions cannot do.
func serverOnly(t *testing.T, why string) {
	t.Helper()
	if lambda != nil {
		t.Skip("not on Lambda: " + why)
	}
}
