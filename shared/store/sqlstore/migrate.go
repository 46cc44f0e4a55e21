package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"sluice/shared/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migration is one step of the schema. Its file is NNNN_name.sql and begins with "-- compatible: N", the oldest version
// of the schema whose programs can work with the result.
type migration struct {
	version, compatible int
	statements          []string
}

// Version is the schema's version that this program makes.
func Version() (int, error) {
	ms, err := load(nil)
	if err != nil {
		return 0, err
	}
	return ms[len(ms)-1].version, nil
}

// load reads the migrations in order.
func load(types map[string]string) ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var pairs []string
	for word, t := range types {
		pairs = append(pairs, word, t)
	}
	words := strings.NewReplacer(pairs...)
	var out []migration
	for i, name := range names {
		b, err := fs.ReadFile(migrations, name)
		if err != nil {
			return nil, err
		}
		first, text, _ := strings.Cut(string(b), "\n")
		m := migration{version: i + 1}
		if m.compatible, err = strconv.Atoi(strings.TrimPrefix(first, "-- compatible: ")); err != nil {
			return nil, fmt.Errorf("%s: its first line must name the compatible version", name)
		}
		if !strings.HasPrefix(name, fmt.Sprintf("migrations/%04d_", m.version)) {
			return nil, fmt.Errorf("%s: migrations must be numbered without gaps", name)
		}
		for s := range strings.SplitSeq(words.Replace(text), ";\n") {
			if s = strings.TrimSpace(s); s != "" {
				m.statements = append(m.statements, s)
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// schema reads the schema's version and the oldest one compatible with it; 0, 0 when there is none yet.
func schema(ctx context.Context, db *sql.DB, d *Dialect) (version, compatible int, err error) {
	var n int
	if err := db.QueryRowContext(ctx, d.query(d.HasTable), "sluice_schema").Scan(&n); err != nil || n == 0 {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT version, compatible FROM sluice_schema").Scan(&version, &compatible)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return version, compatible, err
}

// CheckSchema reads, and only reads, whether this program may use the database: store.ErrNewer when not.
func CheckSchema(ctx context.Context, db *sql.DB, d Dialect, name string) error {
	version, compatible, err := schema(ctx, db, &d)
	if err != nil {
		return fmt.Errorf("%s: read its schema version: %w", name, err)
	}
	return refuse(name, version, compatible)
}

// refuse reports store.ErrNewer when this program is too old for a schema.
func refuse(name string, version, compatible int) error {
	ours, err := Version()
	if err != nil || ours >= compatible {
		return err
	}
	return fmt.Errorf("%s: its schema has version %d, which needs a program that knows version %d or later; this one knows %d. Use a newer sluice; nothing was changed: %w",
		name, version, compatible, ours, store.ErrNewer)
}

// Migrate brings the schema up to date, each step in a transaction. Steps of newer compatible programs are left alone.
// store.ErrNewer when this program may not use the database.
func (e *Engine) Migrate(ctx context.Context) error {
	version, compatible, err := schema(ctx, e.w, &e.dialect)
	if err != nil {
		return e.fail(ctx, "read the schema version", err)
	}
	if err := refuse(e.name, version, compatible); err != nil {
		return err
	}
	ms, err := load(e.dialect.Types)
	if err != nil {
		return e.fail(ctx, "read the migrations", err)
	}
	for _, m := range ms {
		if m.version <= version {
			continue
		}
		compatible = max(compatible, m.compatible)
		err := e.write(ctx, fmt.Sprintf("migrate to version %d", m.version), func(tx *sql.Tx) error {
			return e.step(ctx, tx, m, compatible)
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) step(ctx context.Context, tx *sql.Tx, m migration, compatible int) error {
	if m.version == 1 {
		q := strings.ReplaceAll("CREATE TABLE sluice_schema (version $INT NOT NULL, compatible $INT NOT NULL)", "$INT", e.dialect.Types["$INT"])
		if _, err := e.exec(ctx, tx, q); err != nil {
			return err
		}
	}
	for _, q := range m.statements {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%w in %.60q", err, q)
		}
	}
	if _, err := e.exec(ctx, tx, "DELETE FROM sluice_schema"); err != nil {
		return err
	}
	_, err := e.exec(ctx, tx, "INSERT INTO sluice_schema (version, compatible) VALUES (?, ?)", m.version, compatible)
	return err
}
