package responses_test

import (
	"testing"
	"time"

	"sluice/shared/translator"
)

func TestAppendError(t *testing.T) {
	for _, c := range []struct {
		why  string
		e    translator.Error
		want string
	}{
		{"invalid", translator.Error{Status: 400, Message: "m", Param: "input[0]"}, `{"error":{"message":"m","type":"invalid_request_error","param":"input[0]","code":null}}`},
		{"too long", translator.Error{Status: 400, Message: "prompt is too long"}, `{"error":{"message":"prompt is too long","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}`},
		{"no key", translator.Error{Status: 401, Message: "m"}, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`},
		{"forbidden", translator.Error{Status: 403, Message: "m"}, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"permission_denied"}}`},
		{"no model", translator.Error{Status: 404, Message: "The model x is not known."}, `{"error":{"message":"The model x is not known.","type":"invalid_request_error","param":null,"code":"model_not_found"}}`},
		{"no route", translator.Error{Status: 404, Message: "m"}, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"not_found"}}`},
		{"too large", translator.Error{Status: 413, Message: "m"}, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"request_too_large"}}`},
		{"too many", translator.Error{Status: 429, Message: "m"}, `{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}`},
		{"no quota", translator.Error{Status: 429, Message: "m", Code: "insufficient_quota"}, `{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"insufficient_quota"}}`},
		{"broken", translator.Error{Status: 500, Message: "m"}, `{"error":{"message":"m","type":"server_error","param":null,"code":"server_error"}}`},
		{"overloaded", translator.Error{Status: 529, Message: "m"}, `{"error":{"message":"m","type":"server_error","param":null,"code":"overloaded"}}`},
		{"unavailable", translator.Error{Status: 503, Message: "m"}, `{"error":{"message":"m","type":"server_error","param":null,"code":"overloaded"}}`},
	} {
		if got := string(codec.AppendError(nil, &c.e, "req")); got != c.want {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
	}
}

func TestParseError(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		body   string
		want   translator.Error
	}{
		{"the API's own form", 400, `{"error":{"message":"m","type":"invalid_request_error","param":"p","code":"c"}}`,
			translator.Error{Status: 400, Type: "invalid_request_error", Message: "m", Param: "p", Code: "c"}},
		{"nulls", 401, `{"error":{"message":"m","param":null,"code":null}}`, translator.Error{Status: 401, Type: "authentication_error", Message: "m"}},
		{"a code that is a number", 404, `{"error":{"message":"m","code":404}}`, translator.Error{Status: 404, Type: "not_found_error", Message: "m"}},
		{"too long, in words", 400, `{"error":{"message":"This model's maximum context length is 5 tokens"}}`,
			translator.Error{Status: 400, Type: "invalid_request_error", Message: "This model's maximum context length is 5 tokens", Code: "context_length_exceeded"}},
		{"too long, in other words", 400, `{"error":{"message":"Your input exceeds the context window"}}`,
			translator.Error{Status: 400, Type: "invalid_request_error", Message: "Your input exceeds the context window", Code: "context_length_exceeded"}},
		{"no quota as a type", 429, `{"error":{"message":"m","type":"insufficient_quota"}}`, translator.Error{Status: 429, Type: "rate_limit_error", Message: "m", Code: "insufficient_quota"}},
		{"the time to wait", 429, `{"error":{"message":"Please try again in 300ms."}}`,
			translator.Error{Status: 429, Type: "rate_limit_error", Message: "Please try again in 300ms.", RetryAfter: 300 * time.Millisecond}},
		{"in seconds", 429, `{"error":{"message":"try again in 6 seconds"}}`,
			translator.Error{Status: 429, Type: "rate_limit_error", Message: "try again in 6 seconds", RetryAfter: 6 * time.Second}},
		{"no time at all", 429, `{"error":{"message":"try again in a while"}}`, translator.Error{Status: 429, Type: "rate_limit_error", Message: "try again in a while"}},
		{"an absurd time", 429, `{"error":{"message":"try again in 999999999999s"}}`,
			translator.Error{Status: 429, Type: "rate_limit_error", Message: "try again in 999999999999s", RetryAfter: 24 * time.Hour}},
		{"a text", 500, `{"error":"m"}`, translator.Error{Status: 500, Type: "api_error", Message: "m"}},
		{"a message", 500, `{"object":"error","message":"m"}`, translator.Error{Status: 500, Type: "api_error", Message: "m"}},
		{"a detail", 422, `{"detail":"m"}`, translator.Error{Status: 422, Type: "invalid_request_error", Message: "m"}},
		{"no JSON", 502, `<html>`, translator.Error{Status: 502, Type: "api_error", Message: "The upstream answered with status 502 and no message."}},
		{"nothing", 503, ``, translator.Error{Status: 503, Type: "overloaded_error", Message: "The upstream answered with status 503 and no message."}},
	} {
		if got := codec.ParseError(c.status, []byte(c.body)); *got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.why, *got, c.want)
		}
	}
}
