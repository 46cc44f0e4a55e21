// Package trace tells requests as OpenTelemetry traces: one span for the request, and below it one for its admission, one
// for each translation, attempt and settlement. Names and attributes are those of the semantic conventions for HTTP and for
// generative AI (see names.go); what these lack is under sluice.*.
//
// Spans never hold content, credentials or the client's address.
//
// The exporter is our own: the SDK's links gRPC, which would make a Lambda function's package half as large again, for one
// POST of a format that is quickly written.
package trace

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sluice/shared/config"
	"sluice/shared/gateway"
)

// Options are what a Tracer is made of.
type Options struct {
	Settings config.Traces
	Version  string
	Log      *slog.Logger
	Console  io.Writer // for the exporter of that name; nil: discarded
}

// Tracer is a gateway.Tracer that exports by OTLP. It has one goroutine, which Close ends. It is safe for concurrent use.
type Tracer struct {
	provider  *sdk.TracerProvider
	tracer    trace.Tracer
	out       *exporter
	sampling  sampling
	propagate bool
	ended     atomic.Int64 // traces since the last Flush
}

// Bounds of one span: what it holds comes in part from clients.
const (
	maxValue      = 256 // bytes of an attribute
	maxAttributes = 48
	maxState      = 512 // bytes of tracestate, as W3C Trace Context says a vendor should carry
	maxName       = 128 // bytes of the model in a span's name
)

// flushPatience bounds Flush, whose caller holds a request.
const flushPatience = 2 * time.Second

// New makes a Tracer; nil when the settings have none.
func New(o Options) *Tracer {
	s := &o.Settings
	if s.Exporter == "" {
		return nil
	}
	t := &Tracer{out: newExporter(&o), propagate: s.Propagate, sampling: samplingOf(s.Sampler, s.Ratio)}
	t.provider = sdk.NewTracerProvider(
		sdk.WithResource(resourceOf(&o)),
		sdk.WithSampler(sdk.AlwaysSample()), // sampling has decided
		sdk.WithRawSpanLimits(sdk.SpanLimits{AttributeValueLengthLimit: maxValue, AttributeCountLimit: maxAttributes, EventCountLimit: 8,
			AttributePerEventCountLimit: 8, LinkCountLimit: 1, AttributePerLinkCountLimit: 1, AttributeValueDepthLimit: 1}),
		sdk.WithoutPanicRecording(), // a panic's text may hold anything
		sdk.WithBatcher(t.out, sdk.WithMaxQueueSize(s.Queue), sdk.WithMaxExportBatchSize(s.Batch), sdk.WithBatchTimeout(s.Delay),
			sdk.WithExportTimeout(s.Patience)))
	t.tracer = t.provider.Tracer("sluice", trace.WithInstrumentationVersion(o.Version), trace.WithSchemaURL(schema))
	return t
}

func resourceOf(o *Options) *resource.Resource {
	var all []attribute.KeyValue
	for k, v := range o.Settings.Resource {
		all = append(all, attribute.String(k, v))
	}
	all = append(all, attribute.String("service.name", o.Settings.Service), attribute.String("telemetry.sdk.name", "opentelemetry"),
		attribute.String("telemetry.sdk.language", "go"), attribute.String("telemetry.sdk.version", sdkVersion()))
	if _, own := o.Settings.Resource["service.version"]; !own && o.Version != "" {
		all = append(all, attribute.String("service.version", o.Version))
	}
	return resource.NewWithAttributes(schema, all...)
}

// Begin implements gateway.Tracer.
func (t *Tracer) Begin(h http.Header, r gateway.Traced) gateway.Trace {
	var above trace.SpanContext
	if t.propagate && t.sampling.follow {
		above = parent(h)
	}
	if !t.sampling.takes(above) {
		return nil
	}
	if t.propagate && !t.sampling.follow { // only now: most are not taken
		above = parent(h)
	}
	ctx := context.Background()
	if above.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, above)
	}
	_, span := t.tracer.Start(ctx, r.Method+" "+r.Route, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.Start))
	q := &request{t: t, span: span, method: r.Method, route: r.Route, operation: operationOf(r.Route)}
	span.SetAttributes(attribute.String(httpMethod, r.Method), attribute.String(httpRoute, r.Route),
		attribute.String(sluiceRequest, r.ID), attribute.String(sluiceAccount, r.Account))
	return q
}

// parent is the client's trace context. What is invalid is ignored, as W3C Trace Context demands.
func parent(h http.Header) (none trace.SpanContext) {
	own := h["Traceparent"]
	if len(own) != 1 || len(own[0]) > maxState {
		return none
	}
	carrier := propagation.MapCarrier{"traceparent": own[0]}
	if state := strings.Join(h["Tracestate"], ","); len(state) <= maxState {
		carrier["tracestate"] = state
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// inject replaces the trace context in a header.
func (t *Tracer) inject(span trace.Span, h http.Header) {
	if !t.propagate {
		return
	}
	delete(h, "Traceparent")
	delete(h, "Tracestate")
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), span), propagation.HeaderCarrier(h))
}

// Flush exports what has ended so far, and takes 2 s at most. It is for hosts that stop the process after each request: there
// it must come after the client has its answer. While exports fail it returns at once, so that a collector which hangs
// costs one request in thirty seconds.
func (t *Tracer) Flush(ctx context.Context) {
	if t.ended.Load() == 0 || t.out.resting() {
		return
	}
	t.ended.Store(0)
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	if t.provider.ForceFlush(ctx) != nil && ctx.Err() != nil { // the exporter logs what went wrong, perhaps after the next call
		t.out.failed.Store(time.Now().UnixNano())
	}
}

// Close exports what is left until ctx ends. Afterwards nothing is exported and no goroutine is left.
func (t *Tracer) Close(ctx context.Context) {
	defer context.AfterFunc(ctx, t.out.abort)()
	_ = t.provider.Shutdown(context.WithoutCancel(ctx)) // waits for its goroutine, and an ended context would keep it from ending that
}
