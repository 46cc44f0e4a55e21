// Package postgres is the store on a PostgreSQL server (12 or later) that many instances share. What it promises is said
// by sqlstore.Shared. Its tables begin with sluice_; it touches no others.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"sluice/shared/store/sqlstore"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// keyBytes keeps the longest index, of five keys, within the 2704 bytes of a B-tree's entry.
	keyBytes = 500

	dialWithin    = 5 * time.Second
	migrateWithin = 2 * time.Minute

	// migrateLock is the number of the advisory lock, of this database alone.
	migrateLock = 0x736c75696365 // "sluice"
)

// Options are for Open.
type Options struct {
	Logger *slog.Logger // is told when the server lets itself be waited for; nil: nobody is
}

// Store is a store in a database of a server.
type Store struct {
	*sqlstore.Shared
	Where string // for people: database and host, no secret
}

// Open opens the store in an existing database, making its tables (in the first schema of the search_path) when they are
// missing. rest is a URL without its scheme: //user:password@host:5432/database?sslmode=require, percent-encoded.
// Parameters are libpq's and the driver's, and sluice_wait and sluice_max_conns, see sqlstore.CutSettings.
//
// A server that is not there yet is waited for. The error is one line without the password: wrong password, unknown
// database and missing rights end the waiting at once. store.ErrNewer when the tables need a newer program.
func Open(ctx context.Context, rest string, o Options) (*Store, error) {
	rest, settings, err := sqlstore.CutSettings(rest)
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig("postgres:" + rest)
	if err != nil || !strings.HasPrefix(rest, "//") {
		return nil, errors.New("want postgres://user:password@host:5432/database?sslmode=require (special characters percent-encoded)") // the driver's text may hold parts of the URL
	}
	if cfg.Database == "" {
		cfg.Database = cfg.User
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = dialWithin
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "sluice"
	}
	where := fmt.Sprintf("postgres database %s at %s", cfg.Database, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))))
	s, err := sqlstore.OpenShared(ctx, sqlstore.OpenOptions{
		Name: where, DB: stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(ready)), Dialect: dialect(), Settings: settings, Logger: o.Logger,
		Explain: func(err error) string { return explain(err, cfg) },
	})
	if err != nil {
		return nil, err
	}
	return &Store{Shared: s, Where: where}, nil
}

// ready sets up a connection: the locks of an instance that vanished from the network must end.
func ready(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SET idle_in_transaction_session_timeout = '60s'")
	return err
}

// is reports whether the server answered with one of the codes or with one of a class of two letters.
func is(err error, codes ...string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if strings.HasPrefix(e.Code, c) {
			return true
		}
	}
	return false
}

// dialect is PostgreSQL's.
func dialect() sqlstore.Dialect {
	return sqlstore.Dialect{
		Numbered:  true,
		Types:     map[string]string{"$KEY": `TEXT COLLATE "C"`, "$TEXT": "TEXT", "$INT": "BIGINT", "$BLOB": "BYTEA", "$CLUSTERED": ""},
		Cost:      `COALESCE(CAST(SUBSTRING(ENCODE(body, 'escape') FROM '"q":(-*[0-9]+)') AS BIGINT), 0)`,
		Unpriced:  `CASE POSITION('"z":true' IN ENCODE(body, 'escape')) WHEN 0 THEN 0 ELSE 1 END`,
		PutCosts:  "ON CONFLICT (account, hour_no, key_id, node, model) DO UPDATE SET cost_usd = excluded.cost_usd, unpriced = excluded.unpriced",
		Join:      "STRING_AGG(%s, '')",
		HasTable:  "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass(?)",
		ForUpdate: " FOR UPDATE",
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
		Taken:     func(err error) bool { return is(err, "23505") },
		KeyBytes:  keyBytes,
		Isolation: sql.LevelReadCommitted,
		LockAll: func(selects []string) string {
			if len(selects) == 1 {
				return selects[0]
			}
			for i, s := range selects { // it allows no locks in the parts of a UNION, but in what they select from
				selects[i] = fmt.Sprintf("SELECT * FROM (%s) t%d", s, i)
			}
			return strings.Join(selects, " UNION ALL ")
		},
		Again: func(err error) bool { return is(err, "40001", "40P01", "55P03") }, // serialization, deadlock, lock not available
		Away: func(err error) bool {
			if e, ok := errors.AsType[*pgconn.PgError](err); ok {
				// connection trouble, too many connections, shutdown or start, a server that only reads
				return is(e, "08", "53300", "57P01", "57P02", "57P03", "57P05", "25006", "25P03")
			}
			return sqlstore.Unreachable(err) || pgconn.SafeToRetry(err)
		},
		Lock: lock,
	}
}

// lock takes the database's advisory lock. It ends with the connection at the latest.
func lock(ctx context.Context, c *sql.Conn) (release func() error, err error) {
	patient, cancel := context.WithTimeout(ctx, migrateWithin)
	defer cancel()
	if _, err := c.ExecContext(patient, "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		if patient.Err() != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("another instance has been migrating the tables for %v: look at its log, or end its connection", migrateWithin)
		}
		return nil, err
	}
	return func() error {
		_, err := c.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrateLock))
		return err
	}, nil
}

// explain says what an error at start means.
func explain(err error, cfg *pgx.ConnConfig) string {
	switch {
	case is(err, "28"):
		return fmt.Sprintf("the server refuses the user %q with this password", cfg.User)
	case is(err, "3D000"):
		return fmt.Sprintf("there is no database %q: make it (CREATE DATABASE %q) or correct the name", cfg.Database, cfg.Database)
	case is(err, "42501"):
		return fmt.Sprintf("the user %q needs rights on the database (GRANT CREATE, USAGE ON SCHEMA public TO %q)", cfg.User, cfg.User)
	case is(err, "3F000"):
		return "no schema of the search_path is there: make it or correct the name"
	}
	return ""
}
