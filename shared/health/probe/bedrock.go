package probe

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

// What Bedrock is asked where nothing tells a model: the cheapest Claude.
const usualClaude = "claude-haiku-5-5"

// askBedrock asks a node of Bedrock for one token of a model, by its API. One that names no model is asked for what it is
// offered when it is not offered the usual one. It returns the model that the answer is about.
func (c *Checker) askBedrock(ctx context.Context, client upstream.Client, t upstream.Target, model string) (upstream.Failure, string) {
	known := model != ""
	if !known {
		model = usualClaude
	}
	f := askBedrockFor(ctx, client, t, model)
	lister, ok := client.(upstream.Lister)
	if known || f.Class != upstream.NotOffered || !ok {
		return f, model
	}
	list, err := lister.Models(ctx, t)
	if err != nil {
		return f, model // the permission to list is not needed to serve
	}
	if id := c.cheapestOf(list, t.Node.API == "converse"); id != "" {
		return askBedrockFor(ctx, client, t, id), id
	}
	return f, model
}

// cheapestOf is the model of a list that a word costs least of, by the built-in prices: of Claudes, or of all with a price.
func (c *Checker) cheapestOf(list []upstream.Model, others bool) (best string) {
	now, least := c.o.Now(), int64(0)
	for _, m := range list {
		cost, priced := c.prices.Cost(m.ID, core.Tokens{Input: 1000, Output: 1000}, now)
		claude := strings.Contains(m.ID, "claude")
		if claude && best == "" && !priced { // better than none
			best = m.ID
		}
		if priced && (claude || others) && (least == 0 || cost < least) {
			best, least = m.ID, cost
		}
	}
	return best
}

// saidBlocks is a turn as Converse has it.
type saidBlocks struct {
	Role    string      `json:"role"`
	Content []textBlock `json:"content"`
}

type textBlock struct {
	Text string `json:"text"`
}

// askBedrockFor asks by the node's API: the Messages API, InvokeModel, which has no model in its body and a version instead,
// or Converse (wire-formats 5).
func askBedrockFor(ctx context.Context, client upstream.Client, t upstream.Target, model string) upstream.Failure {
	id := model
	if namer, ok := client.(upstream.Namer); ok {
		id = namer.ModelID(t.Node, model)
	}
	var q any
	switch hi := []said{{"user", "hi"}}; t.Node.API {
	case "converse":
		q = struct {
			Messages []saidBlocks `json:"messages"`
			Config   struct {
				Max int `json:"maxTokens"`
			} `json:"inferenceConfig"`
		}{[]saidBlocks{{"user", []textBlock{{"hi"}}}}, struct {
			Max int `json:"maxTokens"`
		}{1}}
	case "invoke":
		q = struct {
			Version  string `json:"anthropic_version"`
			Max      int    `json:"max_tokens"`
			Messages []said `json:"messages"`
		}{"bedrock-2023-05-31", 1, hi}
	default:
		q = question{Model: id, MaxTokens: 1, Messages: hi}
	}
	body, err := json.Marshal(q)
	if err != nil {
		return upstream.Failure{Class: upstream.ClientFault, Reason: "the question cannot be written"}
	}
	return exchange(ctx, client, t, &upstream.Request{Method: http.MethodPost, Path: "/v1/messages", Model: id}, body)
}
