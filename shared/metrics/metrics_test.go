package metrics_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sluice/shared/core"
	"sluice/shared/metrics"
	"sluice/shared/store"
	"sluice/shared/store/measure"
	"sluice/shared/store/memory"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func settled(model string) *core.Settlement {
	return &core.Settlement{Account: "a1", Key: "key-7", Session: "session-7", Node: "n7", NodeName: "north", ServedModel: model, Status: 200,
		Tokens: core.Tokens{Input: 10, CacheRead: 90, CacheWrite5m: 5, CacheWrite1h: 4, Output: 20}, CostUSD: 1_500_000,
		StartedAt: start, EndedAt: start.Add(3 * time.Second), FirstByteMS: 700}
}

// busy is a process that everything happened to.
func busy() *metrics.Metrics {
	m := metrics.New(metrics.Options{Version: "v1.2.3", Log: slog.New(slog.DiscardHandler)})
	m.Observe(settled("claude-opus-4-1"), core.KindAnthropic)
	bad := settled("gpt-5")
	bad.Status, bad.ErrorCode, bad.Unpriced, bad.Estimated, bad.CostUSD = 200, "stream_cut", true, true, 0
	m.Observe(bad, core.KindOpenAI)
	m.Attempt(core.KindAnthropic, "ok")
	m.Refused(string(store.LimitRPM))
	m.Dropped("invoke", "beta:files-api-2025-04-14")
	m.Dropped("invoke", "beta:files-api-2025-04-14")
	m.Dropped("messages-mantle", "tools[].defer_loading")
	m.InFlight(1)
	m.InFlight(1)
	m.InFlight(-1)
	m.StoreCall("admit", 3*time.Millisecond, false)
	m.StoreCall("settle", 30*time.Millisecond, true)
	m.TokenRefresh(core.KindAmazonQ, "login_needed")
	m.WatchNodes(func(yield func(core.Kind, core.Condition) bool) {
		for _, n := range []core.Node{{Kind: core.KindAnthropic}, {Kind: core.KindAnthropic}} {
			if !yield(n.Kind, core.Online) {
				return
			}
		}
		yield(core.KindAmazonQ, core.BlockedLogin)
	})
	return m
}

func scrape(t testing.TB, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// expect compares whole metrics.
func expect(t *testing.T, m *metrics.Metrics, want string, names ...string) {
	t.Helper()
	s := httptest.NewServer(m.Handler())
	defer s.Close()
	if err := testutil.ScrapeAndCompare(s.URL, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// has asks for single lines of a scrape.
func has(t *testing.T, body string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(body, l+"\n") {
			name, _, _ := strings.Cut(l, "{")
			var near []string
			for got := range strings.Lines(body) {
				if strings.HasPrefix(got, name) {
					near = append(near, got)
				}
			}
			t.Errorf("no line %s among\n%s", l, strings.Join(near, ""))
		}
	}
}

func TestObserve(t *testing.T) {
	m := busy()
	expect(t, m, `# HELP sluice_tokens_total Tokens by class; all classes but output are input.
# TYPE sluice_tokens_total counter
sluice_tokens_total{class="cache_read",kind="anthropic",model_family="claude-opus"} 90
sluice_tokens_total{class="cache_read",kind="openai",model_family="gpt"} 90
sluice_tokens_total{class="cache_write_1h",kind="anthropic",model_family="claude-opus"} 4
sluice_tokens_total{class="cache_write_1h",kind="openai",model_family="gpt"} 4
sluice_tokens_total{class="cache_write_5m",kind="anthropic",model_family="claude-opus"} 5
sluice_tokens_total{class="cache_write_5m",kind="openai",model_family="gpt"} 5
sluice_tokens_total{class="input",kind="anthropic",model_family="claude-opus"} 10
sluice_tokens_total{class="input",kind="openai",model_family="gpt"} 10
sluice_tokens_total{class="output",kind="anthropic",model_family="claude-opus"} 20
sluice_tokens_total{class="output",kind="openai",model_family="gpt"} 20
# HELP sluice_cost_usd_total Cost of requests and batches in USD, at the prices of their time.
# TYPE sluice_cost_usd_total counter
sluice_cost_usd_total{kind="anthropic",model_family="claude-opus"} 1.5
sluice_cost_usd_total{kind="openai",model_family="gpt"} 0
`, "sluice_tokens_total", "sluice_cost_usd_total")
	has(t, scrape(t, m),
		`sluice_requests_total{kind="anthropic",model_family="claude-opus",outcome="success"} 1`,
		`sluice_requests_total{kind="anthropic",model_family="claude-opus",outcome="upstream"} 0`,
		`sluice_requests_total{kind="openai",model_family="gpt",outcome="upstream"} 1`,
		`sluice_unpriced_requests_total{kind="openai",model_family="gpt"} 1`,
		`sluice_estimated_requests_total{kind="openai",model_family="gpt"} 1`,
		`sluice_first_byte_seconds_bucket{kind="anthropic",model_family="claude-opus",le="0.5"} 0`,
		`sluice_first_byte_seconds_bucket{kind="anthropic",model_family="claude-opus",le="1"} 1`,
		`sluice_first_byte_seconds_sum{kind="anthropic",model_family="claude-opus"} 0.7`,
		`sluice_request_duration_seconds_bucket{kind="anthropic",model_family="claude-opus",le="2.5"} 0`,
		`sluice_request_duration_seconds_bucket{kind="anthropic",model_family="claude-opus",le="5"} 1`,
		`sluice_account_requests_total{account="a1"} 2`,
		`sluice_bedrock_dropped_total{name="beta:files-api-2025-04-14",route="invoke"} 2`,
		`sluice_bedrock_dropped_total{name="tools[].defer_loading",route="messages-mantle"} 1`,
		`sluice_account_errors_total{account="a1"} 1`,
		`sluice_account_tokens_total{account="a1"} 258`,
		`sluice_account_cost_usd_total{account="a1"} 1.5`,
		`sluice_attempts_total{class="ok",kind="anthropic"} 1`,
		`sluice_attempts_total{class="server",kind="anthropic"} 0`,
		`sluice_limit_refusals_total{limit="requests_minute"} 1`,
		`sluice_limit_refusals_total{limit="budget_month"} 0`,
		`sluice_requests_in_flight 1`,
		`sluice_token_refreshes_total{kind="amazonq",result="login_needed"} 1`,
		`sluice_store_call_duration_seconds_bucket{verb="admit",le="0.0025"} 0`,
		`sluice_store_call_duration_seconds_bucket{verb="admit",le="0.005"} 1`,
		`sluice_store_errors_total{verb="admit"} 0`,
		`sluice_store_errors_total{verb="settle"} 1`,
		`sluice_build_info{version="v1.2.3"} 1`,
		`sluice_nodes{condition="online",kind="anthropic"} 2`,
		`sluice_nodes{condition="failed",kind="anthropic"} 0`,
		`sluice_nodes{condition="login_needed",kind="amazonq"} 1`)
}

// TestUsed: a batch adds tokens and cost, and is neither a request nor a latency.
func TestUsed(t *testing.T) {
	m := metrics.New(metrics.Options{})
	m.Used(settled("claude-opus-4-1"), core.KindAnthropic)
	odd := settled("claude-opus-4-1")
	odd.Unpriced, odd.Estimated, odd.CostUSD, odd.Tokens = true, true, 0, core.Tokens{Output: 1}
	m.Used(odd, core.KindAnthropic)
	has(t, scrape(t, m),
		`sluice_tokens_total{class="input",kind="anthropic",model_family="claude-opus"} 10`,
		`sluice_tokens_total{class="output",kind="anthropic",model_family="claude-opus"} 21`,
		`sluice_cost_usd_total{kind="anthropic",model_family="claude-opus"} 1.5`,
		`sluice_unpriced_requests_total{kind="anthropic",model_family="claude-opus"} 1`,
		`sluice_estimated_requests_total{kind="anthropic",model_family="claude-opus"} 1`,
		`sluice_account_tokens_total{account="a1"} 130`,
		`sluice_account_cost_usd_total{account="a1"} 1.5`,
		`sluice_account_requests_total{account="a1"} 0`,
		`sluice_account_errors_total{account="a1"} 0`,
		`sluice_requests_total{kind="anthropic",model_family="claude-opus",outcome="success"} 0`,
		`sluice_first_byte_seconds_count{kind="anthropic",model_family="claude-opus"} 0`,
		`sluice_request_duration_seconds_count{kind="anthropic",model_family="claude-opus"} 0`)
}

func TestObserve_NothingToTell(t *testing.T) {
	m := metrics.New(metrics.Options{})
	m.Observe(&core.Settlement{Status: 401, ErrorCode: "unauthenticated", StartedAt: start, EndedAt: start}, "")
	body := scrape(t, m)
	has(t, body,
		`sluice_requests_total{kind="none",model_family="none",outcome="auth"} 1`,
		`sluice_first_byte_seconds_count{kind="none",model_family="none"} 0`,
		`sluice_request_duration_seconds_count{kind="none",model_family="none"} 1`,
		`sluice_account_requests_total{account="none"} 1`)
	if strings.Contains(body, "sluice_nodes{") {
		t.Error("nodes although nobody told where they are")
	}
	m.WatchNodes(nil)
	scrape(t, m)
}

// Counts come from upstreams and clocks go backwards: neither may panic or make a counter go back.
func TestObserve_Hostile(t *testing.T) {
	m := metrics.New(metrics.Options{Version: "\xff"})
	s := &core.Settlement{Account: "\xff\xfe" + strings.Repeat("é", 100), Status: -1, Tokens: core.Tokens{Input: -5, CacheRead: 1 << 62, CacheWrite5m: 1 << 62, Output: -1},
		CostUSD: -7, FirstByteMS: -1, StartedAt: start, EndedAt: start.Add(-time.Hour)}
	m.Observe(s, "\xff")
	m.Attempt("\xff", "\xff")
	m.Refused("\xff")
	m.Dropped("\xff", "\xff")
	m.TokenRefresh("\xff", "\xff")
	m.StoreCall("\xff", -time.Second, true)
	has(t, scrape(t, m),
		`sluice_tokens_total{class="input",kind="other",model_family="none"} 0`,
		`sluice_cost_usd_total{kind="other",model_family="none"} 0`,
		`sluice_request_duration_seconds_sum{kind="other",model_family="none"} 0`,
		`sluice_attempts_total{class="other",kind="other"} 1`,
		`sluice_limit_refusals_total{limit="other"} 1`,
		`sluice_token_refreshes_total{kind="other",result="failed"} 1`,
		`sluice_bedrock_dropped_total{name="?",route="other"} 1`,
		`sluice_store_errors_total{verb="?"} 1`,
		`sluice_store_call_duration_seconds_sum{verb="?"} 0`)
}

// series counts the samples of a scrape that are ours.
func series(t *testing.T, m *metrics.Metrics) int {
	t.Helper()
	n := 0
	for l := range strings.Lines(scrape(t, m)) {
		if strings.HasPrefix(l, "sluice_") {
			n++
		}
	}
	return n
}

// What tenants choose makes no series: neither model names, of which some speak all families, nor accounts nor keys.
func TestCardinality(t *testing.T) {
	words := []string{"claude-opus", "sonnet", "haiku", "gpt", "o1", "llama", "qwen", "nova", "zz"}
	m := metrics.New(metrics.Options{})
	for i := range 10_000 {
		s := settled(fmt.Sprintf("%s-evil-%d", words[i%len(words)], i))
		s.Account, s.Key, s.Session = fmt.Sprintf("acct-%d", i), fmt.Sprintf("k%d", i), fmt.Sprintf("s%d", i)
		s.ErrorCode, s.Endpoint = fmt.Sprintf("upstream_%d", i), fmt.Sprintf("/v1/%d", i)
		m.Observe(s, core.KindOpenAI)
		m.StoreCall(fmt.Sprintf("verb-%d", i), time.Millisecond, false)
		m.Attempt(core.Kind(fmt.Sprintf("kind-%d", i)), fmt.Sprintf("class-%d", i))
		m.Refused(fmt.Sprintf("limit-%d", i))
		m.Dropped("invoke", fmt.Sprintf("row-%d", i))
		m.Dropped(fmt.Sprintf("route-%d", i), "speed")
	}
	const (
		cell     = 9 + 5 + 3 + 2*17
		accounts = (100 + 1) * 4
		verbs    = (64 + 1) * (16 + 1)
		drops    = 200 + 1 + 1
		rest     = 30
	)
	if n, most := series(t, m), 9*cell+accounts+verbs+drops+rest; n > most {
		t.Errorf("%d series, want at most %d", n, most)
	}
	body := scrape(t, m)
	has(t, body, `sluice_account_requests_total{account="acct-99"} 1`, `sluice_account_requests_total{account="other"} 9900`,
		`sluice_store_call_duration_seconds_count{verb="other"} 9936`, `sluice_bedrock_dropped_total{name="row-199",route="invoke"} 1`,
		`sluice_bedrock_dropped_total{name="other",route="invoke"} 9800`, `sluice_bedrock_dropped_total{name="speed",route="other"} 10000`)
	if i := strings.Index(body, "evil"); i >= 0 {
		t.Errorf("a model's name is a label: %.100q", body[i:])
	}
}

func TestAccounts(t *testing.T) {
	for _, c := range []struct {
		why       string
		max       int
		has, lack string
	}{
		{"none has series of its own", -1, "sluice_requests_total", "sluice_account_"},
		{"the first alone", 1, `sluice_account_requests_total{account="other"} 1`, `account="b"`},
	} {
		m := metrics.New(metrics.Options{Accounts: c.max})
		for _, a := range []string{"a", "b"} {
			s := settled("gpt-5")
			s.Account = a
			m.Observe(s, core.KindOpenAI)
		}
		if body := scrape(t, m); !strings.Contains(body, c.has) || strings.Contains(body, c.lack) {
			t.Errorf("%s: %q must be there, and %q not", c.why, c.has, c.lack)
		}
	}
}

// TestNames: no metric breaks Prometheus' conventions, and none names a key, session or node.
func TestNames(t *testing.T) {
	body := scrape(t, busy())
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, s := range []string{"key-7", "session-7", "n7", "north"} {
		if strings.Contains(body, s) {
			t.Errorf("%s is in the scrape", s)
		}
	}
	for _, name := range []string{"go_goroutines ", "process_cpu_seconds_total "} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no %s: a collector is missing", name)
		}
	}
}

// Observations and scrapes go on at once, and none is lost.
func TestConcurrent(t *testing.T) {
	m := metrics.New(metrics.Options{})
	var wg sync.WaitGroup
	const workers, each = 8, 200
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				s := settled("claude-haiku-4-5")
				s.Account = fmt.Sprint("acct", i)
				m.Observe(s, core.KindAnthropic)
				m.Attempt(core.KindAnthropic, "ok")
				m.TokenRefresh(core.KindAmazonQ, "ok")
				m.StoreCall(fmt.Sprint("verb", i), time.Microsecond, false)
				if w == 0 && i%50 == 0 {
					scrape(t, m)
				}
			}
		})
	}
	wg.Wait()
	has(t, scrape(t, m), `sluice_requests_total{kind="anthropic",model_family="claude-haiku",outcome="success"} 1600`,
		`sluice_attempts_total{class="ok",kind="anthropic"} 1600`, `sluice_token_refreshes_total{kind="amazonq",result="ok"} 1600`,
		`sluice_account_requests_total{account="acct7"} 8`, `sluice_account_requests_total{account="other"} 800`,
		`sluice_store_call_duration_seconds_count{verb="verb63"} 8`)
}

// The store's decorator feeds it.
func TestStoreCall_Measured(t *testing.T) {
	m := metrics.New(metrics.Options{})
	s := measure.New(memory.New(), func(c measure.Call) { m.StoreCall(c.Verb, c.Took, c.Err != nil && !store.Missing(c.Err)) })
	if _, err := s.Get(t.Context(), "node", "1"); !store.Missing(err) {
		t.Fatal(err)
	}
	has(t, scrape(t, m), `sluice_store_call_duration_seconds_count{verb="get"} 1`, `sluice_store_errors_total{verb="get"} 0`)
}

func TestObserve_Allocations(t *testing.T) {
	m, s := busy(), settled("us.anthropic.claude-opus-4-1-20250805-v1:0")
	for name, f := range map[string]func(){
		"Observe":   func() { m.Observe(s, core.KindAnthropic) },
		"Attempt":   func() { m.Attempt(core.KindAnthropic, "timeout") },
		"Dropped":   func() { m.Dropped("invoke", "beta:files-api-2025-04-14") },
		"Refused":   func() { m.Refused(string(store.LimitTPM)) },
		"InFlight":  func() { m.InFlight(1) },
		"StoreCall": func() { m.StoreCall("admit", time.Millisecond, true) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	m, s := busy(), settled("us.anthropic.claude-opus-4-1-20250805-v1:0")
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(s, core.KindAnthropic)
	}
}

// BenchmarkRequest is all that one request tells: a start and an end, two calls of the store, one attempt.
func BenchmarkRequest(b *testing.B) {
	m, s := busy(), settled("claude-opus-4-1")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.InFlight(1)
			m.StoreCall("admit", time.Millisecond, false)
			m.Attempt(core.KindAnthropic, "ok")
			m.StoreCall("settle", time.Millisecond, false)
			m.Observe(s, core.KindAnthropic)
			m.InFlight(-1)
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	m := busy()
	for b.Loop() {
		w := httptest.NewRecorder()
		w.Body = new(bytes.Buffer)
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		_, _ = io.Copy(io.Discard, w.Body)
	}
}
