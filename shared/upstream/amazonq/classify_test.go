package amazonq_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

func TestClassify(t *testing.T) {
	const month, day, usual = 16*24*time.Hour + 18*time.Hour, 18 * time.Hour, 30 * time.Second // from the fixed clock on
	j := func(kind, reason, message string) string {
		return `{"__type":"` + kind + `","reason":"` + reason + `","message":"` + message + `"}`
	}
	for _, c := range []struct {
		why    string
		status int
		header http.Header
		body   string
		class  upstream.Class
		wait   time.Duration
		all    bool
		block  string
	}{
		{"success", 200, nil, j("ThrottlingException", "", ""), upstream.OK, 0, false, ""},
		{"redirect", 302, nil, "", upstream.Server, 0, false, ""},
		{"suspended", 403, nil, j("AccessDeniedException", "TEMPORARILY_SUSPENDED", "m"), upstream.Credential, 0, false, core.BlockedSuspended},
		{"suspended, streaming name with namespace", 400, nil, j("com.amazon#AccessDeniedError", "TEMPORARILY_SUSPENDED", ""), upstream.Credential, 0, false, core.BlockedSuspended},
		{"suspended without reason", 403, nil, j("AccessDeniedException", "", "TEMPORARILY_SUSPENDED: write to us"), upstream.Credential, 0, false, core.BlockedSuspended},
		{"the word in a client's own text does not suspend", 400, nil, j("ValidationException", "", "bad input: TEMPORARILY_SUSPENDED"), upstream.ClientFault, 0, false, ""},
		{"nor within another member", 403, nil, `{"echo":{"reason":"TEMPORARILY_SUSPENDED"},"message":"no"}`, upstream.Credential, 0, false, ""},
		{"a reason before the cut counts", 403, nil, `{"reason":"TEMPORARILY_SUSPENDED","message":"` + strings.Repeat("x", 99), upstream.Credential, 0, false, core.BlockedSuspended},
		{"month, as 400", 400, nil, j("ThrottlingException", "MONTHLY_REQUEST_COUNT", ""), upstream.RateLimited, month, true, ""},
		{"month, as 429 with a shorter time", 429, http.Header{"Retry-After": {"5"}}, j("ServiceQuotaExceededError", "MONTHLY_REQUEST_COUNT", ""), upstream.RateLimited, month, true, ""},
		{"overages", 402, nil, j("ServiceQuotaExceededException", "OVERAGE_REQUEST_LIMIT_EXCEEDED", ""), upstream.RateLimited, month, true, ""},
		{"day", 429, nil, j("ThrottlingException", "DAILY_REQUEST_COUNT", ""), upstream.RateLimited, day, true, ""},
		{"quota of an unknown kind", 402, nil, j("ServiceQuotaExceededException", "NEW", ""), upstream.RateLimited, time.Minute, true, ""},
		{"capacity comes as throttling", 429, nil, j("ThrottlingException", "INSUFFICIENT_MODEL_CAPACITY", ""), upstream.Overloaded, 0, false, ""},
		{"model unavailable", 500, nil, j("InternalServerException", "MODEL_TEMPORARILY_UNAVAILABLE", ""), upstream.Overloaded, 0, false, ""},
		{"high load", 500, nil, j("InternalServerException", "", "Encountered unexpectedly high load when processing the request, please try again."), upstream.Overloaded, 0, false, ""},
		{"throttled", 429, nil, j("ThrottlingException", "", ""), upstream.RateLimited, usual, false, ""},
		{"throttled, as 400", 400, nil, j("ThrottlingException", "", ""), upstream.RateLimited, usual, false, ""},
		{"throttled, as 400, by header", 400, http.Header{"X-Amzn-Errortype": {"ThrottlingException:http://x/"}, "Retry-After": {"7"}}, "", upstream.RateLimited, 7 * time.Second, false, ""},
		{"429 alone, as within a stream", 429, http.Header{}, "", upstream.RateLimited, usual, false, ""},
		{"529 alone, as within a stream", 529, http.Header{}, "", upstream.Overloaded, 0, false, ""},
		{"too long by reason", 400, nil, j("ValidationException", "CONTENT_LENGTH_EXCEEDS_THRESHOLD", ""), upstream.ClientFault, 0, false, ""},
		{"too long by text", 400, nil, j("ValidationException", "", "Input is too long."), upstream.ClientFault, 0, false, ""},
		{"too long, as 500: no node is to blame", 500, nil, j("InternalServerException", "", "Input is too long."), upstream.ClientFault, 0, false, ""},
		{"model: another account may be offered it", 400, nil, j("ValidationException", "INVALID_MODEL_ID", ""), upstream.NotOffered, 0, false, ""},
		{"improper", 400, nil, j("ValidationException", "", "Improperly formed request."), upstream.ClientFault, 0, false, ""},
		{"access denied, as 400", 400, nil, j("AccessDeniedException", "", ""), upstream.Credential, 0, false, ""},
		{"a feature that a plan lacks took the node from all models", 400, nil, j("AccessDeniedException", "FEATURE_NOT_SUPPORTED", ""), upstream.NotOffered, 0, false, ""},
		{"and so did a denied model", 403, nil, j("AccessDeniedException", "", "Your plan does not include model claude-opus-5."), upstream.NotOffered, 0, false, ""},
		{"a denied permission is the account's", 403, nil, j("AccessDeniedException", "", "User is not authorized to perform bedrock:InvokeModel"), upstream.Credential, 0, false, ""},
		{"a denial with a reason is not about a model", 403, nil, j("AccessDeniedException", "UNAUTHORIZED_CUSTOMIZATION_RESOURCE_ACCESS", "no model"), upstream.Credential, 0, false, ""},
		{"the profile was the client's fault", 400, nil, j("ValidationException", "", "profileArn is required for this request."), upstream.Credential, 0, false, ""},
		{"the profile, as a constraint", 400, nil, j("ValidationError", "", "1 validation error detected: Value 'x' at 'profileArn' failed to satisfy constraint"), upstream.Credential, 0, false, ""},
		{"the profile, by its value", 400, nil, j("ValidationException", "", "Invalid arn:aws:codewhisperer:us-east-1:123456789012:profile/X"), upstream.Credential, 0, false, ""},
		{"a client's own text about profiles", 400, nil, j("ValidationException", "", "Value 'profileArn' at 'conversationState.currentMessage' failed"), upstream.ClientFault, 0, false, ""},
		{"the conversation's end is no quota, though it comes as one", 402, nil, j("ServiceQuotaExceededException", "CONVERSATION_LIMIT_EXCEEDED", ""), upstream.ClientFault, 0, false, ""},
		{"401", 401, nil, "", upstream.Credential, 0, false, ""},
		{"internal, as 400", 400, nil, j("InternalServerException", "", ""), upstream.Server, 0, false, ""},
		{"internal", 500, nil, j("InternalServerError", "", ""), upstream.Server, 0, false, ""},
		{"unavailable", 503, nil, j("ServiceUnavailableException", "", ""), upstream.Server, 0, false, ""},
		{"no JSON", 400, nil, "TEMPORARILY_SUSPENDED", upstream.ClientFault, 0, false, ""},
		{"an array", 403, nil, `["TEMPORARILY_SUSPENDED"]`, upstream.Credential, 0, false, ""},
		{"members of other types", 400, nil, `{"__type":1,"reason":["MONTHLY_REQUEST_COUNT"],"message":{}}`, upstream.ClientFault, 0, false, ""},
		{"deep", 400, nil, strings.Repeat(`{"a":`, 60_000), upstream.ClientFault, 0, false, ""},
		{"huge", 400, nil, `{"message":"` + strings.Repeat("x", 1<<20) + `","reason":"MONTHLY_REQUEST_COUNT"}`, upstream.ClientFault, 0, false, ""},
	} {
		f := client(nil, nil, nil).Classify(c.status, c.header, []byte(c.body))
		if f.Class != c.class || f.RetryAfter != c.wait || f.All != c.all || f.Blocked != c.block || f.Status != c.status {
			t.Errorf("%s: got %+v", c.why, f)
		}
		if strings.Contains(f.Reason, "x/") || strings.Contains(f.Reason, "SUSPENDED") || len(f.Reason) > 80 {
			t.Errorf("%s: the reason %q holds the upstream's text", c.why, f.Reason)
		}
	}
}

// The last days of a month, and of a year, in a zone ahead of UTC.
func TestClassify_MonthEnds(t *testing.T) {
	for now, want := range map[time.Time]time.Duration{
		time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC):                  time.Second,
		time.Date(2027, 1, 1, 1, 0, 0, 0, time.FixedZone("", 2*3600)):     time.Hour,
		time.Date(2028, 2, 1, 0, 0, 0, 0, time.UTC):                       29 * 24 * time.Hour,
		time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC):                      24 * time.Hour,
		time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC).Add(-time.Nanosecond): time.Nanosecond,
	} {
		c := amazonq.New(amazonq.Options{Now: func() time.Time { return now }})
		if f := c.Classify(400, nil, []byte(`{"reason":"MONTHLY_REQUEST_COUNT"}`)); f.RetryAfter != want {
			t.Errorf("%v: got %v, want %v", now, f.RetryAfter, want)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(403, `{"__type":"a#AccessDeniedException:x","reason":"TEMPORARILY_SUSPENDED"}`)
	f.Add(400, `{"message":"\ud800","reason":null`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		got := client(nil, nil, nil).Classify(status, http.Header{}, []byte(body))
		ok := status >= 200 && status < 300
		if (got.Class == upstream.OK) != ok || got.RetryAfter < 0 || got.RetryAfter > 31*24*time.Hour ||
			(got.RetryAfter > 0) != (got.Class == upstream.RateLimited) || got.Blocked != "" && got.Class != upstream.Credential {
			t.Errorf("%d: got %+v", status, got)
		}
	})
}
