package adminapi

import (
	"context"
	"math"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
	"sluice/shared/store"
)

// watched is an account and what is known of its nodes: one listing of each kind.
type watched struct {
	account core.Account
	nodes   []core.Node // as they are preferred
	checks  map[string]*core.NodeCheck
	used    map[string]core.UsageSum
}

// watch reads what is known of an account's nodes. Their states are read anew: other instances may have learnt more.
func (c *call) watch(account string) (*watched, error) { return c.look(account, true) }

// look is watch with or without what the nodes were used for, which takes the longest.
func (c *call) look(account string, used bool) (*watched, error) {
	ctx, t := c.r.Context(), c.a.o.Tables
	acct, err := t.Accounts.Get(ctx, account)
	if err != nil {
		return nil, err
	}
	nodes, err := c.accountNodes(account)
	if err != nil {
		return nil, err
	}
	w := &watched{account: acct.Value, nodes: nodes}
	ids := make([]string, len(w.nodes))
	for i := range w.nodes {
		ids[i] = w.nodes[i].ID
	}
	reads := []func() error{ // none needs the others
		func() error { return c.a.o.Health.Reload(ctx, account, ids) },
		func() (err error) { w.checks, err = c.checks(ctx, account); return err },
	}
	if used {
		reads = append(reads, func() (err error) { w.used, err = c.used(account); return err })
	}
	return w, each(len(reads), len(reads), func(i int) error { return reads[i]() })
}

// watchOne is watch of one node alone. There is none in it where the account has none of that id.
func (c *call) watchOne(account, id string) (*watched, error) {
	ctx, t := c.r.Context(), c.a.o.Tables
	acct, err := t.Accounts.Get(ctx, account)
	if err != nil {
		return nil, err
	}
	w := &watched{account: acct.Value, checks: map[string]*core.NodeCheck{}, used: map[string]core.UsageSum{}}
	n, err := t.Nodes.Get(ctx, id)
	if store.Missing(err) || err == nil && n.Value.Account != account {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	w.nodes = []core.Node{n.Value}
	if err := c.a.o.Health.Reload(ctx, account, []string{id}); err != nil {
		return nil, err
	}
	if last, err := t.Checks.Get(ctx, id); err == nil {
		w.checks[id] = &last.Value
	} else if !store.Missing(err) {
		return nil, err
	}
	sums, err := c.a.o.Usage.Sums(ctx, store.UsageFilter{Account: account, Node: id}, store.GroupNone)
	if len(sums) > 0 {
		w.used[id] = sums[0]
	}
	return w, err
}

// checks are what was last seen of an account's nodes, by their ids.
func (c *call) checks(ctx context.Context, account string) (map[string]*core.NodeCheck, error) {
	rows, err := c.a.o.Tables.Checks.All(ctx, account)
	if err != nil {
		return nil, err
	}
	m := make(map[string]*core.NodeCheck, len(rows))
	for i := range rows {
		m[rows[i].Value.Node] = &rows[i].Value
	}
	return m, nil
}

// condition is a node's state with when it began, zero where it never changed, and why. last is nil before the first check.
func (c *call) condition(n *core.Node, s *core.NodeState, last *core.NodeCheck, a *core.Account) (is core.Condition, since time.Time, reason string) {
	if n.Disabled {
		since = n.UpdatedAt
		if last != nil && last.Told == core.Disabled && !last.Since.IsZero() { // an edit later is no new beginning
			since = last.Since
		}
		return core.Disabled, since, ""
	}
	now := c.a.o.Now()
	is, since, reason = router.ConditionOf(s, now)
	if router.HalfOpen(s, now, router.Policy{TrialAfter: c.a.trialAfter(a)}) {
		is = core.HalfOpen
	}
	return is, since, reason
}

// trialAfter is how long a failed node of an account waits for its trial.
func (a *API) trialAfter(acct *core.Account) time.Duration {
	sec := a.o.Defaults.HealthSec
	if acct.HealthSec > 0 {
		sec = acct.HealthSec
	}
	return time.Duration(sec) * time.Second
}

func (v *nodeView) health(s *core.NodeState, now time.Time) {
	if s == nil {
		return
	}
	v.Failed, v.FailStreak, v.LastError = s.Failed, s.FailStreak, s.LastError
	v.LastErrorAt = momentOf(s.LastErrAt)
	for _, until := range s.Cooling {
		if until = until.UTC(); until.After(now) && (v.CoolingUntil == nil || until.After(*v.CoolingUntil)) {
			v.CoolingUntil = &until
		}
	}
}

// checked shows the last health check, and what this process's requests showed of the node.
func (v *nodeView) checked(last *core.NodeCheck, m router.Meter, used core.Tokens) {
	if total := used.TotalInput(); total > 0 {
		v.CacheReadRatio = new(rounded(float64(used.CacheRead)/float64(total), 4))
	}
	if m != (router.Meter{}) {
		v.ErrorRate = new(rounded(m.Errors, 4))
	}
	if m.FirstByte > 0 {
		v.FirstByteEWMA = new(rounded(m.FirstByte, 1))
	}
	if last == nil || last.Last.At.IsZero() {
		return
	}
	ms := last.Last.MS
	v.PingMS, v.LastPingMS, v.LastCheckAt = &ms, &ms, momentOf(last.Last.At)
	if !last.Last.OK {
		v.PingError, v.LastPingError = last.Last.Error, last.Last.Error
	}
}

// rounded keeps that many decimals.
func rounded(v float64, decimals int) float64 {
	p := math.Pow10(decimals)
	return math.Round(v*p) / p
}

// momentOf is a time as answers have it, nil for none.
func momentOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
