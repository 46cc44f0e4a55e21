package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"sluice/shared/lambdahttp"
)

// Echo is what the handler says of a request.
type Echo struct {
	Method, Path, RawPath, RawQuery, Host, IP string
	Header                                    http.Header
	Query                                     map[string][]string
	Cookies                                   []string
	Length                                    int64
	Body                                      int
	SHA256                                    string
	Invocation                                lambdahttp.Invocation
	Left                                      time.Duration // to the deadline; 0 without one
}

// Every is each byte value, in order.
func Every() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// NewHandler makes the handler of Table. Where X-Gate is set, a handler that streams waits between first and last event
// until that address answers, so that a test can tell what came before.
func NewHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo/", echo)
	mux.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["X-Multi"] = []string{"one", "two, three"}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1", Path: "/", HttpOnly: true})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2", Expires: time.Unix(1e9, 0)})
		h.Set("Connection", "close")
		h.Set("X-Late", "no")
		w.WriteHeader(http.StatusTeapot)
		h.Set("X-Late", "yes") // as with net/http: too late
		_, _ = io.WriteString(w, "<html>tea</html>")
	})
	mux.HandleFunc("/binary", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(Every())
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "short")
	})
	mux.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(429)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`)
	})
	mux.HandleFunc("/sse", stream)
	mux.HandleFunc("/flush", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Early", "1")
		w.WriteHeader(202)
		_ = http.NewResponseController(w).Flush()
		pass(r)
		_, _ = io.WriteString(w, "late")
	})
	mux.HandleFunc("/panic", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Half", "done")
		w.WriteHeader(200)
		panic("before the first byte: secret-detail")
	})
	mux.HandleFunc("/panic-late", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		event(w, 0)
		panic("after the first byte: secret-detail")
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, _ *http.Request) {
		event(w, 0)
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		piece := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
		for n > 0 {
			m, err := w.Write(piece[:min(n, len(piece))])
			if n -= m; err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/deadline", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		event(w, 0)
		<-r.Context().Done()
		_, _ = io.WriteString(w, "event: error\ndata: {\"type\":\"error\"}\n\n")
	})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		event(w, 0)
		<-r.Context().Done()
		if resp, err := http.Get(r.Header.Get("X-Gate")); err == nil { // tells the test; its own context has ended
			resp.Body.Close()
		}
	})
	return mux
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	sum := sha256.Sum256(body)
	e := Echo{Method: r.Method, Path: r.URL.Path, RawPath: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Host: r.Host, IP: ip,
		Header: r.Header, Query: r.URL.Query(), Length: r.ContentLength, Body: len(body), SHA256: hex.EncodeToString(sum[:])}
	for _, c := range r.Cookies() {
		e.Cookies = append(e.Cookies, c.Name+"="+c.Value)
	}
	e.Invocation, _ = lambdahttp.FromContext(r.Context())
	if d, ok := r.Context().Deadline(); ok {
		e.Left = time.Until(d)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(e)
}

// Events is how many events /sse sends.
const Events = 5

func event(w http.ResponseWriter, i int) {
	_, _ = fmt.Fprintf(w, "event: n\ndata: {\"n\":%d}\n\n", i)
	_ = http.NewResponseController(w).Flush()
}

func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range Events {
		if i == Events-1 {
			pass(r)
		}
		event(w, i)
	}
}

// pass waits at the gate.
func pass(r *http.Request) {
	url := r.Header.Get("X-Gate")
	if url == "" {
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
}
