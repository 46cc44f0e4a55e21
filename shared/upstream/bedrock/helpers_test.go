package bedrock_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

const (
	keyID     = "AKIAIOSFODNN7EXAMPLE"
	keySecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	keysJSON  = `{"access_key_id":"` + keyID + `","secret_access_key":"` + keySecret + `"}`
	apiKey    = "ABSKQmVkcm9ja0FQSUtleS1leGFtcGxl"
	roleARN   = "arn:aws:iam::123456789012:role/tenants/bedrock"
)

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time        { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) move(by time.Duration) { c.at.Add(int64(by)) }

// double is Bedrock for one account, all of its hosts in one.
type double struct {
	mu      sync.Mutex
	known   account
	service string
	clock   func() time.Time
	got     []seen
	answer  http.HandlerFunc // of requests whose signature is good; nil: {}
	url     string
}

func newDouble(t *testing.T, service string, c *clock) *double {
	d := &double{known: account{keyID: {keySecret, ""}}, service: service, clock: c.now}
	d.url = serve(t, d.serve)
	return d
}

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	now := d.clock()
	s, kind, message := d.known.verify(r, body, "eu-west-1", d.service, now)
	d.got = append(d.got, seen{target: r.RequestURI, body: string(body), header: r.Header, stamp: s, refused: kind})
	answer := d.answer
	d.mu.Unlock()
	w.Header().Set("Date", now.Format(http.TimeFormat))
	switch {
	case kind != "":
		refuse(w, http.StatusForbidden, kind, message)
	case answer != nil:
		answer(w, r)
	default:
		_, _ = io.WriteString(w, "{}")
	}
}

func (d *double) seen() []seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]seen(nil), d.got...)
}

// real are true transports; addresses of this machine are allowed to tenants only by private.
func real(t *testing.T, private bool) *upstream.Transports {
	tr := upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: private}})
	t.Cleanup(tr.CloseIdle)
	return tr
}

func target(credential string, n core.Node) upstream.Target {
	n.Kind = core.KindBedrock
	return upstream.Target{Node: &n, Credential: core.NewSecret(credential)}
}

// request has a body that can be read again.
func request(body string) *upstream.Request {
	again := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	first, _ := again()
	return &upstream.Request{Method: "POST", Path: "/v1/messages", Header: http.Header{"Content-Type": {"application/json"}}, Body: first, Length: int64(len(body)),
		Again: again, Model: "anthropic.claude-sonnet-4-5-20250929-v1:0"}
}

// send expects an answer, and closes it.
func send(t *testing.T, c *bedrock.Client, to upstream.Target, r *upstream.Request) (int, string) {
	t.Helper()
	resp, err := c.Send(t.Context(), to, r)
	if err != nil {
		t.Errorf("send: %v", err)
		return 0, ""
	}
	defer resp.Body.Close()
	return resp.StatusCode, readAll(t, resp.Body)
}

// capture is a transport that keeps what it is asked for.
type capture struct {
	mu  sync.Mutex
	got []*http.Request
}

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	c.got = append(c.got, r)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(`{}`)))}, nil
}

// failing returns the verdict on a Send that brings no answer.
func failing(t *testing.T, c *bedrock.Client, to upstream.Target, r *upstream.Request) upstream.Failure {
	t.Helper()
	resp, err := c.Send(context.WithoutCancel(t.Context()), to, r)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatalf("an answer came: %d", resp.StatusCode)
	}
	return upstream.ClassifyError(err)
}

// closing tells whether a body was closed.
type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }
