// Command usagebench fills stores with usage and times what each page of a console asks for. It decides nothing by time: it
// prints a table beside the targets, and at its end what missed them. Run it with: make bench-usage
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/redis"
	"sluice/shared/store/sqlite"
	"sluice/tests/lambda/stores"
)

// target is one store to fill.
type target struct {
	name    string
	records int
	days    int
	within  time.Duration // for each query
	workers int
	open    func(ctx context.Context, dir string, now func() time.Time) (store.Store, func(), error)
}

func main() {
	only := flag.String("stores", "sqlite,redis,dynamodb", "which stores")
	share := flag.Int("share", 1, "fill only one in so many records")
	rounds := flag.Int("rounds", 7, "how often each query is asked")
	flag.Parse()
	targets := []target{
		{"sqlite", 1_000_000, 90, 100 * time.Millisecond, 4, openSQLite},
		{"redis", 1_000_000, 90, 300 * time.Millisecond, 64, openRedis},
		{"dynamodb", 100_000, 30, 300 * time.Millisecond, 32, openDynamoDB},
	}
	fmt.Printf("%s, %s/%s, %d cores\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	for _, t := range targets {
		if !slices.Contains(strings.Split(*only, ","), t.name) {
			continue
		}
		t.records /= *share
		if err := t.run(context.Background(), *rounds); errors.Is(err, stores.ErrMissing) {
			fmt.Printf("%s: %v\n", t.name, err)
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "usagebench:", t.name+":", err)
			os.Exit(1)
		}
	}
}

func openSQLite(ctx context.Context, dir string, _ func() time.Time) (store.Store, func(), error) {
	s, err := sqlite.Open(ctx, filepath.Join(dir, "s.db"), sqlite.Options{})
	return s, func() {}, err
}

func openRedis(ctx context.Context, dir string, now func() time.Time) (store.Store, func(), error) {
	srv, err := stores.Start(ctx, stores.Redis, dir)
	if err != nil {
		return nil, nil, err
	}
	s, err := redis.Open(ctx, srv.URL, redis.Options{Now: now})
	return s, srv.Stop, err
}

func openDynamoDB(ctx context.Context, dir string, now func() time.Time) (store.Store, func(), error) {
	for _, v := range stores.Credentials() {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return nil, nil, err
		}
	}
	srv, err := stores.Start(ctx, stores.DynamoDB, dir)
	if err != nil {
		return nil, nil, err
	}
	if err := dynamodb.CreateTable(ctx, srv.URL); err != nil {
		return nil, srv.Stop, err
	}
	s, err := dynamodb.Open(ctx, srv.URL, dynamodb.Options{Timeout: time.Minute, Now: now})
	return s, srv.Stop, err
}

func (t *target) run(ctx context.Context, rounds int) error {
	dir, err := os.MkdirTemp("", "usagebench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	f := newFiller(t.records, t.days)
	s, stop, err := t.open(ctx, dir, f.now)
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	took, rolled, err := f.fill(ctx, s, t.workers)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s: %d records of %d days in %v (%.0f a second); sums of hours and days in %v\n\n", t.name, t.records, t.days, took.Round(time.Millisecond), float64(t.records)/took.Seconds(), rolled.Round(time.Millisecond))
	fmt.Println("| query | rows | median ms | longest ms | target ms | |\n| --- | ---: | ---: | ---: | ---: | --- |")
	list, err := queries(ctx, s, f)
	if err != nil {
		return err
	}
	var missed []string
	for _, q := range list {
		ok, err := q.time(ctx, s, rounds, t.within)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		if !ok {
			missed = append(missed, q.name)
		}
	}
	fmt.Printf("\n%s: %d of %d within %v by the median", t.name, len(list)-len(missed), len(list), t.within)
	if len(missed) > 0 {
		fmt.Printf("; missed: %s", strings.Join(missed, "; "))
	}
	fmt.Println()
	return f.retain(ctx, s)
}
