package bedrock

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"sluice/shared/upstream"
)

// skewed is how far the clocks may differ before a signature is refused for it: the services allow 5 minutes.
const skewed = 4 * time.Minute

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// message is a request with all that its signature needs. Its header is not written to.
type message struct {
	to     address
	who    *person
	method string
	query  string // raw
	header http.Header
	body   io.ReadCloser // nil: none
	length int64
	again  func() (io.ReadCloser, error)
	hash   string // of the body, in hex
}

// exchange sends m, a second time when a new signature may be taken. It closes m's body, also on errors.
func (c *Client) exchange(ctx context.Context, m *message) (*http.Response, error) {
	if key := m.who.credential.APIKey; key != "" {
		return c.roundTrip(ctx, m, m.body, m.keyed(key), m.query)
	}
	resp, creds, at, err := c.first(ctx, m)
	if err != nil || resp.StatusCode < 400 || resp.StatusCode > 403 {
		return resp, err
	}
	f := parseFault(resp.Header, holdBody(resp))
	if !f.credential(resp.StatusCode) || m.body != nil && m.again == nil {
		return resp, nil
	}
	switch skew, off := c.skew(resp.Header, at); {
	case off:
		if m.to.trusted {
			c.offset.Store(int64(skew))
		}
		at = c.o.Now().Add(skew)
	case m.who.source.drop(creds):
		fresh, err := m.who.source.get(ctx)
		if err != nil {
			return nil, err
		}
		if sameKeys(fresh, creds) {
			return resp, nil
		}
		creds, at = fresh, c.now()
	default:
		return resp, nil
	}
	var body io.ReadCloser
	if m.body != nil {
		if body, err = m.again(); err != nil {
			return nil, err
		}
	}
	return c.signed(ctx, m, body, creds, at)
}

// first makes the first attempt. It tells what was signed with, and for which time.
func (c *Client) first(ctx context.Context, m *message) (*http.Response, aws.Credentials, time.Time, error) {
	at := c.now()
	fail := func(err error) (*http.Response, aws.Credentials, time.Time, error) {
		if m.body != nil {
			_ = m.body.Close()
		}
		return nil, aws.Credentials{}, at, err
	}
	if m.to.region == "" {
		return fail(misconfigured("the node has no region, which signatures need; enter one, such as us-east-1"))
	}
	creds, err := m.who.source.get(ctx)
	if err != nil {
		return fail(err)
	}
	if err := m.hashBody(); err != nil {
		return fail(err)
	}
	at = c.now()
	resp, err := c.signed(ctx, m, m.body, creds, at)
	return resp, creds, at, err
}

// hashBody hashes the body, from a second reader or from what it holds of the only one.
func (m *message) hashBody() error {
	if m.body == nil {
		m.hash, m.length = emptyHash, 0
		return nil
	}
	sum := sha256.New()
	if m.again != nil {
		second, err := m.again()
		if err != nil {
			return err
		}
		n, err := io.Copy(sum, second)
		_ = second.Close()
		if err != nil {
			return err
		}
		m.length = n
	} else {
		b, err := io.ReadAll(io.LimitReader(m.body, maxBody+1))
		_ = m.body.Close()
		if err != nil {
			return err
		}
		if len(b) > maxBody {
			return &upstream.Error{Failure: upstream.Failure{Class: upstream.ClientFault, Reason: "the request is too large to be signed: over 32 MiB"}}
		}
		sum.Write(b)
		m.length, m.again = int64(len(b)), replay(b)
		m.body, _ = m.again()
	}
	m.hash = hex.EncodeToString(sum.Sum(nil))
	return nil
}

func replay(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// signed makes one attempt. Only what must be is signed (the host, the type and length of the body, what begins with x-amz):
// headers of clients may come out of a proxy on the way in another form.
func (c *Client) signed(ctx context.Context, m *message, body io.ReadCloser, creds aws.Credentials, at time.Time) (*http.Response, error) {
	u := m.to.url
	u.RawQuery = m.query
	r := &http.Request{Method: m.method, URL: &u, Host: u.Host, Header: make(http.Header, 8), ContentLength: m.length}
	for k, v := range m.header {
		if k == "Content-Type" || strings.HasPrefix(k, "X-Amz") {
			r.Header[k] = v
		}
	}
	if err := m.who.signer.SignHTTP(ctx, creds, r, m.hash, m.to.service, m.to.region, at); err != nil {
		if body != nil {
			_ = body.Close()
		}
		return nil, err
	}
	h := make(http.Header, len(m.header)+3)
	for k, v := range m.header {
		h[k] = v
	}
	for _, k := range [...]string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		if v := r.Header[k]; v != nil {
			h[k] = v
		}
	}
	return c.roundTrip(ctx, m, body, h, u.RawQuery) // the query as the signer sorted it
}

// keyed is the header with an API key where the host wants it: Anthropic's APIs on mantle and Claude Platform on AWS in
// x-api-key, as anthropic-sdk-go bedrock/bedrockmantle.go and aws/aws.go send it; the runtime, the control plane and mantle's
// other APIs as a bearer token; and relays differ, so that they get both.
func (m *message) keyed(key string) http.Header {
	h := make(http.Header, len(m.header)+2)
	for k, v := range m.header {
		h[k] = v
	}
	native := m.to.host == hostPlatform || m.to.host == hostMantle && strings.HasPrefix(m.to.url.Path, "/anthropic/")
	if native || m.to.host == "" {
		h["X-Api-Key"] = []string{key}
	}
	if !native {
		h["Authorization"] = []string{"Bearer " + key}
	}
	return h
}

func (c *Client) roundTrip(ctx context.Context, m *message, body io.ReadCloser, h http.Header, query string) (*http.Response, error) {
	u := m.to.url
	u.RawQuery = query
	req := &http.Request{
		Method: m.method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: body, ContentLength: m.length, GetBody: m.again,
	}
	if body != nil && m.hash == emptyHash {
		_ = body.Close()
		body = nil
	}
	if body == nil {
		req.Body, req.ContentLength, req.GetBody = nil, 0, nil
	}
	rt := c.o.Transports.Guarded
	if m.to.trusted {
		rt = c.o.Transports.Operator
	}
	return rt.RoundTrip(req.WithContext(ctx))
}

// skew is what the service's clock is ahead of ours, and whether that explains a signature made for at being refused.
func (c *Client) skew(h http.Header, at time.Time) (time.Duration, bool) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Sub(at).Abs() < skewed {
		return 0, false
	}
	return date.Sub(c.o.Now()), true
}

func sameKeys(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// holdBody reads a refusal, so that it can be judged here and once more by the caller.
func holdBody(resp *http.Response) []byte {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what came is what there is to judge
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength, resp.TransferEncoding = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
	resp.Header["Content-Length"] = []string{strconv.Itoa(len(b))}
	return b
}
