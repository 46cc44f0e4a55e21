package sqlstore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/sqlite"
)

// When the disk refuses, reports are needed most: they show what it has.
func TestReportsWithoutSaving(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	exec := func(q string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UTC()
	settle := func(id string) {
		t.Helper()
		err := s.Settle(t.Context(), store.SettleRequest{ID: id, Account: "acme", Record: core.Settlement{RequestID: id, Account: "acme", Key: "1", Model: "m",
			Status: 200, Attempts: 1, StartedAt: now, EndedAt: now, Tokens: core.Tokens{Input: 7}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(reason string, n int) {
		t.Helper()
		recs, _, err := s.Records(t.Context(), store.UsageFilter{Account: "acme"}, "", 100)
		if err != nil || len(recs) != n {
			t.Errorf("%s: got %d records, want %d: %v", reason, len(recs), n, err)
		}
		sums, err := s.Sums(t.Context(), store.UsageFilter{Account: "acme"}, store.GroupNone)
		if err != nil || len(sums) != 1 || sums[0].Tokens.Input != int64(7*n) {
			t.Errorf("%s: got sums %+v, want %d: %v", reason, sums, 7*n, err)
		}
	}
	settle("a")
	want("well", 1)
	exec("CREATE TRIGGER full BEFORE INSERT ON sluice_records BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
	settle("b")
	want("while saving fails", 1)
	if err := s.Ping(t.Context()); err == nil {
		t.Error("nothing tells of it")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Records(gone, store.UsageFilter{}, "", 100); err == nil {
		t.Error("records for a caller who left")
	}
	if _, err := s.Sums(gone, store.UsageFilter{}, store.GroupNone); err == nil {
		t.Error("sums for a caller who left")
	}
	exec("DROP TRIGGER full")
	want("when it works again", 2)
}
