package lambdahttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	proxycore "github.com/awslabs/aws-lambda-go-api-proxy/core"

	"sluice/shared/core"
	"sluice/shared/web"
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
	ctx = web.WithAnswerLimit(ctx, f.o.MaxBuffered)
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
		f.o.Log.Error("answer over the limit of a buffered answer was refused", "lambda_request_id", inv.LambdaID, "limit_bytes", f.o.MaxBuffered, "path", web.LoggedPath(r.URL.Path))
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
	payload int // version of the event's payload, which the answer's form follows
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

// encode makes the envelope with aws-lambda-go-api-proxy's writers, which know its two forms and when a body must be base64.
// They are given a finished answer: what they do while a handler runs differs from net/http (headers set too late go out,
// an answer without a status is an error, a panic ends the process), and their requests do too (no port in the address, no
// path with an escape that is none).
func (w *bufferWriter) encode() []byte {
	_ = w.FlushError()
	body, coded := w.body, w.sent.Get("Content-Encoding") != "" && utf8.Valid(w.body)
	if coded {
		body = []byte("\xff") // the writers look at the bytes alone; this has them choose base64
	}
	header := http.Header{}
	for name, values := range w.sent {
		if len(values) == 0 || !forwarded(name) {
			continue
		}
		header[name] = make([]string, len(values))
		for i, v := range values {
			header[name][i] = oneLine(v)
		}
	}
	var answer any
	if w.payload == 1 {
		p := proxycore.NewProxyResponseWriter()
		fill(p, header, w.status, body)
		a, err := p.GetProxyResponse()
		if coded {
			a.Body = base64.StdEncoding.EncodeToString(w.body)
		}
		answer = must(a, err)
	} else {
		p := proxycore.NewProxyResponseWriterV2()
		fill(p, header, w.status, body)
		a, err := p.GetProxyResponse()
		if coded {
			a.Body = base64.StdEncoding.EncodeToString(w.body)
		}
		for name, values := range header { // it joins them without a space
			if len(values) > 1 && name != "Set-Cookie" {
				a.Headers[name] = strings.Join(values, ", ")
			}
		}
		answer = must(a, err)
	}
	var out bytes.Buffer
	out.Grow(len(w.body)*3/2 + 1024)
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(answer); err != nil {
		panic(err) // strings and numbers
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// fill hands a finished answer over. A body that is there has its type by now, and one that is empty has none.
func fill(p http.ResponseWriter, header http.Header, status int, body []byte) {
	maps.Copy(p.Header(), header)
	p.WriteHeader(status)
	if len(body) > 0 {
		_, _ = p.Write(body)
		if header["Content-Type"] == nil {
			delete(p.Header(), "Content-Type")
		}
	}
}

// must is for an error that a missing status alone causes.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
