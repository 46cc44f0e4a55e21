package bedrock_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
)

// part returns a member of the body, by its path.
func part(t *testing.T, body []byte, path string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i := int(name[0] - '0')
			if v = nil; i < len(x) {
				v = x[i]
			}
		}
	}
	if v == nil {
		return ""
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What a request of the Messages API becomes.
func TestEncode(t *testing.T) {
	const thought = `{"type":"thinking","thinking":"hm","signature":"c2ln"}`
	for _, c := range []struct {
		why, model, messages, more string
		path, want                 string
		dropped                    []string
	}{
		{"limits are the service's own", sonnet, hi, `,"temperature":0.5,"stop_sequences":["END"]`, "inferenceConfig", `{"maxTokens":1000,"stopSequences":["END"],"temperature":0.5}`, nil},
		{"the stop sequence that came is asked for", sonnet, hi, `,"stop_sequences":["END"]`, "additionalModelResponseFieldPaths", `["/stop_sequence"]`, nil},
		{"top_k has no place but the model's own", sonnet, hi, `,"top_k":5`, "additionalModelRequestFields", `{"top_k":5}`, nil},
		{"Nova has it elsewhere", nova, hi, `,"top_k":5`, "additionalModelRequestFields", `{"inferenceConfig":{"topK":5}}`, nil},
		{"of others it is not known", llama, hi, `,"top_k":5`, "additionalModelRequestFields", ``, []string{"top_k"}},
		{"more heat than there is", sonnet, hi, `,"temperature":1.5`, "inferenceConfig.temperature", `1`, []string{"temperature"}},
		{"both of the samplings, which Claude 4.5 refuses", sonnet, hi, `,"temperature":0.5,"top_p":0.5`, "inferenceConfig.topP", ``, []string{"top_p"}},
		{"both of them elsewhere", nova, hi, `,"temperature":0.5,"top_p":0.5`, "inferenceConfig.topP", `0.5`, nil},
		{"blank text is refused by the service", sonnet, user(`[{"type":"text","text":" "},{"type":"text","text":"a"}]`), ``, "messages.0.content", `[{"text":"a"}]`, nil},
		{"an assistant that begins", sonnet, assistant(`"x"`) + `,` + hi, ``, "messages.0", `{"content":[{"text":"(The assistant begins.)"}],"role":"user"}`, nil},
		{"two messages of a side", sonnet, hi + `,` + hi, ``, "messages", `[{"content":[{"text":"hi"},{"text":"hi"}],"role":"user"}]`, nil},
		{"system blocks stay blocks", sonnet, hi, `,"system":[{"type":"text","text":"a"},{"type":"text","text":"b"}]`, "system", `[{"text":"a"},{"text":"b"}]`, nil},
		{"a line that changes with every request would spoil the cache", sonnet, hi, `,"system":[{"type":"text","text":"x-anthropic-billing-header: cc=1"},{"type":"text","text":"x-anthropic-billing-header: cc=1\nRules."}]`, "system", `[{"text":"Rules."}]`, nil},
		{"a mark is a cache point behind", sonnet, user(`[{"type":"text","text":"a"` + mark + `}]`), ``, "messages.0.content", `[{"text":"a"},{"cachePoint":{"type":"default"}}]`, nil},
		{"an hour is kept", sonnet, hi, `,"system":[{"type":"text","text":"a"` + mark1 + `}]`, "system.1", `{"cachePoint":{"ttl":"1h","type":"default"}}`, nil},
		{"an hour that the model does not have is named", old, hi, `,"system":[{"type":"text","text":"a"` + mark1 + `}]`, "system.1", `{"cachePoint":{"type":"default"}}`, []string{"cache_control.ttl"}},
		{"a mark that the model refuses is named", llama, user(`[{"type":"text","text":"a"` + mark + `}]`), ``, "messages.0.content", `[{"text":"a"}]`, []string{"cache_control"}},
		{"a mark on a blank text goes to what is before it", sonnet, user(`[{"type":"text","text":"a"},{"type":"text","text":" "` + mark + `}]`), ``, "messages.0.content.1", `{"cachePoint":{"type":"default"}}`, nil},
		{"a mark within a result", sonnet, hi + `,` + assistant(`[`+call("a", "f")+`]`) + `,` + user(`[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x"`+mark+`}]}]`), aTool, "messages.2.content.1", `{"cachePoint":{"type":"default"}}`, nil},
		{"a mark on tools", sonnet, hi, `,"tools":[{"name":"f","input_schema":{"type":"object"}` + mark + `}]`, "toolConfig.tools.1", `{"cachePoint":{"type":"default"}}`, nil},
		{"Nova has none on tools", nova, hi, `,"tools":[{"name":"f","input_schema":{"type":"object"}` + mark + `}]`, "toolConfig.tools.1", ``, []string{"cache_control"}},
		{"a mark on the whole prompt", sonnet, hi, mark, "messages.0.content.1", `{"cachePoint":{"type":"default"}}`, nil},
		{"five marks: the first goes, and is named", sonnet, user(`[{"type":"text","text":"1"` + mark + `},{"type":"text","text":"2"` + mark + `},{"type":"text","text":"3"` + mark + `},{"type":"text","text":"4"` + mark + `}]`),
			`,"system":[{"type":"text","text":"s"` + mark + `}]`, "system", `[{"text":"s"}]`, []string{"cache_control"}},
		{"thinking comes back as it was", sonnet, hi + `,` + assistant(`[`+thought+`,{"type":"redacted_thinking","data":"ZGF0YQ=="},`+call("a", "f")+`]`) + `,` + user(`[`+answer("a", "x")+`]`), aTool, "messages.1.content",
			`[{"reasoningContent":{"reasoningText":{"signature":"c2ln","text":"hm"}}},{"reasoningContent":{"redactedContent":"ZGF0YQ=="}},{"toolUse":{"input":{"a":1},"name":"f","toolUseId":"a"}}]`, nil},
		{"thinking of another's means nothing to Llama", llama, hi + `,` + assistant(`[`+thought+`,{"type":"text","text":"x"}]`) + `,` + hi, ``, "messages.1.content", `[{"text":"x"}]`, nil},
		{"a budget", sonnet, hi, `,"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1500},"temperature":1,"top_k":3`, "additionalModelRequestFields", `{"thinking":{"budget_tokens":1500,"type":"enabled"}}`, []string{"temperature", "top_k"}},
		{"a budget for a model that decides itself", opus, hi, `,"thinking":{"type":"enabled","budget_tokens":1500}`, "additionalModelRequestFields", `{"thinking":{"type":"adaptive"}}`, nil},
		{"effort and thinking", opus, hi, `,"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"high"}`, "additionalModelRequestFields", `{"thinking":{"display":"summarized","type":"adaptive"}}`, nil},
		{"effort", opus, hi, `,"output_config":{"effort":"high"}`, "outputConfig", `{"effort":"high"}`, nil},
		{"effort alone does not begin to think", opus, hi, `,"output_config":{"effort":"high"}`, "additionalModelRequestFields", ``, nil},
		{"an effort that Opus 4.5 refuses", opus45, hi, `,"output_config":{"effort":"max"}`, "outputConfig", ``, []string{"output_config.effort"}},
		{"another that it refuses, beside thinking", opus45, hi, `,"max_tokens":3000,"thinking":{"type":"enabled","budget_tokens":1500},"output_config":{"effort":"xhigh"}`, "additionalModelRequestFields", `{"thinking":{"budget_tokens":1500,"type":"enabled"}}`, []string{"output_config.effort"}},
		{"the most that it takes", opus45, hi, `,"output_config":{"effort":"high"}`, "outputConfig", `{"effort":"high"}`, nil},
		{"the most of those after it", opus, hi, `,"output_config":{"effort":"max"}`, "outputConfig", `{"effort":"max"}`, nil},
		{"thinking of a kind that is sent as another", opus, hi, `,"thinking":{"type":"between_tools"}`, "additionalModelRequestFields", `{"thinking":{"type":"adaptive"}}`, []string{"thinking"}},
		{"the same as a budget, with too small a limit for one: named once", sonnet, hi, `,"thinking":{"type":"between_tools"}`, "additionalModelRequestFields", ``, []string{"thinking"}},
		{"adaptive thinking and a call that must be", opus, hi, `,"thinking":{"type":"adaptive"},"tool_choice":{"type":"any"}` + aTool, "additionalModelRequestFields", ``, []string{"thinking"}},
		{"the same with an effort, which stays", opus, hi, `,"thinking":{"type":"adaptive"},"output_config":{"effort":"low"},"tool_choice":{"type":"any"}` + aTool, "outputConfig", `{"effort":"low"}`, []string{"thinking"}},
		{"no thinking", opus, hi, `,"thinking":{"type":"disabled"}`, "additionalModelRequestFields", `{"thinking":{"type":"disabled"}}`, nil},
		{"thinking where there is none", nova, hi, `,"thinking":{"type":"enabled","budget_tokens":1500}`, "additionalModelRequestFields", ``, []string{"thinking"}},
		{"thinking and a call that must be", sonnet, hi, `,"max_tokens":3000,"thinking":{"type":"enabled","budget_tokens":1500},"tool_choice":{"type":"any"}` + aTool, "additionalModelRequestFields", ``, []string{"thinking"}},
		{"structured output travels as text", sonnet, hi, `,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}`, "outputConfig", `{"textFormat":{"structure":{"jsonSchema":{"schema":"{\"type\":\"object\"}"}},"type":"json_schema"}}`, nil},
		{"any tool", sonnet, hi, `,"tool_choice":{"type":"any"}` + aTool, "toolConfig.toolChoice", `{"any":{}}`, nil},
		{"this tool", sonnet, hi, `,"tool_choice":{"type":"tool","name":"f"}` + aTool, "toolConfig.toolChoice", `{"tool":{"name":"f"}}`, nil},
		{"as the model likes", sonnet, hi, `,"tool_choice":{"type":"auto"}` + aTool, "toolConfig.toolChoice", `{"auto":{}}`, nil},
		{"no tool: none are sent", sonnet, hi, `,"tool_choice":{"type":"none"}` + aTool, "toolConfig", ``, nil},
		{"one call at a time", sonnet, hi, `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}` + aTool, "additionalModelRequestFields", `{"tool_choice":{"disable_parallel_tool_use":true,"type":"auto"}}`, nil},
		{"one call at a time elsewhere", nova, hi, `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}` + aTool, "additionalModelRequestFields", ``, []string{"tool_choice.disable_parallel_tool_use"}},
		{"a schema without a type", sonnet, hi, `,"tools":[{"name":"f","description":"","input_schema":{}}]`, "toolConfig.tools.0.toolSpec", `{"inputSchema":{"json":{"properties":{},"type":"object"}},"name":"f"}`, nil},
		{"a server tool beside others is left out", sonnet, hi, `,"tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"f","input_schema":{"type":"object"}}]`, "toolConfig.tools.1", ``, nil},
		{"a failed call", sonnet, hi + `,` + assistant(`[`+call("a", "f")+`]`) + `,` + user(`[{"type":"tool_result","tool_use_id":"a","is_error":true}]`), aTool, "messages.2.content", `[{"toolResult":{"content":[{"text":"Error"}],"status":"error","toolUseId":"a"}}]`, nil},
		{"a failed call where there is no status", llama, hi + `,` + assistant(`[`+call("a", "f")+`]`) + `,` + user(`[{"type":"tool_result","tool_use_id":"a","is_error":true,"content":"x"}]`), aTool, "messages.2.content", `[{"toolResult":{"content":[{"text":"(The tool call failed.)"},{"text":"x"}],"toolUseId":"a"}}]`, nil},
		{"a result of nothing", sonnet, hi + `,` + assistant(`[`+call("a", "f")+`]`) + `,` + user(`[`+answer("a", "")+`]`), aTool, "messages.2.content", `[{"toolResult":{"content":[{"text":"(no output)"}],"toolUseId":"a"}}]`, nil},
		{"an image in a result, and results first", sonnet, hi + `,` + assistant(`[`+call("a", "f")+`]`) + `,` + user(`[{"type":"text","text":"see"},{"type":"tool_result","tool_use_id":"a","content":[`+png+`]}]`), aTool, "messages.2.content", `[{"toolResult":{"content":[{"image":{"format":"png","source":{"bytes":"aGk="}}}],"toolUseId":"a"}},{"text":"see"}]`, nil},
		{"calls without tools become text", sonnet, hi + `,` + assistant(`[`+call("a", "f")+`]`) + `,` + user(`[`+answer("a", "x")+`]`), ``, "messages.2.content", `[{"text":"[Result of the tool call a:\nx]"}]`, nil},
		{"an id that the service refuses", sonnet, hi + `,` + assistant(`[`+call("a.b", "f")+`]`) + `,` + user(`[`+answer("a.b", "x")+`]`), aTool, "messages.1.content.0.toolUse.toolUseId", `"tooluse_2e7336dc8eba87ef472df568"`, nil},
		{"a document needs a text", sonnet, user(`[` + pdf + `]`), ``, "messages.0.content", `[{"document":{"format":"pdf","name":"document","source":{"bytes":"aGk="}}},{"text":"(see the document)"}]`, nil},
		{"text of a document, cited", sonnet, user(`[{"type":"document","title":"My_file (1).txt","context":"c","citations":{"enabled":true},"source":{"type":"text","media_type":"text/plain","data":"t"}},{"type":"text","text":"x"}]`), ``, "messages.0.content.0",
			`{"document":{"citations":{"enabled":true},"context":"c","format":"txt","name":"My file (1) txt","source":{"text":"t"}}}`, nil},
		{"text of a document elsewhere", nova, user(`[{"type":"document","citations":{"enabled":true},"source":{"type":"text","media_type":"text/plain","data":"t"}},{"type":"text","text":"x"}]`), ``, "messages.0.content.0", `{"document":{"format":"txt","name":"document","source":{"bytes":"dA=="}}}`, []string{"citations"}},
		{"a document of blocks", sonnet, user(`[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}},{"type":"text","text":"x"}]`), ``, "messages.0.content.0.document.source", `{"content":[{"text":"a"},{"text":"b"}]}`, nil},
		{"the end user, for the logs", sonnet, hi, `,"metadata":{"user_id":"u_1"}`, "requestMetadata", `{"user_id":"u_1"}`, nil},
		{"an end user whom the logs refuse", sonnet, hi, `,"metadata":{"user_id":"ü"}`, "requestMetadata", ``, []string{"metadata"}},
		{"hints of the Messages API", sonnet, hi, `,"context_management":{"edits":[]},"speed":"fast"`, "messages.0.role", `"user"`, []string{"context_management", "speed"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			_, e := encode(t, c.model, decode(t, strings.Replace(with(c.messages, c.more), `"max_tokens":1000,`, map[bool]string{true: "", false: `"max_tokens":1000,`}[strings.Contains(c.more, "max_tokens")], 1)))
			if got := part(t, e.Body, c.path); got != c.want {
				t.Errorf("got  %s\nwant %s\nin %s", got, c.want, e.Body)
			}
			if !reflect.DeepEqual(e.Dropped, c.dropped) {
				t.Errorf("dropped %q, want %q", e.Dropped, c.dropped)
			}
		})
	}
}

// What cannot be said to the service is refused, by the name that the client has for it.
func TestEncode_Refused(t *testing.T) {
	anthropicBody := func(messages, more string) (*translator.Request, error) { return decode(t, with(messages, more)), nil }
	chat := func(messages, more string) (*translator.Request, error) {
		return openaichat.Codec{}.Decode([]byte(`{"model":"m","messages":[` + messages + `]` + more + `}`))
	}
	resp := func(input, more string) (*translator.Request, error) {
		return responses.Codec{}.Decode([]byte(`{"model":"m","input":[` + input + `]` + more + `}`))
	}
	for _, c := range []struct {
		why      string
		decode   func(messages, more string) (*translator.Request, error)
		model    string
		messages string
		more     string
		want     string
	}{
		{"an image that is no base64", anthropicBody, sonnet, user(`[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aG=k"}}]`), ``, "messages.0.content.0.source: the image is not base64"},
		{"a document that is no base64", anthropicBody, sonnet, user(`[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"aG=k"}}]`), ``, "messages.0.content.0.source: the document is not base64"},
		{"an image to be fetched", anthropicBody, sonnet, user(`[{"type":"image","source":{"type":"url","url":"https://a/b.png"}}]`), ``, "messages.0.content.0.source: the upstream that serves this model does not fetch images"},
		{"an image of a kind that is none", anthropicBody, sonnet, user(`[{"type":"image","source":{"type":"base64","media_type":"image/bmp","data":"aGk="}}]`), ``, "messages.0.content.0.source: the upstream that serves this model takes PNG"},
		{"a document to be fetched", anthropicBody, sonnet, user(`[{"type":"document","source":{"type":"url","url":"https://a/b.pdf"}}]`), ``, "messages.0.content.0.source: the upstream that serves this model does not fetch documents"},
		{"an image in a document", anthropicBody, sonnet, user(`[{"type":"document","source":{"type":"content","content":[` + png + `]}}]`), ``, "messages.0.content.0.source: documents"},
		{"a server tool alone: web search", anthropicBody, sonnet, hi, `,"tools":[{"type":"web_search_20250305","name":"web_search"}]`, "tools.0: web_search is a server tool"},
		{"a server tool that was used", anthropicBody, sonnet, hi + `,` + assistant(`[{"type":"server_tool_use","id":"s","name":"web_search","input":{}}]`) + `,` + hi, aTool, "messages.1.content.0.type: server_tool_use (web_search) blocks have no place"},
		{"nothing at all", anthropicBody, sonnet, user(`" "`), ``, "messages: must have"},
		{"a form of the answer that an old model does not have", anthropicBody, old, hi, `,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}`, "output_config.format: this model does not offer"},
		{"no tokens", anthropicBody, sonnet, hi, `,"mcp_servers":[{"name":"x"}]`, "mcp_servers: is not offered"},
		{"chat: any JSON", chat, sonnet, hi, `,"response_format":{"type":"json_object"}`, "response_format: json_object"},
		{"chat: several answers", chat, sonnet, hi, `,"n":2`, "n: is not offered"},
		{"chat: log probabilities", chat, sonnet, hi, `,"logprobs":true,"top_logprobs":2`, "top_logprobs: log"},
		{"responses: an answer kept elsewhere", resp, sonnet, hi, `,"previous_response_id":"r"`, "previous_response_id: is not offered"},
		{"responses: nothing", resp, sonnet, `{"role":"user","content":" "}`, ``, "input: must have"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, err := c.decode(c.messages, c.more)
			if err != nil {
				t.Fatal(err)
			}
			_, err = codec.Encode(r, translator.Target{Model: c.model})
			var f *translator.FieldError
			if !errors.As(err, &f) || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	r := decode(t, with(hi, ``))
	r.MaxTokens = translator.Raw("0")
	if _, err := codec.Encode(r, translator.Target{Model: sonnet}); err == nil || !strings.HasPrefix(err.Error(), "max_tokens: must be at least 1") {
		t.Errorf("max_tokens of 0: %v", err)
	}
}

// Stop sequences beyond what the service takes are the gateway's.
func TestEncode_Stop(t *testing.T) {
	r := decode(t, with(hi, `,"stop_sequences":["a","b"," ","c","d","e"]`))
	for _, c := range []struct {
		why, model     string
		sent, enforced []string
	}{
		{"Claude refuses whitespace alone", sonnet, []string{"a", "b", "c", "d", "e"}, []string{" "}},
		{"Nova takes four", nova, []string{"a", "b", "c", "d"}, []string{" ", "e"}},
		{"others may refuse the field", llama, nil, []string{"a", "b", " ", "c", "d", "e"}},
	} {
		b, e := encode(t, c.model, r)
		if !reflect.DeepEqual(b.Inference.Stop, c.sent) || !reflect.DeepEqual(e.Enforce.Stop, c.enforced) {
			t.Errorf("%s: sent %q, held %q", c.why, b.Inference.Stop, e.Enforce.Stop)
		}
	}
	r.Stop = nil
	for range 2600 {
		r.Stop = append(r.Stop, "s")
	}
	if b, e := encode(t, sonnet, r); len(b.Inference.Stop) != 2500 || len(e.Enforce.Stop) != 100 {
		t.Errorf("of 2600 %d are sent and %d held", len(b.Inference.Stop), len(e.Enforce.Stop))
	}
}

// Requests of OpenAI's dialects.
func TestEncode_OpenAI(t *testing.T) {
	r, err := openaichat.Codec{}.Decode([]byte(`{"model":"m","messages":[{"role":"system","content":"S"},{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"call_1","content":"one"}],
		"tools":[{"type":"function","function":{"name":"f","strict":true}}],"n":1,"temperature":0,"seed":1,"reasoning_effort":"low","parallel_tool_calls":false,"service_tier":"flex","metadata":{"a":"b"},"user":"u",
		"response_format":{"type":"json_schema","json_schema":{"name":"N","description":"D","schema":{"type":"object"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, e := encode(t, opus, r)
	if b.Output.Effort != "low" || b.Output.Format.Structure.Schema.Name != "N" || b.Output.Format.Structure.Schema.Description != "D" || b.Tier.Type != "flex" ||
		!b.Tools.Tools[0].Spec.Strict || b.Meta["a"] != "b" || b.Meta["user_id"] != "u" || b.Inference != nil {
		t.Errorf("%s", e.Body)
	}
	if want := []string{"seed", "temperature"}; !reflect.DeepEqual(e.Dropped, want) {
		t.Errorf("dropped %q, want %q", e.Dropped, want)
	}
	r, err = responses.Codec{}.Decode([]byte(`{"model":"m","input":"hi","tools":[{"type":"custom","name":"patch","format":{"type":"grammar","syntax":"regex","definition":"a+"}},{"type":"web_search"}],"prompt_cache_key":"k","reasoning":{"effort":"low","summary":"auto"}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, e = encode(t, llama, r)
	if d := b.Tools.Tools[0].Spec.Description; d == nil || !strings.Contains(*d, "a+") || len(e.Tools) != 1 || !reflect.DeepEqual(e.Dropped, []string{"reasoning", "prompt_cache_key", "reasoning.summary"}) {
		t.Errorf("%s dropped %q, tools %q", e.Body, e.Dropped, e.Tools)
	}
	if r.From != core.DialectOpenAIResponses {
		t.Error(r.From)
	}
}

// No two documents of a request have one name, whatever they are called.
func TestEncode_DocumentNames(t *testing.T) {
	var docs []string
	for _, title := range []string{"a", "a 2", "a", "a", "a/2", "", "..", strings.Repeat("x", 300), strings.Repeat("x", 299), "é"} {
		docs = append(docs, strings.Replace(pdf, `{"type":"document"`, `{"type":"document","title":"`+title+`"`, 1))
	}
	b, _ := encode(t, sonnet, decode(t, with(user(`[`+strings.Join(docs, ",")+`]`), ``)))
	var got []string
	for _, c := range b.Messages[0].Content {
		if c.Document != nil && len(c.Document.Name) < 100 {
			got = append(got, c.Document.Name)
		}
	}
	if want := []string{"a", "a 2", "a 3", "a 4", "a 2 2", "document", "document 2", "document 3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
