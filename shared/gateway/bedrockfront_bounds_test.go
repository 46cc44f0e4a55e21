package gateway_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/store"
	"sluice/shared/upstream/upstreamtest"
)

// TestBedrockFront_Estimates: what a request is going to use is reserved on these routes as on all others; to count costs nothing.
func TestBedrockFront_Estimates(t *testing.T) {
	const rest = `"max_tokens":4000,"messages":[{"role":"user","content":"hi"}]`
	whole := `{` + frontVersion + `,` + rest + `}`
	tpm, usd := core.Limits{TPM: 100}, core.Limits{USDDay: 50}
	for _, c := range []struct {
		why          string
		own, account core.Limits
		node         core.Limits
		status       int
		name, says   string
	}{
		{"the key's tokens", tpm, core.Limits{}, core.Limits{}, 400, "ValidationException", "can never fit"},
		{"the account's tokens", core.Limits{}, tpm, core.Limits{}, 400, "ValidationException", "can never fit"},
		{"the node's tokens", core.Limits{}, core.Limits{}, tpm, 400, "ValidationException", "can never fit"},
		{"the key's money", usd, core.Limits{}, core.Limits{}, 429, "ServiceQuotaExceededException", "budget"},
		{"the account's money", core.Limits{}, usd, core.Limits{}, 429, "ServiceQuotaExceededException", "budget"},
		{"the node's money", core.Limits{}, core.Limits{}, usd, 429, "ThrottlingException", "have reached their limits"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			r.bedrock("n", "invoke", nodeLimits(c.node))
			r.up.Default(frontReply())
			r.editAccount(func(a *core.Account) { a.Limits = c.account })
			_, key := r.key(limits(c.own))
			for _, stream := range []bool{true, false} {
				wantAWSError(t, r.invokes(frontID, rest, stream, "X-Api-Key", key), c.status, c.name, c.says)
			}
			native := r.do("POST", "/bedrock/v1/messages", `{"model":"`+frontID+`",`+rest+`}`, "X-Api-Key", key)
			plain := r.do("POST", "/v1/messages", `{"model":"`+frontID+`",`+rest+`}`, "X-Api-Key", key)
			if native.status != c.status || plain.status != c.status {
				t.Errorf("status %d below the prefix and %d without it, want %d", native.status, plain.status, c.status)
			}
			if len(r.up.Calls()) > 0 {
				t.Error("a node was asked")
			}
			counts := `{"input":{"invokeModel":{"body":"` + base64.StdEncoding.EncodeToString([]byte(whole)) + `"}}}`
			got := r.do("POST", frontPath("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "count-tokens"), counts, "X-Api-Key", key)
			if got.status != 200 {
				t.Errorf("counting: status %d: %s", got.status, got.body)
			}
		})
	}
}

// TestBedrockFront_EstimatesByTheName: the price is that of the model which the node will be asked for.
func TestBedrockFront_EstimatesByTheName(t *testing.T) {
	const haiku, opus = "us.anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic.claude-opus-4-5-20251101-v1:0"
	only := func(model string) func(*core.Node) { return func(n *core.Node) { n.Models = []string{model} } }
	dearer := map[string]string{"claude-haiku-*": "claude-opus-4-5"}
	for _, c := range []struct {
		why, id string
		account map[string]string
		node    func(*core.Node)
		keys    []string
		usd     int64 // the least that is enough: 22 tokens of input or a few more, 100 of output
	}{
		{"a node that lists Anthropic's name alone", opus, nil, only("claude-opus-4-5-20251101"), nil, 2500},
		{"a cheap one", haiku, nil, only("claude-haiku-4-5-20251001"), nil, 500},
		{"the account maps to a dearer one", haiku, dearer, weight(1), nil, 2500},
		{"the node does", haiku, nil, modelMap(dearer), nil, 2500},
		{"a key for Anthropic's name", opus, nil, weight(1), []string{"claude-opus-*"}, 2500},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			r.editAccount(func(a *core.Account) { a.ModelMap = c.account })
			r.fakeNode("n", c.node).Default(frontReply())
			ask := func(usd int64) int {
				_, key := r.key(limits(core.Limits{USDDay: usd}), func(k *core.Key) { k.Models = c.keys })
				return r.invokes(c.id, bedrockRest, true, "X-Api-Key", key).status
			}
			if short, enough := ask(c.usd), ask(c.usd*5/4); short != 429 || enough != 200 {
				t.Errorf("status %d with %d micro-USD, and %d with a quarter more", short, c.usd, enough)
			}
		})
	}
}

// TestBedrockFront_Twice: a member of the envelope stands once. It would otherwise make an edit each time, which take more memory
// than the body that has them.
func TestBedrockFront_Twice(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("n", "invoke")
	many := strings.Repeat(`"model":1,"":1,`, 1000)
	for _, c := range []struct{ why, members, name string }{
		{"the version", frontVersion + `,"x":1,` + frontVersion, "anthropic_version"},
		{"its flags, side by side", `"anthropic_beta":[],"anthropic_beta":[]`, "anthropic_beta"},
		{"the model, which the path names", `"model":"a","x":1,"model":"a"`, "model"},
		{"the stream", `"stream":true,"x":{},"stream":true`, "stream"},
		{"under an escaped name", `"model":1,"x":1,"mod\u0065l":1`, "model"},
		{"many times", many + `"x":1`, "model"},
	} {
		for _, op := range []string{"invoke", "invoke-with-response-stream"} {
			wantAWSError(t, r.do("POST", frontPath(frontID, op), `{`+c.members+`,`+bedrockRest+`}`), 400, "ValidationException", c.name+": stands twice")
		}
	}
	inner := base64.StdEncoding.EncodeToString([]byte(`{"temperature":1,"":1,"temperature":1,` + bedrockRest + `}`))
	wantAWSError(t, r.do("POST", frontPath(frontID, "count-tokens"), `{"input":{"invokeModel":{"body":"`+inner+`"}}}`), 400, "ValidationException", "temperature: stands twice")
	wantError(t, r.do("POST", "/bedrock/v1/messages", `{"anthropic_version":"a","model":"x","anthropic_version":"a",`+bedrockRest+`}`), 400, "invalid_request_error", "anthropic_version: stands twice")
	long := `"anthropic_beta":["` + strings.Repeat("a", 2000) + `"],`
	wantAWSError(t, r.invokes(frontID, long+bedrockRest, true), 400, "ValidationException", "anthropic_beta")
	if len(r.up.Calls()) > 0 {
		t.Error("a node was asked")
	}
}

// TestBedrockFront_Recorded: of an id that can be none nothing is kept, whatever the body is.
func TestBedrockFront_Recorded(t *testing.T) {
	for _, c := range []struct{ why, id, body string }{
		{"long, with a bad body", strings.Repeat("x", 200_000), `{`},
		{"long", strings.Repeat("x", 257), frontBody},
		{"what no store takes", "a%00b", frontBody},
		{"no UTF-8", "a%ffb", `{`},
		{"a line end", "a%0ab", frontBody},
	} {
		t.Run(c.why, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
			q := httptest.NewRequest(http.MethodPost, "/bedrock/model/"+c.id+"/invoke", strings.NewReader(c.body))
			q.Header.Set("X-Api-Key", proxyKey)
			w := newClient(t)
			b.handler.ServeHTTP(w, q)
			wantAWSError(t, w.reply(), 400, "ValidationException", "modelId")
			if rec := b.record(); rec.Model != "" || rec.Status != 400 || len(b.up.sent) > 0 {
				t.Errorf("recorded a name of %d bytes, status %d", len(rec.Model), rec.Status)
			}
		})
	}
}

// TestBedrockFront_EditedMeanwhile: an edit between the admission of the key and that of the node keeps what the request's id says
// of the nodes that may serve it, and by which name.
func TestBedrockFront_EditedMeanwhile(t *testing.T) {
	guarded := []string{"X-Amzn-Bedrock-GuardrailIdentifier", "gr-1"}
	mantle := func(n *core.Node) { n.Kind, n.API, n.Region = core.KindBedrock, "", "us-east-1" }
	for _, c := range []struct {
		why, id string
		node    func(*core.Node)
		edit    func(*core.Node)
		account map[string]string // its map, from then on
		headers []string
		status  int
		says    string // to the node, or to the client
	}{
		{"another map of the account's: the request is routed already", "global.anthropic.claude-x", weight(1), func(n *core.Node) { n.Limits.RPM = 7 }, map[string]string{"claude-x": "claude-z"}, nil, 200, `"model":"claude-x"`},
		{"another limit: by its own name", "global.anthropic.claude-x", weight(1), func(n *core.Node) { n.Limits.RPM = 7 }, nil, nil, 200, `"model":"claude-x"`},
		{"another map", "global.anthropic.claude-x", weight(1), modelMap(map[string]string{"claude-x": "claude-y"}), nil, nil, 200, `"model":"claude-y"`},
		{"it lists other models now", "global.anthropic.claude-x", weight(1), func(n *core.Node) { n.Models = []string{"claude-z"} }, nil, nil, 404, "no node"},
		{"another region", "us.anthropic.claude-x", mantle, func(n *core.Node) { n.Region = "eu-west-1" }, nil, nil, 404, "in the regions of its profile"},
		{"an API without guardrails", "us.anthropic.claude-x", bedrockNode("invoke"), func(n *core.Node) { n.API = "converse" }, nil, guarded, 400, "Guardrails need a node"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := frontBubble(t, gateway.Settings{RetryMax: 1})
			b.node("1", "a", 1, c.node, nodeLimits(core.Limits{RPM: 5}))
			b.up.queue(streaming(step{data: whole}))
			trips, edited := &spy{Store: b.store}, false
			trips.beforeAdmit = func(r *store.AdmitRequest) {
				if r.Subjects[0].Kind == store.KindNode && !edited {
					edited = true
					if c.account != nil {
						if _, err := b.tables.Accounts.Update(t.Context(), core.DefaultAccount, func(a *core.Account) error { a.ModelMap = c.account; return nil }); err != nil {
							t.Error(err)
						}
					}
					b.editNode(t, c.edit)
				}
			}
			b.o.Admission = trips
			b.count(nil)
			q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, frontPath(c.id, "invoke-with-response-stream"), strings.NewReader(frontBody))
			q.Header.Set("X-Api-Key", proxyKey)
			for i := 0; i < len(c.headers); i += 2 {
				q.Header.Set(c.headers[i], c.headers[i+1])
			}
			w := newClient(t)
			b.handler.ServeHTTP(w, q)
			told := w.text()
			if len(b.up.sent) > 0 {
				told = b.up.sent[0].body
			}
			if !edited || w.status != c.status || !strings.Contains(told, c.says) || (len(b.up.sent) > 0) != (c.status == 200) {
				t.Errorf("%s: edited %v, status %d, sent %+v: %s", c.why, edited, w.status, b.up.sent, w.text())
			}
		})
	}
}

// TestBedrockFront_Misnamed: a name that no model of Bedrock's can have is the client's fault, which no node is blamed or noted
// for; one that a map made is the operator's.
func TestBedrockFront_Misnamed(t *testing.T) {
	const mapped = "claude-mapped"
	for _, c := range []struct {
		why, id string
		status  int
		noted   bool
	}{
		{"a space", "a b", 400, false},
		{"a space in Anthropic's name, in another spelling", "claude-opus 4.5", 400, false},
		{"a path", "a/b/c", 400, false},
		{"the operator's map", mapped, 502, true},
	} {
		for _, api := range []string{"invoke", "converse"} {
			t.Run(c.why+"/"+api, func(t *testing.T) {
				r := newBedrockRig(t, nil, oneTry...)
				id := r.bedrock("n", api, modelMap(map[string]string{mapped: "no id"}))
				for _, stream := range []bool{true, false} {
					got := r.invokes(c.id, bedrockRest, stream)
					if c.status == 400 {
						wantAWSError(t, got, 400, "ValidationException", "model: "+c.id+" is no id")
					} else {
						wantAWSError(t, got, 500, "InternalServerException", "")
					}
					got = r.post(bedrockAsk(c.id, bedrockRest, stream))
					if got.status != c.status {
						t.Errorf("/v1/messages: status %d: %s", got.status, got.body)
					}
				}
				r.rest()
				if s := r.state(id); (s.LastError != "") != c.noted || s.Failed || s.FailStreak > 0 {
					t.Errorf("state %+v", s)
				}
				if c.status == 400 { // other services have such names
					r.fakeOpenAI("o", "chat", func(n *core.Node) { n.Models, n.Weight = []string{c.id}, 2 }).Default(frontReply())
					frontText(t, r.invokes(c.id, bedrockRest, true), true)
				}
			})
		}
	}
	r := newBedrockRig(t, nil, oneTry...)
	id := r.bedrock("n", "invoke")
	wantError(t, r.post(bedrockAsk(`a\u0000b`, bedrockRest, true)), 400, "invalid_request_error", "is no id")
	if r.rest(); r.state(id).LastError != "" {
		t.Errorf("state %+v", r.state(id))
	}
}

// TestBedrockFront_Version: InvokeModel is told the version by which the client wrote its body, where its model knows it.
func TestBedrockFront_Version(t *testing.T) {
	const own, newer = "bedrock-2023-05-31", "2026-10-21"
	for _, c := range []struct{ why, id, version, header, want string }{
		{"a newer one, which Go's SDK names", frontID, newer, "", newer},
		{"Claude 4.7", "us.anthropic.claude-opus-4-7", newer, "", newer},
		{"a model up to Claude 4.6, which refuses it", "us.anthropic.claude-opus-4-6-v1", newer, "", own},
		{"an older one, with a date", "us.anthropic.claude-sonnet-4-20250514-v1:0", newer, "", own},
		{"3.7, which is no seventh", "us.anthropic.claude-3-7-sonnet-20250219-v1:0", newer, "", own},
		{"of before the lines' names", "anthropic.claude-3-haiku-20240307-v1:0", newer, "", own},
		{"a profile that does not tell its model", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/opus55app001", newer, "", own},
		{"a newer one with Bedrock's name before it", frontID, "bedrock-" + newer, "", "bedrock-" + newer},
		{"the same, to a model that refuses it", "us.anthropic.claude-opus-4-6-v1", "bedrock-" + newer, "", own},
		{"nearly one", frontID, "bedrock-2026-10-2x", "", own},
		{"no day, but long", frontID, strings.Repeat("2026-10-21", 100), "", own},
		{"Bedrock's own", frontID, own, "", own},
		{"Bedrock's own, whatever the header says, which the service does not read", frontID, own, newer, own},
		{"the API's first", frontID, "2023-06-01", "", own},
		{"an older day, which Bedrock never had", frontID, "2023-01-01", "", own},
		{"no day", frontID, "claude-x", "", own},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			r.bedrock("n", "invoke")
			body := `{"anthropic_version":"` + c.version + `",` + bedrockRest + `}`
			r.up.Default(frontReply())
			if got := r.do("POST", frontPath(c.id, "invoke"), body, "Anthropic-Version", c.header); got.status != 200 && !strings.HasPrefix(c.want, "bedrock-2026") && c.id != "us.anthropic.claude-opus-4-6-v1" && !strings.Contains(c.id, "-3-7-") {
				t.Errorf("status %d: %s", got.status, got.body)
			}
			if got, want := string(r.sawLast().Body), `{"anthropic_version":"`+c.want+`",`+bedrockRest+`}`; got != want {
				t.Errorf("the service got %s, want %s", got, want)
			}
			_ = r.do("POST", "/bedrock/v1/messages", `{"model":"`+c.id+`",`+body[1:])
			if got := string(r.sawLast().Body); !strings.HasPrefix(got, `{"anthropic_version":"`+c.want+`",`) {
				t.Errorf("by the Messages API's path the service got %s", got)
			}
		})
	}
	r := newBedrockRig(t, nil)
	r.bedrock("n", "invoke")
	r.up.Default(upstreamtest.Reply(upstreamtest.Text("hi")))
	_ = r.do("POST", "/v1/messages", bedrockAsk(frontID, bedrockRest, false), "Anthropic-Version", newer)
	if got := string(r.sawLast().Body); !strings.HasPrefix(got, invokeHead) {
		t.Errorf("of a client of the Messages API the service got %s", got)
	}
}
