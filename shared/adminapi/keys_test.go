package adminapi_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// key makes a key of the default account and returns its id and credential.
func (w *world) key(body string) (id, credential string) {
	w.t.Helper()
	a := w.admin(http.StatusCreated, "POST", "/admin/api/keys", body)
	return a.Text("id"), a.Text("key")
}

// keyShown returns a key as the list shows it.
func (w *world) keyShown(id string) map[string]any {
	w.t.Helper()
	for _, k := range w.admin(http.StatusOK, "GET", "/admin/api/keys", "").List("keys") {
		if k["id"] == id {
			return k
		}
	}
	w.t.Fatalf("key %s is not listed", id)
	return nil
}

// TestKeyPutChangesWhatItNames and keeps all else, the credential included.
func TestKeyPutChangesWhatItNames(t *testing.T) {
	w := start(t)
	id, key := w.key(`{"name":"ci","description":"the build","requests_per_minute":10,"networks":["127.0.0.1","10.0.0.0/8"],"models":["claude-*"],"expires_at":"2099-01-02T03:04:05+02:00"}`)
	other, _ := w.key(`{"name":"other"}`)
	untouched := w.keyShown(other)
	for _, c := range []struct {
		why, body string
		changes   map[string]any
	}{
		{"nothing", `{}`, nil},
		{"null keeps", `{"name":null,"description":null,"scopes":null,"models":null,"networks":null,"expires_at":null,"usd_per_day":null,"tokens_per_minute":null,"revoked":null}`, nil},
		{"name", `{"name":"cd"}`, map[string]any{"name": "cd"}},
		{"description", `{"description":"the\nrelease"}`, map[string]any{"description": "the\nrelease"}},
		{"requests", `{"requests_per_minute":7,"requests_per_day":900}`, map[string]any{"requests_per_minute": 7.0, "requests_per_day": 900.0}},
		{"tokens", `{"tokens_per_minute":50000}`, map[string]any{"tokens_per_minute": 50000.0}},
		{"concurrency", `{"concurrency":3}`, map[string]any{"concurrency": 3.0}},
		{"money as a number", `{"usd_per_day":12.5}`, map[string]any{"usd_per_day": 12.5}},
		{"money as text, to the micro-dollar", `{"usd_per_month":"100.000001"}`, map[string]any{"usd_per_month": 100.000001}},
		{"zeros behind the sixth decimal say nothing", `{"usd_per_day":1.50000000}`, map[string]any{"usd_per_day": 1.5}},
		{"0 lifts a limit", `{"usd_per_day":0,"concurrency":0}`, map[string]any{"usd_per_day": 0.0, "concurrency": 0.0}},
		{"models", `{"models":["claude-haiku-*"]}`, map[string]any{"models": []any{"claude-haiku-*"}}},
		{"every model again", `{"models":[]}`, map[string]any{"models": nil}},
		{"networks are put in order", `{"networks":["192.0.2.9/24"," 2001:db8::1/32 ","::ffff:198.51.100.0/120","192.0.2.0/24"]}`,
			map[string]any{"networks": []any{"192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24"}}},
		{"from anywhere again", `{"networks":[]}`, map[string]any{"networks": nil}},
		{"expiry", `{"expires_at":"2098-05-06T07:08:09Z"}`, map[string]any{"expires_at": "2098-05-06T07:08:09Z"}},
		{"no expiry", `{"expires_at":""}`, map[string]any{"expires_at": nil}},
		{"scopes", `{"scopes":["inference","nodes","inference"]}`, map[string]any{"scopes": []any{"inference", "nodes"}}},
		{"the old words for them", `{"nodes":false}`, map[string]any{"scopes": []any{"inference"}}},
		{"administrator", `{"is_admin":true}`, map[string]any{"scopes": []any{"admin"}, "is_admin": true}},
		{"and not any more", `{"is_admin":false}`, map[string]any{"scopes": []any{"inference"}, "is_admin": false}},
		{"revoked", `{"revoked":true}`, map[string]any{"revoked": true}},
		{"and back", `{"revoked":false}`, map[string]any{"revoked": false}},
	} {
		want := w.keyShown(id)
		for k, v := range c.changes {
			want[k] = v
		}
		w.Advance(time.Second)
		answer := w.admin(200, "PUT", "/admin/api/keys?id="+id, c.body).JSON()
		got := w.keyShown(id)
		for _, m := range []map[string]any{want, got, answer} {
			delete(m, "updated_at")
			for k, v := range m {
				if v == nil {
					delete(m, k)
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", c.why, got, want)
		}
		if !reflect.DeepEqual(answer, want) {
			t.Errorf("%s: the answer is %v", c.why, answer)
		}
	}
	w.served(key, "alpha-node-1", "the credential is the same")
	if got := w.keyShown(other); !reflect.DeepEqual(got, untouched) {
		t.Errorf("another key changed: %v", got)
	}
}

// TestKeyInputsAreChecked: what is wrong is named, and nothing of the call is stored.
func TestKeyInputsAreChecked(t *testing.T) {
	w := start(t)
	id, _ := w.key(`{"name":"n","usd_per_day":5}`)
	before := w.keyShown(id)
	for _, c := range []struct{ field, value, why string }{
		{"requests_per_minute", `-1`, "negative"},
		{"requests_per_minute", `60000001`, "beyond what can be counted"},
		{"requests_per_minute", `1.5`, "half a request"},
		{"requests_per_day", `"9"`, "text"},
		{"requests_per_day", `1e400`, "out of range"},
		{"tokens_per_minute", `-1`, "negative"},
		{"tokens_per_minute", `99999999999999999999`, "out of range"},
		{"concurrency", `-1`, "negative"},
		{"concurrency", `true`, "another type"},
		{"usd_per_day", `-0.01`, "negative"},
		{"usd_per_day", `0.0000001`, "too precise"},
		{"usd_per_day", `"NaN"`, "no number"},
		{"usd_per_day", `"Infinity"`, "no number"},
		{"usd_per_day", `1e3`, "an exponent"},
		{"usd_per_day", `"1e999999999"`, "an exponent that would never end"},
		{"usd_per_day", `1000000000.000001`, "too much"},
		{"usd_per_day", `99999999999999999999999`, "out of range"},
		{"usd_per_day", `"` + strings.Repeat("9", 5000) + `"`, "hostile"},
		{"usd_per_month", `""`, "empty"},
		{"usd_per_month", `"5."`, "cut"},
		{"usd_per_month", `".5"`, "cut"},
		{"usd_per_month", `"$5"`, "a sign"},
		{"usd_per_month", `"5,00"`, "a comma"},
		{"usd_per_month", `[5]`, "a list"},
		{"usd_per_month", `{}`, "an object"},
		{"usd_per_month", `true`, "another type"},
		{"networks", `["10.0.0.0/33"]`, "no such prefix"},
		{"networks", `["example.com"]`, "a name"},
		{"networks", `["fe80::1%eth0"]`, "a zone"},
		{"networks", `["::ffff:0:0/64"]`, "half an IPv4 address"},
		{"networks", `[""]`, "empty"},
		{"networks", `"10.0.0.0/8"`, "no list"},
		{"networks", `[` + strings.Repeat(`"10.0.0.1",`, 100) + `"10.0.0.2"]`, "too many"},
		{"expires_at", `"2001-01-01T00:00:00Z"`, "past"},
		{"expires_at", `"tomorrow"`, "no time"},
		{"expires_at", `5`, "a number"},
		{"scopes", `[]`, "none"},
		{"scopes", `["root"]`, "unknown"},
		{"scopes", `["inference"],"nodes":true`, "both ways at once"},
		{"models", `[""]`, "empty"},
		{"name", `"` + strings.Repeat("x", 300) + `"`, "too long"},
		{"description", `"` + strings.Repeat("x", 501) + `"`, "too long"},
		{"description", `"a\u0007b"`, "a control character"},
	} {
		body := `{"` + c.field + `":` + c.value + `}`
		for method, target := range map[string]string{"POST": "/admin/api/keys", "PUT": "/admin/api/keys?id=" + id} {
			if text := errorOf(t, w.admin(400, method, target, body)); !strings.HasPrefix(text, c.field+":") {
				t.Errorf("%s of %s, %s: %q names another field", method, c.field, c.why, text)
			}
		}
		if strings.HasPrefix(c.field, "usd") || strings.Contains(c.field, "_per_") || c.field == "concurrency" {
			for _, target := range []string{"/admin/api/accounts?id=default", "/admin/api/nodes?id=1"} {
				if text := errorOf(t, w.admin(400, "PUT", target, `{"limits":`+body+`}`)); !strings.HasPrefix(text, "limits."+c.field+":") {
					t.Errorf("%s, %s, %s: %q names another field", target, c.field, c.why, text)
				}
			}
		}
	}
	if got := w.keyShown(id); !reflect.DeepEqual(got, before) {
		t.Errorf("something was stored: %v", got)
	}
	if n := len(w.admin(200, "GET", "/admin/api/keys", "").List("keys")); n > 4 {
		t.Errorf("%d keys: a refused call made some", n)
	}
	errorOf(t, w.admin(400, "PUT", "/admin/api/keys", `{}`))
	errorOf(t, w.admin(404, "PUT", "/admin/api/keys?id=99", `{}`))
	errorOf(t, w.admin(404, "POST", "/admin/api/keys/rotate?id=99", ``))
	for _, c := range [][2]string{{"PUT", "/admin/api/keys?id=" + id}, {"POST", "/admin/api/keys/rotate?id=" + id}, {"GET", "/admin/api/keys"}} {
		errorOf(t, w.tenant(403, proxyKey, c[0], c[1], `{}`))
	}
}

// TestRotate: a new credential, shown once; the old one goes on for the overlap asked for and no longer.
func TestRotate(t *testing.T) {
	w := start(t)
	id, old := w.key(`{"scopes":["inference","nodes"],"requests_per_minute":50}`)
	w.Secret(old)
	before := w.keyShown(id)
	a := w.admin(200, "POST", "/admin/api/keys/rotate?id="+id, `{"overlap":3600}`)
	fresh := a.Text("key")
	if fresh == old || a.Text("id") != id || a.Text("old_key_until") != w.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano) {
		t.Errorf("got %s", a.Body)
	}
	after := w.keyShown(id)
	if after["prefix"] == before["prefix"] || after["requests_per_minute"] != 50.0 || after["old_key_until"] == nil {
		t.Errorf("listed %v", after)
	}
	both := func(why string, status int) {
		t.Helper()
		for key, want := range map[string]int{fresh: 200, old: status} {
			if got, _ := w.ask(key); got != want {
				t.Errorf("%s: messages got %d, want %d", why, got, want)
			}
			if got := w.Call("GET", "/admin/api/nodes", "", "x-api-key", key); got.Status != want {
				t.Errorf("%s: the admin API got %d, want %d", why, got.Status, want)
			}
		}
	}
	both("within the overlap", 200)
	w.Advance(time.Hour)
	both("after it", 401)
	if w.keyShown(id)["old_key_until"] != nil {
		t.Error("the list tells of an overlap that is over")
	}
	next := w.admin(200, "POST", "/admin/api/keys/rotate?id="+id, "")
	if got, _ := w.ask(fresh); got != 401 {
		t.Errorf("without an overlap the old credential ends at once: got %d", got)
	}
	fresh, old = next.Text("key"), fresh
	both("rotated again", 401)
	for _, body := range []string{`{"overlap":-1}`, `{"overlap":2592001}`, `{"overlap":"1h"}`, `{"overlap":1.5}`, `[`, `null`} {
		errorOf(t, w.admin(400, "POST", "/admin/api/keys/rotate?id="+id, body))
	}
	w.admin(200, "PUT", "/admin/api/keys?id="+id, `{"revoked":true}`)
	errorOf(t, w.admin(409, "POST", "/admin/api/keys/rotate?id="+id, ``))
	both2, _ := w.ask(fresh)
	if both2 != 401 || w.keyShown(id)["revoked"] != true {
		t.Errorf("revoked: got %d, listed %v", both2, w.keyShown(id))
	}
}

// TestKeyBoundToANetwork may not manage anything from elsewhere either.
func TestKeyBoundToANetwork(t *testing.T) {
	w := start(t)
	id, key := w.key(`{"nodes":true,"networks":["198.51.100.0/24"]}`)
	if a := w.Call("GET", "/admin/api/nodes", "", "x-api-key", key); a.Status != 403 {
		t.Errorf("from elsewhere: %d %s", a.Status, a.Body)
	}
	if status, _ := w.ask(key); status != 403 {
		t.Errorf("messages from elsewhere: %d", status)
	}
	w.admin(200, "PUT", "/admin/api/keys?id="+id, `{"networks":[]}`)
	if a := w.Call("GET", "/admin/api/nodes", "", "x-api-key", key); a.Status != 200 {
		t.Errorf("from anywhere: %d %s", a.Status, a.Body)
	}
}

// TestLastUsed comes from the records.
func TestLastUsed(t *testing.T) {
	w := start(t)
	id, key := w.key(`{}`)
	idle, _ := w.key(`{}`)
	if w.keyShown(id)["last_used_at"] != nil {
		t.Error("used before its first request")
	}
	for range 3 {
		w.Advance(time.Hour)
		w.served(key, "alpha-node-1", "a request")
	}
	if got, want := w.keyShown(id)["last_used_at"], w.Now().UTC().Format(time.RFC3339); !strings.HasPrefix(fmt.Sprint(got), want[:16]) {
		t.Errorf("last used %v, want %s", got, want)
	}
	if w.keyShown(idle)["last_used_at"] != nil {
		t.Error("another key's use counts")
	}
}

// TestLimitsOfAccountsAndNodes: the account's are the operator's to set, a node's its owner's; both bind at once.
func TestLimitsOfAccountsAndNodes(t *testing.T) {
	w := start(t)
	id := w.account("beta", "beta-proxy-key-4567")
	w.person(id)
	node := w.node("beta-proxy-key-4567", "n", w.up.URL, 1)
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"limits":{"requests_per_minute":3,"usd_per_month":7.25}}`)
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"limits":{"requests_per_day":100}}`)
	want := map[string]any{"requests_per_minute": 3.0, "requests_per_day": 100.0, "tokens_per_minute": 0.0, "concurrency": 0.0, "usd_per_day": 0.0, "usd_per_month": 7.25}
	for _, a := range w.admin(200, "GET", "/admin/api/accounts", "").List("accounts") {
		if a["id"] == id && !reflect.DeepEqual(a["limits"], want) {
			t.Errorf("limits %v, want %v", a["limits"], want)
		}
	}
	session := w.login(map[string][]string{"username": {id}, "password": {passwd}})
	if a := w.Call("PUT", "/admin/api/accounts?id="+id, `{"limits":{"usd_per_month":0}}`, "Cookie", session); a.Status != 403 {
		t.Errorf("a tenant lifts its own budget: %d", a.Status)
	}
	for i := range 4 {
		if status, _ := w.ask("beta-proxy-key-4567"); status != []int{200, 200, 200, 429}[i] {
			t.Errorf("request %d: %d", i, status)
		}
	}
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"limits":{"requests_per_minute":0}}`)
	w.served("beta-proxy-key-4567", "n", "lifted")

	w.tenant(200, "beta-proxy-key-4567", "PUT", "/admin/api/nodes?id="+node, `{"limits":{"requests_per_minute":1,"concurrency":5}}`)
	if l := w.one("beta-proxy-key-4567", node)["limits"].(map[string]any); l["requests_per_minute"] != 1.0 || l["concurrency"] != 5.0 {
		t.Errorf("limits %v", l)
	}
	w.served("beta-proxy-key-4567", "n", "the node's one a minute")
	if status, _ := w.ask("beta-proxy-key-4567"); status != 429 {
		t.Errorf("the second one: %d", status)
	}
	made := w.tenant(201, "beta-proxy-key-4567", "POST", "/admin/api/nodes", `{"base_url":"https://api.anthropic.com","limits":{"usd_per_day":"1.5"}}`).Text("id")
	if l := w.one("beta-proxy-key-4567", made)["limits"].(map[string]any); l["usd_per_day"] != 1.5 {
		t.Errorf("limits %v", l)
	}
	made = w.admin(201, "POST", "/admin/api/accounts", `{"name":"gamma","limits":{"concurrency":9}}`).Text("id")
	for _, a := range w.admin(200, "GET", "/admin/api/accounts", "").List("accounts") {
		if a["id"] == made && a["limits"].(map[string]any)["concurrency"] != 9.0 {
			t.Errorf("limits %v", a["limits"])
		}
	}
}

// TestBadKeysAreThrottled on the admin API, too, and good ones are not.
func TestBadKeysAreThrottled(t *testing.T) {
	w := start(t)
	for i := range 25 {
		want := 401
		if i >= 20 {
			want = 429
		}
		a := w.Call("GET", "/admin/api/nodes", "", "x-admin-key", "wrong-admin-key-000")
		if a.Status != want || want == 429 && a.Header.Get("Retry-After") == "" {
			t.Errorf("try %d: %d %v", i, a.Status, a.Header)
		}
	}
	w.admin(200, "GET", "/admin/api/nodes", "")
	w.Advance(time.Minute)
	w.Want(401, "GET", "/admin/api/nodes", "", "x-admin-key", "wrong-admin-key-000")
}

// TestCostInLogs: dollars where there is a price, null where there is none; sums tell how many requests they leave out.
func TestCostInLogs(t *testing.T) {
	w := start(t)
	w.ask(proxyKey)
	w.Call("POST", "/v1/messages", strings.Replace(question, "claude-sonnet-4-5-20250929", "mystery", 1), "x-api-key", proxyKey)
	logs := w.admin(200, "GET", "/api/usage/logs", "").List("logs")
	if len(logs) == 2 && logs[0]["model_id"] != "mystery" { // both may have ended in one moment
		logs[0], logs[1] = logs[1], logs[0]
	}
	if len(logs) != 2 || logs[0]["cost_usd"] != nil {
		t.Errorf("a model without a price: %v", logs)
	}
	used := logs[1]["input_tokens"].(float64)*3 + logs[1]["output_tokens"].(float64)*15
	if got, _ := logs[1]["cost_usd"].(float64); got != used/1e6 || got == 0 {
		t.Errorf("cost %v, want %v", logs[1]["cost_usd"], used/1e6)
	}
	for target, want := range map[string][2]any{ // cost, unpriced requests
		"/api/usage/summary":                           {used / 1e6, 1.0},
		"/api/usage/summary?model_id=mystery":          {nil, 1.0},
		"/api/usage/summary?from=2099-01-01T00:00:00Z": {0.0, 0.0},
	} {
		if sum := w.admin(200, "GET", target, "").JSON(); sum["total_cost_usd"] != want[0] || sum["unpriced_requests"] != want[1] {
			t.Errorf("%s: %v, want a cost of %v and %v unpriced", target, sum, want[0], want[1])
		}
	}
}
