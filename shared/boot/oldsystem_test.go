package boot_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/importer"
)

// oldTables is a database of the older gateway, as it was before it had accounts and with them.
const oldTables = `
CREATE TABLE accounts (id TEXT, name TEXT, password TEXT, proxy_api_key TEXT, is_admin BOOLEAN);
CREATE TABLE config (account_id TEXT, retries INTEGER);
CREATE TABLE nodes (id TEXT, name TEXT, base_url TEXT, api_key TEXT, account_id TEXT, weight INTEGER);
CREATE TABLE usage_logs (id INTEGER, account_id TEXT, node_id TEXT, input_tokens INTEGER, output_tokens INTEGER, created_at TEXT);
INSERT INTO accounts VALUES ('admin-1', 'admin', 'admin123', 'my-secure-admin-key', 1), ('acc-2', 'team-beta', NULL, 'beta-proxy-key-4567', 0);
INSERT INTO nodes VALUES ('default', 'historic', 'UPSTREAM', '', NULL, 3), ('n-2', 'beta-1', 'UPSTREAM', 'sk-ant-beta', 'acc-2', 1);
INSERT INTO usage_logs VALUES (1, 'acc-2', 'n-2', 10, 5, '2025-11-02 08:00:00');
`

// withOld makes the store's own database one that an older system used.
func (i *installation) withOld(path, tables string) map[string]boot.OldDatabase {
	i.t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		i.t.Fatal(err)
	}
	_, err = db.Exec(strings.ReplaceAll(tables, "UPSTREAM", i.env["UPSTREAM_BASE_URL"]))
	if err = errors.Join(err, db.Close()); err != nil {
		i.t.Fatal(err)
	}
	return map[string]boot.OldDatabase{"sqlite": func(ctx context.Context, rest core.Secret) (importer.Source, error) {
		db, err := sql.Open("sqlite", "file:"+rest.Reveal()+"?mode=ro")
		if err != nil {
			return nil, err
		}
		return importer.NewSQLite(db), ctx.Err()
	}}
}

// TestFirstStartOnOldTables: a first start takes over what the older gateway kept in the same database, once, and the
// variables that it was started with go on governing its node.
func TestFirstStartOnOldTables(t *testing.T) {
	i := newInstallation(t, "ADMIN_API_KEY", "my-secure-admin-key")
	path := filepath.Join(t.TempDir(), "qccplus.db")
	old := i.withOld(path, oldTables)
	start := func() *boot.App {
		t.Helper()
		app, err := boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: i.config("STORE_URL", "sqlite:"+path), Openers: i.open, Old: old, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return app
	}
	app := start()
	for _, key := range []string{"beta-proxy-key-4567", "alpha-proxy-key-123"} {
		w := httptest.NewRecorder()
		app.Handler.ServeHTTP(w, boottest.Request("POST", "/v1/messages", question, "x-api-key", key))
		if w.Code != 200 {
			t.Errorf("with %s: status %d: %s", key, w.Code, w.Body)
		}
	}
	said := strings.Join(app.Notes, "\n")
	for _, want := range []string{"2 accounts, 1 keys, 2 nodes, 1 usage records", "not imported: key of account admin-1: it is ADMIN_API_KEY", "not imported: password of account admin-1"} {
		if !strings.Contains(said, want) {
			t.Errorf("the start does not say %q:\n%s", want, said)
		}
	}
	nodes, err := app.Tables.Nodes.All(t.Context(), core.DefaultAccount)
	if err != nil || len(nodes) != 1 || nodes[0].Value.Weight != 3 || nodes[0].Value.Credential == "" || !nodes[0].Value.Operator {
		t.Errorf("nodes of the account default: %+v, %v; want the historic one, with the variables' key", nodes, err)
	}
	if err := app.Tables.Nodes.Delete(t.Context(), nodes[0].Value.ID); err != nil {
		t.Fatal(err)
	}
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	app = start()
	if said := strings.Join(app.Notes, "\n"); strings.Contains(said, "imported") {
		t.Errorf("the second start imports again:\n%s", said)
	}
	if nodes, err := app.Tables.Nodes.All(t.Context(), core.DefaultAccount); err != nil || len(nodes) != 0 {
		t.Errorf("a deleted node came back: %+v, %v", nodes, err)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}
