package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

func missing(err error) bool { return errors.Is(err, goredis.Nil) }

// Settle implements store.Admission in one round trip, and one more at an account's first record on this instance. It
// works under a context that is done, too: what a request took must come back.
func (s *Store) Settle(ctx context.Context, r store.SettleRequest) error {
	if s.closed.Load() {
		return errClosed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	rec := r.Record
	usage.Normalize(&rec)
	account := rec.Account
	if _, ok := s.known.Load(account); !ok {
		// Before the record: otherwise nobody who asks for all accounts would find it after a crash in between.
		if err := s.note(ctx, account); err != nil {
			return s.fail(ctx, "settle", err)
		}
	}
	late := usage.HourOf(rec.EndedAt.UnixMicro()) < usage.Closed(s.clock.at(s.now()))
	var reply []any
	for { // once more where the hour was closed by a clock ahead of ours
		c, err := s.settleCall(&r, &rec, late)
		if err != nil {
			return s.fail(ctx, "settle", err)
		}
		if reply, err = s.run(ctx, &s.scripts.settle, true, c).Slice(); err != nil {
			return s.fail(ctx, "settle", err)
		}
		if late || integer(reply, 0) >= 0 {
			break
		}
		late = true
	}
	var err error
	if integer(reply, 1) == 1 {
		err = s.note(ctx, account) // the list may have been emptied since, with the records
	}
	return s.fail(ctx, "settle", err)
}

// note puts an account on the list of those that have records.
func (s *Store) note(ctx context.Context, account string) error {
	if err := s.db.SAdd(ctx, s.keys.accounts(), account).Err(); err != nil {
		return err
	}
	s.known.Store(account, struct{}{})
	return nil
}

// settleCall is the call of settle.lua; late gives it what it needs for a record of a closed hour.
func (s *Store) settleCall(r *store.SettleRequest, rec *core.Settlement, late bool) (*call, error) {
	body, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode the record: %w", err)
	}
	now := s.clock.at(r.Now)
	m := limit.At(now, r.Zone)
	ended, k := rec.EndedAt.UnixMicro(), &s.keys
	hour := strconv.FormatInt(usage.HourOf(ended), 10)
	c := s.scripts.settle.call(k.record(rec.Account, rec.RequestID), k.records(rec.Account), k.closed(rec.Account), k.lastUses(rec.Account))
	account := r.Account
	if account == "" {
		account = rec.Account
	}
	var rates [3 * 2 * maxSubjects]int64
	all := rates[:0]
	add := func(subs []store.Subject) (n int64) {
		for i := range subs {
			l := limit.Limits(subs[i].Limits)
			if !l.Leased() {
				continue
			}
			h, z, y := s.subject(account, &subs[i])
			c.key(h, z, y)
			cost, depth := bucket(l.TPM)
			money := int64(0)
			if l.USDDay > 0 || l.USDMonth > 0 {
				money = 1
			}
			all = append(all, cost, depth, money)
			n++
		}
		return n
	}
	free := add(r.Free)
	subjects := free + add(r.Subjects)
	if late {
		day := strconv.FormatInt(usage.DayOf(usage.HourOf(ended)), 10)
		c.key(k.marks(rec.Account), k.sums(rec.Account, hour), k.hours(rec.Account), k.costs(rec.Account, hour), k.costed(rec.Account),
			k.days(rec.Account), k.appended(rec.Account)).key(k.kinds(k.whole, rec.Account, hour)...).key(k.kinds(k.daySums, rec.Account, day)...)
	}
	c.num(now.UnixMicro()).str(r.ID).num(m.Day(), m.Month(), exact(r.Used.Tokens), exact(r.Used.USD)).
		str(rec.RequestID).bytes(body).num(ended).str(hour).num(free, subjects).str(rec.Key, rec.Node).num(all...)
	if !late {
		return c, nil
	}
	return c, c.lateArgs(rec)
}

// lateArgs adds what a record adds to the sums of a closed hour and its day.
func (c *call) lateArgs(rec *core.Settlement) error {
	group, err := groupOf(usage.DimsOf(rec))
	if err != nil {
		return err
	}
	one := usage.One(rec)
	var t usage.Tally
	t.Record(rec)
	whole := t.Sum()
	text := appendSum(nil, "", &whole)
	c.str(group, figuresOf(sumNumbers(&one)), figuresOf(costNumbers(&one))).
		num(usage.DayOf(usage.HourOf(rec.EndedAt.UnixMicro()))).bytes(text[1 : len(text)-1])
	return nil
}

// groupOf names what the sums of an hour are kept apart by: key, node and model. It has no line feed.
func groupOf(d usage.Dims) (string, error) {
	b, err := json.Marshal([3]string{d.Key, d.Node, d.Model})
	return string(b), err
}

// sumNumbers lists the numbers of a sum, costs aside. The place of each is stored with closed hours. There may be no new
// ones: programs that do not know them would take the hour for damaged.
func sumNumbers(s *core.UsageSum) []*int64 {
	return []*int64{
		&s.Requests, &s.Success, &s.Estimated, &s.Attempts,
		&s.Tokens.Input, &s.Tokens.CacheRead, &s.Tokens.CacheWrite5m, &s.Tokens.CacheWrite1h, &s.Tokens.Output,
		&s.Bytes, &s.FirstByteMS, &s.FirstBytes, &s.StreamMS, &s.TotalMS,
	}
}

// costNumbers lists what the costs of a closed hour are, by their places, in a hash of its own since older programs do not
// write it: the number of requests tells whether a group's costs are those of all that its sum counts.
func costNumbers(s *core.UsageSum) []*int64 {
	return []*int64{&s.Requests, &s.CostUSD, &s.Unpriced}
}

// figuresOf is one record as numbers of a sum, for settle.lua.
func figuresOf(numbers []*int64) string {
	b := make([]byte, 0, 96)
	for _, n := range numbers {
		b = append(strconv.AppendInt(b, *n, 10), ' ')
	}
	return string(b)
}
