package dynamodb

import (
	"testing"

	"sluice/shared/core"
	"sluice/shared/store/internal/usage"
)

// TestFold: what is told apart no more is the least, and all together stays what it was.
func TestFold(t *testing.T) {
	for _, c := range []struct {
		why                 string
		keys, nodes, models int
		n, want             int
		of                  [3]int // keys, nodes and models that are left
	}{
		{"all fit", 2, 2, 2, 8, 8, [3]int{2, 2, 2}},
		{"models go before nodes and keys", 3, 2, 100, 60, 60, [3]int{3, 2, 10}},
		{"nodes go when models alone are not enough", 10, 10, 10, 40, 40, [3]int{10, 4, 1}},
		{"keys go last", 1000, 2, 2, 100, 100, [3]int{100, 1, 1}},
		{"one is left", 5, 5, 5, 1, 1, [3]int{1, 1, 1}},
		{"never none", 5, 5, 5, 0, 1, [3]int{1, 1, 1}},
	} {
		all := make(usage.Tallies)
		var want usage.Tally
		for i := range c.keys * c.nodes * c.models {
			name := func(n int) string { return string(rune('A' + n)) }
			r := core.Settlement{Key: name(i % c.keys), Node: name(i / c.keys % c.nodes), Model: name(i / c.keys / c.nodes), CostUSD: 7, FirstByteMS: int64(i)}
			r.CostUSD = int64(i / c.keys / c.nodes) // the last model costs the most
			all.Of(dimsOf("", groupOf(&r))).Record(&r)
			want.Record(&r)
		}
		dear := string(rune('A' + c.models - 1))
		first := usage.ByModel.Of(all)[usage.Dims{Model: dear}].Sum()
		all = fold(all, c.n)
		var got usage.Tally
		for _, t := range all {
			got.Merge(t)
		}
		if of := [3]int{len(usage.ByKey.Of(all)), len(usage.ByNode.Of(all)), len(usage.ByModel.Of(all))}; len(all) != c.want || of != c.of {
			t.Errorf("%s: %d sums of %v keys, nodes and models, want %d of %v", c.why, len(all), of, c.want, c.of)
		}
		if got.Sum() != want.Sum() {
			t.Errorf("%s: %+v in all, want %+v", c.why, got.Sum(), want.Sum())
		}
		if kept := usage.ByModel.Of(all)[usage.Dims{Model: dear}]; c.of[2] > 1 && (kept == nil || kept.Sum() != first) {
			t.Errorf("%s: the dearest model is not what it was", c.why)
		}
	}
}
