package bedrock

import (
	"errors"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

var (
	errReply = errors.New("the answer is not one of Converse")
	errBlock = errors.New("a content block without what its type demands")
)

// ReadReply implements translator.Back for the body of an answer to Converse.
func (c Codec) ReadReply(body []byte, b *translator.Builder) error {
	var v [7]rawjson.Value
	if rawjson.Scan(body, []string{"output", "stopReason", "usage", "additionalModelResponseFields", "serviceTier", "__type", "message"}, v[:]) != nil {
		return errNotJSON
	}
	if v[0].Kind() != rawjson.Object {
		if v[5].Exists() || v[6].Kind() == rawjson.String {
			return c.ParseError(0, body)
		}
		return errReply
	}
	content, err := rawjson.Find(v[0].Raw(), "message", "content")
	if err != nil || content.Kind() != rawjson.Array {
		return errReply
	}
	s := &source{b: b}
	b.Start("")
	i := 0
	_ = rawjson.Elements(content.Raw(), func(e rawjson.Value) bool { // checked as part of the body
		err = s.whole(i, e)
		i++
		return err == nil
	})
	if err != nil {
		return err
	}
	if s.usage(v[2]) {
		s.tier(v[4])
	}
	s.stop(v[1], v[3])
	if s.failed != nil {
		return s.failed
	}
	b.End()
	return b.Whole()
}

// whole gives away one block of a whole answer.
func (s *source) whole(i int, v rawjson.Value) error {
	if v.Kind() != rawjson.Object {
		return errBlock
	}
	var p [4]rawjson.Value
	if rawjson.Scan(v.Raw(), []string{"text", "toolUse", "reasoningContent", "citationsContent"}, p[:]) != nil {
		return errBlock
	}
	switch {
	case p[0].Kind() == rawjson.String:
		s.b.Text(p[0].Raw(), nil)
	case p[1].Kind() == rawjson.Object:
		return s.wholeCall(i, p[1].Raw())
	case p[2].Kind() == rawjson.Object:
		return s.wholeThinking(p[2].Raw())
	case p[3].Kind() == rawjson.Object:
		return s.wholeCited(p[3].Raw())
	}
	s.b.Close()
	return nil
}

func (s *source) wholeCall(i int, obj []byte) error {
	s.index = int64(i)
	if err := s.call(s.index, obj); err != nil {
		return err
	}
	if s.kind == kindCall {
		input, err := rawjson.Find(obj, "input")
		if err != nil || input.Kind() != rawjson.Object && input.Kind() > rawjson.Null {
			return errBlock
		}
		if input.Kind() == rawjson.Object {
			s.b.Input(i, translator.TextOf(input.Raw()))
			s.fed = true
		}
	}
	s.blockStop()
	return nil
}

func (s *source) wholeThinking(obj []byte) error {
	var v [2]rawjson.Value
	if rawjson.Scan(obj, []string{"reasoningText", "redactedContent"}, v[:]) != nil {
		return errBlock
	}
	if v[1].Kind() == rawjson.String {
		s.b.Redacted(v[1].Raw())
		return nil
	}
	if v[0].Kind() != rawjson.Object {
		return errBlock
	}
	if err := s.reasoning(s.index+1, v[0].Raw()); err != nil {
		return err
	}
	s.blockStop()
	return nil
}

// wholeCited gives away a text with its citations.
func (s *source) wholeCited(obj []byte) error {
	var v [2]rawjson.Value
	if rawjson.Scan(obj, []string{"content", "citations"}, v[:]) != nil || v[0].Kind() != rawjson.Array {
		return errBlock
	}
	text := translator.Raw(cited(v[0]))
	s.b.Text(text, nil)
	s.fed = len(text) > 2
	if v[1].Kind() == rawjson.Array {
		_ = rawjson.Elements(v[1].Raw(), func(e rawjson.Value) bool {
			if e.Kind() == rawjson.Object {
				s.cite(e.Raw())
			}
			return true
		})
	}
	s.fed = false
	s.b.Close()
	return nil
}
