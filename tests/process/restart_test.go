//go:build unix

package process

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// TestRestartKeepsEverything: accounts, keys, nodes, activation, settings, sessions, counted requests of the day, failed nodes.
func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	up, broken := upstreamtest.NewAnthropic(t), upstreamtest.NewAnthropic(t)
	broken.Default(upstreamtest.Status(500, "broken"))
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "UPSTREAM_NAME": "good", "ADMIN_API_KEY": adminKey,
		"DEFAULT_PROXY_API_KEY": proxyKey, "UPSTREAM_ALLOW_PRIVATE": "true", "PROXY_FAIL_THRESHOLD": "1"}
	s := start(t, dir, env)
	account := s.json(201, "POST", "/admin/api/accounts", `{"name":"beta","proxy_api_key":"beta-proxy-key-123"}`, "x-admin-key", adminKey)["id"].(string)
	bad := s.json(201, "POST", "/admin/api/nodes", `{"name":"bad","base_url":"`+broken.URL+`","api_key":"k","weight":4}`, "x-api-key", proxyKey)["id"].(string)
	s.json(200, "POST", "/admin/api/nodes/activate", `{"id":"`+bad+`"}`, "x-api-key", proxyKey)
	s.json(200, "PUT", "/admin/api/config", `{"retries":1,"health_interval_sec":300}`, "x-api-key", proxyKey)
	limited := s.json(201, "POST", "/admin/api/keys", `{"name":"three a day","requests_per_day":3}`, "x-admin-key", adminKey)["key"].(string)
	resp, _ := s.do("POST", "/login", "admin_key="+adminKey, "Content-Type", "application/x-www-form-urlencoded")
	session, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	for range 2 {
		if status, node, _ := s.ask(limited); status != 200 || node != "good" {
			t.Fatalf("status %d by %q", status, node)
		}
	}
	if status, _, _ := s.ask("beta-proxy-key-123"); status != http.StatusServiceUnavailable {
		t.Fatalf("an account without nodes: %d", status)
	}
	look := func() string {
		s.t.Helper()
		nodes := s.json(200, "GET", "/admin/api/nodes", "", "x-admin-key", adminKey)
		for _, n := range nodes["nodes"].([]any) { // what one process metered of late, and no state
			delete(n.(map[string]any), "error_rate")
			delete(n.(map[string]any), "first_byte_ewma_ms")
		}
		return fmt.Sprint(nodes, s.json(200, "GET", "/admin/api/accounts", "", "x-admin-key", adminKey), s.json(200, "GET", "/admin/api/keys", "", "x-admin-key", adminKey),
			s.json(200, "GET", "/admin/api/config", "", "x-admin-key", adminKey), s.json(200, "GET", "/api/usage/summary", "", "x-admin-key", adminKey),
			s.json(200, "GET", "/api/usage/logs", "", "x-admin-key", adminKey)["logs"])
	}
	before := look()
	if !strings.Contains(before, "failed:true") || !strings.Contains(before, account) {
		t.Fatalf("nothing to keep: %s", before)
	}
	calls := broken.Count()
	s.stop()

	s = start(t, dir, env)
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if status, _ := s.get("/admin/api/accounts", "Cookie", session); status != 200 {
		t.Errorf("the session: %d", status)
	}
	if status, node, _ := s.ask(limited); status != 200 || node != "good" {
		t.Errorf("the third of the day: %d by %q", status, node)
	}
	if broken.Count() != calls {
		t.Error("the failed node was forgotten and asked again")
	}
	if status, _, _ := s.ask(limited); status != http.StatusTooManyRequests {
		t.Errorf("the fourth of the day: %d, want 429", status)
	}
	s.kill() // and after a crash
	s = start(t, dir, env)
	if status, _ := s.get("/admin/api/accounts", "Cookie", session); status != 200 {
		t.Errorf("the session after a crash: %d", status)
	}
	if status, _, _ := s.ask("beta-proxy-key-123"); status != http.StatusServiceUnavailable {
		t.Errorf("the other account's key after a crash: %d", status)
	}
	s.stop()
}

// TestFirstStartKilled: whatever the first start had made when it was killed, the next one goes on from there.
func TestFirstStartKilled(t *testing.T) {
	env := map[string]string{"LISTEN_ADDR": "127.0.0.1:0", "UPSTREAM_API_KEY": "sk-ant-x"}
	for _, file := range []string{"", ".lock", ".db", ".db-wal", ".db.key", ".db.ctl"} {
		for range 2 {
			dir := t.TempDir()
			s := launch(t, dir, env)
			seen := func() bool {
				if file == "" {
					return true
				}
				name := "sluice" + file
				if file == ".lock" {
					name = "sluice.db.lock"
				}
				_, err := os.Stat(filepath.Join(dir, "data", name))
				return err == nil
			}
			for !seen() {
				select {
				case <-s.exited:
					t.Fatalf("it ended before it made %s", file)
				default:
					runtime.Gosched()
				}
			}
			s.kill()
			s = start(t, dir, env)
			if n := s.json(200, "GET", "/admin/api/nodes", "", "x-admin-key", "admin")["nodes"].([]any); len(n) != 1 || n[0].(map[string]any)["has_api_key"] != true {
				t.Errorf("killed when %s was there: nodes %v", file, n)
			}
			if status, _ := s.get("/admin/api/nodes", "x-api-key", "default-proxy-key"); status != 200 {
				t.Errorf("killed when %s was there: the default key answers %d", file, status)
			}
			s.stop()
		}
	}
}

// TestManyEditorsAtOnce: on disk an edit takes longer than in memory, and a hundred at once must all come through.
func TestManyEditorsAtOnce(t *testing.T) {
	s := start(t, t.TempDir(), map[string]string{"UPSTREAM_API_KEY": "sk-ant-x", "ADMIN_API_KEY": adminKey, "ACCESS_LOG": "false"})
	bodies := []string{`{"weight":50}`, `{"models":["only-this"]}`, `{"health_check_method":"head"}`, `{"health_check_model":"m"}`, `{"name":"edited"}`}
	codes := make([]int, 100)
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() {
			resp, err := client.Do(request("PUT", s.url+"/admin/api/nodes?id=1", bodies[i%len(bodies)], "x-admin-key", adminKey))
			if err != nil {
				t.Error(err)
				return
			}
			codes[i] = resp.StatusCode
			_ = resp.Body.Close()
		})
	}
	wg.Wait()
	for i, c := range codes {
		if c != 200 {
			t.Errorf("editor %d: status %d", i, c)
		}
	}
	n := s.json(200, "GET", "/admin/api/nodes", "", "x-admin-key", adminKey)["nodes"].([]any)[0].(map[string]any)
	for f, want := range map[string]string{"weight": "50", "models": "[only-this]", "health_check_method": "head", "health_check_model": "m", "name": "edited"} {
		if fmt.Sprint(n[f]) != want {
			t.Errorf("%s is %v, want %s", f, n[f], want)
		}
	}
	s.stop()
}
