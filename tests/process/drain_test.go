//go:build unix

package process

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

var shutting = regexp.MustCompile(`shutting down`)

// stream is an answer under way.
type stream struct {
	t    *testing.T
	body io.ReadCloser
	r    *bufio.Reader
	text strings.Builder
}

// open starts a streamed message and reads its first content.
func (s *server) open(key string) *stream {
	s.t.Helper()
	resp, err := client.Do(request("POST", s.url+"/v1/messages", streamed, "x-api-key", key))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 {
		s.t.Fatalf("status %d", resp.StatusCode)
	}
	st := &stream{t: s.t, body: resp.Body, r: bufio.NewReader(resp.Body)}
	for !strings.Contains(st.text.String(), "content_block_delta") {
		line, err := st.r.ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		st.text.WriteString(line)
	}
	return st
}

// rest reads to the end.
func (st *stream) rest() string {
	st.t.Helper()
	data, err := io.ReadAll(st.r)
	if err != nil {
		st.t.Fatalf("the stream broke off: %v after %s", err, st.text.String()+string(data))
	}
	return st.text.String() + string(data)
}

// TestSigterm: new requests are refused in the client's dialect, the running stream goes on to its end, the usage is there
// after the restart, and the exit code is 0.
func TestSigterm(t *testing.T) {
	dir, up := t.TempDir(), upstreamtest.NewAnthropic(t)
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "ADMIN_API_KEY": adminKey}
	up.Default(upstreamtest.Events(40).Every(50 * time.Millisecond))
	s := start(t, dir, env)
	st := s.open("default-proxy-key")
	s.signal(syscall.SIGTERM)
	s.await(shutting)

	resp, body := s.do("POST", "/v1/messages", question, "x-api-key", "default-proxy-key")
	var e struct {
		Type      string
		Error     struct{ Type, Message string }
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Request-Id") == "" ||
		e.Type != "error" || e.Error.Type == "" || !strings.Contains(e.Error.Message, "shutting down") {
		t.Errorf("a new request: %d, retry-after %q: %s", resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
	if resp, body := s.do("GET", "/admin/api/nodes", "", "x-admin-key", adminKey); resp.StatusCode != 503 || !strings.Contains(body, `"error":"`) {
		t.Errorf("the admin API: %d %s", resp.StatusCode, body)
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/health": 200} {
		if status, body := s.get(path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	text := st.rest()
	if !strings.Contains(text, "message_stop") || strings.Contains(text, "event: error") || strings.Count(text, "content_block_delta\n") != 40 {
		t.Errorf("the running stream did not complete:\n%s", text)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s = start(t, dir, env)
	logs := s.json(200, "GET", "/api/usage/logs", "", "x-admin-key", adminKey)["logs"].([]any)
	if len(logs) != 1 || logs[0].(map[string]any)["success"] != true || logs[0].(map[string]any)["output_tokens"] != 40.0 {
		t.Errorf("usage after the restart: %v", logs)
	}
	s.stop()
}

// TestIdleGatewayEndsAtOnce: no need to wait for a grace that nobody uses.
func TestIdleGatewayEndsAtOnce(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := start(t, t.TempDir(), map[string]string{"DRAIN_TIMEOUT": "1h"})
		s.signal(sig)
		if code := s.wait(); code != 0 {
			t.Errorf("%v: exit code %d", sig, code)
		}
	}
}

// TestDrainTimeout: a stream that outlives the grace ends with an error event, never clean and never torn; exit code 0. A
// second signal ends the grace.
func TestDrainTimeout(t *testing.T) {
	for _, c := range []struct {
		reason, grace string
		second        bool
	}{
		{"DRAIN_TIMEOUT passes", "1s", false},
		{"a second signal", "1h", true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			dir, up := t.TempDir(), upstreamtest.NewAnthropic(t)
			env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "DRAIN_TIMEOUT": c.grace, "ADMIN_API_KEY": adminKey}
			up.Default(upstreamtest.Events(5).Silence(upstreamtest.AfterDeltas(3)))
			s := start(t, dir, env)
			st := s.open("default-proxy-key")
			s.signal(syscall.SIGTERM)
			s.await(shutting)
			if c.second {
				s.signal(syscall.SIGTERM)
			}
			text := st.rest()
			if !strings.Contains(text, "event: error") || !strings.Contains(text, `"type":"error"`) || strings.Contains(text, "message_stop") {
				t.Errorf("it does not end with an error event:\n%s", text)
			}
			if code := s.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			s = start(t, dir, env)
			logs := s.json(200, "GET", "/api/usage/logs", "", "x-admin-key", adminKey)["logs"].([]any)
			if len(logs) != 1 || logs[0].(map[string]any)["success"] != false || logs[0].(map[string]any)["estimated"] != true {
				t.Errorf("usage of the stream that was ended: %v", logs)
			}
			nodes := s.json(200, "GET", "/admin/api/nodes", "", "x-admin-key", adminKey)["nodes"].([]any)
			if n := nodes[0].(map[string]any); n["failed"] != false || n["fail_streak"] != 0.0 {
				t.Errorf("our own shutdown counts against the node: %v", n)
			}
			s.stop()
		})
	}
}
