package tokencount

import (
	"encoding/binary"
	"math/bits"
)

// Text estimates how many tokens s is, as plain text. Any bytes will do; those that are not UTF-8 count as symbols. It reads s
// once, does not allocate, and takes about 2 ns a byte.
func Text(s []byte) int {
	var c counter
	c.text(s)
	return c.tokens()
}

// one is a token in the unit that a counter sums up: pieces that are not in the vocabulary count by parts.
const one = 64

// counter sums up the tokens of a text that may come in several parts.
type counter struct {
	sum int // in 1/one tokens
}

func (c *counter) tokens() int { return (c.sum + one/2) / one }

// The kinds of a byte at the start of a piece.
const (
	symbol  = iota // ASCII that is none of the others
	lower          // letters
	upper          //
	narrow         // first byte of a letter of two or three bytes in a script that writes words: é, ж, ắ
	digit          //
	blank          // space and tab
	newline        //
	wide           // first byte of a character that counts by itself: Han, kana, Hangul, Indic scripts, emoji
	sign           // first byte of punctuation beyond ASCII
	inside         // not a first byte, or not UTF-8
)

// kinds has the kind of each byte. It is never written to.
var kinds = makeKinds()

func makeKinds() (k [256]uint8) {
	for c := range k {
		switch {
		case 'a' <= c && c <= 'z':
			k[c] = lower
		case 'A' <= c && c <= 'Z':
			k[c] = upper
		case '0' <= c && c <= '9':
			k[c] = digit
		case c == '\n' || c == '\r':
			k[c] = newline
		case c == ' ' || c == '\t' || c == '\v' || c == '\f':
			k[c] = blank
		case c < 0x80:
			k[c] = symbol
		case c < 0xc2 || c > 0xf4:
			k[c] = inside
		case c == 0xc2 || c == 0xe2 || c == 0xef:
			k[c] = sign
		case c < 0xe0 || c == 0xe1:
			k[c] = narrow
		default:
			k[c] = wide
		}
	}
	return k
}

// isLetter reports whether a byte of that kind opens a letter of a word.
func isLetter(kind uint8) bool { return kind-lower <= narrow-lower }

// text counts s. The pieces are those that cl100k_base cuts a text into before it looks for tokens: a word with the one
// character before it, up to three digits, a run of symbols with the space before and the line ends after it, white space.
func (c *counter) text(s []byte) {
	for i := 0; i < len(s); {
		if s[i] == ' ' && i+1 < len(s) && isLetter(kinds[s[i+1]]) { // by far the most frequent
			i = c.word(s, i, i+1)
			continue
		}
		switch kinds[s[i]] {
		case lower, upper, narrow:
			i = c.word(s, i, i)
		case digit:
			i = c.digits(s, i)
		case blank, newline:
			i = c.space(s, i)
		case wide:
			i = c.character(s, i)
		case symbol:
			if i+1 < len(s) && isLetter(kinds[s[i+1]]) {
				i = c.word(s, i, i+1)
				continue
			}
			i = c.symbols(s, i, i)
		case sign:
			if i+3 < len(s) && s[i] >= 0xe0 && kinds[s[i+3]] == wide { // between two Han characters
				c.sum += (2 - alone(char(s[i:i+3]))) * one
				i += 3
				continue
			}
			i = c.symbols(s, i, i)
		default:
			i = c.symbols(s, i, i)
		}
	}
}

func (c *counter) digits(s []byte, i int) int {
	from := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	c.sum += (i - from + 2) / 3 * one
	return i
}

// space counts white space up to its last line end as one piece, the rest as another, of which the last character goes to
// the word or the symbols that follow.
func (c *counter) space(s []byte, i int) int {
	if s[i] == ' ' && i+1 < len(s) && kinds[s[i+1]] == symbol {
		return c.symbols(s, i, i+1)
	}
	line, from := i, i
	for i < len(s) {
		k := kinds[s[i]]
		if k == newline {
			line = i + 1
		} else if k != blank {
			break
		}
		i++
	}
	if line > from {
		c.run(line-from, 32)
	}
	n := i - line // blanks after the last line end
	if n == 0 {
		return i
	}
	if i == len(s) {
		c.run(n, 64)
		return i
	}
	if n > 1 {
		c.run(n-1, 64)
	}
	switch k := kinds[s[i]]; {
	case isLetter(k):
		return c.word(s, i-1, i)
	case s[i-1] == ' ' && (k == symbol || k >= sign):
		return c.symbols(s, i-1, i)
	case k != wide: // a space before Han and the like vanishes in the first token there
		c.sum += one
	}
	return i
}

// run counts n blanks of which most fit into one token.
func (c *counter) run(n, most int) { c.sum += (n + most - 1) / most * one }

// symbols counts a run of symbols that begins at i, after the space at from if that is not i.
func (c *counter) symbols(s []byte, from, i int) int {
	ascii, rest := 0, 0
	for i < len(s) {
		switch kinds[s[i]] {
		case symbol:
			ascii++
			i++
			continue
		case sign, inside:
			n := length(s, i)
			if !whole(s, i, i+n) {
				rest += one
			}
			rest += one
			i += n
			continue
		}
		break
	}
	for i < len(s) && kinds[s[i]] == newline {
		i++
	}
	switch {
	case whole(s, from, i):
		c.sum += one
	case ascii == 0:
		c.sum += rest
	default:
		c.sum += rest + symbolFirst + symbolNext*ascii
	}
	return i
}

// character counts the character at i and, where the two are one token, the next one as well.
func (c *counter) character(s []byte, i int) int {
	n := length(s, i)
	if n != 3 {
		c.sum += one
		if n < 3 || !whole(s, i, i+n) {
			c.sum += emojiMore
		}
		return i + n
	}
	r := char(s[i : i+3])
	if opens(r) != 0 && i+6 <= len(s) && s[i+3]-0xe0 < 0x10 && whole(s, i, i+6) {
		c.sum += one
		return i + 6
	}
	c.sum += one + (1-alone(r))*wideMore
	return i + 3
}

// length is how many bytes the character at i has, as its first byte says, and never more than there are.
func length(s []byte, i int) int {
	n := 1
	switch b := s[i]; {
	case b < 0xc2 || b > 0xf4:
	case b < 0xe0:
		n = 2
	case b < 0xf0:
		n = 3
	default:
		n = 4
	}
	return min(n, len(s)-i)
}

// word counts the word that begins at i with the character before it if from is not i.
func (c *counter) word(s []byte, from, i int) int {
	for i = letters(s, i); i < len(s) && kinds[s[i]] == narrow; {
		i = letters(s, i+length(s, i))
	}
	if whole(s, from, i) {
		c.sum += one
	} else {
		c.parts(s, from, i)
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// letters skips ASCII letters, eight at a time, for where a word ends is what a branch predictor cannot know.
func letters(s []byte, i int) int {
	for ; len(s)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(s[i:])
		small := (x | 0x20*ones) &^ highs
		is := (small + (0x80-'a')*ones) &^ (small + (0x7f-'z')*ones) &^ x & highs
		if is != highs {
			return i + bits.TrailingZeros64(is^highs)/8
		}
	}
	for i < len(s) && kinds[s[i]]-lower <= upper-lower {
		i++
	}
	return i
}

// parts counts a word that is not one token: the longest beginning that is a token, then the same with the rest. Byte pairs
// are merged in another order, but seldom to another number. What is left after mostParts is guessed from its length, so that
// letters without sense take no longer than they must.
func (c *counter) parts(s []byte, from, to int) {
	for range mostParts {
		k := min(to, from+mostPiece+1) - 1
		for k > from+1 && (s[k]&0xc0 == 0x80 || !whole(s, from, k)) {
			k--
		}
		if n := length(s, from); k < from+n { // not even the first letter
			k = min(from+n, to)
			c.sum += one
		}
		c.sum += one
		if from = k; from == to {
			return
		}
		if whole(s, from, to) {
			c.sum += one
			return
		}
	}
	c.sum += one + (to-from)*restByte
}
