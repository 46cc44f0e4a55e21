package gateway_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

// wantAWSError checks an error in AWS's form in all its parts.
func wantAWSError(t testing.TB, got reply, status int, name, says string) {
	t.Helper()
	if got.status != status || got.header.Get("X-Amzn-Errortype") != name {
		t.Fatalf("status %d %s, want %d %s: %s", got.status, got.header.Get("X-Amzn-Errortype"), status, name, tail(got.body))
	}
	var body struct{ Message string }
	dec := json.NewDecoder(strings.NewReader(got.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil || !strings.Contains(body.Message, says) || body.Message == "" {
		t.Errorf("%v: %s, want %q", err, got.body, says)
	}
	if got.header.Get("X-Amzn-Requestid") == "" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", got.header)
	}
	for _, word := range leaks {
		if strings.Contains(body.Message, word) {
			t.Errorf("the message tells %q: %s", word, got.body)
		}
	}
}

// TestBedrockFront_Refused: who may not, what is none, and what there is not.
func TestBedrockFront_Refused(t *testing.T) {
	const good = "{" + frontVersion + "," + bedrockRest + "}"
	signed := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
	path := frontPath(frontID, "invoke-with-response-stream")
	for _, c := range []struct {
		why, method, path, body string
		headers                 []string
		status                  int
		name, says              string
	}{
		{"no key", "POST", path, good, []string{"X-Api-Key", ""}, 401, "UnrecognizedClientException", "No API key"},
		{"a wrong key", "POST", path, good, []string{"X-Api-Key", "", "Authorization", "Bearer wrong-key-of-nobody-00"}, 401, "UnrecognizedClientException", "key"},
		{"a wrong key in the other header", "POST", frontPath(frontID, "invoke"), good, []string{"X-Api-Key", "wrong-key-of-nobody-00"}, 401, "UnrecognizedClientException", "key"},
		{"a wrong key beside a signature", "POST", path, good, []string{"X-Api-Key", "wrong-key-of-nobody-00", "Authorization", signed}, 401, "UnrecognizedClientException", "key"},
		{"a list with a wrong key", "GET", "/bedrock/inference-profiles", "", []string{"X-Api-Key", "wrong-key-of-nobody-00"}, 401, "UnrecognizedClientException", "key"},
		{"signed: what to set", "POST", path, good, []string{"X-Api-Key", "", "Authorization", signed}, 403, "AccessDeniedException", "CLAUDE_CODE_SKIP_BEDROCK_AUTH=1"},
		{"signed in the query", "POST", path + "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", good, []string{"X-Api-Key", ""}, 403, "AccessDeniedException", "AWS_BEARER_TOKEN_BEDROCK"},
		{"a signed list", "GET", "/bedrock/inference-profiles", "", []string{"X-Api-Key", "", "Authorization", signed}, 403, "AccessDeniedException", "AWS credentials"},
		{"no JSON", "POST", path, `{"anthropic_version":`, nil, 400, "ValidationException", "not a JSON object"},
		{"no object", "POST", path, `[1]`, nil, 400, "ValidationException", "not a JSON object"},
		{"no body", "POST", path, ``, nil, 400, "ValidationException", "not a JSON object"},
		{"only the version", "POST", path, `{` + frontVersion + `}`, nil, 400, "ValidationException", "messages"},
		{"an empty object", "POST", path, `{}`, nil, 400, "ValidationException", "messages"},
		{"flags twice", "POST", path, `{"anthropic_beta":[],"anthropic_beta":[],` + bedrockRest + `}`, nil, 400, "ValidationException", "anthropic_beta: stands twice"},
		{"flags of another type", "POST", path, `{"anthropic_beta":"x",` + bedrockRest + `}`, nil, 400, "ValidationException", "must be a list of strings"},
		{"Converse", "POST", frontPath(frontID, "converse"), good, nil, 400, "ValidationException", "takes Converse of nodes, not of clients"},
		{"its stream", "POST", frontPath(frontID, "converse-stream"), good, nil, 400, "ValidationException", "InvokeModelWithResponseStream"},
		{"another operation", "POST", frontPath(frontID, "invent"), good, nil, 404, "ResourceNotFoundException", "No such operation"},
		{"no id", "POST", "/bedrock/model/invoke", good, nil, 404, "ResourceNotFoundException", "No such operation"},
		{"a path that leads elsewhere", "POST", "/bedrock/model/..%2f..%2fadmin/invoke", good, nil, 404, "ResourceNotFoundException", "No such operation"},
		{"another method", "GET", path, "", nil, 405, "UnknownOperationException", "use POST"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			r.bedrock("n", "invoke")
			got := r.do(c.method, c.path, c.body, c.headers...)
			wantAWSError(t, got, c.status, c.name, c.says)
			if again := got.header.Get("X-Should-Retry"); (c.status == 401 || c.status == 403) != (again == "false") {
				t.Errorf("x-should-retry %q", again)
			}
			if len(r.up.Calls()) > 0 {
				t.Error("a node was asked")
			}
			for _, rec := range r.records() {
				if rec.Status != c.status {
					t.Errorf("recorded status %d", rec.Status)
				}
			}
		})
	}
}

// TestBedrockFront_Keys: the gateway's key in each of the places where such clients put it, also beside a signature.
func TestBedrockFront_Keys(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("n", "invoke")
	r.up.Default(frontReply())
	for _, headers := range [][]string{
		{"X-Api-Key", proxyKey},
		{"X-Api-Key", "", "Authorization", "Bearer " + proxyKey},
		{"X-Api-Key", proxyKey, "Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00"},
	} {
		frontText(t, r.invokes(frontID, bedrockRest, true, headers...), true)
		if a := r.sawLast(); a.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" || strings.Contains(a.Header.Get("Authorization"), "Signature=00") || a.Header.Get("X-Api-Key") != "" {
			t.Errorf("the service got the header %v", a.Header)
		}
	}
	_, narrow := r.key(func(k *core.Key) { k.Models = []string{"claude-haiku-*"} })
	wantAWSError(t, r.invokes(frontID, bedrockRest, true, "X-Api-Key", narrow), 403, "AccessDeniedException", "may not use the model")
	for _, models := range [][]string{{"claude-opus-*"}, {"us.anthropic.*"}} {
		_, wide := r.key(func(k *core.Key) { k.Models = models })
		frontText(t, r.invokes(frontID, bedrockRest, true, "X-Api-Key", wide), true)
	}
}

// TestBedrockFront_Limits: the gateway's own limits hold here, too, and are told so that AWS's SDKs repeat what passes alone.
func TestBedrockFront_Limits(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("n", "invoke")
	r.up.Default(frontReply())
	_, few := r.key(limits(core.Limits{RPM: 1}))
	frontText(t, r.invokes(frontID, bedrockRest, true, "X-Api-Key", few), true)
	got := r.invokes(frontID, bedrockRest, true, "X-Api-Key", few)
	wantAWSError(t, got, 429, "ThrottlingException", "limit of 1 requests per minute")
	if got.header.Get("Retry-After") == "" {
		t.Error("no retry-after")
	}
	_, poor := r.key(limits(core.Limits{USDDay: 1}))
	_ = r.invokes(frontID, bedrockRest, true, "X-Api-Key", poor) // a budget of less than that is spent by it
	r.rest()
	got = r.invokes(frontID, bedrockRest, true, "X-Api-Key", poor)
	wantAWSError(t, got, 429, "ServiceQuotaExceededException", "budget")
	if got.header.Get("X-Should-Retry") != "false" {
		t.Error("a budget is retried")
	}
}

// TestBedrockFront_Errors: what a node answers in place of content comes in AWS's form, of whatever kind the node is.
func TestBedrockFront_Errors(t *testing.T) {
	for _, c := range []struct {
		why    string
		fault  upstreamtest.Behaviour
		status int
		name   string
		says   string
	}{
		{"the prompt is too long", upstreamtest.PromptTooLong(210000, 200000), 400, "ValidationException", "prompt is too long: 210000 tokens > 200000 maximum"},
		{"a limit", upstreamtest.RateLimited(0), 429, "ThrottlingException", ""},
		{"no capacity", upstreamtest.Overloaded(), 503, "ServiceUnavailableException", ""},
		{"an internal error", upstreamtest.Status(500, ""), 500, "InternalServerException", ""},
	} {
		for _, kind := range []string{"invoke", "messages", "converse", "anthropic"} {
			for _, stream := range []bool{true, false} {
				t.Run(c.why+"/"+kind, func(t *testing.T) {
					r := newBedrockRig(t, nil, oneTry...)
					if r.up.Default(c.fault); kind == "anthropic" {
						r.fakeNode("n").Default(c.fault)
					} else {
						r.bedrock("n", kind)
					}
					got := r.invokes(frontID, bedrockRest, stream)
					wantAWSError(t, got, c.status, c.name, c.says)
					if rec := r.record(); rec.Status != c.status || rec.ErrorCode == "" {
						t.Errorf("recorded %+v", rec)
					}
				})
			}
		}
	}
}

// TestBedrockFront_Own: an error of the service's own keeps its name, not the account in its words.
func TestBedrockFront_Own(t *testing.T) {
	r := newBedrockRig(t, nil, oneTry...)
	r.bedrock("n", "invoke")
	r.up.Default(awsAnswer(424, "ModelErrorException:http://internal.amazon.com/coral/", `{"message":"arn:aws:bedrock:us-east-1:123456789012:inference-profile/x failed"}`))
	got := r.invokes(frontID, bedrockRest, true)
	wantAWSError(t, got, 424, "ModelErrorException", "")
	if strings.Contains(got.body, "123456789012") {
		t.Errorf("the account is named: %s", got.body)
	}
}

// TestBedrockFront_Exceptions: what fails within a stream ends it with an exception of the service's union.
func TestBedrockFront_Exceptions(t *testing.T) {
	for _, c := range []struct{ typ, want string }{
		{"overloaded_error", "serviceUnavailableException"}, {"rate_limit_error", "throttlingException"}, {"api_error", "internalServerException"},
		{"invalid_request_error", "validationException"}, {"timeout_error", "modelTimeoutException"},
	} {
		for _, kind := range []string{"invoke", "messages", "converse", "anthropic"} {
			t.Run(c.typ+"/"+kind, func(t *testing.T) {
				r := newBedrockRig(t, nil, oneTry...)
				fault := upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).ErrorAt(upstreamtest.AfterDeltas(1), c.typ, "it broke")
				if r.up.Default(fault); kind == "anthropic" {
					r.fakeNode("n").Default(fault)
				} else {
					r.bedrock("n", kind)
				}
				got := r.invokes(frontID, bedrockRest, true)
				es, exception, message := unpacked(t, got.body)
				if text(es) != "Hel" || exception != c.want || message == "" {
					t.Errorf("text %q, exception %q %q", text(es), exception, message)
				}
				if rec := r.record(); rec.Success() || rec.Status != 200 || !strings.HasPrefix(rec.ErrorCode, "upstream_") {
					t.Errorf("recorded %+v", rec)
				}
			})
		}
	}
}

// profile is one of ListInferenceProfiles.
type profile struct {
	InferenceProfileID, InferenceProfileName, InferenceProfileArn, Status, Type, CreatedAt string
	Models                                                                                 []struct{ ModelArn string }
}

// TestBedrockFront_Lists: the lists of the control plane are those of GET /v1/models, by ids that work here.
func TestBedrockFront_Lists(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("b", "invoke")
	r.fakeNode("a", func(n *core.Node) { n.Models = []string{"claude-opus-4-6", "team-model"} })
	var list struct {
		InferenceProfileSummaries []profile
		NextToken                 *string
	}
	get := func(path string, out any) reply {
		t.Helper()
		got := r.do("GET", path, "")
		if err := json.Unmarshal([]byte(got.body), out); err != nil || got.status != 200 {
			t.Fatalf("status %d, %v: %s", got.status, err, got.body)
		}
		return got
	}
	get("/bedrock/inference-profiles?type=SYSTEM_DEFINED", &list)
	ids := map[string]profile{}
	for _, p := range list.InferenceProfileSummaries {
		ids[p.InferenceProfileID] = p
		if p.Status != "ACTIVE" || p.Type != "SYSTEM_DEFINED" || len(p.Models) != 1 || p.CreatedAt == "" || p.InferenceProfileName == "" {
			t.Errorf("listed %+v", p)
		}
	}
	if len(ids) != len(list.InferenceProfileSummaries) || list.NextToken != nil {
		t.Errorf("%d profiles, %d ids, then %v", len(list.InferenceProfileSummaries), len(ids), list.NextToken)
	}
	for _, id := range []string{frontID, "global.anthropic.claude-opus-5-5", "us.amazon.nova-pro-v1:0", "global.anthropic.claude-opus-4-6-v1"} {
		if _, ok := ids[id]; !ok {
			t.Errorf("no %s", id)
		}
	}
	for id := range ids {
		if strings.Contains(id, "team-model") || strings.HasPrefix(id, "anthropic.") {
			t.Errorf("%s is listed", id)
		}
	}
	// page by page, and an id by itself, by its ARN as listed, which is good for requests, too
	var walked []string
	for token := ""; ; {
		list.InferenceProfileSummaries, list.NextToken = nil, nil
		get("/bedrock/inference-profiles?maxResults=3&nextToken="+token, &list)
		for _, p := range list.InferenceProfileSummaries {
			walked = append(walked, p.InferenceProfileID)
		}
		if list.NextToken == nil {
			break
		}
		token = *list.NextToken
	}
	if len(walked) != len(ids) {
		t.Errorf("pages have %d of %d", len(walked), len(ids))
	}
	var one profile
	get("/bedrock/inference-profiles/"+url.PathEscape(ids[frontID].InferenceProfileArn), &one)
	if one.InferenceProfileID != frontID {
		t.Errorf("got %+v", one)
	}
	r.up.Default(frontReply())
	frontText(t, r.invokes(one.InferenceProfileArn, bedrockRest, true), true)
	var models struct {
		ModelSummaries []struct{ ModelID, ModelName, ProviderName string }
	}
	get("/bedrock/foundation-models?byProvider=Anthropic", &models)
	if len(models.ModelSummaries) == 0 {
		t.Error("no models")
	}
	for _, m := range models.ModelSummaries {
		if !strings.HasPrefix(m.ModelID, "anthropic.") || m.ProviderName != "anthropic" {
			t.Errorf("listed %+v", m)
		}
	}
	list.InferenceProfileSummaries = nil
	if get("/bedrock/inference-profiles?type=APPLICATION", &list); len(list.InferenceProfileSummaries) > 0 {
		t.Error("application profiles are listed")
	}
	wantAWSError(t, r.do("GET", "/bedrock/inference-profiles/us.anthropic.none", ""), 404, "ResourceNotFoundException", "us.anthropic.none")
	wantAWSError(t, r.do("GET", "/bedrock/inference-profiles?maxResults=x", ""), 400, "ValidationException", "maxResults")
	wantAWSError(t, r.do("GET", "/bedrock/inference-profiles?nextToken=-1", ""), 400, "ValidationException", "nextToken")
	_, narrow := r.key(func(k *core.Key) { k.Models = []string{"claude-opus-5-5"} })
	got := r.do("GET", "/bedrock/inference-profiles", "", "X-Api-Key", narrow)
	if !strings.Contains(got.body, frontID) || strings.Contains(got.body, "nova") {
		t.Errorf("a key for one model reads %s", got.body)
	}
}

// TestBedrockFront_Handles: the whole prefix is the gateway's, and nothing that only looks like it; a process without it refuses
// in AWS's form.
func TestBedrockFront_Handles(t *testing.T) {
	for path, want := range map[string]bool{"/bedrock": true, "/bedrock/": true, "/bedrock/model/x/invoke": true, "/bedrock/inference-profiles": true,
		"/bedrocks/model": false, "/admin/bedrock": false, "/model/x/invoke": false} {
		if got := gateway.Handles(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	for path, aws := range map[string]bool{"/bedrock/model/x/invoke": true, "/bedrock/v1/messages": false, "/bedrock/v1/responses": false} {
		w := httptest.NewRecorder()
		gateway.WriteError(w, httptest.NewRequest("POST", path, nil), core.E(core.CodeOverloaded, "Full."))
		if told := w.Header().Get("X-Amzn-Errortype") == "ServiceUnavailableException" && w.Code == 503; told != aws {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
