package adminapi

import (
	"context"
	"slices"
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
	checksAtOnce = 12              // asked for by calls
	checksOfOne  = 2               // of them for one account
	checksKept   = 4               // of them for accounts that have none under way
	checkTime    = 40 * time.Second
	maxChecked   = 10_000 // nodes whose last check is remembered
)

// checkGate bounds the checks that calls ask for: each costs a message, and a tenant's node may never answer. Nobody waits
// at it. An account has two of the twelve slots at most, and a second one only while four more are left, so that it takes
// eight accounts to keep a ninth waiting, and that no longer than a check may take.
type checkGate struct {
	mu    sync.Mutex
	last  map[string]time.Time // node -> when it was let in
	slots []*checkSlot         // at most checksAtOnce
}

// checkSlot is a check under way. It ends by itself at its time limit, whether the check keeps to that or not.
type checkSlot struct {
	account string
	began   time.Time
}

func newCheckGate() *checkGate { return &checkGate{last: make(map[string]time.Time)} }

// enter lets a check in, or tells how long to wait. Who was let in must call leave.
func (g *checkGate) enter(n *core.Node, now time.Time) (*checkSlot, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slots = slices.DeleteFunc(g.slots, func(s *checkSlot) bool { return now.Sub(s.began) >= checkTime })
	own := 0
	for _, s := range g.slots {
		if s.account == n.Account {
			own++
		}
	}
	if wait := checkPause - now.Sub(g.last[n.ID]); wait > 0 && wait <= checkPause {
		return nil, &core.Error{Code: core.CodeRateLimited, RetryAfter: wait, Message: "the node was checked a moment ago; look at the result, or try again in 5 seconds"}
	}
	if free := checksAtOnce - len(g.slots); own >= checksOfOne || free == 0 || own > 0 && free <= checksKept {
		return nil, &core.Error{Code: core.CodeRateLimited, RetryAfter: checkPause, Message: "other checks are under way; try again when they have ended"}
	}
	if len(g.last) >= maxChecked {
		clear(g.last)
	}
	g.last[n.ID] = now
	s := &checkSlot{account: n.Account, began: now}
	g.slots = append(g.slots, s)
	return s, nil
}

func (g *checkGate) leave(slot *checkSlot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slots = slices.DeleteFunc(g.slots, func(s *checkSlot) bool { return s == slot })
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
	slot, err := c.a.gate.enter(&n, c.a.o.Now())
	if err != nil {
		return err
	}
	defer c.a.gate.leave(slot)
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
