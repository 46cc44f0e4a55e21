// Package alerts evaluates the alert rules of accounts: it raises an alert when a rule's condition begins to hold, and ends it
// when it does not any more.
package alerts

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/health"
	"sluice/shared/notify"
	"sluice/shared/store"
)

const (
	leaseName  = "alerts"
	every      = 50 * time.Second // between evaluations, over all instances: callers come each minute
	maxRecords = 2000             // of one account's longest window, the newest
	pageSize   = 500
	maxWindow  = 24 * time.Hour
	anyWindow  = 5 * time.Minute // of a rule that names none
)

// Options are what a Watch needs.
type Options struct {
	Tables  *store.Tables
	Rules   *store.Table[notify.Rule]
	Usage   store.Usage
	Budgets store.Budgets // are held to what Usage says
	Leases  store.Leases
	Events  health.Emitter
	Zone    *time.Location // where days of spending begin; nil: UTC
	Log     *slog.Logger
	Now     func() time.Time
}

// Watch evaluates rules. It is safe for concurrent use.
type Watch struct {
	o      Options
	holder string

	mu         sync.Mutex
	forecastAt time.Time // when budgets are looked at next
	foreseen   string    // account behind which the time of that was up

	last string // account at which the time of an evaluation was up
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
	Budgets   int  // that are forecast to be used up before their time
	Rules     int  // that are enabled
	Raised    int  // alerts that began
	Ended     int  // alerts that ended
	Elsewhere bool // another instance did it, less than a minute ago
}

// Run evaluates all rules once, account by account. Of several instances that call it each minute one does so. An alert is
// told once although a process dies between telling and noting it. A rule that cannot be evaluated is logged and left as it
// is; the error is the store's, about all of them, or ctx's: then the next Run begins with the accounts that were not reached.
func (w *Watch) Run(ctx context.Context) (rep Report, err error) {
	rep, err = w.judge(ctx)
	if ctx.Err() != nil {
		return rep, err
	}
	// behind the rules, which wait for nobody: where there are many budgets it takes all of the time that is left
	early, ferr := w.forecast(ctx)
	rep.Budgets = early
	return rep, errors.Join(err, ferr)
}

func (w *Watch) judge(ctx context.Context) (rep Report, err error) {
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
	now := w.o.Now()
	for _, own := range w.byAccount(rules) {
		l := w.lookAt(own, now)
		for i := range own {
			err = errors.Join(err, w.evaluate(ctx, l, &own[i], &rep))
			if ctx.Err() != nil {
				w.stopAt(l.account)
				return rep, errors.Join(err, ctx.Err())
			}
		}
	}
	w.stopAt("")
	return rep, err
}

// byAccount puts the rules of an account together: what is read for them is kept for no longer than their turn. It begins
// after the account at which the last Run was cut off, so that one account with much to read does not starve the others.
func (w *Watch) byAccount(rules []store.Row[notify.Rule]) [][]store.Row[notify.Rule] {
	w.mu.Lock()
	last := w.last
	w.mu.Unlock()
	slices.SortStableFunc(rules, func(a, b store.Row[notify.Rule]) int { return cmp.Compare(a.Value.Account, b.Value.Account) })
	next := 0
	for last != "" && next < len(rules) && rules[next].Value.Account <= last {
		next++
	}
	rules = slices.Concat(rules[next:], rules[:next])
	var out [][]store.Row[notify.Rule]
	for len(rules) > 0 {
		n := 1
		for n < len(rules) && rules[n].Value.Account == rules[0].Value.Account {
			n++
		}
		out, rules = append(out, rules[:n]), rules[n:]
	}
	return out
}

func (w *Watch) stopAt(account string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = account
}

// evaluate judges one rule.
func (w *Watch) evaluate(ctx context.Context, l *look, r *store.Row[notify.Rule], rep *Report) error {
	if !r.Value.Enabled {
		if r.Value.Raised { // nobody wants to hear of it any more
			return w.note(ctx, r.Value.ID, false, time.Time{})
		}
		return nil
	}
	rep.Rules++
	f, err := l.finding(ctx, &r.Value)
	if ctx.Err() != nil {
		return nil // Run tells of it
	}
	if err != nil {
		w.o.Log.Warn("an alert rule was not evaluated; it is tried again in a minute", "account", r.Value.Account, "rule", r.Value.ID, "error", err)
		return nil
	}
	switch Judge(&r.Value, f) {
	case Raise:
		rep.Raised++
		return w.raise(ctx, r, f, l.now)
	case End:
		rep.Ended++
		return w.end(ctx, r, f, l.now)
	}
	return nil
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
