package pricing_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

var (
	november = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	million  = int64(1_000_000)
)

// Every row of the built-in list, by class, in USD for a million tokens. The prices are those of the table of models in the
// wire facts (6.8); source says where that table has them from.
func TestBuiltin(t *testing.T) {
	l := pricing.Builtin()
	for _, c := range []struct {
		model                           string
		in, out, read, write5m, write1h float64 // -1: unpriced
		source                          string
		at                              time.Time
	}{
		{"claude-fable-5-2", 8, 40, 0.2, 10, -1, "list price quoted by docs.laozhang.ai; 1-hour writes unknown", november},
		{"claude-fable-5-1", 10, 50, 0.25, 12.5, 20, "table; reads 0.025x, writes computed", november},
		{"claude-mythos-5-1", 10, 50, 0.25, 12.5, 20, "table; reads 0.025x, writes computed", november},
		{"claude-fable-5", 10, 50, 1, 12.5, 20, "cc-token; input and output from the vendor's documentation", november},
		{"claude-mythos-5", 10, 50, 1, 12.5, 20, "cc-token", november},
		{"claude-opus-5-5", 4, 20, 0.2, 5, 8, "vendor; cache classes claudit 1.8.2", november},
		{"claude-opus-5", 5, 25, 0.5, 6.25, 10, "vendor, what's new in opus 5", november},
		{"claude-opus-4-8", 5, 25, 0.5, 6.25, 10, "same row", november},
		{"claude-opus-4-7", 5, 25, 0.5, 6.25, 10, "same row", november},
		{"claude-opus-4-6", 5, 25, 0.5, 6.25, 10, "same row", november},
		{"claude-opus-4-5", 5, 25, 0.5, 6.25, 10, "same row", november},
		{"claude-sonnet-5-5", 2, 10, 0.1, 2.5, 4, "vendor; cache classes claudit 1.9.2", november},
		{"claude-sonnet-5-5", 2, 10, 0.1, 2.5, 4, "cheaper reads begin on this day", time.Date(2026, 10, 7, 0, 0, 0, 0, time.UTC)},
		{"claude-sonnet-5-5", 2, 10, 0.2, 2.5, 4, "the moment before", time.Date(2026, 10, 6, 23, 59, 59, 0, time.UTC)},
		{"claude-sonnet-5", 2, 10, 0.2, 2.5, 4, "quoted", november},
		{"claude-sonnet-4-6", 3, 15, 0.3, 3.75, 6, "quoted; cache classes computed", november},
		{"claude-sonnet-4-5", 3, 15, 0.3, 3.75, 6, "quoted; cache classes computed", november},
		{"claude-sonnet-4", 3, 15, 0.3, 3.75, 6, "the older proxy's price list; cache classes computed", november},
		{"claude-haiku-4-5", 1, 5, 0.1, 1.25, 2, "vendor; cache classes computed", november},
		{"claude-opus-4-5-20251101", 5, 25, 0.5, 6.25, 10, "default of the older gateway, by its dated name", november},
		{"claude-sonnet-4-5-20250929", 3, 15, 0.3, 3.75, 6, "likewise", november},
		{"claude-haiku-4-5-20251001", 1, 5, 0.1, 1.25, 2, "likewise", november},
		{"claude-opus-4-20250514", 15, 75, 1.5, 18.75, 30, "likewise", november},
		{"claude-sonnet-4-20250514", 3, 15, 0.3, 3.75, 6, "likewise", november},
		{"claude-3-5-sonnet-20241022", 3, 15, 0.3, 3.75, 6, "likewise", november},
		{"claude-3-5-haiku-20241022", 0.8, 4, 0.08, 1, 1.6, "likewise", november},
		{"claude-3-opus-20240229", 15, 75, 1.5, 18.75, 30, "likewise", november},
		{"claude-3-sonnet-20240229", 3, 15, 0.3, 3.75, 6, "likewise", november},
		{"claude-3-haiku-20240307", 0.25, 1.25, 0.03, 0.3, 0.5, "likewise; the vendor's cache classes are no multiples here", november},
		{"gpt-4o-2024-05-13", 2.5 * 2, 15, -1, -1, -1, "a dated model with a price of its own", november},
		{"gpt-4o-2024-11-20", 2.5, 10, 1.25, -1, -1, "one without", november},
	} {
		for i, want := range []float64{c.in, c.out, c.read, c.write5m, c.write1h} {
			var n core.Tokens
			*[]*int64{&n.Input, &n.Output, &n.CacheRead, &n.CacheWrite5m, &n.CacheWrite1h}[i] = million
			micro, priced := l.Cost(c.model, n, c.at)
			if want < 0 {
				if priced || micro != 0 {
					t.Errorf("%s, class %d: %d, priced %v; want unpriced (%s)", c.model, i, micro, priced, c.source)
				}
			} else if !priced || micro != int64(math.Round(want*1e6)) {
				t.Errorf("%s, class %d: %d, priced %v; want %v USD (%s)", c.model, i, micro, priced, want, c.source)
			}
		}
	}
}

func TestCost(t *testing.T) {
	l := pricing.Builtin()
	for _, c := range []struct {
		why, model string
		tokens     core.Tokens
		micro      int64
		priced     bool
	}{
		{"all classes add up", "claude-sonnet-4-5", core.Tokens{Input: 1000, Output: 2000, CacheRead: 3000, CacheWrite5m: 4000, CacheWrite1h: 5000},
			3000 + 30_000 + 900 + 15_000 + 30_000, true},
		{"less than a millionth of a dollar is one: nothing is free", "claude-haiku-5-5", core.Tokens{CacheRead: 1}, 1, true},
		{"nothing used costs nothing", "claude-haiku-5-5", core.Tokens{}, 0, true},
		{"a prompt of the band's size is still short", "claude-haiku-5-5", core.Tokens{Input: 40_000, CacheRead: 60_000, Output: 10}, 4000 + 600 + 5, true},
		{"one token more, and every token costs more", "claude-haiku-5-5", core.Tokens{Input: 40_001, CacheRead: 60_000, Output: 10}, 20_001 + 3000 + 25, true},
		{"output does not make a prompt long", "claude-haiku-5-5", core.Tokens{Input: 1000, Output: 200_000}, 100 + 100_000, true},
		{"every class of input counts towards the band", "claude-haiku-5-5", core.Tokens{CacheWrite5m: 50_000, CacheWrite1h: 50_001}, 31_250 + 50_001, true},
		{"a class without a price that is not used does not matter", "claude-fable-5-2", core.Tokens{Input: 1000}, 8000, true},
		{"one that is used does", "claude-fable-5-2", core.Tokens{Input: 1000, CacheWrite1h: 1}, 0, false},
		{"unknown model", "nobody-1", core.Tokens{Input: 1000}, 0, false},
		{"unknown model, nothing used", "nobody-1", core.Tokens{}, 0, false},
		{"listed by the SDK, priced by nobody", "claude-mythos-5-2", core.Tokens{Input: 1}, 0, false},
		{"no model", "", core.Tokens{Input: 1}, 0, false},
		{"a longer name is another model", "claude-opus-5-turbo", core.Tokens{Input: 1}, 0, false},
		{"negative counts are none", "claude-opus-5", core.Tokens{Input: -5, Output: 4}, 100, true},
		{"absurd counts do not overflow", "claude-fable-5", core.Tokens{Input: math.MaxInt64, Output: math.MaxInt64, CacheRead: 1}, 60_000_000_000 + 1, true},
	} {
		if micro, priced := l.Cost(c.model, c.tokens, november); micro != c.micro || priced != c.priced {
			t.Errorf("%s: %d, priced %v; want %d, %v", c.why, micro, priced, c.micro, c.priced)
		}
	}
	if _, priced := l.Cost("claude-fable-5-2", core.Tokens{Input: 1}, time.Date(2026, 11, 8, 23, 0, 0, 0, time.UTC)); priced {
		t.Error("a price does not hold before its first day")
	}
}

func TestName(t *testing.T) {
	for _, c := range []struct{ name, want, why string }{
		{"claude-sonnet-4-5", "claude-sonnet-4-5", "as it is"},
		{"claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "a date"},
		{"claude-sonnet-4-5-latest", "claude-sonnet-4-5", "latest"},
		{"Claude-Sonnet-4-5", "claude-sonnet-4-5", "capitals"},
		{"claude-sonnet-4.5", "claude-sonnet-4-5", "a dot in the version, as relays write it"},
		{"claude-sonnet-4-5-20250929[1m]", "claude-sonnet-4-5", "Claude Code's mark for long contexts (D22)"},
		{"anthropic/claude-sonnet-4.5", "claude-sonnet-4-5", "a vendor before it"},
		{"anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "Bedrock, versioned"},
		{"us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "Bedrock, a region's profile"},
		{"global.anthropic.claude-opus-5-5", "claude-opus-5-5", "Bedrock, the global profile"},
		{"jp.anthropic.claude-opus-5-5", "claude-opus-5-5", "Bedrock, Japan's"},
		{"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5", "claude-opus-5-5", "an ARN"},
		{"claude-sonnet-4-5@20250929", "claude-sonnet-4-5", "Vertex"},
		{"claude-opus-5-5", "claude-opus-5-5", "the version is no date"},
		{"gpt-5.4", "gpt-5.4", "dots of other vendors stay"},
		{"gpt-5.4-2026-03-05", "gpt-5.4-2026-03-05", "another form of date belongs to the name"},
		{"resold/anthropic/claude-opus-5-5", "resold/anthropic/claude-opus-5-5", "a reseller has prices of its own"},
		{"us.claude-opus-5-5", "us.claude-opus-5-5", "no profile of Bedrock's"},
		{"us.anthropic.claude-sonnet-4-5-20250929-v1:0[1m]", "claude-sonnet-4-5", "Bedrock with the mark behind it"},
		{"claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet", "Vertex, with a revision"},
		{"au.anthropic.claude-opus-5-5", "claude-opus-5-5", "Bedrock, Australia's"},
		{"us.amazon.nova-pro-v1:0", "amazon.nova-pro", "Bedrock's other makers stay in the name"},
		{"anthropic.claude-3-sonnet-20240229-v1:0:200k", "claude-3-sonnet", "the size of a context window"},
		{"amazon.nova-pro-v1:0:300k", "amazon.nova-pro", "likewise"},
		{"amazon.nova-pro-v1:0:k", "amazon.nova-pro-v1:0:k", "no size"},
		{"anthropic.claude-opus-4-6-v1", "claude-opus-4-6", "a revision alone"},
		{"us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "the government's partition"},
		{"arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "an ARN of it"},
		{"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6", "a1b2c3d4e5f6", "a profile that someone made tells no model: its operator prices its id"},
		{"openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b", "a revision without a v"},
		{"arn:aws:bedrock:eu-west-1::foundation-model/meta.llama3-3-70b-instruct-v1:0", "meta.llama3-3-70b-instruct", "an ARN of another maker's"},
		{"openai/gpt-5.4", "gpt-5.4", "a vendor before it, other than Anthropic"},
		{"models/gemini-2.5-pro", "gemini-2.5-pro", "as Google lists its own"},
		{"deepseek-v3", "deepseek-v3", "no revision outside of Bedrock: it is another model"},
		{"moonshot-v1-8k", "moonshot-v1-8k", "likewise"},
		{"us.amazon", "us.amazon", "not even a maker"},
		{strings.Repeat("a", 1000), "", "hostile"},
	} {
		if got := pricing.Name(c.name); got != c.want {
			t.Errorf("%s: %q is %q, want %q", c.why, c.name, got, c.want)
		}
	}
	if _, priced := pricing.Builtin().Cost("us.claude-opus-5-5", core.Tokens{Input: 1}, november); priced {
		t.Error("a name that only looks like a profile is priced")
	}
}

func TestNewRefuses(t *testing.T) {
	at := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	ok := pricing.Rates{Input: 1}
	for _, c := range []struct {
		why, says string
		rows      []pricing.Row
	}{
		{"a name that would never be found", "written", []pricing.Row{{Model: "Claude-X", Rates: ok}}},
		{"no name", "written", []pricing.Row{{Rates: ok}}},
		{"a negative rate", "rates", []pricing.Row{{Model: "m", Rates: pricing.Rates{Input: -2}}}},
		{"a rate that overflows", "rates", []pricing.Row{{Model: "m", Rates: pricing.Rates{Input: 1 << 40}}}},
		{"a bad rate in the band", "rates", []pricing.Row{{Model: "m", Rates: ok, LongOver: 1, Long: pricing.Rates{Output: -7}}}},
		{"it ends before it begins", "begin", []pricing.Row{{Model: "m", Rates: ok, From: at(2), To: at(1)}}},
		{"a negative price of searches", "rates", []pricing.Row{{Model: "m", Rates: ok, Search: -1}}},
		{"a bad rate of fast mode", "rates", []pricing.Row{{Model: "m", Rates: ok, Fast: pricing.Rates{Output: -7}}}},
		{"a percentage that overflows", "percentages", []pricing.Row{{Model: "m", Rates: ok, Regional: 1001}}},
		{"a negative percentage", "percentages", []pricing.Row{{Model: "m", Rates: ok, Batch: -50}}},
		{"two of one kind", "valid at", []pricing.Row{{Model: "m", Kind: core.KindBedrock, Rates: ok}, {Model: "m", Kind: core.KindBedrock, Rates: ok}}},
		{"two without dates", "valid at", []pricing.Row{{Model: "m", Rates: ok}, {Model: "m", Rates: ok}}},
		{"overlap", "valid at", []pricing.Row{{Model: "m", Rates: ok, From: at(3)}, {Model: "m", Rates: ok, To: at(4)}}},
	} {
		if _, err := pricing.New(c.rows); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	if _, err := pricing.New([]pricing.Row{{Model: "m", Rates: ok, From: at(3)}, {Model: "m", Rates: ok, To: at(3)}}); err != nil {
		t.Errorf("rows that follow each other: %v", err)
	}
	if _, err := pricing.New([]pricing.Row{{Model: "m", Rates: ok}, {Model: "m", Kind: core.KindBedrock, Rates: ok}}); err != nil {
		t.Errorf("rows of two kinds: %v", err)
	}
}

// FuzzName: any text has a name no longer than itself, and a cost exactly when it is priced.
func FuzzName(f *testing.F) {
	for _, s := range []string{"claude-opus-5-5", "us.anthropic.claude-x-20250101-v1:0", "anthropic/anthropic/a", "a@20250101", "-v1:0", "arn:aws:x/"} {
		f.Add(s)
	}
	l := pricing.Builtin()
	f.Fuzz(func(t *testing.T, s string) {
		if n := pricing.Name(s); len(n) > len(s) {
			t.Errorf("%q becomes %q", s, n)
		}
		if micro, priced := l.Cost(s, core.Tokens{Input: 5}, november); micro < 0 || micro > 0 != priced {
			t.Errorf("%q costs %d, priced %v", s, micro, priced)
		}
	})
}
