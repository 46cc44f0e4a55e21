package bedrock_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

const sonnet = "anthropic.claude-sonnet-4-5-20250929-v1:0"

func TestSend_SignedPaths(t *testing.T) {
	for _, c := range []struct {
		why, api, path, query, model string
		stream                       bool
		target, service              string
	}{
		{"native", "", "/v1/messages", "beta=true&a=b%20c", "", true, "/anthropic/v1/messages?a=b%20c&beta=true", "bedrock-mantle"},
		{"native, counting", "messages", "/v1/messages/count_tokens", "", "", false, "/anthropic/v1/messages/count_tokens", "bedrock-mantle"},
		{"an id with a colon is escaped in the path and twice in the signature", "invoke", "/v1/messages", "beta=true", sonnet, false, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke", "bedrock"},
		{"streamed", "invoke", "/v1/messages", "", sonnet, true, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream", "bedrock"},
		{"an ARN is one segment", "converse", "/v1/messages", "", "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2", false,
			"/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2/converse", "bedrock"},
		{"converse streamed", "converse", "/v1/messages", "", "eu.amazon.nova-pro-v1:0", true, "/model/eu.amazon.nova-pro-v1%3A0/converse-stream", "bedrock"},
		{"counting wants the bare id", "invoke", "/v1/messages/count_tokens", "", "eu." + sonnet, false, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens", "bedrock"},
		{"counting is the runtime's for converse, too", "converse", "/v1/messages/count_tokens", "", "arn:aws:bedrock:eu-west-1::foundation-model/" + sonnet, true, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens", "bedrock"},
	} {
		t.Run(c.why, func(t *testing.T) {
			clk := newClock()
			d := newDouble(t, c.service, clk)
			base := d.url
			if c.api == "" || c.api == "messages" {
				base += "/anthropic/v1/"
			}
			cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
			r := request(`{"max_tokens":1}`)
			r.Path, r.Query, r.Model, r.Stream = c.path, c.query, c.model, c.stream
			status, _ := send(t, cl, target(keysJSON, core.Node{API: c.api, Region: "eu-west-1", BaseURL: base}), r)
			got := d.seen()
			if status != 200 || len(got) != 1 || got[0].target != c.target || got[0].body != `{"max_tokens":1}` {
				t.Errorf("status %d, got %+v", status, got)
			}
		})
	}
}

func TestSend_SessionTokenAndHeaders(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock-mantle", clk)
	d.known["ASIAIOSFODNN7EXAMPLE"] = [2]string{"s3cret+/=", "tok/en=="}
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	r := request("{}")
	r.Header = http.Header{"Anthropic-Beta": {"a", "b"}, "Authorization": {"Bearer theirs"}, "X-Api-Key": {"theirs"}, "X-Amz-Date": {"20200101T000000Z"}, "X-Amz-Security-Token": {"theirs"},
		"X-Amz-Target": {"x"}, "Amz-Sdk-Request": {"x"}, "Anthropic-Workspace-Id": {"wrkspc_theirs"}, "X-Odd": {"  two   spaces \u00e9 "}, "Cookie": {"c"},
		"X-Amzn-Odd": {"\u00e9"}, "X-Amzn-Twice": {"a", "b"}, "X-Amzn-Bedrock-Trace": {"ENABLED"}, "Content-Type": {"application/json", "text/html"}}
	cred := `{"access_key_id":"ASIAIOSFODNN7EXAMPLE","secret_access_key":"s3cret+/=","session_token":"tok/en==","workspace_id":"wrkspc_ours"}`
	status, body := send(t, cl, target(cred, core.Node{Region: "eu-west-1", BaseURL: d.url + "/anthropic"}), r)
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	h := d.seen()[0].header
	if h.Get("X-Amz-Target") != "" || h.Get("Amz-Sdk-Request") != "" || h.Get("X-Api-Key") != "" || h.Get("Cookie") != "" || h.Get("Anthropic-Version") != "2023-06-01" ||
		len(h["Anthropic-Beta"]) != 2 || h.Get("Anthropic-Workspace-Id") != "wrkspc_ours" || len(h["Content-Type"]) != 1 || h.Get("Content-Type") != "application/json" || h["X-Amzn-Odd"] != nil || h["X-Amzn-Twice"] != nil || h.Get("X-Amzn-Bedrock-Trace") != "ENABLED" || h["X-Odd"] == nil {
		t.Errorf("got %v", h)
	}

	d = newDouble(t, "bedrock", clk)
	r = request("{}")
	r.Stream = true
	r.Header = http.Header{"Anthropic-Beta": {"a"}, "X-Amzn-Bedrock-Guardrailidentifier": {"gr-1"}, "X-Amzn-Bedrock-Accept": {"text/html"}, "X-Amzn-Bedrock-Trace": {"a\tb"}, "X-Other": {"x"}, "User-Agent": {"client"}}
	if status, body := send(t, cl, target(keysJSON, core.Node{API: "invoke", Region: "eu-west-1", BaseURL: d.url}), r); status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	h = d.seen()[0].header
	if h.Get("X-Amzn-Bedrock-Guardrailidentifier") != "gr-1" || h.Get("X-Amzn-Bedrock-Accept") != "application/json" || h.Get("Accept") != "application/vnd.amazon.eventstream" ||
		h.Get("Anthropic-Beta") != "" || h.Get("X-Other") != "" || h.Get("X-Amzn-Bedrock-Trace") != "" || h.Get("User-Agent") != "" {
		t.Errorf("got %v", h)
	}
}

func TestSend_BodyOnce(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock-mantle", clk)
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	to := target(keysJSON, core.Node{Region: "eu-west-1", BaseURL: d.url + "/anthropic"})
	body := &closing{Reader: strings.NewReader(`{"a":1}`)}
	r := &upstream.Request{Method: "POST", Path: "/v1/messages", Body: body, Length: -1}
	if status, text := send(t, cl, to, r); status != 200 || !body.closed.Load() || d.seen()[0].body != `{"a":1}` {
		t.Errorf("status %d: %s", status, text)
	}
	huge := &closing{Reader: io.LimitReader(zeros{}, 33<<20)}
	f := failing(t, cl, to, &upstream.Request{Method: "POST", Path: "/v1/messages", Body: huge, Length: -1})
	if f.Class != upstream.ClientFault || !huge.closed.Load() {
		t.Errorf("got %+v, closed %v", f, huge.closed.Load())
	}
	if status, _ := send(t, cl, to, &upstream.Request{Method: "GET", Path: "/v1/models"}); status != 200 {
		t.Errorf("without a body: status %d", status)
	}
	empty := request("")
	if status, _ := send(t, cl, to, empty); status != 200 {
		t.Errorf("with an empty body: status %d", status)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestSend_Hosts: where requests go, by which way, signed for what.
func TestSend_Hosts(t *testing.T) {
	for _, c := range []struct {
		why  string
		node core.Node
		url  string
		own  bool // of AWS or the operator: by the way without the guard
		name string
	}{
		{"default", core.Node{Region: "us-east-1"}, "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages", true, "us-east-1/bedrock-mantle"},
		{"invoke", core.Node{API: "invoke", Region: "us-gov-west-1"}, "https://bedrock-runtime.us-gov-west-1.amazonaws.com/model/m.x/invoke", true, "us-gov-west-1/bedrock"},
		{"runtime, native", core.Node{BaseURL: "https://bedrock-runtime.ap-northeast-1.amazonaws.com/anthropic", Region: "us-east-1"}, "https://bedrock-runtime.ap-northeast-1.amazonaws.com/anthropic/v1/messages", true, "ap-northeast-1/bedrock"},
		{"runtime, native, without its path", core.Node{BaseURL: "HTTPS://Bedrock-Runtime.eu-west-1.amazonaws.com:443/"}, "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic/v1/messages", true, "eu-west-1/bedrock"},
		{"mantle as AWS's guide prints it", core.Node{BaseURL: "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages"}, "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages", true, "eu-west-1/bedrock-mantle"},
		{"platform", core.Node{BaseURL: "https://aws-external-anthropic.us-west-2.api.aws/v1"}, "https://aws-external-anthropic.us-west-2.api.aws/v1/messages", true, "us-west-2/aws-external-anthropic"},
		{"runtime, base for the other API", core.Node{API: "converse", BaseURL: "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic"}, "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m.x/converse", true, "eu-west-1/bedrock"},
		{"FIPS", core.Node{API: "invoke", BaseURL: "https://bedrock-runtime-fips.us-east-1.amazonaws.com"}, "https://bedrock-runtime-fips.us-east-1.amazonaws.com/model/m.x/invoke", true, "us-east-1/bedrock"},
		{"an endpoint of someone's network is guarded", core.Node{API: "invoke", BaseURL: "https://vpce-0a-1b.bedrock-runtime.us-east-1.vpce.amazonaws.com"}, "https://vpce-0a-1b.bedrock-runtime.us-east-1.vpce.amazonaws.com/model/m.x/invoke", false, "us-east-1/bedrock"},
		{"a relay", core.Node{API: "invoke", Region: "eu-west-1", BaseURL: "https://user:pw@relay.example/x?q=1#f"}, "https://relay.example/x/model/m.x/invoke", false, "eu-west-1/bedrock"},
		{"a relay, native", core.Node{Region: "eu-west-1", BaseURL: "https://relay.example"}, "https://relay.example/v1/messages", false, "eu-west-1/bedrock-mantle"},
		{"set by the operator", core.Node{Region: "eu-west-1", BaseURL: "http://10.0.0.1:81", Operator: true}, "http://10.0.0.1:81/v1/messages", true, "eu-west-1/bedrock-mantle"},
		{"another port of AWS's host is none of AWS's", core.Node{BaseURL: "https://bedrock-mantle.eu-west-1.api.aws:8443"}, "https://bedrock-mantle.eu-west-1.api.aws:8443/anthropic/v1/messages", false, "eu-west-1/bedrock-mantle"},
		{"nor is it without TLS", core.Node{BaseURL: "http://bedrock-mantle.eu-west-1.api.aws"}, "http://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages", false, "eu-west-1/bedrock-mantle"},
		{"a host that looks like AWS's", core.Node{Region: "eu-west-1", BaseURL: "https://bedrock-runtime.us-east-1.amazonaws.com.evil.example"}, "https://bedrock-runtime.us-east-1.amazonaws.com.evil.example/v1/messages", false, "eu-west-1/bedrock-mantle"},
		{"another service of AWS's", core.Node{Region: "eu-west-1", BaseURL: "https://x.s3.us-east-1.amazonaws.com"}, "https://x.s3.us-east-1.amazonaws.com/v1/messages", false, "eu-west-1/bedrock-mantle"},
	} {
		guarded, operator := &capture{}, &capture{}
		cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Guarded: guarded, Operator: operator}, Region: "eu-central-1"}) // the machine's, which is none of theirs
		r := request("{}")
		r.Model = "m.x"
		send(t, cl, target(keysJSON, c.node), r)
		used, other := guarded.got, operator.got
		if c.own {
			used, other = other, used
		}
		if len(used) != 1 || len(other) != 0 {
			t.Errorf("%s: %d and %d requests", c.why, len(used), len(other))
			continue
		}
		s, _, _, err := readStamp(used[0].Header)
		if got := used[0].URL.String(); got != c.url || used[0].Host != used[0].URL.Host || err != nil || s.region+"/"+s.service != c.name {
			t.Errorf("%s: got %s, %+v, %v", c.why, got, s, err)
		}
	}
}

func TestSend_APIKeys(t *testing.T) {
	for _, c := range []struct {
		why         string
		node        core.Node
		key, bearer bool
	}{
		{"mantle", core.Node{Region: "us-east-1"}, true, false},
		{"platform", core.Node{BaseURL: "https://aws-external-anthropic.us-west-2.api.aws"}, true, false},
		{"runtime", core.Node{API: "converse", Region: "us-east-1"}, false, true},
		{"runtime, native", core.Node{BaseURL: "https://bedrock-runtime.us-east-1.amazonaws.com/anthropic"}, false, true},
		{"relays differ", core.Node{BaseURL: "https://relay.example"}, true, true},
	} {
		rt := &capture{}
		cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Guarded: rt, Operator: rt}})
		r := request("{}")
		r.Header["Authorization"], r.Header["X-Api-Key"] = []string{"Bearer theirs"}, []string{"theirs"}
		send(t, cl, target(apiKey, c.node), r)
		h := rt.got[0].Header
		want := func(on bool, v string) string {
			if on {
				return v
			}
			return ""
		}
		if h.Get("X-Api-Key") != want(c.key, apiKey) || h.Get("Authorization") != want(c.bearer, "Bearer "+apiKey) || h.Get("X-Amz-Date") != "" {
			t.Errorf("%s: got %v", c.why, h)
		}
	}
}

func TestSend_Hostile(t *testing.T) {
	for _, c := range []struct {
		why, model string
		node       core.Node
		class      upstream.Class
	}{
		{"region with a host", "m.x", core.Node{Region: "evil.example/#"}, upstream.Connection},
		{"region with a port", "m.x", core.Node{Region: "us-east-1:81"}, upstream.Connection},
		{"region with a user", "m.x", core.Node{Region: "x@evil-a-1"}, upstream.Connection},
		{"region in capitals", "m.x", core.Node{Region: "US-EAST-1"}, upstream.Connection},
		{"region beside a base URL, for it is signed", "m.x", core.Node{Region: "a/b", BaseURL: "https://relay.example"}, upstream.Connection},
		{"no region", "m.x", core.Node{}, upstream.Connection},
		{"no region to sign for", "m.x", core.Node{BaseURL: "https://relay.example"}, upstream.Connection},
		{"base URL of a file", "m.x", core.Node{Region: "us-east-1", BaseURL: "file:///etc/passwd"}, upstream.Connection},
		{"base URL without a host", "m.x", core.Node{Region: "us-east-1", BaseURL: "https:///x"}, upstream.Connection},
		{"base URL that is none", "m.x", core.Node{Region: "us-east-1", BaseURL: "::"}, upstream.Connection},
		{"control plane", "m.x", core.Node{API: "invoke", BaseURL: "https://bedrock.us-east-1.amazonaws.com"}, upstream.Connection},
		{"mantle invokes nothing", "m.x", core.Node{API: "invoke", BaseURL: "https://bedrock-mantle.us-east-1.api.aws"}, upstream.Connection},
		{"API", "m.x", core.Node{Region: "us-east-1", API: "q"}, upstream.Connection},
		{"id that leaves its segment", "../../guardrail", core.Node{Region: "us-east-1", API: "invoke"}, upstream.NotOffered},
		{"id within another", "m.x/../../y", core.Node{Region: "us-east-1", API: "invoke"}, upstream.NotOffered},
		{"ARN that climbs", "arn:aws:bedrock:x/../../y", core.Node{Region: "us-east-1", API: "invoke"}, upstream.NotOffered},
		{"id with a query", "m.x?a=b", core.Node{Region: "us-east-1", API: "invoke"}, upstream.NotOffered},
		{"id with a line", "m.x\r\nHost: y", core.Node{Region: "us-east-1", API: "converse"}, upstream.NotOffered},
		{"escaped id", "m.x%2f..", core.Node{Region: "us-east-1", API: "converse"}, upstream.NotOffered},
		{"no id", "", core.Node{Region: "us-east-1", API: "converse"}, upstream.NotOffered},
		{"id of a huge length", strings.Repeat("m", 3000), core.Node{Region: "us-east-1", API: "converse"}, upstream.NotOffered},
	} {
		rt := &capture{}
		cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Guarded: rt, Operator: rt}})
		body := &closing{Reader: strings.NewReader("{}")}
		f := failing(t, cl, target(keysJSON, c.node), &upstream.Request{Method: "POST", Path: "/v1/messages", Body: body, Length: 2, Model: c.model})
		if f.Class != c.class || f.Reason == "" || len(rt.got) != 0 || !body.closed.Load() {
			t.Errorf("%s: got %+v, %d requests, closed %v", c.why, f, len(rt.got), body.closed.Load())
		}
		for _, part := range []string{"evil", c.model, keyID} {
			if len(part) > 3 && strings.Contains(f.Reason, part) {
				t.Errorf("%s: the reason repeats what was entered: %s", c.why, f.Reason)
			}
		}
	}
}

// TestSend_Guard: an address that a tenant entered is judged when it is dialled.
func TestSend_Guard(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock-mantle", clk)
	cl := bedrock.New(bedrock.Options{Transports: real(t, false), Now: clk.now})
	n := core.Node{Region: "eu-west-1", BaseURL: d.url + "/anthropic"}
	f := failing(t, cl, target(keysJSON, n), request("{}"))
	if f.Class != upstream.Connection || len(d.seen()) != 0 {
		t.Errorf("got %+v", f)
	}
	n.Operator = true
	if status, _ := send(t, cl, target(keysJSON, n), request("{}")); status != 200 {
		t.Errorf("the operator's own address: status %d", status)
	}
}

func TestSend_RedirectAndRequestID(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock-mantle", clk)
	d.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("X-Amzn-Requestid", "req-1")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	resp, err := cl.Send(t.Context(), target(keysJSON, core.Node{Region: "eu-west-1", BaseURL: d.url + "/anthropic"}), request("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f := cl.Classify(resp.StatusCode, resp.Header, nil)
	if resp.StatusCode != 307 || len(d.seen()) != 1 || f.Class != upstream.Server || upstream.RequestID(resp.Header) != "req-1" {
		t.Errorf("got %d, %d requests, %+v, %v", resp.StatusCode, len(d.seen()), f, resp.Header)
	}
}
