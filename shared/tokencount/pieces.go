package tokencount

import (
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"iter"
	"math/bits"
)

const (
	mostPiece  = 16      // bytes of the longest piece that is looked up; 1 % of a vocabulary is longer
	pieceWords = 1 << 14 // 64-bit words of the filter: about ten bits for each of cl100k_base's pieces
	filterSize = pieceWords * 8
	charsSize  = 1 << 16 / 8 // a bit for each character of up to three bytes
)

// pieces.txt is base64 in lines, so that it stays text for those who keep it. It is made of the vocabulary cl100k_base, which
// OpenAI published under the MIT licence.
//
//go:embed pieces.txt
var piecesText string

// pieces says of a piece of text whether it is one token. It is a Bloom filter of the vocabulary: each piece sets three bits
// of one word, so that a look-up touches one line of cache. About 3 of 100 strings that are not a token pass for one. Two tables
// with a bit for each character of three bytes follow, which serve scripts without words faster: is it a token, does a token of
// two such characters begin with it.
// It is never written to.
var pieces = readPieces()

func readPieces() string {
	data, err := base64.StdEncoding.DecodeString(piecesText) // which skips ends of lines
	if err != nil || len(data) != filterSize+2*charsSize {
		panic("tokencount: pieces.txt is damaged")
	}
	return string(data)
}

// Pieces makes the content of pieces.txt from a vocabulary. Words of one byte or of more than 16 are left out.
// Only the tool in tests/tokencount calls it, it is here because look-up and making must agree.
func Pieces(vocabulary iter.Seq[string]) []byte {
	out := make([]byte, filterSize+2*charsSize)
	for s := range vocabulary {
		if len(s) < 2 || len(s) > mostPiece {
			continue
		}
		var b [mostPiece]byte
		n := copy(b[:], s)
		h := mix(binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:]), uint(n))
		word := out[h>>50*8:]
		if len(s) == 3 && s[0] >= 0xe0 {
			c := char([]byte(s))
			out[filterSize+c/8] |= 1 << (c % 8)
		} else if len(s) == 6 && s[0] >= 0xe0 && s[3] >= 0xe0 {
			c := char([]byte(s))
			out[filterSize+charsSize+c/8] |= 1 << (c % 8)
		}
		binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)|bit(h)|bit(h>>6)|bit(h>>12))
	}
	var lines []byte
	for text := base64.StdEncoding.EncodeToString(out); text != ""; {
		n := min(len(text), 120)
		lines = append(append(lines, text[:n]...), '\n')
		text = text[n:]
	}
	return lines
}

// whole reports whether s[from:to] is (most likely) one token. It is told where the piece lies so that it can read past its end:
// one load of 16 bytes costs less than a branch on every length.
func whole(s []byte, from, to int) bool {
	n := uint(to - from)
	if n > mostPiece {
		return false
	}
	var b *[mostPiece]byte
	if from+mostPiece <= len(s) {
		b = (*[mostPiece]byte)(s[from:])
	} else {
		b = new([mostPiece]byte)
		copy(b[:], s[from:])
	}
	m := &masks[n]
	h := mix(binary.LittleEndian.Uint64(b[:])&m[0], binary.LittleEndian.Uint64(b[8:])&m[1], n)
	mask := bit(h) | bit(h>>6) | bit(h>>12)
	return filter[h>>50]&mask == mask || n < 2
}

// filter is the first part of pieces, in words. It is never written to.
var filter = makeFilter()

func makeFilter() (f [pieceWords]uint64) {
	for i := range len(f) * 8 {
		f[i/8] |= uint64(pieces[i]) << (i % 8 * 8)
	}
	return f
}

// char is the number of the character of three bytes that opens s.
func char(s []byte) uint {
	return uint(s[0]&0x0f)<<12 | uint(s[1]&0x3f)<<6 | uint(s[2]&0x3f)
}

// alone is 1 where a character is one token, else 0.
func alone(c uint) int { return int(pieces[filterSize+c/8] >> (c % 8) & 1) }

// opens is 1 where a token of two characters may begin with this one.
func opens(c uint) int { return int(pieces[filterSize+charsSize+c/8] >> (c % 8) & 1) }

// masks has the bytes of a piece that count, by its length, in two words. It is never written to.
var masks = makeMasks()

func makeMasks() (m [mostPiece + 1][2]uint64) {
	for n := range m {
		for i := range n {
			m[n][i/8] |= 0xff << (i % 8 * 8)
		}
	}
	return m
}

// mix is the hash of a piece of n bytes, given in two words: its place in the filter is in the highest bits, its bits there are
// told by the lowest.
func mix(first, last uint64, n uint) uint64 {
	hi, lo := bits.Mul64(first^0x9e3779b97f4a7c15, last^uint64(n)<<56^0xd1b54a32d192ed03)
	return hi ^ lo
}

func bit(h uint64) uint64 { return 1 << (h & 63) }
