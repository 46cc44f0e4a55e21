package store

import (
	"context"
	"errors"
	"time"
)

// What a batch used is learnt from its results, which may be fetched again and again, at once and by several instances, also
// when the records of the first time are removed. So its Resource remembers the settlement in two steps: BatchFetched before
// the records are stored, BatchSettled when they are.

// errAsItIs ends an edit that has nothing to change.
var errAsItIs = errors.New("is so already")

// BatchFetched notes when a batch's results were first read to their end, and returns what is noted of it: records of what the
// batch used end at FetchedAt, so that they are the same whoever stores them, and nothing is to be stored when it is Settled. r
// is what is noted where nothing is yet; the node of one that is known stays. On an error r is returned.
func (t *Tables) BatchFetched(ctx context.Context, r Resource) (Resource, error) {
	r.FetchedAt = r.FetchedAt.UTC().Truncate(time.Microsecond) // as fine as records have it
	row, err := t.Resources.Upsert(ctx, r.ID, func(v *Resource) error {
		switch {
		case v.ID == "":
			*v = r
		case !v.FetchedAt.IsZero():
			return errAsItIs
		default:
			v.FetchedAt = r.FetchedAt
			if v.Expires.Before(r.Expires) {
				v.Expires = r.Expires
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errAsItIs) {
		return r, err
	}
	return row.Value, nil
}

// BatchSettled notes that the records of what a batch used are stored, and reports whether that was not known. ErrNotFound when
// BatchFetched was not called.
func (t *Tables) BatchSettled(ctx context.Context, id string) (first bool, err error) {
	_, err = t.Resources.Update(ctx, id, func(v *Resource) error {
		if v.Settled {
			return errAsItIs
		}
		v.Settled = true
		return nil
	})
	if errors.Is(err, errAsItIs) {
		return false, nil
	}
	return err == nil, err
}
