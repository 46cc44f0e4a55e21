// Package gateway is the handler of model traffic: it authenticates, admits, routes, forwards and settles requests.
//
// One request is an exchange. Its life is DESIGN 4: look at the body without decoding it, admit (store trip 1), try nodes
// until one gives content, copy that answer, settle (store trip 2). No goroutine outlives the handler.
//
// The package has more than 1,500 lines because attempts, the client's stream, the watch over both and the settlement are
// parts of one exchange; apart they would need its inside exported.
package gateway

import (
	"context"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/pricing"
	"sluice/shared/store"
	"sluice/shared/upstream"
	"sluice/shared/web"
)

// Settings are the gateway's own numbers; New fills zeroes with the defaults of config.
type Settings struct {
	RetryMax      int           // tries on one node
	FailThreshold int           // counted failures in a row
	TrialAfter    time.Duration // a failed or degraded node gets a trial request after this long
	SlowFirstByte time.Duration // mean time to the first content beyond which a node is degraded; 0: none is too slow
	ErrorRate     float64       // share of failures beyond which it is; 0: failures in a row alone count
	MaxBody       int64         // bytes of one request
	MaxBodyMemory int64         // bytes of all bodies together
	StreamSilence time.Duration // of an upstream within a stream
	AnswerTimeout time.Duration // for the answer of a request that is not streamed
	PingEvery     time.Duration // of silence towards the client
	HoldFor       time.Duration // that the status line waits for the first content
	PublicURL     string        // address of the gateway for clients; empty: as the request was addressed
	Zone          *time.Location
}

func (s *Settings) defaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if s.RetryMax <= 0 {
		s.RetryMax = 3
	}
	if s.FailThreshold <= 0 {
		s.FailThreshold = 3
	}
	if s.MaxBody <= 0 {
		s.MaxBody = 32 << 20
	}
	if s.MaxBodyMemory <= 0 {
		s.MaxBodyMemory = 512 << 20
	}
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	def(&s.TrialAfter, 30*time.Second)
	def(&s.StreamSilence, 300*time.Second)
	def(&s.AnswerTimeout, 30*time.Minute)
	def(&s.PingEvery, 15*time.Second)
	def(&s.HoldFor, 15*time.Second)
}

// Options are what a gateway is made of.
type Options struct {
	Settings  Settings
	Directory *directory.Directory
	Health    *health.Tracker
	Admission store.Admission
	Tables    *store.Tables
	Box       Box
	Upstreams map[core.Kind]upstream.Client
	Prices    Prices  // nil: the built-in ones
	Events    Events  // nil: nobody listens
	Metrics   Metrics // nil: nobody counts
	Trace     Tracer  // nil: nothing is traced
	Capture   Capture // nil: no exchange is kept
	Compat    Compat  // nil: the built-in table
	Log       *slog.Logger
	Now       func() time.Time
}

// Metrics counts what the gateway does. Its methods must be fast: they run on the request's path.
type Metrics interface {
	// Observe counts a request that was settled; kind is that of the node tried last, empty for none. It keeps nothing of s.
	Observe(s *core.Settlement, kind core.Kind)
	// Used counts tokens and cost of what was settled without a request of its own: a batch. It keeps nothing of s.
	Used(s *core.Settlement, kind core.Kind)
	// Attempt counts an attempt at a node; class is an upstream.Class in words.
	Attempt(kind core.Kind, class string)
	// Refused counts a request that a limit refused; limit is a store.LimitName.
	Refused(limit string)
	// Dropped counts a flag, field or tool that was left out of a request to a node of Amazon Bedrock, by package compat's table
	// or because Converse has no place for it; route is the table's name of the node's API, or converse, name the path of a
	// field, beta:NAME or tool:TYPE, as a row or the codec of Converse has it.
	Dropped(route, name string)
	// InFlight adds to the number of requests under way.
	InFlight(delta int)
}

// Box seals what is kept of conversations.
type Box interface {
	Seal(owner string, s core.Secret) core.Sealed
	Open(owner string, v core.Sealed) (core.Secret, error)
}

// Gateway is the http.Handler of model traffic. It is safe for concurrent use.
type Gateway struct {
	o      Options
	s      Settings
	bodies bodyPool
	lists  modelLists
	bad    *directory.Throttle // keys that are wrong

	retries retryBudget
	drops   drops
	seed    maphash.Seed // of fingerprints of requests that upstreams failed on
}

// New makes a gateway.
func New(o Options) *Gateway {
	o.Settings.defaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Prices == nil {
		o.Prices = fixedPrices{pricing.Builtin()}
	}
	if o.Compat == nil {
		o.Compat = newBuiltinTable()
	}
	g := &Gateway{o: o, s: o.Settings, seed: maphash.MakeSeed(), bad: directory.NewThrottle(directory.MaxBadKeys, o.Now)}
	// buffers are powers of two: one of the largest size must fit
	g.bodies.limit = max(o.Settings.MaxBodyMemory, int64(1)<<bits.Len64(uint64(o.Settings.MaxBody-1)))
	return g
}

// endpoint is one route.
type endpoint struct {
	name    string // as recorded
	methods string // space-separated
	serve   func(*exchange)
}

var (
	epMessages    = &endpoint{pathMessages, "POST", (*exchange).messages}
	epCountTokens = &endpoint{"/v1/messages/count_tokens", "POST", (*exchange).countTokens}
	epChat        = &endpoint{pathChat, "POST", (*exchange).messages}
	epResponses   = &endpoint{pathResponses, "POST", (*exchange).messages}
	epModels      = &endpoint{"/v1/models", "GET HEAD", (*exchange).models}
	epModel       = &endpoint{"/v1/models/{id}", "GET HEAD", (*exchange).models}
)

// answers reports whether a model answers there: what tells whether a node works.
func (e *endpoint) answers() bool {
	switch e.name {
	case pathMessages, pathChat, pathResponses, nameInvoke, nameInvokeStream:
		return true
	}
	return false
}

// route finds the endpoint of a path without its prefix; forced is the prefix's dialect.
func route(path string, forced core.Dialect) *endpoint {
	if forced == core.DialectBedrockInvoke {
		return bedrockRoute(path)
	}
	if forced != core.DialectAnthropic {
		switch path {
		case pathChat:
			return epChat
		case pathResponses:
			return epResponses
		}
	}
	switch path {
	case "/v1/models":
		return epModels
	}
	if id, ok := strings.CutPrefix(path, "/v1/responses/"); ok && forced != core.DialectAnthropic && id != "compact" && plainID(id, false) {
		return epResponse
	}
	if id, ok := strings.CutPrefix(path, "/v1/models/"); ok && !strings.Contains(id, "/") && plainID(id, true) {
		return epModel
	}
	if forced == core.DialectOpenAIChat {
		return nil
	}
	switch path {
	case pathMessages:
		return epMessages
	case "/v1/messages/count_tokens":
		return epCountTokens
	}
	return resourceRoute(path)
}

// Handles reports whether the gateway serves the path: all of /v1, /anthropic, /openai and /bedrock, and the probes of Claude Code.
func Handles(path string) bool {
	rest, forced := trimPrefix(path)
	return forced != "" || rest == "/v1" || strings.HasPrefix(rest, "/v1/") || path == "/api/hello"
}

// plainID reports whether an escaped id names one thing only: an upstream, or a proxy before it, that decodes paths once
// more must not end up elsewhere. Names of models may have slashes.
func plainID(id string, slashes bool) bool {
	text, err := url.PathUnescape(id)
	if err != nil || strings.ContainsAny(text, "\\%?#") || !slashes && strings.Contains(text, "/") {
		return false
	}
	for part := range strings.SplitSeq(text, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, forced := trimPrefix(r.URL.EscapedPath())
	if (path == "" || path == "/" || path == "/api/hello") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		// Claude Code asks so whether anyone is there, without a key
		web.FromContext(r.Context()).Quiet = true
		w.WriteHeader(http.StatusOK)
		return
	}
	if path == dialectResponses.path && r.Method == http.MethodGet && r.Header.Get("Upgrade") != "" {
		// Codex tries a WebSocket first and falls back at once on this status (D46)
		w.Header()["Upgrade"], w.Header()["Connection"] = []string{"HTTP/1.1"}, []string{"Upgrade"}
		WriteError(w, r, core.E(core.CodeUpgradeRequired, "The gateway serves this endpoint over HTTP only: send a POST request."))
		return
	}
	ep := route(path, forced)
	if ep == nil {
		web.DropBody(w, r)
		if forced == core.DialectBedrockInvoke {
			WriteError(w, r, noBedrockRoute(path))
			return
		}
		WriteError(w, r, core.E(core.CodeNotFound, "No such endpoint: "+clip(r.URL.Path, 200)+
			". The gateway serves POST /v1/messages, /v1/chat/completions and /v1/responses, and GET /v1/models."))
		return
	}
	if !strings.Contains(" "+ep.methods+" ", " "+r.Method+" ") {
		web.DropBody(w, r)
		w.Header().Set("Allow", strings.ReplaceAll(ep.methods, " ", ", "))
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "Method "+clip(r.Method, 20)+" is not allowed on "+ep.name+"; use "+strings.ReplaceAll(ep.methods, " ", " or ")+"."))
		return
	}
	d := dialectOf(r)
	x := &exchange{g: g, w: w, r: r, path: path, ep: ep, client: d, asked: d, info: web.FromContext(r.Context())}
	x.rc = http.NewResponseController(w)
	if err := x.authenticate(); err != nil {
		web.DropBody(w, r)
		WriteError(w, r, core.AsError(err))
		return
	}
	if forced == core.DialectBedrockInvoke {
		x.beginFront()
	}
	x.beginTrace()
	defer x.end()
	if m := g.o.Metrics; m != nil {
		m.InFlight(1)
		defer m.InFlight(-1)
	}
	ep.serve(x)
}

// clip bounds what of a client's text an error repeats.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}

func random() uint64 { return rand.Uint64() }

// detached is the context of what must happen although the client left.
func detached(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }
