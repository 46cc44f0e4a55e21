package adminui

import (
	"net/url"
	"strings"
	"testing"
)

const (
	tenantRows = `{"accounts":[{"id":"default","name":"default","is_admin":true,"created_at":"2026-01-01T00:00:00Z"},
		{"id":"acc-b","name":"<b>beta</b>","has_password":true,"has_proxy_api_key":true,"proxy_api_key_prefix":"abcd","model_map":{"gpt-4*":"claude-4*"},"response_days":3,"limits":{"requests_per_minute":60,"usd_per_day":12.5},"created_at":"2026-01-02T00:00:00Z","keys":2,"nodes":3}]}`
	personMe = `{"account_id":"acc-b","account_name":"beta","is_admin":false,"nodes":true,"person":true}`
	keyedMe  = `{"account_id":"acc-b","account_name":"beta","is_admin":false,"nodes":true,"person":false}`
	// as the API answers a tenant: itself alone
	ownRow = `{"accounts":[{"id":"acc-b","name":"<b>beta</b>","has_password":true,"limits":{"requests_per_minute":60}}]}`
)

func tenantReplies() map[string]string {
	return map[string]string{"GET /admin/api/accounts": tenantRows}
}

// TestTenantsPage: administrators see all accounts with their counts; hostile names are text; the first one has no way to delete it.
func TestTenantsPage(t *testing.T) {
	f := newPoolFake(t, tenantReplies())
	f.has("the list", f.get("/admin/tenants"), 200, "&lt;b&gt;beta&lt;/b&gt;", "!<b>beta", "60 requests a minute", "$12.50 a day", "<code>abcd…</code>", ">2</a>", ">3</a>", `name="is_admin"`, `id="delete-acc-b"`, "!delete-default")
	f.has("a search", f.get("/admin/tenants?q=beta"), 200, "acc-b", "!<code>default</code>")
	f.has("a search that finds none", f.get("/admin/tenants?q=zzz"), 200, "Nothing found")
	f.calls = nil
	f.get("/admin/tenants?q=beta")
	if f.asked("GET /admin/api/nodes") || f.asked("GET /admin/api/keys") || !f.asked("GET /admin/api/accounts?count=true&limit=50&q=beta&sort=created") {
		t.Errorf("keys and nodes are counted by the list: %v", f.calls)
	}
	f.has("an account to edit", f.get("/admin/tenants?edit=acc-b"), 200, `value="12.5"`, "gpt-4* = claude-4*", `do=update&amp;id=acc-b`)
	f.has("in Chinese", f.get("/admin/tenants", "Accept-Language", "zh"), 200, "账号", "新建账号")
}

// TestTenantsOwn: who is no administrator sees its own account, may change what the API lets it when signed in by password, and
// only look with a key.
func TestTenantsOwn(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /admin/api/accounts": ownRow})
	f.has("own", f.get("/admin/tenants"), 200, "&lt;b&gt;beta&lt;/b&gt;", `id="form"`, "!is_admin", `!name="requests_per_minute"`, "!do=delete", "!do=create", "60 requests a minute")
	if f.asked("GET /admin/api/keys") {
		t.Error("keys were asked for, which the API refuses")
	}
	w := f.post("/admin/tenants?do=update&id=acc-b", url.Values{"name": {"beta"}, "response_days": {"4"}, "is_admin": {"1"}, "requests_per_minute": {"9"}})
	if body := f.sent["PUT /admin/api/accounts?id=acc-b"]; w.Code != 303 || body != `{"name":"beta","model_map":{},"response_days":4}` {
		t.Errorf("%d: %s", w.Code, body)
	}
	f = newPoolFake(t, map[string]string{"GET /admin/api/me": keyedMe, "GET /admin/api/accounts": ownRow})
	f.has("by key", f.get("/admin/tenants"), 200, "&lt;b&gt;beta&lt;/b&gt;", `!id="form"`, "may look only")
}

// TestTenantForms: the key is shown in the answer that made it alone, a refusal stands at its field, secrets that were typed are
// not sent back, and nothing is deleted without its name.
func TestTenantForms(t *testing.T) {
	replies := tenantReplies()
	replies["POST /admin/api/accounts"] = `201 {"id":"acc-c","proxy_api_key":"sluice_once","warning":"it is <short>"}`
	f := newPoolFake(t, replies)
	in := url.Values{"name": {"new"}, "password": {"typed-secret"}, "usd_per_day": {"12.50"}, "model_map": {"a = b\n\nc=d"}, "is_admin": {"1"}, "response_days": {""}}
	f.has("made", f.post("/admin/tenants?do=create", in), 200, "sluice_once", "it is &lt;short&gt;", "!typed-secret")
	want := `{"name":"new","password":"typed-secret","is_admin":true,"model_map":{"a":"b","c":"d"},"limits":{"concurrency":0,"requests_per_day":0,"requests_per_minute":0,"tokens_per_minute":0,"usd_per_day":12.50,"usd_per_month":0}}`
	if got := f.sent["POST /admin/api/accounts"]; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	f.has("afterwards", f.get("/admin/tenants"), 200, "!sluice_once")

	for _, c := range []struct{ why, answer, id, says string }{
		{"a limit", "400 {\"error\":\"limits.usd_per_day: must be <dollars>\"}", "f-usd_per_day", "must be &lt;dollars&gt;"},
		{"a password", "400 {\"error\":\"password: is too short\"}", "f-password", "is too short"},
		{"a name", "400 {\"error\":\"name: another account has it\"}", "f-name", "another account has it"},
	} {
		replies["POST /admin/api/accounts"] = c.answer
		w := f.post("/admin/tenants?do=create", in)
		f.has(c.why, w, 400, c.says, `value="new"`, `value="12.50"`, "!typed-secret")
		if _, after, ok := strings.Cut(w.Body.String(), `id="`+c.id+`"`); !ok || !strings.Contains(after[:600], c.says) {
			t.Errorf("%s: it does not stand at its field", c.why)
		}
	}
	f.calls = nil
	f.has("without a name", f.post("/admin/tenants?do=create", url.Values{"name": {" "}}), 400, "must not be empty")
	f.has("a line that is no pair", f.post("/admin/tenants?do=create", url.Values{"name": {"x"}, "model_map": {"nothing"}}), 400, ">nothing</textarea>")
	f.has("a wrong name", f.post("/admin/tenants?do=delete", url.Values{"id": {"acc-b"}, "name": {"<b>beta</b>"}, "confirm": {"beta"}}), 400, `role="alert">Type &lt;b&gt;beta&lt;/b&gt; to confirm`)
	if f.asked("POST") || f.asked("DELETE") {
		t.Errorf("the API was asked: %q", f.calls)
	}
	w := f.post("/admin/tenants?do=delete", url.Values{"id": {"acc-b"}, "name": {"beta"}, "confirm": {"beta"}})
	if w.Code != 303 || !f.asked("DELETE /admin/api/accounts?id=acc-b") {
		t.Errorf("%d, %q", w.Code, f.calls)
	}
	many := url.Values{"ids": {"acc-b", "acc-x"}, "confirm": {"no"}, "what": {"delete"}}
	f.calls = nil
	f.has("many without the word", f.post("/admin/tenants?do=bulk", many), 400, "Type delete to confirm", `value="acc-b" form="bulk" aria-label="Choose &lt;b&gt;beta&lt;/b&gt;" checked`)
	f.has("none", f.post("/admin/tenants?do=bulk", url.Values{"confirm": {"delete"}}), 400, "Choose at least one")
	if f.asked("DELETE") {
		t.Errorf("the API was asked: %q", f.calls)
	}
	many.Set("confirm", "delete")
	replies["DELETE /admin/api/accounts?id=acc-x"] = `409 {"error":"it is <busy>"}`
	f.has("one cannot go", f.post("/admin/tenants?do=bulk", many), 409, "1 done. Not done: acc-x: it is &lt;busy&gt;", "!acc-b\" form=\"bulk\" aria-label=\"Choose &lt;b&gt;beta&lt;/b&gt;\" checked")
	delete(replies, "DELETE /admin/api/accounts?id=acc-x")
	if w := f.post("/admin/tenants?do=bulk&q=b", many); w.Code != 303 || !f.asked("DELETE /admin/api/accounts?id=acc-b") || w.Header().Get("Location") != "/admin/tenants?q=b&done=tenants.bulk&done=2" {
		t.Errorf("%d to %s, %q", w.Code, w.Header().Get("Location"), f.calls)
	}
	replies["PUT /admin/api/accounts?id=acc-b"] = `{"id":"acc-b","proxy_api_key":"another-once"}`
	f.has("another key", f.post("/admin/tenants?do=update&id=acc-b", url.Values{"name": {"beta"}, "proxy_api_key": {"another-once"}}), 200, "another-once")
}
