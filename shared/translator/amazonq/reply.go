package amazonq

import (
	"bytes"
	"errors"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

var errPart = errors.New("the upstream's answer ended within a frame")

// ReadReply implements translator.Back: the service has no other form of an answer than the stream, so a body is all frames
// of one.
func (c Codec) ReadReply(body []byte, b *translator.Builder) error {
	if err := inPlace(body); err != nil {
		return err
	}
	s := &source{b: b}
	for rest := body; len(rest) > 0 && !b.Status().Ended; {
		ev, next, ok, err := c.Cut(rest)
		if err == nil && !ok {
			err = errPart
		}
		if err == nil {
			err = s.Event(ev)
		}
		if err != nil {
			return err
		}
		rest = next
	}
	if err := s.End(); err != nil {
		return err
	}
	return b.Whole()
}

// inPlace is the error that a body is, in place of an answer: JSON with a type.
func inPlace(body []byte) error {
	doc := bytes.TrimSpace(body)
	if len(doc) == 0 || doc[0] != '{' {
		return nil
	}
	if v, err := rawjson.Find(doc, "__type"); err != nil || !v.Exists() {
		return nil
	}
	return Codec{}.ParseError(0, doc)
}
