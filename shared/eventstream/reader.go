package eventstream

import (
	"errors"
	"io"
	"math"
	"sync"
)

// ErrTooLarge is what Batch returns for a frame that is longer than the reader's bound.
var ErrTooLarge = errors.New("eventstream: frame too large")

var (
	errReleased = errors.New("eventstream: reader used after Release")
	errCount    = errors.New("eventstream: source returned an impossible count")
)

const (
	// usual is the buffer of a stream of ordinary frames, the only one that thousands of idle streams should hold.
	usual = 4 << 10
	// keep is the largest buffer kept once the frame that made it grow has gone.
	keep = 64 << 10
	// maxEmptyReads is how many reads in a row may bring neither bytes nor an error.
	maxEmptyReads = 100
)

// pool lends buffers of the usual size.
var pool sync.Pool

func lend() *[]byte {
	if p, ok := pool.Get().(*[]byte); ok {
		return p
	}
	b := make([]byte, usual)
	return &b
}

// Reader cuts a stream into batches of whole frames. It is for one goroutine at a time. It holds a 4 KiB buffer from its
// first Batch on, and more while a frame needs more.
type Reader struct {
	src  io.Reader
	max  int
	lent *[]byte // buf as it was lent, to be given back; nil: buf is the reader's own
	buf  []byte
	err  error // what Batch returns when no whole frame is left

	// buf[:done] was handed out by the last Batch, buf[done:w] is the start of the next frame, need is that frame's length;
	// 0: not known yet.
	done, w, need int
}

// NewReader returns a Reader of the stream r. max is the most bytes that one frame may have; less than 16, the smallest
// frame, counts as 16.
func NewReader(r io.Reader, max int) *Reader {
	return &Reader{src: r, max: clamp(max)}
}

func clamp(n int) int { return min(max(n, smallest), math.MaxInt32) }

// Batch returns all whole frames that are buffered, as one slice of exactly the bytes received; with none buffered it reads
// from the source, one Read at a time, until a Read completed at least one. It never reads on after that. The slice is good
// until the next call of Batch or Release. Of the checksums only those of the preludes have been checked, see [Cut].
//
// After the last whole frame the error is, and stays, one of: io.EOF when the source ended there, io.ErrUnexpectedEOF when
// it ended inside a frame, the source's own error, io.ErrNoProgress when it keeps returning nothing, ErrTooLarge when the
// next frame says that it is longer than max, or one that wraps ErrCorrupt when its prelude cannot be right. None of the two
// takes memory for what is announced.
func (r *Reader) Batch() ([]byte, error) {
	r.forget()
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
		r.scan()
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

// Release gives the reader's buffer back and must be called when the reader is no longer needed. Slices from Batch are no
// good afterwards, nor is the reader: its Batch returns an error. A second call does nothing. It does not close the source.
func (r *Reader) Release() {
	r.drop()
	r.src = nil
	r.err = errReleased
	r.done, r.w, r.need = 0, 0, 0
}

func (r *Reader) drop() {
	if r.lent != nil {
		pool.Put(r.lent)
	}
	r.lent, r.buf = nil, nil
}

// scan moves done behind the last whole frame and learns the length of the one after it.
func (r *Reader) scan() {
	for r.err == nil {
		have := r.w - r.done
		if r.need == 0 {
			if have < prelude {
				return
			}
			length, _, err := frame(r.buf[r.done:r.w])
			switch {
			case err != nil:
				r.err = err
				return
			case uint64(length) > uint64(r.max):
				r.err = ErrTooLarge
				return
			}
			r.need = int(length)
		}
		if have < r.need {
			return
		}
		r.done += r.need
		r.need = 0
	}
}

// forget lets go of the last batch: what follows it moves to the front, out of a large buffer when it fits a usual one.
func (r *Reader) forget() {
	rest := r.w - r.done
	switch {
	case len(r.buf) > keep && rest <= usual/2 && r.need <= usual:
		r.swap(lend())
	case r.done > 0:
		r.w = copy(r.buf, r.buf[r.done:r.w])
		r.done = 0
	}
}

// grow makes room behind w for the frame that is there: twice as much each time, so that a length which is only announced
// takes no memory.
func (r *Reader) grow() {
	if r.buf == nil {
		r.lent = lend()
		r.buf = *r.lent
		return
	}
	bigger := make([]byte, min(2*len(r.buf), max(r.need, usual)))
	r.swap(&bigger)
	r.lent = nil
}

// swap moves the bytes from the start of the next frame on into another buffer.
func (r *Reader) swap(to *[]byte) {
	r.w = copy(*to, r.buf[r.done:r.w])
	r.done = 0
	r.drop()
	r.lent, r.buf = to, *to
}
