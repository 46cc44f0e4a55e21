package main

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
)

// provider, model, price and tiered are the parts of genai-prices that matter here.
type provider struct {
	ID     string
	Models []model
}

type model struct {
	ID     string
	Match  match
	Prices prices
}

// match is what names a model has; only those that are spelled out are taken.
type match struct {
	Equals string
	Or     []match
}

type price struct {
	Constraint struct {
		Type  string
		Start string `json:"start_date"`
	}
	Prices rates
}

type rates struct {
	Input    *tiered `json:"input_mtok"`
	Output   *tiered `json:"output_mtok"`
	Read     *tiered `json:"cache_read_mtok"`
	Write    *tiered `json:"cache_write_mtok"`
	Write1h  *tiered `json:"cache_write_1h_mtok"`
	Searches float64 `json:"web_searches_kcount"`
}

// prices are one price or several with conditions, of which the last that holds counts.
type prices []price

func (p *prices) UnmarshalJSON(doc []byte) error {
	if doc[0] == '[' {
		return json.Unmarshal(doc, (*[]price)(p))
	}
	*p = prices{{}}
	return json.Unmarshal(doc, &(*p)[0].Prices)
}

// tiered is USD for a million tokens, and what it is for longer prompts.
type tiered struct {
	Base  float64
	Tiers []struct {
		Start int64
		Price float64
	}
}

func (t *tiered) UnmarshalJSON(doc []byte) error {
	if doc[0] != '{' {
		return json.Unmarshal(doc, &t.Base)
	}
	type plain tiered
	return json.Unmarshal(doc, (*plain)(t))
}

// genai are the rows of the providers in kinds.
func genai(providers []provider) []pricing.Row {
	var rows []pricing.Row
	for _, p := range providers {
		kind, ok := kinds[p.ID]
		if !ok {
			continue
		}
		owner := make(map[string]string) // of a name: the id of the model it is
		for _, m := range p.Models {
			n := m.names()
			if len(n) == 0 {
				continue
			}
			if owner[n[0]] == "" || strings.HasSuffix(m.ID, "-latest") {
				owner[n[0]] = m.ID
			}
		}
		for _, m := range p.Models {
			dated := m.Prices.rows(kind)
			for _, name := range m.names() {
				if owner[name] == "" {
					owner[name] = m.ID
				}
				if owner[name] != m.ID || p.ID == "google" && !strings.HasPrefix(name, "gemini") {
					continue
				}
				for _, r := range dated {
					r.Model = name
					rows = append(rows, r)
				}
			}
		}
	}
	return regional(rows)
}

// names are the model's, its id first, without what the list finds by itself.
func (m *model) names() []string {
	var all []string
	var walk func(match)
	add := func(s string) {
		name, bound := strings.CutPrefix(s, "regional.")
		n := pricing.Name(name)
		if n == "" || strings.HasSuffix(n, "-") || strings.ContainsAny(n, ":/@, ") || pricing.Name(n) != n || slices.Contains(all, n) {
			return
		}
		if bound {
			n = "regional." + n
		}
		all = append(all, n)
	}
	walk = func(x match) {
		if x.Equals != "" && !strings.HasPrefix(m.ID, "regional.") {
			add(x.Equals)
		}
		for _, o := range x.Or {
			walk(o)
		}
	}
	add(m.ID)
	walk(m.Match)
	return slices.DeleteFunc(all, func(n string) bool {
		i := len(n) - len("-2026-03-05")
		if i <= 0 {
			return false
		}
		_, err := time.Parse("-2006-01-02", n[i:])
		return err == nil && slices.Contains(all, n[:i])
	})
}

// rows are a row for each time that has a price; none where one of them cannot be told in a row.
func (ps prices) rows(kind core.Kind) (rows []pricing.Row) {
	var hours []pricing.Row
	for _, p := range ps {
		r, ok := p.Prices.row()
		if !ok {
			return nil
		}
		r.Kind = kind
		switch p.Constraint.Type {
		case "":
		case "start_date":
			day, err := time.Parse(time.DateOnly, p.Constraint.Start)
			if err != nil {
				return nil
			}
			r.From = day
			if n := len(rows); n > 0 {
				rows[n-1].To = day
			}
		default: // hours of the day
			hours = append(hours, r)
			continue
		}
		rows = append(rows, r)
	}
	for _, h := range hours {
		if n := len(rows); n > 0 && h.Input > rows[n-1].Input {
			h.From, h.To = rows[n-1].From, rows[n-1].To
			rows[n-1] = h
		}
	}
	return rows
}

func (p *rates) row() (r pricing.Row, ok bool) {
	if p.Input == nil || p.Output == nil || p.Input.Base == 0 && p.Output.Base == 0 {
		return r, false
	}
	r.Source, r.Search = "list", micro(p.Searches)
	for _, c := range []struct {
		from     *tiered
		to, long *int64
	}{{p.Input, &r.Input, &r.Long.Input}, {p.Output, &r.Output, &r.Long.Output}, {p.Read, &r.CacheRead, &r.Long.CacheRead},
		{p.Write, &r.Write5m, &r.Long.Write5m}, {p.Write1h, &r.Write1h, &r.Long.Write1h}} {
		*c.to, *c.long = pricing.Unknown, pricing.Unknown
		if c.from == nil {
			continue
		}
		*c.to = micro(c.from.Base)
		*c.long = *c.to
		switch len(c.from.Tiers) {
		case 0:
		case 1:
			t := c.from.Tiers[0]
			if r.LongOver != 0 && r.LongOver != t.Start {
				return r, false
			}
			r.LongOver, *c.long = t.Start, micro(t.Price)
		default:
			return r, false
		}
	}
	if r.LongOver == 0 {
		r.Long = pricing.Rates{}
	}
	return r, true
}

// regional joins Bedrock's rows for "global." and the regions: the global price, and what regions cost of it, where the two
// have rows for the same times.
func regional(rows []pricing.Row) []pricing.Row {
	global := make(map[string]bool)
	for _, r := range rows {
		if name, ok := strings.CutPrefix(r.Model, "regional."); !ok {
			global[name] = true
		}
	}
	var joined []pricing.Row
	for _, r := range rows {
		name, bound := strings.CutPrefix(r.Model, "regional.")
		if r.Model = name; !bound || !global[r.Model] {
			joined = append(joined, r)
			continue
		}
		for i := range joined {
			if g := &joined[i]; g.Model == r.Model && g.Kind == r.Kind && g.To.Equal(r.To) && g.Input > 0 && r.Input > g.Input {
				g.Regional = r.Input * 100 / g.Input
			}
		}
	}
	return joined
}

func micro(usd float64) int64 { return int64(math.Round(usd * 1e6)) }
