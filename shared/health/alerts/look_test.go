package alerts_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/health/alerts"
	"sluice/shared/notify"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// traffic makes an account's records when they are asked for, one each second, newest first, every fifth failed. It counts
// what it is asked, and the most that was alive when it was.
type traffic struct {
	store.Usage
	asked map[string]int // kind of call and account
	limit int
	most  uint64
	err   error
	hang  string // account whose records do not come
}

func (u *traffic) Records(ctx context.Context, f store.UsageFilter, cursor string, limit int) ([]core.Settlement, string, error) {
	u.asked["records "+f.Account]++
	u.limit += limit
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	u.most = max(u.most, m.HeapAlloc)
	if f.Account == u.hang {
		<-ctx.Done()
		return nil, "", ctx.Err()
	}
	if u.err != nil {
		return nil, "", u.err
	}
	from := 0
	_, _ = fmt.Sscan(cursor, &from)
	var out []core.Settlement
	for i := from; i < from+limit; i++ {
		at := began.Add(-time.Duration(i) * time.Second)
		if at.Before(f.From) {
			return out, "", nil
		}
		s := core.Settlement{Account: f.Account, Status: 200, FirstByteMS: int64(i), EndedAt: at, Model: strings.Repeat("m", 2000)}
		if i%5 == 0 {
			s.Status = 500
		}
		out = append(out, s)
	}
	return out, fmt.Sprint(from + limit), nil
}

func (u *traffic) Sums(_ context.Context, f store.UsageFilter, _ store.GroupBy) ([]core.UsageSum, error) {
	u.asked["sums "+f.Account]++
	return nil, u.err
}

// busy is a rig of accounts with 50 rules each, no two of the same window.
func busy(t *testing.T, accounts ...string) (*rig, *traffic, *alerts.Watch) {
	r := newRig(t, memory.New())
	u := &traffic{asked: map[string]int{}}
	kinds := []string{notify.RuleErrorRate, notify.RuleLatencyP95, notify.RuleSpendDay}
	for i := range 50 { // the store lists the accounts in turn
		for _, a := range accounts {
			rule := notify.Rule{ID: fmt.Sprintf("alr-%02d-%s", i, a), Account: a, Enabled: true, Kind: kinds[i%3], Threshold: 1e6, Window: 1440 - i}
			if _, err := r.rules.Create(t.Context(), rule); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r, u, alerts.New(alerts.Options{Tables: r.tables, Rules: r.rules, Usage: u, Budgets: memory.New(), Leases: memory.New(), Events: r.events, Log: quiet(), Now: func() time.Time { return r.now }})
}

// TestRulesShareWhatIsRead: 50 rules with 50 windows made 50 copies of 2,000 whole settlements and 200 store reads for each
// account, all kept until the run ended: more than the function's 256 MB with four tenants.
func TestRulesShareWhatIsRead(t *testing.T) {
	accounts := []string{"a", "b", "c", "d"}
	_, u, w := busy(t, accounts...)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if rep, err := w.Run(t.Context()); err != nil || rep.Rules != 200 {
		t.Fatalf("%+v, %v", rep, err)
	}
	for _, a := range accounts {
		if r, s := u.asked["records "+a], u.asked["sums "+a]; r != 4 || s != 2 { // of the day, and of its last hours
			t.Errorf("account %s: %d pages of records, %d sums; want 4 and 2", a, r, s)
		}
	}
	if u.limit != 4*2000 {
		t.Errorf("%d records, want 2,000 of each account", u.limit)
	}
	if grown := int64(u.most) - int64(before.HeapAlloc); grown > 2<<20 { // a page is 1 MB, the 2,000 of an account 4 MB
		t.Errorf("%d bytes were kept", grown)
	}
}

// TestShortWindows are judged by their own records, though only the longest one is read.
func TestShortWindows(t *testing.T) {
	for _, c := range []struct {
		why    string
		window int
		want   string
	}{
		{"a minute", 1, "13 of 61 requests failed"},
		{"none named: 5 minutes", 0, "61 of 301 requests failed"},
		{"the longest, cut at 2,000", 1440, "400 of 2000 requests failed"},
		{"beyond what is looked at", 1 << 62, "400 of 2000 requests failed"},
	} {
		r := newRig(t, memory.New())
		u := &traffic{asked: map[string]int{}}
		w := alerts.New(alerts.Options{Tables: r.tables, Rules: r.rules, Usage: u, Budgets: memory.New(), Leases: memory.New(), Events: r.events, Log: quiet(), Now: func() time.Time { return r.now }})
		r.rule(notify.Rule{ID: "alr-1", Kind: notify.RuleLatencyP95, Threshold: 1e9, Window: 1440})
		r.rule(notify.Rule{ID: "alr-2", Kind: notify.RuleErrorRate, Threshold: 1, Window: c.window})
		if _, err := w.Run(t.Context()); err != nil || len(r.events.list) != 1 || !strings.Contains(r.events.list[0].Text, c.want) {
			t.Errorf("%s: %v, %+v; want %q", c.why, err, r.events.list, c.want)
		}
	}
}

// TestAFailureIsReadOnce: a store that fails was asked again by each of an account's rules.
func TestAFailureIsReadOnce(t *testing.T) {
	_, u, w := busy(t, "a")
	u.err = errors.New("the store is away")
	if rep, err := w.Run(t.Context()); err != nil || rep.Rules != 50 {
		t.Errorf("%+v, %v", rep, err)
	}
	if u.asked["records a"] != 1 || u.asked["sums a"] != 1 {
		t.Errorf("%v", u.asked)
	}
}

// TestCutOff: an account whose records take all the time there is goes last the next time; the others are not starved.
func TestCutOff(t *testing.T) {
	synctest.Test(t, cutOff)
}

func cutOff(t *testing.T) {
	r, u, w := busy(t, "a", "b", "c")
	u.hang = "b"
	run := func() (reached []string) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		clear(u.asked)
		if _, err := w.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		r.now = r.now.Add(time.Minute)
		for _, a := range []string{"a", "b", "c"} {
			if u.asked["records "+a] > 0 {
				reached = append(reached, a)
			}
		}
		return reached
	}
	if got := run(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the first time %v", got)
	}
	if got := run(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("the second time %v: c was cut off before, and is cut off again", got)
	}
}
