package openaichat_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

func text(s string) translator.Block {
	return translator.Block{Type: translator.BlockText, Text: translator.Quote(s)}
}

func use(id, name, input string) translator.Block {
	return translator.Block{Type: translator.BlockToolUse, ID: id, Name: name, Input: translator.Raw(input)}
}

func result(id string, isError bool, content ...translator.Block) translator.Block {
	return translator.Block{Type: translator.BlockToolResult, ID: id, IsError: isError, Content: content}
}

func picture() translator.Block {
	return translator.Block{Type: translator.BlockImage, Media: translator.Media{MIME: "image/png", Data: translator.Raw(`"AA=="`)}}
}

// conversation is a request of an Anthropic client.
func conversation(role translator.Role, content ...translator.Block) *translator.Request {
	return &translator.Request{From: core.DialectAnthropic, Messages: []translator.Message{{Role: role, Content: content}}}
}

func member(t *testing.T, body []byte, path ...string) string {
	t.Helper()
	v, err := rawjson.Find(body, path...)
	if err != nil {
		t.Fatal(err)
	}
	return string(v.Raw())
}

func TestEncodeMessages(t *testing.T) {
	user, assistant := translator.RoleUser, translator.RoleAssistant
	doc := func(m translator.Media, content ...translator.Block) translator.Block {
		return translator.Block{Type: translator.BlockDocument, Media: m, Content: content}
	}
	for _, c := range []struct {
		r    *translator.Request
		want string
		why  string
	}{
		{conversation(user, text("hi")), `[{"role":"user","content":"hi"}]`, "one text is a string"},
		{conversation(user, text("a"), text(""), picture()), `[{"role":"user","content":[{"type":"text","text":"a"},
			{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]`, "empty texts are dropped"},
		{conversation(user, text(""), text("")), `[{"role":"user","content":""}]`, "nothing but empty texts"},
		{conversation(user), `[]`, "nothing at all"},
		{conversation(user, result("c1", false, text("r"), picture()), result("c2", true, text("bad")), result("c3", false), text("and")),
			`[{"role":"tool","tool_call_id":"c1","content":"r"},{"role":"tool","tool_call_id":"c2","content":"Error: bad"},
			{"role":"tool","tool_call_id":"c3","content":""},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"text","text":"and"}]}]`,
			"results first, their images after them"},
		{conversation(user, result("c1", true, text("Error: x")), result("c2", true, text("<tool_use_error>y")), result("c3", false, picture())),
			`[{"role":"tool","tool_call_id":"c1","content":"Error: x"},{"role":"tool","tool_call_id":"c2","content":"<tool_use_error>y"},
			{"role":"tool","tool_call_id":"c3","content":"[image follows]"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]`,
			"said once that it is an error"},
		{conversation(assistant, text("a"), text("b"), use("c1", "f", `{"x":"\"q\""}`), text("c")),
			`[{"role":"assistant","content":"ab\n\nc","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":\"\\\"q\\\"\"}"}}]}]`, "texts that touch are one"},
		{conversation(assistant, use("c1", "f", `{}`)), `[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}]`, "no text is null"},
		{conversation(assistant, translator.Block{Type: translator.BlockText, Refusal: true, Text: translator.Raw(`"no"`)}), `[{"role":"assistant","content":null,"refusal":"no"}]`, "a refusal has its own member"},
		{conversation(assistant, translator.Block{Type: translator.BlockThinking, Text: translator.Raw(`"t"`), Signature: translator.Raw(`"sig"`)}, text("x")),
			`[{"role":"assistant","content":"x"}]`, "signed thinking is another dialect's"},
		{conversation(assistant, translator.Block{Type: translator.BlockThinking, Text: translator.Raw(`"t"`)}, text("x")),
			`[{"role":"assistant","reasoning_content":"t","content":"x"}]`, "unsigned thinking came from this dialect"},
		{conversation(assistant, translator.Block{Type: translator.BlockRedacted, Signature: translator.Raw(`"d"`)}), `[]`, "nothing left"},
		{conversation(assistant, translator.Block{Type: translator.BlockToolUse, ID: "c", Name: "g", Custom: true, Input: translator.Raw(`{"input":"te\"xt"}`)}),
			`[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"custom","custom":{"name":"g","input":"te\"xt"}}]}]`, "a call with text"},
		{conversation(user, doc(translator.Media{MIME: "application/pdf", Data: translator.Raw(`"AA=="`), Title: translator.Raw(`"d.pdf"`)})),
			`[{"role":"user","content":[{"type":"file","file":{"filename":"d.pdf","file_data":"data:application/pdf;base64,AA=="}}]}]`, "PDF"},
		{conversation(user, doc(translator.Media{Type: translator.MediaText, Data: translator.Raw(`"body"`), Title: translator.Raw(`"t"`)})),
			`[{"role":"user","content":[{"type":"text","text":"t\n\nbody"}]}]`, "a text document is text"},
		{conversation(user, doc(translator.Media{Type: translator.MediaBlocks}, text("in"))), `[{"role":"user","content":[{"type":"text","text":"in"}]}]`, "a document of parts"},
		{&translator.Request{From: core.DialectAnthropic, System: []translator.Block{text("x-anthropic-billing-header: v=1"), text("a"), text("b")},
			Messages: []translator.Message{{Content: []translator.Block{text("q")}}, {Role: translator.RoleSystem, Content: []translator.Block{text("later")}}}},
			`[{"role":"system","content":"a\n\nb"},{"role":"user","content":"q"},{"role":"system","content":"later"}]`, "system in its place, without the header"},
	} {
		t.Run(c.why, func(t *testing.T) { sameJSON(t, member(t, encode(t, c.r, "m").Body, "messages"), c.want) })
	}
}

// An id that is too long gets a safe one, the same for the call and for its result.
// Other dialects let messages stand between calls and their results; this one answers 400 to that.
func TestEncodeResultsFollowTheirCalls(t *testing.T) {
	user, assistant, system := translator.RoleUser, translator.RoleAssistant, translator.RoleSystem
	message := func(role translator.Role, content ...translator.Block) translator.Message {
		return translator.Message{Role: role, Content: content}
	}
	const call = `{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}`
	const both = `{"role":"assistant","content":"then","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}},` +
		`{"id":"c2","type":"function","function":{"name":"f","arguments":"{}"}}]}`
	const res1, res2 = `{"role":"tool","tool_call_id":"c1","content":"1"}`, `{"role":"tool","tool_call_id":"c2","content":"2"}`
	one, two := use("c1", "f", "{}"), use("c2", "f", "{}")
	for _, c := range []struct {
		why  string
		list []translator.Message
		want string
	}{
		{"a user's message comes before the result", []translator.Message{message(assistant, one), message(user, text("u")), message(user, result("c1", false, text("1")))},
			call + `,` + res1 + `,{"role":"user","content":"u"}`},
		{"a system message does", []translator.Message{message(assistant, one), message(system, text("s")), message(user, result("c1", false, text("1")), text("u"))},
			call + `,` + res1 + `,{"role":"system","content":"s"},{"role":"user","content":"u"}`},
		{"an image of a result stands before another result", []translator.Message{message(assistant, one, text("then"), two), message(user, result("c1", false, text("1"), picture())), message(user, result("c2", false, text("2")))},
			both + `,` + res1 + `,` + res2 + `,{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}`},
		{"the calls are apart", []translator.Message{message(assistant, one), message(assistant, text("then"), two), message(user, result("c1", false, text("1")), result("c2", false, text("2")))},
			both + `,` + res1 + `,` + res2},
		{"messages of the assistant without calls stay apart", []translator.Message{message(assistant, text("a")), message(assistant, text("b"))},
			`{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}`},
	} {
		enc, err := codec.Encode(&translator.Request{From: core.DialectOpenAIResponses, Messages: c.list}, translator.Target{Model: "m"})
		if err != nil {
			t.Fatal(err)
		}
		if got := member(t, enc.Body, "messages"); got != "["+c.want+"]" {
			t.Errorf("%s:\n%s\nwant\n[%s]", c.why, got, c.want)
		}
	}
}

func TestEncodeLongID(t *testing.T) {
	long := strings.Repeat("x", 41)
	call := string(encode(t, conversation(translator.RoleAssistant, use(long, "f", `{}`)), "m").Body)
	answer := string(encode(t, conversation(translator.RoleUser, result(long, false, text("r"))), "m").Body)
	_, id, _ := strings.Cut(answer, `"tool_call_id":"`)
	id, _, _ = strings.Cut(id, `"`)
	if id == long || id == "" || len(id) > 40 || !strings.Contains(call, `"id":"`+id+`"`) {
		t.Errorf("%s\n%s", call, answer)
	}
}

func TestEncodeSettings(t *testing.T) {
	raw := func(s string) translator.Raw { return translator.Raw(s) }
	long := strings.Repeat("u", 65)
	for _, c := range []struct {
		why, model string
		set        func(r *translator.Request)
		want       string // without model and messages
		drop       string
	}{
		{"nothing", "m", func(*translator.Request) {}, `{}`, ""},
		{"a stream is asked for its usage (D34)", "m", func(r *translator.Request) { r.Stream = true }, `{"stream":true,"stream_options":{"include_usage":true}}`, ""},
		{"an ordinary model", "gpt-4o", func(r *translator.Request) {
			r.MaxTokens, r.Temperature, r.TopP, r.TopK, r.Effort = raw("9"), raw("0"), raw("0.5"), raw("3"), "high"
		}, `{"max_tokens":9,"temperature":0,"top_p":0.5}`, "top_k output_config"},
		{"a model that reasons", "openai/gpt-5.2", func(r *translator.Request) {
			r.MaxTokens, r.Temperature, r.TopP, r.Effort = raw("9"), raw("0"), raw("0.5"), "xhigh"
		}, `{"max_completion_tokens":9,"reasoning_effort":"xhigh"}`, "temperature top_p"},
		{"a budget is an effort", "o3", func(r *translator.Request) {
			r.Thinking = &translator.Thinking{Type: "enabled", Budget: raw("5000")}
		}, `{"reasoning_effort":"medium"}`, ""},
		{"a budget without a place", "llama", func(r *translator.Request) {
			r.Thinking = &translator.Thinking{Type: "enabled", Budget: raw("5000")}
		}, `{}`, "thinking"},
		{"adaptive thinking is the model's business", "o3", func(r *translator.Request) { r.Thinking = &translator.Thinking{Type: "adaptive"} }, `{}`, ""},
		{"stop", "m", func(r *translator.Request) { r.Stop = []string{"a", "b"} }, `{"stop":["a","b"]}`, ""},
		{"users", "m", func(r *translator.Request) { r.User, r.ServiceTier, r.CacheKey = "u", "standard_only", "k" },
			`{"user":"u","service_tier":"default","prompt_cache_key":"k"}`, ""},
		{"logprobs", "m", func(r *translator.Request) { r.Logprobs, r.TopLogprobs = true, raw("2") }, `{"logprobs":true,"top_logprobs":2}`, ""},
		{"extras", "gpt-5", func(r *translator.Request) {
			r.Extras = []translator.Field{{Name: "seed", Value: raw("0")}, {Name: "frequency_penalty", Value: raw("1")}, {Name: "container", Value: raw(`"c"`)}, {Name: "mcp_servers", Value: raw(`[]`)}}
		}, `{"seed":0}`, "frequency_penalty container"},
		{"cache marks", "m", func(r *translator.Request) {
			r.CacheControl = raw(`{"type":"ephemeral"}`)
			r.Messages[0].Content[0].CacheControl = r.CacheControl
		}, `{}`, "cache_control"},
		{"any object", "m", func(r *translator.Request) { r.Format = &translator.Format{} }, `{"response_format":{"type":"json_object"}}`, ""},
		{"a schema for strict mode", "m", func(r *translator.Request) {
			r.Format = &translator.Format{Schema: raw(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":false}}},"required":["a"],"additionalProperties":false}`)}
		}, `{"response_format":{"type":"json_schema","json_schema":{"name":"output","strict":true,"schema":{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":false}}},"required":["a"],"additionalProperties":false}}}}`, ""},
		{"an optional property", "m", func(r *translator.Request) {
			r.Format = &translator.Format{Schema: raw(`{"type":"object","properties":{"a":{}},"additionalProperties":false}`)}
		}, `{"response_format":{"type":"json_schema","json_schema":{"name":"output","strict":false,"schema":{"type":"object","properties":{"a":{}},"additionalProperties":false}}}}`, ""},
		{"a nested open object", "m", func(r *translator.Request) {
			r.Format = &translator.Format{Schema: raw(`{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}`)}
		}, `{"response_format":{"type":"json_schema","json_schema":{"name":"output","strict":false,"schema":{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}}}}`, ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := conversation(translator.RoleUser, text("q"))
			c.set(r)
			e := encode(t, r, c.model)
			want := strings.TrimSuffix(`{"model":"`+c.model+`","messages":[{"role":"user","content":"q"}],`+c.want[1:], ",}")
			if c.want == `{}` {
				want += "}"
			}
			sameJSON(t, string(e.Body), want)
			if got := strings.Join(e.Dropped, " "); got != c.drop {
				t.Errorf("dropped %q, want %q", got, c.drop)
			}
		})
	}
	r := conversation(translator.RoleUser, text("q"))
	r.User, r.Stop = long, []string{"1", "2", "3", "4", "5"}
	e := encode(t, r, "m")
	if len(member(t, e.Body, "user")) != 34 || len(e.Enforce.Stop) != 5 || member(t, e.Body, "stop") != "" {
		t.Errorf("long user, many stops: %s %+v", e.Body, e.Enforce)
	}
	r.Stop = []string{"1"}
	if e := encode(t, r, "o4-mini"); len(e.Enforce.Stop) != 1 || member(t, e.Body, "stop") != "" {
		t.Errorf("a model that reasons refuses stop: %s", e.Body)
	}
}

func TestReasoningModels(t *testing.T) {
	for model, want := range map[string]bool{"o1": true, "o3-mini": true, "o4-mini-2025": true, "gpt-5": true, "openai/gpt-5.2-pro": true, "gpt-6-sol": true,
		"gpt-10": true, "gpt-oss-120b": true, "codex-mini": true, "GPT-5": true, "gpt-5-chat-latest": false, "gpt-4o": false, "gpt-4.1": false,
		"claude-x": false, "": false, "olmo": false, "gpt-": false, "o1/llama": false} {
		r := conversation(translator.RoleUser, text("q"))
		r.MaxTokens = translator.Raw("1")
		if got := strings.Contains(string(encode(t, r, model).Body), "max_completion_tokens"); got != want {
			t.Errorf("%q reasons: %v", model, got)
		}
	}
}

func TestEncodeTools(t *testing.T) {
	fn := func(name, schema string) translator.Tool {
		tool := translator.Tool{Name: name}
		if schema != "" {
			tool.Schema = translator.Raw(schema)
		}
		return tool
	}
	custom := translator.Tool{Type: translator.ToolCustom, Name: "g", Grammar: translator.Raw(`{"type":"grammar","syntax":"lark","definition":"d"}`)}
	server := translator.Tool{Type: translator.ToolServer, Name: "web_search", Kind: "web_search_20250305", Raw: translator.Raw(`{}`)}
	nested := func(parameters string) string {
		return `{"type":"function","function":{"name":"f","parameters":` + parameters + `}}`
	}
	for _, c := range []struct {
		why    string
		tools  []translator.Tool
		choice *translator.ToolChoice
		want   string
	}{
		{"no tools, no choice (emptytools)", nil, &translator.ToolChoice{Type: translator.ChoiceAny}, `{}`},
		{"paramlesstool", []translator.Tool{fn("f", "")}, nil, `{"tools":[` + nested(`{"type":"object","properties":{}}`) + `]}`},
		{"typelesstoolschema", []translator.Tool{fn("f", `{"properties":{"a":{}},"type":null}`)}, nil, `{"tools":[` + nested(`{"type":"object","properties":{"a":{}}}`) + `]}`},
		{"no properties", []translator.Tool{fn("f", `{"type":"object"}`)}, nil, `{"tools":[` + nested(`{"type":"object","properties":{}}`) + `]}`},
		{"an empty schema", []translator.Tool{fn("f", `{}`)}, nil, `{"tools":[` + nested(`{"type":"object","properties":{}}`) + `]}`},
		{"custom", []translator.Tool{custom}, &translator.ToolChoice{Type: translator.ChoiceTool, Name: "g"},
			`{"tools":[{"type":"custom","custom":{"name":"g","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"d"}}}}],"tool_choice":{"type":"custom","custom":{"name":"g"}}}`},
		{"an unused server tool is left out", []translator.Tool{server}, &translator.ToolChoice{}, `{}`},
		{"one at a time", []translator.Tool{fn("f", `{"type":"object","properties":{}}`)}, &translator.ToolChoice{Implied: true, NoParallel: true},
			`{"tools":[` + nested(`{"type":"object","properties":{}}`) + `],"parallel_tool_calls":false}`},
		{"any", []translator.Tool{fn("f", "")}, &translator.ToolChoice{Type: translator.ChoiceAny}, `{"tools":[` + nested(`{"type":"object","properties":{}}`) + `],"tool_choice":"required"}`},
		{"some", []translator.Tool{fn("f", "")}, &translator.ToolChoice{Allowed: []string{"f"}},
			`{"tools":[` + nested(`{"type":"object","properties":{}}`) + `],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}}}`},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := conversation(translator.RoleUser, text("q"))
			r.Tools, r.ToolChoice = c.tools, c.choice
			want := `{"model":"m","messages":[{"role":"user","content":"q"}]`
			if c.want != `{}` {
				want += ","
			}
			sameJSON(t, string(encode(t, r, "m").Body), want+c.want[1:])
		})
	}
	r := conversation(translator.RoleUser, text("q"))
	r.Tools = []translator.Tool{server}
	if e := encode(t, r, "m"); len(e.Tools) != 1 || e.Tools[0] != "web_search" {
		t.Errorf("left out: %v", e.Tools)
	}
}

func TestEncodeRefuses(t *testing.T) {
	other := translator.Block{Type: translator.BlockOther, Kind: "server_tool_use", Place: translator.At("messages", 0).Part(1)}
	file := translator.Block{Type: translator.BlockImage, Media: translator.Media{Type: translator.MediaFile, Data: translator.Raw(`"f"`)}, Place: translator.At("messages", 0).Part(0)}
	url := translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaURL, Data: translator.Raw(`"https://x"`)}, Place: translator.At("messages", 0).Part(0)}
	extra := func(name, value string) *translator.Request {
		r := conversation(translator.RoleUser, text("q"))
		r.Extras = []translator.Field{{Name: name, Value: translator.Raw(value)}}
		return r
	}
	forced := conversation(translator.RoleUser, text("q"))
	forced.Tools = []translator.Tool{{Type: translator.ToolServer, Name: "web_search"}}
	forced.ToolChoice = &translator.ToolChoice{Type: translator.ChoiceTool, Name: "web_search", Place: translator.Place{List: "tool_choice", I: -1, J: -1}}
	for path, r := range map[string]*translator.Request{
		"messages.0.content.1.type":   conversation(translator.RoleAssistant, text("x"), other),
		"messages.0.content.0.source": conversation(translator.RoleUser, file),
		"n":                           extra("n", "2"),
		"mcp_servers":                 extra("mcp_servers", `[{"url":"x"}]`),
		"previous_response_id":        extra("previous_response_id", `"r"`),
		"tool_choice":                 forced,
	} {
		_, err := codec.Encode(r, translator.Target{Model: "m"})
		var fe *translator.FieldError
		if !errors.As(err, &fe) || fe.Path(core.DialectAnthropic) != path {
			t.Errorf("want a FieldError about %s, got %v", path, err)
		}
	}
	if _, err := codec.Encode(conversation(translator.RoleUser, url), translator.Target{}); err == nil {
		t.Error("a document by URL has no place here")
	}
}

// A chat body that goes through the hub keeps what it said.
func TestEncodeOwn(t *testing.T) {
	body := `{"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
		{"role":"tool","tool_call_id":"c","content":"r"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}],
		"temperature":0.5,"top_k":3,"seed":1,"min_p":0.1,"odd \"name\"":1,"logprobs":true,"top_logprobs":3,"tool_choice":"auto","stream":true,"stream_options":{"include_usage":true}}`
	sameJSON(t, string(encode(t, decode(t, body), "m").Body), body)
}
