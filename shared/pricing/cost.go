package pricing

import (
	"math/bits"
	"strings"
	"time"

	"sluice/shared/core"
)

// Use is what one request used.
type Use struct {
	Model    string    // as sent upstream
	Kind     core.Kind // of the node; empty: not known
	Tokens   core.Tokens
	At       time.Time
	Batch    bool   // it was part of a batch (Anthropic: usage.service_tier "batch")
	Fast     bool   // fast mode answered (Anthropic: usage.speed "fast")
	Priority bool   // the tier "priority" of OpenAI or Bedrock answered: costs the rates of fast mode where the list has them, else the normal ones
	Geo      string // usage.inference_geo as Anthropic reports it; only "us" costs more
	Searches int64  // usage.server_tool_use.web_search_requests
}

// DefaultBatch is the percentage that batches cost where a row says nothing (wire-formats 6.8).
const DefaultBatch = 50

// scale is how many units make a micro-USD: rates are for a million tokens, and two percentages multiply them.
const scale = 1_000_000 * 100 * 100

// Cost is what tokens of the model cost at that time, at the rates that hold where nothing else is known of the request.
func (l *List) Cost(model string, t core.Tokens, at time.Time) (micro int64, priced bool) {
	return l.CostOf(Use{Model: model, Tokens: t, At: at})
}

// CostOf is what a request cost, in micro-USD, rounded up. priced is false, and the cost 0, when the list has no price for
// the model then, or for something that the request used: a class of tokens, fast mode (which neither batches nor prompts
// beyond a band have), or searches. Counts below 0 are none, and those beyond a thousand million count as that.
func (l *List) CostOf(u Use) (micro int64, priced bool) {
	var buf [maxName]byte
	n := spell(buf[:0], u.Model)
	r := l.find(n, u.Kind, u.At)
	if r == nil {
		return 0, false
	}
	rates, ok := r.rates(&u)
	if !ok {
		return 0, false
	}
	sum := total{ok: true}
	sum.add(u.Tokens.Input, rates.Input)
	sum.add(u.Tokens.Output, rates.Output)
	sum.add(u.Tokens.CacheRead, rates.CacheRead)
	sum.add(u.Tokens.CacheWrite5m, rates.Write5m)
	sum.add(u.Tokens.CacheWrite1h, rates.Write1h)
	if !sum.ok || u.Searches > 0 && r.Search == 0 {
		return 0, false
	}
	// at most 5e18 * 1e6, and searches of 1e18 * 1e7: far below the 128 bits and, divided by scale, below the 64
	hi, lo := bits.Mul64(uint64(sum.n), r.percent(&u, n))
	searched := uint64(min(max(u.Searches, 0), maxTokens) * r.Search)
	shi, slo := bits.Mul64(searched, scale/1000)
	lo, carry := bits.Add64(lo, slo, 0)
	hi += shi + carry
	lo, carry = bits.Add64(lo, scale-1, 0)
	q, _ := bits.Div64(hi+carry, lo, scale)
	return int64(q), true
}

// rates are those that the request's tokens cost.
func (r *Row) rates(u *Use) (*Rates, bool) {
	long := r.LongOver > 0 && totalInput(&u.Tokens) > r.LongOver
	switch {
	case u.Priority && !u.Fast && !long && !u.Batch && r.Fast != Rates{}:
		return &r.Fast, true
	case u.Fast && (long || u.Batch || r.Fast == Rates{}):
		return nil, false
	case u.Fast:
		return &r.Fast, true
	case long:
		return &r.Long, true
	}
	return &r.Rates, true
}

// totalInput is Tokens.TotalInput of counts that may be absurd.
func totalInput(t *core.Tokens) int64 {
	return count(t.Input) + count(t.CacheRead) + count(t.CacheWrite5m) + count(t.CacheWrite1h)
}

func count(n int64) int64 { return min(max(n, 0), maxTokens) }

// percent is what the request's tokens cost of the rates, in hundredths of a percent.
func (r *Row) percent(u *Use, n spelled) uint64 {
	p := uint64(100)
	// Bedrock tells by its ids. Of its nodes, only Claude Platform on AWS is sent other names; there it is as at Anthropic:
	// docs.aws.amazon.com/claude-platform/latest/userguide/data-residency.html
	if r.Regional > 0 && (n.bedrock && !n.global || !n.bedrock && strings.EqualFold(u.Geo, "us")) {
		p = uint64(r.Regional)
	}
	switch {
	case !u.Batch:
		return p * 100
	case r.Batch > 0:
		return p * uint64(r.Batch)
	}
	return p * DefaultBatch
}

// total adds up micro-USD for a million times as many tokens.
type total struct {
	n  int64
	ok bool
}

func (s *total) add(tokens, rate int64) {
	if tokens <= 0 {
		return
	}
	if rate == Unknown {
		s.ok = false
		return
	}
	s.n += min(tokens, maxTokens) * rate
}
