package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"sluice/shared/store"
)

const (
	leaseName  = "notify"
	leaseTime  = time.Minute
	workers    = 4
	maxTries   = 8
	refusedFor = 3              // tries of what is refused for good
	lifetime   = 24 * time.Hour // after which a notice is given up
)

// backoff is the pause after the n-th failed attempt, n from 1.
func backoff(n int) time.Duration {
	pauses := [...]time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}
	return pauses[min(max(n, 1), len(pauses))-1]
}

// Report tells what a Deliver did.
type Report struct {
	Sent   int  `json:"sent"`
	Failed int  `json:"failed"`         // given up
	Left   int  `json:"left"`           // of those seen, for later: not due, to be tried again, or held up by a rate limit
	Held   bool `json:"held,omitempty"` // another one delivers
}

// Deliver sends what is due and returns when nothing is, or when ctx ends; it waits for nothing, so call it every few seconds,
// or at each tick of a scheduler. One runs at a time over all instances (lease "notify"); with an empty outbox it costs
// one listing. Accounts take turns: none has more than two of the four workers, so that what a slow service costs is its own
// account's time, and what is noted meanwhile is seen within about 20 s. A failed attempt is repeated after 5 s, 15 s, 1, 5,
// 15 and 60 minutes, or when the service says; given up after 8 attempts, 24 hours, or 3 answers that refuse it for good.
// What becomes of a notice is logged. A channel gets at most 20 messages a minute, and rests for up to a minute after a
// failure, and for as long as it took after a success of more than 3 s. The error is the store's.
func (h *Hub) Deliver(ctx context.Context) (Report, error) {
	if !h.running.TryLock() {
		return Report{Held: true}, nil
	}
	defer h.running.Unlock()
	docs, err := h.docs.List(ctx, store.KindNotice, "", "", 1)
	if err != nil || len(docs) == 0 {
		return Report{}, err
	}
	r := &run{h: h, closed: make(map[string]time.Time), after: h.from}
	if err := r.hold(ctx); err != nil {
		if errors.Is(err, store.ErrHeld) {
			return Report{Held: true}, nil
		}
		return Report{}, err
	}
	defer r.release(ctx)
	err = r.rounds(ctx)
	h.from = r.after
	if ctx.Err() != nil {
		return r.report, nil
	}
	if errors.Is(err, store.ErrHeld) { // this process stood still for longer than its lease
		r.report.Held = true
		return r.report, nil
	}
	return r.report, err
}

// run is one Deliver.
type run struct {
	h     *Hub
	after string // where the listing of the outbox goes on
	seen  int    // notices, in this round
	cut   bool   // time did not reach some of this round's

	mu     sync.Mutex
	report Report
	held   time.Time            // when the lease was taken last
	closed map[string]time.Time // channels that get nothing more until then
}

// rounds goes through the outbox until a whole round, in which every channel had its turn, did nothing.
func (r *run) rounds(ctx context.Context) error {
	whole := r.after == "" // a round that begins where the last Deliver stopped is not
	before := 0
	for {
		if r.after == "" {
			r.seen, r.cut, before = 0, false, r.report.Sent+r.report.Failed
		}
		err := r.pass(ctx)
		done := r.report.Sent + r.report.Failed - before
		r.report.Left = max(0, r.seen-done)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if r.after != "" {
			continue
		}
		if whole && done == 0 && !r.cut {
			return nil
		}
		whole = true
	}
}

// hold takes the lease, or keeps it.
func (r *run) hold(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.h.o.Now()
	if !r.held.IsZero() && now.Sub(r.held) < leaseTime/3 {
		return nil
	}
	if _, err := r.h.o.Leases.Acquire(ctx, leaseName, r.h.holder, now, leaseTime); err != nil {
		return err
	}
	r.held = now
	return nil
}

func (r *run) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := r.h.o.Leases.Release(ctx, leaseName, r.h.holder); err != nil {
		r.h.o.Log.Warn("the lease of notifications could not be given back; it ends by itself", "error", err)
	}
}

func (r *run) isClosed(channel string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.h.o.Now().Before(r.closed[channel])
}

// close keeps a channel from being tried by this run for a while.
func (r *run) close(channel string, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[channel] = r.h.o.Now().Add(pause)
}

func (r *run) count(n *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// turn sends a lane's notices until the channel fails or has had its share of time; what remains stays in the lane.
func (r *run) turn(ctx context.Context, l *lane) (err error) {
	defer func() {
		if p := recover(); p != nil { // in a goroutine of ours it would end the process
			err = fmt.Errorf("sending notifications failed by a fault of the program (%v):\n%s", p, debug.Stack())
		}
	}()
	row, err := r.h.Channels.Get(ctx, l.channel)
	if err != nil && !store.Missing(err) {
		return err
	}
	channel, began := row.Value, r.h.o.Now()
	for len(l.due) > 0 && ctx.Err() == nil && !r.isClosed(l.channel) {
		n := &l.due[0]
		l.due = l.due[1:]
		if err := r.hold(ctx); err != nil {
			return err
		}
		if reason := r.hopeless(&channel, n); reason != "" {
			err = r.giveUp(ctx, n, reason)
		} else {
			err = r.try(ctx, &channel, n)
		}
		if err != nil {
			return err
		}
		if r.h.o.Now().Sub(began) >= turnTime {
			return nil // others wait
		}
	}
	return nil
}

// hopeless tells why a notice need not be tried. A channel of another account counts as none.
func (r *run) hopeless(c *Channel, n *Notice) string {
	switch {
	case c.ID == "" || c.Account != n.Account:
		return "the channel was deleted"
	case !c.Enabled:
		return "the channel is switched off"
	case r.h.o.Now().Sub(n.CreatedAt) >= lifetime:
		return cmp.Or(n.Error, "it could not be sent within 24 hours")
	}
	return ""
}

// try sends a notice once and keeps what came of it.
func (r *run) try(ctx context.Context, c *Channel, n *Notice) error {
	err := r.h.reserve(ctx, c.rate(), false)
	var busy *BusyError
	if errors.As(err, &busy) {
		r.close(c.ID, busy.RetryAfter)
		return nil
	}
	if err != nil {
		return err
	}
	began := r.h.o.Now()
	err = r.h.attempt(ctx, *c, func() *message { return r.h.message(n.ID, n.Event) })
	took := r.h.o.Now().Sub(began)
	var f *failure
	switch {
	case err == nil:
		n.Attempts++
		r.count(&r.report.Sent)
		if err := r.h.finish(ctx, n, StatusSent, ""); err != nil || took < slow {
			return err
		}
		r.close(c.ID, took)
		return r.h.rest(ctx, c, r.h.o.Now().Add(took))
	case !errors.As(err, &f):
		return nil // ctx ended: what the service took of it is unknown, so it stays as it is
	}
	n.Attempts++
	n.Error = f.words
	r.close(c.ID, max(maxRest, f.after))
	if n.Attempts >= maxTries || f.permanent && n.Attempts >= refusedFor {
		return r.giveUp(ctx, n, f.words)
	}
	return r.postpone(ctx, c, n, f)
}

func (r *run) giveUp(ctx context.Context, n *Notice, reason string) error {
	r.count(&r.report.Failed)
	r.h.o.Log.Warn("notification given up", "account", n.Account, "channel", n.Channel, "event", n.Event.Type,
		"notice", n.ID, "attempts", n.Attempts, "reason", reason)
	return r.h.finish(ctx, n, StatusFailed, reason)
}

// postpone keeps the attempt with the notice, and lets the channel rest unless it was the notice that it refused.
func (r *run) postpone(ctx context.Context, c *Channel, n *Notice, f *failure) error {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	pause := max(backoff(n.Attempts), f.after)
	now := r.h.o.Now()
	n.NextAt = now.Add(pause)
	_, err := r.h.Notices.Update(own, n.ID, func(stored *Notice) error {
		stored.Attempts, stored.Error, stored.NextAt = n.Attempts, n.Error, n.NextAt
		return nil
	})
	if err != nil && !store.Missing(err) { // deleted with its account
		return err
	}
	if f.permanent {
		return nil
	}
	return r.h.rest(ctx, c, now.Add(max(f.after, min(pause, maxRest))))
}
