package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// lab is one store under test.
type lab struct {
	options
	name string // of the store
	self string // this program
	url  string
	st   store.Store // the parent's own
	run  string      // makes names differ from those of other runs
}

// scenario is one run of all processes and its verdict.
type scenario struct {
	name   string
	limits core.Limits
	shape  func(j *job)
	kill   float64 // part of the length after which the first process is killed
	judge  func(ctx context.Context, b *lab, j *job, l *log) ([]row, error)
}

func scenarios(o *options) []scenario {
	budget := int64(400_000)
	if o.quick {
		budget = 100_000
	}
	return []scenario{
		{name: "rate", limits: core.Limits{RPM: o.limit}, shape: func(j *job) { j.Hold = 0 },
			judge: func(_ context.Context, b *lab, j *job, l *log) ([]row, error) {
				slack := time.Duration(0)
				if b.name == storeDynamoDB {
					slack = 2 * time.Second
				}
				return rateRows(l, o.limit, slack, j.Length), nil
			}},
		{name: "places", limits: core.Limits{Concurrency: o.places()}, kill: 2. / 3, shape: func(j *job) {
			j.Hold, j.Lease = 3*time.Second, j.Length*5/12
		}, judge: judgePlaces},
		{name: "budget", limits: core.Limits{USDDay: budget}, shape: func(j *job) {
			j.Hold, j.Ask, j.UsedMin, j.UsedMax = time.Second, store.Amount{Tokens: 3000, USD: 1000}, 500, 2000
		}, judge: func(ctx context.Context, b *lab, j *job, l *log) ([]row, error) {
			left, err := b.left(ctx, j, 10*budget)
			return budgetRows(l, budget, left), err
		}},
	}
}

// places is the limit on concurrency: fewer than there are workers.
func (o *options) places() int64 { return max(2, int64(o.processes*o.workers/2)) }

// tryAgain tries with a slower clock when this machine was too slow to show anything.
func (b *lab) tryAgain(ctx context.Context, s scenario) ([]row, error) {
	slower := *b
	for i := 0; ; i++ {
		rows, err := slower.try(ctx, s, i)
		if err != nil || i == 2 || !slices.ContainsFunc(rows, func(r row) bool { return r.slow }) {
			return rows, err
		}
		slower.speed /= 2
	}
}

// try runs one scenario: documents, processes, verdict.
func (b *lab) try(ctx context.Context, s scenario, n int) ([]row, error) {
	id := fmt.Sprintf("%s%d-%s", s.name, n, b.run)
	if _, err := b.st.Create(ctx, store.Doc{Kind: store.KindAccount, ID: id, Account: id, Body: []byte("{}")}); err != nil {
		return nil, err
	}
	version, err := b.st.Create(ctx, store.Doc{Kind: store.KindKey, ID: id, Account: id, Body: []byte("{}")})
	if err != nil {
		return nil, err
	}
	base := time.Now().Round(0).Truncate(time.Microsecond)
	j := &job{URL: b.url, Name: id, Workers: b.workers, Account: id, Lease: 3 * time.Minute, Length: b.length, Base: base, Speed: b.speed, ZoneSecs: noonZone(base),
		Subjects: []store.Subject{{Kind: store.KindKey, ID: id, Version: version, Limits: s.limits}}}
	s.shape(j)
	c := &crew{j: j, log: newLog(), kills: int64(s.kill * float64(j.Length.Microseconds()))}
	if b.name == storeMemory {
		c.inside(ctx, b.st, b.processes)
	} else if err := c.outside(ctx, b.self, b.processes); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	rows, err := s.judge(ctx, b, j, c.log)
	if err != nil {
		return nil, err
	}
	totals, err := totalsRow(ctx, b.st, c.log, id, base.Add(j.Length))
	if err != nil {
		return nil, err
	}
	totals.promise += " (" + s.name + ")"
	rows = append(rows, totals)
	if l := c.log; l.failed > 0 {
		rows = append(rows, row{promise: "calls do not fail (" + s.name + ")", bound: "0", measured: fmt.Sprintf("%d, the first: %s", l.failed, l.error)})
	}
	return rows, nil
}

// noonZone is the offset of a zone where it is noon, so that no day ends on the way.
func noonZone(t time.Time) int {
	u := t.UTC()
	return 12*3600 - (u.Hour()*3600 + u.Minute()*60 + u.Second())
}

// ask asks to admit one request as the parent at a time of its choice.
func (b *lab) ask(ctx context.Context, j *job, name string, at time.Time) (store.AdmitResult, error) {
	return b.st.Admit(ctx, store.AdmitRequest{Now: at, ID: j.Name + "-" + name, Account: j.Account, Subjects: j.Subjects, LeaseEnd: at.Add(j.Lease), Zone: j.zone()})
}

// fit counts how many requests get in at a time, and gives their places back.
func (b *lab) fit(ctx context.Context, j *job, name string, at time.Time, most int64) (n int, err error) {
	for ; int64(n) <= most; n++ {
		_, err := b.ask(ctx, j, name+strconv.Itoa(n), at)
		var r *store.Refusal
		if errors.As(err, &r) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	for i := range n {
		id := j.Name + "-" + name + strconv.Itoa(i)
		err := b.st.Settle(ctx, store.SettleRequest{ID: id, Account: j.Account, Now: at, Zone: j.zone(), Free: j.Subjects,
			Record: record(&job{Account: "probes", Subjects: j.Subjects}, id, core.Tokens{}, 0, at, at)})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func judgePlaces(ctx context.Context, b *lab, j *job, l *log) ([]row, error) {
	first := int64(math.MaxInt64)
	for _, r := range orphans(l) {
		first = min(first, r.leaseEnd)
	}
	var p probe
	most, err := j.Subjects[0].Limits.Concurrency, error(nil)
	if first < math.MaxInt64 {
		if p.before, err = b.fit(ctx, j, "before", time.UnixMicro(first-1), most); err != nil {
			return nil, err
		}
	}
	// Whatever it still asked for when it was killed ends a lease later at the latest.
	if p.after, err = b.fit(ctx, j, "after", time.UnixMicro(l.killed).Add(j.Lease), most); err != nil {
		return nil, err
	}
	return concurrencyRows(l, int(most), p), nil
}

// left is what the store says is left of a day's budget, when the limit is as given.
func (b *lab) left(ctx context.Context, j *job, limit int64) (int64, error) {
	wide := *j
	wide.Subjects = []store.Subject{j.Subjects[0]}
	wide.Subjects[0].Limits.USDDay = limit
	at := j.Base.Add(j.Length)
	res, err := b.ask(ctx, &wide, "left", at)
	if err != nil {
		return 0, err
	}
	for _, f := range res.Figures {
		if f.Limit == store.LimitUSDDay {
			return f.Remaining, nil
		}
	}
	return 0, errors.New("the store told no figure of the budget")
}
