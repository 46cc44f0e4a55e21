package directory_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/seal"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// rig is a directory over a store whose reads are counted and can be made to fail.
type rig struct {
	t      *testing.T
	docs   *counting
	tables *store.Tables
	box    *seal.Box
	dir    *directory.Directory
	now    time.Time
}

type counting struct {
	*memory.Store
	mu    sync.Mutex
	finds int
	lists int
	err   error
}

func (c *counting) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finds++
	if c.err != nil {
		return store.Doc{}, c.err
	}
	return c.Store.Find(ctx, kind, unique)
}

func (c *counting) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	c.mu.Lock()
	c.lists++
	c.mu.Unlock()
	return c.Store.List(ctx, kind, account, after, limit)
}

func newRig(t *testing.T, edits ...func(*directory.Options)) *rig {
	t.Helper()
	r := &rig{t: t, docs: &counting{Store: memory.New()}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return r.now }
	r.tables = store.NewTables(r.docs, clock)
	r.box = sealtest.Box(t)
	o := directory.Options{Tables: r.tables, Generations: r.docs, Box: r.box, AdminKey: core.NewSecret("operator-key"),
		Published: []string{"admin", "default-proxy-key"}, Now: clock}
	for _, e := range edits {
		e(&o)
	}
	r.dir = directory.New(o)
	r.must(r.tables.Accounts.Create(t.Context(), core.Account{ID: "acct", Name: "acct"}))
	return r
}

func (r *rig) must(_ any, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) key(id, credential string, edits ...func(*core.Key)) {
	r.t.Helper()
	k := core.Key{ID: id, Account: "acct", Hashes: []string{r.box.Hash(credential)}, Scopes: []core.Scope{core.ScopeInference}}
	for _, e := range edits {
		e(&k)
	}
	r.must(r.tables.Keys.Create(r.t.Context(), k))
}

func (r *rig) node(id string, weight int, age time.Duration) {
	r.t.Helper()
	r.must(r.tables.Nodes.Create(r.t.Context(), core.Node{ID: id, Account: "acct", Weight: weight, CreatedAt: r.now.Add(-age),
		Credential: r.box.Seal(directory.CredentialOwner(id), core.NewSecret("secret-"+id))}))
}

func (r *rig) wants(reason, credential string, direct bool, code core.Code, says string) {
	r.t.Helper()
	_, err := r.dir.Authenticate(r.t.Context(), credential, directory.Origin{Direct: direct})
	var e *core.Error
	if code == "" {
		if err != nil {
			r.t.Errorf("%s: %v", reason, err)
		}
		return
	}
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, says) {
		r.t.Errorf("%s: got %v, want %s %q", reason, err, code, says)
	}
}

func TestAuthenticate(t *testing.T) {
	r := newRig(t)
	r.key("2", "good-key")
	r.key("3", "revoked-key", func(k *core.Key) { k.Revoked = true })
	r.key("4", "brief-key", func(k *core.Key) { k.ExpiresAt = r.now.Add(time.Hour) })
	r.key("1", "admin", func(k *core.Key) { k.Default = true })
	r.key("5", "default-proxy-key")
	r.wants("known", "good-key", false, "", "")
	r.wants("unknown", "bad-key", true, core.CodeUnauthenticated, "Unknown API key")
	r.wants("revoked", "revoked-key", true, core.CodeUnauthenticated, "revoked")
	r.wants("not yet expired", "brief-key", false, "", "")
	r.now = r.now.Add(time.Hour)
	r.wants("expired", "brief-key", false, core.CodeUnauthenticated, "expired on 2026-01-01T01:00:00Z")
	r.wants("published, from here", "admin", true, "", "")
	r.wants("published, from afar", "admin", false, core.CodeForbidden, "Set ADMIN_API_KEY")
	r.wants("published proxy key, from afar", "default-proxy-key", false, core.CodeForbidden, "Set DEFAULT_PROXY_API_KEY")
	p, err := r.dir.Authenticate(t.Context(), "operator-key", directory.Origin{})
	if err != nil || !p.Operator || p.Key != nil || !p.Admin(nil) {
		t.Errorf("the operator's own key: %+v, %v", p, err)
	}
	r.docs.err = errors.New("away: 10.0.0.1 refused")
	r.wants("known already", "good-key", false, "", "")
	r.wants("store away", "another", false, core.CodeUnavailable, "cannot reach its store")
}

func TestAuthenticate_AllowedDefaults(t *testing.T) {
	r := newRig(t, func(o *directory.Options) { o.AllowDefaults = true })
	r.key("1", "admin")
	r.wants("published, from afar, allowed", "admin", false, "", "")
}

func TestAuthenticate_CopiesThatRefuseAreReadAgain(t *testing.T) {
	r := newRig(t)
	r.key("2", "some-key")
	edit := func(f func(*core.Key)) {
		t.Helper()
		r.must(r.tables.Keys.Update(t.Context(), "2", func(k *core.Key) error { f(k); return nil }))
	}
	r.wants("known", "some-key", false, "", "")
	for range 10 {
		r.wants("known", "some-key", false, "", "")
	}
	if r.docs.finds != 1 {
		t.Errorf("%d looks at the store for one key", r.docs.finds)
	}
	edit(func(k *core.Key) { k.Revoked = true })
	k := mustKey(t, r, "some-key")
	r.dir.Forget(k) // as after a stale admission
	r.wants("revoked", "some-key", false, core.CodeUnauthenticated, "revoked")
	edit(func(k *core.Key) { k.Revoked = false })
	r.wants("revived", "some-key", false, "", "")
	edit(func(k *core.Key) { k.ExpiresAt = r.now.Add(time.Minute) })
	r.dir.Forget(mustKey(t, r, "some-key"))
	r.wants("still good", "some-key", false, "", "")
	r.now = r.now.Add(time.Hour)
	r.wants("expired", "some-key", false, core.CodeUnauthenticated, "expired")
	edit(func(k *core.Key) { k.ExpiresAt = time.Time{} })
	r.wants("extended", "some-key", false, "", "")
	r.must(nil, r.tables.Keys.Delete(t.Context(), "2"))
	r.dir.Forget(mustKey(t, r, "some-key"))
	r.wants("deleted", "some-key", false, core.CodeUnauthenticated, "Unknown")
}

func mustKey(t *testing.T, r *rig, credential string) *directory.Key {
	t.Helper()
	p, err := r.dir.Authenticate(t.Context(), credential, directory.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Key
}

func TestAccount_IsReadAgainWhenItsGenerationMoved(t *testing.T) {
	r := newRig(t)
	r.node("10", 2, time.Hour)
	r.node("9", 1, time.Hour)
	r.node("2", 1, 2*time.Hour)
	s, err := r.dir.Account(t.Context(), "acct", 0)
	if err != nil || len(s.Nodes) != 3 || s.Nodes[0].ID != "2" || s.Nodes[1].ID != "9" || s.Nodes[2].ID != "10" {
		t.Fatalf("got %+v, %v", s, err)
	}
	if s.Nodes[1].Credential.Reveal() != "secret-9" || strings.Contains(s.Nodes[1].Credential.String(), "secret-9") {
		t.Error("the credential is not open, or open to print")
	}
	lists := r.docs.lists
	if again, _ := r.dir.Account(t.Context(), "acct", s.Generation); again != s || r.docs.lists != lists {
		t.Error("an unchanged account was read again")
	}
	r.node("11", 0, 0)
	gen, err := r.docs.Generation(t.Context(), "acct")
	if err != nil || gen == s.Generation {
		t.Fatalf("generation %d, %v", gen, err)
	}
	if s, err = r.dir.Account(t.Context(), "acct", gen); err != nil || len(s.Nodes) != 4 || s.Nodes[0].ID != "11" {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := r.dir.Account(t.Context(), "nobody", 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestAccount_ClientThatLeavesDoesNotSpoilItForOthers(t *testing.T) {
	r := newRig(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := r.dir.Account(gone, "acct", 0); err != nil || s == nil {
		t.Errorf("got %v", err)
	}
}

func TestPrincipal_Admin(t *testing.T) {
	for _, c := range []struct {
		reason string
		scopes []core.Scope
		admin  bool // the account
		want   bool
	}{
		{"a key for models", []core.Scope{core.ScopeInference}, false, false},
		{"a key for nodes", []core.Scope{core.ScopeNodes}, false, false},
		{"a key for nodes of the admin account", []core.Scope{core.ScopeNodes}, true, true},
		{"a key for models of the admin account", []core.Scope{core.ScopeInference}, true, false},
		{"an admin key", []core.Scope{core.ScopeAdmin}, false, true},
	} {
		p := directory.Principal{Key: &directory.Key{Key: core.Key{Scopes: c.scopes}}}
		if got := p.Admin(&directory.Snapshot{Account: core.Account{Admin: c.admin}}); got != c.want {
			t.Errorf("%s: got %v", c.reason, got)
		}
	}
}
