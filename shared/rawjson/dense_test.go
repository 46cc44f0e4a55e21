package rawjson

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// skipSlowly is skipString one byte at a time.
func skipSlowly(b []byte, i int) (int, fault) {
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i + 1, ok
		case c < ' ':
			return i, faultControl
		case c != '\\':
			i++
		case i+1 == len(b):
			return len(b), faultEnd
		case simple[b[i+1]]:
			i += 2
		case b[i+1] != 'u':
			return i, faultEscape
		default:
			i += 2
			for end := i + 4; i < end; i++ {
				if i == len(b) {
					return i, faultEnd
				}
				if hex[b[i]] > 0xf {
					return i, faultHex
				}
			}
		}
	}
	return len(b), faultEnd
}

// TestDense damages, cuts and closes text full of escapes at every kind of
// place and compares the end or the fault with what skipSlowly finds.
func TestDense(t *testing.T) {
	pieces := []string{
		`\n`, `\t`, `\\`, `\"`, `\/`, `\b`, `\f`, `\r`, `\u00e9`, `\uD83D\ude00`, `\\\\\\`, `\\\"`,
		"a", "fabcd", "u0041", "name ", "func(x) ", "é", "\xff\x80", "\x7f",
	}
	damage := []string{`"`, "\x00", "\n", "\x1f", `\`, `\x`, `\u`, `\u12`, `\u12g4`, `\U0041`, `\` + "\x00", "\\\xff", "\\u\x00"}
	rng := rand.New(rand.NewPCG(3, 4))
	faults := map[fault]int{}
	skipped := 0
	for range 20000 {
		var text []byte
		for size := rng.IntN(1500); len(text) < size; {
			if rng.IntN(100) == 0 {
				text = append(text, prose[:rng.IntN(len(prose))]...)
			}
			text = append(text, pieces[rng.IntN(len(pieces))]...)
		}
		if at := rng.IntN(len(text) + 1); rng.IntN(4) > 0 {
			text = append(append(text[:at:at], damage[rng.IntN(len(damage))]...), text[at:]...)
		}
		if rng.IntN(4) > 0 {
			text = append(text, `"`+prose+prose...)
		}
		// Tight capacity: reading past the end must be a panic here.
		text = bytes.Clone(text)[:len(text):len(text)]
		i, f := skipString(text, 0)
		if wantI, want := skipSlowly(text, 0); i != wantI || f != want {
			t.Fatalf("%q: fault %d at %d, want %d at %d", text, f, i, want, wantI)
		}
		faults[f]++
		at := skipDense(text, 0)
		if wantI, want := skipSlowly(text, at); i != wantI || f != want || at > i {
			t.Fatalf("%q: skipDense stops at %d: fault %d at %d, want %d at %d", text, at, want, wantI, f, i)
		}
		skipped += at
	}
	for _, f := range []fault{ok, faultEnd, faultControl, faultEscape, faultHex} {
		if faults[f] < 100 {
			t.Errorf("fault %d is met %d times", f, faults[f])
		}
	}
	if skipped < 1<<20 {
		t.Errorf("skipDense skips only %d bytes", skipped)
	}
}
