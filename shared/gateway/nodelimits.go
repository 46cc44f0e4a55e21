package gateway

import (
	"errors"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/router"
	"sluice/shared/store"
)

const (
	shortestWait = 100 * time.Millisecond // before a node that refused is asked again: each asking is a trip to the store
	maxStale     = 4                      // edits of nodes that one request follows
)

// nodeRefusals is what limits of nodes did to a request.
type nodeRefusals struct {
	any   bool
	retry bool // one of them passes within minutes
}

// takeNode asks the store for a place on a node: a trip of its own, made only for nodes with limits. A *store.Refusal says
// that there is none now, store.ErrStale that the node was edited or deleted.
func (x *exchange) takeNode(n *directory.Node, model string) error {
	x.current.Store(nil)
	if n.Limits.IsZero() || x.brief {
		return nil
	}
	s := store.Subject{Kind: store.KindNode, ID: n.ID, Version: n.Version, Limits: n.Limits}
	if _, err := x.g.o.Admission.Admit(x.r.Context(), x.admitRequest([]store.Subject{s}, x.askNode(n, model))); err != nil {
		return err
	}
	if s.Limits.Leased() {
		x.current.Store(&s)
		x.held = append(slices.DeleteFunc(x.held, func(o store.Subject) bool { return o.ID == s.ID }), s)
	}
	return nil
}

func (x *exchange) askNode(n *directory.Node, model string) (a store.Amount) {
	if !n.Limits.Metered() || !x.spends() {
		return a
	}
	a.Tokens = x.inputTokens() + x.outputTokens()
	if n.Limits.USDDay+n.Limits.USDMonth > 0 {
		a.USD = x.price(model, x.routed, n.Kind)
	}
	return a
}

// admitNode takes a place on a candidate. false: the node refused, which counts as cooling for this request, or is another
// one by now; the router sees it. An error: the store is away.
func (x *exchange) admitNode(c *candidates, i int) (bool, error) {
	n := c.nodes[i]
	err := x.takeNode(n, c.plans[i].sent)
	var refused *store.Refusal
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &refused):
		if refused.RetryAfter == store.NeverFits {
			x.unfit = x.refusal(refused, x.askNode(n, c.plans[i].sent))
			c.list[i].Unable = true
			return false, nil
		}
		x.full.note(refused)
		if c.full == nil {
			c.full = make([]time.Time, len(c.list))
		}
		c.full[i] = x.g.o.Now().Add(max(min(refused.RetryAfter, wait(refused)), shortestWait))
		return false, nil
	case errors.Is(err, store.ErrStale) && c.stale < maxStale:
		c.stale++
		fresh, err := x.reread(n.ID)
		if err != nil {
			return false, err
		}
		c.nodes[i], c.list[i].Node, c.plans[i] = fresh, &fresh.Node, nil
		return false, nil
	}
	return false, x.storeAway(err)
}

func (f *nodeRefusals) note(r *store.Refusal) {
	f.any = true
	f.retry = f.retry || !budget(r.Limit)
}

// reread returns a node as it is now, and as this request sees it; one that is gone comes back disabled.
func (x *exchange) reread(id string) (*directory.Node, error) {
	acct, err := x.g.o.Directory.Account(x.r.Context(), x.key.Account, directory.Newest)
	if err != nil {
		return nil, x.noAccount(err)
	}
	x.syncHealth(acct)
	if x.front != nil {
		now := *acct
		now.ModelMap = x.account.ModelMap // by which the request was routed
		if acct, err = x.frontAccount(&now); err != nil {
			return nil, err
		}
	}
	for i := range acct.Nodes {
		if acct.Nodes[i].ID == id {
			return &acct.Nodes[i], nil
		}
	}
	return &directory.Node{Node: core.Node{ID: id, Account: acct.ID, Disabled: true}}, nil
}

// allFull is the error when the nodes left have reached limits, their own or their upstreams'.
func (x *exchange) allFull(c router.Choice) *core.Error {
	e := &core.Error{Code: core.CodeRateLimited, RetryAfter: c.Wait}
	whose := "All nodes of this account are rate limited by their upstreams."
	if x.full.any {
		whose = "All nodes of this account that serve this request have reached their limits."
		e.NoRetry = !x.full.retry && c.Wait > maxMinuteWait
	}
	e.Message = whose + " Try again in " + itoa(seconds(c.Wait)) + "s."
	return e
}

// takeOwner takes a place on the one node that can serve the request, and returns the node as it is then.
func (x *exchange) takeOwner(n *directory.Node) (*directory.Node, error) {
	for try := 0; ; try++ {
		err := x.takeNode(n, "")
		var refused *store.Refusal
		switch {
		case err == nil:
			return n, nil
		case errors.As(err, &refused):
			return nil, x.refusal(refused, store.Amount{})
		case !errors.Is(err, store.ErrStale) || try == maxStale:
			return nil, x.storeAway(err)
		}
		if n, err = x.reread(n.ID); err != nil {
			return nil, err
		}
		if n.Disabled {
			return nil, x.noNode(router.Choice{Index: -1, Why: router.NoNode})
		}
	}
}
