package amazonq

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// The most that the service takes. Source: service-2.json; where the service's own client goes further, as in the length of
// the history (250 in the model) and the size of an image (1.5 MB), its figure: the model is known not to be kept.
const (
	maxHistory   = 10_000     // messages before the current one
	maxUser      = 600_000    // characters of what the user says
	maxAssistant = 100_000    // characters of what the assistant said
	maxResult    = 800_000    // characters of a text of a tool's result
	maxCalls     = 10         // calls of a message, and results
	maxImages    = 10         // of a message
	maxImage     = 10_000_000 // bytes
	maxID        = 64         // characters of a call's id
)

// tooLong begins the message about what is longer than the service takes: clients know it, and shorten the conversation
// (D15, D41).
const tooLong = "prompt is too long: "

// turn is what one side says before the other does. The service wants the two to alternate, the user first.
type turn struct {
	assistant bool
	place     translator.Place
	content
	given    []*translator.Block // user: results as they came
	results  []result            // user: one for each call of the turn before
	uses     []use               // assistant
	thinking *translator.Block
	mark     bool // a cache point follows
	apart    bool // assistant: something stood between the last text and the next, which else continue each other
}

// content is text, to be joined as it is, and images.
type content struct {
	text   []translator.Raw
	images []*translator.Block
}

// use is a call with the id that the service is sent.
type use struct {
	id    string
	block *translator.Block
}

// result answers the call with the id.
type result struct {
	id     string
	failed bool
	content
	answered bool
}

var gap = translator.Raw(`"\n\n"`)

// add appends a text, as a paragraph of its own.
func (c *content) add(text translator.Raw) {
	if len(c.text) > 0 {
		c.text = append(c.text, gap)
	}
	c.text = append(c.text, text)
}

// native reports whether calls and results are sent as such. Without tools the service refuses them.
func (e *encoder) native() bool { return len(e.tools) > 0 }

// makeTurns merges messages into turns.
func (e *encoder) makeTurns() {
	for i := range e.r.Messages {
		m := &e.r.Messages[i]
		t := turn{assistant: m.Role == translator.RoleAssistant, place: m.Place}
		n := len(e.turns)
		if n > 0 && e.turns[n-1].assistant == t.assistant {
			t = e.turns[n-1]
			t.apart = true
		}
		switch m.Role {
		case translator.RoleAssistant:
			e.assistant(&t, m)
		case translator.RoleSystem:
			e.systemMessage(&t, m)
		default:
			e.user(&t, m)
		}
		switch {
		case n > 0 && e.turns[n-1].assistant == t.assistant:
			e.turns[n-1] = t
		case !t.empty():
			e.turns = append(e.turns, t)
		}
	}
}

func (t *turn) empty() bool {
	return len(t.text) == 0 && len(t.images) == 0 && len(t.given) == 0 && len(t.uses) == 0 && t.thinking == nil
}

var systemOpen, systemClose = translator.Raw(`"<system>\n"`), translator.Raw(`"\n</system>"`)

// systemMessage is one within the conversation, for which the service has no place.
func (e *encoder) systemMessage(t *turn, m *translator.Message) {
	for i := range m.Content {
		t.mark = e.mark(m.Content[i].CacheControl) || t.mark
	}
	if text := translator.PlainText(m.Content); !blank(text) {
		t.add(translator.Join(nil, "", systemOpen, text, systemClose))
	}
}

func (e *encoder) user(t *turn, m *translator.Message) {
	for i := range m.Content {
		b := &m.Content[i]
		t.mark = e.mark(b.CacheControl) || t.mark
		if b.Type == translator.BlockToolResult {
			t.given = append(t.given, b)
			continue
		}
		e.collect(&t.content, b, b.Place)
	}
}

func (e *encoder) assistant(t *turn, m *translator.Message) {
	for i := range m.Content {
		b := &m.Content[i]
		t.mark = e.mark(b.CacheControl) || t.mark
		switch b.Type {
		case translator.BlockText:
			switch {
			case b.Text.IsEmpty() || len(t.text) == 0 && blank(b.Text):
			case t.apart:
				t.add(b.Text)
			default:
				t.text = append(t.text, b.Text)
			}
			t.apart = false
			continue
		case translator.BlockToolUse:
			e.call(t, b)
		case translator.BlockThinking, translator.BlockRedacted:
			// Signatures are good on all platforms that serve Anthropic's models; other thinking means nothing to them. A message
			// has room for one, and two cannot be made one: the signature is over its own words. The first stays, from which the
			// turn began.
			switch {
			case !e.claude || !b.Native() || b.Type != translator.BlockThinking && !b.Signature.IsBase64():
			case t.thinking == nil:
				t.thinking = b
			default:
				e.out.Drop("thinking")
			}
		case translator.BlockOther:
			e.other(b)
		default:
			e.fail(b.Place, "type", "the upstream that serves this model takes images and documents in user messages only")
		}
		t.apart = true
	}
}

func (e *encoder) call(t *turn, b *translator.Block) {
	if !e.native() {
		t.add(translator.Join(nil, "", translator.Quote("[Called the tool "+b.Name+" ("+b.ID+") with: "),
			translator.TextOf(b.Input), translator.Raw(`"]"`)))
		return
	}
	t.uses = append(t.uses, use{id: e.newID(b.ID), block: b})
}

// newID is the id that stands for one call. The service wants other letters than some clients use, and ids that differ from
// each other, which those of some servers do not.
func (e *encoder) newID(id string) string {
	n := e.ids[id]
	e.ids[id] = n + 1
	if n > 0 {
		return standIn(id + "\x00" + strconv.Itoa(n))
	}
	if id == "" || len(id) > maxID {
		return standIn(id)
	}
	for i := range len(id) {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return standIn(id)
		}
	}
	return id
}

func standIn(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "tooluse_" + hex.EncodeToString(sum[:12])
}

// finishTurns makes of the turns what the service takes.
func (e *encoder) finishTurns() {
	if e.err != nil {
		return
	}
	system := e.system()
	if len(e.turns) == 0 {
		if len(system.text) == 0 {
			e.fail(translator.Place{}, e.name("messages", "messages", "input"), "must have a text or an image in it")
			return
		}
		e.turns = []turn{{}}
	}
	if e.turns[0].assistant {
		first := turn{place: e.turns[0].place}
		first.add(translator.Raw(`"(The assistant begins.)"`))
		e.turns = append([]turn{first}, e.turns...)
	}
	if last := &e.turns[len(e.turns)-1]; last.assistant {
		e.fail(last.place, "", "the conversation must end with a message of the user: the upstream that serves this model cannot continue the assistant's words")
		return
	}
	for i := range e.turns {
		if !e.turns[i].assistant {
			e.pair(i)
		}
	}
	e.split()
	first := &e.turns[0]
	first.mark = first.mark || system.mark
	if len(system.text) > 0 && len(first.text) > 0 {
		system.add(first.text[0])
		first.text = append(system.text, first.text[1:]...)
	} else if len(system.text) > 0 {
		first.text = system.text
	}
	e.placeMarks()
	if n := len(e.turns) - 1; n > maxHistory {
		e.fail(translator.Place{}, e.name("messages", "messages", "input"), tooLong+strconv.Itoa(n)+
			" messages > "+strconv.Itoa(maxHistory)+" maximum of the upstream that serves this model")
	}
}

// pair gives each call of the turn before its result. A result without a call becomes text, and a call without one is said
// to have none: the service refuses either, and nothing that a client sent may be lost.
func (e *encoder) pair(i int) {
	t := &e.turns[i]
	var uses []use
	if i > 0 {
		uses = e.turns[i-1].uses
	}
	if len(uses) == 0 && len(t.given) == 0 {
		return
	}
	t.results = make([]result, len(uses))
	byID := make(map[string][]int, len(uses)) // calls by the client's id, in their order
	for j, u := range uses {
		t.results[j].id = u.id
		byID[u.block.ID] = append(byID[u.block.ID], j)
	}
	var orphans content
	for _, b := range t.given {
		at := byID[b.ID]
		if len(at) == 0 {
			e.orphan(&orphans, b)
			continue
		}
		if len(at) > 1 {
			byID[b.ID] = at[1:] // the next call with the same id; further results belong to the last
		}
		e.result(&t.results[at[0]], b)
	}
	for j := range t.results {
		if r := &t.results[j]; !r.answered {
			r.failed = true
			r.text = []translator.Raw{translator.Raw(`"(There is no result: the call was not carried out.)"`)}
		}
	}
	if len(orphans.text) > 0 {
		if len(t.text) > 0 {
			orphans.add(t.text[0])
			orphans.text = append(orphans.text, t.text[1:]...)
		}
		t.text = orphans.text
	}
	t.images = append(orphans.images, t.images...)
}

// result reads what a call gave. A second result of the same call is added to the first.
func (e *encoder) result(r *result, b *translator.Block) {
	r.answered = true
	r.failed = r.failed || b.IsError
	for i := range b.Content {
		var c content
		e.collect(&c, &b.Content[i], b.Place)
		switch len(c.text) {
		case 0:
		case 1:
			r.text = append(r.text, c.text[0])
		default:
			r.text = append(r.text, translator.Join(nil, "", c.text...))
		}
		r.images = append(r.images, c.images...)
	}
	if len(r.text) == 0 {
		text := `"(no output)"`
		switch {
		case len(r.images) > 0:
			text = `"(see the image)"`
		case r.failed:
			text = `"Error"`
		}
		r.text = []translator.Raw{translator.Raw(text)}
	}
	for _, text := range r.text {
		e.bound(b.Place, maxResult, text)
	}
}

// orphan makes text of a result whose call is not in the turn before.
func (e *encoder) orphan(c *content, b *translator.Block) {
	var r result
	e.result(&r, b)
	what := "Result"
	if r.failed {
		what = "Error"
	}
	c.add(translator.Join(nil, "", translator.Quote("["+what+" of the tool call "+b.ID+":\n"),
		translator.Join(nil, "\n", r.text...), translator.Raw(`"]"`)))
	c.images = append(c.images, r.images...)
}

// split makes turns of those with more calls than a message may have, as though the calls had been made one after another.
func (e *encoder) split() {
	many := 0
	for i := range e.turns {
		many += (len(e.turns[i].uses) - 1) / maxCalls
	}
	if many == 0 {
		return
	}
	out := make([]turn, 0, len(e.turns)+2*many)
	for i := range e.turns {
		t := e.turns[i]
		for len(t.uses) > maxCalls {
			next := &e.turns[i+1]
			part := turn{assistant: true, place: t.place, content: t.content, uses: t.uses[:maxCalls], thinking: t.thinking}
			out = append(out, part, turn{place: next.place, results: next.results[:maxCalls]})
			t.content, t.thinking = content{}, nil
			t.uses, next.results = t.uses[maxCalls:], next.results[maxCalls:]
		}
		out = append(out, t)
	}
	e.turns = out
}

// Headings of what stands before the first message.
const toolDocs = "<tool_documentation>"

// system is what stands before the first message, and with it in every request, whatever the current message is: the system
// prompt and descriptions of tools that are too long for their place.
func (e *encoder) system() (t turn) {
	var parts []translator.Raw
	for i := range e.r.System {
		b := &e.r.System[i]
		t.mark = e.mark(b.CacheControl) || t.mark
		if text := unbilled(b.Text); !blank(text) {
			parts = append(parts, text)
		}
	}
	if len(parts) > 0 {
		t.add(translator.Join(nil, "", systemOpen, translator.Join(nil, "\n\n", parts...), systemClose))
	}
	if len(e.docs) > 0 {
		t.add(translator.Join(nil, "", translator.Quote(toolDocs+"\n"), translator.Join(nil, "\n\n", e.docs...),
			translator.Raw(`"\n</tool_documentation>"`)))
	}
	return t
}

// billing begins a line at the head of a system block that changes with every request: sent on, it would spoil the prompt
// cache, and it is not for other companies' upstreams.
const billing = `"x-anthropic-billing-header:`

// unbilled is a system block without that line. What follows it is the client's prompt.
func unbilled(text translator.Raw) translator.Raw {
	if !strings.HasPrefix(string(text), billing) {
		return text
	}
	_, rest, _ := strings.Cut(text.Text(), "\n")
	return translator.Quote(strings.TrimLeft(rest, "\r\n"))
}

// placeMarks keeps as many cache points as the models take, the last ones, which cover the most.
func (e *encoder) placeMarks() {
	last := len(e.turns) - 1
	if e.r.CacheControl != nil && e.claude {
		e.turns[last].mark = true
	}
	for i := last; i >= 0; i-- {
		t := &e.turns[i]
		if t.mark = t.mark && e.marks > 0; t.mark {
			e.marks--
		}
	}
}

// bound refuses text of more characters than the service takes.
func (e *encoder) bound(p translator.Place, most int, parts ...translator.Raw) {
	if n := units(most, parts...); n > most {
		e.fail(p, "content", tooLong+strconv.Itoa(n)+" characters > "+strconv.Itoa(most)+" maximum of a message at the upstream that serves this model")
	}
}

// other refuses a block of a tool that another upstream runs.
func (e *encoder) other(b *translator.Block) {
	kind := b.Kind
	if name, err := rawjson.Find(b.Raw, "name"); err == nil {
		if text, _ := name.Text(); text != "" && len(text) <= maxID {
			kind += " (" + text + ")"
		}
	}
	message := kind + " blocks have no place at the upstream that serves this model; leave them and their server tool out"
	if e.r.From == core.DialectOpenAIResponses {
		message = "this item has no place at the upstream that serves this model; leave it and its tool out"
	}
	e.fail(b.Place, "type", message)
}
