package gateway_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sluice/shared/core"
)

// TestBedrockFront_Regions: mantle answers in the region of its host, which the base URL says before the node does; ids and ARNs
// of profiles name the regions that a request must stay in.
func TestBedrockFront_Regions(t *testing.T) {
	host := func(region string) func(*core.Node) {
		return func(n *core.Node) { n.BaseURL = "https://bedrock-mantle." + region + ".api.aws/anthropic" }
	}
	region := func(region string) func(*core.Node) { return func(n *core.Node) { n.Region = region } }
	arn := func(profile string) string {
		return url.PathEscape("arn:aws:bedrock:us-east-1:123456789012:inference-profile/" + profile)
	}
	const opus = "anthropic.claude-opus-5-5"
	for _, c := range []struct {
		why, id string
		mantle  []func(*core.Node)
		node    string // the one that serves it: there is an Anthropic node, too
	}{
		{"the host is in the profile's regions, and the node says none", "eu." + opus, []func(*core.Node){region(""), host("eu-west-1")}, "mantle"},
		{"the node says so, but the host is elsewhere", "eu." + opus, []func(*core.Node){region("eu-west-1"), host("us-east-1")}, "anthropic"},
		{"the ARN of a profile", arn("us." + opus), nil, "mantle"},
		{"the ARN of one of other regions", arn("eu." + opus), nil, "anthropic"},
		{"the ARN of a global one", arn("global." + opus), nil, "mantle"},
		{"the ARN of a model", url.PathEscape("arn:aws:bedrock:us-east-1::foundation-model/" + opus), nil, "mantle"},
		{"Canada may call the US profile, but does not answer in the US", "us." + opus, []func(*core.Node){region("ca-central-1")}, "anthropic"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			r.fakeNode("anthropic", weight(2)).Default(frontReply())
			r.bedrock("mantle", "messages", append(c.mantle, weight(1))...)
			r.up.Default(frontReply())
			_ = r.do("POST", "/bedrock/model/"+c.id+"/invoke", "{"+frontVersion+","+bedrockRest+"}")
			if rec := r.record(); rec.NodeName != c.node {
				t.Errorf("served by %q, want %q: status %d", rec.NodeName, c.node, rec.Status)
			}
		})
	}
	// A global profile is served by whoever comes next.
	r := newBedrockRig(t, nil, oneTry...)
	r.fakeNode("anthropic", weight(1)).Default(frontReply())
	r.bedrock("mantle", "messages", weight(2))
	_ = r.do("POST", "/bedrock/model/"+arn("global."+opus)+"/invoke", "{"+frontVersion+","+bedrockRest+"}")
	if rec := r.record(); rec.NodeName != "anthropic" {
		t.Errorf("the ARN of a global profile: served by %q", rec.NodeName)
	}
}

// TestBedrockFront_FlagsAmongOthers: a node of Bedrock gets the body's flags alone also where nodes of other kinds could answer,
// which get both.
func TestBedrockFront_FlagsAmongOthers(t *testing.T) {
	const flag = "interleaved-thinking-2025-05-14"
	const body = `"anthropic_beta":["` + flag + `"],` + bedrockRest
	for api, edit := range map[string]func(*core.Node){"invoke": weight(1), "messages": weight(1), "runtime": runtimeNative} {
		for _, id := range []string{"us.anthropic.claude-opus-5-5", "global.anthropic.claude-opus-5-5"} {
			r := newBedrockRig(t, nil, oneTry...)
			r.fakeNode("anthropic", weight(2)).Default(frontReply())
			r.bedrock("b", strings.ReplaceAll(api, "runtime", "messages"), edit, weight(1))
			r.up.Default(frontReply())
			got := r.invokes(id, body, true, "Anthropic-Beta", "claude-code-20250219,context-1m-2025-08-07")
			if rec := r.record(); got.status != 200 || rec.NodeName != "b" {
				t.Errorf("%s, %s: status %d by %q: %s", api, id, got.status, rec.NodeName, tail(got.body))
				continue
			}
			said := string(r.sawLast().Body) + r.sawLast().Header.Get("Anthropic-Beta")
			if !strings.Contains(said, flag) || strings.Contains(said, "claude-code") || strings.Contains(said, "context-1m") {
				t.Errorf("%s, %s: the service got %s", api, id, said)
			}
		}
	}
}

// TestBedrockFront_GuardrailUnreadable: a guardrail that cannot be passed on is not left out.
func TestBedrockFront_GuardrailUnreadable(t *testing.T) {
	for _, c := range []struct {
		why    string
		values []string
	}{
		{"empty", []string{""}},
		{"twice", []string{"gr-1", "gr-2"}},
		{"not ASCII", []string{"gr-1\u00e9"}},
		{"two spaces, which a signature does not keep", []string{"gr  1"}},
	} {
		for _, name := range []string{"X-Amzn-Bedrock-Guardrailidentifier", "X-Amzn-Bedrock-Guardrailversion"} {
			r := newBedrockRig(t, nil, oneTry...)
			r.bedrock("b", "invoke")
			r.up.Default(frontReply())
			q := r.request(t.Context(), http.MethodPost, frontPath(frontID, "invoke"), "{"+frontVersion+","+bedrockRest+"}", "X-Amzn-Bedrock-Guardrailidentifier", "gr-1")
			q.Header[name] = c.values
			if got := r.send(q); got.status != 400 || len(r.up.Calls()) > 0 {
				t.Errorf("%s, %s: status %d, %d calls", c.why, name, got.status, len(r.up.Calls()))
			}
		}
	}
}
