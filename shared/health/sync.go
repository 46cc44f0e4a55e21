package health

import (
	"context"
	"maps"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
)

// maxSynced bounds the accounts whose generation is remembered.
const maxSynced = 20_000

// Current reports whether the states of the account's nodes were read at that generation.
func (t *Tracker) Current(account string, generation int64) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	g, ok := t.synced[account]
	return ok && g == generation
}

// Sync reads the states of an account's nodes, in one listing: something of the account changed, perhaps what another
// instance learnt of a node. ids are the account's nodes; generation is the account's from before they were read. Changes
// of this process that are not saved yet stay, and so does what only it knows: requests in flight, trials. When the store
// cannot be read, what is known goes on to count.
func (t *Tracker) Sync(ctx context.Context, account string, generation int64, ids []string) {
	whole, err := t.reload(ctx, account, ids)
	if err != nil {
		t.log.Warn("states of nodes could not be read", "account", account, "error", err)
		return
	}
	if !whole { // the next request reads again
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.synced) >= maxSynced {
		clear(t.synced)
	}
	t.synced[account] = generation
}

// Reload is Sync for who does not know the generation, and must know when it fails.
func (t *Tracker) Reload(ctx context.Context, account string, ids []string) error {
	_, err := t.reload(ctx, account, ids)
	return err
}

// reload is Reload; whole is false when a node changed while it was read, so that what others saved of it was not taken over.
func (t *Tracker) reload(ctx context.Context, account string, ids []string) (whole bool, err error) {
	nodes := make([]*Node, len(ids))
	seen := make([]int64, len(ids)) // changes from here on are newer than the listing
	for i, id := range ids {
		if nodes[i] = t.known(id); nodes[i] != nil {
			seen[i] = nodes[i].changes.Load()
		}
	}
	rows, err := t.states.All(context.WithoutCancel(ctx), account)
	if err != nil {
		return false, err
	}
	saved := make(map[string]*core.NodeState, len(rows))
	for i := range rows {
		saved[rows[i].Value.Node] = &rows[i].Value
	}
	whole = true
	for i, id := range ids {
		if nodes[i] == nil {
			nodes[i] = t.first(&Node{id: id, account: account})
		}
		whole = nodes[i].adopt(saved[id], seen[i]) && whole
	}
	return whole, nil
}

func (t *Tracker) known(id string) *Node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.nodes[id]
}

// first adds a node unless another one did so meanwhile; it returns the one that stays.
func (t *Tracker) first(fresh *Node) *Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[fresh.id]; n != nil {
		return n
	}
	t.nodes[fresh.id] = fresh
	return fresh
}

// adopt takes over what is saved of the node, nil for nothing, unless this process learnt more since it was read: its own
// saving will raise the generation, and bring everything together. It reports whether it did.
func (n *Node) adopt(saved *core.NodeState, changes int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.changes.Load() != changes || n.own.cleared || n.saving:
		return false
	case !n.dirty.Load():
		if was := n.state.Load(); was != nil && was.Degraded != "" && (saved == nil || saved.Degraded == "") {
			n.meter = router.Meter{} // another instance found it well again: what was metered here is older
		}
		n.state.Store(saved)
	case saved != nil:
		own := merged(n.now(), n.own, saved)
		n.state.Store(&own)
	}
	return true
}

// learnt is what this process did since its last save to what only time or a person ends. All else that it remembers of
// that comes from the store, where it may have ended since: it must not come back with the next save.
type learnt struct {
	cleared bool                 // first of all: what others saved is forgiven, too
	resumed bool                 // after that: what others saved of the cool-down for all models
	lifted  string               // and of this block
	blocked string               // and then it was blocked,
	cooled  map[string]time.Time // and cooled
	good    bool                 // it gave a good answer
	fails   int                  // failures that were counted, after that
	graded  bool                 // it was found degraded, or not any more

	threshold int // of failures, as the account has it
}

// cool notes a cool-down, of which now are all.
func (l *learnt) cool(model string, until time.Time, now map[string]time.Time) {
	if _, ok := now[model]; !ok {
		model = "" // the router keeps no more models apart
	}
	if l.cooled == nil {
		l.cooled = make(map[string]time.Time)
	}
	maps.DeleteFunc(l.cooled, func(m string, _ time.Time) bool { _, ok := now[m]; return !ok })
	if until.After(l.cooled[model]) {
		l.cooled[model] = until
	}
}

// then is l and what came after it.
func (l learnt) then(later learnt) learnt {
	if later.cleared {
		return later
	}
	l.resumed = l.resumed || later.resumed
	if later.lifted != "" {
		l.lifted = later.lifted
		if l.blocked == later.lifted {
			l.blocked = ""
		}
	}
	if later.blocked != "" {
		l.blocked = later.blocked
	}
	cooled := maps.Clone(l.cooled)
	if later.resumed {
		delete(cooled, "")
	}
	l.cooled = longer(cooled, later.cooled)
	if later.good {
		l.good, l.fails = true, 0
	}
	l.fails += later.fails
	l.threshold = max(l.threshold, later.threshold)
	l.graded = l.graded || later.graded
	return l
}

// merged is what this process knows of a node, with what others saved: that it is blocked, and cool-downs.
func merged(now core.NodeState, own learnt, saved *core.NodeState) core.NodeState {
	now.Blocked, now.Cooling = own.blocked, nil
	if !own.cleared {
		if now.Blocked == "" && saved.Blocked != own.lifted {
			now.Blocked = saved.Blocked
		}
		now.Cooling = maps.Clone(saved.Cooling)
		if own.resumed {
			delete(now.Cooling, "")
		}
	}
	now.Cooling = longer(now.Cooling, own.cooled)
	if own.cleared {
		return now
	}
	if !own.graded {
		now.Degraded, now.DegradedAt = saved.Degraded, saved.DegradedAt
	}
	if saved.LastErrAt.After(now.LastErrAt) {
		now.LastError, now.LastErrAt = saved.LastError, saved.LastErrAt
	}
	if !own.good {
		now = failures(now, own, saved)
	}
	return now
}

// failures adds the failures that others saved: none of them knew that together they are enough.
func failures(now core.NodeState, own learnt, saved *core.NodeState) core.NodeState {
	if own.fails == 0 {
		now.FailStreak, now.Failed, now.FailedAt = saved.FailStreak, saved.Failed, saved.FailedAt
		return now
	}
	now.FailStreak = max(now.FailStreak, saved.FailStreak+own.fails)
	if saved.Failed && !now.Failed {
		now.Failed, now.FailedAt = true, saved.FailedAt
	}
	if !now.Failed && own.fails > 0 && own.threshold > 0 && now.FailStreak >= own.threshold {
		now.Failed, now.FailedAt = true, now.LastErrAt
	}
	return now
}

// longer adds cool-downs to those of a, which it may change: of the same model the longer counts.
func longer(a, b map[string]time.Time) map[string]time.Time {
	if a == nil {
		return maps.Clone(b)
	}
	for model, until := range b {
		if until.After(a[model]) {
			a[model] = until
		}
	}
	return a
}
