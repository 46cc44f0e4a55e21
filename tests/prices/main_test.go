package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/pricing"
)

const genaiList = `{"version": "9.9.9", "providers": [
{"id": "openai", "models": [
 {"id": "gpt-a", "match": {"or": [{"equals": "gpt-a-2026-01-02"}, {"equals": "gpt-alias"}, {"regex": "^x"}]}, "prices": [
  {"prices": {"input_mtok": 2, "output_mtok": 4, "web_searches_kcount": 10}},
  {"constraint": {"type": "start_date", "start_date": "2026-03-01"}, "prices": {"input_mtok": {"base": 1, "tiers": [{"start": 200, "price": 3}]}, "output_mtok": 2}}]},
 {"id": "gpt-hours", "prices": [{"prices": {"input_mtok": 1, "output_mtok": 1}}, {"constraint": {"type": "time_of_date"}, "prices": {"input_mtok": 2, "output_mtok": 2}}]},
 {"id": "gpt-many", "prices": {"input_mtok": {"base": 1, "tiers": [{"start": 1, "price": 2}, {"start": 2, "price": 3}]}, "output_mtok": 1}},
 {"id": "gpt-b", "prices": {"input_mtok": 1, "output_mtok": 1}}, {"id": "gpt-b-latest", "prices": {"input_mtok": 5, "output_mtok": 5}},
 {"id": "text-embedding-a", "prices": {"input_mtok": 1, "output_mtok": 1}}, {"id": "gpt-free", "prices": {}}]},
{"id": "aws", "models": [
 {"id": "global.amazon.nova-a-v1:0", "prices": {"input_mtok": 10, "output_mtok": 20}},
 {"id": "regional.amazon.nova-a-v1:0", "match": {"equals": "us.amazon.nova-a-v1:0"}, "prices": {"input_mtok": 11, "output_mtok": 22}},
 {"id": "regional.anthropic.claude-own-v1:0", "prices": {"input_mtok": 11, "output_mtok": 22}}]},
{"id": "reseller", "models": [{"id": "gpt-c", "prices": {"input_mtok": 1, "output_mtok": 1}}]}]}`

const liteList = `{"sample_spec": {}, "gpt-a": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
"claude-own": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 9e-06, "output_cost_per_token": 9e-06}}`

func TestRun(t *testing.T) {
	const own = "#source mine = read 2026-01-01\nclaude-own,,,,1/2,,,,,,mine\n"
	for _, c := range []struct{ why, list, want, says string }{
		{"genai-prices", genaiList, `claude-own,,,,1/2,,,,,,mine
gpt-a gpt-alias,,,2026-03-01,2/4,,,10,,,list
gpt-a gpt-alias,,2026-03-01,,1/2,200:3/2,,,,,list
gpt-b,,,,5/5,,,,,,list
gpt-hours,,,,2/2,,,,,,list
amazon.nova-a,bedrock,,,10/20,,,,110,,list
`, "genai-prices 9.9.9 (MIT), taken 2026-02-03"},
		{"LiteLLM", liteList, "claude-own,,,,1/2,,,,,,mine\ngpt-a,,,,1/2,,,,,,list\n", "LiteLLM's price list (MIT), taken 2026-02-03"},
	} {
		dir := t.TempDir()
		list, reference, out := filepath.Join(dir, "list"), filepath.Join(dir, "reference"), filepath.Join(dir, "out")
		for name, text := range map[string]string{list: c.list, reference: own} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := run(list, reference, out, "2026-02-03"); err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		file, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for line := range strings.Lines(string(file)) {
			if line[0] != '#' && !strings.HasPrefix(line, "model,") {
				got.WriteString(line)
			}
		}
		if got.String() != c.want || !strings.Contains(string(file), c.says) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.why, file, c.want)
		}
		if rows, err := pricing.ReadTable(strings.NewReader(string(file))); err != nil || len(rows) < 2 {
			t.Errorf("%s: %d rows, %v", c.why, len(rows), err)
		}
	}
}
