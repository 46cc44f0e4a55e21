package bedrock

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"sync"

	"sluice/shared/eventstream"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
)

// Unwrapper reads the stream of InvokeModelWithResponseStream as the stream of server-sent events that is in it. It is for one
// goroutine at a time. It holds what an eventstream.Reader does and one buffer more, of the length of a batch.
//
// A frame's payload is {"bytes":"<base64 of one event's data>","p":"<padding>"}. Source: anthropic-sdk-go/bedrock.
type Unwrapper struct {
	frames *eventstream.Reader
	lent   *[]byte // out as it was lent
	out    []byte
	err    error // what Batch returns next, and from then on
}

// Unwrap returns the Unwrapper of a stream. max is the most bytes that one frame may have.
func Unwrap(r io.Reader, max int) *Unwrapper {
	return &Unwrapper{frames: eventstream.NewReader(r, max)}
}

const (
	usualOut = 4 << 10
	// keepOut is the largest buffer kept once the events that made it grow have gone.
	keepOut = 64 << 10
)

var outs sync.Pool

func (u *Unwrapper) lend() {
	if p, ok := outs.Get().(*[]byte); ok {
		u.lent = p
	} else {
		b := make([]byte, 0, usualOut)
		u.lent = &b
	}
	u.out = (*u.lent)[:0]
}

// ErrPayload is the error of a frame that is whole and holds no event.
var ErrPayload = errors.New("bedrock: a frame without an event of the Messages API in it")

// Batch returns the events of all frames that are buffered, as whole events of text: "event: <type>\ndata: <json>\n\n". The
// JSON is the model's byte by byte, save for the member amazon-bedrock-invocationMetrics, which is cut out. An exception of
// the service becomes an event "error" of the Messages API, the last of the stream. The slice is good until the next call of
// Batch or Release.
//
// After the last event the error is, and stays, that of eventstream.Reader: io.EOF at the border of a frame or after an
// exception, io.ErrUnexpectedEOF within one; or what is wrong with a frame.
func (u *Unwrapper) Batch() ([]byte, error) {
	if u.err != nil {
		return nil, u.err
	}
	if u.out == nil || cap(u.out) > keepOut {
		u.drop()
		u.lend()
	}
	u.out = u.out[:0]
	for u.err == nil && len(u.out) == 0 {
		var batch []byte
		if batch, u.err = u.frames.Batch(); u.err == nil {
			u.events(batch)
		}
	}
	if len(u.out) == 0 {
		return nil, u.err
	}
	return u.out[:len(u.out):len(u.out)], nil
}

// Release gives the buffers back and must be called when the reader is no longer needed. A second call does nothing.
func (u *Unwrapper) Release() {
	u.frames.Release()
	u.drop()
	if u.err == nil || u.err == io.EOF {
		_, u.err = u.frames.Batch() // says that it was released
	}
}

// drop lets go of the buffer; a large one is not lent again.
func (u *Unwrapper) drop() {
	if u.lent != nil && cap(u.out) <= keepOut {
		*u.lent = u.out[:0]
		outs.Put(u.lent)
	}
	u.lent, u.out = nil, nil
}

// events appends the events of a batch of frames, up to the first thing that ends the stream.
func (u *Unwrapper) events(batch []byte) {
	for len(batch) > 0 {
		m, rest, ok, err := eventstream.Cut(batch)
		switch {
		case err != nil:
			u.err = err
			return
		case !ok:
			u.err = io.ErrUnexpectedEOF
			return
		case m.Kind != eventstream.Event:
			u.fail(&m)
			u.err = io.EOF
			return
		case m.Name == "chunk":
			if u.err = u.chunk(m.Payload); u.err != nil {
				return
			}
		}
		batch = rest
	}
}

// fail appends what ended the stream as an error event.
func (u *Unwrapper) fail(m *eventstream.Message) {
	payload := m.Payload
	if m.Kind == eventstream.Error {
		payload = errorPayload(m)
	}
	e := streamError(m.Name, payload)
	data := rawjson.AppendString([]byte(`{"type":"error","error":{"type":`), e.Type)
	data = rawjson.AppendString(append(data, `,"message":`...), e.Message)
	u.out = sse.AppendEvent(u.out, "error", append(data, "}}"...))
}

const (
	eventLine = "event: "
	dataLine  = "\ndata: "
	blankLine = "\n\n"

	delta      = "content_block_delta"
	deltaLines = eventLine + delta + dataLine
	typeMember = `{"type":"`
	deltaStart = typeMember + delta + `",`
	metrics    = "amazon-bedrock-invocationMetrics"
)

// chunk appends the event of a payload. By far the most are deltas of text, whose place is known before they are decoded.
func (u *Unwrapper) chunk(payload []byte) error {
	text, err := chunkText(payload)
	if err != nil {
		return err
	}
	start := len(u.out)
	u.out = append(u.out, deltaLines...)
	at := len(u.out)
	if u.out, err = base64.StdEncoding.AppendDecode(u.out, text); err != nil {
		u.out = u.out[:start]
		return ErrPayload
	}
	data := u.out[at:]
	if bytes.HasPrefix(data, []byte(deltaStart)) && bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		u.out = append(u.out, blankLine...)
		return nil
	}
	if !u.other(start, data) {
		u.out = u.out[:start]
		return ErrPayload
	}
	return nil
}

// chunkText is the base64 in a payload.
func chunkText(payload []byte) ([]byte, error) {
	const begin = `{"bytes":"`
	if bytes.HasPrefix(payload, []byte(begin)) {
		rest := payload[len(begin):]
		if end := bytes.IndexByte(rest, '"'); end >= 0 && bytes.IndexByte(rest[:end], '\\') < 0 {
			return rest[:end], nil
		}
	}
	v, err := rawjson.Find(payload, "bytes")
	if err != nil {
		return nil, ErrPayload
	}
	text, ok := v.Text()
	if !ok {
		return nil, ErrPayload
	}
	return []byte(text), nil
}

// other puts the event of data, which is in out, in place of what stands there from start on. false: data is no event.
func (u *Unwrapper) other(start int, data []byte) bool {
	v, err := rawjson.Find(data, "type")
	if err != nil {
		return false
	}
	name, ok := v.Text()
	if !ok || name == "" {
		return false
	}
	event := bytes.Clone(data) // a few of these are in an answer
	if bytes.Contains(event, []byte(metrics)) {
		event = withoutMetrics(event)
	}
	u.out = sse.AppendEvent(u.out[:start], name, event)
	return true
}

// withoutMetrics cuts the member out of an event, which is one JSON object.
func withoutMetrics(event []byte) []byte {
	from, to, first := -1, -1, true
	_ = rawjson.Members(event, func(key, value rawjson.Value) bool {
		if key.TextEquals(metrics) {
			from, to = key.Offset(), value.Offset()+len(value.Raw())
			return false
		}
		first = false
		return true
	})
	switch {
	case from < 0:
		return event
	case !first:
		from = bytes.LastIndexByte(event[:from], ',')
	default:
		rest := bytes.TrimLeft(event[to:], " \t\r\n")
		if len(rest) > 0 && rest[0] == ',' {
			to = len(event) - len(rest) + 1
		}
	}
	return append(event[:from:from], event[to:]...)
}

var _ interface {
	Batch() ([]byte, error)
	Release()
} = (*Unwrapper)(nil)
