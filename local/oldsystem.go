package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice/shared/boot"
	"sluice/shared/core"
	"sluice/shared/importer"
	"sluice/shared/store/sqlstore"
)

// oldDatabases look, at a first start, for the tables of an older system in the store's own database.
var oldDatabases = map[string]boot.OldDatabase{
	"sqlite": func(ctx context.Context, rest core.Secret) (importer.Source, error) {
		return ifOld(ctx, oldSQLite, strings.TrimPrefix(rest.Reveal(), "//"))
	},
	"mysql":      ifOldServer(oldMySQL),
	"postgres":   ifOldServer(oldPostgres),
	"postgresql": ifOldServer(oldPostgres),
}

func ifOldServer(open func(string) (importer.Source, error)) boot.OldDatabase {
	return func(ctx context.Context, rest core.Secret) (importer.Source, error) {
		return ifOld(ctx, open, rest.Reveal())
	}
}

func ifOld(ctx context.Context, open func(string) (importer.Source, error), where string) (importer.Source, error) {
	src, err := open(where)
	if err != nil {
		return nil, err
	}
	ok, err := importer.IsQccPlus(ctx, src)
	if err == nil && !ok {
		ok, err = importer.IsAmq2API(ctx, src)
	}
	if err != nil || !ok {
		return nil, errors.Join(err, src.Close())
	}
	return src, nil
}

// openOld opens an older system's database: a SQLite file, or a DSN of a server.
func openOld(ctx context.Context, old *oldKind, where core.Secret) (importer.Source, error) {
	s := where.Reveal()
	open := oldSQLite
	fi, err := os.Stat(s)
	switch {
	case err == nil && fi.IsDir():
		return nil, fmt.Errorf("%s is a directory; name the file, such as %s", s, old.file)
	case err == nil:
		if err := checkSQLite(s); err != nil {
			return nil, err
		}
	case strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://"):
		_, s, _ = strings.Cut(s, ":")
		open = oldPostgres
	case strings.HasPrefix(s, "mysql://") || strings.Contains(s, "@"):
		open, s = oldMySQL, strings.TrimPrefix(s, "mysql:")
	default:
		return nil, fmt.Errorf("there is no file %s, and it is no DSN such as user:password@tcp(host:3306)/database", s)
	}
	src, err := open(s)
	if err != nil {
		return nil, err
	}
	ok, err := old.holds(ctx, src)
	if err == nil && !ok {
		err = old.unknown
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the database to import from: %w", err), src.Close())
	}
	return src, nil
}

func checkSQLite(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	if n, _ := f.Read(head); string(head[:n]) != magic {
		return fmt.Errorf("%s is no SQLite database. A dump of MySQL must be loaded into a server; give its DSN", path)
	}
	return nil
}

// oldSQLite opens a file so that nothing in it can change.
func oldSQLite(path string) (importer.Source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	p := filepath.ToSlash(abs)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: p, RawQuery: "mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(5000)"}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	return importer.NewSQLite(db), nil
}

// oldMySQL opens a database by a DSN of Go's driver or by a URL without its scheme, as the store does.
func oldMySQL(dsn string) (importer.Source, error) {
	if !slices.Contains(sql.Drivers(), "mysql") {
		return nil, errors.New("this program has no driver for MySQL")
	}
	dsn, _, err := sqlstore.CutSettings(strings.TrimPrefix(dsn, "//"))
	if err != nil {
		return nil, err
	}
	if base, params, _ := strings.Cut(dsn, "?"); !strings.Contains(base, ")/") {
		if u, err := url.Parse("mysql://" + base); err == nil && u.Host != "" {
			pass, _ := u.User.Password()
			dsn = u.User.Username() + ":" + pass + "@tcp(" + u.Host + ")" + u.Path
			if params != "" {
				dsn += "?" + params
			}
		}
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, errors.New("want user:password@tcp(host:3306)/database") // the driver's text may hold the password
	}
	db.SetMaxOpenConns(2)
	return importer.NewMySQL(db), nil
}

// oldPostgres opens a database by a URL without its scheme, as the store does.
func oldPostgres(rest string) (importer.Source, error) {
	if !slices.Contains(sql.Drivers(), "pgx") {
		return nil, errors.New("this program has no driver for PostgreSQL")
	}
	rest, _, err := sqlstore.CutSettings(rest)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("pgx", "postgres:"+rest)
	if err != nil {
		return nil, errors.New("want postgres://user:password@host:5432/database") // the driver's text may hold the password
	}
	db.SetMaxOpenConns(2)
	return importer.NewPostgres(db), nil
}
