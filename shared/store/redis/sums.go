package redis

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

var errSums = errors.New("the sums of an hour are not readable")

// groups are sums by what they are grouped by, which is Group and Hour of the key.
type groups map[core.UsageSum]*core.UsageSum

// add adds what one record, or an hour's sum, counts.
func (g groups) add(by store.GroupBy, account string, key [3]string, hour int64, one core.UsageSum) {
	var k core.UsageSum
	switch by {
	case store.GroupAccount:
		k.Group = account
	case store.GroupKey:
		k.Group = key[0]
	case store.GroupNode:
		k.Group = key[1]
	case store.GroupModel:
		k.Group = key[2]
	case store.GroupHour:
		k.Hour = time.UnixMicro(hour * usage.HourUS).UTC()
	}
	if g[k] == nil {
		sum := k
		g[k] = &sum
	}
	usage.Add(g[k], one)
}

// Sums implements store.Usage: closed hours that lie wholly in the filter by their sums, the rest by the records.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Known(by); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	g := make(groups)
	if by == store.GroupNone {
		g[core.UsageSum{}] = &core.UsageSum{}
	}
	if !span(&f).empty() {
		accounts, err := s.accountsOf(ctx, &f)
		for _, a := range accounts {
			if err = s.sumAccount(ctx, g, a, &f, by); err != nil {
				break
			}
		}
		if err != nil {
			return nil, s.fail(ctx, "sum usage", err)
		}
	}
	var out []core.UsageSum
	for _, sum := range g {
		out = append(out, *sum)
	}
	sortSums(out)
	return out, nil
}

// sumAccount adds the records before the first whole hour, the sums of whole closed hours, and the records after them.
func (s *Store) sumAccount(ctx context.Context, g groups, account string, f *store.UsageFilter, by store.GroupBy) error {
	within := span(f)
	closed, ok, err := s.closedHours(ctx, account) // it only rises, so that sums before it stay true
	if err != nil {
		return err
	}
	one := func(r *core.Settlement) {
		g.add(by, account, [3]string{r.Key, r.Node, r.Model}, usage.HourOf(r.EndedAt.UnixMicro()), usage.One(r))
	}
	end := closed
	if within.to != nil {
		end = min(end, usage.HourOf(*within.to))
	}
	hours := &goredis.ZRangeBy{Min: "-inf", Max: "(" + strconv.FormatInt(end, 10)}
	if within.from != nil {
		first := usage.HourOf(*within.from + usage.HourUS - 1)
		ok = ok && first < end
		hours.Min = strconv.FormatInt(first, 10)
		if ok && f.Session == "" {
			if err := s.each(ctx, account, f, bounds{within.from, new(first * usage.HourUS)}, one); err != nil {
				return err
			}
		}
	}
	if !ok || f.Session != "" {
		return s.each(ctx, account, f, within, one)
	}
	if err := s.sumHours(ctx, g, account, f, by, hours); err != nil {
		return err
	}
	return s.each(ctx, account, f, bounds{new(end * usage.HourUS), within.to}, one)
}

// sumHours adds the sums of closed hours.
func (s *Store) sumHours(ctx context.Context, g groups, account string, f *store.UsageFilter, by store.GroupBy, which *goredis.ZRangeBy) error {
	hours, err := s.db.ZRangeByScore(ctx, s.keys.hours(account), which).Result()
	if err != nil {
		return err
	}
	for len(hours) > 0 {
		n := min(len(hours), page)
		pipe := s.db.Pipeline()
		sums, costs := make([]*goredis.MapStringStringCmd, n), make([]*goredis.MapStringStringCmd, n)
		for i, h := range hours[:n] {
			sums[i], costs[i] = pipe.HGetAll(ctx, s.keys.sums(account, h)), pipe.HGetAll(ctx, s.keys.costs(account, h))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		for i := range sums {
			hour, err := strconv.ParseInt(hours[i], 10, 64)
			if err != nil {
				return errSums
			}
			if err := s.addHour(ctx, g, by, account, f, hour, sums[i].Val(), costs[i].Val()); err != nil {
				return err
			}
		}
		hours = hours[n:]
	}
	return nil
}

// addHour adds one closed hour. Where its costs are not those of all its requests, because an older program closed it or
// added to it, they come from the records.
func (s *Store) addHour(ctx context.Context, g groups, by store.GroupBy, account string, f *store.UsageFilter, hour int64, fields, costs map[string]string) error {
	sums, err := parseHour(fields, sumNumbers)
	if err != nil {
		return err
	}
	costed, err := parseHour(costs, costNumbers)
	if err != nil {
		return err
	}
	whole := true
	for key, sum := range sums {
		c := costed[key]
		whole = whole && c != nil && c.Requests == sum.Requests
	}
	for key, sum := range sums {
		if (f.Key != "" && f.Key != key[0]) || (f.Node != "" && f.Node != key[1]) || (f.Model != "" && f.Model != key[2]) {
			continue
		}
		if whole {
			sum.CostUSD, sum.Unpriced = costed[key].CostUSD, costed[key].Unpriced
		}
		g.add(by, account, key, hour, *sum)
	}
	if whole {
		return nil
	}
	return s.each(ctx, account, f, hourBounds(hour), func(r *core.Settlement) {
		key, one := [3]string{r.Key, r.Node, r.Model}, usage.One(r)
		if sums[key] != nil {
			g.add(by, account, key, hour, core.UsageSum{CostUSD: one.CostUSD, Unpriced: one.Unpriced})
		}
	})
}

func hourBounds(hour int64) bounds {
	return bounds{new(hour * usage.HourUS), new((hour + 1) * usage.HourUS)}
}

// parseHour reads the fields of one closed hour, "number:group" -> value.
func parseHour(fields map[string]string, list func(*core.UsageSum) []*int64) (map[[3]string]*core.UsageSum, error) {
	out := map[[3]string]*core.UsageSum{}
	for name, text := range fields {
		number, group, ok := strings.Cut(name, ":")
		i, err := strconv.Atoi(number)
		value, err2 := strconv.ParseInt(text, 10, 64)
		var key [3]string
		if !ok || err != nil || err2 != nil || json.Unmarshal([]byte(group), &key) != nil {
			return nil, errSums
		}
		if out[key] == nil {
			out[key] = &core.UsageSum{}
		}
		numbers := list(out[key])
		if i < 0 || i >= len(numbers) {
			return nil, errSums
		}
		*numbers[i] = value
	}
	return out, nil
}

// fields are sums as parseHour reads them.
func (c *call) fields(sums map[[3]string]*core.UsageSum, list func(*core.UsageSum) []*int64) error {
	for key, sum := range sums {
		group, err := groupOf(&core.Settlement{Key: key[0], Node: key[1], Model: key[2]})
		if err != nil {
			return err
		}
		for i, n := range list(sum) {
			c.str(strconv.Itoa(i) + ":" + group).num(*n)
		}
	}
	return nil
}

// Rollup implements store.Usage. It writes the sums of an hour when it closes it; a record that comes for a closed hour
// adds itself to the sums in the step that stores it.
func (s *Store) Rollup(ctx context.Context, now time.Time) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	accounts, err := s.db.SMembers(ctx, s.keys.accounts()).Result()
	for _, a := range accounts {
		if err = s.closeHours(ctx, a, usage.Closed(now)); err == nil {
			err = s.addCosts(ctx, a)
		}
		if err != nil {
			break
		}
	}
	return s.fail(ctx, "roll up usage", err)
}

// maxTries bounds how often an hour is summed again because a record came or another instance was at it.
const maxTries = 20

func (s *Store) closeHours(ctx context.Context, account string, to int64) error {
	for tries := 0; tries < maxTries; {
		from, ok, err := s.closedHours(ctx, account)
		if err != nil || (ok && from >= to) {
			return err
		}
		done, err := s.closeOne(ctx, account, from, ok, to)
		if err != nil {
			return err
		}
		if done {
			tries = 0
		} else {
			tries++
		}
	}
	return errors.New("records keep coming for an hour that is over: the next call goes on")
}

// closeOne closes the hours up to and with the next that has records, or all up to to. It reports false when a record
// or another instance came in between.
func (s *Store) closeOne(ctx context.Context, account string, from int64, ok bool, to int64) (bool, error) {
	all, old := bounds{to: new(to * usage.HourUS)}, ""
	if ok {
		all.from, old = new(from*usage.HourUS), strconv.FormatInt(from, 10)
	}
	first, err := s.db.ZRangeByScoreWithScores(ctx, s.keys.records(account), &goredis.ZRangeBy{Min: all.min(), Max: all.max(), Count: 1}).Result()
	if err != nil {
		return false, err
	}
	hour, count, sums := from, int64(0), map[[3]string]*core.UsageSum(nil)
	if len(first) > 0 {
		hour = usage.HourOf(int64(first[0].Score))
		to = hour + 1
		all.to = new(to * usage.HourUS)
		if sums, count, err = s.sumUp(ctx, account, all); err != nil {
			return false, err
		}
	}
	k, text := &s.keys, strconv.FormatInt(hour, 10)
	c := s.scripts.close.call(k.closed(account), k.records(account), k.sums(account, text), k.hours(account), k.costs(account, text), k.costed(account)).
		str(old).num(to).str(text, all.min(), all.max()).num(count, int64(2*len(sums)*len(sumNumbers(&core.UsageSum{}))))
	if err := errors.Join(c.fields(sums, sumNumbers), c.fields(sums, costNumbers)); err != nil {
		return false, err
	}
	n, err := s.run(ctx, &s.scripts.close, false, c).Int64()
	return n == 1, err
}

// sumUp adds up an account's records within bounds and counts them.
func (s *Store) sumUp(ctx context.Context, account string, within bounds) (sums map[[3]string]*core.UsageSum, count int64, err error) {
	sums = map[[3]string]*core.UsageSum{}
	err = s.each(ctx, account, &store.UsageFilter{}, within, func(r *core.Settlement) {
		key := [3]string{r.Key, r.Node, r.Model}
		if sums[key] == nil {
			sums[key] = &core.UsageSum{}
		}
		usage.Add(sums[key], usage.One(r))
		count++
	})
	return sums, count, err
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
