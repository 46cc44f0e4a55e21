package boot_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/logging"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/upstreamtest"
)

// TestProbes: without a key, without a secret, also while nothing else is served.
func TestProbes(t *testing.T) {
	g := boottest.Start(t, upstreamEnv(upstreamtest.NewAnthropic(t)))
	g.Secret("sk-ant-your-key")
	far := []string{"Peer", "192.0.2.1:1", "Host", "gate.example"}
	h := g.Want(200, "GET", "/health", "", far...).JSON()
	for f, want := range map[string]any{"status": "healthy", "version": "test", "nodes": 1.0, "keys": 2.0, "accounts": 1.0} {
		if h[f] != want {
			t.Errorf("/health: %s is %v, want %v", f, h[f], want)
		}
	}
	for _, p := range []string{"/livez", "/readyz", "/version", "/"} {
		a := g.Want(200, "GET", p, "", far...)
		if a.Header.Get("Cache-Control") != "no-store" || a.JSON() == nil {
			t.Errorf("%s: %v %s", p, a.Header, a.Body)
		}
		if a := g.Want(200, "HEAD", p, "", far...); len(a.Body) != 0 {
			t.Errorf("HEAD %s has a body", p)
		}
	}
	v := g.Want(200, "GET", "/version", "", far...).JSON()
	for _, f := range []string{"version", "git_commit", "build_date", "build_date_beijing", "go_version"} {
		if _, ok := v[f].(string); !ok || v["version"] != "test" || v["go_version"] != runtime.Version() {
			t.Errorf("/version: %s is missing or wrong: %v", f, v)
		}
	}
	if a := g.Want(200, "GET", "/changelog", "", far...); a.Header.Get("Content-Type") != "text/markdown; charset=utf-8" || !strings.HasPrefix(string(a.Body), "# Changelog") {
		t.Errorf("/changelog: %v %.40s", a.Header, a.Body)
	}
	if a := g.Want(200, "HEAD", "/changelog", "", far...); len(a.Body) != 0 {
		t.Error("HEAD /changelog has a body")
	}
	for _, p := range []string{"/health", "/readyz"} {
		if a := g.Call("POST", p, "{}"); a.Status < 400 {
			t.Errorf("POST %s: %d", p, a.Status)
		}
	}
	if a := g.Call("GET", "/", "", "Accept", "text/html"); a.Status != 303 || a.Header.Get("Location") != "/admin" {
		t.Errorf("a browser at /: %d to %q", a.Status, a.Header.Get("Location"))
	}

	g.Drain.Start()
	g.Want(200, "GET", "/livez", "")
	g.Want(503, "GET", "/readyz", "")
	if s := g.Want(200, "GET", "/health", "").Text("status"); s != "shutting down" {
		t.Errorf("/health while draining: %q", s)
	}
	a := g.Want(503, "POST", "/v1/messages", question, "x-api-key", "default-proxy-key")
	if e, _ := a.JSON()["error"].(map[string]any); a.Header.Get("Retry-After") == "" || a.JSON()["type"] != "error" || e["message"] == "" {
		t.Errorf("a message while draining: retry-after %q, %s", a.Header.Get("Retry-After"), a.Body)
	}
	if a := g.Want(503, "GET", "/admin/api/nodes", "", "x-admin-key", "admin"); a.Text("error") == "" || a.Header.Get("Retry-After") == "" {
		t.Errorf("the admin API while draining: %s", a.Body)
	}
}

// away is a store that stops answering.
type away struct {
	store.Store
	gone bool
}

var errAway = errors.New("dial tcp 10.0.0.5:3306: connection refused")

func (s *away) Ping(ctx context.Context) error {
	if s.gone {
		return errAway
	}
	return s.Store.Ping(ctx)
}

func (s *away) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if s.gone {
		return store.Doc{}, errAway
	}
	return s.Store.Get(ctx, kind, id)
}

func (s *away) Find(ctx context.Context, kind, u string) (store.Doc, error) {
	if s.gone {
		return store.Doc{}, errAway
	}
	return s.Store.Find(ctx, kind, u)
}

// TestStoreAway: the probes say so, nothing inside is told, and an admin is not mistaken for a stranger.
func TestStoreAway(t *testing.T) {
	s := &away{Store: memory.New()}
	g := boottest.StartOn(t, s, map[string]string{"ADMIN_API_KEY": boss})
	ck := g.Call("POST", "/login", "admin_key="+boss, "Content-Type", "application/x-www-form-urlencoded").Header.Get("Set-Cookie")
	s.gone = true
	for target, want := range map[string]int{"/health": 503, "/readyz": 503, "/livez": 200} {
		a := g.Want(want, "GET", target, "")
		if strings.Contains(string(a.Body), "10.0.0.5") {
			t.Errorf("%s tells of our network: %s", target, a.Body)
		}
	}
	for _, h := range [][]string{{"x-api-key", "some-unknown-key-1"}, {"Cookie", strings.Split(ck, ";")[0]}} {
		a := g.Call("GET", "/admin/api/accounts", "", h...)
		if a.Status < 500 || strings.Contains(string(a.Body), "10.0.0.5") {
			t.Errorf("%s: %d %s; want a 5xx that tells nothing", h[0], a.Status, a.Body)
		}
	}
	if a := g.Call("POST", "/v1/messages", question, "x-api-key", "default-proxy-key"); a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("a message: %d %s", a.Status, a.Body)
	}
}

// TestOpenFailures: the error names the variable, and never a password in it.
func TestOpenFailures(t *testing.T) {
	for _, c := range []struct {
		reason, want string
		env          map[string]string
	}{
		{"a store that is not linked", "STORE_URL: ", map[string]string{"STORE_URL": "cassandra://user:hunter2@host/db"}},
		{"no scheme", "STORE_URL: ", map[string]string{"STORE_URL": "hunter2"}},
		{"a DSN of a store that is not linked", "PROXY_MYSQL_DSN: ", map[string]string{"STORE_URL": "", "PROXY_MYSQL_DSN": "user:hunter2@tcp(h:1)/db"}},
		{"a store that does not open", "STORE_URL: ", map[string]string{"STORE_URL": "bad:hunter2"}},
	} {
		conf, err := boottest.Parse(c.env)
		if err != nil {
			t.Fatal(err)
		}
		_, err = boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: conf, Log: logging.Discard(), Openers: map[string]boot.Opener{
			"bad": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) { return boot.Opened{}, errAway }}})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v; want an error that begins with %q and hides the rest", c.reason, err, c.want)
		}
	}
}

// TestMaintain writes sums and removes what expired.
func TestMaintain(t *testing.T) {
	g := boottest.Start(t, upstreamEnv(upstreamtest.NewAnthropic(t), "ADMIN_API_KEY", boss, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123"))
	ask(g, "alpha-proxy-key-123")
	g.Call("POST", "/login", "admin_key="+boss, "Content-Type", "application/x-www-form-urlencoded")
	sessions := func() int {
		docs, err := g.Store.List(t.Context(), store.KindSession, "", "", 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(docs)
	}
	if sessions() != 1 {
		t.Fatalf("%d sessions", sessions())
	}
	g.Advance(25 * time.Hour)
	g.Maintain(t.Context())
	if sessions() != 0 {
		t.Error("the expired session is still stored")
	}
	if n := g.Want(200, "GET", "/api/usage/summary?group_by=hour", "", "x-admin-key", boss).List("summaries"); len(n) != 1 || n[0]["total_requests"] != 1.0 {
		t.Errorf("hourly sums: %v", n)
	}
}
