package adminapi_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sluice/shared/adminui"
	"sluice/shared/boot/boottest"
	"sluice/shared/upstream/upstreamtest"
)

// What Guide A uses.
const (
	adminKey    = "my-secure-admin-key"
	proxyKey    = "alpha-proxy-key-123"
	upstreamKey = "sk-ant-alpha-upstream-key"
	question    = `{"model":"claude-sonnet-4-5-20250929","messages":[{"role":"user","content":"Hello"}],"max_tokens":256}`
	passwd      = "correct horse battery"
)

// world is a gateway as Guide A's "production" start makes it, before a fake upstream.
type world struct {
	*boottest.Gateway
	t  *testing.T
	up *upstreamtest.Anthropic
}

func env(up *upstreamtest.Anthropic, more ...string) map[string]string {
	m := map[string]string{"ADMIN_API_KEY": adminKey, "DEFAULT_ACCOUNT_NAME": "team-alpha", "DEFAULT_PROXY_API_KEY": proxyKey,
		"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": upstreamKey, "UPSTREAM_NAME": "alpha-node-1", "UPSTREAM_ALLOW_PRIVATE": "true"}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func start(t *testing.T, more ...string) *world {
	t.Helper()
	up := upstreamtest.NewAnthropic(t)
	w := &world{Gateway: boottest.Start(t, env(up, more...)), t: t, up: up}
	w.Secret(adminKey, proxyKey, upstreamKey, passwd)
	return w
}

// console puts the web console before the gateway, as the programs do.
func (w *world) console(publicURL string) *world {
	next := w.Handler
	c := adminui.New(adminui.Options{API: next, PublicURL: publicURL, Version: "test", Now: w.Now})
	w.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if c.Handles(r) {
			c.ServeHTTP(rw, r)
			return
		}
		next.ServeHTTP(rw, r)
	})
	return w
}

// admin calls with Guide A's x-admin-key; want is the status.
func (w *world) admin(want int, method, target, body string) *boottest.Answer {
	w.t.Helper()
	return w.Want(want, method, target, body, "x-admin-key", adminKey)
}

// tenant calls with a proxy key.
func (w *world) tenant(want int, key, method, target, body string) *boottest.Answer {
	w.t.Helper()
	return w.Want(want, method, target, body, "x-api-key", key)
}

// account makes an account and returns its id.
func (w *world) account(name, key string) string {
	w.t.Helper()
	w.Secret(key)
	return w.admin(http.StatusCreated, "POST", "/admin/api/accounts", fmt.Sprintf(`{"name":%q,"proxy_api_key":%q}`, name, key)).Text("id")
}

// person gives an account the password passwd.
func (w *world) person(account string) {
	w.t.Helper()
	w.admin(http.StatusOK, "PUT", "/admin/api/accounts?id="+account, fmt.Sprintf(`{"password":%q}`, passwd))
}

// node makes a node of a tenant and returns its id.
func (w *world) node(key, name, base string, weight int) string {
	w.t.Helper()
	return w.tenant(http.StatusCreated, key, "POST", "/admin/api/nodes",
		fmt.Sprintf(`{"name":%q,"base_url":%q,"api_key":"sk-ant-%s-secret","weight":%d}`, name, base, name, weight)).Text("id")
}

// one returns the node with the id as its account's list shows it.
func (w *world) one(key, id string) map[string]any {
	w.t.Helper()
	for _, n := range w.tenant(http.StatusOK, key, "GET", "/admin/api/nodes", "").List("nodes") {
		if n["id"] == id {
			return n
		}
	}
	w.t.Fatalf("node %s is not listed", id)
	return nil
}

// ask sends a message and returns the status and the node that served it.
func (w *world) ask(key string) (int, string) {
	w.t.Helper()
	a := w.Call("POST", "/v1/messages", question, "x-api-key", key)
	return a.Status, a.Header.Get("X-Proxy-Node")
}

// served fails the test unless the next request is served by the node.
func (w *world) served(key, node, reason string) {
	w.t.Helper()
	if status, by := w.ask(key); status != http.StatusOK || by != node {
		w.t.Errorf("%s: status %d by node %q, want 200 by %q", reason, status, by, node)
	}
}

// form posts the login form as a browser does.
func (w *world) form(values url.Values, headers ...string) *boottest.Answer {
	w.t.Helper()
	return w.Call("POST", "/login", values.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// cookie returns the session cookie that an answer sets.
func cookie(t *testing.T, a *boottest.Answer) *http.Cookie {
	t.Helper()
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == "session_token" {
			return c
		}
	}
	t.Fatalf("status %d sets no session cookie: %s", a.Status, a.Body)
	return nil
}

// login signs in and returns the Cookie header.
func (w *world) login(values url.Values) string {
	w.t.Helper()
	c := cookie(w.t, w.form(values))
	return c.Name + "=" + c.Value
}

// errorOf fails the test unless the answer is {"error":"..."} and nothing else.
func errorOf(t *testing.T, a *boottest.Answer) string {
	t.Helper()
	m := a.JSON()
	text, _ := m["error"].(string)
	if len(m) != 1 || text == "" || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") || a.Header.Get("Request-Id") == "" {
		t.Errorf("status %d: not the error shape, or no request id: %s", a.Status, a.Body)
	}
	return text
}

// quote is a JSON string.
func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// request is a form over TLS.
func request(method, target, form string) *http.Request {
	r := boottest.Request(method, target, form, "Content-Type", "application/x-www-form-urlencoded")
	r.TLS = &tls.ConnectionState{}
	return r
}
