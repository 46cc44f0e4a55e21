package health_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/health"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// heard collects what is told. Like the real one it takes an event with the same Once for the same one.
type heard struct {
	events []core.Event
	err    error
}

func (h *heard) Emit(_ context.Context, e core.Event) error {
	if h.err != nil {
		return h.err
	}
	if e.Once != "" && slices.ContainsFunc(h.events, func(o core.Event) bool { return o.Once == e.Once }) {
		return nil
	}
	h.events = append(h.events, e)
	return nil
}

func (h *heard) types() string {
	var s []string
	for _, e := range h.events {
		s = append(s, strings.TrimPrefix(string(e.Type), "node."))
	}
	h.events = nil
	return strings.Join(s, " ")
}

// house is an account with two nodes and two instances on one store.
type house struct {
	tables *store.Tables
	store  *memory.Store
	at     time.Time
	heard  *heard
	j      *health.Journal
	a, b   *health.Tracker
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{store: memory.New(), at: day, heard: &heard{}}
	clock := func() time.Time { return h.at }
	h.tables = store.NewTables(h.store, clock)
	log := slog.New(slog.DiscardHandler)
	h.j = health.NewJournal(health.JournalOptions{Tables: h.tables, Events: h.heard, Log: log, Now: clock})
	h.a = health.New(health.Options{States: h.tables.States, Log: log, Now: clock, Changed: h.j.Changed})
	h.b = health.New(health.Options{States: h.tables.States, Log: log, Now: clock, Changed: h.j.Changed})
	if _, err := h.tables.Accounts.Create(t.Context(), core.Account{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		n := core.Node{ID: id, Account: "acme", Name: "n" + id, Weight: i + 1, BaseURL: "https://secret.example"}
		if _, err := h.tables.Nodes.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *house) check(t *testing.T, id string) core.NodeCheck {
	t.Helper()
	r, err := h.tables.Checks.Get(t.Context(), id)
	if err != nil && !store.Missing(err) {
		t.Fatal(err)
	}
	return r.Value
}

func (h *house) history(t *testing.T, id string) []core.HealthCheck {
	t.Helper()
	rows, err := h.tables.Days.Page(t.Context(), "acme", id+"/", 40)
	if err != nil {
		t.Fatal(err)
	}
	var out []core.HealthCheck
	for _, r := range rows {
		if r.Value.Node == id {
			out = append(out, r.Value.Checks...)
		}
	}
	return out
}

func TestJournal_ToldOnceHoweverManySeeIt(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	na, nb := h.a.Node(ctx, "1", "acme"), h.b.Node(ctx, "1", "acme")
	h.a.Failed(na, "n1", "status 500", h.at, strict)
	save(t, h.a, na)
	if got := h.heard.types(); got != "" {
		t.Errorf("below the threshold: %s", got)
	}
	h.at = h.at.Add(time.Second)
	h.b.Failed(nb, "n1", "status 502", h.at, strict) // knows nothing of the first one; together they are two
	save(t, h.b, nb)
	if got := h.heard.types(); got != "status_changed failed switched" {
		t.Errorf("told %q", got)
	}
	h.a.Failed(na, "n1", "status 500", h.at, strict)
	save(t, h.a, na)
	if err := h.j.Reconcile(ctx); err != nil {
		t.Fatal(err)
	}
	if got := h.heard.types(); got != "" {
		t.Errorf("told again: %q", got)
	}
	if k := h.check(t, "1"); k.Told != core.Failed || !k.Since.Equal(h.at) {
		t.Errorf("noted %+v", k)
	}
	h.at = h.at.Add(time.Minute)
	h.a.Succeeded(na, "n1", strict)
	save(t, h.a, na)
	if got := h.heard.types(); got != "status_changed recovered switched" {
		t.Errorf("told %q", got)
	}
	got := h.history(t, "1")
	if len(got) != 2 || got[0].Condition != core.Failed || got[0].OK || got[0].Error == "" || got[1].Condition != core.Online || !got[1].OK ||
		got[0].Source != core.SourceTraffic || got[0].Method != core.CheckProxy {
		t.Errorf("history %+v", got)
	}
}

// A process that dies, or loses its store, between the change and the word of it is made up for.
func TestJournal_WhatWasNotToldIsTold(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	n := h.a.Node(ctx, "1", "acme")
	h.heard.err = errors.New("away")
	h.a.Blocked(n, "n1", core.BlockedSuspended, "suspended", h.at)
	save(t, h.a, n)
	if k := h.check(t, "1"); k.Told != "" || len(h.history(t, "1")) != 0 {
		t.Errorf("noted though nobody was told: %+v", k)
	}
	if h.j.Reconcile(ctx) == nil {
		t.Error("no error")
	}
	h.heard.err = nil
	for range 2 {
		if err := h.j.Reconcile(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.heard.types(); got != "status_changed account.auth_failed switched" || len(h.history(t, "1")) != 1 {
		t.Errorf("told %q, history %+v", got, h.history(t, "1"))
	}
}

// What ends by itself is told by the next look.
func TestJournal_CoolingEndsByItself(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	n := h.a.Node(ctx, "1", "acme")
	h.a.Cooled(n, "n1", "", h.at.Add(2*time.Hour), "monthly limit", h.at)
	save(t, h.a, n)
	if got := h.heard.types(); got != "status_changed account.quota_warning switched" {
		t.Errorf("told %q", got)
	}
	h.at = h.at.Add(3 * time.Hour)
	if err := h.j.Reconcile(ctx); err != nil {
		t.Fatal(err)
	}
	if got, hist := h.heard.types(), h.history(t, "1"); got != "status_changed switched" || len(hist) != 2 || !hist[1].At.Equal(day.Add(2*time.Hour)) {
		t.Errorf("told %q, history %+v", got, hist)
	}
}

// 1.7.6 of the older gateway: a history without doubles, with the failures that traffic met.
func TestJournal_SamplesAtMostEveryFiveMinutes(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	node := core.Node{ID: "1", Account: "acme", Name: "n1"}
	for range 61 { // half an hour
		c := core.HealthCheck{At: h.at, OK: true, MS: 40, Method: core.CheckAPI, Source: core.SourceSweep}
		if err := h.j.Check(ctx, &node, c); err != nil {
			t.Fatal(err)
		}
		h.at = h.at.Add(30 * time.Second)
	}
	if got := h.history(t, "1"); len(got) != 7 || got[0].Method != core.CheckAPI || got[0].MS != 40 || got[0].Condition != core.Online {
		t.Errorf("%d entries: %+v", len(got), got)
	}
	if k := h.check(t, "1"); !k.Last.At.Equal(h.at.Add(-30*time.Second)) || !k.Last.OK {
		t.Errorf("last check %+v", k.Last)
	}
	bad := core.HealthCheck{At: h.at, Error: "status 500", Method: core.CheckAPI, Source: core.SourceSweep}
	if err := h.j.Check(ctx, &node, bad); err != nil {
		t.Fatal(err)
	}
	if got := h.heard.types(); got != "health_check_failed" {
		t.Errorf("told %q", got)
	}
	h.at = h.at.Add(store.HistoryKept + 25*time.Hour)
	if got := h.history(t, "1"); len(got) != 0 {
		t.Errorf("after 31 days: %+v", got)
	}
}

func TestJournal_DaysAreBoundedAndInOrder(t *testing.T) {
	h := newHouse(t)
	node := core.Node{ID: "1", Account: "acme"}
	h.at = day.Truncate(24 * time.Hour)
	n := h.a.Node(t.Context(), "1", "acme")
	for i := range 450 {
		h.at = h.at.Add(time.Minute)
		if i%2 == 0 {
			h.a.Blocked(n, "n1", core.BlockedLogin, "x", h.at)
		} else {
			h.a.Unblocked(n, "n1", core.BlockedLogin)
		}
		save(t, h.a, n)
	}
	got := h.history(t, "1")
	if len(got) != core.MaxDayChecks || !slices.IsSortedFunc(got, func(a, b core.HealthCheck) int { return a.At.Compare(b.At) }) || !got[len(got)-1].At.Equal(h.at) {
		t.Errorf("%d entries up to %v", len(got), got[len(got)-1].At)
	}
	late := core.HealthCheck{At: h.at.Add(-90 * time.Second), OK: true, Method: core.CheckAPI}
	h.at = h.at.Add(10 * time.Minute)
	if err := h.j.Check(t.Context(), &node, late); err != nil {
		t.Fatal(err)
	}
	if got := h.history(t, "1"); !slices.IsSortedFunc(got, func(a, b core.HealthCheck) int { return a.At.Compare(b.At) }) {
		t.Error("a check that took long stands in the wrong place")
	}
}

func TestJournal_NoSecretIsTold(t *testing.T) {
	h := newHouse(t)
	n := h.a.Node(t.Context(), "1", "acme")
	h.a.Blocked(n, "n1", core.BlockedLogin, "refused", h.at)
	save(t, h.a, n)
	if len(h.heard.events) == 0 {
		t.Fatal("nothing told")
	}
	for _, e := range h.heard.events {
		if strings.Contains(e.Text+e.Name+e.Subject+e.Once, "secret.example") || e.Account != "acme" || e.Once == "" {
			t.Errorf("%+v", e)
		}
	}
}

// A node that was deleted is nobody's concern any more; one that is disabled is told of by who disabled it.
func TestJournal_GoneAndDisabled(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	if err := h.tables.Nodes.Delete(ctx, "2"); err != nil {
		t.Fatal(err)
	}
	h.j.Changed(ctx, "2", core.Failed)
	if _, err := h.tables.Nodes.Update(ctx, "1", func(n *core.Node) error { n.Disabled, n.UpdatedAt = true, h.at; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := h.j.Reconcile(ctx); err != nil {
		t.Fatal(err)
	}
	if got := h.heard.types(); got != "status_changed" {
		t.Errorf("told %q", got)
	}
}

// A node that somebody switches off has not failed by that; one that had failed did not recover by it.
func TestJournal_SwitchedOff(t *testing.T) {
	for _, c := range []struct {
		why    string
		failed bool
		want   string
	}{
		{"it worked", false, "disabled:true online:true"},
		{"it had failed", true, "failed:false disabled:false online:true"},
	} {
		h := newHouse(t)
		ctx := t.Context()
		if c.failed {
			n := h.a.Node(ctx, "1", "acme")
			for range 3 {
				h.a.Failed(n, "n1", "status 500", h.at, strict)
			}
			save(t, h.a, n)
		}
		for _, disabled := range []bool{true, false} {
			h.at = h.at.Add(time.Minute)
			if _, err := h.tables.Nodes.Update(ctx, "1", func(n *core.Node) error { n.Disabled, n.UpdatedAt = disabled, h.at; return nil }); err != nil {
				t.Fatal(err)
			}
			if !disabled { // which forgives everything
				if _, err := h.tables.States.Upsert(ctx, "1", func(s *core.NodeState) error { *s = core.NodeState{Node: "1", Account: "acme"}; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.j.Reconcile(ctx); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, k := range h.history(t, "1") {
			got = append(got, fmt.Sprintf("%s:%v", k.Condition, k.OK))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %s", c.why, got, c.want)
		}
	}
}

// What one instance finds slow is slow for all, until one of them finds it quick again.
func TestDegradedIsShared(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	p := router.Policy{SlowFirstByte: time.Second, TrialAfter: time.Minute, FailThreshold: 3}
	na, nb := h.a.Node(ctx, "1", "acme"), h.b.Node(ctx, "1", "acme")
	for range 12 {
		h.a.FirstByte(na, 3*time.Second, h.at, p)
	}
	save(t, h.a, na)
	if k := h.check(t, "1"); k.Told != core.Degraded {
		t.Errorf("told %+v", k)
	}
	for range 12 { // it is slow there, too
		h.b.FirstByte(nb, 3*time.Second, h.at, p)
	}
	h.b.Sync(ctx, "acme", 1, ids)
	if s := nb.State(); s.Degraded != core.DegradedSlow {
		t.Errorf("state %+v", s)
	}
	save(t, h.b, nb)
	h.a.FirstByte(na, 100*time.Millisecond, h.at, p)
	save(t, h.a, na)
	h.b.Sync(ctx, "acme", 2, ids)
	h.b.FirstByte(nb, 3*time.Second, h.at, p) // one more says nothing yet: what it metered is from before
	if s := nb.State(); s.Degraded != "" {
		t.Errorf("state %+v", s)
	}
	if _, writes := na.State(), nb.Meter(); writes.Degraded(p) != "" {
		t.Error("the meter still says so")
	}
}

// A save of something else does not end what others found.
func TestSaveKeepsWhatOthersFound(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	na, nb := h.a.Node(ctx, "1", "acme"), h.b.Node(ctx, "1", "acme")
	h.b.Cooled(nb, "n1", "m", h.at.Add(time.Minute), "limit", h.at)
	p := router.Policy{SlowFirstByte: time.Second, FailThreshold: 3}
	for range 12 {
		h.a.FirstByte(na, 3*time.Second, h.at, p)
	}
	for range 3 {
		h.a.Failed(na, "n1", "broken", h.at, p)
	}
	save(t, h.a, na)
	save(t, h.b, nb)
	if s := saved(t, h.tables, "1"); !s.Failed || s.FailStreak != 3 || s.Degraded == "" || len(s.Cooling) != 1 {
		t.Errorf("saved %+v", s)
	}
}

// Enabling a node a second time was not told: it was dated by what there was before.
func TestJournal_EachEnablingIsTold(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	for i := range 3 {
		for _, disabled := range []bool{true, false} {
			h.at = h.at.Add(10 * time.Minute)
			if _, err := h.tables.Nodes.Update(ctx, "1", func(n *core.Node) error { n.Disabled, n.UpdatedAt = disabled, h.at; return nil }); err != nil {
				t.Fatal(err)
			}
			if !disabled {
				if err := h.a.Clear(ctx, "1", "acme"); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.j.Reconcile(ctx); err != nil {
				t.Fatal(err)
			}
			if got := h.heard.types(); got != "status_changed" {
				t.Errorf("time %d, disabled %v: told %q", i+1, disabled, got)
			}
		}
	}
}

// Upstreams refuse bursts all the time: nobody is told of a second's rest, and nothing is written for it.
func TestJournal_BriefLimitsAreNoNews(t *testing.T) {
	h := newHouse(t)
	n := h.a.Node(t.Context(), "1", "acme")
	for range 5 {
		h.a.Cooled(n, "n1", "m", h.at.Add(20*time.Second), "status 429", h.at)
		save(t, h.a, n)
		h.at = h.at.Add(30 * time.Second)
	}
	if got := h.heard.types(); got != "" || len(h.history(t, "1")) != 0 {
		t.Errorf("told %q, history %+v", got, h.history(t, "1"))
	}
	h.a.Cooled(n, "n1", "m", h.at.Add(5*time.Minute), "status 429", h.at)
	save(t, h.a, n)
	if got := h.heard.types(); got != "status_changed switched" {
		t.Errorf("told %q", got)
	}
}
