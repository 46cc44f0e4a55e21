package pricing

import (
	"bytes"
	"strconv"
)

// decimal reads a decimal number and returns it times ten to the power of shift, rounded half up: exactly, where a float
// would not be. ok is false when s is no number of JSON's form, is negative or is beyond maxRate.
func decimal(s []byte, shift int) (n int64, ok bool) {
	mantissa, exp, ok := split(s)
	if !ok {
		return 0, false
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	if len(whole) == 0 || !digits(whole) || !digits(fraction) || bytes.HasSuffix(mantissa, []byte(".")) {
		return 0, false
	}
	point := len(whole) + exp + shift // digits before the point, of all digits
	for i := 0; ; i++ {
		d := byte('0')
		switch {
		case i < len(whole):
			d = whole[i]
		case i < len(whole)+len(fraction):
			d = fraction[i-len(whole)]
		case i >= point || n == 0:
			return n, true
		}
		if i == point {
			if d >= '5' {
				n++
			}
			return n, n <= maxRate
		}
		if i > point { // less than a tenth
			return 0, true
		}
		if n = n*10 + int64(d-'0'); n > maxRate {
			return 0, false
		}
	}
}

// split takes the exponent off a number. One too large to matter is as good as another.
func split(s []byte) (mantissa []byte, exp int, ok bool) {
	i := bytes.IndexAny(s, "eE")
	if i < 0 {
		return s, 0, len(s) > 0
	}
	exp, err := strconv.Atoi(string(s[i+1:]))
	if err != nil || exp > 1000 || exp < -1000 {
		return nil, 0, false
	}
	return s[:i], exp, i > 0
}

// appendUSD writes micro-USD as USD, with no more digits than it needs.
func appendUSD(dst []byte, micro int64) []byte {
	dst = strconv.AppendInt(dst, micro/1_000_000, 10)
	if micro %= 1_000_000; micro == 0 {
		return dst
	}
	dst = append(dst, '.')
	dst = append(dst, strconv.Itoa(1_000_000 + int(micro))[1:]...)
	return bytes.TrimRight(dst, "0")
}
