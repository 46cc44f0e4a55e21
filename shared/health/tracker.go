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
	states  *store.Table[core.NodeState]
	log     *slog.Logger
	now     func() time.Time
	changed func(ctx context.Context, id string, is core.Condition)
	mu      sync.RWMutex
	nodes   map[string]*Node
	synced  map[string]int64 // account -> generation whose states were read
}

// Options are what a Tracker needs.
type Options struct {
	States *store.Table[core.NodeState]
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now
	// Changed is told, in the saver's goroutine, that a save changed the condition of a node, brief cool-downs apart; nil:
	// nobody is.
	Changed func(ctx context.Context, id string, is core.Condition)
}

// New makes an empty tracker over the saved states.
func New(o Options) *Tracker {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Tracker{states: o.States, log: o.Log, now: o.Now, changed: o.Changed, nodes: make(map[string]*Node), synced: make(map[string]int64)}
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
	meter       router.Meter // under mu: of this process's requests
	fault       uint64       // under mu: fingerprint of the request that it last failed on
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
	t.change(n, t.now(), func(core.NodeState) core.NodeState {
		n.own, n.meter = learnt{cleared: true}, router.Meter{}
		return core.NodeState{}
	})
	n.trial.Store(0)
	return t.Save(ctx, n)
}

// EndCooling ends the cool-down of a node for all models, and nothing else: the upstream says that there is quota left.
func (t *Tracker) EndCooling(ctx context.Context, id, account string) error {
	n := t.Node(ctx, id, account)
	t.change(n, t.now(), func(s core.NodeState) core.NodeState {
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
	return t.saveAnd(ctx, n, t.changed)
}

// SaveUntold is Save for who tells of the change itself, and knows more of how it came about.
func (t *Tracker) SaveUntold(ctx context.Context, n *Node) error {
	if !n.dirty.Load() || n.gone.Load() {
		return nil
	}
	return t.saveAnd(ctx, n, nil)
}

func (t *Tracker) saveAnd(ctx context.Context, n *Node, tell func(context.Context, string, core.Condition)) error {
	n.save.Lock()
	defer n.save.Unlock()
	return t.write(ctx, n, tell)
}

// SaveSoon is Save, but does not wait for another one who saves the node right now: that one saves what came meanwhile, too.
// When the store is slow, requests must not queue for it.
func (t *Tracker) SaveSoon(ctx context.Context, n *Node) error {
	for n.dirty.Load() && !n.gone.Load() {
		if !n.save.TryLock() {
			return nil
		}
		err := t.write(ctx, n, t.changed)
		n.save.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// write is Save for who holds n.save.
func (t *Tracker) write(ctx context.Context, n *Node, tell func(context.Context, string, core.Condition)) error {
	now, own, seen, ok := n.unsaved()
	if !ok {
		return nil
	}
	var was, is core.Condition
	row, err := t.states.Upsert(ctx, n.id, func(s *core.NodeState) error {
		at := t.now()
		was, _, _ = router.Notable(s, at)
		*s = router.Dated(*s, merged(now, own, s), at)
		is, _, _ = router.Notable(s, at)
		s.Node, s.Account = n.id, n.account
		return nil
	})
	n.mu.Lock()
	n.saving = false
	if err == nil && n.changes.Load() == seen { // else the next save merges, too
		n.state.Store(&row.Value)
	}
	n.changes.Add(1) // what was read before is older than what was written
	n.mu.Unlock()
	if err != nil {
		n.notSaved(own)
		return err
	}
	if was != is && tell != nil {
		tell(ctx, n.id, is)
	}
	return nil
}

// unsaved takes what there is to save, as of that many changes; false when there is nothing.
func (n *Node) unsaved() (now core.NodeState, own learnt, changes int64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.dirty.Swap(false) {
		return now, own, 0, false
	}
	n.saving = true
	own, n.own = n.own, learnt{}
	return n.now(), own, n.changes.Load(), true
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

func (t *Tracker) change(n *Node, at time.Time, f func(core.NodeState) core.NodeState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changeLocked(at, f)
}

func (n *Node) changeLocked(at time.Time, f func(core.NodeState) core.NodeState) {
	before := n.now()
	s := router.Dated(before, f(before), at)
	s.Node, s.Account = n.id, n.account
	n.state.Store(&s)
	n.changes.Add(1)
	n.dirty.Store(true)
}

// Failed records one counted failure.
func (t *Tracker) Failed(n *Node, name, reason string, now time.Time, p router.Policy) {
	var became bool
	t.change(n, now, func(s core.NodeState) core.NodeState {
		n.own.fails, n.own.threshold = n.own.fails+1, p.FailThreshold
		n.attempted(true, now, p, &s)
		s, became = router.Failed(s, reason, now, p)
		return s
	})
	if became {
		t.log.Warn("node failed", "account", n.account, "node", name, "node_id", n.id, "reason", reason)
	}
}

// Succeeded records a good answer. It stores nothing while nothing was wrong.
func (t *Tracker) Succeeded(n *Node, name string, p router.Policy) {
	var recovered bool
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.state.Load()
	if s == nil || s.FailStreak == 0 && !s.Failed && s.Degraded != core.DegradedErrors {
		n.meter = n.meter.Attempt(false)
		return
	}
	n.changeLocked(t.now(), func(s core.NodeState) core.NodeState {
		n.own.good, n.own.fails = true, 0
		n.attempted(false, t.now(), p, &s)
		s, _, recovered = router.Succeeded(s)
		return s
	})
	if recovered {
		t.log.Info("node recovered", "account", n.account, "node", name, "node_id", n.id)
	}
}

// attempted meters an attempt. A success ends that the node is degraded for its errors: it was its trial, or it is the only
// one there is.
func (n *Node) attempted(failed bool, now time.Time, p router.Policy, s *core.NodeState) {
	n.meter = n.meter.Attempt(failed)
	n.grade(!failed, core.DegradedErrors, now, p, s)
}

// FirstByte records how long the first content of a stream took.
func (t *Tracker) FirstByte(n *Node, took time.Duration, now time.Time, p router.Policy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meter = n.meter.First(took)
	graded := n.now()
	if n.grade(p.SlowFirstByte == 0 || took <= p.SlowFirstByte, core.DegradedSlow, now, p, &graded) { // else there is nothing to save
		n.changeLocked(now, func(core.NodeState) core.NodeState { return graded })
	}
}

// grade makes a node degraded, or not any more, after a sample of what why names. It reports whether anything changed.
func (n *Node) grade(good bool, why string, now time.Time, p router.Policy, s *core.NodeState) bool {
	switch {
	case s.Degraded == why && good:
		n.meter = router.Meter{}
		*s = router.Degrade(*s, "", now)
		n.own.graded = true
	case s.Degraded == why && !now.Before(s.DegradedAt.Add(p.TrialAfter)), s.Degraded == "" && n.meter.Degraded(p) == why:
		*s = router.Degrade(*s, why, now)
		n.own.graded = true
	default:
		return false
	}
	return true
}

// SameFault reports whether the node failed last on a request of the same fingerprint, and remembers this one.
func (n *Node) SameFault(print uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	same := n.fault == print
	n.fault = print
	return same
}

// Meter is what this process's requests showed of the node.
func (n *Node) Meter() router.Meter {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.meter
}

// Blocked records that the node gets no more requests until someone acts; why is one of core's.
func (t *Tracker) Blocked(n *Node, name, why, reason string, now time.Time) {
	if s := n.state.Load(); s != nil && s.Blocked == why {
		return
	}
	t.change(n, now, func(s core.NodeState) core.NodeState {
		n.own.blocked = why
		s.Blocked, s.LastError, s.LastErrAt = why, reason, now
		return s
	})
	t.log.Error("node blocked: it gets no request until someone acts", "account", n.account, "node", name, "node_id", n.id, "why", why, "reason", reason)
}

// Unblocked ends a block, if it is the one that why says: what it waited for has come about, though nobody said so.
func (t *Tracker) Unblocked(n *Node, name, why string) {
	n.mu.Lock()
	ended := n.now().Blocked == why
	if ended {
		n.changeLocked(t.now(), func(s core.NodeState) core.NodeState {
			s.Blocked, n.own.lifted = "", why
			if n.own.blocked == why {
				n.own.blocked = ""
			}
			return s
		})
	}
	n.mu.Unlock()
	if ended {
		t.log.Info("node unblocked", "account", n.account, "node", name, "node_id", n.id, "why", why)
	}
}

// Cooled records a 429 for a model ("" for all).
func (t *Tracker) Cooled(n *Node, name, model string, until time.Time, reason string, now time.Time) {
	t.change(n, now, func(s core.NodeState) core.NodeState {
		s = router.Cooled(s, model, until, reason, now)
		n.own.cool(model, until, s.Cooling)
		return s
	})
	t.log.Warn("node is cooling down", "account", n.account, "node", name, "node_id", n.id, "model", model, "until", until.UTC().Format(time.RFC3339))
}

// How often Noted writes: at most once within each, for clients choose the models that they ask for.
const (
	noteAfter = time.Minute // any failure
	noteAgain = time.Hour   // the same one
)

// Noted records why a request failed that says nothing of the node, but which its operator can mend: its last error tells it,
// and nothing else changes. What was told within the last minute stays, and so does why a node gets no requests.
func (t *Tracker) Noted(n *Node, reason string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.state.Load(); s != nil {
		age := now.Sub(s.LastErrAt)
		if s.Failed || s.Blocked != "" || age < noteAfter || s.LastError == reason && age < noteAgain {
			return
		}
	}
	n.changeLocked(now, func(s core.NodeState) core.NodeState {
		s.LastError, s.LastErrAt = reason, now
		return s
	})
}
