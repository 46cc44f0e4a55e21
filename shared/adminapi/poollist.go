package adminapi

import (
	"slices"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
)

// poolShape is how a list of pool accounts is searched and sorted.
func poolShape() *shape[poolView] {
	return &shape[poolView]{
		id: func(v *poolView) string { return v.node.ID },
		text: func(v *poolView) string {
			out := []string{v.node.ID, v.Name, string(v.State), v.StateReason}
			for _, s := range [...]*string{v.Notes, v.Profile, v.CheckError} {
				if s != nil {
					out = append(out, *s)
				}
			}
			return strings.Join(out, " ")
		},
		state: func(v *poolView) string { return stateGroup(v.State) },
		by: map[string]func(a, b *poolView) int{
			"id": byNumber(func(v *poolView) int64 { return v.ID }), "name": byText(func(v *poolView) string { return v.Name }), "state": byText(func(v *poolView) string { return string(v.State) }),
			"requests": byNumber(func(v *poolView) int64 { return v.Requests }), "tokens": byNumber(func(v *poolView) int64 { return v.Tokens }),
			"used": byNumber(func(v *poolView) int64 { return unixOf(v.LastUsed) }), "checked": byNumber(func(v *poolView) int64 { return unixOf(v.LastCheck) }),
		},
	}
}

// listPool answers with a bare list, as the older pool did, and with a part of it in an object.
func (c *call) listPool() error {
	account, err := c.nodesOf()
	if err != nil {
		return err
	}
	active, err := queryBool(c.r.URL.Query(), "active_only")
	if err != nil {
		return err
	}
	shape := poolShape()
	l, err := c.listing(shape.sorts(), true)
	if err != nil {
		return err
	}
	if l.light {
		return bad("light: this list has no light form")
	}
	views, err := c.poolViews(account, active)
	if err != nil {
		return err
	}
	var p page[poolView]
	if l.sort == "used" {
		p, err = shape.bound(&l, views, c.poolsUsed)
	} else {
		p = choose(&l, views, shape)
		err = c.poolsUsed(p.rows)
	}
	if err != nil {
		return err
	}
	if l.limit > 0 {
		return c.ok(p.into(&l, map[string]any{"accounts": p.rows}))
	}
	for i := range p.rows {
		p.rows[i].State, p.rows[i].StateReason = "", "" // the older list had none
	}
	return c.ok(p.rows)
}

// poolViews are an account's amazonq nodes by id, with their states. When they were used last is not looked up.
func (c *call) poolViews(account string, active bool) ([]poolView, error) {
	nodes, err := c.poolNodes(account)
	if err != nil {
		return nil, err
	}
	if active {
		nodes = slices.DeleteFunc(nodes, func(n core.Node) bool { return n.Disabled })
	}
	if len(nodes) == 0 {
		return []poolView{}, nil
	}
	var acct store.Row[core.Account]
	var used map[string]core.UsageSum
	var checks map[string]*core.NodeCheck
	err = each(3, 3, func(i int) (err error) {
		switch i {
		case 0:
			acct, err = c.a.o.Tables.Accounts.Get(c.r.Context(), account)
		case 1:
			checks, err = c.checks(c.r.Context(), account)
		default:
			used, err = c.used(account)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	views := c.viewPools(nodes, used, checks)
	for i := range views {
		n := &nodes[i]
		views[i].State, _, views[i].StateReason = c.condition(n, c.state(n), checks[n.ID], &acct.Value)
	}
	return views, nil
}
