package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

var _ store.Store = (*Embedded)(nil)

var errClosed = errors.New("the store is closed")

// closeTimeout bounds the last saving.
const closeTimeout = 15 * time.Second

// Embedded is a whole store on a database that this process alone uses. Admit and Settle work in memory; a goroutine
// saves usage records and the counters of limits in groups, within 200 ms. A crash loses what waits, at most that long
// and the leases, whose requests died with it. While the database cannot be written, up to 65,536 records wait, Ping
// reports why, and after that Settle returns store.ErrFull.
type Embedded struct {
	*Engine
	admitter *memory.Admitter
	saver    *saver
}

// NewEmbedded reads what admission needs to know and starts the goroutine, which Close ends. The Engine must be
// migrated and have Options.Single. logger gets the errors of the goroutine, which no caller can be given; nil discards
// them.
func NewEmbedded(ctx context.Context, e *Engine, logger *slog.Logger) (*Embedded, error) {
	if e.turn == nil {
		return nil, errors.New("an embedded store needs an engine with a single writer")
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Embedded{Engine: e}
	s.admitter = memory.NewAdmitter(func() { signal(s.saver.wake) })
	s.saver = newSaver(s.save, s.admitter.HasUnsaved, logger)
	if err := s.load(ctx); err != nil {
		return nil, e.fail(ctx, "read what is limited", err)
	}
	e.changed = s.noteChange
	go s.saver.run()
	return s, nil
}

// load tells the admitter of all subjects, generations and counters.
func (s *Embedded) load(ctx context.Context) error {
	e := s.Engine
	err := e.read(ctx, "SELECT kind, id, version FROM sluice_docs WHERE kind IN (?, ?, ?)",
		[]any{store.KindAccount, store.KindKey, store.KindNode}, func(rows *sql.Rows) error {
			var kind, id string
			var version int64
			err := rows.Scan(&kind, &id, &version)
			s.admitter.Put(kind, id, version)
			return err
		})
	if err != nil {
		return err
	}
	err = e.read(ctx, "SELECT account, n FROM sluice_generations", nil, func(rows *sql.Rows) error {
		var account string
		var n int64
		err := rows.Scan(&account, &n)
		s.admitter.SetGeneration(account, n)
		return err
	})
	if err != nil {
		return err
	}
	return e.read(ctx, "SELECT kind, id, "+strings.Join(limitColumns, ", ")+" FROM sluice_limits", nil, func(rows *sql.Rows) error {
		var c memory.Counter
		err := rows.Scan(scanCounters([]any{&c.Kind, &c.ID}, &c.Counters)...)
		s.admitter.Restore(c)
		return err
	})
}

func (s *Embedded) noteChange(kind, id string, version int64, account string, generation int64) {
	if version == 0 {
		s.admitter.Remove(kind, id)
	} else {
		s.admitter.Put(kind, id, version)
	}
	s.admitter.SetGeneration(account, generation)
}

// save is the saver's. The counters are taken when it is its turn to write, so that those of a document deleted in the
// meantime are not written back.
func (s *Embedded) save(ctx context.Context, recs []core.Settlement) error {
	var taken []memory.Counter
	err := s.Save(ctx, recs, func() []memory.Counter {
		taken = s.admitter.Unsaved()
		return taken
	})
	if err != nil {
		s.admitter.Retry(taken)
	}
	return err
}

// Admit implements store.Admission in memory.
func (s *Embedded) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	if err := ctx.Err(); err != nil {
		return store.AdmitResult{}, err
	}
	return s.admitter.Admit(&r)
}

// Renew implements store.Admission in memory.
func (s *Embedded) Renew(ctx context.Context, r store.AdmitRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.admitter.Renew(&r)
	return nil
}

// Settle implements store.Admission. The record is on disk within 200 ms. It works under a context that is done, too:
// what a request took must come back. The leases are freed also when it fails.
func (s *Embedded) Settle(ctx context.Context, r store.SettleRequest) error {
	s.admitter.Settle(&r, func() bool { return s.saver.has(r.Record.RequestID) || s.recorded(ctx, r.Record.RequestID) })
	return s.saver.add(&r.Record)
}

// Raise implements store.Budgets in memory, and saves it.
func (s *Embedded) Raise(ctx context.Context, r store.RaiseRequest) error {
	if err := s.admitter.Raise(&r); err != nil {
		return err
	}
	return s.Flush(ctx)
}

// Generation implements store.Admission from memory.
func (s *Embedded) Generation(ctx context.Context, account string) (int64, error) {
	return s.admitter.Generation(account), ctx.Err()
}

// settled saves what waits before a report. When the disk refuses, reports show what it has: that is when they are needed
// most. Ping and the log tell of it.
func (s *Embedded) settled(ctx context.Context) error {
	if err := s.Flush(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

// Records implements store.Usage. It saves first what waits, if that can be done.
func (s *Embedded) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	if err := s.settled(ctx); err != nil {
		return nil, "", err
	}
	return s.Engine.Records(ctx, f, cursor, limit)
}

// Sums implements store.Usage. It saves first what waits, if that can be done.
func (s *Embedded) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := s.settled(ctx); err != nil {
		return nil, err
	}
	return s.Engine.Sums(ctx, f, by)
}

// Retain implements store.Usage. It saves first what waits.
func (s *Embedded) Retain(ctx context.Context, now time.Time, keep store.Retention) (int, error) {
	if err := s.Flush(ctx); err != nil {
		return 0, err
	}
	return s.Engine.Retain(ctx, now, keep)
}

// DeleteUsage implements store.Usage. It saves first what waits, to delete that as well.
func (s *Embedded) DeleteUsage(ctx context.Context, account string) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	return s.Engine.DeleteUsage(ctx, account)
}

// Ping reports whether the database answers and whether the last saving went well.
func (s *Embedded) Ping(ctx context.Context) error {
	if err := s.Engine.Ping(ctx); err != nil {
		return err
	}
	return s.saver.last()
}

// Flush implements store.Store.
func (s *Embedded) Flush(ctx context.Context) error { return s.saver.flush(ctx) }

// Close saves what waits, for up to 15 s, and ends the goroutine. The databases stay open: they are the caller's. The
// error tells how many records are lost.
func (s *Embedded) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.saver.close(ctx)
}
