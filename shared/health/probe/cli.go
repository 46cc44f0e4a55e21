package probe

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	cliTime   = 30 * time.Second
	cliOutput = 64 << 10 // bytes that are looked at
	cliGrace  = 2 * time.Second
)

// CLI runs the Claude CLI of this machine for the method cli: "claude -p" asks the node one question, as a person would. It
// gets the node's credential by its environment, a home folder of its own that is removed, and nothing else of this process.
// One runs at a time.
type CLI struct {
	Guard   upstream.Policy
	Env     []string      // more of its environment, such as HTTPS_PROXY=...
	Proxied bool          // names are resolved by a proxy: one that does not resolve here is let through, as it is to requests
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
	if t.Credential.IsZero() || t.Node.BaseURL == "" || model == "" || strings.HasPrefix(model, "-") {
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
	if err := c.o.CLI.guard(ctx, t.Node); err != nil {
		return true, upstream.ClassifyError(err), time.Since(began)
	}
	f, err := c.o.CLI.run(ctx, program, t, model)
	if err != nil {
		c.o.Log.Warn("the Claude CLI cannot be run", "error", err)
		return false, f, 0
	}
	return true, f, time.Since(began)
}

// guard refuses a node whose host is, or resolves to, an address that requests may not go to. The program resolves the name
// once more; who may set both a node's address and what its name resolves to gains no more than an answer's being there.
func (l *CLI) guard(ctx context.Context, n *core.Node) error {
	if n.Operator {
		return nil
	}
	u, err := url.Parse(n.BaseURL)
	if err != nil {
		return err
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return l.Guard.Check(a)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		if l.Proxied && ctx.Err() == nil {
			return nil
		}
		return err
	}
	for _, a := range addrs {
		if err := l.Guard.Check(a); err != nil {
			return err
		}
	}
	return nil
}

// run asks once. The error means that the program could not be started.
func (l *CLI) run(ctx context.Context, program string, t upstream.Target, model string) (upstream.Failure, error) {
	home, err := os.MkdirTemp("", "sluice-check-")
	if err != nil {
		return upstream.Failure{}, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	out := &head{left: cliOutput}
	cmd := exec.CommandContext(ctx, program, "-p", "say ok", "--tools", "", "--setting-sources", "", "--model", model)
	cmd.Dir, cmd.Stdout, cmd.WaitDelay = home, out, cliGrace
	cmd.Env = append(l.environment(t, home), l.Env...)
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return upstream.Failure{}, err
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return upstream.Failure{Class: upstream.Timeout, Reason: "the Claude CLI did not answer in time"}, nil
	case errors.Is(err, exec.ErrWaitDelay):
		killGroup(cmd) // what it started still holds its output
	case err != nil:
		return upstream.Failure{Class: upstream.Server, Reason: "the Claude CLI got no answer (" + err.Error() + ")"}, nil
	}
	if len(bytes.TrimSpace(out.text)) == 0 {
		return upstream.Failure{Class: upstream.Server, Reason: "the Claude CLI got an empty answer"}, nil
	}
	return upstream.Failure{}, nil
}

// environment is all that the program gets. The credential is here because everyone on the machine can read arguments.
func (l *CLI) environment(t upstream.Target, home string) []string {
	base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(t.Node.BaseURL, "/"), "/v1"), "/")
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "ANTHROPIC_BASE_URL=" + base,
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"}
	key := t.Credential.Reveal()
	u, _ := url.Parse(base)
	own := u != nil && (u.Hostname() == "anthropic.com" || strings.HasSuffix(u.Hostname(), ".anthropic.com"))
	oauth := strings.HasPrefix(key, "sk-ant-oat")
	if !own || !oauth { // as upstream/anthropic signs
		env = append(env, "ANTHROPIC_API_KEY="+key)
	}
	if !own || oauth {
		env = append(env, "ANTHROPIC_AUTH_TOKEN="+key)
	}
	return env
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
