package gateway

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
)

const (
	smallestBody = 9  // log2: 512 bytes
	unlentBody   = 15 // log2: 32 KiB; bodies up to this are not lent but left to the garbage collector
	largestBody  = 32 // log2: more than MAX_BODY_BYTES is ever set to
)

// bodyPool lends buffers for request bodies and bounds what all of them hold together.
type bodyPool struct {
	limit int64
	used  atomic.Int64
	pools [largestBody - smallestBody + 1]sync.Pool
}

// body is a request body, kept until the last of its readers is closed: the transport may still be sending when the
// answer is already there.
type body struct {
	pool  *bodyPool
	class int // index of the pool; -1: none
	buf   []byte
	refs  atomic.Int32
}

// readBody reads the whole body, at most max bytes. Errors are *core.Error, or the client's own read error.
func (p *bodyPool) readBody(w http.ResponseWriter, r *http.Request, max int64) (*body, error) {
	if r.ContentLength > max {
		return nil, tooLarge(max)
	}
	b := &body{pool: p, class: -1}
	b.refs.Store(1)
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return b, nil
	}
	// not all of a large one at once, or a few clients that announce much and send little would hold the memory of everybody
	size := min(r.ContentLength, bodyAtOnce)
	if r.ContentLength < 0 {
		size = 64 << 10
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyDeadline))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	if err := b.grow(size); err != nil {
		return nil, err
	}
	for {
		n, err := r.Body.Read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		if err == nil && int64(len(b.buf)) == r.ContentLength {
			err = io.EOF // all that was announced is here
		}
		switch {
		case int64(len(b.buf)) > max:
			b.release()
			return nil, tooLarge(max)
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			b.release()
			return nil, err
		}
		if int64(len(b.buf)) == max { // it needs no more memory to learn whether it ends here
			var more [1]byte
			_, err := io.ReadFull(r.Body, more[:])
			if errors.Is(err, io.EOF) {
				return b, nil
			}
			b.release()
			if err == nil {
				err = tooLarge(max)
			}
			return nil, err
		}
		if len(b.buf) == cap(b.buf) {
			if err := b.grow(int64(cap(b.buf)) * 2); err != nil {
				b.release()
				return nil, err
			}
		}
	}
}

// bodyAtOnce is how much memory a request gets for what it only announced.
const bodyAtOnce = 4 << 20

// bodyDeadline bounds how long a client may take to send its body.
const bodyDeadline = 5 * time.Minute

// reserve counts n bytes against the limit.
func (p *bodyPool) reserve(n int64) error {
	if p.used.Add(n) > p.limit {
		p.used.Add(-n)
		return &core.Error{Code: core.CodeOverloaded, RetryAfter: time.Second,
			Message: "The gateway holds as many request bodies as its memory allows. Send the request again."}
	}
	return nil
}

// grow moves the body into a buffer of at least size bytes.
func (b *body) grow(size int64) error {
	class := max(bits.Len64(uint64(size-1)), smallestBody) - smallestBody
	if class >= len(b.pool.pools) {
		return core.E(core.CodeTooLarge, "Request body is too large.")
	}
	capacity := int64(1) << (class + smallestBody)
	more := capacity
	if b.class >= 0 {
		more -= int64(1) << (b.class + smallestBody) // which free gives back below
	}
	if err := b.pool.reserve(more); err != nil {
		return err
	}
	var next []byte
	if v, ok := b.pool.pools[class].Get().(*[]byte); ok {
		next = (*v)[:0]
	} else {
		next = make([]byte, 0, capacity)
	}
	next = append(next, b.buf...)
	b.pool.used.Add(capacity - more)
	b.free()
	b.buf, b.class = next, class
	return nil
}

// rewrite makes the edits, in any order but apart from each other; those at the same place come in the order given.
func (b *body) rewrite(edits []edit) error {
	slices.SortStableFunc(edits, func(a, b edit) int { return a.at - b.at })
	size := len(b.buf)
	for _, e := range edits {
		size += len(e.with) - (e.end - e.at)
	}
	next := &body{pool: b.pool, class: -1}
	if err := next.grow(int64(max(size, 1))); err != nil {
		return err
	}
	from := 0
	for _, e := range edits {
		next.buf = append(append(next.buf, b.buf[from:e.at]...), e.with...)
		from = e.end
	}
	next.buf = append(next.buf, b.buf[from:]...)
	b.free()
	b.buf, b.class = next.buf, next.class
	return nil
}

func (b *body) free() {
	if b.class < 0 {
		return
	}
	b.pool.used.Add(-(int64(1) << (b.class + smallestBody)))
	if b.lent() {
		full := b.buf[:0]
		b.pool.pools[b.class].Put(&full)
	}
	b.buf, b.class = nil, -1
}

func (b *body) release() {
	if b.refs.Add(-1) == 0 {
		b.free()
	}
}

// lent reports whether the buffer goes back to a pool.
func (b *body) lent() bool { return b.class+smallestBody > unlentBody }

// reader returns a reader over parts, which lie in the body's buffer or outlive it. It holds a lent buffer until closed.
// Small bodies come as a type that net/http knows to be in memory: only then does it send head and body in one write.
func (b *body) reader(parts [][]byte) io.ReadCloser {
	if !b.lent() {
		whole := parts[0]
		if len(parts) > 1 {
			whole = slices.Concat(parts...)
		}
		return io.NopCloser(bytes.NewReader(whole))
	}
	b.refs.Add(1)
	return &bodyReader{b: b, parts: parts}
}

// bodyReader reads parts in a row: a body with its model replaced is two pieces around a new name, and the megabyte
// between need not be copied.
type bodyReader struct {
	mu    sync.Mutex // the transport closes from another goroutine than it reads from
	b     *body
	parts [][]byte // shared, read only
	i, at int
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	n := 0
	for n < len(p) && r.i < len(r.parts) {
		more := copy(p[n:], r.parts[r.i][r.at:])
		n += more
		if r.at += more; r.at == len(r.parts[r.i]) {
			r.i, r.at = r.i+1, 0
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// WriteTo implements io.WriterTo: what only looks at the body, such as a hash, needs no copy of it. The buffer stays as long as
// that takes, also when the reader is closed meanwhile.
func (r *bodyReader) WriteTo(w io.Writer) (n int64, err error) {
	r.mu.Lock()
	if r.b == nil {
		r.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b, parts, i, at := r.b, r.parts, r.i, r.at
	b.refs.Add(1)
	defer b.release()
	r.i, r.at = len(parts), 0
	r.mu.Unlock()
	for ; i < len(parts) && err == nil; i, at = i+1, 0 {
		var wrote int
		wrote, err = w.Write(parts[i][at:])
		n += int64(wrote)
	}
	return n, err
}

func (r *bodyReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b != nil {
		r.b.release()
		r.b = nil
		r.parts = nil
	}
	return nil
}

func sizeText(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return itoa(n>>10) + " KiB"
	}
	return itoa(n) + " bytes"
}
