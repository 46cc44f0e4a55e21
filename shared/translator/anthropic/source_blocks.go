package anthropic

import (
	"bytes"
	"errors"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// blockStart takes a content_block_start. What relays put into it that belongs into deltas is read, too.
func (s *source) blockStart(data []byte) error {
	s.blockStop() // of one that was never closed
	var v [2]rawjson.Value
	if rawjson.Scan(data, []string{"index", "content_block"}, v[:]) != nil {
		return errShape
	}
	index, ok := v[0].Int()
	if !ok || v[1].Kind() != rawjson.Object {
		return errShape
	}
	p, err := readPart(v[1].Raw())
	if err != nil {
		return err
	}
	s.kind, s.index, s.fed, s.input = p.kind, index, false, nil
	switch p.kind {
	case "text":
		s.fed = len(p.text) > 2
		s.b.Text(p.text, nil)
	case "thinking":
		s.b.Thinking(p.text)
		if !p.signature.IsEmpty() {
			s.signature = append(s.signature, p.signature[1:len(p.signature)-1]...)
		}
	case "redacted_thinking":
		s.b.Redacted(p.signature)
	case "tool_use":
		s.b.Tool(int(index), p.id, p.name, false)
		if !emptyObject(p.input) {
			s.input = bytes.Clone(p.input)
		}
	default:
		s.raw = bytes.Clone(v[1].Raw())
	}
	return nil
}

// blockStop ends the open block.
func (s *source) blockStop() {
	switch {
	case s.kind == "":
		return
	case s.raw != nil:
		s.other()
	case len(s.signature) > 0:
		s.b.Signature(append(append(translator.Raw{'"'}, s.signature...), '"'))
	case s.input != nil && !s.fed:
		s.b.Input(int(s.index), translator.TextOf(s.input))
	}
	s.b.Close()
	s.kind, s.raw, s.input, s.signature = "", nil, nil, nil
}

// other gives away a block that was collected whole, with the input that came in pieces.
func (s *source) other() {
	raw := s.raw
	if input, err := rawjson.Find(raw, "input"); err == nil && rawjson.Valid(s.input) == nil {
		raw = rawjson.Splice(nil, raw, input, s.input)
	}
	s.b.Other(s.kind, raw)
}

// part is what a content block says, in a stream or in a whole answer.
type part struct {
	kind      string
	text      translator.Raw // text or thinking
	signature translator.Raw // or data
	id, name  string
	input     translator.Raw
	citations translator.Raw // an array
}

var errBlock = errors.New("a content block without what its type demands")

func readPart(obj []byte) (p part, err error) {
	var v [9]rawjson.Value
	if rawjson.Scan(obj, []string{"type", "text", "thinking", "signature", "data", "id", "name", "input", "citations"}, v[:]) != nil {
		return p, errBlock
	}
	if p.kind, _ = v[0].Text(); p.kind == "" {
		return p, errBlock
	}
	ok := true
	text := func(v rawjson.Value, must bool) translator.Raw {
		if v.Kind() == rawjson.String {
			return v.Raw()
		}
		ok = ok && !must && (v.Kind() == rawjson.Absent || v.Kind() == rawjson.Null)
		return nil
	}
	switch p.kind {
	case "text":
		p.text = text(v[1], true)
		if v[8].Kind() == rawjson.Array {
			p.citations = v[8].Raw()
		}
	case "thinking":
		p.text, p.signature = text(v[2], true), text(v[3], false)
	case "redacted_thinking":
		p.signature = text(v[4], true)
	case "tool_use":
		p.id, p.name = text(v[5], true).Text(), text(v[6], true).Text()
		switch v[7].Kind() {
		case rawjson.Object:
			p.input = v[7].Raw()
		case rawjson.Absent, rawjson.Null:
		default:
			ok = false
		}
		ok = ok && p.id != "" && p.name != ""
	}
	if !ok {
		return p, errBlock
	}
	return p, nil
}

// emptyObject reports whether an object has no members.
func emptyObject(obj []byte) bool {
	empty := true
	_ = rawjson.Members(obj, func(_, _ rawjson.Value) bool { empty = false; return false })
	return empty
}

var (
	errReply   = errors.New("the answer is not a message")
	errContent = errors.New("the answer has no content list")
)

// ReadReply implements translator.Back.
func (Codec) ReadReply(body []byte, b *translator.Builder) error {
	var v [6]rawjson.Value
	if rawjson.Scan(body, []string{"type", "id", "content", "stop_reason", "stop_sequence", "usage"}, v[:]) != nil {
		return errNoObject
	}
	if v[0].TextEquals("error") {
		return streamError(body)
	}
	if v[0].Exists() && !v[0].TextEquals("message") {
		return errReply
	}
	if v[2].Kind() != rawjson.Array {
		return errContent
	}
	s := &source{b: b}
	s.meter.Message(body)
	id, _ := v[1].Text()
	b.Start(id)
	s.count(v[5], s.meter.final)
	var err error
	i := 0
	_ = rawjson.Elements(v[2].Raw(), func(e rawjson.Value) bool {
		err = s.whole(i, e)
		i++
		return err == nil
	})
	if err != nil {
		return err
	}
	stop(b, v[3], v[4])
	b.End()
	return b.Status().Broken
}

// whole gives away one block of a whole answer.
func (s *source) whole(i int, v rawjson.Value) error {
	if v.Kind() != rawjson.Object {
		return errBlock
	}
	p, err := readPart(v.Raw())
	if err != nil {
		return err
	}
	b := s.b
	switch p.kind {
	case "text":
		b.Text(p.text, nil)
		if p.citations != nil {
			s.kind, s.fed = "text", len(p.text) > 2
			_ = rawjson.Elements(p.citations, func(c rawjson.Value) bool {
				if c.Kind() == rawjson.Object {
					s.cite(c.Raw())
				}
				return true
			})
		}
	case "thinking":
		b.Thinking(p.text)
		if !p.signature.IsEmpty() {
			b.Signature(p.signature)
		}
	case "redacted_thinking":
		b.Redacted(p.signature)
	case "tool_use":
		b.Tool(i, p.id, p.name, false)
		b.Input(i, translator.TextOf(p.input))
	default:
		b.Other(p.kind, v.Raw())
	}
	b.Close()
	return nil
}
