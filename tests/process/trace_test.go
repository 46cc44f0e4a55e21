//go:build unix

package process

import (
	"strings"
	"testing"

	"sluice/shared/trace/tracetest"
	"sluice/shared/upstream/upstreamtest"
)

// TestTraces: the standard variables are enough, what was traced last is out before the process ends, and a protocol that is
// not there stops the start.
func TestTraces(t *testing.T) {
	up, col := upstreamtest.NewAnthropic(t), tracetest.New(t)
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "ADMIN_API_KEY": adminKey, "DEFAULT_PROXY_API_KEY": proxyKey,
		"OTEL_EXPORTER_OTLP_ENDPOINT": col.URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_SERVICE_NAME": "gate", "OTEL_BSP_SCHEDULE_DELAY": "3600000",
		"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
	s := start(t, t.TempDir(), env)
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	resp, _ := s.do("POST", "/v1/messages", question, "x-api-key", proxyKey, "traceparent", "00-"+parent+"-00f067aa0ba902b7-00")
	if resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	s.stop()
	spans := col.Await(4)
	if got, want := tracetest.Tree(spans), "POST /v1/messages\n  admission\n  chat claude-sonnet-4-5-20250929 [first_byte]\n  settlement\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, span := range spans {
		if span.Trace != parent || span.Resource["service.name"] != "gate" || span.Resource["deployment.environment.name"] != "test" || span.Resource["service.version"] == nil {
			t.Errorf("%s: trace %s, resource %v", span.Name, span.Trace, span.Resource)
		}
	}
	if sent := up.Last().Header.Get("Traceparent"); !strings.HasPrefix(sent, "00-"+parent+"-"+tracetest.Named(spans, "chat claude-sonnet-4-5-20250929")[0].ID) {
		t.Errorf("the upstream was sent %q", sent)
	}
	code, _, stderr := run(t, t.TempDir(), with(env, "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "LISTEN_ADDR", "127.0.0.1:0"))
	if code == 0 || !strings.Contains(stderr, "OTEL_EXPORTER_OTLP_PROTOCOL") || !strings.Contains(stderr, "http/protobuf") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
