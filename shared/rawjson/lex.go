package rawjson

import (
	"encoding/binary"
	"math/bits"
)

// MaxDepth is the deepest nesting of objects and arrays accepted, counted in
// open brackets: a document of MaxDepth nested arrays passes, one more level
// is a *SyntaxError. It is below the limit of any decoder an upstream is
// likely to use, and it fixes the size of the stack skipNested keeps.
const MaxDepth = 1000

// fault says what is wrong at a position; ok means nothing is. The lexer
// hands back codes so that only the exported functions build error values.
type fault uint8

const (
	ok fault = iota
	faultEnd
	faultBOM
	faultObject
	faultArray
	faultValue
	faultKey
	faultColon
	faultComma
	faultControl
	faultEscape
	faultHex
	faultNumber
	faultDepth
	faultTrailing
)

func (f fault) message() string {
	switch f {
	case faultEnd:
		return "unexpected end"
	case faultBOM:
		return "byte order mark"
	case faultObject:
		return "want an object"
	case faultArray:
		return "want an array"
	case faultValue:
		return "want a value"
	case faultKey:
		return "want a member name"
	case faultColon:
		return "want a colon after the member name"
	case faultComma:
		return "want a comma or the closing bracket"
	case faultControl:
		return "control character in a string"
	case faultEscape:
		return "unknown escape in a string"
	case faultHex:
		return "want four hex digits after \\u"
	case faultNumber:
		return "malformed number"
	case faultDepth:
		return "nested too deeply"
	case faultTrailing:
		return "data after the value"
	}
	return "malformed"
}

// space has the bit of each byte that RFC 8259 counts as whitespace.
const space = 1<<' ' | 1<<'\t' | 1<<'\n' | 1<<'\r'

// skipSpace returns the index of the first byte at or after i that is not
// whitespace, or len(b).
func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && space>>b[i]&1 != 0 {
		i++
	}
	return i
}

// start returns the index of the document's first byte that is not
// whitespace.
func start(b []byte) (int, fault) {
	i := skipSpace(b, 0)
	if i == len(b) {
		return i, faultEnd
	}
	if i == 0 && len(b) >= 3 && b[0] == 0xef && b[1] == 0xbb && b[2] == 0xbf {
		return 0, faultBOM
	}
	return i, ok
}

// finish checks that only whitespace follows i.
func finish(b []byte, i int) (int, fault) {
	if i = skipSpace(b, i); i < len(b) {
		return i, faultTrailing
	}
	return i, ok
}

// skipValue returns the index after the value that starts at b[i]. depth is
// the number of brackets already open around it. On a fault the index is
// where the fault is, as in every skip function.
func skipValue(b []byte, i, depth int) (int, fault) {
	if i >= len(b) {
		return len(b), faultEnd
	}
	switch b[i] {
	case '"':
		return skipString(b, i+1)
	case '{', '[':
		return skipNested(b, i, depth)
	}
	return skipScalar(b, i)
}

// skipNested skips the object or array that starts at b[i]. It keeps one bit
// per open bracket in place of a call stack, so hostile nesting costs nothing.
func skipNested(b []byte, i, depth int) (int, fault) {
	var object [MaxDepth/64 + 1]uint64 // bit d: the bracket at depth d is an object
	base := depth
	var f fault
	for {
		// A value starts at b[i].
		if i >= len(b) {
			return len(b), faultEnd
		}
		switch c := b[i]; c {
		case '{', '[':
			if depth >= MaxDepth {
				return i, faultDepth
			}
			depth++
			if i = skipSpace(b, i+1); i >= len(b) {
				return len(b), faultEnd
			}
			word, bit := depth/64, uint64(1)<<(depth%64)
			if c == '{' {
				object[word] |= bit
				if b[i] != '}' {
					if i, f = skipKey(b, i); f != ok {
						return i, f
					}
					continue
				}
			} else {
				object[word] &^= bit
				if b[i] != ']' {
					continue
				}
			}
			i++
			depth--
		case '"':
			if i, f = skipString(b, i+1); f != ok {
				return i, f
			}
		default:
			if i, f = skipScalar(b, i); f != ok {
				return i, f
			}
		}
		// A value ended before b[i]: close brackets up to the next comma.
		for {
			if depth == base {
				return i, ok
			}
			if i = skipSpace(b, i); i >= len(b) {
				return len(b), faultEnd
			}
			inObject := object[depth/64]>>(depth%64)&1 != 0
			c := b[i]
			if c == ',' {
				i = skipSpace(b, i+1)
				if inObject {
					if i, f = skipKey(b, i); f != ok {
						return i, f
					}
				}
				break
			}
			if inObject && c != '}' || !inObject && c != ']' {
				return i, faultComma
			}
			i++
			depth--
		}
	}
}

// skipKey skips a member name that must start at b[i], its colon and the
// whitespace around it, and returns the index where the value starts.
func skipKey(b []byte, i int) (int, fault) {
	if i >= len(b) {
		return len(b), faultEnd
	}
	if b[i] != '"' {
		return i, faultKey
	}
	i, f := skipString(b, i+1)
	if f != ok {
		return i, f
	}
	return skipColon(b, i)
}

// skipColon skips the colon after a member name and the whitespace around it.
func skipColon(b []byte, i int) (int, fault) {
	if i = skipSpace(b, i); i >= len(b) {
		return len(b), faultEnd
	}
	if b[i] != ':' {
		return i, faultColon
	}
	return skipSpace(b, i+1), ok
}

// skipScalar skips a number or a literal name.
func skipScalar(b []byte, i int) (int, fault) {
	word := ""
	switch c := b[i]; {
	case c == '-' || c-'0' <= 9:
		return skipNumber(b, i)
	case c == 't':
		word = "true"
	case c == 'f':
		word = "false"
	case c == 'n':
		word = "null"
	default:
		return i, faultValue
	}
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, faultValue
	}
	return i + len(word), ok
}

// skipNumber skips -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?.
func skipNumber(b []byte, i int) (int, fault) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else {
		first := i
		if i = skipDigits(b, i); i == first {
			return i, faultNumber
		}
	}
	if i < len(b) && b[i] == '.' {
		first := i + 1
		if i = skipDigits(b, first); i == first {
			return i, faultNumber
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		first := i
		if i = skipDigits(b, i); i == first {
			return i, faultNumber
		}
	}
	return i, ok
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, by its high bit, each byte of x that is a quote, a backslash
// or below 0x20. Only the lowest mark is exact: a borrow can add false ones
// above it. Flipping bit 1 moves the quote (0x22) to 0x20 next to the control
// characters and no other byte below 0x21, so one comparison serves both.
func special(x uint64) uint64 { return marks(x) & highs }

// marks is special before the other bits are cleared.
func marks(x uint64) uint64 {
	return (((x ^ 0x02*ones) - 0x21*ones) | ((x ^ '\\'*ones) - ones)) &^ x
}

// skipPlain skips 32 bytes at a time as long as none of them is special: in prose one branch then serves four words.
func skipPlain(b []byte, i int) int {
	for len(b)-i >= 32 {
		w := b[i : i+32 : i+32]
		m := marks(binary.LittleEndian.Uint64(w)) | marks(binary.LittleEndian.Uint64(w[8:])) |
			marks(binary.LittleEndian.Uint64(w[16:])) | marks(binary.LittleEndian.Uint64(w[24:]))
		if m&highs != 0 {
			break
		}
		i += 32
	}
	return i
}

// skipString skips the rest of a string whose opening quote is before b[i] and
// returns the index after its closing quote.
func skipString(b []byte, i int) (int, fault) {
	for due := 0; ; {
		// Eight bytes at a time up to the next special byte, more once it looks like prose.
		var c byte
		for words := 0; ; words++ {
			if words == 4 {
				i = skipPlain(b, i)
			}
			if len(b)-i < 8 {
				for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
					i++
				}
				if i >= len(b) {
					return len(b), faultEnd
				}
				c = b[i]
				break
			}
			if m := special(binary.LittleEndian.Uint64(b[i:])); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				c = b[i]
				break
			}
			i += 8
		}
		if c == '"' {
			return i + 1, ok
		}
		if c != '\\' {
			return i, faultControl
		}
		// Escapes come in runs (indentation): take them one after another.
		for {
			if i+1 >= len(b) {
				return len(b), faultEnd
			}
			// One predictable branch: which simple escape it is does not matter.
			if next := b[i+1]; simple[next] {
				i += 2
			} else if next != 'u' {
				return i, faultEscape
			} else if len(b)-i < 6 || hex[b[i+2]]|hex[b[i+3]]|hex[b[i+4]]|hex[b[i+5]] > 0xf {
				return skipHex(b, i+2)
			} else {
				i += 6
			}
			if i >= len(b) {
				return len(b), faultEnd
			}
			if b[i] != '\\' {
				break
			}
		}
		// Each run puts due 32 bytes on, so it gets ahead of i where runs are closer.
		if due = max(due, i) + 32; due-i > 160 {
			i, due = skipDense(b, i), 0
		}
	}
}

// simple has the letters of the two-byte escapes. It is never written to.
var simple = [256]bool{
	'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true,
}

// skipHex says which of the four bytes from i on is missing or not a hex digit.
func skipHex(b []byte, i int) (int, fault) {
	for i < len(b) && hex[b[i]] <= 0xf {
		i++
	}
	if i == len(b) {
		return i, faultEnd
	}
	return i, faultHex
}

const xx = 0xff // not a hex digit

// hex is the value of a hex digit, or xx. It is never written to.
var hex = [256]byte{
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, xx, xx, xx, xx, xx, xx,
	xx, 10, 11, 12, 13, 14, 15, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, 10, 11, 12, 13, 14, 15, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
	xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx, xx,
}
