package functions_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The gates of a function's size, in bytes.
const (
	maxBinary = 20_000_000
	maxZip    = 8_000_000
)

// TestSizes: binary and zip of each function, for both architectures, as the Makefile builds them, are under the gates, and
// a second build in another folder gives the same bytes.
func TestSizes(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := copyOf(t, root)
	for _, arch := range []string{"arm64", "amd64"} {
		for _, name := range []string{"proxy", "admin", "healthcheck"} {
			bin, zip := build(t, root, arch, name)
			t.Logf("%s for %s: binary %.2f MB, zip %.2f MB", name, arch, float64(len(bin))/1e6, float64(len(zip))/1e6)
			if len(bin) >= maxBinary || len(zip) >= maxZip {
				t.Errorf("%s for %s is too large: binary %d of %d, zip %d of %d", name, arch, len(bin), maxBinary, len(zip), maxZip)
			}
			if name != "proxy" { // the three differ by a few lines
				continue
			}
			bin2, zip2 := build(t, elsewhere, arch, name)
			if sha256.Sum256(bin) != sha256.Sum256(bin2) || !bytes.Equal(zip, zip2) {
				t.Errorf("%s for %s is not the same when it is built in another folder", name, arch)
			}
		}
	}
}

// copyOf copies what the functions are built of.
func copyOf(t *testing.T, root string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	for _, part := range []string{"functions", "shared"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"go.mod", "go.sum", "Makefile", "changelog.go", "CHANGELOG.md"} {
		b, err := os.ReadFile(filepath.Join(root, f))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// build runs the Makefile's target for one zip, in a folder of the test.
func build(t *testing.T, root, arch, name string) (bin, zip []byte) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "dist")
	cmd := exec.Command("make", "--no-print-directory", "dist/"+name+"-"+arch+".zip", "ARCH="+arch, "FUNCTION="+name, "VERSION=v0.0.0-test", "COMMIT=0123456", "BUILT=2026-01-02T03:04:05Z", "DIST="+out)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	bin, err := os.ReadFile(filepath.Join(out, arch, name, "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	if zip, err = os.ReadFile(filepath.Join(out, name+"-"+arch+".zip")); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(bin), root) {
		t.Errorf("%s for %s names the folder that it was built in", name, arch)
	}
	return bin, zip
}
