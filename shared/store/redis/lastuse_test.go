package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/shared/core"
	"sluice/shared/store"
)

// When a key or node was used last is found however many records of others came since.
func TestLastUse(t *testing.T) {
	srv := miniredis.RunT(t)
	s := open(t, "redis://"+srv.Addr())
	at := time.Date(2026, 3, 14, 10, 20, 0, 0, time.UTC)
	put := func(id, account, key, node string, at time.Time) {
		t.Helper()
		r := core.Settlement{RequestID: id, Account: account, Key: key, Node: node, Model: "m", Status: 200, StartedAt: at, EndedAt: at}
		if err := s.Settle(t.Context(), store.SettleRequest{ID: id, Account: account, Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	put("newest", "acme", "1", "1", at)
	put("late", "acme", "1", "1", at.Add(-time.Minute))
	put("elsewhere", "other", "1", "7", at.Add(time.Hour))
	put("node", "acme", "2", "3", at.Add(time.Second))
	for i := range 6_500 { // more than a page may pass over
		put(fmt.Sprint("r", i), "acme", "2", "2", at.Add(time.Duration(i+2)*time.Second))
	}
	const noted = "sluice:{a:acme}:ru"
	for _, c := range []struct {
		why    string
		filter store.UsageFilter
		undo   func()
		want   string
	}{
		{"a key, whose older record came later", store.UsageFilter{Key: "1"}, nil, "newest"},
		{"a node", store.UsageFilter{Node: "3"}, nil, "node"},
		{"a key and a node", store.UsageFilter{Key: "1", Node: "1"}, nil, "newest"},
		{"a key and a node that do not go together", store.UsageFilter{Key: "1", Node: "3"}, nil, ""},
		{"before a time", store.UsageFilter{Key: "1", To: at}, nil, "late"},
		{"after it", store.UsageFilter{Key: "1", From: at.Add(time.Second)}, nil, ""},
		{"never used", store.UsageFilter{Key: "3"}, nil, ""},
		{"used by others", store.UsageFilter{Node: "7"}, nil, ""},
		{"nothing is noted, as an older program leaves it", store.UsageFilter{Key: "2"}, func() { srv.Del(noted) }, "r6499"},
		{"nor of that node", store.UsageFilter{Node: "2"}, nil, "r6499"},
		{"one was noted since", store.UsageFilter{Key: "5"}, func() { put("since", "acme", "5", "5", at.Add(3*time.Hour)) }, "since"},
		{"which does not tell of the others", store.UsageFilter{Key: "2"}, nil, "r6499"},
		{"the oldest are removed", store.UsageFilter{Key: "9"}, func() {
			if err := s.DeleteUsage(t.Context(), "acme"); err != nil {
				t.Fatal(err)
			}
			put("old", "acme", "9", "9", at.Add(-48*time.Hour))
			put("young", "acme", "8", "9", at)
			if err := s.Rollup(t.Context(), at.Add(3*time.Hour)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Retain(t.Context(), at.Add(3*time.Hour), store.Retention{Records: 24 * time.Hour}); err != nil {
				t.Fatal(err)
			}
			if n := srv.HGet(noted, "count"); n != "1" {
				t.Errorf("%s are noted, want one", n)
			}
		}, ""},
		{"the others are not", store.UsageFilter{Node: "9"}, nil, "young"},
		{"an older program stored one", store.UsageFilter{Key: "8"}, func() {
			young, err := srv.Get("sluice:{a:acme}:r:young")
			if err != nil {
				t.Fatal(err)
			}
			older := strings.NewReplacer(`"young"`, `"older"`, at.Format(time.RFC3339), at.Add(time.Minute).Format(time.RFC3339)).Replace(young)
			if err := srv.Set("sluice:{a:acme}:r:older", older); err != nil {
				t.Fatal(err)
			}
			if _, err := srv.ZAdd("sluice:{a:acme}:ri", float64(at.Add(time.Minute).UnixMicro()), "older"); err != nil {
				t.Fatal(err)
			}
		}, "older"},
		{"all are removed", store.UsageFilter{Key: "8"}, func() {
			if err := s.DeleteUsage(t.Context(), "acme"); err != nil {
				t.Fatal(err)
			}
			if srv.Exists(noted) {
				t.Error("it is noted still")
			}
		}, ""},
	} {
		if c.undo != nil {
			c.undo()
		}
		c.filter.Account = "acme"
		recs, _, err := s.Records(t.Context(), c.filter, "", 1)
		got := ""
		if len(recs) > 0 {
			got = recs[0].RequestID
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.why, got, err, c.want)
		}
	}
}
