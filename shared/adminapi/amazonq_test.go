package adminapi_test

import (
	"strconv"
	"strings"
	"testing"

	"sluice/shared/core"
)

func itoa(id any) string { return strconv.Itoa(int(id.(float64))) }

// shown is a node as the list of Guide A's API shows it.
func (p *pool) shown(id string) map[string]any {
	p.t.Helper()
	for _, n := range p.want(200, "GET", "/admin/api/nodes", "").json()["nodes"].([]any) {
		if m := n.(map[string]any); m["id"] == id {
			return m
		}
	}
	p.t.Fatalf("node %s is not listed", id)
	return nil
}

// Guide A's routes make and edit nodes of kind amazonq, too.
func TestAmazonQNodes(t *testing.T) {
	p := newPool(t, &fakeQ{})
	const login = `"refresh_token":"refresh-secret-n","client_id":"client-n","client_secret":"client-secret-n"`
	id := p.want(201, "POST", "/admin/api/nodes", `{"kind":"amazonq",`+login+`,"region":"eu-central-1","profile_arn":"`+profile+`","notes":"mine","token_region":"eu-west-1"}`).json()["id"].(string)
	n := p.shown(id)
	if n["kind"] != "amazonq" || n["api"] != "q" || n["region"] != "eu-central-1" || n["profile_arn"] != profile || n["notes"] != "mine" || n["has_api_key"] != true || n["name"] != "amazonq-"+id ||
		n["state"] != "online" || n["base_url"] != "" || n["limits"].(map[string]any)["requests_per_minute"] != 10.0 {
		t.Errorf("made %v", n)
	}
	if c := p.credential(p.node("/" + id)); c.Region != "eu-west-1" || c.ClientSecret != "client-secret-n" {
		t.Errorf("credential of client %s in %s", c.ClientID, c.Region)
	}
	// an API key takes the place of the login, and brings its service's hosts
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"api_key":"ksk_secretsecretsecret"}`)
	if c, n := p.credential(p.node("/"+id)), p.shown(id); c.APIKey != "ksk_secretsecretsecret" || c.RefreshToken != "" || n["api"] != "kiro" {
		t.Errorf("with an API key: %v", n)
	}
	p.refused("client_id", "PUT", "/admin/api/nodes?id="+id, `{"refresh_token":"refresh-secret-m"}`, "half a login in the place of an API key")
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{`+login+`,"api":"","region":"","profile_arn":"","notes":"","base_url":"https://relay.example.com"}`)
	if n := p.shown(id); n["api"] != "q" || n["region"] != nil || n["profile_arn"] != nil || n["notes"] != nil || n["base_url"] != "https://relay.example.com" {
		t.Errorf("back to the defaults: %v", n)
	}
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"base_url":""}`)
	if n := p.shown(id); n["base_url"] != "" {
		t.Errorf("its own address is not taken away: %v", n)
	}
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"api_key":""}`)
	if n := p.shown(id); n["has_api_key"] != false {
		t.Errorf("the credential is not taken away: %v", n)
	}
}

// A blocked node tells so, until it is enabled or gets another credential.
func TestBlockedNode(t *testing.T) {
	p := newPool(t, &fakeQ{})
	path := p.add("one")
	id := path[strings.LastIndex(path, "/")+1:]
	for _, c := range []struct {
		why, method, target, body string
		clears                    bool
	}{
		{"a new name", "PUT", "/admin/api/nodes?id=" + id, `{"name":"other"}`, false},
		{"a new limit", "PUT", path, `{"requests_per_minute":5}`, false},
		{"enabled", "POST", "/admin/api/nodes/enable", `{"id":"` + id + `"}`, true},
		{"a new login", "PUT", "/admin/api/nodes?id=" + id, `{"refresh_token":"refresh-secret-2"}`, true},
		{"an API key", "PUT", "/admin/api/nodes?id=" + id, `{"api_key":"ksk_secretsecretsecret"}`, true},
		{"a new login at the older routes", "PUT", path, `{"refresh_token":"refresh-secret-3","client_id":"c","client_secret":"client-secret-3"}`, true},
		{"active at the older routes", "PUT", path, `{"is_active":true}`, true},
	} {
		for _, blocked := range []string{core.BlockedLogin, core.BlockedSuspended} {
			n := p.health.Node(t.Context(), id, "default")
			p.health.Blocked(n, "one", blocked, "why", p.clock())
			if err := p.health.Save(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if s := p.shown(id)["state"]; s != blocked {
				t.Errorf("state %v, want %s", s, blocked)
			}
			p.want(200, c.method, c.target, c.body)
			s, saved := p.shown(id)["state"], ""
			if r, err := p.tables.States.Get(t.Context(), id); err == nil {
				saved = r.Value.Blocked
			}
			if (s == "online") != c.clears || (saved == "") != c.clears {
				t.Errorf("%s: state %v, saved %q, cleared should be %v", c.why, s, saved, c.clears)
			}
			p.want(200, "POST", "/admin/api/nodes/disable", `{"id":"`+id+`"}`)
			p.want(200, "POST", "/admin/api/nodes/enable", `{"id":"`+id+`"}`)
		}
	}
}

// The operator's credential stays with its address: a tenant that sends the requests elsewhere must bring its own.
func TestOperatorsLoginStaysWithItsAddress(t *testing.T) {
	p := newPool(t, &fakeQ{})
	path := p.add("seeded")
	id := path[strings.LastIndex(path, "/")+1:]
	if _, err := p.tables.Nodes.Update(t.Context(), id, func(n *core.Node) error { n.Operator = true; return nil }); err != nil {
		t.Fatal(err)
	}
	own := p.key("default", `{"name":"own","nodes":true}`)
	for _, c := range []struct {
		body   string
		status int
	}{
		{`{"base_url":"https://evil.example"}`, 403},
		{`{"base_url":"https://evil.example","client_id":"c"}`, 403},
		{`{"base_url":"https://evil.example","api_key":"","client_secret":"c"}`, 403},
		{`{"weight":2}`, 200},
		{`{"base_url":"https://own.example","refresh_token":"refresh-secret-own","client_id":"c","client_secret":"client-secret-own"}`, 200},
	} {
		if a := p.call("PUT", "/admin/api/nodes?id="+id, c.body, "x-api-key", own); a.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.body, a.status, c.status, a.body)
		}
	}
}

// Each is a 400 that names the field, at both sets of routes, and nothing is stored.
func TestBadAmazonQ(t *testing.T) {
	p := newPool(t, &fakeQ{})
	path := p.add("here")
	id := path[strings.LastIndex(path, "/")+1:]
	before := p.want(200, "GET", path, "").body
	huge := strings.Repeat("x", 9000)
	for _, c := range []struct{ why, field, fields string }{
		{"a name with a line break", "name", `"name":"a\r\nb"`}, {"a name with NUL", "name", `"name":"a\u0000"`}, {"a huge name", "name", `"name":"` + huge + `"`},
		{"a name that is a number", "name", `"name":7`}, {"half a character", "name", `"name":"\ud800"`},
		{"a refresh token with a line break", "refresh_token", `"refresh_token":"a\nb"`}, {"a huge one", "refresh_token", `"refresh_token":"` + huge + `"`},
		{"one in another script", "refresh_token", `"refresh_token":"令牌"`}, {"a list", "refresh_token", `"refresh_token":["a"]`},
		{"a client id with a blank", "client_id", `"client_id":"a b"`}, {"a huge secret", "client_secret", `"client_secret":"` + huge + `"`},
		{"an API key of another service", "api_key", `"api_key":"sk-ant-something"`}, {"a short one", "api_key", `"api_key":"ksk_"`},
		{"a key beside a login", "api_key", `"api_key":"ksk_secretsecretsecret","refresh_token":"x"`},
		{"a region that is a host", "region", `"region":"us-east-1.evil.example"`}, {"a region with a slash", "region", `"region":"us-east-1/x"`}, {"a region with an @", "region", `"region":"x@evil-1"`},
		{"a huge region", "region", `"region":"` + huge + `"`}, {"another token region", "token_region", `"refresh_token":"x","client_id":"x","client_secret":"x","token_region":"US-EAST-1"`},
		{"an ARN whose region is a host", "profile_arn", `"profile_arn":"arn:aws:codewhisperer:evil.example:123456789012:profile/A"`},
		{"an ARN that is cut", "profile_arn", `"profile_arn":"arn:aws:codewhisperer"`}, {"a huge ARN", "profile_arn", `"profile_arn":"` + profile + huge + `"`},
		{"another service", "api", `"api":"bedrock"`}, {"notes with an escape", "notes", `"notes":"a\u001b[2J"`}, {"huge notes", "notes", `"notes":"` + huge + `"`},
		{"a start URL without TLS", "start_url", `"refresh_token":"x","client_id":"x","client_secret":"x","start_url":"http://d-1.awsapps.com/start"`},
		{"a negative limit", "requests_per_minute", `"requests_per_minute":-1`}, {"half a limit", "requests_per_minute", `"requests_per_minute":1.5`}, {"a limit beyond 64 bits", "requests_per_minute", `"requests_per_minute":99999999999999999999`},
		{"active in words", "is_active", `"is_active":"yes"`},
	} {
		p.refused(c.field, "PUT", path, `{`+c.fields+`}`, c.why)
		if c.field != "requests_per_minute" && c.field != "is_active" {
			p.refused(c.field, "PUT", "/admin/api/nodes?id="+id, `{`+c.fields+`}`, c.why)
			p.refused(c.field, "POST", "/admin/api/nodes", `{"kind":"amazonq",`+c.fields+`}`, c.why)
		}
		full := `{"name":"n2","refresh_token":"refresh-secret-x","client_id":"x","client_secret":"y",`
		p.refused(c.field, "POST", "/admin/accounts", full+c.fields+`}`, c.why)
	}
	for _, f := range []string{"api", "region", "profile_arn", "refresh_token", "client_id", "client_secret", "token_region", "start_url"} {
		p.refused(f, "POST", "/admin/api/nodes", `{"base_url":"https://a.example.com","`+f+`":"q"}`, f+" of a node of another kind")
	}
	for _, body := range []string{``, `null`, `[]`, `"x"`, `{`, `{}{}`, `{"a":` + strings.Repeat("[", 20_000)} {
		p.refused("", "POST", "/admin/accounts", body, body)
	}
	p.want(413, "POST", "/admin/accounts", `{"name":"`+strings.Repeat("x", 1<<20)+`"}`)
	if after := p.want(200, "GET", path, "").body; after != before {
		t.Errorf("%s became %s", before, after)
	}
	if l := p.want(200, "GET", "/admin/api/nodes", "").json()["nodes"].([]any); len(l) != 1 {
		t.Errorf("something refused was stored: %v", l)
	}
	if a := p.want(200, "GET", "/admin/accounts", ""); !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("JSON as %s", a.header.Get("Content-Type"))
	}
}

// A browser gets a page where a program gets JSON (DESIGN 9).
func TestAccountsPage(t *testing.T) {
	w := start(t).console("")
	if a := w.Call("GET", "/admin/accounts", "", "Accept", "text/html,application/xhtml+xml"); a.Status != 303 || !strings.HasPrefix(a.Header.Get("Location"), "/login") {
		t.Errorf("without a session: %d to %q", a.Status, a.Header.Get("Location"))
	}
	if a := w.Call("GET", "/admin/accounts", "", "Accept", "text/html", "Cookie", w.login(key(adminKey))); a.Status != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("with a session: %d %s", a.Status, a.Body)
	}
	p := newPool(t, &fakeQ{})
	in := p.call("POST", "/login", "admin_key="+poolAdmin, "Content-Type", "application/x-www-form-urlencoded")
	cookie, _, _ := strings.Cut(in.header.Get("Set-Cookie"), ";")
	for _, accept := range []string{"", "*/*", "application/json"} {
		if a := p.call("GET", "/admin/accounts", "", "Accept", accept); a.status != 401 || a.json()["detail"] == nil {
			t.Errorf("Accept %q: %d %s", accept, a.status, a.body)
		}
		if a := p.call("GET", "/admin/accounts", "", "Accept", accept, "Cookie", cookie); a.status != 200 || a.body != "[]\n" {
			t.Errorf("Accept %q with a session: %d %s", accept, a.status, a.body)
		}
	}
	if a := p.call("POST", "/admin/accounts", guideBody, "Accept", "text/html"); a.status != 401 {
		t.Errorf("a browser's write without a key: %d", a.status)
	}
	if a := p.call("POST", "/admin/accounts", guideBody, "Cookie", cookie, "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("a write from another site: %d", a.status)
	}
}

// A tenant's own key manages its own accounts and sees nothing of others.
func TestPoolIsolation(t *testing.T) {
	p := newPool(t, &fakeQ{})
	theirs := p.add("operators-own")
	beta := p.key("acc-beta", `{"name":"beta","nodes":true}`)
	as := func(method, target, body string, headers ...string) *answer {
		return p.call(method, target, body, append([]string{"Authorization", "Bearer " + beta}, headers...)...)
	}
	made := as("POST", "/admin/accounts", `{"name":"operators-own","refresh_token":"refresh-secret-b","client_id":"c","client_secret":"client-secret-b"}`)
	if made.status != 200 {
		t.Fatalf("a name that another tenant has: %s", made.body)
	}
	own := "/admin/accounts/" + itoa(made.json()["id"])
	if n := p.node(own); n.Account != "acc-beta" {
		t.Errorf("made in %s", n.Account)
	}
	before := p.want(200, "GET", theirs, "").body
	body, ct := form("json_file", sso("b"))
	for _, c := range []struct {
		why, method, target, body string
		status                    int
	}{
		{"read", "GET", theirs, "", 404}, {"edit", "PUT", theirs, `{"name":"mine"}`, 404}, {"delete", "DELETE", theirs, "", 404}, {"refresh", "POST", theirs + "/refresh-token", "", 404},
		{"statistics", "GET", theirs + "/stats", "", 404}, {"quota", "GET", theirs + "/quota", "", 404},
		{"list", "GET", "/admin/accounts?account_id=default", "", 403}, {"make", "POST", "/admin/accounts?account_id=default", guideBody, 403},
		{"import", "POST", "/admin/accounts/import?account_id=default", sso("b"), 403}, {"log in", "POST", "/admin/accounts/login?account_id=default", "", 403},
		{"whether an account exists is not told", "GET", "/admin/accounts?account_id=nobody", "", 403},
		{"keys", "GET", "/admin/api-keys", "", 403},
	} {
		if a := as(c.method, c.target, c.body); a.status != c.status || strings.Contains(a.body, "operators-own") {
			t.Errorf("%s: status %d, want %d: %s", c.why, a.status, c.status, a.body)
		}
	}
	if a := as("POST", "/admin/accounts/upload-json?account_id=default", body, "Content-Type", ct); a.status != 403 {
		t.Errorf("upload: %d %s", a.status, a.body)
	}
	if after := p.want(200, "GET", theirs, "").body; after != before {
		t.Errorf("%s became %s", before, after)
	}
	if l := as("GET", "/admin/accounts", "").list(); len(l) != 1 || l[0]["id"] != made.json()["id"] {
		t.Errorf("listed %v", l)
	}
	// what another tenant has is not "here already"
	if m := as("POST", "/admin/accounts/import", `{"clientId":"client-operators-own","clientSecret":"s","refreshToken":"refresh-secret-operators-own"}`).json(); len(m["taken"].([]any)) != 1 {
		t.Errorf("imported %v", m)
	}
	if a := as("PUT", own, `{"name":"renamed"}`); a.status != 200 {
		t.Errorf("its own: %s", a.body)
	}
	// the operator manages all, by id and by account_id
	if l := p.want(200, "GET", "/admin/accounts?account_id=acc-beta", "").list(); len(l) != 2 {
		t.Errorf("the operator sees %v", l)
	}
	p.want(404, "GET", "/admin/accounts?account_id=nobody", "")
	p.want(200, "DELETE", own, "")
}
