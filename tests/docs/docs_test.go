// Package docs runs what the READMEs tell people to type. A bash block that starts the gateway is started and awaited; the
// blocks after it run against it. Only the port, the upstream's address and the working folder are replaced.
package docs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/shared/config"
	"sluice/shared/upstream/upstreamtest"
)

// block is one fenced bash block.
type block struct {
	line int
	text string
}

// longest ends what hangs, and nothing else: a block may compile everything on a machine that is busy with other tests.
const longest = 15 * time.Minute

var readmes = []string{"README.md", "README.zh-CN.md"}

func blocks(t *testing.T, file string) []block {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	var cur *block
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case cur == nil && strings.TrimSpace(line) == "```bash":
			cur = &block{line: i + 2}
		case cur != nil && strings.TrimSpace(line) == "```":
			out = append(out, *cur)
			cur = nil
		case cur != nil:
			cur.text += line + "\n"
		}
	}
	return out
}

var starts = regexp.MustCompile(`(?m)(make run|go run \./local.*|bin/sluice( serve)?)\s*$`)

// isServer reports whether the block's last command runs until it is stopped.
func isServer(b block) bool {
	lines := strings.Split(strings.TrimSpace(b.text), "\n")
	return starts.MatchString(lines[len(lines)-1])
}

func needsClient(b block) bool {
	return strings.Contains(b.text, "claude -p") || strings.Contains(b.text, "codex exec")
}

// session runs blocks against one scratch copy of the project.
type session struct {
	t      *testing.T
	dir    string
	port   string
	up     *upstreamtest.Anthropic
	oidc   *upstreamtest.OIDC // AWS's token service, where every login is confirmed at once
	server *exec.Cmd
	out    *output
	done   chan error
}

func newSession(t *testing.T) *session {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the documents' shell blocks need bash")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// the project itself, but with a data folder of its own
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "data", "bin", ".git":
		case "CHANGELOG.md": // which is embedded, and a link cannot be
			text, err := os.ReadFile(filepath.Join(root, e.Name()))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, e.Name()), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		default:
			if err := os.Symlink(filepath.Join(root, e.Name()), filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := &session{t: t, dir: dir, port: freePort(t), up: upstreamtest.NewAnthropic(t), oidc: upstreamtest.NewOIDC(t)}
	s.oidc.Pending(0)
	s.oidc.SetInterval(1)
	t.Cleanup(s.stop)
	return s
}

// freePort picks a port below those that the kernel hands out, which the servers of other tests take at any moment.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(10_000))
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// output is what a server block printed; the process writes while the test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (s *session) adapt(text string) string {
	text = strings.ReplaceAll(text, "localhost:8000", "localhost:"+s.port)
	return strings.ReplaceAll(text, "https://api.anthropic.com", s.up.URL)
}

func (s *session) command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.adapt(script))
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PORT="+s.port, "UPSTREAM_BASE_URL="+s.up.URL, "UPSTREAM_ALLOW_PRIVATE=true", "AMAZONQ_TOKEN_ENDPOINT="+s.oidc.URL)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// start runs a server block and waits until it answers.
func (s *session) start(b block) {
	s.t.Helper()
	s.stop()
	s.out, s.done = new(output), make(chan error, 1)
	s.server = s.command(context.Background(), b.text)
	s.server.Stdout, s.server.Stderr = s.out, s.out
	if err := s.server.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { s.done <- s.server.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), longest) // the block builds the program first
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-s.done:
			s.server = nil
			s.t.Fatalf("line %d: the gateway ended: %v\n%s", b.line, err, s.out)
		case <-ctx.Done():
			s.t.Fatalf("line %d: the gateway never answered\n%s", b.line, s.out)
		case <-tick.C:
			if !strings.Contains(s.out.String(), "Listening on") {
				continue // whoever answers on the port now is not the gateway
			}
			resp, err := http.Get("http://127.0.0.1:" + s.port + "/readyz")
			if err != nil {
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
}

// stop ends the gateway as Ctrl-C does.
func (s *session) stop() {
	if s.server == nil {
		return
	}
	_ = syscall.Kill(-s.server.Process.Pid, syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-s.server.Process.Pid, syscall.SIGKILL)
		<-s.done
		s.t.Errorf("the gateway did not end at SIGINT\n%s", s.out)
	}
	s.server = nil
}

// failing makes curl and the shell tell of an error status that plain curl would only print.
const failing = `curl() { command curl --fail-with-body -sS "$@" || { echo "curl failed: $*" >&2; return 1; }; }
`

func (s *session) run(b block, env ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := s.command(ctx, failing+b.text)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Errorf("line %d: %v\n%s\n--- gave\n%s\n--- gateway\n%s", b.line, err, b.text, out, s.out)
	}
	return string(out)
}

func TestCommandsOfTheReadmes(t *testing.T) {
	for _, file := range readmes {
		t.Run(file, func(t *testing.T) {
			s := newSession(t)
			ran := 0
			for _, b := range blocks(t, file) {
				switch {
				case needsClient(b):
				case isServer(b):
					s.start(b)
					ran++
				default:
					out := s.run(b)
					ran++
					for path, want := range map[string]string{"/v1/messages": `"type":"message"`, "/v1/chat/completions": `"object":"chat.completion"`,
						"/v1/responses": `"object":"response"`, "/v1/models": `"object":"list"`} {
						if strings.Contains(b.text, path) && !strings.Contains(out, want) {
							t.Errorf("line %d: no answer of %s came back:\n%s", b.line, path, out)
						}
					}
				}
			}
			if ran < 7 {
				t.Errorf("only %d blocks were run: the document lost its commands, or this test its eyes", ran)
			}
			if s.up.Count() == 0 {
				t.Error("no request reached the upstream")
			}
		})
	}
}

// TestClientsOfTheReadmes runs the blocks that need Claude Code or Codex; `make test-clients` installs them.
func TestClientsOfTheReadmes(t *testing.T) {
	bin, err := filepath.Abs("../clients/node_modules/.bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"claude", "codex"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			if os.Getenv("NEED_CLIENTS") != "" {
				t.Fatalf("%s is not installed: %v", name, err)
			}
			t.Skip("SKIPPED: " + name + " is not installed; `make test-clients` installs it and runs this test")
		}
	}
	for _, file := range readmes {
		t.Run(file, func(t *testing.T) {
			s := newSession(t)
			s.up.Default(upstreamtest.Reply(upstreamtest.Text("Hello from the documents")))
			ran := 0
			var last *block
			for _, b := range blocks(t, file) {
				if isServer(b) {
					last = &b
				}
				if needsClient(b) {
					s.start(*last)
					out := s.run(b, "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1")
					if !strings.Contains(out, "Hello from the documents") {
						t.Errorf("line %d: the answer did not reach the terminal:\n%s", b.line, out)
					}
					ran++
				}
			}
			if ran != 2 {
				t.Errorf("%d blocks were run, want one of each client", ran)
			}
		})
	}
}

// TestDocumentsNameWhatIsThere checks make targets, files and variables that documents mention.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	makefile := read(t, "Makefile")
	settings := read(t, "shared/config/config.go")
	for _, file := range append([]string{"CONTRIBUTING.md", "docs/performance.md", "docs/admin-api.md", "docs/translation.md", "docs/scale.md", "docs/console.md"}, readmes...) {
		text := read(t, file)
		for _, m := range regexp.MustCompile("`make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s mentions make %s, which does not exist", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("../..", filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
	for _, m := range regexp.MustCompile(`env:"([A-Z_]+)"`).FindAllStringSubmatch(settings, -1) {
		for _, file := range readmes {
			if !strings.Contains(read(t, file), "`"+m[1]+"`") {
				t.Errorf("%s does not tell of the variable %s", file, m[1])
			}
		}
	}
	for _, file := range readmes {
		for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(read(t, file), -1) {
			if strings.HasPrefix(m[1], "OTEL_") { // by OpenTelemetry's names, of which most are made of parts
				if c, err := config.Parse(map[string]string{m[1]: "http://127.0.0.1:4318"}); err != nil || c.Traces.Exporter == "" {
					t.Errorf("%s tells of the variable %s, which turns on no traces: %v", file, m[1], err)
				}
				continue
			}
			if !strings.Contains(settings, `env:"`+m[1]+`"`) {
				t.Errorf("%s tells of the variable %s, which nothing reads", file, m[1])
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../..", file))
	if errors.Is(err, io.EOF) || err != nil {
		t.Fatal(fmt.Errorf("%s: %w", file, err))
	}
	return string(data)
}
