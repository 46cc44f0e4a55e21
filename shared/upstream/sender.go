package upstream

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
)

// maxBases bounds the parsed addresses that are kept.
const maxBases = 10_000

// Sender makes HTTP requests of Requests, for the kinds whose nodes have a base URL. It is safe for concurrent use.
type Sender struct {
	transports *Transports
	fix        func(*url.URL)
	bases      sync.Map // base URL -> *url.URL, parsed once
	based      atomic.Int64
}

// NewSender makes a Sender. fix brings a node's base URL into the form to which paths are appended.
func NewSender(t *Transports, fix func(*url.URL)) *Sender { return &Sender{transports: t, fix: fix} }

// Send sends r to the node's base URL with the escaped path appended; a query of the base goes with every request. prepare
// completes the client's filtered headers and signs. It goes out as the node's origin demands, see Transports.
func (s *Sender) Send(ctx context.Context, t Target, r *Request, path string, prepare func(h http.Header, t Target, host string)) (*http.Response, error) {
	base, err := s.base(t.Node.BaseURL)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	u := *base
	u.Path, u.RawPath = joinPath(base.Path, path)
	u.RawQuery = joinQuery(base.RawQuery, r.Query)
	req := &http.Request{
		Method: r.Method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: FilterRequest(r.Header), Body: r.Body, ContentLength: r.Length, GetBody: r.Again,
	}
	prepare(req.Header, t, u.Hostname())
	rt := s.transports.Guarded
	if t.Node.Operator {
		rt = s.transports.Operator
	}
	return rt.RoundTrip(req.WithContext(ctx))
}

func (s *Sender) base(raw string) (*url.URL, error) {
	if v, ok := s.bases.Load(raw); ok {
		return v.(*url.URL), nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	u.Fragment = ""
	s.fix(u)
	u.RawPath = ""
	if s.based.Add(1) > maxBases {
		s.bases.Clear() // edits leave addresses behind
		s.based.Store(1)
	}
	s.bases.Store(raw, u)
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
