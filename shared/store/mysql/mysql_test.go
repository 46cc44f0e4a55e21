//go:build unix

package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/mysql"
	"sluice/shared/store/sqlstore/sqltest"
	"sluice/shared/store/storetest"

	driver "github.com/go-sql-driver/mysql"
)

func startServer(tb testing.TB) *sqltest.Server {
	tb.Helper()
	s := sqltest.MariaDB(tb)
	db := look(tb, s.DSN(""))
	sqltest.Await(tb, "the server's start", db.PingContext)
	return s
}

func look(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	c, err := driver.ParseDSN(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	c.Logger = &driver.NopLogger{}
	k, err := driver.NewConnector(c)
	if err != nil {
		tb.Fatal(err)
	}
	db := sql.OpenDB(k)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func backend() sqltest.Backend {
	var n atomic.Int64
	replace := func(old, with string) func(string) string {
		return func(good string) string { return strings.Replace(good, old, with, 1) }
	}
	return sqltest.Backend{
		Name: "mysql", Look: look, Start: startServer,
		Open: func(ctx context.Context, dsn string, log *slog.Logger) (store.Store, error) {
			s, err := mysql.Open(ctx, dsn, mysql.Options{Logger: log})
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Empty: func(tb testing.TB, s *sqltest.Server) string {
			tb.Helper()
			name := fmt.Sprintf("t%d", n.Add(1))
			if _, err := look(tb, s.DSN("")).ExecContext(tb.Context(), "CREATE DATABASE "+name); err != nil {
				tb.Fatal(err)
			}
			return s.DSN(name)
		},
		Via: func(dsn, addr string) string {
			before, after, _ := strings.Cut(dsn, "(")
			_, after, _ = strings.Cut(after, ")")
			return before + "(" + addr + ")" + after
		},
		Trips: sqltest.Trips{Unlimited: 1, Rate: 4, Refused: 3, Leased: 6, Pair: 6, Renew: 1, SettleUnlimited: 1, SettleLeased: 6, SettlePair: 7, Late: 4},
		Refused: []sqltest.Refusal{
			{Why: "password", DSN: replace(sqltest.Login, "sluice:hunter22"), Words: []string{"refuses the user \"sluice\"", "127.0.0.1"}},
			{Why: "database", DSN: replace("/t", "/nosuch"), Words: []string{"no database \"nosuch", "CREATE DATABASE"}},
			{Why: "no database", DSN: func(string) string { return sqltest.Login + "@tcp(127.0.0.1:1)/" }, Words: []string{"names no database"}},
			{Why: "no form", DSN: func(string) string { return sqltest.Login }, Words: []string{"user:password@tcp(host:3306)/database"}},
			{Why: "bad port", DSN: func(string) string { return "//" + sqltest.Login + "@h:port/x" }, Words: []string{"mysql://user:password@host:3306/database"}},
			{Why: "bad parameter", DSN: func(good string) string { return good + "&tls=hunter2" }, Words: []string{"want mysql://"}},
			{Why: "unknown variable", DSN: func(good string) string { return good + "&nosuch=1" }, Words: []string{"nosuch"}},
			{Why: "bad setting", DSN: func(good string) string { return good + "&sluice_max_conns=1" }, Words: []string{"sluice_max_conns"}},
			{Why: "rights", DSN: replace(sqltest.Login, "reader:hunter2"), Words: []string{"\"reader\" needs all rights", "GRANT ALL"},
				Setup: []string{"CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'hunter2'", "GRANT SELECT ON *.* TO reader@'127.0.0.1'"}},
		},
	}
}

func TestStore(t *testing.T) { sqltest.Run(t, backend()) }

func TestKilled(t *testing.T) { sqltest.Killed(t, backend()) }

// TestForms opens one database by each way to name it.
func TestForms(t *testing.T) {
	b := backend()
	s := startServer(t)
	good := b.Empty(t, s)
	name := good[strings.LastIndex(good, "/")+1 : strings.LastIndex(good, "?")]
	if _, err := look(t, good).ExecContext(t.Context(), "CREATE USER 'a@b'@'127.0.0.1' IDENTIFIED BY 'p@:/?#(x)%41'"); err != nil {
		t.Fatal(err)
	}
	if _, err := look(t, good).ExecContext(t.Context(), "GRANT ALL ON *.* TO 'a@b'@'127.0.0.1'"); err != nil {
		t.Fatal(err)
	}
	host := "127.0.0.1:" + s.Port
	for why, dsn := range map[string]string{
		"as the guide prints it":        good,
		"as the configuration hands it": "//" + good,
		"a URL":                         "//" + sqltest.Login + "@" + host + "/" + name,
		"a URL with parameters":         "//" + sqltest.Login + "@" + host + "/" + name + "?timeout=3s&sluice_max_conns=3",
		"a URL, escaped":                "//a%40b:p%40%3A%2F%3F%23(x)%2541@" + host + "/" + name,
		"a DSN with special characters": "a@b:p@:/?#(x)%41@tcp(" + host + ")/" + name + "?parseTime=true",
		"settings that would break it":  good + "&clientFoundRows=true&interpolateParams=false&charset=latin1&sql_mode=ANSI_QUOTES&multiStatements=true",
	} {
		st, err := mysql.Open(t.Context(), dsn, mysql.Options{})
		if err != nil {
			t.Errorf("%s: %v", why, err)
			continue
		}
		if want := "mysql database " + name + " at " + host; st.Where != want {
			t.Errorf("%s: it is at %q, want %q", why, st.Where, want)
		}
		if _, err := st.Next(t.Context(), "n"); err != nil {
			t.Errorf("%s: %v", why, err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

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
