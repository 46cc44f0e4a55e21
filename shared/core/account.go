package core

import (
	"net/netip"
	"slices"
	"time"
)

// DefaultAccount is the id of the account that exists from the first start.
const DefaultAccount = "default"

// Account is a tenant. It owns nodes, keys, limits and settings; nothing of it is visible to another account.
type Account struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Admin        bool              `json:"admin,omitempty"`         // its keys and logins administer all accounts
	PasswordHash string            `json:"password_hash,omitempty"` // bcrypt; empty: no password login
	ActiveNode   string            `json:"active_node,omitempty"`   // node id; empty: none is activated
	ModelMap     map[string]string `json:"model_map,omitempty"`     // name asked for -> name; * matches any text
	ProxyKey     string            `json:"proxy_key,omitempty"`     // id of the Key that is the account's proxy_api_key
	Limits       Limits            `json:"limits,omitzero"`
	Retries      int               `json:"retries,omitempty"`             // tries on one node; 0: the gateway's default
	FailLimit    int               `json:"fail_limit,omitempty"`          // counted failures in a row; 0: the gateway's default
	HealthSec    int               `json:"health_interval_sec,omitempty"` // seconds between trials of a failed node; 0: default
	ResponseDays int               `json:"response_days,omitempty"`       // that conversations of Responses clients are kept; 0: they are not
	Capture      Capture           `json:"capture,omitzero"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
}

// Scope is what a key may do.
type Scope string

// The scopes of a key.
const (
	ScopeInference Scope = "inference" // call models through the account's nodes
	ScopeNodes     Scope = "nodes"     // manage the account's own nodes
	ScopeAdmin     Scope = "admin"     // administer every account
)

// Key is a credential of an account. The credential itself is never kept: Hashes holds seal.Pepper.Hash of it, in hex
// (more than one for a key that was rotated, and for the published default admin credentials, one key with two spellings).
type Key struct {
	ID          string    `json:"id"` // decimal, from a counter
	Account     string    `json:"account"`
	Name        string    `json:"name,omitempty"`
	Description string    `json:"description,omitempty"`
	Prefix      string    `json:"prefix,omitempty"` // first 4 characters; empty for credentials under 12
	Hashes      []string  `json:"hashes"`
	Scopes      []Scope   `json:"scopes"`
	Limits      Limits    `json:"limits,omitzero"`
	Models      []string  `json:"models,omitempty"` // allow-list; empty: every model
	Default     bool      `json:"default,omitempty"`
	Revoked     bool      `json:"revoked,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`

	// Networks are the addresses that the key may be used from; empty: any.
	Networks []netip.Prefix `json:"networks,omitempty"`
	// Retiring are those of Hashes that a rotation replaced, each with the end of its overlap.
	Retiring []Retiring `json:"retiring,omitempty"`
}

// Retiring is a credential that was replaced and still works until then.
type Retiring struct {
	Hash  string    `json:"hash"`
	Until time.Time `json:"until"`
}

// Current reports whether the credential with that hash is still the key's at now, and if not, why in words for its holder.
func (k *Key) Current(hash string, now time.Time) (bool, string) {
	for _, r := range k.Retiring {
		if r.Hash == hash && !now.Before(r.Until) && slices.Index(k.Hashes, hash) != 0 { // else it was set anew since
			return false, "This API key was replaced by a new one and worked until " + r.Until.UTC().Format(time.RFC3339) +
				". Ask the operator of the gateway for the new one."
		}
	}
	return true, ""
}

// Rotate gives the key a new credential. Those it has work until then; those whose time is over at now are forgotten.
func (k *Key) Rotate(hash, prefix string, until, now time.Time) {
	hashes, retiring := []string{hash}, []Retiring(nil)
	for _, h := range k.Hashes {
		end := until
		for _, r := range k.Retiring {
			if r.Hash == h && r.Until.Before(end) {
				end = r.Until
			}
		}
		if h != hash && now.Before(end) {
			hashes, retiring = append(hashes, h), append(retiring, Retiring{Hash: h, Until: end})
		}
	}
	k.Hashes, k.Retiring, k.Prefix = hashes, retiring, prefix
}

// AllowsFrom reports whether the key may be used from an address. One that is not known is allowed only where all are.
func (k *Key) AllowsFrom(addr netip.Addr) bool {
	if len(k.Networks) == 0 {
		return true
	}
	addr = addr.Unmap()
	return slices.ContainsFunc(k.Networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Has reports whether the key has the scope; admin includes the others.
func (k *Key) Has(s Scope) bool {
	return slices.Contains(k.Scopes, s) || slices.Contains(k.Scopes, ScopeAdmin)
}

// Usable reports whether the key may be used at now, and if not, why in words for its holder.
func (k *Key) Usable(now time.Time) (bool, string) {
	if k.Revoked {
		return false, "This API key was revoked. Ask the operator of the gateway for a new one."
	}
	if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
		return false, "This API key expired on " + k.ExpiresAt.UTC().Format(time.RFC3339) + ". Ask the operator of the gateway for a new one."
	}
	return true, ""
}

// Limits bound a key, an account or a node. 0 means unlimited; negative values never reach a document.
type Limits struct {
	RPM         int64 `json:"rpm,omitempty"`         // requests a minute, token bucket
	RPD         int64 `json:"rpd,omitempty"`         // requests a calendar day
	Concurrency int64 `json:"concurrency,omitempty"` // requests in flight
	TPM         int64 `json:"tpm,omitempty"`         // tokens a minute, token bucket
	USDDay      int64 `json:"usd_day,omitempty"`     // micro-USD a calendar day
	USDMonth    int64 `json:"usd_month,omitempty"`   // micro-USD a calendar month
}

// IsZero reports whether nothing is limited.
func (l Limits) IsZero() bool { return l == Limits{} }

// Metered reports whether what a request uses is limited, so that an estimate of it is needed before.
func (l Limits) Metered() bool { return l.TPM > 0 || l.USDDay > 0 || l.USDMonth > 0 }

// Leased reports whether a request holds something of the limits until it is settled.
func (l Limits) Leased() bool { return l.Concurrency > 0 || l.Metered() }
