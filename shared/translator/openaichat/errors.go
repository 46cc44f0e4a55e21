package openaichat

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// AppendError implements translator.Front: {"error":{"message","type","param","code"}} (D36). The dialect has the id of the
// request in a header only.
func (Codec) AppendError(dst []byte, e *translator.Error, _ string) []byte {
	typ, code := errorName(e)
	w := writer{b: append(dst, `{"error":{`...)}
	w.str("message", e.Message)
	w.str("type", typ)
	if e.Param == "" {
		w.lit(`,"param":null`)
	} else {
		w.str("param", e.Param)
	}
	if code == "" {
		w.lit(`,"code":null`)
	} else {
		w.str("code", code)
	}
	return append(w.b, "}}"...)
}

// AppendErrorEvent implements translator.Front. Clients raise what has an error member (D33); no [DONE] follows.
func (c Codec) AppendErrorEvent(dst []byte, e *translator.Error, _ translator.ReplyOptions) []byte {
	dst = c.AppendError(append(dst, "data: "...), e, "")
	return append(dst, "\n\n"...)
}

// errorName is an error's type and code here. Source: platform.openai.com/docs/guides/error-codes.
func errorName(e *translator.Error) (typ, code string) {
	status := e.Status
	if status == 0 {
		status = translator.ErrorStatus(e.Type)
	}
	typ = "invalid_request_error"
	switch {
	case e.TooLong():
		return typ, translator.CodeContext
	case status == http.StatusUnauthorized:
		code = "invalid_api_key"
	case status == http.StatusForbidden:
		code = "permission_denied"
	case status == http.StatusNotFound:
		if code = "not_found"; strings.Contains(strings.ToLower(e.Message), "model") {
			code = "model_not_found"
		}
	case status == http.StatusRequestEntityTooLarge:
		code = "request_too_large"
	case status == http.StatusTooManyRequests:
		typ, code = "rate_limit_error", "rate_limit_exceeded"
	case status == http.StatusServiceUnavailable || status == 529:
		typ, code = "server_error", "overloaded"
	case status >= 500:
		typ, code = "server_error", "server_error"
	}
	if e.Code != "" {
		code = e.Code
	}
	return typ, code
}

// ParseError implements translator.Back. Besides OpenAI's {"error":{...}} it reads the shapes that other servers have:
// {"error":"text"}, {"message":...} and FastAPI's {"detail":...}.
func (Codec) ParseError(status int, body []byte) *translator.Error {
	body = bytes.TrimSpace(body)
	if status < 400 {
		return eventError(body, rawjson.Value{})
	}
	e := &translator.Error{Status: status, Type: translator.ErrorType(status)}
	var v [3]rawjson.Value
	if rawjson.Scan(body, []string{"error", "message", "detail"}, v[:]) == nil {
		switch {
		case v[0].Kind() == rawjson.Object:
			readError(e, v[0].Raw())
		case v[0].Kind() == rawjson.String:
			e.Message, _ = v[0].Text()
		case v[1].Kind() == rawjson.String:
			readError(e, body)
		default:
			e.Message = detail(v[2])
		}
	}
	finishError(e)
	return e
}

// eventError reads the error that came in place of a chunk or of an answer, whose status was that of success. v is its
// error member; absent, doc itself is the error.
func eventError(doc []byte, v rawjson.Value) *translator.Error {
	if !v.Exists() {
		if found, err := rawjson.Find(doc, "error"); err == nil && found.Exists() {
			v = found
		}
	}
	e := &translator.Error{}
	switch v.Kind() {
	case rawjson.Object:
		readError(e, v.Raw())
	case rawjson.String:
		e.Message, _ = v.Text()
	default:
		readError(e, doc)
	}
	finishError(e)
	e.Status = ownStatus(e)
	e.Type = translator.ErrorType(e.Status)
	return e
}

// readError reads an error object. Type is the server's until it is replaced by the hub's; a code that is a number is a
// status (vLLM, OpenRouter).
func readError(e *translator.Error, obj []byte) {
	var v [5]rawjson.Value
	if rawjson.Scan(obj, []string{"message", "type", "code", "param", "detail"}, v[:]) != nil {
		return
	}
	if e.Message, _ = v[0].Text(); e.Message == "" {
		e.Message = detail(v[4])
	}
	typ, _ := v[1].Text()
	e.Code, _ = v[2].Text()
	e.Param, _ = v[3].Text()
	if n, ok := v[2].Int(); ok && e.Status == 0 && n >= 400 && n < 600 {
		e.Status = int(n)
	}
	if e.Status == 0 {
		e.Type = typ
	}
	if e.Code == "" && typ == "insufficient_quota" {
		e.Code = typ
	}
}

// detail reads FastAPI's detail: a text, or a list of {"loc","msg"} of which the first says enough.
func detail(v rawjson.Value) (message string) {
	if v.Kind() != rawjson.Array {
		message, _ = v.Text()
		return message
	}
	_ = rawjson.Elements(v.Raw(), func(el rawjson.Value) bool {
		if m, err := rawjson.Find(el.Raw(), "msg"); err == nil {
			message, _ = m.Text()
		}
		return false
	})
	return message
}

// maxMessage bounds what is passed on of an upstream's words.
const maxMessage = 8 << 10

// finishError sees to it that there is a message and that a prompt which is too long is known as such.
func finishError(e *translator.Error) {
	if n := maxMessage; len(e.Message) > n {
		for n > 0 && !utf8.RuneStart(e.Message[n]) {
			n--
		}
		e.Message = e.Message[:n]
	}
	if e.Message == "" {
		e.Message = "the upstream reported an error without saying which"
		if e.Status != 0 {
			e.Message = "the upstream answered with status " + strconv.Itoa(e.Status) + " and no message"
		}
	}
	low := strings.ToLower(e.Message)
	if e.Status < 500 && (strings.Contains(low, "maximum context length") || strings.Contains(low, "context window")) {
		e.Code = translator.CodeContext
	}
}

// codeStatus are the statuses of types and codes, for errors that have none of their own.
var codeStatus = []struct {
	name   string
	status int
}{
	{translator.CodeContext, http.StatusBadRequest}, {"invalid_request_error", http.StatusBadRequest},
	{"invalid_prompt", http.StatusBadRequest}, {"BadRequestError", http.StatusBadRequest},
	{"invalid_api_key", http.StatusUnauthorized}, {"authentication_error", http.StatusUnauthorized},
	{"permission_denied", http.StatusForbidden}, {"permission_error", http.StatusForbidden},
	{"model_not_found", http.StatusNotFound}, {"not_found", http.StatusNotFound}, {"not_found_error", http.StatusNotFound},
	{"NotFoundError", http.StatusNotFound}, {"request_too_large", http.StatusRequestEntityTooLarge},
	{"rate_limit_exceeded", http.StatusTooManyRequests}, {"rate_limit_error", http.StatusTooManyRequests},
	{"insufficient_quota", http.StatusTooManyRequests}, {"tokens", http.StatusTooManyRequests},
	{"requests", http.StatusTooManyRequests}, {"overloaded", http.StatusServiceUnavailable},
	{"overloaded_error", 529}, {"timeout_error", http.StatusGatewayTimeout},
}

// ownStatus is the status that an error would have had outside of a stream. The code says more than the type.
func ownStatus(e *translator.Error) int {
	if e.Status >= 400 {
		return e.Status
	}
	for _, name := range []string{e.Code, e.Type} {
		for _, c := range codeStatus {
			if c.name == name {
				return c.status
			}
		}
	}
	return http.StatusInternalServerError
}
