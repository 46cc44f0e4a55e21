// Package responses is the codec of OpenAI's Responses API: its clients (Codex before all) and its upstreams.
// Source of the wire: the official SDKs (openai-go v3 and openai-node v6, packages responses) and Codex's own reader.
//
// The package has more than 1,500 lines because the dialect does: a request of some thirty item types, an answer told in
// some twenty events, and both directions of each.
package responses

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// Codec is the dialect. The zero value is ready.
type Codec struct{}

var (
	_ translator.Front  = Codec{}
	_ translator.Back   = Codec{}
	_ translator.Passer = Codec{}
)

type raw = translator.Raw

// The item types that are calls of a client's tools, and those of their results.
const (
	typeMessage      = "message"
	typeReasoning    = "reasoning"
	typeFunction     = "function_call"
	typeFunctionOut  = "function_call_output"
	typeCustom       = "custom_tool_call"
	typeCustomOut    = "custom_tool_call_output"
	typeShell        = "local_shell_call"
	typeShellOut     = "local_shell_call_output"
	typeToolFunction = "function"
	typeToolCustom   = "custom"
	typeToolShell    = "local_shell"
	typeNamespace    = "namespace"
)

// shellName is the hub's name of the local_shell tool, which has none on the wire.
const shellName = "local_shell"

// The events that are told apart more than once.
const (
	evCreated    = "response.created"
	evInProgress = "response.in_progress"
	evTextDelta  = "response.output_text.delta"
	evItemAdded  = "response.output_item.added"
	evItemDone   = "response.output_item.done"
	evCompleted  = "response.completed"
	evIncomplete = "response.incomplete"
	evFailed     = "response.failed"
	evCancelled  = "response.cancelled"
	evError      = "error"
)

// The statuses of an answer.
const (
	statusInProgress = "in_progress"
	statusCompleted  = "completed"
	statusIncomplete = "incomplete"
	statusFailed     = "failed"
	statusCancelled  = "cancelled"
)

// inner is a JSON string's bytes without the quotes.
func inner(r raw) []byte {
	if len(r) < 2 {
		return nil
	}
	return r[1 : len(r)-1]
}

// quoted is the inverse of inner.
func quoted(b []byte) raw {
	out := make(raw, 0, len(b)+2)
	out = append(out, '"')
	out = append(out, b...)
	return append(out, '"')
}

// given reports whether a member is there and not null, which the API treats alike.
func given(v rawjson.Value) bool { return v.Exists() && v.Kind() != rawjson.Null }

// text is a string value decoded, "" for anything else.
func text(v rawjson.Value) string {
	s, _ := v.Text()
	return s
}

// stringOf is the bytes of a string value, nil for anything else.
func stringOf(v rawjson.Value) raw {
	if v.Kind() != rawjson.String {
		return nil
	}
	return v.Raw()
}

func appendString(dst []byte, s string) []byte { return rawjson.AppendString(dst, s) }

// appendInt appends a number.
func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// appendCompact appends a JSON value without its whitespace: a line end in it would split an event's data.
func appendCompact(dst []byte, r raw) []byte {
	str := false
	for i := 0; i < len(r); i++ {
		c := r[i]
		switch {
		case str && c == '\\' && i+1 < len(r):
			dst = append(dst, c)
			i++
			c = r[i]
		case c == '"':
			str = !str
		case !str && (c == ' ' || c == '\n' || c == '\r' || c == '\t'):
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// digest is a short name for a longer one, the same each time.
func digest(s string, hexes int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:hexes]
}

func itoa(i int) string { return strconv.Itoa(i) }
