package upstreamtest

import (
	"net/http"
	"strings"
)

// qError is an error in the form of awsJson1.0. An empty reason is null.
type qError struct {
	status                 int
	shape, message, reason string
}

// The namespaces of error shapes: the service's own, and those of the framework
// in front of it.
const (
	qNamespace     = "com.amazon.aws.codewhisperer#"
	qCoralService  = "com.amazon.coral.service#"
	qImproper      = "Improperly formed request."
	qTooLong       = "Input is too long."
	qHighLoad      = "Encountered unexpectedly high load when processing the request, please try again."
	qBadToken      = "The bearer token included in the request is invalid."
	qNotAuthorized = "User is not authorized to make this call."
)

func (e qError) append(dst []byte) []byte {
	coral := false
	switch e.shape {
	case "SerializationException", "UnknownOperationException", "MissingAuthenticationTokenException", "ExpiredTokenException", "RequestEntityTooLargeException":
		coral = true
	}
	dst = append(dst, `{"__type":"`...)
	if coral {
		dst = append(dst, qCoralService...)
	} else {
		dst = append(dst, qNamespace...)
	}
	dst = append(append(dst, e.shape...), `","message":`...)
	dst = appendString(dst, e.message)
	if !coral {
		dst = appendNullable(append(dst, `,"reason":`...), e.reason)
	}
	return append(dst, '}')
}

// frame is the error as an exception in a stream, whose union has one member of
// its own, error, for the service's failures.
func (e qError) frame() []byte {
	name := e.shape
	if name == "InternalServerException" {
		name = "error"
	}
	return []byte(ExceptionFrame(name, `{"message":`+quote(e.message)+`,"reason":`+nullable(e.reason)+`}`))
}

// amazonQ is the fault in Amazon Q's words.
func (f *fault) amazonQ() qError {
	var e qError
	switch shape, known := qShapeOf(f.errType); {
	case f.tokens > 0:
		e = qError{http.StatusBadRequest, "ValidationException", qTooLong, "CONTENT_LENGTH_EXCEEDS_THRESHOLD"}
	case f.overload || f.errType == "overloaded_error":
		e = qError{http.StatusInternalServerError, "InternalServerException", qHighLoad, ""}
	case f.errType == "":
		e = qWith(f.status)
	case f.errType == "authentication_error":
		e = qWith(http.StatusUnauthorized)
	default:
		e = qWith(qStatusOf(shape))
		e.shape = shape
		if !known {
			e.message = qShapeText(shape)
		}
	}
	if f.status != 0 && !f.overload {
		e.status = f.status
	}
	if f.code != "" {
		e.reason = f.code
		if usual := qReasonText(f.code); usual != "" {
			e.message = usual
		}
	}
	if f.message != "" {
		e.message = f.message
	}
	return e
}

// qWith is the usual error of a status.
func qWith(status int) qError {
	switch status {
	case 401:
		return qError{status, "AccessDeniedException", qBadToken, ""}
	case 402:
		return qError{status, "ServiceQuotaExceededException", "You have reached the limit.", "MONTHLY_REQUEST_COUNT"}
	case 403:
		return qError{status, "AccessDeniedException", qNotAuthorized, ""}
	case 404:
		return qError{status, "ResourceNotFoundException", "The requested resource was not found.", ""}
	case 409:
		return qError{status, "ConflictException", "The request conflicts with the state of the resource.", ""}
	case 413:
		return qError{status, "RequestEntityTooLargeException", "Request entity too large", ""}
	case 429:
		return qError{status, "ThrottlingException", "Too many requests, please wait before trying again.", ""}
	case 503:
		return qError{status, "ServiceUnavailableException", "The service is temporarily unavailable, please try again.", ""}
	}
	if status == 0 || status >= 500 {
		return qError{max(status, 500), "InternalServerException", "Encountered an unexpected error when processing the request, please try again.", ""}
	}
	return qError{status, "ValidationException", qImproper, ""}
}

// qShapeOf is the shape that a name means: itself, or what another API's name
// corresponds to.
func qShapeOf(name string) (shape string, known bool) {
	switch name {
	case "invalid_request_error", "request_too_large":
		return "ValidationException", true
	case "authentication_error", "permission_error":
		return "AccessDeniedException", true
	case "not_found_error":
		return "ResourceNotFoundException", true
	case "rate_limit_error":
		return "ThrottlingException", true
	case "", "error", "api_error", "timeout_error", "overloaded_error":
		return "InternalServerException", true
	case "ExpiredTokenException", "MissingAuthenticationTokenException":
		return name, false
	}
	return name, strings.HasSuffix(name, "Exception")
}

func qStatusOf(shape string) int {
	for _, code := range []int{400, 402, 403, 404, 409, 413, 429, 503} {
		if qWith(code).shape == shape {
			return code
		}
	}
	if shape == "ExpiredTokenException" || shape == "MissingAuthenticationTokenException" {
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// qShapeText is the usual message of the errors of the framework in front of the
// service.
func qShapeText(shape string) string {
	switch shape {
	case "ExpiredTokenException":
		return "The security token included in the request is expired"
	case "MissingAuthenticationTokenException":
		return "Missing Authentication Token"
	}
	return ""
}

// qReasonText is the usual message of a reason.
func qReasonText(reason string) string {
	switch reason {
	case "MONTHLY_REQUEST_COUNT":
		return "Maximum Request reached for this month."
	case "DAILY_REQUEST_COUNT":
		return "Maximum Request reached for today."
	case "INSUFFICIENT_MODEL_CAPACITY":
		return "I am experiencing high traffic, please try again shortly."
	case "MODEL_TEMPORARILY_UNAVAILABLE":
		return qHighLoad
	case "CONTENT_LENGTH_EXCEEDS_THRESHOLD":
		return qTooLong
	case "INVALID_MODEL_ID":
		return "Invalid model. Please select a different model to continue."
	case "TEMPORARILY_SUSPENDED":
		return "Your User ID (d-0000000000.00000000) temporarily is suspended. It was locked as a security precaution; contact the support team to restore it."
	}
	return ""
}

// MonthlyQuota is [AmazonQ]'s answer to an account whose requests of this month
// are used up: a ThrottlingException with status 400.
func MonthlyQuota() Behaviour {
	return Status(http.StatusBadRequest, "").ErrorType("ThrottlingException").ErrorCode("MONTHLY_REQUEST_COUNT")
}

// Suspended is [AmazonQ]'s 403 for an account that has been suspended.
func Suspended() Behaviour {
	return Status(http.StatusForbidden, "").ErrorCode("TEMPORARILY_SUSPENDED")
}

// ModelCapacity is [AmazonQ]'s 429 that says the model, not the account, has no
// capacity left.
func ModelCapacity() Behaviour {
	return Status(http.StatusTooManyRequests, "").ErrorCode("INSUFFICIENT_MODEL_CAPACITY")
}

// TokenInvalid is [AmazonQ]'s answer to an access token that it does not know,
// which is also its usual one to an expired token. The status is 403 or, from
// some hosts, 401.
func TokenInvalid(status int) Behaviour {
	return Status(status, qBadToken).ErrorType("AccessDeniedException")
}

// TokenExpired is the other answer of [AmazonQ]'s hosts to an expired token:
// 403 with an ExpiredTokenException.
func TokenExpired() Behaviour {
	return Status(http.StatusForbidden, "").ErrorType("ExpiredTokenException")
}

func (q *AmazonQ) fault(x *exchange, s *spec, f *fault) {
	x.setHeaders(s)
	e := f.amazonQ()
	x.answer(e.status, e.append(x.buf[:0]))
}
