package gateway_test

import (
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/pricing"
	"sluice/shared/upstream/upstreamtest"
)

// What a request of the Messages API says in headers, on the way to hosts that take it otherwise.

// TestBedrockVersion: models up to Claude 4.6 refuse the newer version of the Messages API, which newer SDKs always name, on
// every host; the later ones get it.
func TestBedrockVersion(t *testing.T) {
	const older = "claude-sonnet-4-5"
	for _, c := range []struct {
		why, model, version, want string
		edit                      int // of bedrockRoutes
	}{
		{"an older model", older, "2026-10-21", "2023-06-01", 1},
		{"an older model, and a version that is newer still", older, "2027-01-01", "2023-06-01", 1},
		{"an older model and its own version", older, "2023-06-01", "2023-06-01", 1},
		{"what is no version is the service's to refuse", older, "soon", "soon", 1},
		{"a newer model", bedrockModel, "2026-10-21", "2026-10-21", 1},
		{"a newer model on mantle", bedrockModel, "2026-10-21", "2026-10-21", 0},
		{"4.7 is the first that reads it", "claude-opus-4-7", "2026-10-21", "2026-10-21", 0},
	} {
		t.Run(c.why, func(t *testing.T) {
			br := &bedrockRoutes[c.edit]
			r := newBedrockRig(t, nil, oneTry...)
			r.bedrock("b", br.api, br.edit)
			for _, path := range []string{"/v1/messages", "/v1/messages/count_tokens"} {
				body := bedrockAsk(c.model, bedrockRest, false)
				if strings.HasSuffix(path, "tokens") {
					body = `{"model":"` + c.model + `","messages":[{"role":"user","content":"hi"}]}`
				}
				got := r.do("POST", path, body, "Anthropic-Version", c.version)
				if ok := c.version != c.want || c.want != "soon"; ok != (got.status == 200) {
					t.Errorf("%s: status %d: %s", path, got.status, got.body)
				}
				if sent := r.sawLast().Header.Get("Anthropic-Version"); sent != c.want {
					t.Errorf("%s: the service got %q, want %q", path, sent, c.want)
				}
			}
		})
	}
	r := newBedrockRig(t, nil)
	r.bedrock("b", "", runtimeNative)
	got := r.do("POST", frontPath("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "invoke"), `{"anthropic_version":"2026-10-21",`+bedrockRest+`}`)
	if sent := r.sawLast().Header.Get("Anthropic-Version"); got.status != 200 || sent != "2023-06-01" {
		t.Errorf("a client in Bedrock mode: the service got %q, status %d: %s", sent, got.status, got.body)
	}
}

// TestBedrockProfile: a platform's user is named in a header of the Messages API, and in the body of InvokeModel: each goes to
// the other, once, and where nobody takes it, that is told.
func TestBedrockProfile(t *testing.T) {
	const header, field = "Anthropic-User-Profile-Id", `"user_profile_id":"uprof_1",`
	for _, br := range everyRoute() {
		t.Run(br.name, func(t *testing.T) {
			for _, c := range []struct {
				why  string
				send func(r *bedrockRig) reply
			}{
				{"in the header", func(r *bedrockRig) reply {
					return r.post(bedrockAsk(bedrockModel, bedrockRest, true), header, "uprof_1")
				}},
				{"in the body of InvokeModel", func(r *bedrockRig) reply { return r.invokes(frontID, field+bedrockRest, true) }},
				{"in both", func(r *bedrockRig) reply { return r.invokes(frontID, field+bedrockRest, true, header, "uprof_2") }},
				{"in a body with a path of the Messages API", func(r *bedrockRig) reply {
					return r.do("POST", "/bedrock/v1/messages", bedrockAsk(bedrockModel, field+bedrockRest, true))
				}},
			} {
				r := newBedrockRig(t, nil, oneTry...)
				r.bedrock("b", br.api, br.edit)
				got := c.send(r)
				if got.status != 200 {
					t.Fatalf("%s: status %d: %s", c.why, got.status, got.body)
				}
				call, inHeader, inBody := r.sawLast(), "", 0
				switch {
				case br.sse():
					inHeader = "uprof_1"
				case br.invoke():
					inBody = 1
				}
				dropped := strings.Contains(got.header.Get("X-Sluice-Dropped"), "user_profile_id")
				if call.Header.Get(header) != inHeader || strings.Count(string(call.Body), field) != inBody || dropped != (br.api == "converse") {
					t.Errorf("%s: named dropped %v; the service got %q and %s", c.why, dropped, call.Header.Get(header), call.Body)
				}
			}
		})
	}
	r := newBedrockRig(t, nil)
	up := r.fakeNode("n")
	frontText(t, r.invokes("global.anthropic.claude-opus-5-5", field+bedrockRest, true), true)
	if last := up.Last(); last.Header.Get(header) != "uprof_1" || strings.Contains(string(last.Body), "user_profile_id") {
		t.Errorf("Anthropic got %q and %s", last.Header.Get(header), last.Body)
	}
	for _, bad := range []string{`1`, `"\n"`, `"` + strings.Repeat("x", 2000) + `"`} {
		wantAWSError(t, r.invokes(frontID, `"user_profile_id":`+bad+`,`+bedrockRest, true), 400, "ValidationException", "user_profile_id")
	}
}

// TestBedrockProfile_Dropped: a row of the table about the field holds for the header, too.
func TestBedrockProfile_Dropped(t *testing.T) {
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		for action, status := range map[string]int{"drop": 200, "refuse": 400} {
			r := newBedrockRig(t, nil)
			r.bedrock("b", br.api, br.edit)
			row := `{"rows":[{"route":"*","model":"claude-opus-5*","kind":"field","name":"user_profile_id","action":"` + action + `","message":"is not taken","evidence":"this test"}]}`
			if action == "drop" {
				row = strings.Replace(row, `"message":"is not taken",`, "", 1)
			}
			if _, err := r.app.Compat.Set(t.Context(), []byte(row)); err != nil {
				t.Fatal(err)
			}
			got := r.post(bedrockAsk(bedrockModel, bedrockRest, true), "Anthropic-User-Profile-Id", "uprof_1")
			if got.status != status {
				t.Fatalf("%s, %s: status %d: %s", br.name, action, got.status, got.body)
			}
			if action == "refuse" {
				wantError(t, got, 400, "invalid_request_error", "user_profile_id: is not taken")
				continue
			}
			if call := r.sawLast(); got.header.Get("X-Sluice-Dropped") != "user_profile_id" || call.Header.Get("Anthropic-User-Profile-Id") != "" || string(call.Body) != br.sends(bedrockRest, true) {
				t.Errorf("%s: dropped %q, the service got %v and %s", br.name, got.header.Get("X-Sluice-Dropped"), call.Header, call.Body)
			}
		}
	}
}

// TestBedrockTier: the tier that served a request is metered as OpenAI's of that name: as the answer tells it, else as it was
// asked for, where that was sent at all.
func TestBedrockTier(t *testing.T) {
	const tier = "X-Amzn-Bedrock-Service-Tier"
	tokens := core.Tokens{Input: 1000, Output: 500}
	for _, c := range []struct {
		why, asked, told string
		priority         bool
	}{
		{"asked, and not told", "priority", "", true},
		{"asked and told", "priority", "priority", true},
		{"asked, and another served", "priority", "default", false},
		{"a cheaper one, at the normal price", "flex", "flex", false},
		{"none asked", "", "", false},
	} {
		for i := range bedrockRoutes {
			br := &bedrockRoutes[i]
			for _, front := range []bool{true, false} {
				for _, stream := range []bool{true, false} {
					r := newBedrockRig(t, nil)
					r.bedrock("b", br.api, br.edit)
					answer := upstreamtest.Reply(upstreamtest.Text("Hi")).Usage(upstreamtest.Usage{Input: 1000, Output: 500})
					if c.told != "" {
						answer = answer.Header(tier, c.told)
					}
					r.up.Default(answer)
					var got reply
					if front {
						got = r.invokes(frontID, bedrockRest, stream, tier, c.asked)
					} else {
						got = r.post(bedrockAsk(bedrockModel, bedrockRest, stream), tier, c.asked)
					}
					if sent := r.sawLast().Header.Get(tier); got.status != 200 || sent != c.asked {
						t.Fatalf("%s, %s: the service got %q, status %d: %s", br.name, c.why, sent, got.status, got.body)
					}
					want, _ := pricing.Builtin().CostOf(pricing.Use{Model: br.model, Kind: core.KindBedrock, Tokens: tokens, Priority: c.priority})
					if rec := r.record(); rec.Tokens != tokens || rec.CostUSD != want || rec.Fast != c.priority || rec.Unpriced {
						t.Errorf("%s, %s, streamed %v: recorded %+v, want a cost of %d", br.name, c.why, stream, rec, want)
					}
				}
			}
		}
	}
	r := newBedrockRig(t, nil)
	r.bedrock("b", "invoke")
	_ = r.do("POST", "/v1/chat/completions", `{"model":"`+bedrockModel+`","messages":[{"role":"user","content":"hi"}]}`, tier, "priority")
	if rec := r.record(); r.sawLast().Header.Get(tier) != "" || rec.Fast {
		t.Errorf("a header that is not sent is metered: %+v", rec)
	}
}
