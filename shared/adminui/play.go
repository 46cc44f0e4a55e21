package adminui

import (
	"maps"
	"net/url"
	"slices"
)

func playPages() []*page {
	return []*page{{path: "/admin/playground", title: "play.title", menu: "menu.tools", show: showPlay}}
}

// playView is the page. What it sends, the browser sends by itself, with the key that the reader typed: this server sees no
// more of it than of any other request.
type playView struct {
	Model  string
	Models []string
}

// playAPI is where a request may go to.
type playAPI struct{ Dialect, Path string }

// APIs are the dialects that tools.js speaks.
func (d *playView) APIs() []playAPI {
	return []playAPI{{"messages", "/v1/messages"}, {"chat", "/v1/chat/completions"}}
}

// Facts are what is told of an answer, by the names that tools.js fills.
func (d *playView) Facts() []string {
	return []string{"status", "node", "request", "model", "first", "total", "input", "cached", "output", "attempts", "cost"}
}

func showPlay(v *view) error {
	models, err := v.models()
	if err != nil {
		return err
	}
	return v.render("play.html", &playView{Model: models[0], Models: models})
}

// models are names to propose: those of the account's nodes first, then those that have a price. There is always one.
func (v *view) models() ([]string, error) {
	var nodes struct {
		Nodes []struct {
			Models   []string          `json:"models"`
			ModelMap map[string]string `json:"model_map"`
			Disabled bool              `json:"disabled"`
		}
	}
	if err := v.get(nodesAPI, light(""), &nodes); err != nil {
		return nil, err
	}
	out := []string{defaultModel}
	add := func(names ...string) {
		for _, name := range names {
			if modelName(name) && !slices.Contains(out, name) && len(out) < maxModels {
				out = append(out, name)
			}
		}
	}
	for _, n := range nodes.Nodes {
		if !n.Disabled {
			add(n.Models...)
			add(slices.Sorted(maps.Keys(n.ModelMap))...)
		}
	}
	var prices struct {
		Pricing []struct {
			Model string `json:"model_id"`
		}
	}
	if err := v.get("/api/pricing", url.Values{"active_only": {"true"}, "limit": {"500"}}, &prices); err != nil {
		return nil, err
	}
	for _, p := range prices.Pricing {
		add(p.Model)
	}
	return out, nil
}

const maxModels = 300
