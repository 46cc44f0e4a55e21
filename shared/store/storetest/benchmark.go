package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// step is how far the clock moves with each request: limits are there, but never reached.
const step = 10 * time.Microsecond

// Benchmark measures the hot path, Admit and Settle together, and refusals.
func Benchmark(b *testing.B, open Opener) {
	wide := core.Limits{RPM: 60_000_000, RPD: 1 << 40, Concurrency: 1000}
	for _, c := range []struct {
		name         string
		key, account core.Limits
	}{
		{"unlimited", core.Limits{}, core.Limits{}},
		{"key", wide, core.Limits{}},
		{"key+account", wide, wide},
	} {
		b.Run(c.name, func(b *testing.B) {
			t := newBench(b, open)
			k, a := t.key("1", c.key), t.account("acme", c.account)
			ids := names()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				t.Now = t.Now.Add(step)
				t.roundTrip(ids[i%len(ids)], []store.Subject{k, a})
			}
		})
		b.Run(c.name+"-parallel", func(b *testing.B) {
			t := newBench(b, open)
			k, a := t.key("1", c.key), t.account("acme", c.account)
			var clock atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				ids, own := names(), *t
				for i := 0; pb.Next(); i++ {
					own.Now = start.Add(time.Duration(clock.Add(1)) * step) // one clock for all
					own.roundTrip(ids[i%len(ids)], []store.Subject{k, a})
				}
			})
		})
	}
	b.Run("refused", func(b *testing.B) {
		t := newBench(b, open)
		k := t.key("1", core.Limits{RPD: 1})
		t.admit("x", k)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			var r *store.Refusal
			if _, err := t.S.Admit(t.Ctx, t.request("y", k)); !errors.As(err, &r) {
				b.Fatal(err)
			}
		}
	})
}

func newBench(b *testing.B, open Opener) *T {
	s := open(b)
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return &T{TB: b, S: s, Ctx: b.Context(), Now: start}
}

func names() []string {
	ids := make([]string, 4096)
	for i := range ids {
		ids[i] = fmt.Sprintf("req_%p_%d", &ids, i)
	}
	return ids
}

func (t *T) roundTrip(id string, subjects []store.Subject) {
	r := store.AdmitRequest{Now: t.Now, ID: id, Account: "acme", Subjects: subjects, LeaseEnd: t.Now.Add(3 * time.Minute), Zone: time.UTC}
	if _, err := t.S.Admit(t.Ctx, r); err != nil {
		t.Fatal(err)
	}
	err := t.S.Settle(t.Ctx, store.SettleRequest{ID: id, Account: "acme", Subjects: subjects, Record: t.record(id)})
	if err != nil && !errors.Is(err, store.ErrFull) { // a loop is faster than a disk
		t.Fatal(err)
	}
}
