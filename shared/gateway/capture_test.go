package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/capture"
	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

// bodies is what the admin API tells of a captured exchange.
type bodies struct {
	RequestID   string `json:"request_id"`
	Account     string `json:"account_id"`
	Key         string `json:"key_id"`
	Node        string `json:"node_id"`
	Dialect     string `json:"dialect"`
	Stream      bool   `json:"stream"`
	Status      int    `json:"status"`
	ErrorCode   string `json:"error_code"`
	Request     string `json:"request"`
	Response    string `json:"response"`
	RequestCut  bool   `json:"request_truncated"`
	ResponseCut bool   `json:"response_truncated"`
}

// newCaptureRig captures the default account.
func newCaptureRig(t *testing.T, edit func(*core.Capture), env ...string) (r *rig, dir string) {
	t.Helper()
	dir = t.TempDir()
	r = newRig(t, append([]string{"CAPTURE_URL", "file:" + dir}, env...)...)
	r.editAccount(func(a *core.Account) {
		a.Capture = core.Capture{Enabled: true, Until: time.Now().Add(time.Hour)}
		if edit != nil {
			edit(&a.Capture)
		}
	})
	return r, dir
}

// captured reads what was kept of an answered request; ok is false where nothing was.
func (r *rig) captured(id string) (b bodies, ok bool) {
	r.t.Helper()
	r.rest()
	got := r.do("GET", "/api/usage/logs/"+id+"/bodies", "", "X-Api-Key", "", "X-Admin-Key", operatorKey)
	if got.status == 404 {
		return b, false
	}
	if got.status != 200 || json.Unmarshal([]byte(got.body), &b) != nil || got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Content-Type-Options") != "nosniff" {
		r.t.Fatalf("status %d: %s", got.status, got.body)
	}
	return b, true
}

func captures(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func zipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCapture_WhatWasSentAndAnswered(t *testing.T) {
	chat := strings.Replace(streamBody, `"max_tokens"`, `"max_completion_tokens"`, 1)
	for _, c := range []struct {
		why, path, body string
		headers         []string
		reply           *upstreamtest.Behaviour
		request         string // "": the body
		status          int
		stream          bool
	}{
		{why: "a whole answer", path: "/v1/messages", body: plainBody, reply: new(upstreamtest.Reply(upstreamtest.Text("Hello"))), status: 200},
		{why: "a stream", path: "/v1/messages", body: streamBody, reply: new(upstreamtest.Events(20)), status: 200, stream: true},
		{why: "in the client's dialect", path: "/v1/chat/completions", body: chat, reply: new(upstreamtest.Events(5)), status: 200, stream: true},
		{why: "a request that came compressed is kept as it reads", path: "/v1/messages", body: zipped(t, plainBody), headers: []string{"Content-Encoding", "gzip"}, request: plainBody, reply: new(upstreamtest.Reply(upstreamtest.Text("Hello"))), status: 200},
		{why: "one that cannot be inflated could not be redacted", path: "/v1/messages", body: "no gzip " + plainBody, headers: []string{"Content-Encoding", "gzip"}, request: "-", status: 400},
		{why: "an upstream's error", path: "/v1/messages", body: streamBody, reply: new(upstreamtest.Status(400, "no such thing")), status: 400, stream: true},
		{why: "our own error", path: "/v1/messages", body: `{"model":`, status: 400},
		{why: "a count of tokens", path: "/v1/messages/count_tokens", body: plainBody, status: 200},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, _ := newCaptureRig(t, nil)
			up := r.fakeNode("a")
			if c.reply != nil {
				up.Queue(*c.reply)
			}
			got := r.do("POST", c.path, c.body, c.headers...)
			if got.status != c.status || got.header.Get("X-Sluice-Captured") != "true" {
				t.Fatalf("status %d, header %q: %s", got.status, got.header.Get("X-Sluice-Captured"), got.body)
			}
			b, ok := r.captured(got.header.Get("Request-Id"))
			want := map[string]string{"": c.body, "-": ""}[c.request] + strings.TrimPrefix(c.request, "-")
			if !ok || b.Request != want || b.Response != got.body || b.RequestCut != (c.request == "-") || b.ResponseCut {
				t.Fatalf("kept %+v\nsent %s\ngot  %s", b, want, got.body)
			}
			rec := r.record()
			if b.RequestID != rec.RequestID || b.Status != rec.Status || b.Stream != rec.Stream || b.Key != rec.Key || b.Node != rec.Node || b.Account != core.DefaultAccount || b.Dialect != string(rec.Dialect) || b.ErrorCode != rec.ErrorCode {
				t.Errorf("head %+v, record %+v", b, rec)
			}
		})
	}
}

func TestCapture_OnlyWhereItIsOn(t *testing.T) {
	for _, c := range []struct {
		why    string
		edit   func(*core.Capture)
		fails  bool
		header string
		kept   bool
	}{
		{"off", func(s *core.Capture) { s.Enabled = false }, false, "", false},
		{"its time is over", func(s *core.Capture) { s.Until = time.Now().Add(-time.Second) }, false, "", false},
		{"without an end", func(s *core.Capture) { s.Until = time.Time{} }, false, "", false},
		{"on", nil, false, "true", true},
		{"failures alone, and it did not fail", func(s *core.Capture) { s.FailedOnly = true }, false, "on-failure", false},
		{"failures alone, and it did", func(s *core.Capture) { s.FailedOnly = true }, true, "on-failure", true},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, dir := newCaptureRig(t, c.edit)
			up := r.fakeNode("a")
			if c.fails {
				up.Queue(upstreamtest.Status(400, "no"))
			}
			got := r.post(plainBody)
			if h := got.header.Get("X-Sluice-Captured"); h != c.header {
				t.Errorf("header %q, want %q", h, c.header)
			}
			if _, ok := r.captured(got.header.Get("Request-Id")); ok != c.kept {
				t.Errorf("kept %v", ok)
			}
			if n := captures(t, dir); n != map[bool]int{true: 1}[c.kept] {
				t.Errorf("%d files", n)
			}
		})
	}
	t.Run("without a place", func(t *testing.T) {
		r := newRig(t)
		r.editAccount(func(a *core.Account) { a.Capture = core.Capture{Enabled: true, Until: time.Now().Add(time.Hour)} })
		r.fakeNode("a")
		if got := r.post(plainBody); got.status != 200 || got.header.Get("X-Sluice-Captured") != "" {
			t.Errorf("status %d, header %q", got.status, got.header.Get("X-Sluice-Captured"))
		}
	})
}

// A stream that was cut, and one whose client left, are kept as far as they went.
func TestCapture_StreamsThatEndEarly(t *testing.T) {
	t.Run("cut by the upstream", func(t *testing.T) {
		r, _ := newCaptureRig(t, nil)
		r.fakeNode("a").Queue(upstreamtest.Events(10).Cut(upstreamtest.AfterDeltas(6), upstreamtest.EndClose))
		got := r.post(streamBody)
		b, ok := r.captured(got.header.Get("Request-Id"))
		if !ok || b.Response != got.body || !strings.Contains(b.Response, "event: error") || b.ErrorCode != "stream_cut" {
			t.Errorf("kept %+v\nof %s", b, got.body)
		}
	})
	t.Run("left by the client", func(t *testing.T) {
		r, _ := newCaptureRig(t, nil)
		r.fakeNode("a").Queue(upstreamtest.Events(10).Silence(upstreamtest.AfterDeltas(5)))
		ctx, leave := context.WithCancel(deadline(t))
		resp, rd := r.open(ctx, streamBody)
		readUntil(t, rd, "content_block_delta")
		leave()
		b, ok := r.captured(resp.Header.Get("Request-Id"))
		if !ok || b.ErrorCode != "client_gone" || !strings.Contains(b.Response, "content_block_delta") || strings.Contains(b.Response, "message_stop") {
			t.Errorf("kept %+v", b)
		}
	})
}

func TestCapture_LongBodiesAreCut(t *testing.T) {
	r, _ := newCaptureRig(t, func(s *core.Capture) { s.MaxBytes = 2000 })
	r.fakeNode("a").Queue(upstreamtest.EventsSized(200, 100))
	body := strings.Replace(streamBody, "hi", strings.Repeat("word ", 10_000), 1)
	got := r.post(body)
	b, _ := r.captured(got.header.Get("Request-Id"))
	if len(b.Request) != 2000 || !strings.HasPrefix(body, b.Request) || !b.RequestCut || len(b.Response) != 2000 || !strings.HasPrefix(got.body, b.Response) || !b.ResponseCut {
		t.Errorf("kept %d and %d bytes: %+v", len(b.Request), len(b.Response), b)
	}
}

// Captures take their memory from MAX_BODY_MEMORY; where it is used up they are left out, and the request is served.
func TestCapture_NoMemory(t *testing.T) {
	r, dir := newCaptureRig(t, nil, "MAX_BODY_BYTES", "65536", "MAX_BODY_MEMORY", "65536")
	r.fakeNode("a")
	large := strings.Replace(plainBody, "hi", strings.Repeat("word ", 8_000), 1)
	for range 3 {
		got := r.post(large)
		if got.status != 200 || got.header.Get("X-Sluice-Captured") != "" {
			t.Fatalf("status %d, header %q", got.status, got.header.Get("X-Sluice-Captured"))
		}
	}
	if n := captures(t, dir); n != 0 {
		t.Errorf("%d files", n)
	}
	for range 50 { // what a capture takes is given back
		if got := r.post(plainBody); got.status != 200 || got.header.Get("X-Sluice-Captured") != "true" {
			t.Fatalf("status %d, header %q", got.status, got.header.Get("X-Sluice-Captured"))
		}
	}
	r.rest()
	if n := captures(t, dir); n != 50 {
		t.Errorf("%d files", n)
	}
}

// The key that the client came with is not kept, whatever its form, and an upstream's word on captures does not stand for ours.
func TestCapture_OwnKeyAndForeignHeader(t *testing.T) {
	r, _ := newCaptureRig(t, func(s *core.Capture) { s.Redact = []string{`case-\d+`} })
	url := newStatusServer(t, 400, map[string]string{"X-Sluice-Captured": "never"}, `{"type":"error","error":{"type":"invalid_request_error","message":"no case-17"}}`)
	r.node("a", url)
	got := r.post(strings.Replace(plainBody, "hi", "my key is "+proxyKey+" in case-17", 1))
	if h := got.header.Values("X-Sluice-Captured"); len(h) != 1 || h[0] != "true" {
		t.Errorf("header %q", h)
	}
	b, ok := r.captured(got.header.Get("Request-Id"))
	if !ok || !strings.Contains(b.Request, "my key is [redacted] in [redacted]") || !strings.Contains(b.Response, "no [redacted]") || !strings.Contains(got.body, "case-17") {
		t.Errorf("kept %+v of %s", b, got.body)
	}
}

// A place that fails never fails a request.
func TestCapture_PlaceIsGone(t *testing.T) {
	r, dir := newCaptureRig(t, nil)
	r.fakeNode("a")
	if err := os.WriteFile(filepath.Join(dir, core.DefaultAccount), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if got := r.post(streamBody); got.status != 200 || got.err != nil {
			t.Fatalf("status %d, %v", got.status, got.err)
		}
	}
	if n := len(r.records()); n != 5 {
		t.Errorf("%d records", n)
	}
}

// keeper is a Capture that notes what it is given.
type keeper struct{ kept []*capture.Exchange }

func (k *keeper) Keep(_ context.Context, e *capture.Exchange) { k.kept = append(k.kept, e) }
func (k *keeper) Skip(string)                                 {}

// TestCapture_PanicBeforeAnAnswer: a request that fails before anything was sent is kept, and its client gets the error all the
// same, not an empty answer.
func TestCapture_PanicBeforeAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		_, err := b.tables.Accounts.Upsert(t.Context(), core.DefaultAccount, func(a *core.Account) error {
			a.Capture = core.Capture{Enabled: true, Until: time.Now().Add(time.Hour)}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		k := &keeper{}
		b.o.Capture = k
		b.count(nil)
		b.up.queue(func(context.Context) (*http.Response, error) { panic("in the transport") })
		w := b.post(t.Context(), streamBody)
		wantError(t, w.reply(), 500, "api_error", "Internal error")
		if len(k.kept) != 1 || k.kept[0].Status != 500 || string(k.kept[0].Request) != streamBody {
			t.Errorf("kept %+v", k.kept)
		}
	})
}

// never is a Capture that must not be asked.
type never struct{ t testing.TB }

func (n never) Keep(context.Context, *capture.Exchange) { n.t.Error("kept") }
func (n never) Skip(string)                             { n.t.Error("skipped") }

// TestCapture_OffCostsNothing: where an account is not captured, a request allocates as if there were no capture.
func TestCapture_OffCostsNothing(t *testing.T) {
	stream := []byte(head + strings.Repeat(evText, 50) + ends)
	measured := func(c gateway.Capture) float64 {
		b := newBubbleWith(t, gateway.Settings{}, &still{header: http.Header{"Content-Type": {"text/event-stream"}}, body: stream, piece: 4096}, "a")
		b.o.Capture = c
		b.count(nil)
		return testing.AllocsPerRun(300, func() {
			q := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(streamBody))
			q.Header.Set("X-Api-Key", proxyKey)
			b.handler.ServeHTTP(&sink{header: http.Header{}}, q)
		})
	}
	if none, off := measured(nil), measured(never{t}); off > none+1 {
		t.Errorf("%.0f allocations where it is off, %.0f where there is none", off, none)
	}
}
