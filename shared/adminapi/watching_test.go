package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/router"
	"sluice/shared/store"
)

// watching is what a pool has for health, monitor and notifications.
type watching struct {
	o       adminapi.Options // as the API was made of
	hub     *notify.Hub
	service *fakeService
	events  *fakeEvents
	checker *fakeChecker
	sums    *countedUsage
}

// watch completes the options.
func (p *pool) watch(o *adminapi.Options, docs store.Docs) {
	p.service, p.events, p.checker, p.sums = &fakeService{}, &fakeEvents{}, &fakeChecker{now: p.clock}, &countedUsage{Usage: o.Usage}
	p.hub = notify.New(notify.Options{Docs: docs, Leases: p.store, Box: p.box, HTTP: &http.Client{Transport: p.service}, Now: p.clock, Log: o.Log})
	o.Notify, o.Events, o.Checker, o.Usage = p.hub, p.events, p.checker, p.sums
	o.SweepEvery = 5 * time.Minute
	o.Defaults = adminapi.Defaults{Retries: 3, FailLimit: 3, HealthSec: 30}
	p.o = *o
}

// fakeService is whatever channels speak to.
type fakeService struct {
	mu     sync.Mutex
	status int    // 0: 200
	says   string // "": ok
	got    []string
}

func (s *fakeService) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r.URL.String()+" "+string(body))
	status, says := s.status, s.says
	if status == 0 {
		status, says = 200, "ok"
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(says)), Request: r}, nil
}

func (s *fakeService) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		return ""
	}
	return s.got[len(s.got)-1]
}

// fakeEvents keeps what was told.
type fakeEvents struct {
	mu   sync.Mutex
	err  error
	told []core.Event
}

func (e *fakeEvents) Emit(_ context.Context, ev core.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, ev)
	return e.err
}

// take returns what was told since the last take, as "type account subject".
func (e *fakeEvents) take() (out []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.told {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", ev.Type, ev.Account, ev.Subject, ev.Name)))
	}
	e.told = nil
	return out
}

// fakeChecker answers what the test says.
type fakeChecker struct {
	now   func() time.Time
	mu    sync.Mutex
	found core.HealthCheck
	err   error
	wait  chan struct{} // nil: it answers at once
	begun chan struct{}
	asked []string
}

func (k *fakeChecker) Check(ctx context.Context, n core.Node) (core.HealthCheck, error) {
	k.mu.Lock()
	k.asked = append(k.asked, n.ID)
	found, err, wait := k.found, k.err, k.wait
	k.mu.Unlock()
	if wait != nil {
		k.begun <- struct{}{}
		select {
		case <-wait:
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
	found.At = k.now()
	return found, err
}

// countedUsage counts what is asked of sums.
type countedUsage struct {
	store.Usage
	n atomic.Int64
}

func (u *countedUsage) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	u.n.Add(1)
	return u.Usage.Sums(ctx, f, by)
}

// countedDocs counts what is read.
type countedDocs struct {
	store.Docs
	gets, lists atomic.Int64
}

func (d *countedDocs) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	d.gets.Add(1)
	return d.Docs.Get(ctx, kind, id)
}

func (d *countedDocs) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	d.lists.Add(1)
	return d.Docs.List(ctx, kind, account, after, limit)
}

// made makes a node of an account and returns its id.
func (p *pool) made(account, body string) string {
	p.t.Helper()
	return p.want(201, "POST", "/admin/api/nodes?account_id="+account, body).json()["id"].(string)
}

// seen reads the node as its account's list shows it.
func (p *pool) seen(account, id string) map[string]any {
	p.t.Helper()
	for _, n := range items(p.want(200, "GET", "/admin/api/nodes?account_id="+account, ""), "nodes") {
		if n["id"] == id {
			return n
		}
	}
	p.t.Fatalf("node %s is not listed", id)
	return nil
}

// items is a member of an answer that is a list of objects.
func items(a *answer, name string) []map[string]any {
	a.t.Helper()
	l, ok := a.json()[name].([]any)
	if !ok {
		a.t.Fatalf("no list %q: %s", name, a.body)
	}
	out := make([]map[string]any, len(l))
	for i := range l {
		out[i], _ = l[i].(map[string]any)
	}
	return out
}

// day writes a node's history of one day.
func (p *pool) day(account, node string, checks ...core.HealthCheck) {
	p.t.Helper()
	day := checks[0].At.UTC().Format(time.DateOnly)
	_, err := p.tables.Days.Upsert(p.t.Context(), store.DayID(node, day), func(d *core.HealthDay) error {
		d.Node, d.Account, d.Day, d.Checks = node, account, day, append(d.Checks, checks...)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// saw writes the last check of a node.
func (p *pool) saw(account, node string, k core.HealthCheck) {
	p.t.Helper()
	_, err := p.tables.Checks.Upsert(p.t.Context(), node, func(c *core.NodeCheck) error {
		c.Node, c.Account, c.Last = node, account, k
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// failed makes a node failed.
func (p *pool) failed(account, id, why string) {
	p.t.Helper()
	_, err := p.tables.States.Upsert(p.t.Context(), id, func(s *core.NodeState) error {
		at := p.clock()
		*s = core.NodeState{Node: id, Account: account, Failed: true, FailedAt: at, FailStreak: 3, LastError: why, LastErrAt: at, Since: at, Reason: why}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

const anthropicNode = `{"name":"n","base_url":"https://api.anthropic.com","api_key":"sk-ant-x"}`

// TestNodeViewOfHealth: conditions with when and why, the last check, and the measures.
func TestNodeViewOfHealth(t *testing.T) {
	p := newPool(t, nil)
	id := p.made("default", anthropicNode)
	n := p.seen("default", id)
	for _, f := range []string{"state_since", "ping_ms", "last_ping_ms", "last_health_check_at", "cache_read_ratio", "first_byte_ewma_ms", "error_rate"} {
		if v, ok := n[f]; !ok || v != nil {
			t.Errorf("%s of a node that nobody used or checked is %v, want null", f, v)
		}
	}
	if n["state"] != "online" || n["state_reason"] != "" {
		t.Errorf("a new node: %v", n)
	}
	began := p.clock()
	for _, c := range []struct {
		why    string
		state  core.NodeState
		after  time.Duration
		want   string
		reason string
	}{
		{"slow", core.NodeState{Degraded: core.DegradedSlow, DegradedAt: began, Since: began, Reason: "its first content comes too late"}, 0, "degraded", "its first content comes too late"},
		{"cooling for one model", core.NodeState{Cooling: map[string]time.Time{"m": began.Add(time.Hour)}, Since: began, Reason: "status 429"}, 0, "cooling", "status 429"},
		{"just failed", core.NodeState{Failed: true, FailedAt: began, Since: began, Reason: "status 500"}, 29 * time.Second, "failed", "status 500"},
		{"its trial is due", core.NodeState{Failed: true, FailedAt: began, Since: began, Reason: "status 500"}, 30 * time.Second, "half_open", "status 500"},
		{"blocked, which no trial ends", core.NodeState{Failed: true, FailedAt: began, Blocked: core.BlockedLogin, Since: began, Reason: "refused"}, time.Hour, "login_needed", "refused"},
	} {
		_, err := p.tables.States.Upsert(t.Context(), id, func(s *core.NodeState) error {
			*s = c.state
			s.Node, s.Account = id, "default"
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		p.advance(began.Add(c.after).Sub(p.clock()))
		n := p.seen("default", id)
		if n["state"] != c.want || n["state_reason"] != c.reason || n["state_since"] != began.Format(time.RFC3339) {
			t.Errorf("%s: %v since %v because %q, want %s since %s because %q", c.why, n["state"], n["state_since"], n["state_reason"], c.want, began.Format(time.RFC3339), c.reason)
		}
	}
	p.want(200, "PUT", "/admin/api/config", `{"health_interval_sec":5}`)
	p.failed("default", id, "status 500")
	p.advance(5 * time.Second)
	if n := p.seen("default", id); n["state"] != "half_open" {
		t.Errorf("the account's own interval: %v", n["state"])
	}
	p.want(200, "POST", "/admin/api/nodes/enable", `{"id":"`+id+`"}`)

	p.saw("default", id, core.HealthCheck{At: began, OK: true, MS: 321, Method: "api", Source: "scheduled"})
	if n := p.seen("default", id); n["ping_ms"] != 321.0 || n["last_ping_ms"] != 321.0 || n["ping_error"] != "" || n["last_health_check_at"] != began.Format(time.RFC3339) {
		t.Errorf("after a good check: %v", n)
	}
	p.saw("default", id, core.HealthCheck{At: began, MS: 15000, Error: "connection timed out"})
	if n := p.seen("default", id); n["ping_error"] != "connection timed out" || n["last_ping_error"] != "connection timed out" {
		t.Errorf("after a bad check: %v", n)
	}
	rec := core.Settlement{RequestID: "r1", Account: "default", Node: id, Status: 200, StartedAt: began, EndedAt: began, Tokens: core.Tokens{Input: 50, CacheRead: 150, Output: 7}}
	if err := p.store.Settle(t.Context(), store.SettleRequest{ID: "r1", Account: "default", Now: began, Zone: time.UTC, Record: rec}); err != nil {
		t.Fatal(err)
	}
	h := p.health.Node(t.Context(), id, "default")
	p.health.FirstByte(h, 250*time.Millisecond, p.clock(), p.policy())
	p.health.Failed(h, "n", "status 500", p.clock(), p.policy())
	p.health.Succeeded(h, "n", p.policy())
	if n := p.seen("default", id); n["cache_read_ratio"] != 0.75 || n["first_byte_ewma_ms"] != 250.0 || n["error_rate"] != 0.5 {
		t.Errorf("measures: ratio %v, first byte %v, errors %v", n["cache_read_ratio"], n["first_byte_ewma_ms"], n["error_rate"])
	}
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"https://relay.example"}`)
	if n := p.seen("default", id); n["last_health_check_at"] != nil || n["ping_error"] != "" {
		t.Errorf("a check of the old address is told of the new one: %v", n)
	}
}

// TestPoolViewOfHealth: the older pool's routes tell of the last check, too.
func TestPoolViewOfHealth(t *testing.T) {
	p := newPool(t, &fakeQ{})
	path := p.add("one")
	n := p.node(path)
	p.saw("default", n.ID, core.HealthCheck{At: p.clock(), Error: "status 500", MS: 3})
	for _, m := range []map[string]any{p.want(200, "GET", path, "").json(), p.want(200, "GET", "/admin/accounts", "").list()[0]} {
		if m["last_health_check"] != p.clock().Format(time.RFC3339) || m["health_check_error"] != "status 500" {
			t.Errorf("%v", m)
		}
	}
}

// TestCheckNode: one node, now, but not too often.
func TestCheckNode(t *testing.T) {
	p := newPool(t, nil)
	id, second := p.made("default", anthropicNode), p.made("default", anthropicNode)
	p.checker.found = core.HealthCheck{OK: true, MS: 42, Method: "api", Source: "manual"}
	a := p.want(200, "POST", "/admin/api/nodes/check?id="+id, "").json()
	for f, want := range map[string]any{"id": id, "name": "n", "success": true, "response_time_ms": 42.0, "error_message": "", "check_method": "api", "check_source": "manual",
		"state": "online", "check_time": p.clock().Format(time.RFC3339)} {
		if a[f] != want {
			t.Errorf("%s is %v, want %v", f, a[f], want)
		}
	}
	if a := p.want(429, "POST", "/admin/api/nodes/check", `{"id":"`+id+`"}`); a.header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	p.want(200, "POST", "/admin/api/nodes/check", `{"id":"`+second+`"}`)
	p.advance(5 * time.Second)
	p.checker.found = core.HealthCheck{Error: "status 401", Condition: core.Failed}
	if a := p.want(200, "POST", "/admin/api/nodes/check", `{"id":"`+id+`"}`).json(); a["success"] != false || a["error_message"] != "status 401" || a["state"] != "failed" {
		t.Errorf("a bad check is a good answer: %v", a)
	}
	p.advance(5 * time.Second)
	p.checker.err = errors.New("redis: connection to 10.0.0.7 lost")
	if a := p.want(500, "POST", "/admin/api/nodes/check?id="+id, ""); strings.Contains(a.body, "10.0.0.7") {
		t.Errorf("the error tells of the store: %s", a.body)
	}
	p.want(404, "POST", "/admin/api/nodes/check?id=999", "")
	p.want(400, "POST", "/admin/api/nodes/check", "")
	p.want(400, "POST", "/admin/api/nodes/check", `{"id":7}`)
}

func (p *pool) policy() router.Policy {
	return router.Policy{FailThreshold: 3, TrialAfter: 30 * time.Second}
}
