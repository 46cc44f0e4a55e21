package adminui

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// checklist are the first steps with a new gateway.
type checklist struct {
	Steps []step
	Done  int
}

// step is one of them.
type step struct {
	Name string // of its words: checklist.NAME
	Link string
	Done bool
	Args string // what is told of it
}

// Checklist are the steps that a new gateway needs, as far as the API tells that they were made; nil for who is no
// administrator, and when all are made. A template asks for it: pages do not carry it.
func (v *view) Checklist() (*checklist, error) {
	if !v.Me.Admin {
		return nil, nil
	}
	var keys struct{ Keys []key }
	if err := v.get(keysAPI, light(""), &keys); err != nil {
		return nil, err
	}
	var published []string
	own := false
	for i := range keys.Keys {
		switch k := &keys.Keys[i]; {
		case k.Revoked || !k.ExpiresAt.IsZero() && !v.Now().Before(k.ExpiresAt):
		case k.Default:
			published = append(published, k.KeyTitle())
		case slices.Contains(k.Scopes, "inference"):
			own = true
		}
	}
	served := v.c.pace.served.Load()
	if !served {
		var err error
		if served, err = v.served(); err != nil {
			return nil, err
		}
		v.c.pace.served.Store(served)
	}
	serves := served // then there is no need to look for a node
	if !served {
		var nodes struct{ Nodes []node }
		if err := v.get(nodesAPI, light(""), &nodes); err != nil {
			return nil, err
		}
		serves = slices.ContainsFunc(nodes.Nodes, func(n node) bool { return !n.Disabled })
	}
	c := &checklist{Steps: []step{
		{Name: "credentials", Link: v.link("/admin/keys"), Done: len(published) == 0, Args: strings.Join(published, ", ")},
		{Name: "node", Link: v.link("/admin/nodes"), Done: serves},
		{Name: "key", Link: v.link("/admin/keys") + "#form", Done: own},
		{Name: "request", Link: v.link("/admin/playground"), Done: served},
	}}
	for _, s := range c.Steps {
		if s.Done {
			c.Done++
		}
	}
	if c.Done == len(c.Steps) {
		return nil, nil
	}
	return c, nil
}

// served reports whether a request was answered well within the time that sums are kept at hand.
func (v *view) served() (bool, error) {
	var s sum
	err := v.get("/api/usage/summary", url.Values{"from": {v.Now().Add(-90 * 24 * time.Hour).Truncate(time.Hour).Format(time.RFC3339)}}, &s)
	return s.Success > 0, err
}
