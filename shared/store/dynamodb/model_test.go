package dynamodb_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
)

// lag is what a token bucket may lie behind package limit's.
const lag = 2 * time.Second

// world runs one random sequence through two instances on one table and through package limit.
type world struct {
	*testing.T
	rng     *rand.Rand
	stores  []*dynamodb.Store
	now     time.Time
	subs    []store.Subject
	states  []limit.State
	flying  []flight
	n       int
	refused bool
	dying   bool
	counts  map[string]int
}

type flight struct {
	id  string
	ask store.Amount
	end time.Time
}

// TestModel compares every decision and figure with package limit's. Equal are: requests a day, money, leases. Buckets
// may be fuller by 2 s of refill, never emptier; so what the model lets in is let in.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		name         string
		key, account core.Limits
		dying        bool // some are never settled, some only after their lease ended
	}{
		{"calendar", core.Limits{RPM: 40, RPD: 150, Concurrency: 7, USDDay: 60_000}, core.Limits{RPM: 60, USDDay: 90_000, USDMonth: 200_000, Concurrency: 9}, true},
		{"tokens", core.Limits{TPM: 6000, Concurrency: 8}, core.Limits{TPM: 9000, RPM: 90}, false},
		{"unleased", core.Limits{RPM: 20, RPD: 100}, core.Limits{RPM: 30}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newTable(t)
			w := &world{T: t, rng: rand.New(rand.NewPCG(3, uint64(len(c.name)))), now: time.Date(2026, 3, 31, 23, 50, 0, 0, time.UTC), counts: map[string]int{}, dying: c.dying}
			for range 2 {
				w.stores = append(w.stores, open(t, u, dynamodb.Options{}))
			}
			w.subs = []store.Subject{w.subject(store.KindKey, "1", c.key), w.subject(store.KindAccount, "acme", c.account)}
			w.states = make([]limit.State, 2)
			for range 300 {
				w.step()
			}
			t.Log(w.counts)
			if w.counts["in"] < 50 || w.counts["refused"] < 10 {
				t.Errorf("the sequence tries too little: %v", w.counts)
			}
		})
	}
}

func (w *world) subject(kind, id string, l core.Limits) store.Subject {
	v, err := w.stores[0].Create(w.Context(), store.Doc{Kind: kind, ID: id, Account: "acme", Body: []byte("{}")})
	if err != nil {
		w.Fatal(err)
	}
	return store.Subject{Kind: kind, ID: id, Version: v, Limits: l}
}

func (w *world) store() *dynamodb.Store { return w.stores[w.rng.IntN(len(w.stores))] }

func (w *world) step() {
	pause := time.Duration(w.rng.Int64N(int64(1500 * time.Millisecond))).Truncate(time.Microsecond)
	if w.rng.IntN(12) == 0 {
		pause *= 20
	}
	if w.refused { // a refusal may be repeated for a second, whatever another instance did since
		pause += time.Second
	}
	w.now, w.refused = w.now.Add(pause), false
	if w.rng.IntN(5) < 3 || len(w.flying) == 0 {
		w.admit()
		return
	}
	i := w.rng.IntN(len(w.flying))
	f := w.flying[i]
	w.flying = append(w.flying[:i], w.flying[i+1:]...)
	if w.dying && w.rng.IntN(8) == 0 {
		w.counts["died"]++ // its process is gone
		return
	}
	w.settle(f)
}

func (w *world) admit() {
	w.n++
	f := flight{id: fmt.Sprint("r", w.n), ask: store.Amount{Tokens: w.rng.Int64N(900), USD: w.rng.Int64N(3000)}, end: w.now.Add(20 * time.Second)}
	if !w.dying { // an instance that does not know of a dead lease leaves its tokens to the next: a moment that package limit has not
		f.end = w.now.Add(time.Hour)
	}
	m := limit.At(w.now, time.UTC)
	ds := make([]limit.Decision, len(w.subs))
	for i, s := range w.subs {
		ds[i] = w.states[i].Check(limit.Limits(s.Limits), &m, f.id, limit.Amount(f.ask))
	}
	res, err := w.store().Admit(w.Context(), store.AdmitRequest{Now: w.now, ID: f.id, Account: "acme", Subjects: w.subs, Ask: f.ask, LeaseEnd: f.end, Zone: time.UTC})
	var r *store.Refusal
	if errors.As(err, &r) {
		w.refused = true
		w.counts["refused"]++
		if ds[0].OK() && ds[1].OK() {
			w.Fatalf("%s at %v: refused by %+v, but package limit lets it in", f.id, w.now, r)
		}
		return
	}
	if err != nil {
		w.Fatal(err)
	}
	w.counts["in"]++
	for i, s := range w.subs {
		w.apply(i, s, &ds[i], f)
	}
	w.flying = append(w.flying, f)
	w.figures(res.Figures)
}

// apply makes an admission true in the model, also one that the lag allowed.
func (w *world) apply(i int, s store.Subject, d *limit.Decision, f flight) {
	st := &w.states[i]
	if d.OK() {
		st.Apply(d, f.id, f.end.UnixMicro())
		return
	}
	if (d.Limit != limit.RPM && d.Limit != limit.TPM) || d.Wait > lag {
		w.Fatalf("%s was let in, but the %s's %s forbids it for %v", f.id, s.Kind, d.Limit, d.Wait)
	}
	w.counts["by lag"]++
	l, m := limit.Limits(s.Limits), limit.At(w.now, time.UTC)
	full, tokens := st.Full, st.Tokens
	st.Full, st.Tokens = 0, 0
	again := st.Check(l, &m, f.id, limit.Amount(f.ask))
	if !again.OK() {
		w.Fatalf("%s was let in, but the %s's %s forbids it, too", f.id, s.Kind, again.Limit)
	}
	st.Apply(&again, f.id, f.end.UnixMicro())
	if l.RPM > 0 {
		st.Full = max(full, w.now.UnixMicro()) + limit.Rate(l.RPM).Cost()
	}
	if l.TPM > 0 {
		st.Tokens = max(tokens, w.now.UnixMicro()) + f.ask.Tokens*limit.Rate(l.TPM).Cost()
	}
}

func (w *world) settle(f flight) {
	used := store.Amount{Tokens: w.rng.Int64N(1200), USD: w.rng.Int64N(4000)}
	m := limit.At(w.now, time.UTC)
	again := 1 + w.rng.IntN(2)
	for range again { // a repeated call changes nothing, whoever makes it
		err := w.store().Settle(w.Context(), store.SettleRequest{ID: f.id, Account: "acme", Now: w.now, Zone: time.UTC, Subjects: w.subs, Used: used,
			Record: core.Settlement{RequestID: f.id, Account: "acme", StartedAt: w.now, EndedAt: w.now, Status: 200}})
		if err != nil {
			w.Fatal(err)
		}
	}
	for i, s := range w.subs {
		w.states[i].Settle(limit.Limits(s.Limits), &m, f.id, limit.Amount(used))
	}
	w.counts["settled"]++
	if !w.now.Before(f.end) {
		w.counts["late"]++
	}
}

func (w *world) figures(got []store.Figure) {
	m := limit.At(w.now, time.UTC)
	n := 0
	for i, s := range w.subs {
		for _, want := range w.states[i].Figures(nil, limit.Limits(s.Limits), &m) {
			g := got[n]
			n++
			slack := int64(0)
			if want.Limit == limit.RPM || want.Limit == limit.TPM {
				slack = want.Max*int64(lag/time.Second)/60 + 1
			}
			if g.Subject != s.Kind || g.Limit != store.LimitName(want.Limit) || g.Max != want.Max || g.Remaining < want.Remaining || g.Remaining > want.Remaining+slack {
				w.Fatalf("at %v: figure %+v, package limit has %+v", w.now, g, want)
			}
		}
	}
	if n != len(got) {
		w.Fatalf("%d figures, want %d", len(got), n)
	}
}
