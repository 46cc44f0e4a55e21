package router

import (
	"maps"
	"time"

	"sluice/shared/core"
)

// Policy are an account's rules of health.
type Policy struct {
	FailThreshold int           // counted failures in a row that make a node failed
	TrialAfter    time.Duration // a failed node gets one trial request after this long
}

// maxCooling bounds the models that one node can cool for: names are the client's.
const maxCooling = 64

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

// Cooled returns the state after a 429: the node is left alone for the model until then. It is no failure.
func Cooled(s core.NodeState, model string, until time.Time, reason string, now time.Time) core.NodeState {
	next := make(map[string]time.Time, len(s.Cooling)+1)
	maps.Copy(next, s.Cooling)
	maps.DeleteFunc(next, func(_ string, t time.Time) bool { return !now.Before(t) })
	if len(next) >= maxCooling {
		model = ""
	}
	next[model] = until
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
