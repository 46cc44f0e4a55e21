package upstreamtest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	. "sluice/shared/upstream/upstreamtest"
)

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		b       Behaviour
		status  int
		errType string
		message string
	}{
		{Status(400, "nope"), 400, "invalid_request_error", "nope"},
		{Status(401, ""), 401, "authentication_error", "invalid x-api-key"},
		{Status(402, ""), 402, "billing_error", "credit"},
		{Status(403, ""), 403, "permission_error", "permission"},
		{Status(404, "model: x"), 404, "not_found_error", "model: x"},
		{Status(409, ""), 409, "conflict_error", ""},
		{Status(413, ""), 413, "request_too_large", "maximum"},
		{Status(500, ""), 500, "api_error", "Internal server error"},
		{Status(502, "").ErrorType("odd_error"), 502, "odd_error", ""},
		{Status(503, ""), 503, "api_error", ""},
		{Status(504, ""), 504, "timeout_error", ""},
		{Overloaded(), 529, "overloaded_error", "Overloaded"},
		{PromptTooLong(210000, 200000), 400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"},
		{Reply().ErrorAt(BeforeHeaders, "overloaded_error", "x"), 529, "overloaded_error", "x"},
	} {
		mustError(t, ask(t, tt.b, streamBody), tt.status, tt.errType, tt.message)
	}
	got := ask(t, RateLimited(1500*time.Millisecond).Header("X-Should-Retry", "false"), streamBody)
	mustError(t, got, 429, "rate_limit_error", "rate limit")
	if got.Header.Get("Retry-After") != "2" || got.Header.Get("X-Should-Retry") != "false" ||
		got.Header.Get("Anthropic-Ratelimit-Requests-Remaining") != "0" {
		t.Errorf("got headers %v", got.Header)
	}
	if got := ask(t, RateLimited(0), streamBody); got.Header.Get("Retry-After") != "" {
		t.Errorf("got retry-after %q", got.Header.Get("Retry-After"))
	}
}

func TestErrorEvents(t *testing.T) {
	for at, want := range map[Point]string{
		AfterHeaders:   "error",
		AfterStart:     "message_start error",
		AfterDeltas(2): "message_start start ping delta delta error",
		BeforeStop:     "message_start start ping delta delta delta stop message_delta error",
	} {
		b := Events(3).ErrorAt(at, "overloaded_error", "Overloaded")
		got := ask(t, b, streamBody)
		mustStatus(t, got, 200)
		list := events(t, got.body)
		if n := names(list); n != want {
			t.Errorf("got %s, want %s", n, want)
		}
		if d := list[len(list)-1].data; d != `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}` {
			t.Errorf("got %s", d)
		}
		mustError(t, ask(t, b, plainBody), 529, "overloaded_error", "Overloaded")
	}
}

func TestCut(t *testing.T) {
	wantErr := map[End]error{EndClean: nil, EndClose: io.ErrUnexpectedEOF, EndReset: syscall.ECONNRESET}
	for at, want := range map[Point]string{
		AfterHeaders:   "",
		AfterStart:     "message_start",
		AfterDeltas(1): "message_start start ping delta",
		BeforeStop:     "message_start start ping delta delta stop message_delta",
	} {
		for end, err := range wantErr {
			got := ask(t, Events(2).Cut(at, end), streamBody)
			if got.Response == nil || got.StatusCode != 200 || !errors.Is(got.err, err) {
				t.Errorf("cut at %d by %d: got %v, want %v", at, end, got.err, err)
				continue
			}
			if n := names(events(t, got.body)); n != want {
				t.Errorf("cut at %d by %d: got %q, want %q", at, end, n, want)
			}
			got = ask(t, Events(2).CutInside(at, end), streamBody)
			if got.Response == nil || !errors.Is(got.err, err) {
				t.Errorf("cut inside at %d by %d: got %v, want %v", at, end, got.err, err)
				continue
			}
			last := strings.LastIndex(got.body, "\n\n")
			if half := got.body[last+1:]; len(half) < 10 || strings.HasSuffix(half, "\n\n") {
				t.Errorf("cut inside at %d by %d: the last event is %q", at, end, half)
			}
		}
	}
	for end, err := range map[End]error{EndClean: io.EOF, EndClose: io.EOF, EndReset: syscall.ECONNRESET} {
		if got := ask(t, Events(2).Cut(BeforeHeaders, end), streamBody); got.Response != nil || !errors.Is(got.err, err) {
			t.Errorf("cut before the headers by %d: got %v, want %v", end, got.err, err)
		}
	}
	for end, err := range wantErr {
		got := ask(t, Events(200).Cut(AfterDeltas(1), end), plainBody)
		if got.Response == nil || !errors.Is(got.err, err) {
			t.Errorf("whole message cut by %d: got %v, want %v", end, got.err, err)
		}
		if len(got.body) < 500 || strings.HasSuffix(got.body, "}") {
			t.Errorf("whole message cut by %d: got %q", end, got.body)
		}
	}
}

func TestGarbage(t *testing.T) {
	for name, tt := range map[string]struct {
		b           Behaviour
		status      int
		contentType string
		body        string
	}{
		"Stream": {GarbageStream(), 200, "text/event-stream; charset=utf-8", "\x00\x01"},
		"HTML":   {HTMLPage(), 200, "text/html; charset=utf-8", "<!DOCTYPE"},
		"Proxy":  {HTMLError(502), 502, "text/html", "<h1>502 Bad Gateway"},
		"JSON":   {BadJSON(), 200, "application/json", "upstream connect error"},
		"Half":   {CutJSON(), 200, "application/json", `"te`},
		"Empty":  {Empty("text/event-stream"), 200, "text/event-stream", ""},
		"NoType": {Raw(203, nil, "<html>"), 203, "", "<html>"},
		"Paused": {Raw(200, http.Header{"X-A": {"1", "2"}}, "a", "b", "c").Every(time.Millisecond), 200, "", "abc"},
		"Cut":    {Raw(200, nil, "a", "b", "c").Cut(AfterDeltas(2), EndClean), 200, "", "ab"},
		"Wire":   {Wire("HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\n", "ok"), 299, "", "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, tt.b, streamBody)
			mustStatus(t, got, tt.status)
			if got.Header.Get("Content-Type") != tt.contentType || !strings.Contains(got.body, tt.body) || (tt.body == "") != (got.body == "") {
				t.Errorf("got %q: %q", got.Header.Get("Content-Type"), got.body)
			}
			if name == "Paused" && len(got.Header["X-A"]) != 2 {
				t.Errorf("got headers %v", got.Header)
			}
		})
	}
	short := ask(t, Raw(200, http.Header{"Content-Length": {"10"}}, "abc"), plainBody)
	if !errors.Is(short.err, io.ErrUnexpectedEOF) || short.body != "abc" {
		t.Errorf("got %v: %q", short.err, short.body)
	}
	notHTTP := ask(t, Wire("SSH-2.0-x\r\n"), plainBody)
	if notHTTP.err == nil {
		t.Error("bytes that are not HTTP were taken for an answer")
	}
}

// Whatever the silence, the client's leaving ends it and is recorded.
func TestSilence(t *testing.T) {
	for name, tt := range map[string]struct {
		at   Point
		body string
		want int // bytes to read before leaving; -1 is no headers
	}{
		"BeforeHeaders": {BeforeHeaders, streamBody, -1},
		"AfterHeaders":  {AfterHeaders, streamBody, 0},
		"AfterStart":    {AfterStart, streamBody, len("event: message_start")},
		"AfterDelta":    {AfterDeltas(1), streamBody, 500},
		"AfterStop":     {AfterStop, streamBody, 900},
		"WholeHeaders":  {AfterHeaders, plainBody, 0},
		"WholeHalf":     {AfterDeltas(1), plainBody, 100},
	} {
		t.Run(name, func(t *testing.T) {
			a := NewAnthropic(t)
			a.Default(Events(2).Silence(tt.at))
			ctx, leave := context.WithCancel(deadline(t))
			defer leave()
			r := newRequest(t, ctx, http.MethodPost, a.URL+"/v1/messages", tt.body)
			if tt.want < 0 {
				go func() {
					_ = a.WaitRequests(ctx, 1)
					leave()
				}()
			}
			resp, err := http.DefaultTransport.RoundTrip(r)
			switch {
			case tt.want < 0:
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("got %v", err)
				}
			case err != nil:
				t.Fatal(err)
			default:
				defer resp.Body.Close()
				if _, err := io.ReadFull(bufio.NewReader(resp.Body), make([]byte, tt.want)); err != nil {
					t.Fatal(err)
				}
				if a.Last().Done {
					t.Error("the answer has ended")
				}
				leave()
			}
			left, err := a.WaitAborted(deadline(t))
			if err != nil {
				t.Fatal(err)
			}
			if !left.Aborted || !left.Done || string(left.Body) != tt.body || !a.Last().Aborted {
				t.Errorf("got %+v", left)
			}
		})
	}
}

func TestPauses(t *testing.T) {
	const d = 20 * time.Millisecond
	for _, at := range []Point{BeforeHeaders, AfterHeaders, AfterStart, AfterDeltas(1), BeforeStop, AfterStop} {
		for _, body := range []string{streamBody, plainBody} {
			begin := time.Now()
			got := ask(t, Events(2).Pause(at, d), body)
			mustStatus(t, got, 200)
			if took := time.Since(begin); took < d {
				t.Errorf("pause at %d took %s", at, took)
			}
		}
	}
	// A pause ends when the client leaves, too.
	a := NewAnthropic(t)
	a.Default(Events(2).Pause(AfterHeaders, time.Hour))
	ctx, leave := context.WithCancel(deadline(t))
	defer leave()
	resp, err := http.DefaultTransport.RoundTrip(newRequest(t, ctx, http.MethodPost, a.URL+"/v1/messages", streamBody))
	if err != nil {
		t.Fatal(err)
	}
	leave()
	resp.Body.Close()
	if _, err := a.WaitAborted(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsSilence(t *testing.T) {
	a, err := StartAnthropic()
	if err != nil {
		t.Fatal(err)
	}
	a.Default(Events(2).Silence(AfterStart))
	resp, err := http.DefaultTransport.RoundTrip(newRequest(t, deadline(t), http.MethodPost, a.URL+"/v1/messages", streamBody))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a.Close()
	a.Close()
	if !a.Last().Done {
		t.Error("Close returned before the answer had ended")
	}
}

func TestRefused(t *testing.T) {
	url := NewRefused(t)
	got := do(t, newRequest(t, deadline(t), http.MethodPost, url+"/v1/messages", plainBody))
	if !errors.Is(got.err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", got.err)
	}
}

func TestFuncWithoutAnswer(t *testing.T) {
	var loop Behaviour
	loop = Func(func(Request) Behaviour { return loop })
	mustError(t, ask(t, loop, plainBody), 500, "api_error", "no answer")
}
