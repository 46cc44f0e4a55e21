package redis

import (
	"sync/atomic"
	"time"
)

const (
	clockEvery = 30 * time.Second
	// clockSlack is by how much clocks may differ before they count as different. Clocks that are kept right differ less,
	// and below it the correction would only add the jitter of its own measurement.
	clockSlack = 100 * time.Millisecond
	// clockTrip is the longest round trip that is taken for a measurement.
	clockTrip = time.Second
)

// clock corrects this machine's time by the server's.
type clock struct {
	ahead atomic.Int64 // ns by which the server's clock is ahead
	due   atomic.Int64 // when to look again, Unix ns here
}

// at is t as the server's clock would tell it.
func (c *clock) at(t time.Time) time.Time {
	if d := c.ahead.Load(); d != 0 {
		return t.Add(time.Duration(d))
	}
	return t
}

// ask reports, to one caller every 30 s, that it is time to look at the server's clock again.
func (c *clock) ask(now time.Time) bool {
	due := c.due.Load()
	return now.UnixNano() >= due && c.due.CompareAndSwap(due, now.Add(clockEvery).UnixNano())
}

// learn takes the server's time from an answer that came so long after it was asked for.
func (c *clock) learn(asked time.Time, trip time.Duration, server time.Time) {
	if trip > clockTrip {
		return
	}
	ahead := server.Sub(asked.Add(trip / 2))
	if ahead.Abs() <= clockSlack+trip/2 {
		ahead = 0
	}
	c.ahead.Store(int64(ahead))
}
