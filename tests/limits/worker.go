package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// job is what a process is told to do. Durations are simulated.
type job struct {
	URL      string          `json:"url"`
	Name     string          `json:"name"` // begins the request ids
	Group    int             `json:"group"`
	Workers  int             `json:"workers"`
	Account  string          `json:"account"`
	Subjects []store.Subject `json:"subjects"`
	Ask      store.Amount    `json:"ask"`
	UsedMin  int64           `json:"used_min"` // micro-USD a request turns out to cost
	UsedMax  int64           `json:"used_max"`
	Lease    time.Duration   `json:"lease"`
	Hold     time.Duration   `json:"hold"` // mean time from admission to settlement
	Length   time.Duration   `json:"length"`
	Base     time.Time       `json:"base"` // where the simulated clock begins
	Speed    float64         `json:"speed"`
	ZoneSecs int             `json:"zone"`
}

func (j *job) zone() *time.Location { return time.FixedZone("limits", j.ZoneSecs) }

// retry is the longest that a refused worker waits before it asks again.
const retry = time.Second

// The kinds of events.
const (
	evReady = "ready" // the process can begin
	evIn    = "in"    // Admit let a request in
	evLeave = "leave" // Settle is about to be called
	evOut   = "out"   // Settle has returned
	evEnd   = "end"   // the worker's counts
)

// event is what a process tells. Times are simulated microseconds.
type event struct {
	Kind     string      `json:"k"`
	ID       string      `json:"id,omitempty"`
	Begin    int64       `json:"b,omitempty"` // when the call began: for Admit the time that it was given
	Return   int64       `json:"r,omitempty"`
	LeaseEnd int64       `json:"l,omitempty"`
	Ask      int64       `json:"a,omitempty"`
	Used     int64       `json:"u,omitempty"`
	Tokens   core.Tokens `json:"t,omitzero"`
	Refused  int         `json:"n,omitempty"`
	Failed   int         `json:"f,omitempty"`
	Error    string      `json:"e,omitempty"` // the first of the failed
}

// worker is one goroutine that hammers.
type worker struct {
	st    store.Store
	j     *job
	clock simClock
	emit  func(event)
	rng   *rand.Rand
	name  string
	count event
}

// hammer runs the job's workers until its time is over. When ctx ends they leave at once, as if they had been killed.
func hammer(ctx context.Context, st store.Store, j *job, c simClock, emit func(event)) {
	var wg sync.WaitGroup
	for i := range j.Workers {
		w := &worker{st: st, j: j, clock: c, emit: emit, rng: rand.New(rand.NewPCG(uint64(j.Group), uint64(i))),
			name: fmt.Sprintf("%s-%d-%d", j.Name, j.Group, i), count: event{Kind: evEnd}}
		wg.Go(func() { w.loop(ctx) })
	}
	wg.Wait()
}

func (w *worker) loop(ctx context.Context) {
	end := w.j.Base.Add(w.j.Length)
	for i := 0; ctx.Err() == nil && w.clock.now().Before(end); i++ {
		w.request(ctx, i)
	}
	if ctx.Err() == nil {
		w.emit(w.count)
	}
}

// request makes one request: it is admitted, takes its time and is settled, now and then twice.
func (w *worker) request(ctx context.Context, i int) {
	j, id := w.j, fmt.Sprintf("%s-%d", w.name, i)
	at := w.clock.now()
	if !at.Before(j.Base.Add(j.Length)) {
		return
	}
	end := at.Add(j.Lease)
	_, err := w.st.Admit(ctx, store.AdmitRequest{Now: at, ID: id, Account: j.Account, Subjects: j.Subjects, Ask: j.Ask, LeaseEnd: end, Zone: j.zone()})
	in := event{Kind: evIn, ID: id, Begin: at.UnixMicro(), Return: w.clock.now().UnixMicro(), LeaseEnd: end.UnixMicro(), Ask: j.Ask.USD}
	if err != nil {
		w.turnedAway(ctx, err)
		return
	}
	w.emit(in)
	w.clock.wait(ctx, w.about(j.Hold))
	if ctx.Err() != nil {
		return
	}
	now := w.clock.now()
	r := w.settlement(id, at, now)
	out := event{Kind: evLeave, ID: id, Begin: now.UnixMicro(), Used: r.Used.USD, Tokens: r.Record.Tokens}
	w.emit(out)
	if err = w.st.Settle(ctx, r); err == nil && i%5 == 0 {
		err = w.st.Settle(ctx, r) // the second changes nothing
	}
	if err != nil {
		w.fail(err)
		return
	}
	out.Kind, out.Return = evOut, w.clock.now().UnixMicro()
	w.emit(out)
}

func (w *worker) settlement(id string, at, now time.Time) store.SettleRequest {
	used := w.j.UsedMin
	if more := w.j.UsedMax - used; more > 0 {
		used += w.rng.Int64N(more + 1)
	}
	t := core.Tokens{Input: w.rng.Int64N(5000), CacheRead: w.rng.Int64N(50_000), CacheWrite5m: w.rng.Int64N(300), Output: w.rng.Int64N(2000)}
	return store.SettleRequest{ID: id, Account: w.j.Account, Now: now, Zone: w.j.zone(), Subjects: w.j.Subjects,
		Used: store.Amount{Tokens: t.Input + t.CacheWrite5m + t.Output, USD: used}, Record: record(w.j, id, t, used, at, now)}
}

// record is one as the gateway writes it.
func record(j *job, id string, t core.Tokens, cost int64, at, now time.Time) core.Settlement {
	return core.Settlement{
		RequestID: id, UpstreamID: "req_011CSHoEeqs5C35K2UUqR7Fy", Account: j.Account, Key: j.Subjects[0].ID, Node: "1", NodeName: "main",
		Endpoint: "/v1/messages", Dialect: core.DialectAnthropic, Model: "claude-sonnet-4-5", ServedModel: "claude-sonnet-4-5-20250929",
		Session: "7b5c9a52-6d0c-4c55-9c8e-0f6f8f5a2c11", ClientAddr: "203.0.113.7", Stream: true, Status: 200, Attempts: 1, Tokens: t,
		CostUSD: cost, Bytes: 9000, StartedAt: at, EndedAt: now, FirstByteMS: 400, StreamMillis: 1300,
	}
}

// turnedAway counts and waits, so that demand stays above what is refilled without filling the machine with refusals.
func (w *worker) turnedAway(ctx context.Context, err error) {
	var r *store.Refusal
	if !errors.As(err, &r) {
		w.fail(err)
		w.clock.wait(ctx, retry)
		return
	}
	w.count.Refused++
	w.clock.wait(ctx, w.about(min(r.RetryAfter, retry)))
}

func (w *worker) fail(err error) {
	if w.count.Failed++; w.count.Error == "" {
		w.count.Error = err.Error()
	}
}

// about is d, give or take a half.
func (w *worker) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(w.rng.Int64N(int64(d)+1))
}
