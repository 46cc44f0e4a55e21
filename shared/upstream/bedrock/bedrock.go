// Package bedrock sends requests to Amazon Bedrock: the native Messages API (on mantle, on the runtime, and on Claude Platform
// on AWS), InvokeModel, and Converse. It signs them (SigV4) or gives them an API key, and lists what an account is offered. Of
// the AWS SDK a Lambda function links the signer only; a server has the files and sources of its identity besides.
//
// It has more than 1,500 lines because signing, credentials, addresses, names and verdicts of one service know one another.
package bedrock

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	maxRefusal = 64 << 10         // of a refusal that may be about the signature
	maxBody    = 32 << 20         // of a body that can be read once only, and must be read to be signed
	callTime   = 20 * time.Second // of one call of the control plane or of STS, its retries included
)

// Options configures New.
type Options struct {
	Transports *upstream.Transports
	// Region is the machine's, for nodes which borrow its identity (Credential.Ambient) and name none, neither themselves nor by
	// their base URL; empty: they are refused. Other nodes never get it: where a tenant's requests go is the tenant's to say.
	Region string
	// ControlEndpoint and STSEndpoint are addresses that the operator set by environment, in place of AWS's own control plane
	// (ListFoundationModels) and token service of the region; exempt from the address guard; empty: AWS's own.
	ControlEndpoint, STSEndpoint string
	Now                          func() time.Time // nil: time.Now
}

// Client implements upstream.Client and upstream.Lister. It is safe for concurrent use.
type Client struct {
	o      Options
	known  identities
	offset atomic.Int64 // what AWS's clock is ahead of ours, in nanoseconds
}

var (
	_ upstream.Client = (*Client)(nil)
	_ upstream.Lister = (*Client)(nil)
)

// New makes a client.
func New(o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{o: o}
}

// now is the time as AWS has it.
func (c *Client) now() time.Time { return c.o.Now().Add(time.Duration(c.offset.Load())) }

// ModelID implements upstream.Namer, see the function.
func (c *Client) ModelID(n *core.Node, model string) string {
	if n.Region != "" || n.BaseURL != "" || c.o.Region == "" {
		return ModelID(n, model)
	}
	return ModelID(&core.Node{API: n.API, Region: c.o.Region}, model) // of those without either, others are refused
}

// Region is where a node's host is: as its base URL says, else the node, else this machine, of which nodes without either borrow
// the identity. Empty: not known.
func (c *Client) Region(n *core.Node) string {
	if a, ok := parseAddress(n.BaseURL); ok && a.region != "" {
		return a.region
	}
	return cmp.Or(n.Region, c.o.Region)
}

// resolve finds where a node's requests go.
func (c *Client) resolve(t upstream.Target) (address, error) {
	region := t.Node.Region
	if region == "" && c.o.Region != "" {
		if cred, err := ParseCredential(t.Credential); err == nil && cred.Ambient() {
			region = c.o.Region
		}
	}
	return resolve(t.Node, region)
}

// Send implements upstream.Client. Where the node's API is messages, r's path and query are appended to the base URL and the
// client's filtered headers pass; else the path is the operation's for r.Model, r.Stream and r.Path (one that ends in
// /count_tokens is CountTokens, whose body CountBody makes), and of the headers only Bedrock's own pass. A body is read twice,
// by r.Again, to be signed; without Again 32 MiB of it are held. A signature that is refused for the clock, or for temporary
// keys that expired, is made anew once where the body can be read again.
func (c *Client) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	m, err := c.message(ctx, t, r)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	resp, err := c.exchange(ctx, m)
	if err != nil {
		return nil, err
	}
	tellTier(ctx, m.header, resp.Header)
	if id := resp.Header["X-Amzn-Requestid"]; len(id) > 0 && upstream.RequestID(resp.Header) == "" {
		resp.Header["X-Request-Id"] = id[:1] // where the shared rule looks for it
	}
	return resp, nil
}

// message makes what to send.
func (c *Client) message(ctx context.Context, t upstream.Target, r *upstream.Request) (*message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	to, err := c.resolve(t)
	if err != nil {
		return nil, err
	}
	m := &message{to: to, method: r.Method, body: r.Body, length: r.Length, again: r.Again}
	if m.who, err = c.known.of(c, t.Credential, to.region); err != nil {
		return nil, err
	}
	if isMessages(t.Node) {
		if !strings.HasPrefix(r.Path, "/") {
			return nil, misconfigured("the request has no path")
		}
		m.query, m.header = r.Query, nativeHeader(r.Header, m.who.credential.WorkspaceID)
		m.to.url.Path, m.to.url.RawPath = joinPath(to.url.Path, r.Path)
		return m, nil
	}
	m.method, m.header = http.MethodPost, ownHeader(r.Header, r.Stream)
	path, err := operation(t.Node.API, r)
	if err != nil {
		return nil, err
	}
	m.to.url.Path, m.to.url.RawPath = joinPath(to.url.Path, path)
	return m, nil
}

// operation is the escaped path of what r asks for.
func operation(api string, r *upstream.Request) (string, error) {
	model, name := r.Model, ""
	switch counts := isCount(r.Path); {
	case counts:
		model, name = BareID(r.Model), "count-tokens"
	case api == APIConverse && r.Stream:
		name = "converse-stream"
	case api == APIConverse:
		name = "converse"
	case r.Stream:
		name = "invoke-with-response-stream"
	default:
		name = "invoke"
	}
	if !validModel(model) {
		return "", &upstream.Error{Failure: upstream.Failure{Class: upstream.NotOffered,
			Reason: "the model's name is no id that Bedrock can have; map it to one by the node's model_map"}}
	}
	return "/model/" + escapeSegment(model) + "/" + name, nil
}

func isCount(path string) bool { return strings.HasSuffix(path, "/count_tokens") }

// escapeSegment escapes all but what RFC 3986 leaves unreserved: the services want ":" and "/" of an id escaped, which
// url.PathEscape does with the second only.
func escapeSegment(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; made(s[i:i+1], "-_.~", 1, 1) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// joinPath appends an escaped path, so that an escaped slash in an id stays one segment.
func joinPath(base, path string) (decoded, raw string) {
	p, err := url.PathUnescape(path)
	if err != nil || p == path {
		return base + path, ""
	}
	return base + p, base + path
}

var (
	anthropicVersion = []string{"2023-06-01"}
	typeJSON         = []string{"application/json"}
	typeFrames       = []string{"application/vnd.amazon.eventstream"}
	identityOnly     = []string{"identity"}
	noAgent          = []string{""} // keeps net/http from naming itself
)

// nativeHeader is the client's header for the Messages API. What a client signed for itself is void here, and what is signed
// anew must read the same to all, lest a client's odd header be taken for a wrong secret of the node's; the workspace of the
// node's credential is not the client's to choose.
func nativeHeader(in http.Header, workspace string) http.Header {
	h := upstream.FilterRequest(in)
	for k, v := range h {
		if strings.HasPrefix(k, "X-Amz-") || strings.HasPrefix(k, "Amz-Sdk-") ||
			(k == "Content-Type" || strings.HasPrefix(k, "X-Amz")) && !PlainHeader(v) {
			delete(h, k)
		}
	}
	if h["Anthropic-Version"] == nil {
		h["Anthropic-Version"] = anthropicVersion
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = typeJSON
	}
	if workspace != "" {
		h["Anthropic-Workspace-Id"] = []string{workspace}
	}
	return h
}

// PlainHeader reports whether a header has one value, of printable ASCII without more than one space in a row. A signature
// could cover no other, so Send leaves others out.
func PlainHeader(v []string) bool {
	return len(v) == 1 && headerSafe(strings.ReplaceAll(v[0], " ", "")) && strings.TrimSpace(v[0]) == v[0] && !strings.Contains(v[0], "  ")
}

// ownHeader is the header for Bedrock's own operations: of the client's, what names a guardrail, a latency or a service tier
// (aws-sdk-go-v2 service/bedrockruntime: X-Amzn-Bedrock-GuardrailIdentifier, -GuardrailVersion, -Trace,
// -PerformanceConfig-Latency, -Service-Tier).
func ownHeader(in http.Header, stream bool) http.Header {
	h := http.Header{"Content-Type": typeJSON, "Accept": typeJSON, "Accept-Encoding": identityOnly, "User-Agent": noAgent}
	if stream {
		h["Accept"], h["X-Amzn-Bedrock-Accept"] = typeFrames, typeJSON
	}
	for k, v := range in {
		if strings.HasPrefix(k, "X-Amzn-Bedrock-") && k != "X-Amzn-Bedrock-Accept" && PlainHeader(v) {
			h[k] = v
		}
	}
	return h
}
