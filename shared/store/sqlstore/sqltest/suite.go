//go:build unix

package sqltest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/sqlstore"
	"sluice/shared/store/storetest"
)

// start is the time at which the cases begin.
var start = time.Date(2026, 3, 14, 10, 20, 30, 0, time.UTC)

// Run checks all on one server.
func Run(t *testing.T, b Backend) {
	s := b.Start(t)
	open := func(tb testing.TB) store.Store { return b.open(tb, b.Empty(tb, s)) }
	t.Run("Contract", func(t *testing.T) { storetest.Run(t, open) })
	t.Run("Restart", func(t *testing.T) {
		dsns := map[[32]byte]string{}
		storetest.RunRestart(t, func(tb testing.TB, dir string) store.Store {
			key := sha256.Sum256([]byte(dir))
			if dsns[key] == "" {
				dsns[key] = b.Empty(tb, s)
			}
			return b.open(tb, dsns[key])
		}, storetest.RestartOptions{LeasesSurvive: true})
	})
	for _, c := range []struct {
		name string
		run  func(t *testing.T, b Backend, s *Server)
	}{
		{"LikeMemory", likeMemory}, {"Instances", instances}, {"Once", once}, {"RenewRace", renewRace}, {"RollupRace", rollupRace}, {"Trips", trips},
		{"Hostile", hostile}, {"Migrate", migrate}, {"Costs", costs}, {"Late", late}, {"Silent", silent}, {"Refused", refused}, {"Crash", crash},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, b, s) })
	}
}

// open opens a store that is closed with the test.
func (b Backend) open(tb testing.TB, dsn string) store.Store {
	tb.Helper()
	s, err := b.Open(tb.Context(), dsn, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// subject makes a document and returns it as a subject.
func subject(tb testing.TB, s store.Store, kind, id string, l core.Limits) store.Subject {
	tb.Helper()
	account := "acme"
	if kind == store.KindAccount {
		account = id
	}
	v, err := s.Create(tb.Context(), store.Doc{Kind: kind, ID: id, Account: account, Body: []byte("{}")})
	if err != nil {
		tb.Fatal(err)
	}
	return store.Subject{Kind: kind, ID: id, Version: v, Limits: l}
}

func ask(now time.Time, id string, a store.Amount, subjects ...store.Subject) store.AdmitRequest {
	return store.AdmitRequest{Now: now, ID: id, Account: "acme", Subjects: subjects, Ask: a, LeaseEnd: now.Add(3 * time.Minute), Zone: time.UTC}
}

func done(now time.Time, id string, used store.Amount, subjects ...store.Subject) store.SettleRequest {
	return store.SettleRequest{ID: id, Account: "acme", Now: now, Zone: time.UTC, Subjects: subjects, Used: used,
		Record: core.Settlement{RequestID: id, Account: "acme", Key: "1", Model: "m", Status: 200, Attempts: 1, StartedAt: now, EndedAt: now,
			Tokens: core.Tokens{Input: used.Tokens}, CostUSD: used.USD}}
}

// parallel runs n workers at once.
func parallel(t *testing.T, n int, work func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = work(i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// Old tables of other programs stay as they are, many may start at once, and one that was cut short is taken up.
func migrate(t *testing.T, b Backend, s *Server) {
	t.Run("AtOnce", func(t *testing.T) {
		dsn := b.Empty(t, s)
		db := b.Look(t, dsn)
		must(t, db, "CREATE TABLE accounts (id VARCHAR(20), name VARCHAR(20))")
		must(t, db, "INSERT INTO accounts VALUES ('1', 'old')")
		parallel(t, 8, func(int) error {
			st, err := b.Open(t.Context(), dsn, nil)
			if err != nil {
				return err
			}
			return errors.Join(st.Ping(t.Context()), st.Close())
		})
		var n, version int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*), MAX(version) FROM sluice_schema").Scan(&n, &version); err != nil || n != 1 {
			t.Errorf("%d schema rows, version %d, %v", n, version, err)
		}
		var name string
		if err := db.QueryRowContext(t.Context(), "SELECT name FROM accounts").Scan(&name); err != nil || name != "old" {
			t.Errorf("the old table has %q, %v", name, err)
		}
		rows, err := db.QueryContext(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_name NOT LIKE 'sluice%' AND table_name <> 'accounts' AND table_schema = "+schemaOf(b))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			t.Error("a table without the prefix")
		}
		if err := rows.Err(); err != nil {
			t.Error(err)
		}
	})
	t.Run("CutShort", func(t *testing.T) {
		dsn := b.Empty(t, s)
		st := b.open(t, dsn)
		if _, err := st.Next(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		db := b.Look(t, dsn)
		if b.Name == "mysql" { // elsewhere DDL is rolled back with the rest
			must(t, db, "DELETE FROM sluice_schema")
			must(t, db, "DROP TABLE sluice_inflight")
			must(t, db, "DROP INDEX sluice_sums_hour ON sluice_sums")
		} else {
			undo(t, db)
			must(t, db, "UPDATE sluice_schema SET version = 2")
			must(t, db, "DROP TABLE sluice_inflight")
		}
		again := b.open(t, dsn)
		if n, err := again.Next(t.Context(), "c"); err != nil || n != 2 {
			t.Errorf("next is %d, %v", n, err)
		}
		k := subject(t, again, store.KindKey, "1", core.Limits{Concurrency: 1})
		if _, err := again.Admit(t.Context(), ask(start, "a", store.Amount{}, k)); err != nil {
			t.Error(err)
		}
	})
	t.Run("Newer", func(t *testing.T) {
		dsn := b.Empty(t, s)
		b.open(t, dsn)
		must(t, b.Look(t, dsn), "UPDATE sluice_schema SET version = 99, compatible = 98")
		if _, err := b.Open(t.Context(), dsn, nil); !errors.Is(err, store.ErrNewer) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want ErrNewer on one line", err)
		}
	})
}

func schemaOf(b Backend) string {
	if b.Name == "mysql" {
		return "DATABASE()"
	}
	return "current_schema()"
}

func must(tb testing.TB, db *sql.DB, q string) {
	tb.Helper()
	if _, err := db.ExecContext(tb.Context(), q); err != nil {
		tb.Fatalf("%s: %v", q, err)
	}
}

// What a client chose never makes a record or a document unwritable.
func hostile(t *testing.T, b Backend, s *Server) {
	st := b.open(t, b.Empty(t, s))
	long := strings.Repeat("ü", 5000)
	for i, text := range []string{"a\x00b", "\xff\xfe", long, "'; DROP TABLE sluice_docs; --", `\' OR 1=1 -- `, "😀", "a ", "A", "a", "?", "$1"} {
		id := fmt.Sprint("r", i)
		r := done(start, id, store.Amount{})
		r.Record.Model, r.Record.Session, r.Record.Agent = text, text, text
		if err := st.Settle(t.Context(), r); err != nil {
			t.Errorf("settle with %.20q: %v", text, err)
		}
		d := store.Doc{Kind: store.KindResource, ID: text, Body: []byte("{}")}
		_, err := st.Create(t.Context(), d)
		if _, gerr := st.Get(t.Context(), d.Kind, text); (err == nil) != (gerr == nil) || gerr != nil && !errors.Is(gerr, store.ErrNotFound) {
			t.Errorf("document %.20q: create %v, get %v", text, err, gerr)
		}
		if _, err := st.Find(t.Context(), d.Kind, text); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("find %.20q: %v", text, err)
		}
		if _, err := st.List(t.Context(), d.Kind, text, text, 10); err != nil {
			t.Errorf("list after %.20q: %v", text, err)
		}
		sub := store.Subject{Kind: store.KindKey, ID: text, Version: 1, Limits: core.Limits{RPM: 1}}
		if _, err := st.Admit(t.Context(), ask(start, text, store.Amount{}, sub)); !errors.Is(err, store.ErrStale) {
			t.Errorf("admit %.20q: %v", text, err)
		}
	}
	k := subject(t, st, store.KindKey, "1", core.Limits{Concurrency: 1})
	if _, err := st.Admit(t.Context(), ask(start, "x\x00"+long, store.Amount{}, k)); err != nil {
		t.Errorf("admit with a hostile request id: %v", err)
	}
	if err := st.Settle(t.Context(), done(start, "x\x00"+long, store.Amount{}, k)); err != nil {
		t.Errorf("settle with a hostile request id: %v", err)
	}
	if _, err := st.Admit(t.Context(), ask(start, "y", store.Amount{}, k)); err != nil {
		t.Errorf("the lease of a hostile request id stays: %v", err)
	}
	if err := st.Rollup(t.Context(), start.Add(5*time.Hour)); err != nil {
		t.Error(err)
	}
	if sums, err := st.Sums(t.Context(), store.UsageFilter{}, store.GroupModel); err != nil || len(sums) != 12-0 {
		t.Errorf("%d models, %v, want 12: case and trailing spaces count", len(sums), err)
	}
}

// Each DSN that cannot work is refused at once, by one line that says what to do and holds no password.
func refused(t *testing.T, b Backend, s *Server) {
	good := b.Empty(t, s)
	for _, r := range b.Refused {
		t.Run(r.Why, func(t *testing.T) {
			db := b.Look(t, good)
			for _, q := range r.Setup {
				must(t, db, q)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			st, err := b.Open(ctx, r.DSN(good), nil)
			if err == nil {
				_ = st.Close()
				t.Fatal("it opens")
			}
			if ctx.Err() != nil || errors.Is(err, sqlstore.ErrAway) {
				t.Errorf("it was waited for: %v", err)
			}
			for _, w := range r.Words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("a secret or a second line in %q", err)
			}
		})
	}
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
