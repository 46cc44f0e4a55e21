package pricing_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

func TestCostOf(t *testing.T) {
	l := pricing.Builtin()
	all := core.Tokens{Input: 1000, Output: 1000, CacheRead: 1000, CacheWrite5m: 1000, CacheWrite1h: 1000}
	in := core.Tokens{Input: million}
	const opus = 4000 + 20_000 + 200 + 5000 + 8000 // all, of claude-opus-5-5
	for _, c := range []struct {
		why    string
		use    pricing.Use
		micro  int64
		priced bool
	}{
		{"nothing special", pricing.Use{Model: "claude-opus-5-5", Tokens: all}, opus, true},
		{"a batch costs half, the cache too", pricing.Use{Model: "claude-opus-5-5", Tokens: all, Batch: true}, opus / 2, true},
		{"half of a micro-dollar is one", pricing.Use{Model: "claude-haiku-5-5", Tokens: core.Tokens{Input: 10}, Batch: true}, 1, true},
		{"fast mode has rates of its own, 8 and 40", pricing.Use{Model: "claude-opus-5-5", Tokens: core.Tokens{Input: 1000, Output: 1000}, Fast: true}, 48_000, true},
		{"and of the cache", pricing.Use{Model: "claude-opus-5-5", Tokens: all, Fast: true}, 2 * opus, true},
		{"no fast rates are known", pricing.Use{Model: "claude-sonnet-5-5", Tokens: all, Fast: true}, 0, false},
		{"there are no fast batches", pricing.Use{Model: "claude-opus-5-5", Tokens: all, Fast: true, Batch: true}, 0, false},
		{"in the US alone: a tenth more on every class", pricing.Use{Model: "claude-opus-5-5", Kind: core.KindAnthropic, Tokens: all, Geo: "us"}, opus * 11 / 10, true},
		{"on top of fast mode", pricing.Use{Model: "claude-opus-5-5", Tokens: all, Geo: "us", Fast: true}, 2 * opus * 11 / 10, true},
		{"and before the half of a batch", pricing.Use{Model: "claude-opus-5-5", Tokens: all, Geo: "us", Batch: true}, opus * 11 / 20, true},
		{"anywhere", pricing.Use{Model: "claude-opus-5-5", Tokens: all, Geo: "global"}, opus, true},
		{"as old models report it", pricing.Use{Model: "claude-sonnet-4", Tokens: in, Geo: "not_available"}, 3 * million, true},
		{"Bedrock, global profile", pricing.Use{Model: "global.anthropic.claude-opus-5-5", Kind: core.KindBedrock, Tokens: all}, opus, true},
		{"Bedrock, a region's profile", pricing.Use{Model: "eu.anthropic.claude-opus-5-5", Kind: core.KindBedrock, Tokens: all}, opus * 11 / 10, true},
		{"Bedrock, no profile: its own region", pricing.Use{Model: "anthropic.claude-opus-5-5", Kind: core.KindBedrock, Tokens: all}, opus * 11 / 10, true},
		{"Claude Platform on AWS knows Anthropic's own names", pricing.Use{Model: "claude-opus-5-5", Kind: core.KindBedrock, Tokens: all}, opus, true},
		{"and has the same surcharge", pricing.Use{Model: "claude-opus-5-5", Kind: core.KindBedrock, Tokens: all, Geo: "us"}, opus * 11 / 10, true},
		{"Bedrock's id at a node that does not say so", pricing.Use{Model: "us.anthropic.claude-opus-5-5", Kind: core.KindAnthropic, Tokens: all}, opus * 11 / 10, true},
		{"a region is charged once, whatever the answer reports", pricing.Use{Model: "us.anthropic.claude-opus-5-5", Kind: core.KindBedrock, Tokens: all, Geo: "us"}, opus * 11 / 10, true},
		{"global stays global", pricing.Use{Model: "global.anthropic.claude-opus-5-5", Kind: core.KindBedrock, Tokens: all, Geo: "us"}, opus, true},
		{"models before 4.5 cost the same in each region", pricing.Use{Model: "us.anthropic.claude-sonnet-4-20250514-v1:0", Kind: core.KindBedrock, Tokens: in}, 3 * million, true},
		{"a model that only Bedrock has", pricing.Use{Model: "us.amazon.nova-pro-v1:0", Kind: core.KindBedrock, Tokens: in}, 800_000, true},
		{"the first Claudes that cost a tenth more in a region: from 4.5 on", pricing.Use{Model: "us.anthropic.claude-haiku-4-5-20251001-v1:0", Kind: core.KindBedrock, Tokens: in}, million * 11 / 10, true},
		{"not through the global profile", pricing.Use{Model: "global.anthropic.claude-haiku-4-5-20251001-v1:0", Kind: core.KindBedrock, Tokens: in}, million, true},
		{"Llama by an ARN, the same everywhere", pricing.Use{Model: "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-3-70b-instruct-v1:0", Kind: core.KindBedrock, Tokens: in}, 720_000, true},
		{"Nova 2 has a regional price of its own", pricing.Use{Model: "us.amazon.nova-2-lite-v1:0", Kind: core.KindBedrock, Tokens: in}, 330_000, true},
		{"and a global one", pricing.Use{Model: "global.amazon.nova-2-lite-v1:0", Kind: core.KindBedrock, Tokens: in}, 300_000, true},
		{"a profile that someone made: no price, until there is one", pricing.Use{Model: "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6", Kind: core.KindBedrock, Tokens: in}, 0, false},
		{"a model that the list does not know", pricing.Use{Model: "us.anthropic.claude-next-9", Kind: core.KindBedrock, Tokens: in}, 0, false},
		{"Nova's cache writes cost as its other input", pricing.Use{Model: "us.amazon.nova-pro-v1:0", Kind: core.KindBedrock, Tokens: core.Tokens{CacheWrite5m: 1_000_000}}, 800_000, true},
		{"through its OpenAI route", pricing.Use{Model: "qwen.qwen3-32b-v1:0", Kind: core.KindOpenAI, Tokens: in}, 150_000, true},
		{"an ARN's global profile", pricing.Use{Model: "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-opus-5-5", Kind: core.KindBedrock, Tokens: all}, opus, true},
		{"1,000 searches cost 10 USD", pricing.Use{Model: "claude-opus-5-5", Searches: 1000}, 10 * million, true},
		{"one costs a cent, a batch's too", pricing.Use{Model: "claude-opus-5-5", Searches: 1, Tokens: all, Batch: true}, 10_000 + opus/2, true},
		{"searches of a model without a price for them", pricing.Use{Model: "claude-3-haiku", Searches: 1}, 0, false},
		{"fewer than none", pricing.Use{Model: "claude-3-haiku", Searches: -1, Tokens: core.Tokens{Input: 4}}, 1, true},
		{"a long prompt of a batch, in the US", pricing.Use{Model: "claude-haiku-5-5", Tokens: core.Tokens{Input: 200_000}, Batch: true, Geo: "US"}, 55_000, true},
		{"everything absurd at once", pricing.Use{Model: "claude-opus-5-5", Searches: math.MaxInt64, Geo: "us", Tokens: core.Tokens{Input: math.MaxInt64,
			Output: math.MaxInt64, CacheRead: math.MaxInt64, CacheWrite5m: math.MaxInt64, CacheWrite1h: math.MaxInt64}}, 10_000*1e9 + 37_200_000*1e3*11/10, true},
	} {
		c.use.At = november
		if micro, priced := l.CostOf(c.use); micro != c.micro || priced != c.priced {
			t.Errorf("%s: %d, priced %v; want %d, %v", c.why, micro, priced, c.micro, c.priced)
		}
	}
}

// Both bands of claude-haiku-5-5, in every class (wire facts, 6.8).
func TestHaikuBands(t *testing.T) {
	l := pricing.Builtin()
	for i, want := range []struct{ short, long float64 }{{0.1, 0.5}, {0.5, 2.5}, {0.01, 0.05}, {0.125, 0.625}, {0.2, 1}} {
		for _, long := range []bool{false, true} {
			// the prompt's length is made with input of its own, whose price is taken off again
			n, usd, length := core.Tokens{}, want.short, int64(0)
			if long {
				n.Input, usd, length = 100_001, want.long, 100_001
			}
			*[]*int64{&n.Input, &n.Output, &n.CacheRead, &n.CacheWrite5m, &n.CacheWrite1h}[i] += 100_000
			micro, priced := l.Cost("claude-haiku-5-5", n, november)
			if w := int64(math.Ceil(usd*100_000 + float64(length)*0.5 - 1e-6)); !priced || micro != w {
				t.Errorf("class %d, long %v: %d, priced %v; want %d", i, long, micro, priced, w)
			}
		}
	}
}

// Vendors sell fast mode for prompts within the band alone: nobody says what a longer one costs.
func TestFastBeyondTheBand(t *testing.T) {
	l := list(t, pricing.Row{Model: "m", Rates: flat(1), LongOver: 10, Long: flat(2), Fast: flat(3)})
	for input, want := range map[int64]int64{10: 30, 11: 0} {
		micro, priced := l.CostOf(pricing.Use{Model: "m", Tokens: core.Tokens{Input: input}, Fast: true})
		if micro != want || priced != (want > 0) {
			t.Errorf("%d tokens cost %d, priced %v; want %d", input, micro, priced, want)
		}
	}
}

// Rates at the bounds, with every factor at its own, do not overflow.
func TestCostBounds(t *testing.T) {
	const most = 1_000_000_000
	top := pricing.Rates{Input: most, Output: most, CacheRead: most, Write5m: most, Write1h: most}
	l, err := pricing.New([]pricing.Row{{Model: "m", Rates: top, Search: most, Regional: 1000, Batch: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	huge := core.Tokens{Input: math.MaxInt64, Output: math.MaxInt64, CacheRead: math.MaxInt64, CacheWrite5m: math.MaxInt64, CacheWrite1h: math.MaxInt64}
	micro, priced := l.CostOf(pricing.Use{Model: "m", Tokens: huge, Geo: "us", Batch: true, Searches: math.MaxInt64})
	if want := int64(5e12*100 + 1e15); !priced || micro != want {
		t.Errorf("%d, priced %v; want %d", micro, priced, want)
	}
}

// One token more never makes a request cheaper, with any model of the list and any circumstances.
func TestCostIsMonotone(t *testing.T) {
	l := pricing.Builtin()
	models := l.Models()
	rnd := rand.New(rand.NewPCG(1, 2))
	compared := 0
	for range 50_000 {
		u := pricing.Use{Model: models[rnd.IntN(len(models))], At: november, Batch: rnd.IntN(4) == 0, Fast: rnd.IntN(8) == 0, Searches: rnd.Int64N(3)}
		u.Geo = []string{"", "us", "global"}[rnd.IntN(3)]
		classes := func(n *core.Tokens) []*int64 {
			return []*int64{&n.Input, &n.Output, &n.CacheRead, &n.CacheWrite5m, &n.CacheWrite1h}
		}
		for _, p := range classes(&u.Tokens) {
			if rnd.IntN(2) == 0 {
				*p = rnd.Int64N(1 << rnd.IntN(19))
			}
		}
		less, ok1 := l.CostOf(u)
		more := u
		*classes(&more.Tokens)[rnd.IntN(5)] += 1 + rnd.Int64N(100_000)
		much, ok2 := l.CostOf(more)
		if !ok1 || !ok2 {
			continue
		}
		if compared++; much < less {
			t.Fatalf("%+v costs %d, %+v only %d", u, less, more.Tokens, much)
		}
	}
	if compared < 5_000 {
		t.Fatalf("only %d cases had prices", compared)
	}
}

// Cost is asked for each request, several times: names as clients send them must not cost memory.
func TestCostAllocatesNothing(t *testing.T) {
	l, err := pricing.Builtin().With([]pricing.Row{{Model: "mine", Rates: pricing.Rates{Input: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"claude-opus-5-5", "Claude-Sonnet-4.5-20250929[1m]", "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-5-5", "gpt-4o-2024-11-20", "nobody-1", "mine"} {
		u := pricing.Use{Model: m, Tokens: core.Tokens{Input: 5, Output: 7}, At: november, Geo: "us", Searches: 1}
		if n := testing.AllocsPerRun(100, func() { l.CostOf(u) }); n != 0 {
			t.Errorf("%s: %v allocations", m, n)
		}
	}
}

func BenchmarkCostOf(b *testing.B) {
	l := pricing.Builtin()
	u := pricing.Use{Model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Kind: core.KindBedrock, Tokens: core.Tokens{Input: 500, Output: 700, CacheRead: 90_000}, At: november}
	b.ReportAllocs()
	for b.Loop() {
		l.CostOf(u)
	}
}

func BenchmarkBuiltin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		pricing.Builtin()
	}
}

func date(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
