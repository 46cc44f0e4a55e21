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
	"sluice/shared/store"
	"sluice/shared/upstream"
	"sluice/shared/web"
)

// Settings are the gateway's own numbers; New fills zeroes with the defaults of config.
type Settings struct {
	RetryMax      int           // tries on one node
	FailThreshold int           // counted failures in a row
	TrialAfter    time.Duration // a failed node gets a trial request after this long
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
	Upstreams map[core.Kind]upstream.Client
	Log       *slog.Logger
	Now       func() time.Time
}

// Gateway is the http.Handler of model traffic. It is safe for concurrent use.
type Gateway struct {
	o      Options
	s      Settings
	bodies bodyPool
}

// New makes a gateway.
func New(o Options) *Gateway {
	o.Settings.defaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gateway{o: o, s: o.Settings}
	// buffers are powers of two: one of the largest size must fit
	g.bodies.limit = max(o.Settings.MaxBodyMemory, int64(1)<<bits.Len64(uint64(o.Settings.MaxBody-1)))
	return g
}

// endpoint is one route of the Anthropic API.
type endpoint struct {
	name    string // as recorded
	methods string // space-separated
	serve   func(*exchange)
}

var (
	epMessages    = &endpoint{"/v1/messages", "POST", (*exchange).messages}
	epCountTokens = &endpoint{"/v1/messages/count_tokens", "POST", (*exchange).countTokens}
	epModels      = &endpoint{"/v1/models", "GET HEAD", (*exchange).models}
	epModel       = &endpoint{"/v1/models/{id}", "GET HEAD", (*exchange).models}
)

// route finds the endpoint of a path (without the /anthropic prefix).
func route(path string) *endpoint {
	switch path {
	case "/v1/messages":
		return epMessages
	case "/v1/messages/count_tokens":
		return epCountTokens
	case "/v1/models":
		return epModels
	}
	if id, ok := strings.CutPrefix(path, "/v1/models/"); ok && !strings.Contains(id, "/") && plainID(id, true) {
		return epModel
	}
	return resourceRoute(path)
}

// Handles reports whether the gateway serves the path: all of /v1 and /anthropic, and the probes of Claude Code.
func Handles(path string) bool {
	return path == "/v1" || strings.HasPrefix(path, "/v1/") || path == "/anthropic" || strings.HasPrefix(path, "/anthropic/") || path == "/api/hello"
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
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/anthropic"); ok && (rest == "" || rest[0] == '/') {
		path = rest
	}
	if (path == "" || path == "/" || path == "/api/hello") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		// Claude Code asks so whether anyone is there, without a key
		web.FromContext(r.Context()).Quiet = true
		w.WriteHeader(http.StatusOK)
		return
	}
	ep := route(path)
	if ep == nil {
		web.DropBody(w, r)
		WriteError(w, r, core.E(core.CodeNotFound, "No such endpoint: "+clip(r.URL.Path, 200)+". The gateway serves the Anthropic API under /v1."))
		return
	}
	if !strings.Contains(" "+ep.methods+" ", " "+r.Method+" ") {
		web.DropBody(w, r)
		w.Header().Set("Allow", strings.ReplaceAll(ep.methods, " ", ", "))
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "Method "+clip(r.Method, 20)+" is not allowed on "+ep.name+"; use "+strings.ReplaceAll(ep.methods, " ", " or ")+"."))
		return
	}
	x := &exchange{g: g, w: w, r: r, path: path, ep: ep, info: web.FromContext(r.Context())}
	x.rc = http.NewResponseController(w)
	if err := x.authenticate(); err != nil {
		web.DropBody(w, r)
		WriteError(w, r, core.AsError(err))
		return
	}
	defer x.end()
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
