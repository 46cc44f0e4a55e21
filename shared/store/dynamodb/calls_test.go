package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
)

// desk is an instance whose requests are seen, on a table with a key and an account.
type desk struct {
	testing.TB
	s    *dynamodb.Store
	wire *wire
	now  time.Time // within the hour that is open for records
}

func newDesk(tb testing.TB, u string, o dynamodb.Options) *desk {
	w := &wire{}
	now := time.Date(2026, 3, 14, 10, 30, 0, 0, time.UTC)
	o.HTTPClient, o.Now = w, func() time.Time { return now }
	return &desk{TB: tb, s: open(tb, u, o), wire: w, now: now}
}

func (d *desk) subject(kind, id string, l core.Limits) store.Subject {
	d.Helper()
	v, err := d.s.Create(d.Context(), store.Doc{Kind: kind, ID: id, Account: "acme", Body: []byte("{}")})
	if err != nil {
		d.Fatal(err)
	}
	return store.Subject{Kind: kind, ID: id, Version: v, Limits: l}
}

func (d *desk) admit(id string, ask store.Amount, subs ...store.Subject) (store.AdmitResult, error) {
	return d.s.Admit(d.Context(), store.AdmitRequest{Now: d.now, ID: id, Account: "acme", Subjects: subs, Ask: ask, LeaseEnd: d.now.Add(3 * time.Minute), Zone: time.UTC})
}

func (d *desk) mustAdmit(id string, ask store.Amount, subs ...store.Subject) store.AdmitResult {
	d.Helper()
	res, err := d.admit(id, ask, subs...)
	if err != nil {
		d.Fatalf("admit %s: %v", id, err)
	}
	return res
}

func (d *desk) settle(id string, used store.Amount, subs ...store.Subject) error {
	return d.s.Settle(d.Context(), store.SettleRequest{ID: id, Account: "acme", Now: d.now, Zone: time.UTC, Subjects: subs, Used: used,
		Record: core.Settlement{RequestID: id, Account: "acme", StartedAt: d.now, EndedAt: d.now, Status: 200, Attempts: 1}})
}

func (d *desk) mustSettle(id string, used store.Amount, subs ...store.Subject) {
	d.Helper()
	if err := d.settle(id, used, subs...); err != nil {
		d.Fatalf("settle %s: %v", id, err)
	}
}

func (d *desk) remaining(fs []store.Figure, subject string, n store.LimitName, want int64) {
	d.Helper()
	for _, f := range fs {
		if f.Subject == subject && f.Limit == n {
			if f.Remaining != want {
				d.Errorf("%s, %s: %d remaining, want %d", subject, n, f.Remaining, want)
			}
			return
		}
	}
	d.Errorf("no figure of the %s's %s in %+v", subject, n, fs)
}

// TestCalls counts what a request costs in the steady state.
func TestCalls(t *testing.T) {
	d := newDesk(t, newTable(t), dynamodb.Options{})
	l := core.Limits{RPM: 1000, TPM: 1_000_000, RPD: 10_000, Concurrency: 50, USDDay: 1_000_000, USDMonth: 1_000_000}
	k, a := d.subject(store.KindKey, "1", l), d.subject(store.KindAccount, "acme", l)
	plain, light := d.subject(store.KindKey, "2", core.Limits{}), d.subject(store.KindKey, "3", core.Limits{RPM: 100})
	node := d.subject(store.KindNode, "1", core.Limits{Concurrency: 5})
	one := store.Amount{Tokens: 10, USD: 10}
	for _, c := range []struct {
		name          string
		subs          []store.Subject
		admit, settle []string
	}{
		{"key without limits", []store.Subject{plain}, []string{"GetItem"}, []string{"PutItem"}},
		{"key with requests a minute only", []store.Subject{light}, []string{"UpdateItem"}, []string{"PutItem"}},
		{"key", []store.Subject{k}, []string{"UpdateItem"}, []string{"PutItem", "UpdateItem"}},
		{"key and account", []store.Subject{k, a}, []string{"UpdateItem", "UpdateItem"}, []string{"PutItem", "UpdateItem", "UpdateItem"}},
		{"key without limits and account", []store.Subject{plain, a}, []string{"GetItem", "UpdateItem"}, []string{"PutItem", "UpdateItem"}},
		{"node before an attempt", []store.Subject{node}, []string{"UpdateItem"}, []string{"PutItem", "UpdateItem"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.mustAdmit(c.name, one, c.subs...)
			d.mustSettle(c.name, one, c.subs...)
			for i := range 3 {
				id := fmt.Sprint(c.name, i)
				d.now = d.now.Add(100 * time.Millisecond)
				d.counts(t, c.admit, func() { d.mustAdmit(id, one, c.subs...) })
				d.counts(t, c.settle, func() { d.mustSettle(id, store.Amount{Tokens: 7, USD: 12}, c.subs...) })
			}
		})
	}
	t.Run("generation", func(t *testing.T) {
		d.now = d.now.Add(2 * time.Second)
		n, err := d.s.Generation(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		d.counts(t, []string{"GetItem", "UpdateItem"}, func() {
			if res := d.mustAdmit("g", one, k); res.Generation != n {
				t.Errorf("generation %d, want %d", res.Generation, n)
			}
		})
		d.counts(t, []string{"UpdateItem"}, func() {
			if res := d.mustAdmit("h", one, k); res.Generation != 0 {
				t.Errorf("generation %d, want 0: it was looked at a moment ago", res.Generation)
			}
		})
	})
	t.Run("renew", func(t *testing.T) {
		d.counts(t, []string{"UpdateItem", "UpdateItem"}, func() {
			d.mustAdmit("r", one, k)
			if err := d.s.Renew(t.Context(), store.AdmitRequest{Now: d.now, ID: "r", Account: "acme", Subjects: []store.Subject{k}, LeaseEnd: d.now.Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		})
		d.counts(t, []string{"PutItem", "UpdateItem"}, func() { d.mustSettle("r", one, k) })
	})
	t.Run("refused", func(t *testing.T) {
		small := d.subject(store.KindKey, "4", core.Limits{RPD: 1})
		d.mustAdmit("x", one, small)
		refuse := func() {
			var r *store.Refusal
			if _, err := d.admit("y", one, small); !errors.As(err, &r) {
				t.Fatalf("error %v, want a refusal", err)
			}
		}
		d.counts(t, []string{"UpdateItem"}, refuse)
		d.counts(t, nil, func() { refuse(); refuse() }) // from memory
		d.now = d.now.Add(time.Second)
		d.counts(t, []string{"UpdateItem"}, refuse)
		// asked first and alone: nothing is taken of the account, so nothing needs to be given back
		d.now = d.now.Add(time.Second)
		d.counts(t, []string{"UpdateItem"}, func() {
			var r *store.Refusal
			if _, err := d.admit("z", one, small, a); !errors.As(err, &r) {
				t.Fatalf("error %v, want a refusal", err)
			}
		})
	})
}

func (d *desk) counts(t *testing.T, want []string, f func()) {
	t.Helper()
	got := d.wire.during(f)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// TestOneRoundTrip holds every request back until all that belong to the call are there.
func TestOneRoundTrip(t *testing.T) {
	d := newDesk(t, newTable(t), dynamodb.Options{})
	l := core.Limits{Concurrency: 50}
	k, a := d.subject(store.KindKey, "1", l), d.subject(store.KindAccount, "acme", l)
	d.mustAdmit("warm", store.Amount{}, k, a)
	d.mustSettle("warm", store.Amount{}, k, a)
	together := func(n int) {
		var there sync.WaitGroup
		there.Add(n)
		d.wire.disturb = func(string, int) (error, error) {
			there.Done()
			all := make(chan struct{})
			go func() { there.Wait(); close(all) }()
			select {
			case <-all:
			case <-time.After(5 * time.Second):
				t.Errorf("fewer than %d requests at once", n)
			}
			return nil, nil
		}
	}
	together(2)
	d.mustAdmit("a", store.Amount{}, k, a)
	together(3)
	d.mustSettle("a", store.Amount{}, k, a)
}

// TestExact lets 64 workers on four instances ask at one moment, and again after half a minute.
func TestExact(t *testing.T) {
	u := newTable(t)
	first := newDesk(t, u, dynamodb.Options{})
	k := first.subject(store.KindKey, "1", core.Limits{RPM: 60, Concurrency: 1000})
	desks := []*desk{first}
	for range 3 {
		desks = append(desks, newDesk(t, u, dynamodb.Options{}))
	}
	hammer := func(round string, want int64) {
		var in, ids atomic.Int64
		var wg sync.WaitGroup
		for w := range 64 {
			wg.Go(func() {
				d := desks[w%len(desks)]
				for range 3 {
					_, err := d.admit(fmt.Sprint(round, ids.Add(1)), store.Amount{}, k)
					var r *store.Refusal
					switch {
					case err == nil:
						in.Add(1)
					case !errors.As(err, &r):
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if in.Load() != want {
			t.Errorf("%s: %d admitted, want exactly %d", round, in.Load(), want)
		}
	}
	at := first.now
	for _, d := range desks {
		d.now = at
	}
	hammer("at once", 60)
	for _, d := range desks {
		d.now = at.Add(30 * time.Second)
	}
	hammer("after 30 s", 30)
}

// TestSweep: a process died with more leases than one update can remove.
func TestSweep(t *testing.T) {
	d := newDesk(t, newTable(t), dynamodb.Options{})
	k := d.subject(store.KindKey, "1", core.Limits{Concurrency: 100, USDDay: 1000})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { d.mustAdmit(fmt.Sprint("dead", i), store.Amount{USD: 10}, k) })
	}
	wg.Wait()
	if _, err := d.admit("x", store.Amount{}, k); err == nil {
		t.Fatal("a full key lets one in")
	}
	d.now = d.now.Add(3 * time.Minute)
	res := d.mustAdmit("y", store.Amount{USD: 1}, k)
	d.remaining(res.Figures, store.KindKey, store.LimitConcurrency, 99)
	d.remaining(res.Figures, store.KindKey, store.LimitUSDDay, 999)
}

// TestEditUnderLoad: an edit of a key in use binds the next admission of another instance.
func TestEditUnderLoad(t *testing.T) {
	u := newTable(t)
	d, e := newDesk(t, u, dynamodb.Options{}), newDesk(t, u, dynamodb.Options{})
	k := d.subject(store.KindKey, "1", core.Limits{RPM: 1000})
	d.mustAdmit("a", store.Amount{}, k)
	doc, err := e.s.Get(context.Background(), store.KindKey, "1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.s.Replace(context.Background(), doc); err != nil {
		t.Fatal(err)
	}
	if _, err := d.admit("b", store.Amount{}, k); !errors.Is(err, store.ErrStale) {
		t.Errorf("error %v, want ErrStale", err)
	}
	k.Version++
	d.remaining(d.mustAdmit("b", store.Amount{}, k).Figures, store.KindKey, store.LimitRPM, 998)
}
