package adminui

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const someWall = `{"account_id":"acc-b","account_name":"Team <b>B</b>","updated_at":"2026-01-02T12:30:00Z","total":2,"counts":{"all":2,"active":1,"failed":1},"traffic":{"success_rate":75,"total_requests":4,"failed_requests":1},"nodes":[
 {"id":"1","name":"<script>alert(1)</script>","url":"https://secret.example","state":"failed","circuit_open":true,"last_error":"status <b>500</b>","weight":77,"traffic":{"success_rate":75,"total_requests":4,"failed_requests":1,"avg_response_time":120},
  "health":{"status":"down","last_ping_err":"status <b>500</b>","check_method":"api","last_check_at":"2026-01-02T12:00:00Z"},
  "trend_24h":[{"timestamp":"2026-01-02T12:00:00Z","success_rate":50,"avg_time":10},{"timestamp":"2026-01-01T13:00:00Z","success_rate":100,"avg_time":10},{"timestamp":"2025-01-01T00:00:00Z","success_rate":1}]},
 {"id":"2","name":"b","state":"half_open","is_active":true,"traffic":{"success_rate":100},"health":{"status":"stale","check_method":"cli"},"trend_24h":[]}]}`

const token = "0123456789abcdef0123456789abcdef"

// TestMonitor: the wall with its trend, to who signed in and, without what is theirs, to who has a link.
func TestMonitor(t *testing.T) {
	a := &nodeAPI{me: adminMe, reply: map[string]string{"GET /api/monitor/dashboard": someWall, "GET /api/monitor/share/" + token: strings.Replace(someWall, `"url":"https://secret.example",`, "", 1)}}
	for _, c := range []struct {
		why, target, htmx string
		has, lacks        []string
	}{
		{"the wall", "/admin/monitor", "", []string{"&lt;script&gt;", "circuit open", "https://secret.example", "status &lt;b&gt;500", "0 h ago: 50.0%", "23 h ago: 100.0%", "Hours with requests: 2; lowest success: 50.0%", "on trial", "75.0%", "1 / 2", "Failed (1)", "Disabled (0)", `hx-trigger="every 10s"`, "/admin/nodes/1", ">77<", "Team B"}, []string{"<script>alert", "<b>500"}},
		{"its live part", "/admin/monitor", "div#live", []string{"circuit open"}, []string{"<!doctype"}},
		{"by a link", "/monitor/share/" + token, "", []string{"Nodes of Team &lt;b&gt;B", "circuit open", "0 h ago: 50.0%", `hx-get="/monitor/share/` + token, `name="lang"`, "Failed (1)"}, []string{"Disabled (", "secret.example", "/admin\"", "/admin/nodes", "Sign out", ">77<", "<b>B"}},
		{"its live part", "/monitor/share/" + token, "div#live", []string{"circuit open"}, []string{"<!doctype", "<h1"}},
	} {
		w := askNodes(a, "GET", c.target, nil, c.htmx)
		body := w.Body.String()
		if w.Code != 200 {
			t.Errorf("%s: %d", c.why, w.Code)
		}
		for _, s := range c.has {
			if !strings.Contains(body, s) {
				t.Errorf("%s: lacks %q: %s", c.why, s, body)
			}
		}
		for _, s := range c.lacks {
			if strings.Contains(body, s) {
				t.Errorf("%s: has %q: %s", c.why, s, body)
			}
		}
	}
}

// TestSharedRefusals: a link that opens nothing says so in the reader's language, and its page is not to be indexed.
func TestSharedRefusals(t *testing.T) {
	status := 404
	asked := 0
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		why, target, lang, htmx string
		status, want, asked     int
		has                     string
	}{
		{"unknown", "/monitor/share/" + token, "en", "", 404, 404, 1, "opens nothing"},
		{"in Chinese", "/monitor/share/" + token, "zh", "", 404, 404, 1, "此链接无效"},
		{"too many", "/monitor/share/" + token, "en", "", 429, 429, 1, "Too many requests"},
		{"no token at all", "/monitor/share/x%3Fy=%23", "en", "", 404, 404, 0, "opens nothing"},
		{"revoked while it is looked at", "/monitor/share/" + token, "en", "div#live", 404, 204, 1, ""},
	} {
		status, asked = c.status, 0
		r := requestOf("GET", c.target)
		r.Header.Set("Accept-Language", c.lang)
		if c.htmx != "" {
			r.Header.Set("HX-Request", "true")
			r.Header.Set("HX-Target", c.htmx)
		}
		w := httptest.NewRecorder()
		console := New(Options{API: api})
		console.ServeHTTP(w, r)
		body := w.Body.String()
		if w.Code != c.want || asked != c.asked || !strings.Contains(body, c.has) || strings.Contains(strings.ReplaceAll(body, assetPath, ""), "/admin") {
			t.Errorf("%s: %d, asked %d times: %s", c.why, w.Code, asked, body)
		}
		if w.Header().Get("X-Robots-Tag") != "noindex" {
			t.Errorf("%s: may be indexed", c.why)
		}
		if c.htmx != "" && w.Header().Get("HX-Redirect") != "/monitor/share/"+token {
			t.Errorf("%s: %v", c.why, w.Header())
		}
	}
}

// TestLanguageOfShare: the switch leads back to the link's page, and to no other site.
func TestLanguageOfShare(t *testing.T) {
	for back, want := range map[string]string{"/monitor/share/" + token: "/monitor/share/" + token, "/login": "/login", "//evil.example": "/admin", "https://evil.example/login": "/admin", "/v1/messages": "/admin"} {
		w := askNodes(&nodeAPI{me: adminMe}, "POST", "/login?do=language", url.Values{"lang": {"zh-CN"}, "back": {back}}, "")
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%q leads to %q", back, got)
		}
	}
}

// TestShares: links with their state; only those that work are shown, copied and revoked.
func TestShares(t *testing.T) {
	a := &nodeAPI{me: adminMe, reply: map[string]string{
		"GET " + sharesAPI: `{"shares":[{"id":"share-a","share_url":"https://s.example/monitor/share/aa","created_by":"<b>x</b>"},
 {"id":"share-b","share_url":"https://s.example/monitor/share/bb","expire_at":"2026-01-01T00:00:00Z"},{"id":"share-c","share_url":"javascript:alert(1)","revoked":true,"revoked_at":"2026-01-01T00:00:00Z"},
 {"id":"share-d","share_url":"javascript:alert(1)"}]}`,
		"POST " + sharesAPI: `{"id":"share-n","share_url":"https://s.example/monitor/share/nn"}`}}
	ask := func(method, target string, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		New(Options{API: a, Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }}).ServeHTTP(w, r)
		return w
	}
	body := ask("GET", "/admin/monitor/shares", nil).Body.String()
	for _, s := range []string{">valid<", ">expired<", ">revoked<", `href="https://s.example/monitor/share/aa"`, `data-copy="url-share-a"`, "&lt;b&gt;x"} {
		if !strings.Contains(body, s) {
			t.Errorf("lacks %q: %s", s, body)
		}
	}
	for _, s := range []string{`href="javascript:`, `data-copy="url-share-b"`, `data-copy="url-share-c"`, "share/bb", `value="share-c"`} {
		if strings.Contains(body, s) {
			t.Errorf("has %q: %s", s, body)
		}
	}
	if w := ask("POST", "/admin/monitor/shares?do=create&account_id=acc-b", url.Values{"expire_in": {"168h"}}); w.Code != 200 || !strings.Contains(w.Body.String(), `id="made" class="secret" href="https://s.example/monitor/share/nn"`) {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		do       string
		form     url.Values
		location string
	}{{"revoke", url.Values{"id": {"share-a"}, "confirm": {"delete"}}, "/admin/monitor/shares?done=monitor.revoked"}, {"bulk", url.Values{"ids": {"share-a", "../x?y"}, "confirm": {"delete"}}, "/admin/monitor/shares?done=monitor.bulk&done=2"}} {
		if w := ask("POST", "/admin/monitor/shares?do="+c.do, c.form); w.Code != 303 || w.Header().Get("Location") != c.location {
			t.Errorf("%s: %d to %q", c.do, w.Code, w.Header().Get("Location"))
		}
	}
	for _, word := range []string{"", "yes", "share-a"} {
		if w := ask("POST", "/admin/monitor/shares?do=revoke", url.Values{"id": {"share-a"}, "confirm": {word}}); w.Code != 400 || !strings.Contains(w.Body.String(), "Type delete to confirm") {
			t.Errorf("confirmed by %q: %d %s", word, w.Code, w.Body)
		}
	}
	if got, want := strings.Join(a.sent, "|"), `POST /api/monitor/shares {"account_id":"acc-b","expire_in":"168h"}|DELETE /api/monitor/shares/share-a |DELETE /api/monitor/shares/share-a |DELETE /api/monitor/shares/..%2Fx%3Fy `; got != want {
		t.Errorf("sent %s", got)
	}
	a.refuse = map[string]string{"POST " + sharesAPI: "expire_in: must be 1h", "DELETE " + sharesAPI + "/share-a": "share not found"}
	if w := ask("POST", "/admin/monitor/shares?do=create", url.Values{"expire_in": {"168h"}}); w.Code != 400 || !strings.Contains(w.Body.String(), "must be 1h") || !strings.Contains(w.Body.String(), `value="168h" selected`) {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	if w := ask("POST", "/admin/monitor/shares?do=revoke", url.Values{"id": {"share-a"}, "confirm": {"delete"}}); w.Code != 400 || !strings.Contains(w.Body.String(), "share not found") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
