// Package anthropic knows the Anthropic Messages wire: which event is which, what it says of usage, and how errors look.
// Codec is its part in the hub: both halves and the tap. Source of the grammar: platform.claude.com/docs (streaming,
// errors) and the official SDK's types.
//
// The package has more than 1,500 lines because a codec is both halves of one dialect: what one writes the other reads.
package anthropic

import (
	"sluice/shared/rawjson"
	"sluice/shared/sse"
)

// EventKind is what an event means to a relay.
type EventKind uint8

// The kinds of events.
const (
	EventOther      EventKind = iota // unknown: passed on, and counted as content
	EventStart                       // message_start
	EventBlockStart                  // content_block_start
	EventContent                     // a delta with something in it, content_block_stop
	EventEmpty                       // a delta with nothing in it
	EventDelta                       // message_delta
	EventStop                        // message_stop: the only clean end
	EventPing                        // ping, or a comment
	EventError                       // error
)

// Kind tells what an event is, by its name or, where a relay left that out, by the type in its data.
func Kind(ev sse.Event) EventKind {
	name := string(ev.Name)
	if len(ev.Name) == 0 {
		if len(ev.Data) == 0 {
			return EventPing
		}
		v, err := rawjson.Find(ev.Data, "type")
		if err != nil {
			return EventOther
		}
		name, _ = v.Text()
	}
	switch name {
	case "content_block_delta":
		return EventContent
	case "content_block_stop":
		return EventContent
	case "content_block_start":
		return EventBlockStart
	case "message_start":
		return EventStart
	case "message_delta":
		return EventDelta
	case "message_stop":
		return EventStop
	case "ping":
		return EventPing
	case "error":
		return EventError
	}
	return EventOther
}

// Empty reports whether a content event carries nothing yet, so that another node could still take over unseen.
func Empty(ev sse.Event) bool {
	delta, err := rawjson.Find(ev.Data, "delta")
	if err != nil || delta.Kind() != rawjson.Object {
		return false
	}
	for _, name := range []string{"text", "partial_json", "thinking"} {
		v, err := rawjson.Find(delta.Raw(), name)
		if err == nil && v.TextEquals("") {
			return true
		}
	}
	return false
}

// Valid reports whether the data of an event that a relay must understand is a JSON object.
func Valid(ev sse.Event) bool { return rawjson.Scan(ev.Data, nil, nil) == nil }

// Ping is a keep-alive event.
var ping = []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n")

// told is what an error event says.
type told struct{ Type, Message string }

// parseError reads an error event's data or an error body. Both fields are empty when it is none.
func parseError(data []byte) told {
	var e told
	if v, err := rawjson.Find(data, "error", "type"); err == nil {
		e.Type, _ = v.Text()
	}
	if v, err := rawjson.Find(data, "error", "message"); err == nil {
		e.Message, _ = v.Text()
	}
	return e
}

// appendError appends an error body: {"type":"error","error":{"type","message"},"request_id"}.
func appendError(dst []byte, typ, message, requestID string) []byte {
	dst = append(dst, `{"type":"error","error":{"type":`...)
	dst = rawjson.AppendString(dst, typ)
	dst = append(dst, `,"message":`...)
	dst = rawjson.AppendString(dst, message)
	dst = append(dst, `},"request_id":`...)
	dst = rawjson.AppendString(dst, requestID)
	return append(dst, '}')
}
