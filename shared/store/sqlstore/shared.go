package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

var _ store.Store = (*Shared)(nil)

const (
	// admitWithin bounds a call of the hot path: a client waits for it.
	admitWithin = 5 * time.Second

	// settleWithin bounds Settle, which nobody but the record waits for.
	settleWithin = 10 * time.Second

	// editWithin bounds reads and edits of documents. Reports and sums may take longer.
	editWithin = 10 * time.Second

	// fresh is how far from now the end of a request may be for its hour to be open for certain. Hours close 10 minutes
	// after their end; the rest is for clocks that differ.
	fresh = 4 * time.Minute

	// inflightDays is how long after its end a lease that nobody came back for is kept: the budgets it would be given
	// back to are those of another month by then.
	inflightDays = 45
)

// Shared is a whole store on a server that many instances use at once. Every call of the hot path is one short
// transaction, or one statement where nothing is limited; nothing is kept in this process, so what a call answered
// holds for all instances and after a crash. Errors that come from an absent server are ErrAway.
type Shared struct {
	*Engine
	close func() error
}

// NewShared makes the store. The Engine must be migrated. closeDB is called by Close, once; nil when the databases are
// the caller's.
func NewShared(e *Engine, closeDB func() error) *Shared {
	if closeDB == nil {
		closeDB = func() error { return nil }
	}
	return &Shared{Engine: e, close: closeDB}
}

// within bounds a call. The error of one that took too long is ErrAway.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%w: no answer within %v", ErrAway, d))
}

// bounded bounds a call to a server; an embedded database answers or fails.
func (e *Engine) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if e.turn != nil {
		return ctx, func() {}
	}
	return within(ctx, editWithin)
}

var errSubjects = fmt.Errorf("more than %d subjects, or one of them twice", maxSubjects)

// maxSubjects are the most that one admission may have.
const maxSubjects = 4

// Admit implements store.Admission in one transaction, or in one statement when no subject has limits.
func (s *Shared) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	ctx, cancel := within(ctx, admitWithin)
	defer cancel()
	r.ID = s.dialect.key(r.ID)
	var rows rows
	leased := false
	for i := range r.Subjects {
		rows.add(&r.Subjects[i])
		leased = leased || limit.Limits(r.Subjects[i].Limits).Leased()
	}
	switch {
	case len(rows) != len(r.Subjects) || len(rows) > maxSubjects:
		return store.AdmitResult{}, s.fail(ctx, "admit", errSubjects)
	case leased && r.ID == "":
		return store.AdmitResult{}, s.fail(ctx, "admit", errors.New("a lease needs a request id"))
	case !rows.limited():
		return s.look(ctx, &r, rows)
	}
	var res store.AdmitResult
	var refused *store.Refusal
	err := s.withRows(ctx, "admit", rows, func(tx *sql.Tx) (err error) {
		res, refused, err = s.admit(ctx, tx, &r, rows)
		if err == nil && refused != nil {
			return errRollback
		}
		return err
	})
	switch {
	case errors.Is(err, errRollback) && refused != nil:
		return store.AdmitResult{}, refused
	case err != nil && !errors.Is(err, errRollback):
		return store.AdmitResult{}, err
	}
	return res, nil
}

// errRollback ends a transaction that has nothing to write.
var errRollback = errors.New("nothing to write")

// look is an admission that nothing can refuse but the documents' versions.
func (s *Shared) look(ctx context.Context, r *store.AdmitRequest, rows rows) (store.AdmitResult, error) {
	if len(rows) == 0 {
		n, err := s.Generation(ctx, r.Account)
		return store.AdmitResult{Generation: n}, err
	}
	q, args := rows.lockQuery(&s.dialect, r.Account)
	generation, err := s.scanRows(ctx, s.r.QueryContext, q, args, rows)
	if err != nil {
		return store.AdmitResult{}, s.fail(ctx, "admit", err)
	}
	if err := rows.current(); err != nil {
		return store.AdmitResult{}, s.fail(ctx, "admit", err)
	}
	return store.AdmitResult{Generation: generation}, nil
}

// admit locks, decides and takes.
func (s *Shared) admit(ctx context.Context, tx *sql.Tx, r *store.AdmitRequest, rows rows) (res store.AdmitResult, refused *store.Refusal, err error) {
	q, args := rows.lockQuery(&s.dialect, r.Account)
	if res.Generation, err = s.scanRows(ctx, tx.QueryContext, q, args, rows); err != nil {
		return res, nil, err
	}
	if err := rows.present(); err != nil {
		return res, nil, err
	}
	if err := rows.current(); err != nil {
		return res, nil, err
	}
	now, end := r.Now.UnixMicro(), r.LeaseEnd.UnixMicro()
	if err := s.loadLeases(ctx, tx, rows, r.ID, now); err != nil {
		return res, nil, err
	}
	took, refused := rows.decide(r)
	if res.Figures = rows.figures(r); refused != nil {
		refused.Figures = res.Figures
		return res, refused, nil
	}
	if !took {
		return res, nil, errRollback
	}
	if err := s.reapLeases(ctx, tx, rows, now); err != nil {
		return res, nil, err
	}
	if err := s.saveRows(ctx, tx, rows); err != nil {
		return res, nil, err
	}
	return res, nil, s.addLeases(ctx, tx, rows, r.ID, end)
}

// withRows runs fn in a transaction; where it finds that the counters of a subject have no row yet, that is made and fn
// runs again.
func (s *Shared) withRows(ctx context.Context, op string, rows rows, fn func(*sql.Tx) error) error {
	for try := 1; ; try++ {
		err := s.write(ctx, op, fn, nil)
		if !errors.Is(err, errNoRow) || try == 3 { // a third time: the document comes and goes
			return err
		}
		for _, r := range rows {
			if r.limited && !r.found {
				if err := s.makeRow(ctx, op, r); err != nil {
					return err
				}
			}
		}
	}
}

// makeRow makes the row of a subject's counters, under the lock of its document so that it cannot outlive that. Nothing
// happens when the document is gone.
func (s *Shared) makeRow(ctx context.Context, op string, r *row) error {
	return s.write(ctx, op, func(tx *sql.Tx) error {
		switch _, _, err := s.at(ctx, tx, r.kind, r.id, 0); {
		case errors.Is(err, store.ErrNotFound):
			r.gone = true
			return nil
		case err != nil:
			return err
		}
		r.gone = false
		cols := append(append([]string(nil), limitKeys...), limitColumns...)
		_, err := s.exec(ctx, tx, s.dialect.InsertNew("sluice_limits", cols, 1), appendCounters([]any{r.kind, r.id}, &limit.Counters{})...)
		return err
	}, nil)
}

// Renew implements store.Admission in one statement.
func (s *Shared) Renew(ctx context.Context, r store.AdmitRequest) error {
	ctx, cancel := within(ctx, admitWithin)
	defer cancel()
	var leased rows
	for i := range r.Subjects {
		if limit.Limits(r.Subjects[i].Limits).Leased() {
			leased.add(&r.Subjects[i])
		}
	}
	if len(leased) == 0 {
		return s.fail(ctx, "renew", ctx.Err())
	}
	cond, args := leased.mine(&s.dialect, r.ID)
	args = append([]any{r.LeaseEnd.UnixMicro(), r.Now.UnixMicro()}, args...)
	return s.fail(ctx, "renew", s.alone(ctx, "UPDATE sluice_inflight SET end_us = ? WHERE end_us > ? AND "+cond, args...))
}

// alone runs one statement that is a transaction of its own.
func (s *Shared) alone(ctx context.Context, q string, args ...any) error {
	for try := 1; ; try++ {
		_, err := s.w.ExecContext(ctx, s.dialect.query(q), args...)
		if err == nil || try == maxTries || ctx.Err() != nil || !s.again(err) {
			return err
		}
	}
}

// Settle implements store.Admission in one transaction; in one statement when nothing is reserved. It works under a
// context that is done, too: what a request took must come back.
func (s *Shared) Settle(ctx context.Context, r store.SettleRequest) error {
	ctx, cancel := within(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	r.ID = s.dialect.key(r.ID)
	var rows rows
	for i := range r.Free {
		if limit.Limits(r.Free[i].Limits).Leased() {
			rows.add(&r.Free[i]).free = true
		}
	}
	for i := range r.Subjects {
		if limit.Limits(r.Subjects[i].Limits).Leased() {
			rows.add(&r.Subjects[i]).used = true
		}
	}
	rec := r.Record
	usage.Normalize(&rec)
	args, err := s.dialect.appendRecord(nil, &rec)
	if err != nil {
		return s.fail(ctx, "settle", err)
	}
	insert := s.dialect.InsertNew("sluice_records", recordColumns, 1)
	open := time.Since(rec.EndedAt).Abs() < fresh
	if len(rows) == 0 && open {
		return s.fail(ctx, "settle", s.alone(ctx, insert, args...))
	}
	err = s.withRows(ctx, "settle", rows, func(tx *sql.Tx) error {
		return s.settle(ctx, tx, &r, &rec, rows, insert, args, open)
	})
	if errors.Is(err, errRollback) {
		return nil
	}
	return err
}

// settle stores the record and, when it is new, puts what was used in place of what was reserved.
func (s *Shared) settle(ctx context.Context, tx *sql.Tx, r *store.SettleRequest, rec *core.Settlement, rows rows, insert string, args []any, open bool) error {
	m := noMarks()
	if !open {
		var err error
		if m, err = s.lockMarks(ctx, tx); err != nil { // nobody closes hours until this is done
			return err
		}
	}
	n, err := s.exec(ctx, tx, insert, args...)
	if err != nil {
		return err
	}
	if n == 0 {
		return errRollback // settled before
	}
	if err := s.settleRows(ctx, tx, r, rows); err != nil {
		return err
	}
	if hour := usage.HourOf(rec.EndedAt.UnixMicro()); hour < m.Closed {
		return s.addLate(ctx, tx, &m, []core.Settlement{*rec})
	}
	return nil
}

func (s *Shared) settleRows(ctx context.Context, tx *sql.Tx, r *store.SettleRequest, rows rows) error {
	if len(rows) == 0 {
		return nil
	}
	q, args := rows.lockQuery(&s.dialect, "")
	if _, err := s.scanRows(ctx, tx.QueryContext, q, args, rows); err != nil {
		return err
	}
	if err := rows.present(); err != nil {
		return err
	}
	if err := s.ownLeases(ctx, tx, rows, r.ID); err != nil {
		return err
	}
	had := rows.settle(r)
	if err := s.saveRows(ctx, tx, rows); err != nil || !had {
		return err
	}
	cond, args := rows.mine(&s.dialect, r.ID)
	_, err := s.exec(ctx, tx, "DELETE FROM sluice_inflight WHERE "+cond, args...)
	return err
}

// Raise implements store.Budgets in one transaction.
func (s *Shared) Raise(ctx context.Context, r store.RaiseRequest) error {
	ctx, cancel := within(ctx, editWithin)
	defer cancel()
	var rows rows
	// limits with which the counters and all leases are read
	row := rows.add(&store.Subject{Kind: r.Kind, ID: r.ID, Limits: core.Limits{USDDay: 1, Concurrency: 1}})
	return s.withRows(ctx, "raise", rows, func(tx *sql.Tx) error {
		q, args := rows.lockQuery(&s.dialect, "")
		if _, err := s.scanRows(ctx, tx.QueryContext, q, args, rows); err != nil {
			return err
		}
		if err := rows.present(); err != nil {
			return err
		}
		if row.version == 0 {
			return fmt.Errorf("%s %s: %w", r.Kind, r.ID, store.ErrNotFound)
		}
		if err := s.loadLeases(ctx, tx, rows, "", 0); err != nil {
			return err
		}
		m := limit.At(r.Now, r.Zone)
		row.state.Raise(&m, r.Day, r.Month)
		return s.saveRows(ctx, tx, rows)
	})
}

// Generation implements store.Admission.
func (s *Shared) Generation(ctx context.Context, account string) (n int64, err error) {
	ctx, cancel := within(ctx, admitWithin)
	defer cancel()
	q := s.dialect.query("SELECT n FROM sluice_generations WHERE account = ?")
	if err = s.r.QueryRowContext(ctx, q, s.dialect.key(account)).Scan(&n); errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, s.fail(ctx, "read the generation", err)
}

// Purge implements store.Docs. It also forgets leases that nobody came back for.
func (s *Shared) Purge(ctx context.Context, now time.Time) (int, error) {
	n, err := s.Engine.Purge(ctx, now)
	if err != nil {
		return n, err
	}
	return n, s.fail(ctx, "purge leases", s.alone(ctx, "DELETE FROM sluice_inflight WHERE end_us < ?", now.AddDate(0, 0, -inflightDays).UnixMicro()))
}

// Flush implements store.Store: there is nothing to save.
func (s *Shared) Flush(ctx context.Context) error { return s.Ping(ctx) }

// Ping implements store.Store.
func (s *Shared) Ping(ctx context.Context) error {
	ctx, cancel := within(ctx, admitWithin)
	defer cancel()
	return s.Engine.Ping(ctx)
}

// Close implements store.Store.
func (s *Shared) Close() error { return s.close() }
