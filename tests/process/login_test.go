//go:build unix

package process

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var codeShown = regexp.MustCompile(`shows the code (\S+)\.`)

// login starts the command and waits until it shows its code, which an address to open in a browser holds as well.
func login(t *testing.T, dir string, env map[string]string, args ...string) (cmd *server, code string) {
	t.Helper()
	cmd = launch(t, dir, env, append([]string{"login", "amazonq"}, args...)...)
	code = cmd.await(codeShown)[1]
	if out := cmd.out.String(); !strings.Contains(out, "https://") || !strings.Contains(out, "user_code="+code) {
		t.Errorf("no address to open:\n%s", out)
	}
	return cmd, code
}

// names are the accounts of the pool.
func (s *server) names() (names []string) {
	s.t.Helper()
	for _, n := range s.json(200, "GET", "/admin/api/nodes", "", "x-admin-key", adminKey)["nodes"].([]any) {
		names = append(names, n.(map[string]any)["name"].(string))
	}
	return names
}

// TestLogin: what a person at a terminal goes through, beside the running gateway and without one.
func TestLogin(t *testing.T) {
	dir, a := t.TempDir(), newAmazon(t)
	env := with(a.env, "ADMIN_API_KEY", adminKey, "DEFAULT_PROXY_API_KEY", proxyKey)
	s := start(t, dir, env)

	cmd, code := login(t, dir, env, "--name", "mine")
	if n := s.names(); len(n) != 0 {
		t.Errorf("before anyone confirmed there is %v", n)
	}
	if !a.oidc.Approve(code) {
		t.Fatalf("the token service knows no code %s", code)
	}
	if got := cmd.wait(); got != 0 || !strings.HasSuffix(cmd.out.String(), " is logged in:\nmine\n") {
		t.Errorf("exit code %d:\n%s", got, cmd.out)
	}
	s.serves(proxyKey, "mine")
	node := s.json(200, "GET", "/admin/accounts/1", "", "x-admin-key", adminKey)
	if node["is_healthy"] != true || node["requests_per_minute"] != 10.0 {
		t.Errorf("the node: %v", node)
	}

	for _, c := range []struct {
		why, says string
		code      int
		end       func(cmd *server, code string)
	}{
		{"refused in the browser", "refused in the browser", 1, func(_ *server, code string) { a.oidc.Deny(code) }},
		{"nobody came", "expired; run the command again", 1, func(_ *server, code string) { a.oidc.Expire(code) }},
		{"Ctrl-C", "interrupted; nothing was added", 130, func(cmd *server, _ string) { cmd.signal(syscall.SIGINT) }},
	} {
		cmd, code := login(t, dir, env)
		c.end(cmd, code)
		if got := cmd.wait(); got != c.code || !strings.Contains(cmd.out.String(), c.says) {
			t.Errorf("%s: exit code %d, want %d, saying %q:\n%s", c.why, got, c.code, c.says, cmd.out)
		}
	}
	if n := s.names(); fmt.Sprint(n) != "[mine]" {
		t.Errorf("after logins that came to nothing: %v", n)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"login"}, "the command is: sluice login amazonq"},
		{[]string{"login", "other"}, "the command is: sluice login amazonq"},
		{[]string{"login", "amazonq", "surplus"}, `unknown argument "surplus"`},
		{[]string{"login", "amazonq", "--name", "mine"}, "another account has it"},
		{[]string{"login", "amazonq", "--region", "../x"}, "region"},
		{[]string{"login", "amazonq", "--start-url", "http://127.0.0.1/start"}, "start_url"},
	} {
		does(t, dir, env, 1, []string{c.says}, c.args...)
	}
	if n := len(a.oidc.Requests()); a.tokenCalls() == n {
		t.Errorf("%d requests, none to begin a login", n)
	}
	s.stop()

	// without a gateway the command is one
	cmd, code = login(t, dir, env, "--name", "second", "--start-url", "https://d-1234567890.awsapps.com/start/", "--region", "eu-central-1")
	a.oidc.Approve(code)
	if got := cmd.wait(); got != 0 || !strings.HasSuffix(cmd.out.String(), "second\n") {
		t.Errorf("exit code %d:\n%s", got, cmd.out)
	}
	for _, secret := range []string{"aorAAAAAG", "aoaAAAAAG", "secret-"} {
		if strings.Contains(cmd.out.String(), secret) {
			t.Errorf("the command prints a secret:\n%s", cmd.out)
		}
	}
	s = start(t, dir, env)
	s.json(200, "PUT", "/admin/accounts/1", `{"is_active":false}`, "x-admin-key", adminKey)
	s.serves(proxyKey, "second")
	s.stop()

	// one that is killed leaves nothing in the way
	cmd, _ = login(t, dir, env)
	cmd.kill()
	s = start(t, dir, env)
	if n := s.names(); fmt.Sprint(n) != "[mine second]" {
		t.Errorf("after a login that was killed: %v", n)
	}
	s.stop()
}
