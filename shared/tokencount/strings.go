package tokencount

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// put keeps a byte to be counted.
func (w *walker) put(b byte) {
	if w.n == len(w.buf) {
		w.flush()
	}
	w.buf[w.n] = b
	w.n++
}

// copy keeps bytes to be counted.
func (w *walker) copy(p []byte) {
	for len(p) > 0 {
		if w.n == len(w.buf) {
			w.flush()
		}
		n := copy(w.buf[w.n:], p)
		w.n += n
		p = p[n:]
	}
}

// flush counts what is kept. A piece that is cut in two this way is one token too many in some 4,000 bytes.
func (w *walker) flush() {
	w.counter.text(w.buf[:w.n])
	w.n = 0
}

// text keeps the decoded text of the string here, or counts it on the spot where there is nothing to decode.
func (w *walker) text() {
	i := min(w.at+1, len(w.doc))
	end := plain(w.doc, i)
	if w.n == 0 && (end >= len(w.doc) || w.doc[end] == '"') {
		w.counter.text(w.doc[i:end])
		w.at = min(end+1, len(w.doc))
		return
	}
	for {
		w.copy(w.doc[i:end])
		if end >= len(w.doc) || w.doc[end] == '"' {
			w.at = min(end+1, len(w.doc))
			return
		}
		i = w.escape(end)
		end = plain(w.doc, i)
	}
}

// escape keeps the character of the escape that begins at i and returns where it ends.
func (w *walker) escape(i int) int {
	if i+1 >= len(w.doc) {
		return len(w.doc)
	}
	switch c := w.doc[i+1]; c {
	case 'n':
		w.put('\n')
	case 't':
		w.put('\t')
	case 'r':
		w.put('\r')
	case 'b', 'f':
		w.put(' ')
	case 'u':
		return w.unicode(i)
	default:
		w.put(c)
	}
	return i + 2
}

// unicode is escape for \uXXXX, and for two of them that are one character.
func (w *walker) unicode(i int) int {
	r, i := w.hex(i), min(i+6, len(w.doc))
	if utf16.IsSurrogate(r) {
		if i+1 < len(w.doc) && w.doc[i] == '\\' && w.doc[i+1] == 'u' {
			if both := utf16.DecodeRune(r, w.hex(i)); both != utf8.RuneError {
				r, i = both, min(i+6, len(w.doc))
			}
		}
	}
	var b [utf8.UTFMax]byte
	w.copy(b[:utf8.EncodeRune(b[:], r)])
	return i
}

// hex is the number of the \uXXXX at i, U+FFFD where it is none.
func (w *walker) hex(i int) rune {
	if i+6 > len(w.doc) {
		return utf8.RuneError
	}
	var r rune
	for _, c := range w.doc[i+2 : i+6] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20-'a' <= 5:
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return utf8.RuneError
		}
	}
	return r
}

// plain returns the first quote or backslash at or after i, len(b) if there is none.
func plain(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^'"'*ones, x^'\\'*ones
		if m := ((quote-ones)&^quote | (slash-ones)&^slash) & highs; m != 0 { // the lowest mark is exact
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}
