package storetest

import (
	"errors"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// batchCases are what settles a batch once, over any backend: see store.Tables.BatchFetched.
var batchCases = []testcase{
	{"Once", "what a batch used is settled once, however often its results are fetched and whatever ended in between", batchOnce},
	{"AtOnce", "of many who fetch a batch's results at once all store the same record and one is told that it was the first", batchAtOnce},
	{"Mapping", "a batch keeps its node, lives at least as long as the fetch asks, and is nobody else's", batchMapping},
}

// farOff is an expiry that no store's own clock has passed: some remove by that what expired, see Options.PurgesItself.
var farOff = start.AddDate(80, 0, 0)

// fetch is one fetch of a batch's results to its end, at t.Now. It breaks off before the step that is named; empty: nowhere.
func (t *T) fetch(tables *store.Tables, account, end string) (first bool) {
	t.Helper()
	b, err := tables.BatchFetched(t.Ctx, store.Resource{ID: account + "/b1", Account: account, Node: "2", FetchedAt: t.Now, Expires: farOff})
	t.ok(err, "fetched")
	if b.Settled || end == "record" {
		return false
	}
	r := t.record("batch_" + account)
	r.Account, r.StartedAt, r.EndedAt = account, b.FetchedAt, b.FetchedAt
	t.put(r)
	if end == "mark" {
		return false
	}
	first, err = tables.BatchSettled(t.Ctx, b.ID)
	t.ok(err, "settled")
	return first
}

func batchOnce(t *T) {
	for i, c := range []struct {
		why    string
		ends   []string // where each fetch ends; two days pass between them
		forget bool     // usage older than a day is removed before each
		first  int      // the fetch that is told so; -1: none
	}{
		{"twice in a row", []string{"", ""}, false, 0},
		{"its record was removed", []string{"", "", ""}, true, 0},
		{"the process died before the record", []string{"record", "", ""}, false, 1},
		{"it died so, and usage is removed", []string{"record", "", ""}, true, 1},
		{"it died between record and mark", []string{"mark", "", ""}, false, 1},
		{"again and again", []string{"record", "mark", "mark", "", ""}, false, 3},
		{"the mark never comes", []string{"mark", "mark"}, false, -1},
	} {
		account := string(rune('a' + i))
		tables := store.NewTables(t.S, func() time.Time { return t.Now })
		begin := t.Now
		for n, end := range c.ends {
			if first := t.fetch(tables, account, end); first != (n == c.first) {
				t.Errorf("%s: fetch %d is told %v", c.why, n, first)
			}
			t.Now = t.Now.Add(2 * day)
			t.ok(t.S.Rollup(t.Ctx, t.Now), "rollup")
			if c.forget {
				t.retain(t.Now, store.Retention{Records: day, Hours: 100 * day, Days: 100 * day})
			}
		}
		got := t.sums(store.UsageFilter{Account: account}, store.GroupNone)[0]
		if got.Requests != 1 || got.CostUSD != 105 {
			t.Errorf("%s: %d requests of %d micro-USD, want one of 105", c.why, got.Requests, got.CostUSD)
		}
		if got := t.records(store.UsageFilter{Account: account}); !c.forget && (len(got) != 1 || !got[0].EndedAt.Equal(begin)) {
			t.Errorf("%s: records %+v, want one of %v", c.why, got, begin)
		}
	}
}

func batchAtOnce(t *T) {
	const workers = 8
	tables := store.NewTables(t.S, func() time.Time { return t.Now })
	firsts, errs := make([]bool, workers), make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			b, err := tables.BatchFetched(t.Ctx, store.Resource{ID: "acme/b1", Account: "acme", FetchedAt: t.Now.Add(time.Duration(w) * time.Second), Expires: farOff})
			r := t.record("batch_b1")
			r.EndedAt = b.FetchedAt
			errs[w] = errors.Join(err, t.S.Settle(t.Ctx, store.SettleRequest{ID: r.RequestID, Account: r.Account, Record: r}))
			firsts[w], err = tables.BatchSettled(t.Ctx, b.ID)
			errs[w] = errors.Join(errs[w], err)
		})
	}
	wg.Wait()
	t.ok(errors.Join(errs...), "fetch")
	n := 0
	for _, first := range firsts {
		if first {
			n++
		}
	}
	if got := t.records(store.UsageFilter{}); n != 1 || len(got) != 1 {
		t.Errorf("%d are told that they were the first, and there are %d records", n, len(got))
	}
}

func batchMapping(t *T) {
	tables := store.NewTables(t.S, func() time.Time { return t.Now })
	end := farOff
	_, err := tables.Resources.Create(t.Ctx, store.Resource{ID: "acme/b1", Account: "acme", Node: "7", Expires: end})
	t.ok(err, "create")
	for _, c := range []struct {
		why, id, node string
		expires, want time.Time
	}{
		{"a known one keeps its node and lives longer", "acme/b1", "7", end.Add(day), end.Add(day)},
		{"of what is noted already nothing changes", "acme/b1", "7", end.Add(2 * day), end.Add(day)},
		{"another account's of the same id is another", "other/b1", "2", end, end},
	} {
		got, err := tables.BatchFetched(t.Ctx, store.Resource{ID: c.id, Account: c.id[:len(c.id)-3], Node: "2", FetchedAt: t.Now, Expires: c.expires})
		t.ok(err, "%s", c.why)
		if got.Node != c.node || !got.Expires.Equal(c.want) || got.Settled || !got.FetchedAt.Equal(t.Now) {
			t.Errorf("%s: %+v", c.why, got)
		}
		row, err := tables.Resources.Get(t.Ctx, c.id)
		t.ok(err, "get")
		if diff, ok := same(row.Value, got); !ok {
			t.Errorf("%s: what is stored:\n%s", c.why, diff)
		}
	}
	if first, err := tables.BatchSettled(t.Ctx, "acme/b1"); err != nil || !first {
		t.Errorf("settled: %v, %v", first, err)
	}
	if got, err := tables.Resources.Get(t.Ctx, "other/b1"); err != nil || got.Value.Settled {
		t.Errorf("the other account's is %+v, %v", got, err)
	}
	_, err = tables.BatchSettled(t.Ctx, "acme/none")
	t.is(err, store.ErrNotFound, "settled before it was fetched")
	t.Now = end.Add(2 * day)
	got, err := tables.BatchFetched(t.Ctx, store.Resource{ID: "acme/b1", Account: "acme", Node: "3", FetchedAt: t.Now, Expires: t.Now.Add(day)})
	if err != nil || got.Settled || got.Node != "3" {
		t.Errorf("one that expired makes way: %+v, %v", got, err)
	}
}

// recordAgain settles a record again with all but its id and end changed.
func recordAgain(t *T) {
	r := t.record("a")
	t.put(r)
	for _, closed := range []bool{false, true} {
		if closed {
			t.ok(t.S.Flush(t.Ctx), "flush")
			t.ok(t.S.Rollup(t.Ctx, t.Now.Add(5*time.Hour)), "rollup")
		}
		for _, c := range []struct {
			why  string
			edit func(*core.Settlement)
		}{
			{"the same", func(*core.Settlement) {}},
			{"it began later", func(r *core.Settlement) { r.StartedAt = r.StartedAt.Add(time.Second) }},
			{"it cost and took more", func(r *core.Settlement) { r.CostUSD, r.Tokens.Input = 999, 999 }},
			{"of another key, node and model", func(r *core.Settlement) { r.Key, r.Node, r.Model = "7", "8", "other" }},
			{"less than a microsecond later", func(r *core.Settlement) { r.EndedAt = r.EndedAt.Add(999) }},
		} {
			other := r
			c.edit(&other)
			t.put(other)
			if got := t.sums(store.UsageFilter{}, store.GroupNone)[0]; got.Requests != 1 || got.CostUSD != r.CostUSD || got.Tokens.Input != r.Tokens.Input {
				t.Errorf("%s (hour closed: %v): sums %+v, want the first record's", c.why, closed, got)
			}
			if got := t.records(store.UsageFilter{}); len(got) != 1 || got[0].Key != r.Key || !got[0].StartedAt.Equal(r.StartedAt) {
				t.Errorf("%s (hour closed: %v): records %+v, want the first", c.why, closed, got)
			}
		}
	}
}
