package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// TestBedrockStatus: an error in AWS's form has the status that goes with its type, the same on every route, for Anthropic's SDKs
// try again by the status alone; a client in Bedrock mode reads the service's own; and the request is named.
func TestBedrockStatus(t *testing.T) {
	for _, c := range []struct {
		why       string
		aws       int
		shape     string
		message   string
		status    int
		typ       string
		ownStatus int // of a client in Bedrock mode
	}{
		{"a quota, which SDKs wait for", 400, "ServiceQuotaExceededException", "Your request exceeds the service quota.", 429, "rate_limit_error", 400},
		{"throttled with an odd status", 400, "ThrottlingException", "Too many requests.", 429, "rate_limit_error", 400},
		{"throttled", 429, "ThrottlingException", "Too many requests.", 429, "rate_limit_error", 429},
		{"no capacity", 503, "ServiceUnavailableException", "Bedrock is unable to process your request.", 529, "overloaded_error", 503},
		{"a model that is being loaded is no limit", 429, "ModelNotReadyException", "Model is not ready.", 529, "overloaded_error", 429},
		{"the model took too long", 408, "ModelTimeoutException", "Model has timed out.", 504, "timeout_error", 408},
		{"the model failed", 424, "ModelErrorException", "The model failed.", 500, "api_error", 424},
		{"an internal error", 500, "InternalServerException", "It broke.", 500, "api_error", 500},
		{"no such model", 400, "ValidationException", "The provided model identifier is invalid.", 404, "not_found_error", 400},
		{"the request is wrong", 400, "ValidationException", "max_tokens is wrong.", 400, "invalid_request_error", 400},
		{"too large", 413, "RequestEntityTooLargeException", "Request entity too large", 413, "request_too_large", 413},
	} {
		for _, br := range everyRoute() {
			t.Run(br.name+"/"+c.why, func(t *testing.T) {
				fresh := func() *bedrockRig { // for one request: some of these make the node rest
					r := newBedrockRig(t, nil, oneTry...)
					r.bedrock("b", br.api, br.edit)
					r.up.Default(awsAnswer(c.aws, c.shape, `{"message":"`+c.message+`"}`))
					return r
				}
				for _, stream := range []bool{true, false} {
					r := fresh()
					got := r.post(bedrockAsk(bedrockModel, bedrockRest, stream))
					wantError(t, got, c.status, c.typ, "")
					var body struct {
						ID string `json:"request_id"`
					}
					if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.ID == "" {
						t.Errorf("the request is not named: %s", got.body)
					}
					if got.header.Get("X-Amzn-Told-Status") != "" {
						t.Error("the client got a header of ours")
					}
					if rec := r.record(); rec.Status != c.status {
						t.Errorf("recorded status %d", rec.Status)
					}
				}
				got := fresh().do("POST", "/v1/chat/completions", `{"model":"`+bedrockModel+`","messages":[{"role":"user","content":"hi"}]}`)
				if got.status != c.status {
					t.Errorf("a client of OpenAI's got status %d: %s", got.status, got.body)
				}
				wantAWSError(t, fresh().invokes(frontID, bedrockRest, true), c.ownStatus, c.shape, "")
			})
		}
	}
}

// TestBedrockStatus_Front: where the body alone names the shape, a client in Bedrock mode reads an error that is as much.
func TestBedrockStatus_Front(t *testing.T) {
	for _, br := range everyRoute() {
		r := newBedrockRig(t, nil, oneTry...)
		r.bedrock("b", br.api, br.edit)
		r.up.Default(awsAnswer(400, "", `{"__type":"com.amazon.bedrock#ServiceQuotaExceededException","message":"Your request exceeds the service quota."}`))
		wantAWSError(t, r.invokes(frontID, bedrockRest, true), 429, "ThrottlingException", "")
	}
}

// TestBedrockUnreadable: an answer that the service could not read is made, and paid for: it is counted, asked for once, told as
// an error that clients try again, and blamed on no node. Streamed or not, with text before it or not.
func TestBedrockUnreadable(t *testing.T) {
	used := upstreamtest.Usage{Input: 12, CacheRead: 3, Output: 6}
	for _, reason := range []string{"malformed_tool_use", "malformed_model_output"} {
		for _, said := range [][]upstreamtest.Block{nil, {upstreamtest.Text("Hel", "lo")}} {
			for _, stream := range []bool{true, false} {
				r := newBedrockRig(t, nil)
				id := r.bedrock("b", "converse")
				r.up.Default(upstreamtest.Reply(said...).Stop(reason).Usage(used))
				got := r.post(bedrockAsk(bedrockModel, bedrockRest, stream))
				switch {
				case !stream || said == nil:
					wantError(t, got, 500, "api_error", reason)
				default:
					if typ, message := lastError(t, parse(t, got.body)); typ != "api_error" || !strings.Contains(message, reason) {
						t.Errorf("the client reads %s", tail(got.body))
					}
				}
				rec, state := r.record(), r.state(id)
				if want := (core.Tokens{Input: 12, CacheRead: 3, Output: 6}); rec.Tokens != want || rec.Estimated || rec.CostUSD == 0 {
					t.Errorf("%s, streamed %v: recorded %+v, want %+v", reason, stream, rec.Tokens, want)
				}
				if rec.Attempts != 1 || len(r.up.Calls()) != 1 || rec.Success() || rec.ErrorCode != "upstream_api_error" {
					t.Errorf("%s, streamed %v: %d calls, recorded %+v", reason, stream, len(r.up.Calls()), rec)
				}
				if state.FailStreak != 0 || len(rec.Tries) != 1 {
					t.Errorf("%s, streamed %v: the node is %+v, the operator reads %+v", reason, stream, state, rec.Tries)
				}
			}
		}
	}
}
