package adminapi_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// TestTenantsAreIsolated: whatever tenant A sends, it neither sees nor touches anything of B's.
func TestTenantsAreIsolated(t *testing.T) {
	w := start(t)
	a, b := w.account("tenant-a", "tenant-a-proxy-key"), w.account("tenant-b", "tenant-b-proxy-key")
	aKey, bKey := "tenant-a-proxy-key", "tenant-b-proxy-key"
	nodeB := w.node(bKey, "b-private-node", w.up.URL, 1)
	w.served(bKey, "b-private-node", "B works")
	keyB := w.admin(201, "POST", "/admin/api/keys?account_id="+b, `{"name":"b-client"}`).Text("id")
	before := w.one(bKey, nodeB)

	for _, c := range []struct {
		reason, method, target, body string
		want                         int
	}{
		{"list B's nodes", "GET", "/admin/api/nodes?account_id=" + b, "", 403},
		{"list the operator's nodes", "GET", "/admin/api/nodes?account_id=default", "", 403},
		{"whether an account exists is not told", "GET", "/admin/api/nodes?account_id=acc-nobody", "", 403},
		{"make a node in B", "POST", "/admin/api/nodes?account_id=" + b, `{"base_url":"https://evil.example"}`, 403},
		{"edit B's node", "PUT", "/admin/api/nodes?id=" + nodeB, `{"base_url":"https://evil.example"}`, 404},
		{"edit B's node, naming B", "PUT", "/admin/api/nodes?account_id=" + b + "&id=" + nodeB, `{"weight":9}`, 404},
		{"delete B's node", "DELETE", "/admin/api/nodes?id=" + nodeB, "", 404},
		{"activate B's node", "POST", "/admin/api/nodes/activate", `{"id":"` + nodeB + `"}`, 404},
		{"clear B's activation", "POST", "/admin/api/nodes/activate?account_id=" + b, `{"id":""}`, 403},
		{"disable B's node", "POST", "/admin/api/nodes/disable", `{"id":"` + nodeB + `"}`, 404},
		{"enable B's node", "POST", "/admin/api/nodes/enable", `{"id":"` + nodeB + `"}`, 404},
		{"read B's config", "GET", "/admin/api/config?account_id=" + b, "", 403},
		{"write B's config", "PUT", "/admin/api/config?account_id=" + b, `{"retries":9}`, 403},
		{"B's usage", "GET", "/api/usage/summary?account_id=" + b, "", 403},
		{"B's requests", "GET", "/api/usage/logs?account_id=" + b, "", 403},
		{"make an account", "POST", "/admin/api/accounts", `{"name":"x","is_admin":true}`, 403},
		{"edit B's account", "PUT", "/admin/api/accounts?id=" + b, `{"name":"taken-over"}`, 403},
		{"edit an account that is not", "PUT", "/admin/api/accounts?id=acc-nobody", `{"name":"x"}`, 403},
		{"delete B's account", "DELETE", "/admin/api/accounts?id=" + b, "", 403},
		{"delete its own account", "DELETE", "/admin/api/accounts?id=" + a, "", 403},
		{"become an administrator", "PUT", "/admin/api/accounts?id=" + a, `{"is_admin":true}`, 403},
		{"become one, in capitals", "PUT", "/admin/api/accounts?id=" + a, `{"IS_ADMIN":true}`, 403},
		{"its key alone cannot set a password and so outlive its own change", "PUT", "/admin/api/accounts?id=" + a, `{"password":"123456"}`, 403},
		{"make a key", "POST", "/admin/api/keys", `{"is_admin":true}`, 403},
		{"list keys", "GET", "/admin/api/keys?account_id=" + a, "", 403},
		{"delete B's key", "DELETE", "/admin/api/keys?id=" + keyB, "", 403},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got := w.Call(c.method, c.target, c.body, "x-api-key", aKey)
			if got.Status != c.want {
				t.Fatalf("status %d, want %d: %s", got.Status, c.want, got.Body)
			}
			errorOf(t, got)
			if s := string(got.Body); strings.Contains(s, "b-private") || strings.Contains(s, "tenant-b") {
				t.Errorf("the answer tells of B: %s", s)
			}
		})
	}

	if got := w.tenant(200, aKey, "GET", "/admin/api/accounts", "").List("accounts"); len(got) != 1 || got[0]["id"] != a {
		t.Errorf("A's list of accounts: %v", got)
	}
	if got := w.tenant(200, aKey, "GET", "/admin/api/nodes", "").List("nodes"); len(got) != 0 {
		t.Errorf("A's list of nodes: %v", got)
	}
	for _, target := range []string{"/api/usage/summary", "/api/usage/summary?node_id=" + nodeB, "/api/usage/summary?group_by=account"} {
		if got := w.tenant(200, aKey, "GET", target, ""); strings.Contains(string(got.Body), b) || got.JSON()["total_requests"] != nil && got.JSON()["total_requests"] != 0.0 {
			t.Errorf("A's %s: %s", target, got.Body)
		}
	}
	for _, target := range []string{"/api/usage/logs", "/api/usage/logs?node_id=" + nodeB, "/api/usage/logs?key_id=" + keyB} {
		if got := w.tenant(200, aKey, "GET", target, "").List("logs"); len(got) != 0 {
			t.Errorf("A's %s: %v", target, got)
		}
	}
	if status, by := w.ask(aKey); status != http.StatusServiceUnavailable {
		t.Errorf("A without nodes is served: %d by %q", status, by)
	}
	after := w.one(bKey, nodeB)
	for f, v := range before {
		if !reflect.DeepEqual(after[f], v) && f != "updated_at" {
			t.Errorf("B's node changed: %s was %v, is %v", f, v, after[f])
		}
	}
	w.served(bKey, "b-private-node", "B still works")
}

// TestDeletedAccountIsGone: nothing of it is left, and its key may be another's afterwards.
func TestDeletedAccountIsGone(t *testing.T) {
	w := start(t)
	id := w.account("gone", "gone-proxy-key-123")
	node := w.node("gone-proxy-key-123", "gone-node", w.up.URL, 1)
	w.served("gone-proxy-key-123", "gone-node", "before")
	w.person(id)
	session := w.login(map[string][]string{"username": {"gone"}, "password": {passwd}})
	extra := w.admin(201, "POST", "/admin/api/keys?account_id="+id, `{"name":"extra"}`).Text("key")
	w.Secret(extra)
	w.served(extra, "gone-node", "another key of it")

	w.admin(200, "DELETE", "/admin/api/accounts?id="+id, "")
	for _, k := range []string{"gone-proxy-key-123", extra} {
		if status, _ := w.ask(k); status != 401 {
			t.Errorf("a key of the deleted account calls models: %d", status)
		}
		errorOf(t, w.tenant(401, k, "GET", "/admin/api/nodes", ""))
	}
	w.Want(401, "GET", "/admin/api/nodes", "", "Cookie", session)
	errorOf(t, w.admin(404, "GET", "/admin/api/nodes?account_id="+id, ""))
	errorOf(t, w.admin(404, "PUT", "/admin/api/nodes?id="+node, `{"weight":1}`))
	errorOf(t, w.admin(404, "DELETE", "/admin/api/accounts?id="+id, ""))
	if got := w.admin(200, "GET", "/api/usage/logs?account_id="+id, "").List("logs"); len(got) != 0 {
		t.Errorf("usage of the deleted account: %v", got)
	}

	again := w.account("gone", "gone-proxy-key-123")
	if again == id {
		t.Error("the id came back")
	}
	w.tenant(200, "gone-proxy-key-123", "GET", "/admin/api/nodes", "")
	if status, _ := w.ask("gone-proxy-key-123"); status != 503 {
		t.Errorf("the new account has no node: %d", status)
	}
	errorOf(t, w.admin(400, "DELETE", "/admin/api/accounts?id=default", ""))
	errorOf(t, w.admin(400, "DELETE", "/admin/api/accounts", ""))
}

// TestOperatorsCredentialStaysWithItsAddress: the holder of the default account's key may edit the node of UPSTREAM_*, but
// must not send the operator's credential to an address of its own.
func TestOperatorsCredentialStaysWithItsAddress(t *testing.T) {
	w := start(t)
	id := w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")[0]["id"].(string)
	if got := errorOf(t, w.tenant(403, proxyKey, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"https://evil.example"}`)); !strings.Contains(got, "base_url") {
		t.Errorf("the error does not name the field: %s", got)
	}
	w.tenant(200, proxyKey, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"`+w.up.URL+`","weight":2}`)
	w.served(proxyKey, "alpha-node-1", "the same address is no change")
	w.tenant(200, proxyKey, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"https://own.example","api_key":"sk-ant-own-key-of-tenant"}`)
	w.Secret("sk-ant-own-key-of-tenant")
	if n := w.one(proxyKey, id); n["base_url"] != "https://own.example" {
		t.Errorf("its own key with its own address: %v", n)
	}
}

// TestProxyKeysAreUnique: two accounts with one key would be one tenant.
func TestProxyKeysAreUnique(t *testing.T) {
	w := start(t)
	w.Secret("beta-proxy-key-4567")
	id := w.account("beta", "beta-proxy-key-4567")
	for _, c := range []struct{ reason, key string }{
		{"of another account", proxyKey},
		{"the operator's: its holder would administer the gateway", adminKey},
		{"the published admin key", "admin"},
		{"its other spelling", "amq-admin-default-key-change-immediately"},
	} {
		errorOf(t, w.admin(400, "PUT", "/admin/api/accounts?id="+id, `{"proxy_api_key":"`+c.key+`"}`))
		errorOf(t, w.admin(400, "POST", "/admin/api/accounts", `{"name":"`+c.reason[:10]+`","proxy_api_key":"`+c.key+`"}`))
	}
	if got := w.admin(200, "GET", "/admin/api/accounts", "").List("accounts"); len(got) != 2 {
		t.Errorf("a refused account is half there: %v", got)
	}
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"proxy_api_key":"beta-proxy-key-4567"}`)
	w.tenant(200, "beta-proxy-key-4567", "GET", "/admin/api/nodes", "")
	out := w.admin(201, "POST", "/admin/api/accounts", `{"name":"made"}`)
	if k := out.Text("proxy_api_key"); !strings.HasPrefix(k, "sluice_") {
		t.Errorf("an account without a key gets one of ours: %s", out.Body)
	} else {
		w.Secret(k)
		w.tenant(200, k, "GET", "/admin/api/nodes", "")
	}
	if got := w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"proxy_api_key":"short"}`); got.Text("warning") == "" {
		t.Errorf("no warning of a short key: %s", got.Body)
	}
}
