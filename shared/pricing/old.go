package pricing

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Old is a price of the older gateway's list, as the importer keeps it: USD for a million tokens.
type Old struct {
	Model  string  `json:"model"`
	Input  float64 `json:"input_usd"`
	Output float64 `json:"output_usd"`
	Active bool    `json:"active"`
}

// FromOld are the rows that keep the older gateway's prices from a time on, for [List.With], and why others became none.
//
// That gateway took no notice of cached tokens: it neither counted nor priced them. To go on so would give away most of what
// a coding client uses, and to leave the classes unknown would let such clients spend past every budget. So a price that is
// the list's own makes no row (the list knows the cache too, and follows the vendor); another one scales the list's cache
// classes, bands and fast mode with its input, and says so in its source; and only for a model that the list does not have
// are cache classes unknown.
func (l *List) FromOld(old []Old, from time.Time) (rows []Row, skipped []string) {
	seen := make(map[string]bool)
	for _, o := range old {
		r := Row{Model: Name(o.Model), From: from, Rates: Rates{CacheRead: Unknown, Write5m: Unknown, Write1h: Unknown}, Source: "imported price"}
		in, ok1 := fromUSD(o.Input)
		out, ok2 := fromUSD(o.Output)
		if r.Input, r.Output = in, out; !o.Active {
			skipped = append(skipped, fmt.Sprintf("%s: not active", o.Model))
			continue
		}
		if !ok1 || !ok2 || r.check() != nil {
			skipped = append(skipped, fmt.Sprintf("%s: not a name with prices from 0 to 1,000 USD", o.Model))
			continue
		}
		if seen[r.Model] {
			skipped = append(skipped, fmt.Sprintf("%s: another price of %s comes first", o.Model, r.Model))
			continue
		}
		seen[r.Model] = true
		if have, ok := l.Find(r.Model, "", from); ok {
			if have.Input == in && have.Output == out {
				continue
			}
			r = have.repriced(&r)
		}
		rows = append(rows, r)
	}
	return rows, skipped
}

// repriced is the row with other prices of input and output, and the rest in proportion: output to output, else to input.
func (r *Row) repriced(to *Row) Row {
	n := r.inProportion(to)
	n.Source = to.Source + "; cache, bands and fast mode computed in the proportions of: " + r.Source
	return n
}

func (r *Row) inProportion(to *Row) Row {
	n := *r
	n.Model, n.From, n.To = to.Model, to.From, to.To
	for _, p := range [...]*Rates{&n.Rates, &n.Long, &n.Fast} {
		for _, c := range [...]*int64{&p.Input, &p.CacheRead, &p.Write5m, &p.Write1h} {
			*c = proportion(*c, to.Input, r.Input)
		}
		p.Output = proportion(p.Output, to.Output, r.Output)
	}
	return n
}

// proportion is n times a, by b, rounded half up.
func proportion(n, a, b int64) int64 {
	if n == Unknown || b <= 0 {
		return n
	}
	return int64(math.Min(math.Floor(float64(n)*float64(a)/float64(b)+0.5), maxRate))
}

func fromUSD(usd float64) (int64, bool) {
	return decimal(strconv.AppendFloat(nil, usd, 'g', -1, 64), 6)
}
