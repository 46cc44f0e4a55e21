package bedrock

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sluice/shared/upstream"
)

const (
	maxAnswer = 4 << 20 // of one page
	maxPages  = 20
	maxListed = 2000
	perPage   = "1000"
)

// Models implements upstream.Lister with the ids that the node's requests may name: those of the region's text models that are
// invoked by themselves, and AWS's inference profiles for the others; on mantle and Claude Platform on AWS what GET /v1/models
// lists. 2,000 at most.
func (c *Client) Models(ctx context.Context, t upstream.Target) ([]upstream.Model, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	to, err := c.resolve(t)
	if err != nil {
		return nil, err
	}
	who, err := c.known.of(c, t.Credential, to.region)
	if err != nil {
		return nil, err
	}
	if isMessages(t.Node) && to.host != hostRuntime {
		to.url.Path = strings.TrimSuffix(to.url.Path, "/anthropic") // which mantle has for messages only
		return c.native(ctx, who, to)
	}
	if to, err = c.o.control(to); err != nil {
		return nil, err
	}
	return c.catalogue(ctx, who, to)
}

// control is the control plane for a node whose requests go to to. A host that is none of AWS's stands for all of them: an API
// key for it must not be shown to another.
func (o Options) control(to address) (address, error) {
	switch {
	case o.ControlEndpoint != "":
		return o.endpoint(o.ControlEndpoint, "Bedrock's control plane", hostControl, to.region)
	case to.host == "":
		to.url.Path = strings.TrimSuffix(to.url.Path, "/anthropic")
		to.service = hostControl
		return to, nil
	case to.region == "" || !upstream.ValidRegion(to.region):
		return address{}, misconfigured("the node has no region; enter one, such as us-east-1")
	}
	return own(hostControl, to.region, ""), nil
}

// ask makes a GET request and decodes its answer. Errors of the service are *upstream.Error.
func (c *Client) ask(ctx context.Context, who *person, to address, path string, query url.Values, out any) error {
	to.url.Path += path
	m := &message{to: to, who: who, method: http.MethodGet, query: query.Encode(), header: http.Header{"Accept": typeJSON, "Accept-Encoding": identityOnly,
		"User-Agent": noAgent}}
	if to.host == hostPlatform || to.host == "" && to.service != hostControl {
		m.header["Anthropic-Version"] = anthropicVersion
		if w := who.credential.WorkspaceID; w != "" {
			m.header["Anthropic-Workspace-Id"] = []string{w}
		}
	}
	resp, err := c.exchange(ctx, m)
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
		return &upstream.Error{Failure: upstream.Failure{Class: upstream.Server, Status: http.StatusOK, Reason: "unusable list of models"}}
	}
	return nil
}

// native lists models as OpenAI's and Anthropic's APIs do, which differ in names only.
func (c *Client) native(ctx context.Context, who *person, to address) ([]upstream.Model, error) {
	var list []upstream.Model
	query := url.Values{}
	if to.host != hostMantle {
		query.Set("limit", perPage)
	}
	for range maxPages {
		var out struct {
			Data []struct {
				ID      string `json:"id"`
				Name    string `json:"display_name"`
				OwnedBy string `json:"owned_by"`
			} `json:"data"`
			HasMore bool   `json:"has_more"`
			LastID  string `json:"last_id"`
		}
		if err := c.ask(ctx, who, to, "/v1/models", query, &out); err != nil {
			return nil, err
		}
		for _, m := range out.Data {
			if validModel(m.ID) && len(list) < maxListed {
				list = append(list, upstream.Model{ID: m.ID, Name: named(m.Name), Owner: either(owner(m.ID), named(m.OwnedBy))})
			}
		}
		if !out.HasMore || out.LastID == "" || !plain(out.LastID) || out.LastID == query.Get("after_id") || len(list) >= maxListed {
			break
		}
		query.Set("after_id", out.LastID)
	}
	return list, nil
}

// summary is what the control plane tells of a model: aws-sdk-go-v2 service/bedrock/types, FoundationModelSummary.
type summary struct {
	ModelID   string   `json:"modelId"`
	ModelName string   `json:"modelName"`
	Provider  string   `json:"providerName"`
	Outputs   []string `json:"outputModalities"`
	Inference []string `json:"inferenceTypesSupported"`
}

// catalogue lists by ListFoundationModels and ListInferenceProfiles.
func (c *Client) catalogue(ctx context.Context, who *person, to address) ([]upstream.Model, error) {
	var models struct {
		Summaries []summary `json:"modelSummaries"`
	}
	if err := c.ask(ctx, who, to, "/foundation-models", url.Values{}, &models); err != nil {
		return nil, err
	}
	var list []upstream.Model
	text := make(map[string]bool, len(models.Summaries)) // of each model: it writes text
	for _, m := range models.Summaries {
		text[m.ModelID] = has(m.Outputs, "TEXT")
		if text[m.ModelID] && has(m.Inference, "ON_DEMAND") && validModel(m.ModelID) && len(list) < maxListed {
			list = append(list, upstream.Model{ID: m.ModelID, Name: named(m.ModelName), Owner: owner(m.ModelID)})
		}
	}
	query := url.Values{"type": {"SYSTEM_DEFINED"}, "maxResults": {perPage}}
	for range maxPages {
		var page profilePage
		if err := c.ask(ctx, who, to, "/inference-profiles", query, &page); err != nil {
			return nil, err
		}
		for _, p := range page.Summaries {
			writes, known := text[BareID(p.ID)]
			if validModel(p.ID) && (p.Status == "" || p.Status == "ACTIVE") && (writes || !known) && len(list) < maxListed {
				list = append(list, upstream.Model{ID: p.ID, Name: named(p.Name), Owner: owner(p.ID)})
			}
		}
		if page.Next == "" || page.Next == query.Get("nextToken") || len(list) >= maxListed {
			break
		}
		query.Set("nextToken", page.Next)
	}
	return list, nil
}

// profilePage is a page of ListInferenceProfiles.
type profilePage struct {
	Summaries []struct {
		ID     string `json:"inferenceProfileId"`
		Name   string `json:"inferenceProfileName"`
		Status string `json:"status"`
	} `json:"inferenceProfileSummaries"`
	Next string `json:"nextToken"`
}

func has(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}

// named is s if it may be shown, else nothing.
func named(s string) string {
	if plain(s) {
		return s
	}
	return ""
}

// owner is a model's maker as its id tells it.
func owner(id string) string {
	if isAnthropic(id) {
		return "anthropic"
	}
	maker, _, ok := strings.Cut(BareID(id), ".")
	if !ok || !made(maker, "", 1, 32) {
		return ""
	}
	return maker
}
