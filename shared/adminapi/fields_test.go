package adminapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// TestNodePutKeepsOmittedFields changes each field alone and sees every other one kept.
func TestNodePutKeepsOmittedFields(t *testing.T) {
	w := start(t)
	w.Secret("sk-ant-first", "sk-ant-second")
	id := w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"name":"n","base_url":"`+w.up.URL+`/base","api_key":"sk-ant-first","weight":7,
		"models":["claude-*"],"model_map":{"a":"b"},"health_check_method":"head","health_check_model":"claude-haiku-4-5"}`).Text("id")
	for _, c := range []struct {
		reason, body string
		changes      map[string]any
	}{
		{"nothing", `{}`, nil},
		{"an empty name keeps the name", `{"name":""}`, nil},
		{"null keeps, as a missing field does", `{"name":null,"base_url":null,"api_key":null,"weight":null,"models":null}`, nil},
		{"an empty base_url keeps it", `{"base_url":""}`, nil},
		{"unknown fields of older clients are ignored", `{"colour":"red"}`, nil},
		{"name", `{"name":"m"}`, map[string]any{"name": "m"}},
		{"base_url", `{"base_url":"` + w.up.URL + `"}`, map[string]any{"base_url": w.up.URL}},
		{"weight", `{"weight":3}`, map[string]any{"weight": 3.0}},
		{"a weight of 0 becomes 1, the most preferred", `{"weight":0}`, map[string]any{"weight": 1.0}},
		{"models", `{"models":["x"]}`, map[string]any{"models": []any{"x"}}},
		{"an empty list of models takes any", `{"models":[]}`, map[string]any{"models": nil}},
		{"model_map", `{"model_map":{"c":"d"}}`, map[string]any{"model_map": map[string]any{"c": "d"}}},
		{"health_check_method", `{"health_check_method":"cli"}`, map[string]any{"health_check_method": "cli"}},
		{"health_check_model", `{"health_check_model":"claude-x"}`, map[string]any{"health_check_model": "claude-x"}},
		{"api_key alone", `{"api_key":"sk-ant-second"}`, nil},
		{"an empty api_key clears it", `{"api_key":""}`, map[string]any{"has_api_key": false}},
		{"and a new one sets it", `{"api_key":"sk-ant-first"}`, map[string]any{"has_api_key": true}},
	} {
		before := w.one(proxyKey, id)
		w.Advance(time.Second)
		w.tenant(200, proxyKey, "PUT", "/admin/api/nodes?id="+id, c.body)
		after := w.one(proxyKey, id)
		want := maps.Clone(before)
		maps.Copy(want, c.changes)
		for _, m := range []map[string]any{want, after} {
			delete(m, "updated_at")
			delete(m, "state_since") // what is known of another place begins anew
			for k, v := range m {
				if v == nil {
					delete(m, k)
				}
			}
		}
		if !reflect.DeepEqual(after, want) {
			t.Errorf("%s:\n got %v\nwant %v", c.reason, after, want)
		}
	}
}

// TestAPIKeyReachesTheUpstream follows the credential itself, which no answer shows.
func TestAPIKeyReachesTheUpstream(t *testing.T) {
	w := start(t)
	id := w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")[0]["id"].(string)
	for _, c := range []struct{ reason, body, want string }{
		{"omitted: kept", `{"weight":2}`, upstreamKey},
		{"set", `{"api_key":"sk-ant-rotated"}`, "sk-ant-rotated"},
		{"blanks around it are a slip", `{"api_key":"  sk-ant-padded\n"}`, "sk-ant-padded"},
		{"empty: nothing is sent, least of all the client's key", `{"api_key":""}`, ""},
	} {
		w.Secret("sk-ant-rotated", "sk-ant-padded")
		w.admin(200, "PUT", "/admin/api/nodes?id="+id, c.body)
		w.ask(proxyKey)
		if got := w.up.Last().Credential(); got != c.want {
			t.Errorf("%s: the upstream got %q", c.reason, got)
		}
	}
}

// TestNodeFields: every field that the older system's node view had (seed-systems 1.6).
func TestNodeFields(t *testing.T) {
	w := start(t)
	w.up.Default(upstreamtest.Reply(upstreamtest.Text("Hi")).Usage(upstreamtest.Usage{Input: 11, CacheRead: 3, Output: 5}))
	w.served(proxyKey, "alpha-node-1", "one request")
	w.up.Queue(upstreamtest.Status(400, "no"))
	w.ask(proxyKey)
	n := w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")[0]
	for _, f := range []string{"id", "name", "base_url", "health_check_method", "health_check_model", "active", "has_api_key", "created_at", "requests",
		"fail_count", "fail_streak", "health_rate", "ping_ms", "ping_error", "last_ping_ms", "last_ping_error", "last_health_check_at", "input_tokens",
		"output_tokens", "total_bytes", "stream_dur_ms", "first_byte_ms", "avg_recv_ms_per_token", "weight", "failed", "disabled", "last_error"} {
		if _, ok := n[f]; !ok {
			t.Errorf("the node has no %s: %v", f, n)
		}
	}
	for f, want := range map[string]any{"requests": 2.0, "fail_count": 1.0, "health_rate": 50.0, "input_tokens": 14.0, "output_tokens": 5.0,
		"failed": false, "state": "online", "account_id": "default", "kind": "anthropic"} {
		if n[f] != want {
			t.Errorf("%s is %v, want %v", f, n[f], want)
		}
	}
	for _, f := range []string{"api_key", "credential", "operator"} {
		if _, ok := n[f]; ok {
			t.Errorf("the node shows %s", f)
		}
	}
	if s, _ := n["created_at"].(string); !strings.HasSuffix(s, "Z") {
		t.Errorf("created_at %q is not RFC 3339 in UTC", s)
	} else if _, err := time.Parse(time.RFC3339, s); err != nil {
		t.Error(err)
	}
}

// TestNodesAreListedByWeightThenAge, as the older system's list and the guide's priority have it.
func TestNodesAreListedByWeightThenAge(t *testing.T) {
	w := start(t)
	for _, n := range []struct {
		name   string
		weight int
	}{{"late", 9}, {"b", 2}, {"c", 2}, {"a", 1}} {
		w.node(proxyKey, n.name, w.up.URL, n.weight)
		w.Advance(time.Second)
	}
	var names []string
	for _, n := range w.tenant(200, proxyKey, "GET", "/admin/api/nodes", "").List("nodes") {
		names = append(names, n["name"].(string))
	}
	if want := []string{"alpha-node-1", "a", "b", "c", "late"}; !slices.Equal(names, want) {
		t.Errorf("order %q, want %q", names, want)
	}
	id := w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"base_url":"https://api.anthropic.com"}`).Text("id")
	if n := w.one(proxyKey, id); n["name"] != "api.anthropic.com" || n["weight"] != 1.0 || n["has_api_key"] != false {
		t.Errorf("a node with an address only: %v; want the host as its name and weight 1", n)
	}
}

// TestAccountPutKeepsOmittedFields does the same for accounts, where an empty value also keeps.
func TestAccountPutKeepsOmittedFields(t *testing.T) {
	w := start(t)
	id := w.account("gamma", "gamma-proxy-key-123")
	w.person(id)
	w.node("gamma-proxy-key-123", "n", w.up.URL, 1)
	get := func() map[string]any {
		for _, a := range w.admin(200, "GET", "/admin/api/accounts", "").List("accounts") {
			if a["id"] == id {
				delete(a, "updated_at")
				return a
			}
		}
		t.Fatal("the account is not listed")
		return nil
	}
	for _, c := range []struct {
		reason, body string
		changes      map[string]any
	}{
		{"nothing", `{}`, nil},
		{"blank values keep", `{"name":"","password":"","proxy_api_key":""}`, nil},
		{"null keeps", `{"name":null,"password":null,"proxy_api_key":null,"is_admin":null}`, nil},
		{"name alone", `{"name":"delta"}`, map[string]any{"name": "delta"}},
		{"role alone", `{"is_admin":true}`, map[string]any{"is_admin": true}},
		{"and back", `{"is_admin":false}`, map[string]any{"is_admin": false}},
		{"a name of its own is not taken", `{"name":"delta"}`, nil},
	} {
		want := get()
		maps.Copy(want, c.changes)
		w.admin(200, "PUT", "/admin/api/accounts?id="+id, c.body)
		if got := get(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", c.reason, got, want)
		}
		w.served("gamma-proxy-key-123", "n", c.reason+": the key is kept")
	}
	if a := w.form(map[string][]string{"username": {id}, "password": {passwd}}); a.Status != http.StatusSeeOther {
		t.Errorf("the password is not kept: %d", a.Status)
	}
}

// TestConfig: the three values, their bounds, their own account; omitted ones are kept.
func TestConfig(t *testing.T) {
	w := start(t, "PROXY_RETRY_MAX", "2", "PROXY_FAIL_THRESHOLD", "4", "PROXY_HEALTH_INTERVAL_SEC", "40")
	other := w.account("beta", "beta-proxy-key-4567")
	want := func(target string, retries, limit, sec float64) {
		t.Helper()
		got := w.admin(200, "GET", target, "").JSON()
		if !reflect.DeepEqual(got, map[string]any{"retries": retries, "fail_limit": limit, "health_interval_sec": sec}) {
			t.Errorf("%s: %v", target, got)
		}
	}
	want("/admin/api/config", 2, 4, 40)
	if s := w.admin(200, "PUT", "/admin/api/config", `{"retries":5,"fail_limit":6,"health_interval_sec":70}`).Text("status"); s != "updated" {
		t.Errorf("status %q", s)
	}
	want("/admin/api/config", 5, 6, 70)
	w.admin(200, "PUT", "/admin/api/config", `{"fail_limit":1}`)
	want("/admin/api/config", 5, 1, 70)
	want("/admin/api/config?account_id="+other, 2, 4, 40)
	w.tenant(200, "beta-proxy-key-4567", "PUT", "/admin/api/config", `{"retries":9}`)
	want("/admin/api/config?account_id="+other, 9, 4, 40)
	want("/admin/api/config", 5, 1, 70)
	for _, body := range []string{`{"retries":0}`, `{"retries":11}`, `{"fail_limit":0}`, `{"fail_limit":-1}`, `{"health_interval_sec":4}`,
		`{"health_interval_sec":301}`, `{"retries":"3"}`, `{"retries":2.5}`, `{"retries":5,"fail_limit":99}`, `[]`, `null`, ``} {
		errorOf(t, w.admin(400, "PUT", "/admin/api/config", body))
	}
	want("/admin/api/config", 5, 1, 70)
	errorOf(t, w.admin(404, "GET", "/admin/api/config?account_id=acc-nobody", ""))
}

// TestFailLimitOfAnAccountCounts: a setting that is stored but not used would be the old system's fault again.
func TestFailLimitOfAnAccountCounts(t *testing.T) {
	w := start(t)
	id := w.admin(200, "GET", "/admin/api/nodes", "").List("nodes")[0]["id"].(string)
	w.admin(200, "PUT", "/admin/api/config", `{"retries":1,"fail_limit":1}`)
	w.up.Queue(upstreamtest.Status(500, "broken"))
	w.ask(proxyKey)
	n := w.one(proxyKey, id)
	if n["failed"] != true || n["state"] != "failed" || n["last_error"] == "" {
		t.Errorf("one failure with fail_limit 1: %v", n)
	}
	w.tenant(200, proxyKey, "POST", "/admin/api/nodes/enable", `{"id":"`+id+`"}`)
	if n := w.one(proxyKey, id); n["failed"] != false {
		t.Errorf("enable forgives: %v", n)
	}
	w.served(proxyKey, "alpha-node-1", "forgiven at once")
}

// TestConcurrentEditsLoseNothing: a hundred writers, each with a field of its own choice.
func TestConcurrentEditsLoseNothing(t *testing.T) {
	w := start(t)
	id := w.node(proxyKey, "n", w.up.URL, 1)
	const writers = 100
	var wg sync.WaitGroup
	codes := make([]int, writers)
	for i := range writers {
		body := []string{`{"weight":50}`, `{"models":["only-this"]}`, `{"health_check_method":"head"}`, `{"health_check_model":"m"}`, `{"name":"edited"}`}[i%5]
		wg.Go(func() {
			codes[i] = w.Call("PUT", "/admin/api/nodes?id="+id, body, "x-api-key", proxyKey).Status
		})
		wg.Go(func() {
			w.Call("PUT", "/admin/api/config", []string{`{"retries":7}`, `{"fail_limit":8}`, `{"health_interval_sec":99}`}[i%3], "x-api-key", proxyKey)
		})
	}
	wg.Wait()
	for i, c := range codes {
		if c != 200 {
			t.Errorf("writer %d: status %d", i, c)
		}
	}
	n := w.one(proxyKey, id)
	for f, want := range map[string]any{"weight": 50.0, "health_check_method": "head", "health_check_model": "m", "name": "edited"} {
		if n[f] != want {
			t.Errorf("%s is %v, want %v", f, n[f], want)
		}
	}
	if !reflect.DeepEqual(n["models"], []any{"only-this"}) {
		t.Errorf("models %v", n["models"])
	}
	if got := string(w.admin(200, "GET", "/admin/api/config", "").Body); !json.Valid([]byte(got)) || !strings.Contains(got, `"retries":7`) || !strings.Contains(got, `"fail_limit":8`) || !strings.Contains(got, `"health_interval_sec":99`) {
		t.Errorf("config %s", got)
	}
	// and nodes made at once get ids of their own
	ids := make([]string, 50)
	for i := range ids {
		wg.Go(func() {
			ids[i] = w.Call("POST", "/admin/api/nodes", fmt.Sprintf(`{"name":"p%d","base_url":"https://api.anthropic.com"}`, i), "x-api-key", proxyKey).Text("id")
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if got := slices.Compact(ids); len(got) != 50 || got[0] == "" {
		t.Errorf("%d ids for 50 nodes", len(got))
	}
}
