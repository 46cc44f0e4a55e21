package health_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/health"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

var (
	now    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	policy = router.Policy{FailThreshold: 2, TrialAfter: 30 * time.Second}
)

// counting counts the writes of a store, and fails its reads and writes on demand.
type counting struct {
	*memory.Store
	mu     sync.Mutex
	writes int
	err    error
}

func (c *counting) note() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	return c.err
}

func (c *counting) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := ctx.Err(); err != nil {
		return store.Doc{}, err
	}
	return c.Store.Get(ctx, kind, id)
}

func (c *counting) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := c.note(); err != nil {
		return 0, err
	}
	return c.Store.Create(ctx, d)
}

func (c *counting) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if err := c.note(); err != nil {
		return 0, err
	}
	return c.Store.Replace(ctx, d)
}

func newTracker(t *testing.T) (*health.Tracker, *counting, *store.Tables) {
	t.Helper()
	c := &counting{Store: memory.New()}
	tables := store.NewTables(c, func() time.Time { return now })
	return health.New(health.Options{States: tables.States, Log: slog.New(slog.DiscardHandler)}), c, tables
}

func saved(t *testing.T, tables *store.Tables, id string) core.NodeState {
	t.Helper()
	row, err := tables.States.Get(t.Context(), id)
	if err != nil && !store.Missing(err) {
		t.Fatal(err)
	}
	return row.Value
}

func TestTracker_SavesChangesAndOnlyThose(t *testing.T) {
	tr, c, tables := newTracker(t)
	ctx := t.Context()
	n := tr.Node(ctx, "1", "acct")
	save := func() {
		t.Helper()
		if err := tr.Save(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	if n.State() != nil || tr.Node(ctx, "1", "acct") != n {
		t.Fatal("a new node is known, or known twice")
	}
	for range 5 { // what is well needs no word
		tr.Succeeded(n, "a", policy)
		save()
	}
	if c.writes != 0 {
		t.Errorf("%d writes of nothing", c.writes)
	}
	tr.Failed(n, "a", "status 500", now, policy)
	save()
	save()
	if s := saved(t, tables, "1"); s.FailStreak != 1 || s.Failed || s.LastError != "status 500" || s.Account != "acct" || s.Node != "1" || c.writes != 1 {
		t.Errorf("got %+v after %d writes", s, c.writes)
	}
	tr.Failed(n, "a", "status 500", now, policy)
	tr.Cooled(n, "a", "m", now.Add(time.Minute), "status 429", now)
	save()
	if s := saved(t, tables, "1"); !s.Failed || len(s.Cooling) != 1 || s.FailStreak != 2 {
		t.Errorf("got %+v", s)
	}
	again := health.New(health.Options{States: tables.States, Log: slog.New(slog.DiscardHandler)}).Node(ctx, "1", "acct")
	if s := again.State(); s == nil || !s.Failed || s.FailStreak != 2 {
		t.Errorf("after a restart: %+v", s)
	}
	tr.Succeeded(n, "a", policy)
	save()
	if s := saved(t, tables, "1"); s.Failed || s.FailStreak != 0 || len(s.Cooling) != 1 {
		t.Errorf("got %+v", s)
	}
	if err := tr.Clear(ctx, "1", "acct"); err != nil {
		t.Fatal(err)
	}
	if s := saved(t, tables, "1"); len(s.Cooling) != 0 || s.LastError != "" || s.Node != "1" {
		t.Errorf("got %+v", s)
	}
	if err := tr.Forget(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	if err := tr.Forget(ctx, "1"); err != nil || tr.Node(ctx, "1", "acct") == n {
		t.Errorf("forgotten twice: %v", err)
	}
}

func TestTracker_WhatCouldNotBeSavedIsSavedLater(t *testing.T) {
	tr, c, tables := newTracker(t)
	n := tr.Node(t.Context(), "1", "acct")
	tr.Failed(n, "a", "x", now, policy)
	c.err = errors.New("away")
	if err := tr.Save(t.Context(), n); err == nil {
		t.Error("no error")
	}
	c.err = nil
	if err := tr.Save(t.Context(), n); err != nil || saved(t, tables, "1").FailStreak != 1 {
		t.Errorf("got %v, %+v", err, saved(t, tables, "1"))
	}
}

func TestTracker_ReadsEvenForAClientThatLeft(t *testing.T) {
	tr, _, tables := newTracker(t)
	if _, err := tables.States.Create(t.Context(), core.NodeState{Node: "1", Account: "acct", Failed: true}); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if s := tr.Node(gone, "1", "acct").State(); s == nil || !s.Failed {
		t.Errorf("got %+v: what is read is kept for others", s)
	}
}

func TestNode_OneTrial(t *testing.T) {
	tr, _, _ := newTracker(t)
	n := tr.Node(t.Context(), "1", "acct")
	var got, wins int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			ok := n.Begin(true)
			mu.Lock()
			defer mu.Unlock()
			got++
			if ok {
				wins++
			}
		})
	}
	wg.Wait()
	if wins != 1 || n.InFlight() != 1 || !n.OnTrial() {
		t.Errorf("%d of %d got the one trial, %d in flight", wins, got, n.InFlight())
	}
	if !n.Begin(false) || n.InFlight() != 2 {
		t.Error("a request that is no trial was kept out")
	}
	n.End(false)
	n.End(true)
	if n.InFlight() != 0 || n.OnTrial() || !n.Begin(true) {
		t.Error("the trial was not given back")
	}
}

func TestTracker_ManyAtOnce(t *testing.T) {
	tr, _, tables := newTracker(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				n := tr.Node(t.Context(), "1", "acct")
				tr.Failed(n, "a", "x", now, policy)
				if err := tr.Save(t.Context(), n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := saved(t, tables, "1"); s.FailStreak != 400 {
		t.Errorf("got a streak of %d, want 400", s.FailStreak)
	}
}

func TestNode_LongTrialDoesNotExclude(t *testing.T) {
	for _, c := range []struct {
		reason string
		after  time.Duration
		end    bool // given back at the first content
		taken  bool
	}{
		{"just begun", 0, false, true},
		{"almost a minute", time.Minute - 1, false, true},
		{"a minute", time.Minute, false, false},
		{"half an hour", 30 * time.Minute, false, false},
		{"given back early", 0, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr, _, _ := newTracker(t)
			n := tr.Node(t.Context(), "1", "acct")
			if !n.Begin(true) {
				t.Fatal("no trial")
			}
			if c.end {
				n.EndTrial()
			}
			time.Sleep(c.after)
			if n.OnTrial() != c.taken || n.Begin(true) == c.taken {
				t.Errorf("%s: on trial: %v, want %v", c.reason, n.OnTrial(), c.taken)
			}
			if want := int64(2); !c.taken && (n.InFlight() != want || !n.OnTrial() || n.Begin(true)) {
				t.Errorf("%s: %d in flight, the next trial has not the node to itself", c.reason, n.InFlight())
			}
		})
	}
}

// An instance that did not know that another one had brought a node back brought "failed" back with its next save.
func TestSaveOfNothingNewBringsNothingBack(t *testing.T) {
	a, b, _ := pair()
	ctx := t.Context()
	na, nb := a.Node(ctx, "1", "acme"), b.Node(ctx, "1", "acme")
	a.Failed(na, "n", "broken", day, strict)
	a.Failed(na, "n", "broken", day, strict)
	save(t, a, na)
	if err := b.Reload(ctx, "acme", ids); err != nil {
		t.Fatal(err)
	}
	b.Succeeded(nb, "n", strict)
	save(t, b, nb)
	if err := a.EndCooling(ctx, "1", "acme"); err != nil {
		t.Fatal(err)
	}
	if s := na.State(); s.Failed || s.FailStreak != 0 {
		t.Errorf("it knows %+v", s)
	}
	b.Sync(ctx, "acme", 9, ids)
	if s := nb.State(); s.Failed || s.FailStreak != 0 {
		t.Errorf("saved %+v", s)
	}
}

// What another instance saved just before our own save is known after it.
func TestSaveLearns(t *testing.T) {
	a, b, _ := pair()
	ctx := t.Context()
	na, nb := a.Node(ctx, "1", "acme"), b.Node(ctx, "1", "acme")
	b.Blocked(nb, "n", core.BlockedSuspended, "x", day)
	save(t, b, nb)
	a.Failed(na, "n", "broken", day, strict)
	save(t, a, na)
	if s := na.State(); s.Blocked != core.BlockedSuspended || s.FailStreak != 1 {
		t.Errorf("state %+v", s)
	}
}

// A listing that met a change of ours is no knowledge of the generation: it would never have been read again.
func TestSyncThatSkippedIsNotCurrent(t *testing.T) {
	a, b, f := pair()
	ctx := t.Context()
	na, nb := a.Node(ctx, "1", "acme"), b.Node(ctx, "1", "acme")
	f.before = func() {
		f.before = nil
		b.Failed(nb, "n", "broken", day, strict)
		save(t, b, nb)
	}
	a.Cooled(na, "n", "m", day.Add(time.Hour), "limit", day)
	save(t, a, na)
	b.Sync(ctx, "acme", 5, ids)
	if b.Current("acme", 5) {
		t.Error("it takes what it skipped for read")
	}
	b.Sync(ctx, "acme", 5, ids)
	if !b.Current("acme", 5) || !cooling(nb, "m") {
		t.Errorf("state %+v", nb.State())
	}
}

// A burst's limit, learnt before the save of a quota's, shortened it to a second.
func TestShorterLimitEndsNoLongerOne(t *testing.T) {
	a, b, _ := pair()
	ctx := t.Context()
	na, nb := a.Node(ctx, "1", "acme"), b.Node(ctx, "1", "acme")
	a.Cooled(na, "n", "", day.Add(10*time.Hour), "quota", day)
	a.Cooled(na, "n", "", day.Add(time.Second), "burst", day)
	save(t, a, na)
	b.Sync(ctx, "acme", 1, ids)
	for _, n := range []*health.Node{na, nb} {
		if until := n.State().Cooling[""]; !until.Equal(day.Add(10 * time.Hour)) {
			t.Errorf("cools until %v", until)
		}
	}
}

// Requests queued for a slow store, one failed save after the other.
func TestSaveSoonDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &slowStore{Store: memory.New()}
		tr := health.New(health.Options{States: store.NewTables(st, time.Now).States, Log: slog.New(slog.DiscardHandler)})
		n := tr.Node(t.Context(), "1", "acme")
		began := time.Now()
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				tr.Failed(n, "n", "broken", time.Now(), strict)
				_ = tr.SaveSoon(t.Context(), n)
			})
		}
		wg.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("30 requests took %v", took)
		}
		st.ok.Store(true)
		tr.Failed(n, "n", "broken", time.Now(), strict)
		if err := tr.SaveSoon(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if r, err := store.NewTables(st, time.Now).States.Get(t.Context(), "1"); err != nil || r.Value.FailStreak != 31 {
			t.Errorf("saved %+v, %v", r.Value, err)
		}
	})
}

// slowStore takes a second to fail.
type slowStore struct {
	*memory.Store
	ok atomic.Bool
}

func (s *slowStore) Create(ctx context.Context, d store.Doc) (int64, error) {
	if !s.ok.Load() {
		time.Sleep(time.Second)
		return 0, errors.New("away")
	}
	return s.Store.Create(ctx, d)
}

// What comes while another one saves is saved by that one.
func TestSaveSoonLosesNothing(t *testing.T) {
	tr, _, tables := newTracker(t)
	n := tr.Node(t.Context(), "1", "acct")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				tr.Failed(n, "n", "broken", now, policy)
				if err := tr.SaveSoon(t.Context(), n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := saved(t, tables, "1"); s.FailStreak != 1000 {
		t.Errorf("saved a streak of %d", s.FailStreak)
	}
}
