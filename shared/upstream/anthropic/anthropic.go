// Package anthropic sends requests to upstreams that speak the Anthropic API: Anthropic itself and compatible relays.
package anthropic

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"sluice/shared/upstream"
)

// DefaultBaseURL is Anthropic's own.
const DefaultBaseURL = "https://api.anthropic.com"

var defaultVersion = []string{"2023-06-01"}

// Client implements upstream.Client.
type Client struct{ sender *upstream.Sender }

// New makes a client over the transports.
func New(t *upstream.Transports) *Client { return &Client{upstream.NewSender(t, fix)} }

// fix removes the version: people paste addresses with and without it, and the path has it.
func fix(u *url.URL) {
	u.Path = strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1"), "/")
	u.RawQuery = ""
}

// Send implements upstream.Client.
func (c *Client) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	return c.sender.Send(ctx, t, r, r.Path, prepare)
}

// prepare adds the version that the API demands: curl users and Guide A send none. What a client does send is never touched.
func prepare(h http.Header, t upstream.Target, host string) {
	if h["Anthropic-Version"] == nil {
		h["Anthropic-Version"] = defaultVersion
	}
	sign(h, t, host)
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
