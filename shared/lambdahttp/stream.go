package lambdahttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/web"
)

// StreamError ends a streamed answer that is not whole. The Runtime API gets it in trailers, so the front door breaks the
// answer off; it holds no more than a client may know.
type StreamError struct{ Reason string }

// Error implements error.
func (e *StreamError) Error() string { return e.Reason }

// errGone is the cause of a request's end when the platform stops to read the answer.
var errGone = errors.New("the answer is read no more")

// spare is kept of MaxStream for the error event that tells a client of it.
const spare = 1 << 10

// stream is a streamed answer: the reader that the Runtime API's client drains.
//
// The two ends are a net.Pipe: synchronous, so a slow reader slows the handler, and with write deadlines, which the handler
// needs against a reader that stands still. io.Pipe has none.
type stream struct {
	r      net.Conn
	w      *streamWriter
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the handler has returned and the writer is closed
	err    error         // how the answer ended; read after done
}

// stream starts the handler; the returned answer joins it.
func (f *function) stream(ctx context.Context, h http.Handler, ev *event) *stream {
	ctx, cancel := context.WithCancelCause(ctx)
	r, w := net.Pipe()
	s := &stream{r: r, cancel: cancel, done: make(chan struct{}),
		w: &streamWriter{head: newHead(ev.method), conn: w, payload: ev.payload, left: f.o.MaxStream - spare}}
	req := ev.request(ctx)
	go func() {
		defer close(s.done)
		defer w.Close()
		panicked := f.guard(h, s.w, req)
		s.err = f.end(s.w, req, panicked)
	}()
	return s
}

// end finishes the answer: a panic before the first byte becomes a 500, any other failure an error in the stream.
func (f *function) end(w *streamWriter, r *http.Request, panicked bool) error {
	midway := panicked && w.begun
	if panicked && !midway {
		w.head = newHead(r.Method)
		f.fail(w, r, errPanic())
	}
	w.Flush()
	inv, _ := FromContext(r.Context())
	var reason string
	switch {
	case errors.Is(w.failed, errTooLong):
		f.o.Log.Error("answer over the limit of a streamed answer was cut", "lambda_request_id", inv.LambdaID, "limit_bytes", f.o.MaxStream, "path", web.LoggedPath(r.URL.Path))
		reason = tooLong
	case w.failed != nil:
		return &StreamError{"The answer could not be written to its end."}
	case midway:
		reason = "The answer broke off by an internal error."
	case w.short():
		return &StreamError{"The answer is shorter than its Content-Length."}
	default:
		return nil
	}
	w.errorEvent(core.E(core.CodeInternal, reason), inv.RequestID)
	return &StreamError{reason}
}

// Read implements io.Reader. After the body it waits for the handler, then ends with io.EOF, or with a *StreamError.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == io.EOF {
		<-s.done
		if s.err != nil {
			err = s.err
		}
	}
	return n, err
}

// Close ends the request's context, makes further writes fail and waits for the handler.
func (s *stream) Close() error {
	s.cancel(errGone)
	_ = s.r.Close()
	<-s.done
	return nil
}

// ContentType tells Lambda that a prelude comes first.
func (s *stream) ContentType() string { return "application/vnd.awslambda.http-integration-response" }

// MarshalJSON fails, which is how a reader tells aws-lambda-go to stream it rather than to encode it.
func (s *stream) MarshalJSON() ([]byte, error) { return nil, errors.New("a stream is not JSON") }

// streamWriter is the handler's side.
type streamWriter struct {
	head
	conn    net.Conn
	payload int
	left    int64 // bytes that may still be sent
	begun   bool  // the prelude is out, or part of it
	failed  error // the first failure; every later write fails with it
	tail    [2]byte
}

var errTooLong = errors.New("the answer is over the limit of a streamed answer")

const tooLong = "The answer is larger than what Lambda streams. Ask for it in parts, or use the gateway's container, which has no such limit."

// Write implements http.ResponseWriter: what it writes is on its way when it returns.
func (w *streamWriter) Write(p []byte) (int, error) {
	if w.failed != nil {
		return 0, w.failed
	}
	discard, err := w.begin(p)
	if err != nil {
		return 0, err
	}
	if discard {
		return len(p), nil
	}
	if !w.begun && len(p) <= 32<<10 {
		// one piece with the prelude: one chunk on the wire
		pre := w.prelude(len(p))
		n, err := w.send(append(pre, p...))
		n = max(n-len(pre), 0)
		w.count(p[:n])
		return n, err
	}
	if err := w.FlushError(); err != nil {
		return 0, err
	}
	n, err := w.send(p)
	w.count(p[:n])
	return n, err
}

// count notes body bytes, and the last two of them: an error event must know whether it begins a line.
func (w *streamWriter) count(p []byte) {
	w.n += int64(len(p))
	switch {
	case len(p) >= 2:
		w.tail = [2]byte(p[len(p)-2:])
	case len(p) == 1:
		w.tail = [2]byte{w.tail[1], p[0]}
	}
}

// prelude returns the prelude with room for extra more bytes.
func (w *streamWriter) prelude(extra int) []byte {
	b := make([]byte, 0, 1<<10+extra)
	b = append(b, '{')
	b = appendMeta(b, w.payload, w.status, w.sent)
	b = append(b, '}')
	return append(b, delimiter...)
}

func (w *streamWriter) send(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		w.failed = errTooLong
		return 0, w.failed
	}
	w.begun = true
	n, err := w.conn.Write(p)
	w.left -= int64(n)
	w.failed = err
	return n, err
}

// FlushError sends the header if nothing has been sent; the body is never held back.
func (w *streamWriter) FlushError() error {
	if w.failed != nil {
		return w.failed
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.begun {
		return nil
	}
	_, err := w.send(w.prelude(0))
	return err
}

// Flush implements http.Flusher.
func (w *streamWriter) Flush() { _ = w.FlushError() }

// SetWriteDeadline bounds how long a Write waits for the platform to take its bytes; http.ResponseController calls it. It
// may be called beside a Write.
func (w *streamWriter) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }

// SetReadDeadline has nothing to do: the whole body is there before the handler runs.
func (w *streamWriter) SetReadDeadline(time.Time) error { return nil }

// EnableFullDuplex has nothing to do either.
func (w *streamWriter) EnableFullDuplex() error { return nil }

// errorEvent tells the client of a stream of events what ended it. Its form is Anthropic's, which the OpenAI clients take
// for an error too (they look for a member "error"). Other bodies are just cut.
func (w *streamWriter) errorEvent(e *core.Error, requestID string) {
	if !strings.HasPrefix(w.sent.Get("Content-Type"), "text/event-stream") || w.sent.Get("Content-Encoding") != "" || w.isHEAD || w.length >= 0 {
		return
	}
	var b []byte
	if w.tail != [2]byte{'\n', '\n'} {
		b = append(b, "\n\n"...)
	}
	b = append(b, "event: error\ndata: "...)
	b = appendError(b, e, requestID)
	b = append(b, "\n\n"...)
	w.failed = nil
	w.left += spare
	_, _ = w.send(b)
}
