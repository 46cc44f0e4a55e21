package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"sluice/shared/store/dynamodb"
	"sluice/shared/store/memory"
)

var errBroken = errors.New("a promise is broken")

func main() {
	if os.Getenv(workerVariable) != "" {
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "limits, a process:", err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = o.all(ctx, os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "limits:", err)
		cancel()
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	stores             []string
	url                string
	processes, workers int
	limit              int64
	speed              float64
	length             time.Duration
	quick, cpu         bool
	simulate           bool
}

func parse(args []string) (*options, error) {
	o := &options{}
	var stores string
	f := flag.NewFlagSet("limits", flag.ContinueOnError)
	f.StringVar(&stores, "store", "redis,dynamodb", "the stores to hammer: redis, dynamodb, memory")
	f.StringVar(&o.url, "url", "", "a store that runs already, as STORE_URL names it; without it a server is started")
	f.IntVar(&o.processes, "processes", 8, "how many processes hammer (groups of goroutines on the memory store)")
	f.IntVar(&o.workers, "workers", 4, "how many requests each process makes at once")
	f.Int64Var(&o.limit, "limit", 300, "requests per minute")
	f.Float64Var(&o.speed, "speed", 0, "how many times as fast as the real one the simulated clock runs; 0: 20, on DynamoDB 10, in memory 60")
	f.DurationVar(&o.length, "length", 3*time.Minute, "how long each promise is tried, in simulated time")
	f.BoolVar(&o.quick, "quick", false, "4 processes, one simulated minute, little CPU measured")
	f.BoolVar(&o.cpu, "cpu", true, "measure CPU time for each request")
	f.BoolVar(&o.simulate, "simulate", false, "print the simulation of a hot counter's contention and nothing else")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.quick {
		o.processes, o.length = min(o.processes, 4), time.Minute
	}
	o.stores = strings.Split(stores, ",")
	for _, s := range o.stores {
		if !slices.Contains([]string{storeRedis, storeDynamoDB, storeMemory}, s) {
			return nil, fmt.Errorf("-store: no store %q; there are redis, dynamodb, memory", s)
		}
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	case o.processes < 2 || o.processes > 256 || o.workers < 1 || o.workers > 256:
		return nil, errors.New("-processes must be 2 to 256, -workers 1 to 256")
	case o.limit < 1 || o.limit > 1_000_000 || !(o.speed >= 0 && o.speed <= 1000) || o.length < 10*time.Second || o.length > time.Hour:
		return nil, errors.New("-limit must be 1 to 1000000, -speed 0 to 1000, -length 10s to 1h")
	case o.url != "" && (len(o.stores) != 1 || o.stores[0] == storeMemory):
		return nil, errors.New("-url needs -store redis or -store dynamodb")
	}
	return o, nil
}

// all shows every store and prints to w.
func (o *options) all(ctx context.Context, w io.Writer) error {
	if o.simulate {
		return simulation(w)
	}
	fmt.Fprintf(w, "%d processes of %d workers, %v of simulated time for each promise; %d cores, %s\n",
		o.processes, o.workers, o.length, runtime.NumCPU(), runtime.Version())
	ok := true
	for _, name := range o.stores {
		rows, err := o.store(ctx, name)
		switch {
		case errors.Is(err, errMissing) && !required(name):
			fmt.Fprintf(w, "\n%s: %v\n", strings.ToUpper(name), err)
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(w, "\n%s\n", name)
		ok = printRows(w, rows) && ok
	}
	if !ok {
		return errBroken
	}
	return nil
}

// store shows one store.
func (o *options) store(ctx context.Context, name string) ([]row, error) {
	dir, err := os.MkdirTemp("", "sluice-limits-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &lab{options: *o, name: name, url: o.url, run: strconv.FormatInt(time.Now().UnixMicro(), 36)}
	if b.speed == 0 {
		b.speed = map[string]float64{storeMemory: 60, storeRedis: 20, storeDynamoDB: 10}[name] // the longer calls take, the slower
	}
	var srv *server
	if o.url == "" {
		if srv, err = startServer(ctx, name, dir); err != nil {
			return nil, err
		}
		defer srv.stop()
		b.url = srv.url
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if err := b.open(ctx, srv != nil); err != nil {
		return nil, err
	}
	defer func() { _ = b.st.Close() }()
	if err := b.warm(ctx, srv); err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	var rows []row
	for _, s := range scenarios(o) {
		more, err := b.tryAgain(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, more...)
	}
	if o.cpu {
		more, err := b.cpuRows(ctx, srv, dir)
		if err != nil {
			return nil, fmt.Errorf("CPU: %w", err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// open opens the parent's own store; local: of a server that this program started.
func (b *lab) open(ctx context.Context, local bool) (err error) {
	switch {
	case b.name == storeMemory:
		b.st = memory.New()
		return nil
	case b.name == storeDynamoDB && local:
		for name, value := range localEnvironment() {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
		if err := dynamodb.CreateTable(ctx, b.url); err != nil {
			return err
		}
	}
	b.st, err = openURL(ctx, b.url)
	return err
}

// printRows prints a table and reports whether all rows are right.
func printRows(w io.Writer, rows []row) bool {
	cells := [][]string{{"promise", "bound", "measured", ""}}
	ok := true
	for _, r := range rows {
		word := "pass"
		switch {
		case !r.ok && r.target:
			word = "MISSED"
		case !r.ok:
			word, ok = "FAIL", false
		}
		cells = append(cells, []string{r.promise, r.bound, r.measured, word})
	}
	var widths [4]int
	for _, c := range cells {
		for i, text := range c {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, c := range cells {
		line := ""
		for i, text := range c {
			line += "  " + text + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	return ok
}
