package upstreamtest_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	. "sluice/shared/upstream/upstreamtest"
)

// Whatever the body, the fake answers: a broken-off connection is a panic.
func FuzzBedrock(f *testing.F) {
	k := NewBedrock(f, WithoutRecording())
	for _, body := range []string{
		bClaude, bNative, bTalk, ``, `[]`, ` {}`, `{"messages":[{"role":"user","content":[null,1,{"text":null}]}]}`, `{"input":{"converse":` + bTalk + `}}`,
		`{"input":{"invokeModel":{"body":"` + base64.StdEncoding.EncodeToString([]byte(bClaude)) + `"}}}`,
		`{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"tools":[{"type":1}],"system":[{"type":"text","cache_control":{}}],"messages":[{"role":"user","content":[{"type":"image"}]}]}`,
		`{"messages":[{"role":"user","content":[{"document":{"name":"a","source":{"bytes":"AA=="}}},{"toolResult":{"content":[{"json":1}]}}]}],"toolConfig":{"tools":[{"toolSpec":{}}],"toolChoice":{}}}`,
	} {
		f.Add(body)
	}
	client := http.Client{}
	f.Fuzz(func(t *testing.T, body string) {
		for _, url := range []string{
			bedrockPath(k, bOpus, "invoke"), bedrockPath(k, bNova, "converse"), bedrockPath(k, "anthropic.claude-sonnet-4-5-20250929-v1:0", "count-tokens"),
			k.MantleURL() + "/anthropic/v1/messages", k.STSURL() + "/",
		} {
			resp, err := client.Do(bedrockRequest(t, url, body))
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode >= 500 {
				t.Errorf("got status %d", resp.StatusCode)
			}
			_ = resp.Body.Close()
		}
	})
}

// The two turns of a tool call work in every form.
func TestBedrockToolThenText(t *testing.T) {
	k := NewBedrock(t)
	k.Default(ToolThenText("f", `{"a":1}`, "done"))
	ask := func(action, body string) string {
		got := do(t, bedrockRequest(t, bedrockPath(k, bOpus, action), body))
		mustStatus(t, got, 200)
		return got.body
	}
	if got := ask("converse", bMore(bTools)); !strings.Contains(got, `{"toolUse":{"input":{"a":1},"name":"f","toolUseId":"toolu_`) {
		t.Errorf("got %s", got)
	}
	if got := ask("converse", bMessages(bUse+","+bUser(bResult))); !strings.Contains(got, `{"text":"done"}`) {
		t.Errorf("got %s", got)
	}
	if got := ask("invoke", bClaudeWith(`"tools":[`+bCustom+`}]`)); !strings.Contains(got, `"type":"tool_use"`) {
		t.Errorf("got %s", got)
	}
	if k.Last().Stream() {
		t.Error("InvokeModel is no stream")
	}
	ask("invoke-with-response-stream", bClaude)
	if !k.Last().Stream() {
		t.Error("InvokeModelWithResponseStream is a stream")
	}
}

// A status or a name alone implies the rest.
func TestBedrockFaultNames(t *testing.T) {
	for _, c := range []struct {
		b      Behaviour
		status int
		shape  string
	}{
		{Status(400, ""), 400, "ValidationException"}, {Status(401, ""), 403, "UnrecognizedClientException"}, {Status(404, ""), 404, "ResourceNotFoundException"},
		{Status(418, ""), 418, "ValidationException"}, {Status(502, ""), 502, "InternalServerException"}, {Status(StatusOverloaded, ""), 529, "ServiceUnavailableException"},
		{Status(0, "").ErrorType("request_too_large"), 400, "ValidationException"}, {Status(0, "").ErrorType("authentication_error"), 403, "UnrecognizedClientException"},
		{Status(0, "").ErrorType("permission_error"), 403, "AccessDeniedException"}, {Status(0, "").ErrorType("not_found_error"), 404, "ResourceNotFoundException"},
		{Status(0, "").ErrorType("timeout_error"), 408, "ModelTimeoutException"}, {Status(0, "").ErrorType("overloaded_error"), 503, "ServiceUnavailableException"},
		{Status(0, "").ErrorType("api_error"), 500, "InternalServerException"}, {Status(0, "").ErrorType("FutureException"), 500, "FutureException"},
		{Status(0, "").ErrorType("ExpiredTokenException"), 403, "ExpiredTokenException"},
	} {
		got := askBedrock(t, c.b, bOpus, "invoke", bClaude)
		shape, _, _ := strings.Cut(got.Header.Get("X-Amzn-Errortype"), ":")
		if shape != c.shape || got.StatusCode != c.status && c.status != 403 {
			t.Errorf("got %d %s, want %d %s", got.StatusCode, shape, c.status, c.shape)
		}
	}
	for shape, want := range map[string]int{"ExpiredTokenException": 403, "ResourceNotFoundException": 404, "ServiceUnavailableException": 503, "ConflictException": 400} {
		k := NewBedrock(t)
		k.Default(Status(0, "").ErrorType(shape))
		mustStatus(t, do(t, bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages", bNative)), want)
	}
}

func TestBedrockAPIKeys(t *testing.T) {
	k := NewBedrock(t)
	url := bedrockPath(k, bOpus, "invoke")
	mustStatus(t, do(t, bedrockRequest(t, url, bClaude)), 200)
	k.SetAPIKeys("other")
	mustStatus(t, do(t, bedrockRequest(t, url, bClaude)), 403)
	k.SetAPIKeys("k")
	mustStatus(t, do(t, bedrockRequest(t, url, bClaude)), 200)
	k.SetAPIKeys()
	mustStatus(t, do(t, bedrockRequest(t, url, bClaude)), 403)
	big := do(t, bedrockRequest(t, url, strings.Repeat(" ", 25_000_001)))
	if big.StatusCode != 413 || big.Header.Get("X-Amzn-Errortype") != "RequestEntityTooLargeException" {
		t.Errorf("got %d %s", big.StatusCode, big.body)
	}
}
