package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// bedrockClients are requests with tools in each dialect, and how a client reads the answer's text and calls.
var bedrockClients = []struct {
	name, path, body string // MODEL and STREAM stand for what they say
	texts, calls     []string
	end              string // of a stream
}{
	{"messages", "/v1/messages", `{"model":"MODEL","max_tokens":500,"stream":STREAM,"system":"Rules.","tools":[` + weatherTool + `],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"city":"Ulm"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"sunny"}]}]}`,
		[]string{`"Hel`, `lo"`}, []string{`"type":"tool_use"`, `toolu_7`}, "event: message_stop"},
	{"chat", chatPath, `{"model":"MODEL","max_tokens":500,"stream":STREAM,"stream_options":OPTIONS,"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}],"messages":[{"role":"system","content":"Rules."},{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"toolu_1","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"Ulm\"}"}}]},{"role":"tool","tool_call_id":"toolu_1","content":"sunny"}]}`,
		[]string{`"content":"Hel`}, []string{`"tool_calls"`, `toolu_7`}, "data: [DONE]"},
	{"responses", responsesPath, `{"model":"MODEL","max_output_tokens":500,"stream":STREAM,"instructions":"Rules.","tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}],"input":[{"role":"user","content":"hi"},{"type":"function_call","call_id":"toolu_1","name":"get_weather","arguments":"{\"city\":\"Ulm\"}"},{"type":"function_call_output","call_id":"toolu_1","output":"sunny"}]}`,
		[]string{`Hel`}, []string{`"function_call"`, `toolu_7`}, "event: response.completed"},
}

// TestBedrockPairs: every client over every wire: Nova and the like by Converse, Claude by all three.
func TestBedrockPairs(t *testing.T) {
	used := upstreamtest.Usage{Input: 21, CacheRead: 4, CacheWrite5m: 5, Output: 9}
	reply := upstreamtest.Reply(upstreamtest.Text("Hel", "lo"), upstreamtest.ToolUse("toolu_7", "get_weather", `{"city":`, `"Ulm"}`)).Usage(used)
	for _, node := range []struct{ api, model, sees, operation string }{
		{"converse", "amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0", "Converse"},
		{"converse", "deepseek.v3-v1:0", "deepseek.v3-v1:0", "Converse"},
		{"converse", bedrockModel, "us.anthropic.claude-opus-5-5", "Converse"},
		{"messages", bedrockModel, "anthropic.claude-opus-5-5", "Messages"},
		{"invoke", bedrockModel, "us.anthropic.claude-opus-5-5", "InvokeModel"},
	} {
		for _, c := range bedrockClients {
			for _, stream := range []bool{true, false} {
				t.Run(node.api+"/"+node.model+"/"+c.name+map[bool]string{true: " streamed", false: " whole"}[stream], func(t *testing.T) {
					r := newBedrockRig(t, nil)
					r.bedrock("b", node.api)
					r.up.Default(reply)
					body := strings.NewReplacer("MODEL", node.model, "STREAM", map[bool]string{true: "true", false: "false"}[stream],
						"OPTIONS", map[bool]string{true: `{"include_usage":true}`, false: "null"}[stream]).Replace(c.body)
					got := r.do("POST", c.path, body, "Anthropic-Beta", "files-api-2025-04-14")
					if got.status != 200 || got.err != nil {
						t.Fatalf("status %d: %s\nrefused: %q", got.status, tail(got.body), r.up.Refused())
					}
					call := r.sawLast()
					if call.ModelID != node.sees || !strings.HasPrefix(call.Operation, node.operation) {
						t.Errorf("the fake saw %s %s", call.Operation, call.ModelID)
					}
					for _, has := range append(c.calls, `"`+node.model+`"`) {
						if !strings.Contains(got.body, has) {
							t.Errorf("no %s in %s", has, got.body)
						}
					}
					if stream && (!strings.Contains(got.body, c.end) || !strings.Contains(got.body, c.texts[0])) {
						t.Errorf("no clean end: %s", tail(got.body))
					}
					want := core.Tokens{Input: 21, CacheRead: 4, CacheWrite5m: 5, Output: 9}
					if rec := r.record(); rec.Tokens != want || rec.Estimated || !rec.Success() || rec.ServedModel != node.sees {
						t.Errorf("recorded %+v", rec)
					}
				})
			}
		}
	}
}

// TestD27_BedrockConverse: the events that the gateway makes of Converse's are what Anthropic's clients want, with every kind of
// usage and each stop reason.
func TestD27_BedrockConverse(t *testing.T) {
	for stop, want := range map[string]string{"end_turn": "end_turn", "max_tokens": "max_tokens", "stop_sequence": "stop_sequence", "tool_use": "tool_use",
		"content_filtered": "refusal", "guardrail_intervened": "refusal", "model_context_window_exceeded": "max_tokens"} {
		r := newBedrockRig(t, nil)
		r.bedrock("b", "converse")
		blocks := []upstreamtest.Block{upstreamtest.Thinking("c2ln", "hm"), upstreamtest.Text("Hel", "lo")}
		if stop == "tool_use" {
			blocks = append(blocks, upstreamtest.ToolUse("toolu_1", "get_time", `{}`))
		}
		r.up.Default(upstreamtest.Reply(blocks...).Stop(stop).Usage(upstreamtest.Usage{Input: 10, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5}))
		const rest = `"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000},"tools":[` + timeTool + `],"messages":[{"role":"user","content":"hi"}]`
		got := r.post(bedrockAsk(bedrockModel, rest, true))
		wantStream(t, got, "Hello")
		es := parse(t, got.body)
		var last struct {
			Delta struct {
				Stop string `json:"stop_reason"`
			}
			Usage struct {
				Input  int64 `json:"input_tokens"`
				Read   int64 `json:"cache_read_input_tokens"`
				Write  int64 `json:"cache_creation_input_tokens"`
				Output int64 `json:"output_tokens"`
			}
		}
		for _, e := range es {
			if e.name == "message_delta" {
				if err := json.Unmarshal([]byte(e.data), &last); err != nil {
					t.Fatal(err)
				}
			}
		}
		if last.Delta.Stop != want && !(want == "max_tokens" && last.Delta.Stop == stop) {
			t.Errorf("%s: stop reason %q, want %q", stop, last.Delta.Stop, want)
		}
		if u := last.Usage; u.Input != 10 || u.Read != 2 || u.Write != 7 || u.Output != 5 {
			t.Errorf("%s: usage %+v in %s", stop, u, tail(got.body))
		}
		rec := r.record()
		if one := r.post(bedrockAsk(bedrockModel, rest, false)).body; !strings.Contains(one, `"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4`) { // a stream learns it behind its last place
			t.Errorf("%s: usage in %s", stop, one)
		}
		if n := names(es); !strings.HasPrefix(n, "start block_start block_delta") {
			t.Errorf("%s: events %s", stop, n)
		}
		if rec.Tokens != (core.Tokens{Input: 10, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5}) {
			t.Errorf("%s: recorded %+v", stop, rec.Tokens)
		}
	}
}
