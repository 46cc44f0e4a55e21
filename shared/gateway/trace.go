package gateway

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

// Tracer tells requests one by one, as traces. It is asked for each request whose key is known: strangers are in the access
// log, and neither fill a collector nor choose trace ids there. Nothing that it is given holds content or credentials, save
// the header of Begin, of which only the trace context may be kept.
type Tracer interface {
	// Begin begins the trace of a request. nil: this one is not traced, and costs nothing from here on.
	Begin(h http.Header, r Traced) Trace
}

// Traced is what is known of a request at its beginning.
type Traced struct {
	ID      string
	Method  string
	Route   string // as recorded, "/v1/messages"
	Account string
	Start   time.Time
}

// Trace is the trace of one request. The handler's goroutine alone calls it, and of what it returns End comes once, save
// after a panic.
type Trace interface {
	// Admission, Translation (of the request, for a node of another dialect) and Settlement begin a part of the request.
	Admission() TraceStep
	Translation(from, to core.Dialect) TraceStep
	Settlement() TraceStep
	// Attempt begins an attempt at a node. model is the name that the node is sent; empty: the request names none.
	Attempt(n *core.Node, model string, number int) TraceAttempt
	// End ends the trace. kind is that of the node tried last, empty for none; s.Status is 0 after a panic. It keeps nothing of s.
	End(s *core.Settlement, kind core.Kind)
}

// TraceStep is a part of a request.
type TraceStep interface {
	// End ends it; code is a core.Code or "client_gone"; empty: it went well.
	End(code string)
}

// TraceAttempt is an attempt at a node.
type TraceAttempt interface {
	// Inject replaces the trace context in what the node is sent.
	Inject(h http.Header)
	// Answered tells that a status line came, and from where; nil: that is not known.
	Answered(from *url.URL, status int)
	// FirstByte tells that the first content is on its way to the client.
	FirstByte()
	// End ends it; class is an upstream.Class in words or "client_gone"; empty: the node answered well. reason is short and
	// holds no content.
	End(class, reason string)
}

// beginTrace begins the request's trace where there is a tracer.
func (x *exchange) beginTrace() {
	if t := x.g.o.Trace; t != nil {
		x.trace = t.Begin(x.r.Header, Traced{ID: x.info.ID, Method: x.r.Method, Route: x.ep.name, Account: x.key.Account, Start: x.info.Start})
	}
}

func (x *exchange) endTrace() {
	if x.trace != nil {
		x.trace.End(&x.rec, x.kind)
	}
}

// traceCode is how a trace names an error.
func (x *exchange) traceCode(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errClientGone):
		return clientGone
	}
	return string(x.clientError(err).Code)
}

// clientGone is what a request's record has for code whose client left.
const clientGone = "client_gone"

// admit takes the request through the store: trip 1.
func (x *exchange) admit() error {
	if x.trace == nil {
		return x.tryAdmit()
	}
	step := x.trace.Admission()
	err := x.tryAdmit()
	step.End(x.traceCode(err))
	return err
}

// translate makes a body for a node of another dialect.
func (x *exchange) translate(p *plan, n *core.Node) error {
	if x.trace == nil {
		return x.encode(p, n)
	}
	step := x.trace.Translation(x.asked.name, p.wire.name)
	err := x.encode(p, n)
	step.End(x.traceCode(err))
	return err
}

// saveSettlement settles the request in the store: trip 2.
func (x *exchange) saveSettlement(ctx context.Context, r store.SettleRequest) error {
	if x.trace == nil {
		return x.g.o.Admission.Settle(ctx, r)
	}
	step := x.trace.Settlement()
	err := x.g.o.Admission.Settle(ctx, r)
	code := ""
	if err != nil {
		code = string(core.CodeUnavailable)
	}
	step.End(code)
	return err
}

// beginTrace begins the attempt's span.
func (a *attempt) beginTrace(n *directory.Node) {
	if t := a.x.trace; t != nil {
		a.trace = t.Attempt(&n.Node, a.plan.sent, a.x.rec.Attempts)
	}
}

func (a *attempt) endTrace(f *upstream.Failure) {
	if a.trace == nil {
		return
	}
	class := ""
	switch {
	case f.Class != upstream.OK:
		class = f.Class.String()
	case a.x.rec.ErrorCode == clientGone:
		class = clientGone
	}
	a.trace.End(class, clip(f.Reason, maxReason))
}

// traced puts the trace context of the attempt into a copy of the header that the node is sent. A request that is not traced
// passes its client's on.
func (a *attempt) traced(h http.Header) http.Header {
	if a.trace == nil {
		return h
	}
	h = maps.Clone(h)
	a.trace.Inject(h)
	return h
}

// answered notes the upstream's status line.
func (a *attempt) answered(resp *http.Response) {
	if a.trace == nil {
		return
	}
	var from *url.URL
	if resp.Request != nil {
		from = resp.Request.URL
	}
	a.trace.Answered(from, resp.StatusCode)
}

func (a *attempt) firstByte() {
	if a.trace != nil {
		a.trace.FirstByte()
	}
}
