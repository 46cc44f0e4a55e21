package compat

import (
	"bytes"

	"sluice/shared/rawjson"
)

// These find the ends of values in a body that has been checked: they look for quotes and brackets only. In a body that has
// not, they end too, with some end or with bad.

const bad = -1

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString is the end of a string whose first character is at i.
func skipString(b []byte, i int) int {
	for {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return bad
		}
		i += n + 1
		slashes := i - 2
		for b[slashes] == '\\' { // ends at the quote that opens the string, or one in it
			slashes--
		}
		if (i-2-slashes)%2 == 0 {
			return i
		}
	}
}

// skipValue is the end of the value at i.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return bad
	}
	switch b[i] {
	case '"':
		return skipString(b, i+1)
	case '{', '[':
		return skipNested(b, i)
	}
	from := i
	for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	if i == from {
		return bad
	}
	return i
}

func skipNested(b []byte, i int) int {
	for depth := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			if i = skipString(b, i+1) - 1; i < 0 {
				return bad
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return bad
}

// skipKey is the end of the name at i and the start of its value.
func skipKey(b []byte, i int) (end, value int) {
	if i >= len(b) || b[i] != '"' {
		return bad, bad
	}
	if end = skipString(b, i+1); end < 0 {
		return bad, bad
	}
	if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
		return bad, bad
	}
	return end, skipSpace(b, i+1)
}

// spells reports whether a string, with its quotes, is s.
func spells(raw []byte, s string) bool {
	if len(raw) < 2 || raw[0] != '"' {
		return false
	}
	if string(raw[1:len(raw)-1]) == s {
		return true
	}
	if len(raw) > 6*len(s)+2 || bytes.IndexByte(raw, '\\') < 0 { // an escape takes six bytes
		return false
	}
	v, err := rawjson.Find(raw)
	return err == nil && v.TextEquals(s)
}

// empty reports whether a value asks for nothing.
func empty(raw []byte) bool {
	switch raw[0] {
	case '{', '[', '"':
		return skipSpace(raw, 1) == len(raw)-1
	}
	return string(raw) == "null" || string(raw) == "false"
}
