package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// sumColumns are the figures of sluice_sums and sluice_days, in the order of figuresOf.
var sumColumns = []string{"requests", "success", "estimated", "attempts", "input_tokens", "cache_read", "cache_write_5m", "cache_write_1h",
	"output_tokens", "bytes", "first_byte_ms", "first_bytes", "stream_ms", "total_ms", "cost_usd", "unpriced", "first_sketch", "total_sketch"}

// sumKeys are what sums are kept apart by.
var sumKeys = []string{"account", "hour_no", "key_id", "node", "model"}

// dayKeys are those of sluice_days.
var dayKeys = append([]string{"kind"}, sumKeys...)

const (
	tableHours = "sluice_sums"
	tableDays  = "sluice_days"
)

// What sluice_days has: sums of days of each usage.Kind, and next to them those of their hours, of which sluice_sums has
// the finest kind.
const (
	dayKinds  = "kind IN (0, 1, 2, 3, 4)" // in this form the primary key serves
	hourKinds = "kind IN (5, 6, 7, 8)"
)

// hourKind is the number of a kind of hours, other than the finest.
func hourKind(k usage.Kind) int { return int(usage.Kinds-1) + int(k) }

// figures are the figures of one record. The texts of its sketches are single values.
func (d *Dialect) figures() string {
	return "1 AS requests, success, estimated, attempts, input_tokens, cache_read, cache_write_5m, cache_write_1h, output_tokens, bytes, first_byte_ms, first_bytes, stream_ms, total_ms, " +
		"COALESCE(cost_usd, " + d.Cost + ") AS cost_usd, COALESCE(unpriced, " + d.Unpriced + ") AS unpriced, " +
		"CASE WHEN first_byte_ms > 0 THEN CONCAT('=', first_byte_ms) ELSE '' END AS first_sketch, CONCAT('=', total_ms) AS total_sketch"
}

// totals adds figures up. Costs and sketches are NULL where a program wrote the sums that knows none; see costsAgain.
func (d *Dialect) totals() string {
	var out []string
	for _, c := range sumColumns {
		switch c {
		case "cost_usd", "unpriced":
			out = append(out, "COALESCE(SUM("+c+"), 0)")
		case "first_sketch", "total_sketch":
			out = append(out, fmt.Sprintf(d.Join, c))
		default:
			out = append(out, "SUM("+c+")")
		}
	}
	return strings.Join(out, ", ")
}

// scanFigures scans a row that ends with totals.
func scanFigures(rows *sql.Rows, s *core.UsageSum, before ...any) error {
	var first, total []byte
	err := rows.Scan(append(before, &s.Requests, &s.Success, &s.Estimated, &s.Attempts,
		&s.Tokens.Input, &s.Tokens.CacheRead, &s.Tokens.CacheWrite5m, &s.Tokens.CacheWrite1h, &s.Tokens.Output,
		&s.Bytes, &s.FirstByteMS, &s.FirstBytes, &s.StreamMS, &s.TotalMS, &s.CostUSD, &s.Unpriced, &first, &total)...)
	if err == nil {
		s.FirstByte, err = core.ParseSketch(first)
	}
	if err == nil {
		s.Total, err = core.ParseSketch(total)
	}
	return err
}

// appendFigures appends the values of sumColumns.
func appendFigures(dst []any, s *core.UsageSum) []any {
	return append(dst, s.Requests, s.Success, s.Estimated, s.Attempts,
		s.Tokens.Input, s.Tokens.CacheRead, s.Tokens.CacheWrite5m, s.Tokens.CacheWrite1h, s.Tokens.Output,
		s.Bytes, s.FirstByteMS, s.FirstBytes, s.StreamMS, s.TotalMS, s.CostUSD, s.Unpriced, s.FirstByte.String(), s.Total.String())
}

// groupColumn is the column of a grouping; times for one by hour, day or month; "" for none.
func groupColumn(by store.GroupBy) (column string, times bool) {
	switch by {
	case store.GroupAccount:
		return "account", false
	case store.GroupKey:
		return "key_id", false
	case store.GroupNode:
		return "node", false
	case store.GroupModel:
		return "model", false
	case store.GroupSession:
		return "session", false
	case store.GroupAgent:
		return "COALESCE(agent, '')", false
	case store.GroupHour, store.GroupDay, store.GroupMonth:
		return "", true
	}
	return "''", false
}

// sumsQuery adds up sums of days, sums of hours and records, as planned, in one statement, so that all are of the same
// moment. The marks may be out of date: they only rise. By time the group is twice the hour, and 1 more for a whole day.
func (d *Dialect) sumsQuery(f *store.UsageFilter, by store.GroupBy, m *marks) (string, []any) {
	var parts []string
	var args []any
	column, times := groupColumn(by)
	add := func(table, figures, time string, c *conds) {
		if times {
			column = time
		}
		parts, args = append(parts, "SELECT "+column+" AS g, "+figures+" FROM "+table+" WHERE "+c.String()), append(args, c.args...)
	}
	plan := m.Plan(f, by)
	whole := strings.Join(sumColumns, ", ")
	kind := usage.KindOf(f, by)
	if !plan.Days.Empty() {
		var c conds
		c.add("kind = ?", int(kind))
		c.sums(f, false)
		c.hours(usage.Range{From: plan.Days.From * 24, To: plan.Days.To * 24})
		add(tableDays, whole, "hour_no * 2 + 1", &c)
	}
	for _, r := range plan.Hours {
		fine := r
		if kind != usage.ByAll {
			fine.From = max(r.From, min(r.To, m.coarse))
			var c conds
			c.add("kind = ?", hourKind(kind))
			c.sums(f, false)
			c.hours(usage.Range{From: r.From, To: fine.From})
			add(tableDays, whole, "hour_no * 2", &c)
		}
		var c conds
		c.sums(f, false)
		c.hours(fine)
		add(tableHours, whole, "hour_no * 2", &c)
	}
	for _, r := range plan.Records {
		var c conds
		c.records(f)
		c.ended(r)
		add("sluice_records", d.figures(), "hour_no * 2", &c)
	}
	switch len(parts) {
	case 0: // an empty span
		return "", nil
	case 1:
		parts[0] += d.Apart
	}
	return "SELECT g, " + d.totals() + " FROM (" + strings.Join(parts, " UNION ALL ") + ") u GROUP BY g", args
}

// Sums implements store.Usage over what is saved.
func (e *Engine) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Check(&f, by); err != nil {
		return nil, err
	}
	m, err := readMarks(ctx, e.r, "")
	for range usage.Again {
		if err != nil {
			break
		}
		var out []core.UsageSum
		if out, err = e.sums(ctx, &f, by, &m); err != nil {
			break
		}
		before := m
		if m, err = readMarks(ctx, e.r, ""); err == nil && before.Kept(&m.Marks) {
			return out, nil
		}
	}
	if err == nil {
		err = errors.New("others remove usage all the time: try again")
	}
	return nil, e.fail(ctx, "sum usage", err)
}

// sums adds up by marks that may be out of date.
func (e *Engine) sums(ctx context.Context, f *store.UsageFilter, by store.GroupBy, m *marks) ([]core.UsageSum, error) {
	g := usage.NewGroups(f, by)
	q, args := e.dialect.sumsQuery(f, by, m)
	if q == "" {
		return g.List()
	}
	_, times := groupColumn(by)
	err := e.read(ctx, q, args, func(rows *sql.Rows) error {
		var s core.UsageSum
		if !times {
			var name string
			err := scanFigures(rows, &s, &name)
			g.Hour(&usage.Dims{Account: name, Key: name, Node: name, Model: name, Session: name, Agent: name}, 0).Add(s)
			if err == nil && g.Full() {
				err = store.ErrGroups // more rows would change nothing
			}
			return err
		}
		var hour int64
		err := scanFigures(rows, &s, &hour)
		if hour&1 == 1 {
			g.Day(&usage.Dims{}, usage.DayOf(hour>>1)).Add(s)
		} else {
			g.Hour(&usage.Dims{}, hour>>1).Add(s)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return g.List()
}
