package adminapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

// The routes under which the older Amazon Q pool kept its keys, with its names and defaults. They are the same keys as
// those of /admin/api/keys; ids are numbers here.

const apiKeysPath = "/admin/api-keys"

// What a key or node of such a pool is limited to when the call does not say.
const (
	poolRPM = 60
	poolRPD = 10_000

	poolNodeRPM = 10 // of an Amazon Q node, likewise
)

// apiKeyView is a key as these routes show it. The credential stands only in the answer that made it.
type apiKeyView struct {
	ID          int64      `json:"id"`
	Key         string     `json:"key,omitempty"`
	Prefix      string     `json:"key_prefix"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	IsActive    bool       `json:"is_active"`
	IsAdmin     bool       `json:"is_admin"`
	Requests    int64      `json:"total_requests"`
	LastUsed    *time.Time `json:"last_used"`
	RPM         int64      `json:"requests_per_minute"`
	RPD         int64      `json:"requests_per_day"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
}

// apiKeyInput is the body of create and update.
type apiKeyInput struct {
	Name        *string `json:"name"`
	Description *string `json:"description"`
	RPM         *int64  `json:"requests_per_minute"`
	RPD         *int64  `json:"requests_per_day"`
	ExpiresDays *int64  `json:"expires_days"` // null: never
	IsAdmin     *bool   `json:"is_admin"`
	IsActive    *bool   `json:"is_active"`
}

const maxExpiresDays = 36_500

func (in *apiKeyInput) apply(k *core.Key, now time.Time) error {
	common := keyInput{Name: in.Name, Description: in.Description, IsAdmin: in.IsAdmin, limitsInput: limitsInput{RPM: in.RPM, RPD: in.RPD}}
	if err := common.apply(k, now); err != nil {
		return err
	}
	if d := in.ExpiresDays; d != nil {
		if *d < 1 || *d > maxExpiresDays {
			return bad("expires_days: must be 1 to " + itoa(maxExpiresDays) + ", or missing for a key that does not expire")
		}
		k.ExpiresAt = now.UTC().Add(time.Duration(*d) * 24 * time.Hour)
	}
	if in.IsActive != nil {
		k.Revoked = !*in.IsActive
	}
	return nil
}

// apiKeys serves apiKeysPath and what is below it; rest is the path after it.
func (c *call) apiKeys(rest string) error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	id, verb, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	switch m := c.r.Method; {
	case id == "" && m == http.MethodGet:
		return c.listAPIKeys()
	case id == "" && m == http.MethodPost:
		return c.createAPIKey()
	case id == "" || verb != "" && verb != "revoke" || verb == "revoke" && m != http.MethodPost:
		return core.E(core.CodeMethodNotAllowed, "method not allowed")
	case !decimal(id):
		return core.E(core.CodeNotFound, "API key not found")
	case verb == "revoke":
		return c.changeAPIKey(id, func(k *core.Key) error { k.Revoked = true; return nil }, map[string]any{"message": "API key revoked"})
	case m == http.MethodGet:
		return c.showAPIKey(id)
	case m == http.MethodPut:
		var in apiKeyInput
		if err := c.decode(&in); err != nil {
			return err
		}
		return c.changeAPIKey(id, func(k *core.Key) error { return in.apply(k, c.a.o.Now()) }, nil)
	case m == http.MethodDelete:
		if err := c.a.o.Tables.Keys.Delete(c.r.Context(), id); err != nil {
			return missingAPIKey(err)
		}
		return c.ok(map[string]string{"message": "API key deleted"})
	}
	return core.E(core.CodeMethodNotAllowed, "method not allowed")
}

func decimal(id string) bool {
	n, err := strconv.ParseInt(id, 10, 64)
	return err == nil && n > 0 && strconv.FormatInt(n, 10) == id
}

func missingAPIKey(err error) error {
	if store.Missing(err) {
		return core.E(core.CodeNotFound, "API key not found")
	}
	return err
}

func (c *call) createAPIKey() error {
	account, err := c.target()
	if err != nil {
		return err
	}
	var in apiKeyInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if text(in.Name) == "" {
		return bad("name is required")
	}
	k := core.Key{Scopes: []core.Scope{core.ScopeInference}, Limits: core.Limits{RPM: poolRPM, RPD: poolRPD}}
	if err := in.apply(&k, c.a.o.Now()); err != nil {
		return err
	}
	secret := seal.NewKey()
	id, err := c.createKeyFor(account, secret, k)
	if err != nil {
		return err
	}
	r, err := c.a.o.Tables.Keys.Get(c.r.Context(), id)
	if err != nil {
		return err
	}
	v := viewAPIKey(&r.Value)
	v.Key = secret.Reveal()
	return c.ok(v)
}

func (c *call) listAPIKeys() error {
	rows, err := c.a.o.Tables.Keys.All(c.r.Context(), c.r.URL.Query().Get("account_id"))
	if err != nil {
		return err
	}
	views := make([]apiKeyView, len(rows))
	for i := range rows {
		views[i] = viewAPIKey(&rows[i].Value)
	}
	slices.SortFunc(views, func(a, b apiKeyView) int { return int(a.ID - b.ID) })
	sums, err := c.a.o.Usage.Sums(c.r.Context(), store.UsageFilter{Account: c.r.URL.Query().Get("account_id")}, store.GroupKey)
	if err != nil {
		return err
	}
	used := make(map[string]int64, len(sums))
	for _, s := range sums {
		used[s.Group] = s.Requests
	}
	for i := range views {
		views[i].Requests = used[strconv.FormatInt(views[i].ID, 10)]
	}
	return c.ok(views)
}

func (c *call) showAPIKey(id string) error {
	ctx := c.r.Context()
	r, err := c.a.o.Tables.Keys.Get(ctx, id)
	if err != nil {
		return missingAPIKey(err)
	}
	v := viewAPIKey(&r.Value)
	f := store.UsageFilter{Account: r.Value.Account, Key: id}
	sums, err := c.a.o.Usage.Sums(ctx, f, store.GroupNone)
	if err != nil {
		return err
	}
	for _, s := range sums {
		v.Requests += s.Requests
	}
	if v.LastUsed, err = c.lastUse(f); err != nil {
		return err
	}
	return c.ok(v)
}

// changeAPIKey edits a key and answers with answer, else with the key.
func (c *call) changeAPIKey(id string, edit func(*core.Key) error, answer map[string]any) error {
	r, err := c.a.o.Tables.Keys.Update(c.r.Context(), id, func(k *core.Key) error {
		k.UpdatedAt = c.a.o.Now().UTC()
		return edit(k)
	})
	switch {
	case err != nil:
		return missingAPIKey(err)
	case answer != nil:
		return c.ok(answer)
	}
	return c.ok(viewAPIKey(&r.Value))
}

func viewAPIKey(k *core.Key) apiKeyView {
	id, _ := strconv.ParseInt(k.ID, 10, 64)
	v := apiKeyView{ID: id, Prefix: k.Prefix, Name: k.Name, Description: k.Description, IsActive: !k.Revoked, IsAdmin: k.Has(core.ScopeAdmin),
		RPM: k.Limits.RPM, RPD: k.Limits.RPD, CreatedAt: k.CreatedAt, UpdatedAt: k.UpdatedAt}
	if !k.ExpiresAt.IsZero() {
		v.ExpiresAt = &k.ExpiresAt
	}
	return v
}
