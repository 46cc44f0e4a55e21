package upstreamtest

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// StatusOverloaded is the API's own status for an overload.
const StatusOverloaded = 529

// fault is an error before an API gives it its shape.
type fault struct {
	status   int    // 0: the one that belongs to the type
	errType  string // "": the one that belongs to the status
	code     string // of OpenAI; "": the one that belongs to type and status
	message  string // "": the usual one
	overload bool
	limited  bool
	wait     time.Duration // of limited
	reset    time.Time     // of limited
	tokens   int           // of a prompt that is too long; 0: of another fault
	limit    int
}

// anthropic is the fault in Anthropic's words.
func (f *fault) anthropic() (status int, errType, message string) {
	status, errType = f.status, f.errType
	if status == 0 {
		status = statusOf(errType)
	}
	usualType, message := errorOf(status)
	if errType == "" {
		errType = usualType
	}
	switch {
	case f.message != "":
		message = f.message
	case f.tokens > 0:
		message = fmt.Sprintf("prompt is too long: %d tokens > %d maximum", f.tokens, f.limit)
	}
	return status, errType, message
}

// Status answers with an error of the API's shape. The type is the one that
// belongs to the status; an empty message is the API's usual one. Of the
// actions only those before the headers apply.
func Status(code int, message string) Behaviour {
	return ofFault(fault{status: code, message: message})
}

func ofFault(f fault) Behaviour {
	return Behaviour{&spec{settings: settings{kind: kindStatus, fault: f}}}
}

// ErrorType sets the error type of a [Status]. For [OpenAI] it may also be a
// code such as insufficient_quota, whose type and usual message it implies, for
// [AmazonQ] and [Bedrock] the name of a shape such as ThrottlingException.
func (b Behaviour) ErrorType(errType string) Behaviour {
	return b.with(func(s *settings) { s.fault.errType = errType })
}

// ErrorCode sets the error code of a [Status], which only [OpenAI] has, and the
// reason in the errors of [AmazonQ].
func (b Behaviour) ErrorCode(code string) Behaviour {
	return b.with(func(s *settings) { s.fault.code = code })
}

// RetryAfter sets retry-after, in whole seconds rounded up.
func (b Behaviour) RetryAfter(d time.Duration) Behaviour {
	return b.Header("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
}

// RateLimited is a 429 with retry-after and with the API's rate limit headers,
// which say that no request is left; reset times count from now. A wait of 0
// leaves retry-after out, as the APIs do when money is what has run out.
func RateLimited(wait time.Duration) Behaviour {
	b := ofFault(fault{status: http.StatusTooManyRequests, limited: true, wait: wait, reset: time.Now().Add(wait)})
	if wait > 0 {
		b = b.RetryAfter(wait)
	}
	return b
}

// Overloaded is Anthropic's 529, OpenAI's and Bedrock's 503, and Amazon Q's 500
// about high load.
func Overloaded() Behaviour { return ofFault(fault{status: StatusOverloaded, overload: true}) }

// PromptTooLong is the 400 whose wording makes clients compact their history.
func PromptTooLong(tokens, limit int) Behaviour {
	return ofFault(fault{status: http.StatusBadRequest, tokens: tokens, limit: limit})
}

// errorOf returns the error type that belongs to a status and its usual words.
func errorOf(status int) (errType, message string) {
	switch status {
	case 401:
		return "authentication_error", "invalid x-api-key"
	case 402:
		return "billing_error", "Your credit balance is too low to access the API."
	case 403:
		return "permission_error", "Your API key does not have permission to use the specified resource."
	case 404:
		return "not_found_error", "Not found"
	case 409:
		return "conflict_error", "Conflict"
	case 413:
		return "request_too_large", "Request exceeds the maximum allowed number of bytes."
	case 429:
		return "rate_limit_error", "This request would exceed your organization's rate limit of 50 requests per minute."
	case 504:
		return "timeout_error", "Request timed out"
	case StatusOverloaded:
		return "overloaded_error", "Overloaded"
	}
	if status >= 500 {
		return "api_error", "Internal server error"
	}
	return "invalid_request_error", "Invalid request"
}

// statusOf is the reverse of errorOf.
func statusOf(errType string) int {
	for _, code := range []int{400, 401, 402, 403, 404, 409, 413, 429, 504, StatusOverloaded} {
		if t, _ := errorOf(code); t == errType {
			return code
		}
	}
	return http.StatusInternalServerError
}

// Raw answers with exactly this status, these headers and these body chunks,
// whatever was asked. Each chunk is one TCP write; see [Behaviour.Every]. None
// of the API's headers are added, and no Content-Type is guessed. One chunk
// without an action after the headers is sent with its Content-Length.
func Raw(status int, header http.Header, chunks ...string) Behaviour {
	s := settings{kind: kindRaw, status: status, rawHeader: header.Clone()}
	for _, c := range chunks {
		s.chunks = append(s.chunks, []byte(c))
	}
	return Behaviour{&spec{settings: s}}
}

// Wire takes the connection over, writes exactly these bytes, each chunk with
// one TCP write, and closes it: the HTTP response itself is the caller's.
func Wire(chunks ...string) Behaviour {
	b := Raw(0, nil, chunks...)
	b.spec.kind = kindWire
	return b
}

// HTMLError is an error page as a proxy in front of the API sends it.
func HTMLError(status int) Behaviour {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	return Raw(status, http.Header{"Content-Type": {"text/html"}, "Server": {"cloudflare"}},
		"<html>\r\n<head><title>"+text+"</title></head>\r\n<body>\r\n<center><h1>"+text+
			"</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n")
}

// HTMLPage is status 200 with a web page, as a captive portal sends it.
func HTMLPage() Behaviour {
	return Raw(200, http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		"<!DOCTYPE html><html><body><h1>Welcome</h1></body></html>\n")
}

// GarbageStream is status 200 and text/event-stream with bytes that are no
// events.
func GarbageStream() Behaviour {
	return Raw(200, http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}},
		"\x00\x01\xfe\xffthis is not\x7f an event stream", "\n{\"neither\":\n\n\nis this")
}

// BadJSON is status 200 and application/json with a body that is not JSON.
func BadJSON() Behaviour {
	return Raw(200, http.Header{"Content-Type": {"application/json"}}, "upstream connect error")
}

// CutJSON is status 200 with the first half of a message's JSON, and a
// Content-Length that agrees with the half: nothing in HTTP shows the cut. Use
// [Behaviour.Cut] for a cut that shows.
func CutJSON() Behaviour {
	return Raw(200, http.Header{"Content-Type": {"application/json"}},
		`{"model":"claude-sonnet-5-5","id":"msg_01","type":"message","role":"assistant","content":[{"type":"text","te`)
}

// Empty is status 200 with no body and the given content type.
func Empty(contentType string) Behaviour {
	return Raw(200, http.Header{"Content-Type": {contentType}})
}

// Refused returns the URL of a loopback port on which nothing listens and
// nothing will until release is called.
func Refused() (url string, release func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	defer ln.Close()
	// The near end of an open connection keeps its port from being given to
	// a listener, which a port that was merely free a moment ago does not.
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return "", nil, fmt.Errorf("dial: %w", err)
	}
	peer, err := ln.Accept()
	if err != nil {
		conn.Close()
		return "", nil, fmt.Errorf("accept: %w", err)
	}
	release = func() {
		conn.Close()
		peer.Close()
	}
	return "http://" + conn.LocalAddr().String(), release, nil
}
