package pricing

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"sluice/shared/core"
)

// MaxList is how many bytes Parse reads. The whole list of LiteLLM had 1.6 MB in 2026.
const MaxList = 8 << 20

// entry is a model of LiteLLM's list, by the names of its fields, each read only when it is needed: what a field holds
// differs between models, and much is none of our business.
type entry map[string]json.RawMessage

// Parse reads a price list in LiteLLM's format: one JSON object of at most 8 MiB, with an entry for each model
// (wire-formats 6.8). It returns a row for each model that talks, of the vendors themselves and of Bedrock: resellers' have
// the prefix of the reseller, which no request carries. The rows have no dates; see [List.Changed].
//
// Skipped, so that the model stays unpriced rather than wrong: "sample_spec"; entries that say neither what input nor what
// output costs, that give both away, or whose figures are negative or above 1,000 USD for a million tokens; several bands;
// and models that two entries price differently, as long as neither is plainly the model's own. It is an error when the file
// is no such list, names a model twice or has no price at all.
func Parse(r io.Reader) ([]Row, error) {
	rows, _, err := ParseCounting(r)
	return rows, err
}

// ParseCounting is [Parse], and tells how many entries of the list became no row, "sample_spec" not among them.
func ParseCounting(r io.Reader) (rows []Row, skipped int, err error) {
	doc, err := io.ReadAll(io.LimitReader(r, MaxList+1))
	if err != nil {
		return nil, 0, fmt.Errorf("price list: %w", err)
	}
	if len(doc) > MaxList {
		return nil, 0, fmt.Errorf("price list: it is over %d bytes", MaxList)
	}
	found, entries, err := parse(doc)
	if err != nil {
		return nil, 0, fmt.Errorf("price list: %w", err)
	}
	if rows = settle(found); len(rows) == 0 {
		return nil, 0, errors.New("price list: no entry has a price; it must be in LiteLLM's format")
	}
	return rows, entries - len(rows), nil
}

// offer is what one entry says of a model.
type offer struct {
	Row
	rank int // the smaller, the more plainly it is the model's own price
	name string
}

// parse also counts the list's entries.
func parse(doc []byte) (found []offer, entries int, err error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, 0, errors.New("it is no JSON object")
	}
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, 0, errors.New("it is no valid JSON")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, 0, errors.New("it is no valid JSON")
		}
		if seen[name] {
			return nil, 0, fmt.Errorf("%.100q is there twice", name)
		}
		seen[name] = true
		if name == "sample_spec" {
			continue
		}
		entries++
		var e entry
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		if o, ok := e.offer(name); ok {
			found = append(found, o)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, 0, errors.New("it is no valid JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, 0, errors.New("something follows the list")
	}
	return found, entries, nil
}

// offer makes what an entry says into a row.
func (e entry) offer(key string) (o offer, ok bool) {
	o.name = key
	switch e.text("mode") {
	case "", "chat", "completion", "responses":
	default:
		return o, false
	}
	provider := e.text("litellm_provider")
	switch provider {
	case "bedrock", "bedrock_converse", "bedrock_mantle":
		o.Kind = core.KindBedrock
	case "anthropic", "openai", "gemini", "deepseek", "mistral", "xai", "moonshot", "zai", "dashscope", "minimax", "cohere_chat":
	default:
		return o, false
	}
	model := strings.TrimPrefix(strings.TrimPrefix(key, provider+"/"), "bedrock/")
	if o.Model = Name(model); !plain(o.Model) || Name(o.Model) != o.Model {
		return o, false
	}
	var buf [maxName]byte
	switch n := spell(buf[:0], model); {
	case n.global || o.Model == model:
		o.rank = 0
	case !n.bedrock || made([]byte(strings.ToLower(model))):
		o.rank = 1
	default:
		o.rank = 2
	}
	return o, e.fill(&o.Row)
}

// plain reports whether a name can stand in a table and could be one of a model.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return name != "" && len(name) <= 200
}

// The fields of the classes, in the order of Rates.all.
var classes = [...]string{"input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "cache_creation_input_token_cost",
	"cache_creation_input_token_cost_above_1hr"}

// fill reads the entry's figures. ok is false when they are none that a request could be priced with.
func (e entry) fill(r *Row) (ok bool) {
	if r.Rates, ok = e.rates(""); !ok || r.Input == Unknown || r.Output == Unknown || r.Input == 0 && r.Output == 0 {
		return false
	}
	band, over, ok := e.band()
	if !ok {
		return false
	}
	if over > 0 {
		if r.Long, ok = e.rates(band); !ok || r.Long.Input == Unknown {
			return false
		}
		r.LongOver = over
		if r.Long.Output == Unknown { // only the input is dearer
			r.Long.Output = r.Output
		}
	}
	e.extra(r)
	return true
}

func (e entry) rates(suffix string) (r Rates, ok bool) {
	for i, p := range [...]*int64{&r.Input, &r.Output, &r.CacheRead, &r.Write5m, &r.Write1h} {
		*p = Unknown
		raw, there := e[classes[i]+suffix]
		if !there || string(raw) == "null" {
			continue
		}
		if *p, ok = decimal(raw, 12); !ok {
			return r, false
		}
	}
	return r, true
}

// band is the suffix of the fields for long prompts, and how many tokens such a prompt is longer than.
func (e entry) band() (suffix string, over int64, ok bool) {
	for k := range e {
		rest, found := strings.CutPrefix(k, classes[0]+"_above_")
		thousands, whole := strings.CutSuffix(rest, "k_tokens")
		if !found || !whole {
			continue
		}
		n, err := strconv.ParseInt(thousands, 10, 64)
		if err != nil || n <= 0 || n > 1_000_000 || over > 0 {
			return "", 0, false
		}
		suffix, over = "_above_"+rest, n*1000
	}
	return suffix, over, true
}

// extra reads what only some entries have: batches, fast mode, regions and searches.
func (e entry) extra(r *Row) {
	in, ok1 := decimal(e["input_cost_per_token_batches"], 12)
	out, ok2 := decimal(e["output_cost_per_token_batches"], 12)
	if p := percentOf(in, r.Input); ok1 && ok2 && p > 0 && p == percentOf(out, r.Output) {
		r.Batch = p
	}
	var special struct{ Fast, US json.RawMessage }
	if json.Unmarshal(e["provider_specific_entry"], &special) == nil {
		if p, ok := decimal(special.US, 2); ok && p <= maxPercent {
			r.Regional = p
		}
		if p, ok := decimal(special.Fast, 2); ok && p > 0 && p <= maxPercent {
			r.Fast = r.scaled(p)
		}
	}
	if f, ok := e.rates("_priority"); ok && f.Input != Unknown && f.Output != Unknown && f.Input+f.Output > 0 {
		r.Fast = f
	}
	var search struct {
		Medium json.RawMessage `json:"search_context_size_medium"`
	}
	if json.Unmarshal(e["search_context_cost_per_query"], &search) == nil {
		if n, ok := decimal(search.Medium, 9); ok {
			r.Search = n
		}
	}
}

// percentOf is what part is of whole, when that is a whole number within bounds, else 0.
func percentOf(part, whole int64) int64 {
	if whole <= 0 || part <= 0 || part*100%whole != 0 || part*100/whole > maxPercent {
		return 0
	}
	return part * 100 / whole
}

// scaled are the rates at a percentage, rounded half up.
func (r *Rates) scaled(percent int64) Rates {
	s := *r
	for _, p := range [...]*int64{&s.Input, &s.Output, &s.CacheRead, &s.Write5m, &s.Write1h} {
		if *p != Unknown {
			*p = min((*p*percent+50)/100, maxRate)
		}
	}
	return s
}

func (e entry) text(field string) (s string) {
	_ = json.Unmarshal(e[field], &s) // no string: ""
	return s
}

// settle chooses one row of each model and kind. A Bedrock model's is its global price, with what regions cost as a percentage.
func settle(found []offer) []Row {
	slices.SortFunc(found, func(a, b offer) int {
		return cmp.Or(order(a.Row, b.Row), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	var rows []Row
	for i := 0; i < len(found); {
		n := i + 1
		for n < len(found) && order(found[i].Row, found[n].Row) == 0 {
			n++
		}
		if r, ok := choose(found[i:n]); ok {
			rows = append(rows, r)
		}
		i = n
	}
	return rows
}

func choose(of []offer) (Row, bool) {
	best := of[0].Row
	if best.Kind == core.KindBedrock {
		if last := of[len(of)-1].Row; last.Rates != best.Rates && best.scaled(percentOf(last.Input, best.Input)) == last.Rates {
			best.Regional = percentOf(last.Input, best.Input)
		}
		return best, true
	}
	for _, o := range of[1:] {
		if of[0].rank > 0 && o.Row != best {
			return best, false
		}
	}
	return best, true
}
