package runtimeapi

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
)

// Process is a function's execution environment: the binary as Lambda would start it.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error

	mu  sync.Mutex
	out bytes.Buffer
}

// Start runs a function binary against the fake, with Lambda's variables and env, and nothing of the test's own environment.
func (s *Server) Start(binary string, env ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(binary), exited: make(chan struct{})}
	p.cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + s.address, "AWS_LAMBDA_FUNCTION_NAME=test", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512", "AWS_REGION=us-east-1", "_HANDLER=bootstrap", "TZ=:UTC", "PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Write takes the function's output.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// Output returns what the function has printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends the process a signal.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop kills the process and waits for its end.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}
