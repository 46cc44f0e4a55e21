package core

import (
	"errors"
	"time"
)

// Code classifies an error for handlers; each dialect maps it to a status and a type of its own.
type Code string

// The codes. The comment gives the HTTP status every dialect uses.
const (
	CodeInvalid          Code = "invalid_request"    // 400
	CodeUnauthenticated  Code = "unauthenticated"    // 401
	CodeForbidden        Code = "forbidden"          // 403
	CodeNotFound         Code = "not_found"          // 404
	CodeMethodNotAllowed Code = "method_not_allowed" // 405
	CodeConflict         Code = "conflict"           // 409
	CodeTooLarge         Code = "request_too_large"  // 413
	CodeUpgradeRequired  Code = "upgrade_required"   // 426
	CodeRateLimited      Code = "rate_limited"       // 429
	CodeInternal         Code = "internal"           // 500
	CodeBadGateway       Code = "bad_gateway"        // 502
	CodeUnavailable      Code = "unavailable"        // 503
	CodeTimeout          Code = "timeout"            // 504
	CodeOverloaded       Code = "overloaded"         // 529
)

// Status returns the HTTP status of the code; an unknown code is 500.
func (c Code) Status() int {
	switch c {
	case CodeInvalid:
		return 400
	case CodeUnauthenticated:
		return 401
	case CodeForbidden:
		return 403
	case CodeNotFound:
		return 404
	case CodeMethodNotAllowed:
		return 405
	case CodeConflict:
		return 409
	case CodeUpgradeRequired:
		return 426
	case CodeTooLarge:
		return 413
	case CodeRateLimited:
		return 429
	case CodeBadGateway:
		return 502
	case CodeUnavailable:
		return 503
	case CodeTimeout:
		return 504
	case CodeOverloaded:
		return 529
	default:
		return 500
	}
}

// Error is an error that a client may see: Message names the cause and the remedy and holds no secret and no internal
// detail. Cause is for the log only.
type Error struct {
	Code       Code
	Message    string
	Kind       string        // a finer code that OpenAI's dialects name, "" when there is none
	Param      string        // the field of the request at fault, "" when it is none; OpenAI's dialects name it apart
	RetryAfter time.Duration // 0: none; sent as whole seconds, rounded up
	NoRetry    bool          // sends x-should-retry: false
	Cause      error
}

// Error implements error with the message and the cause; never send it to a client, send Message.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// E makes an Error without a cause.
func E(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// AsError returns err as an Error. A foreign error becomes CodeInternal with a message that tells nothing of it.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "Internal error. The operator finds it in the log under this request id.", Cause: err}
}
