// Package functions_test runs the three real function binaries behind the fake Runtime API.
package functions_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/redis"
	"sluice/tests/lambda/front"
	"sluice/tests/lambda/runtimeapi"
	"sluice/tests/lambda/scenario"
	"sluice/tests/lambda/stores"
)

const (
	proxyKey = "alpha-proxy-key-123"
	adminKey = "my-secure-admin-key"
	question = `{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{"role":"user","content":"Hello"}]}`
	streamed = `{"model":"claude-sonnet-4-5","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Hello"}]}`
)

var built struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// binary builds the functions once, as the Makefile does, and returns one's path.
func binary(t testing.TB, name string) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "functions-"); built.err != nil {
			return
		}
		for _, f := range []string{"proxy", "admin", "healthcheck"} {
			cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w -X main.version=test",
				"-o", filepath.Join(built.dir, f, "bootstrap"), "sluice/functions/"+f)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				built.err = errors.New(string(out))
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, name, "bootstrap")
}

// function is a running function.
type function struct {
	*runtimeapi.Server
	proc *runtimeapi.Process
}

// start runs a function until the test ends, which fails if the function had ended before. env are NAME=value.
func start(t testing.TB, name string, env ...string) *function {
	t.Helper()
	s, err := runtimeapi.New()
	if err != nil {
		t.Fatal(err)
	}
	base := append(stores.Credentials(), "UPSTREAM_ALLOW_PRIVATE=true", "HOME="+t.TempDir())
	p, err := s.Start(binary(t, name), append(base, env...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.Exited():
			t.Errorf("%s ended by itself:\n%s", name, p.Output())
		default:
			p.Stop()
		}
		s.Close()
		for _, secret := range []string{proxyKey, adminKey, "upstream-credential"} {
			if strings.Contains(p.Output(), secret) {
				t.Errorf("the log of %s shows %s:\n%s", name, secret, p.Output())
			}
		}
	})
	return &function{s, p}
}

// serving are the variables of a function that is in order.
func serving(store, upstream string) []string {
	return []string{"STORE_URL=" + store, "UPSTREAM_BASE_URL=" + upstream, "UPSTREAM_API_KEY=upstream-credential",
		"DEFAULT_PROXY_API_KEY=" + proxyKey, "ADMIN_API_KEY=" + adminKey}
}

func (f *function) invoker() front.Invoker {
	return func(ctx context.Context, event []byte, timeout time.Duration) (string, io.ReadCloser, error) {
		a, err := f.Invoke(ctx, event, timeout)
		if err != nil {
			return "", nil, err
		}
		return a.ContentType, a.Body, nil
	}
}

// door puts a kind of front door before a function and returns its address.
func (f *function) door(t testing.TB, d *front.Door) scenario.Host {
	t.Helper()
	d.Invoke = f.invoker()
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	return scenario.Host{Name: "door", URL: srv.URL}
}

// answer invokes with an event and reads the answer to its end.
func (f *function) answer(t testing.TB, event string, timeout time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scenario.Patience)
	defer cancel()
	a, err := f.Invoke(ctx, []byte(event), timeout)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(a.Body)
	return string(b), err
}

// logged waits until the function has printed all of some words on one line.
func (f *function) logged(t testing.TB, words ...string) string {
	t.Helper()
	found := ""
	eventually(t, func() bool {
		for line := range strings.Lines(f.proc.Output()) {
			ok := true
			for _, w := range words {
				ok = ok && strings.Contains(line, w)
			}
			if ok {
				found = line
			}
		}
		return found != ""
	}, func() string { return "no line with " + strings.Join(words, ", ") + " in\n" + f.proc.Output() })
	return found
}

func eventually(t testing.TB, ok func() bool, why func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(scenario.Patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(why())
		}
	}
}

// onStores runs a test on every store that this machine has; the others are skipped loudly.
func onStores(t *testing.T, run func(t *testing.T, url string)) {
	for _, name := range []string{stores.InProcess, stores.Redis, stores.DynamoDB} {
		t.Run(name, func(t *testing.T) { run(t, begin(t, name)) })
	}
}

// begin starts a store, with a table where it needs one.
func begin(t testing.TB, name string) string {
	t.Helper()
	s := server(t, name)
	if name == stores.DynamoDB {
		makeTable(t, s.URL)
	}
	return s.URL
}

func server(t testing.TB, name string) *stores.Server {
	t.Helper()
	s, err := stores.Start(context.Background(), name, t.TempDir())
	switch {
	case errors.Is(err, stores.ErrMissing) && !stores.Required(name):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// makeTable makes a table with the SDK of this process, whose credentials are for DynamoDB Local then.
func makeTable(t testing.TB, url string) {
	t.Helper()
	for _, kv := range stores.Credentials() {
		name, value, _ := strings.Cut(kv, "=")
		t.(interface{ Setenv(name, value string) }).Setenv(name, value)
	}
	if err := dynamodb.CreateTable(context.Background(), url); err != nil {
		t.Fatal(err)
	}
}

// records returns what has been settled in a store.
func records(t testing.TB, url string) []core.Settlement {
	t.Helper()
	var s store.Store
	var err error
	if strings.HasPrefix(url, "dynamodb:") {
		s, err = dynamodb.Open(context.Background(), url, dynamodb.Options{})
	} else {
		s, err = redis.Open(context.Background(), url, redis.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	recs, _, err := s.Records(context.Background(), store.UsageFilter{}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// restEvent and urlEvent are events as API Gateway and function URLs send them.
func restEvent(method, path, body string, headers map[string]string) string {
	return encode(map[string]any{"resource": "/{proxy+}", "path": path, "httpMethod": method, "pathParameters": map[string]any{"proxy": strings.TrimPrefix(path, "/")},
		"headers": headers, "body": body, "isBase64Encoded": false,
		"requestContext": map[string]any{"requestId": "r1", "path": "/prod" + path, "stage": "prod", "identity": map[string]any{"sourceIp": "192.0.2.7"}}})
}

func urlEvent(method, path, body string, headers map[string]string) string {
	return encode(map[string]any{"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers, "body": body, "isBase64Encoded": false,
		"requestContext": map[string]any{"requestId": "u1", "domainName": "x.lambda-url.eu-west-1.on.aws", "stage": "$default",
			"http": map[string]any{"method": method, "path": path, "sourceIp": "192.0.2.7"}}})
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
