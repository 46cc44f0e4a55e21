package main

import (
	"context"
	"time"
)

// simClock is a clock that all processes share: it shows base at the real time start and runs speed times as fast.
type simClock struct {
	base, start time.Time
	speed       float64
}

// now is the simulated time in whole microseconds.
func (c simClock) now() time.Time {
	real := time.Now().Round(0).Sub(c.start) // by the wall clock: the monotonic one is a process's own
	return c.base.Add(time.Duration(float64(real) * c.speed)).Truncate(time.Microsecond)
}

// wait waits for a simulated duration or the context's end.
func (c simClock) wait(ctx context.Context, d time.Duration) {
	pause(ctx, time.Duration(float64(d)/c.speed))
}

// pause waits for a real duration or the context's end.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
