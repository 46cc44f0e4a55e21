package clients_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// Clients that speak to Bedrock themselves, through the gateway's /bedrock.

// globalSonnet is Claude Sonnet 5.5 as such clients name it: every region offers the profile.
const globalSonnet = "global.anthropic.claude-sonnet-5-5"

// modeOn is bedOn for such clients.
func modeOn(t *testing.T, way bedWay) *bed {
	t.Helper()
	way.model = globalSonnet
	if way.name != mantleWay.name { // which knows no profiles
		way.sent = globalSonnet
	}
	return bedOn(t, way)
}

func eachMode(t *testing.T, ways []bedWay, test func(b *bed)) {
	t.Helper()
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(modeOn(t, w)) })
	}
}

// inMode runs Claude Code in its Bedrock mode. credential is NAME=VALUE.
func (b *bed) inMode(credential, prompt string, args ...string) cliRun {
	b.Helper()
	return b.claude(with("ANTHROPIC_BASE_URL=", "CLAUDE_CODE_USE_BEDROCK=1", "CLAUDE_CODE_SKIP_BEDROCK_AUTH=1", "AWS_REGION=us-east-1",
		"ANTHROPIC_BEDROCK_BASE_URL="+b.tap.URL+"/bedrock", credential), prompt, append(args, "--model", globalSonnet)...)
}

// checkMode verifies what holds for every run that ends well: the request came in Bedrock's form, and each is recorded for the
// account's key, with its session and what the account reported.
func (b *bed) checkMode(r cliRun, printed string, n int) {
	b.Helper()
	if r.exit != nil || !strings.Contains(r.out, printed) {
		b.Fatal(r)
	}
	b.checkBed()
	b.checkSaid()
	b.checkCounted(n, reported)
	for i, u := range b.recorded() {
		if x := b.asked()[i]; !strings.HasSuffix(x.Path, "/invoke-with-response-stream") || x.Answer.Get("Content-Type") != up.EventStreamType {
			b.Errorf("%s was answered with %q: is Claude Code in its Bedrock mode?", x.Path, x.Answer.Get("Content-Type"))
		}
		if u.KeyID == "" || !u.Stream || u.ModelID != globalSonnet || u.Session == "" {
			b.Errorf("recorded %+v", u)
		}
	}
	for _, x := range b.tap.exchanges("") {
		listing := x.Method == http.MethodGet // which it does without a key
		if x.Status != http.StatusOK && !listing && !turned(x) {
			b.Errorf("%s %s?%s: status %d: %s", x.Method, x.Path, x.Query, x.Status, x.Text)
		}
	}
}

func TestBedModeCLIText(t *testing.T) {
	for _, tt := range []struct{ name, credential string }{
		{"BearerToken", "AWS_BEARER_TOKEN_BEDROCK=" + proxyKey},
		{"AuthToken", asToken},
		{"CustomHeader", "ANTHROPIC_CUSTOM_HEADERS=x-api-key: " + proxyKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, []bedWay{invokeWay}, func(b *bed) {
				b.k.Default(up.Reply(up.Thinking("sig==", "Hm."), up.Text("PINE", "APPLE – 菠萝")).Usage(reported))
				r := b.inMode(tt.credential, "Name a fruit", "--output-format", "json")
				b.checkMode(r, "PINEAPPLE – 菠萝", 1)
				var got struct {
					Usage struct {
						Input      int64 `json:"input_tokens"`
						Output     int64 `json:"output_tokens"`
						CacheRead  int64 `json:"cache_read_input_tokens"`
						CacheWrite int64 `json:"cache_creation_input_tokens"`
					}
				}
				b.noError(json.Unmarshal([]byte(r.out), &got))
				if u := got.Usage; u.Input != 11 || u.Output != 7 || u.CacheRead != 2000 || u.CacheWrite != 340 {
					b.Errorf("Claude Code counted %+v", got)
				}
			})
		})
	}
}

// TestBedModeCLITools: a loop of four turns, two calls at once in one of them. The runtime gets the client's own id, and mantle
// its own name for the model.
func TestBedModeCLITools(t *testing.T) {
	eachMode(t, []bedWay{mantleWay, runtimeWay, invokeWay}, func(b *bed) {
		bash := func(there *said, i int, command string) up.Block {
			return bedCall(there, i, "Bash", object{"command": command, "description": "Run it"})
		}
		b.k.Default(bedWalk(b.T, "It is a MANGO.", reported,
			bedStep{func(there *said) []up.Block { return []up.Block{bash(there, 1, "echo sluice-$((40+2))")} }, bring("sluice-42")},
			bedStep{func(there *said) []up.Block {
				return []up.Block{bash(there, 1, "echo sluice-$((40+3))"), bash(there, 2, "ls no-such-file-1 && exit 3")}
			}, bring("sluice-43", "no-such-file-1")},
			bedStep{func(there *said) []up.Block { return []up.Block{bash(there, 1, "echo sluice-$((40+4))")} }, bring("sluice-44")}))
		b.checkMode(b.inMode(asToken, "Print words", "--allowedTools", "Bash"), "It is a MANGO.", 4)
	})
}

// TestBedModeCLIOnAnthropic: in front of a node of Anthropic's own the same client gets an answer, too.
func TestBedModeCLIOnAnthropic(t *testing.T) {
	s := stageOn(t, anthropicNode)
	b := &bed{stage: s}
	s.up.Default(up.ToolThenText("Bash", `{"command":"echo sluice-$((40+2))","description":"Print a word"}`, "It printed a word: MANGO"))
	r := b.inMode(asToken, "Print a word", "--allowedTools", "Bash")
	if r.exit != nil || !strings.Contains(r.out, "MANGO") {
		s.Fatal(r)
	}
	s.wantReached(2)
	if there := s.last(); there.Model != model || !there.has("result 1", "sluice-42") {
		s.Errorf("the upstream was asked for %q: %q", there.Model, there.Turns)
	}
	for _, r := range s.arrived() {
		checkCredential(s.T, r)
	}
	for _, u := range s.gw.usages("/bedrock/model/{id}/invoke-with-response-stream", 2) {
		if !u.Success || u.KeyID == "" || u.NodeName != "first" || u.OutputTokens == 0 {
			s.Errorf("recorded %+v", u)
		}
	}
}

// TestBedModeCLITooLong: the account's refusal ends soon, in words that are recognised (D15).
func TestBedModeCLITooLong(t *testing.T) {
	b := modeOn(t, invokeWay)
	b.k.Default(up.PromptTooLong(210_000, 200_000))
	r := b.inMode(asToken, "Name a fruit")
	if r.exit == nil || !strings.Contains(r.out+r.errs, "Prompt is too long") {
		b.Error(r)
	}
	if n := len(b.asked()); n != 1 {
		b.Errorf("%d requests", n)
	}
}

// TestBedModeCLIRecovers: a stream that breaks in mid-answer is an error to Claude Code, which asks again without streaming.
func TestBedModeCLIRecovers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		behaviour up.Behaviour
	}{
		{"Exception", up.Events(6).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded")},
		{"Cut", up.Events(6).CutInside(up.AfterDeltas(2), up.EndClean)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, []bedWay{invokeWay}, func(b *bed) {
				b.k.Queue(tt.behaviour)
				b.k.Default(up.Reply(up.Text("PAPAYA")).Usage(reported))
				r := b.inMode(asToken, "Name a fruit")
				if r.exit != nil || strings.TrimSpace(r.out) != "PAPAYA" {
					b.Fatal(r)
				}
				b.wantReached(2)
				us := b.recorded()
				checkTokens(b.T, us[len(us)-1], reported)
			})
		})
	}
}

// TestBedModeAI: the AI SDK's provider for Claude on Bedrock.
func TestBedModeAI(t *testing.T) {
	eachMode(t, []bedWay{invokeWay, mantleWay}, func(b *bed) {
		b.k.Default(bedWalk(b.T, "Sunny.", reported, oneCall("weather", func() object { return object{"city": "Zürich"} }, bring("22 degrees in Zürich"))))
		b.ways(func(b *bed, stream bool) {
			got, err := b.ai("ai-tools.mjs", provider{name: "bedrock"}, stream, nil)
			b.noError(err)
			if got.Text != "Step 1.Sunny." && got.Text != "Sunny." || got.Steps != 2 || len(got.Inputs) != 1 || got.Inputs[0]["city"] != "Zürich" {
				b.Errorf("got %+v", got)
			}
		})
		b.wantReached(4)
		b.checkBed()
		b.checkSaid()
	})
}
