package dynamodb

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

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
	Sum core.UsageSum `json:"s"`
}

func pack(sums map[group]*core.UsageSum) ([]byte, error) {
	list := make([]hourSum, 0, len(sums))
	for g, s := range sums {
		list = append(list, hourSum{g, *s})
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
		return true, err
	})
	if err != nil {
		return err
	}
	for len(open) > 0 { // neighbours in one reading
		n := 1
		for n < len(open) && open[n] == open[n-1]+1 {
			n++
		}
		from, to := max(first, open[0]*usage.HourUS), min(last, (open[n-1]+1)*usage.HourUS)
		open = open[n:]
		err := s.eachRecord(ctx, account, from, to, func(r *core.Settlement) {
			if usage.Match(f, r) {
				t.add(r.Account, usage.HourOf(r.EndedAt.UnixMicro()), group{r.Key, r.Node, r.Model}, usage.One(r))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
