package anthropic

import (
	"strconv"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// NewSink implements translator.Front.
func (Codec) NewSink(o translator.ReplyOptions) translator.Sink { return &sink{o: o} }

type sink struct {
	o     translator.ReplyOptions
	delta []byte // the beginning of the open block's deltas, up to their data
	data  []byte // scratch
}

// Event implements translator.Sink.
func (s *sink) Event(dst []byte, e *translator.Event) []byte {
	switch e.Type {
	case translator.EvText, translator.EvThinking, translator.EvInput:
		dst = append(dst, s.delta...)
		dst = append(dst, e.Data...)
		return append(dst, "}}\n\n"...)
	case translator.EvStart:
		return s.start(dst, e)
	case translator.EvBlockStart:
		return s.blockStart(dst, e)
	case translator.EvSignature:
		dst = s.deltaHead(dst, e.Index, `signature_delta","signature`)
		return append(append(dst, e.Data...), "}}\n\n"...)
	case translator.EvCitation:
		if e.Citation.Raw == nil {
			return dst // of another API, which has not what this one demands
		}
		s.data = append(s.data[:0], `{"type":"content_block_delta","index":`...)
		s.data = strconv.AppendInt(s.data, int64(e.Index), 10)
		s.data = append(s.data, `,"delta":{"type":"citations_delta","citation":`...)
		s.data = append(append(s.data, e.Citation.Raw...), "}}"...)
		return sse.AppendEvent(dst, "content_block_delta", s.data)
	case translator.EvBlockStop:
		dst = append(dst, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"...)
		return append(strconv.AppendInt(dst, int64(e.Index), 10), "}\n\n"...)
	case translator.EvFinal:
		return final(dst, e)
	case translator.EvStop:
		return append(dst, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
	}
	return dst
}

// Fail implements translator.Sink.
func (s *sink) Fail(dst []byte, e *translator.Error) []byte {
	return Codec{}.AppendErrorEvent(dst, e, s.o)
}

func (s *sink) start(dst []byte, e *translator.Event) []byte {
	dst = append(dst, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"...)
	dst = appendHead(dst, s.o)
	dst = append(dst, `,"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	return append(appendUsage(dst, e.Usage), "}}\n\n"...)
}

// appendHead appends what a message is before its content.
func appendHead(dst []byte, o translator.ReplyOptions) []byte {
	dst = rawjson.AppendString(append(dst, `"id":`...), "msg_"+o.ID)
	dst = append(dst, `,"type":"message","role":"assistant"`...)
	return stringMember(dst, "model", o.Model)
}

// appendUsage appends the whole usage object. What is not known is 0: clients add to what is there.
func appendUsage(dst []byte, u *translator.Usage) []byte {
	dst = appendWrites(appendCounts(dst, u), u)
	tier := "standard"
	if u.Tier == "priority" || u.Tier == "batch" {
		tier = u.Tier
	}
	return append(stringMember(dst, "service_tier", tier), '}')
}

// appendWrites appends how what was written to caches splits by the time that it stays there, which the price depends on.
func appendWrites(dst []byte, u *translator.Usage) []byte {
	dst = strconv.AppendInt(append(dst, `,"cache_creation":{"ephemeral_5m_input_tokens":`...), u.CacheWrite5m, 10)
	dst = strconv.AppendInt(append(dst, `,"ephemeral_1h_input_tokens":`...), u.CacheWrite1h, 10)
	return append(dst, '}')
}

// appendCounts appends the counts of a usage object and leaves it open.
func appendCounts(dst []byte, u *translator.Usage) []byte {
	dst = strconv.AppendInt(append(dst, `{"input_tokens":`...), u.Input, 10)
	dst = strconv.AppendInt(member(dst, "cache_creation_input_tokens", nil), u.CacheWrite5m+u.CacheWrite1h, 10)
	dst = strconv.AppendInt(member(dst, "cache_read_input_tokens", nil), u.CacheRead, 10)
	dst = strconv.AppendInt(member(dst, "output_tokens", nil), u.Output, 10)
	if u.Reasoning > 0 {
		dst = strconv.AppendInt(append(dst, `,"output_tokens_details":{"thinking_tokens":`...), u.Reasoning, 10)
		dst = append(dst, '}')
	}
	return dst
}

func (s *sink) blockStart(dst []byte, e *translator.Event) []byte {
	s.data = append(s.data[:0], `{"type":"content_block_start","index":`...)
	s.data = strconv.AppendInt(s.data, int64(e.Index), 10)
	s.data = append(s.data, `,"content_block":`...)
	s.data = append(appendBlock(s.data, e.Block, s.o.ID, e.Index, true), '}')
	kind := `text_delta","text`
	switch e.Block.Type {
	case translator.BlockThinking:
		kind = `thinking_delta","thinking`
	case translator.BlockToolUse:
		kind = `input_json_delta","partial_json`
	}
	s.delta = s.deltaHead(s.delta[:0], e.Index, kind)
	return sse.AppendEvent(dst, "content_block_start", s.data)
}

// deltaHead appends a delta event up to its data; kind is the type and the field, with the quotes between them.
func (s *sink) deltaHead(dst []byte, index int, kind string) []byte {
	dst = append(dst, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	dst = strconv.AppendInt(dst, int64(index), 10)
	dst = append(dst, `,"delta":{"type":"`...)
	dst = append(dst, kind...)
	return append(dst, `":`...)
}

// final appends the message_delta. Its usage is cumulative and whole: the SDKs put it in place of message_start's. Anthropic
// has cache_creation in message_start only; of an upstream that counts at the end, the split of what was written is known
// here first (D27). Where nothing was, message_start has told the same.
func final(dst []byte, e *translator.Event) []byte {
	dst = append(dst, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"...)
	dst = append(appendStop(dst, e.Stop, e.Sequence), `},"usage":`...)
	dst = appendCounts(dst, e.Usage)
	if e.Usage.CacheWrite5m+e.Usage.CacheWrite1h > 0 {
		dst = appendWrites(dst, e.Usage)
	}
	return append(dst, "}}\n\n"...)
}

func appendStop(dst []byte, reason translator.StopReason, sequence translator.Raw) []byte {
	dst = rawjson.AppendString(append(dst, `"stop_reason":`...), string(reason))
	if len(sequence) == 0 {
		sequence = translator.Raw("null")
	}
	return member(dst, "stop_sequence", sequence)
}

// appendBlock appends a content block; bare: as it begins in a stream, without its text and input.
func appendBlock(dst []byte, b *translator.Block, id string, index int, bare bool) []byte {
	text := b.Text
	if bare || len(text) == 0 {
		text = translator.EmptyString
	}
	switch b.Type {
	case translator.BlockThinking:
		dst = append(append(dst, `{"type":"thinking","thinking":`...), text...)
		signature := b.Signature
		if bare || len(signature) == 0 {
			signature = translator.EmptyString
		}
		dst = member(dst, "signature", signature)
	case translator.BlockRedacted:
		dst = append(append(dst, `{"type":"redacted_thinking","data":`...), b.Signature...)
	case translator.BlockToolUse:
		call := b.ID
		if call == "" {
			call = "toolu_" + id + "_" + strconv.Itoa(index)
		}
		dst = rawjson.AppendString(append(dst, `{"type":"tool_use","id":`...), call)
		dst = stringMember(dst, "name", b.Name)
		input := b.Input
		if bare || len(input) == 0 {
			input = translator.EmptyObject
		}
		dst = member(dst, "input", input)
	case translator.BlockOther:
		return append(dst, b.Raw...)
	default:
		dst = append(append(dst, `{"type":"text","text":`...), text...)
		if !bare {
			dst = appendCitations(dst, b.Citations)
		}
	}
	return append(dst, '}')
}

func appendCitations(dst []byte, list []translator.Citation) []byte {
	n := 0
	for i := range list {
		if list[i].Raw == nil {
			continue
		}
		if n++; n == 1 {
			dst = append(dst, `,"citations":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, list[i].Raw...)
	}
	if n > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// AppendReply implements translator.Front.
func (Codec) AppendReply(dst []byte, r *translator.Reply, o translator.ReplyOptions) []byte {
	dst = append(appendHead(append(dst, '{'), o), `,"content":[`...)
	for i := range r.Blocks {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendBlock(dst, &r.Blocks[i], o.ID, i, false)
	}
	dst = appendStop(append(dst, `],`...), r.Stop, r.Sequence)
	dst = appendUsage(append(dst, `,"usage":`...), &r.Usage)
	return append(dst, '}')
}
