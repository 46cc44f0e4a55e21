package responses_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
)

func txt(s string) translator.Block { return translator.Block{Text: translator.Quote(s)} }

func call(id, name, input string) translator.Block {
	return translator.Block{Type: translator.BlockToolUse, ID: id, Name: name, Input: []byte(input)}
}

func result(id string, blocks ...translator.Block) translator.Block {
	return translator.Block{Type: translator.BlockToolResult, ID: id, Content: blocks}
}

func user(blocks ...translator.Block) translator.Message { return translator.Message{Content: blocks} }

func assistant(blocks ...translator.Block) translator.Message {
	return translator.Message{Role: translator.RoleAssistant, Content: blocks}
}

// same reports whether got has the members of want, with equal values; a member that want has as null must be missing.
func same(t *testing.T, why string, got []byte, want string) {
	t.Helper()
	var g, w map[string]any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v: %s", why, err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: the wanted value: %v", why, err)
	}
	for k, v := range w {
		if !reflect.DeepEqual(g[k], v) {
			a, _ := json.Marshal(g[k])
			b, _ := json.Marshal(v)
			t.Errorf("%s: %s is %s, want %s", why, k, a, b)
		}
	}
}

func TestEncode(t *testing.T) {
	signature := translator.CarryReasoning("rs_1", []byte(`"ENC"`))
	long := strings.Repeat("i", 65)
	image := translator.Block{Type: translator.BlockImage, Media: translator.Media{MIME: "image/png", Data: []byte(`"AAAA"`)}}
	failed := result("c", txt("no such file"))
	failed.IsError = true
	customCall := call("c", "p", `{"input":"text\n"}`)
	customCall.Custom = true
	schema := func(s string) *translator.Format { return &translator.Format{Schema: []byte(s)} }
	for _, c := range []struct {
		why     string
		model   string
		same    bool
		r       translator.Request
		want    string
		dropped string
		tools   string
		enforce translator.Enforce
	}{
		{why: "the least", model: "gpt-4o", r: translator.Request{Messages: []translator.Message{user(txt("hi"))}},
			want: `{"model":"gpt-4o","store":false,"stream":null,"include":null,"tools":null,"reasoning":null,"text":null,"instructions":null,
				"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]}`},
		{why: "a system prompt, without the part that is new each time", r: translator.Request{Stream: true,
			System:   []translator.Block{txt("x-anthropic-billing-header: v=1"), txt("a"), txt("b")},
			Messages: []translator.Message{user(txt("u")), {Role: translator.RoleSystem, Content: []translator.Block{txt("s")}}}},
			want: `{"stream":true,"instructions":"a\n\nb","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"u"}]},
				{"type":"message","role":"developer","content":[{"type":"input_text","text":"s"}]}]}`},
		{why: "a system prompt alone is the user's", r: translator.Request{System: []translator.Block{txt("a")}},
			want: `{"instructions":null,"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]}]}`},
		{why: "a turn with thinking, text, calls and results; empty text is left out, foreign thinking, too",
			r: translator.Request{Messages: []translator.Message{
				assistant(translator.Block{Type: translator.BlockThinking, Text: []byte(`"deep"`), Signature: signature},
					translator.Block{Type: translator.BlockThinking, Text: []byte(`"claude"`), Signature: []byte(`"sig"`)},
					translator.Block{Type: translator.BlockRedacted, Signature: signature},
					txt(""), txt("t"), translator.Block{Text: []byte(`"no"`), Refusal: true}, call("c", "f", `{"a": 1}`), call(long, "g", `{}`)),
				user(result("c", txt("r"), txt("s")), result(long, txt(""), image), txt("next"), image),
			}},
			want: `{"input":[
				{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"deep"}],"encrypted_content":"ENC"},
				{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"ENC"},
				{"type":"message","role":"assistant","content":[{"type":"output_text","text":"t"},{"type":"refusal","refusal":"no"}]},
				{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\": 1}"},
				{"type":"function_call","call_id":"call_7db92d77e8b1d5ac593cd614244109b7","name":"g","arguments":"{}"},
				{"type":"function_call_output","call_id":"c","output":"r\n\ns"},
				{"type":"function_call_output","call_id":"call_7db92d77e8b1d5ac593cd614244109b7","output":[{"type":"input_image","detail":"auto","image_url":"data:image/png;base64,AAAA"}]},
				{"type":"message","role":"user","content":[{"type":"input_text","text":"next"},{"type":"input_image","detail":"auto","image_url":"data:image/png;base64,AAAA"}]}]}`},
		{why: "errors say so; an empty result is a string", r: translator.Request{Messages: []translator.Message{user(failed, result("d"))}},
			want: `{"input":[{"type":"function_call_output","call_id":"c","output":"Error: no such file"},{"type":"function_call_output","call_id":"d","output":""}]}`},
		{why: "what says that it is an error is left as it is; cache marks are named once", r: translator.Request{Messages: []translator.Message{user(
			translator.Block{Type: translator.BlockToolResult, ID: "a", IsError: true, Content: []translator.Block{txt("Error: x")}, CacheControl: []byte(`{}`)},
			translator.Block{Type: translator.BlockToolResult, ID: "b", IsError: true, Content: []translator.Block{txt("<tool_use_error>x")}, CacheControl: []byte(`{}`)},
			translator.Block{Type: translator.BlockToolResult, ID: "c", IsError: true},
			translator.Block{Type: translator.BlockToolResult, ID: "d", IsError: true, Content: []translator.Block{image}})}},
			want: `{"input":[{"type":"function_call_output","call_id":"a","output":"Error: x"},{"type":"function_call_output","call_id":"b","output":"<tool_use_error>x"},
				{"type":"function_call_output","call_id":"c","output":"Error: "},
				{"type":"function_call_output","call_id":"d","output":[{"type":"input_image","detail":"auto","image_url":"data:image/png;base64,AAAA"},{"type":"input_text","text":"Error"}]}]}`, dropped: "cache_control"},
		{why: "an empty document", r: translator.Request{Messages: []translator.Message{user(translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaBlocks}})}},
			want: `{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":""}]}]}`},
		{why: "no tool at all", r: translator.Request{Tools: []translator.Tool{{Name: "f"}}, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceNone}}, want: `{"tool_choice":"none"}`},
		{why: "any tool, a custom one, a shell", r: translator.Request{Tools: []translator.Tool{{Type: translator.ToolShell, Name: "local_shell"}}, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: "local_shell"}},
			want: `{"tool_choice":{"type":"local_shell"}}`},
		{why: "the name of what a chat client loses", model: "gpt-4o", r: translator.Request{From: core.DialectOpenAIChat, Effort: "low"}, want: `{}`, dropped: "reasoning_effort"},
		{why: "custom tools and the shell are native", r: translator.Request{
			Tools: []translator.Tool{{Type: translator.ToolCustom, Name: "p", Description: []byte(`"d"`), Grammar: []byte(`{"type":"text"}`)}, {Type: translator.ToolShell, Name: "local_shell"}},
			Messages: []translator.Message{
				assistant(customCall, call("s", "local_shell", `{"command":["ls"],"workdir":"/w"}`)), user(result("c", txt("ok")), result("s", txt("out")))}},
			want: `{"tools":[{"type":"custom","name":"p","description":"d","format":{"type":"text"}},{"type":"local_shell"}],"input":[
				{"type":"custom_tool_call","call_id":"c","name":"p","input":"text\n"},
				{"type":"local_shell_call","id":"lsh_043a718774c572bd8a25adbeb1bfcd5c","call_id":"s","status":"completed","action":{"type":"exec","command":["ls"],"env":{},"timeout_ms":null,"user":null,"working_directory":"/w"}},
				{"type":"custom_tool_call_output","call_id":"c","output":"ok"},{"type":"function_call_output","call_id":"s","output":"out"}]}`},
		{why: "documents", r: translator.Request{Messages: []translator.Message{user(
			translator.Block{Type: translator.BlockDocument, Media: translator.Media{MIME: "application/pdf", Data: []byte(`"BB"`)}},
			translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaURL, Data: []byte(`"https://x"`)}},
			translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaText, Data: []byte(`"body"`), Title: []byte(`"T"`)}},
			translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaBlocks}, Content: []translator.Block{txt("in")}})}},
			want: `{"input":[{"type":"message","role":"user","content":[{"type":"input_file","filename":"document.pdf","file_data":"data:application/pdf;base64,BB"},
				{"type":"input_file","file_url":"https://x"},{"type":"input_text","text":"T\n\nbody"},{"type":"input_text","text":"in"}]}]}`},
		{why: "trap paramlesstool, typelesstoolschema: schemas are made whole; strict is false where its absence would mean true", r: translator.Request{From: core.DialectAnthropic,
			Tools: []translator.Tool{{Name: "a"}, {Name: "b", Schema: []byte(`{"properties":{"x":{}}}`)}, {Name: "c", Schema: []byte(`{"type":"object"}`), Strict: []byte("true")},
				{Name: "d", Schema: []byte(`{"type":null}`)}, {Type: translator.ToolServer, Name: "web_search", Kind: "web_search_20250305", Raw: []byte(`{}`)}}},
			want: `{"tools":[{"type":"function","name":"a","parameters":{"type":"object","properties":{}},"strict":false},
				{"type":"function","name":"b","parameters":{"type":"object","properties":{"x":{}}},"strict":false},
				{"type":"function","name":"c","parameters":{"type":"object","properties":{}},"strict":true},
				{"type":"function","name":"d","parameters":{"type":"object","properties":{}},"strict":false}]}`, tools: "web_search"},
		{why: "trap emptytools: no tools, no choice", r: translator.Request{ToolChoice: &translator.ToolChoice{Type: translator.ChoiceAny, NoParallel: true}},
			want: `{"tools":null,"tool_choice":null,"parallel_tool_calls":null}`},
		{why: "a choice of one tool", r: translator.Request{Tools: []translator.Tool{{Name: "f"}}, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: "f", NoParallel: true}},
			want: `{"tool_choice":{"type":"function","name":"f"},"parallel_tool_calls":false}`},
		{why: "one call at a time alone", r: translator.Request{Tools: []translator.Tool{{Name: "f"}}, ToolChoice: &translator.ToolChoice{Implied: true, NoParallel: true}},
			want: `{"tool_choice":null,"parallel_tool_calls":false}`},
		{why: "allowed tools", r: translator.Request{Tools: []translator.Tool{{Name: "f"}, {Type: translator.ToolCustom, Name: "p"}}, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceAny, Allowed: []string{"f", "p", "gone"}}},
			want: `{"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"},{"type":"custom","name":"p"}]}}`},
		{why: "a model that reasons takes no sampling, and gives its reasoning back", model: "openai/gpt-5.5", r: translator.Request{From: core.DialectAnthropic, Effort: "max",
			Thinking: &translator.Thinking{Type: "adaptive"}, Temperature: []byte("1"), TopP: []byte("0.9"), TopK: []byte("5")},
			want:    `{"reasoning":{"effort":"max","summary":"auto"},"include":["reasoning.encrypted_content"],"temperature":null,"top_p":null}`,
			dropped: "temperature top_p top_k"},
		{why: "a budget is an effort", model: "o4-mini", r: translator.Request{From: core.DialectAnthropic, Thinking: &translator.Thinking{Type: "enabled", Budget: []byte("4096"), Display: "omitted"}},
			want: `{"reasoning":{"effort":"medium"}}`},
		{why: "thinking that is off asks for nothing", model: "gpt-5", r: translator.Request{From: core.DialectAnthropic, Thinking: &translator.Thinking{Type: "disabled"}},
			want: `{"reasoning":null}`},
		{why: "a model that does not reason", model: "gpt-4.1", r: translator.Request{From: core.DialectAnthropic, Effort: "low", Temperature: []byte("0.5")},
			want: `{"reasoning":null,"include":null,"temperature":0.5}`, dropped: "output_config"},
		{why: "the same of a budget", model: "gpt-5-chat-latest", r: translator.Request{From: core.DialectAnthropic, Thinking: &translator.Thinking{Type: "enabled", Budget: []byte("100")}},
			want: `{"reasoning":null,"include":null}`, dropped: "thinking"},
		{why: "structured output: strict where the schema allows it", r: translator.Request{From: core.DialectAnthropic,
			Format: schema(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":false}}},"required":["a"],"additionalProperties":false}`)},
			want: `{"text":{"format":{"type":"json_schema","name":"output","strict":true,"schema":{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":false}}},"required":["a"],"additionalProperties":false}}}}`},
		{why: "structured output: an inner object is open", r: translator.Request{From: core.DialectAnthropic,
			Format: schema(`{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}`)},
			want: `{"text":{"format":{"type":"json_schema","name":"output","strict":false,"schema":{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}}}}`},
		{why: "structured output: not all is required", r: translator.Request{From: core.DialectAnthropic,
			Format: schema(`{"type":"object","properties":{"a":{}},"additionalProperties":false}`)},
			want: `{"text":{"format":{"type":"json_schema","name":"output","strict":false,"schema":{"type":"object","properties":{"a":{}},"additionalProperties":false}}}}`},
		{why: "any JSON object, and chat's verbosity", same: true, r: translator.Request{From: core.DialectOpenAIChat, Format: &translator.Format{},
			Extras: []translator.Field{{Name: "verbosity", Value: []byte(`"low"`)}, {Name: "metadata", Value: []byte(`{"a":"b"}`)}, {Name: "seed", Value: []byte("7")}}},
			want: `{"text":{"format":{"type":"json_object"},"verbosity":"low"},"metadata":{"a":"b"},"seed":null}`, dropped: "seed"},
		{why: "logprobs within the family", same: true, r: translator.Request{From: core.DialectOpenAIChat, Logprobs: true, TopLogprobs: []byte("2")},
			want: `{"include":["message.output_text.logprobs"],"top_logprobs":2}`},
		{why: "trap stopsequence: what has no place is enforced", r: translator.Request{Stop: []string{"END"}, MaxTokens: []byte("100")},
			want: `{"stop":null,"max_output_tokens":100}`, enforce: translator.Enforce{Stop: []string{"END"}}},
		{why: "a limit below the least of the API", r: translator.Request{MaxTokens: []byte("1")},
			want: `{"max_output_tokens":16}`, enforce: translator.Enforce{MaxTokens: 1}},
		{why: "who and how", r: translator.Request{User: strings.Repeat("u", 65), ServiceTier: "standard_only", CacheKey: "k", CacheControl: []byte(`{}`)},
			want: `{"user":"f20e249d15fa4b9f44ba21d154f62e1e","service_tier":"default","prompt_cache_key":"k"}`, dropped: "cache_control"},
		{why: "a tool that a search found is there from the beginning", r: translator.Request{Messages: []translator.Message{user(result("c",
			translator.Block{Type: translator.BlockOther, Kind: "tool_reference", Raw: []byte(`{"type":"tool_reference","tool_name":"f"}`)}))}},
			want: `{"input":[{"type":"function_call_output","call_id":"c","output":"Tool found: f"}]}`},
		{why: "a Responses client keeps what it sent", r: translator.Request{From: core.DialectOpenAIResponses, Extras: []translator.Field{{Name: "previous_response_id", Value: []byte(`"resp_1"`)}},
			Tools: []translator.Tool{{Type: translator.ToolServer, Name: "web_search", Kind: "web_search", Raw: []byte(`{"type":"web_search"}`)}}, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: "web_search"}},
			want: `{"previous_response_id":"resp_1","tools":[{"type":"web_search"}],"tool_choice":{"type":"web_search"}}`},
	} {
		e, err := codec.Encode(&c.r, translator.Target{Model: c.model, Same: c.same})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		same(t, c.why, e.Body, c.want)
		if got := strings.Join(e.Dropped, " "); got != c.dropped {
			t.Errorf("%s: dropped %q, want %q", c.why, got, c.dropped)
		}
		if got := strings.Join(e.Tools, " "); got != c.tools {
			t.Errorf("%s: tools left out are %q, want %q", c.why, got, c.tools)
		}
		if !reflect.DeepEqual(e.Enforce, c.enforce) {
			t.Errorf("%s: enforce %+v, want %+v", c.why, e.Enforce, c.enforce)
		}
	}
}

func TestEncode_Refuses(t *testing.T) {
	at := translator.At("messages", 0).Part(1)
	extra := func(name, value string) translator.Request {
		return translator.Request{Extras: []translator.Field{{Name: name, Value: []byte(value)}}}
	}
	for _, c := range []struct {
		why, path string
		r         translator.Request
	}{
		{"several answers", "n", extra("n", "2")},
		{"audio", "modalities", extra("modalities", `["audio"]`)},
		{"earlier turns", "previous_response_id", extra("previous_response_id", `"x"`)},
		{"servers of tools", "mcp_servers", extra("mcp_servers", `[{}]`)},
		{"logprobs outside of the family", "logprobs", translator.Request{Logprobs: true}},
		{"a server tool that must be called", "tool_choice", translator.Request{
			Tools:      []translator.Tool{{Type: translator.ToolServer, Name: "web_search"}},
			ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: "web_search"}}},
		{"trap servertooluse", "messages[0].content[1]", translator.Request{Messages: []translator.Message{assistant(translator.Block{Type: translator.BlockOther, Kind: "server_tool_use", Place: at})}}},
		{"the same in a result", "messages[0].content[1]", translator.Request{Messages: []translator.Message{user(result("c", translator.Block{Type: translator.BlockOther, Kind: "search_result", Place: at}))}}},
		{"a file of another store", "messages[0].content[1]", translator.Request{Messages: []translator.Message{user(translator.Block{Type: translator.BlockImage, Media: translator.Media{Type: translator.MediaFile}, Place: at})}}},
		{"the assistant's image", "messages[0].content[1]", translator.Request{Messages: []translator.Message{assistant(translator.Block{Type: translator.BlockImage, Place: at})}}},
	} {
		_, err := codec.Encode(&c.r, translator.Target{Model: "gpt-5"})
		if err == nil {
			t.Errorf("%s: taken", c.why)
		} else if got := path(t, err); got != c.path {
			t.Errorf("%s: the path is %q, want %q", c.why, got, c.path)
		}
	}
	empty := extra("mcp_servers", ` [ ] `)
	if e, err := codec.Encode(&empty, translator.Target{}); err != nil || len(e.Dropped) != 1 {
		t.Errorf("an empty list of servers: %v, %v", e, err)
	}
}

func TestEncode_Models(t *testing.T) {
	for model, want := range map[string]bool{
		"o1": true, "o3-mini": true, "o4-mini": true, "gpt-5": true, "gpt-5.5-pro": true, "gpt-6-astra": true, "gpt-10": true, "openai/gpt-5": true,
		"openai.gpt-oss-120b": true, "gpt-oss-20b": true, "codex-mini": true, "GPT-5": true,
		"gpt-4o": false, "gpt-4.1": false, "gpt-3.5-turbo": false, "gpt-5-chat-latest": false, "gpt-": false, "": false, "llama": false, "gpt-image": false,
	} {
		e, err := codec.Encode(&translator.Request{Effort: "low"}, translator.Target{Model: model})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(e.Body), `"reasoning":{`); got != want {
			t.Errorf("%q reasons: %v", model, got)
		}
	}
}

// TestD43_RoundTrip: what a Responses client sends comes out the same for a Responses upstream.
func TestD43_RoundTrip(t *testing.T) {
	const input = `[{"type":"message","role":"user","content":[{"type":"input_text","text":"u"}]},
		{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":"ENC"},
		{"type":"custom_tool_call","call_id":"c","name":"p","input":"x"},
		{"type":"custom_tool_call_output","call_id":"c","output":"ok"}]`
	r, err := codec.Decode([]byte(body(`"input":` + input)))
	if err != nil {
		t.Fatal(err)
	}
	e, err := codec.Encode(r, translator.Target{Model: "m", Same: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "round trip", e.Body, `{"input":`+input+`}`)
}
