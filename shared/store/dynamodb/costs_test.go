package dynamodb_test

import (
	"fmt"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
)

// Hours that were closed by a program that knows no costs: their costs are the records', at once by reading those, which
// puts the hours up for the next Rollup, and then as those of other hours.
func TestCostsOfOlderHours(t *testing.T) {
	d := newDesk(t, newTable(t), dynamodb.Options{})
	var want core.UsageSum
	put := func(id string, at time.Time, usd int64) {
		t.Helper()
		r := core.Settlement{RequestID: id, Account: "acme", Key: "1", Node: "2", Model: "m", Status: 200, StartedAt: at, EndedAt: at, CostUSD: usd, Unpriced: usd == 0}
		if err := d.s.Settle(t.Context(), store.SettleRequest{ID: id, Account: "acme", Record: r}); err != nil {
			t.Fatal(err)
		}
		want.Requests++
		if want.CostUSD += usd; usd == 0 {
			want.Unpriced++
		}
	}
	check := func(when string) {
		t.Helper()
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupKey, store.GroupHour} {
			sums, err := d.s.Sums(t.Context(), store.UsageFilter{}, by)
			var got core.UsageSum
			for _, one := range sums {
				got.Requests, got.CostUSD, got.Unpriced = got.Requests+one.Requests, got.CostUSD+one.CostUSD, got.Unpriced+one.Unpriced
			}
			if err != nil || got != want {
				t.Errorf("%s, by %q: %+v, %v, want %+v", when, by, got, err, want)
			}
		}
	}
	rollup := func() {
		t.Helper()
		if err := d.s.Rollup(t.Context(), d.now.Add(5*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	forget := func(want int) {
		t.Helper()
		if n, err := d.s.ForgetCosts(t.Context(), "acme"); err != nil || n != want {
			t.Errorf("%d sums had costs, %v, want %d", n, err, want)
		}
	}
	for i := range 9 {
		put(fmt.Sprint("r", i), d.now.Add(-time.Duration(i/3)*time.Hour), int64(i%3)*1000)
	}
	rollup()
	check("closed")
	forget(3)
	check("closed by an older program")
	rollup()
	forget(3) // Rollup had written all of them again
	put("late", d.now.Add(-time.Hour), 7)
	check("with a late record")
	rollup()
	check("after a rollup")
	if ops := d.wire.during(func() { check("from sums alone") }); len(ops) > 12 {
		t.Errorf("three readings of sums are %d calls, want 4 each: %v", len(ops), ops)
	}
}
