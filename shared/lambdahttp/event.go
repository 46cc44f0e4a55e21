package lambdahttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
)

// maxHeaders bounds the header lines of a request. API Gateway allows 10 KB of headers, so no client comes near.
const maxHeaders = 1000

// event is a request as the front door described it.
type event struct {
	kind      Kind
	payload   int // the version of the payload, 1 or 2: the answer has the same
	requestID string
	prefix    string

	method   string
	url      url.URL
	host     string
	sourceIP string
	header   http.Header
	body     io.Reader
	length   int
}

// request makes the request of the event. A part that the event lacks, because it was refused, has a harmless value.
func (e *event) request(ctx context.Context) *http.Request {
	r := &http.Request{Method: e.method, URL: &e.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: e.header,
		Body: http.NoBody, Host: e.host, RequestURI: e.url.RequestURI()}
	if e.length > 0 {
		r.Body = io.NopCloser(e.body)
		r.ContentLength = int64(e.length)
	}
	// with a port, since net/http's own always has one and SplitHostPort fails without
	if a, err := netip.ParseAddr(e.sourceIP); err == nil {
		r.RemoteAddr = net.JoinHostPort(a.String(), "0")
	}
	return r.WithContext(ctx)
}

// members are the parts of an event, as views of its bytes.
type members struct {
	version, httpMethod, path, rawPath, rawQuery, resource, routeKey rawjson.Value
	headers, multiHeaders, query, multiQuery, pathParameters         rawjson.Value
	cookies, body, isBase64, requestContext                          rawjson.Value

	// of requestContext
	requestID, stage, contextPath, domainName, http, identity, elb rawjson.Value
	// of requestContext.http (2.0) or requestContext.identity (1.0)
	method, sourceIP rawjson.Value
}

func pick(doc []byte, fields map[string]*rawjson.Value) error {
	return rawjson.Members(doc, func(key, v rawjson.Value) bool {
		if name, ok := key.Text(); ok {
			if p := fields[name]; p != nil {
				*p = v
			}
		}
		return true
	})
}

func (m *members) read(raw []byte) error {
	err := pick(raw, map[string]*rawjson.Value{
		"version": &m.version, "httpMethod": &m.httpMethod, "path": &m.path, "rawPath": &m.rawPath, "rawQueryString": &m.rawQuery,
		"resource": &m.resource, "routeKey": &m.routeKey, "headers": &m.headers, "multiValueHeaders": &m.multiHeaders,
		"queryStringParameters": &m.query, "multiValueQueryStringParameters": &m.multiQuery, "pathParameters": &m.pathParameters,
		"cookies": &m.cookies, "body": &m.body, "isBase64Encoded": &m.isBase64, "requestContext": &m.requestContext})
	if err != nil || m.requestContext.Kind() != rawjson.Object {
		return err
	}
	err = pick(m.requestContext.Raw(), map[string]*rawjson.Value{
		"requestId": &m.requestID, "stage": &m.stage, "path": &m.contextPath, "domainName": &m.domainName,
		"http": &m.http, "identity": &m.identity, "elb": &m.elb})
	if err == nil && m.http.Kind() == rawjson.Object {
		err = pick(m.http.Raw(), map[string]*rawjson.Value{"method": &m.method, "sourceIp": &m.sourceIP})
	}
	if err == nil && m.identity.Kind() == rawjson.Object {
		err = pick(m.identity.Raw(), map[string]*rawjson.Value{"sourceIp": &m.sourceIP})
	}
	return err
}

func text(v rawjson.Value) string {
	s, _ := v.Text()
	return s
}

// kind tells who sent the event, and the version of its payload. Payload 2.0 is shared: only the domain's name tells a
// function URL, which is never called by another name, from an HTTP API.
func (m *members) kind() (Kind, int) {
	switch {
	case m.requestContext.Kind() != rawjson.Object || m.elb.Exists():
		return Unknown, 2
	case m.version.TextEquals("2.0") && m.http.Kind() == rawjson.Object:
		if strings.Contains(text(m.domainName), ".lambda-url.") {
			return FunctionURL, 2
		}
		return HTTPAPI, 2
	case m.httpMethod.Kind() != rawjson.String || m.path.Kind() != rawjson.String:
		return Unknown, 2
	case m.version.TextEquals("1.0"): // REST APIs send no version
		return HTTPAPI, 1
	default:
		return REST, 1
	}
}

// parseEvent reads an event. On an error the event still names its kind, so that the refusal has the right form.
func parseEvent(raw []byte, maxBody int64) (*event, *core.Error) {
	e := &event{method: http.MethodGet, url: url.URL{Path: "/"}, header: http.Header{}}
	var m members
	if err := m.read(raw); err != nil {
		e.payload = 2
		return e, refuse("The event is no JSON object.")
	}
	e.kind, e.payload = m.kind()
	if e.kind == Unknown {
		return e, refuse("The event is no HTTP request of API Gateway or of a function URL.")
	}
	e.requestID = text(m.requestID)
	e.sourceIP = text(m.sourceIP)
	if bad := e.readTarget(&m); bad != nil {
		return e, bad
	}
	if bad := e.readHeader(&m); bad != nil {
		return e, bad
	}
	return e, e.readBody(&m, maxBody)
}

func refuse(message string) *core.Error { return core.E(core.CodeInvalid, message) }

// readTarget reads method, path and query.
func (e *event) readTarget(m *members) *core.Error {
	method, path, template := text(m.httpMethod), text(m.path), text(m.resource)
	if e.payload == 2 {
		method, path = text(m.method), text(m.rawPath)
		_, template, _ = strings.Cut(text(m.routeKey), " ")
	}
	if !isToken(method) {
		return refuse("The event names no HTTP method.")
	}
	e.method = method
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	rest := strip(path, template, m.pathParameters)
	if stage := text(m.stage); e.kind == HTTPAPI && template == "" && stage != "" && stage != "$default" {
		if s, ok := strings.CutPrefix(path, "/"+stage); ok && (s == "" || s[0] == '/') {
			rest = "/" + strings.TrimPrefix(s, "/")
		}
	}
	public := path
	if c := text(m.contextPath); c != "" && e.kind == REST {
		public = c // with the stage, or the base path of a custom domain
	}
	if p, ok := strings.CutSuffix(public, rest); ok {
		e.prefix = p
	} else if rest == "/" {
		e.prefix = strings.TrimSuffix(public, "/")
	} else if e.kind == REST && strings.Contains(text(m.domainName), ".execute-api.") {
		e.prefix = "/" + text(m.stage)
	}
	e.setPath(rest)
	return e.readQuery(m)
}

// setPath sets the path. REST APIs and function URLs send it as the client wrote it, HTTP APIs decode it: an escaped slash is
// lost there. One that cannot be an escaped path is taken as a decoded one.
func (e *event) setPath(raw string) {
	e.url.Path = raw
	if e.kind == HTTPAPI {
		return
	}
	if p, err := url.PathUnescape(raw); err == nil && p != raw {
		e.url.Path = p
		e.url.RawPath = raw // ignored by net/url unless it is an encoding of Path
	}
}

// strip returns path without the base path of a custom domain, which the route it came by does not have: what the route's
// template makes with the event's parameters is the path proper. Parameters come decoded or not, depending on the API.
func strip(path, template string, parameters rawjson.Value) string {
	if !strings.HasPrefix(template, "/") {
		return path
	}
	want := template
	if parameters.Kind() == rawjson.Object {
		_ = rawjson.Members(parameters.Raw(), func(key, v rawjson.Value) bool {
			k, val := text(key), text(v)
			want = strings.Replace(want, "{"+k+"+}", val, 1)
			want = strings.Replace(want, "{"+k+"}", val, 1)
			return true
		})
	}
	if strings.HasSuffix(path, want) {
		return path[len(path)-len(want):]
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || !strings.HasSuffix(decoded, want) {
		return path
	}
	base := decoded[:len(decoded)-len(want)]
	if rest, ok := strings.CutPrefix(path, base); ok { // base paths hold nothing that is escaped
		return rest
	}
	return path
}

// readQuery reads the query: as it came in payload 2.0, made anew from the decoded values in 1.0, where order and form of
// the original are lost.
func (e *event) readQuery(m *members) *core.Error {
	if e.payload == 2 {
		e.url.RawQuery = text(m.rawQuery)
		return nil
	}
	q := url.Values{}
	bad := eachString(m.multiQuery, func(k, v string) { q[k] = append(q[k], v) })
	if bad == nil && len(q) == 0 {
		bad = eachString(m.query, func(k, v string) { q[k] = append(q[k], v) })
	}
	if bad != nil {
		return refuse("The event's query is no map of strings.")
	}
	e.url.RawQuery = q.Encode()
	return nil
}

// readHeader reads header, host and cookies.
func (e *event) readHeader(m *members) *core.Error {
	n, valid := 0, true
	add := func(k, v string) {
		n++
		if valid = valid && n <= maxHeaders && isToken(k) && isValue(v); valid {
			e.header.Add(k, v)
		}
	}
	bad := eachString(m.multiHeaders, add)
	multi := make(map[string]bool, len(e.header))
	for k := range e.header {
		multi[k] = true
	}
	err := eachString(m.headers, func(k, v string) {
		if !multi[http.CanonicalHeaderKey(k)] {
			add(k, v)
		}
	})
	if bad != nil || err != nil || !valid {
		clear(e.header)
		return refuse("The event's headers are no map of at most " + strconv.Itoa(maxHeaders) + " valid header lines.")
	}
	// function URLs have the cookies in both places, HTTP APIs in the array alone
	if e.payload == 2 && e.header["Cookie"] == nil && m.cookies.Kind() == rawjson.Array {
		e.readCookies(m.cookies)
	}
	e.host = e.header.Get("Host")
	if e.host == "" {
		e.host = text(m.domainName)
	}
	delete(e.header, "Host") // as net/http does
	delete(e.header, "Transfer-Encoding")
	return nil
}

func (e *event) readCookies(v rawjson.Value) {
	var all []string
	_ = rawjson.Elements(v.Raw(), func(v rawjson.Value) bool {
		if s := text(v); s != "" && isValue(s) {
			all = append(all, s)
		}
		return len(all) < maxHeaders
	})
	if len(all) > 0 {
		e.header["Cookie"] = []string{strings.Join(all, "; ")}
	}
}

func (e *event) readBody(m *members, limit int64) *core.Error {
	raw := m.body.Raw()
	isBase64, _ := m.isBase64.Bool()
	switch {
	case m.body.Kind() == rawjson.Absent || m.body.Kind() == rawjson.Null:
	case m.body.Kind() != rawjson.String:
		return refuse("The event's body is no string.")
	case isBase64:
		src := raw[1 : len(raw)-1]
		if bytes.IndexByte(src, '\\') >= 0 { // an escaped slash
			src = []byte(text(m.body))
		}
		b := make([]byte, base64.StdEncoding.DecodedLen(len(src)))
		n, err := base64.StdEncoding.Decode(b, src)
		if err != nil {
			return refuse("The event's body is not the base64 that it says it is.")
		}
		e.body, e.length = bytes.NewReader(b[:n]), n
	default:
		s := text(m.body)
		e.body, e.length = strings.NewReader(s), len(s)
	}
	if int64(e.length) > limit {
		e.body, e.length = nil, 0
		return core.E(core.CodeTooLarge, "The request body is larger than "+strconv.FormatInt(limit, 10)+
			" bytes, which is what this function takes. Send less, or use the gateway's container, which takes 32 MB.")
	}
	if e.length > 0 || e.header["Content-Length"] != nil {
		e.header["Content-Length"] = []string{strconv.Itoa(e.length)} // of what the handler reads, not of the escaped form
	}
	return nil
}

// eachString calls fn for each string of a map of strings or of lists of strings. null stands for nothing anywhere.
func eachString(v rawjson.Value, fn func(k, v string)) error {
	if v.Kind() == rawjson.Absent || v.Kind() == rawjson.Null {
		return nil
	}
	odd := false
	one := func(k string, v rawjson.Value) {
		if s, ok := v.Text(); ok {
			fn(k, s)
		} else if v.Kind() != rawjson.Null {
			odd = true
		}
	}
	err := rawjson.Members(v.Raw(), func(key, v rawjson.Value) bool {
		k := text(key)
		if v.Kind() != rawjson.Array {
			one(k, v)
			return !odd
		}
		_ = rawjson.Elements(v.Raw(), func(v rawjson.Value) bool {
			one(k, v)
			return !odd
		})
		return !odd
	})
	if odd {
		return &rawjson.SyntaxError{Msg: "not a string"}
	}
	return err
}

// isToken reports whether s is a token of RFC 9110: the form of methods and header names.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isValue reports whether s can be a header value: no control characters but the tab.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
