package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
)

// Traces are the settings of traces, by the names that OpenTelemetry's specification gives them (OTEL_*). They are off unless
// an endpoint is set or an exporter is named.
type Traces struct {
	Exporter  string // otlp or console; empty: off
	Endpoint  string // address that traces are posted to
	Headers   map[string]core.Secret
	JSON      bool // OTLP as JSON; else as protobuf
	Gzip      bool
	Timeout   time.Duration // of one export, its repeats included
	Service   string
	Resource  map[string]string // what else the resource says
	Sampler   string            // always_on, always_off, traceidratio, or one of them as parentbased_*
	Ratio     float64           // of the traceidratio samplers, 0 to 1
	Propagate bool              // W3C trace context is read and sent
	Delay     time.Duration     // between two exports
	Patience  time.Duration     // of the batch for one export
	Queue     int               // spans that wait at most; more are lost
	Batch     int               // spans of one export at most
}

const (
	defaultCollector = "http://localhost:4318"
	tracesPath       = "/v1/traces"
	maxPairs         = 64 // of headers, of resource attributes
)

// parseTraces reads the OTEL_* names that concern traces. What cannot be done is a problem, not a guess: an operator who set
// grpc must not wonder where the traces went.
func parseTraces(set map[string]string) (t Traces, problems, warnings []string) {
	p := otel{set: set}
	t.Exporter = p.exporter()
	if t.Exporter == "" {
		return Traces{}, p.problems, nil
	}
	t.Service, t.Resource = p.resource()
	t.Sampler = p.choice("OTEL_TRACES_SAMPLER", "always_on", "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")
	t.Ratio = p.ratio("OTEL_TRACES_SAMPLER_ARG", t.Sampler)
	t.Propagate = p.propagates()
	t.Queue = p.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1, 1<<20)
	t.Batch = min(p.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, 1<<16), t.Queue)
	t.Delay = p.millis("OTEL_BSP_SCHEDULE_DELAY", 5000)
	t.Patience = p.millis("OTEL_BSP_EXPORT_TIMEOUT", 30000)
	if t.Exporter == "otlp" {
		t.Endpoint = p.endpoint()
		t.Headers = p.headers()
		_, v := p.either("PROTOCOL")
		switch v {
		case "", "http/protobuf":
		case "http/json":
			t.JSON = true
		default:
			p.badEither("PROTOCOL", "%q is neither http/protobuf nor http/json; for grpc put a collector in between, or use its port for http (4318)", v)
		}
		switch _, v := p.either("COMPRESSION"); v {
		case "", "none":
		case "gzip":
			t.Gzip = true
		default:
			p.badEither("COMPRESSION", "%q is neither gzip nor none", v)
		}
		name, _ := p.either("TIMEOUT")
		t.Timeout = p.millis(name, 10000)
		for _, what := range []string{"CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"} {
			if name, v := p.either(what); v != "" {
				warnings = append(warnings, name+" is ignored: the collector's certificate must be one that the system trusts")
			}
		}
	}
	return t, p.problems, warnings
}

// otel reads variables and collects what is wrong with them.
type otel struct {
	set      map[string]string
	problems []string
}

func (p *otel) bad(name, format string, args ...any) {
	p.problems = append(p.problems, name+": "+fmt.Sprintf(format, args...))
}

// either returns the variable of an exporter's setting and its value: the one for traces alone beats the one for all signals.
func (p *otel) either(what string) (name, value string) {
	name = "OTEL_EXPORTER_OTLP_TRACES_" + what
	if v := p.set[name]; v != "" {
		return name, v
	}
	name = "OTEL_EXPORTER_OTLP_" + what
	return name, p.set[name]
}

func (p *otel) badEither(what, format string, args ...any) {
	name, _ := p.either(what)
	p.bad(name, format, args...)
}

// exporter is which one is on. Endpoint alone turns traces on, as OTEL_TRACES_EXPORTER's default is otlp.
func (p *otel) exporter() string {
	if strings.EqualFold(p.set["OTEL_SDK_DISABLED"], "true") {
		return ""
	}
	switch v := p.set["OTEL_TRACES_EXPORTER"]; v {
	case "none":
		return ""
	case "otlp", "console":
		return v
	case "":
		if _, v := p.either("ENDPOINT"); v != "" {
			return "otlp"
		}
		return ""
	default:
		p.bad("OTEL_TRACES_EXPORTER", "%q is none of otlp, console, none", v)
		return ""
	}
}

func (p *otel) choice(name, def string, all ...string) string {
	v := p.set[name]
	if v == "" {
		return def
	}
	if !slices.Contains(all, v) {
		p.bad(name, "%q is none of %s", v, strings.Join(all, ", "))
	}
	return v
}

func (p *otel) ratio(name, sampler string) float64 {
	v := p.set[name]
	if v == "" || !strings.HasSuffix(sampler, "traceidratio") {
		return 1
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0 && f <= 1) { // and no NaN
		p.bad(name, "%q is no number between 0 and 1 such as 0.01", v)
	}
	return f
}

// propagates reads OTEL_PROPAGATORS. Baggage passes through as any header does, so naming it changes nothing.
func (p *otel) propagates() bool {
	v, on := p.set["OTEL_PROPAGATORS"], false
	if v == "" {
		return true
	}
	for one := range strings.SplitSeq(v, ",") {
		switch strings.TrimSpace(one) {
		case "tracecontext":
			on = true
		case "baggage", "none", "":
		default:
			p.bad("OTEL_PROPAGATORS", "%q is none of tracecontext, baggage, none", strings.TrimSpace(one))
		}
	}
	return on
}

func (p *otel) number(name string, def, lo, hi int) int {
	v := p.set[name]
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		p.bad(name, "%q is no whole number between %d and %d", v, lo, hi)
	}
	return n
}

// millis reads a time in milliseconds, up to an hour.
func (p *otel) millis(name string, def int) time.Duration {
	return time.Duration(p.number(name, def, 1, 3_600_000)) * time.Millisecond
}

// endpoint is where traces go: OTEL_EXPORTER_OTLP_ENDPOINT is a base, the one for traces is taken as it stands.
func (p *otel) endpoint() string {
	name, v := p.either("ENDPOINT")
	if v == "" {
		return defaultCollector + tracesPath
	}
	if err := CheckURL(v); err != nil {
		p.bad(name, "%s", strings.Replace(err.Error(), "https://api.anthropic.com", defaultCollector, 1))
		return ""
	}
	if strings.Contains(name, "_TRACES_") {
		return v
	}
	return strings.TrimRight(v, "/") + tracesPath
}

// pairs reads "a=b,c=d" with percent-encoded values. ok is false for anything else: the value may be a secret and is not told.
func pairs(v string) (out map[string]string, ok bool) {
	out = map[string]string{}
	for pair := range strings.SplitSeq(v, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		k, val, found := strings.Cut(pair, "=")
		k = strings.TrimSpace(k)
		val, err := url.PathUnescape(strings.TrimSpace(val))
		if !found || k == "" || err != nil || len(out) == maxPairs {
			return nil, false
		}
		out[k] = val
	}
	return out, true
}

func (p *otel) headers() map[string]core.Secret {
	name, v := p.either("HEADERS")
	all, ok := pairs(v)
	out := make(map[string]core.Secret, len(all))
	for k, val := range all {
		if !token(k) || strings.ContainsAny(val, "\r\n\x00") {
			ok = false
		}
		out[k] = core.NewSecret(val)
	}
	if !ok {
		p.bad(name, "is no list such as x-api-key=abc,x-team=infra (values percent-encoded, at most %d)", maxPairs)
		return nil
	}
	return out
}

// token reports whether s can be the name of a header.
func token(s string) bool {
	for _, r := range s {
		if r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) {
			return false
		}
	}
	return s != ""
}

// resource is what describes the process. OTEL_SERVICE_NAME beats service.name among the attributes.
func (p *otel) resource() (service string, attrs map[string]string) {
	attrs, ok := pairs(p.set["OTEL_RESOURCE_ATTRIBUTES"])
	if !ok {
		p.bad("OTEL_RESOURCE_ATTRIBUTES", "is no list such as deployment.environment.name=prod,team=infra (values percent-encoded, at most %d)", maxPairs)
	}
	service = p.set["OTEL_SERVICE_NAME"]
	if service == "" {
		service = attrs["service.name"]
	}
	if service == "" {
		service = "sluice"
	}
	delete(attrs, "service.name")
	return service, attrs
}

// traces fills Traces and returns what is wrong with them.
func (c *Config) traces(set map[string]string) []string {
	t, problems, warnings := parseTraces(set)
	c.Traces = t
	c.Warnings = append(c.Warnings, warnings...)
	return problems
}
