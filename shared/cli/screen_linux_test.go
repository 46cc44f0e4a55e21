package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal makes a pseudo-terminal.
func terminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return master, tty
}

// TestExportToTerminal: what clients named their models and sessions does not steer the terminal that an export is shown on.
func TestExportToTerminal(t *testing.T) {
	const hostile = "m\x1b]0;x\x07\u009b31m\u202eü,1\r\n"
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range len(hostile) { // characters come in parts
			_, _ = w.Write([]byte{hostile[i]})
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer web.Close()
	master, tty := terminal(t)
	env := Env{Stdin: strings.NewReader(""), Stdout: tty, Stderr: io.Discard, Vars: map[string]string{"SLUICE_URL": web.URL, "SLUICE_ADMIN_KEY": "key"}}
	if err := Run(env, []string{"usage", "--format", "csv"}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(tty, strings.Repeat(".", 2*len(hostile))) // so that reading ends
	want := `m\u001b]0;x\u0007\u009b31m\u202eü,1` + "\r\n"          // the terminal's own end of a line
	got := make([]byte, len(want))
	if _, err := io.ReadFull(master, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

// TestScreenAfterPanic: a panic gives the terminal back, too, so that its text can be read and the shell be used.
func TestScreenAfterPanic(t *testing.T) {
	master, tty := terminal(t)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		// without a session the first frame panics, in the middle of drawing
		_ = (&top{s: &session{env: Env{Stdin: tty}}, every: 1}).live(t.Context(), tty)
		t.Error("it did not panic: nothing is tested")
	}()
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *after != *before {
		t.Errorf("the terminal has other modes: %+v, it had %+v", after, before)
	}
	want := "\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l"
	_, _ = io.WriteString(tty, strings.Repeat(".", len(want))) // so that reading ends
	got := make([]byte, len(want))
	if _, err := io.ReadFull(master, got); err != nil || string(got) != want {
		t.Errorf("the screen is not given back: %q, %v", got, err)
	}
}
