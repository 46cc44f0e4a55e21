package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/config"
)

// TestTracesOnAndOff: an endpoint or an exporter turns traces on, nothing else does.
func TestTracesOnAndOff(t *testing.T) {
	for _, c := range []struct {
		why  string
		env  []string
		want string // exporter and endpoint
	}{
		{"nothing set", nil, " "},
		{"an endpoint", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, "otlp http://c:4318/v1/traces"},
		{"an endpoint with a path", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/"}, "otlp https://c/otlp/v1/traces"},
		{"one for traces, taken as it stands", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d/x"}, "otlp http://d/x"},
		{"an exporter without an endpoint", []string{"OTEL_TRACES_EXPORTER", "otlp"}, "otlp http://localhost:4318/v1/traces"},
		{"the console", []string{"OTEL_TRACES_EXPORTER", "console", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, "console "},
		{"none", []string{"OTEL_TRACES_EXPORTER", "none", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, " "},
		{"disabled", []string{"OTEL_SDK_DISABLED", "true", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, " "},
		{"off, so what else is wrong does not matter", []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_TRACES_SAMPLER", "x"}, " "},
	} {
		got, err := config.Parse(pairs(c.env))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if s := got.Traces.Exporter + " " + got.Traces.Endpoint; s != c.want || len(got.Warnings) != 0 {
			t.Errorf("%s: %q, want %q; warnings %q", c.why, s, c.want, got.Warnings)
		}
	}
}

func pairs(env []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(env); i += 2 {
		m[env[i]] = env[i+1]
	}
	return m
}

// TestTracesRules: the values of every variable, as the specification has them.
func TestTracesRules(t *testing.T) {
	for _, c := range []struct {
		name, value string
		ok          bool
		why         string
	}{
		{"OTEL_TRACES_EXPORTER", "zipkin", false, "there is no such exporter here"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", false, "no URL"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://u:hunter2@c/", false, "a password in an address, which logs would show"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", true, ""}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", true, ""}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", false, "not linked"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", false, "not linked"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", true, ""}, {"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", false, "unknown"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=hunter2%20x,", true, ""}, {"OTEL_EXPORTER_OTLP_HEADERS", "hunter2", false, "no pair"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2", false, "no name of a header"}, {"OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0d%0ab:c", false, "a line break would be a second header"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=%zz", false, "no encoding"}, {"OTEL_EXPORTER_OTLP_HEADERS", strings.Repeat("a=1,", 1) + many(65), false, "too many"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "1", true, ""}, {"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", false, "milliseconds without a unit"}, {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", false, "no time at all"},
		{"OTEL_RESOURCE_ATTRIBUTES", "a=b", true, ""}, {"OTEL_RESOURCE_ATTRIBUTES", "ab", false, "no pair"},
		{"OTEL_TRACES_SAMPLER", "parentbased_traceidratio", true, ""}, {"OTEL_TRACES_SAMPLER", "jaeger_remote", false, "unknown"},
		{"OTEL_PROPAGATORS", "tracecontext,baggage", true, ""}, {"OTEL_PROPAGATORS", "none", true, ""}, {"OTEL_PROPAGATORS", "b3", false, "unknown"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "1", true, ""}, {"OTEL_BSP_MAX_QUEUE_SIZE", "0", false, "nothing could wait"}, {"OTEL_BSP_MAX_QUEUE_SIZE", "99999999", false, "memory"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1", false, "negative"}, {"OTEL_BSP_SCHEDULE_DELAY", "x", false, "no number"}, {"OTEL_BSP_EXPORT_TIMEOUT", "30000", true, ""},
		{"OTEL_LOG_LEVEL", "debug", true, "of no concern"}, {"OTEL_METRICS_EXPORTER", "prometheus", true, "of no concern"},
	} {
		env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
		env[c.name] = c.value
		got, err := config.Parse(env)
		if (err == nil) != c.ok {
			t.Errorf("%s=%.40q (%s): %v", c.name, c.value, c.why, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), c.name+": ") || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s=%.40q: not one line that names it and no secret: %v", c.name, c.value, err)
		}
		if err == nil && (len(got.Warnings) != 0 || strings.Contains(fmt.Sprintf("%+v %#v", got, got.Traces), "hunter2")) {
			t.Errorf("%s: warnings %q, or a secret prints", c.name, got.Warnings)
		}
	}
	for _, arg := range []struct {
		v  string
		ok bool
	}{{"0", true}, {"1", true}, {"0.01", true}, {"1.1", false}, {"-0.1", false}, {"NaN", false}, {"1%", false}} {
		env := map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": arg.v}
		if _, err := config.Parse(env); (err == nil) != arg.ok {
			t.Errorf("OTEL_TRACES_SAMPLER_ARG=%s: %v", arg.v, err)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d=v,", i)
	}
	return b.String()
}

func TestTracesDefaults(t *testing.T) {
	c, err := config.Parse(map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=abc", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer%20t",
		"OTEL_RESOURCE_ATTRIBUTES": "service.name=gate,team=infra", "OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	got := c.Traces
	if got.Service != "gate" || got.Resource["team"] != "infra" || len(got.Resource) != 1 || got.Sampler != "always_on" || got.Ratio != 1 || !got.Propagate || got.JSON || got.Gzip ||
		got.Timeout != 10*time.Second || got.Delay != 5*time.Second || got.Patience != 30*time.Second || got.Queue != 100 || got.Batch != 100 {
		t.Errorf("%+v", got)
	}
	if len(got.Headers) != 1 || got.Headers["authorization"].Reveal() != "Bearer t" {
		t.Error("the headers for traces do not replace those for all signals")
	}
	if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "OTEL_EXPORTER_OTLP_CERTIFICATE ") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// FuzzTraces: no value of a variable breaks the parser, and no secret is repeated.
func FuzzTraces(f *testing.F) {
	f.Add("a=b,c=%20", "0.5", "http://c:4318")
	f.Add("=,=", "NaN", "::")
	f.Fuzz(func(t *testing.T, list, number, address string) {
		_, err := config.Parse(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_HEADERS": list, "OTEL_RESOURCE_ATTRIBUTES": list, "OTEL_PROPAGATORS": list,
			"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": number, "OTEL_BSP_MAX_QUEUE_SIZE": number, "OTEL_TRACES_EXPORTER": "otlp"})
		if err != nil && !strings.HasPrefix(err.Error(), "OTEL_") {
			t.Errorf("%v", err)
		}
	})
}
