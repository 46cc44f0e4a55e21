// Package sse relays text/event-stream bodies without changing a byte: a pull
// reader that hands out whole events as they arrived, a parser for one event,
// and appenders for events of the relay's own.
//
// Lines end in LF, CRLF or CR, mixed at will, and an event ends with a blank
// line, as in the WHATWG specification of server-sent events.
package sse

import (
	"bytes"
	"errors"
	"io"
	"math"
	"sync"
)

// ErrTooLarge is what Batch returns once an event has more bytes than the
// reader's bound.
var ErrTooLarge = errors.New("sse: event too large")

var (
	errReleased = errors.New("sse: reader used after Release")
	errCount    = errors.New("sse: source returned an impossible count")
)

const (
	// smallSize is the buffer of a stream of ordinary events, the only one
	// that thousands of idle streams should hold.
	smallSize = 4 << 10
	// bulkSize is the largest buffer that a stream gets for bringing many
	// events at once: twice what net/http reads at once.
	bulkSize = 8 << 10
	// keepSize is the largest buffer kept once what made it grow has gone.
	keepSize = 64 << 10
	// maxEmptyReads is how many reads in a row may bring neither bytes nor an
	// error.
	maxEmptyReads = 100
)

var blankLine = []byte("\n\n")

// pools lend buffers of smallSize and bulkSize.
var pools [2]sync.Pool

// class is the pool of buffers of a size; -1: there is none.
func class(size int) int {
	switch size {
	case smallSize:
		return 0
	case bulkSize:
		return 1
	}
	return -1
}

// lend returns a buffer of the size.
func lend(size int) *[]byte {
	if c := class(size); c >= 0 {
		if p, ok := pools[c].Get().(*[]byte); ok {
			return p
		}
	}
	b := make([]byte, size)
	return &b
}

// Reader cuts a stream into batches of whole events. It is for one goroutine
// at a time. It holds a 4 KiB buffer from its first Batch on, 8 KiB when events
// come faster than they are read, and more while an event needs more.
type Reader struct {
	src      io.Reader
	maxEvent int
	lent     *[]byte // buf as it was lent, to be given back
	buf      []byte
	err      error // what Batch returns when no complete event is left

	// buf[:done] was handed out by the last Batch, buf[done:w] is the start
	// of the next event, of which buf[done:pos] has been searched.
	done, pos, w int
	inLine       bool // the line that pos is in has bytes before pos
}

// NewReader returns a Reader of the stream src. maxEvent is the most bytes one
// event may have, its blank line included; less than 1 counts as 1.
func NewReader(src io.Reader, maxEvent int) *Reader {
	return &Reader{src: src, maxEvent: min(max(maxEvent, 1), math.MaxInt-1)}
}

// Batch returns all complete events that are buffered, as one slice of exactly
// the bytes received; with none buffered it reads from the source, one Read at
// a time, until a Read completed at least one. It never reads on after that.
// The slice is good until the next call of Batch or Release.
//
// An event is what [Cut] says. A CR that ends a blank line at the very end of
// what has been read may be the first half of a CRLF, so such an event is held
// until the next byte or the end of the source; nothing else is held.
//
// After the last complete event the error is, and stays, one of: io.EOF when
// the source ended there, io.ErrUnexpectedEOF when it ended inside an event,
// the source's own error, io.ErrNoProgress when it keeps returning nothing, or
// ErrTooLarge when the next event, complete or not, has more than maxEvent
// bytes. See Partial for the bytes of an event cut short.
func (r *Reader) Batch() ([]byte, error) {
	r.compact()
	for empty := 0; r.err == nil; {
		if r.w == len(r.buf) {
			r.grow()
		}
		n, err := r.src.Read(r.buf[r.w:])
		if n < 0 || n > len(r.buf)-r.w {
			n, err = 0, errCount
		}
		r.w += n
		if n > 0 {
			empty = 0
		} else if empty++; empty >= maxEmptyReads && err == nil {
			err = io.ErrNoProgress
		}
		r.scan(err != nil)
		if r.err == nil && err != nil {
			if err == io.EOF && r.done < r.w {
				err = io.ErrUnexpectedEOF
			}
			r.err = err
		}
		if r.done > 0 {
			return r.buf[:r.done:r.done], nil
		}
	}
	return nil, r.err
}

// Partial returns the bytes received after the last complete event. It is
// meant for when Batch has returned an error: a source may end without the
// last blank line. The slice is good until the next call of Batch or Release.
func (r *Reader) Partial() []byte {
	return r.buf[r.done:r.w:r.w]
}

// Release gives the reader's buffer back and must be called when the reader is
// no longer needed. Slices from Batch and Partial are no good afterwards, nor
// is the reader: its Batch returns an error. A second call does nothing. It
// does not close the source.
func (r *Reader) Release() {
	r.drop()
	r.src = nil
	r.err = errReleased
	r.done, r.pos, r.w = 0, 0, 0
}

// drop lets go of the buffer.
func (r *Reader) drop() {
	if c := class(len(r.buf)); c >= 0 {
		pools[c].Put(r.lent)
	}
	r.lent, r.buf = nil, nil
}

// swap moves the bytes from the start of the next event on into a buffer of the
// size.
func (r *Reader) swap(size int) {
	lent := lend(size)
	r.w = copy(*lent, r.buf[r.done:r.w])
	r.pos -= r.done
	r.done = 0
	r.drop()
	r.lent, r.buf = lent, *lent
}

// compact forgets the last batch: what follows it moves to the front, out of a
// large buffer when it fits a small one, and into a larger one when the last
// read filled the buffer, since more is waiting then.
func (r *Reader) compact() {
	rest := r.w - r.done
	switch {
	case len(r.buf) > keepSize && rest <= smallSize/2:
		r.swap(smallSize)
	case r.done == 0:
	case r.w == len(r.buf) && len(r.buf) == smallSize:
		r.swap(bulkSize)
	default:
		r.w = copy(r.buf, r.buf[r.done:r.w])
		r.pos -= r.done
		r.done = 0
	}
}

// grow makes room behind w. The bytes there are all of one event, which scan
// has found to be within maxEvent, so one byte more than that is room enough.
func (r *Reader) grow() {
	if r.buf == nil {
		r.lent = lend(smallSize)
		r.buf = *r.lent
		return
	}
	size := r.maxEvent + 1
	if len(r.buf) < size/2 {
		size = 2 * len(r.buf)
	}
	r.swap(size)
}

// scanLF is scan for the ordinary case: new bytes without a CR, so that the last
// event end is simply the last two LF in a row, and few enough bytes that no
// event can be too large. It reports whether the case was ordinary.
func (r *Reader) scanLF() bool {
	b := r.buf[:r.w]
	if r.pos == r.w || r.w-r.done > r.maxEvent || b[r.done] == '\n' || bytes.IndexByte(b[r.pos:], '\r') >= 0 {
		return false
	}
	// the first of the two may have been the last byte searched before
	from := max(r.done, r.pos-1)
	if i := bytes.LastIndex(b[from:], blankLine); i >= 0 {
		r.done = from + i + len(blankLine)
	}
	r.pos = r.w
	r.inLine = r.done < r.w && b[r.w-1] != '\n'
	return true
}

// scan searches the new bytes for event ends and moves done behind the last
// one. final says that no byte will follow, which decides a CR at the end.
// It sets err when an event is too large, and then searches no further.
func (r *Reader) scan(final bool) {
	if r.scanLF() {
		return
	}
	b := r.buf[:r.w]
	for r.pos < len(b) {
		i := r.pos + lineEnd(b[r.pos:])
		if i > r.pos {
			r.inLine = true
		}
		r.pos = i
		if i == len(b) {
			break
		}
		if b[i] == '\r' {
			if i+1 == len(b) && !final {
				break
			}
			if i+1 < len(b) && b[i+1] == '\n' {
				i++
			}
		}
		r.pos = i + 1
		if r.inLine {
			r.inLine = false
			continue
		}
		if r.pos-r.done > r.maxEvent {
			r.err = ErrTooLarge
			return
		}
		r.done = r.pos
	}
	if r.w-r.done > r.maxEvent {
		r.err = ErrTooLarge
	}
}

// lineEnd returns the index of the first LF or CR in b, or len(b). It looks in
// windows that grow, so that the work is in proportion to the result even when
// one of the two never occurs.
func lineEnd(b []byte) int {
	for lo, size := 0, 128; lo < len(b); size *= 2 {
		window := b[lo:min(lo+size, len(b))]
		lf := bytes.IndexByte(window, '\n')
		if lf >= 0 {
			window = window[:lf]
		}
		if cr := bytes.IndexByte(window, '\r'); cr >= 0 {
			return lo + cr
		}
		if lf >= 0 {
			return lo + lf
		}
		lo += len(window)
	}
	return len(b)
}
