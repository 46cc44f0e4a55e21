// Package measure wraps a store to tell how long each of its calls took and how it ended: for slow-call warnings and metrics.
package measure

import (
	"context"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

var _ store.Store = (*Store)(nil)

// Call is one call of the store.
type Call struct {
	Verb string // the method, in lower case: "admit", "settle", "get"
	Took time.Duration
	Err  error // as the store returned it: a refusal or a missing document is an error here, too
}

// Store is a store.Store that tells of its calls. It is safe for concurrent use.
type Store struct {
	inner store.Store
	tell  func(Call)
}

// New wraps a store. tell is called after each call, in the caller's goroutine; it must be fast and safe for concurrent use.
func New(inner store.Store, tell func(Call)) *Store { return &Store{inner, tell} }

func (s *Store) done(verb string, start time.Time, err error) {
	s.tell(Call{Verb: verb, Took: time.Since(start), Err: err})
}

// Get implements store.Docs.
func (s *Store) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	start := time.Now()
	d, err := s.inner.Get(ctx, kind, id)
	s.done("get", start, err)
	return d, err
}

// Find implements store.Docs.
func (s *Store) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	start := time.Now()
	d, err := s.inner.Find(ctx, kind, unique)
	s.done("find", start, err)
	return d, err
}

// List implements store.Docs.
func (s *Store) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	start := time.Now()
	d, err := s.inner.List(ctx, kind, account, after, limit)
	s.done("list", start, err)
	return d, err
}

// Create implements store.Docs.
func (s *Store) Create(ctx context.Context, d store.Doc) (int64, error) {
	start := time.Now()
	v, err := s.inner.Create(ctx, d)
	s.done("create", start, err)
	return v, err
}

// Replace implements store.Docs.
func (s *Store) Replace(ctx context.Context, d store.Doc) (int64, error) {
	start := time.Now()
	v, err := s.inner.Replace(ctx, d)
	s.done("replace", start, err)
	return v, err
}

// Delete implements store.Docs.
func (s *Store) Delete(ctx context.Context, kind, id string, version int64) error {
	start := time.Now()
	err := s.inner.Delete(ctx, kind, id, version)
	s.done("delete", start, err)
	return err
}

// Next implements store.Docs.
func (s *Store) Next(ctx context.Context, counter string) (int64, error) {
	start := time.Now()
	n, err := s.inner.Next(ctx, counter)
	s.done("next", start, err)
	return n, err
}

// Purge implements store.Docs.
func (s *Store) Purge(ctx context.Context, now time.Time) (int, error) {
	start := time.Now()
	n, err := s.inner.Purge(ctx, now)
	s.done("purge", start, err)
	return n, err
}

// Admit implements store.Admission.
func (s *Store) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	start := time.Now()
	res, err := s.inner.Admit(ctx, r)
	s.done("admit", start, err)
	return res, err
}

// Renew implements store.Admission.
func (s *Store) Renew(ctx context.Context, r store.AdmitRequest) error {
	start := time.Now()
	err := s.inner.Renew(ctx, r)
	s.done("renew", start, err)
	return err
}

// Settle implements store.Admission.
func (s *Store) Settle(ctx context.Context, r store.SettleRequest) error {
	start := time.Now()
	err := s.inner.Settle(ctx, r)
	s.done("settle", start, err)
	return err
}

// Raise implements store.Budgets.
func (s *Store) Raise(ctx context.Context, r store.RaiseRequest) error {
	start := time.Now()
	err := s.inner.Raise(ctx, r)
	s.done("raise", start, err)
	return err
}

// Generation implements store.Admission.
func (s *Store) Generation(ctx context.Context, account string) (int64, error) {
	start := time.Now()
	n, err := s.inner.Generation(ctx, account)
	s.done("generation", start, err)
	return n, err
}

// Acquire implements store.Leases.
func (s *Store) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (int64, error) {
	start := time.Now()
	n, err := s.inner.Acquire(ctx, name, holder, now, ttl)
	s.done("acquire", start, err)
	return n, err
}

// Release implements store.Leases.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	start := time.Now()
	err := s.inner.Release(ctx, name, holder)
	s.done("release", start, err)
	return err
}

// Records implements store.Usage.
func (s *Store) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	start := time.Now()
	rs, next, err := s.inner.Records(ctx, f, cursor, limit)
	s.done("records", start, err)
	return rs, next, err
}

// Sums implements store.Usage.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	start := time.Now()
	sums, err := s.inner.Sums(ctx, f, by)
	s.done("sums", start, err)
	return sums, err
}

// Rollup implements store.Usage.
func (s *Store) Rollup(ctx context.Context, now time.Time) error {
	start := time.Now()
	err := s.inner.Rollup(ctx, now)
	s.done("rollup", start, err)
	return err
}

// Retain implements store.Usage.
func (s *Store) Retain(ctx context.Context, now time.Time, keep store.Retention) (int, error) {
	start := time.Now()
	n, err := s.inner.Retain(ctx, now, keep)
	s.done("retain", start, err)
	return n, err
}

// DeleteUsage implements store.Usage.
func (s *Store) DeleteUsage(ctx context.Context, account string) error {
	start := time.Now()
	err := s.inner.DeleteUsage(ctx, account)
	s.done("delete_usage", start, err)
	return err
}

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	start := time.Now()
	err := s.inner.Ping(ctx)
	s.done("ping", start, err)
	return err
}

// Flush implements store.Store.
func (s *Store) Flush(ctx context.Context) error {
	start := time.Now()
	err := s.inner.Flush(ctx)
	s.done("flush", start, err)
	return err
}

// Close implements store.Store.
func (s *Store) Close() error { return s.inner.Close() }

// Unwrap returns the store inside.
func (s *Store) Unwrap() store.Store { return s.inner }
