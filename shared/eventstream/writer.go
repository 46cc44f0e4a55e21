package eventstream

import (
	"encoding/binary"
	"hash/crc32"
)

// MaxFrame is the most bytes of one frame: AWS's decoders refuse a payload beyond 16 MiB, which headers and checksums are
// counted to here.
const MaxFrame = 16 << 20

// Head is the headers of frames that differ in their payload alone. A frame is written in three steps, so that its payload can
// be made in its place:
//
//	at := len(dst)
//	dst = head.Begin(dst)
//	dst = append(dst, payload...)
//	dst = End(dst, at)
type Head struct{ begin string }

// EventHead is the Head of events with a payload of JSON.
func EventHead(name string) Head { return newHead(":event-type", name, "event") }

// ExceptionHead is the Head of exceptions with a payload of JSON. In streams their names begin with a small letter.
func ExceptionHead(name string) Head { return newHead(":exception-type", name, "exception") }

// newHead has the headers in the order of AWS's services.
func newHead(typ, name, kind string) Head {
	b := make([]byte, prelude, 96)
	for _, h := range [...][2]string{{typ, name}, {":content-type", "application/json"}, {":message-type", kind}} {
		b = append(append(b, byte(len(h[0]))), h[0]...)
		b = append(b, typeString)
		b = binary.BigEndian.AppendUint16(b, uint16(len(h[1])))
		b = append(b, h[1]...)
	}
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-prelude))
	return Head{string(b)}
}

// Begin appends the beginning of a frame.
func (h Head) Begin(dst []byte) []byte { return append(dst, h.begin...) }

// End makes a whole frame of what was appended to dst since it had the length at. The frame must not be longer than MaxFrame.
func End(dst []byte, at int) []byte {
	f := dst[at:]
	binary.BigEndian.PutUint32(f, uint32(len(f)+trailer))
	binary.BigEndian.PutUint32(f[8:], crc32.ChecksumIEEE(f[:8]))
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(f))
}
