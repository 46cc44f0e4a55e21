package amazonq_test

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

const expired = `{"__type":"com.amazon.aws.codewhisperer#AccessDeniedException","message":"The bearer token included in the request is invalid."}`

func TestSend_Hosts(t *testing.T) {
	const arn = "arn:aws:codewhisperer:eu-central-1:123456789012:profile/ABCDEFGHIJKL"
	const own = "https://q.us-east-1.amazonaws.com/"
	for _, c := range []struct {
		why, endpoint, want string
		node                core.Node
		operator            bool
	}{
		{"nothing said", "", "https://q.us-east-1.amazonaws.com/", core.Node{}, false},
		{"region", "", "https://q.eu-west-2.amazonaws.com/", core.Node{Region: "eu-west-2"}, false},
		{"the profile's region", "", "https://q.eu-central-1.amazonaws.com/", core.Node{Profile: arn}, false},
		{"the node's region before the profile's", "", "https://q.us-west-2.amazonaws.com/", core.Node{Profile: arn, Region: "us-west-2"}, false},
		{"kiro", "", "https://runtime.eu-central-1.kiro.dev/", core.Node{API: "kiro", Profile: arn}, false},
		{"GovCloud", "", "https://q.us-gov-west-1.amazonaws.com/", core.Node{Region: "us-gov-west-1"}, false},
		{"an imported profile that is a region says nothing (2.12)", "", "https://q.us-east-1.amazonaws.com/", core.Node{Profile: "eu-west-1"}, false},
		{"an ARN without region", "", "https://q.us-east-1.amazonaws.com/", core.Node{Profile: "arn:aws:codewhisperer::1:profile/A"}, false},
		{"a short ARN", "", "https://q.us-east-1.amazonaws.com/", core.Node{Profile: "arn:aws"}, false},
		{"base URL first", own, "https://relay.example/", core.Node{BaseURL: "https://relay.example", Region: "eu-west-1"}, false},
		{"base URL of the operator", "", "http://10.0.0.1:81/q", core.Node{BaseURL: "http://10.0.0.1:81/q", Operator: true}, true},
		{"user and fragment of a base URL go nowhere", "", "https://relay.example/", core.Node{BaseURL: "https://u:p@relay.example#f"}, false},
		{"operator's endpoint", "http://fake:1", "http://fake:1/", core.Node{Region: "eu-west-1", API: "kiro"}, true},
		{"the guide's endpoint", own, own, core.Node{}, true},
		{"the guide's endpoint is no place for another region", own, "https://q.eu-central-1.amazonaws.com/", core.Node{Profile: arn}, false},
		{"nor for Kiro", own, "https://runtime.us-east-1.kiro.dev/", core.Node{API: "kiro"}, false},
		{"an endpoint of another region is the default region", "https://q.eu-central-1.amazonaws.com", "https://runtime.eu-central-1.kiro.dev/", core.Node{API: "kiro"}, false},
		{"hostile region: path", "", "", core.Node{Region: "evil.example/"}, false},
		{"hostile region: user", "", "", core.Node{Region: "x@evil.example"}, false},
		{"hostile region: port", "", "", core.Node{Region: "us-east-1:80"}, false},
		{"hostile region: dot", "", "", core.Node{Region: "us.east-1"}, false},
		{"hostile region: two parts", "", "", core.Node{Region: "us-1"}, false},
		{"hostile region: capital", "", "", core.Node{Region: "US-EAST-1"}, false},
		{"hostile region: line", "", "", core.Node{Region: "us-east-1\r\n"}, false},
		{"hostile region: query", "", "", core.Node{Region: "us-east-1?x"}, false},
		{"hostile region: no ASCII", "", "", core.Node{Region: "us-eаst-1"}, false},
		{"hostile region: long", "", "", core.Node{Region: "us-" + strings.Repeat("a", 60) + "-1"}, false},
		{"hostile region: numbers", "", "", core.Node{Region: "us-east-123"}, false},
		{"hostile ARN", "", "", core.Node{Profile: "arn:aws:codewhisperer:evil.example#:1:profile/A"}, false},
		{"hostile ARN with an endpoint of AWS", own, "", core.Node{Profile: "arn:aws:codewhisperer:a@b:1:profile/A"}, false},
		{"base URL of another scheme", "", "", core.Node{BaseURL: "file:///etc/passwd"}, false},
		{"base URL without host", "", "", core.Node{BaseURL: "https:///x"}, false},
		{"bad endpoint", "://", "", core.Node{}, false},
	} {
		g, o := &capture{}, &capture{}
		cl := amazonq.New(amazonq.Options{Transports: &upstream.Transports{Guarded: g, Operator: o}, Tokens: &vault{token: "t"}, Endpoint: c.endpoint})
		b := &closing{Reader: strings.NewReader("{}")}
		resp, err := cl.Send(t.Context(), target(c.node), &upstream.Request{Body: b, Length: 2})
		var told *upstream.Error
		if c.want == "" {
			if !errors.As(err, &told) || !b.closed || len(g.got)+len(o.got) > 0 {
				t.Errorf("%s: got error %v, body closed %v, %d requests", c.why, err, b.closed, len(g.got)+len(o.got))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		_ = resp.Body.Close()
		used := g
		if c.operator {
			used = o
		}
		if len(used.got) != 1 || used.got[0].URL.String() != c.want || used.got[0].Host != used.got[0].URL.Host {
			t.Errorf("%s: got guarded %d, operator %d, want %s", c.why, len(g.got), len(o.got), c.want)
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// BUG 2.7: the old system sent the names and versions of another product's client. This one names itself.
func TestSend_Headers(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, c := range []struct{ why, credential, bearer, kind string }{
		{"login", loginJSON, "Bearer token", ""},
		{"API key", "ksk_abc", "Bearer ksk_abc", "API_KEY"},
		{"API key with a line end", "ksk_abc\n", "Bearer ksk_abc", "API_KEY"},
		{"API key in JSON", `{"api_key":"ksk_abc"}`, "Bearer ksk_abc", "API_KEY"},
	} {
		g := &capture{}
		cl := client(g, nil, &vault{token: "token"})
		resp, err := cl.Send(t.Context(), upstream.Target{Node: &core.Node{}, Credential: core.NewSecret(c.credential)}, replayed("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		r := g.got[0]
		if id := r.Header.Get("Amz-Sdk-Invocation-Id"); !uuid.MatchString(id) {
			t.Errorf("%s: invocation %q", c.why, id)
		}
		delete(r.Header, "Amz-Sdk-Invocation-Id")
		want := http.Header{"Authorization": {c.bearer}, "Content-Type": {"application/x-amz-json-1.0"}, "Accept": {"*/*"}, "Accept-Encoding": {"identity"},
			"X-Amz-Target":                {"AmazonCodeWhispererStreamingService.GenerateAssistantResponse"},
			"X-Amzn-Codewhisperer-Optout": {"true"}, "User-Agent": {"sluice"}}
		if c.kind != "" {
			want["Tokentype"] = []string{c.kind}
		}
		if !maps.EqualFunc(r.Header, want, slices.Equal[[]string]) {
			t.Errorf("%s: got %v", c.why, r.Header)
		}
		if r.Method != "POST" || r.ContentLength != 2 || g.bodies[0] != "{}" || r.GetBody == nil || r.URL.RawQuery != "" {
			t.Errorf("%s: got %s, length %d, body %q", c.why, r.Method, r.ContentLength, g.bodies[0])
		}
	}
}

func TestSend_RenewsOnce(t *testing.T) {
	const suspended = `{"__type":"AccessDeniedException","message":"The bearer token is invalid","reason":"TEMPORARILY_SUSPENDED"}`
	bad := &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential, Blocked: core.BlockedLogin, Reason: "login needed"}}
	ok := answer(200, "fine")
	for _, c := range []struct {
		why      string
		answers  []func() *http.Response
		vault    vault
		key      bool // the credential is an API key
		once     bool // the body can be read once only
		status   int
		renewals int
		requests int
	}{
		{"good", []func() *http.Response{ok}, vault{}, false, false, 200, 0, 1},
		{"401", []func() *http.Response{answer(401, ""), ok}, vault{next: "new"}, false, false, 200, 1, 2},
		{"403 with the text", []func() *http.Response{answer(403, expired), ok}, vault{next: "new"}, false, false, 200, 1, 2},
		{"403 with the other text", []func() *http.Response{answer(403, `{"message":"The security token included in the request is expired"}`), ok}, vault{next: "new"}, false, false, 200, 1, 2},
		{"403 with the shape", []func() *http.Response{answer(403, `{"__type":"x#ExpiredTokenException"}`), ok}, vault{next: "new"}, false, false, 200, 1, 2},
		{"403 with the shape in a header", []func() *http.Response{answer(403, ``, "X-Amzn-Errortype", "ExpiredTokenException:http://x"), ok}, vault{next: "new"}, false, false, 200, 1, 2},
		{"400 of Kiro's control plane", []func() *http.Response{answer(400, expired), ok}, vault{next: "new"}, false, false, 200, 1, 2},
		{"400 that repeats a client's words", []func() *http.Response{answer(400, `{"__type":"ValidationException","message":"The bearer token is invalid"}`)}, vault{next: "new"}, false, false, 400, 0, 1},
		{"refused twice", []func() *http.Response{answer(403, expired)}, vault{next: "new"}, false, false, 403, 1, 2},
		{"403 for another reason", []func() *http.Response{answer(403, `{"message":"no"}`)}, vault{next: "new"}, false, false, 403, 0, 1},
		{"suspended", []func() *http.Response{answer(403, suspended)}, vault{next: "new"}, false, false, 403, 0, 1},
		{"suspended with 401", []func() *http.Response{answer(401, suspended)}, vault{next: "new"}, false, false, 401, 0, 1},
		{"renewal fails", []func() *http.Response{answer(401, "")}, vault{err: bad}, false, false, 0, 1, 1},
		{"the same token again", []func() *http.Response{answer(401, expired)}, vault{next: "old"}, false, false, 401, 1, 1},
		{"a body that is gone: the next request has the new token", []func() *http.Response{answer(401, expired)}, vault{next: "new"}, false, true, 401, 1, 1},
		{"an API key has no renewal", []func() *http.Response{answer(401, expired)}, vault{next: "new"}, true, false, 401, 0, 1},
	} {
		g := &capture{answers: c.answers}
		c.vault.token = "old"
		cl := client(g, nil, &c.vault)
		r, to := replayed(`{"a":1}`), target(core.Node{})
		if c.once {
			r.Again = nil
		}
		if c.key {
			to.Credential = core.NewSecret("ksk_1")
		}
		resp, err := cl.Send(t.Context(), to, r)
		if len(c.vault.renewed) != c.renewals || len(g.got) != c.requests {
			t.Errorf("%s: %d renewals, %d requests", c.why, len(c.vault.renewed), len(g.got))
		}
		for i, b := range g.bodies {
			if b != `{"a":1}` {
				t.Errorf("%s: body %d is %q", c.why, i, b)
			}
		}
		if c.requests == 2 && g.got[1].Header.Get("Authorization") != "Bearer new" {
			t.Errorf("%s: the second request has %q", c.why, g.got[1].Header.Get("Authorization"))
		}
		if c.status == 0 {
			if !errors.Is(err, bad) {
				t.Errorf("%s: got error %v", c.why, err)
			}
			continue
		}
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: got %v, error %v", c.why, resp, err)
			continue
		}
		body, err := io.ReadAll(resp.Body) // judged once, it can still be read
		if want := g.answers[0]().Body; err != nil || c.requests == 1 && string(body) != all(want) {
			t.Errorf("%s: body %q, error %v", c.why, body, err)
		}
		if c.why == "refused twice" {
			if f := cl.Classify(resp.StatusCode, resp.Header, body); f.Class != upstream.Credential || f.Blocked != "" {
				t.Errorf("%s: %+v", c.why, f)
			}
		}
	}
}

func all(r io.Reader) string {
	b, _ := io.ReadAll(r)
	return string(b)
}

// BUG 2.5/2.7: a token that cannot be had must be an error of the attempt, with the node to blame, before anything is sent.
func TestSend_NoToken(t *testing.T) {
	g := &capture{}
	none := &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential, Blocked: core.BlockedLogin, Reason: "login needed"}}
	for _, v := range []*vault{{none: none}, {token: "has space"}, {token: "a\r\nb"}, {token: ""}} {
		b := &closing{Reader: strings.NewReader("x")}
		_, err := client(g, nil, v).Send(t.Context(), target(core.Node{}), &upstream.Request{Body: b, Length: 1})
		f := upstream.ClassifyError(err)
		if err == nil || f.Class != upstream.Credential || !b.closed || len(g.got) > 0 {
			t.Errorf("%+v: got %v, closed %v", v, err, b.closed)
		}
		if v.none != nil && f.Blocked != core.BlockedLogin {
			t.Errorf("got %+v", f)
		}
	}
}

func TestSend_EndOfBody(t *testing.T) {
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, buf, _ := w.(http.Hijacker).Hijack()
			_, _ = buf.WriteString(answer)
			_ = buf.Flush()
			_ = conn.Close()
		}
	}
	for _, c := range []struct {
		why, answer string
		end         error
	}{
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nframes", io.ErrUnexpectedEOF},
		{"HTTP/1.1 without length", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nframes", io.ErrUnexpectedEOF},
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nframes", nil},
		{"length that is not kept", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nframes", io.ErrUnexpectedEOF},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nframes\r\n0\r\n\r\n", nil},
		{"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nframes\r\n", io.ErrUnexpectedEOF},
	} {
		cl := amazonq.New(amazonq.Options{Transports: real(t), Tokens: &vault{token: "t"}, Endpoint: serve(t, raw(c.answer))})
		resp, err := cl.Send(t.Context(), target(core.Node{}), replayed("{}"))
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(b) != "frames" || !errors.Is(err, c.end) || (err == nil) != (c.end == nil) {
			t.Errorf("%s: got %q, %v", c.why, b, err)
		}
	}
}

func TestSend_RedirectsAreNotFollowed(t *testing.T) {
	asked := 0
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	cl := amazonq.New(amazonq.Options{Transports: real(t), Tokens: &vault{token: "t"}, Endpoint: url})
	resp, err := cl.Send(t.Context(), target(core.Node{}), replayed("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if asked != 1 || resp.StatusCode != 307 || cl.Classify(307, resp.Header, nil).Class != upstream.Server {
		t.Errorf("asked %d times, status %d", asked, resp.StatusCode)
	}
}

// A refusal without end must not be read without end before the token is renewed.
func TestSend_HugeRefusal(t *testing.T) {
	first := true
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if !first {
			_, _ = io.WriteString(w, "fine")
			return
		}
		first = false
		w.WriteHeader(http.StatusUnauthorized)
		for range 1 << 14 {
			if _, err := w.Write(make([]byte, 1<<14)); err != nil {
				return // hung up on
			}
		}
		t.Error("256 MiB were read")
	})
	cl := amazonq.New(amazonq.Options{Transports: real(t), Tokens: &vault{token: "t", next: "n"}, Endpoint: url})
	resp, err := cl.Send(t.Context(), target(core.Node{}), replayed("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if b := all(resp.Body); b != "fine" {
		t.Errorf("got %q", b)
	}
	_ = resp.Body.Close()
}

func TestSend_AddressGuard(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Amzn-Requestid", "id-1") })
	for _, c := range []struct {
		why, endpoint string
		node          core.Node
		allowed       bool
	}{
		{"a tenant's", "", core.Node{BaseURL: url}, false},
		{"a tenant's, though the operator has one", url, core.Node{BaseURL: url}, false},
		{"the operator's node", "", core.Node{BaseURL: url, Operator: true}, true},
		{"the operator's endpoint", url, core.Node{}, true},
	} {
		cl := amazonq.New(amazonq.Options{Transports: real(t), Tokens: &vault{token: "t"}, Endpoint: c.endpoint})
		resp, err := cl.Send(t.Context(), target(c.node), replayed("{}"))
		var blocked *upstream.BlockedError
		if (err == nil) != c.allowed || !c.allowed && !errors.As(err, &blocked) {
			t.Errorf("%s: got %v", c.why, err)
		}
		if err == nil {
			if id := upstream.RequestID(resp.Header); id != "id-1" {
				t.Errorf("request id %q", id)
			}
			_ = resp.Body.Close()
		}
	}
}
