package adminapi

import (
	"context"
	"strings"
	"sync"
	"time"

	"sluice/shared/core"
)

// Checker tests nodes. It is safe for concurrent use.
type Checker interface {
	// Check asks the node now by its own method, notes what it found, and returns it. The error is for a check that could
	// not be made; a node that fails it is no error.
	Check(ctx context.Context, n core.Node) (core.HealthCheck, error)
}

const (
	checkPause   = 5 * time.Second // between two of a node
	checksAtOnce = 8               // asked for by calls
	checksOfOne  = 3               // of them for one account
	checkTime    = 40 * time.Second
	maxChecked   = 10_000 // nodes whose last check is remembered
)

// checkGate bounds the checks that calls ask for: each costs a message, and a tenant's node may never answer.
type checkGate struct {
	mu      sync.Mutex
	last    map[string]time.Time // node -> when it was let in
	running map[string]int       // by account
	all     int
}

func newCheckGate() *checkGate {
	return &checkGate{last: make(map[string]time.Time), running: make(map[string]int)}
}

// enter lets a check in, or tells how long to wait.
func (g *checkGate) enter(n *core.Node, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait := checkPause - now.Sub(g.last[n.ID]); wait > 0 && wait <= checkPause {
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: wait, Message: "the node was checked a moment ago; look at the result, or try again in 5 seconds"}
	}
	if g.all >= checksAtOnce || g.running[n.Account] >= checksOfOne {
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: checkPause, Message: "other checks are under way; try again when they have ended"}
	}
	if len(g.last) >= maxChecked {
		clear(g.last)
	}
	g.last[n.ID] = now
	g.all++
	g.running[n.Account]++
	return nil
}

func (g *checkGate) leave(account string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.running[account]--; g.running[account] == 0 {
		delete(g.running, account)
	}
}

// checkView is a health check, or a change of a node's condition, as answers show it.
type checkView struct {
	At     time.Time      `json:"check_time"`
	OK     bool           `json:"success"`
	MS     int64          `json:"response_time_ms"`
	Error  string         `json:"error_message"`
	Method string         `json:"check_method"`
	Source string         `json:"check_source"`
	State  core.Condition `json:"state,omitempty"` // of the node after it
}

func viewCheck(k core.HealthCheck) checkView {
	return checkView{At: k.At.UTC(), OK: k.OK, MS: k.MS, Error: k.Error, Method: k.Method, Source: k.Source, State: k.Condition}
}

// checkNode tests a node now.
func (c *call) checkNode() error {
	id := c.r.URL.Query().Get("id")
	if id == "" {
		var in idInput
		if err := c.optional(&in); err != nil {
			return err
		}
		id = text(in.ID)
	}
	n, err := c.node(id)
	if err != nil {
		return err
	}
	if c.a.o.Checker == nil {
		return core.E(core.CodeUnavailable, "not implemented here: this process checks no nodes")
	}
	if err := c.a.gate.enter(&n, c.a.o.Now()); err != nil {
		return err
	}
	defer c.a.gate.leave(n.Account)
	ctx, cancel := context.WithTimeout(c.r.Context(), checkTime)
	defer cancel()
	k, err := c.a.o.Checker.Check(ctx, n)
	switch {
	case err != nil && ctx.Err() != nil:
		return core.E(core.CodeTimeout, "the check did not end in time; what it finds is not known")
	case err != nil:
		return err
	}
	if k.Condition == "" {
		acct, err := c.a.o.Tables.Accounts.Get(ctx, n.Account)
		if err != nil {
			return err
		}
		k.Condition, _, _ = c.condition(&n, c.state(&n), nil, &acct.Value)
	}
	return c.ok(struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		checkView
	}{n.ID, n.Name, viewCheck(k)})
}

// plainReason is what an error that was met at a node is called before people without a login: of texts that hold what an
// upstream said, or where it is, the kind alone.
func plainReason(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "health check: "), "health check by head: ")
	s, _, _ = strings.Cut(s, ":")
	switch {
	case s == "":
		return ""
	case s == "connection refused", s == "connection failed", s == "connection timed out", s == "connection lost before an answer",
		s == "host name not found", s == "TLS handshake failed":
		return s
	case len(s) == len("status 500") && strings.HasPrefix(s, "status ") && decimal(s[len("status "):]):
		return s
	}
	return "error"
}
