package lambdahttp

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sluice/shared/rawjson"
)

// delimiter ends the prelude of a streamed answer. JSON text holds no NUL, so it cannot occur before.
const delimiter = "\x00\x00\x00\x00\x00\x00\x00\x00"

// appendMeta appends `"statusCode":200,"headers":...` without braces, in the form of the payload's version: 1.0 takes lists
// of values, 2.0 takes one value a name (several are joined) and the cookies apart, since they cannot be joined.
func appendMeta(dst []byte, payload, status int, h http.Header) []byte {
	dst = append(dst, `"statusCode":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	names := slices.Sorted(maps.Keys(h))
	names = slices.DeleteFunc(names, func(name string) bool { return len(h[name]) == 0 || !forwarded(name) })
	if payload == 1 {
		return appendMulti(dst, names, h)
	}
	dst = append(dst, `,"headers":{`...)
	sep := ""
	for _, name := range names {
		if name == "Set-Cookie" {
			continue
		}
		dst = append(dst, sep...)
		dst = rawjson.AppendString(dst, name)
		dst = append(dst, ':')
		dst = rawjson.AppendString(dst, oneLine(strings.Join(h[name], ", ")))
		sep = ","
	}
	dst = append(dst, '}')
	if cookies := h["Set-Cookie"]; len(cookies) > 0 {
		dst = append(dst, `,"cookies":`...)
		dst = appendList(dst, cookies)
	}
	return dst
}

func appendMulti(dst []byte, names []string, h http.Header) []byte {
	dst = append(dst, `,"multiValueHeaders":{`...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = rawjson.AppendString(dst, name)
		dst = append(dst, ':')
		dst = appendList(dst, h[name])
	}
	return append(dst, '}')
}

func appendList(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = rawjson.AppendString(dst, oneLine(s))
	}
	return append(dst, ']')
}

// oneLine makes of a line break in a value what net/http makes of it: a front door refuses the whole answer for one.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
}

// forwarded reports whether a header may stand in an answer: a valid name, and none that speaks of a connection, which the
// handler does not have.
func forwarded(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return false
	}
	return isToken(name) // which leaves out http.TrailerPrefix too
}

// bodyAllowed reports whether an answer of the status has a body.
func bodyAllowed(status int) bool { return status >= 200 && status != 204 && status != 304 }

// head is the part of a ResponseWriter that both kinds of answer share: status, header, and how much of which body is due.
type head struct {
	header http.Header // the handler's
	sent   http.Header // as it was at WriteHeader
	status int         // 0 before WriteHeader
	isHEAD bool
	n      int64 // body bytes written
	length int64 // that Content-Length promises, -1 when it does not
}

func newHead(method string) head {
	return head{header: http.Header{}, isHEAD: method == http.MethodHead, length: -1}
}

// Header implements http.ResponseWriter.
func (h *head) Header() http.Header { return h.header }

// WriteHeader implements http.ResponseWriter: it fixes status and header; nothing is sent before the first Write or Flush.
// Informational answers do not exist on Lambda.
func (h *head) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("lambdahttp: invalid status " + strconv.Itoa(status)) // as in net/http: the handler's fault
	}
	if h.status != 0 || status < 200 {
		return
	}
	h.status = status
	h.sent = h.header.Clone()
	if s := h.sent.Get("Content-Length"); s != "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
			h.length = n
		} else {
			delete(h.sent, "Content-Length")
		}
	}
}

// begin prepares for p, the next piece of the body: discard says that it is not to be sent though nothing is wrong.
func (h *head) begin(p []byte) (discard bool, err error) {
	if h.status == 0 {
		h.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(h.status) {
		return true, http.ErrBodyNotAllowed
	}
	if h.length >= 0 && h.n+int64(len(p)) > h.length {
		return true, http.ErrContentLength
	}
	if h.n == 0 && len(p) > 0 && !h.isHEAD {
		if _, ok := h.sent["Content-Type"]; !ok && h.sent.Get("Content-Encoding") == "" {
			h.sent.Set("Content-Type", http.DetectContentType(p))
		}
	}
	return h.isHEAD || len(p) == 0, nil
}

// short reports whether less was written than promised.
func (h *head) short() bool {
	return h.length >= 0 && h.n < h.length && !h.isHEAD && bodyAllowed(h.status)
}
