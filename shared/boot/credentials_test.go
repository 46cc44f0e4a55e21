package boot_test

import (
	"net/http"
	"strings"
	"testing"

	"sluice/shared/boot/boottest"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/upstreamtest"
)

const (
	amqKey   = "amq-admin-default-key-change-immediately"
	question = `{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"Hello"}],"max_tokens":16}`
)

// admin returns the status of a call with an admin key.
func admin(g *boottest.Gateway, key string, headers ...string) int {
	return g.Call("GET", "/admin/api/keys", "", append([]string{"x-admin-key", key}, headers...)...).Status
}

// ask returns the status of a message and the node that served it.
func ask(g *boottest.Gateway, key string, headers ...string) (int, string) {
	a := g.Call("POST", "/v1/messages", question, append([]string{"x-api-key", key}, headers...)...)
	return a.Status, a.Header.Get("X-Proxy-Node")
}

func notes(g *boottest.Gateway) string { return strings.Join(g.Notes, "\n") }

func restart(t *testing.T, g *boottest.Gateway, env map[string]string) {
	t.Helper()
	if err := g.Restart(env); err != nil {
		t.Fatal(err)
	}
}

// upstreamEnv is Guide A's first start with more variables.
func upstreamEnv(up *upstreamtest.Anthropic, more ...string) map[string]string {
	m := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-your-key"}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

// TestDefaultsWorkFromThisMachineOnly is DESIGN 9: loopback peer, loopback Host, no sign of a proxy.
func TestDefaultsWorkFromThisMachineOnly(t *testing.T) {
	for _, c := range []struct {
		reason  string
		headers []string
		ok      bool
	}{
		{"curl localhost", nil, true},
		{"IPv4 loopback", []string{"Host", "127.0.0.1:8000"}, true},
		{"IPv6 loopback", []string{"Host", "[::1]:8000", "Peer", "[::1]:50000"}, true},
		{"IPv6 spelling of IPv4 loopback", []string{"Peer", "[::ffff:127.0.0.1]:50000"}, true},
		{"without a port", []string{"Host", "localhost"}, true},
		{"another machine", []string{"Peer", "192.0.2.1:50000"}, false},
		{"a private network", []string{"Peer", "10.0.0.7:50000"}, false},
		{"Docker's bridge", []string{"Peer", "172.17.0.1:50000"}, false},
		{"another name: DNS rebinding", []string{"Host", "evil.example"}, false},
		{"a name that only looks like ours", []string{"Host", "localhost.evil.example"}, false},
		{"a subdomain of localhost", []string{"Host", "x.localhost"}, false},
		{"no host", []string{"Host", ""}, false},
		{"a proxy on this machine: X-Forwarded-For", []string{"X-Forwarded-For", "127.0.0.1"}, false},
		{"a proxy on this machine: Forwarded", []string{"Forwarded", "for=127.0.0.1"}, false},
		{"a proxy on this machine: Via", []string{"Via", "1.1 proxy"}, false},
		{"an empty header is one, too", []string{"X-Forwarded-For", ""}, false},
		{"no peer", []string{"Peer", ""}, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			up := upstreamtest.NewAnthropic(t)
			g := boottest.Start(t, upstreamEnv(up))
			g.Secret("sk-ant-your-key")
			for _, key := range []string{"admin", amqKey} {
				for _, h := range [][]string{{"x-admin-key", key}, {"Authorization", "Bearer " + key}} {
					a := g.Call("GET", "/admin/api/keys", "", append(h, c.headers...)...)
					if c.ok && a.Status != 200 {
						t.Errorf("%s by %s: %d %s", key, h[0], a.Status, a.Body)
					}
					if text := a.Text("error"); !c.ok && (a.Status != 403 || !strings.Contains(text, "ADMIN_API_KEY") || !strings.Contains(text, "sluice key create --admin")) {
						t.Errorf("%s by %s: %d %q; want 403 naming the variable and the command", key, h[0], a.Status, text)
					}
				}
			}
			page := g.Call("GET", "/admin?admin_key=admin", "", c.headers...)
			if got := page.Header.Get("Set-Cookie") != ""; got != c.ok {
				t.Errorf("?admin_key=admin: %d, session opened: %v", page.Status, got)
			}
			if !c.ok && (page.Status != 403 || !strings.Contains(string(page.Body), "ADMIN_API_KEY")) {
				t.Errorf("the page does not say what to do: %d %s", page.Status, page.Body)
			}
			status, _ := ask(g, "default-proxy-key", c.headers...)
			if c.ok && status != 200 || !c.ok && status != 403 {
				t.Errorf("default-proxy-key: %d", status)
			}
			a := g.Call("POST", "/v1/messages", question, append([]string{"x-api-key", "default-proxy-key"}, c.headers...)...)
			if !c.ok && !strings.Contains(string(a.Body), "DEFAULT_PROXY_API_KEY") {
				t.Errorf("the 403 does not name the variable: %s", a.Body)
			}
			if a := g.Call("GET", "/admin/api/nodes", "", append([]string{"x-api-key", "default-proxy-key"}, c.headers...)...); (a.Status == 200) != c.ok {
				t.Errorf("default-proxy-key at its nodes: %d", a.Status)
			}
		})
	}
}

// TestAllowDefaultCredentials lifts it, with a warning.
func TestAllowDefaultCredentials(t *testing.T) {
	g := boottest.Start(t, upstreamEnv(upstreamtest.NewAnthropic(t), "ALLOW_DEFAULT_CREDENTIALS", "true"))
	if got := admin(g, "admin", "Peer", "192.0.2.1:1", "Host", "gate.example"); got != 200 {
		t.Errorf("admin from afar: %d", got)
	}
	if got, _ := ask(g, "default-proxy-key", "Peer", "192.0.2.1:1"); got != 200 {
		t.Errorf("default-proxy-key from afar: %d", got)
	}
	if n := strings.Count(notes(g), "ALLOW_DEFAULT_CREDENTIALS"); n != 2 {
		t.Errorf("each default key's warning must name ALLOW_DEFAULT_CREDENTIALS:\n%s", notes(g))
	}
}

// TestOwnKeysWorkFromAnywhere: the rule is for what the guides print, for nothing else.
func TestOwnKeysWorkFromAnywhere(t *testing.T) {
	g := boottest.Start(t, upstreamEnv(upstreamtest.NewAnthropic(t), "ADMIN_API_KEY", "my-secure-admin-key", "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123"))
	g.Secret("my-secure-admin-key", "alpha-proxy-key-123")
	from := []string{"Peer", "192.0.2.1:1", "Host", "gate.example", "X-Forwarded-For", "198.51.100.1"}
	if got := admin(g, "my-secure-admin-key", from...); got != 200 {
		t.Errorf("own admin key: %d", got)
	}
	if got, _ := ask(g, "alpha-proxy-key-123", from...); got != 200 {
		t.Errorf("own proxy key: %d", got)
	}
	if strings.Contains(strings.ReplaceAll(notes(g), "warning: the master key", ""), "warning") { // of a store in memory
		t.Errorf("warnings without a reason:\n%s", notes(g))
	}
}

// TestPublishedKeysSetByHandStayPublished: copying a default into the environment or the API makes it no secret.
func TestPublishedKeysSetByHandStayPublished(t *testing.T) {
	far := []string{"Peer", "192.0.2.1:1"}
	for _, k := range []string{"admin", amqKey} {
		g := boottest.Start(t, map[string]string{"ADMIN_API_KEY": k, "DEFAULT_PROXY_API_KEY": "default-proxy-key"})
		if here, there := admin(g, k), admin(g, k, far...); here != 200 || there != 403 {
			t.Errorf("ADMIN_API_KEY=%s: %d here, %d from afar; want 200 and 403", k, here, there)
		}
		if got, _ := ask(g, "default-proxy-key", far...); got != 403 {
			t.Errorf("DEFAULT_PROXY_API_KEY=default-proxy-key: %d from afar, want 403", got)
		}
		if strings.Count(notes(g), "warning: the default") != 2 {
			t.Errorf("no warning:\n%s", notes(g))
		}
	}
	g := boottest.Start(t, map[string]string{"ADMIN_API_KEY": "my-secure-admin-key", "DEFAULT_PROXY_API_KEY": "alpha-proxy-key-123"})
	g.Want(200, "PUT", "/admin/api/accounts?id=default", `{"proxy_api_key":"default-proxy-key"}`, "x-admin-key", "my-secure-admin-key")
	if got, _ := ask(g, "default-proxy-key", far...); got != 403 {
		t.Errorf("set by the API: %d from afar, want 403", got)
	}
	restart(t, g, map[string]string{"ADMIN_API_KEY": "my-secure-admin-key", "DEFAULT_PROXY_API_KEY": "alpha-proxy-key-123"})
	if !strings.Contains(notes(g), "warning: the default proxy key") {
		t.Errorf("the next start does not warn:\n%s", notes(g))
	}
}

// TestTheTwoAdminDefaultsAreOneKey: id 1, two spellings, one life.
func TestTheTwoAdminDefaultsAreOneKey(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	g := boottest.Start(t, upstreamEnv(up))
	keys := g.Want(200, "GET", "/admin/api/keys", "", "x-admin-key", "admin").List("keys")
	if keys[0]["id"] != "1" || keys[0]["is_admin"] != true || keys[0]["default"] != true || keys[0]["prefix"] != "" {
		t.Errorf("the first key: %v", keys[0])
	}
	made := g.Want(201, "POST", "/admin/api/keys", `{"name":"mine","is_admin":true}`, "Authorization", "Bearer "+amqKey).Text("key")
	g.Secret(made)
	if admin(g, "admin") != 200 {
		t.Error("making another key ends the default one; only deleting it does")
	}
	g.Want(200, "DELETE", "/admin/api/keys?id=1", "", "Authorization", "Bearer "+made)
	dead := func(reason string) {
		t.Helper()
		for _, k := range []string{"admin", amqKey} {
			if got := admin(g, k); got != 401 {
				t.Errorf("%s: %s answers %d, want 401", reason, k, got)
			}
		}
	}
	dead("deleted")
	restart(t, g, upstreamEnv(up))
	dead("restarted while another admin key exists")
	if strings.Contains(notes(g), "Admin API Key: admin") {
		t.Errorf("the notes still print it:\n%s", notes(g))
	}
	restart(t, g, upstreamEnv(up, "ADMIN_API_KEY", "admin"))
	dead("set by hand while another admin key exists")
	id := g.Want(200, "GET", "/admin/api/keys", "", "x-admin-key", made).List("keys")[1]["id"].(string)
	if id == "1" {
		t.Error("id 1 was given to another key")
	}
	for _, k := range g.Want(200, "GET", "/admin/api/keys", "", "x-admin-key", made).List("keys") {
		if k["is_admin"] == true {
			g.Want(200, "DELETE", "/admin/api/keys?id="+k["id"].(string), "", "x-admin-key", made)
		}
	}
	restart(t, g, upstreamEnv(up))
	if admin(g, "admin") != 200 || admin(g, amqKey) != 200 {
		t.Error("without any admin key the default must come back, or nobody gets in")
	}
}

// TestAnAdminAccountsKeyKeepsTheDefaultDead: such a key administers, too.
func TestAnAdminAccountsKeyKeepsTheDefaultDead(t *testing.T) {
	g := boottest.Start(t, nil)
	g.Secret("ops-proxy-key-12345")
	g.Want(201, "POST", "/admin/api/accounts", `{"name":"ops","is_admin":true,"proxy_api_key":"ops-proxy-key-12345"}`, "x-admin-key", "admin")
	g.Want(200, "DELETE", "/admin/api/keys?id=1", "", "x-admin-key", "ops-proxy-key-12345")
	restart(t, g, nil)
	if got := admin(g, "admin"); got != 401 {
		t.Errorf("the default came back: %d", got)
	}
	if got := admin(g, "ops-proxy-key-12345"); got != 200 {
		t.Errorf("the account's key: %d", got)
	}
}

// TestAdminKeyOfTheEnvironment: setting it ends the defaults, changing it and restarting ends the old one (Guide A, question 2).
func TestAdminKeyOfTheEnvironment(t *testing.T) {
	g := boottest.Start(t, nil)
	g.Secret("first-admin-key-123", "other-admin-key-123")
	restart(t, g, map[string]string{"ADMIN_API_KEY": "first-admin-key-123"})
	for k, want := range map[string]int{"admin": 401, amqKey: 401, "first-admin-key-123": 200} {
		if got := admin(g, k); got != want {
			t.Errorf("%s: %d, want %d", k, got, want)
		}
	}
	if keys := g.Want(200, "GET", "/admin/api/keys", "", "x-admin-key", "first-admin-key-123").List("keys"); len(keys) != 1 || keys[0]["is_admin"] == true {
		t.Errorf("the default key is still stored: %v", keys)
	}
	restart(t, g, map[string]string{"ADMIN_API_KEY": "other-admin-key-123"})
	for k, want := range map[string]int{"admin": 401, "first-admin-key-123": 401, "other-admin-key-123": 200} {
		if got := admin(g, k); got != want {
			t.Errorf("after the change %s: %d, want %d", k, got, want)
		}
	}
	restart(t, g, nil)
	if admin(g, "other-admin-key-123") != 401 || admin(g, "admin") != 200 {
		t.Error("unset again: the old key must be dead, and the default back, as no other admin key exists")
	}
}

// TestKeysThatWouldMixRoles: a client's key must never administer the gateway.
func TestKeysThatWouldMixRoles(t *testing.T) {
	for _, c := range []struct {
		reason, names string
		env           map[string]string
	}{
		{"one value for both", "DEFAULT_PROXY_API_KEY", map[string]string{"ADMIN_API_KEY": "one-key-for-both-1", "DEFAULT_PROXY_API_KEY": "one-key-for-both-1"}},
		{"the published admin key for clients", "DEFAULT_PROXY_API_KEY", map[string]string{"DEFAULT_PROXY_API_KEY": "admin"}},
		{"its other spelling", "DEFAULT_PROXY_API_KEY", map[string]string{"DEFAULT_PROXY_API_KEY": amqKey}},
		{"the published client key for administrators", "ADMIN_API_KEY", map[string]string{"ADMIN_API_KEY": "default-proxy-key"}},
	} {
		if _, err := boottest.Parse(c.env); err == nil || !strings.HasPrefix(err.Error(), c.names+": ") || strings.Contains(err.Error(), "one-key-for-both") {
			t.Errorf("%s: %v; want an error naming %s without the value", c.reason, err, c.names)
		}
	}
	g := boottest.StartOn(t, memory.New(), nil)
	g.Want(201, "POST", "/admin/api/accounts", `{"name":"x","proxy_api_key":"a-tenants-own-key-1"}`, "x-admin-key", "admin")
	err := g.Restart(map[string]string{"ADMIN_API_KEY": "a-tenants-own-key-1"})
	if err == nil || !strings.Contains(err.Error(), "ADMIN_API_KEY: ") || strings.Contains(err.Error(), "a-tenants-own") {
		t.Errorf("ADMIN_API_KEY that a tenant holds: %v", err)
	}
	g.Want(http.StatusOK, "GET", "/admin/api/nodes", "", "x-api-key", "a-tenants-own-key-1")
}

// TestShortKeysAreWarnedAbout at every start, taken all the same, and never printed.
func TestShortKeysAreWarnedAbout(t *testing.T) {
	env := map[string]string{"ADMIN_API_KEY": "s3cr-t", "DEFAULT_PROXY_API_KEY": "pr0xy!"}
	g := boottest.Start(t, env)
	g.Secret("s3cr-t", "pr0xy!")
	for range 2 {
		for _, v := range []string{"ADMIN_API_KEY", "DEFAULT_PROXY_API_KEY"} {
			if !strings.Contains(notes(g), "warning: "+v+" has fewer than 16 characters") {
				t.Errorf("no warning for %s:\n%s", v, notes(g))
			}
		}
		if strings.Contains(notes(g), "s3cr-t") || strings.Contains(notes(g), "pr0xy!") {
			t.Errorf("the notes show a secret:\n%s", notes(g))
		}
		if admin(g, "s3cr-t") != 200 {
			t.Error("a short admin key is not taken")
		}
		restart(t, g, env)
	}
	g.Want(200, "PUT", "/admin/api/accounts?id=default", `{"proxy_api_key":"a-long-proxy-key-of-its-own"}`, "x-admin-key", "s3cr-t")
	restart(t, g, env)
	if strings.Contains(notes(g), "warning: DEFAULT_PROXY_API_KEY") {
		t.Errorf("a warning of a key that is no longer in use:\n%s", notes(g))
	}
}
