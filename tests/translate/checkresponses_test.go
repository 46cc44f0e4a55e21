package translate_test

import (
	"encoding/json"
	"reflect"
	"strings"
)

// checkResponses is a strict reader of a Responses stream: sequence numbers from 0 without gaps, response.created first,
// every added item done, deltas that add up to the done texts, and last response.completed with all items (D38).
func checkResponses(stream []byte, o checkOptions) (*heard, error) {
	return judged(func() *heard {
		c := &responsesCheck{}
		for i, f := range frames(stream, true) {
			must(num(f.data, "sequence_number") == int64(i), "sequence_number %v of event %d", f.data["sequence_number"], i)
			c.event(i, f)
		}
		must(c.end != nil, "no terminal event")
		if o.failed {
			must(c.failed, "a failed stream ends in %v", c.end["status"])
			return &heard{failure: obj(c.end, "error")}
		}
		must(!c.failed, "the stream failed: %v", c.end["error"])
		must(c.item == nil, "an item is not done: %v", c.item)
		must(reflect.DeepEqual(append([]any{}, c.items...), append([]any{}, list(c.end, "output")...)), "output %v, but the items were %v", c.end["output"], c.items)
		return responseObject(c.end)
	})
}

type responsesCheck struct {
	id     string
	item   object // the open one
	part   object // the open one, put together
	text   string // of the open part, summary or arguments
	parts  []any  // those done of the open item
	items  []any  // those done
	end    object
	failed bool
	said   bool // the done event of the open text or arguments came
}

func (c *responsesCheck) event(i int, f frame) {
	must(c.end == nil, "%s after the end", f.name)
	must((i == 0) == (f.name == "response.created"), "event %d is %s", i, f.name)
	switch f.name {
	case "response.created", "response.in_progress":
		r := obj(f.data, "response")
		must(r["status"] == "in_progress" && len(list(r, "output")) == 0, "%s: %v", f.name, r)
		if i == 0 {
			c.id = str(r, "id")
			must(c.id == "resp_"+replyID, "id %q", c.id)
		}
		must(i < 2 && r["id"] == c.id, "%s as event %d, id %v", f.name, i, r["id"])
	case "response.completed", "response.incomplete", "response.failed":
		must(i > 0, "%s as the only event", f.name)
		c.end = obj(f.data, "response")
		must("response."+str(c.end, "status") == f.name && c.end["id"] == c.id, "%s: status %v, id %v", f.name, c.end["status"], c.end["id"])
		if c.failed = f.name == "response.failed"; c.failed {
			must(str(obj(c.end, "error"), "code") != "" && str(obj(c.end, "error"), "message") != "", "an error without words: %v", c.end)
		}
	case "response.output_item.added":
		must(c.item == nil, "an item within an item")
		c.at(f)
		c.item, c.parts, c.text, c.said, c.part = obj(f.data, "item"), nil, "", false, nil
		must(str(c.item, "id") != "", "an item without id")
		must(c.item["status"] == nil || c.item["status"] == "in_progress", "a new item is %v", c.item["status"])
	case "response.output_item.done":
		c.at(f)
		c.itemDone(obj(f.data, "item"))
	default:
		c.within(f)
	}
}

// at checks the index of an item's event.
func (c *responsesCheck) at(f frame) {
	must(num(f.data, "output_index") == int64(len(c.items)), "%s: output_index %v of item %d", f.name, f.data["output_index"], len(c.items))
}

// within takes an event within an item.
func (c *responsesCheck) within(f frame) {
	must(c.item != nil, "%s outside of an item", f.name)
	c.at(f)
	must(str(f.data, "item_id") == c.item["id"], "%s: item_id %v in item %v", f.name, f.data["item_id"], c.item["id"])
	switch f.name {
	case "response.content_part.added", "response.reasoning_summary_part.added":
		c.index(f)
		must(c.part == nil, "a part within a part")
		c.part, c.text, c.said = obj(f.data, "part"), "", false
	case "response.output_text.delta", "response.refusal.delta", "response.reasoning_summary_text.delta":
		c.index(f)
		must(c.part != nil && !c.said, "%s outside of a part", f.name)
		c.text += str(f.data, "delta")
	case "response.output_text.done", "response.reasoning_summary_text.done":
		c.index(f)
		must(c.part != nil && str(f.data, "text") == c.text, "text %q done as %q", c.text, f.data["text"])
		c.said = true
	case "response.refusal.done":
		c.index(f)
		must(c.part != nil && str(f.data, "refusal") == c.text, "refusal %q done as %q", c.text, f.data["refusal"])
		c.said = true
	case "response.output_text.annotation.added":
		c.index(f)
		num(f.data, "annotation_index")
		obj(f.data, "annotation")
	case "response.content_part.done", "response.reasoning_summary_part.done":
		c.index(f)
		p := obj(f.data, "part")
		must(c.part != nil && c.said && p["type"] == c.part["type"] && partText(p) == c.text, "part %v done as %v with %q", c.part, p, c.text)
		c.parts, c.part = append(c.parts, p), nil
	case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta":
		must(!c.said, "%s after its end", f.name)
		c.text += str(f.data, "delta")
	case "response.function_call_arguments.done":
		must(c.item["type"] == "function_call" && str(f.data, "arguments") == c.text, "arguments %q done as %v", c.text, f.data["arguments"])
		c.said = true
	case "response.custom_tool_call_input.done":
		must(c.item["type"] == "custom_tool_call" && str(f.data, "input") == c.text, "input %q done as %v", c.text, f.data["input"])
		c.said = true
	default:
		must(false, "an event %q", f.name)
	}
}

// index checks which part of its item an event names.
func (c *responsesCheck) index(f frame) {
	name := "content_index"
	if strings.Contains(f.name, "reasoning_summary") {
		name = "summary_index"
	}
	must(num(f.data, name) == int64(len(c.parts)), "%s: %s %v of part %d", f.name, name, f.data[name], len(c.parts))
}

func partText(p object) string {
	if p["type"] == "refusal" {
		return str(p, "refusal")
	}
	return str(p, "text")
}

func (c *responsesCheck) itemDone(item object) {
	must(c.item != nil && item["id"] == c.item["id"] && item["type"] == c.item["type"], "item %v done as %v", c.item, item)
	must(c.part == nil, "an item is done before its part")
	switch item["type"] {
	case "message":
		must(reflect.DeepEqual(c.parts, list(item, "content")), "parts %v, but the item has %v", c.parts, item["content"])
	case "reasoning":
		must(reflect.DeepEqual(append([]any{}, c.parts...), list(item, "summary")), "parts %v, but the item has %v", c.parts, item["summary"])
	case "function_call":
		must(c.said && str(item, "arguments") == c.text, "arguments %q, but the item has %v", c.text, item["arguments"])
	case "custom_tool_call":
		must(c.said && str(item, "input") == c.text, "input %q, but the item has %v", c.text, item["input"])
	}
	c.items, c.item = append(c.items, item), nil
}

// responseObject reads a whole response.
func responseObject(r object) *heard {
	must(str(r, "id") == "resp_"+replyID && str(r, "model") != "" && num(r, "created_at") == created, "id %v, model %v, created_at %v", r["id"], r["model"], r["created_at"])
	h := &heard{stop: str(r, "status"), usage: obj(r, "usage")}
	switch h.stop {
	case "completed":
		must(r["incomplete_details"] == nil, "completed, but %v", r["incomplete_details"])
	case "incomplete":
		h.stop += " " + str(obj(r, "incomplete_details"), "reason")
	default:
		must(false, "status %q", h.stop)
	}
	must(r["error"] == nil, "status %q with an error: %v", h.stop, r["error"])
	u := h.usage
	must(num(u, "input_tokens")+num(u, "output_tokens") == num(u, "total_tokens"), "usage does not add up: %v", u)
	must(num(obj(u, "input_tokens_details"), "cached_tokens") <= num(u, "input_tokens"), "more cached than there is: %v", u)
	num(obj(u, "output_tokens_details"), "reasoning_tokens")
	ids := map[string]bool{}
	for _, item := range objs(r, "output") {
		id := str(item, "id")
		must(id != "" && !ids[id], "item id %q is empty or given twice", id)
		ids[id] = true
		h.item(item)
		h.history = append(h.history, item)
	}
	return h
}

func (h *heard) item(item object) {
	p := part{}
	switch typ := str(item, "type"); typ {
	case "message":
		must(item["role"] == "assistant", "role %v", item["role"])
		for _, c := range objs(item, "content") {
			kind := "text"
			if c["type"] == "refusal" {
				kind = "refusal"
			} else {
				must(c["type"] == "output_text", "a part of type %v", c["type"])
				list(c, "annotations")
			}
			h.parts = append(h.parts, part{kind: kind, text: partText(c), note: []any{c["annotations"], c["logprobs"]}})
		}
		return
	case "reasoning":
		p.kind, p.sig = "thinking", optional(item, "encrypted_content")
		for _, s := range objs(item, "summary") {
			must(s["type"] == "summary_text", "a summary of type %v", s["type"])
			p.text += str(s, "text")
		}
	case "function_call":
		p = part{kind: "call", id: str(item, "call_id"), name: str(item, "name"), text: str(item, "arguments")}
		if ns := optional(item, "namespace"); ns != "" {
			p.name = ns + "/" + p.name
		}
	case "custom_tool_call":
		p = part{kind: "custom", id: str(item, "call_id"), name: str(item, "name"), text: str(item, "input")}
	case "local_shell_call":
		action, err := json.Marshal(obj(item, "action"))
		must(err == nil, "action %v", item["action"])
		p = part{kind: "call", id: str(item, "call_id"), name: typ, text: string(action)}
	default:
		p = part{kind: "other", note: typ}
	}
	h.parts = append(h.parts, p)
}
