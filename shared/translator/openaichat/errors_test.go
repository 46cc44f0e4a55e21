package openaichat_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/translator"
)

func TestParseError(t *testing.T) {
	for _, c := range []struct {
		status                         int
		body, typ, message, code, parm string
	}{
		{400, `{"error":{"message":"bad","type":"invalid_request_error","param":"messages","code":"x"}}`, "invalid_request_error", "bad", "x", "messages"},
		{401, `{"error":{"message":"key","code":"invalid_api_key"}}`, "authentication_error", "key", "invalid_api_key", ""},
		{404, `{"error":{"message":"no model","code":"model_not_found"}}`, "not_found_error", "no model", "model_not_found", ""},
		{429, `{"error":{"message":"pay","type":"insufficient_quota","code":null}}`, "rate_limit_error", "pay", "insufficient_quota", ""},
		{500, `{"error":"boom"}`, "api_error", "boom", "", ""},
		{503, `{"message":"later","type":"x","code":503}`, "overloaded_error", "later", "", ""},
		{422, `{"detail":"nope"}`, "invalid_request_error", "nope", "", ""},
		{422, `{"detail":[{"loc":["body"],"msg":"field required"}]}`, "invalid_request_error", "field required", "", ""},
		{400, `{"error":{"message":"This model's maximum context length is 8192 tokens."}}`, "invalid_request_error", "This model's maximum context length is 8192 tokens.", translator.CodeContext, ""},
		{400, `{"error":{"message":"long","code":"context_length_exceeded"}}`, "invalid_request_error", "long", translator.CodeContext, ""},
		{502, `<html>`, "api_error", "the upstream answered with status 502 and no message", "", ""},
		{500, ``, "api_error", "the upstream answered with status 500 and no message", "", ""},
		{500, `{"error":{"message":7}}`, "api_error", "the upstream answered with status 500 and no message", "", ""},
	} {
		e := codec.ParseError(c.status, []byte(c.body))
		if e.Status != c.status || e.Type != c.typ || e.Message != c.message || e.Code != c.code || e.Param != c.parm {
			t.Errorf("%d %s: %+v", c.status, c.body, e)
		}
	}
	if e := codec.ParseError(200, []byte(`{"error":{"message":"x","type":"rate_limit_error"}}`)); e.Status != 429 {
		t.Errorf("status 200: %+v", e)
	}
	if e := codec.ParseError(400, []byte(`{"error":"`+strings.Repeat("é", 1<<20)+`"}`)); len(e.Message) > 8<<10 || !strings.HasSuffix(e.Message, "é") {
		t.Errorf("a message of %d bytes", len(e.Message))
	}
}

// D36: the shape, and the words that clients act on.
func TestD36_AppendError(t *testing.T) {
	for _, c := range []struct {
		e    translator.Error
		want string
	}{
		{translator.Error{Status: 400, Message: "m\n", Param: "p"}, `{"error":{"message":"m\n","type":"invalid_request_error","param":"p","code":null}}`},
		{translator.Error{Status: 400, Message: "prompt is too long: 2 tokens > 1 maximum"}, `{"error":{"message":"prompt is too long: 2 tokens > 1 maximum","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}`},
		{translator.Error{Status: 401, Message: "m"}, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`},
		{translator.Error{Status: 403, Message: "m"}, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"permission_denied"}}`},
		{translator.Error{Status: 404, Message: "no such path"}, `{"error":{"message":"no such path","type":"invalid_request_error","param":null,"code":"not_found"}}`},
		{translator.Error{Status: 404, Message: "the Model x"}, `{"error":{"message":"the Model x","type":"invalid_request_error","param":null,"code":"model_not_found"}}`},
		{translator.Error{Status: 413, Message: "m"}, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"request_too_large"}}`},
		{translator.Error{Status: 429, Message: "m"}, `{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}`},
		{translator.Error{Status: 429, Message: "m", Code: "insufficient_quota"}, `{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"insufficient_quota"}}`},
		{translator.Error{Status: 529, Message: "m"}, `{"error":{"message":"m","type":"server_error","param":null,"code":"overloaded"}}`},
		{translator.Error{Status: 502, Message: "m"}, `{"error":{"message":"m","type":"server_error","param":null,"code":"server_error"}}`},
		{translator.Error{Type: "overloaded_error", Message: "m"}, `{"error":{"message":"m","type":"server_error","param":null,"code":"overloaded"}}`},
	} {
		got := codec.AppendError(nil, &c.e, "req")
		if string(got) != c.want || !json.Valid(got) {
			t.Errorf("%+v:\n%s\nwant\n%s", c.e, got, c.want)
		}
		if ev := string(codec.AppendErrorEvent(nil, &c.e, options)); ev != "data: "+c.want+"\n\n" {
			t.Errorf("event %q", ev)
		}
	}
}
