package adminapi

import (
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// useTrips is how many last uses are looked up at a time.
const useTrips = 4

// keyShape is how a list of keys is searched and sorted. names are those of accounts.
func keyShape(names map[string]string) *shape[keyView] {
	account := func(v *keyView) string {
		if n, ok := names[v.AccountID]; ok {
			return n
		}
		return v.AccountID
	}
	return &shape[keyView]{
		id: func(v *keyView) string { return v.ID },
		text: func(v *keyView) string {
			return strings.Join([]string{v.ID, v.Name, v.Description, v.Prefix, v.AccountID, account(v)}, " ")
		},
		by: map[string]func(a, b *keyView) int{
			"id": func(a, b *keyView) int { return store.CompareIDs(a.ID, b.ID) }, "account": byText(account),
			"name": byText(func(v *keyView) string {
				if v.Name != "" {
					return v.Name
				}
				return "#" + v.ID
			}),
			"used": byNumber(func(v *keyView) int64 { return unixOf(v.LastUsedAt) }), "expires": byNumber(func(v *keyView) int64 { return unixOf(v.ExpiresAt) }),
		},
	}
}

// unixOf is for sorting: what never was is before all else.
func unixOf(t *time.Time) int64 {
	if t == nil {
		return -1 << 62
	}
	return t.UnixMicro()
}

// lightKey is a key as choices need it.
type lightKey struct {
	ID        string `json:"id"`
	AccountID string `json:"account_id"`
	Name      string `json:"name"`
	Prefix    string `json:"prefix"`
	Revoked   bool   `json:"revoked"`

	// These tell administrators whether the key may be used, and what for.
	Default   bool         `json:"default,omitempty"`
	Scopes    []core.Scope `json:"scopes,omitempty"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty"`
}

func (c *call) listKeys() error {
	account, err := c.keysOf()
	if err != nil {
		return err
	}
	names := make(map[string]string)
	shape := keyShape(names)
	l, err := c.listing(shape.sorts(), false)
	if err != nil {
		return err
	}
	if l.light && l.sort == "used" {
		return bad("sort: what light leaves out cannot be sorted by")
	}
	views, err := c.keyViews(&l, account, names)
	if err != nil {
		return err
	}
	if l.sort == "used" {
		p, err := shape.bound(&l, views, c.keysUsed)
		if err != nil {
			return err
		}
		return c.ok(p.into(&l, map[string]any{"keys": p.rows}))
	}
	p := choose(&l, views, shape)
	if l.light {
		light := make([]lightKey, len(p.rows))
		for i := range p.rows {
			k := &p.rows[i]
			light[i] = lightKey{ID: k.ID, AccountID: k.AccountID, Name: k.Name, Prefix: k.Prefix, Revoked: k.Revoked}
			if c.who.admin {
				light[i].Default, light[i].Scopes, light[i].ExpiresAt = k.Default, k.Scopes, k.ExpiresAt
			}
		}
		return c.ok(p.into(&l, map[string]any{"keys": light}))
	}
	if err := c.keysUsed(p.rows); err != nil {
		return err
	}
	return c.ok(p.into(&l, map[string]any{"keys": p.rows}))
}

// keysOf is the account whose keys the call may list, empty for all. Who manages an account, but not the gateway, sees the
// names of its keys and no more: its usage is told by key.
func (c *call) keysOf() (string, error) {
	account := c.r.URL.Query().Get("account_id")
	if light, _ := queryBool(c.r.URL.Query(), "light"); light && (c.who.person || c.who.nodes) {
		return c.scopeOf(account)
	}
	return account, c.adminOnly()
}

// keyViews are the keys that the call is about, by id, and the names of accounts where the listing goes by them. When the
// keys were used last is not looked up.
func (c *call) keyViews(l *listing, account string, names map[string]string) ([]keyView, error) {
	if l.q != "" || l.sort == "account" {
		accounts, err := c.a.o.Tables.Accounts.All(c.r.Context(), "")
		if err != nil {
			return nil, err
		}
		for i := range accounts {
			names[accounts[i].Value.ID] = accounts[i].Value.Name
		}
	}
	rows, err := c.keyRows(l, account)
	if err != nil {
		return nil, err
	}
	views := make([]keyView, 0, len(rows))
	for _, r := range rows {
		views = append(views, viewKey(r.Value, c.a.o.Now()))
	}
	slices.SortFunc(views, func(a, b keyView) int { return store.CompareIDs(a.ID, b.ID) })
	return views, nil
}

// keyRows reads the keys that the call is about: one that it names, or all.
func (c *call) keyRows(l *listing, account string) ([]store.Row[core.Key], error) {
	if l.id == "" {
		return c.a.o.Tables.Keys.All(c.r.Context(), account)
	}
	r, err := c.a.o.Tables.Keys.Get(c.r.Context(), l.id)
	switch {
	case store.Missing(err) || err == nil && account != "" && r.Value.Account != account:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []store.Row[core.Key]{r}, nil
}

// keysUsed looks up when the first of keys were used last.
func (c *call) keysUsed(views []keyView) error {
	return each(min(len(views), maxLastUsed), useTrips, func(i int) (err error) {
		v := &views[i]
		v.LastUsedAt, err = c.lastUse(store.UsageFilter{Account: v.AccountID, Key: v.ID})
		return err
	})
}
