package adminapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

const pricedModel = "claude-opus-5-5" // 4, 20, cache 0.2, 5 and 8 USD

// price is the one that holds now, as a caller sees it.
func (w *world) price(query string) map[string]any {
	w.t.Helper()
	return w.admin(200, "GET", "/api/pricing?id="+query, "").JSON()
}

// TestPricing_OldForm: the calls and fields of the older gateway (seed-systems 1.6).
func TestPricing_OldForm(t *testing.T) {
	w := start(t)
	all := w.admin(200, "GET", "/api/pricing", "").List("pricing")
	if len(all) < 200 {
		t.Fatalf("%d prices", len(all))
	}
	for _, f := range []string{"model_id", "model_name", "input_price_mtok", "output_price_mtok", "is_active"} {
		if _, ok := all[0][f]; !ok {
			t.Errorf("a price without %s: %v", f, all[0])
		}
	}
	got := w.admin(200, "POST", "/api/pricing", `{"model_id":"house-model","model_name":"Our own","input_price_mtok":1.5,"output_price_mtok":6,"is_active":true}`)
	if got.JSON()["model_id"] != "house-model" {
		t.Errorf("created: %s", got.Body)
	}
	p := w.price("house-model")
	for f, want := range map[string]any{"model_id": "house-model", "model_name": "Our own", "input_price_mtok": 1.5, "output_price_mtok": 6.0, "is_active": true,
		"source": "operator", "cache_read_price_mtok": nil, "kind": "", "to": nil} {
		if p[f] != want {
			t.Errorf("%s is %v, want %v", f, p[f], want)
		}
	}
	if d := w.admin(200, "DELETE", "/api/pricing?id=house-model", "").JSON(); d["deleted"] != "house-model" {
		t.Errorf("deleted: %v", d)
	}
	w.admin(404, "GET", "/api/pricing?id=house-model", "")
	w.admin(404, "DELETE", "/api/pricing?id=house-model", "")
	w.admin(200, "POST", "/api/pricing", `{"model_id":"house-model","input_price_mtok":"2.50","output_price_mtok":0}`)
	w.admin(200, "POST", "/api/pricing", `{"model_id":"house-model","is_active":false}`)
	w.admin(404, "GET", "/api/pricing?id=house-model", "")
}

// TestPricing_Overrides: what a price leaves out follows the one before; an account's goes before the operator's; each ends
// when it is told to, and the next has the word.
func TestPricing_Overrides(t *testing.T) {
	w := start(t)
	beta := w.account("beta", "beta-proxy-key-4567")
	w.admin(200, "POST", "/api/pricing", `{"model_id":"anthropic/Claude-Opus-5.5","input_price_mtok":8,"output_price_mtok":20}`)
	p := w.price(pricedModel)
	for f, want := range map[string]any{"input_price_mtok": 8.0, "output_price_mtok": 20.0, "cache_read_price_mtok": 0.4, "cache_write_5m_price_mtok": 10.0,
		"cache_write_1h_price_mtok": 16.0, "search_price_1k": 10.0, "regional_percent": 110.0, "batch_percent": 50.0, "source": "operator"} {
		if p[f] != want {
			t.Errorf("%s is %v, want %v", f, p[f], want)
		}
	}
	if fast := p["fast"].(map[string]any); fast["input_price_mtok"] != 16.0 {
		t.Errorf("fast mode %v", fast)
	}
	w.admin(200, "POST", "/api/pricing", `{"model_id":"`+pricedModel+`","cache_read_price_mtok":1}`)
	if p := w.price(pricedModel); p["cache_read_price_mtok"] != 1.0 || p["input_price_mtok"] != 8.0 {
		t.Errorf("a field that is left out changed: %v", p)
	}
	w.admin(200, "POST", "/api/pricing", `{"model_id":"`+pricedModel+`","input_price_mtok":2,"output_price_mtok":10,"account_id":"`+beta+`"}`)
	if p := w.price(pricedModel + "&account_id=" + beta); p["input_price_mtok"] != 2.0 || p["source"] != "account" || p["account_id"] != beta {
		t.Errorf("the account's: %v", p)
	}
	if p := w.price(pricedModel); p["input_price_mtok"] != 8.0 {
		t.Errorf("an account's price holds for others: %v", p)
	}
	w.admin(200, "DELETE", "/api/pricing?id="+pricedModel+"&account_id="+beta, "")
	if p := w.price(pricedModel + "&account_id=" + beta); p["input_price_mtok"] != 8.0 {
		t.Errorf("ended: %v", p)
	}
	w.admin(200, "POST", "/api/pricing?account_id="+beta, `{"model_id":"`+pricedModel+`","input_price_mtok":3,"output_price_mtok":10}`)
	w.admin(200, "DELETE", "/admin/api/accounts?id="+beta, "")
	w.admin(404, "GET", "/api/pricing?account_id="+beta, "")
	if d := w.admin(200, "POST", "/api/pricing", `{"model_id":"free-model","input_price_mtok":0,"output_price_mtok":0}`).JSON(); d["price"].(map[string]any)["cache_read_price_mtok"] != 0.0 {
		t.Errorf("a free model has a cache that is not: %v", d)
	}
}

// TestPricing_Dated: a price holds from its time on, for the kind of node that it is for.
func TestPricing_Dated(t *testing.T) {
	w := start(t)
	from := w.Now().UTC().Add(time.Hour).Truncate(time.Second)
	w.admin(200, "POST", "/api/pricing", fmt.Sprintf(`{"model_id":%q,"input_price_mtok":9,"output_price_mtok":9,"from":%q,"kind":"bedrock"}`, pricedModel, from.Format(time.RFC3339)))
	list := w.admin(200, "GET", "/api/pricing?q=OPUS-5-5&source=operator", "").List("pricing")
	if len(list) != 1 || list[0]["is_active"] != false || list[0]["from"] != from.Format(time.RFC3339) || list[0]["kind"] != "bedrock" {
		t.Fatalf("to come: %v", list)
	}
	if list := w.admin(200, "GET", "/api/pricing?source=operator&active_only=true", "").List("pricing"); len(list) != 0 {
		t.Errorf("active: %v", list)
	}
	w.Advance(time.Hour)
	if p := w.price(pricedModel + "&kind=bedrock"); p["input_price_mtok"] != 9.0 || p["is_active"] != true {
		t.Errorf("begun: %v", p)
	}
	if p := w.price(pricedModel); p["input_price_mtok"] != 4.0 {
		t.Errorf("for other kinds: %v", p)
	}
	w.admin(404, "DELETE", "/api/pricing?id="+pricedModel, "")
	w.admin(200, "DELETE", "/api/pricing?id="+pricedModel+"&kind=bedrock", "")
}

func TestPricing_Refused(t *testing.T) {
	w := start(t)
	past := w.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct{ why, body, says string }{
		{"no model", `{"input_price_mtok":1,"output_price_mtok":1}`, "model_id"},
		{"a name that no table can hold", `{"model_id":"a,b","input_price_mtok":1,"output_price_mtok":1}`, "model_id"},
		{"a name with a line end", `{"model_id":"a\nb","input_price_mtok":1,"output_price_mtok":1}`, "model_id"},
		{"an endless name", `{"model_id":"` + strings.Repeat("x", 600) + `","input_price_mtok":1,"output_price_mtok":1}`, "model_id"},
		{"below nothing", `{"model_id":"m","input_price_mtok":-1,"output_price_mtok":1}`, "input_price_mtok"},
		{"dearer than anything", `{"model_id":"m","input_price_mtok":1,"output_price_mtok":1001}`, "output_price_mtok"},
		{"no number", `{"model_id":"m","input_price_mtok":[1],"output_price_mtok":1}`, "input_price_mtok"},
		{"a new model without a price", `{"model_id":"m","output_price_mtok":1}`, "input_price_mtok: is required"},
		{"the past", `{"model_id":"m","input_price_mtok":1,"output_price_mtok":1,"from":"` + past + `"}`, "not be in the past"},
		{"no time", `{"model_id":"m","input_price_mtok":1,"output_price_mtok":1,"from":"tomorrow"}`, "from"},
		{"a kind that is none", `{"model_id":"m","input_price_mtok":1,"output_price_mtok":1,"kind":"fax"}`, "kind"},
		{"to end what is not there", `{"model_id":"` + pricedModel + `","is_active":false}`, "no such price"},
		{"an account that is not", `{"model_id":"m","input_price_mtok":1,"output_price_mtok":1,"account_id":"acc-nobody"}`, "account not found"},
	} {
		a := w.Call("POST", "/api/pricing", c.body, "x-admin-key", adminKey)
		if a.Status != 400 && a.Status != 404 || !strings.Contains(string(a.Body), c.says) {
			t.Errorf("%s: %d %s", c.why, a.Status, a.Body)
		}
	}
	for _, target := range []string{"/api/pricing?source=mine", "/api/pricing?limit=0", "/api/pricing?active_only=perhaps"} {
		w.admin(400, "GET", target, "")
	}
	w.admin(400, "DELETE", "/api/pricing", "")
}

// TestPricing_Tenants: a tenant reads its own list, and changes nothing.
func TestPricing_Tenants(t *testing.T) {
	w := start(t)
	const betaKey = "beta-proxy-key-4567"
	beta := w.account("beta", betaKey)
	w.admin(200, "POST", "/api/pricing?account_id="+beta, `{"model_id":"`+pricedModel+`","input_price_mtok":3,"output_price_mtok":10}`)
	for key, want := range map[string]float64{betaKey: 3, proxyKey: 4} {
		if p := w.tenant(200, key, "GET", "/api/pricing?id="+pricedModel, "").JSON(); p["input_price_mtok"] != want {
			t.Errorf("%s sees %v", key, p)
		}
	}
	w.tenant(403, proxyKey, "GET", "/api/pricing?account_id="+beta, "")
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/api/pricing", `{"model_id":"` + pricedModel + `","input_price_mtok":0,"output_price_mtok":0}`},
		{"POST", "/api/pricing?account_id=" + beta, `{"model_id":"` + pricedModel + `","input_price_mtok":0,"output_price_mtok":0}`},
		{"DELETE", "/api/pricing?id=" + pricedModel, ""}, {"POST", "/api/pricing/import", `{}`},
	} {
		w.tenant(403, betaKey, c.method, c.target, c.body)
		w.Want(401, c.method, c.target, c.body)
	}
	w.Want(401, "GET", "/api/pricing", "")
}

const publicList = `{"sample_spec":{"input_cost_per_token":1},
 "claude-opus-5-5":{"litellm_provider":"anthropic","mode":"chat","input_cost_per_token":3e-6,"output_cost_per_token":15e-6},
 "claude-haiku-4-5":{"litellm_provider":"anthropic","mode":"chat","input_cost_per_token":1e-6,"output_cost_per_token":5e-6},
 "gpt-99":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":1e-6,"output_cost_per_token":2e-6},
 "reseller/gpt-99":{"litellm_provider":"reseller","mode":"chat","input_cost_per_token":9e-6,"output_cost_per_token":9e-6}}`

// TestPricing_Import: a list in LiteLLM's format changes what differs, from now on, and not what an operator set.
func TestPricing_Import(t *testing.T) {
	w := start(t)
	counts := func(target string) []any {
		got := w.admin(200, "POST", target, publicList).JSON()
		return []any{got["rows"], got["changed"], got["skipped"], got["dry_run"]}
	}
	if got := counts("/api/pricing/import?dry_run=true"); !slices.Equal(got, []any{3.0, 2.0, 1.0, true}) {
		t.Errorf("to see first: %v", got)
	}
	if p := w.price(pricedModel); p["source"] != "builtin" {
		t.Errorf("a dry run changed %v", p)
	}
	if got := counts("/api/pricing/import"); !slices.Equal(got, []any{3.0, 2.0, 1.0, false}) {
		t.Errorf("imported: %v", got)
	}
	if got := counts("/api/pricing/import"); !slices.Equal(got, []any{3.0, 0.0, 1.0, false}) {
		t.Errorf("again: %v", got)
	}
	if p := w.price(pricedModel); p["source"] != "list" || p["input_price_mtok"] != 3.0 || !strings.Contains(p["note"].(string), "imported on") {
		t.Errorf("imported: %v", p)
	}
	if p := w.price("claude-haiku-4-5"); p["source"] != "builtin" || p["cache_read_price_mtok"] != 0.1 {
		t.Errorf("what is the same stays: %v", p)
	}
	w.admin(200, "POST", "/api/pricing", `{"model_id":"gpt-99","input_price_mtok":7,"output_price_mtok":7}`)
	w.Advance(time.Minute)
	w.admin(200, "POST", "/api/pricing/import", strings.ReplaceAll(publicList, "2e-6", "4e-6"))
	if p := w.price("gpt-99"); p["input_price_mtok"] != 7.0 || p["source"] != "operator" {
		t.Errorf("what an operator set is gone: %v", p)
	}
	for why, body := range map[string]string{"no JSON": "{", "another format": `{"data":[]}`, "nothing": ""} {
		if a := w.Call("POST", "/api/pricing/import", body, "x-admin-key", adminKey); a.Status != 400 || !strings.Contains(string(a.Body), "price list") {
			t.Errorf("%s: %d %s", why, a.Status, a.Body)
		}
	}
	w.admin(413, "POST", "/api/pricing/import", strings.Repeat(" ", 8<<20+1))
}

// TestPricing_Charged: an edit is what the next request costs, and the log keeps what the one before did.
func TestPricing_Charged(t *testing.T) {
	w := start(t)
	w.up.Default(upstreamtest.Reply(upstreamtest.Text("Hi")).Usage(upstreamtest.Usage{Input: 1_000_000}))
	w.ask(proxyKey)
	w.admin(200, "POST", "/api/pricing", `{"model_id":"claude-sonnet-4-5","input_price_mtok":100,"output_price_mtok":100,"account_id":"default"}`)
	w.Advance(time.Second)
	w.ask(proxyKey)
	logs := w.admin(200, "GET", "/api/usage/logs", "").List("logs")
	if len(logs) != 2 || logs[0]["cost_usd"] != 100.0 || logs[1]["cost_usd"] != 3.0 {
		t.Errorf("%v", logs)
	}
}
