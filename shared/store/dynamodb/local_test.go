package dynamodb_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
)

// local is DynamoDB Local, started once for all tests of the package. tests/stores/dynamodb.sh fetches it;
// SLUICE_TEST_DYNAMODB names a running one.
type local struct {
	once     sync.Once
	endpoint string
	why      string // it is not there
	cmd      *exec.Cmd
	tables   atomic.Int64
}

var server local

func TestMain(m *testing.M) {
	code := m.Run()
	if server.cmd != nil {
		_ = server.cmd.Process.Kill()
		_ = server.cmd.Wait()
	}
	os.Exit(code)
}

func (l *local) start() {
	if l.endpoint = os.Getenv("SLUICE_TEST_DYNAMODB"); l.endpoint != "" {
		return
	}
	cache := os.Getenv("SLUICE_TEST_CACHE")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(home, ".cache", "sluice-tests")
	}
	found, _ := filepath.Glob(filepath.Join(cache, "dynamodb-local-*", "DynamoDBLocal.jar"))
	if len(found) == 0 {
		l.why = "DynamoDB Local is not there; tests/stores/dynamodb.sh fetches it"
		return
	}
	java, err := exec.LookPath("java")
	if err != nil {
		l.why = "DynamoDB Local needs java, version 17 or later"
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.why = err.Error()
		return
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(java, "-Xmx512m", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
		"-inMemory", "-sharedDb", "-disableTelemetry", "-port", port)
	cmd.Dir = filepath.Dir(found[len(found)-1])
	if err := cmd.Start(); err != nil {
		l.why = err.Error()
		return
	}
	l.cmd, l.endpoint = cmd, "http://"+addr
	deadline := time.Now().Add(60 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		if res, err := http.Get(l.endpoint); err == nil {
			_ = res.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			l.why = "DynamoDB Local does not start"
			return
		}
	}
}

// need returns the endpoint, or skips the test where a skip is allowed.
func need(tb testing.TB) string {
	tb.Helper()
	server.once.Do(server.start)
	if server.why == "" {
		return server.endpoint
	}
	if strings.Contains(os.Getenv("STORETEST_REQUIRE"), "dynamodb") {
		tb.Fatal("STORETEST_REQUIRE names dynamodb, but: " + server.why)
	}
	tb.Skip("SKIPPED, NOTHING OF DYNAMODB WAS TESTED: " + server.why)
	return ""
}

// newTable is the URL of a new table, without the table.
func newURL(tb testing.TB) string {
	tb.Helper()
	endpoint := need(tb)
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_REGION": "", "AWS_DEFAULT_REGION": ""} {
		setenv(tb, name, value)
	}
	return fmt.Sprintf("dynamodb://test_%d_%d?region=eu-west-1&endpoint=%s", os.Getpid(), server.tables.Add(1), url.QueryEscape(endpoint))
}

// setenv is Setenv for tests and benchmarks alike.
func setenv(tb testing.TB, name, value string) {
	tb.Helper()
	tb.(interface{ Setenv(name, value string) }).Setenv(name, value)
}

// newTable makes a table and returns its URL.
func newTable(tb testing.TB) string {
	tb.Helper()
	u := newURL(tb)
	if err := dynamodb.CreateTable(tb.Context(), u); err != nil {
		tb.Fatal(err)
	}
	return u
}

func open(tb testing.TB, u string, o dynamodb.Options) *dynamodb.Store {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second // the emulator shares two processors with everything else
	}
	s, err := dynamodb.Open(tb.Context(), u, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func fresh(tb testing.TB) store.Store { return open(tb, newTable(tb), dynamodb.Options{}) }

// wire counts and disturbs requests.
type wire struct {
	mu       sync.Mutex
	ops      []string
	throttle atomic.Bool
	disturb  func(op string, n int) (before, after error) // n counts from 1; nil: none
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.mu.Lock()
	w.ops = append(w.ops, op)
	n, disturb := len(w.ops), w.disturb
	w.mu.Unlock()
	var before, after error
	if disturb != nil {
		before, after = disturb(op, n)
	}
	if before != nil {
		return nil, before
	}
	if w.throttle.Load() {
		body := io.NopCloser(strings.NewReader(exception("ThrottlingException")))
		return &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: body, Request: r}, nil
	}
	res, err := http.DefaultClient.Do(r)
	if err == nil && after != nil {
		_ = res.Body.Close()
		return nil, after
	}
	return res, err
}

// during returns the operations that f sent.
func (w *wire) during(f func()) []string {
	w.mu.Lock()
	w.ops = nil
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ops
}

var errLost = errors.New("connection reset")
