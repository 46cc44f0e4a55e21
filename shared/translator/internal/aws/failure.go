// Package aws is what the codecs of AWS's two services have in common, Bedrock's and Amazon Q's: how errors are read and what
// of them a client may see, and what of a request neither has a place for.
package aws

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/shared/rawjson"
)

// StatusOverloaded is Anthropic's status for want of capacity.
const StatusOverloaded = 529

// maxMessage bounds what is passed on of a service's words, in bytes.
const maxMessage = 2 << 10

var errorFields = []string{"__type", "message", "Message", "code", "reason", "originalMessage"}

// Failure is an error as a service tells it. What it does not tell is empty.
type Failure struct {
	Name    string // its shape, without namespace, and without Exception or Error behind it
	Reason  string // Amazon Q's finer name
	Message string // the service's words, which may name the operator's account: see Words
}

// ReadFailure reads {"__type","message","reason"} and the like. The name is the one of a frame or a header, which goes before
// that of the body; empty: the body's. A body that is no JSON object tells nothing.
func ReadFailure(name string, body []byte) (f Failure) {
	var v [6]rawjson.Value
	if rawjson.Scan(body, errorFields, v[:]) == nil {
		if f.Message, _ = v[1].Text(); f.Message == "" {
			f.Message, _ = v[2].Text()
		}
		f.Reason, _ = v[4].Text()
		if own, _ := v[5].Text(); own != "" && !strings.Contains(f.Message, own) { // a model's, of ModelStreamErrorException
			f.Message = strings.TrimSpace(f.Message + " " + own)
		}
		for _, other := range [...]rawjson.Value{v[0], v[3]} {
			if name == "" {
				name, _ = other.Text()
			}
		}
	}
	name = name[strings.LastIndexByte(name, '#')+1:]
	name, _, _ = strings.Cut(name, ":") // the header has the shape's address behind it
	f.Name = strings.TrimSpace(name)
	for _, suffix := range [...]string{"exception", "error"} {
		if n := len(f.Name) - len(suffix); n > 0 && strings.EqualFold(f.Name[n:], suffix) {
			f.Name = f.Name[:n]
		}
	}
	return f
}

// Words are the service's, cut to 2 KiB, unless there are none or they may name an account, as every ARN does: then they say
// what kind of error it was. status is that of the answer, 0 within a stream.
func (f Failure) Words(status int) string {
	m := strings.ToValidUTF8(strings.TrimSpace(f.Message), "")
	switch {
	case m == "" || strings.Contains(strings.ToLower(m), "arn:"):
		switch {
		case plain(f.Name):
			return "the upstream reported an error: " + f.Name
		case status >= 400:
			return "the upstream answered with status " + strconv.Itoa(status) + " and no message"
		}
		return "the upstream reported an error without words for it"
	case len(m) > maxMessage:
		n := maxMessage
		for !utf8.RuneStart(m[n]) {
			n--
		}
		return m[:n]
	}
	return m
}

// plain reports whether a name is one, and not something that is sent in its place.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// Typed is an exception's payload with the name of its shape in it, as the same error has it in a body of its own, in place of
// a name that the payload has itself: of two, none could be read. Of a payload that is no JSON object the name is all there is.
func Typed(name string, payload []byte) []byte {
	out := rawjson.AppendString([]byte(`{"__type":`), name)
	only := len(out)
	if rawjson.Members(payload, func(key, value rawjson.Value) bool {
		if !key.TextEquals("__type") {
			out = append(append(append(append(out, ','), key.Raw()...), ':'), value.Raw()...)
		}
		return true
	}) != nil {
		out = out[:only]
	}
	return append(out, '}')
}
