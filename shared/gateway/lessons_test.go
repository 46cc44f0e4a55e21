package gateway_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
)

// What the older gateway got wrong in its retries, failover and breaker, or learnt the hard way. Its health checks' lessons
// are tested in package probe.

// Both attempts were written to the client: the bad status, and the two bodies joined.
func TestLesson_TwoAnswersInOne(t *testing.T) {
	for _, body := range []string{plainBody, streamBody} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a", "b")
			b.up.on("a", refusing(502, "api_error", "from a", "Retry-After", "7", "X-Of-A", "1"))
			b.up.on("b", good(body))
			w := b.post(t.Context(), body)
			if w.status != 200 || w.sent.Get("X-Proxy-Node") != "b" || strings.Contains(w.text(), "from a") || w.sent.Get("X-Of-A") != "" || w.sent.Get("Retry-After") != "" {
				t.Errorf("got %d by %q with %v: %s", w.status, w.sent.Get("X-Proxy-Node"), w.sent, w.text())
			}
		})
	}
}

// good answers a request as it asks.
func good(body string) play {
	if strings.Contains(body, `"stream":true`) {
		return streaming(step{data: whole})
	}
	return answer("application/json", step{data: `{"type":"message","id":"msg_1","role":"assistant","model":"m","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`})
}

// 500, 529, 429, 401 and 403 never moved to another node; only 502, 503 and 504 did.
func TestLesson_EveryFailureOfANodeMovesOn(t *testing.T) {
	for _, status := range []int{401, 402, 403, 408, 429, 500, 501, 502, 503, 504, 520, 529} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a", "b")
			b.up.on("a", refusing(status, "some_error", "x"))
			b.up.on("b", good(streamBody))
			if w := b.post(t.Context(), streamBody); w.status != 200 || b.up.order() != "a b" {
				t.Errorf("%d: got %d, asked %s", status, w.status, b.up.order())
			}
		})
	}
}

// Any status but 200 was tried three times on the same node, a client's own fault and a rate limit, too; what was passed on in
// the end had lost its headers.
func TestLesson_NoRetryOfWhatCannotPass(t *testing.T) {
	for _, status := range []int{400, 401, 404, 413, 422, 429} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a")
			b.up.queue(refusing(status, "some_error", "x", "Retry-After", "77", "Anthropic-Ratelimit-Requests-Remaining", "0"))
			w := b.post(t.Context(), plainBody)
			if len(b.up.sent) != 1 || w.status != status {
				t.Errorf("%d: asked %d times, got %d", status, len(b.up.sent), w.status)
			}
			if status == 429 && (w.sent.Get("Retry-After") != "77" || w.sent.Get("Anthropic-Ratelimit-Requests-Remaining") != "0") {
				t.Errorf("headers %v", w.sent)
			}
			if w.sent.Get("Request-Id") == "" || w.sent.Get("X-Upstream-Request-Id") == "" {
				t.Errorf("%d: ids are lost: %v", status, w.sent)
			}
		})
	}
}

// retries and fail_limit of an account were stored, shown and never used.
func TestLesson_AccountsOwnLimitsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{RetryMax: 3, FailThreshold: 3}, "a")
		if _, err := b.tables.Accounts.Update(t.Context(), core.DefaultAccount, func(a *core.Account) error { a.Retries, a.FailLimit = 2, 1; return nil }); err != nil {
			t.Fatal(err)
		}
		b.up.queue(refusing(529, "overloaded_error", "x"))
		b.post(t.Context(), plainBody)
		if s := b.state("1"); len(b.up.sent) > 2 || !s.Failed {
			t.Errorf("asked %d times, %+v", len(b.up.sent), s)
		}
	})
}

// With fewer than three nodes traffic never failed a node (the mark needed the third attempt); in 1.8.1 one request failed
// them all.
func TestLesson_ThresholdCountsRequestsNotAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a", "b")
		b.up.queue(broken(errReset))
		b.post(t.Context(), plainBody)
		for _, id := range []string{"1", "2"} {
			if s := b.state(id); s.Failed || s.FailStreak != 1 {
				t.Errorf("after one request: %+v", s)
			}
		}
		b.post(t.Context(), plainBody)
		b.post(t.Context(), plainBody)
		for _, id := range []string{"1", "2"} {
			if s := b.state(id); !s.Failed {
				t.Errorf("after three: %+v", s)
			}
		}
	})
}

// A single failure, even a client's 400, opened the breaker for 30 s: "all nodes unavailable". In 1.7.7 an open breaker was left
// out when choosing, and never got half open.
func TestLesson_OneFailureClosesNothing(t *testing.T) {
	for _, bad := range []play{refusing(500, "api_error", "x"), refusing(400, "invalid_request_error", "x")} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
			b.up.queue(bad, good(streamBody))
			b.post(t.Context(), streamBody)
			if w := b.post(t.Context(), streamBody); w.status != 200 {
				t.Errorf("got %d", w.status)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{RetryMax: 1, FailThreshold: 1}, "a")
		b.up.queue(broken(errReset), good(streamBody))
		b.post(t.Context(), streamBody)
		_ = pause(t.Context(), time.Hour)
		if w := b.post(t.Context(), streamBody); w.status != 200 || b.state("1").Failed {
			t.Errorf("it never got half open: %d", w.status)
		}
	})
}

// 1.7.3: the failed mark was neither kept nor looked at, and a dead node was used for minutes. 1.1.0: the node that came back
// was used, not the best one.
func TestLesson_FailedCountsAtOnceAndTheBestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{FailThreshold: 1, RetryMax: 1, TrialAfter: 30 * time.Second}, "a", "b", "c")
		b.up.on("a", broken(errReset), good(streamBody))
		b.up.on("b", broken(errReset), good(streamBody))
		b.up.on("c", good(streamBody))
		b.post(t.Context(), streamBody) // both fail
		b.post(t.Context(), streamBody)
		if got := b.up.order(); got != "a b c c" {
			t.Errorf("asked %s", got)
		}
		_ = pause(t.Context(), 31*time.Second)
		b.post(t.Context(), streamBody) // the trial of the best
		b.post(t.Context(), streamBody)
		if got := b.up.order(); got != "a b c c a a" {
			t.Errorf("asked %s", got)
		}
	})
}

// The body was read by the first attempt and empty for the next (1.8.0).
func TestLesson_EveryAttemptGetsTheWholeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a", "b")
		b.up.queue(refusing(500, "api_error", "x"), broken(errReset), good(plainBody))
		b.post(t.Context(), plainBody)
		if len(b.up.sent) != 3 {
			t.Fatalf("asked %s", b.up.order())
		}
		for i, s := range b.up.sent {
			if s.body != plainBody {
				t.Errorf("attempt %d was sent %q", i+1, s.body)
			}
		}
	})
}

// An error body that held a usage object was billed, and several rows were written for one request.
func TestLesson_ErrorsCostNothingAndARequestIsOneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a", "b", "c", "d")
		b.up.queue(refusing(500, `api_error","usage":{"input_tokens":1000,"output_tokens":1000},"x":"`, "x"))
		b.post(t.Context(), plainBody)
		records := b.records()
		if len(records) != 1 || records[0].Tokens != (core.Tokens{}) || records[0].CostUSD != 0 || records[0].Success() {
			t.Errorf("recorded %+v", records)
		}
	})
}

// 1.8.4: every failure became a 502, which CLI clients repeat; the upstream's own status tells them better.
func TestLesson_UpstreamsStatusIsPassedOn(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 413, 429, 500, 503, 529} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
			b.up.queue(refusing(status, "some_error", "in its own words", "Retry-After", "60"))
			w := b.post(t.Context(), plainBody)
			if w.status != status || !strings.Contains(w.text(), "in its own words") || w.sent.Get("X-Proxy-Node") != "a" {
				t.Errorf("%d became %d by %q: %s", status, w.status, w.sent.Get("X-Proxy-Node"), w.text())
			}
		})
	}
}

// The activated node counted for pass-through paths only, and those had no failover.
func TestLesson_ActiveCountsAndEveryPathFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{RetryMax: 1}, "a", "b")
		if _, err := b.tables.Accounts.Update(t.Context(), core.DefaultAccount, func(a *core.Account) error { a.ActiveNode = "2"; return nil }); err != nil {
			t.Fatal(err)
		}
		b.up.on("a", answer("application/json", step{data: `{"input_tokens":7}`}))
		b.up.on("b", refusing(503, "api_error", "x"))
		if w := b.serveAt(t, "/v1/messages/count_tokens", plainBody); w.status != 200 || b.up.order() != "b a" {
			t.Errorf("got %d, asked %s", w.status, b.up.order())
		}
	})
}

// A client that left counted as the node's failure (1.8.3).
func TestLesson_ClientThatLeavesIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{FailThreshold: 1}, "a")
		b.up.queue(streaming(step{wait: time.Minute, data: whole}))
		for i := range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			b.post(ctx, other(streamBody, i))
			cancel()
		}
		if s := b.state("1"); s.Failed || s.FailStreak != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// Tools were reduced to name, description and schema, and the body written anew: server tools, cache marks and the order of
// fields were lost (tool-cleaning-fix).
func TestLesson_ToolsPassAsTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const body = `{"model":"claude-x","max_tokens":5,"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3},{"name":"b","input_schema":{"z":1,"a":12345678901234567890},"cache_control":{"type":"ephemeral"},"strict":true}],"messages":[{"role":"user","content":"hi"}]}`
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(good(body))
		b.post(t.Context(), body)
		if len(b.up.sent) != 1 || b.up.sent[0].body != body {
			t.Errorf("sent %v", b.up.sent)
		}
	})
}
