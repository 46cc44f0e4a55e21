package probe

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
	"sluice/shared/upstream"
)

var errPanic = errors.New("internal error; the log has it")

// byHead begins the reasons of failures that the method head found, and may clear.
const byHead = "health check by head: "

// check asks one node and tells tracker and journal. The error means that nothing was found out, or not saved: a check that
// time cut short says nothing of its node.
func (c *Checker) check(ctx context.Context, n *core.Node, source string, p router.Policy) (found core.HealthCheck, recovered bool, err error) {
	defer func() {
		if p := recover(); p != nil { // one node must not end the round of all others
			c.o.Log.Error("panic in a health check", "node_id", n.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	s := c.o.Tracker.Node(ctx, n.ID, n.Account)
	before := s.State()
	a := c.ask(ctx, n, checkTime)
	if a.good() && before != nil && before.Failed && clears(a.method, before) {
		var warmed bool
		if a, warmed = c.warmUp(ctx, n, a); warmed {
			source = core.SourceWarmup
		}
	}
	if ctx.Err() != nil && !a.good() {
		return found, false, ctx.Err()
	}
	now := c.o.Now()
	f := a.f
	switch {
	case a.good():
		if clears(a.method, before) {
			recovered = before != nil && before.Failed
			c.o.Tracker.Succeeded(s, n.Name, p)
		}
		// what asks no model ends it, too: requests will tell whether it is still slow, and nothing else could
		if before != nil && before.Degraded == core.DegradedSlow {
			c.o.Tracker.FirstByte(s, a.took, now, p)
		}
	case f.Blocked != "":
		c.o.Tracker.Blocked(s, n.Name, f.Blocked, f.Reason, now)
	case f.Class == upstream.RateLimited:
		model := a.model
		if f.All {
			model = ""
		}
		c.o.Tracker.Cooled(s, n.Name, model, now.Add(f.RetryAfter), f.Reason, now)
	case f.Blames():
		prefix := "health check: "
		if a.method == core.CheckHead {
			prefix = byHead
		}
		c.o.Tracker.Failed(s, n.Name, prefix+f.Reason, now, p)
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	found = core.HealthCheck{At: now.UTC(), OK: a.good(), MS: a.took.Milliseconds(), Method: a.method, Source: source}
	if !found.OK {
		found.Error = words(f)
		c.Noticed() // it may have failed now
	}
	if err := c.o.Tracker.SaveUntold(late, s); err != nil {
		return found, recovered, err // the journal tells of what is saved
	}
	return found, recovered, c.o.Journal.Check(late, n, found)
}

// words say what was wrong, without a full stop.
func words(f upstream.Failure) string {
	switch {
	case f.Reason == "":
		return "it could not be asked"
	case f.Class == upstream.ClientFault:
		return f.Reason + ": it does not take the question, which says nothing of the node; choose another health check model"
	case f.Class == upstream.NotOffered:
		return f.Reason + ": its credential is not offered the health check model"
	}
	return f.Reason
}

// warmUp makes a failed node that was found well prove it. It returns what decides, and whether there was anything to prove.
func (c *Checker) warmUp(ctx context.Context, n *core.Node, first answer) (answer, bool) {
	w := c.o.Warmup
	if w.Required <= 1 || w.Attempts <= 1 {
		return first, false
	}
	select {
	case c.warm <- struct{}{}:
		defer func() { <-c.warm }()
	case <-ctx.Done():
		return answer{method: first.method, f: upstream.Failure{Class: upstream.Stopped, Reason: "time is up"}}, true
	}
	last, bad := first, first
	good := 1
	for tried := 1; good < w.Required && w.Required-good <= w.Attempts-tried; tried++ {
		a := c.ask(ctx, n, w.Timeout)
		switch {
		case a.good():
			last = a
			good++
		case ctx.Err() != nil:
			return a, true
		default:
			bad = a
		}
	}
	if good < w.Required {
		return bad, true
	}
	return last, true
}

// clears reports whether a good answer says anything of what the node failed by: a bare HEAD sees no more than the connection,
// and what a HEAD found itself.
func clears(method string, s *core.NodeState) bool {
	if method != core.CheckHead || s == nil || !s.Failed && s.FailStreak == 0 && s.Degraded != core.DegradedErrors {
		return true
	}
	return strings.HasPrefix(s.LastError, byHead) || connectionFailed(s.LastError)
}

// connectionFailed reports whether a reason is one that upstream.ClassifyError gives.
func connectionFailed(reason string) bool {
	reason = strings.TrimPrefix(reason, "health check: ")
	return strings.HasPrefix(reason, "connection ") || reason == "host name not found" || reason == "TLS handshake failed" ||
		strings.HasPrefix(reason, "address is not public")
}

// answer is what came of asking a node.
type answer struct {
	f      upstream.Failure
	method string        // that was used
	model  string        // that was asked; empty: none
	took   time.Duration // until the answer was there
}

func (a *answer) good() bool { return a.f.Class == upstream.OK }
