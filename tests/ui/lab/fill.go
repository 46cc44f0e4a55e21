package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/redis"
	"sluice/shared/store/sqlite"
)

// filling is what fill reads: a store, and whose requests to put there.
type filling struct {
	Store   string   `json:"store"` // STORE_URL
	Records int      `json:"records"`
	Days    int      `json:"days"`
	Account string   `json:"account"`
	Keys    []string `json:"keys"`
	Nodes   []string `json:"nodes"`

	clock atomic.Int64 // Unix ns: the end of the record last made
}

const perFlush = 25_000 // records

func (f *filling) now() time.Time { return time.Unix(0, f.clock.Load()) }

func fill(ctx context.Context, in io.Reader, out io.Writer) error {
	var f filling
	if err := json.NewDecoder(in).Decode(&f); err != nil {
		return err
	}
	if f.Records < 1 || f.Days < 1 || len(f.Keys) == 0 || len(f.Nodes) == 0 {
		return errors.New("fill needs records, days, keys and nodes")
	}
	end := time.Now().UTC().Truncate(time.Second)
	f.clock.Store(end.Add(-time.Duration(f.Days) * 24 * time.Hour).UnixNano())
	s, workers, err := f.open(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	rng := rand.New(rand.NewPCG(1, 2))
	for next := 0; next < f.Records; next += perFlush {
		batch := make([]core.Settlement, min(perFlush, f.Records-next))
		for i := range batch {
			ago := time.Duration(float64(f.Days) * 24 * float64(time.Hour) * (1 - float64(next+i)/float64(f.Records)))
			batch[i] = f.record(next+i, end.Add(-ago).Truncate(time.Microsecond), rng)
		}
		if err := f.settle(ctx, s, batch, workers); err != nil {
			return errors.Join(err, s.Close())
		}
		if err := s.Flush(ctx); err != nil {
			return errors.Join(err, s.Close())
		}
		if err := s.Rollup(ctx, f.now()); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	fmt.Fprintf(out, "%d requests of %d days in %v\n", f.Records, f.Days, time.Since(began).Round(time.Second))
	return s.Close()
}

// open opens the store. What it does by the clock, such as hours that end, goes by the records' time.
func (f *filling) open(ctx context.Context) (s store.Store, workers int, err error) {
	scheme, rest, _ := strings.Cut(f.Store, ":")
	switch scheme {
	case "sqlite":
		s, err = sqlite.Open(ctx, rest, sqlite.Options{})
		return s, 4, err
	case "redis":
		s, err = redis.Open(ctx, f.Store, redis.Options{Now: f.now})
		return s, 64, err
	case "dynamodb":
		s, err = dynamodb.Open(ctx, f.Store, dynamodb.Options{Timeout: time.Minute, Now: f.now})
		return s, 32, err
	}
	return nil, 0, fmt.Errorf("no store %q", scheme)
}

func (f *filling) record(i int, end time.Time, rng *rand.Rand) core.Settlement {
	total := int64(math.Exp(rng.NormFloat64()*0.9+8.3)) + 1
	r := core.Settlement{
		RequestID: fmt.Sprintf("req_%08x%016x", i, rng.Uint64()), UpstreamID: fmt.Sprintf("msg_%016x", rng.Uint64()),
		Account: f.Account, Key: f.Keys[rng.IntN(len(f.Keys))], Node: f.Nodes[rng.IntN(len(f.Nodes))], NodeName: "main", Endpoint: "/v1/messages", Dialect: core.DialectAnthropic,
		Model: fmt.Sprintf("model-%d", rng.IntN(8)), ServedModel: "served-model-2025", Session: fmt.Sprintf("session-%d", i/25), Agent: fmt.Sprintf("agent-%d", rng.IntN(20)),
		ClientAddr: "192.0.2.1", Stream: true, Status: 200, Attempts: 1,
		Tokens: core.Tokens{Input: rng.Int64N(9000), CacheRead: rng.Int64N(90000), CacheWrite5m: rng.Int64N(5000), Output: rng.Int64N(4000)},
		Bytes:  rng.Int64N(100_000), StartedAt: end.Add(-time.Duration(total) * time.Millisecond), EndedAt: end, FirstByteMS: total/5 + 1, StreamMillis: total * 4 / 5, CostUSD: rng.Int64N(200_000),
	}
	if rng.IntN(50) == 0 {
		r.Status, r.ErrorCode, r.FirstByteMS = 529, "overloaded", 0
	}
	return r
}

// settle stores records in order by several at once; none waits for one of an hour that is long over.
func (f *filling) settle(ctx context.Context, s store.Store, batch []core.Settlement, workers int) error {
	g, ctx := errgroup.WithContext(ctx)
	var place atomic.Int64
	for range workers {
		g.Go(func() error {
			for {
				i := int(place.Add(1)) - 1
				if i >= len(batch) {
					return nil
				}
				r := &batch[i]
				f.clock.Store(r.EndedAt.UnixNano())
				if err := s.Settle(ctx, store.SettleRequest{ID: r.RequestID, Account: r.Account, Now: r.EndedAt, Zone: time.UTC, Record: *r}); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}
