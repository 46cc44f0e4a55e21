package upstreamtest

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// The API's limits on request bodies, in bytes.
const (
	maxBody      = 32 << 20
	maxBatchBody = 256 << 20
	maxFileBody  = 500 << 20
)

func (a *Anthropic) maxBody(path string) int64 {
	switch {
	case strings.HasPrefix(path, "/v1/messages/batches"):
		return maxBatchBody
	case strings.HasPrefix(path, "/v1/files"):
		return maxFileBody
	}
	return maxBody
}

func (a *Anthropic) serve(x *exchange) {
	x.a = a
	x.id = a.newID("req_")
	h := x.w.Header()
	h["Request-Id"] = []string{x.id}
	h["Anthropic-Organization-Id"] = a.orgID
	if x.tooLarge {
		x.refuse(http.StatusRequestEntityTooLarge, "")
		return
	}
	x.route()
}

func (x *exchange) route() {
	path, method := x.req.Path, x.req.Method
	if method == http.MethodHead && (path == "/" || path == "/api/hello") {
		x.w.WriteHeader(http.StatusOK)
		return
	}
	if !x.authorized() {
		return
	}
	if !strings.HasPrefix(path, "/v1/") {
		x.refuse(http.StatusNotFound, "")
		return
	}
	if x.req.Header.Get("Anthropic-Version") == "" && x.a.validating {
		x.refuse(http.StatusBadRequest, "anthropic-version: header is required")
		return
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	switch {
	case path == "/v1/messages" && method == http.MethodPost:
		x.messages()
	case path == "/v1/messages/count_tokens" && method == http.MethodPost:
		x.countTokens()
	case path == "/v1/messages" || path == "/v1/messages/count_tokens":
		x.notAllowed()
	case first == "messages" && (rest == "batches" || strings.HasPrefix(rest, "batches/")):
		x.batch(strings.TrimPrefix(strings.TrimPrefix(rest, "batches"), "/"))
	case first == "models":
		x.model(rest)
	case first == "files":
		x.file(rest)
	default:
		x.refuse(http.StatusNotFound, "")
	}
}

func (x *exchange) authorized() bool {
	h := x.req.Header
	got := anthropicCredential(h)
	switch {
	case got == "":
		x.refuse(http.StatusUnauthorized, "x-api-key header is required")
	case x.a.key == "" || got == x.a.key:
		return true
	case h.Get("X-Api-Key") == "":
		x.refuse(http.StatusUnauthorized, "Invalid bearer token")
	default:
		x.refuse(http.StatusUnauthorized, "")
	}
	return false
}

func (x *exchange) notAllowed() {
	x.fail(http.StatusMethodNotAllowed, "invalid_request_error", "Method Not Allowed")
}

func (x *exchange) messages() {
	if !x.body(true) {
		return
	}
	x.play(x.a.script.next(x.req))
}

func (x *exchange) countTokens() {
	if !x.body(false) {
		return
	}
	x.a.setLimits(x.w.Header())
	body := append(x.buf[:0], `{"input_tokens":`...)
	body = strconv.AppendInt(body, CountTokens(x.req.Body), 10)
	x.answer(http.StatusOK, append(body, '}'))
}

// CountTokens is what the fake's count_tokens answers for a body: a quarter of
// its length, at least 1.
func CountTokens(body []byte) int64 { return max(int64(len(body)/4), 1) }

// body reads the fields of a message request and refuses a bad one.
func (x *exchange) body(wantMax bool) bool {
	if !x.a.validating {
		var ok bool
		if x.fields, ok = scan(x.req.Body); !ok {
			x.refuse(http.StatusBadRequest, "The request body is not valid JSON")
		}
		return ok
	}
	if !x.object() {
		return false
	}
	x.fields, _ = scan(x.req.Body)
	if problem := check(x.fields, wantMax); problem != "" {
		x.refuse(http.StatusBadRequest, problem)
		return false
	}
	return true
}

// object refuses a body that is no JSON object.
func (x *exchange) object() bool {
	media, _, err := mime.ParseMediaType(x.req.Header.Get("Content-Type"))
	switch {
	case err != nil || media != "application/json":
		x.refuse(http.StatusBadRequest, "content-type: must be application/json")
	case !json.Valid(x.req.Body):
		x.refuse(http.StatusBadRequest, "The request body is not valid JSON: "+syntaxError(x.req.Body))
	case bytes.TrimLeft(x.req.Body, " \t\r\n")[0] != '{':
		x.refuse(http.StatusBadRequest, "Input should be a valid dictionary")
	default:
		return true
	}
	return false
}

func syntaxError(body []byte) string {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error()
	}
	return "unknown"
}

// check returns what is wrong with the fields, in the API's words.
func check(f fields, wantMax bool) string {
	switch {
	case f.model == nil:
		return "model: Field required"
	case f.model[0] != '"':
		return "model: Input should be a valid string"
	case len(f.model) == 2:
		return "model: String should have at least 1 character"
	case wantMax && f.maxTokens == nil:
		return "max_tokens: Field required"
	case wantMax && !isInteger(f.maxTokens):
		return "max_tokens: Input should be a valid integer"
	case wantMax && f.maxTokens[0] == '-':
		return "max_tokens: Input should be greater than or equal to 0"
	case f.messages == nil:
		return "messages: Field required"
	case f.messages[0] != '[':
		return "messages: Input should be a valid list"
	case f.messages[skipSpace(f.messages, 1)] == ']':
		return "messages: at least one message is required"
	case f.stream != nil && string(f.stream) != "true" && string(f.stream) != "false":
		return "stream: Input should be a valid boolean"
	}
	return ""
}

func isInteger(v []byte) bool {
	_, err := strconv.ParseInt(string(v), 10, 64)
	return err == nil
}
