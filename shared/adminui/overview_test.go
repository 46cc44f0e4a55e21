package adminui

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestOverview: sums of a period and an account, nodes and alerts that need someone, accounts for administrators.
func TestOverview(t *testing.T) {
	reply := map[string]string{"GET /admin/api/accounts": usageAccounts,
		"GET /api/usage/summary?from=2026-02-28T00%3A00%3A00Z&time_zone=UTC":                  `{"total_requests":3,"success_requests":2,"uncached_input_tokens":1234567,"total_input_tokens":1234567,"total_cost_usd":1.25,"bytes":999999999}`,
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
	f.has("how much of it", w, 200, "1GB", "<div class=\"h1 mb-0\">0</div><div class=\"text-secondary\">857.34 tokens a minute</div>", "100.0%", "!By node")
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
	many.has("too many to look at each", many.get("/admin"), 200, "of your own account", "Looked at accounts: 0 of 21.", `hx-get="/admin?look=0" hx-trigger="load" hx-target="#others"`)
	if many.asked("GET /admin/api/nodes?account_id=") {
		t.Errorf("%v", many.calls)
	}
}

// TestOverviewOthers: of more accounts than are looked at at once the others are, too, part after part, and each part says how
// many were. What one may not see and what is gone stops nothing; what cannot be told is no good news.
func TestOverviewOthers(t *testing.T) {
	const accounts = 45
	rows := make([]string, accounts)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"id":"a%d","name":"<b>%d"}`, i, i)
	}
	rows[3] = `{"id":"default","name":"mine"}`
	f := newPoolFake(t, map[string]string{"GET /admin/api/accounts": `{"accounts":[` + strings.Join(rows, ",") + `]}`,
		"GET /admin/api/nodes?account_id=a2":       `{"nodes":[{"id":"7","name":"<i>n","state":"failed","state_reason":"why"}]}`,
		"GET /admin/api/nodes?account_id=a5":       `404 {"error":"account not found"}`,
		"GET /api/alerts/rules?account_id=a6":      `403 {"error":"forbidden"}`,
		"GET /api/alerts/rules?account_id=a44":     `{"rules":[{"id":"r","name":"<u>rule","kind":"error_rate","threshold":5,"enabled":true,"raised":true}]}`,
		"GET /admin/api/nodes?account_id=default":  `{"nodes":[{"id":"1","name":"own","state":"failed"}]}`,
		"GET /api/alerts/rules?account_id=default": `{}`})
	part := func(look, target string) *httptest.ResponseRecorder {
		return f.get("/admin?span=24h&look="+look, "HX-Request", "true", "HX-Target", target)
	}
	f.has("all at once where that is quick", part("0", "div#others"), 200, "!<html", "&lt;i&gt;n</strong></a> (&lt;b&gt;2): failed: why", "/admin/nodes/7?account_id=a2", "&lt;u&gt;rule", "(&lt;b&gt;44)", "!>own<", "Looked at accounts: 45 of 45.", `hx-trigger="every 300s" hx-target="#others"`)
	f.has("the rest", part("40", "div#others-40"), 200, "!&lt;i&gt;n", "&lt;u&gt;rule", "Looked at accounts: 45 of 45.")
	for _, look := range []string{"-7", "x", "99"} {
		f.has("a number that is none, "+look, part(look, "div#others"), 200, "Looked at accounts: ")
	}
	f.reply["GET /admin/api/nodes?account_id=a9"] = `500 {"error":"the store is away"}`
	f.has("what cannot be told", part("0", "div#others"), 500, "!of 45")
	delete(f.reply, "GET /admin/api/nodes?account_id=a9")

	synctest.Test(t, func(t *testing.T) { // where each takes its time
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == nodesAPI {
				time.Sleep(lookFor / 20)
			}
			f.ServeHTTP(w, r)
		})
		at, all := "0", ""
		for range 3 {
			r := httptest.NewRequest("GET", "/admin?look="+at, nil)
			r.Header.Set("Accept", "text/html")
			r.Header.Set("HX-Request", "true")
			r.Header.Set("HX-Target", "p#others-"+at)
			w := httptest.NewRecorder()
			New(Options{API: slow}).ServeHTTP(w, r)
			all += w.Body.String()
			_, at, _ = strings.Cut(w.Body.String(), `id="others-`)
			at, _, _ = strings.Cut(at, `"`)
		}
		f.has("in parts", &httptest.ResponseRecorder{Code: 200, Body: bytes.NewBufferString(all)}, 200, "Looked at accounts: 21 of 45.", `hx-get="/admin?look=21" hx-trigger="load" hx-swap="outerHTML"`, "Looked at accounts: 41 of 45.", "Looked at accounts: 45 of 45.", "&lt;u&gt;rule")
		if strings.Count(all, "&lt;i&gt;n") != 1 {
			t.Errorf("an account is looked at twice: %s", all)
		}
	})
}

// TestOverviewByNode: of one account it shows which nodes the requests went to, in a part that the page does not wait for.
func TestOverviewByNode(t *testing.T) {
	const sums = "GET /api/usage/summary?account_id=b&from=2026-02-28T00%3A00%3A00Z&group_by=node&time_zone=UTC"
	f := newPoolFake(t, map[string]string{"GET /admin/api/accounts": usageAccounts,
		sums:                                `{"summaries":[{"node_id":"7","total_requests":1},{"node_id":"","total_requests":1},{"node_id":"8","total_requests":6}]}`,
		"GET /admin/api/nodes?account_id=b": `{"nodes":[{"id":"8","name":"<b>n"}]}`})
	page := f.get("/admin?account_id=b")
	f.has("the page", page, 200, `id="bynode" hx-get="/admin?account_id=b" hx-trigger="load, every 120s"`, `href="/admin/usage?account_id=b&amp;span=24h&amp;tab=node"`)
	if f.asked(sums) {
		t.Error("the page waits for it")
	}
	w := f.get("/admin?account_id=b", "HX-Request", "true", "HX-Target", "div#bynode")
	f.has("the part", w, 200, "!<html", "&lt;b&gt;n", "75.0%", "12.5%", ">#7<", "(no node was reached)", "node_id=8&amp;span=24h")
	if s := w.Body.String(); strings.Index(s, "75.0%") > strings.Index(s, "12.5%") {
		t.Errorf("the busiest is not the first: %s", s)
	}
	tenant := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /admin/api/nodes": `403 {"error":"forbidden"}`})
	tenant.has("a tenant", tenant.get("/admin"), 200, `id="bynode"`)
	tenant.has("who may not see nodes", tenant.get("/admin", "HX-Request", "true", "HX-Target", "div#bynode"), 200, "<table")
	f.has("of several accounts there is none", f.get("/admin"), 200, "!bynode")
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
	if p := page(false); !strings.Contains(p, "66.7%") || strings.Contains(p, "load, every 10s") {
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
