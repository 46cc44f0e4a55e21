// Package lambdahttp runs a net/http handler as an AWS Lambda function behind API Gateway (REST and HTTP APIs) or a
// function URL.
//
// REST APIs and function URLs are answered as a stream: a JSON prelude with status and header, eight NUL bytes, then the
// body as the handler writes it. That needs an integration that takes streams (responseTransferMode STREAM with the
// 2021-11-15 invocation path, or InvokeMode RESPONSE_STREAM); nothing in the event tells, so a function behind a plain
// integration sets Options.Buffered. HTTP APIs cannot stream and are always answered in one piece.
//
// It is our own because aws-lambda-go's lambdaurl has no Flush, dies with a panicking handler and knows function URLs only,
// and because aws-lambda-go-api-proxy buffers and splits header values at commas (wire-formats 1.3, 1.7).
package lambdahttp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/web"
)

// The platform's limits, which are the defaults of Options.
const (
	// MaxEvent is the largest event and the largest buffered answer of Lambda, 6 MiB; an answer includes its JSON envelope.
	MaxEvent = 6 << 20
	// MaxStream is the largest streamed answer, "200 MB" in AWS's words; taken as decimal, the smaller reading.
	MaxStream = 200_000_000
)

// Options configures a function. The zero value streams, with the platform's limits.
type Options struct {
	// Buffered answers every event in one piece, for integrations that do not stream. Start sets it under `sam local`.
	Buffered bool
	// MaxBody bounds the decoded request body in bytes; a larger one gets 413. Default MaxEvent.
	MaxBody int64
	// MaxStream bounds a streamed answer in bytes, prelude included. The Write that would pass it fails and the answer
	// ends with an error. Default MaxStream.
	MaxStream int64
	// MaxBuffered bounds a buffered answer in bytes, envelope included; in place of a larger one goes a 500. Default
	// MaxEvent.
	MaxBuffered int64
	// Log gets panics and answers over a limit. Default slog.Default().
	Log *slog.Logger
	// Error writes this package's own errors (bad event, panic, body or answer too large) in the dialect of the path.
	// Default: the Anthropic form.
	Error func(w http.ResponseWriter, r *http.Request, e *core.Error)
	// OnShutdown, when set, runs on SIGTERM, about 500 ms before the environment is killed. Lambda sends the signal only to
	// functions that have an extension; this registers one inside the process.
	OnShutdown func()
}

// Kind is what sent an event.
type Kind uint8

// The kinds.
const (
	Unknown     Kind = iota // no HTTP event; the handler never sees it
	REST                    // API Gateway REST API, payload 1.0
	FunctionURL             // Lambda function URL, payload 2.0
	HTTPAPI                 // API Gateway HTTP API, either payload
)

// String names the kind for logs.
func (k Kind) String() string { return [...]string{"unknown", "rest", "function-url", "http-api"}[k] }

// Invocation is what the platform tells of a request beside the HTTP request itself.
type Invocation struct {
	Kind      Kind
	RequestID string // the front door's id of the request, which its access log has
	LambdaID  string // Lambda's id of the invocation, which the platform's log lines have; "" outside Lambda
	// Prefix is what stands before the handler's path in the public address: "/prod" for the stage of a REST API called by
	// its own name, a base path of a custom domain, "" for none. Links and cookies need it.
	Prefix string
	// Deadline is when Lambda kills the process: r.Context() ends then too. Zero without one. Whoever has something to say
	// or to store before must stop earlier by a margin of its own.
	Deadline time.Time
	// Streamed is false when the client sees nothing before the handler has returned.
	Streamed bool
}

type invocationKey struct{}

// FromContext returns the request's invocation; ok is false outside Lambda.
func FromContext(ctx context.Context) (inv Invocation, ok bool) {
	p, ok := ctx.Value(invocationKey{}).(*Invocation)
	if !ok {
		return Invocation{}, false
	}
	return *p, true
}

// Function answers one event. The reader is the answer for the Runtime API and tells its type by a method
// ContentType() string. It must be closed: Close waits for the handler, whose context it ends first when the answer was not
// read to its end. Nothing runs after that. A broken event is an answer too (400), so the error is always nil.
type Function func(ctx context.Context, event json.RawMessage) (io.Reader, error)

// New makes a Lambda function of h. It is safe for concurrent invocations when h is, as any http.Handler must be.
func New(h http.Handler, o Options) Function {
	f := &function{h: h, o: o}
	if f.o.MaxBody <= 0 {
		f.o.MaxBody = MaxEvent
	}
	if f.o.MaxStream <= 0 {
		f.o.MaxStream = MaxStream
	}
	if f.o.MaxBuffered <= 0 {
		f.o.MaxBuffered = MaxEvent
	}
	if f.o.Log == nil {
		f.o.Log = slog.Default()
	}
	if f.o.Error == nil {
		f.o.Error = writeError
	}
	return f.invoke
}

// Start serves h to the Runtime API and never returns. AWS_SAM_LOCAL=true, which `sam local` sets, turns Buffered on, since
// its emulator cannot stream. With AWS_LAMBDA_MAX_CONCURRENCY above 1 that many invocations run at once in the process.
//
// The process ends when the Runtime API refuses an answer or breaks off while one is sent: the library has no other way to
// tell the platform. Invocations running beside it are finished first. A client that leaves does not cause this: Lambda
// never tells of it.
func Start(h http.Handler, o Options) {
	if os.Getenv("AWS_SAM_LOCAL") == "true" {
		o.Buffered = true
	}
	var opts []lambda.Option
	if o.OnShutdown != nil {
		opts = append(opts, lambda.WithEnableSIGTERM(o.OnShutdown))
	}
	// a plain func type: the library finds out by reflection what it is called with
	lambda.StartWithOptions((func(context.Context, json.RawMessage) (io.Reader, error))(New(h, o)), opts...)
}

type function struct {
	h http.Handler
	o Options
}

func (f *function) invoke(ctx context.Context, raw json.RawMessage) (io.Reader, error) {
	ev, bad := parseEvent(raw, f.o.MaxBody)
	inv := &Invocation{Kind: ev.kind, RequestID: ev.requestID, Prefix: ev.prefix,
		Streamed: !f.o.Buffered && (ev.kind == REST || ev.kind == FunctionURL)}
	inv.Deadline, _ = ctx.Deadline()
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		inv.LambdaID = lc.AwsRequestID
	}
	h := f.h
	if bad != nil {
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.o.Error(w, r, bad) })
	}
	ctx = context.WithValue(ctx, invocationKey{}, inv)
	if !inv.Streamed {
		return f.buffered(ctx, h, ev)
	}
	return f.stream(ctx, h, ev), nil
}

// guard runs the handler and makes an error of its panic. The stack goes to the log and nowhere else.
func (f *function) guard(h http.Handler, w http.ResponseWriter, r *http.Request) (panicked bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		panicked = true
		if p == http.ErrAbortHandler { // the handler has logged what it had to say
			return
		}
		inv, _ := FromContext(r.Context())
		f.o.Log.Error("panic", "lambda_request_id", inv.LambdaID, "gateway_request_id", inv.RequestID, "path", web.LoggedPath(r.URL.Path),
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}()
	h.ServeHTTP(w, r)
	return false
}

// fail writes e to a fresh w.
func (f *function) fail(w http.ResponseWriter, r *http.Request, e *core.Error) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.o.Error(w, r, e) })
	if f.guard(h, w, r) { // even that: at least the status is right, if it is still to be chosen
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func errPanic() *core.Error {
	return core.E(core.CodeInternal, "Internal error. The operator finds it in the function's log under this request id.")
}

// writeError writes the Anthropic form of an error.
func writeError(w http.ResponseWriter, r *http.Request, e *core.Error) {
	inv, _ := FromContext(r.Context())
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if inv.RequestID != "" {
		h.Set("Request-Id", inv.RequestID)
	}
	w.WriteHeader(e.Code.Status())
	_, _ = w.Write(appendError(nil, e, inv.RequestID))
}

func appendError(dst []byte, e *core.Error, requestID string) []byte {
	typ := "api_error"
	switch e.Code {
	case core.CodeInvalid:
		typ = "invalid_request_error"
	case core.CodeTooLarge:
		typ = "request_too_large"
	}
	dst = append(dst, `{"type":"error","error":{"type":"`...)
	dst = append(dst, typ...)
	dst = append(dst, `","message":`...)
	dst = rawjson.AppendString(dst, e.Message)
	dst = append(dst, '}')
	if requestID != "" {
		dst = append(dst, `,"request_id":`...)
		dst = rawjson.AppendString(dst, requestID)
	}
	return append(dst, '}')
}
