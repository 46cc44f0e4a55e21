package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	tail       = 1200 * time.Millisecond // after the last answer: work done late still counts
	warmUp     = 300 * time.Millisecond
	openCount  = 2000
	openSettle = time.Second
	openRate   = 100
	openFiles  = 2*openCount + 500 // what a proxy of openCount streams needs
)

// scenario is one kind of load.
type scenario struct {
	id, title string
	behaviour string                 // of the fake upstream
	body      func() []byte          // of the request
	drive     func(*loadCall) *load  // nil for the open streams
	direct    bool                   // also measured without anything between
	share     float64                // of the seconds of a load
	check     func(want reply) error // is the upstream's own answer what it should be?
	ways      []way                  // instead of targets: two ways through the gateway, which bring their own requests
	columns   []column
	goals     []goal
}

type loadCall struct {
	ctx  context.Context
	req  request
	want reply
	d    time.Duration
}

func closed(conns int) func(*loadCall) *load {
	return func(c *loadCall) *load { return closedLoop(c.ctx, c.req, c.want, conns, c.d) }
}

var closedColumns = []column{colTarget, colRate, colP50, colP99, colCPU, colRatio, colPeak}

// scenarios are all kinds of load in the order in which they run.
func scenarios() []scenario {
	return []scenario{
		{
			id: "a", title: "small requests, not streamed, 16 connections",
			behaviour: "short", body: func() []byte { return smallBody(false) }, drive: closed(16), share: 1,
			columns: closedColumns, goals: []goal{cpuGoal(0.9)},
		},
		{
			id: "b", title: fmt.Sprintf("streams of %d events, each flushed by the upstream, 8 connections", streamEvents),
			behaviour: "stream", body: func() []byte { return smallBody(true) }, drive: closed(8), share: 1,
			check: func(r reply) error {
				if r.Events != streamEvents || r.Last != "message_stop" {
					return fmt.Errorf("the fake upstream's stream is wrong: %v", r)
				}
				return nil
			},
			columns: closedColumns, goals: []goal{cpuGoal(0.9)},
		},
		{
			id: "p", title: fmt.Sprintf("streams of %d events, one every %v, 100 connections", streamEvents, pace),
			behaviour: "paced", body: func() []byte { return smallBody(true) }, drive: closed(100), share: 1,
			columns: closedColumns,
		},
		{
			id: "c1", title: "request body of 1 MiB of prose, 4 connections",
			behaviour: "short", body: func() []byte { return proseBody(mib) }, drive: closed(4), share: 0.75,
			columns: closedColumns, goals: []goal{cpuGoal(1.5)},
		},
		{
			id: "c2", title: "request body of 1 MiB of escaped source code, 4 connections",
			behaviour: "short", body: func() []byte { return codeBody(mib) }, drive: closed(4), share: 0.75,
			columns: closedColumns, goals: []goal{cpuGoal(2.2)},
		},
		{
			id: "d", title: fmt.Sprintf("%d open streams, silent after their first delta", openCount),
			behaviour: "open", body: func() []byte { return smallBody(true) },
			columns: []column{colTarget, colStream, colMem, colBefore, colOpen, colPeak, colOpened, colCPU, colRatio},
			goals:   []goal{memoryGoal},
		},
		{
			id: "e", title: fmt.Sprintf("%d small requests a second, sent whether or not earlier ones are answered", openRate),
			behaviour: "short", body: func() []byte { return smallBody(false) }, direct: true, share: 1,
			drive:   func(c *loadCall) *load { return openLoop(c.ctx, c.req, c.want, openRate, c.d) },
			columns: []column{colTarget, colP50, colP99, colAdd50, colAdd99, colCPU, colRatio, colPeak},
			goals:   []goal{addedGoal},
		},
		translation("f", apiChat, apiMessages, translationGoal(1.5)),
		translation("g", apiMessages, apiChat, translationGoal(1.5)),
		translation("h", apiResponses, apiMessages),
		translation("i", apiMessages, apiAmazonQ, translationGoal(1.6)),
	}
}

// targetRuns collects the rounds of one target in one scenario.
type targetRuns struct {
	*target
	req     request
	want    reply
	all     load // of all rounds
	rate    []float64
	p50     []float64
	cpu     []float64 // µs per request
	stream  []float64 // KiB per open stream
	before  []float64 // MiB
	open    []float64 // MiB
	peak    int64
	failure error
	pending *slot
}

// slot is a load whose CPU time is not yet final.
type slot struct {
	from     time.Duration // the process clock at its start
	end      time.Time
	requests int
	warmUp   bool
}

// bench runs scenarios.
type bench struct {
	lab     *lab
	targets []string
	rounds  int
	seconds float64
	files   uint64 // that a process may open
}

// run measures one scenario. An error means that the run cannot go on; what
// fails in one target is in its row.
func (b *bench) run(ctx context.Context, s scenario) (scenarioResult, error) {
	res := scenarioResult{ID: s.id, Title: s.title, goals: s.goals, columns: s.columns}
	names := b.targets
	if s.ways != nil {
		names = []string{targetPassed, targetTranslated}
	}
	if s.direct {
		names = append([]string{targetDirect}, names...)
	}
	var runs []*targetRuns
	var err error
	if s.drive == nil {
		runs, err = b.openAll(ctx, s, names)
	} else {
		runs, err = b.alternate(ctx, s, names)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return res, err
	}
	for _, r := range runs {
		res.Targets = append(res.Targets, r.row(runs))
	}
	return res, nil
}

// alternate drives the load at the targets in turn, round by round.
func (b *bench) alternate(ctx context.Context, s scenario, names []string) ([]*targetRuns, error) {
	runs, err := b.startAll(ctx, names)
	defer func() {
		for _, r := range runs {
			b.lab.stop(r.target)
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := b.lab.answer(s.behaviour); err != nil {
		return nil, err
	}
	if err := b.aim(ctx, s, runs); err != nil {
		return nil, b.lab.upstream.child.explain(fmt.Errorf("fake upstream: %w", err))
	}
	d := time.Duration(b.seconds * s.share * float64(time.Second))
	for round := 0; round <= b.rounds && ctx.Err() == nil; round++ {
		progress("(%s) round %d of %d", s.id, round, b.rounds)
		for _, r := range runs {
			if r.failure != nil || ctx.Err() != nil {
				continue
			}
			call := &loadCall{ctx: ctx, req: r.req, want: r.want, d: d}
			if round == 0 {
				call.d = min(d, warmUp)
			}
			r.measure(s, call, round == 0)
		}
	}
	for _, r := range runs {
		r.settle(ctx)
		if r.child == nil || r.failure != nil {
			continue
		}
		m, err := r.child.memory()
		r.fail(err)
		r.peak = m.peak
	}
	return runs, nil
}

// aim sets what each target is sent and has to answer, which is what the
// upstream answers when it is asked directly. An error is the upstream's.
func (b *bench) aim(ctx context.Context, s scenario, runs []*targetRuns) error {
	if s.ways != nil {
		return b.aimWays(ctx, s.ways, runs)
	}
	body := s.body()
	want, err := probe(ctx, newRequest(b.lab.upstream.addr, upstreamKey, body))
	if err == nil && s.check != nil {
		err = s.check(want)
	}
	for _, r := range runs {
		r.req, r.want = newRequest(r.addr, r.key, body), want
	}
	return err
}

// startAll starts the targets. One that does not start is only marked.
func (b *bench) startAll(ctx context.Context, names []string) ([]*targetRuns, error) {
	var runs []*targetRuns
	for _, name := range names {
		t, err := b.lab.start(ctx, name)
		if ctx.Err() != nil {
			return runs, ctx.Err()
		}
		if err != nil {
			t = &target{name: name}
		} else {
			t.child.resetPeak()
		}
		runs = append(runs, &targetRuns{target: t, failure: err})
	}
	return runs, nil
}

// measure is one load at one target.
func (r *targetRuns) measure(s scenario, call *loadCall, warmUp bool) {
	r.settle(call.ctx)
	from, err := r.child.cpu()
	if err != nil {
		r.fail(r.child.explain(err))
		return
	}
	l := s.drive(call)
	r.pending = &slot{from: from, end: time.Now(), requests: len(l.latencies), warmUp: warmUp}
	if err := l.result(); err != nil {
		r.fail(r.child.explain(err))
		r.all.errors += max(l.errors, 1)
		return
	}
	if warmUp {
		return
	}
	r.rate = append(r.rate, float64(len(l.latencies))/l.took.Seconds())
	sorted := l.sorted()
	r.p50 = append(r.p50, micros(percentile(sorted, 50)))
	r.all.merge(l)
}

// settle reads the CPU clock for the load before, not earlier than tail after
// its end.
func (r *targetRuns) settle(ctx context.Context) {
	p := r.pending
	if p == nil || r.failure != nil {
		return
	}
	r.pending = nil
	pause(ctx, time.Until(p.end.Add(tail)))
	now, err := r.child.cpu()
	if err != nil {
		r.fail(r.child.explain(err))
		return
	}
	if !p.warmUp {
		r.cpu = append(r.cpu, micros(now-p.from)/float64(p.requests))
	}
}

func (r *targetRuns) fail(err error) {
	if r.failure == nil {
		r.failure = err
	}
}

// openAll measures the memory of open streams. Every target is started anew
// for every round: a heap that has grown once would hide what streams take.
func (b *bench) openAll(ctx context.Context, s scenario, names []string) ([]*targetRuns, error) {
	if b.files < openFiles {
		return nil, fmt.Errorf("a process may open %d files here, %d open streams need %d: raise it with ulimit -n", b.files, openCount, openFiles)
	}
	runs := make([]*targetRuns, len(names))
	for i, name := range names {
		runs[i] = &targetRuns{target: &target{name: name}}
	}
	rounds := (b.rounds + 1) / 2 // each starts every target anew, and they differ little
	for round := range rounds {
		progress("(%s) round %d of %d", s.id, round+1, rounds)
		for _, r := range runs {
			if r.failure != nil {
				continue
			}
			t, err := b.lab.start(ctx, r.name)
			if err == nil {
				r.target = t
				err = b.openOne(ctx, s, r)
				b.lab.stop(t)
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			r.fail(err)
		}
	}
	return runs, nil
}

// openOne opens all streams at one target.
func (b *bench) openOne(ctx context.Context, s scenario, r *targetRuns) error {
	req := newRequest(r.addr, r.key, s.body())
	if err := b.warmOpen(ctx, s, r, req); err != nil {
		return err
	}
	r.child.resetPeak()
	before, err := r.child.memory()
	if err != nil {
		return err
	}
	from, err := r.child.cpu()
	if err != nil {
		return err
	}
	l, closeAll := openStreams(ctx, req, openCount, openEvents)
	defer closeAll()
	if err := l.result(); err != nil {
		r.all.errors += max(l.errors, 1)
		return r.child.explain(err)
	}
	pause(ctx, openSettle)
	open, err := r.child.memory()
	if err != nil {
		return r.child.explain(err)
	}
	now, err := r.child.cpu()
	if err != nil {
		return err
	}
	r.all.merge(l)
	r.cpu = append(r.cpu, micros(now-from)/openCount)
	r.stream = append(r.stream, float64(open.now-before.now)/1024/openCount)
	r.before = append(r.before, float64(before.now)/mib)
	r.open = append(r.open, float64(open.now)/mib)
	r.peak = max(r.peak, open.peak)
	return nil
}

// warmOpen serves some small requests and a few streams, so that the code and
// the pools that any stream needs are in memory before it is measured.
func (b *bench) warmOpen(ctx context.Context, s scenario, r *targetRuns, req request) error {
	const few = 32
	small := newRequest(r.addr, r.key, smallBody(false))
	want, err := probe(ctx, small)
	if err != nil {
		return r.child.explain(err)
	}
	if err := closedLoop(ctx, small, want, 4, warmUp).result(); err != nil {
		return r.child.explain(err)
	}
	if err := b.lab.answer(s.behaviour); err != nil {
		return err
	}
	l, closeAll := openStreams(ctx, req, few, openEvents)
	closeAll()
	pause(ctx, openSettle/2)
	if err := l.result(); err != nil {
		return r.child.explain(err)
	}
	return nil
}

// row sums up the rounds. The others are there to be compared with.
func (r *targetRuns) row(others []*targetRuns) *targetResult {
	sorted := r.all.sorted()
	t := &targetResult{
		Name:      r.name,
		Requests:  len(sorted),
		Rate:      spreadOf(r.rate),
		P50:       micros(percentile(sorted, 50)),
		P99:       micros(percentile(sorted, 99)),
		CPU:       spreadOf(r.cpu),
		CPURounds: r.cpu,
		Peak:      float64(r.peak) / mib,
		Stream:    spreadOf(r.stream),
		Errors:    r.all.errors,
	}
	if len(r.open) > 0 {
		t.Before, t.Open = spreadOf(r.before).Median, spreadOf(r.open).Median
	}
	if r.failure != nil {
		t.Error = r.failure.Error()
	}
	for _, o := range others {
		switch o.name {
		case targetProxy, targetPassed:
			t.CPURatio = spreadOf(ratios(r.cpu, o.cpu))
			t.MemRatio = spreadOf(ratios(r.stream, o.stream))
		case targetDirect:
			if r != o {
				t.Added50 = spreadOf(differences(r.p50, o.p50))
				// Over all rounds: one has too few samples for a p99.
				added := t.P99 - micros(percentile(o.all.sorted(), 99))
				t.Added99 = &added
			}
		}
	}
	if r.name == targetDirect {
		t.CPU, t.CPURounds, t.CPURatio, t.Peak = nil, nil, nil, 0 // the fake's own
	}
	return t
}

// pause waits d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

var errInterrupted = errors.New("interrupted")
