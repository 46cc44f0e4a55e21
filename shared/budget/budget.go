// Package budget tells what is spent of budgets, and what will have been spent of them when their day or month ends. It
// reads the same sums that usage reports show: what settled requests cost at the prices of their time.
package budget

import (
	"context"
	"errors"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
)

// Period is what a budget is for.
type Period string

// The periods.
const (
	Day   Period = "day"
	Month Period = "month"
)

// The pace of spending is that of the last days or hours: a month's beginning or a morning tell too little.
const (
	monthPace = 7 * 24 * time.Hour
	dayPace   = 3 * time.Hour
	leastPace = time.Hour // an account that is younger than that has no pace
)

// Spending is what was spent in a day or month, in micro-USD.
type Spending struct {
	Period   Period
	Spent    int64
	Recent   int64         // spent in the last Window
	Window   time.Duration // 0: too short to tell a pace
	From, To time.Time     // of the period
	Now      time.Time
}

// Forecast is what will have been spent at the period's end if it goes on at the pace of Window; Spent where there is none.
func (s *Spending) Forecast() int64 {
	if s.Window <= 0 {
		return s.Spent
	}
	rest := max(0, s.To.Sub(s.Now))
	return s.Spent + int64(float64(s.Recent)*(float64(rest)/float64(s.Window)))
}

// UsedUp is when a budget of limit micro-USD will be used up at that pace: Now when it is used up, the zero time when the period
// ends first.
func (s *Spending) UsedUp(limit int64) time.Time {
	if s.Spent >= limit {
		return s.Now.In(s.To.Location())
	}
	if s.Window <= 0 || s.Recent <= 0 {
		return time.Time{}
	}
	wait := float64(limit-s.Spent) / float64(s.Recent) * float64(s.Window)
	if wait >= float64(s.To.Sub(s.Now)) {
		return time.Time{}
	}
	return s.Now.Add(time.Duration(wait)).In(s.To.Location())
}

// Line is one budget of an account or of one of its keys.
type Line struct {
	Kind  string // store.KindAccount or store.KindKey
	ID    string
	Name  string // hostile text
	Limit int64  // micro-USD
	Spending
}

// Reader reads sums; store.Usage is one.
type Reader interface {
	Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error)
}

// Of returns what an account spent in this day or month of zone, whether or not it has a budget.
func Of(ctx context.Context, r Reader, a *core.Account, p Period, zone *time.Location, now time.Time) (Spending, error) {
	s, keys, err := read(ctx, r, a, p, zone, now)
	s.add(keys)
	return s, err
}

// Carry makes what the budgets of an account, or of a key or node of it, count at least what the records say was spent in this
// day and month of zone. It is for what is about to get a budget: without one nothing is counted. What is gone is passed
// over.
func Carry(ctx context.Context, r Reader, b store.Budgets, account, kind, id string, zone *time.Location, now time.Time) error {
	spent := store.RaiseRequest{Now: now, Zone: zone, Account: account, Kind: kind, ID: id}
	f := store.UsageFilter{Account: account, To: now.Add(skew)}
	switch kind {
	case store.KindKey:
		f.Key = id
	case store.KindNode:
		f.Node = id
	}
	for p, to := range map[Period]*int64{Day: &spent.Day, Month: &spent.Month} {
		f.From, _ = bounds(p, zone, now)
		sums, err := r.Sums(ctx, f, store.GroupNone)
		if err != nil {
			return err
		}
		for i := range sums {
			*to += sums[i].CostUSD
		}
	}
	if err := b.Raise(ctx, spent); !store.Missing(err) {
		return err
	}
	return nil
}

// Hold does the same for budgets of an account and its keys that Lines has read.
func Hold(ctx context.Context, b store.Budgets, account string, lines []Line, zone *time.Location) (failed error) {
	all := make(map[[2]string]*store.RaiseRequest)
	for i := range lines {
		l := &lines[i]
		if l.Spent <= 0 {
			continue
		}
		r := all[[2]string{l.Kind, l.ID}]
		if r == nil {
			r = &store.RaiseRequest{Now: l.Now, Zone: zone, Account: account, Kind: l.Kind, ID: l.ID}
			all[[2]string{l.Kind, l.ID}] = r
		}
		if l.Period == Day {
			r.Day = l.Spent
		} else {
			r.Month = l.Spent
		}
	}
	for _, r := range all { // in no order: where time is too short it is not always for the same
		if err := b.Raise(ctx, *r); err != nil && !store.Missing(err) {
			failed = errors.Join(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

func (s *Spending) add(keys map[string]Spending) {
	for _, k := range keys {
		s.Spent, s.Recent = s.Spent+k.Spent, s.Recent+k.Recent
	}
}

// Lines returns the budgets of an account and of its keys: those of the day, then those of the month, the account's first.
// It reads nothing where there is no budget. What it returns beside an error is whole for its period.
func Lines(ctx context.Context, r Reader, a *core.Account, keys []core.Key, zone *time.Location, now time.Time) ([]Line, error) {
	var out []Line
	var failed error
	for _, p := range [...]Period{Day, Month} {
		used := false
		for i := -1; i < len(keys); i++ {
			l := a.Limits
			if i >= 0 {
				l = keys[i].Limits
			}
			used = used || limitOf(l, p) > 0
		}
		if !used {
			continue
		}
		all, of, err := read(ctx, r, a, p, zone, now)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if l := limitOf(a.Limits, p); l > 0 {
			s := all
			s.add(of)
			out = append(out, Line{Kind: store.KindAccount, ID: a.ID, Name: a.Name, Limit: l, Spending: s})
		}
		for i := range keys {
			if l := limitOf(keys[i].Limits, p); l > 0 {
				s := all
				s.Spent, s.Recent = of[keys[i].ID].Spent, of[keys[i].ID].Recent
				out = append(out, Line{Kind: store.KindKey, ID: keys[i].ID, Name: keys[i].Name, Limit: l, Spending: s})
			}
		}
	}
	return out, failed
}

func limitOf(l core.Limits, p Period) int64 {
	if p == Day {
		return l.USDDay
	}
	return l.USDMonth
}

// read reads what each key of the account spent in the period. The Spending it returns has the period, and sums of 0.
func read(ctx context.Context, r Reader, a *core.Account, p Period, zone *time.Location, now time.Time) (Spending, map[string]Spending, error) {
	from, to := bounds(p, zone, now)
	s := Spending{Period: p, From: from, To: to, Now: now, Window: pace(p, a, now)}
	of := map[string]Spending{}
	err := byKey(ctx, r, a.ID, from, now, func(key string, micro int64) { of[key] = Spending{Spent: micro} })
	if err == nil && s.Window > 0 {
		err = byKey(ctx, r, a.ID, now.Add(-s.Window), now, func(key string, micro int64) { of[key] = Spending{Spent: of[key].Spent, Recent: micro} })
	}
	return s, of, err
}

// skew is how far a record may lie ahead of this process's clock.
const skew = time.Minute

func byKey(ctx context.Context, r Reader, account string, from, now time.Time, yield func(key string, micro int64)) error {
	sums, err := r.Sums(ctx, store.UsageFilter{Account: account, From: from, To: now.Add(skew)}, store.GroupKey)
	for i := range sums {
		yield(sums[i].Group, sums[i].CostUSD)
	}
	return err
}

func bounds(p Period, zone *time.Location, now time.Time) (from, to time.Time) {
	if zone == nil {
		zone = time.UTC
	}
	if p == Day {
		d := limit.Day(now, zone)
		return limit.DayStart(d, zone), limit.DayStart(d+1, zone)
	}
	m := limit.Month(now, zone)
	return limit.MonthStart(m, zone), limit.MonthStart(m+1, zone)
}

func pace(p Period, a *core.Account, now time.Time) time.Duration {
	d := monthPace
	if p == Day {
		d = dayPace
	}
	if !a.CreatedAt.IsZero() {
		d = min(d, now.Sub(a.CreatedAt))
	}
	if d < leastPace {
		return 0
	}
	return d
}
