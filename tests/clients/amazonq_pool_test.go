package clients_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// Clients over a pool of Amazon Q accounts: one works, one is throttled, and one has been suspended. The two that do not
// work are preferred, so that every client meets both of them.

// poolNode is the kind of the pool: it serves Claude models alone.
var poolNode = kind{"AmazonQ", "amazonq", model}

// pool is a stage in front of three accounts. Its upstream is the one that works.
type pool struct {
	*stage
	q                    *up.AmazonQ // the upstream as what it is
	throttled, suspended *up.AmazonQ
	tokens               *up.OIDC
}

// poolOn starts a pool for a test that runs beside others. The weights are those of throttled, suspended and working.
func poolOn(t *testing.T, weights ...int) *pool {
	t.Helper()
	t.Parallel()
	p := &pool{tokens: up.NewOIDC(t), q: up.NewAmazonQ(t), throttled: up.NewAmazonQ(t), suspended: up.NewAmazonQ(t)}
	p.throttled.Default(up.Status(http.StatusTooManyRequests, ""))
	p.suspended.Default(up.Suspended())
	gw := startGateway(t, "", "UPSTREAM_ALLOW_PRIVATE=true", "AMAZONQ_TOKEN_ENDPOINT="+p.tokens.URL)
	p.stage = &stage{fixture: &fixture{T: t, gw: gw, tap: newTap(t, gw.URL)}, kind: poolNode, up: p.q}
	if weights == nil {
		weights = []int{1, 1, 2}
	}
	for i, node := range []struct {
		name string
		up   *up.AmazonQ
	}{{"throttled", p.throttled}, {"suspended", p.suspended}, {"works", p.q}} {
		node.up.SetModels("claude-sonnet-5.5", "claude-opus-5.5", "claude-haiku-4.5", "claude-sonnet-4.5")
		node.up.SetTokens(p.tokens.Valid)
		login := p.tokens.Login()
		gw.admin(http.MethodPost, "/admin/api/nodes", object{"name": node.name, "kind": "amazonq", "base_url": node.up.URL, "weight": weights[i],
			"limits":    object{"requests_per_minute": 600}, // the default of 10 would do for no test
			"client_id": login.ClientID, "client_secret": login.ClientSecret, "refresh_token": login.RefreshToken}, nil)
	}
	return p
}

// checkPool verifies what holds for every test: what the clients sent passes all checks of the service, and none of them
// noticed the accounts that do not work.
func (p *pool) checkPool() {
	p.Helper()
	for name, q := range map[string]*up.AmazonQ{"works": p.q, "throttled": p.throttled, "suspended": p.suspended} {
		if refused := q.Refused(); len(refused) > 0 {
			p.Errorf("the service refused what was sent to the account %s: %q", name, refused)
		}
		for _, r := range q.Conversations() {
			if strings.Contains(string(r.Body), proxyKey) || !p.tokens.Valid(r.Credential()) {
				p.Errorf("%s was sent the credential %q", name, r.Credential())
			}
		}
	}
	for _, x := range p.asked() {
		if node := x.Answer.Get("X-Proxy-Node"); node != "works" {
			p.Errorf("%s: status %d by the account %q: %s", x.Path, x.Status, node, x.Text)
		}
	}
	if a, b := len(p.throttled.Conversations()), len(p.suspended.Conversations()); a < 1 || b != 1 {
		p.Errorf("the throttled account was asked %d times, the suspended one %d times", a, b)
	}
}

// wantReached checks how many requests for a reply reached the account that works.
func (p *pool) wantReached(n int) {
	p.Helper()
	if got := len(p.q.Conversations()); got != n {
		p.Errorf("%d requests reached the account, want %d", got, n)
	}
}

// lastSaid reads the newest request for a reply as the account that works got it.
func (p *pool) lastSaid() *poolSaid {
	p.Helper()
	all := p.q.Conversations()
	if len(all) == 0 {
		p.Fatal("nothing reached the account")
	}
	return readPool(p.T, all[len(all)-1].Body)
}

// ways runs a test without and with streaming on one pool.
func (p *pool) ways(test func(p *pool, stream bool)) {
	p.Helper()
	p.stage.ways(func(s *stage, stream bool) {
		sub := *p
		sub.stage = s
		test(&sub, stream)
	})
}

// checkCounted compares the usage records of the client's requests with what the account reported for each.
func (p *pool) checkCounted(endpoint string, n int) {
	p.Helper()
	for _, u := range p.gw.usages(endpoint, n) {
		checkTokens(p.T, u, counted)
		if u.Status != http.StatusOK || !u.Success || u.NodeName != "works" {
			p.Errorf("recorded %+v", u)
		}
	}
}

// TestPoolShares: three accounts alike share the load until it shows what is wrong with two of them; the client sees none of
// it, and each account has logged in once.
func TestPoolShares(t *testing.T) {
	p := poolOn(t, 1, 1, 1)
	c := newSDKV2(p.tap.URL, sdkOptions{key: proxyKey})
	met := func() bool { return len(p.throttled.Conversations()) > 0 && len(p.suspended.Conversations()) > 0 }
	for i := 0; i < 100 && !met(); i++ {
		talk := c.chat(chatOptions{})
		talk.say("Hello")
		if r, err := talk.turn(within(p.T, patience), i%2 == 0); err != nil || r.stop != "end_turn" {
			p.Fatalf("request %d: %+v, %v", i, r, err)
		}
	}
	p.checkPool()
	p.checkSaid()
	if n := p.tokens.Refreshes(); n != 3 {
		p.Errorf("%d refreshes for three accounts", n)
	}
	want := map[string]string{"works": "online", "throttled": "cooling", "suspended": "suspended"}
	if got := p.states(); !maps.Equal(got, want) {
		p.Errorf("the accounts are shown as %v", got)
	}
}

// states are those of the accounts, as the admin API shows them.
func (p *pool) states() map[string]string {
	p.Helper()
	var list struct {
		Nodes []struct{ Name, State string }
	}
	p.gw.admin(http.MethodGet, "/admin/api/nodes", nil, &list)
	out := map[string]string{}
	for _, n := range list.Nodes {
		out[n.Name] = n.State
	}
	return out
}

// meet makes a client meet all three accounts, and waits until it has been saved what is wrong with two of them: for tests
// whose requests follow each other faster than that.
func (p *pool) meet() {
	p.Helper()
	c := newSDKV2(p.tap.URL, sdkOptions{key: proxyKey}).chat(chatOptions{})
	c.say("Hello")
	_, err := c.turn(within(p.T, patience), true)
	p.noError(err)
	poll(p.T, settle, "the suspended account's state", func() bool { return p.states()["suspended"] == "suspended" })
}
