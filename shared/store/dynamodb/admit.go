package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
)

const (
	maxSubjects = 4 // of one admission
	// rebuilds bounds how often an update is written anew because the item was not as it was seen.
	rebuilds = 6
	// giveBackTime bounds how long a refusal waits until what was taken is given back.
	giveBackTime = 2 * time.Second
	// generationAge is how old an instance's knowledge of a generation may be.
	generationAge = 2 * time.Second
)

var (
	errNoID     = errors.New("admit: a lease needs a request id")
	errSubjects = fmt.Errorf("admit: more than %d subjects, or one of them twice", maxSubjects)
)

// holding names what one request holds of one subject.
type holding struct {
	subject
	request string
}

// held is what this instance remembers of a lease, so that settling it needs no read.
type held struct{ limit.Lease }

func (s *Store) hot(sub *store.Subject) *hot {
	return s.hots.make(subject{sub.Kind, sub.ID}, func() *hot { return &hot{} })
}

func holdingOf(sub *store.Subject, request string) holding {
	return holding{subject{sub.Kind, sub.ID}, request}
}

func stale(s *store.Subject) error { return fmt.Errorf("%s %s: %w", s.Kind, s.ID, store.ErrStale) }

// outcome is one subject's answer.
type outcome struct {
	err     error // also store.ErrStale; not a refusal
	pic     *picture
	refused *limit.Decision
	repeat  bool
	taken   *taking
}

// Admit implements store.Admission. It is one round trip: the calls of several subjects, and the look at the generation
// every 2 s, go out together. More are needed where a picture was out of date and where one subject refused.
func (s *Store) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	if err := s.usable(ctx); err != nil {
		return store.AdmitResult{}, err
	}
	if err := checkRequest(&r); err != nil {
		return store.AdmitResult{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout) // for all calls together
	defer cancel()
	r.Now, r.LeaseEnd = s.clock.correct(r.Now), s.clock.correct(r.LeaseEnd)
	first, refusal := s.recall(&r)
	if refusal != nil {
		return store.AdmitResult{}, refusal
	}
	outs := make([]outcome, len(r.Subjects))
	gen := int64(0)
	if first >= 0 { // it refused lately: ask it alone before anything is taken of the others
		outs[first] = s.ask(ctx, &r, first)
		if o := &outs[first]; o.err != nil || o.refused != nil {
			return store.AdmitResult{}, s.conclude(ctx, &r, outs)
		}
	}
	s.askAll(ctx, &r, outs, first, &gen)
	if err := s.conclude(ctx, &r, outs); err != nil {
		return store.AdmitResult{}, err
	}
	return store.AdmitResult{Generation: gen, Figures: s.figures(&r, outs)}, nil
}

func checkRequest(r *store.AdmitRequest) error {
	if len(r.Subjects) > maxSubjects {
		return errSubjects
	}
	for i := range r.Subjects {
		a := &r.Subjects[i]
		if r.ID == "" && limit.Limits(a.Limits).Leased() {
			return errNoID
		}
		for j := range i {
			if b := &r.Subjects[j]; a.Kind == b.Kind && a.ID == b.ID {
				return errSubjects
			}
		}
	}
	return nil
}

// askAll asks the subjects that were not asked yet, and for the generation when that is due, all at once.
func (s *Store) askAll(ctx context.Context, r *store.AdmitRequest, outs []outcome, done int, gen *int64) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if s.generationDue(r.Account, r.Now) {
		wg.Go(func() {
			if n, err := s.Generation(ctx, r.Account); err == nil { // else the next admission looks
				*gen = n
				s.gens.put(r.Account, r.Now)
			}
		})
	}
	last := len(r.Subjects) - 1
	if last == done {
		last--
	}
	for i := range last {
		if i != done {
			wg.Go(func() { outs[i] = s.ask(ctx, r, i) })
		}
	}
	if last >= 0 {
		outs[last] = s.ask(ctx, r, last)
	}
}

func (s *Store) generationDue(account string, now time.Time) bool {
	if account == "" {
		return false
	}
	at, ok := s.gens.get(account)
	return !ok || now.Sub(at).Abs() >= generationAge
}

// recall looks at what is remembered: a refusal that may be repeated, or the subject to ask first; -1: none.
func (s *Store) recall(r *store.AdmitRequest) (first int, refusal error) {
	first = -1
	now, limited := r.Now.UnixMicro(), 0
	for i := range r.Subjects {
		sub := &r.Subjects[i]
		if sub.Limits.IsZero() {
			continue
		}
		if _, mine := s.held.get(holdingOf(sub, r.ID)); mine {
			return -1, nil // a repeated call: only the store knows
		}
	}
	for i := range r.Subjects {
		sub := &r.Subjects[i]
		if sub.Limits.IsZero() {
			continue
		}
		limited++
		p, lately := s.hot(sub).memory(now)
		if lately && first < 0 {
			first = i
		}
		if p == nil || p.v != sub.Version {
			continue
		}
		m := limit.At(r.Now, r.Zone)
		st := p.state(&m)
		if d := st.Check(limit.Limits(sub.Limits), &m, r.ID, limit.Amount(r.Ask)); !d.OK() {
			outs := make([]outcome, len(r.Subjects))
			outs[i] = outcome{pic: p, refused: &d}
			return -1, s.refusal(r, outs)
		}
	}
	if limited < 2 {
		first = -1
	}
	return first, nil
}

// conclude makes one answer of the subjects' answers. What was taken is given back unless all agree.
func (s *Store) conclude(ctx context.Context, r *store.AdmitRequest, outs []outcome) error {
	var err error
	refused, repeat := false, false
	for i := range outs {
		o := &outs[i]
		if o.err != nil && (err == nil || errors.Is(o.err, store.ErrStale)) {
			err = o.err
		}
		refused = refused || o.refused != nil
		repeat = repeat || o.repeat
	}
	if err == nil && !refused && !repeat {
		for i := range outs {
			if t := outs[i].taken; t != nil && t.leased {
				s.held.put(holdingOf(&r.Subjects[i], r.ID), held{t.lease})
			}
		}
		return nil
	}
	s.giveBack(ctx, r, outs)
	switch {
	case err != nil:
		return err
	case repeat: // let in before
		return nil
	}
	return s.refusal(r, outs)
}

func (s *Store) giveBack(ctx context.Context, r *store.AdmitRequest, outs []outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.timeout, giveBackTime))
	defer cancel()
	var wg sync.WaitGroup
	for i := range outs {
		if t := outs[i].taken; t != nil {
			wg.Go(func() { s.undo(ctx, r, i, &outs[i]) })
		}
	}
	wg.Wait()
}

// undo gives back what was taken of one subject. When that fails, a lease gives it back at its end; without one it stays
// taken, which is the safe side.
func (s *Store) undo(ctx context.Context, r *store.AdmitRequest, i int, o *outcome) {
	sub := &r.Subjects[i]
	new, _, err := s.update(ctx, "give back", o.taken.undo(r.ID).input(hotKey(sub.Kind, sub.ID)))
	if p := paint(new); err == nil && p != nil {
		h := s.hot(sub)
		h.learn(p)
		h.free(p)
		o.pic = p
	}
	o.taken = nil
}

// ask asks one subject.
func (s *Store) ask(ctx context.Context, r *store.AdmitRequest, i int) outcome {
	sub := &r.Subjects[i]
	if sub.Limits.IsZero() {
		return s.askVersion(ctx, sub)
	}
	a := asking{sub: sub, l: limit.Limits(sub.Limits), id: r.ID, ask: limit.Amount{Tokens: max(0, r.Ask.Tokens), USD: max(0, r.Ask.USD)},
		end: r.LeaseEnd.UnixMicro(), now: r.Now.UnixMicro(), m: limit.At(r.Now, r.Zone)}
	if a.hopeless() {
		return s.askRead(ctx, &a)
	}
	return s.take(ctx, &a)
}

// askVersion checks the version of a subject that has no limits.
func (s *Store) askVersion(ctx context.Context, sub *store.Subject) outcome {
	it, err := s.get(ctx, "admit", hotKey(sub.Kind, sub.ID), "v")
	if v, ok := getN(it, "v"); err == nil && (!ok || v != sub.Version) {
		err = stale(sub)
	}
	return outcome{err: err}
}

// hopeless reports whether the request asks for more than a limit itself: then there is nothing to try.
func (a *asking) hopeless() bool {
	if a.l.TPM > 0 {
		if _, wait := limit.Rate(a.l.TPM).Take(0, a.now, a.ask.Tokens); wait == limit.Never {
			return true
		}
	}
	least := max(a.ask.USD, 1)
	return a.l.USDDay > 0 && least > a.l.USDDay || a.l.USDMonth > 0 && least > a.l.USDMonth
}

// askRead decides on what the item says now.
func (s *Store) askRead(ctx context.Context, a *asking) outcome {
	it, err := s.get(ctx, "admit", hotKey(a.sub.Kind, a.sub.ID), "")
	if err != nil {
		return outcome{err: err}
	}
	o, _ := s.judge(a, paint(it))
	return o
}

// take takes the request's share of one subject, or says why not.
func (s *Store) take(ctx context.Context, a *asking) outcome {
	h := s.hot(a.sub)
	p, busy := h.know()
	a.busy = busy
	known := h.seen() != nil
	for range rebuilds {
		if a.l.Concurrency > 0 && len(p.dead(a.now)) > maxReap {
			if p = s.sweep(ctx, a, p); p == nil {
				return outcome{err: stale(a.sub)}
			}
			continue
		}
		e, t := a.admission(p)
		new, _, err := s.update(ctx, "admit", e.input(hotKey(a.sub.Kind, a.sub.ID)))
		if err == nil {
			p = paint(new)
			h.learn(p)
			return outcome{pic: p, taken: &t}
		}
		old, unlucky := unmet(err)
		if !unlucky {
			return lost(&t, s.fail(ctx, "admit", err))
		}
		p = paint(old)
		o, again := s.judge(a, p)
		if !again {
			return o
		}
		// what was seen was out of date: others use the item
		h.setBusy(known && (a.l.RPM > 0 && p.ra >= a.now-lag || a.l.TPM > 0 && p.ta >= a.now-lag))
		a.busy = false
	}
	return outcome{err: fmt.Errorf("dynamodb: admit: %w: the %s changes faster than it can be read", ErrThrottled, a.sub.Kind)}
}

// lost is the outcome of an update without an answer. It may have taken; where a lease tells, that can be undone.
func lost(t *taking, err error) outcome {
	if t.leased && !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrDenied) {
		return outcome{err: err, taken: t}
	}
	return outcome{err: err}
}

// judge decides on a fresh picture by the rules of package limit. again: it would let the request in.
func (s *Store) judge(a *asking, p *picture) (o outcome, again bool) {
	if p == nil || p.v != a.sub.Version {
		return outcome{err: stale(a.sub)}, false
	}
	h := s.hot(a.sub)
	h.learn(p)
	st := p.state(&a.m)
	d := st.Check(a.l, &a.m, a.id, a.ask)
	switch {
	case d.Repeat:
		s.held.put(holdingOf(a.sub, a.id), held{p.leases[a.id]})
		return outcome{pic: p, repeat: true}, false
	case !d.OK():
		h.remember(p, a.now, d.Wait.Microseconds())
		return outcome{pic: p, refused: &d}, false
	}
	return outcome{pic: p}, true
}

// sweep removes dead leases when there are too many for one update; nil when the item is gone.
func (s *Store) sweep(ctx context.Context, a *asking, p *picture) *picture {
	new, _, err := s.update(ctx, "end leases", a.sweep(p).input(hotKey(a.sub.Kind, a.sub.ID)))
	if old, unlucky := unmet(err); unlucky {
		return paint(old)
	} else if err != nil {
		return p
	}
	return paint(new)
}

// refusal is the refusal with the longest wait.
func (s *Store) refusal(r *store.AdmitRequest, outs []outcome) error {
	worst := -1
	for i := range outs {
		if d := outs[i].refused; d != nil && (worst < 0 || d.Wait > outs[worst].refused.Wait) {
			worst = i
		}
	}
	d := outs[worst].refused
	return &store.Refusal{Subject: r.Subjects[worst].Kind, Limit: store.LimitName(d.Limit), Max: d.Max, RetryAfter: d.Wait, Figures: s.figures(r, outs)}
}

// figures are those of each subject as far as it was seen.
func (s *Store) figures(r *store.AdmitRequest, outs []outcome) []store.Figure {
	var own [6]limit.Figure
	var out []store.Figure
	m := limit.At(r.Now, r.Zone)
	for i := range r.Subjects {
		sub := &r.Subjects[i]
		p := outs[i].pic
		if sub.Limits == (core.Limits{}) {
			continue
		}
		if p == nil {
			if p = s.hot(sub).seen(); p == nil {
				continue
			}
		}
		st := p.state(&m)
		for _, f := range st.Figures(own[:0], limit.Limits(sub.Limits), &m) {
			out = append(out, store.Figure{Subject: sub.Kind, Limit: store.LimitName(f.Limit), Max: f.Max, Remaining: f.Remaining, Reset: f.Reset})
		}
	}
	return out
}

// Renew implements store.Admission: one update for each subject that keeps a lease, all at once.
func (s *Store) Renew(ctx context.Context, r store.AdmitRequest) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	r.Now, r.LeaseEnd = s.clock.correct(r.Now), s.clock.correct(r.LeaseEnd)
	return parallel(len(r.Subjects), max(1, len(r.Subjects)), func(i int) error {
		if !limit.Limits(r.Subjects[i].Limits).Leased() {
			return nil
		}
		return s.renew(ctx, &r, &r.Subjects[i])
	})
}

func (s *Store) renew(ctx context.Context, r *store.AdmitRequest, sub *store.Subject) error {
	k, now := holdingOf(sub, r.ID), r.Now.UnixMicro()
	old, ok, err := s.lease(ctx, k)
	for range rebuilds {
		if err != nil || !ok || old.End <= now {
			return err
		}
		next := old
		next.End = r.LeaseEnd.UnixMicro()
		e := newExpression()
		path := "lz." + e.name(r.ID)
		e.when(path + " = " + e.value(str(leaseText(old))))
		e.set = append(e.set, path+" = "+e.value(str(leaseText(next))))
		new, _, uerr := s.update(ctx, "renew", e.input(hotKey(sub.Kind, sub.ID)))
		if uerr == nil {
			s.hot(sub).learn(paint(new))
			s.held.put(k, held{next})
			return nil
		}
		item, unlucky := unmet(uerr)
		if !unlucky {
			return s.fail(ctx, "renew", uerr)
		}
		old, ok = leaseIn(paint(item), r.ID)
	}
	return fmt.Errorf("dynamodb: renew: %w", ErrThrottled)
}

// lease finds a request's lease, in memory or in the item.
func (s *Store) lease(ctx context.Context, k holding) (limit.Lease, bool, error) {
	if h, ok := s.held.get(k); ok {
		return h.Lease, true, nil
	}
	it, err := s.get(ctx, "find a lease", hotKey(k.kind, k.id), "")
	if err != nil {
		return limit.Lease{}, false, err
	}
	l, ok := leaseIn(paint(it), k.request)
	return l, ok, nil
}

func leaseIn(p *picture, request string) (limit.Lease, bool) {
	if p == nil {
		return limit.Lease{}, false
	}
	l, ok := p.leases[request]
	return l, ok
}
