// Package directory answers "whose key is this, and which nodes does that account have?" from memory. Copies carry the
// versions they were read at: an admission made with a stale one is refused by the store, the copy is read again, and so a
// revoked key or an edited limit binds the next request everywhere without a look at the store on each.
package directory

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"sluice/shared/core"
	"sluice/shared/store"
)

// maxCopies bounds each map; beyond it copies are dropped at random.
const maxCopies = 20_000

// Box hashes client credentials and opens node credentials.
type Box interface {
	Hash(credential string) string
	Open(owner string, v core.Sealed) (core.Secret, error)
}

// Generations tells an account's generation.
type Generations interface {
	Generation(ctx context.Context, account string) (int64, error)
}

// Options configures a Directory.
type Options struct {
	Tables        *store.Tables
	Generations   Generations
	Box           Box
	AdminKey      core.Secret // ADMIN_API_KEY, empty when unset or a published default
	Published     []string    // credentials that the guides print
	AllowDefaults bool
	Now           func() time.Time
	Log           *slog.Logger
}

// Key is a key with the version it was read at.
type Key struct {
	core.Key
	Version int64
}

// Node is a node with its credential in the clear.
type Node struct {
	core.Node
	Version    int64 // of its document
	Credential core.Secret
}

// Snapshot is an account with its nodes, ordered by weight, then age. It is shared: read only.
type Snapshot struct {
	core.Account
	Version    int64
	Generation int64
	Nodes      []Node
}

// Directory is the cache. It is safe for concurrent use.
type Directory struct {
	o         Options
	adminHash string
	flight    singleflight.Group
	mu        sync.RWMutex
	keys      map[string]*Key // by hash
	accounts  map[string]*Snapshot
}

// New makes an empty directory.
func New(o Options) *Directory {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Directory{o: o, keys: make(map[string]*Key), accounts: make(map[string]*Snapshot)}
	if !o.AdminKey.IsZero() {
		d.adminHash = o.Box.Hash(o.AdminKey.Reveal())
	}
	return d
}

// Principal is who a credential belongs to.
type Principal struct {
	Key      *Key // nil for the operator's ADMIN_API_KEY
	Operator bool // ADMIN_API_KEY itself
}

// Admin reports whether the principal administers all accounts. account is the key's own.
func (p Principal) Admin(account *Snapshot) bool {
	return p.Operator || p.Key.Has(core.ScopeAdmin) || (account != nil && account.Admin && p.Key.Has(core.ScopeNodes))
}

// Origin is where a request comes from.
type Origin struct {
	Addr   netip.Addr // of the client; invalid when unknown
	Direct bool       // it may use published defaults
}

// Authenticate finds the owner of a credential. Errors are *core.Error: unauthenticated for an unknown, revoked, replaced or
// expired key, forbidden for one that may not be used from there, and for a published default used from afar.
func (d *Directory) Authenticate(ctx context.Context, credential string, from Origin) (Principal, error) {
	h := d.o.Box.Hash(credential)
	if d.adminHash != "" && subtle.ConstantTimeCompare([]byte(h), []byte(d.adminHash)) == 1 {
		return Principal{Operator: true}, nil
	}
	k, err := d.byHash(ctx, h)
	if err == nil {
		now := d.o.Now()
		usable, _ := k.Usable(now)
		current, _ := k.Current(h, now)
		if !usable || !current || !k.AllowsFrom(from.Addr) {
			d.Forget(k) // no admission will tell that a copy which refuses is stale: an edit may have revived the key
			k, err = d.byHash(ctx, h)
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, core.E(core.CodeUnauthenticated, unknownKey)
	}
	if err != nil {
		return Principal{}, storeAway(err)
	}
	if ok, why := k.Usable(d.o.Now()); !ok {
		return Principal{}, core.E(core.CodeUnauthenticated, why)
	}
	if ok, why := k.Current(h, d.o.Now()); !ok {
		return Principal{}, core.E(core.CodeUnauthenticated, why)
	}
	if !k.AllowsFrom(from.Addr) {
		return Principal{}, core.E(core.CodeForbidden, "This API key may not be used from the address "+from.Addr.String()+
			". Ask the operator of the gateway to add it to the key's networks, or to set TRUSTED_PROXIES when a proxy stands between.")
	}
	if !from.Direct && !d.o.AllowDefaults {
		if variable := d.published(credential); variable != "" {
			return Principal{}, core.E(core.CodeForbidden, fmt.Sprintf("This is the published default key, which works from the gateway's own machine only. "+
				"Set %s and restart, or make a key of your own with: %s (inside the container, where there is one)", variable, ownKey[variable]))
		}
	}
	return Principal{Key: k}, nil
}

// ownKey is the command that makes a key in place of the published one of a variable.
var ownKey = map[string]string{"ADMIN_API_KEY": "sluice key create --admin", "DEFAULT_PROXY_API_KEY": "sluice key create"}

const unknownKey = "Unknown API key. Check the key, or ask the operator of the gateway for one."

// published returns the variable that replaces a published default, "" for any other credential.
func (d *Directory) published(credential string) string {
	for _, p := range d.o.Published {
		if subtle.ConstantTimeCompare([]byte(p), []byte(credential)) == 1 {
			if p == "default-proxy-key" {
				return "DEFAULT_PROXY_API_KEY"
			}
			return "ADMIN_API_KEY"
		}
	}
	return ""
}

func (d *Directory) byHash(ctx context.Context, h string) (*Key, error) {
	d.mu.RLock()
	k := d.keys[h]
	d.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	v, err, _ := d.flight.Do("k"+h, func() (any, error) {
		r, err := d.o.Tables.Keys.Find(context.WithoutCancel(ctx), h)
		if err != nil {
			return nil, err
		}
		k := &Key{Key: r.Value, Version: r.Version}
		d.mu.Lock()
		defer d.mu.Unlock()
		trim(d.keys)
		d.keys[h] = k
		return k, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Key), nil
}

// Forget drops the copies of a key and its account, after the store called one of them stale.
func (d *Directory) Forget(k *Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range k.Hashes {
		delete(d.keys, h)
	}
	delete(d.accounts, k.Account)
}

// Newest asks Account for a copy that is read anew.
const Newest = -1

// Account returns the account's snapshot. generation, when not 0, is what the store says it is now: an older copy is
// read again. store.ErrNotFound when there is no such account.
func (d *Directory) Account(ctx context.Context, id string, generation int64) (*Snapshot, error) {
	d.mu.RLock()
	s := d.accounts[id]
	d.mu.RUnlock()
	if s != nil && (generation == 0 || s.Generation == generation) {
		return s, nil
	}
	v, err, _ := d.flight.Do("a"+id, func() (any, error) { return d.load(context.WithoutCancel(ctx), id) })
	if err != nil {
		return nil, err
	}
	return v.(*Snapshot), nil
}

func (d *Directory) load(ctx context.Context, id string) (*Snapshot, error) {
	// the generation first: what changes while we read makes the copy older than the store says, and it is read again
	gen, err := d.o.Generations.Generation(ctx, id)
	if err != nil {
		return nil, err
	}
	a, err := d.o.Tables.Accounts.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	rows, err := d.o.Tables.Nodes.All(ctx, id)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Account: a.Value, Version: a.Version, Generation: gen}
	nodes, versions := make([]core.Node, len(rows)), make(map[string]int64, len(rows))
	for i := range rows {
		nodes[i] = rows[i].Value
		versions[nodes[i].ID] = rows[i].Version
	}
	store.SortNodes(nodes)
	for _, n := range nodes {
		cred, err := d.o.Box.Open(CredentialOwner(n.ID), n.Credential)
		if err != nil {
			// one damaged credential must not take the account's other nodes away
			d.o.Log.Error("credential of a node cannot be opened; the node is left out", "account", id, "node", n.ID, "error", err)
			n.Disabled = true
		}
		s.Nodes = append(s.Nodes, Node{Node: n, Version: versions[n.ID], Credential: cred})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	trim(d.accounts)
	d.accounts[id] = s
	return s, nil
}

// CredentialOwner is the owner under which a node's credential is sealed.
func CredentialOwner(node string) string { return "node/" + node }

func trim[V any](m map[string]V) {
	if len(m) < maxCopies {
		return
	}
	n := 0
	for k := range m {
		delete(m, k)
		if n++; n >= maxCopies/10 {
			return
		}
	}
}

func storeAway(err error) error {
	return &core.Error{Code: core.CodeUnavailable, RetryAfter: 5 * time.Second, Cause: err,
		Message: "The gateway cannot reach its store. Send the request again in a few seconds."}
}
