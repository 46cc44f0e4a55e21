package main

import (
	"bytes"
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const accountLine = "main|client-1|secret-1|aorAAAAA-refresh-1\n"

// TestImportAccounts: a text from a file or standard input goes to the running gateway, whose report is shown.
func TestImportAccounts(t *testing.T) {
	object := `{"clientId":"c","clientSecret":"s","refreshToken":"r","text":"x"}`
	for _, c := range []struct{ why, text, sent string }{
		{"lines", accountLine, accountLine},
		{"an object, which must not be taken for an envelope", object + "\n", "[" + object + "]"},
		{"objects one after the other", object + "\n" + object, object + "\n" + object},
		{"a list", "[" + object + "]", "[" + object + "]"},
	} {
		g := newGatewayFake(t, func(w http.ResponseWriter, _ string, _ int) {
			reply(t, w, 200, map[string]any{"message": "1 taken, 1 skipped", "taken": []map[string]any{{"entry": "line 1", "id": 3, "name": "main"}},
				"skipped": []map[string]any{{"entry": "line 2", "why": "it is \x1b[2Jodd"}}})
		})
		path := filepath.Join(t.TempDir(), "accounts.txt")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{path, "-"} {
			var stdout, stderr bytes.Buffer
			err := importCommand(parse(t, g.env), []string{"accounts", from}, strings.NewReader(c.text), &stdout, &stderr)
			if want := "accounts  1\ntaken     line 1: account 3 (main)\nskipped   line 2: it is [2Jodd\n"; err != nil || stdout.String() != want {
				t.Errorf("%s from %s: %v, %q", c.why, from, err, stdout.String())
			}
		}
		for _, call := range g.seen() {
			if call != "POST /admin/accounts/import "+c.sent {
				t.Errorf("%s: call %q", c.why, call)
			}
		}
	}
}

// TestImportRefuses: what is wrong is said before anything is asked or changed.
func TestImportRefuses(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	db, err := sql.Open("sqlite", other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE accounts (id, name)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	g := newGatewayFake(t, func(w http.ResponseWriter, path string, _ int) {
		t.Errorf("%s is asked", path)
		w.WriteHeader(500)
	})
	for _, c := range []struct {
		why   string
		args  []string
		stdin string
		says  string
	}{
		{"no words", nil, "", "sluice import qcc-plus FILE|DSN, sluice import amq2api FILE|DSN, sluice import accounts FILE|-"},
		{"another word", []string{"other", "x"}, "", "sluice import accounts"},
		{"no database", []string{"amq2api"}, "", "sluice import amq2api FILE|DSN"},
		{"two", []string{"amq2api", "a", "b"}, "", "sluice import amq2api FILE|DSN"},
		{"no such database", []string{"amq2api", filepath.Join(dir, "nowhere.db")}, "", "there is no file"},
		{"a directory", []string{"amq2api", dir}, "", "such as data/amq2api.db"},
		{"another database", []string{"amq2api", other}, "", "holds no accounts table of amq2api"},
		{"a server that is not there", []string{"amq2api", "postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable"}, "", "the database to import from"},
		{"no file of accounts", []string{"accounts"}, "", "or - for standard input"},
		{"no such file", []string{"accounts", filepath.Join(dir, "nowhere")}, "", "no such file"},
		{"a text without accounts", []string{"accounts", "-"}, "PORT=8080", "names no account"},
		{"too long a text", []string{"accounts", "-"}, strings.Repeat(" ", 2<<20), "1 MiB"},
	} {
		var stdout, stderr bytes.Buffer
		err := importCommand(parse(t, g.env), c.args, strings.NewReader(c.stdin), &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.why, err, c.says)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", c.why, err)
		}
	}
	var stdout, stderr bytes.Buffer
	if err := importCommand(parse(t, map[string]string{"STORE_URL": "memory:"}), []string{"accounts", "-"}, strings.NewReader(accountLine), &stdout, &stderr); err == nil || !strings.Contains(err.Error(), "STORE_URL") {
		t.Errorf("into a store in memory: %v", err)
	}
	if err := importCommand(parse(t, g.env), []string{"accounts", "--help"}, nil, &stdout, &stderr); err != nil || !strings.Contains(stdout.String(), "Kiro API keys") {
		t.Errorf("help: %v, %q", err, stdout.String())
	}
}

// TestImportAmq2API: the command imports a pool into a store of its own, twice.
func TestImportAmq2API(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "amq2api.db")
	db, err := sql.Open("sqlite", old)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`CREATE TABLE accounts (id, name, refresh_token, client_id, client_secret);
CREATE TABLE api_keys (id, key, name, is_active);
INSERT INTO accounts VALUES (1, 'main', 'aorAAAAA-refresh-1', 'client-1', 'secret-1');
INSERT INTO api_keys VALUES (1, 'amq-admin-default-key-change-immediately', 'default', 1), (2, 'amq-a-key-of-a-client', 'client', 1);`)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"DATABASE_PATH": filepath.Join(dir, "sluice.db")}
	for _, want := range [][]string{{"nodes     1", "keys      1", "skipped   key 1 (default): it is one that the guides publish"}, {"nodes     0", "2 accounts and keys were taken by an earlier import"}} {
		var stdout, stderr bytes.Buffer
		if err := run([]string{"import", "amq2api", old}, env, &stdout, &stderr); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(stdout.String(), w) {
				t.Errorf("no %q in\n%s", w, stdout.String())
			}
		}
		if strings.Contains(stdout.String(), "aorAAAAA") || strings.Contains(stdout.String(), "amq-") {
			t.Errorf("the report shows a secret:\n%s", stdout.String())
		}
	}
}
