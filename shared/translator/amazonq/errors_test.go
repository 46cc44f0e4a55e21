package amazonq_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/shared/translator"
	"sluice/shared/translator/amazonq"
)

func TestParseError(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		body   string
		want   int
		typ    string
		words  string
	}{
		{"throttled", 429, `{"__type":"com.amazon.aws.codewhisperer#ThrottlingException","message":"Too many"}`, 429, "rate_limit_error", "too often"},
		{"the other crate's name", 400, `{"__type":"ThrottlingError:http://x","message":"Too many"}`, 429, "rate_limit_error", "too often"},
		{"a month's quota, which comes as 400", 400, `{"__type":"ThrottlingException","message":"limit","reason":"MONTHLY_REQUEST_COUNT"}`, 429, "rate_limit_error", "month"},
		{"a day's", 429, `{"__type":"ThrottlingException","reason":"DAILY_REQUEST_COUNT"}`, 429, "rate_limit_error", "day"},
		{"the overage", 402, `{"__type":"ServiceQuotaExceededException","reason":"OVERAGE_REQUEST_LIMIT_EXCEEDED"}`, 429, "rate_limit_error", "overage"},
		{"no capacity", 429, `{"__type":"ThrottlingException","message":"I am busy","reason":"INSUFFICIENT_MODEL_CAPACITY"}`, 529, "overloaded_error", "capacity"},
		{"high load", 500, `{"message":"Encountered unexpectedly high load when processing the request, please try again."}`, 529, "overloaded_error", "capacity"},
		{"model unavailable", 500, `{"__type":"InternalServerException","reason":"MODEL_TEMPORARILY_UNAVAILABLE"}`, 529, "overloaded_error", "capacity"},
		{"D15: too long, by words", 400, `{"__type":"ValidationException","message":"Input is too long."}`, 400, "invalid_request_error", "prompt is too long"},
		{"D15: too long, by reason", 400, `{"__type":"ValidationException","message":"no","reason":"CONTENT_LENGTH_EXCEEDS_THRESHOLD"}`, 400, "invalid_request_error", "prompt is too long"},
		{"suspended", 403, `{"__type":"AccessDeniedException","message":"User 123456789012 is suspended","reason":"TEMPORARILY_SUSPENDED"}`, 403, "permission_error", "suspended"},
		{"denied; nothing of the account is told", 403, `{"__type":"AccessDeniedException","message":"User: arn:aws:sts::123456789012:x is not authorized"}`, 403, "permission_error", "access"},
		{"an expired login", 401, `{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`, 401, "authentication_error", "log in again"},
		{"no such model", 400, `{"__type":"ValidationException","message":"Invalid model.","reason":"INVALID_MODEL_ID"}`, 404, "not_found_error", "model:"},
		{"a request it does not like", 400, `{"__type":"ValidationException","message":"Improperly formed request."}`, 400, "invalid_request_error", "Improperly formed request."},
		{"one that names an account", 400, `{"__type":"ValidationException","message":"customization arn:aws:x:us-east-1:123456789012:y is bad"}`, 400, "invalid_request_error", "Validation"},
		{"the node's profile was the client's fault", 400, `{"__type":"ValidationException","message":"Invalid profileArn arn:aws:codewhisperer:us-east-1:123456789012:profile/X"}`, 403, "permission_error", "profile"},
		{"a client's text about profiles is its own", 400, `{"__type":"ValidationException","message":"'profileArn' at 'conversationState.currentMessage'"}`, 400, "invalid_request_error", "profileArn"},
		{"D15: a conversation's end is no quota", 402, `{"__type":"ServiceQuotaExceededException","message":"m","reason":"CONVERSATION_LIMIT_EXCEEDED"}`, 400, "invalid_request_error", "prompt is too long"},
		{"the service's failure", 500, `{"__type":"InternalServerException","message":"stack trace"}`, 500, "api_error", "failed"},
		{"HTML of a proxy", 502, `<html>bad gateway</html>`, 502, "api_error", "and no message"},
		{"nothing", 503, ``, 503, "overloaded_error", "and no message"},
		{"a capital letter", 400, `{"Message":"Bad input"}`, 400, "invalid_request_error", "Bad input"},
		{"a type that is none", 400, `{"__type":"<b>123456789012</b>"}`, 400, "invalid_request_error", "and no message"},
	} {
		t.Run(c.why, func(t *testing.T) {
			e := codec.ParseError(c.status, []byte(c.body))
			if e.Status != c.want || e.Type != c.typ || !strings.Contains(e.Message, c.words) || strings.Contains(e.Message, "123456789012") {
				t.Errorf("got %+v", e)
			}
			if e.TooLong() != strings.HasPrefix(c.why, "D15") {
				t.Errorf("too long: %v", e.TooLong())
			}
		})
	}
	if e := codec.ParseError(400, []byte(`{"message":"`+strings.Repeat("\u5929", 3000)+`"}`)); len(e.Message) > 2048 || !strings.HasSuffix(e.Message, "\u5929") {
		t.Errorf("a long message has %d bytes", len(e.Message))
	}
}

func TestReadReply_Error(t *testing.T) {
	var e *translator.Error
	if err := codec.ReadReply([]byte(`{"__type":"ThrottlingException","message":"m"}`), newListener().b); !errors.As(err, &e) || e.Status != 429 {
		t.Errorf("an error in place of an answer: %v", err)
	}
	full := stream(t, text("a"))
	for k := 1; k < len(full); k++ {
		if err := codec.ReadReply(full[:k], newListener().b); err == nil {
			t.Fatalf("cut off at %d: no error", k)
		}
	}
	if err := codec.ReadReply([]byte(`{"content":"a"}`), newListener().b); err == nil || errors.As(err, &e) && e.Status != 429 {
		t.Errorf("JSON that is no error: %v", err)
	}
}

func TestModelID(t *testing.T) {
	for in, want := range map[string]string{
		"claude-sonnet-4-5-20250929":  "claude-sonnet-4.5",
		"claude-sonnet-4-5-latest":    "claude-sonnet-4.5",
		"claude-sonnet-4-5":           "claude-sonnet-4.5",
		"claude-sonnet-4.5":           "claude-sonnet-4.5",
		"claude-sonnet-4-20250514":    "claude-sonnet-4",
		"claude-sonnet-4-0":           "claude-sonnet-4",
		"claude-sonnet-4":             "claude-sonnet-4",
		"claude-opus-4-1-20250805":    "claude-opus-4.1",
		"claude-haiku-4-5-20251001":   "claude-haiku-4.5",
		"claude-opus-5":               "claude-opus-5",
		"claude-opus-4-10":            "claude-opus-4.10",
		"claude-3-7-sonnet-20250219":  "claude-3-7-sonnet-20250219",
		"claude-3-5-haiku-latest":     "claude-3-5-haiku-latest",
		"claude-sonnet-4-5-thinking":  "claude-sonnet-4-5-thinking",
		"claude-sonnet-4-5-1":         "claude-sonnet-4-5-1",
		"claude-sonnet":               "claude-sonnet",
		"claude-sonnet-latest":        "claude-sonnet-latest",
		"claude-20250929":             "claude-20250929",
		"claude-":                     "claude-",
		"auto":                        "auto",
		"deepseek-3-2":                "deepseek-3-2",
		"":                            "",
		"CLAUDE_3_7_SONNET_20250219_": "CLAUDE_3_7_SONNET_20250219_",
	} {
		got := amazonq.ModelID(in)
		if got != want || amazonq.ModelID(got) != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
