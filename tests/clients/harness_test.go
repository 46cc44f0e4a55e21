// Package clients_test drives the real clients (the official Go and TypeScript SDKs of Anthropic and OpenAI, the AI SDK,
// Claude Code, Codex) against the real gateway binary in front of fake upstreams. Every test has its own gateway with its
// own store; what the clients send and what the upstream then sees is compared on both sides.
//
// The folder is a module of its own, so that the SDKs are no dependencies of the gateway. Run it with run.sh, which
// installs the npm clients first. A client that is missing fails its tests. With CLIENTS_RACE=1 the gateway is built with
// the race detector. CLIENTS_HOST says what the gateway is: "local" (default) the server, "rest" and "url" the Lambda
// functions; then a store that is missing and not in STORETEST_REQUIRE ends the run with a line that says so.
package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
	"sluice/tests/lambda/stores"
)

// The credentials of every gateway here. No two are alike, so that a mix-up shows.
const (
	proxyKey    = "client-suite-proxy-key-0001"
	adminKey    = "client-suite-admin-key-0002"
	upstreamKey = "client-suite-upstream-key-0003"
)

const (
	model     = "claude-sonnet-5-5"
	startWait = 20 * time.Second
	stopWait  = 40 * time.Second // the gateway's own grace is 25 s
	settle    = 10 * time.Second // for usage to show in the admin API
)

// binary is the gateway that all tests start, where lambda is nil.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	switch name := os.Getenv("CLIENTS_HOST"); name {
	case "", "local":
		binary = filepath.Join(dir, "sluice")
		err = build(binary, "./local")
	default:
		lambda, err = newLambdaHost(name, dir)
		if errors.Is(err, stores.ErrMissing) && !stores.Required(lambda.store) {
			fmt.Fprintf(os.Stderr, "CLIENTS_HOST=%s: %v\n", name, err)
			return 0
		}
		if err == nil {
			defer lambda.server.Stop()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds a program of the gateway's module.
func build(out, pkg string, flags ...string) error {
	args := append([]string{"build", "-o", out}, flags...)
	if os.Getenv("CLIENTS_RACE") != "" {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = filepath.Join("..", "..")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the gateway: %w\n%s", err, said)
	}
	return nil
}

// own is the HTTP client of the tests themselves. A gateway that hangs must fail a test, not hang it.
var own = &http.Client{Timeout: 20 * time.Second}

// gateway is a running gateway.
type gateway struct {
	URL string

	t   *testing.T
	cmd *exec.Cmd     // of the server; nil: functions
	log *lockedBuffer // of the server
}

// lockedBuffer is a buffer that a process writes while the test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var announced = regexp.MustCompile(`127\.0\.0\.1:[1-9][0-9]*`)

// startGateway starts a gateway in front of the Anthropic upstream at url, or without a node where that is empty, with
// nothing in its environment but what is named here and env, a list of NAME=VALUE. At the end of the test it must stop
// cleanly.
func startGateway(t *testing.T, url string, env ...string) *gateway {
	t.Helper()
	if lambda != nil {
		return lambda.start(t, url, env...)
	}
	g := &gateway{t: t, log: &lockedBuffer{}, cmd: exec.Command(binary)}
	g.cmd.Dir = t.TempDir()
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	g.cmd.Env = append([]string{
		"LISTEN_ADDR=127.0.0.1:0", "STORE_URL=sqlite:" + filepath.Join(g.cmd.Dir, "sluice.db"),
		"DEFAULT_PROXY_API_KEY=" + proxyKey, "ADMIN_API_KEY=" + adminKey,
	}, env...)
	if url != "" {
		g.cmd.Env = append(g.cmd.Env, "UPSTREAM_BASE_URL="+url, "UPSTREAM_API_KEY="+upstreamKey, "UPSTREAM_NAME=first")
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- g.cmd.Wait() }()
	t.Cleanup(func() { g.stop(exited) })
	poll(t, startWait, "the gateway's address", func() bool {
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("the gateway ended at its start: %v\n%s", err, g.log)
		default:
		}
		if addr := announced.FindString(g.log.String()); addr != "" {
			g.URL = "http://" + addr
		}
		return g.URL != ""
	})
	poll(t, startWait, "readyz", g.ready)
	return g
}

// ready asks whether the gateway takes requests.
func (g *gateway) ready() bool {
	resp, err := own.Get(g.URL + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// stop ends the process as a service manager would, and demands a clean exit.
func (g *gateway) stop(exited <-chan error) {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopWait)
	defer timer.Stop()
	select {
	case err := <-exited:
		if err != nil {
			g.t.Errorf("the gateway's exit: %v", err)
		}
	case <-timer.C:
		_ = g.cmd.Process.Kill()
		<-exited
		g.t.Error("the gateway did not stop")
	}
	if g.t.Failed() {
		g.t.Logf("the gateway's output:\n%s", g.log)
	}
}

// poll calls ok every few milliseconds until it reports true, and fails the test when that takes too long.
func poll(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// admin calls the admin API and decodes its answer into out.
func (g *gateway) admin(method, path string, in, out any) {
	g.t.Helper()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			g.t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, g.URL+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("X-Admin-Key", adminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := own.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		g.t.Fatalf("%s %s: status %d, %v: %s", method, path, resp.StatusCode, err, data)
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			g.t.Fatalf("%s %s: %v: %s", method, path, err, data)
		}
	}
}

// addNode adds a node that takes the operator's key, and returns its id.
func (g *gateway) addNode(name, url string) string {
	g.t.Helper()
	var out struct{ ID string }
	g.admin(http.MethodPost, "/admin/api/nodes", map[string]any{"name": name, "base_url": url, "api_key": upstreamKey}, &out)
	return out.ID
}

// activate makes a node the first choice.
func (g *gateway) activate(id string) {
	g.t.Helper()
	g.admin(http.MethodPost, "/admin/api/nodes/activate", map[string]string{"id": id}, nil)
}

// usage is one line of GET /api/usage/logs.
type usage struct {
	RequestID    string `json:"request_id"`
	KeyID        string `json:"key_id"`
	UpstreamID   string `json:"upstream_request_id"`
	NodeName     string `json:"node_name"`
	Endpoint     string `json:"endpoint"`
	ModelID      string `json:"model_id"`
	Session      string `json:"session_id"`
	Stream       bool   `json:"stream"`
	Status       int    `json:"status"`
	ErrorCode    string `json:"error_code"`
	Attempts     int    `json:"attempts"`
	InputTokens  int64  `json:"input_tokens"`
	OutputTokens int64  `json:"output_tokens"`
	Uncached     int64  `json:"uncached_input_tokens"`
	CacheRead    int64  `json:"cache_read_tokens"`
	CacheWrite5m int64  `json:"cache_write_5m_tokens"`
	CacheWrite1h int64  `json:"cache_write_1h_tokens"`
	Estimated    bool   `json:"estimated"`
	Success      bool   `json:"success"`
}

// usages waits until at least n requests of an endpoint are recorded and returns them in the order in which they came. They
// are recorded as they end, and a client that has seen a stream break may have its next answer before that.
func (g *gateway) usages(endpoint string, n int) []usage {
	g.t.Helper()
	var out []usage
	poll(g.t, settle, fmt.Sprintf("%d usage records of %s", n, endpoint), func() bool {
		var page struct {
			Logs []usage `json:"logs"`
		}
		g.admin(http.MethodGet, "/api/usage/logs?limit=1000", nil, &page)
		out = nil
		for i := len(page.Logs) - 1; i >= 0; i-- {
			if page.Logs[i].Endpoint == endpoint {
				out = append(out, page.Logs[i])
			}
		}
		return len(out) >= n
	})
	const millis = len("req_") + 10 // the time in an id
	slices.SortStableFunc(out, func(a, b usage) int { return strings.Compare(a.RequestID[:millis], b.RequestID[:millis]) })
	return out
}

// checkTokens compares what was recorded of a request with what the upstream reported for it.
func checkTokens(t *testing.T, got usage, want upstreamtest.Usage) {
	t.Helper()
	if got.Uncached != int64(want.Input) || got.CacheRead != int64(want.CacheRead) || got.CacheWrite5m != int64(want.CacheWrite5m) ||
		got.CacheWrite1h != int64(want.CacheWrite1h) || got.OutputTokens != int64(want.Output) || got.Estimated {
		t.Errorf("recorded %+v, the upstream reported %+v", got, want)
	}
}

// checkCredential fails the test if anything of the client's key reached the upstream, or something else than the
// operator's key did.
func checkCredential(t *testing.T, r upstreamtest.Request) {
	t.Helper()
	if got := r.Credential(); got != upstreamKey {
		t.Errorf("%s %s arrived with the credential %q", r.Method, r.Path, got)
	}
	for name, values := range r.Header {
		for _, v := range values {
			if bytes.Contains([]byte(v), []byte(proxyKey)) {
				t.Errorf("the client's key went upstream in %s", name)
			}
		}
	}
	if bytes.Contains(r.Body, []byte(proxyKey)) {
		t.Error("the client's key went upstream in the body")
	}
}

// within returns a context that ends with the test or after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errors.New("the test's own deadline"))
	t.Cleanup(cancel)
	return ctx
}
