package upstreamtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	. "sluice/shared/upstream/upstreamtest"
)

const (
	chatStream   = `{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},"messages":[{"role":"user","content":"hi"}]}`
	chatPlain    = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`
	respStream   = `{"model":"gpt-6-sol","stream":true,"store":false,"include":["reasoning.encrypted_content"],"stream_options":{"include_obfuscation":false},"input":"hi"}`
	respPlain    = `{"model":"gpt-6-sol","input":"hi","include":["reasoning.encrypted_content"]}`
	chatPath     = "/v1/chat/completions"
	responsePath = "/v1/responses"
)

func openAIRequest(t *testing.T, o *OpenAI, method, path, body string) *http.Request {
	t.Helper()
	r := newRequest(t, deadline(t), method, o.URL+path, body)
	r.Header.Del("X-Api-Key")
	r.Header.Del("Anthropic-Version")
	r.Header.Set("Authorization", "Bearer k")
	return r
}

// askOpenAI answers one request of the given body, sent to where it belongs.
func askOpenAI(t *testing.T, b Behaviour, body string) reply {
	t.Helper()
	o := NewOpenAI(t)
	o.Default(b)
	path := chatPath
	if strings.Contains(body, `"input":`) {
		path = responsePath
	}
	return do(t, openAIRequest(t, o, http.MethodPost, path, body))
}

// fixed replaces what differs for each request.
func fixed(body string) string {
	body = regexp.MustCompile(`01[0-9A-Za-z]{22}`).ReplaceAllString(body, "ID")
	return regexp.MustCompile(`"(created|created_at|completed_at)":\d{10}`).ReplaceAllString(body, `"$1":1`)
}

func TestD34_ChatTextStream(t *testing.T) {
	b := Reply(Text("Hi", " <b>")).Usage(Usage{Input: 3, CacheRead: 4, CacheWrite5m: 5, Output: 2, Thinking: 1})
	got := askOpenAI(t, b, chatStream)
	mustStatus(t, got, 200)
	const head = `data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":1,"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp_06737a9306","choices":[`
	want := head + `{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}

` + head + `{"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}],"usage":null}

` + head + `{"index":0,"delta":{"content":" <b>"},"logprobs":null,"finish_reason":null}],"usage":null}

` + head + `{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

` + head + `],"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":5,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

data: [DONE]

`
	if s := fixed(got.body); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	ids := regexp.MustCompile(`chatcmpl-\w+`).FindAllString(got.body, -1)
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("got ids %v", ids)
		}
	}
	if h := got.Header; h.Get("Content-Type") != "text/event-stream; charset=utf-8" || h.Get("X-Request-Id") == "" || h.Get("Openai-Version") == "" ||
		h.Get("X-Ratelimit-Remaining-Requests") == "" || h.Get("Openai-Processing-Ms") == "" {
		t.Errorf("got headers %v", h)
	}
	plain := askOpenAI(t, b, strings.Replace(chatStream, `"include_usage":true`, `"include_usage":false`, 1))
	if strings.Contains(plain.body, "usage") || strings.Contains(plain.body, "obfuscation") || !strings.HasSuffix(plain.body, "\n\ndata: [DONE]\n\n") {
		t.Errorf("usage was not asked for: %s", plain.body)
	}
	if got := askOpenAI(t, b, `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`); strings.Count(got.body, `"obfuscation":"`) != 4 {
		t.Errorf("got %s", got.body)
	}
	if got := askOpenAI(t, b.NoUsage(), chatStream); strings.Contains(got.body, "usage") {
		t.Errorf("got %s", got.body)
	}
}

func everything() Behaviour {
	return Reply(Thinking("sig==", "hm ", "ok"), Text("a&", "b"), ToolUse("call_1", "Read", `{"path":`, `"/tmp"}`), ToolUse("call_2", "List"),
		CustomToolUse("call_3", "patch", "*** Be", "gin"), RefusalText("No", "."), RawItem(`{"type":"web_search_call","id":"ws_1","status":"completed"}`), RedactedThinking("opaque"))
}

type chatCall struct {
	Index    int
	ID, Type string
	Function struct{ Name, Arguments string }
	Custom   struct{ Name, Input string }
}

type chatMessage struct {
	Role, Content, Refusal string
	Reasoning              string     `json:"reasoning_content"`
	Calls                  []chatCall `json:"tool_calls"`
}

type chatAnswer struct {
	Object  string
	Choices []struct {
		Delta, Message chatMessage
		Finish         string `json:"finish_reason"`
	}
	Usage map[string]any
}

// assembleChat builds the message of a chat stream as an SDK does.
func assembleChat(t *testing.T, body string) (m chatMessage, finish string) {
	t.Helper()
	body, ok := strings.CutSuffix(body, "data: [DONE]\n\n")
	if !ok {
		t.Fatalf("no [DONE]: %s", body)
	}
	for _, line := range strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		var c chatAnswer
		decode(t, strings.TrimPrefix(line, "data: "), &c)
		for _, choice := range c.Choices {
			d := choice.Delta
			m.Role += d.Role
			m.Content += d.Content
			m.Refusal += d.Refusal
			m.Reasoning += d.Reasoning
			finish += choice.Finish
			for _, call := range d.Calls {
				if call.ID != "" {
					m.Calls = append(m.Calls, call)
					continue
				}
				last := &m.Calls[call.Index]
				last.Function.Arguments += call.Function.Arguments
				last.Custom.Input += call.Custom.Input
			}
		}
	}
	return m, finish
}

// D35: a stream and a whole answer say the same, tool calls in parallel.
func TestD35_ChatStreamedAndWhole(t *testing.T) {
	m, finish := assembleChat(t, askOpenAI(t, everything(), chatStream).body)
	var whole chatAnswer
	got := askOpenAI(t, everything(), chatPlain)
	mustStatus(t, got, 200)
	decode(t, got.body, &whole)
	want := whole.Choices[0].Message
	for i := range want.Calls {
		want.Calls[i].Index = i
	}
	g, _ := json.Marshal(m)
	w, _ := json.Marshal(want)
	if string(g) != string(w) || finish != "tool_calls" || whole.Choices[0].Finish != finish || whole.Object != "chat.completion" {
		t.Errorf("%s: streamed %s\nwhole    %s", finish, g, w)
	}
	if m.Role != "assistant" || m.Content != "a&b" || m.Reasoning != "hm ok" || m.Refusal != "No." || len(m.Calls) != 3 || m.Calls[0].Function.Arguments != `{"path":"/tmp"}` ||
		m.Calls[1].Function.Arguments != "{}" || m.Calls[2].Custom.Input != "*** Begin" || m.Calls[2].Type != "custom" || whole.Usage["prompt_tokens"] != 10.0 {
		t.Errorf("got %s", g)
	}
}

func TestFinishReasons(t *testing.T) {
	for stop, want := range map[string][2]string{
		"end_turn": {"stop", "completed"}, "max_tokens": {"length", "incomplete"}, "length": {"length", "incomplete"},
		"refusal": {"content_filter", "incomplete"}, "tool_use": {"tool_calls", "completed"}, "stop_sequence": {"stop", "completed"}, "odd": {"odd", "completed"},
	} {
		b := Reply(Text("x")).Stop(stop)
		if _, finish := assembleChat(t, askOpenAI(t, b, chatStream).body); finish != want[0] {
			t.Errorf("%s: got %s", stop, finish)
		}
		list := events(t, askOpenAI(t, b, respStream).body)
		last := list[len(list)-1]
		if last.name != "response."+want[1] || (want[1] == "incomplete") != strings.Contains(last.data, `"incomplete_details":{"reason":"`) {
			t.Errorf("%s: got %v", stop, last)
		}
	}
}

// D36: the shape of errors, and the words of each API for the same script.
func TestD36_Errors(t *testing.T) {
	for _, tt := range []struct {
		b             Behaviour
		status        int
		kind, code    string
		chat, respond string
	}{
		{Status(400, "nope"), 400, "invalid_request_error", "", "nope", ""},
		{Status(401, ""), 401, "invalid_request_error", "invalid_api_key", "Incorrect API key", ""},
		{Status(404, ""), 404, "invalid_request_error", "model_not_found", "does not exist", ""},
		{Status(500, ""), 500, "server_error", "", "The server had an error", ""},
		{Status(502, "").ErrorType("odd"), 502, "odd", "", "", ""},
		{Status(400, "m").ErrorCode("odd_code"), 400, "invalid_request_error", "odd_code", "m", ""},
		{Status(529, ""), 529, "server_error", "", "", ""},
		{Overloaded(), 503, "server_error", "", "overloaded", ""},
		{Status(429, "").ErrorType("insufficient_quota"), 429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota", ""},
		{RateLimited(1500 * time.Millisecond), 429, "requests", "rate_limit_exceeded", "Please try again in 1.5s", ""},
		{PromptTooLong(210000, 200000), 400, "invalid_request_error", "context_length_exceeded", "maximum context length is 200000 tokens. However, your messages resulted in 210000", "exceeds the context window"},
		{Reply().ErrorAt(BeforeHeaders, "overloaded_error", ""), 503, "server_error", "", "overloaded", ""},
		{Reply().ErrorAt(BeforeHeaders, "rate_limit_exceeded", "slow"), 429, "requests", "rate_limit_exceeded", "slow", ""},
		{Reply().ErrorAt(BeforeHeaders, "odd", "m"), 500, "odd", "", "m", ""},
	} {
		for _, body := range []string{chatStream, respStream} {
			message := tt.chat
			if body == respStream && tt.respond != "" {
				message = tt.respond
			}
			mustOpenAIError(t, askOpenAI(t, tt.b, body), tt.status, tt.kind, tt.code, message)
		}
	}
	got := askOpenAI(t, RateLimited(1500*time.Millisecond).Header("X-Should-Retry", "false"), chatPlain)
	if h := got.Header; h.Get("Retry-After") != "2" || h.Get("X-Ratelimit-Reset-Requests") != "1.5s" || h.Get("X-Ratelimit-Remaining-Requests") != "0" ||
		h.Get("X-Should-Retry") != "false" || h.Get("Anthropic-Ratelimit-Requests-Limit") != "" {
		t.Errorf("got headers %v", h)
	}
	if got := askOpenAI(t, RateLimited(time.Second).Header("Retry-After", ""), chatPlain); got.Header.Get("Retry-After") != "" {
		t.Errorf("got headers %v", got.Header)
	}
}

func mustOpenAIError(t *testing.T, got reply, status int, kind, code, message string) {
	t.Helper()
	mustStatus(t, got, status)
	var body struct{ Error map[string]any }
	decode(t, got.body, &body)
	e := body.Error
	gotCode, _ := e["code"].(string)
	text, _ := e["message"].(string)
	if len(e) != 4 || e["type"] != kind || gotCode != code || !strings.Contains(text, message) || got.Header.Get("X-Request-Id") == "" {
		t.Errorf("got %s, want %s %s %q", got.body, kind, code, message)
	}
}

// D33, D41: an error after status 200 in each form, and nothing after it.
func TestD41_ErrorsInStreams(t *testing.T) {
	b := Events(3)
	for at, chunks := range map[Point]int{AfterHeaders: 0, AfterStart: 1, AfterDeltas(2): 3} {
		got := askOpenAI(t, b.ErrorAt(at, "server_error", "oops"), chatStream)
		mustStatus(t, got, 200)
		list := strings.Split(strings.TrimSuffix(got.body, "\n\n"), "\n\n")
		if len(list) != chunks+1 || list[chunks] != `data: {"error":{"message":"oops","type":"server_error","param":null,"code":null}}` {
			t.Errorf("at %d: got %s", at, got.body)
		}
	}
	for at, want := range map[Point]string{
		AfterHeaders:   `{"type":"error","sequence_number":0,"code":"rate_limit_exceeded","message":"try again in 1s","param":null}`,
		AfterStart:     `"status":"failed","background":false,"completed_at":null,"error":{"code":"rate_limit_exceeded","message":"try again in 1s"}`,
		AfterDeltas(2): `{"type":"response.failed","sequence_number":6,`,
		BeforeStop:     `{"type":"response.failed","sequence_number":10,`,
	} {
		list := events(t, askOpenAI(t, b.ErrorAt(at, "rate_limit_error", "try again in 1s"), respStream).body)
		last := list[len(list)-1]
		if !strings.Contains(last.data, want) || (at == AfterHeaders) != (last.name == "error") {
			t.Errorf("at %d: got %v", at, last)
		}
	}
	got := askOpenAI(t, b.Inject(AfterStart, ChatErrorEvent("insufficient_quota", "")), chatStream)
	if !strings.Contains(got.body, `"code":"insufficient_quota"}}`+"\n\n") || !strings.HasSuffix(got.body, ChatDone) {
		t.Errorf("got %s", got.body)
	}
	list := events(t, askOpenAI(t, b.Inject(AfterStart, ResponsesErrorEvent("server_error", "m", 9)), respStream).body)
	if list[2].data != `{"type":"error","sequence_number":9,"code":"server_error","message":"m","param":null}` {
		t.Errorf("got %v", list[2])
	}
}

func TestOpenAIFraming(t *testing.T) {
	b := Events(4).Ping(2)
	for _, body := range []string{chatStream, respStream} {
		want := fixed(askOpenAI(t, b, body).body)
		if strings.Count(want, PingComment) != 2 {
			t.Errorf("got %s", want)
		}
		if got := fixed(askOpenAI(t, b.Split(7).CRLF(), body).body); strings.ReplaceAll(got, "\r\n", "\n") != want || strings.Count(got, "\r\n") != strings.Count(want, "\n") {
			t.Errorf("got %s", got)
		}
		if got := fixed(askOpenAI(t, b.Batch(-1), body).body); got != want {
			t.Errorf("got %s", got)
		}
		cut := askOpenAI(t, b.Cut(AfterDeltas(2), EndClean), body)
		if got := fixed(cut.body); cut.err != nil || !strings.HasPrefix(want, got) || !strings.Contains(got, "tok1") || strings.Contains(got, "tok2") {
			t.Errorf("%v: got %s", cut.err, got)
		}
		inside := askOpenAI(t, b.CutInside(AfterDeltas(2), EndClose), body)
		if inside.err == nil || len(inside.body) <= len(cut.body) || strings.HasSuffix(inside.body, "\n\n") {
			t.Errorf("%v: got %s", inside.err, inside.body)
		}
	}
	for _, body := range []string{chatPlain, respPlain} {
		got := askOpenAI(t, b.Cut(AfterStart, EndClose), body)
		if got.err == nil || len(got.body) < 100 {
			t.Errorf("%v: got %s", got.err, got.body)
		}
		mustStatus(t, askOpenAI(t, HTMLError(502), body), 502)
		mustStatus(t, askOpenAI(t, BadJSON(), body), 200)
	}
}

func TestOpenAIAborted(t *testing.T) {
	o := NewOpenAI(t)
	o.Default(Events(3).Silence(AfterDeltas(1)))
	ctx, cancel := context.WithCancel(deadline(t))
	r := openAIRequest(t, o, http.MethodPost, chatPath, chatStream).WithContext(ctx)
	done := make(chan reply)
	go func() { done <- do(t, r) }()
	if err := o.WaitRequests(deadline(t), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if r, err := o.WaitAborted(deadline(t)); err != nil || r.Path != chatPath || !r.Aborted {
		t.Errorf("%v: got %+v", err, r)
	}
}

func TestOpenAIScriptAndRecording(t *testing.T) {
	o := NewOpenAI(t, WithBase("/openai/v1"), WithKey("secret"), WithModels("a/b", "c"))
	send := func(path, header, key, body string) reply {
		r := openAIRequest(t, o, http.MethodPost, path, body)
		if body == "" {
			r = openAIRequest(t, o, http.MethodGet, path, "")
		}
		r.Header.Del("Authorization")
		if header != "" {
			r.Header.Set(header, key)
		}
		return do(t, r)
	}
	const chat, responses = "/openai/v1/chat/completions", "/openai/v1/responses"
	if o.BaseURL() != o.URL+"/openai/v1" {
		t.Errorf("got %s", o.BaseURL())
	}
	o.Queue(Overloaded(), Reply(Text("queued")))
	mustOpenAIError(t, send(chat, "", "", chatPlain), 401, "invalid_request_error", "invalid_api_key", "You didn't provide an API key")
	mustOpenAIError(t, send(chat, "X-Api-Key", "secret", chatPlain), 401, "invalid_request_error", "invalid_api_key", "You didn't provide")
	mustOpenAIError(t, send(chat, "Authorization", "Bearer sk-proj-0123456789", chatPlain), 401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-proj-******6789")
	mustOpenAIError(t, send("/v1/chat/completions", "Api-Key", "secret", chatPlain), 404, "invalid_request_error", "", "Invalid URL (POST /v1/chat/completions)")
	mustOpenAIError(t, send(chat, "Api-Key", "secret", ""), 405, "invalid_request_error", "method_not_supported", "Not allowed to GET")
	mustOpenAIError(t, send(responses+"/compact", "Api-Key", "secret", respPlain), 404, "invalid_request_error", "", "Invalid URL")
	mustStatus(t, send(chat, "Api-Key", "secret", chatPlain), 503)
	if got := send(responses, "Authorization", "bearer secret", respPlain); !strings.Contains(got.body, "queued") {
		t.Errorf("got %s", got.body)
	}
	var list struct {
		Object string
		Data   []struct {
			ID, Object string
			Created    int64
		}
	}
	decode(t, send("/openai/v1/models?client_version=1", "Api-Key", "secret", "").body, &list)
	if list.Object != "list" || len(list.Data) != 2 || list.Data[0].ID != "a/b" || list.Data[1].Object != "model" || list.Data[1].Created == 0 {
		t.Errorf("got %+v", list)
	}
	mustStatus(t, send("/openai/v1/models/a%2Fb", "Api-Key", "secret", ""), 200)
	mustOpenAIError(t, send("/openai/v1/models/x", "Api-Key", "secret", ""), 404, "invalid_request_error", "model_not_found", "The model 'x' does not exist")
	if err := o.WaitDone(deadline(t), 11); err != nil {
		t.Fatal(err)
	}
	all := o.Completions()
	last := all[len(all)-1]
	if o.Count() != 11 || len(all) != 5 || last.Path != responses || last.Credential() != "secret" || last.Model() != "gpt-6-sol" || last.Stream() {
		t.Errorf("got %d, %d, %+v", o.Count(), len(all), last)
	}
	if o.Last().Credential() != "secret" {
		t.Error("the credential of api-key is not seen")
	}
	o.Reset()
	if o.Count() != 0 || len(o.Requests()) != 0 {
		t.Error("Reset left requests behind")
	}
	if got := send(chat, "Api-Key", "secret", chatPlain); !strings.Contains(got.body, "Hello there!") {
		t.Errorf("got %s", got.body)
	}
}

func TestOpenAIToolThenText(t *testing.T) {
	o := NewOpenAI(t)
	o.Default(ToolThenText("Bash", `{"command":"ls"}`, "done"))
	chat, flat := `"tools":[{"type":"function","function":{"name":"Bash"}}]`, `"tools":[{"type":"function","name":"Bash"}]`
	for _, tt := range []struct{ path, body, want string }{
		{chatPath, `{"model":"m",` + chat + `,"messages":[{"role":"user","content":"x"}]}`, `"name":"Bash"`},
		{chatPath, `{"model":"m",` + chat + `,"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"Bash","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"x"}]}`, `"done"`},
		{responsePath, `{"model":"m",` + flat + `,"input":"x"}`, `"type":"function_call"`},
		{responsePath, `{"model":"m",` + flat + `,"input":[{"type":"function_call","call_id":"c","name":"Bash","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"x"}]}`, `"done"`},
	} {
		if got := do(t, openAIRequest(t, o, http.MethodPost, tt.path, tt.body)); got.StatusCode != 200 || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: got %s", tt.body, got.body)
		}
	}
}

func BenchmarkOpenAI(b *testing.B) {
	o := NewOpenAI(b, WithoutRecording(), WithoutValidation())
	o.Default(Events(100).Batch(-1))
	client := &http.Client{}
	for b.Loop() {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, o.URL+chatPath, strings.NewReader(chatStream))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer k")
		resp, err := client.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		var sink [4 << 10]byte
		for err == nil {
			_, err = resp.Body.Read(sink[:])
		}
		_ = resp.Body.Close()
	}
}
