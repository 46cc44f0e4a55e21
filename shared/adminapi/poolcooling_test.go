package adminapi_test

import (
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/amazonq"
)

// An account whose month was used up was shown as healthy, and stayed out until the next month whatever its operator did.
func TestMonthlyCoolingEnds(t *testing.T) {
	const month = 21 * 24 * time.Hour
	used := func(u amazonq.Usage, overage string) *amazonq.Quota {
		return &amazonq.Quota{Usage: u, OverageStatus: overage}
	}
	for _, c := range []struct {
		why          string
		method, verb string
		body         string
		quota        *amazonq.Quota
		ends         bool
	}{
		{"enabled", "PUT", "", `{"is_active":true}`, nil, true},
		{"edited otherwise", "PUT", "", `{"name":"x","notes":"y"}`, nil, false},
		{"refreshed", "POST", "/refresh-token", ``, nil, true},
		{"asked, and there is room", "GET", "/quota", ``, nil, true},
		{"asked, and there is none", "GET", "/quota", ``, used(amazonq.Usage{Used: 50, Limit: 50}, ""), false},
		{"asked, and nothing is known", "GET", "/quota", ``, used(amazonq.Usage{}, ""), false},
		{"room in the trial", "GET", "/quota", ``, used(amazonq.Usage{Used: 50, Limit: 50, Trial: &amazonq.Trial{Status: "ACTIVE", Used: 1, Limit: 5}}, ""), true},
		{"the trial has ended", "GET", "/quota", ``, used(amazonq.Usage{Used: 50, Limit: 50, Trial: &amazonq.Trial{Status: "EXPIRED", Used: 1, Limit: 5}}, ""), false},
		{"paid for", "GET", "/quota", ``, used(amazonq.Usage{Used: 50, Limit: 50, Overage: &amazonq.Overage{Used: 1, Cap: 9}}, "ENABLED"), true},
		{"might be paid for", "GET", "/quota", ``, used(amazonq.Usage{Used: 50, Limit: 50, Overage: &amazonq.Overage{Used: 1, Cap: 9}}, "DISABLED"), false},
	} {
		p := newPool(t, &fakeQ{quota: c.quota})
		path := p.add("one")
		n := p.health.Node(t.Context(), "1", core.DefaultAccount)
		until := p.clock().Add(month)
		p.health.Cooled(n, "one", "", until, "monthly limit used up", p.clock())
		if err := p.health.Save(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if m := p.want(200, "GET", path, "").json(); m["is_healthy"] != false || m["auto_recover_at"] != until.Format(time.RFC3339) || m["is_active"] != true {
			t.Errorf("%s: while it cools: %v", c.why, m)
		}
		if m := p.want(200, "GET", "/admin/stats/accounts", "").json(); m["healthy_accounts"] != 0.0 {
			t.Errorf("%s: counted as healthy: %v", c.why, m)
		}
		p.want(200, c.method, path+c.verb, c.body)
		m := p.want(200, "GET", path, "").json()
		if m["is_healthy"] != c.ends || (m["auto_recover_at"] == nil) != c.ends {
			t.Errorf("%s: after it: %v", c.why, m)
		}
		if s, err := p.tables.States.Get(t.Context(), "1"); err != nil || (len(s.Value.Cooling) == 0) != c.ends {
			t.Errorf("%s: saved %+v %v", c.why, s.Value, err)
		}
		p.advance(month)
		if m := p.want(200, "GET", path, "").json(); m["is_healthy"] != true || m["auto_recover_at"] != nil {
			t.Errorf("%s: when its time has come: %v", c.why, m)
		}
	}
}

// Cooling for one model is no illness of the account; and room in the quota is no reason to end anything else.
func TestQuotaEndsNothingElse(t *testing.T) {
	p := newPool(t, &fakeQ{})
	path := p.add("one")
	n := p.health.Node(t.Context(), "1", core.DefaultAccount)
	p.health.Cooled(n, "one", "claude-opus-4.6", p.clock().Add(time.Hour), "throttled", p.clock())
	if m := p.want(200, "GET", path, "").json(); m["is_healthy"] != true || m["auto_recover_at"] != nil {
		t.Errorf("one model cools: %v", m)
	}
	p.health.Blocked(n, "one", core.BlockedSuspended, "suspended", p.clock())
	p.health.Cooled(n, "one", "", p.clock().Add(time.Hour), "quota used up", p.clock())
	if err := p.health.Save(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	p.want(200, "GET", path+"/quota", "")
	s, err := p.tables.States.Get(t.Context(), "1")
	if err != nil || s.Value.Blocked != core.BlockedSuspended || len(s.Value.Cooling) != 1 || p.want(200, "GET", path, "").json()["is_healthy"] != false {
		t.Errorf("left: %+v %v", s.Value, err)
	}
}
