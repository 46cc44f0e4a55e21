package sqlstore

import (
	"context"
	"database/sql"
	"math"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// maxPassed is how many records one page may pass over.
const maxPassed = 20_000

// conds are conditions and their arguments.
type conds struct {
	texts []string
	args  []any
}

func (c *conds) add(cond string, args ...any) {
	c.texts, c.args = append(c.texts, cond), append(c.args, args...)
}

func (c *conds) String() string {
	if len(c.texts) == 0 {
		return "1 = 1"
	}
	return strings.Join(c.texts, " AND ")
}

// ended adds the bounds of a time in microseconds.
func (c *conds) ended(r usage.Range) {
	if r.From != math.MinInt64 {
		c.add("ended_us >= ?", r.From)
	}
	if r.To != math.MaxInt64 {
		c.add("ended_us < ?", r.To)
	}
}

// hours adds the bounds of hours.
func (c *conds) hours(r usage.Range) {
	if r.From > usage.MinHour {
		c.add("hour_no >= ?", r.From)
	}
	c.add("hour_no < ?", r.To)
}

// index adds the condition on the one column whose index serves a filter best, then by time.
func (c *conds) index(f *store.UsageFilter) {
	for _, x := range []struct{ column, value string }{{"session", f.Session}, {"key_id", f.Key}, {"node", f.Node}, {"account", f.Account}} {
		if x.value != "" {
			c.add(x.column+" = ?", x.value)
			return
		}
	}
}

// sums adds what a filter says of sums, times aside. Where a key or a node is asked for its index is the best: the
// account then must not tempt the planner.
func (c *conds) sums(f *store.UsageFilter, records bool) {
	account := "account = ?"
	if records && (f.Session != "" || f.Key != "" || f.Node != "") {
		account = "CONCAT(account, '') = ?"
	}
	for _, x := range []struct{ cond, value string }{{account, f.Account}, {"key_id = ?", f.Key}, {"node = ?", f.Node}, {"model = ?", f.Model}} {
		if x.value != "" {
			c.add(x.cond, x.value)
		}
	}
}

// records adds what a filter says of records, times aside.
func (c *conds) records(f *store.UsageFilter) {
	c.sums(f, true)
	if f.Session != "" {
		c.add("session = ?", f.Session)
	}
	if f.Agent != "" {
		c.add("agent = ?", f.Agent)
	}
	if f.Failed {
		c.add("success = 0")
	}
}

// behind adds the place of a cursor. The first half says nothing new, but lets MySQL begin there: it takes no range from
// a comparison of pairs.
func (c *conds) behind(at usage.Cursor) {
	if at.Set {
		c.add("ended_us <= ? AND (ended_us, request_id) < (?, ?)", at.EndedUS, at.EndedUS, at.ID)
	}
}

const newestFirst = " ORDER BY ended_us DESC, request_id DESC LIMIT ?"

// recordsQuery is a page's, down to and with the record at end, if that is set.
func recordsQuery(f *store.UsageFilter, at, end usage.Cursor, limit int) (string, []any) {
	var c conds
	c.records(f)
	c.ended(usage.Span(f))
	c.behind(at)
	if end.Set {
		c.add("ended_us >= ? AND (ended_us, request_id) >= (?, ?)", end.EndedUS, end.EndedUS, end.ID)
	}
	return "SELECT " + strings.Join(recordColumns, ", ") + " FROM sluice_records WHERE " + c.String() + newestFirst, append(c.args, limit)
}

// endQuery finds the last record that a page may look at. It reads an index alone.
func endQuery(f *store.UsageFilter, at usage.Cursor, passed int) (string, []any) {
	var c conds
	c.index(f)
	c.ended(usage.Span(f))
	c.behind(at)
	return "SELECT ended_us, request_id FROM sluice_records WHERE " + c.String() + newestFirst + " OFFSET ?", append(c.args, 1, passed)
}

// filters counts what a filter asks for, times aside.
func filters(f *store.UsageFilter) (n int) {
	for _, s := range []string{f.Account, f.Key, f.Node, f.Model, f.Session, f.Agent} {
		if s != "" {
			n++
		}
	}
	if f.Failed {
		n++
	}
	return n
}

// Records implements store.Usage over what is saved. A filter by one of account, key, node and session is served by its
// index; what else is asked for is looked at in up to 20,000 records.
func (e *Engine) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	at, err := usage.ParseCursor(cursor)
	if err != nil || limit <= 0 {
		return nil, "", err
	}
	var end usage.Cursor
	if n := filters(&f); n > 1 || n == 1 && (f.Model != "" || f.Agent != "" || f.Failed) {
		q, args := endQuery(&f, at, max(maxPassed, limit))
		err := e.read(ctx, q, args, func(rows *sql.Rows) error {
			end.Set = true
			return rows.Scan(&end.EndedUS, &end.ID)
		})
		if err != nil {
			return nil, "", e.fail(ctx, "list usage", err)
		}
	}
	var out []core.Settlement
	q, args := recordsQuery(&f, at, end, limit+1)
	err = e.read(ctx, q, args, func(rows *sql.Rows) error {
		r, err := scanRecord(rows)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, "", e.fail(ctx, "list usage", err)
	}
	if len(out) <= limit {
		return out, end.String(), nil
	}
	out = out[:limit]
	return out, usage.After(&out[limit-1]).String(), nil
}
