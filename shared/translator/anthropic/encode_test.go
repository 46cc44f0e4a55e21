package anthropic_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

func text(s string) translator.Block { return translator.Block{Text: translator.Quote(s)} }

func user(blocks ...translator.Block) translator.Message { return translator.Message{Content: blocks} }

func assistant(blocks ...translator.Block) translator.Message {
	return translator.Message{Role: translator.RoleAssistant, Content: blocks}
}

func call(id string) translator.Block {
	return translator.Block{Type: translator.BlockToolUse, ID: id, Name: "f", Input: raw(`{"a":1}`)}
}

func result(id string, blocks ...translator.Block) translator.Block {
	return translator.Block{Type: translator.BlockToolResult, ID: id, Content: blocks}
}

func thought(s string) translator.Block {
	return translator.Block{Type: translator.BlockThinking, Text: translator.Quote(s), Signature: raw(`"sig"`)}
}

// chat is a request of a chat client, with a message if it has none.
func chat(r translator.Request) *translator.Request {
	if r.From == "" {
		r.From = core.DialectOpenAIChat
	}
	if r.Messages == nil && r.System == nil {
		r.Messages = []translator.Message{user(text("hi"))}
	}
	return &r
}

// member is a member of the encoded body.
func field(t *testing.T, body []byte, name string) string {
	t.Helper()
	v, err := rawjson.Find(body, name)
	if err != nil || !json.Valid(body) {
		t.Fatalf("%v: %s", err, body)
	}
	return string(v.Raw())
}

func TestEncode_Members(t *testing.T) {
	fn := func(t translator.Tool) []translator.Tool { t.Name = "f"; return []translator.Tool{t} }
	tools := fn(translator.Tool{})
	for _, c := range []struct {
		why, model string
		r          translator.Request
		name, want string
		dropped    string
	}{
		{"max_tokens as it came", "claude-opus-5", translator.Request{MaxTokens: raw("1000000")}, "max_tokens", "1000000", ""},
		{"max_tokens is demanded", "claude-opus-5", translator.Request{}, "max_tokens", "32000", ""},
		{"max_tokens of old models", "claude-3-haiku-20240307", translator.Request{}, "max_tokens", "4096", ""},
		{"the node's model", "x", translator.Request{Model: "y"}, "model", `"x"`, ""},
		{"stream", "x", translator.Request{Stream: true}, "stream", "true", ""},
		{"no stream", "x", translator.Request{}, "stream", "", ""},
		{"temperature", "x", translator.Request{Temperature: raw("0.70")}, "temperature", "0.70", ""},
		{"temperature is capped", "x", translator.Request{Temperature: raw("1.5")}, "temperature", "1", "temperature"},
		{"top_p", "x", translator.Request{TopP: raw("0.5")}, "top_p", "0.5", ""},
		{"top_p beside temperature", "x", translator.Request{TopP: raw("0.5"), Temperature: raw("1")}, "top_p", "", "top_p"},
		{"no temperature beside thinking", "claude-opus-5", translator.Request{Temperature: raw("1"), Effort: "low"}, "temperature", "", "temperature"},
		{"stop", "x", translator.Request{Stop: []string{"a", "\n", "", "b"}}, "stop_sequences", `["a","b"]`, ""},
		{"user", "x", translator.Request{User: "u\""}, "metadata", `{"user_id":"u\""}`, ""},
		{"a user that is too long", "x", translator.Request{User: strings.Repeat("u", 257)}, "metadata", `{"user_id":"36868c95693f7961e19205254a6e6135"}`, ""},
		{"tier", "x", translator.Request{ServiceTier: "default"}, "service_tier", `"standard_only"`, ""},
		{"tier auto", "x", translator.Request{ServiceTier: "auto"}, "service_tier", `"auto"`, ""},
		{"tier of another API", "x", translator.Request{ServiceTier: "flex"}, "service_tier", "", "service_tier"},
		{"extras", "x", translator.Request{Extras: []translator.Field{{Name: "seed", Value: raw("1")}}}, "seed", "", "seed"},
		{"cache key", "x", translator.Request{CacheKey: "k"}, "prompt_cache_key", "", "prompt_cache_key"},
		{"format", "claude-sonnet-4-5", translator.Request{Format: &translator.Format{Schema: raw(`{"a":1}`), Name: "n"}}, "output_config", `{"format":{"type":"json_schema","schema":{"a":1}}}`, ""},

		{"effort", "claude-opus-5", translator.Request{Effort: "high"}, "output_config", `{"effort":"high"}`, ""},
		{"least effort", "claude-opus-5", translator.Request{Effort: "minimal"}, "output_config", `{"effort":"low"}`, ""},
		{"effort and format", "claude-opus-5", translator.Request{Effort: "max", Format: &translator.Format{Schema: raw(`{}`)}}, "output_config", `{"effort":"max","format":{"type":"json_schema","schema":{}}}`, ""},
		{"effort thinks", "claude-opus-5", translator.Request{Effort: "high"}, "thinking", `{"type":"adaptive"}`, ""},
		{"a summary is shown", "claude-opus-5", translator.Request{Effort: "high", Summary: "auto"}, "thinking", `{"type":"adaptive","display":"summarized"}`, ""},
		{"no effort given", "claude-opus-5", translator.Request{}, "thinking", "", ""},
		{"no thinking", "claude-opus-5", translator.Request{Effort: "none"}, "thinking", `{"type":"disabled"}`, ""},
		{"effort of a model without adaptive thinking", "claude-opus-4-5", translator.Request{Effort: "low"}, "thinking", "", ""},
		{"effort of a forced call", "claude-opus-5", translator.Request{Effort: "low", Tools: tools, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceAny}}, "thinking", "", ""},
		{"a budget", "claude-sonnet-4-5", translator.Request{Effort: "medium"}, "thinking", `{"type":"enabled","budget_tokens":8192}`, ""},
		{"a budget below the limit", "claude-sonnet-4-5", translator.Request{Effort: "high", MaxTokens: raw("2000")}, "thinking", `{"type":"enabled","budget_tokens":1999}`, ""},
		{"no room for a budget", "claude-sonnet-4-5", translator.Request{Effort: "high", MaxTokens: raw("1024")}, "thinking", "", "reasoning_effort"},
		{"a model that cannot think", "claude-3-5-sonnet-latest", translator.Request{Effort: "high"}, "thinking", "", "reasoning_effort"},
		{"another client's name of it", "claude-3-5-sonnet-latest", translator.Request{From: core.DialectOpenAIResponses, Effort: "high"}, "thinking", "", "reasoning"},
		{"a budget of a forced call", "claude-sonnet-4-5", translator.Request{Effort: "low", Tools: tools, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: "f"}}, "thinking", "", "reasoning_effort"},
		{"results of calls without thinking", "claude-sonnet-4-5", translator.Request{Effort: "low", Messages: []translator.Message{user(text("q")), assistant(call("c")), user(result("c"))}}, "thinking", "", "reasoning_effort"},
		{"results of calls with thinking", "claude-sonnet-4-5", translator.Request{Effort: "low", Messages: []translator.Message{user(text("q")), assistant(thought("t"), call("c")), user(result("c"))}}, "thinking", `{"type":"enabled","budget_tokens":2048}`, ""},
		{"a budget of the client's", "claude-sonnet-4-5", translator.Request{Thinking: &translator.Thinking{Type: "enabled", Budget: raw("3000")}}, "thinking", `{"type":"enabled","budget_tokens":3000}`, ""},

		{"no tools", "x", translator.Request{Tools: []translator.Tool{}, ToolChoice: &translator.ToolChoice{}}, "tool_choice", "", ""},
		{"a tool without parameters", "x", translator.Request{Tools: tools}, "tools", `[{"name":"f","input_schema":{"type":"object","properties":{}}}]`, ""},
		{"a schema without type", "x", translator.Request{Tools: fn(translator.Tool{Schema: raw(`{ "properties":{"a":{}}}`)})}, "tools", `[{"name":"f","input_schema":{"type":"object", "properties":{"a":{}}}}]`, ""},
		{"an empty schema", "x", translator.Request{Tools: fn(translator.Tool{Schema: raw(`{ }`), Description: raw(`""`)})}, "tools", `[{"name":"f","description":"","input_schema":{"type":"object","properties":{}}}]`, ""},
		{"a schema as it came", "x", translator.Request{Tools: fn(translator.Tool{Schema: raw(`{"type":"object", "x":1}`), Strict: raw("true"), CacheControl: raw(`{"c":1}`), Defer: raw("true")})}, "tools",
			`[{"name":"f","input_schema":{"type":"object", "x":1},"strict":true,"cache_control":{"c":1}}]`, ""},
		{"strict of old models", "claude-opus-4-1", translator.Request{Tools: fn(translator.Tool{Strict: raw("true")})}, "tools", `[{"name":"f","input_schema":{"type":"object","properties":{}}}]`, "strict"},
		{"free text", "x", translator.Request{Tools: fn(translator.Tool{Type: translator.ToolCustom, Description: raw(`"d"`), Grammar: raw(`{"type":"grammar","syntax":"lark","definition":"a: \"b\""}`)})}, "tools",
			`[{"name":"f","description":"d\n\nThe text in \"input\" must match this grammar (lark):\na: \"b\"","input_schema":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}}]`, ""},
		{"chat's form of a grammar", "x", translator.Request{Tools: fn(translator.Tool{Type: translator.ToolCustom, Grammar: raw(`{"type":"grammar","grammar":{"syntax":"regex","definition":"x+"}}`)})}, "tools",
			`[{"name":"f","description":"The text in \"input\" must match this grammar (regex):\nx+","input_schema":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}}]`, ""},
		{"a shell", "x", translator.Request{Tools: fn(translator.Tool{Type: translator.ToolShell, Schema: raw(`{"type":"object"}`)})}, "tools", `[{"name":"f","input_schema":{"type":"object"}}]`, ""},
		{"allowed tools", "x", translator.Request{Tools: []translator.Tool{{Name: "f"}, {Name: "g"}}, ToolChoice: &translator.ToolChoice{Allowed: []string{"g"}}}, "tools", `[{"name":"g","input_schema":{"type":"object","properties":{}}}]`, ""},
		{"choice", "x", translator.Request{Tools: tools, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: "f", NoParallel: true}}, "tool_choice", `{"type":"tool","name":"f","disable_parallel_tool_use":true}`, ""},
		{"any", "x", translator.Request{Tools: tools, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceAny}}, "tool_choice", `{"type":"any"}`, ""},
		{"none", "x", translator.Request{Tools: tools, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceNone, NoParallel: true}}, "tool_choice", `{"type":"none"}`, ""},
		{"one call at a time", "x", translator.Request{Tools: tools, ToolChoice: &translator.ToolChoice{Implied: true, NoParallel: true}}, "tool_choice", `{"type":"auto","disable_parallel_tool_use":true}`, ""},
	} {
		enc, err := codec.Encode(chat(c.r), translator.Target{Model: c.model})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := field(t, enc.Body, c.name); got != c.want {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
		if got := strings.Join(enc.Dropped, " "); got != c.dropped {
			t.Errorf("%s: dropped %q, want %q", c.why, got, c.dropped)
		}
	}
}

func TestEncode_Messages(t *testing.T) {
	sys := func(s string) translator.Message {
		return translator.Message{Role: translator.RoleSystem, Content: []translator.Block{text(s)}}
	}
	media := func(b translator.BlockType, m translator.Media) translator.Block {
		return translator.Block{Type: b, Media: m}
	}
	marked := text("m")
	marked.CacheControl = raw(`{"type":"ephemeral"}`)
	failed := result("c")
	failed.IsError = true
	foreign := translator.Block{Type: translator.BlockThinking, Text: raw(`"t"`), Signature: translator.CarryReasoning("i", raw(`"e"`))}
	for _, c := range []struct {
		why              string
		system           []translator.Block
		messages         []translator.Message
		wantSystem, want string
	}{
		{"system", []translator.Block{text("a"), text(""), marked}, []translator.Message{user(text("q"))},
			`[{"type":"text","text":"a"},{"type":"text","text":"m","cache_control":{"type":"ephemeral"}}]`, `user q`},
		{"system alone", []translator.Block{text("a")}, nil, "", `user a`},
		{"turns are merged", nil, []translator.Message{user(text("a")), user(text("b")), assistant(text("c")), assistant(text("d"))}, "", `user a b|assistant c d`},
		{"empty texts and messages", nil, []translator.Message{user(text("a")), assistant(text(" \n")), user(text("")), user(text("b"))}, "", `user a b`},
		{"a system message within", nil, []translator.Message{user(text("a")), sys("s"), assistant(text("b"))}, "", "user a <system>\ns\n</system>|assistant b"},
		{"results follow their calls", nil, []translator.Message{user(text("a")), assistant(call("c"), call("d")), sys("s"), user(result("d", text("1"))), user(text("b")), user(result("c", text("2")))}, "",
			"user a|assistant call:c call:d|user result:d result:c <system>\ns\n</system> b"},
		{"ids that are refused", nil, []translator.Message{assistant(call("f.x:1")), user(result("f.x:1", text("1")))}, "", `assistant call:toolu_1f03fa5b7f23fa2285bd31f1|user result:toolu_1f03fa5b7f23fa2285bd31f1`},
		{"thinking", nil, []translator.Message{assistant(thought("t"), translator.Block{Type: translator.BlockRedacted, Signature: raw(`"d"`)}, text("a"))}, "", `assistant thinking redacted_thinking a`},
		{"thinking of others", nil, []translator.Message{assistant(foreign, translator.Block{Type: translator.BlockThinking, Text: raw(`"t"`)}, text("a"))}, "", `assistant a`},
		{"a refusal is text", nil, []translator.Message{assistant(translator.Block{Text: raw(`"no"`), Refusal: true})}, "", `assistant no`},
	} {
		enc, err := codec.Encode(&translator.Request{From: core.DialectOpenAIChat, System: c.system, Messages: c.messages}, translator.Target{Model: "x"})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := field(t, enc.Body, "system"); got != c.wantSystem {
			t.Errorf("%s: system %s", c.why, got)
		}
		if got := outline(t, enc.Body); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.why, got, c.want)
		}
	}
	for _, c := range []struct {
		why   string
		block translator.Block
		want  string
	}{
		{"image", media(translator.BlockImage, translator.Media{MIME: "image/png", Data: raw(`"QQ=="`)}), `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}`},
		{"image by URL", media(translator.BlockImage, translator.Media{Type: translator.MediaURL, Data: raw(`"u"`)}), `{"type":"image","source":{"type":"url","url":"u"}}`},
		{"document", media(translator.BlockDocument, translator.Media{MIME: "application/pdf", Data: raw(`"QQ=="`), Title: raw(`"t"`), Context: raw(`"c"`), Cited: true}),
			`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"QQ=="},"title":"t","context":"c","citations":{"enabled":true}}`},
		{"document of text", media(translator.BlockDocument, translator.Media{Type: translator.MediaText, Data: raw(`"x"`)}), `{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"}}`},
		{"text in base64", media(translator.BlockDocument, translator.Media{MIME: "text/markdown", Data: raw(`"w6k="`)}), `{"type":"document","source":{"type":"text","media_type":"text/plain","data":"é"}}`},
		{"document of content", translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaBlocks}, Content: []translator.Block{text("a"), text("b")}},
			`{"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}`},
		{"an empty result", result("c", text("")), `{"type":"tool_result","tool_use_id":"c","content":""}`},
		{"an empty error", failed, `{"type":"tool_result","tool_use_id":"c","content":"Error","is_error":true}`},
		{"an image in a result", result("c", text("a"), media(translator.BlockImage, translator.Media{Type: translator.MediaURL, Data: raw(`"u"`)})),
			`{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"url","url":"u"}}]}`},
	} {
		enc, err := codec.Encode(chat(translator.Request{Messages: []translator.Message{user(c.block)}}), translator.Target{Model: "x"})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		want := `[{"role":"user","content":[` + c.want + `]}]`
		if got := field(t, enc.Body, "messages"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.why, got, want)
		}
	}
}

// outline is a body's conversation in short.
func outline(t *testing.T, body []byte) string {
	t.Helper()
	var b struct {
		Messages []struct {
			Role    string
			Content []struct {
				Type, Text, ID string
				ToolUseID      string `json:"tool_use_id"`
			}
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	var turns []string
	for _, m := range b.Messages {
		turn := m.Role
		for _, c := range m.Content {
			switch c.Type {
			case "text":
				turn += " " + c.Text
			case "tool_use":
				turn += " call:" + c.ID
			case "tool_result":
				turn += " result:" + c.ToolUseID
			default:
				turn += " " + c.Type
			}
		}
		turns = append(turns, turn)
	}
	return strings.Join(turns, "|")
}

func TestEncode_Refused(t *testing.T) {
	server := []translator.Tool{{Name: "s", Type: translator.ToolServer, Kind: "web_search", Raw: raw(`{}`)}}
	one := func(b translator.Block) []translator.Message {
		b.Place = translator.At("messages", 0).Part(0)
		return []translator.Message{user(b)}
	}
	for _, c := range []struct {
		why  string
		r    translator.Request
		path string
	}{
		{"choices", translator.Request{Extras: []translator.Field{{Name: "n", Value: raw("2")}}}, "n"},
		{"audio", translator.Request{Extras: []translator.Field{{Name: "modalities", Value: raw("[]")}}}, "modalities"},
		{"log probabilities", translator.Request{Logprobs: true}, "logprobs"},
		{"top log probabilities", translator.Request{TopLogprobs: raw("2")}, "top_logprobs"},
		{"log probabilities of the Responses API", translator.Request{From: core.DialectOpenAIResponses, Logprobs: true}, "include"},
		{"any JSON", translator.Request{Format: &translator.Format{}}, "response_format"},
		{"any JSON of the Responses API", translator.Request{From: core.DialectOpenAIResponses, Format: &translator.Format{}}, "text.format"},
		{"a server tool that must be called", translator.Request{Tools: server, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: "s", Place: translator.At("tool_choice", -1)}}, "tool_choice"},
		{"only server tools when one must be called", translator.Request{Tools: server, ToolChoice: &translator.ToolChoice{Type: translator.ChoiceAny, Place: translator.At("tool_choice", -1)}}, "tool_choice"},
		{"a server tool that was used", translator.Request{Tools: server, Messages: one(translator.Block{Type: translator.BlockOther, Kind: "web_search"})}, "messages[0].content[0].type"},
		{"another upstream's file", translator.Request{Messages: one(translator.Block{Type: translator.BlockDocument, Media: translator.Media{Type: translator.MediaFile, Data: raw(`"f"`)}})}, "messages[0].content[0].file_id"},
		{"a document of an unknown kind", translator.Request{Messages: one(translator.Block{Type: translator.BlockDocument, Media: translator.Media{MIME: "application/zip", Data: raw(`"QQ=="`)}})}, "messages[0].content[0]"},
		{"nothing to say", translator.Request{Messages: one(text(" "))}, "messages"},
	} {
		_, err := codec.Encode(chat(c.r), translator.Target{Model: "claude-opus-5"})
		var f *translator.FieldError
		if !errors.As(err, &f) || f.Path(core.DialectOpenAIChat) != c.path {
			t.Errorf("%s: got %v, want %s", c.why, err, c.path)
		}
	}
	_, err := codec.Encode(chat(translator.Request{Format: &translator.Format{Schema: raw("{}")}}), translator.Target{Model: "claude-opus-4-1"})
	if err == nil {
		t.Error("structured output of a model without it passes")
	}
	enc, err := codec.Encode(chat(translator.Request{Tools: server, Stop: []string{" \n"}}), translator.Target{Model: "x"})
	if err != nil || !reflect.DeepEqual(enc.Tools, []string{"s"}) || field(t, enc.Body, "tools") != "" || !reflect.DeepEqual(enc.Enforce.Stop, []string{" \n"}) {
		t.Errorf("an unused server tool and a stop sequence of whitespace: %+v, %v", enc, err)
	}
}

// TestEncode_SameDialect: what came in this dialect goes out with nothing lost.
func TestEncode_SameDialect(t *testing.T) {
	r := decode(t, `{"model":"m","max_tokens":5,"speed":"fast","tools":[{"type":"bash_20250124","name":"bash"}],"system":"s","messages":[
		{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"n","input":{}}]}]}`)
	enc, err := codec.Encode(r, translator.Target{Model: "x"})
	want := `{"model":"x","max_tokens":5,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},` +
		`{"role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"n","input":{}}]}],"tools":[{"type":"bash_20250124","name":"bash"}],"speed":"fast"}`
	if err != nil || string(enc.Body) != want || len(enc.Dropped) > 0 {
		t.Errorf("got %s, %v", enc.Body, err)
	}
}
