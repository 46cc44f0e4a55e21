package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// maxRecords bounds the log: some 100 MB.
const maxRecords = 200_000

// log is the usage records, oldest first.
type log struct {
	max  int
	recs []core.Settlement
	ids  map[string]struct{}
}

func newLog(max int) log { return log{max: max, ids: make(map[string]struct{})} }

// before is the order of the log: by end, then by request id.
func before(a *core.Settlement, c usage.Cursor) int {
	return cmp.Or(cmp.Compare(a.EndedAt.UnixMicro(), c.EndedUS), strings.Compare(a.RequestID, c.ID))
}

func (l *log) has(requestID string) bool {
	_, ok := l.ids[requestID]
	return ok
}

// add stores a record unless it is known. The oldest tenth is forgotten when there are too many.
func (l *log) add(r *core.Settlement) {
	if _, ok := l.ids[r.RequestID]; ok {
		return
	}
	if len(l.recs) >= l.max {
		n := max(l.max/10, 1)
		for i := range n {
			delete(l.ids, l.recs[i].RequestID)
		}
		l.recs = slices.Delete(l.recs, 0, n)
	}
	rec := *r
	usage.Normalize(&rec)
	i := len(l.recs)
	if c := usage.After(&rec); i > 0 && before(&l.recs[i-1], c) > 0 {
		i, _ = slices.BinarySearchFunc(l.recs, c, func(o core.Settlement, c usage.Cursor) int { return before(&o, c) })
	}
	l.recs = slices.Insert(l.recs, i, rec)
	l.ids[rec.RequestID] = struct{}{}
}

// Records implements store.Usage.
func (s *Store) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	c, err := usage.ParseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	recs := s.usage.recs
	end := len(recs)
	if c.Set {
		end, _ = slices.BinarySearchFunc(recs, c, func(o core.Settlement, c usage.Cursor) int { return before(&o, c) })
	}
	var out []core.Settlement
	for i := end - 1; i >= 0; i-- {
		if !usage.Match(&f, &recs[i]) {
			continue
		}
		if len(out) >= limit {
			if len(out) == 0 {
				return nil, "", nil
			}
			return out, usage.After(&out[len(out)-1]).String(), nil
		}
		out = append(out, recs[i])
	}
	return out, "", nil
}

// Sums implements store.Usage, from the records.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Known(by); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	groups := make(map[core.UsageSum]*core.UsageSum) // by Group and Hour
	if by == store.GroupNone {
		groups[core.UsageSum{}] = &core.UsageSum{}
	}
	for i := range s.usage.recs {
		r := &s.usage.recs[i]
		if !usage.Match(&f, r) {
			continue
		}
		g := group(r, by)
		if groups[g] == nil {
			groups[g] = &core.UsageSum{Group: g.Group, Hour: g.Hour}
		}
		usage.Add(groups[g], usage.One(r))
	}
	order := slices.SortedFunc(maps.Keys(groups), func(a, b core.UsageSum) int {
		return cmp.Or(a.Hour.Compare(b.Hour), strings.Compare(a.Group, b.Group))
	})
	var out []core.UsageSum
	for _, g := range order {
		out = append(out, *groups[g])
	}
	return out, nil
}

func group(r *core.Settlement, by store.GroupBy) core.UsageSum {
	switch by {
	case store.GroupAccount:
		return core.UsageSum{Group: r.Account}
	case store.GroupKey:
		return core.UsageSum{Group: r.Key}
	case store.GroupNode:
		return core.UsageSum{Group: r.Node}
	case store.GroupModel:
		return core.UsageSum{Group: r.Model}
	case store.GroupHour:
		return core.UsageSum{Hour: r.EndedAt.Truncate(time.Hour)}
	default:
		return core.UsageSum{}
	}
}

// Rollup implements store.Usage: sums are worked out from the records each time.
func (s *Store) Rollup(ctx context.Context, _ time.Time) error { return s.Ping(ctx) }

// DeleteUsage implements store.Usage.
func (s *Store) DeleteUsage(ctx context.Context, account string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.usage.recs = slices.DeleteFunc(s.usage.recs, func(r core.Settlement) bool {
		if r.Account != account {
			return false
		}
		delete(s.usage.ids, r.RequestID)
		return true
	})
	return nil
}
