package clients_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

const cliPatience = 120 * time.Second

// asToken and asKey are the two ways to give Claude Code a key.
const (
	asToken = "ANTHROPIC_AUTH_TOKEN=" + proxyKey
	asKey   = "ANTHROPIC_API_KEY=" + proxyKey
)

// cliRun is a finished run of Claude Code.
type cliRun struct {
	out, errs string
	exit      error
	took      time.Duration
}

func (r cliRun) String() string {
	return fmt.Sprintf("%v after %v\nstdout: %s\nstderr: %s", r.exit, r.took, r.out, r.errs)
}

// quiet keeps Claude Code from calling anyone but the gateway.
var quiet = []string{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1"}

// claude runs `claude -p prompt args...` with nothing in its environment but its settings, and a home of its own.
func (f *fixture) claude(env []string, prompt string, args ...string) cliRun {
	f.Helper()
	program, err := filepath.Abs("node_modules/@anthropic-ai/claude-code/bin/claude.exe")
	f.noError(err)
	home, err := os.MkdirTemp("", "sluice-cli-")
	f.noError(err)
	f.Cleanup(func() { _ = os.RemoveAll(home) }) // the program may leave a process that still writes
	cmd := exec.CommandContext(within(f.T, cliPatience), program, append([]string{"-p", prompt}, args...)...)
	cmd.Dir, cmd.WaitDelay = home, 10*time.Second
	cmd.Env = append([]string{"HOME=" + home, "TMPDIR=" + home, "PATH=/usr/local/bin:/usr/bin:/bin", "ANTHROPIC_BASE_URL=" + f.tap.URL,
		"DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "DISABLE_AUTOUPDATER=1"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	err = cmd.Run()
	if cmd.ProcessState == nil {
		f.Fatalf("claude does not start: %v; is it installed? install.sh does that", err)
	}
	return cliRun{out: out.String(), errs: errs.String(), exit: err, took: time.Since(start)}
}

// with is quiet and more settings.
func with(env ...string) []string { return append(env, quiet...) }

// checkCLI verifies what holds for every run: bodies, betas and all other headers arrive untouched, no credential of the
// client does, the first system block stays first, and the session is in the usage records.
func (f *fixture) checkCLI() {
	f.Helper()
	f.checkPassed()
	f.checkIDs()
	sent := f.tap.exchanges("/v1/messages")
	for i, r := range f.up.Messages() {
		if got, want := r.Header.Get("Anthropic-Beta"), sent[i].Header.Get("Anthropic-Beta"); got != want || strings.Count(got, ",") < 4 {
			f.Errorf("anthropic-beta %q arrived as %q", want, got)
		}
		var body struct {
			System []struct{ Text string }
		}
		if err := r.Decode(&body); err != nil || len(body.System) < 2 || !strings.HasPrefix(body.System[0].Text, "x-anthropic-billing-header:") {
			f.Errorf("the system blocks arrived as %d, %v", len(body.System), err)
		}
	}
	for i, u := range f.gw.usages("/v1/messages", len(sent)) {
		if want := sent[i].Header.Get("X-Claude-Code-Session-Id"); u.Session != want || want == "" {
			f.Errorf("recorded session %q, sent %q", u.Session, want)
		}
	}
}

func TestCLIText(t *testing.T) {
	for _, tt := range []struct {
		name, why  string
		credential string
		prefix     string
		args       []string
	}{
		{"Token", "the usual way", asToken, "", nil},
		{"Key", "the key goes as x-api-key", asKey, "", nil},
		{"Prefix", "clients that want a path before /v1", asToken, "/anthropic", nil},
		{"JSON", "the result names tokens and session", asToken, "", []string{"--output-format", "json"}},
		{"StreamJSON", "one line for each step, and each delta", asToken, "", []string{"--output-format", "stream-json", "--verbose", "--include-partial-messages"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			f.tap.URL += tt.prefix
			f.up.Default(up.Reply(up.Text("PINE", "APPLE – 菠萝")).Usage(reported))
			r := f.claude(with(tt.credential), "Name a fruit", tt.args...)
			if r.exit != nil || !strings.Contains(r.out, "PINEAPPLE – 菠萝") {
				f.Fatalf("%s: %s", tt.why, r)
			}
			f.wantUpstream(1)
			u := f.gw.usages("/v1/messages", 1)[0]
			checkTokens(f.T, u, reported)
			if !u.Stream || !u.Success || u.Attempts != 1 || u.ModelID != f.up.Last().Model() {
				f.Errorf("recorded %+v", u)
			}
			if tt.prefix != "" {
				return
			}
			x := f.tap.exchanges("/v1/messages")[0]
			if byKey := x.Header.Get("X-Api-Key") == proxyKey; byKey != (tt.credential == asKey) {
				f.Errorf("%s: x-api-key %q, authorization %q", tt.why, x.Header.Get("X-Api-Key"), x.Header.Get("Authorization"))
			}
			f.checkCLI()
			if len(tt.args) > 0 {
				checkResult(f, r, u)
			}
		})
	}
}

// checkResult compares the result line of Claude Code's JSON output with the usage record: both have the tokens that the
// upstream reported.
func checkResult(f *fixture, r cliRun, u usage) {
	f.Helper()
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	var got struct {
		Result    string
		IsError   bool   `json:"is_error"`
		SessionID string `json:"session_id"`
		Usage     struct {
			Input      int64 `json:"input_tokens"`
			Output     int64 `json:"output_tokens"`
			CacheRead  int64 `json:"cache_read_input_tokens"`
			CacheWrite int64 `json:"cache_creation_input_tokens"`
		}
	}
	f.noError(json.Unmarshal([]byte(lines[len(lines)-1]), &got))
	if got.IsError || got.Result != "PINEAPPLE – 菠萝" || got.SessionID != u.Session || got.Usage.Input != u.Uncached || got.Usage.Output != u.OutputTokens ||
		got.Usage.CacheRead != u.CacheRead || got.Usage.CacheWrite != u.CacheWrite5m+u.CacheWrite1h {
		f.Errorf("Claude Code counted %+v, the gateway %+v", got, u)
	}
}

// TestCLITool: Claude Code runs the command that the upstream asks for, and its output goes back upstream.
func TestCLITool(t *testing.T) {
	f := setUp(t)
	f.up.Default(up.ToolThenText("Bash", `{"command":"echo sluice-$((40+2))","description":"Print a word"}`, "It printed a word: MANGO"))
	r := f.claude(with(asToken), "Print a word", "--allowedTools", "Bash")
	if r.exit != nil || !strings.Contains(r.out, "MANGO") {
		f.Fatal(r)
	}
	f.wantUpstream(2)
	if body := string(f.up.Last().Body); !strings.Contains(body, `"tool_result"`) || !strings.Contains(body, "sluice-42") {
		f.Errorf("the tool's result did not reach the upstream; its last request had %d bytes", len(body))
	}
	f.checkCLI()
}

// TestCLIRecovers: trouble that passes does not reach the user.
func TestCLIRecovers(t *testing.T) {
	broken := up.Events(6).Usage(up.Usage{Input: 21, Output: 600})
	for _, tt := range []struct {
		name, why string
		queue     []up.Behaviour
		statuses  []int // of Claude Code's requests
		streams   []bool
		upstream  int
	}{
		{"Overloaded", "the gateway's second try, unseen", []up.Behaviour{up.Overloaded()}, []int{200}, []bool{true}, 2},
		{"OverloadedLonger", "three tries of the gateway, then Claude Code's second request", []up.Behaviour{up.Overloaded(), up.Overloaded(), up.Overloaded()}, []int{529, 200}, []bool{true, true}, 4},
		{"RateLimit", "a short one is waited out by the gateway, unseen", []up.Behaviour{up.RateLimited(time.Second)}, []int{200}, []bool{true}, 2},
		{"RateLimitLonger", "Claude Code waits for as long as retry-after says", []up.Behaviour{up.RateLimited(6 * time.Second)}, []int{429, 200}, []bool{true, true}, 2},
		{"ServerError", "the gateway's second try, unseen", []up.Behaviour{up.Status(500, "")}, []int{200}, []bool{true}, 2},
		{"CutReset", "a cut in mid-answer: the same again without streaming", []up.Behaviour{broken.Cut(up.AfterDeltas(2), up.EndReset)}, []int{200, 200}, []bool{true, false}, 2},
		{"CutClean", "a cut that HTTP does not show", []up.Behaviour{broken.Cut(up.AfterDeltas(2), up.EndClean)}, []int{200, 200}, []bool{true, false}, 2},
		{"ErrorEvent", "an error event in mid-answer", []up.Behaviour{broken.ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded")}, []int{200, 200}, []bool{true, false}, 2},
		{"ErrorFirst", "an error event in place of an answer, unseen", []up.Behaviour{broken.ErrorAt(up.AfterStart, "overloaded_error", "Overloaded")}, []int{200}, []bool{true}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			f.up.Queue(tt.queue...)
			f.up.Default(up.Reply(up.Text("PAPAYA")).Usage(reported))
			r := f.claude(with(asToken), "Name a fruit")
			if r.exit != nil || strings.TrimSpace(r.out) != "PAPAYA" {
				f.Fatalf("%s: %s", tt.why, r)
			}
			f.wantStatuses("/v1/messages", tt.statuses...)
			f.wantUpstream(tt.upstream)
			us := f.gw.usages("/v1/messages", len(tt.statuses))
			for i, u := range us {
				if last := i == len(us)-1; u.Stream != tt.streams[i] || u.Success != last {
					f.Errorf("%s: request %d is recorded as %+v", tt.why, i, u)
				}
			}
			checkTokens(f.T, us[len(us)-1], reported)
			f.checkIDs()
		})
	}
}

// TestCLIFails: trouble that does not pass ends soon, and says what it is.
func TestCLIFails(t *testing.T) {
	for _, tt := range []struct {
		name, why  string
		behaviour  up.Behaviour
		credential string
		status     int
		requests   int // of Claude Code, at most
		says       []string
		soon       time.Duration
	}{
		{"WrongKey", "no retry makes a key right: without x-should-retry: false Claude Code goes on for minutes", up.Behaviour{}, "ANTHROPIC_AUTH_TOKEN=no-such-key-anywhere-1", 401, 1, []string{"401", "API key"}, 60 * time.Second},
		{"PromptTooLong", "its wording is recognised and its numbers are read (D13, D15)", up.PromptTooLong(210_000, 200_000), asToken, 400, 1, []string{"Prompt is too long", "210000", "200000"}, 60 * time.Second},
		{"Invalid", "on words that it does not know Claude Code tries with fewer betas and fields, then shows them", up.Status(400, "max_tokens: strange <thing>"), asToken, 400, 6, []string{"max_tokens: strange <thing>"}, 60 * time.Second},
		{"Overloaded", "529 for ever: three requests and an end", up.Overloaded(), asToken, 529, 3, []string{"529", "Overloaded"}, 60 * time.Second},
		{"Budget", "a 429 that says not to retry (D18)", up.Status(429, "Budget spent").Header("X-Should-Retry", "false"), asToken, 429, 1, []string{"Budget spent"}, 60 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setUp(t)
			f.up.Default(tt.behaviour)
			r := f.claude(with(tt.credential), "Name a fruit")
			if r.exit == nil || r.took > tt.soon {
				f.Errorf("%s: %s", tt.why, r)
			}
			for _, words := range tt.says {
				if !strings.Contains(r.out+r.errs, words) {
					f.Errorf("%s: %q is not in %s", tt.why, words, r)
				}
			}
			got := f.tap.statuses("/v1/messages")
			if len(got) == 0 || len(got) > tt.requests || slices.ContainsFunc(got, func(status int) bool { return status != tt.status }) {
				f.Errorf("%s: its requests ended with %v", tt.why, got)
			}
			if n := f.up.Count(); n > 9 {
				f.Errorf("%d requests reached the upstream", n)
			}
		})
	}
}

// TestCLIBudget: a spent budget of the gateway's own stops Claude Code after one request, and it shows why (D18).
func TestCLIBudget(t *testing.T) {
	f := setUp(t)
	f.up.Default(up.Reply(up.Text("KIWI")).Usage(reported))
	var key struct{ Key string }
	f.gw.admin(http.MethodPost, "/admin/api/keys", map[string]any{"name": "tight", "usd_per_day": 0.000001}, &key)
	r := f.claude(with("ANTHROPIC_AUTH_TOKEN="+key.Key), "Name a fruit")
	if r.exit == nil || r.took > 60*time.Second || !strings.Contains(r.out+r.errs, "budget") {
		f.Error(r)
	}
	f.wantStatuses("/v1/messages", http.StatusTooManyRequests)
	f.wantUpstream(0)
}

// TestCLIDeadNode: the first choice is a node on which nothing listens; Claude Code notices nothing.
func TestCLIDeadNode(t *testing.T) {
	f := setUp(t, "UPSTREAM_ALLOW_PRIVATE=true")
	f.gw.activate(f.gw.addNode("dead", up.NewRefused(t)))
	f.up.Default(up.ToolThenText("Bash", `{"command":"echo hi"}`, "GUAVA"))
	r := f.claude(with(asToken), "Name a fruit", "--allowedTools", "Bash")
	if r.exit != nil || strings.TrimSpace(r.out) != "GUAVA" {
		f.Fatal(r)
	}
	f.wantStatuses("/v1/messages", 200, 200)
	f.checkCLI()
	for _, u := range f.gw.usages("/v1/messages", 2) {
		if u.Attempts != 2 || u.NodeName != "first" {
			f.Errorf("recorded %+v", u)
		}
	}
}

// TestCLISession: with two nodes alike, all requests of a session go to the same one.
func TestCLISession(t *testing.T) {
	f := setUp(t, "UPSTREAM_ALLOW_PRIVATE=true")
	other := up.NewAnthropic(t, up.WithKey(upstreamKey))
	f.gw.addNode("second", other.URL)
	behaviour := up.ToolThenText("Bash", `{"command":"echo hi"}`, "LYCHEE")
	f.up.Default(behaviour)
	other.Default(behaviour)
	r := f.claude(with(asToken), "Name a fruit", "--allowedTools", "Bash")
	if r.exit != nil || strings.TrimSpace(r.out) != "LYCHEE" {
		f.Fatal(r)
	}
	if a, b := len(f.up.Messages()), len(other.Messages()); a*b != 0 || a+b != 2 {
		f.Errorf("one node got %d requests of the session, the other %d", a, b)
	}
}

// TestCLIDiscovery: Claude Code asks whether anyone is there (D19) and which models there are before its first message.
func TestCLIDiscovery(t *testing.T) {
	f := setUp(t)
	f.up.Default(up.Reply(up.Text("KIWI")))
	r := f.claude([]string{asToken, "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY=1"}, "Name a fruit", "--model", model)
	if r.exit != nil || strings.TrimSpace(r.out) != "KIWI" {
		f.Fatal(r)
	}
	seen := map[string]int{}
	for _, x := range f.tap.exchanges("") {
		seen[x.Method+" "+x.Path+"?"+x.Query] = x.Status
		if x.Method == http.MethodHead && (x.Header.Get("Authorization") != "" || x.Status != http.StatusOK) {
			f.Errorf("the probe %s ended with %d; authorization sent: %t", x.Path, x.Status, x.Header.Get("Authorization") != "")
		}
		if x.Path == "/v1/models" && !strings.Contains(x.Text, `"id":"`+model+`"`) {
			f.Errorf("listed %s", x.Text)
		}
	}
	for _, want := range []string{"HEAD /api/hello?", "GET /v1/models?limit=1000", "POST /v1/messages?beta=true"} {
		if seen[want] != http.StatusOK {
			f.Errorf("%s: status %d in %v", want, seen[want], seen)
		}
	}
	if got := f.up.Last().Model(); got != model {
		f.Errorf("the upstream was asked for %q", got)
	}
}

// TestCLICountTokens: /context counts the parts of the prompt (D21), several at a time.
func TestCLICountTokens(t *testing.T) {
	f := setUp(t)
	r := f.claude(with(asToken), "/context")
	if r.exit != nil || !strings.Contains(r.out, "Context Usage") {
		f.Fatal(r)
	}
	const path = "/v1/messages/count_tokens"
	xs := f.tap.exchanges(path)
	if len(xs) < 10 {
		f.Errorf("only %d parts were counted", len(xs))
	}
	for _, x := range xs {
		if want := fmt.Sprintf(`{"input_tokens":%d}`, up.CountTokens(x.Body)); x.Status != 200 || x.Text != want {
			f.Errorf("counted %d %s, want %s", x.Status, x.Text, want)
		}
	}
	f.gw.usages(path, len(xs))
}
