package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// TestHeadersStayInTheirDialect: what a client says in headers means nothing to an upstream of another dialect, and what
// that says in its own would mislead the client. Between equal dialects both pass.
func TestHeadersStayInTheirDialect(t *testing.T) {
	sent := []string{"Anthropic-Beta", "context-1m-2025-08-07", "X-Custom", "mine", "Openai-Beta", "assistants=v2", "X-Stainless-Lang", "go",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "User-Agent", "client/1.0"}
	own := map[string]bool{"Accept": true, "Accept-Encoding": true, "Content-Length": true, "Content-Type": true, "User-Agent": true,
		"Authorization": true, "X-Api-Key": true, "Anthropic-Version": true}
	chat := `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	input := `{"model":"m","input":"hi"}`
	claude := `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`
	for _, c := range []struct {
		why, path, body, wire string // wire of the OpenAI node; empty: an Anthropic one
		same                  bool
	}{
		{"chat over Anthropic", chatPath, chat, "", false},
		{"Responses over Anthropic", responsesPath, input, "", false},
		{"Messages over chat", "/v1/messages", claude, "chat", false},
		{"Messages over Responses", "/v1/messages", claude, "responses", false},
		{"Responses over chat", responsesPath, input, "chat", false},
		{"chat over Responses", chatPath, chat, "responses", false},
		{"Messages over Anthropic", "/v1/messages", claude, "", true},
		{"chat over chat", chatPath, chat, "chat", true},
	} {
		for _, stream := range []bool{false, true} {
			r := newRig(t)
			var last func() upstreamtest.Request
			b := upstreamtest.Reply(upstreamtest.Text("Hello")).Header("X-Upstream-Own", "theirs").Header("X-Ratelimit-Remaining-Requests", "3").Header("Anthropic-Ratelimit-Requests-Remaining", "4")
			if c.wire == "" {
				up := r.fakeNode("a")
				up.Default(b)
				last = up.Last
			} else {
				up := r.fakeOpenAI("a", c.wire)
				up.Default(b)
				last = up.Last
			}
			body := c.body
			if stream {
				body = strings.Replace(body, `{`, `{"stream":true,`, 1)
			}
			got := r.do("POST", c.path, body, sent...)
			if got.status != 200 {
				t.Fatalf("%s: %d %s", c.why, got.status, got.body)
			}
			h := last().Header
			for name := range h {
				if !c.same && !own[name] {
					t.Errorf("%s, stream %v: the upstream is sent %s", c.why, stream, name)
				}
			}
			if h.Get("User-Agent") != "client/1.0" {
				t.Errorf("%s: User-Agent %q", c.why, h.Get("User-Agent"))
			}
			if c.same && h.Get("X-Custom") != "mine" {
				t.Errorf("%s: the client's header did not pass", c.why)
			}
			for _, name := range []string{"X-Upstream-Own", "X-Ratelimit-Remaining-Requests", "Anthropic-Ratelimit-Requests-Remaining"} {
				if passed := got.header.Get(name) != ""; passed != c.same {
					t.Errorf("%s, stream %v: the client is sent %s: %v", c.why, stream, name, passed)
				}
			}
			id := "Request-Id"
			if c.path != "/v1/messages" {
				id = "X-Request-Id"
			}
			if got.header.Get("X-Upstream-Request-Id") == "" || got.header.Get(id) == "" || got.header.Get(id) == got.header.Get("X-Upstream-Request-Id") {
				t.Errorf("%s, stream %v: ids %v", c.why, stream, http.Header(got.header))
			}
		}
	}
}
