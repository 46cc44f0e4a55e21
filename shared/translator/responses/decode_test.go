package responses_test

import (
	"strings"
	"testing"

	"sluice/shared/translator"
)

func body(members string) string { return `{"model":"m",` + members + `}` }

func TestDecode_Conversation(t *testing.T) {
	carried := string(translator.CarryThinking(&translator.Block{Type: translator.BlockThinking, Text: []byte(`"deep"`), Signature: []byte(`"sig"`)}))
	for _, c := range []struct{ why, body, want string }{
		{"a string is a user message", `"input":"hi"`, "user: text(\"hi\")\n"},
		{"type may be left out", `"input":[{"role":"user","content":"hi"}]`, "user: text(\"hi\")\n"},
		{"null is absent", `"tools":null,"tool_choice":null,"reasoning":null,"text":null,"include":null,"instructions":null,"store":null,"previous_response_id":null,"input":"x"`, "user: text(\"x\")\n"},
		{"instructions and leading developer messages are the system, later ones stay",
			`"instructions":"be","input":[{"role":"developer","content":"kind"},{"role":"user","content":"u"},{"role":"system","content":[{"type":"input_text","text":"now"}]}]`,
			"system \"be\"\nsystem \"kind\"\nuser: text(\"u\")\nsystem: text(\"now\")\n"},
		{"parts of all types", `"input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_image","detail":"low","image_url":"https://x/y.png"},{"type":"input_file","filename":"f.pdf","file_data":"data:application/pdf;base64,BBBB"},{"type":"input_file","file_url":"https://x/f.pdf"}]}]`,
			"user: text(\"a\") media(0 image/png \"AAAA\" ) media(1  \"https://x/y.png\" ) media(0 application/pdf \"BBBB\" \"f.pdf\") media(1  \"https://x/f.pdf\" )\n"},
		{"escaped slashes in a data URL", `"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image\/png;base64,AA\/A"}]}]`,
			"user: media(0 image/png \"AA/A\" )\n"},
		{"the assistant's items are one message, results another", `"input":[{"role":"user","content":"u"},
			{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"t","annotations":[]},{"type":"refusal","refusal":"no"}]},
			{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"a\":1}"},
			{"type":"function_call","call_id":"c2","name":"f","arguments":""},
			{"type":"function_call_output","call_id":"c1","output":"r1"},
			{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"r2"},{"type":"input_image","image_url":"https://i"}]},
			{"role":"user","content":"next"}]`,
			"user: text(\"u\")\nassistant: text(\"t\") refusal(\"no\") call(c1 f {\"a\":1} custom=false) call(c2 f {} custom=false)\nuser: result(c1 text(\"r1\")) result(c2 text(\"r2\") media(1  \"https://i\" ))\nuser: text(\"next\")\n"},
		{"custom tools", `"input":[{"type":"custom_tool_call","call_id":"c","name":"apply_patch","input":"*** Begin\n"},{"type":"custom_tool_call_output","call_id":"c","output":"ok"}]`,
			"assistant: call(c apply_patch {\"input\":\"*** Begin\\n\"} custom=true)\nuser: result(c text(\"ok\"))\n"},
		{"the shell, whose result may name the call by its item's id", `"input":[{"type":"local_shell_call","id":"lsh_1","call_id":"c","status":"completed","action":{"type":"exec","command":["ls","-l"],"working_directory":"/w","timeout_ms":5,"env":{"A":"b"},"user":null}},{"type":"local_shell_call_output","id":"lsh_1","output":"x"}]`,
			"assistant: call(c local_shell {\"command\":[\"ls\",\"-l\"],\"workdir\":\"/w\",\"timeout_ms\":5,\"env\":{\"A\":\"b\"}} custom=false)\nuser: result(c text(\"x\"))\n"},
		{"arguments that are no JSON stay what the model wrote", `"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{oops"}]`,
			"assistant: call(c f {\"arguments\":\"{oops\"} custom=false)\n"},
		{"D43: reasoning comes back as it was given", `"input":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],"encrypted_content":"ENC"},{"role":"assistant","content":"x"}]`,
			"assistant: openai-thinking(\"a\\n\\nb\" rs_1 \"ENC\") text(\"x\")\n"},
		{"D43: reasoning without a summary, without an id", `"input":[{"type":"reasoning","summary":[],"encrypted_content":"ENC"},{"role":"user","content":"x"}]`,
			"assistant: openai-thinking(  \"ENC\")\nuser: text(\"x\")\n"},
		{"reasoning that says nothing", `"input":[{"type":"reasoning","summary":[]},{"role":"user","content":"x"}]`, "user: text(\"x\")\n"},
		{"text alone", `"input":[{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"r"}]},{"role":"user","content":"x"}]`,
			"assistant: thinking(\"r\" )\nuser: text(\"x\")\n"},
		{"Anthropic's thinking is unpacked, the client's summary of it ignored", `"input":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"edited"}],"encrypted_content":` + carried + `},{"role":"assistant","content":"x"}]`,
			"assistant: thinking(\"deep\" \"sig\") text(\"x\")\n"},
		{"a result of a call that the API keeps", `"previous_response_id":"resp_1","input":[{"type":"function_call_output","call_id":"c","output":""}]`,
			"user: result(c text(\"\"))\n"},
	} {
		r, err := codec.Decode([]byte(body(c.body)))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := dump(r); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.why, got, c.want)
		}
	}
}

func TestDecode_Tools(t *testing.T) {
	long := strings.Repeat("n", 60)
	for _, c := range []struct{ why, body, want string }{
		{"D42: every type of tool is taken", `"input":"x","tools":[
			{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":true},
			{"type":"function","function":{"name":"nested","parameters":{}}},
			{"type":"custom","name":"apply_patch","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},
			{"type":"namespace","name":"mcp.x","description":"d","tools":[{"type":"function","name":"go"},{"type":"custom","name":"c"}]},
			{"type":"local_shell"},{"type":"web_search"},{"type":"tool_search"},{"type":"mcp","server_label":"a"},{"type":"mcp","server_label":"b"},{"type":"of_tomorrow"}]`,
			"tool 0 f {\"type\":\"object\"}\ntool 0 nested {}\ntool 1 apply_patch {\"type\":\"grammar\",\"syntax\":\"lark\",\"definition\":\"start: x\"}\n" +
				"tool 0 mcp_x__go (mcp.x / go) \ntool 1 mcp_x__c (mcp.x / c) \nTOOLSHELL\ntool 3 web_search web_search\ntool 3 tool_search tool_search\ntool 3 mcp mcp\ntool 3 mcp_2 mcp\ntool 3 of_tomorrow of_tomorrow\n"},
		{"a name that is taken gets a hash", `"input":"x","tools":[{"type":"namespace","name":"a","tools":[{"type":"function","name":"b"}]},{"type":"function","name":"a__b"}]`,
			"tool 0 a__b_59b271ae (a / b) \ntool 0 a__b \n"},
		{"a long name is cut", `"input":"x","tools":[{"type":"namespace","name":"` + long + `","tools":[{"type":"function","name":"bcdef"}]}]`, "LONG"},
		{"the choice of a tool in a namespace", `"input":"x","tool_choice":{"type":"function","name":"b","namespace":"a"},"tools":[{"type":"namespace","name":"a","tools":[{"type":"function","name":"b"}]}]`,
			"tool 0 a__b (a / b) \nchoice 2 \"a__b\" allowed=[] noparallel=false implied=false\n"},
		{"auto, one call at a time", `"input":"x","tool_choice":"auto","parallel_tool_calls":false`, "choice 0 \"\" allowed=[] noparallel=true implied=false\n"},
		{"one call at a time alone", `"input":"x","parallel_tool_calls":false`, "choice 0 \"\" allowed=[] noparallel=true implied=true\n"},
		{"parallel calls alone", `"input":"x","parallel_tool_calls":true`, ""},
		{"none", `"input":"x","tool_choice":"none"`, "choice 3 \"\" allowed=[] noparallel=false implied=false\n"},
		{"required", `"input":"x","tool_choice":"required"`, "choice 1 \"\" allowed=[] noparallel=false implied=false\n"},
		{"the form of chat", `"input":"x","tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","function":{"name":"f"}}`,
			"tool 0 f \nchoice 2 \"f\" allowed=[] noparallel=false implied=false\n"},
		{"a hosted tool", `"input":"x","tools":[{"type":"web_search"}],"tool_choice":{"type":"web_search"}`,
			"tool 3 web_search web_search\nchoice 2 \"web_search\" allowed=[] noparallel=false implied=false\n"},
		{"allowed tools", `"input":"x","tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}],"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}]}`,
			"tool 0 f \ntool 1 c \nchoice 1 \"\" allowed=[\"f\" \"c\"] noparallel=false implied=false\n"},
	} {
		r, err := codec.Decode([]byte(body(c.body)))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if c.want == "LONG" {
			if n := r.Tools[0].Name; len(n) != 64 || !strings.HasPrefix(n, long[:50]) {
				t.Errorf("%s: got %q", c.why, n)
			}
			continue
		}
		lines := strings.SplitAfter(strings.SplitN(dump(r), "\n", 2)[1], "\n")
		for i, l := range lines {
			if strings.HasPrefix(l, "tool 2 local_shell {") {
				lines[i] = "TOOLSHELL\n"
			}
		}
		if got := strings.Join(lines, ""); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.why, got, c.want)
		}
	}
}

func TestD42_NamespacedHistoryKeepsItsNames(t *testing.T) {
	r, err := codec.Decode([]byte(body(`"tools":[{"type":"namespace","name":"a","tools":[{"type":"function","name":"b"}]}],
		"input":[{"type":"function_call","call_id":"1","namespace":"a","name":"b","arguments":"{}"},{"type":"function_call","call_id":"2","namespace":"gone","name":"b","arguments":"{}"}]`)))
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Messages[0].Content; m[0].Name != r.Tools[0].Name || m[1].Name != "gone__b" {
		t.Errorf("got %q and %q", m[0].Name, m[1].Name)
	}
}

func TestDecode_Settings(t *testing.T) {
	r, err := codec.Decode([]byte(`{"model":"gpt-5.5","input":"x","stream":true,"max_output_tokens":7,"temperature":0,"top_p":0.5,"user":"u",
		"service_tier":"flex","prompt_cache_key":"k","store":false,"background":false,"truncation":"disabled","client_metadata":{"a":"b"},
		"stream_options":{"include_obfuscation":false},"include":["reasoning.encrypted_content","message.output_text.logprobs"],"top_logprobs":3,
		"reasoning":{"effort":"high","summary":"auto"},"metadata":{"k":"v"},"max_tool_calls":4,"safety_identifier":"s","previous_response_id":"resp_9",
		"text":{"verbosity":"low","format":{"type":"json_schema","name":"n","strict":true,"description":"d","schema":{"type":"object"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.Model != "gpt-5.5" || !r.Stream || string(r.MaxTokens) != "7" || string(r.Temperature) != "0" || string(r.TopP) != "0.5" || r.User != "u" ||
		r.ServiceTier != "flex" || r.CacheKey != "k" || !r.Logprobs || string(r.TopLogprobs) != "3" || r.Effort != "high" || r.Summary != "auto" {
		t.Errorf("got %+v", r)
	}
	if f := r.Format; f == nil || f.Name != "n" || string(f.Schema) != `{"type":"object"}` || !f.Strict.IsTrue() || f.Description.Text() != "d" {
		t.Errorf("got the format %+v", f)
	}
	var extras []string
	for _, x := range r.Extras {
		extras = append(extras, x.Name)
	}
	if got := strings.Join(extras, " "); got != "max_tool_calls safety_identifier metadata previous_response_id verbosity" {
		t.Errorf("extras are %q", got)
	}
	var echo []string
	for _, x := range r.Echo {
		echo = append(echo, x.Name)
	}
	if got := strings.Join(echo, " "); got != "temperature top_p max_output_tokens metadata reasoning text truncation store user service_tier previous_response_id" {
		t.Errorf("echo is %q", got)
	}
}

func TestDecode_WhatMattersIsKept(t *testing.T) {
	r, err := codec.Decode([]byte(body(`"input":"x","background":true,"truncation":"auto","reasoning":{"generate_summary":"concise"},"top_logprobs":3,"text":{"format":{"type":"json_object"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Extra("background")) != "true" || string(r.Extra("truncation")) != `"auto"` || r.Summary != "concise" || r.TopLogprobs != nil || r.Format == nil || r.Format.Schema != nil {
		t.Errorf("got %+v", r)
	}
}

func TestDecode_Refuses(t *testing.T) {
	in := func(item string) string { return body(`"input":[` + item + `]`) }
	part := func(p string) string {
		return in(`{"role":"user","content":[{"type":"input_text","text":"a"},` + p + `]}`)
	}
	for _, c := range []struct{ why, body, path string }{
		{"no JSON", `{`, ""},
		{"no object", `[]`, ""},
		{"input is missing", `{"model":"m"}`, "input"},
		{"input is empty", body(`"input":[]`), "input"},
		{"input of another type", body(`"input":7`), "input"},
		{"a member twice", body(`"input":"a","input":"b"`), "input"},
		{"model", `{"model":7,"input":"x"}`, "model"},
		{"stream", body(`"input":"x","stream":"yes"`), "stream"},
		{"max_output_tokens", body(`"input":"x","max_output_tokens":"7"`), "max_output_tokens"},
		{"temperature", body(`"input":"x","temperature":"0"`), "temperature"},
		{"metadata", body(`"input":"x","metadata":[]`), "metadata"},
		{"instructions", body(`"input":"x","instructions":[]`), "instructions"},
		{"include", body(`"input":"x","include":"a"`), "include"},
		{"reasoning", body(`"input":"x","reasoning":"high"`), "reasoning"},
		{"reasoning.effort", body(`"input":"x","reasoning":{"effort":1}`), "reasoning.effort"},
		{"reasoning.summary", body(`"input":"x","reasoning":{"summary":true}`), "reasoning.summary"},
		{"text", body(`"input":"x","text":"a"`), "text"},
		{"text.verbosity", body(`"input":"x","text":{"verbosity":1}`), "text.verbosity"},
		{"text.format", body(`"input":"x","text":{"format":"json"}`), "text.format"},
		{"text.format.type", body(`"input":"x","text":{"format":{"type":"xml"}}`), "text.format.type"},
		{"text.format.schema", body(`"input":"x","text":{"format":{"type":"json_schema","name":"n"}}`), "text.format.schema"},
		{"text.format.strict", body(`"input":"x","text":{"format":{"type":"json_schema","name":"n","schema":{},"strict":1}}`), "text.format.strict"},

		{"an item that is no object", in(`"x"`), "input[0]"},
		{"an item's member twice", in(`{"role":"user","role":"user","content":"x"}`), "input[0]"},
		{"an item's type", in(`{"type":7}`), "input[0].type"},
		{"neither type nor role", in(`{"content":"x"}`), "input[0].type"},
		{"a message without a role", in(`{"type":"message","content":"x"}`), "input[0].role"},
		{"an unknown role", in(`{"role":"tool","content":"x"}`), "input[0].role"},
		{"no content", in(`{"role":"user"}`), "input[0].content"},
		{"content of another type", in(`{"role":"user","content":7}`), "input[0].content"},
		{"an item of tomorrow", in(`{"type":"hologram"}`), "input[0].type"},
		{"a reference", in(`{"type":"item_reference","id":"x"}`), "input[0].type"},
		{"a server tool's item", in(`{"role":"user","content":"x"},{"type":"web_search_call","id":"ws_1"}`), "input[1].type"},
		{"another", in(`{"type":"mcp_list_tools"}`), "input[0].type"},
		{"a compaction", in(`{"type":"compaction","encrypted_content":"x"}`), "input[0].type"},
		{"a tool search", in(`{"type":"tool_search_call"}`), "input[0].type"},

		{"a part that is no object", part(`"x"`), "input[0].content[1]"},
		{"a part without a type", part(`{"text":"x"}`), "input[0].content[1].type"},
		{"a part of tomorrow", part(`{"type":"smell"}`), "input[0].content[1].type"},
		{"text without text", part(`{"type":"input_text"}`), "input[0].content[1].text"},
		{"text of another type", part(`{"type":"input_text","text":7}`), "input[0].content[1].text"},
		{"audio", part(`{"type":"input_audio"}`), "input[0].content[1].type"},
		{"the user's refusal", part(`{"type":"refusal","refusal":"x"}`), "input[0].content[1].type"},
		{"an image without a URL", part(`{"type":"input_image"}`), "input[0].content[1].image_url"},
		{"an image by id", part(`{"type":"input_image","file_id":"f"}`), "input[0].content[1].file_id"},
		{"an image of no base64", part(`{"type":"input_image","image_url":"data:image/png,x"}`), "input[0].content[1].image_url"},
		{"an image that is none", part(`{"type":"input_image","image_url":"data:text/plain;base64,AA"}`), "input[0].content[1].image_url"},
		{"a local image", part(`{"type":"input_image","image_url":"file:///etc/passwd"}`), "input[0].content[1].image_url"},
		{"a file by id", part(`{"type":"input_file","file_id":"f"}`), "input[0].content[1].file_id"},
		{"a file without all", part(`{"type":"input_file"}`), "input[0].content[1].file_data"},
		{"a file of no data URL", part(`{"type":"input_file","file_data":"AAAA"}`), "input[0].content[1].file_data"},
		{"a file's URL", part(`{"type":"input_file","file_url":"ftp://x"}`), "input[0].content[1].file_url"},
		{"the developer's image", in(`{"role":"developer","content":[{"type":"input_image","image_url":"https://x"}]}`), "input[0].content[0].type"},

		{"a call without an id", in(`{"type":"function_call","name":"f","arguments":"{}"}`), "input[0].call_id"},
		{"a call without a name", in(`{"type":"function_call","call_id":"c","arguments":"{}"}`), "input[0].name"},
		{"a call without arguments", in(`{"type":"function_call","call_id":"c","name":"f"}`), "input[0].arguments"},
		{"arguments as an object", in(`{"type":"function_call","call_id":"c","name":"f","arguments":{}}`), "input[0].arguments"},
		{"a namespace of another type", in(`{"type":"function_call","call_id":"c","name":"f","namespace":1,"arguments":"{}"}`), "input[0].namespace"},
		{"a custom call without input", in(`{"type":"custom_tool_call","call_id":"c","name":"f"}`), "input[0].input"},
		{"a shell call without an id", in(`{"type":"local_shell_call","action":{}}`), "input[0].call_id"},
		{"a shell call without an action", in(`{"type":"local_shell_call","call_id":"c"}`), "input[0].action"},
		{"a result without an id", in(`{"type":"function_call_output","output":""}`), "input[0].call_id"},
		{"an orphan", in(`{"type":"function_call_output","call_id":"c","output":""}`), "input[0].call_id"},
		{"a shell's orphan", in(`{"type":"local_shell_call_output","id":"c","output":""}`), "input[0].id"},
		{"a result without output", in(`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c"}`), "input[1].output"},
		{"a result's part", in(`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"smell"}]}`), "input[1].output[0].type"},
		{"a summary of another type", in(`{"type":"reasoning","summary":"x"}`), "input[0].summary"},
		{"a summary's part", in(`{"type":"reasoning","summary":[{}]}`), "input[0].summary"},
		{"encrypted content", in(`{"type":"reasoning","summary":[],"encrypted_content":7}`), "input[0].encrypted_content"},

		{"tools", body(`"input":"x","tools":{}`), "tools"},
		{"a tool that is no object", body(`"input":"x","tools":[7]`), "tools[0]"},
		{"a tool without a type", body(`"input":"x","tools":[{"name":"f"}]`), "tools[0].type"},
		{"a tool without a name", body(`"input":"x","tools":[{"type":"function"}]`), "tools[0].name"},
		{"a nested tool without a name", body(`"input":"x","tools":[{"type":"function","function":{}}]`), "tools[0].function.name"},
		{"parameters", body(`"input":"x","tools":[{"type":"function","name":"f","parameters":[]}]`), "tools[0].parameters"},
		{"strict", body(`"input":"x","tools":[{"type":"function","name":"f","strict":"yes"}]`), "tools[0].strict"},
		{"a name twice", body(`"input":"x","tools":[{"type":"function","name":"f"},{"type":"custom","name":"f"}]`), "tools[1].name"},
		{"a namespace without a name", body(`"input":"x","tools":[{"type":"namespace","tools":[]}]`), "tools[0].name"},
		{"a namespace without tools", body(`"input":"x","tools":[{"type":"namespace","name":"a"}]`), "tools[0].tools"},
		{"a namespace's tool", body(`"input":"x","tools":[{"type":"namespace","name":"a","tools":[{"type":"function"}]}]`), "tools[0].tools[0].name"},
		{"a name twice in a namespace", body(`"input":"x","tools":[{"type":"namespace","name":"a","tools":[{"type":"function","name":"f"},{"type":"function","name":"f"}]}]`), "tools[0].tools[1].name"},
		{"a namespace in a namespace", body(`"input":"x","tools":[{"type":"namespace","name":"a","tools":[{"type":"namespace","name":"b","tools":[]}]}]`), "tools[0].tools[0].type"},
		{"tool_choice", body(`"input":"x","tool_choice":7`), "tool_choice"},
		{"a word for tool_choice", body(`"input":"x","tool_choice":"any"`), "tool_choice"},
		{"a choice without a type", body(`"input":"x","tool_choice":{"name":"f"}`), "tool_choice.type"},
		{"a choice without a name", body(`"input":"x","tool_choice":{"type":"function"}`), "tool_choice.name"},
		{"the choice of no tool", body(`"input":"x","tools":[{"type":"function","name":"g"}],"tool_choice":{"type":"function","name":"f"}`), "tool_choice.name"},
		{"the choice of no hosted tool", body(`"input":"x","tools":[{"type":"function","name":"g"}],"tool_choice":{"type":"web_search"}`), "tool_choice.type"},
		{"allowed tools without a mode", body(`"input":"x","tool_choice":{"type":"allowed_tools","tools":[]}`), "tool_choice.mode"},
		{"allowed tools without tools", body(`"input":"x","tool_choice":{"type":"allowed_tools","mode":"auto"}`), "tool_choice.tools"},
		{"an allowed tool", body(`"input":"x","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[7]}`), "tool_choice.tools[0]"},
		{"parallel_tool_calls", body(`"input":"x","parallel_tool_calls":"no"`), "parallel_tool_calls"},
	} {
		_, err := codec.Decode([]byte(c.body))
		if err == nil {
			t.Errorf("%s: taken", c.why)
			continue
		}
		if got := path(t, err); got != c.path {
			t.Errorf("%s: the path is %q, want %q (%v)", c.why, got, c.path, err)
		}
	}
}
