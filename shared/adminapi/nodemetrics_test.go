package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// served settles requests of a node: one a day for three days, two in the last hour, one of which failed.
func (p *pool) servedBy(account, node string) {
	p.t.Helper()
	now := p.clock()
	for i, r := range []core.Settlement{
		{EndedAt: now, Status: 500, ErrorCode: "internal", StartedAt: now.Add(-300 * time.Millisecond)},
		{EndedAt: now.Add(-10 * time.Minute), StartedAt: now.Add(-10*time.Minute - 100*time.Millisecond), FirstByteMS: 40, StreamMillis: 60, Bytes: 500,
			Tokens: core.Tokens{Input: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5}},
		{EndedAt: now.Add(-24 * time.Hour)},
		{EndedAt: now.Add(-48 * time.Hour)},
		{EndedAt: now.Add(-40 * 24 * time.Hour)},
	} {
		r.RequestID, r.Account, r.Node, r.Key = fmt.Sprintf("req_%s_%s_%d", account, node, i), account, node, "2"
		p.settle(r)
	}
}

// metricsOf is what a call gave: each row as "timestamp total/failed".
func metricsOf(a *answer) string {
	var out []string
	for _, m := range items(a, "data") {
		out = append(out, fmt.Sprintf("%v %v/%v", m["timestamp"], m["requests_total"], m["requests_failed"]))
	}
	return strings.Join(out, ", ")
}

// TestMetrics: by request, hour, day and month, within the windows of the older API (seed-systems 1.6).
func TestMetrics(t *testing.T) {
	p := newPool(t, nil)
	node, other := p.made("default", anthropicNode), p.made("default", anthropicNode)
	p.servedBy("default", node)
	p.servedBy("acc-beta", "99")
	p.settle(core.Settlement{RequestID: "req_other", EndedAt: p.clock(), Node: other})
	for _, c := range []struct{ why, query, want string }{
		{"hours of 7 days are what one gets", "", "2026-03-08T12:00:00Z 1/0, 2026-03-09T12:00:00Z 1/0, 2026-03-10T12:00:00Z 2/1"},
		{"requests of 24 hours, oldest first", "granularity=raw", "2026-03-09T12:30:00Z 1/0, 2026-03-10T12:20:00Z 1/0, 2026-03-10T12:30:00Z 1/1"},
		{"days of 30 days", "granularity=day", "2026-03-08T00:00:00Z 1/0, 2026-03-09T00:00:00Z 1/0, 2026-03-10T00:00:00Z 2/1"},
		{"months of 12 months", "granularity=month", "2026-01-01T00:00:00Z 1/0, 2026-03-01T00:00:00Z 4/1"},
		{"the zone's days", "granularity=day&time_zone=Asia/Shanghai", "2026-03-07T16:00:00Z 1/0, 2026-03-08T16:00:00Z 1/0, 2026-03-09T16:00:00Z 2/1"},
		{"the newest", "granularity=day&limit=1", "2026-03-10T00:00:00Z 2/1"},
		{"the one before", "granularity=day&limit=1&offset=1", "2026-03-09T00:00:00Z 1/0"},
		{"the newest request", "granularity=raw&limit=1", "2026-03-10T12:30:00Z 1/1"},
		{"the request before", "granularity=raw&limit=1&offset=1", "2026-03-10T12:20:00Z 1/0"},
		{"beyond the last", "granularity=day&offset=50", ""},
		{"a window", "granularity=raw&from=2026-03-08T00:00:00Z&to=2026-03-09T00:00:00Z", "2026-03-08T12:30:00Z 1/0"},
		{"an end is not in it", "granularity=raw&from=2026-03-10T12:20:00Z&to=2026-03-10T12:30:00Z", "2026-03-10T12:20:00Z 1/0"},
	} {
		if got := metricsOf(p.want(200, "GET", "/api/nodes/"+node+"/metrics?"+c.query, "")); got != c.want {
			t.Errorf("%s: ?%s gave\n%s, want\n%s", c.why, c.query, got, c.want)
		}
	}
	for target, want := range map[string]string{"/api/accounts/default/metrics?granularity=day&limit=1": "2026-03-10T00:00:00Z 3/1", "/api/accounts/acc-beta/metrics?granularity=day&limit=1": "2026-03-10T00:00:00Z 2/1"} {
		if got := metricsOf(p.want(200, "GET", target, "")); got != want {
			t.Errorf("%s gave %s, want %s", target, got, want)
		}
	}
}

// TestMetricFields: the older API's fields, and percentiles.
func TestMetricFields(t *testing.T) {
	p := newPool(t, nil)
	node := p.made("default", anthropicNode)
	p.servedBy("default", node)
	a := p.want(200, "GET", "/api/nodes/"+node+"/metrics", "").json()
	sameKeys(t, "metrics", a, "data", "granularity", "from", "to")
	if a["granularity"] != "hour" || a["from"] != "2026-03-03T12:00:00Z" || a["to"] != "2026-03-10T12:30:00Z" {
		t.Errorf("%v from %v to %v", a["granularity"], a["from"], a["to"])
	}
	data := a["data"].([]any)
	hour := data[2].(map[string]any)
	sameKeys(t, "a row", hour, "timestamp", "requests_total", "requests_success", "requests_failed", "avg_response_time_ms", "bytes_total", "input_tokens", "output_tokens",
		"avg_first_byte_ms", "avg_stream_duration_ms", "p50_response_time_ms", "p95_response_time_ms", "p50_first_byte_ms", "p95_first_byte_ms")
	for f, want := range map[string]float64{"requests_success": 1, "requests_failed": 1, "avg_response_time_ms": 200, "bytes_total": 500, "input_tokens": 10, "output_tokens": 5,
		"avg_first_byte_ms": 40, "avg_stream_duration_ms": 60} {
		if hour[f] != want {
			t.Errorf("%s is %v, want %v", f, hour[f], want)
		}
	}
	if p95 := hour["p95_response_time_ms"].(float64); p95 < 285 || p95 > 315 {
		t.Errorf("p95 is %v", p95)
	}
	if quiet := data[0].(map[string]any); quiet["p50_first_byte_ms"] != nil || quiet["avg_first_byte_ms"] != 0.0 {
		t.Errorf("an hour in which no first byte was measured: %v", quiet)
	}
	raw := items(p.want(200, "GET", "/api/nodes/"+node+"/metrics?granularity=raw&offset=1&limit=1", ""), "data")[0]
	for f, want := range map[string]float64{"avg_response_time_ms": 100, "p50_response_time_ms": 100, "p95_first_byte_ms": 40, "avg_stream_duration_ms": 60, "input_tokens": 10} {
		if raw[f] != want {
			t.Errorf("of one request %s is %v, want %v", f, raw[f], want)
		}
	}
}

// TestHostileMetrics: what is wrong is named, and no id but a node's or an account's is looked for.
func TestHostileMetrics(t *testing.T) {
	p := newPool(t, nil)
	node := p.made("default", anthropicNode)
	for _, c := range []struct{ why, query, field string }{
		{"another word", "granularity=week", "granularity"}, {"another spelling", "granularity=RAW", "granularity"}, {"too many", "limit=1001", "limit"},
		{"none", "limit=0", "limit"}, {"beyond numbers", "offset=99999999999999999999", "offset"}, {"far", "offset=100001", "offset"}, {"no time", "from=now", "from"},
		{"backwards", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "from"}, {"after now", "from=2027-01-01T00:00:00Z", "from"}, {"no zone", "time_zone=..", "time_zone"},
	} {
		p.refused(c.field, "GET", "/api/nodes/"+node+"/metrics?"+c.query, "", c.why)
		p.refused(c.field, "GET", "/api/accounts/default/metrics?"+c.query, "", c.why)
	}
	for _, id := range []string{"0", "-1", "01", "%2e%2e", "x", "99999999999999999999", "{id}", "%00", strings.Repeat("a", 3000), "acc-nobody", "DEFAULT", "default%20"} {
		for _, base := range []string{"/api/nodes/", "/api/accounts/"} {
			if a := p.call("GET", base+id+"/metrics", "", "x-admin-key", poolAdmin); a.status != 404 {
				t.Errorf("%s%.20s: %d %s", base, id, a.status, a.body)
			}
		}
	}
}

// TestUsageIsIsolated: whatever tenant A sends to the routes of usage, it sees nothing of B's and removes nothing.
func TestUsageIsIsolated(t *testing.T) {
	p := newPool(t, nil)
	if _, err := p.tables.Accounts.Create(t.Context(), core.Account{ID: "acc-a", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	nodeA, nodeB := p.made("acc-a", anthropicNode), p.made("acc-beta", anthropicNode)
	p.servedBy("acc-a", nodeA)
	p.servedBy("acc-beta", nodeB)
	p.settle(core.Settlement{RequestID: "req_beta_session", Account: "acc-beta", Session: "secret-session", Agent: "secret-agent", EndedAt: p.clock()})
	key, client := p.key("acc-a", `{"name":"own","nodes":true}`), p.key("acc-a", `{"name":"client"}`)
	for _, c := range []struct {
		method, target, body string
		want                 int
	}{
		{"GET", "/api/usage/summary?group_by=session&account_id=acc-beta", "", 403},
		{"GET", "/api/usage/logs?account_id=acc-beta", "", 403},
		{"GET", "/api/usage/export?account_id=acc-beta", "", 403},
		{"GET", "/api/usage/export?what=summary&account_id=acc-beta", "", 403},
		{"GET", "/api/usage/export?account_id=acc-nobody", "", 403},
		{"GET", "/api/nodes/" + nodeB + "/metrics", "", 404},
		{"GET", "/api/nodes/" + nodeB + "/metrics?account_id=acc-beta&granularity=raw", "", 404},
		{"GET", "/api/accounts/acc-beta/metrics", "", 404},
		{"GET", "/api/accounts/default/metrics", "", 404},
		{"GET", "/api/accounts/acc-nobody/metrics", "", 404},
		{"POST", "/api/usage/cleanup", `{"retention_days":1}`, 403},
		{"POST", "/api/metrics/aggregate", `{}`, 403},
		{"POST", "/api/metrics/cleanup", `{"account_id":"acc-a"}`, 403},
	} {
		for _, as := range []struct {
			why, key string
			want     int
		}{{"another tenant", key, c.want}, {"a key that only calls models", client, 403}, {"nobody", "", 401}} {
			a := p.call(c.method, c.target, c.body, "x-api-key", as.key)
			if a.status != as.want || strings.Contains(a.body, "secret-") || strings.Contains(a.body, "beta") {
				t.Errorf("%s: %s %s: status %d, want %d: %s", as.why, c.method, c.target, a.status, as.want, a.body)
			}
		}
	}
	for _, target := range []string{"/api/usage/summary?group_by=session", "/api/usage/summary?group_by=agent", "/api/usage/summary?group_by=month", "/api/usage/logs", "/api/usage/logs?agent_id=secret-agent",
		"/api/usage/export?format=json", "/api/usage/export?what=summary&group_by=account", "/api/usage/export?session_id=secret-session", "/api/usage/export?node_id=" + nodeB,
		"/api/nodes/" + nodeA + "/metrics", "/api/accounts/acc-a/metrics"} {
		a := p.call("GET", target, "", "x-api-key", key)
		if a.status != 200 || strings.Contains(a.body, "secret-") || strings.Contains(a.body, "acc-beta") {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	for target, want := range map[string]int{"/api/usage/export": 5, "/api/usage/export?node_id=" + nodeB: 0, "/api/usage/export?session_id=secret-session": 0} {
		if table, _ := rows(t, p.call("GET", target, "", "x-api-key", key).body); len(table) != want {
			t.Errorf("%s has %d rows, want %d", target, len(table), want)
		}
	}
	if table, _ := rows(t, p.want(200, "GET", "/api/usage/export", "").body); len(table) != 11 {
		t.Errorf("an administrator's export has %d rows", len(table))
	}
	for _, target := range []string{"/api/usage/export", "/api/usage/cleanup", "/api/metrics/aggregate", "/api/metrics/cleanup", "/api/nodes/" + nodeA + "/metrics", "/api/accounts/acc-a/metrics"} {
		if a := p.want(405, "DELETE", target, ""); a.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", target)
		}
	}
}

// keptUsage notes what the store is told to keep.
type keptUsage struct {
	store.Usage
	told   []store.Retention
	rolled int
	endure int // calls that remove something; below 0: all
	fails  error
	later  func()
}

func (u *keptUsage) Retain(_ context.Context, _ time.Time, keep store.Retention) (int, error) {
	u.told = append(u.told, keep)
	if u.later != nil {
		u.later()
	}
	if u.fails != nil {
		return 0, u.fails
	}
	if u.endure != 0 {
		u.endure--
		return 10, nil
	}
	return 0, nil
}

func (u *keptUsage) Rollup(context.Context, time.Time) error {
	u.rolled++
	return u.fails
}

// TestCleanupOfUsage: the older routes, whose records go and whose sums stay.
func TestCleanupOfUsage(t *testing.T) {
	const day = 24 * time.Hour
	configured := store.Retention{Records: 30 * day, Hours: 90 * day, Days: 1095 * day}
	for _, c := range []struct {
		why, body string
		keep      store.Retention
		days      float64
		records   time.Duration
	}{
		{"what it says", `{"retention_days":7}`, configured, 7, 7 * day},
		{"a year when it does not say", ``, store.Retention{}, 365, 365 * day},
		{"nor with an object", `{}`, store.Retention{}, 365, 365 * day},
		{"nor with 0", `{"retention_days":0}`, store.Retention{}, 365, 365 * day},
		{"nor below", `{"retention_days":-5}`, store.Retention{}, 365, 365 * day},
		{"never longer than configured", `{"retention_days":365}`, configured, 365, 30 * day},
	} {
		p := newPool(t, nil)
		u := &keptUsage{endure: 3}
		p.serve(func(o *optionsOf) { o.Usage, o.Keep = u, c.keep })
		a := p.want(200, "POST", "/api/usage/cleanup", c.body).json()
		sameKeys(t, c.why, a, "message", "retention_days")
		if a["retention_days"] != c.days || !strings.Contains(a["message"].(string), fmt.Sprintf("30 records older than %d days", c.records/day)) {
			t.Errorf("%s: %v", c.why, a)
		}
		if len(u.told) != 5 || u.told[0] != (store.Retention{Records: c.records}) || u.told[3] != u.told[0] {
			t.Errorf("%s: the store was told %v", c.why, u.told)
		} else if u.told[4] != c.keep {
			t.Errorf("%s: afterwards it keeps %v, configured is %v", c.why, u.told[4], c.keep)
		}
	}

	p := newPool(t, nil)
	u := &keptUsage{}
	p.serve(func(o *optionsOf) { o.Usage, o.Keep = u, configured })
	for _, c := range []struct{ why, target, body, field string }{
		{"beyond time", "/api/usage/cleanup", `{"retention_days":36501}`, "retention_days"},
		{"beyond numbers", "/api/usage/cleanup", `{"retention_days":1e99}`, "retention_days"},
		{"a text", "/api/usage/cleanup", `{"retention_days":"7"}`, "retention_days"},
		{"a half", "/api/usage/cleanup", `{"retention_days":0.5}`, "retention_days"},
		{"no object", "/api/usage/cleanup", `[]`, "request body"},
		{"another target", "/api/metrics/aggregate", `{"target":"week"}`, "target"},
		{"no JSON", "/api/metrics/cleanup", `{`, "request body"},
	} {
		p.refused(c.field, "POST", c.target, c.body, c.why)
	}
	p.want(404, "POST", "/api/metrics/cleanup", `{"account_id":"acc-nobody"}`)
	p.want(404, "POST", "/api/metrics/aggregate", `{"account_id":"acc-nobody"}`)
	if u.rolled != 0 || len(u.told) != 0 {
		t.Errorf("a refused call did something: %d %v", u.rolled, u.told)
	}
	for _, target := range []string{"hour", "day", "month"} {
		if a := p.want(200, "POST", "/api/metrics/aggregate", `{"target":"`+target+`","account_id":"default","from":"x"}`); strings.TrimSpace(a.body) != `{"status":"ok"}` {
			t.Errorf("aggregate: %s", a.body)
		}
	}
	if a := p.want(200, "POST", "/api/metrics/cleanup", `{"account_id":"default"}`); strings.TrimSpace(a.body) != `{"status":"ok"}` {
		t.Errorf("cleanup: %s", a.body)
	}
	if u.rolled != 3 || len(u.told) != 1 || u.told[0] != configured {
		t.Errorf("%d sums written, told %v", u.rolled, u.told)
	}
	u.fails = errors.New("the store is away: secret-address")
	for _, target := range []string{"/api/usage/cleanup", "/api/metrics/aggregate", "/api/metrics/cleanup"} {
		if a := p.want(500, "POST", target, ""); strings.Contains(a.body, "secret") {
			t.Errorf("%s: %s", target, a.body)
		}
	}
}

// TestCleanupKeepsSums: records go, what they summed up to stays.
func TestCleanupKeepsSums(t *testing.T) {
	p := newPool(t, nil)
	p.week()
	sum := p.want(200, "GET", "/api/usage/summary", "").body
	p.advance(2 * time.Hour)
	p.want(200, "POST", "/api/metrics/aggregate", `{"target":"hour"}`)
	p.want(200, "POST", "/api/usage/cleanup", `{"retention_days":7}`)
	if left := items(p.want(200, "GET", "/api/usage/logs", ""), "logs"); len(left) != 4 {
		t.Errorf("%d records are left, want 4", len(left))
	}
	if after := p.want(200, "GET", "/api/usage/summary", "").body; after != sum {
		t.Errorf("the sum was %s, is %s", sum, after)
	}
}
