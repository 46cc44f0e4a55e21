package upstreamtest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	. "sluice/shared/upstream/upstreamtest"
)

// askBedrock answers one request with b.
func askBedrock(t *testing.T, b Behaviour, model, action, body string) reply {
	t.Helper()
	k := NewBedrock(t)
	k.Default(b)
	got := do(t, bedrockRequest(t, bedrockPath(k, model, action), body))
	if refused := k.Refused(); len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	return got
}

// chunks are the events in chunk frames, and exceptions by name.
func chunks(t *testing.T, body string) (out []string, err error) {
	t.Helper()
	list, err := frames(body)
	for _, f := range list {
		payload, ok := strings.CutPrefix(f, "event chunk ")
		if !ok {
			out = append(out, f)
			continue
		}
		var chunk struct {
			Bytes []byte
			P     string
		}
		decode(t, payload, &chunk)
		if chunk.P == "" || !json.Valid(chunk.Bytes) {
			t.Errorf("got chunk %s", payload)
		}
		out = append(out, string(chunk.Bytes))
	}
	return out, err
}

func mustEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, w := range want {
		head, tail, open := strings.Cut(w, "...")
		if got[i] != w && !(open && strings.HasPrefix(got[i], head) && strings.HasSuffix(got[i], tail)) {
			t.Errorf("event %d: got %s, want %s", i, got[i], w)
		}
	}
}

const (
	bStart = `{"type":"message_start","message":{"model":"claude-opus-5-5","id":"msg_bdrk_01..."output_tokens":1,"service_tier":"standard"}}}`
	bText0 = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	bStop0 = `{"type":"content_block_stop","index":0}`
	bEnd   = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":5,"cache_read_input_tokens":4,"output_tokens":2}}`
	bStop  = `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":2,"invocationLatency":1234,"firstByteLatency":345,"cacheReadInputTokenCount":4,"cacheWriteInputTokenCount":5}}`
)

func bDelta(text string) string {
	return `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + text + `"}}`
}

func bReply() Behaviour {
	return Reply(Text("a&", "<b>")).Usage(Usage{Input: 3, CacheRead: 4, CacheWrite5m: 2, CacheWrite1h: 3, Output: 2})
}

func TestBedrockInvokeStream(t *testing.T) {
	got := askBedrock(t, bReply(), bOpus, "invoke-with-response-stream", bClaude)
	mustStatus(t, got, 200)
	list, err := chunks(t, got.body)
	if err != nil {
		t.Fatal(err)
	}
	mustEvents(t, list, bStart, bText0, bDelta("a&"), bDelta("<b>"), bStop0, bEnd, bStop)
	padded := map[string]bool{}
	all, _ := frames(got.body)
	for _, f := range all[1:] {
		padded[f[strings.LastIndex(f, `"p":`):]] = true
	}
	if len(padded) != 6 {
		t.Errorf("got %d kinds of padding in 6 frames: a reader must not count on its length", len(padded))
	}
	h := got.Header
	if h.Get("Content-Type") != EventStreamType || h.Get("X-Amzn-Bedrock-Content-Type") != "application/json" || h.Get("X-Amzn-Requestid") == "" {
		t.Errorf("got headers %v", h)
	}
}

func TestBedrockInvoke(t *testing.T) {
	got := askBedrock(t, bReply(), bOpus, "invoke", bClaude)
	mustStatus(t, got, 200)
	var m struct {
		Model, ID string
		Content   []struct{ Text string }
	}
	decode(t, got.body, &m)
	if m.Model != "claude-opus-5-5" || !strings.HasPrefix(m.ID, "msg_bdrk_01") || len(m.Content) != 1 || m.Content[0].Text != "a&<b>" || strings.Contains(got.body, "invocationMetrics") {
		t.Errorf("got %s", got.body)
	}
}

// The Messages API has the same events as Anthropic's, without pings.
func TestBedrockMessages(t *testing.T) {
	k := NewBedrock(t)
	k.Default(bReply())
	stream := strings.Replace(bNative, `"max_tokens"`, `"stream":true,"max_tokens"`, 1)
	for base, body := range map[string]string{k.MantleURL(): stream, k.RuntimeURL(): strings.Replace(stream, "anthropic.", "global.anthropic.", 1)} {
		got := do(t, bedrockRequest(t, base+"/anthropic/v1/messages", body))
		mustStatus(t, got, 200)
		if want := "message_start start delta delta stop message_delta message_stop"; names(events(t, got.body)) != want {
			t.Errorf("got %s, want %s", names(events(t, got.body)), want)
		}
		if !strings.HasPrefix(got.Header.Get("Content-Type"), "text/event-stream") || got.Header.Get("Request-Id") == "" || !strings.Contains(got.body, `"model":"claude-opus-5-5","id":"msg_bdrk_`) {
			t.Errorf("got %v %s", got.Header, got.body)
		}
	}
	got := do(t, bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages/count_tokens", bNative))
	if got.body != `{"input_tokens":24}` {
		t.Errorf("got %s", got.body)
	}
	mustStatus(t, do(t, bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages", bNative)), 200)
	r := bedrockRequest(t, k.ExternalURL()+"/v1/messages", `{"model":"claude-opus-5-5","inference_geo":"us","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`)
	r.Header.Set("Anthropic-Workspace-Id", "wrkspc_1")
	r.Header.Set("Anthropic-Beta", "anything-2099-01-01")
	mustStatus(t, do(t, r), 200)
}

func TestBedrockConverseStream(t *testing.T) {
	b := Reply(Thinking("c2ln", "hm"), RedactedThinking("b3BhcXVl"), Text("a&", "b"), ToolUse("t_1", "read", `{"path":`, `"/tmp"}`), ServerToolUse("s", "web"), ToolUse("t_2", "list")).
		Usage(Usage{Input: 3, CacheRead: 4, CacheWrite5m: 5, CacheWrite1h: 6, Output: 2})
	got := askBedrock(t, b, bNova, "converse-stream", bTalk)
	usage := `{"cacheDetails":[{"inputTokens":6,"ttl":"1h"},{"inputTokens":5,"ttl":"5m"}],"cacheReadInputTokens":4,"cacheWriteInputTokens":11,"inputTokens":3,"outputTokens":2,"totalTokens":20}`
	mustFrames(t, got,
		`event messageStart {"role":"assistant","p":"..."}`,
		`event contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}},"p":"..."}`,
		`event contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2ln"}},"p":"..."}`,
		`event contentBlockStop {"contentBlockIndex":0,"p":"..."}`,
		`event contentBlockDelta {"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"b3BhcXVl"}},"p":"..."}`,
		`event contentBlockStop {"contentBlockIndex":1,"p":"..."}`,
		`event contentBlockDelta {"contentBlockIndex":2,"delta":{"text":"a&"},"p":"..."}`,
		`event contentBlockDelta {"contentBlockIndex":2,"delta":{"text":"b"},"p":"..."}`,
		`event contentBlockStop {"contentBlockIndex":2,"p":"..."}`,
		`event contentBlockStart {"contentBlockIndex":3,"start":{"toolUse":{"name":"read","toolUseId":"t_1"}},"p":"..."}`,
		`event contentBlockDelta {"contentBlockIndex":3,"delta":{"toolUse":{"input":"{\"path\":"}},"p":"..."}`,
		`event contentBlockDelta {"contentBlockIndex":3,"delta":{"toolUse":{"input":"\"/tmp\"}"}},"p":"..."}`,
		`event contentBlockStop {"contentBlockIndex":3,"p":"..."}`,
		`event contentBlockStart {"contentBlockIndex":4,"start":{"toolUse":{"name":"list","toolUseId":"t_2"}},"p":"..."}`,
		`event contentBlockStop {"contentBlockIndex":4,"p":"..."}`,
		`event messageStop {"stopReason":"tool_use","p":"..."}`,
		`event metadata {"metrics":{"latencyMs":1234},"usage":`+usage+`,"p":"..."}`)
	got = askBedrock(t, b, bNova, "converse", bTalk)
	want := `{"metrics":{"latencyMs":1234},"output":{"message":{"content":[{"reasoningContent":{"reasoningText":{"signature":"c2ln","text":"hm"}}},{"reasoningContent":{"redactedContent":"b3BhcXVl"}},` +
		`{"text":"a&b"},{"toolUse":{"input":{"path":"/tmp"},"name":"read","toolUseId":"t_1"}},{"toolUse":{"input":{},"name":"list","toolUseId":"t_2"}}],"role":"assistant"}},"stopReason":"tool_use","usage":` + usage + `}`
	if got.body != want {
		t.Errorf("got %s, want %s", got.body, want)
	}
}

func TestBedrockConverseStops(t *testing.T) {
	for stop, want := range map[string]string{"": "end_turn", "refusal": "content_filtered", "length": "max_tokens", "max_tokens": "max_tokens", "tool_calls": "tool_use", "stop": "end_turn", "malformed_tool_use": "malformed_tool_use"} {
		b := Reply(Text("x"))
		if stop != "" {
			b = b.Stop(stop)
		}
		if got := askBedrock(t, b, bNova, "converse", bTalk); !strings.Contains(got.body, `"stopReason":"`+want+`"`) {
			t.Errorf("%s: got %s", stop, got.body)
		}
	}
	got := askBedrock(t, Reply(CustomToolUse("t", "f", "in\"put")).NoUsage(), bNova, "converse-stream", bTalk)
	if list, _ := frames(got.body); len(list) != 5 || !strings.Contains(list[2], `{"toolUse":{"input":"{\"input\":\"in\\\"put\"}"}}`) {
		t.Errorf("got %q", list)
	}
}

// Every fault of a script, in the shape of each API. Statuses and shapes:
// bedrockruntime v1.63.11 types/errors.go; the header's form as the service
// sends it.
func TestBedrockFaults(t *testing.T) {
	for _, c := range []struct {
		why            string
		b              Behaviour
		status         int
		shape, message string
		nativeStatus   int
		nativeType     string
	}{
		{"throttling", RateLimited(0), 429, "ThrottlingException", "Too many requests, please wait before trying again.", 429, "rate_limit_error"},
		{"throttling by name", Status(0, "").ErrorType("throttlingException"), 429, "ThrottlingException", "Too many requests", 429, "rate_limit_error"},
		{"no capacity", Status(503, ""), 503, "ServiceUnavailableException", "Bedrock is unable to process your request.", 503, "api_error"},
		{"overload", Overloaded(), 503, "ServiceUnavailableException", "Bedrock is unable", 529, "overloaded_error"},
		{"a model being loaded", ModelNotReady(), 429, "ModelNotReadyException", "Model is not ready for inference.", 429, "rate_limit_error"},
		{"a model without access", ModelAccessDenied(), 403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", 403, "permission_error"},
		{"a model too slow", ModelTimeout(), 408, "ModelTimeoutException", "Model has timed out", 504, "timeout_error"},
		{"a failure of the service", Status(500, ""), 500, "InternalServerException", "The system encountered an unexpected error", 500, "api_error"},
		{"a failure of the model", Status(0, "").ErrorType("ModelErrorException"), 424, "ModelErrorException", "error while processing the model", 500, "api_error"},
		{"a quota", Status(0, "").ErrorType("ServiceQuotaExceededException"), 400, "ServiceQuotaExceededException", "exceeds the service quota", 400, "invalid_request_error"},
		{"Anthropic's name", Status(0, "own words").ErrorType("rate_limit_error"), 429, "ThrottlingException", "own words", 429, "rate_limit_error"},
		{"too long", PromptTooLong(210_000, 200_000), 400, "ValidationException", "prompt is too long: 210000 tokens > 200000 maximum", 400, "invalid_request_error"},
	} {
		t.Run(c.why, func(t *testing.T) {
			for _, action := range []string{"invoke", "invoke-with-response-stream", "converse", "converse-stream"} {
				body := bClaude
				if strings.HasPrefix(action, "converse") {
					body = bTalk
				}
				got := askBedrock(t, c.b, bOpus, action, body)
				mustStatus(t, got, c.status)
				var e struct{ Message string }
				decode(t, got.body, &e)
				shape, rest, _ := strings.Cut(got.Header.Get("X-Amzn-Errortype"), ":")
				if shape != c.shape || !strings.HasPrefix(rest, "http") || !strings.Contains(e.Message, c.message) || got.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: got %v %s", action, got.Header, got.body)
				}
			}
			k := NewBedrock(t)
			k.Default(c.b)
			bedrockError(t, do(t, bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages", bNative)), c.nativeStatus, c.nativeType, "")
		})
	}
	if got := askBedrock(t, RateLimited(2*time.Second), bOpus, "invoke", bClaude); got.Header.Get("Retry-After") != "2" {
		t.Errorf("got headers %v", got.Header)
	}
}

// Exceptions inside a stream, before content and after it.
func TestBedrockExceptions(t *testing.T) {
	const said = `{"message":"said"}`
	for _, c := range []struct{ errType, want string }{
		{"throttlingException", "exception throttlingException " + said},
		{"ModelStreamErrorException", `exception modelStreamErrorException {"message":"said","originalMessage":"said","originalStatusCode":500}`},
		{"internalServerException", "exception internalServerException " + said},
		{"overloaded_error", "exception serviceUnavailableException " + said},
		{"modelTimeoutException", "exception modelTimeoutException " + said},
		{"invalid_request_error", "exception validationException " + said},
	} {
		for at, before := range map[Point]int{AfterHeaders: 0, AfterStart: 1, AfterDeltas(1): 3} {
			list, err := chunks(t, askBedrock(t, bReply().ErrorAt(at, c.errType, "said"), bOpus, "invoke-with-response-stream", bClaude).body)
			if err != nil || len(list) != before+1 || list[before] != c.want {
				t.Errorf("%s at %d: got %q, %v", c.errType, at, list, err)
			}
		}
		list, err := frames(askBedrock(t, bReply().ErrorAt(AfterDeltas(2), c.errType, "said"), bNova, "converse-stream", bTalk).body)
		if err != nil || len(list) != 4 || list[3] != c.want {
			t.Errorf("%s: got %q, %v", c.errType, list, err)
		}
	}
	// In one piece, or before the headers, it is an error of that status.
	mustStatus(t, askBedrock(t, bReply().ErrorAt(BeforeHeaders, "throttlingException", "x"), bOpus, "invoke-with-response-stream", bClaude), 429)
	mustStatus(t, askBedrock(t, bReply().ErrorAt(AfterDeltas(1), "throttlingException", "x"), bNova, "converse", bTalk), 429)
	k := NewBedrock(t)
	k.Default(bReply().ErrorAt(AfterStart, "throttlingException", "said"))
	got := do(t, bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages", strings.Replace(bNative, `{`, `{"stream":true,`, 1)))
	if list := events(t, got.body); len(list) != 2 || list[1].data != `{"type":"error","error":{"type":"rate_limit_error","message":"said"}}` {
		t.Errorf("got %s", got.body)
	}
}

// A stream cut after every possible number of bytes: all whole frames before
// the cut arrive, and what follows is no frame.
func TestBedrockCutBytes(t *testing.T) {
	k := NewBedrock(t)
	k.Default(bReply())
	url := bedrockPath(k, bNova, "converse-stream")
	whole := do(t, bedrockRequest(t, url, bTalk)).body
	all, err := frames(whole)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= len(whole); n++ {
		k.Default(bReply().CutBytes(n, EndClean))
		got := do(t, bedrockRequest(t, url, bTalk))
		if got.err != nil || got.body != whole[:n] {
			t.Fatalf("cut at %d: got %d bytes, %v", n, len(got.body), got.err)
		}
		list, err := frames(got.body)
		if (err == nil) != endsFrame(whole, n) {
			t.Fatalf("cut at %d: got %d frames, %v", n, len(list), err)
		}
		if len(list) > len(all) {
			t.Fatal("more frames than there are")
		}
	}
	k.Default(bReply().CutBytes(40, EndReset))
	if got := do(t, bedrockRequest(t, url, bTalk)); got.err == nil {
		t.Errorf("got a proper end after %d bytes", len(got.body))
	}
}

// endsFrame tells whether a frame of the stream ends after n bytes.
func endsFrame(stream string, n int) bool {
	at := 0
	for at < n {
		at += int(stream[at])<<24 | int(stream[at+1])<<16 | int(stream[at+2])<<8 | int(stream[at+3])
	}
	return at == n
}

func TestBedrockStreamFaults(t *testing.T) {
	invoke := func(b Behaviour) ([]string, error) {
		return chunks(t, askBedrock(t, b, bOpus, "invoke-with-response-stream", bClaude).body)
	}
	list, err := invoke(bReply().Inject(AfterDeltas(1), CorruptFrame(ChunkFrame(bDelta("x")))))
	if err == nil || len(list) != 3 {
		t.Errorf("a corrupt checksum: got %d events, %v", len(list), err)
	}
	list, err = invoke(bReply().CutInside(AfterDeltas(1), EndClean))
	if err == nil || len(list) != 3 {
		t.Errorf("cut inside a frame: got %d events, %v", len(list), err)
	}
	list, err = invoke(bReply().Cut(BeforeStop, EndClean))
	if err != nil || len(list) != 6 {
		t.Errorf("cut before the end: got %d events, %v", len(list), err)
	}
	list, err = invoke(bReply().Inject(AfterStart, UnknownEvent()+PingEvent).Ping(2))
	if err != nil || len(list) != 10 || !strings.Contains(list[1], "future_thing") || !strings.Contains(list[2], "ping") || !strings.Contains(list[6], "ping") {
		t.Errorf("events in text become chunks: got %q, %v", list, err)
	}
	list, err = invoke(bReply().Inject(AfterHeaders, Frame("future", "{}")).Split(3).Batch(2).CRLF())
	if err != nil || len(list) != 8 || list[0] != "event future {}" {
		t.Errorf("a frame stays one, and torn frames whole: got %q, %v", list, err)
	}
	if got := askBedrock(t, Raw(200, http.Header{"Content-Type": {EventStreamType}}, "\x00"), bOpus, "invoke-with-response-stream", bClaude); got.body != "\x00" {
		t.Errorf("got %q", got.body)
	}
}

func TestBedrockSilence(t *testing.T) {
	k := NewBedrock(t)
	k.Default(bReply().Silence(AfterDeltas(1)))
	r := bedrockRequest(t, bedrockPath(k, bOpus, "invoke-with-response-stream"), bClaude)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if left, err := k.WaitAborted(deadline(t)); err != nil || !left.Aborted {
		t.Error(left, err)
	}
}

func TestBedrockCalls(t *testing.T) {
	k := NewBedrock(t)
	do(t, bedrockRequest(t, bedrockPath(k, bAppARN, "converse"), bTalk))
	do(t, bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages", bNative))
	do(t, signedRequest(t, bedrockPath(k, bSonnet45, "invoke-with-response-stream"), bClaude, "bedrock", DefaultBedrockCredentials(), time.Now()))
	calls := k.Calls()
	for i, want := range []BedrockCall{
		{Service: "bedrock-runtime", Operation: "Converse", ModelID: bAppARN, APIKey: "k"},
		{Service: "bedrock-mantle", Operation: "Messages", ModelID: "anthropic.claude-opus-5-5", APIKey: "k"},
		{Service: "bedrock-runtime", Operation: "InvokeModelWithResponseStream", ModelID: bSonnet45, AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SignedService: "bedrock", SignedRegion: "us-east-1"},
	} {
		got := calls[i]
		body := got.Body
		got.Request = Request{}
		want.Region = "us-east-1"
		if got.Service != want.Service || got.Operation != want.Operation || got.ModelID != want.ModelID || got.APIKey != want.APIKey || got.AccessKeyID != want.AccessKeyID || got.SignedRegion != want.SignedRegion || len(body) == 0 {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// Real host names, each with the service and the region of its signatures.
func TestBedrockTransport(t *testing.T) {
	k := NewBedrock(t, WithRegions("us-east-1", "eu-west-1"))
	k.SetRoles(BedrockRole{ARN: bRole})
	const bAssume = "Action=AssumeRole&Version=2011-06-15&RoleSessionName=s1&RoleArn=" + bRole
	client := &http.Client{Transport: k.Transport()}
	defer client.CloseIdleConnections()
	for _, c := range []struct{ url, service, region, body string }{
		{"https://bedrock-runtime.eu-west-1.amazonaws.com/model/eu.anthropic.claude-opus-5-5/invoke", "bedrock", "eu-west-1", bClaude},
		{"https://bedrock-runtime-fips.us-east-1.amazonaws.com/model/global.anthropic.claude-opus-5-5/invoke", "bedrock", "us-east-1", bClaude},
		{"https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages", "bedrock-mantle", "us-east-1", bNative},
		{"https://aws-external-anthropic.eu-west-1.api.aws/v1/messages", "aws-external-anthropic", "eu-west-1", plainBody},
		{"https://bedrock.eu-west-1.amazonaws.com/foundation-models", "bedrock", "eu-west-1", ""},
		{"https://sts.amazonaws.com/", "sts", "us-east-1", bAssume},
		{"https://sts.eu-west-1.amazonaws.com/", "sts", "eu-west-1", bAssume},
	} {
		r := bedrockRequest(t, c.url, c.body)
		if c.body == "" {
			r.Method = http.MethodGet
		} else if c.body == bAssume {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		r.Header.Del("Authorization")
		r.Header.Set("Anthropic-Workspace-Id", "w")
		bedrockSign(t, r, c.body, c.service, c.region, DefaultBedrockCredentials(), time.Now())
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: got %d %q", c.url, resp.StatusCode, k.Refused())
		}
		if got := k.Last(); got.Host != r.URL.Host {
			t.Errorf("got host %s", got.Host)
		}
	}
	for _, url := range []string{"https://bedrock-runtime.ap-south-1.amazonaws.com/", "https://example.com/"} {
		if resp, err := client.Do(bedrockRequest(t, url, "{}")); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s resolves", url)
		}
	}
}

// Without validation everything that has a credential is answered.
func TestBedrockWithoutValidation(t *testing.T) {
	k := NewBedrock(t, WithoutValidation())
	for _, url := range []string{bedrockPath(k, bOpus, "invoke"), bedrockPath(k, bNova, "converse"), k.MantleURL() + "/anthropic/v1/messages"} {
		mustStatus(t, do(t, bedrockRequest(t, url, `{}`)), 200)
	}
}
