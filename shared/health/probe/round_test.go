package probe_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/health/probe"
	"sluice/shared/store/memory"
)

// TestLesson_FailedSetIsRestoredAtStart (1.18, bugfix_failed_set_restore): a process that begins after the node failed asks it
// all the same, by Tick, without anything having happened in it.
func TestLesson_FailedSetIsRestoredAtStart(t *testing.T) {
	s := memory.New()
	before := newRig(t, s, nil)
	n := before.add(core.Node{}, "status 500")
	r := newRig(t, s, nil)
	r.advance(30 * time.Second)
	rep, err := r.Tick(t.Context())
	if err != nil || rep.Recovered != 1 || r.stateOf(n).Failed {
		t.Errorf("%+v, %v, %+v", rep, err, r.stateOf(n))
	}
}

// TestLesson_AFailedCheckIsOneFailure (BUG of 1.10: any failed check failed the node at once): the account's threshold decides,
// over sweeps.
func TestLesson_AFailedCheckIsOneFailure(t *testing.T) {
	for _, c := range []struct {
		why   string
		limit int // of the account; 0: its default
		after int // sweeps until it is failed
	}{
		{"the gateway's threshold", 0, 3},
		{"the account's", 2, 2},
		{"which may be one", 1, 1},
	} {
		r := newRig(t, memory.New(), nil)
		if _, err := r.tables.Accounts.Create(t.Context(), core.Account{ID: core.DefaultAccount, FailLimit: c.limit}); err != nil {
			t.Fatal(err)
		}
		n := r.add(core.Node{}, "")
		r.client.status(503)
		for i := 1; i <= c.after; i++ {
			if r.stateOf(n).Failed {
				t.Errorf("%s: failed before sweep %d", c.why, i)
			}
			if rep := r.sweep(); rep.Bad != 1 {
				t.Errorf("%s: %+v", c.why, rep)
			}
			r.advance(10 * time.Minute)
		}
		if s := r.stateOf(n); !s.Failed || s.LastError != "health check: status 503" {
			t.Errorf("%s: after %d sweeps: %+v", c.why, c.after, s)
		}
	}
}

// TestLesson_RecoveryClosesTheBreaker (1.18, 1.7.7): one good check, and the node has no streak, takes requests, and it is told
// once.
func TestLesson_RecoveryClosesTheBreaker(t *testing.T) {
	r := newRig(t, memory.New(), nil)
	n := r.add(core.Node{}, "")
	r.client.status(500)
	for range 3 {
		r.sweep()
	}
	r.client.status(200)
	r.advance(30 * time.Second)
	if rep := r.probe(); rep.Recovered != 1 {
		t.Errorf("%+v", rep)
	}
	if s := r.stateOf(n); s.Failed || s.FailStreak != 0 || !s.FailedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	r.probe()
	r.sweep()
	if r.events.count(core.EventNodeFailed) != 1 || r.events.count(core.EventNodeRecovered) != 1 || r.events.count(core.EventNodeCheckFailed) != 3 {
		t.Errorf("told: %+v", r.events.list)
	}
}

// TestProbeIsForWhatIsDue: failed and degraded nodes, when their account's interval is over, and no others.
func TestProbeIsForWhatIsDue(t *testing.T) {
	failed := core.NodeState{Failed: true, FailStreak: 3, LastError: "status 500"}
	for _, c := range []struct {
		why    string
		state  core.NodeState
		since  time.Duration // ago
		asked  time.Duration // ago; 0: never
		every  int           // seconds, of the account
		node   core.Node
		wanted bool
	}{
		{"failed an interval ago", failed, 30 * time.Second, 0, 0, core.Node{}, true},
		{"failed just now", failed, 10 * time.Second, 0, 0, core.Node{}, false},
		{"failed long ago and asked just now", failed, time.Hour, 10 * time.Second, 0, core.Node{}, false},
		{"failed long ago and asked an interval ago", failed, time.Hour, 30 * time.Second, 0, core.Node{}, true},
		{"the account wants it less often", failed, time.Hour, 200 * time.Second, 300, core.Node{}, false},
		{"or more often", failed, time.Hour, 5 * time.Second, 5, core.Node{}, true},
		{"degraded is worth a look, too", core.NodeState{Degraded: core.DegradedErrors}, time.Hour, 0, 0, core.Node{}, true},
		{"traffic's own trials do not put it off", core.NodeState{Failed: true, FailStreak: 9, LastError: "x", FailedAt: began.Add(-time.Second)}, time.Hour, time.Minute, 0, core.Node{}, true},
		{"it said itself when to come again", core.NodeState{Failed: true, LastError: "x", Cooling: map[string]time.Time{"": began.Add(time.Minute)}}, time.Hour, 0, 0, core.Node{}, false},
		{"nobody can help a blocked one but a person", core.NodeState{Failed: true, Blocked: core.BlockedLogin}, time.Hour, 0, 0, core.Node{}, false},
		{"nobody wants a disabled one", failed, time.Hour, 0, 0, core.Node{Disabled: true}, false},
		{"a streak is not yet a failure", core.NodeState{FailStreak: 2, LastError: "x"}, time.Hour, 0, 0, core.Node{}, false},
	} {
		r := newRig(t, memory.New(), nil)
		if _, err := r.tables.Accounts.Create(t.Context(), core.Account{ID: core.DefaultAccount, HealthSec: c.every}); err != nil {
			t.Fatal(err)
		}
		n := r.add(c.node, "")
		c.state.Node, c.state.Account, c.state.Since = n.ID, n.Account, began.Add(-c.since)
		r.state(c.state)
		if c.asked > 0 {
			if _, err := r.tables.Checks.Create(t.Context(), core.NodeCheck{Node: n.ID, Account: n.Account, Last: core.HealthCheck{At: began.Add(-c.asked)}, Told: core.Failed, Since: c.state.Since}); err != nil {
				t.Fatal(err)
			}
		}
		if rep := r.probe(); (rep.Checked == 1) != c.wanted {
			t.Errorf("%s: %+v", c.why, rep)
		}
	}
}

// TestProbesAreSpread: nodes that failed together are not asked in one moment, and none later than its interval.
func TestProbesAreSpread(t *testing.T) {
	r := newRig(t, memory.New(), nil)
	r.addMany(100, "status 500")
	r.client.status(500)
	var at []int
	for range 31 {
		at = append(at, r.probe().Checked)
		r.advance(time.Second)
	}
	total, most := 0, 0
	for _, n := range at {
		total += n
		most = max(most, n)
	}
	if total != 100 || most > 50 {
		t.Errorf("asked by the second: %v", at)
	}
}

// TestTickCostsNothing: with nothing to do it asks the store once an interval, and when something happened at once.
func TestTickCostsNothing(t *testing.T) {
	s := &listing{Store: memory.New()}
	r := newRig(t, s, nil)
	n := r.add(core.Node{Account: "brisk"}, "")
	if _, err := r.tables.Accounts.Create(t.Context(), core.Account{ID: "brisk", HealthSec: 5}); err != nil {
		t.Fatal(err)
	}
	for range 62 {
		if _, err := r.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.advance(time.Second)
	}
	if got := s.states.Load(); got > 6 { // two looks, each with its reconciliation
		t.Errorf("%d listings of states in a minute", got)
	}
	node := r.tracker.Node(t.Context(), n.ID, n.Account)
	for range 3 {
		r.tracker.Failed(node, n.Name, "status 500", r.clock(), r.policy)
	}
	if err := r.tracker.Save(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	seconds := 0
	for ; r.stateOf(n).Failed && seconds < 60; seconds++ {
		if _, err := r.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.advance(time.Second)
	}
	if seconds < 4 || seconds > 6 { // not with the next look of its own accord
		t.Errorf("it came back after %d s", seconds)
	}
}

type listing struct {
	*memory.Store
	states atomic.Int64
}

func (l *listing) List(ctx context.Context, kind, account, after string, limit int) ([]doc, error) {
	if kind == kindNodeState {
		l.states.Add(1)
	}
	return l.Store.List(ctx, kind, account, after, limit)
}

// TestLesson_ChecksAreBounded (1.18, crash-fix-v1.7.2): 8 at a time, and a panic ends neither the round nor the slot.
func TestLesson_ChecksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, memory.New(), nil)
		r.addMany(50, "")
		r.client.reply = func(ctx context.Context, node, _ string) (int, error) {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			if number(node)%10 == 0 {
				panic("sk-ant-not-a-key of a node")
			}
			return 200, nil
		}
		start := time.Now()
		rep := r.sweep()
		if rep.Checked != 50 || r.client.most != 8 || time.Since(start) != 7*time.Second {
			t.Errorf("%+v, %d at a time, %s", rep, r.client.most, time.Since(start))
		}
		if got := strings.Count(r.log.String(), "panic in a health check"); got != 5 {
			t.Errorf("%d panics logged", got)
		}
		if states, _ := r.tables.States.All(t.Context(), ""); slices.ContainsFunc(states, func(s row) bool { return s.Value.FailStreak > 0 }) {
			t.Error("our own panic is blamed on a node")
		}
	})
}

// TestSweepOnOneInstance: two instances sweep one store: while one is at it the other stands back, and by SweepDue each node
// is asked once an interval, not once by each.
func TestSweepOnOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		a, b := newRig(t, s, nil), newRig(t, s, nil)
		a.addMany(20, "")
		a.client.reply = func(context.Context, string, string) (int, error) {
			time.Sleep(time.Second) // of the bubble
			return 200, nil
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if rep, err := a.SweepDue(t.Context(), 10*time.Minute); err != nil || rep.Checked != 20 {
				t.Errorf("%+v, %v", rep, err)
			}
		})
		time.Sleep(time.Second / 2)
		if rep := b.sweep(); !rep.Elsewhere || rep.Checked != 0 {
			t.Errorf("%+v", rep)
		}
		wg.Wait()
		if rep, err := b.SweepDue(t.Context(), 10*time.Minute); err != nil || !rep.Elsewhere || len(b.client.nodes()) != 0 {
			t.Errorf("%+v, %v", rep, err)
		}
		b.advance(10 * time.Minute)
		if rep, err := b.SweepDue(t.Context(), 10*time.Minute); err != nil || rep.Checked != 20 {
			t.Errorf("%+v, %v", rep, err)
		}
	})
}

// TestARoundOfTheDeadGoesOn: a process dies in the middle of a sweep. While its lease lasts nobody sweeps; then another one
// begins about where it was, without waiting for the next interval.
func TestARoundOfTheDeadGoesOn(t *testing.T) {
	shared := memory.New()
	m := &mortal{Store: shared}
	a, b := newRig(t, m, nil), newRig(t, shared, nil)
	a.addMany(100, "")
	dead := make(chan struct{})
	a.client.reply = func(_ context.Context, node, _ string) (int, error) {
		switch n := number(node); {
		case n == 60:
			m.kill()
			close(dead)
		case n > 64: // on a busy machine they would all be done before the one that kills
			<-dead
		}
		return 200, nil
	}
	if _, err := a.Sweep(t.Context()); !errors.Is(err, errDead) {
		t.Fatalf("it did not die: %v", err)
	}
	if rep, err := b.SweepDue(t.Context(), 10*time.Minute); err != nil || !rep.Elsewhere {
		t.Errorf("%+v, %v", rep, err)
	}
	b.advance(2*time.Minute + time.Second)
	rep, err := b.SweepDue(t.Context(), 10*time.Minute)
	if err != nil || rep.Checked != 100 {
		t.Fatalf("%+v, %v", rep, err)
	}
	first := b.client.nodes()[:8]
	for _, id := range first {
		if n := number(id); n < 30 || n > 90 { // without knowing where the other was it begins at 1
			t.Errorf("it begins with %q, not near 60", first)
		}
	}
}

// TestTimeUpIsNobodysFault: what a round that ends cuts short is neither counted, nor noted, nor told.
func TestTimeUpIsNobodysFault(t *testing.T) {
	r := newRig(t, memory.New(), nil)
	n := r.add(core.Node{}, "")
	ctx, stop := context.WithCancel(t.Context())
	r.client.reply = func(ctx context.Context, _, _ string) (int, error) { stop(); <-ctx.Done(); return 0, ctx.Err() }
	if rep, err := r.Sweep(ctx); err != nil || rep.Bad != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	if s := r.stateOf(n); s.FailStreak != 0 || len(r.history(n)) != 0 || len(r.events.list) != 0 {
		t.Errorf("%+v, %v, %v", s, r.history(n), r.events.list)
	}
}

// TestReconcile: a change that nobody told, because its process died after the state was saved, is told by the next probe
// anywhere, once.
func TestReconcile(t *testing.T) {
	r := newRig(t, memory.New(), nil)
	n := r.add(core.Node{}, "status 500")
	r.probe()
	r.probe()
	if r.events.count(core.EventNodeFailed) != 1 || len(r.history(n)) != 1 {
		t.Errorf("told %+v, history %+v", r.events.list, r.history(n))
	}
}

// TestLesson_HistoryIsNotFlooded (1.18, 1.7.6; BUG-free rule of 1.10): a change at once, else a sample in 5 minutes.
func TestLesson_HistoryIsNotFlooded(t *testing.T) {
	r := newRig(t, memory.New(), nil)
	n := r.add(core.Node{}, "")
	want := []struct {
		after  time.Duration
		status int
		adds   int
		cond   core.Condition
		why    string
	}{
		{0, 200, 1, core.Online, "the first look"},
		{time.Minute, 200, 0, "", "nothing new"},
		{3 * time.Minute, 200, 0, "", "still under five minutes"},
		{time.Minute, 200, 1, core.Online, "a sample"},
		{time.Second, 500, 0, "", "one failure of three changes nothing"},
		{time.Second, 500, 0, "", "nor do two"},
		{time.Second, 500, 1, core.Failed, "the change, at once"},
		{time.Minute, 200, 1, core.Online, "and back, at once"},
		{5 * time.Minute, 500, 1, core.Online, "a sample of a bad check of a node that is up"},
	}
	entries := 0
	for _, w := range want {
		r.advance(w.after)
		r.client.status(w.status)
		r.sweep()
		h := r.history(n)
		entries += w.adds
		if len(h) != entries || w.adds > 0 && h[len(h)-1].Condition != w.cond {
			t.Fatalf("%s: %d entries, want %d: %+v", w.why, len(h), entries, h)
		}
	}
	last, err := r.tables.Checks.Get(t.Context(), n.ID)
	if err != nil || !last.Value.Last.At.Equal(r.clock()) || last.Value.Last.OK || last.Value.Last.Source != core.SourceSweep {
		t.Errorf("last %+v, %v", last.Value, err)
	}
	r.advance(32 * 24 * time.Hour)
	if h := r.history(n); len(h) != 0 {
		t.Errorf("kept longer than 30 days: %+v", h)
	}
}

// TestACLINodeHoldsUpNobody: nodes of the slow method have a lane of their own.
func TestACLINodeHoldsUpNobody(t *testing.T) {
	script := program(t, "sleep 1\necho ok")
	r := newRig(t, memory.New(), func(o *probe.Options) { o.CLI = &probe.CLI{Path: script} })
	for range 3 {
		r.add(core.Node{HealthMethod: core.CheckCLI, BaseURL: "http://127.0.0.1:1", Operator: true, Credential: "k"}, "")
	}
	r.addMany(20, "")
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	rep, err := r.Sweep(ctx)
	if err != nil || len(r.client.nodes()) != 20 || rep.Left != 2 {
		t.Errorf("%+v, %v, %d asked", rep, err, len(r.client.nodes()))
	}
	rep = r.sweep() // begins with those that had no turn
	if rep.Checked != 23 || rep.Left != 0 {
		t.Errorf("%+v", rep)
	}
}

// With the clock set back by a day nothing was asked for a day: what is noted as of the future counts as due.
func TestClockSetBack(t *testing.T) {
	r := newRig(t, memory.New(), nil)
	n := r.add(core.Node{}, "status 500")
	ahead := r.clock().Add(24 * time.Hour)
	r.state(core.NodeState{Node: n.ID, Account: n.Account, Failed: true, FailedAt: ahead, Since: ahead, FailStreak: 3, LastError: "status 500"})
	if rep := r.probe(); rep.Checked != 1 || rep.Recovered != 1 {
		t.Errorf("probe: %+v", rep)
	}
	if err := r.tables.WriteMeta(t.Context(), "health-sweep", map[string]any{"began": ahead}); err != nil {
		t.Fatal(err)
	}
	if rep, err := r.SweepDue(t.Context(), time.Hour); err != nil || rep.Elsewhere || rep.Checked != 1 {
		t.Errorf("sweep: %+v, %v", rep, err)
	}
	if rep, err := r.SweepDue(t.Context(), time.Hour); err != nil || !rep.Elsewhere {
		t.Errorf("and again: %+v, %v", rep, err)
	}
}
