package adminapi_test

import (
	"testing"
)

// TestBudgets: what is spent of each budget is told to its owner and to administrators, to nobody else.
func TestBudgets(t *testing.T) {
	w := start(t)
	beta := w.account("beta", "beta-proxy-key-4567")
	w.node("beta-proxy-key-4567", "b", w.up.URL, 1)
	if got := w.admin(200, "GET", "/api/usage/budgets", "").List("budgets"); len(got) != 0 {
		t.Errorf("nobody has one: %v", got)
	}
	w.admin(200, "PUT", "/admin/api/accounts?id="+beta, `{"limits":{"usd_per_month":100}}`)
	key := w.admin(201, "POST", "/admin/api/keys?account_id="+beta, `{"name":"ci","usd_per_day":0.01}`)
	w.used(key.Text("key"), 2)
	w.used("beta-proxy-key-4567", 1)
	w.used(proxyKey, 1) // of another account
	all := w.admin(200, "GET", "/api/usage/budgets", "").List("budgets")
	if len(all) != 2 {
		t.Fatalf("%v", all)
	}
	day, month := all[0], all[1]
	one := w.admin(200, "GET", "/api/usage/logs?limit=1", "").List("logs")[0]["cost_usd"].(float64)
	if day["account_id"] != beta || day["key_id"] != key.Text("id") || day["name"] != "ci" || day["period"] != "day" || day["limit_usd"] != 0.01 || !near(day["spent_usd"], 2*one) || !near(day["used"], 200*one) ||
		day["used_up_at"] != nil || day["resets_at"] == nil {
		t.Errorf("the key's, of an account too young for a forecast: %v", day)
	}
	if month["account_id"] != beta || month["key_id"] != nil || month["name"] != "beta" || month["period"] != "month" || month["limit_usd"] != 100.0 || !near(month["spent_usd"], 3*one) {
		t.Errorf("the account's: %v", month)
	}
	if got := w.tenant(200, "beta-proxy-key-4567", "GET", "/api/usage/budgets", "").List("budgets"); len(got) != 2 {
		t.Errorf("the account itself: %v", got)
	}
	if got := w.tenant(200, proxyKey, "GET", "/api/usage/budgets", "").List("budgets"); len(got) != 0 {
		t.Errorf("another account: %v", got)
	}
	first := w.admin(200, "GET", "/api/usage/budgets?limit=1", "")
	if got := first.List("budgets"); len(got) != 1 || got[0]["period"] != "day" || first.JSON()["total"] != 2.0 {
		t.Errorf("the one that is used up the furthest, of two: %v", first)
	}
	w.admin(400, "GET", "/api/usage/budgets?limit=0", "")
	w.tenant(403, proxyKey, "GET", "/api/usage/budgets?account_id="+beta, "")
	w.admin(404, "GET", "/api/usage/budgets?account_id=acc-nobody", "")
}

func near(v any, want float64) bool {
	f, ok := v.(float64)
	return ok && f > want*0.999 && f < want*1.001
}
