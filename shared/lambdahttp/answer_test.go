package lambdahttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/lambdahttp"
)

const (
	restEvent = `{"httpMethod":"GET","path":"/x","resource":"/{proxy+}","pathParameters":{"proxy":"x"},"requestContext":{"requestId":"r1","path":"/prod/x","stage":"prod","identity":{"sourceIp":"192.0.2.1"}}}`
	urlEvent  = `{"version":"2.0","rawPath":"/x","requestContext":{"requestId":"u1","domainName":"x.lambda-url.eu-west-1.on.aws","http":{"method":"GET","sourceIp":"192.0.2.1"}}}`
	apiEvent  = `{"version":"2.0","rawPath":"/x","requestContext":{"requestId":"h1","domainName":"x.execute-api.eu-west-1.amazonaws.com","http":{"method":"GET","sourceIp":"192.0.2.1"}}}`
	nul       = "\x00\x00\x00\x00\x00\x00\x00\x00"
)

func quiet(o lambdahttp.Options) lambdahttp.Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

type answer interface {
	io.ReadCloser
	ContentType() string
}

func begin(t testing.TB, ctx context.Context, h http.HandlerFunc, o lambdahttp.Options, event string) answer {
	t.Helper()
	r, err := lambdahttp.New(h, quiet(o))(ctx, json.RawMessage(event))
	if err != nil {
		t.Fatal(err)
	}
	return r.(answer)
}

func whole(t testing.TB, h http.HandlerFunc, o lambdahttp.Options, event string) (string, error) {
	t.Helper()
	a := begin(t, t.Context(), h, o, event)
	defer a.Close()
	b, err := io.ReadAll(a)
	return string(b), err
}

func TestForms(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-M"] = []string{"1", "2"}
		w.Header()["Set-Cookie"] = []string{"a=1; Path=/", "b=2"}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Bad", "a\r\nb")
		w.Header().Set(http.TrailerPrefix+"T", "x")
		w.Header().Set("Transfer-Encoding", "chunked")
		w.Header()["Date"] = nil
		_, _ = io.WriteString(w, "é<")
	}
	for _, tc := range []struct {
		name, why, event string
		o                lambdahttp.Options
		ctype, want      string
	}{
		{"REST", "lists of values, cookies among them", restEvent, lambdahttp.Options{}, "application/vnd.awslambda.http-integration-response",
			`{"statusCode":200,"multiValueHeaders":{"Content-Type":["text/plain"],"Set-Cookie":["a=1; Path=/","b=2"],"X-Bad":["a  b"],"X-M":["1","2"]}}` + nul + "é<"},
		{"URL", "joined values, cookies apart", urlEvent, lambdahttp.Options{}, "application/vnd.awslambda.http-integration-response",
			`{"statusCode":200,"headers":{"Content-Type":"text/plain","X-Bad":"a  b","X-M":"1, 2"},"cookies":["a=1; Path=/","b=2"]}` + nul + "é<"},
		{"HTTP API", "never streams", apiEvent, lambdahttp.Options{}, "application/json",
			`{"statusCode":200,"headers":{"Content-Type":"text/plain","X-Bad":"a  b","X-M":"1, 2"},"multiValueHeaders":null,"body":"é<","cookies":["a=1; Path=/","b=2"]}`},
		{"REST buffered", "as asked", restEvent, lambdahttp.Options{Buffered: true}, "application/json",
			`{"statusCode":200,"headers":null,"multiValueHeaders":{"Content-Type":["text/plain"],"Set-Cookie":["a=1; Path=/","b=2"],"X-Bad":["a  b"],"X-M":["1","2"]},"body":"é<"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := begin(t, t.Context(), h, tc.o, tc.event)
			defer a.Close()
			b, err := io.ReadAll(a)
			if err != nil || string(b) != tc.want || a.ContentType() != tc.ctype {
				t.Errorf("%s: %v %s\n got %q\nwant %q", tc.why, err, a.ContentType(), b, tc.want)
			}
		})
	}
}

// D25: a body over the limit is an Anthropic-shaped 413, on every kind of event, and the handler is not asked.
func TestD25_BodyTooLarge(t *testing.T) {
	h := func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }
	for _, ev := range []string{restEvent, urlEvent, apiEvent} {
		ev = strings.Replace(ev, `{`, `{"isBase64Encoded":true,"body":"AAAAAAAA",`, 1)
		got, err := whole(t, h, lambdahttp.Options{MaxBody: 5}, ev)
		if err != nil || !strings.HasPrefix(got, `{"statusCode":413`) || !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), `{"type":"error","error":{"type":"request_too_large","message":"The request body is larger than 5 bytes`) {
			t.Errorf("%v %q", err, got)
		}
	}
	n := 0
	count := func(_ http.ResponseWriter, r *http.Request) { n = int(r.ContentLength) }
	if _, err := whole(t, count, lambdahttp.Options{MaxBody: 6}, strings.Replace(restEvent, `{`, `{"isBase64Encoded":true,"body":"AAAAAAAA",`, 1)); err != nil || n != 6 {
		t.Errorf("at the limit: %v, %d bytes", err, n)
	}
}

func TestErrorOption(t *testing.T) {
	o := lambdahttp.Options{Error: func(w http.ResponseWriter, r *http.Request, e *core.Error) {
		inv, ok := lambdahttp.FromContext(r.Context())
		if !ok || inv.RequestID != "r1" || inv.Kind != lambdahttp.REST {
			t.Errorf("invocation %+v", inv)
		}
		w.WriteHeader(e.Code.Status())
		_, _ = io.WriteString(w, "mine")
	}}
	got, err := whole(t, func(http.ResponseWriter, *http.Request) { panic(1) }, o, restEvent)
	if err != nil || !strings.HasPrefix(got, `{"statusCode":500,`) || !strings.HasSuffix(got, nul+"mine") {
		t.Errorf("%v %q", err, got)
	}
	o.Error = func(http.ResponseWriter, *http.Request, *core.Error) { panic("even here") }
	for _, ev := range []string{restEvent, apiEvent} {
		if got, err := whole(t, func(http.ResponseWriter, *http.Request) { panic(1) }, o, ev); err != nil || !strings.HasPrefix(got, `{"statusCode":500,`) {
			t.Errorf("a panic of the error writer: %v %q", err, got)
		}
	}
}

func TestStreamLimit(t *testing.T) {
	var failed error
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 1000 {
			if _, failed = io.WriteString(w, "data: 0123456789\n\n"); failed != nil {
				return
			}
		}
	}
	const limit = 4096
	got, err := whole(t, h, lambdahttp.Options{MaxStream: limit}, urlEvent)
	var broken *lambdahttp.StreamError
	if failed == nil || !errors.As(err, &broken) || len(got) > limit || len(got) < limit/2 || !strings.Contains(got, "event: error\ndata: {\"type\":\"error\",") {
		t.Errorf("write: %v, end: %v, %d bytes: %q", failed, err, len(got), got)
	}
}

func TestBufferedLimit(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		body := strings.Repeat("\"", 600) // twice as long when escaped
		if n, err := io.WriteString(w, body); n != len(body) || err != nil {
			t.Errorf("%d %v", n, err)
		}
	}
	if got, err := whole(t, h, lambdahttp.Options{MaxBuffered: 1000}, apiEvent); err != nil || !strings.HasPrefix(got, `{"statusCode":500`) || !strings.Contains(got, "larger than the 1000 bytes") || len(got) > 1000 {
		t.Errorf("the envelope counts: %v %q", err, got)
	}
	if got, err := whole(t, h, lambdahttp.Options{MaxBuffered: 2000}, apiEvent); err != nil || !strings.HasPrefix(got, `{"statusCode":200`) {
		t.Errorf("under the limit: %v %q", err, got)
	}
}

func TestBinaryAnswers(t *testing.T) {
	for _, tc := range []struct{ name, body, encoding, want string }{
		{"no text", "\xff\x00", "", `"body":"/wA=","isBase64Encoded":true,"cookies":[]}`},
		{"encoded", "abc", "gzip", `"body":"YWJj","isBase64Encoded":true,"cookies":[]}`},
		{"text", "a\u2028\x00", "", `"body":"a\u2028\u0000","cookies":[]}`},
	} {
		got, err := whole(t, func(w http.ResponseWriter, _ *http.Request) {
			if tc.encoding != "" {
				w.Header().Set("Content-Encoding", tc.encoding)
			}
			_, _ = io.WriteString(w, tc.body)
		}, lambdahttp.Options{}, apiEvent)
		if err != nil || !strings.HasSuffix(got, tc.want) {
			t.Errorf("%s: %v %q", tc.name, err, got)
		}
	}
}

// Closing an answer that is not read to its end ends the request and waits for the handler: nothing runs after it.
func TestCloseJoinsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		a := begin(t, t.Context(), func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			if _, err := io.WriteString(w, "too late"); err == nil {
				t.Error("a write after the end succeeded")
			}
			time.Sleep(time.Hour) // of the bubble
			ended = true
		}, lambdahttp.Options{}, restEvent)
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		if !ended {
			t.Error("Close returned before the handler")
		}
	})
}

// A write that blocks forever keeps the handler and so Close from ending: closing must free it first.
func TestCloseFreesAWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := begin(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }, lambdahttp.Options{}, restEvent)
		synctest.Wait()
		a.Close()
	})
}

// TestWriteDeadline: what the gateway does to a client that reads no more works here too, also from beside the write.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck error
		a := begin(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
			rc := http.NewResponseController(w)
			if err := errors.Join(rc.SetReadDeadline(time.Now()), rc.EnableFullDuplex(), rc.SetWriteDeadline(time.Now().Add(time.Hour))); err != nil {
				t.Error(err)
			}
			timer := time.AfterFunc(time.Minute, func() { _ = rc.SetWriteDeadline(time.Unix(1, 0)) })
			defer timer.Stop()
			_, stuck = w.Write([]byte("nobody reads"))
		}, lambdahttp.Options{}, restEvent)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !errors.Is(stuck, os.ErrDeadlineExceeded) {
			t.Errorf("the write ended with %v", stuck)
		}
		if _, err := io.ReadAll(a); err == nil {
			t.Error("the cut answer ended as if it were whole")
		}
		a.Close()
	})
}

type ownKey struct{}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), ownKey{}, "kept"), time.Hour)
	defer cancel()
	deadline, _ := ctx.Deadline()
	a := begin(t, ctx, func(_ http.ResponseWriter, r *http.Request) {
		inv, _ := lambdahttp.FromContext(r.Context())
		d, _ := r.Context().Deadline()
		want := lambdahttp.Invocation{Kind: lambdahttp.REST, RequestID: "r1", Prefix: "/prod", Deadline: deadline, Streamed: true}
		if inv != want || !d.Equal(deadline) || r.Context().Value(ownKey{}) != "kept" {
			t.Errorf("%+v, deadline %v", inv, d)
		}
	}, lambdahttp.Options{}, restEvent)
	_, _ = io.Copy(io.Discard, a)
	a.Close()
	if _, ok := lambdahttp.FromContext(t.Context()); ok {
		t.Error("an invocation outside Lambda")
	}
}

// TestPanicIsLogged: the operator sees value and stack, the client neither.
func TestPanicIsLogged(t *testing.T) {
	for _, ev := range []string{restEvent, apiEvent} {
		var log bytes.Buffer
		got, err := whole(t, func(http.ResponseWriter, *http.Request) { panic("hidden") }, lambdahttp.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, ev)
		if err != nil || strings.Contains(got, "hidden") || !strings.Contains(log.String(), "hidden") || !strings.Contains(log.String(), "answer_test.go") {
			t.Errorf("%v %q\n%s", err, got, log.String())
		}
	}
}

// A panic after the header alone went out is no whole answer either.
func TestPanicAfterFlush(t *testing.T) {
	got, err := whole(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		panic("x")
	}, lambdahttp.Options{}, restEvent)
	var broken *lambdahttp.StreamError
	if !errors.As(err, &broken) || !strings.HasPrefix(got, `{"statusCode":200`) {
		t.Errorf("%v %q", err, got)
	}
}

func TestContentLength(t *testing.T) {
	_, err := whole(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		if _, err := io.WriteString(w, "abc"); err != http.ErrContentLength {
			t.Errorf("more than promised: %v", err)
		}
	}, lambdahttp.Options{}, restEvent)
	if err == nil {
		t.Error("less than promised was whole")
	}
	got, err := whole(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(200)
	}, lambdahttp.Options{}, apiEvent)
	if err != nil || !strings.HasPrefix(got, `{"statusCode":500`) {
		t.Errorf("less than promised in one piece: %v %q", err, got)
	}
}

func BenchmarkRequest(b *testing.B) {
	f := lambdahttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}), quiet(lambdahttp.Options{}))
	ev := json.RawMessage(strings.Replace(urlEvent, `{`, `{"headers":{"a":"b","c":"d","user-agent":"x","accept":"*/*"},"body":"`+strings.Repeat("x", 4<<10)+`",`, 1))
	b.ReportAllocs()
	for b.Loop() {
		r, _ := f(b.Context(), ev)
		_, _ = io.Copy(io.Discard, r)
		r.(io.Closer).Close()
	}
}

func BenchmarkEvent(b *testing.B) {
	line := []byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n")
	f := lambdahttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		for b.Loop() {
			_, _ = w.Write(line)
			_ = rc.Flush()
		}
	}), quiet(lambdahttp.Options{MaxStream: 1 << 50}))
	b.ReportAllocs()
	r, _ := f(b.Context(), json.RawMessage(urlEvent))
	_, _ = io.Copy(io.Discard, r)
	r.(io.Closer).Close()
}
