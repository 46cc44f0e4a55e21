package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The credentials of every gateway here. No two are alike, so that a mix-up shows.
const (
	adminKey = "chaos-admin-key-0002"
	mainKey  = "chaos-main-key-0001"
)

const (
	startWait = 60 * time.Second
	grace     = 25 * time.Second // DRAIN_TIMEOUT
	settled   = 15 * time.Second // for usage to show in the admin API
)

// gateway is a process of the gateway.
type gateway struct {
	URL   string // from ready on
	index int
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
	err   error         // how, once done is closed
	log   string        // path
}

// own is the HTTP client of the program itself.
func own() *http.Client { return &http.Client{Timeout: 20 * time.Second} }

// keyOf is the proxy key of an account.
func keyOf(account string) string {
	if account == accountMain {
		return mainKey
	}
	return "chaos-" + account + "-key-0004"
}

// startGateway starts a process with nothing in its environment but what is named here and env.
func startGateway(ctx context.Context, binary, dir string, index int, env []string) (*gateway, error) {
	g := &gateway{index: index, done: make(chan struct{}), log: filepath.Join(dir, fmt.Sprintf("gateway-%d.log", index))}
	g.cmd = exec.CommandContext(ctx, binary, "serve")
	g.cmd.Dir = filepath.Join(dir, fmt.Sprint("gateway-", index))
	if err := os.Mkdir(g.cmd.Dir, 0o700); err != nil {
		return nil, err
	}
	out, err := os.Create(g.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own copy
	g.cmd.Stdout, g.cmd.Stderr = out, out
	g.cmd.Env = append([]string{"LISTEN_ADDR=127.0.0.1:0", "ADMIN_API_KEY=" + adminKey, "DEFAULT_PROXY_API_KEY=" + mainKey, "DEFAULT_ACCOUNT_NAME=" + accountMain,
		"UPSTREAM_ALLOW_PRIVATE=true", "LOG_FORMAT=json", "DRAIN_TIMEOUT=" + grace.String(), "HOME=" + g.cmd.Dir,
		"STREAM_SILENCE_TIMEOUT=" + silenceAfter.String(), "ANSWER_TIMEOUT=" + silenceAfter.String()}, env...)
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which ends with ctx
		g.err = g.cmd.Wait()
		close(g.done)
	}()
	return g, nil
}

// ready waits until the gateway takes requests.
func (g *gateway) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		if g.answers() {
			return nil
		}
		select {
		case <-g.done:
			said, _ := os.ReadFile(g.log)
			return fmt.Errorf("gateway %d ended at its start: %w\n%s", g.index, g.err, tail(said))
		default:
		}
		if !pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("gateway %d is not ready after %v: %w", g.index, startWait, ctx.Err())
		}
	}
}

// announced is the address that a gateway with a port of the system's choice tells of in its log.
var announced = regexp.MustCompile(`127\.0\.0\.1:[1-9][0-9]*`)

// answers reports whether the gateway takes requests, and learns from its log where it does.
func (g *gateway) answers() bool {
	if g.URL == "" {
		said, _ := os.ReadFile(g.log)
		addr := announced.Find(said)
		if addr == nil {
			return false
		}
		g.URL = "http://" + string(addr)
	}
	resp, err := own().Get(g.URL + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// admin calls the admin API and decodes its answer into out.
func (g *gateway) admin(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, g.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Admin-Key", adminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := own().Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = errors.New(resp.Status)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", method, path, err, tail(data))
	}
	return nil
}

// seed makes the accounts, all but the main one, and the nodes of all. The nodes' names are those of the script.
func (g *gateway) seed(nodes map[string][]*node) error {
	for account, all := range nodes {
		id := "default"
		if account != accountMain {
			var made struct{ ID string }
			if err := g.admin(http.MethodPost, "/admin/api/accounts", map[string]any{"name": account, "proxy_api_key": keyOf(account)}, &made); err != nil {
				return err
			}
			id = made.ID
		}
		if account == accountDark { // the most that can be set: so much of the budget is left to bound
			if err := g.admin(http.MethodPut, "/admin/api/config?account_id="+id, map[string]int{"retries": 10, "fail_limit": 10}, nil); err != nil {
				return err
			}
		}
		for _, n := range all {
			if err := g.admin(http.MethodPost, "/admin/api/nodes?account_id="+id, n.fields(), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// records reads all usage records that the gateway's store has.
func (g *gateway) records() ([]record, error) {
	var out []record
	for cursor := ""; ; {
		var page struct {
			Logs []struct {
				RequestID string `json:"request_id"`
				Node      string `json:"node_name"`
				Code      string `json:"error_code"`
				Uncached  int64  `json:"uncached_input_tokens"`
				CacheRead int64  `json:"cache_read_tokens"`
				Output    int64  `json:"output_tokens"`
				Estimated bool   `json:"estimated"`
				Success   bool   `json:"success"`
				Attempts  int    `json:"attempts"`
			} `json:"logs"`
			Next string `json:"next_cursor"`
		}
		if err := g.admin(http.MethodGet, "/api/usage/logs?limit=1000&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return nil, err
		}
		for _, r := range page.Logs {
			out = append(out, record{Gateway: g.index, RequestID: r.RequestID, Node: r.Node, Usage: usage{r.Uncached, r.CacheRead, r.Output}, Code: r.Code,
				Success: r.Success, Estimated: r.Estimated, Attempts: r.Attempts})
		}
		if cursor = page.Next; cursor == "" || len(page.Logs) == 0 {
			return out, nil
		}
	}
}

// summary reads the sums of the usage.
func (g *gateway) summary() (map[string]int64, error) {
	var s struct {
		Requests int64 `json:"total_requests"`
		Input    int64 `json:"total_input_tokens"`
		Output   int64 `json:"total_output_tokens"`
	}
	err := g.admin(http.MethodGet, "/api/usage/summary", nil, &s)
	return map[string]int64{"requests": s.Requests, "input": s.Input, "output": s.Output}, err
}

// read reads from the gateway's log which attempts failed, which requests the store failed, how many errors it tells of, and what
// looks like a crash.
func (g *gateway) read(l *ledger) error {
	f, err := os.Open(g.log)
	if err != nil {
		return err
	}
	p := &l.procs[g.index]
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text := lines.Text(); p.Crash == "" && (strings.Contains(text, "panic") || strings.Contains(text, "DATA RACE") || strings.Contains(text, "fatal error")) {
			p.Crash = text
		}
		var said struct {
			Time      time.Time `json:"time"`
			Level     string    `json:"level"`
			Msg       string    `json:"msg"`
			RequestID string    `json:"request_id"`
			Node      string    `json:"node"`
			Reason    string    `json:"reason"`
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			continue
		}
		switch {
		case said.Msg == "attempt failed":
			l.failures = append(l.failures, failure{g.index, said.Time, said.RequestID, said.Node, said.Reason})
		case said.Msg == "store failed" && said.RequestID != "":
			l.away[said.RequestID] = true
			fallthrough
		case said.Level == "ERROR":
			p.Errors++
		}
	}
	return lines.Err()
}

// descriptors counts the open files of the process, without its connections to the store at an address (whose pool is as large as
// its clients were many), which it counts apart; -1 where the system does not tell.
func (g *gateway) descriptors(store string) (files, pool int) {
	dir := fmt.Sprintf("/proc/%d/fd", g.cmd.Process.Pid)
	all, err := os.ReadDir(dir)
	if err != nil {
		return -1, 0
	}
	to := socketsTo(store)
	for _, fd := range all {
		link, err := os.Readlink(filepath.Join(dir, fd.Name()))
		switch {
		case err != nil: // closed meanwhile
		case to[link]:
			pool++
		default:
			files++
		}
	}
	return files, pool
}

// socketsTo are the sockets of this machine that are connected to an address, as the links of descriptors name them.
func socketsTo(addr string) map[string]bool {
	out := map[string]bool{}
	_, text, ok := strings.Cut(addr, ":")
	port, err := strconv.Atoi(text)
	if !ok || err != nil {
		return out
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, _ := os.ReadFile(table)
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", port)) {
				out["socket:["+f[9]+"]"] = true
			}
		}
	}
	return out
}

// memory is the resident memory of the process in MiB; 0 where the system does not tell.
func (g *gateway) memory() int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.Atoi(kb)
	return n / 1024
}

// terminate asks the process to end.
func (g *gateway) terminate() error { return g.cmd.Process.Signal(syscall.SIGTERM) }

// ended waits until it has; the text says what was wrong with it.
func (g *gateway) ended() (text string) {
	limit := time.NewTimer(grace + 10*time.Second)
	defer limit.Stop()
	select {
	case <-g.done:
		if g.err != nil {
			return g.err.Error()
		}
		return ""
	case <-limit.C:
		_ = g.cmd.Process.Kill()
		return "it had to be killed"
	}
}
