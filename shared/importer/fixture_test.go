package importer_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/importer"
	"sluice/shared/seal"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	_ "sluice/shared/store/sqlite" // the driver
)

var start = time.Date(2026, 3, 14, 10, 20, 30, 0, time.UTC)

func clock() time.Time { return start }

const (
	alphaKey  = "alpha-proxy-key-123"
	betaKey   = "beta-key"
	adminKey  = "the-operators-own-key-9"
	nodeKey   = "sk-ant-old-node-1"
	secondKey = "sk-ant-old-node-2"
)

// schema is the multi-tenant database's, as far as an import looks at it.
const schema = `
CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT, password TEXT, proxy_api_key TEXT UNIQUE, is_admin BOOLEAN DEFAULT 0, created_at DATETIME, updated_at DATETIME);
CREATE TABLE nodes (id TEXT PRIMARY KEY, name TEXT, base_url TEXT, api_key TEXT, health_check_method TEXT DEFAULT 'api', health_check_model TEXT DEFAULT 'claude-haiku-4-5-20251001',
 account_id TEXT DEFAULT 'default', weight INTEGER DEFAULT 1, failed BOOLEAN DEFAULT 0, disabled BOOLEAN DEFAULT 0, last_error TEXT, created_at DATETIME,
 requests INTEGER DEFAULT 0, fail_count INTEGER DEFAULT 0, fail_streak INTEGER DEFAULT 0, total_bytes INTEGER DEFAULT 0, total_input INTEGER DEFAULT 0, total_output INTEGER DEFAULT 0,
 last_health_check_at DATETIME);
CREATE TABLE config (account_id TEXT PRIMARY KEY, retries INTEGER, fail_limit INTEGER, health_every_ms INTEGER, active_node TEXT);
CREATE TABLE settings (id INTEGER PRIMARY KEY, key TEXT, scope TEXT, value TEXT);
CREATE TABLE model_pricing (id TEXT PRIMARY KEY, model_id TEXT, model_name TEXT, input_price_mtok REAL, output_price_mtok REAL, is_active BOOLEAN);
CREATE TABLE usage_logs (id INTEGER PRIMARY KEY, account_id TEXT, node_id TEXT, model_id TEXT, input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL, request_id TEXT, success BOOLEAN, created_at DATETIME);
CREATE TABLE tunnel_config (id TEXT PRIMARY KEY, api_token TEXT);
`

const rows = `
INSERT INTO accounts VALUES ('admin-1700000000000000000', 'admin', 'admin123', '` + adminKey + `', 1, '2025-11-01 08:00:00', NULL);
INSERT INTO accounts VALUES ('acc-1700000000000000001', 'team-alpha', 'alpha-secret', '` + alphaKey + `', 0, '2025-11-02 08:00:00.123456789 +0000 UTC', NULL);
INSERT INTO accounts VALUES ('acc-1700000000000000002', 'team-beta', 'x', '` + betaKey + `', 1, '2025-11-03 08:00:00', NULL);
INSERT INTO accounts VALUES ('acc 3/../x', 'odd', NULL, 'odd-key', 0, NULL, NULL);
INSERT INTO config VALUES ('acc-1700000000000000001', 5, 3, 60000, 'n-2'), ('acc-1700000000000000002', 99, 0, 1, 'n-9');
INSERT INTO nodes (id, name, base_url, api_key, account_id, weight, created_at, requests, fail_count, total_input, total_output, total_bytes)
 VALUES ('n-1', 'alpha-1', 'https://api.anthropic.com/', '` + nodeKey + `', 'acc-1700000000000000001', 2, '2025-11-02 09:00:00', 100, 7, 5000, 900, 12345);
INSERT INTO nodes (id, name, base_url, api_key, account_id, weight, failed, fail_streak, last_error, last_health_check_at, health_check_method)
 VALUES ('n-2', 'alpha-2', 'https://example.com/claude', '` + secondKey + `', 'acc-1700000000000000001', 1, 1, 4, 'status 401: key ` + secondKey + `
 is bad', '2025-11-05 10:00:00', 'proxy');
INSERT INTO nodes (id, name, base_url, api_key, account_id, weight, disabled, health_check_method) VALUES ('n-3', '', 'http://10.1.2.3:8080', '', 'acc-1700000000000000002', -3, 1, 'head');
INSERT INTO nodes (id, name, base_url, account_id) VALUES ('n-4', 'no url', 'api.anthropic.com', 'acc-1700000000000000002');
INSERT INTO nodes (id, name, base_url, account_id) VALUES ('n-5', 'orphan', 'https://example.com', 'acc-gone');
INSERT INTO nodes (id, name, base_url, api_key, account_id, created_at) VALUES ('default', 'historic', 'https://api.anthropic.com', 'sk-ant-historic', 'default', '2025-01-01 00:00:00');
INSERT INTO settings VALUES (1, 'proxy.retry_max', 'system', '3');
INSERT INTO model_pricing VALUES ('u1', 'claude-sonnet-4-5-20250929', 'Sonnet', 3, 15, 1), ('u2', 'mine', NULL, -1, 2, 1);
INSERT INTO usage_logs VALUES (1, 'acc-1700000000000000001', 'n-1', 'claude-sonnet-4-5-20250929', 1000, 200, 0.006, 'req_1', 1, '2025-11-04 10:00:00'),
 (2, 'acc-1700000000000000001', 'n-2', 'mystery', 0, 50, 0, 'req_2', 1, '2025-11-04 10:05:00'),
 (3, 'acc-1700000000000000001', 'n-1', 'claude-sonnet-4-5-20250929', 10, 0, 0.00003, NULL, 0, '2025-11-04 11:00:00'),
 (4, 'acc-gone', 'n-5', 'm', 1, 1, 1, NULL, 1, '2025-11-04 11:00:00'),
 (5, 'acc-1700000000000000002', 'n-1', 'm', 7, 1, 1, NULL, 1, '2025-11-04 11:00:00');
INSERT INTO tunnel_config VALUES ('default', 'enc:c2VjcmV0');
`

// single is the database of the time before accounts.
const single = `
CREATE TABLE nodes (id TEXT PRIMARY KEY, name TEXT, base_url TEXT, api_key TEXT, weight INTEGER, failed BOOLEAN, created_at DATETIME);
CREATE TABLE config (id INTEGER PRIMARY KEY, retries INTEGER, fail_limit INTEGER, health_every_ms INTEGER);
INSERT INTO nodes VALUES ('default', 'default', 'https://api.anthropic.com', '` + nodeKey + `', 1, 0, '2025-01-01 00:00:00'), ('n-1', 'second', 'https://example.com', '', 5, 0, NULL);
INSERT INTO config VALUES (1, 7, 3, 30000);
`

// old makes a database and returns it with a function that tells whether anything in it has changed.
func old(t *testing.T, statements string) (importer.Source, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qccplus.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	ro, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	src := importer.NewSQLite(ro)
	t.Cleanup(func() { _ = src.Close() })
	return src, func() string {
		h := sha256.New()
		tables, err := src.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			err := src.Rows(t.Context(), table, func(r *importer.Row) error {
				fmt.Fprint(h, table, *r)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return hex.EncodeToString(h.Sum(nil))
	}
}

// target is a store to import into.
type target struct {
	t      *testing.T
	s      store.Store
	tables *store.Tables
	box    *seal.Box
	max    int
}

func newTarget(t *testing.T) *target {
	box := sealtest.Box(t)
	s := memory.New()
	return &target{t: t, s: s, tables: store.NewTables(s, clock), box: box}
}

func (g *target) options() importer.Options {
	return importer.Options{Tables: g.tables, Usage: g.s, Box: g.box, MaxUsage: g.max, Now: clock, Reserved: func(cred string) string {
		if cred == adminKey {
			return "it is ADMIN_API_KEY"
		}
		return ""
	}}
}

func (g *target) run(src importer.Source) *importer.Report {
	g.t.Helper()
	r, err := importer.QccPlus(g.t.Context(), src, g.options())
	if err != nil {
		g.t.Fatalf("import: %v", err)
	}
	text := strings.Join(r.Lines(), "\n")
	for _, secret := range []string{alphaKey, betaKey, adminKey, nodeKey, secondKey, "alpha-secret", "admin123"} {
		if strings.Contains(text, secret) {
			g.t.Errorf("the report shows %q:\n%s", secret, text)
		}
	}
	return r
}

func (g *target) account(id string) core.Account {
	g.t.Helper()
	a, err := g.tables.Accounts.Get(g.t.Context(), id)
	if err != nil {
		g.t.Fatalf("account %s: %v", id, err)
	}
	return a.Value
}

// nodes of an account by name.
func (g *target) nodes(account string) map[string]core.Node {
	g.t.Helper()
	rs, err := g.tables.Nodes.All(g.t.Context(), account)
	if err != nil {
		g.t.Fatal(err)
	}
	out := map[string]core.Node{}
	for _, r := range rs {
		out[r.Value.Name] = r.Value
	}
	return out
}

func (g *target) says(r *importer.Report, texts ...string) {
	g.t.Helper()
	lines := strings.Join(r.Lines(), "\n")
	for _, text := range texts {
		if !strings.Contains(lines, text) {
			g.t.Errorf("the report does not say %q:\n%s", text, lines)
		}
	}
}
