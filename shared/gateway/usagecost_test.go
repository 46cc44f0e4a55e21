package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

func wireOf(name string) *usageWire {
	for i := range usageWires {
		if usageWires[i].name == name {
			return &usageWires[i]
		}
	}
	panic("no wire " + name)
}

// eachPair runs f for every client of the wire's upstream.
func (s usageScene) eachPair(t *testing.T, wire string, f func(t *testing.T, c *usageClient, rec *core.Settlement, body string)) {
	t.Helper()
	for i := range usageClients {
		c := &usageClients[i]
		t.Run(s.why+"/"+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec, out := s.run(t, wireOf(wire), c, formStream)
				f(t, c, &rec, out.text())
			})
		})
	}
}

// The costs were worked out by hand, at the built-in prices of 2026-11-20.
func TestUsagePairs_Cost(t *testing.T) {
	const split = `"cache_read_input_tokens":1000,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}`
	const cached = `{"prompt_tokens":1307,"completion_tokens":40,"prompt_tokens_details":{"cached_tokens":1000,"cache_write_tokens":300}}`
	for _, c := range []struct {
		why, wire, model string
		stream           string
		want             int64 // micro-USD
		unpriced         bool
	}{
		{"cache split, 2/10/0.1/2.5/4: 14 + 400 + 100 + 250 + 800", "anthropic", "claude-sonnet-5-5", claudeTurn(`{"input_tokens":7,`+split+`,"output_tokens":1}`, `{"output_tokens":40}`), 1564, false},
		{"cache split, 3/15/0.3/3.75/6: 21 + 600 + 300 + 375 + 1200", "anthropic", "claude-sonnet-4-5", claudeTurn(`{"input_tokens":7,`+split+`,"output_tokens":1}`, `{"output_tokens":40}`), 2496, false},
		{"only the flat count, all at the 5-minute rate: 14 + 400 + 750", "anthropic", "claude-sonnet-5-5", claudeTurn(`{"input_tokens":7,"cache_creation_input_tokens":300,"output_tokens":1}`, `{"output_tokens":40}`), 1164, false},
		{"the longest prompt of the lower band: 6000 + 500 + 400", "anthropic", "claude-haiku-5-5", claudeTurn(`{"input_tokens":60000,"cache_read_input_tokens":40000,"output_tokens":1}`, `{"output_tokens":1000}`), 6900, false},
		{"one token more, of any class: 30000 + 2500 + 2000.05, rounded up", "anthropic", "claude-haiku-5-5", claudeTurn(`{"input_tokens":60000,"cache_read_input_tokens":40001,"output_tokens":1}`, `{"output_tokens":1000}`), 34501, false},
		{"a prompt corrected into the band by the end", "anthropic", "claude-haiku-5-5", claudeTurn(`{"input_tokens":1,"output_tokens":1}`, `{"input_tokens":100001,"output_tokens":1000}`), 50001 + 2500, false},
		{"cached input, 2.5/15/0.25: 767.5 + 600 + 250, rounded up", "openai-chat", "gpt-5.4", chatTurn(`{"prompt_tokens":1307,"completion_tokens":40,"prompt_tokens_details":{"cached_tokens":1000}}`), 1618, false},
		{"cached input of the other API", "openai-responses", "gpt-5.4", respondSays() + respondEnd(`{"input_tokens":1307,"input_tokens_details":{"cached_tokens":1000},"output_tokens":40}`), 1618, false},
		{"writes to the cache, 2/10/0.2/2.5: 14 + 400 + 200 + 750", "openai-chat", "gpt-6-sol", chatTurn(cached), 1364, false},
		{"writes without a price", "openai-chat", "gpt-5.4", chatTurn(cached), 0, true},
		{"Amazon Q at the model's own price: 60 + 450", "amazonq", "claude-sonnet-4-5", amazonqSays() + amazonqUsed(`{"uncachedInputTokens":20,"outputTokens":30}`), 510, false},
		{"a model that nobody priced", "openai-chat", "mystery-1", chatTurn(`{"prompt_tokens":20,"completion_tokens":30}`), 0, true},
		{"a model that nobody priced, but nothing was used", "openai-chat", "mystery-1", chatTurn(`{"prompt_tokens":0,"completion_tokens":0}`), 0, false},
	} {
		s := usageScene{why: c.why, stream: c.stream, model: c.model}
		s.eachPair(t, c.wire, func(t *testing.T, _ *usageClient, rec *core.Settlement, _ string) {
			if rec.CostUSD != c.want || rec.Unpriced != c.unpriced || rec.Estimated || !rec.Success() {
				t.Errorf("cost %d unpriced %v estimated %v of %+v, want %d %v", rec.CostUSD, rec.Unpriced, rec.Estimated, rec.Tokens, c.want, c.unpriced)
			}
		})
	}
}

// An estimate has a price like any other count, and the record says that it is one.
func TestUsagePairs_CostOfEstimates(t *testing.T) {
	for _, c := range []struct {
		why, wire string
		stream    string
		end       sceneEnd
		in, out   int64 // tenths of a micro-USD for a token
	}{
		{"no usage", "openai-chat", chatSays("") + chatFinish("") + chatDone, endWhole, 25, 150},
		{"cut off", "anthropic", claudeStart("") + claudeSays(), endReset, 30, 150},
		{"the client leaves", "openai-responses", respondSays(), endLeave, 25, 150},
		{"nothing is told", "amazonq", amazonqSays(), endWhole, 30, 150},
	} {
		s := usageScene{why: c.why, stream: c.stream, end: c.end}
		s.eachPair(t, c.wire, func(t *testing.T, _ *usageClient, rec *core.Settlement, _ string) {
			want := (rec.Tokens.Input*c.in + rec.Tokens.Output*c.out + 9) / 10
			if !rec.Estimated || rec.Unpriced || rec.Tokens.Input < 80 || rec.Tokens.Output < 75 || rec.CostUSD != want {
				t.Errorf("recorded %+v estimated %v cost %d unpriced %v, want %d", rec.Tokens, rec.Estimated, rec.CostUSD, rec.Unpriced, want)
			}
		})
	}
}

// The length of a stream changes nothing: the last counts are the record's and the client's.
func TestUsagePairs_OfVeryLongStreams(t *testing.T) {
	const n = 50_000
	many := func(delta string) string { return strings.Repeat(delta, n) }
	i := `"index":0,`
	want := core.Tokens{Input: 20, Output: 123456}
	for wire, stream := range map[string]string{
		"anthropic": claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claude("content_block_start", i+`"content_block":{"type":"text","text":""}`) +
			many(claude("content_block_delta", i+`"delta":{"type":"text_delta","text":"ab "}`)) + claude("content_block_stop", `"index":0`) + claudeDelta(`{"output_tokens":123456}`) + claudeStop,
		"openai-chat": many(chatText("ab ", "null")) + chatFinish("null") + chat("", `{"prompt_tokens":20,"completion_tokens":123456}`) + chatDone,
		"openai-responses": respond("response.created", `"response":`+responseBody("in_progress", "", "null")) +
			respond("response.output_item.added", respondItem+`,"status":"in_progress","content":[]}`) +
			many(respond("response.output_text.delta", respondPlace+`,"delta":"ab "`)) +
			respond("response.completed", `"response":`+responseBody("completed", respondMessage(), `{"input_tokens":20,"output_tokens":123456}`)),
		"amazonq": many(upstreamtest.Frame("assistantResponseEvent", `{"content":"ab "}`)) + amazonqUsed(`{"uncachedInputTokens":20,"outputTokens":123456}`),
	} {
		s := usageScene{why: wire, stream: stream}
		s.eachPair(t, wire, func(t *testing.T, c *usageClient, rec *core.Settlement, body string) {
			told, ok := c.told(t, body, true)
			if rec.Tokens != want || rec.Estimated || !rec.Success() || !ok || !told.agrees(rec) {
				t.Errorf("recorded %+v estimated %v %q, the client reads %+v (%v)", rec.Tokens, rec.Estimated, rec.ErrorCode, told, ok)
			}
		})
	}
}

// A chat client that did not ask for the usage reads none, and the record has it all the same.
func TestUsagePairs_ChatClientsThatDoNotAsk(t *testing.T) {
	mute := usageClient{"openai-chat", chatPath, func(model string, stream bool) string {
		return strings.Replace(chatAsk(model, stream), `"stream_options":{"include_usage":true},`, "", 1)
	}, chatTold}
	for i := range usageWires {
		w := &usageWires[i]
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := w.scenes()[0]
				rec, out := s.run(t, w, &mute, formStream)
				if told, ok := chatTold(t, out.text(), true); ok || !s.recorded(&rec) {
					t.Errorf("the client reads %+v (%v), recorded %+v", told, ok, rec)
				}
			})
		})
	}
}

// What a node told that another one had to stand in for is not the other's: the tokens are those of the node recorded.
func TestUsagePairs_OfFailover(t *testing.T) {
	starts := map[string]string{"anthropic": claudeStart(`{"input_tokens":5000,"output_tokens":7}`), "openai-chat": chat(`{"index":0,"delta":{"role":"assistant"},"finish_reason":null}`, `{"prompt_tokens":5000,"completion_tokens":7}`),
		"openai-responses": respond("response.created", `"response":`+responseBody("in_progress", "", `{"input_tokens":5000,"output_tokens":7}`)), "amazonq": amazonqUsed(`{"uncachedInputTokens":5000,"outputTokens":7}`)}
	for i := range usageWires {
		w := &usageWires[i]
		first := answer(w.media, step{data: starts[w.name]}, step{err: errReset})
		for _, c := range []struct {
			why      string
			second   play
			want     core.Tokens
			attempts int
		}{
			{"the second answers", (&w.scenes()[0]).play(w, formStream), w.scenes()[0].want, 2},
			{"the second has no answer", refusing(529, "overloaded_error", "x"), core.Tokens{}, 2},
			{"the second has no connection", broken(errReset), core.Tokens{}, 2},
		} {
			for j := range usageClients {
				cl := &usageClients[j]
				t.Run(w.name+"/"+c.why+"/"+cl.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := usageBubble(t, w)
						b.node("2", "b", 2, w.node)
						b.up.on("a", first)
						b.up.on("b", c.second)
						out := newClient(t)
						b.ask(t.Context(), out, cl.path, cl.body(w.model, true))
						rec := b.record()
						if rec.Tokens != c.want || rec.Estimated || rec.NodeName != "b" || rec.Attempts != c.attempts || (rec.CostUSD == 0) != (c.want == core.Tokens{}) {
							t.Errorf("recorded %+v", rec)
						}
					})
				})
			}
		}
	}
}

// Content that was sent is counted, though the stream broke off and another node was there.
func TestUsagePairs_ContentThatWasSentIsCounted(t *testing.T) {
	for i := range usageWires {
		w := &usageWires[i]
		for _, s := range w.scenes() {
			if s.why != "cut off" {
				continue
			}
			t.Run(w.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := usageBubble(t, w)
					b.node("2", "b", 2, w.node)
					b.up.on("a", s.play(w, formStream))
					b.ask(t.Context(), newClient(t), chatPath, chatAsk(w.model, true))
					if rec := b.record(); !s.recorded(&rec) || rec.NodeName != "a" || rec.CostUSD == 0 {
						t.Errorf("recorded %+v", rec)
					}
				})
			})
		}
	}
}

// A whole answer that broke off was never the client's: nothing of it is counted.
func TestUsagePairs_OfWholeAnswersThatBreakOff(t *testing.T) {
	for i := range usageWires {
		w := &usageWires[i]
		for j := range usageClients {
			c := &usageClients[j]
			t.Run(w.name+"/"+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := usageBubble(t, w)
					s := w.scenes()[0]
					b.up.queue(answer(w.whole, step{data: s.whole[:len(s.whole)-1]}, step{err: errReset}))
					out := newClient(t)
					b.ask(t.Context(), out, c.path, c.body(w.model, false))
					if rec := b.record(); rec.Tokens != (core.Tokens{}) || rec.CostUSD != 0 || rec.Estimated || rec.Success() || out.status < 500 {
						t.Errorf("got %d, recorded %+v", out.status, rec)
					}
				})
			})
		}
	}
}

// A client that leaves before the upstream told anything: what it was asked may be billed, and is guessed. It once gave all that
// was reserved of a budget back.
func TestUsagePairs_ClientsThatDoNotWait(t *testing.T) {
	ask := anthropicAsk(usageWires[0].model, false)
	for _, c := range []struct {
		why, path, body string
		input           int64
	}{
		{"a whole answer", "/v1/messages", ask, (int64(len(ask)) + 3) / 4},
		{"a stream", "/v1/messages", anthropicAsk(usageWires[0].model, true), (int64(len(anthropicAsk(usageWires[0].model, true))) + 3) / 4},
		{"counting uses nothing", "/v1/messages/count_tokens", ask, 0},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := usageBubble(t, &usageWires[0])
				ctx, cancel := context.WithCancel(t.Context())
				b.up.queue(func(ctx context.Context) (*http.Response, error) {
					cancel()
					return nil, pause(ctx, forever)
				})
				b.ask(ctx, newClient(t), c.path, c.body)
				if rec := b.record(); rec.Tokens != (core.Tokens{Input: c.input}) || !rec.Estimated || (rec.CostUSD == 0) != (c.input == 0) || rec.Unpriced || rec.ErrorCode != "client_gone" {
					t.Errorf("recorded %+v, want input %d", rec, c.input)
				}
			})
		})
	}
}

// Counting uses nothing, whoever counts.
func TestUsagePairs_CountTokensUsesNothing(t *testing.T) {
	for i := range usageWires {
		w := &usageWires[i]
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := usageBubble(t, w)
				b.up.queue(answer("application/json", step{data: `{"input_tokens":77,"inputTokens":77,"usage":{"input_tokens":77,"output_tokens":7}}`}))
				out := newClient(t)
				b.ask(t.Context(), out, "/v1/messages/count_tokens", anthropicAsk(w.model, false))
				if rec := b.record(); out.status != 200 || rec.Tokens != (core.Tokens{}) || rec.Estimated || rec.CostUSD != 0 || rec.Unpriced {
					t.Errorf("got %d, recorded %+v", out.status, rec)
				}
			})
		})
	}
}

// The results of a batch are answers like others, at half the price: each is priced by its own length, and one without its
// counts is estimated, and said to be.
func TestUsagePairs_BatchResults(t *testing.T) {
	result := func(model, usage string) string {
		return `{"custom_id":"1","result":{"type":"succeeded","message":{"type":"message","model":"` + model + `","content":[{"type":"text","text":"` + sceneText + `"}]` + member("usage", usage) + "}}}\n"
	}
	long := result("claude-haiku-5-5", `{"input_tokens":90000,"output_tokens":1000}`)
	body := result("claude-sonnet-5-5", `{"input_tokens":7,"cache_read_input_tokens":1000,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":40}`) +
		long + long + // together beyond the band of long prompts, which neither is
		result("claude-opus-5", "") + result("claude-opus-5", `{"input_tokens":20,"output_tokens":30}`) + result("mystery-1", `{"input_tokens":20,"output_tokens":30}`)
	r := newRig(t)
	r.node("a", newResultsServer(t, body, 0))
	r.do("GET", "/v1/messages/batches/b1/results", "")
	want := map[string]struct {
		tokens   core.Tokens
		cost     int64
		guessed  bool
		unpriced bool
	}{
		"claude-sonnet-5-5": {core.Tokens{Input: 7, CacheRead: 1000, CacheWrite5m: 100, CacheWrite1h: 200, Output: 40}, 782, false, false},
		"claude-haiku-5-5":  {core.Tokens{Input: 180000, Output: 2000}, 9000 + 500, false, false},
		"claude-opus-5":     {core.Tokens{Input: 20, Output: about}, about, true, false},
		"mystery-1":         {core.Tokens{Input: 20, Output: 30}, 0, false, true},
	}
	for _, rec := range r.records() {
		if !strings.HasPrefix(rec.RequestID, "batch_") {
			continue
		}
		w, ok := want[rec.Model]
		if w.tokens.Output == about && rec.Tokens.Output > 100 && rec.CostUSD == (rec.Tokens.Input*5+rec.Tokens.Output*25+1)/2 {
			w.tokens.Output, w.cost = rec.Tokens.Output, rec.CostUSD
		}
		if !ok || rec.Tokens != w.tokens || rec.CostUSD != w.cost || rec.Estimated != w.guessed || rec.Unpriced != w.unpriced {
			t.Errorf("%s: recorded %+v cost %d estimated %v unpriced %v, want %+v", rec.Model, rec.Tokens, rec.CostUSD, rec.Estimated, rec.Unpriced, w)
		}
		delete(want, rec.Model)
	}
	if len(want) > 0 {
		t.Errorf("no records of %+v", want)
	}
}

// An answer that the gateway cuts itself, since Amazon Q knows no max_tokens, is an estimate that the client is told, too.
func TestUsagePairs_OfAnswersThatTheGatewayCuts(t *testing.T) {
	w := wireOf("amazonq")
	s := usageScene{why: "cut by max_tokens", stream: amazonqSays() + amazonqUsed(`{"uncachedInputTokens":20,"outputTokens":100}`)}
	short := usageClient{"anthropic", "/v1/messages", func(model string, stream bool) string {
		return strings.Replace(anthropicAsk(model, stream), "200000", "10", 1)
	}, anthropicTold}
	synctest.Test(t, func(t *testing.T) {
		rec, out := s.run(t, w, &short, formStream)
		told, ok := anthropicTold(t, out.text(), true)
		if !rec.Estimated || !rec.Success() || rec.Tokens.Output < 5 || rec.Tokens.Output > 15 || rec.Tokens.Input < 80 || !ok || !told.agrees(&rec) {
			t.Errorf("recorded %+v estimated %v, the client reads %+v (%v)", rec.Tokens, rec.Estimated, told, ok)
		}
	})
}
