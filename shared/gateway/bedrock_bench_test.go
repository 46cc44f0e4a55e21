package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/upstream"
	"sluice/shared/upstream/anthropic"
	"sluice/shared/upstream/bedrock"
	"sluice/shared/upstream/upstreamtest"
)

// canned is a way out that answers the same at once.
type canned struct {
	media string
	body  string
	piece int
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {c.media}}, Body: io.NopCloser(&pieces{strings.NewReader(c.body), c.piece})}, nil
}

// cpuTime is what this process used, in nanoseconds: on a busy machine it says more than the clock.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkRelayBedrock is BenchmarkRelay on the wires of Bedrock beside Anthropic's own, each with its real client (which
// signs): a short request, and one of 200 KiB with Claude Code's flags.
func BenchmarkRelayBedrock(b *testing.B) {
	const events = 200
	sse := head + strings.Repeat(evText, events) + ends
	var converse strings.Builder
	converse.WriteString(upstreamtest.Frame("messageStart", `{"role":"assistant","p":"ab"}`))
	for range events {
		converse.WriteString(upstreamtest.Frame("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hello"},"p":"abcdefgh"}`))
	}
	converse.WriteString(converseStops() + converseTells(`{"inputTokens":11,"outputTokens":42,"totalTokens":53}`))
	requests := []struct{ name, body string }{
		{"short", `{"model":"claude-opus-5-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}`},
		{"200 KiB", `{"model":"claude-opus-5-5","max_tokens":100,"stream":true,"tools":[` + weatherTool + `],"messages":[{"role":"user","content":[{"type":"text","text":"` + strings.Repeat("prose ", 200<<10/6) + `","cache_control":{"type":"ephemeral","ttl":"1h"}}]}]}`},
	}
	for _, w := range []struct {
		name, media, body string
		node              func(*core.Node)
	}{
		{"anthropic", "text/event-stream", sse, func(*core.Node) {}},
		{"messages", "text/event-stream", sse, bedrockNode("messages")},
		{"invoke", "application/vnd.amazon.eventstream", inChunks(sse), bedrockNode("invoke")},
		{"converse", "application/vnd.amazon.eventstream", converse.String(), bedrockNode("converse")},
	} {
		for _, q := range requests {
			for _, read := range []struct {
				name  string
				piece int
			}{{"an event a read", len(w.body) / (events + 6)}, {"32 events a read", 32 * len(w.body) / (events + 6)},
				{"sockets, an event a read", len(w.body) / (events + 6)}} {
				b.Run(w.name+"/"+q.name+"/"+read.name, func(b *testing.B) {
					out := &canned{w.media, w.body, read.piece}
					tr := &upstream.Transports{Guarded: out, Operator: out}
					bb := newBubbleWith(b, gateway.Settings{}, anthropic.New(tr))
					bb.o.Upstreams[core.KindBedrock] = bedrock.New(bedrock.Options{Transports: tr})
					bb.count(nil)
					bb.node("1", "a", 1, w.node, func(n *core.Node) {
						if n.Kind == core.KindBedrock {
							n.Credential = bb.box.Seal(directory.CredentialOwner(n.ID), core.NewSecret(bedrockKeys))
						} else {
							n.BaseURL = "https://api.anthropic.com"
						}
					})
					if strings.HasPrefix(read.name, "sockets") {
						benchSockets(b, bb.handler, q.body)
						return
					}
					b.ReportAllocs()
					before := cpuTime(b)
					defer func() { b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") }()
					for b.Loop() {
						r := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(q.body))
						r.Header.Set("X-Api-Key", proxyKey)
						r.Header.Set("Anthropic-Beta", "claude-code-20250219,interleaved-thinking-2025-05-14,context-1m-2025-08-07")
						sink := &sink{header: http.Header{}}
						bb.handler.ServeHTTP(sink, r)
						if sink.n < len(evText)*events/2 {
							b.Fatalf("got %d bytes", sink.n)
						}
					}
				})
			}
		}
	}
}

// benchSockets is the same with a client behind a socket, to which each event is written by itself, as in operation.
func benchSockets(b *testing.B, h http.Handler, body string) {
	server := httptest.NewServer(h)
	defer server.Close()
	before := cpuTime(b)
	defer func() { b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		r, err := http.NewRequest(http.MethodPost, server.URL+"/v1/messages", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("X-Api-Key", proxyKey)
		r.Header.Set("Anthropic-Beta", "claude-code-20250219,interleaved-thinking-2025-05-14,context-1m-2025-08-07")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < 1000 {
			b.Fatalf("%d bytes, %v", n, err)
		}
		_ = resp.Body.Close()
	}
}
