package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/logging"
	"sluice/shared/notify"
	"sluice/shared/trace"
	"sluice/shared/web"
)

const (
	// hardStop is how long before Lambda kills the process a request or job ends: time to tell the client and to settle.
	hardStop = 10 * time.Second
	// lastMoment is kept of that for the handler's return.
	lastMoment = time.Second
	// openPatience bounds one opening. The init phase has 10 s.
	openPatience = 6 * time.Second
	// reopenAfter is how long a failed opening is not tried again.
	reopenAfter = 3 * time.Second
)

// References reads values that lie elsewhere, such as in AWS Secrets Manager.
type References interface {
	// Is reports whether a variable's value is a reference.
	Is(value string) bool
	// Read returns what it refers to. The error says what to allow, and nothing of the value.
	Read(ctx context.Context, reference string) (core.Secret, error)
}

// referable are the variables whose value may be a reference.
func referable() []string {
	return []string{"ADMIN_API_KEY", "SLUICE_MASTER_KEY", "DEFAULT_PROXY_API_KEY", "UPSTREAM_API_KEY", "STORE_URL", "HTTPS_PROXY",
		"AMAZONQ_REFRESH_TOKEN", "AMAZONQ_CLIENT_ID", "AMAZONQ_CLIENT_SECRET", "AMAZONQ_PROFILE_ARN"}
}

// FunctionOptions are what the root of a Lambda function passes in.
type FunctionOptions struct {
	Env        map[string]string
	Part       Part
	Openers    map[string]Opener
	References References      // nil: values are taken as they stand
	Output     io.Writer       // gets log and access log
	Metrics    FunctionMetrics // nil: nobody counts
	Version    string
	AWS        func(ctx context.Context) (notify.AWSCredentials, error) // see Options
	Trace      func(trace.Options) Traces                               // see Options
	Console    func(ConsoleOptions) Console                             // see Options
}

// Function is a process on Lambda. It opens the App in the init phase and keeps it. When that fails it serves all the same:
// requests get 503, the operator gets the reason in the log, and a later request tries again. It is safe for concurrent use.
type Function struct {
	o    FunctionOptions
	log  *slog.Logger
	down http.Handler // answers while there is no App
	bare http.Handler // answers while the admin key is missing

	app  atomic.Pointer[App]
	mu   sync.Mutex // one opening at a time; those who come meanwhile wait for it
	next time.Time  // no opening before
}

// NewFunction makes a function that is not open yet.
func NewFunction(o FunctionOptions) *Function {
	o.Env = hosted(o.Env)
	f := &Function{o: o, log: logging.New(o.Output, o.Env["LOG_LEVEL"], o.Env["LOG_FORMAT"])}
	refuse := func(message string) http.Handler {
		return web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			WriteError(w, r, &core.Error{Code: core.CodeUnavailable, RetryAfter: 5 * time.Second, Message: message})
		}), web.Options{Log: f.log, Error: WriteError})
	}
	f.down = refuse("The gateway cannot serve yet: its settings or its store are not in order. Its operator finds the reason in the function's log.")
	f.bare = refuse("The admin API is closed until the function's variable ADMIN_API_KEY is set to a key of your own.")
	return f
}

// hosted completes the environment as Lambda has it: no disk that lasts, and log settings of its own names.
func hosted(env map[string]string) map[string]string {
	env = maps.Clone(env)
	env["STORE_SPOOL_DIR"] = "off"
	if env["LOG_FORMAT"] == "" {
		env["LOG_FORMAT"] = "json"
		if strings.EqualFold(env["AWS_LAMBDA_LOG_FORMAT"], "text") {
			env["LOG_FORMAT"] = "text"
		}
	}
	if env["LOG_LEVEL"] == "" {
		switch l := strings.ToLower(env["AWS_LAMBDA_LOG_LEVEL"]); l {
		case "debug", "info", "warn", "error":
			env["LOG_LEVEL"] = l
		case "trace":
			env["LOG_LEVEL"] = "debug"
		case "fatal":
			env["LOG_LEVEL"] = "error"
		}
	}
	return env
}

// Log is the function's log.
func (f *Function) Log() *slog.Logger { return f.log }

// Start opens the App, for the init phase. A failure is logged; the next request tries again.
func (f *Function) Start(ctx context.Context) { _, _ = f.open(ctx) }

var errClosed = errors.New("the function could not be opened; the log tells why")

// open returns the App, and opens it when nobody could so far.
func (f *Function) open(ctx context.Context) (*App, error) {
	if a := f.app.Load(); a != nil {
		return a, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.app.Load(); a != nil {
		return a, nil
	}
	if time.Now().Before(f.next) {
		return nil, errClosed
	}
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	a, err := f.build(ctx)
	f.next = time.Now().Add(reopenAfter)
	if err != nil {
		f.log.Error("the function cannot serve; it tries again with a later request", "error", err)
		return nil, errClosed
	}
	f.app.Store(a)
	return a, nil
}

func (f *Function) build(ctx context.Context) (*App, error) {
	began := time.Now()
	env, err := f.resolve(ctx)
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(env)
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if c.StoreURL.IsZero() {
		return nil, errors.New("STORE_URL: must be set for a function: dynamodb://TABLE or redis://HOST:PORT")
	}
	if c.AllowDefaults {
		c.Warnings = append(c.Warnings, "ALLOW_DEFAULT_CREDENTIALS is ignored: published keys never work on Lambda")
		c.AllowDefaults = false
	}
	configured := time.Now()
	var stored time.Time
	openers := make(map[string]Opener, len(f.o.Openers))
	for scheme, open := range f.o.Openers {
		openers[scheme] = func(ctx context.Context, rest core.Secret, log *slog.Logger) (Opened, error) {
			o, err := open(ctx, rest, log)
			stored = time.Now()
			return o, err
		}
	}
	var counter Metrics // an interface without a value, not one with a nil value
	if f.o.Metrics != nil {
		counter = f.o.Metrics
	}
	a, err := Open(ctx, Options{Config: c, Metrics: counter, Openers: openers, Log: f.log, Version: f.o.Version, Access: f.o.Output, Part: f.o.Part, Hosted: true, AWS: f.o.AWS, Trace: f.o.Trace, Console: f.o.Console})
	if err != nil {
		return nil, err
	}
	for _, n := range a.Notes {
		if w, ok := strings.CutPrefix(n, "warning: "); ok && !(f.o.Part.kind == proxy && strings.Contains(w, "admin key")) {
			f.log.Warn(w)
		}
	}
	if f.o.Part.kind == admin && c.AdminKey().IsZero() {
		f.log.Error("the admin API answers 503 until ADMIN_API_KEY is set to a key of your own; published defaults never work on Lambda")
	}
	f.log.Info("function ready", "store", a.Opened.Where, "settings_us", configured.Sub(began).Microseconds(),
		"store_us", stored.Sub(configured).Microseconds(), "handlers_us", time.Since(stored).Microseconds())
	return a, nil
}

// resolve reads what the environment refers to.
func (f *Function) resolve(ctx context.Context) (map[string]string, error) {
	env := maps.Clone(f.o.Env)
	if f.o.References == nil {
		return env, nil
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for _, name := range referable() {
		ref := f.o.Env[name]
		if !f.o.References.Is(ref) {
			continue
		}
		wg.Go(func() {
			v, err := f.o.References.Read(ctx, ref)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", name, err))
				return
			}
			env[name] = v.Reveal()
		})
	}
	wg.Wait()
	return env, errors.Join(failed...)
}

var errTimeUp = fmt.Errorf("%w: the function's time is up", gateway.ErrDraining)

// beforeDeadline ends a context hardStop before Lambda kills the process. A function that gets less than twice that has half
// of it.
func beforeDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	d, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadlineCause(ctx, d.Add(-min(hardStop, time.Until(d)/2)), errTimeUp)
}

// settle waits for what must not be halted half way: Lambda stops the process when the handler returns, until the next event
// or for ever, and a refresh whose caller's time was up may have a token to save.
func (f *Function) settle(ctx context.Context) {
	if m := f.o.Metrics; m != nil {
		if err := m.Flush(); err != nil {
			f.log.Warn("metrics not written", "error", err)
		}
	}
	a := f.app.Load()
	if a == nil {
		return
	}
	if d, ok := ctx.Deadline(); ok { // the answer has to end before that
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, d.Add(-lastMoment))
		defer cancel()
	}
	if err := a.pool.vault.Settle(ctx); err != nil {
		f.log.Error("time is up", "error", err)
	}
	a.flushTraces(ctx)
}

// ServeHTTP implements http.Handler. A request ends hardStop before the deadline of its context, a stream with an error
// event, and is settled then.
func (f *Function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer f.settle(r.Context())
	ctx, cancel := beforeDeadline(r.Context())
	defer cancel()
	r = r.WithContext(ctx)
	a, err := f.open(ctx)
	switch {
	case err != nil:
		f.down.ServeHTTP(w, r)
	case f.o.Part.kind == admin && !a.administered:
		f.bare.ServeHTTP(w, r)
	default:
		a.Handler.ServeHTTP(w, r)
	}
}

// Job runs a job of the scheduler: {"job":"probe"}, sweep, refresh, retention or notify. It ends hardStop before the deadline of
// ctx; what is left is done by the next one. The error is for the platform, which counts it; the log has what it does not
// tell.
func (f *Function) Job(ctx context.Context, event json.RawMessage) (out JobReport, err error) {
	defer func() {
		if p := recover(); p != nil { // the library would end the process
			f.log.Error("panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("internal error; the log has it")
		}
	}()
	var in struct {
		Job string `json:"job"`
	}
	if err := json.Unmarshal(event, &in); err != nil {
		return out, errors.New(`the event is no JSON object such as {"job":"probe"}`)
	}
	run := job(in.Job)
	if run == nil {
		return out, fmt.Errorf("the event's job is none of %s", strings.Join(JobNames(), ", "))
	}
	defer f.settle(ctx)
	ctx, cancel := beforeDeadline(ctx)
	defer cancel()
	a, err := f.open(ctx)
	if err != nil {
		return out, err
	}
	out, err = run(a, ctx)
	out.Job = in.Job
	if err != nil {
		return out, fmt.Errorf("job %s: %w", in.Job, err)
	}
	if m := f.o.Metrics; m != nil && in.Job == "probe" && !out.Elsewhere {
		if err := a.CountNodes(ctx); err != nil {
			f.log.Warn("nodes not counted", "error", err)
		} else {
			m.Nodes(a.Nodes())
		}
	}
	f.log.Info("job done", "job", out.Job, "checked", out.Checked, "recovered", out.Recovered, "left", out.Left, "elsewhere", out.Elsewhere,
		"sent", out.Sent, "given_up", out.GivenUp, "raised", out.Raised, "ended", out.Ended)
	return out, nil
}
