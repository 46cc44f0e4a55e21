package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/store"
)

// entries are all entries of the log, the oldest first.
func (p *pool) entries() []audit.Entry {
	p.t.Helper()
	var out []audit.Entry
	err := p.o.Audit.Walk(p.t.Context(), "", 0, func(_ []byte, e audit.Entry, bad error) error { out = append(out, e); return bad })
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// since are the entries that a call makes.
func (p *pool) since(do func()) []audit.Entry {
	p.t.Helper()
	n := len(p.entries())
	do()
	return p.entries()[n:]
}

// audited is a call and the entry that it must leave.
type audited struct {
	method, target, body string
	status               int
	action, object       string
	before, after        string // parts of what the entry must tell; "": anything
}

// id is the id that an answer tells.
func (p *pool) id(a *answer, field string) string { return fmt.Sprint(a.json()[field]) }

// everyChange are calls of every route that may change something.
func (p *pool) everyChange() []audited {
	p.t.Helper()
	acc := p.id(p.want(201, "POST", "/admin/api/accounts", `{"name":"tenant"}`), "id")
	w := p.everything(acc)
	gone := p.id(p.want(201, "POST", "/admin/api/accounts", `{"name":"gone"}`), "id")
	key := p.id(p.want(201, "POST", "/admin/api/keys?account_id="+acc, `{"name":"k"}`), "id")
	old := p.id(p.want(200, "POST", "/admin/api-keys", `{"name":"old"}`), "id")
	path := p.add("audited")
	id := path[strings.LastIndex(path, "/")+1:]
	node := func(action string) audited { return audited{action: action, object: "node/" + w.node} }
	with := func(a audited, method, target, body string, status int, before, after string) audited {
		a.method, a.target, a.body, a.status, a.before, a.after = method, target, body, status, before, after
		return a
	}
	return []audited{
		{"POST", "/admin/api/accounts", `{"name":"new"}`, 201, "account.create", "account/", "", `"name":"new"`},
		{"PUT", "/admin/api/accounts?id=" + acc, `{"name":"renamed"}`, 200, "account.update", "account/" + acc, `"name":"tenant"`, `"name":"renamed"`},
		{"PUT", "/admin/api/config?account_id=" + acc, `{"retries":7}`, 200, "settings.update", "account/" + acc, "", `"retries":7`},
		{"DELETE", "/admin/api/sessions", "", 200, "logout.everywhere", "session/", "", ""},
		with(node("node.update"), "PUT", "/admin/api/nodes?id="+w.node, `{"weight":4}`, 200, `"weight":`, `"weight":4`),
		with(node("node.activate"), "POST", "/admin/api/nodes/activate", `{"id":"`+w.node+`"}`, 200, "", `"active_node":"`+w.node+`"`),
		with(node("node.disable"), "POST", "/admin/api/nodes/disable", `{"id":"`+w.node+`"}`, 200, "", `"disabled":true`),
		with(node("node.enable"), "POST", "/admin/api/nodes/enable", `{"id":"`+w.node+`"}`, 200, `"disabled":true`, ""),
		with(node("node.check"), "POST", "/admin/api/nodes/check", `{"id":"`+w.node+`"}`, 200, "", ""),
		{"POST", "/admin/api/nodes?account_id=" + acc, anthropicNode, 201, "node.create", "node/", "", `"credential":"fingerprint `},
		with(node("node.delete"), "DELETE", "/admin/api/nodes?id="+w.node, "", 200, `"credential":"fingerprint `, ""),
		{"POST", "/admin/api/keys?account_id=" + acc, `{"name":"second"}`, 201, "key.create", "key/", "", `"credential":"fingerprint `},
		{"PUT", "/admin/api/keys?id=" + key, `{"name":"other"}`, 200, "key.update", "key/" + key, `"name":"k"`, `"name":"other"`},
		{"POST", "/admin/api/keys/rotate?id=" + key, `{}`, 200, "key.rotate", "key/" + key, `"credential":"fingerprint `, `"credential":"fingerprint `},
		{"DELETE", "/admin/api/keys?id=" + key, "", 200, "key.delete", "key/" + key, `"name":"other"`, ""},
		{"POST", "/admin/api-keys", `{"name":"older"}`, 200, "key.create", "key/", "", `"name":"older"`},
		{"PUT", "/admin/api-keys/" + old, `{"requests_per_minute":9}`, 200, "key.update", "key/" + old, "", `"rpm":9`},
		{"POST", "/admin/api-keys/" + old + "/revoke", "", 200, "key.revoke", "key/" + old, "", `"revoked":true`},
		{"DELETE", "/admin/api-keys/" + old, "", 200, "key.delete", "key/" + old, "", ""},
		{"POST", "/admin/accounts", `{"name":"q2","refresh_token":"refresh-secret-q2","client_id":"q2","client_secret":"client-secret-q2"}`, 200, "node.create", "node/", "", `"name":"q2"`},
		{"PUT", path, `{"notes":"n"}`, 200, "node.update", "node/" + id, "", `"notes":"n"`},
		{"POST", path + "/refresh-token", "", 200, "node.refresh_token", "node/" + id, "", ""},
		{"DELETE", path, "", 200, "node.delete", "node/" + id, "", ""},
		{"POST", "/admin/accounts/upload-json", "", 200, "node.import", "node/", "", `"credential":"fingerprint `},
		{"POST", "/admin/accounts/import", "one|client-1|client-secret-1|aorefresh-secret-1\ntwo|client-2|client-secret-2|aorefresh-secret-2\n", 200, "node.import", "node/", "", `"name":"two"`},
		{"POST", "/admin/accounts/login", `{}`, 200, "node.login_begin", "node/", "", ""},
		{"POST", "/admin/accounts/login/ID", "", 200, "node.login", "node/", "", `"kind":"amazonq"`},
		{"POST", "/api/monitor/shares", `{"expire_in":"1h"}`, 201, "share.create", "share/", "", `"token":"fingerprint `},
		{"DELETE", "/api/monitor/shares/" + w.share, "", 204, "share.revoke", "share/" + w.share, "", `"revoked":true`},
		{"POST", "/api/notification/channels", hookChannel, 201, "channel.create", "channel/", "", `"config":"fingerprint `},
		{"PUT", "/api/notification/channels/" + w.channel, `{"enabled":false}`, 200, "channel.update", "channel/" + w.channel, `"enabled":true`, `"enabled":false`},
		{"POST", "/api/notification/test", `{"channel_id":"` + w.channel + `"}`, 200, "channel.test", "channel/" + w.channel, "", ""},
		{"POST", "/api/notification/subscriptions", `{"channel_id":"` + w.channel + `","event_types":["node.added"]}`, 201, "subscription.create", "subscription/", "", `"event":"node.added"`},
		{"PUT", "/api/notification/subscriptions/" + w.subscription, `{"enabled":false}`, 200, "subscription.update", "subscription/" + w.subscription, "", `"enabled":false`},
		{"DELETE", "/api/notification/subscriptions/" + w.subscription, "", 200, "subscription.delete", "subscription/" + w.subscription, "", ""},
		{"DELETE", "/api/notification/channels/" + w.channel, "", 200, "channel.delete", "channel/" + w.channel, `"config":"fingerprint `, ""},
		{"POST", "/api/alerts/rules", `{"kind":"spend_day","threshold":3}`, 201, "rule.create", "alertrule/", "", `"threshold":3`},
		{"PUT", "/api/alerts/rules/" + w.rule, `{"threshold":4}`, 200, "rule.update", "alertrule/" + w.rule, `"threshold":9`, `"threshold":4`},
		{"DELETE", "/api/alerts/rules/" + w.rule, "", 200, "rule.delete", "alertrule/" + w.rule, "", ""},
		{"POST", "/api/usage/cleanup", `{}`, 200, "usage.cleanup", "installation/", "", ""},
		{"POST", "/api/metrics/aggregate", `{}`, 200, "usage.aggregate", "installation/", "", ""},
		{"POST", "/api/metrics/cleanup", `{"account_id":"default"}`, 200, "usage.retention", "installation/", "", ""},
		{"POST", "/api/pricing", `{"model_id":"claude-sonnet-4-5","input_price_mtok":7}`, 200, "price.update", "prices/operator", "", "claude-sonnet-4-5"},
		{"DELETE", "/api/pricing?id=claude-sonnet-4-5", "", 200, "price.delete", "prices/operator", "claude-sonnet-4-5", ""},
		{"POST", "/api/pricing/import", `{"new-model-1":{"litellm_provider":"anthropic","mode":"chat","input_cost_per_token":0.000001,"output_cost_per_token":0.000002}}`, 200, "price.import", "prices/", "", ""},
		{"POST", "/api/compat/rows", newRow, 200, "compat.update", "compat/new-flag-2027-01-01", "", `"action":"keep"`},
		{"PUT", "/api/compat/rows?" + newRowKey, strings.Replace(newRow, "keep", "drop", 1), 200, "compat.update", "compat/new-flag-2027-01-01", `"action":"keep"`, `"action":"drop"`},
		{"DELETE", "/api/compat/rows?" + newRowKey, "", 200, "compat.update", "compat/new-flag-2027-01-01", `"action":"drop"`, `"rows":[]`},
		{"POST", "/api/compat/rows", newRow, 200, "compat.update", "compat/new-flag-2027-01-01", "", "new-flag-2027-01-01"},
		{"PUT", "/api/compat", `{"rows":[]}`, 200, "compat.update", "compat/", "new-flag-2027-01-01", `"rows":[]`},
		{"DELETE", "/admin/api/accounts?id=" + gone, "", 200, "account.delete", "account/" + gone, `"name":"gone"`, ""},
	}
}

// TestEveryChangeIsAudited: each route that may change something leaves one entry, with its action, object and what changed.
func TestEveryChangeIsAudited(t *testing.T) {
	q := &fakeQ{status: adminapi.LoginComplete}
	p := newPool(t, q)
	api := adminapi.New(p.o)
	left := map[string]bool{}
	for _, r := range api.Changing() {
		left[r] = true
		if !adminapi.Named(r) {
			t.Errorf("%s has no action: give it a name in audit.go", r)
		}
	}
	login := ""
	for _, c := range p.everyChange() {
		target, headers := strings.Replace(c.target, "/login/ID", "/login/"+login, 1), []string{"User-Agent", "curl/8", "Content-Type", "application/json"}
		body := c.body
		if strings.HasSuffix(target, "upload-json") {
			var ct string
			body, ct = form("json_file", sso("audit"))
			headers[3] = ct
		}
		if strings.HasSuffix(target, "/import") {
			headers[3] = "text/plain"
		}
		if login != "" && strings.Contains(target, login) {
			p.advance(time.Minute)
		}
		path, _, _ := strings.Cut(target, "?")
		delete(left, c.method+" "+api.Pattern(path))
		var a *answer
		got := p.since(func() { a = p.want(c.status, c.method, target, body, headers...) })
		if c.action == "node.login_begin" {
			login = p.id(a, "id")
		}
		if len(got) != 1 {
			t.Errorf("%s %s: %d entries, want 1: %+v", c.method, target, len(got), got)
			continue
		}
		e := got[0]
		object := e.Object.Kind + "/" + e.Object.ID
		if e.Action != c.action || !strings.HasPrefix(object, c.object) || c.object[len(c.object)-1] != '/' && object != c.object ||
			!strings.Contains(string(e.Before), c.before) || !strings.Contains(string(e.After), c.after) {
			t.Errorf("%s %s:\n%s %s\nbefore %s\nafter %s\nwant %+v", c.method, target, e.Action, object, e.Before, e.After, c)
		}
		if e.Result != audit.ResultOK || e.Code != "" || e.Actor.Kind != audit.ActorKey || e.Actor.Name != "ADMIN_API_KEY" || e.Agent != "curl/8" || e.Address != "192.0.2.1" ||
			e.Request == "" || e.Request != a.header.Get("Request-Id") || !e.At.Equal(p.clock().Truncate(time.Millisecond)) {
			t.Errorf("%s %s: %+v", c.method, target, e)
		}
	}
	for r := range left {
		t.Errorf("%s was not tried: add a call of it to everyChange", r)
	}
	if v := p.want(200, "GET", "/api/audit/verify", "").json(); v["ok"] != true {
		t.Errorf("the chain: %v", v)
	}
}

// TestRefusedCalls: whom nobody knows leaves nothing; who may not leaves one entry, but no flood of them; and what was refused
// changed nothing.
func TestRefusedCalls(t *testing.T) {
	p := newPool(t, nil)
	w := p.everything("acc-beta")
	key := p.key("default", `{"name":"own","nodes":true}`)
	client := p.key("default", `{"name":"client"}`)
	for _, c := range []struct {
		why, key, method, target, body string
		status                         int
		code, actor                    string
	}{
		{"no key", "", "POST", "/admin/api/keys", `{}`, 401, "", ""},
		{"an unknown key", "nobody-knows-this-key", "DELETE", "/admin/api/accounts?id=acc-beta", "", 401, "", ""},
		{"a tenant who would administer", key, "DELETE", "/admin/api/accounts?id=acc-beta", "", 403, "forbidden", "own"},
		{"a key that only calls models", client, "POST", "/admin/api/nodes", `{}`, 403, "forbidden", "client"},
		{"another's node", key, "PUT", "/admin/api/nodes?id=" + w.node, `{"weight":9}`, 404, "not_found", "own"},
		{"another's channel", key, "DELETE", "/api/notification/channels/" + w.channel, "", 404, "not_found", "own"},
		{"wrong input", key, "POST", "/admin/api/nodes", `{"base_url":"nonsense"}`, 400, "invalid_request", "own"},
		{"a reading", key, "GET", "/admin/api/nodes?account_id=acc-beta", "", 403, "", ""},
	} {
		got := p.since(func() {
			if a := p.call(c.method, c.target, c.body, "x-api-key", c.key); a.status != c.status {
				t.Errorf("%s: status %d: %s", c.why, a.status, a.body)
			}
		})
		if c.code == "" {
			if len(got) != 0 {
				t.Errorf("%s: %+v", c.why, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Result != audit.ResultRefused || got[0].Code != c.code || got[0].Actor.Name != c.actor || got[0].Account != "default" || got[0].Before != nil ||
			got[0].After != nil || got[0].Object.Name != "" {
			t.Errorf("%s: %+v", c.why, got)
		}
	}
	p.advance(time.Minute)
	got := p.since(func() {
		for range 200 {
			p.call("DELETE", "/admin/api/accounts?id=acc-beta", "", "x-api-key", key)
		}
	})
	if len(got) != 31 || !got[30].Muted {
		t.Errorf("a flood of refused calls made %d entries", len(got))
	}
}

// TestLoginsAreAudited: good and failed ones, by whom, and the end of a session; a flood of failed ones fills no store; no
// name that no account has is kept, as it may be a password in the wrong field.
func TestLoginsAreAudited(t *testing.T) {
	p := newPool(t, nil)
	p.want(200, "PUT", "/admin/api/accounts?id=acc-beta", `{"name":"beta","password":"`+passwd+`"}`)
	key := p.key("acc-beta", `{"name":"own","nodes":true}`)
	cookie := ""
	post := func(path string, form url.Values) {
		a := p.call("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie)
		if c, _, ok := strings.Cut(a.header.Get("Set-Cookie"), ";"); ok {
			cookie = c
		}
	}
	for _, c := range []struct {
		why    string
		do     func()
		action string
		code   string
		actor  audit.Actor
	}{
		{"the operator", func() { post("/login", url.Values{"admin_key": {poolAdmin}}) }, "login.ok", "", audit.Actor{Kind: "key", Account: "default", Name: "ADMIN_API_KEY"}},
		{"what the session does", func() { p.call("POST", "/admin/api/keys", `{"name":"x"}`, "Cookie", cookie) }, "key.create", "", audit.Actor{Kind: "session", Account: "default", Name: "ADMIN_API_KEY"}},
		{"its end", func() { post("/logout", nil) }, "logout", "", audit.Actor{Kind: "session", Account: "default", Name: "ADMIN_API_KEY"}},
		{"a tenant by key", func() { post("/login", url.Values{"admin_key": {key}}) }, "login.ok", "", audit.Actor{Kind: "key", Key: "3", Prefix: key[7:11], Account: "acc-beta", Name: "own"}},
		{"a tenant by password", func() { post("/login", url.Values{"username": {"beta"}, "password": {passwd}}) }, "login.ok", "", audit.Actor{Kind: "password", Account: "acc-beta", Name: "beta"}},
		{"what that session does", func() { p.call("PUT", "/admin/api/config", `{"retries":2}`, "Cookie", cookie) }, "settings.update", "", audit.Actor{Kind: "password", Account: "acc-beta", Name: "beta"}},
		{"by the address of a page", func() { p.call("GET", "/admin?admin_key="+poolAdmin, "", "Accept", "text/html") }, "login.ok", "", audit.Actor{Kind: "key", Account: "default", Name: "ADMIN_API_KEY"}},
		{"a wrong password", func() { post("/login", url.Values{"username": {"beta"}, "password": {"wrong-password"}}) }, "login.failed", "unauthenticated", audit.Actor{Kind: "anonymous", Account: "acc-beta", Name: "beta"}},
		{"a name that nobody has", func() { post("/login", url.Values{"username": {"my-secret-password"}, "password": {"x"}}) }, "login.failed", "unauthenticated", audit.Actor{Kind: "anonymous"}},
		{"a wrong key", func() { post("/login", url.Values{"admin_key": {"wrong-key"}}) }, "login.failed", "unauthenticated", audit.Actor{Kind: "anonymous"}},
		{"an empty form", func() { post("/login", nil) }, "", "", audit.Actor{}},
		{"no session to end", func() { cookie = ""; post("/logout", nil) }, "", "", audit.Actor{}},
	} {
		got := p.since(c.do)
		if c.action == "" {
			if len(got) != 0 {
				t.Errorf("%s: %+v", c.why, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Action != c.action || got[0].Code != c.code || got[0].Address != "192.0.2.1" {
			t.Errorf("%s: %+v", c.why, got)
			continue
		}
		if a := got[0].Actor; a.Kind != c.actor.Kind || a.Account != c.actor.Account || a.Name != c.actor.Name || c.actor.Key != "" && a != c.actor && a.Key == "" {
			t.Errorf("%s: %+v, want %+v", c.why, a, c.actor)
		}
	}
	p.advance(time.Minute)
	got := p.since(func() {
		for range 300 {
			post("/login", url.Values{"admin_key": {"wrong-key"}})
		}
	})
	if len(got) != 6 || !got[5].Muted {
		t.Errorf("a flood of failed logins made %d entries", len(got))
	}
	p.advance(time.Minute)
	if got = p.since(func() { post("/login", url.Values{"admin_key": {"wrong-key"}}) }); len(got) != 1 || got[0].Unrecorded != 294 {
		t.Errorf("the next minute: %+v", got)
	}
	for _, e := range p.entries() {
		if b, err := json.Marshal(e); err != nil || strings.Contains(string(b), "secret-password") || strings.Contains(string(b), "wrong-") {
			t.Errorf("shows what was typed: %s", b)
		}
	}
}

// TestPendingLoginsAreQuiet: a poll that changes nothing leaves no entry.
func TestPendingLoginsAreQuiet(t *testing.T) {
	p := newPool(t, &fakeQ{status: adminapi.LoginPending})
	id := p.id(p.want(200, "POST", "/admin/accounts/login", `{}`), "id")
	if got := p.since(func() { p.want(200, "POST", "/admin/accounts/login/"+id, "") }); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// noEntries is a store that takes no entries.
type noEntries struct{ store.Docs }

func (d noEntries) Create(ctx context.Context, doc store.Doc) (int64, error) {
	if doc.Kind == store.KindAudit {
		return 0, errors.New("connection to 10.0.0.9 lost")
	}
	return d.Docs.Create(ctx, doc)
}

// TestLogThatFails: the call is answered as ever, and the operator is told.
func TestLogThatFails(t *testing.T) {
	p := newPool(t, nil)
	p.serve(func(o *optionsOf) {
		o.Audit = audit.New(audit.Options{Docs: noEntries{p.store}, Now: p.clock, Hash: p.box.Hash, Open: p.box.Open})
	})
	p.want(201, "POST", "/admin/api/keys", `{"name":"made all the same"}`)
	if told := strings.Join(p.events.take(), "; "); !strings.Contains(told, string(core.EventSystemError)+"  audit log") {
		t.Errorf("told: %q", told)
	}
}

// TestCrossOriginIsAudited: a form of another site in the browser of someone who signed in is refused, and leaves an entry.
func TestCrossOriginIsAudited(t *testing.T) {
	p := newPool(t, nil)
	a := p.call("POST", "/login", url.Values{"admin_key": {poolAdmin}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	got := p.since(func() {
		r := httptest.NewRequestWithContext(t.Context(), "DELETE", "/admin/api/accounts?id=acc-beta", nil)
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		p.h.ServeHTTP(w, r)
		if w.Code != 403 {
			t.Errorf("status %d", w.Code)
		}
	})
	if len(got) != 1 || got[0].Code != "forbidden" || got[0].Actor.Kind != audit.ActorSession {
		t.Errorf("%+v", got)
	}
}
