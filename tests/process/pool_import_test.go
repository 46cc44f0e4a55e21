//go:build unix

package process

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "sluice/shared/store/postgres" // the driver
	"sluice/shared/store/sqlstore/sqltest"
	"sluice/shared/upstream/upstreamtest"
)

// pipe runs a command with a text on its standard input.
func pipe(t *testing.T, dir string, env map[string]string, text string, args ...string) (code int, printed string) {
	t.Helper()
	cmd := command(dir, env, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &out
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// accountTexts are the forms that people have accounts in; of each, n accounts are taken.
func accountTexts(a *amazon) []struct {
	form, text string
	n          int
} {
	fill := func(form string) string {
		for strings.Contains(form, "<id>") {
			l := a.oidc.Login()
			for mark, value := range map[string]string{"<id>": l.ClientID, "<secret>": l.ClientSecret, "<token>": l.RefreshToken} {
				form = strings.Replace(form, mark, value, 1)
			}
		}
		return form
	}
	return []struct {
		form, text string
		n          int
	}{
		{"one object of AWS SSO JSON", fill(`{"clientId":"<id>","clientSecret":"<secret>","refreshToken":"<token>","region":"us-east-1"}`), 1},
		{"a list of them", fill(`[{"name":"listed","clientId":"<id>","clientSecret":"<secret>","refreshToken":"<token>"},
			{"client_id":"<id>","client_secret":"<secret>","refresh_token":"<token>"}, {"clientId":"alone"}]`), 2},
		{"objects one after the other", fill("{\"clientId\":\"<id>\",\"clientSecret\":\"<secret>\",\"refreshToken\":\"<token>\"}\n" +
			"{\"clientId\":\"<id>\",\"clientSecret\":\"<secret>\",\"refreshToken\":\"<token>\"}\n"), 2},
		{"lines with a label", fill("labelled|<id>|<secret>|<token>\n# a remark\n\nother|<id>|<secret>|<token>|access||\n"), 2},
		{"lines with an address", fill("me@example.com|hunter2|<id>|<secret>|<token>|access\n"), 1},
		{"lines with a type", fill("amazonq|typed|<id>|<secret>|<token>\ngemini|g|c.apps.googleusercontent.com|GOCSPX-x|1//x\n"), 1},
		{"an .env of v1", fill("# v1\nPORT=8080\nAMAZONQ_CLIENT_ID=<id>\nexport AMAZONQ_CLIENT_SECRET='<secret>'\nAMAZONQ_REFRESH_TOKEN=\"<token>\"\n"), 1},
		{"Kiro API keys", "ksk_abcdefgh12345678\nlabel|ksk_abcdefgh87654321\n", 2},
	}
}

// TestImportAccounts: every form, from a file and from standard input, beside the running gateway and without one, and twice.
func TestImportAccounts(t *testing.T) {
	dir, a := t.TempDir(), newAmazon(t)
	env := with(a.env, "ADMIN_API_KEY", adminKey, "DEFAULT_PROXY_API_KEY", proxyKey)
	texts := accountTexts(a)
	total := 0
	took := func(printed string, n int) bool { return strings.HasPrefix(printed, fmt.Sprintf("accounts  %d\n", n)) }
	walk := func(from int) {
		t.Helper()
		for i := from; i < len(texts); i += 2 { // half of the forms from files, all the others through a pipe
			c := texts[i]
			path := filepath.Join(dir, "accounts.txt")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out := does(t, dir, env, 0, nil, "import", "accounts", path); !took(out, c.n) {
				t.Errorf("%s: want %d taken:\n%s", c.form, c.n, out)
			}
			if code, out := pipe(t, dir, env, c.text, "import", "accounts", "-"); code != 0 || !took(out, 0) || !strings.Contains(out, "it is here already") {
				t.Errorf("%s again: exit code %d:\n%s", c.form, code, out)
			}
			total += c.n
		}
	}
	walk(0)
	s := start(t, dir, env)
	walk(1)
	out := ""
	for _, c := range texts {
		_, printed := pipe(t, dir, env, c.text, "import", "accounts", "-")
		out += printed
	}
	for _, secret := range []string{"hunter2", "aorAAAAAG", "ksk_abcdefgh", "GOCSPX", "secret-"} {
		if strings.Contains(out, secret) {
			t.Errorf("the command prints %s:\n%s", secret, out)
		}
	}
	if !strings.Contains(out, "Gemini") || !strings.Contains(out, "it has no refreshToken") {
		t.Errorf("it does not tell why entries are left out:\n%s", out)
	}
	for why, text := range map[string]string{"nothing": "", "a page": "<html>\n", "cut JSON": `[{"clientId":"x"`, "binary": "\xff\xfe\x00"} {
		if code, out := pipe(t, dir, env, text, "import", "accounts", "-"); code == 0 && !took(out, 0) || code > 1 {
			t.Errorf("%s: exit code %d:\n%s", why, code, out)
		}
	}
	does(t, dir, env, 1, []string{"nowhere.json"}, "import", "accounts", "nowhere.json")

	names := s.names()
	if len(names) != total {
		t.Fatalf("%d nodes of %d accounts: %v", len(names), total, names)
	}
	// each of them serves alone
	a.q.SetTokens(func(token string) bool { return a.oidc.Valid(token) || strings.HasPrefix(token, "ksk_") })
	for i := range names {
		s.json(200, "PUT", fmt.Sprintf("/admin/accounts/%d", i+1), `{"is_active":false}`, "x-admin-key", adminKey)
	}
	for i, name := range names {
		path := fmt.Sprintf("/admin/accounts/%d", i+1)
		s.json(200, "PUT", path, `{"is_active":true}`, "x-admin-key", adminKey)
		s.serves(proxyKey, name)
		s.json(200, "PUT", path, `{"is_active":false}`, "x-admin-key", adminKey)
	}
	s.stop()
}

const (
	oldPoolAdmin = "amq-an-admin-key-of-the-operators-own"
	oldPoolKey   = "amq-a-key-of-a-client-of-the-old-pool"
)

// oldPool is a small database of the older pool, as it writes one. CLIENT, SECRET and TOKEN stand for a login.
const oldPool = `
CREATE TABLE accounts (id INTEGER PRIMARY KEY, name VARCHAR(100), refresh_token TEXT, client_id TEXT, client_secret TEXT, profile_arn TEXT, is_active BOOLEAN, is_healthy BOOLEAN,
 error_count INTEGER, total_requests INTEGER, total_tokens INTEGER, requests_per_minute INTEGER, created_at TIMESTAMP, notes TEXT);
CREATE TABLE api_keys (id INTEGER PRIMARY KEY, "key" VARCHAR(100), name VARCHAR(100), description TEXT, is_active BOOLEAN, is_admin BOOLEAN, total_requests INTEGER,
 requests_per_minute INTEGER, requests_per_day INTEGER, created_at TIMESTAMP, expires_at TIMESTAMP);
CREATE TABLE usage_logs (id INTEGER PRIMARY KEY, api_key_id INTEGER, account_id INTEGER, model VARCHAR(100), endpoint VARCHAR(100), method VARCHAR(10), input_tokens INTEGER, output_tokens INTEGER,
 status_code INTEGER, response_time FLOAT, timestamp TIMESTAMP);
INSERT INTO accounts VALUES (1, 'old-main', 'TOKEN', 'CLIENT', 'SECRET', 'us-east-1', true, true, 0, 40, 5000, 25, '2025-10-01 08:00:00.123456', 'from 2025'),
 (2, 'old-idle', 'aor-idle', 'idle', 'idle', NULL, false, false, 7, 0, 0, 10, '2025-10-02 08:00:00', NULL), (3, 'old-broken', '', 'x', 'x', NULL, true, true, 0, 0, 0, 10, '2025-10-02 08:00:00', NULL);
INSERT INTO api_keys VALUES (1, 'amq-admin-default-key-change-immediately', 'Default', NULL, true, true, 3, 1000, 100000, '2025-10-01 08:00:00', NULL),
 (2, '` + oldPoolAdmin + `', 'boss', NULL, true, true, 9, 100, 10000, '2025-10-01 09:00:00', NULL), (3, '` + oldPoolKey + `', 'app', 'the app', true, false, 40, 60, 10000, '2025-10-01 09:00:00', NULL),
 (4, 'amq-revoked-long-ago-and-for-good', 'gone', NULL, false, false, 1, 60, 10000, '2025-10-01 09:00:00', NULL), (5, 'amq-expired-long-ago-and-for-good', 'late', NULL, true, false, 1, 60, 10000, '2025-10-01 09:00:00', '2025-10-02 09:00:00');
INSERT INTO usage_logs VALUES (1, 3, 1, 'claude-sonnet-4', '/v1/messages', 'POST', 100, 20, 200, 1.5, '2025-11-02 08:00:00.5'), (2, 3, 1, 'gpt-4', '/v1/chat/completions', 'POST', 10, 2, 200, 0.5, '2025-11-02 09:00:00');
`

// fillPool makes the old pool's tables in a database.
func fillPool(t *testing.T, driver, dsn string, l upstreamtest.Login) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	statements := strings.NewReplacer("TOKEN", l.RefreshToken, "CLIENT", l.ClientID, "SECRET", l.ClientSecret).Replace(oldPool)
	if driver == "mysql" {
		statements = strings.ReplaceAll(statements, `"key"`, "`key`")
	}
	for q := range strings.SplitSeq(statements, ";\n") {
		if strings.TrimSpace(q) != "" {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
}

// servesOldPool expects that a gateway goes on where the old pool was left, and that neither the published key nor one that
// had ended came with it.
func (s *server) servesOldPool() {
	s.t.Helper()
	s.serves(oldPoolKey, "old-main")
	for _, ended := range []string{"amq-revoked-long-ago-and-for-good", "amq-expired-long-ago-and-for-good"} {
		if status, _, _ := s.ask(ended); status != 401 {
			s.t.Errorf("%s: %d, want 401", ended, status)
		}
	}
	for key, want := range map[string]int{oldPoolAdmin: 200, oldPoolKey: 403, publishedAdmin: 401} {
		if status, body := s.get("/admin/api-keys", bearer(key)...); status != want {
			s.t.Errorf("admin API with %s: %d, want %d: %s", key, status, want, body)
		}
	}
	node := s.json(200, "GET", "/admin/accounts/1", "", bearer(oldPoolAdmin)...)
	if node["name"] != "old-main" || node["requests_per_minute"] != 25.0 || node["notes"] != "from 2025" || node["profile_arn"] != nil {
		s.t.Errorf("the node: %v", node)
	}
	if idle := s.json(200, "GET", "/admin/accounts/2", "", bearer(oldPoolAdmin)...); idle["is_active"] != false {
		s.t.Errorf("the node out of use: %v", idle)
	}
	if key := s.oldKey(); key["requests_per_day"] != 10000.0 || key["total_requests"] != 5.0 { // 2 there, 3 here
		s.t.Errorf("the key: %v", key)
	}
}

// oldKey is the client's key, whose id may be another one here.
func (s *server) oldKey() map[string]any {
	s.t.Helper()
	_, body := s.get("/admin/api-keys", bearer(oldPoolAdmin)...)
	var keys []map[string]any
	if err := json.Unmarshal([]byte(body), &keys); err != nil {
		s.t.Fatalf("%v: %s", err, body)
	}
	for _, k := range keys {
		if k["name"] == "app" {
			return k
		}
	}
	s.t.Fatalf("no key named app: %s", body)
	return nil
}

// TestImportAmq2API: the old pool's file taken over by the command, twice.
func TestImportAmq2API(t *testing.T) {
	dir, a := t.TempDir(), newAmazon(t)
	old := filepath.Join(dir, "amq2api.db")
	fillPool(t, "sqlite", old, a.oidc.Login())
	out := does(t, dir, a.env, 0, []string{"keys      4", "nodes     2", "usage     2 records", "old-broken"}, "import", "amq2api", old)
	again := does(t, dir, a.env, 0, []string{"keys      0", "nodes     0", "taken by an earlier import"}, "import", "amq2api", old)
	for _, secret := range []string{oldPoolKey, oldPoolAdmin, "aorAAAAAG", "aor-idle"} {
		if strings.Contains(out+again, secret) {
			t.Errorf("the command prints %s:\n%s%s", secret, out, again)
		}
	}
	for _, c := range []struct{ path, says string }{
		{"nowhere.db", "there is no file nowhere.db"}, {".", "is a directory"}, {"data/sluice.db", "refresh_token"}, {"data/sluice.db.key", "no SQLite database"},
	} {
		does(t, dir, a.env, 1, []string{c.says}, "import", "amq2api", c.path)
	}
	s := start(t, dir, a.env)
	s.servesOldPool()
	does(t, dir, a.env, 1, []string{"in use by process"}, "import", "amq2api", old)
	s.stop()
	does(t, dir, a.env, 0, []string{"keys      0", "nodes     0"}, "import", "amq2api", old)
	s = start(t, dir, a.env)
	if key := s.oldKey(); key["total_requests"] != 5.0 {
		t.Errorf("after a further import: %v", key)
	}
	s.stop()
}

// TestGuideBDatabase is the guide's own way: DATABASE_PATH names the old file, and everything is there at the first start.
// The file is imported once, and says so.
func TestGuideBDatabase(t *testing.T) {
	dir, a := t.TempDir(), newAmazon(t)
	l := a.oidc.Login()
	old := filepath.Join(dir, "db.sqlite")
	fillPool(t, "sqlite", old, l)
	// v1's variables are those of the account that the pool has: one node, not two
	env := with(a.env, "DATABASE_PATH", old, "AMAZONQ_REFRESH_TOKEN", l.RefreshToken, "AMAZONQ_CLIENT_ID", l.ClientID, "AMAZONQ_CLIENT_SECRET", l.ClientSecret)
	s := start(t, dir, env, "python", "app_new.py")
	s.says("imported from amq2api's tables, which stay as they are: 2 accounts as nodes, 4 keys, 2 usage records", "not imported: account 3 (old-broken)")
	s.servesOldPool()
	_, nodes := s.get("/admin/accounts", bearer(oldPoolAdmin)...)
	if n := strings.Count(nodes, `"id":`); n != 2 {
		t.Errorf("%d nodes: %s", n, nodes)
	}
	s.json(200, "DELETE", "/admin/accounts/2", "", bearer(oldPoolAdmin)...)
	s.kill()
	s = start(t, dir, env, "python", "app_new.py")
	if strings.Contains(s.out.String(), "imported from") {
		t.Error("it is imported again")
	}
	if status, _ := s.get("/admin/accounts/2", bearer(oldPoolAdmin)...); status != 404 {
		t.Errorf("the deleted node is back: %d", status)
	}
	s.stop()
}

// TestServersOfGuideB: the guide's "PostgreSQL (optional)" is STORE_URL here, and the old tables in that very database are
// taken over at the first start; the import takes the old database from there as well.
func TestServersOfGuideB(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		at := postgresServer(t)
		old := "postgres://sluice:hunter2@" + at + "/amq2api?sslmode=disable"
		oldPoolOn(t, "pgx", old, old, "postgres://sluice:hunter2@"+at+"/fresh?sslmode=disable")
	})
	t.Run("mysql", func(t *testing.T) {
		_, dsn := mariadb(t)
		oldPoolOn(t, "mysql", dsn("qcc_plus"), "mysql://"+dsn("qcc_plus"), "mysql://"+dsn("fresh"))
	})
}

// oldPoolOn walks both ways: import into a file, then in place; and fresh starts without anything old.
func oldPoolOn(t *testing.T, driver, dsn, old, fresh string) {
	t.Helper()
	dir, a := t.TempDir(), newAmazon(t)
	fillPool(t, driver, dsn, a.oidc.Login())
	does(t, dir, a.env, 0, []string{"keys      4", "nodes     2", "usage     2 records"}, "import", "amq2api", old)
	out := does(t, dir, a.env, 0, []string{"taken by an earlier import"}, "import", "amq2api", old)
	out += does(t, dir, a.env, 1, nil, "import", "amq2api", strings.Replace(old, "hunter2", "sesame", 1))
	if strings.Contains(out, "hunter2") || strings.Contains(out, "sesame") {
		t.Errorf("a password is shown:\n%s", out)
	}
	s := start(t, dir, with(a.env, "STORE_URL", old))
	s.says("imported from amq2api's tables")
	s.servesOldPool()
	s.stop()

	a.oidc.AddLogin(guideLogin)
	s = start(t, dir, with(a.env, "STORE_URL", fresh, "ADMIN_API_KEY", adminKey))
	s.json(200, "POST", "/admin/accounts", stepAccount, "x-admin-key", adminKey)
	key := s.json(200, "POST", "/admin/api-keys", stepClientKey, "x-admin-key", adminKey)["key"].(string)
	s.serves(key, "主账号")
	s.stop()
}

// postgresServer starts a server of its own with the databases amq2api and fresh of the user sluice, whose password is in
// no error and no log line; it returns its address.
func postgresServer(t *testing.T) string {
	t.Helper()
	program := sqltest.Program("/usr/lib/postgresql/*/bin/postgres", "postgres")
	initdb := filepath.Join(filepath.Dir(program), "initdb")
	if program == "" || sqltest.Program(initdb) == "" {
		sqltest.Missing(t, "postgres", "there is no postgres with initdb (apt-get install postgresql)")
	}
	dir, as := sqltest.Dir(t, "postgres")
	data, hba := filepath.Join(dir, "data"), filepath.Join(dir, "hba")
	sqltest.Do(t, as, dir, initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	sqltest.Do(t, as, dir, "sh", "-c", "echo 'host all postgres 127.0.0.1/32 trust' > "+hba+"; echo 'host all all 127.0.0.1/32 scram-sha-256' >> "+hba)
	s := sqltest.NewServer(t, as, dir, program, func(port string) []string {
		return []string{"-D", data, "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "hba_file=" + hba}
	})
	s.Up(t)
	db, err := sql.Open("pgx", "postgres://postgres@127.0.0.1:"+s.Port+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sqltest.Await(t, "the server's start", db.PingContext)
	for _, q := range []string{"CREATE ROLE sluice LOGIN PASSWORD 'hunter2'", "CREATE DATABASE amq2api OWNER sluice", "CREATE DATABASE fresh OWNER sluice"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	return "127.0.0.1:" + s.Port
}
