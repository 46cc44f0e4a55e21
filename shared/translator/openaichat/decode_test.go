package openaichat_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
)

// bodyWith is a body that is good save for what the case says.
func bodyWith(members string) string {
	return `{"model":"m","messages":[{"role":"user","content":"hi"}],` + members + `}`
}

func message(m string) string {
	return `{"model":"m","messages":[` + m + `]}`
}

func TestDecodeRefuses(t *testing.T) {
	called := `{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},`
	for _, c := range []struct{ body, path, why string }{
		{`[]`, "", "the body is an object"},
		{`{"model":"m","model":"n"}`, "model", "two decoders could take different ones"},
		{`{"model":"m"}`, "messages", "required"},
		{`{"messages":[]}`, "messages", "an empty conversation has no answer"},
		{`{"messages":"hi"}`, "messages", "type"},
		{`{"model":1,"messages":[{"role":"user","content":"hi"}]}`, "model", "type"},
		{message(`"hi"`), "messages[0]", "type"},
		{message(`{"content":"hi"}`), "messages[0].role", "required"},
		{message(`{"role":"robot","content":"hi"}`), "messages[0].role", "unknown role"},
		{message(`{"role":"user"}`), "messages[0].content", "required"},
		{message(`{"role":"user","content":null}`), "messages[0].content", "null is absent"},
		{message(`{"role":"user","content":7}`), "messages[0].content", "type"},
		{message(`{"role":"user","content":["x"]}`), "messages[0].content[0]", "type"},
		{message(`{"role":"user","content":[{"text":"x"}]}`), "messages[0].content[0].type", "required"},
		{message(`{"role":"user","content":[{"type":"video"}]}`), "messages[0].content[0].type", "unknown part"},
		{message(`{"role":"user","content":[{"type":"text"}]}`), "messages[0].content[0].text", "required"},
		{message(`{"role":"user","content":[{"type":"text","text":1}]}`), "messages[0].content[0].text", "type"},
		{message(`{"role":"user","content":[{"type":"text","text":"a"},{"type":"input_audio","input_audio":{}}]}`), "messages[0].content[1].type", "audio is refused"},
		{message(`{"role":"user","content":[{"type":"image_url"}]}`), "messages[0].content[0].image_url", "required"},
		{message(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"ftp://x/y"}}]}`), "messages[0].content[0].image_url.url", "scheme"},
		{message(`{"role":"user","content":[{"type":"image_url","image_url":"data:image/png,abc"}]}`), "messages[0].content[0].image_url", "no base64"},
		{message(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:text/html;base64,AA=="}}]}`), "messages[0].content[0].image_url.url", "no image"},
		{message(`{"role":"user","content":[{"type":"file"}]}`), "messages[0].content[0].file", "required"},
		{message(`{"role":"user","content":[{"type":"file","file":{}}]}`), "messages[0].content[0].file.file_data", "required"},
		{message(`{"role":"user","content":[{"type":"file","file":{"file_data":"JVBERi0="}}]}`), "messages[0].content[0].file.file_data", "no data URL"},
		{message(`{"role":"user","content":[{"type":"file","file":{"file_data":"data:text/plain;base64,*"}}]}`), "messages[0].content[0].file.file_data", "no base64"},
		{message(`{"role":"user","content":[{"type":"refusal","refusal":"no"}]}`), "messages[0].content[0].type", "users do not refuse"},
		{message(`{"role":"system","content":[{"type":"image_url","image_url":"https://x/y.png"}]}`), "messages[0].content[0].type", "system is text"},
		{message(`{"role":"user","content":"x","cache_control":1}`), "messages[0].cache_control", "type"},
		{message(`{"role":"tool","content":"x"}`), "messages[0].tool_call_id", "required"},
		{message(`{"role":"tool","tool_call_id":"c1","content":"x"}`), "messages[0].tool_call_id", "an orphan"},
		{message(called + `{"role":"tool","tool_call_id":"c2","content":"x"}`), "messages[1].tool_call_id", "an orphan"},
		{message(`{"role":"function","name":"f","content":"x"}`), "messages[0].name", "an orphan"},
		{message(`{"role":"assistant","content":"x","tool_calls":{}}`), "messages[0].tool_calls", "type"},
		{message(`{"role":"assistant","tool_calls":[1]}`), "messages[0].tool_calls[0]", "type"},
		{message(`{"role":"assistant","tool_calls":[{"function":{"name":"f"}}]}`), "messages[0].tool_calls[0].id", "required"},
		{message(`{"role":"assistant","tool_calls":[{"id":"c"}]}`), "messages[0].tool_calls[0].function", "required"},
		{message(`{"role":"assistant","tool_calls":[{"id":"c","function":{}}]}`), "messages[0].tool_calls[0].function.name", "required"},
		{message(`{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":{}}}]}`), "messages[0].tool_calls[0].function.arguments", "type"},
		{message(`{"role":"assistant","tool_calls":[{"id":"c","type":"custom"}]}`), "messages[0].tool_calls[0].custom", "required"},
		{message(`{"role":"assistant","tool_calls":[{"id":"c","type":"shell"}]}`), "messages[0].tool_calls[0].type", "unknown"},
		{message(`{"role":"assistant","function_call":{"arguments":"{}"}}`), "messages[0].function_call.name", "required"},
		{message(`{"role":"assistant","content":"x","audio":{"id":"a"}}`), "messages[0].audio", "audio is refused"},
		{message(`{"role":"assistant","content":"x","refusal":1}`), "messages[0].refusal", "type"},
		{message(`{"role":"assistant","content":"x","reasoning_details":[3]}`), "messages[0].reasoning_details[0]", "type"},
		{message(`{"role":"user","role":"user","content":"x"}`), "messages[0].role", "twice"},
		{bodyWith(`"stream":"yes"`), "stream", "type"},
		{bodyWith(`"stream":true,"stream_options":[]`), "stream_options", "type"},
		{bodyWith(`"stream":true,"stream_options":{"include_usage":1}`), "stream_options.include_usage", "type"},
		{bodyWith(`"max_tokens":"7"`), "max_tokens", "type"},
		{bodyWith(`"max_completion_tokens":1.5`), "max_completion_tokens", "an integer"},
		{bodyWith(`"temperature":"hot"`), "temperature", "type"},
		{bodyWith(`"top_p":true`), "top_p", "type"},
		{bodyWith(`"stop":7`), "stop", "type"},
		{bodyWith(`"stop":["a",7]`), "stop", "type"},
		{bodyWith(`"n":"2"`), "n", "type"},
		{bodyWith(`"user":1`), "user", "type"},
		{bodyWith(`"service_tier":1`), "service_tier", "type"},
		{bodyWith(`"prompt_cache_key":1`), "prompt_cache_key", "type"},
		{bodyWith(`"logprobs":3`), "logprobs", "type"},
		{bodyWith(`"top_logprobs":"3"`), "top_logprobs", "type"},
		{bodyWith(`"reasoning_effort":"huge"`), "reasoning_effort", "unknown"},
		{bodyWith(`"response_format":{}`), "response_format.type", "required"},
		{bodyWith(`"response_format":{"type":"xml"}`), "response_format.type", "unknown"},
		{bodyWith(`"response_format":{"type":"json_schema"}`), "response_format.json_schema", "required"},
		{bodyWith(`"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`), "response_format.json_schema.name", "required"},
		{bodyWith(`"response_format":{"type":"json_schema","json_schema":{"name":"n"}}`), "response_format.json_schema.schema", "required"},
		{bodyWith(`"tools":{}`), "tools", "type"},
		{bodyWith(`"tools":[1]`), "tools[0]", "type"},
		{bodyWith(`"tools":[{}]`), "tools[0].type", "required"},
		{bodyWith(`"tools":[{"type":"function"}]`), "tools[0].function", "required"},
		{bodyWith(`"tools":[{"type":"function","function":{}}]`), "tools[0].function.name", "required"},
		{bodyWith(`"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]`), "tools[0].function.parameters", "type"},
		{bodyWith(`"tools":[{"type":"function","name":"f","parameters":"x"}]`), "tools[0].parameters", "type, flat"},
		{bodyWith(`"tools":[{"type":"custom"}]`), "tools[0].custom", "required"},
		{bodyWith(`"tools":[{"type":"function","name":"f"},{"type":"function","function":{"name":"f"}}]`), "tools[1].function.name", "twice"},
		{bodyWith(`"tools":[{"type":"function","name":"f"}],"tool_choice":"maybe"`), "tool_choice", "unknown"},
		{bodyWith(`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function"}`), "tool_choice.function", "required"},
		{bodyWith(`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","function":{"name":"g"}}`), "tool_choice", "not declared"},
		{bodyWith(`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto"}}`), "tool_choice.allowed_tools.tools", "required"},
		{bodyWith(`"tool_choice":7`), "tool_choice", "type"},
		{bodyWith(`"parallel_tool_calls":"no"`), "parallel_tool_calls", "type"},
		{bodyWith(`"functions":[{"name":"f"}],"tools":[{"type":"function","name":"g"}]`), "functions", "both"},
		{bodyWith(`"functions":[{}]`), "functions[0].name", "required"},
		{bodyWith(`"functions":[{"name":"f"}],"function_call":"required"`), "function_call", "never was a word of it"},
	} {
		_, err := codec.Decode([]byte(c.body))
		var fe *translator.FieldError
		if !errors.As(err, &fe) {
			t.Errorf("%s: %s: no FieldError but %v", c.why, c.body, err)
			continue
		}
		if got := fe.Path(core.DialectOpenAIChat); got != c.path {
			t.Errorf("%s: %s: path %q, want %q (%s)", c.why, c.body, got, c.path, fe.Message)
		}
		if fe.Message == "" {
			t.Errorf("%s: no message", c.body)
		}
	}
}

// D37: what the SDKs send is taken.
func TestD37_Settings(t *testing.T) {
	r := decode(t, `{"model":"m","messages":[{"role":"developer","content":"sys"},{"role":"system","content":[{"type":"text","text":"two"}]},
		{"role":"user","content":"hi"},{"role":"developer","content":"later"}],"stream":true,"stream_options":{"include_usage":true},
		"max_tokens":5,"max_completion_tokens":7,"temperature":0,"top_p":null,"stop":"END","reasoning_effort":"low","user":"u",
		"service_tier":"flex","prompt_cache_key":"k","parallel_tool_calls":false,"n":1,"modalities":["text"],"store":true,"logprobs":false,
		"seed":0,"metadata":{"a":"b"},"frequency_penalty":null,"new_thing":{"x":1},"response_format":{"type":"json_schema",
		"json_schema":{"name":"out","schema":{"type":"object"},"strict":true}}}`)
	if r.From != core.DialectOpenAIChat || !r.Stream || !r.IncludeUsage || string(r.MaxTokens) != "7" || string(r.Temperature) != "0" ||
		r.TopP != nil || len(r.Stop) != 1 || r.Effort != "low" || r.User != "u" || r.ServiceTier != "flex" || r.CacheKey != "k" {
		t.Errorf("settings: %+v", r)
	}
	if len(r.System) != 2 || r.System[1].Text.Text() != "two" || len(r.Messages) != 2 || r.Messages[1].Role != translator.RoleSystem {
		t.Errorf("system: %+v, messages: %+v", r.System, r.Messages)
	}
	if r.ToolChoice == nil || !r.ToolChoice.Implied || !r.ToolChoice.NoParallel {
		t.Errorf("parallel_tool_calls: %+v", r.ToolChoice)
	}
	if f := r.Format; f == nil || f.Name != "out" || string(f.Schema) != `{"type":"object"}` || !f.Strict.IsTrue() {
		t.Errorf("format: %+v", r.Format)
	}
	var names []string
	for _, f := range r.Extras {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "seed metadata new_thing" {
		t.Errorf("extras: %s", got)
	}
}

func TestDecodeMessages(t *testing.T) {
	r := decode(t, `{"messages":[
		{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},
			{"type":"image_url","image_url":{"url":"data:image/PNG;base64,AA==","detail":"low"}},
			{"type":"image_url","image_url":"https://h/i.png"},{"type":"input_text","text":"b"},
			{"type":"file","file":{"filename":"d.pdf","file_data":"data:application\/pdf;base64,JVBERi0="}},
			{"type":"file","file":{"filename":"d.txt","file_data":"data:text/plain;base64,aGk="}}]},
		{"role":"assistant","content":"say","refusal":"no","tool_calls":[
			{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
			{"id":"c2","type":"function","function":{"name":"f","arguments":"oops"}},
			{"id":"c3","type":"custom","custom":{"name":"g","input":"te\"xt"}}]},
		{"role":"tool","tool_call_id":"c2","content":"r2","cache_control":{"type":"ephemeral"}},
		{"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"r1"}]},
		{"role":"tool","tool_call_id":"c3"},
		{"role":"user","content":"go on","cache_control":{"type":"ephemeral"}},
		{"role":"assistant","content":null,"function_call":{"name":"old","arguments":""}},
		{"role":"function","name":"old","content":"done"}]}`)
	if len(r.Messages) != 6 {
		t.Fatalf("%d messages", len(r.Messages))
	}
	u := r.Messages[0].Content
	if u[0].CacheControl == nil || u[1].Media.MIME != "image/png" || string(u[1].Media.Data) != `"AA=="` || u[2].Media.Type != translator.MediaURL ||
		u[3].Text.Text() != "b" || u[4].Media.MIME != "application/pdf" || u[4].Media.Title.Text() != "d.pdf" ||
		u[5].Media.Type != translator.MediaText || u[5].Media.Data.Text() != "hi" {
		t.Errorf("user parts: %+v", u)
	}
	if got := u[1].Place.Path(core.DialectOpenAIChat, ""); got != "messages[0].content[1]" {
		t.Errorf("place %s", got)
	}
	a := r.Messages[1].Content
	if len(a) != 5 || !a[1].Refusal || string(a[2].Input) != `{"x":1}` || string(a[3].Input) != `{"arguments":"oops"}` || !a[4].Custom || string(a[4].Input) != `{"input":"te\"xt"}` {
		t.Errorf("assistant: %+v", a)
	}
	results := r.Messages[2]
	if results.Role != translator.RoleUser || len(results.Content) != 3 || results.Content[0].ID != "c2" || results.Content[0].CacheControl == nil ||
		results.Content[1].Content[0].Text.Text() != "r1" || results.Content[2].Content != nil {
		t.Errorf("results: %+v", results)
	}
	if r.Messages[3].Content[0].CacheControl == nil {
		t.Error("D48: the mark on a message went missing")
	}
	if call, result := r.Messages[4].Content[0], r.Messages[5].Content[0]; call.ID != result.ID || string(call.Input) != `{}` {
		t.Errorf("legacy: %+v %+v", call, result)
	}
}

func TestDecodeThinking(t *testing.T) {
	for _, c := range []struct{ members, want, why string }{
		{`"reasoning_content":"t"`, `t/`, "without a signature only its own dialect takes it"},
		{`"reasoning":"t"`, `t/`, "OpenRouter's name"},
		{`"reasoning_details":[{"type":"reasoning.text","text":"a","signature":"s"},{"type":"reasoning.encrypted","data":"d"}]`, `a/s /d`, "whole blocks"},
		{`"reasoning_content":"t","reasoning_details":[{"type":"reasoning.text","text":"","signature":"s"}]`, `t/s`, "a stream's detail has no text"},
		{`"reasoning_content":"t","reasoning_details":[{"type":"reasoning.text","text":"","signature":"s"},{"type":"reasoning.text","text":"","signature":"z"}]`,
			`/s /z`, "whose text it is cannot be told"},
		{`"reasoning_details":[{"type":"reasoning.text","text":"a"},{"type":"reasoning.summary","summary":"x"}]`, ``, "of no use"},
	} {
		r := decode(t, message(`{"role":"assistant","content":"x",`+c.members+`}`))
		var got []string
		for _, b := range r.Messages[0].Content {
			if b.Type == translator.BlockThinking || b.Type == translator.BlockRedacted {
				got = append(got, b.Text.Text()+"/"+b.Signature.Text())
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, want %q", c.why, got, c.want)
		}
	}
}

// D49: Cursor sends tools in the Responses API's shape, and mixes the shapes.
func TestD49_FlatTools(t *testing.T) {
	tools := `[{"type":"function","function":{"name":"n","description":"d","parameters":{"type":"object"},"strict":true},"cache_control":{"type":"ephemeral"}},
		{"type":"function","name":"flat","parameters":{"type":"object"}},{"type":"custom","name":"c","format":{"type":"grammar","syntax":"lark","definition":"x"}},
		{"type":"custom","custom":{"name":"c2","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"x"}}}},
		{"type":"web_search"},{"name":"bare","input_schema":{"type":"object"}}]`
	r := decode(t, bodyWith(`"tools":`+tools+`,"tool_choice":{"type":"custom","name":"c"}`))
	if len(r.Tools) != 6 {
		t.Fatalf("%d tools", len(r.Tools))
	}
	if n := r.Tools[0]; n.Name != "n" || !n.Strict.IsTrue() || n.CacheControl == nil || n.Description.Text() != "d" {
		t.Errorf("nested: %+v", n)
	}
	if r.Tools[1].Name != "flat" || r.Tools[1].Schema == nil || r.Tools[5].Schema == nil {
		t.Errorf("flat: %+v", r.Tools[1])
	}
	if a, b := string(r.Tools[2].Grammar), string(r.Tools[3].Grammar); a != b || r.Tools[2].Type != translator.ToolCustom {
		t.Errorf("one grammar in two shapes: %s, %s", a, b)
	}
	if s := r.Tools[4]; s.Type != translator.ToolServer || s.Kind != "web_search" || s.Raw == nil {
		t.Errorf("server tool: %+v", s)
	}
	if r.ToolChoice.Type != translator.ChoiceTool || r.ToolChoice.Name != "c" {
		t.Errorf("choice: %+v", r.ToolChoice)
	}
	for _, c := range []struct {
		tools string
		want  bool
		why   string
	}{
		{tools, true, "one of them is flat"},
		{`[{"type":"function","function":{"name":"f"}}]`, false, "the dialect's own"},
		{`[{"type":"custom","custom":{"name":"f"}}]`, false, "the dialect's own"},
		{`[{"type":"custom","name":"f"}]`, true, "flat"},
		{`[]`, false, "none"}, {`null`, false, "absent"}, {`{"name":"x"}`, false, "no array"}, {`[1]`, false, "no objects"},
	} {
		v, err := rawjson.Find([]byte(c.tools))
		if err != nil {
			t.Fatal(err)
		}
		if got := openaichat.Mixed(v); got != c.want {
			t.Errorf("%s: Mixed(%s) = %v", c.why, c.tools, got)
		}
	}
}

func TestDecodeToolChoice(t *testing.T) {
	for _, c := range []struct {
		choice string
		want   translator.ChoiceType
		name   string
	}{
		{`"auto"`, translator.ChoiceAuto, ""}, {`"none"`, translator.ChoiceNone, ""}, {`"required"`, translator.ChoiceAny, ""},
		{`{"type":"auto"}`, translator.ChoiceAuto, ""}, {`{"type":"function","function":{"name":"f"}}`, translator.ChoiceTool, "f"},
		{`{"type":"function","name":"f"}`, translator.ChoiceTool, "f"},
	} {
		r := decode(t, bodyWith(`"tools":[{"type":"function","name":"f"}],"tool_choice":`+c.choice))
		if r.ToolChoice.Type != c.want || r.ToolChoice.Name != c.name {
			t.Errorf("%s: %+v", c.choice, r.ToolChoice)
		}
	}
	for _, choice := range []string{`{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]}`,
		`{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}}`} {
		r := decode(t, bodyWith(`"tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}],"tool_choice":`+choice))
		if c := r.ToolChoice; c.Type != translator.ChoiceAny || len(c.Allowed) != 1 || c.Allowed[0] != "f" {
			t.Errorf("%s: %+v", choice, c)
		}
	}
	r := decode(t, bodyWith(`"functions":[{"name":"f"}],"function_call":{"name":"f"}`))
	if !r.Legacy || r.ToolChoice.Name != "f" || !r.ToolChoice.NoParallel {
		t.Errorf("legacy: %+v", r.ToolChoice)
	}
}
