package probe_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/health/probe"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
)

type (
	doc = store.Doc
	row = store.Row[core.NodeState]
)

const kindNodeState = store.KindNodeState

const cliKey = "sk-ant-test-cli-1234567890"

// program writes a shell script that stands for the Claude CLI.
func program(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "claude")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func cliNode() core.Node {
	return core.Node{HealthMethod: core.CheckCLI, BaseURL: "http://127.0.0.1:1/v1/", Operator: true, Credential: cliKey, HealthModel: "m-1"}
}

// TestCLI: what the program's end means, and that nothing is asked beside it.
func TestCLI(t *testing.T) {
	for _, c := range []struct {
		why, body string
		ok        bool
		says      string
	}{
		{"an answer", "echo OK", true, ""},
		{"an empty one", "echo", false, "the Claude CLI got an empty answer"},
		{"an error, with an answer", "echo OK; exit 3", false, "the Claude CLI got no answer (exit status 3)"},
		{"a flood is cut, and read to its end", "head -c 3000000 /dev/zero | tr '\\0' x", true, ""},
		{"silence", "sleep 60 & wait", false, "the Claude CLI did not answer in time"},
		{"what it leaves behind does not hold us up", "sleep 60 & echo OK", true, ""},
	} {
		r := newRig(t, memory.New(), func(o *probe.Options) {
			o.CLI = &probe.CLI{Path: program(t, c.body), Timeout: 3 * time.Second}
			if c.why == "silence" {
				o.CLI.Timeout = 300 * time.Millisecond
			}
		})
		n := r.add(cliNode(), "")
		found, err := r.Check(t.Context(), n)
		if err != nil || found.OK != c.ok || found.Error != c.says || found.Method != core.CheckCLI || found.Source != core.SourceManual || len(r.client.nodes()) != 0 {
			t.Errorf("%s: %+v, %v, %q", c.why, found, err, r.client.nodes())
		}
		if s := r.stateOf(n); (s.FailStreak == 0) != c.ok {
			t.Errorf("%s: %+v", c.why, s)
		}
		if strings.Contains(r.log.String(), "OK") {
			t.Errorf("%s: its output is logged: %s", c.why, r.log)
		}
	}
}

// TestCLIEnvironment: neither the credential nor the address is in environment or arguments, nor anything else of ours; the home
// is a folder of its own, which is gone afterwards.
func TestCLIEnvironment(t *testing.T) {
	t.Setenv("SLUICE_MASTER_KEY", "our-own-secret")
	out := t.TempDir()
	script := program(t, `echo "$@" > `+out+`/args; env > `+out+`/env; pwd > `+out+`/pwd; touch "$HOME/trace"; echo ok`)
	r := newRig(t, memory.New(), func(o *probe.Options) { o.CLI = &probe.CLI{Path: script} })
	n := r.add(cliNode(), "")
	if found, err := r.Check(t.Context(), n); err != nil || !found.OK {
		t.Fatalf("%+v, %v", found, err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got, want := read("args"), "-p say ok --tools  --setting-sources  --model m-1\n"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	env := map[string]string{}
	for line := range strings.Lines(read("env")) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[k] = v
	}
	if strings.Contains(read("env"), cliKey) || !strings.HasPrefix(env["ANTHROPIC_API_KEY"], "sk-ant-check-") || !strings.HasPrefix(env["ANTHROPIC_BASE_URL"], "http://127.0.0.1:") ||
		env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1" {
		t.Errorf("environment %v", env)
	}
	for k, want := range map[string]string{"PATH": os.Getenv("PATH"), "SLUICE_MASTER_KEY": ""} {
		if env[k] != want {
			t.Errorf("%s is %q, want %q", k, env[k], want)
		}
	}
	home := env["HOME"]
	if home == "" || home == os.Getenv("HOME") || strings.TrimSpace(read("pwd")) != home {
		t.Errorf("home %q, folder %q", home, read("pwd"))
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("the home stays: %v", err)
	}
}

// TestCLIRelay: what the program sends reaches the node through its own client, signed and guarded as any request; the
// program knows neither address nor credential, and nobody without the check's own token is served.
func TestCLIRelay(t *testing.T) {
	for _, c := range []struct {
		why, mode string
		status    int
		ok        bool
		says      string
		asked     int
	}{
		{"a question", "ask", 200, true, "", 1},
		{"a node that fails", "ask", 503, false, "status 503", 1},
		{"a refused credential", "ask", 401, false, "status 401", 1},
		{"a redirect, which the program would have followed to any address", "ask", 307, false, "status 307", 1},
		{"another token", "steal", 200, false, "the Claude CLI got no answer (exit status 1)", 0},
		{"what is no API", "elsewhere", 200, false, "the Claude CLI got no answer (exit status 1)", 0},
	} {
		r := newRig(t, memory.New(), func(o *probe.Options) {
			o.CLI = &probe.CLI{Path: program(t, "FAKE_CLAUDE="+c.mode+" exec "+os.Args[0])}
		})
		r.client.status(c.status)
		n := r.add(cliNode(), "")
		found, err := r.Check(t.Context(), n)
		if err != nil || found.OK != c.ok || found.Error != c.says || found.Method != core.CheckCLI || len(r.client.nodes()) != c.asked {
			t.Errorf("%s: %+v, %v, asked %q", c.why, found, err, r.client.asked)
		}
	}
}

// endless answers with more than any machine's memory, packed.
type endless struct{ scripted }

func (e *endless) Send(context.Context, upstream.Target, *upstream.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"gzip"}, "Set-Cookie": {"a=b"}}
	return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(zeros{})}, nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestCLIRelayIsBounded: a node made the program take all memory.
func TestCLIRelayIsBounded(t *testing.T) {
	r := newRig(t, memory.New(), func(o *probe.Options) {
		o.CLI = &probe.CLI{Path: program(t, "FAKE_CLAUDE=ask exec "+os.Args[0])}
		o.Clients = map[core.Kind]upstream.Client{core.KindAnthropic: &endless{}}
	})
	n := r.add(cliNode(), "")
	if found, err := r.Check(t.Context(), n); err != nil || !found.OK {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestMain lets the test binary be the program that TestCLIRelay runs.
func TestMain(m *testing.M) {
	mode := os.Getenv("FAKE_CLAUDE")
	if mode == "" {
		os.Exit(m.Run())
	}
	path, key := "/v1/messages", os.Getenv("ANTHROPIC_API_KEY")
	switch mode {
	case "steal":
		key += "x"
	case "elsewhere":
		path = "/api/event"
	}
	q, err := http.NewRequestWithContext(context.Background(), http.MethodPost, os.Getenv("ANTHROPIC_BASE_URL")+path, strings.NewReader(`{"model":"m-1"}`))
	if err != nil {
		os.Exit(2)
	}
	q.Header.Set("X-Api-Key", key)
	resp, err := http.DefaultClient.Do(q)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Set-Cookie") != "" {
		os.Exit(1)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n > 1<<20 {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString("OK")
	os.Exit(0)
}

// TestLesson_CLIFallsBack (BUG of 1.9: methods without a key became HEAD, silently): where the CLI cannot ask, a message does,
// the check says so, and the log once.
func TestLesson_CLIFallsBack(t *testing.T) {
	for _, c := range []struct {
		why  string
		cli  *probe.CLI
		node func(*core.Node)
		told bool
	}{
		{"on a function", nil, nil, true},
		{"without the program", &probe.CLI{Path: "/nonexistent/claude"}, nil, true},
		{"without a key", &probe.CLI{Path: "/bin/echo"}, func(n *core.Node) { n.Credential = "" }, true},
		{"of another kind", &probe.CLI{Path: "/bin/echo"}, func(n *core.Node) { n.Kind = core.KindOpenAI }, true},
		{"with a model that is an option", &probe.CLI{Path: "/bin/echo"}, func(n *core.Node) { n.HealthModel = "--dangerously-skip-permissions" }, true},
	} {
		r := newRig(t, memory.New(), func(o *probe.Options) { o.CLI = c.cli })
		n := cliNode()
		if c.node != nil {
			c.node(&n)
		}
		n = r.add(n, "")
		for range 2 {
			found, err := r.Check(t.Context(), n)
			if err != nil || !found.OK || found.Method != core.CheckAPI {
				t.Errorf("%s: %+v, %v", c.why, found, err)
			}
		}
		if got := r.client.nodes(); len(got) != 2 || strings.Contains(strings.Join(r.client.asked, " "), "HEAD") {
			t.Errorf("%s: asked %q", c.why, r.client.asked)
		}
		if got := strings.Count(r.log.String(), "what is missing is done by a message instead"); got != 1 {
			t.Errorf("%s: told %d times:\n%s", c.why, got, r.log)
		}
	}
}

// TestLesson_CLIChecksDoNotPileUp (1.18, crash-fix-v1.7.2): one program at a time, whoever asks.
func TestLesson_CLIChecksDoNotPileUp(t *testing.T) {
	dir := t.TempDir()
	script := program(t, `mkdir `+dir+`/busy || touch `+dir+`/two; sleep 0.05; rmdir `+dir+`/busy; echo ok`)
	r := newRig(t, memory.New(), func(o *probe.Options) { o.CLI = &probe.CLI{Path: script} })
	var nodes []core.Node
	for range 6 {
		nodes = append(nodes, r.add(cliNode(), ""))
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.sweep() })
	for _, n := range nodes {
		wg.Go(func() {
			if found, err := r.Check(t.Context(), n); err != nil || !found.OK {
				t.Errorf("%+v, %v", found, err)
			}
		})
	}
	wg.Wait()
	if _, err := os.Stat(filepath.Join(dir, "two")); err == nil {
		t.Error("two ran at a time")
	}
}

// TestCLIEndsWithItsCaller: a caller that leaves ends the program, and nothing is blamed.
func TestCLIEndsWithItsCaller(t *testing.T) {
	r := newRig(t, memory.New(), func(o *probe.Options) { o.CLI = &probe.CLI{Path: program(t, "sleep 60")} })
	n := r.add(cliNode(), "")
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	start := time.Now()
	if _, err := r.Check(ctx, n); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if s := r.stateOf(n); s.FailStreak != 0 {
		t.Errorf("%+v", s)
	}
}

// TestCLIEndsWithAllItStarted: the program's own children end with it.
func TestCLIEndsWithAllItStarted(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	r := newRig(t, memory.New(), func(o *probe.Options) {
		o.CLI = &probe.CLI{Path: program(t, "(sleep 1; touch "+mark+") & wait"), Timeout: 200 * time.Millisecond}
	})
	if found, err := r.Check(t.Context(), r.add(cliNode(), "")); err != nil || found.OK {
		t.Errorf("%+v, %v", found, err)
	}
	<-time.After(1200 * time.Millisecond)
	if _, err := os.Stat(mark); err == nil {
		t.Error("what the program started goes on")
	}
}
