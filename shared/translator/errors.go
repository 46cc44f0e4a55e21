package translator

import (
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
)

// FieldError says what is wrong with a request, or what of it a target cannot express. Clients see it with status 400.
type FieldError struct {
	Place   Place  // of the element; zero: the field is a member of the body itself
	Field   string // path within the place
	Message string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Path("") + ": " + e.Message }

// Path names the field in the style of a dialect.
func (e *FieldError) Path(d core.Dialect) string { return e.Place.Path(d, e.Field) }

// Bad makes a FieldError about a member of the body.
func Bad(field, message string) *FieldError { return &FieldError{Field: field, Message: message} }

// BadAt makes a FieldError about something within a list of the body.
func BadAt(p Place, field, message string) *FieldError {
	return &FieldError{Place: p, Field: field, Message: message}
}

// CodeContext is OpenAI's code for a prompt that is too long. The hub uses it whatever dialect said so.
const CodeContext = "context_length_exceeded"

// Error is one that a client is told of: an upstream's or our own. Type is Anthropic's name, the hub's.
type Error struct {
	Status     int
	Type       string
	Message    string
	Code       string // OpenAI's; empty: as the type implies
	Param      string // OpenAI's; empty: null
	RetryAfter time.Duration
	// Raw is the error as the upstream said it within a stream, in the form of its error bodies, for the verdict on its
	// node; empty: the rest says it all. It never reaches a client.
	Raw string
}

// Error implements error.
func (e *Error) Error() string { return e.Type + ": " + e.Message }

// TooLong reports whether the prompt did not fit into the model's context. Clients act on it (D15, D41).
func (e *Error) TooLong() bool {
	return e.Code == CodeContext || e.Status < 500 && strings.Contains(strings.ToLower(e.Message), "prompt is too long")
}

// OfCode makes the Error of one of our own codes.
func OfCode(e *core.Error) *Error {
	t := &Error{Status: e.Code.Status(), Message: e.Message, Code: e.Kind, Param: e.Param, RetryAfter: e.RetryAfter}
	if t.Type = ErrorType(t.Status); e.Code == core.CodeUnavailable {
		t.Type = "api_error" // not the upstream's capacity
	}
	if e.Code == core.CodeNotFound && !strings.HasPrefix(e.Message, "model:") {
		t.Code = "not_found" // OpenAI's clients take a bare 404 for a missing model
	}
	return t
}

// errorTypes are Anthropic's types by status. Source: platform.claude.com/docs/en/api/errors.
var errorTypes = [...]struct {
	status int
	typ    string
}{
	{http.StatusBadRequest, "invalid_request_error"},
	{http.StatusUnauthorized, "authentication_error"},
	{http.StatusPaymentRequired, "billing_error"},
	{http.StatusForbidden, "permission_error"},
	{http.StatusNotFound, "not_found_error"},
	{http.StatusConflict, "conflict_error"},
	{http.StatusRequestEntityTooLarge, "request_too_large"},
	{http.StatusTooManyRequests, "rate_limit_error"},
	{http.StatusInternalServerError, "api_error"},
	{http.StatusGatewayTimeout, "timeout_error"},
	{529, "overloaded_error"},
}

// ErrorType is Anthropic's type of errors with a status.
func ErrorType(status int) string {
	for _, t := range errorTypes {
		if t.status == status {
			return t.typ
		}
	}
	switch {
	case status == http.StatusServiceUnavailable:
		return "overloaded_error"
	case status >= 400 && status < 500:
		return "invalid_request_error"
	}
	return "api_error"
}

// ErrorStatus is the status that an error of one of Anthropic's types has outside of a stream; 500 for an unknown one.
func ErrorStatus(typ string) int {
	for _, t := range errorTypes {
		if t.typ == typ {
			return t.status
		}
	}
	return http.StatusInternalServerError
}
