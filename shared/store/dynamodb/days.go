package dynamodb

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/core"
	"sluice/shared/store/internal/usage"
)

// ttlGrace is how long after its time an item is removed by the table's TTL: by then Retain has noted that it may be gone.
const ttlGrace = 24 * time.Hour

// ttl sets the time at which the table may remove an item, if that is still to come.
func (s *Store) ttl(it item, end time.Time, keep time.Duration) {
	if at := end.Add(keep + ttlGrace); keep > 0 && at.After(s.clock.correct(s.clock.now())) {
		it["ttl"] = num(at.Unix())
	}
}

func daysPK(account string) string { return "Z#" + account }

// dayItem is the sums of one day of an account.
type dayItem struct {
	hourItem      // hour is the day
	gone     bool // its hours may be
}

func parseDayItem(it item) (dayItem, error) {
	h, err := parseHourItem(it)
	_, gone := getN(it, "g")
	return dayItem{h, gone}, err
}

// closeDays writes the sums of the days that are over and pending.
func (s *Store) closeDays(ctx context.Context, closed int64) error {
	type work struct {
		mark
		token string
	}
	var todo []work
	err := s.query(ctx, "list pending days", span{pk: "PD", to: hourText(usage.DayOf(closed))}, func(it item) (bool, error) {
		at, err := parseWork(getS(it, "SK"))
		if err == nil {
			todo = append(todo, work{at, getS(it, "t")})
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return parallel(len(todo), 4, func(i int) error {
		done, err := s.closeDay(ctx, todo[i].account, todo[i].hour, false)
		if err != nil || !done {
			return err
		}
		return s.served(ctx, "PD", todo[i].mark, todo[i].token)
	})
}

// closeDay writes the sums of a day. It reports false when that must wait: an hour of it is not closed, or a record came.
// A day that does not fit an item is left to be added up from its hours, unless these are about to go.
func (s *Store) closeDay(ctx context.Context, account string, day int64, last bool) (done bool, err error) {
	k := key(daysPK(account), hourText(day))
	it, err := s.get(ctx, "roll up usage", k, "l, c, g, SK")
	if err != nil {
		return false, err
	}
	var old dayItem
	if it != nil {
		if old, err = parseDayItem(it); err != nil || old.gone {
			return old.gone, err
		}
	}
	all := make(usage.Tallies)
	var again []mark
	hours, folded := 0, false
	err = s.query(ctx, "roll up usage", span{pk: hoursPK(account), from: hourText(day * 24), to: hourText(day*24 + 23), fields: "SK, l, c, g, s"}, func(it item) (bool, error) {
		h, err := parseDayItem(it)
		if err != nil {
			return false, err
		}
		hours++
		var list []hourSum
		if h.whole() {
			list, err = unpack(h.sums)
		}
		if !h.gone && (!h.whole() || slices.ContainsFunc(list, func(h hourSum) bool { return !h.Costs })) {
			again = append(again, mark{account, h.hour})
		}
		for i := range list {
			all.Of(dimsOf("", list[i].group)).Add(list[i].Sum)
		}
		if len(all) > maxGroups {
			all, folded = fold(all, maxGroups/2), true
		}
		return true, err
	})
	if err != nil {
		return false, err
	}
	for _, at := range again { // a later call finds them closed, with costs
		if err := s.closeHour(ctx, at, ""); err != nil {
			return false, err
		}
	}
	if len(again) > 0 {
		return false, nil
	}
	if hours == 0 || folded && !last {
		return true, nil
	}
	return s.putDay(ctx, k, &old, day, all, last)
}

// putDay writes a day's sums unless a record came since old was read.
func (s *Store) putDay(ctx context.Context, k item, old *dayItem, day int64, all usage.Tallies, last bool) (done bool, err error) {
	u, err := writing(all, old.late)
	if err != nil || u.folded && !last {
		return true, err
	}
	end := item{}
	s.ttl(end, time.UnixMicro((day+1)*24*usage.HourUS), s.keep().Days)
	in := u.input(k)
	if at, ok := end["ttl"]; ok {
		u.set += ", #t = :e"
		u.values[":e"] = at
		in = u.input(k)
		in.ExpressionAttributeNames = map[string]string{"#t": "ttl"} // a reserved word
	}
	_, _, err = s.update(ctx, "roll up usage", in)
	if _, raced := unmet(err); raced {
		return false, nil
	}
	if err != nil {
		return false, s.fail(ctx, "roll up usage", err)
	}
	return true, nil
}

// sumDays gives the whole days of the plan and returns those that must be added up otherwise, as ranges of hours.
func (s *Store) sumDays(ctx context.Context, account string, t *summing) (rest []usage.Range, err error) {
	days := t.plan.Days
	if days.Empty() {
		return nil, nil
	}
	var told []int64
	err = s.eachSum(ctx, daysPK(account), days, t.kind, func(d *hourItem) error {
		if !d.whole() {
			return nil
		}
		list, err := unpack(d.sums)
		for i := range list {
			if g := list[i].group; t.selects(account, g) {
				t.day(account, d.hour, g, list[i].Sum)
			}
		}
		told = append(told, d.hour)
		return err
	})
	slices.Sort(told)
	next := days.From
	for _, day := range append(told, days.To) {
		if next < day {
			rest = append(rest, usage.Range{From: next * 24, To: day * 24})
		}
		next = day + 1
	}
	return rest, err
}

// addAncient stores a record whose hour's records, or whose day's hours, may be gone: it is added to their sums in the
// same step. It reports false when nothing is gone.
func (s *Store) addAncient(ctx context.Context, it item, r *core.Settlement, at mark) (fresh, ancient bool, err error) {
	for range 20 {
		hourKey, dayKey := key(hoursPK(at.account), hourText(at.hour)), key(daysPK(at.account), hourText(usage.DayOf(at.hour)))
		hour, err := s.get(ctx, "record", hourKey, "")
		if err != nil {
			return false, false, err
		}
		day, err := s.get(ctx, "record", dayKey, "")
		if err != nil {
			return false, false, err
		}
		writes := []types.TransactWriteItem{s.putNew(it)}
		switch {
		case hasN(day, "g"):
			writes, err = s.addTo(writes, dayKey, day, r)
		case hasN(hour, "g"):
			writes = append(writes, s.count(dayKey), s.putAny(pendingDay(at)))
			writes, err = s.addTo(writes, hourKey, hour, r)
		default:
			return false, false, nil
		}
		if err == nil {
			err = s.transact(ctx, "record", writes)
		}
		if err == nil {
			return true, true, nil
		}
		switch unmetAt(err) {
		case 0:
			return false, true, nil
		case -1:
			return false, true, s.fail(ctx, "record", err)
		}
	}
	return false, true, s.fail(ctx, "record", errors.New("others change the sums of its hour all the time"))
}

// putNew stores an item unless it is there.
func (s *Store) putNew(it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: &s.table, Item: it, ConditionExpression: new("attribute_not_exists(PK)")}}
}

func (s *Store) putAny(it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: &s.table, Item: it}}
}

// count tells that sums lack a record, unless what they were made of may be gone.
func (s *Store) count(k item) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{TableName: &s.table, Key: k, UpdateExpression: new("ADD l :o"),
		ConditionExpression: new("attribute_not_exists(g)"), ExpressionAttributeValues: item{":o": num(1)}}}
}

// addTo adds a record to the sums that an item has.
func (s *Store) addTo(writes []types.TransactWriteItem, k, it item, r *core.Settlement) ([]types.TransactWriteItem, error) {
	old := getB(it, "s")
	list, err := unpack(old)
	if err != nil {
		return nil, err
	}
	all := make(usage.Tallies)
	for i := range list {
		all.Of(dimsOf("", list[i].group)).Add(list[i].Sum)
	}
	all.Of(dimsOf("", groupOf(r))).Record(r)
	c, _ := getN(it, "c")
	u, err := newSums(all, c, maxGrown)
	if err != nil {
		return nil, err
	}
	u.values[":o"] = bin(old)
	return append(writes, types.TransactWriteItem{Update: &types.Update{TableName: &s.table, Key: k, UpdateExpression: u.expression(),
		ConditionExpression: new("s = :o"), ExpressionAttributeValues: u.values}}), nil
}

func groupOf(r *core.Settlement) group { return group{r.Key, r.Node, r.Model} }

func hasN(it item, name string) bool {
	_, ok := getN(it, name)
	return ok
}
