package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
)

// TestBedrockFront_CountTokens: CountTokens is answered in the service's form by nodes that count, and by our own guess.
func TestBedrockFront_CountTokens(t *testing.T) {
	const counts = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
	inner := `{` + frontVersion + `,"max_tokens":1,"system":"Rules.","messages":[{"role":"user","content":"How many are these?"}]}`
	ask := func(body string) string {
		return `{"input":{"invokeModel":{"body":"` + base64.StdEncoding.EncodeToString([]byte(body)) + `"}}}`
	}
	for _, c := range []struct {
		why   string
		add   func(r *bedrockRig)
		guess bool
	}{
		{"InvokeModel", func(r *bedrockRig) { r.bedrock("n", "invoke") }, false},
		{"mantle", func(r *bedrockRig) { r.bedrock("n", "messages") }, false},
		{"Anthropic", func(r *bedrockRig) { r.fakeNode("n") }, false},
		{"Converse", func(r *bedrockRig) { r.bedrock("n", "converse") }, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			c.add(r)
			id := counts
			if c.why == "mantle" {
				id = frontID
			}
			got := r.do("POST", frontPath(id, "count-tokens"), ask(inner))
			var n struct{ InputTokens int64 }
			dec := json.NewDecoder(strings.NewReader(got.body))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&n); err != nil || got.status != 200 || n.InputTokens < 3 || n.InputTokens > 100 {
				t.Fatalf("status %d, %v: %s; %q", got.status, err, got.body, r.up.Refused())
			}
			if guess := got.header.Get("X-Sluice-Estimate") != ""; guess != c.guess {
				t.Errorf("guessed %v", guess)
			}
			if rec := r.record(); rec.Endpoint != "/bedrock/model/{id}/count-tokens" || rec.Tokens != (core.Tokens{}) {
				t.Errorf("recorded %+v", rec)
			}
		})
	}
	r := newBedrockRig(t, nil)
	r.bedrock("n", "invoke")
	for _, c := range []struct{ why, body, says string }{
		{"no input", `{}`, "input: Field required"},
		{"Converse", `{"input":{"converse":{"messages":[]}}}`, "not of Converse"},
		{"no base64", `{"input":{"invokeModel":{"body":"!"}}}`, "must be base64"},
		{"no object", ask(`[]`), "not a JSON object"},
		{"no JSON", `{`, "not a JSON object"},
		{"nothing in it", ask(`{}`), "messages"},
	} {
		wantAWSError(t, r.do("POST", frontPath(counts, "count-tokens"), c.body), 400, "ValidationException", c.says)
	}
	slashes := strings.ReplaceAll(ask(inner), "/", `\/`)
	if got := r.do("POST", frontPath(counts, "count-tokens"), slashes); got.status != 200 {
		t.Errorf("escaped slashes: status %d: %s", got.status, got.body)
	}
}

// TestBedrockFront_Native: a client that keeps the path of the Messages API behind the prefix, as Go's SDK does where the base
// URL has a path, gets that API.
func TestBedrockFront_Native(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("n", "invoke")
	r.up.Default(frontReply())
	body := `{"model":"` + frontID + `","stream":true,"anthropic_version":"2023-06-01","anthropic_beta":["interleaved-thinking-2025-05-14"],` + bedrockRest + `}`
	got := r.do("POST", "/bedrock/v1/messages", body)
	wantStream(t, got, "Hello")
	if want := invokeHead + `"anthropic_beta":["interleaved-thinking-2025-05-14"],` + bedrockRest + "}"; string(r.sawLast().Body) != want {
		t.Errorf("the service got %s, want %s", r.sawLast().Body, want)
	}
	if rec := r.record(); rec.Dialect != core.DialectAnthropic || rec.Endpoint != "/v1/messages" {
		t.Errorf("recorded %+v", rec)
	}
	wantError(t, r.do("POST", "/bedrock/v1/messages", `{`), 400, "invalid_request_error", "not a JSON object")
}

// TestBedrockFront_Captured: an exchange is kept as the request of the Messages API and the events that it is, which people can
// read.
func TestBedrockFront_Captured(t *testing.T) {
	r := newBedrockRig(t, nil, "CAPTURE_URL", "file:"+t.TempDir())
	r.editAccount(func(a *core.Account) { a.Capture = core.Capture{Enabled: true, Until: time.Now().Add(time.Hour)} })
	r.bedrock("b", "invoke")
	r.up.Default(frontReply())
	got := r.invokes(frontID, bedrockRest, true)
	es, _, _ := unpacked(t, got.body)
	kept, ok := r.captured(got.header.Get("Request-Id"))
	if !ok || kept.Dialect != "bedrock-invoke" || kept.Request != bedrockAsk(frontID, bedrockRest, true) && !strings.HasPrefix(kept.Request, `{"model":"`+frontID+`","stream":true,`) {
		t.Fatalf("kept %+v", kept)
	}
	if text(parse(t, kept.Response)) != text(es) || text(es) == "" {
		t.Errorf("kept %q", kept.Response)
	}
	if bytes.Contains([]byte(kept.Response), []byte{0}) {
		t.Error("frames are kept")
	}
}
