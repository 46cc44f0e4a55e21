package adminapi_test

import (
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/directory"
)

// An account's key could point a node that an administrator had given a credential at a server of its own, and so receive
// that credential. Whoever is no administrator brings the credential along with any field that decides where it is sent.
func TestCredentialStaysWhereItIsSent(t *testing.T) {
	const login = `"refresh_token":"refresh-secret-own","client_id":"c","client_secret":"client-secret-own"`
	for _, c := range []struct {
		why, kind, body, field string // field: the one that is refused, empty for none
	}{
		{"the address", "anthropic", `{"base_url":"https://evil.example"}`, "base_url"},
		{"the address with other fields", "anthropic", `{"name":"x","weight":3,"base_url":"https://evil.example"}`, "base_url"},
		{"what an account edits", "anthropic", `{"name":"x","weight":3,"base_url":"https://up.example.com"}`, ""},
		{"the guide's edit", "anthropic", `{"name":"updated-node","base_url":"https://own.example","api_key":"sk-ant-xxx","weight":2}`, ""},
		{"without a credential", "anthropic", `{"base_url":"https://own.example","api_key":""}`, ""},
		{"the address of another kind", "openai", `{"base_url":"https://evil.example/v1"}`, "base_url"},
		{"the header", "openai", `{"auth_header":"x-trace"}`, "auth_header"},
		{"the header, with a credential", "openai", `{"auth_header":"api-key","api_key":"sk-own"}`, ""},
		{"the dialect goes to the same place", "openai", `{"wire":"both"}`, ""},
		{"the address of an Amazon Q node", "amazonq", `{"base_url":"https://evil.example"}`, "base_url"},
		{"the API", "amazonq", `{"api":"kiro"}`, "api"},
		{"the default is no other API", "amazonq", `{"api":"q","region":"us-east-1"}`, ""},
		{"the region", "amazonq", `{"region":"eu-central-1"}`, "region"},
		{"the region of a profile", "amazonq", `{"profile_arn":"` + strings.Replace(profile, "us-east-1", "eu-central-1", 1) + `"}`, "profile_arn"},
		{"a profile in the region", "amazonq", `{"profile_arn":"` + profile + `"}`, ""},
		{"the token service", "amazonq", `{"token_region":"eu-central-1"}`, "token_region"},
		{"the token service, the same", "amazonq", `{"token_region":"us-east-1"}`, ""},
		{"the identity provider", "amazonq", `{"start_url":"https://d-evil.awsapps.com/start"}`, "start_url"},
		{"half a login keeps the other half", "amazonq", `{"base_url":"https://evil.example","refresh_token":"refresh-secret-own"}`, "base_url"},
		{"an emptied key beside a part keeps the rest", "amazonq", `{"base_url":"https://evil.example","api_key":"","client_id":"c"}`, "base_url"},
		{"a login of its own", "amazonq", `{"base_url":"https://own.example","region":"eu-central-1","token_region":"eu-central-1",` + login + `}`, ""},
		{"a key of its own", "amazonq", `{"base_url":"https://own.example","api_key":"ksk_secretsecretsecret"}`, ""},
		{"what it set itself", "own", `{"base_url":"https://other.example/v1","auth_header":"x-trace"}`, ""},
		{"a login that it set itself", "own amazonq", `{"base_url":"https://own.example","region":"eu-central-1","token_region":"eu-central-1","api":"kiro"}`, ""},
	} {
		p := newPool(t, &fakeQ{})
		id := strings.TrimPrefix(p.add("first"), "/admin/accounts/")
		own := p.key("default", `{"name":"own","nodes":true}`)
		switch c.kind {
		case "amazonq":
		case "own":
			id = p.call("POST", "/admin/api/nodes", `{"kind":"openai","base_url":"https://up.example.com","api_key":"sk-own"}`, "x-api-key", own).json()["id"].(string)
		case "own amazonq":
			id = p.call("POST", "/admin/api/nodes", `{"kind":"amazonq",`+login+`}`, "x-api-key", own).json()["id"].(string)
		default:
			id = p.want(201, "POST", "/admin/api/nodes", `{"kind":"`+c.kind+`","base_url":"https://up.example.com","api_key":"sk-of-the-admin"}`).json()["id"].(string)
		}
		before := p.node("/" + id)
		a := p.call("PUT", "/admin/api/nodes?id="+id, c.body, "x-api-key", own)
		switch now := p.node("/" + id); {
		case c.field == "" && a.status != 200:
			t.Errorf("%s: status %d: %s", c.why, a.status, a.body)
		case c.field != "" && (a.status != 403 || !strings.HasPrefix(a.json()["error"].(string), c.field+": ") || !strings.Contains(a.body, "api_key")):
			t.Errorf("%s: status %d: %s", c.why, a.status, a.body)
		case c.field != "" && (now.Credential != before.Credential || now.BaseURL != before.BaseURL || now.UpdatedAt != before.UpdatedAt):
			t.Errorf("%s: refused, and stored %+v", c.why, now)
		}
		if c.field == "" {
			continue
		}
		p.want(200, "PUT", "/admin/api/nodes?id="+id, c.body) // an administrator may
	}
}

// The older pool's routes lead to the same nodes; and a node from before anybody asked who set its credential is guarded too.
func TestCredentialStaysOnTheOlderRoutes(t *testing.T) {
	p := newPool(t, &fakeQ{status: "complete"})
	own := p.key("default", `{"name":"own","nodes":true}`)
	p.want(200, "POST", "/admin/accounts/import", `[{"clientId":"c","clientSecret":"client-secret-i","refreshToken":"refresh-secret-i"}]`)
	path := p.begin("")
	p.advance(5e9)
	if a := p.call("POST", path, "", "x-api-key", own); a.status != 200 || a.json()["status"] != "complete" { // another key of the account may poll it
		t.Fatalf("polled: %s", a.body)
	}
	id, err := p.tables.NextID(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	old := core.Node{ID: id, Account: "default", Name: "old", Kind: core.KindAnthropic, BaseURL: "https://up.example.com", Credential: p.box.Seal(directory.CredentialOwner(id), core.NewSecret("old")), Weight: 1}
	if _, err := p.tables.Nodes.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	for why, c := range map[string][2]string{
		"imported":                      {"/admin/accounts/1", `{"token_region":"eu-central-1"}`},
		"by device login":               {"/admin/accounts/2", `{"region":"eu-central-1"}`},
		"the older pool wrote a region": {"/admin/accounts/2", `{"profile_arn":"eu-central-1"}`},
		"from before":                   {"/admin/api/nodes?id=" + id, `{"base_url":"https://evil.example"}`},
	} {
		if a := p.call("PUT", c[0], c[1], "x-api-key", own); a.status != 403 {
			t.Errorf("%s: status %d: %s", why, a.status, a.body)
		}
	}
	if a := p.call("PUT", "/admin/accounts/1", `{"name":"mine","notes":"n","requests_per_minute":7}`, "x-api-key", own); a.status != 200 {
		t.Errorf("other fields: %d %s", a.status, a.body)
	}
}

// Whose a credential is changes with who sets it.
func TestWhoSetTheCredential(t *testing.T) {
	p := newPool(t, &fakeQ{})
	own := p.key("default", `{"name":"own","nodes":true}`)
	as := func(status int, key, body string) {
		t.Helper()
		if a := p.call("PUT", "/admin/accounts/1", body, "Authorization", "Bearer "+key); a.status != status {
			t.Errorf("%s: status %d, want %d: %s", body, a.status, status, a.body)
		}
	}
	const login = `{"refresh_token":"refresh-secret-x","client_id":"c","client_secret":"client-secret-x"}`
	p.add("first")
	as(200, own, `{"client_id":"c2"}`) // a part makes it nobody's own
	as(403, own, `{"region":"eu-central-1"}`)
	as(200, own, login)
	as(200, own, `{"region":"eu-central-1"}`)
	as(200, poolAdmin, `{"notes":"seen"}`) // nor does an edit of something else take it away
	as(200, own, `{"region":"eu-west-1"}`)
	as(200, poolAdmin, `{"refresh_token":"refresh-secret-y"}`) // a part of the administrator's
	as(403, own, `{"region":"eu-central-1"}`)
	as(200, own, `{"api_key":"ksk_secretsecretsecret"}`)
	as(200, own, `{"region":"eu-central-1"}`)
	// what the operator's environment set is the operator's, whoever had set something before
	if _, err := p.tables.Nodes.Update(t.Context(), "1", func(n *core.Node) error { n.Operator = true; return nil }); err != nil {
		t.Fatal(err)
	}
	as(403, own, `{"region":"eu-west-1"}`)
}
