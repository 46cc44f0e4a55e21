package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/health"
	"sluice/shared/seal"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/upstreamtest"
	"sluice/shared/web"
)

// bubble is the gateway over a scripted upstream.Client: no sockets, so that it runs under testing/synctest.
type bubble struct {
	t       testing.TB
	store   *memory.Store
	tables  *store.Tables
	box     *seal.Box
	up      *scripted
	handler http.Handler
	drain   *web.Drain
	events  *events
	o       gateway.Options
}

func newBubble(t testing.TB, s gateway.Settings, nodes ...string) *bubble {
	t.Helper()
	up := &scripted{}
	b := newBubbleWith(t, s, up, nodes...)
	b.up = up
	return b
}

func newBubbleWith(t testing.TB, s gateway.Settings, up upstream.Client, nodes ...string) *bubble {
	t.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	b := &bubble{t: t, store: memory.New(), drain: &web.Drain{}, events: &events{}}
	b.tables = store.NewTables(b.store, time.Now)
	b.box = sealtest.Box(t)
	if _, err := b.tables.Accounts.Create(ctx, core.Account{ID: core.DefaultAccount, Name: "default"}); err != nil {
		t.Fatal(err)
	}
	b.key("1", proxyKey, core.Limits{})
	for i, name := range nodes {
		b.node(strconv.Itoa(i+1), name, i+1)
	}
	dir := directory.New(directory.Options{Tables: b.tables, Generations: b.store, Box: b.box, Now: time.Now})
	b.o = gateway.Options{Settings: s, Directory: dir, Health: health.New(health.Options{States: b.tables.States, Log: log}), Admission: b.store, Tables: b.tables,
		Upstreams: map[core.Kind]upstream.Client{core.KindAnthropic: up}, Log: log, Now: time.Now, Events: b.events}
	b.count(nil)
	return b
}

// count makes the gateway anew, with metrics.
func (b *bubble) count(m gateway.Metrics) {
	b.o.Metrics = m
	b.handler = web.Wrap(gateway.New(b.o), web.Options{Log: b.o.Log, Error: gateway.WriteError, Draining: b.drain})
}

func (b *bubble) key(id, credential string, l core.Limits) {
	b.t.Helper()
	_, err := b.tables.Keys.Create(context.Background(), core.Key{ID: id, Account: core.DefaultAccount, Hashes: []string{b.box.Hash(credential)},
		Scopes: []core.Scope{core.ScopeInference}, Limits: l})
	if err != nil {
		b.t.Fatal(err)
	}
}

// node adds a node; its weight is its place in the order of preference.
func (b *bubble) node(id, name string, weight int, edits ...func(*core.Node)) {
	b.t.Helper()
	n := core.Node{ID: id, Account: core.DefaultAccount, Name: name, Kind: core.KindAnthropic, Weight: weight,
		Credential: b.box.Seal(directory.CredentialOwner(id), core.NewSecret(nodeKey))}
	for _, e := range edits {
		e(&n)
	}
	if _, err := b.tables.Nodes.Create(context.Background(), n); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bubble) state(id string) core.NodeState {
	b.t.Helper()
	row, err := b.tables.States.Get(context.Background(), id)
	if err != nil && !store.Missing(err) {
		b.t.Fatal(err)
	}
	return row.Value
}

func (b *bubble) records() []core.Settlement {
	b.t.Helper()
	got, _, err := b.store.Records(context.Background(), store.UsageFilter{}, "", 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
		got[i], got[j] = got[j], got[i]
	}
	return got
}

func (b *bubble) record() core.Settlement {
	b.t.Helper()
	got := b.records()
	if len(got) != 1 {
		b.t.Fatalf("got %d records, want 1: %+v", len(got), got)
	}
	return got[0]
}

// post serves one request to its end.
func (b *bubble) post(ctx context.Context, body string, headers ...string) *client {
	w := newClient(b.t)
	b.serve(ctx, w, body, headers...)
	return w
}

func (b *bubble) serve(ctx context.Context, w http.ResponseWriter, body string, headers ...string) {
	q := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/messages", strings.NewReader(body))
	q.Header.Set("X-Api-Key", proxyKey)
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	b.handler.ServeHTTP(w, q)
}

// client is the far end of an answer. It notes when what arrived and fails the test when two write at once.
type client struct {
	t       testing.TB
	born    time.Time
	writing atomic.Bool

	mu       sync.Mutex
	header   http.Header
	status   int
	sent     http.Header // as it was with the status line
	writes   []write
	body     bytes.Buffer
	flushed  int
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes

	onWrite func(p []byte) error // before each write; may panic or block
	stuck   atomic.Bool          // writes block until their deadline
}

type write struct {
	at   time.Duration
	data string
}

func newClient(t testing.TB) *client {
	return &client{t: t, born: time.Now(), header: http.Header{}, moved: make(chan struct{})}
}

func (c *client) Header() http.Header { return c.header }

func (c *client) WriteHeader(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != 0 {
		c.t.Errorf("second status line: %d after %d", status, c.status)
	}
	c.status, c.sent = status, c.header.Clone()
}

func (c *client) Write(p []byte) (int, error) {
	if !c.writing.CompareAndSwap(false, true) {
		c.t.Error("two writes at once")
	}
	defer c.writing.Store(false)
	if c.onWrite != nil {
		if err := c.onWrite(p); err != nil {
			return 0, err
		}
	}
	for c.stuck.Load() {
		if err := c.block(); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 {
		c.status, c.sent = http.StatusOK, c.header.Clone()
	}
	c.writes = append(c.writes, write{time.Since(c.born), string(p)})
	return c.body.Write(p)
}

// block waits until the deadline changes or passes.
func (c *client) block() error {
	c.mu.Lock()
	at, moved := c.deadline, c.moved
	c.mu.Unlock()
	var passed <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case <-moved:
		return nil
	case <-passed:
		return os.ErrDeadlineExceeded
	}
}

func (c *client) FlushError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 { // as net/http has it
		c.status, c.sent = http.StatusOK, c.header.Clone()
	}
	c.flushed = len(c.writes)
	return nil
}

func (c *client) SetWriteDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = at
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

func (c *client) SetReadDeadline(time.Time) error { return nil }

func (c *client) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.String()
}

func (c *client) reply() reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flushed != len(c.writes) && strings.HasPrefix(c.sent.Get("Content-Type"), "text/event-stream") {
		c.t.Errorf("%d of %d writes were flushed", c.flushed, len(c.writes))
	}
	return reply{status: c.status, header: c.sent, body: c.body.String()}
}

// longestGap is the longest time without a byte, from the start to the last.
func (c *client) longestGap() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	gap, last := time.Duration(0), time.Duration(0)
	for _, w := range c.writes {
		gap, last = max(gap, w.at-last), w.at
	}
	return gap
}

// play answers one attempt.
type play func(ctx context.Context) (*http.Response, error)

// scripted is an upstream.Client that answers from a list, then from the last of it again.
type scripted struct {
	mu    sync.Mutex
	plays []play
	by    map[string][]play // by node name
	sent  []sentRequest
	at    []time.Time

	discard bool // bodies are read but not kept
}

type sentRequest struct{ node, body string }

func (s *scripted) queue(p ...play) { s.plays = append(s.plays, p...) }

func (s *scripted) on(node string, p ...play) {
	if s.by == nil {
		s.by = map[string][]play{}
	}
	s.by[node] = append(s.by[node], p...)
}

func (s *scripted) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if s.discard {
			_, err = io.Copy(io.Discard, r.Body)
		} else {
			body, err = io.ReadAll(r.Body)
		}
		_ = r.Body.Close()
		if err != nil { // as a transport has it
			return nil, err
		}
	}
	s.mu.Lock()
	s.sent = append(s.sent, sentRequest{t.Node.Name, string(body)})
	s.at = append(s.at, time.Now())
	list := &s.plays
	if l, ok := s.by[t.Node.Name]; ok {
		list = &l
		if len(l) > 1 {
			s.by[t.Node.Name] = l[1:]
		}
	}
	p := (*list)[0]
	if len(*list) > 1 && list == &s.plays {
		s.plays = s.plays[1:]
	}
	s.mu.Unlock()
	return p(ctx)
}

func (s *scripted) Classify(status int, h http.Header, _ []byte) upstream.Failure {
	return upstream.ClassifyStatus(status, h)
}

// order lists the nodes asked.
func (s *scripted) order() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.sent {
		out = append(out, r.node)
	}
	return strings.Join(out, " ")
}

// step is a pause, then bytes, then perhaps an error.
type step struct {
	wait time.Duration
	data string
	err  error
}

const forever = 1000 * time.Hour

// answer is status 200 with a body that follows the steps. A first step without data delays the headers.
func answer(contentType string, steps ...step) play {
	return func(ctx context.Context) (*http.Response, error) {
		if len(steps) > 0 && steps[0].data == "" && steps[0].err == nil {
			if err := pause(ctx, steps[0].wait); err != nil {
				return nil, err
			}
			return response(ctx, 200, contentType, steps[1:]), nil
		}
		return response(ctx, 200, contentType, steps), nil
	}
}

func streaming(steps ...step) play {
	return answer("text/event-stream; charset=utf-8", steps...)
}

// refusing is an error answer.
func refusing(status int, typ, message string, headers ...string) play {
	return func(ctx context.Context) (*http.Response, error) {
		resp := response(ctx, status, "application/json", []step{{data: `{"type":"error","error":{"type":"` + typ + `","message":"` + message + `"},"request_id":"req_up"}`}})
		for i := 0; i < len(headers); i += 2 {
			resp.Header.Set(headers[i], headers[i+1])
		}
		return resp, nil
	}
}

func broken(err error) play {
	return func(context.Context) (*http.Response, error) { return nil, err }
}

func response(ctx context.Context, status int, contentType string, steps []step) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}, "Request-Id": {"req_up"}}, ContentLength: -1,
		Body: &scriptBody{ctx: ctx, steps: slices.Clone(steps)}}
}

// scriptBody plays steps as it is read, in the reader's own goroutine.
type scriptBody struct {
	ctx   context.Context
	steps []step
}

func (b *scriptBody) Read(p []byte) (int, error) {
	for len(b.steps) > 0 {
		s := &b.steps[0]
		if err := pause(b.ctx, s.wait); err != nil {
			return 0, err
		}
		s.wait = 0
		if s.data != "" {
			n := copy(p, s.data)
			b.steps = append([]step{{data: s.data[n:], err: s.err}}, b.steps[1:]...)
			return n, nil
		}
		if s.err != nil {
			return 0, s.err
		}
		b.steps = b.steps[1:]
	}
	return 0, io.EOF
}

func (b *scriptBody) Close() error { return nil }

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The events of a short answer.
var (
	evStart = upstreamtest.Event("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"usage":{"input_tokens":11,"cache_read_input_tokens":5,"cache_creation_input_tokens":3,"output_tokens":1}}}`)
	evBlock = upstreamtest.Event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
	evEmpty = upstreamtest.Event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}`)
	evText  = upstreamtest.Event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}`)
	evMore  = upstreamtest.Event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" there"}}`)
	evClose = upstreamtest.Event("content_block_stop", `{"type":"content_block_stop","index":0}`)
	evDelta = upstreamtest.Event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}`)
	evStop  = upstreamtest.Event("message_stop", `{"type":"message_stop"}`)

	head  = evStart + evBlock + upstreamtest.PingEvent
	ends  = evClose + evDelta + evStop
	whole = head + evText + evMore + ends

	errReset = errors.New("read tcp 127.0.0.1:1->127.0.0.1:2: connection reset by peer")
)
