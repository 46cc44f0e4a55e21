package gateway_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

// contentAt is where in whole the first content event is complete: a cut before it can be hidden from the client.
var contentAt = len(head + evText)

func TestD12_CutAtEveryByteIsNeverACleanEnd(t *testing.T) {
	for _, end := range []struct {
		reason string
		err    error
	}{{"clean end of the body", io.EOF}, {"connection closed", io.ErrUnexpectedEOF}, {"reset", errReset}} {
		t.Run(end.reason, func(t *testing.T) {
			for at := range len(whole) {
				synctest.Test(t, func(t *testing.T) {
					b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
					b.up.queue(streaming(step{data: whole[:at], err: end.err}))
					w := b.post(t.Context(), streamBody)
					got := w.reply()
					if at < contentAt {
						wantError(t, got, 502, "api_error", "no usable answer")
						if rec := b.record(); rec.Success() {
							t.Errorf("cut at %d: recorded as a success", at)
						}
						return
					}
					es := parse(t, got.body)
					typ, message := lastError(t, es)
					if typ != "api_error" || !strings.Contains(message, "before the message was complete") || strings.Contains(got.body, "event: message_stop") {
						t.Fatalf("cut at %d: error %q %q, events %s", at, typ, message, names(es))
					}
					if kept := got.body[:strings.LastIndex(got.body, "event: error")]; !strings.HasPrefix(whole, kept) {
						t.Errorf("cut at %d: events changed: %q", at, kept)
					}
					rec := b.record()
					if rec.ErrorCode != "stream_cut" || rec.Status != 200 || rec.Success() || rec.Tokens.Input != 11 {
						t.Errorf("cut at %d: recorded %+v", at, rec)
					}
					if wantFinal := at >= len(whole)-len(evStop); rec.Estimated == wantFinal {
						t.Errorf("cut at %d: estimated %v though the final usage was seen: %v", at, rec.Estimated, wantFinal)
					}
					if b.state("1").FailStreak != 1 {
						t.Errorf("cut at %d: counted %d failures", at, b.state("1").FailStreak)
					}
				})
			}
		})
	}
}

func TestD12_CutBeforeContentFailsOverUnseen(t *testing.T) {
	for at := range len(whole) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a", "b")
			b.up.on("a", streaming(step{data: ": x\n\n" + whole[:at], err: io.ErrUnexpectedEOF}))
			b.up.on("b", streaming(step{data: whole}))
			got := b.post(t.Context(), streamBody).reply()
			if at < contentAt {
				if got.body != whole || b.up.order() != "a b" {
					t.Errorf("cut at %d: asked %s, got %q", at, b.up.order(), got.body)
				}
				return
			}
			if typ, _ := lastError(t, parse(t, got.body)); typ != "api_error" || b.up.order() != "a" {
				t.Errorf("cut at %d: asked %s, error %q: nothing may be replayed after content (D17)", at, b.up.order(), typ)
			}
		})
	}
}

func TestD9_D10_StreamsPassByteForByteHoweverTheyAreCut(t *testing.T) {
	unknown := evStart + upstreamtest.UnknownEvent() + evBlock + upstreamtest.PingEvent + ": comment\n\n" + evEmpty + upstreamtest.UnknownDelta(0) + "id: 7\nretry: 10\n" + evText +
		upstreamtest.Event("", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"unnamed"}}`) + upstreamtest.UnknownEvent() + upstreamtest.PingEvent + ends
	streams := map[string]string{"plain": whole, "unknown events": unknown, "CRLF": strings.ReplaceAll(unknown, "\n", "\r\n"), "CR": strings.ReplaceAll(whole, "\n", "\r"),
		"after the end": whole + upstreamtest.PingEvent, "no space after the colon": strings.ReplaceAll(whole, ": ", ":"), "byte order mark": "\ufeff" + whole,
		"data before event": strings.Replace(whole, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n", "data: {\"type\":\"message_stop\"}\nevent: message_stop\n", 1),
		"no event names":    strings.Join(dataLines(whole), "")}
	for reason, stream := range streams {
		for _, size := range []int{1, 2, 3, 7, 64, 1 << 20} {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a")
				var steps []step
				for s := stream; s != ""; {
					n := min(size, len(s))
					steps = append(steps, step{data: s[:n]})
					s = s[n:]
				}
				b.up.queue(streaming(steps...))
				w := b.post(t.Context(), streamBody)
				if w.text() != stream {
					t.Errorf("%s in pieces of %d: got\n%q\nwant\n%q", reason, size, w.text(), stream)
				}
				for _, wr := range w.writes {
					if !strings.HasSuffix(wr.data, "\n\n") && !strings.HasSuffix(wr.data, "\n\r\n") && !strings.HasSuffix(wr.data, "\r\r") {
						t.Errorf("%s in pieces of %d: torn write %q", reason, size, wr.data)
					}
				}
				if rec := b.record(); !rec.Success() || rec.Tokens.Output != 42 || rec.Tokens.Input != 11 || rec.Tokens.CacheRead != 5 || rec.Tokens.CacheWrite5m != 3 || rec.Bytes != int64(len(stream)) {
					t.Errorf("%s in pieces of %d: recorded %+v", reason, size, rec)
				}
			})
		}
	}
}

// dataLines are the events of a stream without their event lines.
func dataLines(stream string) (out []string) {
	for ev := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		_, data, _ := strings.Cut(ev, "\n")
		out = append(out, data+"\n\n")
	}
	return out
}

func TestD9_EventsAreFlushedAsTheyCome(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.Events(3).Silence(upstreamtest.AfterDeltas(2)))
	resp, rd := r.open(deadline(t), streamBody, "Accept-Encoding", "gzip")
	readUntil(t, rd, "tok1") // though the upstream says no more
	if h := resp.Header; h.Get("Content-Encoding") != "" || !strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") || h.Get("Cache-Control") == "" || h.Get("X-Accel-Buffering") != "no" {
		t.Errorf("got headers %v", h)
	}
}

func TestD29_EventAndDataLinesAndErrorsByName(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.Events(3).ErrorAt(upstreamtest.AfterDeltas(1), "overloaded_error", "Overloaded"))
	got := r.post(streamBody)
	es := parse(t, got.body) // insists on both lines
	if typ, message := lastError(t, es); typ != "overloaded_error" || message != "Overloaded" {
		t.Errorf("got %s", got.body)
	}
	for _, e := range es {
		if !strings.Contains(e.data, fmt.Sprintf("%q", e.name)) {
			t.Errorf("event %s has data %s", e.name, e.data)
		}
	}
	up.Default(upstreamtest.Overloaded())
	if got := r.post(plainBody); got.status != 529 || !strings.Contains(got.body, `"overloaded_error"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if rec := r.records()[0]; rec.ErrorCode != "upstream_overloaded_error" || rec.Status != 200 || !rec.Estimated {
		t.Errorf("recorded %+v", rec)
	}
}

func TestStream_LargeAndOddEventsPass(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	for _, c := range []struct {
		reason string
		b      upstreamtest.Behaviour
		length int
	}{
		{"one event of 5 MiB", upstreamtest.HugeEvent(5), 5 << 20},
		{"torn into small writes", upstreamtest.EventsSized(40, 300).Split(7), 40 * 300},
		{"CRLF in small writes", upstreamtest.EventsSized(40, 300).CRLF().Split(11), 40 * 300},
		{"many events in one write", upstreamtest.EventsSized(2000, 20).Batch(-1), 2000 * 20},
		{"pings and unknown events between", upstreamtest.EventsSized(100, 50).Ping(3).Inject(upstreamtest.AfterDeltas(50), upstreamtest.UnknownEvent()), 5000},
	} {
		up.Queue(c.b)
		got := r.post(streamBody)
		if n := len(text(parse(t, got.body))); n != c.length || !strings.Contains(got.body, "event: message_stop") {
			t.Errorf("%s: got %d bytes of text, want %d", c.reason, n, c.length)
		}
	}
}

func TestStream_EventTooLargeEndsWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		big := strings.Repeat("x", 33<<20)
		b.up.queue(streaming(step{data: head + evText + "event: content_block_delta\ndata: " + big}))
		es := parse(t, b.post(t.Context(), streamBody).text())
		if typ, message := lastError(t, es); typ != "api_error" || !strings.Contains(message, "32 MiB") {
			t.Errorf("got %s %q", typ, message)
		}
	})
}
