package health

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
	"sluice/shared/store"
)

// sampleEvery is how often a node's history gets an entry though nothing changed.
const sampleEvery = 5 * time.Minute

// Emitter takes events for those who want to hear of them.
type Emitter interface {
	// Emit notes an event; nothing is sent by it.
	Emit(ctx context.Context, e core.Event) error
}

// Journal keeps the history of nodes and tells of changes, once each: what it told of a node last is stored, so that a
// process that dies in between is made up for by the next look at the node, wherever that is.
type Journal struct {
	o JournalOptions
}

// JournalOptions are what a Journal needs.
type JournalOptions struct {
	Tables *store.Tables
	Events Emitter
	Log    *slog.Logger
	Now    func() time.Time
}

// NewJournal makes a journal.
func NewJournal(o JournalOptions) *Journal { return &Journal{o: o} }

// Changed looks whether a node's condition is still the one that was told last, and tells if not. It is for
// Options.Changed: a failure is logged, and made up for by Reconcile.
func (j *Journal) Changed(ctx context.Context, id string, _ core.Condition) {
	if err := j.look(ctx, id, core.HealthCheck{Method: core.CheckProxy, Source: core.SourceTraffic}); err != nil {
		j.o.Log.Warn("a change of a node was not noted; the next health check does so", "node_id", id, "error", err)
	}
}

// Check notes what a health check found. The node's state must have been saved before.
func (j *Journal) Check(ctx context.Context, n *core.Node, c core.HealthCheck) error {
	err := j.look(ctx, n.ID, c)
	if !c.OK {
		err = errors.Join(err, j.o.Events.Emit(ctx, core.Event{Type: core.EventNodeCheckFailed, Account: n.Account, Subject: "node " + n.ID,
			Node: n.ID, Name: n.Name, At: c.At, Text: "Health check of the node failed: " + c.Error + "."}))
	}
	return err
}

// Reconcile tells of every node whose condition is another one than was told: a process died before it could, a cool-down
// ended, or someone disabled it.
func (j *Journal) Reconcile(ctx context.Context) error {
	nodes, err := j.o.Tables.Nodes.All(ctx, "")
	if err != nil {
		return err
	}
	states, err := j.o.Tables.States.All(ctx, "")
	if err != nil {
		return err
	}
	checks, err := j.o.Tables.Checks.All(ctx, "")
	if err != nil {
		return err
	}
	known := make(map[string]*core.NodeState, len(states))
	for i := range states {
		known[states[i].Value.Node] = &states[i].Value
	}
	told := make(map[string]core.Condition, len(checks))
	for i := range checks {
		told[checks[i].Value.Node] = checks[i].Value.Told
	}
	var all error
	for i := range nodes {
		n := &nodes[i].Value
		if is, _, _ := j.condition(n, known[n.ID]); is != heard(told[n.ID]) {
			all = errors.Join(all, j.look(ctx, n.ID, core.HealthCheck{Method: core.CheckProxy, Source: core.SourceTraffic}))
		}
	}
	return all
}

// heard is what was told when nothing was: a node begins online.
func heard(c core.Condition) core.Condition {
	if c == "" {
		return core.Online
	}
	return c
}

func (j *Journal) condition(n *core.Node, s *core.NodeState) (core.Condition, time.Time, string) {
	if n.Disabled {
		return core.Disabled, n.UpdatedAt, ""
	}
	return router.Notable(s, j.o.Now())
}

// look compares what is with what was told. c is a check when c.At is set.
func (j *Journal) look(ctx context.Context, id string, c core.HealthCheck) error {
	r, err := j.o.Tables.Nodes.Get(ctx, id)
	if store.Missing(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	n, t := &r.Value, j.o.Tables
	var state *core.NodeState
	if s, err := t.States.Get(ctx, id); err == nil {
		state = &s.Value
	} else if !store.Missing(err) {
		return err
	}
	last, err := t.Checks.Get(ctx, id)
	if err != nil && !store.Missing(err) {
		return err
	}
	now := j.o.Now().UTC()
	is, since, reason := j.condition(n, state)
	was := heard(last.Value.Told)
	if was == core.Disabled && is != was { // enabling forgives everything: of what there was before, nothing is dated
		since = n.UpdatedAt
	}
	checked := !c.At.IsZero()
	if !checked {
		if is == was {
			return nil
		}
		c.At, c.OK, c.Error = since, serving(is) || is == core.Disabled && serving(was), reason // to switch it off is no failure
		if c.At.IsZero() {
			c.At = now
		}
	}
	c.At, c.Condition = c.At.UTC().Truncate(time.Millisecond), is
	sample := is != was || now.Sub(last.Value.Sampled) >= sampleEvery
	if is != was {
		if err := j.tell(ctx, n, state, was, is, since, reason); err != nil {
			return err
		}
	}
	if sample {
		if err := j.append(ctx, n, c); err != nil {
			return err
		}
	}
	_, err = t.Checks.Upsert(ctx, id, func(k *core.NodeCheck) error {
		k.Node, k.Account = n.ID, n.Account
		if checked {
			k.Last = c
		}
		if sample {
			k.Sampled = now
		}
		if is != was {
			k.Told, k.Since = is, since
		}
		return nil
	})
	return err
}

// serving reports whether a node in that condition gets requests.
func serving(c core.Condition) bool { return c == core.Online || c == core.Degraded }

// append adds an entry to the node's day. One that is there already, because a process died after it, stays alone.
func (j *Journal) append(ctx context.Context, n *core.Node, c core.HealthCheck) error {
	day := c.At.Format(time.DateOnly)
	_, err := j.o.Tables.Days.Upsert(ctx, store.DayID(n.ID, day), func(d *core.HealthDay) error {
		d.Node, d.Account, d.Day = n.ID, n.Account, day
		for i := len(d.Checks) - 1; i >= 0 && !d.Checks[i].At.Before(c.At); i-- {
			if d.Checks[i].At.Equal(c.At) && d.Checks[i].Condition == c.Condition {
				return nil
			}
		}
		at := len(d.Checks)
		for at > 0 && d.Checks[at-1].At.After(c.At) {
			at--
		}
		d.Checks = append(d.Checks, core.HealthCheck{})
		copy(d.Checks[at+1:], d.Checks[at:])
		d.Checks[at] = c
		d.Checks = d.Checks[max(0, len(d.Checks)-core.MaxDayChecks):]
		return nil
	})
	return err
}

// tell emits the events of a change. Their ids say which change it is, so that telling twice tells once.
func (j *Journal) tell(ctx context.Context, n *core.Node, s *core.NodeState, was, is core.Condition, since time.Time, reason string) error {
	e := core.Event{Account: n.Account, Subject: "node " + n.ID, Node: n.ID, Name: n.Name, At: j.o.Now().UTC()}
	once := n.ID + "/" + string(is) + "/" + strconv.FormatInt(since.UnixMilli(), 10)
	because := "."
	if reason != "" {
		because = ": " + reason + "."
	}
	var all error
	emit := func(t core.EventType, text string) {
		e.Type, e.Text, e.Once = t, text, string(t)+"/"+once
		all = errors.Join(all, j.o.Events.Emit(ctx, e))
	}
	emit(core.EventNodeStatus, "The node's state was "+words(was)+" and is now "+words(is)+because)
	switch {
	case is == core.Failed:
		emit(core.EventNodeFailed, "The node failed and gets no requests until it answers again"+because)
	case is == core.BlockedLogin || is == core.BlockedSuspended:
		emit(core.EventAuthFailed, "The node gets no requests until someone acts, its state is "+words(is)+because)
	case was == core.Failed && serving(is):
		emit(core.EventNodeRecovered, "The node answers again and gets requests.")
	case is == core.Cooling && quota(s, j.o.Now()):
		emit(core.EventQuotaWarning, "The quota behind the node is used up"+because)
	}
	if was != core.Disabled && is != core.Disabled {
		all = errors.Join(all, j.switched(ctx, n, was, is, e, once))
	}
	return all
}

// quota reports whether a cool-down is rather that of a quota than of a burst.
func quota(s *core.NodeState, now time.Time) bool {
	return s != nil && s.Cooling[""].Sub(now) > time.Hour
}

func words(c core.Condition) string {
	switch c {
	case core.BlockedLogin:
		return "login needed"
	case core.BlockedSuspended:
		return "suspended by its upstream"
	case core.Cooling:
		return "cooling down"
	}
	return string(c)
}

// switched tells when the change moved traffic without a session or a model of its own to another node.
func (j *Journal) switched(ctx context.Context, n *core.Node, was, is core.Condition, e core.Event, once string) error {
	if serving(was) == serving(is) {
		return nil
	}
	acct, err := j.o.Tables.Accounts.Get(ctx, n.Account)
	if err != nil {
		if store.Missing(err) {
			return nil
		}
		return err
	}
	nodes, err := j.o.Tables.Nodes.All(ctx, n.Account)
	if err != nil {
		return err
	}
	states, err := j.o.Tables.States.All(ctx, n.Account)
	if err != nil {
		return err
	}
	down := map[string]bool{}
	for i := range states {
		c, _, _ := router.ConditionOf(&states[i].Value, j.o.Now())
		down[states[i].Value.Node] = !serving(c)
	}
	list := make([]core.Node, len(nodes))
	for i := range nodes {
		list[i] = nodes[i].Value
	}
	store.SortNodes(list)
	down[n.ID] = !serving(was)
	before := first(&acct.Value, list, down)
	down[n.ID] = !serving(is)
	after := first(&acct.Value, list, down)
	if before == nil || after == nil || before.ID == after.ID {
		return nil
	}
	e.Type, e.Subject, e.Node, e.Name = core.EventNodeSwitched, "account "+n.Account, after.ID, after.Name
	e.Once = string(e.Type) + "/" + once
	e.Text = "Requests go to this node now instead of node " + before.ID + "."
	return j.o.Events.Emit(ctx, e)
}

// first is the node that an account's requests go to first: the activated one, else the first of the lowest weight.
func first(a *core.Account, sorted []core.Node, down map[string]bool) (best *core.Node) {
	for i := range sorted {
		n := &sorted[i]
		if n.Disabled || down[n.ID] {
			continue
		}
		if n.ID == a.ActiveNode {
			return n
		}
		if best == nil {
			best = n
		}
	}
	return best
}
