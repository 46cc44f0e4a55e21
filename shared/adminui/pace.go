package adminui

import (
	"sync"
	"sync/atomic"
	"time"
)

// pace remembers what took long, so that a page is there at once and its slow part follows, and how often that is looked at.
type pace struct {
	mu   sync.Mutex
	took map[string]time.Duration // by page and account

	served atomic.Bool // a request was answered once: the first-run checklist need not ask again
}

const (
	deferAfter = 100 * time.Millisecond
	maxPaces   = 1000
	liveShare  = 20 // a live part is worked out at most a twentieth of the time
)

// slow reports whether the part took long when it was made last.
func (p *pace) slow(part string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took[part] > deferAfter
}

// note remembers how long the part took.
func (p *pace) note(part string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.took == nil || len(p.took) >= maxPaces {
		p.took = map[string]time.Duration{}
	}
	p.took[part] = took
}
