package core

import (
	"errors"
	"math"
	"strconv"
)

// Sketch tells percentiles of many milliseconds in little space: it counts values in buckets whose bounds grow by
// 10.5 %, so that what Quantile returns is within 5 % of the exact value. Sketches of parts merge into that of the whole,
// in any order. The zero value is empty. Sketches are values: copies share nothing, and == compares what they count.
//
// Its text, which is also its JSON, has two capital letters for each bucket that is not empty and then, where it is not
// 1, the count in base 36: AB is one value of a millisecond. Texts put one after the other are the text of the whole as
// ParseSketch reads it: stores add up by concatenation.
type Sketch struct{ text string }

const (
	sketchGrowth  = 1.05 / 0.95
	sketchBuckets = 300 // the last begins at 315 years
	sketchCounts  = 36  // base
)

var errSketch = errors.New("not the text of a sketch")

// sketchBucket is where a value counts: 0 below a millisecond, then k+1 for growth^(k-1) < ms <= growth^k.
func sketchBucket(ms int64) int {
	if ms <= 0 {
		return 0
	}
	return min(int(math.Ceil(math.Log(float64(ms))/math.Log(sketchGrowth)-1e-9))+1, sketchBuckets-1)
}

// sketchValue is the value that stands for a bucket: its relative distance to the smallest and to the largest whole
// number of milliseconds in it is the same.
func sketchValue(bucket int) float64 {
	if bucket == 0 {
		return 0
	}
	lo := math.Floor(math.Pow(sketchGrowth, float64(bucket-2))+1e-6) + 1
	hi := math.Floor(math.Pow(sketchGrowth, float64(bucket-1)) + 1e-6)
	if bucket == 1 {
		lo = 1
	}
	hi = max(hi, lo)
	return 2 * lo * hi / (lo + hi)
}

// AppendSample appends the text of a sketch of one value.
func AppendSample(dst []byte, ms int64) []byte { return appendBucket(dst, sketchBucket(ms), 1) }

func appendBucket(dst []byte, bucket int, n int64) []byte {
	dst = append(dst, 'A'+byte(bucket/26), 'A'+byte(bucket%26))
	if n != 1 {
		dst = strconv.AppendInt(dst, n, sketchCounts)
	}
	return dst
}

// SketchOf returns the sketch of some values.
func SketchOf(ms ...int64) Sketch {
	var c sketchCount
	for _, v := range ms {
		c[sketchBucket(v)]++
	}
	return c.sketch()
}

// Add counts a value. What is not above 0 counts as 0. To add up many, append AppendSample's and read the text once.
func (s *Sketch) Add(ms int64) { s.Merge(Sketch{string(AppendSample(nil, ms))}) }

// Merge counts what another counts.
func (s *Sketch) Merge(o Sketch) {
	switch {
	case o.text == "":
		return
	case s.text == "":
		*s = o
		return
	}
	var c sketchCount
	_ = c.read([]byte(s.text)) // both are well-formed
	_ = c.read([]byte(o.text))
	*s = c.sketch()
}

// Count is how many values were added. 0 also where what is summed up was written before there were sketches.
func (s Sketch) Count() (n int64) {
	s.each(func(_ int, k int64) bool {
		n = addCounts(n, k)
		return true
	})
	return n
}

// Quantile returns the value, in milliseconds, that a share q (0 to 1) of the values does not exceed, within 5 %; 0 when
// there are none. Quantile(0.95) is the 95th percentile: of n values the one at rank ceil(0.95n).
func (s Sketch) Quantile(q float64) (ms float64) {
	rank := int64(math.Ceil(q*float64(s.Count()) - 1e-9))
	s.each(func(bucket int, n int64) bool {
		ms = sketchValue(bucket)
		rank -= n
		return rank > 0
	})
	return ms
}

// each calls fn for each bucket, in order, until it returns false.
func (s Sketch) each(fn func(bucket int, n int64) bool) {
	for rest := []byte(s.text); len(rest) > 0; {
		bucket, n, used := readBucket(rest)
		if used == 0 || !fn(bucket, n) {
			return
		}
		rest = rest[used:]
	}
}

// String is the text of the sketch.
func (s Sketch) String() string { return s.text }

// AppendText implements encoding.TextAppender.
func (s Sketch) AppendText(dst []byte) ([]byte, error) { return append(dst, s.text...), nil }

// MarshalText implements encoding.TextMarshaler.
func (s Sketch) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler as ParseSketch does.
func (s *Sketch) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSketch(text)
	return err
}

// ParseSketch reads texts of sketches, one after the other, as the text of the whole. In between there may be single
// values: = and a decimal number of milliseconds.
func ParseSketch(text []byte) (Sketch, error) {
	var c sketchCount
	if err := c.read(text); err != nil {
		return Sketch{}, err
	}
	return c.sketch(), nil
}

// sketchCount is a sketch that is being added up.
type sketchCount [sketchBuckets]int64

func (c *sketchCount) read(text []byte) error {
	for len(text) > 0 {
		bucket, n, used := readBucket(text)
		if used == 0 {
			return errSketch
		}
		c[bucket] = addCounts(c[bucket], n)
		text = text[used:]
	}
	return nil
}

// addCounts adds and stays at the largest number.
func addCounts(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// readBucket reads one bucket, or one value, at the beginning of a text. used is 0 when there is none.
func readBucket(text []byte) (bucket int, n int64, used int) {
	if text[0] == '=' {
		end := 1
		for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 1 && text[end] == '-') {
			end++
		}
		ms, err := strconv.ParseInt(string(text[1:end]), 10, 64)
		if err != nil {
			return 0, 0, 0
		}
		return sketchBucket(ms), 1, end
	}
	if len(text) < 2 || text[0] < 'A' || text[0] > 'Z' || text[1] < 'A' || text[1] > 'Z' {
		return 0, 0, 0
	}
	if bucket = int(text[0]-'A')*26 + int(text[1]-'A'); bucket >= sketchBuckets {
		return 0, 0, 0
	}
	for used = 2; used < len(text); used++ {
		d := digit(text[used])
		if d < 0 {
			break
		}
		if n > (math.MaxInt64-d)/sketchCounts {
			return 0, 0, 0
		}
		n = n*sketchCounts + d
	}
	if used == 2 {
		n = 1
	}
	return bucket, n, used
}

// digit is the value of a digit in base 36; -1 for anything else.
func digit(c byte) int64 {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0')
	case c >= 'a' && c <= 'z':
		return int64(c-'a') + 10
	}
	return -1
}

func (c *sketchCount) sketch() Sketch {
	var room [256]byte
	text := room[:0]
	for bucket, n := range c {
		if n > 0 {
			text = appendBucket(text, bucket, n)
		}
	}
	return Sketch{string(text)}
}
