package functions_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
	"sluice/tests/lambda/front"
	"sluice/tests/lambda/runtimeapi"
	"sluice/tests/lambda/scenario"
	"sluice/tests/lambda/stores"
)

var key = http.Header{"X-Api-Key": {proxyKey}, "Content-Type": {"application/json"}}

// lockstep is an upstream that sends an event only when the test has seen the one before.
func lockstep(t *testing.T, events int) (url string, seen chan struct{}) {
	t.Helper()
	seen = make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(name, data string) {
			_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, data)
			_ = http.NewResponseController(w).Flush()
		}
		send("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}`)
		send("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
		for i := range events {
			send("content_block_delta", fmt.Sprintf(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"t%d"}}`, i))
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			}
		}
		send("content_block_stop", `{"type":"content_block_stop","index":0}`)
		send("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":200}}`)
		send("message_stop", `{"type":"message_stop"}`)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, seen
}

// open begins a streamed request through a front door.
func open(t *testing.T, h scenario.Host, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/v1/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = key.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// TestD9_EventByEvent: 200 events, each of which the upstream sends only after the client has the one before, through a REST
// API and through a function URL, over every store; the request is settled before the function asks for the next.
func TestD9_EventByEvent(t *testing.T) {
	const events = 200
	onStores(t, func(t *testing.T, url string) {
		up, seen := lockstep(t, events)
		f := start(t, "proxy", serving(url, up)...)
		for i, door := range []front.Type{front.REST, front.FunctionURL} {
			resp := open(t, f.door(t, &front.Door{Type: door}), streamed)
			if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") || resp.Header.Get("Request-Id") == "" {
				t.Fatalf("%d %v", resp.StatusCode, resp.Header)
			}
			n, last := 0, ""
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				line := lines.Text()
				if strings.HasPrefix(line, "data: ") {
					last = line
				}
				if strings.Contains(line, "text_delta") {
					if want := fmt.Sprintf(`"text":"t%d"`, n); !strings.Contains(line, want) {
						t.Fatalf("event %d is %s", n, line)
					}
					n++
					seen <- struct{}{} // hangs when events are held back
				}
			}
			if n != events || last != `data: {"type":"message_stop"}` {
				t.Errorf("%d events, the last %s", n, last)
			}
			r := f.Records()[i]
			if len(r.Chunks) < events || r.Err != nil || !r.Streamed {
				t.Errorf("%d chunks, %v", len(r.Chunks), r.Err)
			}
			if recs := records(t, url); len(recs) != i+1 || recs[0].Tokens.Output != 200 || recs[0].Status != 200 || recs[0].ClientAddr != "127.0.0.1" {
				t.Errorf("settled: %+v", recs)
			}
		}
		f.logged(t, `"CloudWatchMetrics"`, `"Namespace":"Sluice"`, "anthropic")
	})
}

// TestDeadline: some seconds before Lambda would kill the process a stream ends with an error event, in whole, and is
// settled with what was seen.
func TestDeadline(t *testing.T) {
	for _, door := range []front.Type{front.REST, front.FunctionURL} {
		url := begin(t, stores.InProcess)
		up := upstreamtest.NewAnthropic(t)
		up.Queue(upstreamtest.Events(50).Silence(upstreamtest.AfterDeltas(20)))
		f := start(t, "proxy", serving(url, up.URL)...)
		began := time.Now()
		resp := open(t, f.door(t, &front.Door{Type: door, Timeout: 4 * time.Second}), streamed)
		body, err := io.ReadAll(resp.Body)
		took := time.Since(began)
		if err != nil || !strings.Contains(string(body), "event: error\ndata: {\"type\":\"error\",\"error\":{") || !bytes.HasSuffix(body, []byte("\n\n")) || strings.Contains(string(body), "message_stop") {
			t.Errorf("%v %.2000s", err, body)
		}
		if took < 1500*time.Millisecond || took > 3900*time.Millisecond {
			t.Errorf("ended after %v of 4 s", took)
		}
		eventually(t, func() bool { return f.Records()[0].Done }, func() string { return "it is still running" })
		if recs := records(t, url); len(recs) != 1 || recs[0].Tokens.Output == 0 || !recs[0].Estimated {
			t.Errorf("settled: %+v", recs)
		}
	}
}

// TestCutUpstream: an upstream that breaks off in the middle is an error event, never a clean end, and settled.
func TestCutUpstream(t *testing.T) {
	url := begin(t, stores.InProcess)
	up := upstreamtest.NewAnthropic(t)
	f := start(t, "proxy", serving(url, up.URL)...)
	for i, door := range []front.Type{front.REST, front.FunctionURL} {
		up.Queue(upstreamtest.Events(50).Cut(upstreamtest.AfterDeltas(20), upstreamtest.EndReset))
		resp := open(t, f.door(t, &front.Door{Type: door}), streamed)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), "event: error\n") || strings.Contains(string(body), "message_stop") {
			t.Errorf("%v %d %.2000s", err, resp.StatusCode, body)
		}
		if recs := records(t, url); len(recs) != i+1 || recs[0].ErrorCode == "" {
			t.Errorf("settled: %+v", recs)
		}
	}
}

// TestD25_EventLimit: bodies just under the 6 MiB of an event arrive whole, escaped and as base64; one that is larger never
// reaches the function.
func TestD25_EventLimit(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	f := start(t, "proxy", serving(begin(t, stores.InProcess), up.URL)...)
	body := func(text string, n int) []byte {
		return []byte(`{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat(text, n/len(text)) + `"}]}`)
	}
	for _, c := range []struct {
		why  string
		door *front.Door
		body []byte
		ok   bool
	}{
		{"as text", &front.Door{Type: front.REST}, body("abcdefgh", 6_200_000), true},
		{"every byte escaped in the event", &front.Door{Type: front.FunctionURL}, body(`\"`, 3_000_000), true},
		{"base64", &front.Door{Type: front.REST, Binary: true}, body("abcdefgh", 4_650_000), true},
		{"over it as base64", &front.Door{Type: front.REST, Binary: true}, body("abcdefgh", 4_800_000), false},
		{"over it by escapes", &front.Door{Type: front.FunctionURL}, body(`\"`, 3_200_000), false},
	} {
		before := len(up.Messages())
		r, err := scenario.Do(t, f.door(t, c.door), "POST", "/v1/messages", c.body, key)
		if err != nil || r.Err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		got := up.Messages()
		switch {
		case !c.ok && (len(got) != before || r.Status == 200):
			t.Errorf("%s: %d", c.why, r.Status)
		case c.ok && (r.Status != 200 || len(got) != before+1 || !bytes.Equal(got[before].Body, c.body)):
			t.Errorf("%s: %d %.300s", c.why, r.Status, r.Body)
		}
	}
}

// TestD25_DecodedLimit: a body that is over MAX_BODY_BYTES once it is decoded gets our 413 in the client's dialect, however
// it travelled.
func TestD25_DecodedLimit(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	f := start(t, "proxy", append(serving(begin(t, stores.InProcess), up.URL), "MAX_BODY_BYTES=1048576")...)
	big := []byte(`{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat("a", 2<<20) + `"}]}`)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(big)
	_ = z.Close()
	coded := key.Clone()
	coded.Set("Content-Encoding", "gzip")
	for _, door := range []*front.Door{{Type: front.REST}, {Type: front.REST, Binary: true}, {Type: front.FunctionURL}, {Type: front.HTTPAPI}} {
		h := f.door(t, door)
		for _, c := range []struct {
			path, form string
			body       []byte
			header     http.Header
		}{
			{"/v1/messages", `{"type":"error","error":{"type":"request_too_large"`, big, key},
			{"/v1/messages", `{"type":"error","error":{"type":"request_too_large"`, zipped.Bytes(), coded},
			{"/v1/chat/completions", `{"error":{`, big, key},
		} {
			r, err := scenario.Do(t, h, "POST", c.path, c.body, c.header)
			if err != nil || r.Status != 413 || !strings.HasPrefix(string(r.Body), c.form) {
				t.Errorf("door %d, %s: %v %+v", door.Type, c.path, err, r)
			}
		}
	}
	if up.Count() != 0 {
		t.Error("something went upstream")
	}
}

// TestDialects: an error has the form of the client's API behind every front door.
func TestDialects(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	f := start(t, "proxy", serving(begin(t, stores.InProcess), up.URL)...)
	sam := start(t, "proxy", append(serving(begin(t, stores.InProcess), up.URL), "AWS_SAM_LOCAL=true")...)
	wrong := http.Header{"X-Api-Key": {"a-key-that-nobody-has"}}
	for _, c := range []struct {
		f    *function
		door *front.Door
	}{{f, &front.Door{Type: front.REST}}, {f, &front.Door{Type: front.FunctionURL}}, {f, &front.Door{Type: front.HTTPAPI}}, {sam, &front.Door{Type: front.RESTBuffered}}} {
		h := c.f.door(t, c.door)
		for _, e := range []struct {
			method, path string
			header       http.Header
			status       int
			form         string
		}{
			{"POST", "/v1/messages", wrong, 401, `{"type":"error","error":{"type":"authentication_error"`},
			{"POST", "/v1/chat/completions", wrong, 401, `{"error":{`},
			{"POST", "/v1/responses", nil, 401, `{"error":{`},
			{"GET", "/anthropic/v1/nothing", key, 404, `{"type":"error","error":{"type":"not_found_error"`},
			{"GET", "/admin/api/keys", key, 404, ``},
		} {
			r, err := scenario.Do(t, h, e.method, e.path, []byte(question), e.header)
			if err != nil || r.Status != e.status || !strings.HasPrefix(string(r.Body), e.form) || r.Header.Get("Request-Id") == "" {
				t.Errorf("door %d, %s %s: %v %+v %s", c.door.Type, e.method, e.path, err, r, r.Body)
			}
		}
		r, err := scenario.Do(t, h, "POST", "/v1/messages", []byte(streamed), key)
		if err != nil || r.Status != 200 || !strings.Contains(string(r.Body), "event: message_stop") {
			t.Errorf("door %d: a stream: %v %+v", c.door.Type, err, r)
		}
	}
}

// TestConcurrent: with AWS_LAMBDA_MAX_CONCURRENCY several streams run in one process.
func TestConcurrent(t *testing.T) {
	const n = 4
	up, seen := lockstep(t, 1)
	f := start(t, "proxy", append(serving(begin(t, stores.InProcess), up), "AWS_LAMBDA_MAX_CONCURRENCY=4")...)
	h := f.door(t, &front.Door{Type: front.FunctionURL})
	var all []*http.Response
	for range n {
		all = append(all, open(t, h, streamed)) // each has its first event while the others are open
	}
	for range n {
		seen <- struct{}{}
	}
	for _, resp := range all {
		if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "message_stop") {
			t.Errorf("%v %s", err, b)
		}
	}
	if f.MostBusy() != n {
		t.Errorf("%d at once", f.MostBusy())
	}
}

// TestLostSettlement: there is no disk to keep it on, so a settlement that the store does not take is one line of the log.
func TestLostSettlement(t *testing.T) {
	s := server(t, stores.InProcess)
	up, seen := lockstep(t, 1)
	f := start(t, "proxy", serving(s.URL, up)...)
	resp := open(t, f.door(t, &front.Door{Type: front.REST}), streamed)
	_ = readEvents(t, resp.Body, "t0")
	s.Stop()
	seen <- struct{}{}
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "message_stop") {
		t.Errorf("%v %s", err, b)
	}
	line := f.logged(t, "settlement not stored")
	var entry struct{ Settlement string }
	if err := json.Unmarshal([]byte(line), &entry); err != nil || !strings.Contains(entry.Settlement, `200`) {
		t.Errorf("%v %s", err, line)
	}
}

func readEvents(t *testing.T, r io.Reader, until string) string {
	t.Helper()
	var b strings.Builder
	buf := make([]byte, 1)
	for !strings.Contains(b.String(), until) {
		if _, err := io.ReadFull(r, buf); err != nil {
			t.Fatal(err)
		}
		b.Write(buf)
	}
	return b.String()
}

// TestBadEvents: whatever is sent, each function answers, or says that it failed, and lives.
func TestBadEvents(t *testing.T) {
	url := begin(t, stores.InProcess)
	up := upstreamtest.NewAnthropic(t)
	many := map[string]string{}
	for i := range 3000 {
		many[fmt.Sprintf("x-h-%d", i)] = "v"
	}
	for _, name := range []string{"proxy", "admin"} {
		f := start(t, name, serving(url, up.URL)...)
		for _, c := range []struct{ why, event string }{
			{"the scheduler's", `{"job":"probe"}`}, {"null", `null`}, {"a list", `[1,2]`}, {"a number", `7`}, {"text", `"x"`}, {"nothing in it", `{}`},
			{"a load balancer's", `{"httpMethod":"GET","path":"/","requestContext":{"elb":{"targetGroupArn":"x"}}}`},
			{"of a queue", `{"Records":[{"eventSource":"aws:sqs","body":"x"}]}`},
			{"no method", `{"version":"2.0","rawPath":"/v1/messages","requestContext":{"domainName":"x.lambda-url.eu-west-1.on.aws","http":{}}}`},
			{"odd types", `{"httpMethod":7,"path":[],"headers":"x","requestContext":{"identity":[]}}`},
			{"headers that are none", `{"httpMethod":"POST","path":"/v1/messages","headers":{"a b":"c","x":"a\nb"},"requestContext":{}}`},
			{"invalid base64", `{"httpMethod":"POST","path":"/v1/messages","requestContext":{},"body":"%%%","isBase64Encoded":true}`},
			{"a body that is no text", `{"httpMethod":"POST","path":"/v1/messages","requestContext":{},"body":{"a":1}}`},
			{"too many headers", restEvent("POST", "/v1/messages", "{}", many)},
			{"too many headers", urlEvent("POST", "/v1/messages", "{}", many)},
			{"deep", `{"httpMethod":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`},
		} {
			out, err := f.answer(t, c.event, time.Minute)
			if err != nil || !strings.HasPrefix(out, `{"statusCode":400`) {
				t.Errorf("%s, %s: %v %.300q", name, c.why, err, out)
			}
		}
		var ferr *runtimeapi.FunctionError
		for _, ev := range []string{`{`, strings.Repeat("[", 20000) + strings.Repeat("]", 20000)} {
			if _, err := f.answer(t, ev, time.Minute); !errors.As(err, &ferr) { // the library refuses it before us
				t.Errorf("%.20s: %v", ev, err)
			}
		}
		if out, err := f.answer(t, restEvent("GET", "/livez", "", nil), time.Minute); err != nil || !strings.HasPrefix(out, `{"statusCode":200`) {
			t.Errorf("%s afterwards: %v %.300q", name, err, out)
		}
	}
}
