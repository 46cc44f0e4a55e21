package boot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/upstreamtest"
)

// place is a store that can be missing when it is opened.
type place struct {
	store  store.Store
	away   atomic.Bool
	opened atomic.Int64
}

func (p *place) open(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
	p.opened.Add(1)
	if p.away.Load() {
		return boot.Opened{}, errors.New("dynamodb table sluice in eu-west-1: there is no such table")
	}
	return boot.Opened{Store: unclosed{p.store}, Where: "a table"}, nil
}

// output is what a function prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func function(part boot.Part, p *place, env ...string) (*boot.Function, *output) {
	return functionWith(part, p, nil, env...)
}

func functionWith(part boot.Part, p *place, refs boot.References, env ...string) (*boot.Function, *output) {
	m := map[string]string{"STORE_URL": "table:x", "UPSTREAM_ALLOW_PRIVATE": "true"}
	for i := 0; i+1 < len(env); i += 2 {
		m[env[i]] = env[i+1]
	}
	out := &output{}
	f := boot.NewFunction(boot.FunctionOptions{Env: m, Part: part, References: refs, Output: out, Version: "test", Trace: boot.Tracing,
		Openers: map[string]boot.Opener{"table": p.open}})
	return f, out
}

func serve(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, boottest.Request(method, path, body, headers...))
	return w
}

// TestFunctionRecovers: a function whose store is missing starts, answers 503 in each dialect, tells the operator why, and
// serves when the store is there, without asking for it more often than every few seconds.
func TestFunctionRecovers(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	synctest.Test(t, func(t *testing.T) {
		p := &place{store: memory.New()}
		p.away.Store(true)
		f, out := function(boot.Proxy(), p, "UPSTREAM_BASE_URL", up.URL, "UPSTREAM_API_KEY", "k-12345678901234567890", "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123")
		f.Start(t.Context())
		for range 20 {
			w := serve(f, "POST", "/v1/messages", question, "x-api-key", "alpha-proxy-key-123")
			if w.Code != 503 || !strings.Contains(w.Body.String(), `{"type":"error","error":{`) || w.Header().Get("Retry-After") == "" || w.Header().Get("Request-Id") == "" ||
				strings.Contains(w.Body.String(), "eu-west-1") {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
		}
		if w := serve(f, "POST", "/v1/chat/completions", chat, "x-api-key", "x"); w.Code != 503 || !strings.HasPrefix(w.Body.String(), `{"error":{`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if p.opened.Load() != 1 || strings.Count(out.String(), "there is no such table") != 1 || !strings.Contains(out.String(), "STORE_URL") {
			t.Errorf("opened %d times, log:\n%s", p.opened.Load(), out)
		}
		p.away.Store(false)
		time.Sleep(5 * time.Second) // of the bubble
		if w := serve(f, "GET", "/readyz", ""); w.Code != 200 {
			t.Errorf("when the store is there: %d %s", w.Code, w.Body)
		}
		serve(f, "GET", "/readyz", "")
		if p.opened.Load() != 2 {
			t.Errorf("opened %d times", p.opened.Load())
		}
	})
}

// TestFunctionWithBadSettings: each is named in the log, with what to do, and the function lives.
func TestFunctionWithBadSettings(t *testing.T) {
	for _, c := range []struct {
		why  string
		env  []string
		says []string
	}{
		{"no store", []string{"STORE_URL", ""}, []string{"STORE_URL: must be set", "dynamodb://TABLE"}},
		{"a store that functions do not have", []string{"STORE_URL", "sqlite:data/sluice.db"}, []string{"STORE_URL: this program has no store of this kind", "table:"}},
		{"the older gateway's variable", []string{"STORE_URL", "", "PROXY_MYSQL_DSN", "root:pw@tcp(h)/d"}, []string{"STORE_URL: must be set"}},
		{"two problems at once", []string{"PORT", "x", "PROXY_RETRY_MAX", "99"}, []string{"PORT: ", "PROXY_RETRY_MAX: "}},
		{"a master key that is none", []string{"SLUICE_MASTER_KEY", "secret-value"}, []string{"SLUICE_MASTER_KEY: "}},
	} {
		for _, part := range []boot.Part{boot.Proxy(), boot.Admin(), boot.Jobs()} {
			f, out := function(part, &place{store: memory.New()}, c.env...)
			f.Start(t.Context())
			if w := serve(f, "GET", "/v1/models", ""); w.Code != 503 {
				t.Errorf("%s: %d", c.why, w.Code)
			}
			if _, err := f.Job(t.Context(), json.RawMessage(`{"job":"refresh"}`)); err == nil {
				t.Errorf("%s: the job ran", c.why)
			}
			for _, s := range c.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%s: the log lacks %q:\n%s", c.why, s, out)
				}
			}
			if strings.Contains(out.String(), "secret-value") || strings.Contains(out.String(), "root:pw") || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("%s: log\n%s", c.why, out)
			}
		}
	}
}

// TestFunctionDefaultsNeverWork is DESIGN 9: on Lambda a published default does not authenticate, however the request looks
// and whatever is set; the admin function is closed until it has a key, the proxy needs none.
func TestFunctionDefaultsNeverWork(t *testing.T) {
	for _, env := range [][]string{nil, {"ALLOW_DEFAULT_CREDENTIALS", "true"}, {"ADMIN_API_KEY", "admin"}, {"ADMIN_API_KEY", amqKey, "DEFAULT_PROXY_API_KEY", "default-proxy-key"}} {
		p := &place{store: memory.New()}
		proxy, _ := function(boot.Proxy(), p, env...)
		admin, out := function(boot.Admin(), p, env...)
		for _, key := range []string{"default-proxy-key", "admin", amqKey} {
			// from loopback, as under sam local
			if w := serve(proxy, "POST", "/v1/messages", question, "x-api-key", key); w.Code != 403 && w.Code != 401 {
				t.Errorf("%v, %s: %d %s", env, key, w.Code, w.Body)
			}
			for _, path := range []string{"/admin/api/keys", "/admin?admin_key=" + key, "/login", "/api/accounts"} {
				if w := serve(admin, "GET", path, "", "x-admin-key", key); w.Code != 503 || !strings.Contains(w.Body.String(), "ADMIN_API_KEY") {
					t.Errorf("%v, %s of %s: %d %s", env, path, key, w.Code, w.Body)
				}
			}
		}
		if !strings.Contains(out.String(), "until ADMIN_API_KEY is set") {
			t.Errorf("the log:\n%s", out)
		}
	}
	p := &place{store: memory.New()}
	admin, _ := function(boot.Admin(), p, "ADMIN_API_KEY", "my-secure-admin-key")
	if w := serve(admin, "GET", "/admin/api/keys", "", "x-admin-key", "my-secure-admin-key"); w.Code != 200 {
		t.Errorf("with a key of its own: %d %s", w.Code, w.Body)
	}
	if w := serve(admin, "GET", "/admin/api/keys", "", "x-admin-key", "admin"); w.Code == 200 {
		t.Errorf("the default works beside it")
	}
}

// TestFunctionParts: each function serves its own paths and says where others are.
func TestFunctionParts(t *testing.T) {
	p := &place{store: memory.New()}
	proxy, _ := function(boot.Proxy(), p)
	admin, _ := function(boot.Admin(), p, "ADMIN_API_KEY", "my-secure-admin-key")
	for _, c := range []struct {
		f      *boot.Function
		path   string
		status int
	}{
		{proxy, "/admin/api/keys", 404}, {proxy, "/login", 404}, {proxy, "/readyz", 200}, {proxy, "/health", 200}, {proxy, "/api/hello", 200},
		{admin, "/v1/models", 404}, {admin, "/anthropic/v1/messages", 404}, {admin, "/readyz", 200}, {admin, "/login", 200},
	} {
		if w := serve(c.f, "GET", c.path, "", "Accept", "text/html"); w.Code != c.status {
			t.Errorf("%s: %d %s, want %d", c.path, w.Code, w.Body, c.status)
		}
	}
	if w := serve(proxy, "GET", "/", "", "Accept", "text/html"); w.Code != 200 {
		t.Errorf("/ of the proxy leads away: %d %s", w.Code, w.Header().Get("Location"))
	}
}

// refs are references that begin with ref:.
type refs struct {
	fail  atomic.Bool
	reads atomic.Int64
}

func (r *refs) Is(v string) bool { return strings.HasPrefix(v, "ref:") }

func (r *refs) Read(_ context.Context, ref string) (core.Secret, error) {
	r.reads.Add(1)
	if r.fail.Load() {
		return core.Secret{}, errors.New("may not be read: allow it")
	}
	return core.NewSecret(strings.TrimPrefix(ref, "ref:")), nil
}

// TestFunctionReferences: values that lie elsewhere are read at start, and once only; one that cannot be read is named.
func TestFunctionReferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := &refs{}, &place{store: memory.New()}
		r.fail.Store(true)
		f, out := functionWith(boot.Admin(), p, r, "ADMIN_API_KEY", "ref:my-secure-admin-key", "STORE_URL", "ref:table:x", "UPSTREAM_NAME", "ref:left")
		f.Start(t.Context())
		if w := serve(f, "GET", "/admin/api/keys", "", "x-admin-key", "my-secure-admin-key"); w.Code != 503 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if !strings.Contains(out.String(), "ADMIN_API_KEY: may not be read") || !strings.Contains(out.String(), "STORE_URL: may not be read") {
			t.Errorf("log:\n%s", out)
		}
		r.fail.Store(false)
		time.Sleep(5 * time.Second)
		for range 3 {
			if w := serve(f, "GET", "/admin/api/keys", "", "x-admin-key", "my-secure-admin-key"); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		if r.reads.Load() != 4 {
			t.Errorf("%d reads", r.reads.Load())
		}
	})
}

// TestFunctionStopsBeforeTheDeadline: a request ends ten seconds before Lambda kills the process, and is settled.
func TestFunctionStopsBeforeTheDeadline(t *testing.T) {
	for _, c := range []struct{ given, stopped time.Duration }{
		{15 * time.Minute, 15*time.Minute - 10*time.Second}, {30 * time.Second, 20 * time.Second}, {6 * time.Second, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := memory.New()
			f, _ := function(boot.Proxy(), &place{store: s}, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_BASE_URL", "http://127.0.0.1:1", "UPSTREAM_API_KEY", "x")
			f.Start(t.Context())
			ctx, cancel := context.WithTimeout(t.Context(), c.given)
			defer cancel()
			body := &waits{ctx: make(chan struct{})}
			r := boottest.Request("POST", "/v1/messages", question, "x-api-key", "alpha-proxy-key-123").WithContext(ctx)
			r.Body = body
			began := time.Now()
			stop := context.AfterFunc(ctx, func() { t.Error("Lambda has killed the process") })
			w := httptest.NewRecorder()
			done := make(chan struct{})
			go func() { f.ServeHTTP(w, r); close(done) }()
			time.Sleep(c.stopped + time.Millisecond)
			close(body.ctx)
			<-done
			stop()
			if d := time.Since(began); d > c.stopped+time.Second || w.Code != 503 {
				t.Errorf("stopped after %v with %d %s, want %v", d, w.Code, w.Body, c.stopped)
			}
		})
	}
}

// waits is a body that comes late.
type waits struct{ ctx chan struct{} }

func (b *waits) Read([]byte) (int, error) {
	<-b.ctx
	return 0, errors.New("gone")
}

func (b *waits) Close() error { return nil }

// TestFunctionJobs: what the scheduler may send, and what it may not.
func TestFunctionJobs(t *testing.T) {
	f, _ := function(boot.Jobs(), &place{store: memory.New()})
	for _, job := range boot.JobNames() {
		out, err := f.Job(t.Context(), json.RawMessage(`{"job":"`+job+`","more":1}`))
		if err != nil || out.Job != job {
			t.Errorf("%s: %+v, %v", job, out, err)
		}
	}
	for _, ev := range []string{`{}`, `null`, `[]`, `{"job":1}`, `{"job":"drop"}`, `"probe"`, `{"version":"2.0","requestContext":{}}`, `{`, ``} {
		if _, err := f.Job(t.Context(), json.RawMessage(ev)); err == nil {
			t.Errorf("%s was taken for a job", ev)
		}
	}
}

// TestFunctionStartsAgain: a start with settings that were applied before does not apply them again, so that what the API
// changed stays, and asks the store little; other settings are applied.
func TestFunctionStartsAgain(t *testing.T) {
	c := &counted{Store: memory.New()}
	p := &place{store: c}
	env := []string{"DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_BASE_URL", "http://127.0.0.1:1", "UPSTREAM_API_KEY", "x", "SLUICE_MASTER_KEY", seal.NewLocalKey().Reveal()}
	trips := func(env ...string) int64 {
		c.n.Store(0)
		f, out := function(boot.Proxy(), p, env...)
		f.Start(t.Context())
		if w := serve(f, "GET", "/livez", ""); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, out)
		}
		return c.n.Load()
	}
	first := trips(env...)
	if again := trips(env...); again > 4 || again >= first {
		t.Errorf("%d trips again, %d at first", again, first)
	}
	nodes := func() int {
		ns, err := store.NewTables(c, time.Now).Nodes.All(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		return len(ns)
	}
	if nodes() != 1 {
		t.Fatalf("%d nodes", nodes())
	}
	if err := store.NewTables(c, time.Now).Nodes.Delete(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if trips(env...); nodes() != 0 {
		t.Error("the node came back")
	}
	if trips(append(env, "UPSTREAM_API_KEY", "y")...); nodes() != 1 {
		t.Error("a changed variable was not applied")
	}
}

// counted counts the documents read and listed.
type counted struct {
	store.Store
	n atomic.Int64
}

func (c *counted) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	c.n.Add(1)
	return c.Store.Get(ctx, kind, id)
}

func (c *counted) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	c.n.Add(1)
	return c.Store.List(ctx, kind, account, after, limit)
}
