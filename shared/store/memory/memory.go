// Package memory keeps a whole store in memory: for tests, for trials and as the admission engine of the embedded
// store. Nothing survives Close, and of usage only the latest records are kept.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/shared/store"
)

var _ store.Store = (*Store)(nil)

var errClosed = errors.New("memory store is closed")

// Store is a store in memory. It is safe for concurrent use.
type Store struct {
	admitter *Admitter

	mu       sync.RWMutex
	closed   bool
	kinds    map[string]*table
	counters map[string]int64
	gens     map[string]int64
	leases   map[string]lease
	usage    log
}

type lease struct {
	holder string
	until  time.Time
	fence  int64
}

// New makes an empty Store.
func New() *Store {
	return &Store{
		admitter: NewAdmitter(nil),
		kinds:    make(map[string]*table),
		counters: make(map[string]int64),
		gens:     make(map[string]int64),
		leases:   make(map[string]lease),
		usage:    newLog(maxRecords),
	}
}

// usable reports why the store cannot serve; the caller holds mu.
func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return errClosed
	}
	return ctx.Err()
}

// Admit implements store.Admission.
func (s *Store) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	if err := ctx.Err(); err != nil {
		return store.AdmitResult{}, err
	}
	return s.admitter.Admit(&r)
}

// Renew implements store.Admission.
func (s *Store) Renew(ctx context.Context, r store.AdmitRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.admitter.Renew(&r)
	return nil
}

// Settle implements store.Admission. It works under a context that is done, too: what a request took must come back.
func (s *Store) Settle(_ context.Context, r store.SettleRequest) error {
	s.admitter.Settle(&r, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.usage.has(r.Record.RequestID)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.usage.add(&r.Record)
	return nil
}

// Raise implements store.Budgets.
func (s *Store) Raise(ctx context.Context, r store.RaiseRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.admitter.Raise(&r)
}

// Generation implements store.Admission.
func (s *Store) Generation(ctx context.Context, account string) (int64, error) {
	return s.admitter.Generation(account), ctx.Err()
}

// Acquire implements store.Leases.
func (s *Store) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	l := s.leases[name]
	switch live := l.holder != "" && now.Before(l.until); {
	case live && l.holder != holder:
		return 0, fmt.Errorf("lease %s: %w", name, store.ErrHeld)
	case !live:
		l.fence++
	}
	l.holder, l.until = holder, now.Add(ttl)
	s.leases[name] = l
	return l.fence, nil
}

// Release implements store.Leases.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if l := s.leases[name]; l.holder == holder {
		l.holder = "" // the fence stays: it must rise
		s.leases[name] = l
	}
	return nil
}

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.usable(ctx)
}

// Flush implements store.Store: there is nothing to save.
func (s *Store) Flush(ctx context.Context) error { return s.Ping(ctx) }

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
