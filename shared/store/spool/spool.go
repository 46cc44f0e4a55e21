// Package spool wraps a store for the times when it is away. Requests are refused then or, where the operator wants it
// so, let in without limits; what they used is kept on disk and stored when the store answers again, once each, also
// after a restart. On hosts without a disk it goes to the log.
package spool

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

var _ store.Store = (*Store)(nil)

const (
	// DefaultMaxBytes bounds the folder: some 80,000 requests.
	DefaultMaxBytes = 64 << 20

	failuresInRow  = 3                      // after so many, an open store asks no more on each request
	probeEvery     = time.Second            // but so often
	tellEvery      = 10 * time.Second       // most often that a line tells of requests let in
	firstPause     = 500 * time.Millisecond // until what is kept is tried again
	longestPause   = 15 * time.Second
	replayTimeout  = 30 * time.Second // of one round
	catchUpTimeout = 5 * time.Second  // of one before a report
	triesOfOne     = 5                // rounds after which a settlement that a working store refuses is given up
)

// Options are a Store's. The zero value refuses admissions while the store is away and logs settlements.
type Options struct {
	Open     bool          // let requests in, without limits, while the store is away
	Dir      string        // folder of the settlements that wait, made when the first does; "": they go to the log
	MaxBytes int64         // most that waits in Dir; 0: DefaultMaxBytes
	Timeout  time.Duration // of one call of the hot path; 0: as long as the caller's context
	Log      *slog.Logger  // nil: nothing is told
}

// Stats are counts since New, for logs and figures.
type Stats struct {
	LetIn    int64 // admitted without limits
	Spooled  int64 // settlements put on disk
	Replayed int64 // of those and of earlier processes': stored since
	Logged   int64 // settlements that could only be logged
	Waiting  int64 // on disk now
}

// Store is a store.Store that knows what to do while the one inside is away. It is safe for concurrent use.
type Store struct {
	store.Store
	o     Options
	files *folder // nil: no disk

	letIn, spooled, replayed, logged atomic.Int64

	failures atomic.Int64 // admissions in a row that failed
	probeAt  atomic.Int64 // microseconds; admissions before it are let in without asking
	toldAt   atomic.Int64

	replaying chan struct{} // held by the one who replays
	wake      chan struct{}
	mu        sync.Mutex
	running   bool // the goroutine
	closed    bool
	cancel    context.CancelFunc // ends it; nil before its start
	done      sync.WaitGroup
	refusals  map[string]int // request id -> rounds in which a working store refused it; replaying guards it
}

// New wraps a store. Settlements that an earlier process left in the folder are stored in the background; Close ends
// that and closes the store inside.
func New(inner store.Store, o Options) *Store {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{Store: inner, o: o, replaying: make(chan struct{}, 1), wake: make(chan struct{}, 1), refusals: make(map[string]int)}
	if o.Dir != "" {
		s.files = newFolder(o.Dir, o.MaxBytes)
		if n, err := s.files.adopt(); err != nil {
			o.Log.Error("settlements of an earlier run cannot be read", "folder", o.Dir, "error", err)
		} else if n > 0 {
			o.Log.Info("settlements of an earlier run wait for the store", "folder", o.Dir, "bytes", n)
			s.later()
		}
	}
	return s
}

// Unwrap returns the store inside, for what only some backends offer.
func (s *Store) Unwrap() store.Store { return s.Store }

// Stats returns the counts.
func (s *Store) Stats() Stats {
	st := Stats{LetIn: s.letIn.Load(), Spooled: s.spooled.Load(), Replayed: s.replayed.Load(), Logged: s.logged.Load()}
	if s.files != nil {
		st.Waiting = s.files.waiting()
	}
	return st
}

func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.o.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.o.Timeout)
}

// away reports whether an error of the hot path means that the store did not decide, though the caller still waits.
func away(ctx context.Context, err error) bool {
	if err == nil || errors.Is(err, store.ErrStale) || ctx.Err() != nil {
		return false
	}
	_, refused := errors.AsType[*store.Refusal](err)
	return !refused
}

// Admit implements store.Admission. While the store is away it returns the store's error or, with Options.Open, lets
// the request in: without figures, and with generation 0, so that the caller's copies are used as they are. Repeated
// failures are remembered, so that not every request waits for the store's silence.
func (s *Store) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	if s.o.Open && s.silent(ctx, r.Now) {
		return store.AdmitResult{}, nil
	}
	c, cancel := s.bound(ctx)
	res, err := s.Store.Admit(c, r)
	cancel()
	if !away(ctx, err) {
		if s.failures.Load() != 0 && ctx.Err() == nil {
			s.back()
		}
		return res, err
	}
	if !s.o.Open || s.isClosed() {
		return res, err
	}
	if s.failures.Add(1) >= failuresInRow {
		s.probeAt.Store(r.Now.Add(probeEvery).UnixMicro())
	}
	s.admitted(r.Now, err)
	return store.AdmitResult{}, nil
}

// silent reports whether the store was away a moment ago, and counts a request that is let in for it. One request after
// another is made to ask.
func (s *Store) silent(ctx context.Context, now time.Time) bool {
	if s.failures.Load() < failuresInRow || ctx.Err() != nil {
		return false
	}
	us, at := now.UnixMicro(), s.probeAt.Load()
	// a clock that ran back must not keep the store unasked
	if us >= at || at-us > probeEvery.Microseconds() {
		if s.probeAt.CompareAndSwap(at, us+probeEvery.Microseconds()) {
			return false
		}
	}
	s.admitted(now, nil)
	return true
}

// admitted counts a request that was let in, and tells of it from time to time.
func (s *Store) admitted(now time.Time, err error) {
	n := s.letIn.Add(1)
	us, told := now.UnixMicro(), s.toldAt.Load()
	if us-told < tellEvery.Microseconds() && us >= told || !s.toldAt.CompareAndSwap(told, us) {
		return
	}
	s.o.Log.Error("the store is away: requests are let in without limits (STORE_OUTAGE=open)", "let_in", n, "error", err)
}

func (s *Store) back() {
	if s.failures.Swap(0) >= failuresInRow {
		s.o.Log.Info("the store answers again", "let_in", s.letIn.Load())
		s.toldAt.Store(0)
	}
}

// Renew implements store.Admission; a hanging store does not hold the stream up for longer than the timeout.
func (s *Store) Renew(ctx context.Context, r store.AdmitRequest) error {
	c, cancel := s.bound(ctx)
	defer cancel()
	return s.Store.Renew(c, r)
}

// Settle implements store.Admission. A settlement that the store does not take is put on disk, else into the log; the
// error is nil then, because it is dealt with.
func (s *Store) Settle(ctx context.Context, r store.SettleRequest) error {
	c, cancel := s.bound(ctx)
	err := s.Store.Settle(c, r)
	cancel()
	if err == nil || s.isClosed() {
		return err
	}
	if errors.Is(err, store.ErrFull) {
		// what limits count was taken already; the record alone waits
		r.Subjects, r.Free, r.Used = nil, nil, store.Amount{}
	}
	s.keep(&r, err)
	return nil
}

func (s *Store) keep(r *store.SettleRequest, cause error) {
	line, err := encode(r)
	if err == nil && s.files != nil {
		if err = s.files.add(line); err == nil {
			if s.spooled.Add(1) == 1 {
				s.o.Log.Error("the store does not take settlements; they are kept on disk", "folder", s.o.Dir, "error", cause)
			}
			s.later()
			return
		}
		cause = errors.Join(cause, err)
	}
	s.logged.Add(1)
	s.o.Log.Error("settlement not stored", "request_id", r.Record.RequestID, "account", r.Account, "settlement", string(line), "error", cause)
}

// Flush implements store.Store: what waits is stored first, if that can be done; it is safe on disk otherwise.
func (s *Store) Flush(ctx context.Context) error {
	s.catchUp(ctx)
	if s.files != nil {
		if err := s.files.sync(); err != nil {
			return err
		}
	}
	return s.Store.Flush(ctx)
}

// catchUp stores what waits, before something looks at usage. What the store does not take goes on waiting.
func (s *Store) catchUp(ctx context.Context) {
	if s.files != nil && s.files.waiting() > 0 && ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
		defer cancel()
		_ = s.replay(ctx)
	}
}

// Records implements store.Usage. It stores first what waits, if that can be done.
func (s *Store) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	s.catchUp(ctx)
	return s.Store.Records(ctx, f, cursor, limit)
}

// Sums implements store.Usage. It stores first what waits, if that can be done.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	s.catchUp(ctx)
	return s.Store.Sums(ctx, f, by)
}

// Retain implements store.Usage. It stores first what waits, if that can be done.
func (s *Store) Retain(ctx context.Context, now time.Time, keep store.Retention) (int, error) {
	s.catchUp(ctx)
	return s.Store.Retain(ctx, now, keep)
}

// DeleteUsage implements store.Usage. It stores first what waits, to delete that as well.
func (s *Store) DeleteUsage(ctx context.Context, account string) error {
	s.catchUp(ctx)
	return s.Store.DeleteUsage(ctx, account)
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close ends the goroutine, tries what waits once more, and closes the store inside. What still waits stays on disk for
// the next start.
func (s *Store) Close() error {
	s.mu.Lock()
	again, cancel := s.closed, s.cancel
	s.closed = true
	s.mu.Unlock()
	if again {
		return s.Store.Close()
	}
	if cancel != nil {
		cancel()
	}
	s.done.Wait()
	var err error
	if s.files != nil {
		if s.files.waiting() > 0 {
			ctx, cancel := context.WithTimeout(context.Background(), firstPause)
			_ = s.replay(ctx)
			cancel()
		}
		if n := s.files.waiting(); n > 0 {
			s.o.Log.Warn("settlements wait on disk for the next start", "folder", s.o.Dir, "settlements", n)
		}
		err = s.files.close()
	}
	return errors.Join(err, s.Store.Close())
}
