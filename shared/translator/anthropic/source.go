package anthropic

import (
	"bytes"
	"errors"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// NewSource implements translator.Back.
func (Codec) NewSource(b *translator.Builder) translator.Source { return &source{b: b} }

// source reads one stream. Blocks of this API never overlap, so that it has one at a time.
type source struct {
	b     *translator.Builder
	meter Meter

	kind      string // of the open block; empty: none
	index     int64
	fed       bool   // a piece of the open block came
	input     []byte // of a call: what its beginning had, if more than {}; of a server tool: the pieces, decoded
	raw       []byte // of a block that is collected whole
	signature []byte // the pieces, inside of a JSON string

	// What stood around the text of the last text delta: an event with the same around a JSON string needs no other reading.
	before, after []byte
}

var (
	errData  = errors.New("an event whose data is not a JSON object")
	errShape = errors.New("an event without what its type demands")
	errInput = errors.New("input of a call that never began")
	errLarge = errors.New("a block larger than any answer has")
)

// maxAround bounds what is kept of an event around its text.
const maxAround = 1 << 10

// maxCollected bounds the bytes of what is given away only when its block ends.
const maxCollected = 16 << 20

// Event implements translator.Source. Unknown events are passed over: the API may add some at any time.
func (s *source) Event(ev sse.Event) error {
	if ev.Data == nil {
		return nil // a comment
	}
	if string(ev.Name) == "content_block_delta" {
		return s.delta(ev.Data)
	}
	kind := Kind(ev)
	if kind == EventPing {
		return nil
	}
	if kind == EventError {
		s.b.Fail(streamError(ev.Data))
		return nil
	}
	if !Valid(ev) {
		return errData
	}
	switch kind {
	case EventStart:
		return s.start(ev)
	case EventBlockStart:
		return s.blockStart(ev.Data)
	case EventContent:
		if name, _ := rawjson.Find(ev.Data, "type"); len(ev.Name) == 0 && name.TextEquals("content_block_delta") {
			return s.delta(ev.Data)
		}
		s.blockStop()
	case EventDelta:
		return s.messageDelta(ev)
	case EventStop:
		s.blockStop()
		s.b.End()
	}
	return nil
}

func (s *source) start(ev sse.Event) error {
	msg, err := rawjson.Find(ev.Data, "message")
	if err != nil || msg.Kind() != rawjson.Object {
		return errShape
	}
	s.meter.Event(EventStart, ev)
	if usage, err := rawjson.Find(msg.Raw(), "usage"); err == nil {
		s.count(usage, false)
	}
	s.b.Start(s.meter.ID)
	return nil
}

// count gives the Builder what the meter knows; usage has what only the hub wants.
func (s *source) count(usage rawjson.Value, final bool) {
	u := s.b.Usage(final)
	guess := u.Input
	u.Tokens, u.Terms, u.Partial = s.meter.Tokens.Add(s.meter.comp), s.meter.Terms, s.meter.partial()
	if !s.meter.told && u.TotalInput() == 0 {
		u.Input = guess
	}
	if usage.Kind() != rawjson.Object {
		return
	}
	if v, err := rawjson.Find(usage.Raw(), "output_tokens_details", "thinking_tokens"); err == nil {
		set(&u.Reasoning, v)
	}
	if v, err := rawjson.Find(usage.Raw(), "service_tier"); err == nil && v.Kind() == rawjson.String {
		u.Tier, _ = v.Text()
	}
}

func (s *source) messageDelta(ev sse.Event) error {
	var v [2]rawjson.Value
	if rawjson.Scan(ev.Data, []string{"delta", "usage"}, v[:]) != nil {
		return errShape
	}
	s.meter.Event(EventDelta, ev)
	s.count(v[1], s.meter.final)
	if v[0].Kind() != rawjson.Object {
		return nil
	}
	var d [2]rawjson.Value
	if rawjson.Scan(v[0].Raw(), []string{"stop_reason", "stop_sequence"}, d[:]) != nil {
		return errShape
	}
	stop(s.b, d[0], d[1])
	return nil
}

// stop notes a stop reason, where there is one.
func stop(b *translator.Builder, reason, sequence rawjson.Value) {
	text, _ := reason.Text()
	if text == "" {
		return
	}
	var raw translator.Raw
	if sequence.Kind() == rawjson.String {
		raw = sequence.Raw()
	}
	b.Stop(translator.StopReason(text), raw)
}

// delta takes a content_block_delta. Nearly all events are one.
func (s *source) delta(data []byte) error {
	if s.meter.final {
		s.meter.final = false
		s.b.More()
	}
	if n := len(data) - len(s.before) - len(s.after); n >= 2 && len(s.before) > 0 && bytes.HasPrefix(data, s.before) && bytes.HasSuffix(data, s.after) {
		text := data[len(s.before) : len(s.before)+n]
		if text[0] == '"' && rawjson.Valid(text) == nil {
			s.fed = s.fed || n > 2
			s.b.Text(text, nil)
			return nil
		}
	}
	var v [2]rawjson.Value
	if rawjson.Scan(data, []string{"index", "delta"}, v[:]) != nil {
		return errData
	}
	index, ok := v[0].Int()
	if !ok || v[1].Kind() != rawjson.Object {
		return errShape
	}
	var d [6]rawjson.Value
	if rawjson.Scan(v[1].Raw(), []string{"type", "text", "partial_json", "thinking", "signature", "citation"}, d[:]) != nil {
		return errShape
	}
	piece := func(v rawjson.Value) translator.Raw {
		if ok = v.Kind() == rawjson.String; !ok {
			return nil
		}
		return v.Raw()
	}
	switch t := d[0]; {
	case t.Kind() != rawjson.String:
		ok = false
	case t.TextEquals("text_delta"):
		p := piece(d[1])
		s.fed = s.fed || len(p) > 2
		s.b.Text(p, nil)
		if ok && len(data)-len(p) <= maxAround {
			at := v[1].Offset() + d[1].Offset()
			s.before = append(s.before[:0], data[:at]...)
			s.after = append(s.after[:0], data[at+len(p):]...)
		}
	case t.TextEquals("input_json_delta"):
		if p := piece(d[2]); ok {
			return s.inputDelta(index, p)
		}
	case t.TextEquals("thinking_delta"):
		s.b.Thinking(piece(d[3]))
	case t.TextEquals("signature_delta"):
		if p := piece(d[4]); ok {
			if len(s.signature)+len(p) > maxCollected {
				return errLarge
			}
			s.signature = append(s.signature, p[1:len(p)-1]...)
		}
	case t.TextEquals("citations_delta"):
		if ok = d[5].Kind() == rawjson.Object; ok {
			s.cite(d[5].Raw())
		}
	}
	if !ok {
		return errShape
	}
	return nil
}

func (s *source) inputDelta(index int64, piece translator.Raw) error {
	switch {
	case s.kind == "" || index != s.index:
		return errInput
	case s.raw != nil && len(s.input)+len(piece) > maxCollected:
		return errLarge
	case s.raw != nil:
		s.input = append(s.input, piece.Text()...)
	case s.kind == "tool_use":
		s.fed = s.fed || len(piece) > 2
		s.b.Input(int(index), piece)
	default:
		return errInput
	}
	return nil
}

// cite takes a citation, which may come before the text it is of.
func (s *source) cite(raw []byte) {
	if s.kind == "text" && !s.fed {
		s.b.Open(translator.Block{Type: translator.BlockText, Text: translator.EmptyString})
		s.fed = true
	}
	s.b.Cite(citation(raw))
}
