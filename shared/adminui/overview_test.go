package adminui

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestOverview: sums of a period and an account, nodes and alerts that need someone, accounts for administrators.
func TestOverview(t *testing.T) {
	reply := map[string]string{"GET /admin/api/accounts": usageAccounts,
		"GET /api/usage/summary?from=2026-02-28T00%3A00%3A00Z&time_zone=UTC":                  `{"total_requests":3,"success_requests":2,"uncached_input_tokens":1234567,"total_input_tokens":1234567,"total_cost_usd":1.25}`,
		"GET /api/usage/summary?from=2026-02-28T00%3A00%3A00Z&group_by=hour&time_zone=UTC":    `{"summaries":[{"hour":"2026-02-28T01:00:00Z","total_requests":3,"success_requests":2}]}`,
		"GET /api/usage/summary?from=2026-02-28T00%3A00%3A00Z&group_by=account&time_zone=UTC": `{"summaries":[{"account_id":"b","total_requests":3}]}`,
		"GET /api/usage/summary?from=2026-02-28T00%3A00%3A00Z&group_by=model&time_zone=UTC":   `{"summaries":[{"model_id":"<script>m&x=1","total_requests":3}]}`,
		"GET /admin/api/nodes?account_id=b":                                                   `{"nodes":[{"id":"1","name":"<b>n</b>","state":"failed","state_reason":"<i>why"},{"id":"2","state":"online"},{"id":"3","state":"disabled","disabled":true}]}`,
		"GET /admin/api/nodes?account_id=default":                                             `{"nodes":[{"id":"4","state":"degraded"}]}`,
		"GET /api/alerts/rules?account_id=b":                                                  `{"rules":[{"id":"r","name":"<u>rule","kind":"error_rate","threshold":5,"enabled":true,"raised":true,"raised_at":"2026-02-28T00:00:00Z"},{"name":"calm","kind":"error_rate"}]}`,
		"GET /api/alerts/rules?account_id=default":                                            `403 {"error":"forbidden"}`,
		"GET /api/usage/summary?account_id=b&from=2026-02-28T00%3A00%3A00Z&time_zone=UTC":     `{"total_requests":1}`}
	f := newPoolFake(t, reply)
	w := f.get("/admin")
	f.has("all accounts", w, 200, "66.7%", "1,234,567", "$1.25", "2 / 4", "&lt;b&gt;n&lt;/b&gt;", "&lt;i&gt;why", "&lt;u&gt;rule", "above 5 % of requests fail", "!calm", "&lt;b&gt;B&lt;/b&gt;", "!<b>B", "!<u>rule",
		"/admin/nodes/1?account_id=b", "tab=rules&amp;account_id=b", "model_id=%3Cscript%3Em%26x%3D1&amp;span=24h", `href="/admin/usage?account_id=b&amp;span=24h"`, "By account")
	f.has("no hour is left out of the chart", w, 200, "[0,3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],[0,1,0")
	f.has("live", f.get("/admin", "HX-Request", "true", "HX-Target", "div#live"), 200, "66.7%", "!<html", "!<form")
	f.has("one account", f.get("/admin?account_id=b&span=24h"), 200, `value="b" selected`, "1 / 3", "!By account")
	f.has("no such span", f.get("/admin?span=%3Cb%3E"), 200, "66.7%", "!<b>")

	f.has("a day is all of its chart", f.get("/admin"), 200, "!data-mark")
	f.reply["GET /api/usage/summary?from=2026-02-28T23%3A00%3A00Z&time_zone=UTC"] = `{"total_requests":0}`
	f.has("an hour stands in the day before", f.get("/admin?span=1h"), 200, "[0,3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", `data-mark="[1772319600,1772323200]"`, "the last 24 hours", "!No requests in this period")

	own := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe})
	own.has("a tenant", own.get("/admin"), 200, "!By account", `!name="account_id"`, "No requests in this period")
	captured := newPoolFake(t, map[string]string{"GET /admin/api/accounts": `{"accounts":[{"id":"default","name":"<b>me","capturing":true,"capturing_until":"2026-03-02T00:00:00Z"},{"id":"b","name":"calm"}]}`})
	captured.has("whose bodies are kept", captured.get("/admin"), 200, "Bodies of requests of &lt;b&gt;me are kept until", `datetime="2026-03-02T00:00:00Z"`, "!requests of calm")
	captured.reply["GET /admin/api/me"] = personMe
	captured.has("who is captured sees it", captured.get("/admin"), 200, "Bodies of requests of &lt;b&gt;me are kept until", `!name="account_id"`)
	own.has("nobody is", own.get("/admin"), 200, "!are kept until")
	many := newPoolFake(t, map[string]string{"GET /admin/api/accounts": `{"accounts":[` + strings.Repeat(`{"id":"x"},`, maxLooked) + `{"id":"y"}]}`})
	many.has("too many to look at each", many.get("/admin"), 200, "of your own account")
	if many.asked("GET /admin/api/nodes?account_id=") {
		t.Errorf("%v", many.calls)
	}
}

// TestOverviewFollows: where the sums took long when they were made last, the page is there at once and they follow, at once,
// too, where parts are asked for.
func TestOverviewFollows(t *testing.T) {
	a := &api{signed: true, reply: map[string]string{"GET /api/usage/summary": `{"total_requests":3,"success_requests":2}`}}
	console := New(Options{API: a})
	of := ""
	page := func(htmx bool) string {
		w, r := httptest.NewRecorder(), requestOf("GET", "/admin"+of)
		if htmx {
			r.Header.Set("HX-Request", "true")
			r.Header.Set("HX-Target", "div#live")
		}
		console.ServeHTTP(w, r)
		return w.Body.String()
	}
	if p := page(false); !strings.Contains(p, "66.7%") || strings.Contains(p, "load, every") {
		t.Errorf("at first: %s", p)
	}
	console.pace.note("overview 24h default ", 2*deferAfter)
	a.calls = nil
	if p := page(false); strings.Contains(p, "66.7%") || !strings.Contains(p, `aria-busy="true"`) || !strings.Contains(p, `hx-trigger="load, every 10s"`) {
		t.Errorf("slow: %s", p)
	}
	if slices.ContainsFunc(a.calls, func(c string) bool { return strings.Contains(c, "/usage/") }) {
		t.Errorf("it asked all the same: %v", a.calls)
	}
	of = "?span=24h"
	if p := page(false); !strings.Contains(p, `<noscript><a class="btn" href="/admin?span=24h&amp;whole=1">`) {
		t.Errorf("nothing leads who has no scripts to the sums: %s", p)
	}
	of = "?span=24h&whole=1"
	if p := page(false); !strings.Contains(p, "66.7%") {
		t.Errorf("without scripts: %s", p)
	}
	console.pace.note("overview 24h default ", 2*deferAfter)
	of = ""
	if p := page(true); !strings.Contains(p, "66.7%") {
		t.Errorf("what follows: %s", p)
	}
	if p := page(false); !strings.Contains(p, "66.7%") { // which was quick
		t.Errorf("afterwards: %s", p)
	}
}
