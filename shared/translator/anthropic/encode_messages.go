package anthropic

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// turn is what one side says before the other does. The API wants the two to alternate.
type turn struct {
	assistant bool
	blocks    []*translator.Block
}

// results reports whether tool results are in it.
func (t turn) results() bool {
	return !t.assistant && t.blocks[0].Type == translator.BlockToolResult
}

// makeTurns merges messages into turns, of the blocks that may be sent.
func (e *encoder) makeTurns() {
	for i := range e.r.Messages {
		m := &e.r.Messages[i]
		var blocks []*translator.Block
		if m.Role == translator.RoleSystem {
			blocks = systemTurn(m)
		} else {
			for j := range m.Content {
				if b := &m.Content[j]; e.kept(b) {
					blocks = append(blocks, b)
				}
			}
		}
		if len(blocks) == 0 {
			continue
		}
		assistant := m.Role == translator.RoleAssistant
		if n := len(e.turns); n > 0 && e.turns[n-1].assistant == assistant {
			e.turns[n-1].blocks = append(e.turns[n-1].blocks, blocks...)
			continue
		}
		e.turns = append(e.turns, turn{assistant, blocks})
	}
	for _, t := range e.turns {
		if !t.assistant {
			slices.SortStableFunc(t.blocks, func(a, b *translator.Block) int { return resultOrder(a) - resultOrder(b) })
		}
	}
}

// kept reports whether a block may be sent.
func (e *encoder) kept(b *translator.Block) bool {
	switch b.Type {
	case translator.BlockText:
		return !blank(b.Text)
	case translator.BlockThinking, translator.BlockRedacted:
		return b.Native()
	case translator.BlockOther:
		if e.r.From != core.DialectAnthropic {
			e.fail(b.Place, "type", "the tool this comes from is not offered by the upstream that serves this model; leave it out of the conversation")
		}
	}
	return true
}

// blank reports whether a text has nothing but whitespace in it, which the API refuses.
func blank(text translator.Raw) bool {
	if len(text) > 2 && text[1] > ' ' && text[1] != '\\' && text[1] < 0x80 {
		return false // by far the most
	}
	return strings.TrimSpace(text.Text()) == ""
}

var systemOpen, systemClose = translator.Raw(`"<system>\n"`), translator.Raw(`"\n</system>"`)

// systemTurn is a system message within the conversation, for which the API has no place.
func systemTurn(m *translator.Message) []*translator.Block {
	text := translator.PlainText(m.Content)
	if blank(text) {
		return nil
	}
	b := &translator.Block{Type: translator.BlockText, Text: translator.Join(nil, "", systemOpen, text, systemClose), Place: m.Place}
	for i := range m.Content {
		if mark := m.Content[i].CacheControl; mark != nil {
			b.CacheControl = mark
		}
	}
	return []*translator.Block{b}
}

// system writes the system prompt. Alone it becomes the conversation, which the API demands.
func (e *encoder) system() {
	var blocks []*translator.Block
	for i := range e.r.System {
		if b := &e.r.System[i]; !blank(b.Text) {
			blocks = append(blocks, b)
		}
	}
	if len(blocks) == 0 {
		return
	}
	if len(e.turns) == 0 {
		e.turns = []turn{{blocks: blocks}}
		return
	}
	e.b = append(e.b, `,"system":[`...)
	e.blocks(blocks)
	e.b = append(e.b, ']')
}

func (e *encoder) messages() {
	if len(e.turns) == 0 {
		list := "messages"
		if e.r.From == core.DialectOpenAIResponses {
			list = "input"
		}
		e.fail(translator.Place{}, list, "must have a text, image or document in it")
		return
	}
	for i, t := range e.turns {
		if i == 0 {
			e.b = append(e.b, `,"messages":[{"role":"`...)
		} else {
			e.b = append(e.b, `,{"role":"`...)
		}
		if t.assistant {
			e.b = append(e.b, `assistant","content":[`...)
		} else {
			e.b = append(e.b, `user","content":[`...)
		}
		e.blocks(t.blocks)
		e.b = append(e.b, `]}`...)
	}
	e.b = append(e.b, ']')
}

func (e *encoder) blocks(blocks []*translator.Block) {
	for i, b := range blocks {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.block(b)
	}
}

func (e *encoder) block(b *translator.Block) {
	switch b.Type {
	case translator.BlockText:
		e.b = append(append(e.b, `{"type":"text","text":`...), b.Text...)
	case translator.BlockImage:
		e.b = append(e.b, `{"type":"image"`...)
		if d := b.Media.Detail; d != nil && string(d) != `"auto"` {
			e.out.Drop("detail")
		}
		e.source(b)
	case translator.BlockDocument:
		e.document(b)
	case translator.BlockThinking:
		e.b = append(append(e.b, `{"type":"thinking","thinking":`...), b.Text...)
		e.b = append(member(e.b, "signature", b.Signature), '}')
		return // takes no mark
	case translator.BlockRedacted:
		e.b = append(append(e.b, `{"type":"redacted_thinking","data":`...), b.Signature...)
		e.b = append(e.b, '}')
		return
	case translator.BlockToolUse:
		e.b = rawjson.AppendString(append(e.b, `{"type":"tool_use","id":`...), safeID(b.ID))
		e.b = stringMember(e.b, "name", b.Name)
		input := b.Input
		if len(input) == 0 {
			input = translator.EmptyObject
		}
		e.b = member(e.b, "input", input)
	case translator.BlockToolResult:
		e.result(b)
	case translator.BlockOther:
		e.b = append(e.b, b.Raw...)
		return
	}
	e.b = append(optional(e.b, "cache_control", b.CacheControl), '}')
}

func (e *encoder) result(b *translator.Block) {
	e.b = rawjson.AppendString(append(e.b, `{"type":"tool_result","tool_use_id":`...), safeID(b.ID))
	var list []*translator.Block
	for i := range b.Content {
		if c := &b.Content[i]; c.Type != translator.BlockText || !blank(c.Text) {
			list = append(list, c)
		}
	}
	switch {
	case len(list) > 0:
		e.b = append(e.b, `,"content":[`...)
		e.blocks(list)
		e.b = append(e.b, ']')
	case b.IsError: // the API wants an error to say something
		e.b = append(e.b, `,"content":"Error"`...)
	default:
		e.b = append(e.b, `,"content":""`...)
	}
	if b.IsError {
		e.b = append(e.b, `,"is_error":true`...)
	}
}

func (e *encoder) document(b *translator.Block) {
	e.b = append(e.b, `{"type":"document"`...)
	if b.Media.Type == translator.MediaBlocks {
		e.b = append(e.b, `,"source":{"type":"content","content":[`...)
		for i := range b.Content {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.block(&b.Content[i])
		}
		e.b = append(e.b, `]}`...)
	} else {
		e.source(b)
	}
	e.b = optional(e.b, "title", b.Media.Title)
	e.b = optional(e.b, "context", b.Media.Context)
	if b.Media.Cited {
		e.b = append(e.b, `,"citations":{"enabled":true}`...)
	}
}

const pdf = "application/pdf"

// source writes where an image or a document is.
func (e *encoder) source(b *translator.Block) {
	m := &b.Media
	e.b = append(e.b, `,"source":{"type":`...)
	switch m.Type {
	case translator.MediaURL:
		e.b = member(append(e.b, `"url"`...), "url", m.Data)
	case translator.MediaText:
		e.b = member(append(e.b, `"text","media_type":"text/plain"`...), "data", m.Data)
	case translator.MediaFile:
		if e.r.From != core.DialectAnthropic {
			e.fail(b.Place, "file_id", "files belong to the upstream they were sent to, which does not serve this model; send the content itself")
		}
		e.b = member(append(e.b, `"file"`...), "file_id", m.Data)
	default:
		if b.Type == translator.BlockDocument && m.MIME != pdf {
			e.textSource(b)
			break
		}
		e.b = rawjson.AppendString(append(e.b, `"base64","media_type":`...), m.MIME)
		e.b = member(e.b, "data", m.Data)
	}
	e.b = append(e.b, '}')
}

// textSource writes a document that is text: in base64 the API reads PDF only.
func (e *encoder) textSource(b *translator.Block) {
	text, err := base64.StdEncoding.DecodeString(b.Media.Data.Text())
	mime := b.Media.MIME
	if err != nil || !strings.HasPrefix(mime, "text/") && mime != "application/json" {
		e.fail(b.Place, "", "the upstream that serves this model reads PDF and text only; send the file as one of these")
	}
	e.b = append(e.b, `"text","media_type":"text/plain","data":`...)
	e.b = rawjson.AppendString(e.b, string(text))
}

// safeID is the id of a call, or what stands for it where the API would refuse it: it wants ^[a-zA-Z0-9_-]+$. The same
// id has the same stand-in, so that call and result still find each other.
func safeID(id string) string {
	ok := id != ""
	for i := 0; i < len(id) && ok; i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}
	if ok {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "toolu_" + hex.EncodeToString(sum[:12])
}
