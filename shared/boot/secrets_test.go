package boot_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/logging"
	"sluice/shared/seal"
	"sluice/shared/store/memory"
	"sluice/shared/store/sqlite"
)

// openFile starts and stops a gateway over an SQLite file.
func openFile(t *testing.T, path string, env map[string]string) error {
	t.Helper()
	c, err := boottest.Parse(env)
	if err != nil {
		t.Fatal(err)
	}
	app, err := boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: c, Log: logging.Discard(), Openers: map[string]boot.Opener{
		"memory": func(ctx context.Context, _ core.Secret, log *slog.Logger) (boot.Opened, error) {
			s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: log})
			return boot.Opened{Store: s, File: path, Where: path}, err
		}}})
	if err != nil {
		return err
	}
	return app.Close()
}

// files returns every file of a directory with its content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		out[filepath.Base(p)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMasterKeyFile: made beside the file on the first start, readable by its owner only, used again.
func TestMasterKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "sluice.db")
	env := map[string]string{"UPSTREAM_API_KEY": "sk-ant-in-the-file", "ADMIN_API_KEY": "my-secure-admin-key", "DEFAULT_PROXY_API_KEY": "alpha-proxy-key-123"}
	if err := openFile(t, path, env); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path + ".key")
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v; want mode 0600", fi, err)
	}
	before := files(t, filepath.Dir(path))
	if err := openFile(t, path, env); err != nil {
		t.Fatal(err)
	}
	after := files(t, filepath.Dir(path))
	if before["sluice.db.key"] != after["sluice.db.key"] {
		t.Error("the key changed")
	}
	for name, data := range after {
		for _, secret := range []string{"sk-ant-in-the-file", "my-secure-admin-key", "alpha-proxy-key-123"} {
			if strings.Contains(data, secret) {
				t.Errorf("%s holds %s in the clear", name, secret)
			}
		}
		if strings.HasPrefix(name, ".master") {
			t.Errorf("a scrap is left: %s", name)
		}
	}
}

// TestMasterKeyThatDoesNotFit: one line that says what to do, and nothing changed.
func TestMasterKeyThatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		reason string
		env    map[string]string
		spoil  func(key string) error
		wants  []string
	}{
		{"another SLUICE_MASTER_KEY", map[string]string{"SLUICE_MASTER_KEY": seal.NewLocalKey().Reveal()}, nil, []string{"SLUICE_MASTER_KEY: ", "first started with"}},
		{"another key file", nil, func(p string) error { return os.WriteFile(p, []byte(seal.NewLocalKey().Reveal()), 0o600) }, []string{".key: ", "first started with"}},
		{"the key file is lost", nil, os.Remove, []string{".key: ", "missing"}},
		{"the key file is cut", nil, func(p string) error { return os.Truncate(p, 10) }, []string{".key: ", "damaged"}},
		{"the key file is empty", nil, func(p string) error { return os.Truncate(p, 0) }, []string{".key: ", "damaged"}},
		{"the key file is a directory", nil, func(p string) error {
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.Mkdir(p, 0o700)
		}, []string{".key"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sluice.db")
			if err := openFile(t, path, map[string]string{"UPSTREAM_API_KEY": "sk-ant-x"}); err != nil {
				t.Fatal(err)
			}
			if c.spoil != nil {
				if err := c.spoil(path + ".key"); err != nil {
					t.Fatal(err)
				}
			}
			before := files(t, filepath.Dir(path))
			err := openFile(t, path, c.env)
			if err == nil {
				t.Fatal("it starts")
			}
			for _, w := range c.wants {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not say %q: %v", w, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
			after := files(t, filepath.Dir(path))
			for name := range after {
				if _, ok := before[name]; !ok {
					t.Errorf("%s was made", name)
				}
			}
			if !bytes.Equal([]byte(before["sluice.db"]), []byte(after["sluice.db"])) {
				t.Error("the database changed")
			}
		})
	}
}

// TestMasterKeyOfTheEnvironment needs no file, and goes on after a file is set aside.
func TestMasterKeyOfTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	env := map[string]string{"SLUICE_MASTER_KEY": seal.NewLocalKey().Reveal()}
	for range 2 {
		if err := openFile(t, path, env); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + ".key"); err == nil {
		t.Error("a key file was made although SLUICE_MASTER_KEY is set")
	}
	if err := openFile(t, path, nil); err == nil || !strings.Contains(err.Error(), "SLUICE_MASTER_KEY") {
		t.Errorf("without the variable: %v; want an error naming it", err)
	}
	if _, err := os.Stat(path + ".key"); err == nil {
		t.Error("a key that opens nothing was made")
	}
	// what the key file held may move into the variable
	other := filepath.Join(t.TempDir(), "sluice.db")
	if err := openFile(t, other, nil); err != nil {
		t.Fatal(err)
	}
	held, err := os.ReadFile(other + ".key")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(other + ".key"); err != nil {
		t.Fatal(err)
	}
	if err := openFile(t, other, map[string]string{"SLUICE_MASTER_KEY": strings.TrimSpace(string(held))}); err != nil {
		t.Error(err)
	}
}

// TestMasterKeyInTheStore is for server stores: made once, warned of at each start.
func TestMasterKeyInTheStore(t *testing.T) {
	s := memory.New()
	g := boottest.StartOn(t, s, nil)
	sealed := g.Box.Seal("x", core.NewSecret("y"))
	for range 2 {
		if !strings.Contains(notes(g), "SLUICE_MASTER_KEY") {
			t.Errorf("no warning:\n%s", notes(g))
		}
		restart(t, g, nil)
	}
	if _, err := g.Box.Open("x", sealed); err != nil {
		t.Error(err)
	}
	if err := g.Restart(map[string]string{"SLUICE_MASTER_KEY": seal.NewLocalKey().Reveal()}); err == nil || !strings.Contains(err.Error(), "SLUICE_MASTER_KEY") {
		t.Errorf("another key: %v", err)
	}
	own := boottest.StartOn(t, memory.New(), map[string]string{"SLUICE_MASTER_KEY": seal.NewLocalKey().Reveal()})
	if err := own.Restart(nil); err == nil || !strings.Contains(err.Error(), "SLUICE_MASTER_KEY: ") {
		t.Errorf("started with a key, restarted without: %v", err)
	}
}
