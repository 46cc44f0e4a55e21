// Package pricing tells what a request cost. Prices are absolute, per model, kind of node and class of token, and valid from
// one date to another; what has no price is unpriced, never free.
//
// A cost is worked out once, at the time of the request, and stored with it. Lists change afterwards only for requests that
// come later: see [List.With] and [List.Changed].
package pricing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/shared/core"
)

// Unknown is the rate of a class of tokens that nobody published: a request that uses the class is unpriced.
const Unknown = -1

// maxRate bounds a rate, maxTokens the tokens of a class and the searches that are counted, and maxPercent the factors, so
// that no sum overflows.
const (
	maxRate    = 1_000_000_000 // 1,000 USD for a million tokens
	maxTokens  = 1_000_000_000
	maxPercent = 1000
)

// Rates are prices in micro-USD for a million tokens, by class; Unknown where there is none.
type Rates struct {
	Input     int64 `json:"input"` // uncached
	Output    int64 `json:"output"`
	CacheRead int64 `json:"cache_read"`
	Write5m   int64 `json:"cache_write_5m"`
	Write1h   int64 `json:"cache_write_1h"`
}

// Row is the price of one model for some time.
type Row struct {
	Model string    `json:"model"`          // as Name spells it
	Kind  core.Kind `json:"kind,omitempty"` // of the nodes it holds for; empty: for those of kinds without a row of their own
	From  time.Time `json:"from,omitzero"`  // valid from then
	To    time.Time `json:"to,omitzero"`    // and before then; zero: open
	Rates
	// LongOver, when not 0, is the number of input tokens, of all classes, beyond which every token of a request costs Long.
	LongOver int64 `json:"long_over,omitempty"`
	Long     Rates `json:"long,omitzero"`
	// Fast are the rates of fast mode. All 0: none is known, and fast requests are unpriced.
	Fast Rates `json:"fast,omitzero"`
	// Search is micro-USD for 1,000 web searches by the upstream. 0: unknown, and requests that searched are unpriced.
	Search int64 `json:"search,omitempty"`
	// Regional is the percentage of the rates that tokens cost where they must be processed in one region: with a profile or
	// id of Bedrock's that is not "global.", or with inference_geo "us" at Anthropic. 0: 100, it costs nothing more.
	Regional int64 `json:"regional_percent,omitempty"`
	// Batch is the percentage of the rates that tokens cost in a batch. 0: 50, as at every vendor that has batches.
	Batch  int64  `json:"batch_percent,omitempty"`
	Source string `json:"source,omitempty"` // where and when the price was read, for people
}

// List is a price list. It never changes and is safe for concurrent use.
type List struct {
	rows map[string][]Row // by model, in order of kind and From
	base *List            // what holds where rows have nothing; nil: nothing does
}

// New makes a list. The error names the row that is wrong: a name that Name spells otherwise, a rate out of bounds, or
// times that overlap those of another row of the model and kind.
func New(rows []Row) (*List, error) {
	l := &List{rows: make(map[string][]Row)}
	for i := range rows {
		r := &rows[i]
		if err := r.check(); err != nil {
			return nil, err
		}
		l.rows[r.Model] = append(l.rows[r.Model], *r)
	}
	for model, rs := range l.rows {
		slices.SortFunc(rs, order)
		for i := 1; i < len(rs); i++ {
			if to := rs[i-1].To; rs[i-1].Kind == rs[i].Kind && (to.IsZero() || to.After(rs[i].From)) {
				return nil, fmt.Errorf("price of %s: two rows are valid at %s", model, rs[i].From.Format(time.DateOnly))
			}
		}
	}
	return l, nil
}

func order(a, b Row) int {
	return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Kind, b.Kind), a.From.Compare(b.From))
}

func (r *Row) check() error {
	if r.Model == "" || Name(r.Model) != r.Model {
		return fmt.Errorf("price of %q: the name must be written %q", r.Model, Name(r.Model))
	}
	if !r.valid() || r.LongOver < 0 || r.LongOver > 0 && !r.Long.valid() || !r.Fast.valid() || r.Search < 0 || r.Search > maxRate {
		return fmt.Errorf("price of %s: rates must be 0 to %d micro-USD for a million tokens", r.Model, int64(maxRate))
	}
	if r.Regional < 0 || r.Regional > maxPercent || r.Batch < 0 || r.Batch > maxPercent {
		return fmt.Errorf("price of %s: percentages must be 0 to %d", r.Model, maxPercent)
	}
	if !r.To.IsZero() && !r.From.Before(r.To) {
		return fmt.Errorf("price of %s: it must begin before it ends", r.Model)
	}
	return nil
}

func (r *Rates) valid() bool {
	for _, n := range r.all() {
		if n < Unknown || n > maxRate {
			return false
		}
	}
	return true
}

func (r *Rates) all() [5]int64 {
	return [...]int64{r.Input, r.Output, r.CacheRead, r.Write5m, r.Write1h}
}

func (r *Row) at(t time.Time) bool { return !t.Before(r.From) && (r.To.IsZero() || t.Before(r.To)) }

// Find is the row that prices the model for nodes of that kind at that time. The name may be any that Name understands; an id
// of Bedrock's counts as asked of Bedrock. A row of the kind beats a row for any, and a dated name with a row of its own
// beats the name without the date.
func (l *List) Find(model string, kind core.Kind, at time.Time) (Row, bool) {
	var buf [maxName]byte
	n := spell(buf[:0], model)
	if r := l.find(n, kind, at); r != nil {
		return *r, true
	}
	return Row{}, false
}

func (l *List) find(n spelled, kind core.Kind, at time.Time) *Row {
	if n.bedrock {
		kind = core.KindBedrock
	}
	if r := l.exact(n.text, kind, at); r != nil {
		return r
	}
	if s, ok := undated(n.text); ok {
		return l.exact(s, kind, at)
	}
	return nil
}

func (l *List) exact(name []byte, kind core.Kind, at time.Time) *Row {
	for ; l != nil; l = l.base {
		var plain *Row
		rows := l.rows[string(name)]
		for i := range rows {
			switch r := &rows[i]; {
			case !r.at(at):
			case r.Kind == kind:
				return r
			case r.Kind == "":
				plain = r
			}
		}
		if plain != nil {
			return plain
		}
	}
	return nil
}

// With is the list with rows that beat its own: an operator's overrides, an account's, or a newer list. Each holds from its
// From until its To, also against the list's rows for one kind when it is for any; outside of that time the list's own hold,
// so that usage keeps the price of its day. A row without From says that the price was always this. The list itself stays as
// it is, and the two share memory. The error is that of [New].
func (l *List) With(rows []Row) (*List, error) {
	over, err := New(rows)
	if err != nil {
		return nil, err
	}
	over.base = l
	return over, nil
}

// Rows are all prices of the list, by model, kind and time, without the times for which others beat them: New of them is a
// list of the same prices.
func (l *List) Rows() []Row {
	var all []Row
	for ; l != nil; l = l.base {
		over := index(all)
		for _, rs := range l.rows {
			for _, r := range rs {
				all = append(all, cut(r, over[r.Model])...)
			}
		}
	}
	slices.SortFunc(all, order)
	return all
}

func index(rows []Row) map[string][]Row {
	m := make(map[string][]Row)
	for _, r := range rows {
		m[r.Model] = append(m[r.Model], r)
	}
	return m
}

// cut is what is left of a row when the others, which beat it, are taken off: none, itself or several.
func cut(r Row, others []Row) []Row {
	left := []Row{r}
	for _, o := range others {
		if o.Kind != "" && o.Kind != r.Kind {
			continue
		}
		var next []Row
		for _, p := range left {
			next = append(next, apart(p, o)...)
		}
		left = next
	}
	return left
}

// apart is the row before and after the time of another.
func apart(p, o Row) []Row {
	if !p.To.IsZero() && !o.From.Before(p.To) || !o.To.IsZero() && !p.From.Before(o.To) {
		return []Row{p}
	}
	var rows []Row
	if p.From.Before(o.From) {
		before := p
		before.To = o.From
		rows = append(rows, before)
	}
	if !o.To.IsZero() && (p.To.IsZero() || o.To.Before(p.To)) {
		after := p
		after.From = o.To
		rows = append(rows, after)
	}
	return rows
}

// Changed are the rows of a newer list that make a price differ from this list's at that time, each valid from that time on
// (or from its own From, when that is later): what [List.With] takes so that nothing before changes. Rows that are over by
// then are left out.
//
// What a row does not say (a class of tokens, a band, fast mode) is kept from the list as long as input and output cost the
// same; when they do not, it is unknown from then on. Searches and percentages are always kept.
func (l *List) Changed(rows []Row, at time.Time) []Row {
	var changed []Row
	for _, r := range rows {
		if !r.To.IsZero() && !at.Before(r.To) {
			continue
		}
		if r.From.Before(at) {
			r.From = at
		}
		old := l.exact([]byte(r.Model), r.Kind, r.From)
		if old == nil {
			changed = append(changed, r)
			continue
		}
		r.fill(old)
		same := r
		same.From, same.To, same.Source, same.Kind = old.From, old.To, old.Source, old.Kind
		if same != *old {
			changed = append(changed, r)
		}
	}
	changed = append(changed, l.spared(changed)...)
	slices.SortFunc(changed, order)
	return changed
}

// spared are the list's rows for one kind of nodes that rows for any kind would beat although nothing said that they changed.
func (l *List) spared(changed []Row) (rows []Row) {
	has := index(changed)
	for _, r := range l.Rows() {
		for _, c := range has[r.Model] {
			if c.Kind == "" && r.Kind != "" && r.at(c.From) && !slices.ContainsFunc(has[r.Model], func(o Row) bool { return o.Kind == r.Kind }) {
				r.From = c.From
				rows = append(rows, r)
				break
			}
		}
	}
	return rows
}

// fill takes from the older row what the newer one leaves open.
func (r *Row) fill(old *Row) {
	r.Search, r.Regional, r.Batch = cmp.Or(r.Search, old.Search), cmp.Or(r.Regional, old.Regional), cmp.Or(r.Batch, old.Batch)
	if r.Input != old.Input || r.Output != old.Output {
		return
	}
	r.Rates.fill(&old.Rates)
	switch r.LongOver {
	case 0:
		r.LongOver, r.Long = old.LongOver, old.Long
	case old.LongOver:
		r.Long.fill(&old.Long)
	}
	if r.Fast == (Rates{}) {
		r.Fast = old.Fast
	}
}

func (r *Rates) fill(old *Rates) {
	for _, p := range [...]struct{ to, from *int64 }{{&r.CacheRead, &old.CacheRead}, {&r.Write5m, &old.Write5m}, {&r.Write1h, &old.Write1h}} {
		if *p.to == Unknown {
			*p.to = *p.from
		}
	}
}

// Models are the names that the list has prices for, in order.
func (l *List) Models() []string {
	seen := make(map[string]bool)
	for ; l != nil; l = l.base {
		for m := range l.rows {
			seen[m] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
