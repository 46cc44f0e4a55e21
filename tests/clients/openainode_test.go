package clients_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// nodeAnswer is what the scripts with OpenAI's SDK and the AI SDK print: the fields of all of them.
type nodeAnswer struct {
	Text, Stop, Model string
	Usage             struct {
		Input   int64 `json:"prompt_tokens"`
		Output  int64 `json:"completion_tokens"`
		Details struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
	Inputs []object // of the tool calls
	IDs    []string
	ID     string
	Object object
	Steps  int
}

// nodeAPI is one of the two APIs of the TypeScript SDK.
type nodeAPI struct {
	name, endpoint string
	turn, loop     string // the scripts
}

var nodeAPIs = []nodeAPI{
	{"Chat", "/v1/chat/completions", "openai-chat.mjs", "openai-run-tools.mjs"},
	{"Responses", "/v1/responses", "openai-responses.mjs", "openai-loop.mjs"},
}

// params asks for a short answer to a question.
func (a *nodeAPI) params(s *stage, question any) object {
	messages := []object{{"role": "user", "content": question}}
	if a.endpoint == "/v1/responses" {
		return object{"model": s.model, "input": messages, "instructions": "Be brief.", "store": false}
	}
	return object{"model": s.model, "messages": append([]object{{"role": "system", "content": "Be brief."}}, messages...)}
}

// picture is a question with an image.
func (a *nodeAPI) picture() []object {
	const url = "data:image/png;base64," + pixel
	if a.endpoint == "/v1/responses" {
		return []object{{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": url, "detail": "auto"}}
	}
	return []object{{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": object{"url": url}}}
}

// structured makes params ask for an object.
func (a *nodeAPI) structured(params object) object {
	if a.endpoint == "/v1/responses" {
		params["text"] = object{"format": object{"type": "json_schema", "name": "fruit", "schema": fruit, "strict": true}}
	} else {
		params["response_format"] = object{"type": "json_schema", "json_schema": object{"name": "fruit", "schema": fruit, "strict": true}}
	}
	return params
}

func eachNodeAPI(t *testing.T, kinds []kind, test func(s *stage, a nodeAPI)) {
	t.Helper()
	t.Parallel()
	for _, a := range nodeAPIs {
		t.Run(a.name, func(t *testing.T) { each(t, kinds, func(s *stage) { test(s, a) }) })
	}
}

func TestOpenAINodeText(t *testing.T) {
	eachNodeAPI(t, append(slices.Clone(allKinds), bothNode), func(s *stage, a nodeAPI) {
		s.up.Default(up.Reply(up.Text("Grüße, ", "\"Welt\"", " 你好")).Usage(counted))
		s.ways(func(s *stage, stream bool) {
			var got nodeAnswer
			s.noError(s.script(a.turn, "", object{"stream": stream, "params": a.params(s, "Hello \u00e9 <b>")}, &got))
			if got.Text != "Grüße, \"Welt\" 你好" || got.Model != s.model || got.Usage.Input != countedInput || got.Usage.Output != 7 || got.Usage.Details.Cached != 2000 {
				s.Errorf("got %+v", got)
			}
			if want := map[string]string{"Chat": "stop", "Responses": "completed"}[a.name]; got.Stop != want {
				s.Errorf("it ended with %q", got.Stop)
			}
		})
		s.checkSaid()
		s.checkUsage(a.endpoint, 2, counted)
	})
}

// TestOpenAINodeTools: the SDK's own loop for chat, and one over responses.
func TestOpenAINodeTools(t *testing.T) {
	eachNodeAPI(t, allKinds, func(s *stage, a nodeAPI) {
		s.up.Default(s.toolThenText("weather", `{"city":"Zürich"}`, "Sunny."))
		s.ways(func(s *stage, stream bool) {
			var got nodeAnswer
			s.noError(s.script(a.loop, "", object{"stream": stream, "model": s.model}, &got))
			if got.Text != "Sunny." || len(got.Inputs) != 1 || got.Inputs[0]["city"] != "Zürich" {
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

func TestOpenAINodeImageAndStructured(t *testing.T) {
	eachNodeAPI(t, allKinds, func(s *stage, a nodeAPI) {
		s.up.Default(up.Reply(up.Text(`{"fruit":`, `"quince"}`)))
		var got nodeAnswer
		s.noError(s.script(a.turn, "", object{"stream": true, "params": a.structured(a.params(s, a.picture()))}, &got))
		if there := s.last(); got.Text != `{"fruit":"quince"}` || there.Schema != canonical(fruit) || !there.has("image", pixel) {
			s.Errorf("got %+v, the upstream %q, %s", got, there.Turns, there.Schema)
		}
		s.checkSaid()
	})
}

func TestOpenAINodeModels(t *testing.T) {
	each(t, allKinds, func(s *stage) {
		var got nodeAnswer
		s.noError(s.script("openai-models.mjs", "", object{"id": s.model}, &got))
		if !slices.Contains(got.IDs, s.model) || got.ID != s.model {
			s.Errorf("got %+v", got)
		}
	})
}

func TestD36OpenAINodeErrors(t *testing.T) {
	for _, tt := range []struct {
		name      string
		behaviour up.Behaviour
		key       string
		status    int
		class     string
		code      string
	}{
		{"WrongKey", up.Behaviour{}, "API_KEY=no-such-key-anywhere-1", 401, "AuthenticationError", "invalid_api_key"},
		{"NotFound", up.Status(404, "model: gone"), "", 404, "NotFoundError", "model_not_found"},
		{"TooLong", up.PromptTooLong(210_000, 200_000), "", 400, "BadRequestError", "context_length_exceeded"},
		{"Page", up.HTMLPage(), "", 502, "InternalServerError", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachNodeAPI(t, allKinds, func(s *stage, a nodeAPI) {
				s.up.Default(tt.behaviour)
				err := s.script(a.turn, tt.key, object{"stream": true, "params": a.params(s, "Hello")}, nil)
				var e *nodeError
				if !errors.As(err, &e) || e.Status != tt.status || !slices.Contains(e.Classes, tt.class) || tt.code != "" && e.Code != tt.code {
					s.Fatalf("got %v", err)
				}
				if x := s.asked()[0]; e.RequestID != x.Answer.Get("X-Request-Id") || e.RequestID == "" {
					s.Errorf("the error names request %q, the answer %q", e.RequestID, x.Answer.Get("X-Request-Id"))
				}
			})
		})
	}
}

// TestD40OpenAINodeRateLimit: as in Go.
func TestD40OpenAINodeRateLimit(t *testing.T) {
	eachNodeAPI(t, allKinds, func(s *stage, a nodeAPI) {
		s.up.Queue(up.RateLimited(6 * time.Second))
		s.up.Default(up.Reply(up.Text("recovered")))
		var got nodeAnswer
		s.noError(s.script(a.turn, "", object{"stream": true, "retries": 2, "params": a.params(s, "Hello")}, &got))
		want := []int{http.StatusTooManyRequests, http.StatusOK}
		if a.name == "Responses" {
			want = want[1:]
		}
		s.wantStatuses(a.endpoint, want...)
		if got.Text != "recovered" {
			s.Errorf("got %+v", got)
		}
	})
}

// TestD33OpenAINodeBrokenStreams: an error in the stream raises, and a cut does.
func TestD33OpenAINodeBrokenStreams(t *testing.T) {
	for _, tt := range []struct {
		name      string
		behaviour up.Behaviour
	}{
		{"ErrorEvent", up.Events(5).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded")},
		{"Cut", up.Events(5).Cut(up.AfterDeltas(2), up.EndClean)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachNodeAPI(t, allKinds, func(s *stage, a nodeAPI) {
				s.up.Default(tt.behaviour)
				err := s.script(a.turn, "", object{"stream": true, "retries": 2, "params": a.params(s, "Hello")}, nil)
				if err == nil || !strings.Contains(err.Error(), `after "tok0 tok1 "`) {
					s.Errorf("got %v", err)
				}
				s.wantReached(1)
			})
		})
	}
}
