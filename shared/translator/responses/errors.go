package responses

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// Codes of errors within an answer. Source: the API's list of response error codes; those that Codex acts on are the
// first five (D41).
const (
	codeContext   = translator.CodeContext
	codeQuota     = "insufficient_quota"
	codeUsage     = "usage_not_included"
	codeRate      = "rate_limit_exceeded"
	codePrompt    = "invalid_prompt"
	codeServer    = "server_error"
	codeOverload  = "overloaded"
	codeModel     = "model_not_found"
	typeInvalid   = "invalid_request_error"
	typeRateLimit = "rate_limit_error"
	typeServer    = "server_error"
)

// statusByCode are the HTTP statuses that errors of a code or a type have outside of an answer.
var statusByCode = [...]struct {
	code   string
	status int
}{
	{codeRate, http.StatusTooManyRequests},
	{codeQuota, http.StatusTooManyRequests},
	{codeUsage, http.StatusTooManyRequests},
	{typeRateLimit, http.StatusTooManyRequests},
	{"tokens", http.StatusTooManyRequests},
	{"requests", http.StatusTooManyRequests},
	{codeContext, http.StatusBadRequest},
	{codePrompt, http.StatusBadRequest},
	{typeInvalid, http.StatusBadRequest},
	{"bio_policy", http.StatusBadRequest},
	{"cyber_policy", http.StatusBadRequest},
	{"content_policy_violation", http.StatusBadRequest},
	{"misalignment_policy_violation", http.StatusBadRequest},
	{"data_residency_mismatch", http.StatusBadRequest},
	{"invalid_api_key", http.StatusUnauthorized},
	{"authentication_error", http.StatusUnauthorized},
	{"permission_denied", http.StatusForbidden},
	{codeModel, http.StatusNotFound},
	{codeOverload, http.StatusServiceUnavailable},
	{"server_is_overloaded", http.StatusServiceUnavailable},
	{"slow_down", http.StatusServiceUnavailable},
}

// statusOf is the status of an error by its code, then by its type; 500 when neither is known.
func statusOf(code, typ string) int {
	for _, name := range [...]string{code, typ} {
		for _, s := range statusByCode {
			if s.code == name {
				return s.status
			}
		}
	}
	return http.StatusInternalServerError
}

// AppendError implements translator.Front: {"error":{"message","type","param","code"}}. The body has no place for a
// request id; the header has.
func (Codec) AppendError(dst []byte, e *translator.Error, _ string) []byte {
	typ, code := typeAndCode(e)
	dst = append(dst, `{"error":{"message":`...)
	dst = appendString(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, typ)
	dst = append(dst, `,"param":`...)
	dst = appendStringOrNull(dst, e.Param)
	dst = append(dst, `,"code":`...)
	dst = appendStringOrNull(dst, code)
	return append(dst, `}}`...)
}

func appendStringOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, s)
}

// typeAndCode are OpenAI's names of an error.
func typeAndCode(e *translator.Error) (typ, code string) {
	typ = typeInvalid
	switch {
	case e.TooLong():
		return typ, codeContext
	case e.Status == http.StatusUnauthorized:
		code = "invalid_api_key"
	case e.Status == http.StatusForbidden:
		code = "permission_denied"
	case e.Status == http.StatusNotFound:
		code = "not_found"
		if strings.Contains(strings.ToLower(e.Message), "model") {
			code = codeModel
		}
	case e.Status == http.StatusRequestEntityTooLarge:
		code = "request_too_large"
	case e.Status == http.StatusTooManyRequests:
		typ, code = typeRateLimit, codeRate
	case e.Status == http.StatusServiceUnavailable || e.Status == 529:
		typ, code = typeServer, codeOverload
	case e.Status >= http.StatusInternalServerError:
		typ, code = typeServer, codeServer
	}
	if e.Code != "" {
		code = e.Code
	}
	return typ, code
}

// AppendErrorEvent implements translator.Front: a response.failed with a response of nothing else.
func (Codec) AppendErrorEvent(dst []byte, e *translator.Error, o translator.ReplyOptions) []byte {
	return appendFailed(dst, e, o, 1, nil)
}

// appendFailed appends a response.failed; output are the items that were complete, joined by commas.
func appendFailed(dst []byte, e *translator.Error, o translator.ReplyOptions, sequence int64, output []byte) []byte {
	code, message := failure(e)
	data := []byte(`{"type":"response.failed","response":`)
	data = appendResponse(data, o, state{status: statusFailed, output: output, code: code, message: message})
	data = append(data, `,"sequence_number":`...)
	data = append(appendInt(data, sequence), '}')
	return sse.AppendEvent(dst, evFailed, data)
}

// failure is what an answer says of the error that ended it. Codex gives up on some codes, tries again after others, and
// reads the time to wait from the text (D41).
func failure(e *translator.Error) (code, message string) {
	message = e.Message
	switch {
	case e.TooLong():
		return codeContext, message
	case keptCode(e.Code):
		code = e.Code
	case e.Status == http.StatusTooManyRequests:
		code = codeRate
	case e.Status >= http.StatusBadRequest && e.Status < http.StatusInternalServerError:
		code = codePrompt
	default:
		code = codeServer
	}
	if code == codeRate && e.RetryAfter > 0 && !strings.Contains(strings.ToLower(message), tryAgain) {
		message = strings.TrimRight(message, " ")
		message += " Please " + tryAgain + " " + strconv.FormatFloat(e.RetryAfter.Seconds(), 'f', -1, 64) + "s."
	}
	return code, message
}

const tryAgain = "try again in"

// keptCode reports whether a code is one that answers have in the API's own words.
func keptCode(code string) bool {
	switch code {
	case codeQuota, codeUsage, codeRate, codePrompt, codeServer, "bio_policy", "cyber_policy", "misalignment_policy_violation",
		"data_residency_mismatch":
		return true
	}
	return false
}

// ParseError implements translator.Back. Besides the API's own form it takes those of servers that are compatible with
// it: {"error":"text"}, {"message":"text"} and {"detail":"text"}.
func (Codec) ParseError(status int, body []byte) *translator.Error {
	e := &translator.Error{Status: status, Type: translator.ErrorType(status)}
	var v [4]rawjson.Value
	if rawjson.Scan(body, []string{"error", "message", "detail", "code"}, v[:]) == nil {
		if v[0].Kind() == rawjson.Object {
			readError(e, v[0].Raw())
		} else {
			e.Message, e.Code = firstText(v[0], v[1], v[2]), text(v[3])
		}
	}
	return finishError(e)
}

func firstText(values ...rawjson.Value) string {
	for _, v := range values {
		if s := text(v); s != "" {
			return s
		}
	}
	return ""
}

// readError reads an error object into e and returns its type.
func readError(e *translator.Error, obj []byte) (typ string) {
	var v [4]rawjson.Value
	if rawjson.Scan(obj, []string{"message", "type", "code", "param"}, v[:]) != nil {
		return ""
	}
	e.Message, e.Code, e.Param = text(v[0]), text(v[2]), text(v[3])
	if e.Code == "" && text(v[1]) == codeQuota { // older servers have it as the type
		e.Code = codeQuota
	}
	return text(v[1])
}

// finishError fills in what follows from the rest.
func finishError(e *translator.Error) *translator.Error {
	low := strings.ToLower(e.Message)
	if e.Status < http.StatusInternalServerError &&
		(strings.Contains(low, "maximum context length") || strings.Contains(low, "context window")) {
		e.Code = codeContext
	}
	if e.Message == "" {
		e.Message = "The upstream answered with status " + strconv.Itoa(e.Status) + " and no message."
	}
	if e.RetryAfter == 0 && e.Status == http.StatusTooManyRequests {
		e.RetryAfter = waitIn(low)
	}
	return e
}

// waitIn reads "try again in 1.2s" or "in 300ms" or "in 6 seconds"; 0 when it is not there.
func waitIn(low string) time.Duration {
	_, rest, ok := strings.Cut(low, tryAgain)
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, " ")
	n := 0
	for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
		n++
	}
	f, err := strconv.ParseFloat(rest[:n], 64)
	if err != nil {
		return 0
	}
	unit := time.Second
	switch rest = strings.TrimLeft(rest[n:], " "); {
	case strings.HasPrefix(rest, "ms"):
		unit = time.Millisecond
	case !strings.HasPrefix(rest, "s"):
		return 0
	}
	return time.Duration(math.Min(f, float64(maxWait/unit)) * float64(unit))
}

// maxWait bounds a wait that an upstream names.
const maxWait = 24 * time.Hour

// streamError reads an error that came in a stream or in an answer: obj has its message, code and type.
func streamError(obj []byte) *translator.Error {
	e := &translator.Error{}
	typ := readError(e, obj)
	e.Status = statusOf(e.Code, typ)
	if e.Message == "" {
		e.Message = "The upstream reported an error and gave no message."
	}
	finishError(e)
	if e.TooLong() {
		e.Status = http.StatusBadRequest
	}
	e.Type = translator.ErrorType(e.Status)
	return e
}

// failedError is the error of an answer that has the status failed or was cancelled.
func failedError(response []byte, status string) *translator.Error {
	v, err := rawjson.Find(response, "error")
	if err == nil && v.Kind() == rawjson.Object {
		return streamError(v.Raw())
	}
	e := &translator.Error{Status: http.StatusInternalServerError, Type: translator.ErrorType(http.StatusInternalServerError)}
	e.Message = "The upstream ended the answer with the status " + status + " and gave no reason."
	return e
}

// errorEvent is the error of an error event: flat as in the API, or in an object as some servers have it.
func errorEvent(data []byte) *translator.Error {
	v, err := rawjson.Find(data, "error")
	if err == nil && v.Kind() == rawjson.Object {
		return streamError(v.Raw())
	}
	return streamError(data)
}

// isDone reports whether data is the end mark of Chat Completions, which some servers send here, too.
func isDone(data []byte) bool { return string(bytes.TrimSpace(data)) == "[DONE]" }
