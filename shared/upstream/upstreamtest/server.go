package upstreamtest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Anthropic is a running fake of the Anthropic API. All methods are safe for
// concurrent use.
type Anthropic struct {
	// URL is the base URL, http://127.0.0.1:port.
	URL string

	key        string
	addr       string
	recording  bool
	validating bool
	models     []string
	batchPolls int

	server  *http.Server
	served  chan struct{}
	closing chan struct{}
	close   sync.Once
	running sync.RWMutex // held for reading by every request being answered
	scratch sync.Pool

	ids      atomic.Uint64
	count    atomic.Int64
	short    Behaviour
	records  recorder
	script   script
	batches  batchStore
	files    fileStore
	orgID    []string // header values shared by all answers; never changed
	json     []string
	noCache  []string
	numbers  map[string][]string
	released time.Time

	eventStream []string
}

// Option changes a fake before it starts.
type Option func(*Anthropic)

// WithKey makes key the only valid credential: x-api-key or, without it,
// Authorization: Bearer must equal it, else the answer is 401. Without this
// option any non-empty credential is valid.
func WithKey(key string) Option { return func(a *Anthropic) { a.key = key } }

// WithAddr listens on addr instead of a free loopback port.
func WithAddr(addr string) Option { return func(a *Anthropic) { a.addr = addr } }

// WithoutRecording keeps no requests, for use under load: Requests stays
// empty, while Count and WaitAborted still work.
func WithoutRecording() Option { return func(a *Anthropic) { a.recording = false } }

// WithoutValidation answers every POST /v1/messages that has a credential and
// a JSON object for a body, for use under load.
func WithoutValidation() Option { return func(a *Anthropic) { a.validating = false } }

// WithModels replaces the ids of GET /v1/models, newest first.
func WithModels(ids ...string) Option {
	return func(a *Anthropic) { a.models = append([]string(nil), ids...) }
}

// WithBatchPolls makes a message batch stay in_progress for its first n
// retrievals; by default the first one already finds it ended.
func WithBatchPolls(n int) Option { return func(a *Anthropic) { a.batchPolls = n } }

// StartAnthropic starts a fake that serves until Close. It fails only if it
// cannot listen.
func StartAnthropic(opts ...Option) (*Anthropic, error) {
	a := &Anthropic{
		addr:        "127.0.0.1:0",
		recording:   true,
		validating:  true,
		models:      defaultModels(),
		served:      make(chan struct{}),
		closing:     make(chan struct{}),
		short:       shortReply(),
		orgID:       []string{"5b1d7a5e-8f0c-4c57-9d2e-2f6a1c3e9b40"},
		json:        []string{"application/json"},
		eventStream: []string{"text/event-stream; charset=utf-8"},
		noCache:     []string{"no-cache"},
		numbers:     rateLimits(),
		released:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	for _, opt := range opts {
		opt(a)
	}
	a.scratch.New = func() any { return new(scratch) }
	a.ids.Store(uint64(time.Now().UnixNano()))
	a.script.fallback = a.short
	ln, err := net.Listen("tcp", a.addr)
	if err != nil {
		return nil, fmt.Errorf("start fake upstream: %w", err)
	}
	a.URL = "http://" + ln.Addr().String()
	a.server = &http.Server{
		Handler:  http.HandlerFunc(a.serve),
		ErrorLog: log.New(io.Discard, "", 0), // broken connections are its trade
	}
	go func() {
		defer close(a.served)
		_ = a.server.Serve(ln) // always ErrServerClosed or the end of the listener
	}()
	return a, nil
}

// Close stops listening, breaks off the answers under way, and returns when
// all of them have ended. More than one call is harmless.
func (a *Anthropic) Close() {
	a.close.Do(func() {
		close(a.closing)
		_ = a.server.Close()
		<-a.served
		a.running.Lock()
		defer a.running.Unlock()
	})
}

// script decides which behaviour is next.
type script struct {
	mu       sync.Mutex
	queue    []Behaviour
	respond  func(Request) Behaviour
	fallback Behaviour
}

// Queue adds behaviours for the next valid POST /v1/messages requests, one
// each, in order of arrival. They come before Respond and Default.
func (a *Anthropic) Queue(b ...Behaviour) {
	s := &a.script
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, b...)
}

// Queued tells how many queued behaviours are left.
func (a *Anthropic) Queued() int {
	a.script.mu.Lock()
	defer a.script.mu.Unlock()
	return len(a.script.queue)
}

// Default sets the behaviour for requests that nothing else answers.
func (a *Anthropic) Default(b Behaviour) {
	a.script.mu.Lock()
	defer a.script.mu.Unlock()
	a.script.fallback = b
}

// Respond sets a function that decides for each request not answered from the
// queue; nil removes it. It runs on the request's goroutine and must be safe
// for concurrent use.
func (a *Anthropic) Respond(choose func(Request) Behaviour) {
	a.script.mu.Lock()
	defer a.script.mu.Unlock()
	a.script.respond = choose
}

func (s *script) next(r Request) Behaviour {
	s.mu.Lock()
	if len(s.queue) > 0 {
		defer s.mu.Unlock()
		b := s.queue[0]
		s.queue = s.queue[1:]
		return b
	}
	respond, fallback := s.respond, s.fallback
	s.mu.Unlock()
	if respond != nil {
		return respond(r)
	}
	return fallback
}

// Reset forgets the requests received, the script, the batches and the files:
// the fake is as if just started. Requests under way are answered as they were
// but no longer recorded.
func (a *Anthropic) Reset() {
	a.script.mu.Lock()
	a.script.queue, a.script.respond, a.script.fallback = nil, nil, a.short
	a.script.mu.Unlock()
	a.count.Store(0)
	a.records.reset()
	a.batches.reset()
	a.files.reset()
}

func (a *Anthropic) nextID() uint64 { return a.ids.Add(1) }

func (a *Anthropic) newID(prefix string) string {
	return string(appendID(nil, prefix, a.nextID()))
}

// rateLimits are the rate limit headers that do not change.
func rateLimits() map[string][]string {
	m := map[string][]string{}
	for what, limit := range map[string][2]string{
		"Requests":      {"4000", "3999"},
		"Tokens":        {"2400000", "2399000"},
		"Input-Tokens":  {"2000000", "1999000"},
		"Output-Tokens": {"400000", "399000"},
	} {
		m["Anthropic-Ratelimit-"+what+"-Limit"] = []string{limit[0]}
		m["Anthropic-Ratelimit-"+what+"-Remaining"] = []string{limit[1]}
	}
	return m
}

// setLimits adds the rate limit headers of a success.
func (a *Anthropic) setLimits(h http.Header) {
	for name, value := range a.numbers {
		h[name] = value
	}
	reset := []string{time.Now().Add(time.Second).UTC().Format(time.RFC3339)}
	h["Anthropic-Ratelimit-Requests-Reset"] = reset
	h["Anthropic-Ratelimit-Tokens-Reset"] = reset
	h["Anthropic-Ratelimit-Input-Tokens-Reset"] = reset
	h["Anthropic-Ratelimit-Output-Tokens-Reset"] = reset
}
