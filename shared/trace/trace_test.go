package trace_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/trace"
	"sluice/shared/trace/tracetest"
)

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirSpan   = "00f067aa0ba902b7"
	theirParent = "00-" + theirTrace + "-" + theirSpan + "-01"
)

// open makes a tracer by variables, as a process does.
func open(t testing.TB, log *slog.Logger, env ...string) *trace.Tracer {
	t.Helper()
	vars := map[string]string{}
	for i := 0; i < len(env); i += 2 {
		vars[env[i]] = env[i+1]
	}
	c, err := config.Parse(vars)
	if err != nil {
		t.Fatal(err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	tr := trace.New(trace.Options{Settings: c.Traces, Version: "1.2.3", Log: log})
	if tr == nil {
		t.Fatal("no tracer")
	}
	return tr
}

func traced() gateway.Traced {
	return gateway.Traced{ID: "req_1", Method: "POST", Route: "/v1/messages", Account: "acme", Start: time.Now()}
}

// tell tells of one request with one attempt.
func tell(tr *trace.Tracer, h http.Header) bool {
	q := tr.Begin(h, traced())
	if q == nil {
		return false
	}
	q.Admission().End("")
	a := q.Attempt(&core.Node{Name: "first", Kind: core.KindAnthropic, BaseURL: "https://api.example"}, "claude-x", 1)
	a.End("", "")
	q.End(&core.Settlement{Status: 200}, core.KindAnthropic)
	return true
}

// TestEncodings: protobuf and JSON, plain and compressed, say the same.
func TestEncodings(t *testing.T) {
	for _, c := range []struct{ why, protocol, compression, contentType string }{
		{"the default", "", "", "application/x-protobuf"},
		{"protobuf", "http/protobuf", "gzip", "application/x-protobuf"},
		{"JSON", "http/json", "none", "application/json"},
		{"JSON, compressed", "http/json", "gzip", "application/json"},
	} {
		t.Run(c.why, func(t *testing.T) {
			col := tracetest.New(t)
			tr := open(t, nil, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL+"/base/", "OTEL_EXPORTER_OTLP_PROTOCOL", c.protocol, "OTEL_EXPORTER_OTLP_COMPRESSION", c.compression,
				"OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=s%20ecret,x-team=infra", "OTEL_SERVICE_NAME", "gate", "OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%2Cb")
			q := tr.Begin(http.Header{"Traceparent": {theirParent}, "Tracestate": {"a=1", "b=2"}}, traced())
			q.Admission().End("")
			q.Translation(core.DialectAnthropic, core.DialectOpenAIChat).End("invalid_request")
			a := q.Attempt(&core.Node{Name: "first\xff", Kind: core.KindOpenAI, BaseURL: "http://10.0.0.1/v1"}, "gpt-x", 1)
			a.Answered(&url.URL{Scheme: "http", Host: "10.0.0.2:8080"}, 529)
			a.End("overloaded", "status 529")
			a = q.Attempt(&core.Node{Name: "second", Kind: core.KindAmazonQ}, strings.Repeat("m", 1000), 2)
			a.FirstByte()
			a.End("", "")
			q.Settlement().End("unavailable")
			q.End(&core.Settlement{Status: 200, ErrorCode: "stream_cut", Stream: true, Model: "asked", ServedModel: "served", NodeName: "second", Dialect: core.DialectAnthropic, Attempts: 2,
				Tokens: core.Tokens{Input: 1, CacheRead: 10, CacheWrite5m: 100, CacheWrite1h: 1000, Output: 7}, CostUSD: 1_500_000, FirstByteMS: 250}, core.KindAmazonQ)
			tr.Close(t.Context())

			spans := col.Await(6)
			want := "POST /v1/messages (stream_cut)\n  admission\n  translation (invalid_request)\n  chat gpt-x (overloaded)\n  chat " + strings.Repeat("m", 128) + " [first_byte]\n  settlement (unavailable)\n"
			if got := tracetest.Tree(spans); got != want {
				t.Errorf("got\n%s", got)
			}
			root := tracetest.Named(spans, "POST /v1/messages")[0]
			if root.Trace != theirTrace || root.Parent != theirSpan || !root.Remote || root.State != "a=1,b=2" || root.Kind != tracetest.Server || root.Status != tracetest.Failed {
				t.Errorf("%+v", root)
			}
			same(t, root.Attrs, map[string]any{"http.request.method": "POST", "http.route": "/v1/messages", "http.response.status_code": int64(200), "error.type": "stream_cut",
				"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.amazonq", "gen_ai.request.model": "asked", "gen_ai.response.model": "served", "gen_ai.request.stream": true,
				"gen_ai.usage.input_tokens": int64(1111), "gen_ai.usage.output_tokens": int64(7), "gen_ai.usage.cache_read.input_tokens": int64(10), "gen_ai.usage.cache_creation.input_tokens": int64(1100),
				"gen_ai.response.time_to_first_chunk": 0.25, "sluice.request_id": "req_1", "sluice.account": "acme", "sluice.node": "second", "sluice.attempts": int64(2), "sluice.dialect": "anthropic", "sluice.cost_usd": 1.5})
			first := tracetest.Named(spans, "chat gpt-x")[0]
			same(t, first.Attrs, map[string]any{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-x", "sluice.node": "first\uFFFD", "sluice.attempt": int64(1),
				"server.address": "10.0.0.2", "server.port": int64(8080), "http.response.status_code": int64(529), "error.type": "overloaded"})
			if first.Kind != tracetest.Client || first.Status != tracetest.Failed || first.Message != "status 529" || first.Remote {
				t.Errorf("%+v", first)
			}
			same(t, tracetest.Named(spans, "translation")[0].Attrs, map[string]any{"sluice.dialect.from": "anthropic", "sluice.dialect.to": "openai-chat", "error.type": "invalid_request"})
			if root.Resource["service.name"] != "gate" || root.Resource["team"] != "a,b" || root.Resource["service.version"] != "1.2.3" || root.Resource["telemetry.sdk.language"] != "go" || root.Scope != "sluice" {
				t.Errorf("resource %v, scope %s", root.Resource, root.Scope)
			}
			post := col.Posts()[0]
			if post.URL.Path != "/base/v1/traces" || post.Header.Get("Content-Type") != c.contentType || post.Header.Get("X-Api-Key") != "s ecret" || post.Header.Get("X-Team") != "infra" {
				t.Errorf("%s %v", post.URL, post.Header)
			}
		})
	}
}

func same(t *testing.T, got, want map[string]any) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, not %v", k, got[k], v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s=%v was not expected", k, v)
		}
	}
}

// TestParent: what a client sends for context, and what of it is taken.
func TestParent(t *testing.T) {
	for _, c := range []struct {
		why    string
		header http.Header
		parent bool
		state  string
	}{
		{"none", http.Header{}, false, ""},
		{"one", http.Header{"Traceparent": {theirParent}}, true, ""},
		{"not sampled there: the flag is not the client's to set", http.Header{"Traceparent": {theirParent[:53] + "00"}}, true, ""},
		{"a later version", http.Header{"Traceparent": {"01" + theirParent[2:] + "-more"}}, true, ""},
		{"the version that is none", http.Header{"Traceparent": {"ff" + theirParent[2:]}}, false, ""},
		{"two", http.Header{"Traceparent": {theirParent, theirParent}}, false, ""},
		{"capitals", http.Header{"Traceparent": {strings.ToUpper(theirParent)}}, false, ""},
		{"zeroes", http.Header{"Traceparent": {"00-00000000000000000000000000000000-" + theirSpan + "-01"}}, false, ""},
		{"rubbish", http.Header{"Traceparent": {"\x00 ключ"}}, false, ""},
		{"endless", http.Header{"Traceparent": {"01" + theirParent[2:] + "-" + strings.Repeat("x", 1<<16)}}, false, ""},
		{"state", http.Header{"Traceparent": {theirParent}, "Tracestate": {"k=v"}}, true, "k=v"},
		{"state of nothing", http.Header{"Tracestate": {"k=v"}}, false, ""},
		{"broken state", http.Header{"Traceparent": {theirParent}, "Tracestate": {"=;"}}, true, ""},
		{"endless state", http.Header{"Traceparent": {theirParent}, "Tracestate": {"k=" + strings.Repeat("v", 250), "l=" + strings.Repeat("v", 250), "m=" + strings.Repeat("v", 250)}}, true, ""},
	} {
		for _, propagators := range []string{"", "none"} {
			col := tracetest.New(t)
			tr := open(t, nil, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL, "OTEL_PROPAGATORS", propagators)
			q := tr.Begin(c.header, traced())
			if q == nil {
				t.Fatalf("%s: not traced", c.why)
			}
			a := q.Attempt(&core.Node{}, "m", 1)
			out := http.Header{"Traceparent": {"the client's"}, "Tracestate": {"the client's"}, "Baggage": {"k=v"}}
			a.Inject(out)
			a.End("", "")
			q.End(&core.Settlement{Status: 200}, "")
			tr.Close(t.Context())
			spans := col.Await(2)
			root, child := tracetest.Named(spans, "POST /v1/messages")[0], tracetest.Named(spans, "chat m")[0]
			if propagators == "none" {
				if root.Parent != "" || out.Get("Traceparent") != "the client's" || out.Get("Tracestate") != "the client's" {
					t.Errorf("%s, not propagated: parent %q, sent %v", c.why, root.Parent, out)
				}
				continue
			}
			if (root.Parent == theirSpan && root.Trace == theirTrace) != c.parent || !c.parent && root.Parent != "" || root.State != c.state {
				t.Errorf("%s: %+v", c.why, root)
			}
			if want := "00-" + root.Trace + "-" + child.ID; !strings.HasPrefix(out.Get("Traceparent"), want) || !strings.HasSuffix(out.Get("Traceparent"), "1") && !strings.HasSuffix(out.Get("Traceparent"), "3") ||
				out.Get("Tracestate") != c.state || len(out["Tracestate"]) > 1 || out.Get("Baggage") != "k=v" {
				t.Errorf("%s: sent %v, want %s", c.why, out, want)
			}
		}
	}
}

// TestSampling: whose word counts. A tenant must not be able to have itself traced, or not traced, by what it sends.
func TestSampling(t *testing.T) {
	wish := func(flag string) http.Header {
		return http.Header{"Traceparent": {"00-" + theirTrace + "-" + theirSpan + "-" + flag}}
	}
	forced := http.Header{"Traceparent": {"00-00000000000000010000000000000000-" + theirSpan + "-01"}} // an id that any ratio takes
	const all = 4000
	for _, c := range []struct {
		why, sampler, arg string
		header            http.Header
		share             float64
	}{
		{"default: all", "", "", nil, 1},
		{"default: a client cannot hide", "", "", wish("00"), 1},
		{"none", "always_off", "", nil, 0},
		{"none: a client cannot insist", "always_off", "", wish("01"), 0},
		{"a share", "traceidratio", "0.1", nil, 0.1},
		{"a share: a client cannot insist", "traceidratio", "0.1", wish("01"), 0.1},
		{"nor by its trace's id", "traceidratio", "0.1", forced, 0.1},
		{"a share without a number is all", "traceidratio", "", nil, 1},
		{"the parent decides: yes", "parentbased_traceidratio", "0", wish("01"), 1},
		{"the parent decides: no", "parentbased_always_on", "", wish("00"), 0},
		{"no parent that could", "parentbased_traceidratio", "0.1", nil, 0.1},
	} {
		tr := open(t, nil, "OTEL_TRACES_EXPORTER", "console", "OTEL_TRACES_SAMPLER", c.sampler, "OTEL_TRACES_SAMPLER_ARG", c.arg)
		n := 0
		for range all {
			if tr.Begin(c.header, traced()) != nil {
				n++
			}
		}
		tr.Close(t.Context())
		if got := float64(n) / all; math.Abs(got-c.share) > 0.03*min(1, c.share*1e9) { // six sigma of a tenth of 4,000
			t.Errorf("%s: %.3f of all, want %.3f", c.why, got, c.share)
		}
	}
}

// TestErrors: a span of a server fails where the server did.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		why    string
		s      core.Settlement
		failed bool
		typ    any
	}{
		{"an answer", core.Settlement{Status: 200}, false, nil},
		{"a client's mistake", core.Settlement{Status: 400, ErrorCode: "invalid_request"}, false, "invalid_request"},
		{"a limit", core.Settlement{Status: 429, ErrorCode: "rate_limited"}, false, "rate_limited"},
		{"a client that left before an answer", core.Settlement{Status: 499, ErrorCode: "client_gone"}, false, "client_gone"},
		{"and one that left within", core.Settlement{Status: 200, ErrorCode: "client_gone"}, false, "client_gone"},
		{"our failure", core.Settlement{Status: 502, ErrorCode: "bad_gateway"}, true, "bad_gateway"},
		{"an error in a stream", core.Settlement{Status: 200, ErrorCode: "upstream_overloaded_error"}, true, "upstream_overloaded_error"},
		{"a panic", core.Settlement{}, true, "internal"},
	} {
		col := tracetest.New(t)
		tr := open(t, nil, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", col.URL+"/own")
		tr.Begin(nil, traced()).End(&c.s, "")
		tr.Close(t.Context())
		s := col.Await(1)[0]
		if (s.Status == tracetest.Failed) != c.failed || s.Attrs["error.type"] != c.typ {
			t.Errorf("%s: status %d, error.type %v", c.why, s.Status, s.Attrs["error.type"])
		}
		if p := col.Posts()[0].URL.Path; p != "/own" {
			t.Errorf("posted to %s", p)
		}
	}
}

// lines is a log.
func lines() (*bytes.Buffer, *slog.Logger) {
	var b bytes.Buffer
	return &b, slog.New(slog.NewTextHandler(&b, nil))
}

// TestCollectorFails: it is told in the log once, costs later requests no wait, and is forgiven when it is back.
func TestCollectorFails(t *testing.T) {
	for _, c := range []struct {
		why   string
		reply func(n int) (int, http.Header)
		posts int
		comes int // spans
		says  string
	}{
		{"refused for good", func(int) (int, http.Header) { return 401, nil }, 1, 0, "status 401"},
		{"a redirect is not followed: the headers hold credentials", func(int) (int, http.Header) { return 307, http.Header{"Location": {"/elsewhere"}} }, 1, 0, "status 307"},
		{"busy once", func(n int) (int, http.Header) {
			return map[int]int{1: 503}[n] + 200*min(1, n-1), http.Header{"Retry-After": {"1"}}
		}, 2, 3, ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			col := tracetest.New(t)
			col.Reply(c.reply)
			text, log := lines()
			tr := open(t, log, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL, "OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=hunter2", "OTEL_BSP_SCHEDULE_DELAY", "3600000")
			tell(tr, nil)
			tr.Flush(t.Context())
			if got := len(col.Posts()); got != c.posts || len(col.Spans()) != c.comes {
				t.Errorf("%d posts, %d spans", got, len(col.Spans()))
			}
			if c.says != "" {
				tell(tr, nil)
				tr.Flush(t.Context()) // does not try again
				if len(col.Posts()) != c.posts {
					t.Error("the next request waited, too")
				}
			}
			tr.Close(t.Context())
			if s := text.String(); (c.says == "") != (s == "") || !strings.Contains(s, c.says) || strings.Count(s, "\n") > 1 || strings.Contains(s, "hunter2") || strings.Contains(s, col.URL) {
				t.Errorf("log: %s", s)
			}
		})
	}
}

// TestCollectorHangs: neither Flush nor Close waits longer than it may, and no goroutine is left behind.
func TestCollectorHangs(t *testing.T) {
	col := tracetest.New(t)
	defer col.Hang()()
	_, log := lines()
	tr := open(t, log, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL, "OTEL_BSP_SCHEDULE_DELAY", "3600000")
	tell(tr, nil)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	tr.Flush(short)
	if !errors.Is(short.Err(), context.DeadlineExceeded) {
		t.Error("it did not wait at all")
	}
	tell(tr, nil)
	tr.Close(short)
	stacks := make([]byte, 1<<20)
	if s := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(s, "trace.(*exporter)") || strings.Contains(s, "batchSpanProcessor).processQueue") {
		t.Errorf("left behind:\n%s", s)
	}
	tell(tr, nil) // a request that outlives the tracer is not told of, and does no harm
	tr.Flush(t.Context())
}

// TestQueueIsBounded: when the collector hangs, spans are lost, and neither memory nor requests suffer.
func TestQueueIsBounded(t *testing.T) {
	col := tracetest.New(t)
	release := col.Hang()
	tr := open(t, nil, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL, "OTEL_BSP_MAX_QUEUE_SIZE", "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
	for range 1000 {
		tell(tr, nil)
	}
	release()
	tr.Close(t.Context())
	if n := len(col.Spans()); n == 0 || n > 3000/10 {
		t.Errorf("%d spans of 3000 came", n)
	}
}

func TestConsole(t *testing.T) {
	c, err := config.Parse(map[string]string{"OTEL_TRACES_EXPORTER": "console"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	tr := trace.New(trace.Options{Settings: c.Traces, Console: &out, Log: slog.New(slog.DiscardHandler)})
	tell(tr, nil)
	tr.Close(t.Context())
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.HasPrefix(s, `{"resourceSpans":[`) || !strings.Contains(s, `"name":"admission"`) {
		t.Errorf("%s", s)
	}
}

func TestOff(t *testing.T) {
	if trace.New(trace.Options{}) != nil {
		t.Error("a tracer without settings")
	}
}

// FuzzBegin: whatever a client sends as context, what leaves is valid.
func FuzzBegin(f *testing.F) {
	f.Add(theirParent, "k=v")
	f.Add("00-"+strings.Repeat("0", 32)+"-"+theirSpan+"-00", "a=1,b=2")
	f.Add("", "\xff")
	tr := open(f, nil, "OTEL_TRACES_EXPORTER", "console")
	f.Cleanup(func() { tr.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, parent, state string) {
		q := tr.Begin(http.Header{"Traceparent": {parent}, "Tracestate": {state}}, traced())
		a := q.Attempt(&core.Node{BaseURL: parent}, state, 1)
		out := http.Header{}
		a.Inject(out)
		a.End("", "")
		q.End(&core.Settlement{Status: 200, Model: parent}, core.Kind(state))
		var version, id, span, flags string
		if n, err := fmt.Sscanf(strings.ReplaceAll(out.Get("Traceparent"), "-", " "), "%2s %32s %16s %2s", &version, &id, &span, &flags); n != 4 || err != nil || version != "00" || len(out.Get("Traceparent")) != 55 {
			t.Fatalf("%q, %q: sent %v", parent, state, out)
		}
		if len(out.Get("Tracestate")) > 512+32 {
			t.Fatalf("sent %v", out)
		}
	})
}

// TestOperations: what each endpoint that answers with a model's words is called, the ones for clients of Bedrock, too.
func TestOperations(t *testing.T) {
	want := map[string]string{
		"/v1/messages": "chat", "/v1/chat/completions": "chat", "/v1/responses": "chat", "/bedrock/model/{id}/invoke": "chat", "/bedrock/model/{id}/invoke-with-response-stream": "chat",
		"/v1/messages/count_tokens": "count_tokens", "/bedrock/model/{id}/count-tokens": "count_tokens", "/v1/models": "",
	}
	col := tracetest.New(t)
	tr := open(t, nil, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL)
	for route := range want {
		r := traced()
		r.Route = route
		q := tr.Begin(http.Header{}, r)
		q.Attempt(&core.Node{Name: "n", Kind: core.KindBedrock}, "m", 1).End("", "")
		q.End(&core.Settlement{Status: 200}, core.KindBedrock)
	}
	tr.Close(t.Context())
	for _, s := range col.Await(2 * len(want)) {
		op, ok := want[strings.TrimPrefix(s.Name, "POST ")]
		if got, _ := s.Attrs["gen_ai.operation.name"].(string); ok && got != op || !ok && !strings.HasPrefix(s.Name, "chat m") && !strings.HasPrefix(s.Name, "count_tokens m") {
			t.Errorf("%s is called %q, want %q", s.Name, got, op)
		}
	}
}
