package adminapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/web"
)

type optionsOf = adminapi.Options

// serve starts the API anew with other options.
func (p *pool) serve(change func(*optionsOf)) {
	o := p.o
	change(&o)
	p.h = web.Wrap(adminapi.New(o), web.Options{Log: o.Log, Error: adminapi.WriteError, Draining: &web.Drain{}})
}

// watched is an account with one of everything.
type watchedAccount struct{ account, node, share, token, channel, subscription, rule string }

func (p *pool) everything(account string) watchedAccount {
	p.t.Helper()
	w := watchedAccount{account: account, node: p.made(account, anthropicNode), channel: p.channel(account)}
	s := p.shared(account, "permanent")
	w.share, w.token = s["id"].(string), s["token"].(string)
	w.subscription = items(p.want(201, "POST", "/api/notification/subscriptions", `{"channel_id":"`+w.channel+`","event_types":["node.failed"]}`), "subscriptions")[0]["id"].(string)
	w.rule = p.want(201, "POST", "/api/alerts/rules?account_id="+account, `{"name":"secret-rule","kind":"spend_day","threshold":9}`).json()["id"].(string)
	p.day(account, w.node, core.HealthCheck{At: p.clock().Add(-time.Minute), OK: true, MS: 77})
	p.saw(account, w.node, core.HealthCheck{At: p.clock(), OK: true})
	p.want(200, "POST", "/api/notification/test", `{"channel_id":"`+w.channel+`","title":"secret-title"}`)
	if err := p.hub.Emit(p.t.Context(), core.Event{Type: core.EventNodeFailed, Account: account, Subject: "node " + w.node, At: p.clock(), Text: "x"}); err != nil {
		p.t.Fatal(err)
	}
	return w
}

// kept tells what of an account is in the store.
func (p *pool) kept(account string) string {
	p.t.Helper()
	var b strings.Builder
	for _, kind := range []string{store.KindNode, store.KindNodeCheck, store.KindHealthDay, store.KindShare, store.KindChannel, store.KindSubscription, store.KindAlertRule, store.KindNotice, store.KindNoticeLog} {
		docs, err := p.store.List(p.t.Context(), kind, account, "", 100)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, d := range docs {
			fmt.Fprintf(&b, "%s %s %d %s\n", kind, d.ID, d.Version, d.Body)
		}
	}
	return b.String()
}

// TestWatchingIsIsolated: whatever tenant A sends to the routes of health, monitor, notifications and alerts, it neither sees
// nor touches anything of B's.
func TestWatchingIsIsolated(t *testing.T) {
	p := newPool(t, nil)
	b := p.everything("acc-beta")
	if _, err := p.tables.Accounts.Create(t.Context(), core.Account{ID: "acc-a", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	own := p.everything("acc-a")
	key := p.key("acc-a", `{"name":"own","nodes":true}`)
	client := p.key("acc-a", `{"name":"client"}`)
	before := p.kept("acc-beta")
	if strings.Count(before, "\n") != 9 {
		t.Fatalf("not one of everything:\n%s", before)
	}
	for _, c := range []struct {
		method, target, body string
		want                 int
	}{
		{"POST", "/admin/api/nodes/check?id=" + b.node, "", 404},
		{"POST", "/admin/api/nodes/check", `{"id":"` + b.node + `"}`, 404},
		{"POST", "/admin/api/nodes/check?account_id=acc-beta", `{"id":"` + b.node + `"}`, 404},
		{"GET", "/api/nodes/" + b.node + "/health-history", "", 404},
		{"GET", "/api/nodes/" + b.node + "/health-history?account_id=acc-beta", "", 404},
		{"GET", "/api/nodes/" + b.node + "/health-history?share_token=" + own.token, "", 404},
		{"GET", "/api/monitor/dashboard?account_id=acc-beta", "", 403},
		{"GET", "/api/monitor/dashboard?account_id=acc-nobody", "", 403},
		{"GET", "/api/monitor/shares?account_id=acc-beta", "", 403},
		{"POST", "/api/monitor/shares", `{"account_id":"acc-beta","expire_in":"1h"}`, 403},
		{"DELETE", "/api/monitor/shares/" + b.share, "", 404},
		{"GET", "/api/notification/channels?account_id=acc-beta", "", 403},
		{"POST", "/api/notification/channels?account_id=acc-beta", hookChannel, 403},
		{"PUT", "/api/notification/channels/" + b.channel, `{"name":"mine"}`, 404},
		{"PUT", "/api/notification/channels/" + b.channel, `{"config":{"url":"https://evil.example"}}`, 404},
		{"DELETE", "/api/notification/channels/" + b.channel, "", 404},
		{"POST", "/api/notification/test", `{"channel_id":"` + b.channel + `"}`, 404},
		{"GET", "/api/notification/subscriptions?account_id=acc-beta", "", 403},
		{"GET", "/api/notification/subscriptions?channel_id=" + b.channel, "", 404},
		{"POST", "/api/notification/subscriptions", `{"channel_id":"` + b.channel + `","event_types":["node.added"]}`, 404},
		{"PUT", "/api/notification/subscriptions/" + b.subscription, `{"enabled":false}`, 404},
		{"DELETE", "/api/notification/subscriptions/" + b.subscription, "", 404},
		{"GET", "/api/notification/history?account_id=acc-beta", "", 403},
		{"GET", "/api/alerts/rules?account_id=acc-beta", "", 403},
		{"POST", "/api/alerts/rules?account_id=acc-beta", `{"kind":"spend_day","threshold":1}`, 403},
		{"PUT", "/api/alerts/rules/" + b.rule, `{"threshold":1}`, 404},
		{"DELETE", "/api/alerts/rules/" + b.rule, "", 404},
	} {
		for _, as := range []struct {
			why, key string
			want     int
		}{{"another tenant", key, c.want}, {"a key that only calls models", client, 403}, {"nobody", "", 401}} {
			if as.want != c.want && strings.Contains(c.target, "share_token") {
				continue // needs no login
			}
			a := p.call(c.method, c.target, c.body, "x-api-key", as.key)
			if a.status != as.want || strings.Contains(a.body, "secret-") || strings.Contains(a.body, "beta") {
				t.Errorf("%s: %s %s: status %d, want %d: %s", as.why, c.method, c.target, a.status, as.want, a.body)
			}
		}
	}
	if after := p.kept("acc-beta"); after != before {
		t.Errorf("B changed:\n%s\nbefore:\n%s", after, before)
	}
	// its own, all of it, and nothing of B's in any list
	for _, target := range []string{"/api/monitor/dashboard", "/api/monitor/shares", "/api/notification/channels", "/api/notification/subscriptions", "/api/notification/history", "/api/alerts/rules",
		"/api/nodes/" + own.node + "/health-history", "/api/monitor/share/" + own.token} {
		a := p.call("GET", target, "", "x-api-key", key)
		if a.status != 200 {
			t.Errorf("%s of its own: %d %s", target, a.status, a.body)
		}
		for _, s := range []string{`"` + b.channel + `"`, `"` + b.subscription + `"`, `"` + b.rule + `"`, b.share, b.token, `"acc-beta"`, `"id":"` + b.node + `"`} {
			if strings.Contains(a.body, s) {
				t.Errorf("%s shows %s of B", target, s)
			}
		}
	}
	if a := p.call("POST", "/admin/api/nodes/check?id="+own.node, "", "x-api-key", key); a.status != 200 {
		t.Errorf("a check of its own node: %d %s", a.status, a.body)
	}
	for _, c := range [][3]string{{"PUT", "/api/alerts/rules/" + own.rule, `{"threshold":2}`}, {"PUT", "/api/notification/channels/" + own.channel, `{"name":"x"}`},
		{"PUT", "/api/notification/subscriptions/" + own.subscription, `{"enabled":false}`}, {"DELETE", "/api/monitor/shares/" + own.share, ""}, {"DELETE", "/api/notification/subscriptions/" + own.subscription, ""},
		{"DELETE", "/api/alerts/rules/" + own.rule, ""}, {"DELETE", "/api/notification/channels/" + own.channel, ""}} {
		if a := p.call(c[0], c[1], c[2], "x-api-key", key); a.status >= 300 {
			t.Errorf("%s %s of its own: %d %s", c[0], c[1], a.status, a.body)
		}
	}
	// an administrator reaches all of them
	for _, target := range []string{"/api/monitor/dashboard?account_id=acc-beta", "/api/monitor/shares?account_id=acc-beta", "/api/notification/channels?account_id=acc-beta", "/api/nodes/" + b.node + "/health-history"} {
		if a := p.want(200, "GET", target, ""); !strings.Contains(a.body, b.node) && !strings.Contains(a.body, "acc-beta") {
			t.Errorf("%s: %s", target, a.body)
		}
	}
}

// TestDeletedAccountIsNotWatched: nothing of it is left, and its links end.
func TestDeletedAccountIsNotWatched(t *testing.T) {
	p := newPool(t, nil)
	b := p.everything("acc-beta")
	other := p.everything("default")
	before := p.kept("default")
	p.want(200, "DELETE", "/admin/api/accounts?id=acc-beta", "")
	if left := p.kept("acc-beta"); left != "" {
		t.Errorf("left of the account:\n%s", left)
	}
	if p.kept("default") != before {
		t.Error("another account lost something")
	}
	if a := p.call("GET", "/api/monitor/share/"+b.token, ""); a.status != 404 {
		t.Errorf("its link: %d %s", a.status, a.body)
	}
	p.want(404, "GET", "/api/nodes/"+b.node+"/health-history", "")
	p.want(200, "GET", "/api/nodes/"+other.node+"/health-history", "")
}

// TestWatchingMethodsAndIDs: wrong methods are 405, hostile ids 404, and neither does anything.
func TestWatchingMethodsAndIDs(t *testing.T) {
	p := newPool(t, nil)
	w := p.everything("default")
	before := p.kept("default")
	for _, c := range []struct{ target, methods string }{
		{"/admin/api/nodes/check", "POST"}, {"/api/nodes/" + w.node + "/health-history", "GET"}, {"/api/monitor/dashboard", "GET"}, {"/api/monitor/shares", "GET POST"},
		{"/api/monitor/shares/" + w.share, "DELETE"}, {"/api/monitor/share/" + w.token, "GET"}, {"/monitor/share/" + w.token, "GET"},
		{"/api/notification/channels", "GET POST"}, {"/api/notification/channels/" + w.channel, "PUT DELETE"}, {"/api/notification/subscriptions", "GET POST"},
		{"/api/notification/subscriptions/" + w.subscription, "PUT DELETE"}, {"/api/notification/event-types", "GET"}, {"/api/notification/test", "POST"},
		{"/api/notification/history", "GET"}, {"/api/alerts/rules", "GET POST"}, {"/api/alerts/rules/" + w.rule, "PUT DELETE"},
	} {
		for _, m := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
			if strings.Contains(c.methods, m) {
				continue
			}
			if a := p.want(405, m, c.target, `{}`); a.header.Get("Allow") == "" {
				t.Errorf("%s %s: no Allow", m, c.target)
			}
		}
	}
	for _, id := range []string{"%00", "..%2f..", "chn-1%0a", strings.Repeat("a", 3000), "CHN-1", "%27--", "{id}", "*"} {
		for _, base := range []string{"/api/monitor/shares/", "/api/notification/channels/", "/api/notification/subscriptions/", "/api/alerts/rules/"} {
			if a := p.call("DELETE", base+id, "", "x-admin-key", poolAdmin); a.status != 404 {
				t.Errorf("DELETE %s%.20s: %d %s", base, id, a.status, a.body)
			}
		}
	}
	if p.kept("default") != before {
		t.Error("something changed")
	}
}

// TestWithoutTheirParts: a process that has no checker and no hub says so.
func TestWithoutTheirParts(t *testing.T) {
	p := newPool(t, nil)
	id := p.made("default", anthropicNode)
	p.serve(func(o *optionsOf) { o.Checker, o.Notify, o.Events = nil, nil, nil })
	p.want(503, "POST", "/admin/api/nodes/check?id="+id, "")
	for _, target := range []string{"/api/notification/channels", "/api/notification/subscriptions", "/api/notification/history", "/api/alerts/rules"} {
		p.want(503, "GET", target, "")
	}
	p.want(200, "GET", "/api/notification/event-types", "")
	p.want(200, "DELETE", "/admin/api/nodes?id="+id, "")
	p.want(200, "DELETE", "/admin/api/accounts?id=acc-beta", "")
}

// TestShareURLs: a link that works behind PUBLIC_URL, a stage, and TLS.
func TestShareURLs(t *testing.T) {
	p := newPool(t, nil)
	for _, c := range []struct{ why, public, prefix, proto, want string }{
		{"as the call came", "", "", "", "http://example.com/monitor/share/"},
		{"behind TLS", "", "", "https", "https://example.com/monitor/share/"},
		{"behind a stage", "", "/prod", "https", "https://example.com/prod/monitor/share/"},
		{"as the operator says", "https://gate.example/llm/", "/prod", "", "https://gate.example/llm/monitor/share/"},
	} {
		p.serve(func(o *optionsOf) { o.PublicURL = c.public })
		inner := p.h
		p.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r.WithContext(web.WithPrefix(r.Context(), c.prefix)))
		})
		a := p.want(201, "POST", "/api/monitor/shares", `{"expire_in":"1h"}`, "X-Forwarded-Proto", c.proto).json()
		if a["share_url"] != c.want+a["token"].(string) {
			t.Errorf("%s: %v", c.why, a["share_url"])
		}
	}
}

// TestTokensOfSharesStayOutOfLogs: who reads the access log must not come by links.
func TestTokensOfSharesStayOutOfLogs(t *testing.T) {
	p := newPool(t, nil)
	w := p.everything("default")
	var log bytes.Buffer
	h := web.Wrap(adminapi.New(p.o), web.Options{Log: p.o.Log, Access: web.NewAccessLog(&log, true, 1), Error: adminapi.WriteError, Draining: &web.Drain{}})
	for _, target := range []string{"/api/monitor/share/" + w.token, "/monitor/share/" + w.token, "/api/nodes/" + w.node + "/health-history?share_token=" + w.token} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", target, nil))
		if rec.Code != 200 {
			t.Errorf("%s: %d", target, rec.Code)
		}
	}
	if s := log.String(); strings.Contains(s, w.token) || strings.Count(s, "/monitor/share/-") != 2 || !strings.Contains(s, "health-history") {
		t.Errorf("the log: %s", s)
	}
	// what was refused before anybody looked at the token was logged with it
	for _, c := range []struct {
		method, target string
		want           int
	}{
		{"HEAD", "/monitor/share/", 200}, {"HEAD", "/api/monitor/share/", 200}, {"OPTIONS", "/monitor/share/", 405}, {"POST", "/monitor/share/", 405},
		{"POST", "/api/monitor/share/", 405}, {"GET", "/api/monitor/share//", 404}, {"GET", "/monitor/share//", 404},
	} {
		rec := httptest.NewRecorder()
		log.Reset()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), c.method, c.target+w.token, nil))
		if s := log.String(); rec.Code != c.want || strings.Contains(s, w.token) || !strings.Contains(s, "monitor/share") {
			t.Errorf("%s %s: %d, the log: %s", c.method, c.target, rec.Code, s)
		}
		if allow := rec.Header().Get("Allow"); (c.want == 405) != (allow == "GET, HEAD") {
			t.Errorf("%s %s: Allow %q", c.method, c.target, allow)
		}
	}
	rec := httptest.NewRecorder()
	log.Reset()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/api/monitor/share/"+w.token+"/", nil))
	if rec.Code != 404 || strings.Contains(log.String(), w.token) {
		t.Errorf("a slash behind: %d, the log: %s", rec.Code, log.String())
	}
}

// TestGuessingTokens: an address that sends wrong ones is told to wait; one that asks too often, too.
func TestGuessingTokens(t *testing.T) {
	p := newPool(t, nil)
	token := p.shared("default", "1h")["token"].(string)
	for range 100 {
		if a := p.call("GET", "/api/monitor/share/"+token, ""); a.status != 200 {
			t.Fatalf("a good token: %d %s", a.status, a.body)
		}
	}
	for i := range 60 {
		if a := p.call("GET", fmt.Sprintf("/api/monitor/share/%032x", i), ""); a.status != 404 {
			t.Fatalf("guess %d: %d", i, a.status)
		}
	}
	if a := p.call("GET", "/api/monitor/share/"+token, ""); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("after 60 guesses: %d %s", a.status, a.body)
	}
	p.advance(time.Minute)
	for i := range 601 {
		if a := p.call("GET", "/api/monitor/share/"+token, ""); (a.status == 429) != (i == 600) {
			t.Fatalf("call %d: %d", i, a.status)
		}
	}
}
