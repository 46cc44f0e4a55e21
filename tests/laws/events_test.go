package laws_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryEventIsEmitted: of the older gateway's nineteen types of events a third never fired. Each constant of core is used by
// code that emits, not only listed.
func TestEveryEventIsEmitted(t *testing.T) {
	dir := root(t)
	src, err := os.ReadFile(filepath.Join(dir, "shared", "core", "event.go"))
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	err = filepath.WalkDir(filepath.Join(dir, "shared"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.Contains(path, "/core/") || strings.Contains(path, "/notify/") {
			return err
		}
		b, err := os.ReadFile(path)
		code.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\t(Event\w+) +EventType = `).FindAllStringSubmatch(string(src), -1)
	if len(names) < 18 {
		t.Fatalf("found %d types of events", len(names))
	}
	for _, n := range names {
		if !regexp.MustCompile(`\bcore\.` + n[1] + `\b`).MatchString(code.String()) {
			t.Errorf("nothing emits core.%s", n[1])
		}
	}
}
