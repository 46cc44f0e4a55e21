package responses

import (
	"strings"
	"unicode/utf8"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// conversation writes instructions and input. A request of a system prompt alone makes it the user's message, as the API
// wants an input.
func (w *encoder) conversation() error {
	system := w.system(w.r.System)
	start := len(w.dst)
	if len(system) > 2 {
		w.pass("instructions", system)
	}
	w.member("input")
	w.dst = append(w.dst, '[')
	first := len(w.dst)
	for i := range w.r.Messages {
		if err := w.message(&w.r.Messages[i]); err != nil {
			return err
		}
	}
	if len(w.dst) == first && len(system) > 2 {
		w.dst = w.dst[:start]
		w.member("input")
		w.dst = append(w.dst, '[')
		w.openMessage("user")
		w.textPart("input_text", "text", system)
		w.closeMessage()
	}
	w.dst = append(w.dst, ']')
	return nil
}

// billingHeader is how a system block of Claude Code's begins that is new with each request: it would spoil the cache of
// every prompt.
const billingHeader = "x-anthropic-billing-header:"

// system joins system blocks, as a JSON string.
func (w *encoder) system(blocks []translator.Block) raw {
	var texts []translator.Block
	for i := range blocks {
		b := &blocks[i]
		w.mark(b)
		if !strings.HasPrefix(string(inner(b.Text)), billingHeader) {
			texts = append(texts, *b)
		}
	}
	return translator.PlainText(texts)
}

// mark notes that a cache mark is left out.
func (w *encoder) mark(b *translator.Block) {
	if b.CacheControl != nil {
		w.e.Drop("cache_control")
	}
}

// item begins an item of the input.
func (w *encoder) item(typ string) {
	if w.dst[len(w.dst)-1] != '[' {
		w.dst = append(w.dst, ',')
	}
	w.dst = append(append(append(w.dst, `{"type":"`...), typ...), '"')
}

func (w *encoder) openMessage(role string) {
	w.item(typeMessage)
	w.passString("role", role)
	w.dst = append(w.dst, `,"content":[`...)
}

func (w *encoder) closeMessage() {
	if w.dst[len(w.dst)-1] == '[' { // of an empty document
		w.textPart("input_text", "text", translator.EmptyString)
	}
	w.dst = append(w.dst, `]}`...)
}

// comma separates the parts of a list.
func (w *encoder) comma() {
	if w.dst[len(w.dst)-1] != '[' {
		w.dst = append(w.dst, ',')
	}
}

// textPart appends a part with one text.
func (w *encoder) textPart(typ, member string, text raw) {
	w.comma()
	w.dst = append(append(append(w.dst, `{"type":"`...), typ...), '"')
	w.pass(member, text)
	w.dst = append(w.dst, '}')
}

// message writes a message as items: texts and media that follow each other are one message, all else is apart.
func (w *encoder) message(m *translator.Message) error {
	if m.Role == translator.RoleSystem {
		if text := w.system(m.Content); len(text) > 2 {
			w.openMessage("developer")
			w.textPart("input_text", "text", text)
			w.closeMessage()
		}
		return nil
	}
	open := false
	for i := range m.Content {
		b := &m.Content[i]
		w.mark(b)
		inMessage := b.Type == translator.BlockText || b.Type == translator.BlockImage || b.Type == translator.BlockDocument
		if b.Type == translator.BlockText && len(b.Text) <= 2 {
			continue
		}
		if open != inMessage {
			if open {
				w.closeMessage()
			} else {
				w.openMessage(roleName(m.Role))
			}
			open = inMessage
		}
		if err := w.block(m.Role, b); err != nil {
			return err
		}
	}
	if open {
		w.closeMessage()
	}
	return nil
}

func roleName(r translator.Role) string {
	if r == translator.RoleAssistant {
		return "assistant"
	}
	return "user"
}

func (w *encoder) block(role translator.Role, b *translator.Block) error {
	switch b.Type {
	case translator.BlockText:
		switch {
		case role == translator.RoleUser:
			w.textPart("input_text", "text", b.Text)
		case b.Refusal:
			w.textPart("refusal", "refusal", b.Text)
		default:
			w.textPart("output_text", "text", b.Text)
		}
	case translator.BlockImage, translator.BlockDocument:
		if role != translator.RoleUser {
			return translator.BadAt(b.Place, "", "images and documents of the assistant are not offered by the upstream that serves the model; put them in a user message")
		}
		return w.media(b)
	case translator.BlockThinking, translator.BlockRedacted:
		w.reasoningItem(b)
	case translator.BlockToolUse:
		w.callItem(b)
	case translator.BlockToolResult:
		return w.result(b)
	case translator.BlockOther:
		return w.other(b)
	}
	return nil
}

func (w *encoder) other(b *translator.Block) error {
	return translator.BadAt(b.Place, "", "content of type "+b.Kind+" is of a server tool that is not offered by the upstream that serves the model; choose another model, or start a new conversation")
}

// reasoningItem gives OpenAI its own reasoning back; that of others it would refuse.
func (w *encoder) reasoningItem(b *translator.Block) {
	id, encrypted, ok := translator.Reasoning(b.Signature)
	if !ok {
		return
	}
	w.item(typeReasoning)
	w.passString("id", id)
	w.dst = append(w.dst, `,"summary":[`...)
	if b.Type == translator.BlockThinking && len(b.Text) > 2 {
		w.dst = appendSummaryPart(w.dst, inner(b.Text))
	}
	w.dst = append(w.dst, ']')
	w.pass("encrypted_content", encrypted)
	w.dst = append(w.dst, '}')
}

// maxCallID is the longest call id the API takes.
const maxCallID = 64

// callIDFor makes an id that the API takes; the same for a call and its result.
func callIDFor(id string) string {
	if id == "" || utf8.RuneCountInString(id) > maxCallID {
		return "call_" + digest(id, 32)
	}
	return id
}

func (w *encoder) callItem(b *translator.Block) {
	c := newCall(nil, b)
	if t := w.r.Tool(b.Name); t != nil {
		switch t.Type {
		case translator.ToolCustom:
			c.typ = typeCustom
		case translator.ToolShell:
			c.typ = typeShell
		}
	}
	id := callIDFor(b.ID)
	w.item(c.typ)
	if c.typ == typeShell {
		w.passString("id", "lsh_"+digest(id, 32))
		w.passString("call_id", id)
		w.passString("status", statusCompleted)
		w.pass("action", c.of(b.Input))
	} else {
		w.passString("call_id", id)
		w.passString("name", b.Name)
		if c.typ == typeCustom {
			w.custom[b.ID] = true
			w.pass("input", c.of(b.Input))
		} else {
			w.pass("arguments", c.of(b.Input))
		}
	}
	w.dst = append(w.dst, '}')
}

// result writes a result. One of a local_shell_call is a function's: its own item type knows the call by the item's id
// alone, which is not kept.
func (w *encoder) result(b *translator.Block) error {
	if w.custom[b.ID] {
		w.item(typeCustomOut)
	} else {
		w.item(typeFunctionOut)
	}
	w.passString("call_id", callIDFor(b.ID))
	w.member("output")
	media := false
	for i := range b.Content {
		c := &b.Content[i]
		w.mark(c)
		media = media || c.Type == translator.BlockImage || c.Type == translator.BlockDocument
	}
	if err := w.outputOf(b, media); err != nil {
		return err
	}
	w.dst = append(w.dst, '}')
	return nil
}

// outputOf writes what a result says: a string, or parts when there are media in it.
func (w *encoder) outputOf(b *translator.Block, media bool) error {
	var texts []raw
	if media {
		w.dst = append(w.dst, '[')
	}
	failed := b.IsError
	for i := range b.Content {
		c := &b.Content[i]
		switch c.Type {
		case translator.BlockImage, translator.BlockDocument:
			if err := w.media(c); err != nil {
				return err
			}
			continue
		case translator.BlockText, translator.BlockOther:
		default:
			return w.other(c)
		}
		text := c.Text
		if c.Type == translator.BlockOther {
			if text = toolReference(c); text == nil {
				return w.other(c)
			}
		}
		if len(text) <= 2 {
			continue
		}
		if failed {
			text, failed = asError(text), false
		}
		if media {
			w.textPart("input_text", "text", text)
		} else {
			texts = append(texts, text)
		}
	}
	switch {
	case media && failed:
		w.textPart("input_text", "text", raw(`"Error"`))
		w.dst = append(w.dst, ']')
	case media:
		w.dst = append(w.dst, ']')
	case failed:
		w.dst = append(w.dst, `"Error: "`...)
	case len(texts) == 1:
		w.dst = append(w.dst, texts[0]...)
	default:
		w.dst = translator.Join(w.dst, "\n\n", texts...)
	}
	return nil
}

// asError says in words that a result is an error, which the API has no field for.
func asError(text raw) raw {
	s := string(inner(text))
	if strings.HasPrefix(s, "Error") || strings.HasPrefix(s, "<tool_use_error>") {
		return text
	}
	return translator.Join(nil, "", raw(`"Error: "`), text)
}

// toolReference says in words what a block says by which a tool search names a tool it found: all tools are sent from the
// beginning here. nil for any other block.
func toolReference(b *translator.Block) raw {
	if b.Kind != "tool_reference" {
		return nil
	}
	name, err := rawjson.Find(b.Raw, "tool_name")
	if err != nil || name.Kind() != rawjson.String {
		return nil
	}
	return translator.Join(nil, "", raw(`"Tool found: "`), name.Raw())
}

// media appends an image or a document as parts.
func (w *encoder) media(b *translator.Block) error {
	m := &b.Media
	if m.Type == translator.MediaFile {
		return translator.BadAt(b.Place, "", "files of another API's store are not at the upstream that serves the model; send the file itself")
	}
	if b.Type == translator.BlockImage {
		w.comma()
		detail := m.Detail
		if detail == nil {
			detail = translator.Raw(`"auto"`)
		}
		w.dst = append(append(append(w.dst, `{"type":"input_image","detail":`...), detail...), `,"image_url":`...)
		w.source(m)
		w.dst = append(w.dst, '}')
		return nil
	}
	switch m.Type {
	case translator.MediaText:
		w.textPart("input_text", "text", titled(m, m.Data))
	case translator.MediaBlocks:
		if head := titled(m, nil); len(head) > 2 {
			w.textPart("input_text", "text", head)
		}
		for i := range b.Content {
			c := &b.Content[i]
			if c.Type == translator.BlockImage {
				if err := w.media(c); err != nil {
					return err
				}
			} else if c.Type == translator.BlockText && len(c.Text) > 2 {
				w.textPart("input_text", "text", c.Text)
			}
		}
	default:
		w.file(m)
	}
	return nil
}

// source appends where a medium is, as one URL.
func (w *encoder) source(m *translator.Media) {
	if m.Type == translator.MediaURL {
		w.dst = append(w.dst, m.Data...)
		return
	}
	w.dst = append(w.dst, `"data:`...)
	w.dst = append(w.dst, inner(translator.Quote(m.MIME))...)
	w.dst = append(w.dst, ";base64,"...)
	w.dst = append(append(w.dst, inner(m.Data)...), '"')
}

func (w *encoder) file(m *translator.Media) {
	w.comma()
	w.dst = append(w.dst, `{"type":"input_file"`...)
	if m.Type == translator.MediaURL {
		w.member("file_url") // which rules out a file name
		w.source(m)
		w.dst = append(w.dst, '}')
		return
	}
	name := m.Title
	if len(name) <= 2 {
		if name = raw(`"document"`); m.MIME == "application/pdf" {
			name = raw(`"document.pdf"`)
		}
	}
	w.pass("filename", name)
	w.member("file_data")
	w.source(m)
	w.dst = append(w.dst, '}')
}

// titled puts a document's title and context before its text.
func titled(m *translator.Media, text raw) raw {
	var parts []raw
	for _, p := range [...]raw{m.Title, m.Context, text} {
		if !p.IsEmpty() {
			parts = append(parts, p)
		}
	}
	return translator.Join(nil, "\n\n", parts...)
}
