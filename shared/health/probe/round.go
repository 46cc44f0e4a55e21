package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
	"sluice/shared/store"
)

const (
	probing  = "probe"
	sweeping = "sweep"
	// saveEvery is after how many nodes a round notes where it is, for the case that it dies.
	saveEvery = 16
	// early is how much sooner than its interval a sweep may begin: schedulers are not exact.
	early = 10 // percent
)

// place is where the rounds of a name are, kept for the next one.
type place struct {
	Began time.Time         `json:"began,omitzero"` // the last round that began with the first node
	From  map[string]string `json:"from,omitempty"` // lane -> id of the last node that had its turn; empty: the round is over
}

// lane is the nodes of a round that are asked in their turn, a few at a time. The Claude CLI has one of its own, or
// a few slow nodes would hold up all others.
type lane struct {
	name   string
	atOnce int
	due    []*core.Node

	dispatched int // nodes that had their turn
}

// Probe asks the nodes that are failed or degraded, each by its own method and when its account's interval is over since it
// was asked last, and brings back those that are well. At the end it makes up for changes that were not told. A round runs on
// one instance at a time; it ends with ctx, and the next one begins where it stopped.
func (c *Checker) Probe(ctx context.Context) (Report, error) { return c.round(ctx, probing) }

// Sweep asks all enabled nodes that are not blocked in the same way.
func (c *Checker) Sweep(ctx context.Context) (Report, error) { return c.round(ctx, sweeping) }

// SweepDue is Sweep, unless a sweep by any instance began less than about every ago and came to its end. It is for callers
// that do not know of each other.
func (c *Checker) SweepDue(ctx context.Context, every time.Duration) (Report, error) {
	var p place
	if err := c.o.Tables.ReadMeta(ctx, metaOf(sweeping), &p); err != nil && !store.Missing(err) {
		return Report{}, err
	}
	now := c.o.Now()
	// one that began in the future did so before the clock was set back
	if len(p.From) == 0 && !now.Before(p.Began) && now.Before(p.Began.Add(every-every*early/100)) {
		return Report{Elsewhere: true}, nil
	}
	return c.Sweep(ctx)
}

func metaOf(name string) string { return "health-" + name }

func (c *Checker) round(ctx context.Context, name string) (rep Report, err error) {
	holder := rand.Text()
	lease := "check-" + name
	_, err = c.o.Leases.Acquire(ctx, lease, holder, c.o.Now(), checkLease)
	if errors.Is(err, store.ErrHeld) {
		return Report{Elsewhere: true}, nil
	}
	if err != nil {
		return rep, err
	}
	defer func() { // what was found out is saved, and the lease given back, when time is up
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
		defer cancel()
		err = errors.Join(err, c.o.Leases.Release(late, lease, holder))
	}()
	within, cancel := context.WithTimeout(ctx, checkLease-checkTime) // never longer than the lease
	defer cancel()
	rep, err = c.run(within, name)
	if name == probing && ctx.Err() == nil {
		err = errors.Join(err, c.o.Journal.Reconcile(ctx))
	}
	return rep, err
}

// run asks what is due and notes where it stopped.
func (c *Checker) run(ctx context.Context, name string) (rep Report, err error) {
	lanes, policies, err := c.due(ctx, name)
	if err != nil {
		return rep, err
	}
	if len(lanes) == 0 && name == probing {
		return rep, nil
	}
	r := &rounds{c: c, name: name, policies: policies, lanes: lanes}
	if err := c.o.Tables.ReadMeta(ctx, metaOf(name), &r.at); err != nil && !store.Missing(err) {
		return rep, err
	}
	if len(r.at.From) == 0 {
		r.at.Began = c.o.Now().UTC()
	}
	for _, l := range lanes {
		l.begin(r.at.From[l.name])
	}
	r.work(ctx)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	return r.end(late)
}

// begin turns the lane so that the node after the one with the id comes first.
func (l *lane) begin(after string) {
	slices.SortFunc(l.due, func(x, y *core.Node) int { return store.CompareIDs(x.ID, y.ID) })
	if i := slices.IndexFunc(l.due, func(n *core.Node) bool { return store.CompareIDs(n.ID, after) > 0 }); i > 0 {
		l.due = slices.Concat(l.due[i:], l.due[:i])
	}
}

// rounds is one round under way.
type rounds struct {
	c        *Checker
	name     string
	policies map[string]router.Policy // by account
	lanes    []*lane

	mu  sync.Mutex
	rep Report
	at  place
}

func (r *rounds) work(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range r.lanes {
		wg.Go(func() { r.lane(ctx, l) })
	}
	wg.Wait()
}

// lane asks its nodes in order until ctx ends.
func (r *rounds) lane(ctx context.Context, l *lane) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, l.atOnce)
	for i, n := range l.due {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return
		}
		l.dispatched++
		// those before it are asked, but for the slowest, whose turn comes with the next round
		if done := i - l.atOnce; i%saveEvery == 0 && done > 0 {
			r.save(ctx, l.name, l.due[done-1].ID)
		}
		wg.Go(func() {
			defer func() { <-slots }()
			r.one(ctx, n)
		})
	}
}

func (r *rounds) one(ctx context.Context, n *core.Node) {
	source := core.SourceSweep
	if r.name == probing {
		source = core.SourceProbe
	}
	p, ok := r.policies[n.Account]
	if !ok {
		p = r.c.o.Policy
	}
	found, recovered, err := r.c.check(ctx, n, source, p)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errPanic) {
		r.c.o.Log.Error("what a health check found out of a node was not saved", "account", n.Account, "node", n.Name, "node_id", n.ID, "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rep.Checked++
	if recovered {
		r.rep.Recovered++
	}
	if !found.OK && err == nil {
		r.rep.Bad++
	}
}

// save notes where a lane is.
func (r *rounds) save(ctx context.Context, lane, id string) {
	r.mu.Lock() // lanes note theirs in one place
	defer r.mu.Unlock()
	from := make(map[string]string, len(r.at.From)+1)
	maps.Copy(from, r.at.From)
	from[lane] = id
	r.at.From = from
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if err := r.c.o.Tables.WriteMeta(ctx, metaOf(r.name), r.at); err != nil {
		r.c.o.Log.Warn("where a round of health checks is was not noted; after a crash it begins anew", "error", err)
	}
}

// end notes where the next round begins.
func (r *rounds) end(ctx context.Context) (Report, error) {
	from := map[string]string{}
	for _, l := range r.lanes {
		left := len(l.due) - l.dispatched
		r.rep.Left += left
		switch {
		case left > 0 && l.dispatched > 0:
			from[l.name] = l.due[l.dispatched-1].ID // also those that were cut short had their turn
		case left > 0 && r.at.From[l.name] != "":
			from[l.name] = r.at.From[l.name]
		}
	}
	if r.name == probing && len(from) == 0 && len(r.at.From) == 0 {
		return r.rep, nil
	}
	r.at.From = from
	return r.rep, r.c.o.Tables.WriteMeta(ctx, metaOf(r.name), r.at)
}

// due are the nodes that a round is for. What other instances learnt of them is taken over.
func (c *Checker) due(ctx context.Context, name string) ([]*lane, map[string]router.Policy, error) {
	states, err := c.o.Tables.States.All(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	known := make(map[string]*core.NodeState, len(states))
	ill := false
	for i := range states {
		known[states[i].Value.Node] = &states[i].Value
		ill = ill || wantsProbe(&states[i].Value)
	}
	if name == probing && !ill {
		c.lookAgain(time.Time{})
		return nil, nil, nil
	}
	policies, err := c.policies(ctx)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := c.o.Tables.Nodes.All(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	enabled := make([]*core.Node, 0, len(nodes))
	for i := range nodes {
		n := &nodes[i].Value
		if s := known[n.ID]; !n.Disabled && (s == nil || s.Blocked == "") {
			enabled = append(enabled, n)
		}
	}
	if name == probing {
		if enabled, err = c.ripe(ctx, enabled, known, policies); err != nil {
			return nil, nil, err
		}
	}
	lanes, err := c.lanes(ctx, enabled)
	return lanes, policies, err
}

func (c *Checker) policies(ctx context.Context) (map[string]router.Policy, error) {
	accounts, err := c.o.Tables.Accounts.All(ctx, "")
	if err != nil {
		return nil, err
	}
	out := make(map[string]router.Policy, len(accounts))
	for i := range accounts {
		out[accounts[i].Value.ID] = c.policyOf(&accounts[i].Value)
	}
	return out, nil
}

func wantsProbe(s *core.NodeState) bool { return s.Blocked == "" && (s.Failed || s.Degraded != "") }

// ripe are those of nodes that are failed or degraded, and whose interval is over since they became so or were asked last.
// It notes when the next one will be.
func (c *Checker) ripe(ctx context.Context, nodes []*core.Node, known map[string]*core.NodeState, policies map[string]router.Policy) ([]*core.Node, error) {
	checks, err := c.o.Tables.Checks.All(ctx, "")
	if err != nil {
		return nil, err
	}
	asked := make(map[string]time.Time, len(checks))
	for i := range checks {
		asked[checks[i].Value.Node] = checks[i].Value.Last.At
	}
	now := c.o.Now()
	var out []*core.Node
	var next time.Time
	for _, n := range nodes {
		s := known[n.ID]
		if s == nil || !wantsProbe(s) {
			continue
		}
		p, ok := policies[n.Account]
		if !ok {
			p = c.o.Policy
		}
		at := dueAt(n.ID, s, asked[n.ID], p)
		if at.After(now.Add(p.TrialAfter)) { // the clock was set back
			at = now
		}
		if cool := router.CoolingUntil(s, "", now); cool.After(at) {
			at = cool // it said itself when to come again
		}
		if !now.Before(at) {
			out = append(out, n)
			at = now.Add(p.TrialAfter * 4 / 5)
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	c.lookAgain(next)
	return out, nil
}

// dueAt is when a node is to be asked: an interval after it was asked last, or after it failed, whichever is later, and up to
// a fifth of that sooner, so that nodes that failed together are not all asked together. Traffic's own trials do not put
// it off.
func dueAt(id string, s *core.NodeState, asked time.Time, p router.Policy) time.Time {
	since := s.Since
	if s.Failed && since.IsZero() {
		since = s.FailedAt
	}
	if asked.After(since) {
		since = asked
	}
	if since.IsZero() {
		return since
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id + since.String()))
	return since.Add(p.TrialAfter - time.Duration(h.Sum64()%100)*(p.TrialAfter/500))
}

// lookAgain notes when Tick must look: when a node is due, and after an interval at the latest.
func (c *Checker) lookAgain(at time.Time) {
	latest := c.o.Now().Add(c.o.Policy.TrialAfter)
	if at.IsZero() || at.After(latest) {
		at = latest
	}
	c.next.Store(at.UnixNano())
}

// lanes sorts nodes by how many of them may be asked at a time, and reads what other instances know of them.
func (c *Checker) lanes(ctx context.Context, nodes []*core.Node) ([]*lane, error) {
	all := &lane{name: "all", atOnce: checksAtOnce}
	cli := &lane{name: "cli", atOnce: 1}
	byAccount := map[string][]string{}
	for _, n := range nodes {
		byAccount[n.Account] = append(byAccount[n.Account], n.ID)
		if c.method(n) == core.CheckCLI {
			cli.due = append(cli.due, n)
		} else {
			all.due = append(all.due, n)
		}
	}
	for account, ids := range byAccount {
		if err := c.o.Tracker.Reload(ctx, account, ids); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc([]*lane{all, cli}, func(l *lane) bool { return len(l.due) == 0 }), nil
}
