package web_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/web"
)

func writeError(w http.ResponseWriter, _ *http.Request, e *core.Error) {
	w.WriteHeader(e.Code.Status())
	_, _ = io.WriteString(w, e.Message)
}

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		reason, peer string
		forwarded    []string
		trusted      []netip.Prefix
		want         string
	}{
		{"the peer", "203.0.113.9:1234", nil, nil, "203.0.113.9"},
		{"the peer over IPv6", "[2001:db8::1]:1234", nil, nil, "2001:db8::1"},
		{"a mapped peer", "[::ffff:203.0.113.9]:1", nil, nil, "203.0.113.9"},
		{"a peer with a zone", "[fe80::1%eth0]:1", nil, nil, "fe80::1"},
		{"nobody is trusted by default", "10.0.0.1:1", []string{"198.51.100.7"}, nil, "10.0.0.1"},
		{"an untrusted peer's word", "203.0.113.9:1", []string{"198.51.100.7"}, trusted, "203.0.113.9"},
		{"a trusted proxy's word", "10.0.0.1:1", []string{"198.51.100.7"}, trusted, "198.51.100.7"},
		{"the right-most that is no proxy", "10.0.0.1:1", []string{"1.1.1.1, 198.51.100.7, 10.9.9.9"}, trusted, "198.51.100.7"},
		{"over several lines", "10.0.0.1:1", []string{"1.1.1.1", "198.51.100.7", "10.9.9.9"}, trusted, "198.51.100.7"},
		{"all are proxies: the farthest", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, trusted, "10.0.0.3"},
		{"nonsense stops it", "10.0.0.1:1", []string{"1.1.1.1, unknown, 10.0.0.2"}, trusted, "10.0.0.2"},
		{"no header", "10.0.0.1:1", nil, trusted, "10.0.0.1"},
		{"an empty header", "10.0.0.1:1", []string{""}, trusted, "10.0.0.1"},
		{"with a port", "10.0.0.1:1", []string{"198.51.100.7:555"}, trusted, "198.51.100.7"},
		{"IPv6 behind IPv6", "[fd00::1]:1", []string{"2001:db8::7"}, trusted, "2001:db8::7"},
		{"a mapped proxy", "[::ffff:10.0.0.1]:1", []string{"198.51.100.7"}, trusted, "198.51.100.7"},
	} {
		var got netip.Addr
		h := web.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = web.FromContext(r.Context()).Client }),
			web.Options{Log: slog.New(slog.DiscardHandler), TrustedProxies: c.trusted, Error: writeError})
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		for _, v := range c.forwarded {
			r.Header.Add("X-Forwarded-For", v)
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got.String() != c.want {
			t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestDirect(t *testing.T) {
	for _, c := range []struct {
		reason, peer, host, header string
		want                       bool
	}{
		{"loopback by name", "127.0.0.1:1", "localhost:8000", "", true},
		{"loopback by address", "127.0.0.1:1", "127.0.0.1:8000", "", true},
		{"loopback over IPv6", "[::1]:1", "[::1]:8000", "", true},
		{"without a port", "[::1]:1", "[::1]", "", true},
		{"another case", "127.0.0.1:1", "LOCALHOST.", "", true},
		{"mapped", "[::ffff:127.0.0.1]:1", "localhost", "", true},
		{"a peer elsewhere", "192.168.1.2:1", "localhost:8000", "", false},
		{"a host elsewhere: a page that rebinds its name", "127.0.0.1:1", "evil.example:8000", "", false},
		{"a name that begins like it", "127.0.0.1:1", "localhost.evil.example", "", false},
		{"an address that begins like it", "127.0.0.1:1", "127.0.0.1.evil.example", "", false},
		{"no host", "127.0.0.1:1", "", "", false},
		{"a proxy on this machine", "127.0.0.1:1", "localhost", "X-Forwarded-For", false},
		{"a proxy that says Via", "127.0.0.1:1", "localhost", "Via", false},
		{"a proxy that says Forwarded", "127.0.0.1:1", "localhost", "Forwarded", false},
		{"no peer", "@", "localhost", "", false},
	} {
		var got bool
		h := web.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = web.FromContext(r.Context()).Direct }),
			web.Options{Log: slog.New(slog.DiscardHandler), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Error: writeError})
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = c.peer, c.host
		if c.header != "" {
			r.Header.Set(c.header, "127.0.0.1")
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("%s: got %v", c.reason, got)
		}
	}
}

func TestPanic(t *testing.T) {
	for _, c := range []struct {
		reason string
		f      func(http.ResponseWriter)
		status int
		panics bool
		logged bool
	}{
		{"before the header", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "5"); panic("secret") }, 500, false, true},
		{"before the header, with an error", func(http.ResponseWriter) { panic(errors.New("secret")) }, 500, false, true},
		{"after the header", func(w http.ResponseWriter) { w.WriteHeader(200); panic("secret") }, 200, true, true},
		{"after a part of the body", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "half"); panic("secret") }, 200, true, true},
		{"on purpose", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 200, true, false},
	} {
		var log bytes.Buffer
		d := &web.Drain{}
		h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.f(w) }),
			web.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Error: writeError, Access: web.NewAccessLog(&log, false, 1), Draining: d})
		w := httptest.NewRecorder()
		var p any
		func() {
			defer func() { p = recover() }()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/x?key=hidden", nil))
		}()
		if c.panics != (p != nil) || p != nil && p != http.ErrAbortHandler {
			t.Errorf("%s: got panic %v", c.reason, p)
		}
		if w.Code != c.status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: got %d %s", c.reason, w.Code, w.Body)
		}
		if strings.Contains(log.String(), "stack") != c.logged || !strings.Contains(log.String(), "msg=request") || strings.Contains(log.String(), "hidden") {
			t.Errorf("%s: logged %s", c.reason, log.String())
		}
		select {
		case <-d.Start():
		default:
			t.Errorf("%s: the request still counts as running", c.reason)
		}
	}
}

func TestD55_Drain(t *testing.T) {
	d := &web.Drain{}
	inside, leave := make(chan struct{}), make(chan struct{})
	h := web.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(inside)
			<-leave
		}
	}), web.Options{Log: slog.New(slog.DiscardHandler), Error: writeError, Draining: d})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	done := make(chan int)
	go func() { done <- get("/slow").Code }()
	<-inside
	begun := d.Begun()
	select {
	case <-begun:
		t.Error("begun before it is")
	default:
	}
	idle, again := d.Start(), d.Start()
	if !d.Started() {
		t.Error("not started")
	}
	<-begun
	<-d.Begun() // asked for afterwards
	for path, want := range map[string]int{"/v1/messages": 503, "/": 503, "/livez": 200, "/readyz": 200, "/health": 200} {
		w := get(path)
		if w.Code != want || want == 503 && w.Header().Get("Connection") != "close" || w.Header().Get("Request-Id") == "" {
			t.Errorf("%s: got %d %v", path, w.Code, w.Header())
		}
	}
	select {
	case <-idle:
		t.Error("idle while a request runs")
	default:
	}
	close(leave)
	if got := <-done; got != 200 {
		t.Errorf("the running request got %d", got)
	}
	<-idle
	<-again
	<-d.Start()
}

func TestRequestIDsDifferAndCannotBeChosen(t *testing.T) {
	h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, web.FromContext(r.Context()).ID)
	}),
		web.Options{Log: slog.New(slog.DiscardHandler), Error: writeError})
	seen := map[string]bool{}
	for range 100 {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Request-Id", "chosen")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		id := w.Header().Get("Request-Id")
		if id != w.Body.String() || !strings.HasPrefix(id, "req_") || len(id) != 30 || seen[id] {
			t.Fatalf("got %q", id)
		}
		seen[id] = true
	}
	if i := web.FromContext(t.Context()); i.ID == "" || i.Start.IsZero() {
		t.Error("without the middleware there is no info")
	}
}

func TestInterimStatusIsNotTheAnswers(t *testing.T) {
	var log bytes.Buffer
	h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	}), web.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Error: writeError, Access: web.NewAccessLog(&log, false, 1)})
	s := httptest.NewServer(h)
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	s.Close()
	if resp.StatusCode != http.StatusTeapot || !strings.Contains(log.String(), "status=418") {
		t.Errorf("got %d, logged %s", resp.StatusCode, log.String())
	}
}

func TestCORS(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, c := range []struct {
		reason  string
		origins []string
		origin  string
		method  string
		status  int
		allowed string
	}{
		{"off", nil, "https://a.example", "GET", 418, ""},
		{"listed", []string{"https://a.example"}, "https://a.example", "GET", 418, "https://a.example"},
		{"not listed", []string{"https://a.example"}, "https://b.example", "GET", 418, ""},
		{"any", []string{"*"}, "https://b.example", "GET", 418, "https://b.example"},
		{"no browser", []string{"*"}, "", "GET", 418, ""},
		{"preflight", []string{"https://a.example"}, "https://a.example", "OPTIONS", 204, "https://a.example"},
		{"preflight, not listed", []string{"https://a.example"}, "https://b.example", "OPTIONS", 418, ""},
	} {
		r := httptest.NewRequest(c.method, "/v1/messages", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.method == "OPTIONS" {
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "x-api-key")
		}
		w := httptest.NewRecorder()
		web.CORS(next, c.origins).ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Access-Control-Allow-Origin") != c.allowed || w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: got %d %v", c.reason, w.Code, w.Header())
		}
	}
}
