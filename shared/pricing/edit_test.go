package pricing_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

func TestPut(t *testing.T) {
	row := func(kind core.Kind, from, to time.Time, usd int64) pricing.Row {
		return pricing.Row{Model: "m", Kind: kind, From: from, To: to, Rates: flat(usd)}
	}
	var open time.Time
	for _, c := range []struct {
		why        string
		rows, want []pricing.Row
		newer      pricing.Row
	}{
		{"the first", nil, []pricing.Row{row("", date(2, 1), open, 2)}, row("", date(2, 1), open, 2)},
		{"the one before ends", []pricing.Row{row("", open, open, 1)}, []pricing.Row{row("", open, date(2, 1), 1), row("", date(2, 1), open, 2)}, row("", date(2, 1), open, 2)},
		{"and goes on afterwards", []pricing.Row{row("", open, open, 1)}, []pricing.Row{row("", open, date(2, 1), 1), row("", date(2, 1), date(3, 1), 2), row("", date(3, 1), open, 1)},
			row("", date(2, 1), date(3, 1), 2)},
		{"one that begins later is gone", []pricing.Row{row("", date(5, 1), open, 1)}, []pricing.Row{row("", date(2, 1), open, 2)}, row("", date(2, 1), open, 2)},
		{"set twice in a moment", []pricing.Row{row("", date(2, 1), open, 1)}, []pricing.Row{row("", date(2, 1), open, 2)}, row("", date(2, 1), open, 2)},
		{"other kinds stay", []pricing.Row{row(core.KindBedrock, open, open, 1)}, []pricing.Row{row("", date(2, 1), open, 2), row(core.KindBedrock, open, open, 1)}, row("", date(2, 1), open, 2)},
	} {
		before := slices.Clone(c.rows)
		if got := pricing.Put(c.rows, c.newer); !slices.Equal(got, c.want) || !slices.Equal(c.rows, before) {
			t.Errorf("%s: %+v\nwant %+v", c.why, got, c.want)
		}
	}
}

// Whatever is put and ended, the rows are a list, and nothing before the edit changes.
func TestEditsKeepThePast(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	kinds := []core.Kind{"", core.KindBedrock}
	for range 500 {
		var rows []pricing.Row
		for day := 1; day < 12; day++ {
			before := list(t, rows...)
			at, kind := date(1, day), kinds[rnd.IntN(2)]
			if rnd.IntN(3) > 0 {
				r := pricing.Row{Model: "m", Kind: kind, From: at.AddDate(0, 0, rnd.IntN(3)), Rates: flat(int64(day))}
				if rnd.IntN(2) > 0 {
					r.To = r.From.AddDate(0, 0, 1+rnd.IntN(4))
				}
				rows = pricing.Put(rows, r)
			} else {
				rows, _ = pricing.End(rows, pricing.Row{Model: "m", Kind: kind}, at)
				if r, ok := list(t, rows...).Find("m", kind, at); ok && r.Kind == kind {
					t.Fatalf("an ended price holds: %+v", rows)
				}
			}
			after := list(t, rows...)
			for d := range day {
				for _, k := range kinds {
					if a, b := usd(before, "m", k, date(1, d)), usd(after, "m", k, date(1, d)); a != b {
						t.Fatalf("an edit of day %d changed day %d from %d to %d: %+v", day, d, a, b, rows)
					}
				}
			}
		}
	}
}

func TestEnd(t *testing.T) {
	rows := []pricing.Row{{Model: "m", Rates: flat(1), To: date(3, 1)}, {Model: "m", From: date(3, 1), Rates: flat(2)}, {Model: "n", Rates: flat(3)}}
	got, ended := pricing.End(rows, pricing.Row{Model: "m"}, date(2, 1))
	if want := []pricing.Row{{Model: "m", Rates: flat(1), To: date(2, 1)}, rows[2]}; !ended || !slices.Equal(got, want) {
		t.Errorf("%v %+v", ended, got)
	}
	if again, ended := pricing.End(got, pricing.Row{Model: "m"}, date(2, 1)); ended || !slices.Equal(again, got) {
		t.Errorf("ended twice: %+v", again)
	}
}

func TestReprice(t *testing.T) {
	l := pricing.Builtin()
	open := func(in, out int64) pricing.Row {
		return pricing.Row{From: november, Rates: pricing.Rates{Input: in * million, Output: out * million, CacheRead: pricing.Unknown, Write5m: pricing.Unknown, Write1h: pricing.Unknown}}
	}
	r := open(8, 20)
	r.Model = "claude-opus-5-5"
	r.Write1h = 1
	got := l.Reprice(r, "why")
	if got.Rates != (pricing.Rates{Input: 8 * million, Output: 20 * million, CacheRead: 400_000, Write5m: 10 * million, Write1h: 1}) || got.Fast.Input != 16*million ||
		got.Source != "why" || !got.From.Equal(november) || !got.To.IsZero() || got.Regional != 110 {
		t.Errorf("in proportion: %+v", got)
	}
	for _, c := range []struct {
		why           string
		in, out, read int64
	}{{"a new model", 1, 1, pricing.Unknown}, {"a free one", 0, 0, 0}} {
		r := open(c.in, c.out)
		r.Model = "house-model"
		if got := l.Reprice(r, ""); got.CacheRead != c.read || got.Input != c.in*million {
			t.Errorf("%s: %+v", c.why, got)
		}
	}
}

func TestParseCounting(t *testing.T) {
	rows, skipped, err := pricing.ParseCounting(strings.NewReader(`{"sample_spec":{},"a":{"litellm_provider":"openai","input_cost_per_token":1e-6,"output_cost_per_token":1e-6},
		"b":{"litellm_provider":"nobody","input_cost_per_token":1e-6,"output_cost_per_token":1e-6},"c":7}`))
	if len(rows) != 1 || skipped != 2 || err != nil {
		t.Errorf("%d rows, %d skipped, %v", len(rows), skipped, err)
	}
}
