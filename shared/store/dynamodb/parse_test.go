package dynamodb

import (
	"net/http"
	"testing"
	"time"

	"sluice/shared/limit"
	"sluice/shared/store"
)

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"dynamodb://sluice?region=eu-west-1&endpoint=http://127.0.0.1:8001", "//t_1", "//sluice/?region=x", "?", "//a?%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parse(s); err == nil && !tableName.MatchString(got.table) {
			t.Errorf("%q gives the table %q", s, got.table)
		}
	})
}

func FuzzParseLease(f *testing.F) {
	f.Add("1z.2.3.4.5")
	f.Add("..")
	f.Add("-1.zzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, s string) {
		l := parseLease(s)
		if again := parseLease(leaseText(l)); again != l {
			t.Errorf("%q is %+v, written and read again %+v", s, l, again)
		}
	})
}

func TestLeaseText(t *testing.T) {
	for _, l := range []limit.Lease{{}, {End: 1773483630000000}, {End: 5, USD: 7, Day: 20526, Month: 674}, {End: 5, Tokens: 9}, {End: -1, USD: -3}} {
		if got := parseLease(leaseText(l)); got != l {
			t.Errorf("%+v became %+v by %q", l, got, leaseText(l))
		}
	}
	if n := len(leaseText(limit.Lease{End: 1773483630000000, Tokens: 9000, USD: 90_000, Day: 20526, Month: 674})); n > 31 {
		t.Errorf("a lease takes %d bytes; the table of costs assumes 31 with its id", n)
	}
}

// TestClock: a clock is corrected only where the answers prove it wrong, and no further than they prove.
func TestClock(t *testing.T) {
	here := time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		why         string
		dates, sent []time.Duration // after here; an answer takes 100 ms
		want        time.Duration
	}{
		{"a right clock: the date is cut to its second", []time.Duration{0, 0, time.Second}, []time.Duration{0, 700 * time.Millisecond, 1200 * time.Millisecond}, 0},
		{"5 s behind", []time.Duration{5 * time.Second}, []time.Duration{0}, 4900 * time.Millisecond},
		{"5 s behind, proven better by a second answer", []time.Duration{5 * time.Second, 6 * time.Second}, []time.Duration{0, 500 * time.Millisecond}, 5400 * time.Millisecond},
		{"an hour ahead", []time.Duration{-time.Hour}, []time.Duration{0}, -time.Hour + time.Second},
		{"set right again", []time.Duration{-time.Hour, 10 * time.Second}, []time.Duration{0, 10*time.Second + 200*time.Millisecond}, 0},
	} {
		var k clock
		for i, d := range c.dates {
			k.observe(here.Add(c.sent[i]), here.Add(c.sent[i]+100*time.Millisecond), here.Add(d))
		}
		if got := k.correct(here).Sub(here); got != c.want {
			t.Errorf("%s: corrected by %v, want %v", c.why, got, c.want)
		}
		if !k.correct(time.Time{}).IsZero() {
			t.Error("the zero time is moved")
		}
	}
	if _, err := http.ParseTime("Sun, 22 Nov 2026 02:42:48 GMT"); err != nil {
		t.Error(err)
	}
}

// TestExpressionSize keeps the largest update within what DynamoDB takes: 4,096 bytes and 300 operators.
func TestExpressionSize(t *testing.T) {
	now := time.Date(2026, 3, 31, 10, 0, 0, 0, time.UTC)
	p := &picture{v: 1, ra: now.UnixMicro(), ta: now.UnixMicro(), leases: map[string]limit.Lease{},
		rd: []period{{20000, 1}, {20001, 1}}, ud: []period{{20000, 1}, {20001, 1}}, um: []period{{600, 1}, {601, 1}}}
	for i := range 200 {
		p.leases[string(rune('a'+i))] = limit.Lease{End: int64(i + 1), USD: 5, Tokens: 5}
	}
	a := asking{sub: &store.Subject{Kind: store.KindKey, ID: "1", Version: 1}, l: limit.Limits{RPM: 10, RPD: 10, TPM: 10, Concurrency: 10, USDDay: 10, USDMonth: 10}, id: "x", now: now.UnixMicro(), m: limit.At(now, nil)}
	e, _ := a.admission(p)
	in := e.input(hotKey("key", "1"))
	cond, update := *in.ConditionExpression, *in.UpdateExpression
	if len(cond) > 4096 || len(update) > 4096 || len(e.cond) > 100 {
		t.Errorf("condition of %d bytes and %d terms, update of %d bytes", len(cond), len(e.cond), len(update))
	}
}
