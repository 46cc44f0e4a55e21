package alerts_test

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
	"sluice/shared/health/alerts"
	"sluice/shared/notify"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

var began = time.Date(2026, 3, 4, 15, 30, 0, 0, time.UTC)

// TestJudge: when an alert begins and ends.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		why    string
		raised bool
		least  int
		f      alerts.Finding
		want   alerts.Verdict
	}{
		{"below", false, 0, alerts.Finding{Value: 9.9, Of: 5}, alerts.Stay},
		{"at the threshold", false, 0, alerts.Finding{Value: 10, Of: 5}, alerts.Raise},
		{"too few requests say nothing", false, 6, alerts.Finding{Value: 100, Of: 5}, alerts.Stay},
		{"enough", false, 5, alerts.Finding{Value: 100, Of: 5}, alerts.Raise},
		{"none at all", false, 0, alerts.Finding{Value: 100}, alerts.Stay},
		{"raised once, not again", true, 0, alerts.Finding{Value: 50, Of: 5}, alerts.Stay},
		{"hysteresis: at 90 % it goes on", true, 0, alerts.Finding{Value: 9, Of: 5}, alerts.Stay},
		{"below 90 % it ends", true, 0, alerts.Finding{Value: 8.9, Of: 5}, alerts.End},
		{"few requests do not end it", true, 100, alerts.Finding{Value: 50, Of: 5}, alerts.Stay},
		{"none do", true, 0, alerts.Finding{}, alerts.End},
	} {
		if got := alerts.Judge(&notify.Rule{Threshold: 10, Raised: c.raised, MinRequests: c.least}, c.f); got != c.want {
			t.Errorf("%s: %d, want %d", c.why, got, c.want)
		}
	}
}

func TestErrorRate(t *testing.T) {
	for _, c := range []struct {
		why   string
		rec   core.Settlement
		value float64
		of    int
	}{
		{"a good answer", core.Settlement{Status: 200}, 0, 1},
		{"a server's error", core.Settlement{Status: 503, ErrorCode: "unavailable"}, 100, 1},
		{"overload", core.Settlement{Status: 529}, 100, 1},
		{"an error within a stream", core.Settlement{Status: 200, ErrorCode: "stream_cut"}, 100, 1},
		{"the client's fault", core.Settlement{Status: 400, ErrorCode: "invalid_request"}, 0, 1},
		{"a limit", core.Settlement{Status: 429, ErrorCode: "rate_limited"}, 0, 1},
		{"a client that left before an answer", core.Settlement{Status: 499}, 0, 0},
		{"a client that left within a stream", core.Settlement{Status: 200, ErrorCode: "client_gone"}, 0, 0},
	} {
		if f := alerts.ErrorRate(samples(c.rec)); f.Value != c.value || f.Of != c.of {
			t.Errorf("%s: %+v", c.why, f)
		}
	}
	if f := alerts.ErrorRate(samples(core.Settlement{Status: 200}, core.Settlement{Status: 500}, core.Settlement{Status: 200})); f.Text != "1 of 3 requests failed (33.3 %)" {
		t.Errorf("%+v", f)
	}
}

func samples(rs ...core.Settlement) (out []alerts.Sample) {
	for i := range rs {
		out = append(out, alerts.SampleOf(&rs[i]))
	}
	return out
}

func TestLatencyP95(t *testing.T) {
	for _, c := range []struct {
		why  string
		ms   []int64
		want float64
		of   int
	}{
		{"nothing", nil, 0, 0},
		{"requests without an answer do not count", []int64{0, 0, 700}, 700, 1},
		{"of twenty the second slowest is passed by one", append(slices.Repeat([]int64{100}, 18), 900, 5000), 900, 20},
		{"of a hundred", ramp(100), 95, 100},
		{"of a hundred and one", ramp(101), 96, 101},
	} {
		var rs []core.Settlement
		for _, v := range c.ms {
			rs = append(rs, core.Settlement{Status: 200, FirstByteMS: v})
		}
		if f := alerts.LatencyP95(samples(rs...)); f.Value != c.want || f.Of != c.of {
			t.Errorf("%s: %+v", c.why, f)
		}
	}
}

func ramp(n int) (out []int64) {
	for i := range n {
		out = append(out, int64(n-i))
	}
	return out
}

func TestNodeDown(t *testing.T) {
	nodes := []core.Node{{ID: "1"}, {ID: "2"}, {ID: "3", Disabled: true}}
	check := func(node string, c core.Condition, minutes int) core.NodeCheck {
		return core.NodeCheck{Node: node, Told: c, Since: began.Add(-time.Duration(minutes) * time.Minute)}
	}
	for _, c := range []struct {
		why    string
		checks []core.NodeCheck
		value  float64
		node   string
	}{
		{"all well", []core.NodeCheck{check("1", core.Online, 60), check("2", "", 60)}, 0, ""},
		{"failed", []core.NodeCheck{check("1", core.Failed, 7)}, 7, "1"},
		{"the longest counts", []core.NodeCheck{check("1", core.Failed, 7), check("2", core.Failed, 9)}, 9, "2"},
		{"a login is needed", []core.NodeCheck{check("2", core.BlockedLogin, 3)}, 3, "2"},
		{"a limit is not an outage", []core.NodeCheck{check("1", core.Cooling, 60), check("2", core.Degraded, 60)}, 0, ""},
		{"disabled", []core.NodeCheck{check("3", core.Failed, 60)}, 0, ""},
		{"deleted", []core.NodeCheck{check("9", core.Failed, 60)}, 0, ""},
	} {
		if f := alerts.NodeDown(nodes, c.checks, began); f.Value != c.value || f.Node != c.node || f.Of != 1 {
			t.Errorf("%s: %+v", c.why, f)
		}
	}
}

// heard keeps events and fails on demand.
type heard struct {
	list []core.Event
	err  error
}

func (h *heard) Emit(_ context.Context, e core.Event) error {
	if h.err == nil {
		h.list = append(h.list, e)
	}
	return h.err
}

// usage answers with records and sums of the test.
type usage struct {
	store.Usage
	records []core.Settlement // newest first
	sums    []core.UsageSum
	filters []store.UsageFilter
	read    int
}

func (u *usage) Records(_ context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	u.filters = append(u.filters, f)
	from := 0
	_, _ = fmt.Sscan(cursor, &from)
	to := min(from+limit, len(u.records))
	u.read += to - from
	next := ""
	if to < len(u.records) {
		next = fmt.Sprint(to)
	}
	return u.records[from:to], next, nil
}

func (u *usage) Sums(_ context.Context, f store.UsageFilter, _ store.GroupBy) ([]core.UsageSum, error) {
	u.filters = append(u.filters, f)
	return u.sums, nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

type rig struct {
	t      *testing.T
	rules  *store.Table[notify.Rule]
	tables *store.Tables
	usage  *usage
	events *heard
	now    time.Time
	watch  *alerts.Watch
}

func newRig(t *testing.T, s store.Store) *rig {
	r := &rig{t: t, usage: &usage{}, events: &heard{}, now: began}
	clock := func() time.Time { return r.now }
	r.rules, r.tables = notify.NewTables(s, clock).Rules, store.NewTables(s, clock)
	r.remake(s, r.usage)
	return r
}

// remake makes another instance.
func (r *rig) remake(s store.Store, u store.Usage) {
	r.watch = alerts.New(alerts.Options{Tables: r.tables, Rules: r.rules, Usage: u, Budgets: s, Leases: s, Events: r.events, Zone: time.FixedZone("+8", 8*3600), Log: quiet(), Now: func() time.Time { return r.now }})
}

func (r *rig) rule(rule notify.Rule) {
	r.t.Helper()
	rule.Account, rule.Enabled = "acme", true
	if _, err := r.rules.Create(r.t.Context(), rule); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) run() alerts.Report {
	r.t.Helper()
	rep, err := r.watch.Run(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.now = r.now.Add(time.Minute)
	return rep
}

func (r *rig) raised(id string) notify.Rule {
	v, err := r.rules.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return v.Value
}

// TestAnAlertsLife: it is raised once, goes on while the value dances around the threshold, ends once, and may come again.
func TestAnAlertsLife(t *testing.T) {
	r := newRig(t, memory.New())
	r.rule(notify.Rule{ID: "alr-1", Name: "spend", Kind: notify.RuleSpendDay, Threshold: 10})
	for i, c := range []struct {
		usd           float64
		raised, ended int
	}{{5, 0, 0}, {10, 1, 0}, {12, 0, 0}, {9.5, 0, 0}, {10.5, 0, 0}, {8, 0, 1}, {8, 0, 0}, {11, 1, 0}} {
		r.usage.sums = []core.UsageSum{{CostUSD: int64(c.usd * 1e6)}}
		at := r.now
		if rep := r.run(); rep.Raised != c.raised || rep.Ended != c.ended || rep.Rules != 1 {
			t.Errorf("step %d: %+v", i, rep)
		}
		if got := r.raised("alr-1"); c.raised == 1 && (!got.Raised || !got.RaisedAt.Equal(at)) || c.ended == 1 && (got.Raised || !got.RaisedAt.IsZero()) {
			t.Errorf("step %d: %+v", i, got)
		}
	}
	var types []core.EventType
	once := map[string]bool{}
	for _, e := range r.events.list {
		types = append(types, e.Type)
		once[e.Once] = true
		if e.Account != "acme" || e.Subject != "alert alr-1" || e.Name != "spend" || e.Once == "" {
			t.Errorf("%+v", e)
		}
	}
	if want := []core.EventType{core.EventAlert, core.EventAlertEnded, core.EventAlert}; !slices.Equal(types, want) || len(once) != 3 {
		t.Errorf("told %v, %v", types, once)
	}
	if !strings.Contains(r.events.list[0].Text, "spent today: 10.00 USD") {
		t.Errorf("%q", r.events.list[0].Text)
	}
	from := time.Date(2026, 3, 4, 16, 0, 0, 0, time.UTC).Add(-24 * time.Hour) // midnight at +8, of 23:30
	if f := r.usage.filters[0]; !f.From.Equal(from) || f.Account != "acme" {
		t.Errorf("%+v", f)
	}
}

// TestToldBeforeNoted: an alert that could not be told is not noted, and one that was told but not noted is told under the same
// id, so that it is told once.
func TestToldBeforeNoted(t *testing.T) {
	s := &stubborn{Store: memory.New()}
	r := newRig(t, s)
	r.rule(notify.Rule{ID: "alr-1", Kind: notify.RuleSpendDay, Threshold: 1})
	r.usage.sums = []core.UsageSum{{CostUSD: 2e6}}
	r.events.err = errors.New("the store is away")
	if _, err := r.watch.Run(t.Context()); err == nil || r.raised("alr-1").Raised {
		t.Errorf("%v, %+v", err, r.raised("alr-1"))
	}
	r.now, r.events.err, s.refuse = r.now.Add(time.Minute), nil, true
	if _, err := r.watch.Run(t.Context()); err == nil {
		t.Error("the note was refused")
	}
	r.now, s.refuse = r.now.Add(time.Minute), false
	r.run()
	if e := r.events.list; len(e) != 2 || e[0].Once != e[1].Once || !r.raised("alr-1").Raised {
		t.Errorf("%+v", e)
	}
}

type stubborn struct {
	*memory.Store
	refuse bool
}

func (s *stubborn) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if s.refuse {
		return 0, errors.New("no")
	}
	return s.Store.Replace(ctx, d)
}

// TestRecordsAreBounded: 2,000 of the window, read once for all rules that share it.
func TestRecordsAreBounded(t *testing.T) {
	r := newRig(t, memory.New())
	for range 5000 {
		r.usage.records = append(r.usage.records, core.Settlement{Status: 500, FirstByteMS: 100, EndedAt: began})
	}
	r.rule(notify.Rule{ID: "alr-1", Kind: notify.RuleErrorRate, Threshold: 50, Window: 15, MinRequests: 10})
	r.rule(notify.Rule{ID: "alr-2", Kind: notify.RuleLatencyP95, Threshold: 1000, Window: 15})
	if rep := r.run(); rep.Rules != 2 || rep.Raised != 1 || r.usage.read != 2000 {
		t.Errorf("%+v, %d records", rep, r.usage.read)
	}
	if f := r.usage.filters[0]; !f.From.Equal(began.Add(-15*time.Minute)) || f.Account != "acme" {
		t.Errorf("%+v", f)
	}
}

// TestOneInstanceEvaluates, once a minute; when it dies another one does so with the next minute.
func TestOneInstanceEvaluates(t *testing.T) {
	s := memory.New()
	a, b := newRig(t, s), newRig(t, s)
	a.rule(notify.Rule{ID: "alr-1", Kind: notify.RuleSpendDay, Threshold: 1})
	if rep, err := a.watch.Run(t.Context()); err != nil || rep.Elsewhere {
		t.Errorf("%+v, %v", rep, err)
	}
	if rep, err := b.watch.Run(t.Context()); err != nil || !rep.Elsewhere {
		t.Errorf("%+v, %v", rep, err)
	}
	b.now = b.now.Add(time.Minute)
	if rep, err := b.watch.Run(t.Context()); err != nil || rep.Elsewhere || rep.Rules != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestOddRules: a kind of a later version and a disabled rule hurt no other; what is disabled is not raised any more, without
// a word.
func TestOddRules(t *testing.T) {
	r := newRig(t, memory.New())
	r.rule(notify.Rule{ID: "alr-1", Kind: "moon_phase", Threshold: 1})
	r.rule(notify.Rule{ID: "alr-2", Kind: notify.RuleSpendDay, Threshold: 1, Raised: true})
	if _, err := r.rules.Update(t.Context(), "alr-2", func(x *notify.Rule) error { x.Enabled = false; return nil }); err != nil {
		t.Fatal(err)
	}
	r.rule(notify.Rule{ID: "alr-3", Kind: notify.RuleNodeDown, Threshold: 5})
	if _, err := r.tables.Nodes.Create(t.Context(), core.Node{ID: "7", Account: "acme"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.tables.Checks.Create(t.Context(), core.NodeCheck{Node: "7", Account: "acme", Told: core.Failed, Since: began.Add(-6 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if rep := r.run(); rep.Raised != 1 || len(r.events.list) != 1 || r.events.list[0].Subject != "alert alr-3" {
		t.Errorf("%+v, %+v", rep, r.events.list)
	}
	if r.raised("alr-2").Raised {
		t.Error("a disabled rule's alert stays")
	}
}
