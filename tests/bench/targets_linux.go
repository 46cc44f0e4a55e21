package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	startLimit  = 15 * time.Second
	adminKey    = "sluice-bench-admin-key-4f1c8d2e9a7b"
	accountKey  = "sluice-bench-account-key-7d3e5a1c9b2f"
	upstreamKey = "sk-ant-bench-upstream-key"
)

// target is a running server under load.
type target struct {
	name  string
	addr  string
	key   string // what clients authenticate with
	child *child
}

// lab starts the servers. Its methods are called from one goroutine that is
// locked to its thread.
type lab struct {
	dir      string // for configurations, logs and databases; removed by close
	self     string // this program
	gateway  string // the gateway's binary, if it is to be measured
	nginx    string // nginx's binary, if it is to be measured
	upstream *target
	openAI   string // address of the upstream's OpenAI API
	amazonQ  string // likewise
	control  io.Writer
	echo     *bufio.Reader
	started  []*child
}

// close stops everything that is still running.
func (l *lab) close() {
	for _, c := range l.started {
		c.stop()
	}
	_ = os.RemoveAll(l.dir) // temporary
}

// stop stops a target; the fake upstream is needed to the end and stays.
func (l *lab) stop(t *target) {
	if t.child != nil && t != l.upstream {
		t.child.stop()
	}
}

// environ is what all processes under test get: nothing of the caller's that
// tunes Go's runtime.
func environ(extra ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.Getenv("HOME"),
		fmt.Sprintf("GOMAXPROCS=%d", runtime.NumCPU()),
	}, extra...)
}

func (l *lab) run(name string, cmd *exec.Cmd) (*child, error) {
	c, err := startChild(name, l.dir, cmd)
	if err == nil {
		l.started = append(l.started, c)
	}
	return c, err
}

// startSelf starts this program as a server and returns its address.
func (l *lab) startSelf(args ...string) (*target, io.Writer, *bufio.Reader, error) {
	cmd := exec.Command(l.self, args...)
	cmd.Env = environ()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	// A pipe of our own: Wait would close exec's while it is being read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	defer w.Close()
	cmd.Stdout = w
	c, err := l.run(args[0], cmd)
	if err != nil {
		r.Close()
		return nil, nil, nil, err
	}
	out := bufio.NewReader(r)
	line, err := out.ReadString('\n')
	if err != nil {
		return nil, nil, nil, c.explain(fmt.Errorf("%s ended before it was ready", args[0]))
	}
	return &target{name: args[0], addr: strings.TrimSpace(line), key: upstreamKey, child: c}, in, out, nil
}

func (l *lab) startUpstream() error {
	t, in, out, err := l.startSelf(cmdUpstream)
	if err != nil {
		return err
	}
	t.name = targetDirect
	t.addr, l.openAI, _ = strings.Cut(t.addr, " ")
	l.openAI, l.amazonQ, _ = strings.Cut(l.openAI, " ")
	l.upstream, l.control, l.echo = t, in, out
	return nil
}

// answer sets the fake upstream's behaviour.
func (l *lab) answer(behaviour string) error {
	if _, err := fmt.Fprintln(l.control, behaviour); err != nil {
		return l.upstream.child.explain(fmt.Errorf("fake upstream: %w", err))
	}
	if line, err := l.echo.ReadString('\n'); err != nil || strings.TrimSpace(line) != behaviour {
		return l.upstream.child.explain(fmt.Errorf("fake upstream does not take behaviour %q", behaviour))
	}
	return nil
}

// start starts a target and returns when it has answered its first message.
func (l *lab) start(ctx context.Context, name string) (*target, error) {
	var t *target
	var err error
	switch name {
	case targetDirect:
		t = l.upstream
	case targetProxy:
		t, _, _, err = l.startSelf(cmdReverseProxy, l.upstream.addr)
	case targetNginx:
		t, err = l.startNginx()
	case targetGateway:
		t, err = l.startGateway(ctx)
	case targetPassed, targetTranslated:
		t, err = l.startTranslator(ctx, name)
	default:
		err = fmt.Errorf("no target %q", name)
	}
	if err != nil {
		return nil, err
	}
	if err := l.answer("short"); err != nil {
		return nil, err
	}
	req := newRequest(t.addr, t.key, smallBody(false))
	err = t.child.waitFor(ctx, startLimit, func() error {
		_, err := probe(ctx, req)
		return err
	})
	return t, err
}

func (l *lab) startNginx() (*target, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.dir, "nginx-")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, nginxConf(dir, addr, l.upstream.addr), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(l.nginx, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	cmd.Env = environ()
	c, err := l.run(targetNginx, cmd)
	if err != nil {
		return nil, err
	}
	return &target{name: targetNginx, addr: addr, key: upstreamKey, child: c}, nil
}

// nginxConf is nginx as a streaming proxy: one worker, which is the only
// process, so that its clock and memory are all there is.
func nginxConf(dir, listen, upstream string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `daemon off;
master_process off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	client_max_body_size 64m;
	keepalive_timeout 600s;
	keepalive_requests 1000000000;
	upstream fake {
		server %[3]s;
		keepalive 256;
		keepalive_timeout 600s;
		keepalive_requests 1000000000;
	}
	server {
		listen %[2]s backlog=4096;
		location / {
			proxy_pass http://fake;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_buffering off;
			proxy_request_buffering off;
			proxy_read_timeout 600s;
		}
	}
}
`, dir, listen, upstream)
	return b.Bytes()
}

// startGateway starts the gateway on an empty database and makes a key whose
// limits are checked but never reached.
func (l *lab) startGateway(ctx context.Context, env ...string) (*target, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.dir, "gateway-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(l.gateway)
	cmd.Dir = dir
	cmd.Env = environ(append(env,
		"LISTEN_ADDR="+addr,
		"STORE_URL=sqlite:"+filepath.Join(dir, "bench.db"),
		"UPSTREAM_BASE_URL=http://"+l.upstream.addr,
		"UPSTREAM_API_KEY="+upstreamKey,
		"DEFAULT_PROXY_API_KEY="+accountKey,
		"ADMIN_API_KEY="+adminKey,
	)...)
	c, err := l.run(targetGateway, cmd)
	if err != nil {
		return nil, err
	}
	t := &target{name: targetGateway, addr: addr, child: c}
	err = c.waitFor(ctx, startLimit, func() error { return get(ctx, "http://"+addr+"/livez") })
	if err != nil {
		return nil, err
	}
	if t.key, err = createKey(ctx, addr); err != nil {
		return nil, c.explain(err)
	}
	return t, nil
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	_, err = fetch(req, http.StatusOK)
	return err
}

// startTranslator starts a gateway with two more nodes, which speak chat and
// Amazon Q's protocol. The name of a model decides which of them is asked.
func (l *lab) startTranslator(ctx context.Context, name string) (*target, error) {
	t, err := l.startGateway(ctx, "UPSTREAM_ALLOW_PRIVATE=127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	t.name = name
	for _, body := range []string{
		`{"name":"chat","kind":"openai","wire":"chat","weight":2,"base_url":"http://` + l.openAI + `/v1","api_key":"` + upstreamKey + `"}`,
		`{"name":"pool","kind":"amazonq","base_url":"http://` + l.amazonQ + `","api_key":"ksk_bench0123456789abcdef","limits":{"requests_per_minute":0},"models":["` + poolModel + `"],"model_map":{"` + poolModel + `":"` + benchModel + `"}}`,
	} {
		if _, err := create(ctx, t.addr, "nodes", body); err != nil {
			return nil, t.child.explain(fmt.Errorf("create node: %w", err))
		}
	}
	return t, nil
}

// create makes something of the default account at a running gateway.
func create(ctx context.Context, addr, what, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/admin/api/"+what, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Admin-Key", adminKey)
	req.Header.Set("Content-Type", "application/json")
	return fetch(req, http.StatusCreated)
}

// createKey makes a key of the default account at a running gateway.
func createKey(ctx context.Context, addr string) (string, error) {
	const body = `{"name":"bench","requests_per_minute":60000000,"requests_per_day":60000000,"concurrency":100000}`
	data, err := create(ctx, addr, "keys", body)
	if err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	var made struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(data, &made); err != nil || made.Key == "" {
		return "", fmt.Errorf("create key: no key in the answer %.200q", data)
	}
	return made.Key, nil
}

func fetch(req *http.Request, status int) ([]byte, error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		return nil, fmt.Errorf("%s answered %s: %.200q", req.URL.Path, resp.Status, data)
	}
	return data, nil
}

// freeAddr is a loopback address that nothing listened on a moment ago.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
