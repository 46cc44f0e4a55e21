//go:build unix

package process

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "sluice/shared/store/mysql" // the driver
	"sluice/shared/store/sqlstore/sqltest"
	"sluice/shared/upstream/upstreamtest"
)

// mariadb starts a server of its own and returns it with the DSN of a database on it, as Guide A writes one.
func mariadb(t *testing.T) (*sqltest.Server, func(database string) string) {
	t.Helper()
	s := sqltest.MariaDB(t)
	dsn := s.DSN
	db, err := sql.Open("mysql", dsn(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	sqltest.Await(t, "the server's start", db.PingContext)
	for _, name := range []string{"qcc_plus", "fresh"} {
		if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
	}
	return s, dsn
}

// TestMySQL: the older gateway's database on a server, taken over in place and from afar; and a copy onto the server.
func TestMySQL(t *testing.T) {
	_, dsn := mariadb(t)
	dir := t.TempDir()
	up := upstreamtest.NewAnthropic(t)
	env := map[string]string{"DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": adminKey, "UPSTREAM_ALLOW_PRIVATE": "true"}
	db, err := sql.Open("mysql", dsn("qcc_plus"))
	if err != nil {
		t.Fatal(err)
	}
	for q := range strings.SplitSeq(strings.ReplaceAll(oldTables, "UPSTREAM", up.URL), ";\n") {
		if strings.TrimSpace(q) != "" {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
	if err := errors.Join(db.Close()); err != nil {
		t.Fatal(err)
	}
	taken := []string{"accounts  1", "keys      1", "nodes     2", "usage     1 records", "16 requests"}
	url := "mysql://" + strings.NewReplacer("tcp(", "", ")", "", "?parseTime=true", "").Replace(dsn("qcc_plus"))
	does(t, dir, env, 0, taken, "import", "qcc-plus", dsn("qcc_plus"))
	does(t, dir, env, 0, []string{"taken by an earlier import"}, "import", "qcc-plus", url)
	if out := does(t, dir, env, 1, nil, "import", "qcc-plus", strings.Replace(dsn("qcc_plus"), "hunter2", "sesame", 1)); strings.Contains(out, "sesame") {
		t.Errorf("the password is shown:\n%s", out)
	}

	// Guide A's variable, on the very database: FAQ 1
	s := start(t, dir, with(env, "PROXY_MYSQL_DSN", dsn("qcc_plus")))
	s.says("imported from the older system's tables", "1 accounts, 1 keys, 2 nodes, 1 usage records")
	for key, want := range map[string]string{"beta-proxy-key-4567": "beta-1", proxyKey: "historic"} {
		if status, node, _ := s.ask(key); status != 200 || node != want {
			t.Errorf("%s: status %d by node %q, want %q", key, status, node, want)
		}
	}
	s.stop()

	does(t, dir, env, 0, []string{"compared: equal", "warning: the master key was copied"}, "store", "copy", "sqlite:data/sluice.db", "mysql://"+dsn("fresh"))
	onServer := with(env, "STORE_URL", "mysql://"+dsn("fresh"))
	does(t, dir, onServer, 0, []string{"keyring", "requests"}, "store", "check")
	s = start(t, dir, onServer)
	for _, key := range []string{"beta-proxy-key-4567", proxyKey} {
		if status, _, _ := s.ask(key); status != 200 {
			t.Errorf("%s: status %d on the copy", key, status)
		}
	}
	s.stop()
	does(t, dir, env, 1, []string{"TO: ", "holds other data"}, "store", "copy", "sqlite:data/sluice.db", "mysql://"+dsn("fresh"))
	does(t, dir, env, 0, []string{"compared: equal", "the master key was copied to back.db.key"}, "store", "copy", "mysql://"+dsn("fresh"), "sqlite:back.db")
}

// TestMySQLGoesAway: with STORE_OUTAGE=open the gateway serves on while its server is down, and stores what was used when
// it is back, also when it was restarted in between. By default it refuses.
func TestMySQLGoesAway(t *testing.T) {
	db, dsn := mariadb(t)
	dir := t.TempDir()
	up := upstreamtest.NewAnthropic(t)
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": adminKey,
		"PROXY_MYSQL_DSN": dsn("fresh")}
	open, closed := start(t, dir, with(env, "STORE_OUTAGE", "open")), start(t, dir, with(env, "STORE_SPOOL_DIR", "off"))
	for _, s := range []*server{open, closed} {
		if status, _, _ := s.ask(proxyKey); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	db.Kill(t)
	for range 3 {
		if status, _, _ := open.ask(proxyKey); status != 200 {
			t.Errorf("open: status %d while the store is away", status)
		}
	}
	resp, body := closed.do("POST", "/v1/messages", question, "x-api-key", proxyKey)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"type":"error"`) {
		t.Errorf("closed: %d, retry-after %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
	open.stop()
	fs, err := os.ReadDir(filepath.Join(dir, "data", "spool"))
	if err != nil || len(fs) != 1 {
		t.Errorf("files of what waits: %v, %v", fs, err)
	}
	db.Up(t)
	again := start(t, dir, with(env, "STORE_OUTAGE", "open"))
	again.await(regexp.MustCompile("settlements that waited are stored"))
	again.stop()
	closed.stop()
	does(t, dir, env, 0, []string{"requests  "}, "store", "check")
	if out := does(t, dir, env, 0, nil, "store", "check"); !regexp.MustCompile(`(?m)^requests +5$`).MatchString(out) {
		t.Errorf("5 requests were served:\n%s", out)
	}
}
