package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// connect dials an address for one test.
func connect(t *testing.T, addr string) *clientConn {
	t.Helper()
	c, err := dial(t.Context(), addr, time.Now().Add(answerLimit), 256)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClientReadsAnswers(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	addr := strings.TrimPrefix(up.URL, "http://")
	c := connect(t, addr)
	up.Default(upstreamtest.Events(194))
	whole, err := c.do(newRequest(addr, "k", smallBody(false)), 0)
	if err != nil || whole.Status != http.StatusOK || whole.Bytes < 1000 || whole.Events != 0 {
		t.Errorf("whole answer: %v, %v", whole, err)
	}
	for _, split := range []int{0, 1, 7} { // on the same connection
		b := upstreamtest.Events(194)
		if split > 0 {
			b = b.Split(split)
		}
		up.Default(b)
		got, err := c.do(newRequest(addr, "k", smallBody(true)), 0)
		if err != nil || got.Events != 200 || got.Last != "message_stop" {
			t.Errorf("split by %d: %v, %v", split, got, err)
		}
	}
}

// TestClientSpeaksAllAPIs shows that the requests are ones that each API takes,
// and that the streams of all are counted: the fakes refuse what is wrong.
func TestClientSpeaksAllAPIs(t *testing.T) {
	messages, openAI := upstreamtest.NewAnthropic(t), upstreamtest.NewOpenAI(t)
	for _, tt := range []struct {
		name   string
		api    api
		url    string
		around int // events that are not deltas
		why    string
	}{
		{"Messages", apiMessages, messages.URL, 6, "start, block start, ping, block stop, final delta, stop"},
		{"Chat", apiChat, openAI.URL, 4, "role, finish, usage, which is asked for, and [DONE]"},
		{"Responses", apiResponses, openAI.URL, 8, "created, in progress, and item, part and text begun and done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := strings.TrimPrefix(tt.url, "http://")
			messages.Default(upstreamtest.Reply(upstreamtest.Text(pieces(textDeltas)...)))
			openAI.Default(upstreamtest.Reply(upstreamtest.Text(pieces(textDeltas)...)))
			got, err := connect(t, addr).do(newRequestOf(tt.api, addr, "k", streamBody(tt.api, chatModel)), 0)
			if err != nil || got.Events != textDeltas+tt.around || got.Last != wires[tt.api].last {
				t.Errorf("got %v, %v; want %d events beside the deltas: %s", got, err, tt.around, tt.why)
			}
		})
	}
}

func TestClientLeavesOpenStream(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	addr := strings.TrimPrefix(up.URL, "http://")
	up.Default(upstreamtest.Events(1).NoPing().Silence(upstreamtest.AfterDeltas(1)))
	got, err := connect(t, addr).do(newRequest(addr, "k", smallBody(true)), 3)
	if err != nil || got.Events != 3 || got.Last != "content_block_delta" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestClientTellsFailures(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	addr := strings.TrimPrefix(up.URL, "http://")
	for _, tt := range []struct {
		name   string
		answer upstreamtest.Behaviour
		events int
		want   string
	}{
		{"Status", upstreamtest.RateLimited(time.Second), 0, "status 429: {"},
		{"Cut", upstreamtest.Events(9).Cut(upstreamtest.AfterDeltas(3), upstreamtest.EndClose), 0, io.ErrUnexpectedEOF.Error()},
		{"TooFew", upstreamtest.Events(9), 16, "the stream ended after 15 events"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up.Default(tt.answer)
			_, err := connect(t, addr).do(newRequest(addr, "k", smallBody(true)), tt.events)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestClientRefusesBadFraming(t *testing.T) {
	for _, answer := range []string{
		"",
		"SSH-2.0-x\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
	} {
		ours, theirs := net.Pipe()
		go func() {
			buf := make([]byte, 1<<16)
			_, _ = theirs.Read(buf)
			fmt.Fprint(theirs, answer)
			theirs.Close()
		}()
		c := newClientConn(t.Context(), ours, 64)
		if got, err := c.do(request{data: []byte("x")}, 0); err == nil {
			t.Errorf("%q was taken: %v", answer, got)
		}
		c.Close()
	}
}

func TestClosedLoopChecksAnswers(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	req := newRequest(strings.TrimPrefix(up.URL, "http://"), "k", smallBody(true))
	want, err := probe(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	l := closedLoop(t.Context(), req, want, 2, 20*time.Millisecond)
	if err := l.result(); err != nil {
		t.Errorf("right answers: %v", err)
	}
	want.Events++
	l = closedLoop(t.Context(), req, want, 2, time.Minute)
	if err := l.result(); err == nil || l.errors != 2*maxErrors {
		t.Errorf("wrong answers: %d errors, %v", l.errors, err)
	}
}

func TestOpenLoopKeepsRate(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	up.Default(upstreamtest.Reply().Pause(upstreamtest.BeforeHeaders, 50*time.Millisecond))
	req := newRequest(strings.TrimPrefix(up.URL, "http://"), "k", smallBody(false))
	want, err := probe(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	// Slower answers than requests: they overlap, none is left out.
	l := openLoop(t.Context(), req, want, 100, 200*time.Millisecond)
	if err := l.result(); err != nil || len(l.latencies) != 20 {
		t.Errorf("%d answers, %v; want 20", len(l.latencies), err)
	}
}

func TestLoadsEndWithContext(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	up.Default(upstreamtest.Reply().Silence(upstreamtest.BeforeHeaders))
	req := newRequest(strings.TrimPrefix(up.URL, "http://"), "k", smallBody(false))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	closedLoop(ctx, req, reply{}, 2, time.Minute)
	openLoop(ctx, req, reply{}, 100, time.Minute)
	openStreams(ctx, req, 10, 3)
	if took := time.Since(start); took > answerLimit/2 {
		t.Errorf("it took %v", took)
	}
}
