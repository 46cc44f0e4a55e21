package amazonq

import (
	"net/http"
	"strings"

	"sluice/shared/translator"
	"sluice/shared/translator/internal/aws"
)

// ParseError implements translator.Back for {"__type","message","reason"}. Messages about accounts are our own words: the
// service's name the operator's account.
func (Codec) ParseError(status int, body []byte) *translator.Error {
	return failed(aws.ReadFailure("", body), status)
}

// streamError reads an exception or an error in a stream, of the name that its frame has.
func streamError(name string, payload []byte) *translator.Error {
	e := failed(aws.ReadFailure(name, payload), 0)
	e.Raw = string(aws.Typed(name, payload))
	return e
}

// byReason are the errors that a reason names, and byName those that a shape names. An empty message is the service's own.
// Source: the error types and the retry classifier of aws/amazon-q-developer-cli.
var (
	byReason = map[string]translator.Error{
		"INSUFFICIENT_MODEL_CAPACITY":      {Status: aws.StatusOverloaded, Message: overloaded},
		"MODEL_TEMPORARILY_UNAVAILABLE":    {Status: aws.StatusOverloaded, Message: overloaded},
		"MONTHLY_REQUEST_COUNT":            {Status: http.StatusTooManyRequests, Message: "the upstream account has used up its requests of this month; try again when another account is free"},
		"OVERAGE_REQUEST_LIMIT_EXCEEDED":   {Status: http.StatusTooManyRequests, Message: "the upstream account has used up its requests of this month and the overage; try again when another account is free"},
		"DAILY_REQUEST_COUNT":              {Status: http.StatusTooManyRequests, Message: "the upstream account has used up its requests of this day; try again later"},
		"CONVERSATION_LIMIT_EXCEEDED":      {Status: http.StatusBadRequest, Message: contextFull, Code: translator.CodeContext}, // no quota: each request is a conversation of its own
		"TEMPORARILY_SUSPENDED":            {Status: http.StatusForbidden, Message: "the upstream account is suspended; the operator must clear this with the service"},
		"FEATURE_NOT_SUPPORTED":            {Status: http.StatusForbidden, Message: "the upstream account may not use this feature"},
		"INVALID_MODEL_ID":                 {Status: http.StatusNotFound, Message: "model: the upstream account is not offered this model"},
		"CONTENT_LENGTH_EXCEEDS_THRESHOLD": {Status: http.StatusBadRequest, Message: contextFull, Code: translator.CodeContext},
	}
	byName = map[string]translator.Error{
		"Throttling":           {Status: http.StatusTooManyRequests, Message: throttled},
		"TooManyRequests":      {Status: http.StatusTooManyRequests, Message: throttled},
		"ServiceQuotaExceeded": {Status: http.StatusTooManyRequests, Message: "the upstream account has used up a quota; try again later"},
		"AccessDenied":         {Status: http.StatusForbidden, Message: "the upstream refused the account access; the operator must check its login and its profile"},
		"UnrecognizedClient":   {Status: http.StatusUnauthorized, Message: loginNeeded},
		"ExpiredToken":         {Status: http.StatusUnauthorized, Message: loginNeeded},
		"InvalidToken":         {Status: http.StatusUnauthorized, Message: loginNeeded},
		"ResourceNotFound":     {Status: http.StatusNotFound},
		"Conflict":             {Status: http.StatusConflict},
		"Validation":           {Status: http.StatusBadRequest},
		"Serialization":        {Status: http.StatusBadRequest},
		"ServiceUnavailable":   {Status: http.StatusServiceUnavailable, Message: "the upstream is unavailable; try again shortly"},
		"InternalServer":       {Status: http.StatusInternalServerError, Message: internal},
		"InternalFailure":      {Status: http.StatusInternalServerError, Message: internal},
		"error":                {Status: http.StatusInternalServerError, Message: internal}, // of the stream's union
	}
)

const (
	overloaded  = "the upstream has no capacity for this model at the moment; try again shortly, or name another model"
	throttled   = "the upstream account is asked too often; try again shortly"
	loginNeeded = "the upstream did not accept the account's login; the operator must log in again"
	internal    = "the upstream failed; try again"
	contextFull = "prompt is too long: the conversation is longer than the upstream takes for this model; shorten it, or start a new one"
)

// failed makes the error that a client is told of. status is 0 within a stream.
func failed(f aws.Failure, status int) *translator.Error {
	e := known(f)
	if e.Status == 0 {
		if e.Status = status; status < 400 {
			e.Status = http.StatusBadGateway
		}
	}
	e.Type = translator.ErrorType(e.Status)
	if e.Message == "" {
		e.Message = f.Words(status)
	}
	return &e
}

// known is what is known of it; the status is 0 for a shape that is new.
func known(f aws.Failure) translator.Error {
	switch low := strings.ToLower(f.Message); {
	case strings.Contains(low, "input is too long"):
		return byReason["CONTENT_LENGTH_EXCEEDS_THRESHOLD"]
	case strings.Contains(low, "unexpectedly high load"):
		return byReason["INSUFFICIENT_MODEL_CAPACITY"]
	case f.Name == "Validation" && len(low) < 512 && !strings.Contains(low, "conversationstate") &&
		(strings.Contains(low, "profilearn") || strings.Contains(low, "profile arn") || strings.Contains(low, "arn:aws:codewhisperer:")):
		return byName["AccessDenied"] // the node's profile, in which the client has no part
	}
	if e, ok := byReason[f.Reason]; ok {
		return e
	}
	return byName[f.Name]
}
