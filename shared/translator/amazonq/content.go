package amazonq

import (
	"encoding/base64"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// blank reports whether a text has nothing but whitespace in it, which the service refuses.
func blank(text translator.Raw) bool {
	if len(text) > 2 && text[1] > ' ' && text[1] != '\\' && text[1] < 0x80 {
		return false // by far the most
	}
	return strings.TrimSpace(text.Text()) == ""
}

// filled adds a text that has something in it.
func (c *content) filled(text translator.Raw) {
	if !blank(text) {
		c.add(text)
	}
}

// collect takes a block of a user's message or of a result. at is where it stands, or the result that it is in.
func (e *encoder) collect(c *content, b *translator.Block, at translator.Place) {
	switch b.Type {
	case translator.BlockText:
		c.filled(b.Text)
	case translator.BlockImage:
		e.image(c, b, at)
	case translator.BlockDocument:
		e.document(c, b, at)
	case translator.BlockOther:
		e.other(b)
	default:
		e.fail(at, "type", "is no block for a message of the user")
	}
}

// formats are the images that the service takes.
var formats = map[string]string{"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}

func (e *encoder) image(c *content, b *translator.Block, at translator.Place) {
	m := &b.Media
	switch {
	case m.Type != translator.MediaBase64:
		e.fail(at, "source", "the upstream that serves this model does not fetch images; send the image as base64")
	case m.Data.IsEmpty():
		e.fail(at, "source", "the image is empty")
	case !m.Data.IsBase64():
		e.fail(at, "source", "the image is not base64")
	case formats[m.MIME] == "":
		e.fail(at, "source", "the upstream that serves this model takes PNG, JPEG, GIF and WebP images only")
	case len(m.Data)/4*3 > maxImage:
		e.fail(at, "source", "the image is larger than the 10 MB that the upstream that serves this model takes; send a smaller one")
	}
	if m.Detail != nil && string(m.Detail) != `"auto"` {
		e.out.Drop("detail")
	}
	c.images = append(c.images, b)
}

// document makes text of a document. The service has no place for one that is none.
func (e *encoder) document(c *content, b *translator.Block, at translator.Place) {
	m := &b.Media
	if m.Cited {
		e.out.Drop("citations")
	}
	switch {
	case m.Type == translator.MediaText:
		c.filled(titled(m, m.Data))
	case m.Type == translator.MediaBlocks:
		c.filled(titled(m))
		for i := range b.Content {
			e.collect(c, &b.Content[i], at)
		}
	case m.Type == translator.MediaBase64 && (strings.HasPrefix(m.MIME, "text/") || m.MIME == "application/json"):
		text, err := base64.StdEncoding.DecodeString(m.Data.Text())
		if err != nil {
			e.fail(at, "source", "is not base64")
			return
		}
		c.filled(titled(m, translator.Quote(string(text))))
	default:
		e.fail(at, "source", "the upstream that serves this model reads documents of text only, no PDF, URL or file id; send the text itself")
	}
}

// titled is a text with the document's title and context in front.
func titled(m *translator.Media, text ...translator.Raw) translator.Raw {
	var parts []translator.Raw
	for _, p := range [...]translator.Raw{m.Title, m.Context} {
		if !p.IsEmpty() {
			parts = append(parts, p)
		}
	}
	return translator.Join(nil, "\n\n", append(parts, text...)...)
}

// turn writes a message.
func (e *encoder) turn(t *turn, current bool) {
	if t.assistant {
		e.writeAssistant(t)
		return
	}
	e.writeUser(t, current)
}

// The origin must be one of the service's list. CLI is the one for requests of a program with tools of its own; the others
// are web pages, editors and the service's own products, for which it may add context or refuse tools.
const origin = `,"origin":"CLI"`

// writeUser writes what the user says. No envState: it would tell the model of a machine that is not the client's.
func (e *encoder) writeUser(t *turn, current bool) {
	var images []*translator.Block
	for i := range t.results {
		images = append(images, t.results[i].images...)
	}
	images = append(images, t.images...)
	if len(images) > maxImages {
		e.fail(t.place, "content", "has more than 10 images, the most that the upstream that serves this model takes in one message; spread them over several")
	}
	e.lit(`{"userInputMessage":{"content":`)
	e.text(t, maxUser, userStandIn(t, images))
	if current {
		e.lit(`,"modelId":`)
		e.b = rawjson.AppendString(e.b, e.t.Model)
	}
	e.lit(origin)
	e.writeImages(images)
	tools := current && len(e.tools) > 0
	if tools || len(t.results) > 0 {
		e.lit(`,"userInputMessageContext":{`)
		if len(t.results) > 0 {
			e.writeResults(t.results)
			if tools {
				e.lit(",")
			}
		}
		if tools {
			e.writeTools()
		}
		e.lit("}")
	}
	e.cachePoint(t)
	e.lit("}}")
}

// userStandIn is what the user says in a message without words, which the service refuses.
func userStandIn(t *turn, images []*translator.Block) string {
	if len(t.results) == 0 && len(images) > 0 {
		return `"(see the image)"`
	}
	return `"(tool results)"`
}

// text writes what a side says, or what stands in for nothing.
func (e *encoder) text(t *turn, most int, standIn string) {
	e.bound(t.place, most, t.text...)
	if len(t.text) == 0 {
		e.lit(standIn)
		return
	}
	e.b = translator.Join(e.b, "", t.text...)
}

func (e *encoder) writeImages(images []*translator.Block) {
	if len(images) == 0 {
		return
	}
	e.lit(`,"images":[`)
	for i, b := range images {
		if i > 0 {
			e.lit(",")
		}
		e.lit(`{"format":"` + formats[b.Media.MIME] + `","source":{"bytes":`)
		e.b = append(e.b, b.Media.Data...)
		e.lit("}}")
	}
	e.lit("]")
}

func (e *encoder) writeResults(results []result) {
	e.lit(`"toolResults":[`)
	for i := range results {
		r := &results[i]
		if i > 0 {
			e.lit(",")
		}
		e.lit(`{"toolUseId":`)
		e.b = rawjson.AppendString(e.b, r.id)
		e.lit(`,"content":[`)
		for j, text := range r.text {
			if j > 0 {
				e.lit(",")
			}
			e.lit(`{"text":`)
			e.b = append(append(e.b, text...), '}')
		}
		if r.failed {
			e.lit(`],"status":"error"}`)
		} else {
			e.lit(`],"status":"success"}`)
		}
	}
	e.lit("]")
}

// writeAssistant writes what the assistant said. Beside calls the content may be empty, and is: a model repeats words that
// it finds in its mouth.
func (e *encoder) writeAssistant(t *turn) {
	e.lit(`{"assistantResponseMessage":{"content":`)
	standIn := `"(no text)"`
	if len(t.uses) > 0 {
		standIn = `""`
	}
	e.text(t, maxAssistant, standIn)
	for i, u := range t.uses {
		if i == 0 {
			e.lit(`,"toolUses":[`)
		} else {
			e.lit(",")
		}
		e.lit(`{"toolUseId":`)
		e.b = rawjson.AppendString(e.b, u.id)
		e.lit(`,"name":`)
		e.b = rawjson.AppendString(e.b, u.block.Name)
		e.lit(`,"input":`)
		if len(u.block.Input) == 0 {
			e.lit("{}}")
		} else {
			e.b = append(append(e.b, u.block.Input...), '}')
		}
	}
	if len(t.uses) > 0 {
		e.lit("]")
	}
	e.writeThinking(t.thinking)
	e.cachePoint(t)
	e.lit("}}")
}

func (e *encoder) writeThinking(b *translator.Block) {
	switch {
	case b == nil:
	case b.Type == translator.BlockRedacted:
		e.lit(`,"reasoningContent":{"redactedContent":`)
		e.b = append(append(e.b, b.Signature...), '}')
	default:
		e.lit(`,"reasoningContent":{"reasoningText":{"text":`)
		e.b = append(e.b, b.Text...)
		e.lit(`,"signature":`)
		e.b = append(append(e.b, b.Signature...), `}}`...)
	}
}

func (e *encoder) cachePoint(t *turn) {
	if t.mark {
		e.lit(`,"cachePoint":{"type":"default"}`)
	}
}
