package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// start runs the benchmark, or one of the servers that it is made of.
func start(args []string) error {
	switch {
	case len(args) == 1 && args[0] == cmdUpstream:
		return serveUpstream(os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == cmdReverseProxy:
		return serveReverseProxy(args[1], os.Stdin, os.Stdout)
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	// The children die with the thread that starts them, see startChild.
	runtime.LockOSThread()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	err = o.run(ctx, os.Stdout)
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// options are the command line.
type options struct {
	args     []string
	only     []string // scenarios
	targets  []string
	rounds   int
	seconds  float64
	gateway  string // a binary built before
	json     string // file
	markdown bool
}

func parse(args []string) (*options, error) {
	o := &options{args: args}
	var only, targets string
	var quick bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&quick, "quick", false, "two short rounds: a minute or so, and less exact")
	f.StringVar(&only, "only", "a,b,c,d,e,f,g,h,i", "the scenarios to run")
	f.StringVar(&targets, "targets", strings.Join([]string{targetProxy, targetNginx, targetGateway}, ","), "the servers to measure")
	f.IntVar(&o.rounds, "rounds", 5, "how often each load is driven at each target")
	f.Float64Var(&o.seconds, "seconds", 2, "how long a load takes")
	f.StringVar(&o.gateway, "gateway", "", "the gateway's binary; without it ./local is built")
	f.StringVar(&o.json, "json", "", "write all figures to this file")
	f.BoolVar(&o.markdown, "markdown", false, "print tables for a document")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	if quick {
		if !given["rounds"] {
			o.rounds = 2
		}
		if !given["seconds"] {
			o.seconds = 0.5
		}
	}
	o.only, o.targets = strings.Split(only, ","), strings.Split(targets, ",")
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unknown argument %q", rest[0])
	}
	if o.rounds < 1 || o.seconds < 0.1 || o.seconds > 3600 {
		return errors.New("-rounds must be at least 1, -seconds at least 0.1 and at most 3600")
	}
	known := scenarios()
	for _, id := range o.only {
		if !slices.ContainsFunc(known, func(s scenario) bool { return chosen(s, id) }) {
			return fmt.Errorf("-only: no scenario %q; there are a, b, c (c1, c2), d, e, f, g, h, p", id)
		}
	}
	for _, name := range o.targets {
		if !slices.Contains([]string{targetProxy, targetNginx, targetGateway}, name) {
			return fmt.Errorf("-targets: no target %q; there are %s, %s, %s", name, targetProxy, targetNginx, targetGateway)
		}
	}
	return nil
}

// chosen tells whether id, such as c or c1, means the scenario.
func chosen(s scenario, id string) bool { return id != "" && strings.HasPrefix(s.id, id) }

// run builds and starts everything, measures, and prints to w.
func (o *options) run(ctx context.Context, w io.Writer) error {
	begin := time.Now()
	files, err := raiseFiles()
	if err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	l := &lab{dir: dir, self: self}
	defer l.close()
	targets, missing := o.find(ctx, l)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := l.startUpstream(); err != nil {
		return err
	}
	m, err := newMeter(l)
	if err != nil {
		return err
	}
	b := &bench{lab: l, targets: targets, rounds: o.rounds, seconds: o.seconds, files: files}
	rep := &report{Machine: machine(ctx, l), Command: strings.Join(append([]string{"go run ./tests/bench"}, o.args...), " "), Rounds: o.rounds, Seconds: o.seconds}
	if o.markdown {
		fmt.Fprintf(w, "`%s` on ", rep.Command)
	}
	fmt.Fprintln(w, rep.head())
	for _, s := range scenarios() {
		if !slices.ContainsFunc(o.only, func(id string) bool { return chosen(s, id) }) {
			continue
		}
		if s.ways != nil && l.gateway == "" {
			progress("(%s) is left out: it is between two gateways", s.id)
			continue
		}
		res, err := b.run(ctx, s)
		if err != nil {
			return fmt.Errorf("scenario (%s): %w", s.id, err)
		}
		rep.Scenarios = append(rep.Scenarios, res)
		if o.markdown {
			res.writeMarkdown(w)
		} else {
			res.writeText(w)
		}
	}
	fmt.Fprintf(w, "\nThe ratios are those of the same round to %s, in (f) to (i) to %q: the median and, in brackets, the ends. It took %v.\n",
		targetProxy, targetPassed, time.Since(begin).Round(time.Second))
	if rep.Others, err = m.others(runtime.NumCPU()); err != nil {
		return err
	}
	if rep.Others >= noisy {
		fmt.Fprintf(w, "OTHER PROCESSES USED %.0f %% OF THE MACHINE meanwhile: the figures are less exact than the ranges say.\n", 100*rep.Others)
	}
	if err := o.save(rep); err != nil {
		return err
	}
	if n := rep.failures(); n > 0 {
		missing = append(missing, fmt.Errorf("%d rows above FAILED", n))
	}
	return errors.Join(missing...)
}

// find makes the targets ready to start and returns those that are, and what
// is wrong with others. nginx may be absent.
func (o *options) find(ctx context.Context, l *lab) ([]string, []error) {
	var ready []string
	var wrong []error
	for _, name := range o.targets {
		var err error
		switch name {
		case targetNginx:
			if l.nginx, err = findNginx(); err != nil {
				progress("NGINX IS NOT INSTALLED: it is left out (Debian: apt-get install nginx-light)")
				continue
			}
		case targetGateway:
			l.gateway, err = o.build(ctx, l.dir)
		}
		if err != nil {
			progress("THE GATEWAY IS LEFT OUT: %v", err)
			wrong = append(wrong, err)
			continue
		}
		ready = append(ready, name)
	}
	return ready, wrong
}

func findNginx() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx") // not in the PATH of Debian's users
}

// build returns the path of the gateway's binary.
func (o *options) build(ctx context.Context, dir string) (string, error) {
	if o.gateway != "" {
		path, err := exec.LookPath(o.gateway)
		if err != nil {
			return "", err
		}
		return filepath.Abs(path)
	}
	progress("building the gateway")
	path := filepath.Join(dir, "sluice")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "sluice/local").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return path, nil
}

func (o *options) save(rep *report) error {
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o666)
}

// machine describes what the figures were measured on.
func machine(ctx context.Context, l *lab) string {
	parts := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				parts = append(parts, strings.TrimSpace(value))
				break
			}
		}
	}
	parts = append(parts, runtime.GOOS+"/"+runtime.GOARCH, runtime.Version())
	if l.nginx != "" {
		if out, err := exec.CommandContext(ctx, l.nginx, "-v").CombinedOutput(); err == nil {
			if _, version, ok := strings.Cut(string(out), "nginx version: "); ok {
				parts = append(parts, strings.TrimSpace(version))
			}
		}
	}
	return strings.Join(parts, ", ")
}
