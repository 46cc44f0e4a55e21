// Package front stands for what AWS puts before a function: it turns HTTP requests into events and answers into HTTP, as API
// Gateway and function URLs do, so that any HTTP client can be tested against a function without AWS.
package front

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Invoker runs a function. The body ends with an error other than io.EOF when the function broke off; closing it early ends
// the interest in it.
type Invoker func(ctx context.Context, event []byte, timeout time.Duration) (contentType string, body io.ReadCloser, err error)

// Type is a kind of front door.
type Type int

// The kinds. Buffered ones take a JSON answer, the others a prelude and a stream.
const (
	REST         Type = iota // REST API, responseTransferMode STREAM
	FunctionURL              // RESPONSE_STREAM
	HTTPAPI                  // payload 2.0
	RESTBuffered             // plain AWS_PROXY, which is also what `sam local start-api` does
)

const streamType = "application/vnd.awslambda.http-integration-response"

// Door is one front door. It is an http.Handler.
type Door struct {
	Type    Type
	Invoke  Invoker
	Stage   string        // of a REST or HTTP API: its public path begins with it; "" means $default
	Base    string        // base path of a custom domain, as "/gw"; such a domain hides the stage
	Binary  bool          // every body goes as base64, as with the media type */*
	Timeout time.Duration // of the function; 0: 15 minutes

	n atomic.Int64
}

// pair is a name with its values, for headers and queries.
type pair = map[string][]string

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ev, err := d.event(r)
	if err != nil {
		gatewayError(w, http.StatusBadRequest, err)
		return
	}
	timeout := d.Timeout
	if timeout == 0 {
		timeout = 15 * time.Minute
	}
	ctype, body, err := d.Invoke(r.Context(), ev, timeout)
	if err != nil {
		gatewayError(w, http.StatusBadGateway, err)
		return
	}
	defer body.Close()
	defer context.AfterFunc(r.Context(), func() { _ = body.Close() })() // a silent function must not keep a client's place
	switch {
	case d.Type == REST || d.Type == FunctionURL:
		if ctype != streamType {
			gatewayError(w, http.StatusBadGateway, errors.New("not a stream: "+ctype))
			return
		}
		d.stream(w, body)
	default:
		d.whole(w, body)
	}
}

func gatewayError(w http.ResponseWriter, status int, err error) {
	w.Header().Set("X-Front-Error", strings.ReplaceAll(err.Error(), "\n", " "))
	w.WriteHeader(status)
}

// event makes the event that this kind of front door would send.
func (d *Door) event(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	id := "front-" + strconv.FormatInt(d.n.Add(1), 10)
	b64 := d.Binary || !utf8.Valid(body) || d.Type == FunctionURL && !textual(r.Header.Get("Content-Type"))
	text := string(body)
	if b64 {
		text = base64.StdEncoding.EncodeToString(body)
	}
	var ev map[string]any
	if d.Type == REST || d.Type == RESTBuffered {
		ev = d.v1(r, ip, id)
	} else {
		ev = d.v2(r, ip, id)
	}
	ev["isBase64Encoded"] = b64
	ev["body"] = text
	if len(body) == 0 {
		ev["body"], ev["isBase64Encoded"] = nil, false
	}
	return json.Marshal(ev)
}

func textual(ct string) bool {
	return strings.HasPrefix(ct, "text/") || strings.HasPrefix(ct, "application/json") || strings.HasPrefix(ct, "application/xml")
}

// prefix is the part of the public path that belongs to the API and not to its routes.
func (d *Door) prefix() string {
	switch {
	case d.Base != "":
		return d.Base
	case d.Stage != "":
		return "/" + d.Stage
	default:
		return ""
	}
}

func (d *Door) v1(r *http.Request, ip, id string) map[string]any {
	public := r.URL.EscapedPath()
	path := strings.TrimPrefix(public, d.prefix())
	if path == "" {
		path = "/"
	}
	proxy, _ := url.PathUnescape(strings.TrimPrefix(path, "/"))
	resource, params := "/{proxy+}", any(map[string]string{"proxy": proxy})
	if path == "/" {
		resource, params = "/", nil
	}
	if d.Base != "" {
		path = public // a custom domain's events keep the base path
	}
	multi := headers(r, false)
	stage := d.Stage
	if stage == "" {
		stage = "prod"
	}
	return map[string]any{
		"resource": resource, "path": path, "httpMethod": r.Method, "pathParameters": params, "stageVariables": nil,
		"headers": last(multi), "multiValueHeaders": multi,
		"queryStringParameters": last(pair(r.URL.Query())), "multiValueQueryStringParameters": nilIfEmpty(pair(r.URL.Query())),
		"requestContext": map[string]any{"resourcePath": resource, "path": public, "stage": stage, "requestId": id, "httpMethod": r.Method,
			"protocol": "HTTP/1.1", "domainName": "abc123.execute-api.us-east-1.amazonaws.com", "apiId": "abc123", "accountId": "123456789012",
			"identity": map[string]any{"sourceIp": ip, "userAgent": r.UserAgent(), "accessKey": nil}},
	}
}

func (d *Door) v2(r *http.Request, ip, id string) map[string]any {
	domain, stage, route, path := "abc123.lambda-url.us-east-1.on.aws", "$default", "$default", r.URL.EscapedPath()
	h := map[string]string{}
	for k, vs := range headers(r, true) {
		h[k] = strings.Join(vs, ",")
	}
	var cookies []string
	for _, c := range r.Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	if d.Type == HTTPAPI {
		domain, path = "abc123.execute-api.us-east-1.amazonaws.com", r.URL.Path // HTTP APIs decode it
		delete(h, "cookie")
		if d.Stage != "" {
			stage = d.Stage
		}
	}
	ev := map[string]any{
		"version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": r.URL.RawQuery, "headers": h,
		"requestContext": map[string]any{"accountId": "anonymous", "apiId": "abc123", "domainName": domain, "domainPrefix": "abc123",
			"requestId": id, "routeKey": route, "stage": stage, "time": "22/Nov/2026:00:00:00 +0000", "timeEpoch": 1795305600000,
			"http": map[string]any{"method": r.Method, "path": path, "protocol": "HTTP/1.1", "sourceIp": ip, "userAgent": r.UserAgent()}},
	}
	if cookies != nil {
		ev["cookies"] = cookies
	}
	return ev
}

// headers are the request's as a front door passes them on.
func headers(r *http.Request, lower bool) pair {
	out := pair{}
	for k, v := range r.Header {
		if lower {
			k = strings.ToLower(k)
		}
		out[k] = v
	}
	name := func(s string) string {
		if lower {
			return strings.ToLower(s)
		}
		return s
	}
	out[name("Host")] = []string{r.Host}
	out[name("X-Forwarded-Proto")] = []string{"https"}
	if r.ContentLength > 0 {
		out[name("Content-Length")] = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	return out
}

func last(p pair) map[string]string {
	if len(p) == 0 {
		return nil
	}
	out := map[string]string{}
	for k, v := range p {
		out[k] = v[len(v)-1]
	}
	return out
}

func nilIfEmpty(p pair) pair {
	if len(p) == 0 {
		return nil
	}
	return p
}

// meta is the envelope of an answer, or its prelude.
type meta struct {
	StatusCode        int               `json:"statusCode"`
	Headers           map[string]string `json:"headers"`
	MultiValueHeaders pair              `json:"multiValueHeaders"`
	Cookies           []string          `json:"cookies"`
	Body              string            `json:"body"`
	IsBase64Encoded   bool              `json:"isBase64Encoded"`
}

// apply refuses what the kind of front door would not understand.
func (d *Door) apply(w http.ResponseWriter, raw []byte) (*meta, bool) {
	m := &meta{}
	if err := json.Unmarshal(raw, m); err != nil {
		gatewayError(w, http.StatusBadGateway, err)
		return nil, false
	}
	v1 := d.Type == REST || d.Type == RESTBuffered
	if m.StatusCode < 200 || m.StatusCode > 999 || v1 && m.Cookies != nil || !v1 && m.MultiValueHeaders != nil {
		gatewayError(w, http.StatusBadGateway, errors.New("malformed answer for this front door"))
		return nil, false
	}
	for k, v := range m.Headers {
		w.Header().Set(k, v)
	}
	for k, vs := range m.MultiValueHeaders {
		w.Header()[http.CanonicalHeaderKey(k)] = vs
	}
	for _, c := range m.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	return m, true
}

func (d *Door) whole(w http.ResponseWriter, body io.Reader) {
	raw, err := io.ReadAll(body)
	if err != nil {
		gatewayError(w, http.StatusBadGateway, err)
		return
	}
	m, ok := d.apply(w, raw)
	if !ok {
		return
	}
	out := []byte(m.Body)
	if m.IsBase64Encoded {
		if out, err = base64.StdEncoding.DecodeString(m.Body); err != nil {
			gatewayError(w, http.StatusBadGateway, err)
			return
		}
	}
	w.WriteHeader(m.StatusCode)
	_, _ = w.Write(out)
}

// stream passes the body on piece by piece. A broken one is broken off here too.
func (d *Door) stream(w http.ResponseWriter, body io.Reader) {
	br := bufio.NewReaderSize(body, 64<<10)
	raw, err := br.ReadBytes(0)
	if err != nil {
		gatewayError(w, http.StatusBadGateway, err)
		return
	}
	if pad, err := br.Peek(7); err != nil || string(pad) != "\x00\x00\x00\x00\x00\x00\x00" {
		gatewayError(w, http.StatusBadGateway, errors.New("no delimiter after the prelude"))
		return
	}
	_, _ = br.Discard(7)
	m, ok := d.apply(w, raw[:len(raw)-1])
	if !ok {
		return
	}
	w.WriteHeader(m.StatusCode)
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	buf := make([]byte, 64<<10)
	for {
		n, err := br.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = rc.Flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}
