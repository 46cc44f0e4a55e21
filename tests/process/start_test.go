//go:build unix

package process

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// TestWaysToStart: the words of both guides, and the variables that say where to listen.
func TestWaysToStart(t *testing.T) {
	for _, c := range []struct {
		reason string
		env    []string // PORT stands for a free port
		args   []string
	}{
		{"no argument", nil, nil},
		{"serve", nil, []string{"serve"}},
		{"Guide A: go run ./cmd/cccli proxy", nil, []string{"proxy"}},
		{"LISTEN_ADDR", []string{"LISTEN_ADDR", "127.0.0.1:PORT"}, []string{"proxy"}},
		{"Guide B: PORT", []string{"PORT", "PORT"}, nil},
		{"LISTEN_ADDR beats PORT", []string{"LISTEN_ADDR", ":PORT", "PORT", "1"}, nil},
		{"Guide B: python app_new.py --port", nil, []string{"python", "app_new.py", "--port", "PORT"}},
		{"the same, spelled otherwise", nil, []string{"python3", "/app/app_new.py", "--port=PORT"}},
		{"--port beats LISTEN_ADDR", []string{"LISTEN_ADDR", "127.0.0.1:1"}, []string{"serve", "--port", "PORT"}},
		{"Guide B: python main.py", nil, []string{"python", "main.py"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			port := freePort(t)
			env, args := map[string]string{}, []string{}
			for i := 0; i+1 < len(c.env); i += 2 {
				env[c.env[i]] = strings.ReplaceAll(c.env[i+1], "PORT", port)
			}
			for _, a := range c.args {
				args = append(args, strings.ReplaceAll(a, "PORT", port))
			}
			dir := t.TempDir()
			s := start(t, dir, env, args...)
			t.Logf("first answer %v after the start", s.took)
			if strings.Contains(strings.Join(append(c.env, c.args...), " "), "PORT") && !strings.HasSuffix(s.url, ":"+port) {
				t.Errorf("listens at %s, want port %s", s.url, port)
			}
			s.says("Sluice 1.2.3-test", s.url+"/admin", filepath.Join("data", "sluice.db"), "Admin API Key: admin",
				"Account 'default': proxy_api_key=default-proxy-key", "warning: the default admin key", "warning: the default proxy key")
			if fi, err := os.Stat(filepath.Join(dir, "data", "sluice.db")); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("data/sluice.db: %v %v", fi, err)
			}
			s.stop()
			if _, err := os.Stat(filepath.Join(dir, "data", "sluice.db.ctl")); err == nil {
				t.Error("the control file is left behind")
			}
		})
	}
}

// TestWords: commands that end at once.
func TestWords(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, 0, "sluice 1.2.3-test"},
		{[]string{"--version"}, 0, "sluice 1.2.3-test"},
		{[]string{"help"}, 0, "Usage: sluice"},
		{[]string{"frobnicate"}, 1, `unknown command "frobnicate"`},
		{[]string{"serve", "--colour", "red"}, 1, `unknown argument "--colour"`},
		{[]string{"serve", "--port"}, 1, "--port needs a number"},
		{[]string{"serve", "--port", "eighty"}, 1, "PORT: "},
		{[]string{"key"}, 1, "sluice key create"},
		{[]string{"key", "destroy"}, 1, "sluice key create"},
		{[]string{"key", "create", "--colour"}, 1, "colour"},
		{[]string{"key", "create", "surplus"}, 1, `unknown argument "surplus"`},
	} {
		code, stdout, stderr := run(t, dir, nil, c.args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("sluice %s: exit code %d, want %d, saying %q:\n%s%s", strings.Join(c.args, " "), code, c.code, c.says, stdout, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a command that did nothing made a database")
	}
}

// TestHealthcheck is what Docker runs.
func TestHealthcheck(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"PORT": freePort(t)}
	if l := fails(t, dir, env, "healthcheck"); len(l) != 1 || !strings.Contains(l[0], "no healthy gateway") {
		t.Errorf("nothing listens: %q", l)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if l := fails(t, dir, map[string]string{"LISTEN_ADDR": strings.TrimPrefix(other.URL, "http://")}, "healthcheck"); len(l) != 1 || !strings.Contains(l[0], "404") {
		t.Errorf("another program listens: %q", l)
	}
	s := start(t, dir, env)
	for _, e := range []map[string]string{env, with(env, "HTTP_PROXY", "http://127.0.0.1:1", "http_proxy", "http://127.0.0.1:1")} {
		if code, _, stderr := run(t, dir, e, "healthcheck"); code != 0 {
			t.Errorf("it is healthy: exit code %d: %s", code, stderr)
		}
	}
	s.stop()
	if code, _, _ := run(t, dir, env, "healthcheck"); code != 1 {
		t.Errorf("it has ended: exit code %d", code)
	}
	// a port given as an argument, as in Guide B's docker command, is known to the image's healthcheck, which has none
	s = start(t, dir, map[string]string{}, "python", "app_new.py", "--port", env["PORT"])
	if code, _, stderr := run(t, dir, nil, "healthcheck"); code != 0 {
		t.Errorf("started with --port: exit code %d: %s", code, stderr)
	}
	s.kill()
	if code, _, _ := run(t, dir, nil, "healthcheck"); code != 1 {
		t.Errorf("it was killed: exit code %d", code)
	}
	if l := fails(t, dir, map[string]string{"LISTEN_ADDR": "nonsense"}, "healthcheck"); len(l) != 1 || !strings.Contains(l[0], "LISTEN_ADDR") {
		t.Errorf("a bad address: %q", l)
	}
}

// TestKeyCreate works beside a running gateway, without one, and after one that was killed.
func TestKeyCreate(t *testing.T) {
	dir := t.TempDir()
	up := upstreamtest.NewAnthropic(t)
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "HTTP_PROXY": "http://127.0.0.1:1"}
	create := func(reason string, args ...string) string {
		t.Helper()
		code, stdout, stderr := run(t, dir, env, append([]string{"key", "create"}, args...)...)
		key := strings.TrimSpace(stdout)
		if code != 0 || !strings.HasPrefix(key, "sluice_") || len(strings.Fields(stdout)) != 1 {
			t.Fatalf("%s: exit code %d, standard output %q: %s", reason, code, stdout, stderr)
		}
		if strings.Contains(stderr, key) {
			t.Errorf("%s: the key is on standard error, too", reason)
		}
		return key
	}
	client, boss := create("before the first start"), create("an admin key before the first start", "--admin", "--name", "boss")
	s := start(t, dir, env)
	if status, node, _ := s.ask(client); status != 200 || node != "default" {
		t.Errorf("the key made before: %d by %q", status, node)
	}
	if status, _ := s.get("/admin/api/keys", "x-admin-key", boss); status != 200 {
		t.Errorf("the admin key made before: %d", status)
	}
	running := create("beside the running gateway", "--rpm", "1")
	if status, _, _ := s.ask(running); status != 200 {
		t.Errorf("the key made beside it: %d", status)
	}
	if status, _, _ := s.ask(running); status != 429 {
		t.Errorf("its second request in a minute: %d, want 429", status)
	}
	if l := fails(t, dir, env, "key", "create", "--account", "nobody"); !strings.Contains(l[0], "account not found") {
		t.Errorf("an unknown account: %q", l)
	}
	if l := fails(t, dir, env, "key", "create", "--rpm", "-1"); !strings.Contains(l[0], "requests_per_minute") {
		t.Errorf("a bad limit: %q", l)
	}
	s.kill()
	if _, err := os.Stat(filepath.Join(dir, "data", "sluice.db.ctl")); err != nil {
		t.Fatalf("the killed gateway left no control file, so nothing is tested: %v", err)
	}
	stale := create("after a kill, with a stale control file")
	// by now its port may be another program's, which must not get the token
	var got []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-Admin-Key"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	if err := os.WriteFile(filepath.Join(dir, "data", "sluice.db.ctl"), []byte(`{"url":"`+other.URL+`","token":"old"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	taken := create("the stale port is another program's")
	other.Close()
	if len(got) != 0 {
		t.Errorf("another program was sent %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "sluice.db.ctl"), []byte(`{"url":`), 0o600); err != nil {
		t.Fatal(err)
	}
	cut := create("the stale control file is cut")
	s = start(t, dir, env)
	for _, k := range []string{client, stale, taken, cut} {
		if status, _, _ := s.ask(k); status != 200 {
			t.Errorf("a key is lost: %d", status)
		}
	}
	if fi, err := os.Stat(filepath.Join(dir, "data", "sluice.db.ctl")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the control file holds a credential: %v %v", fi, err)
	}
	s.stop()
}

// TestStopWhileTheStoreIsAwaited: Ctrl-C ends a start that waits for a server, at once and cleanly.
func TestStopWhileTheStoreIsAwaited(t *testing.T) {
	port := freePort(t)
	s := launch(t, t.TempDir(), map[string]string{"PROXY_MYSQL_DSN": "user:hunter2@tcp(127.0.0.1:" + port + ")/qcc_plus?parseTime=true", "LISTEN_ADDR": "127.0.0.1:0"})
	s.await(regexp.MustCompile("waiting for the store's server"))
	s.signal(syscall.SIGTERM)
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.says("stopped before the store was there")
	if strings.Contains(s.out.String(), "hunter2") {
		t.Error("the password is in the log")
	}
}
