// Package boot puts a process together: configuration, store, secrets, seeds, handlers. The roots (local, functions) pass
// in the backends they want linked; boot knows none.
//
// It has more than 1,500 lines because the start of a process is one list of steps: seeds, imports and the pool's parts each
// have a file.
package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/audit"
	"sluice/shared/capture"
	"sluice/shared/compatbook"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/health"
	"sluice/shared/health/alerts"
	"sluice/shared/health/probe"
	"sluice/shared/notify"
	"sluice/shared/prices"
	"sluice/shared/router"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/measure"
	"sluice/shared/trace"
	"sluice/shared/upstream"
	"sluice/shared/upstream/anthropic"
	"sluice/shared/upstream/bedrock"
	"sluice/shared/upstream/openai"
	"sluice/shared/web"
)

// Opened is a store that an Opener opened.
type Opened struct {
	Store store.Store
	File  string // of an embedded store: the master key and the control file lie beside it; empty: none
	Where string // for people
}

// Opener opens a store from what follows the scheme of its URL.
type Opener func(ctx context.Context, rest core.Secret, log *slog.Logger) (Opened, error)

// Options are what a root passes in.
type Options struct {
	Config  *config.Config
	Openers map[string]Opener      // by scheme, "sqlite"
	Old     map[string]OldDatabase // by scheme; nil: no start imports anything
	Import  bool                   // for a command that imports: the published admin key is left to the next start, which may find it replaced
	Log     *slog.Logger
	Version string
	Access  io.Writer   // gets a line per request where ACCESS_LOG allows; nil: none
	Control core.Secret // credential of commands on this machine; empty: none
	Now     func() time.Time
	Part    Part // which handlers; the zero value: none
	// Hosted says that nobody is ever on this machine, as on Lambda: published defaults never work, whatever the
	// configuration says.
	Hosted bool
	// CLI lets health checks run the Claude CLI where it is on PATH: this is a server of the operator's own.
	CLI bool
	// Metrics takes what the process does; nil: nobody does. Scrape serves it at /metrics to admin keys; nil: nothing does.
	Metrics Metrics
	Scrape  http.Handler
	// Trace is Tracing; nil: nothing is traced, whatever the settings say.
	Trace func(trace.Options) Traces
	// Console makes the web console of the admin API; nil: the API's own plain pages serve.
	Console func(ConsoleOptions) Console
	// AWS returns the process's own credentials, for notifications by SNS; nil: it has none.
	AWS func(ctx context.Context) (notify.AWSCredentials, error)
	// Transports are the ways out, for tests that stand in for hosts which cannot be reached; nil: those of the settings.
	Transports *upstream.Transports
}

// App is a running process without its listener.
type App struct {
	Handler http.Handler
	Drain   *web.Drain
	Tables  *store.Tables
	Box     *seal.Box
	Opened  Opened
	Notes   []string // what a person must know at start, in order
	Compat  *compatbook.Book

	transports *upstream.Transports
	tracker    *health.Tracker
	checker    *probe.Checker
	hub        *notify.Hub
	alerts     *alerts.Watch
	pool       *pool
	traces     Traces           // nil: nothing is traced
	capture    *capture.Capture // nil: no bodies are kept
	counted    atomic.Pointer[[]nodeKind]
	usage      store.Usage
	docs       store.Docs
	leases     store.Leases
	adminKey   core.Secret // ADMIN_API_KEY
	audit      *audit.Log
	clients    map[core.Kind]upstream.Client
	policy     router.Policy // of accounts that have none
	hosted     bool
	keep       store.Retention
	// administered: there is an admin key of the operator's own in the environment
	administered bool
	log          *slog.Logger
	now          func() time.Time
}

// Open opens the store and builds the handlers. The error is one clear line that names the variable or file.
func Open(ctx context.Context, o Options) (*App, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, w := range o.Config.Warnings {
		o.Log.Warn(w)
	}
	url, name := o.Config.Store()
	opened, err := OpenStore(ctx, o.Openers, url, name, o.Log)
	if err != nil {
		return nil, err
	}
	if s, ok := opened.Store.(interface{ Keep(store.Retention) }); ok { // it must know when it writes
		s.Keep(retentionOf(o.Config))
	}
	var refused atomic.Pointer[error] // the last call that the store itself failed
	slow, count := slowCalls(o.Log), storeCalls(o.Metrics)
	opened.Store = measure.New(opened.Store, func(c measure.Call) {
		if failedCall(c.Err) {
			err := c.Err
			refused.Store(&err)
		}
		slow(c)
		count(c)
	})
	opened.Store = whenAway(&o, opened, url)
	app, err := build(ctx, &o, opened)
	if err == nil {
		return app, nil
	}
	if r := refused.Load(); r != nil && errors.Is(err, *r) {
		err = fmt.Errorf("%s: %w", name, err) // which setting to look at
	}
	return nil, errors.Join(err, opened.Store.Close())
}

func build(ctx context.Context, o *Options, opened Opened) (*App, error) {
	c := o.Config
	s := opened.Store
	a := &App{Opened: opened, Drain: &web.Drain{}, log: o.Log, now: o.Now, usage: s, docs: s, leases: s, adminKey: c.AdminAPIKey, hosted: o.Hosted, keep: retentionOf(c), administered: !c.AdminKey().IsZero(),
		policy: policyOf(c)}
	a.Tables = store.NewTables(audit.Watch(s), o.Now)
	url, name := c.Store()
	if err := a.prepare(ctx, o, url, name); err != nil {
		return nil, err
	}
	a.openAudit(c)
	dir := directory.New(directory.Options{Tables: a.Tables, Generations: s, Box: a.Box, AdminKey: c.AdminKey(),
		Published:     []string{config.DefaultAdminKey, config.DefaultAdminKey2, config.DefaultProxyKey},
		AllowDefaults: c.AllowDefaults && !o.Hosted, Now: o.Now, Log: o.Log})
	if a.transports = o.Transports; a.transports == nil {
		a.transports = upstream.NewTransports(upstream.TransportOptions{Policy: upstreamPolicy(c), HTTPSProxy: c.HTTPSProxy.Reveal(), NoProxy: c.NoProxy})
	}
	a.pool = newPool(a, c, s, o.Metrics)
	a.clients = map[core.Kind]upstream.Client{core.KindAnthropic: anthropic.New(a.transports), core.KindOpenAI: openai.New(a.transports),
		core.KindAmazonQ: a.pool.client, core.KindBedrock: bedrock.New(bedrock.Options{Transports: a.transports, Region: c.MachineRegion(), Now: a.now})}
	a.heal(o, s)
	if err := a.openCapture(o); err != nil {
		return nil, err
	}
	book := prices.New(prices.Options{Tables: a.Tables, Now: o.Now, Log: o.Log})
	a.Compat = compatbook.New(compatbook.Options{Tables: a.Tables, Now: o.Now, Log: o.Log})
	w := &wiring{App: a, o: o, store: s, directory: dir, prices: book}
	var access *web.AccessLog
	if c.AccessLog && o.Access != nil {
		access = web.NewAccessLog(o.Access, c.LogFormat == "json", c.AccessSample)
	}
	served := o.Part.routes(w)
	if o.Scrape != nil {
		served = with(metricsPath, keyed(o.Scrape, dir, o.Now), served)
	}
	if o.Hosted {
		served = fromAfar(served)
	}
	a.Handler = web.Wrap(web.CORS(served, c.CORSOrigins), web.Options{Log: o.Log, Access: access, TrustedProxies: c.TrustedProxies,
		Error: WriteError, Draining: a.Drain})
	return a, nil
}

// Console is the web console.
type Console interface {
	http.Handler
	// Handles reports whether a request is for the console rather than for the admin API.
	Handles(*http.Request) bool
}

// ConsoleOptions are what a console is made of.
type ConsoleOptions struct {
	API       http.Handler
	PublicURL string
	Version   string
	Streams   bool            // answers reach browsers as they are written
	Ending    <-chan struct{} // closed when the server begins to shut down
	Log       *slog.Logger
	Now       func() time.Time
}

// pages gives the console what it handles.
func pages(console Console, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if console.Handles(r) {
			console.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// with serves a path by a handler of its own.
func with(path string, serve, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			serve.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fromAfar takes from every request the right to use a published default: an event can name any source.
func fromAfar(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.FromContext(r.Context()).Direct = false
		next.ServeHTTP(w, r)
	})
}

// WriteError answers with an error in the dialect of the path.
func WriteError(w http.ResponseWriter, r *http.Request, e *core.Error) {
	if adminapi.Handles(r.URL.Path) {
		adminapi.WriteError(w, r, e)
		return
	}
	gateway.WriteError(w, r, e)
}

// retentionOf is for how long the configuration keeps usage.
func retentionOf(c *config.Config) store.Retention {
	const day = 24 * time.Hour
	return store.Retention{Records: time.Duration(c.KeepRecords) * day, Hours: time.Duration(c.KeepHours) * day, Days: time.Duration(c.KeepDays) * day}
}

// RefreshTokens renews access tokens that end soon. It is for every minute: requests that find one that ends within five
// must renew it themselves.
func (a *App) RefreshTokens(ctx context.Context) {
	if err := a.pool.refresh(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("access tokens not refreshed", "error", err)
	}
}

// Maintain does what must be done from time to time: hourly and daily sums, removal of old usage and expired documents.
// What ctx leaves no time for, the next call does.
func (a *App) Maintain(ctx context.Context) {
	now := a.now()
	if err := a.usage.Rollup(ctx, now); err != nil && ctx.Err() == nil {
		a.log.Error("hourly sums not written", "error", err)
	}
	for {
		removed, err := a.usage.Retain(ctx, now, a.keep)
		if err != nil && ctx.Err() == nil {
			a.log.Error("old usage not removed", "error", err)
		}
		if removed == 0 || err != nil || ctx.Err() != nil {
			break
		}
	}
	a.expireCaptures(ctx, now)
	if _, err := a.docs.Purge(ctx, now); err != nil && ctx.Err() == nil {
		a.log.Error("expired documents not removed", "error", err)
	}
}

// closeTime is for token refreshes that go on though their callers left; one asks for 20 s at most and saves for 10.
const closeTime = 30 * time.Second

// Close flushes and closes the store, once no token is under way that must be saved in it. Handlers must have ended.
func (a *App) Close() error {
	a.closeTraces()
	a.closeCapture()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := a.pool.vault.Close(ctx)
	a.transports.CloseIdle()
	return errors.Join(err, a.Opened.Store.Close())
}
