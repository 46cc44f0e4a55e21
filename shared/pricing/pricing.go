// Package pricing tells what a request cost. Prices are absolute, per model and class of token, and valid from one date to
// another; what has no price is unpriced, never free.
//
// Not priced are the things that no count of tokens shows: Anthropic's fast mode and regional surcharge, and searches.
package pricing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
)

// Unknown is the rate of a class of tokens that nobody published: a request that uses the class is unpriced.
const Unknown = -1

// maxRate bounds a rate, and maxTokens the tokens of a class that are counted, so that no sum overflows.
const (
	maxRate   = 1_000_000_000 // 1,000 USD for a million tokens
	maxTokens = 1_000_000_000
)

// Rates are prices in micro-USD for a million tokens, by class; Unknown where there is none.
type Rates struct {
	Input, Output, CacheRead, Write5m, Write1h int64
}

// Row is the price of one model for some time.
type Row struct {
	Model    string    // as Name spells it
	From, To time.Time // valid from From until before To; zero: open
	Rates
	// LongOver, when not 0, is the number of input tokens, of all classes, beyond which every token of a request costs Long.
	LongOver int64
	Long     Rates
	Source   string // where the price was read, for people
}

// List is a price list. It never changes and is safe for concurrent use.
type List struct {
	rows map[string][]Row // by model, in order of From
}

// New makes a list. The error names the row that is wrong: a name that Name spells otherwise, a rate out of bounds, or
// times that overlap those of another row of the model.
func New(rows []Row) (*List, error) {
	l := &List{rows: make(map[string][]Row)}
	for _, r := range rows {
		if r.Model == "" || Name(r.Model) != r.Model {
			return nil, fmt.Errorf("price of %q: the name must be written %q", r.Model, Name(r.Model))
		}
		if !r.Rates.valid() || r.LongOver < 0 || r.LongOver > 0 && !r.Long.valid() {
			return nil, fmt.Errorf("price of %s: rates must be 0 to %d micro-USD for a million tokens", r.Model, int64(maxRate))
		}
		if !r.To.IsZero() && !r.From.Before(r.To) {
			return nil, fmt.Errorf("price of %s: it must begin before it ends", r.Model)
		}
		l.rows[r.Model] = append(l.rows[r.Model], r)
	}
	for model, rs := range l.rows {
		slices.SortFunc(rs, func(a, b Row) int { return cmp.Compare(a.From.UnixMicro(), b.From.UnixMicro()) })
		for i := 1; i < len(rs); i++ {
			if to := rs[i-1].To; to.IsZero() || to.After(rs[i].From) {
				return nil, fmt.Errorf("price of %s: two rows are valid at %s", model, rs[i].From.Format(time.DateOnly))
			}
		}
	}
	return l, nil
}

func (r *Rates) valid() bool {
	for _, n := range [...]int64{r.Input, r.Output, r.CacheRead, r.Write5m, r.Write1h} {
		if n < Unknown || n > maxRate {
			return false
		}
	}
	return true
}

// Cost is what a request of the model cost at that time, in micro-USD, rounded up. priced is false, and the cost 0, when
// the list has no price for the model then, or for a class of tokens that the request used.
func (l *List) Cost(model string, t core.Tokens, at time.Time) (micro int64, priced bool) {
	r := l.find(model, at)
	if r == nil {
		return 0, false
	}
	rates := &r.Rates
	if r.LongOver > 0 && t.TotalInput() > r.LongOver {
		rates = &r.Long
	}
	sum := total{ok: true}
	sum.add(t.Input, rates.Input)
	sum.add(t.Output, rates.Output)
	sum.add(t.CacheRead, rates.CacheRead)
	sum.add(t.CacheWrite5m, rates.Write5m)
	sum.add(t.CacheWrite1h, rates.Write1h)
	if !sum.ok {
		return 0, false
	}
	return (sum.n + 999_999) / 1_000_000, true
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

func (l *List) find(model string, at time.Time) *Row {
	rows := l.rows[Name(model)]
	for i := range rows {
		if r := &rows[i]; !at.Before(r.From) && (r.To.IsZero() || at.Before(r.To)) {
			return r
		}
	}
	return nil
}

// regions are the prefixes of Bedrock's inference profiles (wire-formats 5), before "anthropic.".
var regions = [...]string{"global.", "us.", "eu.", "jp.", "apac."}

// Name spells a model as the list does: without vendor and region before it ("anthropic/", "us.anthropic.", an ARN), without
// the date, "-latest", Bedrock's "-v1:0", Vertex's "@date" or "[1m]" behind it, and with dashes in the version.
func Name(model string) string {
	s := strings.ToLower(strings.TrimSpace(model))
	if len(s) > 512 {
		return ""
	}
	if strings.HasPrefix(s, "arn:aws") {
		s = s[strings.LastIndexByte(s, '/')+1:]
	}
	s = strings.TrimPrefix(s, "anthropic/")
	for _, r := range regions {
		if rest, ok := strings.CutPrefix(s, r); ok && strings.HasPrefix(rest, "anthropic.") {
			s = rest
			break
		}
	}
	s = strings.TrimPrefix(s, "anthropic.")
	s = strings.TrimSuffix(s, "[1m]")
	if base, date, ok := strings.Cut(s, "@"); ok && (isDate(date) || date == "default" || date == "latest") {
		s = base
	}
	s = strings.TrimSuffix(trimRevision(s), "-latest")
	if i := strings.LastIndexByte(s, '-'); i > 0 && isDate(s[i+1:]) {
		s = s[:i]
	}
	if strings.HasPrefix(s, "claude-") {
		s = strings.ReplaceAll(s, ".", "-")
	}
	return s
}

// trimRevision removes "-v1:0" or "-v1" at the end.
func trimRevision(s string) string {
	i := strings.LastIndex(s, "-v")
	if i < 0 {
		return s
	}
	major, minor, _ := strings.Cut(s[i+2:], ":")
	if len(major) == 0 || len(major) > 2 || !digits(major) || !digits(minor) {
		return s
	}
	return s[:i]
}

func isDate(s string) bool { return len(s) == 8 && digits(s) && s[:2] == "20" }

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }
