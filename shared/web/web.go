// Package web is what every request passes through before a handler: request id, client address, recovery from panics,
// refusal while draining, and the access log. It writes no error body itself: the handler's dialect does.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
)

// Info is what is known of one request. Handlers fill the lower half for the access log; only the handler's own
// goroutine may touch it.
type Info struct {
	ID     string
	Start  time.Time
	Client netip.Addr // by TRUSTED_PROXIES; invalid when unknown
	Direct bool       // from a loopback peer, for a loopback Host, by no proxy: the published defaults work

	Account, Key, Model string
	KeyPrefix           string // as lists show it; empty: none
	ErrorCode           string
	Usage               *core.Settlement // what the gateway recorded; nil: nothing
	Wire                core.Dialect     // in which the node that Usage names was spoken to
	Quiet               bool             // keep it out of the access log: probes of load balancers
}

type infoKey struct{}

type prefixKey struct{}

// WithPrefix tells handlers what stands before their paths in the public address, "/prod" for the stage of a REST API: the
// host knows it, links and cookies need it.
func WithPrefix(ctx context.Context, prefix string) context.Context {
	return context.WithValue(ctx, prefixKey{}, prefix)
}

// Prefix returns what WithPrefix told, "" when it told nothing.
func Prefix(ctx context.Context) string {
	p, _ := ctx.Value(prefixKey{}).(string)
	return p
}

// FromContext returns the request's Info; a fresh one when the middleware did not run, so that callers need no check.
func FromContext(ctx context.Context) *Info {
	if i, ok := ctx.Value(infoKey{}).(*Info); ok {
		return i
	}
	return &Info{ID: NewID(), Start: time.Now()}
}

const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

// NewID makes a request id: "req_", 10 characters of the time in milliseconds, 16 random ones. Ids of later requests sort
// later, so that stores append where random ids would touch a page each.
func NewID() string {
	var b [30]byte
	copy(b[:], "req_")
	ms := uint64(time.Now().UnixMilli())
	for i := 13; i >= 4; i-- {
		b[i] = idAlphabet[ms&31]
		ms >>= 5
	}
	r := rand.Uint64()
	for i := 14; i < len(b); i++ {
		if i == 22 {
			r = rand.Uint64()
		}
		b[i] = idAlphabet[r&31]
		r >>= 5
	}
	return string(b[:])
}

// ErrorWriter writes an error in the dialect of the path.
type ErrorWriter func(w http.ResponseWriter, r *http.Request, e *core.Error)

// Options configures the middleware.
type Options struct {
	Log            *slog.Logger
	Access         *AccessLog // nil: none
	TrustedProxies []netip.Prefix
	Error          ErrorWriter
	Draining       *Drain // may be nil
}

// Wrap puts the middleware around next.
func Wrap(next http.Handler, o Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := &Info{ID: NewID(), Start: time.Now()}
		i.Client, i.Direct = client(r, o.TrustedProxies)
		r = r.WithContext(context.WithValue(r.Context(), infoKey{}, i))
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("Request-Id", i.ID)
		if o.Draining != nil {
			if !o.Draining.enter() && !alwaysServed(r.URL.Path) {
				rec.Header().Set("Connection", "close")
				o.Error(rec, r, &core.Error{Code: core.CodeUnavailable, RetryAfter: 5 * time.Second,
					Message: "The gateway is shutting down. Send the request again."})
				o.Draining.leave()
				return
			}
			defer o.Draining.leave()
		}
		if r.ContentLength != 0 {
			// a client that never ends its body must not hold the connection, whoever answers; handlers that take long
			// bodies set a deadline of their own
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
		}
		defer finish(rec, r, i, &o)
		next.ServeHTTP(rec, r)
	})
}

// bodyPatience is how long the body of a request may take to come.
const bodyPatience = 30 * time.Second

// refusePatience is how long an answer that refuses a request waits for the rest of its body.
const refusePatience = time.Second

// DropBody is for a handler that answers without reading the body: net/http would wait for the rest of it first.
func DropBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusePatience))
	}
}

// alwaysServed names the probes that must tell of draining rather than be refused for it.
func alwaysServed(path string) bool {
	return path == "/livez" || path == "/readyz" || path == "/health"
}

// finish recovers, then logs. A panic after the header went out aborts the connection, so that a client never takes half
// an answer for a whole one.
func finish(rec *recorder, r *http.Request, i *Info, o *Options) {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		i.ErrorCode = "panic"
		o.Log.Error("panic", "request_id", i.ID, "path", LoggedPath(r.URL.Path), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if rec.status == 0 {
			o.Error(rec, r, core.AsError(fmt.Errorf("panic: %v", p)))
			p = nil
		} else {
			p = http.ErrAbortHandler
		}
	}
	if o.Access != nil && !i.Quiet {
		o.Access.write(rec, r, i)
	}
	if p != nil {
		panic(p)
	}
}

// recorder notes status and size. Unwrap lets http.ResponseController reach the server's own writer.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(code int) {
	if code >= 200 && r.status == 0 {
		r.status = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// client finds the client's address: the peer, or, when the peer is a trusted proxy, the right-most address of
// X-Forwarded-For that is not one. direct is the rule for published default credentials (DESIGN 9).
func client(r *http.Request, trusted []netip.Prefix) (addr netip.Addr, direct bool) {
	peer := parseAddr(r.RemoteAddr)
	h := r.Header
	direct = peer.IsLoopback() && loopbackHost(r.Host) &&
		len(h["Forwarded"]) == 0 && len(h["X-Forwarded-For"]) == 0 && len(h["Via"]) == 0
	addr = peer
	if len(trusted) == 0 {
		return addr, direct
	}
	hops := strings.Split(strings.Join(h["X-Forwarded-For"], ","), ",")
	for n := len(hops) - 1; n >= 0 && contains(trusted, addr); n-- {
		hop := parseAddr(strings.TrimSpace(hops[n]))
		if !hop.IsValid() {
			break
		}
		addr = hop
	}
	return addr, direct
}

func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Drain counts requests in flight and, once started, refuses new ones. The zero value is ready.
type Drain struct {
	mu      sync.Mutex
	n       int
	started atomic.Bool
	idle    chan struct{}
	begun   chan struct{}
}

func (d *Drain) enter() bool {
	d.mu.Lock()
	d.n++
	d.mu.Unlock()
	return !d.started.Load()
}

func (d *Drain) leave() {
	d.mu.Lock()
	d.n--
	if d.n == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
	d.mu.Unlock()
}

// Started reports whether the server is shutting down.
func (d *Drain) Started() bool { return d.started.Load() }

// Begun returns a channel that is closed when the server begins to shut down: for answers that last as long as somebody looks
// at them, which nobody should wait for.
func (d *Drain) Begun() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.beginning()
}

func (d *Drain) beginning() chan struct{} {
	if d.begun == nil {
		d.begun = make(chan struct{})
	}
	return d.begun
}

// Start refuses new requests and returns a channel that is closed when none is in flight.
func (d *Drain) Start() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.started.Swap(true) {
		close(d.beginning())
	}
	if d.idle != nil { // started before
		return d.idle
	}
	c := make(chan struct{})
	if d.n == 0 {
		close(c)
	} else {
		d.idle = c
	}
	return c
}
