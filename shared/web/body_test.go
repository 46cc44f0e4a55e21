package web_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/web"
)

// noting notes how far ahead the read deadlines of its connections are set.
type noting struct {
	net.Listener
	mu    sync.Mutex
	ahead []time.Duration
}

type notingConn struct {
	net.Conn
	l *noting
}

func (l *noting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &notingConn{c, l}, nil
}

func (c *notingConn) SetReadDeadline(at time.Time) error {
	c.l.mu.Lock()
	if d := time.Until(at); d > 0 {
		c.l.ahead = append(c.l.ahead, d)
	}
	c.l.mu.Unlock()
	return c.Conn.SetReadDeadline(at)
}

func TestBodyDeadline(t *testing.T) {
	answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }
	read := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusTeapot)
	}
	refuse := func(w http.ResponseWriter, r *http.Request) {
		web.DropBody(w, r)
		w.WriteHeader(http.StatusTeapot)
	}
	for _, c := range []struct {
		reason  string
		handler http.HandlerFunc
		body    io.Reader
		want    []time.Duration
		closes  bool
	}{
		{"no body", answer, nil, nil, false},
		{"no body to drop", refuse, nil, nil, false},
		{"a body that is read", read, strings.NewReader("x"), []time.Duration{30 * time.Second}, false},
		{"a body that nobody reads", answer, strings.NewReader("x"), []time.Duration{30 * time.Second}, false},
		{"a body of unknown length", read, io.MultiReader(strings.NewReader("x")), []time.Duration{30 * time.Second}, false},
		{"a body that is dropped", refuse, strings.NewReader("x"), []time.Duration{30 * time.Second, time.Second}, true},
	} {
		s := httptest.NewUnstartedServer(web.Wrap(c.handler, web.Options{Log: slog.New(slog.DiscardHandler), Error: writeError}))
		l := &noting{Listener: s.Listener}
		s.Listener = l
		s.Start()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, c.body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Client().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		s.Close()
		l.mu.Lock()
		ok := len(l.ahead) == len(c.want)
		for i := range c.want {
			ok = ok && l.ahead[i] <= c.want[i] && l.ahead[i] > c.want[i]-time.Second
		}
		if !ok || resp.StatusCode != http.StatusTeapot || resp.Close != c.closes {
			t.Errorf("%s: got %d, close %v, read deadlines %v, want %v", c.reason, resp.StatusCode, resp.Close, l.ahead, c.want)
		}
		l.mu.Unlock()
	}
}
