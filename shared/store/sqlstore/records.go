package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
	"sluice/shared/store/memory"
)

// dimensions are the columns by which sums are kept apart, beside account and hour_no.
const dimensions = "key_id, node, model"

// recordColumns are the columns of sluice_records, in the order of recordValues.
var recordColumns = []string{
	"request_id", "account", "key_id", "node", "model", "session", "hour_no", "ended_us",
	"success", "estimated", "attempts", "input_tokens", "cache_read", "cache_write_5m", "cache_write_1h", "output_tokens",
	"bytes", "first_byte_ms", "first_bytes", "stream_ms", "total_ms", "body",
}

func recordValues(r *core.Settlement) ([]any, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	ended, s := r.EndedAt.UnixMicro(), usage.One(r)
	return []any{
		r.RequestID, r.Account, r.Key, r.Node, r.Model, r.Session, usage.HourOf(ended), ended,
		s.Success, s.Estimated, s.Attempts, s.Tokens.Input, s.Tokens.CacheRead, s.Tokens.CacheWrite5m, s.Tokens.CacheWrite1h, s.Tokens.Output,
		s.Bytes, s.FirstByteMS, s.FirstBytes, s.StreamMS, s.TotalMS, body,
	}, nil
}

// place is an hour of an account.
type place struct {
	account string
	hour    int64
}

// Save stores records, each once by its request id, in one transaction, together with the counters that counters
// returns inside it (nil: none). It brings up to date the sums of closed hours that a record falls into.
func (e *Engine) Save(ctx context.Context, recs []core.Settlement, counters func() []memory.Counter) error {
	return e.write(ctx, "save usage", func(tx *sql.Tx) error {
		if counters != nil {
			if err := e.saveCounters(ctx, tx, counters()); err != nil {
				return err
			}
		}
		if len(recs) == 0 {
			return nil
		}
		closed, _, err := e.closed(ctx, tx)
		if err != nil {
			return err
		}
		late, err := e.insert(ctx, tx, recs, closed)
		if err != nil {
			return err
		}
		for p := range late {
			if err := e.sumUp(ctx, tx, "account = ? AND hour_no = ?", "account = ? AND ended_us >= ? AND ended_us < ?",
				[]any{p.account, p.hour}, []any{p.account, p.hour * usage.HourUS, (p.hour + 1) * usage.HourUS}); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// insert stores the records that are new and returns the closed hours among theirs.
func (e *Engine) insert(ctx context.Context, tx *sql.Tx, recs []core.Settlement, closed int64) (map[place]bool, error) {
	st, err := tx.PrepareContext(ctx, e.dialect.query(e.dialect.InsertNew("sluice_records", recordColumns)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = st.Close() }() // the transaction has the say
	late := make(map[place]bool)
	for i := range recs {
		r := recs[i]
		usage.Normalize(&r)
		values, err := recordValues(&r)
		if err != nil {
			return nil, err
		}
		res, err := st.ExecContext(ctx, values...)
		if err != nil {
			return nil, err
		}
		if n, err := res.RowsAffected(); err != nil {
			return nil, err
		} else if hour := usage.HourOf(r.EndedAt.UnixMicro()); n > 0 && hour < closed {
			late[place{r.Account, hour}] = true
		}
	}
	return late, nil
}

func (e *Engine) saveCounters(ctx context.Context, tx *sql.Tx, cs []memory.Counter) error {
	q := e.dialect.Upsert("sluice_limits", []string{"kind", "id"}, []string{"full_us", "day_no", "day_count"})
	for _, c := range cs {
		if _, err := e.exec(ctx, tx, q, c.Kind, c.ID, c.Full, c.Day, c.Count); err != nil {
			return err
		}
	}
	return nil
}

// where builds the condition of a filter over records. from and to are in microseconds; nil: open.
func where(f *store.UsageFilter, from, to *int64) (string, []any) {
	var conds []string
	var args []any
	add := func(cond string, arg any) {
		conds, args = append(conds, cond), append(args, arg)
	}
	for _, c := range []struct{ cond, value string }{
		{"account = ?", f.Account}, {"key_id = ?", f.Key}, {"node = ?", f.Node}, {"model = ?", f.Model}, {"session = ?", f.Session},
	} {
		if c.value != "" {
			add(c.cond, c.value)
		}
	}
	if from != nil {
		add("ended_us >= ?", *from)
	}
	if to != nil {
		add("ended_us < ?", *to)
	}
	if len(conds) == 0 {
		return "1 = 1", nil
	}
	return strings.Join(conds, " AND "), args
}

// span is the filter's time in microseconds; nil: open.
func span(f *store.UsageFilter) (from, to *int64) {
	if !f.From.IsZero() {
		from = new(f.From.UnixMicro())
	}
	if !f.To.IsZero() {
		to = new(f.To.UnixMicro())
	}
	return from, to
}

func recordsQuery(f *store.UsageFilter, c usage.Cursor, limit int) (string, []any) {
	cond, args := where(f, nil, nil)
	from, to := span(f)
	if from != nil {
		cond, args = cond+" AND ended_us >= ?", append(args, *from)
	}
	if to != nil {
		cond, args = cond+" AND ended_us < ?", append(args, *to)
	}
	if c.Set {
		cond, args = cond+" AND (ended_us, request_id) < (?, ?)", append(args, c.EndedUS, c.ID)
	}
	return "SELECT body FROM sluice_records WHERE " + cond + " ORDER BY ended_us DESC, request_id DESC LIMIT ?", append(args, limit)
}

// Records implements store.Usage over what is saved.
func (e *Engine) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	c, err := usage.ParseCursor(cursor)
	if err != nil || limit <= 0 {
		return nil, "", err
	}
	var out []core.Settlement
	q, args := recordsQuery(&f, c, limit+1)
	err = e.read(ctx, q, args, func(rows *sql.Rows) error {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var r core.Settlement
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("a record is not readable: %w", err)
		}
		out = append(out, r)
		return nil
	})
	if err != nil {
		return nil, "", e.fail(ctx, "list usage", err)
	}
	if len(out) <= limit {
		return out, "", nil
	}
	out = out[:limit]
	return out, usage.After(&out[limit-1]).String(), nil
}

// closed reads the first hour that is not closed; ok is false when none was ever closed.
func (e *Engine) closed(ctx context.Context, tx *sql.Tx) (hour int64, ok bool, err error) {
	err = e.row(ctx, tx, "SELECT n FROM sluice_marks WHERE name = 'closed_hours'"+e.dialect.ForUpdate).Scan(&hour)
	if errors.Is(err, sql.ErrNoRows) {
		return minHour, false, nil
	}
	return hour, err == nil, err
}
