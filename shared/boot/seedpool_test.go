package boot_test

import (
	"strings"
	"testing"

	"sluice/shared/boot/boottest"
	"sluice/shared/directory"
	"sluice/shared/upstream/upstreamtest"
)

const poolTenant = "alpha-proxy-key-123"

// poolEnv is the environment of a gateway whose Amazon Q nodes are served by q, without a login.
func poolEnv(q *upstreamtest.AmazonQ, oidc *upstreamtest.OIDC) map[string]string {
	q.SetTokens(oidc.Valid)
	return map[string]string{"ADMIN_API_KEY": boss, "DEFAULT_PROXY_API_KEY": poolTenant, "UPSTREAM_ALLOW_PRIVATE": "true",
		"AMAZONQ_API_ENDPOINT": q.URL, "AMAZONQ_TOKEN_ENDPOINT": oidc.URL}
}

func loginEnv(env map[string]string, l upstreamtest.Login) {
	env["AMAZONQ_REFRESH_TOKEN"], env["AMAZONQ_CLIENT_ID"], env["AMAZONQ_CLIENT_SECRET"] = l.RefreshToken, l.ClientID, l.ClientSecret
}

// TestRotatedLoginNeverGoesToATenantsAddress is TestRotatedOperatorKeyNeverGoesToATenantsAddress for the node of AMAZONQ_*.
func TestRotatedLoginNeverGoesToATenantsAddress(t *testing.T) {
	q, evil, oidc := upstreamtest.NewAmazonQ(t), upstreamtest.NewAmazonQ(t), upstreamtest.NewOIDC(t)
	env := poolEnv(q, oidc)
	loginEnv(env, oidc.Login())
	g := boottest.Start(t, env)
	id := nodes(t, g)[0]["id"].(string)
	own := oidc.Login()
	g.Want(200, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"`+evil.URL+`","refresh_token":"`+own.RefreshToken+`","client_id":"`+own.ClientID+`","client_secret":"`+own.ClientSecret+`"}`, "x-api-key", poolTenant)
	if status, _ := ask(g, poolTenant); status != 200 || evil.Count() != 1 {
		t.Fatalf("status %d, %d requests at the tenant's address", status, evil.Count())
	}
	next := oidc.Login()
	loginEnv(env, next)
	restart(t, g, env)
	if status, body := ask(g, poolTenant); status != 200 || q.Count() != 1 {
		t.Errorf("status %d, %d requests at the operator's address: %s", status, q.Count(), body)
	}
	if evil.Count() != 1 {
		t.Errorf("the tenant's address got the operator's token")
	}
}

// TestVariablesOfAnAccountThatIsThere: with two nodes of one login, each refresh of the one would end the other.
func TestVariablesOfAnAccountThatIsThere(t *testing.T) {
	q, oidc := upstreamtest.NewAmazonQ(t), upstreamtest.NewOIDC(t)
	env := poolEnv(q, oidc)
	g := boottest.Start(t, env)
	l, other := oidc.Login(), oidc.Login()
	add := func(name string, l upstreamtest.Login) {
		t.Helper()
		g.Want(200, "POST", "/admin/accounts", `{"name":"`+name+`","refresh_token":"`+l.RefreshToken+`","client_id":"`+l.ClientID+`","client_secret":"`+l.ClientSecret+
			`","token_region":"eu-central-1"}`, "x-admin-key", boss)
	}
	add("other", other)
	add("mine", l)
	g.Want(200, "PUT", "/admin/accounts/1", `{"is_active":false}`, "x-admin-key", boss)
	if status, body := ask(g, poolTenant); status != 200 || oidc.Refreshes() != 1 {
		t.Fatalf("status %d, %d refreshes: %s", status, oidc.Refreshes(), body)
	}
	loginEnv(env, l)
	restart(t, g, env)
	if ns := nodes(t, g); len(ns) != 2 {
		t.Fatalf("%d nodes, want the 2 of before: %v", len(ns), ns)
	}
	if status, body := ask(g, poolTenant); status != 200 || oidc.Refreshes() != 1 { // with the token that was saved, not the one that is spent
		t.Errorf("status %d, %d refreshes: %s", status, oidc.Refreshes(), body)
	}
	// from now on the variables govern it
	next := upstreamtest.Login{ClientID: l.ClientID, ClientSecret: l.ClientSecret, RefreshToken: "aorAAAAAG-another"}
	oidc.AddLogin(next)
	loginEnv(env, next)
	restart(t, g, env)
	status, body := ask(g, poolTenant)
	if ns := nodes(t, g); status != 200 || len(ns) != 2 || oidc.Refreshes() != 2 || ns[1]["name"] != "mine" {
		t.Errorf("after a change: %d, %d refreshes, %v: %s", status, oidc.Refreshes(), ns, body)
	}
	n, err := g.Tables.Nodes.Get(t.Context(), "2")
	if err != nil {
		t.Fatal(err)
	}
	cred, err := g.Box.Open(directory.CredentialOwner("2"), n.Value.Credential)
	if err != nil || !strings.Contains(cred.Reveal(), "eu-central-1") {
		t.Errorf("the region that the client is registered in is lost: %v", err)
	}
}
