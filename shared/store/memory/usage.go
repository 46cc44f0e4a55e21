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

// log is the usage records, oldest first, and the sums of those that were removed.
type log struct {
	max   int
	recs  []core.Settlement
	ids   map[string]struct{}
	marks usage.Marks // Closed follows Rollup; sums of closed hours are worked out from the records while these are kept
	hours map[place]*usage.Tally
	days  map[place]*usage.Tally
}

// place is what the sums of an hour, or of a day, are kept apart by.
type place struct {
	dims usage.Dims
	at   int64
}

func newLog(max int) log {
	return log{max: max, ids: make(map[string]struct{}), marks: usage.NoMarks(), hours: make(map[place]*usage.Tally), days: make(map[place]*usage.Tally)}
}

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
	if usage.HourOf(rec.EndedAt.UnixMicro()) < l.marks.Records {
		l.fold(&rec)
	}
}

// fold counts a record in the sums of its hour, or of its day where hours are gone.
func (l *log) fold(r *core.Settlement) {
	d := usage.DimsOf(r)
	d.Session, d.Agent = "", ""
	sums, p := l.hours, place{d, usage.HourOf(r.EndedAt.UnixMicro())}
	if p.at < l.marks.Hours {
		sums, p.at = l.days, usage.DayOf(p.at)
	}
	if sums[p] == nil {
		sums[p] = &usage.Tally{}
	}
	sums[p].Record(r)
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

// Sums implements store.Usage: from the records, and from what was summed up when they were removed.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Check(&f, by); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	l := &s.usage
	marks := l.marks
	marks.Closed, marks.Days = marks.Records, usage.DayOf(marks.Hours) // what has sums of its own here
	g, plan := usage.NewGroups(&f, by), marks.Plan(&f, by)
	for p, t := range l.days {
		if p.at >= plan.Days.From && p.at < plan.Days.To && p.dims.Match(&f) {
			g.Day(&p.dims, p.at).Add(t.Sum())
		}
	}
	for _, r := range plan.Hours {
		for p, t := range l.hours {
			if p.at >= r.From && p.at < r.To && p.dims.Match(&f) {
				g.Hour(&p.dims, p.at).Add(t.Sum())
			}
		}
	}
	all := f
	all.From, all.To = time.Time{}, time.Time{}
	for _, r := range plan.Records {
		first, _ := slices.BinarySearchFunc(l.recs, r.From, func(o core.Settlement, us int64) int { return cmp.Compare(o.EndedAt.UnixMicro(), us) })
		for i := first; i < len(l.recs) && l.recs[i].EndedAt.UnixMicro() < r.To; i++ {
			if usage.Match(&all, &l.recs[i]) {
				g.Record(&l.recs[i])
			}
		}
	}
	return g.List()
}

// Rollup implements store.Usage: it only notes which hours are closed.
func (s *Store) Rollup(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	m := &s.usage.marks
	m.Closed = max(m.Closed, usage.Closed(now))
	m.Days = usage.DayOf(m.Closed)
	return nil
}

// Retain implements store.Usage. It is done at once.
func (s *Store) Retain(ctx context.Context, now time.Time, keep store.Retention) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	l := &s.usage
	due := l.marks.Due(now, keep)
	before := l.marks.Records
	n := 0
	for ; n < len(l.recs); n++ {
		r := &l.recs[n]
		hour := usage.HourOf(r.EndedAt.UnixMicro())
		if hour >= due.Records {
			break
		}
		if delete(l.ids, r.RequestID); hour >= before { // else it came late and was counted then
			l.fold(r)
		}
	}
	l.recs = slices.Delete(l.recs, 0, n)
	l.marks.Records, l.marks.Hours = due.Records, due.Hours
	for p, t := range l.hours {
		if p.at >= due.Hours {
			continue
		}
		day := place{p.dims, usage.DayOf(p.at)}
		if l.days[day] == nil {
			l.days[day] = &usage.Tally{}
		}
		l.days[day].Add(t.Sum())
		delete(l.hours, p)
		n++
	}
	for p := range l.days {
		if p.at < due.Days {
			delete(l.days, p)
			n++
		}
	}
	return n, nil
}

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
	gone := func(p place, _ *usage.Tally) bool { return p.dims.Account == account }
	maps.DeleteFunc(s.usage.hours, gone)
	maps.DeleteFunc(s.usage.days, gone)
	return nil
}
