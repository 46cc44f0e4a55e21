package directory

import (
	"net/netip"
	"sync"
	"time"
)

// MaxBadKeys is how many unknown keys an address may send in a minute before it is told to wait.
const MaxBadKeys = 20

const (
	throttleSpan = time.Minute
	maxThrottled = 10_000 // addresses that are remembered
)

// Throttle bounds how often an address may fail within a minute. It is safe for concurrent use.
type Throttle struct {
	most int
	now  func() time.Time
	mu   sync.Mutex
	by   map[netip.Addr]failures
}

type failures struct {
	n     int
	until time.Time
}

// NewThrottle makes one that lets an address fail most times a minute.
func NewThrottle(most int, now func() time.Time) *Throttle {
	return &Throttle{most: most, now: now, by: make(map[netip.Addr]failures)}
}

// network groups addresses that one client can take at will.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Take counts a failure of an address, or, when it has had them all, returns how long until it may fail again.
func (t *Throttle) Take(a netip.Addr) time.Duration {
	a = network(a)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	s, known := t.by[a]
	if s.n >= t.most && now.Before(s.until) {
		return s.until.Sub(now)
	}
	if !known && len(t.by) >= maxThrottled {
		t.forget(now)
	}
	if !now.Before(s.until) {
		s = failures{until: now.Add(throttleSpan)}
	}
	s.n++
	t.by[a] = s
	return 0
}

// forget makes room. In a flood from everywhere all is forgotten rather than kept growing.
func (t *Throttle) forget(now time.Time) {
	for k, s := range t.by {
		if !now.Before(s.until) {
			delete(t.by, k)
		}
	}
	if len(t.by) >= maxThrottled {
		clear(t.by)
	}
}

// GiveBack takes a failure back that was none.
func (t *Throttle) GiveBack(a netip.Addr) {
	a = network(a)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.by[a]; s.n > 0 {
		s.n--
		t.by[a] = s
	}
}
