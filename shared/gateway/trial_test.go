package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/gateway"
)

const wholeAnswer = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"usage":{"input_tokens":1,"output_tokens":1}}`

func TestBreaker_LongTrialDoesNotKeepOthersOut(t *testing.T) {
	for _, c := range []struct {
		reason string
		body   string
		trial  play
		before time.Duration // others are still refused after this long; 0: never
		after  time.Duration // and served after this long
	}{
		{"a stream that has begun", streamBody, streaming(step{data: head + evText}, step{wait: 4 * time.Minute, data: evMore + ends}), 0, 0},
		{"a stream that begins late", streamBody, streaming(step{data: head}, step{wait: 10 * time.Second, data: evText}, step{wait: time.Minute, data: evMore + ends}),
			9 * time.Second, 11 * time.Second},
		{"an answer that takes minutes", plainBody, answer("application/json", step{wait: 4 * time.Minute}, step{data: wholeAnswer}), 59 * time.Second, 61 * time.Second},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{TrialAfter: 30 * time.Second, FailThreshold: 1, RetryMax: 1}, "a")
				b.up.queue(refusing(500, "api_error", "x"), c.trial, streaming(step{data: whole}))
				b.post(t.Context(), streamBody)
				_ = pause(t.Context(), 31*time.Second)
				done := make(chan *client, 1)
				began := time.Now()
				go func() { done <- b.post(t.Context(), c.body) }()
				synctest.Wait()
				if c.before > 0 {
					_ = pause(t.Context(), c.before)
					wantError(t, b.post(t.Context(), streamBody).reply(), 503, "api_error", "down")
				}
				_ = pause(t.Context(), c.after-time.Since(began))
				synctest.Wait()
				wantStream(t, b.post(t.Context(), streamBody).reply(), "Hello there")
				if len(done) != 0 {
					t.Fatal("the trial had ended by then")
				}
				if s := b.state("1"); s.Failed || s.FailStreak != 0 {
					t.Errorf("state while the trial runs: %+v", s)
				}
				if w := <-done; w.status != 200 {
					t.Errorf("the trial got %d %s", w.status, w.text())
				}
			})
		})
	}
}

func TestBreaker_RecoveryIsSavedEvenWhenTheTrialsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{TrialAfter: 30 * time.Second, FailThreshold: 1, RetryMax: 1}, "a")
		b.up.queue(refusing(500, "api_error", "x"), streaming(step{data: head + evText}, step{wait: forever, data: "x"}))
		b.post(t.Context(), streamBody)
		_ = pause(t.Context(), 31*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.post(ctx, streamBody)
		if s := b.state("1"); s.Failed {
			t.Errorf("saved %+v", s)
		}
	})
}

func TestBreaker_StreamsThatAreCutAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{FailThreshold: 3}, "a")
		b.up.queue(streaming(step{data: head + evText, err: errReset}))
		for i := 1; i <= 3; i++ {
			b.post(t.Context(), streamBody)
			if s := b.state("1"); s.FailStreak != i || s.Failed != (i == 3) {
				t.Errorf("after %d cut streams: %+v", i, s)
			}
		}
	})
}
