package redis

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// fields are sums as parseHour reads them.
func (c *call) fields(all usage.Tallies, list func(*core.UsageSum) []*int64) error {
	for d, t := range all {
		group, err := groupOf(d)
		if err != nil {
			return err
		}
		sum := t.Sum()
		for i, n := range list(&sum) {
			c.str(strconv.Itoa(i) + ":" + group).num(*n)
		}
	}
	return nil
}

// Rollup implements store.Usage. It writes the sums of an hour when it closes it, and those of a day when all its hours
// are closed; a record that comes for a closed hour adds itself to the sums in the step that stores it.
func (s *Store) Rollup(ctx context.Context, now time.Time) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	accounts, err := s.db.SMembers(ctx, s.keys.accounts()).Result()
	if err != nil {
		return s.fail(ctx, "roll up usage", err)
	}
	var busy error
	for _, a := range accounts {
		switch err := s.rollup(ctx, a, usage.Closed(now)); {
		case errors.Is(err, errBusy): // the others need not wait for it
			busy = err
		case err != nil:
			return s.fail(ctx, "roll up usage", err)
		}
	}
	return s.fail(ctx, "roll up usage", busy)
}

func (s *Store) rollup(ctx context.Context, account string, to int64) error {
	for _, step := range []func(ctx context.Context, account string) error{
		func(ctx context.Context, account string) error { return s.closeHours(ctx, account, to) }, s.addCosts, s.closeDays, s.tidy,
	} {
		if err := step(ctx, account); err != nil {
			return err
		}
	}
	return nil
}

// maxTries bounds how often an hour or day is summed again because a record came or another instance was at it.
const maxTries = 100

var errBusy = errors.New("others change the same usage all the time: try again")

// repeat calls step until there is nothing left to do. It gives up where nothing gets done: place is how far it is, and
// moves also when another instance does the work.
func repeat(step func() (place int64, more bool, err error)) error {
	last := int64(math.MinInt64)
	for tries := 0; tries < maxTries; tries++ {
		place, more, err := step()
		if err != nil || !more {
			return err
		}
		if place != last {
			last, tries = place, 0
		}
	}
	return errBusy
}

func (s *Store) closeHours(ctx context.Context, account string, to int64) error {
	return repeat(func() (int64, bool, error) {
		from, ok, err := s.closedHours(ctx, account)
		if err != nil || (ok && from >= to) {
			return 0, false, err
		}
		return from, true, s.closeOne(ctx, account, from, ok, to)
	})
}

// closedHours reads the first hour of an account that is not closed; ok is false when none was ever closed.
func (s *Store) closedHours(ctx context.Context, account string) (hour int64, ok bool, err error) {
	hour, err = s.db.Get(ctx, s.keys.closed(account)).Int64()
	if errors.Is(err, goredis.Nil) {
		return math.MinInt64 / usage.HourUS, false, nil
	}
	return hour, err == nil, err
}

// closeOne closes the hours up to and with the next that has records, or all up to to, unless a record or another
// instance comes in between.
func (s *Store) closeOne(ctx context.Context, account string, from int64, ok bool, to int64) error {
	all, old := bounds{to: new(to * usage.HourUS)}, ""
	if ok {
		all.from, old = new(from*usage.HourUS), strconv.FormatInt(from, 10)
	}
	first, err := s.db.ZRangeByScoreWithScores(ctx, s.keys.records(account), &goredis.ZRangeBy{Min: all.min(), Max: all.max(), Count: 1}).Result()
	if err != nil {
		return err
	}
	hour, count, sums := from, int64(0), usage.Tallies(nil)
	if len(first) > 0 {
		hour = usage.HourOf(int64(first[0].Score))
		to = hour + 1
		all.to = new(to * usage.HourUS)
		// Of this hour alone, though all before it is counted: a record of an earlier one may have come meanwhile.
		if sums, count, err = s.sumUp(ctx, account, hourBounds(hour)); err != nil {
			return err
		}
	}
	k, text := &s.keys, strconv.FormatInt(hour, 10)
	var one core.UsageSum
	c := s.scripts.close.call(k.closed(account), k.records(account), k.sums(account, text), k.hours(account), k.costs(account, text), k.costed(account)).
		key(k.kinds(k.whole, account, text)...).
		str(old).num(to).str(text, all.min(), all.max()).num(count, int64(2*len(sums)*len(sumNumbers(&one))))
	if len(sums) > 0 {
		texts, err := textsOf(sums)
		if err != nil {
			return err
		}
		c.str(texts[:]...)
	}
	if err := errors.Join(c.fields(sums, sumNumbers), c.fields(sums, costNumbers)); err != nil {
		return err
	}
	return s.run(ctx, &s.scripts.close, false, c).Err()
}

// sumUp adds up an account's records within bounds and counts them.
func (s *Store) sumUp(ctx context.Context, account string, within bounds) (all usage.Tallies, count int64, err error) {
	all = make(usage.Tallies)
	err = s.each(ctx, account, &store.UsageFilter{}, within, func(r *core.Settlement) {
		all.Of(usage.ByAll.Keep(usage.DimsOf(r))).Record(r)
		count++
	})
	return all, count, err
}

// closeDays writes the sums of the days whose hours are all closed.
func (s *Store) closeDays(ctx context.Context, account string) error {
	return repeat(func() (int64, bool, error) {
		since := &daysSince{}
		var err error
		if since.late, err = s.db.HGet(ctx, s.keys.marks(account), "w").Result(); err != nil && !missing(err) {
			return 0, false, err
		}
		if since.Marks, since.changes, err = s.marks(ctx, account); err != nil {
			return 0, false, err
		}
		to := usage.DayOf(since.Closed)
		if to <= since.Days {
			return 0, false, nil
		}
		return since.Days, true, s.closeDay(ctx, account, since, to)
	})
}

// daysSince is what days that are being closed began from. What changed of it since tells that they must be looked at anew.
type daysSince struct {
	usage.Marks
	changes string // how often hours had gone
	late    string // how often records had come late for days that could be closed
}

// closeDay writes the sums of the next day that has hours and closes the days up to it, or all up to to. The two days
// before are written anew: a program that knows no days may have taken a late record meanwhile. It stops when hours
// changed in between.
func (s *Store) closeDay(ctx context.Context, account string, m *daysSince, to int64) error {
	next, err := s.db.ZRangeByScore(ctx, s.keys.hours(account), &goredis.ZRangeBy{Min: strconv.FormatInt(m.Days*24, 10), Max: "(" + strconv.FormatInt(to*24, 10), Count: 1}).Result()
	if err != nil {
		return err
	}
	if len(next) == 0 {
		_, err := s.putDay(ctx, account, m, to-1, to)
		return err
	}
	hour, err := strconv.ParseInt(next[0], 10, 64)
	if err != nil {
		return errSums
	}
	last := usage.DayOf(hour)
	for day := max(last-2, usage.DayOf(m.Hours)); day <= last; day++ {
		closes := m.Days // those that are closed stay so
		if day == last {
			closes = last + 1
		}
		if done, err := s.putDay(ctx, account, m, day, closes); err != nil || !done {
			return err
		}
	}
	return nil
}

// putDay writes the sums of a day and closes the days before another. It reports false when something changed since m: hours
// went, or a record came late for the day or for any that is to be closed, also for one that had nothing.
func (s *Store) putDay(ctx context.Context, account string, m *daysSince, day, closes int64) (bool, error) {
	k, text := &s.keys, strconv.FormatInt(day, 10)
	late, err := s.db.HGet(ctx, k.marks(account), "v"+text).Result()
	if err != nil && !missing(err) {
		return false, err
	}
	all := make(usage.Tallies)
	h := &hours{s: s, reader: newReader(), account: account, records: m.Records, kind: usage.ByAll}
	err = h.each(ctx, usage.Range{From: day * 24, To: day*24 + 24}, func(d usage.Dims, _ int64, sum *core.UsageSum, first, total string) {
		all.Of(d).AddText(sum, first, total)
	})
	if err != nil {
		return false, err
	}
	c := s.scripts.day.call(k.marks(account), k.days(account)).key(k.kinds(k.daySums, account, text)...).str(m.changes, late, text).num(closes).str(m.late)
	if len(all) > 0 {
		texts, err := textsOf(all)
		if err != nil {
			return false, err
		}
		c.str(texts[:]...)
	}
	n, err := s.run(ctx, &s.scripts.day, false, c).Int64()
	return n == 1, err
}

// addCosts writes the costs of hours that a program closed which knows none, the newest first. One that a record
// arrives for meanwhile waits for the next call.
func (s *Store) addCosts(ctx context.Context, account string) error {
	k := &s.keys
	pipe := s.db.Pipeline()
	closed, costed := pipe.ZCard(ctx, k.hours(account)), pipe.ZCard(ctx, k.costed(account))
	if _, err := pipe.Exec(ctx); err != nil || closed.Val() == costed.Val() {
		return err
	}
	m, _, err := s.marks(ctx, account)
	if err != nil {
		return err
	}
	have, err := s.db.ZRange(ctx, k.costed(account), 0, -1).Result()
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(have))
	for _, h := range have {
		known[h] = true
	}
	hours, err := s.db.ZRevRange(ctx, k.hours(account), 0, -1).Result()
	if err != nil {
		return err
	}
	for _, text := range hours {
		if known[text] {
			continue
		}
		hour, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errSums
		}
		if hour < m.Records { // the rest have none, either
			return nil
		}
		within := hourBounds(hour)
		sums, count, err := s.sumUp(ctx, account, within)
		if err != nil {
			return err
		}
		c := s.scripts.costs.call(k.records(account), k.costs(account, text), k.costed(account)).str(text, within.min(), within.max()).num(count)
		if err := c.fields(sums, costNumbers); err != nil {
			return err
		}
		if err := s.run(ctx, &s.scripts.costs, false, c).Err(); err != nil {
			return err
		}
	}
	return nil
}

// retainAtOnce is about how much one call of Retain removes.
const retainAtOnce = 20_000

// Retain implements store.Usage, account by account, by the sorted sets: nothing is looked for.
func (s *Store) Retain(ctx context.Context, now time.Time, keep store.Retention) (int, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	accounts, err := s.db.SMembers(ctx, s.keys.accounts()).Result()
	removed := 0
	for _, a := range accounts {
		if err != nil || removed >= retainAtOnce {
			break
		}
		removed, err = s.retain(ctx, a, now, keep, removed)
	}
	return removed, s.fail(ctx, "retain usage", err)
}

func (s *Store) retain(ctx context.Context, account string, now time.Time, keep store.Retention, removed int) (int, error) {
	m, _, err := s.marks(ctx, account)
	if err != nil {
		return removed, err
	}
	due := m.Due(now, keep)
	if due.Records > m.Records || due.Hours > m.Hours {
		if err := s.run(ctx, &s.scripts.keep, true, s.scripts.keep.call(s.keys.marks(account)).num(due.Records, due.Hours)).Err(); err != nil {
			return removed, err
		}
	}
	parts := s.parts(account)
	below := func(n int64) string { return "(" + strconv.FormatInt(n, 10) }
	for _, c := range []struct {
		part  part
		below string
		keep  time.Duration
	}{
		{parts[0], below(due.Records * usage.HourUS), keep.Records},
		{parts[1], below(due.Hours), keep.Hours}, {parts[2], below(due.Hours), keep.Hours},
		{parts[3], below(due.Days), keep.Days},
	} {
		for more := c.keep > 0; more && removed < retainAtOnce; {
			n, err := s.removeFirst(ctx, &c.part, c.below)
			if err != nil {
				return removed, err
			}
			removed += n
			more = n > 0
		}
	}
	return removed, nil
}
