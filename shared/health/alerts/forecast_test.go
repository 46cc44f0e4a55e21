package alerts_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// account makes the account acme with a key that has limits.
func (r *rig) account(created time.Time, own, key core.Limits) {
	r.t.Helper()
	if _, err := r.tables.Accounts.Create(r.t.Context(), core.Account{ID: "acme", CreatedAt: created, Limits: own}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.tables.Keys.Create(r.t.Context(), core.Key{ID: "5", Account: "acme", Name: "ci", Limits: key}); err != nil {
		r.t.Fatal(err)
	}
}

// pace answers sums by key: what key 5 spent, in USD, for windows that begin at those times.
type pace struct {
	store.Usage
	spent map[time.Time]float64
	calls int
}

func (p *pace) Sums(_ context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	p.calls++
	if f.Account != "acme" || by != store.GroupKey {
		return nil, nil
	}
	return []core.UsageSum{{Group: "5", CostUSD: int64(p.spent[f.From.UTC()] * 1e6)}}, nil
}

// TestForecast: a budget that will be used up before its time is told of once in its period, by one instance.
func TestForecast(t *testing.T) {
	zone := time.FixedZone("+8", 8*3600)
	month := time.Date(2026, 3, 1, 0, 0, 0, 0, zone).UTC()
	day := time.Date(2026, 3, 4, 0, 0, 0, 0, zone).UTC() // it is 23:30
	old := began.AddDate(-1, 0, 0)
	for _, c := range []struct {
		why          string
		created      time.Time
		own, key     core.Limits
		spent        map[time.Time]float64
		want, absent string // in the text of the only event; want "": none
	}{
		{"no budget, nothing is read", old, core.Limits{}, core.Limits{RPM: 1}, map[time.Time]float64{month: 100, began.Add(-7 * 24 * time.Hour): 100}, "", ""},
		{"the month's at a pace of 1 USD a day: 27 days are left", old, core.Limits{USDMonth: 30e6}, core.Limits{}, map[time.Time]float64{month: 4, began.Add(-7 * 24 * time.Hour): 7},
			"budget of 30.00 USD a month of account acme is used up 2026-03-30 23:30 +8; 4.00 USD are spent, and it would take 31.02 USD", "key"},
		{"of a key", old, core.Limits{}, core.Limits{USDMonth: 30e6}, map[time.Time]float64{month: 4, began.Add(-7 * 24 * time.Hour): 7}, "a month of key 5 is used up 2026-03-30", "account"},
		{"it lasts", old, core.Limits{USDMonth: 32e6}, core.Limits{}, map[time.Time]float64{month: 4, began.Add(-7 * 24 * time.Hour): 7}, "", ""},
		{"it is used up: that was told when it was", old, core.Limits{USDMonth: 4e6}, core.Limits{}, map[time.Time]float64{month: 4, began.Add(-7 * 24 * time.Hour): 7}, "", ""},
		{"an account of a day has the pace of that day", began.Add(-24 * time.Hour), core.Limits{USDMonth: 30e6}, core.Limits{}, map[time.Time]float64{month: 4, began.Add(-24 * time.Hour): 4}, "2026-03-11", ""},
		{"an account of half an hour has none", began.Add(-30 * time.Minute), core.Limits{USDMonth: 30e6}, core.Limits{}, map[time.Time]float64{month: 4, began.Add(-30 * time.Minute): 4}, "", ""},
		{"the day's", old, core.Limits{USDDay: 10e6}, core.Limits{}, map[time.Time]float64{day: 9, began.Add(-3 * time.Hour): 9}, "a day of account acme is used up 2026-03-04 23:50", ""},
		{"the day's, which lasts", old, core.Limits{USDDay: 11e6}, core.Limits{}, map[time.Time]float64{day: 9, began.Add(-3 * time.Hour): 9}, "", ""},
	} {
		s := memory.New()
		r := newRig(t, s)
		r.account(c.created, c.own, c.key)
		p := &pace{spent: c.spent}
		r.remake(s, p)
		first := r.run()
		if c.key.USDMonth+c.own.USDMonth+c.own.USDDay == 0 && p.calls > 0 {
			t.Errorf("%s: %d sums were read", c.why, p.calls)
		}
		calls := p.calls
		if rep := r.run(); rep.Budgets != 0 || p.calls != calls {
			t.Errorf("%s: a minute later: %+v, %d calls", c.why, rep, p.calls-calls)
		}
		if c.want == "" {
			if first.Budgets != 0 || len(r.events.list) != 0 {
				t.Errorf("%s: %+v %+v", c.why, first, r.events.list)
			}
			continue
		}
		if first.Budgets != 1 || len(r.events.list) != 1 {
			t.Errorf("%s: %+v, %+v", c.why, first, r.events.list)
			continue
		}
		e := r.events.list[0]
		if e.Type != core.EventQuotaWarning || e.Account != "acme" || e.Once == "" || !strings.Contains(e.Text, c.want) || c.absent != "" && strings.Contains(e.Text, c.absent) {
			t.Errorf("%s: %+v", c.why, e)
		}
		// another instance, when this one is gone: the same event, which is told once
		r.remake(s, p)
		r.now = r.now.Add(56 * time.Minute)
		p.spent[r.now.Add(-7*24*time.Hour)], p.spent[r.now.Add(-3*time.Hour)], p.spent[r.now.Add(-24*time.Hour-58*time.Minute)] = 7, 9, 7
		r.run()
		for _, again := range r.events.list[1:] {
			if again.Once != e.Once && !strings.Contains(c.why, "day's") {
				t.Errorf("%s: told anew: %+v", c.why, again)
			}
		}
	}
}

// TestSpendingRules: of the month, and of what it will have cost.
func TestSpendingRules(t *testing.T) {
	s := memory.New()
	r := newRig(t, s)
	zone := time.FixedZone("+8", 8*3600)
	month := time.Date(2026, 3, 1, 0, 0, 0, 0, zone).UTC()
	r.account(began.AddDate(-1, 0, 0), core.Limits{}, core.Limits{})
	r.remake(s, &pace{spent: map[time.Time]float64{month: 4, began.Add(-7 * 24 * time.Hour): 7}})
	for id, rule := range map[string]notify.Rule{
		"alr-1": {Kind: notify.RuleSpendMonth, Threshold: 4}, "alr-2": {Kind: notify.RuleSpendMonth, Threshold: 4.01},
		"alr-3": {Kind: notify.RuleForecast, Threshold: 31}, "alr-4": {Kind: notify.RuleForecast, Threshold: 31.1},
	} {
		rule.ID = id
		r.rule(rule)
	}
	if rep := r.run(); rep.Raised != 2 || !r.raised("alr-1").Raised || !r.raised("alr-3").Raised {
		t.Errorf("%+v: %+v", rep, r.events.list)
	}
}

// slow ends the time of a Run when the budgets of an account are looked at.
type slow struct {
	store.Usage
	end   context.CancelFunc
	asked []string
}

func (s *slow) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if by == store.GroupKey && s.end != nil {
		s.asked = append(s.asked, f.Account)
		s.end()
		return nil, ctx.Err()
	}
	return nil, nil
}

// TestForecastLeavesTime: more budgets than there is time for keep neither rules nor other budgets from being looked at.
func TestForecastLeavesTime(t *testing.T) {
	s := memory.New()
	r := newRig(t, s)
	for _, id := range []string{"acme", "beta"} {
		if _, err := r.tables.Accounts.Create(t.Context(), core.Account{ID: id, CreatedAt: began.AddDate(-1, 0, 0), Limits: core.Limits{USDMonth: 1e6}}); err != nil {
			t.Fatal(err)
		}
	}
	u := &slow{Usage: r.usage}
	r.remake(s, u)
	r.rule(notify.Rule{ID: "alr-1", Kind: notify.RuleErrorRate, Threshold: 1})
	for range 3 {
		ctx, end := context.WithCancel(t.Context())
		u.end = end
		if rep, _ := r.watch.Run(ctx); rep.Rules != 1 {
			t.Errorf("rules were not judged: %+v", rep)
		}
		end()
		r.now = r.now.Add(time.Minute)
	}
	if len(u.asked) < 2 || u.asked[0] != "acme" || u.asked[1] != "beta" {
		t.Errorf("looked at %q", u.asked)
	}
}
