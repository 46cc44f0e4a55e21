package scenario

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Patience is what a test waits for something that must happen.
const Patience = 20 * time.Second

// Scenario is one exchange, told by what must be true of it on a host.
type Scenario struct {
	Name string
	Why  string
	Run  func(t *testing.T, h Host)
}

// Run runs the scenarios through the hosts.
func Run(t *testing.T, hosts []Host, table []Scenario) {
	for _, h := range hosts {
		for _, s := range table {
			t.Run(h.Name+"/"+s.Name, func(t *testing.T) {
				t.Log(s.Why)
				s.Run(t, h)
			})
		}
	}
}

// Reply is an HTTP answer read to its end.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error // that ended the body, nil for a whole one
}

// Do sends a request to a host; an answer that never began is a nil reply and an error.
func Do(t testing.TB, h Host, method, path string, body []byte, header http.Header) (*Reply, error) {
	t.Helper()
	resp, err := open(t, context.Background(), h, method, path, body, header)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := &Reply{Status: resp.StatusCode, Header: resp.Header}
	r.Body, r.Err = io.ReadAll(resp.Body)
	return r, nil
}

func open(t testing.TB, ctx context.Context, h Host, method, path string, body []byte, header http.Header) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*Patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, h.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	return http.DefaultClient.Do(req)
}

// must is Do for exchanges that have to be whole.
func must(t *testing.T, h Host, method, path string, body []byte, header http.Header) *Reply {
	t.Helper()
	r, err := Do(t, h, method, path, body, header)
	if err != nil || r.Err != nil {
		t.Fatalf("no whole answer: %v %+v", err, r)
	}
	if e := r.Header.Get("X-Front-Error"); e != "" {
		t.Fatalf("the front door refused the answer: %s", e)
	}
	return r
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %#v, want %#v", what, got, want)
	}
}

// Table is for NewHandler.
func Table() []Scenario {
	return []Scenario{
		{"request", "method, path, query, headers, cookies, host and address reach the handler as net/http would give them", request},
		{"escaped path", "an id with an escaped slash is one segment wherever the platform leaves it escaped", escapedPath},
		{"root", "a path that is nothing but the prefix", func(t *testing.T, h Host) {
			equal(t, "status", must(t, h, "GET", "/", nil, nil).Status, 404)
		}},
		{"no body", "no body has length 0 and is readable", func(t *testing.T, h Host) {
			e := echoed(t, must(t, h, "DELETE", "/echo/x", nil, nil))
			equal(t, "method", e.Method, "DELETE")
			equal(t, "length", e.Length, int64(0))
		}},
		{"text body", "JSON travels as text, with every kind of character", func(t *testing.T, h Host) {
			body(t, h, "application/json", []byte(`{"s":"é 漢 😀 \u0000 \" \\ <>& `+"\u2028\t\"}\r\n"))
		}},
		{"binary body", "a compressed body travels as base64", func(t *testing.T, h Host) { body(t, h, "application/octet-stream", Every()) }},
		{"big body", "just under the event's 6 MiB as text", func(t *testing.T, h Host) {
			if strings.HasSuffix(h.Name, "rest-stage") {
				t.Skip("base64 makes it too large there, see big binary body")
			}
			body(t, h, "application/json", bytes.Repeat([]byte("0123456789abcdef"), 380<<10)) // 5.9 MiB
		}},
		{"big binary body", "just under the event's 6 MiB as base64", func(t *testing.T, h Host) {
			body(t, h, "application/octet-stream", bytes.Repeat(Every(), 17<<10+512)) // 4.4 MiB
		}},
		{"status and headers", "status, repeated headers and cookies; nothing set after WriteHeader", headersBack},
		{"binary answer", "no byte changes", func(t *testing.T, h Host) {
			equal(t, "body", must(t, h, "GET", "/binary", nil, nil).Body, Every())
		}},
		{"no answer body", "204 has no body", func(t *testing.T, h Host) {
			r := must(t, h, "GET", "/empty", nil, nil)
			equal(t, "status", r.Status, 204)
			equal(t, "length", len(r.Body), 0)
		}},
		{"silent handler", "a handler that does nothing answers 200", func(t *testing.T, h Host) {
			equal(t, "status", must(t, h, "GET", "/silent", nil, nil).Status, 200)
		}},
		{"HEAD", "header of GET, no body", func(t *testing.T, h Host) {
			r := must(t, h, "HEAD", "/binary", nil, nil)
			equal(t, "type", r.Header.Get("Content-Type"), "application/octet-stream")
			equal(t, "length", len(r.Body), 0)
		}},
		{"early error", "a refusal in the client's dialect, with its header", func(t *testing.T, h Host) {
			r := must(t, h, "POST", "/error", []byte("{}"), nil)
			equal(t, "status", r.Status, 429)
			equal(t, "retry-after", r.Header.Get("Retry-After"), "7")
			equal(t, "body", string(r.Body), `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`)
		}},
		{"events in time", "D9: each event is on its way before the next is made", eventsInTime},
		{"flush", "the header goes out before the first byte of the body when the handler asks", flush},
		{"big answer", "8 MB stream; a buffered answer cannot have them and says so", bigAnswer},
		{"short answer", "less than Content-Length promises is never a whole answer", func(t *testing.T, h Host) {
			r, err := Do(t, h, "GET", "/length", nil, nil)
			if err == nil && r.Err == nil && r.Status < 500 {
				t.Errorf("taken for whole: %+v", r)
			}
		}},
		{"panic", "before the first byte: a 500 that tells nothing, and the function lives", panicEarly},
		{"late panic", "after the first byte: the client can tell that the answer is not whole", panicLate},
		{"abort", "http.ErrAbortHandler breaks off", func(t *testing.T, h Host) {
			r, err := Do(t, h, "GET", "/abort", nil, nil)
			if err == nil && r.Err == nil && r.Status < 500 {
				t.Errorf("taken for whole: %+v", r)
			}
		}},
		{"client gone", "where the host can tell, the request's context ends", clientGone},
		{"deadline", "the handler knows when Lambda ends it", func(t *testing.T, h Host) {
			e := echoed(t, must(t, h, "GET", "/echo/x", nil, nil))
			if h.Deadline != (e.Left > 10*time.Minute && e.Left <= 15*time.Minute) || h.Deadline != !e.Invocation.Deadline.IsZero() {
				t.Errorf("time left %v, deadline %v", e.Left, e.Invocation.Deadline)
			}
		}},
	}
}

func echoed(t *testing.T, r *Reply) Echo {
	t.Helper()
	if r.Status != 200 {
		t.Fatalf("status %d: %s", r.Status, r.Body)
	}
	var e Echo
	if err := json.Unmarshal(r.Body, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func request(t *testing.T, h Host) {
	e := echoed(t, must(t, h, "PUT", "/echo/a/b?beta=true&x=1&x=a%2Fb+c&empty=", []byte("{}"), http.Header{
		"Anthropic-Beta": {"one-2025,two", "three"}, "Cookie": {"s=1; t=two"}, "X-Api-Key": {"key"}, "Content-Type": {"application/json"},
		"Date": {"Sun, 22 Nov 2026 00:00:00 GMT"}}))
	equal(t, "method", e.Method, "PUT")
	equal(t, "path", e.Path, "/echo/a/b")
	equal(t, "query", e.Query, map[string][]string{"beta": {"true"}, "x": {"1", "a/b c"}, "empty": {""}})
	if !h.MakesQuery {
		equal(t, "raw query", e.RawQuery, "beta=true&x=1&x=a%2Fb+c&empty=")
	}
	beta := []string{"one-2025,two", "three"}
	if h.JoinsHeaders {
		beta = []string{"one-2025,two,three"}
	}
	equal(t, "anthropic-beta", e.Header["Anthropic-Beta"], beta)
	equal(t, "date", e.Header["Date"], []string{"Sun, 22 Nov 2026 00:00:00 GMT"})
	equal(t, "x-api-key", e.Header["X-Api-Key"], []string{"key"})
	equal(t, "cookies", e.Cookies, []string{"s=1", "t=two"})
	equal(t, "content-length", e.Header["Content-Length"], []string{"2"})
	equal(t, "length", e.Length, int64(2))
	equal(t, "host", e.Host, strings.SplitN(strings.TrimPrefix(h.URL, "http://"), "/", 2)[0])
	equal(t, "host header", e.Header["Host"], []string(nil))
	equal(t, "address", e.IP, "127.0.0.1")
	if !h.Lambda {
		return
	}
	equal(t, "prefix", e.Invocation.Prefix, h.Prefix)
	equal(t, "streamed", e.Invocation.Streamed, h.Streams)
	if !strings.HasPrefix(e.Invocation.RequestID, "front-") {
		t.Errorf("request id %q", e.Invocation.RequestID)
	}
}

func escapedPath(t *testing.T, h Host) {
	const raw = "/echo/a%2Fb%20c/%C3%A9%25/d+e"
	e := echoed(t, must(t, h, "GET", raw, nil, nil))
	equal(t, "path", e.Path, "/echo/a/b c/é%/d+e")
	if !h.Decodes {
		equal(t, "escaped path", e.RawPath, raw)
	}
}

func body(t *testing.T, h Host, ctype string, b []byte) {
	t.Helper()
	e := echoed(t, must(t, h, "POST", "/echo/x", b, http.Header{"Content-Type": {ctype}}))
	sum := sha256.Sum256(b)
	equal(t, "sha-256", e.SHA256, hex.EncodeToString(sum[:]))
	equal(t, "bytes", e.Body, len(b))
	equal(t, "length", e.Length, int64(len(b)))
	equal(t, "content-length", e.Header["Content-Length"], []string{strconv.Itoa(len(b))})
}

func headersBack(t *testing.T, h Host) {
	r := must(t, h, "GET", "/headers", nil, nil)
	equal(t, "status", r.Status, 418)
	equal(t, "multi", strings.Join(r.Header["X-Multi"], ", "), "one, two, three")
	equal(t, "cookies", r.Header["Set-Cookie"], []string{"a=1; Path=/; HttpOnly", "b=2; Expires=Sun, 09 Sep 2001 01:46:40 GMT"})
	equal(t, "late", r.Header.Get("X-Late"), "no")
	equal(t, "type", r.Header.Get("Content-Type"), "text/html; charset=utf-8")
	equal(t, "body", string(r.Body), "<html>tea</html>")
}

// gate is an address that answers once it is opened; hit tells that somebody waits.
func gate(t *testing.T) (header http.Header, hit <-chan struct{}, release func()) {
	t.Helper()
	came, free := make(chan struct{}, 64), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		came <- struct{}{}
		<-free
	}))
	opened := false
	release = func() {
		if !opened {
			opened = true
			close(free)
		}
	}
	t.Cleanup(func() { release(); srv.Close() })
	return http.Header{"X-Gate": {srv.URL}}, came, release
}

func eventsInTime(t *testing.T, h Host) {
	header, hit, release := gate(t)
	if !h.Streams {
		release()
	}
	resp, err := open(t, context.Background(), h, "POST", "/sse", []byte("{}"), header)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all := ""
	for i := range Events {
		all += "event: n\ndata: {\"n\":" + strconv.Itoa(i) + "}\n\n"
	}
	head := all[:len(all)/Events*(Events-1)]
	got := make([]byte, len(head))
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != head { // the last event is behind the gate
		t.Fatalf("%v: %q", err, got)
	}
	<-hit
	release()
	rest, err := io.ReadAll(resp.Body)
	equal(t, "end", err, nil)
	equal(t, "rest", string(rest), all[len(head):])
}

func flush(t *testing.T, h Host) {
	header, _, release := gate(t)
	if !h.Streams {
		release()
	}
	resp, err := open(t, context.Background(), h, "GET", "/flush", nil, header)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	equal(t, "status", resp.StatusCode, 202)
	equal(t, "early", resp.Header.Get("X-Early"), "1")
	release()
	b, err := io.ReadAll(resp.Body)
	equal(t, "end", err, nil)
	equal(t, "body", string(b), "late")
}

func bigAnswer(t *testing.T, h Host) {
	r := must(t, h, "GET", "/big?n=8000000", nil, nil)
	if h.Streams {
		equal(t, "status", r.Status, 200)
		equal(t, "length", len(r.Body), 8_000_000)
		return
	}
	equal(t, "status", r.Status, 500)
	if !strings.Contains(string(r.Body), "larger than") || !json.Valid(r.Body) {
		t.Errorf("body %.200s", r.Body)
	}
}

func panicEarly(t *testing.T, h Host) {
	r, err := Do(t, h, "GET", "/panic", nil, nil)
	if !h.Lambda {
		if err == nil {
			t.Errorf("net/http answered %d", r.Status)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", r.Status, 500)
	equal(t, "half-made header", r.Header.Get("X-Half"), "")
	if !strings.HasPrefix(string(r.Body), `{"type":"error","error":{"type":"api_error"`) || bytes.Contains(r.Body, []byte("secret")) {
		t.Errorf("body %s", r.Body)
	}
	equal(t, "the next request", must(t, h, "GET", "/silent", nil, nil).Status, 200)
}

func panicLate(t *testing.T, h Host) {
	r, err := Do(t, h, "GET", "/panic-late", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(r.Body, []byte("secret")) {
		t.Errorf("body %s", r.Body)
	}
	if !h.Streams {
		equal(t, "status", r.Status, 500)
		return
	}
	equal(t, "status", r.Status, 200)
	if r.Err == nil {
		t.Error("the answer ended as if it were whole")
	}
	if h.Lambda && !bytes.Contains(r.Body, []byte("data: {\"n\":0}\n\nevent: error\ndata: {\"type\":\"error\",")) {
		t.Errorf("no error event: %q", r.Body)
	}
	equal(t, "the next request", must(t, h, "GET", "/silent", nil, nil).Status, 200)
}

func clientGone(t *testing.T, h Host) {
	if !h.TellsGone {
		t.Skip("this host does not tell")
	}
	header, hit, release := gate(t)
	release()
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	resp, err := open(t, ctx, h, "GET", "/gone", nil, header)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	leave()
	select {
	case <-hit:
	case <-time.After(Patience):
		t.Error("the handler was not told")
	}
}
