package adminapi_test

import (
	"strings"
	"testing"

	"sluice/shared/boot/boottest"
	"sluice/shared/upstream/upstreamtest"
)

// The guide of the older pool, steps 6, 7, 9 and 10, call by call (2.17.1, 2, 4, 5 and 8): the published key lets the
// operator in, makes its successor, and ends with DELETE of id 1, for good.
func TestGuideB_Keys(t *testing.T) {
	const published = "amq-admin-default-key-change-immediately"
	up := upstreamtest.NewAnthropic(t)
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": upstreamKey, "UPSTREAM_ALLOW_PRIVATE": "true"}
	w := &world{Gateway: boottest.Start(t, env), t: t}
	g := w.console("")
	bearer := func(key string) []string { return []string{"Authorization", "Bearer " + key} }

	if a := g.Call("GET", "/admin/dashboard", "", "Accept", "text/html"); a.Status != 303 || a.Header.Get("Location") != "/login" {
		t.Errorf("the dashboard does not ask for the key: %d", a.Status)
	}
	session := cookie(t, g.Want(303, "POST", "/login", "admin_key="+published, "Content-Type", "application/x-www-form-urlencoded"))
	g.Want(200, "GET", "/admin/dashboard", "", "Accept", "text/html", "Cookie", session.Name+"="+session.Value)

	made := g.Want(200, "POST", "/admin/api-keys", `{
    "name": "我的管理员密钥",
    "is_admin": true,
    "requests_per_minute": 100
  }`, bearer(published)...).JSON()
	admin, _ := made["key"].(string)
	if admin == "" || made["is_admin"] != true || made["requests_per_minute"] != 100.0 || made["id"] == 1.0 {
		t.Fatalf("made %v", made)
	}
	if a := g.Want(200, "GET", "/admin/api-keys", "", bearer(admin)...); strings.Contains(string(a.Body), admin) {
		t.Error("the new key is shown again")
	}
	g.Want(200, "DELETE", "/admin/api-keys/1", "", bearer(admin)...)
	if a := g.Call("GET", "/admin/api-keys", "", bearer(published)...); a.Status != 401 || !strings.Contains(string(a.Body), "Authorization: Bearer <admin key>") {
		t.Errorf("the published key after its end: %d %s", a.Status, a.Body)
	}
	if a := g.Call("GET", "/admin/dashboard", "", "Accept", "text/html", "Cookie", session.Name+"="+session.Value); a.Status != 303 {
		t.Errorf("its session after its end: %d", a.Status)
	}
	if err := g.Restart(env); err != nil {
		t.Fatal(err)
	}
	g.Want(401, "GET", "/admin/api-keys", "", bearer(published)...)

	const step9 = `{
    "name": "默认密钥",
    "description": "用于生产环境",
    "requests_per_minute": 60,
    "requests_per_day": 10000
  }`
	if a := g.Call("POST", "/admin/api-keys", step9); a.Status != 401 || a.Text("detail") != a.Text("error") || !strings.Contains(a.Text("detail"), "x-admin-key") {
		t.Errorf("step 9 without a key: %d %s", a.Status, a.Body)
	}
	client := g.Want(200, "POST", "/admin/api-keys", step9, bearer(admin)...).Text("key")
	g.Want(200, "POST", "/v1/messages", question, bearer(client)...)
	g.Want(401, "POST", "/v1/messages", question)
	if a := g.Call("GET", "/admin/stats/accounts", "", bearer(client)...); a.Status != 403 {
		t.Errorf("a client's key reads statistics: %d %s", a.Status, a.Body)
	}
	if a := g.Want(200, "GET", "/admin/stats/api-keys", "", bearer(admin)...).JSON(); a["total_keys"].(float64) < 2 || a["total_requests"] != 1.0 {
		t.Errorf("statistics: %v", a)
	}
}
