package bedrock_test

import (
	"slices"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream/bedrock"
)

func TestModelID(t *testing.T) {
	const profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
	runtime := "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic"
	platform := "https://aws-external-anthropic.us-west-2.api.aws"
	for _, c := range []struct {
		why, name, api, region, base, want string
	}{
		{"mantle: bare", "claude-sonnet-4-5", "", "us-east-1", "", "anthropic.claude-sonnet-4-5"},
		{"mantle: without date", "claude-sonnet-4-5-20250929", "messages", "us-east-1", "", "anthropic.claude-sonnet-4-5"},
		{"mantle: latest", "claude-3-5-haiku-latest", "", "us-east-1", "", "anthropic.claude-3-5-haiku"},
		{"mantle: newer", "claude-opus-5-5[1m]", "", "us-east-1", "", "anthropic.claude-opus-5-5"},
		{"mantle: an id stays", "us." + sonnet, "", "us-east-1", "", "us." + sonnet},
		{"platform: Anthropic's own names", "claude-sonnet-4-5-20250929", "", "", platform, "claude-sonnet-4-5-20250929"},
		{"runtime, native", "claude-opus-4-7", "", "us-east-1", runtime, "eu.anthropic.claude-opus-4-7"},
		{"runtime", "claude-sonnet-4-5", "invoke", "us-west-2", "", "us." + sonnet},
		{"runtime: date", "claude-sonnet-4-5-20250929", "converse", "eu-north-1", "", "eu." + sonnet},
		{"runtime: Tokyo", "claude-sonnet-4-5", "invoke", "ap-northeast-1", "", "jp." + sonnet},
		{"runtime: Tokyo, of before there was jp.", "claude-sonnet-4-0", "invoke", "ap-northeast-1", "", "apac.anthropic.claude-sonnet-4-20250514-v1:0"},
		{"runtime: Sydney", "claude-haiku-4-5", "invoke", "ap-southeast-2", "", "au.anthropic.claude-haiku-4-5-20251001-v1:0"},
		{"runtime: Singapore", "claude-3-7-sonnet-latest", "invoke", "ap-southeast-1", "", "apac.anthropic.claude-3-7-sonnet-20250219-v1:0"},
		{"runtime: GovCloud", "claude-sonnet-4-5", "invoke", "us-gov-west-1", "", "us-gov." + sonnet},
		{"runtime: elsewhere", "claude-opus-5-5", "invoke", "sa-east-1", "", "global.anthropic.claude-opus-5-5"},
		{"runtime: dot in the version", "claude-opus-4.7", "invoke", "us-east-1", "", "us.anthropic.claude-opus-4-7"},
		{"runtime: 4.6 has a revision", "claude-opus-4-6", "invoke", "us-east-1", "", "us.anthropic.claude-opus-4-6-v1"},
		{"runtime: newer with a date", "claude-opus-5-5-20260915", "invoke", "us-east-1", "", "us.anthropic.claude-opus-5-5"},
		{"runtime: on demand", "claude-3-haiku-20240307", "invoke", "us-east-1", "", "anthropic.claude-3-haiku-20240307-v1:0"},
		{"runtime: the first 3.5", "claude-3-5-sonnet-20240620", "invoke", "us-east-1", "", "anthropic.claude-3-5-sonnet-20240620-v1:0"},
		{"runtime: the second 3.5", "claude-3-5-sonnet-20241022", "invoke", "us-east-1", "", "us.anthropic.claude-3-5-sonnet-20241022-v2:0"},
		{"an id", sonnet, "invoke", "us-east-1", "", sonnet},
		{"a profile", "global." + sonnet, "invoke", "us-east-1", "", "global." + sonnet},
		{"an ARN", profile, "converse", "us-east-1", "", profile},
		{"another maker's", "amazon.nova-pro-v1:0", "converse", "us-east-1", "", "amazon.nova-pro-v1:0"},
		{"nobody's", "gpt-4.1", "converse", "us-east-1", "", "gpt-4.1"},
		{"nothing", "", "converse", "us-east-1", "", ""},
	} {
		if got := bedrock.ModelID(&core.Node{API: c.api, Region: c.region, BaseURL: c.base}, c.name); got != c.want {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
	}
}

func TestCandidatesAndPick(t *testing.T) {
	for _, c := range []struct{ name, region, want string }{
		{"claude-opus-5-5", "ap-northeast-1", "jp.anthropic.claude-opus-5-5 apac.anthropic.claude-opus-5-5 global.anthropic.claude-opus-5-5 anthropic.claude-opus-5-5"},
		{"claude-sonnet-4", "ap-southeast-2", "apac.anthropic.claude-sonnet-4-20250514-v1:0 global.anthropic.claude-sonnet-4-20250514-v1:0 au.anthropic.claude-sonnet-4-20250514-v1:0 anthropic.claude-sonnet-4-20250514-v1:0"},
		{"claude-3-haiku", "eu-west-1", "anthropic.claude-3-haiku-20240307-v1:0 eu.anthropic.claude-3-haiku-20240307-v1:0 global.anthropic.claude-3-haiku-20240307-v1:0"},
		{"us.meta.llama3-1-8b-instruct-v1:0", "eu-west-1", "us.meta.llama3-1-8b-instruct-v1:0"},
		{"claude-opus-4-7", "", "global.anthropic.claude-opus-4-7 anthropic.claude-opus-4-7"},
	} {
		if got := strings.Join(bedrock.Candidates(c.name, c.region), " "); got != c.want {
			t.Errorf("%s in %s: got %s", c.name, c.region, got)
		}
	}
	catalogue := []string{"global.anthropic.claude-opus-5-5", "anthropic.claude-opus-5-5"}
	has := func(id string) bool { return slices.Contains(catalogue, id) }
	if got := bedrock.Pick("claude-opus-5-5", "ca-central-1", has); got != catalogue[0] {
		t.Errorf("got %s", got)
	}
	if got := bedrock.Pick("claude-opus-4-7", "ca-central-1", has); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestFamilyAndNames(t *testing.T) {
	for _, c := range []struct{ id, family, name string }{
		{"claude-sonnet-4-5", "claude-sonnet-4-5", "claude-sonnet-4-5"},
		{sonnet, "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"},
		{"us." + sonnet, "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"},
		{"us-gov." + sonnet, "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"},
		{"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us." + sonnet, "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"},
		{"arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-7", "claude-opus-4-7", "claude-opus-4-7"},
		{"global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6", "claude-opus-4-6"},
		{"anthropic.claude-3-haiku-20240307-v1:0:200k", "claude-3-haiku", "claude-3-haiku-20240307"},
		{"anthropic.claude-v2:1", "claude", "claude"},
		{"claude-sonnet-4-0", "claude-sonnet-4", "claude-sonnet-4-0"},
		{"claude-sonnet-4.5[1m]", "claude-sonnet-4-5", "claude-sonnet-4.5[1m]"},
		{"Claude-Opus-4-7-latest", "claude-opus-4-7", "Claude-Opus-4-7-latest"},
		{"us.amazon.nova-pro-v1:0", "amazon.nova-pro", "amazon.nova-pro-v1:0"},
		{"us.deepseek.r1-v1:0", "deepseek.r1", "deepseek.r1-v1:0"},
		{"qwen.qwen3-coder-480b-a35b-v1:0", "qwen.qwen3-coder-480b-a35b", "qwen.qwen3-coder-480b-a35b-v1:0"},
		{"openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b-1:0"},
		{"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1"},
		{"us.", "us.", "us."},
		{"gpt-4o", "gpt-4o", "gpt-4o"},
		{"", "", ""},
	} {
		if got := bedrock.Family(c.id); got != c.family {
			t.Errorf("family of %q: got %q, want %q", c.id, got, c.family)
		}
		if got := bedrock.AnthropicName(c.id); got != c.name {
			t.Errorf("name of %q: got %q, want %q", c.id, got, c.name)
		}
	}
}

// FuzzModels: no name makes any of the functions panic, and what they return for a name they return for it again.
func FuzzModels(f *testing.F) {
	for _, s := range []string{sonnet, "claude-sonnet-4-5", "arn:aws:bedrock:x::foundation-model/us.a.b", "us.", "-v", "a-v1:"} {
		f.Add(s, "us-east-1")
	}
	f.Fuzz(func(t *testing.T, id, region string) {
		n := &core.Node{API: "invoke", Region: region}
		sent := bedrock.ModelID(n, id)
		if again := bedrock.ModelID(n, sent); again != sent && !strings.HasSuffix(sent, "[1m]") {
			t.Errorf("%q became %q and then %q", id, sent, again)
		}
		if family := bedrock.Family(id); strings.HasPrefix(id, "claude-") && bedrock.IsID(sent) && bedrock.Family(sent) != family && !strings.ContainsAny(id, "[:ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Logf("family of %q is %q, of %q %q", id, family, sent, bedrock.Family(sent))
		}
		bedrock.AnthropicName(id)
		bedrock.BareID(id)
	})
}
