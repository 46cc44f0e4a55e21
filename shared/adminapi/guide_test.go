package adminapi_test

import (
	"net/http"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// TestGuideA makes every management call of Guide A as printed there, in its order, and looks at the effect of each.
func TestGuideA(t *testing.T) {
	w := start(t)

	accounts := w.admin(http.StatusOK, "GET", "/admin/api/accounts", "").List("accounts")
	if len(accounts) != 1 || accounts[0]["id"] != "default" || accounts[0]["name"] != "team-alpha" || accounts[0]["is_admin"] != false {
		t.Fatalf("accounts at the start: %v", accounts)
	}
	nodes := w.admin(http.StatusOK, "GET", "/admin/api/nodes?account_id=default", "").List("nodes")
	if len(nodes) != 1 || nodes[0]["name"] != "alpha-node-1" || nodes[0]["has_api_key"] != true {
		t.Fatalf("nodes at the start: %v", nodes)
	}
	first := nodes[0]["id"].(string)
	w.served(proxyKey, "alpha-node-1", "the node of UPSTREAM_*")
	if got := w.up.Last().Credential(); got != upstreamKey {
		t.Errorf("the upstream got the credential %q", got)
	}

	// accounts
	w.Secret("new-proxy-key-4567", "beta-proxy-key-4567")
	got := w.admin(http.StatusOK, "PUT", "/admin/api/accounts?id=default", `{ "name": "new-name", "proxy_api_key": "new-proxy-key-4567" }`)
	if got.Text("id") != "default" || got.Text("proxy_api_key") != "new-proxy-key-4567" {
		t.Errorf("update of an account: %s", got.Body)
	}
	if status, _ := w.ask(proxyKey); status != http.StatusUnauthorized {
		t.Errorf("the old proxy key still works: %d", status)
	}
	key := "new-proxy-key-4567"
	w.served(key, "alpha-node-1", "the new proxy key works at once")
	beta := w.account("team-beta", "beta-proxy-key-4567")
	if status, _ := w.ask("beta-proxy-key-4567"); status != http.StatusServiceUnavailable {
		t.Errorf("an account without nodes: %d, want 503", status)
	}
	if got := w.admin(http.StatusOK, "DELETE", "/admin/api/accounts?id="+beta, "").Text("deleted"); got != beta {
		t.Errorf("deleted %q", got)
	}
	if status, _ := w.ask("beta-proxy-key-4567"); status != http.StatusUnauthorized {
		t.Errorf("the key of a deleted account: %d, want 401", status)
	}

	// nodes, with the tenant's own key
	second := upstreamtest.NewAnthropic(t)
	id := w.tenant(http.StatusCreated, key, "POST", "/admin/api/nodes",
		`{ "name": "new-node", "base_url": "`+second.URL+`", "api_key": "sk-ant-xxx", "weight": 1 }`).Text("id")
	w.Secret("sk-ant-xxx")
	if id == "" || id == first {
		t.Fatalf("id of the new node: %q", id)
	}
	if got := w.tenant(http.StatusOK, key, "PUT", "/admin/api/nodes?id="+id,
		`{ "name": "updated-node", "base_url": "`+second.URL+`", "api_key": "sk-ant-xxx", "weight": 2 }`).Text("id"); got != id {
		t.Errorf("update of a node answers %q", got)
	}
	if n := w.one(key, id); n["name"] != "updated-node" || n["weight"] != 2.0 || n["has_api_key"] != true {
		t.Errorf("updated node: %v", n)
	}
	w.served(key, "alpha-node-1", "the smaller weight is preferred")
	if got := w.tenant(http.StatusOK, key, "POST", "/admin/api/nodes/activate", `{"id": "`+id+`"}`).Text("active"); got != id {
		t.Errorf("activate answers %q", got)
	}
	w.served(key, "updated-node", "the activated node comes first")
	if n := w.one(key, id); n["active"] != true {
		t.Errorf("the node is not shown as active: %v", n)
	}
	if got := w.tenant(http.StatusOK, key, "POST", "/admin/api/nodes/disable", `{"id": "`+id+`"}`).Text("disabled"); got != id {
		t.Errorf("disable answers %q", got)
	}
	w.served(key, "alpha-node-1", "a disabled node gets nothing, active or not")
	if n := w.one(key, id); n["disabled"] != true || n["state"] != "disabled" {
		t.Errorf("the node is not shown as disabled: %v", n)
	}
	if got := w.tenant(http.StatusOK, key, "POST", "/admin/api/nodes/enable", `{"id": "`+id+`"}`).Text("enabled"); got != id {
		t.Errorf("enable answers %q", got)
	}
	w.served(key, "updated-node", "enabled again")
	if got := second.Last().Credential(); got != "sk-ant-xxx" {
		t.Errorf("the second upstream got the credential %q", got)
	}
	w.tenant(http.StatusOK, key, "POST", "/admin/api/nodes/activate", `{"id": ""}`)
	w.served(key, "alpha-node-1", "an empty id clears the activation")
	w.tenant(http.StatusOK, key, "PUT", "/admin/api/nodes?id="+first, `{"weight": 3}`)
	w.served(key, "updated-node", "a new weight counts at once")
	if got := w.tenant(http.StatusOK, key, "DELETE", "/admin/api/nodes?id="+id, "").Text("deleted"); got != id {
		t.Errorf("delete answers %q", got)
	}
	w.served(key, "alpha-node-1", "a deleted node gets nothing")
}

// TestDeletingTheActiveNodeClearsTheActivation keeps an id that comes to life again from being preferred.
func TestDeletingTheActiveNodeClearsTheActivation(t *testing.T) {
	w := start(t)
	id := w.node(proxyKey, "second", w.up.URL, 5)
	w.tenant(http.StatusOK, proxyKey, "POST", "/admin/api/nodes/activate", `{"id":"`+id+`"}`)
	w.tenant(http.StatusOK, proxyKey, "DELETE", "/admin/api/nodes?id="+id, "")
	if a := w.admin(http.StatusOK, "GET", "/admin/api/accounts", "").List("accounts")[0]; a["active_node"] != nil {
		t.Errorf("the account still names the node: %v", a)
	}
	w.served(proxyKey, "alpha-node-1", "the rest goes on")
}

// TestWaysIn is the table of who may and who may not (DESIGN 9).
func TestWaysIn(t *testing.T) {
	w := start(t)
	w.account("beta", "beta-proxy-key-4567")
	client := w.admin(http.StatusCreated, "POST", "/admin/api/keys", `{"name":"client"}`).Text("key")
	boss := w.admin(http.StatusCreated, "POST", "/admin/api/keys", `{"name":"second admin","is_admin":true}`).Text("key")
	for _, c := range []struct {
		reason, header, value, target string
		want                          int
	}{
		{"no key at all", "", "", "/admin/api/accounts", 401},
		{"an unknown key", "x-admin-key", "nobody-knows-this", "/admin/api/accounts", 401},
		{"an unknown tenant key", "x-api-key", "nobody-knows-this", "/admin/api/nodes", 401},
		{"a mistyped key of ours", "x-admin-key", "sluice_0000", "/admin/api/accounts", 401},
		{"an empty header is no key", "x-admin-key", "", "/admin/api/accounts", 401},
		{"a key longer than any can be", "x-admin-key", strings.Repeat("k", 5000), "/admin/api/accounts", 401},
		{"the published admin key is dead once ADMIN_API_KEY is set", "x-admin-key", "admin", "/admin/api/accounts", 401},
		{"its other spelling too", "Authorization", "Bearer amq-admin-default-key-change-immediately", "/admin/api/accounts", 401},
		{"ADMIN_API_KEY as x-admin-key", "x-admin-key", adminKey, "/admin/api/accounts", 200},
		{"ADMIN_API_KEY as bearer", "Authorization", "Bearer " + adminKey, "/admin/api/accounts", 200},
		{"the scheme has no case", "Authorization", "bearer  " + adminKey, "/admin/api/accounts", 200},
		{"ADMIN_API_KEY as x-api-key", "x-api-key", adminKey, "/admin/api/accounts", 200},
		{"another scheme is no key", "Authorization", "Basic " + adminKey, "/admin/api/accounts", 401},
		{"a made admin key", "Authorization", "Bearer " + boss, "/admin/api/keys", 200},
		{"a tenant key lists its own account", "x-api-key", proxyKey, "/admin/api/accounts", 200},
		{"a tenant key as bearer", "Authorization", "Bearer " + proxyKey, "/admin/api/nodes", 200},
		{"a known key that is no admin's", "x-admin-key", proxyKey, "/admin/api/nodes", 403},
		{"a key for models only", "x-api-key", client, "/admin/api/nodes", 403},
		{"a tenant at the admin's route", "x-api-key", proxyKey, "/admin/api/keys", 403},
		{"?admin_key= is for pages only", "", "", "/admin/api/accounts?admin_key=" + adminKey, 401},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = []string{c.header, c.value}
			}
			a := w.Call("GET", c.target, "", headers...)
			if a.Status != c.want {
				t.Fatalf("status %d, want %d: %s", a.Status, c.want, a.Body)
			}
			if c.want != 200 {
				errorOf(t, a)
			}
		})
	}
	a := w.Call("POST", "/v1/messages", question, "x-api-key", adminKey)
	if a.Status != http.StatusForbidden {
		t.Errorf("ADMIN_API_KEY calls models: %d", a.Status)
	}
}

// TestMethodsAndPaths: 405 with Allow for a known path, 404 for another, both as {"error"}.
func TestMethodsAndPaths(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		method, target string
		want           int
		allow          string
	}{
		{"PATCH", "/admin/api/accounts", 405, "DELETE, GET, POST, PUT"},
		{"PATCH", "/admin/api/nodes", 405, "DELETE, GET, POST, PUT"},
		{"GET", "/admin/api/nodes/activate", 405, "POST"},
		{"GET", "/admin/api/nodes/disable", 405, "POST"},
		{"PUT", "/admin/api/nodes/enable", 405, "POST"},
		{"DELETE", "/admin/api/config", 405, "GET, PUT"},
		{"POST", "/api/usage/summary", 405, "GET"},
		{"DELETE", "/api/usage/logs", 405, "GET"},
		{"PUT", "/login", 405, "GET, POST"},
		{"DELETE", "/logout", 405, "GET, POST"},
		{"POST", "/admin", 405, "GET, HEAD"},
		{"GET", "/admin/api/nothing", 404, ""},
		{"GET", "/admin/api/nodes/", 404, ""},
		{"GET", "/admin/api/nodes/../accounts", 404, ""},
		{"GET", "/api/usage", 404, ""},
	} {
		a := w.admin(c.want, c.method, c.target, "")
		errorOf(t, a)
		if got := a.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.target, got, c.allow)
		}
	}
}
