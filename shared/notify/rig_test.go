package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/seal"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a time that only tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// rig is one installation: a store, a box, and any number of hubs on them.
type rig struct {
	*clock
	t     *testing.T
	store *memory.Store
	docs  *docs
	box   *seal.Box
	o     notify.Options
	hub   *notify.Hub
	logs  bytes.Buffer
}

func newRig(t *testing.T, edit ...func(*notify.Options)) *rig {
	t.Helper()
	box := sealtest.Box(t)
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	r := &rig{t: t, clock: &clock{at: start}, store: s, docs: &docs{Docs: s}, box: box}
	dialer := &net.Dialer{}
	r.o = notify.Options{
		Docs: r.docs, Leases: s, Box: box, HTTP: &http.Client{}, Dial: dialer.DialContext, Now: r.Now,
		Log:           slog.New(slog.NewTextHandler(&r.logs, nil)),
		AdminAccounts: func(context.Context) ([]string, error) { return []string{"root"}, nil },
		PublicURL:     "https://gate.example",
	}
	for _, e := range edit {
		e(&r.o)
	}
	r.hub = notify.New(r.o)
	return r
}

// another is a hub of another instance on the same store.
func (r *rig) another() *notify.Hub { return notify.New(r.o) }

// docs counts calls and can fail, or act before one.
type docs struct {
	store.Docs
	mu    sync.Mutex
	calls int
	fail  func(verb, kind string) error
}

func (d *docs) note(verb, kind string) error {
	d.mu.Lock()
	d.calls++
	fail := d.fail
	d.mu.Unlock()
	if fail != nil {
		return fail(verb, kind)
	}
	return nil
}

func (d *docs) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

func (d *docs) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := d.note("get", kind); err != nil {
		return store.Doc{}, err
	}
	return d.Docs.Get(ctx, kind, id)
}

func (d *docs) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	if err := d.note("list", kind); err != nil {
		return nil, err
	}
	return d.Docs.List(ctx, kind, account, after, limit)
}

func (d *docs) Create(ctx context.Context, doc store.Doc) (int64, error) {
	if err := d.note("create", doc.Kind); err != nil {
		return 0, err
	}
	return d.Docs.Create(ctx, doc)
}

func (d *docs) Replace(ctx context.Context, doc store.Doc) (int64, error) {
	if err := d.note("replace", doc.Kind); err != nil {
		return 0, err
	}
	return d.Docs.Replace(ctx, doc)
}

func (d *docs) Delete(ctx context.Context, kind, id string, version int64) error {
	if err := d.note("delete", kind); err != nil {
		return err
	}
	return d.Docs.Delete(ctx, kind, id, version)
}

func jsonText(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// channel makes an enabled channel of an account, with subscriptions to the events.
func (r *rig) channel(account, kind string, config any, events ...core.EventType) notify.Channel {
	r.t.Helper()
	ctx := r.t.Context()
	normal, err := notify.ParseConfig(kind, jsonText(r.t, config))
	if err != nil {
		r.t.Fatal(err)
	}
	id, err := r.hub.NextID(ctx, store.KindChannel)
	if err != nil {
		r.t.Fatal(err)
	}
	c := notify.Channel{ID: id, Account: account, Name: "c", Kind: kind, Config: r.hub.Seal(id, normal), Enabled: true, CreatedAt: r.Now()}
	if _, err := r.hub.Channels.Create(ctx, c); err != nil {
		r.t.Fatal(err)
	}
	for _, e := range events {
		r.subscribe(account, id, e)
	}
	r.hub.Changed(account)
	return c
}

func (r *rig) subscribe(account, channel string, e core.EventType) notify.Subscription {
	r.t.Helper()
	id, err := r.hub.NextID(r.t.Context(), store.KindSubscription)
	if err != nil {
		r.t.Fatal(err)
	}
	s := notify.Subscription{ID: id, Account: account, Channel: channel, Event: e, Enabled: true, CreatedAt: r.Now()}
	if _, err := r.hub.Subscriptions.Create(r.t.Context(), s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func failed(account, subject string) core.Event {
	return core.Event{Type: core.EventNodeFailed, Account: account, Subject: subject, Node: strings.TrimPrefix(subject, "node "),
		Name: "main", Text: "It answered 503 three times.", At: start}
}

func (r *rig) emit(h *notify.Hub, e core.Event) {
	r.t.Helper()
	if err := h.Emit(r.t.Context(), e); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) deliver(h *notify.Hub) notify.Report {
	r.t.Helper()
	rep, err := h.Deliver(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return rep
}

func (r *rig) want(h *notify.Hub, why string, sent, failed, left int) {
	r.t.Helper()
	want := notify.Report{Sent: sent, Failed: failed, Left: left}
	if got := r.deliver(h); got != want {
		r.t.Fatalf("%s: report %+v, want %+v", why, got, want)
	}
}

func (r *rig) outbox() []notify.Notice {
	r.t.Helper()
	rows, err := r.hub.Notices.All(r.t.Context(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	var out []notify.Notice
	for _, row := range rows {
		out = append(out, row.Value)
	}
	return out
}

func (r *rig) history(account string) []notify.Sent {
	r.t.Helper()
	out, err := r.hub.History(r.t.Context(), account, "", 100)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}
