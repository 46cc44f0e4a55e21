package redis

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

var errSums = errors.New("the sums of an hour are not readable")

// marks reads how far an account's usage is summed up and kept, and how often hours had gone.
func (s *Store) marks(ctx context.Context, account string) (m usage.Marks, changes string, err error) {
	m = usage.NoMarks()
	pipe := s.db.Pipeline()
	closed, marks := pipe.Get(ctx, s.keys.closed(account)), pipe.HMGet(ctx, s.keys.marks(account), "e", "r", "h", "v")
	if _, err := pipe.Exec(ctx); err != nil && !missing(err) {
		return m, "", err
	}
	read := func(v any, to *int64) {
		if text, ok := v.(string); ok && err == nil {
			*to, err = strconv.ParseInt(text, 10, 64)
		}
	}
	if closed.Err() == nil {
		read(closed.Val(), &m.Closed)
	}
	if v := marks.Val(); len(v) == 4 {
		read(v[0], &m.Days)
		read(v[1], &m.Records)
		read(v[2], &m.Hours)
		changes, _ = v[3].(string)
	}
	return m, changes, err
}

// Sums implements store.Usage: days and closed hours that lie wholly in the filter by their sums, the rest by the records.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Check(&f, by); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	t := &summing{s: s, filter: &f, by: by, groups: usage.NewGroups(&f, by)}
	if !span(&f).empty() {
		accounts, err := s.accountsOf(ctx, &f)
		if err == nil {
			err = t.accounts(ctx, accounts)
		}
		if err != nil {
			return nil, s.fail(ctx, "sum usage", err)
		}
	}
	out, err := t.groups.List()
	if errors.Is(err, store.ErrGroups) {
		return nil, err
	}
	if err != nil {
		return nil, s.fail(ctx, "sum usage", errSums)
	}
	return out, nil
}

// summing is one call of Sums.
type summing struct {
	s      *Store
	filter *store.UsageFilter
	by     store.GroupBy

	mu     sync.Mutex
	groups *usage.Groups
}

// readAtOnce is how many accounts are read at a time: while one's answers are added up the next one's come.
const readAtOnce = 4

func (t *summing) accounts(ctx context.Context, accounts []string) error {
	errs := make([]error, min(readAtOnce, len(accounts)))
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(accounts) {
					return
				}
				errs[w] = t.account(ctx, accounts[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// account adds up one account, again where Retain removed something meanwhile.
func (t *summing) account(ctx context.Context, account string) error {
	m, changes, err := t.s.marks(ctx, account)
	for range usage.Again {
		if err != nil {
			return err
		}
		g := usage.NewGroups(t.filter, t.by)
		if err := t.add(ctx, g, account, &m); err != nil {
			return err
		}
		before := changes
		if m, changes, err = t.s.marks(ctx, account); err == nil && changes == before {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.groups.Merge(g)
			return nil
		}
	}
	return errBusy
}

// add adds what an account's days, hours and records tell. The marks only rise, so that sums before them stay true.
func (t *summing) add(ctx context.Context, g *usage.Groups, account string, m *usage.Marks) error {
	plan := m.Plan(t.filter, t.by)
	all := *t.filter
	all.From, all.To = time.Time{}, time.Time{}
	for _, r := range plan.Records {
		if err := t.s.each(ctx, account, &all, boundsOf(r), g.Record); err != nil {
			return err
		}
	}
	h := &hours{s: t.s, reader: newReader(), account: account, records: m.Records, kind: usage.KindOf(t.filter, t.by)}
	to := func(tally func(d *usage.Dims, at int64) *usage.Tally) hourFunc {
		return func(d usage.Dims, at int64, sum *core.UsageSum, first, total string) {
			if d.Account = account; d.Match(t.filter) {
				tally(&d, at).AddText(sum, first, total)
			}
		}
	}
	for _, r := range plan.Hours {
		if err := h.each(ctx, r, to(g.Hour)); err != nil {
			return err
		}
	}
	return h.days(ctx, plan.Days, to(g.Day))
}

// boundsOf are microseconds as bounds of a sorted set.
func boundsOf(r usage.Range) (b bounds) {
	if r.From != math.MinInt64 {
		b.from = &r.From
	}
	if r.To != math.MaxInt64 {
		b.to = &r.To
	}
	return b
}

// listed are the members of a sorted set whose scores, which they are, lie in a range.
func (s *Store) listed(ctx context.Context, list string, r usage.Range) ([]string, error) {
	if r.Empty() {
		return nil, nil
	}
	return s.db.ZRangeByScore(ctx, list, &goredis.ZRangeBy{Min: strconv.FormatInt(r.From, 10), Max: "(" + strconv.FormatInt(r.To, 10)}).Result()
}

// hours reads the sums of an account's closed hours and days.
type hours struct {
	s *Store
	*reader
	account string
	records int64 // before this hour the records may be gone
	kind    usage.Kind
}

// hourFunc takes a sum of an hour or a day.
type hourFunc func(d usage.Dims, at int64, sum *core.UsageSum, first, total string)

// pages calls fn with the members of a list that lie in a range, and their numbers, some at a time.
func (h *hours) pages(ctx context.Context, list string, r usage.Range, fn func(names []string, numbers []int64) error) error {
	names, err := h.s.listed(ctx, list, r)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(names, page) {
		numbers := make([]int64, len(page))
		for i, name := range page {
			if numbers[i], err = strconv.ParseInt(name, 10, 64); err != nil {
				return errSums
			}
		}
		if err := fn(page, numbers); err != nil {
			return err
		}
	}
	return nil
}

// days calls fn with the sums of days.
func (h *hours) days(ctx context.Context, r usage.Range, fn hourFunc) error {
	return h.pages(ctx, h.s.keys.days(h.account), r, func(names []string, numbers []int64) error {
		texts, err := h.texts(ctx, names, h.s.keys.daySums)
		if err != nil {
			return err
		}
		for i, text := range texts {
			if err := h.tell(text, numbers[i], fn); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *hours) texts(ctx context.Context, names []string, of func(account string, kind usage.Kind, name string) string) ([]string, error) {
	return h.s.texts(ctx, names, h.kind, func(kind usage.Kind, name string) string { return of(h.account, kind, name) })
}

func (h *hours) tell(text string, at int64, fn hourFunc) error {
	return h.reader.each(text, func(d usage.Dims, sum *core.UsageSum, first, total string) { fn(d, at, sum, first, total) })
}

// each calls fn with the sums of closed hours. What an hour counts may come in parts. Before the hour records its records
// may be gone; of later ones their number, which was read first, tells whether an older program added some that the whole
// sums lack.
func (h *hours) each(ctx context.Context, r usage.Range, fn hourFunc) error {
	k := &h.s.keys
	return h.pages(ctx, k.hours(h.account), r, func(names []string, numbers []int64) error {
		pipe := h.s.db.Pipeline()
		counts := make([]*goredis.IntCmd, len(names))
		for i, hour := range numbers {
			within := hourBounds(hour)
			counts[i] = pipe.ZCount(ctx, k.records(h.account), within.min(), within.max())
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		texts, err := h.texts(ctx, names, k.whole)
		if err != nil {
			return err
		}
		for i, hour := range numbers {
			if texts[i] == "" || hour >= h.records && counted(texts[i]) < counts[i].Val() {
				err = h.older(ctx, hour, names[i], fn)
			} else {
				err = h.tell(texts[i], hour, fn)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// older gives the sums and costs of an hour as older programs keep them, which have no sketches.
func (h *hours) older(ctx context.Context, hour int64, text string, fn hourFunc) error {
	k, pipe := &h.s.keys, h.s.db.Pipeline()
	sums, costs := pipe.HGetAll(ctx, k.sums(h.account, text)), pipe.HGetAll(ctx, k.costs(h.account, text))
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	return h.olderSums(ctx, hour, sums.Val(), costs.Val(), fn)
}

// olderSums gives one such hour. Where its costs are not those of all its requests, because an older program closed it or
// added to it, they come from the records.
func (h *hours) olderSums(ctx context.Context, hour int64, fields, costs map[string]string, fn hourFunc) error {
	sums, err := parseHour(fields, sumNumbers)
	if err != nil {
		return err
	}
	costed, err := parseHour(costs, costNumbers)
	if err != nil {
		return err
	}
	whole := true
	for group, sum := range sums {
		c := costed[group]
		whole = whole && c != nil && c.Requests == sum.Requests
	}
	known := make(map[usage.Dims]bool, len(sums))
	for group, sum := range sums {
		if whole {
			sum.CostUSD, sum.Unpriced = costed[group].CostUSD, costed[group].Unpriced
		}
		d, err := h.dims(group)
		if err != nil {
			return err
		}
		known[d] = true
		fn(d, hour, sum, "", "")
	}
	if whole {
		return nil
	}
	return h.s.each(ctx, h.account, &store.UsageFilter{}, hourBounds(hour), func(r *core.Settlement) {
		if d, one := (usage.Dims{Key: r.Key, Node: r.Node, Model: r.Model}), usage.One(r); known[d] {
			fn(d, hour, &core.UsageSum{CostUSD: one.CostUSD, Unpriced: one.Unpriced}, "", "")
		}
	})
}

func hourBounds(hour int64) bounds {
	return bounds{new(hour * usage.HourUS), new((hour + 1) * usage.HourUS)}
}

// parseHour reads the fields of one closed hour, "number:group" -> value, by group.
func parseHour(fields map[string]string, list func(*core.UsageSum) []*int64) (map[string]*core.UsageSum, error) {
	out := map[string]*core.UsageSum{}
	for name, text := range fields {
		number, group, ok := strings.Cut(name, ":")
		i, err := strconv.Atoi(number)
		value, err2 := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || err2 != nil {
			return nil, errSums
		}
		if out[group] == nil {
			out[group] = &core.UsageSum{}
		}
		numbers := list(out[group])
		if i < 0 || i >= len(numbers) {
			return nil, errSums
		}
		*numbers[i] = value
	}
	return out, nil
}
