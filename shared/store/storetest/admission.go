package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

var admissionCases = []testcase{
	{"Unlimited", "a subject without limits is let in as long as its version is right", func(t *T) {
		k, a := t.key("1", core.Limits{}), t.account("acme", core.Limits{})
		for i := range 50 {
			if res := t.admit(fmt.Sprint(i), k, a); len(res.Figures) != 0 {
				t.Fatalf("figures of no limits: %+v", res.Figures)
			}
		}
	}},
	{"PerMinute", "exactly the limit fits at once; after that one comes back every 60 s / limit; a refusal says when", func(t *T) {
		k := t.key("1", core.Limits{RPM: 4})
		for want := int64(3); want >= 0; want-- {
			res := t.admit(fmt.Sprint(want), k)
			f := t.figure(res.Figures, store.KindKey, store.LimitRPM)
			if reset := t.Now.Add(time.Duration(4-want) * 15 * time.Second); f.Remaining != want || f.Max != 4 || !f.Reset.Equal(reset) {
				t.Errorf("figure %+v, want %d of 4 remaining until %v", f, want, reset)
			}
		}
		r := t.refuse("x", k)
		if r.Subject != store.KindKey || r.Limit != store.LimitRPM || r.Max != 4 || r.RetryAfter != 15*time.Second {
			t.Errorf("refusal %+v", r)
		}
		t.remaining(r.Figures, store.KindKey, store.LimitRPM, 0)
		t.Now = t.Now.Add(r.RetryAfter - time.Microsecond)
		t.refuse("x", k)
		t.Now = t.Now.Add(time.Microsecond)
		t.admit("x", k)
		t.refuse("y", k)
	}},
	{"PerDay", "requests a day count by the calendar of the zone given", func(t *T) {
		zone := time.FixedZone("east", 9*3600)
		t.Now = time.Date(2026, 3, 14, 23, 0, 0, 0, zone)
		k := t.key("1", core.Limits{RPD: 2})
		admit := func(id string) (store.AdmitResult, error) {
			r := t.request(id, k)
			r.Zone = zone
			return t.S.Admit(t.Ctx, r)
		}
		midnight := time.Date(2026, 3, 15, 0, 0, 0, 0, zone)
		for want := int64(1); want >= 0; want-- {
			res, err := admit(fmt.Sprint(want))
			t.ok(err, "admit")
			if f := t.figure(res.Figures, store.KindKey, store.LimitRPD); f.Remaining != want || f.Max != 2 || !f.Reset.Equal(midnight) {
				t.Errorf("figure %+v, want %d of 2 until %v", f, want, midnight)
			}
		}
		_, err := admit("x")
		var r *store.Refusal
		if !errors.As(err, &r) || r.Limit != store.LimitRPD || r.RetryAfter != time.Hour {
			t.Errorf("error %v, refusal %+v, want one for an hour", err, r)
		}
		t.Now = midnight
		_, err = admit("x")
		t.ok(err, "admit on the next day")
	}},
	{"Concurrency", "no more leases live than the limit; Settle frees one, so does its end", func(t *T) {
		k := t.key("1", core.Limits{Concurrency: 2})
		t.remaining(t.admit("a", k).Figures, store.KindKey, store.LimitConcurrency, 1)
		t.Now = t.Now.Add(time.Minute)
		t.admit("b", k)
		if r := t.refuse("c", k); r.Limit != store.LimitConcurrency || r.Max != 2 || r.RetryAfter != time.Second {
			t.Errorf("refusal %+v", r)
		}
		t.settle("b", k)
		t.admit("c", k)
		t.refuse("d", k)
		t.Now = t.Now.Add(2*time.Minute - time.Microsecond)
		t.refuse("d", k)
		t.Now = t.Now.Add(time.Microsecond) // a was let in 3 minutes ago
		t.admit("d", k)
		t.refuse("e", k)
	}},
	{"Renew", "Renew moves the end of a lease; one that ended is not revived", func(t *T) {
		k := t.key("1", core.Limits{Concurrency: 1})
		t.admit("a", k)
		t.Now = t.Now.Add(2 * time.Minute)
		t.ok(t.S.Renew(t.Ctx, t.request("a", k)), "renew") // now until minute 5
		t.Now = t.Now.Add(2 * time.Minute)
		t.refuse("b", k)
		t.Now = t.Now.Add(time.Minute)
		t.ok(t.S.Renew(t.Ctx, t.request("a", k)), "renew what ended")
		t.admit("b", k)
		t.ok(t.S.Renew(t.Ctx, t.request("unknown", k)), "renew what never was")
		t.settle("a", k) // its lease is not b's
		t.refuse("c", k)
	}},
	{"SameID", "admitting the same id again while its lease lives takes nothing more", func(t *T) {
		k, a := t.key("1", core.Limits{Concurrency: 2, RPD: 10}), t.account("acme", core.Limits{RPD: 1})
		t.admit("a", k, a)
		res := t.admit("a", k, a)
		t.remaining(res.Figures, store.KindKey, store.LimitConcurrency, 1)
		t.remaining(res.Figures, store.KindKey, store.LimitRPD, 9)
		t.remaining(res.Figures, store.KindAccount, store.LimitRPD, 0)
		t.settle("a", k, a)
		t.refuse("b", k, a)
	}},
	{"AllTogether", "a refusal names the limit with the longest wait among all that forbid the request", func(t *T) {
		k, a := t.key("1", core.Limits{RPM: 1, Concurrency: 1}), t.account("acme", core.Limits{RPD: 1, RPM: 2})
		res := t.admit("a", k, a)
		if len(res.Figures) != 4 {
			t.Errorf("%d figures, want 4: %+v", len(res.Figures), res.Figures)
		}
		if r := t.refuse("b", k, a); r.Subject != store.KindAccount || r.Limit != store.LimitRPD || len(r.Figures) != 4 {
			t.Errorf("refusal %+v, want the account's day", r)
		}
		if r := t.refuse("b", k); r.Subject != store.KindKey || r.Limit != store.LimitRPM || r.RetryAfter != time.Minute {
			t.Errorf("refusal %+v, want the key's minute", r)
		}
	}},
	{"RefusedTakesNothing", "a refusal by one subject takes nothing of another, whichever refuses", func(t *T) {
		k, a := t.key("1", core.Limits{RPM: 10, RPD: 10, Concurrency: 10}), t.account("acme", core.Limits{RPD: 1})
		k2 := t.keyOf("big", "2", core.Limits{RPD: 1})
		t.admit("a", k, a)
		for i := range 5 {
			r := t.refuse(fmt.Sprint("x", i), k, a)
			t.remaining(r.Figures, store.KindKey, store.LimitRPM, 9)
			t.remaining(r.Figures, store.KindKey, store.LimitRPD, 9)
			t.remaining(r.Figures, store.KindKey, store.LimitConcurrency, 9)
		}
		b := t.account("big", core.Limits{RPM: 10, Concurrency: 10})
		t.admit("b", k2, b)
		for i := range 5 {
			r := t.refuse(fmt.Sprint("y", i), k2, b)
			t.remaining(r.Figures, store.KindAccount, store.LimitRPM, 9)
			t.remaining(r.Figures, store.KindAccount, store.LimitConcurrency, 9)
		}
	}},
	{"Stale", "an edit of a subject's document binds the next Admit: another version is ErrStale and takes nothing", func(t *T) {
		k, a := t.key("1", core.Limits{RPD: 10}), t.account("acme", core.Limits{})
		t.admit("a", k, a)
		d, err := t.S.Get(t.Ctx, store.KindAccount, "acme")
		t.ok(err, "get")
		d = t.replace(d)
		for range 3 {
			_, err := t.S.Admit(t.Ctx, t.request("b", k, a))
			t.is(err, store.ErrStale, "admit with the old version")
		}
		a.Version = d.Version
		t.remaining(t.admit("b", k, a).Figures, store.KindKey, store.LimitRPD, 8)
		k.Version++
		_, err = t.S.Admit(t.Ctx, t.request("c", k, a))
		t.is(err, store.ErrStale, "admit with a version to come")
	}},
	{"Gone", "Admit for a document that was deleted, or never was, is ErrStale; with it go its counters", func(t *T) {
		k := t.key("1", core.Limits{RPD: 1})
		t.admit("a", k)
		t.ok(t.S.Delete(t.Ctx, store.KindKey, "1", 0), "delete")
		_, err := t.S.Admit(t.Ctx, t.request("b", k))
		t.is(err, store.ErrStale, "admit after the deletion")
		_, err = t.S.Admit(t.Ctx, t.request("b", store.Subject{Kind: store.KindKey, ID: "never", Version: 1}))
		t.is(err, store.ErrStale, "admit for what never was")
		t.settle("a", k)
		t.create(store.KindKey, "1", "acme")
		t.admit("c", k)
	}},
	{"LimitsMove", "an edited limit counts at once, over what was used before", func(t *T) {
		k := t.key("1", core.Limits{RPD: 2})
		t.admit("a", k)
		t.admit("b", k)
		t.refuse("c", k)
		k.Limits.RPD = 3
		t.remaining(t.admit("c", k).Figures, store.KindKey, store.LimitRPD, 0)
		k.Limits.RPD = 1
		t.remaining(t.refuse("d", k).Figures, store.KindKey, store.LimitRPD, 0)
	}},
	{"Apart", "subjects of the same id but another kind, and other ids, have nothing in common", func(t *T) {
		k, a, k2 := t.key("x", core.Limits{RPD: 1}), t.account("x", core.Limits{RPD: 1}), t.key("y", core.Limits{RPD: 1})
		t.admit("1", k)
		t.admit("2", a)
		t.admit("3", k2)
		t.refuse("4", k)
		t.refuse("5", a)
	}},
	{"ClockBack", "a clock that runs back gives nothing away and blocks nobody for ever", func(t *T) {
		k := t.key("1", core.Limits{RPM: 2})
		t.admit("a", k)
		t.admit("b", k)
		t.Now = t.Now.Add(-10 * time.Second)
		if r := t.refuse("c", k); r.RetryAfter != 40*time.Second {
			t.Errorf("retry after %v, want 40s", r.RetryAfter)
		}
		t.Now = t.Now.Add(-time.Hour)
		n := 0
		for range 10 {
			if _, err := t.S.Admit(t.Ctx, t.request("d", k)); err == nil {
				n++
			}
			t.Now = t.Now.Add(6 * time.Second)
		}
		if n < 1 || n > 3 {
			t.Errorf("%d admitted in the minute after the clock was set back, want 1 to 3", n)
		}
	}},
	{"Bound", "in any t seconds at most L + L*t/60 get in (and the refill of the backend's lag), and at least 0.95 of the refill when more is asked for", func(t *T) {
		const rpm = 120
		k := t.key("1", core.Limits{RPM: rpm})
		rng := rand.New(rand.NewPCG(5, 8))
		var in []time.Time
		for range 3 {
			begin, n := t.Now, len(in)
			for range 150 { // twice as many as come back
				t.Now = t.Now.Add(time.Duration(rng.Int64N(int64(500 * time.Millisecond)))).Truncate(time.Microsecond)
				_, err := t.S.Admit(t.Ctx, t.request(fmt.Sprint(t.Now.UnixMicro()), k))
				if err == nil {
					in = append(in, t.Now)
				} else if r := (*store.Refusal)(nil); !errors.As(err, &r) {
					t.Fatalf("admit: %v", err)
				}
			}
			if got, want := float64(len(in)-n), 0.95*rpm*t.Now.Sub(begin).Minutes(); got < want {
				t.Errorf("%v let in in %v, want at least %v", got, t.Now.Sub(begin), want)
			}
			t.Now = t.Now.Add(time.Duration(rng.Int64N(int64(40 * time.Second)))).Truncate(time.Microsecond)
		}
		for i := range in {
			for j := i; j < len(in); j++ {
				span := in[j].Sub(in[i])
				if n := float64(j - i + 1); n > rpm+rpm*(span+t.Opt.Lag).Minutes() {
					t.Fatalf("%v let in within %v", n, span)
				}
			}
		}
	}},
	{"Hammer", "of 100 workers that hammer one key at one moment exactly the limit gets in, key and account alike", func(t *T) {
		k, a := t.key("1", core.Limits{RPM: 70}), t.account("acme", core.Limits{RPD: 60, Concurrency: 50})
		k2 := t.key("2", core.Limits{RPD: 20})
		var in, in2 atomic.Int64
		t.parallel(100, func(i int) error {
			for j := range 3 {
				s, n := k, &in
				if i%2 == 0 {
					s, n = k2, &in2
				}
				_, err := t.S.Admit(t.Ctx, t.request(fmt.Sprint(i, "-", j), s, a))
				var r *store.Refusal
				switch {
				case err == nil:
					n.Add(1)
				case !errors.As(err, &r):
					return err
				}
			}
			return nil
		})
		if t.Opt.Hasty { // the rest gets in one by one
			for i := range int(50 - in.Load() - in2.Load()) {
				t.admit(fmt.Sprint("rest", i), k, a)
				in.Add(1)
			}
		}
		if got := in.Load() + in2.Load(); got != 50 || in2.Load() > 20 {
			t.Errorf("%d + %d admitted, want 50 together and at most 20 by the second", in.Load(), in2.Load())
		}
		r := t.refuse("x", k, a)
		t.remaining(r.Figures, store.KindAccount, store.LimitRPD, 10)
		t.remaining(r.Figures, store.KindAccount, store.LimitConcurrency, 0)
		t.remaining(r.Figures, store.KindKey, store.LimitRPM, 70-in.Load())
	}},
	{"SettleOnce", "Settle stores the record once by its request id; the first one stays", func(t *T) {
		k := t.key("1", core.Limits{Concurrency: 2})
		t.admit("a", k)
		t.admit("b", k)
		r := t.record("a")
		for i := range 3 {
			r.Tokens.Input = int64(10 + i)
			t.ok(t.S.Settle(t.Ctx, store.SettleRequest{ID: "a", Account: "acme", Subjects: []store.Subject{k}, Record: r}), "settle")
			if i == 1 {
				t.ok(t.S.Flush(t.Ctx), "flush")
			}
		}
		if got := t.records(store.UsageFilter{}); len(got) != 1 || got[0].Tokens.Input != 10 {
			t.Errorf("records %+v", got)
		}
		t.admit("c", k)
		t.refuse("d", k)
	}},
	{"SettleAfterEnd", "a request that outlived its lease is recorded all the same", func(t *T) {
		k := t.key("1", core.Limits{Concurrency: 1})
		t.admit("a", k)
		t.Now = t.Now.Add(time.Hour)
		t.admit("b", k)
		t.settle("a", k)
		t.refuse("c", k)
		t.settle("b", k)
		if got := t.records(store.UsageFilter{}); len(got) != 2 {
			t.Errorf("%d records, want 2", len(got))
		}
	}},
	{"GenerationBeside", "a generation that comes with an admission is the account's, or 0 for not looked", func(t *T) {
		k := t.key("1", core.Limits{})
		n, err := t.S.Generation(t.Ctx, "acme")
		t.ok(err, "generation")
		if res := t.admit("a", k); res.Generation != 0 && res.Generation != n {
			t.Errorf("generation %d, want 0 or %d", res.Generation, n)
		}
		if n, err := t.S.Generation(t.Ctx, "nobody"); n != 0 || err != nil {
			t.Errorf("generation of nobody is %d, %v", n, err)
		}
	}},
}

var leaseCases = []testcase{
	{"Exclusive", "a lease has one holder at a time; its fencing number rises with every new holding", func(t *T) {
		acquire := func(holder string) (int64, error) {
			return t.S.Acquire(t.Ctx, "refresh", holder, t.Now, time.Minute)
		}
		n, err := acquire("a")
		t.ok(err, "acquire")
		_, err = acquire("b")
		t.is(err, store.ErrHeld, "acquire what another holds")
		t.Now = t.Now.Add(30 * time.Second)
		if again, err := acquire("a"); err != nil || again != n {
			t.Errorf("the holder again: %d, %v, want %d", again, err, n)
		}
		t.Now = t.Now.Add(40 * time.Second) // the first end has passed, the new one has not
		_, err = acquire("b")
		t.is(err, store.ErrHeld, "acquire what was prolonged")
		t.Now = t.Now.Add(20 * time.Second)
		n2, err := acquire("b")
		if err != nil || n2 <= n {
			t.Errorf("after the end: %d, %v, want more than %d", n2, err, n)
		}
		t.ok(t.S.Release(t.Ctx, "refresh", "a"), "release by who does not hold it")
		_, err = acquire("a")
		t.is(err, store.ErrHeld, "acquire after a stranger's release")
		t.ok(t.S.Release(t.Ctx, "refresh", "b"), "release")
		n3, err := acquire("b")
		if err != nil || n3 <= n2 {
			t.Errorf("after a release: %d, %v, want more than %d", n3, err, n2)
		}
		t.Now = t.Now.Add(2 * time.Minute)
		if n4, err := acquire("b"); err != nil || n4 <= n3 {
			t.Errorf("a holder after its end: %d, %v, want more than %d", n4, err, n3)
		}
		if _, err := t.S.Acquire(t.Ctx, "sweep", "a", t.Now, time.Minute); err != nil {
			t.Errorf("another name: %v", err)
		}
		t.ok(t.S.Release(t.Ctx, "unknown", "a"), "release of an unknown name")
	}},
	{"Race", "of many who want a lease at once one gets it", func(t *T) {
		var won atomic.Int64
		t.parallel(40, func(i int) error {
			_, err := t.S.Acquire(t.Ctx, "refresh", fmt.Sprint(i), t.Now, time.Minute)
			if err == nil {
				won.Add(1)
			}
			if errors.Is(err, store.ErrHeld) {
				return nil
			}
			return err
		})
		if won.Load() != 1 {
			t.Errorf("%d holders", won.Load())
		}
	}},
}
