package dynamodb

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// trustFor is how long bounds of the clock's error are kept: clocks drift.
const trustFor = 10 * time.Minute

// clock knows how far this machine's clock is off, from the Date headers of answers. They have whole seconds, so each
// answer gives bounds; the clock is left alone unless they prove it wrong.
type clock struct {
	now    func() time.Time
	offset atomic.Int64

	mu     sync.Mutex
	lo, hi time.Duration
	since  time.Time
}

// observe learns from an answer: its date was written between sent and received.
func (c *clock) observe(sent, received, date time.Time) {
	lo, hi := date.Sub(received), date.Add(time.Second).Sub(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if fresh := c.since.IsZero() || received.Sub(c.since).Abs() > trustFor; fresh || lo > c.hi || hi < c.lo {
		c.lo, c.hi, c.since = lo, hi, received
	} else {
		c.lo, c.hi = max(c.lo, lo), min(c.hi, hi)
	}
	off := time.Duration(0)
	switch {
	case c.lo > 0:
		off = c.lo
	case c.hi < 0:
		off = c.hi
	}
	c.offset.Store(int64(off))
}

// correct moves a time of this machine's clock to the store's. The zero time stays.
func (c *clock) correct(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Duration(c.offset.Load()))
}

// doer sends requests.
type doer interface {
	Do(*http.Request) (*http.Response, error)
}

// listener sends requests and tells the clock what the answers say.
type listener struct {
	doer
	clock *clock
}

func (l listener) Do(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	res, err := l.doer.Do(r)
	if err != nil {
		return res, err
	}
	if res.Body != nil {
		res.Body = drained{res.Body}
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		l.clock.observe(sent, time.Now(), date)
	}
	return res, nil
}

// drained reads what is left of a body before it is closed: the SDK leaves empty answers unread, and a connection with
// an unread answer cannot be used again.
type drained struct{ io.ReadCloser }

func (d drained) Close() error {
	_, _ = io.CopyN(io.Discard, d.ReadCloser, 4096)
	return d.ReadCloser.Close()
}
