package deploy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// container is a process of the image: in a root folder of its own, with nothing of this machine's environment.
type container struct {
	t    testing.TB
	root string
	cmd  *exec.Cmd
	out  *output
	done chan error
	img  *image
	env  []string
	user *syscall.Credential
}

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

// create makes a container: a copy of the image's folder, where data, when it is not empty, takes the place of /app/data as
// a bind mount does.
func create(t testing.TB, data string, env ...string) *container {
	t.Helper()
	img := buildImage(t)
	dir := filepath.Join(t.TempDir(), "c")
	if out, err := exec.Command("cp", "-a", img.rootfs, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if data != "" {
		mount := filepath.Join(dir, "app/data")
		if err := errors.Join(os.Remove(mount), os.Rename(data, mount)); err != nil {
			t.Fatal(err)
		}
	}
	return &container{t: t, root: dir, img: img, env: append(append([]string{}, img.env...), env...)}
}

// command is one process in the container, as `docker run IMAGE args` and `docker exec` start it.
func (c *container) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = c.env, c.img.workdir
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Credential: c.user}
	return cmd
}

// start runs the entry point with arguments and waits until it answers on port.
func (c *container) start(port string, args ...string) {
	c.t.Helper()
	c.out, c.done = &output{}, make(chan error, 1)
	c.cmd = c.command(context.Background(), append(append([]string{}, c.img.entrypoint...), args...)...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	c.t.Cleanup(func() { _ = c.stop() })
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-c.done:
			c.cmd = nil
			c.t.Fatalf("it ended: %v\n%s", err, c.out)
		case <-deadline:
			c.t.Fatalf("it never answered\n%s", c.out)
		case <-tick.C:
			if !strings.Contains(c.out.String(), "Listening on") {
				continue
			}
			if status, _ := get("http://127.0.0.1:" + port + "/readyz"); status == http.StatusOK {
				return
			}
		}
	}
}

// stop is `docker stop`.
func (c *container) stop() error {
	if c.cmd == nil {
		return nil
	}
	defer func() { c.cmd = nil }()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-c.done:
		return err
	case <-time.After(35 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
		return errors.New("it did not end within stop_grace_period")
	}
}

// exec is `docker exec`: the status and what was printed.
func (c *container) exec(argv ...string) (status int, out string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := c.command(ctx, argv...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if exit != nil {
		status = exit.ExitCode()
	}
	return status, string(b)
}

// status is a line of /proc/PID/status.
func (c *container) status(name string) []string {
	c.t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/status")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// owners are the uid:gid of everything below a folder, by path.
func owners(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		out[rel] = strconv.Itoa(int(st.Uid)) + ":" + strconv.Itoa(int(st.Gid))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func get(url string) (status int, body string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// freePort picks a port below those that the kernel hands out.
func freePort(t testing.TB) string {
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
