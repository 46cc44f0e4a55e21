package boot

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

const (
	checksAtOnce = 8
	checkTime    = 15 * time.Second // of one node
	checkLease   = 2 * time.Minute  // a round that dies keeps others away for so long
	maxCheckBody = 64 << 10
)

// Probe checks the failed nodes, each by its own method, and brings back those that answer. A round runs on one instance at
// a time. It ends with ctx; the next begins where it stopped.
func (a *App) Probe(ctx context.Context) (JobReport, error) { return a.check(ctx, "probe", true) }

// Sweep checks all enabled nodes in the same way, and notes failures too.
func (a *App) Sweep(ctx context.Context) (JobReport, error) { return a.check(ctx, "sweep", false) }

// check is one round. name names its lease and the place where the next one goes on.
func (a *App) check(ctx context.Context, name string, failedOnly bool) (rep JobReport, err error) {
	holder := rand.Text()
	lease := "check-" + name
	_, err = a.leases.Acquire(ctx, lease, holder, a.now(), checkLease)
	if errors.Is(err, store.ErrHeld) {
		return JobReport{Elsewhere: true}, nil
	}
	if err != nil {
		return rep, err
	}
	late := context.WithoutCancel(ctx) // what was found out is saved, and the lease given back, when time is up
	defer func() { err = errors.Join(err, a.leases.Release(late, lease, holder)) }()

	due, err := a.due(ctx, failedOnly)
	if err != nil || len(due) == 0 {
		return rep, err
	}
	var from string
	if err := a.Tables.ReadMeta(ctx, lease, &from); err != nil && !store.Missing(err) {
		return rep, err
	}
	if i := slices.IndexFunc(due, func(n *core.Node) bool { return store.CompareIDs(n.ID, from) > 0 }); i > 0 {
		due = slices.Concat(due[i:], due[:i])
	}
	round, cancel := context.WithTimeout(ctx, checkLease-checkTime) // never longer than the lease
	defer cancel()
	done := a.checkAll(round, due, &rep)
	rep.Left = len(due) - done
	stopped := ""
	if rep.Left > 0 && done > 0 {
		stopped = due[done-1].ID
	} else if rep.Left > 0 {
		stopped = from
	}
	if stopped != from {
		err = a.Tables.WriteMeta(late, lease, stopped)
	}
	return rep, err
}

// due are the nodes that a round is for, in the order of their ids. What other instances learnt of them is taken over.
func (a *App) due(ctx context.Context, failedOnly bool) ([]*core.Node, error) {
	states, err := a.Tables.States.All(ctx, "")
	if err != nil {
		return nil, err
	}
	known := make(map[string]*core.NodeState, len(states))
	for i := range states {
		known[states[i].Value.Node] = &states[i].Value
	}
	nodes, err := a.Tables.Nodes.All(ctx, "")
	if err != nil {
		return nil, err
	}
	var due []*core.Node
	byAccount := map[string][]string{}
	for i := range nodes {
		n := &nodes[i].Value
		s := known[n.ID]
		if n.Disabled || s != nil && s.Blocked != "" || failedOnly && (s == nil || !s.Failed) {
			continue
		}
		due = append(due, n)
		byAccount[n.Account] = append(byAccount[n.Account], n.ID)
	}
	for account, ids := range byAccount {
		if err := a.tracker.Reload(ctx, account, ids); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(due, func(x, y *core.Node) int { return store.CompareIDs(x.ID, y.ID) })
	return due, nil
}

// checkAll checks nodes in order until ctx ends, and returns how many it did.
func (a *App) checkAll(ctx context.Context, due []*core.Node, rep *JobReport) (done int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, checksAtOnce)
	for done < len(due) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		n := due[done]
		done++
		wg.Go(func() {
			recovered := a.checkNode(ctx, n)
			mu.Lock()
			rep.Checked++
			if recovered {
				rep.Recovered++
			}
			mu.Unlock()
			<-slots
		})
	}
	wg.Wait()
	return done
}

// checkNode asks one node and tells the tracker. A check that time cut short says nothing of the node.
func (a *App) checkNode(ctx context.Context, n *core.Node) (recovered bool) {
	one, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	s := a.tracker.Node(ctx, n.ID, n.Account)
	before := s.State()
	f := a.ask(one, n)
	if ctx.Err() != nil && f.Class != upstream.OK {
		return false
	}
	switch {
	case f.Class == upstream.OK && clears(n, before):
		recovered = before != nil && before.Failed
		a.tracker.Succeeded(s, n.Name, a.policyOf(ctx, n.Account))
	case f.Blocked != "":
		a.tracker.Blocked(s, n.Name, f.Blocked, f.Reason, a.now())
	case f.Class == upstream.RateLimited:
		a.tracker.Cooled(s, n.Name, "", a.now().Add(f.RetryAfter), f.Reason, a.now())
	case f.Blames():
		a.tracker.Failed(s, n.Name, "health check: "+f.Reason, a.now(), a.policyOf(ctx, n.Account))
	}
	if err := a.tracker.Save(context.WithoutCancel(ctx), s); err != nil {
		a.log.Error("what a health check found out of a node was not saved", "account", n.Account, "node", n.Name, "node_id", n.ID, "error", err)
	}
	return recovered
}

func (a *App) policyOf(ctx context.Context, account string) router.Policy {
	p := a.policy
	acct, err := a.Tables.Accounts.Get(ctx, account)
	if err != nil {
		return p
	}
	if acct.Value.FailLimit > 0 {
		p.FailThreshold = acct.Value.FailLimit
	}
	return p
}

// clears reports whether a good answer to the node's method says anything of what it failed by: a bare HEAD sees no more
// than the connection.
func clears(n *core.Node, s *core.NodeState) bool {
	return n.HealthMethod != "head" || s == nil || !s.Failed || connectionFailed(s.LastError)
}

// connectionFailed reports whether a reason is one that upstream.ClassifyError gives.
func connectionFailed(reason string) bool {
	reason = strings.TrimPrefix(reason, "health check: ")
	return strings.HasPrefix(reason, "connection ") || reason == "host name not found" || reason == "TLS handshake failed" ||
		strings.HasPrefix(reason, "address is not public")
}

// ask asks a node by its method. What a host cannot do, such as run the Claude CLI, is done by a message.
func (a *App) ask(ctx context.Context, n *core.Node) upstream.Failure {
	t, err := a.pool.target(n)
	if err != nil {
		a.log.Error("credential of a node cannot be opened", "account", n.Account, "node", n.Name, "node_id", n.ID, "error", err)
		return upstream.Failure{Class: upstream.ClientFault}
	}
	client := a.clients[n.Kind]
	switch {
	case client == nil:
		return upstream.Failure{Class: upstream.ClientFault}
	case n.Kind == core.KindAmazonQ: // its quota costs nothing, and needs a token and the service
		if _, err := a.pool.client.Quota(ctx, t); err != nil {
			return upstream.ClassifyError(err)
		}
		return upstream.Failure{}
	case n.HealthMethod == "head":
		return reach(ctx, client, t)
	}
	return message(ctx, client, t, a.now())
}

// reach is the method head: any answer below 500 will do.
func reach(ctx context.Context, c upstream.Client, t upstream.Target) upstream.Failure {
	resp, err := c.Send(ctx, t, &upstream.Request{Method: http.MethodHead, Path: "/v1/models", Header: http.Header{}})
	if err != nil {
		return upstream.ClassifyError(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 500 {
		return c.Classify(resp.StatusCode, resp.Header, nil)
	}
	return upstream.Failure{}
}

// message is the method api: one token of the cheapest model that the node is known to have, else the list of its models.
func message(ctx context.Context, c upstream.Client, t upstream.Target, now time.Time) upstream.Failure {
	r := &upstream.Request{Method: http.MethodGet, Path: "/v1/models", Header: http.Header{}}
	if model := cheapest(t.Node, now); model != "" {
		type said struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		}
		body, err := json.Marshal(struct {
			Model     string `json:"model"`
			MaxTokens int    `json:"max_tokens"`
			Messages  []said `json:"messages"`
		}{model, 1, []said{{"user", "hi"}}})
		if err != nil {
			return upstream.Failure{Class: upstream.ClientFault}
		}
		r.Method, r.Path, r.Length = http.MethodPost, "/v1/messages", int64(len(body))
		if t.Node.Kind == core.KindOpenAI {
			r.Path = "/v1/chat/completions"
		}
		r.Header.Set("Content-Type", "application/json")
		r.Again = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.Again()
	}
	resp, err := c.Send(ctx, t, r)
	if err != nil {
		return upstream.ClassifyError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxCheckBody))
	if err != nil {
		return upstream.ClassifyError(err)
	}
	return c.Classify(resp.StatusCode, resp.Header, text)
}

// cheapest is the model to ask a node for: the one that its operator chose, else of those that it is said to serve the one
// that a word costs least of, by the built-in prices. "" when none is known.
func cheapest(n *core.Node, now time.Time) string {
	if n.HealthModel != "" {
		return n.HealthModel
	}
	prices := pricing.Builtin()
	best, least := "", int64(-1)
	for _, m := range n.Models {
		if sent := n.ModelMap[m]; sent != "" {
			m = sent
		}
		if strings.Contains(m, "*") {
			continue
		}
		cost, priced := prices.Cost(m, core.Tokens{Input: 1000, Output: 1000}, now)
		if best == "" || priced && (least < 0 || cost < least) {
			best = m
			if priced {
				least = cost
			}
		}
	}
	if best == "" && n.Kind == core.KindAnthropic {
		best = "claude-haiku-5-5"
	}
	return best
}
