package pricing_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

// litellm is a list with an entry of each sort, made by hand.
const litellm = `{
"sample_spec": {"mode": "one of: chat, embedding", "litellm_provider": "anthropic", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "max_tokens": "text"},
"claude-a": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 3e-07,
  "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06, "provider_specific_entry": {"fast": 2, "us": 1.1},
  "search_context_cost_per_query": {"search_context_size_medium": 0.01}, "input_cost_per_token_batches": 1.5e-06, "output_cost_per_token_batches": 7.5e-06},
"claude-a-20260101": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 4e-06, "output_cost_per_token": 2e-05},
"anthropic.claude-b-20260101-v1:0": {"litellm_provider": "bedrock_converse", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06},
"eu.anthropic.claude-b-20260101-v1:0": {"litellm_provider": "bedrock_converse", "mode": "chat", "input_cost_per_token": 1.1e-06, "output_cost_per_token": 5.5e-06},
"eu.meta.llama9-v1:0": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1.2e-06, "output_cost_per_token": 1.2e-06},
"meta.llama9-v1:0": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"gemini/gemini-a": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1.2500000000000001e-06, "output_cost_per_token": 0.00001, "input_cost_per_token_above_200k_tokens": 2.5e-06,
  "output_cost_per_token_above_200k_tokens": 1.5e-05, "cache_read_input_token_cost": null},
"gpt-a": {"litellm_provider": "openai", "mode": "responses", "input_cost_per_token": 5e-13, "output_cost_per_token": 4e-13, "input_cost_per_token_priority": 1e-12, "output_cost_per_token_priority": 1e-12},
"gpt-b-20250101": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"gpt-b-20260101": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-06, "output_cost_per_token": 2e-06},
"gpt-two-bands": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "input_cost_per_token_above_128k_tokens": 2e-06, "input_cost_per_token_above_256k_tokens": 3e-06},
"gpt-free": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
"gpt-half": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06},
"gpt-minus": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": -1e-06, "output_cost_per_token": 1e-06},
"gpt-huge": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e300, "output_cost_per_token": 1e-06},
"gpt-text": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": "1e-06", "output_cost_per_token": 1e-06},
"gpt-draws": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"openrouter/gpt-a": {"litellm_provider": "openrouter", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"bedrock/us-east-1/1-month-commitment/anthropic.claude-b": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
"gpt-list": [1], "gpt-null": null
}`

func TestParse(t *testing.T) {
	rows, err := pricing.Parse(strings.NewReader(litellm))
	if err != nil {
		t.Fatal(err)
	}
	got := string(pricing.AppendTable(nil, rows))
	want := `model,kind,from,to,price,long,fast,search,regional,batch,source
claude-a,,,,3/15/0.3/3.75/6,,6/30/0.6/7.5/12,10,110,50,
claude-b,bedrock,,,1/5,,,,110,,
gemini-a,,,,1.25/10,200000:2.5/15,,,,,
gpt-a,,,,0.000001/0,,0.000001/0.000001,,,,
meta.llama9,bedrock,,,1/1,,,,120,,
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	one := `"gpt-a": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}`
	for _, c := range []struct{ why, doc, says string }{
		{"nothing", "", "no JSON object"},
		{"another shape", "[1]", "no JSON object"},
		{"no list of prices", `{"a": {"b": 1}}`, "LiteLLM"},
		{"cut off", "{" + one, "valid JSON"},
		{"no number of JSON's", `{"gpt-a": {"input_cost_per_token": NaN}}`, "valid JSON"},
		{"a name twice", "{" + one + "," + one + "}", "twice"},
		{"more behind it", "{" + one + "} {", "follows"},
		{"a brace behind it", "{" + one + "}}", "follows"},
		{"nested without end", `{"a": ` + strings.Repeat("[", 1<<20), "valid JSON"},
		{"too long", "{" + strings.Repeat(" ", 8<<20), "over 8388608 bytes"},
	} {
		if rows, err := pricing.Parse(strings.NewReader(c.doc)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", c.why, rows, err)
		}
	}
}

// Figures are converted as decimals: a float would be off by one now and then.
func TestParseIsExact(t *testing.T) {
	for _, c := range []struct {
		why, number string
		usd         string // for a million tokens, as the table writes it; empty: skipped
	}{
		{"an exponent", "1.5e-05", "15"},
		{"none", "0.00000025", "0.25"},
		{"a float's noise", "2.9999999999999997e-06", "3"},
		{"half a unit is one", "1.0000005e-06", "1.000001"},
		{"less is none", "1.0000004999e-06", "1"},
		{"a capital", "15E-06", "15"},
		{"a plus", "0.000000000015e+6", "15"},
		{"a whole number", "0.001", "1000"},
		{"one too many", "0.0010000001", ""},
		{"rounded to the bound", "0.0009999999999995", "1000"},
		{"rounded past the bound", "0.0010000000005", ""},
		{"an exponent without end", "1e-99999999999999999999", ""},
		{"a small one", "1e-900", "0"},
		{"digits without end", "0." + strings.Repeat("0", 400) + "1", "0"},
		{"hundreds of nines", "0.00000" + strings.Repeat("9", 400), "10"},
		{"zero with an exponent", "0e900", "0"},
	} {
		doc := fmt.Sprintf(`{"gpt-a": {"litellm_provider": "openai", "input_cost_per_token": %s, "output_cost_per_token": 1e-06}}`, c.number)
		rows, err := pricing.Parse(strings.NewReader(doc))
		if c.usd == "" {
			if err == nil {
				t.Errorf("%s: %s is taken as %+v", c.why, c.number, rows)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
		} else if got := strings.Split(string(pricing.AppendTable(nil, rows)), ",")[14]; got != c.usd+"/1" {
			t.Errorf("%s: %s is %s, want %s/1", c.why, c.number, got, c.usd)
		}
	}
}

// FuzzParse: whatever is taken makes a list, and prices nothing that the file does not.
func FuzzParse(f *testing.F) {
	f.Add([]byte(litellm))
	f.Add([]byte(`{"a": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "input_cost_per_token_above_0k_tokens": 1}}`))
	f.Add([]byte(`{"US.anthropic.a-v1:0": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-12, "output_cost_per_token": 1e-03}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		rows, err := pricing.Parse(bytes.NewReader(doc))
		if err != nil {
			return
		}
		l, err := pricing.New(rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if micro, _ := l.Cost(r.Model, core.Tokens{Input: 1}, november); micro < 0 {
				t.Errorf("%+v costs %d", r, micro)
			}
		}
		back, err := pricing.ReadTable(bytes.NewReader(pricing.AppendTable(nil, rows)))
		if err != nil || len(back) != len(rows) {
			t.Errorf("%d rows, then %d: %v", len(rows), len(back), err)
		}
	})
}
