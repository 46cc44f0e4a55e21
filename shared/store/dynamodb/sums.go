package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// maxAgain bounds how many hours one reading puts up to be summed again.
const maxAgain = 500

// hourItem is what the index knows of one hour of an account.
type hourItem struct {
	hour     int64
	late     int64 // records that came late
	included int64 // late when the sums were written
	closed   bool  // sums were written
	coarse   bool  // and with them those of coarser kinds
	sums     []byte
}

func parseHourItem(it item) (h hourItem, err error) {
	h.hour, err = parseHour(getS(it, "SK"))
	h.late, _ = getN(it, "l")
	h.included, h.closed = getN(it, "c")
	of, ok := getN(it, "mc")
	h.coarse = ok && of == h.included
	h.sums = getB(it, "s")
	return h, err
}

// whole reports whether the sums are those of all records.
func (h *hourItem) whole() bool { return h.closed && h.included == h.late }

// Rollup implements store.Usage: it writes the sums of the hours, then of the days, that are closed and pending.
func (s *Store) Rollup(ctx context.Context, now time.Time) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	type work struct {
		mark
		token string
	}
	var todo []work
	closed := usage.Closed(s.clock.correct(now))
	err := s.query(ctx, "list pending hours", span{pk: "P", to: hourText(closed)}, func(it item) (bool, error) {
		at, err := parseWork(getS(it, "SK"))
		if err == nil {
			todo = append(todo, work{at, getS(it, "t")})
		}
		return true, nil
	})
	if err == nil {
		err = parallel(len(todo), 4, func(i int) error { return s.closeHour(ctx, todo[i].mark, todo[i].token) })
	}
	if err != nil {
		return err
	}
	return s.closeDays(ctx, closed)
}

// closeHour writes the sums of one hour and ends its being pending, unless another entry came meanwhile.
func (s *Store) closeHour(ctx context.Context, at mark, token string) error {
	k := key(hoursPK(at.account), hourText(at.hour))
	it, err := s.get(ctx, "roll up usage", k, "l, g, SK")
	if err != nil {
		return err
	}
	if hasN(it, "g") { // its records may be gone
		return s.served(ctx, "P", at, token)
	}
	late, _ := getN(it, "l")
	all := make(usage.Tallies)
	from, to := at.hour*usage.HourUS, (at.hour+1)*usage.HourUS
	var mu sync.Mutex
	err = s.eachRecord(ctx, at.account, from, to, func(r *core.Settlement) {
		mu.Lock()
		defer mu.Unlock()
		if all.Of(dimsOf("", groupOf(r))).Record(r); len(all) > maxGroups {
			all = fold(all, maxGroups/2)
		}
	})
	if err != nil {
		return err
	}
	if it == nil && len(all) == 0 { // the account's usage was deleted
		return s.served(ctx, "P", at, token)
	}
	// An hour without records gets sums, too: it is marked before the first record is stored, which may fail.
	u, err := writing(all, late)
	if err != nil {
		return err
	}
	if _, _, err := s.update(ctx, "roll up usage", u.input(k)); err != nil {
		if _, raced := unmet(err); raced {
			return nil // a record came: the hour stays pending
		}
		return s.fail(ctx, "roll up usage", err)
	}
	if _, err := s.put(ctx, "roll up usage", &sdk.PutItemInput{Item: pendingDay(at)}); err != nil {
		return s.fail(ctx, "roll up usage", err)
	}
	return s.served(ctx, "P", at, token)
}

// served removes an entry of what is pending, unless another took its place meanwhile.
func (s *Store) served(ctx context.Context, pk string, at mark, token string) error {
	_, _, err := call(ctx, s, "roll up usage", func(ctx context.Context) (*sdk.DeleteItemOutput, error) {
		return s.db.DeleteItem(ctx, &sdk.DeleteItemInput{TableName: &s.table, Key: key(pk, hourText(at.hour)+"#"+at.account),
			ConditionExpression: new("t = :t"), ExpressionAttributeValues: item{":t": str(token)}})
	})
	if _, newer := unmet(err); err == nil || newer {
		return nil
	}
	return s.fail(ctx, "roll up usage", err)
}

// eachRecord calls fn, from several goroutines, for the records of an account that ended in [from, to) microseconds.
func (s *Store) eachRecord(ctx context.Context, account string, from, to int64, fn func(*core.Settlement)) error {
	first, last := usage.DayOf(usage.HourOf(from)), usage.DayOf(usage.HourOf(to-1))
	for day := first; day <= last; day++ {
		err := parallel(recordShards, recordShards, func(i int) error {
			end := timeText(to)
			q := span{pk: recordsPK(account, day, i), from: timeText(from), to: end}
			return s.query(ctx, "sum usage", q, func(it item) (bool, error) {
				r, err := parseRecord(it)
				if err == nil {
					fn(&r)
				}
				return true, err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// totals collects sums by group from several goroutines.
type totals struct {
	mu     sync.Mutex
	groups *usage.Groups
}

func dimsOf(account string, g group) usage.Dims {
	return usage.Dims{Account: account, Key: g.Key, Node: g.Node, Model: g.Model}
}

func (t *totals) hour(account string, hour int64, g group, one core.UsageSum) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := dimsOf(account, g)
	t.groups.Hour(&d, hour).Add(one)
}

func (t *totals) day(account string, day int64, g group, one core.UsageSum) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := dimsOf(account, g)
	t.groups.Day(&d, day).Add(one)
}

func (t *totals) record(r *core.Settlement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups.Record(r)
}

// summing is one call of Sums.
type summing struct {
	*totals
	filter  *store.UsageFilter
	kind    usage.Kind
	plan    usage.Plan
	span    usage.Range
	records bool // only they tell
}

func (t *summing) selects(account string, g group) bool {
	d := dimsOf(account, g)
	return d.Match(t.filter)
}

// ever is an hour after all others: whether an hour, or its day, has sums its item tells.
const ever = int64(24 << 25)

// Sums implements store.Usage: written sums for the days and hours that lie wholly in the filter and have them, records
// for the rest. Each is read one way or the other, so nothing counts twice.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Check(&f, by); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	fl, err := s.readFloors(ctx)
	for range usage.Again {
		if err != nil {
			return nil, err
		}
		out, err := s.sums(ctx, &f, by, &fl)
		if err != nil {
			return nil, err
		}
		// What is known may be a minute old, and what is read by it may be gone by now.
		s.floors.Store(nil)
		now, err := s.readFloors(ctx)
		if err != nil {
			return nil, err
		}
		if now.records == fl.records && now.hours == fl.hours {
			return out, nil
		}
		fl = now
	}
	return nil, s.fail(ctx, "sum usage", errors.New("others remove usage all the time: try again"))
}

// sums adds up by floors that may be out of date.
func (s *Store) sums(ctx context.Context, f *store.UsageFilter, by store.GroupBy, fl *floors) ([]core.UsageSum, error) {
	t := &summing{totals: &totals{groups: usage.NewGroups(f, by)}, filter: f, kind: usage.KindOf(f, by), span: usage.Span(f), records: usage.OfRecords(f, by)}
	if t.span.Empty() {
		return t.groups.List()
	}
	m := usage.Marks{Closed: ever, Days: ever / 24, Records: fl.records, Hours: fl.hours}
	t.plan = m.Plan(f, by)
	if t.records { // the index of hours tells where there are any
		t.plan.Hours, t.plan.Records = []usage.Range{{From: usage.HourOf(t.span.From), To: usage.HourOf(t.span.To-1) + 1}}, nil
	}
	accounts := []string{f.Account}
	if f.Account == "" {
		var err error
		if accounts, err = s.accounts(ctx); err != nil {
			return nil, err
		}
	}
	err := parallel(len(accounts), 16, func(i int) error { return s.sumAccount(ctx, accounts[i], t) })
	if err != nil {
		return nil, err
	}
	return t.groups.List()
}

// accounts are those that have usage.
func (s *Store) accounts(ctx context.Context) (out []string, err error) {
	err = s.query(ctx, "list accounts", span{pk: "A", fields: "SK"}, func(it item) (bool, error) {
		out = append(out, getS(it, "SK")[1:])
		return true, nil
	})
	return out, err
}

// sumAccount adds up one account.
func (s *Store) sumAccount(ctx context.Context, account string, t *summing) error {
	f := t.filter
	rest, err := s.sumDays(ctx, account, t)
	if err != nil {
		return err
	}
	var open []int64
	bare := bareSums{}
	hours := slices.Concat(rest, t.plan.Hours)
	for _, r := range t.readings(hours) {
		more, err := s.sumHours(ctx, account, r, hours, t, bare)
		if err != nil {
			return err
		}
		open = append(open, more...)
	}
	slices.Sort(open)
	if err := s.addCosts(ctx, f, account, bare, t.totals); err != nil {
		return err
	}
	all := *f
	all.From, all.To = time.Time{}, time.Time{}
	return s.eachHour(ctx, account, open, t.span.From, t.span.To, func(r *core.Settlement) {
		if usage.Match(&all, r) {
			t.record(r)
		}
	})
}

// readings are what to read of the index of hours: the hours that have sums, and those of which the records tell a part,
// so that partitions of records are asked only where there are any.
func (t *summing) readings(hours []usage.Range) (out []usage.Range) {
	all := slices.Clone(hours)
	for _, r := range t.plan.Records {
		if r.From < ever*usage.HourUS && r.To > -epoch*usage.HourUS { // else nothing can be there
			all = append(all, usage.Range{From: usage.HourOf(max(r.From, -epoch*usage.HourUS)), To: usage.HourOf(min(r.To, ever*usage.HourUS)-1) + 1})
		}
	}
	slices.SortFunc(all, func(a, b usage.Range) int { return cmp.Compare(a.From, b.From) })
	for _, r := range all {
		if n := len(out); n > 0 && r.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, r.To)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// eachSum calls fn for the items of hours, or days, of a partition, with the sums of a kind where they are whole.
func (s *Store) eachSum(ctx context.Context, pk string, r usage.Range, kind usage.Kind, fn func(h *hourItem) error) error {
	if r.To <= -epoch {
		return nil
	}
	const always = "SK, l, c, "
	q := span{pk: pk, from: hourText(max(r.From, -epoch+1)), to: hourText(min(r.To, ever) - 1), fields: always + "s"}
	if kind != usage.ByAll {
		q.fields = always + "mc, " + coarse(kind)
	}
	fine := make(map[int64]bool) // those of which an older program wrote the sums
	err := s.query(ctx, "sum usage", q, func(it item) (bool, error) {
		h, err := parseHourItem(it)
		if err != nil {
			return false, err
		}
		if kind != usage.ByAll && h.whole() {
			if h.sums = getB(it, coarse(kind)); !h.coarse {
				fine[h.hour] = true
				return true, nil
			}
		}
		err = fn(&h)
		return err == nil, err
	})
	if err != nil || len(fine) == 0 {
		return err
	}
	some := slices.Sorted(maps.Keys(fine))
	return s.eachSum(ctx, pk, usage.Range{From: some[0], To: some[len(some)-1] + 1}, usage.ByAll, func(h *hourItem) error {
		if !fine[h.hour] {
			return nil
		}
		return fn(h)
	})
}

// sumHours gives the hours of a reading that are whole and lie in one of the ranges hours, and returns those that must be
// added up from their records.
func (s *Store) sumHours(ctx context.Context, account string, r usage.Range, hours []usage.Range, t *summing, bare bareSums) (open []int64, err error) {
	err = s.eachSum(ctx, hoursPK(account), r, t.kind, func(h *hourItem) error {
		in := slices.ContainsFunc(hours, func(r usage.Range) bool { return r.From <= h.hour && h.hour < r.To })
		if t.records || !in || !h.whole() {
			open = append(open, h.hour)
			return nil
		}
		list, err := unpack(h.sums)
		for i := range list {
			if g := list[i].group; t.selects(account, g) {
				t.hour(account, h.hour, g, list[i].Sum)
			}
		}
		bare.note(h.hour, list)
		return err
	})
	return open, err
}

// eachHour is eachRecord for the records of hours, in order, that ended in [first, last) microseconds; neighbours are one
// reading.
func (s *Store) eachHour(ctx context.Context, account string, hours []int64, first, last int64, fn func(*core.Settlement)) error {
	for len(hours) > 0 {
		n := 1
		for n < len(hours) && hours[n] == hours[n-1]+1 {
			n++
		}
		from, to := max(first, hours[0]*usage.HourUS), min(last, (hours[n-1]+1)*usage.HourUS)
		hours = hours[n:]
		if err := s.eachRecord(ctx, account, from, to, fn); err != nil {
			return err
		}
	}
	return nil
}

// bareSums are the sums without costs that were read: how many requests each counts.
type bareSums map[int64]map[group]int64

// note notes an hour's sums if they lack costs.
func (b bareSums) note(hour int64, list []hourSum) {
	if !slices.ContainsFunc(list, func(h hourSum) bool { return !h.Costs }) {
		return
	}
	b[hour] = make(map[group]int64, len(list))
	for i := range list {
		b[hour][list[i].group] = list[i].Sum.Requests
	}
}

// addCosts adds the costs of hours whose sums have none from the records, and puts those hours up for Rollup, if their
// records are all there.
func (s *Store) addCosts(ctx context.Context, f *store.UsageFilter, account string, bare bareSums, t *totals) error {
	var mu sync.Mutex
	err := s.eachHour(ctx, account, slices.Sorted(maps.Keys(bare)), -1<<62, 1<<62, func(r *core.Settlement) {
		mu.Lock()
		defer mu.Unlock()
		hour, g := usage.HourOf(r.EndedAt.UnixMicro()), groupOf(r)
		if _, ok := bare[hour][g]; !ok {
			return // it came after the sums were read
		}
		bare[hour][g]--
		if one := usage.One(r); usage.Match(f, r) {
			t.hour(account, hour, g, core.UsageSum{CostUSD: one.CostUSD, Unpriced: one.Unpriced})
		}
	})
	if err != nil {
		return err
	}
	var again []types.WriteRequest
	for hour, left := range bare {
		whole := true
		for _, n := range left {
			whole = whole && n == 0
		}
		if whole && len(again) < maxAgain {
			again = append(again, putRequest(pending(mark{account, hour})))
		}
	}
	if len(again) > 0 {
		_ = s.batch(ctx, "mark an hour", again) // the sums are right all the same, and the next reading tries again
	}
	return nil
}
