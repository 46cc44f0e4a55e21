package adminapi

import (
	"errors"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

// keyView is a key as lists show it.
type keyView struct {
	ID        string       `json:"id"`
	AccountID string       `json:"account_id"`
	Name      string       `json:"name"`
	Prefix    string       `json:"prefix"`
	Scopes    []core.Scope `json:"scopes"`
	IsAdmin   bool         `json:"is_admin"`
	Default   bool         `json:"default,omitempty"` // a credential that the guides print
	Revoked   bool         `json:"revoked"`
	RPM       int64        `json:"requests_per_minute"` // 0: unlimited
	RPD       int64        `json:"requests_per_day"`
	Parallel  int64        `json:"concurrency"`
	Models    []string     `json:"models,omitempty"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty"`
	CreatedAt time.Time    `json:"created_at"`
}

func viewKey(k core.Key) keyView {
	v := keyView{ID: k.ID, AccountID: k.Account, Name: k.Name, Prefix: k.Prefix, Scopes: k.Scopes, IsAdmin: k.Has(core.ScopeAdmin),
		Default: k.Default, Revoked: k.Revoked, RPM: k.Limits.RPM, RPD: k.Limits.RPD, Parallel: k.Limits.Concurrency, Models: k.Models, CreatedAt: k.CreatedAt}
	if !k.ExpiresAt.IsZero() {
		v.ExpiresAt = &k.ExpiresAt
	}
	return v
}

func (c *call) listKeys() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	rows, err := c.a.o.Tables.Keys.All(c.r.Context(), c.r.URL.Query().Get("account_id"))
	if err != nil {
		return err
	}
	views := make([]keyView, 0, len(rows))
	for _, r := range rows {
		views = append(views, viewKey(r.Value))
	}
	slices.SortFunc(views, func(a, b keyView) int { return store.CompareIDs(a.ID, b.ID) })
	return c.ok(map[string]any{"keys": views})
}

type keyInput struct {
	Name      *string    `json:"name"`
	IsAdmin   bool       `json:"is_admin"`
	Nodes     bool       `json:"nodes"` // may manage the account's nodes
	RPM       int64      `json:"requests_per_minute"`
	RPD       int64      `json:"requests_per_day"`
	Parallel  int64      `json:"concurrency"`
	Models    []string   `json:"models"`
	ExpiresAt *time.Time `json:"expires_at"`
}

func (c *call) createKey() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	account, err := c.target()
	if err != nil {
		return err
	}
	var in keyInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkName("name", text(in.Name)); err != nil {
		return err
	}
	for field, v := range map[string]int64{"requests_per_minute": in.RPM, "requests_per_day": in.RPD, "concurrency": in.Parallel} {
		if v < 0 || v > 60_000_000 {
			return bad(field + ": must be 0 (unlimited) to 60000000")
		}
	}
	if err := checkModels(in.Models); err != nil {
		return err
	}
	k := core.Key{Name: text(in.Name), Scopes: []core.Scope{core.ScopeInference}, Models: in.Models,
		Limits: core.Limits{RPM: in.RPM, RPD: in.RPD, Concurrency: in.Parallel}}
	if in.Nodes {
		k.Scopes = append(k.Scopes, core.ScopeNodes)
	}
	if in.IsAdmin {
		k.Scopes = []core.Scope{core.ScopeAdmin}
	}
	if in.ExpiresAt != nil {
		if !in.ExpiresAt.After(c.a.o.Now()) {
			return bad("expires_at: must lie in the future")
		}
		k.ExpiresAt = in.ExpiresAt.UTC()
	}
	secret := seal.NewKey()
	id, err := c.createKeyFor(account, secret, k)
	if err != nil {
		return err
	}
	return c.created(map[string]any{"id": id, "account_id": account, "key": secret.Reveal()})
}

// createKeyFor stores a key of an account and returns its id.
func (c *call) createKeyFor(account string, key core.Secret, k core.Key) (string, error) {
	ctx, t := c.r.Context(), c.a.o.Tables
	id, err := t.NextID(ctx, store.KindKey)
	if err != nil {
		return "", err
	}
	now := c.a.o.Now().UTC()
	k.ID, k.Account, k.CreatedAt, k.UpdatedAt = id, account, now, now
	k.Prefix, k.Hashes = seal.Prefix(key.Reveal()), []string{c.a.o.Box.Hash(key.Reveal())}
	_, err = t.Keys.Create(ctx, k)
	return id, takenKey(err)
}

func (c *call) deleteKey() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	id := c.r.URL.Query().Get("id")
	if id == "" {
		return bad("id is required in the query")
	}
	err := c.a.o.Tables.Keys.Delete(c.r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return core.E(core.CodeNotFound, "key not found")
	}
	if err != nil {
		return err
	}
	return c.ok(map[string]string{"deleted": id})
}
