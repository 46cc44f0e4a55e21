package capture

import (
	"bytes"
	"sort"
	"unicode/utf16"
	"unicode/utf8"
)

// view is a text in which secrets are looked for, and where its bytes come from: a secret may stand in the body with escapes
// of JSON in it, or in the pieces of a stream.
type view struct {
	text []byte
	segs []seg // nil: the text is the body itself
	of   *view // what from is a place of; nil: the body
	full bool  // there would be more segs than maxSegs
}

// seg says that the n bytes from at on stand for the m bytes of the parent from from on; with n == m byte by byte.
type seg struct{ at, from, n, m int }

// up calls emit for the places in the body of a part of the view, in order.
func (v *view) up(from, to int, emit func(from, to int)) {
	if v.segs == nil {
		emit(from, to)
		return
	}
	if v.of != nil {
		next := emit
		emit = func(a, b int) { v.of.up(a, b, next) }
	}
	i := sort.Search(len(v.segs), func(i int) bool { return v.segs[i].at+v.segs[i].n > from })
	for ; i < len(v.segs) && v.segs[i].at < to; i++ {
		s := v.segs[i]
		switch {
		case s.m == 0:
		case s.n != s.m:
			emit(s.from, s.from+s.m)
		default:
			lo, hi := max(from, s.at)-s.at, min(to, s.at+s.n)-s.at
			emit(s.from+lo, s.from+hi)
		}
	}
}

// add appends text that stands for the same bytes at from.
func (v *view) add(text []byte, from int) {
	if len(text) == 0 {
		return
	}
	at := len(v.text)
	v.text = append(v.text, text...)
	if k := len(v.segs) - 1; k >= 0 && v.segs[k].n == v.segs[k].m && v.segs[k].from+v.segs[k].m == from && v.segs[k].at+v.segs[k].n == at {
		v.segs[k].n += len(text)
		v.segs[k].m += len(text)
		return
	}
	v.segs = append(v.segs, seg{at, from, len(text), len(text)})
}

// addEscape appends what an escape of m bytes at from stands for.
func (v *view) addEscape(text []byte, from, m int) {
	v.segs = append(v.segs, seg{len(v.text), from, len(text), m})
	v.text = append(v.text, text...)
}

// unescaped is the text with escapes of JSON undone, wherever they stand; nil when it has none.
func unescaped(of *view) *view {
	if of == nil || bytes.IndexByte(of.text, '\\') < 0 {
		return nil
	}
	v := &view{text: make([]byte, 0, len(of.text)), of: of}
	if of.segs == nil {
		v.of = nil
	}
	v.addUnescaped(of.text, 0)
	if len(v.segs) == 1 && v.segs[0].n == len(of.text) {
		return nil // the backslashes were no escapes
	}
	return v
}

// addUnescaped appends a text that lies at from in the parent, without its escapes.
func (v *view) addUnescaped(text []byte, from int) {
	for p := 0; p < len(text); {
		if v.full = v.full || len(v.segs) >= maxSegs; v.full {
			return
		}
		i := bytes.IndexByte(text[p:], '\\')
		if i < 0 {
			v.add(text[p:], from+p)
			return
		}
		v.add(text[p:p+i], from+p)
		p += i
		var buf [utf8.UTFMax]byte
		out, n := unescape(buf[:0], text[p:])
		if n == 0 {
			v.add(text[p:p+1], from+p)
			p++
			continue
		}
		v.addEscape(out, from+p, n)
		p += n
	}
}

// unescape decodes the escape that a text begins with; n is its length, 0 when it is none.
func unescape(dst, text []byte) (out []byte, n int) {
	if len(text) < 2 {
		return nil, 0
	}
	switch c := text[1]; c {
	case '"', '\\', '/':
		return append(dst, c), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'u':
		r, ok := hex4(text)
		if !ok {
			return nil, 0
		}
		if low, ok := hex4(text[6:]); ok && utf16.IsSurrogate(r) {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return utf8.AppendRune(dst, pair), 12
			}
		}
		return utf8.AppendRune(dst, r), 6
	}
	return nil, 0
}

// hex4 reads \uXXXX.
func hex4(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range text[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// carriesText reports whether members of that name hold pieces of what a model says, in any dialect.
func carriesText(name []byte) bool {
	switch string(name) {
	case "text", "thinking", "partial_json", "content", "arguments", "delta", "input", "refusal", "reasoning", "reasoning_content":
		return true
	}
	return false
}

// joinDeltas puts the pieces of a stream together: the strings of members that carry text, in order, whatever stands between
// them. A new line parts those of different names.
func joinDeltas(raw []byte) *view {
	v := &view{text: make([]byte, 0, len(raw)/2)}
	var name, last []byte
	for p := 0; ; {
		i := bytes.IndexByte(raw[p:], '"')
		if i < 0 {
			break
		}
		if !onlyColon(raw[p:p+i], p > 0) {
			name = nil
		}
		begin := p + i + 1
		end, after := endOfString(raw, begin)
		if isName(raw[after:]) {
			name = raw[begin:end]
			p = after
			continue
		}
		if carriesText(name) && begin < end {
			if last != nil && !bytes.Equal(last, name) {
				v.addEscape([]byte{'\n'}, begin, 0)
			}
			last = name
			if v.addUnescaped(raw[begin:end], begin); v.full {
				break
			}
		}
		name, p = nil, after
	}
	if len(v.segs) == 0 {
		return nil
	}
	return v
}

// onlyColon reports whether between a name and its value stands what JSON allows there.
func onlyColon(between []byte, began bool) bool {
	t := bytes.TrimSpace(between)
	return began && len(t) == 1 && t[0] == ':'
}

func isName(rest []byte) bool {
	rest = bytes.TrimLeft(rest[:min(len(rest), 16)], " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
}

// endOfString returns where the string that began ends, and where what follows its quote begins. Strings of JSON end at a
// line's end at the latest: one that was cut must not turn names and values about.
func endOfString(raw []byte, p int) (end, after int) {
	for p < len(raw) {
		switch raw[p] {
		case '"':
			return p, p + 1
		case '\n':
			return p, p
		case '\\':
			p++
		}
		p++
	}
	return len(raw), len(raw)
}
