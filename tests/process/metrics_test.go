//go:build unix

package process

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// TestMetrics: /metrics is for admin keys, on an address of its own for whoever reaches that, and tells of requests, attempts,
// nodes and the store, nothing of keys.
func TestMetrics(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "ADMIN_API_KEY": adminKey, "DEFAULT_PROXY_API_KEY": "proxy-key-1234567890", "METRICS_ADDR": "127.0.0.1:0"}
	s := start(t, t.TempDir(), env)
	own := s.await(regexp.MustCompile(`Metrics: http://(\S+)/metrics`))[1]
	if status, _, _ := s.ask("proxy-key-1234567890"); status != 200 {
		t.Fatalf("status %d", status)
	}
	for _, c := range []struct {
		why    string
		header []string
		want   int
	}{
		{"no key", nil, 401},
		{"a wrong one", []string{"x-admin-key", "nobody-knows-this-key"}, 401},
		{"a client's", []string{"x-admin-key", "proxy-key-1234567890"}, 403},
		{"the operator's", []string{"x-admin-key", adminKey}, 200},
		{"as Prometheus sends it", []string{"Authorization", "Bearer " + adminKey}, 200},
	} {
		status, body := s.get("/metrics", c.header...)
		if status != c.want || status != 200 && strings.Contains(body, "sluice_requests") {
			t.Errorf("%s: %d %.300s", c.why, status, body)
		}
		if status == 200 {
			for _, line := range []string{"sluice_requests_total", "sluice_attempts_total", "sluice_node", "sluice_store", "go_goroutines", `kind="anthropic"`} {
				if !strings.Contains(body, line) {
					t.Errorf("%s: nothing of %s in\n%.3000s", c.why, line, body)
				}
			}
			if strings.Contains(body, "proxy-key") || strings.Contains(body, up.URL) {
				t.Error("it shows a key or an address")
			}
		}
	}
	resp, err := client.Get(fmt.Sprintf("http://%s/metrics", own))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("on its own address: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	if resp, err := client.Get(fmt.Sprintf("http://%s/admin/api/nodes", own)); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("more than metrics is served there: %v, %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	s.stop()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	code, _, stderr := run(t, t.TempDir(), with(env, "METRICS_ADDR", taken.Addr().String(), "LISTEN_ADDR", "127.0.0.1:0"))
	if code == 0 || !strings.Contains(stderr, "METRICS_ADDR") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
