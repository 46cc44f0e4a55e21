package gateway_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

func TestD1_QueryIsIgnoredInMatchingAndPassedOn(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	for _, path := range []string{"/v1/messages?beta=true", "/v1/messages?x=%2F&y", "/anthropic/v1/messages?beta=true"} {
		got := r.do("POST", path, plainBody)
		if got.status != 200 {
			t.Errorf("%s: got status %d: %s", path, got.status, got.body)
			continue
		}
		last := up.Last()
		_, query, _ := strings.Cut(path, "?")
		if last.Path != "/v1/messages" || last.RawQuery != query {
			t.Errorf("%s: upstream got %s?%s", path, last.Path, last.RawQuery)
		}
	}
}

func TestD2_KeyFromEitherHeaderAndNeverSentUpstream(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	cases := []struct {
		reason  string
		headers []string
		ok      bool
	}{
		{"x-api-key", nil, true},
		{"bearer", []string{"X-Api-Key", "", "Authorization", "Bearer " + proxyKey}, true},
		{"bearer in another case", []string{"X-Api-Key", "", "Authorization", "bearer  " + proxyKey}, true},
		{"api-key", []string{"X-Api-Key", "", "Api-Key", proxyKey}, true},
		{"both the same", []string{"Authorization", "Bearer " + proxyKey}, true},
		{"bearer of somebody else, valid x-api-key", []string{"Authorization", "Bearer sk-ant-oat-someone"}, true},
		{"valid bearer, x-api-key of somebody else", []string{"X-Api-Key", "sk-ant-someone", "Authorization", "Bearer " + proxyKey}, true},
		{"all three, the last valid", []string{"X-Api-Key", "sk-b", "Authorization", "Bearer sk-a", "Api-Key", proxyKey}, true},
		{"basic", []string{"X-Api-Key", "", "Authorization", "Basic " + proxyKey}, false},
		{"none", []string{"X-Api-Key", ""}, false},
		{"both unknown", []string{"X-Api-Key", "sk-b", "Authorization", "Bearer sk-a"}, false},
	}
	for _, c := range cases {
		up.Reset()
		got := r.post(plainBody, append(c.headers, "X-Admin-Key", operatorKey, "Proxy-Authorization", "Basic secret-of-client")...)
		if !c.ok {
			if got.status != 401 || up.Count() != 0 {
				t.Errorf("%s: got status %d and %d upstream requests, want 401 and none", c.reason, got.status, up.Count())
			}
			continue
		}
		if got.status != 200 {
			t.Errorf("%s: got status %d: %s", c.reason, got.status, got.body)
			continue
		}
		for name, values := range up.Last().Header {
			for _, v := range values {
				for _, secret := range []string{proxyKey, operatorKey, "sk-a", "sk-b", "someone", "secret-of-client"} {
					if strings.Contains(v, secret) {
						t.Errorf("%s: the client's credential went upstream in %s: %s", c.reason, name, v)
					}
				}
			}
		}
		h := up.Last().Header
		if h.Get("X-Api-Key") != nodeKey || h.Get("Authorization") != "Bearer "+nodeKey {
			t.Errorf("%s: node credential: got x-api-key %q, authorization %q", c.reason, h.Get("X-Api-Key"), h.Get("Authorization"))
		}
	}
}

func TestD3_VersionAndBetaHeadersPassInOrder(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	cases := []struct {
		reason string
		beta   []string
	}{
		{"one line", []string{"a-2025-01-01,unknown-to-us-2099-12-31"}},
		{"a list with odd spaces", []string{"b ,  a,c;q=1"}},
		{"several lines", []string{"z-last", "a-first", "z-last"}},
		{"lines and lists", []string{"one,two", "three"}},
	}
	for _, c := range cases {
		q := r.request(deadline(t), "POST", "/v1/messages", plainBody, "Anthropic-Version", "2099-01-01-unknown")
		for _, v := range c.beta {
			q.Header.Add("Anthropic-Beta", v)
		}
		if got := r.send(q); got.status != 200 {
			t.Fatalf("%s: got status %d: %s", c.reason, got.status, got.body)
		}
		h := up.Last().Header
		if !slices.Equal(h["Anthropic-Beta"], c.beta) || !slices.Equal(h["Anthropic-Version"], []string{"2099-01-01-unknown"}) {
			t.Errorf("%s: got beta %q, version %q", c.reason, h["Anthropic-Beta"], h["Anthropic-Version"])
		}
	}
	// a client that sends no version still gets an answer; what it does not send otherwise is not invented
	r.post(plainBody)
	if h := up.Last().Header; h.Get("Anthropic-Version") != "2023-06-01" || h["Anthropic-Beta"] != nil {
		t.Errorf("got version %q, beta %q", h.Get("Anthropic-Version"), h["Anthropic-Beta"])
	}
}

func TestD4_UnknownHeadersPassAndHopHeadersDoNot(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	pass := map[string]string{"Anthropic-Future": "x", "X-Claude-Code-Session-Id": "s1", "X-Claude-Code-Future": "y", "X-Stainless-Lang": "js",
		"User-Agent": "claude-cli/2.1", "Idempotency-Key": "idem", "Traceparent": "00-a-b-01", "X-App": "cli", "Accept": "text/event-stream"}
	drop := map[string]string{"Cookie": "session=1", "Forwarded": "for=10.1.1.1", "X-Forwarded-For": "10.1.1.1", "X-Forwarded-Proto": "https",
		"X-Forwarded-Host": "internal", "X-Forwarded-Anything": "z", "Via": "1.1 corp", "X-Real-Ip": "10.1.1.1", "Te": "trailers",
		"Proxy-Connection": "keep-alive", "Keep-Alive": "timeout=5", "X-Named-By-Connection": "1", "Upgrade": "websocket"}
	q := r.request(deadline(t), "POST", "/v1/messages", plainBody, "Accept-Encoding", "gzip, br, zstd", "Connection", "X-Named-By-Connection, Upgrade")
	for k, v := range pass {
		q.Header.Set(k, v)
	}
	for k, v := range drop {
		q.Header.Set(k, v)
	}
	if got := r.send(q); got.status != 200 {
		t.Fatalf("got status %d: %s", got.status, got.body)
	}
	h := up.Last().Header
	for k, v := range pass {
		if !slices.Equal(h[k], []string{v}) {
			t.Errorf("%s: got %q, want %q", k, h[k], v)
		}
	}
	for k := range drop {
		if h[k] != nil {
			t.Errorf("%s went upstream: %q", k, h[k])
		}
	}
	if !slices.Equal(h["Accept-Encoding"], []string{"identity"}) {
		t.Errorf("got accept-encoding %q", h["Accept-Encoding"])
	}
}

// odd is a body that any decoding and encoding again would change.
const odd = "{ \"messages\" : [ {\"role\":\"user\",\"content\":[ {\"text\":\"caf\\u00e9 \\ud83d\\ude00 \\/ <&> \xc3\xa9\",\"type\":\"text\", \"cache_control\":{\"ttl\":\"1h\",\"type\":\"ephemeral\"}} ]},\r\n" +
	"{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"EqQB==\"},{\"type\":\"redacted_thinking\",\"data\":\"Eo8\"},{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{}}]},\n" +
	"{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t1\",\"content\":\"ok\"}]}],\n" +
	"\t\"zeta\":1.0e+2, \"alpha\":-0, \"big\":123456789012345678901234567890, \"price\":1.10, \"temperature\":1.0 ,\"max_tokens\" :100,\n" +
	"\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: a\"},{\"type\":\"text\",\"text\":\"two\",\"cache_control\":{\"type\":\"ephemeral\"}}],\n" +
	"\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"},{\"type\":\"bash_20250124\",\"name\":\"bash\"},{\"name\":\"f\",\"strict\":true,\"defer_loading\":true,\"eager_input_streaming\":true,\"input_schema\":{\"type\":\"object\"}}],\n" +
	"\"context_management\":{\"edits\":[]}, \"output_config\":{\"effort\":\"max\"}, \"nested\":{\"model\":\"inner\",\"a\":1,\"a\":2}, \"unknown_field\":null, \"model\" : \"claude-x\" , \"last\":{}}  \n"

func TestD5_BodyIsByteExact(t *testing.T) {
	for _, aliased := range []bool{false, true} {
		r := newRig(t)
		up := r.fakeNode("plain")
		if aliased {
			r = newRig(t)
			up = r.fakeNode("aliased", modelMap(map[string]string{"claude-x": "vendor/\"claude\"-long-name", "claude-x[1m]": "vendor-1m"}))
		}
		cases := []struct{ reason, body, model string }{
			{"everything odd", odd, "claude-x"},
			{"model escaped", strings.Replace(odd, `"claude-x"`, `"cl\u0061ude-x"`, 1), "claude-x"},
			{"long context suffix (D22)", strings.Replace(odd, "claude-x", "claude-x[1m]", 1), "claude-x[1m]"},
			{"compact", plainBody, "claude-x"},
			{"model first and last byte", `{"model":"claude-x","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, "claude-x"},
		}
		for _, c := range cases {
			want := c.body
			if aliased {
				to, _ := json.Marshal(map[string]string{"claude-x": "vendor/\"claude\"-long-name", "claude-x[1m]": "vendor-1m"}[c.model])
				at := strings.LastIndex(want, `"model"`)
				colon := at + 7 + strings.IndexByte(want[at+7:], '"')
				end := colon + 1 + strings.IndexByte(want[colon+1:], '"') + 1
				want = want[:colon] + string(to) + want[end:]
			}
			got := r.post(c.body)
			if got.status != 200 {
				t.Fatalf("%s (aliased %v): got status %d: %s", c.reason, aliased, got.status, got.body)
			}
			if sent := up.Last(); string(sent.Body) != want || sent.ContentLength != int64(len(want)) {
				t.Errorf("%s (aliased %v): upstream got\n%s\nwant\n%s", c.reason, aliased, sent.Body, want)
			}
			var answer struct{ Model string }
			if err := json.Unmarshal([]byte(got.body), &answer); err != nil || answer.Model != c.model {
				t.Errorf("%s (aliased %v): the client is told model %q (%v)", c.reason, aliased, answer.Model, err)
			}
		}
	}
}

func TestD5_AliasIsTakenBackInStreams(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a", modelMap(map[string]string{"claude-x": "vendor-y"}))
	got := r.post(streamBody)
	wantStream(t, got, "Hello there!")
	if strings.Contains(got.body, "vendor-y") || !strings.Contains(got.body, `"model":"claude-x"`) {
		t.Errorf("got %s", got.body)
	}
	if up.Last().Model() != "vendor-y" {
		t.Errorf("upstream got model %s", up.Last().Model())
	}
	// all of the rest passes byte for byte
	plain := newRig(t)
	plain.fakeNode("b")
	cut := func(s string) string { return s[strings.Index(s, "event: content_block_start"):] }
	if want := plain.post(streamBody); cut(got.body) != cut(want.body) {
		t.Errorf("got\n%s\nwant\n%s", got.body, want.body)
	}
	if rec := r.record(); rec.Model != "claude-x" || rec.ServedModel != "vendor-y" {
		t.Errorf("recorded model %q, served %q", rec.Model, rec.ServedModel)
	}
}

// The parts of a body that these statements name are all in odd, and it arrives byte for byte.
func TestD6_D7_D8_D26_BlocksFieldsAndToolsPass(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	r.post(odd, "Anthropic-Beta", "context-management-2025-06-27,extended-cache-ttl-2025-04-11")
	sent := up.Last()
	for _, part := range []string{`x-anthropic-billing-header: a`, `"signature":"EqQB=="`, `"redacted_thinking"`, `"context_management":{"edits":[]}`, `"output_config":{"effort":"max"}`,
		`"strict":true`, `"defer_loading":true`, `"eager_input_streaming":true`, `"ttl":"1h"`, `"type":"web_search_20250305"`, `"type":"bash_20250124"`, `"input":{}`} {
		if !strings.Contains(string(sent.Body), part) {
			t.Errorf("%s did not arrive", part)
		}
	}
	if got := sent.Header.Get("Anthropic-Beta"); got != "context-management-2025-06-27,extended-cache-ttl-2025-04-11" {
		t.Errorf("the header that goes with the fields: got %q", got)
	}
}

func TestD26_ToolInputStaysAnObject(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.Reply(upstreamtest.ToolUse("t1", "f"), upstreamtest.ToolUse("t2", "g", `{"a":`, `1}`)))
	got := r.post(plainBody)
	if !strings.Contains(got.body, `"input":{}`) || !strings.Contains(got.body, `"input":{"a":1}`) {
		t.Errorf("got %s", got.body)
	}
	stream := r.post(streamBody)
	if n := strings.Count(stream.body, `"input":{}`); n != 2 {
		t.Errorf("got %d empty inputs in %s", n, stream.body)
	}
	if !strings.Contains(stream.body, `"stop_reason":"tool_use"`) {
		t.Error("no stop_reason tool_use")
	}
}

func TestD22_LongContextSuffixReachesTheUpstream(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	if got := r.post(strings.Replace(plainBody, "claude-x", "no-such-model[1m]", 1)); got.status != 200 {
		t.Fatalf("got status %d: %s", got.status, got.body)
	}
	if up.Last().Model() != "no-such-model[1m]" {
		t.Errorf("upstream got %s", up.Last().Model())
	}
}

func TestD13_UpstreamErrorsAreReturnedUnmodified(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("relay \u00e9")
	for _, c := range []struct {
		status  int
		message string
	}{
		{400, "prompt is too long: 210000 tokens > 200000 maximum"},
		{400, "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"},
		{400, "messages.1.content.0: Invalid `signature` in `thinking` block"},
		{400, "tools.0: Input tag 'x' found using 'type' does not match any of the expected tags"},
		{404, "model: nope"}, {413, "Request exceeds the maximum size"}, {422, "thinking is not supported"},
	} {
		for _, body := range []string{plainBody, streamBody} {
			before := up.Count()
			up.Queue(upstreamtest.Status(c.status, c.message).Header("X-Should-Retry", "false").Header("Anthropic-Future", "f"))
			got := r.post(body)
			want := up.Requests()
			if got.status != c.status || !strings.Contains(got.body, `"message":"`+c.message+`"`) || got.header.Get("X-Should-Retry") != "false" || got.header.Get("Anthropic-Future") != "f" {
				t.Errorf("%d %s: got %d %s", c.status, c.message, got.status, got.body)
			}
			if len(want)-before != 1 {
				t.Errorf("%d %s: got %d tries, want 1", c.status, c.message, len(want)-before)
			}
			// the body keeps the upstream's id, which is the second header; ours is the first (D32)
			id := got.header.Get("X-Upstream-Request-Id")
			if id == "" || !strings.Contains(got.body, id) || got.header.Get("Request-Id") == id || got.header.Get("Request-Id") == "" {
				t.Errorf("got request-id %q, x-upstream-request-id %q: %s", got.header.Get("Request-Id"), id, got.body)
			}
			if got.header.Get("X-Proxy-Node") != "relay%20%C3%A9" {
				t.Errorf("got x-proxy-node %q", got.header.Get("X-Proxy-Node"))
			}
		}
	}
}

func TestD16_RetryAndLimitHeadersPass(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.Reply(upstreamtest.Text("x")).Header("Anthropic-Ratelimit-Unified-Status", "allowed").
		Header("Anthropic-Ratelimit-Requests-Remaining", "7").Header("Anthropic-Ratelimit-Tokens-Limit", "9").Header("Set-Cookie", "a=b").
		Header("X-Proxy-Node", "forged").Header("Connection", "Request-Id, X-Proxy-Node, X-Hop").Header("X-Hop", "1").Header("Alt-Svc", "h3").
		Header("Access-Control-Allow-Origin", "*").Header("Clear-Site-Data", `"*"`).Header("Server", "up"))
	for _, body := range []string{plainBody, streamBody} {
		got := r.post(body)
		h := got.header
		if h.Get("Anthropic-Ratelimit-Unified-Status") != "allowed" || h.Get("Anthropic-Ratelimit-Requests-Remaining") != "7" || h.Get("Anthropic-Ratelimit-Tokens-Limit") != "9" {
			t.Errorf("got headers %v", h)
		}
		for _, name := range []string{"Set-Cookie", "X-Hop", "Alt-Svc", "Access-Control-Allow-Origin", "Clear-Site-Data"} {
			if h[name] != nil {
				t.Errorf("%s of the upstream was passed: %q", name, h[name])
			}
		}
		if h.Get("Request-Id") == "" || h.Get("X-Proxy-Node") != "a" || h.Get("X-Upstream-Request-Id") == "" {
			t.Errorf("our own headers: got %v", h)
		}
	}
}

func TestD32_EveryAnswerHasARequestID(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	seen := map[string]bool{}
	for _, q := range []struct{ method, path, body string }{{"POST", "/v1/messages", plainBody}, {"POST", "/v1/messages", streamBody}, {"POST", "/v1/messages", "{"},
		{"GET", "/v1/models", ""}, {"GET", "/v1/nope", ""}, {"HEAD", "/", ""}, {"HEAD", "/api/hello", ""}, {"DELETE", "/v1/messages", ""}, {"GET", "/health", ""}} {
		got := r.do(q.method, q.path, q.body)
		id := got.header.Get("Request-Id")
		if !strings.HasPrefix(id, "req_") || seen[id] {
			t.Errorf("%s %s: got request-id %q", q.method, q.path, id)
		}
		seen[id] = true
		if q.body == plainBody && (got.header.Get("X-Upstream-Request-Id") == "" || got.header.Get("X-Upstream-Request-Id") == id) {
			t.Errorf("got x-upstream-request-id %q beside %q", got.header.Get("X-Upstream-Request-Id"), id)
		}
	}
	for _, rec := range r.records() {
		if rec.Endpoint == "/v1/messages" && rec.Status == 200 && !strings.HasPrefix(rec.UpstreamID, "req_01") {
			t.Errorf("recorded upstream id %q", rec.UpstreamID)
		}
	}
	_ = up
}

func TestD31_LongWholeAnswersAreNotRefused(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.HugeEvent(3))
	got := r.post(strings.Replace(plainBody, `"max_tokens":100`, `"max_tokens":128000`, 1))
	if got.status != 200 || len(got.body) < 3<<20 || !json.Valid([]byte(got.body)) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got status %d, %d bytes", got.status, len(got.body))
	}
	var status = http.StatusOK
	if rec := r.record(); rec.Status != status || rec.Stream {
		t.Errorf("got %+v", rec)
	}
}

func TestD15_AnOverlongPromptKeepsTheWordingThatMakesClientsCompact(t *testing.T) {
	for _, c := range []struct{ reason, body string }{{"streamed", streamBody}, {"not streamed", plainBody}} {
		r := newRig(t)
		up := r.fakeNode("a")
		up.Queue(upstreamtest.PromptTooLong(210000, 200000))
		got := r.post(c.body)
		if got.status != 400 || !strings.Contains(got.body, "prompt is too long: 210000 tokens > 200000 maximum") {
			t.Errorf("%s: got %d %s", c.reason, got.status, got.body)
		}
	}
}
