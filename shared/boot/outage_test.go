package boot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/upstreamtest"
)

// fragile is a store that can go away.
type fragile struct {
	store.Store
	gone atomic.Bool
}

var errGone = errors.New("dial tcp 10.0.0.1:6379: connect: connection refused")

func (f *fragile) err() error {
	if f.gone.Load() {
		return errGone
	}
	return nil
}

func (f *fragile) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := f.err(); err != nil {
		return store.Doc{}, err
	}
	return f.Store.Get(ctx, kind, id)
}

func (f *fragile) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	if err := f.err(); err != nil {
		return store.Doc{}, err
	}
	return f.Store.Find(ctx, kind, unique)
}

func (f *fragile) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.List(ctx, kind, account, after, limit)
}

func (f *fragile) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := f.err(); err != nil {
		return 0, err
	}
	return f.Store.Create(ctx, d)
}

func (f *fragile) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	if err := f.err(); err != nil {
		return store.AdmitResult{}, err
	}
	return f.Store.Admit(ctx, r)
}

func (f *fragile) Settle(ctx context.Context, r store.SettleRequest) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Settle(ctx, r)
}

func (f *fragile) Generation(ctx context.Context, account string) (int64, error) {
	if err := f.err(); err != nil {
		return 0, err
	}
	return f.Store.Generation(ctx, account)
}

func (f *fragile) Ping(ctx context.Context) error { return errors.Join(f.err(), f.Store.Ping(ctx)) }

const (
	chat     = `{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"Hello"}]}`
	response = `{"model":"claude-sonnet-4-5","input":"Hello"}`
)

// TestStoreAwayInEveryDialect: by default nobody is let in while the store is away; clients are told to come again, each
// in the form it reads.
func TestStoreAwayInEveryDialect(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	s := &fragile{Store: memory.New()}
	g := boottest.StartOn(t, s, upstreamEnv(up, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_ALLOW_PRIVATE", "true", "ADMIN_API_KEY", "my-secure-admin-key"))
	if status, _ := ask(g, "alpha-proxy-key-123"); status != 200 {
		t.Fatalf("status %d", status)
	}
	before := up.Count()
	s.gone.Store(true)
	for _, c := range []struct {
		method, path, body, form string
	}{
		{"POST", "/v1/messages", question, `{"type":"error","error":{`},
		{"POST", "/anthropic/v1/messages", question, `{"type":"error","error":{`},
		{"POST", "/v1/messages/count_tokens", question, `{"type":"error","error":{`},
		{"GET", "/v1/messages/batches", "", `{"type":"error","error":{`},
		{"POST", "/v1/chat/completions", chat, `{"error":{`},
		{"POST", "/openai/v1/chat/completions", chat, `{"error":{`},
		{"POST", "/v1/responses", response, `{"error":{`},
		{"GET", "/v1/models", "", `"error":{`},
	} {
		for _, key := range []string{"alpha-proxy-key-123", "a-key-that-nobody-has-seen-yet"} {
			a := g.Call(c.method, c.path, c.body, "x-api-key", key)
			if a.Status != 503 || a.Header.Get("Retry-After") == "" || !strings.Contains(string(a.Body), c.form) || strings.Contains(string(a.Body), "10.0.0.1") {
				t.Errorf("%s %s with %s: %d, retry-after %q, %s", c.method, c.path, key, a.Status, a.Header.Get("Retry-After"), a.Body)
			}
			if a.Header.Get("X-Should-Retry") == "false" {
				t.Errorf("%s %s: clients are told not to come again", c.method, c.path)
			}
		}
	}
	if up.Count() != before {
		t.Error("requests went upstream")
	}
	if a := g.Call("GET", "/admin/api/nodes", "", "x-admin-key", "my-secure-admin-key"); a.Status < 500 || strings.Contains(string(a.Body), "10.0.0.1") {
		t.Errorf("admin API: %d %s", a.Status, a.Body)
	}
	s.gone.Store(false)
	if status, _ := ask(g, "alpha-proxy-key-123"); status != 200 {
		t.Errorf("status %d when the store is back", status)
	}
}

// TestOutageOpen: those whose key the gateway knows are served, and what they used is stored later; others wait.
func TestOutageOpen(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	s := &fragile{Store: memory.New()}
	dir := filepath.Join(t.TempDir(), "spool")
	g := boottest.StartOn(t, s, upstreamEnv(up, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_ALLOW_PRIVATE", "true", "STORE_OUTAGE", "open", "STORE_SPOOL_DIR", dir))
	if status, _ := ask(g, "alpha-proxy-key-123"); status != 200 {
		t.Fatalf("status %d", status)
	}
	s.gone.Store(true)
	for range 5 {
		a := g.Call("POST", "/v1/messages", question, "x-api-key", "alpha-proxy-key-123")
		if a.Status != 200 {
			t.Fatalf("status %d: %s", a.Status, a.Body)
		}
		for name := range a.Header {
			if strings.HasPrefix(name, "X-Ratelimit") {
				t.Errorf("header %s of limits that nobody looked at", name)
			}
		}
	}
	if status, _ := ask(g, "a-key-that-nobody-has-seen-yet"); status != 503 {
		t.Errorf("status %d for an unknown key", status)
	}
	if !strings.Contains(g.Log(), "let in without limits") {
		t.Errorf("the log does not tell of it:\n%s", g.Log())
	}
	fs, err := os.ReadDir(dir)
	if err != nil || len(fs) != 1 {
		t.Fatalf("files %v, %v", fs, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, fs[0].Name()))
	if err != nil || strings.Count(string(data), "\n") != 5 || strings.Contains(string(data), "Hello") || strings.Contains(string(data), "alpha-proxy-key-123") {
		t.Errorf("%v:\n%s", err, data)
	}
	s.gone.Store(false)
	sums, err := g.Opened.Store.Sums(t.Context(), store.UsageFilter{Account: core.DefaultAccount}, store.GroupNone)
	if err != nil || sums[0].Requests != 6 {
		t.Errorf("%+v, %v, want 6 requests", sums, err)
	}
	if err := g.Opened.Store.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestOutageRestart: a new process stores what the last one could not.
func TestOutageRestart(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	s := &fragile{Store: memory.New()}
	env := upstreamEnv(up, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_ALLOW_PRIVATE", "true", "STORE_OUTAGE", "open", "STORE_SPOOL_DIR", filepath.Join(t.TempDir(), "spool"))
	g := boottest.StartOn(t, s, env)
	_, _ = ask(g, "alpha-proxy-key-123")
	s.gone.Store(true)
	if status, _ := ask(g, "alpha-proxy-key-123"); status != 200 {
		t.Fatalf("status %d", status)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	s.gone.Store(false)
	restart(t, g, env)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	recs, _, err := g.Opened.Store.Records(ctx, store.UsageFilter{}, "", 10)
	if err != nil || len(recs) != 2 {
		t.Errorf("%d records, %v, want 2", len(recs), err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
