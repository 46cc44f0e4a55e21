package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store/internal/usage"
	"sluice/shared/store/memory"
)

// recordColumns are the columns of sluice_records, in the order of recordValues.
var recordColumns = []string{
	"request_id", "account", "key_id", "node", "model", "session", "hour_no", "ended_us",
	"success", "estimated", "attempts", "input_tokens", "cache_read", "cache_write_5m", "cache_write_1h", "output_tokens",
	"bytes", "first_byte_ms", "first_bytes", "stream_ms", "total_ms", "body", "agent",
	"cost_usd", "unpriced",
}

// rest is what of a record has no column of its own: the body of its row. CostUSD and Unpriced have columns, too, but programs
// from before them neither write nor read those; then sums find them in the text, see Dialect.Cost: no other field, also of
// what is within, may have their names, and within strings the quotes are escaped.
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
	Fast        bool         `json:"f,omitempty"`
	Geo         string       `json:"g,omitempty"`
	Searches    int64        `json:"w,omitempty"`
	Tries       []core.Try   `json:"y,omitempty"`
}

// appendRecord appends a record's values in the order of recordColumns.
func (d *Dialect) appendRecord(dst []any, r *core.Settlement) ([]any, error) {
	o := rest{r.UpstreamID, r.NodeName, r.Endpoint, r.Dialect, r.ServedModel, r.Agent, r.ParentAgent, r.ClientAddr, r.Stream, r.Status, r.ErrorCode, r.StartedAt.UnixMicro(), r.CostUSD, r.Unpriced, r.Fast, r.Geo, r.Searches, r.Tries}
	body, err := json.Marshal(&o)
	if err != nil {
		return nil, err
	}
	ended, s := r.EndedAt.UnixMicro(), usage.One(r)
	return append(dst,
		d.key(r.RequestID), d.key(r.Account), d.key(r.Key), d.key(r.Node), d.key(r.Model), d.key(r.Session), usage.HourOf(ended), ended,
		s.Success, s.Estimated, s.Attempts, s.Tokens.Input, s.Tokens.CacheRead, s.Tokens.CacheWrite5m, s.Tokens.CacheWrite1h, s.Tokens.Output,
		s.Bytes, s.FirstByteMS, s.FirstBytes, s.StreamMS, s.TotalMS, body, d.key(r.Agent),
		s.CostUSD, s.Unpriced,
	), nil
}

// scanRecord reads a row of recordColumns.
func scanRecord(rows *sql.Rows) (core.Settlement, error) {
	var r core.Settlement
	var o rest
	var body []byte
	var skip, ended, success int64
	var agent, cost, unpriced sql.RawBytes // the body has them whole
	if err := rows.Scan(&r.RequestID, &r.Account, &r.Key, &r.Node, &r.Model, &r.Session, &skip, &ended,
		&success, &r.Estimated, &r.Attempts, &r.Tokens.Input, &r.Tokens.CacheRead, &r.Tokens.CacheWrite5m, &r.Tokens.CacheWrite1h, &r.Tokens.Output,
		&r.Bytes, &r.FirstByteMS, &skip, &r.StreamMillis, &skip, &body, &agent, &cost, &unpriced); err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return r, fmt.Errorf("a record is not readable: %w", err)
	}
	r.UpstreamID, r.NodeName, r.Endpoint, r.Dialect, r.ServedModel, r.Agent, r.ParentAgent, r.ClientAddr, r.Stream, r.Status, r.ErrorCode =
		o.UpstreamID, o.NodeName, o.Endpoint, o.Dialect, o.ServedModel, o.Agent, o.ParentAgent, o.ClientAddr, o.Stream, o.Status, o.ErrorCode
	r.CostUSD, r.Unpriced, r.Fast, r.Geo, r.Searches, r.Tries = o.CostUSD, o.Unpriced, o.Fast, o.Geo, o.Searches, o.Tries
	r.StartedAt, r.EndedAt = time.UnixMicro(o.StartedUS).UTC(), time.UnixMicro(ended).UTC()
	return r, nil
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
		m, err := e.lockMarks(ctx, tx)
		if err != nil {
			return err
		}
		late, err := e.insert(ctx, tx, recs, m.Closed)
		if err != nil {
			return err
		}
		return e.addLate(ctx, tx, &m, late)
	}, nil)
}

// insert stores the records that are new and returns those of closed hours. Records of open hours go many to a
// statement: each statement costs as much as a row.
func (e *Engine) insert(ctx context.Context, tx *sql.Tx, recs []core.Settlement, closed int64) (late []core.Settlement, err error) {
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
	waiting := 0
	for i := range recs {
		r := recs[i]
		usage.Normalize(&r)
		if hour := usage.HourOf(r.EndedAt.UnixMicro()); hour < closed {
			one, err := e.dialect.appendRecord(nil, &r)
			if err != nil {
				return nil, err
			}
			if n, err := e.insertRows(ctx, tx, 1, one); err != nil {
				return nil, err
			} else if n > 0 {
				late = append(late, r)
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
