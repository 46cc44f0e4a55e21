//go:build unix

package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/sqlstore/sqltest"
)

// A file of a version that knew no costs gets them.
func TestCosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	look, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = look.Close() })
	sqltest.Costs(t, look, func(testing.TB) store.Store { return mustOpen(t, path) })
}
