package upstreamtest

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
)

type opKind uint8

const (
	opWrite   opKind = iota
	opStart          // an event that differs for each request
	opPause          // for op.pause
	opSilence        // until the client leaves
	opCut            // end the answer as op.end says
	opError          // only in an action: an error event and the end
)

// op is one step of an answer. The steps are rendered once for each Behaviour,
// so that playing them is little more than writing.
type op struct {
	kind  opKind
	data  []byte
	parts template // of opStart, for all forms but Anthropic's
	half  bool     // of opStart: the first half only
	pause time.Duration
	end   End
}

type plan struct {
	before   []op // before the headers
	stream   []op // everything after them, in a stream or of Raw and Wire
	whole    []op // the steps between headers and second half of a JSON answer
	flush    bool // an action follows the headers: send them at once
	clean    bool // the JSON answer ends cleanly though cut: no Content-Length
	failure  *action
	startEnd []byte   // message_start after the model and the id
	wholeEnd []byte   // the message after the model and the id
	parts    template // the whole answer of the OpenAI forms
}

func (s *spec) plan(v variant) *plan {
	c := &s.plans[v]
	c.once.Do(func() { c.made = s.compile(v) })
	return c.made
}

func (s *spec) compile(v variant) *plan {
	p := &plan{}
	b := builder{s: &s.settings}
	b.at(BeforeHeaders)
	p.before, b.ops, b.done = b.ops, nil, false
	for i := range s.actions {
		a := &s.actions[i]
		if a.at == AfterHeaders {
			p.flush = true
		}
		if a.kind == opError && p.failure == nil {
			p.failure = a
		}
	}
	switch s.kind {
	case kindRaw, kindWire:
		p.flush = p.flush || len(s.chunks) > 1 || len(b.later()) > 0
		b.chunks()
	case kindReply:
		switch {
		case v >= variantMessages:
			s.compileBedrock(p, &b, v)
		case v == variantAmazonQ:
			s.compileAmazonQ(&b)
		case v >= variantResponses:
			s.compileResponse(p, &b, v-variantResponses)
		case v >= variantChat:
			s.compileChat(p, &b, v-variantChat)
		default:
			s.compileReply(p, &b)
		}
		s.compileWhole(p)
	}
	p.stream = b.ops
	return p
}

func (s *spec) compileReply(p *plan, b *builder) {
	deltas := 0
	for _, blk := range s.blocks {
		deltas += len(blk.deltas)
	}
	u := s.usage
	if !s.usageGiven {
		u = Usage{Input: 10, Output: max(deltas, 1)}
	}
	stop := s.stop
	if stop == "" {
		stop = "end_turn"
		if n := len(s.blocks); n > 0 && strings.HasPrefix(s.blocks[n-1].start, `{"type":"tool_use"`) {
			stop = "tool_use"
		}
	}
	ending := `"stop_reason":` + quote(stop) + `,"stop_sequence":null`
	if s.stopSeq != "" {
		ending = `"stop_reason":` + quote(stop) + `,"stop_sequence":` + quote(s.stopSeq)
	}
	if s.stopDetails != "" {
		ending += `,"stop_details":` + s.stopDetails
	}

	const kindAndRole = `","type":"message","role":"assistant","content":[`
	p.startEnd = append(p.startEnd, kindAndRole+`],"stop_reason":null,"stop_sequence":null,"usage":`...)
	p.startEnd = append(u.appendFull(p.startEnd, true), "}}\n\n"...)
	p.wholeEnd = append(p.wholeEnd, kindAndRole...)
	for i, blk := range s.blocks {
		if i > 0 {
			p.wholeEnd = append(p.wholeEnd, ',')
		}
		p.wholeEnd = append(p.wholeEnd, blk.whole...)
	}
	p.wholeEnd = append(p.wholeEnd, "],"+ending+`,"usage":`...)
	p.wholeEnd = append(u.appendFull(p.wholeEnd, false), '}')

	b.message(renderEvent("message_delta", `{"type":"message_delta","delta":{`, ending, `},"usage":`, string(u.appendDelta(nil)), `}`))
}

// compileWhole lays out the steps of an answer in one piece of JSON.
func (s *spec) compileWhole(p *plan) {
	w := builder{s: &s.settings, whole: true}
	w.at(AfterHeaders)
	w.mark()
	w.at(AfterStart)
	w.from(1)
	w.at(BeforeStop)
	w.at(AfterStop)
	p.whole = w.ops
	for _, o := range p.whole {
		p.clean = p.clean || o.kind == opCut && o.end == EndClean
	}
}

// builder lays out the steps of an answer.
type builder struct {
	s      *settings
	ops    []op
	whole  bool                  // a JSON answer: only its pauses, silences and cuts
	done   bool                  // the answer is cut: nothing follows
	inside *action               // the next event is to be cut
	broken func(f *fault) string // the event of an error; nil: Anthropic's
	frame  func(f *fault) []byte // of Amazon Q and Bedrock, instead of broken: the exception's frame
	wrap   func(b []byte) []byte // of Bedrock: what an event in text becomes
	seen   int                   // deltas so far, in the OpenAI forms
}

func (b *builder) message(messageDelta []byte) {
	b.at(AfterHeaders)
	b.event(op{kind: opStart})
	b.at(AfterStart)
	seen := 0
	for i, blk := range b.s.blocks {
		index := strconv.Itoa(i)
		b.write(renderEvent("content_block_start", `{"type":"content_block_start","index":`, index, `,"content_block":`, blk.start, `}`))
		if i == 0 && !b.s.noPing {
			b.write([]byte(PingEvent))
		}
		for _, d := range blk.deltas {
			if seen > 0 && b.s.every > 0 {
				b.add(op{kind: opPause, pause: b.s.every})
			}
			b.write(renderEvent("content_block_delta", `{"type":"content_block_delta","index":`, index, `,"delta":`, d, `}`))
			seen++
			if b.s.pingEvery > 0 && seen%b.s.pingEvery == 0 {
				b.write([]byte(PingEvent))
			}
			b.at(AfterDeltas(seen))
		}
		b.write(renderEvent("content_block_stop", `{"type":"content_block_stop","index":`, index, `}`))
	}
	b.from(seen + 1)
	b.write(messageDelta)
	b.at(BeforeStop)
	b.write(renderEvent("message_stop", `{"type":"message_stop"}`))
	b.at(AfterStop)
	b.flushInside()
}

func (b *builder) chunks() {
	b.at(AfterHeaders)
	for i, c := range b.s.chunks {
		if i > 0 && b.s.every > 0 {
			b.add(op{kind: opPause, pause: b.s.every})
		}
		b.event(op{kind: opWrite, data: c})
		b.at(AfterDeltas(i + 1))
	}
	b.from(len(b.s.chunks) + 1)
	b.at(AfterStart)
	b.at(BeforeStop)
	b.at(AfterStop)
	b.flushInside()
}

// later returns the actions after the headers.
func (b *builder) later() []action {
	return slices.DeleteFunc(slices.Clone(b.s.actions), func(a action) bool { return a.at == BeforeHeaders })
}

// at adds the actions of one point.
func (b *builder) at(p Point) {
	for i := range b.s.actions {
		if b.s.actions[i].at == p {
			b.act(&b.s.actions[i])
		}
	}
}

// from adds the actions of every delta from the k-th on.
func (b *builder) from(k int) {
	for i := range b.s.actions {
		if b.s.actions[i].at >= Point(k) {
			b.act(&b.s.actions[i])
		}
	}
}

func (b *builder) act(a *action) {
	switch {
	case a.kind == opError && !b.whole && a.at != BeforeHeaders:
		switch {
		case b.frame != nil:
			b.event(op{kind: opWrite, data: b.frame(&a.fault)})
		case b.broken != nil:
			b.text(b.broken(&a.fault))
		default:
			b.write(renderEvent("error", string(appendError(nil, a.fault.errType, a.fault.message, ""))))
		}
		b.add(op{kind: opCut, end: EndClean})
	case a.kind == opError, a.kind == opWrite && (b.whole || a.at == BeforeHeaders):
		// Played as a status, or nothing that JSON can hold.
	case a.kind == opWrite:
		b.write(a.data)
	case a.inside && !b.whole && a.at != BeforeHeaders:
		b.inside = a
	default:
		b.add(op{kind: a.kind, pause: a.pause, end: a.end})
	}
}

// mark notes where the halves of a JSON body meet.
func (b *builder) mark() { b.add(op{kind: opWrite}) }

// text adds an event that may have slots.
func (b *builder) text(event string) {
	b.event(op{kind: opStart, parts: newTemplate(event, b.s.crlf)})
}

// piece adds the event of a delta with what goes before and after it.
func (b *builder) piece(event string) {
	if b.seen > 0 && b.s.every > 0 {
		b.add(op{kind: opPause, pause: b.s.every})
	}
	b.text(event)
	b.seen++
	if n := b.s.pingEvery; n > 0 && b.seen%n == 0 {
		b.write([]byte(PingComment))
	}
	b.at(AfterDeltas(b.seen))
}

func (b *builder) write(event []byte) {
	switch {
	case b.wrap != nil:
		event = b.wrap(event)
	case b.s.crlf:
		event = toCRLF(event)
	}
	b.event(op{kind: opWrite, data: event})
}

func toCRLF(event []byte) []byte {
	return bytes.ReplaceAll(event, []byte("\n"), []byte("\r\n"))
}

// event adds what may be cut inside.
func (b *builder) event(o op) {
	if b.inside != nil {
		o.data, o.half = o.data[:len(o.data)/2], true
	}
	b.add(o)
	b.flushInside()
}

func (b *builder) flushInside() {
	if a := b.inside; a != nil {
		b.inside = nil
		b.add(op{kind: opCut, end: a.end})
	}
}

func (b *builder) add(o op) {
	if !b.done {
		b.ops = append(b.ops, o)
	}
	b.done = b.done || o.kind == opCut || o.kind == opSilence
}
