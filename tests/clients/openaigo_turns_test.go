package clients_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// counted is what an upstream of either vendor can report. Everywhere else input includes what is read from a cache or
// written to one.
var counted = up.Usage{Input: 11, CacheRead: 2000, CacheWrite5m: 300, Output: 7}

const countedInput = 11 + 2000 + 300

// pixel is a picture of one point.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// fruit is a schema that every upstream takes as strict.
var fruit = object{"type": "object", "properties": object{"fruit": object{"type": "string"}}, "required": []string{"fruit"}, "additionalProperties": false}

// TestD32OpenAIGoText: the same words, counts and names in both APIs, streamed or whole, whatever the node speaks.
func TestD32OpenAIGoText(t *testing.T) {
	eachAPI(t, append(slices.Clone(allKinds), bothNode), func(s *stage, a api, open func(talkOptions) talk) {
		const text = "Grüße, \"Welt\" – 你好 </s>\n\ttab"
		s.up.Default(up.Reply(up.Text("Grüße, ", "\"Welt\" – ", "你好 ", "</s>\n\ttab")).Usage(counted))
		var answers []answer
		s.ways(func(s *stage, stream bool) {
			c := open(talkOptions{system: "Be brief.", usage: true})
			c.say("Hello \u00e9\u4f60 <b>&</b>")
			got, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if got.text != text || got.model != s.model || got.input != countedInput || got.cached != 2000 || got.output != 7 || got.id == "" {
				s.Errorf("got %+v", got)
			}
			if want := map[string]string{"Chat": "stop", "Responses": "completed"}[a.name]; got.stop != want {
				s.Errorf("it ended with %q", got.stop)
			}
			got.chunks, got.usages, got.id = 0, 0, ""
			answers = append(answers, got)
		})
		if fmt.Sprint(answers[0]) != fmt.Sprint(answers[1]) {
			s.Errorf("the accumulated stream is not the whole answer: %+v and %+v", answers[0], answers[1])
		}
		s.checkSaid()
		s.checkUsage(a.endpoint, 2, counted)
		for _, x := range s.asked() {
			if got := x.Answer.Get("X-Request-Id"); !strings.HasPrefix(got, "req_") || x.Answer.Get("X-Proxy-Node") != "first" {
				s.Errorf("x-request-id %q, x-proxy-node %q", got, x.Answer.Get("X-Proxy-Node"))
			}
		}
	})
}

// TestOpenAIGoAlias: a client goes on seeing the name that it asked for, also where the upstream's bytes pass.
func TestOpenAIGoAlias(t *testing.T) {
	eachAPI(t, allKinds, func(s *stage, _ api, open func(talkOptions) talk) {
		const alias = "the-usual"
		s.mapModels(alias, s.model)
		s.ways(func(s *stage, stream bool) {
			c := open(talkOptions{model: alias})
			c.say("Hello")
			got, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if got.model != alias || got.text != "Hello there!" {
				s.Errorf("got %+v", got)
			}
		})
		s.checkSaid()
	})
}

// TestD35OpenAIGoTools: two calls at once, their results, and the final answer. The arguments are put together by the SDK.
func TestD35OpenAIGoTools(t *testing.T) {
	eachAPI(t, append(slices.Clone(allKinds), bothNode), func(s *stage, a api, open func(talkOptions) talk) {
		s.up.Default(up.Func(func(r up.Request) up.Behaviour {
			if read(s.T, r.Path, r.Body).has("result", "") {
				return up.Reply(up.Text("Sunny in both."))
			}
			return up.Reply(up.Text("Let me see."), up.ToolUse("call_a", "weather", `{"ci`, `ty":"Zürich"`, `}`), up.ToolUse("call_b", "forecast", `{"city":`, `"Basel"}`))
		}))
		s.ways(func(s *stage, stream bool) {
			c := open(talkOptions{tools: []string{"weather", "forecast"}})
			c.say("How is the weather?")
			got, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if len(got.calls) != 2 || got.text != "Let me see." || a.name == "Chat" && got.stop != "tool_calls" {
				s.Fatalf("got %+v", got)
			}
			for i, want := range []madeCall{{"", "weather", `{"city":"Zürich"}`}, {"", "forecast", `{"city":"Basel"}`}} {
				if c := got.calls[i]; c.name != want.name || parsed(c.arguments) != want.arguments || c.id == "" {
					s.Errorf("call %d: %+v", i, c)
				}
			}
			for i, call := range got.calls {
				c.result(call.id, fmt.Sprintf("%d degrees", 20+i))
			}
			last, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if last.text != "Sunny in both." || len(last.calls) != 0 {
				s.Errorf("got %+v", last)
			}
			if there := s.last(); !there.has("result 1", "20 degrees") || !there.has("result 2", "21 degrees") || !there.has("assistant", "Let me see.") {
				s.Errorf("the upstream got %q", there.Turns)
			}
		})
		s.checkSaid()
		s.wantReached(4)
	})
}

func TestD37OpenAIGoImage(t *testing.T) {
	eachAPI(t, allKinds, func(s *stage, _ api, open func(talkOptions) talk) {
		c := open(talkOptions{})
		c.show("What is this?", "data:image/png;base64,"+pixel)
		_, err := c.turn(within(s.T, patience), true)
		s.noError(err)
		if there := s.last(); !there.has("image", "data:image/png;base64,"+pixel) {
			s.Errorf("the upstream got %q", there.Turns)
		}
		s.checkSaid()
	})
}

func TestD37OpenAIGoStructured(t *testing.T) {
	eachAPI(t, allKinds, func(s *stage, _ api, open func(talkOptions) talk) {
		s.up.Default(up.Reply(up.Text(`{"fruit":`, `"quince"}`)))
		s.ways(func(s *stage, stream bool) {
			c := open(talkOptions{schema: fruit})
			c.say("Name a fruit.")
			got, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			if got.text != `{"fruit":"quince"}` {
				s.Errorf("got %+v", got)
			}
		})
		if there := s.last(); there.Schema != canonical(fruit) {
			s.Errorf("the upstream got the schema %s", there.Schema)
		}
		s.checkSaid()
	})
}

// TestD34OpenAIGoUsage: the usage chunk comes to those who ask for it, once and last; the gateway counts in any case.
func TestD34OpenAIGoUsage(t *testing.T) {
	each(t, allKinds, func(s *stage) {
		s.up.Default(up.Reply(up.Text("one", "two")).Usage(counted))
		for _, asked := range []bool{true, false} {
			o := talkOptions{usage: asked, model: s.model}
			c := newChatTalk(s.openAI(o), o)
			c.say("Hello")
			got, err := c.turn(within(s.T, patience), true)
			s.noError(err)
			if (got.usages == 1) != asked || got.usages > 1 || got.text != "onetwo" {
				s.Errorf("asked for usage: %t; got it in %d chunks: %+v", asked, got.usages, got)
			}
		}
		for i, x := range s.asked() {
			events := strings.Split(strings.TrimSpace(x.Text), "\n\n")
			if n := len(events); events[n-1] != "data: [DONE]" || strings.Contains(events[n-2], `"choices":[]`) != (i == 0) {
				s.Errorf("on the wire: %q", events)
			}
		}
		s.checkUsage("/v1/chat/completions", 2, counted)
	})
}

// TestOpenAIGoThinking: what a model thinks comes back upstream as it was, through a client that keeps what it is given.
func TestOpenAIGoThinking(t *testing.T) {
	each(t, []kind{anthropicNode, responsesNode}, func(s *stage) {
		const signature = "EqMBCkYIBxgC+/aa=="
		s.up.Default(up.Reply(up.Thinking(signature, "Let me ", "think <é>."), up.Text("Done")))
		s.ways(func(s *stage, stream bool) {
			c := newResponsesTalk(s.openAI(talkOptions{}), talkOptions{model: s.model}).(*responsesTalk)
			c.p.Include = append(c.p.Include, "reasoning.encrypted_content")
			c.say("Think")
			_, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			c.say("Go on")
			got, err := c.turn(within(s.T, patience), stream)
			s.noError(err)
			all := s.arrived()
			if body := string(all[len(all)-1].Body); got.text != "Done" || !strings.Contains(body, signature) || !strings.Contains(body, "think <é>.") {
				s.Errorf("got %+v, the upstream %s", got, body)
			}
		})
		s.checkSaid()
	})
}

func TestOpenAIGoModels(t *testing.T) {
	each(t, allKinds, func(s *stage) {
		c := s.openAI(talkOptions{})
		var ids []string
		pages := c.Models.ListAutoPaging(within(s.T, patience))
		for pages.Next() {
			ids = append(ids, pages.Current().ID)
		}
		s.noError(pages.Err())
		if !slices.Contains(ids, s.model) {
			s.Errorf("listed %v", ids)
		}
		m, err := c.Models.Get(within(s.T, patience), s.model)
		if err != nil || m.ID != s.model {
			s.Errorf("got %+v, %v", m, err)
		}
		if got := s.tap.statuses("/v1/models"); len(got) != 1 || got[0] != http.StatusOK {
			s.Errorf("statuses %v", got)
		}
	})
}
