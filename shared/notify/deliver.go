package notify

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sluice/shared/store"
)

const (
	leaseName  = "notify"
	leaseTime  = time.Minute
	pageSize   = 200
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
	Left   int  `json:"left"`           // for later: not due, to be tried again, or held up by a rate limit
	Held   bool `json:"held,omitempty"` // another one delivers
}

// Deliver sends what is due and returns when nothing is, or when ctx ends; it waits for nothing, so call it every few seconds,
// or at each tick of a scheduler. One runs at a time over all instances (lease "notify"); with an empty outbox it costs
// one listing. A failed attempt is repeated after 5 s, 15 s, 1, 5, 15 and 60 minutes, or when the service says; given up
// after 8 attempts, 24 hours, or 3 answers that refuse it for good. What becomes of a notice is logged. A channel gets
// at most 20 messages a minute, and rests for up to a minute after a failure. The error is the store's.
func (h *Hub) Deliver(ctx context.Context) (Report, error) {
	if !h.running.TryLock() {
		return Report{Held: true}, nil
	}
	defer h.running.Unlock()
	docs, err := h.docs.List(ctx, store.KindNotice, "", "", 1)
	if err != nil || len(docs) == 0 {
		return Report{}, err
	}
	r := &run{h: h, closed: make(map[string]bool)}
	if err := r.hold(ctx); err != nil {
		if errors.Is(err, store.ErrHeld) {
			return Report{Held: true}, nil
		}
		return Report{}, err
	}
	defer r.release(ctx)
	for {
		done, err := r.pass(ctx)
		if ctx.Err() != nil {
			return r.report, nil
		}
		if errors.Is(err, store.ErrHeld) { // this process stood still for longer than its lease
			r.report.Held = true
			return r.report, nil
		}
		if err != nil || done == 0 {
			return r.report, err
		}
	}
}

// run is one Deliver.
type run struct {
	h      *Hub
	mu     sync.Mutex
	report Report
	held   time.Time       // when the lease was taken last
	closed map[string]bool // channels that get nothing more
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

// lane is the due notices of one channel, the oldest first.
type lane struct {
	channel string
	due     []Notice
}

// pass sends once what the outbox holds now, several channels at a time; it returns how many notices left it.
func (r *run) pass(ctx context.Context) (int, error) {
	lanes, listed, err := r.collect(ctx)
	if err != nil {
		return 0, err
	}
	before := r.report.Sent + r.report.Failed
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan *lane)
	var wg sync.WaitGroup
	for range min(workers, len(lanes)) {
		wg.Go(func() {
			for l := range queue {
				if err := r.empty(ctx, l); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, l := range lanes {
		queue <- l
	}
	close(queue)
	wg.Wait()
	done := r.report.Sent + r.report.Failed - before
	r.report.Left = listed - done
	if err := context.Cause(ctx); err != nil {
		return done, err
	}
	return done, nil
}

// collect lists the outbox: of each channel that is still open no more due notices than it may get in a minute.
func (r *run) collect(ctx context.Context) (lanes []*lane, listed int, err error) {
	byChannel := make(map[string]*lane)
	now, after := r.h.o.Now(), ""
	for {
		docs, err := r.h.docs.List(ctx, store.KindNotice, "", after, pageSize)
		if err != nil {
			return nil, 0, err
		}
		for i := range docs {
			n, ok := r.decode(ctx, &docs[i])
			if !ok {
				continue
			}
			listed++
			if n.NextAt.After(now) || r.isClosed(n.Channel) {
				continue
			}
			l := byChannel[n.Channel]
			if l == nil {
				l = &lane{channel: n.Channel}
				byChannel[n.Channel] = l
				lanes = append(lanes, l)
			}
			l.add(n)
		}
		if len(docs) < pageSize {
			return lanes, listed, nil
		}
		after = docs[len(docs)-1].ID
	}
}

func (l *lane) add(n Notice) {
	at, _ := slices.BinarySearchFunc(l.due, n, func(a, b Notice) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	l.due = slices.Insert(l.due, at, n)
	l.due = l.due[:min(len(l.due), perMinute)]
}

func (r *run) isClosed(channel string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed[channel]
}

func (r *run) close(channel string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed[channel] = true
}

func (r *run) count(n *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// empty sends a lane's notices until the channel fails or has had its share of time.
func (r *run) empty(ctx context.Context, l *lane) error {
	if ctx.Err() != nil {
		return nil
	}
	row, err := r.h.Channels.Get(ctx, l.channel)
	if err != nil && !store.Missing(err) {
		return err
	}
	channel, began := row.Value, r.h.o.Now()
	for i := range l.due {
		n := &l.due[i]
		if ctx.Err() != nil || r.isClosed(l.channel) {
			return nil
		}
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
		if r.h.o.Now().Sub(began) >= sendTime {
			return nil // others wait; the next pass goes on here
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
	ok, err := r.h.reserve(ctx, c, false)
	if err != nil {
		return err
	}
	if !ok {
		r.close(c.ID)
		return nil
	}
	err = r.h.send(ctx, *c, r.h.message(n.ID, n.Event))
	var f *failure
	switch {
	case err == nil:
		n.Attempts++
		r.count(&r.report.Sent)
		return r.h.finish(ctx, n, StatusSent, "")
	case !errors.As(err, &f):
		return nil // ctx ended: what the service took of it is unknown, so it stays as it is
	}
	n.Attempts++
	n.Error = f.words
	r.close(c.ID)
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	pause := max(backoff(n.Attempts), f.after)
	now := r.h.o.Now()
	n.NextAt = now.Add(pause)
	_, err := r.h.Notices.Update(ctx, n.ID, func(stored *Notice) error {
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
