package clients_test

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// background takes a streamed turn in a goroutine of its own.
func background(ctx context.Context, c chat) <-chan turnResult {
	done := make(chan turnResult, 1)
	go func() {
		r, err := c.turn(ctx, true)
		done <- turnResult{r, err}
	}()
	return done
}

type turnResult struct {
	reply
	err error
}

// waitFor waits until a text has come by in the answer to the first message.
func (f *fixture) waitFor(text string) {
	f.Helper()
	poll(f.T, patience, text, func() bool {
		xs := f.tap.exchanges("/v1/messages")
		return len(xs) > 0 && strings.Contains(xs[0].Text, text)
	})
}

// TestD51GoSDKCancel: a client that leaves in mid-stream ends the upstream's work within a second, and what it had until
// then is recorded.
func TestD51GoSDKCancel(t *testing.T) {
	serverOnly(t, "a function is not told that its client has left")
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		f.up.Default(up.Events(10).Usage(up.Usage{Input: 50, Output: 1000}).Silence(up.AfterDeltas(5)))
		ctx, cancel := context.WithCancel(f.Context())
		c := open(sdkOptions{}).chat(chatOptions{})
		c.say("Hello")
		done := background(ctx, c)
		f.waitFor("tok4")
		left := time.Now()
		cancel()
		if r := <-done; r.err == nil {
			f.Error("the SDK noticed nothing")
		}
		if _, err := f.up.WaitAborted(within(f.T, settle)); err != nil {
			f.Fatal(err)
		}
		if d := time.Since(left); d > time.Second {
			f.Errorf("the upstream worked on for %v", d)
		}
		u := f.gw.usages("/v1/messages", 1)[0]
		if u.Success || u.ErrorCode != "client_gone" || u.Uncached != 50 || u.OutputTokens < 1 || !u.Estimated {
			f.Errorf("recorded %+v", u)
		}
		if u.Status != http.StatusOK {
			f.Errorf("recorded status %d: the stream had begun", u.Status)
		}
	})
}

// TestD55GoSDKDrain: at SIGTERM a running stream goes on to its end, and a new request is told to come back later. The
// gateway's clean exit is checked by the fixture.
func TestD55GoSDKDrain(t *testing.T) {
	serverOnly(t, "a function is not stopped while it answers")
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		f.up.Default(up.Events(20).Every(100 * time.Millisecond))
		s := open(sdkOptions{})
		c := s.chat(chatOptions{})
		c.say("Hello")
		done := background(within(f.T, patience), c)
		f.waitFor("tok2")
		f.noError(f.gw.cmd.Process.Signal(syscall.SIGTERM))
		poll(f.T, patience, "the shutdown", func() bool { return !f.gw.ready() })
		late := s.chat(chatOptions{})
		late.say("Too late")
		_, err := late.turn(within(f.T, patience), true)
		f.wantAPIError(s, err, http.StatusServiceUnavailable, "api_error")
		if xs := f.tap.exchanges("/v1/messages"); len(xs) != 2 || xs[1].Answer.Get("Retry-After") == "" {
			f.Errorf("the late request was answered without retry-after")
		}
		if r := <-done; r.err != nil || !strings.HasSuffix(r.text, "tok19 ") || r.stop != "end_turn" {
			f.Errorf("the running stream ended with %v after %q", r.err, r.text)
		}
	})
}
