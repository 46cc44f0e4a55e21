//go:build unix

package process

import (
	"net/http"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// TestGuideAWalk is Guide A from its first command to its last, over HTTP against the program (seed-systems 1.21).
func TestGuideAWalk(t *testing.T) {
	dir, up := t.TempDir(), upstreamtest.NewAnthropic(t, upstreamtest.WithKey("sk-ant-your-key"))

	// the quick way
	port := freePort(t)
	s := start(t, dir, map[string]string{"LISTEN_ADDR": ":" + port, "UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-your-key"}, "proxy")
	s.url = "http://localhost:" + port
	s.says("- Admin API Key: admin\n", "- Account 'default': proxy_api_key=default-proxy-key\n")
	resp, _ := s.do("GET", "/admin?admin_key=admin", "", "Accept", "text/html")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/admin" {
		t.Fatalf("the admin page: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	session, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if resp, page := s.do("GET", "/admin", "", "Accept", "text/html", "Cookie", session); resp.StatusCode != 200 || !strings.Contains(page, "<html") {
		t.Errorf("the admin page: %d %s", resp.StatusCode, page)
	}
	resp, body := s.do("POST", "/v1/messages", question, "x-api-key", "default-proxy-key")
	if resp.StatusCode != 200 || resp.Header.Get("X-Proxy-Node") != "default" || !strings.Contains(body, `"type":"message"`) {
		t.Errorf("the first message: %d by %q: %s", resp.StatusCode, resp.Header.Get("X-Proxy-Node"), body)
	}
	s.stop()

	// the production way, on the same database
	up2 := upstreamtest.NewAnthropic(t, upstreamtest.WithKey("sk-ant-alpha-upstream-key"))
	s = start(t, dir, map[string]string{"ADMIN_API_KEY": adminKey, "DEFAULT_ACCOUNT_NAME": "team-alpha", "DEFAULT_PROXY_API_KEY": proxyKey,
		"UPSTREAM_BASE_URL": up2.URL, "UPSTREAM_API_KEY": "sk-ant-alpha-upstream-key", "UPSTREAM_NAME": "alpha-node-1", "UPSTREAM_ALLOW_PRIVATE": "127.0.0.0/8",
		"PROXY_RETRY_MAX": "3", "PROXY_FAIL_THRESHOLD": "3", "PROXY_HEALTH_INTERVAL_SEC": "30"}, "proxy")
	s.says("proxy_api_key is set\n") // the last line
	for _, secret := range []string{adminKey, proxyKey, "sk-ant-alpha"} {
		if strings.Contains(s.out.String(), secret) {
			t.Errorf("the start prints %s", secret)
		}
	}
	if strings.Contains(s.out.String(), "warning") {
		t.Errorf("a warning without a reason:\n%s", s.out)
	}
	for _, old := range []string{"admin", "amq-admin-default-key-change-immediately"} {
		if status, _ := s.get("/admin/api/accounts", "x-admin-key", old); status != 401 {
			t.Errorf("%s still answers %d", old, status)
		}
	}
	if status, _, _ := s.ask("default-proxy-key"); status != 401 {
		t.Errorf("default-proxy-key still answers %d", status)
	}
	if status, _ := s.get("/admin/api/accounts", "Cookie", session); status != 401 {
		t.Errorf("the session of the default key still answers %d", status)
	}
	if status, node, _ := s.ask(proxyKey); status != 200 || node != "alpha-node-1" {
		t.Errorf("a message: %d by %q", status, node)
	}

	// accounts
	accounts := s.json(200, "GET", "/admin/api/accounts", "", "x-admin-key", adminKey)["accounts"].([]any)
	id := accounts[0].(map[string]any)["id"].(string)
	if len(accounts) != 1 || accounts[0].(map[string]any)["name"] != "team-alpha" {
		t.Errorf("accounts: %v", accounts)
	}
	s.json(200, "GET", "/admin/api/nodes?account_id="+id, "", "x-admin-key", adminKey)
	s.json(200, "PUT", "/admin/api/accounts?id="+id, `{ "name": "new-name", "proxy_api_key": "new-proxy-key" }`, "x-admin-key", adminKey)
	if status, _, _ := s.ask(proxyKey); status != 401 {
		t.Errorf("the old proxy key: %d", status)
	}
	beta := s.json(201, "POST", "/admin/api/accounts", `{"name":"beta","proxy_api_key":"beta-proxy-key"}`, "x-admin-key", adminKey)["id"].(string)
	s.json(200, "DELETE", "/admin/api/accounts?id="+beta, "", "x-admin-key", adminKey)

	// nodes
	third := upstreamtest.NewAnthropic(t, upstreamtest.WithKey("sk-ant-xxx"))
	tenant := []string{"x-api-key", "new-proxy-key"}
	node := s.json(201, "POST", "/admin/api/nodes", `{ "name": "new-node", "base_url": "`+third.URL+`", "api_key": "sk-ant-xxx", "weight": 1 }`, tenant...)["id"].(string)
	s.json(200, "PUT", "/admin/api/nodes?id="+node, `{ "name": "updated-node", "base_url": "`+third.URL+`", "api_key": "sk-ant-xxx", "weight": 2 }`, tenant...)
	for _, step := range []struct{ path, field, by string }{
		{"activate", "active", "updated-node"}, {"disable", "disabled", "alpha-node-1"}, {"enable", "enabled", "updated-node"},
	} {
		if got := s.json(200, "POST", "/admin/api/nodes/"+step.path, `{"id": "`+node+`"}`, tenant...); got[step.field] != node {
			t.Errorf("%s answers %v", step.path, got)
		}
		if status, by, _ := s.ask("new-proxy-key"); status != 200 || by != step.by {
			t.Errorf("after %s: %d by %q, want %q", step.path, status, by, step.by)
		}
	}
	s.json(200, "DELETE", "/admin/api/nodes?id="+node, "", tenant...)
	if status, by, _ := s.ask("new-proxy-key"); status != 200 || by != "alpha-node-1" {
		t.Errorf("after the deletion: %d by %q", status, by)
	}
	s.stop()

	// question 2: another ADMIN_API_KEY, and the edits stay
	s = start(t, dir, map[string]string{"ADMIN_API_KEY": "another-admin-key-1", "DEFAULT_ACCOUNT_NAME": "team-alpha", "DEFAULT_PROXY_API_KEY": proxyKey,
		"UPSTREAM_BASE_URL": up2.URL, "UPSTREAM_API_KEY": "sk-ant-alpha-upstream-key", "UPSTREAM_NAME": "alpha-node-1"}, "proxy")
	if status, _ := s.get("/admin/api/accounts", "x-admin-key", adminKey); status != 401 {
		t.Errorf("the old admin key: %d", status)
	}
	got := s.json(200, "GET", "/admin/api/accounts", "", "x-admin-key", "another-admin-key-1")["accounts"].([]any)
	if got[0].(map[string]any)["name"] != "new-name" {
		t.Errorf("the restart undid an edit: %v", got)
	}
	if status, by, _ := s.ask("new-proxy-key"); status != 200 || by != "alpha-node-1" {
		t.Errorf("after the restart: %d by %q", status, by)
	}
	s.says("Account 'new-name': proxy_api_key is set")
	s.stop()
}
