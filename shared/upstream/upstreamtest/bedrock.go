package upstreamtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bedrock is a running fake of Amazon Bedrock: its hosts bedrock-mantle,
// bedrock-runtime and the control plane, the Claude Platform on AWS, and the
// token service. All methods are safe for concurrent use.
//
// A client reaches a host through [Bedrock.Transport] under its real name, or
// through [Bedrock.MantleURL] and its kin, which stand for the hosts of the
// first region. The signature and its scope are verified on each.
//
// Replies take the form of the path: Messages as SSE, chunk frames of
// InvokeModelWithResponseStream, frames of ConverseStream, or one JSON body. No
// form has pings unless [Behaviour.Ping] asks for them. Events that a script
// injects as SSE are put into chunk frames; what is a frame already goes out as
// it is. [Behaviour.ErrorAt] is an error event in Messages and an exception
// frame in the other streams. In ConverseStream [AfterStart] is after
// messageStart, past the last delta is before messageStop, and [BeforeStop] is
// before metadata, the last frame. What is not text, thinking or a tool use is
// left out of Converse.
type Bedrock struct {
	fake
	ops   opQueue
	state bedrockState
}

// bedrockState is what a test can change while the fake runs.
type bedrockState struct {
	mu          sync.Mutex
	now         func() time.Time
	models      []BedrockModel
	denied      []string
	credentials []BedrockCredentials
	keys        []string // API keys; nil: any
	roles       []BedrockRole
	refused     []string
}

// BedrockCredentials sign requests.
type BedrockCredentials struct {
	AccessKeyID, SecretAccessKey string
	SessionToken                 string    // empty: of a user, not temporary
	Expires                      time.Time // zero: never
}

// DefaultBedrockCredentials are the ones that [Bedrock] knows at the start: the
// example of AWS's documentation.
func DefaultBedrockCredentials() BedrockCredentials {
	return BedrockCredentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
}

// WithRegions sets the regions in which [Bedrock] has hosts; the first is the
// one of the URLs of the fake. The default is us-east-1, eu-west-1 and
// ap-northeast-1, also if none is given.
func WithRegions(regions ...string) Option {
	return func(o *options) {
		if len(regions) > 0 {
			o.regions = slices.Clone(regions)
		}
	}
}

// StartBedrock starts a fake that serves until Close. It fails only if it
// cannot listen. Of the options WithKey makes one Bedrock API key the only valid
// one, and WithPage limits ListInferenceProfiles.
func StartBedrock(opts ...Option) (*Bedrock, error) {
	k := &Bedrock{}
	opts = append([]Option{WithRegions("us-east-1", "eu-west-1", "ap-northeast-1")}, opts...)
	if err := k.start(k, nil, opts); err != nil {
		return nil, err
	}
	k.reset()
	return k, nil
}

// Reset forgets the requests received, the script, and all that the Set methods
// and their kin have changed: the fake is as if just started.
func (k *Bedrock) Reset() {
	k.fake.Reset()
	k.ops.reset()
	k.reset()
}

func (k *Bedrock) reset() {
	s := &k.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.models, s.denied, s.refused, s.roles = time.Now, bedrockModels(), nil, nil, nil
	s.credentials, s.keys = []BedrockCredentials{DefaultBedrockCredentials()}, nil
	if k.key != "" {
		s.keys = []string{k.key}
	}
}

// SetClock sets the service's idea of the time, which is in its Date headers and
// against which signatures and credentials are checked.
func (k *Bedrock) SetClock(now func() time.Time) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.now = now
}

// SetCredentials replaces the credentials that may sign.
func (k *Bedrock) SetCredentials(c ...BedrockCredentials) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.credentials = slices.Clone(c)
}

// SetAPIKeys replaces the valid API keys; without any, none is valid.
func (k *Bedrock) SetAPIKeys(keys ...string) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.keys = append([]string{}, keys...)
}

// Expire makes temporary credentials expired from now on.
func (k *Bedrock) Expire(accessKeyID string) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	for i := range k.state.credentials {
		if c := &k.state.credentials[i]; c.AccessKeyID == accessKeyID {
			c.Expires = k.state.now().Add(-time.Second)
		}
	}
}

// QueueOperation adds behaviours for the next valid requests of CountTokens,
// CountMessageTokens, ListModels, ListFoundationModels, ListInferenceProfiles
// or AssumeRole, one each. A [Reply] is the normal answer, with the behaviour's
// actions before the headers.
func (k *Bedrock) QueueOperation(operation string, b ...Behaviour) { k.ops.add(operation, b) }

// Refused returns why requests were refused by the checks, in order. For a
// signature it has the canonical request that the service computed.
func (k *Bedrock) Refused() []string {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	return slices.Clone(k.state.refused)
}

// MantleURL is the base of bedrock-mantle, to which /anthropic/v1/messages is
// appended.
func (k *Bedrock) MantleURL() string { return k.URL + "/mantle" }

// RuntimeURL is the base of bedrock-runtime, to which /model/{id}/invoke or
// /anthropic/v1/messages is appended.
func (k *Bedrock) RuntimeURL() string { return k.URL + "/runtime" }

// ControlURL is the base of the control plane.
func (k *Bedrock) ControlURL() string { return k.URL + "/control" }

// ExternalURL is the base of the Claude Platform on AWS, to which /v1/messages
// is appended.
func (k *Bedrock) ExternalURL() string { return k.URL + "/external" }

// STSURL is the address of the token service.
func (k *Bedrock) STSURL() string { return k.URL + "/sts" }

// Transport reaches the fake under the hosts' real names, such as
// https://bedrock-runtime.us-east-1.amazonaws.com. Names that the fake does not
// serve, or not in that region, do not resolve. Close its idle connections at
// the end, or the fake's Close does.
func (k *Bedrock) Transport() http.RoundTripper {
	addr := strings.TrimPrefix(k.URL, "http://")
	inner := &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
	return bedrockTransport{k, inner}
}

type bedrockTransport struct {
	k     *Bedrock
	inner *http.Transport
}

// RoundTrip sends the request in plain text with the host's name.
func (t bedrockTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	host, region := namedHost(r.URL.Host)
	if host == hostNone || !slices.Contains(t.k.regions, region) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}
	}
	out := r.Clone(r.Context())
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	out.URL.Scheme = "http"
	resp, err := t.inner.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("fake bedrock: %w", err)
	}
	return resp, nil
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t bedrockTransport) CloseIdleConnections() { t.inner.CloseIdleConnections() }

// BedrockCall is a request as [Bedrock] understands it.
type BedrockCall struct {
	Request
	// Service is the host's: bedrock-mantle, bedrock-runtime, bedrock,
	// aws-external-anthropic or sts.
	Service string
	// Region is the host's.
	Region string
	// Operation is Messages, CountMessageTokens, ListModels, InvokeModel,
	// InvokeModelWithResponseStream, Converse, ConverseStream, CountTokens,
	// ListFoundationModels, ListInferenceProfiles or AssumeRole; empty: none.
	Operation string
	// ModelID is the one of the path, unescaped, or of the body.
	ModelID string
	// AccessKeyID, SignedService and SignedRegion are of the signature.
	AccessKeyID, SignedService, SignedRegion string
	// APIKey is the bearer token or the x-api-key.
	APIKey string
}

// Calls returns everything received so far on any path, also what was refused,
// in order of arrival.
func (k *Bedrock) Calls() []BedrockCall {
	var out []BedrockCall
	for _, r := range k.Requests() {
		route := k.route(r)
		c := BedrockCall{Request: r, Service: route.host.name(), Region: route.region, Operation: route.name(), ModelID: route.model, APIKey: anthropicCredential(r.Header)}
		if c.ModelID == "" {
			c.ModelID = r.Model()
		}
		if a, problem := parseAuthorization(r.Header.Get("Authorization")); problem == "" {
			c.AccessKeyID, c.SignedService, c.SignedRegion = a.key, a.service, a.region
		}
		out = append(out, c)
	}
	return out
}
