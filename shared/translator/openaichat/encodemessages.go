package openaichat

import (
	"slices"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// billing begins a system block that changes with every request: sent on, it would spoil the upstream's prompt cache, and
// says nothing to a model.
const billing = `"x-anthropic-billing-header:`

func (e *encoder) messages() {
	e.lit(`,"messages":[`)
	e.system(e.r.System)
	for list := e.r.Messages; len(list) > 0; {
		n := 0 // messages up to the assistant's next
		for n < len(list) && list[n].Role != translator.RoleAssistant {
			n++
		}
		e.between(list[:n])
		if list = list[n:]; len(list) > 0 {
			m := list[0]
			m.Content = slices.Clip(m.Content)
			called := calls(&m) // then nothing may stand before the results
			for list = list[1:]; called && len(list) > 0 && list[0].Role == translator.RoleAssistant; list = list[1:] {
				m.Content = append(m.Content, list[0].Content...)
			}
			e.assistant(&m)
		}
	}
	e.lit("]")
}

func calls(m *translator.Message) bool {
	return slices.ContainsFunc(m.Content, func(b translator.Block) bool { return b.Type == translator.BlockToolUse })
}

// between writes what stands between two messages of the assistant. Results come first: the dialect wants them right
// after their calls, where others let a user or a system message come in between.
func (e *encoder) between(list []translator.Message) {
	media := make([][]*translator.Block, len(list))
	for i := range list {
		if list[i].Role != translator.RoleSystem {
			media[i] = e.results(&list[i])
		}
	}
	for i := range list {
		if list[i].Role == translator.RoleSystem {
			e.system(list[i].Content)
		} else {
			e.user(&list[i], media[i])
		}
	}
}

// system writes blocks as one message with one text, which every server of the dialect takes.
func (e *encoder) system(blocks []translator.Block) {
	kept := make([]translator.Block, 0, len(blocks))
	for i := range blocks {
		e.marked(&blocks[i])
		if !strings.HasPrefix(string(blocks[i].Text), billing) {
			kept = append(kept, blocks[i])
		}
	}
	if text := translator.PlainText(kept); !text.IsEmpty() {
		e.elem()
		e.lit(`{"role":"system","content":`)
		e.b = append(append(e.b, text...), '}')
	}
}

// marked notes a cache mark, which has no place here.
func (e *encoder) marked(b *translator.Block) {
	if b.CacheControl != nil {
		e.out.Drop("cache_control")
	}
}

// results writes the results of calls, a message each, and returns their images: these have no place in them and go into
// the user's message that follows.
func (e *encoder) results(m *translator.Message) (media []*translator.Block) {
	for i := range m.Content {
		if b := &m.Content[i]; b.Type == translator.BlockToolResult {
			e.marked(b)
			media = append(media, e.result(b)...)
		}
	}
	return media
}

// user writes the rest of a user's message, after the media of its results.
func (e *encoder) user(m *translator.Message, media []*translator.Block) {
	var parts []*translator.Block
	for i := range m.Content {
		if b := &m.Content[i]; b.Type != translator.BlockToolResult {
			e.marked(b)
			parts = append(parts, b)
		}
	}
	if parts = append(media, parts...); len(parts) == 0 {
		return
	}
	e.elem()
	e.lit(`{"role":"user","content":`)
	if len(parts) == 1 && parts[0].Type == translator.BlockText {
		e.b = append(append(e.b, parts[0].Text...), '}')
		return
	}
	e.lit("[")
	for _, b := range parts {
		e.part(b)
	}
	if e.b[len(e.b)-1] == '[' { // nothing but empty texts
		e.b = append(e.b[:len(e.b)-1], `""}`...)
		return
	}
	e.lit("]}")
}

// result writes a tool's message and returns what must follow it.
func (e *encoder) result(b *translator.Block) (media []*translator.Block) {
	var text []translator.Raw
	for i := range b.Content {
		c := &b.Content[i]
		switch {
		case c.Type == translator.BlockText:
			if !c.Text.IsEmpty() {
				text = append(text, c.Text)
			}
		case c.Type == translator.BlockDocument && c.Media.Type == translator.MediaText:
			text = append(text, titled(c))
		default:
			media = append(media, c)
		}
	}
	if len(text) == 0 && len(media) > 0 {
		text = []translator.Raw{translator.Raw(`"[image follows]"`)}
	}
	e.elem()
	e.lit(`{"role":"tool"`)
	e.str("tool_call_id", safeID(b.ID))
	e.name("content")
	joined := translator.Raw(translator.Join(nil, "\n\n", text...))
	if b.IsError && !strings.HasPrefix(string(joined), `"Error`) && !strings.HasPrefix(string(joined), `"<tool_use_error>`) {
		joined = translator.Join(nil, "", translator.Raw(`"Error: "`), joined)
	}
	e.b = append(append(e.b, joined...), '}')
	return media
}

// part writes a part of a user's message.
func (e *encoder) part(b *translator.Block) {
	switch b.Type {
	case translator.BlockText:
		if !b.Text.IsEmpty() {
			e.textPart(b.Text)
		}
	case translator.BlockImage:
		e.image(b)
	case translator.BlockDocument:
		e.document(b)
	case translator.BlockOther:
		e.other(b)
	}
}

func (e *encoder) textPart(text translator.Raw) {
	e.elem()
	e.lit(`{"type":"text","text":`)
	e.b = append(append(e.b, text...), '}')
}

func (e *encoder) other(b *translator.Block) {
	e.fail(translator.BadAt(b.Place, "type",
		b.Kind+" blocks have no place at the upstream that serves this model; leave them and their server tool out"))
}

func (e *encoder) image(b *translator.Block) {
	e.elem()
	e.lit(`{"type":"image_url","image_url":{"url":`)
	switch b.Media.Type {
	case translator.MediaBase64:
		e.dataURL(b)
	case translator.MediaURL:
		e.b = append(e.b, b.Media.Data...)
	default:
		e.fail(translator.BadAt(b.Place, "source", "a file id belongs to one upstream; send the image as base64 or as an https: URL"))
	}
	if d := b.Media.Detail; string(d) == `"original"` {
		e.lit(`,"detail":"high"`) // chat's most
	} else if d != nil {
		e.lit(`,"detail":`)
		e.b = append(e.b, d...)
	}
	e.lit("}}")
}

func (e *encoder) dataURL(b *translator.Block) {
	prefix := translator.Quote("data:" + b.Media.MIME + ";base64,")
	e.b = translator.Join(e.b, "", prefix, b.Media.Data)
}

func (e *encoder) document(b *translator.Block) {
	m := &b.Media
	switch m.Type {
	case translator.MediaText:
		e.textPart(titled(b))
	case translator.MediaBlocks:
		if !m.Title.IsEmpty() {
			e.textPart(m.Title)
		}
		for i := range b.Content {
			e.part(&b.Content[i])
		}
	case translator.MediaBase64:
		name := m.Title
		if name.IsEmpty() {
			name = translator.Raw(`"document.pdf"`) // the upstream wants one
		}
		e.elem()
		e.lit(`{"type":"file","file":{"filename":`)
		e.b = append(e.b, name...)
		e.lit(`,"file_data":`)
		e.dataURL(b)
		e.lit("}}")
	default:
		e.fail(translator.BadAt(b.Place, "source",
			"a document must be sent as base64 or text to the upstream that serves this model, not as a URL or a file id"))
	}
}

// titled is the text of a plain text document, its title and context in front.
func titled(b *translator.Block) translator.Raw {
	var parts []translator.Raw
	for _, p := range [...]translator.Raw{b.Media.Title, b.Media.Context} {
		if !p.IsEmpty() {
			parts = append(parts, p)
		}
	}
	return translator.Join(nil, "\n\n", append(parts, b.Media.Data)...)
}

// assistant writes what the model said. Signed thinking belongs to another dialect and is left out; thinking without a
// signature came from a server of this one, some of which want it back.
func (e *encoder) assistant(m *translator.Message) {
	var text, refusal, thinking []translator.Raw
	var calls []*translator.Block
	apart := false // something stood between two texts, which else continue each other
	for i := range m.Content {
		b := &m.Content[i]
		e.marked(b)
		switch b.Type {
		case translator.BlockText:
			switch {
			case b.Text.IsEmpty():
			case b.Refusal:
				refusal = append(refusal, b.Text)
			case apart && len(text) > 0:
				text = append(text, translator.Raw(`"\n\n"`), b.Text)
			default:
				text = append(text, b.Text)
			}
			apart = false
			continue
		case translator.BlockToolUse:
			calls = append(calls, b)
		case translator.BlockThinking:
			if b.Signature.IsEmpty() && !b.Text.IsEmpty() {
				thinking = append(thinking, b.Text)
			}
		case translator.BlockOther:
			e.other(b)
		case translator.BlockImage, translator.BlockDocument:
			e.fail(translator.BadAt(b.Place, "type", "the upstream that serves this model takes images and files in user messages only"))
		}
		apart = true
	}
	if len(text)+len(refusal)+len(calls) == 0 {
		return
	}
	e.elem()
	e.lit(`{"role":"assistant"`)
	e.joined("reasoning_content", "\n\n", thinking)
	if len(text) == 0 {
		e.lit(`,"content":null`)
	}
	e.joined("content", "", text)
	e.joined("refusal", "", refusal)
	if len(calls) > 0 {
		e.lit(`,"tool_calls":[`)
		for _, b := range calls {
			e.call(b)
		}
		e.lit("]")
	}
	e.lit("}")
}

func (e *encoder) joined(name, sep string, parts []translator.Raw) {
	if len(parts) > 0 {
		e.name(name)
		e.b = translator.Join(e.b, sep, parts...)
	}
}

func (e *encoder) call(b *translator.Block) {
	e.elem()
	e.lit("{")
	e.str("id", safeID(b.ID))
	if b.Custom {
		e.lit(`,"type":"custom","custom":{`)
		e.str("name", b.Name)
		e.raw("input", translator.CustomText(b.Input))
	} else {
		e.lit(`,"type":"function","function":{`)
		e.str("name", b.Name)
		e.name("arguments")
		e.b = rawjson.AppendString(e.b, string(orEmpty(b.Input)))
	}
	e.lit("}}")
}

func orEmpty(object translator.Raw) translator.Raw {
	if len(object) == 0 {
		return translator.EmptyObject
	}
	return object
}
