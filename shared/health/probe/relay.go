package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"sluice/shared/upstream"
)

const (
	maxRelayed  = 8 << 20 // bytes of a request of the CLI: its system prompt is large
	maxAnswered = 1 << 20 // bytes of an answer: the CLI keeps them all
	relayHeader = 5 * time.Second
)

// relay passes what the CLI sends on to a node, by that node's own client. It listens on loopback, for as long as one check
// takes, and serves who knows its token.
type relay struct {
	url, token string
	client     upstream.Client
	target     upstream.Target
	srv        *http.Server
	done       chan struct{}

	mu  sync.Mutex
	bad upstream.Failure // of the last request
}

func startRelay(ctx context.Context, client upstream.Client, t upstream.Target) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{url: "http://" + ln.Addr().String(), token: "sk-ant-check-" + rand.Text(), client: client, target: t, done: make(chan struct{})}
	r.srv = &http.Server{Handler: r, ReadHeaderTimeout: relayHeader, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		defer close(r.done)
		_ = r.srv.Serve(ln)
	}()
	return r, nil
}

// stop ends it. Requests under way end with the context of startRelay.
func (r *relay) stop() {
	_ = r.srv.Close()
	<-r.done
}

// failed is how the last request failed; the zero value when it did not.
func (r *relay) failed() upstream.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

func (r *relay) note(f upstream.Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = f
}

// ServeHTTP implements http.Handler.
func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if subtle.ConstantTimeCompare([]byte(q.Header.Get("X-Api-Key")), []byte(r.token)) != 1 || !strings.HasPrefix(q.URL.Path, "/v1/") {
		w.WriteHeader(http.StatusNotFound) // what the CLI asks of others than the API
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxRelayed))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	out := &upstream.Request{Method: q.Method, Path: q.URL.EscapedPath(), Query: q.URL.RawQuery, Header: q.Header, Length: int64(len(body)),
		Again: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }}
	out.Body, _ = out.Again()
	resp, err := r.client.Send(q.Context(), r.target, out)
	if err != nil {
		r.note(upstream.ClassifyError(err))
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var answer io.Reader = io.LimitReader(resp.Body, maxAnswered)
	status := resp.StatusCode
	if status < 200 || status >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxCheckBody))
		r.note(r.client.Classify(status, resp.Header, text))
		answer = bytes.NewReader(text)
	} else {
		r.note(upstream.Failure{})
	}
	if status < 400 && status != http.StatusOK { // the CLI would follow a redirect itself, to where no request may go
		status = http.StatusBadGateway
	}
	if t := resp.Header.Get("Content-Type"); t != "" { // no more: nothing that unpacks to more than was bounded, no cookie
		w.Header().Set("Content-Type", t)
	}
	w.WriteHeader(status)
	_ = http.NewResponseController(w).Flush()
	_, _ = io.Copy(w, answer)
}
