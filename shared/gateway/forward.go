package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/router"
	"sluice/shared/translator"
	"sluice/shared/upstream"
)

const (
	maxAttempts = 8 // of one request, on all nodes together
	backoffStep = 150 * time.Millisecond
	maxErrBody  = 1 << 20 // of an upstream's error that is passed on
)

// The causes that cancel an attempt or a request.
var (
	errSilence  = errors.New("upstream was silent for too long")
	ErrDraining = errors.New("the gateway is shutting down") // cause of the base context's cancellation
)

// outcome is what one attempt came to.
type outcome struct {
	f    upstream.Failure
	done bool // the client has its answer or the beginning of one, or is gone: nothing more can be tried

	// an error answer of the upstream, whole, to pass on if nothing better comes
	status int
	header http.Header
	body   []byte
	// an error event in place of content, to pass on likewise
	stream   *translator.Error
	misnamed bool // no model of the node's service can have the client's name for it
	// of the node, for either
	wire *dialect
	kind core.Kind
}

func (o *outcome) answered() bool { return o.status != 0 || o.stream != nil }

// tellsMore reports whether a client should rather hear of o than of the last outcome: an answer says more than none, and
// that a node is not offered the model says less than how one failed that is.
func (o *outcome) tellsMore(last *outcome) bool {
	if theirs, ours := last.f.Class == upstream.NotOffered, o.f.Class == upstream.NotOffered; theirs != ours {
		return theirs || !last.answered() && last.f.Class == upstream.OK
	}
	return o.answered() || !last.answered()
}

// attempt is one try at one node.
type attempt struct {
	x     *exchange
	node  *directory.Node
	state *health.Node
	plan  *plan
	body  io.ReadCloser
	size  int64
	again func() (io.ReadCloser, error) // body from its start
	began int64                         // ns since the request's start

	cancel context.CancelCauseFunc
	trace  TraceAttempt // nil: the request is not traced
}

// candidates are the account's nodes as the router sees them, with what this request did to each.
type candidates struct {
	nodes  []*directory.Node
	list   []router.Candidate
	states []*health.Node
	tries  []int
	blamed []bool
	again  []bool // the last failure may pass on the same node
	plans  []*plan
	full   []time.Time // until when a node's own limits refuse the request; nil: none did
	stale  int         // edits met
}

func (x *exchange) candidates() *candidates {
	nodes := x.account.Nodes
	c := &candidates{nodes: make([]*directory.Node, len(nodes)), list: make([]router.Candidate, len(nodes)), states: make([]*health.Node, len(nodes)),
		tries: make([]int, len(nodes)), blamed: make([]bool, len(nodes)), again: make([]bool, len(nodes)),
		plans: make([]*plan, len(nodes))}
	for i := range nodes {
		c.nodes[i], c.list[i].Node = &nodes[i], &nodes[i].Node
		c.states[i] = x.g.o.Health.Node(x.r.Context(), nodes[i].ID, nodes[i].Account)
	}
	return c
}

func (c *candidates) refresh(now time.Time) {
	for i, s := range c.states {
		c.list[i].State, c.list[i].InFlight, c.list[i].Trial = s.State(), s.InFlight(), s.OnTrial()
		if c.full != nil && now.Before(c.full[i]) {
			c.list[i].State = full(c.list[i].State, c.full[i], now)
		}
	}
}

// full is the state of a node whose own limits refuse the request: for this request it cools.
func full(s *core.NodeState, until, now time.Time) *core.NodeState {
	var out core.NodeState
	if s != nil {
		out = *s
	}
	if out.Cooling[""].After(until) {
		return s
	}
	out = router.Cooled(out, "", until, out.LastError, now)
	return &out
}

// forward tries nodes until one answers, and makes sure that the client gets an answer. try makes one attempt.
func (x *exchange) forward(try func(context.Context, *attempt) outcome) {
	c := x.candidates()
	x.plans = c.plans
	if x.name != "" {
		x.routed = router.Resolve(&x.account.Account, c.list, x.name)
	}
	for i := range c.list {
		c.list[i].Unable = x.only != nil && !x.counts(c.list[i].Node)
	}
	req := router.Request{Model: x.routed, Session: x.sess, Active: x.account.ActiveNode, Policy: x.policy()}
	x.g.retries.earn(x.key.Account)
	var last outcome
	for pass := 0; ; {
		req.Now = x.g.o.Now()
		c.refresh(req.Now)
		choice := router.Pick(c.list, &req, random)
		if choice.Index < 0 {
			if last.done {
				return
			}
			if choice.Why == router.Cooling && x.unfit != nil && x.unfitToo(c) {
				continue // what no node can express is not worth waiting for
			}
			if last.header.Get("X-Should-Retry") != "false" && x.absorb(x.r.Context(), choice) { // "false": a spent budget, not a burst
				for i := range c.list {
					c.list[i].Tried = false
				}
				continue
			}
			if x.r.Context().Err() != nil { // while it waited
				if out := x.interrupted(); !out.done {
					x.giveUp(out, choice)
				}
				return
			}
			if x.rec.Attempts > 0 && x.rec.Attempts < maxAttempts && pass+1 < x.retryMax() && x.g.retries.left(x.key.Account) && c.nextPass() {
				pass++
				if x.backoff(pass) {
					continue
				}
				if out := x.interrupted(); !out.done {
					x.giveUp(out, choice)
				}
				return
			}
			x.giveUp(last, choice)
			return
		}
		if x.rec.Attempts == maxAttempts {
			x.giveUp(last, router.Choice{Index: -1, Why: router.Tried})
			return
		}
		i := choice.Index
		if !x.planned(c, i) {
			continue
		}
		if c.tries[i] > 0 && !x.g.retries.spend(x.key.Account) {
			x.giveUp(last, router.Choice{Index: -1, Why: router.Tried})
			return
		}
		if !c.states[i].Begin(choice.Trial) {
			continue // another request took the trial: Pick sees it now
		}
		out, admitted, err := func() (outcome, bool, error) {
			x.trial = choice.Trial
			x.spare = choice.Trial && router.Spare(c.list, i)
			defer func() { c.states[i].End(x.trial) }() // also after a panic: a trial never given back would be the node's last
			if ok, err := x.admitNode(c, i); !ok {
				return outcome{}, false, err
			}
			return x.tryNode(c.nodes[i], c.states[i], c.plans[i], try), true, nil
		}()
		if err != nil {
			x.failLate(err)
			return
		}
		if !admitted {
			continue
		}
		c.tries[i]++
		c.list[i].Tried = true
		c.again[i] = out.f.Class == upstream.Connection || out.f.Class == upstream.Server || out.f.Class == upstream.Overloaded
		x.report(c.nodes[i], c.states[i], out.f, !c.blamed[i])
		x.tellAttempt(c.nodes[i], out.f)
		if m := x.g.o.Metrics; m != nil && !x.brief {
			m.Attempt(c.nodes[i].Kind, out.f.Class.String())
		}
		c.blamed[i] = c.blamed[i] || out.f.Blames()
		if out.f.Retryable() {
			x.g.o.Log.Info("attempt failed", "request_id", x.info.ID, "account", x.key.Account, "node", c.nodes[i].Name,
				"attempt", x.rec.Attempts, "status", out.f.Status, "reason", out.f.Reason)
		}
		if out.done {
			return
		}
		if out.tellsMore(&last) {
			last = out
		}
		if !c.again[i] {
			x.dropPlan(c, i) // its body may be large
		}
		if !out.f.Retryable() {
			x.giveUp(out, router.Choice{Index: -1, Why: router.Tried})
			return
		}
	}
}

// dropPlan gives the body back that was made for a node.
func (x *exchange) dropPlan(c *candidates, i int) {
	if p := c.plans[i]; p != nil {
		x.release(p.size())
	}
	c.plans[i] = nil
}

// nextPass makes the nodes whose failure may have passed eligible again; false when there is none.
func (c *candidates) nextPass() bool {
	any := false
	for i := range c.list {
		if s := c.states[i].State(); c.tries[i] > 0 && c.again[i] && (s == nil || !s.Failed) {
			c.list[i].Tried = false
			any = true
		}
	}
	return any
}

// backoff waits before trying the same nodes again; false when the client left meanwhile.
func (x *exchange) backoff(pass int) bool {
	d := time.Duration(pass) * backoffStep
	return sleep(x.r.Context(), d/2+time.Duration(random()%uint64(d)))
}

// sleep waits; false when the context ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tryNode makes one attempt at a node.
func (x *exchange) tryNode(n *directory.Node, s *health.Node, p *plan, try func(context.Context, *attempt) outcome) outcome {
	x.rec.Attempts++
	x.rec.Node, x.rec.NodeName, x.rec.UpstreamID, x.kind = n.ID, n.Name, "", n.Kind
	x.noteTokens(core.Tokens{}, translator.Terms{}, false) // what another node told is not this one's
	a := &attempt{x: x, node: n, state: s, plan: p}
	x.rec.ServedModel, x.info.Wire = p.sent, p.wire.name
	a.began = x.since()
	a.note()
	a.beginTrace(n)
	a.prepareBody()
	ctx, cancel := context.WithCancelCause(x.r.Context())
	a.cancel = cancel
	defer cancel(nil)
	out := try(ctx, a)
	a.noteTry(&out.f)
	a.endTrace(&out.f)
	return out
}

// noteTry records the attempt, unless it is the only one and good.
func (a *attempt) noteTry(f *upstream.Failure) {
	rec := &a.x.rec
	if f.Class == upstream.OK && len(rec.Tries) == 0 {
		return
	}
	t := core.Try{Node: a.node.ID, Name: a.node.Name, Status: f.Status, StartMS: a.began / 1e6, TookMS: (a.x.since() - a.began) / 1e6}
	if f.Class != upstream.OK {
		t.Reason = clip(f.Reason, maxReason)
	}
	rec.Tries = append(rec.Tries, t)
}

const maxReason = 200 // bytes that a record keeps of why an attempt failed

// send sends the request to the attempt's node. On failure the outcome tells why.
func (a *attempt) send(ctx context.Context) (*http.Response, outcome) {
	client := a.x.g.o.Upstreams[a.node.Kind]
	if client == nil {
		if a.body != nil {
			_ = a.body.Close()
		}
		return nil, outcome{f: upstream.Failure{Class: upstream.Server, Reason: "this build has no upstream of kind " + string(a.node.Kind)}}
	}
	method := a.x.r.Method
	if method == http.MethodHead && a.x.brief {
		method = http.MethodGet // the answer is read before it is believed
	}
	req := &upstream.Request{Method: method, Path: a.x.path, Header: a.header(), Body: a.body, Length: a.size, Again: a.again, Model: a.plan.sent, Stream: a.x.rec.Stream}
	if a.plan.same {
		req.Query = a.x.r.URL.RawQuery
	} else {
		req.Path = a.plan.wire.path
	}
	resp, err := client.Send(ctx, upstream.Target{Node: &a.node.Node, Credential: a.node.Credential}, req)
	if err != nil {
		return nil, a.broken(ctx, err)
	}
	a.x.rec.UpstreamID = clipID(upstream.RequestID(resp.Header))
	a.answered(resp)
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, outcome{}
	}
	defer resp.Body.Close()
	o := outcome{status: resp.StatusCode, header: resp.Header, wire: a.plan.wire}
	if src, why := plainBody(resp); why == "" {
		o.body, err = io.ReadAll(io.LimitReader(src, maxErrBody))
	}
	if ctx.Err() != nil {
		return nil, a.broken(ctx, err)
	}
	o.f = client.Classify(resp.StatusCode, resp.Header, o.body)
	if o.kind = a.node.Kind; o.kind == core.KindBedrock {
		o.body = toldByBedrock(o.wire, resp, o.body)
	}
	if resp.StatusCode < 400 { // a redirect or an interim status is no answer to pass on
		o.status = 0
	}
	return nil, o
}

// broken judges an attempt that ended without an answer: whose doing was it?
func (a *attempt) broken(ctx context.Context, err error) outcome {
	switch {
	case a.x.r.Context().Err() != nil:
		return a.x.interrupted()
	case errors.Is(context.Cause(ctx), errSilence):
		return outcome{f: upstream.Failure{Class: upstream.Timeout, Reason: errSilence.Error()}}
	}
	f := upstream.ClassifyError(err)
	return outcome{f: f, misnamed: a.x.misnamed(&a.node.Node, f)}
}

// misnamed reports whether a node could not even be asked for the model by the name that the client chose for it. One that a
// map chose is its operator's to correct.
func (x *exchange) misnamed(n *core.Node, f upstream.Failure) bool {
	if f.Class != upstream.NotOffered || f.Status != 0 {
		return false
	}
	plain := *n
	plain.ModelMap = nil
	return router.SentModel(n, x.routed) == router.SentModel(&plain, x.name)
}

// interrupted is the outcome when the request's own context ended: the client left, or the server stops.
func (x *exchange) interrupted() outcome {
	if errors.Is(context.Cause(x.r.Context()), ErrDraining) {
		return outcome{done: false, f: upstream.Failure{Class: upstream.Stopped, Reason: "shutdown"}}
	}
	x.gone()
	return outcome{done: true}
}

// policy is the account's, else the gateway's.
func (x *exchange) policy() router.Policy {
	p := router.Policy{FailThreshold: x.g.s.FailThreshold, TrialAfter: x.g.s.TrialAfter, SlowFirstByte: x.g.s.SlowFirstByte, ErrorRate: x.g.s.ErrorRate}
	if x.account.FailLimit > 0 {
		p.FailThreshold = x.account.FailLimit
	}
	if x.account.HealthSec > 0 {
		p.TrialAfter = time.Duration(x.account.HealthSec) * time.Second
	}
	return p
}

func (x *exchange) retryMax() int {
	if x.brief {
		return 1
	}
	if x.account.Retries > 0 {
		return x.account.Retries
	}
	return x.g.s.RetryMax
}

// report tells the tracker what the attempt showed of the node. One request counts at most one failure against a node.
func (x *exchange) report(n *directory.Node, s *health.Node, f upstream.Failure, first bool) {
	now, h := x.g.o.Now(), x.g.o.Health
	if x.spare && f.Class == upstream.Timeout && s.State() != nil { // a trial that was not waited for
		h.FirstByte(s, x.g.s.SlowFirstByte+time.Second, now, x.policy())
		x.touched = append(x.touched, s)
	}
	switch {
	case x.brief:
		return // a list of models tells nothing of messages
	case !x.ep.answers() && (f.Class == upstream.OK || f.Class == upstream.Server || f.Class == upstream.Overloaded):
		return // nor do counts, files and batches, but that the node is there and takes the credential
	case f.Class == upstream.RateLimited:
		if x.name == "" {
			return // files and batches have limits of their own
		}
		model := router.SentModel(&n.Node, x.routed)
		if f.All {
			model = ""
		}
		h.Cooled(s, n.Name, model, now.Add(f.RetryAfter), f.Reason, now)
	case f.Blocked != "":
		h.Blocked(s, n.Name, f.Blocked, f.Reason, now)
	case f.Blames():
		if !first || x.fault(n, s, f) {
			return
		}
		h.Failed(s, n.Name, f.Reason, now, x.policy())
	case f.Class == upstream.OK && f.Status == 0:
		return // ended by the client or by us: says nothing of the node
	case f.Class == upstream.NotOffered && n.Kind == core.KindBedrock && x.ep.answers() && !x.misnamed(&n.Node, f):
		h.Noted(s, f.Reason, now) // what there is to do about it in AWS's console; the node serves other models
	case f.Class != upstream.OK:
		return // the request's own fault, or ours: says nothing of the node, good or bad
	default:
		h.Succeeded(s, n.Name, x.policy())
		x.convict(now)
		if s.State() == nil {
			return
		}
	}
	x.touched = append(x.touched, s)
}
