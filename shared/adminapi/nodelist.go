package adminapi

import (
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
)

// nodeShape is how a list of nodes is searched and sorted.
func nodeShape() *shape[nodeView] {
	return &shape[nodeView]{
		id: func(v *nodeView) string { return v.ID },
		text: func(v *nodeView) string {
			return strings.Join([]string{v.ID, v.Name, string(v.Kind), v.BaseURL, string(v.State), v.StateReason, v.Notes, strings.Join(v.Models, " ")}, " ")
		},
		state: func(v *nodeView) string { return stateGroup(v.State) },
		by: map[string]func(a, b *nodeView) int{
			"weight": byNumber(func(v *nodeView) int { return v.Weight }), "name": byText(func(v *nodeView) string { return v.Name }),
			"state": byText(func(v *nodeView) string { return string(v.State) }), "method": byText(func(v *nodeView) string { return v.HealthMethod }),
			"latency": byNumber(func(v *nodeView) int64 {
				if v.PingMS == nil {
					return 0
				}
				return *v.PingMS
			}),
			"success":  byNumber(func(v *nodeView) float64 { return v.HealthRate }),
			"requests": byNumber(func(v *nodeView) int64 { return v.Requests }),
		},
	}
}

// stateGroup is the group of states that a node's belongs to.
func stateGroup(c core.Condition) string {
	switch c {
	case core.Online, core.Degraded:
		return "active"
	case core.Disabled:
		return "disabled"
	}
	return "failed"
}

// lightNode is a node as choices need it: it takes one listing, and nothing of checks and usage. Only who asks for a state has
// the nodes' states looked at, and told.
type lightNode struct {
	ID        string            `json:"id"`
	AccountID string            `json:"account_id"`
	Name      string            `json:"name"`
	Kind      core.Kind         `json:"kind"`
	Weight    int               `json:"weight"`
	Models    []string          `json:"models,omitempty"`
	ModelMap  map[string]string `json:"model_map,omitempty"`
	Disabled  bool              `json:"disabled"`

	State  core.Condition `json:"state,omitempty"`
	Reason string         `json:"state_reason,omitempty"`
}

func lightNodeShape(states bool) *shape[lightNode] {
	s := &shape[lightNode]{
		id: func(v *lightNode) string { return v.ID },
		text: func(v *lightNode) string {
			return strings.Join([]string{v.ID, v.Name, string(v.Kind), strings.Join(v.Models, " ")}, " ")
		},
		by: map[string]func(a, b *lightNode) int{
			"weight": byNumber(func(v *lightNode) int { return v.Weight }), "name": byText(func(v *lightNode) string { return v.Name }),
		},
	}
	if states {
		s.state = func(v *lightNode) string { return stateGroup(v.State) }
	}
	return s
}

func (c *call) listNodes() error {
	account, err := c.nodesOf()
	if err != nil {
		return err
	}
	light, err := queryBool(c.r.URL.Query(), "light")
	if err != nil {
		return err
	}
	if light {
		return c.listLightNodes(account)
	}
	shape := nodeShape()
	l, err := c.listing(shape.sorts(), true)
	if err != nil {
		return err
	}
	only := l.id
	if l.limit > 0 { // the counts are of all
		only = ""
	}
	views, err := c.nodeViews(account, only)
	if err != nil {
		return err
	}
	p := choose(&l, views, shape)
	return c.ok(p.into(&l, map[string]any{"nodes": p.rows}))
}

func (c *call) listLightNodes(account string) error {
	states := c.r.URL.Query().Has("state")
	shape := lightNodeShape(states)
	l, err := c.listing(shape.sorts(), true)
	if err != nil {
		return err
	}
	w := &watched{}
	if states {
		w, err = c.look(account, false)
	} else {
		w.nodes, err = c.accountNodes(account)
	}
	if err != nil {
		return err
	}
	views := make([]lightNode, len(w.nodes))
	for i := range w.nodes {
		n := &w.nodes[i]
		v := lightNode{ID: n.ID, AccountID: n.Account, Name: n.Name, Kind: n.Kind, Weight: n.Weight, Models: n.Models, ModelMap: n.ModelMap, Disabled: n.Disabled}
		if states {
			v.State, _, v.Reason = c.condition(n, c.state(n), w.checks[n.ID], &w.account)
		}
		views[i] = v
	}
	p := choose(&l, views, shape)
	return c.ok(p.into(&l, map[string]any{"nodes": p.rows}))
}

// accountNodes are an account's nodes as they are preferred.
func (c *call) accountNodes(account string) ([]core.Node, error) {
	rows, err := c.a.o.Tables.Nodes.All(c.r.Context(), account)
	nodes := make([]core.Node, len(rows))
	for i := range rows {
		nodes[i] = rows[i].Value
	}
	store.SortNodes(nodes)
	return nodes, err
}
