package translator

import (
	"errors"
	"strings"

	"sluice/shared/core"
)

// Builder is the only maker of events. A Source tells it what an upstream says in whatever order that upstream has; the
// Builder opens and closes blocks, keeps them from overlapping, and holds the final event until the stream has ended.
//
// Its methods take what an upstream sent: hostile input makes an error, which is kept, never a panic. After an error or
// the end all methods do nothing.
type Builder struct {
	emit  func(*Event)
	ev    Event
	block Block // the open one
	open  bool
	key   int  // of the open call
	n     int  // blocks begun
	calls bool // some of them are calls

	waiting []*call       // calls that began while another was open
	byKey   map[int]*call // of them, the first of each key
	held    int           // bytes of input of calls that wait
	depth   depth         // of the open call's input

	stop     StopReason
	sequence Raw
	usage    Usage
	sized    bool // the output count is the upstream's
	bytes    int64
	size     int64 // of all that was given to emit

	enforcer enforcer
	names    map[string]string // of tools, as they were sent -> the hub's
	status   Status
}

// call is a tool call that waits for its turn.
type call struct {
	key   int
	block Block
	input []byte
}

// maxWaiting bounds the bytes of calls that wait, and maxBlocks the blocks of one answer.
const (
	maxWaiting = 16 << 20
	maxBlocks  = 10_000
)

// maxSize bounds the bytes of one answer, as the gateway bounds one that is not streamed: sinks of some dialects keep all
// of it to repeat it at the end.
const maxSize = 64 << 20

var (
	errNoStart = errors.New("content before the beginning of the answer")
	errNoCall  = errors.New("input of a call that never began")
	errTooMany = errors.New("more content blocks than any answer has")
	errCut     = errors.New("the answer has no end")
	errLarge   = errors.New("more content than any answer has")
	errNoStop  = errors.New("the answer ended without a reason")
)

// NewBuilder makes a Builder that gives each event to emit.
func NewBuilder(emit func(*Event)) *Builder { return &Builder{emit: emit} }

// Enforce sets limits that the upstream was not told of.
func (b *Builder) Enforce(e Enforce) {
	e.MaxTokens = min(e.MaxTokens, 1<<40) // far from overflow, and from any answer
	b.enforcer = enforcer{Enforce: e}
}

// Rename gives tools back the names that Request.FitNames changed.
func (b *Builder) Rename(names map[string]string) { b.names = names }

// Guess sets the input's tokens as long as the upstream does not tell them: clients show them from the beginning on.
func (b *Builder) Guess(input int64) { b.usage.Input = input }

// Status tells how far the answer has come.
func (b *Builder) Status() *Status { return &b.status }

// Break notes that the upstream does not speak its dialect. The first error stays.
func (b *Builder) Break(err error) {
	if !b.status.Ended && b.status.Broken == nil {
		b.status.Broken = err
	}
}

func (b *Builder) over() bool { return b.status.Ended || b.status.Broken != nil }

// ready reports whether content may come.
func (b *Builder) ready() bool {
	if !b.status.Started {
		b.Break(errNoStart)
	}
	return !b.over()
}

// Fail notes an error that the upstream reported. It ends the answer.
func (b *Builder) Fail(e *Error) {
	if b.over() {
		return
	}
	b.status.Ended, b.status.Err = true, e
}

// Start begins the answer. A second start does nothing.
func (b *Builder) Start(upstreamID string) {
	if b.over() || b.status.Started {
		return
	}
	b.status.Started = true
	b.ev = Event{Type: EvStart, Upstream: upstreamID, Usage: &b.usage}
	b.emit(&b.ev)
}

// Text takes a piece of text, a JSON string. An empty one does nothing.
func (b *Builder) Text(text, logprobs Raw) { b.text(text, logprobs, false) }

// Refuse takes a piece of the model's words for refusing.
func (b *Builder) Refuse(text Raw) { b.text(text, nil, true) }

func (b *Builder) text(text, logprobs Raw, refusal bool) {
	if len(text) <= 2 && len(logprobs) <= 2 || !b.ready() {
		return
	}
	if len(text) < 2 {
		text = EmptyString
	}
	if !b.open || b.block.Type != BlockText || b.block.Refusal != refusal {
		b.Open(Block{Type: BlockText, Text: EmptyString, Refusal: refusal})
	}
	if b.enforcer.active() {
		b.enforced(text)
		return
	}
	b.delta(EvText, text, logprobs)
}

// Thinking takes a piece of thinking, a JSON string.
func (b *Builder) Thinking(text Raw) {
	if len(text) <= 2 || !b.ready() {
		return
	}
	if !b.open || b.block.Type != BlockThinking {
		b.Open(Block{Type: BlockThinking, Text: EmptyString})
	}
	b.delta(EvThinking, text, nil)
}

// Signature takes the signature of the open thinking block, a JSON string, and closes it. Without an open one it makes a
// block of no text.
func (b *Builder) Signature(signature Raw) {
	if !b.ready() {
		return
	}
	if !b.open || b.block.Type != BlockThinking {
		b.Open(Block{Type: BlockThinking, Text: EmptyString})
	}
	b.delta(EvSignature, signature, nil)
	b.Close()
}

// Redacted takes a whole redacted thinking block; data is a JSON string.
func (b *Builder) Redacted(data Raw) {
	if !b.ready() {
		return
	}
	b.Open(Block{Type: BlockRedacted, Signature: data})
	b.status.Content = true
	b.bytes += int64(max(0, len(data)-2))
	b.Close()
}

// Other takes a whole block that only Anthropic's dialect has.
func (b *Builder) Other(kind string, raw Raw) {
	if !b.ready() {
		return
	}
	b.Open(Block{Type: BlockOther, Kind: kind, Raw: raw})
	b.status.Content = true
	b.bytes += int64(len(raw))
	b.Close()
}

// Cite takes a citation of the open text block; without one it does nothing.
func (b *Builder) Cite(c *Citation) {
	if !b.ready() || !b.open || b.block.Type != BlockText {
		return
	}
	b.send(Event{Type: EvCitation, Citation: c})
}

// Tool begins a call; key tells its input from that of others. A call that begins while the input of another is
// incomplete waits for its end.
func (b *Builder) Tool(key int, id, name string, custom bool) {
	if !b.ready() {
		return
	}
	if own, ok := b.names[name]; ok {
		name = own
	}
	block := Block{Type: BlockToolUse, ID: id, Name: name, Custom: custom}
	if b.open && b.block.Type == BlockToolUse && !b.depth.complete() {
		if len(b.waiting) >= maxBlocks {
			b.Break(errTooMany)
			return
		}
		c := &call{key: key, block: block}
		b.waiting = append(b.waiting, c)
		if b.byKey[key] == nil {
			if b.byKey == nil {
				b.byKey = make(map[int]*call)
			}
			b.byKey[key] = c
		}
		return
	}
	b.openCall(key, block)
}

func (b *Builder) openCall(key int, block Block) {
	b.Open(block)
	b.key, b.depth, b.calls = key, depth{}, true
	b.status.Content = true
	b.bytes += int64(len(block.Name))
}

// Input takes a piece of a call's input: JSON text as a JSON string.
func (b *Builder) Input(key int, piece Raw) {
	if len(piece) <= 2 || !b.ready() {
		return
	}
	if b.open && b.block.Type == BlockToolUse && b.key == key {
		b.depth.feed(inner(piece))
		b.delta(EvInput, piece, nil)
		if b.depth.complete() {
			b.next()
		}
		return
	}
	if c := b.byKey[key]; c != nil {
		if b.held += len(piece) - 2; b.held > maxWaiting {
			b.Break(errTooMany)
			return
		}
		c.input = append(c.input, inner(piece)...)
		return
	}
	if strings.TrimSpace(piece.Text()) != "" { // the end of a call that is complete may trail after it
		b.Break(errNoCall)
	}
}

// next lets the first waiting call have its turn.
func (b *Builder) next() {
	for len(b.waiting) > 0 && !b.over() {
		c := b.waiting[0]
		b.waiting = b.waiting[1:]
		if b.byKey[c.key] == c {
			delete(b.byKey, c.key)
		}
		b.held -= len(c.input)
		b.openCall(c.key, c.block)
		if len(c.input) > 0 {
			b.depth.feed(c.input)
			b.delta(EvInput, quoted(c.input), nil)
		}
		if !b.depth.complete() {
			return
		}
	}
}

// Open closes the open block and opens another.
func (b *Builder) Open(block Block) {
	if !b.ready() {
		return
	}
	b.Close()
	if b.n >= maxBlocks {
		b.Break(errTooMany)
		return
	}
	b.block, b.open = block, true
	b.n++
	b.send(Event{Type: EvBlockStart})
}

// Close closes the open block, if there is one.
func (b *Builder) Close() {
	if !b.open || b.over() {
		return
	}
	if b.block.Type == BlockText && b.enforcer.active() {
		b.flushEnforced()
		if !b.open {
			return // the limit was in what had been held
		}
	}
	b.send(Event{Type: EvBlockStop})
	b.open = false
}

// CloseAll closes the open block and every waiting call, each in its turn.
func (b *Builder) CloseAll() {
	for {
		b.Close()
		if len(b.waiting) == 0 || b.over() {
			return
		}
		b.next()
	}
}

func (b *Builder) delta(t EventType, data, logprobs Raw) {
	b.status.Content = true
	b.bytes += int64(len(data) - 2)
	b.send(Event{Type: t, Data: data, Logprobs: logprobs})
}

func (b *Builder) send(e Event) {
	if b.over() { // the block did not open any more
		return
	}
	b.size += int64(len(e.Data) + len(e.Logprobs))
	if e.Type == EvBlockStart {
		b.size += int64(len(b.block.Signature) + len(b.block.Raw) + len(b.block.ID) + len(b.block.Name))
	}
	if c := e.Citation; c != nil {
		b.size += int64(len(c.Raw) + len(c.URL) + len(c.Title) + len(c.Text) + 256)
	}
	if b.size > maxSize {
		b.Break(errLarge)
		return
	}
	b.ev = e
	b.ev.Index, b.ev.Block = b.n-1, &b.block
	b.emit(&b.ev)
}

// Usage returns the counts so far, to be filled by the Source. final tells that the output count is the upstream's last
// word.
func (b *Builder) Usage(final bool) *Usage {
	b.sized = b.sized || final
	return &b.usage
}

// More takes back that the output count was the last word: there is more output.
func (b *Builder) More() { b.sized = false }

// Stop notes why the answer ended; sequence may be nil.
func (b *Builder) Stop(reason StopReason, sequence Raw) {
	if b.over() {
		return
	}
	b.stop, b.sequence = reason, clone(sequence)
}

// End ends the answer: the upstream's terminal event came. Without a reason it is broken.
func (b *Builder) End() {
	if !b.ready() {
		return
	}
	b.CloseAll()
	switch {
	case b.stop == "":
		b.Break(errNoStop)
	case b.stop == StopEndTurn && b.calls: // clients run calls only when they are told to
		b.stop = StopToolUse
	}
	b.finish()
}

func (b *Builder) finish() {
	if b.over() {
		return
	}
	if !b.sized {
		b.usage.Output = b.estimate()
	}
	b.ev = Event{Type: EvFinal, Stop: b.stop, Sequence: b.sequence, Usage: &b.usage}
	b.emit(&b.ev)
	b.ev = Event{Type: EvStop}
	b.emit(&b.ev)
	b.status.Content, b.status.Ended = true, true
}

func (b *Builder) estimate() int64 { return max(b.usage.Output, (b.bytes+3)/4) }

// Whole tells whether the answer came whole: nil, the upstream's *Error, or what is wrong with it.
func (b *Builder) Whole() error {
	switch st := &b.status; {
	case st.Broken != nil:
		return st.Broken
	case st.Err != nil:
		return st.Err
	case !st.Ended:
		return errCut
	}
	return nil
}

// Tokens returns what was used, and whether it is an estimate, or has one in it: when the upstream's last count never came,
// the output is at least a quarter of the bytes that passed.
func (b *Builder) Tokens() (core.Tokens, bool) {
	t := b.usage.Tokens
	if b.sized {
		return t, b.usage.Partial
	}
	t.Output = b.estimate()
	return t, true
}

// Terms returns what the price depends on besides the tokens, as far as it came.
func (b *Builder) Terms() Terms { return b.usage.Terms }
