package capture

import (
	"bytes"
	"regexp/syntax"
	"unicode"
)

// required is a text that every match of an expression holds, in lower case: the longest that is easily found. nil is none.
func required(t *syntax.Regexp) []byte {
	switch t.Op {
	case syntax.OpLiteral:
		return literal(t)
	case syntax.OpCapture, syntax.OpPlus:
		return required(t.Sub[0])
	case syntax.OpRepeat:
		if t.Min > 0 {
			return required(t.Sub[0])
		}
	case syntax.OpConcat:
		var best []byte
		for _, sub := range t.Sub {
			if one := required(sub); len(one) > len(best) {
				best = one
			}
		}
		return best
	}
	return nil
}

// literal is the longest part of a literal whose letters have no other case than those of ASCII: (?i)k matches the sign for
// kelvin, too.
func literal(t *syntax.Regexp) []byte {
	var best, run []byte
	for _, c := range t.Rune {
		if c > unicode.MaxASCII || t.Flags&syntax.FoldCase != 0 && foldsAfar(c) {
			run = nil
			continue
		}
		if run = append(run, byte(c)); len(run) > len(best) {
			best = bytes.Clone(run)
		}
	}
	return lower(best)
}

func foldsAfar(c rune) bool {
	for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
		if f > unicode.MaxASCII {
			return true
		}
	}
	return false
}

// lower is a copy with the letters of ASCII in lower case, byte for byte.
func lower(text []byte) []byte {
	out := bytes.Clone(text)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}
