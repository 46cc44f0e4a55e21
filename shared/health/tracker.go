// Package health keeps what is known of each node: failures, cool-downs, requests in flight. Traffic reports to it, the
// router reads it, and changes are saved so that they survive a restart.
package health

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
	"sluice/shared/store"
)

// Tracker holds the state of nodes in memory. It is safe for concurrent use.
type Tracker struct {
	states *store.Table[core.NodeState]
	log    *slog.Logger
	mu     sync.RWMutex
	nodes  map[string]*Node
	synced map[string]int64 // account -> generation whose states were read
}

// New makes an empty tracker over the saved states.
func New(states *store.Table[core.NodeState], log *slog.Logger) *Tracker {
	return &Tracker{states: states, log: log, nodes: make(map[string]*Node), synced: make(map[string]int64)}
}

// Node is the state of one node.
type Node struct {
	id, account string
	state       atomic.Pointer[core.NodeState]
	inFlight    atomic.Int64
	trial       atomic.Int64 // when the trial began, ns since 1970; 0: none
	gone        atomic.Bool  // deleted: nothing of it is saved any more
	mu          sync.Mutex   // orders transitions
	save        sync.Mutex   // orders saves
	dirty       atomic.Bool
	changes     atomic.Int64 // made by this process
	saving      bool         // under mu: what the store has is older than the state
	own         learnt       // under mu
}

// Node returns the node's state, read from the store on first sight. A store that cannot be read counts as "nothing
// known": traffic will tell.
func (t *Tracker) Node(ctx context.Context, id, account string) *Node {
	t.mu.RLock()
	n := t.nodes[id]
	t.mu.RUnlock()
	if n != nil {
		return n
	}
	fresh := &Node{id: id, account: account}
	r, err := t.states.Get(context.WithoutCancel(ctx), id) // what is read is kept for others
	switch {
	case err == nil:
		fresh.state.Store(&r.Value)
	case !store.Missing(err):
		t.log.Warn("state of a node could not be read", "node", id, "error", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[id]; n != nil {
		return n
	}
	t.nodes[id] = fresh
	return fresh
}

// Forget drops a node that was deleted, in memory and in the store.
func (t *Tracker) Forget(ctx context.Context, id string) error {
	t.mu.Lock()
	if n := t.nodes[id]; n != nil {
		n.gone.Store(true) // a request that is still under way must not bring it back
	}
	delete(t.nodes, id)
	t.mu.Unlock()
	if err := t.states.Delete(ctx, id); err != nil && !store.Missing(err) {
		return err
	}
	return nil
}

// Clear forgives a node everything: it was enabled, or its address or credential changed.
func (t *Tracker) Clear(ctx context.Context, id, account string) error {
	n := t.Node(ctx, id, account)
	n.change(func(core.NodeState) core.NodeState {
		n.own = learnt{cleared: true}
		return core.NodeState{}
	})
	n.trial.Store(0)
	return t.Save(ctx, n)
}

// EndCooling ends the cool-down of a node for all models, and nothing else: the upstream says that there is quota left.
func (t *Tracker) EndCooling(ctx context.Context, id, account string) error {
	n := t.Node(ctx, id, account)
	n.change(func(s core.NodeState) core.NodeState {
		n.own.resumed = true
		delete(n.own.cooled, "")
		s.Cooling = maps.Clone(s.Cooling) // the old one is shared
		delete(s.Cooling, "")
		return s
	})
	return t.Save(ctx, n)
}

// Save writes a node's state if it changed since the last save.
func (t *Tracker) Save(ctx context.Context, n *Node) error {
	if !n.dirty.Load() || n.gone.Load() {
		return nil
	}
	n.save.Lock()
	defer n.save.Unlock()
	now, own, ok := n.unsaved()
	if !ok {
		return nil
	}
	_, err := t.states.Upsert(ctx, n.id, func(s *core.NodeState) error {
		*s = merged(now, own, s)
		s.Node, s.Account = n.id, n.account
		return nil
	})
	n.mu.Lock()
	n.saving = false
	n.changes.Add(1) // what was read before is older than what was written
	n.mu.Unlock()
	if err != nil {
		n.notSaved(own)
	}
	return err
}

// unsaved takes what there is to save; false when there is nothing.
func (n *Node) unsaved() (now core.NodeState, own learnt, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.dirty.Swap(false) {
		return now, own, false
	}
	n.saving = true
	own, n.own = n.own, learnt{}
	return n.now(), own, true
}

// notSaved gives back what unsaved took: it stands before what was learnt meanwhile.
func (n *Node) notSaved(own learnt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own = own.then(n.own)
	n.dirty.Store(true)
}

// now is the state, the zero one when nothing is known.
func (n *Node) now() core.NodeState {
	if s := n.state.Load(); s != nil {
		return *s
	}
	return core.NodeState{}
}

// State returns what is known, nil when nothing is. It is shared: read only.
func (n *Node) State() *core.NodeState { return n.state.Load() }

// InFlight returns the number of requests on the node from this process.
func (n *Node) InFlight() int64 { return n.inFlight.Load() }

// trialFor bounds how long one request keeps a failed node to itself: an answer without streaming may take half an hour.
const trialFor = time.Minute

// OnTrial reports whether a trial of the failed node is under way.
func (n *Node) OnTrial() bool { return fresh(n.trial.Load()) }

func fresh(began int64) bool { return began != 0 && time.Since(time.Unix(0, began)) < trialFor }

// EndTrial gives the trial back before the request ends: its answer has begun, so others may come.
func (n *Node) EndTrial() { n.trial.Store(0) }

// Begin counts a request in. trial claims the failed node's one trial: false when another request has it.
func (n *Node) Begin(trial bool) bool {
	if trial {
		old := n.trial.Load()
		if fresh(old) || !n.trial.CompareAndSwap(old, time.Now().UnixNano()) {
			return false
		}
	}
	n.inFlight.Add(1)
	return true
}

// End counts it out and gives the trial back.
func (n *Node) End(trial bool) {
	n.inFlight.Add(-1)
	if trial {
		n.EndTrial()
	}
}

func (n *Node) change(f func(core.NodeState) core.NodeState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := f(n.now())
	s.Node, s.Account = n.id, n.account
	n.state.Store(&s)
	n.changes.Add(1)
	n.dirty.Store(true)
}

// Failed records one counted failure.
func (t *Tracker) Failed(n *Node, name, reason string, now time.Time, p router.Policy) {
	var became bool
	n.change(func(s core.NodeState) core.NodeState {
		s, became = router.Failed(s, reason, now, p)
		return s
	})
	if became {
		t.log.Warn("node failed", "account", n.account, "node", name, "node_id", n.id, "reason", reason)
	}
}

// Succeeded records a good answer. It costs nothing while nothing was wrong.
func (t *Tracker) Succeeded(n *Node, name string) {
	s := n.state.Load()
	if s == nil || s.FailStreak == 0 && !s.Failed {
		return
	}
	var recovered bool
	n.change(func(s core.NodeState) core.NodeState {
		s, _, recovered = router.Succeeded(s)
		return s
	})
	if recovered {
		t.log.Info("node recovered", "account", n.account, "node", name, "node_id", n.id)
	}
}

// Blocked records that the node gets no more requests until someone acts; why is one of core's.
func (t *Tracker) Blocked(n *Node, name, why, reason string, now time.Time) {
	if s := n.state.Load(); s != nil && s.Blocked == why {
		return
	}
	n.change(func(s core.NodeState) core.NodeState {
		n.own.blocked = why
		s.Blocked, s.LastError, s.LastErrAt = why, reason, now
		return s
	})
	t.log.Error("node blocked: it gets no request until someone acts", "account", n.account, "node", name, "node_id", n.id, "why", why, "reason", reason)
}

// Unblocked ends a block, if it is the one that why says: what it waited for has come about, though nobody said so.
func (t *Tracker) Unblocked(n *Node, name, why string) {
	var ended bool
	n.change(func(s core.NodeState) core.NodeState {
		if ended = s.Blocked == why; ended {
			s.Blocked, n.own.lifted = "", why
			if n.own.blocked == why {
				n.own.blocked = ""
			}
		}
		return s
	})
	if ended {
		t.log.Info("node unblocked", "account", n.account, "node", name, "node_id", n.id, "why", why)
	}
}

// Cooled records a 429 for a model ("" for all).
func (t *Tracker) Cooled(n *Node, name, model string, until time.Time, reason string, now time.Time) {
	n.change(func(s core.NodeState) core.NodeState {
		s = router.Cooled(s, model, until, reason, now)
		n.own.cool(model, until, s.Cooling)
		return s
	})
	t.log.Warn("node is cooling down", "account", n.account, "node", name, "node_id", n.id, "model", model, "until", until.UTC().Format(time.RFC3339))
}
