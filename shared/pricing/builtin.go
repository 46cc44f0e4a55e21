package pricing

import "time"

// usd makes rates of USD for a million tokens, given in thousandths of a dollar so that all are whole.
func usd(input, output, cacheRead, write5m, write1h int64) Rates {
	r := Rates{input, output, cacheRead, write5m, write1h}
	for _, p := range [...]*int64{&r.Input, &r.Output, &r.CacheRead, &r.Write5m, &r.Write1h} {
		if *p != Unknown {
			*p *= 1000
		}
	}
	return r
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// The sources of the built-in rows. "computed" cache classes follow the multipliers 0.1, 1.25 and 2 of the model's input.
const (
	vendor   = "platform.claude.com"
	listed   = "list price as quoted by others"
	derived  = "input and output " + vendor + ", cache classes computed"
	derived2 = "input and output as quoted by others, cache classes computed"
)

// Builtin is the list that the gateway ships, as of 2026-11-21: Anthropic's models. Others are unpriced until the operator
// gives a price.
func Builtin() *List {
	l, err := New(builtin())
	if err != nil {
		panic(err) // the rows are constants, and a test makes the list
	}
	return l
}

func builtin() []Row {
	fable5 := usd(10_000, 50_000, 1_000, 12_500, 20_000)
	fable51 := usd(10_000, 50_000, 250, 12_500, 20_000)
	opus5 := usd(5_000, 25_000, 500, 6_250, 10_000)
	sonnet4 := usd(3_000, 15_000, 300, 3_750, 6_000)
	readsHalved := day(2026, time.October, 7)
	return []Row{
		{Model: "claude-fable-5-2", From: day(2026, time.November, 9), Rates: usd(8_000, 40_000, 200, 10_000, Unknown), Source: listed},
		{Model: "claude-fable-5-1", Rates: fable51, Source: derived2},
		{Model: "claude-mythos-5-1", Rates: fable51, Source: derived2},
		{Model: "claude-fable-5", Rates: fable5, Source: listed},
		{Model: "claude-mythos-5", Rates: fable5, Source: listed},
		{Model: "claude-opus-5-5", Rates: usd(4_000, 20_000, 200, 5_000, 8_000), Source: vendor},
		{Model: "claude-opus-5", Rates: opus5, Source: vendor},
		{Model: "claude-opus-4-8", Rates: opus5, Source: derived2},
		{Model: "claude-opus-4-7", Rates: opus5, Source: derived2},
		{Model: "claude-opus-4-6", Rates: opus5, Source: derived2},
		{Model: "claude-opus-4-5", Rates: opus5, Source: derived2},
		{Model: "claude-sonnet-5-5", To: readsHalved, Rates: usd(2_000, 10_000, 200, 2_500, 4_000), Source: vendor},
		{Model: "claude-sonnet-5-5", From: readsHalved, Rates: usd(2_000, 10_000, 100, 2_500, 4_000), Source: vendor},
		{Model: "claude-sonnet-5", Rates: usd(2_000, 10_000, 200, 2_500, 4_000), Source: listed},
		{Model: "claude-haiku-5-5", Rates: usd(100, 500, 10, 125, 200), LongOver: 100_000, Long: usd(500, 2_500, 50, 625, 1_000), Source: vendor},
		{Model: "claude-sonnet-4-6", Rates: sonnet4, Source: derived2},
		{Model: "claude-sonnet-4-5", Rates: sonnet4, Source: derived2},
		{Model: "claude-sonnet-4", Rates: sonnet4, Source: derived2},
		{Model: "claude-haiku-4-5", Rates: usd(1_000, 5_000, 100, 1_250, 2_000), Source: derived},
	}
}
