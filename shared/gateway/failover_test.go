package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

// bad are the ways a node can fail before content; each must make another node take over unseen.
var bad = []struct {
	reason string
	play   play
	counts int // failures
}{
	{"refused", broken(syscall.ECONNREFUSED), 1},
	{"reset before the answer", broken(errReset), 1},
	{"closed before the answer", broken(io.EOF), 1},
	{"500", refusing(500, "api_error", "Internal"), 1},
	{"502", refusing(502, "api_error", "Bad gateway"), 1},
	{"529", refusing(529, "overloaded_error", "Overloaded"), 1},
	{"408", refusing(408, "timeout_error", "Timeout"), 1},
	{"401 of the node's credential", refusing(401, "authentication_error", "invalid x-api-key"), 1},
	{"403 of the node's credential", refusing(403, "permission_error", "no"), 1},
	{"402 of the node's account", refusing(402, "billing_error", "credit"), 1},
	{"429", refusing(429, "rate_limit_error", "slow down", "Retry-After", "7"), 0},
	{"redirect", refusing(302, "x", "y", "Location", "http://127.0.0.1/"), 1},
	{"304", refusing(304, "x", "y"), 1},
	{"page in place of a stream", answer("text/html", step{data: "<html>"}), 1},
	{"JSON in place of a stream", answer("application/json", step{data: "{}"}), 1},
	{"empty stream", streaming(), 1},
	{"comments only", streaming(step{data: ": hi\n\n: hi\n\n"}), 1},
	{"no SSE at all", streaming(step{data: "\x00\x01garbage\n\n{\"neither\":\n\n"}), 1},
	{"content without message_start", streaming(step{data: evBlock + evText + evStop}), 1},
	{"events that are no JSON", streaming(step{data: "event: message_start\ndata: {\n\nevent: content_block_delta\ndata: {\n\n"}), 1},
	{"endless nonsense", streaming(step{data: strings.Repeat(upstreamtest.Event("x", strings.Repeat("y", 1000)), 1100)}, step{wait: forever, data: "x"}), 1},
	{"error as first event", streaming(step{data: upstreamtest.ErrorEvent("overloaded_error", "Overloaded")}), 1},
	{"error after message_start", streaming(step{data: evStart + upstreamtest.ErrorEvent("api_error", "Internal")}), 1},
	{"error after a block's start", streaming(step{data: head + upstreamtest.ErrorEvent("api_error", "Internal")}), 1},
	{"error after empty deltas", streaming(step{data: head + evEmpty + evEmpty + upstreamtest.ErrorEvent("overloaded_error", "Overloaded")}), 1},
	{"rate limit as first event", streaming(step{data: upstreamtest.ErrorEvent("rate_limit_error", "slow")}), 0},
	{"broken gzip", func(ctx context.Context) (*http.Response, error) {
		resp := response(ctx, 200, "text/event-stream", []step{{data: whole}})
		resp.Header.Set("Content-Encoding", "gzip")
		return resp, nil
	}, 1},
	{"unknown compression", func(ctx context.Context) (*http.Response, error) {
		resp := response(ctx, 200, "text/event-stream", []step{{data: whole}})
		resp.Header.Set("Content-Encoding", "br")
		return resp, nil
	}, 1},
}

func TestFailover_BeforeContentIsUnseen(t *testing.T) {
	for _, c := range bad {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a", "b")
				b.up.on("a", c.play)
				b.up.on("b", streaming(step{data: whole}))
				w := b.post(t.Context(), streamBody)
				if w.text() != whole || w.status != 200 || w.sent.Get("X-Proxy-Node") != "b" {
					t.Errorf("got %d from %s: %s", w.status, w.sent.Get("X-Proxy-Node"), tail(w.text()))
				}
				if b.up.order() != "a b" {
					t.Errorf("asked %s", b.up.order())
				}
				for _, s := range b.up.sent {
					if s.body != streamBody {
						t.Errorf("%s got body %q", s.node, s.body)
					}
				}
				if got := b.state("1").FailStreak; got != c.counts {
					t.Errorf("counted %d failures, want %d", got, c.counts)
				}
				rec := b.record()
				if !rec.Success() || rec.Attempts != 2 || rec.NodeName != "b" || rec.Tokens.Output != 42 || rec.Estimated {
					t.Errorf("recorded %+v", rec)
				}
			})
		})
	}
}

func TestFailover_LateWithPingsOnTheWay(t *testing.T) {
	for _, c := range bad {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a", "b")
				late := func(ctx context.Context) (*http.Response, error) {
					if err := pause(ctx, 40*time.Second); err != nil {
						return nil, err
					}
					return c.play(ctx)
				}
				b.up.on("a", late)
				b.up.on("b", streaming(step{data: whole}))
				w := b.post(t.Context(), streamBody)
				if got := strings.ReplaceAll(w.text(), upstreamtest.PingEvent, ""); got != strings.ReplaceAll(whole, upstreamtest.PingEvent, "") {
					t.Errorf("got %s", w.text())
				}
				if w.writes[0].data != upstreamtest.PingEvent || w.writes[1].data != upstreamtest.PingEvent {
					t.Errorf("no pings: %q", w.writes[0].data)
				}
			})
		})
	}
}

func TestFailover_FinalFailureAfterPingsIsAnErrorEvent(t *testing.T) {
	for _, c := range []struct {
		reason       string
		play         play
		typ, message string
	}{
		{"error answer", refusing(500, "api_error", "Internal of upstream"), "api_error", "Internal of upstream"},
		{"client's fault", refusing(400, "invalid_request_error", "prompt is too long: 2 tokens > 1 maximum"), "invalid_request_error", "prompt is too long: 2 tokens > 1 maximum"},
		{"error event", streaming(step{data: evStart + upstreamtest.ErrorEvent("overloaded_error", "Overloaded of upstream")}), "overloaded_error", "Overloaded of upstream"},
		{"no connection", broken(syscall.ECONNREFUSED), "api_error", "connection refused"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
				b.up.queue(func(ctx context.Context) (*http.Response, error) {
					_ = pause(ctx, 20*time.Second)
					return c.play(ctx)
				})
				w := b.post(t.Context(), streamBody)
				es := parse(t, w.text())
				if typ, message := lastError(t, es); typ != c.typ || !strings.Contains(message, c.message) || w.status != 200 {
					t.Errorf("got %s", w.text())
				}
				if es[0].name != "ping" || len(es) != 2 {
					t.Errorf("got %s", w.text())
				}
				if rec := b.record(); rec.Success() || rec.Status != 200 || rec.ErrorCode == "" {
					t.Errorf("recorded %+v", rec)
				}
			})
		})
	}
}

func TestD17_NothingIsReplayedAfterContent(t *testing.T) {
	for _, c := range []struct {
		reason string
		after  step
		typ    string
	}{
		{"reset", step{err: errReset}, "api_error"},
		{"error event", step{data: upstreamtest.ErrorEvent("overloaded_error", "Overloaded")}, "overloaded_error"},
		{"no bytes more", step{err: io.EOF}, "api_error"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a", "b")
			b.up.on("a", streaming(step{data: head + evText}, c.after))
			b.up.on("b", streaming(step{data: whole}))
			w := b.post(t.Context(), streamBody)
			if typ, _ := lastError(t, parse(t, w.text())); typ != c.typ || b.up.order() != "a" {
				t.Errorf("%s: asked %s, got %s", c.reason, b.up.order(), tail(w.text()))
			}
			if b.state("1").FailStreak != 1 {
				t.Errorf("%s: not counted", c.reason)
			}
		})
	}
}

func TestD17_TriesAreBounded(t *testing.T) {
	for _, c := range []struct {
		reason   string
		nodes    int
		retryMax int
		want     int
		play     play
	}{
		{"one node, PROXY_RETRY_MAX tries", 1, 3, 3, refusing(500, "api_error", "x")},
		{"one node, one try", 1, 1, 1, refusing(500, "api_error", "x")},
		{"each node once, then again", 2, 3, 6, refusing(529, "overloaded_error", "x")},
		{"never more than 8", 5, 3, 8, broken(errReset)},
		{"not again after a bad credential", 2, 3, 2, refusing(401, "authentication_error", "x")},
		{"not again after a rate limit", 2, 3, 2, refusing(429, "rate_limit_error", "x", "Retry-After", "5")},
		{"12 nodes", 12, 3, 8, refusing(500, "api_error", "x")},
	} {
		for _, body := range []string{plainBody, streamBody} {
			synctest.Test(t, func(t *testing.T) {
				var names []string
				for i := range c.nodes {
					names = append(names, "n"+strconv.Itoa(i))
				}
				b := newBubble(t, gateway.Settings{RetryMax: c.retryMax, FailThreshold: 100}, names...)
				b.up.queue(c.play)
				w := b.post(t.Context(), body)
				if got := len(b.up.sent); got != c.want {
					t.Errorf("%s: got %d tries, want %d", c.reason, got, c.want)
				}
				if w.status < 400 {
					t.Errorf("%s: got status %d", c.reason, w.status)
				}
				if rec := b.record(); rec.Attempts != c.want || rec.Status != w.status {
					t.Errorf("%s: recorded %+v", c.reason, rec)
				}
			})
		}
	}
}

func TestD53_ClientsFaultNeitherRotatesNorCounts(t *testing.T) {
	for _, status := range []int{400, 404, 405, 409, 413, 422} {
		for _, body := range []string{plainBody, streamBody} {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{FailThreshold: 1}, "a", "b")
				b.up.queue(refusing(status, "invalid_request_error", "bad"))
				w := b.post(t.Context(), body)
				if w.status != status || b.up.order() != "a" || b.state("1").Failed || b.state("1").FailStreak != 0 {
					t.Errorf("%d: got %d, asked %s, state %+v", status, w.status, b.up.order(), b.state("1"))
				}
				if !strings.Contains(w.text(), `"request_id":"req_up"`) {
					t.Errorf("%d: got %s", status, w.text())
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{FailThreshold: 1}, "a", "b")
		b.up.queue(streaming(step{data: evStart + upstreamtest.ErrorEvent("invalid_request_error", "bad")}))
		w := b.post(t.Context(), streamBody)
		if wantError(t, w.reply(), 400, "invalid_request_error", "bad"); b.up.order() != "a" || b.state("1").Failed {
			t.Errorf("asked %s", b.up.order())
		}
	})
}

func TestBreaker_OneRequestCountsOnceAndThresholdFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{TrialAfter: 30 * time.Second}, "a")
		b.up.queue(refusing(500, "api_error", "x"))
		for i := 1; i <= 3; i++ {
			b.post(t.Context(), strings.Replace(plainBody, "hi", "hi "+strconv.Itoa(i), 1)) // three tries each
			if s := b.state("1"); s.FailStreak != i || s.Failed != (i == 3) {
				t.Fatalf("after request %d: %+v", i, s)
			}
		}
		before := len(b.up.sent)
		w := b.post(t.Context(), plainBody)
		wantError(t, w.reply(), 503, "api_error", "All nodes of this account are down")
		if len(b.up.sent) != before || w.sent.Get("Retry-After") == "" || w.sent.Get("X-Proxy-Node") != "" {
			t.Errorf("a failed node was asked, or %v", w.sent)
		}
		if wait, _ := strconv.Atoi(w.sent.Get("Retry-After")); wait < 1 || wait > 30 {
			t.Errorf("got retry-after %d", wait)
		}
	})
}

func TestBreaker_OneTrialAtATimeClosesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{TrialAfter: 30 * time.Second, FailThreshold: 1, RetryMax: 1}, "a")
		b.up.queue(refusing(500, "api_error", "x"),
			refusing(500, "api_error", "failed trial"),
			streaming(step{wait: 10 * time.Second}, step{data: whole}),
			streaming(step{data: whole}))
		other := func(i int) string { return strings.Replace(streamBody, "hi", "hi "+strconv.Itoa(i), 1) }
		b.post(t.Context(), other(1))
		_ = pause(t.Context(), 2*time.Second)
		b.post(t.Context(), other(2)) // the trial, early as there is no other node, fails, and the wait begins anew
		_ = pause(t.Context(), 900*time.Millisecond)
		wantError(t, b.post(t.Context(), streamBody).reply(), 503, "api_error", "down")
		_ = pause(t.Context(), 200*time.Millisecond)
		done := make(chan *client)
		go func() { done <- b.post(t.Context(), streamBody) }()
		synctest.Wait()
		for range 3 { // while the trial is under way nobody else is sent there
			wantError(t, b.post(t.Context(), streamBody).reply(), 503, "api_error", "down")
		}
		if w := <-done; w.text() != whole || b.state("1").Failed || b.state("1").FailStreak != 0 {
			t.Errorf("got %s, state %+v", w.text(), b.state("1"))
		}
		if len(b.up.sent) != 3 {
			t.Errorf("asked %d times", len(b.up.sent))
		}
		wantStream(t, b.post(t.Context(), streamBody).reply(), "Hello there")
	})
}

func TestBreaker_TrialIsGivenBackHoweverItEnds(t *testing.T) {
	gone := errors.New("panic")
	for _, c := range []struct {
		reason string
		trial  func(b *bubble)
	}{
		{"the client leaves", func(b *bubble) {
			ctx, cancel := context.WithCancel(context.Background())
			go func() { _ = pause(b.t.Context(), time.Second); cancel() }()
			b.post(ctx, streamBody)
		}},
		{"the handler panics", func(b *bubble) {
			w := newClient(b.t)
			w.onWrite = func([]byte) error { panic(gone) }
			defer func() { _ = recover() }()
			b.serve(context.Background(), w, streamBody)
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{TrialAfter: 30 * time.Second, FailThreshold: 1, RetryMax: 1}, "a")
			b.up.queue(refusing(500, "api_error", "x"), streaming(step{wait: 5 * time.Second}, step{data: whole}))
			b.post(t.Context(), streamBody)
			_ = pause(t.Context(), 31*time.Second)
			c.trial(b)
			if w := b.post(t.Context(), streamBody); w.text() != whole || b.state("1").Failed {
				t.Errorf("%s: the node got no other trial: %s", c.reason, w.text())
			}
		})
	}
}

func TestBreaker_StateSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a", "b")
		_, err := b.tables.States.Create(t.Context(), core.NodeState{Node: "1", Account: core.DefaultAccount, Failed: true, FailedAt: time.Now(), FailStreak: 3})
		if err != nil {
			t.Fatal(err)
		}
		b.up.queue(streaming(step{data: whole}))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		b.post(gone, streamBody) // a client that left must not make the gateway forget what is saved
		b.post(t.Context(), streamBody)
		if b.up.order() != "b" {
			t.Errorf("asked %s", b.up.order())
		}
	})
}

func TestBackoff_ComesBetweenTriesOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(broken(errReset), broken(errReset), streaming(step{data: whole}))
		wantStream(t, b.post(t.Context(), streamBody).reply(), "Hello there")
		first, second := b.up.at[1].Sub(b.up.at[0]), b.up.at[2].Sub(b.up.at[1])
		if first < 75*time.Millisecond || first > 225*time.Millisecond || second < 150*time.Millisecond || second > 450*time.Millisecond {
			t.Errorf("waited %v, then %v", first, second)
		}
		if s := b.state("1"); s.FailStreak != 0 {
			t.Errorf("in the end it answered: %+v", s)
		}
	})
}
