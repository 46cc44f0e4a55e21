package upstreamtest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	. "sluice/shared/upstream/upstreamtest"
)

// The published vectors of the Signature Version 4 Test Suite, signed with
// AKIDEXAMPLE/20150830/us-east-1/service: docs.aws.amazon.com/general/latest/gr/
// signature-v4-test-suite.html and, the same suite, @aws-sdk/signature-v4.
func TestSigV4Vectors(t *testing.T) {
	for _, c := range []struct {
		name, query, signed, signature string
		header                         http.Header
	}{
		{"get-vanilla", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", nil},
		{"get-vanilla-query-order-key-case", "Param2=value2&Param1=value1", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", nil},
		{"get-header-key-duplicate", "", "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea", http.Header{"My-Header1": {"value2", "value2", "value1"}}},
		{"get-header-value-multiline", "", "host;my-header1;x-amz-date", "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790", http.Header{"My-Header1": {"value1", "value2", "value3"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Request{Method: http.MethodGet, Path: "/", RawQuery: c.query, Host: "example.amazonaws.com", Header: http.Header{
				"X-Amz-Date":    {"20150830T123600Z"},
				"Authorization": {"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" + c.signed + ", Signature=" + c.signature},
			}}
			for name, values := range c.header {
				r.Header[name] = values
			}
			canonical, got, err := SigV4(r, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
			if err != nil || got != c.signature {
				t.Errorf("got %s, %v, want %s for\n%s", got, err, c.signature, canonical)
			}
		})
	}
	for _, header := range []string{"", "Bearer x", "AWS4-HMAC-SHA256 Credential=a/b/c", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=x"} {
		if _, _, err := SigV4(Request{Header: http.Header{"Authorization": {header}}}, "x"); err == nil {
			t.Errorf("%q is no header of a signature", header)
		}
	}
}

// bedrockSign signs a request as the official SDKs do, with an escaped path that
// the signer escapes again.
func bedrockSign(t *testing.T, r *http.Request, body, service, region string, c BedrockCredentials, at time.Time) {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	cred := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, hex.EncodeToString(sum[:]), service, region, at); err != nil {
		t.Fatal(err)
	}
}

const (
	bClaude    = `{"anthropic_version":"bedrock-2023-05-31","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
	bNative    = `{"model":"anthropic.claude-opus-5-5","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
	bTalk      = `{"messages":[{"role":"user","content":[{"text":"hi"}]}]}`
	bOpus      = "us.anthropic.claude-opus-5-5"
	bSonnet45  = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
	bNova      = "amazon.nova-pro-v1:0"
	bAppARN    = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/opus55app001"
	bModelPath = "/model/"
)

// bedrockRequest is a POST with an API key.
func bedrockRequest(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r := newRequest(t, deadline(t), http.MethodPost, url, body)
	r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer k"}, "Anthropic-Version": {"2023-06-01"}}
	return r
}

func bedrockPath(k *Bedrock, model, action string) string {
	return k.RuntimeURL() + bModelPath + url.PathEscape(model) + "/" + action
}

// signedRequest is bedrockRequest with a signature by the official signer.
func signedRequest(t *testing.T, url, body, service string, c BedrockCredentials, at time.Time) *http.Request {
	t.Helper()
	r := bedrockRequest(t, url, body)
	r.Header.Del("Authorization")
	bedrockSign(t, r, body, service, "us-east-1", c, at)
	return r
}

// The verifier takes what the official signer makes, on every host, with the
// paths that are hard: colons, slashes of ARNs, queries.
func TestBedrockSignature(t *testing.T) {
	for _, c := range []struct{ why, service, method, path, body string }{
		{"a colon in the model id", "bedrock", "POST", "/runtime/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke", bClaude},
		{"a colon that is not escaped", "bedrock", "POST", "/runtime/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke", bClaude},
		{"an ARN", "bedrock", "POST", "/runtime/model/" + url.PathEscape(bAppARN) + "/converse", bTalk},
		{"Messages on mantle", "bedrock-mantle", "POST", "/mantle/anthropic/v1/messages", bNative},
		{"Messages on runtime", "bedrock", "POST", "/runtime/anthropic/v1/messages?beta=true", strings.Replace(bNative, "anthropic.", "us.anthropic.", 1)},
		{"the Claude Platform on AWS", "aws-external-anthropic", "POST", "/external/v1/messages", plainBody},
		{"a query in another order", "bedrock", "GET", "/control/inference-profiles?type=SYSTEM_DEFINED&maxResults=2", ""},
		{"a query whose values have another order than its names", "bedrock", "GET", "/control/foundation-models?byProvider=Anthropic&byInferenceType=ON_DEMAND", ""},
		{"a query with a plus", "bedrock", "GET", "/control/foundation-models?byProvider=An+thropic%2F", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			k := NewBedrock(t)
			r := newRequest(t, deadline(t), c.method, k.URL+c.path, c.body)
			r.Header = http.Header{"Content-Type": {"application/json"}, "Anthropic-Version": {"2023-06-01"}, "Anthropic-Workspace-Id": {"w  1"}}
			bedrockSign(t, r, c.body, c.service, "us-east-1", DefaultBedrockCredentials(), time.Now())
			mustStatus(t, do(t, r), 200)
			if refused := k.Refused(); len(refused) > 0 {
				t.Error(refused)
			}
			if calls := k.Calls(); calls[0].AccessKeyID != "AKIAIOSFODNN7EXAMPLE" || calls[0].SignedService != c.service || calls[0].SignedRegion != "us-east-1" {
				t.Errorf("got %+v", calls[0])
			}
		})
	}
}

// The refusals of the framework in front of the service. Texts: aws/aws-sdk-js
// issues 254 and 4545, awslabs/aws-sdk documentation "Common errors", Aider issue
// 1986, ai4s-research/open-science issue 53.
func TestBedrockRefusesCredentials(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	static := DefaultBedrockCredentials()
	temporary := BedrockCredentials{AccessKeyID: "ASIATEMP", SecretAccessKey: "s", SessionToken: "tok", Expires: start.Add(time.Hour)}
	expired := BedrockCredentials{AccessKeyID: "ASIAOLD", SecretAccessKey: "s", SessionToken: "old", Expires: start}
	sign := func(service string, c BedrockCredentials, at time.Duration) func(*testing.T, *http.Request) {
		return func(t *testing.T, r *http.Request) {
			r.Header.Del("Authorization")
			bedrockSign(t, r, bClaude, service, "us-east-1", c, start.Add(at))
		}
	}
	after := func(first func(*testing.T, *http.Request), change func(*http.Request)) func(*testing.T, *http.Request) {
		return func(t *testing.T, r *http.Request) {
			first(t, r)
			change(r)
		}
	}
	replace := func(old, with string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, with, 1))
		}
	}
	for _, c := range []struct {
		why    string
		change func(*testing.T, *http.Request)
		shape  string // empty: accepted
		want   string
	}{
		{"a valid signature", sign("bedrock", static, 0), "", ""},
		{"a valid signature of temporary credentials", sign("bedrock", temporary, 0), "", ""},
		{"a clock 5 minutes slow is just right", sign("bedrock", static, -5*time.Minute), "", ""},
		{"a clock 5 minutes fast is just right", sign("bedrock", static, 5*time.Minute), "", ""},
		{"a clock too slow", sign("bedrock", static, -301*time.Second), "InvalidSignatureException", "Signature expired: 20261122T115459Z is now earlier than 20261122T115500Z (20261122T120000Z - 5 min.)"},
		{"a clock too fast", sign("bedrock", static, 301*time.Second), "InvalidSignatureException", "Signature not yet current: 20261122T120501Z is still later than 20261122T120500Z (20261122T120000Z + 5 min.)"},
		{"no credential", func(_ *testing.T, r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"an unknown key", sign("bedrock", BedrockCredentials{AccessKeyID: "AKIAX", SecretAccessKey: "s"}, 0), "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"a wrong secret", sign("bedrock", BedrockCredentials{AccessKeyID: static.AccessKeyID, SecretAccessKey: "s"}, 0), "InvalidSignatureException", "does not match the signature you provided"},
		{"temporary credentials without the token", sign("bedrock", BedrockCredentials{AccessKeyID: "ASIATEMP", SecretAccessKey: "s"}, 0), "UnrecognizedClientException", "security token"},
		{"a foreign token beside static keys (anthropic-sdk-typescript issue 537)", sign("bedrock", BedrockCredentials{AccessKeyID: static.AccessKeyID, SecretAccessKey: static.SecretAccessKey, SessionToken: "lambda"}, 0), "UnrecognizedClientException", "security token"},
		{"expired credentials", sign("bedrock", expired, 0), "ExpiredTokenException", "The security token included in the request is expired"},
		{"mantle's service on runtime", sign("bedrock-mantle", static, 0), "InvalidSignatureException", "Credential should be scoped to correct service: 'bedrock'."},
		{"another region", func(t *testing.T, r *http.Request) {
			r.Header.Del("Authorization")
			bedrockSign(t, r, bClaude, "bedrock", "eu-west-1", static, start)
		}, "InvalidSignatureException", "Credential should be scoped to a valid region."},
		{"another terminator", after(sign("bedrock", static, 0), replace("aws4_request", "aws4")), "InvalidSignatureException", "valid terminator: 'aws4_request'"},
		{"another date in the scope", after(sign("bedrock", static, 0), replace("20261122", "20261121")), "InvalidSignatureException", "'20261121' != '20261122'"},
		{"a date of another form", after(sign("bedrock", static, 0), func(r *http.Request) { r.Header.Set("X-Amz-Date", "Sun, 22 Nov 2026 12:00:00 GMT") }), "InvalidSignatureException", "Date"},
		{"a changed header", after(sign("bedrock", static, 0), func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") }), "InvalidSignatureException", "does not match"},
		{"a changed query", after(sign("bedrock", static, 0), func(r *http.Request) { r.URL.RawQuery = "a=b" }), "InvalidSignatureException", "does not match"},
		{"the payload hash of another body", func(t *testing.T, r *http.Request) {
			r.Header.Del("Authorization")
			bedrockSign(t, r, "{}", "bedrock", "us-east-1", static, start)
		}, "InvalidSignatureException", "does not match"},
		{"a hash header of another body", func(t *testing.T, r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64))
			bedrockSign(t, r, bClaude, "bedrock", "us-east-1", static, start)
		}, "InvalidSignatureException", "does not match"},
		{"an amz header that is not signed", after(sign("bedrock", static, 0), func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") }), "InvalidSignatureException", "'x-amz-extra' must be a 'SignedHeader'"},
		{"the host not signed", after(sign("bedrock", static, 0), replace(";host", "")), "InvalidSignatureException", "'host' must be a 'SignedHeader'"},
		{"a header without signature", after(sign("bedrock", static, 0), replace("Signature=", "Sig=")), "IncompleteSignatureException", "Authorization header requires 'Signature' parameter."},
		{"another scheme", func(_ *testing.T, r *http.Request) { r.Header.Set("Authorization", "Basic x") }, "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'Basic'"},
		{"an unknown API key", func(_ *testing.T, r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, "AccessDeniedException", `{"Message":"Authentication failed: Please make sure your API Key is valid."}`},
		{"an API key in x-api-key, which is of Messages", func(_ *testing.T, r *http.Request) { r.Header = http.Header{"X-Api-Key": {"k"}} }, "MissingAuthenticationTokenException", "Missing"},
		{"a valid API key", func(*testing.T, *http.Request) {}, "", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			k := NewBedrock(t, WithKey("k"))
			k.SetClock(func() time.Time { return start })
			k.SetCredentials(static, temporary, expired)
			k.Queue(Reply(Text("queued")))
			r := bedrockRequest(t, bedrockPath(k, bOpus, "invoke"), bClaude)
			c.change(t, r)
			got := do(t, r)
			if c.shape == "" {
				mustStatus(t, got, 200)
				return
			}
			mustStatus(t, got, 403)
			if !strings.Contains(got.body, c.want) || got.Header.Get("X-Amzn-Errortype") != c.shape {
				t.Errorf("got %s %s", got.Header.Get("X-Amzn-Errortype"), got.body)
			}
			if got.Header.Get("Date") != "Sun, 22 Nov 2026 12:00:00 GMT" {
				t.Errorf("got Date %q, by which clients correct their clock", got.Header.Get("Date"))
			}
			if len(k.Refused()) != 1 || k.Queued() != 1 {
				t.Errorf("got %q, %d queued", k.Refused(), k.Queued())
			}
		})
	}
}

// In the Messages API the same refusals have Anthropic's shape.
func TestBedrockRefusesCredentialsOfMessages(t *testing.T) {
	k := NewBedrock(t, WithKey("k"))
	r := bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages", bNative)
	r.Header.Set("Authorization", "Bearer x")
	bedrockError(t, do(t, r), 401, "authentication_error", "Invalid bearer token")
	r = signedRequest(t, k.MantleURL()+"/anthropic/v1/messages", bNative, "bedrock", DefaultBedrockCredentials(), time.Now())
	bedrockError(t, do(t, r), 403, "permission_error", "correct service: 'bedrock-mantle'")
	r = bedrockRequest(t, k.MantleURL()+"/anthropic/v1/messages", bNative)
	r.Header.Del("Authorization")
	r.Header.Set("X-Api-Key", "k")
	mustStatus(t, do(t, r), 200)
	r = bedrockRequest(t, k.ExternalURL()+"/v1/messages", plainBody)
	bedrockError(t, do(t, r), 400, "invalid_request_error", "anthropic-workspace-id: header is required")
}

// bedrockError checks an error of the Messages API.
func bedrockError(t *testing.T, got reply, status int, errType, message string) {
	t.Helper()
	mustStatus(t, got, status)
	var body struct {
		Type  string
		Error struct{ Type, Message string }
	}
	decode(t, got.body, &body)
	if body.Type != "error" || body.Error.Type != errType || !strings.Contains(body.Error.Message, message) {
		t.Errorf("got %s, want %s %q", got.body, errType, message)
	}
}

// Expired credentials, refreshed: the same request goes through with the new
// ones, and only with them.
func TestBedrockExpire(t *testing.T) {
	k := NewBedrock(t)
	old := BedrockCredentials{AccessKeyID: "ASIA1", SecretAccessKey: "s", SessionToken: "t"}
	k.SetCredentials(old)
	ask := func(c BedrockCredentials) reply {
		return do(t, signedRequest(t, bedrockPath(k, bOpus, "invoke"), bClaude, "bedrock", c, time.Now()))
	}
	mustStatus(t, ask(old), 200)
	k.Expire("ASIA1")
	if got := ask(old); got.Header.Get("X-Amzn-Errortype") != "ExpiredTokenException" {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	k.Reset()
	mustStatus(t, ask(DefaultBedrockCredentials()), 200)
}
