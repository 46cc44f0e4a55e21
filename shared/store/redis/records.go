package redis

import (
	"cmp"
	"context"
	"encoding/json"
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

// maxPassed is how many records one page may pass over.
const maxPassed = 6_000

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
	left    int64             // how many records it may still look at
	recs    []core.Settlement // read, not given
	done    bool
}

// fill reads on until it has a record, there are no more, or it may look at no more.
func (w *walk) fill(ctx context.Context) error {
	for len(w.recs) == 0 && !w.done && w.left > 0 {
		if err := w.next(ctx); err != nil {
			return err
		}
		if len(w.recs) == 0 {
			w.batch = min(2*w.batch, page)
		}
	}
	return nil
}

// stopped reports whether it may look at no more: what is behind w.after is not known.
func (w *walk) stopped() bool { return len(w.recs) == 0 && !w.done && w.left <= 0 }

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
	w.left -= int64(len(ids))
	recs, err := w.s.readRecords(ctx, w.account, ids, wanted(w.filter))
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

// wanted is what the text of a record has in it that the filter finds. Most records have it not, and decoding one takes fifty
// times as long as finding that out.
func wanted(f *store.UsageFilter) (texts []string) {
	for _, s := range [...]string{f.Key, f.Node, f.Model, f.Session, f.Agent} {
		if s == "" {
			continue
		}
		if b, err := json.Marshal(s); err == nil { // as records are written
			texts = append(texts, string(b))
		}
	}
	return texts
}

// readRecords reads an account's records by id, in one round trip. Those that are gone are left out, and those that have not
// all wanted texts, save for the last, from which the next batch goes on.
func (s *Store) readRecords(ctx context.Context, account string, ids, wanted []string) ([]core.Settlement, error) {
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
	last := len(values) - 1
	for last >= 0 && values[last] == nil {
		last--
	}
	out := make([]core.Settlement, 0, len(ids))
	for i, v := range values {
		text, ok := v.(string)
		if !ok || i < last && slices.ContainsFunc(wanted, func(w string) bool { return !strings.Contains(text, w) }) {
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

// lastUse bounds where the newest record of the filter's key or node is, as far as that is noted. It reports false where there
// is none.
func (s *Store) lastUse(ctx context.Context, f *store.UsageFilter, within *bounds) (bool, error) {
	fields := []string{"count"}
	for class, id := range map[string]string{"k": f.Key, "n": f.Node} {
		if id != "" {
			fields = append(fields, class+id)
		}
	}
	pipe := s.db.TxPipeline()
	uses, count := pipe.HMGet(ctx, s.keys.lastUses(f.Account), fields...), pipe.ZCard(ctx, s.keys.records(f.Account))
	if _, err := pipe.Exec(ctx); err != nil {
		return false, err
	}
	noted := uses.Val()
	if noted[0] != strconv.FormatInt(count.Val(), 10) {
		return count.Val() > 0, nil
	}
	for _, v := range noted[1:] {
		text, ok := v.(string)
		if !ok {
			return false, nil
		}
		us, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return false, fmt.Errorf("a last use is not readable: %w", err)
		}
		if within.to == nil || us < *within.to {
			within.to = new(us + 1)
		}
	}
	return !within.empty(), nil
}

// Records implements store.Usage. Without an account it reads from all of them and merges. Who asks for one record of a key or
// node wants to know when that was used last: then it begins where that is noted, and does not pass over those of others.
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
	if limit == 1 && !c.Set && f.Account != "" && (f.Key != "" || f.Node != "") {
		if some, err := s.lastUse(ctx, &f, &within); err != nil || !some {
			return nil, "", s.fail(ctx, "list usage", err)
		}
	}
	accounts, err := s.accountsOf(ctx, &f)
	if err != nil {
		return nil, "", s.fail(ctx, "list usage", err)
	}
	batch := int64(min(limit, page-1) + 1)
	walks := make([]*walk, len(accounts))
	for i, a := range accounts {
		walks[i] = &walk{s: s, account: a, filter: &f, within: within, after: c, batch: batch, left: int64(max(maxPassed/len(accounts), limit+1))}
	}
	out, end, err := merge(ctx, walks, limit+1)
	if err != nil {
		return nil, "", s.fail(ctx, "list usage", err)
	}
	if len(out) <= limit {
		return out, end.String(), nil
	}
	out = out[:limit]
	return out, usage.After(&out[limit-1]).String(), nil
}

// merge takes the newest records of all walks, up to limit, or down to where a walk stopped: then end is set.
func merge(ctx context.Context, walks []*walk, limit int) (out []core.Settlement, end usage.Cursor, err error) {
	for len(out) < limit {
		var best *walk
		for _, w := range walks {
			if err := w.fill(ctx); err != nil {
				return nil, end, err
			}
			if w.stopped() && (!end.Set || later(w.after, end)) {
				end = w.after
			}
			if len(w.recs) > 0 && (best == nil || newer(&w.recs[0], &best.recs[0]) < 0) {
				best = w
			}
		}
		if best == nil || end.Set && later(end, usage.After(&best.recs[0])) {
			return out, end, nil
		}
		out = append(out, best.recs[0])
		best.recs = best.recs[1:]
	}
	return out, end, nil
}

// later reports whether a place in the list of records comes before another: it is of a later record.
func later(a, b usage.Cursor) bool {
	return a.EndedUS > b.EndedUS || a.EndedUS == b.EndedUS && a.ID > b.ID
}

// each calls fn for every record of an account within bounds that the filter selects.
func (s *Store) each(ctx context.Context, account string, f *store.UsageFilter, within bounds, fn func(*core.Settlement)) error {
	if within.empty() {
		return nil
	}
	w := &walk{s: s, account: account, filter: f, within: within, batch: page, left: math.MaxInt64}
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
	for _, p := range s.parts(account) {
		for {
			n, err := s.removeFirst(ctx, &p, "+inf")
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return s.db.Unlink(ctx, s.keys.marks(account), s.keys.appended(account), s.keys.lastUses(account)).Err()
}

// part is one kind of an account's usage: a sorted set and the keys that each of its members has.
type part struct {
	list   string
	keys   func(member string) []string
	forget func(ctx context.Context, members []string) error // nil: there is nothing else of them
	uses   string                                            // last uses, which know how many there are; empty: of another kind
}

// parts are the records, the hours, the hours with costs, and the days of an account.
func (s *Store) parts(account string) [4]part {
	k := &s.keys
	return [4]part{
		{k.records(account), func(id string) []string { return []string{k.record(account, id)} }, nil, k.lastUses(account)},
		{k.hours(account), func(hour string) []string { return append(k.kinds(k.whole, account, hour), k.sums(account, hour)) }, nil, ""},
		{k.costed(account), func(hour string) []string { return []string{k.costs(account, hour)} }, nil, ""},
		{k.days(account), func(day string) []string { return k.kinds(k.daySums, account, day) }, func(ctx context.Context, days []string) error {
			fields := make([]string, len(days))
			for i, day := range days {
				fields[i] = "v" + day
			}
			return s.db.HDel(ctx, k.marks(account), fields...).Err()
		}, ""},
	}
}

// removeFirst removes up to a page of a part's members, those with the lowest scores, below a bound.
func (s *Store) removeFirst(ctx context.Context, p *part, below string) (int, error) {
	members, err := s.db.ZRangeByScore(ctx, p.list, &goredis.ZRangeBy{Min: "-inf", Max: below, Count: page}).Result()
	if err != nil || len(members) == 0 {
		return 0, err
	}
	var gone []string
	listed := make([]any, len(members))
	for i, m := range members {
		gone, listed[i] = append(gone, p.keys(m)...), m
	}
	if err := s.db.Unlink(ctx, gone...).Err(); err != nil {
		return 0, err
	}
	if p.forget != nil {
		if err := p.forget(ctx, members); err != nil {
			return 0, err
		}
	}
	if p.uses == "" {
		return len(members), s.db.ZRem(ctx, p.list, listed...).Err()
	}
	return len(members), s.run(ctx, &s.scripts.unlist, true, s.scripts.unlist.call(p.list, p.uses).str(members...)).Err()
}
