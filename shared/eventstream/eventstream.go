// Package eventstream reads AWS's binary event streams (application/vnd.amazon.eventstream): a pull reader that hands out
// whole frames as they arrived, and a parser for one frame.
//
// A frame is a prelude (length of the frame, length of its headers, checksum of the two, 4 bytes each, big endian), headers,
// payload, and a checksum of all before it. Source: docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html and
// the decoder of aws-sdk-go-v2/aws/protocol/eventstream, which the tests hold this one to. That decoder makes nearly forty
// allocations for each frame, and reads frames of any length; a relay of thousands of streams can afford neither.
package eventstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Kind is the type of a message.
type Kind uint8

// The kinds, of the header :message-type.
const (
	Event     Kind = iota
	Exception      // one that the service's model knows; it ends the stream
	Error          // any other failure; it ends the stream
)

// Message is what a frame says. Payload is a view of the batch it was cut from, good as long as that is.
type Message struct {
	Kind    Kind
	Name    string // :event-type, :exception-type or :error-code; empty: there is none
	Text    string // :error-message
	Payload []byte
}

// ExceptionError is a message of the kind Exception.
type ExceptionError struct {
	Name    string
	Payload []byte // a copy, JSON as a rule
}

// Error implements error. The payload is not in it: it may have the request in it.
func (e *ExceptionError) Error() string {
	return "the upstream's stream ended with the exception " + e.Name
}

// FrameError is a message of the kind Error.
type FrameError struct{ Code, Message string }

// Error implements error.
func (e *FrameError) Error() string {
	return "the upstream's stream ended with the error " + e.Code + ": " + e.Message
}

// Err returns nil for an event, else an *ExceptionError or a *FrameError.
func (m *Message) Err() error {
	switch m.Kind {
	case Exception:
		return &ExceptionError{Name: m.Name, Payload: append([]byte(nil), m.Payload...)}
	case Error:
		return &FrameError{Code: m.Name, Message: m.Text}
	}
	return nil
}

// ErrCorrupt is what Batch and Cut return, wrapped, for bytes that are no frame: a checksum that does not match, lengths that
// contradict each other, headers that cannot be read.
var ErrCorrupt = errors.New("eventstream: corrupt frame")

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// Lengths in bytes.
const (
	prelude  = 12
	trailer  = 4
	smallest = prelude + trailer
)

// frame checks a prelude and returns the lengths it tells.
func frame(b []byte) (length, headers uint32, err error) {
	if crc32.ChecksumIEEE(b[:8]) != binary.BigEndian.Uint32(b[8:]) {
		return 0, 0, corrupt("the checksum of its prelude does not match")
	}
	length, headers = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if length < smallest || headers > length-smallest {
		return 0, 0, corrupt("its lengths are impossible")
	}
	return length, headers, nil
}

// Cut decodes the first frame of batch and returns the bytes after it. ok is false without an error, and rest is batch, when
// batch does not begin with a whole frame; batches of [Reader.Batch] are empty then. Both checksums are checked. An error
// wraps ErrCorrupt; no frame behind it can be relied on.
func Cut(batch []byte) (m Message, rest []byte, ok bool, err error) {
	if len(batch) < prelude {
		return m, batch, false, nil
	}
	length, headers, err := frame(batch)
	if err != nil {
		return m, batch, false, err
	}
	if uint64(len(batch)) < uint64(length) {
		return m, batch, false, nil
	}
	raw, rest := batch[:length:length], batch[length:]
	end := len(raw) - trailer
	if crc32.ChecksumIEEE(raw[:end]) != binary.BigEndian.Uint32(raw[end:]) {
		return m, batch, false, corrupt("its checksum does not match")
	}
	if m, err = message(raw[prelude : prelude+headers]); err != nil {
		return Message{}, batch, false, err
	}
	m.Payload = raw[prelude+headers : end : end]
	return m, rest, true, nil
}

// message reads the headers that matter.
func message(headers []byte) (m Message, err error) {
	var kind, event, exception, code, text []byte
	for len(headers) > 0 {
		name, value, rest, err := header(headers)
		if err != nil {
			return m, err
		}
		switch headers = rest; string(name) {
		case ":message-type":
			kind = value
		case ":event-type":
			event = value
		case ":exception-type":
			exception = value
		case ":error-code":
			code = value
		case ":error-message":
			text = value
		}
	}
	switch string(kind) {
	case "event":
		return Message{Kind: Event, Name: intern(event)}, nil
	case "exception":
		return Message{Kind: Exception, Name: intern(exception)}, nil
	case "error":
		return Message{Kind: Error, Name: intern(code), Text: string(text)}, nil
	}
	return m, corrupt("its message type is unknown")
}

// Types of header values.
const (
	typeTrue = iota
	typeFalse
	typeByte
	typeInt16
	typeInt32
	typeInt64
	typeBytes
	typeString
	typeTime
	typeUUID
	types
)

// sizes are those of the values; -1: two bytes of length come first.
var sizes = [types]int8{typeByte: 1, typeInt16: 2, typeInt32: 4, typeInt64: 8, typeBytes: -1, typeString: -1, typeTime: 8, typeUUID: 16}

// header takes the first header off b. value is nil when it is no string.
func header(b []byte) (name, value, rest []byte, err error) {
	n := 1 + int(b[0])
	if len(b) < n+1 || b[n] >= types {
		return nil, nil, nil, corrupt("a header is cut short, or has a type that does not exist")
	}
	name, typ, b := b[1:n], b[n], b[n+1:]
	size := int(sizes[typ])
	if size < 0 {
		if len(b) < 2 {
			return nil, nil, nil, corrupt("a header is cut short")
		}
		size, b = int(binary.BigEndian.Uint16(b)), b[2:]
	}
	if len(b) < size {
		return nil, nil, nil, corrupt("a header is cut short")
	}
	if typ == typeString {
		value = b[:size]
	}
	return name, value, b[size:], nil
}

// intern returns a name as a string. Those that come by the hundred cost no allocation.
func intern(name []byte) string {
	switch string(name) {
	case "assistantResponseEvent":
		return "assistantResponseEvent"
	case "reasoningContentEvent":
		return "reasoningContentEvent"
	case "toolUseEvent":
		return "toolUseEvent"
	case "contentBlockDelta":
		return "contentBlockDelta"
	case "chunk":
		return "chunk"
	}
	return string(name)
}
