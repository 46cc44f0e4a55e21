package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

func TestD51_D52_ClientThatLeavesCancelsTheUpstreamAndBlamesNobody(t *testing.T) {
	for _, c := range []struct {
		reason string
		b      upstreamtest.Behaviour
		body   string
		until  string // read until this, then leave; "": leave before any answer
		status int
		input  int64
	}{
		{"before the headers", upstreamtest.Reply(upstreamtest.Text("x")).Silence(upstreamtest.BeforeHeaders), streamBody, "", 499, 0},
		{"after the upstream's headers", upstreamtest.Reply(upstreamtest.Text("x")).Silence(upstreamtest.AfterHeaders), streamBody, "", 499, 0},
		{"after message_start, before content", upstreamtest.Reply(upstreamtest.Text("x")).Silence(upstreamtest.AfterStart), streamBody, "", 499, 10},
		{"within the content", upstreamtest.Events(9).Silence(upstreamtest.AfterDeltas(3)), streamBody, "tok2", 200, 10},
		{"before message_stop", upstreamtest.Events(9).Silence(upstreamtest.BeforeStop), streamBody, "message_delta", 200, 10},
		{"not streamed, before the headers", upstreamtest.Reply(upstreamtest.Text("x")).Silence(upstreamtest.BeforeHeaders), plainBody, "", 499, 0},
		{"not streamed, within the body", upstreamtest.Reply(upstreamtest.Text("x")).Silence(upstreamtest.AfterStart), plainBody, "", 499, 0},
	} {
		t.Run(c.reason, func(t *testing.T) {
			r := newRig(t, "PROXY_FAIL_THRESHOLD", "1")
			up := r.fakeNode("a", weight(1))
			other := r.fakeNode("b", weight(2))
			up.Default(c.b)
			ctx, cancel := context.WithCancel(deadline(t))
			defer cancel()
			if c.until != "" {
				_, rd := r.open(ctx, c.body)
				readUntil(t, rd, c.until)
				cancel()
			} else {
				done := make(chan error)
				go func() {
					resp, err := r.client.Do(r.request(ctx, "POST", "/v1/messages", c.body))
					if err == nil {
						_ = resp.Body.Close()
					}
					done <- err
				}()
				if err := up.WaitRequests(deadline(t), 1); err != nil {
					t.Fatal(err)
				}
				cancel()
				if err := <-done; err == nil {
					t.Error("the request was answered")
				}
			}
			if _, err := up.WaitAborted(deadline(t)); err != nil {
				t.Fatal("the upstream was not cancelled")
			}
			rec := r.record()
			if rec.Status != c.status || rec.ErrorCode != "client_gone" || rec.Success() || rec.Attempts != 1 {
				t.Errorf("recorded %+v", rec)
			}
			if wantFinal := c.reason == "before message_stop"; rec.Estimated == wantFinal {
				t.Errorf("estimated: %v", rec.Estimated)
			}
			// what was only on its way when the client left may or may not have been seen
			if rec.Tokens.Input != c.input && c.until != "" || rec.Tokens.Input == 0 {
				t.Errorf("got tokens %+v, want input %d", rec.Tokens, c.input)
			}
			if s := r.state("1"); s.Failed || s.FailStreak != 0 || other.Count() != 0 {
				t.Errorf("state %+v, other node asked %d times", s, other.Count())
			}
		})
	}
}

func TestD51_TokensSeenBeforeContentAreBilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(streaming(step{data: head}, step{wait: forever, data: "x"}))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = pause(t.Context(), 20*time.Second); cancel() }()
		b.post(ctx, streamBody)
		if rec := b.record(); rec.Tokens.Input != 11 || rec.Tokens.CacheRead != 5 || !rec.Estimated || rec.ErrorCode != "client_gone" || rec.Status != 200 {
			t.Errorf("recorded %+v", rec)
		}
	})
}

func TestD51_CancelTakesUnderASecond(t *testing.T) {
	for _, c := range []struct {
		reason string
		play   play
	}{
		{"waiting for the headers", streaming(step{wait: forever})},
		{"waiting for content", streaming(step{data: head}, step{wait: forever, data: "x"})},
		{"within content", streaming(step{data: head + evText}, step{wait: forever, data: "x"})},
		{"waiting for the next try", broken(errReset)},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{FailThreshold: 1, RetryMax: 3}, "a")
			if c.reason == "waiting for the next try" {
				b = newBubble(t, gateway.Settings{FailThreshold: 100, RetryMax: 10}, "a")
			}
			b.up.queue(c.play)
			ctx, cancel := context.WithCancel(t.Context())
			at := 100 * time.Second
			if c.reason == "waiting for the next try" {
				at = time.Millisecond
			}
			go func() { _ = pause(t.Context(), at); cancel() }()
			w := b.post(ctx, streamBody)
			if took := time.Since(w.born) - at; took > time.Second {
				t.Errorf("%s: the handler stayed for %v", c.reason, took)
			}
			if rec := b.record(); rec.ErrorCode != "client_gone" {
				t.Errorf("%s: recorded %+v", c.reason, rec)
			}
		})
	}
}

// sendPart opens a connection, sends the head of a request and part of its body, and leaves.
func sendPart(t *testing.T, r *rig, head, part string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(deadline(t), "tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, head+"\r\nHost: x\r\nX-Api-Key: "+proxyKey+"\r\n\r\n"+part)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
}

func TestD52_ClientThatLeavesWithinItsBodyBlamesNobody(t *testing.T) {
	r := newRig(t, "PROXY_FAIL_THRESHOLD", "1")
	up := r.fakeNode("a")
	sendPart(t, r, "POST /v1/messages HTTP/1.1\r\nContent-Length: 5000", plainBody)
	sendPart(t, r, "POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked", "10\r\n{\"model\":\"claud")
	if got := r.records(); len(got) != 0 || up.Count() != 0 {
		t.Errorf("a request that never was: %+v, %d sent", got, up.Count())
	}
	// a streamed upload has been admitted by then
	sendPart(t, r, "POST /v1/files HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000", "--b\r\n"+strings.Repeat("x", 40000))
	sendPart(t, r, "POST /v1/files HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked", "5\r\n--b\r\n\r\n")
	for _, rec := range r.records() {
		if rec.Endpoint != "/v1/files" || rec.ErrorCode != "client_gone" || rec.Status != 499 {
			t.Errorf("recorded %+v", rec)
		}
	}
	if got := len(r.records()); got != 2 {
		t.Errorf("got %d records", got)
	}
	if s := r.state("1"); s.Failed || s.FailStreak != 0 {
		t.Errorf("the node was blamed: %+v", s)
	}
}

func TestD55_EndOfGraceEndsRequestsInTheDialect(t *testing.T) {
	for _, c := range []struct {
		reason string
		play   play
		at     time.Duration
		check  func(t *testing.T, w *client, rec core.Settlement)
	}{
		{"waiting for headers", streaming(step{wait: forever}), time.Second, func(t *testing.T, w *client, rec core.Settlement) {
			wantError(t, w.reply(), 503, "api_error", "shutting down")
			if w.sent.Get("Retry-After") == "" || rec.Status != 503 {
				t.Errorf("got %v, recorded %+v", w.sent, rec)
			}
		}},
		{"after pings", streaming(step{wait: forever}), 20 * time.Second, func(t *testing.T, w *client, rec core.Settlement) {
			if typ, message := lastError(t, parse(t, w.text())); typ != "api_error" || !strings.Contains(message, "shutting down") || rec.Status != 200 {
				t.Errorf("got %s, recorded %+v", w.text(), rec)
			}
		}},
		{"within content", streaming(step{data: head + evText}, step{wait: forever, data: "x"}), time.Second, func(t *testing.T, w *client, rec core.Settlement) {
			if typ, message := lastError(t, parse(t, w.text())); typ != "api_error" || !strings.Contains(message, "shutting down") || !rec.Estimated || rec.Tokens.Input != 11 {
				t.Errorf("got %s, recorded %+v", w.text(), rec)
			}
		}},
		{"between tries", broken(errReset), time.Millisecond, func(t *testing.T, w *client, rec core.Settlement) {
			wantError(t, w.reply(), 503, "api_error", "shutting down")
			if rec.ErrorCode == "client_gone" {
				t.Errorf("recorded %+v", rec)
			}
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{FailThreshold: 2, RetryMax: 10}, "a")
				b.up.queue(c.play)
				ctx, stop := context.WithCancelCause(t.Context())
				go func() { _ = pause(t.Context(), c.at); stop(gateway.ErrDraining) }()
				w := b.post(ctx, streamBody)
				c.check(t, w, b.record())
				if took := time.Since(w.born) - c.at; took > time.Second {
					t.Errorf("it took %v", took)
				}
				if s := b.state("1"); s.Failed {
					t.Errorf("the node was blamed: %+v", s)
				}
			})
		})
	}
}

func TestD55_DrainRefusesNewRequestsAndLetsStreamsEnd(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.Events(5).Pause(upstreamtest.AfterDeltas(2), 300*time.Millisecond))
	resp, rd := r.open(deadline(t), streamBody)
	readUntil(t, rd, "tok0")
	idle := r.app.Drain.Start()
	got := r.post(plainBody)
	wantError(t, got, 503, "api_error", "shutting down")
	if got.header.Get("Retry-After") == "" || up.Count() != 1 {
		t.Errorf("got %v", got.header)
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/health": 200} {
		if got := r.do("GET", path, ""); got.status != want {
			t.Errorf("%s: got %d, want %d", path, got.status, want)
		}
	}
	rest, err := io.ReadAll(rd)
	if err != nil || !strings.Contains(string(rest), "event: message_stop") {
		t.Errorf("the running stream: %v %s", err, rest)
	}
	_ = resp.Body.Close()
	select {
	case <-idle:
	case <-deadline(t).Done():
		t.Error("never idle")
	}
	if rec := r.record(); !rec.Success() {
		t.Errorf("recorded %+v", rec)
	}
}

func TestRaces_PingsAndContentAtTheSameMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{PingEvery: time.Second, HoldFor: time.Second}, "a", "b")
		var steps []step
		want := head + evText
		for i := range 50 {
			ev := upstreamtest.Event("content_block_delta", fmt.Sprintf(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%d"}}`, i))
			steps = append(steps, step{wait: time.Second, data: ev}) // just when the ping is due
			want += ev
		}
		b.up.on("a", func(ctx context.Context) (*http.Response, error) {
			_ = pause(ctx, time.Second)
			return nil, errReset
		})
		b.up.on("b", streaming(append([]step{{wait: time.Second}, {data: head + evText}}, append(steps, step{data: ends})...)...))
		for range 20 {
			w := b.post(t.Context(), streamBody)
			es := parse(t, w.text())
			if got := strings.ReplaceAll(w.text(), upstreamtest.PingEvent, ""); got != strings.ReplaceAll(want+ends, upstreamtest.PingEvent, "") {
				t.Fatalf("got %s", names(es))
			}
		}
	})
}
