package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

// method is how a node is asked on this host.
func (c *Checker) method(n *core.Node) string {
	switch {
	case c.o.Own[n.Kind] != nil, n.Kind == core.KindBedrock: // Bedrock's hosts know no GET to tell that they are up
	case n.HealthMethod == core.CheckHead:
		return core.CheckHead
	case n.HealthMethod == core.CheckCLI && n.Kind == core.KindAnthropic && c.o.CLI != nil:
		return core.CheckCLI
	}
	return core.CheckAPI
}

// ask asks a node by its method, within limit. What this host cannot do, such as run the Claude CLI, is done by a message.
func (c *Checker) ask(ctx context.Context, n *core.Node, limit time.Duration) (a answer) {
	a.method = c.method(n)
	t, err := c.o.Target(n)
	if err != nil {
		c.o.Log.Error("credential of a node cannot be opened", "account", n.Account, "node", n.Name, "node_id", n.ID, "error", err)
		a.f = upstream.Failure{Class: upstream.ClientFault, Reason: "its credential cannot be opened; enter it again"}
		return a
	}
	if a.method == core.CheckCLI {
		done, f, took := c.askCLI(ctx, t)
		if done {
			a.f, a.took = f, took
			return a
		}
		a.method = core.CheckAPI
	}
	if n.HealthMethod == core.CheckCLI && n.Kind != core.KindBedrock && !c.told.Swap(true) {
		c.o.Log.Warn("health checks by the Claude CLI need it on PATH of a server of your own, an anthropic node and its key; what is missing is done by a message instead", "node_id", n.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	client, own := c.o.Clients[n.Kind], c.o.Own[n.Kind]
	switch {
	case own != nil: // its quota costs nothing, and needs a token and the service
		if err := own(ctx, t); err != nil {
			a.f = upstream.ClassifyError(err)
		}
	case client == nil:
		a.f = upstream.Failure{Class: upstream.ClientFault, Reason: "nodes of its kind cannot be asked here"}
	case a.method == core.CheckHead:
		a.f = reach(ctx, client, t)
	case n.Kind == core.KindBedrock:
		a.f, a.model = c.askBedrock(ctx, client, t, c.cheapest(n))
	default:
		a.model = c.cheapest(n)
		a.f = message(ctx, client, t, a.model)
	}
	a.took = time.Since(began)
	return a
}

// reach is the method head: any answer below 500 will do. The API's root is never asked: Anthropic's answers 404, and a
// relay's may be a web page that is up while the API is down.
func reach(ctx context.Context, c upstream.Client, t upstream.Target) upstream.Failure {
	resp, err := c.Send(ctx, t, &upstream.Request{Method: http.MethodHead, Path: "/v1/models", Header: http.Header{}})
	if err != nil {
		return upstream.ClassifyError(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 500 {
		return c.Classify(resp.StatusCode, resp.Header, nil)
	}
	return upstream.Failure{}
}

// message is the method api: one token of a model, else the list of the node's models.
func message(ctx context.Context, c upstream.Client, t upstream.Target, model string) upstream.Failure {
	if model == "" {
		return send(ctx, c, t, "/v1/models", nil)
	}
	path, questions := questionsFor(t.Node, model)
	var f upstream.Failure
	for _, q := range questions {
		body, err := json.Marshal(q)
		if err != nil {
			return upstream.Failure{Class: upstream.ClientFault, Reason: "the question cannot be written"}
		}
		if f = send(ctx, c, t, path, body); f.Class != upstream.ClientFault || f.Status != http.StatusBadRequest {
			break
		}
	}
	return f
}

// send asks once; without a body by GET.
func send(ctx context.Context, c upstream.Client, t upstream.Target, path string, body []byte) upstream.Failure {
	r := &upstream.Request{Method: http.MethodGet, Path: path}
	if body != nil {
		r.Method = http.MethodPost
	}
	return exchange(ctx, c, t, r, body)
}

// exchange sends a request with a body, or with none, and judges the answer.
func exchange(ctx context.Context, c upstream.Client, t upstream.Target, r *upstream.Request, body []byte) upstream.Failure {
	r.Header = http.Header{}
	if body != nil {
		r.Length = int64(len(body))
		r.Header.Set("Content-Type", "application/json")
		r.Again = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.Again()
	}
	resp, err := c.Send(ctx, t, r)
	if err != nil {
		return upstream.ClassifyError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxCheckBody))
	if err != nil {
		return upstream.ClassifyError(err)
	}
	return c.Classify(resp.StatusCode, resp.Header, text)
}

type said struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// question is one of Messages or Chat Completions.
type question struct {
	Model     string `json:"model"`
	MaxTokens int    `json:"max_tokens,omitempty"`
	MaxNew    int    `json:"max_completion_tokens,omitempty"`
	Messages  []said `json:"messages"`
}

// questionsFor are what costs least to answer in the node's API, and its path. The next one is for who calls the one before a
// bad request: OpenAI's newer models refuse max_tokens, older services know nothing else.
func questionsFor(n *core.Node, model string) (path string, questions []any) {
	hi := []said{{"user", "hi"}}
	switch {
	case n.Kind == core.KindOpenAI && n.Wire == "responses":
		return "/v1/responses", []any{struct {
			Model string `json:"model"`
			Max   int    `json:"max_output_tokens"` // 16 is the least that OpenAI takes
			Input string `json:"input"`
			Store bool   `json:"store"`
		}{model, 16, "hi", false}}
	case n.Kind == core.KindOpenAI:
		return "/v1/chat/completions", []any{question{Model: model, MaxTokens: 1, Messages: hi}, question{Model: model, MaxNew: 16, Messages: hi}}
	}
	return "/v1/messages", []any{question{Model: model, MaxTokens: 1, Messages: hi}}
}

// cheapest is the model to ask a node for: the one that its operator chose, else of those that it is said to serve the one
// that a word costs least of, by the built-in prices. "" when none is known.
func (c *Checker) cheapest(n *core.Node) string {
	if n.HealthModel != "" {
		return n.HealthModel
	}
	now := c.o.Now()
	best, least := "", int64(-1)
	for _, m := range n.Models {
		if sent := n.ModelMap[m]; sent != "" {
			m = sent
		}
		if strings.Contains(m, "*") {
			continue
		}
		cost, priced := c.prices.Cost(m, core.Tokens{Input: 1000, Output: 1000}, now)
		if best == "" || priced && (least < 0 || cost < least) {
			best = m
			if priced {
				least = cost
			}
		}
	}
	if best == "" && n.Kind == core.KindAnthropic {
		best = "claude-haiku-5-5"
	}
	return best
}
