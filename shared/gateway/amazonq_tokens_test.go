package gateway_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/amazonq"
	"sluice/shared/upstream/upstreamtest"
)

// served posts and wants the node's answer.
func (r *rig) served(node string) {
	r.t.Helper()
	if got := r.post(poolPlain); got.status != 200 || got.header.Get("X-Proxy-Node") != node {
		r.t.Fatalf("got %d from %q: %s", got.status, got.header.Get("X-Proxy-Node"), got.body)
	}
}

// OldPoolBug: the older pool asked for a new access token with every request.
func TestOldPoolBug_RefreshOnEveryRequest(t *testing.T) {
	r, c, up, oidc := guideRig(t)
	r.account("a", oidc.Login())
	for range 5 {
		r.served("a")
	}
	c.advance(time.Hour - 5*time.Minute - time.Second) // of the hour that the token lives
	r.served("a")
	if oidc.Count() != 1 {
		t.Errorf("%d requests to the token service for 6 requests, want 1", oidc.Count())
	}
	c.advance(2 * time.Second) // less than five minutes are left
	r.served("a")
	if oidc.Count() != 2 || len(up.Refused()) != 0 {
		t.Errorf("%d requests to the token service, want 2", oidc.Count())
	}
}

// OldPoolBug: the refresh token that came with an answer was thrown away, though the one that was sent was void from then on.
func TestOldPoolBug_RotatedRefreshTokenIsSaved(t *testing.T) {
	r, c, up, oidc := guideRig(t)
	l := oidc.Login()
	r.account("a", l)
	r.served("a")
	c.advance(58 * time.Minute)
	r.served("a")
	c.advance(58 * time.Minute)
	again := newRigOn(t, r.store, c.now, "PROXY_RETRY_MAX", "1", "AMAZONQ_API_ENDPOINT", up.URL, "AMAZONQ_TOKEN_ENDPOINT", oidc.URL)
	again.served("a") // after a restart
	if oidc.Refreshes() != 3 {
		t.Errorf("%d refreshes, want 3", oidc.Refreshes())
	}
	var used []string
	for _, q := range oidc.Requests() {
		var in struct{ RefreshToken string }
		if err := json.Unmarshal(q.Body, &in); err != nil {
			t.Fatal(err)
		}
		used = append(used, in.RefreshToken)
	}
	if used[0] != l.RefreshToken || used[1] == used[0] || used[2] == used[1] || used[2] == used[0] {
		t.Error("a refresh token was used twice")
	}
}

// A token that ends before its time is renewed once, and the request sent again, whatever the service calls it.
func TestPool_ExpiredTokenIsRenewedWithinTheRequest(t *testing.T) {
	for why, b := range map[string]upstreamtest.Behaviour{
		"invalid, 403": upstreamtest.TokenInvalid(403),
		"invalid, 401": upstreamtest.TokenInvalid(401),
		"expired":      upstreamtest.TokenExpired(),
	} {
		r, c, up, oidc := guideRig(t)
		up.SetInvalid(b)
		id := r.account("a", oidc.Login())
		r.served("a")
		c.advance(10 * time.Minute)
		oidc.RevokeAccess()
		for i, ask := range poolAsks {
			if i > 0 {
				c.advance(10 * time.Minute)
				oidc.RevokeAccess()
			}
			got := r.do("POST", ask.path, ask.body)
			if got.status != 200 || !strings.Contains(got.body, ask.end) {
				t.Fatalf("%s, %s: got %d %s", why, ask.name, got.status, got.body)
			}
		}
		sent := up.Conversations()
		last, before := sent[len(sent)-1], sent[len(sent)-2]
		if string(last.Body) != string(before.Body) || last.Credential() == before.Credential() {
			t.Errorf("%s: the second attempt is not the first with another token", why)
		}
		if len(sent) != 1+2*3 || oidc.Refreshes() != 1+3 {
			t.Errorf("%s: %d requests and %d refreshes", why, len(sent), oidc.Refreshes())
		}
		if s := r.state(id); s.FailStreak != 0 || s.Blocked != "" {
			t.Errorf("%s: the node is blamed: %+v", why, s)
		}
		for _, rec := range r.records() {
			if rec.Attempts != 1 || !rec.Success() {
				t.Errorf("%s: recorded %+v", why, rec)
			}
		}
	}
}

// A token that is refused although it is new is no reason for a loop of refreshes.
func TestPool_TokenThatIsAlwaysRefused(t *testing.T) {
	r, c, up, oidc := guideRig(t)
	up.SetTokens(func(string) bool { return false })
	r.account("a", oidc.Login())
	for range 3 {
		if got := r.post(poolPlain); got.status == 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		c.advance(time.Second)
	}
	if oidc.Count() > 2 {
		t.Errorf("%d requests to the token service", oidc.Count())
	}
}

// Fifty requests that meet an expired token make one refresh.
func TestPool_OneRefreshForManyRequests(t *testing.T) {
	for _, c := range []struct {
		why     string
		expired func(*clock, *upstreamtest.OIDC)
	}{
		{"known to have expired", func(c *clock, _ *upstreamtest.OIDC) { c.advance(2 * time.Hour) }},
		{"found out at the service", func(c *clock, o *upstreamtest.OIDC) { c.advance(10 * time.Minute); o.RevokeAccess() }},
		{"never had one", nil},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, at, _, oidc := guideRig(t)
			id := r.account("a", oidc.Login())
			r.editNode(id, func(n *core.Node) { n.Limits = core.Limits{} })
			want := 1
			if c.expired != nil {
				r.served("a")
				c.expired(at, oidc)
				want = 2
			}
			oidc.Default(upstreamtest.Reply().Pause(upstreamtest.BeforeHeaders, 20*time.Millisecond))
			var wg sync.WaitGroup
			for i := range 50 {
				ask := poolAsks[i%len(poolAsks)]
				wg.Go(func() {
					resp, err := r.client.Do(r.request(t.Context(), "POST", ask.path, ask.plain))
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					if resp.StatusCode != 200 {
						t.Errorf("got %d", resp.StatusCode)
					}
				})
			}
			wg.Wait()
			if oidc.Count() != want {
				t.Errorf("%d requests to the token service, want %d", oidc.Count(), want)
			}
		})
	}
}

// A login that ended blocks its node, the others serve, and a new credential brings it back.
func TestPool_LostLoginIsBlockedUntilANewOneComes(t *testing.T) {
	r, c, up, oidc := guideRig(t)
	l := oidc.Login()
	a, b := r.account("a", l), r.account("b", oidc.Login())
	r.editNode(b, func(n *core.Node) { n.Weight = 9 })
	r.served("a")
	c.advance(58 * time.Minute)
	oidc.Revoke(l.RefreshToken, l.AccessToken)
	oidc.RevokeAccess()
	oidc.Queue(upstreamtest.Status(400, "").ErrorCode("invalid_grant"))
	r.served("b")
	if s := r.state(a); s.Blocked != core.BlockedLogin {
		t.Fatalf("state %+v", s)
	}
	n := oidc.Count()
	for range 4 {
		r.served("b")
		c.advance(time.Minute)
	}
	again := newRigOn(t, r.store, c.now, "PROXY_RETRY_MAX", "1", "AMAZONQ_API_ENDPOINT", up.URL, "AMAZONQ_TOKEN_ENDPOINT", oidc.URL)
	again.served("b")
	again.app.RefreshTokens(t.Context())
	if oidc.Count() != n {
		t.Errorf("the token service was asked %d times more for a login that ended", oidc.Count()-n)
	}

	next := oidc.Login()
	body, _ := json.Marshal(map[string]string{"refresh_token": next.RefreshToken, "client_id": next.ClientID, "client_secret": next.ClientSecret})
	r.admin("PUT", "/admin/accounts/"+a, string(body), 200)
	r.served("a")
	again.served("a") // another instance learns of it, too
	if s := r.state(a); s.Blocked != "" {
		t.Errorf("state %+v", s)
	}
}

// All logins have ended: clients are told that the operator must act, in no words of the token service.
func TestPool_AllLoginsLost(t *testing.T) {
	r, _, _, oidc := guideRig(t)
	l := oidc.Login()
	r.account("a", l)
	oidc.Revoke(l.RefreshToken)
	wantError(t, r.post(poolPlain), 502, "api_error", "log in again")
	for _, ask := range poolAsks {
		got := r.do("POST", ask.path, ask.body)
		if got.status != 503 || !strings.Contains(got.body, "operator") || strings.Contains(got.body, l.ClientID) {
			t.Errorf("%s: got %d %s", ask.name, got.status, got.body)
		}
	}
}

// A token service that is down is no login that ended: the node is tried again.
func TestPool_TokenServiceDown(t *testing.T) {
	r, c, _, oidc := guideRig(t)
	id := r.account("a", oidc.Login())
	oidc.Default(upstreamtest.Status(503, ""))
	if got := r.post(poolPlain); got.status < 500 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if s := r.state(id); s.Blocked != "" {
		t.Errorf("state %+v", s)
	}
	oidc.Default(upstreamtest.Reply())
	c.advance(time.Minute)
	r.served("a")
}

// The scheduler's sweep is ahead of the requests: while it runs, none waits for a token.
func TestPool_SweepRefreshesEarly(t *testing.T) {
	r, c, _, oidc := guideRig(t)
	ids := []string{r.account("a", oidc.Login()), r.account("b", oidc.Login())}
	static := upstreamtest.NewAmazonQ(t)
	r.node("key", static.URL, r.login(amazonq.Credential{APIKey: "ksk_x"}), weight(9))
	off := r.account("off", oidc.Login())
	r.editNode(off, func(n *core.Node) { n.Disabled = true })

	r.app.RefreshTokens(t.Context())
	if oidc.Count() != 2 {
		t.Fatalf("%d requests to the token service for two logins", oidc.Count())
	}
	for range 60 { // a minute each: an hour
		c.advance(time.Minute)
		r.app.RefreshTokens(t.Context())
		n := oidc.Count()
		if got := r.post(poolPlain); got.status != 200 || oidc.Count() != n {
			t.Fatalf("got %d; a request refreshed a token: %v", got.status, oidc.Count() != n)
		}
	}
	if oidc.Count() != 4 {
		t.Errorf("%d refreshes in an hour for two logins, want 4", oidc.Count())
	}

	// a login that ended is found by the sweep, before a request meets it
	c.advance(54 * time.Minute)
	oidc.Queue(upstreamtest.Status(400, "").ErrorCode("invalid_grant"))
	r.app.RefreshTokens(t.Context())
	blocked := ""
	for _, id := range ids {
		if s := r.state(id); s.Blocked == core.BlockedLogin {
			blocked += id
		}
	}
	if len(blocked) != 1 {
		t.Errorf("blocked: %q, want one of %v", blocked, ids)
	}
	for range 8 {
		if got := r.post(poolPlain); got.status != 200 || got.header.Get("X-Proxy-Node") == "key" {
			t.Errorf("got %d from %s", got.status, got.header.Get("X-Proxy-Node"))
		}
	}
}

// The older pool's own credentials, from its environment, serve as well (acceptance 2.17, 6).
func TestPool_EnvironmentOfTheOlderPool(t *testing.T) {
	up, oidc := upstreamtest.NewAmazonQ(t), upstreamtest.NewOIDC(t)
	up.SetTokens(oidc.Valid)
	l := oidc.Login()
	r := newRig(t, "AMAZONQ_API_ENDPOINT", up.URL, "AMAZONQ_TOKEN_ENDPOINT", oidc.URL+"/token", "AMAZONQ_REFRESH_TOKEN", l.RefreshToken,
		"AMAZONQ_CLIENT_ID", l.ClientID, "AMAZONQ_CLIENT_SECRET", l.ClientSecret, "AMAZONQ_PROFILE_ARN", "arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL")
	r.served("amazonq")
	if body := string(up.Last().Body); !strings.Contains(body, `"profileArn":"arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL"`) {
		t.Errorf("sent %s", body)
	}
}
