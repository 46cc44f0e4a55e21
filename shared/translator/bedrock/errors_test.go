package bedrock_test

import (
	"strings"
	"testing"

	"sluice/shared/translator"
	"sluice/shared/translator/bedrock"
)

func TestParseError(t *testing.T) {
	for _, c := range []struct {
		why    string
		header string
		status int
		body   string
		want   int
		typ    string
		says   string
	}{
		{"throttling by its name", "ThrottlingException:http://internal.amazon.com/coral/", 429, `{"message":"Too many tokens, please wait before trying again."}`, 429, "rate_limit_error", "asked too often"},
		{"throttling by its status", "", 429, `{"message":"x"}`, 429, "rate_limit_error", "asked too often"},
		{"tokens of a minute are no length", "ThrottlingException", 429, `{"message":"Too many input tokens per minute"}`, 429, "rate_limit_error", "asked too often"},
		{"a model that is not ready is no limit", "ModelNotReadyException", 429, `{"message":"x"}`, 529, "overloaded_error", "ready"},
		{"no capacity", "ServiceUnavailableException", 503, `{"message":"x"}`, 529, "overloaded_error", "no capacity"},
		{"a timeout of the model", "ModelTimeoutException", 408, `{"message":"x"}`, 504, "timeout_error", "too long"},
		{"a failure of the model", "ModelErrorException", 424, `{"message":"The system encountered an unexpected error","originalStatusCode":500}`, 500, "api_error", "unexpected error"},
		{"a quota", "ServiceQuotaExceededException", 400, `{"message":"x"}`, 429, "rate_limit_error", "quota"},
		{"D15: too long, in Anthropic's words", "ValidationException", 400, `{"message":"The model returned the following errors: prompt is too long: 210000 tokens > 200000 maximum"}`, 400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"},
		{"D15: too long, in the service's", "ValidationException", 400, `{"message":"Input is too long for requested model."}`, 400, "invalid_request_error", "prompt is too long: Input is too long"},
		{"D13: clients know these words", "ValidationException", 400, `{"message":"messages.1.content.0: Invalid signature in thinking block"}`, 400, "invalid_request_error", "Invalid signature in thinking block"},
		{"a model that there is none", "ValidationException", 400, `{"message":"The provided model identifier is invalid."}`, 404, "not_found_error", "model: "},
		{"a model by profile only", "", 400, `{"message":"Invocation of model ID anthropic.claude-x with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model."}`, 404, "not_found_error", "inference profile"},
		{"the account is not named", "AccessDeniedException", 403, `{"message":"User: arn:aws:iam::123456789012:user/x is not authorized"}`, 403, "permission_error", "no access to this model"},
		{"nor in an error of another kind", "ResourceNotFoundException", 404, `{"Message":"arn:aws:bedrock:us-east-1:123456789012:x"}`, 404, "not_found_error", "reported an error: ResourceNotFound"},
		{"credentials that have expired", "ExpiredTokenException", 403, `{"message":"The security token included in the request is expired"}`, 401, "authentication_error", "credentials"},
		{"the body knows better than the header", "ValidationException", 400, `{"__type":"com.amazon.coral.service#ThrottlingException","message":"x"}`, 429, "rate_limit_error", "asked too often"},
		{"no JSON", "", 502, `<html>`, 502, "api_error", "status 502"},
		{"no JSON, and a name", "ThrottlingException", 400, `<html>`, 429, "rate_limit_error", "asked too often"},
	} {
		e := codec.ParseError(c.status, bedrock.WithType(c.header, []byte(c.body)))
		if e.Status != c.want || e.Type != c.typ || !strings.Contains(e.Message, c.says) || strings.Contains(e.Message, "123456789012") {
			t.Errorf("%s: %+v", c.why, e)
		}
		if strings.HasPrefix(c.why, "D15") != (e.Code == translator.CodeContext) {
			t.Errorf("%s: code %q", c.why, e.Code)
		}
	}
	if e := codec.ParseError(400, []byte(`{"message":"`+strings.Repeat("ä", 3000)+`"}`)); len(e.Message) > 2<<10 || strings.Contains(e.Message, "\ufffd") {
		t.Errorf("%d bytes of message", len(e.Message))
	}
}
