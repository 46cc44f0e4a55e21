package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/sqlite"
)

// redisAllowance is how much more CPU time a request may cost this side on Redis than on the embedded store.
const redisAllowance = 60 * time.Microsecond

const cpuWorkers = 8

// cpuRows measures the CPU time of one request (Admit and Settle for a key with limits of all kinds, and its record), on
// the store and on the embedded one in turn, so that whatever else the machine does meets both.
func (b *lab) cpuRows(ctx context.Context, srv *server, dir string) ([]row, error) {
	if b.name == storeMemory {
		return nil, nil
	}
	rounds, n := 7, 4000
	if b.name == storeDynamoDB {
		n = 800
	}
	if b.quick {
		rounds, n = 3, n/4
	}
	embedded, err := sqlite.Open(ctx, filepath.Join(dir, "embedded.db"), sqlite.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = embedded.Close() }()
	here, err := newLoad(ctx, b.st, "cpu-"+b.run)
	if err != nil {
		return nil, err
	}
	there, err := newLoad(ctx, embedded, "cpu-"+b.run)
	if err != nil {
		return nil, err
	}
	var own, own2, server []time.Duration
	var kept int64
	for i := range rounds + 1 {
		before, err := redisStats(ctx, srv, b.name)
		if err != nil {
			return nil, err
		}
		x, err := here.round(ctx, n)
		if err != nil {
			return nil, err
		}
		after, err := redisStats(ctx, srv, b.name)
		if err != nil {
			return nil, err
		}
		y, err := there.round(ctx, n)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first warms up
			own, own2 = append(own, x), append(own2, y)
			server = append(server, (after.cpu-before.cpu)/time.Duration(n))
			kept = (after.memory - before.memory) / int64(n)
		}
	}
	return cpuVerdict(b.name, median(own), median(own2), median(server), kept), nil
}

func cpuVerdict(name string, own, embedded, server time.Duration, kept int64) []row {
	text := fmt.Sprintf("%v; embedded %v", own.Round(time.Microsecond), embedded.Round(time.Microsecond))
	if name != storeRedis {
		return []row{{promise: "CPU of this side for a request", bound: "-", measured: text, ok: true}}
	}
	rows := []row{{promise: "CPU of this side for a request", bound: fmt.Sprintf("<= embedded + %v", redisAllowance), measured: text, ok: own-embedded <= redisAllowance, target: true}}
	if server > 0 {
		rows = append(rows, row{promise: "CPU and memory of the server for a request", bound: "-", ok: true,
			measured: fmt.Sprintf("%v; %d bytes kept", server.Round(time.Microsecond), kept)})
	}
	return rows
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// warmFor is how long a Java server is warmed up.
const warmFor = 4 * time.Second

// warm makes DynamoDB Local compile itself: its first calls take ten times as long as later ones.
func (b *lab) warm(ctx context.Context, srv *server) error {
	if srv == nil || b.name != storeDynamoDB {
		return nil
	}
	l, err := newLoad(ctx, b.st, "warm-"+b.run)
	if err != nil {
		return err
	}
	for begin := time.Now(); time.Since(begin) < warmFor; {
		if _, err := l.round(ctx, 100); err != nil {
			return err
		}
	}
	return nil
}

// load makes requests that are all let in.
type load struct {
	st   store.Store
	j    job
	next int
}

func newLoad(ctx context.Context, st store.Store, id string) (*load, error) {
	version, err := st.Create(ctx, store.Doc{Kind: store.KindKey, ID: id, Account: id, Body: []byte("{}")})
	if err != nil {
		return nil, err
	}
	limits := core.Limits{RPM: 60_000_000, RPD: 1 << 40, Concurrency: 1000, TPM: 1 << 40, USDDay: 1 << 40, USDMonth: 1 << 42}
	return &load{st: st, j: job{Name: id, Account: id, Subjects: []store.Subject{{Kind: store.KindKey, ID: id, Version: version, Limits: limits}}}}, nil
}

// round makes n requests and returns the CPU time of this process for each, what is saved later included.
func (l *load) round(ctx context.Context, n int) (time.Duration, error) {
	before, err := processCPU()
	if err != nil {
		return 0, err
	}
	errs := make([]error, cpuWorkers)
	var wg sync.WaitGroup
	for w := range cpuWorkers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += cpuWorkers {
				errs[w] = l.one(ctx, l.next+i)
			}
		})
	}
	wg.Wait()
	l.next += n
	if err := errors.Join(append(errs, l.st.Flush(ctx))...); err != nil {
		return 0, err
	}
	after, err := processCPU()
	return (after - before) / time.Duration(n), err
}

func (l *load) one(ctx context.Context, i int) error {
	id := l.j.Name + "-" + strconv.Itoa(i)
	now := time.Now()
	ask := store.Amount{Tokens: 2000, USD: 300}
	if _, err := l.st.Admit(ctx, store.AdmitRequest{Now: now, ID: id, Account: l.j.Account, Subjects: l.j.Subjects, Ask: ask, LeaseEnd: now.Add(3 * time.Minute), Zone: time.UTC}); err != nil {
		return err
	}
	t := core.Tokens{Input: 1000, Output: 500}
	return l.st.Settle(ctx, store.SettleRequest{ID: id, Account: l.j.Account, Now: now, Zone: time.UTC, Subjects: l.j.Subjects,
		Used: store.Amount{Tokens: 1500, USD: 250}, Record: record(&l.j, id, t, 250, now, now)})
}

// redisStat is what a Redis server tells of itself.
type redisStat struct {
	cpu    time.Duration
	memory int64
}

var (
	redisCPU    = regexp.MustCompile(`used_cpu_(?:sys|user):([0-9.]+)`)
	redisMemory = regexp.MustCompile(`used_memory:(\d+)`)
)

// redisStats asks a server that this program started; zeros for others.
func redisStats(ctx context.Context, srv *server, name string) (s redisStat, err error) {
	if srv == nil || name != storeRedis {
		return s, nil
	}
	text, err := askRedis(ctx, srv.addr, "INFO cpu")
	if err != nil {
		return s, err
	}
	for _, m := range redisCPU.FindAllStringSubmatch(text, -1) {
		sec, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return s, err
		}
		s.cpu += time.Duration(sec * float64(time.Second))
	}
	if text, err = askRedis(ctx, srv.addr, "INFO memory"); err != nil {
		return s, err
	}
	if m := redisMemory.FindStringSubmatch(text); m != nil {
		s.memory, err = strconv.ParseInt(m[1], 10, 64)
	}
	return s, err
}
