package capture_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"sluice/shared/capture"
	"sluice/shared/seal/sealtest"
)

const fullDir = "CAPTURE_TEST_FULL_DIR"

// limited is the test's process again, with a bound on the size of files: the nearest to a full disk that needs no rights.
func limited() bool {
	dir := os.Getenv(fullDir)
	if dir == "" {
		return false
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: 1000}); err != nil {
		fmt.Println(err)
		return true
	}
	p, _ := capture.ParsePlace("file:" + dir)
	c, err := capture.Open(capture.Options{Place: p, Box: sealtest.Box(&testing.T{}), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return true
	}
	defer c.Close()
	small, large := exchange("acc", "x", ""), exchange("acc", strings.Repeat("x ", 5000), "")
	c.Keep(context.Background(), small)
	c.Keep(context.Background(), large)
	_, err = c.Read(context.Background(), "acc", large.RequestID, 7)
	fmt.Printf("%+v none=%v\n", c.Counts(), err == capture.ErrNone)
	return true
}

// TestFullDisk: nothing half is left where a disk takes no more.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fullDir+"="+dir)
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != "{Written:1 Skipped:0 Failed:1} none=true" {
		t.Errorf("%v: %s", err, out)
	}
	if all := tree(t, dir); len(all) != 1 {
		t.Errorf("%d files are left", len(all))
	}
}
