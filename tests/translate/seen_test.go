package translate_test

import (
	"encoding/json"
	"fmt"
	"strings"
)

// seen lists what a request says, in an order that all dialects share: one line for each thing.
func seen(dialect string, body []byte) (lines []string, err error) {
	_, err = judged(func() *heard {
		var o object
		must(strictJSON(body) == nil && decodeNumbers(body, &o) == nil, "no clean JSON object: %s", body)
		v := &viewer{}
		switch dialect {
		case "anthropic":
			v.anthropic(o)
		case "chat":
			v.chat(o)
		case "responses":
			v.responses(o)
		}
		lines = v.lines
		return nil
	})
	return lines, err
}

type viewer struct {
	lines []string
	turns []string // Anthropic's: who speaks
}

// alternate reports whether a body of Anthropic's has turns of user and assistant in alternation.
func alternate(body []byte) bool {
	v := &viewer{}
	_, err := judged(func() *heard {
		var o object
		must(decodeNumbers(body, &o) == nil, "no JSON object: %s", body)
		v.anthropic(o)
		return nil
	})
	for i := range v.turns {
		if err != nil || v.turns[i] != [...]string{"user", "assistant"}[i%2] {
			return false
		}
	}
	return len(v.turns) > 0
}

func (v *viewer) add(kind string, values ...any) {
	line := kind
	for _, x := range values {
		line += fmt.Sprintf(" %q", fmt.Sprint(x))
	}
	v.lines = append(v.lines, line)
}

// canonical is a JSON text with its members in order.
func canonical(doc string) string {
	var x any
	must(decodeNumbers([]byte(doc), &x) == nil, "no JSON: %q", doc)
	return jsonText(x)
}

// parts lists a content: a string, or parts.
func (v *viewer) parts(who string, content any) {
	switch c := content.(type) {
	case nil:
	case string:
		if c != "" {
			v.add(who, c)
		}
	case []any:
		for _, e := range c {
			p, ok := e.(object)
			must(ok, "a part that is no object: %v", e)
			switch p["type"] {
			case "text", "input_text", "output_text":
				v.add(who, str(p, "text"))
			case "image_url":
				v.add("image", base64Of(str(obj(p, "image_url"), "url")))
			case "input_image":
				v.add("image", base64Of(str(p, "image_url")))
			case "image":
				v.add("image", str(obj(p, "source"), "data"))
			case "tool_result":
				v.add("result", str(p, "tool_use_id"), v.plain(p["content"]))
			case "tool_use":
				input, err := json.Marshal(p["input"])
				must(err == nil, "%v", err)
				v.add("call", str(p, "id"), str(p, "name"), canonical(string(input)))
			default:
				must(false, "a part of type %v", p["type"])
			}
		}
	default:
		must(false, "content %v", content)
	}
}

// plain is the text of a result.
func (v *viewer) plain(content any) string {
	if s, ok := content.(string); ok || content == nil {
		return s
	}
	var texts []string
	for _, e := range content.([]any) {
		texts = append(texts, str(e.(object), "text"))
	}
	return strings.Join(texts, "\n\n")
}

func (v *viewer) tool(name, about string, schema any) {
	v.add("tool", name, about, canonical(jsonText(schema)))
}

func (v *viewer) anthropic(o object) {
	if o["system"] != nil {
		v.parts("system", o["system"])
	}
	for _, m := range objs(o, "messages") {
		role := str(m, "role")
		v.turns = append(v.turns, role)
		v.parts(role, m["content"])
	}
	if o["tools"] != nil {
		for _, t := range objs(o, "tools") {
			v.tool(str(t, "name"), optional(t, "description"), obj(t, "input_schema"))
		}
	}
	if c, ok := o["tool_choice"].(object); ok {
		v.add("choice", str(c, "name"))
	}
	v.add("max", num(o, "max_tokens"))
	if m, ok := o["metadata"].(object); ok {
		v.add("user id", str(m, "user_id"))
	}
}

func (v *viewer) chat(o object) {
	for _, m := range objs(o, "messages") {
		if m["role"] == "tool" {
			v.add("result", str(m, "tool_call_id"), v.plain(m["content"]))
			continue
		}
		v.parts(str(m, "role"), m["content"])
		if m["tool_calls"] != nil {
			for _, c := range objs(m, "tool_calls") {
				f := obj(c, "function")
				v.add("call", str(c, "id"), str(f, "name"), canonical(str(f, "arguments")))
			}
		}
	}
	if o["tools"] != nil {
		for _, t := range objs(o, "tools") {
			f := obj(t, "function")
			v.tool(str(f, "name"), optional(f, "description"), obj(f, "parameters"))
		}
	}
	if c, ok := o["tool_choice"].(object); ok {
		v.add("choice", str(obj(c, "function"), "name"))
	}
	v.add("max", num(o, "max_tokens"))
	if o["user"] != nil {
		v.add("user id", str(o, "user"))
	}
}

func (v *viewer) responses(o object) {
	if o["instructions"] != nil {
		v.add("system", str(o, "instructions"))
	}
	for _, m := range objs(o, "input") {
		switch m["type"] {
		case "message":
			v.parts(str(m, "role"), m["content"])
		case "function_call":
			v.add("call", str(m, "call_id"), str(m, "name"), canonical(str(m, "arguments")))
		case "function_call_output":
			v.add("result", str(m, "call_id"), v.plain(m["output"]))
		default:
			must(false, "an item of type %v", m["type"])
		}
	}
	if o["tools"] != nil {
		for _, t := range objs(o, "tools") {
			v.tool(str(t, "name"), optional(t, "description"), obj(t, "parameters"))
		}
	}
	if c, ok := o["tool_choice"].(object); ok {
		v.add("choice", str(c, "name"))
	}
	v.add("max", num(o, "max_output_tokens"))
	if o["user"] != nil {
		v.add("user id", str(o, "user"))
	}
}
