package alerts

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sluice/shared/budget"
	"sluice/shared/core"
	"sluice/shared/store"
)

const (
	forecastLease = "forecasts"
	forecastEvery = 55 * time.Minute
	dayBegins     = 2 * time.Hour // of a day, the first tell nothing of it
)

// forecast tells of budgets that will be used up before their day or month ends, each once in its period, and makes all count
// what the records say. Of several instances one looks, once an hour. What is used up by 80 % or wholly is told when requests are admitted.
func (w *Watch) forecast(ctx context.Context) (early int, err error) {
	now := w.o.Now()
	w.mu.Lock()
	due, last := !now.Before(w.forecastAt), w.foreseen
	w.mu.Unlock()
	if !due {
		return 0, nil
	}
	_, err = w.o.Leases.Acquire(ctx, forecastLease, w.holder, now, forecastEvery)
	if errors.Is(err, store.ErrHeld) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	accounts, err := w.o.Tables.Accounts.All(ctx, "")
	if err != nil {
		return 0, err
	}
	slices.SortFunc(accounts, func(a, b store.Row[core.Account]) int { return strings.Compare(a.Value.ID, b.Value.ID) })
	accounts = slices.DeleteFunc(accounts, func(a store.Row[core.Account]) bool { return a.Value.ID <= last })
	for i := range accounts {
		a := &accounts[i].Value
		n, err := w.forecastOf(ctx, a)
		early += n
		if ctx.Err() != nil {
			if i == 0 { // it alone takes longer than there is
				w.foresaw(a.ID)
			}
			return early, ctx.Err() // the next Run goes on here; what was told is not told twice
		}
		if err != nil {
			w.o.Log.Warn("budgets were not all looked at; it is tried again in an hour", "account", a.ID, "error", err)
		}
		w.foresaw(a.ID)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forecastAt, w.foreseen = now.Add(forecastEvery), ""
	return early, nil
}

// foresaw notes how far the forecast is.
func (w *Watch) foresaw(account string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.foreseen = account
}

func (w *Watch) forecastOf(ctx context.Context, a *core.Account) (early int, err error) {
	rows, err := w.o.Tables.Keys.All(ctx, a.ID)
	if err != nil {
		return 0, err
	}
	now := w.o.Now()
	keys := make([]core.Key, 0, len(rows))
	for i := range rows {
		if ok, _ := rows[i].Value.Usable(now); ok {
			keys = append(keys, rows[i].Value)
		}
	}
	lines, err := budget.Lines(ctx, w.o.Usage, a, keys, w.o.Zone, now)
	for i := range lines {
		l := &lines[i]
		at := l.UsedUp(l.Limit)
		if at.IsZero() || l.Spent >= l.Limit || l.Period == budget.Day && now.Sub(l.From) < dayBegins {
			continue
		}
		early++
		err = errors.Join(err, w.o.Events.Emit(ctx, warning(a.ID, l, at, now)))
	}
	// what was in flight when a budget was set, and what an instance let in that did not know of it yet, only the records tell
	return early, errors.Join(err, budget.Hold(ctx, w.o.Budgets, a.ID, lines, w.o.Zone), w.holdNodes(ctx, a.ID, now))
}

// holdNodes is budget.Hold for an account's nodes.
func (w *Watch) holdNodes(ctx context.Context, account string, now time.Time) error {
	rows, err := w.o.Tables.Nodes.All(ctx, account)
	for i := range rows {
		if n := &rows[i].Value; n.Limits.USDDay+n.Limits.USDMonth > 0 {
			err = errors.Join(err, budget.Carry(ctx, w.o.Usage, w.o.Budgets, account, store.KindNode, n.ID, w.o.Zone, now))
		}
	}
	return err
}

// warning is the event of a budget that will be used up at that time.
func warning(account string, l *budget.Line, at, now time.Time) core.Event {
	who := l.Kind + " " + l.ID
	e := core.Event{Type: core.EventQuotaWarning, Account: account, Subject: who + " " + string(l.Period) + " forecast", At: now.UTC(),
		Once: "forecast/" + who + "/" + string(l.Period) + "/" + l.From.Format(time.DateOnly),
		Text: "At the present pace the budget of " + dollars(l.Limit) + " a " + string(l.Period) + " of " + who + " is used up " + at.Format("2006-01-02 15:04 MST") +
			"; " + dollars(l.Spent) + " are spent, and it would take " + dollars(l.Forecast()) + " to the " + string(l.Period) + "'s end."}
	if l.Kind == store.KindKey {
		e.Name = l.Name
	}
	return e
}
