package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// records stores those records of the source that the target has not.
func (c *copier) records(ctx context.Context) error {
	n := Count{Kind: Records}
	cursor, pending := "", 0
	for {
		rs, next, err := c.from.Records(ctx, store.UsageFilter{}, cursor, page)
		if err != nil {
			return err
		}
		have, err := c.have(ctx, rs)
		if err != nil {
			return err
		}
		for i := range rs {
			if have[rs[i].RequestID] {
				continue
			}
			r := &rs[i]
			if err := c.to.Settle(ctx, store.SettleRequest{ID: r.RequestID, Account: r.Account, Now: r.EndedAt, Zone: time.UTC, Record: *r}); err != nil {
				return err
			}
			n.Written++
			pending++
		}
		if pending >= perFlush { // a store that saves in groups must not be given more than it can hold
			if err := c.to.Flush(ctx); err != nil {
				return err
			}
			pending = 0
		}
		if len(rs) > 0 {
			c.oldest = rs[len(rs)-1].EndedAt
		}
		before := n.Source / 1000
		if n.Source += len(rs); n.Source/1000 != before {
			c.o.Progress(Records, n.Source)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	c.report.Counts = append(c.report.Counts, n)
	return c.to.Flush(ctx)
}

// have returns which of the records, a page of the source, the target has: reading is cheaper than writing again.
func (c *copier) have(ctx context.Context, rs []core.Settlement) (map[string]bool, error) {
	if len(rs) == 0 {
		return nil, nil
	}
	// newest first
	f := store.UsageFilter{From: rs[len(rs)-1].EndedAt, To: rs[0].EndedAt.Add(time.Microsecond)}
	out := make(map[string]bool, len(rs))
	for cursor := ""; ; {
		got, next, err := c.to.Records(ctx, f, cursor, page)
		if err != nil {
			return nil, err
		}
		for i := range got {
			out[got[i].RequestID] = true
		}
		if cursor = next; cursor == "" {
			return out, nil
		}
	}
}

// compare counts what the target has and compares it with what the source has now.
func (c *copier) compare(ctx context.Context) error {
	var first error
	for i := range c.report.Counts {
		n := &c.report.Counts[i]
		source, err := c.count(ctx, c.from, n.Kind)
		if err != nil {
			return err
		}
		if n.Target, err = c.count(ctx, c.to, n.Kind); err != nil {
			return err
		}
		if n.Source = source; n.Source != n.Target && first == nil {
			first = fmt.Errorf("%w: %d of %d %ss", ErrDiffers, n.Target, n.Source, n.Kind)
		}
	}
	if err := c.sums(ctx); err != nil && first == nil {
		first = err
	}
	return first
}

// Counts counts the documents of each kind that have not expired.
func Counts(ctx context.Context, s store.Store, now func() time.Time) ([]Count, error) {
	c := &copier{from: s, o: Options{Now: now}}
	var out []Count
	for _, kind := range kinds {
		n, err := c.count(ctx, s, kind)
		if err != nil {
			return nil, err
		}
		out = append(out, Count{Kind: kind, Source: n})
	}
	return out, nil
}

func (c *copier) count(ctx context.Context, s store.Store, kind string) (int, error) {
	n := 0
	if kind != Records {
		for w := c.walk(s, kind, false); ; n++ {
			if d, err := w.next(ctx); err != nil || d == nil {
				return n, err
			}
		}
	}
	for cursor := ""; ; {
		rs, next, err := s.Records(ctx, store.UsageFilter{}, cursor, page)
		if err != nil {
			return 0, err
		}
		n += len(rs)
		if cursor = next; cursor == "" {
			return n, nil
		}
	}
}

// sums compares the totals of every account, where they differ those of the time whose records the source has: what is
// older it keeps as sums alone, which are not copied. Sketches are left out: sums of an older program have none.
func (c *copier) sums(ctx context.Context) error {
	err := c.sumsSince(ctx, time.Time{})
	if errors.Is(err, ErrDiffers) && !c.oldest.IsZero() {
		err = c.sumsSince(ctx, c.oldest.Truncate(time.Hour).Add(time.Hour))
	}
	return err
}

func (c *copier) sumsSince(ctx context.Context, from time.Time) error {
	f := store.UsageFilter{From: from}
	want, err := c.from.Sums(ctx, f, store.GroupAccount)
	if err != nil {
		return err
	}
	got, err := c.to.Sums(ctx, f, store.GroupAccount)
	if err != nil {
		return err
	}
	plain := func(s core.UsageSum) core.UsageSum {
		s.FirstByte, s.Total = core.Sketch{}, core.Sketch{}
		return s
	}
	have := make(map[string]core.UsageSum, len(got))
	c.report.Requests = 0
	for _, s := range got {
		have[s.Group] = plain(s)
		c.report.Requests += s.Requests
	}
	for _, s := range want {
		if have[s.Group] != plain(s) {
			return fmt.Errorf("%w: the totals of account %s are %d requests, %d of them copied", ErrDiffers, s.Group, s.Requests, have[s.Group].Requests)
		}
	}
	return nil
}
