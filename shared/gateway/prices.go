package gateway

import (
	"context"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
	"sluice/shared/translator/anthropic"
)

// Prices gives the price list of an account.
type Prices interface {
	// List is the account's list as it was last read. It never waits.
	List(account string) *pricing.List
	// Refresh reads the lists when those at hand are older than that. It waits a few seconds at most and, when another
	// call is reading, not at all; what cannot be read stays as it was.
	Refresh(ctx context.Context, older time.Duration)
}

// The ages of lists at which they are read again. What a request costs is worked out when the client has everything: there a
// trip to the store holds up nobody, nearly. Only where that did not happen for long, as on an instance that was asleep, does
// the admission of a request that a budget limits read first. Nothing is read while nobody asks: on Lambda nothing may run then.
const (
	newPrices = time.Minute
	oldPrices = 5 * time.Minute
)

// fixedPrices are the same for all, always.
type fixedPrices struct{ list *pricing.List }

func (f fixedPrices) List(string) *pricing.List              { return f.list }
func (f fixedPrices) Refresh(context.Context, time.Duration) {}

// prices is the list that the request's account pays by.
func (x *exchange) prices() *pricing.List { return x.g.o.Prices.List(x.key.Account) }

// setCost puts what the request cost into its record.
func (x *exchange) setCost(ctx context.Context) {
	x.g.o.Prices.Refresh(ctx, newPrices)
	rec := &x.rec
	use := pricing.Use{Model: rec.ServedModel, Kind: x.kind, Tokens: rec.Tokens, At: rec.EndedAt,
		Fast: rec.Fast && !x.priority, Priority: x.priority, Geo: rec.Geo, Searches: rec.Searches}
	cost, known := priced(x.prices(), use, x.routed)
	rec.CostUSD, rec.Unpriced = cost, !known
}

// batchSum is what the answers of one model in a batch used.
type batchSum struct {
	core.Tokens
	searches int64
	cost     int64
	unpriced bool // one of them: then the cost of all is not known
	guessed  bool // one of them has not, or not all of, its counts
}

// add takes one answer, whose price does not depend on the others': a long prompt does not make theirs long.
func (s *batchSum) add(m *anthropic.Meter, t core.Tokens, list *pricing.List, now time.Time) {
	s.Tokens = s.Tokens.Add(t)
	s.searches += m.Terms.Searches
	cost, priced := list.CostOf(pricing.Use{Model: m.Model, Kind: core.KindAnthropic, Tokens: t, At: now, Batch: true,
		Fast: m.Terms.Fast, Geo: m.Terms.Geo, Searches: m.Terms.Searches})
	s.cost += cost
	s.unpriced = s.unpriced || !priced
}
