package anthropic

import (
	"slices"
	"strconv"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// message reads one turn.
func (d *decoder) message(i int, v rawjson.Value) {
	d.piece("messages")
	at := spot{place: translator.At("messages", i)}
	obj := d.need(at, "", v, rawjson.Object)
	if obj == nil {
		return
	}
	var m [2]rawjson.Value
	d.scan(at, obj, []string{"role", "content"}, m[:])
	msg := translator.Message{Place: at.place}
	d.need(at, "role", m[0], rawjson.String)
	switch d.word(at, "role", m[0], "user", "assistant", "system") {
	case "assistant":
		msg.Role = translator.RoleAssistant
	case "system":
		msg.Role = translator.RoleSystem
	}
	switch m[1].Kind() {
	case rawjson.String:
		msg.Content = []translator.Block{{Type: translator.BlockText, Text: m[1].Raw(), Place: at.place}}
	case rawjson.Array:
		d.each(m[1].Raw(), func(j int, v rawjson.Value) {
			s := spot{place: at.place.Part(j)}
			b := d.block(s, v)
			if d.err == nil {
				d.fits(s, msg.Role, &b)
			}
			msg.Content = append(msg.Content, b)
		})
	default:
		d.fail(at, "content", "is required and must be a string or an array of blocks")
	}
	resultsFirst(msg.Content)
	d.req.Messages = append(d.req.Messages, msg)
}

// resultsFirst puts tool results before the rest, as the hub has them.
func resultsFirst(blocks []translator.Block) {
	slices.SortStableFunc(blocks, func(a, b translator.Block) int { return resultOrder(&a) - resultOrder(&b) })
}

func resultOrder(b *translator.Block) int {
	if b.Type == translator.BlockToolResult {
		return 0
	}
	return 1
}

// fits checks that a block may stand in a message of a role, as the API itself does.
func (d *decoder) fits(s spot, role translator.Role, b *translator.Block) {
	bad := false
	switch b.Type {
	case translator.BlockThinking, translator.BlockRedacted:
		bad = role != translator.RoleAssistant
	case translator.BlockToolUse:
		bad = role != translator.RoleAssistant
		d.calls[b.ID] = struct{}{}
	case translator.BlockToolResult:
		bad = role != translator.RoleUser
		if _, ok := d.calls[b.ID]; !ok {
			d.fail(s, "tool_use_id", "answers no tool_use of an earlier message")
		}
	case translator.BlockImage, translator.BlockDocument:
		bad = role != translator.RoleUser
	case translator.BlockOther:
		bad = role == translator.RoleSystem
	}
	if bad {
		d.fail(s, "type", "is no block for a message of this role")
	}
}

var blockFields = []string{"type", "text", "citations", "cache_control", "thinking", "signature", "data", "id", "name", "input",
	"tool_use_id", "content", "is_error", "source", "title", "context", "tool_name"}

// block reads a content block.
func (d *decoder) block(at spot, v rawjson.Value) translator.Block {
	d.piece("messages")
	b := translator.Block{Place: at.place}
	obj := d.need(at, "", v, rawjson.Object)
	if obj == nil {
		return b
	}
	var m [17]rawjson.Value
	d.scan(at, obj, blockFields, m[:])
	b.CacheControl = d.opt(at, "cache_control", m[3], rawjson.Object)
	switch kind := d.name(at, "type", m[0]); kind {
	case "text":
		b.Text = d.need(at, "text", m[1], rawjson.String)
		d.each(d.opt(at, "citations", m[2], rawjson.Array), func(_ int, v rawjson.Value) {
			d.piece("messages")
			b.Citations = append(b.Citations, *citation(d.need(at, "citations", v, rawjson.Object)))
		})
	case "image":
		b.Type = translator.BlockImage
		d.image(at, m[13], &b)
	case "document":
		b.Type = translator.BlockDocument
		d.document(at, &m, &b)
	case "search_result":
		b.Text = d.searchResult(at, &m)
	case "tool_reference":
		b.Text = translator.Quote("Tool available: " + d.name(at, "tool_name", m[16]))
	case "thinking":
		b.Type = translator.BlockThinking
		b.Text = d.need(at, "thinking", m[4], rawjson.String)
		b.Signature = d.opt(at, "signature", m[5], rawjson.String)
	case "redacted_thinking":
		b.Type = translator.BlockRedacted
		b.Signature = d.need(at, "data", m[6], rawjson.String)
	case "tool_use":
		b.Type = translator.BlockToolUse
		b.ID, b.Name = d.name(at, "id", m[7]), d.name(at, "name", m[8])
		if b.Input = d.opt(at, "input", m[9], rawjson.Object); b.Input == nil {
			b.Input = translator.EmptyObject
		}
	case "tool_result":
		b.Type = translator.BlockToolResult
		b.ID = d.name(at, "tool_use_id", m[10])
		b.IsError = d.opt(at, "is_error", m[12], rawjson.Bool).IsTrue()
		b.Content = d.parts(at, "content", m[11], true)
	default:
		b.Type, b.Kind, b.Raw = translator.BlockOther, kind, obj
	}
	return b
}

// parts reads the content of a tool result, or of a document of blocks: a string or an array of text, images and, with
// documents, those, too.
func (d *decoder) parts(at spot, name string, v rawjson.Value, documents bool) (list []translator.Block) {
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
	case rawjson.String:
		list = []translator.Block{{Type: translator.BlockText, Text: v.Raw(), Place: at.place}}
	case rawjson.Array:
		d.each(v.Raw(), func(i int, v rawjson.Value) {
			s := at.in(name + "." + strconv.Itoa(i))
			b := d.part(s, v, documents)
			list = append(list, b)
		})
	default:
		d.fail(at, name, "must be a string or an array of blocks")
	}
	return list
}

// part is block for one that stands in another; no block stands in a third.
func (d *decoder) part(s spot, v rawjson.Value, documents bool) translator.Block {
	kind, err := rawjson.Find(v.Raw(), "type")
	ok := true
	switch word, _ := kind.Text(); {
	case err != nil || v.Kind() != rawjson.Object || word == "": // block says so
	case word == "text", word == "image":
	case word == "document", word == "search_result", word == "tool_reference":
		ok = documents
	default:
		ok = false
	}
	if !ok {
		d.fail(s, "type", "is no block for this place")
		return translator.Block{Place: s.place}
	}
	return d.block(s, v)
}

// image reads an image's source.
func (d *decoder) image(at spot, source rawjson.Value, b *translator.Block) {
	obj := d.need(at, "source", source, rawjson.Object)
	if obj == nil {
		return
	}
	at = at.in("source")
	var m [5]rawjson.Value
	d.scan(at, obj, sourceFields, m[:])
	d.need(at, "type", m[0], rawjson.String)
	d.media(at, d.word(at, "type", m[0], "base64", "url", "file"), &m, b)
}

var sourceFields = []string{"type", "media_type", "data", "url", "file_id"}

func (d *decoder) media(at spot, kind string, m *[5]rawjson.Value, b *translator.Block) {
	switch kind {
	case "base64":
		b.Media.Type = translator.MediaBase64
		b.Media.MIME = d.name(at, "media_type", m[1])
		b.Media.Data = d.need(at, "data", m[2], rawjson.String)
	case "url":
		b.Media.Type = translator.MediaURL
		b.Media.Data = d.need(at, "url", m[3], rawjson.String)
	case "file":
		b.Media.Type = translator.MediaFile
		b.Media.Data = d.need(at, "file_id", m[4], rawjson.String)
	case "text":
		b.Media.Type = translator.MediaText
		if b.Media.MIME = d.opt(at, "media_type", m[1], rawjson.String).Text(); b.Media.MIME == "" {
			b.Media.MIME = "text/plain"
		}
		b.Media.Data = d.need(at, "data", m[2], rawjson.String)
	}
}

// document reads a document and its source.
func (d *decoder) document(at spot, m *[17]rawjson.Value, b *translator.Block) {
	b.Media.Title = d.opt(at, "title", m[14], rawjson.String)
	b.Media.Context = d.opt(at, "context", m[15], rawjson.String)
	if c := d.opt(at, "citations", m[2], rawjson.Object); c != nil {
		var on [1]rawjson.Value
		d.scan(at.in("citations"), c, []string{"enabled"}, on[:])
		b.Media.Cited = d.opt(at.in("citations"), "enabled", on[0], rawjson.Bool).IsTrue()
	}
	obj := d.need(at, "source", m[13], rawjson.Object)
	if obj == nil {
		return
	}
	at = at.in("source")
	var s [5]rawjson.Value
	d.scan(at, obj, sourceFields, s[:])
	d.need(at, "type", s[0], rawjson.String)
	kind := d.word(at, "type", s[0], "base64", "text", "content", "url", "file")
	d.media(at, kind, &s, b)
	if kind == "content" {
		b.Media.Type = translator.MediaBlocks
		content, _ := rawjson.Find(obj, "content")
		if !content.Exists() {
			d.fail(at, "content", "is required and must be a string or an array of blocks")
			return
		}
		b.Content = d.parts(at, "content", content, false)
	}
}

// searchResult turns a search result into text: title, source, and what was found.
func (d *decoder) searchResult(at spot, m *[17]rawjson.Value) translator.Raw {
	texts := []translator.Raw{d.need(at, "title", m[14], rawjson.String), d.need(at, "source", m[13], rawjson.String)}
	d.need(at, "content", m[11], rawjson.Array)
	for _, b := range d.parts(at, "content", m[11], false) {
		if b.Type == translator.BlockText {
			texts = append(texts, b.Text)
		}
	}
	return translator.Join(nil, "\n", texts...)
}
