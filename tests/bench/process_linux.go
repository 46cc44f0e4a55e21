package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// child is a process that this program started. It dies with this program,
// whatever ends that.
type child struct {
	name   string
	cmd    *exec.Cmd
	stderr string        // file
	done   chan struct{} // closed when the process has ended
}

// startChild starts a process whose standard error goes to a file in dir. The
// calling goroutine must be locked to its thread for good: the kernel ties the
// child's life to the thread that started it.
func startChild(name, dir string, cmd *exec.Cmd) (*child, error) {
	f, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stderr = f
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C reaches this program alone, which stops the others
		Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, stderr: f.Name(), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // how it ended is in its standard error
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process and waits for it.
func (c *child) stop() {
	const grace = 500 * time.Millisecond
	_ = syscall.Kill(-c.pid(), syscall.SIGTERM) // fails only if it has ended
	select {
	case <-c.done:
	case <-time.After(grace):
		_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
		<-c.done
	}
}

// waitFor calls try until it returns nil, the process ends, or the time is up.
func (c *child) waitFor(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return c.explain(errors.New("ended before it was ready"))
		case <-ctx.Done():
			return c.explain(fmt.Errorf("not ready: %w", err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// explain adds the end of the process's standard error to err.
func (c *child) explain(err error) error {
	const most = 1500
	data, readErr := os.ReadFile(c.stderr)
	data = bytes.TrimSpace(data)
	if readErr != nil || len(data) == 0 {
		return err
	}
	return fmt.Errorf("%w; the end of its standard error:\n%s", err, data[max(0, len(data)-most):])
}

// cpu is the user and system time that all threads of the process, also ended
// ones, have used. It is the kernel's process clock, exact to the context
// switch, where /proc/pid/stat counts in ticks of 10 ms.
func (c *child) cpu() (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED, see clock_getcpuclockid(3)
	clock := int32(^c.pid())<<3 | sched
	var ts syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0, fmt.Errorf("read CPU clock of %s: %w", c.name, errno)
	}
	return time.Duration(ts.Nano()), nil
}

// memory is the resident memory of a process in bytes.
type memory struct {
	now  int64 // VmRSS
	peak int64 // VmHWM, since the start of the process or resetPeak
}

func (c *child) memory() (memory, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(c.pid()) + "/status")
	if err != nil {
		return memory{}, err
	}
	var m memory
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		var to *int64
		switch name {
		case "VmRSS":
			to = &m.now
		case "VmHWM":
			to = &m.peak
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("memory of %s: %w", c.name, err)
		}
		*to = kib << 10
	}
	return m, nil
}

// resetPeak makes the peak of memory count from now on. Where the kernel does
// not allow it the peak stays that since the start.
func (c *child) resetPeak() {
	_ = os.WriteFile("/proc/"+strconv.Itoa(c.pid())+"/clear_refs", []byte("5"), 0)
}

// raiseFiles raises this program's limit of open files, and so its children's,
// to the most allowed, and returns it.
func raiseFiles() (uint64, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	lim.Cur = lim.Max
	// Set even if nothing changes: only an explicit call is passed on to the
	// children, the runtime's own raise is not.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	return lim.Cur, nil
}
