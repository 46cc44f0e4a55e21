package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// Regressions of the older pool's faults, each by its name. What it did of streams is here and in amazonq_fault_test.go, what
// it did of requests in amazonq_oldpool_request_test.go, and of tokens in amazonq_tokens_test.go.

// with puts members in front of a body's others.
func with(body, members string) string { return strings.Replace(body, "{", "{"+members+",", 1) }

var withTools = with(poolPlain, poolTools)

// OldPoolBug: the stop reason was end_turn whatever the answer, so that agents stopped instead of running their tools.
func TestOldPoolBug_StopReasonIsToolUse(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.Text("a"), upstreamtest.ToolUse("tooluse_1", "get_weather", `{"city":"Rome"}`)))
	if m := r.both(withTools); m.stop() != "tool_use" || m.said() != `a | get_weather({"city":"Rome"})` {
		t.Errorf("got %s, %s", m.stop(), m.said())
	}
}

// OldPoolBug: text after a call went into the block of the call, which had ended.
func TestOldPoolBug_TextAfterTools(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.ToolUse("tooluse_1", "get_weather", `{"city":"Rome"}`), upstreamtest.Text("af", "ter"),
		upstreamtest.ToolUse("tooluse_2", "get_time"), upstreamtest.Text("end")))
	if m := r.both(withTools); m.stop() != "tool_use" || m.said() != `get_weather({"city":"Rome"}) | after | get_time({}) | end` {
		t.Errorf("got %s, %s", m.stop(), m.said())
	}
}

// OldPoolBug: pieces of two calls that came in turns all went into the first.
func TestOldPoolBug_InterleavedTools(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.ToolUse("tooluse_1", "get_weather", `{"ci`, `ty":"R`, `ome"}`),
		upstreamtest.ToolUse("tooluse_2", "get_weather", `{"city":`, `"Oslo"}`)).Interleave())
	if m := r.both(withTools); m.said() != `get_weather({"city":"Rome"}) | get_weather({"city":"Oslo"})` || m.Content[0].ID == m.Content[1].ID {
		t.Errorf("got %s", m.said())
	}
	got := r.do("POST", chatPath, chatWithTools)
	var c chatAnswer
	c.read(t, got)
	if calls := c.Choices[0].Message.Calls; len(calls) != 2 || calls[0].Function.Arguments != `{"city":"Rome"}` || calls[1].Function.Arguments != `{"city":"Oslo"}` {
		t.Errorf("chat: got %s", got.body)
	}
}

// OldPoolBug: without initial-response there was no message_start.
func TestOldPoolBug_MissingInitialResponse(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.Text("Hello")).NoStart())
	if m := r.both(poolPlain); m.said() != "Hello" || m.Model != poolModel {
		t.Errorf("got %s of %s", m.said(), m.Model)
	}
}

// OldPoolBug: the start of a call had no input, and message_stop members that it has not.
func TestOldPoolBug_ToolUseStartHasInput(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.ToolUse("tooluse_1", "get_time")))
	got := r.post(with(withTools, `"stream":true`))
	if streamedMessage(t, got); !strings.Contains(got.body, `"name":"get_time","input":{}}`) || !strings.Contains(got.body, `data: {"type":"message_stop"}`+"\n") {
		t.Errorf("got %s", got.body)
	}
}

// OldPoolBug: the 200 was sent before the service was asked, so that every error was one within a stream, or half a stream.
func TestOldPoolBug_ErrorsAreStatuses(t *testing.T) {
	for _, c := range []struct {
		why    string
		answer upstreamtest.Behaviour
		status int
		typ    string
	}{
		{"internal", upstreamtest.Status(500, ""), 500, "api_error"},
		{"unavailable", upstreamtest.Status(503, ""), 503, "overloaded_error"},
		{"throttled", upstreamtest.RateLimited(0), 429, "rate_limit_error"},
		{"malformed", upstreamtest.Status(400, "Improperly formed request."), 400, "invalid_request_error"},
		{"no such model", upstreamtest.Status(400, "").ErrorType("ValidationException").ErrorCode("INVALID_MODEL_ID"), 404, "not_found_error"},
		{"an exception in place of the answer", upstreamtest.Reply(upstreamtest.Text("a")).NoStart().ErrorAt(upstreamtest.AfterStart, "ThrottlingException", "slow"), 429, "rate_limit_error"},
	} {
		r, _ := newPoolRig(t)
		r.fakePool("q").Default(c.answer)
		for _, body := range []string{poolStream, poolPlain} {
			wantError(t, r.post(body), c.status, c.typ, "")
		}
		recs := r.records()
		if rec := recs[0]; rec.Status != c.status || rec.Success() || rec.ErrorCode == "" {
			t.Errorf("%s: recorded %+v", c.why, rec)
		}
	}
}

// OldPoolBug: an exception in the stream was passed over, and the answer was empty but good.
func TestOldPoolBug_ExceptionIsNoEmptyAnswer(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.Text("a", "b")).ErrorAt(upstreamtest.AfterDeltas(1), "", "boom"))
	got := r.post(poolStream)
	if typ, message := lastError(t, parse(t, got.body)); typ != "api_error" || message == "" || strings.Contains(got.body, "message_stop") {
		t.Errorf("got %s", got.body)
	}
}

// OldPoolBug: stream false was not honoured; every answer was a stream.
func TestOldPoolBug_NotEverythingIsAStream(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.Text("Hello")))
	for _, body := range []string{poolPlain, with(poolPlain, `"stream":false`)} {
		if m := wholeMessage(t, r.post(body)); m.said() != "Hello" {
			t.Errorf("got %s", m.said())
		}
	}
}

// chatAnswer is a chat completion.
type chatAnswer struct {
	Object, Model string
	Choices       []struct {
		Message struct {
			Content *string
			Calls   []struct {
				ID, Type string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		Finish string `json:"finish_reason"`
	}
	Usage struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Total      int64 `json:"total_tokens"`
	}
}

func (c *chatAnswer) read(t testing.TB, got reply) {
	t.Helper()
	if got.status != 200 || json.Unmarshal([]byte(got.body), c) != nil || len(c.Choices) != 1 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
}

var chatWithTools = with(poolChat, `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`)

// OldPoolBug: a call's arguments were always empty in chat, and its finish_reason stop.
func TestOldPoolBug_ChatArgumentsAreNotEmpty(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.ToolUse("tooluse_1", "get_weather", `{"city":`, `"Rome"}`)).Usage(upstreamtest.Usage{Input: 9, Output: 4}))
	var c chatAnswer
	c.read(t, r.do("POST", chatPath, chatWithTools))
	call := c.Choices[0].Message.Calls
	if len(call) != 1 || call[0].ID != "tooluse_1" || call[0].Type != "function" || call[0].Function.Name != "get_weather" || call[0].Function.Arguments != `{"city":"Rome"}` {
		t.Errorf("got %+v", c)
	}
	if c.Choices[0].Finish != "tool_calls" || c.Choices[0].Message.Content != nil || c.Model != poolModel || c.Usage.Prompt != 9 || c.Usage.Completion != 4 || c.Usage.Total != 13 {
		t.Errorf("got %+v", c)
	}
}

// OldPoolBug: a streamed chat got Anthropic's events. It is chunks of one id, with the tools counted from 0, and an end.
func TestOldPoolBug_ChatStreamIsChunks(t *testing.T) {
	r, _ := newPoolRig(t)
	r.fakePool("q").Default(upstreamtest.Reply(upstreamtest.Text("a"), upstreamtest.ToolUse("tooluse_1", "get_weather", `{"city":`, `"Rome"}`)))
	got := r.do("POST", chatPath, with(chatWithTools, `"stream":true,"stream_options":{"include_usage":true}`))
	ids, arguments, finish, usage := map[string]bool{}, "", "", false
	lines := strings.Split(strings.TrimSpace(got.body), "\n\n")
	for i, line := range lines {
		data, ok := strings.CutPrefix(line, "data: ")
		if i == len(lines)-1 {
			if data != "[DONE]" {
				t.Errorf("the stream ends with %s", line)
			}
			break
		}
		var c struct {
			ID, Object string
			Created    int64
			Choices    []struct {
				Delta struct {
					Calls []struct {
						Index    int
						Function struct{ Arguments string }
					} `json:"tool_calls"`
				}
				Finish *string `json:"finish_reason"`
			}
			Usage *struct{}
		}
		if !ok || json.Unmarshal([]byte(data), &c) != nil || c.Object != "chat.completion.chunk" || c.Created == 0 {
			t.Fatalf("not a chunk: %s", line)
		}
		ids[c.ID] = true
		usage = usage || c.Usage != nil
		for _, choice := range c.Choices {
			for _, call := range choice.Delta.Calls {
				if call.Index != 0 {
					t.Errorf("the first tool has index %d", call.Index)
				}
				arguments += call.Function.Arguments
			}
			if choice.Finish != nil {
				finish += *choice.Finish
			}
		}
	}
	if len(ids) != 1 || arguments != `{"city":"Rome"}` || finish != "tool_calls" || !usage {
		t.Errorf("%d ids, arguments %s, finish_reason %s, usage %v", len(ids), arguments, finish, usage)
	}
}

// OldPoolBug: a key over its limit got 401, which makes clients ask for another key instead of waiting.
func TestOldPoolBug_KeyLimitIs429(t *testing.T) {
	r, c := newPoolRig(t)
	r.fakePool("q")
	_, key := r.key(limits(core.Limits{RPM: 2}))
	for _, ask := range poolAsks {
		for i := range 3 {
			got := r.do("POST", ask.path, ask.body, "X-Api-Key", "", "Authorization", "Bearer "+key)
			switch {
			case i < 2 && got.status != 200: // OldPoolBug: streamed chats counted twice
				t.Errorf("%s, request %d of 2: got %d %s", ask.name, i+1, got.status, got.body)
			case i == 2 && (got.status != 429 || got.header.Get("Retry-After") != "30" || got.header.Get("Www-Authenticate") != ""):
				t.Errorf("%s: got %d %v %s", ask.name, got.status, got.header, got.body)
			}
		}
		c.advance(61e9)
	}
}

// OldPoolBug: usage was recorded as nothing with status 200, failures too, and an account's count went up twice a request.
func TestOldPoolBug_UsageIsRecorded(t *testing.T) {
	r, _, up, oidc := guideRig(t)
	id := r.account("a", oidc.Login())
	ok := upstreamtest.Reply(upstreamtest.Text("Hello")).Usage(upstreamtest.Usage{Input: 50, Output: 6})
	up.Queue(ok, ok, upstreamtest.Status(400, ""), ok, ok)
	for i, ask := range []struct{ path, body string }{{"/v1/messages", poolStream}, {"/v1/messages", poolPlain}, {"/v1/messages", poolStream},
		{chatPath, poolChatStream}, {responsesPath, poolResponses}} {
		if got := r.do("POST", ask.path, ask.body); (got.status == 200) != (i != 2) {
			t.Fatalf("request %d: got %d %s", i, got.status, got.body)
		}
	}
	recs := r.records()
	if len(recs) != 5 {
		t.Fatalf("%d records of 5 requests", len(recs))
	}
	failed := 0
	for i, rec := range recs { // whose order is that of their ends, which may be one moment
		want := core.Tokens{Input: 50, Output: 6}
		status, bad := 200, rec.Status == 400
		if bad {
			want, status = core.Tokens{}, 400
			failed++
		}
		if rec.Tokens != want || rec.Status != status || rec.Success() == bad || rec.Node != id || rec.Attempts != 1 || rec.Estimated || rec.Unpriced {
			t.Errorf("record %d: %+v", i, rec)
		}
		if !bad && (rec.ServedModel != "claude-sonnet-4.5" || rec.CostUSD != 50*3+6*15) {
			t.Errorf("record %d: %s cost %d micro-USD", i, rec.ServedModel, rec.CostUSD)
		}
	}
	if failed != 1 {
		t.Errorf("%d records of one failure", failed)
	}
	stats := r.admin("GET", "/admin/accounts/"+id, "", 200)
	if stats["total_requests"] != 5.0 || stats["total_tokens"] != 4.0*56 || stats["error_count"] != 0.0 {
		t.Errorf("the account's figures: %v", stats)
	}
	if got := fmt.Sprint(r.admin("GET", "/admin/stats/tokens?days=7", "", 200)["total"]); !strings.Contains(got, "input_tokens:200") || !strings.Contains(got, "requests:5") {
		t.Errorf("statistics: %s", got)
	}
}

// OldPoolBug: five requests that were the client's own fault took an account out of the pool for half an hour.
func TestOldPoolBug_ClientFaultsAreNotCounted(t *testing.T) {
	r, _ := newPoolRig(t)
	up, id := r.fakePoolID("q")
	for range 10 {
		up.Queue(upstreamtest.Status(400, ""))
		wantError(t, r.post(poolPlain), 400, "invalid_request_error", "")
	}
	if s := r.state(id); s.Failed || s.FailStreak != 0 {
		t.Errorf("state %+v", s)
	}
	r.served("q")
}

// OldPoolBug: no other account was tried within a request.
func TestOldPoolBug_FailoverWithinARequest(t *testing.T) {
	for why, b := range map[string]upstreamtest.Behaviour{
		"internal": upstreamtest.Status(500, ""), "unavailable": upstreamtest.Status(503, ""), "throttled": upstreamtest.RateLimited(0), "day used up": upstreamtest.Status(429, "").ErrorCode("DAILY_REQUEST_COUNT"),
		"denied": upstreamtest.Status(403, ""), "reset": upstreamtest.Reply().Cut(upstreamtest.BeforeHeaders, upstreamtest.EndReset), "page": upstreamtest.HTMLError(502),
	} {
		for _, ask := range poolAsks {
			r, _ := newPoolRig(t)
			r.fakePool("bad", weight(1)).Default(b)
			r.fakePool("good", weight(2))
			if got := r.do("POST", ask.path, ask.body); got.status != 200 || got.header.Get("X-Proxy-Node") != "good" || !strings.Contains(got.body, ask.end) {
				t.Errorf("%s, %s: got %d %s", why, ask.name, got.status, got.body)
			}
		}
	}
}
