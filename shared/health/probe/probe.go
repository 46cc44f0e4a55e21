// Package probe asks nodes whether they are well: those that failed or became slow as soon as their interval is over, all of
// them from time to time, one when somebody wants to know. What it finds goes to the tracker, as traffic does, and to the
// journal. A check never holds up a request.
package probe

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/health"
	"sluice/shared/pricing"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

const (
	checksAtOnce = 8
	checkTime    = 15 * time.Second // of one node, other than by the Claude CLI
	manualTime   = 20 * time.Second // of all that a check on demand does, likewise: an admin function has 29 s
	checkLease   = 2 * time.Minute  // a round that dies keeps others away for so long
	saveTime     = 10 * time.Second // for what was found out, whoever called
	again        = 2 * time.Second  // until a look that another instance's round prevented
	maxCheckBody = 64 << 10
)

// Journal keeps what checks found; health.Journal is one.
type Journal interface {
	// Check notes a check, once the node's state is saved.
	Check(ctx context.Context, n *core.Node, c core.HealthCheck) error
	// Reconcile makes up for changes that nobody noted.
	Reconcile(ctx context.Context) error
}

// Warmup is what a failed node must do before it comes back: of Attempts checks, the one that found it well being the first,
// Required must be good.
type Warmup struct {
	Attempts int           // below 2: the first good check brings it back
	Required int           // at most Attempts
	Timeout  time.Duration // of one attempt; 0: as long as any check
	AtOnce   int           // nodes that are warmed up at a time; 0: one
}

// Options are what a Checker needs.
type Options struct {
	Tables  *store.Tables
	Leases  store.Leases
	Tracker *health.Tracker
	Journal Journal
	Clients map[core.Kind]upstream.Client
	Own     map[core.Kind]func(context.Context, upstream.Target) error // kinds that are asked in a way of their own, instead of a message
	Target  func(*core.Node) (upstream.Target, error)                  // opens a node's credential
	Policy  router.Policy                                              // of accounts that have none; TrialAfter is also how often a failed node is asked
	Warmup  Warmup
	CLI     *CLI // runs the Claude CLI; nil: this host must not, and sends messages instead
	Log     *slog.Logger
	Now     func() time.Time
}

// Checker checks nodes. It is safe for concurrent use.
type Checker struct {
	o      Options
	prices *pricing.List
	cli    chan struct{} // holds one: of all that this process runs
	warm   chan struct{}
	told   atomic.Bool  // that the CLI is not here
	noted  atomic.Bool  // something changed
	next   atomic.Int64 // ns since 1970: before it, Tick has nothing to do unless something changed
}

// New makes a checker.
func New(o Options) *Checker {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Policy.TrialAfter <= 0 {
		o.Policy.TrialAfter = 30 * time.Second
	}
	if o.Warmup.Timeout <= 0 {
		o.Warmup.Timeout = checkTime
	}
	return &Checker{o: o, prices: pricing.Builtin(), cli: make(chan struct{}, 1), warm: make(chan struct{}, max(o.Warmup.AtOnce, 1))}
}

// Report is what a round did.
type Report struct {
	Checked   int  // nodes
	Recovered int  // of those: failed before, not any more
	Bad       int  // of those: gave no good answer
	Left      int  // nodes that the next round begins with: time was up
	Elsewhere bool // another instance is at it
}

// Check asks one node now, whatever its state, and notes the answer as every check does. It takes 20 s at most, 35 s by the
// Claude CLI, and more only where the node failed and needs a warm-up. The error is ctx's own, or the store's.
func (c *Checker) Check(ctx context.Context, n core.Node) (core.HealthCheck, error) {
	limit := manualTime
	if n.HealthMethod == core.CheckCLI && c.o.CLI != nil {
		limit = cliTime + 5*time.Second
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := c.o.Tracker.Reload(within, n.Account, []string{n.ID}); err != nil {
		return core.HealthCheck{}, err
	}
	found, _, err := c.check(within, &n, core.SourceManual, c.policy(within, n.Account))
	if err != nil && ctx.Err() == nil && within.Err() != nil { // its patience is over, not the caller's
		found = core.HealthCheck{At: c.o.Now().UTC(), MS: limit.Milliseconds(), Error: "no answer within " + limit.String(), Method: c.method(&n), Source: core.SourceManual}
		err = nil
	}
	return found, err
}

// Noticed tells that the condition of some node changed: the next Tick looks what there is to do. It costs nothing.
func (c *Checker) Noticed() { c.noted.Store(true) }

// Tick is Probe for who calls it every second: it does not ask the store before a node can be due, by what the last look
// found and Noticed told. A look is due after an interval in any case, as other instances' nodes fail, too.
func (c *Checker) Tick(ctx context.Context) (Report, error) {
	now := c.o.Now()
	if !c.noted.Swap(false) && now.UnixNano() < c.next.Load() {
		return Report{}, nil
	}
	c.next.Store(now.Add(c.o.Policy.TrialAfter).UnixNano()) // unless the round knows better
	rep, err := c.Probe(ctx)
	if rep.Elsewhere {
		c.next.Store(now.Add(again).UnixNano()) // it may have begun before our node failed
	}
	return rep, err
}

// policy is the account's, else the gateway's.
func (c *Checker) policy(ctx context.Context, account string) router.Policy {
	a, err := c.o.Tables.Accounts.Get(ctx, account)
	if err != nil {
		return c.o.Policy
	}
	return c.policyOf(&a.Value)
}

func (c *Checker) policyOf(a *core.Account) router.Policy {
	p := c.o.Policy
	if a.FailLimit > 0 {
		p.FailThreshold = a.FailLimit
	}
	if a.HealthSec > 0 {
		p.TrialAfter = time.Duration(a.HealthSec) * time.Second
	}
	return p
}
