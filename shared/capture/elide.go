package capture

import "strconv"

// minRun is how long base64 is at least to be taken for a file: keys and identifiers are shorter.
const minRun = 512

func base64Byte(text []byte, i int) bool {
	c := text[i]
	return alnum(c) || c == '+' || c == '/' || c == '\\' && i+1 < len(text) && text[i+1] == '/' // as some encoders escape it
}

// Clip appends a body with long base64, as images and files have it, replaced by its length, and at most most bytes of that.
// cut tells that something is missing.
func Clip(dst, body []byte, most int) (out []byte, cut bool) {
	start := len(dst)
	room := func() int { return most - (len(dst) - start) }
	for p := 0; p < len(body); {
		from, to := nextRun(body, p, room())
		if plain := body[p:from]; len(plain) > room() {
			return append(dst, plain[:room()]...), true
		} else {
			dst = append(dst, plain...)
		}
		if from == to {
			return dst, from < len(body)
		}
		note := "[" + strconv.Itoa(decodedSize(body[from:to])) + " bytes of base64]"
		if len(note) > room() {
			return dst, true
		}
		dst = append(dst, note...)
		for p = to; p < len(body) && body[p] == '=' && p < to+2; p++ {
		}
	}
	return dst, false
}

// nextRun finds the first run of base64 from p on; from and to are the same when there is none before more than room bytes
// were seen. It looks at every minRun-th byte only while there is none.
func nextRun(body []byte, p, room int) (from, to int) {
	i := p
	for i+minRun <= len(body) {
		if i-p > room {
			return i, i
		}
		k := i + minRun - 1
		for k >= i && base64Byte(body, k) {
			k--
		}
		if k >= i {
			i = k + 1
			continue
		}
		to = i + minRun
		for to < len(body) && base64Byte(body, to) {
			to++
		}
		return i, to
	}
	return len(body), len(body)
}

// decodedSize is how many bytes base64 stands for.
func decodedSize(run []byte) int {
	n := 0
	for _, c := range run {
		if c != '\\' {
			n++
		}
	}
	return n * 3 / 4
}
