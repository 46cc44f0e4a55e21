package importer_test

import (
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/importer"
	"sluice/shared/store"
)

// TestUsageAgain: a further run takes what came since, nothing that was removed since, and all of another database.
func TestUsageAgain(t *testing.T) {
	const log = `INSERT INTO usage_logs VALUES `
	row := func(id, at string) string {
		return `(` + id + `, NULL, NULL, 'm', '/v1/messages', 'POST', 1, 1, 200, 1, NULL, '` + at + `', NULL, NULL)`
	}
	first := row("1", "2026-01-04 10:00:00") + `,` + row("2", "2026-03-14 10:20:00")
	g := newTarget(t)
	requests := func() int64 {
		t.Helper()
		if err := g.s.Rollup(t.Context(), start.Add(48*time.Hour)); err != nil {
			t.Fatal(err)
		}
		sums, err := g.s.Sums(t.Context(), store.UsageFilter{Account: core.DefaultAccount}, store.GroupNone)
		if err != nil || len(sums) != 1 {
			t.Fatalf("%+v, %v", sums, err)
		}
		return sums[0].Requests
	}
	for _, c := range []struct {
		why  string
		rows string
		want int64
	}{
		{"the first run", first, 2},
		{"the same again", first, 2},
		{"of the same second as the newest one, and one that ended before it", first + `,` + row("3", "2026-03-14 10:20:00") + `,` + row("4", "2026-03-14 10:10:00"), 4},
		{"another database, whose log ends before that", row("1", "2026-01-03 10:00:00") + `,` + row("2", "2026-01-05 10:00:00"), 6},
		{"one with a clock that went wrong", row("1", "2026-01-02 10:00:00") + `,` + row("2", "2099-01-05 10:00:00"), 8},
		{"and what came for it since", row("1", "2026-01-02 10:00:00") + `,` + row("2", "2099-01-05 10:00:00") + `,` + row("3", "2026-01-06 10:00:00"), 9},
	} {
		src, _ := old(t, poolSchema+log+c.rows)
		if _, err := importer.Amq2API(t.Context(), src, g.poolOptions()); err != nil {
			t.Fatal(err)
		}
		if got := requests(); got != c.want {
			t.Errorf("%s: %d requests, want %d", c.why, got, c.want)
		}
		if _, err := g.s.Retain(t.Context(), start, store.Retention{Records: 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
}
