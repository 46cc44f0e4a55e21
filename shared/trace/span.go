package trace

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"sluice/shared/core"
	"sluice/shared/gateway"
)

const clientGone = "client_gone"

// request is the trace of one request.
type request struct {
	t             *Tracer
	span          trace.Span
	method, route string
	operation     string
}

// child begins a span below the request's.
func (q *request) child(name string, kind trace.SpanKind) trace.Span {
	_, s := q.t.tracer.Start(trace.ContextWithSpan(context.Background(), q.span), name, trace.WithSpanKind(kind))
	return s
}

// Admission implements gateway.Trace.
func (q *request) Admission() gateway.TraceStep {
	return step{q.child("admission", trace.SpanKindInternal)}
}

// Settlement implements gateway.Trace.
func (q *request) Settlement() gateway.TraceStep {
	return step{q.child("settlement", trace.SpanKindInternal)}
}

// Translation implements gateway.Trace.
func (q *request) Translation(from, to core.Dialect) gateway.TraceStep {
	s := q.child("translation", trace.SpanKindInternal)
	s.SetAttributes(attribute.String(sluiceFrom, string(from)), attribute.String(sluiceTo, string(to)))
	return step{s}
}

// Attempt implements gateway.Trace.
func (q *request) Attempt(n *core.Node, model string, number int) gateway.TraceAttempt {
	name := q.method + " " + q.route
	if q.operation != "" {
		name = strings.TrimSpace(q.operation + " " + clip(model, maxName))
	}
	s := q.child(name, trace.SpanKindClient)
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs, attribute.String(aiProvider, providerOf(n.Kind)), attribute.String(sluiceNode, n.Name), attribute.Int(sluiceAttempt, number))
	if q.operation != "" {
		attrs = append(attrs, attribute.String(aiOperation, q.operation))
	}
	if model != "" {
		attrs = append(attrs, attribute.String(aiModel, model))
	}
	if u, err := url.Parse(n.BaseURL); err == nil {
		attrs = appendServer(attrs, u)
	}
	s.SetAttributes(attrs...)
	return &attempt{t: q.t, span: s}
}

// End implements gateway.Trace.
func (q *request) End(s *core.Settlement, kind core.Kind) {
	attrs := make([]attribute.KeyValue, 0, 24)
	add := func(kv attribute.KeyValue) { attrs = append(attrs, kv) }
	text := func(name, v string) {
		if v != "" {
			add(attribute.String(name, v))
		}
	}
	text(aiOperation, q.operation)
	text(aiProvider, providerOf(kind))
	text(aiModel, s.Model)
	text(aiServed, s.ServedModel)
	text(sluiceNode, s.NodeName)
	text(sluiceDialect, string(s.Dialect))
	add(attribute.Int(sluiceAttempts, s.Attempts))
	if q.operation != "" {
		add(attribute.Bool(aiStream, s.Stream))
	}
	if s.Stream && s.FirstByteMS > 0 {
		add(attribute.Float64(aiFirstChunk, float64(s.FirstByteMS)/1e3))
	}
	attrs = appendUsage(attrs, s)
	if s.Status != 0 {
		add(attribute.Int(httpStatus, s.Status))
	}
	code := s.ErrorCode
	if s.Status == 0 && code == "" {
		code = string(core.CodeInternal)
	}
	text(errorType, code)
	q.span.SetAttributes(attrs...)
	// a server's span is an error only where the server failed; a stream may fail after its status
	if s.Status == 0 || s.Status >= 500 || s.Status < 400 && code != "" && code != clientGone {
		q.span.SetStatus(codes.Error, "")
	}
	q.span.End()
	q.t.ended.Add(1)
}

func appendUsage(attrs []attribute.KeyValue, s *core.Settlement) []attribute.KeyValue {
	u := &s.Tokens
	if *u == (core.Tokens{}) {
		return attrs
	}
	attrs = append(attrs, attribute.Int64(aiInput, u.TotalInput()), attribute.Int64(aiOutput, u.Output))
	if u.CacheRead > 0 {
		attrs = append(attrs, attribute.Int64(aiCacheRead, u.CacheRead))
	}
	if w := u.CacheWrite5m + u.CacheWrite1h; w > 0 {
		attrs = append(attrs, attribute.Int64(aiCacheWrite, w))
	}
	if s.Estimated {
		attrs = append(attrs, attribute.Bool(sluiceEstimated, true))
	}
	if s.Unpriced {
		return append(attrs, attribute.Bool(sluiceUnpriced, true))
	}
	return append(attrs, attribute.Float64(sluiceCost, float64(s.CostUSD)/1e6))
}

// step is a part of a request.
type step struct{ span trace.Span }

// End implements gateway.TraceStep. A refusal is told, but is no error of the gateway's.
func (s step) End(code string) {
	if code != "" {
		s.span.SetAttributes(attribute.String(errorType, code))
		if code != clientGone && core.Code(code).Status() >= 500 {
			s.span.SetStatus(codes.Error, "")
		}
	}
	s.span.End()
}

// attempt is an attempt at a node.
type attempt struct {
	t    *Tracer
	span trace.Span
}

// Inject implements gateway.TraceAttempt.
func (a *attempt) Inject(h http.Header) { a.t.inject(a.span, h) }

// Answered implements gateway.TraceAttempt.
func (a *attempt) Answered(from *url.URL, status int) {
	a.span.SetAttributes(appendServer([]attribute.KeyValue{attribute.Int(httpStatus, status)}, from)...)
}

// FirstByte implements gateway.TraceAttempt.
func (a *attempt) FirstByte() { a.span.AddEvent(firstByte) }

// End implements gateway.TraceAttempt.
func (a *attempt) End(class, reason string) {
	if class != "" {
		a.span.SetAttributes(attribute.String(errorType, class))
		if class != clientGone {
			a.span.SetStatus(codes.Error, reason)
		}
	}
	a.span.End()
}

// appendServer tells of host and port; nothing of what has none.
func appendServer(attrs []attribute.KeyValue, u *url.URL) []attribute.KeyValue {
	if u == nil || u.Hostname() == "" {
		return attrs
	}
	port := 443
	if n, err := strconv.Atoi(u.Port()); err == nil {
		port = n
	} else if u.Scheme == "http" {
		port = 80
	}
	return append(attrs, attribute.String(serverHost, u.Hostname()), attribute.Int(serverPort, port))
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
