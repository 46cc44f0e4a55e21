// Package openai sends requests to upstreams that speak the OpenAI API: OpenAI itself, Azure OpenAI (v1 API) and
// compatible services. Chat Completions and Responses differ in path and body alone, so it knows neither.
package openai

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"sluice/shared/upstream"
)

// DefaultBaseURL is OpenAI's own.
const DefaultBaseURL = "https://api.openai.com/v1"

// Client implements upstream.Client. It is safe for concurrent use.
type Client struct{ sender *upstream.Sender }

// New makes a client over the transports.
func New(t *upstream.Transports) *Client { return &Client{upstream.NewSender(t, fix)} }

// fix gives an address without a path the version; any other path is taken as it is.
func fix(u *url.URL) {
	if u.Path = strings.TrimRight(u.Path, "/"); u.Path == "" {
		u.Path = "/v1"
	}
}

// Send implements upstream.Client. The node's base URL reaches up to and including the version, as the SDKs of this API
// have it: /v1/models goes to BaseURL + /models. A query of the base URL (Azure's api-version) goes with every request.
func (c *Client) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	return c.sender.Send(ctx, t, r, strings.TrimPrefix(r.Path, "/v1"), prepare)
}

// prepare takes out of the shared rule's headers what is meant for another kind of upstream or for the client's own
// account (an organization or project that the node's key does not belong to is refused with 401), and signs.
func prepare(h http.Header, t upstream.Target, _ string) {
	for k := range h {
		if strings.HasPrefix(k, "Anthropic-") || strings.HasPrefix(k, "X-Claude-Code-") || k == "Openai-Organization" || k == "Openai-Project" {
			delete(h, k)
		}
	}
	sign(h, t)
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
