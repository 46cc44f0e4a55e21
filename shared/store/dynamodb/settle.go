package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/limit"
	"sluice/shared/store"
)

// receiptFor is how long the receipt of a late settlement is kept: no settlement is repeated after that.
const receiptFor = 14 * 24 * time.Hour

// progress is what of a settlement was done when another part failed.
type progress struct {
	recorded bool // the record was stored, for the first time
	done     map[subject]bool
}

// part is one subject's part of a settlement.
type part struct {
	sub  *store.Subject
	used limit.Amount
	free bool // the lease ends, and nothing was used
	gone bool // its lease is not there
}

// Settle implements store.Admission: one update for each subject that keeps a lease and one put of the record, all at
// once. It works under a context that is done, too. When it fails it may be called again, also by another process.
func (s *Store) Settle(ctx context.Context, r store.SettleRequest) error {
	if s.closed.Load() {
		return errClosed
	}
	ctx, cancel := s.lasting(ctx)
	defer cancel()
	if r.Now = s.clock.correct(r.Now); r.Now.IsZero() {
		r.Now = s.clock.correct(s.clock.now())
	}
	before := s.takeProgress(r.ID)
	parts := partsOf(&r, before)
	errs := make([]error, len(parts)+1)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { errs[i] = s.settle(ctx, &r, &parts[i]) })
	}
	fresh, err := s.record(ctx, &r.Record)
	errs[len(parts)] = err
	wg.Wait()
	fresh = fresh || before.recorded
	if err == nil && fresh {
		for i := range parts {
			if parts[i].gone && !parts[i].free && errs[i] == nil {
				errs[i] = s.late(ctx, &r, &parts[i])
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.keepProgress(&r, before, parts, errs, fresh)
		return err
	}
	return nil
}

// takeProgress returns what an earlier call for the request did.
func (s *Store) takeProgress(request string) *progress {
	p, ok := s.broken.get(request)
	if !ok {
		return &progress{}
	}
	s.broken.drop(request)
	return p
}

func (s *Store) keepProgress(r *store.SettleRequest, p *progress, parts []part, errs []error, fresh bool) {
	p.recorded = fresh
	if p.done == nil {
		p.done = make(map[subject]bool)
	}
	for i := range parts {
		late := parts[i].gone && !parts[i].free && errs[len(parts)] != nil // it waits for the record
		if errs[i] == nil && !late {
			p.done[subject{parts[i].sub.Kind, parts[i].sub.ID}] = true
		}
	}
	s.broken.put(r.ID, p)
}

// partsOf are the subjects that keep a lease and are not done yet.
func partsOf(r *store.SettleRequest, before *progress) []part {
	var out []part
	add := func(subs []store.Subject, used limit.Amount, free bool) {
		for i := range subs {
			if limit.Limits(subs[i].Limits).Leased() && !before.done[subject{subs[i].Kind, subs[i].ID}] {
				out = append(out, part{sub: &subs[i], used: used, free: free})
			}
		}
	}
	add(r.Subjects, limit.Amount{Tokens: max(0, r.Used.Tokens), USD: max(0, r.Used.USD)}, false)
	add(r.Free, limit.Amount{}, true)
	return out
}

// settle ends the lease of one subject and puts what was used in place of what it reserved. A lease that is not there is
// left to late.
func (s *Store) settle(ctx context.Context, r *store.SettleRequest, p *part) error {
	k := holdingOf(p.sub, r.ID)
	lease, ok, err := s.lease(ctx, k)
	s.held.drop(k)
	if err != nil {
		return err
	}
	h := s.hot(p.sub)
	pic, busy := h.know()
	resent := false
	for range rebuilds {
		if !ok {
			p.gone = !resent // else an earlier try ended it, whose answer was lost
			return nil
		}
		e := newExpression()
		path := "lz." + e.name(r.ID)
		e.when(path + " = " + e.value(str(leaseText(lease))))
		e.remove = append(e.remove, path)
		charge(e, r, p, lease, pic, busy)
		new, again, err := s.update(ctx, "settle", e.input(hotKey(p.sub.Kind, p.sub.ID)))
		if err == nil {
			pic = paint(new)
			h.learn(pic)
			h.free(pic)
			return nil
		}
		resent = resent || again
		old, unlucky := unmet(err)
		if !unlucky {
			s.held.put(k, held{lease})
			return s.fail(ctx, "settle", err)
		}
		if pic = paint(old); pic == nil {
			return nil // the document is gone, and its counters with it
		}
		h.learn(pic)
		busy = false
		lease, ok = leaseIn(pic, r.ID)
	}
	return fmt.Errorf("dynamodb: settle: %w", ErrThrottled)
}

// charge adds what was used beyond what the lease reserved.
func charge(e *expression, r *store.SettleRequest, p *part, lease limit.Lease, pic *picture, busy bool) {
	l := limit.Limits(p.sub.Limits)
	if l.TPM > 0 {
		settleTokens(e, limit.Rate(l.TPM), r.Now.UnixMicro(), p.used.Tokens-lease.Tokens, pic.ta, busy)
	}
	if l.USDDay <= 0 && l.USDMonth <= 0 {
		return
	}
	usd := p.used.USD - lease.USD
	if usd == 0 {
		return
	}
	m := limit.At(r.Now, r.Zone)
	if lease.Day >= m.Day() {
		e.plus(e.name(moneyName(lease.Day)), usd)
	}
	if lease.Month >= m.Month() {
		e.plus(e.name(monthName(lease.Month)), usd)
	}
}

// settleTokens takes n tokens from a bucket without asking, or gives them back. What is taken has the forms of an
// admission and one more: a bucket never owes more than a minute beyond empty.
func settleTokens(e *expression, rate limit.Rate, now, n, state int64, busy bool) {
	most := 2 * int64(rate.Depth()/rate.Cost())
	d := min(max(n, -most), most) * rate.Cost()
	bound := now + rate.Depth() + grace
	switch {
	case d == 0:
	case d < 0:
		e.plus("ta", d)
	case state >= now-lag && state > bound-d:
		e.when("ta > " + e.num(bound-d))
		e.set = append(e.set, "ta = "+e.num(bound))
	case state >= now-lag || busy:
		e.when("ta BETWEEN " + e.num(now-lag) + " AND " + e.num(bound-d))
		e.plus("ta", d)
	default:
		e.when("(attribute_not_exists(ta) OR ta < " + e.num(now) + ")")
		e.set = append(e.set, "ta = "+e.num(min(now+d, bound)))
	}
}

// late counts a request that outlived its lease, whose reservation was given back: all it used, together with a receipt,
// so that a call that is repeated takes nothing.
func (s *Store) late(ctx context.Context, r *store.SettleRequest, p *part) error {
	m := limit.At(r.Now, r.Zone)
	lease := limit.Lease{Day: m.Day(), Month: m.Month()}
	receipt := key("Q#"+r.ID+"#"+p.sub.Kind+"#"+p.sub.ID, "Q")
	receipt["ttl"] = num(r.Now.Add(receiptFor).Unix())
	for range rebuilds {
		it, err := s.get(ctx, "settle", hotKey(p.sub.Kind, p.sub.ID), "")
		if err != nil {
			return err
		}
		pic := paint(it)
		if pic == nil {
			return nil
		}
		s.hot(p.sub).learn(pic)
		e := newExpression()
		charge(e, r, p, lease, pic, false)
		if len(e.add)+len(e.set) == 0 { // nothing to count
			return nil
		}
		e.when("attribute_exists(v)")
		in := e.input(hotKey(p.sub.Kind, p.sub.ID))
		err = s.transact(ctx, "settle", []types.TransactWriteItem{
			{Put: &types.Put{TableName: &s.table, Item: receipt, ConditionExpression: new("attribute_not_exists(PK)")}},
			{Update: &types.Update{TableName: &s.table, Key: in.Key, UpdateExpression: in.UpdateExpression, ConditionExpression: in.ConditionExpression,
				ExpressionAttributeNames: in.ExpressionAttributeNames, ExpressionAttributeValues: in.ExpressionAttributeValues}},
		})
		if err == nil {
			return nil
		}
		switch at := unmetAt(err); at {
		case 0:
			return nil // counted before
		case 1: // the bucket changed its form under our hands
		default:
			return s.fail(ctx, "settle", err)
		}
	}
	return fmt.Errorf("dynamodb: settle: %w", ErrThrottled)
}

// Raise implements store.Budgets by a read and an update that adds what is missing, so that others may charge the item in
// between. The attribute mr counts such updates: none is made on a picture of before another, and none twice.
func (s *Store) Raise(ctx context.Context, r store.RaiseRequest) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	m := limit.At(s.clock.correct(r.Now), r.Zone)
	day, month := m.Agree(r.Now, r.Day, r.Month)
	for range rebuilds {
		it, err := s.get(ctx, "raise", hotKey(r.Kind, r.ID), "")
		if err != nil {
			return err
		}
		p := paint(it)
		if p == nil {
			return missing(r.Kind, r.ID)
		}
		st := p.state(&m)
		was := st.Counters
		if !st.Raise(&m, day, month) {
			return nil
		}
		e := newExpression()
		e.when("v = " + e.num(p.v))
		if n, ok := getN(it, "mr"); ok {
			e.when("mr = " + e.num(n))
		} else {
			e.when("attribute_not_exists(mr)")
		}
		e.plus("mr", 1)
		e.plus(moneyName(st.MoneyDay), st.DayUSD-was.DayUSD) // no words of the language
		e.plus(monthName(st.Month), st.MonthUSD-was.MonthUSD)
		if _, _, err = s.update(ctx, "raise", e.input(hotKey(r.Kind, r.ID))); err == nil {
			return nil
		}
		if _, unlucky := unmet(err); !unlucky {
			return s.fail(ctx, "raise", err)
		}
	}
	return fmt.Errorf("dynamodb: raise: %w", ErrThrottled)
}

// unmetAt is the index of the first write of a transaction whose condition failed; -1: none.
func unmetAt(err error) int {
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		for i, r := range cancelled.CancellationReasons {
			if text(r.Code) == "ConditionalCheckFailed" {
				return i
			}
		}
	}
	return -1
}

// Acquire implements store.Leases.
func (s *Store) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	now = s.clock.correct(now)
	end := now.Add(ttl).UnixMicro()
	values := item{":h": str(holder), ":n": num(now.UnixMicro()), ":e": num(end), ":o": num(1)}
	take := &sdk.UpdateItemInput{Key: key("T#"+name, "T"), UpdateExpression: new("SET h = :h, u = :e ADD f :o"),
		ConditionExpression:       new("attribute_not_exists(u) OR u <= :n"),
		ExpressionAttributeValues: values, ReturnValues: types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	for range 3 {
		it, _, err := s.update(ctx, "take a lease", take)
		if err == nil {
			fence, _ := getN(it, "f")
			return fence, nil
		}
		old, unlucky := unmet(err)
		if !unlucky {
			return 0, s.fail(ctx, "take a lease", err)
		}
		if getS(old, "h") != holder {
			break
		}
		keep := &sdk.UpdateItemInput{Key: take.Key, UpdateExpression: new("SET u = :e"), ConditionExpression: new("h = :h AND u > :n"),
			ExpressionAttributeValues: item{":h": values[":h"], ":n": values[":n"], ":e": values[":e"]}, ReturnValues: types.ReturnValueAllNew}
		it, _, err = s.update(ctx, "keep a lease", keep)
		if err == nil {
			fence, _ := getN(it, "f")
			return fence, nil
		}
		if _, unlucky = unmet(err); !unlucky {
			return 0, s.fail(ctx, "keep a lease", err)
		} // it ended between the two: take it anew
	}
	return 0, fmt.Errorf("lease %s: %w", name, store.ErrHeld)
}

// Release implements store.Leases. The item stays, because the fence must rise.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	_, _, err := s.update(ctx, "release a lease", &sdk.UpdateItemInput{Key: key("T#"+name, "T"), UpdateExpression: new("REMOVE h, u"),
		ConditionExpression: new("h = :h"), ExpressionAttributeValues: item{":h": str(holder)}})
	if _, unlucky := unmet(err); err == nil || unlucky {
		return nil
	}
	return s.fail(ctx, "release a lease", err)
}
