package bedrock

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// turn is what one side says before the other does. The service wants the two to alternate, the user first.
type turn struct {
	assistant bool
	items     []item
}

// item is a block that is sent, and the cache mark behind it.
type item struct {
	block *translator.Block
	mark  translator.Raw
}

// results reports whether tool results are in it.
func (t *turn) results() bool {
	return !t.assistant && t.items[0].block.Type == translator.BlockToolResult
}

// native reports whether calls and results are sent as such: without toolConfig the service refuses them ("The toolConfig
// field must be defined when using toolUse and toolResult content blocks"), and a tool that is made up for its sake could be
// called. They become text then.
func (e *encoder) native() bool { return len(e.tools) > 0 }

// makeTurns merges messages into turns, of the blocks that may be sent.
func (e *encoder) makeTurns() {
	for i := range e.r.System {
		b := &e.r.System[i]
		if bytes.HasPrefix(b.Text, []byte(billing)) {
			own := *b
			own.Text = unbilled(b.Text)
			b = &own
		}
		e.system = e.keep(e.system, b)
	}
	for i := range e.r.Messages {
		m := &e.r.Messages[i]
		var items []item
		switch m.Role {
		case translator.RoleSystem:
			items = e.systemMessage(m)
		default:
			for j := range m.Content {
				items = e.keep(items, &m.Content[j])
			}
		}
		if len(items) == 0 {
			continue
		}
		assistant := m.Role == translator.RoleAssistant
		if n := len(e.turns); n > 0 && e.turns[n-1].assistant == assistant {
			e.turns[n-1].items = append(e.turns[n-1].items, items...)
			continue
		}
		e.turns = append(e.turns, turn{assistant, items})
	}
}

// billing begins a line at the head of a system block that changes with every request: sent on, it would spoil the prompt
// cache, and it is for Anthropic's own API alone.
const billing = `"x-anthropic-billing-header:`

// unbilled is a system block without that line. What follows it is the client's prompt.
func unbilled(text translator.Raw) translator.Raw {
	_, rest, _ := strings.Cut(text.Text(), "\n")
	return translator.Quote(strings.TrimLeft(rest, "\r\n"))
}

// keep appends what of a block may be sent. The mark of one that may not goes to the one before it.
func (e *encoder) keep(items []item, b *translator.Block) []item {
	n := len(items)
	switch b.Type {
	case translator.BlockText:
		if !blank(b.Text) {
			items = append(items, item{block: b})
		}
	case translator.BlockThinking, translator.BlockRedacted:
		// Signatures are good on all platforms that serve Anthropic's models; other thinking means nothing to them, and other
		// models refuse what is not theirs. A redacted block is a blob here, which must be base64.
		if e.f.claude && b.Native() && (b.Type == translator.BlockThinking || b.Signature.IsBase64()) {
			items = append(items, item{block: b})
		}
	case translator.BlockToolUse:
		if e.native() {
			items = append(items, item{block: b})
		} else {
			items = append(items, item{block: callText(b)})
		}
	case translator.BlockToolResult:
		if e.native() {
			items = append(items, item{block: b})
		} else {
			items = e.resultText(items, b)
		}
	case translator.BlockOther:
		e.other(b)
	default:
		items = append(items, item{block: b})
	}
	mark := b.CacheControl
	for i := range b.Content { // Anthropic's API takes marks within results, too
		if m := b.Content[i].CacheControl; mark == nil && m != nil {
			mark = m
		}
	}
	switch {
	case mark == nil:
	case len(items) > 0 && (len(items) > n || items[len(items)-1].mark == nil):
		items[len(items)-1].mark = mark
	case len(items) == 0:
		e.out.Drop("cache_control")
	}
	return items
}

// blank reports whether a text has nothing but whitespace in it, which the service refuses.
func blank(text translator.Raw) bool {
	if len(text) > 2 && text[1] > ' ' && text[1] != '\\' && text[1] < 0x80 {
		return false // by far the most
	}
	return strings.TrimSpace(text.Text()) == ""
}

var systemOpen, systemClose = translator.Raw(`"<system>\n"`), translator.Raw(`"\n</system>"`)

// systemMessage is one within the conversation, for which few models have a place.
func (e *encoder) systemMessage(m *translator.Message) []item {
	text := translator.PlainText(m.Content)
	it := item{block: &translator.Block{Type: translator.BlockText, Text: translator.Join(nil, "", systemOpen, text, systemClose), Place: m.Place}}
	for i := range m.Content {
		if mark := m.Content[i].CacheControl; mark != nil {
			it.mark = mark
		}
	}
	if !blank(text) {
		return []item{it}
	}
	if it.mark != nil {
		e.out.Drop("cache_control")
	}
	return nil
}

// callText is a call in words.
func callText(b *translator.Block) *translator.Block {
	return &translator.Block{Type: translator.BlockText, Place: b.Place, Text: translator.Join(nil, "",
		translator.Quote("[Called the tool "+b.Name+" ("+b.ID+") with: "), translator.TextOf(b.Input), translator.Raw(`"]"`))}
}

// resultText appends a result in words, and what of it is no text.
func (e *encoder) resultText(items []item, b *translator.Block) []item {
	what := "Result"
	if b.IsError {
		what = "Error"
	}
	text := translator.PlainText(b.Content)
	items = append(items, item{block: &translator.Block{Type: translator.BlockText, Place: b.Place, Text: translator.Join(nil, "",
		translator.Quote("["+what+" of the tool call "+b.ID+":\n"), text, translator.Raw(`"]"`))}})
	for i := range b.Content {
		switch c := &b.Content[i]; c.Type {
		case translator.BlockImage, translator.BlockDocument:
			items = append(items, item{block: c})
		case translator.BlockOther:
			e.other(c)
		}
	}
	return items
}

// other refuses a block of a tool that another upstream runs.
func (e *encoder) other(b *translator.Block) {
	kind := b.Kind
	if name, err := rawjson.Find(b.Raw, "name"); err == nil {
		if text, _ := name.Text(); text != "" && len(text) <= 64 {
			kind += " (" + text + ")"
		}
	}
	message := kind + " blocks have no place at the upstream that serves this model; leave them and their server tool out"
	if e.r.From == core.DialectOpenAIResponses {
		message = "this item has no place at the upstream that serves this model; leave it and its tool out"
	}
	e.fail(b.Place, "type", message)
}

// finishTurns makes of the turns what the service takes.
func (e *encoder) finishTurns() {
	if e.err != nil {
		return
	}
	if len(e.turns) == 0 {
		if len(e.system) == 0 {
			e.fail(translator.Place{}, e.name("messages", "messages", "input"), "must have a text, image or document in it")
			return
		}
		e.turns = []turn{{items: e.system}} // "A conversation must start with a user message."
		e.system = nil
	}
	if e.turns[0].assistant {
		e.turns = append([]turn{{items: []item{textItem(`"(The assistant begins.)"`)}}}, e.turns...)
	}
	for i := range e.turns {
		t := &e.turns[i]
		if t.assistant {
			continue
		}
		slices.SortStableFunc(t.items, func(a, b item) int { return resultOrder(a.block) - resultOrder(b.block) })
		if has(t.items, translator.BlockDocument) && !has(t.items, translator.BlockText) {
			t.items = append(t.items, textItem(`"(see the document)"`)) // "A text block must be included when using documents."
		}
	}
}

func textItem(text string) item {
	return item{block: &translator.Block{Type: translator.BlockText, Text: translator.Raw(text)}}
}

// resultOrder puts results first.
func resultOrder(b *translator.Block) int {
	if b.Type == translator.BlockToolResult {
		return 0
	}
	return 1
}

func has(items []item, t translator.BlockType) bool {
	return slices.ContainsFunc(items, func(it item) bool { return it.block.Type == t })
}

func (e *encoder) writeSystem() {
	if len(e.system) == 0 {
		return
	}
	e.member(`"system":[`)
	e.items(e.system, false)
	e.lit("]")
}

func (e *encoder) writeTurns() {
	e.member(`"messages":[`)
	for i := range e.turns {
		e.comma(i)
		if e.turns[i].assistant {
			e.lit(`{"role":"assistant","content":[`)
		} else {
			e.lit(`{"role":"user","content":[`)
		}
		e.items(e.turns[i].items, e.turns[i].assistant)
		e.lit("]}")
	}
	e.lit("]")
}

func (e *encoder) items(items []item, assistant bool) {
	for i, it := range items {
		e.comma(i)
		e.block(it.block, assistant)
		if it.mark != nil {
			e.cachePoint(it.mark)
		}
	}
}

// block writes one element of a message's content.
func (e *encoder) block(b *translator.Block, assistant bool) {
	switch b.Type {
	case translator.BlockText:
		e.lit(`{"text":`)
		e.b = append(append(e.b, b.Text...), '}')
	case translator.BlockThinking:
		e.lit(`{"reasoningContent":{"reasoningText":{"text":`)
		e.b = append(e.b, b.Text...)
		e.lit(`,"signature":`)
		e.b = append(append(e.b, b.Signature...), `}}}`...)
	case translator.BlockRedacted:
		e.lit(`{"reasoningContent":{"redactedContent":`)
		e.b = append(append(e.b, b.Signature...), `}}`...)
	case translator.BlockToolUse:
		e.lit(`{"toolUse":{"toolUseId":`)
		e.b = rawjson.AppendString(e.b, safeID(b.ID))
		e.lit(`,"name":`)
		e.b = rawjson.AppendString(e.b, b.Name)
		e.lit(`,"input":`)
		if len(b.Input) == 0 {
			e.lit(`{}}}`)
		} else {
			e.b = append(append(e.b, b.Input...), `}}`...)
		}
	case translator.BlockToolResult:
		e.result(b)
	default:
		if assistant {
			e.fail(b.Place, "type", "the upstream that serves this model takes images and documents in user messages only")
		}
		e.media(b, b.Place)
	}
}

// result writes what a call gave. Text stays text, JSON or not: the other form of the union would be read and written anew.
func (e *encoder) result(b *translator.Block) {
	e.lit(`{"toolResult":{"toolUseId":`)
	e.b = rawjson.AppendString(e.b, safeID(b.ID))
	e.lit(`,"content":[`)
	n := 0
	if b.IsError && !e.f.status() {
		e.lit(`{"text":"(The tool call failed.)"}`)
		n++
	}
	for i := range b.Content {
		c := &b.Content[i]
		switch c.Type {
		case translator.BlockText:
			if blank(c.Text) {
				continue
			}
			e.comma(n)
			e.lit(`{"text":`)
			e.b = append(append(e.b, c.Text...), '}')
		case translator.BlockOther:
			e.other(c)
			continue
		default:
			e.comma(n)
			e.media(c, b.Place)
		}
		n++
	}
	switch { // with nothing in it the service refuses an error, and some models any result
	case n > 0:
	case b.IsError:
		e.lit(`{"text":"Error"}`)
	default:
		e.lit(`{"text":"(no output)"}`)
	}
	e.lit("]")
	if b.IsError && e.f.status() {
		e.lit(`,"status":"error"`)
	}
	e.lit("}}")
}

// maxID is the most characters of a call's id. Source: API_runtime_ToolUseBlock.
const maxID = 64

// safeID is the id of a call, or what stands for it where the service would refuse it. The same id has the same stand-in, so
// that call and result still find each other.
func safeID(id string) string {
	ok := id != "" && len(id) <= maxID
	for i := 0; i < len(id) && ok; i++ {
		ok = alnum(id[i]) || id[i] == '_' || id[i] == '-'
	}
	if ok {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "tooluse_" + hex.EncodeToString(sum[:12])
}
