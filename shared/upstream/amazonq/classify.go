package amazonq

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

// quotaCooling is for a used-up quota of which no time is known.
const quotaCooling = time.Minute

// fault is what an error's body and headers say.
type fault struct {
	kind    string // the shape's name without namespace and without Exception or Error
	reason  string
	message string
}

// parseFault reads an error of awsJson1.0. The body may be cut or anything at all: what was readable up to there counts. Only
// members of the outermost object are looked at, since messages may repeat what a client wrote.
func parseFault(h http.Header, body []byte) fault {
	if len(body) > maxRefusal {
		body = body[:maxRefusal]
	}
	f := fault{kind: shape(h.Get("X-Amzn-Errortype"))}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return f
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return f
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return f
		}
		var v string
		if json.Unmarshal(raw, &v) != nil {
			continue
		}
		switch name {
		case "__type", "code":
			if f.kind == "" {
				f.kind = shape(v)
			}
		case "reason":
			f.reason = v
		case "message", "Message":
			f.message = v
		}
	}
	return f
}

// shape strips what servers put around a shape's name: the streaming service names them *Error, the other *Exception.
func shape(s string) string {
	s, _, _ = strings.Cut(s, ":")
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		s = s[i+1:]
	}
	s = strings.TrimSpace(s)
	return strings.TrimSuffix(strings.TrimSuffix(s, "Exception"), "Error")
}

// mayBeToken reports whether an answer of the status may be about the token: its body is looked at then.
func mayBeToken(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusBadRequest
}

// refusesToken reports whether the service refuses the access token, not the account or the request.
func (f fault) refusesToken(status int) bool {
	if f.suspended() {
		return false
	}
	names := f.kind == "ExpiredToken" || f.kind == "UnrecognizedClient" || f.reason == "ExpiredToken"
	switch status {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		return names || strings.Contains(f.message, "ExpiredToken") || f.tokenText()
	}
	// Kiro's control plane refuses with 400; the kind keeps texts that a client wrote from ever looking like it
	return names || f.kind == "AccessDenied" && f.tokenText()
}

func (f fault) tokenText() bool {
	m := strings.ToLower(f.message)
	return strings.Contains(m, "security token included in the request is ") ||
		strings.Contains(m, "bearer token") && (strings.Contains(m, "invalid") || strings.Contains(m, "expired"))
}

func (f fault) suspended() bool {
	return f.reason == "TEMPORARILY_SUSPENDED" || f.kind == "AccessDenied" && f.reason == "" && strings.Contains(f.message, "TEMPORARILY_SUSPENDED")
}

// Classify implements upstream.Client. An error is judged by its reason, else by its shape, else by its status: the service
// sends 400 for much that is not the client's fault. A used-up month cools the node, for all models, until the next one
// (UTC), a used-up day until the next day.
func (c *Client) Classify(status int, h http.Header, body []byte) upstream.Failure {
	base := upstream.ClassifyStatus(status, h)
	if status < 400 {
		return base
	}
	f := parseFault(h, body)
	if v, ok := c.byReason(f, base); ok {
		return v
	}
	return byShape(f, base, h)
}

// byReason judges what the service gives a reason for.
func (c *Client) byReason(f fault, v upstream.Failure) (upstream.Failure, bool) {
	now := c.o.Now().UTC()
	set := func(class upstream.Class, why string) (upstream.Failure, bool) {
		return verdict(v, class, why), true
	}
	if f.suspended() {
		v.Blocked = core.BlockedSuspended
		return set(upstream.Credential, "the service suspended the account")
	}
	if strings.Contains(f.message, "Input is too long") {
		return set(upstream.ClientFault, "input too long")
	}
	switch f.reason {
	case "CONTENT_LENGTH_EXCEEDS_THRESHOLD", "CONVERSATION_LIMIT_EXCEEDED": // no quota, though the second comes as one: each request is a conversation of its own
		return set(upstream.ClientFault, "input too long")
	case "INVALID_MODEL_ID": // accounts differ in what they are offered
		return set(upstream.NotOffered, "the account is not offered the model")
	case "INVALID_CONVERSATION_ID":
		return set(upstream.ClientFault, "conversation not known")
	case "FEATURE_NOT_SUPPORTED": // by the account's plan; others of its requests go through
		return set(upstream.NotOffered, "the account is not offered the feature")
	case "INVALID_KMS_GRANT":
		return set(upstream.Credential, "the account may not do this")
	case "INSUFFICIENT_MODEL_CAPACITY", "MODEL_TEMPORARILY_UNAVAILABLE":
		return set(upstream.Overloaded, "overloaded")
	case "MONTHLY_REQUEST_COUNT", "OVERAGE_REQUEST_LIMIT_EXCEEDED":
		v.All, v.RetryAfter = true, nextMonth(now).Sub(now)
		return set(upstream.RateLimited, "monthly limit used up")
	case "DAILY_REQUEST_COUNT":
		v.All, v.RetryAfter = true, time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC).Sub(now)
		return set(upstream.RateLimited, "daily limit used up")
	}
	if v.Status >= 500 && strings.Contains(strings.ToLower(f.message), "unexpectedly high load") {
		return set(upstream.Overloaded, "overloaded")
	}
	return v, false
}

// wrongProfile reports whether the service refuses the node's profile. Texts of the conversation, which a message may quote,
// are the client's.
func (f fault) wrongProfile() bool {
	m := strings.ToLower(f.message)
	return f.kind == "Validation" && len(m) < 512 && !strings.Contains(m, "conversationstate") &&
		(strings.Contains(m, "profilearn") || strings.Contains(m, "profile arn") || strings.Contains(m, "arn:aws:codewhisperer:"))
}

// deniesModel reports whether a denial is about the model that was asked for. "InvokeModel" within the name of a permission
// is not: that is the account's.
func (f fault) deniesModel() bool {
	if f.kind != "AccessDenied" || f.reason != "" {
		return false
	}
	for word := range strings.FieldsFuncSeq(strings.ToLower(f.message), func(r rune) bool { return r < 'a' || r > 'z' }) {
		if word == "model" || word == "models" || word == "modelid" {
			return true
		}
	}
	return false
}

// byShape judges by the shape's name where it says more than the status. A denial that is not about a model is the account's:
// it is blamed, so that the node goes out after some in a row and comes back by a trial.
func byShape(f fault, v upstream.Failure, h http.Header) upstream.Failure {
	switch {
	case f.wrongProfile(): // the node's, whatever the client asks
		return verdict(v, upstream.Credential, "the service refuses the node's profile")
	case f.deniesModel() && v.Status != http.StatusUnauthorized:
		return verdict(v, upstream.NotOffered, "the account is not offered the model")
	}
	switch f.kind {
	case "Throttling", "TooManyRequests":
		limited := upstream.ClassifyStatus(http.StatusTooManyRequests, h)
		v.RetryAfter = limited.RetryAfter
		return verdict(v, upstream.RateLimited, "throttled")
	case "ServiceQuotaExceeded":
		v.All, v.RetryAfter = true, max(upstream.ClassifyStatus(http.StatusTooManyRequests, h).RetryAfter, quotaCooling)
		return verdict(v, upstream.RateLimited, "quota used up")
	case "AccessDenied", "ExpiredToken", "UnrecognizedClient":
		return verdict(v, upstream.Credential, "access denied")
	case "InternalServer", "InternalFailure", "ServiceUnavailable":
		if v.Class == upstream.ClientFault {
			return verdict(v, upstream.Server, "the service failed")
		}
	}
	return v
}

// verdict keeps the cooling of a RateLimited one only.
func verdict(v upstream.Failure, class upstream.Class, why string) upstream.Failure {
	if v.Class = class; class != upstream.RateLimited {
		v.RetryAfter, v.All = 0, false
	}
	v.Reason = "status " + strconv.Itoa(v.Status) + ": " + why
	return v
}

// nextMonth is when monthly limits start anew.
func nextMonth(now time.Time) time.Time {
	return time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}
