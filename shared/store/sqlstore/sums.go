package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// minHour is before every hour whose microseconds fit.
const minHour = math.MinInt64 / int64(3_600_000_000)

const (
	// sumColumns are the figures of sluice_sums, in the order of scanSum.
	sumColumns = "requests, success, estimated, attempts, input_tokens, cache_read, cache_write_5m, cache_write_1h, output_tokens, bytes, first_byte_ms, first_bytes, stream_ms, total_ms, cost_usd, unpriced"

	// recordFigures are the same of one record, without its costs.
	recordFigures = "1 AS requests, success, estimated, attempts, input_tokens, cache_read, cache_write_5m, cache_write_1h, output_tokens, bytes, first_byte_ms, first_bytes, stream_ms, total_ms"

	// totals adds either up. Costs are NULL where a program wrote the sums that knows none; see costsAgain.
	totals = "SUM(requests), SUM(success), SUM(estimated), SUM(attempts), SUM(input_tokens), SUM(cache_read), SUM(cache_write_5m), SUM(cache_write_1h), SUM(output_tokens), SUM(bytes), SUM(first_byte_ms), SUM(first_bytes), SUM(stream_ms), SUM(total_ms), COALESCE(SUM(cost_usd), 0), COALESCE(SUM(unpriced), 0)"
)

// figures are the figures of one record, costs included.
func (d *Dialect) figures() string {
	return recordFigures + ", " + d.Cost + " AS cost_usd, " + d.Unpriced + " AS unpriced"
}

// sumUp writes the sums selected by the first condition anew from the records selected by the second.
func (e *Engine) sumUp(ctx context.Context, tx *sql.Tx, sums, records string, sumArgs, recordArgs []any) error {
	if _, err := e.exec(ctx, tx, "DELETE FROM sluice_sums WHERE "+sums, sumArgs...); err != nil {
		return err
	}
	q := "INSERT INTO sluice_sums (account, hour_no, " + dimensions + ", " + sumColumns + ")" +
		" SELECT account, hour_no, " + dimensions + ", " + totals +
		" FROM (SELECT account, hour_no, " + dimensions + ", " + e.dialect.figures() + " FROM sluice_records WHERE " + records + ") r" +
		" GROUP BY account, hour_no, " + dimensions
	_, err := e.exec(ctx, tx, q, recordArgs...)
	return err
}

// Rollup implements store.Usage. It writes the sums of an hour when it closes it: until then they are worked out from
// the records, so that writing them earlier would serve nobody.
func (e *Engine) Rollup(ctx context.Context, now time.Time) error {
	to := usage.Closed(now)
	return e.write(ctx, "roll up usage", func(tx *sql.Tx) error {
		from, ok, err := e.closed(ctx, tx)
		if err != nil || to <= from {
			return err
		}
		err = e.sumUp(ctx, tx, "hour_no >= ? AND hour_no < ?", "ended_us >= ? AND ended_us < ?",
			[]any{from, to}, []any{from * usage.HourUS, to * usage.HourUS})
		if err == nil {
			err = e.costsAgain(ctx, tx, from)
		}
		if err != nil {
			return err
		}
		q := "UPDATE sluice_marks SET n = ? WHERE name = 'closed_hours'"
		if !ok {
			q = "INSERT INTO sluice_marks (n, name) VALUES (?, 'closed_hours')"
		}
		_, err = e.exec(ctx, tx, q, to)
		return err
	}, nil)
}

// exchangeHours is how far back costsAgain looks: programs of two versions may work side by side, or the older one may
// come back for a while.
const exchangeHours = 7 * 24

// costsAgain sums up anew the closed hours before to, of the last week, whose sums an older program wrote: it left the
// costs NULL.
func (e *Engine) costsAgain(ctx context.Context, tx *sql.Tx, to int64) error {
	q := "SELECT DISTINCT account, hour_no FROM sluice_sums WHERE hour_no >= ? AND hour_no < ? AND cost_usd IS NULL"
	rows, err := tx.QueryContext(ctx, e.dialect.query(q), to-exchangeHours, to)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var places []place
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.account, &p.hour); err != nil {
			return err
		}
		places = append(places, p)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, p := range places {
		if err := e.sumHour(ctx, tx, p); err != nil {
			return err
		}
	}
	return nil
}

// DeleteUsage implements store.Usage over what is saved.
func (e *Engine) DeleteUsage(ctx context.Context, account string) error {
	return e.write(ctx, "delete usage", func(tx *sql.Tx) error {
		if _, _, err := e.closed(ctx, tx); err != nil { // keeps away who would write sums of records that go
			return err
		}
		for _, table := range []string{"sluice_records", "sluice_sums"} {
			if _, err := e.exec(ctx, tx, "DELETE FROM "+table+" WHERE account = ?", e.dialect.key(account)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// groupColumn is the column of a grouping; "" for none.
func groupColumn(by store.GroupBy) string {
	switch by {
	case store.GroupAccount:
		return "account"
	case store.GroupKey:
		return "key_id"
	case store.GroupNode:
		return "node"
	case store.GroupModel:
		return "model"
	case store.GroupHour:
		return "hour_no"
	default:
		return ""
	}
}

// sumsQuery adds up the sums of closed hours that lie wholly in the filter and the records of the rest, in one
// statement, so that both are of the same moment. closed may be out of date: it only rises, and sums below stay true.
func (d *Dialect) sumsQuery(f *store.UsageFilter, by store.GroupBy, closed int64) (string, []any) {
	var parts string
	var args []any
	group := groupColumn(by)
	named := "'' AS g"
	if group != "" {
		named = group + " AS g"
	}
	add := func(figures, table, cond string, more []any) {
		if parts != "" {
			parts += " UNION ALL "
		}
		parts += "SELECT " + named + ", " + figures + " FROM " + table + " WHERE " + cond
		args = append(args, more...)
	}
	records := func(from, to *int64) {
		if from != nil && to != nil && *from >= *to {
			return
		}
		cond, more := where(f, from, to)
		add(d.figures(), "sluice_records", cond, more)
	}

	from, to := span(f)
	first, end := int64(minHour), closed
	if from != nil {
		first = usage.HourOf(*from + usage.HourUS - 1)
	}
	if to != nil {
		end = min(end, usage.HourOf(*to))
	}
	if f.Session != "" || first >= end {
		records(from, to)
	} else {
		if from != nil {
			records(from, new(first*usage.HourUS))
		}
		hours := *f
		cond, more := where(&hours, nil, nil)
		if from != nil {
			cond, more = cond+" AND hour_no >= ?", append(more, first)
		}
		add(sumColumns, "sluice_sums", cond+" AND hour_no < ?", append(more, end))
		records(new(end*usage.HourUS), to)
	}
	if parts == "" { // an empty span
		return "", nil
	}
	return "SELECT g, " + totals + " FROM (" + parts + ") u GROUP BY g ORDER BY g", args
}

// Sums implements store.Usage over what is saved. Without a grouping it returns exactly one sum, of zeros when nothing
// is selected.
func (e *Engine) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Known(by); err != nil {
		return nil, err
	}
	closed := int64(minHour)
	err := e.r.QueryRowContext(ctx, "SELECT n FROM sluice_marks WHERE name = 'closed_hours'").Scan(&closed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, e.fail(ctx, "sum usage", err)
	}
	var out []core.UsageSum
	if q, args := e.dialect.sumsQuery(&f, by, closed); q != "" {
		err := e.read(ctx, q, args, func(rows *sql.Rows) error {
			s, err := scanSum(rows, by)
			out = append(out, s)
			return err
		})
		if err != nil {
			return nil, e.fail(ctx, "sum usage", err)
		}
	}
	if by == store.GroupNone && len(out) == 0 {
		out = append(out, core.UsageSum{})
	}
	return out, nil
}

func scanSum(rows *sql.Rows, by store.GroupBy) (core.UsageSum, error) {
	var s core.UsageSum
	var hour int64
	group := any(&s.Group)
	if by == store.GroupHour {
		group = &hour
	}
	err := rows.Scan(group, &s.Requests, &s.Success, &s.Estimated, &s.Attempts,
		&s.Tokens.Input, &s.Tokens.CacheRead, &s.Tokens.CacheWrite5m, &s.Tokens.CacheWrite1h, &s.Tokens.Output,
		&s.Bytes, &s.FirstByteMS, &s.FirstBytes, &s.StreamMS, &s.TotalMS, &s.CostUSD, &s.Unpriced)
	if by == store.GroupHour {
		s.Hour = time.UnixMicro(hour * usage.HourUS).UTC()
	}
	return s, err
}
