package adminapi_test

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// listed is an account as the administrator's list shows it.
func (w *world) listed(id string) map[string]any {
	w.t.Helper()
	for _, a := range w.admin(200, "GET", "/admin/api/accounts", "").List("accounts") {
		if a["id"] == id {
			return a
		}
	}
	w.t.Fatalf("account %s is not listed", id)
	return nil
}

// TestOpenAINodes: their own fields, shown, kept and taken back.
func TestOpenAINodes(t *testing.T) {
	w := start(t)
	w.Secret("sk-openai-secret")
	id := w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"kind":"openai","base_url":"https://api.openai.com/v1","api_key":"sk-openai-secret"}`).Text("id")
	for f, want := range map[string]any{"kind": "openai", "wire": "chat", "auth_header": nil, "health_check_method": "api", "name": "api.openai.com", "has_api_key": true} {
		if n := w.one(proxyKey, id); n[f] != want {
			t.Errorf("a node with an address only: %s is %v, want %v", f, n[f], want)
		}
	}
	id = w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"kind":"openai","base_url":"https://api.openai.com/v1","api_key":"sk-openai-secret",
		"wire":"both","auth_header":"api-key","models":["gpt-5.4"],"model_map":{"claude-haiku-*":"gpt-5.4-mini","eu-*":"*"}}`).Text("id")
	if got := w.one(proxyKey, id)["model_map"]; !reflect.DeepEqual(got, map[string]any{"claude-haiku-*": "gpt-5.4-mini", "eu-*": "*"}) {
		t.Errorf("model_map %v", got)
	}
	for _, c := range []struct {
		why, body string
		changes   map[string]any
	}{
		{"nothing", `{}`, nil},
		{"null keeps", `{"wire":null,"auth_header":null}`, nil},
		{"another field keeps them", `{"weight":3}`, map[string]any{"weight": 3.0}},
		{"the kind itself keeps them", `{"kind":"openai"}`, nil},
		{"wire", `{"wire":"responses"}`, map[string]any{"wire": "responses"}},
		{"no wire is the default", `{"wire":""}`, map[string]any{"wire": "chat"}},
		{"chat by name", `{"wire":" chat "}`, nil},
		{"auth_header", `{"auth_header":"X-Goog-Api-Key"}`, map[string]any{"auth_header": "X-Goog-Api-Key"}},
		{"Authorization without Bearer", `{"auth_header":"Authorization"}`, map[string]any{"auth_header": "Authorization"}},
		{"no header is the default", `{"auth_header":""}`, map[string]any{"auth_header": nil}},
	} {
		want := w.one(proxyKey, id)
		maps.Copy(want, c.changes)
		w.Advance(time.Second)
		w.tenant(200, proxyKey, "PUT", "/admin/api/nodes?id="+id, c.body)
		got := w.one(proxyKey, id)
		for _, m := range []map[string]any{want, got} {
			delete(m, "updated_at")
			delete(m, "state_since") // what is known of another place begins anew
			for k, v := range m {
				if v == nil {
					delete(m, k)
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", c.why, got, want)
		}
	}
}

// TestBadOpenAINodes: each is a 400 that names the field, on creation as on update, and changes nothing.
func TestBadOpenAINodes(t *testing.T) {
	w := start(t)
	openai := `"kind":"openai","base_url":"https://api.openai.com/v1"`
	id := w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{`+openai+`,"wire":"both","auth_header":"api-key"}`).Text("id")
	before := w.one(proxyKey, id)
	type refused struct{ why, body, names string }
	cases := []refused{
		{"a wire that is none", `"wire":"carrier pigeon"`, "wire"},
		{"a dialect is no wire", `"wire":"openai-chat"`, "wire"},
		{"a list of wires", `"wire":["chat","responses"]`, "wire"},
		{"a header that is a number", `"auth_header":7`, "auth_header"},
		{"two keys' worth of *", `"model_map":{"a*b*":"x"}`, "model_map"},
		{"two * in a target", `"model_map":{"a*":"x*y*"}`, "model_map"},
		{"a * in a target without one in the key", `"model_map":{"a":"x*"}`, "model_map"},
		{"a map to nothing", `"model_map":{"a*":""}`, "model_map"},
	}
	for _, name := range []string{"two words", "a:b", "api-key:", "clé", "a/b", `a\"b`, "a(b)", "a,b", "a\\r\\nX: y", "a\\u0000", strings.Repeat("x", 101),
		"Host", "host", "Connection", "keep-alive", "TE", "Trailer", "transfer-encoding", "Upgrade", "Proxy-Connection", "proxy-authorization",
		"Content-Length", "content-type", "Content-Encoding", "Expect", "Accept-Encoding", "Cookie", "Forwarded", "Via", "X-Forwarded-For"} {
		cases = append(cases, refused{"the header " + name, `"auth_header":"` + name + `"`, "auth_header"})
	}
	for _, c := range cases {
		for _, a := range []struct{ method, target, body string }{
			{"POST", "/admin/api/nodes", `{` + openai + `,` + c.body + `}`}, {"PUT", "/admin/api/nodes?id=" + id, `{` + c.body + `}`},
		} {
			if text := errorOf(t, w.tenant(400, proxyKey, a.method, a.target, a.body)); !strings.HasPrefix(text, c.names) {
				t.Errorf("%s, %s: the error does not name %s: %s", c.why, a.method, c.names, text)
			}
		}
	}
	if got := w.one(proxyKey, id); !reflect.DeepEqual(got, before) {
		t.Errorf("a refused update changed the node:\n got %v\nwant %v", got, before)
	}
	first := w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")[0]["id"].(string)
	for _, c := range []refused{{"wire", `"wire":"chat"`, "wire"}, {"auth_header", `"auth_header":"api-key"`, "auth_header"}} {
		for _, a := range []struct{ method, target, body string }{
			{"POST", "/admin/api/nodes", `{"base_url":"https://api.anthropic.com",` + c.body + `}`}, {"PUT", "/admin/api/nodes?id=" + first, `{` + c.body + `}`},
		} {
			if text := errorOf(t, w.tenant(400, proxyKey, a.method, a.target, a.body)); !strings.HasPrefix(text, c.names) {
				t.Errorf("%s of an Anthropic node, %s: %s", c.why, a.method, text)
			}
		}
	}
	w.tenant(200, proxyKey, "PUT", "/admin/api/nodes?id="+first, `{"wire":"","auth_header":""}`)
	if n := w.one(proxyKey, first); n["wire"] != nil || n["auth_header"] != nil {
		t.Errorf("an Anthropic node shows fields of others: %v", n)
	}
	if n := len(w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")); n != 2 {
		t.Errorf("%d nodes: something refused was stored", n)
	}
}

// TestANewWayToSendForgives: failures that a wrong header or wire caused must not outlive it.
func TestANewWayToSendForgives(t *testing.T) {
	w := start(t)
	w.admin(200, "PUT", "/admin/api/config", `{"retries":1,"fail_limit":1}`)
	first := w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")[0]["id"].(string)
	w.tenant(200, proxyKey, "POST", "/admin/api/nodes/disable", `{"id":"`+first+`"}`)
	id := w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"kind":"openai","base_url":"`+w.up.URL+`/v1"}`).Text("id")
	for _, body := range []string{`{"auth_header":"api-key"}`, `{"wire":"responses"}`} {
		w.up.Queue(upstreamtest.Status(500, "broken"))
		w.ask(proxyKey)
		if n := w.one(proxyKey, id); n["failed"] != true {
			t.Fatalf("the node did not fail: %v", n)
		}
		w.tenant(200, proxyKey, "PUT", "/admin/api/nodes?id="+id, `{"weight":2}`)
		if n := w.one(proxyKey, id); n["failed"] != true {
			t.Errorf("another weight forgives")
		}
		w.tenant(200, proxyKey, "PUT", "/admin/api/nodes?id="+id, body)
		if n := w.one(proxyKey, id); n["failed"] != false {
			t.Errorf("%s: still failed", body)
		}
	}
}

// TestAccountModelMap: made, shown, kept, replaced and taken away.
func TestAccountModelMap(t *testing.T) {
	w := start(t)
	w.Secret("gamma-proxy-key-123")
	id := w.admin(201, "POST", "/admin/api/accounts",
		`{"name":"gamma","proxy_api_key":"gamma-proxy-key-123","model_map":{"claude-haiku-*":"gpt-5.4-mini"}}`).Text("id")
	is := func(why string, want any) {
		t.Helper()
		if got := w.listed(id)["model_map"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: model_map %v, want %v", why, got, want)
		}
	}
	made := map[string]any{"claude-haiku-*": "gpt-5.4-mini"}
	is("made", made)
	for _, body := range []string{`{}`, `{"name":"delta"}`, `{"model_map":null}`} {
		w.admin(200, "PUT", "/admin/api/accounts?id="+id, body)
		is(body, made)
	}
	for _, c := range []struct{ why, value string }{
		{"two *", `{"a*b*":"x"}`}, {"two in a target", `{"a*":"**"}`}, {"a * from nowhere", `{"a":"x*"}`}, {"an empty name", `{"":"x"}`},
		{"an empty target", `{"a":""}`}, {"a control character", `{"a":"b\u0007"}`}, {"a list", `["a"]`}, {"a list as a target", `{"a":["b"]}`},
		{"too long a name", `{"a":"` + strings.Repeat("x", 257) + `"}`}, {"too many", tooMany()},
	} {
		for _, a := range [][2]string{{"PUT", "/admin/api/accounts?id=" + id}, {"POST", "/admin/api/accounts"}} {
			if text := errorOf(t, w.admin(400, a[0], a[1], `{"name":"epsilon","model_map":`+c.value+`}`)); !strings.HasPrefix(text, "model_map") {
				t.Errorf("%s, %s: the error does not name model_map: %s", c.why, a[0], text)
			}
		}
	}
	is("refused", made)
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"model_map":{"eu/*":"*","fast":"haiku-4-5"}}`)
	is("replaced, not merged", map[string]any{"eu/*": "*", "fast": "haiku-4-5"})
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"model_map":{}}`)
	is("emptied", nil)
	if n := len(w.admin(200, "GET", "/admin/api/accounts", "").List("accounts")); n != 2 {
		t.Errorf("%d accounts: something refused was stored", n)
	}
	// another account's key may not
	errorOf(t, w.tenant(403, proxyKey, "PUT", "/admin/api/accounts?id="+id, `{"model_map":{"a":"b"}}`))
	is("a stranger", nil)
}

// TestAccountResponseDays: off at first, set, kept by other edits, bounded.
func TestAccountResponseDays(t *testing.T) {
	w := start(t)
	w.Secret("gamma-proxy-key-123")
	id := w.admin(201, "POST", "/admin/api/accounts", `{"name":"gamma","proxy_api_key":"gamma-proxy-key-123"}`).Text("id")
	for _, c := range []struct {
		body   string
		status int
		want   float64
	}{
		{`{}`, 200, 0}, {`{"response_days":30}`, 200, 30}, {`{"name":"delta"}`, 200, 30}, {`{"response_days":31}`, 400, 30},
		{`{"response_days":-1}`, 400, 30}, {`{"response_days":"x"}`, 400, 30}, {`{"response_days":0}`, 200, 0},
	} {
		w.admin(c.status, "PUT", "/admin/api/accounts?id="+id, c.body)
		if got := w.listed(id)["response_days"]; got != c.want {
			t.Errorf("%s: response_days %v, want %v", c.body, got, c.want)
		}
	}
}

func tooMany() string {
	var b strings.Builder
	for i := range 201 {
		fmt.Fprintf(&b, `,"m%d":"x"`, i)
	}
	return "{" + b.String()[1:] + "}"
}
