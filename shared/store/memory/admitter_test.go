package memory_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

var now = time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)

func request(id string, subjects ...store.Subject) *store.AdmitRequest {
	return &store.AdmitRequest{Now: now, ID: id, Account: "acme", Subjects: subjects, LeaseEnd: now.Add(time.Minute)}
}

// The contract's names of limits are those of package limit: the Admitter converts one to the other.
func TestLimitNames(t *testing.T) {
	for a, b := range map[limit.Name]store.LimitName{limit.RPM: store.LimitRPM, limit.RPD: store.LimitRPD, limit.TPM: store.LimitTPM, limit.USDDay: store.LimitUSDDay, limit.USDMonth: store.LimitUSDMonth, limit.Concurrency: store.LimitConcurrency} {
		if string(a) != string(b) {
			t.Errorf("%q and %q", a, b)
		}
	}
}

func TestUnlimitedAllocatesNothing(t *testing.T) {
	a := memory.NewAdmitter(func() { t.Error("a counter changed") })
	a.Put(store.KindKey, "1", 3)
	a.Put(store.KindAccount, "acme", 2)
	a.SetGeneration("acme", 5)
	r := request("id", store.Subject{Kind: store.KindKey, ID: "1", Version: 3}, store.Subject{Kind: store.KindAccount, ID: "acme", Version: 2})
	n := testing.AllocsPerRun(100, func() {
		if res, err := a.Admit(r); err != nil || res.Generation != 5 {
			t.Error(res, err)
		}
		a.Settle(&store.SettleRequest{ID: r.ID, Now: now, Subjects: r.Subjects}, func() bool { return false })
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if live := a.Live(store.KindKey, "1", now); live != 0 {
		t.Errorf("%d leases without a limit", live)
	}
}

// A state that was busy once does not stay large.
func TestLeasesLeaveNothing(t *testing.T) {
	a := memory.NewAdmitter(nil)
	a.Put(store.KindKey, "1", 1)
	s := store.Subject{Kind: store.KindKey, ID: "1", Version: 1, Limits: core.Limits{Concurrency: 1000}}
	for i := range 1000 {
		if _, err := a.Admit(request(fmt.Sprint(i), s)); err != nil {
			t.Fatal(err)
		}
	}
	if live := a.Live(store.KindKey, "1", now); live != 1000 {
		t.Errorf("%d leases, want 1000", live)
	}
	if live := a.Live(store.KindKey, "1", now.Add(time.Minute)); live != 0 {
		t.Errorf("%d leases after their end", live)
	}
}

func TestUnsaved(t *testing.T) {
	calls := 0
	a := memory.NewAdmitter(func() { calls++ })
	a.Put(store.KindKey, "1", 1)
	a.Put(store.KindKey, "2", 1)
	a.Put(store.KindAccount, "acme", 1)
	k1 := store.Subject{Kind: store.KindKey, ID: "1", Version: 1, Limits: core.Limits{RPD: 5, RPM: 5}}
	k2 := store.Subject{Kind: store.KindKey, ID: "2", Version: 1, Limits: core.Limits{Concurrency: 5}}
	acme := store.Subject{Kind: store.KindAccount, ID: "acme", Version: 1}
	for i := range 2 {
		for _, k := range []store.Subject{k1, k2} {
			if _, err := a.Admit(request(fmt.Sprint(i, k.ID), k, acme)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if calls != 1 || !a.HasUnsaved() {
		t.Errorf("told %d times, want once", calls)
	}
	got := a.Unsaved()
	if len(got) != 1 || got[0].ID != "1" || got[0].Count != 2 || got[0].Full != now.Add(24*time.Second).UnixMicro() {
		t.Errorf("unsaved %+v", got)
	}
	if a.HasUnsaved() || len(a.Unsaved()) != 0 {
		t.Error("they stay unsaved")
	}
	a.Retry(got)
	if again := a.Unsaved(); !slices.Equal(again, got) {
		t.Errorf("after a failure %+v, want %+v", again, got)
	}
	b := memory.NewAdmitter(nil)
	b.Put(store.KindKey, "1", 1)
	b.Restore(got[0])
	b.Restore(memory.Counter{Kind: store.KindKey, ID: "gone", Counters: limit.Counters{Count: 9}})
	res, err := b.Admit(request("x", k1))
	if err != nil || res.Figures[0].Remaining != 2 || res.Figures[1].Remaining != 2 {
		t.Errorf("after a restart: %+v, %v", res, err)
	}
	a.Retry(got)
	a.Remove(store.KindKey, "1")
	if left := a.Unsaved(); len(left) != 0 {
		t.Errorf("of a deleted document: %+v", left)
	}
}

// The order of subjects in a request is up to the caller and must not matter to the locks.
func TestNoDeadlock(t *testing.T) {
	a := memory.NewAdmitter(nil)
	subjects := make([]store.Subject, 4)
	for i := range subjects {
		subjects[i] = store.Subject{Kind: []string{store.KindKey, store.KindAccount}[i%2], ID: fmt.Sprint(i), Version: 1, Limits: core.Limits{RPD: 100_000}}
		a.Put(subjects[i].Kind, subjects[i].ID, 1)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			mine := slices.Clone(subjects)
			if w%2 == 0 {
				slices.Reverse(mine)
			}
			for i := range 500 {
				if _, err := a.Admit(request(fmt.Sprint(w, "-", i), mine...)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMisuse(t *testing.T) {
	a := memory.NewAdmitter(nil)
	a.Put(store.KindKey, "1", 1)
	s := store.Subject{Kind: store.KindKey, ID: "1", Version: 1, Limits: core.Limits{Concurrency: 9}}
	for what, r := range map[string]*store.AdmitRequest{
		"a lease without an id":   request("", s),
		"a subject twice":         request("x", s, s),
		"more subjects than ever": request("x", s, s, s, s, s),
	} {
		if _, err := a.Admit(r); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if _, err := a.Admit(request("x", s)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The log of a store in memory is bounded; the oldest records go.
func TestBounded(t *testing.T) {
	s := memory.New()
	const n = 200_001
	for i := range n {
		r := core.Settlement{RequestID: fmt.Sprint(i), Account: "acme", EndedAt: now.Add(time.Duration(i) * time.Millisecond)}
		if err := s.Settle(context.Background(), store.SettleRequest{ID: r.RequestID, Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	sums, err := s.Sums(t.Context(), store.UsageFilter{}, store.GroupNone)
	if err != nil || sums[0].Requests != 180_001 {
		t.Errorf("%+v, %v, want 180001 requests", sums, err)
	}
	recs, _, err := s.Records(t.Context(), store.UsageFilter{}, "", 1)
	if err != nil || len(recs) != 1 || recs[0].RequestID != fmt.Sprint(n-1) {
		t.Errorf("%+v, %v", recs, err)
	}
}
