package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/boot"
	"sluice/shared/config"
)

// TestTick: each job has its own pace; one that hangs holds up no other; errors are logged once, panics are errors; all end
// with the context, and no goroutine is left (the bubble would not end).
func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		ctx, stop := context.WithCancel(t.Context())
		var quick, hung, bad, broken atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			tick(ctx, slog.New(slog.NewTextHandler(&log, nil)), []job{
				{"quick", 0, time.Second, func(context.Context) error { quick.Add(1); return nil }},
				{"hung", 10 * time.Second, time.Second, func(ctx context.Context) error { hung.Add(1); <-ctx.Done(); return ctx.Err() }},
				{"bad", 0, time.Second, func(context.Context) error {
					if n := bad.Add(1); n > 5 && n < 50 {
						return errors.New("the store is away")
					}
					return nil
				}},
				{"broken", 0, time.Minute, func(context.Context) error { broken.Add(1); panic("oh") }},
			})
		}()
		time.Sleep(99*time.Second + time.Second/2) // of the bubble
		stop()
		<-done
		if quick.Load() != 100 || hung.Load() != 1 || bad.Load() != 100 || broken.Load() != 2 {
			t.Errorf("%d, %d, %d, %d", quick.Load(), hung.Load(), bad.Load(), broken.Load())
		}
		for text, times := range map[string]int{"job=bad error=": 1, "a job works again": 1, "panic: oh": 1, "job=hung": 0} {
			if got := strings.Count(log.String(), text); got != times {
				t.Errorf("%q %d times in\n%s", text, got, log.String())
			}
		}
	})
}

// TestJobsWait (1.18, deploy-crash-diagnosis): the first look at all nodes waits for the start to be over, and is not made where
// it is turned off.
func TestJobsWait(t *testing.T) {
	for _, c := range []struct {
		minutes int
		sweeps  bool
	}{{10, true}, {0, false}} {
		found := false
		for _, j := range jobs(&boot.App{}, &config.Config{SweepInterval: c.minutes}) {
			if strings.Contains(j.name, "all nodes") {
				found = true
				if j.first < 30*time.Second || j.first > time.Minute || j.every != time.Duration(c.minutes)*time.Minute {
					t.Errorf("first after %s, then every %s", j.first, j.every)
				}
			}
		}
		if found != c.sweeps {
			t.Errorf("%d minutes: sweeps %v", c.minutes, found)
		}
	}
}
