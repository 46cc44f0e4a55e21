package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/eventstream"
	"sluice/shared/gateway"
	"sluice/shared/upstream"
	"sluice/shared/upstream/upstreamtest"
)

// frontBody is a body of InvokeModel.
const frontBody = `{"anthropic_version":"bedrock-2023-05-31","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`

// invoke serves one request of InvokeModelWithResponseStream to its end.
func (b *bubble) invoke(ctx context.Context, body string) *client {
	w := newClient(b.t)
	b.serveFront(ctx, w, "global.anthropic.claude-x", body)
	return w
}

func (b *bubble) serveFront(ctx context.Context, w http.ResponseWriter, id, body string) {
	q := httptest.NewRequestWithContext(ctx, http.MethodPost, frontPath(id, "invoke-with-response-stream"), strings.NewReader(body))
	q.Header.Set("Authorization", "Bearer "+proxyKey)
	b.handler.ServeHTTP(w, q)
}

// frontBubble has a node of kind anthropic, "a", and the wires that a test adds.
func frontBubble(t *testing.T, s gateway.Settings, names ...string) *bubble {
	t.Helper()
	b := newBubble(t, s, names...)
	b.o.Upstreams[core.KindBedrock] = b.up
	b.count(nil)
	return b
}

// TestBedrockFront_CutAtEveryByte: however small the pieces are in which a node sends, the frames are whole and the same; an
// answer that is cut goes to another node before content, and ends in an exception after it (D12).
func TestBedrockFront_CutAtEveryByte(t *testing.T) {
	for at := 1; at < len(whole); at++ {
		synctest.Test(t, func(t *testing.T) {
			b := frontBubble(t, gateway.Settings{RetryMax: 1}, "a")
			b.up.queue(streaming(step{data: whole[:at]}, step{wait: time.Second, data: whole[at:]}))
			es, exception, _ := unpacked(t, b.invoke(t.Context(), frontBody).text())
			if text(es) != "Hello there" || exception != "" || !strings.HasSuffix(names(es), "delta stop") {
				t.Fatalf("in two at %d: events %s, exception %q", at, names(es), exception)
			}
		})
	}
	content := strings.Index(whole, evText) + len(evText)
	for at := 1; at < len(whole); at += 3 {
		synctest.Test(t, func(t *testing.T) {
			b := frontBubble(t, gateway.Settings{RetryMax: 1}, "a", "b")
			b.up.on("a", streaming(step{data: whole[:at], err: []error{io.EOF, io.ErrUnexpectedEOF, errReset}[at%3]}))
			b.up.on("b", streaming(step{data: whole}))
			es, exception, message := unpacked(t, b.invoke(t.Context(), frontBody).text())
			rec := b.record()
			if at < content {
				if text(es) != "Hello there" || exception != "" || rec.NodeName != "b" {
					t.Fatalf("cut at %d: events %s, exception %q, by %s", at, names(es), exception, rec.NodeName)
				}
				return
			}
			if exception != "internalServerException" || message == "" || rec.ErrorCode != "stream_cut" || strings.Contains(names(es), "stop stop") {
				t.Fatalf("cut at %d: events %s, exception %q %q, %+v", at, names(es), exception, message, rec)
			}
		})
	}
}

// TestD11_BedrockFrontSilence: a client hears something however long a node keeps it waiting, and reads nothing of it that its
// SDK could stumble over: no ping, and an event without content only for a block that is open.
func TestD11_BedrockFrontSilence(t *testing.T) {
	const silence = 290 * time.Second
	thinking := upstreamtest.Event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`) +
		upstreamtest.Event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`)
	tool := upstreamtest.Event("content_block_start", `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`) +
		upstreamtest.Event("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}`)
	redacted := upstreamtest.Event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"eA=="}}`)
	for _, c := range []struct {
		why   string
		steps []step
		empty string // the kind of deltas without content
	}{
		{"before the status line", []step{{wait: silence}, {data: whole}}, ""},
		{"before content", []step{{data: head}, {wait: silence, data: evText + evMore + ends}}, ""},
		{"in a text", []step{{data: head + evText}, {wait: silence, data: evMore + ends}}, "text_delta"},
		{"within an event", []step{{data: head + evText + evMore[:30]}, {wait: silence, data: evMore[30:] + ends}}, "text_delta"},
		{"between blocks", []step{{data: head + evText + evMore + evClose}, {wait: silence, data: evDelta + evStop}}, ""},
		{"while it thinks", []step{{data: evStart + thinking}, {wait: silence, data: evClose + evDelta + evStop}}, "thinking_delta"},
		{"in a call", []step{{data: head + evText + evMore + evClose + tool}, {wait: silence, data: strings.Replace(evClose, ":0", ":1", 1) + evDelta + evStop}}, "input_json_delta"},
		{"in a block that takes no deltas", []step{{data: evStart + redacted}, {wait: silence, data: evClose + evDelta + evStop}}, ""},
		{"but for comments, which no frame carries", slices.Concat([]step{{data: head + evText}}, slices.Repeat([]step{{wait: 10 * time.Second, data: ": alive\n\n"}}, 25), []step{{wait: 10 * time.Second, data: evMore + ends}}), "text_delta"},
		{"but for comments before content", slices.Concat([]step{{data: head}}, slices.Repeat([]step{{wait: 10 * time.Second, data: ": alive\n\n"}}, 25), []step{{wait: 10 * time.Second, data: evText + evMore + ends}}), ""},
		{"but for events without data", slices.Concat([]step{{data: head + evText}}, slices.Repeat([]step{{wait: 10 * time.Second, data: "event: odd\n\n"}}, 25), []step{{wait: 10 * time.Second, data: evMore + ends}}), "text_delta"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := frontBubble(t, gateway.Settings{}, "a")
			b.up.queue(streaming(c.steps...))
			w := b.invoke(t.Context(), frontBody)
			es, exception, message := unpacked(t, w.text())
			if exception != "" || !strings.HasSuffix(names(es), "delta stop") || !strings.HasPrefix(names(es), "start") {
				t.Fatalf("%s: events %s, exception %q %q", c.why, names(es), exception, message)
			}
			if gap := w.longestGap(); gap > 25*time.Second {
				t.Errorf("%s: the client heard nothing for %v", c.why, gap)
			}
			wantNeutral(t, c.why, es, c.empty)
			if rec := b.record(); rec.Bytes != int64(len(w.text())) {
				t.Errorf("%s: recorded %d of %d bytes", c.why, rec.Bytes, len(w.text()))
			}
		})
	}
}

// wantNeutral checks that events keep to the grammar of the SDKs' helpers, and of which kind those without content are.
func wantNeutral(t *testing.T, why string, es []event, empty string) {
	t.Helper()
	started, open, n, takes := false, -1, 0, ""
	for _, e := range es {
		var d struct {
			Index int
			Block struct{ Type string } `json:"content_block"`
			Delta struct {
				Type, Text, Thinking string
				PartialJSON          *string `json:"partial_json"`
			}
		}
		if err := json.Unmarshal([]byte(e.data), &d); err != nil {
			t.Fatal(err)
		}
		switch e.name {
		case "message_start":
			started = true
		case "content_block_start":
			open = d.Index
			takes = map[string]string{"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}[d.Block.Type]
		case "content_block_stop":
			open = -1
		case "content_block_delta":
			if !started || open != d.Index || d.Delta.Type != takes {
				t.Errorf("%s: %s while block %d is open, which takes %q", why, e.data, open, takes)
			}
			if d.Delta.Text+d.Delta.Thinking == "" && (d.Delta.PartialJSON == nil || *d.Delta.PartialJSON == "") {
				if d.Delta.Type == empty {
					n++
				}
			}
		case "message_delta", "message_stop":
		default:
			t.Errorf("%s: the client's SDK reads %s", why, e.data)
		}
	}
	if empty != "" && n < 10 {
		t.Errorf("%s: %d events without content", why, n)
	}
}

// TestBedrockFront_OddStreams: what relays make of a stream of events does not reach the client.
func TestBedrockFront_OddStreams(t *testing.T) {
	large := upstreamtest.Event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`+strings.Repeat("x", 13<<20)+`"}}`)
	for _, c := range []struct{ why, stream, text, exception string }{
		{"lines that end in CR LF", strings.ReplaceAll(whole, "\n", "\r\n"), "Hello there", ""},
		{"comments between events", ": hi\n\n" + strings.ReplaceAll(whole, "event: content", ": hi\n\nevent: content"), "Hello there", ""},
		{"an event in several lines", strings.Replace(whole, `{"type":"content_block_delta",`, "{\"type\":\"content_block_delta\",\ndata: ", 1), "Hello there", ""},
		{"an unknown event passes", strings.Replace(whole, evMore, upstreamtest.Event("new_thing", `{"type":"new_thing"}`)+evMore, 1), "Hello there", ""},
		{"what is no event of this API", strings.Replace(whole, evMore, "data: [DONE]\n\nevent: content_block_delta\ndata: 1\n\ndata:\n\n"+evMore, 1) + "data: [DONE]\n\n: bye\n\n", "Hello there", ""},
		{"an event larger than a frame", head + evText + large + ends, "Hello", "modelStreamErrorException"},
		{"an error without a message", head + evText + upstreamtest.Event("error", `{"type":"error","error":{}}`), "Hello", "internalServerException"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := frontBubble(t, gateway.Settings{RetryMax: 1}, "a")
			b.up.queue(streaming(step{data: c.stream}))
			es, exception, _ := unpacked(t, b.invoke(t.Context(), frontBody).text())
			if text(es) != c.text || exception != c.exception {
				t.Errorf("%s: text %q, exception %q", c.why, text(es), exception)
			}
		})
	}
}

// TestBedrockFront_LastEvent: the last event has what was used, once, and is the last frame.
func TestBedrockFront_LastEvent(t *testing.T) {
	const metrics = `"amazon-bedrock-invocationMetrics":{`
	const theirs = `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":7}}`
	for _, c := range []struct{ why, stop, want, has string }{
		{"as Anthropic sends it", `{"type":"message_stop"}`, "", `{"type":"message_stop",` + metrics + `"inputTokenCount":`},
		{"with spaces", ` {"type":"message_stop" } `, "", `{"type":"message_stop" ,` + metrics},
		{"an empty object", `{}`, `{}`, ""},
		{"with a space in it", `{ }`, `{ }`, ""},
		{"of a gateway that has them already", theirs, theirs, ""},
		{"under an escaped name", strings.Replace(theirs, "amazon", `\u0061mazon`, 1), strings.Replace(theirs, "amazon", `\u0061mazon`, 1), ""},
		{"a list", `[{"type":"message_stop"}]`, "", ""},
		{"nothing", ``, "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := frontBubble(t, gateway.Settings{RetryMax: 1}, "a")
			b.up.queue(streaming(step{data: strings.Replace(whole, evStop, upstreamtest.Event("message_stop", c.stop), 1) + "data: [DONE]\n\n"}, step{wait: 500 * time.Millisecond, data: ": bye\n\n"}))
			dropped := c.want+c.has == ""
			var es []string
			for rest := b.invoke(t.Context(), frontBody).body.Bytes(); len(rest) > 0; {
				var chunk struct{ Bytes []byte }
				m, more, ok, err := eventstream.Cut(rest)
				if err != nil || !ok || json.Unmarshal(m.Payload, &chunk) != nil {
					t.Fatalf("%s: frame %q: %v", c.why, rest, err)
				}
				if rest = more; !dropped || m.Name != "ping" { // of what is none of the answer a sign of life is left
					es = append(es, m.Name+" "+string(chunk.Bytes))
				}
			}
			last, ok := strings.CutPrefix(es[len(es)-1], "chunk ")
			if dropped {
				ok, last = ok && strings.Contains(last, `"message_delta"`), ""
			}
			if !ok || c.has == "" && last != c.want || !strings.HasPrefix(last, c.has) || last != "" && !json.Valid([]byte(last)) {
				t.Errorf("%s: the last frame is %q", c.why, es[len(es)-1])
			}
		})
	}
}

// TestBedrockFront_GivesUp: a client to which only keep-alives have gone out reads why there is no answer.
func TestBedrockFront_GivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := frontBubble(t, gateway.Settings{RetryMax: 1}, "a")
		b.up.queue(func(ctx context.Context) (*http.Response, error) {
			if err := pause(ctx, 100*time.Second); err != nil {
				return nil, err
			}
			return refusing(529, "overloaded_error", "Overloaded")(ctx)
		})
		w := b.invoke(t.Context(), frontBody)
		es, exception, message := unpacked(t, w.text())
		if len(es) > 0 || exception != "serviceUnavailableException" || message != "Overloaded" || w.status != 200 {
			t.Errorf("status %d, events %s, exception %q %q", w.status, names(es), exception, message)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a client that takes nothing more
		b := frontBubble(t, gateway.Settings{RetryMax: 1}, "a")
		b.up.queue(streaming(step{data: head + evText}, step{wait: time.Second, data: evMore + ends}))
		w := newClient(t)
		w.onWrite = func([]byte) error {
			if len(w.writes) > 0 {
				return errors.New("broken pipe")
			}
			return nil
		}
		b.serveFront(t.Context(), w, "global.anthropic.claude-x", frontBody)
		if rec := b.record(); rec.ErrorCode != "client_gone" || rec.Tokens.Output == 0 {
			t.Errorf("recorded %+v", rec)
		}
	})
}

// FuzzBedrockFrontBody: whatever a client sends, a node gets one JSON object with the model and nothing of the envelope in it.
func FuzzBedrockFrontBody(f *testing.F) {
	for _, s := range []string{frontBody, `{}`, `{"model":1}`, `[]`, `{"anthropic_beta":["a","b"],"stream":false , "x":[{}]}`, "\n{ \"messages\" : [ ] , \"anthropic_version\" : null }",
		`{"anthropic_version":"2026-10-21","messages":[],"anthropic_version":""}`, `{"messages":[],"mod\u0065l":"x"}`, `{"input":{"invokeModel":{"body":"e30="}}}`, `{"input":{"invokeModel":{"body":"eyJtZXNzYWdlcyI6W119"}}}`} {
		f.Add(s, "global.anthropic.claude-x", uint8(1))
	}
	f.Fuzz(func(t *testing.T, body, id string, op uint8) {
		b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
		name := [...]string{"invoke", "invoke-with-response-stream", "count-tokens"}[op%3]
		b.up.queue([...]play{answer("application/json", step{data: `{"type":"message","content":[],"usage":{}}`}), streaming(step{data: whole}), answer("application/json", step{data: `{"input_tokens":3}`})}[op%3])
		q := httptest.NewRequest(http.MethodPost, "/bedrock/model/x/"+name, strings.NewReader(body))
		if q.URL.Path, q.URL.RawPath = "/bedrock/model/"+id+"/"+name, frontPath(id, name); q.URL.EscapedPath() != q.URL.RawPath {
			return // no path
		}
		q.Header.Set("X-Api-Key", proxyKey)
		w := newClient(t)
		b.handler.ServeHTTP(w, q)
		for _, sent := range b.up.sent {
			var got map[string]json.RawMessage
			if err := json.Unmarshal([]byte(sent.body), &got); err != nil {
				t.Fatalf("%q became %q: %v", body, sent.body, err)
			}
			var model string
			_, version := got["anthropic_version"]
			_, flags := got["anthropic_beta"]
			if json.Unmarshal(got["model"], &model) != nil || model == "" || version || flags || (string(got["stream"]) == "true") != (op%3 == 1) {
				t.Errorf("%q became %q", body, sent.body)
			}
		}
		if w.status == 0 || w.status == 500 {
			t.Errorf("status %d: %s", w.status, w.text())
		}
	})
}

// FuzzBedrockFrontStream: whatever a node sends, the client gets whole frames, and an exception only as the last of them.
func FuzzBedrockFrontStream(f *testing.F) {
	for _, s := range []string{whole, head + evText + ends, strings.ReplaceAll(whole, "\n", "\r"), "event: ping\n\n", head + evText + upstreamtest.Event("error", `{"error":{"type":1,"message":"\ud800"}}`) + evMore,
		"data: {\"type\":\"message_stop\"}\n\n", evStart + upstreamtest.Event("content_block_start", `{"index":1e999,"content_block":{"type":"text"}}`) + upstreamtest.PingEvent + evText + "event: message_stop\ndata:\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		synctest.Test(t, func(t *testing.T) { // a node that fails is waited for
			b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
			b.up.queue(streaming(step{data: string(stream)}))
			w := newClient(t)
			b.serveFront(t.Context(), w, "global.anthropic.claude-x", frontBody)
			if w.sent.Get("Content-Type") != "application/vnd.amazon.eventstream" {
				return
			}
			ended := false
			for rest := w.body.Bytes(); len(rest) > 0; {
				m, more, ok, err := eventstream.Cut(rest)
				if err != nil || !ok || ended {
					t.Fatalf("frame %q: %v, %v, behind the end %v", rest, ok, err, ended)
				}
				if rest, ended = more, m.Kind != eventstream.Event; !json.Valid(m.Payload) {
					t.Errorf("payload %q", m.Payload)
				}
			}
		})
	})
}

// BenchmarkBedrockFront is BenchmarkRelay for clients of Bedrock, on a node of Anthropic's and one of InvokeModel.
func BenchmarkBedrockFront(b *testing.B) {
	const events = 200
	sse := head + strings.Repeat(evText, events) + ends
	bodies := []struct{ name, body string }{{"short", frontBody}, {"200 KiB", strings.Replace(frontBody, "hi", strings.Repeat("prose ", 200<<10/6), 1)}}
	for _, w := range []struct {
		name, media, stream string
		node                func(*core.Node)
	}{{"anthropic", "text/event-stream", sse, func(*core.Node) {}}, {"invoke", "application/vnd.amazon.eventstream", inChunks(sse), bedrockNode("invoke")}} {
		for _, q := range bodies {
			b.Run(w.name+"/"+q.name, func(b *testing.B) {
				up := &still{header: http.Header{"Content-Type": {w.media}}, body: []byte(w.stream), piece: len(w.stream) / (events + 6)}
				bb := newBubbleWith(b, gateway.Settings{}, up)
				bb.o.Upstreams = map[core.Kind]upstream.Client{core.KindAnthropic: up, core.KindBedrock: up}
				bb.count(nil)
				bb.node("1", "a", 1, w.node)
				b.ReportAllocs()
				before := cpuTime(b)
				defer func() { b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") }()
				for b.Loop() {
					s := &sink{header: http.Header{}}
					bb.serveFront(context.Background(), s, "global.anthropic.claude-opus-5-5", q.body)
					if s.n < events*100 {
						b.Fatalf("got %d bytes", s.n)
					}
				}
			})
		}
	}
}

// TestBedrockFront_Allocations: an event costs none.
func TestBedrockFront_Allocations(t *testing.T) {
	cost := func(events int) float64 {
		stream := []byte(head + strings.Repeat(evText, events) + ends)
		up := &still{header: http.Header{"Content-Type": {"text/event-stream"}}, body: stream, piece: len(evText)}
		b := newBubbleWith(t, gateway.Settings{}, up, "a")
		return testing.AllocsPerRun(20, func() {
			b.serveFront(context.Background(), &sink{header: http.Header{}}, "global.anthropic.claude-x", frontBody)
		})
	}
	if few, many := cost(10), cost(1010); many-few > 100 { // a tenth for each event: what the pools lose to the collector
		t.Errorf("%v allocations for 10 events, %v for 1010", few, many)
	}
}
