package boot_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"sluice/shared/boot"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/metrics"
	"sluice/shared/store/measure"
	"sluice/shared/store/memory"
	"sluice/shared/trace/tracetest"
	"sluice/shared/upstream/upstreamtest"
)

// TestWatchingTakesNoTrips: metrics, the access log and traces, all on, ask the store for nothing: a request costs an admission
// and a settlement, with them and without.
func TestWatchingTakesNoTrips(t *testing.T) {
	const requests = 20
	for _, watched := range []bool{false, true} {
		up, col := upstreamtest.NewAnthropic(t), tracetest.New(t)
		env := map[string]string{"STORE_URL": "memory:", "UPSTREAM_ALLOW_PRIVATE": "true", "UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "k-12345678901234567890",
			"DEFAULT_PROXY_API_KEY": "alpha-proxy-key-123", "ACCESS_LOG": "false"}
		counters := metrics.New(metrics.Options{Version: "test"})
		o := boot.Options{Part: boot.Everything(), Log: slog.New(slog.DiscardHandler), Version: "test"}
		if watched {
			maps.Copy(env, map[string]string{"ACCESS_LOG": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": col.URL})
			o.Metrics, o.Scrape, o.Trace, o.Access = counters, counters.Handler(), boot.Tracing, io.Discard
		}
		var err error
		if o.Config, err = config.Parse(env); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		trips := map[string]int{}
		o.Openers = map[string]boot.Opener{"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
			return boot.Opened{Where: "memory", Store: measure.New(memory.New(), func(c measure.Call) {
				mu.Lock()
				defer mu.Unlock()
				trips[c.Verb]++
			})}, nil
		}}
		app, err := boot.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ask := func() {
			t.Helper()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/messages", strings.NewReader(question))
			r.Header.Set("X-Api-Key", "alpha-proxy-key-123")
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Anthropic-Version", "2023-06-01")
			w := httptest.NewRecorder()
			if app.Handler.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		ask() // reads keys, nodes and prices
		mu.Lock()
		clear(trips)
		mu.Unlock()
		for range requests {
			ask()
		}
		mu.Lock()
		if want := map[string]int{"admit": requests, "settle": requests}; !maps.Equal(trips, want) {
			t.Errorf("watched %v: %v, want %v", watched, trips, want)
		}
		mu.Unlock()
		if err := app.Close(); err != nil {
			t.Error(err)
		}
		if n := len(tracetest.Named(col.Spans(), "POST /v1/messages")); watched != (n == requests+1) {
			t.Errorf("watched %v: %d traces", watched, n)
		}
	}
}
