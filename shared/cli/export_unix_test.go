//go:build unix

package cli_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestExportToOther: an export takes the place of a file, and of nothing else.
func TestExportToOther(t *testing.T) {
	const rows = "a,b\n1,2\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, rows) }))
	defer s.Close()
	w := world{"", map[string]string{"SLUICE_URL": s.URL, "SLUICE_ADMIN_KEY": "k"}}
	link := func(to string) func(dir string) string {
		return func(dir string) string {
			ok(t, os.Symlink(strings.ReplaceAll(to, "DIR", dir), filepath.Join(dir, "link.csv")))
			return "link.csv"
		}
	}
	for _, c := range []struct {
		why, file string // "": none
		path      func(dir string) string
		want      string // what the file sub/u.csv has
		fails     bool
	}{
		{"a new file", "", func(string) string { return "sub/u.csv" }, rows, false},
		{"a file", "old", func(string) string { return "sub/u.csv" }, rows, false},
		{"a link to a file", "old", link("sub/u.csv"), rows, false},
		{"a link to a whole path", "old", link("DIR/sub/u.csv"), rows, false},
		{"a link to what is not there yet", "", link("sub/u.csv"), rows, false},
		{"a link to a link", "old", func(dir string) string {
			ok(t, os.Symlink("u.csv", filepath.Join(dir, "sub", "second.csv")))
			return link("sub/second.csv")(dir)
		}, rows, false},
		{"a link in a folder that is a link", "old", func(dir string) string {
			ok(t, os.Mkdir(filepath.Join(dir, "far"), 0o700))
			ok(t, os.Symlink("../sub/u.csv", filepath.Join(dir, "far", "u")))
			ok(t, os.Symlink("far", filepath.Join(dir, "near")))
			return "near/u"
		}, rows, false},
		{"a link to itself", "old", link("link.csv"), "old", true},
		{"a folder", "old", func(string) string { return "sub" }, "old", true},
	} {
		t.Run(c.why, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			ok(t, os.Mkdir("sub", 0o700))
			if c.file != "" {
				ok(t, os.WriteFile("sub/u.csv", []byte(c.file), 0o600))
			}
			path := c.path(dir)
			before, _ := os.Lstat(path)
			_, _, err := w.run("usage", "--format", "csv", "-o", path)
			if data, _ := os.ReadFile("sub/u.csv"); (err != nil) != c.fails || string(data) != c.want {
				t.Errorf("%v, the file has %q", err, data)
			}
			if after, err := os.Lstat(path); err != nil || before != nil && after.Mode().Type() != before.Mode().Type() {
				t.Errorf("it is %v, was %v", after.Mode(), before.Mode())
			}
			if left, _ := filepath.Glob("*/.sluice-export*"); left != nil {
				t.Errorf("it left %v", left)
			}
		})
	}
	t.Run("a pipe", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pipe")
		ok(t, syscall.Mkfifo(path, 0o600))
		f, err := os.OpenFile(path, os.O_RDWR, 0) // so that neither end waits for the other
		ok(t, err)
		defer f.Close()
		_, _, err = w.run("usage", "--format", "csv", "-o", path)
		i, lerr := os.Lstat(path)
		if err != nil || lerr != nil || i.Mode().Type() != os.ModeNamedPipe {
			t.Fatalf("%v; it is %v, %v", err, i.Mode(), lerr)
		}
		data := make([]byte, 99)
		if n, err := f.Read(data); err != nil || string(data[:n]) != rows {
			t.Errorf("%q, %v in the pipe", data[:n], err)
		}
	})
	t.Run("what standard output is", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "out.csv")
		ok(t, os.WriteFile(path, []byte("before\n"), 0o600))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		ok(t, err)
		defer f.Close()
		defer func(old *os.File) { os.Stdout = old }(os.Stdout)
		os.Stdout = f
		_, _, err = w.run("usage", "--format", "csv", "-o", path)
		if data, _ := os.ReadFile(path); err != nil || string(data) != "before\n"+rows {
			t.Errorf("%q, %v", data, err)
		}
	})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
