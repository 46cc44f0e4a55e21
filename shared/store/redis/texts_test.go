package redis

import (
	"testing"

	"sluice/shared/core"
	"sluice/shared/store/internal/usage"
)

// What textOf writes is read the same, also line by line, whatever the names are.
func TestTexts(t *testing.T) {
	all := make(usage.Tallies)
	for _, d := range []usage.Dims{{Key: "1", Node: "2", Model: "m"}, {Model: "a\nb,c;\x00\u2028"}, {}} {
		all.Of(d).Record(&core.Settlement{Key: d.Key, Attempts: 2, FirstByteMS: 7, Bytes: -5, CostUSD: 1 << 40, Unpriced: true, Tokens: core.Tokens{Output: 3}})
	}
	text, err := textOf(all)
	if err != nil {
		t.Fatal(err)
	}
	back, err := newReader().tallies(text + text) // a record that is appended adds up
	if err != nil || len(back) != len(all) || counted(text+text) != 6 {
		t.Fatalf("%d groups of %d requests, %v", len(back), counted(text+text), err)
	}
	for d, one := range all {
		one.Merge(one)
		if got := back.Of(d).Sum(); got != one.Sum() {
			t.Errorf("%+v: %+v, want %+v", d, got, one.Sum())
		}
	}
	if _, err := newReader().tallies("[\"\",\"\",\"\"]\n1,1,0,1,7,0,0,0,0,0,1,1,0,61,3,0,99,98,AB,BR\n"); err != nil {
		t.Errorf("numbers of a newer program: %v", err)
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("[\"1\",\"\",\"m\"]\n1,1,0,1,7,0,0,0,0,0,1,1,0,61,3,0,AB,BR\n")
	f.Add("[]\n,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := newReader().tallies(text)
		_ = counted(text)
		if err != nil {
			return
		}
		for _, one := range all {
			_ = one.Sum()
		}
	})
}
