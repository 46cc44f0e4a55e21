package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/sqlite"
	"sluice/shared/store/sqlstore"
)

// refused expects that Open fails with one clear error that names the path.
func refused(t *testing.T, path string, words ...string) error {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err == nil {
		_ = s.Close()
		t.Fatalf("%s opens", path)
	}
	if msg := err.Error(); strings.Contains(msg, "\n") || strings.Count(msg, filepath.Base(path)) == 0 {
		t.Errorf("the error is not one line that names the file: %s", msg)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	return err
}

func mustOpen(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// edit changes a closed store's file behind its back.
func edit(t *testing.T, path string, queries ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// files are the contents of a store's files that matter.
func files(t *testing.T, path string) string {
	t.Helper()
	var all bytes.Buffer
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if len(b) > 0 {
			fmt.Fprintf(&all, "%s %d\n%s\n", suffix, len(b), b)
		}
	}
	return all.String()
}

func TestNotAStore(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Run("Directory", func(t *testing.T) { refused(t, dir, "is a directory") })
	t.Run("Text", func(t *testing.T) {
		path := write("text", strings.Repeat("hello ", 1000))
		refused(t, path, "not an SQLite database")
		if files(t, path) != files(t, write("same", strings.Repeat("hello ", 1000))) {
			t.Error("the file was changed")
		}
	})
	t.Run("Short", func(t *testing.T) { refused(t, write("short", "SQL"), "not an SQLite database") })
	t.Run("Empty", func(t *testing.T) {
		if err := mustOpen(t, write("empty", "")).Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("Damaged", func(t *testing.T) {
		path := write("damaged", "")
		if err := mustOpen(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 100; i < len(b); i++ {
			b[i] = byte(i * 7)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, path, "malformed")
	})
	t.Run("Truncated", func(t *testing.T) {
		path := write("truncated", "")
		if err := mustOpen(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 4096); err != nil {
			t.Fatal(err)
		}
		refused(t, path, "malformed")
	})
	// Nobody can make a directory below a file, not even root.
	t.Run("UnderAFile", func(t *testing.T) {
		refused(t, filepath.Join(write("file", "x"), "sluice.db"), "directory of the store")
	})
}

func TestNewer(t *testing.T) {
	ours, err := sqlstore.Version()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sluice.db")
	if err := mustOpen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, fmt.Sprintf("UPDATE sluice_schema SET version = %d, compatible = %d", ours+2, ours+1))
	before := files(t, path)
	if err := refused(t, path, fmt.Sprint("version ", ours+1), "Use a newer sluice"); !errors.Is(err, store.ErrNewer) {
		t.Errorf("%v is not ErrNewer", err)
	}
	if files(t, path) != before {
		t.Error("the file was changed")
	}

	// The same when a crash left the change in the write-ahead log.
	crashed := filepath.Join(t.TempDir(), "sluice.db")
	if err := mustOpen(t, crashed).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", crashed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("UPDATE sluice_schema SET version = %d, compatible = %d", ours+1, ours+1)); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "sluice.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(crashed + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before = files(t, copied)
	if err := refused(t, copied); !errors.Is(err, store.ErrNewer) {
		t.Errorf("%v is not ErrNewer", err)
	}
	if files(t, copied) != before {
		t.Error("the files of a crash were changed")
	}

	// A newer program that kept to what we know.
	edit(t, path, fmt.Sprintf("UPDATE sluice_schema SET compatible = %d", ours))
	s := mustOpen(t, path)
	if _, err := s.Next(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	edit(t, path, fmt.Sprintf("UPDATE sluice_schema SET version = version / (version = %d)", ours+2)) // NULL, refused, if it differs
}

// A crash while the file was not yet, or not by us, in WAL mode leaves a journal that only a writer can roll back.
func TestHotJournal(t *testing.T) {
	path, copied := filepath.Join(t.TempDir(), "a.db"), filepath.Join(t.TempDir(), "sluice.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	for _, q := range []string{
		"PRAGMA cache_size = 1", "CREATE TABLE x (n INTEGER, b BLOB)", "INSERT INTO x VALUES (1, zeroblob(100000))",
		"BEGIN", "UPDATE x SET n = 2, b = randomblob(200000)", "INSERT INTO x SELECT 3, randomblob(50000) FROM x",
	} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for _, suffix := range []string{"", "-journal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := mustOpen(t, copied).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	s := mustOpen(t, path)
	err := refused(t, path, fmt.Sprintf("is in use by process %d: stop it, or use its admin API", os.Getpid()))
	if !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("%v is not ErrInUse", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("who holds it: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, path).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// A failed start leaves nothing open: the next one can follow at once.
func TestFailedOpenUnlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "sluice.db")
	s := mustOpen(t, path)
	if _, err := s.Next(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{
		filepath.Dir(path): 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600, backup: 0o600,
	} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", p, fi.Mode().Perm(), err, want)
		}
	}
}

func TestBackup(t *testing.T) {
	path, backup := filepath.Join(t.TempDir(), "sluice.db"), filepath.Join(t.TempDir(), "it's a copy?.db")
	s := mustOpen(t, path)
	if _, err := s.Create(t.Context(), store.Doc{Kind: "meta", ID: "1", Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		r := core.Settlement{RequestID: fmt.Sprint(i), EndedAt: time.Unix(1e9, 0)}
		if err := s.Settle(t.Context(), store.SettleRequest{ID: r.RequestID, Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), backup); !errors.Is(err, os.ErrExist) {
		t.Errorf("over an existing file: %v", err)
	}
	nowhere := filepath.Join(path, "x")
	if err := s.Backup(t.Context(), nowhere); err == nil || !strings.Contains(err.Error(), nowhere) {
		t.Errorf("below a file: %v", err)
	}
	if _, err := s.Create(t.Context(), store.Doc{Kind: "meta", ID: "2"}); err != nil {
		t.Errorf("after the backup: %v", err)
	}
	c := mustOpen(t, backup)
	if _, err := c.Get(t.Context(), "meta", "1"); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), "meta", "2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what came later: %v", err)
	}
	if sums, err := c.Sums(t.Context(), store.UsageFilter{}, store.GroupNone); err != nil || sums[0].Requests != 100 {
		t.Errorf("%+v, %v, want 100 requests", sums, err)
	}
}

// In a bubble a goroutine that outlives Close is a failure, and the clock of the goroutine moves by itself.
func TestCloseEndsGoroutines(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "sluice.db")
		s := mustOpen(t, path)
		r := core.Settlement{RequestID: "1", EndedAt: time.Now()}
		if err := s.Settle(t.Context(), store.SettleRequest{ID: "1", Record: r}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM sluice_records").Scan(&n); err != nil || n != 1 {
			t.Errorf("%d records on disk after a second, %v", n, err)
		}
		if err := errors.Join(db.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
}

// What cannot be saved waits, is told by Ping and is saved later.
func TestUnwritable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	s := mustOpen(t, path)
	if _, err := s.Create(t.Context(), store.Doc{Kind: store.KindKey, ID: "1", Account: "acme"}); err != nil {
		t.Fatal(err)
	}
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
	exec("CREATE TRIGGER no BEFORE INSERT ON sluice_records BEGIN SELECT RAISE(ABORT, 'no room'); END")
	k := store.Subject{Kind: store.KindKey, ID: "1", Version: 1, Limits: core.Limits{RPD: 3}}
	admit := func() (store.AdmitResult, error) {
		return s.Admit(t.Context(), store.AdmitRequest{Now: time.Unix(1e9, 0), ID: "1", Account: "acme", Subjects: []store.Subject{k}})
	}
	if _, err := admit(); err != nil {
		t.Fatal(err)
	}
	r := core.Settlement{RequestID: "1", EndedAt: time.Unix(1e9, 0)}
	if err := s.Settle(t.Context(), store.SettleRequest{ID: "1", Record: r}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "no room") || !strings.Contains(err.Error(), path) {
		t.Errorf("flush: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ping is content")
	}
	exec("DROP TRIGGER no")
	if err := s.Flush(t.Context()); err != nil {
		t.Errorf("flush: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	if res, err := admit(); err != nil || res.Figures[0].Remaining != 1 {
		t.Errorf("the counter of before: %+v, %v", res, err)
	}
	if recs, _, err := s.Records(t.Context(), store.UsageFilter{}, "", 10); err != nil || len(recs) != 1 {
		t.Errorf("%d records, %v", len(recs), err)
	}
}

// BenchmarkSave is the cost of saving a record, in groups of 500.
func BenchmarkSave(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "sluice.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		r := core.Settlement{RequestID: fmt.Sprintf("req_%016x", i*7919), Account: "acme", Key: "1", Node: "1", Model: "m", Endpoint: "/v1/messages",
			Status: 200, EndedAt: time.Unix(1e9+int64(i/100), 0), StartedAt: time.Unix(1e9, 0)}
		if err := s.Settle(b.Context(), store.SettleRequest{ID: r.RequestID, Record: r}); err != nil {
			b.Fatal(err)
		}
		if i%500 == 499 {
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
