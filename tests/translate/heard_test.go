package translate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

type object = map[string]any

// heard is what a client made of an answer, however it came.
type heard struct {
	parts   []part
	stop    string
	usage   object // nil: none
	failure object // the error that ended it; nil: none
	history []any  // what it puts into its next request
}

// part is one piece of an answer.
type part struct {
	kind string // text, thinking, redacted, refusal, call, custom, other
	text string // of a call: its arguments
	name string
	id   string
	sig  string
	note any // citations, logprobs
}

// diff tells how two answers differ, "" when they do not.
func (h *heard) diff(o *heard) string {
	switch {
	case h.stop != o.stop:
		return fmt.Sprintf("stop reasons %q and %q", h.stop, o.stop)
	case len(h.parts) != len(o.parts):
		return fmt.Sprintf("parts %+v and %+v", h.parts, o.parts)
	case h.usage != nil && o.usage != nil && !reflect.DeepEqual(h.counts(), o.counts()):
		return fmt.Sprintf("usage %v and %v", h.usage, o.usage)
	}
	for i, p := range h.parts {
		q := o.parts[i]
		if p.kind == "call" && sameJSON([]byte(p.text), []byte(q.text)) {
			q.text = p.text
		}
		if !reflect.DeepEqual(p, q) {
			return fmt.Sprintf("part %d: %+v and %+v", i, p, q)
		}
	}
	return ""
}

// counts are the usage without what Anthropic's message_delta has no place for.
func (h *heard) counts() object {
	counts := object{}
	for name, v := range h.usage {
		if name != "cache_creation" && name != "service_tier" {
			counts[name] = v
		}
	}
	return counts
}

// sameJSON reports whether two documents mean the same.
func sameJSON(a, b []byte) bool {
	var x, y any
	return decodeNumbers(a, &x) == nil && decodeNumbers(b, &y) == nil && reflect.DeepEqual(x, y)
}

func decodeNumbers(doc []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	return d.Decode(v)
}

// checkOptions are what a stream must obey besides the grammar.
type checkOptions struct {
	usage  bool // chat: the usage chunk was asked for
	failed bool // the stream must end in an error
	legacy bool // chat: calls come as function_call
	bad    bool // arguments may be no JSON: they are as the model wrote them
}

// fault is what is wrong with a stream; validators panic with it.
type fault struct{ error }

// must is the validators' check.
func must(ok bool, format string, args ...any) {
	if !ok {
		panic(fault{fmt.Errorf(format, args...)})
	}
}

// judged runs a validator and returns the first thing it found.
func judged(fn func() *heard) (h *heard, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(fault)
			if !ok {
				panic(r)
			}
			err = f.error
		}
	}()
	return fn(), nil
}

// frame is one event of a client's stream.
type frame struct {
	name string
	data object // nil for [DONE]
	done bool
}

// frames cuts a stream as the official SDKs do. Comments are left out.
func frames(stream []byte, named bool) []frame {
	must(len(stream) == 0 || bytes.HasSuffix(stream, []byte("\n\n")), "the last event has no blank line")
	var fs []frame
	for _, ev := range strings.Split(strings.TrimSuffix(string(stream), "\n\n"), "\n\n") {
		if strings.HasPrefix(ev, ":") || ev == "" {
			continue
		}
		var f frame
		lines := strings.Split(ev, "\n")
		if named {
			must(len(lines) == 2, "an event of %d lines: %q", len(lines), ev)
			name, ok := strings.CutPrefix(lines[0], "event: ")
			must(ok, "no event line: %q", ev)
			f.name, lines = name, lines[1:]
		}
		must(len(lines) == 1, "an event of %d lines: %q", len(lines), ev)
		data, ok := strings.CutPrefix(lines[0], "data: ")
		must(ok, "no data line: %q", ev)
		if data == "[DONE]" {
			fs = append(fs, frame{done: true})
			continue
		}
		must(strictJSON([]byte(data)) == nil, "data is no clean JSON: %q", data)
		must(decodeNumbers([]byte(data), &f.data) == nil, "data is no object: %q", data)
		if named {
			must(f.data["type"] == f.name, "event %q has type %v", f.name, f.data["type"])
		}
		fs = append(fs, f)
	}
	return fs
}

// The accessors of validators: the member must be there and be of its type.

func str(o object, name string) string {
	s, ok := o[name].(string)
	must(ok, "%s is no string in %v", name, o)
	return s
}

func num(o object, name string) int64 {
	n, ok := o[name].(json.Number)
	must(ok, "%s is no number in %v", name, o)
	i, err := n.Int64()
	must(err == nil, "%s is no whole number in %v", name, o)
	return i
}

func obj(o object, name string) object {
	m, ok := o[name].(object)
	must(ok, "%s is no object in %v", name, o)
	return m
}

func list(o object, name string) []any {
	l, ok := o[name].([]any)
	must(ok, "%s is no array in %v", name, o)
	return l
}

func objs(o object, name string) []object {
	var ms []object
	for _, v := range list(o, name) {
		m, ok := v.(object)
		must(ok, "%s has an element that is no object: %v", name, v)
		ms = append(ms, m)
	}
	return ms
}

// optional is a string that may be absent or null.
func optional(o object, name string) string {
	if o[name] == nil {
		return ""
	}
	return str(o, name)
}

// isObject checks the text of a call's arguments.
func isObject(text string) {
	var m object
	must(strictJSON([]byte(text)) == nil && json.Unmarshal([]byte(text), &m) == nil, "arguments are no JSON object: %q", text)
}

// hearReply reads an answer that was not streamed.
func hearReply(dialect string, body []byte) (*heard, error) {
	return judged(func() *heard {
		var doc object
		must(strictJSON(body) == nil, "the answer is no clean JSON: %s", body)
		must(decodeNumbers(body, &doc) == nil, "the answer is no object: %s", body)
		switch dialect {
		case "anthropic":
			return anthropicMessage(doc)
		case "chat":
			return chatCompletion(doc)
		case "responses":
			must(doc["object"] == "response", "object is %v", doc["object"])
			return responseObject(doc)
		}
		panic(fault{errors.New("no dialect " + dialect)})
	})
}
