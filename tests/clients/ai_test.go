package clients_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// provider is a package of the AI SDK, with one of its APIs.
type provider struct{ name, endpoint string }

var providers = []provider{
	{"chat", "/v1/chat/completions"},
	{"responses", "/v1/responses"},
	{"compatible", "/v1/chat/completions"},
	{"anthropic", "/v1/messages"},
}

// eachProvider runs a test for each provider on a stage of each kind.
func eachProvider(t *testing.T, kinds []kind, test func(s *stage, p provider)) {
	t.Helper()
	t.Parallel()
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			each(t, kinds, func(s *stage) {
				if p.name == "anthropic" {
					s.asClaude()
				}
				test(s, p)
			})
		})
	}
}

// ai runs a script with the AI SDK.
func (s *stage) ai(script string, p provider, stream bool, more object) (got nodeAnswer, err error) {
	s.Helper()
	args := object{"provider": p.name, "model": s.model, "stream": stream}
	for k, v := range more {
		args[k] = v
	}
	err = s.script(script, "", args, &got)
	return got, err
}

// TestAIText: a text with an image in the question.
func TestAIText(t *testing.T) {
	eachProvider(t, allKinds, func(s *stage, p provider) {
		s.up.Default(up.Reply(up.Text("Grüße, ", "\"Welt\"", " 你好")).Usage(counted))
		s.ways(func(s *stage, stream bool) {
			got, err := s.ai("ai-text.mjs", p, stream, object{"question": "What is this \u00e9 <b>?", "image": pixel})
			s.noError(err)
			if got.Text != "Grüße, \"Welt\" 你好" || got.Stop != "stop" || got.Usage.Input != countedInput || got.Usage.Output != 7 || got.Usage.Details.Cached != 2000 {
				s.Errorf("got %+v", got)
			}
			if there := s.last(); !there.has("image", pixel) || !there.has("system", "Be brief.") {
				s.Errorf("the upstream got %q", there.Turns)
			}
		})
		s.checkSaid()
		s.checkUsage(p.endpoint, 2, counted)
	})
}

func TestAITools(t *testing.T) {
	eachProvider(t, allKinds, func(s *stage, p provider) {
		s.up.Default(s.toolThenText("weather", `{"city":"Zürich"}`, "Sunny."))
		s.ways(func(s *stage, stream bool) {
			got, err := s.ai("ai-tools.mjs", p, stream, nil)
			s.noError(err)
			if got.Text != "Sunny." || got.Steps != 2 || len(got.Inputs) != 1 || got.Inputs[0]["city"] != "Zürich" {
				s.Errorf("got %+v", got)
			}
			if there := s.last(); !there.has("result 1", "22 degrees in Zürich") {
				s.Errorf("the upstream got %q", there.Turns)
			}
		})
		s.checkSaid()
		s.wantReached(4)
	})
}

func TestAIObject(t *testing.T) {
	eachProvider(t, allKinds, func(s *stage, p provider) {
		s.up.Default(s.objectAnswer(`{"fruit":"quince"}`))
		got, err := s.ai("ai-object.mjs", p, true, object{"schema": fruit})
		s.noError(err)
		if got.Object["fruit"] != "quince" {
			s.Errorf("got %+v", got)
		}
		s.checkSaid()
	})
}

// objectAnswer is an object as text or, where the client asks for a tool to bring it, as that tool's input.
func (s *stage) objectAnswer(text string) up.Behaviour {
	return up.Func(func(r up.Request) up.Behaviour {
		for name := range read(s.T, r.Path, r.Body).Tools {
			return up.Reply(up.ToolUse("call_1", name, text[:4], text[4:]))
		}
		return up.Reply(up.Text(text[:4], text[4:]))
	})
}

// TestAIErrors: what no attempt can mend is an error at once, a limit is waited out, and a stream that breaks is an error.
func TestAIErrors(t *testing.T) {
	eachProvider(t, allKinds, func(s *stage, p provider) {
		s.up.Queue(up.PromptTooLong(210_000, 200_000), up.RateLimited(time.Second), up.Reply(up.Text("recovered")),
			up.Events(5).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"), up.Events(5).Cut(up.AfterDeltas(2), up.EndClean))
		var got struct {
			Ends []struct {
				Text, Name, Message string
				Status              int
			}
		}
		s.noError(s.script("ai-errors.mjs", "", object{"provider": p.name, "model": s.model, "retries": 2, "streams": []bool{false, true, true, true}}, &got))
		s.wantReached(5)
		if len(got.Ends) != 4 {
			s.Fatalf("got %+v", got)
		}
		if e := got.Ends[0]; e.Status != http.StatusBadRequest || e.Name != "AI_APICallError" || e.Message == "" {
			s.Errorf("a prompt that is too long: %+v", e)
		}
		if e := got.Ends[1]; e.Text != "recovered" {
			s.Errorf("a limit: %+v", e)
		}
		for _, e := range got.Ends[2:] {
			if !strings.Contains(e.Message, `after "tok0 tok1 "`) {
				s.Errorf("a broken stream: %+v", e)
			}
		}
	})
}
