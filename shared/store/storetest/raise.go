package storetest

import (
	"fmt"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// raise tells what a subject of acme spent by its records, in micro-USD.
func (t *T) raise(s store.Subject, zone *time.Location, day, month int64) {
	t.Helper()
	t.ok(t.S.Raise(t.Ctx, store.RaiseRequest{Now: t.Now, Zone: zone, Account: "acme", Kind: s.Kind, ID: s.ID, Day: day, Month: month}), "raise %s %s", s.Kind, s.ID)
}

// left checks what is left of a subject's budgets, by asking for nothing.
func (t *T) left(id string, s store.Subject, zone *time.Location, day, month int64) {
	t.Helper()
	r := t.request(id, s)
	r.Zone = zone
	res, err := t.S.Admit(t.Ctx, r)
	t.ok(err, "admit %s", id)
	t.remaining(res.Figures, s.Kind, store.LimitUSDDay, day)
	t.remaining(res.Figures, s.Kind, store.LimitUSDMonth, month)
	t.ok(t.S.Settle(t.Ctx, store.SettleRequest{ID: id, Account: "acme", Now: t.Now, Zone: zone, Subjects: []store.Subject{s}, Record: t.record(id)}), "settle %s", id)
}

var raiseCases = []testcase{
	{"Late", "a budget that is set in the middle of a day finds what was spent without it: of accounts, keys and nodes", func(t *T) {
		for i, s := range []store.Subject{t.account("acme", core.Limits{RPM: 100}), t.key("1", core.Limits{}), t.node("2", core.Limits{Concurrency: 5})} {
			t.admit(fmt.Sprint("a", i), s)
			t.settle(fmt.Sprint("a", i), s)
			t.raise(s, time.UTC, 90, 900)
			d, err := t.S.Get(t.Ctx, s.Kind, s.ID)
			t.ok(err, "get")
			s.Version, s.Limits = t.replace(d).Version, core.Limits{USDDay: 1000, USDMonth: 1000}
			t.left(fmt.Sprint("b", i), s, time.UTC, 910, 100)
			if r := t.deny(fmt.Sprint("c", i), usd(101), s); r.Limit != store.LimitUSDMonth {
				t.Errorf("%s: refused by %s", s.Kind, r.Limit)
			}
			t.Now = t.Now.Add(2 * time.Second)
		}
	}},
	{"Again", "a budget that is taken away and set again finds what was spent in between, and the same is never taken twice", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 1000, USDMonth: 5000})
		t.ask("a", usd(300), k)
		t.pay("a", usd(300), k)
		for i := range 2 {
			t.raise(k, time.UTC, 700, 700)
			t.left(fmt.Sprint("b", i), k, time.UTC, 300, 4300)
		}
		t.raise(k, time.UTC, 699, 0) // never down
		t.left("c", k, time.UTC, 300, 4300)
		t.raise(k, time.UTC, 1_000_000, 800)
		t.deny("d", usd(0), k)
	}},
	{"Reserved", "what requests in flight hold comes on top of what the records say, and is settled as ever", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 1000, USDMonth: 1000})
		t.ask("a", usd(400), k)
		t.ask("dead", usd(100), k)
		t.raise(k, time.UTC, 300, 300)
		t.deny("x", usd(201), k)
		t.pay("a", usd(150), k)
		t.raise(k, time.UTC, 450, 450) // as the records say now
		t.left("b", k, time.UTC, 450, 450)
		t.Now = t.Now.Add(4 * time.Minute)
		t.raise(k, time.UTC, 450, 450)
		t.left("c", k, time.UTC, 550, 550)
	}},
	{"Periods", "days and months are those of the zone; what is over counts for nothing later", func(t *T) {
		zone := time.FixedZone("+8", 8*3600)
		k := t.key("1", core.Limits{USDDay: 1000, USDMonth: 1000})
		t.Now = time.Date(2026, 3, 31, 15, 30, 0, 0, time.UTC) // half an hour before April there
		t.raise(k, zone, 100, 700)
		t.left("a", k, zone, 900, 300)
		t.Now = t.Now.Add(time.Hour)
		t.left("b", k, zone, 1000, 1000)
		t.raise(k, zone, 30, 40)
		t.left("c", k, zone, 970, 960)
		t.Now = t.Now.Add(24 * time.Hour)
		t.raise(k, zone, 0, 60)
		t.left("d", k, zone, 1000, 940)
		t.Now = t.Now.Add(-24 * time.Hour) // a clock that is behind says nothing of the day that has begun
		t.raise(k, zone, 500, 70)
		t.Now = t.Now.Add(24 * time.Hour)
		t.left("e", k, zone, 1000, 930)
	}},
	{"Missing", "what is not there cannot be raised, and is no other for it when it comes", func(t *T) {
		s := store.Subject{Kind: store.KindKey, ID: "1"}
		r := store.RaiseRequest{Now: t.Now, Account: "acme", Kind: s.Kind, ID: s.ID, Day: 500, Month: 500}
		t.is(t.S.Raise(t.Ctx, r), store.ErrNotFound, "raise before create")
		s = t.key("1", core.Limits{USDDay: 1000, USDMonth: 1000})
		t.left("a", s, time.UTC, 1000, 1000)
		t.ok(t.S.Delete(t.Ctx, s.Kind, s.ID, 0), "delete")
		t.is(t.S.Raise(t.Ctx, r), store.ErrNotFound, "raise after delete")
	}},
	{"Hammer", "raised by many at once while many spend: all that is spent after it counts once, and it counts once itself", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 1_000_000, USDMonth: 1_000_000})
		spend := func(round string, n, raisers int) {
			t.parallel(n+raisers, func(i int) error {
				if i >= n {
					return t.S.Raise(t.Ctx, store.RaiseRequest{Now: t.Now, Zone: time.UTC, Account: "acme", Kind: k.Kind, ID: k.ID, Day: 500_000, Month: 500_000})
				}
				r := t.request(fmt.Sprint(round, i), k)
				r.Ask = usd(700)
				if _, err := t.S.Admit(t.Ctx, r); err != nil {
					return err
				}
				return t.S.Settle(t.Ctx, store.SettleRequest{ID: r.ID, Account: "acme", Now: t.Now, Zone: time.UTC, Subjects: r.Subjects, Used: usd(1000), Record: t.record(r.ID)})
			})
		}
		used := func(id string) int64 {
			res := t.ask(id, usd(0), k)
			f := t.figure(res.Figures, k.Kind, store.LimitUSDDay)
			t.remaining(res.Figures, k.Kind, store.LimitUSDMonth, f.Remaining)
			return 1_000_000 - f.Remaining
		}
		spend("a", 30, 6)
		first := used("x")
		if first < 500_000 || first > 530_000 {
			t.Errorf("%d are used, want 500000 and at most what was spent meanwhile", first)
		}
		spend("b", 30, 6)
		if got := used("y"); got != first+30_000 {
			t.Errorf("%d are used, want %d", got, first+30_000)
		}
	}},
}
