package upstreamtest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

const (
	streamBody = `{"model":"claude-x","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	plainBody  = `{"model":"claude-x","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
)

// patience bounds every wait; nothing that works comes near it.
const patience = 20 * time.Second

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newRequest(t *testing.T, ctx context.Context, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "k")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	r.Header.Set("Content-Type", "application/json")
	return r
}

// reply is an answer read to its end. err is why it ended early, if it did.
type reply struct {
	*http.Response
	body string
	err  error
}

// do sends a request over a connection of its own.
func do(t *testing.T, r *http.Request) reply {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, string(body), err}
}

func post(t *testing.T, a *upstreamtest.Anthropic, body string) reply {
	t.Helper()
	return do(t, newRequest(t, deadline(t), http.MethodPost, a.URL+"/v1/messages?beta=true", body))
}

// ask answers one request of the given body with b.
func ask(t *testing.T, b upstreamtest.Behaviour, body string) reply {
	t.Helper()
	a := upstreamtest.NewAnthropic(t)
	a.Default(b)
	return post(t, a, body)
}

type sse struct{ name, data string }

// events parses a stream of LF or CRLF lines.
func events(t *testing.T, body string) []sse {
	t.Helper()
	var out []sse
	for _, chunk := range strings.Split(strings.ReplaceAll(body, "\r\n", "\n"), "\n\n") {
		if chunk == "" {
			continue
		}
		name, data, ok := strings.Cut(chunk, "\n")
		if !ok || !strings.HasPrefix(name, "event: ") || !strings.HasPrefix(data, "data: ") {
			t.Fatalf("not an event: %q", chunk)
		}
		e := sse{strings.TrimPrefix(name, "event: "), strings.TrimPrefix(data, "data: ")}
		if !json.Valid([]byte(e.data)) {
			t.Fatalf("event %s: data is not JSON: %q", e.name, e.data)
		}
		out = append(out, e)
	}
	return out
}

func names(events []sse) string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimPrefix(e.name, "content_block_"))
	}
	return strings.Join(out, " ")
}

func mustStatus(t *testing.T, got reply, want int) {
	t.Helper()
	if got.err != nil {
		t.Fatal(got.err)
	}
	if got.StatusCode != want {
		t.Fatalf("got status %d, want %d: %s", got.StatusCode, want, got.body)
	}
}

// mustError checks the whole of an error answer.
func mustError(t *testing.T, got reply, status int, errType, message string) {
	t.Helper()
	mustStatus(t, got, status)
	var body struct {
		Type  string
		Error struct{ Type, Message string }
		ID    string `json:"request_id"`
	}
	decode(t, got.body, &body)
	if body.Type != "error" || body.Error.Type != errType || !strings.Contains(body.Error.Message, message) {
		t.Errorf("got %s, want %s %q", got.body, errType, message)
	}
	if body.ID == "" || body.ID != got.Header.Get("Request-Id") || !strings.HasPrefix(body.ID, "req_01") {
		t.Errorf("got request_id %q, header %q", body.ID, got.Header.Get("Request-Id"))
	}
	if got.Header.Get("Anthropic-Organization-Id") == "" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got headers %v", got.Header)
	}
}

func decode(t *testing.T, body string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}
