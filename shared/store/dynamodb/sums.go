package dynamodb

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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

// maxSums bounds the packed sums of one hour of one account; a larger hour stays open, and is summed from its records.
const maxSums = 350_000

// group is what sums of an hour are kept apart by.
type group struct {
	Key   string `json:"k,omitempty"`
	Node  string `json:"n,omitempty"`
	Model string `json:"m,omitempty"`
}

// hourSum is one group's sum of an hour.
type hourSum struct {
	group
	Sum   core.UsageSum `json:"s"`
	Costs bool          `json:"c,omitempty"` // Sum has them; false: a program wrote it that knows none
}

func pack(sums map[group]*core.UsageSum) ([]byte, error) {
	list := make([]hourSum, 0, len(sums))
	for g, s := range sums {
		list = append(list, hourSum{g, *s, true})
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(w).Encode(list); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

func unpack(b []byte) (list []hourSum, err error) {
	r := io.LimitReader(flate.NewReader(bytes.NewReader(b)), 200*maxSums)
	if err = json.NewDecoder(r).Decode(&list); err != nil {
		err = fmt.Errorf("sums are not readable: %w", err)
	}
	return list, err
}

// hourItem is what the index knows of one hour of an account.
type hourItem struct {
	hour     int64
	late     int64 // records that came late
	included int64 // late when the sums were written
	closed   bool  // sums were written
	sums     []byte
}

func parseHourItem(it item) (h hourItem, err error) {
	h.hour, err = parseHour(getS(it, "SK"))
	h.late, _ = getN(it, "l")
	h.included, h.closed = getN(it, "c")
	h.sums = getB(it, "s")
	return h, err
}

// whole reports whether the sums are those of all records.
func (h *hourItem) whole() bool { return h.closed && h.included == h.late }

// Rollup implements store.Usage: it writes the sums of the hours that are closed and pending.
func (s *Store) Rollup(ctx context.Context, now time.Time) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	type work struct {
		mark
		token string
	}
	var todo []work
	end := hourText(usage.Closed(s.clock.correct(now)))
	err := s.query(ctx, "list pending hours", span{pk: "P", to: end}, func(it item) (bool, error) {
		text, account, ok := strings.Cut(getS(it, "SK"), "#")
		hour, err := parseHour(text)
		if ok && err == nil {
			todo = append(todo, work{mark{account, hour}, getS(it, "t")})
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return parallel(len(todo), 4, func(i int) error { return s.closeHour(ctx, todo[i].mark, todo[i].token) })
}

// closeHour writes the sums of one hour and ends its being pending, unless another entry came meanwhile.
func (s *Store) closeHour(ctx context.Context, at mark, token string) error {
	k := key(hoursPK(at.account), hourText(at.hour))
	it, err := s.get(ctx, "roll up usage", k, "l")
	if err != nil {
		return err
	}
	late, _ := getN(it, "l")
	sums := make(map[group]*core.UsageSum)
	from, to := at.hour*usage.HourUS, (at.hour+1)*usage.HourUS
	var mu sync.Mutex
	err = s.eachRecord(ctx, at.account, from, to, func(r *core.Settlement) {
		mu.Lock()
		defer mu.Unlock()
		addTo(sums, group{r.Key, r.Node, r.Model}, usage.One(r))
	})
	if err != nil {
		return err
	}
	packed, err := pack(sums)
	if err != nil {
		return err
	}
	if len(packed) <= maxSums && len(sums) > 0 {
		cond := "l = :l"
		if late == 0 {
			cond = "attribute_not_exists(l)"
		}
		in := &sdk.UpdateItemInput{Key: k, UpdateExpression: new("SET c = :l, s = :s"), ConditionExpression: &cond,
			ExpressionAttributeValues: item{":l": num(late), ":s": bin(packed)}}
		if _, _, err := s.update(ctx, "roll up usage", in); err != nil {
			if _, raced := unmet(err); raced {
				return nil // a record came: the hour stays pending
			}
			return s.fail(ctx, "roll up usage", err)
		}
	}
	_, _, err = call(ctx, s, "roll up usage", func(ctx context.Context) (*sdk.DeleteItemOutput, error) {
		return s.db.DeleteItem(ctx, &sdk.DeleteItemInput{TableName: &s.table, Key: key("P", hourText(at.hour)+"#"+at.account),
			ConditionExpression: new("t = :t"), ExpressionAttributeValues: item{":t": str(token)}})
	})
	if _, newer := unmet(err); err == nil || newer {
		return nil
	}
	return s.fail(ctx, "roll up usage", err)
}

func addTo[K comparable](sums map[K]*core.UsageSum, k K, one core.UsageSum) {
	sum := sums[k]
	if sum == nil {
		sum = &core.UsageSum{}
		sums[k] = sum
	}
	usage.Add(sum, one)
}

// eachRecord calls fn, from several goroutines, for the records of an account that ended in [from, to) microseconds.
func (s *Store) eachRecord(ctx context.Context, account string, from, to int64, fn func(*core.Settlement)) error {
	first, last := dayOf(usage.HourOf(from)), dayOf(usage.HourOf(to-1))
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
	mu   sync.Mutex
	by   store.GroupBy
	sums map[core.UsageSum]*core.UsageSum // by Group and Hour
}

func (t *totals) add(account string, hour int64, g group, one core.UsageSum) {
	var k core.UsageSum
	switch t.by {
	case store.GroupAccount:
		k.Group = account
	case store.GroupKey:
		k.Group = g.Key
	case store.GroupNode:
		k.Group = g.Node
	case store.GroupModel:
		k.Group = g.Model
	case store.GroupHour:
		k.Hour = time.UnixMicro(hour * usage.HourUS).UTC()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	addTo(t.sums, k, one)
}

func (t *totals) list() []core.UsageSum {
	if t.by == store.GroupNone && len(t.sums) == 0 {
		return []core.UsageSum{{}}
	}
	var out []core.UsageSum
	for k, s := range t.sums {
		s.Group, s.Hour = k.Group, k.Hour
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b core.UsageSum) int {
		return cmp.Or(a.Hour.Compare(b.Hour), strings.Compare(a.Group, b.Group))
	})
	return out
}

// Sums implements store.Usage: written sums for the hours that lie wholly in the filter and have them, records for the
// rest. Each hour is read one way or the other, so nothing counts twice.
func (s *Store) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if err := usage.Known(by); err != nil {
		return nil, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	t := &totals{by: by, sums: make(map[core.UsageSum]*core.UsageSum)}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return t.list(), nil
	}
	accounts := []string{f.Account}
	if f.Account == "" {
		accounts = nil
		err := s.query(ctx, "list accounts", span{pk: "A", fields: "SK"}, func(it item) (bool, error) {
			accounts = append(accounts, getS(it, "SK")[1:])
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	err := parallel(len(accounts), 8, func(i int) error { return s.sumAccount(ctx, &f, accounts[i], t) })
	if err != nil {
		return nil, err
	}
	return t.list(), nil
}

// sumAccount adds up one account.
func (s *Store) sumAccount(ctx context.Context, f *store.UsageFilter, account string, t *totals) error {
	q := span{pk: hoursPK(account)}
	first, last := int64(-1<<62), int64(1<<62) // microseconds
	if !f.From.IsZero() {
		first = f.From.UnixMicro()
		q.from = hourText(usage.HourOf(first))
	}
	if !f.To.IsZero() {
		last = f.To.UnixMicro()
		q.to = hourText(usage.HourOf(last - 1))
	}
	var open []int64
	bare := bareSums{}
	err := s.query(ctx, "sum usage", q, func(it item) (bool, error) {
		h, err := parseHourItem(it)
		if err != nil {
			return false, err
		}
		inside := h.hour*usage.HourUS >= first && (h.hour+1)*usage.HourUS <= last
		if !inside || f.Session != "" || !h.whole() {
			open = append(open, h.hour)
			return true, nil
		}
		list, err := unpack(h.sums)
		for i := range list {
			if g := list[i].group; f.Key != "" && f.Key != g.Key || f.Node != "" && f.Node != g.Node || f.Model != "" && f.Model != g.Model {
				continue
			}
			t.add(account, h.hour, list[i].group, list[i].Sum)
		}
		bare.note(h.hour, list)
		return true, err
	})
	if err != nil {
		return err
	}
	if err := s.addCosts(ctx, f, account, bare, t); err != nil {
		return err
	}
	return s.eachHour(ctx, account, open, first, last, func(r *core.Settlement) {
		if usage.Match(f, r) {
			t.add(r.Account, usage.HourOf(r.EndedAt.UnixMicro()), group{r.Key, r.Node, r.Model}, usage.One(r))
		}
	})
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
		hour, g := usage.HourOf(r.EndedAt.UnixMicro()), group{r.Key, r.Node, r.Model}
		if _, ok := bare[hour][g]; !ok {
			return // it came after the sums were read
		}
		bare[hour][g]--
		if one := usage.One(r); usage.Match(f, r) {
			t.add(account, hour, g, core.UsageSum{CostUSD: one.CostUSD, Unpriced: one.Unpriced})
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
