//go:build unix

package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/postgres"
	"sluice/shared/store/sqlstore/sqltest"
	"sluice/shared/store/storetest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// The password of the tests' user is in no error and no log line.
const login = "sluice:hunter2"

func startServer(tb testing.TB) *sqltest.Server {
	tb.Helper()
	program := sqltest.Program("/usr/lib/postgresql/*/bin/postgres", "postgres")
	initdb := filepath.Join(filepath.Dir(program), "initdb")
	if program == "" || sqltest.Program(initdb) == "" {
		sqltest.Missing(tb, "postgres", "there is no postgres with initdb (apt-get install postgresql)")
	}
	dir, as := sqltest.Dir(tb, "postgres")
	data := filepath.Join(dir, "data")
	sqltest.Do(tb, as, dir, initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	s := sqltest.NewServer(tb, as, dir, program, func(port string) []string {
		return []string{"-D", data, "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=300",
			"-c", "default_transaction_isolation=repeatable read", "-c", "hba_file=" + filepath.Join(dir, "hba")} // not what the store needs: it must ask
	})
	hba := filepath.Join(dir, "hba")
	sqltest.Do(tb, as, dir, "sh", "-c", "echo 'host all postgres 127.0.0.1/32 trust' > "+hba+"; echo 'host all all 127.0.0.1/32 scram-sha-256' >> "+hba)
	s.Up(tb)
	db := look(tb, "postgres://postgres@127.0.0.1:"+s.Port+"/postgres")
	sqltest.Await(tb, "the server's start", db.PingContext)
	if _, err := db.ExecContext(tb.Context(), "CREATE ROLE sluice LOGIN PASSWORD 'hunter2' CREATEDB CREATEROLE"); err != nil {
		tb.Fatal(err)
	}
	if _, err := db.ExecContext(tb.Context(), "CREATE DATABASE tests OWNER sluice"); err != nil {
		tb.Fatal(err)
	}
	return s
}

func look(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	c, err := pgx.ParseConfig(withScheme(dsn))
	if err != nil {
		tb.Fatal(err)
	}
	db := stdlib.OpenDB(*c)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func withScheme(dsn string) string {
	if strings.HasPrefix(dsn, "//") {
		return "postgres:" + dsn
	}
	return dsn
}

func backend() sqltest.Backend {
	var n atomic.Int64
	replace := func(old, with string) func(string) string {
		return func(good string) string { return strings.Replace(good, old, with, 1) }
	}
	return sqltest.Backend{
		Name: "postgres", Look: look, Start: startServer,
		Open: func(ctx context.Context, dsn string, log *slog.Logger) (store.Store, error) {
			s, err := postgres.Open(ctx, dsn, postgres.Options{Logger: log})
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Empty: func(tb testing.TB, s *sqltest.Server) string {
			tb.Helper()
			schema, dsn := fmt.Sprintf("t%d", n.Add(1)), "//"+login+"@127.0.0.1:"+s.Port+"/tests?sslmode=disable"
			if _, err := look(tb, dsn).ExecContext(tb.Context(), "CREATE SCHEMA "+schema); err != nil {
				tb.Fatal(err)
			}
			return dsn + "&search_path=" + schema
		},
		Via: func(dsn, addr string) string {
			u, err := url.Parse(withScheme(dsn))
			if err != nil {
				panic(err)
			}
			u.Host = addr
			return strings.TrimPrefix(u.String(), "postgres:")
		},
		Trips: sqltest.Trips{Unlimited: 1, Rate: 4, Refused: 3, Leased: 6, Pair: 6, Renew: 1, SettleUnlimited: 1, SettleLeased: 6, SettlePair: 7, Late: 4},
		Refused: []sqltest.Refusal{
			{Why: "password", DSN: replace(login, "sluice:hunter22"), Words: []string{"refuses the user \"sluice\"", "127.0.0.1"}},
			{Why: "user", DSN: replace(login, "nobody:hunter2"), Words: []string{"refuses the user \"nobody\""}},
			{Why: "database", DSN: replace("/tests", "/nosuch"), Words: []string{"no database \"nosuch\"", "CREATE DATABASE"}},
			{Why: "schema", DSN: replace("search_path=t", "search_path=nosuch"), Words: []string{"search_path"}},
			{Why: "no form", DSN: func(string) string { return login }, Words: []string{"want postgres://user:password@host:5432/database"}},
			{Why: "bad port", DSN: func(string) string { return "//" + login + "@h:port/x" }, Words: []string{"want postgres://"}},
			{Why: "bad escape", DSN: func(string) string { return "//sluice:hunter2%zz@h/x" }, Words: []string{"want postgres://"}},
			{Why: "unknown parameter", DSN: func(good string) string { return good + "&nosuch=1" }, Words: []string{"nosuch"}},
			{Why: "bad setting", DSN: func(good string) string { return good + "&sluice_wait=soon" }, Words: []string{"sluice_wait"}},
			{Why: "no TLS", DSN: replace("sslmode=disable", "sslmode=require"), Words: []string{"TLS"}},
			{Why: "rights", DSN: replace(login, "reader:hunter2"), Words: []string{"\"reader\" needs rights", "GRANT CREATE"},
				Setup: []string{"CREATE ROLE reader LOGIN PASSWORD 'hunter2'", "DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || current_schema() || ' TO reader'; END $$"}},
		},
	}
}

func TestStore(t *testing.T) { sqltest.Run(t, backend()) }

func TestKilled(t *testing.T) { sqltest.Killed(t, backend()) }

func BenchmarkStore(b *testing.B) {
	x := backend()
	s := startServer(b)
	storetest.Benchmark(b, func(tb testing.TB) store.Store {
		st, err := x.Open(tb.Context(), x.Empty(tb, s), nil)
		if err != nil {
			tb.Fatal(err)
		}
		return st
	})
}
