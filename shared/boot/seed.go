package boot

import (
	"context"
	"errors"
	"fmt"

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
}

const metaSeeds = "seeds"

// seed makes the first account, keys and node from the environment, and applies later changes of the variables. Every
// write is create-only or compare-and-swap, so that several instances may start at once.
func (a *App) seed(ctx context.Context, c *config.Config) error {
	var last seeded
	if err := a.Tables.ReadMeta(ctx, metaSeeds, &last); err != nil && !store.Missing(err) {
		return err
	}
	next := seeded{Values: map[string]string{}, Node: last.Node}
	for k, v := range last.Values {
		next.Values[k] = v
	}
	// changed reports whether a variable is set to something else than was applied last
	changed := func(name, value string) bool {
		if value == "" {
			return false
		}
		h := a.Box.Hash(name + "=" + value)
		if last.Values[name] == h {
			return false
		}
		next.Values[name] = h
		return true
	}
	if err := a.seedAccount(ctx, c, changed("DEFAULT_ACCOUNT_NAME", c.AccountName)); err != nil {
		return err
	}
	if err := a.seedAdminKey(ctx, c); err != nil {
		return err
	}
	if err := a.seedProxyKey(ctx, c, changed("DEFAULT_PROXY_API_KEY", c.ProxyAPIKey.Reveal())); err != nil {
		return err
	}
	url := changed("UPSTREAM_BASE_URL", c.UpstreamBaseURL)
	key := changed("UPSTREAM_API_KEY", c.UpstreamAPIKey.Reveal())
	name := changed("UPSTREAM_NAME", c.UpstreamName)
	if c.UpstreamBaseURL != "" || !c.UpstreamAPIKey.IsZero() {
		id, err := a.seedNode(ctx, c, next.Node, url, key, name)
		if err != nil {
			return err
		}
		next.Node = id
	}
	if len(next.Values) != len(last.Values) || url || key || name || next.Node != last.Node || !same(next.Values, last.Values) {
		return a.Tables.WriteMeta(ctx, metaSeeds, next)
	}
	return nil
}

func same(a, b map[string]string) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
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
	if !c.AdminKey().IsZero() {
		k, err := a.Tables.Keys.Get(ctx, firstAdminKey)
		if err == nil && k.Value.Default {
			err = a.Tables.Keys.Delete(ctx, firstAdminKey)
		}
		if err != nil && !store.Missing(err) {
			return err
		}
		a.Notes = append(a.Notes, "Admin API Key: as set by ADMIN_API_KEY")
		a.short("ADMIN_API_KEY", c.AdminKey())
		return nil
	}
	keys, err := a.Tables.Keys.All(ctx, "")
	if err != nil {
		return err
	}
	for _, k := range keys {
		if ok, _ := k.Value.Usable(a.now()); ok && k.Value.Has(core.ScopeAdmin) {
			if k.Value.Default {
				a.publishedAdmin()
			} else {
				a.Notes = append(a.Notes, "Admin API Key: key "+k.Value.ID+" ("+k.Value.Name+")")
			}
			return nil
		}
	}
	now := a.now().UTC()
	_, err = a.Tables.Keys.Create(ctx, core.Key{ID: firstAdminKey, Account: core.DefaultAccount, Name: "default admin key", Default: true,
		Hashes: []string{a.Box.Hash(config.DefaultAdminKey), a.Box.Hash(config.DefaultAdminKey2)},
		Scopes: []core.Scope{core.ScopeAdmin}, CreatedAt: now, UpdatedAt: now})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	a.publishedAdmin()
	return nil
}

func (a *App) publishedAdmin() {
	a.Notes = append(a.Notes, "Admin API Key: "+config.DefaultAdminKey,
		"warning: the default admin key is published; it works from this machine only. Set ADMIN_API_KEY")
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
		a.Notes = append(a.Notes, line+"="+config.DefaultProxyKey,
			"warning: the default proxy key is published; it works from this machine only. Set DEFAULT_PROXY_API_KEY")
	default:
		a.Notes = append(a.Notes, line+" is set")
		if changed {
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

// seedNode makes the node of UPSTREAM_*, or applies what changed of it. A node that was deleted through the API comes back
// only when a variable changes.
func (a *App) seedNode(ctx context.Context, c *config.Config, id string, url, key, name bool) (string, error) {
	if id != "" && !url && !key && !name {
		return id, nil
	}
	fill := func(n *core.Node, all bool) {
		if all || url {
			n.BaseURL, n.Operator = c.UpstreamBaseURL, true
			if n.BaseURL == "" {
				n.BaseURL = anthropic.DefaultBaseURL
			}
		}
		if all || key {
			n.Credential = a.Box.Seal(directory.CredentialOwner(n.ID), c.UpstreamAPIKey)
		}
		if all || name {
			n.Name = c.UpstreamName
			if n.Name == "" {
				n.Name = "default"
			}
		}
		n.UpdatedAt = a.now().UTC()
	}
	if id != "" {
		_, err := a.Tables.Nodes.Update(ctx, id, func(n *core.Node) error {
			fill(n, false)
			return nil
		})
		if !store.Missing(err) {
			return id, err
		}
	}
	id, err := a.Tables.NextID(ctx, store.KindNode)
	if err != nil {
		return "", err
	}
	n := core.Node{ID: id, Account: core.DefaultAccount, Kind: core.KindAnthropic, Weight: 1, HealthMethod: "api", CreatedAt: a.now().UTC()}
	fill(&n, true)
	_, err = a.Tables.Nodes.Create(ctx, n)
	return id, err
}
