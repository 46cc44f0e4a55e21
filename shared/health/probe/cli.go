package probe

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"sluice/shared/upstream"
)

const (
	cliTime   = 30 * time.Second
	cliOutput = 64 << 10 // bytes that are looked at
	cliGrace  = 2 * time.Second
)

// CLI runs the Claude CLI of this machine for the method cli: "claude -p" asks the node one question, as a person would. What it
// sends passes through this process, which signs and guards it like any request: the program is given neither the node's
// address nor its credential, and of this process's environment nothing but PATH. Its home is a folder of its own that is
// removed. One runs at a time.
type CLI struct {
	Timeout time.Duration // 0: 30 s
	Path    string        // the program; empty: claude on PATH
}

// askCLI asks by the CLI. done is false when it cannot be run here.
func (c *Checker) askCLI(ctx context.Context, t upstream.Target) (done bool, f upstream.Failure, took time.Duration) {
	model := c.cheapest(t.Node)
	program := c.o.CLI.Path
	if program == "" {
		found, err := exec.LookPath("claude")
		if err != nil {
			return false, f, 0
		}
		program = found
	}
	// a model that looks like an option must not become one
	if c.o.Clients[t.Node.Kind] == nil || t.Credential.IsZero() || model == "" || strings.HasPrefix(model, "-") {
		return false, f, 0
	}
	select {
	case c.cli <- struct{}{}: // they are large: with many at a time the machine would be theirs
		defer func() { <-c.cli }()
	case <-ctx.Done():
		return true, upstream.Failure{Class: upstream.Stopped, Reason: "time is up"}, 0
	}
	limit := c.o.CLI.Timeout
	if limit <= 0 {
		limit = cliTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	f, err := c.o.CLI.run(ctx, program, c.o.Clients[t.Node.Kind], t, model)
	if err != nil {
		c.o.Log.Warn("the Claude CLI cannot be run", "error", err)
		return false, f, 0
	}
	return true, f, time.Since(began)
}

// run asks once. The error means that the program could not be started.
func (l *CLI) run(ctx context.Context, program string, client upstream.Client, t upstream.Target, model string) (upstream.Failure, error) {
	relay, err := startRelay(ctx, client, t)
	if err != nil {
		return upstream.Failure{}, err
	}
	defer relay.stop()
	home, err := os.MkdirTemp("", "sluice-check-")
	if err != nil {
		return upstream.Failure{}, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	out := &head{left: cliOutput}
	cmd := exec.CommandContext(ctx, program, "-p", "say ok", "--tools", "", "--setting-sources", "", "--model", model)
	cmd.Dir, cmd.Stdout, cmd.WaitDelay = home, out, cliGrace
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "ANTHROPIC_BASE_URL=" + relay.url, "ANTHROPIC_API_KEY=" + relay.token,
		"NO_PROXY=127.0.0.1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"}
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return upstream.Failure{}, err
	}
	err = cmd.Wait()
	killGroup(cmd) // what it started may outlive it, and hold its output
	switch {
	case ctx.Err() != nil:
		return upstream.Failure{Class: upstream.Timeout, Reason: "the Claude CLI did not answer in time"}, nil
	case errors.Is(err, exec.ErrWaitDelay):
	case err != nil && relay.failed().Class != upstream.OK:
		return relay.failed(), nil
	case err != nil:
		return upstream.Failure{Class: upstream.Server, Reason: "the Claude CLI got no answer (" + err.Error() + ")"}, nil
	}
	if len(bytes.TrimSpace(out.text)) == 0 {
		return upstream.Failure{Class: upstream.Server, Reason: "the Claude CLI got an empty answer"}, nil
	}
	return upstream.Failure{}, nil
}

// head keeps the first bytes that are written to it.
type head struct {
	text []byte
	left int
}

// Write implements io.Writer.
func (h *head) Write(b []byte) (int, error) {
	n := min(len(b), h.left)
	h.text, h.left = append(h.text, b[:n]...), h.left-n
	return len(b), nil
}
