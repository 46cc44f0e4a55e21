package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/upstream/anthropic"
)

// firstAdminKey is the id of the published admin credential, as Guide B has it.
const firstAdminKey = "1"

// seeded remembers what a variable was when it was last applied. Values are hashed: some are secrets.
type seeded struct {
	Values map[string]string `json:"values"`         // variable -> hash
	Node   string            `json:"node,omitempty"` // id of the node that UPSTREAM_* made
	Pool   string            `json:"pool,omitempty"` // id of the node that AMAZONQ_* made
}

const metaSeeds = "seeds"

// seed makes the first account, keys and node from the environment, and applies later changes of the variables. Every
// write is create-only or compare-and-swap, so that several instances may start at once. importing leaves the admin key to a
// later start.
func (a *App) seed(ctx context.Context, c *config.Config, importing bool) error {
	var last seeded
	if err := a.Tables.ReadMeta(ctx, metaSeeds, &last); err != nil && !store.Missing(err) {
		return err
	}
	applied := map[string]string{}
	// changed reports whether a variable is set to something else than was applied last
	changed := func(name, value string) bool {
		if value == "" {
			return false
		}
		h := a.Box.Hash(name + "=" + value)
		if last.Values[name] == h {
			return false
		}
		applied[name] = h
		return true
	}
	if err := a.seedAccount(ctx, c, changed("DEFAULT_ACCOUNT_NAME", c.AccountName)); err != nil {
		return err
	}
	if !importing {
		if err := a.seedAdminKey(ctx, c); err != nil {
			return err
		}
	}
	if err := a.seedProxyKey(ctx, c, changed("DEFAULT_PROXY_API_KEY", c.ProxyAPIKey.Reveal())); err != nil {
		return err
	}
	if c.UpstreamBaseURL != "" || !c.UpstreamAPIKey.IsZero() {
		v := nodeChange{changed("UPSTREAM_BASE_URL", c.UpstreamBaseURL), changed("UPSTREAM_API_KEY", c.UpstreamAPIKey.Reveal()), changed("UPSTREAM_NAME", c.UpstreamName)}
		if v != (nodeChange{}) {
			if err := a.seedNode(ctx, c, v); err != nil {
				return err
			}
		}
	}
	if !c.AmazonQRefreshToken.IsZero() {
		cred := changed("AMAZONQ_REFRESH_TOKEN", c.AmazonQRefreshToken.Reveal())
		cred = changed("AMAZONQ_CLIENT_ID", c.AmazonQClientID.Reveal()) || cred
		cred = changed("AMAZONQ_CLIENT_SECRET", c.AmazonQClientSecret.Reveal()) || cred
		if profile := changed("AMAZONQ_PROFILE_ARN", c.AmazonQProfileARN); cred || profile {
			if err := a.seedPool(ctx, c, cred, profile); err != nil {
				return err
			}
		}
	}
	if nodes, err := a.Tables.Nodes.All(ctx, ""); err != nil {
		return err
	} else if len(nodes) == 0 {
		a.Notes = append(a.Notes, "warning: there is no node yet, so no model can be called. Set UPSTREAM_API_KEY, or add one with POST /admin/api/nodes")
	}
	if len(applied) == 0 {
		return nil
	}
	return a.editSeeds(ctx, func(s *seeded) { maps.Copy(s.Values, applied) })
}

// editSeeds changes what is remembered, over what another instance may have written meanwhile.
func (a *App) editSeeds(ctx context.Context, edit func(*seeded)) error {
	_, err := a.Tables.Metas.Upsert(ctx, metaSeeds, func(m *store.MetaValue) error {
		s := seeded{}
		if len(m.Data) > 0 {
			if err := json.Unmarshal(m.Data, &s); err != nil {
				return err
			}
		}
		if s.Values == nil {
			s.Values = map[string]string{}
		}
		edit(&s)
		data, err := json.Marshal(s)
		m.ID, m.Data = metaSeeds, data
		return err
	})
	return err
}

func (a *App) seedAccount(ctx context.Context, c *config.Config, renamed bool) error {
	name := c.AccountName
	if name == "" {
		name = "default"
	}
	now := a.now().UTC()
	_, err := a.Tables.Accounts.Create(ctx, core.Account{ID: core.DefaultAccount, Name: name, CreatedAt: now, UpdatedAt: now})
	if !errors.Is(err, store.ErrExists) || !renamed {
		if errors.Is(err, store.ErrExists) {
			return nil
		}
		return err
	}
	_, err = a.Tables.Accounts.Update(ctx, core.DefaultAccount, func(acct *core.Account) error {
		acct.Name, acct.UpdatedAt = name, now
		return nil
	})
	return err
}

// seedAdminKey keeps the rule for the published admin credentials: they are one key, with id 1, which ends when
// ADMIN_API_KEY is set and does not come back while another admin key exists.
func (a *App) seedAdminKey(ctx context.Context, c *config.Config) error {
	if own := c.AdminKey(); !own.IsZero() {
		k, err := a.Tables.Keys.Get(ctx, firstAdminKey)
		if err == nil && k.Value.Default {
			err = a.Tables.Keys.Delete(ctx, firstAdminKey)
		}
		if err != nil && !store.Missing(err) {
			return err
		}
		k, err = a.Tables.Keys.Find(ctx, a.Box.Hash(own.Reveal()))
		if err == nil {
			return fmt.Errorf("ADMIN_API_KEY: key %s of account %s has the same value, so its holder would administer the gateway; choose another", k.Value.ID, k.Value.Account)
		}
		if !store.Missing(err) {
			return err
		}
		a.Notes = append(a.Notes, "Admin API Key: as set by ADMIN_API_KEY")
		a.short("ADMIN_API_KEY", own)
		return nil
	}
	if done, err := a.otherAdminKey(ctx, c); done || err != nil {
		return err
	}
	now := a.now().UTC()
	_, err := a.Tables.Keys.Create(ctx, core.Key{ID: firstAdminKey, Account: core.DefaultAccount, Name: "default admin key", Default: true,
		Hashes: []string{a.Box.Hash(config.DefaultAdminKey), a.Box.Hash(config.DefaultAdminKey2)},
		Scopes: []core.Scope{core.ScopeAdmin}, CreatedAt: now, UpdatedAt: now})
	if err != nil && !errors.Is(err, store.ErrExists) { // another instance starting beside us may have made it
		return err
	}
	a.publishedAdmin(c)
	return nil
}

// otherAdminKey looks for a key that administers the gateway, and tells of it.
func (a *App) otherAdminKey(ctx context.Context, c *config.Config) (bool, error) {
	keys, err := a.Tables.Keys.All(ctx, "")
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		if ok, _ := k.Value.Usable(a.now()); !ok || !k.Value.Has(core.ScopeNodes) {
			continue
		}
		if !k.Value.Has(core.ScopeAdmin) {
			acct, err := a.Tables.Accounts.Get(ctx, k.Value.Account)
			if err != nil && !store.Missing(err) {
				return false, err
			}
			if err != nil || !acct.Value.Admin {
				continue
			}
		}
		if k.Value.ID == firstAdminKey && k.Value.Default {
			a.publishedAdmin(c)
		} else {
			a.Notes = append(a.Notes, "Admin API Key: key "+k.Value.ID+" ("+k.Value.Name+")")
		}
		return true, nil
	}
	return false, nil
}

func (a *App) publishedAdmin(c *config.Config) {
	a.Notes = append(a.Notes, "Admin API Key: "+config.DefaultAdminKey)
	a.published(c, "admin", "ADMIN_API_KEY")
}

// published warns of a default credential in use.
func (a *App) published(c *config.Config, what, variable string) {
	where := "works from this machine only"
	switch {
	case a.hosted:
		where = "works nowhere on Lambda"
	case c.AllowDefaults:
		where = "works from anywhere, as ALLOW_DEFAULT_CREDENTIALS says"
	}
	a.Notes = append(a.Notes, "warning: the default "+what+" key is published; it "+where+". Set "+variable)
}

func (a *App) short(variable string, s core.Secret) {
	if len(s.Reveal()) < 16 {
		a.Notes = append(a.Notes, "warning: "+variable+" has fewer than 16 characters and can be guessed")
	}
}

// seedProxyKey sets the default account's proxy_api_key: on the first start, and when its variable changes.
func (a *App) seedProxyKey(ctx context.Context, c *config.Config, changed bool) error {
	acct, err := a.Tables.Accounts.Get(ctx, core.DefaultAccount)
	if err != nil {
		return err
	}
	value := c.ProxyAPIKey.Reveal()
	first := acct.Value.ProxyKey == ""
	if value == "" {
		value = config.DefaultProxyKey
	}
	if first || changed {
		if err := a.setProxyKey(ctx, acct.Value.ProxyKey, core.NewSecret(value)); err != nil {
			return err
		}
		if acct, err = a.Tables.Accounts.Get(ctx, core.DefaultAccount); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("Account '%s': proxy_api_key", acct.Value.Name)
	k, err := a.Tables.Keys.Get(ctx, acct.Value.ProxyKey)
	switch {
	case store.Missing(err):
		a.Notes = append(a.Notes, line+" was deleted")
	case err != nil:
		return err
	case k.Value.Default:
		a.Notes = append(a.Notes, line+"="+config.DefaultProxyKey)
		a.published(c, "proxy", "DEFAULT_PROXY_API_KEY")
	default:
		a.Notes = append(a.Notes, line+" is set")
		if own := c.ProxyAPIKey.Reveal(); own != "" && slices.Contains(k.Value.Hashes, a.Box.Hash(own)) {
			a.short("DEFAULT_PROXY_API_KEY", c.ProxyAPIKey)
		}
	}
	return nil
}

func (a *App) setProxyKey(ctx context.Context, id string, key core.Secret) error {
	fill := func(k *core.Key) error {
		k.Hashes, k.Prefix = []string{a.Box.Hash(key.Reveal())}, seal.Prefix(key.Reveal())
		k.Default, k.Revoked, k.UpdatedAt = key.Reveal() == config.DefaultProxyKey, false, a.now().UTC()
		if k.Default {
			k.Prefix = ""
		}
		return nil
	}
	taken := func(err error) error {
		if errors.Is(err, store.ErrExists) {
			return errors.New("DEFAULT_PROXY_API_KEY: another key has this value; choose a different one")
		}
		return err
	}
	if id != "" {
		if _, err := a.Tables.Keys.Update(ctx, id, fill); !store.Missing(err) {
			return taken(err)
		}
	}
	id, err := a.Tables.NextID(ctx, store.KindKey)
	if err != nil {
		return err
	}
	k := core.Key{ID: id, Account: core.DefaultAccount, Name: "proxy_api_key", Scopes: []core.Scope{core.ScopeInference, core.ScopeNodes}, CreatedAt: a.now().UTC()}
	_ = fill(&k)
	_, err = a.Tables.Keys.Create(ctx, k)
	if errors.Is(err, store.ErrExists) {
		// another instance starting beside us made it
		if other, ferr := a.Tables.Keys.Find(ctx, k.Hashes[0]); ferr == nil && other.Value.Account == core.DefaultAccount {
			id, err = other.Value.ID, nil
		}
	}
	if err != nil {
		return taken(err)
	}
	_, err = a.Tables.Accounts.Update(ctx, core.DefaultAccount, func(acct *core.Account) error {
		acct.ProxyKey = id
		return nil
	})
	return err
}

// nodeChange tells which variables of the node changed.
type nodeChange struct{ url, key, name bool }

// seedNode makes the node of UPSTREAM_*, or applies what changed of it. A node that was deleted through the API comes back
// only when a variable changes. Its id is remembered before it is made, so that instances that start at once, and a start
// after a crash in between, make one and the same.
func (a *App) seedNode(ctx context.Context, c *config.Config, v nodeChange) error {
	id, err := a.seededNode(ctx, func(s *seeded) *string { return &s.Node })
	if err != nil {
		return err
	}
	update := func(n *core.Node) error {
		// an address that was edited through the API must not get a new key of the operator's: whoever edited it would
		if v.url || v.key && !n.Operator {
			n.BaseURL, n.Operator = c.UpstreamBaseURL, true
			if n.BaseURL == "" {
				n.BaseURL = anthropic.DefaultBaseURL
			}
		}
		if v.key {
			n.Credential = a.Box.Seal(directory.CredentialOwner(n.ID), c.UpstreamAPIKey)
		}
		if v.name {
			n.Name = c.UpstreamName
		}
		n.UpdatedAt = a.now().UTC()
		return nil
	}
	_, err = a.Tables.Nodes.Update(ctx, id, update)
	if store.Missing(err) {
		n := core.Node{ID: id, Account: core.DefaultAccount, Kind: core.KindAnthropic, Name: "default", Weight: 1, HealthMethod: "api", CreatedAt: a.now().UTC()}
		v = nodeChange{url: true, key: true, name: c.UpstreamName != ""}
		_ = update(&n)
		if _, err = a.Tables.Nodes.Create(ctx, n); errors.Is(err, store.ErrExists) {
			err = nil // another instance starting beside us made it
		}
	}
	if err != nil || !v.url && !v.key {
		return err
	}
	return a.forgetState(ctx, id)
}

// seededNode returns the id of a node that variables make, where of tells it; a new one, remembered from now on, when there
// is none.
func (a *App) seededNode(ctx context.Context, of func(*seeded) *string) (string, error) {
	id, err := a.Tables.NextID(ctx, store.KindNode)
	if err != nil {
		return "", err
	}
	err = a.editSeeds(ctx, func(s *seeded) {
		if p := of(s); *p == "" {
			*p = id
		} else {
			id = *p
		}
	})
	return id, err
}

// forgetState drops what is known of a node's old address or credential: it says nothing of the new one.
func (a *App) forgetState(ctx context.Context, id string) error {
	if err := a.Tables.States.Delete(ctx, id); err != nil && !store.Missing(err) {
		return err
	}
	return nil
}
