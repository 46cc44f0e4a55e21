//go:build unix

package sqltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// likeMemory does the same at random to this store and to the one in memory and compares all answers.
func likeMemory(t *testing.T, b Backend, s *Server) {
	rng := rand.New(rand.NewPCG(3, 5))
	st, model := b.open(t, b.Empty(t, s)), memory.New()
	limits := []core.Limits{{}, {RPM: 5}, {Concurrency: 3}, {RPD: 30, TPM: 900}, {USDDay: 5000, USDMonth: 7000}, {RPM: 20, Concurrency: 4, TPM: 3000, USDDay: 9000}, {USDMonth: 20_000}}
	var subs []store.Subject
	for i, l := range limits {
		for _, kind := range []string{store.KindKey, store.KindAccount, store.KindNode} {
			subs = append(subs, subject(t, st, kind, fmt.Sprint(i), l))
			subject(t, model, kind, fmt.Sprint(i), l)
		}
	}
	now := time.Date(2026, 3, 30, 22, 0, 0, 0, time.UTC) // a month ends on the way
	pick := func(kind string) store.Subject {
		for {
			if s := subs[rng.IntN(len(subs))]; s.Kind == kind {
				return s
			}
		}
	}
	type flight struct {
		subjects, free []store.Subject
		end            time.Time
	}
	open := map[string]flight{}
	strangers := 0
	any := func() string {
		// What happens to one that outlived its lease depends on who looked at it meanwhile: it is left to its end.
		maps.DeleteFunc(open, func(_ string, f flight) bool { return !now.Before(f.end) })
		if ids := slices.Sorted(maps.Keys(open)); len(ids) > 0 {
			return ids[rng.IntN(len(ids))]
		}
		strangers++ // an id that was settled never comes back
		return fmt.Sprint("stranger", strangers)
	}
	for i := range 1500 {
		now = now.Add(time.Duration(rng.Int64N(int64(40 * time.Second)))).Truncate(time.Microsecond)
		id, step := fmt.Sprint("r", i), rng.IntN(10)
		switch {
		case step < 5:
			f := flight{subjects: []store.Subject{pick(store.KindKey), pick(store.KindAccount)}}
			r := ask(now, id, store.Amount{Tokens: rng.Int64N(400), USD: rng.Int64N(1500)}, f.subjects...)
			r.LeaseEnd = now.Add(time.Duration(rng.Int64N(int64(5 * time.Minute))))
			if rng.IntN(8) == 0 {
				r.ID = any()
			}
			got, err := st.Admit(t.Context(), r)
			want, werr := model.Admit(t.Context(), r)
			if !equal(got, want) || !equal(told(err), told(werr)) {
				t.Fatalf("step %d, admit %+v:\n%+v, %+v\nwant %+v, %+v", i, r, got, told(err), want, told(werr))
			}
			if f.end = r.LeaseEnd; werr == nil && r.ID == id {
				open[id] = f
			}
		case step < 6: // a node on the way
			id = any()
			n := pick(store.KindNode)
			r := ask(now, id, store.Amount{Tokens: 100, USD: 200}, n)
			_, err := st.Admit(t.Context(), r)
			_, werr := model.Admit(t.Context(), r)
			if !equal(told(err), told(werr)) {
				t.Fatalf("step %d, node: %v, want %v", i, err, werr)
			}
			if f, ok := open[id]; ok && werr == nil && rng.IntN(2) == 0 {
				f.free = append(f.free, n)
				open[id] = f
			} else if ok && werr == nil && len(f.subjects) == 2 {
				f.subjects = append(f.subjects, n)
				open[id] = f
			}
		case step < 7:
			id = any()
			r := ask(now, id, store.Amount{}, open[id].subjects...)
			if f, ok := open[id]; ok {
				f.end = r.LeaseEnd
				open[id] = f
			}
			if err := errors.Join(st.Renew(t.Context(), r), model.Renew(t.Context(), r)); err != nil {
				t.Fatal(err)
			}
		default:
			id = any()
			r := done(now, id, store.Amount{Tokens: rng.Int64N(700), USD: rng.Int64N(2500)}, open[id].subjects...)
			r.Free = open[id].free
			for range 1 + rng.IntN(2) {
				if err := errors.Join(st.Settle(t.Context(), r), model.Settle(t.Context(), r)); err != nil {
					t.Fatal(err)
				}
			}
			delete(open, id)
		}
	}
}

// answer is what an error of Admit tells.
type answer struct {
	Failed, Stale bool
	Subject       string
	Limit         store.LimitName
	Max           int64
	RetryAfter    time.Duration
	Figures       []store.Figure
}

func told(err error) answer {
	var r *store.Refusal
	if !errors.As(err, &r) {
		return answer{Failed: err != nil, Stale: errors.Is(err, store.ErrStale)}
	}
	return answer{true, false, r.Subject, r.Limit, r.Max, r.RetryAfter, r.Figures}
}

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// Of 100 workers at four instances exactly the limit gets in, and what they leave is what they used.
func instances(t *testing.T, b Backend, s *Server) {
	dsn := b.Empty(t, s)
	var st [4]store.Store
	for i := range st {
		st[i] = b.open(t, dsn)
	}
	k := subject(t, st[0], store.KindKey, "1", core.Limits{RPM: 150, Concurrency: 90})
	k2 := subject(t, st[0], store.KindKey, "2", core.Limits{TPM: 10_000})
	a := subject(t, st[0], store.KindAccount, "acme", core.Limits{RPD: 1000, USDDay: 120_000, TPM: 1_000_000})
	var in, in2 atomic.Int64
	parallel(t, 100, func(i int) error {
		for j := range 3 {
			sub, n := k, &in
			if i%2 == 0 {
				sub, n = k2, &in2
			}
			_, err := st[i%len(st)].Admit(t.Context(), ask(start, fmt.Sprint(i, "-", j), store.Amount{Tokens: 300, USD: 1000}, sub, a))
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
	if in.Load()+in2.Load() != 120 || in.Load() > 90 || in2.Load() > 33 {
		t.Errorf("%d + %d admitted, want 120 together, at most 90 and 33", in.Load(), in2.Load())
	}
	// An edit at one instance binds the next admission at all others.
	if _, err := st[0].Replace(t.Context(), store.Doc{Kind: k.Kind, ID: k.ID, Account: "acme", Version: k.Version}); err != nil {
		t.Fatal(err)
	}
	for _, x := range st {
		if _, err := x.Admit(t.Context(), ask(start, "x", store.Amount{}, k, a)); !errors.Is(err, store.ErrStale) {
			t.Errorf("after an edit: %v", err)
		}
	}
	// Every request settles at 700 instead of 1000, three times at once.
	parallel(t, 100, func(i int) error {
		for j := range 3 {
			sub := k
			if i%2 == 0 {
				sub = k2
			}
			for n := range 3 {
				if err := st[(i+n)%len(st)].Settle(t.Context(), done(start, fmt.Sprint(i, "-", j), store.Amount{Tokens: 100, USD: 0}, sub, a)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	res, err := st[1].Admit(t.Context(), ask(start, "last", store.Amount{USD: 120_000}, a))
	if err != nil {
		t.Errorf("all reservations are settled at nothing, but: %v", err)
	}
	for _, f := range res.Figures {
		if f.Limit == store.LimitRPD && f.Remaining != 1000-121 {
			t.Errorf("%d requests left of the day, want %d", f.Remaining, 1000-121)
		}
	}
	if sums, err := st[2].Sums(t.Context(), store.UsageFilter{}, store.GroupNone); err != nil || sums[0].Requests != 300 {
		t.Errorf("sums %+v, %v, want 300 requests", sums, err)
	}
}

// A request that many settle at once counts once.
func once(t *testing.T, b Backend, s *Server) {
	dsn := b.Empty(t, s)
	st, other := b.open(t, dsn), b.open(t, dsn)
	k := subject(t, st, store.KindKey, "1", core.Limits{USDDay: 1_000_000, Concurrency: 50})
	for i := range 20 {
		if _, err := st.Admit(t.Context(), ask(start, fmt.Sprint(i), store.Amount{USD: 5000}, k)); err != nil {
			t.Fatal(err)
		}
	}
	parallel(t, 60, func(i int) error {
		x := st
		if i%2 == 0 {
			x = other
		}
		return x.Settle(t.Context(), done(start, fmt.Sprint(i%20), store.Amount{USD: 7000}, k))
	})
	res, err := st.Admit(t.Context(), ask(start, "x", store.Amount{}, k))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range res.Figures {
		if f.Limit == store.LimitUSDDay && f.Remaining != 1_000_000-20*7000 || f.Limit == store.LimitConcurrency && f.Remaining != 49 {
			t.Errorf("figure %+v", f)
		}
	}
}

// A lease that is renewed while others take it for dead does not live beside who took its place.
func renewRace(t *testing.T, b Backend, s *Server) {
	const slots = 10
	dsn := b.Empty(t, s)
	st, other, db := b.open(t, dsn), b.open(t, dsn), b.Look(t, dsn)
	for round := range 20 {
		k := subject(t, st, store.KindKey, fmt.Sprint(round), core.Limits{Concurrency: slots})
		for i := range slots {
			if _, err := st.Admit(t.Context(), ask(start, fmt.Sprint(i), store.Amount{}, k)); err != nil {
				t.Fatal(err)
			}
		}
		end := start.Add(3 * time.Minute)
		parallel(t, 2*slots, func(i int) error {
			if i%2 == 0 { // in time, by its clock
				return other.Renew(t.Context(), ask(end.Add(-time.Microsecond), fmt.Sprint(i/2), store.Amount{}, k))
			}
			_, err := st.Admit(t.Context(), ask(end, fmt.Sprint("new", i), store.Amount{}, k))
			var r *store.Refusal
			if errors.As(err, &r) {
				return nil
			}
			return err
		})
		var live int
		q := fmt.Sprintf("SELECT COUNT(*) FROM sluice_inflight WHERE id = '%d' AND end_us > %d", round, end.UnixMicro())
		if err := db.QueryRowContext(t.Context(), q).Scan(&live); err != nil || live > slots {
			t.Fatalf("round %d: %d live leases, %v, want at most %d", round, live, err, slots)
		}
	}
}

// Records that come late while hours are closed are in the sums.
func rollupRace(t *testing.T, b Backend, s *Server) {
	dsn := b.Empty(t, s)
	st, other := b.open(t, dsn), b.open(t, dsn)
	var tokens atomic.Int64
	parallel(t, 12, func(i int) error {
		if i == 0 {
			for h := range 12 {
				if err := other.Rollup(t.Context(), start.Add(time.Duration(h)*time.Hour)); err != nil {
					return err
				}
			}
			return nil
		}
		for j := range 40 {
			n := int64(i*100 + j)
			tokens.Add(n)
			if err := st.Settle(context.WithoutCancel(t.Context()), done(start.Add(time.Duration(j)*10*time.Minute), fmt.Sprint(i, "-", j), store.Amount{Tokens: n, USD: n})); err != nil {
				return err
			}
		}
		return nil
	})
	sums, err := st.Sums(t.Context(), store.UsageFilter{}, store.GroupNone)
	if err != nil || sums[0].Requests != 11*40 || sums[0].Tokens.Input != tokens.Load() || sums[0].CostUSD != tokens.Load() {
		t.Errorf("sums %+v, %v, want %d requests of %d tokens and as many micro-USD", sums, err, 11*40, tokens.Load())
	}
}
