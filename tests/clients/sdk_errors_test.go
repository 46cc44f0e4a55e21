package clients_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// TestGoSDKErrors: errors that no attempt can mend reach the SDK as its typed errors, after one request.
func TestGoSDKErrors(t *testing.T) {
	const big = 64 << 10
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
		key       string
		say       string
		status    int
		kind      string
		wording   string
		upstream  int // requests that reach it
	}{
		{"WrongKey", "the gateway's own 401", up.Behaviour{}, "no-such-key-anywhere-1", "Hi", 401, "authentication_error", "key", 0},
		{"Invalid", "an upstream's 400 passes with its wording", up.Status(400, "messages.0: odd <thing>"), "", "Hi", 400, "invalid_request_error", "messages.0: odd <thing>", 1},
		{"PromptTooLong", "clients compact their history on this wording (D13)", up.PromptTooLong(210_000, 200_000), "", "Hi", 400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", 1},
		{"Permission", "no node can take it", up.Status(403, ""), "", "Hi", 403, "permission_error", "", 1},
		{"NotFound", "a model that the upstream does not know", up.Status(404, "model: gone"), "", "Hi", 404, "not_found_error", "model: gone", 1},
		{"UpstreamTooLarge", "the upstream's limit", up.Status(413, ""), "", "Hi", 413, "request_too_large", "", 1},
		{"TooLarge", "the gateway's own limit, before anything is sent", up.Behaviour{}, "", strings.Repeat("x", big), 413, "request_too_large", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSDK(t, []string{"MAX_BODY_BYTES=65536"}, func(f *fixture, open func(sdkOptions) sdk) {
				f.up.Default(tt.behaviour)
				s := open(sdkOptions{key: tt.key, retries: 2})
				bothWays(f, func(f *fixture, stream bool) {
					before, reached := len(f.tap.exchanges("")), f.up.Count()
					c := s.chat(chatOptions{})
					c.say(tt.say)
					_, err := c.turn(within(f.T, patience), stream)
					e := f.wantAPIError(s, err, tt.status, tt.kind)
					if !strings.Contains(e.raw, jsonText(f.T, tt.wording)) {
						f.Errorf("%s: got %s", tt.why, e.raw)
					}
					if sent, got := len(f.tap.exchanges(""))-before, f.up.Count()-reached; sent != 1 || got != tt.upstream {
						f.Errorf("%s: %d requests sent, %d arrived", tt.why, sent, got)
					}
				})
				f.checkIDs()
			})
		})
	}
}

// TestGoSDKRetries: trouble that passes. The SDK's own retries (D30) and the gateway's do not add up to more than they
// should, and the caller sees nothing.
func TestGoSDKRetries(t *testing.T) {
	limited, longer := up.Status(429, "").RetryAfter(time.Second), up.Status(429, "").RetryAfter(6*time.Second)
	for _, tt := range []struct {
		name, why string
		queue     []up.Behaviour
		retries   int
		statuses  []int // of the SDK's requests
		upstream  int
		min, max  time.Duration
		kind      string // of the error in the end; empty: success
	}{
		{"RateLimit", "a short one is waited out by the gateway, also for who would not repeat", []up.Behaviour{limited}, 0, []int{200}, 2, time.Second, 20 * time.Second, ""},
		{"RateLimitLonger", "the SDK waits for as long as retry-after says", []up.Behaviour{longer}, 2, []int{429, 200}, 2, 6 * time.Second, 30 * time.Second, ""},
		{"RateLimitNoRetries", "without retries it is an error", []up.Behaviour{longer}, 0, []int{429}, 1, 0, 20 * time.Second, "rate_limit_error"},
		{"RateLimitFinal", "x-should-retry: false ends it at once", []up.Behaviour{limited.Header("X-Should-Retry", "false")}, 2, []int{429}, 1, 0, 900 * time.Millisecond, "rate_limit_error"},
		{"Overloaded", "the gateway tries the node again", []up.Behaviour{up.Overloaded()}, 2, []int{200}, 2, 0, 20 * time.Second, ""},
		{"OverloadedLonger", "three tries of the gateway, then the SDK's second request", []up.Behaviour{up.Overloaded(), up.Overloaded(), up.Overloaded()}, 2, []int{529, 200}, 4, 0, 20 * time.Second, ""},
		{"ServerError", "a passing 500", []up.Behaviour{up.Status(500, "")}, 2, []int{200}, 2, 0, 20 * time.Second, ""},
		{"ProxyPage", "an error page in front of the upstream", []up.Behaviour{up.HTMLError(502)}, 2, []int{200}, 2, 0, 20 * time.Second, ""},
		{"Reset", "a connection lost before the answer", []up.Behaviour{up.Reply(up.Text("x")).Cut(up.BeforeHeaders, up.EndReset)}, 2, []int{200}, 2, 0, 20 * time.Second, ""},
		{"BadRequest", "a 400 that the upstream wants repeated", []up.Behaviour{up.Status(400, "odd").Header("X-Should-Retry", "true")}, 2, []int{400, 200}, 2, 0, 20 * time.Second, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
				f.up.Queue(tt.queue...)
				f.up.Default(up.Reply(up.Text("recovered")))
				s := open(sdkOptions{retries: tt.retries})
				c := s.chat(chatOptions{})
				c.say("Hello")
				start := time.Now()
				r, err := c.turn(within(f.T, patience), true)
				took := time.Since(start)
				if tt.kind == "" {
					f.noError(err)
					if r.text != "recovered" {
						f.Errorf("got %+v", r)
					}
				} else {
					f.wantAPIError(s, err, tt.statuses[len(tt.statuses)-1], tt.kind)
				}
				f.wantStatuses("/v1/messages", tt.statuses...)
				f.wantUpstream(tt.upstream)
				if took < tt.min || took > tt.max {
					f.Errorf("%s: took %v", tt.why, took)
				}
				f.checkIDs()
			})
		})
	}
}

// TestD30GoSDKRetryAfterMillis: retry-after-ms is finer than retry-after and wins, in the gateway as in the SDK.
func TestD30GoSDKRetryAfterMillis(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		f.up.Queue(up.Status(429, "").Header("Retry-After-Ms", "100").RetryAfter(30 * time.Second))
		c := open(sdkOptions{retries: 1}).chat(chatOptions{})
		c.say("Hello")
		start := time.Now()
		_, err := c.turn(within(f.T, patience), false)
		f.noError(err)
		if d := time.Since(start); d > 10*time.Second {
			f.Errorf("took %v: the wait was taken from retry-after", d)
		}
		f.wantUpstream(2)
	})
}

// TestD29GoSDKOverloadedForEver: the SDK gives up with its typed error, and neither side has hammered the upstream: three
// requests, at most three tries each.
func TestD29GoSDKOverloadedForEver(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%v", stream), func(t *testing.T) {
			eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
				f.up.Default(up.Overloaded())
				s := open(sdkOptions{retries: 2})
				c := s.chat(chatOptions{})
				c.say("Hello")
				_, err := c.turn(within(f.T, patience), stream)
				f.wantAPIError(s, err, up.StatusOverloaded, "overloaded_error")
				f.wantStatuses("/v1/messages", 529, 529, 529)
				if n := f.up.Count(); n < 3 || n > 9 {
					f.Errorf("%d requests reached the upstream", n)
				}
				for _, u := range f.gw.usages("/v1/messages", 3) {
					if u.Success || u.Status != up.StatusOverloaded || u.InputTokens+u.OutputTokens != 0 {
						f.Errorf("recorded %+v", u)
					}
				}
			})
		})
	}
}

// TestGoSDKBrokenStreams: once content has gone out nothing is replayed, and no broken stream looks like a whole one (D12).
func TestGoSDKBrokenStreams(t *testing.T) {
	whole := up.Events(6).Usage(up.Usage{Input: 21, Output: 600})
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
		kind      string // of the SDK's error
		partial   string
		upstream  int
	}{
		{"ErrorEvent", "an error event of the upstream passes", whole.ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"), "overloaded_error", "tok0 tok1 ", 1},
		{"CleanEnd", "only message_stop is missing: HTTP is content", whole.Cut(up.AfterDeltas(3), up.EndClean), "api_error", "tok0 tok1 tok2 ", 1},
		{"Closed", "the connection is closed", whole.Cut(up.AfterDeltas(3), up.EndClose), "api_error", "tok0 tok1 tok2 ", 1},
		{"Reset", "the connection is reset", whole.Cut(up.AfterDeltas(3), up.EndReset), "api_error", "", 1},
		{"InsideEvent", "half an event must not reach the client", whole.CutInside(up.AfterDeltas(3), up.EndClose), "api_error", "tok0 tok1 tok2 ", 1},
		{"BeforeStop", "all text is there and still the message is not whole", whole.Cut(up.BeforeStop, up.EndClean), "api_error", "tok0 tok1 tok2 tok3 tok4 tok5 ", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
				f.up.Default(tt.behaviour)
				s := open(sdkOptions{retries: 2})
				c := s.chat(chatOptions{})
				c.say("Hello")
				r, err := c.turn(within(f.T, patience), true)
				e, ok := s.apiError(err)
				if !ok || e.kind != tt.kind || e.status != http.StatusOK {
					f.Errorf("%s: got %v", tt.why, err)
				}
				if tt.partial != "" && r.text != tt.partial {
					f.Errorf("%s: got the text %q", tt.why, r.text)
				}
				f.wantUpstream(tt.upstream)
				x := f.tap.exchanges("/v1/messages")[0]
				if names := eventNames(f.T, x.Text); names[len(names)-1] != "error" {
					f.Errorf("on the wire: %v", names)
				}
				if u := f.gw.usages("/v1/messages", 1)[0]; u.Success || u.ErrorCode == "" || u.Uncached != 21 {
					f.Errorf("recorded %+v", u)
				}
			})
		})
	}
}

// TestGoSDKTroubleBeforeContent: what goes wrong before the first content is mended unseen, even within a 200 stream.
func TestGoSDKTroubleBeforeContent(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
	}{
		{"ErrorFirst", "an error event in place of an answer", up.Events(3).ErrorAt(up.AfterStart, "overloaded_error", "Overloaded")},
		{"CutAfterStart", "message_start is no content", up.Events(3).Cut(up.AfterStart, up.EndReset)},
		{"CutAfterHeaders", "a 200 and nothing else", up.Events(3).Cut(up.AfterHeaders, up.EndClose)},
		{"Garbage", "bytes that are no events", up.GarbageStream()},
		{"Page", "a captive portal", up.HTMLPage()},
		{"Empty", "a stream without events", up.Empty("text/event-stream")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
				f.up.Queue(tt.behaviour)
				f.up.Default(up.Reply(up.Text("whole")))
				c := open(sdkOptions{}).chat(chatOptions{})
				c.say("Hello")
				r, err := c.turn(within(f.T, patience), true)
				f.noError(err)
				if r.text != "whole" {
					f.Errorf("%s: got %q", tt.why, r.text)
				}
				f.wantStatuses("/v1/messages", 200)
				f.wantUpstream(2)
			})
		})
	}
}

// TestGoSDKDeadNode: a node on which nothing listens is first in line, and the SDK without retries of its own sees nothing.
func TestGoSDKDeadNode(t *testing.T) {
	eachSDK(t, []string{"UPSTREAM_ALLOW_PRIVATE=true"}, func(f *fixture, open func(sdkOptions) sdk) {
		f.gw.activate(f.gw.addNode("dead", up.NewRefused(f.T)))
		s := open(sdkOptions{})
		for range 5 {
			c := s.chat(chatOptions{})
			c.say("Hello")
			_, err := c.turn(within(f.T, patience), true)
			f.noError(err)
		}
		f.wantUpstream(5)
		us := f.gw.usages("/v1/messages", 5)
		if us[0].Attempts != 2 || us[0].NodeName != "first" || us[4].Attempts != 1 {
			f.Errorf("attempts went %d to %d, on node %s: after three failures the dead node rests", us[0].Attempts, us[4].Attempts, us[0].NodeName)
		}
	})
}

// jsonText is a text as it stands within a JSON string of the fake.
func jsonText(t *testing.T, s string) string {
	t.Helper()
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	return strings.Trim(strings.TrimSpace(buf.String()), `"`)
}
