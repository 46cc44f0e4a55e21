package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream/upstreamtest"
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

// TestBudgetFindsWhatWasSpent: a budget that is set when more than it was spent lets nothing in, as every report says; so does one
// that is taken away and set again.
func TestBudgetFindsWhatWasSpent(t *testing.T) {
	for _, c := range []struct{ why, target, set, lift, period string }{
		{"an account without limits", "/admin/api/accounts?id=%s", `{"limits":{"usd_per_month":0.5}}`, `{"limits":{"usd_per_month":0}}`, "month"},
		{"its day", "/admin/api/accounts?id=%s", `{"limits":{"usd_per_day":0.5}}`, `{"limits":{"usd_per_day":0}}`, "day"},
		{"a key", "/admin/api/keys?id=%[2]s", `{"usd_per_day":0.5}`, `{"usd_per_day":0}`, "day"},
		{"its month", "/admin/api/keys?id=%[2]s", `{"usd_per_month":0.5,"requests_per_minute":100}`, `{"usd_per_month":0}`, "month"},
		{"a node", "/admin/api/nodes?id=%[3]s", `{"limits":{"usd_per_month":0.5}}`, `{"limits":{"usd_per_month":0}}`, ""},
	} {
		w := start(t)
		const cred = "beta-proxy-key-4567"
		beta := w.account("beta", cred)
		node := w.node(cred, "b", w.up.URL, 1)
		key := w.admin(200, "GET", "/admin/api/keys?account_id="+beta, "").List("keys")[0]["id"]
		target := fmt.Sprintf(c.target+"%.0[1]s%.0[2]s%.0[3]s", beta, key, node)
		ask := func(n, want int) {
			t.Helper()
			w.up.Default(upstreamtest.Reply(upstreamtest.Text("Hi")).Usage(upstreamtest.Usage{Input: 100_000})) // $0.30
			for range n {
				if status, body := w.ask(cred); status != want {
					t.Errorf("%s: status %d, want %d: %s", c.why, status, want, body)
				}
			}
		}
		told := func(want float64) {
			t.Helper()
			if c.period == "" {
				return
			}
			if got := w.admin(200, "GET", "/api/usage/budgets?account_id="+beta, "").List("budgets"); len(got) != 1 || got[0]["period"] != c.period || !near(got[0]["spent_usd"], want) {
				t.Errorf("%s: %v", c.why, got)
			}
		}
		ask(2, 200)
		w.admin(200, "PUT", target, c.set)
		told(0.6)
		ask(1, 429)
		w.admin(200, "PUT", target, c.lift)
		ask(1, 200)
		w.admin(200, "PUT", target, c.set)
		told(0.9)
		ask(1, 429)
	}
}

// TestBudgetWithoutRecords: a budget that cannot be told what was spent is not set, and nothing else of the call.
func TestBudgetWithoutRecords(t *testing.T) {
	p := newPool(t, nil)
	id := p.made("default", anthropicNode)
	p.serve(func(o *optionsOf) { o.Usage = noSums{o.Usage} })
	p.want(500, "PUT", "/admin/api/nodes?id="+id, `{"name":"x","limits":{"usd_per_day":5}}`)
	p.want(500, "PUT", "/admin/api/accounts?id=default", `{"name":"x","limits":{"usd_per_day":5}}`)
	n, err := p.tables.Nodes.Get(t.Context(), id)
	if err != nil || n.Value.Name == "x" || n.Value.Limits.USDDay != 0 {
		t.Errorf("%+v, %v", n, err)
	}
	a, err := p.tables.Accounts.Get(t.Context(), "default")
	if err != nil || a.Value.Name == "x" || a.Value.Limits.USDDay != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"limits":{"usd_per_day":0,"requests_per_day":9}}`) // nothing to read
}

type noSums struct{ store.Usage }

func (noSums) Sums(context.Context, store.UsageFilter, store.GroupBy) ([]core.UsageSum, error) {
	return nil, errors.New("away")
}

// TestMetricsBeginWithADay: the first day or month is whole, also where clocks skip its midnight.
func TestMetricsBeginWithADay(t *testing.T) {
	for _, c := range []struct{ why, zone, granularity, to, want string }{
		{"a plain day", "UTC", "day", "2026-03-31T04:00:00Z", "2026-03-01T00:00:00Z"},
		{"its midnight is skipped", "America/Santiago", "day", "2026-10-06T12:00:00-03:00", "2026-09-06T01:00:00-03:00"},
		{"months of a year", "Asia/Shanghai", "month", "2026-03-31T04:00:00+08:00", "2025-03-01T00:00:00+08:00"},
		{"the first midnight is skipped", "America/Asuncion", "month", "2001-10-31T04:00:00-03:00", "2000-10-01T01:00:00-03:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		to, err2 := time.Parse(time.RFC3339, c.to)
		want, err3 := time.Parse(time.RFC3339, c.want)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		if got := adminapi.MetricsBegin(c.granularity, to, zone); !got.Equal(want) {
			t.Errorf("%s: %v, want %s", c.why, got, c.want)
		}
	}
}
