package label_test

import (
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/metrics/internal/label"
	"sluice/shared/store"
)

func TestFamily(t *testing.T) {
	for _, c := range []struct{ why, asked, served, want string }{
		{"no model was named", "", "", "none"},
		{"what was sent counts", "my-alias", "claude-sonnet-4-5-20250929", "claude-sonnet"},
		{"what was asked for, when nothing was sent", "claude-opus-4-1", "", "claude-opus"},
		{"the family stands behind the version in old names", "claude-3-5-haiku-20241022", "", "claude-haiku"},
		{"vendor and region before it", "", "us.anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus"},
		{"a resource name", "", "arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-fable-5", "claude-fable"},
		{"capitals", "CLAUDE_MYTHOS_5", "", "claude-mythos"},
		{"a model before families had names", "claude-2.1", "", "claude"},
		{"OpenAI", "gpt-5.1-codex", "", "gpt"},
		{"a digit in the word", "o3-mini", "", "o"},
		{"a letter alone is no family", "o", "", "other"},
		{"digits at the end of the word", "qwen3-coder", "", "qwen"},
		{"the vendor's prefix", "meta.llama3-1-70b-instruct-v1:0", "", "llama"},
		{"an embedding", "text-embedding-3-small", "", "embedding"},
		{"a word that only begins like one", "opusculum", "", "other"},
		{"a word longer than any", "claudeclaudeclaudeclaudeclaude", "", "other"},
		{"digits alone", "12345", "", "other"},
		{"not text", "\xff\x00\"", "", "other"},
	} {
		if got := label.Families[label.Family(&core.Settlement{Model: c.asked, ServedModel: c.served})]; got != c.want {
			t.Errorf("%s: %q, %q is %s, want %s", c.why, c.asked, c.served, got, c.want)
		}
	}
}

func FuzzFamily(f *testing.F) {
	for _, s := range []string{"", "claude-opus-4-1", "o1", "us.anthropic.claude-3-5-haiku@20241022", "\xff-9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, model string) {
		_ = label.Families[label.Family(&core.Settlement{Model: model})]
	})
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		code   string
		want   string
		fault  bool
	}{
		{"a whole answer", 200, "", "success", false},
		{"the client left before an answer", 499, "client_gone", "client_gone", false},
		{"and during one", 200, "client_gone", "client_gone", false},
		{"the gateway refuses the request", 400, "invalid_request", "invalid", false},
		{"the upstream does", 400, "upstream_invalid_request_error", "invalid", false},
		{"too large", 413, "request_too_large", "invalid", false},
		{"no such key", 401, "unauthenticated", "auth", false},
		{"not allowed", 403, "forbidden", "auth", false},
		{"a limit", 429, "rate_limited", "rate_limited", false},
		{"the upstream's limit", 429, "upstream_rate_limit_error", "rate_limited", false},
		{"no node", 503, "unavailable", "unavailable", true},
		{"overloaded", 529, "overloaded", "unavailable", true},
		{"silence", 504, "timeout", "timeout", true},
		{"the upstream's own error", 500, "upstream_api_error", "upstream", true},
		{"no upstream answered", 502, "bad_gateway", "upstream", true},
		{"a bug", 500, "internal", "internal", true},
		{"a stream that the upstream ended with an error", 200, "upstream_overloaded_error", "upstream", true},
		{"a stream that was cut", 200, "stream_cut", "upstream", true},
		{"a stream that the gateway ended", 200, "timeout", "timeout", true},
		{"a code that nobody knows", 200, "strange", "internal", true},
		{"no status", 0, "", "internal", true},
	} {
		i := label.Outcome(&core.Settlement{Status: c.status, ErrorCode: c.code})
		if label.Outcomes[i] != c.want || label.OurFault(i) != c.fault {
			t.Errorf("%s: %d %q is %s, at fault %t", c.why, c.status, c.code, label.Outcomes[i], label.OurFault(i))
		}
	}
}

// Every name that the packages above speak has a label of its own.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range []store.LimitName{store.LimitRPM, store.LimitTPM, store.LimitRPD, store.LimitUSDDay, store.LimitUSDMonth, store.LimitConcurrency} {
		seen[label.Limits[label.Limit(string(l))]] = true
	}
	if len(seen) != len(label.Limits)-1 || seen[label.Other] {
		t.Errorf("limits are named %v", seen)
	}
	for _, k := range []core.Kind{core.KindAnthropic, core.KindOpenAI, core.KindBedrock, core.KindAmazonQ} {
		if label.Kinds[label.Kind(k)] != string(k) {
			t.Errorf("kind %s is %s", k, label.Kinds[label.Kind(k)])
		}
	}
	if got := label.Kinds[label.Kind("")] + label.Kinds[label.Kind("gopher")]; got != "noneother" {
		t.Errorf("no kind and an unknown one are %s", got)
	}
	for _, c := range []core.Condition{core.Online, core.Degraded, core.Cooling, core.Failed, core.HalfOpen, core.Disabled, core.BlockedLogin, core.BlockedSuspended} {
		if label.Conditions[label.Condition(c)] != string(c) {
			t.Errorf("condition %s is %s", c, label.Conditions[label.Condition(c)])
		}
	}
	if label.Refreshes[label.Refresh("?")] != "failed" || label.Classes[label.Class("?")] != "other" || label.Conditions[label.Condition("?")] != "other" {
		t.Error("an unknown name must not be taken for a known one")
	}
	if !label.FailedClass(label.Class("server")) || label.FailedClass(label.Class("ok")) || label.FailedClass(label.Class("client_fault")) {
		t.Error("classes that are failures")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s := &core.Settlement{ServedModel: "us.anthropic.CLAUDE-opus-4-1-20250805-v1:0", Status: 200, EndedAt: time.Now()}
	if n := testing.AllocsPerRun(100, func() { label.Family(s); label.Outcome(s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
