package bedrock_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

const principal = "arn:aws:sts::123456789012:assumed-role/gateway/session"

func denial(action, resource string) string {
	return "User: " + principal + " is not authorized to perform: " + action + " on resource: " + resource + " because no identity-based policy allows the " + action + " action"
}

func TestClassify(t *testing.T) {
	const model = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-7"
	aws := func(message string) string { return fmt.Sprintf(`{"message":%q}`, message) }
	native := func(kind, message string) string {
		return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q},"request_id":"r"}`, kind, message)
	}
	for _, c := range []struct {
		why    string
		status int
		kind   string // x-amzn-errortype
		body   string
		class  upstream.Class
		reason string // part of
		wait   time.Duration
	}{
		{"success", 200, "", "{}", upstream.OK, "", 0},
		{"redirect", 302, "", "", upstream.Server, "302", 0},
		{"throttled", 429, "ThrottlingException", aws("Too many requests, please wait before trying again."), upstream.RateLimited, "throttled", 30 * time.Second},
		{"throttled, kind with a namespace", 429, "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/", aws("Too many tokens, please wait before trying again."), upstream.RateLimited, "throttled", 30 * time.Second},
		{"throttled with 400", 400, "ThrottlingException", aws("Rate exceeded"), upstream.RateLimited, "throttled", 30 * time.Second},
		{"an answer that could not be read, in a stream", 500, "", `{"__type":"malformed_tool_use"}`, upstream.ClientFault, "what the model wrote", 0},
		{"a used-up day", 429, "ThrottlingException", aws("Too many tokens per day, please wait before trying again."), upstream.RateLimited, "day's tokens", time.Hour},
		{"a used-up day, native", 429, "", native("rate_limit_error", "Too many tokens per day, please wait before trying again."), upstream.RateLimited, "day's tokens", time.Hour},
		{"a used-up day without kind", 429, "", aws("Too many tokens per day"), upstream.RateLimited, "429", time.Hour},
		{"throttled, native", 429, "", native("rate_limit_error", "x"), upstream.RateLimited, "throttled", 30 * time.Second},
		{"quota", 400, "ServiceQuotaExceededException", aws("x"), upstream.RateLimited, "Service Quotas", time.Minute},
		{"model being loaded", 429, "ModelNotReadyException", aws("Model is not ready for inference. Wait and try your request again."), upstream.Overloaded, "made ready", 0},
		{"unavailable", 503, "ServiceUnavailableException", aws("Bedrock is unable to process your request."), upstream.Overloaded, "overloaded", 0},
		{"unavailable without a word", 503, "", "", upstream.Overloaded, "overloaded", 0},
		{"overloaded, native", 529, "", native("overloaded_error", "Overloaded"), upstream.Overloaded, "overloaded", 0},
		{"overloaded, native, with another status", 500, "", native("overloaded_error", "Overloaded"), upstream.Overloaded, "overloaded", 0},
		{"model timeout", 408, "ModelTimeoutException", aws("x"), upstream.Timeout, "too long", 0},
		{"model error", 424, "ModelErrorException", aws("x"), upstream.Server, "failed", 0},
		{"model error without kind", 424, "", "", upstream.Server, "failed", 0},
		{"server", 500, "InternalServerException", aws("x"), upstream.Server, "failed", 0},
		{"server, native", 500, "", native("api_error", "x"), upstream.Server, "failed", 0},
		{"IAM, model", 403, "AccessDeniedException", aws(denial("bedrock:InvokeModelWithResponseStream", model)), upstream.NotOffered, "bedrock:InvokeModelWithResponseStream on the model", 0},
		{"IAM, profile", 403, "AccessDeniedException", aws(denial("bedrock:InvokeModel", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x.y")), upstream.NotOffered, "in each of its regions", 0},
		{"IAM, something else", 403, "AccessDeniedException", aws(denial("bedrock-mantle:CreateInference", "arn:aws:bedrock-mantle:us-east-1:123456789012:project/default")), upstream.Credential, "bedrock-mantle:CreateInference is not allowed", 0},
		{"IAM, native", 403, "", native("permission_error", denial("bedrock:InvokeModel", model)), upstream.NotOffered, "bedrock:InvokeModel on", 0},
		{"IAM, an action that is none", 403, "AccessDeniedException", aws(denial("<script>x</script>", model)), upstream.NotOffered, "the IAM action on", 0},
		{"model access", 403, "AccessDeniedException", aws("You don't have access to the model with the specified model ID."), upstream.NotOffered, "model access page", 0},
		{"cache points where the model takes none", 403, "AccessDeniedException", aws("You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more information."), upstream.NotOffered, "cache points", 0},
		{"an API key that is not known", 401, "UnrecognizedClientException", aws("Invalid bearer token"), upstream.Credential, "the API key is not known", 0},
		{"marketplace", 403, "AccessDeniedException", aws("Model access is denied due to IAM user or service role is not authorized to perform the required AWS Marketplace actions (aws-marketplace:ViewSubscriptions, aws-marketplace:Subscribe) to enable access to this model."), upstream.NotOffered, "subscription", 0},
		{"use case form", 404, "ResourceNotFoundException", aws("Model use case details have not been submitted for this account. Fill out the Anthropic use case details form."), upstream.NotOffered, "use case", 0},
		{"country", 400, "ValidationException", aws("Access to Anthropic models is not allowed from unsupported countries, regions, or territories."), upstream.NotOffered, "country", 0},
		{"denied without a word", 403, "AccessDeniedException", `{}`, upstream.Credential, "bedrock:InvokeModel", 0},
		{"API key", 403, "AccessDeniedException", aws("Authentication failed: Please make sure your API Key is valid."), upstream.Credential, "the key is refused", 0},
		{"API key, native", 401, "", native("authentication_error", "invalid x-api-key"), upstream.Credential, "the key is refused", 0},
		{"API key expired", 403, "AccessDeniedException", aws("Bearer Token has expired"), upstream.Credential, "expired", 0},
		{"keys", 403, "UnrecognizedClientException", aws("The security token included in the request is invalid."), upstream.Credential, "not known", 0},
		{"expired", 403, "ExpiredTokenException", aws("The security token included in the request is expired"), upstream.Credential, "expired", 0},
		{"clock", 403, "InvalidSignatureException", aws("Signature expired: 20261122T110000Z is now earlier than 20261122T115500Z (20261122T120000Z - 5 min.)"), upstream.Credential, "clock", 0},
		{"secret", 403, "InvalidSignatureException", aws("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."), upstream.Credential, "secret access key is wrong", 0},
		{"region", 403, "InvalidSignatureException", aws("Credential should be scoped to a valid region. "), upstream.Credential, "another region", 0},
		{"service", 401, "", `{"error":{"message":"Credential should be scoped to correct service: 'bedrock-mantle'.","type":"authentication_error"}}`, upstream.Credential, "another service", 0},
		{"kind in the body", 400, "", `{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"x"}`, upstream.Credential, "not known", 0},
		{"on demand", 400, "ValidationException", aws("Invocation of model ID anthropic.claude-opus-4-7 with on-demand throughput isn\u2019t supported. Retry your request with the ID or ARN of an inference profile that contains this model."), upstream.NotOffered, "inference profile", 0},
		{"unknown id", 400, "ValidationException", aws("The provided model identifier is invalid."), upstream.NotOffered, "region", 0},
		{"counting", 400, "ValidationException", aws("The provided model doesn't support counting tokens."), upstream.NotOffered, "CountTokens", 0},
		{"no such model", 404, "ResourceNotFoundException", aws("This model version has reached the end of its life."), upstream.NotOffered, "end of life", 0},
		{"no such model, native", 404, "", native("not_found_error", "model: us.anthropic.claude-opus-4-7"), upstream.NotOffered, "without region prefix", 0},
		{"another API", 400, "", native("invalid_request_error", "The model 'openai.gpt-oss-120b' does not support the '/v1/messages' API"), upstream.NotOffered, "converse", 0},
		{"no such path", 404, "", native("not_found_error", "Not Found"), upstream.ClientFault, "404", 0},
		{"account not enabled", 400, "ValidationException", aws("Operation not allowed"), upstream.Credential, "AWS support", 0},
		{"client's own fault", 400, "ValidationException", aws("messages: roles must alternate"), upstream.ClientFault, "400", 0},
		{"client's own fault, native", 400, "", native("invalid_request_error", "max_tokens: Field required"), upstream.ClientFault, "400", 0},
		{"a long message quotes what was written", 400, "ValidationException", aws("on-demand throughput isn't supported" + strings.Repeat(" secret", 300)), upstream.ClientFault, "400", 0},
		{"too large", 413, "", native("request_too_large", "x"), upstream.ClientFault, "413", 0},
		{"billing", 400, "", native("billing_error", "x"), upstream.Credential, "billed", 0},
		{"no JSON", 502, "", "<html>Bad Gateway</html>", upstream.Server, "502", 0},
		{"code that is a number", 400, "", `{"code":17,"message":{"a":1},"error":"x"}`, upstream.ClientFault, "400", 0},
	} {
		h := http.Header{}
		if c.kind != "" {
			h.Set("X-Amzn-Errortype", c.kind)
		}
		f := bedrock.New(bedrock.Options{}).Classify(c.status, h, []byte(c.body))
		if f.Class != c.class || f.Status != c.status || f.RetryAfter != c.wait || !strings.Contains(f.Reason, c.reason) || f.All != (c.kind == "ServiceQuotaExceededException") {
			t.Errorf("%s: got %+v", c.why, f)
		}
		for _, private := range []string{"123456789012", " secret secret", "script>", "openai.gpt"} {
			if strings.Contains(f.Reason, private) {
				t.Errorf("%s: the reason repeats the answer: %s", c.why, f.Reason)
			}
		}
	}
	h := http.Header{"X-Amzn-Errortype": {"ThrottlingException"}, "Retry-After": {"7"}}
	if f := bedrock.New(bedrock.Options{}).Classify(429, h, nil); f.RetryAfter != 7*time.Second {
		t.Errorf("retry-after: got %+v", f)
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(429, "ThrottlingException:x", `{"message":"Too many tokens per day"}`)
	f.Add(403, "", `{"__type":"a#AccessDeniedException","message":"User: x is not authorized to perform: a:b on resource: c foundation-model/d"}`)
	f.Add(403, "", `<Error><Code>ExpiredToken</Code><Message>x</Message></Error>`)
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		v := bedrock.New(bedrock.Options{}).Classify(status, http.Header{"X-Amzn-Errortype": {kind}}, []byte(body))
		if len(v.Reason) > 400 || v.RetryAfter < 0 || v.RetryAfter > 24*time.Hour || (v.Class == upstream.OK) != (status >= 200 && status < 300) {
			t.Errorf("got %+v", v)
		}
	})
}
