package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

const (
	chatPath      = "/v1/chat/completions"
	responsesPath = "/v1/responses"

	chatPlain       = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	chatStream      = `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	responsesPlain  = `{"model":"m","input":"hi"}`
	responsesStream = `{"model":"m","stream":true,"input":"hi"}`
)

func openaiNode(wire string) func(*core.Node) {
	return func(n *core.Node) { n.Kind, n.Wire = core.KindOpenAI, wire }
}

// fakeOpenAI adds a node of kind openai that is a fake of its own.
func (r *rig) fakeOpenAI(name, wire string, edits ...func(*core.Node)) *upstreamtest.OpenAI {
	r.t.Helper()
	up := upstreamtest.NewOpenAI(r.t)
	r.node(name, up.BaseURL(), append([]func(*core.Node){openaiNode(wire)}, edits...)...)
	return up
}

func TestOpenAI_EqualDialectsPassByteForByte(t *testing.T) {
	odd := `{ "messages" : [{"role":"user","content":"\u0068i é"}],"x_unknown":{"b":1.50,"a":null}, "model" : "m" , "temperature":1e0 }`
	oddInput := `{ "input" : [{"role":"user","content":"\u0068i é"}],"x_unknown":{"b":1.50,"a":null}, "model" : "m" , "temperature":1e0 }`
	for _, c := range []struct{ why, wire, path, body, want string }{
		{"chat", "chat", chatPath, odd, odd},
		{"chat under its prefix", "", "/openai" + chatPath, odd, odd},
		{"responses", "responses", responsesPath, oddInput, oddInput},
		{"responses under its prefix", "both", "/openai" + responsesPath, oddInput, oddInput},
		{"chat on a node with both wires", "both", chatPath, odd, odd},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			up := upstreamtest.NewOpenAI(t, upstreamtest.WithoutValidation())
			r.node("a", up.BaseURL(), openaiNode(c.wire))
			reply := upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).Usage(upstreamtest.Usage{Input: 10, Output: 2, CacheRead: 4})
			up.Default(reply)
			got := r.do("POST", c.path+"?x=1", c.body, "X-Api-Key", "", "Authorization", "Bearer "+proxyKey, "OpenAI-Organization", "org-of-the-client", "X-Custom", "kept")
			if got.status != 200 || got.header.Get("X-Proxy-Node") != "a" || got.header.Get("X-Request-Id") == "" || got.header.Get("Request-Id") != got.header.Get("X-Request-Id") {
				t.Fatalf("got %d %v %s", got.status, got.header, got.body)
			}
			last := up.Last()
			if string(last.Body) != c.want || last.RawQuery != "x=1" || last.Header.Get("X-Custom") != "kept" {
				t.Errorf("upstream got ?%s %v\n%s\nwant\n%s", last.RawQuery, last.Header, last.Body, c.want)
			}
			if last.Credential() != nodeKey || last.Header.Get("Openai-Organization") != "" {
				t.Errorf("upstream got the headers %v", last.Header)
			}
			if rec := r.record(); rec.Tokens != (core.Tokens{Input: 10, CacheRead: 4, Output: 2}) || rec.Estimated || rec.Dialect != dialectOfPath(c.path) {
				t.Errorf("recorded %+v", rec)
			}
		})
	}
}

func dialectOfPath(path string) core.Dialect {
	if strings.HasSuffix(path, responsesPath) {
		return core.DialectOpenAIResponses
	}
	return core.DialectOpenAIChat
}

// The usage of a stream is asked for always, and hidden from a client that did not ask (D34).
func TestD34_UsageIsAskedForAndHidden(t *testing.T) {
	const rest = `"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	for _, c := range []struct {
		why, body, want string
		shown           bool
	}{
		{"no options", `{` + rest, `{"stream_options":{"include_usage":true},` + rest, false},
		{"white space before", " \n{ " + rest, " \n{" + `"stream_options":{"include_usage":true},` + " " + rest, false},
		{"null", `{"stream_options":null,` + rest, `{"stream_options":{"include_usage":true},` + rest, false},
		{"empty", `{"stream_options":{ },` + rest, `{"stream_options":{"include_usage":true },` + rest, false},
		{"another option", `{"stream_options":{"include_obfuscation":false},` + rest, `{"stream_options":{"include_usage":true,"include_obfuscation":false},` + rest, false},
		{"declined", `{"stream_options":{"include_usage":false},` + rest, `{"stream_options":{"include_usage":true},` + rest, false},
		{"declined by null", `{"stream_options":{"include_usage":null},` + rest, `{"stream_options":{"include_usage":true},` + rest, false},
		{"asked for", `{"stream_options":{"include_usage":true},` + rest, `{"stream_options":{"include_usage":true},` + rest, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			up := r.fakeOpenAI("a", "chat")
			up.Default(upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).Usage(upstreamtest.Usage{Input: 10, Output: 2}))
			got := r.do("POST", chatPath, c.body)
			if got.status != 200 || string(up.Last().Body) != c.want {
				t.Fatalf("status %d, upstream got\n%s\nwant\n%s", got.status, up.Last().Body, c.want)
			}
			if shown := strings.Contains(got.body, `"usage"`); shown != c.shown {
				t.Errorf("usage shown: %v in %s", shown, got.body)
			}
			if !strings.HasSuffix(got.body, "data: [DONE]\n\n") {
				t.Errorf("no end: %s", tail(got.body))
			}
			if rec := r.record(); rec.Tokens != (core.Tokens{Input: 10, Output: 2}) || rec.Estimated {
				t.Errorf("recorded %+v", rec)
			}
		})
	}
}

func TestOpenAI_ModelIsSplicedBothWays(t *testing.T) {
	for _, c := range []struct{ why, wire, path, body string }{
		{"chat", "chat", chatPath, chatPlain}, {"chat stream", "chat", chatPath, chatStream},
		{"responses", "responses", responsesPath, responsesPlain}, {"responses stream", "responses", responsesPath, responsesStream},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			up := r.fakeOpenAI("a", c.wire, modelMap(map[string]string{"m": "gpt-real"}))
			got := r.do("POST", c.path, c.body)
			if got.status != 200 || up.Last().Model() != "gpt-real" {
				t.Fatalf("status %d, upstream was asked for %q", got.status, up.Last().Model())
			}
			if strings.Contains(got.body, "gpt-real") || !strings.Contains(got.body, `"model":"m"`) && !strings.Contains(got.body, `"model": "m"`) {
				t.Errorf("the client sees another name than its own: %s", got.body)
			}
			if rec := r.record(); rec.Model != "m" || rec.ServedModel != "gpt-real" {
				t.Errorf("recorded %q, %q", rec.Model, rec.ServedModel)
			}
		})
	}
}

// Every client over every upstream: the words arrive, the tokens are recorded, the stream ends as its dialect says.
func TestEveryDialectOverEveryUpstream(t *testing.T) {
	clients := []struct{ name, path, plain, stream, end string }{
		{"anthropic", "/v1/messages", `{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`,
			`{"model":"m","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"hi"}]}`, "event: message_stop"},
		{"chat", chatPath, chatPlain, chatStream, "data: [DONE]"},
		{"responses", responsesPath, responsesPlain, responsesStream, "event: response.completed"},
	}
	for _, wire := range []string{"anthropic", "chat", "responses"} {
		for _, c := range clients {
			t.Run(c.name+" over "+wire, func(t *testing.T) {
				r := newRig(t)
				behaviour := upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).Usage(upstreamtest.Usage{Input: 10, Output: 2, CacheRead: 4})
				if wire == "anthropic" {
					r.fakeNode("a").Default(behaviour)
				} else {
					r.fakeOpenAI("a", wire).Default(behaviour)
				}
				got := r.do("POST", c.path, c.plain)
				if got.status != 200 || !strings.Contains(got.body, `"Hello"`) || got.header.Get("Content-Type") != "application/json" {
					t.Errorf("got %d %v %s", got.status, got.header, got.body)
				}
				got = r.do("POST", c.path, c.stream)
				if got.status != 200 || !strings.Contains(got.body, `"Hel"`) || !strings.Contains(got.body, c.end) ||
					!strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") {
					t.Errorf("got %d %v %s", got.status, got.header, got.body)
				}
				for _, rec := range r.records() {
					if rec.Tokens != (core.Tokens{Input: 10, CacheRead: 4, Output: 2}) || rec.Estimated || rec.Status != 200 || rec.FirstByteMS == 0 {
						t.Errorf("recorded %+v", rec)
					}
				}
			})
		}
	}
}

// An upstream of another dialect fails over and reports as one of the client's own does.
func TestEveryDialect_FailoverAndErrors(t *testing.T) {
	for _, wire := range []string{"anthropic", "chat", "responses"} {
		for _, c := range []struct{ path, body string }{{"/v1/messages", streamBody}, {chatPath, chatStream}, {responsesPath, responsesStream},
			{"/v1/messages", plainBody}, {chatPath, chatPlain}, {responsesPath, responsesPlain}} {
			t.Run(c.path+" over "+wire, func(t *testing.T) {
				for _, bad := range []struct {
					why string
					b   upstreamtest.Behaviour
				}{
					{"500", upstreamtest.Status(500, "x")}, {"overloaded", upstreamtest.Overloaded()}, {"a page", upstreamtest.HTMLPage()},
					{"an error page", upstreamtest.HTMLError(502)}, {"no JSON", upstreamtest.BadJSON()}, {"half a JSON", upstreamtest.CutJSON()},
					{"an empty 200", upstreamtest.Empty("application/json")}, {"an empty stream", upstreamtest.Empty("text/event-stream")},
					{"a garbage stream", upstreamtest.GarbageStream()},
					{"an error in place of content", upstreamtest.Reply(upstreamtest.Text("x")).ErrorAt(upstreamtest.AfterDeltas(0), "overloaded_error", "busy")},
				} {
					r := newRig(t, "PROXY_RETRY_MAX", "1", "PROXY_FAIL_THRESHOLD", "1")
					set := func(name string, w int, b upstreamtest.Behaviour) {
						edit := weight(w)
						if wire == "anthropic" {
							r.fakeNode(name, edit, modelMap(map[string]string{"m": "claude-m"})).Default(b)
						} else {
							r.fakeOpenAI(name, wire, edit, modelMap(map[string]string{"claude-x": "x"})).Default(b)
						}
					}
					set("bad", 1, bad.b)
					set("good", 2, upstreamtest.Reply(upstreamtest.Text("Hello")))
					stream := strings.Contains(c.body, `"stream":true`)
					if bad.why == "an error in place of content" && !stream {
						continue
					}
					got := r.do("POST", c.path, c.body)
					if got.status != 200 || !strings.Contains(got.body, "Hello") || got.header.Get("X-Proxy-Node") != "good" || strings.Contains(got.body, "busy") {
						t.Errorf("%s: got %d from %s: %s", bad.why, got.status, got.header.Get("X-Proxy-Node"), got.body)
					}
					if s := r.state("1"); !s.Failed {
						t.Errorf("%s: the bad node is not blamed", bad.why)
					}
				}
			})
		}
	}
}

// wantOpenAIError checks an error body of OpenAI's shape (D36).
func wantOpenAIError(t *testing.T, got reply, status int, typ, code, message string) {
	t.Helper()
	var body struct {
		Error struct {
			Message, Type string
			Param, Code   *string
		}
	}
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatalf("no OpenAI error: %d %s", got.status, got.body)
	}
	c := ""
	if body.Error.Code != nil {
		c = *body.Error.Code
	}
	if got.status != status || body.Error.Type != typ || c != code || !strings.Contains(body.Error.Message, message) {
		t.Errorf("got %d %s, want %d %s %s %q", got.status, got.body, status, typ, code, message)
	}
	if got.header.Get("X-Request-Id") == "" {
		t.Error("no x-request-id")
	}
}

func TestD36_OurOwnErrors(t *testing.T) {
	for _, path := range []string{chatPath, responsesPath, "/openai" + chatPath, "/openai" + responsesPath} {
		t.Run(path, func(t *testing.T) {
			r := newRig(t)
			body := chatPlain
			if strings.HasSuffix(path, responsesPath) {
				body = responsesPlain
			}
			wantOpenAIError(t, r.do("POST", path, body, "X-Api-Key", ""), 401, "invalid_request_error", "invalid_api_key", "No API key")
			wantOpenAIError(t, r.do("POST", path, body, "X-Api-Key", "unknown"), 401, "invalid_request_error", "invalid_api_key", "")
			wantOpenAIError(t, r.do("POST", path, body), 503, "server_error", "overloaded", "no enabled node")
			wantOpenAIError(t, r.do("POST", path, `{`), 400, "invalid_request_error", "", "not a JSON object")
			wantOpenAIError(t, r.do("POST", path, `{"input":"x"}`), 400, "invalid_request_error", "", "model: Field required")
			wantOpenAIError(t, r.do("PUT", path, body), 405, "invalid_request_error", "", "not allowed")
			wantOpenAIError(t, r.do("POST", path+"/x/y", body), 404, "invalid_request_error", "not_found", "No such endpoint")
			_, key := r.key(limits(core.Limits{RPM: 1}))
			r.do("POST", path, body, "X-Api-Key", key)
			limited := r.do("POST", path, body, "X-Api-Key", key)
			wantOpenAIError(t, limited, 429, "rate_limit_error", "rate_limit_exceeded", "requests per minute")
			if limited.header.Get("Retry-After") == "" || limited.header.Get("X-Ratelimit-Limit-Requests") != "1" || limited.header.Get("Anthropic-Ratelimit-Requests-Limit") != "" {
				t.Errorf("got %v", limited.header)
			}
		})
	}
}

// What the upstream refuses keeps its status and its words in every dialect.
func TestErrorsCrossDialects(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a", modelMap(map[string]string{"m": "claude-m"})).Default(upstreamtest.PromptTooLong(250000, 200000))
	wantOpenAIError(t, r.do("POST", chatPath, chatPlain), 400, "invalid_request_error", "context_length_exceeded", "250000")
	wantOpenAIError(t, r.do("POST", responsesPath, responsesStream), 400, "invalid_request_error", "context_length_exceeded", "250000")

	r = newRig(t)
	up := r.fakeOpenAI("a", "chat")
	up.Default(upstreamtest.PromptTooLong(250000, 200000))
	wantError(t, r.post(plainBody), 400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum") // D15
	up.Default(upstreamtest.RateLimited(7 * time.Second))
	got := r.post(plainBody)
	wantError(t, got, 429, "rate_limit_error", "")
	if got.header.Get("Retry-After") != "7" {
		t.Errorf("got %v", got.header)
	}
	if rec := r.records(); rec[1].Status != 429 || r.state("1").Failed {
		t.Errorf("recorded %+v", rec[1])
	}
}

// What a node cannot express is refused by name, unless another node can (DESIGN 4.5).
func TestUnableNodes(t *testing.T) {
	two := `{"model":"m","n":2,"messages":[{"role":"user","content":"hi"}]}`
	r := newRig(t)
	up := r.fakeNode("a", modelMap(map[string]string{"m": "claude-m"}))
	got := r.do("POST", chatPath, two)
	wantOpenAIError(t, got, 400, "invalid_request_error", "", "n: ")
	if !strings.Contains(got.body, `"param":"n"`) || up.Count() != 0 {
		t.Errorf("got %s after %d upstream requests", got.body, up.Count())
	}
	if rec := r.record(); rec.Status != 400 || rec.Attempts != 0 {
		t.Errorf("recorded %+v", rec)
	}
	able := r.fakeOpenAI("b", "chat", weight(9), modelMap(map[string]string{"m": "gpt"}))
	if got := r.do("POST", chatPath, two); got.status != 200 || able.Count() != 1 || up.Count() != 0 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	// the able one fails: its answer counts, the unable one is still not asked
	able.Default(upstreamtest.Status(500, "boom"))
	if got := r.do("POST", chatPath, two); got.status != 500 || up.Count() != 0 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestDroppedHintsAreNamed(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a", modelMap(map[string]string{"m": "claude-m"}))
	got := r.do("POST", chatPath, `{"model":"m","seed":7,"tools":[],"messages":[{"role":"user","content":"hi"}],"logit_bias":{"1":2}}`)
	if d := got.header.Get("X-Sluice-Dropped"); got.status != 200 || !strings.Contains(d, "seed") || !strings.Contains(d, "logit_bias") {
		t.Errorf("got %d, dropped %q", got.status, d)
	}
	if got := r.do("POST", chatPath, chatPlain); got.header.Get("X-Sluice-Dropped") != "" {
		t.Errorf("dropped %q of nothing", got.header.Get("X-Sluice-Dropped"))
	}
}

// A max_tokens above the model's limit is not clamped: the upstream refuses it in its own words, which tell the client how
// much less to ask for (D28).
func TestD28_MaxTokensOverTheLimitIsTheUpstreamsWord(t *testing.T) {
	const anthropicWords = "max_tokens: 999999 > 64000, which is the maximum allowed number of output tokens for claude-m"
	r := newRig(t)
	up := r.fakeNode("a", modelMap(map[string]string{"m": "claude-m"}))
	up.Default(upstreamtest.Status(400, anthropicWords))
	for path, body := range map[string]string{
		chatPath:      `{"model":"m","max_completion_tokens":999999,"messages":[{"role":"user","content":"hi"}]}`,
		responsesPath: `{"model":"m","max_output_tokens":999999,"input":"hi"}`,
	} {
		wantOpenAIError(t, r.do("POST", path, body), 400, "invalid_request_error", "", anthropicWords)
		if sent := string(up.Last().Body); !strings.Contains(sent, `"max_tokens":999999`) {
			t.Errorf("%s: upstream got %s", path, sent)
		}
	}
	if got := r.post(strings.Replace(plainBody, "100", "999999", 1)); got.status != 400 || !strings.Contains(got.body, anthropicWords) {
		t.Errorf("got %d %s", got.status, got.body)
	}

	const openaiWords = "max_tokens is too large: 999999. This model supports at most 16384 completion tokens"
	for wire, field := range map[string]string{"chat": `"max_tokens":999999`, "responses": `"max_output_tokens":999999`} {
		r := newRig(t)
		up := r.fakeOpenAI("a", wire)
		up.Default(upstreamtest.Status(400, openaiWords))
		wantError(t, r.post(strings.Replace(plainBody, "100", "999999", 1)), 400, "invalid_request_error", openaiWords)
		if sent := string(up.Last().Body); !strings.Contains(sent, field) {
			t.Errorf("%s: upstream got %s", wire, sent)
		}
	}
}

// What Cline reads of a stream over a Claude node: text, reasoning, calls, usage with cached tokens in a chunk without choices;
// and its cache marks reach the upstream (D48).
func TestD48_Cline(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a", modelMap(map[string]string{"m": "claude-m"}))
	up.Default(upstreamtest.Reply(upstreamtest.Thinking("sig", "hmm"), upstreamtest.Text("Hello"), upstreamtest.ToolUse("toolu_1", "f", `{"a":`, `1}`)).
		Usage(upstreamtest.Usage{Input: 10, Output: 5, CacheRead: 7}))
	got := r.do("POST", chatPath, `{"model":"m","stream":true,"stream_options":{"include_usage":true},"tools":[{"type":"function","function":{"name":"f"}}],
		"messages":[{"role":"system","content":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]}`)
	for _, want := range []string{`"reasoning_content":"hmm"`, `"content":"Hello"`, `"name":"f"`, `"prompt_tokens":17`, `"cached_tokens":7`, `"choices":[],"usage":{`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %s in %s", want, got.body)
		}
	}
	if n := strings.Count(string(up.Last().Body), `"cache_control":{"type":"ephemeral"}`); n != 2 {
		t.Errorf("%d cache marks in %s", n, up.Last().Body)
	}
}

// A fake that demands a model which it never gets would hide that the map is applied.
func TestD20_BackgroundModelsAreMapped(t *testing.T) {
	r := newRig(t)
	up := r.fakeOpenAI("a", "chat")
	r.editAccount(func(a *core.Account) { a.ModelMap = map[string]string{"claude-haiku-*": "small", "claude-*": "large"} })
	for model, want := range map[string]string{"claude-haiku-4-5-20251001": "small", "claude-opus-5-5[1m]": "large"} {
		got := r.post(strings.Replace(plainBody, "claude-x", model, 1))
		if got.status != 200 || up.Last().Model() != want || !strings.Contains(got.body, `"model":"`+model+`"`) {
			t.Errorf("%s: got %d, upstream was asked for %q: %s", model, got.status, up.Last().Model(), got.body)
		}
	}
}

// Where no node counts, the gateway estimates and says so.
func TestD21_CountTokensIsEstimatedWhereNoNodeCounts(t *testing.T) {
	const path = "/v1/messages/count_tokens"
	r := newRig(t)
	up := r.fakeOpenAI("a", "chat")
	long := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 100) // 10 tokens each, as the vocabulary of cl100k_base counts them
	got := r.do("POST", path, `{"model":"m","system":"be brief","messages":[{"role":"user","content":"`+long+`"}],"tools":[{"name":"f","description":"finds","input_schema":{"type":"object"}}]}`)
	var n struct {
		Input int `json:"input_tokens"`
	}
	if err := json.Unmarshal([]byte(got.body), &n); err != nil || got.status != 200 || got.header.Get("X-Sluice-Estimate") != "input_tokens" {
		t.Fatalf("got %d %v %s", got.status, got.header, got.body)
	}
	if n.Input < 1000 || n.Input > 1500 {
		t.Errorf("%d tokens of a text of 1,000 with a tool", n.Input)
	}
	wantError(t, r.do("POST", path, `{"model":"m"}`), 400, "invalid_request_error", "messages")
	if up.Count() != 0 {
		t.Error("the OpenAI node was asked")
	}
	r.fakeNode("b")
	if got := r.do("POST", path, strings.Replace(plainBody, "claude-x", "claude-sonnet-5-5", 1)); got.status != 200 || got.header.Get("X-Sluice-Estimate") != "" {
		t.Errorf("a node that counts was not asked: %d %s", got.status, got.body)
	}
}

// A stream that breaks off ends with an error of the client's dialect, never cleanly (D12, D33, D41).
func TestCutStreamsOfOtherDialects(t *testing.T) {
	for _, wire := range []string{"anthropic", "chat", "responses"} {
		for _, c := range []struct{ path, body, want, never string }{
			{"/v1/messages", streamBody, "event: error", "message_stop"},
			{chatPath, chatStream, `data: {"error":`, "[DONE]"},
			{responsesPath, responsesStream, "event: response.failed", "response.completed"},
		} {
			t.Run(c.path+" over "+wire, func(t *testing.T) {
				r := newRig(t)
				b := upstreamtest.Events(20).Cut(upstreamtest.AfterDeltas(10), upstreamtest.EndReset)
				if wire == "anthropic" {
					r.fakeNode("a").Default(b)
				} else {
					r.fakeOpenAI("a", wire, modelMap(map[string]string{"claude-x": "x"})).Default(b)
				}
				got := r.do("POST", c.path, c.body)
				if !strings.Contains(got.body, c.want) || strings.Contains(got.body, c.never) {
					t.Errorf("got %s", tail(got.body))
				}
				rec := r.record()
				if rec.ErrorCode != "stream_cut" || !rec.Estimated || rec.Tokens.Output == 0 {
					t.Errorf("recorded %+v", rec)
				}
			})
		}
	}
}
