package boot_test

import (
	"testing"
	"time"

	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// An account whose month was used up rested until the first of the next one, also after it was upgraded, and although the
// service's month ends on another day.
func TestMonthlyRestEndsWhenTheServiceSaysSo(t *testing.T) {
	oidc, q := upstreamtest.NewOIDC(t), upstreamtest.NewAmazonQ(t)
	q.SetTokens(oidc.Valid)
	l := oidc.Login()
	g := boottest.Start(t, map[string]string{"AMAZONQ_TOKEN_ENDPOINT": oidc.URL, "AMAZONQ_API_ENDPOINT": q.URL, "AMAZONQ_REFRESH_TOKEN": l.RefreshToken,
		"AMAZONQ_CLIENT_ID": l.ClientID, "AMAZONQ_CLIENT_SECRET": l.ClientSecret})
	oidc.SetClock(g.Now)
	nodes, err := g.Tables.Nodes.All(t.Context(), "")
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	id, account := nodes[0].Value.ID, nodes[0].Value.Account
	cools := func(until time.Time) {
		t.Helper()
		_, err := g.Tables.States.Upsert(t.Context(), id, func(s *core.NodeState) error { // as another instance does
			*s = core.NodeState{Node: id, Account: account, Cooling: map[string]time.Time{"": until}}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rests := func() time.Time {
		t.Helper()
		row, err := g.Tables.States.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return row.Value.Cooling[""]
	}
	for _, c := range []struct {
		why         string
		rest        time.Duration
		used, limit float64
		reset, want time.Duration // from now
		asked       bool
	}{
		{"throttled", 20 * time.Second, 1, 9, 240 * time.Hour, 20 * time.Second, false},
		{"upgraded", 240 * time.Hour, 50, 1000, 240 * time.Hour, 0, true},
		{"its month ends sooner", 240 * time.Hour, 50, 50, 72 * time.Hour, 72 * time.Hour, true},
		{"as the calendar", 240 * time.Hour, 50, 50, 240 * time.Hour, 240 * time.Hour, true},
	} {
		now := g.Now()
		q.SetQuota(c.used, c.limit, now.Add(c.reset).Truncate(time.Second))
		cools(now.Add(c.rest))
		before := q.Count()
		g.RefreshTokens(t.Context())
		if until := rests(); c.want == 0 && until.After(now) || c.want > 0 && until.Sub(now.Add(c.want)).Abs() > 2*time.Second {
			t.Errorf("%s: rests until %v, now is %v", c.why, until, now)
		}
		if asked := q.Count() > before; asked != c.asked {
			t.Errorf("%s: asked %v", c.why, asked)
		}
		before = q.Count()
		g.RefreshTokens(t.Context())
		if q.Count() != before {
			t.Errorf("%s: asked again at once", c.why)
		}
		g.Advance(2 * time.Hour)
	}
}
