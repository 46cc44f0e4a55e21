package dynamodb

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/core"
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

func recordsPK(account string, day int64, shard int) string {
	return "R#" + account + "#" + hourText(day) + "#" + strconv.Itoa(shard)
}

func recordSK(us int64, request string) string { return timeText(us) + "#" + request }

// record stores a record unless it is there, and reports whether it is new. It is known by its end and request id, which are its
// key: one of the same id that ends at another time is another. The index of hours comes with it: before, where the hour is
// closed or about to be, in one transaction, so that its sums are known to be out of date.
func (s *Store) record(ctx context.Context, rec *core.Settlement) (fresh bool, err error) {
	r := *rec
	usage.Normalize(&r)
	body, err := json.Marshal(&r)
	if err != nil {
		return false, fmt.Errorf("encode a record: %w", err)
	}
	us := r.EndedAt.UnixMicro()
	at := mark{r.Account, usage.HourOf(us)}
	it := key(recordsPK(r.Account, usage.DayOf(at.hour), spread(r.RequestID, recordShards)), recordSK(us, r.RequestID))
	it["b"] = bin(body)
	s.ttl(it, r.EndedAt, s.keep().Records)
	if at.hour < usage.Closed(s.clock.correct(s.clock.now()).Add(lateBefore)) {
		return s.recordLate(ctx, it, &r, at)
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

// recordLate stores a record and tells in the same step that the sums of its hour and day lack it.
func (s *Store) recordLate(ctx context.Context, it item, r *core.Settlement, at mark) (fresh bool, err error) {
	if err := s.index(ctx, at, false); err != nil {
		return false, err
	}
	for range 3 {
		err = s.transact(ctx, "record", []types.TransactWriteItem{
			s.putNew(it), s.count(key(hoursPK(at.account), hourText(at.hour))),
			s.count(key(daysPK(at.account), hourText(usage.DayOf(at.hour)))), s.putAny(pending(at)),
		})
		if err == nil {
			return true, nil
		}
		switch unmetAt(err) {
		case 0:
			return false, nil
		case -1:
			return false, s.fail(ctx, "record", err)
		}
		if fresh, ancient, err := s.addAncient(ctx, it, r, at); ancient || err != nil {
			return fresh, err
		}
	}
	return false, s.fail(ctx, "record", err)
}

// pending is the entry that makes Rollup look at an hour. Its token tells a new entry from the one that was served.
func pending(at mark) item {
	it := key("P", hourText(at.hour)+"#"+at.account)
	it["t"] = str(rand.Text())
	return it
}

// pendingDay is the same for the day of an hour.
func pendingDay(at mark) item {
	it := key("PD", hourText(usage.DayOf(at.hour))+"#"+at.account)
	it["t"] = str(rand.Text())
	return it
}

// parseWork reads the sort key of either: the hour of the mark is the day's number there.
func parseWork(sk string) (mark, error) {
	text, account, _ := strings.Cut(sk, "#")
	n, err := parseHour(text)
	return mark{account, n}, err
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
	writes := []types.WriteRequest{putRequest(key("X", hourText(usage.DayOf(at.hour))+"#"+at.account)), putRequest(key("A", accountSK(at.account)))}
	if wait {
		writes = append(writes, putRequest(pending(at)))
	}
	return s.batch(ctx, "mark an hour", writes)
}

// accountSK is an account in a sort key, which cannot be empty.
func accountSK(account string) string { return "#" + account }

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
		if day := usage.DayOf(h); day != last {
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
	days := 0
	err = errors.Join(err, s.query(ctx, "list days", span{pk: daysPK(account), fields: "SK"}, func(it item) (bool, error) {
		days++
		sk := getS(it, "SK")
		return true, s.batch(ctx, "delete usage", []types.WriteRequest{deleteRequest(key(daysPK(account), sk)), deleteRequest(key("PD", sk+"#"+account))})
	}))
	if err != nil || len(hours)+days == 0 {
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
