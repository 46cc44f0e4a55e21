package openaichat

import (
	"sluice/shared/translator"
)

// sink writes a stream of chunks.
type sink struct {
	r      *translator.Request // may be nil
	head   []byte              // of every chunk, up to its choices
	delta  []byte              // of a chunk with a delta: head and the beginning of its choice
	tail   []byte              // of a chunk with a delta and no finish_reason
	end    []byte              // of a chunk that has no usage
	legacy bool

	calls   int64 // begun
	custom  bool  // the open call is one with text
	input   []byte
	silent  bool // the open call is not shown
	details int64
	refused bool
	chars   int64 // of content so far
	base    int64 // where in it the open block begins
}

// NewSink implements translator.Front. Every chunk bears one id (D33); the usage goes into a chunk of its own, and only
// where the client asked for it (D34).
func (Codec) NewSink(o translator.ReplyOptions) translator.Sink {
	s := &sink{r: o.Request}
	w := writer{b: append(make([]byte, 0, 256), `data: {`...)}
	w.str("id", chatID(o.ID))
	w.lit(`,"object":"chat.completion.chunk"`)
	w.b = appendInt(w.b, `,"created":`, o.Created)
	w.str("model", o.Model)
	s.head = w.b
	s.delta = append(append([]byte(nil), s.head...), `,"choices":[{"index":0,"delta":{`...)
	s.end = []byte("}\n\n")
	if s.usage() {
		s.end = []byte(`,"usage":null}` + "\n\n")
	}
	s.tail = append([]byte(`},"logprobs":null,"finish_reason":null}]`), s.end...)
	s.legacy = o.Request != nil && o.Request.Legacy
	return s
}

func (s *sink) usage() bool { return s.r != nil && s.r.IncludeUsage }

// Event implements translator.Sink.
func (s *sink) Event(dst []byte, e *translator.Event) []byte {
	switch e.Type {
	case translator.EvStart:
		return s.chunk(dst, `"role":"assistant","content":`, translator.EmptyString, "")
	case translator.EvText:
		return s.text(dst, e)
	case translator.EvThinking:
		return s.chunk(dst, `"reasoning_content":`, e.Data, "")
	case translator.EvSignature:
		return s.detail(dst, e.Block, e.Data)
	case translator.EvCitation:
		if note := appendNote(nil, e.Citation, s.base, s.chars-s.base); note != nil {
			return s.chunk(dst, `"annotations":[`, note, "]")
		}
	case translator.EvBlockStart:
		return s.open(dst, e.Block)
	case translator.EvInput:
		return s.piece(dst, e.Data)
	case translator.EvBlockStop:
		return s.close(dst, e.Block)
	case translator.EvFinal:
		return s.final(dst, e)
	case translator.EvStop:
		return append(dst, "data: [DONE]\n\n"...)
	}
	return dst
}

// Fail implements translator.Sink.
func (s *sink) Fail(dst []byte, e *translator.Error) []byte {
	return Codec{}.AppendErrorEvent(dst, e, translator.ReplyOptions{})
}

// chunk appends a chunk whose delta is name, value and rest.
func (s *sink) chunk(dst []byte, name string, value []byte, rest string) []byte {
	dst = append(dst, s.delta...)
	dst = append(dst, name...)
	dst = append(dst, value...)
	dst = append(dst, rest...)
	return append(dst, s.tail...)
}

func (s *sink) text(dst []byte, e *translator.Event) []byte {
	name := `"content":`
	if e.Block != nil && e.Block.Refusal {
		name = `"refusal":`
		s.refused = true
	} else {
		s.chars += characters(e.Data)
	}
	if len(e.Logprobs) <= 2 {
		return s.chunk(dst, name, e.Data, "")
	}
	dst = append(dst, s.delta...)
	dst = append(dst, name...)
	dst = append(dst, e.Data...)
	dst = append(dst, `},"logprobs":{"content":`...)
	from := len(dst)
	dst = append(dst, e.Logprobs...)
	for i := from; i < len(dst); i++ { // a line end of the upstream's formatting would end the event's data
		if dst[i] == '\n' || dst[i] == '\r' {
			dst[i] = ' '
		}
	}
	dst = append(dst, `,"refusal":null},"finish_reason":null}]`...)
	return append(dst, s.end...)
}

// detail appends what its upstream wants back of a thinking block. The text has gone out before.
func (s *sink) detail(dst []byte, b *translator.Block, signature translator.Raw) []byte {
	d := appendDetail(nil, b, signature, translator.EmptyString, s.details)
	s.details++
	return s.chunk(dst, `"reasoning_details":[`, d, "]")
}

// open begins a block. A call's id and name come first, in a chunk of their own (D35).
func (s *sink) open(dst []byte, b *translator.Block) []byte {
	s.base = s.chars
	switch b.Type {
	case translator.BlockRedacted:
		return s.detail(dst, b, b.Signature)
	case translator.BlockToolUse:
	default:
		return dst
	}
	s.calls++
	s.input = s.input[:0]
	s.custom = isCustom(b, s.r) && !s.legacy
	s.silent = true // until there is input
	w := writer{}
	if s.legacy {
		if s.calls > 1 {
			return dst
		}
		w.lit(`"function_call":{`)
		w.str("name", b.Name)
		w.lit(`,"arguments":""}`)
		return s.chunk(dst, "", w.b, "")
	}
	w.b = appendInt(w.b, `"tool_calls":[{"index":`, s.calls-1)
	w.str("id", b.ID)
	if s.custom {
		w.lit(`,"type":"custom","custom":{`)
		w.str("name", b.Name)
		w.lit(`,"input":""}}]`)
	} else {
		w.lit(`,"type":"function","function":{`)
		w.str("name", b.Name)
		w.lit(`,"arguments":""}}]`)
	}
	return s.chunk(dst, "", w.b, "")
}

// piece appends a piece of a call's input. The text of a custom call is within the hub's JSON and can be told when that is
// whole.
func (s *sink) piece(dst []byte, data translator.Raw) []byte {
	if s.custom {
		s.input = append(s.input, data[1:len(data)-1]...)
		return dst
	}
	s.silent = false
	if s.legacy {
		if s.calls > 1 {
			return dst
		}
		return s.chunk(dst, `"function_call":{"arguments":`, data, "}")
	}
	dst = append(dst, s.delta...)
	dst = appendInt(dst, `"tool_calls":[{"index":`, s.calls-1)
	dst = append(dst, `,"function":{"arguments":`...)
	dst = append(dst, data...)
	dst = append(dst, "}}]"...)
	return append(dst, s.tail...)
}

// close ends a call: one without input has the empty object, since clients parse what they were sent.
func (s *sink) close(dst []byte, b *translator.Block) []byte {
	if b.Type != translator.BlockToolUse {
		return dst
	}
	if !s.custom {
		if s.silent {
			return s.piece(dst, translator.Raw(`"{}"`))
		}
		return dst
	}
	whole := append(append([]byte{'"'}, s.input...), '"')
	dst = append(dst, s.delta...)
	dst = appendInt(dst, `"tool_calls":[{"index":`, s.calls-1)
	dst = append(dst, `,"custom":{"input":`...)
	dst = append(dst, translator.CustomText(translator.ObjectOf(whole))...)
	dst = append(dst, "}}]"...)
	return append(dst, s.tail...)
}

func (s *sink) final(dst []byte, e *translator.Event) []byte {
	dst = append(dst, s.delta...)
	dst = append(dst, `},"logprobs":null,"finish_reason":"`...)
	dst = append(dst, finishReason(e.Stop, s.refused, s.legacy)...)
	dst = append(dst, `"}]`...)
	dst = append(dst, s.end...)
	if s.usage() {
		dst = append(dst, s.head...)
		dst = append(dst, `,"choices":[],"usage":`...)
		dst = appendUsage(dst, e.Usage)
		dst = append(dst, "}\n\n"...)
	}
	return dst
}
