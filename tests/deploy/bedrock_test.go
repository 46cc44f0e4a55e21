package deploy

import (
	"encoding/json"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// bedrockPaths are the operations that shared/upstream/bedrock asks for by path or parameter, as its source writes them, with the
// action that IAM asks for (docs.aws.amazon.com/service-authorization, Amazon Bedrock and Amazon Bedrock Mantle).
var bedrockPaths = map[string]string{
	"invoke": "bedrock:InvokeModel", "converse": "bedrock:InvokeModel",
	"invoke-with-response-stream": "bedrock:InvokeModelWithResponseStream", "converse-stream": "bedrock:InvokeModelWithResponseStream",
	"count-tokens": "bedrock:CountTokens", "/foundation-models": "bedrock:ListFoundationModels", "/inference-profiles": "bedrock:ListInferenceProfiles",
	"/anthropic": "bedrock-mantle:CreateInference", "/v1/models": "bedrock-mantle:List*", "AssumeRole": "sts:AssumeRole",
}

// mantleReads is what AWS's own managed policy for mantle has beside List*.
const mantleReads = "bedrock-mantle:Get*"

// bedrockCalls are the actions that the package needs. One that it does not speak of any more is reported.
func bedrockCalls(t testing.TB) map[string]bool {
	t.Helper()
	said := map[string]bool{}
	for _, f := range files(t, "shared/upstream/bedrock") {
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				s, _ := quoted(lit)
				said[s] = true
			}
			return true
		})
	}
	out := map[string]bool{mantleReads: true}
	for path, action := range bedrockPaths {
		if !said[path] {
			t.Errorf("shared/upstream/bedrock does not ask for %s any more: is %s still needed?", path, action)
		}
		out[action] = true
	}
	return out
}

// allows are the actions of a function's role, with their resources, in one variant of the stack.
func (s stack) allows(t testing.TB, role string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	collect := func(v any) {
		walk(v, role, func(path string, o object) {
			if o["Effect"] == nil || strings.Contains(path, "AssumeRolePolicyDocument") {
				return
			}
			for _, a := range list(o["Action"]) {
				out[a] = append(out[a], list(o["Resource"])...)
			}
		})
	}
	r := s.resolve(at(s.tpl.Resources[role], "Properties")).(object)
	collect(r)
	for _, ref := range list(r["ManagedPolicyArns"]) {
		if id := strings.Trim(ref, "<>"); id != ref {
			collect(s.resolve(at(s.tpl.Resources[id], "Properties")))
		}
	}
	return out
}

// list is a value of a policy that may be one or several.
func list(v any) (out []string) {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	many, _ := v.([]any)
	for _, x := range many {
		out = append(out, x.(string))
	}
	return out
}

// TestTemplateBedrock: the functions' own roles may call Bedrock, and assume roles, only where a parameter says so, and then
// each as much as it needs.
func TestTemplateBedrock(t *testing.T) {
	tpl := loadTemplate(t)
	const roles = "arn:aws:iam::123456789012:role/a"
	asks := []string{"bedrock-mantle:CreateInference", "bedrock-mantle:Get*", "bedrock-mantle:List*", "bedrock:InvokeModel", "bedrock:ListFoundationModels",
		"bedrock:ListInferenceProfiles"}
	serves := slices.Sorted(slices.Values(append([]string{"bedrock:CountTokens", "bedrock:InvokeModelWithResponseStream"}, asks...)))
	for _, c := range []struct {
		why    string
		params map[string]string
		want   map[string][]string // by role
	}{
		{"nothing said", nil, map[string][]string{"ProxyRole": nil, "AdminRole": nil, "HealthcheckRole": nil}},
		{"said no", map[string]string{"AllowBedrock": "false"}, map[string][]string{"ProxyRole": nil, "AdminRole": nil, "HealthcheckRole": nil}},
		{"the functions' own", map[string]string{"AllowBedrock": "true"}, map[string][]string{"ProxyRole": serves, "AdminRole": asks, "HealthcheckRole": asks}},
		{"roles alone", map[string]string{"BedrockRoleArns": roles}, map[string][]string{"ProxyRole": {"sts:AssumeRole"}, "AdminRole": {"sts:AssumeRole"}, "HealthcheckRole": {"sts:AssumeRole"}}},
		{"both", map[string]string{"AllowBedrock": "true", "BedrockRoleArns": roles}, map[string][]string{"ProxyRole": append(slices.Clone(serves), "sts:AssumeRole"),
			"AdminRole": append(slices.Clone(asks), "sts:AssumeRole"), "HealthcheckRole": append(slices.Clone(asks), "sts:AssumeRole")}},
	} {
		s := newStack(t, tpl, c.params)
		for role, want := range c.want {
			allowed := s.allows(t, role)
			maps.DeleteFunc(allowed, func(a string, _ []string) bool {
				return !strings.HasPrefix(a, "bedrock") && !strings.HasPrefix(a, "sts:")
			})
			if got := slices.Sorted(maps.Keys(allowed)); !slices.Equal(got, want) {
				t.Errorf("%s: %s may %v, want %v", c.why, role, got, want)
			}
			if got := allowed["sts:AssumeRole"]; len(got) > 0 && !slices.Equal(got, []string{roles}) {
				t.Errorf("%s: %s may assume %v", c.why, role, got)
			}
		}
	}
}

// TestBedrockPermissionsAreDocumented: docs/bedrock.md gives the same statements for the users that nodes have keys of.
func TestBedrockPermissionsAreDocumented(t *testing.T) {
	block := regexp.MustCompile("(?s)```json\n(\\{\\s*\"Version\".*?)```").FindStringSubmatch(read(t, "docs/bedrock.md"))
	if block == nil {
		t.Fatal("docs/bedrock.md has no policy")
	}
	var policy object
	if err := json.Unmarshal([]byte(block[1]), &policy); err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	walk(policy, "", func(_ string, o object) {
		for _, a := range list(o["Action"]) {
			documented[a] = list(o["Resource"])
		}
	})
	allowed := newStack(t, loadTemplate(t), map[string]string{"AllowBedrock": "true"}).allows(t, "ProxyRole")
	maps.DeleteFunc(allowed, func(a string, _ []string) bool { return !strings.HasPrefix(a, "bedrock") })
	if !maps.EqualFunc(allowed, documented, slices.Equal) {
		t.Errorf("the template allows %v\ndocs/bedrock.md    %v", allowed, documented)
	}
}
