//go:build unix

package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. A healthy program needs a fraction of it, also on a busy machine.
const patience = 60 * time.Second

const (
	adminKey = "my-secure-admin-key"
	proxyKey = "alpha-proxy-key-123"
	question = `{"model":"claude-sonnet-4-5-20250929","messages":[{"role":"user","content":"Hello"}],"max_tokens":256}`
	streamed = `{"model":"claude-sonnet-4-5-20250929","messages":[{"role":"user","content":"Hello"}],"max_tokens":256,"stream":true}`
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sluice-process")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "sluice")
		build := exec.Command("go", "build", "-ldflags", "-X main.version=1.2.3-test", "-o", binary, "sluice/local")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// output collects what a process prints and tells when it grows.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed at the next write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.b.Write(p)
}

func (o *output) state() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String(), o.more
}

func (o *output) String() string {
	s, _ := o.state()
	return s
}

// server is a running gateway.
type server struct {
	t      *testing.T
	url    string
	out    *output
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended; then err is set
	err    error
	took   time.Duration // from start to the first answer
}

func command(dir string, env map[string]string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// launch starts the program without waiting for it to serve.
func launch(t *testing.T, dir string, env map[string]string, args ...string) *server {
	t.Helper()
	s := &server{t: t, out: newOutput(), exited: make(chan struct{})}
	s.cmd = command(dir, env, args...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("the program printed:\n%.4000s", s.out)
		}
	})
	return s
}

var listening = regexp.MustCompile(`base URL (http://\S+)\)`)

// start starts the gateway, on a free port of its own choice unless env names one, and waits until it answers.
func start(t *testing.T, dir string, env map[string]string, args ...string) *server {
	t.Helper()
	if env["LISTEN_ADDR"] == "" && env["PORT"] == "" && !strings.Contains(strings.Join(args, " "), "--port") {
		env = with(env, "LISTEN_ADDR", "127.0.0.1:0")
	}
	began := time.Now()
	s := launch(t, dir, env, args...)
	s.url = s.await(listening)[1]
	if status, body := s.get("/readyz"); status != 200 {
		t.Fatalf("/readyz: %d %s", status, body)
	}
	s.took = time.Since(began)
	return s
}

func with(env map[string]string, more ...string) map[string]string {
	out := make(map[string]string, len(env)+len(more)/2)
	for k, v := range env {
		out[k] = v
	}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// await waits until the output matches.
func (s *server) await(re *regexp.Regexp) []string {
	s.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		text, more := s.out.state()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-more:
		case <-s.exited:
			if m := re.FindStringSubmatch(s.out.String()); m != nil {
				return m
			}
			s.t.Fatalf("it ended (%v) before it printed %s", s.err, re)
		case <-timeout.C:
			s.t.Fatalf("it did not print %s in %v", re, patience)
		}
	}
}

// says waits until the output holds each text: a pipe brings it later than the network brings an answer.
func (s *server) says(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		s.await(regexp.MustCompile(regexp.QuoteMeta(text)))
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// wait waits for the end and returns the exit code.
func (s *server) wait() int {
	s.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-s.exited:
	case <-timeout.C:
		s.t.Fatalf("it did not end in %v", patience)
	}
	return s.cmd.ProcessState.ExitCode()
}

// stop ends it as an operator does, and expects a clean end.
func (s *server) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 0 {
		s.t.Fatalf("exit code %d after SIGTERM", code)
	}
}

func (s *server) kill() {
	s.t.Helper()
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// client keeps no connections, so that none of a dead server is reused.
var client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func request(method, url, body string, headers ...string) *http.Request {
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, url, rd)
	if err != nil {
		panic(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// do sends a request and reads the whole answer.
func (s *server) do(method, path, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	resp, err := client.Do(request(method, s.url+path, body, headers...))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(data)
}

func (s *server) get(path string, headers ...string) (int, string) {
	s.t.Helper()
	resp, body := s.do("GET", path, "", headers...)
	return resp.StatusCode, body
}

// json sends a request, expects the status and decodes the answer.
func (s *server) json(want int, method, path, body string, headers ...string) map[string]any {
	s.t.Helper()
	resp, text := s.do(method, path, body, headers...)
	if resp.StatusCode != want {
		s.t.Fatalf("%s %s: status %d, want %d: %s", method, path, resp.StatusCode, want, text)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		s.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
	return m
}

// ask sends a message.
func (s *server) ask(key string) (status int, node, id string) {
	s.t.Helper()
	resp, _ := s.do("POST", "/v1/messages", question, "x-api-key", key)
	return resp.StatusCode, resp.Header.Get("X-Proxy-Node"), resp.Header.Get("Request-Id")
}

// run runs a command to its end.
func run(t *testing.T, dir string, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := command(dir, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-done
		t.Fatalf("sluice %s did not end in %v:\n%s", strings.Join(args, " "), patience, errs.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// fails runs a command that must end with exit code 1, and returns its lines on standard error.
func fails(t *testing.T, dir string, env map[string]string, args ...string) []string {
	t.Helper()
	code, _, stderr := run(t, dir, env, args...)
	if code != 1 {
		t.Fatalf("exit code %d, want 1:\n%s", code, stderr)
	}
	return strings.Split(strings.TrimSpace(stderr), "\n")
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}
