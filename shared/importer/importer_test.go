package importer_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/importer"
	"sluice/shared/store"
)

const alpha, beta, boss = "acc-1700000000000000001", "acc-1700000000000000002", "admin-1700000000000000000"

// TestAccounts: accounts with their keys, passwords and settings; what would be a hole here is not taken.
func TestAccounts(t *testing.T) {
	src, fingerprint := old(t, schema+rows)
	g := newTarget(t)
	before := fingerprint()
	r := g.run(src)
	if fingerprint() != before {
		t.Error("the old tables were changed")
	}
	if r.Accounts != 3 || r.Keys != 2 || r.Passwords != 1 {
		t.Errorf("%d accounts, %d keys, %d passwords, want 3, 2, 1", r.Accounts, r.Keys, r.Passwords)
	}
	a := g.account(alpha)
	if a.Name != "team-alpha" || a.Admin || a.Retries != 5 || a.FailLimit != 0 || a.HealthSec != 60 || a.CreatedAt.Year() != 2025 || a.CreatedAt.Month() != 11 {
		t.Errorf("account %+v", a)
	}
	if bcrypt.CompareHashAndPassword([]byte(a.PasswordHash), []byte("alpha-secret")) != nil {
		t.Error("the password does not open the account any more")
	}
	if b := g.account(beta); !b.Admin || b.PasswordHash != "" || b.Retries != 0 || b.HealthSec != 0 {
		t.Errorf("account with settings out of bounds and a short password: %+v", b)
	}
	if b := g.account(boss); !b.Admin || b.PasswordHash != "" || b.ProxyKey != "" {
		t.Errorf("the old admin with its published password and the operator's key: %+v", b)
	}
	k, err := g.tables.Keys.Find(t.Context(), g.box.Hash(alphaKey))
	if err != nil || k.Value.Account != alpha || k.Value.ID != a.ProxyKey || !k.Value.Has(core.ScopeInference) || !k.Value.Has(core.ScopeNodes) || k.Value.Prefix != "alph" {
		t.Errorf("key %+v, %v", k.Value, err)
	}
	k, err = g.tables.Keys.Find(t.Context(), g.box.Hash(betaKey))
	if err != nil || k.Value.Has(core.ScopeNodes) || !k.Value.Has(core.ScopeInference) {
		t.Errorf("the key of an account that administers may do more than before: %+v, %v", k.Value, err)
	}
	g.says(r, "password of account "+boss+": it is one that the old system published", "password of account "+beta+": it must have 6 to 72",
		"key of account "+boss+": it is ADMIN_API_KEY", "account acc 3/../x: its id cannot be used", "key of account "+beta+" has fewer than 16",
		"table settings: ", "table tunnel_config: ", "active node of account "+alpha)
}

// TestNodes: weights, sealed credentials and state.
func TestNodes(t *testing.T) {
	src, _ := old(t, schema+rows)
	g := newTarget(t)
	r := g.run(src)
	if r.Nodes != 4 {
		t.Errorf("%d nodes, want 4", r.Nodes)
	}
	one := g.nodes(alpha)["alpha-1"]
	if one.BaseURL != "https://api.anthropic.com" || one.Weight != 2 || one.Kind != core.KindAnthropic || one.Operator || one.HealthMethod != "api" || one.Disabled {
		t.Errorf("node %+v", one)
	}
	if strings.Contains(string(one.Credential), nodeKey) {
		t.Error("the credential is not sealed")
	}
	if c, err := g.box.Open(directory.CredentialOwner(one.ID), one.Credential); err != nil || c.Reveal() != nodeKey {
		t.Errorf("the credential does not open: %v", err)
	}
	two := g.nodes(alpha)["alpha-2"]
	s, err := g.tables.States.Get(t.Context(), two.ID)
	if err != nil || !s.Value.Failed || s.Value.FailStreak != 4 || s.Value.Account != alpha || s.Value.FailedAt != time.Date(2025, 11, 5, 10, 0, 0, 0, time.UTC) {
		t.Errorf("state %+v, %v", s.Value, err)
	}
	if e := s.Value.LastError; strings.Contains(e, secondKey) || strings.Contains(e, "\n") || !strings.Contains(e, "status 401") {
		t.Errorf("last error %q", e)
	}
	if two.HealthMethod != "api" {
		t.Errorf("health method %q", two.HealthMethod)
	}
	three := g.nodes(beta)["10.1.2.3:8080"]
	if !three.Disabled || three.Weight != 1 || three.Credential != "" || three.HealthMethod != "head" {
		t.Errorf("node %+v", three)
	}
	g.says(r, "node n-4 (no url): its base_url", "node n-5 (orphan): its account acc-gone was not taken", "10.1.2.3:8080) has a private address", "has no credential")
	if h := g.nodes(core.DefaultAccount)["historic"]; h.Account != core.DefaultAccount {
		t.Errorf("the historic node is not under the account default: %+v", h)
	}
}

// TestUsage: a record for each row of the log, and the life's totals.
func TestUsage(t *testing.T) {
	src, _ := old(t, schema+rows)
	g := newTarget(t)
	r := g.run(src)
	if r.Usage != 4 || r.Totals != (importer.Totals{Requests: 100, Failed: 7, Input: 5000, Output: 900, Bytes: 12345}) || r.Prices != 1 {
		t.Errorf("%d records, totals %+v, %d prices", r.Usage, r.Totals, r.Prices)
	}
	g.says(r, "1 usage records: their account was not taken", "price of mine")
	recs, _, err := g.s.Records(t.Context(), store.UsageFilter{Account: alpha}, "", 10)
	if err != nil || len(recs) != 3 {
		t.Fatalf("%d records, %v", len(recs), err)
	}
	slices.Reverse(recs)
	if x := recs[0]; !x.Success() || x.Tokens != (core.Tokens{Input: 1000, Output: 200}) || x.CostUSD != 6000 || x.Unpriced || x.Estimated || x.NodeName != "alpha-1" ||
		x.Node != g.nodes(alpha)["alpha-1"].ID || x.Key != g.account(alpha).ProxyKey || x.UpstreamID != "req_1" {
		t.Errorf("record %+v", x)
	}
	if x := recs[1]; !x.Unpriced || !x.Estimated || x.CostUSD != 0 {
		t.Errorf("record of an unknown model in a stream: %+v", x)
	}
	if x := recs[2]; x.Success() {
		t.Errorf("failed record %+v", x)
	}
	if recs, _, err := g.s.Records(t.Context(), store.UsageFilter{Account: beta}, "", 10); err != nil || len(recs) != 1 || recs[0].Node != "" {
		t.Errorf("a record names another account's node: %+v, %v", recs, err)
	}
	var totals importer.Totals
	if err := g.tables.ReadMeta(t.Context(), importer.MetaQccPlus+"/totals", &totals); err != nil || totals != r.Totals {
		t.Errorf("totals kept: %+v, %v", totals, err)
	}
}

// TestAgain: a second run takes nothing twice and undoes no edit.
func TestAgain(t *testing.T) {
	src, _ := old(t, schema+rows)
	g := newTarget(t)
	g.run(src)
	ctx := t.Context()
	one := g.nodes(alpha)["alpha-1"]
	if _, err := g.tables.Nodes.Update(ctx, one.ID, func(n *core.Node) error { n.Weight = 77; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := g.tables.Nodes.Delete(ctx, g.nodes(alpha)["alpha-2"].ID); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{g.tables.Keys.Delete(ctx, g.account(beta).ProxyKey), g.tables.Accounts.Delete(ctx, boss)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := g.run(src)
	if r.Accounts+r.Keys+r.Nodes+r.Passwords != 0 || r.Before != 5 {
		t.Errorf("the second run: %+v", r)
	}
	if n := g.nodes(alpha); len(n) != 1 || n["alpha-1"].Weight != 77 || n["alpha-1"].ID != one.ID {
		t.Errorf("nodes %+v", n)
	}
	if _, err := g.tables.Accounts.Get(ctx, boss); !store.Missing(err) {
		t.Error("a deleted account came back")
	}
	if _, err := g.tables.Keys.Find(ctx, g.box.Hash(betaKey)); !store.Missing(err) {
		t.Error("a deleted key came back")
	}
	if recs, _, err := g.s.Records(ctx, store.UsageFilter{}, "", 100); err != nil || len(recs) != 4 {
		t.Errorf("%d records, %v, want 4", len(recs), err)
	}
	g.says(r, "node n-2 (alpha-2): it was taken before and deleted here since")
}

// TestSingleTenant is Guide A's FAQ 1: the historic nodes land under the account default, which may be there or not.
func TestSingleTenant(t *testing.T) {
	for _, there := range []bool{false, true} {
		src, _ := old(t, single)
		g := newTarget(t)
		if there {
			if _, err := g.tables.Accounts.Create(t.Context(), core.Account{ID: core.DefaultAccount, Name: "mine"}); err != nil {
				t.Fatal(err)
			}
		}
		r := g.run(src)
		ns := g.nodes(core.DefaultAccount)
		if r.Nodes != 2 || len(ns) != 2 || ns["second"].Weight != 5 || ns["default"].Account != core.DefaultAccount {
			t.Errorf("there=%v: %+v, nodes %+v", there, r, ns)
		}
		if a := g.account(core.DefaultAccount); there && a.Name != "mine" || !there && (a.Name != "default" || a.Retries != 7) {
			t.Errorf("there=%v: account %+v", there, a)
		}
	}
}

// TestDefaultAccountsKey: an old key of the account default takes the place of the published one.
func TestDefaultAccountsKey(t *testing.T) {
	src, _ := old(t, schema+`INSERT INTO accounts VALUES ('default', 'default', 'default123', '`+alphaKey+`', 0, NULL, NULL);`)
	g := newTarget(t)
	ctx := t.Context()
	published := core.Key{ID: "2", Account: core.DefaultAccount, Hashes: []string{g.box.Hash("default-proxy-key")}, Default: true, Scopes: []core.Scope{core.ScopeInference}}
	if _, err := g.tables.Keys.Create(ctx, published); err != nil {
		t.Fatal(err)
	}
	if _, err := g.tables.Accounts.Create(ctx, core.Account{ID: core.DefaultAccount, Name: "default", ProxyKey: "2"}); err != nil {
		t.Fatal(err)
	}
	g.run(src)
	k, err := g.tables.Keys.Find(ctx, g.box.Hash(alphaKey))
	if err != nil || k.Value.ID != "2" || k.Value.Default {
		t.Errorf("key %+v, %v", k.Value, err)
	}
	if _, err := g.tables.Keys.Find(ctx, g.box.Hash("default-proxy-key")); !store.Missing(err) {
		t.Errorf("the published key still works: %v", err)
	}
}

// TestKeysAndNamesTaken: what another account of this gateway has is not given away.
func TestKeysAndNamesTaken(t *testing.T) {
	src, _ := old(t, schema+rows)
	g := newTarget(t)
	ctx := t.Context()
	if _, err := g.tables.Accounts.Create(ctx, core.Account{ID: "acc-mine", Name: "team-alpha"}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.tables.Keys.Create(ctx, core.Key{ID: "9", Account: "acc-mine", Hashes: []string{g.box.Hash(alphaKey)}}); err != nil {
		t.Fatal(err)
	}
	r := g.run(src)
	if a := g.account(alpha); a.Name != alpha || a.ProxyKey != "" {
		t.Errorf("account %+v", a)
	}
	g.says(r, "another account of this gateway has the same key", `another account is named "team-alpha"`)
}

// dying fails at a given write of documents.
type dying struct {
	store.Store
	left int
}

var errDied = errors.New("died")

func (d *dying) Create(ctx context.Context, doc store.Doc) (int64, error) {
	if d.left--; d.left < 0 {
		return 0, errDied
	}
	return d.Store.Create(ctx, doc)
}

func (d *dying) Replace(ctx context.Context, doc store.Doc) (int64, error) {
	if d.left--; d.left < 0 {
		return 0, errDied
	}
	return d.Store.Replace(ctx, doc)
}

// TestDiesAnywhere: wherever an import ends, the next one makes the same whole of it.
func TestDiesAnywhere(t *testing.T) {
	src, _ := old(t, strings.ReplaceAll(schema+rows, "'alpha-secret'", "NULL")) // bcrypt would take most of the time
	for after := 0; ; after++ {
		g := newTarget(t)
		g.tables = store.NewTables(&dying{g.s, after}, clock)
		_, err := importer.QccPlus(t.Context(), src, g.options())
		g.tables = store.NewTables(g.s, clock)
		g.run(src)
		if n := g.nodes(""); len(n) != 4 {
			t.Fatalf("died after %d writes: nodes %v", after, n)
		}
		keys, kerr := g.tables.Keys.All(t.Context(), "")
		if kerr != nil || len(keys) != 2 || g.account(alpha).ProxyKey == "" || g.account(beta).ProxyKey == "" {
			t.Fatalf("died after %d writes: %d keys, %v", after, len(keys), kerr)
		}
		if _, serr := g.tables.States.Get(t.Context(), g.nodes(alpha)["alpha-2"].ID); serr != nil {
			t.Fatalf("died after %d writes: %v", after, serr)
		}
		if err == nil {
			if after < 20 {
				t.Errorf("an import has only %d writes", after)
			}
			return
		}
	}
}

// TestTooMuchForAStart: a start takes all but the usage; the command then adds it.
func TestTooMuchForAStart(t *testing.T) {
	src, _ := old(t, schema+rows)
	g := newTarget(t)
	g.max = 4 // of 5
	r := g.run(src)
	if r.Usage != 0 || r.Nodes != 4 {
		t.Errorf("%+v", r)
	}
	g.says(r, "sluice import qcc-plus")
	g.max = 5
	if r := g.run(src); r.Usage != 4 {
		t.Errorf("%d records, want 4", r.Usage)
	}
}

// TestOtherDatabases: what is not the older system's is refused.
func TestOtherDatabases(t *testing.T) {
	for _, c := range []struct{ why, statements string }{
		{"an empty database", "CREATE TABLE x (y); DROP TABLE x;"},
		{"tables of the same names with other columns", "CREATE TABLE nodes (id, parent); CREATE TABLE config (name, value);"},
		{"nodes of something else", "CREATE TABLE nodes (id, base_url, api_key);"},
	} {
		src, _ := old(t, c.statements)
		g := newTarget(t)
		if _, err := importer.QccPlus(t.Context(), src, g.options()); !errors.Is(err, importer.ErrUnknown) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// TestRow: what drivers and old programs put into columns.
func TestRow(t *testing.T) {
	at := time.Date(2025, 11, 2, 8, 0, 0, 0, time.UTC)
	cols := []string{"v"}
	for _, c := range []struct {
		why  string
		v    any
		want time.Time
	}{
		{"parseTime=true", at, at}, {"parseTime unset", []byte("2025-11-02 08:00:00"), at}, {"Go's own text", "2025-11-02 08:00:00 +0000 UTC m=+0.1", at},
		{"another zone", "2025-11-02 16:00:00+08:00", at}, {"RFC 3339", "2025-11-02T08:00:00Z", at}, {"seconds", at.Unix(), at}, {"milliseconds", at.UnixMilli(), at},
		{"NULL", nil, time.Time{}}, {"MySQL's zero date", []byte("0000-00-00 00:00:00"), time.Time{}}, {"nonsense", "soon", time.Time{}},
	} {
		if got := importer.NewRow(cols, []any{c.v}).Time("v"); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
	for v, want := range map[any]bool{"1": true, "true": true, int64(1): true, true: true, "\x01": false, "0": false, int64(0): false, "": false} {
		if got := importer.NewRow(cols, []any{v}).Bool("v"); got != want {
			t.Errorf("Bool of %#v is %v", v, got)
		}
	}
	if !importer.NewRow(cols, []any{[]byte{1}}).Bool("v") || importer.NewRow(cols, []any{[]byte{0}}).Bool("v") {
		t.Error("BIT(1) is not read")
	}
	for _, v := range []any{math.NaN(), math.Inf(1), "1e400", "x"} {
		r := importer.NewRow(cols, []any{v})
		if r.Float("v") != 0 || r.Int("v") != 0 {
			t.Errorf("%v is read as %v, %d", v, r.Float("v"), r.Int("v"))
		}
	}
	if r := importer.NewRow([]string{"V"}, []any{[]byte(" 12 ")}); r.Int("v") != 12 || r.Text("v") != "12" || r.Has("w") || r.Text("w") != "" {
		t.Error("a column is not read")
	}
}
