package trace

import (
	"math/rand/v2"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// sampling decides which requests are traced, before anything is made for them. The gateway's clients are tenants: their trace
// context is taken as parent, but whether to trace is theirs to say only with a parentbased sampler, which the operator must
// choose. With any other neither the sampled flag nor the trace's id decides; the id is what OpenTelemetry's own ratio is
// taken of, and a client chooses it.
type sampling struct {
	share  float64 // of the requests, 0 to 1
	follow bool    // a parent decides where there is one
}

// samplingOf is that of a sampler's name and argument, which config has checked.
func samplingOf(name string, ratio float64) sampling {
	base, follow := strings.CutPrefix(name, "parentbased_")
	switch base {
	case "always_on":
		ratio = 1
	case "always_off":
		ratio = 0
	}
	return sampling{ratio, follow}
}

func (s sampling) takes(parent trace.SpanContext) bool {
	if s.follow && parent.IsValid() {
		return parent.IsSampled()
	}
	return rand.Float64() < s.share
}
