package anthropic_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/anthropic"
)

// capture is a transport that keeps the request.
type capture struct{ got *http.Request }

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.got = r
	return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
}

func send(t *testing.T, n core.Node, key string, r upstream.Request) (guarded, operator *capture) {
	t.Helper()
	guarded, operator = &capture{}, &capture{}
	c := anthropic.New(&upstream.Transports{Guarded: guarded, Operator: operator})
	resp, err := c.Send(t.Context(), upstream.Target{Node: &n, Credential: core.NewSecret(key)}, &r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return guarded, operator
}

func TestSend_Addresses(t *testing.T) {
	for _, c := range []struct{ base, path, query, want string }{
		{"https://api.anthropic.com", "/v1/messages", "beta=true", "https://api.anthropic.com/v1/messages?beta=true"},
		{"https://api.anthropic.com/", "/v1/messages", "", "https://api.anthropic.com/v1/messages"},
		{"https://api.anthropic.com/v1", "/v1/messages", "", "https://api.anthropic.com/v1/messages"},
		{"https://api.anthropic.com/v1/", "/v1/messages", "", "https://api.anthropic.com/v1/messages"},
		{"http://relay:8080/anthropic", "/v1/models", "limit=1000", "http://relay:8080/anthropic/v1/models?limit=1000"},
		{"http://relay/a/v1/", "/v1/files/file_1/content", "", "http://relay/a/v1/files/file_1/content"},
		{"http://relay", "/v1/models/vendor%2Fmodel", "", "http://relay/v1/models/vendor%2Fmodel"},
		{"http://relay", "/v1/models/a%20b", "", "http://relay/v1/models/a%20b"},
	} {
		g, _ := send(t, core.Node{BaseURL: c.base}, "k", upstream.Request{Method: "GET", Path: c.path, Query: c.query, Header: http.Header{}})
		if got := g.got.URL.String(); got != c.want {
			t.Errorf("%s + %s: got %s, want %s", c.base, c.path, got, c.want)
		}
	}
}

func TestSend_Credentials(t *testing.T) {
	for _, c := range []struct{ base, key, apiKey, bearer string }{
		{"https://relay.example", "k", "k", "Bearer k"},
		{"https://relay.example", "sk-ant-oat01-x", "sk-ant-oat01-x", "Bearer sk-ant-oat01-x"},
		{"https://api.anthropic.com", "sk-ant-api03-x", "sk-ant-api03-x", ""},
		{"https://api.anthropic.com", "sk-ant-oat01-x", "", "Bearer sk-ant-oat01-x"},
		{"https://anthropic.com.evil.example", "sk-ant-api03-x", "sk-ant-api03-x", "Bearer sk-ant-api03-x"},
		{"https://relay.example", "", "", ""},
	} {
		g, _ := send(t, core.Node{BaseURL: c.base}, c.key, upstream.Request{Method: "POST", Path: "/v1/messages",
			Header: http.Header{"X-Api-Key": {"client"}, "Authorization": {"Bearer client"}}})
		h := g.got.Header
		if h.Get("X-Api-Key") != c.apiKey || h.Get("Authorization") != c.bearer {
			t.Errorf("%s with %s: got %q and %q", c.base, c.key, h.Get("X-Api-Key"), h.Get("Authorization"))
		}
	}
}

func TestSend_OperatorsNodesGoTheirOwnWay(t *testing.T) {
	g, o := send(t, core.Node{BaseURL: "http://127.0.0.1", Operator: true}, "k", upstream.Request{Method: "GET", Path: "/v1/models", Header: http.Header{}})
	if g.got != nil || o.got == nil {
		t.Error("an operator's node went through the guard")
	}
	g, o = send(t, core.Node{BaseURL: "http://127.0.0.1"}, "k", upstream.Request{Method: "GET", Path: "/v1/models", Header: http.Header{}})
	if g.got == nil || o.got != nil {
		t.Error("a tenant's node went past the guard")
	}
}

func TestSend_BadAddressClosesTheBody(t *testing.T) {
	c := anthropic.New(&upstream.Transports{Guarded: &capture{}, Operator: &capture{}})
	b := &closing{Reader: strings.NewReader("x")}
	resp, err := c.Send(t.Context(), upstream.Target{Node: &core.Node{BaseURL: "http://[::1"}}, &upstream.Request{Method: "POST", Path: "/v1/messages", Header: http.Header{}, Body: b, Length: 1})
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("no error")
	}
	if !b.closed.Load() {
		t.Error("the body was left open")
	}
}

type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }

// A kept connection that the upstream closed meanwhile is no fault of the node: the transport can send the body again
// when it may take it from its start.
func TestSend_BodyCanBeSentAgain(t *testing.T) {
	text := "body"
	again := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	first, _ := again()
	g, _ := send(t, core.Node{BaseURL: "http://relay"}, "k", upstream.Request{Method: "POST", Path: "/v1/messages", Header: http.Header{}, Body: first, Length: 4, Again: again})
	if g.got.GetBody == nil {
		t.Fatal("not passed on")
	}
	b, err := g.got.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(b); string(got) != text {
		t.Errorf("got %q", got)
	}
}

func TestSend_EndsWithItsContext(t *testing.T) {
	tr := upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: true}})
	defer tr.CloseIdle()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	b := &closing{Reader: strings.NewReader("x")}
	resp, err := anthropic.New(tr).Send(ctx, upstream.Target{Node: &core.Node{BaseURL: "http://127.0.0.1:1"}}, &upstream.Request{Method: "POST", Path: "/v1/messages", Header: http.Header{}, Body: b, Length: 1})
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("no error")
	}
	if !b.closed.Load() {
		t.Error("the body was left open")
	}
}
