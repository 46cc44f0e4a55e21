package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	answerLimit = 30 * time.Second // for one answer, so that a hung server fails the run
	maxErrors   = 5                // of one connection, before it gives up
	clientBuf   = 64 << 10
)

// load is what one target got in one round.
type load struct {
	latencies []time.Duration // of the answers that were right
	took      time.Duration   // from the first request to the last answer
	errors    int
	firstErr  error
}

// add counts the outcome of one request.
func (l *load) add(d time.Duration, got, want reply, err error) {
	if err == nil && got != want {
		err = fmt.Errorf("answer is not the upstream's: got %v, want %v", got, want)
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.latencies = append(l.latencies, d)
}

func (l *load) fail(err error) {
	l.errors++
	if l.firstErr == nil {
		l.firstErr = err
	}
}

func (l *load) merge(other *load) {
	l.latencies = append(l.latencies, other.latencies...)
	l.errors += other.errors
	if l.firstErr == nil {
		l.firstErr = other.firstErr
	}
}

// closedLoop keeps conns connections busy for d: each sends its next request
// when the last one is answered. It returns when all answers are there.
func closedLoop(ctx context.Context, req request, want reply, conns int, d time.Duration) *load {
	var wg sync.WaitGroup
	parts := make([]load, conns)
	start := time.Now()
	end := start.Add(d)
	for i := range parts {
		wg.Go(func() { parts[i].worker(ctx, req, want, end) })
	}
	wg.Wait()
	total := &load{took: time.Since(start)}
	for i := range parts {
		total.merge(&parts[i])
	}
	return total
}

func (l *load) worker(ctx context.Context, req request, want reply, end time.Time) {
	var c *clientConn
	for time.Now().Before(end) && ctx.Err() == nil && l.errors < maxErrors {
		if c == nil {
			var err error
			if c, err = dial(ctx, req.addr, end.Add(answerLimit), clientBuf); err != nil {
				l.fail(err)
				continue
			}
		}
		start := time.Now()
		got, err := c.do(req, 0)
		l.add(time.Since(start), got, want, err)
		if err != nil || c.closed {
			c.Close()
			c = nil
		}
	}
	if c != nil {
		c.Close()
	}
}

// openLoop sends rate requests a second for d, whether or not earlier ones are
// answered, and returns when all are. A request's time runs from the moment it
// is really sent off: what the client's own timers are late is not the
// target's.
func openLoop(ctx context.Context, req request, want reply, rate int, d time.Duration) *load {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total = &load{}
		idle  []*clientConn
	)
	interval := time.Second / time.Duration(rate)
	start := time.Now()
	deadline := start.Add(d + answerLimit)
	tick := time.NewTimer(0)
	defer tick.Stop()
	for next := start; next.Before(start.Add(d)) && total.few(&mu); next = next.Add(interval) {
		tick.Reset(time.Until(next))
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		mu.Lock()
		var c *clientConn
		if n := len(idle); n > 0 {
			c, idle = idle[n-1], idle[:n-1]
		}
		mu.Unlock()
		wg.Go(func() {
			var err error
			if c == nil {
				if c, err = dial(ctx, req.addr, deadline, clientBuf); err != nil {
					mu.Lock()
					defer mu.Unlock()
					total.fail(err)
					return
				}
			}
			sent := time.Now()
			got, err := c.do(req, 0)
			took := time.Since(sent)
			mu.Lock()
			defer mu.Unlock()
			total.add(took, got, want, err)
			if err != nil || c.closed {
				c.Close()
				return
			}
			idle = append(idle, c)
		})
	}
	wg.Wait()
	total.took = time.Since(start)
	for _, c := range idle {
		c.Close()
	}
	return total
}

// few tells whether there are so few errors that going on makes sense.
func (l *load) few(mu *sync.Mutex) bool {
	mu.Lock()
	defer mu.Unlock()
	return l.errors < maxErrors
}

// openStreams opens n streams, reads from each the given number of events, and
// leaves all of them open until the returned function is called. The load's
// latencies are the times to the last of these events.
func openStreams(ctx context.Context, req request, n, events int) (*load, func()) {
	const (
		openers   = 32
		smallBuf  = 1 << 10 // there are thousands of them
		openLimit = time.Minute
	)
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		conns = make([]*clientConn, n)
		parts [openers]load
	)
	start := time.Now()
	deadline := start.Add(openLimit)
	for i := range parts {
		l := &parts[i]
		wg.Go(func() {
			for l.errors < maxErrors && ctx.Err() == nil {
				k := int(next.Add(1)) - 1
				if k >= n {
					return
				}
				sent := time.Now()
				c, err := dial(ctx, req.addr, deadline, smallBuf)
				if err != nil {
					l.fail(err)
					continue
				}
				conns[k] = c
				if _, err = c.do(req, events); err != nil {
					l.fail(err)
					continue
				}
				l.latencies = append(l.latencies, time.Since(sent))
			}
		})
	}
	wg.Wait()
	total := &load{took: time.Since(start)}
	for i := range parts {
		total.merge(&parts[i])
	}
	return total, func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}
}

// probe sends one request on a connection of its own.
func probe(ctx context.Context, req request) (reply, error) {
	c, err := dial(ctx, req.addr, time.Now().Add(answerLimit), clientBuf)
	if err != nil {
		return reply{}, err
	}
	defer c.Close()
	return c.do(req, 0)
}

// result returns the first error of a load, with the number of all.
func (l *load) result() error {
	switch {
	case l.errors > 0:
		return fmt.Errorf("%d requests failed, the first: %w", l.errors, l.firstErr)
	case len(l.latencies) == 0:
		return errors.New("no request was answered in the time given")
	}
	return nil
}

// sorted returns the latencies in order.
func (l *load) sorted() []time.Duration {
	slices.Sort(l.latencies)
	return l.latencies
}
