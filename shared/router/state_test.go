package router_test

import (
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
)

// TestConditions walks a node through all its conditions by a simulated clock.
func TestConditions(t *testing.T) {
	p := router.Policy{FailThreshold: 2, TrialAfter: 30 * time.Second}
	var s core.NodeState
	at := now
	step := func(f func(core.NodeState) core.NodeState) { s = router.Dated(s, f(s), at) }
	fail := func(s core.NodeState) core.NodeState { s, _ = router.Failed(s, "status 500", at, p); return s }
	succeed := func(s core.NodeState) core.NodeState { s, _, _ = router.Succeeded(s); return s }
	since := func(after time.Duration) time.Time { return now.Add(after) }
	for _, c := range []struct {
		why    string
		after  time.Duration // from the start
		do     func(core.NodeState) core.NodeState
		want   core.Condition
		since  time.Time
		reason string
		half   bool
	}{
		{"one failure is below the threshold", 0, fail, core.Online, since(0), "", false},
		{"the second in a row fails it", 1 * time.Second, fail, core.Failed, since(time.Second), "status 500", false},
		{"its trial is not due", 30 * time.Second, nil, core.Failed, since(time.Second), "status 500", false},
		{"it is", 31 * time.Second, nil, core.Failed, since(time.Second), "status 500", true},
		{"the trial fails: it waits anew, and failed when it did", 32 * time.Second, fail, core.Failed, since(time.Second), "status 500", false},
		{"a good one closes the breaker", 62 * time.Second, succeed, core.Online, since(62 * time.Second), "", false},
		{"a limit", 70 * time.Second, func(s core.NodeState) core.NodeState {
			return router.Cooled(s, "m", since(80*time.Second), "status 429", at)
		}, core.Cooling, since(70 * time.Second), "status 429", false},
		{"a second limit is the same condition", 75 * time.Second, func(s core.NodeState) core.NodeState {
			return router.Cooled(s, "n", since(90*time.Second), "limit", at)
		}, core.Cooling, since(70 * time.Second), "status 429", false},
		{"it ends by itself", 90 * time.Second, nil, core.Online, since(90 * time.Second), "", false},
		{"too slow", 100 * time.Second, func(s core.NodeState) core.NodeState { return router.Degrade(s, core.DegradedSlow, at) },
			core.Degraded, since(100 * time.Second), "its first content comes too late", false},
		{"limits tell more than that", 110 * time.Second, func(s core.NodeState) core.NodeState {
			return router.Cooled(s, "", since(120*time.Second), "quota", at)
		}, core.Cooling, since(110 * time.Second), "quota", false},
		{"and end", 120 * time.Second, nil, core.Degraded, since(120 * time.Second), "", false},
		{"fast again", 130 * time.Second, func(s core.NodeState) core.NodeState { return router.Degrade(s, "", at) }, core.Online, since(130 * time.Second), "", false},
		{"blocked tells most", 140 * time.Second, func(s core.NodeState) core.NodeState {
			s.Blocked, s.LastError = core.BlockedLogin, "log in"
			return fail(fail(s))
		}, core.BlockedLogin, since(140 * time.Second), "status 500", false},
	} {
		at = since(c.after)
		if c.do != nil {
			step(c.do)
		}
		got, began, reason := router.ConditionOf(&s, at)
		if got != c.want || !began.Equal(c.since) || reason != c.reason || router.HalfOpen(&s, at, p) != c.half {
			t.Errorf("%s: %s since %v (%q), half open %v", c.why, got, began.Sub(now), reason, router.HalfOpen(&s, at, p))
		}
	}
	if c, _, _ := router.ConditionOf(nil, now); c != core.Online {
		t.Errorf("nothing known: %s", c)
	}
}

// TestMeter: when a node is let go for being slow or faulty.
func TestMeter(t *testing.T) {
	p := router.Policy{SlowFirstByte: 15 * time.Second, ErrorRate: 0.5}
	for _, c := range []struct {
		why  string
		do   func(m router.Meter) router.Meter
		p    router.Policy
		want string
	}{
		{"nothing", func(m router.Meter) router.Meter { return m }, p, ""},
		{"one slow answer says little", func(m router.Meter) router.Meter { return m.First(time.Hour) }, p, ""},
		{"always slow", func(m router.Meter) router.Meter { return firsts(m, 10, 16*time.Second) }, p, core.DegradedSlow},
		{"just in time", func(m router.Meter) router.Meter { return firsts(m, 100, 15*time.Second) }, p, ""},
		{"long fast, then slow", func(m router.Meter) router.Meter { return firsts(firsts(m, 1000, time.Second), 12, time.Minute) }, p, core.DegradedSlow},
		{"one slow among fast ones", func(m router.Meter) router.Meter { return firsts(firsts(m, 1000, time.Second), 1, time.Minute) }, p, ""},
		{"every other one fails", func(m router.Meter) router.Meter {
			for i := range 40 {
				m = m.Attempt(i%2 == 1)
			}
			return m
		}, p, core.DegradedErrors},
		{"one in five fails", func(m router.Meter) router.Meter {
			for i := range 100 {
				m = m.Attempt(i%5 == 4)
			}
			return m
		}, p, ""},
		{"no bounds", func(m router.Meter) router.Meter { return firsts(m, 20, time.Hour).Attempt(true) }, router.Policy{}, ""},
	} {
		if got := c.do(router.Meter{}).Degraded(c.p); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

func firsts(m router.Meter, n int, d time.Duration) router.Meter {
	for range n {
		m = m.First(d)
	}
	return m
}
