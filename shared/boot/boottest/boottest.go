// Package boottest runs a whole gateway in memory for tests: real handlers, a clock that the test moves, a fake upstream.
// Whatever it answers or logs is searched for the secrets that the test told of.
package boottest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/boot"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/logging"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// Gateway is a running gateway.
type Gateway struct {
	*boot.App
	Store store.Store // survives Restart
	tb    testing.TB
	log   syncBuffer

	mu      sync.Mutex
	now     time.Time
	secrets []string
	seen    []exchange
}

type exchange struct {
	call, sent, answer string
	sets               bool // the call may show what it sets
}

// unclosed keeps a store in memory over restarts.
type unclosed struct{ store.Store }

func (unclosed) Close() error { return nil }

// Parse is config.Parse with a store in memory.
func Parse(env map[string]string) (*config.Config, error) {
	all := map[string]string{"STORE_URL": "memory:", "LOG_LEVEL": "debug"}
	for k, v := range env {
		all[k] = v
	}
	return config.Parse(all)
}

// Start starts a gateway with the environment over an empty store.
func Start(tb testing.TB, env map[string]string) *Gateway {
	tb.Helper()
	return StartOn(tb, memory.New(), env)
}

// StartOn starts a gateway over a store that the test keeps.
func StartOn(tb testing.TB, s store.Store, env map[string]string) *Gateway {
	tb.Helper()
	g := &Gateway{Store: s, tb: tb, now: time.Now().Truncate(time.Second)}
	tb.Cleanup(g.check)
	if err := g.Restart(env); err != nil {
		tb.Fatal(err)
	}
	return g
}

// Restart starts anew over the same store with another environment. After an error the old one goes on.
func (g *Gateway) Restart(env map[string]string) error {
	c, err := Parse(env)
	if err != nil {
		return err
	}
	app, err := boot.Open(context.Background(), boot.Options{Part: boot.Everything(), Config: c, Log: logging.New(&g.log, "debug", "json"), Access: &g.log, Version: "test", Now: g.Now,
		Openers: map[string]boot.Opener{"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
			return boot.Opened{Store: unclosed{g.Store}, Where: "memory"}, nil
		}}})
	if err != nil {
		return err
	}
	g.App = app
	return nil
}

// Now is the gateway's clock.
func (g *Gateway) Now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

// Advance moves the clock.
func (g *Gateway) Advance(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

// Secret tells of credentials that no answer and no log line may show, except the answer to the call that sets one.
func (g *Gateway) Secret(s ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.secrets = append(g.secrets, s...)
}

// Answer is what the gateway answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body, or nil.
func (a *Answer) JSON() map[string]any {
	var m map[string]any
	if json.Unmarshal(a.Body, &m) != nil {
		return nil
	}
	return m
}

// Text returns a string member of the body.
func (a *Answer) Text(name string) string {
	s, _ := a.JSON()[name].(string)
	return s
}

// List returns a member of the body that is a list of objects.
func (a *Answer) List(name string) []map[string]any {
	l, _ := a.JSON()[name].([]any)
	out := make([]map[string]any, len(l))
	for i := range l {
		out[i], _ = l[i].(map[string]any)
	}
	return out
}

// Request makes a request from this machine. headers are names and values in turn; Host sets the host.
func Request(method, target, body string, headers ...string) *http.Request {
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, rd)
	r.Host, r.RemoteAddr = "localhost:8000", "127.0.0.1:50000"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		switch headers[i] {
		case "Host":
			r.Host = headers[i+1]
		case "Peer":
			r.RemoteAddr = headers[i+1]
		default:
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return r
}

// Call sends a request made by Request.
func (g *Gateway) Call(method, target, body string, headers ...string) *Answer {
	g.tb.Helper()
	return g.Do(Request(method, target, body, headers...), body)
}

// Do sends a request; body is what it holds.
func (g *Gateway) Do(r *http.Request, body string) *Answer {
	w := httptest.NewRecorder()
	g.Handler.ServeHTTP(w, r)
	a := &Answer{Status: w.Code, Header: w.Result().Header, Body: w.Body.Bytes()}
	var head strings.Builder
	_ = w.Result().Header.Write(&head)
	g.mu.Lock()
	defer g.mu.Unlock()
	p := r.URL.Path
	g.seen = append(g.seen, exchange{call: r.Method + " " + p, sent: body, answer: head.String() + w.Body.String(),
		sets: p == "/admin/api/accounts" && (r.Method == http.MethodPut || r.Method == http.MethodPost) || p == "/admin/api/keys" && r.Method == http.MethodPost})
	return a
}

// Want is Call that fails the test unless the status is as wanted.
func (g *Gateway) Want(status int, method, target, body string, headers ...string) *Answer {
	g.tb.Helper()
	a := g.Call(method, target, body, headers...)
	if a.Status != status {
		g.tb.Fatalf("%s %s: status %d, want %d: %s", method, target, a.Status, status, a.Body)
	}
	return a
}

// Log returns what was logged so far.
func (g *Gateway) Log() string { return g.log.String() }

// check looks for secrets in all that was answered and logged.
func (g *Gateway) check() {
	logged := g.log.String()
	for _, s := range g.secrets {
		if strings.Contains(logged, s) {
			g.tb.Errorf("the log shows the secret %q", s)
		}
		hash := g.Box.Hash(s)
		for _, e := range g.seen {
			if strings.Contains(e.answer, hash) || strings.Contains(e.answer, "$2a$") {
				g.tb.Errorf("%s shows a hash: %s", e.call, e.answer)
			}
			if strings.Contains(e.answer, s) && !(e.sets && (strings.Contains(e.sent, s) || !strings.Contains(e.sent, "proxy_api_key"))) {
				g.tb.Errorf("%s shows the secret %q: %s", e.call, s, e.answer)
			}
		}
	}
}

// syncBuffer is a buffer for the log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
