package upstreamtest

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
)

// EventStreamType is the content type of [AmazonQ]'s streams, for [Raw].
const EventStreamType = "application/vnd.amazon.eventstream"

// Frame returns one event of [AmazonQ] as it stands on the wire, made by AWS's
// own encoder, for [Behaviour.Inject] and [Raw].
func Frame(eventType, payload string) string {
	return FrameOf(payload, eventstreamapi.MessageTypeHeader, eventstreamapi.EventMessageType,
		eventstreamapi.EventTypeHeader, eventType, eventstreamapi.ContentTypeHeader, "application/json")
}

// ExceptionFrame returns an exception frame. The type is error for the service's
// own failures, else the name of a shape.
func ExceptionFrame(exceptionType, payload string) string {
	return FrameOf(payload, eventstreamapi.MessageTypeHeader, eventstreamapi.ExceptionMessageType,
		eventstreamapi.ExceptionTypeHeader, exceptionType, eventstreamapi.ContentTypeHeader, "application/json")
}

// ErrorFrame returns a frame of the message type error, which is for errors that
// the service's model does not have.
func ErrorFrame(code, message string) string {
	return FrameOf("", eventstreamapi.MessageTypeHeader, eventstreamapi.ErrorMessageType,
		eventstreamapi.ErrorCodeHeader, code, eventstreamapi.ErrorMessageHeader, message)
}

// FrameOf returns a frame with the given payload and string headers, which are
// names and values in turns. A header that cannot be encoded is a panic.
func FrameOf(payload string, headers ...string) string {
	m := eventstream.Message{Payload: []byte(payload), Headers: make(eventstream.Headers, 0, len(headers)/2)}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Headers = append(m.Headers, eventstream.Header{Name: headers[i], Value: eventstream.StringValue(headers[i+1])})
	}
	var b bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
		panic("upstreamtest: encode frame: " + err.Error())
	}
	return b.String()
}

// initialFrame is the answer's first frame, which awsJson1.0 puts before the
// events for the members of the answer that are no stream.
func initialFrame(payload string) []byte {
	return []byte(FrameOf(payload, eventstreamapi.MessageTypeHeader, eventstreamapi.EventMessageType,
		eventstreamapi.EventTypeHeader, "initial-response", eventstreamapi.ContentTypeHeader, awsJSON))
}

// qBuilder lays out an answer of Amazon Q. Its frames are the same for every
// request but for the first two.
type qBuilder struct{ *builder }

func (s *spec) compileAmazonQ(b *builder) {
	b.frame = func(f *fault) []byte { return f.amazonQ().frame() }
	q := qBuilder{b}
	q.at(AfterHeaders)
	if !s.noStart {
		q.slot(slotInitial)
		q.slot(slotMetadata)
	}
	q.at(AfterStart)
	for i := 0; i < len(s.blocks); {
		n := 1
		if s.interleave && isTool(s.blocks[i]) {
			for i+n < len(s.blocks) && isTool(s.blocks[i+n]) {
				n++
			}
		}
		q.blocks(s.blocks[i : i+n])
		i += n
	}
	q.from(q.seen + 1)
	if !s.noUsage {
		q.send("metadataEvent", `{"tokenUsage":`+s.openAIUsage().amazonQ()+`}`)
	}
	if s.percent != 0 {
		q.send("contextUsageEvent", `{"contextUsagePercentage":`+strconv.FormatFloat(s.percent, 'f', -1, 64)+`}`)
	}
	q.at(BeforeStop)
	q.send("meteringEvent", `{"unit":"credit","unitPlural":"credits","usage":0.05}`)
	q.at(AfterStop)
	q.flushInside()
}

// slot adds a frame that differs for each request.
func (q qBuilder) slot(slot string) {
	q.event(op{kind: opStart, parts: template{{slot: int8(slot[0])}}})
}

func (q qBuilder) send(name, payload string) {
	q.event(op{kind: opWrite, data: []byte(Frame(name, payload))})
}

// delta adds the frame of a delta with what goes before and after it.
func (q qBuilder) delta(name, payload string) {
	if q.seen > 0 && q.s.every > 0 {
		q.add(op{kind: opPause, pause: q.s.every})
	}
	q.send(name, payload)
	q.seen++
	q.at(AfterDeltas(q.seen))
}

func isTool(b Block) bool { return b.form == formTool || b.form == formCustomTool }

// blocks adds one block, or tools whose fragments come in turns.
func (q qBuilder) blocks(all []Block) {
	if isTool(all[0]) {
		q.tools(all)
		return
	}
	name, member := "assistantResponseEvent", "content"
	blk := all[0]
	switch blk.form {
	case formText, formRefusal:
	case formReasoning, formReasoningText:
		name, member = "reasoningContentEvent", "text"
	default:
		return
	}
	for _, part := range blk.parts {
		for _, text := range part {
			q.delta(name, `{"`+member+`":`+quote(text)+`}`)
		}
	}
	switch {
	case blk.form != formReasoning || blk.data == "":
	case len(blk.deltas) == 0:
		q.send(name, `{"redactedContent":`+quote(blob(blk.data))+`}`)
	default:
		q.send(name, `{"signature":`+quote(blk.data)+`}`)
	}
}

// blob is data as a blob of the protocol: base64, which opaque data of another
// API usually is already.
func blob(data string) string {
	if _, err := base64.StdEncoding.DecodeString(data); err == nil {
		return data
	}
	return base64.StdEncoding.EncodeToString([]byte(data))
}

// tools sends names first, then the fragments, and a stop after each one's last.
func (q qBuilder) tools(all []Block) {
	ends := make([]string, len(all))
	left := make([][]string, len(all))
	for i, blk := range all {
		ends[i] = `"name":` + quote(blk.name) + `,"toolUseId":` + quote(blk.id) + `}`
		switch {
		case blk.form == formCustomTool:
			left[i] = []string{`{"input":` + quote(strings.Join(blk.parts[0], "")) + `}`}
		case len(blk.deltas) == 1: // no fragments but the empty one: no input at all
			left[i] = []string{}
		default:
			left[i] = blk.parts[0]
		}
		q.send("toolUseEvent", `{`+ends[i])
	}
	for open := len(all); open > 0; {
		for i := range all {
			if left[i] == nil {
				continue
			}
			if len(left[i]) > 0 {
				q.delta("toolUseEvent", `{"input":`+quote(left[i][0])+`,`+ends[i])
				left[i] = left[i][1:]
			}
			if len(left[i]) == 0 {
				q.send("toolUseEvent", `{"name":`+quote(all[i].name)+`,"stop":true,"toolUseId":`+quote(all[i].id)+`}`)
				left[i] = nil
				open--
			}
		}
	}
}

func (u Usage) amazonQ() string {
	n := strconv.Itoa
	return `{"cacheReadInputTokens":` + n(u.CacheRead) + `,"cacheWriteInputTokens":` + n(u.CacheWrite5m+u.CacheWrite1h) +
		`,"outputTokens":` + n(u.Output) + `,"totalTokens":` + n(u.input()+u.Output) + `,"uncachedInputTokens":` + n(u.Input) + `}`
}
