package limit

import "time"

// Name names a limit in words.
type Name string

// The limits.
const (
	RPM         Name = "requests per minute"
	RPD         Name = "requests per day"
	Concurrency Name = "concurrent requests"
)

// busyWait is the guess for when a request in flight ends.
const busyWait = time.Second

// Limits bound one subject. 0 or less means unlimited.
type Limits struct {
	RPM         int64 // requests a minute
	RPD         int64 // requests a calendar day
	Concurrency int64 // requests in flight
}

// State is what one subject used of its limits. The zero State has used nothing. It is not safe for concurrent use.
type State struct {
	Full  int64 // microseconds since 1970 at which the bucket of requests a minute is full again
	Day   int64 // the day that Count counts
	Count int64 // requests of that day

	leases map[string]int64 // request id -> end in microseconds
	peak   int              // most leases that the map held: maps never shrink
	oldest int64            // no lease ends before this
}

// Decision is the answer to one question; State.Apply makes it true.
type Decision struct {
	Limit  Name          // the limit that forbids it, the one with the longest wait; "": none does
	Max    int64         // its value
	Wait   time.Duration // the earliest moment that can succeed; a guess for concurrency
	Repeat bool          // a lease of this request lives: it was admitted before and there is nothing to take

	full, day, count int64
	lease            bool
}

// OK reports whether no limit forbids it.
func (d *Decision) OK() bool { return d.Limit == "" }

func (d *Decision) refuse(n Name, limit int64, wait time.Duration) {
	if wait > d.Wait || d.Limit == "" {
		d.Limit, d.Max, d.Wait = n, limit, wait
	}
}

// Check decides whether the limits let one more request in. It takes nothing, so that several subjects can be asked
// before any is charged; it only forgets leases that ended.
func (s *State) Check(l Limits, m *Moment, id string) Decision {
	d := Decision{full: s.Full, day: s.Day, count: s.Count}
	if l.Concurrency > 0 {
		s.reap(m.us)
		if _, ok := s.leases[id]; ok {
			return Decision{Repeat: true}
		}
		d.lease = true
		if int64(len(s.leases)) >= l.Concurrency {
			d.refuse(Concurrency, l.Concurrency, busyWait)
		}
	}
	if l.RPM > 0 {
		next, wait := Rate(l.RPM).Take(s.Full, m.us, 1)
		if wait > 0 {
			d.refuse(RPM, l.RPM, time.Duration(wait)*time.Microsecond)
		}
		d.full = next
	}
	if l.RPD > 0 {
		day, count := s.day(m)
		if count >= l.RPD {
			d.refuse(RPD, l.RPD, m.dayEnd(day).Sub(m.now))
		}
		d.day, d.count = day, count+1
	}
	return d
}

// day is the day that counts now and its requests. A clock that ran back over midnight goes on with the later day; one
// that is more than a day behind shows that the stored day came from a wrong clock.
func (s *State) day(m *Moment) (day, count int64) {
	switch today := m.Day(); s.Day {
	case today, today + 1:
		return s.Day, s.Count
	default:
		return today, 0
	}
}

// Apply takes what d decided for the request, whose lease ends at end (microseconds). A decision that is not OK, or is
// Repeat, takes nothing. Nothing may have changed the State since Check. It reports whether Full, Day or Count changed.
func (s *State) Apply(d *Decision, id string, end int64) bool {
	if !d.OK() || d.Repeat {
		return false
	}
	changed := s.Full != d.full || s.Day != d.day || s.Count != d.count
	s.Full, s.Day, s.Count = d.full, d.day, d.count
	if d.lease {
		if s.leases == nil {
			s.leases = make(map[string]int64)
		}
		if len(s.leases) == 0 || end < s.oldest {
			s.oldest = end
		}
		s.leases[id] = end
		s.peak = max(s.peak, len(s.leases))
	}
	return changed
}

// Renew moves the end of a lease to end (both microseconds). One that ended by now stays ended; it reports that.
func (s *State) Renew(id string, now, end int64) bool {
	old, ok := s.leases[id]
	if !ok || old <= now {
		return false
	}
	s.leases[id] = end
	s.oldest = min(s.oldest, end)
	return true
}

// Release ends a lease; nothing happens when there is none.
func (s *State) Release(id string) {
	if len(s.leases) == 0 {
		return
	}
	delete(s.leases, id)
	s.shrink()
}

// reap forgets leases that ended. It looks at all of them only when one may have.
func (s *State) reap(now int64) {
	if len(s.leases) == 0 || now < s.oldest {
		return
	}
	s.oldest = Never
	for id, end := range s.leases {
		if end <= now {
			delete(s.leases, id)
		} else {
			s.oldest = min(s.oldest, end)
		}
	}
	s.shrink()
}

func (s *State) shrink() {
	if len(s.leases) == 0 && s.peak > 64 {
		s.leases, s.peak = nil, 0
	}
}

// Figure is the state of one limit.
type Figure struct {
	Limit     Name
	Max       int64
	Remaining int64
	Reset     time.Time // when it is full again or, for RPD, starts anew; zero for concurrency
}

// Figures appends the figure of each limit that is set.
func (s *State) Figures(dst []Figure, l Limits, m *Moment) []Figure {
	if l.RPM > 0 {
		full := Rate(l.RPM).base(s.Full, m.us, 0)
		dst = append(dst, Figure{RPM, l.RPM, Rate(l.RPM).Remaining(full, m.us), time.UnixMicro(full).UTC()})
	}
	if l.RPD > 0 {
		day, count := s.day(m)
		dst = append(dst, Figure{RPD, l.RPD, max(0, l.RPD-count), m.dayEnd(day)})
	}
	if l.Concurrency > 0 {
		s.reap(m.us)
		dst = append(dst, Figure{Limit: Concurrency, Max: l.Concurrency, Remaining: max(0, l.Concurrency-int64(len(s.leases)))})
	}
	return dst
}

// Live is the number of leases that have not ended at now (microseconds).
func (s *State) Live(now int64) int {
	s.reap(now)
	return len(s.leases)
}
