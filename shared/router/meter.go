package router

import (
	"time"

	"sluice/shared/core"
)

const (
	meterWeight = 0.1 // of the newest sample
	meterLeast  = 10  // samples before a mean says anything
)

// Meter is the moving mean of what a node's requests showed. The zero value knows nothing.
type Meter struct {
	FirstByte float64 // ms until the first content of a stream
	Errors    float64 // share of attempts that counted as failures, 0 to 1
	firsts    int
	attempts  int
}

// Attempt returns the meter after an attempt that failed by the node's fault, or did not.
func (m Meter) Attempt(failed bool) Meter {
	v := 0.0
	if failed {
		v = 1
	}
	m.Errors, m.attempts = mean(m.Errors, v, m.attempts)
	return m
}

// First returns the meter after the first content of a stream came.
func (m Meter) First(after time.Duration) Meter {
	m.FirstByte, m.firsts = mean(m.FirstByte, float64(after)/float64(time.Millisecond), m.firsts)
	return m
}

// mean is the plain one of the first samples, so that the very first does not weigh for long.
func mean(old, sample float64, n int) (float64, int) {
	n = min(n+1, meterLeast)
	return old + (sample-old)*max(meterWeight, 1/float64(n)), n
}

// Degraded tells whether what the meter shows is beyond the policy's bounds, and why.
func (m Meter) Degraded(p Policy) string {
	switch {
	case p.ErrorRate > 0 && m.attempts == meterLeast && m.Errors > p.ErrorRate:
		return core.DegradedErrors
	case p.SlowFirstByte > 0 && m.firsts == meterLeast && m.FirstByte > float64(p.SlowFirstByte)/float64(time.Millisecond):
		return core.DegradedSlow
	}
	return ""
}
