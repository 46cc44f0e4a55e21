// Package sketch judges core.Sketch by a published implementation of the same idea. It is a module of its own so that the
// gateway does not depend on that.
package sketch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"

	"sluice/shared/core"
)

const accuracy = 0.05 // what core.Sketch promises

// TestPercentiles: both tell the percentiles of the same times within their accuracy of the exact ones, as one sketch and as
// many that are merged in any order.
func TestPercentiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		why string
		ms  func() float64
	}{
		{"first bytes, which are lognormal", func() float64 { return math.Exp(6 + rng.NormFloat64()) }},
		{"whole answers, with a long tail", func() float64 { return 500 / math.Pow(1-rng.Float64(), 1.2) }},
		{"uniform", func() float64 { return 1 + 60_000*rng.Float64() }},
		{"two humps", func() float64 { return []float64{300, 30_000}[rng.IntN(2)] * (1 + 0.1*rng.Float64()) }},
		{"one value", func() float64 { return 1234 }},
		{"small ones", func() float64 { return float64(1 + rng.IntN(12)) }},
	} {
		theirs, err := ddsketch.NewDefaultDDSketch(accuracy)
		if err != nil {
			t.Fatal(err)
		}
		var all []float64
		parts := make([]core.Sketch, 37)
		for i := range 20_000 {
			ms := int64(c.ms())
			all = append(all, float64(ms))
			if err := theirs.Add(float64(ms)); err != nil {
				t.Fatal(err)
			}
			parts[i%len(parts)].Add(ms)
		}
		slices.Sort(all)
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		var ours core.Sketch
		for _, p := range parts {
			ours.Merge(p)
		}
		if n := ours.Count(); n != int64(theirs.GetCount()) {
			t.Errorf("%s: %d values, theirs has %v", c.why, n, theirs.GetCount())
		}
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
			want, err := theirs.GetValueAtQuantile(q)
			if err != nil {
				t.Fatal(err)
			}
			got := ours.Quantile(q)
			// theirs counts ranks from 0 to n-1, ours from 1 to n: the exact value is one of two neighbours
			at := q * float64(len(all)-1)
			lo, hi := all[max(0, int(math.Floor(at))-1)], all[min(len(all)-1, int(math.Ceil(at))+1)]
			for who, v := range map[string]float64{"ours": got, "theirs": want} {
				if v < lo*(1-accuracy)-1e-9 || v > hi*(1+accuracy)+1e-9 {
					t.Errorf("%s, p%v: %s says %v, exact are %v to %v", c.why, 100*q, who, v, lo, hi)
				}
			}
		}
	}
}
