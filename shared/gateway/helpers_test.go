package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/boot"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/upstreamtest"
)

const (
	operatorKey = "operator-key-of-these-tests"
	proxyKey    = "proxy-key-of-these-tests-01"
	nodeKey     = "node-credential-secret-0123"
	patience    = 30 * time.Second // bounds every wait; nothing that works comes near it

	streamBody = `{"model":"claude-x","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	plainBody  = `{"model":"claude-x","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
)

// TestMain fails the package when a goroutine of the gateway outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !quiet() {
		buf := make([]byte, 1<<20)
		_, _ = os.Stderr.Write(buf[:runtime.Stack(buf, true)])
		_, _ = os.Stderr.WriteString("goroutines of the gateway were left behind\n")
		code = 1
	}
	os.Exit(code)
}

// quiet waits until no goroutine runs the gateway's code.
func quiet() bool {
	buf := make([]byte, 1<<20)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "shared/gateway.(") {
			return true
		}
		<-tick.C
	}
	return false
}

// rig is the whole application over a memory store, behind a real server.
type rig struct {
	t      testing.TB
	app    *boot.App
	store  *memory.Store
	server *httptest.Server
	url    string
	client *http.Client

	mu      sync.Mutex
	running int
	idle    *sync.Cond
}

// newRig starts one; env are pairs of a variable and its value.
func newRig(t testing.TB, env ...string) *rig {
	t.Helper()
	return newRigOn(t, memory.New(), nil, env...)
}

// newRigOn starts one over a store that may have been used before, with a clock of its own unless that is nil.
func newRigOn(t testing.TB, s *memory.Store, now func() time.Time, env ...string) *rig {
	t.Helper()
	return newRigVia(t, s, now, nil, env...)
}

// newRigVia starts one whose upstreams are reached by out, unless that is nil.
func newRigVia(t testing.TB, s *memory.Store, now func() time.Time, out *upstream.Transports, env ...string) *rig {
	t.Helper()
	vars := map[string]string{"STORE_URL": "memory:", "UPSTREAM_ALLOW_PRIVATE": "true", "ADMIN_API_KEY": operatorKey,
		"DEFAULT_PROXY_API_KEY": proxyKey, "ACCESS_LOG": "false"}
	for i := 0; i < len(env); i += 2 {
		vars[env[i]] = env[i+1]
	}
	cfg, err := config.Parse(vars)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: s}
	r.idle = sync.NewCond(&r.mu)
	r.app, err = boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: cfg, Log: slog.New(slog.DiscardHandler), Version: "test", Now: now, Trace: boot.Tracing, Transports: out,
		Openers: map[string]boot.Opener{"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
			return boot.Opened{Store: r.store, Where: "memory"}, nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	r.url = r.server.URL
	tr := &http.Transport{DisableCompression: true}
	r.client = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		r.server.Close()
		_ = r.app.Close()
	})
	return r
}

func (r *rig) serve(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.running++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running--
		r.idle.Broadcast()
		r.mu.Unlock()
	}()
	r.app.Handler.ServeHTTP(w, q)
}

// rest waits until no handler runs: what they settle is settled then.
func (r *rig) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.running > 0 {
		r.idle.Wait()
	}
}

// node adds a node to the default account.
func (r *rig) node(name, url string, edits ...func(*core.Node)) string {
	r.t.Helper()
	ctx := r.t.Context()
	id, err := r.app.Tables.NextID(ctx, store.KindNode)
	if err != nil {
		r.t.Fatal(err)
	}
	sealed := r.app.Box.Seal(directory.CredentialOwner(id), core.NewSecret(nodeKey))
	n := core.Node{ID: id, Account: core.DefaultAccount, Name: name, Kind: core.KindAnthropic, BaseURL: url, Credential: sealed, Weight: 1, CreatedAt: time.Now()}
	for _, e := range edits {
		e(&n)
	}
	if _, err := r.app.Tables.Nodes.Create(ctx, n); err != nil {
		r.t.Fatal(err)
	}
	return id
}

func weight(n int) func(*core.Node) { return func(node *core.Node) { node.Weight = n } }

func modelMap(m map[string]string) func(*core.Node) {
	return func(node *core.Node) { node.ModelMap = m }
}

// fakeNode adds a node that is a fake of its own.
func (r *rig) fakeNode(name string, edits ...func(*core.Node)) *upstreamtest.Anthropic {
	r.t.Helper()
	up := upstreamtest.NewAnthropic(r.t)
	r.node(name, up.URL, edits...)
	return up
}

// key makes a key of the default account and returns its credential.
func (r *rig) key(edits ...func(*core.Key)) (id, credential string) {
	r.t.Helper()
	ctx := r.t.Context()
	id, err := r.app.Tables.NextID(ctx, store.KindKey)
	if err != nil {
		r.t.Fatal(err)
	}
	credential = seal.NewKey().Reveal()
	k := core.Key{ID: id, Account: core.DefaultAccount, Hashes: []string{r.app.Box.Hash(credential)}, Scopes: []core.Scope{core.ScopeInference}}
	for _, e := range edits {
		e(&k)
	}
	if _, err := r.app.Tables.Keys.Create(ctx, k); err != nil {
		r.t.Fatal(err)
	}
	return id, credential
}

func limits(l core.Limits) func(*core.Key) { return func(k *core.Key) { k.Limits = l } }

func (r *rig) editKey(id string, edit func(*core.Key)) {
	r.t.Helper()
	if _, err := r.app.Tables.Keys.Update(r.t.Context(), id, func(k *core.Key) error { edit(k); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) editNode(id string, edit func(*core.Node)) {
	r.t.Helper()
	if _, err := r.app.Tables.Nodes.Update(r.t.Context(), id, func(n *core.Node) error { edit(n); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) editAccount(edit func(*core.Account)) {
	r.t.Helper()
	if _, err := r.app.Tables.Accounts.Update(r.t.Context(), core.DefaultAccount, func(a *core.Account) error { edit(a); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// state is what is saved of a node.
func (r *rig) state(id string) core.NodeState {
	r.t.Helper()
	r.rest()
	row, err := r.app.Tables.States.Get(r.t.Context(), id)
	if err != nil && !store.Missing(err) {
		r.t.Fatal(err)
	}
	return row.Value
}

// records are all settlements, oldest first.
func (r *rig) records() []core.Settlement {
	r.t.Helper()
	r.rest()
	got, _, err := r.store.Records(r.t.Context(), store.UsageFilter{}, "", 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
		got[i], got[j] = got[j], got[i]
	}
	return got
}

// record is the only settlement there is.
func (r *rig) record() core.Settlement {
	r.t.Helper()
	got := r.records()
	if len(got) != 1 {
		r.t.Fatalf("got %d records, want 1: %+v", len(got), got)
	}
	return got[0]
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // why the body ended early
}

// request makes a request with the proxy key; headers are pairs.
func (r *rig) request(ctx context.Context, method, path, body string, headers ...string) *http.Request {
	r.t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	q, err := http.NewRequestWithContext(ctx, method, r.url+path, rd)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("X-Api-Key", proxyKey)
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			q.Header.Del(headers[i])
			continue
		}
		q.Header.Set(headers[i], headers[i+1])
	}
	return q
}

func (r *rig) send(q *http.Request) reply {
	r.t.Helper()
	resp, err := r.client.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), err}
}

func (r *rig) do(method, path, body string, headers ...string) reply {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	return r.send(r.request(ctx, method, path, body, headers...))
}

func (r *rig) post(body string, headers ...string) reply {
	r.t.Helper()
	return r.do(http.MethodPost, "/v1/messages", body, headers...)
}

type event struct{ name, data string }

// parse cuts a stream into events, strictly: each has its two lines, whole.
func parse(t testing.TB, body string) []event {
	t.Helper()
	var out []event
	body = strings.ReplaceAll(body, "\r\n", "\n")
	if body != "" && !strings.HasSuffix(body, "\n\n") {
		t.Fatalf("torn event at the end of %q", tail(body))
	}
	for chunk := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		if chunk == "" || strings.HasPrefix(chunk, ":") {
			continue
		}
		name, data, ok := strings.Cut(chunk, "\n")
		if !ok || !strings.HasPrefix(name, "event: ") || !strings.HasPrefix(data, "data: ") {
			t.Fatalf("not an event: %q", chunk)
		}
		out = append(out, event{name[7:], data[6:]})
	}
	return out
}

func tail(s string) string {
	if len(s) > 300 {
		return s[len(s)-300:]
	}
	return s
}

// names lists the events, without pings.
func names(es []event) string {
	var out []string
	for _, e := range es {
		if e.name != "ping" {
			out = append(out, strings.TrimPrefix(strings.TrimPrefix(e.name, "content_"), "message_"))
		}
	}
	return strings.Join(out, " ")
}

// text joins the text deltas.
func text(es []event) string {
	var sb strings.Builder
	for _, e := range es {
		var d struct{ Delta struct{ Text string } }
		if e.name == "content_block_delta" && json.Unmarshal([]byte(e.data), &d) == nil {
			sb.WriteString(d.Delta.Text)
		}
	}
	return sb.String()
}

// lastError is the error event that ends a stream; the zero value when none does.
func lastError(t testing.TB, es []event) (typ, message string) {
	t.Helper()
	n := 0
	for _, e := range es {
		if e.name == "error" {
			n++
		}
	}
	if n == 0 {
		return "", ""
	}
	if n > 1 || es[len(es)-1].name != "error" {
		t.Fatalf("got %d error events in %s, want one at the end", n, names(es))
	}
	var body struct {
		Error struct{ Type, Message string }
	}
	if err := json.Unmarshal([]byte(es[len(es)-1].data), &body); err != nil {
		t.Fatal(err)
	}
	return body.Error.Type, body.Error.Message
}

// wantStream checks a clean stream and its text.
func wantStream(t testing.TB, got reply, want string) {
	t.Helper()
	if got.status != 200 || got.err != nil {
		t.Fatalf("got status %d, error %v: %s", got.status, got.err, tail(got.body))
	}
	es := parse(t, got.body)
	if n := names(es); !strings.HasSuffix(n, "delta stop") || strings.Contains(n, "error") {
		t.Fatalf("got events %s, want a clean end", n)
	}
	if text(es) != want {
		t.Fatalf("got text %q, want %q", text(es), want)
	}
}

// leaks are words that no client may read: addresses of nodes and the language's own error texts.
var leaks = []string{"127.0.0.1", "http://", "dial", "goroutine", "EOF", "context ", "connect:", ".go:", nodeKey, "panic"}

// wantError checks one of the gateway's own errors in all its parts.
func wantError(t testing.TB, got reply, status int, typ, says string) {
	t.Helper()
	if got.status != status {
		t.Fatalf("got status %d, want %d: %s", got.status, status, tail(got.body))
	}
	var body struct {
		Type  string `json:"type"`
		Error struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
		RequestID string `json:"request_id"`
	}
	dec := json.NewDecoder(strings.NewReader(got.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	if body.Type != "error" || body.Error.Type != typ || !strings.Contains(body.Error.Message, says) {
		t.Errorf("got %s, want %s %q", got.body, typ, says)
	}
	if id := got.header.Get("Request-Id"); id == "" || body.RequestID != id {
		t.Errorf("got request_id %q, header request-id %q", body.RequestID, id)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("got content type %q", ct)
	}
	for _, word := range leaks {
		if strings.Contains(body.Error.Message, word) {
			t.Errorf("the message tells %q: %s", word, got.body)
		}
	}
}

// open starts a streamed request and returns the answer with its body unread.
func (r *rig) open(ctx context.Context, body string, headers ...string) (*http.Response, *bufio.Reader) {
	r.t.Helper()
	resp, err := r.client.Do(r.request(ctx, http.MethodPost, "/v1/messages", body, headers...))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp, bufio.NewReader(resp.Body)
}

// readUntil reads lines until one contains the word.
func readUntil(t testing.TB, rd *bufio.Reader, word string) {
	t.Helper()
	for {
		line, err := rd.ReadString('\n')
		if strings.Contains(line, word) {
			return
		}
		if err != nil {
			t.Fatalf("stream ended before %q: %v", word, err)
		}
	}
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func contextWithCancel(q *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(q.Context())
}

// newCutServer announces ten bytes and sends five.
func newCutServer(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "12345")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// newStatusServer answers everything alike.
func newStatusServer(t testing.TB, status int, header map[string]string, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
