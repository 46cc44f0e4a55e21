// Package amazonq is the codec of the streaming API of Amazon Q Developer and Kiro (GenerateAssistantResponse): the
// upstream's half only, there are no clients of that dialect. Source of the wire: the generated clients of
// aws/amazon-q-developer-cli (crates/amzn-codewhisperer-streaming-client) and the service model in aws/aws-toolkit-jetbrains
// (codewhispererstreaming/service-2.json).
//
// The service keeps nothing between requests as it is used here, and has neither a place for a system prompt nor for most
// settings: the whole conversation is sent each time, the system prompt at its beginning, and settings are dropped by name,
// held by the gateway, or refused when the answer depends on them.
//
// The package has more than 1,500 lines because a codec is both halves of one dialect: what one writes the other reads.
package amazonq

import (
	"bytes"
	"strings"

	"sluice/shared/eventstream"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// Codec is the dialect. It has no state; the zero value is ready.
type Codec struct{}

var (
	_ translator.Back   = Codec{}
	_ translator.Framer = Codec{}
	_ translator.Source = (*source)(nil)
	_ translator.Ender  = (*source)(nil)
)

// Names is what the service demands of the names of tools, for Request.FitNamesTo, which must come before Encode.
func (Codec) Names() translator.NameRule { return translator.NameRule{Most: 64, Identifier: true} }

// What stands before the name of an event of Cut that is none: an exception's or an error's.
const (
	exceptionPrefix = "exception/"
	errorPrefix     = "error/"
)

// The events that come by the hundred, whose names cost no allocation.
var (
	nameText     = []byte("assistantResponseEvent")
	nameThinking = []byte("reasoningContentEvent")
	nameTool     = []byte("toolUseEvent")
)

// Cut implements translator.Framer. The event's name is the frame's event type and its data the payload; an exception is
// named "exception/" and its type, an error "error/" and its code, so that Source.Event takes them.
func (Codec) Cut(batch []byte) (ev sse.Event, rest []byte, ok bool, err error) {
	m, rest, ok, err := eventstream.Cut(batch)
	if err != nil || !ok {
		return ev, rest, ok, err
	}
	ev.Data, ev.Raw = m.Payload, batch[:len(batch)-len(rest)]
	switch m.Kind {
	case eventstream.Exception:
		ev.Name = []byte(exceptionPrefix + m.Name)
	case eventstream.Error:
		ev.Name = []byte(errorPrefix + m.Name)
		if len(bytes.TrimSpace(m.Payload)) == 0 {
			ev.Data = append(rawjson.AppendString([]byte(`{"message":`), m.Text), '}')
		}
	default:
		ev.Name = eventName(m.Name)
	}
	return ev, rest, true, nil
}

func eventName(name string) []byte {
	switch name {
	case "assistantResponseEvent":
		return nameText
	case "reasoningContentEvent":
		return nameThinking
	case "toolUseEvent":
		return nameTool
	}
	return []byte(name)
}

// ModelID returns the service's id of a model that is named as Anthropic's API names it: claude-sonnet-4-5-20250929,
// claude-sonnet-4-5-latest, claude-sonnet-4-5 and claude-sonnet-4.5 are claude-sonnet-4.5, claude-sonnet-4-0 is
// claude-sonnet-4. Any other name, those of models before Claude 4 too, comes back unchanged.
func ModelID(name string) string {
	id, ok := strings.CutPrefix(name, "claude-")
	if !ok {
		return name
	}
	parts := strings.Split(strings.TrimSuffix(id, "-latest"), "-")
	if n := len(parts); n > 2 && len(parts[n-1]) == len("20250929") && digits(parts[n-1]) {
		parts = parts[:n-1]
	}
	if len(parts) < 2 || !word(parts[0]) {
		return name
	}
	version := strings.Join(parts[1:], ".")
	major, minor, dotted := strings.Cut(version, ".")
	if !short(major) || dotted && !short(minor) {
		return name
	}
	if minor == "0" {
		version = major
	}
	return "claude-" + parts[0] + "-" + version
}

// short reports whether s is a part of a version: one or two digits.
func short(s string) bool { return len(s) > 0 && len(s) <= 2 && digits(s) }

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func word(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return s != ""
}
