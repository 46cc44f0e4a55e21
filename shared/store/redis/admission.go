package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
)

const (
	maxSubjects = 4 // of one admission
	// maxNumber is the largest whole number that Lua knows exactly. Larger limits and amounts count as this.
	maxNumber = 1<<53 - 1
	// leaseKeep is how long leases stay beyond their end. They are given back by the next admission; when none comes
	// for so long, the day and the month that they took money of are over, and with them the reason to remember.
	leaseKeep = 35 * 24 * time.Hour
)

var (
	errNoID     = errors.New("admit: a lease needs a request id")
	errSubjects = fmt.Errorf("admit: more than %d subjects, or one of them twice", maxSubjects)
	errDiffer   = errors.New("admit: the server refused what package limit lets in")
)

func stale(s *store.Subject) error { return fmt.Errorf("%s %s: %w", s.Kind, s.ID, store.ErrStale) }

func exact(n int64) int64 { return min(max(n, 0), maxNumber) }

// Modes of a subject for admit.lua.
const (
	unlimited = "0"
	limited   = "1"
	leased    = "2"
)

func mode(l core.Limits) string {
	switch {
	case limit.Limits(l).Leased():
		return leased
	case l != (core.Limits{}):
		return limited
	}
	return unlimited
}

// bucket is cost and depth of a rate for the scripts; zeros when there is none.
func bucket(rate int64) (cost, depth int64) {
	if rate <= 0 {
		return 0, 0
	}
	return limit.Rate(rate).Cost(), limit.Rate(rate).Depth()
}

// subject names a subject's keys. An account is its own; what else is limited belongs to the request's account.
func (s *Store) subject(account string, sub *store.Subject) (hash, leases, held string) {
	return s.keys.subject(home(sub.Kind, sub.ID, account), sub.Kind, sub.ID)
}

// keepMS is how long a key of leases lives whose last one ends at end.
func keepMS(now, end time.Time) int64 {
	return (max(end.Sub(now), 0) + leaseKeep).Milliseconds()
}

// admitCall builds the call of admit.lua. now is by the server's clock.
func (s *Store) admitCall(r *store.AdmitRequest, m *limit.Moment, now, end time.Time, askTime bool) (*call, error) {
	if len(r.Subjects) > maxSubjects {
		return nil, errSubjects
	}
	c := s.scripts.admit.call(s.keys.generation(r.Account))
	for i := range r.Subjects {
		sub := &r.Subjects[i]
		for j := range i {
			if o := &r.Subjects[j]; o.Kind == sub.Kind && o.ID == sub.ID {
				return nil, errSubjects
			}
		}
		h, z, y := s.subject(r.Account, sub)
		if mode(sub.Limits) != leased {
			c.key(h)
			continue
		}
		if r.ID == "" {
			return nil, errNoID
		}
		c.key(h, z, y)
	}
	c.num(now.UnixMicro()).str(r.ID).num(end.UnixMicro(), m.Day(), m.Month(), exact(r.Ask.Tokens), exact(r.Ask.USD), keepMS(now, end)).str(flag(askTime))
	for i := range r.Subjects {
		l := &r.Subjects[i].Limits
		md := mode(*l)
		if c.num(r.Subjects[i].Version).str(md); md == unlimited {
			continue
		}
		cost, depth := bucket(l.RPM)
		tcost, tdepth := bucket(l.TPM)
		c.num(cost, depth, tcost, tdepth, exact(l.RPD), exact(l.Concurrency), exact(l.USDDay), exact(l.USDMonth))
	}
	return c, nil
}

// Admit implements store.Admission in one round trip. The script decides for all subjects at once; which limit it was,
// and the figures, package limit works out of the counters that the script answers with.
func (s *Store) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	var none store.AdmitResult
	if err := s.usable(ctx); err != nil {
		return none, err
	}
	now, end := s.clock.at(r.Now), s.clock.at(r.LeaseEnd)
	m := limit.At(now, r.Zone)
	asked := s.now()
	askTime := s.clock.ask(asked)
	c, err := s.admitCall(&r, &m, now, end, askTime)
	if err != nil {
		return none, err
	}
	// Repeating takes a share of requests a minute and a day twice at worst, where there are no leases to tell: the safe side.
	reply, err := s.run(ctx, &s.scripts.admit, true, c).Slice()
	if err != nil {
		return none, s.fail(ctx, "admit", err)
	}
	status := integer(reply, 0)
	if i := status - 3; i >= 0 && i < int64(len(r.Subjects)) {
		return none, stale(&r.Subjects[i])
	}
	if status < 0 || status > 1 || len(reply) < 4 {
		return none, s.fail(ctx, "admit", errReply)
	}
	if askTime {
		s.clock.learn(asked, s.now().Sub(asked), time.Unix(integer(reply, 2), integer(reply, 3)*1000))
	}
	states, err := parseStates(&r, reply[4:])
	if err != nil {
		return none, s.fail(ctx, "admit", err)
	}
	figures := collect(&r, &states, &m)
	if status == 1 {
		return none, refusal(&r, &states, &m, figures)
	}
	return store.AdmitResult{Generation: integer(reply, 1), Figures: figures}, nil
}

// state is a subject's counters as the script told them.
type state struct {
	limit.State
	live int64 // leases
}

const stateNumbers = 9

func parseStates(r *store.AdmitRequest, reply []any) (out [maxSubjects]state, err error) {
	for i := range r.Subjects {
		if r.Subjects[i].Limits.IsZero() {
			continue
		}
		if len(reply) < stateNumbers {
			return out, errReply
		}
		n := func(j int) int64 { return integer(reply, j) }
		out[i].Counters = limit.Counters{
			Full: n(0), Tokens: n(1), Day: n(2), Count: n(3), MoneyDay: n(4), DayUSD: n(5), Month: n(6), MonthUSD: n(7),
		}
		out[i].live = n(8)
		reply = reply[stateNumbers:]
	}
	return out, nil
}

// collect makes the figures. The number of leases is all that is known of them here.
func collect(r *store.AdmitRequest, states *[maxSubjects]state, m *limit.Moment) []store.Figure {
	var own [6]limit.Figure
	var out []store.Figure
	for i := range r.Subjects {
		sub, l := &r.Subjects[i], limit.Limits(r.Subjects[i].Limits)
		conc := l.Concurrency
		l.Concurrency = 0
		for _, f := range states[i].Figures(own[:0], l, m) {
			out = append(out, store.Figure{Subject: sub.Kind, Limit: store.LimitName(f.Limit), Max: f.Max, Remaining: f.Remaining, Reset: f.Reset})
		}
		if conc > 0 {
			out = append(out, store.Figure{Subject: sub.Kind, Limit: store.LimitConcurrency, Max: conc, Remaining: max(0, conc-states[i].live)})
		}
	}
	return out
}

// refusal finds the limit with the longest wait, as every backend does.
func refusal(r *store.AdmitRequest, states *[maxSubjects]state, m *limit.Moment, figures []store.Figure) error {
	var worst limit.Decision
	at := -1
	for i := range r.Subjects {
		l := limit.Limits(r.Subjects[i].Limits)
		most := l.Concurrency
		switch s := &states[i]; {
		case most > 0 && s.live >= most:
			l.Concurrency, s.Leases = 1, map[string]limit.Lease{"": {End: limit.Never}} // stands for all; no request is ""
		case most > 0:
			l.Concurrency = maxNumber
		}
		d := states[i].Check(l, m, r.ID, limit.Amount(r.Ask))
		if d.Limit == limit.Concurrency {
			d.Max = most
		}
		if !d.OK() && (at < 0 || d.Wait > worst.Wait) {
			worst, at = d, i
		}
	}
	if at < 0 {
		return errDiffer
	}
	return &store.Refusal{
		Subject: r.Subjects[at].Kind, Limit: store.LimitName(worst.Limit), Max: worst.Max, RetryAfter: worst.Wait, Figures: figures,
	}
}

// Renew implements store.Admission.
func (s *Store) Renew(ctx context.Context, r store.AdmitRequest) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	now, end := s.clock.at(r.Now), s.clock.at(r.LeaseEnd)
	c := s.scripts.renew.call()
	for i := range r.Subjects { // whatever their limits are now: there may be a lease of before
		_, z, y := s.subject(r.Account, &r.Subjects[i])
		c.key(z, y)
	}
	if c.keys == 0 {
		return nil
	}
	c.num(now.UnixMicro()).str(r.ID).num(end.UnixMicro(), keepMS(now, end))
	return s.fail(ctx, "renew", s.run(ctx, &s.scripts.renew, true, c).Err())
}

// Raise implements store.Budgets in one round trip.
func (s *Store) Raise(ctx context.Context, r store.RaiseRequest) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	m := limit.At(s.clock.at(r.Now), r.Zone)
	day, month := m.Agree(r.Now, r.Day, r.Month)
	h, _, y := s.subject(r.Account, &store.Subject{Kind: r.Kind, ID: r.ID})
	n, err := s.run(ctx, &s.scripts.raise, true, s.scripts.raise.call(h, y).num(m.Day(), m.Month(), exact(day), exact(month))).Int64()
	if err == nil && n == 0 {
		err = fmt.Errorf("%s %s: %w", r.Kind, r.ID, store.ErrNotFound)
	}
	return s.fail(ctx, "raise", err)
}

// Generation implements store.Admission.
func (s *Store) Generation(ctx context.Context, account string) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	var n int64
	err := s.twice(ctx, func() (err error) {
		n, err = s.db.Get(ctx, s.keys.generation(account)).Int64()
		return err
	})
	if missing(err) {
		return 0, nil
	}
	return n, s.fail(ctx, "read the generation", err)
}
