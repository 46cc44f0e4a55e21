package tokencount

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
)

// What files count, in tokens. Anthropic's documentation gives width*height/750 for an image, scaled down before to 1,568
// pixels at its longer side and about 1,600 tokens, and 1,500 to 3,000 for a page of a PDF, which is read as text and as an
// image. How many bytes a page has differs too much to be more than a guess.
const (
	imageTokens    = 1500 // size unknown
	mostImage      = 1600
	pixelsPerToken = 750
	longestSide    = 1568

	pageTokens     = 2500
	pageBytes      = 60_000
	mostPages      = 600
	documentTokens = 10 * pageTokens // content unknown

	bytesPerSound = 1600 // of compressed speech for a token
	bytesPerToken = 4    // of any other file

	mostHead    = 256 // bytes of a data URL before its comma
	leastFile   = 64  // bytes of base64 that are a file and not a word
	mostMarkers = 64  // of a JPEG that are looked at for its size
)

// mayBeFile reports whether a member of that name may hold the bytes of a file.
func mayBeFile(key []byte) bool {
	switch string(key) {
	case "data", "url", "image_url", "file_data":
		return true
	}
	return false
}

// file passes the string here and counts it as a file if it is one: a data URL or base64. Otherwise it stays and returns false.
func (w *walker) file() bool {
	start := w.at
	s := w.raw()
	sound := false
	if bytes.HasPrefix(s, []byte("data:")) {
		head, _, ok := bytes.Cut(s[:min(len(s), mostHead)], []byte(","))
		if ok {
			s = s[len(head)+1:]
		}
		sound = bytes.HasPrefix(head, []byte("data:audio"))
	} else if !isBase64(s) {
		w.at = start
		return false
	}
	w.media++
	w.add(fileTokens(s, sound))
	return true
}

// isBase64 judges by the beginning, which in any text would have a space or a sign.
func isBase64(s []byte) bool {
	if len(s) < leastFile {
		return false
	}
	for _, c := range s[:leastFile] {
		if !(kinds[c] == lower || kinds[c] == upper || kinds[c] == digit || c == '+' || c == '/' || c == '=' || c == '\\') {
			return false
		}
	}
	return true
}

// fileTokens guesses from a file in base64 what it counts: by its size in pixels or bytes, told from its first bytes.
func fileTokens(s []byte, sound bool) int {
	var head [30]byte
	n := len(s) / 4 * 3
	if first := unescaped(s); !at(first[:], 0, head[:]) {
		at(first[:], 0, head[:12])
	}
	switch {
	case bytes.HasPrefix(head[:], []byte("\x89PNG")):
		return pixels(binary.BigEndian.Uint32(head[16:]), binary.BigEndian.Uint32(head[20:]))
	case bytes.HasPrefix(head[:], []byte("GIF8")):
		return pixels(uint32(binary.LittleEndian.Uint16(head[6:])), uint32(binary.LittleEndian.Uint16(head[8:])))
	case bytes.HasPrefix(head[:], []byte("\xff\xd8\xff")):
		return pixels(jpegSize(s))
	case bytes.HasPrefix(head[:], []byte("RIFF")) && string(head[8:12]) == "WEBP":
		return imageTokens
	case bytes.HasPrefix(head[:], []byte("%PDF")):
		return min(1+n/pageBytes, mostPages) * pageTokens
	case sound || bytes.HasPrefix(head[:], []byte("RIFF")) || bytes.HasPrefix(head[:], []byte("ID3")), head[0] == 0xff && head[1] >= 0xe0:
		return 1 + n/bytesPerSound
	}
	return 1 + n/bytesPerToken
}

// unescaped is the beginning of base64 without the backslash that some encoders put before each slash.
func unescaped(s []byte) (out [40]byte) {
	n := 0
	for _, c := range s[:min(len(s), 2*len(out))] {
		if c != '\\' && n < len(out) {
			out[n] = c
			n++
		}
	}
	return out
}

// pixels is what an image of that size counts.
func pixels(width, height uint32) int {
	if width == 0 || height == 0 {
		return imageTokens
	}
	x, y := float64(width), float64(height)
	if long := max(x, y); long > longestSide {
		x, y = x*longestSide/long, y*longestSide/long
	}
	return int(min(math.Ceil(x*y/pixelsPerToken), mostImage))
}

// jpegSize finds the frame header of a JPEG and returns its size, 0 where it is not found soon.
func jpegSize(s []byte) (width, height uint32) {
	var m [9]byte
	pos := 2
	for range mostMarkers {
		if !at(s, pos, m[:]) || m[0] != 0xff {
			return 0, 0
		}
		switch k := m[1]; {
		case k == 0xff: // a fill byte
			pos++
			continue
		case k >= 0xc0 && k <= 0xcf && k != 0xc4 && k != 0xc8 && k != 0xcc:
			return uint32(m[7])<<8 | uint32(m[8]), uint32(m[5])<<8 | uint32(m[6])
		}
		pos += 2 + int(m[2])<<8 + int(m[3])
	}
	return 0, 0
}

// at decodes the bytes of a file in base64 from pos on into dst, and reports whether all of them are there. It reads no more of s
// than it needs. dst has at most 30 bytes.
func at(s []byte, pos int, dst []byte) bool {
	from := pos / 3 * 4
	to := (pos + len(dst) + 2) / 3 * 4
	if to > len(s) {
		return false
	}
	var out [36]byte
	n, err := base64.StdEncoding.Decode(out[:], s[from:to])
	skip := pos % 3
	if err != nil || n < skip+len(dst) {
		return false
	}
	copy(dst, out[skip:])
	return true
}
