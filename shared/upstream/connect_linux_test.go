package upstream_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"sluice/shared/upstream"
)

// TestConnectGivesUp: a host that never completes a connection is given up by the transports themselves (after 10 s), and
// counts as a timeout. The host is a listener whose queue is full, so that the kernel leaves further attempts unanswered.
func TestConnectGivesUp(t *testing.T) {
	t.Parallel()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
	for range 4 { // nobody accepts: these fill the queue
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			break
		}
		defer func() { _ = c.Close() }()
	}
	tr := upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: true}})
	defer tr.CloseIdle()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // against a hang; the transports must be first
	defer cancel()
	done := make(chan error, 2)
	for _, rt := range []http.RoundTripper{tr.Operator, tr.Guarded} {
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
			if err == nil {
				var resp *http.Response
				if resp, err = rt.RoundTrip(req); err == nil {
					_ = resp.Body.Close()
				}
			}
			done <- err
		}()
	}
	for range 2 {
		err := <-done
		if err == nil || ctx.Err() != nil {
			t.Fatalf("got %v, context %v", err, ctx.Err())
		}
		if f := upstream.ClassifyError(err); f.Class != upstream.Timeout {
			t.Errorf("%v counts as %v: %s", err, f.Class, f.Reason)
		}
	}
}
