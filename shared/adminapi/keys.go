package adminapi

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

const (
	maxDescription = 500                 // characters
	maxNetworks    = 100                 // of one key
	maxOverlap     = 30 * 24 * time.Hour // that a replaced credential goes on
	maxLastUsed    = 200                 // keys of a list whose last use is looked up
)

// keyView is a key as lists show it.
type keyView struct {
	ID          string       `json:"id"`
	AccountID   string       `json:"account_id"`
	Name        string       `json:"name"`
	Description string       `json:"description,omitempty"`
	Prefix      string       `json:"prefix"`
	Scopes      []core.Scope `json:"scopes"`
	IsAdmin     bool         `json:"is_admin"`
	Default     bool         `json:"default,omitempty"` // a credential that the guides print
	Revoked     bool         `json:"revoked"`
	limitsView
	Models     []string       `json:"models,omitempty"`
	Networks   []netip.Prefix `json:"networks,omitempty"`
	ExpiresAt  *time.Time     `json:"expires_at,omitempty"`
	OldUntil   *time.Time     `json:"old_key_until,omitempty"` // a replaced credential goes on until then
	LastUsedAt *time.Time     `json:"last_used_at,omitempty"`
	CreatedAt  time.Time      `json:"created_at"`
	UpdatedAt  time.Time      `json:"updated_at"`
}

func viewKey(k core.Key, now time.Time) keyView {
	v := keyView{ID: k.ID, AccountID: k.Account, Name: k.Name, Description: k.Description, Prefix: k.Prefix, Scopes: k.Scopes,
		IsAdmin: k.Has(core.ScopeAdmin), Default: k.Default, Revoked: k.Revoked, limitsView: viewLimits(k.Limits), Models: k.Models,
		Networks: k.Networks, CreatedAt: k.CreatedAt, UpdatedAt: k.UpdatedAt}
	if !k.ExpiresAt.IsZero() {
		v.ExpiresAt = &k.ExpiresAt
	}
	for _, r := range k.Retiring {
		if now.Before(r.Until) && (v.OldUntil == nil || r.Until.After(*v.OldUntil)) {
			v.OldUntil = &r.Until
		}
	}
	return v
}

// keyInput is the body of create and update. On update a missing field changes nothing; an empty expires_at, models or
// networks takes the bound away.
type keyInput struct {
	Name        *string       `json:"name"`
	Description *string       `json:"description"`
	Scopes      *[]core.Scope `json:"scopes"`
	IsAdmin     *bool         `json:"is_admin"` // the same in other words: scope admin
	Nodes       *bool         `json:"nodes"`    // and: scopes inference and nodes
	limitsInput
	Models    *[]string `json:"models"`
	Networks  *[]string `json:"networks"`
	ExpiresAt *string   `json:"expires_at"`
	Revoked   *bool     `json:"revoked"`
}

// apply checks the input and puts it into k.
func (in *keyInput) apply(k *core.Key, now time.Time) error {
	if in.Name != nil {
		if err := checkName("name", text(in.Name)); err != nil {
			return err
		}
		k.Name = text(in.Name)
	}
	if d := text(in.Description); in.Description != nil {
		if err := checkText("description", d, maxDescription); err != nil {
			return err
		}
		k.Description = d
	}
	if err := in.applyScopes(k); err != nil {
		return err
	}
	if err := in.limitsInput.apply(&k.Limits, ""); err != nil {
		return err
	}
	if in.Models != nil {
		if err := checkModels(*in.Models); err != nil {
			return err
		}
		k.Models = *in.Models
	}
	if in.Networks != nil {
		ps, err := parseNetworks(*in.Networks)
		if err != nil {
			return err
		}
		k.Networks = ps
	}
	if in.ExpiresAt != nil {
		at, err := parseExpiry(*in.ExpiresAt, now)
		if err != nil {
			return err
		}
		k.ExpiresAt = at
	}
	if in.Revoked != nil {
		k.Revoked = *in.Revoked
	}
	return nil
}

func (in *keyInput) applyScopes(k *core.Key) error {
	if in.Scopes != nil {
		if in.IsAdmin != nil || in.Nodes != nil {
			return bad("scopes: send either scopes or is_admin and nodes")
		}
		out := []core.Scope{}
		for _, s := range *in.Scopes {
			if s != core.ScopeInference && s != core.ScopeNodes && s != core.ScopeAdmin {
				return bad("scopes: must be of inference, nodes and admin")
			}
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		if len(out) == 0 {
			return bad("scopes: must name at least one of inference, nodes and admin")
		}
		k.Scopes = out
		return nil
	}
	if in.IsAdmin == nil && in.Nodes == nil {
		return nil
	}
	admin, nodes := slices.Contains(k.Scopes, core.ScopeAdmin), slices.Contains(k.Scopes, core.ScopeNodes)
	if in.IsAdmin != nil {
		admin = *in.IsAdmin
	}
	if in.Nodes != nil {
		nodes = *in.Nodes
	}
	switch {
	case admin:
		k.Scopes = []core.Scope{core.ScopeAdmin}
	case nodes:
		k.Scopes = []core.Scope{core.ScopeInference, core.ScopeNodes}
	default:
		k.Scopes = []core.Scope{core.ScopeInference}
	}
	return nil
}

// checkText checks a text for people.
func checkText(field, s string, most int) error {
	if len([]rune(s)) > most || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		return bad(field + ": must have at most " + itoa(most) + " characters and no control characters")
	}
	return nil
}

// parseNetworks reads CIDRs and single addresses.
func parseNetworks(list []string) ([]netip.Prefix, error) {
	if len(list) > maxNetworks {
		return nil, bad("networks: must have at most " + itoa(maxNetworks) + " entries")
	}
	var out []netip.Prefix
	for _, s := range list {
		s = strings.TrimSpace(s)
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil || a.Zone() != "" {
				return nil, bad("networks: must be addresses or CIDRs such as 192.0.2.0/24 and 2001:db8::/32")
			}
			a = a.Unmap()
			p, err = a.Prefix(a.BitLen())
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, bad("networks: must be addresses or CIDRs such as 192.0.2.0/24 and 2001:db8::/32")
		}
		if p = p.Masked(); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// parseExpiry reads a time in the future; empty: never.
func parseExpiry(s string, now time.Time) (time.Time, error) {
	if s = strings.TrimSpace(s); s == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil || at.Year() < 1 || at.UTC().Year() > 9999:
		return at, bad("expires_at: must be a time such as 2026-01-31T15:04:05Z")
	case !at.After(now):
		return at, bad("expires_at: must lie in the future")
	}
	return at.UTC(), nil
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
	k := core.Key{Scopes: []core.Scope{core.ScopeInference}}
	if err := in.apply(&k, c.a.o.Now()); err != nil {
		return err
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

// editKey changes the key that the query names. It holds from the key's next request on, everywhere.
func (c *call) editKey(edit func(*core.Key) error) (core.Key, error) {
	id := c.r.URL.Query().Get("id")
	if id == "" {
		return core.Key{}, bad("id is required in the query")
	}
	r, err := c.a.o.Tables.Keys.Update(c.r.Context(), id, func(k *core.Key) error {
		k.UpdatedAt = c.a.o.Now().UTC()
		return edit(k)
	})
	if errors.Is(err, store.ErrNotFound) {
		err = core.E(core.CodeNotFound, "key not found")
	}
	return r.Value, err
}

func (c *call) updateKey() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	var in keyInput
	if err := c.decode(&in); err != nil {
		return err
	}
	k, err := c.editKey(func(k *core.Key) error {
		if err := in.apply(k, c.a.o.Now()); err != nil {
			return err
		}
		return in.carry(c, k.Limits, k.Account, store.KindKey, k.ID)
	})
	if err != nil {
		return err
	}
	return c.ok(viewKey(k, c.a.o.Now()))
}

// rotateKey gives a key a new credential, shown this once; the old one works for overlap seconds more.
func (c *call) rotateKey() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	var in struct {
		Overlap int64 `json:"overlap"`
	}
	if err := c.optional(&in); err != nil {
		return err
	}
	if in.Overlap < 0 || in.Overlap > int64(maxOverlap/time.Second) {
		return bad("overlap: must be 0 to " + itoa(int(maxOverlap/time.Second)) + " seconds")
	}
	secret := seal.NewKey()
	hash := c.a.o.Box.Hash(secret.Reveal())
	now := c.a.o.Now().UTC()
	k, err := c.editKey(func(k *core.Key) error {
		if k.Revoked {
			return core.E(core.CodeConflict, "the key is revoked; a new credential would not work either")
		}
		k.Rotate(hash, seal.Prefix(secret.Reveal()), now.Add(time.Duration(in.Overlap)*time.Second), now)
		k.Default = false
		return nil
	})
	if err != nil {
		return err
	}
	out := map[string]any{"id": k.ID, "account_id": k.Account, "key": secret.Reveal()}
	if v := viewKey(k, now); v.OldUntil != nil {
		out["old_key_until"] = *v.OldUntil
	}
	return c.ok(out)
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
