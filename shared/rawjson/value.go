package rawjson

import (
	"bytes"
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind is the type of a JSON value.
type Kind uint8

// The kinds. Absent is that of the zero Value.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// String returns the kind's name in lower case, for messages.
func (k Kind) String() string {
	switch k {
	case Absent:
		return "absent"
	case Null:
		return "null"
	case Bool:
		return "bool"
	case Number:
		return "number"
	case String:
		return "string"
	case Array:
		return "array"
	case Object:
		return "object"
	}
	return "unknown"
}

// Value is one JSON value: a view of its bytes in the scanned document, not a
// copy, so it is good for as long as the document is unchanged. The zero Value
// means absent. Values come only from this package and are valid JSON.
type Value struct {
	raw []byte
	off int
}

// Exists reports whether v is a value of the document, null included.
func (v Value) Exists() bool { return len(v.raw) > 0 }

// Raw returns the bytes of v without whitespace around them, nil when absent.
// They are the document's own and must not be written to; appending to them
// copies.
func (v Value) Raw() []byte { return v.raw }

// Offset returns where v starts, in bytes from the start of the document it
// was found in. It is 0 when absent.
func (v Value) Offset() int { return v.off }

// Kind returns the type of v.
func (v Value) Kind() Kind {
	if len(v.raw) == 0 {
		return Absent
	}
	switch v.raw[0] {
	case 'n':
		return Null
	case 't', 'f':
		return Bool
	case '"':
		return String
	case '[':
		return Array
	case '{':
		return Object
	}
	return Number
}

// Bool returns the value of true or false; ok is false for anything else.
func (v Value) Bool() (val, ok bool) {
	if v.Kind() != Bool {
		return false, false
	}
	return v.raw[0] == 't', true
}

// Int returns the value of a number written as an integer (digits with an
// optional minus) within int64. ok is false for anything else, also for 1.0
// and 1e3.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	digits, limit := v.raw, uint64(math.MaxInt64)
	negative := digits[0] == '-'
	if negative {
		digits, limit = digits[1:], limit+1
	}
	var u uint64
	for _, c := range digits {
		c -= '0'
		if c > 9 || u > limit/10 {
			return 0, false
		}
		u = u*10 + uint64(c) // at most limit+9, so it does not wrap
		if u > limit {
			return 0, false
		}
	}
	if negative {
		return int64(-u), true
	}
	return int64(u), true
}

// Text returns the decoded string; ok is false when v is not a String. As in
// encoding/json, a lone surrogate escape and each byte that is not UTF-8 become
// U+FFFD, so the result is always valid UTF-8. It is a copy of the document's
// bytes.
func (v Value) Text() (s string, ok bool) {
	body, ok := v.body()
	if !ok {
		return "", false
	}
	if bytes.IndexByte(body, '\\') < 0 && utf8.Valid(body) {
		return string(body), true
	}
	var out strings.Builder
	out.Grow(len(body))
	for len(body) > 0 {
		run := bytes.IndexByte(body, '\\')
		if run < 0 {
			run = len(body)
		}
		if run > 0 && utf8.Valid(body[:run]) {
			out.Write(body[:run])
			body = body[run:]
			continue
		}
		for {
			r, n := nextRune(body)
			out.WriteRune(r)
			body = body[n:]
			if run -= n; run <= 0 {
				break
			}
		}
	}
	return out.String(), true
}

// TextEquals reports whether v is a String whose Text is s. It does not
// allocate.
func (v Value) TextEquals(s string) bool {
	body, ok := v.body()
	if !ok {
		return false
	}
	if bytes.IndexByte(body, '\\') < 0 {
		if string(body) == s {
			return utf8.ValidString(s)
		}
		// Unequal bytes can only come to mean s by way of U+FFFD.
		if !strings.ContainsRune(s, utf8.RuneError) {
			return false
		}
	}
	return equalDecoded(body, s)
}

// body returns the bytes between the quotes of a String.
func (v Value) body() ([]byte, bool) {
	if v.Kind() != String {
		return nil, false
	}
	return v.raw[1 : len(v.raw)-1], true
}

// equalDecoded reports whether the string body (checked, without its quotes)
// decodes to s.
func equalDecoded(body []byte, s string) bool {
	var buf [utf8.UTFMax]byte
	for len(body) > 0 {
		r, n := nextRune(body)
		body = body[n:]
		w := utf8.EncodeRune(buf[:], r)
		if len(s) < w || s[:w] != string(buf[:w]) {
			return false
		}
		s = s[w:]
	}
	return s == ""
}

// nextRune decodes the first character of a checked, non-empty string body and
// returns how many bytes spell it.
func nextRune(body []byte) (rune, int) {
	if body[0] != '\\' {
		return utf8.DecodeRune(body)
	}
	switch c := body[1]; c {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default: // quote, backslash, slash
		return rune(c), 2
	}
	r := hexRune(body)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(body) >= 12 && body[6] == '\\' && body[7] == 'u' {
		// A pair that is none leaves the second half to be read on its own.
		if pair := utf16.DecodeRune(r, hexRune(body[6:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// hexRune reads the digits of a \uXXXX escape.
func hexRune(b []byte) rune {
	return rune(hex[b[2]])<<12 | rune(hex[b[3]])<<8 | rune(hex[b[4]])<<4 | rune(hex[b[5]])
}

// AppendString appends s as a JSON string with its quotes and returns the
// extended slice. Quotes, backslashes and control characters are escaped, each
// byte that is not UTF-8 becomes \ufffd; all else, <, > and & included, is
// written as it is.
func AppendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[done:i]...)
				dst = append(dst, `\ufffd`...)
				done = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[done:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xf])
		}
		i++
		done = i
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}
