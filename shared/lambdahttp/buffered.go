package lambdahttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"sluice/shared/core"
	"sluice/shared/rawjson"
)

// document is a whole answer.
type document struct{ bytes.Reader }

// ContentType tells Lambda that the answer is JSON.
func (d *document) ContentType() string { return "application/json" }

// MarshalJSON fails so that aws-lambda-go sends the bytes as they are.
func (d *document) MarshalJSON() ([]byte, error) { return nil, errors.New("encoded already") }

// Close implements io.Closer: the handler has returned long ago.
func (d *document) Close() error { return nil }

// buffered runs the handler to its end and answers in one piece.
func (f *function) buffered(ctx context.Context, h http.Handler, ev *event) (io.Reader, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := ev.request(ctx)
	w := f.newBuffer(ev)
	panicked := f.guard(h, w, r)
	b := w.encode()
	switch {
	case panicked:
		b = f.instead(ev, r, errPanic())
	case w.short():
		b = f.instead(ev, r, core.E(core.CodeInternal, "The answer is shorter than its Content-Length."))
	case w.full || int64(len(b)) > f.o.MaxBuffered:
		inv, _ := FromContext(ctx)
		f.o.Log.Error("answer over the limit of a buffered answer was refused", "lambda_request_id", inv.LambdaID, "limit_bytes", f.o.MaxBuffered, "path", r.URL.Path)
		b = f.instead(ev, r, core.E(core.CodeInternal, "The answer is larger than the "+strconv.FormatInt(f.o.MaxBuffered, 10)+
			" bytes that Lambda returns in one piece. Use a REST API with response streaming or a function URL."))
	}
	d := &document{}
	d.Reset(b)
	return d, nil
}

// instead encodes an error in place of what the handler wrote.
func (f *function) instead(ev *event, r *http.Request, e *core.Error) []byte {
	w := f.newBuffer(ev)
	f.fail(w, r, e)
	return w.encode()
}

func (f *function) newBuffer(ev *event) *bufferWriter {
	return &bufferWriter{head: newHead(ev.method), payload: ev.payload, limit: f.o.MaxBuffered}
}

// bufferWriter collects an answer.
type bufferWriter struct {
	head
	payload int
	limit   int64
	body    []byte
	full    bool
}

// Write implements http.ResponseWriter. It fails when even the bare body is over the limit, so that a handler does not make
// for minutes what nobody can get.
func (w *bufferWriter) Write(p []byte) (int, error) {
	discard, err := w.begin(p)
	if err != nil {
		return 0, err
	}
	if discard {
		return len(p), nil
	}
	if w.full || w.n+int64(len(p)) > w.limit {
		w.full = true
		return 0, errors.New("the answer is larger than Lambda returns in one piece")
	}
	w.n += int64(len(p))
	w.body = append(w.body, p...)
	return len(p), nil
}

// FlushError succeeds without effect: handlers that stream work, their client just sees all at once.
func (w *bufferWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return nil
}

// Flush implements http.Flusher.
func (w *bufferWriter) Flush() { _ = w.FlushError() }

// SetWriteDeadline has nothing to do: a write into memory does not wait.
func (w *bufferWriter) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline has nothing to do: the whole body is there before the handler runs.
func (w *bufferWriter) SetReadDeadline(time.Time) error { return nil }

// EnableFullDuplex has nothing to do either.
func (w *bufferWriter) EnableFullDuplex() error { return nil }

// encode makes the envelope. A body goes as text where it is text, since a REST API decodes base64 for the listed media types
// alone.
func (w *bufferWriter) encode() []byte {
	_ = w.FlushError()
	binary := !utf8.Valid(w.body) || w.sent.Get("Content-Encoding") != ""
	b := make([]byte, 0, len(w.body)*3/2+1024)
	b = append(b, '{')
	b = appendMeta(b, w.payload, w.status, w.sent)
	b = append(b, `,"body":`...)
	if binary {
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, w.body)
		return append(b, `","isBase64Encoded":true}`...)
	}
	b = rawjson.AppendString(b, string(w.body))
	return append(b, `,"isBase64Encoded":false}`...)
}
