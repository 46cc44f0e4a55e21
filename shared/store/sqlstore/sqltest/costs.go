//go:build unix

package sqltest

import (
	"database/sql"
	"fmt"
	"reflect"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// beforeCosts makes the schema that of version 3, whose sums had no costs. The statements are those of every database.
var beforeCosts = [...]string{
	"DROP TABLE sluice_days",
	"ALTER TABLE sluice_sums DROP COLUMN first_sketch",
	"ALTER TABLE sluice_sums DROP COLUMN total_sketch",
	"ALTER TABLE sluice_records DROP COLUMN agent",
	"ALTER TABLE sluice_records DROP COLUMN cost_usd",
	"ALTER TABLE sluice_records DROP COLUMN unpriced",
	"DELETE FROM sluice_marks WHERE name <> 'closed_hours'",
	"ALTER TABLE sluice_sums DROP COLUMN cost_usd",
	"ALTER TABLE sluice_sums DROP COLUMN unpriced",
	"UPDATE sluice_schema SET version = 3, compatible = 1",
}

// undo makes the schema that of version 3.
func undo(t *testing.T, look *sql.DB) {
	t.Helper()
	for _, q := range beforeCosts {
		must(t, look, q)
	}
	for _, index := range []string{"key", "node", "session"} { // of which MySQL wants to know the table
		if _, err := look.ExecContext(t.Context(), "DROP INDEX sluice_records_"+index); err != nil {
			must(t, look, "DROP INDEX sluice_records_"+index+" ON sluice_records")
		}
	}
}

// sumsOfVersion3 is how a program of version 3 sums up an hour.
const sumsOfVersion3 = "INSERT INTO sluice_sums (account, hour_no, key_id, node, model, requests, success, estimated, attempts, input_tokens, cache_read," +
	" cache_write_5m, cache_write_1h, output_tokens, bytes, first_byte_ms, first_bytes, stream_ms, total_ms)" +
	" SELECT account, hour_no, key_id, node, model, COUNT(*), SUM(success), SUM(estimated), SUM(attempts), SUM(input_tokens), SUM(cache_read)," +
	" SUM(cache_write_5m), SUM(cache_write_1h), SUM(output_tokens), SUM(bytes), SUM(first_byte_ms), SUM(first_bytes), SUM(stream_ms), SUM(total_ms)" +
	" FROM sluice_records WHERE hour_no = %d GROUP BY account, hour_no, key_id, node, model"

// Costs checks that sums written before there were costs get them, where the records are kept, and so do those that an
// older program writes beside or after a newer one. look is the database that open opens.
func Costs(t *testing.T, look *sql.DB, open func(tb testing.TB) store.Store) {
	ctx := t.Context()
	st := open(t)
	var all core.UsageSum
	put := func(id, model string, at time.Time, usd int64) {
		t.Helper()
		r := core.Settlement{RequestID: id, Account: "acme", Key: "1", Model: model, Status: 200, Attempts: 1, Agent: `"q":5,"z":true`,
			StartedAt: at, EndedAt: at, CostUSD: usd, Unpriced: usd == 0}
		if err := st.Settle(ctx, store.SettleRequest{ID: id, Account: "acme", Now: at, Zone: time.UTC, Record: r}); err != nil {
			t.Fatal(err)
		}
		if all.CostUSD += usd; usd == 0 {
			all.Unpriced++
		}
		all.Requests++
	}
	check := func(when string) {
		t.Helper()
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupKey, store.GroupModel, store.GroupHour} {
			sums, err := st.Sums(ctx, store.UsageFilter{Account: "acme"}, by)
			var got core.UsageSum
			for _, s := range sums {
				got.Requests, got.CostUSD, got.Unpriced = got.Requests+s.Requests, got.CostUSD+s.CostUSD, got.Unpriced+s.Unpriced
			}
			if err != nil || !reflect.DeepEqual(got, all) {
				t.Errorf("%s, by %q: %+v, %v, want %+v", when, by, got, err, all)
			}
		}
	}
	rollup := func(hours int) {
		t.Helper()
		if err := st.Rollup(ctx, start.Add(time.Duration(hours)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		put(fmt.Sprint("r", i), []string{"a", "b"}[i%2], start.Add(time.Duration(i/10)*time.Hour), int64(i%4)<<40)
	}
	rollup(2) // hours 0 and 1 are closed by then, 2 and 3 not
	check("before")
	hour := start.Unix() / 3600
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	undo(t, look)
	// an hour whose records are gone
	must(t, look, fmt.Sprintf("UPDATE sluice_sums SET account = 'gone', requests = 7 WHERE account = 'acme' AND hour_no = %d", hour))
	must(t, look, fmt.Sprintf("DELETE FROM sluice_records WHERE hour_no = %d", hour))
	all = core.UsageSum{}
	for i := 10; i < 40; i++ {
		if all.Requests++; i%4 == 0 {
			all.Unpriced++
		}
		all.CostUSD += int64(i%4) << 40
	}
	st = open(t)
	check("migrated")
	hours, err := st.Sums(ctx, store.UsageFilter{Account: "acme"}, store.GroupHour)
	if err != nil || len(hours) != 3 || hours[0].Requests != 10 || hours[0].Total.Count() != 0 || hours[1].Total.Count() != 10 {
		t.Errorf("an hour without sketches, then one of records: %+v, %v", hours, err)
	}
	gone := func(when string) {
		t.Helper()
		sums, err := st.Sums(ctx, store.UsageFilter{Account: "gone"}, store.GroupModel)
		if err != nil || len(sums) != 2 || sums[0].Requests != 7 || sums[0].CostUSD != 0 || sums[0].Unpriced != 0 {
			t.Errorf("%s, an hour without records: %+v, %v", when, sums, err)
		}
	}
	gone("migrated")
	var version, compatible int
	if err := look.QueryRowContext(ctx, "SELECT version, compatible FROM sluice_schema").Scan(&version, &compatible); err != nil || version < 4 || compatible > 3 {
		t.Errorf("schema %d, compatible with %d, %v: a program of version 3 must be let in", version, compatible, err)
	}

	// A program of version 3 closes an hour, and sums another up anew.
	for _, h := range []int64{hour + 1, hour + 2} {
		must(t, look, fmt.Sprintf("DELETE FROM sluice_sums WHERE hour_no = %d", h))
		must(t, look, fmt.Sprintf(sumsOfVersion3, h))
	}
	must(t, look, fmt.Sprintf("UPDATE sluice_marks SET n = %d WHERE name = 'closed_hours'", hour+3))
	if _, err := st.Sums(ctx, store.UsageFilter{}, store.GroupHour); err != nil {
		t.Errorf("sums without costs: %v", err)
	}
	rollup(4)
	check("after an older program")
	gone("after an older program")
	put("late", "a", start.Add(time.Hour), 5)
	if err := st.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	check("a late record")
}

func costs(t *testing.T, b Backend, s *Server) {
	dsn := b.Empty(t, s)
	Costs(t, b.Look(t, dsn), func(tb testing.TB) store.Store { return b.open(tb, dsn) })
}
