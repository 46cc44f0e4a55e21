// Chaos lets the official SDKs ask real processes of the gateway, which share a store or have one each, for answers of fake
// upstreams that fail in every way that real ones do, and judges what came of it: see "What chaos proves" in docs/scale.md.
//
//	go run . [-store memory,redis,dynamodb] [-seed N] [-duration 44s] [-long] [-race]
//
// The seed decides what fails when and who asks what when; how the processes' threads meet is chance. Only the checks decide
// the exit status; times are printed to be looked at. A store that is missing is said loudly and passed over, unless
// STORETEST_REQUIRE names it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/tests/lambda/stores"
)

var errBroken = errors.New("a promise is broken")

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = o.all(ctx, os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		cancel()
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	stores   []string
	seed     uint64
	timing   timing
	gateways int
	binary   string // empty: it is built
	race     bool
	lenient  bool
	verbose  bool
}

func parse(args []string) (*options, error) {
	o := &options{timing: timing{Interval: 3 * time.Second}}
	var names string
	var long bool
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.StringVar(&names, "store", "memory,redis,dynamodb", "the stores, all at the same time")
	f.Uint64Var(&o.seed, "seed", 0, "of the script; 0: one by chance, which is printed")
	f.DurationVar(&o.timing.Duration, "duration", 44*time.Second, "how long clients ask")
	f.Float64Var(&o.timing.Rate, "rate", 20, "requests a second on all gateways together, more after a node's death and return")
	f.IntVar(&o.gateways, "gateways", 4, "processes of the gateway")
	f.BoolVar(&long, "long", false, "6 minutes with the default PROXY_HEALTH_INTERVAL_SEC of 30 in place of 3")
	f.StringVar(&o.binary, "binary", "", "a gateway's binary; without it one is built")
	f.BoolVar(&o.lenient, "lenient", false, "on a machine that does other things, too: what a slow one breaks is told, and decides nothing")
	f.BoolVar(&o.race, "race", false, "build the gateway with the race detector")
	f.BoolVar(&o.verbose, "v", false, "print every violation")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if long {
		o.timing.Interval, o.timing.Duration = 30*time.Second, max(o.timing.Duration, 6*time.Minute)
	}
	for o.seed == 0 {
		o.seed = uint64(rand.Uint32())
	}
	o.stores = strings.Split(names, ",")
	for _, s := range o.stores {
		if !slices.Contains([]string{storeMemory, stores.Redis, stores.DynamoDB}, s) {
			return nil, fmt.Errorf("-store: no store %q; there are memory, redis, dynamodb", s)
		}
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	case o.timing.Duration < 10*time.Second || o.timing.Duration > time.Hour:
		return nil, errors.New("-duration must be 10s to 1h")
	case !(o.timing.Rate >= 1 && o.timing.Rate <= 1000) || o.gateways < 1 || o.gateways > 16:
		return nil, errors.New("-rate must be 1 to 1000, -gateways 1 to 16")
	}
	return o, nil
}

// result is what came of one store.
type result struct {
	ledger *ledger
	err    error
	took   time.Duration
}

// all tries every store and prints to w.
func (o *options) all(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "sluice-chaos-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			fmt.Fprintln(w, "The gateways' logs are in", dir)
		}
	}()
	if o.binary == "" {
		o.binary = filepath.Join(dir, "sluice")
		args := []string{"build", "-o", o.binary}
		if o.race {
			args = append(args, "-race")
		}
		cmd := exec.CommandContext(ctx, "go", append(args, "./local")...)
		cmd.Dir = filepath.Join("..", "..") // the gateway's module
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building the gateway: %w\n%s", err, said)
		}
	}
	fmt.Fprintf(w, "chaos -seed %d -duration %v: %d processes on each store, health interval %v, about %.0f requests a second; %d cores, %s\n",
		o.seed, o.timing.Duration, o.gateways, o.timing.Interval, o.timing.Rate, runtime.NumCPU(), runtime.Version())
	results := make([]result, len(o.stores))
	var wg sync.WaitGroup
	for i, name := range o.stores {
		wg.Go(func() { results[i] = o.one(ctx, name, filepath.Join(dir, name)) })
	}
	wg.Wait()
	ok := true
	var failed error
	for i, name := range o.stores {
		r := results[i]
		fmt.Fprintf(w, "\n%s (%.0f s)\n", name, r.took.Seconds())
		switch {
		case r.err != nil && missing(name, r.err):
			fmt.Fprintf(w, "  NOTHING WAS SHOWN ON %s: %v\n", strings.ToUpper(name), r.err)
		case r.err != nil:
			fmt.Fprintf(w, "  NOTHING WAS SHOWN: %v\n", r.err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, r.err))
		default:
			ok = o.print(w, r.ledger) && ok
		}
	}
	if failed != nil {
		return failed
	}
	if !ok {
		return fmt.Errorf("%w (again with -seed %d)", errBroken, o.seed)
	}
	return nil
}

func (o *options) one(ctx context.Context, name, dir string) (r result) {
	began := time.Now()
	if r.err = os.Mkdir(dir, 0o700); r.err == nil {
		r.ledger, r.err = try(ctx, o, name, dir)
	}
	r.took = time.Since(began)
	return r
}

// shown is how many violations of a promise are printed.
const shown = 5

// print prints what a store showed, and reports whether all promises were kept.
func (o *options) print(w io.Writer, l *ledger) bool {
	ok := true
	for _, c := range l.checks() {
		word := "pass"
		if len(c.Broken) > 0 {
			word = fmt.Sprintf("FAIL %d times", len(c.Broken))
			if o.lenient && c.Timed {
				word = fmt.Sprintf("missed %d times, which a slow machine does", len(c.Broken))
			} else {
				ok = false
			}
		}
		fmt.Fprintf(w, "  %-56s %s\n      %s\n", c.Name, word, c.Measured)
		for i, b := range c.Broken {
			if i == shown && !o.verbose {
				fmt.Fprintf(w, "      ... (-v shows all)\n")
				break
			}
			fmt.Fprintf(w, "      ! %s\n", b)
		}
	}
	fmt.Fprintf(w, "  %s\n", l.timings())
	return ok
}

// timings are how long requests took, to be looked at.
func (l *ledger) timings() string {
	var took []time.Duration
	for _, r := range l.requests {
		if r.End == endWhole {
			took = append(took, r.Ended.Sub(r.Began))
		}
	}
	if len(took) == 0 {
		return "no request was answered"
	}
	slices.Sort(took)
	at := func(share float64) time.Duration {
		return took[int(share*float64(len(took)-1))].Round(time.Millisecond)
	}
	return fmt.Sprintf("answers took %v (median), %v (95 %%), %v (99 %%), %v at most", at(0.5), at(0.95), at(0.99), at(1))
}
