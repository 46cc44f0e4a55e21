package probe_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/health"
	"sluice/shared/health/probe"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
)

// scripted is a client whose answers the test writes.
type scripted struct {
	mu    sync.Mutex
	asked []string // "node METHOD path"
	most  int      // at a time
	now   int
	reply func(ctx context.Context, node, method string) (int, error)
}

func (c *scripted) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	c.mu.Lock()
	c.asked = append(c.asked, t.Node.ID+" "+r.Method+" "+r.Path)
	c.now++
	c.most = max(c.most, c.now)
	reply := c.reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	}()
	status, err := 200, error(nil)
	if reply != nil {
		status, err = reply(ctx, t.Node.ID, r.Method)
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

func (c *scripted) Classify(status int, h http.Header, _ []byte) upstream.Failure {
	return upstream.ClassifyStatus(status, h)
}

// status makes every node answer so from now on.
func (c *scripted) status(s int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply = func(context.Context, string, string) (int, error) { return s, nil }
}

func (c *scripted) nodes() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.asked {
		id, _, _ := strings.Cut(a, " ")
		ids = append(ids, id)
	}
	return ids
}

// heard keeps events.
type heard struct {
	mu   sync.Mutex
	list []core.Event
}

func (h *heard) Emit(_ context.Context, e core.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, e)
	return nil
}

func (h *heard) count(t core.EventType) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.list {
		if e.Type == t {
			n++
		}
	}
	return n
}

// output is a log.
type output struct {
	mu sync.Mutex
	b  strings.Builder
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

// rig is one instance of a gateway's checks over a store.
type rig struct {
	*probe.Checker
	t       *testing.T
	tables  *store.Tables
	tracker *health.Tracker
	client  *scripted
	events  *heard
	log     *output
	policy  router.Policy

	mu  sync.Mutex
	now time.Time
}

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newRig starts an instance; change may be nil.
func newRig(t *testing.T, s store.Store, change func(*probe.Options)) *rig {
	t.Helper()
	r := &rig{t: t, client: &scripted{}, events: &heard{}, log: &output{}, now: began,
		policy: router.Policy{FailThreshold: 3, TrialAfter: 30 * time.Second, SlowFirstByte: 15 * time.Second, ErrorRate: 0.5}}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.tables = store.NewTables(s, r.clock)
	journal := health.NewJournal(health.JournalOptions{Tables: r.tables, Events: r.events, Log: log, Now: r.clock})
	r.tracker = health.New(health.Options{States: r.tables.States, Log: log, Now: r.clock, Changed: func(ctx context.Context, id string, is core.Condition) {
		r.Noticed()
		journal.Changed(ctx, id, is)
	}})
	o := probe.Options{Tables: r.tables, Leases: s, Tracker: r.tracker, Journal: journal, Policy: r.policy, Log: log, Now: r.clock,
		Clients: map[core.Kind]upstream.Client{core.KindAnthropic: r.client, core.KindOpenAI: r.client},
		Target: func(n *core.Node) (upstream.Target, error) {
			if n.Credential == "broken" {
				return upstream.Target{}, errors.New("sealed by another key")
			}
			return upstream.Target{Node: n, Credential: core.NewSecret(string(n.Credential))}, nil
		}}
	if change != nil {
		change(&o)
	}
	r.Checker = probe.New(o)
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// add makes a node; reason is why it failed, "" for one that did not.
func (r *rig) add(n core.Node, reason string) core.Node {
	r.t.Helper()
	id, err := r.tables.NextID(r.t.Context(), "node")
	if err != nil {
		r.t.Fatal(err)
	}
	n.ID, n.Name, n.CreatedAt = id, "n"+id, r.clock()
	if n.Account == "" {
		n.Account = core.DefaultAccount
	}
	if n.Kind == "" {
		n.Kind = core.KindAnthropic
	}
	if _, err := r.tables.Nodes.Create(r.t.Context(), n); err != nil {
		r.t.Fatal(err)
	}
	if reason != "" {
		r.state(core.NodeState{Node: id, Account: n.Account, Failed: true, FailStreak: 3, LastError: reason, LastErrAt: r.clock(), FailedAt: r.clock(), Since: r.clock()})
	}
	return n
}

func (r *rig) addMany(n int, reason string) {
	for range n {
		r.add(core.Node{}, reason)
	}
}

func (r *rig) state(s core.NodeState) {
	r.t.Helper()
	if _, err := r.tables.States.Upsert(r.t.Context(), s.Node, func(x *core.NodeState) error { *x = s; return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// stateOf is what the store has.
func (r *rig) stateOf(n core.Node) core.NodeState {
	s, _ := r.tables.States.Get(r.t.Context(), n.ID)
	return s.Value
}

func (r *rig) history(n core.Node) []core.HealthCheck {
	var out []core.HealthCheck
	days, err := r.tables.Days.All(r.t.Context(), n.Account)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range days {
		if d.Value.Node == n.ID {
			out = append(out, d.Value.Checks...)
		}
	}
	return out
}

func (r *rig) probe() probe.Report {
	r.t.Helper()
	rep, err := r.Probe(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return rep
}

func (r *rig) sweep() probe.Report {
	r.t.Helper()
	rep, err := r.Sweep(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return rep
}

// mortal is a store of an instance that can die: from then on it does nothing any more.
type mortal struct {
	*memory.Store
	mu   sync.Mutex
	dead bool
}

var errDead = errors.New("dead")

func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

func (m *mortal) alive() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errDead
	}
	return nil
}

func (m *mortal) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := m.alive(); err != nil {
		return 0, err
	}
	return m.Store.Create(ctx, d)
}

func (m *mortal) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if err := m.alive(); err != nil {
		return 0, err
	}
	return m.Store.Replace(ctx, d)
}

func (m *mortal) Release(ctx context.Context, name, holder string) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Store.Release(ctx, name, holder)
}

func number(s string) int { n, _ := strconv.Atoi(s); return n }
