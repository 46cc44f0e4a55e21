//go:build unix

package process

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// TestKillUnderLoad is what the gateway promises of SIGKILL: no answered edit is lost, and no usage of a request that was
// answered more than one second earlier.
func TestKillUnderLoad(t *testing.T) {
	dir := t.TempDir()
	up := upstreamtest.NewAnthropic(t, upstreamtest.WithoutRecording())
	up.Default(upstreamtest.Reply(upstreamtest.Text("Hi")))
	env := map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "ADMIN_API_KEY": adminKey, "ACCESS_LOG": "false"}
	s := start(t, dir, env)

	type answered struct {
		id string
		at time.Time
	}
	var mu sync.Mutex
	var requests []answered
	var names []string // of accounts, in the order of their answers
	weight := 0        // last one answered
	// keep-alive: the load must come from the gateway's work, not from new connections
	busy := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer busy.CloseIdleConnections()
	send := func(method, path, body string, headers ...string) (int, http.Header) {
		resp, err := busy.Do(request(method, s.url+path, body, headers...))
		if err != nil {
			return 0, nil // it was killed
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return 0, nil
		}
		return resp.StatusCode, resp.Header
	}
	var wg sync.WaitGroup
	for i := range 8 {
		body := question
		if i%2 == 1 {
			body = streamed
		}
		wg.Go(func() {
			for {
				status, h := send("POST", "/v1/messages", body, "x-api-key", "default-proxy-key")
				if status != 200 {
					return
				}
				mu.Lock()
				requests = append(requests, answered{h.Get("Request-Id"), time.Now()})
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for i := 1; ; i++ {
			if status, _ := send("PUT", "/admin/api/nodes?id=1", fmt.Sprintf(`{"weight":%d}`, i), "x-admin-key", adminKey); status != 200 {
				return
			}
			mu.Lock()
			weight = i
			mu.Unlock()
		}
	})
	wg.Go(func() {
		for i := 0; ; i++ {
			name := fmt.Sprintf("account-%d", i)
			if status, _ := send("POST", "/admin/api/accounts", `{"name":"`+name+`"}`, "x-admin-key", adminKey); status != 201 {
				return
			}
			mu.Lock()
			names = append(names, name)
			mu.Unlock()
		}
	})
	load := time.NewTimer(3 * time.Second)
	select {
	case <-load.C:
	case <-s.exited:
		t.Fatal("it ended under load")
	}
	killed := time.Now()
	s.kill()
	wg.Wait()
	t.Logf("%d requests, %d weights and %d accounts were answered", len(requests), weight, len(names))
	if len(requests) < 50 || weight < 5 || len(names) < 5 {
		t.Fatal("too little load to show anything")
	}

	s = start(t, dir, env)
	kept := map[string]bool{}
	for cursor := ""; ; {
		resp, body := s.do("GET", "/api/usage/logs?limit=1000&cursor="+url.QueryEscape(cursor), "", "x-admin-key", adminKey)
		var page struct {
			Logs []struct {
				ID string `json:"request_id"`
			}
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || resp.StatusCode != 200 {
			t.Fatalf("logs: %d %v", resp.StatusCode, err)
		}
		for _, l := range page.Logs {
			if kept[l.ID] {
				t.Errorf("request %s is recorded twice", l.ID)
			}
			kept[l.ID] = true
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	lost, young := 0, 0
	for _, r := range requests {
		switch {
		case kept[r.id]:
		case r.at.Before(killed.Add(-time.Second)):
			lost++
			if lost <= 3 {
				t.Errorf("the usage of %s is lost, answered %v before the kill", r.id, killed.Sub(r.at))
			}
		default:
			young++
		}
	}
	t.Logf("%d records kept, %d of the last second lost", len(kept), young)
	if lost > 0 {
		t.Errorf("%d records lost that were older than a second", lost)
	}
	if sum := s.json(200, "GET", "/api/usage/summary", "", "x-admin-key", adminKey); sum["total_requests"] != float64(len(kept)) {
		t.Errorf("the sum is %v, the records are %d", sum["total_requests"], len(kept))
	}
	nodes := s.json(200, "GET", "/admin/api/nodes", "", "x-admin-key", adminKey)["nodes"].([]any)
	if got := int(nodes[0].(map[string]any)["weight"].(float64)); got < weight || got > weight+1 {
		t.Errorf("weight %d, but %d was answered", got, weight)
	}
	have := map[string]bool{}
	for _, a := range s.json(200, "GET", "/admin/api/accounts", "", "x-admin-key", adminKey)["accounts"].([]any) {
		have[a.(map[string]any)["name"].(string)] = true
	}
	for _, n := range names {
		if !have[n] {
			t.Errorf("%s was answered and is lost", n)
		}
	}
	if status, _, _ := s.ask("default-proxy-key"); status != 200 {
		t.Errorf("after the crash: %d", status)
	}
	s.stop()
}
