// Package upstream holds what every kind of upstream shares: the request to send, the verdict on an answer, header rules
// and the guarded transport. A subpackage per kind signs, sends and classifies; none knows a format.
package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/shared/core"
)

// Target is the node a request goes to, with its credential in the clear.
type Target struct {
	Node       *core.Node
	Credential core.Secret
}

// Request is what to send. Header is the client's, untouched: the kind's client filters it.
type Request struct {
	Method string
	Path   string // begins with /v1
	Query  string // raw
	Header http.Header
	Body   io.ReadCloser // closed by Send, also on errors; nil: none
	Length int64         // of Body; -1: unknown
	// Again returns Body from its start, for a kept connection that turned out closed before anything was sent on it;
	// nil: Body can be read once only.
	Again func() (io.ReadCloser, error)
	// Model and Stream are what the body names, for the kinds whose paths tell them. Model is the name as it is sent.
	Model  string
	Stream bool
}

// Client sends requests to upstreams of one kind.
type Client interface {
	// Send makes one attempt. The answer's body must be closed. No redirect is followed. The error is a transport
	// error: Classify it with ClassifyError.
	Send(ctx context.Context, t Target, r *Request) (*http.Response, error)
	// Classify judges an answer by status, headers and (for errors) the first bytes of its body.
	Classify(status int, h http.Header, body []byte) Failure
}

// Class says whose fault a failure is and what to do about it.
type Class uint8

// The classes.
const (
	OK          Class = iota
	ClientFault       // the request's own fault: passed on, no other node, no blame
	NotOffered        // the credential is not offered the model: another node is tried, no blame
	RateLimited       // 429: the node cools for this model, another is tried
	Overloaded        // 529: blamed, another is tried
	Server            // 5xx and nonsense: blamed, another is tried
	Credential        // 401, 402, 403 of the node's own credential: blamed, another is tried
	Timeout           // silence: blamed, another is tried
	Connection        // no connection, or lost before an answer: blamed, another is tried
	Stopped           // we ended it ourselves: nobody is blamed, nothing else is tried
)

// String is the class as metrics name it.
func (c Class) String() string {
	names := [...]string{"ok", "client_fault", "not_offered", "rate_limited", "overloaded", "server", "credential", "timeout", "connection", "stopped"}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown"
}

// Failure is a verdict. The zero value is success.
type Failure struct {
	Class      Class
	Status     int           // of the upstream; 0: none came
	RetryAfter time.Duration // of RateLimited: how long the node cools
	All        bool          // of RateLimited: for every model, not only for the one asked for
	Blocked    string        // of Credential: core.Blocked*, the node gets no request until someone acts; empty: it may pass
	Reason     string        // short, without content or secrets, for last_error and logs
}

// Error is a Failure of an attempt that brought no answer at all, such as a token that could not be refreshed.
type Error struct{ Failure }

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// Grant is what a token service gives.
type Grant struct {
	Access  core.Secret
	Refresh core.Secret // empty: the one that was used stays good
	Expires time.Time   // of Access
}

// ErrInvalidGrant is a token service's word that a refresh token is no longer good: someone must log in again.
var ErrInvalidGrant = errors.New("the token service refuses the refresh token; log in again")

// Model is one that a node serves.
type Model struct{ ID, Name, Owner string }

// Namer is a Client whose nodes know models by other names than Anthropic's and OpenAI's.
type Namer interface {
	// ModelID is the node's name for a model; one that it does not know comes back as it is.
	ModelID(n *core.Node, model string) string
}

// Lister is a Client whose nodes list their models in another way than GET /v1/models.
type Lister interface {
	// Models lists what the node's credential may use.
	Models(ctx context.Context, t Target) ([]Model, error)
}

// Blames reports whether the failure counts against the node (DESIGN 8).
func (f Failure) Blames() bool { return f.Class >= Overloaded && f.Class != Stopped }

// Retryable reports whether another node, or the same one again, may do better.
func (f Failure) Retryable() bool { return f.Class > ClientFault && f.Class != Stopped }

// defaultCooling is for a 429 that names no time: some never will pass by waiting a second.
const defaultCooling = 30 * time.Second

// ClassifyStatus is the rule for HTTP statuses that the kinds share.
func ClassifyStatus(status int, h http.Header) Failure {
	f := Failure{Status: status, Reason: "status " + strconv.Itoa(status)}
	switch {
	case status >= 200 && status < 300:
		return Failure{Status: status}
	case status == http.StatusTooManyRequests:
		f.Class, f.RetryAfter = RateLimited, RetryAfter(h, time.Now())
		if f.RetryAfter <= 0 {
			f.RetryAfter = defaultCooling
		}
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusPaymentRequired:
		f.Class = Credential
	case status == 529:
		f.Class = Overloaded
	case status == http.StatusRequestTimeout:
		f.Class = Timeout
	case status >= 500 || status < 400: // a redirect would carry the credential elsewhere: it is an error here
		f.Class = Server
	default:
		f.Class = ClientFault
	}
	return f
}

// ClassifyError judges a transport error. The text is ours: the error's own may hold addresses of a tenant's network.
func ClassifyError(err error) Failure {
	var told *Error
	if errors.As(err, &told) {
		return told.Failure
	}
	f := Failure{Class: Connection, Reason: "connection failed"}
	var dns *net.DNSError
	var blocked *BlockedError
	var timeout net.Error
	switch {
	case errors.As(err, &blocked):
		f.Reason = blocked.Error()
	case errors.As(err, &dns):
		f.Reason = "host name not found"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Reason = "connection refused"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		f.Reason = "connection lost before an answer"
	case errors.As(err, &timeout) && timeout.Timeout():
		f.Class, f.Reason = Timeout, "connection timed out"
	case strings.Contains(err.Error(), "tls:") || strings.Contains(err.Error(), "x509:"):
		f.Reason = "TLS handshake failed"
	}
	return f
}

// maxRetryAfter bounds what an upstream may ask for: longer is a mistake or mischief.
const maxRetryAfter = 24 * time.Hour

// RetryAfter reads retry-after-ms, else retry-after in seconds or as an HTTP date. 0 when there is none.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	return min(retryAfter(h, now), maxRetryAfter)
}

func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e12 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		if s > 0 && s < 1e9 {
			return time.Duration(s * float64(time.Second))
		}
		return 0
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// dropped are request headers that never go upstream: hop by hop, the client's credentials and its network, and the
// encoding of a body that the gateway has decoded.
var dropped = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Authorization": true, "X-Api-Key": true, "Api-Key": true, "X-Admin-Key": true, "Cookie": true,
	"Forwarded": true, "Via": true, "X-Real-Ip": true, "Accept-Encoding": true, "Content-Length": true, "Host": true, "Expect": true,
	"Content-Encoding": true,
}

// FilterRequest returns the client's headers that may go upstream. Values are shared, not copied: read only.
func FilterRequest(in http.Header) http.Header {
	out := make(http.Header, len(in)+4)
	for k, v := range in {
		if dropped[k] || strings.HasPrefix(k, "X-Forwarded-") {
			continue
		}
		out[k] = v
	}
	for _, line := range in["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			delete(out, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	if out["User-Agent"] == nil {
		out["User-Agent"] = noAgent
	}
	out["Accept-Encoding"] = identity
	return out
}

var (
	identity = []string{"identity"}
	noAgent  = []string{""} // keeps net/http from naming itself
)

// droppedAnswer are answer headers that concern the hop to the upstream, that would act on our own host, or that name the
// account behind the node's credential.
var droppedAnswer = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Set-Cookie": true, "Alt-Svc": true, "Strict-Transport-Security": true,
	"Content-Length": true, "Date": true, "Request-Id": true, "X-Request-Id": true, "Www-Authenticate": true, "X-Proxy-Node": true,
	"X-Upstream-Request-Id": true, "Clear-Site-Data": true, "Openai-Organization": true, "Openai-Project": true,
}

// passes reports whether an answer header may be copied. Who may read an answer in a browser is ours to say.
func passes(name string) bool {
	return !droppedAnswer[name] && !strings.HasPrefix(name, "Access-Control-")
}

// CopyAnswer copies an upstream's answer headers to a client's. The upstream's request id becomes x-upstream-request-id.
func CopyAnswer(dst, src http.Header) {
	for k, v := range src {
		if passes(k) {
			dst[k] = v
		}
	}
	for _, line := range src["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			// only what was copied: dst has headers of our own
			if name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)); passes(name) && src[name] != nil {
				delete(dst, name)
			}
		}
	}
	if id := RequestID(src); id != "" {
		dst["X-Upstream-Request-Id"] = []string{id}
	}
}

// RequestID returns the upstream's own id of the request, "" when it gave none.
func RequestID(h http.Header) string {
	if id := h.Get("Request-Id"); id != "" {
		return id
	}
	return h.Get("X-Request-Id")
}
