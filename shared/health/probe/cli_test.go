package probe_test

import (
	"context"
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

// TestCLIEnvironment: the credential is in the environment, never in the arguments; nothing else of ours is there; the home is
// a folder of its own, which is gone afterwards.
func TestCLIEnvironment(t *testing.T) {
	t.Setenv("SLUICE_MASTER_KEY", "our-own-secret")
	out := t.TempDir()
	script := program(t, `echo "$@" > `+out+`/args; env > `+out+`/env; pwd > `+out+`/pwd; touch "$HOME/trace"; echo ok`)
	r := newRig(t, memory.New(), func(o *probe.Options) { o.CLI = &probe.CLI{Path: script, Env: []string{"HTTPS_PROXY=http://proxy:1"}} })
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
	for k, want := range map[string]string{"ANTHROPIC_API_KEY": cliKey, "ANTHROPIC_AUTH_TOKEN": cliKey, "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
		"HTTPS_PROXY": "http://proxy:1", "PATH": os.Getenv("PATH"), "SLUICE_MASTER_KEY": ""} {
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

// TestCLISigns: Anthropic itself refuses a key sent as a token and a token sent as a key.
func TestCLISigns(t *testing.T) {
	for _, c := range []struct {
		why, base, key string
		api, token     bool
	}{
		{"a relay gets both", "https://relay.example", "sk-ant-api-1", true, true},
		{"Anthropic's key", "https://api.anthropic.com", "sk-ant-api-1", true, false},
		{"Anthropic's token", "https://api.anthropic.com", "sk-ant-oat-1", false, true},
	} {
		out := filepath.Join(t.TempDir(), "env")
		r := newRig(t, memory.New(), func(o *probe.Options) { o.CLI = &probe.CLI{Path: program(t, "env > "+out+"; echo ok")} })
		n := cliNode()
		n.BaseURL, n.Credential = c.base, core.Sealed(c.key)
		n = r.add(n, "")
		if found, err := r.Check(t.Context(), n); err != nil || !found.OK {
			t.Fatalf("%s: %+v, %v", c.why, found, err)
		}
		b, _ := os.ReadFile(out)
		if got := strings.Contains(string(b), "ANTHROPIC_API_KEY="+c.key); got != c.api {
			t.Errorf("%s: key %v", c.why, got)
		}
		if got := strings.Contains(string(b), "ANTHROPIC_AUTH_TOKEN="+c.key); got != c.token {
			t.Errorf("%s: token %v", c.why, got)
		}
	}
}

// TestCLIGuard: the program must not be a way around the guard of addresses.
func TestCLIGuard(t *testing.T) {
	for _, c := range []struct {
		why, base string
		operator  bool
		policy    upstream.Policy
		runs      bool
	}{
		{"loopback of a tenant", "http://127.0.0.1:1", false, upstream.Policy{}, false},
		{"by a name", "http://localhost:1", false, upstream.Policy{}, false},
		{"in brackets", "http://[::1]:1", false, upstream.Policy{}, false},
		{"the metadata service, whatever is allowed", "http://169.254.169.254", false, upstream.Policy{AllowPrivate: true}, false},
		{"loopback where it is allowed", "http://localhost:1", false, upstream.Policy{AllowPrivate: true}, true},
		{"the operator's own address", "http://127.0.0.1:1", true, upstream.Policy{}, true},
	} {
		mark := filepath.Join(t.TempDir(), "ran")
		r := newRig(t, memory.New(), func(o *probe.Options) {
			o.CLI = &probe.CLI{Path: program(t, "touch "+mark+"; echo ok"), Guard: c.policy}
		})
		n := cliNode()
		n.BaseURL, n.Operator = c.base, c.operator
		n = r.add(n, "")
		found, err := r.Check(t.Context(), n)
		_, ran := os.Stat(mark)
		if err != nil || found.OK != c.runs || (ran == nil) != c.runs || !c.runs && !strings.HasPrefix(found.Error, "address is not public") {
			t.Errorf("%s: %+v, %v, ran %v", c.why, found, err, ran == nil)
		}
	}
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
