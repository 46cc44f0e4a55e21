package boot_test

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/importer"
)

const (
	poolAdminKey = "amq-an-admin-key-of-the-operators-own"
	poolKey      = "amq-a-key-of-a-client"
)

// poolTables is a database of the older pool, as Guide B leaves it.
const poolTables = `
CREATE TABLE accounts (id INTEGER, name TEXT, refresh_token TEXT, client_id TEXT, client_secret TEXT, profile_arn TEXT, is_active BOOLEAN, requests_per_minute INTEGER, total_requests INTEGER, total_tokens INTEGER);
CREATE TABLE api_keys (id INTEGER, key TEXT, name TEXT, is_active BOOLEAN, is_admin BOOLEAN, requests_per_minute INTEGER, requests_per_day INTEGER);
CREATE TABLE usage_logs (id INTEGER, api_key_id INTEGER, account_id INTEGER, model TEXT, endpoint TEXT, input_tokens INTEGER, output_tokens INTEGER, status_code INTEGER, timestamp TEXT);
INSERT INTO accounts VALUES (1, 'main', 'aorAAAAA-token', 'client', 'secret', NULL, 1, 10, 4, 100), (2, 'half', '', 'client', 'secret', NULL, 1, 10, 0, 0);
INSERT INTO api_keys VALUES (1, 'amq-admin-default-key-change-immediately', 'default', 1, 1, 1000, 100000), (3, '` + poolKey + `', 'client', 1, 0, 60, 10000);
INSERT INTO usage_logs VALUES (1, 3, 1, 'claude-sonnet-4', '/v1/messages', 0, 0, 200, '2025-11-02 08:00:00');
`

// rows is everything in the older system's tables.
func rows(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	src := importer.NewSQLite(db)
	var b strings.Builder
	for _, table := range []string{"accounts", "api_keys", "usage_logs"} {
		err := src.Rows(t.Context(), table, func(r *importer.Row) error {
			_, err := fmt.Fprintln(&b, table, *r)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func status(app *boot.App, method, path string, header ...string) int {
	w := httptest.NewRecorder()
	app.Handler.ServeHTTP(w, boottest.Request(method, path, "", header...))
	return w.Code
}

// TestFirstStartOnAmq2API is Guide B's own path: DATABASE_PATH names the old file, and its accounts and keys are there.
func TestFirstStartOnAmq2API(t *testing.T) {
	for _, c := range []struct {
		why, more string
		published bool // the published admin key works
	}{
		{"with no admin key but the published one", "", true},
		{"with an admin key of the operator's own", "INSERT INTO api_keys VALUES (2, '" + poolAdminKey + "', 'boss', 1, 1, 100, 10000);", false},
	} {
		t.Run(c.why, func(t *testing.T) {
			i := newInstallation(t)
			for _, name := range []string{"ADMIN_API_KEY", "UPSTREAM_API_KEY", "UPSTREAM_BASE_URL", "UPSTREAM_NAME"} {
				delete(i.env, name)
			}
			path := filepath.Join(t.TempDir(), "amq2api.db")
			old := i.withOld(path, poolTables+c.more)
			before := rows(t, path)
			start := func() *boot.App {
				t.Helper()
				app, err := boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: i.config("STORE_URL", "", "DATABASE_PATH", path), Openers: i.open, Old: old, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				return app
			}
			app := start()
			said := strings.Join(app.Notes, "\n")
			for _, want := range []string{"1 accounts as nodes, ", " 1 usage records", "not imported: key 1 (default): it is one that the guides publish", "not imported: account 2 (half): it has no refreshToken"} {
				if !strings.Contains(said, want) {
					t.Errorf("the start does not say %q:\n%s", want, said)
				}
			}
			ns, err := app.Tables.Nodes.All(t.Context(), core.DefaultAccount)
			if err != nil || len(ns) != 1 || ns[0].Value.Kind != core.KindAmazonQ || ns[0].Value.Name != "main" {
				t.Fatalf("nodes %+v, %v", ns, err)
			}
			if cred, err := app.Box.Open(directory.CredentialOwner(ns[0].Value.ID), ns[0].Value.Credential); err != nil || !strings.Contains(cred.Reveal(), "aorAAAAA-token") {
				t.Errorf("the credential does not open: %v", err)
			}
			if k, err := app.Tables.Keys.Find(t.Context(), app.Box.Hash(poolKey)); err != nil || k.Value.ID != "3" {
				t.Errorf("key %+v, %v", k.Value, err)
			}
			if got := status(app, "GET", "/v1/models", "Authorization", "Bearer "+poolKey); got != 200 {
				t.Errorf("the old client key is answered %d", got)
			}
			if got := status(app, "GET", "/admin/api/keys", "Authorization", "Bearer "+poolKey); got != 403 {
				t.Errorf("the old client key at the admin API is answered %d", got)
			}
			want := map[bool]int{true: 200, false: 401}
			if got := status(app, "GET", "/admin/api/keys", "Authorization", "Bearer "+config.DefaultAdminKey2); got != want[c.published] {
				t.Errorf("the published key is answered %d", got)
			}
			if got := status(app, "GET", "/admin/api/keys", "Authorization", "Bearer "+poolAdminKey); got != want[!c.published] {
				t.Errorf("the old admin key is answered %d", got)
			}
			if err := app.Tables.Nodes.Delete(t.Context(), ns[0].Value.ID); err != nil {
				t.Fatal(err)
			}
			if err := app.Close(); err != nil {
				t.Fatal(err)
			}
			if rows(t, path) != before {
				t.Error("the old tables were changed")
			}
			app = start()
			if said := strings.Join(app.Notes, "\n"); strings.Contains(said, "imported") {
				t.Errorf("the second start imports again:\n%s", said)
			}
			if ns, err := app.Tables.Nodes.All(t.Context(), ""); err != nil || len(ns) != 0 {
				t.Errorf("a deleted node came back: %+v, %v", ns, err)
			}
			if err := app.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFirstStartAdoptsTheVariablesAccount: the account that AMAZONQ_* name, too, becomes one node, not two.
func TestFirstStartAdoptsTheVariablesAccount(t *testing.T) {
	i := newInstallation(t, "AMAZONQ_REFRESH_TOKEN", "aorAAAAA-token", "AMAZONQ_CLIENT_ID", "client", "AMAZONQ_CLIENT_SECRET", "secret")
	delete(i.env, "UPSTREAM_API_KEY")
	delete(i.env, "UPSTREAM_BASE_URL")
	path := filepath.Join(t.TempDir(), "amq2api.db")
	old := i.withOld(path, poolTables)
	app, err := boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: i.config("STORE_URL", "", "DATABASE_PATH", path), Openers: i.open, Old: old, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if ns, err := app.Tables.Nodes.All(t.Context(), ""); err != nil || len(ns) != 1 || ns[0].Value.Name != "main" {
		t.Errorf("nodes %+v, %v", ns, err)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}

// TestImportAmq2APIAgain: the command takes what a start left, and what it took before only once.
func TestImportAmq2APIAgain(t *testing.T) {
	i := newInstallation(t)
	path := filepath.Join(t.TempDir(), "old.db")
	old := i.withOld(path, poolTables)["sqlite"]
	app, err := boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: i.config("STORE_URL", "sqlite:"+filepath.Join(t.TempDir(), "new.db")), Openers: i.open, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run := func() *importer.Report {
		t.Helper()
		src, err := old(t.Context(), core.NewSecret(path))
		if err != nil {
			t.Fatal(err)
		}
		r, err := app.ImportAmq2API(t.Context(), src)
		if err = errors.Join(err, src.Close()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := run(); r.Nodes != 1 || r.Keys != 1 || r.Usage != 1 || r.Totals.Requests != 4 {
		t.Errorf("%+v", r)
	}
	if r := run(); r.Nodes != 0 || r.Keys != 0 || r.Before != 2 {
		t.Errorf("the second run: %+v", r)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
}
