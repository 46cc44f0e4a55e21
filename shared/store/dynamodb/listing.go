package dynamodb

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// maxPassed is about how many records one page may pass over.
const maxPassed = 4_000

// Records implements store.Usage. It goes back day by day, so that a page costs what is on it and what the filter
// passes over.
func (s *Store) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	c, err := usage.ParseCursor(cursor)
	if err != nil || limit <= 0 {
		return nil, "", err
	}
	if err := s.usable(ctx); err != nil {
		return nil, "", err
	}
	from, to := "", timeText(1<<62-1)
	if !f.From.IsZero() {
		from = timeText(f.From.UnixMicro())
	}
	if !f.To.IsZero() {
		to = timeText(f.To.UnixMicro())
	}
	if c.Set {
		to = min(to, recordSK(c.EndedUS, c.ID))
	}
	var out []core.Settlement
	var end usage.Cursor
	left := max(maxPassed, limit)
	for day, ok := int64(epoch), true; len(out) <= limit && !end.Set; {
		if day, ok, err = s.dayBefore(ctx, f.Account, day, to); err != nil || !ok {
			break
		}
		if from != "" && timeText((day+1)*24*usage.HourUS) <= from {
			break
		}
		p := &dayPage{from: from, to: to, limit: limit + 1 - len(out), left: left}
		if err = s.dayRecords(ctx, &f, day, p); err != nil {
			break
		}
		out, end = append(out, p.recs...), p.end
		if left = p.left; left <= 0 && !end.Set {
			end = usage.Cursor{EndedUS: day * 24 * usage.HourUS, Set: true}
		}
	}
	if err != nil {
		return nil, "", err
	}
	if len(out) <= limit {
		return out, end.String(), nil
	}
	out = out[:limit]
	return out, usage.After(&out[limit-1]).String(), nil
}

// dayBefore is the last day before day that has records which may end before to; account "": of anyone.
func (s *Store) dayBefore(ctx context.Context, account string, day int64, to string) (found int64, ok bool, err error) {
	if us, err := strconv.ParseInt(to[:19], 10, 64); err == nil {
		day = min(day, usage.DayOf(usage.HourOf(us-1<<62))+1)
	}
	q := span{pk: "X", to: hourText(day), down: true, fields: "SK", limit: 1} // entries of the day itself are longer, so they follow
	if account != "" {
		q = span{pk: hoursPK(account), to: hourText(day*24 - 1), down: true, fields: "SK", limit: 1}
	}
	err = s.query(ctx, "list days", q, func(it item) (bool, error) {
		n, err := parseHour(getS(it, "SK")[:10])
		if found, ok = n, err == nil; account != "" {
			found = usage.DayOf(n)
		}
		return false, err
	})
	return found, ok, err
}

// dayAccounts are the accounts that have records of a day.
func (s *Store) dayAccounts(ctx context.Context, day int64) (out []string, err error) {
	prefix := hourText(day) + "#"
	err = s.query(ctx, "list accounts", span{pk: "X", from: prefix, to: hourText(day) + "$", fields: "SK"}, func(it item) (bool, error) {
		out = append(out, getS(it, "SK")[len(prefix):])
		return true, nil
	})
	return out, err
}

// dayPage is what dayRecords is asked for and finds.
type dayPage struct {
	from, to string // sort keys, to exclusive
	limit    int
	left     int               // how many records it may look at
	recs     []core.Settlement // the newest first
	end      usage.Cursor      // if set, where it stopped looking
}

// dayRecords reads up to limit records of a day that the filter selects.
func (s *Store) dayRecords(ctx context.Context, f *store.UsageFilter, day int64, p *dayPage) error {
	accounts := []string{f.Account}
	if f.Account == "" {
		var err error
		if accounts, err = s.dayAccounts(ctx, day); err != nil {
			return err
		}
	}
	lists := make([][]core.Settlement, len(accounts)*recordShards)
	ends, seen := make([]usage.Cursor, len(lists)), make([]int, len(lists))
	each := max(p.left/max(len(lists), 1), p.limit)
	err := parallel(len(lists), 16, func(i int) error {
		q := span{pk: recordsPK(accounts[i/recordShards], day, i%recordShards), from: p.from, to: p.to, down: true, limit: int32(min(max(p.limit+1, 50), 1000))}
		return s.query(ctx, "list usage", q, func(it item) (bool, error) {
			if getS(it, "SK") >= p.to {
				return true, nil
			}
			r, err := parseRecord(it)
			if err == nil && usage.Match(f, &r) {
				lists[i] = append(lists[i], r)
			}
			full := len(lists[i]) >= p.limit
			if seen[i]++; seen[i] >= each && !full && err == nil {
				ends[i] = usage.After(&r)
				return false, nil
			}
			return !full, err
		})
	})
	for i := range lists {
		p.left -= seen[i]
		if ends[i].Set && (!p.end.Set || order(ends[i], p.end) < 0) {
			p.end = ends[i]
		}
	}
	all := slices.Concat(lists...)
	if p.end.Set { // what is behind it is not known of every list
		all = slices.DeleteFunc(all, func(r core.Settlement) bool { return order(usage.After(&r), p.end) > 0 })
	}
	slices.SortFunc(all, func(a, b core.Settlement) int { return order(usage.After(&a), usage.After(&b)) })
	p.recs = all[:min(p.limit, len(all))]
	return err
}

// order is that of a list: the newest first.
func order(a, b usage.Cursor) int {
	return cmp.Or(cmp.Compare(b.EndedUS, a.EndedUS), -compare(a.ID, b.ID))
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func parseRecord(it item) (r core.Settlement, err error) {
	if err = json.Unmarshal(getB(it, "b"), &r); err != nil {
		err = fmt.Errorf("a record is not readable: %w", err)
	}
	return r, err
}
