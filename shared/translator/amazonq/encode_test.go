package amazonq_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
)

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v in %s", err, want)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The wire as a whole, member by member.
func TestEncode_Wire(t *testing.T) {
	r := decode(t, with(user(`"hi"`)+`,`+assistant(`[{"type":"text","text":"I look."},`+call("t1", "f")+`]`)+`,`+
		user(`[`+answer("t1", "out")+`,`+png+`]`), aTool+`,"system":"Be kind."`))
	e, err := codec.Encode(r, translator.Target{Model: "claude-sonnet-4.5", Conversation: "c-1", Profile: "arn:aws:codewhisperer:us-east-1:1:profile/A"})
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, e.Body, `{"conversationState":{"conversationId":"c-1","chatTriggerType":"MANUAL",
		"history":[
			{"userInputMessage":{"content":"<system>\nBe kind.\n</system>\n\nhi","origin":"CLI"}},
			{"assistantResponseMessage":{"content":"I look.","toolUses":[{"toolUseId":"t1","name":"f","input":{"a":1}}]}}],
		"currentMessage":{"userInputMessage":{"content":"(tool results)","modelId":"claude-sonnet-4.5","origin":"CLI",
			"images":[{"format":"png","source":{"bytes":"aGk="}}],
			"userInputMessageContext":{
				"toolResults":[{"toolUseId":"t1","content":[{"text":"out"}],"status":"success"}],
				"tools":[{"toolSpecification":{"name":"f","description":"d","inputSchema":{"json":{"type":"object","properties":{}}}}}]}}}},
		"profileArn":"arn:aws:codewhisperer:us-east-1:1:profile/A"}`)
	e, err = codec.Encode(decode(t, with(user(`"hi"`), "")), translator.Target{Model: "m", Profile: "no-arn"})
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, e.Body, `{"conversationState":{"chatTriggerType":"MANUAL","currentMessage":{"userInputMessage":{"content":"hi","modelId":"m","origin":"CLI"}}}}`)
}

func TestEncode_Turns(t *testing.T) {
	think := `{"type":"thinking","thinking":"hm","signature":"sig"}`
	for _, c := range []struct{ why, body, want string }{
		{"BUG system prompt lost beside tool results: it is in every request", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", "x")+`]`), aTool+`,"system":"S"`),
			"U \"<system>\\nS\\n</system>\\n\\nhi\"\nA \"\" a=f({\"a\":1})\nU \"(tool results)\" a:success \"x\"\n"},
		{"system blocks, and one that is new each time", with(user(`"hi"`), `,"system":[{"type":"text","text":"x-anthropic-billing-header: 1"},{"type":"text","text":"S"},{"type":"text","text":" "},{"type":"text","text":"T"}]`),
			"U \"<system>\\nS\\n\\nT\\n</system>\\n\\nhi\"\n"},
		{"a prompt below the line that is new each time was lost with it", with(user(`"hi"`), `,"system":[{"type":"text","text":"x-anthropic-billing-header: 1\n\nS\nT"}]`),
			"U \"<system>\\nS\\nT\\n</system>\\n\\nhi\"\n"},
		{"as one string", with(user(`"hi"`), `,"system":"x-anthropic-billing-header: 1\u000AS"`), "U \"<system>\\nS\\n</system>\\n\\nhi\"\n"},
		{"a system message within", with(user(`"hi"`)+`,`+assistant(`"yo"`)+`,{"role":"system","content":"mind"},`+user(`"go"`), ""),
			"U \"hi\"\nA \"yo\"\nU \"<system>\\nmind\\n</system>\\n\\ngo\"\n"},
		{"BUG is_error ignored", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`[{"type":"tool_result","tool_use_id":"a","is_error":true,"content":"bad"}]`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1})\nU \"(tool results)\" a:error \"bad\"\n"},
		{"BUG results of merged messages lost", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`,`+call("b", "f")+`]`)+`,`+user(`[`+answer("a", "x")+`]`)+`,`+user(`[`+answer("b", "y")+`,{"type":"text","text":"and?"},`+png+`]`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1}) b=f({\"a\":1})\nU \"and?\" a:success \"x\" b:success \"y\" [png hi]\n"},
		{"BUG two assistant messages in a row were a 500", with(user(`"hi"`)+`,`+assistant(`[{"type":"text","text":"1"},`+call("a", "f")+`]`)+`,`+assistant(`[{"type":"text","text":"2"},`+call("b", "f")+`]`)+`,`+user(`[`+answer("b", "y")+`,`+answer("a", "x")+`]`), aTool),
			"U \"hi\"\nA \"1\\n\\n2\" a=f({\"a\":1}) b=f({\"a\":1})\nU \"(tool results)\" a:success \"x\" b:success \"y\"\n"},
		{"history that begins with the assistant", with(assistant(`"yo"`)+`,`+user(`"go"`), `,"system":"S"`),
			"U \"<system>\\nS\\n</system>\\n\\n(The assistant begins.)\"\nA \"yo\"\nU \"go\"\n"},
		{"BUG images dropped", with(user(`[{"type":"text","text":"see"},`+png+`]`)+`,`+assistant(`"yo"`)+`,`+user(`[{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"aGk="}}]`), ""),
			"U \"see\" [png hi]\nA \"yo\"\nU \"(see the image)\" [jpeg hi]\n"},
		{"images of results, in their order", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`,`+call("b", "f")+`]`)+`,`+user(`[{"type":"tool_result","tool_use_id":"a","content":[`+png+`]},{"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"t"},{"type":"image","source":{"type":"base64","media_type":"image/gif","data":"aGk="}}]},{"type":"image","source":{"type":"base64","media_type":"image/webp","data":"aGk="}}]`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1}) b=f({\"a\":1})\nU \"(tool results)\" a:success \"(see the image)\" b:success \"t\" [png hi] [gif hi] [webp hi]\n"},
		{"results of nothing", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`,`+call("b", "f")+`]`)+`,`+user(`[{"type":"tool_result","tool_use_id":"a"},{"type":"tool_result","tool_use_id":"b","is_error":true,"content":[]}]`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1}) b=f({\"a\":1})\nU \"(tool results)\" a:success \"(no output)\" b:error \"Error\"\n"},
		{"a call without a result", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`"never mind"`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1})\nU \"never mind\" a:error \"(There is no result: the call was not carried out.)\"\n"},
		{"a result too late is not lost", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`"wait"`)+`,`+assistant(`"ok"`)+`,`+user(`[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x"},`+png+`]},{"type":"text","text":"so?"}]`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1})\nU \"wait\" a:error \"(There is no result: the call was not carried out.)\"\nA \"ok\"\nU \"[Result of the tool call a:\\nx]\\n\\nso?\" [png hi]\n"},
		{"two results of one call", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", "x")+`,`+answer("a", "y")+`]`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1})\nU \"(tool results)\" a:success \"x\" \"y\"\n"},
		{"ids that are used again, as some servers do", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", "x")+`]`)+`,`+assistant(`[`+call("a", "f")+`,`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", "y")+`,`+answer("a", "z")+`]`), aTool),
			"U \"hi\"\nA \"\" a=f({\"a\":1})\nU \"(tool results)\" a:success \"x\"\nA \"\" ID1=f({\"a\":1}) ID2=f({\"a\":1})\nU \"(tool results)\" ID1:success \"y\" ID2:success \"z\"\n"},
		{"ids of another alphabet, and too long", with(user(`"hi"`)+`,`+assistant(`[`+call("a.b|c", "f")+`,`+call(strings.Repeat("l", 65), "f")+`]`)+`,`+user(`[`+answer(strings.Repeat("l", 65), "long")+`,`+answer("a.b|c", "dot")+`]`), aTool),
			"U \"hi\"\nA \"\" ID1=f({\"a\":1}) ID2=f({\"a\":1})\nU \"(tool results)\" ID1:success \"dot\" ID2:success \"long\"\n"},
		{"calls without tools become text", with(user(`"hi"`)+`,`+assistant(`[{"type":"text","text":"I look."},`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", "x")+`]`), ""),
			"U \"hi\"\nA \"I look.\\n\\n[Called the tool f (a) with: {\\\"a\\\":1}]\"\nU \"[Result of the tool call a:\\nx]\"\n"},
		{"tool_choice none leaves the tools out", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", "x")+`]`), aTool+`,"tool_choice":{"type":"none"}`),
			"U \"hi\"\nA \"[Called the tool f (a) with: {\\\"a\\\":1}]\"\nU \"[Result of the tool call a:\\nx]\"\n"},
		{"thinking goes back, the first of a message", with(user(`"hi"`)+`,`+assistant(`[`+think+`,{"type":"text","text":"yo"},{"type":"thinking","thinking":"more","signature":"s2"}]`)+`,`+user(`"go"`)+`,`+assistant(`[{"type":"redacted_thinking","data":"ZGF0YQ=="},`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", "x")+`]`), aTool),
			"U \"hi\"\nA \"yo\" thinks \"hm\" \"sig\"\nU \"go\"\nA \"\" a=f({\"a\":1}) redacted \"ZGF0YQ==\"\nU \"(tool results)\" a:success \"x\"\n"},
		{"thinking without a signature, or from another dialect, is left out", with(user(`"hi"`)+`,`+assistant(`[{"type":"thinking","thinking":"hm"},{"type":"text","text":"yo"}]`)+`,`+user(`"go"`)+`,`+assistant(`[{"type":"thinking","thinking":"hm","signature":"sluice-r1.e30"},{"type":"text","text":"yo"}]`)+`,`+user(`"go"`), ""),
			"U \"hi\"\nA \"yo\"\nU \"go\"\nA \"yo\"\nU \"go\"\n"},
		{"empty messages vanish, and their neighbours meet", with(user(`"hi"`)+`,`+assistant(`" "`)+`,`+user(`"there"`)+`,`+assistant(`"yo"`)+`,`+user(`[]`)+`,`+assistant(`"!"`)+`,`+user(`"go"`), ""),
			"U \"hi\\n\\nthere\"\nA \"yo\\n\\n!\"\nU \"go\"\n"},
		{"texts of the assistant continue each other", with(user(`"hi"`)+`,`+assistant(`[{"type":"text","text":"a"},{"type":"text","text":"b"}]`)+`,`+user(`[{"type":"text","text":"c"},{"type":"text","text":"d"}]`), ""),
			"U \"hi\"\nA \"ab\"\nU \"c\\n\\nd\"\n"},
		{"documents of text", with(user(`[{"type":"document","title":"T","context":"C","source":{"type":"text","media_type":"text/plain","data":"body"}},{"type":"document","source":{"type":"content","content":[{"type":"text","text":"in"},`+png+`]}},{"type":"text","text":"?"}]`), ""),
			"U \"T\\n\\nC\\n\\nbody\\n\\nin\\n\\n?\" [png hi]\n"},
		{"cache marks", with(user(`[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]`)+`,`+assistant(`"yo"`)+`,`+user(`[{"type":"text","text":"go","cache_control":{"type":"ephemeral"}}]`),
			`,"tools":[{"name":"f","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}},{"name":"g","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}]`),
			"U \"hi\" cached\nA \"yo\"\nU \"go\" tools-cached cached\n"},
		{"more cache marks than the models take: the last stay", with(user(`[{"type":"text","text":"1","cache_control":{"type":"ephemeral"}}]`)+`,`+assistant(`[{"type":"text","text":"2","cache_control":{"type":"ephemeral"}}]`)+`,`+user(`[{"type":"text","text":"3","cache_control":{"type":"ephemeral"}}]`)+`,`+assistant(`[{"type":"text","text":"4","cache_control":{"type":"ephemeral"}}]`)+`,`+user(`"5"`),
			`,"cache_control":{"type":"ephemeral"},"system":[{"type":"text","text":"S","cache_control":{"type":"ephemeral"}}]`),
			"U \"<system>\\nS\\n</system>\\n\\n1\"\nA \"2\" cached\nU \"3\" cached\nA \"4\" cached\nU \"5\" cached\n"},
	} {
		t.Run(c.why, func(t *testing.T) {
			got, _ := shape(t, decode(t, c.body))
			if got = standIns(got); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// standIns names ids that stand for others by their order.
func standIns(s string) string {
	for n := 1; ; n++ {
		i := strings.Index(s, "tooluse_")
		if i < 0 {
			return s
		}
		s = strings.ReplaceAll(s, s[i:i+len("tooluse_")+24], fmt.Sprintf("ID%d", n))
	}
}

// A message with more calls than the service takes becomes several, and loses none of them.
func TestEncode_ManyCalls(t *testing.T) {
	var calls, results []string
	for i := range 25 {
		calls = append(calls, call(fmt.Sprint("c", i), "f"))
		results = append(results, answer(fmt.Sprint("c", i), fmt.Sprint("r", i)))
	}
	got, _ := shape(t, decode(t, with(user(`"hi"`)+`,`+assistant(`[{"type":"text","text":"all"},`+strings.Join(calls, ",")+`]`)+`,`+
		user(`[`+strings.Join(results, ",")+`,`+png+`,{"type":"text","text":"and?"}]`), aTool)))
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 7 || !strings.HasPrefix(lines[1], `A "all" c0=`) || !strings.HasPrefix(lines[3], `A "" c10=`) ||
		!strings.HasPrefix(lines[2], `U "(tool results)" c0:success "r0"`) || !strings.HasPrefix(lines[6], `U "and?" c20:success "r20"`) || !strings.HasSuffix(lines[6], `"r24" [png hi]`) {
		t.Errorf("got\n%s", got)
	}
	for i := range 25 {
		if strings.Count(got, fmt.Sprintf("c%d=f", i)) != 1 || strings.Count(got, fmt.Sprintf("c%d:success \"r%d\"", i, i)) != 1 {
			t.Errorf("call %d or its result is lost", i)
		}
	}
}

func TestEncode_Tools(t *testing.T) {
	long := strings.Repeat("\u5929", 10_241)
	r := decode(t, with(user(`"hi"`), `,"system":"S","tools":[
		{"name":"mcp__a.b-c__get-it","description":"`+long+`","input_schema":{"type":"object","properties":{"x":{"type":"string"}}}},
		{"name":"ok","description":"`+long[3:]+`","input_schema":{"required":["x"]}},
		{"name":"mute","description":" ","input_schema":{"type":"object","properties":{}}},
		{"type":"web_search_20250305","name":"web_search"}]`))
	_, e := shape(t, r)
	b, _ := valid(e.Body)
	tools, content := b.State.Current.User.Context.Tools, *b.State.Current.User.Content
	if len(tools) != 3 || !reflect.DeepEqual(e.Tools, []string{"web_search"}) {
		t.Fatalf("%d tools, %v left out", len(tools), e.Tools)
	}
	name, d := tools[0].Spec.Name, *tools[0].Spec.Description
	if name == "mcp__a.b-c__get-it" || !strings.HasPrefix(name, "mcp__a_b_c__get_it_") {
		t.Errorf("the name is %q", name)
	}
	if !strings.HasPrefix(d, long[:3*10_000]+"\n") || !strings.Contains(d, name) || length(d) > 10_240 {
		t.Errorf("the description has %d characters and ends in %q", length(d), d[len(d)-200:])
	}
	if !strings.HasPrefix(content, "<system>\nS\n</system>\n\n<tool_documentation>\n## "+name+"\n\n"+long+"\n</tool_documentation>\n\nhi") {
		t.Errorf("the prompt does not have the whole description: %.200s", content)
	}
	if *tools[1].Spec.Description != long[3:] || tools[2].Spec.Description != nil {
		t.Error("a description that fits was changed, or a blank one was sent")
	}
	if s := tools[1].Spec.Schema.JSON; s["type"] != "object" || s["properties"] == nil || s["required"] == nil {
		t.Errorf("schema %v", s)
	}
}

// Tools of OpenAI's that take free text are called with one string.
func TestEncode_CustomTools(t *testing.T) {
	r, err := openaichat.Codec{}.Decode([]byte(`{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":50,"stop":"END","user":"u","parallel_tool_calls":false,
		"tools":[{"type":"custom","custom":{"name":"patch","description":"D","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"start: x"}}}},{"type":"function","function":{"name":"g"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, e := shape(t, r)
	b, _ := valid(e.Body)
	tools := b.State.Current.User.Context.Tools
	if d := *tools[0].Spec.Description; !strings.HasPrefix(d, "D\n\n") || !strings.Contains(d, "lark") || !strings.HasSuffix(d, "start: x") {
		t.Errorf("description %q", d)
	}
	if p := tools[0].Spec.Schema.JSON["properties"].(map[string]any); p["input"] == nil {
		t.Errorf("schema %v", tools[0].Spec.Schema.JSON)
	}
	if want := (translator.Enforce{Stop: []string{"END"}, MaxTokens: 50}); !reflect.DeepEqual(e.Enforce, want) {
		t.Errorf("enforces %+v", e.Enforce)
	}
	if want := []string{"user", "parallel_tool_calls"}; !reflect.DeepEqual(e.Dropped, want) {
		t.Errorf("dropped %v, want %v", e.Dropped, want)
	}
}

func TestEncode_Dropped(t *testing.T) {
	for _, c := range []struct {
		why, more string
		dropped   []string
	}{
		{"nothing", `,"thinking":{"type":"disabled"},"service_tier":"auto"`, nil},
		{"hints", `,"temperature":0.5,"top_p":0.9,"top_k":5,"metadata":{"user_id":"u"},"thinking":{"type":"enabled","budget_tokens":2000},"output_config":{"effort":"high"},"context_management":{"edits":[1]}`,
			[]string{"context_management", "temperature", "top_p", "top_k", "thinking", "output_config", "metadata"}},
	} {
		_, e := shape(t, decode(t, with(user(`"hi"`), c.more)))
		if !reflect.DeepEqual(e.Dropped, c.dropped) || e.Enforce.MaxTokens != 1000 {
			t.Errorf("%s: dropped %q, enforces %+v", c.why, e.Dropped, e.Enforce)
		}
	}
	think := `{"type":"thinking","thinking":"hm","signature":"sig"}`
	got, e := shape(t, decode(t, with(user(`"hi"`)+`,`+assistant(`[`+think+`,`+call("a", "f")+`]`)+`,`+assistant(`[{"type":"thinking","thinking":"more","signature":"s2"},{"type":"text","text":"yo"}]`)+`,`+user(`[`+answer("a", "x")+`]`), aTool)))
	if !reflect.DeepEqual(e.Dropped, []string{"thinking"}) || !strings.Contains(got, `thinks "hm" "sig"`) || strings.Contains(got, "more") {
		t.Errorf("the thinking of a merged turn that had no place was lost silently: dropped %q, sent %s", e.Dropped, got)
	}
	e, err := codec.Encode(decode(t, with(user(`[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]`), "")), translator.Target{Model: "deepseek-3.2"})
	if err != nil || !reflect.DeepEqual(e.Dropped, []string{"cache_control"}) || strings.Contains(string(e.Body), "cachePoint") {
		t.Errorf("a model without cache points: %v, %+v", err, e)
	}
}

func TestEncode_Refused(t *testing.T) {
	images := `[` + strings.TrimSuffix(strings.Repeat(png+`,`, 11), ",") + `]`
	big := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for _, c := range []struct{ why, body, path, words string }{
		{"BUG prefill silently dropped", with(user(`"hi"`)+`,`+assistant(`"{"`), ""), "messages.1", "cannot continue"},
		{"calls without any results at the end", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`), aTool), "messages.1", "cannot continue"},
		{"nothing", with(user(`" "`), ""), "messages", "must have"},
		{"nothing but an empty document", with(user(`[{"type":"document","source":{"type":"text","media_type":"text/plain","data":" "}}]`), ""), "messages", "must have"},
		{"a call cannot be forced", with(user(`"hi"`), aTool+`,"tool_choice":{"type":"any"}`), "tool_choice", "forced"},
		{"nor a certain one", with(user(`"hi"`), aTool+`,"tool_choice":{"type":"tool","name":"f"}`), "tool_choice", "forced"},
		{"structured output", with(user(`"hi"`), `,"output_config":{"format":{"type":"json_schema","schema":{}}}`), "output_config.format", "structured"},
		{"server tools in use", with(user(`"hi"`)+`,`+assistant(`[{"type":"server_tool_use","id":"s","name":"web_search","input":{}}]`)+`,`+user(`"go"`), ""), "messages.1.content.0.type", "server_tool_use (web_search) blocks"},
		{"a server tool alone", with(user(`"hi"`), `,"tools":[{"type":"web_search_20250305","name":"web_search"}]`), "tools.0", "web_search is a server tool"},
		{"a server tool chosen", with(user(`"hi"`), `,"tool_choice":{"type":"tool","name":"web_search"},"tools":[{"name":"f","input_schema":{}},{"type":"web_search_20250305","name":"web_search"}]`), "tools.1", "web_search is a server tool"},
		{"servers of tools", with(user(`"hi"`), `,"mcp_servers":[{"url":"u"}]`), "mcp_servers", "not offered"},
		{"an image to be fetched", with(user(`[{"type":"image","source":{"type":"url","url":"https://x.example/a.png"}}]`), ""), "messages.0.content.0.source", "base64"},
		{"an image of nothing", with(user(`[{"type":"image","source":{"type":"base64","media_type":"image/png","data":""}}]`), ""), "messages.0.content.0.source", "empty"},
		{"an image of another format", with(user(`[{"type":"image","source":{"type":"base64","media_type":"image/tiff","data":"aGk="}}]`), ""), "messages.0.content.0.source", "PNG"},
		{"an image that is no base64", with(user(`[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aG=k"}}]`), ""), "messages.0.content.0.source", "not base64"},
		{"an image too large", with(user(`[{"type":"image","source":{"type":"base64","media_type":"image/png","data":`+big(14<<20)+`}}]`), ""), "messages.0.content.0.source", "10 MB"},
		{"too many images", with(user(images), ""), "messages.0.content", "10 images"},
		{"PDF", with(user(`[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"aGk="}}]`), ""), "messages.0.content.0.source", "PDF"},
		{"too much of the user", with(user(big(600_001)), ""), "messages.0.content", "prompt is too long: 600001 characters > 600000 maximum"},
		{"too much of the assistant", with(user(`"hi"`)+`,`+assistant(big(100_001))+`,`+user(`"go"`), ""), "messages.1.content", "prompt is too long"},
		{"too much of a result", with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`]`)+`,`+user(`[`+answer("a", strings.Repeat("x", 800_001))+`]`), aTool), "messages.2.content.0.content", "prompt is too long"},
		{"too many messages", with(strings.Repeat(user(`"hi"`)+`,`+assistant(`"yo"`)+`,`, 5001)+user(`"go"`), ""), "messages", "prompt is too long"},
	} {
		t.Run(c.why, func(t *testing.T) {
			_, err := codec.Encode(decode(t, c.body), target)
			var f *translator.FieldError
			if !errors.As(err, &f) || f.Path(core.DialectAnthropic) != c.path || !strings.Contains(f.Message, c.words) {
				t.Errorf("got %v", err)
			}
		})
	}
	r := &translator.Request{From: core.DialectOpenAIChat, Logprobs: true, Messages: []translator.Message{{Content: []translator.Block{{Text: translator.Quote("hi")}}}}}
	if _, err := codec.Encode(r, target); err == nil || !strings.HasPrefix(err.Error(), "logprobs: ") {
		t.Errorf("logprobs: %v", err)
	}
	r = &translator.Request{Extras: []translator.Field{{Name: "n", Value: translator.Raw("2")}}, Messages: r.Messages}
	if _, err := codec.Encode(r, target); err == nil || !strings.HasPrefix(err.Error(), "n: ") {
		t.Errorf("n: %v", err)
	}
}

// Only the bounds are refused: what is just within them passes, counted as the service counts.
func TestEncode_Bounds(t *testing.T) {
	shape(t, decode(t, with(user(`"`+strings.Repeat(`\u5929`, 300_000)+strings.Repeat("\u5929", 300_000)+`"`), "")))
	shape(t, decode(t, with(user(`"hi"`)+`,`+assistant(`"`+strings.Repeat("\U0001F600", 50_000)+`"`)+`,`+user(`"go"`), "")))
}
