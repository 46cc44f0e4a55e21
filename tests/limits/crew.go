package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/redis"
)

// workerVariable tells a process of this program that it is one of those that hammer.
const workerVariable = "SLUICE_LIMITS_WORKER"

// startsIn is how long after the last process is ready all begin.
const startsIn = 50 * time.Millisecond

// openURL opens a store that several processes can share.
func openURL(ctx context.Context, url string) (store.Store, error) {
	switch scheme, _, _ := strings.Cut(url, ":"); scheme {
	case "redis", "rediss":
		return redis.Open(ctx, url, redis.Options{})
	case "dynamodb":
		return dynamodb.Open(ctx, url, dynamodb.Options{})
	}
	return nil, errors.New("the URL must begin with redis://, rediss:// or dynamodb://")
}

// work is the whole life of a process that hammers: it reads its job, says that it is ready, reads when to begin, and tells
// of what it does. It ends with its parent, whose end closes in.
func work(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := openURL(ctx, j.URL)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	var mu sync.Mutex
	enc := json.NewEncoder(out) // unbuffered: what was told is not lost when the process is killed
	emit := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		if enc.Encode(e) != nil {
			cancel()
		}
	}
	emit(event{Kind: evReady})
	var start int64
	if text, err = lines.ReadBytes('\n'); err == nil {
		err = json.Unmarshal(text, &start)
	}
	if err != nil {
		return fmt.Errorf("read the start: %w", err)
	}
	go func() { // ends with the process, which has nothing else to do then
		_, _ = io.Copy(io.Discard, lines)
		cancel()
	}()
	c := simClock{base: j.Base, start: time.Unix(0, start), speed: j.Speed}
	pause(ctx, time.Until(c.start))
	hammer(ctx, st, &j, c, emit)
	return ctx.Err()
}

// crew is the processes of one run, or the goroutines that stand for them.
type crew struct {
	j     *job
	log   *log
	kills int64 // simulated microseconds after the base at which the first is killed; 0: never
}

// log collects what the processes tell.
type log struct {
	mu       sync.Mutex
	requests map[string]*request
	order    []*request
	refused  int
	failed   int
	error    string
	killed   int64 // simulated microseconds by which the first process was dead; 0: it was not killed
}

// request is what is known of one. Times are simulated microseconds; 0: it did not come to that.
type request struct {
	id              string
	group           int
	begin, admitted int64
	leaseEnd        int64
	leave, settled  int64
	ask, used       int64
	tokens          core.Tokens // of the record
}

func newLog() *log { return &log{requests: make(map[string]*request)} }

func (l *log) add(group int, e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r := l.requests[e.ID]; {
	case e.Kind == evIn:
		r = &request{id: e.ID, group: group, begin: e.Begin, admitted: e.Return, leaseEnd: e.LeaseEnd, ask: e.Ask}
		l.requests[e.ID] = r
		l.order = append(l.order, r)
	case e.Kind == evLeave && r != nil:
		r.leave, r.used = e.Begin, e.Used
		r.tokens = e.Tokens
	case e.Kind == evOut && r != nil:
		r.settled = e.Return
	case e.Kind == evEnd:
		l.refused += e.Refused
		l.failed += e.Failed
		if l.error == "" {
			l.error = e.Error
		}
	}
}

// holds counts the requests that a process certainly has in flight.
func (l *log) holds(group int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, r := range l.order {
		if r.group == group && r.leave == 0 {
			n++
		}
	}
	return n
}

// killer kills the first process when it is time and it holds something, better two places than one.
func (c *crew) killer(ctx context.Context, clock simClock, kill func()) {
	due := c.j.Base.Add(time.Duration(c.kills) * time.Microsecond)
	clock.wait(ctx, due.Sub(clock.now()))
	patient := due.Add(c.j.Length / 20)
	for n := c.log.holds(0); ctx.Err() == nil && (n < 1 || n < 2 && clock.now().Before(patient)); n = c.log.holds(0) {
		pause(ctx, time.Millisecond)
	}
	kill()
}

// inside runs the crew as goroutines on one store.
func (c *crew) inside(ctx context.Context, st store.Store, groups int) {
	clock := simClock{base: c.j.Base, start: time.Now().Round(0), speed: c.j.Speed}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg, aside sync.WaitGroup
	for g := range groups {
		own, cancel := context.WithCancel(ctx)
		defer cancel()
		j := *c.j
		j.Group = g
		wg.Go(func() {
			hammer(own, st, &j, clock, func(e event) {
				if own.Err() == nil {
					c.log.add(g, e)
				}
			})
			if own.Err() != nil && ctx.Err() == nil {
				c.log.killed = clock.now().UnixMicro()
			}
		})
		if g == 0 && c.kills > 0 {
			aside.Go(func() { c.killer(ctx, clock, cancel) })
		}
	}
	wg.Wait()
	stop()
	aside.Wait()
}

// member is one process.
type member struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan error // how reading its events ended
}

// outside runs the crew as processes.
func (c *crew) outside(ctx context.Context, self string, groups int) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready := make(chan struct{}, groups)
	var members []*member
	defer func() {
		stop()
		for _, m := range members {
			_ = m.in.Close()
		}
	}()
	for g := range groups {
		m, err := c.start(ctx, self, g, ready)
		if err != nil {
			return err
		}
		members = append(members, m)
	}
	if err := allReady(ctx, members, ready); err != nil {
		return err
	}
	clock := simClock{base: c.j.Base, start: time.Unix(0, time.Now().Add(startsIn).UnixNano()), speed: c.j.Speed}
	for _, m := range members {
		if _, err := fmt.Fprintln(m.in, clock.start.UnixNano()); err != nil {
			return err
		}
	}
	var aside sync.WaitGroup
	if c.kills > 0 {
		aside.Go(func() { c.killer(ctx, clock, func() { _ = members[0].cmd.Process.Kill() }) })
	}
	for g, m := range members {
		ended := <-m.done
		if g == 0 && c.kills > 0 {
			c.log.killed = clock.now().UnixMicro()
			_ = m.cmd.Wait() // it was killed, which is an error
			continue
		}
		if werr := m.cmd.Wait(); err == nil && (ended != nil || werr != nil) {
			err = fmt.Errorf("process %d: %w", g, errors.Join(ended, werr))
		}
	}
	stop()
	aside.Wait()
	return err
}

func allReady(ctx context.Context, members []*member, ready chan struct{}) error {
	limit := time.NewTimer(60 * time.Second)
	defer limit.Stop()
	for range members {
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return errors.New("a process is not ready after 60 s")
		}
	}
	return nil
}

// start starts a process and collects what it tells.
func (c *crew) start(ctx context.Context, self string, g int, ready chan<- struct{}) (*member, error) {
	j := *c.j
	j.Group = g
	text, err := json.Marshal(&j)
	if err != nil {
		return nil, err
	}
	m := &member{cmd: exec.CommandContext(ctx, self), done: make(chan error, 1)}
	m.cmd.Env = append(os.Environ(), workerVariable+"=1")
	m.cmd.Stderr = os.Stderr
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		m.done <- c.listen(out, g, ready)
	}()
	_, err = m.in.Write(append(text, '\n'))
	return m, err
}

func (c *crew) listen(out io.Reader, g int, ready chan<- struct{}) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			if g == 0 && c.kills > 0 {
				return nil // the last line of one that was killed
			}
			return err
		}
		if e.Kind == evReady {
			ready <- struct{}{}
			continue
		}
		c.log.add(g, e)
	}
	return lines.Err()
}
