// Command cold measures the real proxy function behind the fake Runtime API, on one core: from the start of its process to
// the first byte of the first answer, and where that time goes; what the Lambda adapter costs a warm request and an event;
// and the memory of one stream. It exits with 1 when a target is missed. Run it with: make bench-cold
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/store/dynamodb"
	"sluice/tests/lambda/runtimeapi"
	"sluice/tests/lambda/stores"
)

// The targets.
const (
	maxFirstByte = 150 * time.Millisecond
	maxMemory    = 64 << 20 // bytes
	maxRequest   = 100 * time.Microsecond
	maxEvent     = 3 * time.Microsecond
)

const (
	starts = 15
	events = 200
)

func main() {
	missed, err := run(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "cold:", err)
		os.Exit(1)
	}
	if missed > 0 {
		fmt.Printf("\n%d of the targets missed\n", missed)
		os.Exit(1)
	}
}

func run(ctx context.Context) (missed int, err error) {
	dir, err := os.MkdirTemp("", "cold-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin := filepath.Join(dir, "bootstrap")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w", "-o", bin, "./functions/proxy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	up := upstream()
	defer up.Close()
	check := func(ok bool) string {
		if ok {
			return "ok"
		}
		missed++
		return "MISSED"
	}
	fmt.Printf("Cold start of the proxy, GOMAXPROCS=1, median (slowest) of %d starts in ms\n\n", starts)
	fmt.Printf("%-18s %15s %15s %15s %15s %15s %15s\n", "store", "process", "settings", "store client", "handlers", "first answer", "all")
	for _, name := range []string{stores.InProcess, stores.Redis, stores.DynamoDB} {
		rows, err := onStore(ctx, name, dir, bin, up.URL)
		if errors.Is(err, stores.ErrMissing) {
			fmt.Printf("%-18s %v\n", name, err)
			continue
		}
		if err != nil {
			return missed, err
		}
		fmt.Printf("%-18s %s %s\n", name, table(rows), check(median(rows, all) < maxFirstByte))
		fmt.Printf("%-18s after start %.1f MB, after a stream of %d events %.1f MB at most %s\n", "", mb(rows[0].idle), events, mb(rows[0].peak), check(rows[0].peak < maxMemory))
	}
	warm := measure()
	fmt.Printf("\nWarm adapter, beside the handler (net/http over loopback in brackets)\n")
	fmt.Printf("a request: %v (%v) %s\n", warm.request, warm.httpRequest, check(warm.request < maxRequest))
	fmt.Printf("an event:  %v (%v) %s\n", warm.event, warm.httpEvent, check(warm.event < maxEvent))
	return missed, nil
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

// upstream answers with a stream of events at once.
func upstream() *httptest.Server {
	var b strings.Builder
	send := func(name, data string) { fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, data) }
	send("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}`)
	send("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
	for range events {
		send("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}`)
	}
	send("content_block_stop", `{"type":"content_block_stop","index":0}`)
	send("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":200}}`)
	send("message_stop", `{"type":"message_stop"}`)
	parts := strings.SplitAfter(b.String(), "\n\n")
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, p := range parts {
			_, _ = io.WriteString(w, p)
			_ = http.NewResponseController(w).Flush()
		}
	}))
}

// sample is one start.
type sample struct {
	process, settings, store, handlers, answer time.Duration
	idle, peak                                 int64 // resident bytes
}

func all(s sample) time.Duration { return s.process + s.settings + s.store + s.handlers + s.answer }

func median(rows []sample, of func(sample) time.Duration) time.Duration {
	return sorted(rows, of)[len(rows)/2]
}

func sorted(rows []sample, of func(sample) time.Duration) []time.Duration {
	var d []time.Duration
	for _, r := range rows {
		d = append(d, of(r))
	}
	slices.Sort(d)
	return d
}

func table(rows []sample) string {
	var cells []string
	for _, of := range []func(sample) time.Duration{
		func(s sample) time.Duration { return s.process }, func(s sample) time.Duration { return s.settings }, func(s sample) time.Duration { return s.store },
		func(s sample) time.Duration { return s.handlers }, func(s sample) time.Duration { return s.answer }, all} {
		d := sorted(rows, of)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		cells = append(cells, fmt.Sprintf("%15s", fmt.Sprintf("%.1f (%.1f)", ms(d[len(d)/2]), ms(d[len(d)-1]))))
	}
	return strings.Join(cells, " ")
}

func onStore(ctx context.Context, name, dir, bin, upstream string) ([]sample, error) {
	s, err := stores.Start(ctx, name, dir)
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	if name == stores.DynamoDB {
		for _, kv := range stores.Credentials() {
			k, v, _ := strings.Cut(kv, "=")
			if err := os.Setenv(k, v); err != nil {
				return nil, err
			}
		}
		if err := dynamodb.CreateTable(ctx, s.URL); err != nil {
			return nil, err
		}
	}
	var rows []sample
	for i := range starts + 1 {
		r, err := start(ctx, bin, append(stores.Credentials(), "GOMAXPROCS=1", "STORE_URL="+s.URL, "UPSTREAM_BASE_URL="+upstream,
			"UPSTREAM_API_KEY=upstream-credential", "DEFAULT_PROXY_API_KEY=bench-proxy-key-123"))
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first one fills the store, which happens once in its life
			rows = append(rows, r)
		}
	}
	return rows, nil
}

const event = `{"version":"2.0","routeKey":"$default","rawPath":"/v1/messages","rawQueryString":"","headers":{"x-api-key":"bench-proxy-key-123","content-type":"application/json"},
"body":"{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":64,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}","isBase64Encoded":false,
"requestContext":{"requestId":"u1","domainName":"x.lambda-url.eu-west-1.on.aws","stage":"$default","http":{"method":"POST","path":"/v1/messages","sourceIp":"192.0.2.7"}}}`

// start runs the function once. Its first invocation waits for it, as on Lambda.
func start(ctx context.Context, bin string, env []string) (sample, error) {
	api, err := runtimeapi.New()
	if err != nil {
		return sample{}, err
	}
	defer api.Close()
	began := time.Now()
	p, err := api.Start(bin, env...)
	if err != nil {
		return sample{}, err
	}
	defer p.Stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	first, err := invoke(ctx, api)
	if err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, p.Output())
	}
	var r sample
	for line := range strings.Lines(p.Output()) {
		var l struct {
			Msg      string `json:"msg"`
			Settings int64  `json:"settings_us"`
			Store    int64  `json:"store_us"`
			Handlers int64  `json:"handlers_us"`
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "function ready" {
			us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
			r.settings, r.store, r.handlers = us(l.Settings), us(l.Store), us(l.Handlers)
		}
	}
	if r.store == 0 {
		return r, fmt.Errorf("the function was not ready:\n%s", p.Output())
	}
	r.process = api.Ready().Sub(began) - r.settings - r.store - r.handlers
	r.answer = first.Sub(api.Ready())
	r.idle, r.peak = resident(p.Pid(), "VmRSS:"), resident(p.Pid(), "VmHWM:")
	return r, nil
}

// invoke sends the event, reads the answer to its end and returns when its first byte came.
func invoke(ctx context.Context, api *runtimeapi.Server) (time.Time, error) {
	a, err := api.Invoke(ctx, []byte(event), time.Minute)
	if err != nil {
		return time.Time{}, err
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return time.Time{}, err
	}
	if n := strings.Count(string(body), "text_delta"); n != events {
		return time.Time{}, fmt.Errorf("%d events: %.500s", n, body)
	}
	recs := api.Records()
	return recs[len(recs)-1].Chunks[0].At, nil
}

// resident reads a number of bytes of a process from the kernel; 0 where there is none.
func resident(pid int, name string) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
