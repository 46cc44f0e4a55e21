package gateway_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/shared/gateway"
	"sluice/shared/upstream"
)

// still is an upstream.Client that answers the same at once, without a socket.
type still struct {
	header http.Header
	body   []byte
	piece  int // bytes that one Read brings
}

func (s *still) Send(_ context.Context, _ upstream.Target, r *upstream.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return &http.Response{StatusCode: 200, Header: s.header, Body: io.NopCloser(&pieces{bytes.NewReader(s.body), s.piece})}, nil
}

func (s *still) Classify(status int, h http.Header, _ []byte) upstream.Failure {
	return upstream.ClassifyStatus(status, h)
}

type pieces struct {
	r io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }

// sink takes an answer and forgets it.
type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header                { return s.header }
func (s *sink) WriteHeader(int)                    {}
func (s *sink) Write(p []byte) (int, error)        { s.n += len(p); return len(p), nil }
func (s *sink) FlushError() error                  { return nil }
func (s *sink) SetReadDeadline(_ time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(_ time.Time) error { return nil }

// BenchmarkRelay is the gateway's own work on a stream of 200 events and on whole answers, with authentication, limits
// and usage on, without sockets.
func BenchmarkRelay(b *testing.B) {
	stream := []byte(head + strings.Repeat(evText, 200) + ends)
	message := []byte(`{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hello"}],"usage":{"input_tokens":1,"output_tokens":2}}`)
	for _, c := range []struct {
		name, request, contentType string
		body                       []byte
		piece                      int
	}{
		{"stream/an event a read", streamBody, "text/event-stream", stream, len(evText)},
		{"stream/4 KiB a read", streamBody, "text/event-stream", stream, 4096},
		{"whole", plainBody, "application/json", message, 4096},
		{"whole/1 MiB request", strings.Replace(plainBody, "hi", strings.Repeat("prose ", 1<<20/6), 1), "application/json", message, 4096},
	} {
		b.Run(c.name, func(b *testing.B) {
			up := &still{header: http.Header{"Content-Type": {c.contentType}}, body: c.body, piece: c.piece}
			bb := newBubbleWith(b, gateway.Settings{}, up, "a")
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				q := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(c.request))
				q.Header.Set("X-Api-Key", proxyKey)
				w := &sink{header: http.Header{}}
				bb.handler.ServeHTTP(w, q)
				if w.n != len(c.body) {
					b.Fatalf("got %d of %d bytes", w.n, len(c.body))
				}
			}
		})
	}
}
