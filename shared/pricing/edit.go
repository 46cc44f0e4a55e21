package pricing

import (
	"slices"
	"time"
)

// Put lays newer rows over older ones that hold for the same model and kind, in their time: those end where these begin, and
// go on where these end. Unlike with [List.With], rows for other kinds stay. The rows it is given stay as they are.
func Put(rows []Row, newer ...Row) []Row {
	over := index(newer)
	out := make([]Row, 0, len(rows)+len(newer))
	for _, o := range rows {
		left := []Row{o}
		for _, r := range over[o.Model] {
			if r.Kind != o.Kind {
				continue
			}
			var next []Row
			for _, p := range left {
				next = append(next, apart(p, r)...)
			}
			left = next
		}
		out = append(out, left...)
	}
	out = append(out, newer...)
	slices.SortFunc(out, order)
	return out
}

// End makes the rows for the model and kind of r end at a time; those that would begin then or later are gone. ended is false,
// and nothing changed, when there were none.
func End(rows []Row, r Row, at time.Time) (left []Row, ended bool) {
	for _, o := range rows {
		if o.Model == r.Model && o.Kind == r.Kind && (o.To.IsZero() || o.To.After(at)) {
			ended = true
			if !o.From.Before(at) {
				continue
			}
			o.To = at
		}
		left = append(left, o)
	}
	return left, ended
}

// Reprice is the list's row for the model and kind of r with r's prices of input and output, from r's From to r's To. What r
// does not say follows the list in proportion, as in [List.FromOld]: the cache classes (where r has Unknown), bands and fast
// mode. A model that the list has not stays as r has it; when it is free, its cache is, too.
func (l *List) Reprice(r Row, source string) Row {
	r.Source = source
	have, ok := l.Find(r.Model, r.Kind, r.From)
	if !ok {
		if r.Input == 0 && r.Output == 0 {
			r.Rates.fill(&Rates{})
		}
		return r
	}
	n := have.inProportion(&r)
	n.Kind, n.Source = r.Kind, source
	for _, p := range [...]struct{ to, from *int64 }{{&n.CacheRead, &r.CacheRead}, {&n.Write5m, &r.Write5m}, {&n.Write1h, &r.Write1h}} {
		if *p.from != Unknown {
			*p.to = *p.from
		}
	}
	return n
}

// FromUSD reads a decimal number of dollars, such as 2.5, as micro-USD, rounded half up; false for what is none, is below 0
// or above 1,000.
func FromUSD(s string) (micro int64, ok bool) { return decimal([]byte(s), 6) }
