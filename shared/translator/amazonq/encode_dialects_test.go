package amazonq_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
)

// Requests of OpenAI's dialects: what is left out and what is wrong bears the client's own names.
func TestEncode_OpenAI(t *testing.T) {
	chat := func(messages, more string) (*translator.Request, error) {
		return openaichat.Codec{}.Decode([]byte(`{"model":"m","messages":[` + messages + `]` + more + `}`))
	}
	resp := func(input, more string) (*translator.Request, error) {
		return responses.Codec{}.Decode([]byte(`{"model":"m","input":[` + input + `]` + more + `}`))
	}
	const image = `"data:image/png;base64,aGk="`
	for _, c := range []struct {
		why            string
		decode         func(messages, more string) (*translator.Request, error)
		messages, more string
		want           string // lines, or the error
		dropped        []string
	}{
		{"chat: tool messages, each of its own", chat, `{"role":"system","content":"S"},{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"call_2","type":"function","function":{"name":"f","arguments":""}}]},{"role":"tool","tool_call_id":"call_1","content":"one"},{"role":"tool","tool_call_id":"call_2","content":"two"}`,
			`,"tools":[{"type":"function","function":{"name":"f","strict":true}}],"temperature":0,"seed":1,"reasoning_effort":"low"`,
			"U \"<system>\\nS\\n</system>\\n\\nhi\"\nA \"\" call_1=f({\"x\":1}) call_2=f({})\nU \"(tool results)\" call_1:success \"one\" call_2:success \"two\"\n",
			[]string{"seed", "strict", "temperature", "reasoning_effort"}},
		{"chat: a system prompt alone", chat, `{"role":"system","content":"S"}`, ``, "U \"<system>\\nS\\n</system>\"\n", nil},
		{"chat: detail of images", chat, `{"role":"user","content":[{"type":"image_url","image_url":{"url":` + image + `,"detail":"low"}}]}`, ``, "U \"(see the image)\" [png hi]\n", []string{"detail"}},
		{"chat: a file of text", chat, `{"role":"user","content":[{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,aGk="}}]}`, ``, "U \"a.txt\\n\\nhi\"\n", nil},
		{"chat: a form of the answer", chat, `{"role":"user","content":"hi"}`, `,"response_format":{"type":"json_object"}`, "response_format: structured", nil},
		{"chat: more than one answer", chat, `{"role":"user","content":"hi"}`, `,"n":2`, "n: is not offered", nil},
		{"chat: log probabilities", chat, `{"role":"user","content":"hi"}`, `,"logprobs":true,"top_logprobs":2`, "top_logprobs: log", nil},
		{"chat: a call that must be", chat, `{"role":"user","content":"hi"}`, `,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"`, "tool_choice: a call cannot be forced", nil},
		{"responses: calls, and an image in a result", resp, `{"role":"user","content":"hi"},{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":[{"type":"input_image","image_url":` + image + `}]}`,
			`,"instructions":"S","tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}},{"type":"web_search"}],"reasoning":{"effort":"low","summary":"auto"},"prompt_cache_key":"k"`,
			"U \"<system>\\nS\\n</system>\\n\\nhi\"\nA \"\" c1=f({})\nU \"(tool results)\" c1:success \"(see the image)\" [png hi]\n", []string{"reasoning", "reasoning.summary", "prompt_cache_key"}},
		{"responses: a form of the answer", resp, `{"role":"user","content":"hi"}`, `,"text":{"format":{"type":"json_object"}}`, "text.format: structured", nil},
		{"responses: an answer kept elsewhere", resp, `{"role":"user","content":"hi"}`, `,"previous_response_id":"r"`, "previous_response_id: is not offered", nil},
		{"responses: nothing", resp, `{"role":"user","content":" "}`, ``, "input: must have", nil},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, err := c.decode(c.messages, c.more)
			if err != nil {
				t.Fatal(err)
			}
			if path, _, is := strings.Cut(c.want, ":"); is && !strings.HasPrefix(c.want, "U ") {
				_, err := codec.Encode(r, target)
				var f *translator.FieldError
				if !errors.As(err, &f) || f.Path(core.DialectOpenAIChat) != path || !strings.HasPrefix(err.Error(), c.want) {
					t.Errorf("got %v, want %s", err, c.want)
				}
				return
			}
			got, e := shape(t, r)
			if got != c.want || !reflect.DeepEqual(e.Dropped, c.dropped) {
				t.Errorf("got\n%s%q\nwant\n%s%q", got, e.Dropped, c.want, c.dropped)
			}
		})
	}
}

// Tools that are no functions, and a choice among them.
func TestEncode_OpenAITools(t *testing.T) {
	r, err := responses.Codec{}.Decode([]byte(`{"model":"m","input":"hi","tools":[{"type":"local_shell"},{"type":"custom","name":"patch","format":{"type":"grammar","syntax":"regex","definition":"a+"}},
		{"type":"custom","name":"free","description":"D"},{"type":"function","name":"no","parameters":{}}],
		"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"local_shell"},{"type":"custom","name":"patch"},{"type":"custom","name":"free"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	_, e := shape(t, r)
	b, _ := valid(e.Body)
	var got []string
	for _, tool := range b.State.Current.User.Context.Tools {
		d := ""
		if tool.Spec.Description != nil {
			d = *tool.Spec.Description
		}
		for _, name := range []string{"command", "input"} {
			if tool.Spec.Schema.JSON["properties"].(map[string]any)[name] != nil {
				got = append(got, tool.Spec.Name+"("+name+") "+d)
			}
		}
	}
	want := []string{"local_shell(command) Runs a command on the user's machine and returns its output.", "patch(input) The text in \"input\" must match this grammar (regex):\na+", "free(input) D"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A description of characters beyond the basic plane is cut where the service counts it as too long.
func TestEncode_LongDescription(t *testing.T) {
	r := decode(t, with(user(`"hi"`), `,"tools":[{"name":"f","description":"`+strings.Repeat("\U0001F600", 5121)+`","input_schema":{}},
		{"name":"g","description":"`+strings.Repeat(`\n`, 10_000)+`x","input_schema":{}}]`))
	_, e := shape(t, r)
	b, _ := valid(e.Body)
	tools := b.State.Current.User.Context.Tools
	if d := *tools[0].Spec.Description; strings.Count(d, "\U0001F600") != 5000 || !strings.Contains(d, "Cut here") {
		t.Errorf("%d characters are left", strings.Count(d, "\U0001F600"))
	}
	if d := *tools[1].Spec.Description; length(d) != 10_001 {
		t.Errorf("one that fits, with escapes, was cut to %d", length(d))
	}
}

func TestEncode_Orphans(t *testing.T) {
	r := decode(t, with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`"x"`)+`,`+assistant(`"ok"`)+`,`+
		user(`[{"type":"tool_result","tool_use_id":"a","is_error":true,"content":"late"}]`), aTool))
	if got, _ := shape(t, r); !strings.HasSuffix(got, "U \"[Error of the tool call a:\\nlate]\"\n") {
		t.Errorf("got\n%s", got)
	}
	_, err := codec.Encode(&translator.Request{Messages: []translator.Message{{Role: translator.RoleAssistant, Place: translator.At("messages", 0),
		Content: []translator.Block{{Type: translator.BlockImage, Place: translator.At("messages", 0).Part(0)}}}}}, target)
	if err == nil || !strings.HasPrefix(err.Error(), "messages.0.content.0.type: ") {
		t.Errorf("an image of the assistant: %v", err)
	}
}

// Documents that came as base64 are read where they are text.
func TestEncode_EncodedText(t *testing.T) {
	doc := func(mime, data string) *translator.Request {
		return &translator.Request{Messages: []translator.Message{{Content: []translator.Block{{Type: translator.BlockDocument, Place: translator.At("messages", 0).Part(0),
			Media: translator.Media{Type: translator.MediaBase64, MIME: mime, Data: translator.Quote(data), Title: translator.Quote("a.md"), Cited: true}}}}}}
	}
	got, e := shape(t, doc("text/markdown", "aGk="))
	if got != "U \"a.md\\n\\nhi\"\n" || !reflect.DeepEqual(e.Dropped, []string{"citations"}) {
		t.Errorf("got %s, dropped %q", got, e.Dropped)
	}
	if _, err := codec.Encode(doc("text/plain", "!"), target); err == nil || !strings.Contains(err.Error(), "messages.0.content.0.source: is not base64") {
		t.Errorf("got %v", err)
	}
}
