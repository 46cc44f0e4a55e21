// Package openaichat is the codec of OpenAI's Chat Completions dialect: requests and answers between its wire and the hub,
// and the tap for what passes unchanged. Sources of the wire: the types of the official SDK openai-go v3 and
// platform.openai.com/docs/api-reference/chat. What other servers of the dialect do differently (vLLM, Ollama, DeepSeek,
// Mistral, OpenRouter) is read where it is known, and never written.
//
// The package has more than 1,500 lines because a codec is both halves of one dialect: what one writes the other reads.
package openaichat

import (
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// Codec is the dialect. It has no state; the zero value is ready.
type Codec struct{}

var (
	_ translator.Front  = Codec{}
	_ translator.Back   = Codec{}
	_ translator.Passer = Codec{}
)

// keepAlive is a comment: the official SDKs and their kin skip it (D33).
const keepAlive = ": keep-alive\n\n"

// AppendKeepAlive implements translator.Front with an SSE comment, the first as the others: the dialect has no event that
// means nothing.
func (Codec) AppendKeepAlive(dst []byte, _ bool, _ translator.ReplyOptions) []byte {
	return append(dst, keepAlive...)
}

// Resume implements translator.Front: a comment has said nothing, so all of held is still to be sent.
func (Codec) Resume(held []byte) []byte { return held }

// Mixed reports whether tools, the tools member of a chat body, has tools in the flat shape of the Responses API, as
// Cursor sends them (D49): such a body cannot pass byte for byte to a chat upstream, which would refuse it. Anything that
// is no array of objects is false: the upstream refuses that in its own words.
func Mixed(tools rawjson.Value) bool {
	if tools.Kind() != rawjson.Array {
		return false
	}
	flat := false
	_ = rawjson.Elements(tools.Raw(), func(el rawjson.Value) bool {
		var v [3]rawjson.Value
		if el.Kind() != rawjson.Object || rawjson.Scan(el.Raw(), nestedFields, v[:]) != nil {
			return true
		}
		flat = v[0].Kind() != rawjson.Object && v[1].Kind() != rawjson.Object && v[2].Kind() == rawjson.String
		return !flat
	})
	return flat
}

var nestedFields = []string{"function", "custom", "name"}

// writer appends JSON. Commas come by themselves: a value never ends in an opening bracket.
type writer struct{ b []byte }

func (w *writer) lit(s string) { w.b = append(w.b, s...) }

// elem begins an element of the open array.
func (w *writer) elem() {
	if w.b[len(w.b)-1] != '[' {
		w.b = append(w.b, ',')
	}
}

// name begins a member of the open object; its value comes next.
func (w *writer) name(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

// raw writes a member, unless it is absent.
func (w *writer) raw(name string, v translator.Raw) {
	if v != nil {
		w.name(name)
		w.b = append(w.b, v...)
	}
}

func (w *writer) str(name, s string) {
	w.name(name)
	w.b = rawjson.AppendString(w.b, s)
}
