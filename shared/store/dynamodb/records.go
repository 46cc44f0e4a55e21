package dynamodb

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

const (
	recordShards = 4
	// lateBefore is how long before an hour closes a record for it counts as late: longer than a call may take.
	lateBefore = time.Minute
	// markFor is how long this instance trusts that the index knows an hour. It bounds for how long records that follow
	// a deletion of the account's usage are not listed.
	markFor = 10 * time.Minute
)

// mark names an hour of an account.
type mark struct {
	account string
	hour    int64
}

// dayOf is the day that an hour is in.
func dayOf(hour int64) int64 {
	if hour < 0 {
		return (hour - 23) / 24
	}
	return hour / 24
}

func recordsPK(account string, day int64, shard int) string {
	return "R#" + account + "#" + hourText(day) + "#" + strconv.Itoa(shard)
}

func recordSK(us int64, request string) string { return timeText(us) + "#" + request }

// record stores a record unless it is there, and reports whether it is new. The index of hours comes with it: before,
// where the hour is closed or about to be, in one transaction, so that its sums are known to be out of date.
func (s *Store) record(ctx context.Context, rec *core.Settlement) (fresh bool, err error) {
	r := *rec
	usage.Normalize(&r)
	body, err := json.Marshal(&r)
	if err != nil {
		return false, fmt.Errorf("encode a record: %w", err)
	}
	us := r.EndedAt.UnixMicro()
	at := mark{r.Account, usage.HourOf(us)}
	it := key(recordsPK(r.Account, dayOf(at.hour), spread(r.RequestID, recordShards)), recordSK(us, r.RequestID))
	it["b"] = bin(body)
	if at.hour < usage.Closed(s.clock.correct(s.clock.now()).Add(lateBefore)) {
		return s.recordLate(ctx, it, at)
	}
	var wg sync.WaitGroup
	var merr error
	wg.Go(func() { merr = s.markHour(ctx, at) })
	resent, err := s.put(ctx, "record", &sdk.PutItemInput{Item: it, ConditionExpression: new("attribute_not_exists(PK)")})
	wg.Wait()
	if _, known := unmet(err); known {
		return resent, merr // resent: what is there is what an earlier try put
	}
	if err != nil {
		return false, s.fail(ctx, "record", err)
	}
	return true, merr
}

// recordLate stores a record and tells in the same step that the hour's sums lack it.
func (s *Store) recordLate(ctx context.Context, it item, at mark) (fresh bool, err error) {
	if err := s.index(ctx, at, false); err != nil {
		return false, err
	}
	err = s.transact(ctx, "record", []types.TransactWriteItem{
		{Put: &types.Put{TableName: &s.table, Item: it, ConditionExpression: new("attribute_not_exists(PK)")}},
		{Update: &types.Update{TableName: &s.table, Key: key(hoursPK(at.account), hourText(at.hour)), UpdateExpression: new("ADD l :o"),
			ExpressionAttributeValues: item{":o": num(1)}}},
		{Put: &types.Put{TableName: &s.table, Item: pending(at)}},
	})
	if err == nil {
		return true, nil
	}
	if unmetAt(err) == 0 {
		return false, nil
	}
	return false, s.fail(ctx, "record", err)
}

// pending is the entry that makes Rollup look at an hour. Its token tells a new entry from the one that was served.
func pending(at mark) item {
	it := key("P", hourText(at.hour)+"#"+at.account)
	it["t"] = str(rand.Text())
	return it
}

// markHour makes sure that the index knows the hour; mostly this instance knows that it does.
func (s *Store) markHour(ctx context.Context, at mark) error {
	now := s.clock.now()
	if seen, ok := s.marks.get(at); ok && now.Sub(seen).Abs() < markFor {
		return nil
	}
	var wg sync.WaitGroup
	var ierr error
	wg.Go(func() { ierr = s.index(ctx, at, true) })
	_, _, err := s.update(ctx, "mark an hour", &sdk.UpdateItemInput{Key: key(hoursPK(at.account), hourText(at.hour)),
		UpdateExpression: new("SET e = :o"), ExpressionAttributeValues: item{":o": num(1)}})
	wg.Wait()
	if err != nil {
		return s.fail(ctx, "mark an hour", err)
	}
	if ierr == nil {
		s.marks.put(at, now)
	}
	return ierr
}

// index enters the hour's day and account, and the hour among the pending.
func (s *Store) index(ctx context.Context, at mark, wait bool) error {
	writes := []types.WriteRequest{putRequest(key("X", hourText(dayOf(at.hour))+"#"+at.account)), putRequest(key("A", accountSK(at.account)))}
	if wait {
		writes = append(writes, putRequest(pending(at)))
	}
	return s.batch(ctx, "mark an hour", writes)
}

// accountSK is an account in a sort key, which cannot be empty.
func accountSK(account string) string { return "#" + account }

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
	for day, ok := int64(epoch), true; len(out) <= limit; {
		if day, ok, err = s.dayBefore(ctx, f.Account, day, to); err != nil || !ok {
			break
		}
		if from != "" && timeText((day+1)*24*usage.HourUS) <= from {
			break
		}
		var recs []core.Settlement
		if recs, err = s.dayRecords(ctx, &f, day, from, to, limit+1-len(out)); err != nil {
			break
		}
		out = append(out, recs...)
	}
	if err != nil {
		return nil, "", err
	}
	if len(out) <= limit {
		return out, "", nil
	}
	out = out[:limit]
	return out, usage.After(&out[limit-1]).String(), nil
}

// dayBefore is the last day before day that has records which may end before to; account "": of anyone.
func (s *Store) dayBefore(ctx context.Context, account string, day int64, to string) (found int64, ok bool, err error) {
	if us, err := strconv.ParseInt(to[:19], 10, 64); err == nil {
		day = min(day, dayOf(usage.HourOf(us-1<<62))+1)
	}
	q := span{pk: "X", to: hourText(day), down: true, fields: "SK", limit: 1} // entries of the day itself are longer, so they follow
	if account != "" {
		q = span{pk: hoursPK(account), to: hourText(day*24 - 1), down: true, fields: "SK", limit: 1}
	}
	err = s.query(ctx, "list days", q, func(it item) (bool, error) {
		n, err := parseHour(getS(it, "SK")[:10])
		if found, ok = n, err == nil; account != "" {
			found = dayOf(n)
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

// dayRecords returns up to limit records of a day that the filter selects, the newest first. from and to are sort keys, to
// exclusive.
func (s *Store) dayRecords(ctx context.Context, f *store.UsageFilter, day int64, from, to string, limit int) ([]core.Settlement, error) {
	accounts := []string{f.Account}
	if f.Account == "" {
		var err error
		if accounts, err = s.dayAccounts(ctx, day); err != nil {
			return nil, err
		}
	}
	lists := make([][]core.Settlement, len(accounts)*recordShards)
	err := parallel(len(lists), 16, func(i int) error {
		q := span{pk: recordsPK(accounts[i/recordShards], day, i%recordShards), from: from, to: to, down: true, limit: int32(min(limit+1, 1000))}
		return s.query(ctx, "list usage", q, func(it item) (bool, error) {
			if getS(it, "SK") >= to {
				return true, nil
			}
			r, err := parseRecord(it)
			if err == nil && usage.Match(f, &r) {
				lists[i] = append(lists[i], r)
			}
			return len(lists[i]) < limit, err
		})
	})
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b core.Settlement) int {
		if c := b.EndedAt.Compare(a.EndedAt); c != 0 {
			return c
		}
		return -compare(a.RequestID, b.RequestID)
	})
	return all[:min(limit, len(all))], err
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

// DeleteUsage implements store.Usage: it goes through the hours that the index knows.
func (s *Store) DeleteUsage(ctx context.Context, account string) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	var hours []int64
	err := s.query(ctx, "list hours", span{pk: hoursPK(account), fields: "SK"}, func(it item) (bool, error) {
		h, err := parseHour(getS(it, "SK"))
		hours = append(hours, h)
		return true, err
	})
	if err != nil {
		return err
	}
	last := int64(-1 << 62)
	for _, h := range hours {
		if day := dayOf(h); day != last {
			last = day
			if err := s.deleteDay(ctx, account, day); err != nil {
				return err
			}
		}
	}
	for _, h := range hours { // last: until then a repeated call finds what is left
		s.marks.drop(mark{account, h})
		err = errors.Join(err, s.batch(ctx, "delete usage", []types.WriteRequest{
			deleteRequest(key("P", hourText(h)+"#"+account)), deleteRequest(key(hoursPK(account), hourText(h)))}))
	}
	if err != nil || len(hours) == 0 {
		return err
	}
	return s.batch(ctx, "delete usage", []types.WriteRequest{deleteRequest(key("A", accountSK(account)))})
}

func (s *Store) deleteDay(ctx context.Context, account string, day int64) error {
	return errors.Join(parallel(recordShards, recordShards, func(i int) error {
		pk := recordsPK(account, day, i)
		var writes []types.WriteRequest
		err := s.query(ctx, "list usage", span{pk: pk, fields: "SK"}, func(it item) (bool, error) {
			if writes = append(writes, deleteRequest(key(pk, getS(it, "SK")))); len(writes) < 500 {
				return true, nil
			}
			err := s.batch(ctx, "delete usage", writes)
			writes = nil
			return true, err
		})
		return errors.Join(err, s.batch(ctx, "delete usage", writes))
	}), s.batch(ctx, "delete usage", []types.WriteRequest{deleteRequest(key("X", hourText(day)+"#"+account))}))
}
