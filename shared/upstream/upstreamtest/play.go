package upstreamtest

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"
)

// exchange is one request being answered.
type exchange struct {
	f        *fake
	a        *Anthropic // of its own routes; else nil
	w        http.ResponseWriter
	rc       *http.ResponseController
	ctx      context.Context
	req      Request
	fields   fields
	openai   openAIFields
	amazonq  amazonQFields
	bedrock  bedrockRoute
	media    []string      // content type of a success, over the API's; nil: that
	token    []byte        // of OIDC, the answer
	head     [slots][]byte // what a rendered answer has of the request
	tooLarge bool          // the body is over the limit and was not kept
	id       string        // request id
	buf      []byte        // scratch
	pending  []byte        // events held back for one write
	held     int
	sent     int  // bytes of a stream that is to be cut
	left     bool // the client left before the answer ended
}

// play answers with b.
func (x *exchange) play(b Behaviour) {
	s := x.resolve(b)
	if s == nil {
		return
	}
	p := s.plan(x.f.api.variant(x))
	if !x.run(s, p, p.before, false) {
		return
	}
	stream := string(x.fields.stream) == "true"
	switch {
	case s.kind == kindWire:
		x.wire(p)
	case s.kind == kindRaw:
		x.raw(s, p)
	case s.kind == kindStatus:
		x.f.api.fault(x, s, &s.fault)
	case p.failure != nil && (!stream || p.failure.at == BeforeHeaders):
		x.f.api.fault(x, s, &p.failure.fault)
	case stream:
		x.stream(s, p)
	default:
		x.whole(s, p)
	}
}

// resolve asks a Func what to do; nil: it has no answer, and the client has
// been told.
func (x *exchange) resolve(b Behaviour) *spec {
	// Bounded, so that a Func that returns itself fails rather than hangs.
	for range 8 {
		if b.spec == nil {
			b = x.f.short
		}
		if b.spec.kind != kindFunc {
			return b.spec
		}
		b = b.spec.choose(x.req)
	}
	x.f.api.fault(x, nil, &fault{status: http.StatusInternalServerError, message: "the Func of the fake upstream gave no answer"})
	return nil
}

func (x *exchange) stream(s *spec, p *plan) {
	h := x.w.Header()
	h["Content-Type"] = x.f.eventStream
	if x.media != nil {
		h["Content-Type"] = x.media
	}
	h["Cache-Control"] = x.f.noCache
	x.f.api.setLimits(h)
	x.setHeaders(s)
	x.w.WriteHeader(http.StatusOK)
	if p.flush && !x.flush() {
		return
	}
	x.run(s, p, p.stream, true)
}

func (x *exchange) whole(s *spec, p *plan) {
	h := x.w.Header()
	h["Content-Type"] = x.f.json
	if x.media != nil {
		h["Content-Type"] = x.media
	}
	x.f.api.setLimits(h)
	body := x.f.api.body(x, p)
	x.buf = body
	if !p.clean {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	x.setHeaders(s)
	x.w.WriteHeader(http.StatusOK)
	if p.flush && !x.flush() {
		return
	}
	half := len(body) / 2
	for i, o := range p.whole {
		if o.kind == opWrite {
			if i == len(p.whole)-1 {
				break // nothing follows: one write for both halves
			}
			if !x.send(body[:half]) || !x.flush() {
				return
			}
			body = body[half:]
			continue
		}
		if !x.step(o, true) {
			return
		}
	}
	x.send(body)
}

func (x *exchange) raw(s *spec, p *plan) {
	h := x.w.Header()
	clear(h)
	h["Content-Type"] = nil // else net/http would guess one
	if !p.flush {
		n := 0
		for _, c := range s.chunks {
			n += len(c)
		}
		h["Content-Length"] = []string{strconv.Itoa(n)}
	}
	for name, values := range s.rawHeader {
		h[http.CanonicalHeaderKey(name)] = values
	}
	x.setHeaders(s)
	x.w.WriteHeader(s.status)
	if p.flush && !x.flush() {
		return
	}
	x.run(s, p, p.stream, true)
}

// wire writes to the connection itself.
func (x *exchange) wire(p *plan) {
	conn, _, err := x.rc.Hijack()
	if err != nil {
		x.left = true
		return
	}
	defer conn.Close()
	for _, o := range p.stream {
		switch o.kind {
		case opWrite:
			if _, err := conn.Write(o.data); err != nil {
				x.left = true
				return
			}
		case opPause:
			if !x.wait(o.pause) {
				return
			}
		}
	}
}

// run plays steps and says whether the answer goes on.
func (x *exchange) run(s *spec, p *plan, ops []op, headersSent bool) bool {
	for i := range ops {
		o := &ops[i]
		switch o.kind {
		case opWrite:
			if !x.emit(s, o.data) {
				return false
			}
		case opStart:
			if !x.emit(s, x.render(s, p, o)) {
				return false
			}
		default:
			if !x.release(s) || !x.step(*o, headersSent) {
				return false
			}
		}
	}
	return x.release(s)
}

// render is a step that differs for each request, or its first half.
func (x *exchange) render(s *spec, p *plan, o *op) []byte {
	event := x.f.api.render(x, p, o, s.crlf)
	if o.half {
		event = event[:len(event)/2]
	}
	return event
}

// emit writes one event as the behaviour frames it.
func (x *exchange) emit(s *spec, data []byte) bool {
	if s.batch == 0 {
		return x.frame(s, data)
	}
	x.pending = append(x.pending, data...)
	x.held++
	if x.held == s.batch {
		return x.release(s)
	}
	return true
}

// release writes what emit held back.
func (x *exchange) release(s *spec) bool {
	if x.held == 0 {
		return true
	}
	ok := x.frame(s, x.pending)
	x.pending, x.held = x.pending[:0], 0
	return ok
}

func (x *exchange) frame(s *spec, data []byte) bool {
	if s.cutBytes {
		left := s.cutAt - x.sent
		if len(data) >= left {
			if x.send(data[:left]) && x.flush() && s.cutEnd != EndClean {
				x.hangUp(s.cutEnd)
			}
			return false
		}
		x.sent += len(data)
	}
	if s.split > 0 {
		for len(data) > s.split {
			if !x.send(data[:s.split]) || !x.flush() {
				return false
			}
			data = data[s.split:]
		}
	}
	return x.send(data) && x.flush()
}

func (x *exchange) send(data []byte) bool {
	if x.ctx.Err() != nil {
		x.left = true
		return false
	}
	if _, err := x.w.Write(data); err != nil {
		x.left = true
	}
	return !x.left
}

func (x *exchange) flush() bool {
	if x.rc.Flush() != nil {
		x.left = true
	}
	return !x.left
}

// step plays a step that is not a write, and says whether the answer goes on.
func (x *exchange) step(o op, headersSent bool) bool {
	switch o.kind {
	case opPause:
		return x.wait(o.pause)
	case opSilence:
		select {
		case <-x.ctx.Done():
			x.left = true
		case <-x.f.closing:
		}
		return false
	case opCut:
		if o.end != EndClean || !headersSent {
			x.hangUp(o.end)
		}
		return false
	}
	return true
}

func (x *exchange) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.ctx.Done():
		x.left = true
	case <-x.f.closing:
	}
	return false
}

// hangUp ends the connection without the end of the HTTP body.
func (x *exchange) hangUp(end End) {
	conn, _, err := x.rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && end == EndReset {
		_ = tcp.SetLinger(0) // makes Close send RST
	}
	_ = conn.Close()
}

func (x *exchange) setHeaders(s *spec) {
	if s == nil {
		return
	}
	h := x.w.Header()
	for _, f := range s.header {
		if f[1] == "" {
			h.Del(f[0])
			continue
		}
		h.Set(f[0], f[1])
	}
}

// answer sends a JSON body.
func (x *exchange) answer(status int, body []byte) {
	h := x.w.Header()
	if h["Content-Type"] == nil {
		h["Content-Type"] = x.f.json
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.w.WriteHeader(status)
	x.send(body)
}
