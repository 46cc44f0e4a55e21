package anthropic_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
)

var codec anthropic.Codec

func raw(s string) translator.Raw { return translator.Raw(s) }

func decode(t testing.TB, body string) *translator.Request {
	t.Helper()
	r, err := codec.Decode([]byte(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return r
}

// say is a body with one user message of the content.
func say(content string) string {
	return `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":` + content + `}]}`
}

// with is a body with further members.
func with(members string) string {
	return `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}],` + members + `}`
}

func TestDecode_Settings(t *testing.T) {
	r := decode(t, `{"model":"claude-x","max_tokens":100,"stream":true,"temperature":0,"top_p":0.50,"top_k":null,
		"system":[{"type":"text","text":"s1","cache_control":{"type":"ephemeral"}},{"type":"text","text":"s2"}],
		"stop_sequences":["a","\n"],"metadata":{"user_id":"u","other":1},"service_tier":"standard_only","cache_control":{"type":"ephemeral"},
		"thinking":{"type":"enabled","budget_tokens":2000,"display":"omitted"},
		"output_config":{"effort":"xhigh","format":{"type":"json_schema","schema":{"type":"object"}}},
		"tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true,"defer_loading":true,"cache_control":{"type":"ephemeral","ttl":"1h"}},
			{"type":"custom","name":"g"},{"type":"web_search_20250305","name":"web_search","max_uses":1}],
		"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},
		"container":null,"speed":"standard","mcp_servers":[],"inference_geo":"us","context_management":{"edits":[]},
		"messages":[{"role":"user","content":"hi"}]}`)
	if r.From != core.DialectAnthropic || r.Model != "claude-x" || !r.Stream || string(r.MaxTokens) != "100" || string(r.Temperature) != "0" ||
		string(r.TopP) != "0.50" || r.TopK != nil || r.User != "u" || r.ServiceTier != "standard_only" || r.Effort != "xhigh" ||
		string(r.CacheControl) != `{"type":"ephemeral"}` || string(r.Format.Schema) != `{"type":"object"}` {
		t.Errorf("got %+v", r)
	}
	if !reflect.DeepEqual(r.Stop, []string{"a", "\n"}) || r.Thinking.Type != "enabled" || string(r.Thinking.Budget) != "2000" || r.Thinking.Display != "omitted" {
		t.Errorf("got %q %+v", r.Stop, r.Thinking)
	}
	if len(r.System) != 2 || string(r.System[0].CacheControl) != `{"type":"ephemeral"}` || string(r.System[1].Text) != `"s2"` {
		t.Errorf("D6: system blocks stay blocks: %+v", r.System)
	}
	f, g, s := r.Tool("f"), r.Tool("g"), r.Tool("web_search")
	if f == nil || string(f.Description) != `"d"` || !f.Strict.IsTrue() || !f.Defer.IsTrue() || f.CacheControl == nil || g.Schema != nil || g.Type != translator.ToolFunction {
		t.Errorf("got %+v %+v", f, g)
	}
	if s.Type != translator.ToolServer || s.Kind != "web_search_20250305" || !strings.Contains(string(s.Raw), "max_uses") {
		t.Errorf("D26: got %+v", s)
	}
	if c := r.ToolChoice; c.Type != translator.ChoiceTool || c.Name != "f" || !c.NoParallel || c.Implied {
		t.Errorf("got %+v", c)
	}
	var names []string
	for _, x := range r.Extras {
		names = append(names, x.Name)
	}
	if !reflect.DeepEqual(names, []string{"inference_geo", "context_management"}) {
		t.Errorf("extras %v", names)
	}
	if r := decode(t, with(`"output_format":{"type":"json_schema","schema":{}}`)); r.Format == nil || len(r.Extras) > 0 {
		t.Errorf("the beta's output_format: %+v", r)
	}
}

func TestDecode_Blocks(t *testing.T) {
	const calls = `{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{"a":1}},{"type":"tool_use","id":"c2","name":"f"}]},`
	body := func(role, blocks string) string {
		return `{"model":"m","max_tokens":5,"messages":[` + calls + `{"role":"` + role + `","content":[` + blocks + `]}]}`
	}
	for _, c := range []struct {
		why, role, block string
		want             translator.Block
	}{
		{"text", "user", `{"type":"text","text":"a","citations":null,"cache_control":{"type":"ephemeral"}}`,
			translator.Block{Text: raw(`"a"`), CacheControl: raw(`{"type":"ephemeral"}`)}},
		{"citations", "assistant", `{"type":"text","text":"a","citations":[{"type":"web_search_result_location","url":"u","title":"t","cited_text":"c"}]}`,
			translator.Block{Text: raw(`"a"`), Citations: []translator.Citation{{Raw: raw(`{"type":"web_search_result_location","url":"u","title":"t","cited_text":"c"}`),
				URL: raw(`"u"`), Title: raw(`"t"`), Text: raw(`"c"`), Start: -1, End: -1}}}},
		{"image", "user", `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}`,
			translator.Block{Type: translator.BlockImage, Media: translator.Media{MIME: "image/png", Data: raw(`"QQ=="`)}}},
		{"image by URL", "user", `{"type":"image","source":{"type":"url","url":"https://x"}}`,
			translator.Block{Type: translator.BlockImage, Media: translator.Media{Type: translator.MediaURL, Data: raw(`"https://x"`)}}},
		{"image of a file", "user", `{"type":"image","source":{"type":"file","file_id":"f"}}`,
			translator.Block{Type: translator.BlockImage, Media: translator.Media{Type: translator.MediaFile, Data: raw(`"f"`)}}},
		{"document", "user", `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"QQ=="},"title":"t","context":"c","citations":{"enabled":true}}`,
			translator.Block{Type: translator.BlockDocument, Media: translator.Media{MIME: "application/pdf", Data: raw(`"QQ=="`), Title: raw(`"t"`), Context: raw(`"c"`), Cited: true}}},
		{"document of text", "user", `{"type":"document","source":{"type":"text","data":"x"}}`,
			translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaText, MIME: "text/plain", Data: raw(`"x"`)}}},
		{"document of content", "user", `{"type":"document","source":{"type":"content","content":"x"}}`,
			translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaBlocks}, Content: []translator.Block{{Text: raw(`"x"`)}}}},
		{"search result", "user", `{"type":"search_result","title":"t","source":"https://s","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}`,
			translator.Block{Text: raw(`"t\nhttps://s\na\nb"`)}},
		{"thinking (D7)", "assistant", `{"type":"thinking","thinking":"\u00e9","signature":"s\/"}`,
			translator.Block{Type: translator.BlockThinking, Text: raw(`"\u00e9"`), Signature: raw(`"s\/"`)}},
		{"redacted thinking", "assistant", `{"type":"redacted_thinking","data":"d"}`, translator.Block{Type: translator.BlockRedacted, Signature: raw(`"d"`)}},
		{"call", "assistant", `{"type":"tool_use","id":"c3","name":"f","input":{"x":[]}}`,
			translator.Block{Type: translator.BlockToolUse, ID: "c3", Name: "f", Input: raw(`{"x":[]}`)}},
		{"call without input", "assistant", `{"type":"tool_use","id":"c3","name":"f"}`, translator.Block{Type: translator.BlockToolUse, ID: "c3", Name: "f", Input: raw(`{}`)}},
		{"result", "user", `{"type":"tool_result","tool_use_id":"c1","content":"r","is_error":true}`,
			translator.Block{Type: translator.BlockToolResult, ID: "c1", IsError: true, Content: []translator.Block{{Text: raw(`"r"`)}}}},
		{"result of nothing", "user", `{"type":"tool_result","tool_use_id":"c1"}`, translator.Block{Type: translator.BlockToolResult, ID: "c1"}},
		{"result of blocks", "user", `{"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"r"},{"type":"image","source":{"type":"url","url":"u"}},{"type":"tool_reference","tool_name":"g"}]}`,
			translator.Block{Type: translator.BlockToolResult, ID: "c2", Content: []translator.Block{{Text: raw(`"r"`)},
				{Type: translator.BlockImage, Media: translator.Media{Type: translator.MediaURL, Data: raw(`"u"`)}}, {Text: raw(`"Tool available: g"`)}}}},
		{"server tool", "assistant", `{"type":"server_tool_use","id":"s","name":"web_search","input":{}}`,
			translator.Block{Type: translator.BlockOther, Kind: "server_tool_use", Raw: raw(`{"type":"server_tool_use","id":"s","name":"web_search","input":{}}`)}},
	} {
		r := decode(t, body(c.role, c.block))
		m := r.Messages[len(r.Messages)-1]
		got := m.Content[0]
		if got.Place != translator.At("messages", 2).Part(0) {
			t.Errorf("%s: at %+v", c.why, got.Place)
		}
		forgetPlaces(&got)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.why, got, c.want)
		}
	}
	r := decode(t, body("user", `{"type":"text","text":"a"},{"type":"tool_result","tool_use_id":"c2"},{"type":"tool_result","tool_use_id":"c1"}`))
	if m := r.Messages[2].Content; m[0].ID != "c2" || m[1].ID != "c1" || m[2].Type != translator.BlockText || m[0].Place.J != 1 {
		t.Errorf("results come first, in their order: %+v", m)
	}
	r = decode(t, body("system", `{"type":"text","text":"a"}`))
	if r.Messages[2].Role != translator.RoleSystem || r.Messages[1].Role != translator.RoleAssistant {
		t.Errorf("got %+v", r.Messages)
	}
}

func forgetPlaces(b *translator.Block) {
	b.Place = translator.Place{}
	for i := range b.Content {
		forgetPlaces(&b.Content[i])
	}
}

func TestDecode_Malformed(t *testing.T) {
	msgs := func(list string) string { return `{"model":"m","max_tokens":5,"messages":` + list + `}` }
	asst := func(block string) string { return msgs(`[{"role":"assistant","content":[` + block + `]}]`) }
	for _, c := range []struct{ body, path string }{
		{``, "body"}, {`[]`, "body"}, {`{"model":"m"`, "body"},
		{`{"model":"m","model":"n"}`, "model"},
		{`{"max_tokens":5,"messages":[]}`, "model"},
		{`{"model":7}`, "model"},
		{`{"model":""}`, "model"},
		{`{"model":"m"}`, "max_tokens"},
		{`{"model":"m","max_tokens":null}`, "max_tokens"},
		{`{"model":"m","max_tokens":"5"}`, "max_tokens"},
		{`{"model":"m","max_tokens":-1}`, "max_tokens"},
		{`{"model":"m","max_tokens":1.5}`, "max_tokens"},
		{`{"model":"m","max_tokens":5}`, "messages"},
		{msgs(`{}`), "messages"}, {msgs(`"x"`), "messages"}, {msgs(`[]`), "messages"}, {msgs(`null`), "messages"},
		{msgs(`["x"]`), "messages.0"}, {msgs(`[null]`), "messages.0"},
		{msgs(`[{"content":"x"}]`), "messages.0.role"},
		{msgs(`[{"role":"tool","content":"x"}]`), "messages.0.role"},
		{msgs(`[{"role":1,"content":"x"}]`), "messages.0.role"},
		{msgs(`[{"role":"user","role":"user","content":"x"}]`), "messages.0.role"},
		{msgs(`[{"role":"user"}]`), "messages.0.content"},
		{msgs(`[{"role":"user","content":null}]`), "messages.0.content"},
		{msgs(`[{"role":"user","content":{}}]`), "messages.0.content"},
		{say(`["x"]`), "messages.0.content.0"},
		{say(`[{"type":"text","text":"a"},{"text":"a"}]`), "messages.0.content.1.type"},
		{say(`[{"type":1}]`), "messages.0.content.0.type"},
		{say(`[{"type":""}]`), "messages.0.content.0.type"},
		{say(`[{"type":"text"}]`), "messages.0.content.0.text"},
		{say(`[{"type":"text","text":[]}]`), "messages.0.content.0.text"},
		{say(`[{"type":"text","text":"a","citations":{}}]`), "messages.0.content.0.citations"},
		{say(`[{"type":"text","text":"a","citations":[1]}]`), "messages.0.content.0.citations"},
		{say(`[{"type":"text","text":"a","cache_control":true}]`), "messages.0.content.0.cache_control"},
		{say(`[{"type":"image"}]`), "messages.0.content.0.source"},
		{say(`[{"type":"image","source":"x"}]`), "messages.0.content.0.source"},
		{say(`[{"type":"image","source":{}}]`), "messages.0.content.0.source.type"},
		{say(`[{"type":"image","source":{"type":"text"}}]`), "messages.0.content.0.source.type"},
		{say(`[{"type":"image","source":{"type":"base64","data":"x"}}]`), "messages.0.content.0.source.media_type"},
		{say(`[{"type":"image","source":{"type":"base64","media_type":"image/png"}}]`), "messages.0.content.0.source.data"},
		{say(`[{"type":"image","source":{"type":"url"}}]`), "messages.0.content.0.source.url"},
		{say(`[{"type":"image","source":{"type":"file"}}]`), "messages.0.content.0.source.file_id"},
		{say(`[{"type":"document"}]`), "messages.0.content.0.source"},
		{say(`[{"type":"document","source":{"type":"x"}}]`), "messages.0.content.0.source.type"},
		{say(`[{"type":"document","source":{"type":"text"}}]`), "messages.0.content.0.source.data"},
		{say(`[{"type":"document","title":1,"source":{"type":"text","data":"x"}}]`), "messages.0.content.0.title"},
		{say(`[{"type":"document","citations":{"enabled":1},"source":{"type":"text","data":"x"}}]`), "messages.0.content.0.citations.enabled"},
		{say(`[{"type":"document","source":{"type":"content"}}]`), "messages.0.content.0.source.content"},
		{say(`[{"type":"document","source":{"type":"content","content":[{"type":"document"}]}}]`), "messages.0.content.0.source.content.0.type"},
		{say(`[{"type":"search_result","source":"s","content":[]}]`), "messages.0.content.0.title"},
		{say(`[{"type":"search_result","title":"t","source":"s","content":"x"}]`), "messages.0.content.0.content"},
		{say(`[{"type":"thinking","thinking":"x"}]`), "messages.0.content.0.type"},
		{say(`[{"type":"tool_use","id":"a","name":"b","input":{}}]`), "messages.0.content.0.type"},
		{say(`[{"type":"tool_result","tool_use_id":"a"}]`), "messages.0.content.0.tool_use_id"},
		{say(`[{"type":"tool_result"}]`), "messages.0.content.0.tool_use_id"},
		{asst(`{"type":"thinking"}`), "messages.0.content.0.thinking"},
		{asst(`{"type":"thinking","thinking":"x","signature":1}`), "messages.0.content.0.signature"},
		{asst(`{"type":"redacted_thinking"}`), "messages.0.content.0.data"},
		{asst(`{"type":"tool_use","name":"b"}`), "messages.0.content.0.id"},
		{asst(`{"type":"tool_use","id":"a"}`), "messages.0.content.0.name"},
		{asst(`{"type":"tool_use","id":"a","name":"b","input":"{}"}`), "messages.0.content.0.input"},
		{asst(`{"type":"image","source":{"type":"url","url":"u"}}`), "messages.0.content.0.type"},
		{msgs(`[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text"}]}]}]`), "messages.1.content.0.content.0.text"},
		{msgs(`[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[7]}]}]`), "messages.1.content.0.content.0"},
		{msgs(`[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"tool_result"}]}]}]`), "messages.1.content.0.content.0.type"},
		{msgs(`[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","is_error":"no"}]}]`), "messages.1.content.0.is_error"},
		{with(`"system":7`), "system"},
		{with(`"system":["x"]`), "system.0"},
		{with(`"system":[{"type":"image","source":{"type":"url","url":"u"}}]`), "system.0.type"},
		{with(`"stream":"yes"`), "stream"},
		{with(`"temperature":"1"`), "temperature"},
		{with(`"top_p":[]`), "top_p"},
		{with(`"top_k":"1"`), "top_k"},
		{with(`"stop_sequences":"x"`), "stop_sequences"},
		{with(`"stop_sequences":["x",1]`), "stop_sequences.1"},
		{with(`"metadata":"x"`), "metadata"},
		{with(`"metadata":{"user_id":1}`), "metadata.user_id"},
		{with(`"service_tier":"gold"`), "service_tier"},
		{with(`"cache_control":"x"`), "cache_control"},
		{with(`"thinking":true`), "thinking"},
		{with(`"thinking":{}`), "thinking.type"},
		{with(`"thinking":{"type":"much"}`), "thinking.type"},
		{with(`"thinking":{"type":"enabled"}`), "thinking.budget_tokens"},
		{with(`"thinking":{"type":"enabled","budget_tokens":"9"}`), "thinking.budget_tokens"},
		{with(`"thinking":{"type":"adaptive","display":"all"}`), "thinking.display"},
		{with(`"output_config":1`), "output_config"},
		{with(`"output_config":{"effort":"most"}`), "output_config.effort"},
		{with(`"output_config":{"format":"json"}`), "output_config.format"},
		{with(`"output_config":{"format":{"type":"json_object"}}`), "output_config.format.type"},
		{with(`"output_config":{"format":{"type":"json_schema"}}`), "output_config.format.schema"},
		{with(`"tools":{}`), "tools"},
		{with(`"tools":[1]`), "tools.0"},
		{with(`"tools":[{"type":1}]`), "tools.0.type"},
		{with(`"tools":[{"input_schema":{}}]`), "tools.0.name"},
		{with(`"tools":[{"name":"a","description":1}]`), "tools.0.description"},
		{with(`"tools":[{"name":"a","input_schema":"x"}]`), "tools.0.input_schema"},
		{with(`"tools":[{"name":"a","strict":1}]`), "tools.0.strict"},
		{with(`"tools":[{"name":"a"},{"name":"a"}]`), "tools.1.name"},
		{with(`"tool_choice":"auto"`), "tool_choice"},
		{with(`"tool_choice":{}`), "tool_choice.type"},
		{with(`"tool_choice":{"type":"required"}`), "tool_choice.type"},
		{with(`"tools":[{"name":"a"}],"tool_choice":{"type":"tool"}`), "tool_choice.name"},
		{with(`"tools":[{"name":"a"}],"tool_choice":{"type":"tool","name":"b"}`), "tool_choice.name"},
	} {
		r, err := codec.Decode([]byte(c.body))
		var field *translator.FieldError
		if !errors.As(err, &field) || field.Path(core.DialectAnthropic) != c.path || field.Message == "" || r != nil {
			t.Errorf("%s:\ngot %v, want %s", c.body, err, c.path)
		}
	}
}

// FuzzDecode: nothing panics, and what decodes encodes to JSON that decodes to the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(say(`[{"type":"text","text":"a"},{"type":"image","source":{"type":"url","url":"u"}}]`)))
	f.Add([]byte(with(`"tools":[{"name":"a"}],"tool_choice":{"type":"any"},"thinking":{"type":"enabled","budget_tokens":1024},"system":"s"`)))
	f.Add([]byte(`{"model":"m","max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"s"},{"type":"tool_use","id":"a","name":"b"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"document","source":{"type":"content","content":[]}}]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := codec.Decode(body)
		if err != nil {
			var field *translator.FieldError
			if !errors.As(err, &field) {
				t.Fatalf("got %v", err)
			}
			return
		}
		for _, from := range []core.Dialect{core.DialectAnthropic, core.DialectOpenAIChat} {
			r.From = from
			for _, model := range []string{"claude-opus-5", "claude-3-7-sonnet"} {
				enc, err := codec.Encode(r, translator.Target{Model: model})
				if err == nil && !json.Valid(enc.Body) {
					t.Fatalf("%s\nencodes to\n%s", body, enc.Body)
				}
			}
		}
	})
}
