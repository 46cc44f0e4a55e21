//go:build unix

package process

import (
	"database/sql"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to spoil a database
)

// TestBadEnvironment: every problem at once, a line each that names its variable, exit code 1, no secret, nothing made.
func TestBadEnvironment(t *testing.T) {
	dir := t.TempDir()
	lines := fails(t, dir, map[string]string{
		"PORT": "eighty", "PROXY_RETRY_MAX": "99", "DRAIN_TIMEOUT": "soon", "UPSTREAM_BASE_URL": "https://user:hunter2-url@host", "TRUSTED_PROXIES": "all",
		"SLUICE_MASTER_KEY": "hunter2-master", "LOG_LEVEL": "loud", "ADMIN_API_KEY": "hunter2 with a blank", "DEFAULT_PROXY_API_KEY": "sluice_hunter2",
		"ALLOW_DEFAULT_CREDENTIALS": "perhaps", "HTTPS_PROXY": "hunter2-proxy", "PUBLIC_URL": "gate", "UPSTREAM_NAME": "a\nb", "MAX_BODY_BYTES": "1",
	})
	for _, name := range []string{"PORT", "PROXY_RETRY_MAX", "DRAIN_TIMEOUT", "UPSTREAM_BASE_URL", "TRUSTED_PROXIES", "SLUICE_MASTER_KEY", "LOG_LEVEL",
		"ADMIN_API_KEY", "DEFAULT_PROXY_API_KEY", "ALLOW_DEFAULT_CREDENTIALS", "HTTPS_PROXY", "PUBLIC_URL", "UPSTREAM_NAME", "MAX_BODY_BYTES"} {
		n := 0
		for _, l := range lines {
			if strings.HasPrefix(l, "sluice: "+name+": ") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d lines for %s in\n%s", n, name, strings.Join(lines, "\n"))
		}
	}
	if len(lines) != 14 || strings.Contains(strings.Join(lines, ""), "hunter2") {
		t.Errorf("%d lines, want 14 without a secret:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("it made a database all the same")
	}
}

// TestBadStarts: one clear line that names the variable or the file, and exit code 1.
func TestBadStarts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	dir := t.TempDir()
	write := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file := write("file", "text")
	for _, c := range []struct {
		reason string
		env    map[string]string
		says   []string
	}{
		{"the port is in use: LISTEN_ADDR", map[string]string{"LISTEN_ADDR": "127.0.0.1:" + port}, []string{"LISTEN_ADDR: ", port, "in use"}},
		{"the port is in use: PORT", map[string]string{"PORT": port}, []string{"PORT: ", port, "in use"}},
		{"an address that is not ours", map[string]string{"LISTEN_ADDR": "192.0.2.1:8000"}, []string{"LISTEN_ADDR: ", "192.0.2.1:8000"}},
		{"an address without a colon", map[string]string{"LISTEN_ADDR": "8000"}, []string{"LISTEN_ADDR: ", "8000"}},
		{"no database at all", map[string]string{"DATABASE_PATH": write("text.db", strings.Repeat("this is no database\n", 500))}, []string{"DATABASE_PATH: ", "text.db"}},
		{"a damaged database", map[string]string{"DATABASE_PATH": write("torn.db", "SQLite format 3\x00"+strings.Repeat("\xff", 8192))}, []string{"DATABASE_PATH: ", "torn.db"}},
		{"a directory", map[string]string{"DATABASE_PATH": dir}, []string{"DATABASE_PATH: ", "directory"}},
		{"below a regular file", map[string]string{"STORE_URL": "sqlite:" + file + "/sluice.db"}, []string{"STORE_URL: ", file}},
		{"a store this program has not", map[string]string{"STORE_URL": "oracle://user:hunter2@host"}, []string{"STORE_URL: ", "sqlite:"}},
		{"no path", map[string]string{"STORE_URL": "sqlite:"}, []string{"STORE_URL: ", "path"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			home := t.TempDir()
			lines := fails(t, home, with(map[string]string{"LISTEN_ADDR": "127.0.0.1:0", "LOG_LEVEL": "error"}, flat(c.env)...))
			if len(lines) != 1 || !strings.HasPrefix(lines[0], "sluice: ") || strings.Contains(lines[0], "hunter2") {
				t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
			}
			for _, s := range c.says {
				if !strings.Contains(lines[len(lines)-1], s) {
					t.Errorf("it does not say %q: %s", s, lines[len(lines)-1])
				}
			}
		})
	}
}

func flat(m map[string]string) (out []string) {
	for k, v := range m {
		out = append(out, k, v)
	}
	if _, ok := m["PORT"]; ok {
		out = append(out, "LISTEN_ADDR", "")
	}
	return out
}

// contents reads every file of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(data)
	}
	return out
}

// TestNewerDatabase is refused, and is the same to the byte afterwards.
func TestNewerDatabase(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil).stop()
	path := filepath.Join(dir, "data", "sluice.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE sluice_schema SET version = 9999, compatible = 9999"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before := contents(t, filepath.Dir(path))
	for _, args := range [][]string{{"serve"}, {"key", "create"}} {
		lines := fails(t, dir, map[string]string{"LISTEN_ADDR": "127.0.0.1:0"}, args...)
		if len(lines) != 1 || !strings.Contains(lines[0], "newer") || !strings.Contains(lines[0], "sluice.db") {
			t.Errorf("%s: %q", args[0], lines)
		}
	}
	after := contents(t, filepath.Dir(path))
	for name, data := range before {
		if after[name] != data {
			t.Errorf("%s changed", name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok && !strings.HasSuffix(name, "-shm") && !strings.HasSuffix(name, "-wal") {
			t.Errorf("%s was made", name)
		}
	}
}

// TestSecondServerOnOneFile says who has it, and does the first no harm.
func TestSecondServerOnOneFile(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	lines := fails(t, dir, map[string]string{"LISTEN_ADDR": "127.0.0.1:0"})
	if len(lines) != 1 || !strings.Contains(lines[0], "in use by process "+strconv.Itoa(s.cmd.Process.Pid)) || !strings.Contains(lines[0], "sluice.db") {
		t.Errorf("it does not say who has the file: %q", lines)
	}
	if code, stdout, stderr := run(t, dir, nil, "key", "create"); code != 0 || stdout == "" {
		t.Errorf("commands no longer reach the first: %d %s", code, stderr)
	}
	s.stop()
	start(t, dir, nil).stop()
}

// TestWrongMasterKey: one line, and the right one still works.
func TestWrongMasterKey(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, map[string]string{"UPSTREAM_API_KEY": "sk-ant-x"}).stop()
	wrong := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	lines := fails(t, dir, map[string]string{"LISTEN_ADDR": "127.0.0.1:0", "SLUICE_MASTER_KEY": wrong})
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "sluice: SLUICE_MASTER_KEY: ") || strings.Contains(lines[0], wrong) {
		t.Errorf("%q", lines)
	}
	start(t, dir, nil).stop()
}
