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
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/health"
	"sluice/shared/health/alerts"
	"sluice/shared/health/probe"
	"sluice/shared/notify"
	"sluice/shared/router"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/measure"
	"sluice/shared/upstream"
	"sluice/shared/upstream/anthropic"
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
	Part    Part // which handlers; the zero value: all of them
	// Hosted says that nobody is ever on this machine, as on Lambda: published defaults never work, whatever the
	// configuration says.
	Hosted bool
	// CLI lets health checks run the Claude CLI where it is on PATH: this is a server of the operator's own.
	CLI bool
	// AWS returns the process's own credentials, for notifications by SNS; nil: it has none.
	AWS func(ctx context.Context) (notify.AWSCredentials, error)
}

// Part is what a process serves.
type Part uint8

// The parts.
const (
	Everything Part = iota
	Proxy           // model traffic
	Admin           // the admin API
	Jobs            // nothing over HTTP
)

// App is a running process without its listener.
type App struct {
	Handler http.Handler
	Drain   *web.Drain
	Tables  *store.Tables
	Box     *seal.Box
	Opened  Opened
	Notes   []string // what a person must know at start, in order

	transports *upstream.Transports
	tracker    *health.Tracker
	checker    *probe.Checker
	hub        *notify.Hub
	alerts     *alerts.Watch
	pool       *pool
	usage      store.Usage
	docs       store.Docs
	leases     store.Leases
	adminKey   core.Secret // ADMIN_API_KEY
	clients    map[core.Kind]upstream.Client
	policy     router.Policy // of accounts that have none
	hosted     bool
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
	var refused atomic.Pointer[error] // the last call that the store itself failed
	slow := slowCalls(o.Log)
	opened.Store = measure.New(opened.Store, func(c measure.Call) {
		if c.Err != nil && !store.Missing(c.Err) && !errors.Is(c.Err, store.ErrExists) && !errors.Is(c.Err, store.ErrConflict) {
			err := c.Err
			refused.Store(&err)
		}
		slow(c)
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
	a := &App{Opened: opened, Drain: &web.Drain{}, log: o.Log, now: o.Now, usage: s, docs: s, leases: s, adminKey: c.AdminAPIKey, hosted: o.Hosted, administered: !c.AdminKey().IsZero(),
		policy: policyOf(c)}
	a.Tables = store.NewTables(s, o.Now)
	url, name := c.Store()
	if err := a.prepare(ctx, o, url, name); err != nil {
		return nil, err
	}
	dir := directory.New(directory.Options{Tables: a.Tables, Generations: s, Box: a.Box, AdminKey: c.AdminKey(),
		Published:     []string{config.DefaultAdminKey, config.DefaultAdminKey2, config.DefaultProxyKey},
		AllowDefaults: c.AllowDefaults && !o.Hosted, Now: o.Now, Log: o.Log})
	a.transports = upstream.NewTransports(upstream.TransportOptions{Policy: upstreamPolicy(c), HTTPSProxy: c.HTTPSProxy.Reveal(), NoProxy: c.NoProxy})
	a.pool = newPool(a, c, s)
	a.clients = map[core.Kind]upstream.Client{core.KindAnthropic: anthropic.New(a.transports), core.KindOpenAI: openai.New(a.transports),
		core.KindAmazonQ: a.pool.client}
	a.heal(o, s)
	gw := gateway.New(gateway.Options{
		Settings: gateway.Settings{RetryMax: c.RetryMax, FailThreshold: c.FailThreshold, TrialAfter: a.policy.TrialAfter, SlowFirstByte: c.SlowFirstByte, ErrorRate: c.MaxErrorRate,
			MaxBody: c.MaxBodyBytes, MaxBodyMemory: c.MaxBodyMemory, StreamSilence: c.StreamSilence, AnswerTimeout: c.AnswerTimeout, Zone: c.LimitsZone.OrUTC(), PublicURL: c.PublicURL},
		Directory: dir, Health: a.tracker, Admission: s, Tables: a.Tables, Box: a.Box, Log: o.Log, Now: o.Now,
		Upstreams: a.clients, Events: a.hub,
	})
	api := adminapi.New(adminapi.Options{Tables: a.Tables, Usage: s, Directory: dir, Health: a.tracker, Box: a.Box, Kinds: []core.Kind{core.KindAnthropic, core.KindOpenAI, core.KindAmazonQ},
		Pool: a.pool, Docs: s, Checker: a.checker, Events: a.hub, Notify: a.hub, SweepEvery: time.Duration(c.SweepInterval) * time.Minute,
		AdminKey: c.AdminKey(), Control: o.Control, PublicURL: c.PublicURL, Version: o.Version, Log: o.Log, Now: o.Now,
		Defaults: adminapi.Defaults{Retries: c.RetryMax, FailLimit: c.FailThreshold, HealthSec: c.HealthInterval}})
	var access *web.AccessLog
	if c.AccessLog && o.Access != nil {
		access = web.NewAccessLog(o.Access, c.LogFormat == "json")
	}
	ops := &ops{app: a, version: o.Version, home: func(r *http.Request) string { return api.Link(r, "/admin") }, store: s}
	served := routes(o.Part, gw, api, ops)
	if o.Hosted {
		served = fromAfar(served)
	}
	a.Handler = web.Wrap(web.CORS(served, c.CORSOrigins), web.Options{Log: o.Log, Access: access, TrustedProxies: c.TrustedProxies,
		Error: WriteError, Draining: a.Drain})
	return a, nil
}

// routes gives each path to its handler. A part that is not served is answered as an unknown path.
func routes(part Part, gw, api http.Handler, ops *ops) http.Handler {
	if part == Proxy {
		ops.home = nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		model, manage := gateway.Handles(r.URL.Path), adminapi.Handles(r.URL.Path)
		switch {
		case part == Admin && model, part == Proxy && manage:
			web.DropBody(w, r)
			WriteError(w, r, core.E(core.CodeNotFound, "This function does not serve this path. The proxy and the admin function have an address each; the template's outputs name them."))
		case model:
			gw.ServeHTTP(w, r)
		case manage:
			api.ServeHTTP(w, r)
		case ops.serve(w, r):
		default:
			gw.ServeHTTP(w, r) // its 404 tells what there is
		}
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

// RefreshTokens renews access tokens that end soon. It is for every minute: requests that find one that ends within five
// must renew it themselves.
func (a *App) RefreshTokens(ctx context.Context) {
	if err := a.pool.refresh(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("access tokens not refreshed", "error", err)
	}
}

// Maintain does what must be done from time to time: hourly sums, removal of expired documents.
func (a *App) Maintain(ctx context.Context) {
	now := a.now()
	if err := a.usage.Rollup(ctx, now); err != nil && ctx.Err() == nil {
		a.log.Error("hourly sums not written", "error", err)
	}
	if _, err := a.docs.Purge(ctx, now); err != nil && ctx.Err() == nil {
		a.log.Error("expired documents not removed", "error", err)
	}
}

// closeTime is for token refreshes that go on though their callers left; one asks for 20 s at most and saves for 10.
const closeTime = 30 * time.Second

// Close flushes and closes the store, once no token is under way that must be saved in it. Handlers must have ended.
func (a *App) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := a.pool.vault.Close(ctx)
	a.transports.CloseIdle()
	return errors.Join(err, a.Opened.Store.Close())
}
