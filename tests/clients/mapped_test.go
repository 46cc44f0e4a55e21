package clients_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// Clients of Anthropic's API over OpenAI nodes: they ask for Claude and the account's map names another model, and they go
// on seeing the name that they asked for.

// eachMapped runs a test for each kind of OpenAI node.
func eachMapped(t *testing.T, test func(s *stage)) {
	t.Helper()
	each(t, append(slices.Clone(openAIKinds), bothNode), func(s *stage) {
		s.asClaude()
		test(s)
	})
}

// eachMappedSDK does so for each version of Anthropic's Go SDK.
func eachMappedSDK(t *testing.T, test func(s *stage, open func(sdkOptions) sdk)) {
	t.Helper()
	t.Parallel()
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			eachMapped(t, func(s *stage) {
				test(s, func(o sdkOptions) sdk {
					o.key = proxyKey
					return v.open(s.tap.URL, o)
				})
			})
		})
	}
}

func TestMappedGoSDKText(t *testing.T) {
	eachMappedSDK(t, func(s *stage, open func(sdkOptions) sdk) {
		s.up.Default(up.Reply(up.Text("Grüße, ", "\"Welt\"", " 你好")).Usage(counted))
		s.ways(func(s *stage, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{system: []string{"first", "second"}})
			c.say("Hello \u00e9\u4f60 <b>&</b>")
			r, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if r.text != "Grüße, \"Welt\" 你好" || r.stop != "end_turn" || r.model != model || r.input != 11 || r.cacheRead != 2000 || r.cacheWrite != 300 || r.output != 7 {
				s.Errorf("got %+v", r)
			}
			if stream && (r.events[0] != "message_start" || r.events[len(r.events)-1] != "message_stop") {
				s.Errorf("events %v", r.events)
			}
		})
		s.checkSaid()
		s.checkUsage("/v1/messages", 2, counted)
		for _, x := range s.asked() {
			if x.Answer.Get("Request-Id") == "" {
				s.Errorf("no request-id in %v", x.Answer)
			}
		}
	})
}

func TestMappedGoSDKTools(t *testing.T) {
	eachMappedSDK(t, func(s *stage, open func(sdkOptions) sdk) {
		s.up.Default(s.toolThenText("weather", `{"city":"Zürich","days":[1,2]}`, "Sunny."))
		s.ways(func(s *stage, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{tool: "weather"})
			c.say("How is the weather?")
			r, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if r.stop != "tool_use" || r.toolName != "weather" || parsed(r.toolInput) != `{"city":"Zürich","days":[1,2]}` {
				s.Fatalf("got %+v", r)
			}
			c.result(r.toolID, "22 degrees")
			last, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if last.text != "Sunny." || last.stop != "end_turn" || !s.last().has("result 1", "22 degrees") {
				s.Errorf("got %+v, the upstream %q", last, s.last().Turns)
			}
		})
		s.checkSaid()
		s.wantReached(4)
	})
}

// TestMappedGoSDKThinking: reasoning of the Responses API comes out as thinking with a signature, and back as it was.
func TestMappedGoSDKThinking(t *testing.T) {
	each(t, []kind{responsesNode, bothNode}, func(s *stage) {
		s.asClaude()
		s.up.Default(up.Reply(up.Thinking("EqMBCkYIBxgC+/aa==", "Let me ", "think."), up.Text("Done")))
		s.ways(func(s *stage, stream bool) {
			c := newSDKV2(s.tap.URL, sdkOptions{key: proxyKey}).chat(chatOptions{thinking: true})
			c.say("Think")
			r, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if r.thinking != "Let me think." || r.signature == "" || r.text != "Done" {
				s.Fatalf("got %+v", r)
			}
			c.say("Go on")
			_, err = c.turn(within(s.T, patience), stream)
			s.noError(err)
			all := s.arrived()
			if body := string(all[len(all)-1].Body); !strings.Contains(body, `"encrypted_content":"EqMBCkYIBxgC+/aa=="`) {
				s.Errorf("the upstream got back %s", body)
			}
		})
		s.checkSaid()
	})
}

// TestMappedGoSDKErrors: an OpenAI node's errors are Anthropic's typed errors.
func TestMappedGoSDKErrors(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
		status    int
		kind      string
		wording   string
	}{
		{"TooLong", "the wording on which clients compact their history (D15)", up.PromptTooLong(210_000, 200_000), 400, "invalid_request_error", "prompt is too long"},
		{"NotFound", "a model that the upstream does not know", up.Status(404, ""), 404, "not_found_error", ""},
		{"RateLimit", "with its retry-after", up.RateLimited(7 * time.Second), 429, "rate_limit_error", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMapped(t, func(s *stage) {
				s.up.Default(tt.behaviour)
				s.ways(func(s *stage, stream bool) {
					client := newSDKV1(s.tap.URL, sdkOptions{key: proxyKey})
					c := client.chat(chatOptions{})
					c.say("Hello")
					_, err := c.turn(within(s.T, patience), stream)
					e, ok := client.apiError(err)
					if !ok || e.status != tt.status || e.kind != tt.kind || !strings.Contains(e.raw, tt.wording) {
						s.Errorf("%s: got %v: %+v", tt.why, err, e)
					}
				})
			})
		})
	}
}

// TestMappedGoSDKBrokenStreams: no cut looks like a whole message, whatever the node speaks.
func TestMappedGoSDKBrokenStreams(t *testing.T) {
	for _, tt := range []struct {
		name      string
		behaviour up.Behaviour
	}{
		{"ErrorEvent", up.Events(5).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded")},
		{"Cut", up.Events(5).Cut(up.AfterDeltas(2), up.EndClean)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMapped(t, func(s *stage) {
				s.up.Default(tt.behaviour)
				client := newSDKV1(s.tap.URL, sdkOptions{key: proxyKey, retries: 2})
				c := client.chat(chatOptions{})
				c.say("Hello")
				r, err := c.turn(within(s.T, patience), true)
				if e, ok := client.apiError(err); !ok || e.kind == "" || r.text != "tok0 tok1 " {
					s.Errorf("got %v after %q", err, r.text)
				}
				s.wantReached(1)
			})
		})
	}
}

func TestMappedNodeSDK(t *testing.T) {
	eachMapped(t, func(s *stage) {
		s.up.Default(s.toolThenText("weather", `{"city":"Zürich"}`, "Sunny."))
		s.ways(func(s *stage, stream bool) {
			r, err := s.node("tools.mjs", "", object{"model": s.model, "stream": stream})
			s.noError(err)
			if r.Stop != "tool_use" || parsed(string(r.Input)) != `{"city":"Zürich"}` || r.Text != "Sunny." {
				s.Errorf("got %+v", r)
			}
			r, err = s.node(script(stream), "", object{"params": ask(nil)})
			s.noError(err)
			if r.Text != "Sunny." || r.Message.Model != model || r.Message.StopReason != "end_turn" {
				s.Errorf("got %+v", r)
			}
		})
		s.checkSaid()
		s.up.Default(up.PromptTooLong(210_000, 200_000))
		_, err := s.node("stream.mjs", "", object{"params": ask(nil)})
		var e *nodeError
		if !errors.As(err, &e) || e.Status != 400 || !slices.Contains(e.Classes, "BadRequestError") || !strings.Contains(e.Message, "prompt is too long") {
			s.Errorf("got %v", err)
		}
	})
}

// checkClaude compares what Claude Code said with what an OpenAI node got, but for the tools that only Anthropic runs.
func (s *stage) checkClaude(r cliRun, printed string) {
	s.Helper()
	if r.exit != nil || !strings.Contains(r.out, printed) {
		s.Fatal(r)
	}
	s.checkSaid()
	for i, u := range s.gw.usages("/v1/messages", len(s.asked())) {
		x := s.asked()[i]
		if want := x.Header.Get("X-Claude-Code-Session-Id"); u.Session != want || want == "" || !u.Success {
			s.Errorf("sent session %q, recorded %+v", want, u)
		}
	}
}

func TestMappedCLIText(t *testing.T) {
	eachMapped(t, func(s *stage) {
		s.up.Default(up.Reply(up.Thinking("sig==", "Hm."), up.Text("PINE", "APPLE – 菠萝")).Usage(counted))
		r := s.claude(with(asToken), "Name a fruit", "--output-format", "json")
		s.checkClaude(r, "PINEAPPLE – 菠萝")
		var got struct {
			IsError bool `json:"is_error"`
			Usage   struct {
				Input     int64 `json:"input_tokens"`
				CacheRead int64 `json:"cache_read_input_tokens"`
			}
		}
		s.noError(json.Unmarshal([]byte(r.out), &got))
		if got.IsError || got.Usage.Input != 11 || got.Usage.CacheRead != 2000 {
			s.Errorf("Claude Code counted %+v", got)
		}
		if s.checkUsage("/v1/messages", 1, counted); !s.last().has("user", "Name a fruit") {
			s.Errorf("the upstream got %q", s.last().Turns)
		}
	})
}

// TestMappedCLITool: Claude Code runs the command that an OpenAI model asks for.
func TestMappedCLITool(t *testing.T) {
	eachMapped(t, func(s *stage) {
		s.up.Default(s.toolThenText("Bash", `{"command":"echo sluice-$((40+2))","description":"Print a word"}`, "It printed a word: MANGO"))
		s.checkClaude(s.claude(with(asToken), "Print a word", "--allowedTools", "Bash"), "MANGO")
		s.wantReached(2)
		if !s.last().has("result 1", "sluice-42") {
			s.Errorf("the upstream got %q", s.last().Turns)
		}
	})
}

// TestMappedCLIErrors: what passes is mended, and what does not ends soon in words that Claude Code knows.
func TestMappedCLIErrors(t *testing.T) {
	eachMapped(t, func(s *stage) {
		s.up.Queue(up.Events(6).Cut(up.AfterDeltas(2), up.EndClean), up.Overloaded())
		s.up.Default(up.Reply(up.Text("PAPAYA")))
		r := s.claude(with(asToken), "Name a fruit")
		if r.exit != nil || strings.TrimSpace(r.out) != "PAPAYA" {
			s.Fatal(r)
		}
		s.wantStatuses("/v1/messages", http.StatusOK, http.StatusOK)
		s.wantReached(3)

		s.up.Default(up.PromptTooLong(210_000, 200_000))
		if r := s.claude(with(asToken), "Name a fruit"); r.exit == nil || !strings.Contains(r.out+r.errs, "Prompt is too long") {
			s.Error(r)
		}
	})
}
