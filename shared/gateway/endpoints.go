package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/translator/anthropic"
	"sluice/shared/upstream"
)

// messages serves POST /v1/messages.
func (x *exchange) messages() {
	if err := x.prepare(); err != nil {
		x.fail(err)
		return
	}
	if x.rec.Stream {
		x.streamed()
	} else {
		x.whole(true)
	}
}

// countTokens serves POST /v1/messages/count_tokens.
func (x *exchange) countTokens() {
	if err := x.prepare(); err != nil {
		x.fail(err)
		return
	}
	x.rec.Stream = false
	x.whole(false)
}

// prepare reads, looks and admits. A request with a bad body is admitted too before it is refused: so it is recorded like
// every other, and the key's limits bound how many such records there can be.
func (x *exchange) prepare() error {
	bad := x.readBody()
	if bad == nil {
		bad = x.look()
	}
	if err := x.admit(); err != nil {
		return err
	}
	return bad
}

// modelsPatience is how long a node may take to list its models: Claude Code waits 3 s.
const modelsPatience = 2 * time.Second

// models serves GET /v1/models and /v1/models/{id}: from a node, or, when none answers in time, from the list of models
// that this version knows.
func (x *exchange) models() {
	if err := x.admit(); err != nil {
		x.fail(err)
		return
	}
	x.brief = true
	x.fallback = x.knownModels
	w := x.startWatch(modelsPatience, nil)
	x.watch = w
	defer w.stop()
	start := time.Now()
	x.forward(func(ctx context.Context, a *attempt) outcome {
		left := modelsPatience - time.Since(start)
		if left <= 0 {
			if a.body != nil {
				_ = a.body.Close()
			}
			return outcome{f: upstream.Failure{Class: upstream.Timeout, Reason: errSilence.Error()}}
		}
		setNode(x.w.Header(), false, a.node.Name)
		w.attempt(a.cancel, left)
		return a.whole(ctx, false)
	})
}

// knownModels answers from the built-in list.
func (x *exchange) knownModels() {
	x.rec.Node, x.rec.NodeName = "", ""
	h := x.w.Header()
	delete(h, "X-Proxy-Node")
	body := anthropic.ModelList()
	if id, ok := strings.CutPrefix(x.path, "/v1/models/"); ok {
		if body = anthropic.ModelObject(id); body == nil {
			x.fail(core.E(core.CodeNotFound, "model: "+clip(id, 100)+" is known neither to a node nor to the gateway."))
			return
		}
	}
	x.limitHeaders(h)
	h["Content-Type"] = jsonType
	x.rec.Status = http.StatusOK
	x.writeBody(http.StatusOK, body)
}

// prepareBody makes the body of one attempt: the client's bytes, with the model's name replaced where the node has
// another name for it.
func (a *attempt) prepareBody() {
	b := a.x.body
	if b == nil || len(b.buf) == 0 {
		return
	}
	parts := [3][]byte{b.buf}
	if a.sent != a.x.name && a.x.model.Exists() {
		at, end := a.x.model.Offset(), a.x.model.Offset()+len(a.x.model.Raw())
		parts = [3][]byte{b.buf[:at], rawjson.AppendString(nil, a.sent), b.buf[end:]}
	}
	a.size = int64(len(parts[0]) + len(parts[1]) + len(parts[2]))
	a.body = b.reader(parts)
	a.again = func() (io.ReadCloser, error) { return b.reader(parts), nil }
}

// freeBody gives the request's body back once no other attempt can need it.
func (x *exchange) freeBody() {
	if x.body != nil {
		x.body.release()
		x.body = nil
	}
}

// giveUp answers with the best of what the attempts brought, or with why none was made.
func (x *exchange) giveUp(last outcome, choice router.Choice) {
	if x.watch != nil {
		x.watch.stop()
	}
	if x.fallback != nil && last.f.Class != upstream.Stopped {
		x.fallback()
		return
	}
	var e *core.Error
	switch {
	case last.f.Class == upstream.Stopped:
		e = stopping()
	case last.status != 0 && rawjson.Scan(last.body, nil, nil) == nil:
		x.passError(last, choice)
		return
	case last.stream.Type != "":
		x.passStreamError(last, choice)
		return
	case x.rec.Attempts > 0:
		e = upstreamError(last.f)
	default:
		e = x.noNode(choice)
	}
	if s := x.watch.stream; s != nil && s.started {
		x.rec.Status, x.rec.ErrorCode = http.StatusOK, string(e.Code)
		x.sendErrorEvent(anthropic.ErrorType(e.Code), e.Message)
		return
	}
	x.fail(e)
}

// passError passes an upstream's error on as it is: clients act on its wording.
func (x *exchange) passError(o outcome, choice router.Choice) {
	parsed := anthropic.ParseError(o.body)
	x.rec.ErrorCode = clipID("upstream_" + parsed.Type)
	if s := x.watch.stream; s != nil && s.started {
		x.rec.Status = http.StatusOK
		if parsed.Type == "" {
			parsed = anthropic.StreamError{Type: "api_error", Message: "The upstream answered with status " + itoa(int64(o.status)) + "."}
		}
		x.sendErrorEvent(parsed.Type, parsed.Message)
		return
	}
	h := x.w.Header()
	upstream.CopyAnswer(h, o.header)
	x.limitHeaders(h)
	delete(h, "Content-Encoding")
	x.waitHeader(h, o, choice)
	h["Content-Length"] = []string{itoa(int64(len(o.body)))}
	x.rec.Status = o.status
	x.writeBody(o.status, o.body)
}

// waitHeader sets retry-after when all nodes cool: the client need not wait longer than for the first of them.
func (x *exchange) waitHeader(h http.Header, o outcome, choice router.Choice) {
	if o.f.Class != upstream.RateLimited || choice.Why != router.Cooling || choice.Wait <= 0 {
		return
	}
	if sent := upstream.RetryAfter(o.header, x.g.o.Now()); sent == 0 || choice.Wait <= sent-time.Second {
		delete(h, "Retry-After-Ms")
		h["Retry-After"] = []string{itoa(seconds(choice.Wait))}
	}
}

// passStreamError passes on an error event that came in place of an answer.
func (x *exchange) passStreamError(o outcome, choice router.Choice) {
	e := o.stream
	x.rec.ErrorCode = clipID("upstream_" + e.Type)
	if s := x.watch.stream; s != nil && s.started {
		x.rec.Status = http.StatusOK
		x.sendErrorEvent(e.Type, e.Message)
		return
	}
	body := anthropic.AppendError(nil, e.Type, e.Message, x.info.ID)
	h := x.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{itoa(int64(len(body)))}
	x.waitHeader(h, o, choice)
	x.rec.Status = e.Status()
	x.writeBody(x.rec.Status, body)
}

// upstreamError is our own error for an attempt that brought no answer to pass on.
func upstreamError(f upstream.Failure) *core.Error {
	switch {
	case f.Class == upstream.ClientFault: // with a body that says nothing
		code := core.CodeInvalid
		switch f.Status {
		case http.StatusNotFound:
			code = core.CodeNotFound
		case http.StatusRequestEntityTooLarge:
			code = core.CodeTooLarge
		}
		return core.E(code, "The upstream refused the request with status "+itoa(int64(f.Status))+" and gave no reason. Check the model and the size of the request.")
	case f.Class == upstream.Timeout:
		return core.E(core.CodeTimeout, "The upstream did not answer in time. Send the request again.")
	case f.Class == upstream.Stopped:
		return stopping()
	case f.Class == upstream.Overloaded:
		return core.E(core.CodeOverloaded, "The upstream is overloaded. Send the request again.")
	case f.Class == upstream.RateLimited:
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: f.RetryAfter, Message: "The upstream refused the request for its rate limit."}
	}
	return core.E(core.CodeBadGateway, "The upstream node gave no usable answer ("+f.Reason+"). Send the request again; if it lasts, ask the operator of the gateway.")
}

// stopping is the error of a request that the end of the process cuts short.
func stopping() *core.Error {
	return &core.Error{Code: core.CodeUnavailable, RetryAfter: 5 * time.Second, Message: "The gateway is shutting down. Send the request again."}
}

// noNode says why no node could be tried.
func (x *exchange) noNode(c router.Choice) *core.Error {
	switch c.Why {
	case router.NoModel:
		return core.E(core.CodeNotFound, "model: no node of this account serves "+clip(x.name, 100)+".")
	case router.Cooling:
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: c.Wait, Message: "All nodes of this account are rate limited by their upstreams. Try again in " + itoa(seconds(c.Wait)) + "s."}
	case router.Failing:
		return &core.Error{Code: core.CodeUnavailable, RetryAfter: max(c.Wait, time.Second), Message: "All nodes of this account are down. They are tried again within " + itoa(seconds(c.Wait)) + "s."}
	}
	return core.E(core.CodeUnavailable, "This account has no enabled node. Add or enable one in the admin interface.")
}
