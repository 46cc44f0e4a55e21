package adminapi

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// accountView is an account as lists show it. proxy_api_key stands only in the answer to the call that set it.
type accountView struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	IsAdmin     bool              `json:"is_admin"`
	HasPassword bool              `json:"has_password"`
	HasProxyKey bool              `json:"has_proxy_api_key"`
	ProxyPrefix string            `json:"proxy_api_key_prefix,omitempty"`
	ActiveNode  string            `json:"active_node,omitempty"`
	ModelMap    map[string]string `json:"model_map,omitempty"`
	Response    int               `json:"response_days"`
	Limits      limitsView        `json:"limits"`
	Capturing   bool              `json:"capturing"` // bodies are kept
	CaptureEnd  *time.Time        `json:"capturing_until,omitempty"`
	Capture     *captureView      `json:"capture,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	Keys        *int              `json:"keys,omitempty"` // how many it has, and the next, when they were asked for
	Nodes       *int              `json:"nodes,omitempty"`
}

// accountInput is the body of create and update. A field that is missing, and on update also an empty text, changes
// nothing; an empty model_map maps nothing any more.
type accountInput struct {
	Name        *string            `json:"name"`
	Password    *string            `json:"password"`
	ProxyAPIKey *string            `json:"proxy_api_key"`
	IsAdmin     *bool              `json:"is_admin"`
	ModelMap    *map[string]string `json:"model_map"`
	Response    *int               `json:"response_days"`
	Limits      *limitsInput       `json:"limits"` // of all keys together
	Capture     *captureInput      `json:"capture"`
}

// maxResponseDays is the longest that conversations are kept; OpenAI keeps them as long.
const maxResponseDays = 30

func (c *call) adminOnly() error {
	if !c.who.admin {
		return core.E(core.CodeForbidden, "forbidden")
	}
	return nil
}

func (c *call) createAccount() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	var in accountInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if text(in.Name) == "" {
		return bad("name is required")
	}
	key := core.NewSecret(text(in.ProxyAPIKey))
	if key.IsZero() {
		key = seal.NewKey()
	}
	now := c.a.o.Now().UTC()
	a := core.Account{ID: "acc-" + strings.ToLower(rand.Text()[:16]), CreatedAt: now, UpdatedAt: now}
	hash, err := c.checkAccount(&in, "")
	if err == nil {
		err = in.Capture.check(core.Capture{}, c.a.o.Capture != nil, now)
	}
	if err != nil {
		return err
	}
	apply(&a, &in, hash)
	id, err := c.createKeyFor(a.ID, key, core.Key{Name: "proxy_api_key", Scopes: []core.Scope{core.ScopeInference, core.ScopeNodes}})
	if err != nil {
		return err
	}
	a.ProxyKey = id
	if _, err := c.a.o.Tables.Accounts.Create(c.r.Context(), a); err != nil {
		return errors.Join(err, c.a.o.Tables.Keys.Delete(c.r.Context(), id))
	}
	out := map[string]any{"id": a.ID, "proxy_api_key": key.Reveal()}
	warnShort(out, key.Reveal())
	return c.created(out)
}

func warnShort(out map[string]any, key string) {
	if len(key) < 16 {
		out["warning"] = "proxy_api_key has fewer than 16 characters and can be guessed"
	}
}

// checkAccount validates the input before anything is stored, and hashes a new password.
func (c *call) checkAccount(in *accountInput, self string) (hash string, err error) {
	if n := text(in.Name); n != "" {
		if err := checkName("name", n); err != nil {
			return "", err
		}
		rows, err := c.a.o.Tables.Accounts.All(c.r.Context(), "")
		if err != nil {
			return "", err
		}
		for _, r := range rows {
			// an id is a user name, too
			if (r.Value.Name == n || r.Value.ID == n) && r.Value.ID != self {
				return "", bad("name: another account has it")
			}
		}
	}
	if k := text(in.ProxyAPIKey); k != "" {
		if err := config.CheckKey(k); err != nil {
			return "", bad("proxy_api_key: " + err.Error())
		}
		// the operator's own key, and the published ones that may come back, must not become a tenant's
		own := c.a.o.AdminKey
		if !own.IsZero() && c.a.o.Box.Hash(k) == c.a.o.Box.Hash(own.Reveal()) || k == config.DefaultAdminKey || k == config.DefaultAdminKey2 {
			return "", takenKey(store.ErrExists)
		}
	}
	if in.ModelMap != nil {
		if err := checkModelMap(*in.ModelMap); err != nil {
			return "", err
		}
	}
	if d := in.Response; d != nil && (*d < 0 || *d > maxResponseDays) {
		return "", bad("response_days: must be from 0 (off) to " + itoa(maxResponseDays))
	}
	if err := in.Limits.apply(new(core.Limits), "limits."); err != nil {
		return "", err
	}
	p := ""
	if in.Password != nil {
		p = *in.Password
	}
	switch {
	case p == "":
		return "", nil
	case utf8.RuneCountInString(p) < 6:
		return "", bad("password: must have at least 6 characters")
	case len(p) > 72:
		return "", bad("password: must have at most 72 bytes")
	}
	h, err := bcrypt.GenerateFromPassword([]byte(p), bcrypt.DefaultCost)
	return string(h), err
}

func apply(a *core.Account, in *accountInput, hash string) {
	if n := text(in.Name); n != "" {
		a.Name = n
	}
	if hash != "" {
		a.PasswordHash = hash
	}
	if in.IsAdmin != nil {
		a.Admin = *in.IsAdmin
	}
	if in.ModelMap != nil {
		a.ModelMap = *in.ModelMap
	}
	if in.Response != nil {
		a.ResponseDays = *in.Response
	}
	_ = in.Limits.apply(&a.Limits, "") // checkAccount has checked them
	in.Capture.apply(&a.Capture)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return strings.TrimSpace(*s)
}

func checkName(field, s string) error {
	if err := config.CheckName(s); err != nil {
		return bad(field + ": " + err.Error())
	}
	return nil
}

func (c *call) updateAccount() error {
	id := c.r.URL.Query().Get("id")
	if id == "" {
		return bad("id is required in the query")
	}
	var in accountInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if !c.who.admin {
		// a tenant signed in by password may change its own credentials, never its role or limits; who has but its key may not
		if !c.who.person || id != c.who.account || in.IsAdmin != nil || in.Limits != nil || in.Capture != nil {
			return core.E(core.CodeForbidden, "forbidden")
		}
	}
	ctx, t := c.r.Context(), c.a.o.Tables
	old, err := t.Accounts.Get(ctx, id)
	if err != nil {
		return err
	}
	hash, err := c.checkAccount(&in, id)
	if err == nil {
		err = in.Capture.check(old.Value.Capture, c.a.o.Capture != nil, c.a.o.Now())
	}
	if err != nil {
		return err
	}
	key, proxyID := text(in.ProxyAPIKey), ""
	if key != "" {
		if proxyID, err = c.setProxyKey(id, old.Value.ProxyKey, core.NewSecret(key)); err != nil {
			return err
		}
	}
	_, err = t.Accounts.Update(ctx, id, func(a *core.Account) error {
		apply(a, &in, hash)
		if proxyID != "" {
			a.ProxyKey = proxyID
		}
		a.UpdatedAt = c.a.o.Now().UTC()
		return in.Limits.carry(c, a.Limits, id, store.KindAccount, id)
	})
	if err != nil {
		return err
	}
	out := map[string]any{"id": id}
	if key != "" {
		out["proxy_api_key"] = key
		warnShort(out, key)
	}
	return c.ok(out)
}

// setProxyKey gives an account's key a new credential; the old one ends at once.
func (c *call) setProxyKey(account, keyID string, key core.Secret) (string, error) {
	if keyID != "" {
		_, err := c.a.o.Tables.Keys.Update(c.r.Context(), keyID, func(k *core.Key) error {
			k.Hashes, k.Prefix = []string{c.a.o.Box.Hash(key.Reveal())}, seal.Prefix(key.Reveal())
			k.Retiring = nil
			k.Default, k.Revoked, k.UpdatedAt = key.Reveal() == config.DefaultProxyKey, false, c.a.o.Now().UTC()
			return nil
		})
		if !errors.Is(err, store.ErrNotFound) {
			return keyID, takenKey(err)
		}
	}
	return c.createKeyFor(account, key, core.Key{Name: "proxy_api_key", Scopes: []core.Scope{core.ScopeInference, core.ScopeNodes}})
}

func takenKey(err error) error {
	if errors.Is(err, store.ErrExists) {
		return bad("proxy_api_key: another key has this value")
	}
	return err
}

func (c *call) deleteAccount() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	id := c.r.URL.Query().Get("id")
	switch id {
	case "":
		return bad("id is required in the query")
	case core.DefaultAccount:
		return bad("the account default cannot be deleted")
	}
	ctx, t := c.r.Context(), c.a.o.Tables
	if _, err := t.Accounts.Get(ctx, id); err != nil {
		return err
	}
	// keys first: from then on nothing new comes in. The account last: if we stop half-way, the call can be repeated
	keys, err := t.Keys.All(ctx, id)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := t.Keys.Delete(ctx, k.Value.ID); err != nil && !store.Missing(err) {
			return err
		}
	}
	nodes, err := t.Nodes.All(ctx, id)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := c.dropNode(n.Value.ID); err != nil {
			return err
		}
	}
	sessions, err := t.Sessions.All(ctx, id)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := t.Sessions.Delete(ctx, s.Value.ID); err != nil && !store.Missing(err) {
			return err
		}
	}
	kept, err := t.Responses.All(ctx, id)
	if err != nil {
		return err
	}
	for _, r := range kept {
		if err := t.Responses.Delete(ctx, r.Value.ID); err != nil && !store.Missing(err) {
			return err
		}
	}
	resources, err := t.Resources.All(ctx, id)
	if err != nil {
		return err
	}
	for _, r := range resources {
		if err := t.Resources.Delete(ctx, r.Value.ID); err != nil && !store.Missing(err) {
			return err
		}
	}
	if err := c.dropLogins(id); err != nil {
		return err
	}
	if err := c.dropWatching(id); err != nil {
		return err
	}
	if err := c.dropCaptures(id); err != nil {
		return err
	}
	if err := c.a.o.Usage.DeleteUsage(ctx, id); err != nil {
		return err
	}
	if err := t.Accounts.Delete(ctx, id); err != nil && !store.Missing(err) {
		return err
	}
	return c.ok(map[string]string{"deleted": id})
}

// configView are the settings of an account.
type configView struct {
	Retries   *int `json:"retries"`
	FailLimit *int `json:"fail_limit"`
	HealthSec *int `json:"health_interval_sec"`
}

func (c *call) getConfig() error {
	id, err := c.target()
	if err != nil {
		return err
	}
	r, err := c.a.o.Tables.Accounts.Get(c.r.Context(), id)
	if err != nil {
		return err
	}
	or := func(v, def int) int {
		if v == 0 {
			return def
		}
		return v
	}
	d := c.a.o.Defaults
	return c.ok(map[string]int{"retries": or(r.Value.Retries, d.Retries), "fail_limit": or(r.Value.FailLimit, d.FailLimit),
		"health_interval_sec": or(r.Value.HealthSec, d.HealthSec)})
}

func (c *call) putConfig() error {
	id, err := c.target()
	if err != nil {
		return err
	}
	var in configView
	if err := c.decode(&in); err != nil {
		return err
	}
	within := func(v *int, lo, hi int) bool { return v == nil || *v >= lo && *v <= hi }
	if !within(in.Retries, 1, 10) || !within(in.FailLimit, 1, 10) || !within(in.HealthSec, 5, 300) {
		return bad("invalid config values: retries and fail_limit must be 1 to 10, health_interval_sec 5 to 300")
	}
	_, err = c.a.o.Tables.Accounts.Update(c.r.Context(), id, func(a *core.Account) error {
		for _, f := range []struct{ to, from *int }{{&a.Retries, in.Retries}, {&a.FailLimit, in.FailLimit}, {&a.HealthSec, in.HealthSec}} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		a.UpdatedAt = c.a.o.Now().UTC()
		return nil
	})
	if err != nil {
		return err
	}
	return c.ok(map[string]string{"status": "updated"})
}

// target is the account a call acts on: account_id of the query, else the caller's own.
func (c *call) target() (string, error) {
	return c.targetOf(c.r.URL.Query().Get("account_id"))
}

// scopeOf is the account whose rows a list shows when it was asked for those of id: for an administrator "" is all of them.
func (c *call) scopeOf(id string) (string, error) {
	if c.who.admin {
		return id, nil
	}
	return c.targetOf(id)
}

// targetOf is the account with that id, "" for the caller's own, if the caller may act on it.
func (c *call) targetOf(id string) (string, error) {
	if id == "" || id == c.who.account {
		return c.who.account, nil
	}
	if !c.who.admin {
		return "", core.E(core.CodeForbidden, "forbidden")
	}
	if _, err := c.a.o.Tables.Accounts.Get(c.r.Context(), id); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return "", core.E(core.CodeNotFound, "account not found")
		}
		return "", err
	}
	return id, nil
}
