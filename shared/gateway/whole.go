package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
	"sluice/shared/upstream"
)

// maxAnswer bounds an answer that is not streamed: it is read whole, so that a node that dies half-way can be replaced.
const maxAnswer = 64 << 20

var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// plainBody returns the answer's body without compression. We ask for none; relays that compress all the same use gzip.
func plainBody(resp *http.Response) (io.Reader, string) {
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity":
		return resp.Body, ""
	case "gzip":
		z, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil, "answered with broken gzip"
		}
		return z, ""
	}
	return nil, "answered in a compression that was not asked for"
}

// whole answers a request with one JSON object. metered tells whether it carries usage.
func (x *exchange) whole(metered bool) {
	w := x.startWatch(x.g.s.AnswerTimeout, nil)
	x.watch = w
	defer w.stop()
	x.forward(func(ctx context.Context, a *attempt) outcome {
		setNode(x.w.Header(), false, a.node.Name)
		w.attempt(a.cancel, x.g.s.AnswerTimeout)
		x.hurry(w, 2*x.g.s.HoldFor)
		out := a.whole(ctx, metered)
		if metered {
			x.unheard()
		}
		return out
	})
}

func (a *attempt) whole(ctx context.Context, metered bool) outcome {
	x := a.x
	resp, out := a.send(ctx)
	if resp == nil {
		return out
	}
	defer resp.Body.Close()
	bad := func(class upstream.Class, why string) outcome {
		return outcome{f: upstream.Failure{Class: class, Status: resp.StatusCode, Reason: why}}
	}
	src, why := plainBody(resp)
	if why != "" {
		if ctx.Err() != nil {
			return a.broken(ctx, ctx.Err())
		}
		return bad(upstream.Server, why)
	}
	buf := answers.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= 1<<20 {
			answers.Put(buf)
		}
	}()
	n, err := buf.ReadFrom(io.LimitReader(src, maxAnswer+1))
	switch {
	case err != nil:
		o := a.broken(ctx, err)
		if o.f.Class == upstream.Connection {
			o.f.Reason = "connection lost within the answer"
		}
		return o
	case n > maxAnswer:
		return bad(upstream.Server, "answer larger than 64 MiB")
	}
	if metered {
		return a.message(resp, buf.Bytes())
	}
	body := buf.Bytes()
	if a.plan.wire == dialectInvoke {
		var ok bool
		if body, ok = counted(body); !ok {
			return bad(upstream.Server, "answered in another format than its API has")
		}
	}
	var v [2]rawjson.Value
	if rawjson.Scan(body, []string{"type", "model"}, v[:]) != nil {
		return bad(upstream.Server, "answered with something else than a JSON object")
	}
	if v[0].TextEquals("error") {
		e := a.plan.wire.ParseError(0, body)
		e.Status = translator.ErrorStatus(e.Type)
		return outcome{f: x.classifyStreamError(a, e), stream: e, wire: a.plan.wire, kind: a.node.Kind}
	}
	if a.alias() != "" && v[1].Kind() == rawjson.String {
		body = rawjson.Splice(nil, body, v[1], rawjson.AppendString(nil, x.name))
	}
	x.answer(resp, body, a)
	return outcome{done: true, f: upstream.Failure{Status: resp.StatusCode}}
}

// message passes on or translates a whole answer of the model.
func (a *attempt) message(resp *http.Response, body []byte) outcome {
	x, p := a.x, a.plan
	var err error
	if p.same {
		var u translator.Usage
		var estimated bool
		body, u, estimated, err = p.wire.PassReply(body, translator.TapOptions{Model: a.alias()})
		if err == nil || !estimated && u.Tokens != (core.Tokens{}) { // what failed may have been counted, too
			x.noteTokens(u.Tokens, u.Terms, estimated)
		}
	} else {
		var c translator.Collector
		b := translator.NewBuilder(c.Event)
		b.Enforce(p.enc.Enforce)
		b.Rename(p.names)
		b.Guess(x.guess(p.wire))
		if err = p.wire.ReadReply(body, b); err == nil {
			err = b.Whole()
		}
		if t, estimated := b.Tokens(); err == nil || !estimated {
			x.noteTokens(t, b.Terms(), estimated)
		}
		if err == nil {
			body = x.client.AppendReply(nil, &c.Reply, x.reply())
		}
	}
	var told *translator.Error
	switch {
	case errors.As(err, &told):
		return outcome{f: x.classifyStreamError(a, told), stream: told, wire: p.wire, kind: a.node.Kind}
	case err != nil:
		return outcome{f: upstream.Failure{Class: upstream.Server, Status: resp.StatusCode, Reason: "answered in another format than its API has"}}
	}
	x.rec.FirstByteMS = max(1, x.since()/1e6)
	a.firstByte()
	if x.state != nil {
		x.state.save(body)
	}
	x.answer(resp, body, a)
	return outcome{done: true, f: upstream.Failure{Status: resp.StatusCode}}
}

// answer sends a whole answer.
func (x *exchange) answer(resp *http.Response, body []byte, a *attempt) {
	h := x.w.Header()
	x.answerHeader(h, resp.Header, a)
	if !a.plan.native() {
		h["Content-Type"] = jsonType
	}
	if x.front.framed() {
		body = x.frontAnswer(h, body)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.rec.Status = resp.StatusCode
	x.writeBody(resp.StatusCode, body)
}

// writeBody sends status and body to a client that may have stopped reading.
func (x *exchange) writeBody(status int, body []byte) {
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return
	}
	large := len(body) > 64<<10 // less fits into socket buffers and cannot block for long
	if large {
		_ = x.rc.SetWriteDeadline(time.Now().Add(stuckAfter + time.Duration(len(body)/1024)*time.Millisecond))
	}
	n, err := x.w.Write(body)
	x.rec.Bytes = int64(n)
	if err != nil {
		x.gone()
	} else if large {
		_ = x.rc.SetWriteDeadline(time.Time{})
	}
}
