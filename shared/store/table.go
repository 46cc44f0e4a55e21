package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Table gives typed access to the documents of one kind. T is encoded with encoding/json.
type Table[T any] struct {
	docs Docs
	kind string
	meta func(*T) Meta
	now  func() time.Time
}

// Meta is what of a T the store must know beside its body.
type Meta struct {
	ID      string
	Account string
	Unique  []string
	Expires time.Time
}

// NewTable binds a kind to a type. meta derives the look-up data from a value; now is the clock for expiry.
func NewTable[T any](docs Docs, kind string, now func() time.Time, meta func(*T) Meta) *Table[T] {
	return &Table[T]{docs: docs, kind: kind, meta: meta, now: now}
}

// Row is a value with the version it was read at.
type Row[T any] struct {
	Value   T
	Version int64
}

// Get returns the value, ErrNotFound when it is missing or expired.
func (t *Table[T]) Get(ctx context.Context, id string) (Row[T], error) {
	d, err := t.docs.Get(ctx, t.kind, id)
	return t.row(d, err)
}

// Find returns the value that holds the look-up string, ErrNotFound when it is missing or expired.
func (t *Table[T]) Find(ctx context.Context, unique string) (Row[T], error) {
	d, err := t.docs.Find(ctx, t.kind, unique)
	return t.row(d, err)
}

func (t *Table[T]) row(d Doc, err error) (Row[T], error) {
	var r Row[T]
	if err != nil {
		return r, err
	}
	if !d.Expires.IsZero() && !t.now().Before(d.Expires) {
		return r, fmt.Errorf("%s %s: %w", t.kind, d.ID, ErrNotFound)
	}
	if err := json.Unmarshal(d.Body, &r.Value); err != nil {
		return r, fmt.Errorf("%s %s is not readable: %w", t.kind, d.ID, err)
	}
	r.Version = d.Version
	return r, nil
}

// All returns every unexpired value of an account ("" for all accounts), in pages behind the scenes.
func (t *Table[T]) All(ctx context.Context, account string) ([]Row[T], error) {
	const page = 500
	var out []Row[T]
	after := ""
	for {
		ds, err := t.docs.List(ctx, t.kind, account, after, page)
		if err != nil {
			return nil, err
		}
		for _, d := range ds {
			r, err := t.row(d, nil)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
		if len(ds) < page {
			return out, nil
		}
		after = ds[len(ds)-1].ID
	}
}

// Page returns up to limit values of an account, those with ids after the given one, in the order of their ids' bytes.
// Expired ones are left out, so a page may be short.
func (t *Table[T]) Page(ctx context.Context, account, after string, limit int) ([]Row[T], error) {
	ds, err := t.docs.List(ctx, t.kind, account, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Row[T], 0, len(ds))
	for _, d := range ds {
		r, err := t.row(d, nil)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Create stores a new value. ErrExists when its id or a look-up string is taken. An expired holder of the id makes way.
func (t *Table[T]) Create(ctx context.Context, v T) (Row[T], error) {
	d, err := t.doc(v, 0)
	if err != nil {
		return Row[T]{}, err
	}
	n, err := t.docs.Create(ctx, d)
	if errors.Is(err, ErrExists) {
		old, gerr := t.docs.Get(ctx, t.kind, d.ID)
		if gerr == nil && !old.Expires.IsZero() && !t.now().Before(old.Expires) {
			if derr := t.docs.Delete(ctx, t.kind, d.ID, old.Version); derr == nil {
				n, err = t.docs.Create(ctx, d)
			}
		}
	}
	return Row[T]{Value: v, Version: n}, err
}

func (t *Table[T]) doc(v T, version int64) (Doc, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Doc{}, fmt.Errorf("encode %s: %w", t.kind, err)
	}
	m := t.meta(&v)
	return Doc{Kind: t.kind, ID: m.ID, Account: m.Account, Unique: m.Unique, Expires: m.Expires, Version: version, Body: body}, nil
}

// maxTries bounds the tries of an edit that others keep overtaking: enough for a hundred editors at once on a slow machine.
const maxTries = 200

// Update changes a value by compare-and-swap: edit gets the current value and may run several times. ErrNotFound when
// there is none; an error of edit ends it and nothing is stored. Gives up with ErrConflict after many collisions.
func (t *Table[T]) Update(ctx context.Context, id string, edit func(*T) error) (Row[T], error) {
	for try := 0; ; try++ {
		r, err := t.Get(ctx, id)
		if err != nil {
			return r, err
		}
		if err := edit(&r.Value); err != nil {
			return r, err
		}
		d, err := t.doc(r.Value, r.Version)
		if err != nil {
			return r, err
		}
		r.Version, err = t.docs.Replace(ctx, d)
		if !errors.Is(err, ErrConflict) || try >= maxTries {
			return r, err
		}
		if err := Pause(ctx, time.Duration(rand.Int64N(int64(min(try+1, 50))*int64(time.Millisecond)))); err != nil {
			return r, err
		}
	}
}

// Upsert updates a value or, where there is none, creates it from edit over the zero value.
func (t *Table[T]) Upsert(ctx context.Context, id string, edit func(*T) error) (Row[T], error) {
	for try := 0; ; try++ {
		r, err := t.Update(ctx, id, edit)
		if !errors.Is(err, ErrNotFound) || try >= 50 {
			return r, err
		}
		var v T
		if err := edit(&v); err != nil {
			return r, err
		}
		if r, err = t.Create(ctx, v); !errors.Is(err, ErrExists) {
			return r, err
		}
	}
}

// Delete removes a value. ErrNotFound when there is none.
func (t *Table[T]) Delete(ctx context.Context, id string) error {
	return t.docs.Delete(ctx, t.kind, id, 0)
}

// Pause waits before another try; the error is that of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
