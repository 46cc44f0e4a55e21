package adminapi

import (
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// fewKeys is how many keys are read one by one rather than with all others.
const fewKeys = 8

// accountShape is how a list of accounts is searched and sorted.
func accountShape() *shape[accountView] {
	number := func(n *int) int {
		if n == nil {
			return 0
		}
		return *n
	}
	return &shape[accountView]{
		id:   func(v *accountView) string { return v.ID },
		text: func(v *accountView) string { return v.ID + " " + v.Name + " " + v.ProxyPrefix },
		by: map[string]func(a, b *accountView) int{
			"id": byText(func(v *accountView) string { return v.ID }), "name": byText(func(v *accountView) string { return v.Name }),
			"keys": byNumber(func(v *accountView) int { return number(v.Keys) }), "nodes": byNumber(func(v *accountView) int { return number(v.Nodes) }),
			"created": byNumber(func(v *accountView) int64 { return v.CreatedAt.UnixMicro() }),
		},
	}
}

// lightAccount is an account as choices need it.
type lightAccount struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	IsAdmin   bool   `json:"is_admin"`
	Capturing bool   `json:"capturing"`

	CaptureEnd *time.Time `json:"capturing_until,omitempty"`
}

func (c *call) listAccounts() error {
	shape := accountShape()
	l, err := c.listing(shape.sorts(), false)
	if err != nil {
		return err
	}
	count, err := queryBool(c.r.URL.Query(), "count")
	if err != nil {
		return err
	}
	if count = count || l.sort == "keys" || l.sort == "nodes"; l.light && count {
		return bad("light: goes neither with count nor with an order by it")
	}
	accounts, err := c.accounts()
	if err != nil {
		return err
	}
	views := make([]accountView, len(accounts))
	for i := range accounts {
		a := &accounts[i]
		views[i] = accountView{ID: a.ID, Name: a.Name, IsAdmin: a.Admin, HasPassword: a.PasswordHash != "", ActiveNode: a.ActiveNode,
			ModelMap: a.ModelMap, Response: a.ResponseDays, Limits: viewLimits(a.Limits), CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt}
		views[i].Capturing, views[i].CaptureEnd, views[i].Capture = c.viewCapture(a)
	}
	if l.light {
		p := choose(&l, views, shape)
		light := make([]lightAccount, len(p.rows))
		for i := range p.rows {
			a := &p.rows[i]
			light[i] = lightAccount{a.ID, a.Name, a.IsAdmin, a.Capturing, a.CaptureEnd}
		}
		return c.ok(p.into(&l, map[string]any{"accounts": light}))
	}
	if err := c.addKeys(accounts, views, count); err != nil {
		return err
	}
	if count {
		if err := c.addNodes(views); err != nil {
			return err
		}
	}
	p := choose(&l, views, shape)
	return c.ok(p.into(&l, map[string]any{"accounts": p.rows}))
}

// accounts are those that the caller may see, the oldest first.
func (c *call) accounts() (accounts []core.Account, err error) {
	ctx, t := c.r.Context(), c.a.o.Tables
	if !c.who.admin {
		r, err := t.Accounts.Get(ctx, c.who.account)
		return []core.Account{r.Value}, err
	}
	rows, err := t.Accounts.All(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		accounts = append(accounts, r.Value)
	}
	slices.SortFunc(accounts, func(a, b core.Account) int {
		if n := a.CreatedAt.Compare(b.CreatedAt); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return accounts, nil
}

// addKeys tells of the accounts' own keys, and with count how many keys they have: administrators alone, who may list them.
func (c *call) addKeys(accounts []core.Account, views []accountView, count bool) error {
	ctx, t := c.r.Context(), c.a.o.Tables
	keys := make(map[string]*core.Key)
	if c.who.admin && (count || len(accounts) > fewKeys) {
		rows, err := t.Keys.All(ctx, "")
		if err != nil {
			return err
		}
		has := make(map[string]int)
		for i := range rows {
			k := &rows[i].Value
			keys[k.ID] = k
			has[k.Account]++
		}
		for i := range views {
			if count {
				views[i].Keys = new(has[views[i].ID])
			}
		}
	} else {
		for i := range accounts {
			if accounts[i].ProxyKey == "" {
				continue
			}
			k, err := t.Keys.Get(ctx, accounts[i].ProxyKey)
			if err == nil {
				keys[k.Value.ID] = &k.Value
			} else if !store.Missing(err) {
				return err
			}
		}
	}
	for i := range accounts {
		if k := keys[accounts[i].ProxyKey]; k != nil && accounts[i].ProxyKey != "" {
			views[i].HasProxyKey, views[i].ProxyPrefix = !k.Revoked, k.Prefix
		}
	}
	return nil
}

// addNodes tells how many nodes the accounts have.
func (c *call) addNodes(views []accountView) error {
	scope := c.who.account
	if c.who.admin {
		scope = ""
	}
	rows, err := c.a.o.Tables.Nodes.All(c.r.Context(), scope)
	if err != nil {
		return err
	}
	has := make(map[string]int)
	for i := range rows {
		has[rows[i].Value.Account]++
	}
	for i := range views {
		views[i].Nodes = new(has[views[i].ID])
	}
	return nil
}
