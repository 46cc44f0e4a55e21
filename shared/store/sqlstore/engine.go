package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/shared/store"
)

var (
	_ store.Docs   = (*Engine)(nil)
	_ store.Leases = (*Engine)(nil)
)

// ErrAway is in the error of a call when the server cannot be reached or cannot serve now: a later call may go well.
// Whether a change that ended so was made is not known.
var ErrAway = errors.New("the database is away")

// errAgain rolls a transaction back to be tried again.
var errAgain = errors.New("others change the same rows all the time")

// maxTries bounds how often a transaction is begun for one call.
const maxTries = 16

// Engine is documents, leases and usage on a database. It is safe for concurrent use.
type Engine struct {
	name    string
	w, r    *sql.DB
	dialect Dialect
	turn    chan struct{} // held by the one writer; nil: many write at once

	insertStmts sync.Map // rows -> *sql.Stmt that inserts so many records

	// changed is told of each change of a generational document once it is safe, in the order of the changes.
	// version 0: deleted. nil: nobody wants to know.
	changed func(kind, id string, version int64, account string, generation int64)
}

// Options are an Engine's.
type Options struct {
	Name    string // of the database in errors; no password in it
	Writer  *sql.DB
	Reader  *sql.DB // may be Writer
	Dialect Dialect
	Single  bool // one process with one writing connection: writers queue here, where a context ends the wait
}

// NewEngine makes an Engine. It does not touch the database: call Migrate before using it. The caller closes the
// databases.
func NewEngine(o Options) *Engine {
	e := &Engine{name: o.Name, w: o.Writer, r: o.Reader, dialect: o.Dialect}
	if o.Single {
		e.turn = make(chan struct{}, 1)
	}
	return e
}

// fail says where an error happened. A done context is the reason, whatever the driver calls it.
func (e *Engine) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrAway):
		err = context.Cause(ctx)
	case ctx.Err() != nil:
		if !errors.Is(err, ctx.Err()) {
			err = ctx.Err()
		}
	case e.dialect.Away != nil && e.dialect.Away(err):
		err = fmt.Errorf("%w: %w", ErrAway, err)
	}
	return fmt.Errorf("%s: %s: %w", e.name, op, err)
}

// write runs fn in a transaction and then, once it is safe and before the next writer, after (which may be nil). On a
// server fn may run several times: it must not build on what an earlier run left.
func (e *Engine) write(ctx context.Context, op string, fn func(*sql.Tx) error, after func()) error {
	if e.turn != nil {
		select {
		case e.turn <- struct{}{}:
			defer func() { <-e.turn }()
		case <-ctx.Done():
			return e.fail(ctx, op, ctx.Err())
		}
	}
	for try := 1; ; try++ {
		err := e.once(ctx, fn)
		if err == nil {
			break
		}
		if try == maxTries || ctx.Err() != nil || !e.again(err) {
			return e.fail(ctx, op, err)
		}
		if err := pause(ctx, rand.N(time.Duration(min(try, 10))*2*time.Millisecond)); err != nil {
			return e.fail(ctx, op, err)
		}
	}
	if after != nil {
		after()
	}
	return nil
}

// once is one transaction.
func (e *Engine) once(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := e.w.BeginTx(ctx, &sql.TxOptions{Isolation: e.dialect.Isolation})
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback() // the first error tells more
		return err
	}
	return tx.Commit()
}

// again reports whether what failed may be tried again.
func (e *Engine) again(err error) bool {
	return errors.Is(err, errAgain) || e.dialect.Again != nil && e.dialect.Again(err)
}

// pause waits, or returns earlier with the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) exec(ctx context.Context, tx *sql.Tx, q string, args ...any) (rows int64, err error) {
	res, err := tx.ExecContext(ctx, e.dialect.query(q), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (e *Engine) row(ctx context.Context, tx *sql.Tx, q string, args ...any) *sql.Row {
	return tx.QueryRowContext(ctx, e.dialect.query(q), args...)
}

// read calls scan for each row of a query.
func (e *Engine) read(ctx context.Context, q string, args []any, scan func(*sql.Rows) error) error {
	rows, err := e.r.QueryContext(ctx, e.dialect.query(q), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// increment adds 1 to the named row of a table of counters and returns the result; a new row counts 1.
func (e *Engine) increment(ctx context.Context, tx *sql.Tx, table, column, name string) (n int64, err error) {
	where := " WHERE " + column + " = ?"
	rows, err := e.exec(ctx, tx, "UPDATE "+table+" SET n = n + 1"+where, name)
	if err != nil {
		return 0, err
	}
	if rows == 0 {
		_, err = e.exec(ctx, tx, "INSERT INTO "+table+" ("+column+", n) VALUES (?, 1)", name)
		if e.turn == nil && e.dialect.Taken(err) {
			err = errAgain // someone else was first a moment ago
		}
		return 1, err
	}
	err = e.row(ctx, tx, "SELECT n FROM "+table+where, name).Scan(&n)
	return n, err
}

// Ping reports whether the database answers.
func (e *Engine) Ping(ctx context.Context) error {
	var one int
	return e.fail(ctx, "ping", e.r.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}
