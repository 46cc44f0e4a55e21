package rawjson

// Source code in a string has an escape every few bytes, at distances no
// branch predictor can guess, so finding each one costs a misprediction.
// skipDense takes such text through a state machine without branches: a byte
// selects a row of steps, the state is a shift that selects a field of that
// row, and the field is the next state.

// A state counts the bytes read of an unfinished escape, in units of stepBits:
// 0 is between characters, 2 to 5 are inside \uXXXX. A closing quote or a
// fault leads to stepStop, which the machine does not leave.
const (
	stepBits  = 8
	stepSlash = 1 * stepBits // the backslash is read
	stepHex   = 2 * stepBits // the u is read, and each digit adds one
	stepStop  = 6 * stepBits
	stepMask  = 63 // fields above the one selected are still in the state
)

// steps has the row of each byte. It is never written to.
var steps = makeSteps()

func makeSteps() (rows [256]uint64) {
	for c := range rows {
		next := [stepStop/stepBits + 1]uint64{0, stepStop, stepStop, stepStop, stepStop, stepStop, stepStop}
		switch {
		case c < ' ' || c == '"':
			next[0] = stepStop
		case c == '\\':
			next[0] = stepSlash
		}
		switch {
		case simple[c]:
			next[stepSlash/stepBits] = 0
		case c == 'u':
			next[stepSlash/stepBits] = stepHex
		}
		if hex[c] <= 0xf {
			for s := uint64(stepHex); s < stepStop; s += stepBits {
				next[s/stepBits] = (s + stepBits) % stepStop // the last digit leads to 0
			}
		}
		for s, to := range next {
			rows[c] |= to << (s * stepBits)
		}
	}
	return rows
}

// skipDense skips whole characters and escapes of a string from b[i] on, as
// long as the 64 bytes that open each stretch of 256 are not all plain. It
// judges nothing: it stops up to 32 bytes before a closing quote or a fault
// and leaves both to skipString. It may skip nothing.
func skipDense(b []byte, i int) int {
	s := uint64(0)
	for len(b)-i >= 256 && skipPlain(b[i:i+64], 0) < 64 {
		for end := i + 256; i < end; i += 32 {
			before := s
			for w := b[i : i+32 : i+32]; len(w) >= 8; w = w[8:] {
				s = steps[w[0]] >> (s & stepMask)
				s = steps[w[1]] >> (s & stepMask)
				s = steps[w[2]] >> (s & stepMask)
				s = steps[w[3]] >> (s & stepMask)
				s = steps[w[4]] >> (s & stepMask)
				s = steps[w[5]] >> (s & stepMask)
				s = steps[w[6]] >> (s & stepMask)
				s = steps[w[7]] >> (s & stepMask)
			}
			if s &= stepMask; s == stepStop {
				return i - int(before/stepBits)
			}
		}
	}
	return i - int(s/stepBits) // back to the start of an escape cut in two
}
