package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/pricing"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/upstreamtest"
)

const pricedModel = "claude-opus-5-5" // 4 and 20 USD, fast 8 and 40, searches 10 for a thousand

// cost is what that model costs by the built-in list, in micro-USD.
func cost(t *testing.T, u pricing.Use) int64 {
	t.Helper()
	u.Model = pricedModel
	micro, priced := pricing.Builtin().CostOf(u)
	if !priced {
		t.Fatalf("no price for %+v", u)
	}
	return micro
}

// newTypedServer answers everything with a body of that type.
func newTypedServer(t testing.TB, media, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// What the price depends on besides tokens is taken from the usage, whole or streamed, passed on or translated: message_start
// tells speed and place, and message_delta the searches, which add up while the answer goes on.
func TestPrices_QualifiersOfAnthropic(t *testing.T) {
	tokens := core.Tokens{Input: 1000, Output: 500}
	for _, c := range []struct {
		why  string
		used upstreamtest.Usage
		want pricing.Use
	}{
		{"nothing special", upstreamtest.Usage{}, pricing.Use{}},
		{"fast mode", upstreamtest.Usage{Speed: "fast"}, pricing.Use{Fast: true}},
		{"the normal speed", upstreamtest.Usage{Speed: "standard"}, pricing.Use{}},
		{"bound to the US", upstreamtest.Usage{InferenceGeo: "us"}, pricing.Use{Geo: "us"}},
		{"anywhere", upstreamtest.Usage{InferenceGeo: "global"}, pricing.Use{}},
		{"an upstream that does not tell", upstreamtest.Usage{InferenceGeo: "not_available"}, pricing.Use{}},
		{"searches of the web", upstreamtest.Usage{WebSearches: 3}, pricing.Use{Searches: 3}},
		{"all of it", upstreamtest.Usage{Speed: "fast", InferenceGeo: "us", WebSearches: 2}, pricing.Use{Fast: true, Geo: "us", Searches: 2}},
		{"Anthropic's own tier is no price of a list", upstreamtest.Usage{ServiceTier: "priority"}, pricing.Use{}},
	} {
		r := newRig(t)
		up := r.fakeNode("a")
		c.used.Input, c.used.Output = int(tokens.Input), int(tokens.Output)
		up.Default(upstreamtest.Events(5).Usage(c.used))
		c.want.Tokens, c.want.At = tokens, time.Now()
		want := cost(t, c.want)
		for _, form := range []struct{ path, body string }{
			{"/v1/messages", plainBody}, {"/v1/messages", streamBody}, {chatPath, strings.Replace(plainBody, `"max_tokens":100,`, "", 1)},
			{chatPath, strings.Replace(streamBody, `"max_tokens":100,`, "", 1)},
		} {
			if got := r.do("POST", form.path, strings.Replace(form.body, "claude-x", pricedModel, 1)); got.status != 200 {
				t.Fatalf("%s: %d %s", c.why, got.status, got.body)
			}
			rec := r.records()
			last := rec[len(rec)-1]
			if last.Fast != c.want.Fast || last.Geo != c.want.Geo || last.Searches != c.want.Searches || last.CostUSD != want || last.Unpriced || last.Tokens != tokens {
				t.Errorf("%s, %s %s: recorded %+v, want a cost of %d", c.why, form.path, form.body, last, want)
			}
		}
	}
}

func TestPrices_QualifiersInStreamsOfTheirOwn(t *testing.T) {
	start := func(usage string) string {
		return upstreamtest.Event("message_start", `{"type":"message_start","message":{"id":"m","model":"x","usage":`+usage+`}}`)
	}
	delta := func(usage string) string {
		return upstreamtest.Event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":`+usage+`}`)
	}
	for _, c := range []struct {
		why, events string
		fast        bool
		geo         string
		searches    int64
	}{
		{"cumulative counts replace", start(`{"input_tokens":9,"output_tokens":1}`) + evText + delta(`{"output_tokens":2,"server_tool_use":{"web_search_requests":1}}`) +
			delta(`{"output_tokens":3,"server_tool_use":{"web_search_requests":4,"web_fetch_requests":9}}`) + evStop, false, "", 4},
		{"the end does not say again what the start said", start(`{"input_tokens":9,"speed":"fast","inference_geo":"us","server_tool_use":{"web_search_requests":1},"output_tokens":1}`) +
			evText + delta(`{"output_tokens":2}`) + evStop, true, "us", 1},
		{"another place", start(`{"input_tokens":9,"inference_geo":"eu","output_tokens":1}`) + evText + delta(`{"output_tokens":2}`) + evStop, false, "eu", 0},
		{"nonsense", start(`{"input_tokens":9,"speed":7,"inference_geo":["us"],"server_tool_use":"x","output_tokens":1}`) + evText +
			delta(`{"output_tokens":2,"server_tool_use":{"web_search_requests":-3},"inference_geo":"`+strings.Repeat("x", 33)+`"}`) + evStop, false, "", 0},
		{"null", start(`{"input_tokens":9,"speed":null,"inference_geo":null,"server_tool_use":null,"output_tokens":1}`) + evText + delta(`{"output_tokens":2}`) + evStop, false, "", 0},
	} {
		r := newRig(t)
		r.node("a", newTypedServer(t, "text/event-stream", c.events))
		if got := r.post(streamBody); got.status != 200 || got.body != c.events {
			t.Fatalf("%s: %d %s", c.why, got.status, got.body)
		}
		if rec := r.record(); rec.Fast != c.fast || rec.Geo != c.geo || rec.Searches != c.searches {
			t.Errorf("%s: recorded %+v", c.why, rec)
		}
	}
}

// OpenAI's tier "priority" costs more where a price of it is known; the cheaper "flex" costs what the list says.
func TestPrices_TiersOfOpenAI(t *testing.T) {
	rates := func(usd int64) pricing.Rates {
		return pricing.Rates{Input: usd * 1e6, Output: usd * 1e6, CacheRead: usd * 1e6, Write5m: usd * 1e6, Write1h: usd * 1e6}
	}
	list, err := pricing.New([]pricing.Row{{Model: "both", Rates: rates(2), Fast: rates(5)}, {Model: "one", Rates: rates(2)}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := core.Tokens{Input: 1e6}
	for _, c := range []struct {
		why, model string
		use        pricing.Use
		usd        int64
	}{
		{"the normal tier", "both", pricing.Use{}, 2},
		{"priority", "both", pricing.Use{Priority: true}, 5},
		{"priority of which no price is known", "one", pricing.Use{Priority: true}, 2},
	} {
		c.use.Model, c.use.Tokens = c.model, tokens
		if micro, priced := list.CostOf(c.use); micro != c.usd*1e6 || !priced {
			t.Errorf("%s: %d, %v", c.why, micro, priced)
		}
	}
	const usage = `"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}`
	for _, tier := range []string{"default", "flex", "priority"} {
		chunk := func(rest string) string {
			return `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"` + tier + `",` + rest + "}\n\n"
		}
		stream := chunk(`"choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]`) +
			chunk(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]`) + chunk(`"choices":[],`+usage) + "data: [DONE]\n\n"
		whole := `{"id":"c","object":"chat.completion","created":1,"model":"m","service_tier":"` + tier +
			`","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],` + usage + `}`
		answer := `{"id":"resp_1","object":"response","status":"completed","model":"m","service_tier":"` + tier +
			`","output":[{"type":"message","id":"m1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7}}`
		events := upstreamtest.Event("response.completed", `{"type":"response.completed","sequence_number":1,"response":`+answer+`}`)
		const sse, one = "text/event-stream", "application/json"
		for _, c := range []struct {
			why, wire, path, body, answer, media string
		}{
			{"chat, streamed", "chat", chatPath, `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`, stream, sse},
			{"chat", "chat", chatPath, `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, whole, one},
			{"chat, to a client of Anthropic's", "chat", "/v1/messages", strings.Replace(plainBody, "claude-x", "m", 1), whole, one},
			{"responses", "responses", responsesPath, `{"model":"m","input":"hi"}`, answer, one},
			{"responses, streamed", "responses", responsesPath, responsesStream, events, sse},
			{"responses, streamed to a client of Anthropic's", "responses", "/v1/messages", strings.Replace(streamBody, "claude-x", "m", 1), events, sse},
		} {
			r := newRig(t)
			r.node("a", newTypedServer(t, c.media, c.answer), openaiNode(c.wire))
			if got := r.do("POST", c.path, c.body); got.status != 200 {
				t.Fatalf("%s: %d %s", c.why, got.status, got.body)
			}
			if rec := r.record(); rec.Fast != (tier == "priority") || rec.Tokens.Output != 2 {
				t.Errorf("%s, tier %s: recorded %+v", c.why, tier, rec)
			}
		}
	}
}

// A price that is set through the API is the next request's, of its account alone, and what was paid before stays.
func TestPrices_EditsBindTheNextRequest(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.Events(1).Usage(upstreamtest.Usage{Input: 1_000_000, Output: 0}))
	paid := func(why string, want int64) {
		t.Helper()
		if got := r.post(strings.Replace(plainBody, "claude-x", pricedModel, 1)); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		recs := r.records()
		if got := recs[len(recs)-1]; got.CostUSD != want*1e6 || got.Unpriced {
			t.Errorf("%s: %d micro-USD, want %d USD", why, got.CostUSD, want)
		}
	}
	paid("the built-in price", 4)
	r.admin("POST", "/api/pricing", `{"model_id":"`+pricedModel+`","input_price_mtok":6,"output_price_mtok":30}`, 200)
	paid("the operator's", 6)
	r.admin("POST", "/api/pricing", `{"model_id":"`+pricedModel+`","input_price_mtok":7,"output_price_mtok":30,"account_id":"default"}`, 200)
	paid("the account's", 7)
	r.admin("DELETE", "/api/pricing?account_id=default&id="+pricedModel, "", 200)
	paid("the operator's again", 6)
	r.admin("DELETE", "/api/pricing?id="+pricedModel, "", 200)
	paid("the built-in again", 4)
	var all int64
	for _, rec := range r.records() {
		all += rec.CostUSD
	}
	if all != (4+6+7+6+4)*1e6 {
		t.Errorf("what was paid before changed: %d", all)
	}
}

// The answers of a batch are priced one by one: many short prompts are not a long one, and each has its own place and speed.
func TestPrices_BatchesByAnswer(t *testing.T) {
	line := func(model, usage string) string {
		return `{"custom_id":"1","result":{"type":"succeeded","message":{"type":"message","model":"` + model + `","usage":` + usage + `}}}` + "\n"
	}
	at := time.Now()
	price := func(model string, n int64, geo string, searches int64) int64 {
		micro, priced := pricing.Builtin().CostOf(pricing.Use{Model: model, Kind: core.KindAnthropic, Tokens: core.Tokens{Input: n, Output: 100}, At: at, Batch: true, Geo: geo, Searches: searches})
		if !priced {
			t.Fatal("unpriced")
		}
		return micro
	}
	const usage = `{"input_tokens":60000,"output_tokens":100,"service_tier":"batch"`
	for _, c := range []struct {
		why, body string
		cost      int64
		unpriced  bool
		searches  int64
	}{
		{"two short prompts", line("claude-haiku-5-5", usage+"}") + line("claude-haiku-5-5", usage+"}"), 2 * price("claude-haiku-5-5", 60_000, "", 0), false, 0},
		{"one in the US, one with searches", line(pricedModel, usage+`,"inference_geo":"us"}`) + line(pricedModel, usage+`,"server_tool_use":{"web_search_requests":3}}`),
			price(pricedModel, 60_000, "us", 0) + price(pricedModel, 60_000, "", 3), false, 3},
		{"one that has no price makes the sum unknown", line("nobody-1", usage+"}"), 0, true, 0},
		{"fast mode has no price in batches", line(pricedModel, usage+`,"speed":"fast"}`) + line(pricedModel, usage+"}"), 0, true, 0},
	} {
		r := newRig(t)
		r.node("a", newResultsServer(t, c.body, 0))
		if got := r.do("GET", "/v1/messages/batches/b1/results", ""); got.status != 200 {
			t.Fatalf("%d", got.status)
		}
		n := 0
		for _, rec := range r.records() {
			if strings.HasPrefix(rec.RequestID, "batch_") {
				n++
				if rec.CostUSD != c.cost || rec.Unpriced != c.unpriced || rec.Searches != c.searches {
					t.Errorf("%s: recorded %+v, want a cost of %d", c.why, rec, c.cost)
				}
			}
		}
		if n != 1 {
			t.Errorf("%s: %d records", c.why, n)
		}
	}
}

// An edit on one instance is what requests through another cost within a minute, when they end; an instance that was asleep
// also reserves by it.
func TestPrices_OtherInstances(t *testing.T) {
	var passed atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	s := memory.New()
	a := newRigOn(t, s, now)
	up := a.fakeNode("a")
	up.Default(upstreamtest.Events(1).Usage(upstreamtest.Usage{Input: 1_000_000}))
	b := newRigOn(t, s, now)
	body := strings.Replace(plainBody, "claude-x", pricedModel, 1)
	paid := func(why string, want int64) {
		t.Helper()
		before := len(b.records())
		if got := b.post(body); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		recs := b.records()
		if got := recs[len(recs)-1]; len(recs) != before+1 || got.CostUSD != want*1e6 {
			t.Errorf("%s: %d micro-USD, want %d USD", why, got.CostUSD, want)
		}
		passed.Add(int64(time.Second)) // records are in the order of time
	}
	paid("the built-in price", 4)
	a.admin("POST", "/api/pricing", `{"model_id":"`+pricedModel+`","input_price_mtok":6,"output_price_mtok":30}`, 200)
	passed.Add(int64(time.Minute))
	paid("an edit elsewhere, a minute later", 6)
	a.admin("POST", "/api/pricing", `{"model_id":"`+pricedModel+`","input_price_mtok":900,"output_price_mtok":1000}`, 200)
	_, limited := b.key(limits(core.Limits{USDDay: 50_000}))
	passed.Add(int64(6 * time.Minute))
	if got := b.post(body, "X-Api-Key", limited); got.status != 429 { // 100 tokens of output for 0.1 USD
		t.Errorf("an instance that was asleep reserves by old prices: %d %s", got.status, got.body)
	}
}

// countedPrices counts how often lists are asked for, and how often they are to be looked at again.
type countedPrices struct {
	list     *pricing.List
	ages     map[time.Duration]int
	accounts map[string]bool
}

func (p *countedPrices) List(account string) *pricing.List {
	p.accounts[account] = true
	return p.list
}

func (p *countedPrices) Refresh(_ context.Context, older time.Duration) { p.ages[older]++ }

// Prices are looked at when the client has everything; only a request that a budget limits may wait for them before, and that
// only when they are much older.
func TestPrices_AreReadAfterTheAnswer(t *testing.T) {
	for _, c := range []struct {
		why        string
		limits     core.Limits
		admissions int
	}{{"no limit", core.Limits{}, 0}, {"a limit on requests and tokens", core.Limits{RPM: 50, TPM: 1_000_000}, 0}, {"a budget", core.Limits{USDDay: 1_000_000}, 1}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a")
			b.key("2", limitedKey, c.limits)
			p := &countedPrices{list: pricing.Builtin(), ages: map[time.Duration]int{}, accounts: map[string]bool{}}
			b.o.Prices = p
			b.count(nil)
			b.up.queue(streaming(step{data: whole}))
			if w := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey); w.status != 200 {
				t.Fatalf("%d %s", w.status, w.text())
			}
			if p.ages[time.Minute] != 1 || p.ages[5*time.Minute] != c.admissions || len(p.accounts) != 1 || !p.accounts[core.DefaultAccount] {
				t.Errorf("%s: %+v", c.why, p)
			}
		})
	}
}

// TestPrices_OfMappedBedrockNodes: a request costs what the model costs that the node was sent. What the client called it counts
// only where the node was sent the ARN of a profile that does not tell its model: then at the rates of a region.
func TestPrices_OfMappedBedrockNodes(t *testing.T) {
	const app = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/opus55app001"
	tokens := core.Tokens{Input: 1000, Output: 500, CacheWrite5m: 100}
	for _, c := range []struct {
		why, api, sent, asked string
		priced                string // the model that it costs as; empty: none
	}{
		{"another maker's model under Claude's name", "converse", "us.amazon.nova-pro-v1:0", "claude-opus-5-5", "us.amazon.nova-pro-v1:0"},
		{"a model without a price under the name of one with a price", "converse", "deepseek.v3-v1:0", "claude-opus-5-5", ""},
		{"a profile that tells its model", "invoke", "global.anthropic.claude-opus-5-5", "claude-haiku-5-5", "global.anthropic.claude-opus-5-5"},
		{"a profile that does not", "invoke", app, "claude-opus-5-5", "us.anthropic.claude-opus-5-5"},
		{"such a profile under a name of one's own", "invoke", app, "our-best", ""},
	} {
		r := newBedrockRig(t, nil)
		r.up.Default(upstreamtest.Reply(upstreamtest.Text("hi")).Usage(upstreamtest.Usage{Input: 1000, Output: 500, CacheWrite5m: 100}))
		r.bedrock("b", c.api, modelMap(map[string]string{c.asked: c.sent}))
		if got := r.do("POST", "/v1/messages", strings.Replace(plainBody, "claude-x", c.asked, 1)); got.status != 200 {
			t.Errorf("%s: %d %s", c.why, got.status, got.body)
			continue
		}
		rec := r.records()[0]
		want, priced := pricing.Builtin().CostOf(pricing.Use{Model: c.priced, Kind: core.KindBedrock, Tokens: tokens, At: time.Now()})
		if rec.Tokens != tokens || rec.CostUSD != want || rec.Unpriced == priced || priced != (c.priced != "") {
			t.Errorf("%s: cost %d (unpriced %v) of %+v, want %d", c.why, rec.CostUSD, rec.Unpriced, rec.Tokens, want)
		}
	}
}
