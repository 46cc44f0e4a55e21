package boot

import (
	"net/http"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/prices"
	"sluice/shared/store"
	"sluice/shared/web"
)

// Part is what a process serves. It names the makers of its handlers, so that a program links those of its own part alone: a
// function's size is part of its cold start. The zero value serves nothing but the operator's probes.
type Part struct {
	kind   partKind
	models func(*wiring) http.Handler // nil: no model traffic
	manage func(*wiring) *adminapi.API
	page   func(*adminapi.API, *http.Request) string // where a browser that asks for / is sent; nil: it gets what others get
}

type partKind uint8

// The kinds; stores keep their numbers.
const (
	everything partKind = iota
	proxy
	admin
	jobs
)

// Everything is model traffic, the admin API and the console.
func Everything() Part {
	return Part{kind: everything, models: newGateway, manage: newAdmin, page: adminPage}
}

// Proxy is model traffic.
func Proxy() Part { return Part{kind: proxy, models: newGateway} }

// Admin is the admin API and the console.
func Admin() Part { return Part{kind: admin, manage: newAdmin, page: adminPage} }

// Jobs is nothing over HTTP.
func Jobs() Part { return Part{kind: jobs} }

// wiring is what the makers of handlers need.
type wiring struct {
	*App
	o         *Options
	store     store.Store
	directory *directory.Directory
	prices    *prices.Book
}

func newGateway(w *wiring) http.Handler {
	c := w.o.Config
	return gateway.New(gateway.Options{
		Settings: gateway.Settings{RetryMax: c.RetryMax, FailThreshold: c.FailThreshold, TrialAfter: w.policy.TrialAfter, SlowFirstByte: c.SlowFirstByte, ErrorRate: c.MaxErrorRate,
			MaxBody: c.MaxBodyBytes, MaxBodyMemory: c.MaxBodyMemory, StreamSilence: c.StreamSilence, AnswerTimeout: c.AnswerTimeout, Zone: c.LimitsZone.OrUTC(), PublicURL: c.PublicURL},
		Directory: w.directory, Health: w.tracker, Admission: w.store, Tables: w.Tables, Box: w.Box, Log: w.log, Now: w.now,
		Metrics: w.o.Metrics, Trace: w.openTraces(w.o), Upstreams: w.clients, Events: w.hub, Prices: w.prices,
		Capture: w.gatewayCapture(), Compat: w.Compat,
	})
}

func newAdmin(w *wiring) *adminapi.API {
	c := w.o.Config
	return adminapi.New(adminapi.Options{Tables: w.Tables, Usage: w.store, Budgets: w.store, Directory: w.directory, Health: w.tracker, Box: w.Box, Kinds: []core.Kind{core.KindAnthropic, core.KindOpenAI, core.KindAmazonQ, core.KindBedrock},
		Pool: w.pool, Docs: w.store, Checker: w.checker, Events: w.hub, Notify: w.hub, Capture: w.adminCapture(), Prices: w.prices, Compat: w.Compat, Region: c.MachineRegion(), SweepEvery: time.Duration(c.SweepInterval) * time.Minute,
		AdminKey: c.AdminKey(), Control: w.o.Control, PublicURL: c.PublicURL, Version: w.o.Version, Zone: c.LimitsZone.OrUTC(), Log: w.log, Now: w.now,
		Keep: w.keep, Audit: w.audit, Environment: c.Variables,
		Defaults: adminapi.Defaults{Retries: c.RetryMax, FailLimit: c.FailThreshold, HealthSec: c.HealthInterval}})
}

func adminPage(api *adminapi.API, r *http.Request) string { return api.Link(r, "/admin") }

// The words of answers where a process serves less than all.
const (
	elsewhere = "This function does not serve this path. The proxy and the admin function have an address each; the template's outputs name them."
	nowhere   = "There is nothing at this path. The admin API is below /admin and /api, the console at /admin."
)

// routes makes the handler of all paths. What the part does not serve is answered as an unknown path.
func (p Part) routes(w *wiring) http.Handler {
	o := w.o
	ops := &ops{app: w.App, version: o.Version, store: w.store}
	var models http.Handler
	if p.models != nil {
		models = p.models(w)
	}
	if p.manage == nil {
		return served(models, nil, ops)
	}
	api := p.manage(w)
	ops.home = func(r *http.Request) string { return p.page(api, r) }
	h := served(models, api, ops)
	if o.Console != nil {
		h = pages(o.Console(ConsoleOptions{API: api, PublicURL: o.Config.PublicURL, Version: o.Version, Streams: !o.Hosted, Ending: w.Drain.Begun(), Log: w.log, Now: w.now}), h)
	}
	return h
}

// served gives each path to its handler; nil: the process does not have it.
func served(models, manage http.Handler, ops *ops) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isModel, isManage := gateway.Handles(r.URL.Path), adminapi.Handles(r.URL.Path)
		switch {
		case isModel && models != nil:
			models.ServeHTTP(w, r)
		case isManage && manage != nil:
			manage.ServeHTTP(w, r)
		case isModel, isManage:
			refuse(w, r, elsewhere)
		case ops.serve(w, r):
		case models != nil:
			models.ServeHTTP(w, r) // its 404 tells what there is
		default:
			refuse(w, r, nowhere)
		}
	})
}

func refuse(w http.ResponseWriter, r *http.Request, message string) {
	web.DropBody(w, r)
	WriteError(w, r, core.E(core.CodeNotFound, message))
}
