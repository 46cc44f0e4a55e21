package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store/internal/usage"
)

const (
	markClosed  = "closed_hours"
	markCoarse  = "coarse_hours"
	markDays    = "days_closed"
	markRecords = "records_kept"
	markHours   = "hours_kept"

	hoursAtOnce = 24 // how many hours with records one transaction closes
	sumsAtOnce  = 32 // rows of sums in one statement
)

// marks are those of every store, and how far hours have coarse sums.
type marks struct {
	usage.Marks
	coarse int64 // hours before it have sums of every kind; at least those of the closed days have them
}

// noMarks are those of a store that never closed an hour.
func noMarks() marks { return marks{usage.NoMarks(), usage.MinHour} }

// readMarks reads how far usage is summed up and kept; lock ends the query.
func readMarks(ctx context.Context, q interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, lock string) (marks, error) {
	m := noMarks()
	rows, err := q.QueryContext(ctx, "SELECT name, n FROM sluice_marks ORDER BY name"+lock)
	if err != nil {
		return m, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return m, err
		}
		switch name {
		case markClosed:
			m.Closed = n
		case markCoarse:
			m.coarse = n
		case markDays:
			m.Days = n
		case markRecords:
			m.Records = n
		case markHours:
			m.Hours = n
		}
	}
	m.coarse = max(m.coarse, m.Days*24) // programs that close only days with coarse hours do not raise it
	return m, rows.Err()
}

// lockMarks reads the marks and keeps others from changing them, and from closing hours, until the transaction ends.
func (e *Engine) lockMarks(ctx context.Context, tx *sql.Tx) (marks, error) {
	return readMarks(ctx, tx, e.dialect.ForUpdate)
}

func (e *Engine) setMark(ctx context.Context, tx *sql.Tx, name string, n int64) error {
	_, err := e.exec(ctx, tx, e.dialect.Upsert("sluice_marks", []string{"name"}, []string{"n"}, 1), name, n)
	return err
}

// sumRow is a row of sums.
type sumRow struct {
	kind int // of a day
	dims usage.Dims
	hour int64
	sum  core.UsageSum
}

// collect adds up what a condition selects of a table, by account, hour, key, node and model.
func (e *Engine) collect(ctx context.Context, tx *sql.Tx, table, figures string, c *conds) ([]sumRow, error) {
	keys := strings.Join(sumKeys, ", ")
	q := "SELECT " + keys + ", " + e.dialect.totals() + " FROM (SELECT " + keys + ", " + figures + " FROM " + table + " WHERE " + c.String() + ") r GROUP BY " + keys
	rows, err := tx.QueryContext(ctx, e.dialect.query(q), c.args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var out []sumRow
	for rows.Next() {
		var r sumRow
		if err := scanFigures(rows, &r.sum, &r.dims.Account, &r.hour, &r.dims.Key, &r.dims.Node, &r.dims.Model); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// put writes sums over those that are there.
func (e *Engine) put(ctx context.Context, tx *sql.Tx, table string, sums []sumRow) error {
	var args []any
	keys := sumKeys
	if table == tableDays {
		keys = dayKeys
	}
	for len(sums) > 0 {
		n := min(len(sums), sumsAtOnce)
		args = args[:0]
		for _, r := range sums[:n] {
			if table == tableDays {
				args = append(args, r.kind)
			}
			args = appendFigures(append(args, r.dims.Account, r.hour, r.dims.Key, r.dims.Node, r.dims.Model), &r.sum)
		}
		if _, err := e.exec(ctx, tx, e.dialect.Upsert(table, keys, sumColumns, n), args...); err != nil {
			return err
		}
		sums = sums[n:]
	}
	return nil
}

// place is an hour, or a day by its first hour, of an account, or of all.
type place struct {
	account string
	all     bool
	hour    int64
}

func (p *place) conds(c *conds) {
	if !p.all {
		c.add("account = ?", p.account)
	}
}

// sumHour writes the sums of an hour anew from its records.
func (e *Engine) sumHour(ctx context.Context, tx *sql.Tx, p place) error {
	var old, c conds
	p.conds(&old)
	old.add("hour_no = ?", p.hour)
	p.conds(&c)
	c.ended(usage.Range{From: p.hour * usage.HourUS, To: (p.hour + 1) * usage.HourUS})
	sums, err := e.collect(ctx, tx, "sluice_records", e.dialect.figures(), &c)
	if err != nil {
		return err
	}
	for _, r := range sums {
		if n := r.sum.Total.Count(); n != r.sum.Requests {
			return fmt.Errorf("the server cut a text short: %d of %d times came; raise max_allowed_packet", n, r.sum.Requests)
		}
	}
	if _, err := e.exec(ctx, tx, "DELETE FROM "+tableHours+" WHERE "+old.String(), old.args...); err != nil {
		return err
	}
	return e.put(ctx, tx, tableHours, sums)
}

// sumDay writes the sums of a day, named by its first hour, and the coarser ones of its hours, anew from its hours.
func (e *Engine) sumDay(ctx context.Context, tx *sql.Tx, p place) error {
	var c conds
	p.conds(&c)
	c.hours(usage.Range{From: p.hour, To: p.hour + 24})
	hours, err := e.collect(ctx, tx, tableHours, strings.Join(sumColumns, ", "), &c)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		kinds string
		until int64
	}{{dayKinds, p.hour + 1}, {hourKinds, p.hour + 24}} {
		var old conds
		p.conds(&old)
		old.add(c.kinds+" AND hour_no >= ? AND hour_no < ?", p.hour, c.until)
		if _, err := e.exec(ctx, tx, "DELETE FROM "+tableDays+" WHERE "+old.String(), old.args...); err != nil {
			return err
		}
	}
	return e.put(ctx, tx, tableDays, dayRows(p.hour, hours))
}

// dayRows are the rows of sluice_days for a day and its hours.
func dayRows(day int64, hours []sumRow) (out []sumRow) {
	whole := make(usage.Tallies)
	for _, r := range hours {
		whole.Of(r.dims).Add(r.sum)
	}
	for k := range usage.Kinds {
		for d, t := range k.Of(whole) {
			out = append(out, sumRow{int(k), d, day, t.Sum()})
		}
	}
	return append(out, coarseRows(hours)...)
}

// coarseRows are the rows of sluice_days for hours by themselves.
func coarseRows(hours []sumRow) (out []sumRow) {
	parts := make(map[int64]usage.Tallies)
	for _, r := range hours {
		if parts[r.hour] == nil {
			parts[r.hour] = make(usage.Tallies)
		}
		parts[r.hour].Of(r.dims).Add(r.sum)
	}
	for hour, all := range parts {
		for k := usage.ByAll + 1; k < usage.Kinds; k++ {
			for d, t := range k.Of(all) {
				out = append(out, sumRow{hourKind(k), d, hour, t.Sum()})
			}
		}
	}
	return out
}

// sumCoarse writes the coarse sums of hours, of which no day is closed, anew from their sums.
func (e *Engine) sumCoarse(ctx context.Context, tx *sql.Tx, p place, until int64) error {
	var c, old conds
	p.conds(&c)
	c.hours(usage.Range{From: p.hour, To: until})
	hours, err := e.collect(ctx, tx, tableHours, strings.Join(sumColumns, ", "), &c)
	if err != nil {
		return err
	}
	p.conds(&old)
	old.add(hourKinds+" AND hour_no >= ? AND hour_no < ?", p.hour, until)
	if _, err := e.exec(ctx, tx, "DELETE FROM "+tableDays+" WHERE "+old.String(), old.args...); err != nil {
		return err
	}
	return e.put(ctx, tx, tableDays, coarseRows(hours))
}

// Rollup implements store.Usage. It writes the sums of an hour when it closes it: until then they are worked out from
// the records, so that writing them earlier would serve nobody.
func (e *Engine) Rollup(ctx context.Context, now time.Time) error {
	to := usage.Closed(now)
	for _, step := range []func(context.Context, *sql.Tx) (bool, error){
		func(ctx context.Context, tx *sql.Tx) (bool, error) { return e.closeHours(ctx, tx, to) },
		e.closeDay,
		e.closeCoarse,
	} {
		for more := true; more; {
			err := e.write(ctx, "roll up usage", func(tx *sql.Tx) (err error) {
				more, err = step(ctx, tx)
				return err
			}, nil)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// closeHours closes the next hours and reports whether there are more before to.
func (e *Engine) closeHours(ctx context.Context, tx *sql.Tx, to int64) (more bool, err error) {
	m, err := e.lockMarks(ctx, tx)
	if err != nil || to <= m.Closed {
		return false, err
	}
	next := m.Closed
	for range hoursAtOnce {
		var us sql.NullInt64
		err := e.row(ctx, tx, "SELECT MIN(ended_us) FROM sluice_records WHERE ended_us >= ? AND ended_us < ?", next*usage.HourUS, to*usage.HourUS).Scan(&us)
		if err != nil {
			return false, err
		}
		if !us.Valid {
			next = to
			break
		}
		next = usage.HourOf(us.Int64)
		if err := e.sumHour(ctx, tx, place{all: true, hour: next}); err != nil {
			return false, err
		}
		next++
	}
	if err := e.costsAgain(ctx, tx, &m); err != nil {
		return false, err
	}
	return next < to, e.setMark(ctx, tx, markClosed, next)
}

// closeDay writes the sums of the next day and reports whether there are more. The two days before are written anew: a
// program that knows no days may have taken a late record meanwhile.
func (e *Engine) closeDay(ctx context.Context, tx *sql.Tx) (more bool, err error) {
	m, err := e.lockMarks(ctx, tx)
	to := usage.DayOf(m.Closed)
	if err != nil || to <= m.Days {
		return false, err
	}
	var hour sql.NullInt64
	err = e.row(ctx, tx, "SELECT MIN(hour_no) FROM sluice_sums WHERE hour_no >= ? AND hour_no < ?", m.Days*24, to*24).Scan(&hour)
	if err != nil {
		return false, err
	}
	if !hour.Valid {
		return false, e.setMark(ctx, tx, markDays, to)
	}
	day := usage.DayOf(hour.Int64)
	for d := max(day-2, usage.DayOf(m.Hours)); d <= day; d++ {
		if err := e.sumDay(ctx, tx, place{all: true, hour: d * 24}); err != nil {
			return false, err
		}
	}
	return day+1 < to, e.setMark(ctx, tx, markDays, day+1)
}

// closeCoarse writes the coarse sums of the closed hours that follow the closed days, so that questions of the last hours do
// not read the finest. It comes last: what closeDay writes has them already.
func (e *Engine) closeCoarse(ctx context.Context, tx *sql.Tx) (more bool, err error) {
	m, err := e.lockMarks(ctx, tx)
	if err != nil || m.Closed <= m.coarse {
		return false, err
	}
	next := m.Closed
	if m.coarse < m.Closed-hoursAtOnce { // there may be long gaps without any
		var hour sql.NullInt64
		err := e.row(ctx, tx, "SELECT MIN(hour_no) FROM sluice_sums WHERE hour_no >= ? AND hour_no < ?", m.coarse, m.Closed).Scan(&hour)
		if err != nil {
			return false, err
		}
		if hour.Valid {
			m.coarse = hour.Int64
			next = min(hour.Int64+hoursAtOnce, m.Closed)
		}
	}
	if err := e.sumCoarse(ctx, tx, place{all: true, hour: m.coarse}, next); err != nil {
		return false, err
	}
	return next < m.Closed, e.setMark(ctx, tx, markCoarse, next)
}

// exchangeHours is how far back costsAgain looks: programs of two versions may work side by side, or the older one may
// come back for a while.
const exchangeHours = 7 * 24

// costsAgain sums up anew the closed hours, of the last week, whose sums an older program wrote: it left the costs NULL.
func (e *Engine) costsAgain(ctx context.Context, tx *sql.Tx, m *marks) error {
	q := "SELECT DISTINCT account, hour_no FROM sluice_sums WHERE hour_no >= ? AND hour_no < ? AND cost_usd IS NULL"
	rows, err := tx.QueryContext(ctx, e.dialect.query(q), max(m.Closed-exchangeHours, m.Records), m.Closed)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	places := make(map[place]bool)
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.account, &p.hour); err != nil {
			return err
		}
		places[p] = true
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	return e.resum(ctx, tx, m, places)
}

// resum writes the sums of hours anew, and those that were made of them.
func (e *Engine) resum(ctx context.Context, tx *sql.Tx, m *marks, hours map[place]bool) error {
	days := make(map[place]bool)
	for p := range hours {
		if err := e.sumHour(ctx, tx, p); err != nil {
			return err
		}
		switch day := usage.HourFloor(p.hour); {
		case day < m.Days*24:
			p.hour = day
			days[p] = true
		case p.hour < m.coarse:
			if err := e.sumCoarse(ctx, tx, p, p.hour+1); err != nil {
				return err
			}
		}
	}
	for p := range days {
		if err := e.sumDay(ctx, tx, p); err != nil {
			return err
		}
	}
	return nil
}

// addLate brings the sums up to date with new records of closed hours.
func (e *Engine) addLate(ctx context.Context, tx *sql.Tx, m *marks, recs []core.Settlement) error {
	hours := make(map[place]bool)
	for i := range recs {
		hour := usage.HourOf(recs[i].EndedAt.UnixMicro())
		if hour >= m.Records {
			hours[place{account: e.dialect.key(recs[i].Account), hour: hour}] = true
			continue
		}
		if err := e.addGone(ctx, tx, m, hour, &recs[i]); err != nil {
			return err
		}
	}
	return e.resum(ctx, tx, m, hours)
}

// addGone adds a record to the sums of an hour whose records are gone.
func (e *Engine) addGone(ctx context.Context, tx *sql.Tx, m *marks, hour int64, r *core.Settlement) error {
	d := &e.dialect
	dims := usage.Dims{Account: d.key(r.Account), Key: d.key(r.Key), Node: d.key(r.Node), Model: d.key(r.Model)}
	day := usage.HourFloor(hour)
	if hour >= m.Hours {
		if err := e.addOne(ctx, tx, tableHours, 0, dims, hour, r); err != nil {
			return err
		}
	}
	for k := range usage.Kinds {
		if day < m.Days*24 {
			if err := e.addOne(ctx, tx, tableDays, int(k), k.Keep(dims), day, r); err != nil {
				return err
			}
		}
		if k == usage.ByAll || hour < m.Hours || hour >= m.coarse {
			continue
		}
		if err := e.addOne(ctx, tx, tableDays, hourKind(k), k.Keep(dims), hour, r); err != nil {
			return err
		}
	}
	return nil
}

// addOne adds a record to one row of sums.
func (e *Engine) addOne(ctx context.Context, tx *sql.Tx, table string, kind int, dims usage.Dims, hour int64, r *core.Settlement) error {
	one := sumRow{kind: kind, dims: dims, hour: hour}
	var c conds
	if table == tableDays {
		c.add("kind = ?", kind)
	}
	c.add("account = ? AND hour_no = ? AND key_id = ? AND node = ? AND model = ?", dims.Account, hour, dims.Key, dims.Node, dims.Model)
	there, err := e.collect(ctx, tx, table, strings.Join(sumColumns, ", "), &c)
	if err != nil {
		return err
	}
	var t usage.Tally
	t.Record(r)
	for _, row := range there {
		t.Add(row.sum)
	}
	one.sum = t.Sum()
	return e.put(ctx, tx, table, []sumRow{one})
}
