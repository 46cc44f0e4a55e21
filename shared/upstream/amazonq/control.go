package amazonq

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	maxAnswer   = 1 << 20 // of one page of the control plane
	maxPages    = 20
	maxListed   = 1000
	maxName     = 256
	perPage     = 50
	profilePage = 10 // the most that the service takes
)

// Profile is one that an account may work under.
type Profile struct {
	ARN  string `json:"arn"`
	Name string `json:"name,omitempty"`
}

// control calls an operation of the control plane. Errors of the service are *upstream.Error.
func (c *Client) control(ctx context.Context, t upstream.Target, name string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	first, _ := again()
	service := "AmazonCodeWhispererService."
	if t.Node.API == apiKiro {
		service = "KiroControlPlaneBearerService."
	}
	resp, err := c.post(ctx, t, operation{target: service + name, control: true}, &upstream.Request{Body: first, Length: int64(len(body)), Again: again})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		return &upstream.Error{Failure: c.Classify(resp.StatusCode, resp.Header, b)}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(b) > maxAnswer || json.Unmarshal(b, out) != nil {
		return &upstream.Error{Failure: upstream.Failure{Class: upstream.Server, Status: http.StatusOK, Reason: "unusable answer to " + name}}
	}
	return nil
}

// origin is the kind of client that the control plane demands to be told: the plain command-line use of the account.
func origin(n *core.Node) string {
	if n.API == apiKiro {
		return "KIRO_CLI"
	}
	return "CLI"
}

// profileOf is the node's profile if it is an ARN.
func profileOf(n *core.Node) string {
	if isARN(n.Profile) {
		return n.Profile
	}
	return ""
}

type listInput struct {
	Origin     string `json:"origin,omitempty"`
	MaxResults int    `json:"maxResults,omitempty"`
	NextToken  string `json:"nextToken,omitempty"`
	Profile    string `json:"profileArn,omitempty"`
}

// Models implements upstream.Lister with what the account is entitled to, 1,000 models at most.
func (c *Client) Models(ctx context.Context, t upstream.Target) ([]upstream.Model, error) {
	var list []upstream.Model
	in := listInput{Origin: origin(t.Node), MaxResults: perPage, Profile: profileOf(t.Node)}
	err := pages(func(next string) (string, bool, error) {
		var out struct {
			Models []struct {
				ModelID   string `json:"modelId"`
				ModelName string `json:"modelName"`
			} `json:"models"`
			NextToken string `json:"nextToken"`
		}
		in.NextToken = next
		if err := c.control(ctx, t, "ListAvailableModels", in, &out); err != nil {
			return "", false, err
		}
		for _, m := range out.Models {
			if plain(m.ModelID) && m.ModelID != "" {
				list = append(list, upstream.Model{ID: m.ModelID, Name: named(m.ModelName), Owner: owner(m.ModelID)})
			}
		}
		full := len(list) >= maxListed
		list = list[:min(len(list), maxListed)]
		return out.NextToken, full, nil
	})
	return list, err
}

// Profiles lists the profiles of the account in the node's region, 1,000 at most. Another region has others.
func (c *Client) Profiles(ctx context.Context, t upstream.Target) ([]Profile, error) {
	var list []Profile
	err := pages(func(next string) (string, bool, error) {
		var out struct {
			Profiles []struct {
				ARN  string `json:"arn"`
				Name string `json:"profileName"`
			} `json:"profiles"`
			NextToken string `json:"nextToken"`
		}
		if err := c.control(ctx, t, "ListAvailableProfiles", listInput{MaxResults: profilePage, NextToken: next}, &out); err != nil {
			return "", false, err
		}
		for _, p := range out.Profiles {
			if isARN(p.ARN) && headerSafe(p.ARN) {
				list = append(list, Profile{ARN: p.ARN, Name: named(p.Name)})
			}
		}
		full := len(list) >= maxListed
		list = list[:min(len(list), maxListed)]
		return out.NextToken, full, nil
	})
	return list, err
}

// pages follows next tokens until there is none, enough came, or the service turns in a circle.
func pages(page func(next string) (string, bool, error)) error {
	next := ""
	for range maxPages {
		got, full, err := page(next)
		if err != nil || full || got == "" || got == next {
			return err
		}
		next = got
	}
	return nil
}

// plain reports whether a name from the service may be shown and sent on.
func plain(s string) bool {
	return len(s) <= maxName && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) < 0
}

// named is s if it is plain, else nothing.
func named(s string) string {
	if plain(s) {
		return s
	}
	return ""
}

// owner names who made a model as far as its name says it.
func owner(id string) string {
	if strings.HasPrefix(id, "claude") {
		return "anthropic"
	}
	return "amazon"
}
