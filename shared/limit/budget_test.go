package limit_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/shared/limit"
)

// take asks for an amount and, when nothing forbids it, takes it for three minutes.
func take(s *limit.State, l limit.Limits, at time.Time, id string, ask limit.Amount) limit.Decision {
	m := limit.At(at, nil)
	d := s.Check(l, &m, id, ask)
	s.Apply(&d, id, at.Add(3*time.Minute).UnixMicro())
	return d
}

func settle(s *limit.State, l limit.Limits, at time.Time, id string, used limit.Amount) bool {
	m := limit.At(at, nil)
	return s.Settle(l, &m, id, used)
}

func remaining(t *testing.T, s *limit.State, l limit.Limits, at time.Time, n limit.Name, want int64) {
	t.Helper()
	if f := figure(t, s, l, at, nil, n); f.Remaining != want {
		t.Errorf("%s: %d remaining, want %d", n, f.Remaining, want)
	}
}

func TestTokensPerMinute(t *testing.T) {
	l := limit.Limits{TPM: 60_000} // one a millisecond
	var s limit.State
	steps := []struct {
		why       string
		ask       int64
		wait      time.Duration // of the refusal; 0: let in
		used      int64         // settled at once; -1: stays in flight
		remaining int64         // after it
	}{
		{"an estimate is reserved", 20_000, 0, -1, 40_000},
		{"too little is left: so many milliseconds", 45_000, 5 * time.Second, -1, 40_000},
		{"what was too much comes back", 30_000, 0, 10_000, 30_000},
		{"what was too little counts", 10_000, 0, 25_000, 5000},
		{"what owes nothing needs nothing", 0, 0, 0, 5000},
		{"a negative estimate is none", -50_000, 0, -1, 5000},
		{"more than the bucket holds never fits", 60_001, limit.Never, -1, 5000},
		{"into debt", 5000, 0, 15_000, 0},
		{"while in debt not even nothing comes in", 0, 10 * time.Second, -1, 0},
	}
	for i, c := range steps {
		id := fmt.Sprint(i)
		d := take(&s, l, start, id, limit.Amount{Tokens: c.ask})
		if d.Wait != c.wait || d.OK() != (c.wait == 0) || !d.OK() && (d.Limit != limit.TPM || d.Max != 60_000) {
			t.Errorf("%s: %+v, want a wait of %v", c.why, d, c.wait)
		}
		if d.OK() && c.used >= 0 {
			settle(&s, l, start, id, limit.Amount{Tokens: c.used})
		}
		if f := figure(t, &s, l, start, nil, limit.TPM); f.Remaining != c.remaining {
			t.Errorf("%s: %d remaining, want %d", c.why, f.Remaining, c.remaining)
		}
	}
	if s.Live(l, start.UnixMicro()) != 2 {
		t.Errorf("%d in flight, want the two that were not settled", s.Live(l, start.UnixMicro()))
	}
}

func TestBudgets(t *testing.T) {
	l := limit.Limits{USDDay: 1000, USDMonth: 1500}
	var s limit.State
	usd := func(n int64) limit.Amount { return limit.Amount{USD: n} }
	take(&s, l, start, "a", usd(600))
	if d := take(&s, l, start, "b", usd(401)); d.Limit != limit.USDDay || d.Max != 1000 || d.Wait != 14*time.Hour {
		t.Errorf("%+v, want the day's until midnight", d)
	}
	settle(&s, l, start, "a", usd(900))
	remaining(t, &s, l, start, limit.USDDay, 100)
	remaining(t, &s, l, start, limit.USDMonth, 600)

	next := start.Add(24 * time.Hour)
	if d := take(&s, l, next, "c", usd(601)); d.Limit != limit.USDMonth || d.Wait != time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC).Sub(next) {
		t.Errorf("%+v, want the month's until April", d)
	}
	take(&s, l, next, "d", usd(500))
	settle(&s, l, next, "d", usd(2000)) // underestimated: the one way to pass a budget
	remaining(t, &s, l, next, limit.USDDay, 0)
	remaining(t, &s, l, next, limit.USDMonth, 0)
	if d := take(&s, l, next, "e", usd(0)); d.OK() {
		t.Error("a spent budget lets in what costs nothing")
	}
	april := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	if d := take(&s, l, april, "e", usd(1000)); !d.OK() {
		t.Errorf("in April: %+v", d)
	}
	remaining(t, &s, l, april, limit.USDMonth, 500)

	// a clock that runs back over midnight goes on with the later day, one that was days ahead does not stay
	if d := take(&s, l, april.Add(-time.Minute), "f", usd(1)); d.OK() {
		t.Error("yesterday's budget is spent again")
	}
	if d := take(&s, l, april.Add(-96*time.Hour), "f", usd(500)); !d.OK() {
		t.Errorf("days back: %+v", d)
	}
}

// A budget added later finds the sum of what was spent: both are counted where one is set.
func TestBudgetAddedLater(t *testing.T) {
	var s limit.State
	day := limit.Limits{USDDay: 1000}
	take(&s, day, start, "a", limit.Amount{USD: 300})
	settle(&s, day, start, "a", limit.Amount{USD: 300})
	remaining(t, &s, limit.Limits{USDMonth: 1000}, start, limit.USDMonth, 700)
}

// What is restored after a crash has nothing of the requests that died with it.
func TestNet(t *testing.T) {
	l := limit.Limits{USDDay: 1000, USDMonth: 1000}
	var s limit.State
	take(&s, l, start, "a", limit.Amount{USD: 100})
	take(&s, l, start, "b", limit.Amount{USD: 200})
	settle(&s, l, start, "a", limit.Amount{USD: 150})
	if n := s.Net(); n.DayUSD != 150 || n.MonthUSD != 150 {
		t.Errorf("net %+v, want 150", n)
	}
	if s.DayUSD != 350 {
		t.Errorf("Net changed the state: %+v", s.Counters)
	}
}

// TestMoneyAddsUp: whatever order requests come, end, die and are settled late in, the sum of a day or a month is what was
// settled in it and what is reserved in it, to the micro-dollar; and at an admission the two never pass the budget unless
// settlements did.
func TestMoneyAddsUp(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 17))
		b := newBook(limit.Limits{USDDay: 50_000 * rng.Int64N(2), USDMonth: 400_000, TPM: 60_000_000 * rng.Int64N(2)})
		for step := range 3000 {
			switch rng.IntN(10) {
			case 0:
				b.now = b.now.Add(time.Duration(rng.Int64N(int64(4 * time.Hour))))
			case 1, 2:
				b.now = b.now.Add(time.Duration(rng.Int64N(int64(time.Minute))))
			case 3, 4, 5, 6:
				b.admit(t, fmt.Sprint(step), rng.Int64N(9000))
			default:
				b.settleOne(rng.IntN(1<<30), rng.Int64N(12_000))
			}
			b.check(t, seed, step)
			if t.Failed() {
				return
			}
		}
	}
}

// book is the same money kept by a bookkeeper who knows no leases.
type book struct {
	l      limit.Limits
	s      limit.State
	now    time.Time
	open   []promise
	days   map[int64]int64 // settled, by the day that it counts in
	months map[int64]int64
}

// promise is a request that was let in and is not settled.
type promise struct {
	id         string
	usd        int64
	day, month int64
	end        time.Time
}

func newBook(l limit.Limits) *book {
	return &book{l: l, now: start, days: map[int64]int64{}, months: map[int64]int64{}}
}

func (b *book) admit(t *testing.T, id string, usd int64) {
	t.Helper()
	d := take(&b.s, b.l, b.now, id, limit.Amount{Tokens: usd, USD: usd})
	if !d.OK() {
		return
	}
	day, month := limit.Day(b.now, time.UTC), limit.Month(b.now, time.UTC)
	b.open = append(b.open, promise{id, usd, day, month, b.now.Add(3 * time.Minute)})
	for _, c := range []struct {
		budget, settled int64
		in              func(p *promise) bool
	}{
		{b.l.USDDay, b.days[day], func(p *promise) bool { return p.day == day }},
		{b.l.USDMonth, b.months[month], func(p *promise) bool { return p.month == month }},
	} {
		sum := c.settled
		for i := range b.open {
			if p := &b.open[i]; c.in(p) && p.end.After(b.now) {
				sum += p.usd
			}
		}
		if c.budget > 0 && sum > c.budget {
			t.Errorf("admitted with %d of %d spent and reserved", sum, c.budget)
		}
	}
}

// settleOne settles a request in flight, or one whose lease ended, whatever it reserved.
func (b *book) settleOne(pick int, usd int64) {
	if len(b.open) == 0 {
		return
	}
	i := pick % len(b.open)
	p := b.open[i]
	b.open = append(b.open[:i], b.open[i+1:]...)
	day, month := p.day, p.month
	if _, holds := b.s.Leases[p.id]; !holds { // it was taken for dead: it counts when it turns up
		day, month = limit.Day(b.now, time.UTC), limit.Month(b.now, time.UTC)
	}
	settle(&b.s, b.l, b.now, p.id, limit.Amount{Tokens: usd, USD: usd})
	b.days[day] += usd
	b.months[month] += usd
}

func (b *book) check(t *testing.T, seed uint64, step int) {
	t.Helper()
	day, month := b.days[b.s.MoneyDay], b.months[b.s.Month]
	for i := range b.open {
		p := &b.open[i]
		if _, holds := b.s.Leases[p.id]; !holds {
			continue
		}
		if p.day == b.s.MoneyDay {
			day += p.usd
		}
		if p.month == b.s.Month {
			month += p.usd
		}
	}
	if b.s.DayUSD != day || b.s.MonthUSD != month {
		t.Errorf("seed %d, step %d: day %d, month %d; want %d, %d", seed, step, b.s.DayUSD, b.s.MonthUSD, day, month)
	}
	if n := b.s.Net(); n.DayUSD != b.days[b.s.MoneyDay] || n.MonthUSD != b.months[b.s.Month] {
		t.Errorf("seed %d, step %d: net %+v, want %d, %d", seed, step, n, b.days[b.s.MoneyDay], b.months[b.s.Month])
	}
}
