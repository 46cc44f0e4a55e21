package clients_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// nodeResult is what a script of the folder node prints: the fields of all of them.
type nodeResult struct {
	Text       string
	Message    nodeMessage
	RequestID  string `json:"request_id"`
	Events     []string
	Stop, ID   string
	Input      json.RawMessage
	Tokens     int64
	IDs        []string
	Name       string
	Status     string
	ResultsURL string `json:"results_url"`
	Listed     []string
	Results    map[string]string
	Gone       string
	Content    string
}

type nodeMessage struct {
	Model      string
	StopReason string `json:"stop_reason"`
	Content    []map[string]any
	Usage      struct {
		Input      int64 `json:"input_tokens"`
		Output     int64 `json:"output_tokens"`
		CacheRead  int64 `json:"cache_read_input_tokens"`
		CacheWrite int64 `json:"cache_creation_input_tokens"`
	}
}

// nodeError is an error that a client threw. Classes are all of its error classes that it belongs to.
type nodeError struct {
	Classes   []string
	Status    int
	Type      string
	Code      string
	RequestID string `json:"request_id"`
	Message   string
}

func (e *nodeError) Error() string {
	return fmt.Sprintf("%v %d %s: %s", e.Classes, e.Status, e.Type, e.Message)
}

// node runs a script with Anthropic's TypeScript SDK. credential is NAME=VALUE; empty is API_KEY with the gateway's key.
// The error is a *nodeError.
func (f *fixture) node(script, credential string, args any) (nodeResult, error) {
	f.Helper()
	var out nodeResult
	err := f.script(script, credential, args, &out)
	return out, err
}

// script runs a script of the folder node in an empty environment, and decodes what it reports into out. The error is the
// *nodeError that it reports instead; a script that fails otherwise fails the test.
func (f *fixture) script(name, credential string, args, out any) error {
	f.Helper()
	if credential == "" {
		credential = "API_KEY=" + proxyKey
	}
	program, err := exec.LookPath("node")
	if err != nil {
		f.Fatalf("node is missing: %v", err)
	}
	data, err := json.Marshal(args)
	f.noError(err)
	cmd := exec.CommandContext(within(f.T, patience), program, filepath.Join("node", name), string(data))
	cmd.Env = []string{"HOME=" + f.TempDir(), "BASE_URL=" + f.tap.URL, credential}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	printed, err := cmd.Output()
	var result struct {
		OK    json.RawMessage
		Error *nodeError
	}
	if err != nil || json.Unmarshal(printed, &result) != nil || (result.OK == nil) == (result.Error == nil) {
		f.Fatalf("%s: %v\nis the SDK installed? install.sh does that\nstdout: %s\nstderr: %s", name, err, printed, &stderr)
	}
	if result.Error != nil {
		return result.Error
	}
	if err := json.Unmarshal(result.OK, out); err != nil {
		f.Fatalf("%s: %v: %s", name, err, result.OK)
	}
	return nil
}

// object is a JSON object.
type object = map[string]any

// ask is the parameters of a short message.
func ask(more object) object {
	params := object{"model": model, "max_tokens": 1024, "messages": []object{{"role": "user", "content": "Hello \u00e9 <b>"}}}
	for k, v := range more {
		params[k] = v
	}
	return params
}

// script is the one for a message, streamed or not.
func script(stream bool) string {
	if stream {
		return "stream.mjs"
	}
	return "create.mjs"
}

func TestNodeSDKText(t *testing.T) {
	for _, tt := range []struct {
		name, credential, why string
	}{
		{"Key", "API_KEY=" + proxyKey, "since its version 1 the SDK sends API keys as bearer tokens"},
		{"Token", "AUTH_TOKEN=" + proxyKey, "a token is a bearer token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			f.up.Default(up.Reply(up.Thinking("sig==", "So "), up.Text("Grüße, ", "\"Welt\"", " 你好")).Usage(reported))
			var messages []nodeMessage
			bothWays(f, func(f *fixture, stream bool) {
				r, err := f.node(script(stream), tt.credential, object{"params": ask(object{"system": []object{{"type": "text", "text": "one"}, {"type": "text", "text": "two"}}})})
				f.noError(err)
				u := r.Message.Usage
				if r.Text != "Grüße, \"Welt\" 你好" || r.Message.StopReason != "end_turn" || u.Input != 11 || u.Output != 7 || u.CacheRead != 2000 || u.CacheWrite != 340 {
					f.Errorf("got %+v", r)
				}
				if stream && (slices.Contains(r.Events, "ping") || r.Events[0] != "message_start" || r.Events[len(r.Events)-1] != "message_stop") {
					f.Errorf("events %v", r.Events)
				}
				all := f.tap.exchanges("/v1/messages")
				x := all[len(all)-1]
				if r.RequestID != x.Answer.Get("Request-Id") {
					f.Errorf("the SDK gives out request id %q, the answer had %q", r.RequestID, x.Answer.Get("Request-Id"))
				}
				if x.Header.Get("Authorization") != "Bearer "+proxyKey || x.Header.Get("X-Api-Key") != "" {
					f.Errorf("%s: x-api-key %q, authorization %q", tt.why, x.Header.Get("X-Api-Key"), x.Header.Get("Authorization"))
				}
				messages = append(messages, r.Message)
			})
			if fmt.Sprint(messages[0]) != fmt.Sprint(messages[1]) {
				f.Errorf("finalMessage is not the whole message: %+v and %+v", messages[0], messages[1])
			}
			f.checkPassed()
			f.checkIDs()
			for _, u := range f.gw.usages("/v1/messages", 2) {
				checkTokens(f.T, u, reported)
			}
		})
	}
}

func TestNodeSDKTools(t *testing.T) {
	f := setUp(t)
	f.up.Default(up.ToolThenText("weather", `{"city":"Zürich"}`, "Sunny."))
	bothWays(f, func(f *fixture, stream bool) {
		r, err := f.node("tools.mjs", "", object{"model": model, "stream": stream})
		f.noError(err)
		if r.Stop != "tool_use" || string(r.Input) != `{"city":"Zürich"}` || r.Text != "Sunny." {
			f.Errorf("got %+v", r)
		}
		if got := content(f.T, f.up.Last(), 2); got[0]["tool_use_id"] != r.ID || got[0]["content"] != "22 degrees" {
			f.Errorf("the upstream got %v", got)
		}
	})
	f.checkPassed()
	f.wantUpstream(4)
}

func TestNodeSDKCountTokens(t *testing.T) {
	f := setUp(t)
	r, err := f.node("count.mjs", "", object{"params": object{"model": model, "messages": []object{{"role": "user", "content": strings.Repeat("word ", 50)}}}})
	f.noError(err)
	if want := up.CountTokens(f.up.Last().Body); r.Tokens != want {
		f.Errorf("got %d tokens, want %d", r.Tokens, want)
	}
	f.checkPassed()
}

func TestNodeSDKModels(t *testing.T) {
	f := setUp(t)
	r, err := f.node("models.mjs", "", object{"limit": 5, "id": model})
	f.noError(err)
	if len(r.IDs) < 6 || !slices.Contains(r.IDs, model) || r.Name != "Claude Sonnet 5.5" {
		f.Errorf("got %+v", r)
	}
	f.checkPassed()
}

// TestNodeSDKBatches: this SDK follows results_url wherever it leads. It must lead to the gateway: the upstream would be
// sent the client's key, and refuse it.
func TestNodeSDKBatches(t *testing.T) {
	serverOnly(t, "results_url is https there, and leads past the tap")
	f := setUp(t)
	f.up.Default(up.Reply(up.Text("batched")))
	r, err := f.node("batches.mjs", "", object{"model": model})
	f.noError(err)
	if r.Status != "ended" || fmt.Sprint(r.Results) != "map[one:batched two:batched]" || !slices.Equal(r.Listed, []string{r.ID}) || r.Gone != "message_batch_deleted" {
		f.Errorf("got %+v", r)
	}
	for _, got := range f.up.Requests() {
		checkCredential(f.T, got)
	}
	if got := f.tap.statuses("/v1/messages/batches/" + r.ID + "/results"); !slices.Equal(got, []int{http.StatusOK}) {
		f.Errorf("the results were fetched from %s: past the gateway", r.ResultsURL)
	}
}

func TestNodeSDKFiles(t *testing.T) {
	f := setUp(t)
	r, err := f.node("files.mjs", "", object{"content": "line é\n"})
	f.noError(err)
	if r.Name != "notes.txt" || r.Content != "line é\n" || r.Gone != "file_deleted" {
		f.Errorf("got %+v", r)
	}
	f.checkPassed()
}

func TestNodeSDKErrors(t *testing.T) {
	for _, tt := range []struct {
		name, why  string
		behaviour  up.Behaviour
		credential string
		status     int
		class      string
		kind       string
		wording    string
	}{
		{"WrongKey", "the gateway's own", up.Behaviour{}, "API_KEY=no-such-key-anywhere-1", 401, "AuthenticationError", "authentication_error", "key"},
		{"WrongToken", "the gateway's own", up.Behaviour{}, "AUTH_TOKEN=no-such-key-anywhere-1", 401, "AuthenticationError", "authentication_error", "key"},
		{"PromptTooLong", "an upstream's 400", up.PromptTooLong(2, 1), "", 400, "BadRequestError", "invalid_request_error", "prompt is too long: 2 tokens > 1 maximum"},
		{"NotFound", "an upstream's 404", up.Status(404, "model: gone"), "", 404, "NotFoundError", "not_found_error", "model: gone"},
		{"TooLarge", "an upstream's 413", up.Status(413, ""), "", 413, "ContentTooLargeError", "request_too_large", ""},
		{"RateLimit", "429 without retries", up.RateLimited(7 * time.Second), "", 429, "RateLimitError", "rate_limit_error", ""},
		{"Overloaded", "529 maps to its own class (D29)", up.Overloaded(), "", 529, "OverloadedError", "overloaded_error", "Overloaded"},
		{"Page", "an upstream that talks nonsense is the gateway's 502", up.HTMLPage(), "", 502, "InternalServerError", "api_error", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			f.up.Default(tt.behaviour)
			bothWays(f, func(f *fixture, stream bool) {
				_, err := f.node(script(stream), tt.credential, object{"params": ask(nil)})
				var e *nodeError
				if !errors.As(err, &e) || e.Status != tt.status || !slices.Contains(e.Classes, tt.class) || !slices.Contains(e.Classes, "APIError") ||
					e.Type != tt.kind || !strings.Contains(e.Message, tt.wording) {
					f.Fatalf("%s: got %v", tt.why, err)
				}
				all := f.tap.exchanges("")
				if id := all[len(all)-1].Answer.Get("Request-Id"); e.RequestID != id || id == "" {
					f.Errorf("the error names request %q, the answer %q", e.RequestID, id)
				}
			})
			f.checkIDs()
		})
	}
}

// TestNodeSDKRecovers: the SDK's retries and the gateway's mend what passes.
func TestNodeSDKRecovers(t *testing.T) {
	for _, tt := range []struct {
		name     string
		queue    []up.Behaviour
		statuses []int
	}{
		{"RateLimit", []up.Behaviour{up.RateLimited(time.Second)}, []int{200}},
		{"RateLimitLonger", []up.Behaviour{up.RateLimited(6 * time.Second)}, []int{429, 200}},
		{"Overloaded", []up.Behaviour{up.Overloaded()}, []int{200}},
		{"OverloadedLonger", []up.Behaviour{up.Overloaded(), up.Overloaded(), up.Overloaded()}, []int{529, 200}},
		{"ErrorFirst", []up.Behaviour{up.Events(2).ErrorAt(up.AfterStart, "overloaded_error", "Overloaded")}, []int{200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			f.up.Queue(tt.queue...)
			f.up.Default(up.Reply(up.Text("recovered")))
			r, err := f.node("stream.mjs", "", object{"params": ask(nil), "retries": 2})
			f.noError(err)
			if r.Text != "recovered" {
				f.Errorf("got %+v", r)
			}
			f.wantStatuses("/v1/messages", tt.statuses...)
		})
	}
}

// TestNodeSDKBrokenStreams: an error event raises APIError (D29), and a cut never ends like a whole message (D12).
func TestNodeSDKBrokenStreams(t *testing.T) {
	whole := up.Events(5)
	for _, tt := range []struct {
		name      string
		behaviour up.Behaviour
		kind      string
	}{
		{"ErrorEvent", whole.ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"), "overloaded_error"},
		{"CleanEnd", whole.Cut(up.AfterDeltas(2), up.EndClean), "api_error"},
		{"InsideEvent", whole.CutInside(up.AfterDeltas(2), up.EndClose), "api_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			f.up.Default(tt.behaviour)
			_, err := f.node("stream.mjs", "", object{"params": ask(nil), "retries": 2})
			var e *nodeError
			if !errors.As(err, &e) || !slices.Contains(e.Classes, "APIError") || e.Type != tt.kind || !strings.Contains(e.Message, `after "tok0 tok1 "`) {
				f.Errorf("got %v", err)
			}
			f.wantUpstream(1)
		})
	}
}

// TestD31NodeSDK: as in Go, the SDK refuses a long answer that is not streamed unless it is given a timeout.
func TestD31NodeSDK(t *testing.T) {
	f := setUp(t)
	long := ask(object{"max_tokens": 128_000})
	if _, err := f.node("create.mjs", "", object{"params": long}); err == nil || !strings.Contains(err.Error(), "10 minutes") {
		f.Errorf("got %v", err)
	}
	f.wantUpstream(0)
	if _, err := f.node("create.mjs", "", object{"params": long, "options": object{"timeout": 1_200_000}}); err != nil {
		f.Error(err)
	}
	if _, err := f.node("stream.mjs", "", object{"params": long}); err != nil {
		f.Error(err)
	}
	f.wantStatuses("/v1/messages", http.StatusOK, http.StatusOK)
}
