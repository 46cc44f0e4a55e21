package core_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sluice/shared/core"
)

// Percentiles are within 5 % of the exact ones, whatever the distribution and in whatever parts they were counted.
func TestSketchError(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() int64{
		"uniform":   func() int64 { return rng.Int64N(60_000) },
		"small":     func() int64 { return rng.Int64N(25) },
		"lognormal": func() int64 { return int64(math.Exp(rng.NormFloat64()*1.2 + 7)) },
		"powers":    func() int64 { return 1 << rng.IntN(36) },
		"one value": func() int64 { return 1234 },
	} {
		t.Run(name, func(t *testing.T) {
			var all []int64
			var whole core.Sketch
			var texts []byte
			for range 20 {
				var part core.Sketch
				for range 150 {
					v := draw()
					all = append(all, v)
					part.Add(v)
					texts = core.AppendSample(texts, v)
				}
				whole.Merge(part)
			}
			slices.Sort(all)
			for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1} {
				want := float64(all[max(int(math.Ceil(q*float64(len(all))))-1, 0)])
				if got := whole.Quantile(q); math.Abs(got-want) > 0.0501*want {
					t.Errorf("quantile %v is %v, want %v within 5 %%", q, got, want)
				}
			}
			if n := whole.Count(); n != int64(len(all)) {
				t.Errorf("it counts %d of %d", n, len(all))
			}
			if got, err := core.ParseSketch(texts); err != nil || got != whole {
				t.Errorf("texts one after the other: %v, %v, want %v", got, err, whole)
			}
			if got := core.SketchOf(all...); got != whole {
				t.Errorf("all at once: %v, want %v", got, whole)
			}
			if len(whole.String()) > 400 {
				t.Errorf("its text has %d bytes", len(whole.String()))
			}
		})
	}
}

func TestSketchText(t *testing.T) {
	var none core.Sketch
	if none.Count() != 0 || none.Quantile(0.5) != 0 || none.String() != "" {
		t.Errorf("the zero value counts %d: %v", none.Count(), none)
	}
	for _, c := range []struct{ text, want, why string }{
		{"AB", "AB", "one value of a millisecond"},
		{"ABAB", "AB2", "two texts are added up"},
		{"AZ2AB=1", "AB2AZ2", "buckets come in order; single values count"},
		{"=-5=0", "AA2", "a clock that went back"},
		{"AB0", "", "nothing"},
		{"ABzz", "ABzz", "35*36+35"},
	} {
		got, err := core.ParseSketch([]byte(c.text))
		if err != nil || got.String() != c.want {
			t.Errorf("%q: %q, %v, want %q: %s", c.text, got, err, c.want, c.why)
		}
	}
	for _, bad := range []string{"A", "ab", "A1", "1AB", "AB ", "=", "=x", "ZZ", "AB-1", "AB1y2p0ij32e8e8", "=99999999999999999999"} {
		if s, err := core.ParseSketch([]byte(bad)); err == nil {
			t.Errorf("%q is taken as %q", bad, s)
		}
	}
	b, err := json.Marshal(core.UsageSum{Total: core.SketchOf(1, 1, 1)})
	var back core.UsageSum
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if err != nil || back.Total.Count() != 3 || back.FirstByte.Count() != 0 {
		t.Errorf("%s read back: %+v, %v", b, back, err)
	}
}

func FuzzSketch(f *testing.F) {
	f.Add([]byte("AB2AZ=17"))
	f.Add([]byte("ABzzzzzzzzzzzzAB1y2p0ij32e8e7"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := core.ParseSketch(text)
		if err != nil {
			return
		}
		again, err := core.ParseSketch([]byte(s.String()))
		if err != nil || again != s || s.Count() < 0 {
			t.Errorf("%q: %q, then %q, %v", text, s, again, err)
		}
		if q := s.Quantile(0.5); q > s.Quantile(0.99) {
			t.Errorf("%q: the median %v is above the 99th percentile", text, q)
		}
	})
}

func BenchmarkSketchMerge(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s, o core.Sketch
	for range 500 {
		s.Add(int64(math.Exp(rng.NormFloat64() + 7)))
		o.Add(int64(math.Exp(rng.NormFloat64() + 7)))
	}
	b.ReportAllocs()
	for b.Loop() {
		x := s
		x.Merge(o)
	}
}
