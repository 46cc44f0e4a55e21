package importer_test

import (
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/prices"
	"sluice/shared/pricing"
)

// The old gateway's prices are the operator's from the import on: those that differ from the built-in ones, once, so that a
// further run undoes nothing.
func TestPrices(t *testing.T) {
	src, _ := old(t, schema+rows+`
INSERT INTO model_pricing VALUES ('u3', 'claude-opus-4-5-20251101', 'Opus', 10, 50, 1), ('u4', 'house-model', NULL, 0.1, 0.4, 1), ('u5', 'claude-haiku-4-5-20251001', NULL, 9, 9, 0);`)
	g := newTarget(t)
	r := g.run(src)
	if r.Prices != 4 {
		t.Errorf("%d prices", r.Prices)
	}
	g.says(r, "price of mine: it is no price", "price of claude-haiku-4-5-20251001: not active", "2 old prices differ from this gateway's own list")
	if text := strings.Join(r.Lines(), "\n"); strings.Contains(text, "import/qcc-plus/prices") {
		t.Errorf("the report still says that the prices are not used:\n%s", text)
	}
	book := prices.New(prices.Options{Tables: g.tables, Now: clock})
	cost := func(model string, use core.Tokens, at time.Time) int64 {
		book.Refresh(t.Context(), 0)
		micro, priced := book.List("any").CostOf(pricing.Use{Model: model, Tokens: use, At: at})
		if !priced {
			return -1
		}
		return micro
	}
	const million = 1_000_000
	now := clock()
	for _, c := range []struct {
		why, model string
		use        core.Tokens
		at         time.Time
		want       int64
	}{
		{"another price than the built-in one", "claude-opus-4-5", core.Tokens{Input: million}, now, 10 * million},
		{"its cache in the same proportion", "claude-opus-4-5", core.Tokens{CacheRead: million}, now, million},
		{"before the import", "claude-opus-4-5", core.Tokens{Input: million}, now.Add(-time.Second), 5 * million},
		{"a model of its own", "house-model", core.Tokens{Output: million}, now, 400_000},
		{"the built-in price", "claude-sonnet-4-5", core.Tokens{Input: million}, now, 3 * million},
		{"one that was not active", "claude-haiku-4-5", core.Tokens{Input: million}, now, million},
	} {
		if got := cost(c.model, c.use, c.at); got != c.want {
			t.Errorf("%s: %d, want %d", c.why, got, c.want)
		}
	}
	if err := book.End(t.Context(), "", "house-model", "", now); err != nil {
		t.Fatal(err)
	}
	g.run(src)
	if got := cost("house-model", core.Tokens{Output: million}, now); got != -1 {
		t.Errorf("a further run brought back a price that was ended: %d", got)
	}
}
