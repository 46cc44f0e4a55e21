package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// The usage: 20 accounts, each with 4 keys, 2 nodes and 3 models, 20 agents, and sessions of some 25 requests.
const (
	accounts = 20
	keys     = 4
	nodes    = 2
	models   = 3
	agents   = 20
	perBatch = 25_000 // records between flushes: a store that saves in groups must not be given more than it can hold
)

func account(i int) string { return fmt.Sprintf("account-%d", i) }
func key(a, i int) string  { return fmt.Sprintf("key-%d-%d", a, i) }
func node(a, i int) string { return fmt.Sprintf("node-%d-%d", a, i) }
func model(i int) string   { return fmt.Sprintf("model-%d", i) }

// filler makes records over the days before end, in order: where there are more than 30 days, 60 % of them in the last 30.
type filler struct {
	records int
	days    int
	end     time.Time
	clock   atomic.Int64 // Unix ns: the end of the record last made
	session string       // one of account 3
}

func newFiller(records, days int) *filler {
	f := &filler{records: records, days: days, end: time.Now().UTC().Truncate(time.Second)}
	f.clock.Store(f.at(0).UnixNano())
	return f
}

func (f *filler) now() time.Time { return time.Unix(0, f.clock.Load()) }

// at is when a record ends.
func (f *filler) at(i int) time.Time {
	x := float64(i) / float64(f.records)
	span, until := float64(f.days), 0.0
	if f.days > 30 {
		if x < 0.4 {
			x, span, until = x/0.4, span-30, 30
		} else {
			x, span = (x-0.4)/0.6, 30
		}
	}
	return f.end.Add(-time.Duration((until + span*(1-x)) * float64(day)))
}

func (f *filler) make(i int, rng *rand.Rand) core.Settlement {
	a := rng.IntN(accounts)
	end := f.at(i).Truncate(time.Microsecond)
	total := int64(math.Exp(rng.NormFloat64()*0.9+8.3)) + 1
	r := core.Settlement{
		RequestID: fmt.Sprintf("req_%08x%016x", i, rng.Uint64()), UpstreamID: fmt.Sprintf("msg_%016x", rng.Uint64()),
		Account: account(a), Key: key(a, rng.IntN(keys)), Node: node(a, rng.IntN(nodes)), NodeName: "main", Endpoint: "/v1/messages", Dialect: core.DialectAnthropic,
		Model: model(rng.IntN(models)), ServedModel: "served-model-2025", Session: fmt.Sprintf("session-%d-%d", a, i/(accounts*25)), Agent: fmt.Sprintf("agent-%d", rng.IntN(agents)),
		ClientAddr: "192.0.2.1", Stream: true, Status: 200, Attempts: 1,
		Tokens: core.Tokens{Input: rng.Int64N(9000), CacheRead: rng.Int64N(90000), CacheWrite5m: rng.Int64N(5000), Output: rng.Int64N(4000)},
		Bytes:  rng.Int64N(100_000), StartedAt: end.Add(-time.Duration(total) * time.Millisecond), EndedAt: end, FirstByteMS: total/5 + 1, StreamMillis: total * 4 / 5, CostUSD: rng.Int64N(200_000),
	}
	if rng.IntN(50) == 0 {
		r.Status, r.ErrorCode, r.FirstByteMS = 529, "overloaded", 0
	}
	return r
}

// fill stores the records and sums them up, a tenth at a time, as the days go by.
func (f *filler) fill(ctx context.Context, s store.Store, workers int) (took, rolled time.Duration, err error) {
	rng := rand.New(rand.NewPCG(1, 2))
	for next := 0; next < f.records; {
		n := min(perBatch, f.records-next, max(f.records/10, 1))
		batch := make([]core.Settlement, n)
		for i := range batch {
			batch[i] = f.make(next+i, rng)
			if batch[i].Account == account(3) {
				f.session = batch[i].Session
			}
		}
		start := time.Now()
		if err := f.store(ctx, s, batch, workers); err != nil {
			return 0, 0, err
		}
		if err := s.Flush(ctx); err != nil {
			return 0, 0, err
		}
		took += time.Since(start)
		start = time.Now()
		if err := s.Rollup(ctx, f.now()); err != nil {
			return 0, 0, err
		}
		rolled += time.Since(start)
		next += n
	}
	return took, rolled, nil
}

// store settles records in order by several at once; none waits for one of an hour that is long over.
func (f *filler) store(ctx context.Context, s store.Store, batch []core.Settlement, workers int) error {
	errs := make([]error, workers)
	var place atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for {
				i := int(place.Add(1)) - 1
				if i >= len(batch) || errs[w] != nil {
					return
				}
				r := &batch[i]
				f.clock.Store(r.EndedAt.UnixNano())
				errs[w] = s.Settle(ctx, store.SettleRequest{ID: r.RequestID, Account: r.Account, Now: r.EndedAt, Zone: time.UTC, Record: *r})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// retain removes the oldest day's records and tells the longest call.
func (f *filler) retain(ctx context.Context, s store.Store) error {
	keep := store.Retention{Records: time.Duration(f.days-1) * day, Hours: time.Duration(f.days-1) * day}
	removed, calls, longest := 0, 0, time.Duration(0)
	for {
		start := time.Now()
		n, err := s.Retain(ctx, f.end, keep)
		if err != nil {
			return err
		}
		calls, longest = calls+1, max(longest, time.Since(start))
		if removed += n; n == 0 {
			break
		}
	}
	fmt.Printf("\nRetain of the oldest day: %d items in %d calls, the longest %v\n", removed, calls, longest.Round(time.Millisecond))
	return nil
}
