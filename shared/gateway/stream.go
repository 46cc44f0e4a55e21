package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator/anthropic"
	"sluice/shared/upstream"
)

const (
	maxEvent = 32 << 20 // bytes of one event, as the official SDKs bound a line
	maxHold  = 1 << 20  // bytes held while no content has come
)

// streamed answers a request with a stream.
func (x *exchange) streamed() {
	s := &clientStream{w: x.w, rc: x.rc}
	w := x.startWatch(x.g.s.StreamSilence, s)
	x.watch = w
	defer w.stop()
	x.forward(func(ctx context.Context, a *attempt) outcome {
		s.mu.Lock()
		setNode(x.w.Header(), s.started, a.node.Name)
		s.mu.Unlock()
		w.attempt(a.cancel, x.g.s.StreamSilence)
		return a.stream(ctx, w, s)
	})
	w.stop()
	x.rec.Bytes = s.bytes
	if s.started && (x.rec.Status == 0 || x.rec.Status == statusGone) {
		x.rec.Status = http.StatusOK
	}
}

// setNode names the node in the header, while there is still one to send.
func setNode(h http.Header, sent bool, name string) {
	if !sent {
		h["X-Proxy-Node"] = []string{headerText(name)}
	}
}

// earlyHeader fills the header of a stream whose status line goes out before any upstream answered.
func (x *exchange) earlyHeader(h http.Header) {
	x.limitHeaders(h)
	h["Content-Type"] = streamType
	h["Cache-Control"] = noCache
	h["X-Accel-Buffering"] = noBuffer
}

// relay copies one upstream stream to the client.
type relay struct {
	a        *attempt
	w        *watch
	out      *clientStream
	header   http.Header
	meter    anthropic.Meter
	held     []byte // events that came before the first content
	start    bool   // message_start was seen
	nonsense bool   // much came, nothing of it a message
	content  bool   // content was sent: no other node can take over
	ended    bool   // message_stop or an error event was passed on
	failure  upstream.Failure
	err      anthropic.StreamError // the error event
}

func (a *attempt) stream(ctx context.Context, w *watch, s *clientStream) outcome {
	resp, out := a.send(ctx)
	if resp == nil {
		return out
	}
	defer resp.Body.Close()
	src, why := plainBody(resp)
	if why == "" && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		why = "answered a stream request with something else than an event stream"
	}
	if why != "" {
		if ctx.Err() != nil {
			return a.broken(ctx, ctx.Err())
		}
		return outcome{f: upstream.Failure{Class: upstream.Server, Status: resp.StatusCode, Reason: why}}
	}
	rd := sse.NewReader(src, maxEvent)
	defer rd.Release()
	r := &relay{a: a, w: w, out: s, header: resp.Header}
	return r.run(ctx, rd)
}

func (r *relay) run(ctx context.Context, rd *sse.Reader) outcome {
	x := r.a.x
	defer func() {
		if r.start || r.content { // of an attempt that failed, too: it stands unless another one answers
			x.rec.Tokens, x.rec.Estimated = r.meter.Result()
		}
		if r.content {
			x.rec.StreamMillis = x.since()/1e6 - x.rec.FirstByteMS
		}
	}()
	for {
		batch, err := rd.Batch()
		now := x.since()
		if !r.ended {
			r.w.sign(now)
		}
		if err != nil {
			return r.over(ctx, err)
		}
		if !r.content {
			rest, more := r.hold(batch)
			if more {
				if r.err.Type != "" {
					return r.errorBeforeContent()
				}
				continue
			}
			if r.nonsense {
				return outcome{f: upstream.Failure{Class: upstream.Server, Status: http.StatusOK, Reason: "event stream without a message"}}
			}
			r.begin(now)
			batch = append(r.held, rest...)
			r.held = nil
			r.inspect(rest)
		} else {
			r.inspect(batch)
		}
		if r.out.send(batch, now, r.fillHeader) != nil {
			x.gone()
			return outcome{done: true}
		}
		if r.ended {
			r.w.shorten(afterEnd)
		}
	}
}

// begin notes the first content. From here on the attempt is the answer.
func (r *relay) begin(now int64) {
	x := r.a.x
	r.content = true
	x.rec.Status = http.StatusOK
	x.rec.FirstByteMS = max(1, now/1e6)
	x.freeBody()
	// a failed node has proved itself; a long answer must not keep others from it. Any other is judged at the end: streams that
	// are cut must add up
	if x.trial {
		x.g.o.Health.Succeeded(r.a.state, r.a.node.Name)
		x.touched = append(x.touched, r.a.state)
		x.trial = false
		r.a.state.EndTrial()
	}
}

func (r *relay) fillHeader(h http.Header) {
	x := r.a.x
	upstream.CopyAnswer(h, r.header)
	delete(h, "Content-Encoding")
	x.limitHeaders(h)
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = noCache
	}
	h["X-Accel-Buffering"] = noBuffer
}

// hold keeps the events of a batch that come before content. more means that content is still to come; otherwise rest
// begins with it.
func (r *relay) hold(batch []byte) (rest []byte, more bool) {
	for {
		ev, next, ok := sse.Cut(batch)
		if !ok {
			return nil, true
		}
		kind := anthropic.Kind(ev)
		if kind == anthropic.EventError {
			r.err = anthropic.ParseError(ev.Data)
			if r.err.Type == "" {
				r.err.Type = "api_error"
			}
			return nil, true
		}
		if r.decides(&kind, ev) {
			return batch, false
		}
		if len(r.held)+len(ev.Raw) > maxHold {
			r.nonsense = !r.start
			return batch, false
		}
		r.meter.Event(kind, ev)
		r.held = r.appendEvent(r.held, kind, ev)
		batch = next
	}
}

// decides tells whether an event is content, which makes this attempt the answer. Nothing is content before a
// message_start, or when it is no JSON: such an upstream talks nonsense and is better replaced.
func (r *relay) decides(kind *anthropic.EventKind, ev sse.Event) bool {
	switch *kind {
	case anthropic.EventStart:
		r.start = r.start || anthropic.Valid(ev)
		return false
	case anthropic.EventBlockStart, anthropic.EventPing:
		return false
	case anthropic.EventContent:
		if anthropic.Empty(ev) {
			*kind = anthropic.EventEmpty
			return false
		}
	}
	return r.start && anthropic.Valid(ev)
}

// appendEvent appends the event's bytes; a message_start of an aliased model names the model that the client asked for.
func (r *relay) appendEvent(dst []byte, kind anthropic.EventKind, ev sse.Event) []byte {
	x := r.a.x
	if kind != anthropic.EventStart || r.a.sent == x.name {
		return append(dst, ev.Raw...)
	}
	model, err := rawjson.Find(ev.Data, "message", "model")
	if err != nil || model.Kind() != rawjson.String {
		return append(dst, ev.Raw...)
	}
	data := rawjson.Splice(nil, ev.Data, model, rawjson.AppendString(nil, x.name))
	return sse.AppendEvent(dst, string(ev.Name), data)
}

// inspect reads usage and the end out of events that go to the client as they are.
func (r *relay) inspect(batch []byte) {
	for {
		// nearly all events are deltas, of which only the length counts
		if n := sse.Span(batch, "content_block_delta"); n > 0 {
			r.meter.Delta(n)
			batch = batch[n:]
			continue
		}
		ev, next, ok := sse.Cut(batch)
		if !ok {
			return
		}
		batch = next
		kind := anthropic.Kind(ev)
		r.meter.Event(kind, ev)
		switch kind {
		case anthropic.EventStop:
			r.ended = true
		case anthropic.EventError:
			r.ended = true
			r.err = anthropic.ParseError(ev.Data)
			r.failure = r.a.x.classifyStreamError(r.a, r.err)
			r.a.x.rec.ErrorCode = clipID("upstream_" + r.err.Type)
		}
	}
}

// errorBeforeContent is an error in place of an answer: another node may do better, unseen.
func (r *relay) errorBeforeContent() outcome {
	return outcome{f: r.a.x.classifyStreamError(r.a, r.err), stream: r.err}
}

func (x *exchange) classifyStreamError(a *attempt, e anthropic.StreamError) upstream.Failure {
	f := x.g.o.Upstreams[a.node.Kind].Classify(e.Status(), http.Header{}, nil)
	f.Reason = "error event in a stream, status " + itoa(int64(e.Status()))
	return f
}

// over judges the end of the upstream's stream.
func (r *relay) over(ctx context.Context, err error) outcome {
	x := r.a.x
	if r.ended {
		f := r.failure
		if f.Class == upstream.OK {
			f.Status = http.StatusOK
		}
		return outcome{done: true, f: f}
	}
	f := upstream.Failure{Class: upstream.Connection, Status: http.StatusOK, Reason: "stream ended before message_stop"}
	switch {
	case errors.Is(err, sse.ErrTooLarge):
		f.Class, f.Reason = upstream.Server, "event larger than 32 MiB"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
	default:
		if o := r.a.broken(ctx, err); o.done || o.f.Class == upstream.Stopped || o.f.Class == upstream.Timeout {
			if o.done || !r.content {
				return o
			}
			f = o.f
		}
	}
	if !r.content {
		return outcome{f: f}
	}
	x.endWithError(f)
	return outcome{done: true, f: f}
}

// endWithError ends a stream that has begun with an error event in place of a clean end.
func (x *exchange) endWithError(f upstream.Failure) {
	e := upstreamError(f)
	x.rec.ErrorCode = string(e.Code)
	if f.Class == upstream.Connection {
		x.rec.ErrorCode = "stream_cut"
		e.Message = "The upstream ended the stream before the message was complete. Send the request again."
	}
	x.sendErrorEvent(anthropic.ErrorType(e.Code), e.Message)
}

func (x *exchange) sendErrorEvent(typ, message string) {
	ev := anthropic.AppendErrorEvent(nil, typ, message, x.info.ID)
	if x.watch.stream.send(ev, x.since(), x.earlyHeader) != nil {
		x.gone()
	}
}
