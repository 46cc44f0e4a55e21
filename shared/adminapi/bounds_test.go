package adminapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

// racingDocs lets another process create at the same moment.
type racingDocs struct {
	store.Docs
	kind   string
	before func() // a creation of that kind is stored
	after  func()
}

func (d *racingDocs) Create(ctx context.Context, doc store.Doc) (int64, error) {
	if doc.Kind != d.kind {
		return d.Docs.Create(ctx, doc)
	}
	d.kind = ""
	d.before()
	n, err := d.Docs.Create(ctx, doc)
	d.after()
	return n, err
}

// TestBoundsHoldOverProcesses: how many shares, channels and rules an account may have was looked at before a creation alone,
// so that as many processes as there were could each add one, again and again; and a caller who hung up in time would skip a
// look after it.
func TestBoundsHoldOverProcesses(t *testing.T) {
	for _, c := range []struct {
		kind, target, body, list string
		most                     int
		other                    func(p *pool, i int) error
	}{
		{store.KindShare, "/api/monitor/shares", `{"expire_in":"permanent"}`, "shares?limit=100", 100, func(p *pool, i int) error {
			id := fmt.Sprint("share-", i)
			_, err := p.tables.Shares.Create(p.t.Context(), core.Share{ID: id, Account: "default", Hash: id, CreatedAt: p.clock()})
			return err
		}},
		{store.KindChannel, "/api/notification/channels", hookChannel, "channels", 50, func(p *pool, i int) error {
			_, err := p.hub.Channels.Create(p.t.Context(), notify.Channel{ID: fmt.Sprint("chn-x", i), Account: "default"})
			return err
		}},
		{store.KindAlertRule, "/api/alerts/rules", `{"kind":"spend_day","threshold":1}`, "rules", 50, func(p *pool, i int) error {
			_, err := p.hub.Rules.Create(p.t.Context(), notify.Rule{ID: fmt.Sprint("alr-x", i), Account: "default"})
			return err
		}},
	} {
		for _, hangsUp := range []bool{false, true} {
			docs := &racingDocs{}
			p := newPoolOver(t, nil, func(d store.Docs) store.Docs { docs.Docs = d; return docs })
			for i := range c.most - 1 {
				if err := c.other(p, i); err != nil {
					t.Fatal(err)
				}
			}
			ctx, leave := context.WithCancel(t.Context())
			docs.before = func() {
				if err := c.other(p, c.most); err != nil {
					t.Error(err)
				}
			}
			docs.after = func() {
				if hangsUp {
					leave()
				}
			}
			docs.kind = c.kind
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, c.target, strings.NewReader(c.body))
			r.Header.Set("x-admin-key", poolAdmin)
			w := httptest.NewRecorder()
			p.h.ServeHTTP(w, r)
			leave()
			kept, err := p.store.List(t.Context(), c.kind, "default", "", 200)
			if err != nil || len(kept) != c.most || w.Code != 400 || docs.kind != "" {
				t.Errorf("%s, the caller hung up %v: %d kept, %v, status %d: %s", c.kind, hangsUp, len(kept), err, w.Code, w.Body)
			}
		}
	}
}

// TestEndedSharesMakeWayOverProcesses: two that create at the same moment both get their share where enough have ended.
func TestEndedSharesMakeWayOverProcesses(t *testing.T) {
	docs := &racingDocs{}
	p := newPoolOver(t, nil, func(d store.Docs) store.Docs { docs.Docs = d; return docs })
	for range 2 {
		p.shared("default", "1h")
	}
	for range 98 {
		p.shared("default", "permanent")
	}
	p.advance(2 * time.Hour)
	docs.before, docs.after = func() { p.serve(func(*optionsOf) {}); p.shared("default", "permanent") }, func() {}
	docs.kind = store.KindShare
	p.shared("default", "permanent")
	if n := len(items(p.want(200, "GET", "/api/monitor/shares?limit=100", ""), "shares")); n != 100 {
		t.Errorf("%d shares", n)
	}
}

// TestDeletedNodeIsNotWatched: neither its last check nor any day of its history stays, and no other node's go along.
func TestDeletedNodeIsNotWatched(t *testing.T) {
	p := newPool(t, nil)
	var ids []string
	for range 12 { // the first id is the beginning of others
		id := p.made("default", anthropicNode)
		ids = append(ids, id)
		p.saw("default", id, core.HealthCheck{At: p.clock(), OK: true})
		for d := range 31 {
			p.day("default", id, core.HealthCheck{At: p.clock().AddDate(0, 0, -d), OK: true})
		}
	}
	for d := 31; d < 80; d++ { // what has expired, and nobody removed yet, must not hide the rest
		p.day("default", ids[0], core.HealthCheck{At: p.clock().AddDate(0, 0, -d), OK: true})
	}
	p.want(200, "DELETE", "/admin/api/nodes?id="+ids[0], "")
	checks, err := p.tables.Checks.All(t.Context(), "default")
	if err != nil || len(checks) != 11 {
		t.Errorf("%d last checks, %v", len(checks), err)
	}
	days, err := p.tables.Days.All(t.Context(), "default")
	if err != nil || len(days) != 11*31 {
		t.Errorf("%d days, %v", len(days), err)
	}
	for _, d := range days {
		if d.Value.Node == ids[0] {
			t.Errorf("day %s is left", d.Value.Day)
		}
	}
}

// TestNothingIsStaleWithoutSweeps: where the sweeps are switched off (HEALTH_ALL_INTERVAL_MIN=0) every check was stale after
// ten minutes, as if they ran every five.
func TestNothingIsStaleWithoutSweeps(t *testing.T) {
	p := newPool(t, nil)
	p.serve(func(o *optionsOf) { o.SweepEvery = 0 })
	up, down, unseen := p.made("default", anthropicNode), p.made("default", anthropicNode), p.made("default", anthropicNode)
	p.saw("default", up, core.HealthCheck{At: p.clock().Add(-48 * time.Hour), OK: true})
	p.saw("default", down, core.HealthCheck{At: p.clock().Add(-48 * time.Hour), Error: "status 500"})
	for _, n := range items(p.want(200, "GET", "/api/monitor/dashboard", ""), "nodes") {
		want := map[any]string{up: "up", down: "down", unseen: "stale"}[n["id"]]
		if got := n["health"].(map[string]any)["status"]; got != want {
			t.Errorf("node %v is %v, want %v", n["id"], got, want)
		}
	}
}

// brokenSums panics when it is asked for the nodes of a time of that length.
type brokenSums struct {
	store.Usage
	length time.Duration
	asked  atomic.Int64
}

func (u *brokenSums) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if by == store.GroupNode && !f.From.IsZero() && (f.To.IsZero() && u.length == 0 || f.To.Sub(f.From) == u.length) {
		u.asked.Add(1)
		panic("a secret of the store")
	}
	return u.Usage.Sums(ctx, f, by)
}

// TestPanicOfATrendEndsTheCallAlone: it was one of a goroutine's, which ends the process.
func TestPanicOfATrendEndsTheCallAlone(t *testing.T) {
	p := newPool(t, nil)
	id := p.made("default", anthropicNode)
	rec := core.Settlement{RequestID: "r", Account: "default", Node: id, Status: 200, StartedAt: p.clock(), EndedAt: p.clock()}
	if err := p.store.Settle(t.Context(), store.SettleRequest{ID: "r", Account: "default", Now: p.clock(), Zone: time.UTC, Record: rec}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why    string
		length time.Duration
	}{{"of a trend's hour", time.Hour}, {"of the last hours", 0}} {
		sums := &brokenSums{Usage: p.store, length: c.length}
		p.serve(func(o *optionsOf) { o.Usage = sums })
		for i := range int64(2) { // a slot that was kept would hold up the second
			if a := p.want(500, "GET", "/api/monitor/dashboard", ""); strings.Contains(a.body, "secret") || strings.Contains(a.body, "goroutine") || sums.asked.Load() != i+1 {
				t.Errorf("%s: %s after %d", c.why, a.body, sums.asked.Load())
			}
		}
	}
}

// TestShareHidesOldHosts: a node that got no name has its host's, and kept it before everybody when it moved.
func TestShareHidesOldHosts(t *testing.T) {
	p := newPool(t, nil)
	named := func(body string) string {
		t.Helper()
		id := p.made("default", body)
		p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"https://new.example"}`)
		return id
	}
	hidden := make(map[string]string)
	for _, host := range []string{"relay-8.internal.example", "relay-8.internal.example:8443", "10.1.2.3", "10.1.2.3:8080", "[fd00::7]", "[fd00::7]:8443", "localhost", "LOCALHOST:1", "relay8:8080", "relay8", "relay_8.svc", "relay.internal."} {
		hidden[named(`{"base_url":"http://`+host+`/v1"}`)] = host
	}
	for _, name := range []string{"old.example", "at 10.1.2.3!", "EU (relay.example:8443)", "http://relay:80/x", "fd00::7", "x,relay.Example.", "münchen.example"} {
		hidden[named(`{"base_url":"https://old.example","name":"`+name+`"}`)] = name
	}
	hidden[p.made("default", `{"base_url":"http://relay9","name":"my relay9"}`)] = "my relay9"
	plain := make(map[string]string)
	for _, name := range []string{"primary", "node 7", "gpt-5.4-mini", "claude-sonnet-4.5", "v1.2", "EU: west", "主节点", "a/b (c)", "10:30", "St. Louis", "..."} {
		plain[named(`{"base_url":"https://old.example","name":"`+name+`"}`)] = name
	}
	token := p.shared("default", "1h")["token"].(string)
	for _, n := range items(p.call("GET", "/api/monitor/share/"+token, ""), "nodes") {
		id := n["id"].(string)
		if host, ok := hidden[id]; ok && n["name"] != "node "+id && n["name"] != "anthropic-"+id {
			t.Errorf("the share shows %q of a node that was called by %q", n["name"], host)
		}
		if name, ok := plain[id]; ok && n["name"] != name {
			t.Errorf("the share shows %q for %q", n["name"], name)
		}
	}
}
