// Package anthropic sends requests to upstreams that speak the Anthropic API: Anthropic itself and compatible relays.
package anthropic

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"sluice/shared/upstream"
)

// DefaultBaseURL is Anthropic's own.
const DefaultBaseURL = "https://api.anthropic.com"

var defaultVersion = []string{"2023-06-01"}

// Client implements upstream.Client.
type Client struct {
	transports *upstream.Transports
	bases      sync.Map // base URL -> *url.URL, parsed once
	based      atomic.Int64
}

// New makes a client over the transports.
func New(t *upstream.Transports) *Client { return &Client{transports: t} }

// maxBases bounds the parsed addresses that are kept.
const maxBases = 10_000

// Send implements upstream.Client.
func (c *Client) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	base, err := c.base(t.Node.BaseURL)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	u := *base
	u.Path, u.RawPath = joinPath(base.Path, r.Path)
	u.RawQuery = r.Query
	req := &http.Request{
		Method: r.Method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: upstream.FilterRequest(r.Header), Body: r.Body, ContentLength: r.Length, GetBody: r.Again,
	}
	if req.Header["Anthropic-Version"] == nil {
		// the API demands one; curl users and Guide A send none. What a client does send is never touched
		req.Header["Anthropic-Version"] = defaultVersion
	}
	sign(req.Header, t, u.Hostname())
	rt := c.transports.Guarded
	if t.Node.Operator {
		rt = c.transports.Operator
	}
	return rt.RoundTrip(req.WithContext(ctx))
}

// sign sets the node's credential. Relays differ in the header they read, so they get both; Anthropic itself refuses a
// key sent as a bearer token and an OAuth token sent as a key, so it gets the one that fits.
func sign(h http.Header, t upstream.Target, host string) {
	key := t.Credential.Reveal()
	if key == "" {
		return
	}
	oauth := strings.HasPrefix(key, "sk-ant-oat")
	own := host == "anthropic.com" || strings.HasSuffix(host, ".anthropic.com")
	if !own || !oauth {
		h["X-Api-Key"] = []string{key}
	}
	if !own || oauth {
		h["Authorization"] = []string{"Bearer " + key}
	}
}

// Classify implements upstream.Client: Anthropic's statuses mean what they say.
func (c *Client) Classify(status int, h http.Header, _ []byte) upstream.Failure {
	return upstream.ClassifyStatus(status, h)
}

func (c *Client) base(raw string) (*url.URL, error) {
	if v, ok := c.bases.Load(raw); ok {
		return v.(*url.URL), nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	// people paste addresses with and without the version; the path has it
	u.Path = strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1"), "/")
	u.RawPath, u.RawQuery, u.Fragment = "", "", ""
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
