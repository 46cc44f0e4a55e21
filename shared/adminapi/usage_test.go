package adminapi_test

import (
	"math"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// used sends n requests that each use 10 + 2 tokens in and 3 out.
func (w *world) used(key string, n int) {
	w.t.Helper()
	w.up.Default(upstreamtest.Reply(upstreamtest.Text("Hi")).Usage(upstreamtest.Usage{Input: 10, CacheRead: 2, Output: 3}))
	for range n {
		if status, _ := w.ask(key); status != 200 {
			w.t.Fatalf("status %d", status)
		}
		w.Advance(time.Second)
	}
}

// TestUsageSummary: the fields of seed-systems 1.6; a report without account_id covers all.
func TestUsageSummary(t *testing.T) {
	w := start(t)
	beta := w.account("beta", "beta-proxy-key-4567")
	w.node("beta-proxy-key-4567", "b", w.up.URL, 1)
	w.used(proxyKey, 2)
	w.used("beta-proxy-key-4567", 3)
	one := w.admin(200, "GET", "/api/usage/logs?limit=1", "").List("logs")[0]["cost_usd"].(float64)
	if one < 0.00007 || one > 0.00008 { // 10 tokens at $3, 2 at $0.30 and 3 at $15 a million
		t.Errorf("a request costs %v", one)
	}
	for _, c := range []struct {
		reason, target string
		requests       float64
		account        any
	}{
		{"all accounts", "/api/usage/summary", 5, nil},
		{"one account", "/api/usage/summary?account_id=" + beta, 3, beta},
		{"another", "/api/usage/summary?account_id=default", 2, "default"},
		{"one that is not", "/api/usage/summary?account_id=acc-nobody", 0, "acc-nobody"},
		{"a model", "/api/usage/summary?model_id=claude-sonnet-4-5-20250929", 5, nil},
		{"another model", "/api/usage/summary?model_id=claude-none", 0, nil},
		{"before everything", "/api/usage/summary?to=2001-01-01T00:00:00Z", 0, nil},
		{"a plus that nobody escaped", "/api/usage/summary?from=2001-01-01T00:00:00+08:00", 5, nil},
	} {
		got := w.admin(200, "GET", c.target, "").JSON()
		want := map[string]any{"total_requests": c.requests, "success_requests": c.requests, "total_input_tokens": 12 * c.requests, "total_output_tokens": 3 * c.requests,
			"total_cost_usd": math.Round(c.requests*one*1e6) / 1e6, "unpriced_requests": 0.0, "account_id": c.account}
		for f, v := range want {
			if got[f] != v {
				t.Errorf("%s: %s is %v, want %v", c.reason, f, got[f], v)
			}
		}
	}
	for by, field := range map[string]string{"model": "model_id", "node": "node_id", "key": "key_id", "account": "account_id", "hour": "hour"} {
		list := w.admin(200, "GET", "/api/usage/summary?group_by="+by, "").List("summaries")
		var n, usd float64
		for _, s := range list {
			n += s["total_requests"].(float64)
			usd += s["total_cost_usd"].(float64)
			if s[field] == nil {
				t.Errorf("group_by=%s: a sum without %s: %v", by, field, s)
			}
		}
		if n != 5 || math.Abs(usd-5*one) > 1e-9 {
			t.Errorf("group_by=%s sums to %v requests of $%v", by, n, usd)
		}
		if by == "account" && (len(list) != 2 || list[0]["account_id"] != beta) {
			t.Errorf("the largest is not first: %v", list)
		}
	}
	if mine := w.tenant(200, "beta-proxy-key-4567", "GET", "/api/usage/summary", "").JSON(); mine["total_requests"] != 3.0 || mine["account_id"] != beta {
		t.Errorf("a tenant's own sum: %v", mine)
	}
}

// TestUsageLogs: newest first, in pages, by offset or by cursor, without content.
func TestUsageLogs(t *testing.T) {
	w := start(t)
	w.used(proxyKey, 5)
	w.up.Queue(upstreamtest.Status(400, "no"))
	w.ask(proxyKey)
	ids := func(target string) (out []string) {
		t.Helper()
		a := w.admin(200, "GET", target, "")
		for _, l := range a.List("logs") {
			out = append(out, l["request_id"].(string))
		}
		if a.JSON()["count"] != float64(len(out)) {
			t.Errorf("%s: count %v of %d", target, a.JSON()["count"], len(out))
		}
		return out
	}
	all := ids("/api/usage/logs")
	if len(all) != 6 {
		t.Fatalf("%d logs, want 6", len(all))
	}
	first := w.admin(200, "GET", "/api/usage/logs?limit=2", "")
	l := first.List("logs")
	if l[0]["success"] != false || l[0]["status"] != 400.0 || l[1]["success"] != true {
		t.Errorf("newest first: %v", l)
	}
	for _, f := range []string{"id", "account_id", "node_id", "model_id", "input_tokens", "output_tokens", "cost_usd", "request_id", "success", "created_at",
		"key_id", "node_name", "endpoint", "stream", "attempts", "estimated", "first_byte_ms", "total_ms"} {
		if _, ok := l[1][f]; !ok {
			t.Errorf("a log has no %s: %v", f, l[1])
		}
	}
	for f, want := range map[string]any{"account_id": "default", "node_name": "alpha-node-1", "model_id": "claude-sonnet-4-5-20250929", "input_tokens": 12.0,
		"output_tokens": 3.0, "attempts": 1.0, "estimated": false, "stream": false, "endpoint": "/v1/messages"} {
		if l[1][f] != want {
			t.Errorf("%s is %v, want %v", f, l[1][f], want)
		}
	}
	if s := l[1]["created_at"].(string); !strings.HasSuffix(s, "Z") {
		t.Errorf("created_at %q is not UTC", s)
	}
	if strings.Contains(string(first.Body), "Hello") {
		t.Error("the log holds content")
	}
	var paged []string
	target := "/api/usage/logs?limit=2"
	for cursor := ""; ; {
		a := w.admin(200, "GET", target+"&cursor="+url.QueryEscape(cursor), "")
		for _, l := range a.List("logs") {
			paged = append(paged, l["request_id"].(string))
		}
		if cursor = a.Text("next_cursor"); cursor == "" {
			break
		}
	}
	if !reflect.DeepEqual(paged, all) {
		t.Errorf("pages give %d of %d", len(paged), len(all))
	}
	for _, c := range []struct {
		target string
		want   []string
	}{
		{"/api/usage/logs?offset=4", all[4:]}, {"/api/usage/logs?offset=1&limit=3", all[1:4]}, {"/api/usage/logs?offset=99", nil},
		{"/api/usage/logs?node_id=nobody", nil}, {"/api/usage/logs?limit=1000", all}, {"/api/usage/logs?model_id=x", nil},
	} {
		if got := ids(c.target); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d logs, want %d", c.target, len(got), len(c.want))
		}
	}
}

// TestBadQueries: a report is never silently of something else.
func TestBadQueries(t *testing.T) {
	w := start(t)
	for _, q := range []string{"limit=0", "limit=1001", "limit=-1", "limit=many", "offset=-1", "offset=1000000", "from=yesterday", "to=2026-13-01T00:00:00Z",
		"from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "cursor=made-up", "limit=1e2"} {
		if text := errorOf(t, w.admin(400, "GET", "/api/usage/logs?"+q, "")); !strings.HasPrefix(text, q[:strings.Index(q, "=")]) {
			t.Errorf("%s: the error does not name it: %s", q, text)
		}
	}
	for _, q := range []string{"group_by=colour", "group_by=MODEL", "from=1", "group_by=node'--"} {
		errorOf(t, w.admin(400, "GET", "/api/usage/summary?"+q, ""))
	}
	errorOf(t, w.Want(401, "GET", "/api/usage/summary", ""))
	errorOf(t, w.Want(401, "GET", "/api/usage/logs", ""))
}

// A store that is away is no mistake of who goes on with a cursor.
func TestCursorWhileTheStoreIsAway(t *testing.T) {
	p := newPool(t, nil)
	many := &manyRecords{n: 10, failAt: 1}
	p.serve(func(o *optionsOf) { many.Usage, o.Usage = o.Usage, many })
	for _, path := range []string{"/api/usage/logs?cursor=5", "/api/usage/export?cursor=5"} {
		p.want(500, "GET", path, "")
	}
}
