//go:build linux

package process

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal and a program on it.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	before unix.Termios
	cmd    *exec.Cmd
	exited chan struct{}
	mu     sync.Mutex
	b      bytes.Buffer
	more   chan struct{}
}

// onTerminal starts the program on a terminal of its own.
func onTerminal(t *testing.T, dir string, env map[string]string, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("no pseudo-terminals here: %v", err)
	}
	tt := &terminal{t: t, master: master, slave: slave, exited: make(chan struct{}), more: make(chan struct{}, 1)}
	tt.resize(100, 20)
	tt.before = tt.modes()
	tt.cmd = command(dir, with(env, "TERM", "xterm"), args...)
	tt.cmd.Stdin, tt.cmd.Stdout, tt.cmd.Stderr = slave, slave, slave
	tt.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := tt.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = tt.cmd.Wait(); close(tt.exited) }()
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			tt.mu.Lock()
			tt.b.Write(buf[:n])
			tt.mu.Unlock()
			select {
			case tt.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tt.cmd.Process.Kill()
		<-tt.exited
		_ = slave.Close() // the last one: now reading ends
		<-read
		_ = master.Close()
	})
	return tt
}

func (tt *terminal) resize(w, h uint16) {
	tt.t.Helper()
	if err := unix.IoctlSetWinsize(int(tt.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: w, Row: h}); err != nil {
		tt.t.Fatal(err)
	}
}

func (tt *terminal) modes() unix.Termios {
	tt.t.Helper()
	m, err := unix.IoctlGetTermios(int(tt.slave.Fd()), unix.TCGETS)
	if err != nil {
		tt.t.Fatal(err)
	}
	return *m
}

func (tt *terminal) text() string {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	return tt.b.String()
}

// shows waits until what was printed after the first from bytes matches.
func (tt *terminal) shows(from int, pattern string) string {
	tt.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		text := tt.text()
		if m := re.FindString(text[min(from, len(text)):]); m != "" {
			return m
		}
		select {
		case <-tt.more:
		case <-timeout.C:
			tt.t.Fatalf("it did not show %q in %v:\n%q", pattern, patience, text)
		}
	}
}

func (tt *terminal) press(keys string) {
	tt.t.Helper()
	if _, err := tt.master.WriteString(keys); err != nil {
		tt.t.Fatal(err)
	}
}

// ends waits for the end, which must have that code and give the terminal back.
func (tt *terminal) ends(code int) {
	tt.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-tt.exited:
	case <-timeout.C:
		tt.t.Fatalf("it did not end in %v:\n%q", patience, tt.text())
	}
	if got := tt.cmd.ProcessState.ExitCode(); got != code {
		tt.t.Errorf("exit code %d, want %d:\n%q", got, code, tt.text())
	}
	if tt.modes() != tt.before {
		tt.t.Errorf("the terminal is left with other modes: %+v, it had %+v", tt.modes(), tt.before)
	}
}

const (
	page  = "\x1b[?1049h\x1b[?25l" // how top takes the screen
	paper = "\x1b[?25h\x1b[?1049l" // and gives it back
)

// TestTop: the live view, its keys, another size of the terminal, and every way out of it.
func TestTop(t *testing.T) {
	s, dir, here, far := cliGateway(t)
	if status, _, _ := s.ask(proxyKey); status != 200 {
		t.Fatalf("status %d", status)
	}
	for _, c := range []struct {
		why  string
		env  map[string]string
		end  func(*terminal)
		code int
	}{
		{"q", here, func(tt *terminal) { tt.press("q") }, 0},
		{"Ctrl-C, which is a key there", far, func(tt *terminal) { tt.press("\x03") }, 130},
		{"an interrupt from elsewhere", far, func(tt *terminal) { _ = tt.cmd.Process.Signal(os.Interrupt) }, 130},
		{"SIGTERM", far, func(tt *terminal) { _ = tt.cmd.Process.Signal(syscall.SIGTERM) }, 130},
		{"the terminal is closed", far, func(tt *terminal) { _ = tt.cmd.Process.Signal(syscall.SIGHUP) }, 130},
	} {
		t.Run(c.why, func(t *testing.T) {
			tt := onTerminal(t, dir, c.env, "top")
			tt.resize(140, 20) // slow answers make other columns wider, and then the names of models are cut
			tt.shows(0, `claude-sonnet-4-5-20250929 `)
			if tt.modes() == tt.before {
				t.Error("the terminal's modes are as before: nothing is tested")
			}
			c.end(tt)
			tt.ends(c.code)
			tt.shows(0, `(?s)^`+regexp.QuoteMeta(page)+`.*`+regexp.QuoteMeta(paper))
		})
	}
	tt := onTerminal(t, dir, far, "top", "--every", "1s")
	tt.shows(0, `MODEL.*REQ/MIN`)
	at := len(tt.text())
	tt.press("\t")
	tt.shows(at, `NODE.*REQ/MIN[^\n]*\n[^\n]*1 default`)
	at = len(tt.text())
	tt.press("\x1b[D\x1b[D")
	tt.shows(at, `ACCOUNT.*REQ/MIN[^\n]*\n[^\n]*default`)
	at = len(tt.text())
	tt.resize(30, 6)
	for l := range strings.SplitSeq(tt.shows(at, `\x1b\[H\x1b\[1msluice top[^\x1b]*…`), "\n") {
		if len([]rune(l)) > 30+len("\x1b[H\x1b[1m") {
			t.Errorf("a line of %d characters on a terminal of 30: %q", len([]rune(l)), l)
		}
	}
	s.stop()
	tt.resize(140, 20)
	at = len(tt.text())
	tt.shows(at, `no gateway answers at`)
	tt.press("q")
	tt.ends(0)
}

// TestSecretPrompt: what is typed is not shown, and Ctrl-C gives the terminal back.
func TestSecretPrompt(t *testing.T) {
	s, dir, _, far := cliGateway(t)
	tt := onTerminal(t, dir, far, "nodes", "add", "--name", "typed", "--base-url", "https://api.anthropic.com", "--api-key", "-")
	tt.shows(0, `--api-key \(not shown\): `)
	tt.press("sk-ant-wrong\x15sk-ant-typeX\x7fd\r")
	tt.ends(0)
	if strings.Contains(tt.text(), "sk-ant") {
		t.Errorf("the secret is shown: %q", tt.text())
	}
	if _, body := s.get("/admin/api/nodes", "x-admin-key", adminKey); !strings.Contains(body, `"name":"typed"`) {
		t.Errorf("no node was made: %s", body)
	}
	tt = onTerminal(t, dir, with(far, "SLUICE_ADMIN_KEY", ""), "nodes", "list", "--admin-key", "-")
	tt.shows(0, `--admin-key \(not shown\): `)
	tt.press("half\x03")
	tt.ends(130)
	tt = onTerminal(t, dir, far, "nodes", "update", "1", "--api-key", "-")
	tt.shows(0, `not shown`)
	_ = tt.cmd.Process.Signal(syscall.SIGTERM)
	tt.ends(130)
}

// TestConfirm: what cannot be undone is asked for, by name, and only a yes is one.
func TestConfirm(t *testing.T) {
	s, dir, _, far := cliGateway(t)
	for _, c := range []struct {
		keys string
		code int
		left bool
	}{{"\r", 1, true}, {"n\r", 1, true}, {"\x03", 130, true}, {"y\r", 0, false}} {
		tt := onTerminal(t, dir, far, "nodes", "delete", "1")
		tt.shows(0, `node 1 \(default\) are lost\. Delete it\? \[y/N\] `)
		tt.press(c.keys)
		tt.ends(c.code)
		if _, body := s.get("/admin/api/nodes", "x-admin-key", adminKey); strings.Contains(body, `"id":"1"`) != c.left {
			t.Errorf("%q: nodes %s", c.keys, body)
		}
	}
}

// TestTableOnTerminal: as wide as the terminal, with colours unless they are not wanted, and nothing of elsewhere steers it.
func TestTableOnTerminal(t *testing.T) {
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{\"nodes\":[{\"id\":\"1\",\"name\":\"\\u001b[2Jevil\\u009b5m\u009b6m\",\"kind\":\"openai\",\"state\":\"online\",\"base_url\":\"https://" + strings.Repeat("long.", 60) + "example\"}]}"))
	}))
	defer fake.Close()
	env := map[string]string{"SLUICE_URL": fake.URL, "SLUICE_ADMIN_KEY": "k"}
	colour := regexp.MustCompile(`\x1b\[[0-9]+m`)
	for _, c := range []struct {
		why     string
		env     map[string]string
		args    []string
		colours bool
	}{
		{"a table", env, []string{"nodes", "list"}, true},
		{"a table without colours", with(env, "NO_COLOR", "1"), []string{"nodes", "list"}, false},
		{"the answer as it is", env, []string{"nodes", "list", "--json"}, false},
	} {
		tt := onTerminal(t, t.TempDir(), c.env, c.args...)
		tt.ends(0)
		text := tt.shows(0, `(?s).*evil.*\n`)
		if colour.MatchString(text) != c.colours {
			t.Errorf("%s: colours: %v in %q", c.why, !c.colours, text)
		}
		plain := colour.ReplaceAllString(text, "")
		if strings.ContainsAny(plain, "\x1b\u009b") {
			t.Errorf("%s: %q steers the terminal", c.why, plain)
		}
		for l := range strings.Lines(plain) {
			if n := len([]rune(strings.TrimRight(l, "\r\n"))); n > 100 && c.args[len(c.args)-1] != "--json" {
				t.Errorf("%s: a line of %d characters on a terminal of 100", c.why, n)
			}
		}
	}
}

// TestProgressOfAnExport: it is shown on a terminal, and taken away.
func TestProgressOfAnExport(t *testing.T) {
	hold := make(chan struct{})
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/summary") {
			_, _ = w.Write([]byte(`{"total_requests":4}`))
			return
		}
		_, _ = w.Write([]byte("{}\n{}\n"))
		_ = http.NewResponseController(w).Flush()
		<-hold
	}))
	defer fake.Close()
	dir := t.TempDir()
	tt := onTerminal(t, dir, map[string]string{"SLUICE_URL": fake.URL, "SLUICE_ADMIN_KEY": "k"}, "usage", "--logs", "--format", "jsonl", "-o", "x.jsonl")
	tt.shows(0, `Exporting \[############\.+\] 50% 2 lines`)
	close(hold)
	tt.ends(0)
	tt.shows(0, `\r\x1b\[K$`)
}

// TestFollow: what comes is shown once, until Ctrl-C.
func TestFollow(t *testing.T) {
	s, dir, here, _ := cliGateway(t)
	s.ask(proxyKey)
	tt := onTerminal(t, dir, here, "logs", "--follow")
	tt.shows(0, `claude-`)
	s.ask(proxyKey)
	tt.shows(0, `(?s)claude-.*claude-`)
	tt.press("\x03")
	tt.ends(130)
	if n := strings.Count(tt.text(), "claude-"); n != 2 {
		t.Errorf("%d lines for two requests:\n%s", n, tt.text())
	}
}
