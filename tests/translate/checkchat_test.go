package translate_test

import "encoding/json"

var chatFinishes = map[string]bool{"stop": true, "length": true, "tool_calls": true, "content_filter": true, "function_call": true}

// checkChat is a strict reader of a Chat Completions stream: one id, the role first, rising indexes of calls, one
// finish_reason, the usage chunk exactly when it was asked for, [DONE] last (D33-D35).
func checkChat(stream []byte, o checkOptions) (*heard, error) {
	return judged(func() *heard {
		c := &chatCheck{o: o, message: object{}}
		for _, f := range frames(stream, false) {
			c.event(f)
		}
		if o.failed {
			must(c.failure != nil, "a failed stream has no error")
			return &heard{failure: c.failure}
		}
		must(c.failure == nil, "an error: %v", c.failure)
		must(c.done, "no [DONE]")
		must(c.finish != "", "no finish_reason")
		must(!o.usage || c.usage != nil, "no usage chunk")
		return c.heard()
	})
}

type chatCheck struct {
	o       checkOptions
	first   object
	message object // put together
	calls   []object
	finish  string
	usage   object
	logs    []any
	done    bool
	failure object
}

func (c *chatCheck) event(f frame) {
	must(!c.done && c.failure == nil, "an event after the end: %v", f.data)
	if f.done {
		c.done = true
		return
	}
	if f.data["error"] != nil {
		c.failure = obj(f.data, "error")
		str(c.failure, "message")
		str(c.failure, "type")
		return
	}
	if c.first == nil {
		c.first = f.data
		must(str(f.data, "id") == "chatcmpl-"+replyID && str(f.data, "model") != "", "id %v, model %v", f.data["id"], f.data["model"])
	}
	for _, name := range []string{"id", "object", "created", "model"} {
		must(f.data[name] == c.first[name], "%s changes from %v to %v", name, c.first[name], f.data[name])
	}
	must(f.data["object"] == "chat.completion.chunk", "object %v", f.data["object"])
	must(num(f.data, "created") == created, "created %v", f.data["created"])
	must(c.usage == nil, "a chunk after the usage")
	usage, there := f.data["usage"]
	must(there == c.o.usage, "usage is there: %v; asked for: %v", there, c.o.usage)
	choices := objs(f.data, "choices")
	if usage != nil {
		must(len(choices) == 0 && c.finish != "", "usage in a chunk with choices, or before finish_reason")
		c.usage = chatUsage(obj(f.data, "usage"))
		return
	}
	must(len(choices) == 1 && num(choices[0], "index") == 0, "choices %v", choices)
	c.choice(choices[0])
}

func (c *chatCheck) choice(ch object) {
	must(c.finish == "", "a choice after finish_reason: %v", ch)
	d := obj(ch, "delta")
	if len(c.message) == 0 {
		must(d["role"] == "assistant", "the first delta has no role: %v", d)
		c.message["role"] = "assistant"
	} else {
		must(d["role"] == nil, "a second role")
	}
	for _, name := range []string{"content", "refusal", "reasoning_content"} {
		if s := optional(d, name); s != "" {
			c.message[name] = optional(c.message, name) + s
		}
	}
	if d["reasoning_details"] != nil {
		was, _ := c.message["reasoning_details"].([]any)
		c.message["reasoning_details"] = append(was, list(d, "reasoning_details")...)
	}
	if d["annotations"] != nil {
		was, _ := c.message["annotations"].([]any)
		c.message["annotations"] = append(was, list(d, "annotations")...)
	}
	if l, ok := ch["logprobs"].(object); ok {
		c.logs = append(c.logs, list(l, "content")...)
	}
	if d["tool_calls"] != nil {
		must(!c.o.legacy, "tool_calls for a client of functions")
		for _, t := range objs(d, "tool_calls") {
			c.call(t)
		}
	}
	if f, ok := d["function_call"].(object); ok {
		must(c.o.legacy, "function_call for a client of tools")
		if len(c.calls) == 0 {
			str(f, "name")
			c.calls = append(c.calls, object{"id": "", "function": object{"name": f["name"], "arguments": ""}})
		}
		fn := obj(c.calls[0], "function")
		fn["arguments"] = str(fn, "arguments") + optional(f, "arguments")
	}
	reason, there := ch["finish_reason"]
	must(there, "no finish_reason member in %v", ch)
	if reason != nil {
		c.finish = str(ch, "finish_reason")
	}
}

func (c *chatCheck) call(t object) {
	i := num(t, "index")
	if i == int64(len(c.calls)) {
		must(str(t, "id") != "", "a call without id")
		typ := str(t, "type")
		must(str(obj(t, typ), "name") != "", "a call without name")
		c.calls = append(c.calls, object{"id": t["id"], "type": typ, typ: obj(t, typ)})
		return
	}
	must(i == int64(len(c.calls))-1, "call %d after call %d", i, len(c.calls)-1)
	was := c.calls[i]
	must(t["id"] == nil && t["type"] == nil, "id or type again: %v", t)
	typ := str(was, "type")
	d, fn := obj(t, typ), obj(was, typ)
	must(d["name"] == nil, "name again: %v", t)
	text := "arguments"
	if typ == "custom" {
		text = "input"
	}
	fn[text] = optional(fn, text) + str(d, text)
}

func (c *chatCheck) heard() *heard {
	m := c.message
	var calls []any
	for _, call := range c.calls {
		calls = append(calls, call)
	}
	if calls != nil && c.o.legacy {
		m["function_call"] = c.calls[0]["function"]
	} else if calls != nil {
		m["tool_calls"] = calls
	}
	var logs any
	if c.logs != nil {
		logs = object{"content": c.logs}
	}
	h := chatMessage(m, c.finish, logs)
	h.usage = c.usage
	return h
}

// chatUsage checks a usage object.
func chatUsage(u object) object {
	must(num(u, "prompt_tokens")+num(u, "completion_tokens") == num(u, "total_tokens"), "usage does not add up: %v", u)
	must(num(obj(u, "prompt_tokens_details"), "cached_tokens") <= num(u, "prompt_tokens"), "more cached than there is: %v", u)
	num(obj(u, "completion_tokens_details"), "reasoning_tokens")
	return u
}

// chatCompletion reads a whole answer.
func chatCompletion(doc object) *heard {
	must(doc["object"] == "chat.completion" && str(doc, "id") == "chatcmpl-"+replyID, "object %v, id %v", doc["object"], doc["id"])
	must(num(doc, "created") == created && str(doc, "model") != "", "created %v, model %v", doc["created"], doc["model"])
	choices := objs(doc, "choices")
	must(len(choices) == 1 && num(choices[0], "index") == 0, "choices %v", choices)
	m := obj(choices[0], "message")
	must(m["role"] == "assistant", "role %v", m["role"])
	for _, name := range []string{"content", "refusal"} {
		_, there := m[name]
		must(there, "no member %s in %v", name, m)
	}
	h := chatMessage(m, str(choices[0], "finish_reason"), choices[0]["logprobs"])
	h.usage = chatUsage(obj(doc, "usage"))
	return h
}

// chatMessage reads a message, whole or put together. The message is an object: its parts have no order among kinds.
func chatMessage(m object, finish string, logs any) *heard {
	must(chatFinishes[finish], "finish_reason %q", finish)
	h := &heard{stop: finish}
	if details, ok := m["reasoning_details"].([]any); ok {
		for _, v := range details {
			d := v.(object)
			switch str(d, "type") {
			case "reasoning.text":
				h.parts = append(h.parts, part{kind: "signature", sig: str(d, "signature")})
			case "reasoning.encrypted":
				h.parts = append(h.parts, part{kind: "redacted", sig: str(d, "data")})
			default:
				must(false, "reasoning_details of type %v", d["type"])
			}
		}
	}
	for kind, name := range map[string]string{"thinking": "reasoning_content", "text": "content", "refusal": "refusal"} {
		if s := optional(m, name); s != "" {
			h.parts = append(h.parts, part{kind: kind, text: s})
		}
	}
	sortParts(h.parts)
	if l, ok := logs.(object); ok {
		h.parts = append(h.parts, part{kind: "logprobs", note: l["content"]})
	}
	if m["annotations"] != nil {
		h.parts = append(h.parts, part{kind: "annotations", note: m["annotations"]})
	}
	if f, ok := m["function_call"].(object); ok {
		isObject(str(f, "arguments"))
		must(finish == "function_call", "finish_reason %q with a function call", finish)
		h.parts = append(h.parts, part{kind: "call", name: str(f, "name"), text: str(f, "arguments")})
	}
	if m["tool_calls"] != nil {
		for _, t := range objs(m, "tool_calls") {
			h.parts = append(h.parts, chatCall(t))
		}
		must(finish == "tool_calls" || finish == "length" || finish == "content_filter", "finish_reason %q with calls", finish)
	}
	must(finish != "tool_calls" || m["tool_calls"] != nil, "finish_reason tool_calls without a call")
	h.history = []any{chatHistory(m)}
	return h
}

func chatCall(t object) part {
	p := part{kind: "call", id: str(t, "id")}
	if t["type"] == "custom" {
		c := obj(t, "custom")
		p.kind, p.name, p.text = "custom", str(c, "name"), str(c, "input")
		return p
	}
	must(t["type"] == "function", "a call of type %v", t["type"])
	f := obj(t, "function")
	p.name, p.text = str(f, "name"), str(f, "arguments")
	return p
}

// chatHistory is a message as a client sends it back. Clients put together what came in pieces: the text of the
// reasoning is in reasoning_content, and in the details only where the answer was whole.
func chatHistory(m object) object {
	out := object{}
	for name, v := range m {
		if v != nil {
			out[name] = v
		}
	}
	details, ok := out["reasoning_details"].([]any)
	if !ok {
		return out
	}
	doc, err := json.Marshal(details)
	must(err == nil, "%v", err)
	var copied []object
	must(decodeNumbers(doc, &copied) == nil, "reasoning_details %s", doc)
	text := 0
	for _, d := range copied {
		if d["type"] == "reasoning.text" {
			text++
		}
	}
	for _, d := range copied {
		if d["type"] == "reasoning.text" && text == 1 && d["text"] == "" && out["reasoning_content"] != nil {
			d["text"] = out["reasoning_content"]
		}
	}
	out["reasoning_details"] = copied
	return out
}

// sortParts gives parts of an object a fixed order.
func sortParts(ps []part) {
	order := map[string]int{"thinking": 0, "signature": 1, "redacted": 2, "text": 3, "refusal": 4}
	for i := range ps {
		for j := i; j > 0 && order[ps[j].kind] < order[ps[j-1].kind]; j-- {
			ps[j], ps[j-1] = ps[j-1], ps[j]
		}
	}
}
