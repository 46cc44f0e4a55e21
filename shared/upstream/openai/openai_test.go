package openai_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/openai"
)

var _ upstream.Client = (*openai.Client)(nil)

// capture is a transport that keeps the request.
type capture struct{ got *http.Request }

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.got = r
	return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
}

func send(t *testing.T, n core.Node, key string, r upstream.Request) (guarded, operator *capture) {
	t.Helper()
	guarded, operator = &capture{}, &capture{}
	c := openai.New(&upstream.Transports{Guarded: guarded, Operator: operator})
	for range 2 { // the second time the address is known
		resp, err := c.Send(t.Context(), upstream.Target{Node: &n, Credential: core.NewSecret(key)}, &r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	return guarded, operator
}

func TestSend_Addresses(t *testing.T) {
	for _, c := range []struct{ why, base, path, query, want string }{
		{"OpenAI", "https://api.openai.com/v1", "/v1/chat/completions", "", "https://api.openai.com/v1/chat/completions"},
		{"slash at the end", "https://api.openai.com/v1/", "/v1/responses", "", "https://api.openai.com/v1/responses"},
		{"no path", "https://api.openai.com", "/v1/chat/completions", "", "https://api.openai.com/v1/chat/completions"},
		{"no path but a slash", "https://api.openai.com/", "/v1/models", "", "https://api.openai.com/v1/models"},
		{"a server of the own network", "http://host:11434/v1", "/v1/chat/completions", "", "http://host:11434/v1/chat/completions"},
		{"Azure", "https://x.openai.azure.com/openai/v1", "/v1/responses", "", "https://x.openai.azure.com/openai/v1/responses"},
		{"Azure with its version", "https://x.openai.azure.com/openai/v1?api-version=preview", "/v1/responses", "", "https://x.openai.azure.com/openai/v1/responses?api-version=preview"},
		{"another path without a version", "https://relay.example/openai", "/v1/chat/completions", "", "https://relay.example/openai/chat/completions"},
		{"another version", "https://relay.example/api/v3/", "/v1/chat/completions", "", "https://relay.example/api/v3/chat/completions"},
		{"query", "https://api.openai.com/v1", "/v1/models", "client_version=1", "https://api.openai.com/v1/models?client_version=1"},
		{"two queries", "https://a.example/v1?api-version=1", "/v1/models", "x=2", "https://a.example/v1/models?api-version=1&x=2"},
		{"escaped slash", "http://relay/v1", "/v1/models/vendor%2Fmodel", "", "http://relay/v1/models/vendor%2Fmodel"},
		{"escaped space", "http://relay", "/v1/models/a%20b", "", "http://relay/v1/models/a%20b"},
		{"only the first version is ours", "http://relay/v1", "/v1/models/v1", "", "http://relay/v1/models/v1"},
	} {
		g, _ := send(t, core.Node{BaseURL: c.base}, "k", upstream.Request{Method: "GET", Path: c.path, Query: c.query, Header: http.Header{}})
		if got := g.got.URL.String(); got != c.want {
			t.Errorf("%s: %s + %s: got %s, want %s", c.why, c.base, c.path, got, c.want)
		}
	}
}

func TestSend_Credentials(t *testing.T) {
	for _, c := range []struct{ why, header, key, bearer, apiKey string }{
		{"usual", "", "sk-1", "Bearer sk-1", ""},
		{"a header of the node's own", "api-key", "k", "", "k"},
		{"the same header, but bare", "authorization", "Token k", "Token k", ""},
		{"no credential", "", "", "", ""},
		{"no credential, though a header", "api-key", "", "", ""},
	} {
		g, _ := send(t, core.Node{BaseURL: "https://relay.example/v1", AuthHeader: c.header}, c.key, upstream.Request{Method: "POST", Path: "/v1/responses",
			Header: http.Header{"X-Api-Key": {"client"}, "Authorization": {"Bearer client"}, "Api-Key": {"client"}}})
		h := g.got.Header
		if h.Get("Authorization") != c.bearer || h.Get("Api-Key") != c.apiKey || h.Get("X-Api-Key") != "" {
			t.Errorf("%s: got %v", c.why, h)
		}
	}
}

func TestSend_Headers(t *testing.T) {
	in := http.Header{
		"Anthropic-Version": {"2023-06-01"}, "Anthropic-Beta": {"x"}, "Anthropic-Dangerous-Direct-Browser-Access": {"true"},
		"X-Claude-Code-Session-Id": {"x"}, "Openai-Organization": {"org-client"}, "Openai-Project": {"proj_client"},
		"Content-Encoding": {"zstd"}, "Cookie": {"x"}, "X-Forwarded-For": {"x"},
		"Content-Type": {"application/json"}, "User-Agent": {"codex"}, "Openai-Beta": {"responses=v1"}, "Session_id": {"s"}, "X-Stainless-Lang": {"go"},
	}
	before := in.Clone()
	g, _ := send(t, core.Node{BaseURL: "https://api.openai.com/v1"}, "k", upstream.Request{Method: "POST", Path: "/v1/responses", Header: in})
	want := http.Header{"Accept-Encoding": {"identity"}, "Authorization": {"Bearer k"}, "Content-Type": {"application/json"},
		"User-Agent": {"codex"}, "Openai-Beta": {"responses=v1"}, "Session_id": {"s"}, "X-Stainless-Lang": {"go"}}
	if !maps.EqualFunc(g.got.Header, want, slices.Equal[[]string]) {
		t.Errorf("got %v", g.got.Header)
	}
	if !maps.EqualFunc(in, before, slices.Equal[[]string]) {
		t.Error("the client's own headers were changed")
	}
}

func TestSend_OperatorsNodesGoTheirOwnWay(t *testing.T) {
	for _, operators := range []bool{true, false} {
		g, o := send(t, core.Node{BaseURL: "http://127.0.0.1", Operator: operators}, "k", upstream.Request{Method: "GET", Path: "/v1/models", Header: http.Header{}})
		if (o.got != nil) != operators || (g.got != nil) == operators {
			t.Errorf("operator's %v: guarded %v, operator %v", operators, g.got != nil, o.got != nil)
		}
	}
}

type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }

func TestSend_BadAddressClosesTheBody(t *testing.T) {
	c := openai.New(&upstream.Transports{Guarded: &capture{}, Operator: &capture{}})
	b := &closing{Reader: strings.NewReader("x")}
	resp, err := c.Send(t.Context(), upstream.Target{Node: &core.Node{BaseURL: "http://[::1"}}, &upstream.Request{Method: "POST", Path: "/v1/responses", Header: http.Header{}, Body: b, Length: 1})
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("no error")
	}
	if !b.closed.Load() {
		t.Error("the body was left open")
	}
}

func TestSend_EndsWithItsContext(t *testing.T) {
	tr := upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: true}})
	defer tr.CloseIdle()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	b := &closing{Reader: strings.NewReader("x")}
	resp, err := openai.New(tr).Send(ctx, upstream.Target{Node: &core.Node{BaseURL: "http://127.0.0.1:1"}}, &upstream.Request{Method: "POST", Path: "/v1/responses", Header: http.Header{}, Body: b, Length: 1})
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("no error")
	}
	if !b.closed.Load() {
		t.Error("the body was left open")
	}
}

// A kept connection that the upstream closed meanwhile is no fault of the node: the transport can send the body again.
func TestSend_BodyCanBeSentAgain(t *testing.T) {
	again := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil }
	first, _ := again()
	g, _ := send(t, core.Node{BaseURL: "http://relay"}, "k", upstream.Request{Method: "POST", Path: "/v1/responses", Header: http.Header{}, Body: first, Length: 4, Again: again})
	if g.got.GetBody == nil || g.got.ContentLength != 4 {
		t.Errorf("got length %d, again %v", g.got.ContentLength, g.got.GetBody != nil)
	}
}

func TestClassify(t *testing.T) {
	const quota = `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	const pace = `{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}`
	h := func(kv ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			out.Set(kv[i], kv[i+1])
		}
		return out
	}
	const reqs, toks = "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"
	for _, c := range []struct {
		why    string
		status int
		header http.Header
		body   string
		class  upstream.Class
		wait   time.Duration
	}{
		{"success", 200, h(reqs, "1s"), "", upstream.OK, 0},
		{"too long a conversation is long for every node", 400, nil, `{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, upstream.ClientFault, 0},
		{"no such model", 404, nil, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"model_not_found"}}`, upstream.ClientFault, 0},
		{"wrong key", 401, nil, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, upstream.Credential, 0},
		{"key without the right", 403, nil, "", upstream.Credential, 0},
		{"no money, elsewhere", 402, nil, "", upstream.Credential, 0},
		{"their fault", 500, nil, "", upstream.Server, 0},
		{"overloaded", 503, nil, "", upstream.Server, 0},
		{"a time that says nothing here", 500, h(reqs, "6m0s"), "", upstream.Server, 0},
		{"429 alone", 429, nil, "", upstream.RateLimited, 30 * time.Second},
		{"quota by code", 429, nil, quota, upstream.RateLimited, time.Minute},
		{"quota by type", 429, nil, `{"error":{"type":"insufficient_quota","code":null}}`, upstream.RateLimited, time.Minute},
		{"quota by type, the code a number", 429, nil, `{"error":{"type":"insufficient_quota","code":429}}`, upstream.RateLimited, time.Minute},
		{"quota with a time", 429, h("retry-after", "7200"), quota, upstream.RateLimited, 2 * time.Hour},
		{"the pace's reset says nothing of the quota", 429, h(reqs, "20ms"), quota, upstream.RateLimited, time.Minute},
		{"a body that is cut", 429, nil, quota[:60], upstream.RateLimited, 30 * time.Second},
		{"a body that is no object", 429, nil, `"insufficient_quota"`, upstream.RateLimited, 30 * time.Second},
		{"retry-after wins", 429, h("retry-after", "3", reqs, "6m0s"), pace, upstream.RateLimited, 3 * time.Second},
		{"retry-after-ms wins", 429, h("retry-after-ms", "250", reqs, "6m0s"), pace, upstream.RateLimited, 250 * time.Millisecond},
		{"requests", 429, h(reqs, "1s"), pace, upstream.RateLimited, time.Second},
		{"tokens", 429, h(toks, "6m0s"), pace, upstream.RateLimited, 6 * time.Minute},
		{"milliseconds", 429, h(reqs, "20ms"), pace, upstream.RateLimited, 20 * time.Millisecond},
		{"the longer one", 429, h(reqs, "1s", toks, "2m"), pace, upstream.RateLimited, 2 * time.Minute},
		{"the one that is used up", 429, h(reqs, "1s", toks, "2m", "x-ratelimit-remaining-requests", "0", "x-ratelimit-remaining-tokens", "9"), pace, upstream.RateLimited, time.Second},
		{"used up, but without a time", 429, h(toks, "2m", "x-ratelimit-remaining-requests", "0"), pace, upstream.RateLimited, 2 * time.Minute},
		{"an hour at most", 429, h(reqs, "9h0m0s"), pace, upstream.RateLimited, time.Hour},
		{"days", 429, h(reqs, "1d2h"), pace, upstream.RateLimited, time.Hour},
		{"no days", 429, h(reqs, "bad"), pace, upstream.RateLimited, 30 * time.Second},
		{"nothing left to wait for", 429, h(reqs, "0s"), pace, upstream.RateLimited, 30 * time.Second},
		{"a time gone by", 429, h(reqs, "-3s"), pace, upstream.RateLimited, 30 * time.Second},
		{"beyond all numbers", 429, h(reqs, "99999999999999h"), pace, upstream.RateLimited, 30 * time.Second},
	} {
		f := openai.New(nil).Classify(c.status, c.header, []byte(c.body))
		if f.Class != c.class || f.RetryAfter != c.wait || f.Status != c.status {
			t.Errorf("%s: got %+v", c.why, f)
		}
		if strings.Contains(f.Reason, "exceeded") {
			t.Errorf("%s: the reason %q holds the upstream's text", c.why, f.Reason)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(`{"error":{"type":"insufficient_quota"}}`, "6m0s")
	f.Add(`{"error":[]}`, "1d")
	f.Fuzz(func(t *testing.T, body, reset string) {
		h := http.Header{"X-Ratelimit-Reset-Tokens": {reset}}
		got := openai.New(nil).Classify(429, h, []byte(body))
		if got.Class != upstream.RateLimited || got.RetryAfter <= 0 || got.RetryAfter > time.Hour {
			t.Errorf("got %+v", got)
		}
	})
}
