package translate_test

import "encoding/json"

var anthropicStops = map[string]bool{"end_turn": true, "max_tokens": true, "stop_sequence": true, "tool_use": true,
	"pause_turn": true, "refusal": true, "model_context_window_exceeded": true}

// anthropicDeltas are the delta types that a block may have, and the member each of them carries.
var anthropicDeltas = map[string]map[string]string{
	"text":     {"text_delta": "text", "citations_delta": ""},
	"thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
	"tool_use": {"input_json_delta": "partial_json"},
}

// checkAnthropic is a strict reader of a Messages stream: message_start first, blocks that open and close one after the
// other with rising indexes, message_delta with stop_reason and usage, message_stop last (D9, D12, D29).
func checkAnthropic(stream []byte, o checkOptions) (*heard, error) {
	return judged(func() *heard {
		c := &anthropicCheck{o: o, message: object{}, open: -1}
		for _, f := range frames(stream, true) {
			c.event(f)
		}
		if o.failed {
			must(c.failure != nil, "a failed stream has no error event")
			return &heard{failure: c.failure}
		}
		must(c.failure == nil, "an error event: %v", c.failure)
		must(c.stopped, "no message_stop")
		return anthropicMessage(c.message)
	})
}

type anthropicCheck struct {
	o       checkOptions
	message object
	blocks  []any
	open    int // index of the open block, -1: none
	input   string
	final   bool // message_delta came
	stopped bool
	failure object
}

func (c *anthropicCheck) event(f frame) {
	must(!c.stopped && c.failure == nil, "%s after the end", f.name)
	if f.name == "ping" {
		return
	}
	if f.name == "error" {
		c.failure = obj(f.data, "error")
		must(str(c.failure, "type") != "" && str(c.failure, "message") != "", "an error without words: %v", f.data)
		return
	}
	must((len(c.message) == 0) == (f.name == "message_start"), "%s where message_start was due, or twice", f.name)
	switch f.name {
	case "message_start":
		c.message = obj(f.data, "message")
		must(len(list(c.message, "content")) == 0, "content in message_start")
		reason, there := c.message["stop_reason"]
		must(there && reason == nil, "stop_reason in message_start: %v", c.message)
		u := obj(c.message, "usage")
		num(u, "input_tokens")
		num(u, "output_tokens")
	case "content_block_start":
		must(c.open < 0 && !c.final, "a block within a block, or after message_delta")
		must(num(f.data, "index") == int64(len(c.blocks)), "index %v of block %d", f.data["index"], len(c.blocks))
		c.open, c.input = len(c.blocks), ""
		b := obj(f.data, "content_block")
		switch b["type"] {
		case "text":
			must(b["text"] == "", "a text block starts with text: %v", b)
		case "thinking":
			must(b["thinking"] == "" && b["signature"] == "", "a thinking block starts with content: %v", b)
		case "tool_use":
			must(len(obj(b, "input")) == 0, "a call starts with input: %v", b)
		}
		c.blocks = append(c.blocks, b)
	case "content_block_delta":
		must(c.open >= 0 && num(f.data, "index") == int64(c.open), "a delta outside its block: %v", f.data)
		c.delta(c.blocks[c.open].(object), obj(f.data, "delta"))
	case "content_block_stop":
		must(c.open >= 0 && num(f.data, "index") == int64(c.open), "a stop of another block: %v", f.data)
		if b := c.blocks[c.open].(object); b["type"] == "tool_use" {
			if c.input == "" {
				c.input = "{}"
			}
			if c.o.bad {
				c.input = "{}"
			}
			isObject(c.input)
			b["input"] = json.RawMessage(c.input)
		}
		c.open = -1
	case "message_delta":
		must(c.open < 0 && !c.final, "message_delta within a block, or twice")
		d := obj(f.data, "delta")
		_, there := d["stop_sequence"]
		must(there, "no stop_sequence in %v", d)
		c.message["stop_reason"], c.message["stop_sequence"] = d["stop_reason"], d["stop_sequence"]
		num(obj(f.data, "usage"), "output_tokens")
		for name, v := range obj(f.data, "usage") {
			obj(c.message, "usage")[name] = v
		}
		c.final = true
	case "message_stop":
		must(c.open < 0 && c.final, "message_stop within a block, or before message_delta")
		c.message["content"] = append([]any{}, c.blocks...)
		c.stopped = true
	default:
		must(false, "an event %q", f.name)
	}
}

func (c *anthropicCheck) delta(b, d object) {
	typ, kind := str(d, "type"), str(b, "type")
	member, ok := anthropicDeltas[kind][typ]
	must(ok, "a %s in a %s block", typ, kind)
	switch {
	case kind == "tool_use":
		c.input += str(d, member)
	case typ == "citations_delta":
		was, _ := b["citations"].([]any)
		b["citations"] = append(was, obj(d, "citation"))
	case typ == "signature_delta":
		must(b["signature"] == "", "a second signature")
		b["signature"] = str(d, member)
	default:
		must(b["signature"] == nil || b["signature"] == "", "thinking after its signature")
		b[member] = str(b, member) + str(d, member)
	}
}

// anthropicMessage reads a whole message.
func anthropicMessage(m object) *heard {
	must(m["type"] == "message" && m["role"] == "assistant", "type %v, role %v", m["type"], m["role"])
	must(str(m, "id") == "msg_"+replyID && str(m, "model") != "", "id %v, model %v", m["id"], m["model"])
	h := &heard{stop: str(m, "stop_reason"), usage: obj(m, "usage")}
	must(anthropicStops[h.stop], "stop_reason %q", h.stop)
	must((h.stop == "stop_sequence") == (m["stop_sequence"] != nil), "stop_reason %q with stop_sequence %v", h.stop, m["stop_sequence"])
	calls := 0
	for _, b := range objs(m, "content") {
		p := part{kind: str(b, "type")}
		switch p.kind {
		case "text":
			p.text, p.note = str(b, "text"), b["citations"]
		case "thinking":
			p.text, p.sig = str(b, "thinking"), str(b, "signature")
		case "redacted_thinking":
			p.kind, p.sig = "redacted", str(b, "data")
		case "tool_use":
			calls++
			input, err := json.Marshal(b["input"])
			must(err == nil, "input %v", b["input"])
			isObject(string(input))
			p.kind, p.text, p.name, p.id = "call", string(input), str(b, "name"), str(b, "id")
		default:
			p.kind, p.note = "other", b["type"]
		}
		h.parts = append(h.parts, p)
	}
	must(calls > 0 || h.stop != "tool_use", "stop_reason tool_use without a call")
	h.history = []any{object{"role": "assistant", "content": m["content"]}}
	return h
}
