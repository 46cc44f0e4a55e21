//go:build unix

package process

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// cliGateway is a gateway with an upstream, and the environments of commands beside it and far from it.
func cliGateway(t *testing.T) (s *server, dir string, here, far map[string]string) {
	t.Helper()
	up := upstreamtest.NewAnthropic(t)
	dir = t.TempDir()
	here = map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": adminKey}
	s = start(t, dir, here)
	return s, dir, here, map[string]string{"SLUICE_URL": s.url, "SLUICE_ADMIN_KEY": adminKey}
}

// good runs a command that must succeed and returns what it printed.
func good(t *testing.T, dir string, env map[string]string, args ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, dir, env, args...)
	if code != 0 {
		t.Fatalf("sluice %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// TestCLI walks through the commands against a real gateway, from beside it and from far.
func TestCLI(t *testing.T) {
	for _, name := range []string{"here", "far"} {
		t.Run(name, func(t *testing.T) {
			s, away, env, far := cliGateway(t)
			for range 3 {
				if status, _, _ := s.ask(proxyKey); status != 200 {
					t.Fatalf("status %d", status)
				}
			}
			if name == "far" {
				away, env = t.TempDir(), far // no store, no control file
			}
			var sum struct {
				Requests int `json:"total_requests"`
			}
			if err := json.Unmarshal([]byte(good(t, away, env, "usage", "--by", "total", "--json")), &sum); err != nil || sum.Requests != 3 {
				t.Errorf("usage: %+v, %v", sum, err)
			}
			for _, by := range []string{"model", "node", "key", "account", "hour", "day", "month", "session", "agent"} {
				if out := good(t, away, env, "usage", "--by", by); !strings.Contains(out, strings.ToUpper(by)) || !strings.Contains(out, "100.0%") {
					t.Errorf("usage by %s:\n%s", by, out)
				}
			}
			if out := good(t, away, env, "usage", "--by", "node", "--last", "1h"); !strings.Contains(out, "1 default") {
				t.Errorf("a node without its name:\n%s", out)
			}
			rows, err := csv.NewReader(strings.NewReader(good(t, away, env, "usage", "--format", "csv", "--logs"))).ReadAll()
			if err != nil || len(rows) != 4 {
				t.Errorf("%d rows of CSV, want titles and 3: %v", len(rows), err)
			}
			if lines := strings.Count(good(t, away, env, "usage", "--format", "jsonl", "--logs"), "\n"); lines != 3 {
				t.Errorf("%d lines of JSON", lines)
			}
			good(t, away, env, "usage", "--format", "csv", "-o", "u.csv")
			if data, err := os.ReadFile(filepath.Join(away, "u.csv")); err != nil || !strings.Contains(string(data), "claude-sonnet-4-5") {
				t.Errorf("-o: %q, %v", data, err)
			}
			if out := good(t, away, env, "logs"); strings.Count(out, "\n") != 4 {
				t.Errorf("logs:\n%s", out)
			}
			if out := good(t, away, env, "logs", "--failed"); strings.Count(out, "\n") != 1 {
				t.Errorf("failed logs:\n%s", out)
			}
			if out := good(t, away, env, "top", "--by", "node"); !strings.Contains(out, "REQ/MIN") || !strings.Contains(out, "0.6") {
				t.Errorf("top:\n%s", out)
			}
			cliEdits(t, s, away, env)
		})
	}
}

// cliEdits makes, changes and deletes keys, nodes and accounts.
func cliEdits(t *testing.T, s *server, dir string, env map[string]string) {
	t.Helper()
	key := strings.TrimSpace(good(t, dir, env, "keys", "create", "--name", "ci"))
	if status, _, _ := s.ask(key); status != 200 {
		t.Errorf("the new key: %d", status)
	}
	var list struct{ Keys []struct{ ID, Name string } }
	if err := json.Unmarshal([]byte(good(t, dir, env, "keys", "list", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	id := list.Keys[len(list.Keys)-1].ID
	fresh := strings.TrimSpace(good(t, dir, env, "keys", "rotate", id, "--yes"))
	if status, _, _ := s.ask(key); status != 401 {
		t.Errorf("the credential that was replaced: %d", status)
	}
	if status, _, _ := s.ask(fresh); status != 200 {
		t.Errorf("the new credential: %d", status)
	}
	good(t, dir, env, "keys", "update", id, "--rpm", "77", "--name", "主")
	if out := good(t, dir, env, "keys", "list"); !strings.Contains(out, "77/min") || !strings.Contains(out, "主") {
		t.Errorf("keys:\n%s", out)
	}
	good(t, dir, env, "keys", "revoke", id, "--yes")
	if status, _, _ := s.ask(fresh); status != 401 {
		t.Errorf("the key that was revoked: %d", status)
	}
	good(t, dir, env, "keys", "delete", id, "--yes")

	_, printed := pipe(t, dir, env, "sk-ant-second\n", "nodes", "add", "--name", "second", "--base-url", "https://api.anthropic.com", "--api-key", "-")
	node := strings.TrimSpace(printed)
	for _, word := range []string{"disable", "enable", "activate"} {
		good(t, dir, env, "nodes", word, node)
	}
	good(t, dir, env, "nodes", "activate")
	good(t, dir, env, "nodes", "update", node, "--weight", "9")
	if out := good(t, dir, env, "nodes", "list"); !strings.Contains(out, "second") || strings.Contains(out, "sk-ant") {
		t.Errorf("nodes:\n%s", out)
	}
	if out := good(t, dir, env, "nodes", "check", "1"); !strings.Contains(out, "good") {
		t.Errorf("a check:\n%s", out)
	}
	if out := good(t, dir, env, "nodes", "health", "1"); !strings.Contains(out, "manual") {
		t.Errorf("a history:\n%s", out)
	}
	good(t, dir, env, "nodes", "delete", node, "--yes")

	team := strings.TrimSpace(good(t, dir, env, "accounts", "create", "team"))
	if status, _, _ := s.ask(team); status == 401 {
		t.Error("the key of the new account is unknown")
	}
	var accounts struct{ Accounts []struct{ ID, Name string } }
	if err := json.Unmarshal([]byte(good(t, dir, env, "accounts", "list", "--json")), &accounts); err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts.Accounts {
		if a.Name == "team" {
			good(t, dir, env, "accounts", "update", a.ID, "--rpm", "5")
			good(t, dir, env, "accounts", "delete", a.ID, "--yes")
		}
	}
	if out := good(t, dir, env, "accounts", "list"); strings.Contains(out, "team") {
		t.Errorf("accounts:\n%s", out)
	}
}

// TestCLIWithoutGateway: the store is enough for most commands, nothing is made by a command in the wrong folder, and
// mistakes have their exit codes.
func TestCLIWithoutGateway(t *testing.T) {
	s, dir, here, far := cliGateway(t)
	tenant := with(far, "SLUICE_ADMIN_KEY", proxyKey)
	for _, c := range []struct {
		why  string
		env  map[string]string
		code int
		says string
		args []string
	}{
		{"a wrong key", with(far, "SLUICE_ADMIN_KEY", "wrong"), 1, "SLUICE_ADMIN_KEY", []string{"keys", "list"}},
		{"an account's key may see its nodes", tenant, 0, "default", []string{"nodes", "list"}},
		{"but no keys", tenant, 1, "use an admin key", []string{"keys", "list"}},
		{"no such node", far, 1, "see: sluice nodes list", []string{"nodes", "check", "99"}},
		{"a bad id", far, 2, "is no id", []string{"nodes", "check", "../1"}},
		{"an unknown flag", far, 2, "see: sluice top --help", []string{"top", "--colour"}},
		{"no yes", far, 2, "give --yes", []string{"nodes", "delete", "1"}},
		{"no gateway", with(far, "SLUICE_URL", "http://127.0.0.1:1"), 1, "check --url or SLUICE_URL", []string{"usage"}},
		{"a bad limit", far, 1, "requests_per_minute", []string{"keys", "create", "--rpm", "-1"}},
	} {
		code, stdout, stderr := run(t, dir, c.env, c.args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("%s: exit code %d, want %d, saying %q: %s%s", c.why, code, c.code, c.says, stdout, stderr)
		}
	}
	s.stop()
	if out := good(t, dir, here, "nodes", "list"); !strings.Contains(out, "default") {
		t.Errorf("from the store alone:\n%s", out)
	}
	for _, args := range [][]string{{"top"}, {"logs", "--follow"}} {
		if l := fails(t, dir, here, args...); !strings.Contains(l[len(l)-1], "no gateway runs on this machine") {
			t.Errorf("sluice %v: %q", args, l)
		}
	}
	empty := t.TempDir()
	for _, args := range [][]string{{"usage"}, {"nodes", "list"}, {"keys", "create"}, {"top"}, {"__complete", "nodes", "check", ""}} {
		code, stdout, stderr := run(t, empty, nil, args...)
		if args[0] != "__complete" && (code != 1 || !strings.Contains(stderr, "--url or SLUICE_URL")) || stdout != "" {
			t.Errorf("sluice %v in an empty folder: exit code %d %q %q", args, code, stdout, stderr)
		}
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("commands in the wrong folder made %v, %v", files, err)
	}
}

// TestCLIHead: a reader that leaves early ends the command, without a word.
func TestCLIHead(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := []byte(strings.Repeat("x", 1000) + "\n")
		for r.Context().Err() == nil {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	cmd := command(t.TempDir(), map[string]string{"SLUICE_URL": endless.URL, "SLUICE_ADMIN_KEY": "k"}, "usage", "--format", "csv")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs := newOutput()
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "broken pipe") || errs.String() != "" {
		t.Errorf("it ended with %v and said %q, want the signal of a broken pipe", err, errs)
	}
}

// bash runs a script with the program as sluice on its PATH.
func bash(t *testing.T, dir string, env map[string]string, script string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(bin, "sluice")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestCLIDocument runs every bash block of docs/cli.md, one after the other.
func TestCLIDocument(t *testing.T) {
	s, dir, here, _ := cliGateway(t)
	if status, _, _ := s.ask(proxyKey); status != 200 {
		t.Fatalf("status %d", status)
	}
	script, ran := "", 0
	for _, block := range s.blocks("cli.md") {
		script += block + "\n"
		ran += strings.Count(block, "sluice ")
	}
	script += "echo all: ${#KEY} ${#TEAM}; complete -p sluice\n"
	out, err := bash(t, dir, here, script)
	if err != nil || strings.Contains(out, "all: 0") || !strings.Contains(out, "-F _sluice sluice") {
		t.Errorf("%v:\n%s", err, out)
	}
	if ran < 30 {
		t.Errorf("only %d commands were run: the document lost them, or this test its eyes", ran)
	}
}

// TestCompletionInBash: the script works in a real bash, and what a gateway calls a node does nothing there.
func TestCompletionInBash(t *testing.T) {
	s, dir, here, far := cliGateway(t)
	s.json(201, "POST", "/admin/api/nodes", `{"name":"$(touch pwned)","base_url":"https://api.anthropic.com"}`, "x-admin-key", adminKey)
	for _, c := range []struct {
		why, line string
		want      string
		env       map[string]string
	}{
		{"commands", "sluice ac", "accounts", far},
		{"second words", "sluice store b", "backup", far},
		{"flags", "sluice keys create --rp", "--rpd --rpm", far},
		{"values", "sluice usage --by mo", "model month", far},
		{"values behind an equals sign, which bash splits", "sluice usage --by = mo", "model month", far},
		{"ids", "sluice nodes disable ", "1 2", far},
		{"ids of the gateway here", "sluice nodes disable ", "1 2", here},
		{"nothing", "sluice nodes list x", "", far},
	} {
		words := strings.Split(c.line, " ")
		script := "set -u\nsource <(sluice completion bash)\nCOMP_WORDS=("
		for _, w := range words {
			script += "'" + w + "' "
		}
		script += ")\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_sluice\necho \"${COMPREPLY[*]:-}\"\n"
		if out, err := bash(t, dir, c.env, script); err != nil || strings.TrimSpace(out) != c.want {
			t.Errorf("%s: %v, %q, want %q", c.why, err, out, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("a node's name was run as a command")
	}
	for _, shell := range []string{"zsh", "fish"} {
		if out := good(t, dir, nil, "completion", shell); !strings.Contains(out, "__complete") {
			t.Errorf("%s: %q", shell, out)
		}
	}
}
