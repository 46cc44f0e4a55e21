package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

const second = int64(time.Second / time.Microsecond)

func logOf(rs ...*request) *log {
	l := newLog()
	for i, r := range rs {
		if r.id == "" {
			r.id = fmt.Sprint(i)
		}
		l.requests[r.id] = r
	}
	l.order = rs
	return l
}

func verdicts(rows []row) string {
	var b strings.Builder
	for _, r := range rows {
		switch {
		case r.ok:
			b.WriteByte('+')
		case r.slow:
			b.WriteByte('?')
		default:
			b.WriteByte('-')
		}
	}
	return b.String()
}

func TestRateRows(t *testing.T) {
	// at makes n admissions each so many microseconds from the first on
	at := func(n int, first, each int64) (rs []*request) {
		for i := range n {
			rs = append(rs, &request{id: fmt.Sprint(first, "-", i), begin: 1e12 + first + int64(i)*each})
		}
		return rs
	}
	join := func(all ...[]*request) (rs []*request) {
		for _, a := range all {
			rs = append(rs, a...)
		}
		return rs
	}
	for _, c := range []struct {
		name, why, want string
		rs              []*request
		refused         int
		slack           time.Duration
	}{
		{"Greedy", "a full bucket at once and then each second one is what 60 a minute allows", "++", join(at(60, 0, 0), at(180, second, second)), 500, 0},
		{"OneMore", "one more at the start is one too many, whatever comes later", "-+", join(at(61, 0, 0), at(180, second, second)), 500, 0},
		{"TooSoon", "the 61st after 0.9 s is too early", "-+", join(at(60, 0, 0), at(180, second*9/10, second)), 500, 0},
		{"Slack", "with 2 s of refill more it is not", "++", join(at(60, 0, 0), at(180, second*9/10, second)), 500, 2 * time.Second},
		{"SlackOver", "2 s of refill are two requests, not three", "-+", join(at(63, 0, 0), at(180, second, second)), 500, 2 * time.Second},
		{"Late", "a burst in the middle counts as one at the start does", "-+", join(at(60, 0, second), at(70, 61*second, 0), at(115, 132*second, 0)), 500, 0},
		{"Lost", "refill that is lost is seen", "+-", join(at(60, 0, 0), at(168, second, second)), 500, 0},
		{"Idle", "without demand nothing is shown", "+?", join(at(60, 0, 0), at(120, second, second)), 20, 0},
	} {
		l := logOf(c.rs...)
		l.refused = c.refused
		if got := verdicts(rateRows(l, 60, c.slack, 3*time.Minute)); got != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, got, c.want, c.why)
		}
	}
}

func TestConcurrencyRows(t *testing.T) {
	for _, c := range []struct {
		name, why, want string
		rs              []*request
		p               probe
	}{
		{"Full", "two places are two, and who leaves makes room at the same moment", "+++", []*request{
			{admitted: 10, leave: 20, leaseEnd: 99}, {admitted: 12, leave: 30, leaseEnd: 99, group: 1}, {admitted: 20, leaseEnd: 99}}, probe{1, 2}},
		{"Over", "three of two", "-++", []*request{
			{admitted: 10, leave: 20, leaseEnd: 99}, {admitted: 12, leave: 30, leaseEnd: 99, group: 1}, {admitted: 19, leaseEnd: 99}}, probe{1, 2}},
		{"LeaseEnds", "a killed process's lease ends by itself", "+++", []*request{
			{admitted: 10, leaseEnd: 50}, {admitted: 12, leave: 70, leaseEnd: 99, group: 1}, {admitted: 50, leave: 60, leaseEnd: 99, group: 1}}, probe{1, 2}},
		{"FreedEarly", "its place was given away before that", "+-+", []*request{{admitted: 10, leaseEnd: 50}, {admitted: 12, leave: 70, leaseEnd: 99, group: 1}}, probe{2, 2}},
		{"NeverFreed", "its place never came back", "++-", []*request{{admitted: 10, leaseEnd: 50}, {admitted: 12, leave: 70, leaseEnd: 99, group: 1}}, probe{1, 1}},
		{"NothingHeld", "who was killed while it held nothing shows nothing", "+?+", []*request{{admitted: 10, leave: 40, leaseEnd: 50}, {admitted: 12, leave: 70, leaseEnd: 99, group: 1}}, probe{2, 2}},
	} {
		if got := verdicts(concurrencyRows(logOf(c.rs...), 2, c.p)); got != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, got, c.want, c.why)
		}
	}
}

func TestBudgetRows(t *testing.T) {
	for _, c := range []struct {
		name, why, want string
		rs              []*request
		left            int64
	}{
		{"Exact", "ten times 10 in a row fill 100", "+++", chain(10, 10), 900},
		{"TooMany", "the eleventh passes it at its admission", "--+", chain(11, 10), 890},
		{"Counter", "a counter that forgot one", "++-", chain(10, 10), 910},
		{"InFlight", "who is in flight may cost more than was reserved", "+++", append(chain(8, 10),
			&request{begin: 1000, admitted: 1001, leave: 1020, settled: 1021, ask: 10, used: 25}, &request{begin: 1005, admitted: 1006, leave: 1020, settled: 1021, ask: 10, used: 15}), 880},
		{"NotInFlight", "what was settled before the last admission may not", "--+", append(chain(8, 10),
			&request{begin: 1000, admitted: 1001, leave: 1002, settled: 1003, ask: 10, used: 25}, &request{begin: 1005, admitted: 1006, leave: 1020, settled: 1021, ask: 10, used: 10}), 885},
		{"Unspent", "a budget that nobody reaches shows nothing", "+?+", chain(5, 10), 950},
	} {
		if got := verdicts(budgetRows(logOf(c.rs...), 100, c.left)); got != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, got, c.want, c.why)
		}
	}
}

// chain makes requests one after another.
func chain(n int, cost int64) (rs []*request) {
	for i := range int64(n) {
		rs = append(rs, &request{begin: 10 * i, admitted: 10*i + 1, leave: 10*i + 5, settled: 10*i + 6, ask: cost, used: cost, leaseEnd: 1 << 40})
	}
	return rs
}

// loose is a store that breaks its promises a little.
type loose struct {
	store.Store
	limits  func(l *core.Limits)
	leases  time.Duration
	twice   bool
	forgets bool
}

func (s *loose) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	r.Subjects = []store.Subject{r.Subjects[0]}
	if s.limits != nil {
		s.limits(&r.Subjects[0].Limits)
	}
	r.LeaseEnd = r.LeaseEnd.Add(s.leases)
	return s.Store.Admit(ctx, r)
}

func (s *loose) Settle(ctx context.Context, r store.SettleRequest) error {
	if s.forgets && strings.HasSuffix(r.ID, "2") {
		return nil
	}
	if s.twice && strings.HasSuffix(r.ID, "2") {
		again := r
		again.Record.RequestID += "x"
		return errors.Join(s.Store.Settle(ctx, r), s.Store.Settle(ctx, again))
	}
	return s.Store.Settle(ctx, r)
}

// TestBrokenStoresAreFound runs the scenarios on stores that break a promise: what finds nothing there proves nothing.
func TestBrokenStoresAreFound(t *testing.T) {
	o, err := parse([]string{"-quick", "-store", "memory", "-length", "1m", "-speed", "60"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		scenario int
		broken   string // begins the promise
		st       loose
	}{
		{"FiveMore", 0, "requests per minute", loose{limits: func(l *core.Limits) { l.RPM += 5 }}},
		{"RefillLost", 0, "the refill", loose{limits: func(l *core.Limits) { l.RPM -= l.RPM / 8 }}},
		{"OnePlaceMore", 1, "concurrent", loose{limits: func(l *core.Limits) { l.Concurrency++ }}},
		{"FreedEarly", 1, "a killed", loose{leases: -24 * time.Second}},
		{"FreedLate", 1, "and gives", loose{leases: time.Hour}}, // by more than a stalled machine can hide
		{"BudgetWider", 2, "budget", loose{limits: func(l *core.Limits) { l.USDDay += l.USDDay / 10 }}},
		{"RecordLost", 2, "usage totals", loose{forgets: true}},
		{"RecordTwice", 2, "usage totals", loose{twice: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.st.Store = memory.New()
			b := &lab{options: *o, name: storeMemory, st: &c.st, run: c.name}
			var out strings.Builder
			for n := range 3 { // a stalled machine shows less: then again, with a slower clock
				rows, err := b.try(t.Context(), scenarios(o)[c.scenario], n)
				if err != nil {
					t.Fatal(err)
				}
				if slices.ContainsFunc(rows, func(r row) bool { return !r.ok && strings.HasPrefix(r.promise, c.broken) }) {
					return
				}
				printRows(&out, rows)
				b.speed /= 2
			}
			t.Errorf("not found\n%s", &out)
		})
	}
}

// TestSimulationSaysWhatScaleSays holds what docs/scale.md concludes from the simulation.
func TestSimulationSaysWhatScaleSays(t *testing.T) {
	if r := simulateItem(25, 10); r.away > 0.001 || r.in < 24 {
		t.Errorf("25 requests of 10 s a second: %+v, want that all get in", r)
	}
	if r := simulateItem(40, 10); r.away < 0.2 {
		t.Errorf("40 requests of 10 s a second: %+v, want that one item cannot", r)
	}
	for _, demand := range []float64{0.2, 0.6, 0.95, 1.5} {
		if extra := simulateForms(demand, dynamoLag); extra > 0.06 {
			t.Errorf("%.3f calls more at %g", extra, demand)
		}
	}
	if one, many := simulateShards(0.8, 1), simulateShards(0.8, 16); one != 0 || many < 0.02 {
		t.Errorf("shards: %g of one, %g of 16", one, many)
	}
}
