package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// oneTry keeps a node that fails from being asked twice within a request.
var oneTry = []string{"PROXY_RETRY_MAX", "1"}

const bedrockRole = `{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","role_arn":"arn:aws:iam::123456789012:role/tenant","external_id":"tenant-7"}`

// awsAnswer is an error as AWS's front door gives it, before any API has its say.
func awsAnswer(status int, shape, body string) upstreamtest.Behaviour {
	return upstreamtest.Raw(status, http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {shape}}, body)
}

// TestBedrockErrors: what clients act on comes in Anthropic's words and statuses on every route, and no word names the account.
func TestBedrockErrors(t *testing.T) {
	const denied = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5"
	for _, c := range []struct {
		why     string
		fault   upstreamtest.Behaviour
		status  map[string]int // by route; "": of all others
		typ     string
		says    string
		blamed  bool   // the node's state has the reason
		reason  string // of the attempt, for the operator
		retries string // retry-after
	}{
		{why: "D15: the prompt is too long", fault: upstreamtest.PromptTooLong(210000, 200000), status: map[string]int{"": 400}, typ: "invalid_request_error", says: "prompt is too long: 210000 tokens > 200000 maximum"},
		{why: "a limit", fault: upstreamtest.RateLimited(300 * time.Second), status: map[string]int{"": 429}, typ: "rate_limit_error", reason: "throttled", retries: "300"},
		{why: "no capacity", fault: upstreamtest.Overloaded(), status: map[string]int{"": 529}, typ: "overloaded_error", blamed: true, reason: "overloaded"},
		{why: "the model took too long", fault: upstreamtest.ModelTimeout(), status: map[string]int{"": 504}, typ: "timeout_error", blamed: true, reason: "took too long"},
		{why: "an internal error", fault: upstreamtest.Status(500, ""), status: map[string]int{"": 500}, typ: "api_error", blamed: true, reason: "the service failed"},
		{why: "no access to the model", fault: upstreamtest.ModelAccessDenied(), status: map[string]int{"": 403}, typ: "permission_error", says: "access", reason: "request it on the model access page"},
		{why: "an error that names the account", fault: awsAnswer(403, "AccessDeniedException", `{"Message":"`+denied+`"}`), status: map[string]int{"": 403}, typ: "permission_error", reason: "allow it in the IAM policy"},
		{why: "one of the Messages API that does", fault: awsAnswer(403, "", `{"type":"error","error":{"type":"permission_error","message":"`+denied+`"}}`), status: map[string]int{"": 403}, typ: "permission_error", reason: "allow it in the IAM policy"},
		{why: "no JSON", fault: upstreamtest.HTMLError(502), status: map[string]int{"": 502}, typ: "api_error", blamed: true},
	} {
		for i := range bedrockRoutes {
			br := &bedrockRoutes[i]
			for _, stream := range []bool{true, false} {
				t.Run(br.name+"/"+c.why, func(t *testing.T) {
					r := newBedrockRig(t, nil, oneTry...)
					id := r.bedrock("b", br.api, br.edit)
					r.up.Default(c.fault)
					got := r.post(bedrockAsk(bedrockModel, bedrockRest, stream))
					want, ok := c.status[br.name]
					if !ok {
						want = c.status[""]
					}
					if got.status != want || c.typ != "" && !strings.Contains(got.body, `"type":"`+c.typ+`"`) || !strings.Contains(got.body, c.says) {
						t.Errorf("status %d, want %d %s %q: %s", got.status, want, c.typ, c.says, got.body)
					}
					if strings.Contains(got.body, "123456789012") || strings.Contains(got.body, "arn:") {
						t.Errorf("the account is named: %s", got.body)
					}
					if ct := got.header.Get("Content-Type"); ct != "application/json" {
						t.Errorf("content type %q", ct)
					}
					for name := range got.header {
						if strings.HasPrefix(name, "X-Amz") {
							t.Errorf("the client got %s", name)
						}
					}
					if ra := got.header.Get("Retry-After"); ra != c.retries {
						t.Errorf("retry-after %q, want %q", ra, c.retries)
					}
					rec, state := r.record(), r.state(id)
					if len(rec.Tries) != 1 && want != 400 || len(rec.Tries) == 1 && !strings.Contains(rec.Tries[0].Reason, c.reason) {
						t.Errorf("the operator reads %+v, want %q", rec.Tries, c.reason)
					}
					if blamed := state.FailStreak > 0; blamed != c.blamed && c.typ != "" || blamed && !strings.Contains(state.LastError, c.reason) {
						t.Errorf("blamed %v for %q, want %v for %q", blamed, state.LastError, c.blamed, c.reason)
					}
					if cooled := len(state.Cooling) > 0; cooled != (c.retries != "") {
						t.Errorf("cooling %v", state.Cooling)
					}
				})
			}
		}
	}
}

// TestBedrockCredentials: whose fault a refusal is, and what is done about it.
func TestBedrockCredentials(t *testing.T) {
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		t.Run(br.name, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			id := r.bedrock("b", br.api, br.edit)
			ask := func() reply { return r.post(bedrockAsk(bedrockModel, bedrockRest, true)) }
			wantStream(t, ask(), "Hello there!")

			r.up.SetClock(func() time.Time { return time.Now().Add(time.Hour) }) // our clock is slow: signed anew once
			before := len(r.up.Calls())
			wantStream(t, ask(), "Hello there!")
			if n := len(r.up.Calls()) - before; n != 2 {
				t.Errorf("clock: %d calls, want 2", n)
			}
			wantStream(t, ask(), "Hello there!")
			if n := len(r.up.Calls()) - before; n != 3 {
				t.Errorf("clock, afterwards: %d calls, want 3", n)
			}

			r.editNode(id, r.credential(strings.Replace(bedrockKeys, "wJalr", "XJalr", 1)))
			wantError(t, ask(), 502, "api_error", "Your key is not at fault")
			if s := r.state(id); !strings.Contains(s.LastError, "the secret access key is wrong") {
				t.Errorf("a wrong secret: the operator reads %q", s.LastError)
			}
			r.editNode(id, r.credential(strings.Replace(bedrockKeys, "AKIAIOS", "AKIAXXX", 1)))
			wantError(t, ask(), 502, "api_error", "Your key is not at fault")
			if s := r.state(id); !strings.Contains(s.LastError, "the access key or session token is not known") {
				t.Errorf("an unknown key: the operator reads %q", s.LastError)
			}
		})
	}
}

// TestBedrockRole: the temporary keys of a role are fetched anew, once, when the service says that they expired.
func TestBedrockRole(t *testing.T) {
	r := newBedrockRig(t, nil, oneTry...)
	r.up.SetRoles(upstreamtest.BedrockRole{ARN: "arn:aws:iam::123456789012:role/tenant", ExternalID: "tenant-7"})
	r.bedrock("b", "invoke", r.credential(bedrockRole))
	assumed := func() (n int) {
		for _, c := range r.up.Calls() {
			if c.Operation == "AssumeRole" {
				n++
			}
		}
		return n
	}
	for range 3 {
		wantStream(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), "Hello there!")
	}
	if n := assumed(); n != 1 {
		t.Fatalf("the role was assumed %d times for three requests", n)
	}
	r.up.Expire(r.sawLast().AccessKeyID)
	wantStream(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), "Hello there!")
	if n := assumed(); n != 2 {
		t.Errorf("the role was assumed %d times, want once more", n)
	}
	if rec := r.records(); len(rec) != 4 || rec[3].Attempts != 1 || len(rec[3].Tries) != 0 {
		t.Errorf("the request that met expired keys: %+v", rec[3])
	}
}

// TestBedrockRegion: a region that is none, one that has not the model, and one without a node's host.
func TestBedrockRegion(t *testing.T) {
	inRegion := func(region string) func(*core.Node) { return func(n *core.Node) { n.Region = region } }
	for _, c := range []struct {
		why, api, region, model string
		status                  int
		says, reason            string
	}{
		{"a profile of another region", "invoke", "eu-west-1", "us.anthropic.claude-opus-5-5", 404, "does not know this model", "check the node's region and the id"},
		{"a model that mantle has not", "", "eu-west-1", "anthropic.claude-opus-9-9", 404, "does not exist", "check the node's region and the id"},
		{"by profile only", "invoke", "us-east-1", "anthropic.claude-opus-5-5", 404, "inference profile", "served by inference profile only"},
		{"a host that there is not", "", "sa-east-1", bedrockModel, 502, "host name not found", "host name not found"},
		{"no region's name", "", "Frankfurt", bedrockModel, 502, "", "not the name of a region"},
		{"none", "", "", bedrockModel, 502, "", "has no region"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			r.bedrock("b", c.api, inRegion(c.region))
			got := r.post(bedrockAsk(c.model, bedrockRest, true))
			if got.status != c.status || !strings.Contains(got.body, c.says) {
				t.Errorf("status %d, want %d %q: %s", got.status, c.status, c.says, got.body)
			}
			if rec := r.record(); len(rec.Tries) != 1 || !strings.Contains(rec.Tries[0].Reason, c.reason) {
				t.Errorf("the operator reads %+v, want %q", rec.Tries, c.reason)
			}
		})
	}
}

// TestBedrockFailover: what comes before content is hidden from the client by another node, what comes within is told.
func TestBedrockFailover(t *testing.T) {
	reply := upstreamtest.Reply(upstreamtest.Text("Hel", "lo"))
	for _, c := range []struct {
		why     string
		fault   upstreamtest.Behaviour
		content bool // content was sent before
		typ     string
	}{
		{"throttled before the stream", upstreamtest.RateLimited(300 * time.Second), false, ""},
		{"no access", upstreamtest.ModelAccessDenied(), false, ""},
		{"throttled in place of content", reply.ErrorAt(upstreamtest.AfterStart, "throttlingException", ""), false, ""},
		{"no capacity in place of content", reply.ErrorAt(upstreamtest.AfterStart, "serviceUnavailableException", ""), false, ""},
		{"an internal error in place of content", reply.ErrorAt(upstreamtest.AfterStart, "internalServerException", ""), false, ""},
		{"cut in place of content", reply.Cut(upstreamtest.AfterStart, upstreamtest.EndReset), false, ""},
		{"throttled within", reply.ErrorAt(upstreamtest.AfterDeltas(1), "throttlingException", ""), true, "rate_limit_error"},
		{"the model fails within", reply.ErrorAt(upstreamtest.AfterDeltas(1), "modelStreamErrorException", "The model stopped."), true, "api_error"},
		{"cut within", reply.Cut(upstreamtest.AfterDeltas(1), upstreamtest.EndClean), true, "api_error"},
	} {
		for _, api := range []string{"messages", "invoke", "converse"} {
			t.Run(api+"/"+c.why, func(t *testing.T) {
				r := newBedrockRig(t, nil, oneTry...)
				r.bedrock("first", api, weight(1))
				other := r.fakeNode("second", weight(2))
				other.Default(upstreamtest.Reply(upstreamtest.Text("from the ", "other")))
				r.up.Default(c.fault)
				got := r.post(bedrockAsk(bedrockModel, bedrockRest, true))
				rec := r.record()
				if !c.content {
					wantStream(t, got, "from the other")
					if rec.Attempts != 2 || rec.NodeName != "second" || len(rec.Tries) != 2 || strings.Contains(got.body, "event: error") {
						t.Errorf("recorded %+v", rec)
					}
					return
				}
				es := parse(t, got.body)
				typ, message := lastError(t, es)
				if typ != c.typ || message == "" || text(es) != "Hel" || other.Count() != 0 {
					t.Errorf("error %q %q, text %q, the other node was asked %d times", typ, message, text(es), other.Count())
				}
				if rec.Success() || rec.Status != 200 || rec.Tokens.Output == 0 {
					t.Errorf("recorded %+v", rec)
				}
			})
		}
	}
}

// TestBedrockCooling: a limit cools the node for its model alone.
func TestBedrockCooling(t *testing.T) {
	r := newBedrockRig(t, nil, oneTry...)
	r.bedrock("first", "invoke", weight(1))
	r.bedrock("second", "", weight(2))
	r.up.Queue(upstreamtest.RateLimited(300 * time.Second))
	for range 2 {
		wantStream(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), "Hello there!")
	}
	wantStream(t, r.post(bedrockAsk("claude-haiku-5-5", bedrockRest, true)), "Hello there!")
	var order []string
	for _, c := range r.up.Calls() {
		order = append(order, c.Operation)
	}
	if got, want := strings.Join(order, " "), "InvokeModelWithResponseStream Messages Messages InvokeModelWithResponseStream"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// TestBedrockMemory: what is made of a body for a node is given back, also when that node fails.
func TestBedrockMemory(t *testing.T) {
	r := newBedrockRig(t, nil, append([]string{"MAX_BODY_MEMORY", "33554432", "MAX_BODY_BYTES", "4194304"}, oneTry...)...)
	r.bedrock("first", "invoke", weight(1))
	r.bedrock("second", "", weight(2))
	rest := strings.Replace(bedrockRest, "hi", strings.Repeat("prose ", 1<<20/6), 1)
	paths := []string{"/v1/messages", "/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions"}
	for i := range 60 {
		if i%3 == 0 {
			r.up.Queue(upstreamtest.Status(500, ""))
		}
		got := r.do("POST", paths[i%len(paths)], bedrockAsk(bedrockModel, rest, i%2 == 0), "Anthropic-Beta", "unknown-2020-01-01")
		if got.status != 200 && got.status != 500 {
			t.Fatalf("request %d: status %d: %s", i, got.status, tail(got.body))
		}
	}
}
