package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The log of what commands did is exported, verified where it is and as a file, and a changed file is found out.
func TestAudit(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"DATABASE_PATH": filepath.Join(dir, "sluice.db")}
	for _, name := range []string{"one", "two"} {
		if _, err := sluice(t, env, "key", "create", "--name", name); err != nil {
			t.Fatal(err)
		}
	}
	out, err := sluice(t, env, "audit", "verify")
	if err != nil || !strings.Contains(out, "entries  3\n") || !strings.Contains(out, "first    1, ") {
		t.Fatalf("%v: %s", err, out)
	}
	_, head, _ := strings.Cut(out, "head     ")
	head = strings.TrimSpace(head)
	file := filepath.Join(dir, "audit.jsonl")
	if _, err := sluice(t, env, "audit", "export", "-o", file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil || strings.Count(string(data), "\n") != 3 || !strings.Contains(string(data), `"actor":{"kind":"control","account_id":"default"}`) || !strings.Contains(string(data), `"action":"settings.seed"`) {
		t.Errorf("%v: %s", err, data)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if out, err := sluice(t, env, "audit", "verify", file, "--head", strings.ToUpper(head)); err != nil || !strings.Contains(out, head) {
		t.Errorf("the file: %v: %s", err, out)
	}
	spoilt := filepath.Join(dir, "spoilt.jsonl")
	if err := os.WriteFile(spoilt, []byte(strings.Replace(string(data), `"two"`, `"owt"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := sluice(t, env, "audit", "export", "--format", "csv", "--action", "key"); err != nil || strings.Count(out, "key.create") != 2 || !strings.HasPrefix(out, "seq,at,") {
		t.Errorf("as CSV: %v: %s", err, out)
	}
	for _, c := range []struct {
		why  string
		args []string
		says string
	}{
		{"a changed file", []string{"audit", "verify", spoilt}, "entry 3: its hash does not fit"},
		{"another head", []string{"audit", "verify", file, "--head", strings.Repeat("ab", 32)}, "no entry has the hash"},
		{"another head of the gateway's", []string{"audit", "verify", "--head", strings.Repeat("ab", 32)}, "no entry has the hash"},
		{"no file", []string{"audit", "verify", filepath.Join(dir, "none")}, "no such file"},
		{"no command", []string{"audit"}, auditWords},
		{"an unknown word", []string{"audit", "show"}, auditWords},
		{"too many words", []string{"audit", "verify", "a", "b"}, "the command is"},
		{"an unknown form", []string{"audit", "export", "--format", "xml"}, "format"},
		{"a form that is no file", []string{"audit", "export", "-o", filepath.Join(dir, "none", "x")}, "no such file"},
	} {
		if _, err := sluice(t, env, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	// net/http sends X-Admin-Key along with a redirect
	leaked := ""
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked += r.Header.Get("X-Admin-Key") }))
	defer elsewhere.Close()
	away := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer away.Close()
	env["SLUICE_URL"], env["SLUICE_ADMIN_KEY"] = away.URL, "the-admin-key"
	for _, word := range []string{"verify", "export"} {
		if _, err := sluice(t, env, "audit", word); err == nil || leaked != "" {
			t.Errorf("%s by a gateway that sends elsewhere: %v, the other one got the key %q", word, err, leaked)
		}
	}
	env["SLUICE_URL"], env["SLUICE_ADMIN_KEY"] = "https://gateway.example", ""
	if _, err := sluice(t, env, "audit", "verify"); err == nil || !strings.Contains(err.Error(), "SLUICE_ADMIN_KEY") {
		t.Errorf("another gateway without a key: %v", err)
	}
}
