package boot_test

import (
	"strings"
	"testing"
	"time"

	"sluice/shared/boot"
	"sluice/shared/store/memory"
	"sluice/shared/trace/tracetest"
	"sluice/shared/upstream/upstreamtest"
)

// TestFunctionTraces: on Lambda nothing runs after the handler, so its spans are out when it returns; the batch's own delay is
// never reached. A collector that hangs costs one request two seconds, and the next ones none.
func TestFunctionTraces(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	env := []string{"UPSTREAM_BASE_URL", up.URL, "UPSTREAM_API_KEY", "k-12345678901234567890", "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "OTEL_BSP_SCHEDULE_DELAY", "3600000"}
	ask := func(f *boot.Function) time.Duration {
		t.Helper()
		began := time.Now()
		if w := serve(f, "POST", "/v1/messages", question, "x-api-key", "alpha-proxy-key-123"); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return time.Since(began)
	}
	col := tracetest.New(t)
	f, _ := function(boot.Proxy(), &place{store: memory.New()}, append(env, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL)...)
	for n := 1; n <= 2; n++ {
		ask(f)
		if spans := tracetest.Named(col.Spans(), "POST /v1/messages"); len(spans) != n {
			t.Errorf("%d traces after %d requests", len(spans), n)
		}
	}
	serve(f, "GET", "/readyz", "")
	if got := len(col.Posts()); got != 2 {
		t.Errorf("%d posts: one was made for a request that is not traced", got)
	}

	stuck := tracetest.New(t)
	defer stuck.Hang()()
	f, out := function(boot.Proxy(), &place{store: memory.New()}, append(env, "OTEL_EXPORTER_OTLP_ENDPOINT", stuck.URL)...)
	if took := ask(f); took < 2*time.Second {
		t.Errorf("the first took %v: the collector was not waited for", took)
	}
	if ask(f); len(stuck.Posts()) != 1 {
		t.Errorf("%d posts: the second request waited for the collector, too", len(stuck.Posts()))
	}
	if !strings.Contains(out.String(), "traces not exported") {
		t.Errorf("the log does not tell:\n%s", out)
	}

	idle := tracetest.New(t)
	f, _ = function(boot.Admin(), &place{store: memory.New()}, append(env, "OTEL_EXPORTER_OTLP_ENDPOINT", idle.URL, "ADMIN_API_KEY", "my-secure-admin-key")...)
	serve(f, "GET", "/admin/api/keys", "", "x-admin-key", "my-secure-admin-key")
	if len(idle.Posts()) != 0 {
		t.Error("the admin function traces")
	}
}

// TestTraceSettings: a function with a protocol that it does not have says so and does not serve.
func TestTraceSettings(t *testing.T) {
	f, out := function(boot.Proxy(), &place{store: memory.New()}, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	f.Start(t.Context())
	if w := serve(f, "GET", "/v1/models", ""); w.Code != 503 || !strings.Contains(out.String(), "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("%d\n%s", w.Code, out)
	}
}
