package adminui

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// flow is an answer that is read while it is written.
type flow struct {
	*httptest.ResponseRecorder
	mu  sync.Mutex
	out bytes.Buffer
}

func (f *flow) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(p)
}

// take is what was written since it was last asked.
func (f *flow) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.out.String()
	f.out.Reset()
	return s
}

// changing is an API whose session and shares may end, and whose nodes may change.
type changing struct {
	mu   sync.Mutex
	over bool
	name string
}

func (a *changing) set(name string, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.name, a.over = name, over
}

func (a *changing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.over:
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/admin/api/me":
		_, _ = io.WriteString(w, adminMe)
	case r.URL.Path == "/admin/api/nodes":
		_, _ = io.WriteString(w, `{"nodes":[{"id":"1","name":"`+a.name+`","state":"online","kind":"anthropic","health_check_method":"api"}],"total":1}`)
	default:
		_, _ = io.WriteString(w, `{}`)
	}
}

// TestLive: a stream tells the part at once, again when it has changed, keeps quiet connections, and ends with the session, the
// request and the server.
func TestLive(t *testing.T) {
	for _, c := range []struct {
		why string
		end func(cancel func(), ending chan struct{}, a *changing)
		say string
	}{
		{"the reader leaves", func(cancel func(), _ chan struct{}, _ *changing) { cancel() }, ""},
		{"the server shuts down", func(_ func(), ending chan struct{}, _ *changing) { close(ending) }, ""},
		{"the session ends", func(_ func(), _ chan struct{}, a *changing) { a.set("", true); time.Sleep(liveEvery) }, "event: ended\ndata:\n\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, ending := &changing{name: "first"}, make(chan struct{})
			console := New(Options{API: a, Streams: true, Ending: ending})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f := &flow{ResponseRecorder: httptest.NewRecorder()}
			done := make(chan struct{})
			go func() {
				defer close(done)
				console.ServeHTTP(f, liveRequest(ctx))
			}()
			synctest.Wait()
			first := f.take()
			if !strings.HasPrefix(first, "data: ") || !strings.HasSuffix(first, "\n\n") || !strings.Contains(first, "first") || strings.Contains(first, "<!doctype") {
				t.Errorf("%s: at first %q", c.why, first)
			}
			for l := range strings.SplitSeq(strings.TrimSuffix(first, "\n\n"), "\n") {
				if !strings.HasPrefix(l, "data: ") {
					t.Errorf("%s: a line outside of the event: %q", c.why, l)
				}
			}
			if h := f.Header(); h.Get("Content-Type") != "text/event-stream" || h.Get("X-Accel-Buffering") != "no" {
				t.Errorf("%s: %v", c.why, h)
			}
			time.Sleep(liveEvery)
			synctest.Wait()
			if s := f.take(); s != "" {
				t.Errorf("%s: nothing changed: %q", c.why, s)
			}
			time.Sleep(liveQuiet)
			synctest.Wait()
			if s := f.take(); s != ":\n\n" {
				t.Errorf("%s: quiet: %q", c.why, s)
			}
			a.set("other", false)
			time.Sleep(liveEvery)
			synctest.Wait()
			if s := f.take(); !strings.Contains(s, "other") {
				t.Errorf("%s: after a change %q", c.why, s)
			}
			c.end(cancel, ending, a)
			<-done
			if s := f.take(); s != c.say {
				t.Errorf("%s: at the end %q", c.why, s)
			}
			if console.watchers.all != 0 || len(console.watchers.of) != 0 {
				t.Errorf("%s: still counted: %+v", c.why, &console.watchers)
			}
		})
	}
}

func liveRequest(ctx context.Context) *http.Request {
	r := httptest.NewRequestWithContext(ctx, "GET", "/admin/nodes?stream=1", nil)
	r.Header.Set("HX-Request", "true")
	r.Header.Set("HX-Target", "div#live")
	r.Header.Set("Accept-Encoding", "gzip")
	return r
}

// TestLiveBounds: one account's many pages are told once and asked to come again; others have room.
func TestLiveBounds(t *testing.T) {
	w := &watchers{}
	for range livePerson {
		if !w.enter("a") {
			t.Fatal("no room")
		}
	}
	if w.enter("a") || !w.enter("b") {
		t.Error("the bound is not the account's")
	}
	for i := w.all; i < liveAll; i++ {
		if !w.enter(strings.Repeat("x", i)) {
			t.Fatal("no room")
		}
	}
	if w.enter("c") {
		t.Error("no bound for all")
	}
	console := New(Options{API: &changing{name: "n"}, Streams: true})
	for range livePerson {
		console.watchers.enter("default")
	}
	f := &flow{ResponseRecorder: httptest.NewRecorder()}
	console.ServeHTTP(f, liveRequest(t.Context())) // returns
	if s := f.take(); !strings.HasPrefix(s, "retry: 30000\ndata: ") {
		t.Errorf("got %q", s)
	}
}

// TestLiveWhere: streams where the host has them, else parts that are asked for; nobody without a session gets one.
func TestLiveWhere(t *testing.T) {
	page := func(streams bool) string {
		w := httptest.NewRecorder()
		New(Options{API: &changing{name: "n"}, Streams: streams}).ServeHTTP(w, requestOf("GET", "/admin/nodes?q=n"))
		return w.Body.String()
	}
	if s := page(true); !strings.Contains(s, `hx-sse:connect="/admin/nodes?q=n&amp;stream=1"`) || strings.Contains(s, `hx-trigger="every 10s"`) {
		t.Errorf("streamed: %s", s)
	}
	if s := page(false); strings.Contains(s, "sse:") || !strings.Contains(s, `hx-get="/admin/nodes?q=n" hx-trigger="every 10s"`) {
		t.Errorf("polled: %s", s)
	}
	w := httptest.NewRecorder()
	New(Options{API: &changing{name: "n"}}).ServeHTTP(w, liveRequest(t.Context())) // a host that does not stream answers with the part
	if w.Code != 200 || strings.Contains(w.Body.String(), "data: ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for why, c := range map[string]struct {
		api    http.Handler
		target string
		say    string
	}{
		"without a session the page is loaded anew":       {&changing{over: true}, "/admin/nodes?stream=1", ended},
		"of trouble nothing is shown, and it tries again": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }), "/admin/nodes?stream=1", "retry: 30000\nevent: later\ndata:\n\n"},
	} {
		f := &flow{ResponseRecorder: httptest.NewRecorder()}
		r := liveRequest(t.Context())
		New(Options{API: c.api, Streams: true}).ServeHTTP(f, r)
		if s := f.take(); f.Code != 200 || s != c.say {
			t.Errorf("%s: %d %q", why, f.Code, s)
		}
	}
	f := &flow{ResponseRecorder: httptest.NewRecorder()} // returns: there is nothing in the login page that changes
	r := httptest.NewRequest("GET", "/login?stream=1", nil)
	r.Header.Set("HX-Request", "true")
	New(Options{API: &changing{over: true}, Streams: true}).ServeHTTP(f, r)
	if ct := f.Header().Get("Content-Type"); ct == "text/event-stream" {
		t.Error("a page without a live part streams")
	}
}

// TestLiveTrouble: a stream whose part cannot be told for a while says so once, keeps the connection, and tells the part again
// when it can be, though it is the same.
func TestLiveTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &changing{name: "first"}
		var down atomic.Bool
		console := New(Options{Streams: true, API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			a.ServeHTTP(w, r)
		})})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := &flow{ResponseRecorder: httptest.NewRecorder()}
		done := make(chan struct{})
		go func() {
			defer close(done)
			console.ServeHTTP(f, liveRequest(ctx))
		}()
		synctest.Wait()
		first := f.take()
		after := func(d time.Duration) string { time.Sleep(d); synctest.Wait(); return f.take() }
		down.Store(true)
		if s := after(liveEvery); s != "event: later\ndata:\n\n" {
			t.Errorf("in trouble: %q", s)
		}
		if s := after(liveQuiet); s != ":\n\n" {
			t.Errorf("still in trouble: %q", s)
		}
		down.Store(false)
		if s := after(liveEvery); s != first || first == "" {
			t.Errorf("afterwards: %q", s)
		}
		cancel()
		<-done
	})
}

// TestLiveQuiet: proxies end connections on which nothing came for a while, so something comes however long a look takes.
func TestLiveQuiet(t *testing.T) {
	for _, c := range []struct {
		why  string
		took time.Duration
	}{
		{"a quick look", 0},
		{"the wait is twenty times the look", time.Second},
		{"the look itself takes longer than a proxy waits", 90 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &changing{name: "first"}
			var took atomic.Int64
			console := New(Options{Streams: true, API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/admin/api/nodes" {
					time.Sleep(time.Duration(took.Load()))
				}
				a.ServeHTTP(w, r)
			})})
			ctx, cancel := context.WithCancel(t.Context())
			f := &flow{ResponseRecorder: httptest.NewRecorder()}
			done := make(chan struct{})
			go func() {
				defer close(done)
				console.ServeHTTP(f, liveRequest(ctx))
			}()
			synctest.Wait()
			took.Store(int64(c.took)) // from the second look on
			if f.take() == "" {
				t.Errorf("%s: nothing at first", c.why)
			}
			for began := time.Now(); time.Since(began) < 5*time.Minute; {
				time.Sleep(liveQuiet + time.Second)
				synctest.Wait()
				if s := f.take(); s == "" || strings.Trim(s, ":\n") != "" {
					t.Errorf("%s: after %v %q", c.why, time.Since(began), s)
				}
			}
			cancel()
			<-done
			time.Sleep(time.Minute)
			if s := f.take(); s != "" {
				t.Errorf("%s: after the end %q", c.why, s)
			}
		})
	}
}
