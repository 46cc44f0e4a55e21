package limit_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/shared/limit"
)

var start = time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)

// admit asks and, when nothing forbids it, takes.
func admit(s *limit.State, l limit.Limits, at time.Time, zone *time.Location, id string) limit.Decision {
	m := limit.At(at, zone)
	d := s.Check(l, &m, id, limit.Amount{})
	s.Apply(&d, id, at.Add(3*time.Minute).UnixMicro())
	return d
}

func figure(t *testing.T, s *limit.State, l limit.Limits, at time.Time, zone *time.Location, n limit.Name) limit.Figure {
	t.Helper()
	m := limit.At(at, zone)
	for _, f := range s.Figures(nil, l, &m) {
		if f.Limit == n {
			return f
		}
	}
	t.Fatalf("no figure of %q", n)
	return limit.Figure{}
}

// Each row is one request at a time after the start. A row with a wait is refused.
func TestRequestsPerMinute(t *testing.T) {
	l := limit.Limits{RPM: 4} // one comes back every 15 s
	rows := []struct {
		at, wait, reset time.Duration
		remaining       int64
	}{
		0: {at: 0, remaining: 3, reset: 15 * time.Second},
		1: {at: 0, remaining: 2, reset: 30 * time.Second},
		2: {at: 5 * time.Second, remaining: 1, reset: 45 * time.Second},
		3: {at: 6 * time.Second, remaining: 0, reset: 60 * time.Second},
		4: {at: 6 * time.Second, wait: 9 * time.Second, remaining: 0, reset: 60 * time.Second},
		5: {at: 14 * time.Second, wait: time.Second, remaining: 0, reset: 60 * time.Second},
		6: {at: 15 * time.Second, remaining: 0, reset: 75 * time.Second},
		7: {at: 46 * time.Second, remaining: 1, reset: 90 * time.Second},
		8: {at: 10 * time.Minute, remaining: 3, reset: 10*time.Minute + 15*time.Second},
		// The clock runs back a little: waits get longer, nothing is given away.
		9:  {at: 10*time.Minute - 20*time.Second, remaining: 0, reset: 10*time.Minute + 30*time.Second},
		10: {at: 10*time.Minute - 20*time.Second, wait: 5 * time.Second, remaining: 0, reset: 10*time.Minute + 30*time.Second},
		11: {at: 9 * time.Minute, wait: 45 * time.Second, remaining: 0, reset: 10*time.Minute + 30*time.Second},
		// It runs back by more than a minute beyond what the bucket can owe: it goes on with an empty bucket.
		12: {at: time.Minute, remaining: 0, reset: 2 * time.Minute},
		13: {at: time.Minute, wait: 15 * time.Second, remaining: 0, reset: 2 * time.Minute},
		14: {at: 75 * time.Second, remaining: 0, reset: 135 * time.Second},
	}
	var s limit.State
	for i, r := range rows {
		d := admit(&s, l, start.Add(r.at), nil, "")
		if d.Wait != r.wait || d.OK() != (r.wait == 0) {
			t.Errorf("row %d: ok %v, wait %v; want wait %v", i, d.OK(), d.Wait, r.wait)
		}
		f := figure(t, &s, l, start.Add(r.at), nil, limit.RPM)
		if reset := f.Reset.Sub(start); f.Remaining != r.remaining || reset != r.reset || f.Max != 4 {
			t.Errorf("row %d: remaining %d, reset %v; want %d, %v", i, f.Remaining, reset, r.remaining, r.reset)
		}
	}
}

func TestRequestsPerDay(t *testing.T) {
	zone := time.FixedZone("east", 9*3600)
	at := func(day, hour, min int) time.Time { return time.Date(2026, 3, day, hour, min, 0, 0, zone) }
	l := limit.Limits{RPD: 2}
	rows := []struct {
		at, reset time.Time
		wait      time.Duration
		remaining int64
	}{
		0: {at: at(14, 22, 0), remaining: 1, reset: at(15, 0, 0)},
		1: {at: at(14, 23, 0), remaining: 0, reset: at(15, 0, 0)},
		2: {at: at(14, 23, 30), remaining: 0, reset: at(15, 0, 0), wait: 30 * time.Minute},
		3: {at: at(15, 0, 0), remaining: 1, reset: at(16, 0, 0)},
		4: {at: at(14, 23, 59), remaining: 0, reset: at(16, 0, 0)}, // the clock ran back over midnight
		5: {at: at(14, 23, 59), remaining: 0, reset: at(16, 0, 0), wait: 24*time.Hour + time.Minute},
		6: {at: at(12, 10, 0), remaining: 1, reset: at(13, 0, 0)}, // it had been days ahead
	}
	var s limit.State
	for i, r := range rows {
		d := admit(&s, l, r.at, zone, "")
		if d.Wait != r.wait || d.OK() != (r.wait == 0) {
			t.Errorf("row %d: ok %v, wait %v; want wait %v", i, d.OK(), d.Wait, r.wait)
		}
		f := figure(t, &s, l, r.at, zone, limit.RPD)
		if f.Remaining != r.remaining || !f.Reset.Equal(r.reset) {
			t.Errorf("row %d: remaining %d, reset %v; want %d, %v", i, f.Remaining, f.Reset, r.remaining, r.reset)
		}
	}
}

func TestConcurrency(t *testing.T) {
	l := limit.Limits{Concurrency: 2}
	var s limit.State
	check := func(id string, after time.Duration) limit.Decision { return admit(&s, l, start.Add(after), nil, id) }
	if d := check("a", 0); !d.OK() || d.Repeat {
		t.Fatalf("first: %+v", d)
	}
	if d := check("a", 0); !d.Repeat {
		t.Errorf("the same request again: %+v, want a repeat", d)
	}
	if d := check("b", time.Minute); !d.OK() {
		t.Errorf("second: %+v", d)
	}
	if d := check("c", time.Minute); d.Limit != limit.Concurrency || d.Wait != time.Second || d.Max != 2 {
		t.Errorf("third: %+v, want a refusal with a guess of 1 s", d)
	}
	m := limit.At(start.Add(time.Minute), nil)
	s.Settle(l, &m, "b", limit.Amount{})
	s.Settle(l, &m, "unknown", limit.Amount{})
	if d := check("c", time.Minute); !d.OK() {
		t.Errorf("after a release: %+v", d)
	}
	if f := figure(t, &s, l, start.Add(time.Minute), nil, limit.Concurrency); f.Remaining != 0 || !f.Reset.IsZero() {
		t.Errorf("figure %+v", f)
	}
	// a ends after 3 minutes, c after 4.
	if d := check("d", 3*time.Minute); !d.OK() {
		t.Errorf("after a lease ended: %+v", d)
	}
	us := func(after time.Duration) int64 { return start.Add(after).UnixMicro() }
	if s.Renew("a", us(3*time.Minute), us(9*time.Minute)) {
		t.Error("an ended lease was revived")
	}
	if !s.Renew("c", us(3*time.Minute), us(9*time.Minute)) {
		t.Error("a living lease was not renewed")
	}
	if f := figure(t, &s, l, start.Add(7*time.Minute), nil, limit.Concurrency); f.Remaining != 1 {
		t.Errorf("7 minutes on: remaining %d, want 1", f.Remaining)
	}
}

// A refusal tells of the limit with the longest wait and takes nothing of the others.
func TestLongestWait(t *testing.T) {
	l := limit.Limits{RPM: 1, RPD: 5, Concurrency: 1}
	var s limit.State
	admit(&s, l, start, nil, "a")
	before := s
	if d := admit(&s, l, start, nil, "b"); d.Limit != limit.RPM || d.Wait != time.Minute {
		t.Errorf("%+v, want requests per minute after 1m", d)
	}
	if s.Full != before.Full || s.Count != before.Count {
		t.Errorf("a refusal changed %+v to %+v", before, s)
	}
	l.RPD = 1
	if d := admit(&s, l, start, nil, "b"); d.Limit != limit.RPD || d.Wait != 14*time.Hour {
		t.Errorf("%+v, want requests per day after 14h", d)
	}
}

func TestDayStart(t *testing.T) {
	for _, name := range []string{"UTC", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Logf("%s is unknown here: %v", name, err)
			continue
		}
		t.Run(name, func(t *testing.T) {
			from := limit.Day(time.Date(2010, 1, 1, 12, 0, 0, 0, zone), zone)
			for day := from; day < from+12*366; day++ {
				s := limit.DayStart(day, zone)
				// A zone may skip a whole day (Apia, 2011-12-30); then the start is that of the next.
				if got := limit.Day(s, zone); got != day && limit.Day(s.Add(-time.Second), zone) != day-1 {
					t.Fatalf("start of day %d is %v, day %d", day, s, got)
				}
				if got := limit.Day(s.Add(-time.Second), zone); got >= day {
					t.Fatalf("a second before the start of day %d (%v) it is day %d already", day, s, got)
				}
			}
		})
	}
}

// The promise: in any t seconds at most L + L*t/60, and demand that never stops gets nearly all of what comes back.
func TestRateBound(t *testing.T) {
	for _, l := range []int64{1, 3, 7, 60, 97, 1000, 59_999, 1_000_000} {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(l)))
			r := limit.Rate(l)
			var full int64
			var taken []int64
			now := start.UnixMicro()
			mean := r.Cost()
			for range 20_000 {
				switch rng.IntN(50) {
				case 0:
					now += rng.Int64N(90_000_000)
				case 1:
					now -= rng.Int64N(min(2*mean, 20_000_000)) // a clock that jitters
				default:
					now += rng.Int64N(mean + 1)
				}
				next, wait := r.Take(full, now, 1)
				if wait == 0 {
					taken = append(taken, now)
				} else if n, w := r.Take(full, now+wait, 1); w != 0 || n == 0 {
					t.Fatalf("after its wait of %d us it must fit", wait)
				} else if _, w := r.Take(full, now+wait-1, 1); w == 0 {
					t.Fatalf("a wait of %d us is not the earliest moment", wait)
				}
				full = next
			}
			for i := 0; i < len(taken); i += 1 + rng.IntN(3) {
				for j := i; j < len(taken); j += 1 + rng.IntN(1+len(taken)/200) {
					span := max(taken[j]-taken[i], 0)
					if n := int64(j - i + 1); float64(n) > float64(l)+float64(l)*float64(span)/60e6+1e-9 {
						t.Fatalf("%d in %d us", n, span)
					}
				}
			}
		})
	}
}

func TestRateSaturated(t *testing.T) {
	for _, l := range []int64{1, 7, 100, 1000, 59_999, 1_000_000} {
		r := limit.Rate(l)
		now, n, full := start.UnixMicro(), int64(0), int64(0)
		end := now + max(60_000_000*20/max(l/1000, 1), 1_000_000)
		from := now
		for now < end {
			next, wait := r.Take(full, now, 1)
			if full = next; wait == 0 {
				n++
			} else {
				now += wait
			}
		}
		refill := float64(l) * float64(end-from) / 60e6
		if float64(n-l) < 0.95*refill-1 {
			t.Errorf("limit %d: %d beyond the burst of %.0f that came back", l, n-l, refill)
		}
	}
}

func TestRateTokens(t *testing.T) {
	r := limit.Rate(60_000) // one token a millisecond
	now := start.UnixMicro()
	if _, wait := r.Take(0, now, 60_001); wait != limit.Never {
		t.Error("more than the bucket holds can never fit")
	}
	full, wait := r.Take(0, now, 60_000)
	if wait != 0 || r.Remaining(full, now) != 0 {
		t.Fatalf("wait %d, remaining %d", wait, r.Remaining(full, now))
	}
	full = r.Settle(full, now, -20_000)
	if got := r.Remaining(full, now); got != 20_000 {
		t.Errorf("after giving back 20,000: %d", got)
	}
	full = r.Settle(full, now, 30_000)
	if _, wait := r.Take(full, now, 1); wait != 10_001_000 {
		t.Errorf("10,000 in debt: wait %d us, want 10,001,000", wait)
	}
	if got := r.Settle(full, now, 1<<60); got != now+r.Depth()+60_000_000 {
		t.Errorf("debt is not bounded: %d", got-now)
	}
	if got := r.Remaining(r.Settle(full, now, -1<<60), now); got != 60_000 {
		t.Errorf("a bucket fuller than full: %d", got)
	}
}

func TestRateExtremes(t *testing.T) {
	now := start.UnixMicro()
	for _, r := range []limit.Rate{-5, 0, 1, 1 << 62} {
		full, wait := r.Take(0, now, 1)
		if wait != 0 || full <= now || r.Cost() < 1 {
			t.Errorf("rate %d: state %d, wait %d", r, full, wait)
		}
	}
}
