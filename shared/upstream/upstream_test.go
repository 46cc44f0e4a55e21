package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/shared/upstream"
)

func TestClassifyStatus(t *testing.T) {
	for _, c := range []struct {
		status    int
		class     upstream.Class
		blames    bool
		retryable bool
	}{
		{200, upstream.OK, false, false}, {299, upstream.OK, false, false},
		{101, upstream.Server, true, true}, {302, upstream.Server, true, true}, {304, upstream.Server, true, true},
		{400, upstream.ClientFault, false, false}, {404, upstream.ClientFault, false, false}, {409, upstream.ClientFault, false, false},
		{413, upstream.ClientFault, false, false}, {422, upstream.ClientFault, false, false},
		{401, upstream.Credential, true, true}, {402, upstream.Credential, true, true}, {403, upstream.Credential, true, true},
		{408, upstream.Timeout, true, true}, {429, upstream.RateLimited, false, true}, {529, upstream.Overloaded, true, true},
		{500, upstream.Server, true, true}, {502, upstream.Server, true, true}, {599, upstream.Server, true, true},
	} {
		f := upstream.ClassifyStatus(c.status, http.Header{})
		if f.Class != c.class || f.Blames() != c.blames || f.Retryable() != c.retryable || f.Status != c.status {
			t.Errorf("%d: got %+v, blames %v, retryable %v", c.status, f, f.Blames(), f.Retryable())
		}
	}
	if f := (upstream.Failure{Class: upstream.NotOffered}); f.Blames() || !f.Retryable() {
		t.Error("a model that the credential is not offered is no fault of the node, and another node may be")
	}
	if stopped := (upstream.Failure{Class: upstream.Stopped}); stopped.Blames() || stopped.Retryable() {
		t.Error("what we ended ourselves is nobody's fault")
	}
}

func TestClassifyError(t *testing.T) {
	for _, c := range []struct {
		err    error
		class  upstream.Class
		reason string
	}{
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, upstream.Connection, "connection refused"},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), upstream.Connection, "connection lost before an answer"},
		{io.EOF, upstream.Connection, "connection lost before an answer"},
		{&net.DNSError{Err: "no such host", Name: "secret.internal", IsNotFound: true}, upstream.Connection, "host name not found"},
		{&net.OpError{Op: "dial", Err: timeout{}}, upstream.Timeout, "connection timed out"},
		{errors.New("tls: failed to verify certificate"), upstream.Connection, "TLS handshake failed"},
		{errors.New("dial tcp 10.0.0.7:443: strange"), upstream.Connection, "connection failed"},
	} {
		f := upstream.ClassifyError(c.err)
		if f.Class != c.class || f.Reason != c.reason || !f.Blames() || !f.Retryable() {
			t.Errorf("%v: got %+v", c.err, f)
		}
	}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func TestD30_RetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		seconds, ms string
		want        time.Duration
	}{
		{"", "", 0}, {"7", "", 7 * time.Second}, {" 7 ", "", 7 * time.Second}, {"1.5", "", 1500 * time.Millisecond}, {"0", "", 0}, {"-3", "", 0},
		{"soon", "", 0}, {"NaN", "", 0}, {"Inf", "", 0}, {"1e99", "", 0}, {"99999999999", "", 0},
		{"7", "250", 250 * time.Millisecond}, {"7", "-1", 7 * time.Second}, {"7", "x", 7 * time.Second}, {"", "NaN", 0}, {"", "1e300", 0},
		{"86400", "", 24 * time.Hour}, {"86401", "", 24 * time.Hour}, {"999999999", "", 24 * time.Hour}, {"", "99999999999", 24 * time.Hour},
		{"Fri, 01 Jan 2038 00:00:00 GMT", "", 24 * time.Hour},
		{"Thu, 01 Jan 2026 00:00:30 GMT", "", 30 * time.Second}, {"Wed, 31 Dec 2025 23:59:30 GMT", "", 0},
	} {
		h := http.Header{}
		if c.seconds != "" {
			h.Set("Retry-After", c.seconds)
		}
		if c.ms != "" {
			h.Set("Retry-After-Ms", c.ms)
		}
		if got := upstream.RetryAfter(h, now); got != c.want {
			t.Errorf("retry-after %q, ms %q: got %v, want %v", c.seconds, c.ms, got, c.want)
		}
	}
}

func TestFilterRequest(t *testing.T) {
	in := http.Header{"Authorization": {"Bearer x"}, "X-Api-Key": {"x"}, "Api-Key": {"x"}, "X-Admin-Key": {"x"}, "Cookie": {"x"}, "Connection": {"close, x-hop ,, User-Agent"},
		"X-Hop": {"1"}, "Forwarded": {"x"}, "X-Forwarded-For": {"x"}, "Via": {"x"}, "Te": {"x"}, "Trailer": {"x"}, "Upgrade": {"x"}, "Expect": {"100-continue"},
		"Transfer-Encoding": {"chunked"}, "Content-Length": {"1"}, "Content-Encoding": {"zstd"}, "Host": {"x"}, "User-Agent": {"x"}, "Accept-Encoding": {"br"}, "Content-Type": {"application/json"}, "Anthropic-Beta": {"a", "b"}}
	before := in.Clone()
	got := upstream.FilterRequest(in)
	want := http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {""}, "Content-Type": {"application/json"}, "Anthropic-Beta": {"a", "b"}}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("got %v", got)
	}
	if !maps.EqualFunc(in, before, slices.Equal[[]string]) {
		t.Error("the client's own headers were changed")
	}
}

func TestCopyAnswer(t *testing.T) {
	dst := http.Header{"Request-Id": {"ours"}, "X-Proxy-Node": {"ours"}, "Access-Control-Allow-Origin": {"ours"}}
	src := http.Header{"Request-Id": {"theirs"}, "X-Proxy-Node": {"theirs"}, "Set-Cookie": {"x"}, "Connection": {"request-id, x-hop, Access-Control-Allow-Origin"}, "X-Hop": {"1"},
		"Access-Control-Allow-Origin": {"*"}, "Content-Length": {"1"}, "Date": {"x"}, "Retry-After": {"3"}, "X-Should-Retry": {"false"}, "Strict-Transport-Security": {"x"}, "Clear-Site-Data": {"*"},
		"Openai-Organization": {"org-1"}, "Openai-Project": {"proj_1"}, "Openai-Version": {"2020-10-01"}, "Openai-Processing-Ms": {"12"}}
	upstream.CopyAnswer(dst, src)
	want := "Access-Control-Allow-Origin=ours Openai-Processing-Ms=12 Openai-Version=2020-10-01 Request-Id=ours Retry-After=3 X-Proxy-Node=ours X-Should-Retry=false X-Upstream-Request-Id=theirs"
	var got []string
	for _, k := range slices.Sorted(maps.Keys(dst)) {
		got = append(got, k+"="+strings.Join(dst[k], ","))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("got %s", got)
	}
}

// D32: the upstream's own id is kept, whichever header it uses: Anthropic's request-id or OpenAI's x-request-id.
func TestD32_RequestID(t *testing.T) {
	for _, c := range []struct {
		src  http.Header
		want string
	}{
		{http.Header{"Request-Id": {"req_a"}}, "req_a"},
		{http.Header{"X-Request-Id": {"req_b"}}, "req_b"},
		{http.Header{"Request-Id": {"req_a"}, "X-Request-Id": {"req_b"}}, "req_a"},
		{http.Header{}, ""},
	} {
		dst := http.Header{}
		upstream.CopyAnswer(dst, c.src)
		if got := dst.Get("X-Upstream-Request-Id"); got != c.want || upstream.RequestID(c.src) != c.want || dst.Get("X-Request-Id") != "" {
			t.Errorf("%v: got %q, headers %v", c.src, got, dst)
		}
	}
}
