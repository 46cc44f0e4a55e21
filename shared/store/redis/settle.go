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
	c, err := s.settleCall(&r, &rec)
	if err != nil {
		return s.fail(ctx, "settle", err)
	}
	reply, err := s.run(ctx, &s.scripts.settle, true, c).Slice()
	if err == nil && integer(reply, 1) == 1 {
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

func (s *Store) settleCall(r *store.SettleRequest, rec *core.Settlement) (*call, error) {
	body, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode the record: %w", err)
	}
	group, err := groupOf(rec)
	if err != nil {
		return nil, err
	}
	now := s.clock.at(r.Now)
	m := limit.At(now, r.Zone)
	ended, k := rec.EndedAt.UnixMicro(), &s.keys
	hour := strconv.FormatInt(usage.HourOf(ended), 10)
	c := s.scripts.settle.call(k.record(rec.Account, rec.RequestID), k.records(rec.Account), k.closed(rec.Account), k.sums(rec.Account, hour), k.hours(rec.Account), k.costs(rec.Account, hour), k.costed(rec.Account))
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
	add(r.Subjects)
	one := usage.One(rec)
	c.num(now.UnixMicro()).str(r.ID).num(m.Day(), m.Month(), exact(r.Used.Tokens), exact(r.Used.USD)).
		str(rec.RequestID).bytes(body).num(ended).str(hour, group, figuresOf(sumNumbers(&one)), figuresOf(costNumbers(&one))).num(free)
	return c.num(all...), nil
}

// groupOf names what the sums of an hour are kept apart by: key, node and model.
func groupOf(r *core.Settlement) (string, error) {
	b, err := json.Marshal([3]string{r.Key, r.Node, r.Model})
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
