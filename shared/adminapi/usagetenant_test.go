package adminapi_test

import (
	"net/url"
	"testing"
)

// TestUsageOfATenantsSession: what the console's page of usage asks for, in the browser's session of a tenant, however it
// signed in, with requests and without any.
func TestUsageOfATenantsSession(t *testing.T) {
	w := start(t)
	id := w.account("beta", "beta-proxy-key-4567")
	w.person(id)
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"limits":{"usd_per_day":5,"usd_per_month":50}}`)
	look := func(why string) {
		t.Helper()
		for _, form := range []url.Values{password("beta", passwd), key("beta-proxy-key-4567")} {
			pair := w.login(form)
			for _, period := range []string{"", "from=2026-01-01T00:00:00Z", "from=0001-01-01T00:00:00Z", "to=1960-01-01T00:00:00Z", "from=2999-01-01T00:00:00Z", "to=9999-12-31T23:59:00Z"} {
				for _, call := range []string{"/api/usage/summary?", "/api/usage/summary?group_by=hour&time_zone=Asia/Kolkata&", "/api/usage/summary?group_by=day&time_zone=Asia/Shanghai&", "/api/usage/summary?group_by=month&",
					"/api/usage/summary?group_by=model&", "/api/usage/summary?group_by=node&", "/api/usage/summary?group_by=key&", "/api/usage/logs?limit=25&", "/api/usage/budgets?", "/admin/api/nodes?light=true&"} {
					if a := w.Call("GET", call+period, "", "Cookie", pair); a.Status != 200 {
						t.Errorf("%s: %s%s: %d %s", why, call, period, a.Status, a.Body)
					}
				}
			}
			for target, want := range map[string]int{
				"/api/usage/summary?group_by=session&top=200": 200, "/api/usage/summary?group_by=agent&top=200": 200, "/api/usage/summary?failed=true": 200, "/api/usage/summary?session_id=s&group_by=day": 200,
				"/api/usage/summary?failed=true&from=2001-01-01T00:00:00Z": 400, "/api/usage/logs?cursor=made-up": 400, "/api/usage/summary?node_id=%00&model_id=%ff": 200,
				"/api/usage/summary?account_id=default": 403, "/api/usage/budgets?account_id=default": 403, "/api/usage/logs?account_id=default": 403, "/admin/api/keys": 403,
			} {
				if a := w.Call("GET", target, "", "Cookie", pair); a.Status != want {
					t.Errorf("%s: %s: %d, want %d: %s", why, target, a.Status, want, a.Body)
				}
			}
		}
	}
	look("without requests")
	w.node("beta-proxy-key-4567", "b", w.up.URL, 1)
	w.used("beta-proxy-key-4567", 3)
	look("with some")
}
