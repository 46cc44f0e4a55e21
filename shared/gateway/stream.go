package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/eventstream"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/bedrock"
	"sluice/shared/upstream"
)

const (
	maxEvent = 32 << 20 // bytes of one event, as the official SDKs bound a line
	maxFrame = 16 << 20 // bytes of one frame, as AWS bounds a message
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
		x.hurry(w, x.g.s.HoldFor*9/10) // before the status line is out
		out := a.stream(ctx, w, s)
		x.unheard()
		return out
	})
	w.stop()
	if x.rec.Bytes = s.bytes; x.front.framed() {
		x.rec.Bytes = x.front.out.sent
	}
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
	if x.client.openAI() {
		h["X-Request-Id"] = []string{x.info.ID}
	}
	h["Cache-Control"] = noCache
	h["X-Accel-Buffering"] = noBuffer
	if x.front.framed() {
		x.frontStream(h)
	}
}

// relay copies one upstream stream to the client.
type relay struct {
	a       *attempt
	w       *watch
	out     *clientStream
	header  http.Header
	stream  translator.Stream
	status  *translator.Status
	held    []byte // what the client is sent for the events before the first content
	prelude int    // bytes of those events
	content bool   // content was sent: no other node can take over
	failure upstream.Failure
}

func (a *attempt) stream(ctx context.Context, w *watch, s *clientStream) outcome {
	resp, out := a.send(ctx)
	if resp == nil {
		return out
	}
	defer resp.Body.Close()
	src, why := plainBody(resp)
	if why == "" && !strings.HasPrefix(resp.Header.Get("Content-Type"), a.plan.wire.media) {
		why = "answered a stream request with something else than an event stream"
	}
	if why != "" {
		if ctx.Err() != nil {
			return a.broken(ctx, ctx.Err())
		}
		return outcome{f: upstream.Failure{Class: upstream.Server, Status: resp.StatusCode, Reason: why}}
	}
	rd := a.plan.wire.newBatch(src)
	defer rd.Release()
	r := &relay{a: a, w: w, out: s, header: resp.Header, stream: a.newStream()}
	r.status = r.stream.Status()
	return r.run(ctx, rd)
}

func (r *relay) run(ctx context.Context, rd batches) outcome {
	x := r.a.x
	defer func() {
		if r.status.Started || r.content { // of an attempt that failed, too: it stands unless there is another one
			t, estimated := r.stream.Tokens()
			x.noteTokens(t, r.stream.Terms(), estimated)
		}
		if r.content {
			x.rec.StreamMillis = max(0, x.since()/1e6-x.rec.FirstByteMS) // the first byte of a fast stream counts as 1 ms
		}
	}()
	for {
		batch, err := rd.Batch()
		now := x.since()
		ended := r.status.Ended
		if !ended {
			r.w.sign(now)
		}
		var out []byte
		if err == nil {
			out = r.stream.Batch(batch)
			if r.status.Ended && !ended && x.front.framed() {
				x.front.count(x, r.stream, now)
			}
		} else {
			if !ended && errors.Is(err, io.EOF) {
				out = r.stream.End()
			}
			if ended || !r.status.Ended { // nothing came of it
				return r.over(ctx, err)
			}
		}
		if !r.content {
			switch o, more := r.hold(len(batch), out); {
			case o != nil:
				return *o
			case more:
				continue
			}
			r.begin(now)
			out = append(r.held, out...)
			r.held = nil
			x.keep(out)
			if r.out.sendFirst(out, now, r.fillHeader, x.client.Resume) != nil {
				x.gone()
				return outcome{done: true}
			}
		} else if x.keep(out); len(out) > 0 && r.out.send(out, now, r.fillHeader) != nil {
			x.gone()
			return outcome{done: true}
		}
		if r.status.Broken != nil {
			return r.over(ctx, r.status.Broken)
		}
		if r.status.Ended && !ended {
			if r.status.Err != nil {
				r.failure = x.classifyStreamError(r.a, r.status.Err)
				x.rec.ErrorCode = clipID("upstream_" + r.status.Err.Type)
			}
			if r.status.Cut {
				return r.over(ctx, io.EOF) // what the upstream would still say is not wanted
			}
			r.w.shorten(afterEnd)
		}
	}
}

// hold keeps what comes before content. more means that content is still to come, an outcome that none will.
func (r *relay) hold(n int, out []byte) (o *outcome, more bool) {
	st := r.status
	r.prelude += n
	switch {
	case st.Content:
		return nil, false
	case st.Err != nil: // in place of an answer: another node may do better, unseen
		return &outcome{f: r.a.x.classifyStreamError(r.a, st.Err), stream: st.Err, wire: r.a.plan.wire, kind: r.a.node.Kind}, false
	case st.Broken != nil:
		return &outcome{f: upstream.Failure{Class: upstream.Server, Status: http.StatusOK, Reason: "event stream in another format than its API has"}}, false
	case !st.Ended && r.prelude <= maxHold:
		r.held = append(r.held, out...)
		return nil, true
	case !st.Started:
		return &outcome{f: upstream.Failure{Class: upstream.Server, Status: http.StatusOK, Reason: "event stream without a message"}}, false
	}
	return nil, false
}

// begin notes the first content. From here on the attempt is the answer.
func (r *relay) begin(now int64) {
	x := r.a.x
	r.content = true
	x.rec.Status = http.StatusOK
	x.rec.FirstByteMS = max(1, now/1e6)
	r.a.firstByte()
	x.inputTokens() // while the body is there: a client that leaves early leaves us without a count
	x.freeBody()
	r.a.plan.forget()
	// a failed node has proved itself; a long answer must not keep others from it. Any other is judged at the end: streams that
	// are cut must add up
	h := x.g.o.Health
	h.FirstByte(r.a.state, time.Duration(now-r.a.began), x.g.o.Now(), x.policy())
	if r.a.state.State() != nil {
		x.touched = append(x.touched, r.a.state)
	}
	if x.spare {
		r.w.shorten(x.g.s.StreamSilence)
	}
	if x.trial {
		h.Succeeded(r.a.state, r.a.node.Name, x.policy())
		x.trial = false
		r.a.state.EndTrial()
	}
}

func (r *relay) fillHeader(h http.Header) {
	x := r.a.x
	x.answerHeader(h, r.header, r.a)
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = noCache
	}
	if !r.a.plan.native() {
		h["Content-Type"] = streamType
	}
	h["X-Accel-Buffering"] = noBuffer
	if x.front.framed() {
		x.frontStream(h)
	}
}

// answerHeader fills a client's header from an upstream's. What an upstream of another dialect says in headers would
// mislead the client, save for its request id.
func (x *exchange) answerHeader(h, from http.Header, a *attempt) {
	if a.plan.native() {
		upstream.CopyAnswer(h, from)
		delete(h, "Content-Encoding")
		if a.node.Kind == core.KindBedrock {
			hideAWS(h)
			a.setDropped(h)
		}
	} else {
		if id := upstream.RequestID(from); id != "" {
			h["X-Upstream-Request-Id"] = []string{id}
		}
		a.setDropped(h)
	}
	if x.client.openAI() {
		h["X-Request-Id"] = []string{x.info.ID}
	}
	x.limitHeaders(h)
}

func (x *exchange) classifyStreamError(a *attempt, e *translator.Error) upstream.Failure {
	f := x.g.o.Upstreams[a.node.Kind].Classify(e.Status, http.Header{}, []byte(e.Raw))
	f.Reason = "error event in a stream, status " + itoa(int64(e.Status))
	return f
}

// over judges the end of the upstream's stream.
func (r *relay) over(ctx context.Context, err error) outcome {
	x := r.a.x
	if r.status.Ended {
		f := r.failure
		if f.Class == upstream.OK {
			f.Status = http.StatusOK
		}
		return outcome{done: true, f: f}
	}
	f := upstream.Failure{Class: upstream.Connection, Status: http.StatusOK, Reason: "stream ended before its terminal event"}
	switch {
	case r.status.Broken != nil && !errors.Is(err, io.EOF): // else it is the end that came too early
		f.Class, f.Reason = upstream.Server, "event stream in another format than its API has"
	case errors.Is(err, sse.ErrTooLarge):
		f.Class, f.Reason = upstream.Server, "event larger than 32 MiB"
	case errors.Is(err, eventstream.ErrTooLarge):
		f.Class, f.Reason = upstream.Server, "event larger than 16 MiB"
	case errors.Is(err, bedrock.ErrPayload):
		f.Class, f.Reason = upstream.Server, "event stream in another format than its API has"
	case errors.Is(err, eventstream.ErrCorrupt):
		f.Class, f.Reason = upstream.Server, "event stream with wrong checksums"
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
	e := upstreamError(f)
	x.rec.ErrorCode = string(e.Code)
	if f.Class == upstream.Connection {
		x.rec.ErrorCode = "stream_cut"
		e.Message = "The upstream ended the stream before the message was complete. Send the request again."
	}
	if r.out.send(r.stream.Fail(translator.OfCode(e)), x.since(), x.earlyHeader) != nil {
		x.gone()
	}
	return outcome{done: true, f: f}
}

// sendErrorEvent ends a stream in which only keep-alives have gone out.
func (x *exchange) sendErrorEvent(e *translator.Error) {
	if x.watch.stream.send(x.client.AppendErrorEvent(nil, e, x.replyAlone()), x.since(), x.earlyHeader) != nil {
		x.gone()
	}
}

// replyAlone are the options of what is said without knowing the request. The watch calls it beside the handler.
func (x *exchange) replyAlone() translator.ReplyOptions {
	return translator.ReplyOptions{ID: x.info.ID, Model: x.name, Created: x.info.Start.Unix()}
}
