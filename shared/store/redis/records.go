package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// bounds are a filter's times as bounds of a sorted set: from and to in microseconds, nil open.
type bounds struct{ from, to *int64 }

func span(f *store.UsageFilter) (b bounds) {
	if !f.From.IsZero() {
		b.from = new(f.From.UnixMicro())
	}
	if !f.To.IsZero() {
		b.to = new(f.To.UnixMicro())
	}
	return b
}

func (b bounds) empty() bool { return b.from != nil && b.to != nil && *b.from >= *b.to }

func (b bounds) min() string {
	if b.from == nil {
		return "-inf"
	}
	return strconv.FormatInt(*b.from, 10)
}

func (b bounds) max() string {
	if b.to == nil {
		return "+inf"
	}
	return "(" + strconv.FormatInt(*b.to, 10)
}

// accountsOf are the accounts that a filter can select records of.
func (s *Store) accountsOf(ctx context.Context, f *store.UsageFilter) ([]string, error) {
	if f.Account != "" {
		return []string{f.Account}, nil
	}
	return s.db.SMembers(ctx, s.keys.accounts()).Result()
}

// walk reads an account's records backwards in time. It is not for several goroutines.
type walk struct {
	s       *Store
	account string
	filter  *store.UsageFilter
	within  bounds
	after   usage.Cursor // what is not behind it was read before
	batch   int64
	recs    []core.Settlement // read, not given
	done    bool
}

// fill reads on until it has a record or there are no more.
func (w *walk) fill(ctx context.Context) error {
	for len(w.recs) == 0 && !w.done {
		if err := w.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// next reads a batch. Records of one microsecond share a score, and the cursor may be among them: those before it come
// again and are passed over.
func (w *walk) next(ctx context.Context) error {
	within, skip := w.within, int64(0)
	key := w.s.keys.records(w.account)
	if w.after.Set && (within.to == nil || *within.to > w.after.EndedUS) {
		at := strconv.FormatInt(w.after.EndedUS, 10)
		same, err := w.s.db.ZRangeByScore(ctx, key, &goredis.ZRangeBy{Min: at, Max: at}).Result()
		if err != nil {
			return err
		}
		for _, id := range same {
			if id >= w.after.ID {
				skip++
			}
		}
		within.to = new(w.after.EndedUS + 1)
	}
	ids, err := w.s.db.ZRevRangeByScore(ctx, key, &goredis.ZRangeBy{Min: within.min(), Max: within.max(), Offset: skip, Count: w.batch}).Result()
	if err != nil {
		return err
	}
	w.done = int64(len(ids)) < w.batch
	recs, err := w.s.readRecords(ctx, w.account, ids)
	if err != nil {
		return err
	}
	for i := range recs {
		if w.after = usage.After(&recs[i]); usage.Match(w.filter, &recs[i]) {
			w.recs = append(w.recs, recs[i])
		}
	}
	if len(recs) == 0 && len(ids) > 0 { // records that are being deleted: there is no end to go on from
		w.done = true
	}
	return nil
}

// readRecords reads an account's records by id, in one round trip. Those that are gone are left out.
func (s *Store) readRecords(ctx context.Context, account string, ids []string) ([]core.Settlement, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = s.keys.record(account, id)
	}
	values, err := s.db.MGet(ctx, names...).Result()
	if err != nil {
		return nil, err
	}
	out := make([]core.Settlement, 0, len(ids))
	for _, v := range values {
		text, ok := v.(string)
		if !ok {
			continue
		}
		var r core.Settlement
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("a record is not readable: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}

// newer orders records newest first.
func newer(a, b *core.Settlement) int {
	return cmp.Or(-cmp.Compare(a.EndedAt.UnixMicro(), b.EndedAt.UnixMicro()), -strings.Compare(a.RequestID, b.RequestID))
}

// Records implements store.Usage. Without an account it reads from all of them and merges.
func (s *Store) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	c, err := usage.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	within := span(&f)
	if limit <= 0 || within.empty() {
		return nil, "", nil
	}
	accounts, err := s.accountsOf(ctx, &f)
	if err != nil {
		return nil, "", s.fail(ctx, "list usage", err)
	}
	batch := int64(min(limit, page-1) + 1)
	walks := make([]*walk, len(accounts))
	for i, a := range accounts {
		walks[i] = &walk{s: s, account: a, filter: &f, within: within, after: c, batch: batch}
	}
	out, err := merge(ctx, walks, limit+1)
	if err != nil {
		return nil, "", s.fail(ctx, "list usage", err)
	}
	if len(out) <= limit {
		return out, "", nil
	}
	out = out[:limit]
	return out, usage.After(&out[limit-1]).String(), nil
}

// merge takes the newest records of all walks, up to limit.
func merge(ctx context.Context, walks []*walk, limit int) ([]core.Settlement, error) {
	var out []core.Settlement
	for len(out) < limit {
		var best *walk
		for _, w := range walks {
			if err := w.fill(ctx); err != nil {
				return nil, err
			}
			if len(w.recs) > 0 && (best == nil || newer(&w.recs[0], &best.recs[0]) < 0) {
				best = w
			}
		}
		if best == nil {
			return out, nil
		}
		out = append(out, best.recs[0])
		best.recs = best.recs[1:]
	}
	return out, nil
}

// each calls fn for every record of an account within bounds that the filter selects.
func (s *Store) each(ctx context.Context, account string, f *store.UsageFilter, within bounds, fn func(*core.Settlement)) error {
	if within.empty() {
		return nil
	}
	w := &walk{s: s, account: account, filter: f, within: within, batch: page}
	for {
		if err := w.fill(ctx); err != nil {
			return err
		}
		if len(w.recs) == 0 {
			return nil
		}
		for i := range w.recs {
			fn(&w.recs[i])
		}
		w.recs = w.recs[:0]
	}
}

// DeleteUsage implements store.Usage. It goes in steps; who is interrupted calls it again.
func (s *Store) DeleteUsage(ctx context.Context, account string) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return s.fail(ctx, "delete usage", s.deleteUsage(ctx, account))
}

func (s *Store) deleteUsage(ctx context.Context, account string) error {
	// The list of accounts first: a record that comes meanwhile and finds none before it puts the account on it again.
	s.known.Delete(account)
	if err := s.db.SRem(ctx, s.keys.accounts(), account).Err(); err != nil {
		return err
	}
	for _, part := range []struct {
		list string
		key  func(member string) string
	}{
		{s.keys.records(account), func(id string) string { return s.keys.record(account, id) }},
		{s.keys.hours(account), func(hour string) string { return s.keys.sums(account, hour) }},
		{s.keys.costed(account), func(hour string) string { return s.keys.costs(account, hour) }},
	} {
		for {
			members, err := s.db.ZRange(ctx, part.list, 0, page-1).Result()
			if err != nil {
				return err
			}
			if len(members) == 0 {
				break
			}
			gone, listed := make([]string, len(members)), make([]any, len(members))
			for i, m := range members {
				gone[i], listed[i] = part.key(m), m
			}
			if err := s.db.Unlink(ctx, gone...).Err(); err != nil {
				return err
			}
			if err := s.db.ZRem(ctx, part.list, listed...).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// closedHours reads the first hour of an account that is not closed; ok is false when none was ever closed.
func (s *Store) closedHours(ctx context.Context, account string) (hour int64, ok bool, err error) {
	hour, err = s.db.Get(ctx, s.keys.closed(account)).Int64()
	if errors.Is(err, goredis.Nil) {
		return math.MinInt64 / usage.HourUS, false, nil
	}
	return hour, err == nil, err
}

func sortSums(out []core.UsageSum) {
	slices.SortFunc(out, func(a, b core.UsageSum) int {
		return cmp.Or(a.Hour.Compare(b.Hour), strings.Compare(a.Group, b.Group))
	})
}
