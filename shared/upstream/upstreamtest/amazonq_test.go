package upstreamtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	. "sluice/shared/upstream/upstreamtest"
)

const (
	qGenerate = "AmazonCodeWhispererStreamingService.GenerateAssistantResponse"
	qSend     = "AmazonCodeWhispererStreamingService.SendMessage"
	qHello    = `{"conversationState":{"conversationId":"c-1","chatTriggerType":"MANUAL","currentMessage":{"userInputMessage":{"content":"hi","modelId":"claude-sonnet-4.5","origin":"CLI"}}}}`
)

func qRequest(t *testing.T, url, target, body string) *http.Request {
	t.Helper()
	r := newRequest(t, deadline(t), http.MethodPost, url+"/", body)
	r.Header = http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {target}, "Authorization": {"Bearer aoa-1"}}
	return r
}

// askQ answers one request with b.
func askQ(t *testing.T, b Behaviour) reply {
	t.Helper()
	q := NewAmazonQ(t)
	q.Default(b)
	got := do(t, qRequest(t, q.URL, qGenerate, qHello))
	if refused := q.Refused(); len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	return got
}

// frames decodes a stream with AWS's decoder: each frame as its name and
// payload. err is what ended it, nil at a frame's end.
func frames(body string) (out []string, err error) {
	r := strings.NewReader(body)
	decoder := eventstream.NewDecoder()
	for r.Len() > 0 {
		m, err := decoder.Decode(r, nil)
		if err != nil {
			return out, err
		}
		name := m.Headers.Get(":event-type")
		switch m.Headers.Get(":message-type").String() {
		case "exception":
			name = m.Headers.Get(":exception-type")
		case "error":
			name = eventstream.StringValue(m.Headers.Get(":error-code").String() + ": " + m.Headers.Get(":error-message").String())
		}
		out = append(out, m.Headers.Get(":message-type").String()+" "+name.String()+" "+string(m.Payload))
	}
	return out, nil
}

// mustFrames checks the frames of an answer; "..." stands for any text.
func mustFrames(t *testing.T, got reply, want ...string) {
	t.Helper()
	mustStatus(t, got, 200)
	list, err := frames(got.body)
	if err != nil {
		t.Fatalf("%v after %q", err, list)
	}
	if len(list) != len(want) {
		t.Fatalf("got %d frames, want %d:\n%s", len(list), len(want), strings.Join(list, "\n"))
	}
	for i, w := range want {
		head, tail, open := strings.Cut(w, "...")
		if list[i] != w && !(open && strings.HasPrefix(list[i], head) && strings.HasSuffix(list[i], tail)) {
			t.Errorf("frame %d: got %s, want %s", i, list[i], w)
		}
	}
}

const (
	qInitial = `event initial-response {"conversationId":"c-1"}`
	qMeta    = `event messageMetadataEvent {"conversationId":"c-1","utteranceId":"..."}`
	qUsage   = `event metadataEvent {"tokenUsage":...}`
	qMeter   = `event meteringEvent {"unit":"credit","unitPlural":"credits","usage":0.05}`
)

func TestAmazonQReply(t *testing.T) {
	b := Reply(Thinking("c2ln", "hm ", "ok"), RedactedThinking("b3BhcXVl"), Text("a&", "<b>"), ToolUse("t_1", "read", `{"path":`, `"/tmp"}`), Text("after"), ToolUse("t_2", "list"), ServerToolUse("s_1", "web")).
		Usage(Usage{Input: 3, CacheRead: 4, CacheWrite5m: 5, Output: 2}).ContextUsage(12.5)
	got := askQ(t, b)
	mustFrames(t, got, qInitial, qMeta,
		`event reasoningContentEvent {"text":"hm "}`, `event reasoningContentEvent {"text":"ok"}`, `event reasoningContentEvent {"signature":"c2ln"}`,
		`event reasoningContentEvent {"redactedContent":"b3BhcXVl"}`,
		`event assistantResponseEvent {"content":"a&"}`, `event assistantResponseEvent {"content":"<b>"}`,
		`event toolUseEvent {"name":"read","toolUseId":"t_1"}`, `event toolUseEvent {"input":"{\"path\":","name":"read","toolUseId":"t_1"}`,
		`event toolUseEvent {"input":"\"/tmp\"}","name":"read","toolUseId":"t_1"}`, `event toolUseEvent {"name":"read","stop":true,"toolUseId":"t_1"}`,
		`event assistantResponseEvent {"content":"after"}`,
		`event toolUseEvent {"name":"list","toolUseId":"t_2"}`, `event toolUseEvent {"name":"list","stop":true,"toolUseId":"t_2"}`,
		`event metadataEvent {"tokenUsage":{"cacheReadInputTokens":4,"cacheWriteInputTokens":5,"outputTokens":2,"totalTokens":14,"uncachedInputTokens":3}}`,
		`event contextUsageEvent {"contextUsagePercentage":12.5}`, qMeter)
	if h := got.Header; h.Get("Content-Type") != EventStreamType || h.Get("X-Amzn-Requestid") == "" || h["Cache-Control"] != nil {
		t.Errorf("got headers %v", h)
	}
}

func TestAmazonQVariants(t *testing.T) {
	for _, c := range []struct {
		why  string
		b    Behaviour
		want []string
	}{
		{"no usage, nothing before the text", Reply(Text("x")).NoUsage().NoStart(), []string{`event assistantResponseEvent {"content":"x"}`, qMeter}},
		{"tools in turns, of different lengths", Reply(ToolUse("a", "f", "1", "2"), ToolUse("b", "g", "3"), CustomToolUse("c", "h", "4", "5")).NoStart().NoUsage().Interleave(), []string{
			`event toolUseEvent {"name":"f","toolUseId":"a"}`, `event toolUseEvent {"name":"g","toolUseId":"b"}`, `event toolUseEvent {"name":"h","toolUseId":"c"}`,
			`event toolUseEvent {"input":"1","name":"f","toolUseId":"a"}`, `event toolUseEvent {"input":"3","name":"g","toolUseId":"b"}`,
			`event toolUseEvent {"name":"g","stop":true,"toolUseId":"b"}`, `event toolUseEvent {"input":"{\"input\":\"45\"}","name":"h","toolUseId":"c"}`,
			`event toolUseEvent {"name":"h","stop":true,"toolUseId":"c"}`, `event toolUseEvent {"input":"2","name":"f","toolUseId":"a"}`,
			`event toolUseEvent {"name":"f","stop":true,"toolUseId":"a"}`, qMeter}},
		{"an unknown event and a frame of the type error", Reply(Text("x")).NoStart().Inject(AfterStart, Frame("futureEvent", `{"a":1}`)).Inject(AfterDeltas(1), ErrorFrame("Oops", "broken")).Cut(AfterDeltas(1), EndClean), []string{
			`event futureEvent {"a":1}`, `event assistantResponseEvent {"content":"x"}`, `error Oops: broken `}},
		{"the service's own exception", Events(3).ErrorAt(AfterDeltas(1), "", ""), []string{qInitial, qMeta, `event assistantResponseEvent {"content":"tok0 "}`,
			`exception error {"message":"Encountered an unexpected error when processing the request, please try again.","reason":null}`}},
		{"an exception of another shape", Events(3).NoStart().ErrorAt(AfterStart, "ThrottlingException", "slow"), []string{`exception ThrottlingException {"message":"slow","reason":null}`}},
		{"another API's name", Events(3).NoStart().ErrorAt(AfterStart, "overloaded_error", ""), []string{
			`exception error {"message":"Encountered unexpectedly high load when processing the request, please try again.","reason":null}`}},
		{"cut past the last delta", Events(1).NoStart().Cut(AfterDeltas(9), EndClean), []string{`event assistantResponseEvent {"content":"tok0 "}`}},
		{"cut before the last event", Events(1).NoStart().Cut(BeforeStop, EndClean), []string{`event assistantResponseEvent {"content":"tok0 "}`, qUsage}},
		{"cut after all", Events(1).NoStart().Cut(AfterStop, EndClean), []string{`event assistantResponseEvent {"content":"tok0 "}`, qUsage, qMeter}},
		{"torn apart and in one piece", Events(1).Split(7).Batch(-1), []string{qInitial, qMeta, `event assistantResponseEvent {"content":"tok0 "}`, qUsage, qMeter}},
	} {
		t.Run(c.why, func(t *testing.T) { mustFrames(t, askQ(t, c.b), c.want...) })
	}
}

func TestAmazonQCuts(t *testing.T) {
	for _, c := range []struct {
		why     string
		b       Behaviour
		whole   int
		inside  bool // a frame is left half
		aborted bool // HTTP shows the cut
	}{
		{"inside a frame that is the same for all", Events(9).CutInside(AfterDeltas(2), EndClean), 4, true, false},
		{"inside a frame that differs", Events(9).CutInside(AfterHeaders, EndClean), 0, true, false},
		{"closed at a frame's end", Events(9).Cut(AfterDeltas(2), EndClose), 4, false, true},
		{"reset in a frame", Events(9).CutInside(AfterDeltas(2), EndReset), -1, true, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			got := askQ(t, c.b)
			if got.Response == nil {
				t.Fatal(got.err)
			}
			if (got.err != nil) != c.aborted {
				t.Errorf("got error %v", got.err)
			}
			list, err := frames(got.body)
			if c.whole >= 0 && (len(list) != c.whole || (err != nil) != c.inside || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF)) {
				t.Errorf("got %d frames, then %v", len(list), err)
			}
		})
	}
	got := askQ(t, Reply(Text("x")).Cut(BeforeHeaders, EndReset))
	if got.err == nil || got.Response != nil {
		t.Errorf("got %v", got.Response)
	}
}

// The frames are made once, and two answers of one value are the same but for
// their ids.
func TestAmazonQReplay(t *testing.T) {
	q := NewAmazonQ(t, WithoutRecording(), WithoutValidation())
	q.Default(Events(200).Batch(-1))
	first := do(t, qRequest(t, q.URL, qGenerate, strings.Replace(qHello, `"conversationId":"c-1",`, "", 1)))
	second := do(t, qRequest(t, q.URL, qSend, qHello))
	for _, got := range []reply{first, second} {
		mustStatus(t, got, 200)
		if list, err := frames(got.body); err != nil || len(list) != 204 || list[201] != `event assistantResponseEvent {"content":"tok199 "}` {
			t.Errorf("got %d frames, %v", len(list), err)
		}
	}
	tail := []byte(Frame("assistantResponseEvent", `{"content":"tok0 "}`))
	if a, b := bytes.Index([]byte(first.body), tail), bytes.Index([]byte(second.body), tail); first.body[a:] != second.body[b:] || strings.Contains(first.body, `"c-1"`) {
		t.Error("the answers differ in more than their ids")
	}
}

func TestAmazonQFaults(t *testing.T) {
	const service, coral = "com.amazon.aws.codewhisperer#", "com.amazon.coral.service#"
	for _, c := range []struct {
		why    string
		b      Behaviour
		status int
		body   string
	}{
		{"throttled", Status(429, ""), 429, service + `ThrottlingException","message":"Too many requests, please wait before trying again.","reason":null}`},
		{"with a time", RateLimited(3 * time.Second), 429, service + `ThrottlingException","message":"Too many requests, please wait before trying again.","reason":null}`},
		{"quota as 400", MonthlyQuota(), 400, service + `ThrottlingException","message":"Maximum Request reached for this month.","reason":"MONTHLY_REQUEST_COUNT"}`},
		{"quota as another shape", Status(400, "over").ErrorType("ServiceQuotaExceededException").ErrorCode("OVERAGE_REQUEST_LIMIT_EXCEEDED"), 400,
			service + `ServiceQuotaExceededException","message":"over","reason":"OVERAGE_REQUEST_LIMIT_EXCEEDED"}`},
		{"quota as 402", Status(402, ""), 402, service + `ServiceQuotaExceededException","message":"You have reached the limit.","reason":"MONTHLY_REQUEST_COUNT"}`},
		{"suspended", Suspended(), 403, service + `AccessDeniedException","message":"Your User ID (d-0000000000.00000000) temporarily is suspended. It was locked as a security precaution; contact the support team to restore it.","reason":"TEMPORARILY_SUSPENDED"}`},
		{"high load", Overloaded(), 500, service + `InternalServerException","message":"Encountered unexpectedly high load when processing the request, please try again.","reason":null}`},
		{"high load, newer", Status(500, "").ErrorCode("MODEL_TEMPORARILY_UNAVAILABLE"), 500, service + `InternalServerException","message":"Encountered unexpectedly high load when processing the request, please try again.","reason":"MODEL_TEMPORARILY_UNAVAILABLE"}`},
		{"no capacity", ModelCapacity(), 429, service + `ThrottlingException","message":"I am experiencing high traffic, please try again shortly.","reason":"INSUFFICIENT_MODEL_CAPACITY"}`},
		{"too long", PromptTooLong(2, 1), 400, service + `ValidationException","message":"Input is too long.","reason":"CONTENT_LENGTH_EXCEEDS_THRESHOLD"}`},
		{"token", TokenInvalid(401), 401, service + `AccessDeniedException","message":"The bearer token included in the request is invalid.","reason":null}`},
		{"expired", TokenExpired(), 403, coral + `ExpiredTokenException","message":"The security token included in the request is expired"}`},
		{"unavailable", Status(503, ""), 503, service + `ServiceUnavailableException","message":"The service is temporarily unavailable, please try again.","reason":null}`},
		{"an error before the stream", Events(1).ErrorAt(BeforeHeaders, "ConflictException", "no"), 409, service + `ConflictException","message":"no","reason":null}`},
		{"an error without a type", Events(1).ErrorAt(BeforeHeaders, "", ""), 500, service + `InternalServerException","message":"Encountered an unexpected error when processing the request, please try again.","reason":null}`},
	} {
		t.Run(c.why, func(t *testing.T) {
			got := askQ(t, c.b)
			mustStatus(t, got, c.status)
			if want := `{"__type":"` + c.body; got.body != want {
				t.Errorf("got  %s\nwant %s", got.body, want)
			}
			if h := got.Header; h.Get("Content-Type") != "application/x-amz-json-1.0" || h.Get("X-Amzn-Requestid") == "" {
				t.Errorf("got headers %v", h)
			}
		})
	}
	if got := askQ(t, RateLimited(3*time.Second)); got.Header.Get("Retry-After") != "3" {
		t.Errorf("got headers %v", got.Header)
	}
	if got := askQ(t, Raw(418, http.Header{"A": {"b"}}, Frame("x", "{}"))); got.StatusCode != 418 || got.Header.Get("A") != "b" || got.body != Frame("x", "{}") {
		t.Errorf("got %v", got)
	}
}

func TestAmazonQTools(t *testing.T) {
	q := NewAmazonQ(t)
	q.Default(ToolThenText("read", `{"path":"/tmp"}`, "done"))
	const message = `{"conversationState":{"chatTriggerType":"MANUAL","history":[%s],"currentMessage":{"userInputMessage":{"content":"hi","modelId":"auto","userInputMessageContext":{%s}}}}}`
	const tools = `"tools":[{"toolSpecification":{"name":"read","description":"Reads.","inputSchema":{"json":{"type":"object"}}}}]`
	first := do(t, qRequest(t, q.URL, qGenerate, fmt.Sprintf(message, "", tools)))
	mustStatus(t, first, 200)
	if !strings.Contains(first.body, "toolUseEvent") || strings.Contains(first.body, "done") {
		t.Errorf("got %q", first.body)
	}
	const history = `{"userInputMessage":{"content":"hi"}},{"assistantResponseMessage":{"content":"","toolUses":[{"toolUseId":"t_1","name":"read","input":{}}]}}`
	second := do(t, qRequest(t, q.URL, qGenerate, fmt.Sprintf(message, history, tools+`,"toolResults":[{"toolUseId":"t_1","content":[{"text":"x"},{"json":{}}],"status":"success"}]`)))
	mustStatus(t, second, 200)
	if !strings.Contains(second.body, "done") || strings.Contains(second.body, "toolUseEvent") {
		t.Errorf("got %q, refused %v", second.body, q.Refused())
	}
	all := q.Conversations()
	if len(all) != 2 || all[1].Model() != "auto" || all[1].Target() != "GenerateAssistantResponse" || !all[1].HasTool("read") || all[0].HasTool("write") || all[0].HasToolResult() {
		t.Errorf("got %+v", all)
	}
}

func BenchmarkAmazonQ(b *testing.B) {
	q := NewAmazonQ(b, WithoutRecording(), WithoutValidation())
	q.Default(Events(200).Batch(-1))
	client := http.Client{}
	for b.Loop() {
		r, _ := http.NewRequest(http.MethodPost, q.URL+"/", strings.NewReader(qHello))
		r.Header = http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {qGenerate}, "Authorization": {"Bearer x"}}
		resp, err := client.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}
