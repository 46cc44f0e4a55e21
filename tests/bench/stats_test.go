package main

import (
	"slices"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tt := range []struct {
		name   string
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{"None", nil, 50, 0},
		{"One", []time.Duration{7}, 99, 7},
		{"EvenIsLowerMiddle", []time.Duration{1, 2, 3, 4}, 50, 2},
		{"Odd", []time.Duration{1, 2, 3}, 50, 2},
		{"ExactRank", hundred, 99, 99},
		{"BetweenRanks", hundred[:10], 99, 10},
		{"Zero", hundred, 0, 1},
		{"All", hundred, 100, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := percentile(tt.sorted, tt.p); got != tt.want {
				t.Errorf("percentile(%v) = %v, want %v", tt.p, got, tt.want)
			}
		})
	}
}

func TestSpreadOf(t *testing.T) {
	if got := spreadOf(nil); got != nil {
		t.Errorf("spread of nothing = %v, want nil", got)
	}
	values := []float64{3, 1, 2}
	if got, want := *spreadOf(values), (spread{2, 1, 3}); got != want {
		t.Errorf("odd: got %v, want %v", got, want)
	}
	if values[0] != 3 {
		t.Error("the values were reordered, though rounds are matched by place")
	}
	if got, want := *spreadOf([]float64{4, 1, 2, 10}), (spread{3, 1, 10}); got != want {
		t.Errorf("even: got %v, want %v", got, want)
	}
}

func TestRoundByRound(t *testing.T) {
	// The second round has no base, the fourth is missing from it.
	got := ratios([]float64{2, 5, 9, 1}, []float64{4, 0, 3})
	if want := []float64{0.5, 3}; !slices.Equal(got, want) {
		t.Errorf("ratios = %v, want %v", got, want)
	}
	got = differences([]float64{2, 5, 9}, []float64{4, 1})
	if want := []float64{-2, 4}; !slices.Equal(got, want) {
		t.Errorf("differences = %v, want %v", got, want)
	}
}
