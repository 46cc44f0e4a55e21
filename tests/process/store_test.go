//go:build unix

package process

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "sluice/shared/store/sqlite" // the driver, for old databases
	"sluice/shared/upstream/upstreamtest"
)

// do runs a command and checks its exit code and what it says.
func does(t *testing.T, dir string, env map[string]string, code int, says []string, args ...string) string {
	t.Helper()
	got, stdout, stderr := run(t, dir, env, args...)
	if got != code {
		t.Errorf("sluice %s: exit code %d, want %d:\n%s%s", strings.Join(args, " "), got, code, stdout, stderr)
	}
	for _, s := range says {
		if !strings.Contains(stdout+stderr, s) {
			t.Errorf("sluice %s does not say %q:\n%s%s", strings.Join(args, " "), s, stdout, stderr)
		}
	}
	return stdout + stderr
}

// TestStoreWords walks an operator's way: look at the store, back it up, copy it, and go on with the copy.
func TestStoreWords(t *testing.T) {
	dir := t.TempDir()
	up := upstreamtest.NewAnthropic(t)
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": adminKey}
	const from, to = "sqlite:data/sluice.db", "sqlite:other/copy.db"

	does(t, dir, env, 1, []string{"is not there yet"}, "store", "check")
	does(t, dir, env, 1, []string{"FROM: there is no file data/sluice.db"}, "store", "copy", from, to)
	does(t, dir, env, 1, []string{"there is no file"}, "store", "backup", "b.db")
	if fs, err := os.ReadDir(dir); err != nil || len(fs) != 0 {
		t.Errorf("commands that failed made %v, %v", fs, err)
	}
	does(t, dir, env, 0, []string{"needs nothing beforehand"}, "store", "init")
	does(t, dir, env, 1, []string{"FROM: ", "holds nothing to copy"}, "store", "copy", from, to)
	_ = os.RemoveAll(filepath.Join(dir, "other"))

	s := start(t, dir, env)
	for range 3 {
		if status, _, _ := s.ask(proxyKey); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	does(t, dir, env, 0, []string{"in use by the gateway at http://127.0.0.1:", "ready"}, "store", "check")
	does(t, dir, env, 1, []string{"FROM: ", "in use by process"}, "store", "copy", from, to)
	does(t, dir, env, 1, []string{"in use by process"}, "store", "backup", "b.db")
	s.stop()

	does(t, dir, env, 0, []string{"keyring", "data/sluice.db.key", "requests", "3"}, "store", "check")
	does(t, dir, env, 0, []string{"b.db is a copy"}, "store", "backup", "b.db")
	does(t, dir, env, 1, []string{"b.db"}, "store", "backup", "b.db")
	does(t, dir, env, 0, []string{"usage records", "requests in totals", "compared: equal", "the master key was copied"}, "store", "copy", from, to)
	does(t, dir, env, 0, []string{"compared: equal"}, "store", "copy", from, to)
	does(t, dir, env, 1, []string{"the same store"}, "store", "copy", from, "sqlite://data/sluice.db")
	does(t, dir, env, 1, []string{"memory"}, "store", "copy", from, "memory:")

	s = start(t, dir, with(env, "STORE_URL", to))
	if status, _, _ := s.ask(proxyKey); status != 200 {
		t.Errorf("the copy serves with status %d", status)
	}
	s.stop()
	does(t, dir, env, 1, []string{"TO: ", "holds other data"}, "store", "copy", from, to)
	does(t, dir, with(env, "STORE_URL", to), 0, []string{"requests", "4"}, "store", "check")
}

// TestStoreWordsWrong: each mistake is told in a line, and none makes a file.
func TestStoreWordsWrong(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"store"}, "the commands are"},
		{[]string{"store", "burn"}, `unknown command "store burn"`},
		{[]string{"store", "copy", "a"}, "takes 2 arguments"},
		{[]string{"store", "copy", "cassandra:a", "sqlite:b.db"}, "FROM: this program has no store of this kind"},
		{[]string{"store", "check", "now"}, "takes 0 arguments"},
		{[]string{"import"}, "sluice import qcc-plus"},
		{[]string{"import", "other", "x"}, "sluice import qcc-plus"},
		{[]string{"import", "qcc-plus"}, "sluice import qcc-plus"},
		{[]string{"import", "qcc-plus", "nowhere.db"}, "there is no file nowhere.db"},
		{[]string{"import", "qcc-plus", "."}, "is a directory"},
	} {
		does(t, dir, nil, 1, []string{c.says}, c.args...)
	}
	for name, v := range map[string]string{"STORE_OUTAGE": "ajar", "STORE_SPOOL_MAX_BYTES": "10"} {
		does(t, dir, map[string]string{name: v}, 1, []string{name + ": "}, "serve")
	}
	if fs, err := os.ReadDir(dir); err != nil || len(fs) != 0 {
		t.Errorf("mistakes made %v, %v", fs, err)
	}
}

// oldTables is a small database of the older gateway. UPSTREAM stands for the address of its nodes.
const oldTables = `
CREATE TABLE accounts (id TEXT, name TEXT, password TEXT, proxy_api_key TEXT, is_admin BOOLEAN);
CREATE TABLE config (account_id TEXT, retries INTEGER);
CREATE TABLE nodes (id TEXT, name TEXT, base_url TEXT, api_key TEXT, account_id TEXT, weight INTEGER, requests INTEGER);
CREATE TABLE usage_logs (id INTEGER, account_id TEXT, node_id TEXT, input_tokens INTEGER, output_tokens INTEGER, created_at TEXT);
INSERT INTO accounts VALUES ('acc-2', 'team-beta', NULL, 'beta-proxy-key-4567', 0);
INSERT INTO nodes VALUES ('n-1', 'historic', 'UPSTREAM', 'sk-ant-historic', 'default', 1, 7), ('n-2', 'beta-1', 'UPSTREAM', 'sk-ant-beta', 'acc-2', 1, 9);
INSERT INTO usage_logs VALUES (1, 'acc-2', 'n-2', 10, 5, '2025-11-02 08:00:00');
`

func oldDatabase(t *testing.T, path, upstream string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(strings.ReplaceAll(oldTables, "UPSTREAM", upstream))
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestImport: the older gateway's file is taken over, and its users go on with their keys.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	up := upstreamtest.NewAnthropic(t)
	env := map[string]string{"DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": adminKey, "UPSTREAM_ALLOW_PRIVATE": "true"}
	oldDatabase(t, filepath.Join(dir, "old.db"), up.URL)
	before, err := os.ReadFile(filepath.Join(dir, "old.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dump.sql"), []byte("CREATE TABLE nodes (id INT);"), 0o600); err != nil {
		t.Fatal(err)
	}
	does(t, dir, env, 1, []string{"no SQLite database"}, "import", "qcc-plus", "dump.sql")
	does(t, dir, with(env, "STORE_URL", "memory:"), 1, []string{"STORE_URL"}, "import", "qcc-plus", "old.db")
	if out := does(t, dir, env, 0, []string{"accounts  1", "keys      1", "nodes     2", "usage     1 records", "16 requests"}, "import", "qcc-plus", "old.db"); strings.Contains(out, "sk-ant") || strings.Contains(out, "beta-proxy-key") {
		t.Errorf("the report shows a credential:\n%s", out)
	}
	does(t, dir, env, 0, []string{"nodes     0", "3 accounts and nodes were taken by an earlier import"}, "import", "qcc-plus", "old.db")
	if after, err := os.ReadFile(filepath.Join(dir, "old.db")); err != nil || string(after) != string(before) {
		t.Errorf("the old file was changed: %v", err)
	}
	s := start(t, dir, env)
	for _, key := range []string{"beta-proxy-key-4567", proxyKey} {
		if status, node, _ := s.ask(key); status != 200 || node == "" {
			t.Errorf("%s: status %d by node %q", key, status, node)
		}
	}
	does(t, dir, env, 1, []string{"in use by process"}, "import", "qcc-plus", "old.db")
	s.stop()
	does(t, dir, env, 1, []string{"holds no tables of the older gateway"}, "import", "qcc-plus", "data/sluice.db")
}

// TestStartOnOldDatabase is the upgrade in place: DATABASE_PATH names the file that the older gateway used.
func TestStartOnOldDatabase(t *testing.T) {
	dir := t.TempDir()
	up := upstreamtest.NewAnthropic(t)
	oldDatabase(t, filepath.Join(dir, "qccplus.db"), up.URL)
	env := map[string]string{"DATABASE_PATH": "qccplus.db", "DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": adminKey, "UPSTREAM_ALLOW_PRIVATE": "true"}
	s := start(t, dir, env)
	s.says("imported from the older system's tables", "1 accounts, 1 keys, 2 nodes, 1 usage records")
	for key, want := range map[string]string{"beta-proxy-key-4567": "beta-1", proxyKey: "historic"} {
		if status, node, _ := s.ask(key); status != 200 || node != want {
			t.Errorf("%s: status %d by node %q, want %q", key, status, node, want)
		}
	}
	s.stop()
	s = start(t, dir, env)
	if strings.Contains(s.out.String(), "imported") {
		t.Errorf("the second start imports again:\n%s", s.out)
	}
	s.stop()
}
