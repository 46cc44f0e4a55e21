package main

import (
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	row := func(cpu, added float64) []*targetResult {
		return []*targetResult{{Name: targetProxy}, {
			Name: targetGateway, CPURatio: &spread{cpu, 0.5, 2}, Added50: &spread{added, 1, 900},
		}}
	}
	for _, tt := range []struct {
		name string
		goal goal
		rows []*targetResult
		want string
	}{
		{"Reached", cpuGoal(0.9), row(0.63, 0), "gateway CPU, target <= 0.90x: 0.63x ok"},
		{"Equal", cpuGoal(0.9), row(0.9, 0), "gateway CPU, target <= 0.90x: 0.90x ok"},
		{"Missed", cpuGoal(0.9), row(1.2, 0), "gateway CPU, target <= 0.90x: 1.20x MISSED"},
		{"Under", addedGoal, row(0, 499), "gateway added p50, target < 500 µs: 499 µs ok"},
		{"NotUnder", addedGoal, row(0, 500), "gateway added p50, target < 500 µs: 500 µs MISSED"},
		{"NoBase", memoryGoal, row(0, 0), "gateway memory per open stream, target <= 1.00x: not measured"},
		{"OfAnotherRow", translationGoal(1.5), []*targetResult{{Name: targetPassed}, {Name: targetTranslated, CPURatio: &spread{1.51, 1, 2}}},
			"translated CPU, target <= 1.50x: 1.51x MISSED"},
		{"OnlyTheBase", translationGoal(1.5), []*targetResult{{Name: targetPassed, CPURatio: &spread{1, 1, 1}}}, ""},
		{"NoGateway", addedGoal, row(0, 0)[:1], ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.goal.verdict(tt.rows); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTables(t *testing.T) {
	res := scenarioResult{ID: "a", Title: "small", columns: []column{colTarget, colP50, colRatio}, Targets: []*targetResult{
		{Name: targetProxy, P50: 1234, CPURatio: &spread{1, 1, 1}},
		{Name: targetGateway, P50: 56.7, CPURatio: &spread{0.63, 0.6, 0.701}, Error: "it broke"},
	}}
	var text, md strings.Builder
	res.writeText(&text)
	res.writeMarkdown(&md)
	wantText := `
(a) small
  target            p50            CPU ratio
  reverseproxy  1.23 ms                 1.00
  gateway         57 µs  0.63 (0.60 to 0.70)
  FAILED: gateway: it broke
`
	wantMD := `
**(a) small**

| target | p50 | CPU ratio |
| --- | ---: | ---: |
| reverseproxy | 1.23 ms | 1.00 |
| gateway | 57 µs | 0.63 (0.60 to 0.70) |

- FAILED: gateway: it broke
`
	if got := text.String(); got != wantText {
		t.Errorf("text:\n%s\nwant:\n%s", got, wantText)
	}
	if got := md.String(); got != wantMD {
		t.Errorf("markdown:\n%s\nwant:\n%s", got, wantMD)
	}
	rep := report{Scenarios: []scenarioResult{res}}
	if n := rep.failures(); n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
}
