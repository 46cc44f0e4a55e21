package gateway

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"

	"sluice/shared/core"
	"sluice/shared/eventstream"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
)

// frameWriter stands between an exchange and a client of InvokeModelWithResponseStream. Of the events of the Messages API that
// are written to it, whole ones, it makes frames: {"bytes":"<base64 of an event's data>"}. What has another content type passes.
// The handler and the watch write to it in turn.
//
// It makes no allocation for an event, only for the few that begin a block.
type frameWriter struct {
	http.ResponseWriter
	on    bool
	ended bool // the last event or an exception was sent
	buf   []byte
	sent  int64
	idle  []byte // a delta without content for the open block; empty: there is none that takes one
	used  usedTokens
}

// usedTokens is what the last event tells, in the service's words.
type usedTokens struct {
	known                 bool
	tokens                core.Tokens
	latency, firstByteLag int64 // ms
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *frameWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *frameWriter) WriteHeader(status int) {
	ct := w.Header()["Content-Type"]
	w.on = len(ct) > 0 && ct[0] == mediaFrames
	w.ResponseWriter.WriteHeader(status)
}

// keptFrames is the largest buffer that is kept for the next events.
const keptFrames = 64 << 10

// Write implements http.ResponseWriter.
func (w *frameWriter) Write(p []byte) (int, error) {
	if !w.on {
		n, err := w.ResponseWriter.Write(p)
		w.sent += int64(n)
		return n, err
	}
	if cap(w.buf) > keptFrames {
		w.buf = nil
	}
	w.buf = w.buf[:0]
	for rest := p; len(rest) > 0 && !w.ended; {
		ev, more, ok := sse.Cut(rest)
		if !ok {
			break
		}
		rest = more
		if ev.Data != nil {
			w.event(ev)
		}
	}
	if len(w.buf) == 0 {
		if w.ended {
			return len(p), nil
		}
		w.ping() // of comments, which keep a connection alive, nothing is left
	}
	n, err := w.ResponseWriter.Write(w.buf)
	if w.sent += int64(n); err != nil {
		return 0, err
	}
	return len(p), nil
}

// event appends the frame of an event.
func (w *frameWriter) event(ev sse.Event) {
	name, data := ev.Name, ev.Data
	if len(name) == 0 { // of relays that leave it out
		name = typeOf(data)
	}
	switch string(name) {
	case "ping":
		w.ping()
		return
	case "error":
		w.fail(data)
		return
	}
	if data = bytes.TrimSpace(data); len(data) == 0 || data[0] != '{' {
		return // [DONE] and the like: no event of this API
	}
	switch string(name) {
	case "content_block_start":
		w.opened(data)
	case "content_block_stop":
		w.idle = w.idle[:0]
	case "message_stop":
		w.stop(data)
		w.ended = true // what comes behind it is none of the answer
		return
	}
	w.chunk(data)
}

func typeOf(data []byte) []byte {
	v, err := rawjson.Find(data, "type")
	if err != nil || v.Kind() != rawjson.String {
		return nil
	}
	return v.Raw()[1 : len(v.Raw())-1]
}

const chunkBegin, chunkEnd = `{"bytes":"`, `"}`

// chunk appends the frame of an event's data.
func (w *frameWriter) chunk(data []byte) {
	if base64.StdEncoding.EncodedLen(len(data)) > eventstream.MaxFrame-256 {
		w.except("modelStreamErrorException", []byte(`"The model sent an event that is larger than a frame of this API may be."`))
		return
	}
	at := len(w.buf)
	w.buf = append(chunkHead.Begin(w.buf), chunkBegin...)
	w.buf = base64.StdEncoding.AppendEncode(w.buf, data)
	w.buf = eventstream.End(append(w.buf, chunkEnd...), at)
}

// deltas are the kinds of blocks that may get a delta without content, and what that is.
var deltas = map[string]string{
	`"text"`: `text_delta","text":""}}`, `"thinking"`: `thinking_delta","thinking":""}}`,
	`"tool_use"`: `input_json_delta","partial_json":""}}`, `"server_tool_use"`: `input_json_delta","partial_json":""}}`,
}

// opened notes which block a ping may be put into.
func (w *frameWriter) opened(data []byte) {
	w.idle = w.idle[:0]
	var v [2]rawjson.Value
	if rawjson.Scan(data, []string{"index", "content_block"}, v[:]) != nil || v[0].Kind() != rawjson.Number {
		return
	}
	kind, err := rawjson.Find(v[1].Raw(), "type")
	if rest := deltas[string(kind.Raw())]; err == nil && rest != "" {
		w.idle = append(append(w.idle, `{"type":"content_block_delta","index":`...), v[0].Raw()...)
		w.idle = append(append(w.idle, `,"delta":{"type":"`...), rest...)
	}
}

// ping appends what keeps the connection alive. The service sends no pings, and helpers of some SDKs take one for an error: the
// older ones of TypeScript anywhere, Python's before message_start. An event without content for the open block says nothing to
// anyone; where no block is open, an event of a type that is not in the service's model is skipped by all.
func (w *frameWriter) ping() {
	if len(w.idle) > 0 {
		w.chunk(w.idle)
		return
	}
	at := len(w.buf)
	w.buf = eventstream.End(append(idleHead.Begin(w.buf), "{}"...), at)
}

const metricsName = "amazon-bedrock-invocationMetrics"

// lacks reports whether a text is an object that has members, and not that one.
func lacks(data []byte, name string) bool {
	some, found := false, false
	err := rawjson.Members(data, func(key, _ rawjson.Value) bool {
		some, found = true, found || key.TextEquals(name)
		return !found
	})
	return err == nil && some && !found
}

// stop appends the last event, with what was used, which clients of this API read there.
func (w *frameWriter) stop(data []byte) {
	if u := w.used; u.known && lacks(data, metricsName) {
		t := u.tokens
		b := append(slices.Clone(data[:len(data)-1]), `,"`+metricsName+`":{`...)
		for i, c := range [...]struct {
			name string
			n    int64
		}{{"inputTokenCount", t.Input}, {"outputTokenCount", t.Output}, {"invocationLatency", u.latency}, {"firstByteLatency", u.firstByteLag},
			{"cacheReadInputTokenCount", t.CacheRead}, {"cacheWriteInputTokenCount", t.CacheWrite5m + t.CacheWrite1h}} {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(append(append(append(b, '"'), c.name...), `":`...), c.n, 10)
		}
		data = append(b, "}}"...)
	}
	w.chunk(data)
}

// fail appends the exception that an error event of the Messages API is, and ends the stream.
func (w *frameWriter) fail(data []byte) {
	typ, _ := rawjson.Find(data, "error", "type")
	message, err := rawjson.Find(data, "error", "message")
	name, text := "internalServerException", []byte(`"The model's answer ended in an error."`)
	if err == nil && message.Kind() == rawjson.String {
		text = message.Raw()
	}
	if s, _ := typ.Text(); s != "" {
		name = streamExceptions[s]
		if name == "" {
			name = "internalServerException"
		}
	}
	w.except(name, text)
}

// streamExceptions are the members of the service's union for the types of errors that a stream of the Messages API may have.
var streamExceptions = map[string]string{
	"invalid_request_error": "validationException", "request_too_large": "validationException", "not_found_error": "validationException",
	"rate_limit_error": "throttlingException", "overloaded_error": "serviceUnavailableException", "timeout_error": "modelTimeoutException",
}

func (w *frameWriter) except(name string, message []byte) {
	at := len(w.buf)
	w.buf = append(eventstream.ExceptionHead(name).Begin(w.buf), `{"message":`...)
	w.buf = eventstream.End(append(append(w.buf, message...), '}'), at)
	w.ended = true
}
