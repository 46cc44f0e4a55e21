package gateway_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

func TestD14_BadInputIsAnsweredInTheDialect(t *testing.T) {
	deep := strings.Repeat(`[`, 1500) + strings.Repeat(`]`, 1500)
	for _, c := range []struct {
		reason, method, path, body string
		status                     int
		typ, says                  string
	}{
		{"no body", "POST", "/v1/messages", "", 400, "invalid_request_error", "not a JSON object"},
		{"blank body", "POST", "/v1/messages", " \n", 400, "invalid_request_error", "not a JSON object"},
		{"no JSON", "POST", "/v1/messages", "hello", 400, "invalid_request_error", "not a JSON object"},
		{"truncated", "POST", "/v1/messages", plainBody[:40], 400, "invalid_request_error", "not a JSON object"},
		{"something after it", "POST", "/v1/messages", plainBody + "x", 400, "invalid_request_error", "byte " + strconv.Itoa(len(plainBody))},
		{"an array", "POST", "/v1/messages", "[" + plainBody + "]", 400, "invalid_request_error", "want an object"},
		{"a string", "POST", "/v1/messages", `"x"`, 400, "invalid_request_error", "want an object"},
		{"null", "POST", "/v1/messages", `null`, 400, "invalid_request_error", "want an object"},
		{"byte order mark", "POST", "/v1/messages", "\ufeff" + plainBody, 400, "invalid_request_error", "not a JSON object"},
		{"raw control character", "POST", "/v1/messages", "{\"model\":\"a\nb\"}", 400, "invalid_request_error", "not a JSON object"},
		{"nested too deep", "POST", "/v1/messages", `{"model":"claude-x","messages":` + deep + `}`, 400, "invalid_request_error", "not a JSON object"},
		{"no model", "POST", "/v1/messages", `{"max_tokens":1,"messages":[]}`, 400, "invalid_request_error", "model: Field required"},
		{"model inside", "POST", "/v1/messages", `{"metadata":{"model":"x"}}`, 400, "invalid_request_error", "model: Field required"},
		{"empty model", "POST", "/v1/messages", `{"model":""}`, 400, "invalid_request_error", "model: must be a non-empty string"},
		{"model null", "POST", "/v1/messages", `{"model":null}`, 400, "invalid_request_error", "model: must be a non-empty string"},
		{"model a number", "POST", "/v1/messages", `{"model":1}`, 400, "invalid_request_error", "model: must be a non-empty string"},
		{"model very long", "POST", "/v1/messages", `{"model":"` + strings.Repeat("m", 300) + `"}`, 400, "invalid_request_error", "at most 256 characters"},
		{"model twice", "POST", "/v1/messages", `{"model":"a","model":"b"}`, 400, "invalid_request_error", `model: stands twice`},
		{"model twice, once escaped", "POST", "/v1/messages", `{"model":"a","mod\u0065l":"b"}`, 400, "invalid_request_error", `model: stands twice`},
		{"stream a string", "POST", "/v1/messages", `{"model":"a","stream":"true"}`, 400, "invalid_request_error", "stream: must be a boolean"},
		{"count_tokens without model", "POST", "/v1/messages/count_tokens", `{}`, 400, "invalid_request_error", "model: Field required"},
		{"wrong method", "GET", "/v1/messages", "", 405, "invalid_request_error", "use POST"},
		{"wrong method on models", "POST", "/v1/models", "{}", 405, "invalid_request_error", "use GET or HEAD"},
		{"DELETE of all files", "DELETE", "/v1/files", "", 405, "invalid_request_error", "use GET or POST"},
		{"unknown path", "POST", "/v1/complete", "{}", 404, "not_found_error", "No such endpoint: /v1/complete"},
		{"unknown path below messages", "POST", "/v1/messages/nope", "{}", 404, "not_found_error", "No such endpoint"},
		{"slash at the end", "POST", "/v1/messages/", plainBody, 404, "not_found_error", "No such endpoint"},
		{"two slashes", "POST", "//v1/messages", plainBody, 404, "not_found_error", "No such endpoint"},
		{"twice the prefix", "POST", "/anthropic/anthropic/v1/messages", plainBody, 404, "not_found_error", "No such endpoint"},
		{"no path of ours", "GET", "/favicon.ico", "", 404, "not_found_error", "No such endpoint"},
		{"the root with POST", "POST", "/", "{}", 404, "not_found_error", "No such endpoint"},
		{"the probe with POST", "POST", "/api/hello", "{}", 404, "not_found_error", "No such endpoint"},
		{"an id that climbs", "POST", "/v1/skills/..%2fmessages", plainBody, 404, "not_found_error", "No such endpoint"},
		{"an id that is a dot", "GET", "/v1/files/..", "", 404, "not_found_error", "No such endpoint"},
		{"a model that climbs", "GET", "/v1/models/..%2f..%2fadmin", "", 404, "not_found_error", "No such endpoint"},
		{"an id escaped twice", "GET", "/v1/files/%252e%252e%252fmessages", "", 404, "not_found_error", "No such endpoint"},
		{"an id with a backslash", "GET", "/v1/files/..%5cmessages", "", 404, "not_found_error", "No such endpoint"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			r := newRig(t)
			up := r.fakeNode("a")
			q := r.request(deadline(t), c.method, "/x", c.body)
			if path, raw, _ := strings.Cut(c.path, "?"); true {
				q.URL.Opaque = "//" + q.URL.Host + path // as it stands
				q.URL.RawQuery = raw
			}
			got := r.send(q)
			wantError(t, got, c.status, c.typ, c.says)
			if up.Count() != 0 || got.header.Get("X-Proxy-Node") != "" {
				t.Errorf("it went on: %d upstream", up.Count())
			}
			// an endpoint that is there was asked for: the failure is recorded, once and whole
			recs := r.records()
			if c.status == 400 || c.status == 413 {
				if len(recs) != 1 || recs[0].Status != c.status || recs[0].Attempts != 0 || recs[0].ErrorCode == "" || recs[0].Key == "" {
					t.Errorf("recorded %+v", recs)
				}
			} else if len(recs) != 0 {
				t.Errorf("recorded %+v", recs)
			}
			if c.status == 405 && got.header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
}

func TestD14_Keys(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	_, good := r.key()
	_, admin := r.key(func(k *core.Key) { k.Scopes = []core.Scope{core.ScopeNodes} })
	_, expired := r.key(func(k *core.Key) { k.ExpiresAt = time.Now().Add(-time.Minute) })
	_, revoked := r.key(func(k *core.Key) { k.Revoked = true })
	_, bound := r.key(func(k *core.Key) { k.Models = []string{"claude-haiku-*"} })
	flipped := good[:20] + string(good[20]^1) + good[21:]
	for _, c := range []struct {
		reason, key string
		status      int
		typ, says   string
	}{
		{"none", "", 401, "authentication_error", "No API key. Send the gateway's key as x-api-key"},
		{"unknown", "sk-ant-whatever", 401, "authentication_error", "Unknown API key"},
		{"mistyped", flipped, 401, "authentication_error", "Malformed API key"},
		{"cut", good[:30], 401, "authentication_error", "Malformed API key"},
		{"very long", strings.Repeat("k", 600), 401, "authentication_error", "Malformed API key"},
		{"expired", expired, 401, "authentication_error", "expired on"},
		{"revoked", revoked, 401, "authentication_error", "was revoked"},
		{"of the operator", operatorKey, 403, "permission_error", "ADMIN_API_KEY administers"},
		{"without the scope", admin, 403, "permission_error", "may not call models"},
		{"model not allowed", bound, 403, "permission_error", "may not use the model claude-x"},
	} {
		for _, body := range []string{plainBody, streamBody} {
			got := r.post(body, "X-Api-Key", c.key)
			wantError(t, got, c.status, c.typ, c.says)
			if c.key != "" && strings.Contains(got.body, c.key) {
				t.Errorf("%s: the answer repeats the key", c.reason)
			}
		}
	}
	// a bad key is refused before its body is read, let alone judged
	wantError(t, r.post("no JSON", "X-Api-Key", "unknown"), 401, "authentication_error", "")
	if up.Count() != 0 || len(r.records()) != 0 {
		t.Errorf("%d went upstream, %d recorded", up.Count(), len(r.records()))
	}
}

func TestD14_BodyTooLarge(t *testing.T) {
	r := newRig(t, "MAX_BODY_BYTES", "65536")
	up := r.fakeNode("a")
	pad := func(n int) string {
		return strings.Replace(plainBody, "hi", strings.Repeat("x", n-len(plainBody)+2), 1)
	}
	chunked := func(body string) reply {
		q := r.request(deadline(t), "POST", "/v1/messages", "")
		q.Body, q.ContentLength = io.NopCloser(strings.NewReader(body)), -1
		return r.send(q)
	}
	for _, got := range []reply{r.post(pad(65536)), chunked(pad(65536))} {
		if got.status != 200 || len(up.Last().Body) != 65536 {
			t.Errorf("at the limit: got %d %s", got.status, got.body)
		}
	}
	for _, got := range []reply{r.post(pad(65537)), chunked(pad(65537)), r.post(pad(200000)), chunked(pad(200000)), r.do("POST", "/v1/messages/count_tokens", pad(65537)),
		r.post(pad(65537), "Expect", "100-continue")} {
		wantError(t, got, 413, "request_too_large", "larger than the gateway's limit of 64 KiB")
	}
	if up.Count() != 2 {
		t.Errorf("%d went upstream", up.Count())
	}
}

func TestD25_BodiesTo32MiB(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a", modelMap(map[string]string{"claude-x": "another-name"}))
	body := strings.Replace(plainBody, "hi", strings.Repeat("y", 31<<20), 1)
	if got := r.post(body); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if want := strings.Replace(body, "claude-x", "another-name", 1); string(up.Last().Body) != want {
		t.Error("the body changed on its way")
	}
}

func TestBody_MemoryOfAllIsBounded(t *testing.T) {
	r := newRig(t, "MAX_BODY_BYTES", "1048575", "MAX_BODY_MEMORY", "1048576")
	up := r.fakeNode("a")
	up.Default(upstreamtest.Events(3).Silence(upstreamtest.BeforeHeaders))
	big := strings.Replace(plainBody, "hi", strings.Repeat("x", 900000), 1)
	done := make(chan struct{})
	q := r.request(deadline(t), "POST", "/v1/messages", big)
	ctx, cancel := contextWithCancel(q)
	go func() {
		defer close(done)
		if resp, err := r.client.Do(q.WithContext(ctx)); err == nil {
			_ = resp.Body.Close()
		}
	}()
	if err := up.WaitRequests(deadline(t), 1); err != nil {
		t.Fatal(err)
	}
	got := r.post(big)
	wantError(t, got, 529, "overloaded_error", "as many request bodies as its memory allows")
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("got %v", got.header)
	}
	cancel()
	<-done
	r.rest()
	up.Default(upstreamtest.Events(3))
	for range 20 { // all of it comes back each time
		if got := r.post(big); got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
}

func TestExpectContinueIsServed(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	tr := &http.Transport{ExpectContinueTimeout: patience}
	defer tr.CloseIdleConnections()
	r.client.Transport = tr
	if got := r.post(plainBody, "Expect", "100-continue"); got.status != 200 || up.Last().Header.Get("Expect") != "" {
		t.Errorf("got %d, expect %q sent on", got.status, up.Last().Header.Get("Expect"))
	}
	wantError(t, r.post(plainBody, "Expect", "100-continue", "X-Api-Key", "unknown"), 401, "authentication_error", "Unknown")
}

func TestD14_NoNode(t *testing.T) {
	r := newRig(t)
	wantError(t, r.post(plainBody), 503, "api_error", "no enabled node. Add or enable one")
	r.node("disabled", "http://127.0.0.1:1", func(n *core.Node) { n.Disabled = true })
	wantError(t, r.post(streamBody), 503, "api_error", "no enabled node")
	if rec := r.records(); len(rec) != 2 || rec[0].Status != 503 || rec[0].Attempts != 0 || rec[0].Node != "" {
		t.Errorf("recorded %+v", rec)
	}
	r.node("down", upstreamtest.NewRefused(t))
	got := r.post(plainBody)
	wantError(t, got, 502, "api_error", "connection refused")
	if got.header.Get("X-Proxy-Node") != "down" {
		t.Errorf("got x-proxy-node %q", got.header.Get("X-Proxy-Node"))
	}
}

func TestD14_UpstreamGarbage(t *testing.T) {
	gzipped := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
	for _, c := range []struct {
		reason string
		b      upstreamtest.Behaviour
		status int
		typ    string
	}{
		{"a page", upstreamtest.HTMLPage(), 502, "api_error"},
		{"a garbage stream", upstreamtest.GarbageStream(), 502, "api_error"},
		{"no JSON", upstreamtest.BadJSON(), 502, "api_error"},
		{"half a JSON", upstreamtest.CutJSON(), 502, "api_error"},
		{"nothing as JSON", upstreamtest.Empty("application/json"), 502, "api_error"},
		{"nothing as a stream", upstreamtest.Empty("text/event-stream"), 502, "api_error"},
		{"error page 500", upstreamtest.HTMLError(500), 502, "api_error"},
		{"error page 503", upstreamtest.HTMLError(503), 502, "api_error"},
		{"error page 529", upstreamtest.HTMLError(529), 529, "overloaded_error"},
		{"error page 401", upstreamtest.HTMLError(401), 502, "api_error"},
		{"error page 404", upstreamtest.HTMLError(404), 404, "not_found_error"},
		{"error page 413", upstreamtest.HTMLError(413), 413, "request_too_large"},
		{"error page 400", upstreamtest.HTMLError(400), 400, "invalid_request_error"},
		{"error page 429", upstreamtest.HTMLError(429), 429, "rate_limit_error"},
		{"error page 504", upstreamtest.HTMLError(504), 502, "api_error"},
		{"a redirect", upstreamtest.Raw(307, http.Header{"Location": {"http://127.0.0.1:1/x"}, "Content-Type": {"application/json"}}, "{}"), 502, "api_error"},
		{"not modified", upstreamtest.Raw(304, nil), 502, "api_error"},
		{"no content", upstreamtest.Raw(204, nil), 502, "api_error"},
		{"gzip that is none", upstreamtest.Raw(200, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, "{}"), 502, "api_error"},
		{"cut gzip", upstreamtest.Raw(200, http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"gzip"}}, gzipped), 502, "api_error"},
		{"no HTTP", upstreamtest.Wire("SSH-2.0-OpenSSH\r\n\r\n"), 502, "api_error"},
		{"closed", upstreamtest.Wire(), 502, "api_error"},
		{"huge header", upstreamtest.Wire("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n"), 502, "api_error"},
		{"status 99", upstreamtest.Wire("HTTP/1.1 099 x\r\nContent-Length: 2\r\n\r\n{}"), 502, "api_error"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			for _, body := range []string{plainBody, streamBody} {
				r := newRig(t, "PROXY_RETRY_MAX", "1")
				up := r.fakeNode("garbled")
				up.Default(c.b)
				got := r.post(body)
				wantError(t, got, c.status, c.typ, "")
				if got.header.Get("X-Proxy-Node") != "garbled" || got.header.Get("Content-Encoding") != "" || got.header.Get("Location") != "" {
					t.Errorf("got headers %v", got.header)
				}
				rec := r.record()
				if rec.Success() || rec.Status != c.status || rec.NodeName != "garbled" {
					t.Errorf("recorded %+v", rec)
				}
				if blamed := r.state("1").FailStreak == 1; blamed == (c.status < 500) {
					t.Errorf("blamed: %v", blamed)
				}
			}
		})
	}
}
