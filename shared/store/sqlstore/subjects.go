package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/shared/limit"
	"sluice/shared/store"
)

// row is a subject in a transaction: its document's version and, when it is limited, what it used.
type row struct {
	kind, id string
	limits   limit.Limits
	limited  bool // its counters are locked and loaded
	want     int64
	version  int64 // of the document; 0: there is none
	found    bool  // its counters have a row, or it is not limited
	gone     bool  // its document was gone when the row of its counters was to be made

	state limit.State
	was   limit.State // as loaded

	free, used bool // what Settle does with it
}

// rows are the subjects of a call, each once, in the order in which all lock them: nodes, keys, accounts, then by id.
type rows []*row

// errNoRow tells that the counters of a subject have no row yet.
var errNoRow = errors.New("the counters of a subject have no row yet")

// add adds a subject or finds the one that is there already.
func (rs *rows) add(s *store.Subject) *row {
	r := &row{kind: s.Kind, id: s.ID, limits: limit.Limits(s.Limits), limited: !s.Limits.IsZero(), want: s.Version}
	i, there := slices.BinarySearchFunc(*rs, r, func(a, b *row) int {
		return cmp.Or(-cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
	})
	if !there {
		*rs = slices.Insert(*rs, i, r)
	}
	return (*rs)[i]
}

func (rs rows) limited() bool { return slices.ContainsFunc(rs, func(r *row) bool { return r.limited }) }

func (rs rows) find(kind, id string) *row {
	for _, r := range rs {
		if r.kind == kind && r.id == id {
			return r
		}
	}
	return nil
}

// lockQuery is one statement that locks and reads the counters of the limited subjects and reads the documents' versions
// and the account's generation. Each row is looked up by its whole primary key, so that no other is locked on the way.
func (rs rows) lockQuery(d *Dialect, account string) (string, []any) {
	var selects []string
	var args []any
	for i, r := range rs {
		generation := "0"
		if i == 0 {
			generation = "(SELECT g.n FROM sluice_generations g WHERE g.account = ?)"
			args = append(args, d.key(account))
		}
		args = append(args, d.key(r.kind), d.key(r.id))
		if r.limited {
			selects = append(selects, "SELECT l.kind, l.id, "+generation+" AS generation, (SELECT d.version FROM sluice_docs d WHERE d.kind = l.kind AND d.id = l.id) AS version, l."+
				strings.Join(limitColumns, ", l.")+" FROM sluice_limits l WHERE l.kind = ? AND l.id = ?"+d.ForUpdate)
		} else {
			selects = append(selects, "SELECT d.kind, d.id, "+generation+" AS generation, d.version, "+
				strings.Repeat("0, ", len(limitColumns)-1)+"0 FROM sluice_docs d WHERE d.kind = ? AND d.id = ?")
		}
	}
	return d.LockAll(selects), args
}

type querier func(ctx context.Context, query string, args ...any) (*sql.Rows, error)

// scanRows runs the lockQuery. It begins anew what an earlier try of the transaction left.
func (e *Engine) scanRows(ctx context.Context, query querier, q string, args []any, rs rows) (generation int64, err error) {
	for _, r := range rs {
		r.version, r.found, r.state, r.was = 0, false, limit.State{}, limit.State{}
	}
	res, err := query(ctx, e.dialect.query(q), args...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Close() }() // res.Err has what matters
	for res.Next() {
		var kind, id string
		var g, version sql.NullInt64
		var c limit.Counters
		if err := res.Scan(scanCounters([]any{&kind, &id, &g, &version}, &c)...); err != nil {
			return 0, err
		}
		if r := rs.find(kind, id); r != nil {
			r.version, r.found = version.Int64, true
			r.state.Counters, r.was.Counters = c, c
		}
		generation = max(generation, g.Int64)
	}
	return generation, res.Err()
}

// present reports errNoRow when counters must be made first; a subject whose document is gone has none to make.
func (rs rows) present() error {
	for _, r := range rs {
		if r.limited && !r.found && !r.gone {
			return errNoRow
		}
	}
	return nil
}

// current reports store.ErrStale unless all documents have the versions given.
func (rs rows) current() error {
	for _, r := range rs {
		if !r.found || r.version == 0 || r.version != r.want {
			return fmt.Errorf("%s %s: %w", r.kind, r.id, store.ErrStale)
		}
	}
	return nil
}

// decide checks all subjects and then takes from all, in memory; took is false when this request holds its leases
// already.
func (rs rows) decide(r *store.AdmitRequest) (took bool, refused *store.Refusal) {
	m := limit.At(r.Now, r.Zone)
	ds := make([]limit.Decision, len(rs))
	repeat := false
	for i, row := range rs {
		if !row.limited {
			continue
		}
		ds[i] = row.state.Check(row.limits, &m, r.ID, limit.Amount(r.Ask))
		repeat = repeat || ds[i].Repeat
	}
	if repeat {
		return false, nil
	}
	for i := range r.Subjects { // in the order given: of equal waits the first is named
		s := &r.Subjects[i]
		d := &ds[slices.Index(rs, rs.find(s.Kind, s.ID))]
		if !d.OK() && (refused == nil || d.Wait > refused.RetryAfter) {
			refused = &store.Refusal{Subject: s.Kind, Limit: store.LimitName(d.Limit), Max: d.Max, RetryAfter: d.Wait}
		}
	}
	if refused != nil {
		return false, refused
	}
	for i, row := range rs {
		if row.limited {
			row.state.Apply(&ds[i], r.ID, r.LeaseEnd.UnixMicro())
		}
	}
	return true, nil
}

// figures are those of the limits, in the order in which the subjects were given.
func (rs rows) figures(r *store.AdmitRequest) []store.Figure {
	m := limit.At(r.Now, r.Zone)
	var out []store.Figure
	var own [6]limit.Figure
	for i := range r.Subjects {
		s := &r.Subjects[i]
		row := rs.find(s.Kind, s.ID)
		for _, f := range row.state.Figures(own[:0], row.limits, &m) {
			out = append(out, store.Figure{Subject: s.Kind, Limit: store.LimitName(f.Limit), Max: f.Max, Remaining: f.Remaining, Reset: f.Reset})
		}
	}
	return out
}

// settle ends the leases of a request and counts what it used. It reports whether there was a lease.
func (rs rows) settle(r *store.SettleRequest) (had bool) {
	m := limit.At(r.Now, r.Zone)
	for _, row := range rs {
		if !row.found {
			continue
		}
		if _, ok := row.state.Leases[r.ID]; ok {
			had = true
			if row.free {
				row.state.Settle(row.limits, &m, r.ID, limit.Amount{})
			}
		}
		if row.used {
			row.state.Settle(row.limits, &m, r.ID, limit.Amount(r.Used))
		}
	}
	return had
}

const leaseColumns = "kind, id, request_id, end_us, tokens, usd, day_no, month_no"

// loadLeases reads what the decision needs: all leases where they are counted, else the request's own and those that
// ended.
func (e *Engine) loadLeases(ctx context.Context, tx *sql.Tx, rs rows, id string, now int64) error {
	var selects []string
	var args []any
	for _, r := range rs {
		if !r.limits.Leased() {
			continue
		}
		q := "SELECT " + leaseColumns + " FROM sluice_inflight WHERE kind = ? AND id = ?"
		args = append(args, r.kind, r.id)
		if r.limits.Concurrency <= 0 {
			q += " AND (end_us <= ? OR request_id = ?)"
			args = append(args, now, e.dialect.key(id))
		}
		selects = append(selects, q)
	}
	return e.scanLeases(ctx, tx, rs, strings.Join(selects, " UNION ALL "), args)
}

// ownLeases reads the leases of a request.
func (e *Engine) ownLeases(ctx context.Context, tx *sql.Tx, rs rows, id string) error {
	cond, args := rs.mine(&e.dialect, id)
	return e.scanLeases(ctx, tx, rs, "SELECT "+leaseColumns+" FROM sluice_inflight WHERE "+cond, args)
}

// mine is a condition for the leases of a request on the subjects.
func (rs rows) mine(d *Dialect, id string) (string, []any) {
	var args []any
	for _, r := range rs {
		args = append(args, d.key(r.kind), d.key(r.id), d.key(id))
	}
	one := "(kind = ? AND id = ? AND request_id = ?)"
	return "(" + one + strings.Repeat(" OR "+one, len(rs)-1) + ")", args
}

func (e *Engine) scanLeases(ctx context.Context, tx *sql.Tx, rs rows, q string, args []any) error {
	if q == "" {
		return nil
	}
	res, err := tx.QueryContext(ctx, e.dialect.query(q), args...)
	if err != nil {
		return err
	}
	defer func() { _ = res.Close() }() // res.Err has what matters
	for res.Next() {
		var kind, id, request string
		var l limit.Lease
		if err := res.Scan(&kind, &id, &request, &l.End, &l.Tokens, &l.USD, &l.Day, &l.Month); err != nil {
			return err
		}
		if r := rs.find(kind, id); r != nil {
			if r.state.Leases == nil {
				r.state.Leases = make(map[string]limit.Lease)
			}
			r.state.Leases[request] = l
		}
	}
	for _, r := range rs {
		r.was.Leases = maps.Clone(r.state.Leases)
	}
	return res.Err()
}

// saveRows writes the counters that changed.
func (e *Engine) saveRows(ctx context.Context, tx *sql.Tx, rs rows) error {
	var args []any
	n := 0
	for _, r := range rs {
		if r.limited && r.found && r.state.Counters != r.was.Counters {
			args = appendCounters(append(args, r.kind, r.id), &r.state.Counters)
			n++
		}
	}
	if n == 0 {
		return nil
	}
	_, err := e.exec(ctx, tx, e.dialect.Upsert("sluice_limits", limitKeys, limitColumns, n), args...)
	return err
}

// reapLeases removes the leases that ended. Where one was renewed since it was read, the transaction begins anew.
func (e *Engine) reapLeases(ctx context.Context, tx *sql.Tx, rs rows, now int64) error {
	for _, r := range rs {
		var dead int64
		for _, l := range r.was.Leases {
			if l.End <= now {
				dead++
			}
		}
		if dead == 0 {
			continue
		}
		n, err := e.exec(ctx, tx, "DELETE FROM sluice_inflight WHERE kind = ? AND id = ? AND end_us <= ?", r.kind, r.id, now)
		if err != nil {
			return err
		}
		if n != dead {
			return errAgain
		}
	}
	return nil
}

// addLeases writes the leases of an admitted request.
func (e *Engine) addLeases(ctx context.Context, tx *sql.Tx, rs rows, id string, end int64) error {
	var args []any
	n := 0
	for _, r := range rs {
		if l, ok := r.state.Leases[id]; ok {
			args = append(args, r.kind, r.id, id, end, l.Tokens, l.USD, l.Day, l.Month)
			n++
		}
	}
	if n == 0 {
		return nil
	}
	_, err := e.exec(ctx, tx, InsertRows("sluice_inflight", strings.Split(leaseColumns, ", "), n), args...)
	return err
}
