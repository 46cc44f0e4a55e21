package gateway

import (
	"context"
	"hash/maphash"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

// Events takes what an operator may want to hear of. Emit must be cheap where nobody does.
type Events interface {
	Emit(ctx context.Context, e core.Event) error
}

// maxEvents of one request are told of.
const maxEvents = 8

// tell keeps an event until the client has its answer.
func (x *exchange) tell(t core.EventType, subject, node, name, text string) {
	if x.g.o.Events == nil || len(x.events) >= maxEvents {
		return
	}
	account := x.key.Account
	if t == core.EventSystemError {
		account = "" // what is wrong with the gateway is not its tenants' business
	}
	x.events = append(x.events, core.Event{Type: t, Account: account, Subject: subject, Node: node, Name: name, Text: text, At: x.g.o.Now().UTC()})
}

// emit passes the events on.
func (x *exchange) emit(ctx context.Context) {
	x.tellBudgets()
	for _, e := range x.events {
		if ctx.Err() != nil { // the store is slow: what goes on will happen again
			break
		}
		if err := x.g.o.Events.Emit(ctx, e); err != nil {
			x.g.o.Log.Warn("an event was not noted", "request_id", x.info.ID, "event", e.Type, "error", err)
		}
	}
	x.events = nil
}

// tellAttempt tells of an attempt that failed by the upstream's fault.
func (x *exchange) tellAttempt(n *directory.Node, f upstream.Failure) {
	if !f.Blames() || x.brief {
		return
	}
	t, what := core.EventUpstreamError, "answered with an error"
	switch {
	case f.Class == upstream.Credential:
		t, what = core.EventAuthFailed, "refuses the node's credential"
	case f.Class == upstream.Connection || f.Class == upstream.Timeout:
		t, what = core.EventProxyError, "could not be reached"
	}
	x.tell(t, "node "+n.ID, n.ID, n.Name, "The upstream of the node "+what+": "+f.Reason+".")
}

// tellFailed tells of a request that no node could answer.
func (x *exchange) tellFailed(last outcome, choice router.Choice) {
	why := last.f.Reason
	switch {
	case x.brief || last.f.Class == upstream.Stopped || last.f.Class == upstream.ClientFault:
		return
	case last.f.Blames() || last.f.Class == upstream.RateLimited:
	case choice.Why == router.Failing:
		why = "all have failed"
	case choice.Why == router.Cooling:
		why = "all have reached a limit"
	case choice.Why == router.Blocked:
		why = "all wait for someone to act"
	default:
		return
	}
	x.tell(core.EventRequestFailed, "account "+x.key.Account, x.rec.Node, x.rec.NodeName,
		"A request failed on all nodes that could serve it: "+why+". Its id is "+x.info.ID+".")
}

// warnAt is the share of a budget from which its owner is told.
const warnAt = 0.8

// tellBudgets tells of budgets that are used up, or nearly so, by the figures that came with the admission.
func (x *exchange) tellBudgets() {
	if x.g.o.Events == nil {
		return
	}
	for i := range x.figures {
		f := &x.figures[i]
		if f.Limit != store.LimitUSDDay && f.Limit != store.LimitUSDMonth || f.Max <= 0 {
			continue
		}
		used := float64(f.Max-f.Remaining) / float64(f.Max)
		if used < warnAt {
			continue
		}
		share := "80%"
		if f.Remaining <= f.Max/100 {
			share = "100%"
		}
		who := f.Subject + " " + x.key.ID
		name := x.key.Name
		if f.Subject == store.KindAccount {
			who, name = f.Subject+" "+x.key.Account, ""
		}
		period := "day"
		if f.Limit == store.LimitUSDMonth {
			period = "month"
		}
		x.tell(core.EventQuotaWarning, who+" "+period+" "+share, "", name, "The budget a "+period+" of "+who+" is used by "+share+".")
	}
}

// suspect is a failure that may be the request's own doing.
type suspect struct {
	node  *directory.Node
	state *health.Node
	f     upstream.Failure
}

// fault reports whether an upstream's error is the same request's that it last failed on. Clients repeat what failed, some
// of them ten times: a body that an upstream chokes on must not take every node from everyone (D53 for errors that call
// themselves the server's). Another node's good answer to it proves that it was the node after all.
func (x *exchange) fault(n *directory.Node, s *health.Node, f upstream.Failure) bool {
	if f.Class != upstream.Server || f.Status == 0 || x.body == nil || len(x.body.buf) == 0 {
		return false
	}
	if x.print == 0 {
		x.print = maphash.Bytes(x.g.seed, x.body.buf) | 1
	}
	if !s.SameFault(x.print) {
		return false
	}
	x.suspects = append(x.suspects, suspect{n, s, f})
	return true
}

// convict counts the failures of nodes on a request that another one could answer.
func (x *exchange) convict(now time.Time) {
	for _, s := range x.suspects {
		x.g.o.Health.Failed(s.state, s.node.Name, s.f.Reason, now, x.policy())
		x.touched = append(x.touched, s.state)
	}
	x.suspects = nil
}
