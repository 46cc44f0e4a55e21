package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/shared/store"
)

// Filter selects entries. Empty fields select everything. From is inclusive, To exclusive.
type Filter struct {
	Account  string // whose entries
	Actor    string // kind, key id, account id or name of who did it
	Action   string // see MatchesAction
	Object   string // kind, or kind/id
	From, To time.Time
	// View changes an entry into what the reader may see, before anything is compared with it; nil: all of it.
	View func(*Entry)
}

// match applies View and tells whether the entry is asked for.
func (f *Filter) match(e *Entry) bool {
	if f.View != nil {
		f.View(e)
	}
	a := &e.Actor
	switch {
	case f.Account != "" && e.Account != f.Account:
	case f.Actor != "" && f.Actor != a.Kind && f.Actor != a.Key && f.Actor != a.Account && f.Actor != a.Name:
	case f.Action != "" && !MatchesAction(e.Action, f.Action):
	case f.Object != "" && f.Object != e.Object.Kind && f.Object != e.Object.Kind+"/"+e.Object.ID:
	case !f.From.IsZero() && e.At.Before(f.From), !f.To.IsZero() && !e.At.Before(f.To):
	default:
		return true
	}
	return false
}

const (
	pageSize = 200     // documents of one look at the store
	maxLooks = 25      // looks of one page
	maxSpan  = 1 << 40 // numbers that one look may go back over, where entries of an account are few
)

// Page returns up to limit entries, the newest first, and the cursor of the next page, 0 on the last. cursor 0 begins with
// the newest entry. What one call reads is bounded: where the filter passes over thousands of entries the page is shorter
// than limit, or empty, and has a cursor all the same. Entries that cannot be read are left out; Verify tells of them.
func (l *Log) Page(ctx context.Context, f Filter, cursor int64, limit int) ([]Entry, int64, error) {
	high, err := l.top(ctx, &f, cursor)
	if err != nil {
		return nil, 0, err
	}
	var out []Entry
	span := int64(pageSize)
	for looks := 0; high > 0; looks++ {
		if looks == maxLooks {
			return out, high + 1, nil
		}
		low := max(0, high-span)
		found, whole, err := l.between(ctx, f.Account, low, high)
		if err != nil {
			return nil, 0, err
		}
		if !whole { // more than a page: look at the newer half alone
			span = max(1, min(span, high-low)/2)
			continue
		}
		if len(found) < pageSize/4 && span < maxSpan {
			span *= 4
		}
		for i := len(found) - 1; i >= 0; i-- {
			e, err := Parse(found[i].Body)
			if errors.Is(err, errForm) {
				continue
			}
			if !f.From.IsZero() && e.At.Before(f.From) {
				return out, 0, nil // times rise with numbers
			}
			if !f.match(&e) {
				continue
			}
			if len(out) == limit {
				return out, seqOf(found[i].ID) + 1, nil
			}
			out = append(out, e)
		}
		high = low
	}
	return out, 0, nil
}

// top is the number of the newest entry that a page may hold: below the cursor, and before f.To.
func (l *Log) top(ctx context.Context, f *Filter, cursor int64) (int64, error) {
	last, _, err := l.newest(ctx)
	if err != nil {
		return 0, err
	}
	high := last.Seq
	if cursor > 0 {
		return min(high, cursor-1), nil
	}
	if f.To.IsZero() || last.At.Before(f.To) {
		return high, nil
	}
	return l.before(ctx, f.To, high)
}

// before is the number of the last entry before a time, by halving: times rise with numbers, and what is gone is old.
func (l *Log) before(ctx context.Context, t time.Time, high int64) (int64, error) {
	low := int64(0)
	for high > low {
		mid := low + (high-low+1)/2
		d, err := l.o.Docs.Get(ctx, store.KindAudit, id(mid))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, fmt.Errorf("audit log: %w", err)
		}
		if err != nil || headOf(&d).At.Before(t) {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low, nil
}

// between lists the documents with numbers above low, up to high; whole is false when there are more than a page.
func (l *Log) between(ctx context.Context, account string, low, high int64) (found []store.Doc, whole bool, err error) {
	ds, err := l.o.Docs.List(ctx, store.KindAudit, account, id(low), pageSize)
	if err != nil {
		return nil, false, fmt.Errorf("audit log: %w", err)
	}
	whole = len(ds) < pageSize
	for _, d := range ds {
		if seqOf(d.ID) >= high {
			whole = true
		}
		if seqOf(d.ID) <= high && !l.expired(&d) {
			found = append(found, d)
		}
	}
	return found, whole, nil
}

// expired reports whether an entry's time is over: such entries go some time later, in any order.
func (l *Log) expired(d *store.Doc) bool {
	return over(d.Expires, l.o.Now())
}

// Walk calls fn for every entry that is kept, the oldest first, with its bytes. An entry that cannot be read comes with the
// error that says why, and with the number of its place. It ends with the first error of fn or of the store. account "": all accounts.
func (l *Log) Walk(ctx context.Context, account string, after int64, fn func(line []byte, e Entry, bad error) error) error {
	from := id(after)
	for {
		ds, err := l.o.Docs.List(ctx, store.KindAudit, account, from, pageSize)
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		for i := range ds {
			if l.expired(&ds[i]) {
				continue
			}
			e, bad := Parse(ds[i].Body)
			if bad == nil && e.Seq != seqOf(ds[i].ID) {
				bad = errOrder
			}
			if bad != nil { // whoever goes on behind it must not believe what it says
				e.Seq = seqOf(ds[i].ID)
			}
			if err := fn(ds[i].Body, e, bad); err != nil {
				return err
			}
		}
		if len(ds) < pageSize {
			return nil
		}
		from = ds[len(ds)-1].ID
	}
}

// Export is Walk over the entries that a filter selects.
func (l *Log) Export(ctx context.Context, f Filter, after int64, fn func(line []byte, e Entry) error) error {
	if !f.From.IsZero() {
		last, _, err := l.newest(ctx)
		if err != nil {
			return err
		}
		n, err := l.before(ctx, f.From, last.Seq)
		if err != nil {
			return err
		}
		after = max(after, n)
	}
	err := l.Walk(ctx, f.Account, after, func(line []byte, e Entry, bad error) error {
		if bad == nil && !f.To.IsZero() && !e.At.Before(f.To) {
			return errEnough
		}
		// one that was spoilt is exported as it is: who verifies the file shall see it
		if bad != nil && f.View == nil || bad == nil && f.match(&e) {
			return fn(line, e)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

var errEnough = errors.New("what follows is not asked for")
