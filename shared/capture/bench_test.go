package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/shared/capture"
)

// BenchmarkRedact is the redaction of the largest usual exchange: 1 MiB of a conversation and a stream of 1 MiB.
func BenchmarkRedact(b *testing.B) {
	request := `{"messages":[` + strings.Repeat(`{"role":"user","content":"Prose with \"quotes\",\nlines and a \\path\\to\\it, case-4711."},`, 12_000) + `{}]}`
	response := strings.Repeat("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}}\n\n", 9_000)
	for _, rules := range []int{0, 1, 20} {
		b.Run(fmt.Sprintf("%d rules", rules), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e := exchange("acc", request, response)
				e.Stream, e.Settings.Emails = true, true
				e.Settings.Redact = rulesOf(rules)
				if err := capture.Redact(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// rulesOf makes rules of which the first matches everywhere and the others nowhere.
func rulesOf(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf(`(?i)\bcase%d-\d+\b`, i))
	}
	return out
}
