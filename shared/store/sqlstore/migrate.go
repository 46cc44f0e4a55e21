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
	ms, err := load(&Dialect{})
	if err != nil {
		return 0, err
	}
	return ms[len(ms)-1].version, nil
}

// load reads the migrations in order, in the words of a dialect.
func load(d *Dialect) ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	pairs := []string{"$COST", d.Cost, "$UNPRICED", d.Unpriced, "$PUT_COSTS", d.PutCosts}
	for word, t := range d.Types {
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
		m.statements = statements(words.Replace(text))
		out = append(out, m)
	}
	return out, nil
}

// statements splits a migration: a statement ends with a semicolon at the end of a line, comments aside.
func statements(text string) (out []string) {
	var plain strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "--")
		plain.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	for s := range strings.SplitSeq(plain.String(), ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
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

// Migrate brings the schema up to date, each step in a transaction where the database can do that. Steps of newer
// compatible programs are left alone. Of many instances that start at once one migrates while the others wait.
// store.ErrNewer when this program may not use the database.
func (e *Engine) Migrate(ctx context.Context) (err error) {
	ms, err := load(&e.dialect)
	if err != nil {
		return e.fail(ctx, "read the migrations", err)
	}
	version, compatible, err := e.schema(ctx)
	if err != nil || version >= len(ms) { // nothing to do: no lock needed
		return err
	}
	if e.dialect.Lock != nil {
		c, cerr := e.w.Conn(ctx)
		if cerr != nil {
			return e.fail(ctx, "migrate", cerr)
		}
		release, lerr := e.dialect.Lock(ctx, c)
		if lerr != nil {
			_ = c.Close() // the first error tells more
			return e.fail(ctx, "wait for the right to migrate", lerr)
		}
		defer func() {
			_, cerr := release(), c.Close() // what is migrated is migrated; a lock ends with its connection
			if err == nil {
				err = e.fail(ctx, "migrate", cerr)
			}
		}()
		if version, compatible, err = e.schema(ctx); err != nil {
			return err
		}
	}
	for _, m := range ms {
		if m.version <= version {
			continue
		}
		compatible = max(compatible, m.compatible)
		if err := e.step(ctx, m, compatible); err != nil {
			return err
		}
	}
	return nil
}

// schema reads the schema's version; store.ErrNewer when this program may not use it.
func (e *Engine) schema(ctx context.Context) (version, compatible int, err error) {
	version, compatible, err = schema(ctx, e.w, &e.dialect)
	if err != nil {
		return 0, 0, e.fail(ctx, "read the schema version", err)
	}
	return version, compatible, refuse(e.name, version, compatible)
}

// step makes one version. Where DDL ends a transaction the version is written in one of its own.
func (e *Engine) step(ctx context.Context, m migration, compatible int) error {
	op := fmt.Sprintf("migrate to version %d", m.version)
	note := func(tx *sql.Tx) error {
		if _, err := e.exec(ctx, tx, "DELETE FROM sluice_schema"); err != nil {
			return err
		}
		_, err := e.exec(ctx, tx, "INSERT INTO sluice_schema (version, compatible) VALUES (?, ?)", m.version, compatible)
		return err
	}
	apart := e.dialect.Made != nil
	err := e.write(ctx, op, func(tx *sql.Tx) error {
		if err := e.ddl(ctx, tx, m); err != nil || apart {
			return err
		}
		return note(tx)
	}, nil)
	if err == nil && apart {
		err = e.write(ctx, op, note, nil)
	}
	return err
}

func (e *Engine) ddl(ctx context.Context, tx *sql.Tx, m migration) error {
	statements := m.statements
	if m.version == 1 {
		first := "CREATE TABLE sluice_schema (version $INT NOT NULL, compatible $INT NOT NULL)"
		statements = append([]string{strings.ReplaceAll(first, "$INT", e.dialect.Types["$INT"])}, statements...)
	}
	for _, q := range statements {
		_, err := tx.ExecContext(ctx, q)
		if err != nil && (e.dialect.Made == nil || !e.dialect.Made(err)) {
			return fmt.Errorf("%w in %.60q", err, q)
		}
	}
	return nil
}
