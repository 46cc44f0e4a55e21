package gateway_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/health"
	"sluice/shared/store"
	"sluice/shared/upstream"
	"sluice/shared/web"
)

// spy counts the trips to a store and lets a test do something before one.
type spy struct {
	store.Store
	mu          sync.Mutex
	trips       map[string]int
	renewed     []store.AdmitRequest
	settled     []store.SettleRequest
	beforeAdmit func(r *store.AdmitRequest)
}

func (s *spy) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trips == nil {
		s.trips = map[string]int{}
	}
	s.trips[what]++
}

// taken returns the trips since the last call.
func (s *spy) taken() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.trips
	s.trips = map[string]int{}
	return t
}

func (s *spy) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	s.count("admit " + r.Subjects[0].Kind)
	if s.beforeAdmit != nil {
		s.beforeAdmit(&r)
	}
	return s.Store.Admit(ctx, r)
}

func (s *spy) Settle(ctx context.Context, r store.SettleRequest) error {
	s.count("settle")
	s.mu.Lock()
	s.settled = append(s.settled, r)
	s.mu.Unlock()
	return s.Store.Settle(ctx, r)
}

func (s *spy) Renew(ctx context.Context, r store.AdmitRequest) error {
	s.count("renew")
	s.mu.Lock()
	s.renewed = append(s.renewed, r)
	s.mu.Unlock()
	return s.Store.Renew(ctx, r)
}

func (s *spy) Generation(ctx context.Context, account string) (int64, error) {
	s.count("generation")
	return s.Store.Generation(ctx, account)
}

func (s *spy) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	s.count("get " + kind)
	return s.Store.Get(ctx, kind, id)
}

func (s *spy) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	s.count("find " + kind)
	return s.Store.Find(ctx, kind, unique)
}

func (s *spy) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	s.count("list " + kind)
	return s.Store.List(ctx, kind, account, after, limit)
}

// instance is another gateway over the same store, as another process would be, and a spy on its trips.
func (b *bubble) instance(up upstream.Client) (*bubble, *spy) {
	log := slog.New(slog.DiscardHandler)
	s := &spy{Store: b.store}
	tables := store.NewTables(s, time.Now)
	dir := directory.New(directory.Options{Tables: tables, Generations: s, Box: b.box, Now: time.Now})
	gw := gateway.New(gateway.Options{Directory: dir, Health: health.New(health.Options{States: tables.States, Log: log}), Admission: s, Tables: tables,
		Upstreams: map[core.Kind]upstream.Client{core.KindAnthropic: up}, Log: log, Now: time.Now})
	o := *b
	o.handler = web.Wrap(gw, web.Options{Log: log, Error: gateway.WriteError, Draining: b.drain})
	return &o, s
}

// A 429 that one instance met cools the node on another one at its next request, without anybody polling.
func TestInstances_ShareWhatTheyLearnOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &scripted{}
		first := newBubbleWith(t, gateway.Settings{}, up, "a", "b")
		second, trips := first.instance(up)
		up.on("a", streaming(step{data: whole}), refusing(429, "rate_limit_error", "slow down", "Retry-After", "50"), streaming(step{data: whole}))
		up.on("b", streaming(step{data: whole}))
		want := func(b *bubble, node, reason string) {
			t.Helper()
			if w := b.post(t.Context(), streamBody); w.status != 200 || w.sent.Get("X-Proxy-Node") != node {
				t.Errorf("%s: status %d by %q, want %q", reason, w.status, w.sent.Get("X-Proxy-Node"), node)
			}
		}
		want(second, "a", "the second instance knows nothing yet")
		want(first, "b", "the first one meets the limit and fails over")
		want(second, "b", "the second one has heard of it")
		trips.taken()
		want(second, "b", "and asks nobody again")
		if got := trips.taken(); got["list nodestate"]+got["get nodestate"]+got["generation"] != 0 || got["admit key"] != 1 || got["settle"] != 1 || len(got) != 2 {
			t.Errorf("trips of a request in steady state: %v, want admit and settle", got)
		}
		_ = pause(t.Context(), 51*time.Second)
		want(second, "a", "the cool-down is over")

		up.by["a"] = []play{refusing(500, "api_error", "broken")}
		for range 3 {
			want(first, "b", "the first one meets a failure")
		}
		before := len(up.sent)
		want(second, "b", "failures travel, too")
		if got := up.sent[before:]; len(got) != 1 {
			t.Errorf("the second instance tried %v", got)
		}
	})
}

// Changes of a node hold on the other instance from its next admission on.
func TestInstances_EditsOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &scripted{}
		up.queue(streaming(step{data: whole}))
		first := newBubbleWith(t, gateway.Settings{}, up, "a", "b")
		second, _ := first.instance(up)
		ask := func(b *bubble) string { return b.post(t.Context(), streamBody).sent.Get("X-Proxy-Node") }
		edit := func(id string, f func(*core.Node)) {
			t.Helper()
			if _, err := first.tables.Nodes.Update(t.Context(), id, func(n *core.Node) error { f(n); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range []*bubble{first, second} {
			if got := ask(b); got != "a" {
				t.Fatalf("got node %q", got)
			}
		}
		edit("1", func(n *core.Node) { n.Disabled = true })
		if a, b := ask(first), ask(second); a != "b" || b != "b" {
			t.Errorf("disabled: served by %q and %q", a, b)
		}
		edit("1", func(n *core.Node) { n.Disabled, n.Name = false, "renamed" })
		if a, b := ask(first), ask(second); a != "renamed" || b != "renamed" {
			t.Errorf("renamed: served by %q and %q", a, b)
		}
		edit("1", func(n *core.Node) { n.Limits.RPM = 1 })
		if a, b, c := ask(first), ask(second), ask(first); a != "renamed" || b != "b" || c != "b" {
			t.Errorf("one a minute on both together: served by %q, %q and %q", a, b, c)
		}
		if err := first.tables.Nodes.Delete(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if a, b := ask(first), ask(second); a != "b" || b != "b" {
			t.Errorf("deleted: served by %q and %q", a, b)
		}
	})
}
