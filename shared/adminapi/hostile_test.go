package adminapi_test

import (
	"strings"
	"testing"
)

// TestBadNodes: each is a 400 that names the field, and nothing is stored.
func TestBadNodes(t *testing.T) {
	w := start(t)
	ok := `"base_url":"https://api.anthropic.com"`
	long := strings.Repeat("x", 101)
	cases := []struct{ reason, body, names string }{
		{"no address", `{"name":"n"}`, "base_url"},
		{"a blank address", `{"base_url":"  "}`, "base_url"},
		{"a script", `{"base_url":"javascript:alert(1)"}`, "base_url"},
		{"a file", `{"base_url":"file:///etc/passwd"}`, "base_url"},
		{"another protocol", `{"base_url":"gopher://api.anthropic.com"}`, "base_url"},
		{"no protocol", `{"base_url":"api.anthropic.com"}`, "base_url"},
		{"no host", `{"base_url":"https:///v1"}`, "base_url"},
		{"a port without a host", `{"base_url":"https://:443"}`, "base_url"},
		{"a port that cannot be", `{"base_url":"https://h:99999"}`, "base_url"},
		{"credentials in the address, which lists would show", `{"base_url":"https://user:pass@h"}`, "base_url"},
		{"a user name", `{"base_url":"https://user@h"}`, "base_url"},
		{"a query", `{"base_url":"https://h/?key=1"}`, "base_url"},
		{"an empty query", `{"base_url":"https://h/?"}`, "base_url"},
		{"a fragment", `{"base_url":"https://h/#x"}`, "base_url"},
		{"a line break", `{"base_url":"https://h/\r\nX: y"}`, "base_url"},
		{"a broken escape", `{"base_url":"https://h/%zz"}`, "base_url"},
		{"half an IPv6 address", `{"base_url":"https://[::1"}`, "base_url"},
		{"too long", `{"base_url":"https://h/` + strings.Repeat("x", 600) + `"}`, "base_url"},
		{"a number", `{"base_url":7}`, "base_url"},
		{"a line break in the name would split a header", `{` + ok + `,"name":"a\r\nX-Evil: 1"}`, "name"},
		{"NUL in the name", `{` + ok + `,"name":"a\u0000b"}`, "name"},
		{"the terminal's escape in the name", `{` + ok + `,"name":"a\u001b[2Jb"}`, "name"},
		{"half a character", `{` + ok + `,"name":"a\ud800b"}`, "name"},
		{"a line separator", `{` + ok + `,"name":"a\u2028b"}`, "name"},
		{"a name too long", `{` + ok + `,"name":"` + long + `"}`, "name"},
		{"a name that is a list", `{` + ok + `,"name":["n"]}`, "name"},
		{"a kind this version has not", `{` + ok + `,"kind":"telepathy"}`, "kind"},
		{"a credential with a line break", `{` + ok + `,"api_key":"sk\r\nHost: x"}`, "api_key"},
		{"a credential in another script", `{` + ok + `,"api_key":"ключ"}`, "api_key"},
		{"a credential too long", `{` + ok + `,"api_key":"` + strings.Repeat("x", 9000) + `"}`, "api_key"},
		{"a huge weight", `{` + ok + `,"weight":1000001}`, "weight"},
		{"a weight beyond 64 bits", `{` + ok + `,"weight":99999999999999999999}`, "weight"},
		{"a weight in words", `{` + ok + `,"weight":"1"}`, "weight"},
		{"half a weight", `{` + ok + `,"weight":1.5}`, "weight"},
		{"a method that is none", `{` + ok + `,"health_check_method":"pray"}`, "health_check_method"},
		{"models that are no list", `{` + ok + `,"models":"claude-*"}`, "models"},
		{"an empty model", `{` + ok + `,"models":[""]}`, "models"},
		{"a control character behind 100 good ones", `{` + ok + `,"models":["` + strings.Repeat("m", 120) + `\u0007"]}`, "models"},
		{"too many models", `{` + ok + `,"models":[` + strings.Repeat(`"m",`, 200) + `"m"]}`, "models"},
		{"a map of lists", `{` + ok + `,"model_map":{"a":["b"]}}`, "model_map"},
		{"a map to nothing", `{` + ok + `,"model_map":{"a":""}}`, "model_map"},
		{"no JSON", `name=n`, ""},
		{"nothing", ``, ""},
		{"a list", `[{` + ok + `}]`, ""},
		{"null", `null`, ""},
		{"two objects", `{` + ok + `}{}`, ""},
		{"cut", `{` + ok, ""},
		{"ten thousand levels deep", `{"models":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, ""},
	}
	for _, c := range cases {
		a := w.tenant(400, proxyKey, "POST", "/admin/api/nodes", c.body)
		if text := errorOf(t, a); !strings.HasPrefix(text, c.names) {
			t.Errorf("%s: the error does not name %s: %s", c.reason, c.names, text)
		} else if len(text) > 300 || strings.ContainsAny(text, "\r\n\x00\x1b") {
			t.Errorf("%s: the error repeats the input: %q", c.reason, text)
		}
	}
	id := w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")
	if len(id) != 1 {
		t.Errorf("%d nodes: something refused was stored", len(id))
	}
	before := id[0]
	for _, c := range cases[2:] { // the same on update, where a missing address is fine
		if strings.HasPrefix(c.body, `{"models":[[`) || c.names == "" || c.names == "kind" {
			continue
		}
		errorOf(t, w.admin(400, "PUT", "/admin/api/nodes?id="+before["id"].(string), c.body))
	}
	after := w.one(proxyKey, before["id"].(string))
	for f, v := range map[string]any{"name": "alpha-node-1", "base_url": w.up.URL, "weight": 1.0, "has_api_key": true} {
		if after[f] != v {
			t.Errorf("a refused update changed %s to %v", f, after[f])
		}
	}
	errorOf(t, w.tenant(413, proxyKey, "POST", "/admin/api/nodes", `{"name":"`+strings.Repeat("x", 1<<20)+`"}`))
}

// TestTypeErrorsInWords: a value of a wrong type is told in words, not in those of the decoder, and a long one is not repeated.
func TestTypeErrorsInWords(t *testing.T) {
	w := start(t)
	for _, c := range []struct{ reason, path, body, want string }{
		{"more digits than there are", "/admin/api/keys", `{"requests_per_minute":99999999999999999999}`, "requests_per_minute: must be a whole number of at most 18 digits"},
		{"the same below zero", "/admin/api/keys", `{"concurrency":-99999999999999999999}`, "concurrency: must be a whole number of at most 18 digits"},
		{"half of one", "/admin/api/keys", `{"requests_per_day":1.5}`, "requests_per_day: must be a whole number, not 1.5"},
		{"one with an exponent", "/admin/api/keys", `{"requests_per_day":1e3}`, "requests_per_day: must be a whole number, not 1e3"},
		{"a long one", "/admin/api/keys", `{"requests_per_day":1.` + strings.Repeat("5", 5000) + `}`, "requests_per_day: must be a whole number, not 1.555555555555555555…"},
		{"a string", "/admin/api/keys", `{"requests_per_day":"many"}`, "requests_per_day: must be a whole number, not a string"},
		{"a list", "/admin/api/keys", `{"name":["n"]}`, "name: must be a string, not a list"},
		{"a number", "/admin/api/keys", `{"name":7}`, "name: must be a string, not a number"},
		{"an object", "/admin/api/nodes", `{"models":{}}`, "models: must be a list, not an object"},
		{"yes or no", "/admin/api/nodes", `{"models":true}`, "models: must be a list, not true or false"},
		{"a number that may be broken", "/api/alerts/rules", `{"kind":"error_rate","threshold":"5"}`, "threshold: must be a number, not a string"},
		{"no object at all", "/admin/api/keys", `[]`, "request body must be a JSON object, not a list"},
	} {
		if got := errorOf(t, w.admin(400, "POST", c.path, c.body)); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

// TestGoodNodes: unusual, but right.
func TestGoodNodes(t *testing.T) {
	w := start(t)
	for _, c := range []struct{ reason, body string }{
		{"an IPv6 address", `{"base_url":"http://[2001:db8::1]:8080/api"}`},
		{"punycode", `{"base_url":"https://xn--bcher-kva.example"}`},
		{"a host in its own script", `{"base_url":"https://bücher.example"}`},
		{"a path", `{"base_url":"https://relay.example/anthropic/"}`},
		{"capitals", `{"base_url":"HTTPS://API.ANTHROPIC.COM"}`},
		{"a name in Chinese", `{"name":"上海节点","base_url":"https://h.example"}`},
		{"the longest name", `{"name":"` + strings.Repeat("x", 100) + `","base_url":"https://h.example"}`},
		{"a negative weight is the most preferred", `{"weight":-5,"base_url":"https://h.example"}`},
		{"a long model in another script, cut nowhere", `{"models":["` + strings.Repeat("模", 80) + `"],"base_url":"https://h.example"}`},
		{"unknown fields", `{"timeout":5,"base_url":"https://h.example"}`},
	} {
		if a := w.Call("POST", "/admin/api/nodes", c.body, "x-api-key", proxyKey); a.Status != 201 {
			t.Errorf("%s: status %d: %s", c.reason, a.Status, a.Body)
		}
	}
	id := w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"name":"上海节点","base_url":"`+w.up.URL+`","api_key":"k","weight":-1}`).Text("id")
	w.tenant(200, proxyKey, "POST", "/admin/api/nodes/activate", `{"id":"`+id+`"}`)
	w.served(proxyKey, "%E4%B8%8A%E6%B5%B7%E8%8A%82%E7%82%B9", "a name that no header takes is percent-encoded")
	if n := w.one(proxyKey, id); n["weight"] != 1.0 {
		t.Errorf("weight %v, want 1", n["weight"])
	}
}

// TestBadIDs: an id is looked up, never interpreted.
func TestBadIDs(t *testing.T) {
	w := start(t)
	for _, id := range []string{"..%2Faccounts", "1%2F..%2F2", "%00", "-1", "01", "1%20", "node%2F1", "99999999999999999999", "%27%20OR%201=1--", strings.Repeat("9", 3000), "%", ""} {
		for _, c := range [][2]string{{"PUT", "/admin/api/nodes?id="}, {"DELETE", "/admin/api/nodes?id="}, {"PUT", "/admin/api/accounts?id="}, {"DELETE", "/admin/api/accounts?id="}, {"DELETE", "/admin/api/keys?id="}} {
			a := w.Call(c[0], c[1]+id, `{"weight":5,"name":"x"}`, "x-admin-key", adminKey)
			want := 404
			if id == "" || id == "%" { // a broken query has no id
				want = 400
			}
			if a.Status != want {
				t.Errorf("%s %s%.40s: status %d, want %d: %s", c[0], c[1], id, a.Status, want, a.Body)
			}
			errorOf(t, a)
		}
	}
	for _, body := range []string{`{"id":1}`, `{}`, `{"id":null}`, `{"id":["1"]}`, `"1"`, ``} {
		for _, p := range []string{"activate", "disable", "enable"} {
			errorOf(t, w.admin(400, "POST", "/admin/api/nodes/"+p, body))
		}
	}
	for _, p := range []string{"activate", "disable", "enable"} {
		errorOf(t, w.admin(404, "POST", "/admin/api/nodes/"+p, `{"id":"../1"}`))
	}
	if n := len(w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")); n != 1 {
		t.Errorf("%d nodes left", n)
	}
}

// TestBadAccounts: the same for accounts.
func TestBadAccounts(t *testing.T) {
	w := start(t)
	w.Secret("12345", strings.Repeat("p", 73))
	for _, c := range []struct{ reason, body, names string }{
		{"no name", `{"proxy_api_key":"a-key-of-its-own"}`, "name"},
		{"a blank name", `{"name":" \t "}`, "name"},
		{"a taken name", `{"name":"team-alpha"}`, "name"},
		{"an account's id", `{"name":"default"}`, "name"},
		{"a line break in the name", `{"name":"a\nb"}`, "name"},
		{"a short password", `{"name":"n","password":"12345"}`, "password"},
		{"more than bcrypt reads", `{"name":"n","password":"` + strings.Repeat("p", 73) + `"}`, "password"},
		{"a key with a blank", `{"name":"n","proxy_api_key":"two words"}`, "proxy_api_key"},
		{"a key in another script", `{"name":"n","proxy_api_key":"密钥"}`, "proxy_api_key"},
		{"a key too long for a header", `{"name":"n","proxy_api_key":"` + strings.Repeat("k", 513) + `"}`, "proxy_api_key"},
		{"a mistyped key of ours", `{"name":"n","proxy_api_key":"sluice_abc"}`, "proxy_api_key"},
		{"a key that is a number", `{"name":"n","proxy_api_key":12345678}`, "proxy_api_key"},
		{"a role in words", `{"name":"n","is_admin":"true"}`, "is_admin"},
	} {
		if text := errorOf(t, w.admin(400, "POST", "/admin/api/accounts", c.body)); !strings.HasPrefix(text, c.names) {
			t.Errorf("%s: the error does not name %s: %s", c.reason, c.names, text)
		}
	}
	if n := len(w.admin(200, "GET", "/admin/api/accounts", "").List("accounts")); n != 1 {
		t.Errorf("%d accounts: something refused was stored", n)
	}
	a := w.admin(201, "POST", "/admin/api/accounts", `{"name":"六字","password":"六个汉字密码"}`)
	w.Secret(a.Text("proxy_api_key"))
	for _, body := range []string{`{"requests_per_minute":-1}`, `{"concurrency":60000001}`, `{"models":["\n"]}`, `{"expires_at":"tomorrow"}`, `{"expires_at":"2001-01-01T00:00:00Z"}`, `{"name":"a\nb"}`} {
		errorOf(t, w.admin(400, "POST", "/admin/api/keys", body))
	}
}

// TestTenantsPrivateAddresses: what a tenant enters is not dialled inside our network (DESIGN 9), what the operator set is.
func TestTenantsPrivateAddresses(t *testing.T) {
	w := start(t, "UPSTREAM_ALLOW_PRIVATE", "false")
	w.served(proxyKey, "alpha-node-1", "the operator's own loopback address")
	id := w.node(proxyKey, "inside", w.up.URL, 1)
	w.tenant(200, proxyKey, "POST", "/admin/api/nodes/activate", `{"id":"`+id+`"}`)
	w.up.Reset()
	w.served(proxyKey, "alpha-node-1", "a tenant's loopback address is passed over")
	if n := w.one(proxyKey, id); !strings.Contains(n["last_error"].(string), "UPSTREAM_ALLOW_PRIVATE") {
		t.Errorf("last_error does not say why: %v", n["last_error"])
	}
}
