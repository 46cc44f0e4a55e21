package router

import (
	"maps"
	"time"

	"sluice/shared/core"
)

// Policy are an account's rules of health.
type Policy struct {
	FailThreshold int           // counted failures in a row that make a node failed
	TrialAfter    time.Duration // a failed or degraded node gets one trial request after this long
	SlowFirstByte time.Duration // mean time to the first content beyond which a node is degraded; 0: none is too slow
	ErrorRate     float64       // share of failures, 0 to 1, beyond which it is; 0: failures in a row alone count
}

// maxCooling bounds the models that one node can cool for: names are the client's.
const maxCooling = 64

// ConditionOf is the condition of a node that is enabled, nil for nothing known, with when it began and why. A blocked
// node's is the reason why it is blocked.
func ConditionOf(s *core.NodeState, now time.Time) (c core.Condition, since time.Time, reason string) {
	if s == nil {
		return core.Online, time.Time{}, ""
	}
	c = lasting(s)
	if c == core.Cooling && !cools(s, now) { // it ended by itself, which nobody wrote down
		c = core.Online
		if s.Degraded != "" {
			c = core.Degraded
		}
		if ended := latest(s.Cooling); ended.After(s.Since) {
			return c, ended, ""
		}
	}
	return c, s.Since, s.Reason
}

// brief is how long a cool-down lasts that nobody needs to hear of: upstreams refuse bursts all the time.
const brief = time.Minute

// Notable is ConditionOf, to which a brief cool-down is none.
func Notable(s *core.NodeState, now time.Time) (c core.Condition, since time.Time, reason string) {
	c, since, reason = ConditionOf(s, now)
	if c != core.Cooling || latest(s.Cooling).Sub(since) >= brief {
		return c, since, reason
	}
	if s.Degraded != "" {
		return core.Degraded, s.DegradedAt, degradedReason(s.Degraded)
	}
	return core.Online, s.Since, ""
}

// HalfOpen reports whether a failed node's trial is due.
func HalfOpen(s *core.NodeState, now time.Time, p Policy) bool {
	return s != nil && s.Failed && s.Blocked == "" && !now.Before(s.FailedAt.Add(p.TrialAfter))
}

// lasting is the condition without regard to time: a cool-down counts also when it is over.
func lasting(s *core.NodeState) core.Condition {
	switch {
	case s.Blocked != "":
		return core.Condition(s.Blocked)
	case s.Failed:
		return core.Failed
	case len(s.Cooling) > 0:
		return core.Cooling
	case s.Degraded != "":
		return core.Degraded
	}
	return core.Online
}

func cools(s *core.NodeState, now time.Time) bool {
	for _, until := range s.Cooling {
		if now.Before(until) {
			return true
		}
	}
	return false
}

func latest(cooling map[string]time.Time) (t time.Time) {
	for _, until := range cooling {
		if until.After(t) {
			t = until
		}
	}
	return t
}

// Dated notes in s since when and why it is in its condition, where that is another one than that of the state before.
func Dated(before, s core.NodeState, now time.Time) core.NodeState {
	was, _, _ := ConditionOf(&before, now)
	is, _, _ := ConditionOf(&s, now)
	if was == is && !before.Since.IsZero() {
		s.Since, s.Reason = before.Since, before.Reason
		return s
	}
	s.Since, s.Reason = now, ""
	switch is {
	case core.Online:
	case core.Degraded:
		s.Reason = degradedReason(s.Degraded)
	default:
		s.Reason = s.LastError
	}
	return s
}

func degradedReason(why string) string {
	if why == core.DegradedSlow {
		return "its first content comes too late"
	}
	return "too many requests fail"
}

// Failed returns the state after one counted failure. The bool tells whether the node just became failed.
func Failed(s core.NodeState, reason string, now time.Time, p Policy) (core.NodeState, bool) {
	s.FailStreak++
	s.LastError, s.LastErrAt = reason, now
	was := s.Failed
	if s.Failed || s.FailStreak >= p.FailThreshold {
		// a failed trial starts the wait anew
		s.Failed, s.FailedAt = true, now
	}
	return s, s.Failed && !was
}

// Succeeded returns the state after a good answer; one closes the breaker. The first bool tells whether anything
// changed, the second whether the node came back from failed.
func Succeeded(s core.NodeState) (out core.NodeState, changed, recovered bool) {
	if s.FailStreak == 0 && !s.Failed {
		return s, false, false
	}
	recovered = s.Failed
	s.FailStreak, s.Failed, s.FailedAt = 0, false, time.Time{}
	return s, true, recovered
}

// Degrade returns the state of a node that is found too slow or too faulty, why is one of core's; "" ends it.
func Degrade(s core.NodeState, why string, now time.Time) core.NodeState {
	s.Degraded, s.DegradedAt = why, now
	if why == "" {
		s.DegradedAt = time.Time{}
	}
	return s
}

// Cooled returns the state after a 429: the node is left alone for the model until then. It is no failure.
func Cooled(s core.NodeState, model string, until time.Time, reason string, now time.Time) core.NodeState {
	next := make(map[string]time.Time, len(s.Cooling)+1)
	maps.Copy(next, s.Cooling)
	maps.DeleteFunc(next, func(_ string, t time.Time) bool { return !now.Before(t) })
	if len(next) >= maxCooling {
		model = ""
	}
	if until.After(next[model]) { // a burst's limit does not end a quota's
		next[model] = until
	}
	s.Cooling = next
	s.LastError, s.LastErrAt = reason, now
	return s
}

// CoolingUntil returns until when the node cools for the model; the zero time when it does not.
func CoolingUntil(s *core.NodeState, model string, now time.Time) time.Time {
	if s == nil || len(s.Cooling) == 0 {
		return time.Time{}
	}
	until := s.Cooling[model]
	if all := s.Cooling[""]; all.After(until) {
		until = all
	}
	if !now.Before(until) {
		return time.Time{}
	}
	return until
}
