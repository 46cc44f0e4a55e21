package gateway_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/upstreamtest"
)

// What bedrock_test.go shows for one route is shown here for each, and what its rows leave open.

// everyRoute are the three by which Anthropic's JSON goes, and Converse.
func everyRoute() []bedrockRoute {
	return append(slices.Clone(bedrockRoutes), bedrockRoute{"Converse", "converse", func(*core.Node) {}, "us.anthropic.claude-opus-5-5", "bedrock-runtime", "bedrock"})
}

// sse tells whether answers are server-sent events, which name Anthropic's types of errors.
func (br *bedrockRoute) sse() bool { return br.api == "" || br.api == "messages" }

// TestBedrockMatrix_ByteTruthOfMore is what Claude Code of today sends besides the rows of the matrix.
func TestBedrockMatrix_ByteTruthOfMore(t *testing.T) {
	const used = `{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"city":"Ulm"}}`
	picture, page := `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`+pixel+`"}}`, `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQK"}}`
	turns := func(before, result string) string {
		return `"max_tokens":4000,"tools":[` + weatherTool + `],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[` + before + used + `]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":` + result + `}]}]`
	}
	marked := `{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}`
	text := upstreamtest.Reply(upstreamtest.Text("Hel", "lo"))
	rows := []bedrockRow{
		{name: "a picture and a PDF in a result", rest: turns("", `[`+picture+`,`+page+`]`), reply: text},
		{name: "a failed result", rest: turns("", `"no such city","is_error":true`), reply: text},
		{name: "redacted thinking", rest: `"thinking":{"type":"enabled","budget_tokens":2000},` + turns(`{"type":"redacted_thinking","data":"ZGF0YQ=="},`, `"sunny"`),
			reply: upstreamtest.Reply(upstreamtest.RedactedThinking("ZGF0YQ=="), upstreamtest.Text("ok")), has: []string{"redacted_thinking", "ZGF0YQ=="}},
		{name: "adaptive thinking with an effort", rest: `"thinking":{"type":"adaptive"},"output_config":{"effort":"high"},` + bedrockRest, reply: upstreamtest.Reply(upstreamtest.Thinking("c2ln", "hm"), upstreamtest.Text("ok")), has: []string{"c2ln"}},
		{name: "marks without a time, four of them", rest: `"max_tokens":100,"system":[` + marked + `,` + marked + `],"messages":[{"role":"user","content":[` + marked + `,` + marked + `]}]`, reply: text},
		{name: "one tool at a time", rest: bedrockRest + `,"tools":[` + weatherTool + `],"tool_choice":{"type":"any","disable_parallel_tool_use":true}`, reply: upstreamtest.Reply(upstreamtest.ToolUse("toolu_1", "get_weather", `{}`)), has: []string{"toolu_1"}},
		{name: "a call without input", rest: bedrockRest + `,"tools":[` + timeTool + `]`, reply: upstreamtest.Reply(upstreamtest.ToolUse("toolu_1", "get_time")), has: []string{"toolu_1"}},
	}
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		r := newBedrockRig(t, nil)
		r.bedrock("b", br.api, br.edit)
		for _, row := range rows {
			t.Run(br.name+"/"+row.name, func(t *testing.T) {
				for _, stream := range []bool{true, false} {
					r.checkRow(t, br, &row, stream)
				}
			})
		}
		if refused := r.up.Refused(); len(refused) > 0 {
			t.Errorf("%s: the fake refused: %q", br.name, refused)
		}
	}
}

// TestBedrockMatrix_CacheRecorded: cache writes of both times are billed as what they are, on each route, streamed and whole.
func TestBedrockMatrix_CacheRecorded(t *testing.T) {
	used := upstreamtest.Usage{Input: 12, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Output: 6}
	want := core.Tokens{Input: 12, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Output: 6}
	rest := strings.Replace(bedrockRest, `"hi"`, `[{"type":"text","text":"hi","cache_control":{"type":"ephemeral","ttl":"1h"}}]`, 1)
	for _, br := range everyRoute() {
		for _, stream := range []bool{true, false} {
			r := newBedrockRig(t, nil)
			r.bedrock("b", br.api, br.edit)
			r.up.Default(upstreamtest.Reply(upstreamtest.Text("a")).Usage(used))
			if got := r.post(bedrockAsk(bedrockModel, rest, stream)); got.status != 200 {
				t.Fatalf("%s: status %d: %s", br.name, got.status, got.body)
			}
			if rec := r.record(); rec.Tokens != want || rec.Estimated || rec.Unpriced || rec.CostUSD == 0 || !rec.Success() {
				t.Errorf("%s, streamed %v: recorded %+v", br.name, stream, rec)
			}
		}
	}
}

// TestBedrockMatrix_CacheTTLOfOlderModels: a model that has no hour's cache gets every mark, without its time, and the client
// is told so. The fake refuses the request were a time left.
func TestBedrockMatrix_CacheTTLOfOlderModels(t *testing.T) {
	const mark, kept = `"cache_control":{"type":"ephemeral","ttl":"1h"}`, `"cache_control":{"type":"ephemeral"}`
	const rest = `"max_tokens":100,"system":[{"type":"text","text":"Rules.",` + mark + `}],"tools":[{"name":"t","input_schema":{"type":"object"},` + mark + `}],` +
		`"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"t","input":{}}]},` +
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"x",` + mark + `}]},{"type":"text","text":"y",` + mark + `}]}]`
	for i := range bedrockRoutes {
		br := bedrockRoutes[i]
		t.Run(br.name, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			br.model = "us.anthropic.claude-sonnet-4-20250514-v1:0"
			model := upstreamtest.BedrockModel{ID: "anthropic.claude-sonnet-4-20250514-v1:0", Profiles: []string{"us"}, Caches: true}
			if br.name == "mantle" {
				br.model, model.ID, model.Mantle = "anthropic.claude-sonnet-4", "anthropic.claude-sonnet-4", true
			}
			r.up.SetModels(model)
			r.bedrock("b", br.api, br.edit)
			for _, stream := range []bool{true, false} {
				got := r.post(bedrockAsk("claude-sonnet-4-20250514", rest, stream))
				if got.status != 200 {
					t.Fatalf("status %d: %s\nrefused: %q", got.status, got.body, r.up.Refused())
				}
				dropped := strings.Split(got.header.Get("X-Sluice-Dropped"), ", ")
				slices.Sort(dropped)
				if want := []string{"messages[].content[].cache_control.ttl", "messages[].content[].content[].cache_control.ttl", "system[].cache_control.ttl", "tools[].cache_control.ttl"}; !slices.Equal(dropped, want) {
					t.Errorf("dropped %q, want %q", dropped, want)
				}
				if body, want := string(r.sawLast().Body), br.sends(strings.ReplaceAll(rest, mark, kept), stream); body != want {
					t.Errorf("the fake got %s\nwant %s", body, want)
				}
			}
		})
	}
}

// TestBedrockMatrix_WebSearchInEveryForm: by any of its names, chosen, called before, streamed and whole it is refused in the
// same words, and a node that has it serves it.
func TestBedrockMatrix_WebSearchInEveryForm(t *testing.T) {
	const (
		older, newer = `{"type":"web_search_20250305","name":"web_search"}`, `{"type":"web_search_20260209","name":"web_search"}`
		chosen       = `,"tools":[` + older + `,` + timeTool + `],"tool_choice":{"type":"tool","name":"web_search"}`
		called       = `"max_tokens":100,"tools":[` + older + `,` + timeTool + `],"messages":[{"role":"user","content":"news?"},{"role":"assistant","content":[` +
			`{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"news"}},{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}]},{"role":"user","content":"and?"}]`
	)
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		for why, rest := range map[string]string{"alone": bedrockRest + `,"tools":[` + older + `]`, "a newer one": bedrockRest + `,"tools":[` + newer + `]`, "chosen": bedrockRest + chosen, "called before": called} {
			t.Run(br.name+"/"+why, func(t *testing.T) {
				r := newBedrockRig(t, nil)
				r.bedrock("b", br.api, br.edit)
				for _, stream := range []bool{true, false} {
					wantError(t, r.post(bedrockAsk(bedrockModel, rest, stream)), 400, "invalid_request_error", "web search is not available on Amazon Bedrock: use another model, or a search tool that the client runs")
				}
				if len(r.up.Calls()) != 0 {
					t.Error("the node was asked all the same")
				}
				r.fakeNode("anthropic", weight(2))
				wantStream(t, r.post(bedrockAsk(bedrockModel, rest, true)), "Hello there!")
			})
		}
	}
}

// TestBedrockMatrix_CountTokensOfAll: what is counted is what would be asked: pictures, tools, marks and thinking as the client
// wrote them, without what the node does not take.
func TestBedrockMatrix_CountTokensOfAll(t *testing.T) {
	const head = `"thinking":{"type":"enabled","budget_tokens":2000},"system":[{"type":"text","text":"Rules.","cache_control":{"type":"ephemeral","ttl":"1h"}}],"tools":[` + weatherTool + `],`
	const rest = head + `"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + pixel + `"}},{"type":"text","text":"what?"}]}]`
	for i := range bedrockRoutes {
		br := bedrockRoutes[i]
		t.Run(br.name, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			r.bedrock("b", br.api, br.edit)
			model := bedrockModel
			if br.invoke() {
				model = "claude-sonnet-4-5-20250929"
			}
			got := r.do("POST", "/v1/messages/count_tokens", bedrockAsk(model, `"speed":"fast",`+rest, false), "Anthropic-Beta", "files-api-2025-04-14")
			if got.status != 200 || !strings.Contains(got.body, `"input_tokens":`) || got.header.Get("X-Sluice-Estimate") != "" {
				t.Fatalf("status %d: %v %s\nrefused: %q", got.status, got.header, got.body, r.up.Refused())
			}
			dropped := strings.Split(got.header.Get("X-Sluice-Dropped"), ", ")
			slices.Sort(dropped)
			if !slices.Equal(dropped, []string{"beta:files-api-2025-04-14", "speed"}) {
				t.Errorf("dropped %q", dropped)
			}
			call := r.sawLast()
			body, want := string(call.Body), bedrockAsk(br.model, rest, false)
			if br.invoke() {
				var in struct {
					Input struct {
						InvokeModel struct{ Body []byte }
					}
				}
				decodeInto(t, body, &in)
				body, want = string(in.Input.InvokeModel.Body), invokeHead+rest+`,"max_tokens":2001}`
			}
			if body != want || call.Header.Get("Anthropic-Beta") != "" {
				t.Errorf("counted %s, flags %q\nwant %s", body, call.Header.Get("Anthropic-Beta"), want)
			}
		})
	}
}

// TestD27_BedrockMatrix: each stop reason and the whole usage reach the client, and the record, on each route.
func TestD27_BedrockMatrix(t *testing.T) {
	used := upstreamtest.Usage{Input: 12, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Output: 6}
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		r := newBedrockRig(t, nil)
		r.bedrock("b", br.api, br.edit)
		for _, stop := range []string{"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"} {
			blocks := []upstreamtest.Block{upstreamtest.Text("Hel", "lo")}
			if stop == "tool_use" {
				blocks = append(blocks, upstreamtest.ToolUse("toolu_1", "get_time", `{}`))
			}
			r.up.Default(upstreamtest.Reply(blocks...).Stop(stop).Usage(used))
			got := r.post(bedrockAsk(bedrockModel, bedrockRest+`,"tools":[`+timeTool+`]`, true))
			wantStream(t, got, "Hello")
			told, final := anthropicTold(t, got.body, true)
			if !final || told.input != 24 || told.read != 3 || told.write != 9 || told.output != 6 || !told.split || told.write1h != 5 || !strings.Contains(got.body, `"stop_reason":"`+stop+`"`) {
				t.Errorf("%s, %s: the client reads %+v: %s", br.name, stop, told, tail(got.body))
			}
			if recs := r.records(); !told.agrees(&recs[len(recs)-1]) || !recs[len(recs)-1].Success() {
				t.Errorf("%s, %s: recorded %+v", br.name, stop, recs[len(recs)-1])
			}
		}
	}
}

// TestBedrockMakers: the makers that the issue of Converse names, in each dialect of clients.
func TestBedrockMakers(t *testing.T) {
	for _, model := range []string{"us.amazon.nova-pro-v1:0", "us.meta.llama3-3-70b-instruct-v1:0", "deepseek.v3-v1:0", "qwen.qwen3-32b-v1:0"} {
		for _, c := range bedrockClients {
			for stream, word := range map[bool]string{true: "true", false: "false"} {
				r := newBedrockRig(t, nil)
				r.bedrock("b", "converse")
				r.up.Default(upstreamtest.Reply(upstreamtest.Text("Hel", "lo"), upstreamtest.ToolUse("toolu_7", "get_weather", `{"city":`, `"Ulm"}`)).Usage(upstreamtest.Usage{Input: 21, Output: 9}))
				body := strings.NewReplacer("MODEL", model, "STREAM", word, "OPTIONS", "null").Replace(c.body)
				got := r.do("POST", c.path, body)
				if got.status != 200 || stream && !strings.Contains(got.body, c.end) {
					t.Fatalf("%s, %s: status %d: %s\nrefused: %q", model, c.name, got.status, tail(got.body), r.up.Refused())
				}
				for _, has := range c.calls {
					if !strings.Contains(got.body, has) {
						t.Errorf("%s, %s: no %s in %s", model, c.name, has, got.body)
					}
				}
				if rec := r.record(); r.sawLast().ModelID != model || rec.Tokens != (core.Tokens{Input: 21, Output: 9}) || !rec.Success() {
					t.Errorf("%s, %s: the fake saw %s, recorded %+v", model, c.name, r.sawLast().ModelID, rec)
				}
			}
		}
	}
}

// TestBedrockMakers_Marks: a model that has no cache gets no marks, one that has no hour's cache none with a time, neither gets
// flags of Anthropic's, which the service refuses for them; and all that is named (portkey docs-core#1025).
func TestBedrockMakers_Marks(t *testing.T) {
	const rest = `"max_tokens":100,"system":[{"type":"text","text":"Rules.","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]`
	for model, c := range map[string]struct {
		dropped string
		points  int
	}{
		"us.amazon.nova-pro-v1:0":                      {"cache_control.ttl", 2},
		"us.anthropic.claude-sonnet-4-20250514-v1:0":   {"cache_control.ttl", 2},
		"us.anthropic.claude-sonnet-4-5-20250929-v1:0": {"", 2},
		"anthropic.claude-3-haiku-20240307-v1:0":       {"cache_control", 0}, // the service has a 403 for it, which rested the node
		"claude-opus-5-5":                              {"", 2},              // by the ARN of a profile, which does not tell it
		"us.meta.llama3-3-70b-instruct-v1:0":           {"cache_control", 0},
		"deepseek.v3-v1:0":                             {"cache_control", 0},
		"qwen.qwen3-32b-v1:0":                          {"cache_control", 0},
	} {
		r := newBedrockRig(t, nil)
		r.bedrock("b", "converse", modelMap(map[string]string{"claude-opus-5-5": "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/opus55app001"}))
		got := r.post(bedrockAsk(model, rest, true), "Anthropic-Beta", "context-1m-2025-08-07")
		if got.status != 200 {
			t.Errorf("%s: status %d: %s\nrefused: %q", model, got.status, got.body, r.up.Refused())
			continue
		}
		dropped := strings.Split(got.header.Get("X-Sluice-Dropped"), ", ")
		slices.Sort(dropped)
		want := []string{"beta:context-1m-2025-08-07"}
		if c.dropped != "" {
			want = append(want, c.dropped)
		}
		if !slices.Equal(dropped, want) {
			t.Errorf("%s: dropped %q, want %q", model, dropped, want)
		}
		if body := string(r.sawLast().Body); strings.Count(body, `"cachePoint"`) != c.points || strings.Contains(body, `"ttl":"1h"`) != (c.dropped == "") || strings.Contains(body, "context-1m") {
			t.Errorf("%s: the fake got %s", model, body)
		}
	}
}

// heard is a way out that answers in OpenAI's form, and keeps what it was asked.
type heard struct{ asked []*http.Request }

func (h *heard) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	h.asked = append(h.asked, r)
	body := `{"id":"c","object":"chat.completion","model":"openai.gpt-oss-120b-1:0","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`
	if strings.HasSuffix(r.URL.Path, "/responses") {
		body = `{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}`
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// TestBedrockOpenAI: the OpenAI-compatible endpoints are nodes of kind openai: their path behind the base URL, the API key as a
// bearer token, and any client's dialect.
func TestBedrockOpenAI(t *testing.T) {
	for _, c := range []struct{ base, wire, url string }{
		{"https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1", "chat", "https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1/chat/completions"},
		{"https://bedrock-mantle.us-west-2.api.aws/v1", "chat", "https://bedrock-mantle.us-west-2.api.aws/v1/chat/completions"},
		{"https://bedrock-mantle.us-west-2.api.aws/v1", "responses", "https://bedrock-mantle.us-west-2.api.aws/v1/responses"},
		{"https://bedrock-mantle.us-west-2.api.aws/openai/v1", "responses", "https://bedrock-mantle.us-west-2.api.aws/openai/v1/responses"},
	} {
		for _, q := range []struct{ path, body string }{
			{"/v1/messages", bedrockAsk("openai.gpt-oss-120b-1:0", bedrockRest, false)},
			{chatPath, strings.Replace(chatPlain, `"m"`, `"openai.gpt-oss-120b-1:0"`, 1)},
			{responsesPath, strings.Replace(responsesPlain, `"m"`, `"openai.gpt-oss-120b-1:0"`, 1)},
		} {
			out := &heard{}
			r := newRigVia(t, memory.New(), nil, &upstream.Transports{Guarded: out, Operator: out})
			r.node("b", c.base, openaiNode(c.wire), r.credential("bedrock-api-key-of-this-test"))
			got := r.do("POST", q.path, q.body)
			if got.status != 200 || !strings.Contains(got.body, `"Hi"`) {
				t.Fatalf("%s, %s: status %d: %s", c.url, q.path, got.status, got.body)
			}
			if len(out.asked) != 1 || out.asked[0].URL.String() != c.url || out.asked[0].Header.Get("Authorization") != "Bearer bedrock-api-key-of-this-test" {
				t.Errorf("%s, %s: asked %d times, %v", c.url, q.path, len(out.asked), out.asked[0].URL)
			}
			if rec := r.record(); rec.Tokens != (core.Tokens{Input: 3, Output: 4}) {
				t.Errorf("%s, %s: recorded %+v", c.url, q.path, rec.Tokens)
			}
		}
	}
}
