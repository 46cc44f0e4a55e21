package gateway_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

// pricedBody asks for a model that has a price: an estimate of 22 tokens in and 100 out, 522 micro-USD.
const pricedBody = `{"model":"claude-haiku-4-5","max_tokens":100,"stream":true,"messages":[{"role":"user"}]}`

// A spent budget is a 429 that clients must not repeat, until the day or month ends.
func TestD18_SpentBudget(t *testing.T) {
	for _, c := range []struct {
		why    string
		limits core.Limits
		says   string
		wait   time.Duration
	}{
		{"day", core.Limits{USDDay: 1000, USDMonth: 1_000_000}, "its budget of $0.001 per day", 24 * time.Hour},
		{"month", core.Limits{USDDay: 1_000_000, USDMonth: 1000}, "its budget of $0.001 per month", 31 * 24 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) { // begins at midnight of 2000-01-01 UTC
			b := newBubble(t, gateway.Settings{}, "a")
			b.key("2", limitedKey, c.limits)
			b.up.queue(streaming(step{data: whole}))
			served := 0
			var w *client
			for {
				if w = b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey); w.status != 200 {
					break
				}
				served++
			}
			// each costs 226: 11 input, 42 output, 5 read, 3 written; a fourth would not fit beside 678 spent
			if served != 3 || len(b.up.sent) != 3 {
				t.Errorf("%s: %d served, want 3", c.why, served)
			}
			wantError(t, w.reply(), 429, "rate_limit_error", "This API key has too little left of "+c.says)
			if w.sent.Get("X-Should-Retry") != "false" || w.sent.Get("Retry-After") != strconv.Itoa(int(c.wait.Seconds())) {
				t.Errorf("%s: x-should-retry %q, retry-after %s", c.why, w.sent.Get("X-Should-Retry"), w.sent.Get("Retry-After"))
			}
			for _, rec := range b.records()[:3] {
				if rec.CostUSD != 226 || rec.Unpriced {
					t.Errorf("%s: cost %d, unpriced %v; want 226", c.why, rec.CostUSD, rec.Unpriced)
				}
			}
			_ = pause(t.Context(), c.wait)
			if w := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey); w.status != 200 {
				t.Errorf("%s: in the next one: %s", c.why, w.text())
			}
		})
	}
}

// The price is that of the model as the node is sent it; the dearest of the nodes that may serve it is reserved.
func TestBudget_IsReservedAtTheDearestPrice(t *testing.T) {
	for _, c := range []struct {
		why    string
		models []string // that the nodes are sent
		usd    int64    // the most that is refused
	}{
		{"one node, the client's own name", []string{"claude-haiku-4-5"}, 521},
		{"the dearest of two", []string{"claude-haiku-4-5", "claude-opus-5"}, 22*5 + 100*25 - 1},
		{"a model without a price reserves nothing", []string{"mystery"}, 0},
		{"beside one that has a price", []string{"mystery", "claude-haiku-4-5"}, 521},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{})
			for i, m := range c.models {
				b.node(strconv.Itoa(i+1), "n", i+1, modelMap(map[string]string{"claude-haiku-4-5": m}))
			}
			b.node("9", "off", 9, modelMap(map[string]string{"claude-haiku-4-5": "claude-fable-5"}), func(n *core.Node) { n.Disabled = true })
			b.node("8", "other", 8, func(n *core.Node) { n.Models = []string{"claude-fable-5"} })
			b.key("2", limitedKey, core.Limits{USDDay: max(c.usd, 1)})
			b.key("3", "another-key-of-these-tests", core.Limits{USDDay: c.usd + 1})
			b.up.queue(streaming(step{data: whole}))
			refused := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey).status == 429
			if refused != (c.usd > 0) {
				t.Errorf("%s: a budget of %d refuses: %v", c.why, c.usd, refused)
			}
			if w := b.post(t.Context(), pricedBody, "X-Api-Key", "another-key-of-these-tests"); w.status != 200 {
				t.Errorf("%s: a budget of %d: %s", c.why, c.usd+1, w.text())
			}
		})
	}
}

func TestBudget_UnpricedIsSaid(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a")
	r.post(plainBody)
	r.post(strings.Replace(plainBody, "claude-x", "claude-opus-5-5", 1))
	r.fakeNode("b", weight(0), modelMap(map[string]string{"claude-opus-5-5": "mystery"}))
	r.post(strings.Replace(plainBody, "claude-x", "claude-opus-5-5", 1))
	got := r.records()
	if !got[0].Unpriced || got[0].CostUSD != 0 || got[1].Unpriced || got[1].CostUSD == 0 || !got[2].Unpriced || got[2].CostUSD != 0 {
		t.Errorf("recorded %+v", got)
	}
	up := r.fakeNode("c", weight(-1))
	up.Default(upstreamtest.Status(400, "no"))
	r.post(plainBody)
	if got := r.records()[3]; got.Unpriced || got.CostUSD != 0 || got.Status != 400 {
		t.Errorf("nothing was used: %+v", got)
	}
}

// What is taken of tokens a minute: the estimate while the request lasts (told in the header), the truth afterwards.
func TestLimit_TokensPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.key("2", limitedKey, core.Limits{TPM: 300})
		b.up.queue(streaming(step{data: whole}))
		for i, want := range []string{"178", "122", "66", "10"} { // 122 asked, 56 used each: input, writes and output, no reads
			w := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey)
			if w.status != 200 || w.sent.Get("Anthropic-Ratelimit-Tokens-Limit") != "300" || w.sent.Get("Anthropic-Ratelimit-Tokens-Remaining") != want {
				t.Fatalf("request %d: %d, remaining %s, want %s", i, w.status, w.sent.Get("Anthropic-Ratelimit-Tokens-Remaining"), want)
			}
			if _, err := time.Parse(time.RFC3339, w.sent.Get("Anthropic-Ratelimit-Tokens-Reset")); err != nil || w.sent.Get("Anthropic-Ratelimit-Requests-Limit") != "" {
				t.Errorf("headers %v", w.sent)
			}
		}
		w := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey)
		wantError(t, w.reply(), 429, "rate_limit_error", "300 tokens per minute")
		if w.sent.Get("Retry-After") != "10" || w.sent.Get("X-Should-Retry") != "" { // 46 are missing, five come back a second
			t.Errorf("retry-after %s, x-should-retry %q", w.sent.Get("Retry-After"), w.sent.Get("X-Should-Retry"))
		}
		_ = pause(t.Context(), 10*time.Second)
		if w := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey); w.status != 200 {
			t.Errorf("after the wait: %s", w.text())
		}
	})
}

// Even a bucket deep in debt is told as less than a minute: from 60 s on Claude Code gives up (D16).
func TestD16_TokensOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.key("2", limitedKey, core.Limits{TPM: 130})
		b.up.queue(streaming(step{data: strings.Replace(whole, `"output_tokens":42`, `"output_tokens":100000`, 1)}))
		b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey)
		if w := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey); w.status != 429 || w.sent.Get("Retry-After") != "59" {
			t.Errorf("got %d, retry-after %s", w.status, w.sent.Get("Retry-After"))
		}
	})
}

func TestLimit_LargerThanTokensPerMinute(t *testing.T) {
	r := newRig(t)
	up, gpt := r.fakeNode("a"), r.fakeOpenAI("b", "chat")
	_, key := r.key(limits(core.Limits{TPM: 100}))
	got := r.post(pricedBody, "X-Api-Key", key)
	wantError(t, got, 400, "invalid_request_error", "needs about 122 tokens. This API key has a limit of 100 tokens per minute")
	if got.header.Get("X-Should-Retry") != "false" || got.header.Get("Retry-After") != "" || strings.Contains(got.body, "too long") {
		t.Errorf("got %v %s", got.header, got.body)
	}
	got = r.do("POST", chatPath, chatPlain, "X-Api-Key", key)
	wantOpenAIError(t, got, 400, "invalid_request_error", "", "can never fit")
	if up.Count()+gpt.Count() != 0 {
		t.Error("it was sent all the same")
	}
	r.editAccount(func(a *core.Account) { a.Limits.TPM = 50 })
	_, other := r.key()
	wantError(t, r.post(pricedBody, "X-Api-Key", other), 400, "invalid_request_error", "This account has a limit of 50")
}

// What is estimated, read from what is left of a large limit: a quarter of the bytes without files, and max_tokens up to 4,096.
func TestLimit_Estimate(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a")
	r.fakeOpenAI("b", "both")
	file := strings.Repeat("QUJD/+", 2000)
	for _, c := range []struct {
		why, path, body, extra string
		out                    int64
	}{
		{"max_tokens", "/v1/messages", `{"model":"claude-x","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`, "", 100},
		{"much of it counts as 4,096", "/v1/messages", `{"model":"claude-x","max_tokens":64000,"messages":[{"role":"user","content":"hi"}]}`, "", 4096},
		{"files do not count", "/v1/messages", `{"model":"claude-x","max_tokens":100,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + file + `"}}]}]}`, file, 100},
		{"two of them", "/v1/messages", `{"model":"claude-x","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + file + `"}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + file + `"}}]}]}`, file + file, 1},
		{"words do", "/v1/messages", `{"model":"claude-x","max_tokens":1,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 3000) + `"}]}`, "", 1},
		{"chat's name", chatPath, `{"model":"m","max_completion_tokens":70,"messages":[{"role":"user","content":"hi"}]}`, "", 70},
		{"chat's old name", chatPath, `{"model":"m","max_tokens":71,"messages":[{"role":"user","content":"hi"}]}`, "", 71},
		{"none", chatPath, chatPlain, "", 4096},
		{"Responses' name", responsesPath, `{"model":"m","max_output_tokens":72,"input":"hi"}`, "", 72},
	} {
		_, key := r.key(limits(core.Limits{TPM: 1_000_000}))
		got := r.do("POST", c.path, c.body, "X-Api-Key", key)
		name := "Anthropic-Ratelimit-Tokens-Remaining"
		if c.path != "/v1/messages" {
			name = "X-Ratelimit-Remaining-Tokens"
		}
		want := 1_000_000 - (int64(len(c.body)-len(c.extra))+3)/4 - c.out
		if left, _ := strconv.ParseInt(got.header.Get(name), 10, 64); got.status != 200 || left != want {
			t.Errorf("%s: status %d, %d left, want %d", c.why, got.status, left, want)
		}
		if c.path != "/v1/messages" && (got.header.Get("X-Ratelimit-Limit-Tokens") != "1000000" || !strings.HasSuffix(got.header.Get("X-Ratelimit-Reset-Tokens"), "s")) {
			t.Errorf("%s: headers %v", c.why, got.header)
		}
	}
}

// Requests that make no model work take nothing of limits on tokens: counting, lists, bodies that go nowhere.
func TestLimit_OnlyMessagesTakeTokens(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a")
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/messages/count_tokens", plainBody, 200}, {"GET", "/v1/models", "", 200}, {"POST", "/v1/messages", `{"max_tokens":9000}`, 400},
	} {
		_, key := r.key(limits(core.Limits{TPM: 50, USDDay: 1}))
		if got := r.do(c.method, c.path, c.body, "X-Api-Key", key); got.status != c.status {
			t.Errorf("%s: got %d %s", c.path, got.status, got.body)
		}
	}
}

// OpenAI's upstreams tell the input at the end. Who leaves early, or is cut short by us, is charged the estimate.
func TestUsage_OpenAIInputIsEstimatedWhenTheEndIsMissing(t *testing.T) {
	long := strings.Repeat("many words ", 400)
	for _, c := range []struct{ why, wire, path, body string }{
		{"chat", "chat", chatPath, `{"model":"m","stream":true,"messages":[{"role":"user","content":"` + long + `"}]}`},
		{"responses", "responses", responsesPath, `{"model":"m","stream":true,"input":"` + long + `"}`},
		{"through the hub", "chat", "/v1/messages", `{"model":"m","stream":true,"max_tokens":90,"messages":[{"role":"user","content":"` + long + `"}]}`},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			up := r.fakeOpenAI("a", c.wire)
			up.Default(upstreamtest.Events(20).Cut(upstreamtest.AfterDeltas(10), upstreamtest.EndReset))
			r.do("POST", c.path, c.body)
			rec := r.record()
			if want := int64(len(c.body)+3) / 4; rec.Tokens.Input != want || !rec.Estimated || rec.Tokens.Output == 0 || !rec.Unpriced {
				t.Errorf("recorded %+v, want %d of input", rec, want)
			}
		})
	}
	t.Run("a stop sequence that we look for", func(t *testing.T) {
		r := newRig(t)
		up := r.fakeOpenAI("a", "responses")
		up.Default(upstreamtest.Reply(upstreamtest.Text("one ", "two ", "STOP ", "three")))
		body := `{"model":"m","stream":true,"max_tokens":90,"stop_sequences":["STOP"],"messages":[{"role":"user","content":"` + long + `"}]}`
		r.post(body)
		if rec := r.record(); rec.Tokens.Input != int64(len(body)+3)/4 || !rec.Estimated || rec.Status != 200 {
			t.Errorf("recorded %+v", rec)
		}
	})
	t.Run("an upstream that told counts as it told", func(t *testing.T) {
		r := newRig(t)
		up := r.fakeOpenAI("a", "chat")
		up.Default(upstreamtest.Reply(upstreamtest.Text("a")).Usage(upstreamtest.Usage{Input: 7, Output: 3}))
		r.do("POST", chatPath, chatStream)
		if rec := r.record(); rec.Tokens != (core.Tokens{Input: 7, Output: 3}) || rec.Estimated {
			t.Errorf("recorded %+v", rec)
		}
	})
}

// Who leaves early is charged what was seen until then, in place of what was reserved.
func TestBudget_EarlyDepartureSettlesWhatWasSeen(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	_, key := r.key(limits(core.Limits{TPM: 10_000}))
	up.Queue(upstreamtest.Events(3).Silence(upstreamtest.AfterDeltas(1)).Usage(upstreamtest.Usage{Input: 2000, Output: 9}))
	resp, rd := r.open(deadline(t), pricedBody, "X-Api-Key", key)
	readUntil(t, rd, "tok0")
	_ = resp.Body.Close()
	if _, err := up.WaitAborted(deadline(t)); err != nil {
		t.Fatal(err)
	}
	rec := r.record()
	if rec.Tokens.Input != 2000 || rec.CostUSD < 2000 || rec.ErrorCode != "client_gone" {
		t.Errorf("recorded %+v", rec)
	}
	got := r.post(pricedBody, "X-Api-Key", key)
	left, err := strconv.ParseInt(got.header.Get("Anthropic-Ratelimit-Tokens-Remaining"), 10, 64)
	if most := 10_000 - 2000 - 122 + int64(200); err != nil || left > most || left < most-400 { // a little comes back meanwhile
		t.Errorf("%s left: %v", got.header.Get("Anthropic-Ratelimit-Tokens-Remaining"), fmt.Sprint(got.status, err))
	}
}

// What a batch used is known when its results are fetched: it costs half, and budgets pay for it, once.
func TestBudget_PaysForBatches(t *testing.T) {
	result := `{"custom_id":"1","result":{"type":"succeeded","message":{"type":"message","model":"claude-haiku-4-5","usage":{"input_tokens":1001,"output_tokens":200}}}}` + "\n"
	r := newRig(t)
	r.node("a", newResultsServer(t, result, 0))
	const cost = 1001 // half of 1001 + 1000, rounded up
	for i, c := range []struct {
		why    string
		budget int64
		last   int
	}{{"an estimate of 522 fits into the rest", cost + 522, 502}, {"into one less it does not", cost + 521, 429}} {
		_, key := r.key(limits(core.Limits{USDDay: c.budget}))
		for range 2 {
			if got := r.do("GET", "/v1/messages/batches/b"+strconv.Itoa(i)+"/results", "", "X-Api-Key", key); got.status != 200 {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			r.rest()
		}
		// the node answers nothing but results: 502 tells that the request was let in
		if got := r.post(pricedBody, "X-Api-Key", key); got.status != c.last {
			t.Errorf("%s: got %d %s", c.why, got.status, got.body)
		}
	}
	for _, rec := range r.records() {
		if rec.Endpoint == "batch usage" && (rec.CostUSD != cost || rec.Unpriced) {
			t.Errorf("cost %d, want %d", rec.CostUSD, cost)
		}
	}
}
