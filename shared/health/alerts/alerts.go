// Package alerts evaluates the alert rules of accounts: it raises an alert when a rule's condition begins to hold, and ends it
// when it does not any more.
package alerts

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"sluice/shared/core"
	"sluice/shared/health"
	"sluice/shared/notify"
	"sluice/shared/store"
)

const (
	leaseName  = "alerts"
	every      = 50 * time.Second // between evaluations, over all instances: callers come each minute
	maxRecords = 2000             // of one account's window, the newest
	maxWindow  = 24 * time.Hour
	anyWindow  = 5 * time.Minute // of a rule that names none
)

// Options are what a Watch needs.
type Options struct {
	Tables *store.Tables
	Rules  *store.Table[notify.Rule]
	Usage  store.Usage
	Leases store.Leases
	Events health.Emitter
	Zone   *time.Location // where days of spending begin; nil: UTC
	Log    *slog.Logger
	Now    func() time.Time
}

// Watch evaluates rules. It is safe for concurrent use.
type Watch struct {
	o      Options
	holder string
}

// New makes a Watch.
func New(o Options) *Watch {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	return &Watch{o: o, holder: rand.Text()}
}

// Report is what an evaluation did.
type Report struct {
	Rules     int  // that are enabled
	Raised    int  // alerts that began
	Ended     int  // alerts that ended
	Elsewhere bool // another instance did it, less than a minute ago
}

// Run evaluates all rules once. Of several instances that call it each minute one does so. An alert is told once although a
// process dies between telling and noting it. A rule that cannot be evaluated is logged and left as it is; the error is the
// store's, about all of them.
func (w *Watch) Run(ctx context.Context) (rep Report, err error) {
	rules, err := w.o.Rules.All(ctx, "")
	if err != nil || len(rules) == 0 {
		return rep, err
	}
	// it is not given back: so long the rules are not evaluated again
	_, err = w.o.Leases.Acquire(ctx, leaseName, w.holder, w.o.Now(), every)
	if errors.Is(err, store.ErrHeld) {
		return Report{Elsewhere: true}, nil
	}
	if err != nil {
		return rep, err
	}
	look := &look{w: w, now: w.o.Now(), records: map[window][]core.Settlement{}}
	for i := range rules {
		r := &rules[i]
		if ctx.Err() != nil {
			return rep, ctx.Err()
		}
		if !r.Value.Enabled {
			if r.Value.Raised { // nobody wants to hear of it any more
				err = errors.Join(err, w.note(ctx, r.Value.ID, false, time.Time{}))
			}
			continue
		}
		rep.Rules++
		f, ferr := look.finding(ctx, &r.Value)
		if ferr != nil {
			w.o.Log.Warn("an alert rule was not evaluated; it is tried again in a minute", "account", r.Value.Account, "rule", r.Value.ID, "error", ferr)
			continue
		}
		switch Judge(&r.Value, f) {
		case Raise:
			err = errors.Join(err, w.raise(ctx, r, f, look.now))
			rep.Raised++
		case End:
			err = errors.Join(err, w.end(ctx, r, f, look.now))
			rep.Ended++
		}
	}
	return rep, err
}

// raise tells, then notes. The event's id is made of the rule's version, so that until it is noted telling again tells
// nothing new.
func (w *Watch) raise(ctx context.Context, r *store.Row[notify.Rule], f Finding, now time.Time) error {
	if err := w.o.Events.Emit(ctx, event(core.EventAlert, r, "The alert rule's condition holds: "+f.Text+".", now)); err != nil {
		return err
	}
	return w.note(ctx, r.Value.ID, true, now.UTC())
}

func (w *Watch) end(ctx context.Context, r *store.Row[notify.Rule], f Finding, now time.Time) error {
	if err := w.o.Events.Emit(ctx, event(core.EventAlertEnded, r, "The alert rule's condition does not hold any more: "+f.Text+".", now)); err != nil {
		return err
	}
	return w.note(ctx, r.Value.ID, false, time.Time{})
}

// note keeps whether the rule's alert is raised. A rule that was deleted meanwhile is nobody's any more.
func (w *Watch) note(ctx context.Context, id string, raised bool, at time.Time) error {
	_, err := w.o.Rules.Update(ctx, id, func(r *notify.Rule) error {
		if r.Raised != raised {
			r.Raised, r.RaisedAt = raised, at
		}
		return nil
	})
	if store.Missing(err) {
		return nil
	}
	return err
}
