package limit

import "time"

// Name names a limit in words.
type Name string

// The limits.
const (
	RPM         Name = "requests per minute"
	TPM         Name = "tokens per minute"
	RPD         Name = "requests per day"
	USDDay      Name = "micro-USD per day"
	USDMonth    Name = "micro-USD per month"
	Concurrency Name = "concurrent requests"
)

// busyWait is the guess for when a request in flight ends.
const busyWait = time.Second

// Limits bound one subject. 0 or less means unlimited.
type Limits struct {
	RPM         int64 // requests a minute
	RPD         int64 // requests a calendar day
	Concurrency int64 // requests in flight
	TPM         int64 // tokens a minute
	USDDay      int64 // micro-USD a calendar day
	USDMonth    int64 // micro-USD a calendar month
}

// Leased reports whether what a request took is held under its id until it is settled.
func (l Limits) Leased() bool {
	return l.Concurrency > 0 || l.TPM > 0 || l.USDDay > 0 || l.USDMonth > 0
}

// Amount is what a request takes of the limits on tokens and money: an estimate when it is let in, the truth when it is
// settled. Negative counts are taken for 0.
type Amount struct {
	Tokens int64
	USD    int64 // micro-USD
}

func (a Amount) sane() Amount { return Amount{max(0, a.Tokens), max(0, a.USD)} }

// Lease is what one request in flight holds.
type Lease struct {
	End    int64 `json:"e"` // microseconds since 1970
	Tokens int64 `json:"t,omitempty"`
	USD    int64 `json:"u,omitempty"` // of the day and month below
	Day    int64 `json:"d,omitempty"`
	Month  int64 `json:"m,omitempty"`
}

// Counters are the numbers of a State. Money that requests in flight have reserved is in DayUSD and MonthUSD.
type Counters struct {
	Full   int64 // microseconds since 1970 at which the bucket of requests a minute is full again
	Tokens int64 // the same of the bucket of tokens

	Day   int64 // the day that Count counts
	Count int64 // requests of that day

	MoneyDay int64 // the day and month that the sums below are of
	DayUSD   int64 // micro-USD
	Month    int64
	MonthUSD int64
}

// State is what one subject used of its limits. The zero State has used nothing. It is not safe for concurrent use.
type State struct {
	Counters
	Leases map[string]Lease // by request id

	peak   int   // most leases that the map held: maps never shrink
	oldest int64 // no lease ends before this; 0: unknown
}

// Decision is the answer to one question; State.Apply makes it true.
type Decision struct {
	Limit  Name          // the limit that forbids it, the one with the longest wait; "": none does
	Max    int64         // its value
	Wait   time.Duration // the earliest moment that can succeed; a guess for concurrency; Never: larger than the limit itself
	Repeat bool          // a lease of this request lives: it was admitted before and there is nothing to take

	next  Counters
	lease Lease
	held  bool
}

// OK reports whether no limit forbids it.
func (d *Decision) OK() bool { return d.Limit == "" }

func (d *Decision) refuse(n Name, limit int64, wait time.Duration) {
	if wait > d.Wait || d.Limit == "" {
		d.Limit, d.Max, d.Wait = n, limit, wait
	}
}

func (s *State) set(c *Counters) (changed bool) {
	changed = s.Counters != *c
	s.Counters = *c
	return changed
}

// Check decides whether the limits let one more request in, which will take ask. It takes nothing, so that several
// subjects can be asked before any is charged; it only gives back what leases held that ended.
func (s *State) Check(l Limits, m *Moment, id string, ask Amount) Decision {
	ask = ask.sane()
	if l.Leased() {
		s.reap(l, m.us)
		if _, ok := s.Leases[id]; ok {
			return Decision{Repeat: true}
		}
	}
	d := Decision{next: s.Counters, held: l.Leased()}
	if l.Concurrency > 0 && int64(len(s.Leases)) >= l.Concurrency {
		d.refuse(Concurrency, l.Concurrency, busyWait)
	}
	if l.RPM > 0 {
		d.next.Full = d.take(RPM, l.RPM, s.Full, m.us, 1)
	}
	if l.TPM > 0 {
		d.next.Tokens = d.take(TPM, l.TPM, s.Tokens, m.us, ask.Tokens)
		d.lease.Tokens = ask.Tokens
	}
	if l.RPD > 0 {
		day, count := period(s.Day, s.Count, m.Day())
		if count >= l.RPD {
			d.refuse(RPD, l.RPD, m.dayEnd(day).Sub(m.now))
		}
		d.next.Day, d.next.Count = day, count+1
	}
	if l.USDDay > 0 || l.USDMonth > 0 {
		d.money(s, l, m, ask.USD)
	}
	return d
}

func (d *Decision) take(name Name, limit, full, now, n int64) int64 {
	next, wait := Rate(limit).Take(full, now, n)
	switch {
	case wait == Never:
		d.refuse(name, limit, Never)
	case wait > 0:
		d.refuse(name, limit, time.Duration(wait)*time.Microsecond)
	}
	return next
}

// money decides on the budgets. Both are counted where one is set, so that the other finds a sum when it comes.
func (d *Decision) money(s *State, l Limits, m *Moment, usd int64) {
	day, spent := period(s.MoneyDay, s.DayUSD, m.Day())
	month, all := period(s.Month, s.MonthUSD, m.Month())
	least := max(usd, 1) // a spent budget lets nothing in, whatever it costs
	if l.USDDay > 0 && spent+least > l.USDDay {
		d.refuse(USDDay, l.USDDay, m.dayEnd(day).Sub(m.now))
	}
	if l.USDMonth > 0 && all+least > l.USDMonth {
		d.refuse(USDMonth, l.USDMonth, MonthStart(month+1, m.zone).Sub(m.now))
	}
	n := &d.next
	n.MoneyDay, n.DayUSD, n.Month, n.MonthUSD = day, spent+usd, month, all+usd
	d.lease.USD, d.lease.Day, d.lease.Month = usd, day, month
}

// period is the period that counts now, and its sum. A clock that ran back over the boundary goes on with the later one;
// one that is more than one behind shows that the stored one came from a wrong clock.
func period(stored, sum, now int64) (int64, int64) {
	if stored == now || stored == now+1 {
		return stored, sum
	}
	return now, 0
}

// Apply takes what d decided for the request, whose lease ends at end (microseconds). A decision that is not OK, or is
// Repeat, takes nothing. Nothing may have changed the State since Check. It reports whether a counter changed.
func (s *State) Apply(d *Decision, id string, end int64) bool {
	if !d.OK() || d.Repeat {
		return false
	}
	changed := s.set(&d.next)
	if d.held {
		if s.Leases == nil {
			s.Leases = make(map[string]Lease)
		}
		if len(s.Leases) == 0 || end < s.oldest {
			s.oldest = end
		}
		d.lease.End = end
		s.Leases[id] = d.lease
		s.peak = max(s.peak, len(s.Leases))
	}
	return changed
}

// Settle ends the request's lease and puts what it used in place of what it reserved. A lease that is gone, because it
// ended before, is no reason not to count: all of used is taken then. Call it once a request. It reports whether a
// counter changed.
func (s *State) Settle(l Limits, m *Moment, id string, used Amount) bool {
	if !l.Leased() {
		return false
	}
	used = used.sane()
	lease, ok := s.Leases[id]
	if ok {
		delete(s.Leases, id)
		s.shrink()
	} else {
		lease = Lease{Day: m.Day(), Month: m.Month()}
	}
	next := s.Counters
	if l.TPM > 0 && used.Tokens != lease.Tokens {
		next.Tokens = Rate(l.TPM).Settle(s.Tokens, m.us, used.Tokens-lease.Tokens)
	}
	if l.USDDay > 0 || l.USDMonth > 0 {
		next.spend(lease.Day, lease.Month, used.USD-lease.USD)
	}
	return s.set(&next)
}

// spend adds to the sums of a day and a month, unless they are past.
func (s *Counters) spend(day, month, usd int64) {
	switch {
	case day == s.MoneyDay:
		s.DayUSD = max(0, s.DayUSD+usd)
	case day > s.MoneyDay:
		s.MoneyDay, s.DayUSD = day, max(0, usd)
	}
	switch {
	case month == s.Month:
		s.MonthUSD = max(0, s.MonthUSD+usd)
	case month > s.Month:
		s.Month, s.MonthUSD = month, max(0, usd)
	}
}

// Raise makes what was spent of the moment's day and month at least the sums given, on top of what requests in flight have
// reserved: a budget that is set in the middle of them finds what was spent before. It reports whether a counter changed.
func (s *State) Raise(m *Moment, dayUSD, monthUSD int64) bool {
	day, spent := period(s.MoneyDay, s.DayUSD, m.Day())
	month, all := period(s.Month, s.MonthUSD, m.Month())
	for _, l := range s.Leases {
		if l.Day == day {
			dayUSD += l.USD
		}
		if l.Month == month {
			monthUSD += l.USD
		}
	}
	next := s.Counters
	if day == m.Day() && spent < dayUSD { // else another clock has begun the next
		next.MoneyDay, next.DayUSD = day, dayUSD
	}
	if month == m.Month() && all < monthUSD {
		next.Month, next.MonthUSD = month, monthUSD
	}
	return s.set(&next)
}

// Renew moves the end of a lease to end (both microseconds). One that ended by now stays ended; it reports that.
func (s *State) Renew(id string, now, end int64) bool {
	old, ok := s.Leases[id]
	if !ok || old.End <= now {
		return false
	}
	old.End = end
	s.Leases[id] = old
	s.oldest = min(s.oldest, end)
	return true
}

// reap ends leases whose time is over and gives back what they reserved. It looks at all of them only when one may have.
func (s *State) reap(l Limits, now int64) {
	if len(s.Leases) == 0 || now < s.oldest {
		return
	}
	s.oldest = Never
	for id, lease := range s.Leases {
		if lease.End > now {
			s.oldest = min(s.oldest, lease.End)
			continue
		}
		delete(s.Leases, id)
		if l.TPM > 0 && lease.Tokens > 0 {
			s.Tokens = Rate(l.TPM).Settle(s.Tokens, now, -lease.Tokens)
		}
		if lease.USD > 0 {
			s.spend(lease.Day, lease.Month, -lease.USD)
		}
	}
	s.shrink()
}

func (s *State) shrink() {
	if len(s.Leases) == 0 && s.peak > 64 {
		s.Leases, s.peak = nil, 0
	}
}

// Net are the counters as they would be had the requests in flight never come: what a restart, which ends them, goes on with.
// Tokens a minute keep their reservations, which a minute forgets anyway.
func (s *State) Net() Counters {
	n := s.Counters
	for _, l := range s.Leases {
		n.spend(l.Day, l.Month, -l.USD)
	}
	return n
}

// Figure is the state of one limit.
type Figure struct {
	Limit     Name
	Max       int64
	Remaining int64
	Reset     time.Time // when it is full again or, for days and months, starts anew; zero for concurrency
}

// Figures appends the figure of each limit that is set.
func (s *State) Figures(dst []Figure, l Limits, m *Moment) []Figure {
	bucket := func(n Name, limit, full int64) {
		if limit > 0 {
			full = Rate(limit).base(full, m.us, 0)
			dst = append(dst, Figure{n, limit, Rate(limit).Remaining(full, m.us), time.UnixMicro(full).UTC()})
		}
	}
	bucket(RPM, l.RPM, s.Full)
	bucket(TPM, l.TPM, s.Tokens)
	if l.RPD > 0 {
		day, count := period(s.Day, s.Count, m.Day())
		dst = append(dst, Figure{RPD, l.RPD, max(0, l.RPD-count), m.dayEnd(day)})
	}
	if l.USDDay > 0 {
		day, spent := period(s.MoneyDay, s.DayUSD, m.Day())
		dst = append(dst, Figure{USDDay, l.USDDay, max(0, l.USDDay-spent), m.dayEnd(day)})
	}
	if l.USDMonth > 0 {
		month, spent := period(s.Month, s.MonthUSD, m.Month())
		dst = append(dst, Figure{USDMonth, l.USDMonth, max(0, l.USDMonth-spent), MonthStart(month+1, m.zone)})
	}
	if l.Concurrency > 0 {
		s.reap(l, m.us)
		dst = append(dst, Figure{Limit: Concurrency, Max: l.Concurrency, Remaining: max(0, l.Concurrency-int64(len(s.Leases)))})
	}
	return dst
}

// Live is the number of leases that have not ended at now (microseconds).
func (s *State) Live(l Limits, now int64) int {
	s.reap(l, now)
	return len(s.Leases)
}
