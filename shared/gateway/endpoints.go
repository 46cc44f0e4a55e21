package gateway

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/translator"
	"sluice/shared/upstream"
)

// messages serves the endpoints that answer with a message of the model: one for each dialect.
func (x *exchange) messages() {
	if err := x.prepare(); err != nil {
		x.fail(err)
		return
	}
	tier := x.askedTier()
	if x.rec.Stream {
		x.streamed()
	} else {
		x.whole(true)
	}
	x.noteTier(tier)
}

// countTokens serves POST /v1/messages/count_tokens.
func (x *exchange) countTokens() {
	if err := x.prepare(); err != nil {
		x.fail(err)
		return
	}
	x.rec.Stream, x.only = false, dialectAnthropic
	if x.noneCounts() {
		x.estimateTokens()
		return
	}
	x.whole(false)
}

// counts reports whether a node can be asked to count.
func (x *exchange) counts(n *core.Node) bool {
	w := x.wire(n)
	return w == dialectAnthropic || w == dialectInvoke
}

// noneCounts reports whether the account has nodes for the model, and none of a kind that can be asked to count.
func (x *exchange) noneCounts() bool {
	list := x.candidates().list
	routed := router.Resolve(&x.account.Account, list, x.name)
	for i := range list {
		list[i].Unable = !x.counts(list[i].Node)
	}
	c := router.Pick(list, &router.Request{Model: routed, Now: x.g.o.Now(), Policy: x.policy()}, random)
	return c.Index < 0 && c.Why == router.Unfit
}

// estimateHeader marks an answer whose count is our own guess.
const estimateHeader = "X-Sluice-Estimate"

// estimateTokens answers count_tokens where no node can: within some 15 % on English, Chinese and source code.
func (x *exchange) estimateTokens() {
	if m, err := rawjson.Find(x.body.buf, "messages"); err != nil || m.Kind() != rawjson.Array {
		x.fail(badField("messages", "must be a list of messages"))
		return
	}
	n := x.countedInput()
	x.freeBody()
	h := x.w.Header()
	x.limitHeaders(h)
	h[estimateHeader] = []string{"input_tokens"}
	h["Content-Type"] = jsonType
	body := append(strconv.AppendInt([]byte(`{"input_tokens":`), n, 10), '}')
	if x.front.framed() {
		body = x.frontAnswer(h, body)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.rec.Status = http.StatusOK
	x.writeBody(http.StatusOK, body)
}

// prepare reads, looks and admits. A request with a bad body is admitted too before it is refused: so it is recorded like
// every other, and the key's limits bound how many such records there can be.
func (x *exchange) prepare() error {
	bad, admit := x.readBody(), x.admit
	if x.front != nil {
		admit = x.admitFront
		if bad == nil {
			bad = x.openFront()
		}
	}
	if bad == nil {
		bad = x.look()
	}
	x.unsent = bad != nil
	if err := admit(); err != nil {
		return err
	}
	x.beginCapture() // before anything is put into the body
	if bad == nil {
		bad = x.resume()
	}
	return bad
}

// freeBody gives the request's body, and what was made of it, back once no other attempt can need them.
func (x *exchange) freeBody() {
	x.g.bodies.used.Add(-x.reserved)
	x.reserved = 0
	clear(x.plans) // a stream may go on for an hour
	if x.hub != nil {
		x.hub.Forget() // it is a view of the body
	}
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
	x.tellFailed(last, choice)
	var e *core.Error
	switch {
	case last.f.Class == upstream.Stopped:
		e = stopping()
	case last.f.Class == upstream.NotOffered && choice.Wait > 0: // to others that may be, and that cannot be asked now
		e = &core.Error{Code: core.CodeUnavailable, RetryAfter: choice.Wait,
			Message: "The nodes of this account that could serve this model cannot be asked now. Try again in " + itoa(seconds(choice.Wait)) + "s."}
	case last.misnamed:
		e = badField("model", clip(x.name, 100)+" is no id that a model of Amazon Bedrock can have. GET /v1/models lists the models of this account.")
	case last.f.Class == upstream.NotOffered && x.only != nil: // CountTokens knows fewer models than InvokeModel
		x.estimateTokens()
		return
	case last.f.Class == upstream.Credential && (last.kind == core.KindAmazonQ || last.kind == core.KindBedrock):
		e = upstreamError(last.f) // the words are about the node's login, and a client would take them for its own key's
	case last.status != 0 && rawjson.Scan(last.body, nil, nil) == nil:
		x.passError(last, choice)
		return
	case last.stream != nil:
		x.passStreamError(last, choice)
		return
	case x.rec.Attempts > 0:
		e = upstreamError(last.f)
	case x.unfit != nil:
		e = x.clientError(x.unfit)
	default:
		e = x.noNode(choice)
	}
	x.failLate(e)
}

// failLate answers with an error of our own when keep-alives may have gone out already.
func (x *exchange) failLate(err error) {
	x.watch.stop()
	if s := x.watch.stream; s != nil && s.begun() && !errors.Is(err, errClientGone) {
		e := core.AsError(err)
		x.rec.Status, x.rec.ErrorCode = http.StatusOK, string(e.Code)
		x.sendErrorEvent(translator.OfCode(e))
		return
	}
	x.fail(err)
}

// passError passes an upstream's error on: as it is in the client's own dialect, for clients act on its wording, and else
// with the same status and words.
func (x *exchange) passError(o outcome, choice router.Choice) {
	parsed, told := o.wire.ParseError(o.status, o.body), o.retold()
	if told > 0 {
		parsed.Status = told
	}
	x.rec.ErrorCode = clipID("upstream_" + parsed.Type)
	if s := x.watch.stream; s != nil && s.begun() {
		x.rec.Status = http.StatusOK
		parsed.RetryAfter = o.f.RetryAfter
		x.sendErrorEvent(parsed)
		return
	}
	h := x.w.Header()
	body, status := o.body, o.status
	if x.front.framed() {
		body, status = x.frontError(h, parsed, &o)
		copyRetry(h, o.header)
		h["Content-Type"] = jsonType
	} else if o.wire == x.client {
		upstream.CopyAnswer(h, o.header)
		delete(h, "Content-Encoding")
		if o.kind == core.KindBedrock {
			hideAWS(h)
			h["Content-Type"] = jsonType // the body may be ours
		}
		if told > 0 {
			body, status = x.client.AppendError(nil, parsed, cmp.Or(upstream.RequestID(o.header), x.info.ID)), told
		}
	} else {
		body = x.client.AppendError(nil, parsed, x.info.ID)
		if parsed.Status >= 400 { // a service may say in its body what the status does not tell
			status = parsed.Status
		}
		copyRetry(h, o.header)
		h["Content-Type"] = jsonType
	}
	if x.client.openAI() {
		h["X-Request-Id"] = []string{x.info.ID}
	}
	x.limitHeaders(h)
	x.waitHeader(h, o, choice)
	h["Content-Length"] = []string{itoa(int64(len(body)))}
	x.rec.Status = status
	x.writeBody(status, body)
}

// waitHeader sets retry-after when nodes cool or have failed: the client need not wait longer than for the first of them.
func (x *exchange) waitHeader(h http.Header, o outcome, choice router.Choice) {
	if o.f.Class != upstream.RateLimited || choice.Wait <= 0 {
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
	if s := x.watch.stream; s != nil && s.begun() {
		x.rec.Status = http.StatusOK
		x.sendErrorEvent(e)
		return
	}
	h := x.w.Header()
	body, status := []byte(nil), e.Status
	if x.front.framed() {
		body, status = x.frontError(h, e, &o)
	} else {
		body = x.client.AppendError(nil, e, x.info.ID)
	}
	if x.client.openAI() {
		h["X-Request-Id"] = []string{x.info.ID}
	}
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{itoa(int64(len(body)))}
	x.waitHeader(h, o, choice)
	x.rec.Status = status
	x.writeBody(status, body)
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
	case f.Class == upstream.Credential:
		return core.E(core.CodeBadGateway, "The upstream refused the node's own credential ("+f.Reason+"). Your key is not at fault; the operator of the gateway must see to it.")
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
	case router.Unfit:
		return core.E(core.CodeNotFound, "No node of this account has this endpoint for the model "+clip(x.name, 100)+".")
	case router.Cooling:
		return x.allFull(c)
	case router.Blocked:
		return core.E(core.CodeUnavailable, "The nodes of this account that could serve this request wait for their operator: a login ended or the upstream suspended them. The admin interface tells which.")
	case router.Failing:
		return &core.Error{Code: core.CodeUnavailable, RetryAfter: max(c.Wait, time.Second), Message: "All nodes of this account are down. They are tried again within " + itoa(seconds(c.Wait)) + "s."}
	}
	return core.E(core.CodeUnavailable, "This account has no enabled node. Add or enable one in the admin interface.")
}
