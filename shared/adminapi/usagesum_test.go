package adminapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// settle records a request; what it leaves out is that of a good one of 100 ms.
func (p *pool) settle(r core.Settlement) {
	p.t.Helper()
	if r.Account == "" {
		r.Account = core.DefaultAccount
	}
	if r.Endpoint == "" {
		r.Endpoint, r.Dialect = "/v1/messages", core.DialectAnthropic
	}
	if r.Status == 0 {
		r.Status = 200
	}
	if r.StartedAt.IsZero() {
		r.StartedAt = r.EndedAt.Add(-100 * time.Millisecond)
	}
	r.Attempts = max(r.Attempts, 1)
	if err := p.store.Settle(p.t.Context(), store.SettleRequest{ID: r.RequestID, Account: r.Account, Now: r.EndedAt, Zone: time.UTC, Record: r}); err != nil {
		p.t.Fatal(err)
	}
}

// week settles requests of some models, sessions and agents on four days; the newest ends at the clock's time.
func (p *pool) week() {
	p.t.Helper()
	now := p.clock() // 2026-03-10 12:30 UTC
	for i, r := range []core.Settlement{
		{EndedAt: now, Model: "big", Session: "s-1", Agent: "a-1", CostUSD: 900_000, Tokens: core.Tokens{Input: 10, CacheRead: 30, Output: 5}, FirstByteMS: 40, StreamMillis: 60, Bytes: 1000},
		{EndedAt: now.Add(-time.Hour), Model: "small", Session: "s-2", CostUSD: 1_000, Tokens: core.Tokens{Input: 5000, Output: 5000}, Bytes: 50},
		{EndedAt: now.Add(-2 * time.Hour), Model: "small", Session: "s-2", CostUSD: 1_000, Tokens: core.Tokens{Input: 5000, Output: 5000}},
		{EndedAt: now.Add(-20 * time.Hour), Model: "none", Session: "s-3", Status: 502, ErrorCode: "bad_gateway", Attempts: 3}, // 16:30 of the 9th, the 10th in Shanghai
		{EndedAt: now.Add(-15 * 24 * time.Hour), Model: "free", Unpriced: true, Tokens: core.Tokens{Input: 1, Output: 1}},      // February
	} {
		r.RequestID = fmt.Sprint("req_", i)
		r.Key, r.Node = "2", "1"
		p.settle(r)
	}
}

// summaries are the sums of a call, each as "group requests".
func (p *pool) summaries(query, field string) string {
	p.t.Helper()
	var out []string
	for _, s := range items(p.want(200, "GET", "/api/usage/summary?"+query, ""), "summaries") {
		name, ok := s[field]
		if !ok {
			name = fmt.Sprint("others=", s["others"])
		}
		out = append(out, fmt.Sprintf("%v:%v", name, s["total_requests"]))
	}
	return strings.Join(out, " ")
}

// TestSummariesByGroup: each group under its own name, in the order that the document tells.
func TestSummariesByGroup(t *testing.T) {
	p := newPool(t, nil)
	p.week()
	for _, c := range []struct{ why, query, field, want string }{
		{"the dearest first, though it has the fewest tokens; then by tokens", "group_by=model", "model_id", "big:1 small:2 free:1 none:1"},
		{"days of UTC, oldest first, none for days without requests", "group_by=day", "day", "2026-02-23:1 2026-03-09:1 2026-03-10:3"},
		{"a day is the zone's", "group_by=day&time_zone=Asia/Shanghai", "day", "2026-02-23:1 2026-03-10:4"},
		{"months", "group_by=month", "month", "2026-02:1 2026-03:4"},
		{"hours stay in order", "group_by=hour&from=2026-03-10T00:00:00Z", "hour", "2026-03-10T10:00:00Z:1 2026-03-10T11:00:00Z:1 2026-03-10T12:00:00Z:1"},
		{"sessions, one of them none", "group_by=session", "session_id", "s-1:1 s-2:2 :1 s-3:1"},
		{"the rest in one row, the last", "group_by=session&top=1", "session_id", "s-2:2 others=3:3"},
		{"agents", "group_by=agent", "agent_id", "a-1:1 :4"},
		{"one agent's", "group_by=model&agent_id=a-1", "model_id", "big:1"},
		{"failures", "group_by=model&failed=true", "model_id", "none:1"},
		{"not failures alone", "group_by=month&failed=false", "month", "2026-02:1 2026-03:4"},
		{"sessions of an account without any", "group_by=session&account_id=acc-beta", "session_id", ""},
	} {
		if got := p.summaries(c.query, c.field); got != c.want {
			t.Errorf("%s: ?%s gave %q, want %q", c.why, c.query, got, c.want)
		}
	}
	if s := p.want(200, "GET", "/api/usage/summary?group_by=session&top=1", ""); strings.Count(s.body, "session_id") != 1 || strings.Count(s.body, `"others"`) != 1 {
		t.Errorf("the rest has a name, or a session is the rest: %s", s.body)
	}
}

// TestSummaryFigures: percentiles, rates and ratios, and null where there is nothing to tell.
func TestSummaryFigures(t *testing.T) {
	p := newPool(t, nil)
	for i := range 100 {
		at := p.clock().Add(time.Duration(i) * time.Second)
		r := core.Settlement{RequestID: fmt.Sprint("req_", i), Model: "m", EndedAt: at, StartedAt: at.Add(-time.Duration(i+1) * 10 * time.Millisecond), Bytes: 7, Attempts: 2,
			Tokens: core.Tokens{Input: 25, CacheRead: 75, Output: 1}}
		if i < 50 {
			r.FirstByteMS = 20
		}
		if i%4 == 0 {
			r.Status, r.ErrorCode = 500, "internal"
		}
		p.settle(r)
	}
	got := p.want(200, "GET", "/api/usage/summary", "").json()
	for f, want := range map[string]float64{"attempts": 200, "bytes": 700, "success_rate": 75, "cache_read_ratio": 0.75, "total_requests": 100} {
		if got[f] != want {
			t.Errorf("%s is %v, want %v", f, got[f], want)
		}
	}
	near := func(object, name string, want float64) {
		t.Helper()
		m, _ := got[object].(map[string]any)
		if v, ok := m[name].(float64); !ok || v < want*0.949 || v > want*1.051 {
			t.Errorf("%s.%s is %v, want %v within 5 %%", object, name, m[name], want)
		}
	}
	near("total_ms", "avg", 505)
	near("total_ms", "p50", 500)
	near("total_ms", "p90", 900)
	near("total_ms", "p95", 950)
	near("total_ms", "p99", 990)
	near("first_byte_ms", "avg", 20)
	near("first_byte_ms", "p99", 20)

	for f, v := range p.want(200, "GET", "/api/usage/summary?model_id=other", "").json() {
		switch f {
		case "success_rate", "cache_read_ratio", "first_byte_ms", "total_ms":
			if v != nil {
				t.Errorf("of nothing %s is %v", f, v)
			}
		case "total_cost_usd", "total_requests":
			if v != 0.0 {
				t.Errorf("of nothing %s is %v", f, v)
			}
		}
	}
	p.serve(func(o *optionsOf) { o.Usage = oldSums{o.Usage} })
	if m := p.want(200, "GET", "/api/usage/summary", "").json()["total_ms"].(map[string]any); m["p50"] != nil || m["avg"] != 505.0 {
		t.Errorf("sums of a program that knew no percentiles: %v", m)
	}
}

// crowded is a store that clients gave more sessions than it tells apart.
type crowded struct{ store.Usage }

func (crowded) Sums(context.Context, store.UsageFilter, store.GroupBy) ([]core.UsageSum, error) {
	return nil, fmt.Errorf("store: sum usage: %w", store.ErrGroups)
}

// TestTooManyGroups: the caller hears what to do.
func TestTooManyGroups(t *testing.T) {
	p := newPool(t, nil)
	p.serve(func(o *optionsOf) { o.Usage = crowded{o.Usage} })
	if a := p.want(400, "GET", "/api/usage/summary?group_by=session", ""); !strings.Contains(a.body, "shorter time") {
		t.Error(a.body)
	}
}

// TestLogFields: what only some requests have, and filters by it.
func TestLogFields(t *testing.T) {
	p := newPool(t, nil)
	p.settle(core.Settlement{RequestID: "req_full", EndedAt: p.clock(), Session: "s", Agent: "a", ParentAgent: "pa", Fast: true, Geo: "us", Searches: 2, StreamMillis: 9, Bytes: 3,
		Attempts: 2, Tries: []core.Try{{Node: "1", Name: "first", Status: 529, Reason: "overloaded", TookMS: 5}, {Node: "2", Name: "second", Status: 200, StartMS: 5, TookMS: 9}}})
	p.settle(core.Settlement{RequestID: "req_bad", EndedAt: p.clock().Add(time.Second), Status: 499})
	full := items(p.want(200, "GET", "/api/usage/logs?agent_id=a&session_id=s", ""), "logs")
	if len(full) != 1 {
		t.Fatalf("%d logs of the agent", len(full))
	}
	for f, want := range map[string]any{"dialect": "anthropic", "parent_agent_id": "pa", "agent_id": "a", "session_id": "s", "fast": true, "geo": "us", "searches": 2.0, "stream_ms": 9.0, "bytes": 3.0} {
		if full[0][f] != want {
			t.Errorf("%s is %v, want %v", f, full[0][f], want)
		}
	}
	tries, _ := full[0]["tries"].([]any)
	if len(tries) != 2 || fmt.Sprint(tries[0]) != "map[node_id:1 node_name:first reason:overloaded start_ms:0 status:529 took_ms:5]" {
		t.Errorf("tries: %v", tries)
	}
	if bad := items(p.want(200, "GET", "/api/usage/logs?failed=true", ""), "logs"); len(bad) != 1 || bad[0]["request_id"] != "req_bad" || bad[0]["tries"] != nil {
		t.Errorf("failures: %v", bad)
	}
	if none := items(p.want(200, "GET", "/api/usage/logs?agent_id=other", ""), "logs"); len(none) != 0 {
		t.Errorf("of an agent that is not: %v", none)
	}
}

// TestHostileUsageQueries: a report is never silently of something else, and no zone is a file of the machine's.
func TestHostileUsageQueries(t *testing.T) {
	p := newPool(t, nil)
	for _, c := range []struct{ why, query, field string }{
		{"no such zone", "time_zone=Mars/Olympus", "time_zone"},
		{"the machine's own", "time_zone=Local", "time_zone"},
		{"a path out of the data base", "time_zone=../../../../etc/passwd", "time_zone"},
		{"a path", "time_zone=/etc/localtime", "time_zone"},
		{"a backslash", "time_zone=..%5C..%5Cboot.ini", "time_zone"},
		{"a long one", "time_zone=" + strings.Repeat("A/", 4000), "time_zone"},
		{"a NUL", "time_zone=UTC%00", "time_zone"},
		{"too many groups", "group_by=session&top=1001", "top"},
		{"none", "group_by=session&top=0", "top"},
		{"more than a number", "group_by=agent&top=99999999999999999999", "top"},
		{"top of what has none", "group_by=model&top=5", "top"},
		{"a failure of another kind", "failed=maybe", "failed"},
		{"backwards", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "from"},
		{"empty", "from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z", "from"},
		{"a longer time than records tell", "group_by=session&from=2020-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", "from"},
		{"another spelling", "group_by=DAY", "group_by"},
		{"another word", "group_by=week", "group_by"},
	} {
		for _, target := range []string{"/api/usage/summary?", "/api/usage/export?what=summary&"} {
			p.refused(c.field, "GET", target+c.query, "", c.why)
		}
	}
}

// oldSums are those of a program that knew no percentiles.
type oldSums struct{ store.Usage }

func (u oldSums) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	sums, err := u.Usage.Sums(ctx, f, by)
	for i := range sums {
		sums[i].FirstByte, sums[i].Total = core.Sketch{}, core.Sketch{}
	}
	return sums, err
}
