// The tests here start a real function binary against the fake Runtime API.
package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/tests/lambda/front"
	"sluice/tests/lambda/runtimeapi"
	"sluice/tests/lambda/scenario"
)

// build makes the binary as the template's build does.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "bootstrap")
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-trimpath", "-o", bin, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// start runs the function and stops it after the test, which fails if the function had ended before.
func start(t *testing.T, bin string, env ...string) (*runtimeapi.Server, *runtimeapi.Process) {
	t.Helper()
	s, err := runtimeapi.New()
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Start(bin, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.Exited():
			t.Errorf("the function ended by itself:\n%s", p.Output())
		default:
			p.Stop()
		}
		s.Close()
	})
	return s, p
}

func invoker(s *runtimeapi.Server) front.Invoker {
	return func(ctx context.Context, event []byte, timeout time.Duration) (string, io.ReadCloser, error) {
		a, err := s.Invoke(ctx, event, timeout)
		if err != nil {
			return "", nil, err
		}
		return a.ContentType, a.Body, nil
	}
}

// TestFunction builds the binary once for all.
func TestFunction(t *testing.T) {
	bin := build(t)
	for _, tc := range []struct {
		name string
		run  func(*testing.T, string)
	}{
		{"scenarios", testScenarios}, {"on the wire", testOnTheWire}, {"broken stream", testBrokenStream}, {"deadline", testDeadline},
		{"concurrent", testConcurrent}, {"bad events", testBadEvents}, {"gone client is not told", testGoneClientIsNotTold},
		{"shutdown hook", testShutdownHook}, {"without runtime", testWithoutRuntime},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, bin) })
	}
}

func testScenarios(t *testing.T, bin string) {
	stream, p := start(t, bin)
	sam, _ := start(t, bin, "AWS_SAM_LOCAL=true")
	scenario.Run(t, scenario.Lambda(t, "", invoker(stream), invoker(sam), false), scenario.Table())
	if out := p.Output(); !strings.Contains(out, "secret-detail") || !strings.Contains(out, "handler.go") {
		t.Errorf("the log does not tell of the panics:\n%.2000s", out)
	}
	for _, r := range sam.Records() {
		if r.Streamed || r.ContentType != "application/json" {
			t.Errorf("under sam local an answer was streamed: %+v", r.ContentType)
		}
	}
}

// event is a small REST event.
func event(path, header string) []byte {
	return []byte(`{"resource":"/{proxy+}","path":"` + path + `","httpMethod":"GET","pathParameters":{"proxy":"` + path[1:] + `"},"headers":{` + header + `},
		"requestContext":{"requestId":"r1","path":"/prod` + path + `","stage":"prod","identity":{"sourceIp":"192.0.2.7"}}}`)
}

func invoke(t *testing.T, s *runtimeapi.Server, ev []byte, timeout time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scenario.Patience)
	defer cancel()
	a, err := s.Invoke(ctx, ev, timeout)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(a.Body)
	return string(b), err
}

// testOnTheWire looks at the bytes of one streamed answer: prelude, delimiter, one chunk an event, in time.
func testOnTheWire(t *testing.T, bin string) {
	s, _ := start(t, bin)
	release := make(chan struct{})
	gate := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer gate.Close()
	ctx, cancel := context.WithTimeout(context.Background(), scenario.Patience)
	defer cancel()
	a, err := s.Invoke(ctx, event("/sse", `"X-Gate":"`+gate.URL+`"`), time.Minute)
	if err != nil {
		close(release)
		t.Fatal(err)
	}
	want := `{"statusCode":200,"multiValueHeaders":{"Content-Type":["text/event-stream"]}}` + "\x00\x00\x00\x00\x00\x00\x00\x00event: n\ndata: {\"n\":0}\n\n"
	first := make([]byte, len(want)) // arrives while the function waits at the gate
	_, err = io.ReadFull(a.Body, first)
	opened := time.Now()
	close(release)
	if err != nil || string(first) != want {
		t.Errorf("begins with %q, %v", first, err)
	}
	if _, err := io.Copy(io.Discard, a.Body); err != nil {
		t.Error(err)
	}
	r := s.Records()[0]
	if r.ContentType != "application/vnd.awslambda.http-integration-response" || r.Err != nil || len(r.Chunks) < 2 {
		t.Fatalf("%+v", r)
	}
	last := r.Chunks[len(r.Chunks)-1]
	if !strings.HasSuffix(string(last.Bytes), "event: n\ndata: {\"n\":4}\n\n") || last.At.Before(opened) || !r.Chunks[0].At.Before(opened) {
		t.Errorf("last chunk %q", last.Bytes)
	}
}

// testBrokenStream: the trailers name the failure and tell nothing of its cause.
func testBrokenStream(t *testing.T, bin string) {
	s, _ := start(t, bin)
	_, err := invoke(t, s, event("/panic-late", ""), time.Minute)
	var ferr *runtimeapi.FunctionError
	if !errors.As(err, &ferr) || ferr.Type != "StreamError" || strings.Contains(ferr.Message, "secret") || ferr.Message == "" {
		t.Errorf("ended with %v", err)
	}
}

// testDeadline: the context of the request ends with Lambda's deadline, and what the handler says then arrives.
func testDeadline(t *testing.T, bin string) {
	s, _ := start(t, bin)
	began := time.Now()
	out, err := invoke(t, s, event("/deadline", ""), 700*time.Millisecond)
	if err != nil || !strings.HasSuffix(out, "event: error\ndata: {\"type\":\"error\"}\n\n") {
		t.Errorf("%v: %q", err, out)
	}
	if d := time.Since(began); d < 600*time.Millisecond || d > scenario.Patience {
		t.Errorf("ended after %v", d)
	}
}

// testConcurrent: with AWS_LAMBDA_MAX_CONCURRENCY several invocations are open at once in one process, and their answers do
// not mix.
func testConcurrent(t *testing.T, bin string) {
	const n = 4
	s, _ := start(t, bin, "AWS_LAMBDA_MAX_CONCURRENCY=4")
	var all sync.WaitGroup
	all.Add(n)
	gate := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { all.Done(); all.Wait() }))
	defer gate.Close()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			out, err := invoke(t, s, event("/sse", `"X-Gate":"`+gate.URL+`"`), time.Minute)
			if err != nil || strings.Count(out, "data: ") != scenario.Events {
				t.Errorf("%v: %q", err, out)
			}
		})
	}
	wg.Wait()
	if s.MostBusy() != n {
		t.Errorf("%d at once, want %d", s.MostBusy(), n)
	}
	var many sync.WaitGroup
	for i := range 100 {
		many.Go(func() {
			id := strings.Repeat(string(rune('a'+i%26)), 1+i)
			out, err := invoke(t, s, event("/echo/"+id, ""), time.Minute)
			if err != nil || !strings.Contains(out, `"/echo/`+id+`"`) {
				t.Errorf("%v: %.300q", err, out)
			}
		})
	}
	many.Wait()
}

// testBadEvents: whatever comes, an answer goes, and the function lives.
func testBadEvents(t *testing.T, bin string) {
	s, _ := start(t, bin)
	for _, tc := range []struct{ name, event, want string }{
		{"scheduler", `{"job":"probe"}`, `{"statusCode":400,`},
		{"null", `null`, `{"statusCode":400,`},
		{"load balancer", `{"httpMethod":"GET","path":"/","requestContext":{"elb":{}}}`, `{"statusCode":400,`},
		{"base64", `{"httpMethod":"POST","path":"/","requestContext":{},"body":"%","isBase64Encoded":true}`, `{"statusCode":400,"multiValueHeaders"`},
	} {
		if out, err := invoke(t, s, []byte(tc.event), time.Minute); err != nil || !strings.HasPrefix(out, tc.want) {
			t.Errorf("%s: %v %.200q", tc.name, err, out)
		}
	}
	if _, err := invoke(t, s, []byte(`{`), time.Minute); err == nil { // the library refuses it before us
		t.Error("broken JSON was answered")
	}
	if out, err := invoke(t, s, event("/silent", ""), time.Minute); err != nil || !strings.HasPrefix(out, `{"statusCode":200`) {
		t.Errorf("afterwards: %v %q", err, out)
	}
}

// testGoneClientIsNotTold: as on real Lambda the handler runs on, its answer is taken to the end, and the next invocation
// comes.
func testGoneClientIsNotTold(t *testing.T, bin string) {
	s, _ := start(t, bin)
	big := strings.Replace(string(event("/big", "")), `"headers"`, `"queryStringParameters":{"n":"30000000"},"headers"`, 1)
	a, err := s.Invoke(t.Context(), []byte(big), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if out, err := invoke(t, s, event("/silent", ""), time.Minute); err != nil || !strings.HasPrefix(out, `{"statusCode":200`) {
		t.Errorf("afterwards: %v %q", err, out)
	}
	n := 0
	for _, c := range s.Records()[0].Chunks {
		n += len(c.Bytes)
	}
	if n < 30_000_000 {
		t.Errorf("the answer that nobody reads was cut after %d bytes", n)
	}
}

// testShutdownHook: SIGTERM runs the hook before the process ends.
func testShutdownHook(t *testing.T, bin string) {
	s, err := runtimeapi.New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Start(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if _, err := invoke(t, s, event("/silent", ""), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(scenario.Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(p.Output(), "shutdown hook ran") {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("output %q", p.Output())
		}
	}
}

// testWithoutRuntime: outside Lambda the binary says what is missing.
func testWithoutRuntime(t *testing.T, bin string) {
	cmd := exec.Command(bin)
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("AWS_LAMBDA_RUNTIME_API")) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestEventsAreJSON keeps the fixtures honest.
func TestEventsAreJSON(t *testing.T) {
	if !json.Valid(event("/a", `"b":"c"`)) {
		t.Error("the small event is no JSON")
	}
}
