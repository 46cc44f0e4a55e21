package upstreamtest_test

import (
	"net/http"
	"strings"
	"testing"

	. "sluice/shared/upstream/upstreamtest"
)

const (
	chatUser  = `{"role":"user","content":"hi"}`
	chatCall1 = `{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}`
	chatTool1 = `{"role":"tool","tool_call_id":"c1","content":"x"}`
	open      = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`
	closed    = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`
)

type refusal struct{ body, param, code, message string } // no message: accepted

func checkRefusals(t *testing.T, path string, cases []refusal) {
	t.Helper()
	o := NewOpenAI(t)
	o.Queue(Reply(Text("queued")))
	for _, c := range cases {
		got := do(t, openAIRequest(t, o, http.MethodPost, path, c.body))
		if c.message == "" {
			if got.StatusCode != 200 {
				t.Errorf("%s: got %d %s", c.body, got.StatusCode, got.body)
			}
			o.Queue(Reply(Text("queued")))
			continue
		}
		var body struct {
			Error struct{ Type, Param, Code, Message string }
		}
		decode(t, got.body, &body)
		e := body.Error
		if got.StatusCode != 400 || e.Type != "invalid_request_error" || e.Param != c.param || e.Code != c.code || !strings.Contains(e.Message, c.message) {
			t.Errorf("%s: got %d %+v", c.body, got.StatusCode, e)
		}
	}
	if o.Queued() != 1 {
		t.Error("a refused request took a behaviour from the queue")
	}
}

func TestChatRefusals(t *testing.T) {
	chat := func(model, more string) string {
		return `{"model":"` + model + `","messages":[` + chatUser + `]` + more + `}`
	}
	talk := func(messages ...string) string {
		return `{"model":"gpt-4o","messages":[` + strings.Join(messages, ",") + `]}`
	}
	fn := func(members string) string {
		return chat("gpt-4o", `,"tools":[{"type":"function","function":{"name":"f"`+members+`}}]`)
	}
	format := func(schema, strict string) string {
		return chat("gpt-4o", `,"response_format":{"type":"json_schema","json_schema":{"name":"s","strict":`+strict+`,"schema":`+schema+`}}`)
	}
	long := strings.Repeat("x", 41)
	checkRefusals(t, chatPath, []refusal{
		{``, "", "", "could not parse the JSON body"},
		{`[]`, "", "", "could not parse the JSON body"},
		{`{}`, "", "", "you must provide a model parameter"},
		{`{"model":3,"messages":[]}`, "model", "invalid_type", "expected a string, but got an integer"},
		{`{"model":"m"}`, "messages", "missing_required_parameter", "Missing required parameter: 'messages'."},
		{`{"model":"m","messages":[]}`, "messages", "empty_array", "empty array"},
		{`{"model":"m","messages":"hi"}`, "messages", "invalid_type", "expected an array, but got a string"},
		{chat("m", `,"system":"x"`), "system", "unknown_parameter", "Unknown parameter: 'system'."},
		{chat("m", `,"stop_sequences":["x"]`), "stop_sequences", "unknown_parameter", "Unknown parameter"},
		{chat("m", `,"cache_control":null`), "cache_control", "unknown_parameter", "Unknown parameter"},
		{talk(`{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}`), "messages[0].content[0].cache_control", "unknown_parameter", "Unknown parameter: 'messages[0].content[0].cache_control'."},
		{talk(`{"role":"user","content":"x","cache_control":{}}`), "messages[0].cache_control", "unknown_parameter", "Unknown parameter"},
		{fn(`,"cache_control":{}`), "tools[0].function.cache_control", "unknown_parameter", "Unknown parameter"},
		{chat("m", `,"tools":[{"name":"f","input_schema":{}}]`), "tools[0].type", "missing_required_parameter", "Missing required parameter: 'tools[0].type'."},
		{chat("m", `,"tools":[{"type":"function","name":"f"}]`), "tools[0].name", "unknown_parameter", "Unknown parameter"},
		{talk(`{"role":"user","content":[{"type":"image","source":{}}]}`), "messages[0].content[0].type", "invalid_value", "Supported values are: 'text', 'image_url'"},
		{talk(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}`), "messages[0].content[0].image_url.url", "invalid_value", "valid URL"},
		{talk(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"text","text":"x"}]}`), "", "", ""},
		{talk(`{"role":"model","content":"x"}`), "messages[0].role", "invalid_value", "Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."},
		{talk(`{"role":"user","content":null}`), "messages[0].content", "invalid_type", "expected a string, got null"},
		{talk(`{"role":"developer","content":"x"}`, chatUser, chatCall1, chatTool1, chatUser), "", "", ""},
		{talk(chatUser, chatTool1), "messages.[1].role", "", "must be a response to a preceeding message with 'tool_calls'"},
		{talk(chatCall1, chatUser, chatTool1), "messages.[1]", "", "did not have response messages: c1"},
		{talk(chatCall1), "messages", "", "did not have response messages: c1"},
		{talk(chatCall1, chatTool1, chatTool1), "messages.[2].role", "", "preceeding message"},
		{talk(strings.ReplaceAll(chatCall1, "c1", long), chatTool1), "messages[0].tool_calls[0].id", "string_above_max_length", "maximum length 40, but got a string with length 41"},
		{talk(chatCall1, strings.ReplaceAll(chatTool1, "c1", long)), "messages[1].tool_call_id", "string_above_max_length", "maximum length 40"},
		{talk(`{"role":"assistant","content":[{"type":"tool_use","id":"x"}]}`), "messages[0].content[0].type", "invalid_value", "Supported values are: 'text' and 'refusal'."},
		{chat("gpt-5.5", `,"max_tokens":9`), "max_tokens", "unsupported_parameter", "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."},
		{chat("o3", `,"max_tokens":9`), "max_tokens", "unsupported_parameter", "not supported"},
		{chat("gpt-4o", `,"max_tokens":9`), "", "", ""},
		{chat("gpt-6-sol", `,"max_completion_tokens":9,"temperature":1.0,"reasoning_effort":"high"`), "", "", ""},
		{chat("gpt-6-sol", `,"temperature":0.7`), "temperature", "unsupported_value", "'temperature' does not support 0.7 with this model. Only the default (1) value is supported."},
		{chat("gpt-4o", `,"temperature":0.7`), "", "", ""},
		{chat("gpt-4o", `,"temperature":2.5`), "temperature", "decimal_above_max_value", "Expected a value <= 2, but got 2.5"},
		{chat("gpt-4o", `,"temperature":"1"`), "temperature", "invalid_type", "expected a decimal"},
		{chat("gpt-4o", `,"max_completion_tokens":0`), "max_completion_tokens", "integer_below_min_value", "Expected a value >= 1, but got 0"},
		{chat("gpt-4o", `,"reasoning_effort":"high"`), "", "", "Unrecognized request argument supplied: reasoning_effort"},
		{chat("gpt-6-sol", `,"reasoning_effort":"huge"`), "reasoning_effort", "invalid_value", "Invalid value: 'huge'."},
		{chat("gpt-4o", `,"stop":["a","b","c","d"]`), "", "", ""},
		{chat("gpt-4o", `,"stop":["a","b","c","d","e"]`), "stop", "array_above_max_length", "maximum length 4, but got an array with length 5"},
		{chat("gpt-4o", `,"stream_options":{"include_usage":true}`), "stream_options", "", "only allowed when 'stream' is enabled"},
		{chat("gpt-4o", `,"stream":"yes"`), "stream", "invalid_type", "expected a boolean"},
		{chat("gpt-4o", `,"tool_choice":"auto"`), "tool_choice", "", "only allowed when 'tools' are specified"},
		{chat("gpt-4o", `,"parallel_tool_calls":true`), "parallel_tool_calls", "", "only allowed when 'tools' are specified"},
		{fn(``), "", "", ""},
		{fn(`,"parameters":` + open), "", "", ""},
		{fn(`,"parameters":{"type":"object"}`), "tools[0].function.parameters", "invalid_function_parameters", "object schema missing properties"},
		{fn(`,"parameters":{}`), "tools[0].function.parameters", "invalid_function_parameters", `got 'type: "None"'`},
		{fn(`,"strict":true,"parameters":` + closed), "", "", ""},
		{fn(`,"strict":true,"parameters":` + open), "tools[0].function.parameters", "invalid_function_parameters", "'additionalProperties' is required to be supplied and to be false"},
		{strings.Replace(fn(``), `"name":"f"`, `"name":"a.b"`, 1), "tools[0].function.name", "invalid_value", "does not match pattern"},
		{strings.Replace(fn(``), `"name":"f"`, `"name":"`+strings.Repeat("x", 65)+`"`, 1), "tools[0].function.name", "string_above_max_length", "maximum length 64"},
		{format(closed, "true"), "", "", ""},
		{format(open, "false"), "", "", ""},
		{format(open, "true"), "response_format", "", "Invalid schema for response_format 's': In context=(), 'additionalProperties'"},
		{format(strings.Replace(closed, `["a"]`, `[]`, 1), "true"), "response_format", "", "Missing 'a'."},
		{format(strings.Replace(closed, `{"type":"string"}`, `{"type":"array","items":`+open+`}`, 1), "true"), "response_format", "", "In context=('properties', 'a', 'items'), 'additionalProperties'"},
		{chat("gpt-4o", `,"response_format":{"type":"json_schema"}`), "response_format.json_schema", "missing_required_parameter", "Missing required parameter"},
		{chat("gpt-4o", `,"response_format":{"type":"json_object"}`), "messages", "", "must contain the word 'json'"},
	})
}

func TestResponseRefusals(t *testing.T) {
	ask := func(more string) string { return `{"model":"gpt-6-sol","input":"hi"` + more + `}` }
	input := func(items ...string) string {
		return `{"model":"gpt-6-sol","input":[` + strings.Join(items, ",") + `]}`
	}
	const call, output = `{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}`, `{"type":"function_call_output","call_id":"c1","output":"x"}`
	checkRefusals(t, responsePath, []refusal{
		{`{}`, "model", "missing_required_parameter", "Missing required parameter: 'model'."},
		{`{"model":"m"}`, "input", "missing_required_parameter", "must be provided"},
		{`{"model":"m","input":3}`, "input", "invalid_type", "expected an array, but got an integer"},
		{`{"model":"m","previous_response_id":"resp_1"}`, "", "", ""},
		{ask(`,"previous_response_id":"msg_1"`), "previous_response_id", "invalid_value", "begins with 'resp'"},
		{`{"model":"m","messages":[]}`, "", "unsupported_parameter", "this parameter has moved to 'input'"},
		{ask(`,"max_tokens":9`), "", "unsupported_parameter", "moved to 'max_output_tokens'"},
		{ask(`,"system":"x"`), "system", "unknown_parameter", "Unknown parameter: 'system'."},
		{ask(`,"max_output_tokens":15`), "max_output_tokens", "integer_below_min_value", "Expected a value >= 16, but got 15"},
		{ask(`,"temperature":0.5`), "temperature", "unsupported_parameter", "not supported with this model"},
		{`{"model":"gpt-4o","input":"x","temperature":0.5}`, "", "", ""},
		{`{"model":"gpt-4o","input":"x","reasoning":{"effort":"low"}}`, "reasoning.effort", "unsupported_parameter", "not supported with this model"},
		{`{"model":"gpt-4o","input":"x","include":["reasoning.encrypted_content"]}`, "include", "", "Encrypted content is not supported"},
		{ask(`,"stream":true,"stream_options":{"include_usage":true}`), "stream_options.include_usage", "unknown_parameter", "Unknown parameter"},
		{input(chatUser, `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"x"}]}`), "", "", ""},
		{input(`{"role":"assistant","content":[{"type":"input_text","text":"x"}]}`), "input[0].content[0].type", "invalid_value", "Supported values are: 'output_text' and 'refusal'."},
		{input(`{"role":"user","content":[{"type":"text","text":"x"}]}`), "input[0].content[0].type", "invalid_value", "Invalid value: 'text'."},
		{input(`{"role":"user","content":[{"type":"input_text","text":"x","cache_control":{}}]}`), "input[0].content[0].cache_control", "unknown_parameter", "Unknown parameter"},
		{input(`{"role":"tool","content":"x"}`), "input[0].role", "invalid_value", "Supported values are: 'assistant', 'system', 'developer', and 'user'."},
		{input(`{"type":"odd"}`), "input[0].type", "invalid_value", "Invalid value: 'odd'."},
		{input(call, output, `{"type":"reasoning","summary":[],"encrypted_content":"x"}`, chatUser), "", "", ""},
		{input(output), "input", "", "No tool call found for function call output with call_id c1."},
		{input(call), "input", "", "No tool output found for function call c1."},
		{strings.Replace(input(output), `"input"`, `"previous_response_id":"resp_1","input"`, 1), "", "", ""},
		{input(strings.Replace(call, `{"type"`, `{"id":"call_1","type"`, 1), output), "input[0].id", "invalid_value", "begins with 'fc'"},
		{input(strings.ReplaceAll(call, "c1", strings.Repeat("x", 65)), output), "input[0].call_id", "string_above_max_length", "maximum length 64"},
		{ask(`,"tools":[{"type":"function","function":{"name":"f"}}]`), "tools[0].name", "missing_required_parameter", "Missing required parameter: 'tools[0].name'."},
		{ask(`,"tools":[{"type":"function","name":"f","cache_control":{}}]`), "tools[0].cache_control", "unknown_parameter", "Unknown parameter"},
		{ask(`,"tools":[{"type":"function","name":"f","strict":true,"parameters":` + open + `}]`), "tools[0].parameters", "invalid_function_parameters", "'additionalProperties'"},
		{ask(`,"tools":[{"type":"odd"}]`), "tools[0].type", "invalid_value", "Invalid value: 'odd'."},
		{ask(`,"tools":[{"type":"custom","name":"p","format":{"type":"grammar"}},{"type":"local_shell"},{"type":"web_search"}],"tool_choice":"auto","parallel_tool_calls":false`), "", "", ""},
		{ask(`,"text":{"verbosity":"low","format":{"type":"json_schema","name":"codex_output_schema","strict":true,"schema":` + closed + `}}`), "", "", ""},
		{ask(`,"text":{"format":{"type":"json_schema","name":"s","strict":true,"schema":` + open + `}}`), "text.format.schema", "invalid_json_schema", "'additionalProperties'"},
	})
}

// Bodies nobody would send must not break the fake.
func FuzzOpenAIChecks(f *testing.F) {
	for _, seed := range []string{chatPlain, respStream, `{"model":"m","messages":[{"role":"user","content":[{}]}],"tools":[{"type":"function","function":3}]}`,
		`{"model":"m","input":[null,{"type":"function_call"}],"text":{"format":[]},"reasoning":1}`, `{"model":"m","messages":[null]}`} {
		f.Add(seed)
	}
	o := NewOpenAI(f, WithoutRecording())
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{chatPath, responsePath} {
			if got := do(t, openAIRequest(t, o, http.MethodPost, path, body)); got.Response == nil {
				t.Errorf("%s: %v", path, got.err)
			}
		}
	})
}
