package clients_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// version is one of the Go SDKs under test, with what it sends.
type version struct {
	name       string
	apiVersion string
	keyHeader  string // that carries an API key
	open       func(base string, o sdkOptions) sdk
}

var versions = []version{
	{"v1", "2023-06-01", "X-Api-Key", newSDKV1},
	{"v2", "2026-10-21", "Authorization", newSDKV2},
}

// eachSDK runs a test once for each version, with a gateway of its own.
func eachSDK(t *testing.T, env []string, test func(f *fixture, open func(sdkOptions) sdk)) {
	t.Helper()
	t.Parallel()
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			f := setUp(t, env...)
			f.version = v
			test(f, func(o sdkOptions) sdk {
				if o.key == "" {
					o.key = proxyKey
				}
				return v.open(f.tap.URL, o)
			})
			for _, x := range f.tap.exchanges("/v1/messages") {
				if got := x.Header.Get("Anthropic-Version"); got != v.apiVersion {
					t.Errorf("the SDK sends anthropic-version %q, want %q: is it still the version that this test is for?", got, v.apiVersion)
				}
			}
		})
	}
}

// bothWays runs a test without and with streaming, on one fixture.
func bothWays(f *fixture, test func(f *fixture, stream bool)) {
	for _, stream := range []bool{false, true} {
		f.Run(fmt.Sprintf("stream=%v", stream), func(t *testing.T) {
			sub := *f
			sub.T = t
			test(&sub, stream)
		})
	}
}

var reported = up.Usage{Input: 11, CacheRead: 2000, CacheWrite5m: 300, CacheWrite1h: 40, Output: 7}

func TestGoSDKText(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		options   sdkOptions
		headers   []string // that carry the key; nil: the version's own
	}{
		{"Key", "v1 sends an API key as x-api-key, v2 as a bearer token", sdkOptions{}, nil},
		{"Token", "both send an auth token as a bearer token", sdkOptions{bearer: true}, []string{"Authorization"}},
		{"Both", "a helper that is set to send both", sdkOptions{bearer: true, header: map[string]string{"X-Api-Key": proxyKey}}, []string{"Authorization", "X-Api-Key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
				const text = "Grüße, \"Welt\" – 你好 </s>\n\ttab"
				f.up.Default(up.Reply(up.Text("Grüße, ", "\"Welt\" – ", "你好 ", "</s>\n\ttab")).Usage(reported))
				var replies []reply
				bothWays(f, func(f *fixture, stream bool) {
					c := open(tt.options).chat(chatOptions{system: []string{"first", "second"}})
					c.say("Hello \u00e9\u4f60 <b>&</b>")
					r, err := c.turn(within(f.T, patience), stream)
					f.noError(err)
					if r.text != text || r.stop != "end_turn" || r.model != model || r.output != 7 || r.input != 11 || r.cacheRead != 2000 || r.cacheWrite != 340 {
						f.Errorf("%s: got %+v", tt.why, r)
					}
					r.events = nil
					replies = append(replies, r)
				})
				if fmt.Sprint(replies[0]) != fmt.Sprint(replies[1]) {
					f.Errorf("the accumulated stream is not the whole message: %+v and %+v", replies[0], replies[1])
				}
				f.checkPassed()
				f.checkIDs()
				for i, u := range f.gw.usages("/v1/messages", 2) {
					checkTokens(f.T, u, reported)
					if u.Stream != (i == 1) || u.Status != 200 || !u.Success || u.ModelID != model || u.NodeName != "first" || u.Attempts != 1 {
						f.Errorf("recorded %+v", u)
					}
				}
				for _, x := range f.tap.exchanges("/v1/messages") {
					if got := x.Answer.Get("X-Proxy-Node"); got != "first" {
						f.Errorf("x-proxy-node %q", got)
					}
					var carried []string
					for _, name := range []string{"Authorization", "X-Api-Key"} {
						if strings.Contains(x.Header.Get(name), proxyKey) {
							carried = append(carried, name)
						}
					}
					want := tt.headers
					if want == nil {
						want = []string{f.version.keyHeader}
					}
					if !slices.Equal(carried, want) {
						f.Errorf("%s: the key came in %v", tt.why, carried)
					}
				}
			})
		})
	}
}

// TestGoSDKStreamEvents is D29 on the wire: named events in the upstream's order, pings and unknown events included, which
// the SDK then skips or gives out as it likes.
func TestGoSDKStreamEvents(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		f.up.Default(up.Reply(up.Text("one", "two", "three")).
			Inject(up.AfterDeltas(1), up.UnknownEvent()).Inject(up.AfterDeltas(2), up.UnknownDelta(0)).Ping(2).CRLF().Split(7))
		c := open(sdkOptions{}).chat(chatOptions{})
		c.say("Hello")
		r, err := c.turn(within(f.T, patience), true)
		f.noError(err)
		if r.text != "onetwothree" {
			f.Errorf("got %+v", r)
		}
		if slices.Contains(r.events, "ping") || r.events[0] != "message_start" || r.events[len(r.events)-1] != "message_stop" {
			f.Errorf("the SDK gave out %v", r.events)
		}
		x := f.tap.exchanges("/v1/messages")[0]
		names := eventNames(f.T, strings.ReplaceAll(x.Text, "\r\n", "\n"))
		if names[0] != "message_start" || names[len(names)-1] != "message_stop" || !slices.Contains(names, "ping") || len(names) != 12 {
			f.Errorf("on the wire: %v", names)
		}
		if got := x.Answer.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") || x.Answer.Get("Content-Encoding") != "" {
			f.Errorf("content-type %q, content-encoding %q", got, x.Answer.Get("Content-Encoding"))
		}
	})
}

func TestGoSDKTools(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		f.up.Default(up.ToolThenText("weather", `{"city":"Zürich","days":[1,2]}`, "Sunny."))
		bothWays(f, func(f *fixture, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{tool: "weather"})
			c.say("How is the weather?")
			r, err := c.turn(within(f.T, patience), stream)
			f.noError(err)
			if r.stop != "tool_use" || r.toolName != "weather" || r.toolInput != `{"city":"Zürich","days":[1,2]}` || !strings.HasPrefix(r.toolID, "toolu_") {
				f.Fatalf("got %+v", r)
			}
			c.result(r.toolID, "22 degrees")
			last, err := c.turn(within(f.T, patience), stream)
			f.noError(err)
			if last.text != "Sunny." || last.stop != "end_turn" {
				f.Errorf("got %+v", last)
			}
			if got := content(f.T, f.up.Last(), 2); len(got) != 1 || got[0]["tool_use_id"] != r.toolID {
				f.Errorf("the upstream got %v", got)
			}
		})
		f.checkPassed()
		f.wantUpstream(4)
	})
}

// TestGoSDKEmptyToolInput: a call without arguments has the input {} (D26), streamed or not.
func TestGoSDKEmptyToolInput(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		f.up.Default(up.Reply(up.ToolUse("toolu_01", "weather")))
		bothWays(f, func(f *fixture, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{tool: "weather"})
			c.say("Call it")
			r, err := c.turn(within(f.T, patience), stream)
			f.noError(err)
			if r.toolInput != "{}" || r.toolID != "toolu_01" {
				f.Errorf("got %+v", r)
			}
		})
	})
}

// TestGoSDKThinking is D7: thinking blocks with their signatures and redacted ones return upstream as they came.
func TestGoSDKThinking(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		const signature, data = "EqMBCkYIBxgC+/aa==", "ErUBmnop/+=="
		f.up.Default(up.Reply(up.Thinking(signature, "Let me ", "think <é>."), up.RedactedThinking(data), up.Text("Done")))
		bothWays(f, func(f *fixture, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{thinking: true})
			c.say("Think")
			r, err := c.turn(within(f.T, patience), stream)
			f.noError(err)
			if r.thinking != "Let me think <é>." || r.signature != signature || r.redacted != data || r.text != "Done" ||
				!slices.Equal(r.kinds, []string{"thinking", "redacted_thinking", "text"}) {
				f.Fatalf("got %+v", r)
			}
			c.say("Go on")
			_, err = c.turn(within(f.T, patience), stream)
			f.noError(err)
			got := content(f.T, f.up.Last(), 1)
			if len(got) != 3 || got[0]["thinking"] != "Let me think <é>." || got[0]["signature"] != signature || got[1]["data"] != data || got[2]["text"] != "Done" {
				f.Errorf("the upstream got back %v", got)
			}
		})
		f.checkPassed()
	})
}

// content returns the blocks of the i-th message of a request.
func content(t *testing.T, r up.Request, i int) []map[string]any {
	t.Helper()
	var body struct {
		Messages []struct {
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if err := r.Decode(&body); err != nil || i >= len(body.Messages) {
		t.Fatalf("no message %d in %s: %v", i, r.Body, err)
	}
	var blocks []map[string]any
	if err := json.Unmarshal(body.Messages[i].Content, &blocks); err != nil {
		t.Fatalf("message %d: %v", i, err)
	}
	return blocks
}

// TestGoSDKHeaders is D3 and D4: lists, repeated lines and names that nobody knows arrive as they were sent.
func TestGoSDKHeaders(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		beta := "zeta-2099-01-01,alpha-2025-01-01, beta-with-space"
		c := open(sdkOptions{header: map[string]string{"anthropic-beta": beta, "anthropic-unheard-of": "1", "X-Claude-Code-Future": "x"}}).chat(chatOptions{})
		c.say("Hello")
		_, err := c.turn(within(f.T, patience), false)
		f.noError(err)
		f.checkPassed()
		h := f.up.Last().Header
		if h.Get("Anthropic-Beta") != beta || h.Get("Anthropic-Unheard-Of") != "1" || h.Get("X-Claude-Code-Future") != "x" {
			f.Errorf("arrived: %v", h)
		}
	})
}

// TestGoSDKLong: nothing of a long stream is lost or doubled, and its usage is taken from its far end.
func TestGoSDKLong(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		const n = 5000
		want := up.Usage{Input: 3, Output: 123456}
		f.up.Default(up.Events(n).Ping(500).Usage(want))
		c := open(sdkOptions{}).chat(chatOptions{maxTokens: 128_000})
		c.say("Count")
		r, err := c.turn(within(f.T, patience), true)
		f.noError(err)
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "tok%d ", i)
		}
		if r.text != text.String() {
			f.Errorf("got %d bytes of text, want %d", len(r.text), text.Len())
		}
		if r.output != 123456 {
			f.Errorf("the SDK saw %d output tokens", r.output)
		}
		checkTokens(f.T, f.gw.usages("/v1/messages", 1)[0], want)
	})
}

// TestGoSDKLargeBody: a request of several MiB passes byte for byte.
func TestGoSDKLargeBody(t *testing.T) {
	serverOnly(t, "an event is at most 6 MiB")
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		c := open(sdkOptions{}).chat(chatOptions{})
		c.say(strings.Repeat("func main() { fmt.Println(\"\\u00fc\") }\n", 200_000))
		_, err := c.turn(within(f.T, patience), true)
		f.noError(err)
		f.checkPassed()
	})
}

// TestD31GoSDKLongAnswers: the SDK itself refuses to wait for a long answer that is not streamed, unless it is given a
// timeout. Neither form is in the gateway's way.
func TestD31GoSDKLongAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		stream  bool
		timeout time.Duration
		refused bool
		why     string
	}{
		{"Whole", false, 0, true, "the SDK expects more than 10 minutes and sends nothing"},
		{"Stream", true, 0, false, "the SDK's own way for such answers"},
		{"WholeWithTimeout", false, 20 * time.Minute, false, "what Claude Code does after a broken stream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
				c := open(sdkOptions{}).chat(chatOptions{maxTokens: 128_000, timeout: tt.timeout})
				c.say("A long one")
				_, err := c.turn(within(f.T, patience), tt.stream)
				if (err != nil) != tt.refused {
					f.Errorf("%s: got %v", tt.why, err)
				}
				if sent := len(f.tap.exchanges("")); (sent == 0) != tt.refused {
					f.Errorf("%s: %d requests were sent", tt.why, sent)
				}
			})
		})
	}
}
