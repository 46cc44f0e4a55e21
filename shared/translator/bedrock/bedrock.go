// Package bedrock is two wires of Amazon Bedrock's runtime: the codec of Converse and ConverseStream, for any model through the
// hub, and the stream of InvokeModel, which carries Anthropic's Messages events as they are. Both are the
// upstream's half only.
//
// Sources of the wire: the API reference (docs.aws.amazon.com/bedrock/latest/APIReference, API_runtime_*) and the types of
// aws-sdk-go-v2/service/bedrockruntime v1.63.11, which judge both in tests/bedrocksdk; for the stream also
// anthropic-sdk-go/bedrock. What the service refuses without the reference saying so is named where it is heeded.
//
// The package has more than 1,500 lines because a codec is both halves of one dialect: what one writes the other reads.
package bedrock

import (
	"bytes"

	"sluice/shared/eventstream"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// Codec is the Converse dialect. It has no state; the zero value is ready. Its bodies have neither the model, which stands in
// the path, nor whether the answer is streamed, which is another path.
type Codec struct{}

var (
	_ translator.Back   = Codec{}
	_ translator.Framer = Codec{}
	_ translator.Source = (*source)(nil)
	_ translator.Ender  = (*source)(nil)
)

// Names is what the service demands of the names of tools, ^[a-zA-Z0-9_-]{1,64}$, for Request.FitNamesTo, which must come
// before Encode.
func (Codec) Names() translator.NameRule { return translator.NameRule{Most: 64} }

// What stands before the name of an event of Cut that is none: an exception's or an error's.
const (
	exceptionPrefix = "exception/"
	errorPrefix     = "error/"
)

// The event that comes by the hundred, whose name costs no allocation.
var nameDelta = []byte("contentBlockDelta")

// Cut implements translator.Framer. The event's name is the frame's event type and its data the payload; an exception is
// named "exception/" and its type, an error "error/" and its code, so that Source.Event takes them.
func (Codec) Cut(batch []byte) (ev sse.Event, rest []byte, ok bool, err error) {
	m, rest, ok, err := eventstream.Cut(batch)
	if err != nil || !ok {
		return ev, rest, ok, err
	}
	ev.Data, ev.Raw = m.Payload, batch[:len(batch)-len(rest)]
	switch {
	case m.Kind == eventstream.Exception:
		ev.Name = []byte(exceptionPrefix + m.Name)
	case m.Kind == eventstream.Error:
		ev.Name, ev.Data = []byte(errorPrefix+m.Name), errorPayload(&m)
	case m.Name == "contentBlockDelta":
		ev.Name = nameDelta
	default:
		ev.Name = []byte(m.Name)
	}
	return ev, rest, true, nil
}

// errorPayload is what a message of the kind Error says, in the form of an exception's payload.
func errorPayload(m *eventstream.Message) []byte {
	if len(bytes.TrimSpace(m.Payload)) > 0 {
		return m.Payload
	}
	return append(rawjson.AppendString([]byte(`{"message":`), m.Text), '}')
}
