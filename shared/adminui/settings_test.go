package adminui

import (
	"net/url"
	"strings"
	"testing"
)

// TestSettings: an account's settings are shown and saved; a number beyond its bounds stands at its field with what was typed.
func TestSettings(t *testing.T) {
	conf := `{"retries":3,"fail_limit":4,"health_interval_sec":30}`
	f := newPoolFake(t, map[string]string{"GET /admin/api/config?account_id=default": conf, "GET /admin/api/config?account_id=acc-b": conf, "GET /admin/api/accounts": tenantRows})
	f.has("shown", f.get("/admin/settings"), 200, `value="3"`, `value="4"`, `value="30"`, "&lt;b&gt;beta&lt;/b&gt;", "!<b>beta")
	w := f.post("/admin/settings?do=save&account_id=acc-b", url.Values{"retries": {"5"}, "fail_limit": {"6"}, "health_interval_sec": {"60"}})
	if got := f.sent["PUT /admin/api/config?account_id=acc-b"]; w.Code != 303 || got != `{"retries":5,"fail_limit":6,"health_interval_sec":60}` || !strings.Contains(w.Header().Get("Location"), "account_id=acc-b") {
		t.Errorf("%d to %s: %s", w.Code, w.Header().Get("Location"), got)
	}
	f.sent = map[string]string{}
	for field, bad := range map[string]string{"retries": "11", "fail_limit": "0", "health_interval_sec": "4"} {
		in := url.Values{"retries": {"5"}, "fail_limit": {"6"}, "health_interval_sec": {"60"}}
		in.Set(field, bad)
		f.has(field, f.post("/admin/settings?do=save", in), 400, "must be ", `value="`+bad+`"`, `id="f-`+field+`" name="`+field+`" type="number" value="`+bad+`" required autocomplete="off" aria-invalid="true"`)
	}
	f.has("all three", f.post("/admin/settings?do=save", url.Values{"retries": {"many"}, "fail_limit": {"11"}, "health_interval_sec": {"301"}}), 400,
		`value="many" required autocomplete="off" aria-invalid="true"`, "must be a whole number", `value="11" required autocomplete="off" aria-invalid="true"`, "must be 1 to 10", `value="301" required autocomplete="off" aria-invalid="true"`, "must be 5 to 300")
	f.has("no number", f.post("/admin/settings?do=save", url.Values{"retries": {"<x>"}}), 400, "must be a whole number", "&lt;x&gt;")
	if len(f.sent["PUT /admin/api/config?account_id=default"]) > 0 {
		t.Error("it was saved")
	}
	own := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /admin/api/config": conf})
	own.has("a tenant", own.get("/admin/settings"), 200, `value="30"`, `!name="account_id"`, "!/admin/environment")
}

// TestEnvironmentPage: variables by category, hostile values as text, in both languages; who is no administrator gets nothing.
func TestEnvironmentPage(t *testing.T) {
	f := newPoolFake(t, map[string]string{
		"GET /api/envvars":              `{"data":[{"name":"LOG_LEVEL","category":"log","default_value":"info","description":"how much","description_zh":"多少","current_value":"<debug>","is_set":true},{"name":"ADMIN_API_KEY","category":"basic","is_secret":true,"description":"admin","description_zh":"管理","current_value":"abcd****wxyz","is_set":true}]}`,
		"GET /api/envvars?category=log": `{"data":[{"name":"LOG_LEVEL","category":"log","description":"how much","description_zh":"多少"}]}`,
		"GET /api/envvars/categories":   `{"data":["basic","log"]}`})
	f.has("all", f.get("/admin/environment"), 200, "&lt;debug&gt;", "!<debug>", "abcd****wxyz", "how much", "<code class=\"long\">info</code>", "Basics")
	f.has("a category", f.get("/admin/environment?category=log"), 200, "LOG_LEVEL", "!ADMIN_API_KEY", `value="log" selected`)
	f.has("a search", f.get("/admin/environment?q=admin_api"), 200, "ADMIN_API_KEY", "!LOG_LEVEL")
	f.has("in Chinese", f.get("/admin/environment", "Accept-Language", "zh"), 200, "多少", "!how much")
	f.has("a tenant", newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /api/envvars": `403 {"error":"forbidden"}`}).get("/admin/environment"), 403, "forbidden", "!LOG_LEVEL")
}

// TestSignedOutEverywhere: all sessions end, the login page says so; a refusal is told.
func TestSignedOutEverywhere(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "DELETE /admin/api/sessions": `{"ended":3}`})
	f.has("the way to it", f.get("/admin/settings"), 200, `id="sessions"`, "?do=everywhere", "with the password or a key", `href="/admin/settings#sessions"`)
	w := f.post("/admin/settings?do=everywhere", nil)
	if w.Code != 303 || !f.asked("DELETE /admin/api/sessions") || w.Header().Get("Location") != "/login?done=login.everywhere&done=3" {
		t.Errorf("%d to %s: %q", w.Code, w.Header().Get("Location"), f.calls)
	}
	f.reply["DELETE /admin/api/sessions"] = `403 {"error":"not <you>"}`
	f.has("refused", f.post("/admin/settings?do=everywhere", nil), 403, "not &lt;you&gt;", `id="sessions"`)
}
