package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/web"
)

func TestStalledBody_DoesNotKeepARefusalBack(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a")
	var wg sync.WaitGroup
	for _, c := range []struct {
		reason, line, key string
		status            int
	}{
		{"unknown key", "POST /v1/messages", "unknown", 401},
		{"no key", "POST /v1/messages/batches", "", 401},
		{"operator's key", "POST /v1/messages", operatorKey, 403},
		{"unknown path", "POST /v1/nothing", proxyKey, 404},
		{"wrong method", "PUT /v1/messages", proxyKey, 405},
	} {
		for _, length := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked"} {
			wg.Go(func() {
				conn, err := (&net.Dialer{}).DialContext(deadline(t), "tcp", strings.TrimPrefix(r.url, "http://"))
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				began := time.Now()
				_ = conn.SetDeadline(began.Add(patience))
				if _, err := io.WriteString(conn, c.line+" HTTP/1.1\r\nHost: x\r\nX-Api-Key: "+c.key+"\r\n"+length+"\r\n\r\n"); err != nil {
					t.Error(err)
				}
				rd := bufio.NewReader(conn)
				resp, err := http.ReadResponse(rd, nil)
				if err != nil {
					t.Errorf("%s, %s: no answer: %v", c.reason, length, err)
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != c.status || !resp.Close || !strings.Contains(string(body), `"type":"error"`) {
					t.Errorf("%s, %s: got %d, close %v, %v: %s", c.reason, length, resp.StatusCode, resp.Close, err, body)
				}
				if _, err := rd.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s, %s: the connection stayed: %v", c.reason, length, err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%s, %s: it took %v", c.reason, length, took)
				}
			})
		}
	}
	wg.Wait()
}

func TestAccessLog_ClientGoneWithinItsBodyIs499(t *testing.T) {
	b := newBubble(t, gateway.Settings{}, "a")
	var out bytes.Buffer
	h := web.Wrap(b.handler, web.Options{Log: slog.New(slog.DiscardHandler), Access: web.NewAccessLog(&out, false, 1)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/messages", iotest.ErrReader(io.ErrUnexpectedEOF))
	q.ContentLength = 100
	q.Header.Set("X-Api-Key", proxyKey)
	h.ServeHTTP(newClient(t), q)
	if !strings.Contains(out.String(), " status=499 ") {
		t.Errorf("logged %s", out.String())
	}
}

func TestD16_OnlyErrorsThatNoRetryHelpsSayNotToRetry(t *testing.T) {
	r := newRig(t)
	_, limited := r.key(limits(core.Limits{RPM: 1}))
	_, bound := r.key(func(k *core.Key) { k.Models = []string{"claude-haiku-*"} })
	r.post(plainBody, "X-Api-Key", limited)
	for _, c := range []struct {
		reason, key string
		status      int
		want        string
	}{
		{"no key", "", 401, "false"},
		{"unknown key", "unknown", 401, "false"},
		{"operator's key", operatorKey, 403, "false"},
		{"model not allowed", bound, 403, "false"},
		{"limit reached", limited, 429, ""},
		{"no node", proxyKey, 503, ""},
	} {
		if got := r.post(plainBody, "X-Api-Key", c.key); got.status != c.status || got.header.Get("X-Should-Retry") != c.want {
			t.Errorf("%s: got %d, x-should-retry %q: %s", c.reason, got.status, got.header.Get("X-Should-Retry"), got.body)
		}
	}
}
