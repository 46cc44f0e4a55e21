package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

var usageCases = []testcase{
	{"Record", "a record comes back as it was settled, its times accurate to the microsecond", func(t *T) {
		r := core.Settlement{
			RequestID: "req_1", UpstreamID: "up_1", Account: "acme", Key: "7", Node: "3", NodeName: "main ü", Endpoint: "/v1/messages",
			Dialect: core.DialectAnthropic, Model: "m", ServedModel: "m-2", Session: "s", Agent: "a", ParentAgent: "p", ClientAddr: "::1",
			Stream: true, Status: 499, ErrorCode: "timeout", Attempts: 3, Tokens: core.Tokens{Input: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5},
			Estimated: true, CostUSD: 12_345_678, Unpriced: true, Bytes: 1 << 40, StartedAt: t.Now.Add(-2345678 * time.Microsecond), EndedAt: t.Now.Add(time.Microsecond).In(time.FixedZone("x", 3600)),
			FirstByteMS: 12, StreamMillis: 34, Fast: true, Geo: "us", Searches: 2,
			Tries: []core.Try{{Node: "1", Name: `first "q":9, "z":true`, Status: 529, Reason: "overloaded", TookMS: 5}, {Node: "3", StartMS: 6, TookMS: 2300}},
		}
		t.put(r)
		want := r
		want.EndedAt = r.EndedAt.UTC()
		if diff, ok := same(t.records(store.UsageFilter{}), []core.Settlement{want}); !ok {
			t.Error(diff)
		}
	}},
	{"Order", "records come newest first, by end and then by request id, in pages; a page's cursor leads to the next", func(t *T) {
		var want []string
		for i := range 25 {
			r := t.record(fmt.Sprintf("r%02d", (i*7)%25))
			r.EndedAt = t.Now.Add(time.Duration(((i*7)%25)/5) * time.Second) // five share each end
			t.put(r)
			want = append(want, r.RequestID)
		}
		slices.Sort(want)
		slices.Reverse(want)
		for _, page := range []int{1, 4, 5, 25, 100} {
			var got []string
			cursor := ""
			for range 100 {
				recs, next, err := t.S.Records(t.Ctx, store.UsageFilter{Account: "acme"}, cursor, page)
				t.ok(err, "records")
				if len(recs) > page {
					t.Errorf("%d records in a page of %d", len(recs), page)
				}
				for _, r := range recs {
					got = append(got, r.RequestID)
				}
				if cursor = next; cursor == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("in pages of %d: %q, want %q", page, got, want)
			}
		}
	}},
	{"Cursor", "a cursor that is not one of ours is an error; a good one survives new records", func(t *T) {
		for i := range 4 {
			r := t.record(fmt.Sprint("r", i))
			r.EndedAt = t.Now.Add(time.Duration(i) * time.Second)
			t.put(r)
		}
		_, cursor, err := t.S.Records(t.Ctx, store.UsageFilter{}, "", 2)
		t.ok(err, "records")
		for _, bad := range []string{"x", "2", "r1", cursor + "A", cursor[1:]} {
			if _, _, err := t.S.Records(t.Ctx, store.UsageFilter{}, bad, 2); err == nil {
				t.Errorf("cursor %q is taken", bad)
			}
		}
		late := t.record("new")
		late.EndedAt = t.Now.Add(time.Minute)
		t.put(late)
		recs, _, err := t.S.Records(t.Ctx, store.UsageFilter{}, cursor, 10)
		t.ok(err, "records")
		if len(recs) != 2 || recs[0].RequestID != "r1" || recs[1].RequestID != "r0" {
			t.Errorf("the second page: %+v", recs)
		}
	}},
	{"Filters", "each field of a filter selects; From is inclusive, To exclusive", func(t *T) {
		for i := range 3 {
			r := t.record(fmt.Sprint("r", i))
			r.EndedAt = t.Now.Add(time.Duration(i) * time.Second)
			t.put(r)
		}
		odd := t.record("odd")
		odd.Account, odd.Key, odd.Node, odd.Model, odd.Session, odd.Agent, odd.Status = "other", "9", "8", "b", "s", `"a"`, 500
		odd.EndedAt = t.Now.Add(time.Hour)
		t.put(odd)
		for _, c := range []struct {
			f    store.UsageFilter
			want int
		}{
			{store.UsageFilter{}, 4}, {store.UsageFilter{Account: "other"}, 1}, {store.UsageFilter{Key: "9"}, 1}, {store.UsageFilter{Node: "8"}, 1},
			{store.UsageFilter{Model: "b"}, 1}, {store.UsageFilter{Session: "s"}, 1}, {store.UsageFilter{Account: "acme", Session: "s"}, 0},
			{store.UsageFilter{Agent: `"a"`}, 1}, {store.UsageFilter{Account: "acme", Agent: `"a"`}, 0}, {store.UsageFilter{Failed: true}, 1}, {store.UsageFilter{Key: "1", Failed: true}, 0},
			{store.UsageFilter{Account: "other", Key: "9", Node: "8", Model: "b", Session: "s", Agent: `"a"`, Failed: true}, 1},
			{store.UsageFilter{From: t.Now.Add(time.Second)}, 3}, {store.UsageFilter{To: t.Now.Add(time.Second)}, 1},
			{store.UsageFilter{From: t.Now, To: t.Now.Add(2 * time.Second)}, 2}, {store.UsageFilter{From: t.Now, To: t.Now}, 0},
			{store.UsageFilter{From: t.Now.Add(time.Hour), To: t.Now}, 0}, {store.UsageFilter{Account: "nobody"}, 0},
		} {
			if got := len(t.records(c.f)); got != c.want {
				t.Errorf("%+v: %d records, want %d", c.f, got, c.want)
			}
			if c.f.Session != "" || c.f.Agent != "" || c.f.Failed {
				_, err := t.S.Sums(t.Ctx, c.f, store.GroupNone)
				t.is(err, store.ErrWindow, "sums of the records of all time")
				c.f.From, c.f.To = t.Now.Add(-time.Hour), t.Now.Add(2*time.Hour)
			}
			if got := t.sums(c.f, store.GroupNone); len(got) != 1 || got[0].Requests != int64(c.want) {
				t.Errorf("%+v: sums %+v, want one of %d", c.f, got, c.want)
			}
		}
	}},
	{"SumsAreRecords", "sums equal the sums over the records for any filter, before and after any number of rollups, late records included", sumsAreRecords},
	{"RollupAgain", "Rollup may be repeated, called late, early or with an earlier time, and changes no sum", func(t *T) {
		for i := range 10 {
			r := t.record(fmt.Sprint("r", i))
			r.EndedAt = t.Now.Add(time.Duration(i) * 20 * time.Minute)
			if r.CostUSD = int64(i) << 40; i%3 == 0 {
				r.CostUSD, r.Unpriced = 0, true
			}
			t.put(r)
		}
		want := t.sums(store.UsageFilter{}, store.GroupHour)
		for _, after := range []time.Duration{0, time.Hour, time.Hour, -time.Hour, 70 * time.Minute, 5 * time.Hour, 2 * time.Hour, 1000 * time.Hour} {
			t.ok(t.S.Rollup(t.Ctx, t.Now.Add(after)), "rollup")
			if diff, ok := same(t.sums(store.UsageFilter{}, store.GroupHour), want); !ok {
				t.Fatalf("after a rollup at +%v:\n%s", after, diff)
			}
		}
	}},
	{"Late", "a record that arrives for a closed hour counts once", func(t *T) {
		t.put(t.record("a"))
		t.Now = t.Now.Add(5 * time.Hour)
		t.ok(t.S.Rollup(t.Ctx, t.Now), "rollup")
		t.Now = t.Now.Add(-5 * time.Hour)
		for range 2 {
			t.put(t.record("b"))
			t.put(t.record("a"))
			t.ok(t.S.Flush(t.Ctx), "flush")
		}
		for _, f := range []store.UsageFilter{{}, {Account: "acme"}, {From: t.Now.Truncate(time.Hour), To: t.Now.Truncate(time.Hour).Add(time.Hour)}} {
			if got := t.sums(f, store.GroupNone)[0]; got.Requests != 2 || got.Tokens.Input != 20 || got.CostUSD != 210 {
				t.Errorf("%+v: %+v, want two requests of 210 micro-USD", f, got)
			}
		}
	}},
	{"Again", "a record is stored once by its request id and end, whatever else a later call says of it; the first stands", recordAgain},
	{"Groups", "groups come in order; an empty value is a group; without a grouping there is exactly one sum", func(t *T) {
		if got := t.sums(store.UsageFilter{}, store.GroupNone); len(got) != 1 || got[0] != (core.UsageSum{}) {
			t.Errorf("of nothing: %+v, want one of zeros", got)
		}
		if got := t.sums(store.UsageFilter{}, store.GroupModel); len(got) != 0 {
			t.Errorf("groups of nothing: %+v", got)
		}
		for i, m := range []string{"b", "", "a", "b"} {
			r := t.record(fmt.Sprint(i))
			r.Model = m
			t.put(r)
		}
		want := []core.UsageSum{}
		for i, g := range []string{"", "a", "b"} {
			n := int64(1 + i/2)
			want = append(want, core.UsageSum{Group: g, Requests: n, Success: n, Attempts: n, Tokens: core.Tokens{Input: 10 * n, Output: 5 * n},
				Bytes: 700 * n, FirstByteMS: 200 * n, FirstBytes: n, StreamMS: 1300 * n, TotalMS: 1500 * n, CostUSD: 105 * n,
				FirstByte: core.SketchOf(slices.Repeat([]int64{200}, int(n))...), Total: core.SketchOf(slices.Repeat([]int64{1500}, int(n))...)})
		}
		if diff, ok := same(t.sums(store.UsageFilter{}, store.GroupModel), want); !ok {
			t.Error(diff)
		}
		if _, err := t.S.Sums(t.Ctx, store.UsageFilter{}, "colour"); err == nil {
			t.Error("an unknown grouping is taken")
		}
	}},
	{"Costs", "sums tell costs to the micro-USD and how many requests have none, whatever text a record holds", func(t *T) {
		hostile := []string{`"q":7`, `\","q":7,"z":true`, `q`, "\x00\"q\":9}", `{"q":1,"z":true}`}
		var want core.UsageSum
		for i := range 3 * len(hostile) {
			r := t.record(fmt.Sprint("r", i))
			text := hostile[i%len(hostile)]
			r.NodeName, r.Endpoint, r.ServedModel, r.Agent, r.ClientAddr, r.ErrorCode = text, text, text, text, text, ""
			switch r.CostUSD = 0; i % 3 {
			case 0:
				r.CostUSD = 1
			case 1:
				r.CostUSD = 1<<45 + int64(i)
			default:
				r.Unpriced = true
				want.Unpriced++
			}
			want.CostUSD += r.CostUSD
			t.put(r)
		}
		for _, stage := range []string{"of records", "of a closed hour", "of a closed hour, again"} {
			if got := t.sums(store.UsageFilter{}, store.GroupNone)[0]; got.CostUSD != want.CostUSD || got.Unpriced != want.Unpriced {
				t.Errorf("%s: %d micro-USD and %d unpriced, want %d and %d", stage, got.CostUSD, got.Unpriced, want.CostUSD, want.Unpriced)
			}
			t.ok(t.S.Rollup(t.Ctx, t.Now.Add(5*time.Hour)), "rollup")
		}
	}},
	{"AtOnce", "records that are settled by many while hours are closed are in the sums with all they count, each once", func(t *T) {
		const workers, each = 6, 25
		var all []core.Settlement
		for i := range workers * each {
			r := t.record(fmt.Sprint("r", i))
			r.EndedAt, r.CostUSD, r.Unpriced = t.Now.Add(time.Duration(i%5)*time.Hour), int64(i%7)*1000, i%7 == 0
			all = append(all, r)
		}
		errs := make([]error, workers+1)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range 2 * each { // each record twice, by two of them
					r := all[(w*each+i)%len(all)]
					errs[w] = errors.Join(errs[w], t.S.Settle(t.Ctx, store.SettleRequest{ID: r.RequestID, Account: r.Account, Record: r}))
				}
			})
		}
		wg.Go(func() {
			for h := range 5 {
				errs[workers] = errors.Join(errs[workers], t.S.Rollup(t.Ctx, t.Now.Add(time.Duration(h)*time.Hour)))
			}
		})
		wg.Wait()
		t.ok(errors.Join(errs...), "settle and rollup")
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupHour, store.GroupModel} {
			if diff, ok := same(t.sums(store.UsageFilter{}, by), bruteForce(all, store.UsageFilter{}, by)); !ok {
				t.Errorf("by %q:\n%s", by, diff)
			}
		}
	}},
	{"Delete", "DeleteUsage removes an account's records and sums, closed hours and unsaved records included, and no other's", func(t *T) {
		put := func(id, account string) {
			r := t.record(id)
			r.Account = account
			t.put(r)
		}
		put("a", "acme")
		put("b", "other")
		t.ok(t.S.Rollup(t.Ctx, t.Now.Add(5*time.Hour)), "rollup")
		put("c", "acme")
		t.ok(t.S.DeleteUsage(t.Ctx, "acme"), "delete")
		t.ok(t.S.DeleteUsage(t.Ctx, "nobody"), "delete of nobody's")
		if got := t.records(store.UsageFilter{}); len(got) != 1 || got[0].RequestID != "b" {
			t.Errorf("records %+v", got)
		}
		if got := t.sums(store.UsageFilter{}, store.GroupAccount); len(got) != 1 || got[0].Group != "other" || got[0].Requests != 1 {
			t.Errorf("sums %+v", got)
		}
	}},
}

var storeCases = []testcase{
	{"Ping", "a working store answers a ping, and a flush", func(t *T) {
		t.ok(t.S.Ping(t.Ctx), "ping")
		t.ok(t.S.Flush(t.Ctx), "flush")
	}},
	{"Cancelled", "under a context that is done nothing is changed and the error is the context's; only Settle still works", func(t *T) {
		d := t.create("meta", "1", "acme")
		k := t.key("1", core.Limits{RPD: 5})
		ctx, cancel := context.WithCancel(t.Ctx)
		cancel()
		for what, call := range map[string]func() error{
			"Get":         func() error { _, err := t.S.Get(ctx, "meta", "1"); return err },
			"Find":        func() error { _, err := t.S.Find(ctx, "meta", "1"); return err },
			"List":        func() error { _, err := t.S.List(ctx, "meta", "", "", 10); return err },
			"Create":      func() error { _, err := t.S.Create(ctx, store.Doc{Kind: "meta", ID: "2"}); return err },
			"Replace":     func() error { _, err := t.S.Replace(ctx, d); return err },
			"Delete":      func() error { return t.S.Delete(ctx, "meta", "1", 0) },
			"Next":        func() error { _, err := t.S.Next(ctx, "n"); return err },
			"Purge":       func() error { _, err := t.S.Purge(ctx, t.Now); return err },
			"Admit":       func() error { _, err := t.S.Admit(ctx, t.request("a", k)); return err },
			"Renew":       func() error { return t.S.Renew(ctx, t.request("a", k)) },
			"Acquire":     func() error { _, err := t.S.Acquire(ctx, "l", "h", t.Now, time.Minute); return err },
			"Release":     func() error { return t.S.Release(ctx, "l", "h") },
			"Records":     func() error { _, _, err := t.S.Records(ctx, store.UsageFilter{}, "", 10); return err },
			"Sums":        func() error { _, err := t.S.Sums(ctx, store.UsageFilter{}, store.GroupNone); return err },
			"Rollup":      func() error { return t.S.Rollup(ctx, t.Now) },
			"Retain":      func() error { _, err := t.S.Retain(ctx, t.Now, store.Retention{Records: 1}); return err },
			"DeleteUsage": func() error { return t.S.DeleteUsage(ctx, "acme") },
			"Ping":        func() error { return t.S.Ping(ctx) },
		} {
			t.is(call(), context.Canceled, "%s", what)
		}
		if got, err := t.S.Get(t.Ctx, "meta", "1"); err != nil || got.Version != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
		t.remaining(t.admit("a", k).Figures, store.KindKey, store.LimitRPD, 4)
	}},
	{"Isolation", "what one account has or does is not seen through another", func(t *T) {
		for _, account := range []string{"acme", "other"} {
			t.create(store.KindNode, account+"-1", account)
			r := t.record("r-" + account)
			r.Account = account
			t.put(r)
		}
		ds, err := t.S.List(t.Ctx, store.KindNode, "acme", "", 10)
		if err != nil || len(ds) != 1 || ds[0].Account != "acme" {
			t.Errorf("nodes %+v, %v", ds, err)
		}
		if got := t.records(store.UsageFilter{Account: "acme"}); len(got) != 1 || got[0].Account != "acme" {
			t.Errorf("records %+v", got)
		}
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupAccount, store.GroupKey, store.GroupNode, store.GroupModel, store.GroupHour, store.GroupDay, store.GroupMonth} {
			if got := t.sums(store.UsageFilter{Account: "acme"}, by); len(got) != 1 || got[0].Requests != 1 || got[0].CostUSD != 105 {
				t.Errorf("sums by %q: %+v", by, got)
			}
		}
	}},
	{"CloseTwice", "Close may be called again", func(t *T) {
		t.ok(t.S.Close(), "close")
		t.ok(t.S.Close(), "close again")
		if err := t.S.Ping(t.Ctx); err == nil {
			t.Error("a closed store answers a ping")
		}
		if err := t.S.Settle(t.Ctx, store.SettleRequest{ID: "a", Record: t.record("a")}); err == nil {
			t.Error("a closed store takes records")
		}
	}},
}
