package adminapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// TestHealthHistory: the newest N in ascending order (seed-systems 1.18, lesson 1.6.1), of the window alone.
func TestHealthHistory(t *testing.T) {
	docs := &countedDocs{}
	p := newPoolOver(t, nil, func(d store.Docs) store.Docs { docs.Docs = d; return docs })
	id, next := p.made("default", anthropicNode), p.made("default", anthropicNode)
	now := p.clock() // 12:30
	at := func(d time.Duration) time.Time { return now.Add(d) }
	p.day("default", id, core.HealthCheck{At: at(-72 * time.Hour), OK: true, MS: 1, Method: "api", Source: "scheduled"})
	p.day("default", id, core.HealthCheck{At: at(-23 * time.Hour), OK: true, MS: 2, Method: "api", Source: "scheduled"})
	p.day("default", id, core.HealthCheck{At: at(-2 * time.Hour), MS: 3, Error: "status 500", Method: "proxy", Source: "proxy_fail", Condition: core.Failed},
		core.HealthCheck{At: at(-time.Hour), OK: true, MS: 4, Method: "api", Source: "recovery", Condition: core.Online},
		core.HealthCheck{At: at(-time.Minute), OK: true, MS: 5, Method: "api", Source: "scheduled"})
	p.day("default", next, core.HealthCheck{At: at(-3 * time.Hour), OK: true, MS: 99})

	path := "/api/nodes/" + id + "/health-history"
	for _, c := range []struct{ why, query, want, total string }{
		{"the last 24 hours", "", "2 3 4 5", "4"},
		{"the newest two, oldest first", "?limit=2", "4 5", "4"},
		{"the two before", "?limit=2&offset=2", "2 3", "4"},
		{"beyond the end", "?offset=4", "", "4"},
		{"one source", "?source=scheduled", "2 5", "2"},
		{"a window", "?from=" + at(-2*time.Hour).Format(time.RFC3339) + "&to=" + at(-time.Minute).Format(time.RFC3339), "3 4", "2"},
		{"a window in another zone, with a plus that nobody escaped", "?from=2026-03-10T18:30:00+08:00", "3 4 5", "3"},
		{"all days", "?from=2026-01-01T00:00:00Z", "1 2 3 4 5", "5"},
		{"a window before everything", "?from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z", "", "0"},
		{"an end far away", "?to=9999-12-31T23:59:59Z", "2 3 4 5", "4"},
		{"the year 2 to 9999 reads no more than what is kept", "?from=0002-01-01T00:00:00Z&to=9999-12-31T23:59:59Z", "1 2 3 4 5", "5"},
	} {
		lists := docs.lists.Load()
		a := p.want(200, "GET", path+c.query, "")
		var got []string
		for _, k := range items(a, "checks") {
			got = append(got, fmt.Sprint(k["response_time_ms"]))
		}
		if m := a.json(); strings.Join(got, " ") != c.want || fmt.Sprint(m["total"]) != c.total || m["node_id"] != id || m["from"] == nil || m["to"] == nil {
			t.Errorf("%s: %v of %v, want %s of %s", c.why, got, m["total"], c.want, c.total)
		}
		if n := docs.lists.Load() - lists; n != 1 {
			t.Errorf("%s: %d listings", c.why, n)
		}
	}
	sameKeys(t, "a check", items(p.want(200, "GET", path+"?limit=1&source=proxy_fail", ""), "checks")[0],
		"check_time", "success", "response_time_ms", "error_message", "check_method", "check_source", "state")
	for _, q := range []string{"limit=0", "limit=2001", "limit=x", "offset=-1", "source=moon", "from=yesterday", "to=2026", "from=2026-03-10T12:00:00Z&to=2026-03-10T12:00:00Z"} {
		p.want(400, "GET", path+"?"+q, "")
	}
	for _, bad := range []string{"0", "01", "-1", "9999", "x", "..", "%00", strings.Repeat("9", 400)} {
		p.want(404, "GET", "/api/nodes/"+bad+"/health-history", "")
	}
	p.want(200, "DELETE", "/admin/api/nodes?id="+id, "")
	p.want(404, "GET", path, "")
	if rows, err := p.tables.Days.All(t.Context(), "default"); err != nil || len(rows) != 1 || rows[0].Value.Node != next {
		t.Errorf("days left of a deleted node: %v, %v", rows, err)
	}
}

// TestDashboard: the older monitor's object, and what it says of nodes in each condition.
func TestDashboard(t *testing.T) {
	p := newPool(t, nil)
	now := p.clock()
	good := p.made("default", `{"name":"good","base_url":"https://good.example","api_key":"k","weight":1}`)
	slow := p.made("default", `{"name":"slow","base_url":"https://slow.example","api_key":"k","weight":2}`)
	down := p.made("default", `{"name":"down","base_url":"https://down.example","api_key":"k","weight":3}`)
	off := p.made("default", `{"name":"off","base_url":"https://off.example","api_key":"k","weight":4}`)
	p.want(200, "POST", "/admin/api/nodes/activate", `{"id":"`+good+`"}`)
	p.want(200, "POST", "/admin/api/nodes/disable", `{"id":"`+off+`"}`)
	p.failed("default", down, "status 503: see https://down.example/help")
	if _, err := p.tables.States.Create(t.Context(), core.NodeState{Node: slow, Account: "default", Degraded: core.DegradedSlow, Since: now}); err != nil {
		t.Fatal(err)
	}
	p.saw("default", good, core.HealthCheck{At: now.Add(-time.Minute), OK: true, MS: 12, Method: "api"})
	p.saw("default", down, core.HealthCheck{At: now.Add(-time.Minute), MS: 13, Error: "connection refused", Method: "head"})
	p.saw("default", slow, core.HealthCheck{At: now.Add(-11 * time.Minute), OK: true, MS: 14})
	for i := range 4 {
		rec := core.Settlement{RequestID: fmt.Sprint("r", i), Account: "default", Node: good, Status: 200, StartedAt: now.Add(-time.Duration(i) * time.Hour), Attempts: 1}
		if i == 3 {
			rec.Status = 500
		}
		rec.EndedAt = rec.StartedAt.Add(200 * time.Millisecond)
		if err := p.store.Settle(t.Context(), store.SettleRequest{ID: rec.RequestID, Account: "default", Now: now, Zone: time.UTC, Record: rec}); err != nil {
			t.Fatal(err)
		}
	}
	a := p.want(200, "GET", "/api/monitor/dashboard", "")
	m := a.json()
	sameKeys(t, "the dashboard", m, "account_id", "account_name", "updated_at", "nodes")
	nodes := items(a, "nodes")
	if len(nodes) != 4 || m["account_id"] != "default" || m["updated_at"] != now.Format(time.RFC3339) {
		t.Fatalf("dashboard %s", a.body)
	}
	sameKeys(t, "a node", nodes[0], "id", "name", "url", "status", "state", "state_since", "weight", "is_active", "circuit_open", "disabled", "last_error", "traffic", "health", "trend_24h")
	for i, want := range []struct{ id, status, state, health string }{{good, "online", "online", "up"}, {slow, "degraded", "degraded", "stale"}, {down, "offline", "failed", "down"}, {off, "disabled", "disabled", "stale"}} {
		n := nodes[i]
		h := n["health"].(map[string]any)
		if n["id"] != want.id || n["status"] != want.status || n["state"] != want.state || h["status"] != want.health {
			t.Errorf("node %d: id %v, %v, %v, health %v; want %v", i, n["id"], n["status"], n["state"], h["status"], want)
		}
		sameKeys(t, "health", h, "status", "last_check_at", "last_ping_ms", "last_ping_err", "check_method")
	}
	if n := nodes[0]; n["is_active"] != true || n["url"] != "https://good.example" || n["circuit_open"] != false || n["weight"] != 1.0 {
		t.Errorf("the good node: %v", n)
	}
	if n := nodes[2]; n["circuit_open"] != true || n["is_active"] != false || n["last_error"] == "" || n["health"].(map[string]any)["last_ping_err"] != "connection refused" {
		t.Errorf("the failed node: %v", n)
	}
	if tr := nodes[0]["traffic"].(map[string]any); tr["success_rate"] != 75.0 || tr["avg_response_time"] != 200.0 || tr["total_requests"] != 4.0 || tr["failed_requests"] != 1.0 {
		t.Errorf("traffic %v", tr)
	}
	trend := nodes[0]["trend_24h"].([]any)
	if len(trend) != 4 || len(nodes[1]["trend_24h"].([]any)) != 0 {
		t.Fatalf("trend %v", trend)
	}
	if first, last := trend[0].(map[string]any), trend[3].(map[string]any); first["success_rate"] != 0.0 || first["timestamp"] != "2026-03-10T09:00:00Z" || last["success_rate"] != 100.0 || last["avg_time"] != 200.0 {
		t.Errorf("trend %v", trend)
	}
}

// TestDashboardCostsTheSameForManyNodes: no store trip for each node, and none for an hour that is known.
func TestDashboardCostsTheSameForManyNodes(t *testing.T) {
	docs := &countedDocs{}
	p := newPoolOver(t, nil, func(d store.Docs) store.Docs { docs.Docs = d; return docs })
	now := p.clock()
	settle := func(id, node string, at time.Time) {
		rec := core.Settlement{RequestID: id, Account: "default", Node: node, Status: 200, StartedAt: at, EndedAt: at.Add(time.Second)}
		if err := p.store.Settle(t.Context(), store.SettleRequest{ID: id, Account: "default", Now: at, Zone: time.UTC, Record: rec}); err != nil {
			t.Fatal(err)
		}
	}
	look := func(target string) (trips, sums int64) {
		g, l, s := docs.gets.Load(), docs.lists.Load(), p.sums.n.Load()
		p.want(200, "GET", target, "")
		return docs.gets.Load() - g + docs.lists.Load() - l, p.sums.n.Load() - s
	}
	var trips [2]int64
	for round, target := range []string{"/api/monitor/dashboard", "/admin/api/nodes"} {
		for i := range 20 {
			id := p.made("default", anthropicNode)
			settle(fmt.Sprint("a", round, i), id, now.Add(-5*time.Hour))
			settle(fmt.Sprint("b", round, i), id, now)
			if i == 0 {
				look(target)
				trips[round], _ = look(target)
			}
		}
		look(target)
		if n, _ := look(target); n != trips[round] {
			t.Errorf("%s: %d trips with more nodes, %d with one", target, n, trips[round])
		}
	}
	look("/api/monitor/dashboard")
	if _, sums := look("/api/monitor/dashboard"); sums != 3 {
		t.Errorf("%d sums when nothing happened since, want those by day, of the last hours by node, and by hour", sums)
	}
	settle("late", "1", now)
	if _, sums := look("/api/monitor/dashboard"); sums != 4 {
		t.Errorf("%d sums when one hour changed", sums)
	}
	n := items(p.want(200, "GET", "/api/monitor/dashboard", ""), "nodes")
	if tr := n[0]["trend_24h"].([]any); len(tr) != 2 {
		t.Errorf("trend %v", tr)
	}
}

// share makes a share and returns it.
func (p *pool) shared(account, expire string) map[string]any {
	p.t.Helper()
	return p.want(201, "POST", "/api/monitor/shares", fmt.Sprintf(`{"account_id":%q,"expire_in":%q}`, account, expire)).json()
}

// TestShares: made, listed, used without a login, and ended.
func TestShares(t *testing.T) {
	p := newPool(t, nil)
	for _, c := range []struct {
		in   string
		life time.Duration
	}{{"1h", time.Hour}, {"24h", 24 * time.Hour}, {"168h", 168 * time.Hour}, {"permanent", 0}} {
		s := p.shared("acc-beta", c.in)
		token := s["token"].(string)
		if len(token) != 32 || s["share_url"] != "http://example.com/monitor/share/"+token || s["created_at"] == nil || s["account_id"] != "acc-beta" || s["created_by"] != "default" {
			t.Errorf("%s: %v", c.in, s)
		}
		if want := p.clock().Add(c.life).Format(time.RFC3339); c.life > 0 && s["expire_at"] != want || c.life == 0 && s["expire_at"] != nil {
			t.Errorf("%s ends at %v", c.in, s["expire_at"])
		}
		a := p.call("GET", "/api/monitor/share/"+token, "")
		if a.status != 200 || a.json()["account_id"] != "acc-beta" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("X-Robots-Tag") != "noindex" {
			t.Errorf("%s: %d %v %s", c.in, a.status, a.header, a.body)
		}
		if r, err := p.tables.Shares.Get(t.Context(), s["id"].(string)); err != nil || strings.Contains(fmt.Sprintf("%+v", r), token) {
			t.Errorf("the token is stored in the clear: %+v, %v", r, err)
		}
	}
	list := items(p.want(200, "GET", "/api/monitor/shares?account_id=acc-beta", ""), "shares")
	if len(list) != 4 || len(items(p.want(200, "GET", "/api/monitor/shares", ""), "shares")) != 0 || len(items(p.want(200, "GET", "/api/monitor/shares?account_id=acc-beta&limit=3&offset=2", ""), "shares")) != 2 {
		t.Fatalf("%d shares", len(list))
	}
	sameKeys(t, "a share", list[0], "id", "account_id", "token", "share_url", "expire_at", "created_at", "created_by", "revoked", "revoked_at")
	gone := func(token, why string) {
		t.Helper()
		for _, target := range []string{"/api/monitor/share/" + token, "/monitor/share/" + token} {
			a := p.call("GET", target, "")
			if a.status != 404 || a.json()["code"] != "SHARE_NOT_FOUND" || a.json()["error"] != "share not found" {
				t.Errorf("%s: %d %s", why, a.status, a.body)
			}
		}
		if a := p.call("GET", "/api/nodes/1/health-history?share_token="+token, ""); a.status != 404 || a.json()["code"] != "SHARE_NOT_FOUND" {
			t.Errorf("%s, of a node's history: %d %s", why, a.status, a.body)
		}
	}
	hour, day := p.shared("default", "1h"), p.shared("default", "24h")
	for range 2 { // again is no error
		if a := p.want(204, "DELETE", "/api/monitor/shares/"+day["id"].(string), ""); a.body != "" {
			t.Errorf("204 with a body: %s", a.body)
		}
	}
	gone(day["token"].(string), "revoked")
	p.advance(time.Hour)
	gone(hour["token"].(string), "expired")
	gone(strings.Repeat("a", 32), "unknown")
	gone(strings.ToUpper(list[0]["token"].(string)), "in capitals")
	gone("x", "no token at all")
	gone("%00", "hostile")
	if n := len(items(p.want(200, "GET", "/api/monitor/shares", ""), "shares")); n != 1 {
		t.Errorf("%d shares without the revoked one", n)
	}
	if l := items(p.want(200, "GET", "/api/monitor/shares?include_revoked=true", ""), "shares"); len(l) != 2 || l[0]["revoked_at"] == nil && l[1]["revoked_at"] == nil {
		t.Errorf("with the revoked one: %v", l)
	}
	if a := p.want(404, "DELETE", "/api/monitor/shares/share-nobody", ""); a.json()["code"] != "SHARE_NOT_FOUND" {
		t.Errorf("revoking what there is not: %s", a.body)
	}
	for _, body := range []string{`{}`, `{"expire_in":"2h"}`, `{"expire_in":""}`, `{"expire_in":1}`, `null`, ``, `[]`} {
		p.want(400, "POST", "/api/monitor/shares", body)
	}
	p.want(404, "POST", "/api/monitor/shares", `{"account_id":"acc-nobody","expire_in":"1h"}`)
	p.want(400, "GET", "/api/monitor/shares?include_revoked=maybe", "")
}

// TestSharesAreBounded: a hundred; those that ended make way.
func TestSharesAreBounded(t *testing.T) {
	p := newPool(t, nil)
	first := p.shared("default", "1h")
	for range 99 {
		p.shared("default", "permanent")
	}
	p.want(400, "POST", "/api/monitor/shares", `{"expire_in":"1h"}`)
	p.advance(2 * time.Hour)
	p.shared("default", "permanent")
	p.want(400, "POST", "/api/monitor/shares", `{"expire_in":"1h"}`)
	if _, err := p.tables.Shares.Get(t.Context(), first["id"].(string)); !store.Missing(err) {
		t.Errorf("the expired share is still kept: %v", err)
	}
	p.want(201, "POST", "/api/monitor/shares?account_id=acc-beta", `{"account_id":"acc-beta","expire_in":"1h"}`)
}

// TestShareShowsNoSecrets: neither where nodes are nor what their upstreams said, nor anything that needs a login.
func TestShareShowsNoSecrets(t *testing.T) {
	p := newPool(t, nil)
	now := p.clock()
	named := p.made("default", `{"name":"<script>","base_url":"https://relay-7.internal.example:8443/base","api_key":"sk-ant-hidden"}`)
	unnamed := p.made("default", `{"base_url":"https://relay-8.internal.example","api_key":"sk-ant-hidden"}`)
	off := p.made("default", `{"name":"switched-off","base_url":"https://relay-9.internal.example"}`)
	other := p.made("acc-beta", `{"name":"betas","base_url":"https://beta.internal.example"}`)
	p.want(200, "POST", "/admin/api/nodes/disable", `{"id":"`+off+`"}`)
	p.failed("default", named, "status 401: key sk-ant-hidden is not known at relay-7.internal.example")
	p.failed("default", unnamed, "dial tcp 10.1.2.3:443: no route")
	leak := core.HealthCheck{At: now.Add(-time.Minute), Error: "status 500: http://relay-7.internal.example said sk-ant-hidden", Source: "scheduled", Method: "api"}
	p.saw("default", named, leak)
	p.day("default", named, leak)
	token := p.shared("default", "1h")["token"].(string)
	history := "/health-history?share_token=" + token
	for _, target := range []string{"/api/monitor/share/" + token, "/api/nodes/" + named + history, "/monitor/share/" + token} {
		a := p.call("GET", target, "", "Accept", map[bool]string{true: "text/html", false: "*/*"}[strings.HasPrefix(target, "/monitor")])
		if a.status != 200 {
			t.Fatalf("%s: %d %s", target, a.status, a.body)
		}
		for _, s := range []string{"internal", "relay-", "10.1.2.3", "sk-ant", "https:", "http:", "<script>", "switched-off", "betas", token} {
			if strings.Contains(a.body, s) && (s != "<script>" || strings.Contains(a.header.Get("Content-Type"), "html")) {
				t.Errorf("%s shows %q: %s", target, s, a.body)
			}
		}
		if !strings.Contains(a.body, "status 401") && !strings.Contains(a.body, "status 500") {
			t.Errorf("%s does not say what is wrong: %s", target, a.body)
		}
	}
	nodes := items(p.call("GET", "/api/monitor/share/"+token, ""), "nodes")
	if len(nodes) != 2 || nodes[1]["name"] != "node "+unnamed || nodes[1]["last_error"] != "error" || nodes[0]["url"] != nil {
		t.Errorf("nodes %v", nodes)
	}
	for _, id := range []string{off, other, "999"} {
		if a := p.call("GET", "/api/nodes/"+id+history, ""); a.status != 404 {
			t.Errorf("the history of node %s: %d %s", id, a.status, a.body)
		}
	}
	for _, target := range []string{"/api/monitor/dashboard", "/api/monitor/shares", "/admin/api/nodes", "/api/notification/channels", "/api/usage/summary", "/admin/accounts"} {
		for _, more := range []string{"?share_token=" + token, "?token=" + token} {
			if a := p.call("GET", target+more, "", "x-share-token", token); a.status != 401 {
				t.Errorf("%s with a share's token: %d", target, a.status)
			}
		}
	}
	if a := p.call("GET", "/api/monitor/shares", "", "x-api-key", token); a.status != 401 {
		t.Errorf("a share's token as a key: %d", a.status)
	}
}
