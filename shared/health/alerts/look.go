package alerts

import (
	"context"
	"fmt"
	"sort"
	"time"

	"sluice/shared/budget"
	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

// look is what was read of one account. Whatever rules the account has, its records, its sums and its nodes are read once at
// most, also when that fails; nothing of it outlives the account's turn.
type look struct {
	w       *Watch
	now     time.Time
	account string
	longest time.Duration // of the account's windows

	samples read[[]Sample]           // of the longest window, newest first
	spent   [2]read[budget.Spending] // of day and month
	down    read[Finding]
}

// read is what was read, or why it was not.
type read[T any] struct {
	done  bool
	value T
	err   error
}

func (r *read[T]) get(how func() (T, error)) (T, error) {
	if !r.done {
		r.value, r.err = how()
		r.done = true
	}
	return r.value, r.err
}

// lookAt begins with an account. rules are all of its rules.
func (w *Watch) lookAt(rules []store.Row[notify.Rule], now time.Time) *look {
	l := &look{w: w, now: now, account: rules[0].Value.Account}
	for i := range rules {
		if r := &rules[i].Value; r.Enabled && overRecords(r) {
			l.longest = max(l.longest, window(r))
		}
	}
	return l
}

func overRecords(r *notify.Rule) bool {
	return r.Kind == notify.RuleErrorRate || r.Kind == notify.RuleLatencyP95
}

// window is for how long back a rule looks.
func window(r *notify.Rule) time.Duration {
	if r.Window <= 0 {
		return anyWindow
	}
	return time.Duration(min(r.Window, int(maxWindow/time.Minute))) * time.Minute
}

func (l *look) finding(ctx context.Context, r *notify.Rule) (Finding, error) {
	switch r.Kind {
	case notify.RuleErrorRate, notify.RuleLatencyP95:
		samples, err := l.of(ctx, r)
		if err != nil {
			return Finding{}, err
		}
		if r.Kind == notify.RuleErrorRate {
			return ErrorRate(samples), nil
		}
		return LatencyP95(samples), nil
	case notify.RuleSpendDay:
		s, err := l.spend(ctx, budget.Day)
		return Spend(&s, "today"), err
	case notify.RuleSpendMonth:
		s, err := l.spend(ctx, budget.Month)
		return Spend(&s, "this month"), err
	case notify.RuleForecast:
		s, err := l.spend(ctx, budget.Month)
		return Forecast(&s), err
	case notify.RuleNodeDown:
		return l.down.get(func() (Finding, error) { return l.nodes(ctx) })
	}
	return Finding{}, fmt.Errorf("rules of kind %q are not known here", r.Kind)
}

func (l *look) spend(ctx context.Context, p budget.Period) (budget.Spending, error) {
	r := &l.spent[0]
	if p == budget.Month {
		r = &l.spent[1]
	}
	return r.get(func() (budget.Spending, error) {
		a, err := l.w.o.Tables.Accounts.Get(ctx, l.account)
		if err != nil && !store.Missing(err) {
			return budget.Spending{}, err
		}
		a.Value.ID = l.account
		return budget.Of(ctx, l.w.o.Usage, &a.Value, p, l.w.o.Zone, l.now)
	})
}

// of are the newest samples of the rule's window: the newest 2,000 of the longest one begin with those of any shorter one.
func (l *look) of(ctx context.Context, r *notify.Rule) ([]Sample, error) {
	all, err := l.samples.get(func() ([]Sample, error) { return l.records(ctx) })
	if err != nil {
		return nil, err
	}
	from := l.now.Add(-window(r))
	return all[:sort.Search(len(all), func(i int) bool { return all[i].EndedAt.Before(from) })], nil
}

// records reads the longest window, a page at a time, and keeps what is judged of it.
func (l *look) records(ctx context.Context) ([]Sample, error) {
	filter := store.UsageFilter{Account: l.account, From: l.now.Add(-l.longest), To: l.now.Add(time.Minute)} // clocks of instances differ
	var out []Sample
	cursor := ""
	for len(out) < maxRecords {
		page, next, err := l.w.o.Usage.Records(ctx, filter, cursor, min(pageSize, maxRecords-len(out)))
		if err != nil {
			return nil, err
		}
		for i := range page {
			out = append(out, SampleOf(&page[i]))
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	return out, nil
}

func (l *look) nodes(ctx context.Context) (Finding, error) {
	nodes, err := l.w.o.Tables.Nodes.All(ctx, l.account)
	if err != nil {
		return Finding{}, err
	}
	checks, err := l.w.o.Tables.Checks.All(ctx, l.account)
	if err != nil {
		return Finding{}, err
	}
	ns, cs := make([]core.Node, len(nodes)), make([]core.NodeCheck, len(checks))
	for i := range nodes {
		ns[i] = nodes[i].Value
	}
	for i := range checks {
		cs[i] = checks[i].Value
	}
	return NodeDown(ns, cs, l.now), nil
}
