package boot

import (
	"context"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	// longCooling is what only a quota that is used up brings; throttling is over sooner.
	longCooling = 30 * time.Minute
	askQuota    = time.Hour // between questions about one node
)

// resume asks the service about nodes that rest because their month is used up: an upgrade or a paid overage ends that at
// once, and the service knows better than the calendar when the month ends.
func (p *pool) resume(ctx context.Context, targets []upstream.Target, known map[string]*core.NodeState) error {
	now := p.a.now()
	for _, t := range targets {
		n := t.Node
		s := known[n.ID]
		if s == nil || s.Blocked != "" || s.Cooling[""].Sub(now) < longCooling || !p.mayAsk(n.ID, now) {
			continue
		}
		q, err := p.client.Quota(ctx, t)
		if err != nil {
			continue // it goes on resting, and is asked again
		}
		until := now.Add(q.ResetAfter(now))
		if !q.Room(now) && until.Sub(s.Cooling[""]).Abs() < longCooling {
			continue
		}
		if err := p.a.tracker.EndCooling(ctx, n.ID, n.Account); err != nil {
			return err
		}
		if q.Room(now) {
			continue
		}
		state := p.a.tracker.Node(ctx, n.ID, n.Account)
		p.a.tracker.Cooled(state, n.Name, "", until, "monthly limit used up until the service's reset", now)
		if err := p.a.tracker.Save(ctx, state); err != nil {
			return err
		}
	}
	return nil
}

// mayAsk reports whether a node's quota was not asked for lately, and notes that it is now.
func (p *pool) mayAsk(id string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.asked[id]; ok && now.Sub(at) < askQuota {
		return false
	}
	if len(p.asked) > 20_000 { // nodes that are gone
		clear(p.asked)
	}
	p.asked[id] = now
	return true
}
