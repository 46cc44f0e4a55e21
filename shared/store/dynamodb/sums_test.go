package dynamodb_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/internal/usage"
)

// books are a table's records of two accounts and what they add up to.
type books struct {
	*desk
	mu    sync.Mutex
	want  core.UsageSum
	clock time.Time // d.now, until usage is removed
}

func newBooks(t *testing.T) *books {
	u := newTable(t)
	d := newDesk(t, u, dynamodb.Options{})
	b := &books{desk: d, clock: d.now}
	d.s = open(t, u, dynamodb.Options{HTTPClient: d.wire, Now: func() time.Time { return b.clock }})
	return b
}

func (b *books) put(account, id, model string, at time.Time, usd int64) {
	b.Helper()
	r := core.Settlement{RequestID: id, Account: account, Key: "1", Node: "2", Model: model, Status: 404, StartedAt: at, EndedAt: at, CostUSD: usd}
	if err := b.s.Settle(b.Context(), store.SettleRequest{ID: id, Account: account, Record: r}); err != nil {
		b.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.want.Requests++
	b.want.CostUSD += usd
}

// check returns the sums by model.
func (b *books) check(when string) (models []core.UsageSum) {
	b.Helper()
	for _, by := range []store.GroupBy{store.GroupNone, store.GroupKey, store.GroupDay, store.GroupModel} {
		sums, err := b.s.Sums(b.Context(), store.UsageFilter{}, by)
		var got core.UsageSum
		for _, one := range sums {
			got.Requests, got.CostUSD = got.Requests+one.Requests, got.CostUSD+one.CostUSD
		}
		if models = sums; err != nil || got.Requests != b.want.Requests || got.CostUSD != b.want.CostUSD {
			b.Errorf("%s, by %q: %d requests for %d, %v, want %d for %d", when, by, got.Requests, got.CostUSD, err, b.want.Requests, b.want.CostUSD)
		}
	}
	return models
}

func (b *books) rollup(after time.Duration) {
	b.Helper()
	if err := b.s.Rollup(b.Context(), b.now.Add(after)); err != nil {
		b.Fatal(err)
	}
}

// nothingWaits checks that a rollup has nothing to do.
func (b *books) nothingWaits(when string) {
	b.Helper()
	if ops := b.wire.during(func() { b.rollup(48 * time.Hour) }); len(ops) != 2 {
		b.Errorf("%s: a rollup makes the calls %v, want the two that ask what is pending", when, ops)
	}
}

// retain keeps records for a day and hours for two, nine days later.
func (b *books) retain() (removed int) {
	b.Helper()
	b.clock = b.now.Add(9 * 24 * time.Hour)
	n, err := b.s.Retain(b.Context(), b.clock, store.Retention{Records: 24 * time.Hour, Hours: 48 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// recordsLeft checks how many records there are.
func (b *books) recordsLeft(when string, want int) {
	b.Helper()
	rs, _, err := b.s.Records(b.Context(), store.UsageFilter{}, "", 1000)
	if err != nil || len(rs) != want {
		b.Errorf("%s: %d records, %v, want %d", when, len(rs), err, want)
	}
}

// noise is the name of a model that does not compress; 200 of them are more than an item takes.
func noise() string {
	name := make([]byte, 2500)
	_, _ = rand.Read(name)
	for i := range name {
		name[i] = 'A' + name[i]%58
	}
	return string(name)
}

func group(sums []core.UsageSum, name string) core.UsageSum {
	i := slices.IndexFunc(sums, func(s core.UsageSum) bool { return s.Group == name })
	if i < 0 {
		return core.UsageSum{}
	}
	return sums[i]
}

// TestManyModels: somebody asks for more models in an hour than an item takes. The hour is summed up all the same, so that
// it holds up nothing; one that an older program left without sums is mended by rollups, or by retention.
func TestManyModels(t *testing.T) {
	b := newBooks(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 25 {
				b.put("acme", fmt.Sprint("noise", i, ".", j), noise(), b.now, 0)
			}
		})
	}
	wg.Wait()
	for i := range 5 {
		b.put("acme", fmt.Sprint("dear", i), "dear", b.now, 1000)
		b.put("zoo", fmt.Sprint("zoo", i), "dear", b.now, 1000)
	}
	models := func(when string) {
		t.Helper()
		all := b.check(when)
		if dear, rest := group(all, "dear"), group(all, "(other)"); dear.Requests != 10 || rest.Requests < 10 || len(all) < 50 {
			t.Errorf("%s: %d models, %d requests of the dear one and %d of others", when, len(all), dear.Requests, rest.Requests)
		}
	}
	forget := func() {
		t.Helper()
		if err := b.s.ForgetSums(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	b.rollup(48 * time.Hour)
	b.nothingWaits("closed")
	models("closed")
	forget()
	b.rollup(48 * time.Hour)
	b.rollup(48 * time.Hour)
	b.nothingWaits("mended")
	models("mended")
	forget()
	b.retain()
	b.recordsLeft("after retention", 0)
	models("after retention")
	b.rollup(48 * time.Hour)
	b.retain()
	models("after retention of hours")
	b.put("acme", "late", noise(), b.now, 3)
	b.put("acme", "later", noise(), b.now, 3)
	models("with late records")
	if err := b.s.PutPending(t.Context(), "acme", usage.HourOf(b.now.UnixMicro())); err != nil { // as a reading may
		t.Fatal(err)
	}
	b.rollup(48 * time.Hour)
	b.rollup(48 * time.Hour)
	b.nothingWaits("an hour whose records are gone is put up")
}

// TestHourWithoutRecords: the index knew an hour, and then the record failed. It holds up nothing.
func TestHourWithoutRecords(t *testing.T) {
	for _, heal := range []bool{false, true} {
		b := newBooks(t)
		b.put("zoo", "zoo", "m", b.now, 1000)
		b.wire.disturb = func(op string, _ int) (before, after error) {
			if op == "PutItem" {
				before = errLost
			}
			return before, nil
		}
		if err := b.settle("lost", store.Amount{}); err == nil {
			t.Fatal("the record was stored")
		}
		b.wire.disturb = nil
		b.rollup(48 * time.Hour)
		if heal { // an older program has left it
			if err := b.s.ForgetSums(t.Context(), "acme"); err != nil {
				t.Fatal(err)
			}
			b.rollup(48 * time.Hour)
			b.rollup(48 * time.Hour)
		}
		b.nothingWaits("closed")
		b.check("closed")
		b.retain()
		b.recordsLeft("after retention", 0)
		b.check("after retention")
		b.put("acme", "late", "m", b.now, 5)
		b.check("with its record")
	}
}

// TestManyModelsOfADay: each hour has sums that fit an item, their day has not. It is added up from its hours while these
// are kept, and summed up before they go.
func TestManyModelsOfADay(t *testing.T) {
	for _, c := range []struct {
		why   string
		hours int64
		each  int // models
		name  func(i int) string
	}{
		{"too large for an item", 4, 70, func(int) string { return noise() }},
		{"too many to be kept apart", 6, 2000, func(i int) string { return fmt.Sprint("m", i) }},
	} {
		b := newBooks(t)
		day := usage.DayOf(usage.HourOf(b.now.UnixMicro()))
		for h := range c.hours {
			all := make(usage.Tallies)
			for i := range c.each + 1 {
				r := core.Settlement{Key: "1", Node: "2", Model: "dear", CostUSD: 1000}
				if i > 0 {
					r.Model, r.CostUSD = c.name(int(h)*c.each+i), 0
				}
				b.want.Requests++
				b.want.CostUSD += r.CostUSD
				all.Of(usage.Dims{Key: r.Key, Node: r.Node, Model: r.Model}).Record(&r)
			}
			if err := b.s.PutHour(t.Context(), "acme", day*24+h, all); err != nil {
				t.Fatal(err)
			}
		}
		b.rollup(48 * time.Hour)
		b.nothingWaits(c.why)
		if models := b.check(c.why); len(models) != int(c.hours)*c.each+1 {
			t.Errorf("%s: %d models, want all that the hours have", c.why, len(models))
		}
		if n := b.retain(); n != int(c.hours) {
			t.Errorf("%s: %d items are removed, want the hours", c.why, n)
		}
		models := b.check(c.why + ", after retention")
		if dear, rest := group(models, "dear"), group(models, "(other)"); dear.Requests != c.hours || dear.CostUSD != c.hours*1000 || rest.Requests == 0 {
			t.Errorf("%s: %d requests of the dear model, %d of others", c.why, dear.Requests, rest.Requests)
		}
	}
}

// TestSumsGrow: coarse sums that fitted beside the fine ones go when these grow, so that the item stays one.
func TestSumsGrow(t *testing.T) {
	b := newBooks(t)
	all := make(usage.Tallies)
	for _, n := range []int{60, 40, 60} {
		for range n {
			b.want.Requests++
			all.Of(usage.Dims{Key: "1", Node: "2", Model: noise()}).Record(&core.Settlement{})
		}
		if err := b.s.PutHour(t.Context(), "acme", usage.HourOf(b.now.UnixMicro()), all); err != nil {
			t.Fatalf("with %d models: %v", len(all), err)
		}
		b.check(fmt.Sprint(len(all), " models"))
	}
}
