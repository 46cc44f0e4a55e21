package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// ask lets a request in that will take so much, or ends the case.
func (t *T) ask(id string, a store.Amount, subjects ...store.Subject) store.AdmitResult {
	t.Helper()
	r := t.request(id, subjects...)
	r.Ask = a
	res, err := t.S.Admit(t.Ctx, r)
	t.ok(err, "admit %s for %+v", id, a)
	return res
}

// deny expects a refusal of such a request.
func (t *T) deny(id string, a store.Amount, subjects ...store.Subject) *store.Refusal {
	t.Helper()
	return t.denyIn(id, a, time.UTC, subjects...)
}

func (t *T) denyIn(id string, a store.Amount, zone *time.Location, subjects ...store.Subject) *store.Refusal {
	t.Helper()
	r := t.request(id, subjects...)
	r.Ask, r.Zone = a, zone
	res, err := t.S.Admit(t.Ctx, r)
	var refused *store.Refusal
	if !errors.As(err, &refused) {
		t.Fatalf("admit %s for %+v: %+v, error %v, want a refusal", id, a, res, err)
	}
	return refused
}

// pay settles a request that used so much.
func (t *T) pay(id string, a store.Amount, subjects ...store.Subject) {
	t.Helper()
	t.end(store.SettleRequest{ID: id, Used: a, Subjects: subjects})
}

func (t *T) end(r store.SettleRequest) {
	t.Helper()
	r.Account, r.Now, r.Record = "acme", t.Now, t.record(r.ID)
	if r.Zone == nil {
		r.Zone = time.UTC
	}
	t.ok(t.S.Settle(t.Ctx, r), "settle %s", r.ID)
}

func (t *T) node(id string, l core.Limits) store.Subject {
	t.Helper()
	return store.Subject{Kind: store.KindNode, ID: id, Version: t.create(store.KindNode, id, "acme").Version, Limits: l}
}

func tokens(n int64) store.Amount { return store.Amount{Tokens: n} }

func usd(micro int64) store.Amount { return store.Amount{USD: micro} }

// Between an admission and the next the cases move the clock by nothing, or by enough for a bucket to be full again: so
// they hold for backends whose buckets may lag.
var budgetCases = []testcase{
	{"TokensPerMinute", "an admission takes its estimate; a refusal says when that many tokens are back; Settle puts the truth in its place", func(t *T) {
		k := t.key("1", core.Limits{TPM: 60_000}) // one a millisecond
		res := t.ask("a", tokens(40_000), k)
		f := t.figure(res.Figures, store.KindKey, store.LimitTPM)
		if f.Remaining != 20_000 || f.Max != 60_000 || !f.Reset.Equal(t.Now.Add(40*time.Second)) {
			t.Errorf("figure %+v", f)
		}
		r := t.deny("b", tokens(30_000), k)
		if r.Subject != store.KindKey || r.Limit != store.LimitTPM || r.Max != 60_000 || r.RetryAfter != 10*time.Second {
			t.Errorf("refusal %+v, want one for 10s", r)
		}
		t.remaining(r.Figures, store.KindKey, store.LimitTPM, 20_000)
		t.pay("a", tokens(10_000), k)
		t.remaining(t.ask("b", tokens(30_000), k).Figures, store.KindKey, store.LimitTPM, 20_000)
		t.pay("b", tokens(45_000), k)
		t.remaining(t.ask("c", tokens(1000), k).Figures, store.KindKey, store.LimitTPM, 4000)
	}},
	{"TokensOwed", "a request that used more than the bucket holds leaves a debt, which lasts at most a minute longer than an empty bucket", func(t *T) {
		k := t.key("1", core.Limits{TPM: 60_000})
		t.ask("a", tokens(10_000), k)
		t.pay("a", tokens(70_000), k)
		if r := t.deny("b", tokens(1000), k); r.RetryAfter != 11*time.Second {
			t.Errorf("retry after %v, want 11s", r.RetryAfter)
		}
		t.Now = t.Now.Add(3 * time.Minute)
		t.ask("b", tokens(10_000), k)
		t.pay("b", tokens(100_000_000), k)
		if r := t.deny("c", tokens(60_000), k); r.RetryAfter > 2*time.Minute || r.RetryAfter < 90*time.Second {
			t.Errorf("retry after %v, want some 2 minutes", r.RetryAfter)
		}
		t.Now = t.Now.Add(3 * time.Minute)
		t.ask("c", tokens(50_000), k)
	}},
	{"NeverFits", "a request larger than its limit on tokens is refused for ever, and takes nothing", func(t *T) {
		k := t.key("1", core.Limits{TPM: 60_000, RPD: 5})
		r := t.deny("a", tokens(60_001), k)
		if r.Limit != store.LimitTPM || r.Max != 60_000 || r.RetryAfter != store.NeverFits {
			t.Errorf("refusal %+v", r)
		}
		res := t.ask("b", tokens(60_000), k)
		t.remaining(res.Figures, store.KindKey, store.LimitTPM, 0)
		t.remaining(res.Figures, store.KindKey, store.LimitRPD, 4)
	}},
	{"BudgetDay", "spent and reserved money together stay within the budget; what was reserved too much comes back, what was too little counts", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 1_000_000})
		t.ask("a", usd(400_000), k)
		f := t.figure(t.ask("b", usd(400_000), k).Figures, store.KindKey, store.LimitUSDDay)
		midnight := time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC)
		if f.Remaining != 200_000 || f.Max != 1_000_000 || !f.Reset.Equal(midnight) {
			t.Errorf("figure %+v", f)
		}
		r := t.deny("c", usd(200_001), k)
		if r.Limit != store.LimitUSDDay || r.Max != 1_000_000 || r.RetryAfter != midnight.Sub(t.Now) {
			t.Errorf("refusal %+v, want one until %v", r, midnight)
		}
		t.pay("a", usd(100_000), k)
		t.remaining(t.ask("c", usd(500_000), k).Figures, store.KindKey, store.LimitUSDDay, 0)
		t.pay("c", usd(0), k)
		t.pay("b", usd(1_300_000), k)
		// spent: nothing more comes in, not even what costs nothing
		t.remaining(t.deny("d", usd(0), k).Figures, store.KindKey, store.LimitUSDDay, 0)
		t.Now = midnight.Add(-time.Microsecond)
		t.deny("d", usd(1), k)
		t.Now = midnight
		t.remaining(t.ask("d", usd(1), k).Figures, store.KindKey, store.LimitUSDDay, 999_999)
	}},
	{"BudgetExact", "the last micro-dollar may be spent, and then no more", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 10})
		t.ask("a", usd(9), k)
		t.ask("b", usd(1), k)
		t.deny("c", usd(1), k)
		t.deny("c", usd(0), k)
	}},
	{"BudgetMonth", "days and months are those of the zone given; a month's sum outlives its days", func(t *T) {
		zone := time.FixedZone("east", 9*3600)
		t.Now = time.Date(2026, 3, 30, 23, 0, 0, 0, zone)
		k := t.key("1", core.Limits{USDDay: 600, USDMonth: 1000})
		ask := func(id string, micro int64) store.AdmitResult {
			t.Helper()
			r := t.request(id, k)
			r.Ask, r.Zone = usd(micro), zone
			res, err := t.S.Admit(t.Ctx, r)
			t.ok(err, "admit %s", id)
			t.end(store.SettleRequest{ID: id, Used: usd(micro), Zone: zone, Subjects: []store.Subject{k}})
			return res
		}
		ask("a", 600)
		if r := t.denyIn("b", usd(1), zone, k); r.Limit != store.LimitUSDDay || r.RetryAfter != time.Hour {
			t.Errorf("refusal %+v, want the day's, for 1h", r)
		}
		t.Now = t.Now.Add(time.Hour) // the 31st, there
		res := ask("b", 300)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 300)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDMonth, 100)
		r := t.denyIn("c", usd(101), zone, k)
		if r.Limit != store.LimitUSDMonth || r.Max != 1000 || r.RetryAfter != 24*time.Hour {
			t.Errorf("refusal %+v, want the month's, for 24h", r)
		}
		t.Now = t.Now.Add(24 * time.Hour)
		f := t.figure(ask("c", 600).Figures, store.KindKey, store.LimitUSDMonth)
		if may := time.Date(2026, 5, 1, 0, 0, 0, 0, zone); f.Remaining != 400 || !f.Reset.Equal(may) {
			t.Errorf("figure %+v, want 400 until %v", f, may)
		}
	}},
	{"SettledLater", "what a request cost counts for the day and month in which it was let in", func(t *T) {
		t.Now = time.Date(2026, 3, 31, 23, 59, 0, 0, time.UTC)
		k := t.key("1", core.Limits{USDDay: 1000, USDMonth: 1000})
		t.ask("a", usd(500), k)
		t.Now = t.Now.Add(2 * time.Minute)
		t.ask("b", usd(100), k)
		t.pay("a", usd(900), k)
		res := t.ask("c", usd(100), k)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 800)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDMonth, 800)
	}},
	{"DeadLease", "a request that is never settled gives back what it reserved when its lease ends", func(t *T) {
		k := t.key("1", core.Limits{TPM: 1_000_000, USDDay: 1000, USDMonth: 5000})
		t.ask("a", store.Amount{Tokens: 900_000, USD: 800}, k)
		t.Now = t.Now.Add(3*time.Minute - time.Microsecond)
		t.deny("b", usd(300), k)
		t.Now = t.Now.Add(time.Microsecond)
		res := t.ask("b", store.Amount{Tokens: 1_000_000, USD: 300}, k)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 700)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDMonth, 4700)
	}},
	{"LateSettle", "a request that outlived its lease counts in full, once", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 1000})
		t.ask("a", usd(800), k)
		t.Now = t.Now.Add(10 * time.Minute)
		t.remaining(t.ask("b", usd(100), k).Figures, store.KindKey, store.LimitUSDDay, 900)
		for range 3 {
			t.pay("a", usd(300), k)
			t.ok(t.S.Flush(t.Ctx), "flush")
		}
		t.remaining(t.ask("c", usd(0), k).Figures, store.KindKey, store.LimitUSDDay, 600)
	}},
	{"PaidOnce", "a second Settle of a request takes no money and no tokens", func(t *T) {
		k, a := t.key("1", core.Limits{TPM: 60_000, USDMonth: 1000}), t.account("acme", core.Limits{USDDay: 2000})
		t.ask("a", store.Amount{Tokens: 5000, USD: 100}, k, a)
		for range 3 {
			t.pay("a", store.Amount{Tokens: 7000, USD: 300}, k, a)
		}
		res := t.ask("b", usd(0), k, a)
		t.remaining(res.Figures, store.KindKey, store.LimitTPM, 53_000)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDMonth, 700)
		t.remaining(res.Figures, store.KindAccount, store.LimitUSDDay, 1700)
	}},
	{"PaidAlone", "Settle with subjects counts what was used also for what was never admitted under that id", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 1000})
		for range 2 {
			t.pay("batch", usd(400), k)
		}
		t.remaining(t.ask("a", usd(0), k).Figures, store.KindKey, store.LimitUSDDay, 600)
	}},
	{"RefusedReservesNothing", "a budget that refuses leaves the twin's tokens, money and leases as they were", func(t *T) {
		k, a := t.key("1", core.Limits{TPM: 60_000, USDDay: 1000, Concurrency: 2}), t.account("acme", core.Limits{USDMonth: 100})
		for i := range 5 {
			if r := t.deny(fmt.Sprint("x", i), store.Amount{Tokens: 1000, USD: 101}, k, a); r.Subject != store.KindAccount || r.Limit != store.LimitUSDMonth {
				t.Errorf("refusal %+v", r)
			}
		}
		res := t.ask("a", store.Amount{Tokens: 1000, USD: 100}, k, a)
		t.remaining(res.Figures, store.KindKey, store.LimitTPM, 59_000)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 900)
		t.remaining(res.Figures, store.KindKey, store.LimitConcurrency, 1)
	}},
	{"RepeatReservesOnce", "the same id again reserves nothing more", func(t *T) {
		k := t.key("1", core.Limits{TPM: 60_000, USDDay: 1000})
		for range 3 {
			res := t.ask("a", store.Amount{Tokens: 1000, USD: 900}, k)
			t.remaining(res.Figures, store.KindKey, store.LimitTPM, 59_000)
			t.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 100)
		}
	}},
	{"RenewKeepsReserved", "Renew prolongs what is reserved with the lease", func(t *T) {
		k := t.key("1", core.Limits{USDDay: 1000})
		t.ask("a", usd(900), k)
		t.Now = t.Now.Add(2 * time.Minute)
		t.ok(t.S.Renew(t.Ctx, t.request("a", k)), "renew")
		t.Now = t.Now.Add(2 * time.Minute)
		t.deny("b", usd(200), k)
		t.pay("a", usd(100), k)
		t.ask("b", usd(900), k)
	}},
	{"Node", "a node is a subject of its own: refused and taken apart from the key under the same id, settled with it", func(t *T) {
		k, n := t.key("7", core.Limits{Concurrency: 5, USDDay: 1000}), t.node("7", core.Limits{Concurrency: 1, TPM: 60_000, USDDay: 500})
		t.ask("a", usd(100), k)
		t.ask("a", store.Amount{Tokens: 1000, USD: 300}, n)
		t.ask("b", usd(100), k)
		r := t.deny("b", usd(1), n)
		if r.Subject != store.KindNode || r.Limit != store.LimitConcurrency {
			t.Errorf("refusal %+v", r)
		}
		t.end(store.SettleRequest{ID: "a", Used: store.Amount{Tokens: 2000, USD: 50}, Subjects: []store.Subject{k, n}})
		res := t.ask("b", store.Amount{Tokens: 1000, USD: 400}, n)
		t.remaining(res.Figures, store.KindNode, store.LimitTPM, 57_000)
		t.remaining(res.Figures, store.KindNode, store.LimitUSDDay, 50)
		t.remaining(t.ask("c", usd(0), k).Figures, store.KindKey, store.LimitUSDDay, 850)
	}},
	{"NodeEdited", "an edit of a node binds the next admission that names it, like a key's", func(t *T) {
		n := t.node("7", core.Limits{RPM: 10})
		d, err := t.S.Get(t.Ctx, store.KindNode, "7")
		t.ok(err, "get")
		t.admit("a", n)
		n2 := n
		n2.Version = t.replace(d).Version
		_, err = t.S.Admit(t.Ctx, t.request("b", n))
		t.is(err, store.ErrStale, "admit with the old version")
		t.remaining(t.admit("b", n2).Figures, store.KindNode, store.LimitRPM, 8)
		t.ok(t.S.Delete(t.Ctx, store.KindNode, "7", 0), "delete")
		_, err = t.S.Admit(t.Ctx, t.request("c", n2))
		t.is(err, store.ErrStale, "admit after the deletion")
	}},
	{"Free", "a node that was tried in vain gets back all that the request holds of it; what was used counts for the one that answered", func(t *T) {
		l := core.Limits{Concurrency: 1, TPM: 60_000, USDDay: 1000}
		k, n1, n2, n3 := t.key("1", core.Limits{USDDay: 5000}), t.node("1", l), t.node("2", l), t.node("3", core.Limits{RPM: 10})
		t.ask("a", usd(400), k)
		for _, n := range []store.Subject{n1, n3, n2} {
			t.ask("a", store.Amount{Tokens: 10_000, USD: 400}, n)
		}
		for range 2 { // again changes nothing
			t.end(store.SettleRequest{ID: "a", Used: store.Amount{Tokens: 100, USD: 70}, Subjects: []store.Subject{k, n2}, Free: []store.Subject{n1, n3}})
		}
		res := t.ask("b", usd(1), n1)
		t.remaining(res.Figures, store.KindNode, store.LimitTPM, 60_000)
		t.remaining(res.Figures, store.KindNode, store.LimitUSDDay, 999)
		res = t.ask("b", usd(1), n2)
		t.remaining(res.Figures, store.KindNode, store.LimitTPM, 59_900)
		t.remaining(res.Figures, store.KindNode, store.LimitUSDDay, 929)
		t.remaining(t.ask("b", usd(0), k).Figures, store.KindKey, store.LimitUSDDay, 4930)
		t.remaining(t.ask("b", usd(0), n3).Figures, store.KindNode, store.LimitRPM, 8)
	}},
	{"FreeLate", "freeing a node whose lease ended before takes nothing and gives nothing twice", func(t *T) {
		k, n := t.key("1", core.Limits{USDDay: 5000}), t.node("1", core.Limits{Concurrency: 1, USDDay: 1000})
		t.ask("a", usd(0), k)
		t.ask("a", usd(400), n)
		t.Now = t.Now.Add(10 * time.Minute)
		t.ask("b", usd(300), n)
		t.end(store.SettleRequest{ID: "a", Used: usd(70), Subjects: []store.Subject{k}, Free: []store.Subject{n}})
		if f := t.figure(t.deny("c", usd(1), n).Figures, store.KindNode, store.LimitUSDDay); f.Remaining != 700 {
			t.Errorf("figure %+v, want 700 remaining: the other request holds its place and its 300", f)
		}
	}},
	{"HammerBudget", "of 100 workers that ask at one moment exactly as many get in as the budget holds", func(t *T) {
		k, a := t.key("1", core.Limits{USDDay: 1_000_000}), t.account("acme", core.Limits{USDMonth: 400_000, TPM: 1_000_000})
		var in atomic.Int64
		t.parallel(100, func(i int) error {
			id := fmt.Sprint("w", i)
			r := t.request(id, k, a)
			r.Ask = store.Amount{Tokens: 10, USD: 10_000}
			_, err := t.S.Admit(t.Ctx, r)
			var refused *store.Refusal
			switch {
			case errors.As(err, &refused):
				return nil
			case err != nil:
				return err
			}
			in.Add(1)
			rec := t.record(id)
			return t.S.Settle(t.Ctx, store.SettleRequest{ID: id, Account: "acme", Now: t.Now, Zone: time.UTC, Subjects: []store.Subject{k, a},
				Used: r.Ask, Record: rec})
		})
		for i := range int(40 - in.Load()) {
			if !t.Opt.Hasty {
				break
			}
			t.ask(fmt.Sprint("rest", i), usd(10_000), k, a)
			in.Add(1)
		}
		if in.Load() != 40 {
			t.Errorf("%d admitted, want 40", in.Load())
		}
		res := t.deny("x", usd(1), k, a)
		t.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 600_000)
		t.remaining(res.Figures, store.KindAccount, store.LimitUSDMonth, 0)
	}},
}
