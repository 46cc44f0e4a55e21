package upstreamtest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// scratch is memory used again from request to request.
type scratch struct {
	body    bytes.Buffer
	buf     []byte
	pending []byte
}

var errTooLarge = errors.New("request body too large")

// serveHTTP answers one request.
func (f *fake) serveHTTP(w http.ResponseWriter, r *http.Request) {
	f.running.RLock()
	defer f.running.RUnlock()
	mem := f.scratch.Get().(*scratch)
	defer f.scratch.Put(mem)

	body, err := f.read(r, mem)
	f.count.Add(1)
	x := &exchange{
		f: f, w: w, rc: http.NewResponseController(w), ctx: r.Context(), buf: mem.buf, pending: mem.pending[:0],
		req: Request{
			Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Host: r.Host,
			Header: r.Header, Body: body, ContentLength: r.ContentLength, RemoteAddr: r.RemoteAddr,
		},
	}
	// A copy: recording changes it while the answer reads its own.
	entry := x.req
	if f.recording {
		f.records.add(&entry)
	}
	// Deferred, because a broken-off answer may panic to say so.
	defer func() {
		mem.buf, mem.pending = x.buf, x.pending
		f.records.end(&entry, x.left, f.recording)
	}()

	if err != nil && !errors.Is(err, errTooLarge) {
		x.left = true
		x.hangUp(EndClose)
		return
	}
	x.tooLarge = err != nil
	f.api.serve(x)
}

// read reads the body, into the request's own memory if it is to be kept.
func (f *fake) read(r *http.Request, mem *scratch) ([]byte, error) {
	limit := f.api.maxBody(r.URL.Path)
	buf := &mem.body
	buf.Reset()
	if f.recording {
		buf = new(bytes.Buffer)
	}
	if n := r.ContentLength; n > 0 && n <= limit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1))
	if err == nil && int64(buf.Len()) > limit {
		// Read on for a while, so that a client still writing sees the
		// answer rather than a reset.
		_, _ = io.CopyN(io.Discard, r.Body, maxBody)
		err = errTooLarge
	}
	return buf.Bytes(), err
}
