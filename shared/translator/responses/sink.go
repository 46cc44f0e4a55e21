package responses

import (
	"bytes"

	"sluice/shared/sse"
	"sluice/shared/translator"
)

// sink writes one streamed answer. Text blocks that follow each other are parts of one message, as clients show each
// message apart; every other block is an item of its own.
type sink struct {
	o    translator.ReplyOptions
	echo []byte
	seq  int64

	items  []byte // complete items, joined by commas
	index  int    // of the open item in the output
	itemID []byte // of the open item, a JSON string
	kind   itemKind

	// of the open message
	parts []byte // complete parts, joined by commas
	part  int    // index of the open part

	// of the open block
	text    []byte // its strings so far, without quotes
	notes   []byte // annotations, joined by commas
	noted   int
	chars   int64 // of the text up to counted, which only citations need
	counted int
	logs    []byte // logprobs, joined by commas
	sig     raw    // of thinking
	summary bool   // the thinking's part has begun
	call    call

	prefix  []byte // of the block's delta events, up to the delta
	refused bool
	stopped bool // the last message is one that a limit cut off
}

// itemKind is the kind of the open item.
type itemKind uint8

const (
	noItem itemKind = iota
	messageItem
	otherItem
)

// NewSink implements translator.Front. Ids derive from o.ID; every event is one line of data.
func (Codec) NewSink(o translator.ReplyOptions) translator.Sink {
	return &sink{o: o, echo: appendEcho(nil, o.Request)}
}

// Event implements translator.Sink.
func (s *sink) Event(dst []byte, e *translator.Event) []byte {
	switch e.Type {
	case translator.EvStart:
		dst = s.response(dst, evCreated, state{status: statusInProgress})
		return s.response(dst, evInProgress, state{status: statusInProgress})
	case translator.EvBlockStart:
		return s.start(dst, e.Block)
	case translator.EvText, translator.EvThinking, translator.EvInput:
		return s.delta(dst, e)
	case translator.EvSignature:
		s.sig = bytes.Clone(e.Data)
	case translator.EvCitation:
		return s.cite(dst, e)
	case translator.EvBlockStop:
		return s.stop(dst, e.Block)
	case translator.EvFinal:
		return s.final(dst, e)
	}
	return dst
}

// Fail implements translator.Sink.
func (s *sink) Fail(dst []byte, e *translator.Error) []byte {
	return appendFailed(dst, e, s.o, s.seq, s.items)
}

// final ends the answer.
func (s *sink) final(dst []byte, e *translator.Event) []byte {
	status, reason := outcome(e.Stop, s.refused)
	s.stopped = status == statusIncomplete
	dst = s.closeMessage(dst)
	st := state{status: status, reason: reason, output: s.items, usage: e.Usage}
	return s.response(dst, "response."+status, st)
}

// response appends an event that carries the response object.
func (s *sink) response(dst []byte, name string, st state) []byte {
	st.echo = s.echo
	dst = s.open(dst, name)
	dst = append(dst, `,"response":`...)
	return s.close(appendResponse(dst, s.o, st))
}

// open appends the beginning of an event, close its end.
func (s *sink) open(dst []byte, name string) []byte {
	dst = append(append(dst, "event: "...), name...)
	dst = append(append(dst, "\ndata: {\"type\":\""...), name...)
	return append(dst, '"')
}

func (s *sink) close(dst []byte) []byte {
	dst = append(dst, `,"sequence_number":`...)
	dst = appendInt(dst, s.seq)
	s.seq++
	return append(dst, "}\n\n"...)
}

// at appends which item an event is about.
func (s *sink) at(dst []byte) []byte {
	dst = append(append(dst, `,"item_id":`...), s.itemID...)
	dst = append(dst, `,"output_index":`...)
	return appendInt(dst, int64(s.index))
}

// atPart appends which part of the message an event is about.
func (s *sink) atPart(dst []byte) []byte {
	dst = append(s.at(dst), `,"content_index":`...)
	return appendInt(dst, int64(s.part))
}

// setID gives the open item its id.
func (s *sink) setID(prefix string) {
	s.itemID = appendItemID(s.itemID[:0], prefix, s.o.ID, s.index)
}

func appendItemID(dst []byte, prefix, id string, index int) []byte {
	return appendString(dst, prefix+id+"_"+itoa(index))
}

// item appends an output_item event; body is the item.
func (s *sink) item(dst []byte, name string, body []byte) []byte {
	dst = append(s.open(dst, name), `,"output_index":`...)
	dst = append(appendInt(dst, int64(s.index)), `,"item":`...)
	return s.close(append(dst, body...))
}

// added begins an item.
func (s *sink) added(dst []byte, kind itemKind, body []byte) []byte {
	s.kind = kind
	return s.item(dst, evItemAdded, body)
}

// done ends the open item.
func (s *sink) done(dst, body []byte) []byte {
	dst = s.item(dst, evItemDone, body)
	if len(s.items) > 0 {
		s.items = append(s.items, ',')
	}
	s.items = append(s.items, body...)
	s.kind = noItem
	s.index++
	return dst
}

// start begins a block.
func (s *sink) start(dst []byte, b *translator.Block) []byte {
	s.text, s.notes, s.logs, s.sig = s.text[:0], s.notes[:0], s.logs[:0], nil
	s.noted, s.summary, s.chars, s.counted = 0, false, 0, 0
	if b.Type != translator.BlockText {
		dst = s.closeMessage(dst)
	}
	switch b.Type {
	case translator.BlockText:
		return s.startText(dst, b.Refusal)
	case translator.BlockThinking, translator.BlockRedacted:
		s.setID("rs_")
		return s.added(dst, otherItem, reasoning{id: s.itemID, status: statusInProgress}.append(nil))
	case translator.BlockToolUse:
		return s.startCall(dst, b)
	}
	return dst // what only Anthropic's dialect has is left out
}

// stop ends a block.
func (s *sink) stop(dst []byte, b *translator.Block) []byte {
	switch b.Type {
	case translator.BlockText:
		return s.stopText(dst, b.Refusal)
	case translator.BlockThinking, translator.BlockRedacted:
		return s.stopThinking(dst, b)
	case translator.BlockToolUse:
		return s.stopCall(dst)
	}
	return dst
}

// delta appends a piece of the open block.
func (s *sink) delta(dst []byte, e *translator.Event) []byte {
	if e.Type == translator.EvThinking && !s.summary {
		dst = s.startSummary(dst)
	}
	s.text = append(s.text, inner(e.Data)...)
	if e.Type == translator.EvInput && s.call.whole() {
		return dst
	}
	dst = append(dst, s.prefix...)
	dst = append(dst, e.Data...)
	if e.Type == translator.EvText && !e.Block.Refusal {
		dst = s.logprobs(dst, e.Logprobs)
	}
	return s.close(dst)
}

// logprobs appends those of a delta, which every delta of text must have.
func (s *sink) logprobs(dst []byte, r raw) []byte {
	if len(r) <= 2 {
		return append(dst, `,"logprobs":[]`...)
	}
	dst = append(dst, `,"logprobs":`...)
	at := len(dst)
	dst = appendCompact(dst, r)
	if len(s.logs) > 0 {
		s.logs = append(s.logs, ',')
	}
	s.logs = append(s.logs, dst[at+1:len(dst)-1]...)
	return dst
}

// setPrefix makes the beginning of the block's delta events.
func (s *sink) setPrefix(name string, place func([]byte) []byte) {
	s.prefix = append(place(s.open(s.prefix[:0], name)), `,"delta":`...)
}

// AppendKeepAlive implements translator.Front: first a response.created, by which clients know that an answer is coming,
// then events that no client knows. Comments would not do: Codex's idle timer does not see them (D39).
func (Codec) AppendKeepAlive(dst []byte, first bool, o translator.ReplyOptions) []byte {
	if first {
		s := &sink{o: o, echo: appendEcho(nil, o.Request)}
		return s.response(dst, evCreated, state{status: statusInProgress})
	}
	return append(dst, "event: keepalive\ndata: {\"type\":\"keepalive\"}\n\n"...)
}

// Resume implements translator.Front: a second response.created is taken away.
func (Codec) Resume(held []byte) []byte {
	ev, rest, ok := sse.Cut(held)
	if ok && eventType(ev) == evCreated {
		return rest
	}
	return held
}
