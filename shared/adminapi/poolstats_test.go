package adminapi_test

import (
	"testing"
	"time"

	"sluice/shared/core"
)

// The statistics have the older pool's shapes (2.5).
func TestPoolStatistics(t *testing.T) {
	p := newPool(t, &fakeQ{})
	one, two, off := p.add("one"), p.add("two"), p.add("off")
	p.want(200, "PUT", off, `{"is_active":false}`)
	n1, n2 := p.node(one), p.node(two)
	p.health.Blocked(p.health.Node(t.Context(), n2.ID, n2.Account), "two", core.BlockedSuspended, "suspended", p.clock())
	now := p.clock()
	p.used("today", now, n1, 10, 1)
	p.used("today2", now, n2, 100, 10)
	p.used("week", now.AddDate(0, 0, -6), n1, 1000, 100)
	p.used("before", now.AddDate(0, 0, -7), n1, 10_000, 1000)
	p.used("older", now.AddDate(0, 0, -89), n1, 100_000, 0)
	p.advance(time.Minute)

	m := p.want(200, "GET", "/admin/stats/accounts", "").json()
	sameKeys(t, "accounts", m, "total_accounts", "active_accounts", "healthy_accounts", "total_requests", "total_tokens")
	if m["total_accounts"] != 3.0 || m["active_accounts"] != 2.0 || m["healthy_accounts"] != 1.0 || m["total_requests"] != 5.0 || m["total_tokens"] != 112221.0 {
		t.Errorf("accounts: %v", m)
	}
	if m := p.want(200, "GET", "/admin/stats/accounts?account_id=acc-beta", "").json(); m["total_accounts"] != 0.0 || m["total_tokens"] != 0.0 {
		t.Errorf("of another account: %v", m)
	}
	p.want(200, "POST", "/admin/api-keys", `{"name":"a"}`)
	id := p.want(200, "POST", "/admin/api-keys", `{"name":"b"}`).json()["id"]
	p.want(200, "POST", "/admin/api-keys/"+itoa(id)+"/revoke", "")
	m = p.want(200, "GET", "/admin/stats/api-keys", "").json()
	sameKeys(t, "api-keys", m, "total_keys", "active_keys", "total_requests")
	if m["total_keys"] != 2.0 || m["active_keys"] != 1.0 || m["total_requests"] != 5.0 {
		t.Errorf("api-keys: %v", m)
	}

	m = p.want(200, "GET", "/admin/stats/tokens?days=7", "").json()
	sameKeys(t, "tokens", m, "period", "total", "daily", "by_account")
	period, total, daily, by := m["period"].(map[string]any), m["total"].(map[string]any), m["daily"].([]any), m["by_account"].([]any)
	sameKeys(t, "its period", period, "start_date", "end_date", "days")
	sameKeys(t, "its total", total, "input_tokens", "output_tokens", "total_tokens", "requests")
	first, last := daily[0].(map[string]any), daily[len(daily)-1].(map[string]any)
	sameKeys(t, "its day", first, "date", "input_tokens", "output_tokens", "total_tokens", "requests")
	if period["start_date"] != "2026-03-04T00:00:00Z" || period["days"] != 7.0 || len(daily) != 7 || first["date"] != "2026-03-04" || first["total_tokens"] != 1100.0 ||
		last["date"] != "2026-03-10" || last["input_tokens"] != 110.0 || last["requests"] != 2.0 || total["total_tokens"] != 1221.0 || total["requests"] != 3.0 {
		t.Errorf("tokens: %v", m)
	}
	sameKeys(t, "its account", by[0].(map[string]any), "account_id", "account_name", "input_tokens", "output_tokens", "total_tokens", "requests")
	if a, b := by[0].(map[string]any), by[1].(map[string]any); len(by) != 3 || a["account_name"] != "one" || a["total_tokens"] != 1111.0 || b["account_name"] != "two" || b["account_id"] != 2.0 {
		t.Errorf("by account: %v", by)
	}
	if m := p.want(200, "GET", "/admin/stats/tokens", "").json(); len(m["daily"].([]any)) != 7 {
		t.Error("7 days are not the default")
	}
	if m := p.want(200, "GET", "/admin/stats/tokens?days=90", "").json(); m["total"].(map[string]any)["total_tokens"] != 112221.0 {
		t.Errorf("of 90 days: %v", m["total"])
	}
	if m := p.want(200, "GET", "/admin/stats/tokens?days=1", "").json(); m["total"].(map[string]any)["total_tokens"] != 121.0 {
		t.Errorf("of today: %v", m["total"])
	}

	m = p.want(200, "GET", "/admin/stats/account-usage?days=7", "").json()
	sameKeys(t, "account-usage", m, "period", "accounts")
	list := m["accounts"].([]any)
	a, b, c := list[0].(map[string]any), list[1].(map[string]any), list[2].(map[string]any)
	sameKeys(t, "its account", a, "account_id", "account_name", "is_active", "is_healthy", "input_tokens", "output_tokens", "total_tokens", "requests",
		"total_requests_all_time", "total_tokens_all_time", "last_used")
	if a["account_name"] != "one" || a["total_tokens"] != 1111.0 || a["total_tokens_all_time"] != 112111.0 || a["last_used"] == nil || b["is_healthy"] != false || c["is_active"] != false || c["last_used"] != nil {
		t.Errorf("account-usage: %v", list)
	}
	for _, days := range []string{"0", "-1", "91", "x", "1.5", "99999999999999999999"} {
		for _, path := range []string{"tokens", "account-usage"} {
			if a := p.want(400, "GET", "/admin/stats/"+path+"?days="+days, ""); a.json()["detail"] == nil || a.json()["detail"] != a.json()["error"] {
				t.Errorf("days=%s: %s", days, a.body)
			}
		}
	}
	own := p.key("default", `{"name":"own","nodes":true}`)
	for _, path := range []string{"accounts", "api-keys", "tokens", "account-usage"} {
		if a := p.call("GET", "/admin/stats/"+path, ""); a.status != 401 || a.json()["detail"] == nil {
			t.Errorf("%s without a key: %d %s", path, a.status, a.body)
		}
		if a := p.call("GET", "/admin/stats/"+path, "", "Authorization", "Bearer "+own); a.status != 403 {
			t.Errorf("%s with a tenant's key: %d %s", path, a.status, a.body)
		}
	}
	p.want(404, "GET", "/admin/stats/other", "")
	p.want(405, "POST", "/admin/stats/tokens", "")
}
