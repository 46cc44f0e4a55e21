package clients_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/shared/upstream/upstreamtest"
	"sluice/tests/lambda/front"
)

// exchange is one request of a client and what it was answered, as seen between the client and the gateway.
type exchange struct {
	Method string
	Path   string // escaped
	Query  string
	Header http.Header
	Body   []byte
	Status int // 0: no answer came
	Answer http.Header
	Text   string // body of the answer, as far as it came
}

// tap stands between a client and the gateway, changes nothing, and records both directions.
type tap struct {
	URL string

	mu  sync.Mutex
	all []*exchange
}

// newTap starts a tap in front of the server at target.
func newTap(t *testing.T, target string) *tap {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	p := &tap{}
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // clients that leave are part of the tests
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			x := r.Request.Context().Value(exchangeKey{}).(*exchange)
			p.mu.Lock()
			defer p.mu.Unlock()
			x.Status, x.Answer = r.StatusCode, r.Header.Clone()
			r.Body = &tappedBody{ReadCloser: r.Body, tap: p, x: x}
			return nil
		},
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		x := &exchange{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body}
		p.mu.Lock()
		p.all = append(p.all, x)
		p.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
	}))
	t.Cleanup(func() { srv.Close(); transport.CloseIdleConnections() })
	p.URL = srv.URL
	return p
}

// exchangeKey finds an exchange in the context of its request.
type exchangeKey struct{}

// tappedBody notes what is read through it.
type tappedBody struct {
	io.ReadCloser
	tap *tap
	x   *exchange
}

func (b *tappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.tap.mu.Lock()
	defer b.tap.mu.Unlock()
	b.x.Text += string(p[:n])
	return n, err
}

// exchanges returns what came by so far, of one path or, with "", of all.
func (p *tap) exchanges(path string) []exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []exchange
	for _, x := range p.all {
		if path == "" || x.Path == path {
			out = append(out, *x)
		}
	}
	return out
}

// statuses lists the statuses of the answers on a path.
func (p *tap) statuses(path string) []int {
	var out []int
	for _, x := range p.exchanges(path) {
		out = append(out, x.Status)
	}
	return out
}

// checkForwarded compares a request as the client sent it with the same request as it reached the upstream: the body byte
// for byte, and every header that is not the gateway's business.
func checkForwarded(t *testing.T, sent exchange, got upstreamtest.Request) {
	t.Helper()
	checkCredential(t, got)
	if got.Method != sent.Method || got.Path != strings.TrimPrefix(sent.Path, "/anthropic") || !sameQuery(sent.Query, got.RawQuery) {
		t.Errorf("%s %s?%s arrived as %s %s?%s", sent.Method, sent.Path, sent.Query, got.Method, got.Path, got.RawQuery)
	}
	if !bytes.Equal(sent.Body, got.Body) {
		t.Errorf("the body changed on its way: %s", firstDifference(sent.Body, got.Body))
	}
	for name, values := range sent.Header {
		switch name {
		case "Authorization", "X-Api-Key", "Accept-Encoding", "Connection", "Content-Length":
			continue
		}
		if !slices.Equal(values, got.Header[name]) {
			t.Errorf("header %s: %q arrived as %q", name, values, got.Header[name])
		}
	}
	for name := range got.Header {
		switch name {
		case "Authorization", "X-Api-Key", "Accept-Encoding", "Content-Length", "Anthropic-Version":
			continue
		}
		if _, ok := sent.Header[name]; !ok {
			t.Errorf("header %s: %q was added on the way", name, got.Header[name])
		}
	}
}

// sameQuery compares byte for byte, but where the query has been in an event of API Gateway, which keeps no order.
func sameQuery(a, b string) bool {
	if lambda != nil && lambda.door == front.REST {
		p, errP := url.ParseQuery(a)
		q, errQ := url.ParseQuery(b)
		return errP == nil && errQ == nil && p.Encode() == q.Encode()
	}
	return a == b
}

func firstDifference(a, b []byte) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	window := func(s []byte) string { return strings.ToValidUTF8(string(s[max(0, i-20):min(len(s), i+20)]), "?") }
	return window(a) + " became " + window(b)
}
