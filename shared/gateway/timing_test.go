package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

func TestD11_SilentUpstreamNeverMeansSilentClient(t *testing.T) {
	const silence = 290 * time.Second
	cases := []struct {
		reason string
		steps  []step
	}{
		{"before the headers", []step{{wait: silence}, {data: whole}}},
		{"before message_start", []step{{data: ": hi\n\n"}, {wait: silence, data: whole}}},
		{"between message_start and content", []step{{data: head}, {wait: silence, data: evText + evMore + ends}}},
		{"within the content", []step{{data: head + evText}, {wait: silence, data: evMore + ends}}},
		{"before the end", []step{{data: head + evText + evMore + evClose}, {wait: silence, data: evDelta + evStop}}},
		{"in half an event", []step{{data: head + evText + evMore[:30]}, {wait: silence, data: evMore[30:] + ends}}},
		{"twice", []step{{wait: silence}, {data: head + evText}, {wait: silence, data: evMore + ends}}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a")
				b.up.queue(streaming(c.steps...))
				w := b.post(t.Context(), streamBody)
				wantStream(t, w.reply(), "Hello there")
				if gap := w.longestGap(); gap > 25*time.Second {
					t.Errorf("the client heard nothing for %v", gap)
				}
				if n := strings.Count(w.text(), "event: message_start"); n != 1 {
					t.Errorf("got %d message_start", n)
				}
				if rec := b.record(); rec.Status != 200 || rec.ErrorCode != "" || rec.Tokens.Output != 42 || rec.Estimated {
					t.Errorf("recorded %+v", rec)
				}
				if b.state("1").FailStreak != 0 {
					t.Error("silence within the limit counted as a failure")
				}
			})
		})
	}
}

func TestD11_PingsAreEventsThatClientsSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a b\u00e9")
		b.up.queue(streaming(step{wait: 40 * time.Second}, step{data: whole}))
		w := b.post(t.Context(), streamBody)
		if got := w.writes[0]; got.data != upstreamtest.PingEvent || got.at != 15*time.Second {
			t.Errorf("got %q at %v, want a ping after 15 s", got.data, got.at)
		}
		h := w.reply().header
		if h.Get("Content-Type") != "text/event-stream; charset=utf-8" || h.Get("Cache-Control") != "no-cache" || h.Get("X-Proxy-Node") != "a%20b%C3%A9" || h.Get("Request-Id") == "" {
			t.Errorf("got headers %v", h)
		}
	})
}

func TestHold_QuickContentComesWithTheUpstreamsHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(streaming(step{data: head}, step{wait: 14 * time.Second, data: evText + evMore + ends}))
		w := b.post(t.Context(), streamBody)
		if len(w.writes) != 1 || w.writes[0].at != 14*time.Second || w.text() != whole {
			t.Errorf("got %d writes, the first at %v", len(w.writes), w.writes[0].at)
		}
		if w.sent.Get("X-Upstream-Request-Id") != "req_up" {
			t.Errorf("got headers %v", w.sent)
		}
		if rec := b.record(); rec.FirstByteMS != 14000 {
			t.Errorf("got first byte after %d ms", rec.FirstByteMS)
		}
	})
}

func TestSilence_EndsAnAttemptAndAnotherNodeTakesOver(t *testing.T) {
	for _, c := range []struct {
		reason string
		first  play
	}{
		{"before the headers", streaming(step{wait: forever})},
		{"after message_start", streaming(step{data: head}, step{wait: forever, data: "x"})},
		{"after an empty delta", streaming(step{data: head + evEmpty}, step{wait: forever, data: "x"})},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a", "b")
				b.up.on("a", c.first)
				b.up.on("b", streaming(step{data: whole}))
				w := b.post(t.Context(), streamBody)
				wantStream(t, w.reply(), "Hello there")
				if n := strings.Count(w.text(), "event: message_start"); n != 1 {
					t.Errorf("got %d message_start", n)
				}
				if took := time.Since(w.born); took != 300*time.Second {
					t.Errorf("it took %v", took)
				}
				if gap := w.longestGap(); gap > 25*time.Second {
					t.Errorf("the client heard nothing for %v", gap)
				}
				if s := b.state("1"); s.FailStreak != 1 {
					t.Errorf("silence counted %d times, want 1", s.FailStreak)
				}
				if rec := b.record(); rec.NodeName != "b" || rec.Attempts != 2 || rec.Tokens.Output != 42 {
					t.Errorf("recorded %+v", rec)
				}
			})
		})
	}
}

func TestSilence_WithinContentEndsWithAnErrorEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a", "b")
		b.up.queue(streaming(step{data: head + evText}, step{wait: forever, data: "x"}))
		w := b.post(t.Context(), streamBody)
		typ, _ := lastError(t, parse(t, w.text()))
		if typ != "timeout_error" || b.up.order() != "a" {
			t.Errorf("got error %q after asking %s", typ, b.up.order())
		}
		rec := b.record()
		if rec.Status != 200 || rec.ErrorCode != "timeout" || !rec.Estimated || rec.Tokens.Input != 11 || rec.Success() {
			t.Errorf("recorded %+v", rec)
		}
		if b.state("1").FailStreak != 1 {
			t.Error("not counted")
		}
	})
}

func TestSilence_EverywhereBecomesAnErrorEventAfterPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a", "b")
		b.up.queue(streaming(step{wait: forever}))
		w := b.post(t.Context(), streamBody)
		es := parse(t, w.text())
		typ, message := lastError(t, es)
		if typ != "timeout_error" || names(es) != "error" || message == "" {
			t.Errorf("got %s", w.text())
		}
		if b.up.order() != "a b" {
			t.Errorf("asked %s: a node that was silent for minutes is not asked twice", b.up.order())
		}
	})
}

func TestSilence_WholeAnswersWaitLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(answer("application/json", step{wait: 29 * time.Minute}, step{data: `{"type":"message","model":"claude-x","usage":{"input_tokens":1,"output_tokens":2}}`}),
			answer("application/json", step{wait: forever}))
		if w := b.post(t.Context(), plainBody); w.status != 200 {
			t.Errorf("got %d %s", w.status, w.text())
		}
		w := b.post(t.Context(), plainBody)
		wantError(t, w.reply(), 504, "timeout_error", "did not answer in time")
		if took := time.Since(w.born); took != 30*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

func TestEnd_UpstreamThatKeepsTheConnectionOpenIsLeft(t *testing.T) {
	cases := []struct {
		reason string
		after  []step
	}{
		{"silent", []step{{wait: forever, data: "x"}}},
		{"pings for ever", func() (out []step) {
			for range 10000 {
				out = append(out, step{wait: 500 * time.Millisecond, data: upstreamtest.PingEvent})
			}
			return out
		}()},
		{"reset", []step{{err: errReset}}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a")
				b.up.queue(streaming(append([]step{{data: whole}}, c.after...)...))
				w := b.post(t.Context(), streamBody)
				if took := time.Since(w.born); took > 2*time.Second {
					t.Errorf("the client waited %v for the end after message_stop", took)
				}
				es := parse(t, w.text())
				if typ, _ := lastError(t, es); typ != "" || !strings.HasSuffix(names(es), "delta stop") {
					t.Errorf("got %s, error %q", names(es), typ)
				}
				if rec := b.record(); !rec.Success() || rec.Estimated || b.state("1").FailStreak != 0 {
					t.Errorf("recorded %+v", rec)
				}
			})
		})
	}
}

func TestLease_OfALongStreamIsRenewedAndFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.key("2", "limited-key-of-this-test", core.Limits{Concurrency: 1})
		var slow []step
		for range 60 {
			slow = append(slow, step{wait: 10 * time.Second, data: evMore})
		}
		b.up.queue(streaming(append(append([]step{{data: head + evText}}, slow...), step{data: ends})...), streaming(step{data: whole}))
		done := make(chan *client)
		go func() { done <- b.post(t.Context(), streamBody, "X-Api-Key", "limited-key-of-this-test") }()
		for range 9 { // every minute of the nine that the stream lasts at least
			_ = pause(t.Context(), time.Minute)
			w := b.post(t.Context(), plainBody, "X-Api-Key", "limited-key-of-this-test")
			wantError(t, w.reply(), 429, "rate_limit_error", "1 concurrent requests")
		}
		<-done
		if w := b.post(t.Context(), streamBody, "X-Api-Key", "limited-key-of-this-test"); w.status != 200 {
			t.Errorf("not freed: %s", w.text())
		}
	})
}

func TestSlowClient_IsGivenUpAndTheUpstreamLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		var left context.Context
		b.up.queue(func(ctx context.Context) (*http.Response, error) {
			left = ctx
			return streaming(step{data: head + evText}, step{wait: time.Second, data: evMore}, step{wait: forever, data: "x"})(ctx)
		})
		w := newClient(t)
		w.onWrite = func(p []byte) error {
			if strings.Contains(string(p), " there") {
				w.stuck.Store(true)
			}
			return nil
		}
		b.serve(t.Context(), w, streamBody)
		if took := time.Since(w.born); took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("a client that reads no more was given up after %v", took)
		}
		if left.Err() == nil {
			t.Error("the upstream was not left")
		}
		if rec := b.record(); rec.ErrorCode != "client_gone" || !rec.Estimated || rec.Tokens.Input != 11 {
			t.Errorf("recorded %+v", rec)
		}
		if b.state("1").FailStreak != 0 {
			t.Error("counted against the node")
		}
	})
}

func TestSlowClient_StuckPingDoesNotHangTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(streaming(step{data: head + evText}, step{wait: 100 * time.Second, data: evMore}, step{wait: forever, data: "x"}))
		w := newClient(t)
		w.onWrite = func(p []byte) error {
			if string(p) == upstreamtest.PingEvent {
				w.stuck.Store(true)
			}
			return nil
		}
		b.serve(t.Context(), w, streamBody)
		if took := time.Since(w.born); took > 101*time.Second {
			t.Errorf("it took %v", took)
		}
		if rec := b.record(); rec.ErrorCode != "client_gone" {
			t.Errorf("recorded %+v", rec)
		}
	})
}
