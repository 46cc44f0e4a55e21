package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

const (
	retainRecords = 1000   // records that one transaction removes
	retainAtOnce  = 20_000 // what one call removes
)

// Retain implements store.Usage. It removes in short transactions, the oldest first.
func (e *Engine) Retain(ctx context.Context, now time.Time, keep store.Retention) (removed int, err error) {
	var due usage.Due
	err = e.write(ctx, "retain usage", func(tx *sql.Tx) error {
		m, err := e.lockMarks(ctx, tx)
		if err != nil {
			return err
		}
		due = m.Due(now, keep)
		if due.Records > m.Records { // before anything goes: from now on nobody sums these up anew
			err = e.setMark(ctx, tx, markRecords, due.Records)
		}
		if err == nil && due.Hours > m.Hours {
			err = e.setMark(ctx, tx, markHours, due.Hours)
		}
		return err
	}, nil)
	if err != nil {
		return 0, err
	}
	for _, class := range []struct {
		table, kinds string
		before       int64
		keep         time.Duration
	}{
		{"sluice_records", "", due.Records * usage.HourUS, keep.Records},
		{tableHours, "", due.Hours, keep.Hours},
		{tableDays, hourKinds, due.Hours, keep.Hours},
		{tableDays, dayKinds, due.Days * 24, keep.Days},
	} {
		for more := class.keep > 0; more && removed < retainAtOnce; {
			n, err := e.remove(ctx, class.table, class.kinds, class.before)
			if err != nil {
				return removed, err
			}
			removed += n
			more = n > 0
		}
	}
	return removed, nil
}

// remove removes the oldest records, or the oldest hour or day of sums, if they are before a number. kinds are those of
// sluice_days.
func (e *Engine) remove(ctx context.Context, table, kinds string, before int64) (n int, err error) {
	err = e.write(ctx, "retain usage", func(tx *sql.Tx) error {
		q, args := "DELETE FROM sluice_records WHERE request_id IN (SELECT request_id FROM (SELECT request_id FROM sluice_records WHERE ended_us < ? ORDER BY ended_us LIMIT ?) t)", []any{before, retainRecords}
		if table != "sluice_records" {
			var oldest sql.NullInt64
			first, all := "", ""
			switch kinds { // each has one sum at least for each account
			case dayKinds:
				first = fmt.Sprintf("kind = %d AND ", usage.ByAccount)
			case hourKinds:
				first = fmt.Sprintf("kind = %d AND ", hourKind(usage.ByAccount))
			}
			if kinds != "" {
				all = kinds + " AND "
			}
			if err := e.row(ctx, tx, "SELECT MIN(hour_no) FROM "+table+" WHERE "+first+"hour_no < ?", before).Scan(&oldest); err != nil || !oldest.Valid {
				n = 0
				return err
			}
			q, args = "DELETE FROM "+table+" WHERE "+all+"hour_no = ?", []any{oldest.Int64}
		}
		rows, err := e.exec(ctx, tx, q, args...)
		n = int(rows)
		return err
	}, nil)
	return n, err
}

// DeleteUsage implements store.Usage over what is saved.
func (e *Engine) DeleteUsage(ctx context.Context, account string) error {
	return e.write(ctx, "delete usage", func(tx *sql.Tx) error {
		if _, err := e.lockMarks(ctx, tx); err != nil { // keeps away who would write sums of records that go
			return err
		}
		for _, table := range []string{"sluice_records", tableHours, tableDays} {
			if _, err := e.exec(ctx, tx, "DELETE FROM "+table+" WHERE account = ?", e.dialect.key(account)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}
