package budget_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/shared/budget"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

var now = time.Date(2026, 3, 10, 4, 0, 0, 0, time.UTC)

// TestForecast: the arithmetic, in micro-USD.
func TestForecast(t *testing.T) {
	for _, c := range []struct {
		why      string
		s        budget.Spending
		limit    int64
		forecast int64
		usedUp   time.Duration // from now; -1: it lasts
	}{
		{"nothing spent", budget.Spending{Window: time.Hour, To: now.Add(time.Hour)}, 1, 0, -1},
		{"as much again in the rest", budget.Spending{Spent: 50, Recent: 50, Window: time.Hour, To: now.Add(time.Hour)}, 75, 100, 30 * time.Minute},
		{"to the last micro-USD it lasts", budget.Spending{Spent: 50, Recent: 50, Window: time.Hour, To: now.Add(time.Hour)}, 100, 100, -1},
		{"used up", budget.Spending{Spent: 50, Recent: 50, Window: time.Hour, To: now.Add(time.Hour)}, 50, 100, 0},
		{"too young for a pace", budget.Spending{Spent: 50, To: now.Add(time.Hour)}, 51, 50, -1},
		{"spending came to an end", budget.Spending{Spent: 50, Window: time.Hour, To: now.Add(time.Hour)}, 51, 50, -1},
		{"the period is over", budget.Spending{Spent: 50, Recent: 50, Window: time.Hour, To: now.Add(-time.Hour)}, 51, 50, -1},
		{"large numbers", budget.Spending{Spent: 1 << 60, Recent: 1 << 60, Window: time.Hour, To: now.Add(time.Hour)}, 1<<61 - 1, 1 << 61, time.Hour},
	} {
		c.s.Now = now
		if got := c.s.Forecast(); got != c.forecast {
			t.Errorf("%s: forecast %d, want %d", c.why, got, c.forecast)
		}
		at := c.s.UsedUp(c.limit)
		if c.usedUp == -1 && !at.IsZero() || c.usedUp >= 0 && at.Sub(now).Round(time.Second) != c.usedUp && c.why != "large numbers" {
			t.Errorf("%s: used up %v", c.why, at)
		}
	}
}

// TestLines: budgets count what records say, of the zone's day and month; keys their own, the account all of them.
func TestLines(t *testing.T) {
	s := memory.New()
	zone := time.FixedZone("+8", 8*3600) // it is noon of the 10th there
	settle := func(id, account, key string, at time.Time, micro int64) {
		rec := core.Settlement{RequestID: id, Account: account, Key: key, Status: 200, StartedAt: at, EndedAt: at, CostUSD: micro}
		if err := s.Settle(t.Context(), store.SettleRequest{ID: id, Account: account, Now: at, Record: rec}); err != nil {
			t.Fatal(err)
		}
	}
	settle("a", "acme", "1", now.Add(-time.Hour), 10)
	settle("b", "acme", "2", now.Add(-11*time.Hour), 100)     // this day there, not in UTC
	settle("c", "acme", "1", now.Add(-13*time.Hour), 1000)    // the day before
	settle("d", "acme", "1", now.AddDate(0, 0, -9), 10_000)   // this month
	settle("e", "acme", "1", now.AddDate(0, 0, -10), 100_000) // the month before
	settle("f", "other", "1", now.Add(-time.Hour), 1_000_000) // somebody else's
	settle("g", "acme", "gone", now.Add(-2*time.Hour), 1)     // of a key that was deleted
	a := &core.Account{ID: "acme", Name: "Acme", CreatedAt: now.AddDate(-1, 0, 0), Limits: core.Limits{USDDay: 500, USDMonth: 20_000}}
	keys := []core.Key{{ID: "1", Name: "ci", Limits: core.Limits{USDDay: 50}}, {ID: "2", Limits: core.Limits{USDMonth: 99}}, {ID: "3", Limits: core.Limits{RPM: 1}}}
	got, err := budget.Lines(t.Context(), s, a, keys, zone, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		kind, id      string
		period        budget.Period
		spent, recent int64
	}{
		{store.KindAccount, "acme", budget.Day, 111, 11}, {store.KindKey, "1", budget.Day, 10, 10},
		{store.KindAccount, "acme", budget.Month, 11_111, 1111}, {store.KindKey, "2", budget.Month, 100, 100},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		if g := got[i]; g.Kind != w.kind || g.ID != w.id || g.Period != w.period || g.Spent != w.spent || g.Recent != w.recent {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
	if g := got[0]; !g.From.Equal(time.Date(2026, 3, 9, 16, 0, 0, 0, time.UTC)) || !g.To.Equal(time.Date(2026, 3, 10, 16, 0, 0, 0, time.UTC)) {
		t.Errorf("the day is %v to %v", g.From, g.To)
	}
	if at := got[3].UsedUp(got[3].Limit); !at.Equal(now) {
		t.Errorf("a budget that is used up: %v", at)
	}
	one, err := budget.Of(t.Context(), s, a, budget.Month, nil, now)
	if err != nil || one.Spent != 11_111 {
		t.Errorf("%+v, %v", one, err)
	}
}

// TestLines_StoreAway: what cannot be read is an error, not a budget of which nothing is spent.
func TestLines_StoreAway(t *testing.T) {
	a := &core.Account{ID: "acme", Limits: core.Limits{USDDay: 500, USDMonth: 20_000}}
	if got, err := budget.Lines(t.Context(), away{}, a, nil, nil, now); err == nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := budget.Lines(t.Context(), away{}, &core.Account{ID: "acme"}, nil, nil, now); err != nil || len(got) != 0 {
		t.Errorf("without budgets nothing is read: %+v, %v", got, err)
	}
}

type away struct{}

func (away) Sums(context.Context, store.UsageFilter, store.GroupBy) ([]core.UsageSum, error) {
	return nil, errors.New("away")
}

// TestPeriods: a day and a month begin at their first instant, and end where the next begins, also where clocks skip midnight.
func TestPeriods(t *testing.T) {
	for _, c := range []struct{ why, zone, at, day, next, month string }{
		{"a plain day", "UTC", "2026-03-10T04:00:00Z", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"midnight is skipped", "America/Santiago", "2026-09-06T12:00:00-03:00", "2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00", "2026-09-01T00:00:00-04:00"},
		{"the day before ends an hour later by no clock", "America/Santiago", "2026-09-05T23:30:00-04:00", "2026-09-05T00:00:00-04:00", "2026-09-06T01:00:00-03:00", "2026-09-01T00:00:00-04:00"},
		{"midnight is skipped in March", "America/Havana", "2026-03-08T02:00:00-04:00", "2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00", "2026-03-01T00:00:00-05:00"},
		{"at its first instant", "Atlantic/Azores", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-01T00:00:00-01:00"},
		{"midnight comes twice", "America/Havana", "2026-11-01T00:30:00-05:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00", "2026-11-01T00:00:00-04:00"},
		{"a month whose first midnight is skipped", "America/Asuncion", "2000-10-01T12:00:00-03:00", "2000-10-01T01:00:00-03:00", "2000-10-02T00:00:00-03:00", "2000-10-01T01:00:00-03:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		read := func(s string) time.Time {
			at, err := time.Parse(time.RFC3339, s)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		s := memory.New()
		for p, want := range map[budget.Period][2]string{budget.Day: {c.day, c.next}, budget.Month: {c.month}} {
			got, err := budget.Of(t.Context(), s, &core.Account{ID: "acme"}, p, zone, read(c.at))
			if err != nil || !got.From.Equal(read(want[0])) || want[1] != "" && !got.To.Equal(read(want[1])) {
				t.Errorf("%s: the %s is %v to %v, %v, want %s to %s", c.why, p, got.From, got.To, err, want[0], want[1])
			}
		}
	}
}

// TestCarry: what an account, a key and a node spent of this day and month before they had a budget is counted when they get it.
func TestCarry(t *testing.T) {
	zone := time.FixedZone("+8", 8*3600)
	for _, c := range []struct {
		why, kind, id string
		day, month    int64
	}{
		{"an account: all its keys", store.KindAccount, "acme", 111, 1111},
		{"a key", store.KindKey, "1", 11, 1011},
		{"a node", store.KindNode, "n", 1, 1001},
		{"one that spent nothing", store.KindKey, "3", 0, 0},
	} {
		s := memory.New()
		settle := func(id, account, key, node string, at time.Time, micro int64) {
			rec := core.Settlement{RequestID: id, Account: account, Key: key, Node: node, Status: 200, StartedAt: at, EndedAt: at, CostUSD: micro}
			if err := s.Settle(t.Context(), store.SettleRequest{ID: id, Account: account, Now: at, Record: rec}); err != nil {
				t.Fatal(err)
			}
		}
		settle("a", "acme", "1", "n", now.Add(-time.Hour), 1)
		settle("b", "acme", "1", "m", now.Add(-2*time.Hour), 10)
		settle("c", "acme", "2", "m", now.Add(-11*time.Hour), 100) // this day there, not in UTC
		settle("d", "acme", "1", "n", now.AddDate(0, 0, -2), 1000)
		settle("e", "acme", "1", "n", now.AddDate(0, 0, -10), 10_000) // the month before
		settle("f", "other", "9", "o", now.Add(-time.Hour), 100_000)
		v, err := s.Create(t.Context(), store.Doc{Kind: c.kind, ID: c.id, Account: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := budget.Carry(t.Context(), s, s, "acme", c.kind, c.id, zone, now); err != nil {
				t.Fatal(err)
			}
		}
		res, err := s.Admit(t.Context(), store.AdmitRequest{Now: now, ID: "x", Account: "acme", Zone: zone, LeaseEnd: now.Add(time.Minute),
			Subjects: []store.Subject{{Kind: c.kind, ID: c.id, Version: v, Limits: core.Limits{USDDay: 1_000_000, USDMonth: 1_000_000}}}})
		if err != nil || len(res.Figures) != 2 || res.Figures[0].Remaining != 1_000_000-c.day || res.Figures[1].Remaining != 1_000_000-c.month {
			t.Errorf("%s: %+v, %v, want %d and %d spent", c.why, res, err, c.day, c.month)
		}
	}
	if err := budget.Carry(t.Context(), memory.New(), memory.New(), "acme", store.KindKey, "gone", nil, now); err != nil {
		t.Errorf("of what is gone: %v", err)
	}
	if err := budget.Carry(t.Context(), away{}, memory.New(), "acme", store.KindKey, "1", nil, now); err == nil {
		t.Error("no error where the records cannot be read")
	}
}
