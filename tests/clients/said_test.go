package clients_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// said is what a request says, whichever of the three dialects it is written in. A client's request and what the upstream
// gets for it must say the same.
type said struct {
	Model  string
	Stream bool
	Turns  []string          // "user: ...", "call 1: name {...}", "result 1: ...", in their order
	Tools  map[string]string // name and schema of those that the client runs
	Names  []string          // of the tools, in their order
	Schema string            // of structured output

	ids map[string]int // of the calls, by the order in which they were made
}

// free stands for the schema of a tool that takes text: other dialects have it as an object with one member.
const free = "free text"

// read reads a request to the path.
func read(t *testing.T, path string, body []byte) *said {
	t.Helper()
	var b object
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
	s := &said{Model: str(b["model"]), Tools: map[string]string{}, ids: map[string]int{}}
	s.Stream, _ = b["stream"].(bool)
	s.tools("", b["tools"])
	switch path[strings.LastIndexByte(path, '/'):] {
	case "/messages", "/invoke", "/invoke-with-response-stream":
		s.text("system", b["system"])
		s.messages(b["messages"])
		s.format(dig(b, "output_config", "format"), "schema")
	case "/completions":
		s.messages(b["messages"])
		s.format(dig(b, "response_format", "json_schema"), "schema")
	case "/responses":
		s.text("system", b["instructions"])
		s.items(b["input"])
		s.format(dig(b, "text", "format"), "schema")
	case "/converse", "/converse-stream":
		s.readConverse(b)
	default:
		t.Fatalf("%s is no path of a dialect", path)
	}
	return s
}

func str(v any) string { s, _ := v.(string); return s }

func list(v any) []object {
	var out []object
	all, _ := v.([]any)
	for _, e := range all {
		o, _ := e.(object)
		out = append(out, o)
	}
	return out
}

func dig(v any, names ...string) any {
	for _, name := range names {
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

// canonical is a JSON value with its members in order.
func canonical(v any) string {
	out, _ := json.Marshal(v) // what was just decoded
	return string(out)
}

// parsed is canonical for a JSON text.
func parsed(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	return canonical(v)
}

func (s *said) add(who, what string) {
	if what == "" {
		return
	}
	if who != "" {
		what = who + ": " + what
	}
	s.Turns = append(s.Turns, what)
}

// words is a text as it compares: what separates the blocks of a system prompt is not the client's.
func (s *said) words(who, text string) {
	inner, ok := strings.CutPrefix(text, "<system>\n")
	if end, whole := strings.CutSuffix(inner, "\n</system>"); ok && whole && who == "user" {
		who, text = "system", end
	}
	if strings.HasPrefix(text, "x-anthropic-billing-header:") {
		return // differs with every request, and is for Anthropic alone
	}
	if who != "system" {
		s.add(who, text)
		return
	}
	text = strings.Join(strings.Fields(text), " ")
	if n := len(s.Turns); n > 0 && strings.HasPrefix(s.Turns[n-1], "system: ") {
		s.Turns[n-1] += " " + text
		return
	}
	s.add(who, text)
}

// text reads a content that is a string or a list of parts.
func (s *said) text(who string, content any) {
	if text, ok := content.(string); ok {
		s.words(who, text)
		return
	}
	for _, p := range list(content) {
		switch str(p["type"]) {
		case "text", "input_text", "output_text":
			s.words(who, str(p["text"]))
		case "image":
			s.add("image", "data:"+str(dig(p, "source", "media_type"))+";base64,"+str(dig(p, "source", "data")))
		case "document":
			_, format, _ := strings.Cut(str(dig(p, "source", "media_type")), "/")
			s.add("document", format+" "+canonical(dig(p, "source", "data")))
		case "image_url":
			s.add("image", str(dig(p, "image_url", "url")))
		case "input_image":
			s.add("image", str(p["image_url"]))
		case "tool_use":
			s.call(str(p["id"]), str(p["name"]), canonical(p["input"]))
		case "tool_result":
			s.result(str(p["tool_use_id"]), p["content"])
		case "tool_reference":
			s.words(who, "Tool available: "+str(p["tool_name"]))
		case "thinking", "redacted_thinking":
		default:
			s.add(who, canonical(p))
		}
	}
}

func (s *said) call(id, name, input string) {
	if s.ids[id] == 0 {
		s.ids[id] = len(s.ids) + 1
	}
	s.add(fmt.Sprint("call ", s.ids[id]), name+" "+input)
}

// free is a call of a tool that takes text, in the form that it has elsewhere.
func (s *said) free(id, name, input string) { s.call(id, name, canonical(object{"input": input})) }

// result compares without its spaces: not every dialect has parts in it.
func (s *said) result(id string, content any) {
	inner := said{}
	inner.text("", content)
	s.add(fmt.Sprint("result ", s.ids[id]), strings.Join(strings.Fields(strings.Join(inner.Turns, " ")), " "))
}

// messages reads those of the Messages API and of Chat Completions.
func (s *said) messages(v any) {
	for _, m := range list(v) {
		who := str(m["role"])
		switch who {
		case "developer":
			who = "system"
		case "tool":
			s.result(str(m["tool_call_id"]), m["content"])
			continue
		}
		s.text(who, m["content"])
		for _, c := range list(m["tool_calls"]) {
			if str(c["type"]) == "custom" {
				s.free(str(c["id"]), str(dig(c, "custom", "name")), str(dig(c, "custom", "input")))
				continue
			}
			s.call(str(c["id"]), str(dig(c, "function", "name")), parsed(str(dig(c, "function", "arguments"))))
		}
	}
}

// items reads the input of the Responses API.
func (s *said) items(v any) {
	if text, ok := v.(string); ok {
		s.words("user", text)
		return
	}
	for _, it := range list(v) {
		name := str(it["name"])
		if space := str(it["namespace"]); space != "" {
			name = space + "__" + name
		}
		switch kind := str(it["type"]); kind {
		case "", "message":
			who := str(it["role"])
			if who == "developer" {
				who = "system"
			}
			s.text(who, it["content"])
		case "function_call":
			s.call(str(it["call_id"]), name, parsed(str(it["arguments"])))
		case "custom_tool_call":
			s.free(str(it["call_id"]), name, str(it["input"]))
		case "function_call_output", "custom_tool_call_output":
			s.result(str(it["call_id"]), it["output"])
		case "additional_tools":
			s.tools("", it["tools"])
		case "reasoning":
		default:
			s.add(kind, canonical(it))
		}
	}
}

// tools reads those that the client runs. One without parameters is declared in several ways that mean the same.
func (s *said) tools(space string, v any) {
	for _, t := range list(v) {
		def := t
		for _, nested := range []string{"function", "custom"} {
			if inner, ok := t[nested].(object); ok {
				def = inner
			}
		}
		kind, name := str(t["type"]), str(def["name"])
		if space != "" {
			name = space + "__" + name
		}
		switch kind {
		case "namespace":
			s.tools(name, t["tools"])
		case "custom":
			if t["input_schema"] == nil {
				s.Tools[name] = free
				s.Names = append(s.Names, name)
				continue
			}
			fallthrough
		case "", "function":
			schema, _ := cmp.Or(def["parameters"], def["input_schema"]).(object)
			whole := object{"type": "object", "properties": object{}}
			for k, v := range schema {
				whole[k] = v
			}
			s.Tools[name] = canonical(whole)
			s.Names = append(s.Names, name)
		}
	}
}

func (s *said) format(v any, member string) {
	if o, ok := v.(object); ok && o[member] != nil {
		s.Schema = canonical(o[member])
	}
}

// has tells whether one of the turns begins and contains so.
func (s *said) has(who, what string) bool {
	return slices.ContainsFunc(s.Turns, func(turn string) bool { return strings.HasPrefix(turn, who) && strings.Contains(turn, what) })
}

// checkSaid fails the test where the upstream was told something else than the gateway was.
func checkSaid(t *testing.T, sent, got *said) {
	t.Helper()
	for name, want := range sent.Tools {
		if schema, ok := got.Tools[name]; !ok || schema != want && want != free && schema != free {
			t.Errorf("tool %s %s arrived as %q", name, want, schema)
		}
	}
	if len(got.Tools) != len(sent.Tools) || got.Schema != sent.Schema || got.Stream != sent.Stream {
		t.Errorf("%d tools, schema %q, stream %t arrived as %d tools, schema %q, stream %t",
			len(sent.Tools), sent.Schema, sent.Stream, len(got.Tools), got.Schema, got.Stream)
	}
	for i := range max(len(sent.Turns), len(got.Turns)) {
		var a, b string
		if i < len(sent.Turns) {
			a = sent.Turns[i]
		}
		if i < len(got.Turns) {
			b = got.Turns[i]
		}
		if a != b {
			t.Errorf("turn %d changed on its way: %s", i, firstDifference([]byte(a), []byte(b)))
			return
		}
	}
}
