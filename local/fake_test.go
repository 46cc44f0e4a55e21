package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"sluice/shared/store/sqlite"
)

// gatewayFake is the admin API of a running gateway: it holds the store's lock, and its control file is there.
type gatewayFake struct {
	t      *testing.T
	env    map[string]string
	mu     sync.Mutex
	calls  []string // method, path and body
	answer func(w http.ResponseWriter, path string, n int)
}

func newGatewayFake(t *testing.T, answer func(w http.ResponseWriter, path string, n int)) *gatewayFake {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.db")
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	g := &gatewayFake{t: t, env: map[string]string{"DATABASE_PATH": path}, answer: answer}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	ctl, err := writeControl(path, server.Listener.Addr(), controlToken())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ctl.remove)
	return g
}

func (g *gatewayFake) control() *control {
	g.t.Helper()
	c, err := readControl(parse(g.t, g.env))
	if err != nil || c == nil {
		g.t.Fatalf("no control file: %v", err)
	}
	return c
}

// ServeHTTP implements http.Handler.
func (g *gatewayFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		g.t.Error(err)
	}
	if r.Header.Get("X-Admin-Key") != controlToken().Reveal() {
		g.t.Errorf("%s %s came with the wrong credential", r.Method, r.URL.Path)
	}
	g.mu.Lock()
	g.calls = append(g.calls, r.Method+" "+r.URL.Path+" "+string(body))
	n := len(g.calls)
	g.mu.Unlock()
	g.answer(w, r.URL.Path, n)
}

func (g *gatewayFake) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

func reply(t *testing.T, w http.ResponseWriter, status int, v any) {
	t.Helper()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}
