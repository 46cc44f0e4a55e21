package redis_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/redis"
)

// Hours that a program closed, or added to, which knows no costs: their costs are the records', at once by reading those
// and after the next Rollup as those of other hours. What such a program reads stays as it was.
func TestCostsOfOlderHours(t *testing.T) {
	srv := miniredis.RunT(t)
	s := open(t, "redis://"+srv.Addr())
	at := time.Date(2026, 3, 14, 10, 20, 0, 0, time.UTC)
	var want core.UsageSum
	put := func(id string, at time.Time, usd int64) {
		t.Helper()
		r := core.Settlement{RequestID: id, Account: "acme", Key: "1", Node: "2", Model: "m", Status: 200, StartedAt: at, EndedAt: at, CostUSD: usd, Unpriced: usd == 0}
		if err := s.Settle(t.Context(), store.SettleRequest{ID: id, Account: "acme", Record: r}); err != nil {
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
			sums, err := s.Sums(t.Context(), store.UsageFilter{}, by)
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
		if err := s.Rollup(t.Context(), at.Add(5*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 9 {
		put(fmt.Sprint("r", i), at.Add(time.Duration(i/3)*time.Hour), int64(i%3)*1000)
	}
	rollup()
	check("closed")
	const tag = "sluice:{a:acme}:"
	hour := fmt.Sprint(at.Unix() / 3600)
	costs := tag + "c:" + hour
	for _, key := range srv.Keys() {
		if strings.HasPrefix(key, tag+"c:") || strings.HasPrefix(key, tag+"w") || key == tag+"ch" {
			srv.Del(key)
		}
	}
	check("closed by an older program")
	put("late", at, 7)
	check("and a late record")
	if srv.Exists(costs) {
		t.Error("the costs of one record stand for those of the hour")
	}
	rollup()
	check("after a rollup")
	const group = `["1","2","m"]`
	if got := srv.HGet(costs, "1:"+group); got != "3007" {
		t.Errorf("the hour's costs are %q, want 3007", got)
	}
	put("later", at, 9)
	check("a late record after that")
	srv.HSet(costs, "1:"+group, "3017") // to see that they are read
	want.CostUSD++
	check("changed by hand")
	want.CostUSD--
	srv.HSet(costs, "0:"+group, "4", "1:"+group, "3007") // as when an older program stored the last record
	check("a late record stored by an older program")
	fields, err := srv.HKeys(tag + "s:" + hour)
	if err != nil || len(fields) != 14 {
		t.Errorf("%d figures of a sum, %v: an older program can read 14", len(fields), err)
	}
	if err := s.DeleteUsage(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	for _, key := range srv.Keys() {
		if strings.HasPrefix(key, tag) && key != tag+"rc" {
			t.Errorf("%s outlives the account's usage", key)
		}
	}
}

// A record of an earlier hour that comes while an hour is summed up counts in its own.
func TestEarlierHourMeanwhile(t *testing.T) {
	url, w := "redis://"+miniredis.RunT(t).Addr(), &watch{}
	s, other := openWith(t, url, redis.Options{}.WithHooks(w)), open(t, url)
	at := time.Date(2026, 3, 14, 10, 20, 0, 0, time.UTC)
	put := func(id string, at time.Time) error {
		r := core.Settlement{RequestID: id, Account: "acme", Key: "1", Status: 200, StartedAt: at, EndedAt: at}
		return other.Settle(context.WithoutCancel(t.Context()), store.SettleRequest{ID: id, Account: "acme", Record: r})
	}
	if err := put("a", at); err != nil {
		t.Fatal(err)
	}
	came := false
	w.breaks(func(cmd goredis.Cmder) (error, bool) {
		if came || cmd.Name() != "zrevrangebyscore" { // the reading of the hour that was found to be the first
			return nil, false
		}
		came = true
		return put("b", at.Add(-5*time.Hour)), false
	})
	if err := s.Rollup(t.Context(), at.Add(30*time.Hour)); err != nil || !came {
		t.Fatal(came, err)
	}
	sums, err := s.Sums(t.Context(), store.UsageFilter{}, store.GroupHour)
	if err != nil || len(sums) != 2 || sums[0].Requests != 1 || sums[1].Requests != 1 || sums[0].Total.Count() != 1 {
		t.Errorf("%+v, %v, want a request in each hour", sums, err)
	}
}

// TestLateForAnEmptyDay: a record that came for a day which had nothing, while later days were written, was in the sums of its
// hour but not of its day once all of them were closed.
func TestLateForAnEmptyDay(t *testing.T) {
	for _, c := range []struct {
		why  string
		days int // before the day of the first record
	}{{"of days that are closed unread", 9}, {"of one that was written already", 2}, {"written next", 1}} {
		url, w := "redis://"+miniredis.RunT(t).Addr(), &watch{}
		s, other := openWith(t, url, redis.Options{}.WithHooks(w)), open(t, url)
		at := time.Date(2026, 3, 14, 10, 20, 0, 0, time.UTC)
		put := func(id string, at time.Time) error {
			r := core.Settlement{RequestID: id, Account: "acme", Key: "1", Status: 200, StartedAt: at, EndedAt: at}
			return other.Settle(context.WithoutCancel(t.Context()), store.SettleRequest{ID: id, Account: "acme", Record: r})
		}
		if err := put("a", at); err != nil {
			t.Fatal(err)
		}
		came := false
		day := "v" + strconv.FormatInt(at.Unix()/86400-1, 10) // the day before is being written: the one before that was
		w.breaks(func(cmd goredis.Cmder) (error, bool) {
			if came || cmd.Name() != "hget" || cmd.Args()[2] != day {
				return nil, false
			}
			came = true
			return put("b", at.AddDate(0, 0, -c.days)), false
		})
		if err := s.Rollup(t.Context(), at.Add(50*time.Hour)); err != nil || !came {
			t.Fatal(c.why, came, err)
		}
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupHour, store.GroupDay} {
			sums, err := s.Sums(t.Context(), store.UsageFilter{}, by)
			n := int64(0)
			for i := range sums {
				n += sums[i].Requests
			}
			if err != nil || n != 2 {
				t.Errorf("%s, by %q: %d requests, %v; want 2", c.why, by, n, err)
			}
		}
	}
}
