package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/sqlite"
	"sluice/shared/store/sqlstore"
)

// What an account asks about its usage must not read the usage of all.
func TestPlans(t *testing.T) {
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
	now := time.Date(2026, 3, 14, 10, 20, 0, 0, time.UTC)
	account := store.UsageFilter{Account: "acme", From: now.Add(-30 * time.Hour), To: now}
	deep := account
	deep.Key, deep.Model = "1", "m"
	session := account
	session.Session = "s"
	all := store.UsageFilter{From: now.Add(-30 * time.Hour), To: now}
	month := store.UsageFilter{From: now.AddDate(0, -1, 0), To: now}
	east, eastOf := month, account
	east.Zone, eastOf.Zone = time.FixedZone("east", 8*3600), time.FixedZone("east", 8*3600)
	closed := now.Add(-2*time.Hour).Unix() / 3600
	queries := []struct {
		name string
		make func() (string, []any)
	}{
		{"records", func() (string, []any) { return sqlstore.RecordsQuery(account) }},
		{"records of a key", func() (string, []any) { return sqlstore.RecordsQuery(deep) }},
		{"records of a session", func() (string, []any) { return sqlstore.RecordsQuery(session) }},
		{"records of a node", func() (string, []any) { return sqlstore.RecordsQuery(store.UsageFilter{Node: "1", Account: "acme"}) }},
		{"records that failed", func() (string, []any) {
			return sqlstore.RecordsQuery(store.UsageFilter{Failed: true, Model: "m", Agent: "a"})
		}},
		{"records' end", func() (string, []any) { return sqlstore.EndQuery(store.UsageFilter{Failed: true, Model: "m"}) }},
		{"records' end of a key", func() (string, []any) { return sqlstore.EndQuery(deep) }},
		{"records of all", func() (string, []any) { return sqlstore.RecordsQuery(all) }},
		{"sums", func() (string, []any) { return sqlstore.SumsQuery(account, store.GroupNone, closed) }},
		{"sums by hour", func() (string, []any) { return sqlstore.SumsQuery(account, store.GroupHour, closed) }},
		{"sums of a key", func() (string, []any) { return sqlstore.SumsQuery(deep, store.GroupModel, closed) }},
		{"sums of a session", func() (string, []any) { return sqlstore.SumsQuery(session, store.GroupKey, closed) }},
		{"sums of all", func() (string, []any) { return sqlstore.SumsQuery(all, store.GroupAccount, closed) }},
		{"sums by day", func() (string, []any) { return sqlstore.SumsQuery(month, store.GroupDay, closed) }},
		{"sums by day of a zone", func() (string, []any) { return sqlstore.SumsQuery(east, store.GroupDay, closed) }},
		{"sums by day of a zone, of an account", func() (string, []any) { return sqlstore.SumsQuery(eastOf, store.GroupDay, closed) }},
		{"sums by session", func() (string, []any) { return sqlstore.SumsQuery(account, store.GroupSession, closed) }},
		{"sums by agent of all", func() (string, []any) { return sqlstore.SumsQuery(all, store.GroupAgent, closed) }},
		{"sums of all time", func() (string, []any) {
			return sqlstore.SumsQuery(store.UsageFilter{Account: "acme"}, store.GroupNone, closed)
		}},
		{"listing", func() (string, []any) {
			return "SELECT * FROM sluice_docs d WHERE d.kind = ? AND d.id > ? AND d.account = ? ORDER BY d.id LIMIT 10", []any{"key", "1", "acme"}
		}},
		{"purging", func() (string, []any) {
			return "SELECT * FROM sluice_docs d WHERE d.expires_us > 0 AND d.expires_us < ? ORDER BY d.expires_us LIMIT 10", []any{1}
		}},
	}
	for _, c := range queries {
		t.Run(c.name, func(t *testing.T) {
			q, args := c.make()
			rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q, args...)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			var plan []string
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					t.Fatal(err)
				}
				plan = append(plan, detail)
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			text := strings.Join(plan, "\n")
			if strings.Contains(text, "SCAN sluice_") || !strings.Contains(text, "SEARCH") {
				t.Errorf("a whole table is read:\n%s\n%s", q, text)
			}
			for part, index := range map[string]string{"of a key": "sluice_records_key", "of a node": "sluice_records_node", "records of a session": "sluice_records_session"} {
				if strings.HasPrefix(c.name, "records") && strings.HasSuffix(c.name, part) && !strings.Contains(text, index) {
					t.Errorf("the index %s does not serve:\n%s\n%s", index, q, text)
				}
			}
			if strings.HasPrefix(c.name, "records") && strings.Contains(text, "TEMP B-TREE") {
				t.Errorf("a page needs sorting:\n%s\n%s", q, text)
			}
		})
	}
}

func TestNumberedParameters(t *testing.T) {
	const q = "SELECT a FROM t WHERE b = ? AND c IN (?, ?)"
	if got := (sqlstore.Dialect{Numbered: true}).Query(q); got != "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3)" {
		t.Error(got)
	}
	if got := (sqlstore.Dialect{}).Query(q); got != q {
		t.Error(got)
	}
}
