package probe_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/health/probe"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/anthropic"
	"sluice/shared/upstream/upstreamtest"
)

// TestWarmup: what a failed node must do before it comes back. answers are those to checks in turn, the last for all others.
func TestWarmup(t *testing.T) {
	for _, c := range []struct {
		why                string
		attempts, required int
		answers            []int
		asked              int
		back               bool
		source             string
	}{
		{"by default the check that found it well is enough", 2, 1, []int{200, 500}, 1, true, core.SourceProbe},
		{"without a warm-up, too", 1, 1, []int{200, 500}, 1, true, core.SourceProbe},
		{"two of two", 2, 2, []int{200, 200, 500}, 2, true, core.SourceWarmup},
		{"one of two is not two", 2, 2, []int{200, 500}, 2, false, core.SourceWarmup},
		{"a second chance", 3, 2, []int{200, 500, 200, 500}, 3, true, core.SourceWarmup},
		{"no more is asked than can help", 3, 3, []int{200, 500, 200}, 2, false, core.SourceWarmup},
		{"a bad first look is no warm-up", 3, 2, []int{500, 200}, 1, false, core.SourceProbe},
		{"a limit is no proof", 2, 2, []int{200, 429}, 2, false, core.SourceWarmup},
	} {
		r := newRig(t, memory.New(), func(o *probe.Options) { o.Warmup = probe.Warmup{Attempts: c.attempts, Required: c.required} })
		n := r.add(core.Node{}, "status 500")
		var at atomic.Int64
		r.client.reply = func(context.Context, string, string) (int, error) {
			return c.answers[min(int(at.Add(1))-1, len(c.answers)-1)], nil
		}
		r.advance(30 * time.Second)
		rep := r.probe()
		if got := len(r.client.nodes()); got != c.asked || (rep.Recovered == 1) != c.back || r.stateOf(n).Failed == c.back {
			t.Errorf("%s: asked %d times, %+v, %+v", c.why, got, rep, r.stateOf(n))
		}
		if last, err := r.tables.Checks.Get(t.Context(), n.ID); err != nil || last.Value.Last.Source != c.source || last.Value.Last.OK != c.back {
			t.Errorf("%s: noted %+v, %v", c.why, last.Value.Last, err)
		}
	}
}

// TestWarmupBounds: each attempt has its time, and so many nodes are warmed up at once.
func TestWarmupBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, memory.New(), func(o *probe.Options) {
			o.Warmup = probe.Warmup{Attempts: 2, Required: 2, Timeout: 2 * time.Second, AtOnce: 2}
		})
		r.addMany(8, "status 500")
		r.advance(30 * time.Second)
		var asked sync.Map
		var warming, most atomic.Int64
		r.client.reply = func(ctx context.Context, node, _ string) (int, error) {
			if _, again := asked.LoadOrStore(node, true); !again {
				return 200, nil
			}
			most.Store(max(most.Load(), warming.Add(1)))
			defer warming.Add(-1)
			<-ctx.Done()
			return 0, ctx.Err()
		}
		start := time.Now()
		rep := r.probe()
		if rep.Recovered != 0 || rep.Bad != 8 || most.Load() != 2 || time.Since(start) != 8*time.Second {
			t.Errorf("%+v, %d at once, %s", rep, most.Load(), time.Since(start))
		}
	})
}

// TestLesson_HeadIsReachability (1.18, health_check_improvement; BUG of 1.10: only 200 of the API's root was well): any answer
// below 500 of a real endpoint will do, and clears what a HEAD can see, no more.
func TestLesson_HeadIsReachability(t *testing.T) {
	for _, c := range []struct {
		why    string
		state  core.NodeState
		status int
		ok     bool
		clears bool
	}{
		{"404", core.NodeState{Failed: true, LastError: "connection refused"}, 404, true, true},
		{"405", core.NodeState{Failed: true, LastError: "host name not found"}, 405, true, true},
		{"the key does not matter", core.NodeState{Failed: true, LastError: "TLS handshake failed"}, 401, true, true},
		{"what a check by head found itself", core.NodeState{Failed: true, LastError: "health check by head: status 502"}, 404, true, true},
		{"what a check by message found", core.NodeState{Failed: true, LastError: "health check: status 502"}, 404, true, false},
		{"a refused key", core.NodeState{Failed: true, LastError: "status 401"}, 200, true, false},
		{"a streak of 5xx that is not yet enough", core.NodeState{FailStreak: 2, LastError: "status 500"}, 200, true, false},
		{"degraded by errors of content", core.NodeState{Degraded: core.DegradedErrors, LastError: "status 500"}, 200, true, false},
		{"degraded by lost connections", core.NodeState{Degraded: core.DegradedErrors, LastError: "connection lost before an answer"}, 200, true, true},
		{"500 is no answer", core.NodeState{Failed: true, LastError: "connection refused"}, 500, false, false},
	} {
		r := newRig(t, memory.New(), nil)
		n := r.add(core.Node{HealthMethod: core.CheckHead}, "")
		c.state.Node, c.state.Account, c.state.Since = n.ID, n.Account, began.Add(-time.Hour)
		r.state(c.state)
		r.client.status(c.status)
		found, err := r.Check(t.Context(), n)
		s := r.stateOf(n)
		well := !s.Failed && s.FailStreak == 0 && s.Degraded == ""
		if err != nil || found.OK != c.ok || found.Method != core.CheckHead || well != c.clears {
			t.Errorf("%s: %+v, %v, %+v", c.why, found, err, s)
		}
		if len(r.client.asked) != 1 || r.client.asked[0] != n.ID+" HEAD /v1/models" {
			t.Errorf("%s: asked %q", c.why, r.client.asked)
		}
	}
}

// TestVerdicts: what an answer to a message makes of a healthy node, and what is said of it.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		err    error
		ok     bool
		streak int
		says   string
		cools  string // model
	}{
		{"well", 200, nil, true, 0, "", ""},
		{"down", 500, nil, false, 1, "status 500", ""},
		{"overloaded", 529, nil, false, 1, "status 529", ""},
		{"its key is refused", 403, nil, false, 1, "status 403", ""},
		{"no connection", 0, errors.New("dial tcp 10.1.2.3:443: no route"), false, 1, "connection failed", ""},
		{"a question it does not take says nothing", 400, nil, false, 0, "status 400: it does not take the question", ""},
		{"a limit cools the model that was asked, not all", 429, nil, false, 0, "status 429", "m-1"},
	} {
		r := newRig(t, memory.New(), nil)
		n := r.add(core.Node{HealthModel: "m-1"}, "")
		r.client.reply = func(context.Context, string, string) (int, error) { return c.status, c.err }
		found, err := r.Check(t.Context(), n)
		if err != nil || found.OK != c.ok || !strings.HasPrefix(found.Error, c.says) || (c.says == "") != (found.Error == "") || found.Source != core.SourceManual || !found.At.Equal(began) {
			t.Errorf("%s: %+v, %v", c.why, found, err)
		}
		s := r.stateOf(n)
		if s.FailStreak != c.streak || s.Failed || len(s.Cooling) != len(c.cools)/3 || c.cools != "" && s.Cooling[c.cools].IsZero() {
			t.Errorf("%s: %+v", c.why, s)
		}
		if told := r.events.count(core.EventNodeCheckFailed); (told == 0) != c.ok {
			t.Errorf("%s: told %d times", c.why, told)
		}
	}
}

// TestDegradedEnds: a good check in time ends that a node is slow, one that is slow itself does not, and a good one ends that
// it fails too often. Nodes that no model is asked for stayed slow for ever.
func TestDegradedEnds(t *testing.T) {
	for _, c := range []struct {
		why, degraded, method string
		took                  time.Duration
		ends                  bool
	}{
		{"fast again", core.DegradedSlow, core.CheckAPI, time.Second, true},
		{"at the bound", core.DegradedSlow, core.CheckAPI, 5 * time.Second, true},
		{"still slow", core.DegradedSlow, core.CheckAPI, 6 * time.Second, false},
		{"a HEAD does not show how fast models are, so requests find out", core.DegradedSlow, core.CheckHead, time.Second, true},
		{"no failure", core.DegradedErrors, core.CheckAPI, 6 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, memory.New(), func(o *probe.Options) { o.Policy.SlowFirstByte = 5 * time.Second })
			n := r.add(core.Node{HealthMethod: c.method}, "")
			r.state(core.NodeState{Node: n.ID, Account: n.Account, Degraded: c.degraded, DegradedAt: began.Add(-time.Hour), Since: began.Add(-time.Hour), LastError: "status 500"})
			r.client.reply = func(context.Context, string, string) (int, error) {
				time.Sleep(c.took) // of the bubble
				return 200, nil
			}
			if rep := r.probe(); rep.Checked != 1 {
				t.Errorf("%s: %+v", c.why, rep)
			}
			if s := r.stateOf(n); (s.Degraded == "") != c.ends {
				t.Errorf("%s: %+v", c.why, s)
			}
		})
	}
}

// TestCheckNow: a person's test is bounded, takes a node in any state, and shows no address.
func TestCheckNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, memory.New(), nil)
		n := r.add(core.Node{Disabled: true, BaseURL: "http://10.1.2.3"}, "status 500")
		r.client.reply = func(ctx context.Context, _, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		start := time.Now()
		found, err := r.Check(t.Context(), n)
		if err != nil || found.OK || found.Error != "connection timed out" || time.Since(start) > 20*time.Second {
			t.Errorf("%+v, %v after %s", found, err, time.Since(start))
		}
		r.client.status(200)
		if found, err := r.Check(t.Context(), n); err != nil || !found.OK || r.stateOf(n).Failed {
			t.Errorf("%+v, %v, %+v", found, err, r.stateOf(n))
		}
	})
}

// TestCheckNowWarmsUp: patience ends while a failed node is warmed up: it stays failed, is not blamed, and the person hears.
func TestCheckNowWarmsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, memory.New(), func(o *probe.Options) { o.Warmup = probe.Warmup{Attempts: 10, Required: 10, Timeout: 9 * time.Second} })
		n := r.add(core.Node{}, "status 500")
		r.client.reply = func(ctx context.Context, _, _ string) (int, error) {
			select {
			case <-time.After(8 * time.Second):
				return 200, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		found, err := r.Check(t.Context(), n)
		if s := r.stateOf(n); err != nil || found.OK || found.Error != "no answer within 20s" || !s.Failed || s.FailStreak != 3 {
			t.Errorf("%+v, %v, %+v", found, err, s)
		}
	})
}

// TestCannotBeAsked: what is our own trouble is said, and no node is blamed.
func TestCannotBeAsked(t *testing.T) {
	for _, c := range []struct {
		why  string
		node core.Node
		says string
	}{
		{"a credential sealed by another key", core.Node{Credential: "broken"}, "its credential cannot be opened; enter it again"},
		{"a kind that is not served here", core.Node{Kind: core.KindBedrock}, "nodes of its kind cannot be asked here"},
	} {
		r := newRig(t, memory.New(), nil)
		n := r.add(c.node, "")
		found, err := r.Check(t.Context(), n)
		if err != nil || found.OK || !strings.HasPrefix(found.Error, c.says) || r.stateOf(n).FailStreak != 0 {
			t.Errorf("%s: %+v, %v, %+v", c.why, found, err, r.stateOf(n))
		}
	}
}

// TestOwnWay: a kind with a way of its own is asked by it, whatever its method says.
func TestOwnWay(t *testing.T) {
	var fails error
	r := newRig(t, memory.New(), func(o *probe.Options) {
		o.Own = map[core.Kind]func(context.Context, upstream.Target) error{core.KindAmazonQ: func(context.Context, upstream.Target) error { return fails }}
	})
	n := r.add(core.Node{Kind: core.KindAmazonQ, HealthMethod: core.CheckHead}, "")
	if found, err := r.Check(t.Context(), n); err != nil || !found.OK || found.Method != core.CheckAPI {
		t.Errorf("%+v, %v", found, err)
	}
	fails = &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential, Blocked: core.BlockedLogin, Reason: "log in again"}}
	if found, err := r.Check(t.Context(), n); err != nil || found.OK || found.Error != "log in again" || r.stateOf(n).Blocked != core.BlockedLogin {
		t.Errorf("%+v, %v, %+v", found, err, r.stateOf(n))
	}
	if r.events.count(core.EventAuthFailed) != 1 {
		t.Errorf("told %+v", r.events.list)
	}
}

// TestRealProtocol: the question is one that the real API takes: a strict fake of it answers.
func TestRealProtocol(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	r := newRig(t, memory.New(), func(o *probe.Options) {
		o.Clients[core.KindAnthropic] = anthropic.New(upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: true}}))
	})
	for _, method := range []string{core.CheckAPI, core.CheckHead} {
		n := r.add(core.Node{BaseURL: up.URL, HealthMethod: method, Credential: "k-1"}, "")
		if found, err := r.Check(t.Context(), n); err != nil || !found.OK || found.Method != method {
			t.Errorf("%s: %+v, %v", method, found, err)
		}
	}
}

// A recovery that a check brought about stood in the history as if a client's request had.
func TestHistoryNamesTheCheck(t *testing.T) {
	r := newRig(t, memory.New(), nil)
	n := r.add(core.Node{}, "status 500")
	if found, err := r.Check(t.Context(), n); err != nil || !found.OK {
		t.Fatalf("%+v, %v", found, err)
	}
	rows, err := r.tables.Days.Page(t.Context(), n.Account, n.ID+"/", 10)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%+v, %v", rows, err)
	}
	got := rows[0].Value.Checks
	last := got[len(got)-1]
	if last.Method != core.CheckAPI || last.Source != core.SourceManual || last.Condition != core.Online || !last.OK {
		t.Errorf("history %+v", got)
	}
}
