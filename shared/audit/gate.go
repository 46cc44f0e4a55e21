package audit

import (
	"sync"
	"time"
)

const (
	gateSpan    = time.Minute
	maxSubjects = 10_000
	// MaxAll bounds what of a kind is written in a minute by one process, whoever it comes from.
	MaxAll = 120
)

// Gate bounds how many entries a subject makes a minute, so that a flood of failed logins fills no store. It is safe for
// concurrent use.
type Gate struct {
	most int
	now  func() time.Time
	mu   sync.Mutex
	by   map[string]*window
	all  window
}

type window struct {
	n, lost int
	until   time.Time
}

// NewGate makes one that lets a subject have most entries a minute, and one more that stands for the rest.
func NewGate(most int, now func() time.Time) *Gate {
	return &Gate{most: most, now: now, by: make(map[string]*window)}
}

// Pass tells whether an entry of the subject is written. It then says in the entry whether it is the last of the minute,
// and how many before it were not written.
func (g *Gate) Pass(subject string, e *Entry) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	w := g.by[subject]
	if w == nil {
		if len(g.by) >= maxSubjects {
			g.forget(now)
		}
		w = new(window)
		g.by[subject] = w
	}
	w.begin(now)
	g.all.begin(now)
	if w.n > g.most || g.all.n > MaxAll {
		w.lost++
		return false
	}
	w.n++
	g.all.n++
	e.Muted = w.n > g.most || g.all.n > MaxAll
	e.Unrecorded, w.lost = w.lost, 0
	return true
}

func (w *window) begin(now time.Time) {
	if !now.Before(w.until) {
		w.n, w.until = 0, now.Add(gateSpan)
	}
}

// forget makes room: of subjects whose minute is over the count of lost entries goes, too.
func (g *Gate) forget(now time.Time) {
	for s, w := range g.by {
		if !now.Before(w.until) {
			delete(g.by, s)
		}
	}
	if len(g.by) >= maxSubjects {
		clear(g.by)
	}
}
