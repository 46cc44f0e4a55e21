package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// day0 is the first day of keepingCases: start is in its middle.
var day0 = start.Truncate(24 * time.Hour)

const day = 24 * time.Hour

var keepingCases = []testcase{
	{"OpenStays", "Retain removes no record of an hour that is not closed", func(t *T) {
		t.put(t.record("a"))
		for range 2 {
			t.retain(t.Now.Add(100*day), store.Retention{Records: time.Hour, Hours: time.Hour, Days: time.Hour})
			if got := t.records(store.UsageFilter{}); len(got) != 1 {
				t.Errorf("%d records, want the one", len(got))
			}
		}
		if got := t.sums(store.UsageFilter{}, store.GroupNone)[0]; got.Requests != 1 {
			t.Errorf("sums %+v, want one request", got)
		}
	}},
	{"ForEver", "without a time nothing is removed", func(t *T) {
		all := t.week()
		t.ok(t.S.Rollup(t.Ctx, day0.Add(10*day)), "rollup")
		t.retain(day0.Add(9999*day), store.Retention{})
		if got := t.records(store.UsageFilter{}); len(got) != len(all) {
			t.Errorf("%d records, want %d", len(got), len(all))
		}
	}},
	{"Sums", "sums stay what they were when records, then hours go, for every query that does not look closer than what is kept", func(t *T) {
		all := t.week()
		now := day0.Add(10 * day)
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		t.kept("before", all, day0.Add(-day), day0.Add(-day))
		keep := store.Retention{Records: 6 * day, Hours: 8 * day, Days: 100 * day} // of seven days three have records, five hours
		t.retain(now, keep)
		t.kept("after", all, day0.Add(2*day), day0.Add(4*day))
		if n := t.retain(now, keep); n != 0 {
			t.Errorf("a second call removes %d", n)
		}
		for i, at := range []time.Time{day0.Add(time.Hour), day0.Add(3*day + time.Hour), day0.Add(5*day + time.Hour)} { // hours gone, records gone, all there
			r := t.record(fmt.Sprint("late", i))
			r.EndedAt, r.Key = at, "2"
			for range 2 {
				t.put(r)
				t.ok(t.S.Flush(t.Ctx), "flush")
			}
			all = append(all, r)
			t.kept(fmt.Sprint("with late record ", i), all, day0.Add(2*day), day0.Add(4*day))
		}
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		t.kept("with late records after a rollup", all, day0.Add(2*day), day0.Add(4*day))
		now = now.Add(day)
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		t.retain(now, keep)
		t.kept("a day later", all, day0.Add(3*day), day0.Add(5*day))
	}},
	{"Records", "records that are too old are not listed any more, the others are, in order", func(t *T) {
		t.week()
		now := day0.Add(10 * day)
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		t.retain(now, store.Retention{Records: 6*day - 2*time.Hour})
		got := t.records(store.UsageFilter{})
		for i, r := range got {
			if r.EndedAt.Before(day0.Add(4*day+2*time.Hour)) || i > 0 && got[i-1].EndedAt.Before(r.EndedAt) {
				t.Fatalf("record %d is of %v", i, r.EndedAt)
			}
		}
		if len(got) != 3*2*24-2*2 {
			t.Errorf("%d records, want those of three days less two hours", len(got))
		}
	}},
	{"Days", "daily sums go, too; what is later stays as it is", func(t *T) {
		all := t.week()
		now := day0.Add(10 * day)
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		keep := store.Retention{Records: 5 * day, Hours: 6 * day, Days: 7 * day}
		t.retain(now, keep)
		later := store.UsageFilter{From: day0.Add(3 * day)}
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupKey, store.GroupDay} {
			if diff, ok := same(t.sums(later, by), bruteForce(all, later, by)); !ok {
				t.Errorf("by %q:\n%s", by, diff)
			}
		}
		if t.Opt.PurgesItself {
			return // at a time that nobody knows
		}
		if diff, ok := same(t.sums(store.UsageFilter{}, store.GroupDay), bruteForce(all, later, store.GroupDay)); !ok {
			t.Errorf("of all time:\n%s", diff)
		}
	}},
	{"Delete", "DeleteUsage removes daily sums, too", func(t *T) {
		t.week()
		now := day0.Add(10 * day)
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		t.retain(now, store.Retention{Records: 5 * day, Hours: 6 * day})
		t.ok(t.S.DeleteUsage(t.Ctx, "acme"), "delete")
		if got := t.sums(store.UsageFilter{}, store.GroupAccount); len(got) != 1 || got[0].Group != "other" || got[0].Requests != 7*24 {
			t.Errorf("sums %+v, want those of the other account", got)
		}
	}},
	{"Today", "a record that comes for a closed hour of a day that is not over counts once in every sum, also where the hour's records are gone", func(t *T) {
		all := t.week()
		now := day0.Add(6*day + 20*time.Hour)
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		t.retain(now, store.Retention{Records: 10 * time.Hour})
		for i, at := range []time.Time{day0.Add(6*day + 3*time.Hour), day0.Add(6*day + 15*time.Hour)} { // records gone, all there
			r := t.record(fmt.Sprint("late", i))
			r.EndedAt, r.Key = at, "2"
			t.put(r)
			t.ok(t.S.Flush(t.Ctx), "flush")
			all = append(all, r)
			t.kept(fmt.Sprint("with late record ", i), all, day0.Add(-day), now.Add(-9*time.Hour).Truncate(time.Hour))
		}
		t.ok(t.S.Rollup(t.Ctx, now.Add(time.Hour)), "rollup")
		t.kept("an hour later", all, day0.Add(-day), now.Add(-9*time.Hour).Truncate(time.Hour))
		t.ok(t.S.Rollup(t.Ctx, now.Add(day)), "rollup")
		t.kept("a day later", all, day0.Add(-day), now.Add(-9*time.Hour).Truncate(time.Hour))
	}},
	{"AtOnce", "records that are settled while hours are closed and older ones removed are all in the sums", func(t *T) {
		const workers, each = 4, 24
		var all []core.Settlement
		for i := range workers * each {
			r := t.record(fmt.Sprint("r", i))
			r.EndedAt = day0.Add(time.Duration(i%each)*3*time.Hour + time.Minute)
			all = append(all, r)
		}
		errs := make([]error, workers+1)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for _, r := range all[w*each : (w+1)*each] {
					errs[w] = errors.Join(errs[w], t.S.Settle(t.Ctx, store.SettleRequest{ID: r.RequestID, Account: r.Account, Record: r}))
				}
			})
		}
		wg.Go(func() {
			for h := range 8 {
				now := day0.Add(time.Duration(h*10) * time.Hour)
				err := t.S.Rollup(t.Ctx, now)
				if err == nil {
					_, err = t.S.Retain(t.Ctx, now, store.Retention{Records: 5 * time.Hour, Hours: 10 * time.Hour})
				}
				errs[workers] = errors.Join(errs[workers], err)
			}
		})
		wg.Wait()
		t.ok(errors.Join(errs...), "settle, rollup and retain")
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupModel, store.GroupDay} {
			if diff, ok := same(t.sums(store.UsageFilter{}, by), bruteForce(all, store.UsageFilter{}, by)); !ok {
				t.Errorf("by %q:\n%s", by, diff)
			}
		}
	}},
}

// week stores two records an hour for seven days, of two accounts, keys, nodes and models, and returns them.
func (t *T) week() (all []core.Settlement) {
	t.Helper()
	for h := range 7 * 24 {
		for i := range 2 {
			r := t.record(fmt.Sprint("r", h, ".", i))
			r.EndedAt = day0.Add(time.Duration(h)*time.Hour + time.Duration(7+i*29)*time.Minute)
			r.StartedAt = r.EndedAt.Add(-time.Duration(100+h*h) * time.Millisecond)
			r.Account, r.Key, r.Node, r.Model, r.FirstByteMS = []string{"acme", "other"}[i], fmt.Sprint(h%2), fmt.Sprint(h%3), fmt.Sprint(h%4), int64(h)
			t.put(r)
			all = append(all, r)
		}
	}
	return all
}

// retain calls Retain until there is nothing left to remove.
func (t *T) retain(now time.Time, keep store.Retention) (removed int) {
	t.Helper()
	for range 1000 {
		n, err := t.S.Retain(t.Ctx, now, keep)
		t.ok(err, "retain")
		if removed += n; n == 0 {
			return removed
		}
	}
	t.Fatal("Retain never ends")
	return 0
}

// kept compares sums with those of all records: hours are kept from one time on, records from another.
func (t *T) kept(when string, all []core.Settlement, hours, records time.Time) {
	t.Helper()
	check := func(f store.UsageFilter, groupings ...store.GroupBy) {
		t.Helper()
		for _, by := range groupings {
			if diff, ok := same(t.sums(f, by), bruteForce(all, f, by)); !ok {
				t.Errorf("%s, %+v by %q:\n%s", when, f, by, diff)
			}
		}
	}
	whole := []store.GroupBy{store.GroupNone, store.GroupAccount, store.GroupKey, store.GroupNode, store.GroupModel, store.GroupDay, store.GroupMonth}
	check(store.UsageFilter{}, whole...)
	check(store.UsageFilter{Account: "acme", Key: "1"}, whole...)
	check(store.UsageFilter{From: day0.Add(day), To: day0.Add(6 * day), Node: "1"}, whole...)
	later := store.UsageFilter{From: hours.Add(5 * time.Hour), To: day0.Add(6*day + 7*time.Hour), Model: "2"}
	check(later, append(whole, store.GroupHour)...)
	later.Zone = time.FixedZone("east", 5*3600)
	check(later, store.GroupDay, store.GroupMonth)
	check(store.UsageFilter{From: records.Add(90 * time.Minute), To: records.Add(40*time.Hour + 10*time.Minute)}, append(whole, store.GroupHour)...)
	fine := store.UsageFilter{From: records.Add(90 * time.Minute), To: records.Add(50 * time.Hour), Failed: true}
	check(fine, store.GroupSession)
	// Closer than what is kept an hour or a day counts where it begins, so that parts add up to the whole.
	sum := core.UsageSum{}
	for _, f := range []store.UsageFilter{{To: day0.Add(31*time.Hour + 5*time.Minute)}, {From: day0.Add(31*time.Hour + 5*time.Minute), To: day0.Add(3*day + 12*time.Hour + 9*time.Minute)}, {From: day0.Add(3*day + 12*time.Hour + 9*time.Minute)}} {
		sum = addSums(sum, t.sums(f, store.GroupNone)[0])
	}
	if diff, ok := same([]core.UsageSum{sum}, bruteForce(all, store.UsageFilter{}, store.GroupNone)); !ok {
		t.Errorf("%s, in parts:\n%s", when, diff)
	}
}
