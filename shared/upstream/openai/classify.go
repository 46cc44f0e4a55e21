package openai

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"sluice/shared/upstream"
)

const (
	// quotaCooling is for a quota that is used up when the answer names no time: someone has to pay first.
	quotaCooling = time.Minute
	// maxReset bounds x-ratelimit-reset-*: a daily limit says hours, but a slot may come free long before all are back.
	maxReset = time.Hour
)

// Classify implements upstream.Client. Over the shared rule for statuses: a 429 for a used-up quota cools the node at least
// a minute when nothing names a time, and any other 429 without retry-after cools it until the limit named by
// x-ratelimit-reset-requests and -tokens is reset, an hour at most.
func (c *Client) Classify(status int, h http.Header, body []byte) upstream.Failure {
	f := upstream.ClassifyStatus(status, h)
	if f.Class != upstream.RateLimited {
		return f
	}
	named := upstream.RetryAfter(h, time.Now()) > 0
	if usedUp(body) {
		f.Reason += ": quota used up"
		if !named {
			f.RetryAfter = quotaCooling
		}
		return f
	}
	if reset := resetAfter(h); !named && reset > 0 {
		f.RetryAfter = reset
	}
	return f
}

// usedUp reports whether a 429 is about the account's money rather than its pace.
func usedUp(body []byte) bool {
	var b struct {
		Error struct{ Type, Code label }
	}
	if json.Unmarshal(body, &b) != nil {
		return false // cut off, or not this API's form: an ordinary 429
	}
	for _, l := range []label{b.Error.Code, b.Error.Type} {
		if l == "insufficient_quota" || l == "billing_not_active" || l == "billing_hard_limit_reached" {
			return true
		}
	}
	return false
}

// label is a string, or "" for whatever else a compatible service puts in its place: some send the status as a number.
type label string

// UnmarshalJSON implements json.Unmarshaler.
func (l *label) UnmarshalJSON(b []byte) error {
	var s string
	_ = json.Unmarshal(b, &s)
	*l = label(s)
	return nil
}

// resetAfter is the time until the limit that was hit is reset: that of the kinds with nothing remaining, else, when no
// kind says so (a request larger than what remains), the longer one. 0 when nothing is named.
func resetAfter(h http.Header) time.Duration {
	var empty, longest time.Duration
	for _, kind := range [...]string{"Requests", "Tokens"} {
		d := parseReset(h.Get("X-Ratelimit-Reset-" + kind))
		longest = max(longest, d)
		if strings.TrimSpace(h.Get("X-Ratelimit-Remaining-"+kind)) == "0" {
			empty = max(empty, d)
		}
	}
	if empty > 0 {
		longest = empty
	}
	return min(longest, maxReset)
}

// parseReset reads "1s", "6m0s", "20ms" and, which Go does not know, "1d2h". 0 for anything else.
func parseReset(v string) time.Duration {
	v = strings.TrimSpace(v)
	if days, _, ok := strings.Cut(v, "d"); ok {
		if n, err := time.ParseDuration(days + "h"); err == nil && n > 0 {
			return maxReset
		}
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0
	}
	return d
}
