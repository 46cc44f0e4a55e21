package openaichat

import (
	"strconv"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

func (d *decoder) messages(v rawjson.Value) {
	body := translator.Place{}
	list := d.value(v, rawjson.Array, body, "messages")
	if d.err != nil {
		return
	}
	i := 0
	if list != nil {
		_ = rawjson.Elements(list, func(el rawjson.Value) bool {
			d.message(translator.At("messages", i), el)
			i++
			return d.err == nil
		})
	}
	if i == 0 {
		d.fail(body, "messages", "is required: an array of at least one message")
	}
}

// The members of a message.
const (
	mRole = iota
	mContent
	mName
	mToolCalls
	mFunctionCall
	mRefusal
	mCallID
	mCache
	mReasoningContent
	mReasoning
	mDetails
	mAudio
)

func (d *decoder) message(p translator.Place, el rawjson.Value) {
	d.piece("messages")
	if el.Kind() != rawjson.Object {
		d.fail(p, "", "must be an object")
		return
	}
	v, ok := d.object(el, p, "", "role", "content", "name", "tool_calls", "function_call", "refusal", "tool_call_id",
		"cache_control", "reasoning_content", "reasoning", "reasoning_details", "audio")
	if !ok {
		return
	}
	mark := d.value(v[mCache], rawjson.Object, p, "cache_control")
	m := translator.Message{Place: p}
	switch role := d.required(v[mRole], p, "role"); role {
	case "system", "developer":
		m.Role = translator.RoleSystem
		m.Content = d.content(v[mContent], p, forSystem)
	case "user":
		m.Content = d.content(v[mContent], p, forUser)
	case "assistant":
		m.Role = translator.RoleAssistant
		m.Content = d.assistant(&v, p)
	case "tool", "function":
		d.result(role, &v, p, mark)
		return
	default:
		d.fail(p, "role", "must be system, developer, user, assistant, tool or function")
	}
	if m.Role != translator.RoleAssistant && m.Content == nil {
		d.fail(p, "content", "is required: a string or an array of parts")
	}
	if n := len(m.Content); n > 0 && mark != nil {
		m.Content[n-1].CacheControl = mark
	}
	if m.Role == translator.RoleSystem && !d.began {
		d.r.System = append(d.r.System, m.Content...)
		return
	}
	d.began = true
	d.r.Messages = append(d.r.Messages, m)
}

// result reads a tool's or a function's message. Results that follow each other become one message of the hub, as they
// answer the calls of one turn.
func (d *decoder) result(role string, v *[12]rawjson.Value, p translator.Place, mark translator.Raw) {
	d.began = true
	b := translator.Block{Type: translator.BlockToolResult, CacheControl: mark, Place: p}
	if role == "tool" {
		b.ID = d.required(v[mCallID], p, "tool_call_id")
		if !d.calls[b.ID] {
			d.fail(p, "tool_call_id", "names no call that an earlier assistant message has in its tool_calls")
		}
	} else {
		name := d.required(v[mName], p, "name")
		if b.ID = d.legacy[name]; b.ID == "" {
			d.fail(p, "name", "names no function that an earlier assistant message called with function_call")
		}
	}
	b.Content = d.content(v[mContent], p, forTool)
	if d.err != nil {
		return
	}
	if n := len(d.r.Messages); n > 0 {
		last := &d.r.Messages[n-1]
		if k := len(last.Content); k > 0 && last.Content[k-1].Type == translator.BlockToolResult {
			last.Content = append(last.Content, b)
			return
		}
	}
	d.r.Messages = append(d.r.Messages, translator.Message{Content: []translator.Block{b}, Place: p})
}

// assistant reads what the model said: thinking first, since its upstream wants it there, then text, then calls.
func (d *decoder) assistant(v *[12]rawjson.Value, p translator.Place) []translator.Block {
	if a := v[mAudio]; a.Exists() && a.Kind() != rawjson.Null {
		d.fail(p, "audio", "audio is not offered by this gateway's translation; send the transcript as content")
	}
	out := d.thinking(v, p)
	out = append(out, d.content(v[mContent], p, forAssistant)...)
	if refusal := d.value(v[mRefusal], rawjson.String, p, "refusal"); !refusal.IsEmpty() {
		out = append(out, translator.Block{Type: translator.BlockText, Text: refusal, Refusal: true, Place: p})
	}
	if calls := d.value(v[mToolCalls], rawjson.Array, p, "tool_calls"); calls != nil {
		i := 0
		_ = rawjson.Elements(calls, func(el rawjson.Value) bool {
			out = append(out, d.call(el, p, "tool_calls["+strconv.Itoa(i)+"]"))
			i++
			return d.err == nil
		})
	}
	if f, ok := d.object(v[mFunctionCall], p, "function_call", "name", "arguments"); ok {
		b := translator.Block{Type: translator.BlockToolUse, Place: p}
		b.Name = d.required(f[0], p, "function_call.name")
		b.Input = translator.ObjectOf(d.value(f[1], rawjson.String, p, "function_call.arguments"))
		b.ID = "call_fn_" + strconv.Itoa(int(p.I)) // functions are called without an id; the result names the function
		if d.legacy == nil {
			d.legacy = map[string]string{}
		}
		d.legacy[b.Name] = b.ID
		out = append(out, b)
	}
	return out
}

// call reads one of tool_calls.
func (d *decoder) call(el rawjson.Value, p translator.Place, at string) translator.Block {
	b := translator.Block{Type: translator.BlockToolUse, Place: p}
	if d.piece("messages"); el.Kind() != rawjson.Object {
		d.fail(p, at, "must be an object")
		return b
	}
	v, ok := d.object(el, p, at, "id", "type", "function", "custom")
	if !ok {
		return b
	}
	b.ID = d.required(v[0], p, at+".id")
	d.calls[b.ID] = true
	switch typ := d.text(v[1], p, at+".type"); typ {
	case "function", "":
		f, ok := d.object(v[2], p, at+".function", "name", "arguments")
		if !ok {
			d.fail(p, at+".function", "is required: an object with name and arguments")
		}
		b.Name = d.required(f[0], p, at+".function.name")
		b.Input = translator.ObjectOf(d.value(f[1], rawjson.String, p, at+".function.arguments"))
	case "custom":
		c, ok := d.object(v[3], p, at+".custom", "name", "input")
		if !ok {
			d.fail(p, at+".custom", "is required: an object with name and input")
		}
		b.Name, b.Custom = d.required(c[0], p, at+".custom.name"), true
		input := d.value(c[1], rawjson.String, p, at+".custom.input")
		if input == nil {
			input = translator.EmptyString
		}
		b.Input = translator.CustomInput(input)
	default:
		d.fail(p, at+".type", "must be function or custom")
	}
	return b
}

// thinking restores the thinking blocks that a client sends back. In reasoning_details they are whole, as our own answers
// had them; a stream's details have the signature without the text, which was in reasoning_content. That alone has no
// signature.
func (d *decoder) thinking(v *[12]rawjson.Value, p translator.Place) []translator.Block {
	text := d.value(v[mReasoningContent], rawjson.String, p, "reasoning_content")
	if text.IsEmpty() && v[mReasoning].Kind() == rawjson.String {
		text = v[mReasoning].Raw()
	}
	var out []translator.Block
	bare := 0 // blocks whose text is elsewhere
	if list := d.value(v[mDetails], rawjson.Array, p, "reasoning_details"); list != nil {
		i := 0
		_ = rawjson.Elements(list, func(el rawjson.Value) bool {
			if b, ok := d.detail(el, p, "reasoning_details["+strconv.Itoa(i)+"]"); ok {
				if b.Type == translator.BlockThinking && b.Text.IsEmpty() {
					bare++
				}
				out = append(out, b)
			}
			i++
			return d.err == nil
		})
	}
	if len(out) == 0 && !text.IsEmpty() {
		return []translator.Block{{Type: translator.BlockThinking, Text: text, Place: p}}
	}
	for i := range out {
		if b := &out[i]; bare == 1 && b.Type == translator.BlockThinking && b.Text.IsEmpty() && !text.IsEmpty() {
			b.Text = text
		}
	}
	return out
}

// detail reads one of reasoning_details; ok is false for those that are of no use to the upstream they came from.
func (d *decoder) detail(el rawjson.Value, p translator.Place, at string) (b translator.Block, ok bool) {
	if d.piece("messages"); el.Kind() != rawjson.Object {
		d.fail(p, at, "must be an object")
		return b, false
	}
	v, ok := d.object(el, p, at, "type", "text", "signature", "data")
	if !ok {
		return b, false
	}
	b.Place = p
	switch d.text(v[0], p, at+".type") {
	case "reasoning.text":
		b.Type = translator.BlockThinking
		b.Text = d.value(v[1], rawjson.String, p, at+".text")
		b.Signature = d.value(v[2], rawjson.String, p, at+".signature")
		if b.Text == nil {
			b.Text = translator.EmptyString
		}
	case "reasoning.encrypted":
		b.Type = translator.BlockRedacted
		b.Signature = d.value(v[3], rawjson.String, p, at+".data")
	}
	return b, !b.Signature.IsEmpty()
}
