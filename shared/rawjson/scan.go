// Package rawjson looks at the top level of a JSON document and replaces one
// value in it without decoding the rest.
//
// Every byte it passes is checked against the grammar of RFC 8259 (numbers,
// literals, escapes, control characters, nothing after the value), so that a
// document it accepts reads the same to any other conforming decoder. Three
// points are its own: nesting is limited to [MaxDepth], a leading byte order
// mark is refused, and string bytes are not checked for being UTF-8, they pass
// as they are.
//
// Scanning, finding and comparing never allocate, except for the error value
// of a refused document. Nothing here writes to a document.
package rawjson

import (
	"bytes"
	"errors"
	"strconv"
)

// SyntaxError reports a document that is not the JSON asked for.
type SyntaxError struct {
	Offset int    // of the byte at fault, from 0; the document's length when it ended too early
	Msg    string // fixed text, never bytes of the document
}

func (e *SyntaxError) Error() string {
	return "invalid JSON at byte " + strconv.Itoa(e.Offset) + ": " + e.Msg
}

// DuplicateError reports a wanted member that an object has twice.
type DuplicateError struct {
	Name string // as the caller asked for it
}

func (e *DuplicateError) Error() string {
	return "JSON member " + strconv.Quote(e.Name) + " occurs twice"
}

var errLengths = errors.New("rawjson: Scan: names and out differ in length")

func syntax(i int, f fault) error {
	return &SyntaxError{Offset: i, Msg: f.message()}
}

// stopped is the index eachMember and eachElement return when fn ended the
// walk.
const stopped = -1

// eachMember calls fn for each member of the object that starts at b[i], the
// name with its quotes at b[k0:k1] and the value at b[v0:v1], and returns the
// index after the object. depth counts the open brackets, this one included.
func eachMember(b []byte, i, depth int, fn func(k0, k1, v0, v1 int) bool) (int, fault) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, ok
	}
	for {
		if i >= len(b) {
			return len(b), faultEnd
		}
		if b[i] != '"' {
			return i, faultKey
		}
		k0 := i
		k1, f := skipString(b, i+1)
		if f != ok {
			return k1, f
		}
		v0, f := skipColon(b, k1)
		if f != ok {
			return v0, f
		}
		v1, f := skipValue(b, v0, depth)
		if f != ok {
			return v1, f
		}
		if !fn(k0, k1, v0, v1) {
			return stopped, ok
		}
		if i = skipSpace(b, v1); i >= len(b) {
			return len(b), faultEnd
		}
		if b[i] == '}' {
			return i + 1, ok
		}
		if b[i] != ',' {
			return i, faultComma
		}
		i = skipSpace(b, i+1)
	}
}

// eachElement is eachMember for the array that starts at b[i].
func eachElement(b []byte, i, depth int, fn func(v0, v1 int) bool) (int, fault) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, ok
	}
	for {
		v1, f := skipValue(b, i, depth)
		if f != ok {
			return v1, f
		}
		if !fn(i, v1) {
			return stopped, ok
		}
		if i = skipSpace(b, v1); i >= len(b) {
			return len(b), faultEnd
		}
		if b[i] == ']' {
			return i + 1, ok
		}
		if b[i] != ',' {
			return i, faultComma
		}
		i = skipSpace(b, i+1)
	}
}

// members walks the members of doc, which must be one object and nothing
// after it unless fn ends the walk.
func members(doc []byte, fn func(k0, k1, v0, v1 int) bool) (int, fault) {
	i, f := start(doc)
	if f != ok {
		return i, f
	}
	if doc[i] != '{' {
		return i, faultObject
	}
	i, f = eachMember(doc, i, 1, fn)
	if f != ok || i == stopped {
		return i, f
	}
	return finish(doc, i)
}

// Scan checks that doc is exactly one JSON object and sets out[i] to the value
// of its member names[i], or to the zero Value when it has none. out must be
// as long as names; names must differ from each other.
//
// A member name matches when its decoded text equals the wanted name, case
// included; one written without escapes is compared by its bytes. Wanted names
// should be valid UTF-8 without U+FFFD.
//
// A wanted member that occurs twice is a *DuplicateError, because two decoders
// may take different ones; other members and nested objects are not checked
// for that. Anything else wrong with doc is a *SyntaxError. The first problem
// met is reported, and after any error every out[i] is the zero Value.
func Scan(doc []byte, names []string, out []Value) error {
	clear(out)
	if len(out) != len(names) {
		return errLengths
	}
	twice := -1
	i, f := members(doc, func(k0, k1, v0, v1 int) bool {
		j := match(doc[k0+1:k1-1], names)
		if j < 0 {
			return true
		}
		if out[j].raw != nil {
			twice = j
			return false
		}
		out[j] = Value{raw: doc[v0:v1:v1], off: v0}
		return true
	})
	if twice >= 0 {
		clear(out)
		return &DuplicateError{Name: names[twice]}
	}
	if f != ok {
		clear(out)
		return syntax(i, f)
	}
	return nil
}

// match returns the index of the wanted name that the member name between
// quotes spells, or -1.
func match(key []byte, names []string) int {
	if bytes.IndexByte(key, '\\') < 0 {
		for j, name := range names {
			if string(key) == name {
				return j
			}
		}
		return -1
	}
	for j, name := range names {
		if equalDecoded(key, name) {
			return j
		}
	}
	return -1
}

// Members calls fn for each member of the object doc, in order, until fn
// returns false. key is a String value, so key.TextEquals and key.Text read
// the name. Members repeated in doc are all passed to fn.
//
// fn sees a member once everything up to its end has been checked, before the
// rest has. When fn returned true throughout and Members returns nil, doc is
// exactly one valid object. When fn returned false, Members returns nil and
// the rest of doc is unchecked. Otherwise the error is a *SyntaxError; fn may
// have been called for the members before it.
func Members(doc []byte, fn func(key, value Value) bool) error {
	i, f := members(doc, func(k0, k1, v0, v1 int) bool {
		return fn(Value{raw: doc[k0:k1:k1], off: k0}, Value{raw: doc[v0:v1:v1], off: v0})
	})
	if f != ok {
		return syntax(i, f)
	}
	return nil
}

// Elements calls fn for each element of the array doc, in order, until fn
// returns false. What is checked when, and the errors, are as for Members.
func Elements(doc []byte, fn func(value Value) bool) error {
	i, f := start(doc)
	if f == ok && doc[i] != '[' {
		f = faultArray
	}
	if f != ok {
		return syntax(i, f)
	}
	i, f = eachElement(doc, i, 1, func(v0, v1 int) bool {
		return fn(Value{raw: doc[v0:v1:v1], off: v0})
	})
	if f == ok && i != stopped {
		i, f = finish(doc, i)
	}
	if f != ok {
		return syntax(i, f)
	}
	return nil
}

// Find returns the value reached from doc by following path, one member name
// a level. The names match as in Scan; with no path it is doc's value itself.
// The result is the zero Value and a nil error when doc is valid but a member
// is missing or a value on the way is not an object.
//
// All of doc is checked: a *SyntaxError says it is not one JSON value. A
// member on the path that its object has twice is a *DuplicateError.
func Find(doc []byte, path ...string) (Value, error) {
	first, f := start(doc)
	if f != ok {
		return Value{}, syntax(first, f)
	}
	if len(path) == 0 || doc[first] != '{' {
		end, f := skipValue(doc, first, 0)
		after := end
		if f == ok {
			after, f = finish(doc, end)
		}
		if f != ok {
			return Value{}, syntax(after, f)
		}
		if len(path) > 0 {
			return Value{}, nil
		}
		return Value{raw: doc[first:end:end], off: first}, nil
	}

	// The walk of the outermost object checks all of doc; the later ones go
	// over parts that have passed.
	at, lo, hi := first, 0, 0
	for level := range path {
		lo, hi = 0, 0
		twice := false
		i, f := eachMember(doc, at, level+1, func(k0, k1, v0, v1 int) bool {
			if match(doc[k0+1:k1-1], path[level:level+1]) < 0 {
				return true
			}
			twice = hi > 0
			lo, hi = v0, v1
			return !twice
		})
		if twice {
			return Value{}, &DuplicateError{Name: path[level]}
		}
		if f == ok && level == 0 {
			i, f = finish(doc, i)
		}
		if f != ok {
			return Value{}, syntax(i, f)
		}
		if hi == 0 {
			return Value{}, nil
		}
		if level+1 < len(path) && doc[lo] != '{' {
			return Value{}, nil
		}
		at = lo
	}
	return Value{raw: doc[lo:hi:hi], off: lo}, nil
}

// Valid reports whether doc is exactly one JSON value of any kind: nil, or a
// *SyntaxError.
func Valid(doc []byte) error {
	_, err := Find(doc)
	return err
}

// Splice appends doc to dst with the bytes of v replaced by repl and returns
// the extended slice. v must come from this doc. repl is copied as it is, the
// caller answers for its being JSON. With an absent v, or one whose place is
// outside doc, doc is appended unchanged. dst must not share memory with doc
// or repl beyond its length.
func Splice(dst, doc []byte, v Value, repl []byte) []byte {
	end := v.off + len(v.raw)
	if !v.Exists() || end > len(doc) {
		return append(dst, doc...)
	}
	if need := len(dst) + len(doc) - len(v.raw) + len(repl); cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	dst = append(dst, doc[:v.off]...)
	dst = append(dst, repl...)
	return append(dst, doc[end:]...)
}
