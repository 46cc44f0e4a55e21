package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

func TestD21_CountTokensComesFromTheUpstream(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a", modelMap(map[string]string{"claude-x": "y"}))
	got := r.do("POST", "/v1/messages/count_tokens?beta=true", odd)
	var answer struct {
		InputTokens int64 `json:"input_tokens"`
	}
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil || answer.InputTokens != upstreamtest.CountTokens(up.Last().Body) {
		t.Errorf("got %s", got.body)
	}
	if last := up.Last(); last.Path != "/v1/messages/count_tokens" || last.RawQuery != "beta=true" || last.Model() != "y" {
		t.Errorf("upstream got %s?%s for %s", last.Path, last.RawQuery, last.Model())
	}
}

func TestD19_ModelsOfANode(t *testing.T) {
	r := newRig(t)
	up := upstreamtest.NewAnthropic(t, upstreamtest.WithModels("claude-a", "claude-b"))
	r.node("a", up.URL)
	for _, path := range []string{"/v1/models?limit=1000", "/anthropic/v1/models?limit=1000"} {
		got := r.do("GET", path, "")
		if got.status != 200 || !strings.Contains(got.body, `"claude-a"`) || got.header.Get("X-Proxy-Node") != "a" || up.Last().RawQuery != "limit=1000" {
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	if got := r.do("GET", "/v1/models/claude-b", ""); got.status != 200 || !strings.Contains(got.body, `"claude-b"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := r.do("HEAD", "/v1/models/claude-b", ""); got.status != 200 || got.body != "" {
		t.Errorf("HEAD: got %d %q", got.status, got.body)
	}
	wantError(t, r.do("GET", "/v1/models/claude-none", ""), 404, "not_found_error", "claude-none is served by no node")
	if got := r.do("GET", "/v1/models", "", "X-Api-Key", "unknown"); got.status != 401 {
		t.Errorf("got %d", got.status)
	}
}

func TestD19_ModelsAreListedWithin3SecondsWhateverTheNodesDo(t *testing.T) {
	for _, c := range []struct {
		reason string
		play   play
	}{
		{"silent", answer("application/json", step{wait: forever})},
		{"slow within the body", answer("application/json", step{data: "{"}, step{wait: forever, data: "}"})},
		{"failing", refusing(500, "api_error", "x")},
		{"rate limited", refusing(429, "rate_limit_error", "x", "Retry-After", "100")},
		{"unknown path there", refusing(404, "not_found_error", "x")},
		{"credential refused", refusing(401, "authentication_error", "x")},
		{"a page", answer("text/html", step{data: "<html>"})},
		{"unreachable", broken(errReset)},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{FailThreshold: 1}, "a", "b", "c")
				b.up.queue(c.play)
				get := func(path string) *client {
					w := newClient(t)
					q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
					q.Header.Set("X-Api-Key", proxyKey)
					b.handler.ServeHTTP(w, q)
					return w
				}
				w := get("/v1/models?limit=1000")
				if took := time.Since(w.born); took > 3*time.Second {
					t.Errorf("it took %v", took)
				}
				var list struct {
					Data []struct {
						ID, Type    string
						DisplayName string `json:"display_name"`
					}
				}
				if err := json.Unmarshal([]byte(w.text()), &list); err != nil || w.status != 200 || len(list.Data) < 5 {
					t.Fatalf("got %d %s", w.status, w.text())
				}
				for _, m := range list.Data {
					if !strings.Contains(m.ID, "claude") || m.Type != "model" || m.DisplayName == "" {
						t.Errorf("got %+v", m)
					}
				}
				if w.sent.Get("X-Proxy-Node") != "" {
					t.Error("the gateway's own list is said to be a node's")
				}
				if w := get("/v1/models/" + list.Data[0].ID); w.status != 200 || !strings.Contains(w.text(), list.Data[0].ID) {
					t.Errorf("one model: %d %s", w.status, w.text())
				}
				wantError(t, get("/v1/models/nope").reply(), 404, "not_found_error", "nope")
				for _, id := range []string{"1", "2", "3"} { // messages go on as if nothing had been
					if s := b.state(id); s.Failed || s.FailStreak != 0 || len(s.Cooling) != 0 {
						t.Errorf("node %s was blamed for a list of models: %+v", id, s)
					}
				}
			})
		})
	}
}

// SDKs escape the slash of such a name when they ask for the one model.
func TestModels_NameWithASlash(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b"} { // two, so that the list is the gateway's
		r.node(name, upstreamtest.NewOpenAI(t, upstreamtest.WithModels("meta/llama", "x[1m]")).BaseURL(), openaiNode("chat"))
	}
	for path, want := range map[string]string{"/v1/models/meta%2Fllama": `"id":"meta/llama"`, "/openai/v1/models/x%5B1m%5D": `"id":"x[1m]"`} {
		if got := r.do("GET", path, "", "X-Api-Key", "", "Authorization", "Bearer "+proxyKey); got.status != 200 || !strings.Contains(got.body, want) {
			t.Errorf("%s: got %d %s", path, got.status, got.body)
		}
	}
}

// Names of absurd lengths are none: a list is kept in memory, and upstreams may be hostile.
func TestModels_LongNamesAreLeftOut(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("x", 257)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"data":[{"id":"good"},{"id":"` + long + `"},{"id":"b","owned_by":"` + long + `"},{"id":"c","display_name":"` + long + `"},{"id":"fine"}]}`))
	}))
	defer up.Close()
	r.node("a", up.URL)
	r.node("b", up.URL)
	got := r.do("GET", "/v1/models", "")
	if got.status != 200 || strings.Contains(got.body, "xxx") || !strings.Contains(got.body, `"good"`) || !strings.Contains(got.body, `"fine"`) {
		t.Errorf("got %d %.500s", got.status, got.body)
	}
}

func TestD19_ModelsAreListedWithoutANode(t *testing.T) {
	r := newRig(t)
	if got := r.do("GET", "/v1/models", ""); got.status != 200 || !strings.Contains(got.body, `"data":[]`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestD19_ModelsDoNotReviveAFailedNode(t *testing.T) {
	r := newRig(t, "PROXY_FAIL_THRESHOLD", "1", "PROXY_RETRY_MAX", "1", "PROXY_HEALTH_INTERVAL_SEC", "3600")
	up := r.fakeNode("a")
	up.Default(upstreamtest.Status(500, ""))
	r.post(plainBody)
	r.do("GET", "/v1/models", "")
	if !r.state("1").Failed {
		t.Error("a list of models closed the breaker of messages")
	}
}

func TestD19_Probes(t *testing.T) {
	r := newRig(t)
	for _, q := range []struct{ method, path string }{{"HEAD", "/"}, {"HEAD", "/api/hello"}, {"GET", "/api/hello"}, {"HEAD", "/anthropic"}, {"HEAD", "/anthropic/"}, {"HEAD", "/anthropic/api/hello"}} {
		if got := r.do(q.method, q.path, "", "X-Api-Key", ""); got.status != 200 {
			t.Errorf("%s %s: got %d", q.method, q.path, got.status)
		}
	}
	if n := len(r.records()); n != 0 {
		t.Errorf("got %d records", n)
	}
}

func TestGzip_UnaskedForIsUndone(t *testing.T) {
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(s))
		_ = z.Close()
		return b.String()
	}
	message := `{"type":"message","model":"claude-x","content":[],"usage":{"input_tokens":3,"output_tokens":4}}`
	failure := `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1 maximum"}}`
	r := newRig(t)
	up := r.fakeNode("a")
	gz := func(status int, contentType, body string) upstreamtest.Behaviour {
		return upstreamtest.Raw(status, http.Header{"Content-Type": {contentType}, "Content-Encoding": {"gzip"}}, zip(body))
	}
	up.Queue(gz(200, "application/json", message), gz(200, "text/event-stream", whole), gz(400, "application/json", failure))
	for _, c := range []struct{ send, want string }{{plainBody, message}, {streamBody, whole}, {plainBody, failure}} {
		got := r.post(c.send)
		if got.body != c.want || got.header.Get("Content-Encoding") != "" {
			t.Errorf("got %v %q, want %q", got.header, got.body, c.want)
		}
	}
	if rec := r.records(); rec[0].Tokens.Output != 4 || rec[1].Tokens.Output != 42 || rec[2].Status != 400 {
		t.Errorf("recorded %+v", rec)
	}
}

func TestGzip_ClientThatLeavesBeforeItsFirstByteBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{FailThreshold: 1}, "a")
		b.up.queue(func(ctx context.Context) (*http.Response, error) {
			resp := response(ctx, 200, "text/event-stream", []step{{wait: forever, data: "x"}})
			resp.Header.Set("Content-Encoding", "gzip")
			return resp, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = pause(t.Context(), time.Second); cancel() }()
		b.post(ctx, streamBody)
		if rec := b.record(); rec.ErrorCode != "client_gone" || b.state("1").Failed {
			t.Errorf("recorded %+v, state %+v", rec, b.state("1"))
		}
	})
}
