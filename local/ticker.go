package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"sluice/shared/boot"
	"sluice/shared/config"
)

const (
	refreshEvery  = time.Minute
	maintainEvery = 10 * time.Minute
	probeEvery    = time.Second // it costs nothing while no node is due
	deliverEvery  = 5 * time.Second
	alertsEvery   = time.Minute
	countEvery    = 30 * time.Second
	// firstSweep is how long the first look at all nodes waits: a start, or many after a crash, must not ask every upstream
	// before the first request is served.
	firstSweep = 30 * time.Second
)

// job is something that is done again and again, each in its own goroutine: a slow one must not hold up token refresh.
type job struct {
	name  string
	first time.Duration // until the first time
	every time.Duration // between the end of one and the beginning of the next
	run   func(ctx context.Context) error
}

// jobs are what the scheduler of the functions does, by the clock of this process.
func jobs(app *boot.App, c *config.Config) []job {
	reported := func(f func(context.Context) (boot.JobReport, error)) func(context.Context) error {
		return func(ctx context.Context) error { _, err := f(ctx); return err }
	}
	js := []job{
		{"token refresh", 0, refreshEvery, func(ctx context.Context) error { app.RefreshTokens(ctx); return nil }},
		{"maintenance", 0, maintainEvery, func(ctx context.Context) error { app.Maintain(ctx); return nil }},
		{"health checks of failed nodes", 0, probeEvery, reported(app.ProbeDue)},
		{"notifications", 0, deliverEvery, reported(app.Deliver)},
		{"count of nodes", 0, countEvery, app.CountNodes},
		{"alert rules", alertsEvery, alertsEvery, reported(app.Alerts)},
	}
	if every := time.Duration(c.SweepInterval) * time.Minute; every > 0 {
		js = append(js, job{"health checks of all nodes", firstSweep + rand.N(firstSweep), every,
			reported(func(ctx context.Context) (boot.JobReport, error) { return app.SweepDue(ctx, every) })})
	}
	return js
}

// tick runs jobs until ctx ends, and returns when the last one has.
func tick(ctx context.Context, log *slog.Logger, js []job) {
	var wg sync.WaitGroup
	for _, j := range js {
		wg.Go(func() { j.loop(ctx, log) })
	}
	wg.Wait()
}

func (j *job) loop(ctx context.Context, log *slog.Logger) {
	t := time.NewTimer(j.first)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := j.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing: // once, not each second while the store is away
			log.Error("a job failed; it is tried again", "job", j.name, "error", err)
		case err == nil && failing:
			log.Info("a job works again", "job", j.name)
		}
		failing = err != nil
		t.Reset(j.every)
	}
}

// once runs the job. A panic is one failure of it, not the end of the server.
func (j *job) once(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return j.run(ctx)
}
