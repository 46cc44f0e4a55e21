package pricing_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

func flat(usd int64) pricing.Rates {
	return pricing.Rates{Input: usd * million, Output: usd * million, CacheRead: usd * million, Write5m: usd * million, Write1h: usd * million}
}

func list(t *testing.T, rows ...pricing.Row) *pricing.List {
	t.Helper()
	l, err := pricing.New(rows)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func with(t *testing.T, l *pricing.List, rows ...pricing.Row) *pricing.List {
	t.Helper()
	l, err := l.With(rows)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// usd is what a million tokens of input cost, -1 when it is not known.
func usd(l *pricing.List, model string, kind core.Kind, at time.Time) int64 {
	micro, priced := l.CostOf(pricing.Use{Model: model, Kind: kind, Tokens: core.Tokens{Input: million}, At: at})
	if !priced {
		return -1
	}
	return micro / million
}

func TestWith(t *testing.T) {
	base := list(t, pricing.Row{Model: "m", To: date(3, 1), Rates: flat(1)}, pricing.Row{Model: "m", From: date(3, 1), Rates: flat(2)},
		pricing.Row{Model: "m", Kind: core.KindBedrock, Rates: flat(3)}, pricing.Row{Model: "other", Rates: flat(4)},
		pricing.Row{Model: "d", Rates: flat(5)}, pricing.Row{Model: "d-2026-01-02", Rates: flat(6)})
	l := with(t, base, pricing.Row{Model: "m", From: date(5, 1), To: date(7, 1), Rates: flat(10)},
		pricing.Row{Model: "m", Kind: core.KindOpenAI, From: date(6, 1), Rates: flat(11)}, pricing.Row{Model: "new", Rates: flat(12)},
		pricing.Row{Model: "d", Rates: flat(13)})
	for _, c := range []struct {
		why, model string
		kind       core.Kind
		at         time.Time
		usd        int64
	}{
		{"long before: the old price", "m", "", date(2, 1), 1},
		{"the moment before the override", "m", "", date(5, 1).Add(-1), 2},
		{"from its first moment", "m", "", date(5, 1), 10},
		{"until before its last", "m", "", date(7, 1).Add(-1), 10},
		{"then the list's again", "m", "", date(7, 1), 2},
		{"a row for any kind beats the list's for one", "m", core.KindBedrock, date(5, 1), 10},
		{"in its time only", "m", core.KindBedrock, date(4, 1), 3},
		{"but not a row for the kind beside it", "m", core.KindOpenAI, date(6, 1), 11},
		{"which goes on longer", "m", core.KindOpenAI, date(8, 1), 11},
		{"and is of no concern to others", "m", core.KindAnthropic, date(8, 1), 2},
		{"another model", "other", "", date(6, 1), 4},
		{"a model that the list does not have", "new", "", date(1, 1), 12},
		{"a row without dates holds for ever", "d", "", date(1, 1), 13},
		{"a dated name with a row of its own is another price", "d-2026-01-02", "", date(1, 1), 6},
		{"one without is the same", "d-2026-01-03", "", date(1, 1), 13},
	} {
		if got := usd(l, c.model, c.kind, c.at); got != c.usd {
			t.Errorf("%s: %d USD, want %d", c.why, got, c.usd)
		}
	}
	if usd(base, "m", "", date(5, 1)) != 2 || usd(base, "new", "", date(5, 1)) != -1 {
		t.Error("With changed the list that it was called on")
	}
	if _, err := base.With([]pricing.Row{{Model: "m", Rates: flat(1)}, {Model: "m", Rates: flat(2)}}); err == nil {
		t.Error("overrides that contradict each other are taken")
	}
}

// New of a list's Rows is a list of the same prices, whatever was laid over what.
func TestRowsAreTheList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	kinds := []core.Kind{"", core.KindBedrock, core.KindOpenAI}
	moment := func() (at time.Time) {
		if rnd.IntN(3) > 0 {
			at = date(1, 1+rnd.IntN(20))
		}
		return at
	}
	for range 2000 {
		l := list(t)
		for layer := range 4 {
			r := pricing.Row{Model: "m", Kind: kinds[rnd.IntN(3)], From: moment(), To: moment(), Rates: flat(int64(1 + layer))}
			if !r.To.IsZero() && !r.From.Before(r.To) {
				r.To = time.Time{}
			}
			l = with(t, l, r)
		}
		same, err := pricing.New(l.Rows())
		if err != nil {
			t.Fatalf("%v of %+v", err, l.Rows())
		}
		for d := range 23 {
			for _, k := range append(kinds, core.KindAnthropic) {
				if a, b := usd(l, "m", k, date(1, d)), usd(same, "m", k, date(1, d)); a != b {
					t.Fatalf("kind %q, day %d: %d USD, by the rows %d: %+v", k, d, a, b, l.Rows())
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	l := pricing.Builtin()
	r, ok := l.Find("us.anthropic.claude-sonnet-5-5", core.KindBedrock, november)
	if !ok || r.Model != "claude-sonnet-5-5" || r.CacheRead != 100_000 || !r.From.Equal(date(10, 7)) || r.Source == "" {
		t.Errorf("%+v, %v", r, ok)
	}
	if r, ok := l.Find("nobody-1", "", november); ok {
		t.Errorf("%+v", r)
	}
}

func TestBuiltinRows(t *testing.T) {
	rows := pricing.Builtin().Rows()
	if len(rows) < 300 || !slices.IsSortedFunc(rows, func(a, b pricing.Row) int {
		if a.Model < b.Model {
			return -1
		}
		return 0
	}) {
		t.Fatalf("%d rows, or not in order", len(rows))
	}
	for _, r := range rows {
		if len(r.Source) < 10 {
			t.Errorf("%s: the source is %q", r.Model, r.Source)
		}
		if r.Input == 0 && r.Output == 0 {
			t.Errorf("%s costs nothing", r.Model)
		}
	}
}

func TestChanged(t *testing.T) {
	at := date(6, 1)
	open := pricing.Rates{Input: 2 * million, Output: 2 * million, CacheRead: pricing.Unknown, Write5m: pricing.Unknown, Write1h: pricing.Unknown}
	l := list(t, pricing.Row{Model: "a", Rates: flat(1), Source: "old"}, pricing.Row{Model: "b", Rates: flat(2), Fast: flat(4), LongOver: 10, Long: flat(3), Regional: 110, Search: 5},
		pricing.Row{Model: "c", Rates: flat(2)}, pricing.Row{Model: "c", Kind: core.KindBedrock, Rates: flat(9)})
	dearer := open
	dearer.Input = 5 * million
	for _, c := range []struct {
		why  string
		row  pricing.Row
		want []pricing.Row
	}{
		{"the same, from elsewhere", pricing.Row{Model: "a", Rates: flat(1), Source: "new"}, nil},
		{"another price: from then on", pricing.Row{Model: "a", Rates: flat(3)}, []pricing.Row{{Model: "a", From: at, Rates: flat(3)}}},
		{"one that begins later keeps its day", pricing.Row{Model: "a", From: date(9, 1), Rates: flat(3)}, []pricing.Row{{Model: "a", From: date(9, 1), Rates: flat(3)}}},
		{"one that is over", pricing.Row{Model: "a", To: at, Rates: flat(3)}, nil},
		{"a new model", pricing.Row{Model: "n", Rates: open}, []pricing.Row{{Model: "n", From: at, Rates: open}}},
		{"what it does not say is kept", pricing.Row{Model: "b", Rates: open}, nil},
		{"but not when the model costs something else", pricing.Row{Model: "b", Rates: dearer},
			[]pricing.Row{{Model: "b", From: at, Rates: dearer, Regional: 110, Search: 5}}},
		{"a kind that nobody spoke of keeps its price", pricing.Row{Model: "c", Rates: flat(3)},
			[]pricing.Row{{Model: "c", From: at, Rates: flat(3)}, {Model: "c", Kind: core.KindBedrock, From: at, Rates: flat(9)}}},
		{"a row for a kind that says the same as the one for all", pricing.Row{Model: "a", Kind: core.KindBedrock, Rates: flat(1)}, nil},
	} {
		got := l.Changed([]pricing.Row{c.row}, at)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v\nwant %+v", c.why, got, c.want)
		}
		newer := with(t, l, got...)
		for _, m := range []string{"a", "b", "c", "n"} {
			if before := at.Add(-time.Second); usd(newer, m, "", before) != usd(l, m, "", before) {
				t.Errorf("%s: the price of %s changed for the time before", c.why, m)
			}
		}
	}
}

// The prices of the older gateway, which knew nothing of the cache.
func TestFromOld(t *testing.T) {
	l := pricing.Builtin()
	rows, skipped := l.FromOld([]pricing.Old{
		{Model: "claude-sonnet-4-5-20250929", Input: 3, Output: 15, Active: true},
		{Model: "claude-opus-5-5", Input: 2, Output: 30, Active: true},
		{Model: "house-model", Input: 0.1, Output: 0.30000000000000004, Active: true},
		{Model: "claude-haiku-4-5", Input: 9, Output: 9},
		{Model: "Claude-Opus-5.5", Input: 7, Output: 7, Active: true},
		{Model: "bad", Input: -1, Output: 1, Active: true},
		{Model: "dear", Input: 1001, Output: 1, Active: true},
		{Model: "", Input: 1, Output: 1, Active: true},
	}, november)
	if len(rows) != 2 || len(skipped) != 5 {
		t.Fatalf("%d rows and %q: %+v", len(rows), skipped, rows)
	}
	l = with(t, l, rows...)
	m := core.Tokens{Input: million, Output: million}
	cached := core.Tokens{CacheRead: million, CacheWrite5m: million, CacheWrite1h: million}
	for _, c := range []struct {
		why, model string
		at         time.Time
		tokens     core.Tokens
		micro      int64
		priced     bool
	}{
		{"the list's own price stays the list's", "claude-sonnet-4-5", november, cached, 300_000 + 3_750_000 + 6*million, true},
		{"another one holds", "claude-opus-5-5", november, m, 32 * million, true},
		{"with the cache in the list's proportions to input", "claude-opus-5-5", november, cached, 100_000 + 2_500_000 + 4*million, true},
		{"the day before, the list's price", "claude-opus-5-5", november.AddDate(0, 0, -1), m, 24 * million, true},
		{"a model of their own", "house-model", november, m, 400_000, true},
		{"whose cache nobody priced", "house-model", november, core.Tokens{CacheRead: 1}, 0, false},
		{"one that was switched off", "claude-haiku-4-5", november, m, 6 * million, true},
	} {
		if micro, priced := l.Cost(c.model, c.tokens, c.at); micro != c.micro || priced != c.priced {
			t.Errorf("%s: %d, priced %v; want %d, %v", c.why, micro, priced, c.micro, c.priced)
		}
	}
}
