//go:build unix

package process

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// TestAccessLog: one line a request, with what an operator asks of it, and nothing of keys but four characters.
func TestAccessLog(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	const key = "proxy-key-1234567890"
	s := start(t, t.TempDir(), map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "ADMIN_API_KEY": adminKey, "DEFAULT_PROXY_API_KEY": key,
		"LOG_FORMAT": "json", "UPSTREAM_NAME": "first"})
	if status, _, _ := s.ask(key); status != 200 {
		t.Fatalf("status %d", status)
	}
	if status, _, _ := s.ask("nobody-knows-this-key"); status != 401 {
		t.Fatalf("status %d", status)
	}
	s.stop()
	text, _ := s.out.state()
	if strings.Contains(text, key) || strings.Contains(text, "nobody-knows") {
		t.Error("the log shows a key")
	}
	var good, bad map[string]any
	for line := range strings.Lines(text) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) != nil || m["msg"] != "request" || m["path"] != "/v1/messages" {
			continue
		}
		if m["status"] == 200.0 {
			good = m
		} else {
			bad = m
		}
	}
	for name, want := range map[string]any{"account": "default", "key_prefix": key[:4], "node": "first", "dialect": "anthropic", "upstream_dialect": "anthropic", "attempts": 1.0, "estimated": false} {
		if good[name] != want {
			t.Errorf("%s is %v, not %v, in %v", name, good[name], want, good)
		}
	}
	for _, name := range []string{"request_id", "key", "model", "served_model", "stream", "tokens_in", "tokens_cache_read", "tokens_cache_write", "tokens_out", "cost_usd", "first_byte_ms", "total_ms", "client"} {
		if _, ok := good[name]; !ok {
			t.Errorf("no %s in %v", name, good)
		}
	}
	if bad["status"] != 401.0 || bad["error"] != "unauthenticated" || bad["account"] != nil {
		t.Errorf("a refused request: %v", bad)
	}
}
