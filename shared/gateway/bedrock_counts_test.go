package gateway_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
	"sluice/shared/upstream/upstreamtest"
)

// newBedrockBubble is a bubble whose ways out all give one good answer of the Messages API, in frames where the API is invoke.
func newBedrockBubble(t testing.TB, api string) *bubble {
	t.Helper()
	out := &canned{"text/event-stream", whole, 64 << 10}
	if api == bedrock.APIInvoke {
		out = &canned{"application/vnd.amazon.eventstream", inChunks(whole), 64 << 10}
	}
	client := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Guarded: out, Operator: out}})
	b := newBubbleWith(t, gateway.Settings{}, client)
	b.o.Upstreams[core.KindBedrock] = client
	b.count(nil)
	return b
}

// onBedrock makes a node one of Bedrock's, with keys.
func (b *bubble) onBedrock(api string) func(*core.Node) {
	return func(n *core.Node) {
		n.Kind, n.API, n.Region = core.KindBedrock, api, "eu-west-1"
		n.Credential = b.box.Seal(directory.CredentialOwner(n.ID), core.NewSecret(bedrockKeys))
	}
}

// TestMetrics_Dropped: what the table leaves out is counted by the names of its rows, so that a client's words make no series.
func TestMetrics_Dropped(t *testing.T) {
	const (
		messages = `"messages":[{"role":"user","content":"hi"}]`
		search   = `"tools":[{"type":"web_search_20250305","name":"web_search","cache_control":{"type":"ephemeral"}},` + timeTool + `],`
	)
	for _, c := range []struct {
		why, api, body, betas, want string
	}{
		{"nothing is left out", "", messages, "interleaved-thinking-2025-05-14", ""},
		{"a flag and a field that have rows", "", `"speed":"fast",` + messages, "files-api-2025-04-14",
			"messages-mantle beta:files-api-2025-04-14, messages-mantle speed"},
		{"flags that have none", "invoke", messages, "mine-1,mine-2", "invoke beta:other, invoke beta:other"},
		{"a tool by the row's pattern, and its mark", "invoke", search + messages, "", "invoke tool:web_search_*, invoke tools[].cache_control"},
		{"more flags than are looked at", "", messages, strings.Repeat("interleaved-thinking-2025-05-14,", 101), "messages-mantle beta:other"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &counted{}
			b := newBedrockBubble(t, c.api)
			b.count(m)
			b.node("1", "a", 1, b.onBedrock(c.api))
			if w := b.post(t.Context(), bedrockAsk(bedrockModel, `"max_tokens":100,`+c.body, true), "Anthropic-Beta", c.betas); w.status != 200 {
				t.Fatalf("%s: %d: %s", c.why, w.status, w.text())
			}
			var got []string
			for _, s := range m.said {
				if d, ok := strings.CutPrefix(s, "dropped "); ok {
					got = append(got, d)
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("%s: counted %q, want %q", c.why, s, c.want)
			}
		})
	}
}

// TestBudget_OfBedrock: what is reserved has the rate of the inference profile that the node will name, a tenth more than the
// global one's where it is a region's.
func TestBudget_OfBedrock(t *testing.T) {
	const global, regional = 522, 575 // micro-USD, see pricedBody
	named := func(id string) func(*core.Node) { return modelMap(map[string]string{"claude-haiku-4-5": id}) }
	for _, c := range []struct {
		why, api string
		edit     func(*core.Node)
		usd      int64
	}{
		{"mantle", "messages", func(*core.Node) {}, regional},
		{"the region's own profile", "invoke", func(*core.Node) {}, regional},
		{"the global profile", "invoke", named("global.anthropic.claude-haiku-4-5-20251001-v1:0"), global},
		{"one's own profile, which does not tell the model", "invoke", named("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3"), regional},
		{"Claude Platform on AWS", "messages", func(n *core.Node) { n.BaseURL = "https://aws-external-anthropic.us-west-2.api.aws" }, global},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBedrockBubble(t, c.api)
			b.node("1", "a", 1, b.onBedrock(c.api), c.edit)
			b.key("2", limitedKey, core.Limits{USDDay: c.usd - 1})
			b.key("3", "another-key-of-these-tests", core.Limits{USDDay: c.usd})
			if w := b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey); w.status != 429 {
				t.Errorf("%s: a budget of %d: %d, %s", c.why, c.usd-1, w.status, w.text())
			}
			if w := b.post(t.Context(), pricedBody, "X-Api-Key", "another-key-of-these-tests"); w.status != 200 {
				t.Errorf("%s: a budget of %d: %d, %s", c.why, c.usd, w.status, w.text())
			}
		})
	}
}

// TestBudget_OfOnePlace: inference_geo "us" costs a tenth more, which is reserved, too.
func TestBudget_OfOnePlace(t *testing.T) {
	for _, c := range []struct {
		geo string
		usd int64 // 28 tokens in and 100 out
	}{{"us", 581}, {"eu", 528}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a")
			b.up.queue(streaming(step{data: whole}))
			b.key("2", limitedKey, core.Limits{USDDay: c.usd - 1})
			b.key("3", "another-key-of-these-tests", core.Limits{USDDay: c.usd})
			body := strings.Replace(pricedBody, `"stream"`, `"inference_geo":"`+c.geo+`","stream"`, 1)
			short, enough := b.post(t.Context(), body, "X-Api-Key", limitedKey), b.post(t.Context(), body, "X-Api-Key", "another-key-of-these-tests")
			if short.status != 429 || enough.status != 200 {
				t.Errorf("%s: %d and %d, want 429 and 200: %s", c.geo, short.status, enough.status, enough.text())
			}
		})
	}
}

// TestBedrockNotOffered: a model that the account has no access to rests no node, and its last error says what to do.
func TestBedrockNotOffered(t *testing.T) {
	clk := newClock(noon())
	r := newBedrockRig(t, clk.now, oneTry...)
	r.up.SetClock(clk.now)
	id := r.bedrock("b", "invoke")
	ask := func(fault upstreamtest.Behaviour, want int) {
		t.Helper()
		r.up.Default(fault)
		if got := r.post(bedrockAsk(bedrockModel, bedrockRest, true)); got.status != want {
			t.Fatalf("status %d, want %d: %s", got.status, want, got.body)
		}
	}
	noAccess := upstreamtest.ModelAccessDenied()
	noForm := awsAnswer(404, "ResourceNotFoundException", `{"message":"Model use case details have not been submitted for this account."}`)
	for _, c := range []struct {
		why    string
		fault  upstreamtest.Behaviour
		status int
		wait   time.Duration
		says   string
		at     bool // it is dated now
	}{
		{"no access", noAccess, 403, 0, "model access page of the Bedrock console", true},
		{"the same at once: nothing is written", noAccess, 403, 30 * time.Second, "model access page of the Bedrock console", false},
		{"another reason, soon: neither", noForm, 404, 20 * time.Second, "model access page of the Bedrock console", false},
		{"another reason", noForm, 404, 20 * time.Second, "fill out the form", true},
		{"the same within the hour", noForm, 404, 50 * time.Minute, "fill out the form", false},
		{"and after it", noForm, 404, 11 * time.Minute, "fill out the form", true},
	} {
		clk.advance(c.wait)
		ask(c.fault, c.status)
		s := r.state(id)
		if !strings.Contains(s.LastError, c.says) || s.LastErrAt.Equal(clk.now()) != c.at {
			t.Errorf("%s: the operator reads %q of %v at %v", c.why, s.LastError, s.LastErrAt, clk.now())
		}
		if s.Failed || s.FailStreak != 0 || s.Blocked != "" || len(s.Cooling) != 0 {
			t.Errorf("%s: the node rests: %+v", c.why, s)
		}
	}
	ask(upstreamtest.Reply(upstreamtest.Text("hi")), 200)
}

// TestBedrockRegionOfTheMachine: a node that borrows the machine's identity and names no region is in the machine's.
func TestBedrockRegionOfTheMachine(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	t.Setenv("AWS_SESSION_TOKEN", "")
	for _, c := range []struct {
		why  string
		env  []string
		want string // empty: refused
	}{
		{"AWS_REGION beats the other", []string{"AWS_REGION", "eu-west-1", "AWS_DEFAULT_REGION", "us-east-1"}, "eu.anthropic.claude-opus-5-5"},
		{"AWS_DEFAULT_REGION", []string{"AWS_DEFAULT_REGION", "us-east-1"}, "us.anthropic.claude-opus-5-5"},
		{"neither", nil, ""},
	} {
		r := newBedrockRig(t, nil, append(slices.Clone(oneTry), c.env...)...)
		r.bedrock("b", "invoke", func(n *core.Node) { n.Region = "" }, r.credential(`{"default_chain":true}`))
		got := r.post(bedrockAsk(bedrockModel, bedrockRest, true))
		if c.want == "" {
			if tries := r.record().Tries; got.status == 200 || len(tries) != 1 || !strings.Contains(tries[0].Reason, "has no region") {
				t.Errorf("%s: status %d, %+v", c.why, got.status, tries)
			}
			continue
		}
		wantStream(t, got, "Hello there!")
		if call := r.sawLast(); call.ModelID != c.want {
			t.Errorf("%s: asked for %s, want %s", c.why, call.ModelID, c.want)
		}
	}
}
