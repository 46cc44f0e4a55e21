package amazonq_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

// capture is a transport that keeps what it is asked for and answers by script, the last answer again and again.
type capture struct {
	mu      sync.Mutex
	got     []*http.Request
	bodies  []string
	answers []func() *http.Response
}

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body := ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		body = string(b)
	}
	c.got, c.bodies = append(c.got, r), append(c.bodies, body)
	if len(c.answers) == 0 {
		return answer(200, "{}")(), nil
	}
	a := c.answers[0]
	if len(c.answers) > 1 {
		c.answers = c.answers[1:]
	}
	return a(), nil
}

// answer makes an answer with headers in pairs.
func answer(status int, body string, headers ...string) func() *http.Response {
	return func() *http.Response {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), ProtoMajor: 1, ProtoMinor: 1}
	}
}

// vault is a Tokens that counts.
type vault struct {
	token   string
	renewed []string // tokens refused
	next    string
	err     error // of Renew
	none    error // of Token
}

func (v *vault) Token(context.Context, upstream.Target) (core.Secret, error) {
	return core.NewSecret(v.token), v.none
}

func (v *vault) Renew(_ context.Context, _ upstream.Target, refused core.Secret) (core.Secret, error) {
	v.renewed = append(v.renewed, refused.Reveal())
	return core.NewSecret(v.next), v.err
}

const loginJSON = `{"refresh_token":"r","client_id":"c","client_secret":"s"}`

func target(n core.Node) upstream.Target {
	return upstream.Target{Node: &n, Credential: core.NewSecret(loginJSON)}
}

// replayed is a request whose body can be had again.
func replayed(body string) *upstream.Request {
	again := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	first, _ := again()
	return &upstream.Request{Method: "GET", Path: "/v1/messages", Query: "beta=true", Header: http.Header{"X-Client": {"x"}, "Cookie": {"c"}},
		Body: first, Length: int64(len(body)), Again: again}
}

// fixed is the clock of the tests: in the middle of December, a month that ends a year.
func fixed() time.Time { return time.Date(2026, 12, 15, 6, 0, 0, 0, time.UTC) }

func client(g, o http.RoundTripper, v *vault) *amazonq.Client {
	return amazonq.New(amazonq.Options{Transports: &upstream.Transports{Guarded: g, Operator: o}, Tokens: v, Now: fixed})
}

// real are true transports whose guard allows public addresses only.
func real(t *testing.T) *upstream.Transports {
	tr := upstream.NewTransports(upstream.TransportOptions{})
	t.Cleanup(tr.CloseIdle)
	return tr
}

func serve(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
