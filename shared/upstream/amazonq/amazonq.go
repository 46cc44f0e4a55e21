// Package amazonq sends requests to Amazon Q Developer and Kiro: awsJson1.0 with a bearer token, to the host of a node's
// region. It also lists what an account may use and drives the login of AWS's token service (SSO OIDC).
package amazonq

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	maxRefusal = 64 << 10         // of a refusal that may be about the token
	callTime   = 20 * time.Second // of one call of the control plane or the token service, its retries included
)

// Tokens gives the access tokens that nodes' credentials are exchanged for.
type Tokens interface {
	// Token returns an access token that is good now. An *upstream.Error tells why there is none.
	Token(ctx context.Context, t upstream.Target) (core.Secret, error)
	// Renew returns another token in place of one that the service refused.
	Renew(ctx context.Context, t upstream.Target, refused core.Secret) (core.Secret, error)
}

// Options configures New and NewLogin.
type Options struct {
	Transports *upstream.Transports
	Tokens     Tokens // New only; not asked for API keys
	// Endpoint and TokenEndpoint are addresses that the operator set by environment (AMAZONQ_API_ENDPOINT and
	// AMAZONQ_TOKEN_ENDPOINT), exempt from the address guard; empty: the host of the region. Where they name AWS's own host of
	// a region, as the guide prints them, a node or login of another region or API goes to its own host all the same.
	Endpoint, TokenEndpoint string
	Now                     func() time.Time // nil: time.Now
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Client implements upstream.Client and upstream.Lister. It is safe for concurrent use.
type Client struct{ o Options }

var (
	_ upstream.Client = (*Client)(nil)
	_ upstream.Lister = (*Client)(nil)
)

// New makes a client.
func New(o Options) *Client { return &Client{o.withDefaults()} }

// Send implements upstream.Client: GenerateAssistantResponse with r's body, whatever r's method, path, query and headers. A
// token that the service calls expired or invalid is renewed once and the body sent again; a second refusal is returned. An
// answer that the connection's end alone terminates reads as io.ErrUnexpectedEOF: it cannot be told from one that was cut.
func (c *Client) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	resp, err := c.post(ctx, t, operation{target: streamTarget}, r)
	if err != nil {
		return nil, err
	}
	if id := resp.Header["X-Amzn-Requestid"]; len(id) > 0 && upstream.RequestID(resp.Header) == "" {
		resp.Header["X-Request-Id"] = id[:1] // where the shared rule looks for it
	}
	if resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 {
		resp.Body = endless{resp.Body}
	}
	return resp, nil
}

// streamTarget is the same on both sets of hosts.
const streamTarget = "AmazonCodeWhispererStreamingService.GenerateAssistantResponse"

// operation is what is asked for.
type operation struct {
	target  string // X-Amz-Target
	control bool   // of the control plane, which Kiro has on a host of its own
}

// post makes one attempt, a second one with a new token when the first is refused for the token.
func (c *Client) post(ctx context.Context, t upstream.Target, op operation, r *upstream.Request) (*http.Response, error) {
	body := r.Body
	keep := func(err error) (*http.Response, error) {
		if body != nil {
			_ = body.Close()
		}
		return nil, err
	}
	to, err := c.o.resolve(t.Node, op.control)
	if err != nil {
		return keep(err)
	}
	token, isKey, err := c.token(ctx, t)
	if err != nil {
		return keep(err)
	}
	resp, err := c.roundTrip(ctx, to, op, r, body, token, isKey)
	if err != nil || isKey || !mayBeToken(resp.StatusCode) {
		return resp, err
	}
	if refused := holdBody(resp); !parseFault(resp.Header, refused).refusesToken(resp.StatusCode) {
		return resp, nil
	}
	fresh, err := c.o.Tokens.Renew(ctx, t, token)
	if err != nil {
		return nil, err
	}
	if fresh == token || r.Body != nil && r.Again == nil {
		return resp, nil // the same would come again; or there is nothing left to send
	}
	if body = nil; r.Body != nil {
		if body, err = r.Again(); err != nil {
			return nil, err
		}
	}
	return c.roundTrip(ctx, to, op, r, body, fresh, false)
}

// token returns what goes into the Authorization header, and whether it is an API key rather than a token.
func (c *Client) token(ctx context.Context, t upstream.Target) (core.Secret, bool, error) {
	if key, ok := apiKey(t.Credential); ok {
		return key, true, nil
	}
	token, err := c.o.Tokens.Token(ctx, t)
	if err == nil && !headerSafe(token.Reveal()) {
		err = &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential, Reason: "the access token is not usable; log in again"}}
	}
	return token, false, err
}

func (c *Client) roundTrip(ctx context.Context, to address, op operation, r *upstream.Request, body io.ReadCloser, token core.Secret, isKey bool) (*http.Response, error) {
	u := to.url
	h := http.Header{
		"Authorization":               {"Bearer " + token.Reveal()},
		"Content-Type":                {"application/x-amz-json-1.0"},
		"X-Amz-Target":                {op.target},
		"X-Amzn-Codewhisperer-Optout": {"true"}, // what clients send is not to be shared
		"Amz-Sdk-Invocation-Id":       {invocation()},
		"Accept":                      {"*/*"},
		"Accept-Encoding":             {"identity"},
		"User-Agent":                  {userAgent},
	}
	if isKey {
		h["Tokentype"] = []string{"API_KEY"} // without it a key is taken for a token and refused
	}
	req := &http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: body, ContentLength: r.Length, GetBody: r.Again,
	}
	if body == nil {
		req.ContentLength, req.GetBody = 0, nil
	}
	rt := c.o.Transports.Guarded
	if to.operator {
		rt = c.o.Transports.Operator
	}
	return rt.RoundTrip(req.WithContext(ctx))
}

// userAgent names this product: it imitates no other client.
const userAgent = "sluice"

// holdBody reads a refusal, so that it can be judged here and once more by the caller.
func holdBody(resp *http.Response) []byte {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what came is what there is to judge
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength, resp.TransferEncoding = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
	resp.Header["Content-Length"] = []string{strconv.Itoa(len(b))}
	return b
}

// endless is a body whose end is told by nothing but the end of the connection.
type endless struct{ io.ReadCloser }

func (e endless) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// invocation is a random UUID (version 4) in its usual form.
func invocation() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// address is where a request goes.
type address struct {
	url      url.URL
	operator bool // set by the operator: exempt from the address guard
}
