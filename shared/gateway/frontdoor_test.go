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

	"github.com/klauspost/compress/zstd"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

func gzipped(t *testing.T, body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(body)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstandard(t *testing.T, body string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(body), nil))
}

func TestD44_CompressedBodies(t *testing.T) {
	r := newRig(t, "MAX_BODY_BYTES", "100000")
	up := r.fakeOpenAI("a", "both")
	anthropic := r.fakeNode("b")
	bomb := chatPlain[:len(chatPlain)-1] + `,"x":"` + strings.Repeat("a", 200000) + `"}`
	for _, c := range []struct {
		why, encoding, body string
		status              int
	}{
		{"zstd", "zstd", zstandard(t, chatPlain), 200},
		{"gzip", "gzip", gzipped(t, chatPlain), 200},
		{"identity", "identity", chatPlain, 200},
		{"case", "GZIP", gzipped(t, chatPlain), 200},
		{"zstd that grows over the limit", "zstd", zstandard(t, bomb), 413},
		{"gzip that grows over the limit", "gzip", gzipped(t, bomb), 413},
		{"not zstd", "zstd", chatPlain, 400},
		{"not gzip", "gzip", chatPlain, 400},
		{"half of it", "gzip", gzipped(t, chatPlain)[:20], 400},
		{"half of a zstd", "zstd", zstandard(t, chatPlain)[:20], 400},
		{"no JSON within", "zstd", zstandard(t, "hello"), 400},
		{"unknown", "br", chatPlain, 400},
		{"two", "gzip, zstd", chatPlain, 400},
		{"empty", "gzip", "", 400},
		{"empty zstd", "zstd", "", 400},
	} {
		up.Reset()
		got := r.do("POST", chatPath, c.body, "Content-Encoding", c.encoding)
		if got.status != c.status {
			t.Errorf("%s: got %d %s", c.why, got.status, got.body)
		}
		if c.status == 200 && (string(up.Last().Body) != chatPlain || up.Last().Header.Get("Content-Encoding") != "") {
			t.Errorf("%s: upstream got %v %q", c.why, up.Last().Header, up.Last().Body)
		}
	}
	if got := r.post(zstandard(t, plainBody), "Content-Encoding", "zstd"); got.status != 200 || string(anthropic.Last().Body) != plainBody {
		t.Errorf("messages: got %d, upstream got %q", got.status, anthropic.Last().Body)
	}
}

func TestD46_WebSocketIsDeclinedCleanly(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{responsesPath, "/openai" + responsesPath} {
		got := r.do("GET", path, "", "Upgrade", "websocket", "Connection", "Upgrade", "Sec-Websocket-Version", "13", "Sec-Websocket-Key", "x")
		wantOpenAIError(t, got, 426, "invalid_request_error", "", "POST")
	}
	wantOpenAIError(t, r.do("GET", responsesPath, ""), 405, "invalid_request_error", "", "not allowed")
}

func TestD47_CompactIsAbsentCleanly(t *testing.T) {
	r := newRig(t)
	wantOpenAIError(t, r.do("POST", responsesPath+"/compact", responsesPlain), 404, "invalid_request_error", "not_found", "No such endpoint")
}

// The shape of a list follows the client: Anthropic's headers, or none of them, as Codex and OpenAI's SDKs ask (D19, D45).
func TestD45_ModelsInTheClientsShape(t *testing.T) {
	r := newRig(t)
	r.node("a", upstreamtest.NewAnthropic(t, upstreamtest.WithModels("claude-a", "claude-b")).URL)
	r.node("b", upstreamtest.NewOpenAI(t, upstreamtest.WithModels("gpt-a")).BaseURL(), openaiNode("chat"), modelMap(map[string]string{"fast": "gpt-a", "old-*": "gpt-a"}))
	r.node("c", upstreamtest.NewRefused(t), openaiNode("chat"))
	r.node("d", upstreamtest.NewRefused(t), openaiNode("chat"), func(n *core.Node) { n.Models = []string{"llama", "qwen-*"} })
	bearer := []string{"X-Api-Key", "", "Authorization", "Bearer " + proxyKey}
	ids := func(got reply) string {
		t.Helper()
		var list struct {
			Object string
			Data   []struct {
				ID, Object, Type string
				OwnedBy          string `json:"owned_by"`
			}
		}
		if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		out := list.Object
		for _, m := range list.Data {
			if (m.Object == "model") != (list.Object == "list") || (m.Type == "model") == (list.Object == "list") || (m.OwnedBy == "") == (list.Object == "list") {
				t.Errorf("mixed shapes: %+v", m)
			}
			out += " " + m.ID
		}
		return out
	}
	const all = "fast llama claude-a claude-b gpt-a"
	for _, path := range []string{"/v1/models", "/openai/v1/models", "/v1/models?client_version=0.169.0"} {
		if got, want := ids(r.do("GET", path, "", bearer...)), "list "+all; got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for _, headers := range [][]string{nil, {"X-Api-Key", "", "Authorization", "Bearer " + proxyKey, "Anthropic-Version", "2023-06-01"}} {
		if got, want := ids(r.do("GET", "/v1/models?limit=1000", "", headers...)), " "+all; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := r.do("GET", "/v1/models/claude-b", "", bearer...); got.status != 200 || !strings.Contains(got.body, `"object":"model"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	wantOpenAIError(t, r.do("GET", "/v1/models/nope", "", bearer...), 404, "invalid_request_error", "model_not_found", "nope")
	_, key := r.key(func(k *core.Key) { k.Models = []string{"claude-*", "fast"} })
	if got := ids(r.do("GET", "/v1/models", "", "X-Api-Key", key)); got != " fast claude-a claude-b" {
		t.Errorf("a key with a list sees %q", got)
	}
}

// Cursor sends names with "claude" elsewhere: every Claude model has a name without it, which is listed and served (D50).
func TestD50_AliasesWithoutClaude(t *testing.T) {
	r := newRig(t)
	up := upstreamtest.NewAnthropic(t, upstreamtest.WithModels("claude-sonnet-5-5", "claude-opus-5"))
	r.node("a", up.URL)
	got := r.do("GET", "/v1/models", "", "X-Api-Key", "", "Authorization", "Bearer "+proxyKey)
	for _, want := range []string{`"sonnet-5-5"`, `"opus-5"`, `"claude-opus-5"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %s in %s", want, got.body)
		}
	}
	got = r.do("POST", chatPath, strings.Replace(chatPlain, `"m"`, `"sonnet-5-5"`, 1))
	if got.status != 200 || up.Last().Model() != "claude-sonnet-5-5" || !strings.Contains(got.body, `"model":"sonnet-5-5"`) {
		t.Errorf("got %d, upstream was asked for %q: %s", got.status, up.Last().Model(), got.body)
	}
}

// Cursor sends Responses bodies, and chat bodies with flat tools, to chat, and wants chat's answers (D49).
func TestD49_CursorsBodies(t *testing.T) {
	flat := `[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}},{"type":"custom","name":"patch","description":"d"},{"type":"function","function":{"name":"g"}}]`
	for _, wire := range []string{"anthropic", "chat", "responses"} {
		t.Run(wire, func(t *testing.T) {
			r := newRig(t)
			if wire == "anthropic" {
				r.fakeNode("a")
			} else {
				r.fakeOpenAI("a", wire)
			}
			for _, body := range []string{
				`{"model":"m","input":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"input_text","text":"hi"}]}],"tools":` + flat + `}`,
				`{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":` + flat + `}`,
			} {
				got := r.do("POST", chatPath, body)
				if got.status != 200 || !strings.Contains(got.body, `"object":"chat.completion"`) {
					t.Errorf("got %d %s for %s", got.status, got.body, body)
				}
				got = r.do("POST", chatPath, strings.Replace(body, `{"model":"m"`, `{"model":"m","stream":true`, 1))
				if got.status != 200 || !strings.HasSuffix(got.body, "data: [DONE]\n\n") || !strings.Contains(got.body, `"chat.completion.chunk"`) {
					t.Errorf("got %d %s for %s", got.status, got.body, body)
				}
				got = r.do("POST", chatPath, strings.Replace(body, `{"model":"m"`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}`, 1))
				if got.status != 200 || strings.Count(got.body, `"choices":[],"usage":{`) != 1 {
					t.Errorf("no usage though asked for: %d %s for %s", got.status, got.body, body)
				}
			}
		})
	}
}

// serveAt serves one request of a path in a bubble.
func (b *bubble) serveAt(t *testing.T, path, body string) *client {
	w := newClient(t)
	q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	q.Header.Set("X-Api-Key", proxyKey)
	b.handler.ServeHTTP(w, q)
	return w
}

// Codex does not retry a 429: short ones are waited out, long ones passed on (D40).
func TestD40_ShortLimitsAreAbsorbed(t *testing.T) {
	for _, c := range []struct {
		why, path, body string
		wait            string
		status          int
		took            time.Duration
	}{
		{"responses", responsesPath, responsesPlain, "8", 200, 8 * time.Second},
		{"responses stream", responsesPath, responsesStream, "20", 200, 20 * time.Second},
		{"too long", responsesPath, responsesPlain, "31", 429, 0},
		{"chat clients wait themselves", chatPath, chatPlain, "5", 429, 0},
		{"but not for so little", chatPath, chatPlain, "4.9", 200, 4900 * time.Millisecond},
		{"nor do Anthropic's", "/v1/messages", plainBody, "3", 200, 3 * time.Second},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a")
				good := streaming(step{data: whole})
				if !strings.Contains(c.body, "stream") {
					good = answer("application/json", step{data: `{"type":"message","id":"msg_1","role":"assistant","model":"m","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`})
				}
				b.up.queue(refusing(429, "rate_limit_error", "slow down", "Retry-After", c.wait), good)
				w := b.serveAt(t, c.path, c.body)
				if took := time.Since(w.born); w.status != c.status || took < c.took || took > c.took+c.took/10+time.Second {
					t.Errorf("got %d after %v: %s", w.status, took, w.text())
				}
				if c.status == 429 && w.sent.Get("Retry-After") != c.wait {
					t.Errorf("retry-after %q", w.sent.Get("Retry-After"))
				}
			})
		})
	}
}

// A client that leaves while a limit is waited out is recorded as gone, not as limited, also when nothing was sent for it.
func TestD40_GoneWhileALimitIsAbsorbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(refusing(429, "rate_limit_error", "slow down", "Retry-After", "25"))
		b.serveAt(t, chatPath, chatPlain)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(5*time.Second, cancel)
		w := newClient(t)
		q := httptest.NewRequestWithContext(ctx, http.MethodPost, responsesPath, strings.NewReader(responsesPlain))
		q.Header.Set("X-Api-Key", proxyKey)
		b.handler.ServeHTTP(w, q)
		records := b.records()
		if rec := records[len(records)-1]; len(records) != 2 || rec.Status != 499 || rec.ErrorCode != "client_gone" || rec.Attempts != 0 {
			t.Errorf("recorded %+v", records)
		}
	})
}

// Stop sequences that the upstream has no place for are looked for in every piece of text: there is a bound to that.
func TestEnforcedStopsAreBounded(t *testing.T) {
	r := newRig(t)
	up := r.fakeOpenAI("a", "chat")
	body := func(stop string) string {
		return `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"stop_sequences":[` + stop + `]}`
	}
	for _, stop := range []string{`"x"` + strings.Repeat(`,"x"`, 256), strings.Repeat(`"`+strings.Repeat("x", 4000)+`",`, 4) + `"` + strings.Repeat("x", 400) + `"`} {
		wantError(t, r.post(body(stop)), 400, "invalid_request_error", "stop_sequences")
	}
	if got := r.post(body(`"x"` + strings.Repeat(`,"x"`, 255))); got.status != 200 || up.Count() != 1 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// A silent upstream never leaves the client without a sign for 25 s, and what was said meanwhile is not said twice (D11, D39).
func TestD39_KeepAlives(t *testing.T) {
	for _, c := range []struct{ path, body, alive string }{
		{chatPath, chatStream, ": keep-alive"},
		{responsesPath, responsesStream, "event: keepalive"},
	} {
		t.Run(c.path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a")
				b.up.queue(streaming(step{data: head}, step{wait: 290 * time.Second, data: evText}, step{wait: 100 * time.Second, data: evMore + ends}))
				w := b.serveAt(t, c.path, c.body)
				if gap := w.longestGap(); gap > 25*time.Second {
					t.Errorf("silent for %v", gap)
				}
				got := w.text()
				if !strings.Contains(got, c.alive) || !strings.Contains(got, "Hello") || !strings.Contains(got, " there") {
					t.Errorf("got %s", got)
				}
				if c.path == responsesPath {
					if n := strings.Count(got, "event: response.created\n"); n != 1 {
						t.Errorf("%d times created", n)
					}
					if !strings.HasPrefix(got, "event: response.created\n") || !strings.Contains(got, "event: response.completed\n") {
						t.Errorf("got %s", got)
					}
				}
			})
		})
	}
}

// After keep-alives only an event can tell that no node answered (D41).
func TestErrorAfterKeepAlives(t *testing.T) {
	for _, c := range []struct{ path, body, want string }{
		{chatPath, chatStream, `data: {"error":{"message":"busy"`},
		{responsesPath, responsesStream, "event: response.failed\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
			slow := refusing(529, "overloaded_error", "busy")
			b.up.queue(func(ctx context.Context) (*http.Response, error) {
				if err := pause(ctx, 40*time.Second); err != nil {
					return nil, err
				}
				return slow(ctx)
			})
			w := b.serveAt(t, c.path, c.body)
			if got := w.text(); w.status != 200 || !strings.Contains(got, c.want) || !strings.Contains(got, "busy") {
				t.Errorf("%s: got %d %s", c.path, w.status, got)
			}
		})
	}
}
