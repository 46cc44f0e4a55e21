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

// fake is what the fakes of all APIs have in common: the server, the script and
// the record of what was received.
type fake struct {
	// URL is the base URL without a path, http://127.0.0.1:port.
	URL string

	options
	api     api
	server  *http.Server
	served  chan struct{}
	closing chan struct{}
	close   sync.Once
	running sync.RWMutex // held for reading by every request being answered
	scratch sync.Pool

	ids         atomic.Uint64
	count       atomic.Int64
	short       Behaviour
	records     recorder
	script      script
	json        []string // header values shared by all answers; never changed
	eventStream []string
	noCache     []string
}

// api is what the APIs do each in their own way.
type api interface {
	// serve answers a request whose body has been read.
	serve(x *exchange)
	// maxBody is the limit of a body sent to the path, in bytes.
	maxBody(path string) int64
	// variant is the form in which the request wants a Behaviour.
	variant(x *exchange) variant
	// setLimits adds the rate limit headers of a success.
	setLimits(h http.Header)
	// render is what a step that differs for each request sends.
	render(x *exchange, p *plan, o *op, crlf bool) []byte
	// body is a whole answer.
	body(x *exchange, p *plan) []byte
	// fault answers with an error; s has the headers to set, nil: none.
	fault(x *exchange, s *spec, f *fault)
}

type options struct {
	key        string
	listener   net.Listener
	base       string
	recording  bool
	validating bool
	models     []string
	batchPolls int
	history    int      // most messages of AmazonQ's history
	inputLimit int      // bytes of AmazonQ's bodies; 0: none
	page       int      // most results of AmazonQ's and Bedrock's lists; 0: as asked
	regions    []string // of Bedrock, the one of its URL first
}

// Option changes a fake before it starts.
type Option func(*options)

// WithKey makes key the only valid credential, else the answer is 401. For
// [Anthropic] that is x-api-key or, without it, Authorization: Bearer, for
// [OpenAI] the bearer token or, without it, api-key, for [AmazonQ] the bearer
// token. Without this option any non-empty credential is valid.
func WithKey(key string) Option { return func(o *options) { o.key = key } }

// WithListener takes connections from l, which Close closes, instead of a free
// loopback port.
func WithListener(l net.Listener) Option { return func(o *options) { o.listener = l } }

// WithBase serves [OpenAI] under the given path instead of /v1, as Azure
// (/openai/v1) and other services do.
func WithBase(path string) Option { return func(o *options) { o.base = path } }

// WithoutRecording keeps no requests, for use under load: Requests stays
// empty, while Count and WaitAborted still work.
func WithoutRecording() Option { return func(o *options) { o.recording = false } }

// WithoutValidation answers every request that has a credential and a JSON
// object for a body, for use under load.
func WithoutValidation() Option { return func(o *options) { o.validating = false } }

// WithModels replaces the ids of GET /v1/models, newest first, or the models
// that [AmazonQ] knows, the default one first.
func WithModels(ids ...string) Option {
	return func(o *options) { o.models = append([]string(nil), ids...) }
}

// WithBatchPolls makes a message batch stay in_progress for its first n
// retrievals; by default the first one already finds it ended.
func WithBatchPolls(n int) Option { return func(o *options) { o.batchPolls = n } }

// start serves the API until Close.
func (f *fake) start(api api, models []string, opts []Option) error {
	f.api = api
	f.options = options{base: "/v1", recording: true, validating: true, models: models, history: 10_000}
	for _, opt := range opts {
		opt(&f.options)
	}
	f.short = shortReply()
	f.script.fallback = f.short
	f.served, f.closing = make(chan struct{}), make(chan struct{})
	if f.json == nil {
		f.json = []string{"application/json"}
	}
	if f.eventStream == nil {
		f.eventStream = []string{"text/event-stream; charset=utf-8"}
	}
	f.noCache = []string{"no-cache"}
	f.scratch.New = func() any { return new(scratch) }
	f.ids.Store(uint64(time.Now().UnixNano()))
	ln := f.listener
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("start fake upstream: %w", err)
		}
	}
	f.URL = "http://" + ln.Addr().String()
	f.server = &http.Server{
		Handler:  http.HandlerFunc(f.serveHTTP),
		ErrorLog: log.New(io.Discard, "", 0), // broken connections are its trade
	}
	go func() {
		defer close(f.served)
		_ = f.server.Serve(ln) // always ErrServerClosed or the end of the listener
	}()
	return nil
}

// Close stops listening, breaks off the answers under way, and returns when
// all of them have ended. More than one call is harmless.
func (f *fake) Close() {
	f.close.Do(func() {
		close(f.closing)
		_ = f.server.Close()
		<-f.served
		f.running.Lock()
		defer f.running.Unlock()
	})
}

// script decides which behaviour is next.
type script struct {
	mu       sync.Mutex
	queue    []Behaviour
	respond  func(Request) Behaviour
	fallback Behaviour
}

// Queue adds behaviours for the next valid requests for a reply, one each,
// in order of arrival. They come before Respond and Default.
func (f *fake) Queue(b ...Behaviour) {
	s := &f.script
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, b...)
}

// Queued tells how many queued behaviours are left.
func (f *fake) Queued() int {
	f.script.mu.Lock()
	defer f.script.mu.Unlock()
	return len(f.script.queue)
}

// Default sets the behaviour for requests that nothing else answers.
func (f *fake) Default(b Behaviour) {
	f.script.mu.Lock()
	defer f.script.mu.Unlock()
	f.script.fallback = b
}

// Respond sets a function that decides for each request not answered from the
// queue; nil removes it. It runs on the request's goroutine and must be safe
// for concurrent use.
func (f *fake) Respond(choose func(Request) Behaviour) {
	f.script.mu.Lock()
	defer f.script.mu.Unlock()
	f.script.respond = choose
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

// Reset forgets the requests received and the script: the fake is as if just
// started. Requests under way are answered as they were but no longer
// recorded.
func (f *fake) Reset() {
	f.script.mu.Lock()
	f.script.queue, f.script.respond, f.script.fallback = nil, nil, f.short
	f.script.mu.Unlock()
	f.count.Store(0)
	f.records.reset()
}

func (f *fake) nextID() uint64 { return f.ids.Add(1) }

func (f *fake) newID(prefix string) string {
	return string(appendID(nil, prefix, f.nextID()))
}
