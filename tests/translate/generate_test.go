package translate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// talk is a conversation that every dialect can express.
type talk struct {
	system string
	turns  []turn
	tools  []tool
	choice string // name of the tool that must be called; empty: free
	max    int
	stop   []string
	user   string
}

// turn is what one side says at a time. Results come before anything else, calls after it.
type turn struct {
	assistant bool
	results   []result
	said      []string // texts, and images as data: URLs
	calls     []call
}

type call struct {
	id, name string
	args     any
}

type result struct{ id, text string }

type tool struct {
	name, about string
	schema      object
}

// pieces that JSON, SSE and UTF-8 make hard.
var hard = []string{"plain", " ", "\"", "\\", "\n", "\r\n", "\t", "é", "☃", "😀", "</script>", "&", "data: x\n\n", "event: y\n", "\u2028", "\x00", "\x1f",
	"{\"a\":1}", "\\u0041", "[DONE]", "ß", "日本語", "}", "{", "]", "\\\\", "\u00a0", "🏳️‍🌈", "'"}

func text(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("t")
	for range 1 + r.IntN(12) {
		b.WriteString(hard[r.IntN(len(hard))])
	}
	return b.String()
}

// value is any JSON value that a double holds exactly.
func value(r *rand.Rand, depth int) any {
	switch n := r.IntN(8); {
	case n == 0 && depth > 0:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, value(r, depth-1))
		}
		return list
	case n <= 2 && depth > 0:
		return arguments(r, depth-1)
	case n == 3:
		return r.IntN(1_000_000) - 500_000
	case n == 4:
		return nil
	case n == 5:
		return r.IntN(2) == 0
	}
	return text(r)
}

func arguments(r *rand.Rand, depth int) object {
	o := object{}
	for range r.IntN(4) {
		o[text(r)] = value(r, depth)
	}
	return o
}

func someTalk(r *rand.Rand) talk {
	t := talk{max: 100 + r.IntN(1000)}
	if r.IntN(3) > 0 {
		t.system = text(r)
	}
	if r.IntN(2) == 0 {
		t.user = fmt.Sprintf("user-%d", r.IntN(1000))
	}
	for i := range r.IntN(4) {
		schema := object{"type": "object", "properties": object{"x": object{"description": text(r)}}}
		t.tools = append(t.tools, tool{fmt.Sprintf("tool_%d", i), text(r), schema})
	}
	if len(t.tools) > 0 && r.IntN(4) == 0 {
		t.choice = t.tools[0].name
	}
	for range r.IntN(4) {
		t.stop = append(t.stop, text(r))
	}
	var open []result
	for i := range 1 + r.IntN(5) {
		u := turn{results: open}
		open = nil
		for range 1 + r.IntN(3) {
			if r.IntN(5) == 0 {
				u.said = append(u.said, fmt.Sprintf("data:image/png;base64,iVBORw0KGgo%04d=", r.IntN(1000)))
			} else {
				u.said = append(u.said, text(r))
			}
		}
		t.turns = append(t.turns, u)
		if i > 0 && r.IntN(3) == 0 {
			continue // the user speaks twice
		}
		a := turn{assistant: true}
		if r.IntN(4) > 0 || len(t.tools) == 0 {
			a.said = append(a.said, text(r))
		}
		for j := 0; len(t.tools) > 0 && (len(a.said) == 0 && j == 0 || r.IntN(2) == 0 && j < 4); j++ {
			c := call{fmt.Sprintf("call_%d_%d", i, j), t.tools[r.IntN(len(t.tools))].name, arguments(r, 3)}
			a.calls = append(a.calls, c)
			open = append(open, result{c.id, text(r)})
		}
		r.Shuffle(len(open), func(x, y int) { open[x], open[y] = open[y], open[x] })
		t.turns = append(t.turns, a)
	}
	t.turns = append(t.turns, turn{results: open, said: []string{text(r)}})
	return t
}

// body writes the talk in a dialect.
func (t talk) body(r *rand.Rand, dialect string) []byte {
	o := object{"model": "alias"}
	switch dialect {
	case "anthropic":
		t.anthropic(o)
	case "chat":
		t.chat(o)
	case "responses":
		t.responses(o)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(r.IntN(2) == 0)
	if r.IntN(2) == 0 {
		e.SetIndent("", " ")
	}
	if err := e.Encode(o); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func base64Of(dataURL string) string {
	_, data, _ := strings.Cut(dataURL, ",")
	return data
}

func isImage(said string) bool { return strings.HasPrefix(said, "data:image/") }

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (t talk) anthropic(o object) {
	o["max_tokens"] = t.max
	if t.system != "" {
		o["system"] = t.system
	}
	if t.user != "" {
		o["metadata"] = object{"user_id": t.user}
	}
	if t.stop != nil {
		o["stop_sequences"] = t.stop
	}
	messages := []any{}
	for _, u := range t.turns {
		parts := []any{}
		for _, x := range u.results {
			parts = append(parts, object{"type": "tool_result", "tool_use_id": x.id, "content": x.text})
		}
		for _, s := range u.said {
			if isImage(s) {
				parts = append(parts, object{"type": "image", "source": object{"type": "base64", "media_type": "image/png", "data": base64Of(s)}})
			} else {
				parts = append(parts, object{"type": "text", "text": s})
			}
		}
		for _, c := range u.calls {
			parts = append(parts, object{"type": "tool_use", "id": c.id, "name": c.name, "input": c.args})
		}
		role := "user"
		if u.assistant {
			role = "assistant"
		}
		messages = append(messages, object{"role": role, "content": parts})
	}
	o["messages"] = messages
	var tools []any
	for _, x := range t.tools {
		tools = append(tools, object{"name": x.name, "description": x.about, "input_schema": x.schema})
	}
	if tools != nil {
		o["tools"] = tools
	}
	if t.choice != "" {
		o["tool_choice"] = object{"type": "tool", "name": t.choice}
	}
}

func (t talk) chat(o object) {
	o["max_tokens"] = t.max
	if t.user != "" {
		o["user"] = t.user
	}
	if t.stop != nil {
		o["stop"] = t.stop
	}
	messages := []any{}
	if t.system != "" {
		messages = append(messages, object{"role": "system", "content": t.system})
	}
	for _, u := range t.turns {
		for _, x := range u.results {
			messages = append(messages, object{"role": "tool", "tool_call_id": x.id, "content": x.text})
		}
		if u.assistant {
			m := object{"role": "assistant", "content": strings.Join(u.said, "")}
			var calls []any
			for _, c := range u.calls {
				calls = append(calls, object{"id": c.id, "type": "function", "function": object{"name": c.name, "arguments": jsonText(c.args)}})
			}
			if calls != nil {
				m["tool_calls"] = calls
			}
			messages = append(messages, m)
			continue
		}
		parts := []any{}
		for _, s := range u.said {
			if isImage(s) {
				parts = append(parts, object{"type": "image_url", "image_url": object{"url": s}})
			} else {
				parts = append(parts, object{"type": "text", "text": s})
			}
		}
		messages = append(messages, object{"role": "user", "content": parts})
	}
	o["messages"] = messages
	var tools []any
	for _, x := range t.tools {
		tools = append(tools, object{"type": "function", "function": object{"name": x.name, "description": x.about, "parameters": x.schema}})
	}
	if tools != nil {
		o["tools"] = tools
	}
	if t.choice != "" {
		o["tool_choice"] = object{"type": "function", "function": object{"name": t.choice}}
	}
}

func (t talk) responses(o object) {
	o["max_output_tokens"] = t.max
	if t.user != "" {
		o["user"] = t.user
	}
	if t.system != "" {
		o["instructions"] = t.system
	}
	items := []any{}
	for _, u := range t.turns {
		for _, x := range u.results {
			items = append(items, object{"type": "function_call_output", "call_id": x.id, "output": x.text})
		}
		parts := []any{}
		role, kind := "user", "input_text"
		if u.assistant {
			role, kind = "assistant", "output_text"
		}
		for _, s := range u.said {
			if isImage(s) {
				parts = append(parts, object{"type": "input_image", "image_url": s})
			} else {
				parts = append(parts, object{"type": kind, "text": s})
			}
		}
		if len(parts) > 0 {
			items = append(items, object{"type": "message", "role": role, "content": parts})
		}
		for _, c := range u.calls {
			items = append(items, object{"type": "function_call", "call_id": c.id, "name": c.name, "arguments": jsonText(c.args)})
		}
	}
	o["input"] = items
	var tools []any
	for _, x := range t.tools {
		tools = append(tools, object{"type": "function", "name": x.name, "description": x.about, "parameters": x.schema, "strict": false})
	}
	if tools != nil {
		o["tools"] = tools
	}
	if t.choice != "" {
		o["tool_choice"] = object{"type": "function", "name": t.choice}
	}
}
