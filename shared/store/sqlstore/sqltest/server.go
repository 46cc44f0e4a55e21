//go:build unix

package sqltest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Server is a database server that a test started.
type Server struct {
	Port string // on 127.0.0.1

	start func() *exec.Cmd
	cmd   *exec.Cmd
	log   *bytes.Buffer
}

// Dir is a directory that the server's user may use, and that user; nil: the user of the tests.
func Dir(tb testing.TB, account string) (string, *syscall.SysProcAttr) {
	tb.Helper()
	dir := tb.TempDir()
	if os.Getuid() != 0 {
		return dir, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		Missing(tb, account, "there is no user "+account+" to run the server")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, uid, gid)); err != nil {
		tb.Fatal(err)
	}
	return dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// Program finds a program by name or pattern; "" when it is not there.
func Program(patterns ...string) string {
	for _, p := range patterns {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
		found, err := filepath.Glob(p)
		if err == nil && len(found) > 0 {
			return found[len(found)-1]
		}
	}
	return ""
}

// Do runs a program to its end.
func Do(tb testing.TB, as *syscall.SysProcAttr, dir, name string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Dir, cmd.SysProcAttr = dir, as
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// NewServer describes a server program that listens on a free port; args gets that. It does not start it.
func NewServer(tb testing.TB, as *syscall.SysProcAttr, dir, name string, args func(port string) []string) *Server {
	tb.Helper()
	s := &Server{Port: freePort(tb)}
	s.start = func() *exec.Cmd {
		cmd := exec.Command(name, args(s.Port)...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		return cmd
	}
	tb.Cleanup(func() { s.Kill(tb) })
	return s
}

// Up starts the server's program. It does not wait until that answers.
func (s *Server) Up(tb testing.TB) {
	tb.Helper()
	s.cmd, s.log = s.start(), &bytes.Buffer{}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
}

// Kill ends the server's program without warning.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()         // it says that it was killed
	s.cmd = nil
	if tb.Failed() {
		tb.Logf("the server's last words:\n%s", s.log.Bytes()[max(0, s.log.Len()-2000):])
	}
}

// Await tries until it goes well.
func Await(tb testing.TB, what string, try func(ctx context.Context) error) {
	tb.Helper()
	var err error
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 20 * 60 {
		if err = try(tb.Context()); err == nil {
			return
		}
		<-tick.C
	}
	tb.Fatalf("%s: %v", what, err)
}
