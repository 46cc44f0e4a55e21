package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
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

// rest is what of a record has no column of its own: the body of its row. Sums find the last two fields in its text, see
// Dialect.Cost: no other field may have their names, and within strings the quotes are escaped.
type rest struct {
	UpstreamID  string       `json:"u,omitempty"`
	NodeName    string       `json:"n,omitempty"`
	Endpoint    string       `json:"e,omitempty"`
	Dialect     core.Dialect `json:"d,omitempty"`
	ServedModel string       `json:"m,omitempty"`
	Agent       string       `json:"a,omitempty"`
	ParentAgent string       `json:"p,omitempty"`
	ClientAddr  string       `json:"c,omitempty"`
	Stream      bool         `json:"s,omitempty"`
	Status      int          `json:"t,omitempty"`
	ErrorCode   string       `json:"x,omitempty"`
	StartedUS   int64        `json:"b,omitempty"`
	CostUSD     int64        `json:"q,omitempty"`
	Unpriced    bool         `json:"z,omitempty"`
}

// appendRecord appends a record's values in the order of recordColumns.
func (d *Dialect) appendRecord(dst []any, r *core.Settlement) ([]any, error) {
	o := rest{r.UpstreamID, r.NodeName, r.Endpoint, r.Dialect, r.ServedModel, r.Agent, r.ParentAgent, r.ClientAddr, r.Stream, r.Status, r.ErrorCode, r.StartedAt.UnixMicro(), r.CostUSD, r.Unpriced}
	body, err := json.Marshal(&o)
	if err != nil {
		return nil, err
	}
	ended, s := r.EndedAt.UnixMicro(), usage.One(r)
	return append(dst,
		d.key(r.RequestID), d.key(r.Account), d.key(r.Key), d.key(r.Node), d.key(r.Model), d.key(r.Session), usage.HourOf(ended), ended,
		s.Success, s.Estimated, s.Attempts, s.Tokens.Input, s.Tokens.CacheRead, s.Tokens.CacheWrite5m, s.Tokens.CacheWrite1h, s.Tokens.Output,
		s.Bytes, s.FirstByteMS, s.FirstBytes, s.StreamMS, s.TotalMS, body,
	), nil
}

// scanRecord reads a row of recordColumns.
func scanRecord(rows *sql.Rows) (core.Settlement, error) {
	var r core.Settlement
	var o rest
	var body []byte
	var skip, ended, success int64
	if err := rows.Scan(&r.RequestID, &r.Account, &r.Key, &r.Node, &r.Model, &r.Session, &skip, &ended,
		&success, &r.Estimated, &r.Attempts, &r.Tokens.Input, &r.Tokens.CacheRead, &r.Tokens.CacheWrite5m, &r.Tokens.CacheWrite1h, &r.Tokens.Output,
		&r.Bytes, &r.FirstByteMS, &skip, &r.StreamMillis, &skip, &body); err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return r, fmt.Errorf("a record is not readable: %w", err)
	}
	r.UpstreamID, r.NodeName, r.Endpoint, r.Dialect, r.ServedModel, r.Agent, r.ParentAgent, r.ClientAddr, r.Stream, r.Status, r.ErrorCode =
		o.UpstreamID, o.NodeName, o.Endpoint, o.Dialect, o.ServedModel, o.Agent, o.ParentAgent, o.ClientAddr, o.Stream, o.Status, o.ErrorCode
	r.CostUSD, r.Unpriced = o.CostUSD, o.Unpriced
	r.StartedAt, r.EndedAt = time.UnixMicro(o.StartedUS).UTC(), time.UnixMicro(ended).UTC()
	return r, nil
}

// place is an hour of an account.
type place struct {
	account string
	hour    int64
}

// Save stores records, each once by its request id, in one transaction, together with the counters that counters
// returns inside it (nil: none). It brings up to date the sums of closed hours that a record falls into.
func (e *Engine) Save(ctx context.Context, recs []core.Settlement, counters func() []memory.Counter) error {
	for _, g := range groups { // before the transaction: it may hold the only connection
		if _, err := e.inserter(ctx, g); err != nil {
			return e.fail(ctx, "save usage", err)
		}
	}
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
			if err := e.sumHour(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// sumHour writes the sums of an hour of an account anew.
func (e *Engine) sumHour(ctx context.Context, tx *sql.Tx, p place) error {
	return e.sumUp(ctx, tx, "account = ? AND hour_no = ?", "account = ? AND ended_us >= ? AND ended_us < ?",
		[]any{p.account, p.hour}, []any{p.account, p.hour * usage.HourUS, (p.hour + 1) * usage.HourUS})
}

// insert stores the records that are new and returns the closed hours among theirs. Records of open hours go many to a
// statement: each statement costs as much as a row.
func (e *Engine) insert(ctx context.Context, tx *sql.Tx, recs []core.Settlement, closed int64) (map[place]bool, error) {
	var args []any
	flush := func(rows int) error {
		for rows > 0 {
			n := groupSize(rows)
			if _, err := e.insertRows(ctx, tx, n, args[:n*len(recordColumns)]); err != nil {
				return err
			}
			args, rows = args[n*len(recordColumns):], rows-n
		}
		args = args[:0]
		return nil
	}
	late := make(map[place]bool)
	waiting := 0
	for i := range recs {
		r := recs[i]
		usage.Normalize(&r)
		var err error
		if hour := usage.HourOf(r.EndedAt.UnixMicro()); hour < closed {
			one, err := e.dialect.appendRecord(nil, &r)
			if err != nil {
				return nil, err
			}
			if n, err := e.insertRows(ctx, tx, 1, one); err != nil {
				return nil, err
			} else if n > 0 {
				late[place{r.Account, hour}] = true
			}
			continue
		}
		if args, err = e.dialect.appendRecord(args, &r); err != nil {
			return nil, err
		}
		if waiting++; waiting == largestGroup {
			if err := flush(waiting); err != nil {
				return nil, err
			}
			waiting = 0
		}
	}
	return late, flush(waiting)
}

// groups are how many rows one statement may have, largest first. Few sizes: each is prepared once and kept.
var groups = [...]int{largestGroup, 8, 1}

const largestGroup = 32

// groupSize is the largest group that rows fill.
func groupSize(rows int) int {
	for _, g := range groups {
		if rows >= g {
			return g
		}
	}
	return 1
}

// insertRows inserts rows of records and returns how many were new.
func (e *Engine) insertRows(ctx context.Context, tx *sql.Tx, rows int, args []any) (int64, error) {
	st, err := e.inserter(ctx, rows)
	if err != nil {
		return 0, err
	}
	// SQLite's driver watches a context that can end by a goroutine for each statement; the transaction has it already
	res, err := tx.StmtContext(ctx, st).ExecContext(context.WithoutCancel(ctx), args...)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// inserter is the statement for so many rows, prepared at its first use. It lives as long as the database.
func (e *Engine) inserter(ctx context.Context, rows int) (*sql.Stmt, error) {
	if st, ok := e.insertStmts.Load(rows); ok {
		return st.(*sql.Stmt), nil
	}
	st, err := e.w.PrepareContext(ctx, e.dialect.query(e.dialect.InsertNew("sluice_records", recordColumns, rows)))
	if err != nil {
		return nil, err
	}
	if other, loaded := e.insertStmts.LoadOrStore(rows, st); loaded {
		_ = st.Close()
		return other.(*sql.Stmt), nil
	}
	return st, nil
}

// limitKeys are the primary key of sluice_limits.
var limitKeys = []string{"kind", "id"}

// limitColumns are the columns of sluice_limits that hold a limit.State.
var limitColumns = []string{"full_us", "day_no", "day_count", "tokens_us", "money_day", "day_usd", "month_no", "month_usd"}

// recorded reports whether a request's record is there.
func (e *Engine) recorded(ctx context.Context, requestID string) bool {
	found := false
	err := e.read(ctx, "SELECT 1 FROM sluice_records WHERE request_id = ?", []any{requestID}, func(*sql.Rows) error {
		found = true
		return nil
	})
	return err == nil && found
}

func (e *Engine) saveCounters(ctx context.Context, tx *sql.Tx, cs []memory.Counter) error {
	q := e.dialect.Upsert("sluice_limits", limitKeys, limitColumns, 1)
	for _, c := range cs {
		st := &c.Counters
		if _, err := e.exec(ctx, tx, q, appendCounters([]any{c.Kind, c.ID}, st)...); err != nil {
			return err
		}
	}
	return nil
}

// appendCounters appends the values of limitColumns.
func appendCounters(dst []any, c *limit.Counters) []any {
	return append(dst, c.Full, c.Day, c.Count, c.Tokens, c.MoneyDay, c.DayUSD, c.Month, c.MonthUSD)
}

// scanCounters appends where to scan the values of limitColumns.
func scanCounters(dst []any, c *limit.Counters) []any {
	return append(dst, &c.Full, &c.Day, &c.Count, &c.Tokens, &c.MoneyDay, &c.DayUSD, &c.Month, &c.MonthUSD)
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
		// the first half says nothing new, but lets MySQL begin there: it takes no range from a comparison of pairs
		cond, args = cond+" AND ended_us <= ? AND (ended_us, request_id) < (?, ?)", append(args, c.EndedUS, c.EndedUS, c.ID)
	}
	return "SELECT " + strings.Join(recordColumns, ", ") + " FROM sluice_records WHERE " + cond + " ORDER BY ended_us DESC, request_id DESC LIMIT ?", append(args, limit)
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
		r, err := scanRecord(rows)
		out = append(out, r)
		return err
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
