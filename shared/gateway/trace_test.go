package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/trace"
	"sluice/shared/trace/tracetest"
	"sluice/shared/upstream/upstreamtest"
)

// told is a gateway.Tracer that notes what it is told.
type told struct {
	mu    sync.Mutex
	said  []string
	open  int // of what was begun and has not ended
	deaf  bool
	begun int
}

func (t *told) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, fmt.Sprintf(format, args...))
}

func (t *told) more(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open += n
}

func (t *told) Begin(_ http.Header, r gateway.Traced) gateway.Trace {
	t.begun++
	if t.deaf {
		return nil
	}
	t.more(1)
	t.say("%s %s", r.Method, r.Route)
	return toldTrace{t}
}

type toldTrace struct{ t *told }

func (q toldTrace) Admission() gateway.TraceStep  { return q.step("admission") }
func (q toldTrace) Settlement() gateway.TraceStep { return q.step("settlement") }
func (q toldTrace) Translation(from, to core.Dialect) gateway.TraceStep {
	return q.step(fmt.Sprintf("%s to %s", from, to))
}

func (q toldTrace) step(name string) gateway.TraceStep {
	q.t.more(1)
	return toldStep{q.t, name}
}

func (q toldTrace) Attempt(n *core.Node, model string, number int) gateway.TraceAttempt {
	q.t.more(1)
	return &toldAttempt{toldStep{q.t, fmt.Sprintf("%d %s %s", number, n.Name, model)}}
}

func (q toldTrace) End(s *core.Settlement, _ core.Kind) {
	q.t.more(-1)
	q.t.say("end %d %s", s.Status, s.ErrorCode)
}

type toldStep struct {
	t    *told
	name string
}

func (s toldStep) End(code string) {
	s.t.more(-1)
	s.t.say("%s %s", s.name, code)
}

type toldAttempt struct{ toldStep }

func (a *toldAttempt) Inject(h http.Header)         { h["Traceparent"] = []string{a.name} }
func (a *toldAttempt) Answered(_ *url.URL, s int)   { a.name += fmt.Sprintf(" %d", s) }
func (a *toldAttempt) FirstByte()                   { a.name += " first" }
func (a *toldAttempt) End(class string, why string) { a.toldStep.End(class) }

// trace makes the gateway anew, with a tracer.
func (b *bubble) trace(t gateway.Tracer) {
	b.o.Trace = t
	b.count(nil)
}

// TestTrace: what a tracer is told of requests however they end, and that each thing begun is ended.
func TestTrace(t *testing.T) {
	const begin = "POST /v1/messages, admission , "
	for _, c := range []struct {
		why    string
		plays  []play
		body   string
		posts  int
		limits core.Limits
		want   string
	}{
		{"a stream", []play{streaming(step{data: whole})}, streamBody, 1, core.Limits{}, begin + "1 a claude-x 200 first , settlement , end 200 "},
		{"a whole answer", []play{answer("application/json", step{data: `{"type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":2}}`})}, plainBody, 1, core.Limits{},
			begin + "1 a claude-x 200 first , settlement , end 200 "},
		{"failover", []play{refusing(529, "overloaded_error", "x"), streaming(step{data: whole})}, streamBody, 1, core.Limits{},
			begin + "1 a claude-x 529 overloaded, 2 b claude-x 200 first , settlement , end 200 "},
		{"no connection", []play{broken(errReset), streaming(step{data: whole})}, streamBody, 1, core.Limits{}, begin + "1 a claude-x connection, 2 b claude-x 200 first , settlement , end 200 "},
		{"an error of the client's", []play{refusing(400, "invalid_request_error", "x")}, streamBody, 1, core.Limits{}, begin + "1 a claude-x 400 client_fault, settlement , end 400 upstream_invalid_request_error"},
		{"an error in the stream", []play{streaming(step{data: head + evText + upstreamtest.Event("error", `{"type":"error","error":{"type":"overloaded_error","message":"x"}}`)})}, streamBody, 1, core.Limits{},
			begin + "1 a claude-x 200 first overloaded, settlement , end 200 upstream_overloaded_error"},
		{"a stream that is cut", []play{streaming(step{data: head + evText}, step{err: errReset})}, streamBody, 1, core.Limits{}, begin + "1 a claude-x 200 first connection, settlement , end 200 stream_cut"},
		{"a limit", []play{streaming(step{data: whole})}, streamBody, 2, core.Limits{RPM: 1},
			begin + "1 a claude-x 200 first , settlement , end 200 , POST /v1/messages, admission rate_limited, end 429 rate_limited"},
		{"no JSON", nil, "{", 1, core.Limits{}, begin + "settlement , end 400 invalid_request"},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &told{}
				b := newBubble(t, gateway.Settings{RetryMax: 1}, "a", "b")
				b.trace(tr)
				b.key("2", limitedKey, c.limits)
				b.up.queue(c.plays...)
				for range c.posts {
					b.post(t.Context(), c.body, "X-Api-Key", limitedKey)
				}
				if got := strings.Join(tr.said, ", "); got != c.want || tr.open != 0 {
					t.Errorf("told\n%s, want\n%s; %d never ended", got, c.want, tr.open)
				}
			})
		})
	}
}

// TestTraceOfStrangers: who has no key of ours is not traced, and a request that is not is served the same.
func TestTraceOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &told{deaf: true}
		b := newBubble(t, gateway.Settings{}, "a")
		b.trace(tr)
		b.up.queue(streaming(step{data: whole}))
		if w := b.post(t.Context(), streamBody, "X-Api-Key", "nobody-knows-this-key"); w.status != 401 || tr.begun != 0 {
			t.Errorf("status %d, begun %d", w.status, tr.begun)
		}
		if w := b.post(t.Context(), streamBody); w.text() != whole || tr.begun != 1 {
			t.Errorf("begun %d, got %s", tr.begun, w.text())
		}
	})
}

// TestTraceOfPanic: the trace ends also when the gateway, or what writes to the client, panics.
func TestTraceOfPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &told{}
		b := newBubble(t, gateway.Settings{}, "a")
		b.trace(tr)
		b.up.queue(streaming(step{data: whole}))
		w := newClient(t)
		w.onWrite = func([]byte) error { panic("in the middle") }
		func() {
			defer func() { _ = recover() }()
			b.serve(t.Context(), w, streamBody)
		}()
		if last := tr.said[len(tr.said)-1]; !strings.HasPrefix(last, "end ") {
			t.Errorf("told %q", tr.said)
		}
	})
}

// contextHeader is what a client says of its own trace.
func contextHeader() []string {
	return []string{"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "Tracestate", "k=v", "Baggage", "user=4711"}
}

// TestTraceContextPassesWhenOff: without traces, or for a request that is not traced, the client's context passes as it came
// (DESIGN 4), and none is made.
func TestTraceContextPassesWhenOff(t *testing.T) {
	for _, env := range [][]string{nil, {"OTEL_TRACES_EXPORTER", "console", "OTEL_TRACES_SAMPLER", "always_off"}, {"OTEL_SDK_DISABLED", "true", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"}} {
		r := newRig(t, env...)
		up := r.fakeNode("a")
		r.do("POST", "/v1/messages", plainBody, contextHeader()...)
		h := up.Last().Header
		if h.Get("Traceparent") != contextHeader()[1] || h.Get("Tracestate") != "k=v" || h.Get("Baggage") != "user=4711" {
			t.Errorf("%v: upstream got %v", env, h)
		}
		r.do("POST", "/v1/messages", plainBody)
		if h := up.Last().Header; h.Get("Traceparent") != "" || h.Get("Tracestate") != "" || h.Get("Baggage") != "" {
			t.Errorf("%v: upstream got %v", env, h)
		}
	}
}

// TestTraceOverOTLP: the whole of it against a collector: the tree, the attributes, the context in and out, and nothing of the
// conversation, of credentials, or of who asked.
func TestTraceOverOTLP(t *testing.T) {
	col := tracetest.New(t)
	r := newRig(t, "OTEL_EXPORTER_OTLP_ENDPOINT", col.URL)
	first := r.fakeNode("first", weight(1))
	second := r.fakeOpenAI("second", "chat", weight(2), modelMap(map[string]string{"claude-x": "gpt-x"}))
	first.Default(upstreamtest.Status(529, "SECRET-COMPLETION"))
	second.Default(upstreamtest.Reply(upstreamtest.Text("SECRET-COMPLETION")).Usage(upstreamtest.Usage{Input: 10, Output: 2, CacheRead: 4}))
	const body = `{"model":"claude-x","max_tokens":100,"stream":true,"metadata":{"user_id":"SECRET-USER"},"system":"SECRET-PROMPT","messages":[{"role":"user","content":"SECRET-PROMPT"}],` +
		`"tools":[{"name":"SECRET-TOOL","description":"SECRET-PROMPT","input_schema":{"type":"object"}}]}`
	got := r.do("POST", "/v1/messages?beta=true&q=SECRET-QUERY", body, append(contextHeader(), "X-Forwarded-For", "203.0.113.77", "Cookie", "SECRET-COOKIE")...)
	if got.status != 200 || !strings.Contains(got.body, "SECRET-COMPLETION") {
		t.Fatalf("%d %s", got.status, got.body)
	}
	r.rest()
	_ = r.app.Close()

	spans := col.Await(1)
	want := "POST /v1/messages\n  admission\n  chat claude-x (overloaded)\n  translation\n  chat gpt-x [first_byte]\n  settlement\n"
	if tree := tracetest.Tree(spans); tree != want {
		t.Fatalf("got\n%s", tree)
	}
	root, one, two := tracetest.Named(spans, "POST /v1/messages")[0], tracetest.Named(spans, "chat claude-x")[0], tracetest.Named(spans, "chat gpt-x")[0]
	if root.Trace != "4bf92f3577b34da6a3ce929d0e0e4736" || root.Parent != "00f067aa0ba902b7" || !root.Remote {
		t.Errorf("the client is not the parent: %+v", root)
	}
	host, _ := url.Parse(second.URL)
	for _, a := range []struct {
		of   tracetest.Span
		name string
		want any
	}{
		{root, "gen_ai.provider.name", "openai"}, {root, "gen_ai.request.model", "claude-x"}, {root, "gen_ai.response.model", "gpt-x"}, {root, "gen_ai.request.stream", true},
		{root, "gen_ai.usage.input_tokens", int64(14)}, {root, "gen_ai.usage.output_tokens", int64(2)}, {root, "gen_ai.usage.cache_read.input_tokens", int64(4)},
		{root, "http.response.status_code", int64(200)}, {root, "sluice.account", "default"}, {root, "sluice.node", "second"}, {root, "sluice.attempts", int64(2)},
		{root, "sluice.request_id", got.header.Get("Request-Id")},
		{one, "gen_ai.provider.name", "anthropic"}, {one, "http.response.status_code", int64(529)}, {two, "http.response.status_code", int64(200)}, {two, "server.address", host.Hostname()},
		{two, "sluice.node", "second"}, {two, "gen_ai.operation.name", "chat"}, {two, "gen_ai.usage.input_tokens", nil},
	} {
		if a.of.Attrs[a.name] != a.want {
			t.Errorf("%s of %s is %v, want %v", a.name, a.of.Name, a.of.Attrs[a.name], a.want)
		}
	}
	if one.Status != tracetest.Failed || two.Status != 0 || root.Status != 0 {
		t.Errorf("status %d, %d, %d", one.Status, two.Status, root.Status)
	}
	for node, h := range map[*tracetest.Span]http.Header{&one: first.Last().Header, &two: second.Last().Header} {
		if p := h.Get("Traceparent"); !strings.HasPrefix(p, "00-"+node.Trace+"-"+node.ID+"-") || h.Get("Tracestate") != "k=v" {
			t.Errorf("%s was sent %q, state %q", node.Name, p, h.Get("Tracestate"))
		}
	}
	if first.Last().Header.Get("Baggage") != "user=4711" || second.Last().Header.Get("Baggage") != "" {
		t.Error("baggage goes where it would not without traces, or does not where it would")
	}
	raw := col.Raw()
	for _, no := range []string{"SECRET", proxyKey, nodeKey, operatorKey, "203.0.113.77", "127.0.0.1:", "4711", "SECRET-USER"} {
		if strings.Contains(raw, no) {
			t.Errorf("the collector was sent %q", no)
		}
	}
}

// BenchmarkTrace is what traces add to a request: off, one in a hundred, all. See BenchmarkRelay.
func BenchmarkTrace(b *testing.B) {
	message := []byte(`{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hello"}],"usage":{"input_tokens":1,"output_tokens":2}}`)
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer collector.Close()
	for _, c := range []struct{ name, ratio string }{{"off", ""}, {"1 %", "0.01"}, {"100 %", "1"}} {
		b.Run(c.name, func(b *testing.B) {
			up := &still{header: http.Header{"Content-Type": {"application/json"}}, body: message, piece: 4096}
			bb := newBubbleWith(b, gateway.Settings{}, up, "a")
			if c.ratio != "" {
				s, err := config.Parse(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": c.ratio})
				if err != nil {
					b.Fatal(err)
				}
				tr := trace.New(trace.Options{Settings: s.Traces, Log: bb.o.Log})
				defer tr.Close(b.Context())
				bb.trace(tr)
			}
			b.ReportAllocs()
			for b.Loop() {
				q := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(plainBody))
				q.Header.Set("X-Api-Key", proxyKey)
				bb.handler.ServeHTTP(&sink{header: http.Header{}}, q)
			}
		})
	}
}
