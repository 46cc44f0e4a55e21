package router_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/router"
)

func api(s string) func(*router.Candidate) {
	return func(c *router.Candidate) { c.Node.API = s }
}

func kind(k core.Kind) func(*router.Candidate) {
	return func(c *router.Candidate) { c.Node.Kind = k }
}

func maps(pairs ...string) func(*router.Candidate) {
	return func(c *router.Candidate) { c.Node.ModelMap = pairsOf(pairs) }
}

func unable(c *router.Candidate) { c.Unable = true }

func pairsOf(pairs []string) map[string]string {
	m := make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// TestResolve: the account's map, then the nodes' own names, then the built-in aliases (D20, D22, D50).
func TestResolve(t *testing.T) {
	anthropic := with(node("a", 1), kind(core.KindAnthropic))
	openai := with(node("o", 1), kind(core.KindOpenAI))
	only := func(cs ...router.Candidate) []router.Candidate { return cs }
	code := []string{"claude-*", "gpt-5.4", "claude-haiku-*", "gpt-5.4-mini", "claude-haiku-4-5", "tiny"}
	for _, tt := range []struct {
		why         string
		account     []string
		nodes       []router.Candidate
		model, want string
	}{
		{"no rule", nil, only(anthropic), "claude-x", "claude-x"},
		{"no model", []string{"*", "x"}, only(anthropic), "", ""},
		{"exact name beats patterns", code, only(openai), "claude-haiku-4-5", "tiny"},
		{"D20: the longest literal part", code, only(openai), "claude-haiku-4-5-20251001", "gpt-5.4-mini"},
		{"the shorter one for the rest", code, only(openai), "claude-opus-5", "gpt-5.4"},
		{"no key", code, only(openai), "gpt-4.1", "gpt-4.1"},
		{"a pattern matches no text, too", []string{"fast*", "x"}, only(openai), "fast", "x"},
		{"* in front", []string{"*-latest", "newest"}, only(openai), "any-latest", "newest"},
		{"* within", []string{"claude-*-latest", "x-*-y"}, only(openai), "claude-opus-latest", "x-opus-y"},
		{"text before and behind the * may not overlap", []string{"aba*aba", "x"}, only(openai), "ababa", "ababa"},
		{"the target's * is what was matched", []string{"eu/*", "*"}, only(anthropic), "eu/claude-opus-5", "claude-opus-5"},
		{"as much literal text: the one that fixes more of the beginning", []string{"ab*", "x", "*bc", "y", "a*c", "z"}, only(openai), "abc", "x"},
		{"everything", []string{"*", "x"}, only(openai), "abc", "x"},
		{"a * that the client sends is a character", []string{"m*", "n-*"}, only(openai), "m*", "n-*"},
		{"D22: [1m] is not matched", []string{"claude-opus-5", "gpt-5.4"}, only(openai), "claude-opus-5[1m]", "gpt-5.4"},
		{"D22: nor by a *", []string{"claude-*", "x-*"}, only(openai), "claude-opus-5[1m]", "x-opus-5"},
		{"D22: it stays with a Claude name", []string{"eu-*", "claude-*"}, only(anthropic), "eu-opus-5[1m]", "claude-opus-5[1m]"},
		{"D22: a key of its own for it", []string{"claude-*", "claude-small", "claude-*[1m]", "claude-big"}, only(anthropic), "claude-opus-5[1m]", "claude-big"},
		{"and not for the plain name", []string{"claude-*", "claude-small", "claude-*[1m]", "claude-big"}, only(anthropic), "claude-opus-5", "claude-small"},
		{"the account's map comes before a node's own name", []string{"m", "n"}, only(with(openai, serves("m"))), "m", "n"},

		{"D50: without claude-", nil, only(anthropic), "sonnet-5-5", "claude-sonnet-5-5"},
		{"D50: opus", nil, only(anthropic), "opus-4-8", "claude-opus-4-8"},
		{"D50: with a date", nil, only(anthropic), "haiku-4-5-20251001", "claude-haiku-4-5-20251001"},
		{"D50: fable", nil, only(anthropic), "fable-5-2", "claude-fable-5-2"},
		{"D50: mythos", nil, only(anthropic), "mythos-preview", "claude-mythos-preview"},
		{"D50: with a dot, which is each node's business", nil, only(anthropic), "sonnet-4.5", "claude-sonnet-4.5"},
		{"D50: with [1m]", nil, only(anthropic), "opus-5[1m]", "claude-opus-5[1m]"},
		{"another word", nil, only(anthropic), "sonnets-5", "sonnets-5"},
		{"the bare word is Claude Code's own", nil, only(anthropic), "sonnet", "sonnet"},
		{"a node lists such a name", nil, only(anthropic, with(openai, serves("haiku-writer"))), "haiku-writer", "haiku-writer"},
		{"a node lists it by prefix", nil, only(with(openai, serves("haiku-w*"))), "haiku-writer", "haiku-writer"},
		{"a node maps it", nil, only(with(openai, maps("haiku-*", "x"))), "haiku-writer", "haiku-writer"},
		{"a disabled node has no say", nil, only(with(openai, serves("haiku-4-5"), disabled)), "haiku-4-5", "claude-haiku-4-5"},
		{"who lists or maps everything names nothing", nil, only(with(openai, serves("*"), maps("*", "x"))), "haiku-4-5", "claude-haiku-4-5"},
		{"the account's map knows the alias by its whole name", code, only(openai), "haiku-4-5-20251001", "gpt-5.4-mini"},
		{"the map's target may be an alias", []string{"fast", "haiku-4-5"}, only(anthropic), "fast", "claude-haiku-4-5"},
		{"and is not mapped twice", []string{"fast", "haiku-4-5", "claude-*", "x"}, only(anthropic), "fast", "claude-haiku-4-5"},

		{"gpt-4", nil, only(anthropic), "gpt-4", "claude-sonnet-4-5"},
		{"gpt-4-turbo", nil, only(anthropic), "gpt-4-turbo", "claude-sonnet-4-5"},
		{"gpt-4-turbo-preview", nil, only(anthropic), "gpt-4-turbo-preview", "claude-sonnet-4-5"},
		{"gpt-4o", nil, only(anthropic), "gpt-4o", "claude-sonnet-4-5"},
		{"gpt-4o-mini", nil, only(anthropic), "gpt-4o-mini", "claude-haiku-4-5"},
		{"gpt-3.5-turbo", nil, only(anthropic), "gpt-3.5-turbo", "claude-haiku-4-5"},
		{"no other gpt", nil, only(anthropic), "gpt-5.4", "gpt-5.4"},
		{"an OpenAI node takes it", nil, only(anthropic, openai), "gpt-4o", "gpt-4o"},
		{"an OpenAI node that takes others", nil, only(anthropic, with(openai, serves("gpt-5*"))), "gpt-4o", "claude-sonnet-4-5"},
		{"a disabled OpenAI node", nil, only(anthropic, with(openai, disabled)), "gpt-4o", "claude-sonnet-4-5"},
		{"another node maps it", nil, only(with(anthropic, maps("gpt-*", "claude-opus-5"))), "gpt-4o", "gpt-4o"},
	} {
		a := &core.Account{ModelMap: pairsOf(tt.account)}
		for range 50 { // the order of a map is none
			if got := router.Resolve(a, tt.nodes, tt.model); got != tt.want {
				t.Errorf("%s: %q is %q, want %q", tt.why, tt.model, got, tt.want)
				break
			}
		}
	}
}

// TestAliases_LeadBack: an alias that is listed must be understood (D50).
func TestAliases_LeadBack(t *testing.T) {
	cs := []router.Candidate{with(node("a", 1), kind(core.KindAnthropic))}
	for name, want := range map[string]string{"claude-sonnet-5-5": "sonnet-5-5", "claude-opus-4-5-20251101": "opus-4-5-20251101",
		"claude-3-5-sonnet-20241022": "", "claude-sonnet": "", "claude-x": "", "gpt-4": "", "sonnet-5": "", "": "", "claude-": ""} {
		got := router.Aliases(name)
		if got != want {
			t.Errorf("%q has the alias %q, want %q", name, got, want)
		}
		if got != "" && router.Resolve(&core.Account{}, cs, got) != name {
			t.Errorf("%q does not lead back to %q", got, name)
		}
	}
}

func TestServesAndSentModel(t *testing.T) {
	mapped := []string{"alias", "real", "claude-x", "vendor-x", "claude-1m[1m]", "big"}
	for _, tt := range []struct {
		why    string
		kind   core.Kind
		models []string
		maps   []string
		model  string
		serves bool
		sent   string
	}{
		{"no list takes any", core.KindAnthropic, nil, mapped, "anything", true, "anything"},
		{"no model named", core.KindAnthropic, []string{"a"}, []string{"*", "x"}, "", true, ""},
		{"listed", core.KindAnthropic, []string{"a", "b"}, mapped, "b", true, "b"},
		{"not listed", core.KindAnthropic, []string{"a"}, mapped, "b", false, "b"},
		{"prefix", core.KindAnthropic, []string{"claude-*"}, mapped, "claude-y", true, "claude-y"},
		{"prefix of something else", core.KindAnthropic, []string{"claude-*"}, mapped, "xclaude-y", false, "xclaude-y"},
		{"everything", core.KindAnthropic, []string{"*"}, mapped, "b", true, "b"},
		{"D22: the 1M window of a listed model", core.KindAnthropic, []string{"claude-y"}, mapped, "claude-y[1m]", true, "claude-y[1m]"},
		{"an alias though not listed", core.KindAnthropic, []string{"a"}, mapped, "alias", true, "real"},
		{"D22: an alias with the 1M window", core.KindAnthropic, []string{"a"}, mapped, "claude-x[1m]", true, "vendor-x"},
		{"D22: an alias of its own for the 1M window", core.KindAnthropic, nil, mapped, "claude-1m[1m]", true, "big"},
		{"D22: other services know no such suffix", core.KindOpenAI, nil, nil, "claude-y[1m]", true, "claude-y"},
		{"D22: nor Amazon Q", core.KindAmazonQ, nil, nil, "claude-y[1m]", true, "claude-y"},
		{"D22: nor Bedrock", core.KindBedrock, nil, nil, "claude-y[1m]", true, "claude-y"},
		{"D20: a pattern though not listed", core.KindOpenAI, []string{"gpt-5.4"}, []string{"claude-haiku-*", "gpt-5.4-mini"}, "claude-haiku-4-5-20251001", true, "gpt-5.4-mini"},
		{"a pattern that does not fit", core.KindOpenAI, []string{"gpt-5.4"}, []string{"claude-haiku-*", "gpt-5.4-mini"}, "claude-opus-5", false, "claude-opus-5"},
		{"a target's *", core.KindBedrock, nil, []string{"claude-*", "us.anthropic.claude-*-v1:0"}, "claude-opus-5", true, "us.anthropic.claude-opus-5-v1:0"},

		{"a dotted version", core.KindAnthropic, nil, nil, "claude-sonnet-4.5", true, "claude-sonnet-4-5"},
		{"with a date", core.KindBedrock, nil, nil, "claude-sonnet-4.5-20250929", true, "claude-sonnet-4-5-20250929"},
		{"with the 1M window", core.KindAnthropic, nil, nil, "claude-sonnet-4.5[1m]", true, "claude-sonnet-4-5[1m]"},
		{"the version in front", core.KindAnthropic, nil, nil, "claude-3.7-sonnet", true, "claude-3-7-sonnet"},
		{"Amazon Q has the dots", core.KindAmazonQ, nil, nil, "claude-sonnet-4.5", true, "claude-sonnet-4.5"},
		{"an OpenAI service may have them", core.KindOpenAI, nil, nil, "claude-sonnet-4.5", true, "claude-sonnet-4.5"},
		{"before the families dots were right", core.KindAnthropic, nil, nil, "claude-2.1", true, "claude-2.1"},
		{"another maker's dots", core.KindAnthropic, nil, nil, "glm-4.5-sonnet", true, "glm-4.5-sonnet"},
		{"a dot that is none of a version", core.KindAnthropic, nil, nil, "claude-sonnet-a.b", true, "claude-sonnet-a.b"},
		{"listed with dashes", core.KindAnthropic, []string{"claude-sonnet-4-5"}, nil, "claude-sonnet-4.5", true, "claude-sonnet-4-5"},
		{"listed with dots", core.KindAnthropic, []string{"claude-sonnet-4.5"}, nil, "claude-sonnet-4.5", true, "claude-sonnet-4.5"},
		{"listed with dashes at Amazon Q", core.KindAmazonQ, []string{"claude-sonnet-4-5"}, nil, "claude-sonnet-4.5", false, "claude-sonnet-4.5"},
		{"mapped with dashes", core.KindAnthropic, []string{"x"}, []string{"claude-*", "any", "claude-sonnet-4-5", "y"}, "claude-sonnet-4.5", true, "y"},
		{"mapped both ways", core.KindAnthropic, nil, []string{"claude-sonnet-4-5", "x", "claude-sonnet-4.5", "y"}, "claude-sonnet-4.5", true, "y"},
		{"listed with dots and the 1M window", core.KindAnthropic, []string{"claude-sonnet-4.5[1m]"}, nil, "claude-sonnet-4.5[1m]", true, "claude-sonnet-4.5[1m]"},
		{"mapped with dots", core.KindAnthropic, []string{"x"}, []string{"claude-sonnet-4.*", "y", "claude-*", "any"}, "claude-sonnet-4.5", true, "y"},
	} {
		n := &core.Node{Kind: tt.kind, Models: tt.models, ModelMap: pairsOf(tt.maps)}
		if got := router.Serves(n, tt.model); got != tt.serves {
			t.Errorf("%s: serves %v", tt.why, got)
		}
		if got := router.SentModel(n, tt.model); got != tt.sent {
			t.Errorf("%s: sent %q, want %q", tt.why, got, tt.sent)
		}
	}
}

// TestD54_KindsAreNotMixed: a node that would answer 404 must not take the place of one whose failure tells the truth.
func TestD54_KindsAreNotMixed(t *testing.T) {
	anthropic := with(node("a", 5), kind(core.KindAnthropic))
	bedrock := with(node("b", 6), kind(core.KindBedrock))
	q := with(node("q", 7), kind(core.KindAmazonQ))
	openai := with(node("o", 1), kind(core.KindOpenAI))
	for _, tt := range []struct {
		why    string
		cs     []router.Candidate
		model  string
		active string
		want   router.Choice
	}{
		{"a Claude name", []router.Candidate{openai, anthropic}, "claude-x", "", router.Choice{Index: 1}},
		{"the second of the kinds", []router.Candidate{openai, with(anthropic, tried), bedrock, q}, "claude-x", "", router.Choice{Index: 2}},
		{"and the third", []router.Candidate{openai, with(anthropic, tried), with(bedrock, tried), q}, "claude-x", "", router.Choice{Index: 3}},
		{"another name", []router.Candidate{with(anthropic, func(c *router.Candidate) { c.Node.Weight = 0 }), openai}, "gpt-5.4", "", router.Choice{Index: 1}},
		{"Bedrock's names of Claude", []router.Candidate{openai, bedrock}, "us.anthropic.claude-x-v1:0", "", router.Choice{Index: 1}},
		{"they are no other service's", []router.Candidate{anthropic, openai, bedrock}, "us.anthropic.claude-x-v1:0", "a", router.Choice{Index: 2}},
		{"nor is an ARN", []router.Candidate{anthropic, bedrock}, "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/claude", "", router.Choice{Index: 1}},
		{"unless one lists them, as a relay's node", []router.Candidate{with(openai, serves("us.anthropic.*")), bedrock}, "us.anthropic.claude-x-v1:0", "", router.Choice{Index: 0}},
		{"a relay takes them where Bedrock is none of the nodes", []router.Candidate{openai, anthropic}, "us.anthropic.claude-x-v1:0", "", router.Choice{Index: 1}},
		{"Bedrock's Nova, by Converse", []router.Candidate{openai, bedrock, with(bedrock, api("converse"))}, "us.amazon.nova-pro-v1:0", "", router.Choice{Index: 2}},
		{"its other APIs know no Nova", []router.Candidate{openai, bedrock}, "us.amazon.nova-pro-v1:0", "", router.Choice{Index: 0}},
		{"a version's dot makes no maker", []router.Candidate{openai, with(bedrock, api("converse"))}, "gpt-5.4", "", router.Choice{Index: 0}},
		{"nor does a number behind it", []router.Candidate{openai, with(bedrock, api("converse"))}, "o3.5", "", router.Choice{Index: 0}},
		{"the activated one is no exception", []router.Candidate{openai, anthropic}, "claude-x", "o", router.Choice{Index: 1}},
		{"but is first among the preferred", []router.Candidate{openai, anthropic, bedrock}, "claude-x", "b", router.Choice{Index: 2}},
		{"the others do not step in for a tried one", []router.Candidate{openai, with(anthropic, tried)}, "claude-x", "", router.Choice{Index: -1, Why: router.Tried}},
		{"nor for a failed one", []router.Candidate{openai, with(anthropic, failed(0))}, "claude-x", "", router.Choice{Index: -1, Why: router.Failing, Wait: time.Second}},
		{"nor for one that cools", []router.Candidate{openai, with(anthropic, cooling("claude-x", time.Second))}, "claude-x", "", router.Choice{Index: -1, Why: router.Cooling, Wait: time.Second}},
		{"nor for one that cannot express it", []router.Candidate{openai, with(anthropic, unable)}, "claude-x", "", router.Choice{Index: -1, Why: router.Unfit}},
		{"a disabled one prefers nothing", []router.Candidate{openai, with(anthropic, disabled)}, "claude-x", "", router.Choice{Index: 0}},
		{"nor does one for other models", []router.Candidate{openai, with(anthropic, serves("claude-opus-*"))}, "claude-x", "", router.Choice{Index: 0}},
		{"without any, all that serve", []router.Candidate{anthropic}, "gpt-5.4", "", router.Choice{Index: 0}},
		{"who lists the name is preferred", []router.Candidate{with(openai, serves("claude-x")), anthropic}, "claude-x", "", router.Choice{Index: 0}},
		{"who lists it by prefix", []router.Candidate{with(openai, serves("claude-*")), anthropic}, "claude-x", "", router.Choice{Index: 0}},
		{"who maps it", []router.Candidate{with(openai, serves("y"), maps("claude-*", "y")), anthropic}, "claude-x", "", router.Choice{Index: 0}},
		{"who maps everything, as a fallback", []router.Candidate{with(openai, maps("*", "y")), with(anthropic, tried)}, "claude-x", "", router.Choice{Index: 0}},
		{"who lists everything said nothing of it", []router.Candidate{with(openai, serves("*")), with(anthropic, tried)}, "claude-x", "", router.Choice{Index: -1, Why: router.Tried}},
		{"a list beats no list", []router.Candidate{node("n", 1), with(anthropic, serves("glm-5"))}, "glm-5", "", router.Choice{Index: 1}},
		{"without a model no kind is preferred", []router.Candidate{openai, anthropic}, "", "", router.Choice{Index: 0}},
		{"a dotted name that Anthropic lists with dashes", []router.Candidate{openai, with(anthropic, serves("claude-opus-4-5"))}, "claude-opus-4.5", "", router.Choice{Index: 1}},
		{"a dotted name cools as it was sent", []router.Candidate{with(anthropic, cooling("claude-opus-4-5", time.Second))}, "claude-opus-4.5", "", router.Choice{Index: -1, Why: router.Cooling, Wait: time.Second}},
	} {
		for _, session := range []string{"", "s"} {
			r := router.Request{Model: tt.model, Session: session, Active: tt.active, Now: now, Policy: policy}
			if got := router.Pick(tt.cs, &r, seeded(1)); got != tt.want {
				t.Errorf("%s (session %q): got %+v, want %+v", tt.why, session, got, tt.want)
			}
		}
	}
}

// TestPick_Unable: who cannot express the request is never picked, and is the reason only where there is no other.
func TestPick_Unable(t *testing.T) {
	a, b := node("a", 1), node("b", 2)
	for _, tt := range []struct {
		why    string
		cs     []router.Candidate
		active string
		want   router.Choice
	}{
		{"the next tier", []router.Candidate{with(a, unable), b}, "", router.Choice{Index: 1}},
		{"not even the activated one", []router.Candidate{with(a, unable), b}, "a", router.Choice{Index: 1}},
		{"all", []router.Candidate{with(a, unable), with(b, unable)}, "", router.Choice{Index: -1, Why: router.Unfit}},
		{"it would not help that it is well again", []router.Candidate{with(a, unable, cooling("m", time.Second)), with(b, unable, failed(0))}, "", router.Choice{Index: -1, Why: router.Unfit}},
		{"beside one for other models", []router.Candidate{with(a, unable), with(b, serves("x"))}, "", router.Choice{Index: -1, Why: router.Unfit}},
		{"a disabled one is just disabled", []router.Candidate{with(a, unable, disabled)}, "", router.Choice{Index: -1, Why: router.NoNode}},
		{"one for other models is just that", []router.Candidate{with(a, unable, serves("x"))}, "", router.Choice{Index: -1, Why: router.NoModel}},
		{"beside one that fails, which may come back", []router.Candidate{with(a, unable), with(b, failed(0))}, "", router.Choice{Index: -1, Why: router.Failing, Wait: time.Second}},
		{"beside one that cools", []router.Candidate{with(a, unable), with(b, cooling("m", time.Second))}, "", router.Choice{Index: -1, Why: router.Cooling, Wait: time.Second}},
		{"beside one that was tried", []router.Candidate{with(a, unable), with(b, tried)}, "", router.Choice{Index: -1, Why: router.Tried}},
	} {
		r := router.Request{Model: "m", Active: tt.active, Now: now, Policy: policy}
		if got := router.Pick(tt.cs, &r, seeded(1)); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.why, got, tt.want)
		}
	}
}

func TestModels(t *testing.T) {
	account := &core.Account{ModelMap: pairsOf([]string{"fast", "mini", "claude-*", "gpt", "lost", "nobodys", "alias", "haiku-4-5", "gpt", "mini"})}
	cs := []router.Candidate{
		with(node("o", 1), kind(core.KindOpenAI), serves("gpt", "mini", "o-*"), maps("zeta", "gpt", "beta", "mini", "x-*", "y-*")),
		with(node("a", 2), kind(core.KindAnthropic), serves("claude-haiku-4-5", "gpt")),
		with(node("d", 3), kind(core.KindOpenAI), serves("hidden"), disabled),
	}
	for _, tt := range []struct {
		why   string
		allow []string
		want  []string
	}{
		{"each once, no patterns, no target that nobody serves", nil, []string{"gpt", "mini", "beta", "zeta", "claude-haiku-4-5", "alias", "fast"}},
		{"the key's list counts for the name that the client sends", []string{"gpt", "f*"}, []string{"gpt", "fast"}},
		{"nothing allowed", []string{"none"}, nil},
	} {
		if got := router.Models(account, cs, tt.allow); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
	if got := router.Models(account, append(cs, with(node("any", 4), kind(core.KindOpenAI))), []string{"lost"}); !slices.Equal(got, []string{"lost"}) {
		t.Errorf("a node without a list takes every target: got %q", got)
	}
	for _, tt := range []struct {
		why  string
		c    router.Candidate
		want bool
	}{
		{"no list", node("n", 1), true},
		{"no list, a map", with(node("n", 1), maps("a", "b")), true},
		{"a prefix", with(node("n", 1), serves("a", "b-*")), true},
		{"names only", with(node("n", 1), serves("a", "b")), false},
		{"disabled", with(node("n", 1), disabled), false},
	} {
		if got := router.Open(tt.c.Node); got != tt.want {
			t.Errorf("%s: open %v", tt.why, got)
		}
	}
}

func TestNames_AllocateNothing(t *testing.T) {
	cs := []router.Candidate{with(node("o", 1), kind(core.KindOpenAI)), with(node("a", 1), kind(core.KindAnthropic), serves("claude-*"))}
	plain, mapped := &core.Account{}, &core.Account{ModelMap: map[string]string{"claude-*": "x", "m": "n"}}
	for name, f := range map[string]func(){
		"no map":            func() { router.Resolve(plain, cs, "claude-sonnet-5-5") },
		"no map, [1m]":      func() { router.Resolve(plain, cs, "claude-sonnet-5-5[1m]") },
		"a gpt of OpenAI":   func() { router.Resolve(plain, cs, "gpt-4o") },
		"a map without a *": func() { router.Resolve(mapped, cs, "claude-sonnet-5-5") },
		"sent":              func() { router.SentModel(cs[1].Node, "claude-sonnet-5-5[1m]") },
		"picked": func() {
			router.Pick(cs, &router.Request{Model: "claude-sonnet-5-5", Now: now, Policy: policy}, seededOnce)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func seededOnce() uint64 { return 7 }

// FuzzNames: names are the client's. Whatever they are, the answers agree with each other.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"claude-sonnet-4.5[1m]", "sonnet-4.5", "*", "[1m]", "gpt-4o", "claude-.-opus", "a*b*c", "\xff\x00"} {
		f.Add(s, "claude-*", "x-*")
		f.Add(s, s, "*")
	}
	f.Fuzz(func(t *testing.T, model, key, to string) {
		a := &core.Account{ModelMap: map[string]string{key: to}}
		cs := []router.Candidate{with(node("a", 1), kind(core.KindAnthropic), serves("only"), maps(key, to)), with(node("b", 1), kind(core.KindBedrock))}
		name := router.Resolve(a, cs, model)
		if model == "" && name != "" {
			t.Errorf("no model became %q", name)
		}
		for _, c := range cs {
			if sent := router.SentModel(c.Node, name); len(sent) > len(name)+2*len(to)+len("claude-") {
				t.Errorf("%q became %q", name, sent)
			}
			if router.SentModel(c.Node, name) != name && !router.Serves(c.Node, name) && !strings.Contains(name, ".") {
				t.Errorf("%q is renamed by a node that does not serve it", name)
			}
		}
		if got := router.Pick(cs, &router.Request{Model: name, Now: now, Policy: policy}, seededOnce); got.Index < 0 {
			t.Errorf("%q: %+v though one node takes any name", name, got)
		}
	})
}
