package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/shared/store"
)

// table holds the documents of one kind.
type table struct {
	docs     map[string]store.Doc
	unique   map[string]string   // look-up string -> id
	sorted   map[string][]string // account -> ids in order; "" holds all
	expiring map[string]struct{} // ids of those that can expire
}

// table returns the table of a kind, making it on first use; the caller holds mu for writing.
func (s *Store) table(kind string) *table {
	t := s.kinds[kind]
	if t == nil {
		t = &table{
			docs:     make(map[string]store.Doc),
			unique:   make(map[string]string),
			sorted:   make(map[string][]string),
			expiring: make(map[string]struct{}),
		}
		s.kinds[kind] = t
	}
	return t
}

// clone keeps callers and store from sharing bytes, and cuts the time to what every backend keeps.
func clone(d store.Doc) store.Doc {
	d.Body, d.Unique = bytes.Clone(d.Body), slices.Clone(d.Unique)
	if !d.Expires.IsZero() {
		d.Expires = d.Expires.UTC().Truncate(time.Microsecond)
	}
	return d
}

// Get implements store.Docs.
func (s *Store) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return store.Doc{}, err
	}
	if t := s.kinds[kind]; t != nil {
		if d, ok := t.docs[id]; ok {
			return clone(d), nil
		}
	}
	return store.Doc{}, fmt.Errorf("%s %s: %w", kind, id, store.ErrNotFound)
}

// Find implements store.Docs.
func (s *Store) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return store.Doc{}, err
	}
	if t := s.kinds[kind]; t != nil {
		if id, ok := t.unique[unique]; ok {
			return clone(t.docs[id]), nil
		}
	}
	return store.Doc{}, fmt.Errorf("%s by look-up string: %w", kind, store.ErrNotFound)
}

// List implements store.Docs.
func (s *Store) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	t := s.kinds[kind]
	if t == nil {
		return nil, nil
	}
	ids := t.sorted[account]
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	var out []store.Doc
	for _, id := range ids[i:min(len(ids), i+max(limit, 0))] {
		out = append(out, clone(t.docs[id]))
	}
	return out, nil
}

// Create implements store.Docs.
func (s *Store) Create(ctx context.Context, d store.Doc) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	t := s.table(d.Kind)
	if _, ok := t.docs[d.ID]; ok {
		return 0, fmt.Errorf("%s %s: %w", d.Kind, d.ID, store.ErrExists)
	}
	if err := t.free(&d); err != nil {
		return 0, err
	}
	d = clone(d)
	d.Version = 1
	t.put(d)
	s.changed(&d)
	return 1, nil
}

// Replace implements store.Docs.
func (s *Store) Replace(ctx context.Context, d store.Doc) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	t := s.table(d.Kind)
	old, err := t.at(d.Kind, d.ID, d.Version)
	if err != nil {
		return 0, err
	}
	if old.Account != d.Account {
		return 0, fmt.Errorf("%s %s: %w", d.Kind, d.ID, errAccount)
	}
	if err := t.free(&d); err != nil {
		return 0, err
	}
	t.remove(&old)
	d = clone(d)
	d.Version++
	t.put(d)
	s.changed(&d)
	return d.Version, nil
}

var errAccount = errors.New("the account of a document cannot change")

// Delete implements store.Docs.
func (s *Store) Delete(ctx context.Context, kind, id string, version int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	t := s.table(kind)
	d, ok := t.docs[id]
	if ok && version == 0 {
		version = d.Version
	}
	d, err := t.at(kind, id, version)
	if err != nil {
		return err
	}
	t.remove(&d)
	d.Version = 0
	s.changed(&d)
	return nil
}

// Next implements store.Docs.
func (s *Store) Next(ctx context.Context, counter string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	s.counters[counter]++
	return s.counters[counter], nil
}

// Purge implements store.Docs.
func (s *Store) Purge(ctx context.Context, now time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	n := 0
	for _, t := range s.kinds {
		for id := range t.expiring {
			if d := t.docs[id]; d.Expires.Before(now) {
				t.remove(&d)
				d.Version = 0
				s.changed(&d)
				n++
			}
		}
	}
	return n, nil
}

// changed tells admission of a change; version 0 is a deletion.
func (s *Store) changed(d *store.Doc) {
	if !store.Generational(d.Kind) {
		return
	}
	if d.Version == 0 {
		s.admitter.Remove(d.Kind, d.ID)
	} else {
		s.admitter.Put(d.Kind, d.ID, d.Version)
	}
	account := d.Account
	if d.Kind == store.KindAccount {
		account = d.ID
	}
	s.gens[account]++
	s.admitter.SetGeneration(account, s.gens[account])
}

func (t *table) at(kind, id string, version int64) (store.Doc, error) {
	d, ok := t.docs[id]
	if !ok {
		return d, fmt.Errorf("%s %s: %w", kind, id, store.ErrNotFound)
	}
	if d.Version != version {
		return d, fmt.Errorf("%s %s: %w", kind, id, store.ErrConflict)
	}
	return d, nil
}

// free reports an error when another document holds one of d's look-up strings.
func (t *table) free(d *store.Doc) error {
	for i, u := range d.Unique {
		if id, ok := t.unique[u]; (ok && id != d.ID) || slices.Contains(d.Unique[:i], u) {
			return fmt.Errorf("look-up string of %s %s: %w", d.Kind, d.ID, store.ErrExists)
		}
	}
	return nil
}

func (t *table) put(d store.Doc) {
	t.docs[d.ID] = d
	for _, u := range d.Unique {
		t.unique[u] = d.ID
	}
	if !d.Expires.IsZero() {
		t.expiring[d.ID] = struct{}{}
	}
	for _, account := range accounts(&d) {
		ids := t.sorted[account]
		if i, found := slices.BinarySearch(ids, d.ID); !found {
			t.sorted[account] = slices.Insert(ids, i, d.ID)
		}
	}
}

func (t *table) remove(d *store.Doc) {
	delete(t.docs, d.ID)
	delete(t.expiring, d.ID)
	for _, u := range d.Unique {
		delete(t.unique, u)
	}
	for _, account := range accounts(d) {
		ids := t.sorted[account]
		if i, found := slices.BinarySearch(ids, d.ID); found {
			ids = slices.Delete(ids, i, i+1)
		}
		if t.sorted[account] = ids; len(ids) == 0 {
			delete(t.sorted, account)
		}
	}
}

// accounts are the lists that a document is in.
func accounts(d *store.Doc) []string {
	if d.Account == "" {
		return []string{""}
	}
	return []string{"", d.Account}
}
