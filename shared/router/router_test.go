package router_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
)

var (
	now    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	policy = router.Policy{FailThreshold: 3, TrialAfter: 30 * time.Second}
)

func seeded(seed uint64) func() uint64 { return rand.New(rand.NewPCG(seed, seed)).Uint64 }

func node(id string, weight int) router.Candidate {
	return router.Candidate{Node: &core.Node{ID: id, Weight: weight}}
}

func with(c router.Candidate, edits ...func(*router.Candidate)) router.Candidate {
	n := *c.Node
	c.Node = &n
	for _, e := range edits {
		e(&c)
	}
	return c
}

func disabled(c *router.Candidate) { c.Node.Disabled = true }
func tried(c *router.Candidate)    { c.Tried = true }
func onTrial(c *router.Candidate)  { c.Trial = true }

func failed(ago time.Duration) func(*router.Candidate) {
	return func(c *router.Candidate) { c.State = &core.NodeState{Failed: true, FailedAt: now.Add(-ago)} }
}

func slow(ago time.Duration) func(*router.Candidate) {
	return func(c *router.Candidate) {
		c.State = &core.NodeState{Degraded: core.DegradedSlow, DegradedAt: now.Add(-ago)}
	}
}

func cooling(model string, left time.Duration) func(*router.Candidate) {
	return func(c *router.Candidate) {
		c.State = &core.NodeState{Cooling: map[string]time.Time{model: now.Add(left)}}
	}
}

func serves(models ...string) func(*router.Candidate) {
	return func(c *router.Candidate) { c.Node.Models = models }
}

func TestPick(t *testing.T) {
	a, b, c := node("a", 1), node("b", 2), node("c", 2)
	for _, tt := range []struct {
		reason string
		cs     []router.Candidate
		active string
		want   router.Choice
	}{
		{"lowest weight", []router.Candidate{b, a, c}, "", router.Choice{Index: 1}},
		{"negative weight is lower", []router.Candidate{a, node("z", -1)}, "", router.Choice{Index: 1}},
		{"the activated one", []router.Candidate{a, b, c}, "b", router.Choice{Index: 1}},
		{"not an activated one that is disabled", []router.Candidate{a, with(b, disabled)}, "b", router.Choice{Index: 0}},
		{"not an activated one that failed", []router.Candidate{a, with(b, failed(time.Second))}, "b", router.Choice{Index: 0}},
		{"not an activated one that cools", []router.Candidate{a, with(b, cooling("m", time.Second))}, "b", router.Choice{Index: 0}},
		{"not an activated one that was tried", []router.Candidate{a, with(b, tried)}, "b", router.Choice{Index: 0}},
		{"an active id that is nobody's", []router.Candidate{a, b}, "zz", router.Choice{Index: 0}},
		{"none", nil, "", router.Choice{Index: -1, Why: router.NoNode}},
		{"none enabled", []router.Candidate{with(a, disabled)}, "", router.Choice{Index: -1, Why: router.NoNode}},
		{"none for the model", []router.Candidate{with(a, disabled), with(b, serves("x"))}, "", router.Choice{Index: -1, Why: router.NoModel}},
		{"next tier when the first cools", []router.Candidate{with(a, cooling("m", time.Minute)), b}, "", router.Choice{Index: 1}},
		{"cooling for another model", []router.Candidate{with(a, cooling("other", time.Minute)), b}, "", router.Choice{Index: 0}},
		{"cooling for every model", []router.Candidate{with(a, cooling("", time.Minute)), b}, "", router.Choice{Index: 1}},
		{"cooled off", []router.Candidate{with(a, cooling("m", 0)), b}, "", router.Choice{Index: 0}},
		{"all cool: the shortest wait", []router.Candidate{with(a, cooling("m", time.Minute)), with(b, cooling("", 5*time.Second))}, "", router.Choice{Index: -1, Why: router.Cooling, Wait: 5 * time.Second}},
		{"all cool and were tried: still the wait", []router.Candidate{with(a, cooling("m", time.Minute), tried), with(b, cooling("m", 5*time.Second), tried)}, "", router.Choice{Index: -1, Why: router.Cooling, Wait: 5 * time.Second}},
		{"failed, and nothing else is left: its trial comes early", []router.Candidate{with(a, failed(10*time.Second))}, "", router.Choice{Index: 0, Trial: true}},
		{"but not at once", []router.Candidate{with(a, failed(400*time.Millisecond))}, "", router.Choice{Index: -1, Why: router.Failing, Wait: 600 * time.Millisecond}},
		{"nor while another has it", []router.Candidate{with(a, failed(10*time.Second), onTrial)}, "", router.Choice{Index: -1, Why: router.Failing, Wait: time.Second}},
		{"nor with the clock set back for ever", []router.Candidate{with(a, failed(-time.Hour))}, "", router.Choice{Index: 0, Trial: true}},
		{"nor while there is any other", []router.Candidate{with(a, failed(10*time.Second)), b}, "", router.Choice{Index: 1}},
		{"nor is it the activated one then", []router.Candidate{with(a, failed(10*time.Second)), with(b, slow(time.Second))}, "a", router.Choice{Index: 1}},
		{"a degraded one comes after worse weights", []router.Candidate{with(a, slow(10*time.Second)), b}, "", router.Choice{Index: 1}},
		{"also when it is activated", []router.Candidate{with(a, slow(10*time.Second)), b}, "a", router.Choice{Index: 1}},
		{"all degraded: as ever", []router.Candidate{with(b, slow(time.Second)), with(a, slow(time.Second))}, "", router.Choice{Index: 1}},
		{"its trial when that is due", []router.Candidate{with(a, slow(30*time.Second)), b}, "", router.Choice{Index: 0, Trial: true}},
		{"one at a time", []router.Candidate{with(a, slow(30*time.Second), onTrial), b}, "", router.Choice{Index: 1}},
		{"no trial where it is the last anyhow", []router.Candidate{with(a, slow(time.Second))}, "", router.Choice{Index: 0}},
		{"one trial after the wait", []router.Candidate{with(a, failed(30*time.Second))}, "", router.Choice{Index: 0, Trial: true}},
		{"not a second one", []router.Candidate{with(a, failed(30*time.Second), onTrial)}, "", router.Choice{Index: -1, Why: router.Failing, Wait: time.Second}},
		{"the trial of the activated one", []router.Candidate{a, with(b, failed(time.Hour))}, "b", router.Choice{Index: 1, Trial: true}},
		{"failed and cooling: which tells more", []router.Candidate{with(a, failed(0)), with(b, cooling("m", time.Hour))}, "", router.Choice{Index: -1, Why: router.Cooling, Wait: time.Second}},
		{"all tried", []router.Candidate{with(a, tried), with(b, tried)}, "", router.Choice{Index: -1, Why: router.Tried}},
		{"some tried, some cool", []router.Candidate{with(a, tried), with(b, cooling("m", time.Second))}, "", router.Choice{Index: -1, Why: router.Tried, Wait: time.Second}},
	} {
		for _, session := range []string{"", "s"} {
			r := router.Request{Model: "m", Session: session, Active: tt.active, Now: now, Policy: policy}
			if got := router.Pick(tt.cs, &r, seeded(1)); got != tt.want {
				t.Errorf("%s (session %q): got %+v, want %+v", tt.reason, session, got, tt.want)
			}
		}
	}
}

func TestPick_SessionsSpreadStayAndMoveOnlyFromTheDead(t *testing.T) {
	const nodes, sessions = 10, 10_000
	var cs []router.Candidate
	for i := range nodes {
		cs = append(cs, node(fmt.Sprint(i+1), 1))
	}
	home := make([]int, sessions)
	count := make([]int, nodes)
	pick := func(s int) int {
		r := router.Request{Session: fmt.Sprint("session-", s), Now: now, Policy: policy}
		return router.Pick(cs, &r, nil).Index
	}
	for s := range sessions {
		home[s] = pick(s)
		count[home[s]]++
	}
	for i, n := range count {
		if n < sessions/nodes*8/10 || n > sessions/nodes*12/10 {
			t.Errorf("node %d has %d of %d sessions", i, n, sessions)
		}
	}
	cs[3] = with(cs[3], disabled)
	for s := range sessions {
		if now := pick(s); home[s] != 3 && now != home[s] || home[s] == 3 && now == 3 {
			t.Fatalf("session %d moved from %d to %d when 3 left", s, home[s], now)
		}
	}
	// the order of the list does not matter: other instances may have it otherwise
	id := cs[pick(7)].Node.ID
	for i, j := 0, len(cs)-1; i < j; i, j = i+1, j-1 {
		cs[i], cs[j] = cs[j], cs[i]
	}
	if got := cs[pick(7)].Node.ID; got != id {
		t.Errorf("got node %s in another order, want %s", got, id)
	}
}

func TestPick_TwoChoicesKeepTheLoadEven(t *testing.T) {
	const nodes, requests = 10, 10_000
	var cs []router.Candidate
	for i := range nodes {
		cs = append(cs, node(fmt.Sprint(i+1), 1))
	}
	random := seeded(42)
	for range requests {
		c := router.Pick(cs, &router.Request{Now: now, Policy: policy}, random)
		cs[c.Index].InFlight++
	}
	for i, c := range cs {
		if c.InFlight < requests/nodes-20 || c.InFlight > requests/nodes+20 {
			t.Errorf("node %d has %d requests, want near %d", i, c.InFlight, requests/nodes)
		}
	}
}

func TestStates(t *testing.T) {
	var s core.NodeState
	var became bool
	for i := 1; i <= 4; i++ {
		s, became = router.Failed(s, "why", now.Add(time.Duration(i)), policy)
		if s.FailStreak != i || s.Failed != (i >= 3) || became != (i == 3) || s.LastError != "why" {
			t.Errorf("after %d: %+v, became failed: %v", i, s, became)
		}
	}
	if !s.FailedAt.Equal(now.Add(4)) {
		t.Error("a failed trial does not begin the wait anew")
	}
	s, changed, recovered := router.Succeeded(s)
	if !changed || !recovered || s.Failed || s.FailStreak != 0 || !s.FailedAt.IsZero() || s.LastError != "why" {
		t.Errorf("got %+v, %v, %v", s, changed, recovered)
	}
	if _, changed, _ = router.Succeeded(s); changed {
		t.Error("a success of a sound node changes something")
	}
}

func TestCooled(t *testing.T) {
	first := router.Cooled(core.NodeState{}, "m", now.Add(time.Minute), "status 429", now)
	second := router.Cooled(first, "n", now.Add(time.Hour), "status 429", now.Add(2*time.Minute))
	if len(first.Cooling) != 1 || len(second.Cooling) != 1 || second.Failed || second.FailStreak != 0 {
		t.Errorf("got %+v after %+v: the old state must not change, what is over goes", second, first)
	}
	s := core.NodeState{}
	for i := range 1000 {
		s = router.Cooled(s, fmt.Sprint("m", i), now.Add(time.Hour), "x", now)
	}
	if len(s.Cooling) > 65 {
		t.Errorf("%d models cool: names are the client's", len(s.Cooling))
	}
	if router.CoolingUntil(&s, "m999", now).IsZero() || !router.CoolingUntil(&s, "m0", now.Add(time.Hour)).IsZero() || !router.CoolingUntil(nil, "m", now).IsZero() {
		t.Error("got another answer")
	}
}

// hundred is a list in which everything occurs.
func hundred() []router.Candidate {
	var cs []router.Candidate
	for i := range 100 {
		c := node(fmt.Sprint(i), 1+i/80)
		switch i % 10 {
		case 0:
			c = with(c, failed(time.Second))
		case 1:
			c = with(c, cooling("m", time.Minute))
		case 2:
			c = with(c, disabled)
		case 3:
			c = with(c, serves("x*", "m"))
		case 4:
			c.Node.ModelMap = map[string]string{"m": "real"}
		}
		cs = append(cs, c)
	}
	return cs
}

func TestPick_AllocatesNothing(t *testing.T) {
	cs, random := hundred(), seeded(1)
	for _, r := range []router.Request{{Model: "m", Now: now, Policy: policy}, {Model: "m", Session: "s", Now: now, Policy: policy}, {Model: "m", Active: "77", Now: now, Policy: policy}} {
		if n := testing.AllocsPerRun(100, func() { router.Pick(cs, &r, random) }); n != 0 {
			t.Errorf("session %q: %v allocations", r.Session, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	cs, random := hundred(), seeded(1)
	for name, session := range map[string]string{"session": "s", "none": ""} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := router.Request{Model: "m", Session: session, Now: now, Policy: policy}
			for b.Loop() {
				router.Pick(cs, &r, random)
			}
		})
	}
}
