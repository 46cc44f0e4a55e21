package importer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/importer"
	"sluice/shared/store"
)

const (
	publishedKey = "amq-admin-default-key-change-immediately"
	poolAdminKey = "amq-an-admin-key-of-the-operators-own-0001"
	poolKey      = "amq-a-key-of-a-client-0002"
	poolDeadKey  = "amq-a-revoked-key-0003"
	poolLateKey  = "amq-an-expired-key-0004"
	poolShutKey  = "amq-a-key-with-limit-0-0005"
)

// poolSchema is the older pool's, without what an import does not look at.
const poolSchema = `
CREATE TABLE accounts (id INTEGER PRIMARY KEY, name VARCHAR(100) UNIQUE, refresh_token TEXT, client_id VARCHAR(255), client_secret TEXT, profile_arn VARCHAR(255), is_active BOOLEAN, is_healthy BOOLEAN,
 error_count INTEGER, total_requests INTEGER, total_tokens INTEGER, requests_per_minute INTEGER, created_at DATETIME, notes TEXT);
CREATE TABLE api_keys (id INTEGER PRIMARY KEY, key VARCHAR(255) UNIQUE, name VARCHAR(100), description TEXT, is_active BOOLEAN, is_admin BOOLEAN, total_requests INTEGER,
 requests_per_minute INTEGER, requests_per_day INTEGER, created_at DATETIME, expires_at DATETIME);
CREATE TABLE usage_logs (id INTEGER PRIMARY KEY, api_key_id INTEGER, account_id INTEGER, model VARCHAR(100), endpoint VARCHAR(100), method VARCHAR(10), input_tokens INTEGER, output_tokens INTEGER,
 status_code INTEGER, response_time FLOAT, error_message TEXT, timestamp DATETIME, ip_address VARCHAR(50), user_agent VARCHAR(500));
CREATE TABLE admin_users (id INTEGER PRIMARY KEY, username TEXT, password_hash TEXT);
CREATE TABLE admin_sessions (id INTEGER PRIMARY KEY);
`

const poolRows = `
INSERT INTO accounts VALUES (1, 'main', '` + refresh1 + `', '` + client1 + `', '` + secret1 + `', '` + arn1 + `', 1, 1, 0, 100, 5000, 25, '2025-10-01 08:00:00.123456', 'bought in 2025'),
 (2, 'spare', '` + refresh2 + `', '` + client1 + `', '` + secret1 + `', 'eu-west-1', 0, 0, 9, 11, 70, NULL, NULL, NULL),
 (3, 'copy of main', '` + refresh1 + `', '` + client1 + `', '` + secret1 + `', NULL, 1, 1, 0, 0, 0, 10, NULL, NULL),
 (4, 'half', 'aorAAAAA-half', '', '` + secret1 + `', NULL, 1, 1, 0, 0, 0, 10, NULL, NULL);
INSERT INTO api_keys VALUES (1, '` + publishedKey + `', 'default', NULL, 1, 1, 9, 1000, 100000, '2025-10-01 08:00:00', NULL),
 (2, '` + poolAdminKey + `', 'boss', 'mine', 1, 1, 3, 100, 10000, '2025-10-02 08:00:00', NULL),
 (4, '` + poolKey + `', 'client', NULL, 1, 0, 50, 60, 10000, '2025-10-03 08:00:00', '2027-01-01 00:00:00'),
 (5, '` + poolDeadKey + `', 'dead', NULL, 0, 0, 0, NULL, NULL, NULL, NULL),
 (6, '` + poolLateKey + `', 'late', NULL, 1, 0, 0, 60, 10000, NULL, 'some day'),
 (7, '` + poolShutKey + `', 'shut', NULL, 1, 0, 0, 0, 10000, NULL, NULL),
 (9, '` + adminKey + `', 'env', NULL, 1, 1, 0, 60, 10000, NULL, NULL);
INSERT INTO usage_logs VALUES (1, 4, 1, 'claude-sonnet-4', '/v1/messages', 'POST', 0, 0, 200, 1.5, NULL, '2025-10-04 10:00:00.5', '203.0.113.7', 'curl'),
 (2, 4, 2, 'gpt-4o', '/v1/chat/completions', 'POST', 12, 34, 200, 2, NULL, '2025-10-04 10:01:00', 'nonsense', 'curl'),
 (3, 1, 77, 'claude-sonnet-4', '/v1/messages', 'POST', 0, 0, NULL, NULL, NULL, '2025-10-04 10:02:00', NULL, NULL),
 (4, 4, 1, 'm', '/v1/messages', 'POST', 0, 0, 200, 1, NULL, NULL, NULL, NULL);
INSERT INTO admin_users VALUES (1, 'admin', 'x');
`

func (g *target) poolOptions() importer.Options {
	o := g.options()
	own := o.Reserved
	o.Reserved = func(cred string) string {
		if cred == publishedKey {
			return "it is one that the guides publish"
		}
		return own(cred)
	}
	return o
}

func (g *target) pool(src importer.Source) *importer.Report {
	g.t.Helper()
	r, err := importer.Amq2API(g.t.Context(), src, g.poolOptions())
	if err != nil {
		g.t.Fatalf("import: %v", err)
	}
	g.keepsSecrets(r)
	return r
}

func (g *target) keepsSecrets(r *importer.Report) {
	g.t.Helper()
	text := strings.Join(r.Lines(), "\n")
	for _, secret := range []string{refresh1, refresh2, secret1, apiKey1, publishedKey, poolAdminKey, poolKey, poolDeadKey, poolLateKey, poolShutKey, adminKey} {
		if strings.Contains(text, secret) {
			g.t.Errorf("the report shows %q:\n%s", secret, text)
		}
	}
}

// TestPoolNodes: the pool's accounts become nodes with their logins.
func TestPoolNodes(t *testing.T) {
	src, fingerprint := old(t, poolSchema+poolRows)
	g := newTarget(t)
	before := fingerprint()
	r := g.pool(src)
	if fingerprint() != before {
		t.Error("the old tables were changed")
	}
	ns := g.nodes(core.DefaultAccount)
	if r.Nodes != 2 || len(ns) != 2 {
		t.Fatalf("%d nodes reported, %d there, want 2", r.Nodes, len(ns))
	}
	one, two := ns["main"], ns["spare"]
	if one.Kind != core.KindAmazonQ || one.Profile != arn1 || one.Limits != (core.Limits{RPM: 25}) || one.Disabled || one.Weight != 1 || one.Notes != "bought in 2025" ||
		one.CreatedAt != time.Date(2025, 10, 1, 8, 0, 0, 123456000, time.UTC) || one.API != "" || one.Operator {
		t.Errorf("node %+v", one)
	}
	if two.Profile != "" || two.Limits.RPM != 10 || !two.Disabled || two.CreatedAt != start {
		t.Errorf("node %+v", two)
	}
	for id, want := range map[string]string{
		one.ID: `{"refresh_token":"` + refresh1 + `","client_id":"` + client1 + `","client_secret":"` + secret1 + `"}`,
		two.ID: `{"refresh_token":"` + refresh2 + `","client_id":"` + client1 + `","client_secret":"` + secret1 + `","region":"eu-west-1"}`,
	} {
		n, err := g.tables.Nodes.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := g.box.Open(directory.CredentialOwner(id), n.Value.Credential); err != nil || c.Reveal() != want {
			t.Errorf("credential of node %s: %v, %v", id, err, c.Reveal())
		}
		if strings.Contains(string(n.Value.Credential), "aorAAAAA") {
			t.Error("the credential is not sealed")
		}
	}
	g.says(r, "account 3 (copy of main): it is the same account as account 1 (main)", "account 4 (half): it has no clientId", "111 requests and 5070 tokens", "table admin_users: ")
}

// TestPoolKeys: keys go on working by their hash, with what they may and where they end.
func TestPoolKeys(t *testing.T) {
	src, _ := old(t, poolSchema+poolRows)
	g := newTarget(t)
	r := g.pool(src)
	if r.Keys != 5 {
		t.Errorf("%d keys, want 5", r.Keys)
	}
	key := func(cred string) core.Key {
		t.Helper()
		k, err := g.tables.Keys.Find(t.Context(), g.box.Hash(cred))
		if err != nil {
			t.Fatalf("key %s: %v", cred, err)
		}
		return k.Value
	}
	if k := key(poolAdminKey); k.ID != "2" || k.Account != core.DefaultAccount || !k.Has(core.ScopeAdmin) || k.Limits != (core.Limits{RPM: 100, RPD: 10_000}) || k.Name != "boss" || k.Description != "mine" || k.Prefix != "amq-" {
		t.Errorf("admin key %+v", k)
	}
	if k := key(poolKey); k.ID != "4" || k.Has(core.ScopeAdmin) || k.Has(core.ScopeNodes) || !k.Has(core.ScopeInference) || k.Limits != (core.Limits{RPM: 60, RPD: 10_000}) ||
		k.ExpiresAt != time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) || k.Revoked {
		t.Errorf("key %+v", k)
	}
	if k := key(poolDeadKey); k.ID != "5" || !k.Revoked || k.Limits != (core.Limits{RPM: 60, RPD: 10_000}) {
		t.Errorf("revoked key %+v", k)
	}
	late := key(poolLateKey)
	if ok, _ := late.Usable(start); ok {
		t.Errorf("a key with an end that cannot be read is %+v", late)
	}
	if k := key(poolShutKey); !k.Revoked || k.Limits.RPM == 0 {
		t.Errorf("a key that was let nothing through is %+v", k)
	}
	for _, cred := range []string{publishedKey, adminKey} {
		if k, err := g.tables.Keys.Find(t.Context(), g.box.Hash(cred)); !store.Missing(err) {
			t.Errorf("%s became key %+v, %v", cred, k.Value, err)
		}
	}
	if _, err := g.tables.Keys.Get(t.Context(), "1"); !store.Missing(err) {
		t.Errorf("id 1, the published credential's, is taken: %v", err)
	}
	if id, err := g.tables.NextID(t.Context(), store.KindKey); err != nil || id != "8" {
		t.Errorf("the next key would be %s, %v; want 8, after those taken", id, err)
	}
	g.says(r, "key 1 (default): it is one that the guides publish", "key 9 (env): it is ADMIN_API_KEY", "key 2 (boss) is key 2 here and administers", "key 6 (late) cannot be read",
		"key 7 (shut) had a limit", "have no zone")
}

// TestPoolKeyIDs: an id is kept only where no other key can have had it here.
func TestPoolKeyIDs(t *testing.T) {
	src, _ := old(t, poolSchema+`INSERT INTO api_keys (id, key, is_active) VALUES (1, 'amq-own-key-with-id-1', 1), (3, '`+poolKey+`', 1), (9000, '`+poolDeadKey+`', 1), (9001, '`+poolLateKey+`', 1);`)
	g := newTarget(t)
	ctx := t.Context()
	if _, err := g.tables.NextID(ctx, store.KindKey); err != nil { // 2, of a key that was deleted since
		t.Fatal(err)
	}
	if _, err := g.tables.Keys.Create(ctx, core.Key{ID: "50", Account: "acc-mine", Hashes: []string{g.box.Hash(poolLateKey)}}); err != nil {
		t.Fatal(err)
	}
	r := g.pool(src)
	for cred, want := range map[string]string{"amq-own-key-with-id-1": "3", poolKey: "4", poolDeadKey: "5"} {
		if k, err := g.tables.Keys.Find(ctx, g.box.Hash(cred)); err != nil || k.Value.ID != want {
			t.Errorf("%s is key %s, %v; want %s", cred, k.Value.ID, err, want)
		}
	}
	g.says(r, "key 9001 (): key 50 of this gateway is the same")
}

// TestPoolUsage: the log, with what the old system really knew.
func TestPoolUsage(t *testing.T) {
	src, _ := old(t, poolSchema+poolRows)
	g := newTarget(t)
	r := g.pool(src)
	recs, _, err := g.s.Records(t.Context(), store.UsageFilter{}, "", 10)
	if err != nil || r.Usage != 3 || len(recs) != 3 {
		t.Fatalf("%d records reported, %d there, %v", r.Usage, len(recs), err)
	}
	ns := g.nodes(core.DefaultAccount)
	chat, first, orphan := recs[1], recs[2], recs[0]
	if chat.Tokens != (core.Tokens{Input: 12, Output: 34}) || chat.Endpoint != "/v1/chat/completions" || chat.Dialect != core.DialectOpenAIChat || !chat.Estimated || !chat.Unpriced ||
		chat.Key != "4" || chat.Node != ns["spare"].ID || chat.NodeName != "spare" || chat.TotalMS() != 2000 || chat.ClientAddr != "" || !chat.Success() {
		t.Errorf("record %+v", chat)
	}
	if first.Unpriced || first.Node != ns["main"].ID || first.ClientAddr != "203.0.113.7" || first.Model != "claude-sonnet-4" || first.TotalMS() != 1500 {
		t.Errorf("record %+v", first)
	}
	if orphan.Node != "" || orphan.Key != "" || orphan.Status != 200 || orphan.Account != core.DefaultAccount {
		t.Errorf("record of a key and an account that are gone: %+v", orphan)
	}
	g.says(r, "1 usage records: they have no time")
	g = newTarget(t)
	g.max = 3
	if r := g.pool(src); r.Usage != 0 || r.Nodes != 2 {
		t.Errorf("too much for a start: %+v", r)
	} else {
		g.says(r, "sluice import amq2api")
	}
}

// TestPoolAgain: a second import takes nothing twice and brings nothing back.
func TestPoolAgain(t *testing.T) {
	src, _ := old(t, poolSchema+poolRows)
	g := newTarget(t)
	ctx := t.Context()
	g.pool(src)
	main := g.nodes(core.DefaultAccount)["main"]
	if _, err := g.tables.Nodes.Update(ctx, main.ID, func(n *core.Node) error { n.Notes = "edited"; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := g.tables.Nodes.Delete(ctx, g.nodes(core.DefaultAccount)["spare"].ID); err != nil {
		t.Fatal(err)
	}
	if err := g.tables.Keys.Delete(ctx, "4"); err != nil {
		t.Fatal(err)
	}
	r := g.pool(src)
	if r.Nodes+r.Keys != 0 || r.Before != 5 {
		t.Errorf("the second run: %+v", r)
	}
	if ns := g.nodes(core.DefaultAccount); len(ns) != 1 || ns["main"].Notes != "edited" {
		t.Errorf("nodes %+v", ns)
	}
	if recs, _, err := g.s.Records(ctx, store.UsageFilter{}, "", 100); err != nil || len(recs) != 3 {
		t.Errorf("%d records, %v, want 3", len(recs), err)
	}
	g.says(r, "account 2 (spare): it was taken before and deleted here since", "key 4 (client): it was taken before and deleted here since")
}

// TestPoolOldVersions: a database of an early version, and those of others.
func TestPoolOldVersions(t *testing.T) {
	src, _ := old(t, `CREATE TABLE accounts (id INTEGER, name TEXT, refresh_token TEXT, client_id TEXT, client_secret TEXT);
CREATE TABLE api_keys (id INTEGER, key TEXT);
INSERT INTO accounts VALUES (1, '', '`+refresh1+`', '`+client1+`', '`+secret1+`');
INSERT INTO api_keys VALUES (2, '`+poolKey+`'), (3, NULL), (4, 'with blanks');`)
	g := newTarget(t)
	r := g.pool(src)
	n := g.nodes(core.DefaultAccount)["amazonq-1"]
	k, err := g.tables.Keys.Find(t.Context(), g.box.Hash(poolKey))
	if n.Disabled || n.Limits.RPM != 10 || n.Credential == "" || err != nil || k.Value.Revoked || k.Value.Has(core.ScopeAdmin) || k.Value.Limits != (core.Limits{RPM: 60, RPD: 10_000}) {
		t.Errorf("node %+v, key %+v, %v", n, k.Value, err)
	}
	g.says(r, "key 3 (): it is empty", "key 4 (): it must hold only visible ASCII")
	for _, statements := range []string{"CREATE TABLE x (y);", schema} {
		src, _ := old(t, statements)
		g := newTarget(t)
		if _, err := importer.Amq2API(t.Context(), src, g.options()); !errors.Is(err, importer.ErrUnknownPool) {
			t.Errorf("%.40s: %v", statements, err)
		}
	}
	src, _ = old(t, poolSchema)
	if ok, err := importer.IsQccPlus(t.Context(), src); ok || err != nil {
		t.Errorf("a pool is taken for the other older system: %v, %v", ok, err)
	}
}

// TestPoolDiesAnywhere: wherever an import ends, the next one makes the same whole of it.
func TestPoolDiesAnywhere(t *testing.T) {
	src, _ := old(t, poolSchema+poolRows)
	for after := 0; ; after++ {
		g := newTarget(t)
		g.tables = store.NewTables(&dying{g.s, after}, clock)
		_, err := importer.Amq2API(t.Context(), src, g.poolOptions())
		g.tables = store.NewTables(g.s, clock)
		g.pool(src)
		keys, kerr := g.tables.Keys.All(t.Context(), "")
		if ns := g.nodes(""); len(ns) != 2 || kerr != nil || len(keys) != 5 {
			t.Fatalf("died after %d writes: %d nodes, %d keys, %v", after, len(ns), len(keys), kerr)
		}
		if err == nil {
			if after < 20 {
				t.Errorf("an import has only %d writes", after)
			}
			return
		}
	}
}

// TestPoolBesideOthers: a login that a node has already is not taken again, and its usage is that node's; a name that is
// taken gets the node's id.
func TestPoolBesideOthers(t *testing.T) {
	src, _ := old(t, poolSchema+poolRows)
	g := newTarget(t)
	ctx := t.Context()
	for id, n := range map[string]struct{ name, cred string }{
		"77": {"mine", `{"refresh_token":"` + refresh1 + `"}`}, "78": {"spare", "ksk_12345678"}, "79": {"odd", `{"refresh_token":`}, "80": {"key", `{"api_key":"ksk_87654321"}`},
	} {
		_, err := g.tables.Nodes.Create(ctx, core.Node{ID: id, Account: core.DefaultAccount, Kind: core.KindAmazonQ, Name: n.name, Credential: g.box.Seal(directory.CredentialOwner(id), core.NewSecret(n.cred))})
		if err != nil {
			t.Fatal(err)
		}
	}
	r := g.pool(src)
	ns := g.nodes(core.DefaultAccount)
	if r.Nodes != 1 || len(ns) != 5 || ns["spare (1)"].Limits.RPM != 10 {
		t.Errorf("%+v, nodes %+v", r, ns)
	}
	g.says(r, "account 1 (main): node 77 has the same login")
	recs, _, err := g.s.Records(ctx, store.UsageFilter{Node: "77"}, "", 10)
	if err != nil || len(recs) != 1 {
		t.Errorf("%d records of node 77, %v", len(recs), err)
	}
}
