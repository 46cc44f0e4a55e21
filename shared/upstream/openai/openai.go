// Package openai sends requests to upstreams that speak the OpenAI API: OpenAI itself, Azure OpenAI (v1 API) and
// compatible services. Chat Completions and Responses differ in path and body alone, so it knows neither.
package openai

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"sluice/shared/upstream"
)

// DefaultBaseURL is OpenAI's own.
const DefaultBaseURL = "https://api.openai.com/v1"

// Client implements upstream.Client. It is safe for concurrent use.
type Client struct {
	transports *upstream.Transports
	bases      sync.Map // base URL -> *url.URL, parsed once
	based      atomic.Int64
}

// New makes a client over the transports.
func New(t *upstream.Transports) *Client { return &Client{transports: t} }

// maxBases bounds the parsed addresses that are kept.
const maxBases = 10_000

// Send implements upstream.Client. The node's base URL reaches up to and including the version, as the SDKs of this API
// have it: /v1/models goes to BaseURL + /models. One without a path gets /v1, any other path is taken as it is. A query of
// the base URL (Azure's api-version) goes with every request.
func (c *Client) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	base, err := c.base(t.Node.BaseURL)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	u := *base
	u.Path, u.RawPath = joinPath(base.Path, strings.TrimPrefix(r.Path, "/v1"))
	u.RawQuery = joinQuery(base.RawQuery, r.Query)
	req := &http.Request{
		Method: r.Method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: filter(r.Header), Body: r.Body, ContentLength: r.Length, GetBody: r.Again,
	}
	sign(req.Header, t)
	rt := c.transports.Guarded
	if t.Node.Operator {
		rt = c.transports.Operator
	}
	return rt.RoundTrip(req.WithContext(ctx))
}

// filter takes out of the shared rule's headers what is meant for another kind of upstream or for the client's own
// account: an organization or project that the node's key does not belong to is refused with 401.
func filter(in http.Header) http.Header {
	out := upstream.FilterRequest(in)
	for k := range out {
		if strings.HasPrefix(k, "Anthropic-") || strings.HasPrefix(k, "X-Claude-Code-") || k == "Openai-Organization" || k == "Openai-Project" {
			delete(out, k)
		}
	}
	return out
}

// sign sets the node's credential in the header the node names, bare, else as a bearer token. A node without a
// credential (a model server on the own network) gets none.
func sign(h http.Header, t upstream.Target) {
	key := t.Credential.Reveal()
	if key == "" {
		return
	}
	if name := t.Node.AuthHeader; name != "" {
		h[textproto.CanonicalMIMEHeaderKey(name)] = []string{key}
		return
	}
	h["Authorization"] = []string{"Bearer " + key}
}

func (c *Client) base(raw string) (*url.URL, error) {
	if v, ok := c.bases.Load(raw); ok {
		return v.(*url.URL), nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if u.Path = strings.TrimRight(u.Path, "/"); u.Path == "" {
		u.Path = "/v1"
	}
	u.RawPath, u.Fragment = "", ""
	if c.based.Add(1) > maxBases {
		c.bases.Clear() // edits leave addresses behind
		c.based.Store(1)
	}
	c.bases.Store(raw, u)
	return u, nil
}

// joinPath appends an escaped path, so that an escaped slash in an id stays one segment.
func joinPath(base, path string) (decoded, raw string) {
	p, err := url.PathUnescape(path)
	if err != nil || p == path {
		return base + path, ""
	}
	return base + p, base + path
}

func joinQuery(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "&" + b
}
