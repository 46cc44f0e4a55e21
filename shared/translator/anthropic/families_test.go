package anthropic

import "testing"

// TestFamilyOf is a test from within: the table of names is easier to read than bodies are.
func TestFamilyOf(t *testing.T) {
	for _, c := range []struct {
		name                              string
		effort, adaptive, budgets, strict bool
		maxTokens                         int64
	}{
		{"claude-3-haiku-20240307", false, false, false, false, 4096},
		{"anthropic.claude-3-sonnet-20240229-v1:0", false, false, false, false, 4096},
		{"claude-2.1", false, false, false, false, 4096},
		{"claude-3-5-sonnet-20241022", false, false, false, false, 8192},
		{"anthropic/claude-3.5-haiku", false, false, false, false, 8192},
		{"claude-3-7-sonnet-latest", false, false, true, false, 32_000},
		{"claude-sonnet-4-20250514", false, false, true, false, 32_000},
		{"claude-opus-4-0", false, false, true, false, 32_000},
		{"claude-opus-4-1-20250805", false, false, true, false, 32_000},
		{"claude-sonnet-4-5-20250929", false, false, true, true, 32_000},
		{"us.anthropic.claude-haiku-4-5-20251001-v1:0", false, false, true, true, 32_000},
		{"claude-sonnet-4.5[1m]", false, false, true, true, 32_000},
		{"claude-opus-4-5-20251101", true, false, true, true, 32_000},
		{"claude-opus-4-6", true, true, false, true, 32_000},
		{"claude-opus-5", true, true, false, true, 32_000},
		{"Claude-Fable-5-2", true, true, false, true, 32_000},
		{"claude-opus-10", true, true, false, true, 32_000},
		{"claude-latest", true, true, false, true, 32_000},
		{"some-alias", true, true, false, true, 32_000},
		{"", true, true, false, true, 32_000},
	} {
		f := familyOf(c.name)
		if f.effort() != c.effort || f.adaptive() != c.adaptive || f.budgets() != c.budgets || f.strict() != c.strict || f.maxTokens() != c.maxTokens {
			t.Errorf("%s: %+v: effort %v, adaptive %v, budgets %v, strict %v, %d tokens", c.name, f, f.effort(), f.adaptive(), f.budgets(), f.strict(), f.maxTokens())
		}
	}
}
