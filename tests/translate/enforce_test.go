package translate_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/shared/translator"
)

// TestStopSequencesHeld: a stop sequence that the upstream was not told of ends the answer before it, however the text
// comes in pieces, and nothing that only begins like one is lost.
func TestStopSequencesHeld(t *testing.T) {
	alphabet := []string{"a", "b", "ab", "aab", "é", "\n", "\""}
	word := func(r *rand.Rand, n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	for _, p := range pairs() {
		t.Run(p.String(), func(t *testing.T) {
			req, err := p.decode(plainRequest(p.client.name))
			if err != nil {
				t.Fatal(err)
			}
			for i := range rounds {
				r := rand.New(rand.NewPCG(13, uint64(i)))
				text, stop := word(r, 1+r.IntN(20)), []string{word(r, 1+r.IntN(4)), word(r, 1+r.IntN(4))}
				var stream []byte
				sink := p.upstream.teller()
				b := translator.NewBuilder(func(e *translator.Event) { stream = sink.Event(stream, e) })
				answer{parts: []part{{kind: "text", text: text}}, stop: translator.StopEndTurn}.tell(r, b)

				pipe := p.pipe(req, translator.Enforce{Stop: stop})
				out := append(slices.Clone(pipe.Batch(stream)), pipe.End()...)
				h, err := p.client.check(out, checkOptions{usage: req.IncludeUsage})
				if err != nil {
					t.Fatalf("round %d: %v\n%s", i, err, out)
				}
				want, hit := text, false
				for _, s := range stop {
					if before, _, ok := strings.Cut(text, s); ok && len(before) < len(want) {
						want, hit = before, true
					}
				}
				var got strings.Builder
				for _, part := range h.parts {
					got.WriteString(part.text)
				}
				if got.String() != want || pipe.Status().Cut != hit {
					t.Fatalf("round %d: %q up to %q: got %q (cut: %v), want %q", i, text, stop, got.String(), pipe.Status().Cut, want)
				}
				if p.client.name == "anthropic" && hit != (h.stop == "stop_sequence") {
					t.Fatalf("round %d: stop reason %q", i, h.stop)
				}
			}
		})
	}
}
