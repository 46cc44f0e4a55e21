package gateway

import (
	"context"
	"net/http"

	"sluice/shared/capture"
)

// Capture keeps exchanges of accounts that an administrator turned it on for.
type Capture interface {
	// Keep redacts and writes an exchange, in a time that is bounded. It fails in silence but for its own log.
	Keep(ctx context.Context, e *capture.Exchange)
	// Skip counts one that could not be kept.
	Skip(why string)
}

const (
	capturedHeader = "X-Sluice-Captured"
	// redactionWork is how many times its size the redaction of an exchange takes.
	redactionWork  = 4
	noCaptureSpace = "MAX_BODY_MEMORY is used up by the bodies under way"
)

// captured is an exchange that is kept. It stands before the client's writer and notes what is sent: the handler and the watch
// write in turn.
type captured struct {
	http.ResponseWriter
	x        *exchange
	e        capture.Exchange
	most     int // bytes of each body that are noted
	reserved int64
	began    bool     // something was sent
	says     []string // the header
}

// beginCapture decides, once the request is admitted, whether it is captured. Where it is not, nothing is spent on it from
// here on.
func (x *exchange) beginCapture() {
	if x.g.o.Capture == nil || !x.account.Capture.On(x.g.o.Now()) {
		return
	}
	c := &captured{ResponseWriter: x.w, x: x, most: x.account.Capture.Bytes() + capture.Slack, says: []string{"true"}}
	c.e.Settings = x.account.Capture
	if c.e.Settings.FailedOnly {
		c.says[0] = "on-failure"
	}
	if !c.noteRequest() {
		x.g.o.Capture.Skip(noCaptureSpace)
		return
	}
	x.captured, x.w = c, c
	x.w.Header()[capturedHeader] = c.says
}

// noteRequest copies of the body what is kept: the body itself is given back when the answer begins.
func (c *captured) noteRequest() bool {
	b := c.x.body
	switch {
	case b == nil:
		c.e.RequestCut = true
	case c.x.unsent && c.x.r.Header.Get("Content-Encoding") != "": // it could not be inflated, and so not be redacted
		c.e.RequestCut = true
	default:
		n := min(len(b.buf), c.most)
		if !c.reserve(n) {
			return false
		}
		c.e.Request, c.e.RequestCut = capture.Clip(make([]byte, 0, n), b.buf, c.most)
	}
	return true
}

func (c *captured) reserve(n int) bool {
	if c.x.g.bodies.reserve(int64(n)) != nil {
		return false
	}
	c.reserved += int64(n)
	return true
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (c *captured) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader implements http.ResponseWriter. An upstream may be such a gateway: its header must not stand for ours.
func (c *captured) WriteHeader(status int) {
	c.began = true
	c.Header()[capturedHeader] = c.says
	c.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *captured) Write(p []byte) (int, error) {
	c.began = true
	n, err := c.ResponseWriter.Write(p)
	c.note(p[:n])
	return n, err
}

func (c *captured) note(p []byte) {
	if c.e.ResponseCut {
		return
	}
	have := len(c.e.Response)
	take := min(len(p), c.most-have)
	if need := have + take; need > cap(c.e.Response) {
		size := min(max(need, 2*cap(c.e.Response), 4<<10), c.most)
		if !c.reserve(size - cap(c.e.Response)) {
			c.e.ResponseCut = true
			return
		}
		c.e.Response = append(make([]byte, 0, size), c.e.Response...)
	}
	c.e.Response = append(c.e.Response, p[:take]...)
	c.e.ResponseCut = take < len(p)
}

// end keeps the exchange, now that it is settled and the client has everything.
func (c *captured) end() {
	x := c.x
	defer func() { x.g.bodies.used.Add(-c.reserved) }()
	rec := &x.rec
	if c.e.Settings.FailedOnly && rec.Success() {
		return
	}
	if c.began { // a short answer is still in the server's buffer; after a panic there may be none yet, and a flush would be one
		_ = x.rc.Flush()
	}
	if !c.reserve(redactionWork * (len(c.e.Request) + len(c.e.Response))) {
		x.g.o.Capture.Skip(noCaptureSpace)
		return
	}
	e := &c.e
	e.RequestID, e.Account, e.Key, e.Node, e.NodeName = rec.RequestID, rec.Account, rec.Key, rec.Node, rec.NodeName
	e.Endpoint, e.Dialect, e.Model, e.Stream = rec.Endpoint, rec.Dialect, rec.Model, rec.Stream
	e.Status, e.ErrorCode, e.StartedAt, e.EndedAt = rec.Status, rec.ErrorCode, rec.StartedAt, rec.EndedAt
	for _, s := range credentials(x.r.Header) {
		e.Secrets = append(e.Secrets, s)
	}
	x.g.o.Capture.Keep(detached(x.r), e)
}
