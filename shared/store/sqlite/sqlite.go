// Package sqlite is the embedded store: one file, one process. What it promises is said by sqlstore.Embedded; edits of
// documents are on disk when they are answered.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sluice/shared/store/sqlstore"

	sqlite3 "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// Options are for Open.
type Options struct {
	Logger *slog.Logger // gets errors of saving in the background; nil: nobody does
}

// Store is a store in a file. Close releases it.
type Store struct {
	*sqlstore.Embedded
	path           string
	writer, reader *sql.DB
	lock           *lock
	close          func() error
}

// dialect is SQLite's.
func dialect() sqlstore.Dialect {
	return sqlstore.Dialect{
		Types:    map[string]string{"$KEY": "TEXT", "$TEXT": "TEXT", "$INT": "INTEGER", "$BLOB": "BLOB", "$CLUSTERED": "WITHOUT ROWID"},
		Cost:     `CASE instr(CAST(body AS TEXT), '"q":') WHEN 0 THEN 0 ELSE CAST(substr(CAST(body AS TEXT), instr(CAST(body AS TEXT), '"q":') + 4) AS INTEGER) END`,
		Apart:    " LIMIT -1",
		Unpriced: `CASE instr(CAST(body AS TEXT), '"z":true') WHEN 0 THEN 0 ELSE 1 END`,
		PutCosts: "ON CONFLICT (account, hour_no, key_id, node, model) DO UPDATE SET cost_usd = excluded.cost_usd, unpriced = excluded.unpriced",
		Join:     "group_concat(%s, '')",
		HasTable: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
		InsertNew: func(table string, cols []string, rows int) string {
			return sqlstore.InsertRows(table, cols, rows) + " ON CONFLICT DO NOTHING"
		},
		Upsert: func(table string, keys, cols []string, rows int) string {
			sets := make([]string, len(cols))
			for i, c := range cols {
				sets[i] = c + " = excluded." + c
			}
			all := append(append([]string(nil), keys...), cols...)
			return sqlstore.InsertRows(table, all, rows) + " ON CONFLICT (" + strings.Join(keys, ", ") + ") DO UPDATE SET " + strings.Join(sets, ", ")
		},
		Taken: func(err error) bool {
			e, ok := errors.AsType[*sqlite3.Error](err)
			return ok && (e.Code() == codes.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == codes.SQLITE_CONSTRAINT_UNIQUE)
		},
	}
}

// Open opens the file at path, creating it (readable by its owner only, as is its directory) when it is missing, and
// brings its schema up to date. It locks path + ".lock" until Close: ErrInUse when another process has it.
// store.ErrNewer when the file needs a newer program; then it is not touched.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("path of the store: %w", err)
	}
	if fi, err := os.Stat(abs); err == nil && fi.IsDir() {
		return nil, fmt.Errorf("%s is a directory; the store needs the path of a file", path)
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
		return nil, fmt.Errorf("%s: the directory of the store: %w", path, err)
	}
	l, err := acquire(abs)
	if err != nil {
		return nil, err
	}
	s := &Store{path: abs, lock: l}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.release())
	}
	s.close = sync.OnceValue(s.shut)
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) (err error) {
	if err := s.inspect(ctx); err != nil {
		return err
	}
	// Made here, because SQLite would let others read it.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("the store cannot be written: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("the store: %w", err)
	}
	if s.writer, err = sql.Open("sqlite", dsn(s.path, "_txlock=immediate", "_journal_mode=WAL", "_synchronous=FULL", "_foreign_keys=1", "_pragma=wal_autocheckpoint(4000)")); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = sql.Open("sqlite", dsn(s.path, "_query_only=1")); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.reader.SetMaxOpenConns(4)
	s.reader.SetMaxIdleConns(4)
	e := sqlstore.NewEngine(sqlstore.Options{Name: s.path, Writer: s.writer, Reader: s.reader, Dialect: dialect(), Single: true})
	if err := e.Migrate(ctx); err != nil {
		return err
	}
	s.Embedded, err = sqlstore.NewEmbedded(ctx, e, o.Logger)
	return err
}

// dsn is a URI, so that any character may be in the path.
func dsn(path string, params ...string) string {
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // C:/...
	}
	return (&url.URL{Scheme: "file", Path: p, RawQuery: strings.Join(append(params, "_busy_timeout=5000"), "&")}).String()
}

// inspect looks at a file that exists, without changing it, and tells why it cannot be the store.
func (s *Store) inspect(ctx context.Context) (err error) {
	f, err := os.Open(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the store cannot be read: %w", err)
	}
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	n, err := io.ReadFull(f, head)
	_ = f.Close() // only read
	switch {
	case errors.Is(err, io.EOF):
		return nil // empty
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the store cannot be read: %w", err)
	case string(head[:n]) != magic:
		return fmt.Errorf("%s is not an SQLite database, or is damaged: restore a backup, or move it away to start anew", s.path)
	}
	db, err := sql.Open("sqlite", dsn(s.path, "mode=ro"))
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = sqlstore.CheckSchema(ctx, db, dialect(), s.path)
	if e, ok := errors.AsType[*sqlite3.Error](err); ok && e.Code() == codes.SQLITE_READONLY_ROLLBACK {
		return nil // a crash left a half-done change that must be rolled back first; Migrate checks again
	}
	return err
}

// Backup writes a copy of the store to path, a file that must not exist. It includes all that was settled before. The
// store goes on serving meanwhile.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	// Made here, because SQLite would let others read it, and would take an existing file that is empty.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() {
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(fmt.Errorf("backup to %s: %w", path, err), os.Remove(path))
		}
	}()
	db, err := sql.Open("sqlite", dsn(s.path)) // of its own, to keep no other waiting
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	abs, err := filepath.Abs(path) // which SQLite never takes for a URI
	if err == nil {
		_, err = db.ExecContext(ctx, "VACUUM INTO ?", abs)
	}
	return err
}

// Close saves what waits and releases the file. The error tells what is lost. Further calls return the same.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	return errors.Join(s.Embedded.Close(), s.release())
}

// release closes what is open. The last connection to close folds the write-ahead log into the file.
func (s *Store) release() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, s.lock.release())...)
}
