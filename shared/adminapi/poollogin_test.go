package adminapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/core"
	"sluice/shared/store"
)

func (p *pool) begin(body string) string {
	p.t.Helper()
	m := p.want(200, "POST", "/admin/accounts/login", body).json()
	return "/admin/accounts/login/" + m["id"].(string)
}

func (p *pool) poll(path, status string) map[string]any {
	p.t.Helper()
	m := p.want(200, "POST", path, "").json()
	if m["status"] != status {
		p.t.Errorf("polled %v, want %s", m, status)
	}
	return m
}

// A device login from its beginning to the account, as a page polls it.
func TestLogin(t *testing.T) {
	q := &fakeQ{status: adminapi.LoginPending}
	p := newPool(t, q)
	p.add("work")
	m := p.want(200, "POST", "/admin/accounts/login", `{"start_url":"https://d-1234567890.awsapps.com/start#/","region":"eu-central-1","name":"by login","profile_arn":"`+profile+`","requests_per_minute":20,"api":"kiro"}`).json()
	sameKeys(t, "the answer", m, "id", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval")
	if m["user_code"] != "ABCD-EFGH" || m["interval"] != 5.0 || m["expires_in"] != 600.0 {
		t.Errorf("began %v", m)
	}
	if q.began[0] != (adminapi.LoginPlace{StartURL: "https://d-1234567890.awsapps.com/start", Region: "eu-central-1"}) {
		t.Errorf("began at %v", q.began)
	}
	path := "/admin/accounts/login/" + m["id"].(string)
	doc, err := p.store.Get(t.Context(), store.KindLogin, m["id"].(string))
	if err != nil || strings.Contains(string(doc.Body), deviceCode) || strings.Contains(string(doc.Body), "client-secret-of-login") || doc.Expires.IsZero() {
		t.Errorf("the login is not sealed or does not expire: %v %s", err, doc.Body)
	}
	if m := p.poll(path, "pending"); len(q.polls) != 0 {
		t.Error("polled before its time, the service was asked")
	} else if m["user_code"] != "ABCD-EFGH" || m["verification_uri_complete"] != "https://device.sso.us-east-1.amazonaws.com/?user_code=ABCD-EFGH" || m["expires_in"] != 600.0 {
		t.Errorf("a page that is loaded anew cannot show the login again: %v", m)
	}
	p.advance(5 * time.Second)
	if m := p.poll(path, "pending"); m["interval"] != 5.0 || len(q.polls) != 1 || q.polls[0].DeviceCode.Reveal() != deviceCode || q.polls[0].Region != "eu-central-1" {
		t.Errorf("polled %v", m)
	}
	q.status = adminapi.LoginSlowDown
	p.advance(5 * time.Second)
	if m := p.poll(path, "slow_down"); m["interval"] != 10.0 {
		t.Errorf("slowed down to %v", m)
	}
	p.advance(9 * time.Second)
	if p.poll(path, "pending"); len(q.polls) != 2 {
		t.Error("the longer interval does not hold")
	}
	q.status = adminapi.LoginComplete
	p.advance(time.Second)
	// several polls at once: one asks, and there is one account
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { p.call("POST", path, "", "x-admin-key", poolAdmin) })
	}
	wg.Wait()
	m = p.poll(path, "complete") // an answer that got lost is given again
	acct := m["account"].(map[string]any)
	sameKeys(t, "the account", acct, accountFields...)
	if acct["name"] != "by login" || acct["requests_per_minute"] != 20.0 || acct["profile_arn"] != profile || len(q.polls) != 3 {
		t.Errorf("completed %v after %d questions", m, len(q.polls))
	}
	if l := p.want(200, "GET", "/admin/accounts", "").list(); len(l) != 2 {
		t.Errorf("listed %v", l)
	}
	made := fmt.Sprintf("/%v", acct["id"]) // the polls at once may have drawn numbers that they did not use
	n := p.node(made)
	c := p.credential(n)
	if c.RefreshToken != "refresh-secret-of-login" || c.ClientID != "registered-client" || c.ClientSecret != "client-secret-of-login" || c.Region != "eu-central-1" ||
		c.StartURL != "https://d-1234567890.awsapps.com/start" || n.API != "kiro" || n.Account != core.DefaultAccount {
		t.Errorf("stored %+v", n)
	}
	p.want(200, "DELETE", "/admin/accounts"+made, "")
	p.want(404, "POST", path, "")
	if l := p.want(200, "GET", "/admin/accounts", "").list(); len(l) != 1 {
		t.Error("a poll brought a deleted account back")
	}
}

// Logins that end otherwise, and what cannot begin.
func TestLoginEnds(t *testing.T) {
	q := &fakeQ{status: adminapi.LoginDenied}
	p := newPool(t, q)
	denied, late, late2 := p.begin(""), p.begin("{}"), p.begin(`{"name":"x"}`)
	p.advance(5 * time.Second)
	p.poll(denied, "denied")
	q.status = adminapi.LoginExpired
	p.poll(late, "expired")
	p.advance(time.Minute)
	p.poll(denied, "denied")
	p.poll(late, "expired")
	if len(q.polls) != 2 {
		t.Errorf("the service was asked %d times about logins that were over", len(q.polls)-2)
	}
	p.advance(9 * time.Minute)
	p.poll(late2, "expired")
	if len(q.polls) != 2 {
		t.Error("the service was asked about a code that had expired")
	}
	p.advance(11 * time.Minute)
	p.want(404, "POST", late2, "")
	p.want(404, "POST", "/admin/accounts/login/"+strings.Repeat("A", 300), "")

	q.status, q.noToken = adminapi.LoginComplete, true
	path := p.begin("")
	p.advance(5 * time.Second)
	p.want(502, "POST", path, "")
	if l := p.want(200, "GET", "/admin/accounts", "").list(); len(l) != 0 {
		t.Errorf("an account without a token: %v", l)
	}
	p.add("taken")
	for _, c := range [][2]string{
		{"start_url", `{"start_url":"http://d-1.awsapps.com/start"}`}, {"start_url", `{"start_url":"https://d-1.awsapps.com/start?x=1"}`}, {"start_url", `{"start_url":"javascript:alert(1)"}`},
		{"start_url", `{"start_url":"https://u:p@d-1.awsapps.com/start"}`}, {"start_url", `{"start_url":"https://d-1.awsapps.com/` + strings.Repeat("x", 600) + `"}`},
		{"region", `{"region":"evil.example/"}`}, {"region", `{"region":"us-east-1.evil.example"}`}, {"region", `{"region":7}`}, {"api", `{"api":"other"}`},
		{"profile_arn", `{"profile_arn":"arn:aws:codewhisperer:x:1:profile/A"}`}, {"profile_arn", `{"profile_arn":"profile"}`}, {"name", `{"name":"taken"}`}, {"name", `{"name":"a\u0000b"}`},
		{"requests_per_minute", `{"requests_per_minute":-1}`}, {"", `[]`}, {"", `{`},
	} {
		p.refused(c[0], "POST", "/admin/accounts/login", c[1], c[1])
	}
	for range 19 { // beside the one whose grant had no token
		p.begin("")
	}
	if a := p.want(429, "POST", "/admin/accounts/login", ""); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	p.advance(5 * time.Second)
	q.noToken = false
	p.poll(path, "complete")
	p.begin("") // what is over does not count
}

// A login is its beginner's: nobody else polls it.
func TestLoginIsolation(t *testing.T) {
	q := &fakeQ{status: adminapi.LoginPending}
	p := newPool(t, q)
	own, beta := p.key("default", `{"name":"own","nodes":true}`), p.key("acc-beta", `{"name":"beta","nodes":true}`)
	path := "/admin/accounts/login/" + p.call("POST", "/admin/accounts/login", "", "x-api-key", beta).json()["id"].(string)
	forBeta := p.begin("")
	m := p.want(200, "POST", "/admin/accounts/login?account_id=acc-beta", "").json()
	cross := "/admin/accounts/login/" + m["id"].(string)
	p.advance(5 * time.Second)
	for _, c := range []struct {
		why, path, key string
		status         int
	}{
		{"the beginner", path, beta, 200},
		{"another tenant", path, own, 404},
		{"the operator, who did not begin it", path, poolAdmin, 404},
		{"a tenant, of the operator's", forBeta, beta, 404},
		{"a tenant, of the operator's for it", cross, beta, 404},
		{"a key of the operator's account that may only manage that, of a login for another account", cross, own, 404},
		{"the operator, for a tenant", cross, poolAdmin, 200},
	} {
		if a := p.call("POST", c.path, "", "Authorization", "Bearer "+c.key); a.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.why, a.status, c.status, a.body)
		}
	}
	q.status = adminapi.LoginComplete
	p.advance(5 * time.Second)
	p.poll(cross, "complete")
	if n := p.node("/1"); n.Account != "acc-beta" {
		t.Errorf("the node is %s's", n.Account)
	}
	if a := p.call("DELETE", "/admin/api/accounts?id=acc-beta", "", "x-admin-key", poolAdmin); a.status != 200 {
		t.Fatal(a.body)
	}
	if l, err := p.store.List(t.Context(), store.KindLogin, "acc-beta", "", 10); err != nil || len(l) != 0 {
		t.Errorf("logins of a deleted account: %v %v", l, err)
	}
}
