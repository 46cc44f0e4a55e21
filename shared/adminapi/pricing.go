package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"sluice/shared/core"
	"sluice/shared/prices"
	"sluice/shared/pricing"
	"sluice/shared/store"
)

const (
	pricingPath = "/api/pricing"
	maxModel    = 200 // bytes of a model's name
)

// How old the lists may be that a call shows, or that an edit begins with: edits through other instances are in them.
const pricesAge = time.Second

// How far in the past an edit may begin: clocks differ. It then begins now.
const clockSlack = 5 * time.Minute

// priceView is a price as lists show it, in USD for a million tokens; null: unknown, and requests that use it are unpriced.
type priceView struct {
	Model     string `json:"model_id"`
	ModelName string `json:"model_name"`
	ratesView
	Active    bool       `json:"is_active"` // it holds now
	Kind      string     `json:"kind"`      // of nodes it is for; empty: any without a price of its own
	From      *time.Time `json:"from"`      // null: always
	To        *time.Time `json:"to"`        // null: open
	Source    string     `json:"source"`    // builtin, list, operator or account
	Note      string     `json:"note"`      // where the price was read
	AccountID string     `json:"account_id,omitempty"`
	LongOver  int64      `json:"long_over_tokens,omitempty"`
	Long      *ratesView `json:"long,omitempty"`
	Fast      *ratesView `json:"fast,omitempty"`
	Search    *float64   `json:"search_price_1k,omitempty"` // USD for 1,000 searches
	Regional  int64      `json:"regional_percent,omitempty"`
	Batch     int64      `json:"batch_percent"`
}

type ratesView struct {
	Input     *float64 `json:"input_price_mtok"`
	Output    *float64 `json:"output_price_mtok"`
	CacheRead *float64 `json:"cache_read_price_mtok"`
	Write5m   *float64 `json:"cache_write_5m_price_mtok"`
	Write1h   *float64 `json:"cache_write_1h_price_mtok"`
}

func viewRates(r *pricing.Rates) ratesView {
	usd := func(micro int64) *float64 {
		if micro == pricing.Unknown {
			return nil
		}
		return new(dollars(micro))
	}
	return ratesView{usd(r.Input), usd(r.Output), usd(r.CacheRead), usd(r.Write5m), usd(r.Write1h)}
}

func viewPrice(r *prices.Row, account string, now time.Time) priceView {
	v := priceView{Model: r.Model, ModelName: r.Name, ratesView: viewRates(&r.Rates), Active: !now.Before(r.Row.From), Kind: string(r.Kind),
		From: momentOf(r.Row.From), To: momentOf(r.To), Source: r.From, Note: r.Source, LongOver: r.LongOver, Regional: r.Regional, Batch: r.Batch}
	if v.ModelName == "" {
		v.ModelName = r.Model
	}
	if v.Batch == 0 {
		v.Batch = pricing.DefaultBatch
	}
	if r.From == prices.Account {
		v.AccountID = account
	}
	if r.LongOver > 0 {
		v.Long = new(viewRates(&r.Long))
	}
	if r.Fast != (pricing.Rates{}) {
		v.Fast = new(viewRates(&r.Fast))
	}
	if r.Search > 0 {
		v.Search = new(dollars(r.Search))
	}
	return v
}

// priceScope is whose prices a call is about: an account's, or with "" those of all accounts. A tenant's are its own.
func (c *call) priceScope(account string) (string, error) {
	if account == "" && c.who.admin {
		return "", nil
	}
	return c.targetOf(account)
}

func (c *call) listPrices() error {
	q := c.r.URL.Query()
	account, err := c.priceScope(q.Get("account_id"))
	if err != nil {
		return err
	}
	keep, err := priceFilter(q)
	if err != nil {
		return err
	}
	limit, err := queryInt(q, "limit", 10_000, 1, 10_000)
	if err != nil {
		return err
	}
	offset, err := queryInt(q, "offset", 0, 0, 1_000_000)
	if err != nil {
		return err
	}
	c.a.o.Prices.Refresh(c.r.Context(), pricesAge)
	now := c.a.o.Now()
	all := []priceView{}
	rows := c.a.o.Prices.Rows(account)
	for i := range rows {
		if r := &rows[i]; r.To.IsZero() || now.Before(r.To) {
			if v := viewPrice(r, account, now); keep(&v) {
				all = append(all, v)
			}
		}
	}
	if !q.Has("id") {
		offset = min(offset, len(all))
		return c.ok(map[string]any{"pricing": all[offset:min(offset+limit, len(all))], "count": len(all)})
	}
	if len(all) == 0 {
		return core.E(core.CodeNotFound, "there is no price for this model: what it is used for is unpriced")
	}
	best := slices.IndexFunc(all, func(v priceView) bool { return v.Active && v.Kind == q.Get("kind") })
	return c.ok(all[max(best, 0)])
}

// priceFilter selects prices by id, kind, source, active_only and q.
func priceFilter(q url.Values) (func(*priceView) bool, error) {
	source, word, kind := q.Get("source"), strings.ToLower(q.Get("q")), q.Get("kind")
	if !slices.Contains([]string{"", prices.Builtin, prices.Imported, prices.Operator, prices.Account}, source) {
		return nil, bad("source: must be builtin, list, operator or account")
	}
	active, err := queryBool(q, "active_only")
	if err != nil {
		return nil, err
	}
	id := pricing.Name(q.Get("id"))
	return func(v *priceView) bool {
		return (!q.Has("id") || v.Model == id) && (kind == "" || v.Kind == kind) && (source == "" || v.Source == source) && (!active || v.Active) &&
			(strings.Contains(v.Model, word) || strings.Contains(strings.ToLower(v.ModelName), word))
	}, nil
}

// priceInput is the body of a price. What it leaves out follows the price that held before, in proportion.
type priceInput struct {
	Model     *string          `json:"model_id"`
	Name      *string          `json:"model_name"`
	Input     *json.RawMessage `json:"input_price_mtok"` // as it was written: a float would change it
	Output    *json.RawMessage `json:"output_price_mtok"`
	CacheRead *json.RawMessage `json:"cache_read_price_mtok"`
	Write5m   *json.RawMessage `json:"cache_write_5m_price_mtok"`
	Write1h   *json.RawMessage `json:"cache_write_1h_price_mtok"`
	Active    *bool            `json:"is_active"`
	From      *string          `json:"from"`
	Kind      *string          `json:"kind"`
	Account   *string          `json:"account_id"`
}

// priceModel is how lists spell a model.
func priceModel(field, s string) (string, error) {
	name := pricing.Name(s)
	odd := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(" ,#\"", r) }
	if name == "" || len(name) > maxModel || strings.ContainsFunc(name, odd) {
		return "", bad(field + ": must be the name of a model, of at most " + itoa(maxModel) + " characters, without spaces and commas")
	}
	return name, nil
}

func priceKind(s string) (core.Kind, error) {
	k := core.Kind(s)
	if k != "" && !slices.Contains([]core.Kind{core.KindAnthropic, core.KindOpenAI, core.KindBedrock, core.KindAmazonQ}, k) {
		return "", bad("kind: must be anthropic, openai, bedrock, amazonq or, for any, empty")
	}
	return k, nil
}

// start is when a price begins, or ends: now where the call does not say.
func (in *priceInput) start(now time.Time) (time.Time, error) {
	now = now.UTC().Truncate(time.Millisecond)
	s := text(in.From)
	if s == "" {
		return now, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil || t.Year() > 9000:
		return t, bad("from: must be a time such as 2026-12-01T00:00:00Z")
	case t.Before(now.Add(-clockSlack)):
		return t, bad("from: must not be in the past; what requests cost is not worked out anew")
	case t.Before(now):
		return now, nil
	}
	return t.UTC(), nil
}

// row is the price that the input makes of what the list has.
func (in *priceInput) row(list *pricing.List, model string, kind core.Kind, from time.Time) (pricing.Row, error) {
	r := pricing.Row{Model: model, Kind: kind, From: from}
	have, known := list.Find(model, kind, from)
	for _, f := range []struct {
		name      string
		from      *json.RawMessage
		to        *int64
		otherwise int64
		must      bool
	}{{"input_price_mtok", in.Input, &r.Input, have.Input, true}, {"output_price_mtok", in.Output, &r.Output, have.Output, true},
		{"cache_read_price_mtok", in.CacheRead, &r.CacheRead, pricing.Unknown, false}, {"cache_write_5m_price_mtok", in.Write5m, &r.Write5m, pricing.Unknown, false},
		{"cache_write_1h_price_mtok", in.Write1h, &r.Write1h, pricing.Unknown, false}} {
		if f.from == nil {
			if f.must && !known {
				return r, bad(f.name + ": is required, as there is no price of this model yet")
			}
			*f.to = f.otherwise
			continue
		}
		s := string(*f.from)
		if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
			s = s[1 : len(s)-1]
		}
		var ok bool
		if *f.to, ok = pricing.FromUSD(s); !ok {
			return r, bad(f.name + ": must be dollars for a million tokens, from 0 to 1000, such as 2.50")
		}
	}
	return list.Reprice(r, "set by an administrator on "+from.Format(time.DateOnly)), nil
}

func (c *call) setPrice() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	var in priceInput
	if err := c.decode(&in); err != nil {
		return err
	}
	account, model, kind, err := c.priceOf(&in)
	if err != nil {
		return err
	}
	now := c.a.o.Now()
	from, err := in.start(now)
	if err != nil {
		return err
	}
	if in.Active != nil && !*in.Active {
		if err := c.endPriceOf(account, model, kind, from); err != nil {
			return err
		}
		return c.ok(map[string]string{"model_id": model})
	}
	name := text(in.Name)
	if name != "" {
		if err := checkName("model_name", name); err != nil {
			return err
		}
	}
	book := c.a.o.Prices
	book.Refresh(c.r.Context(), pricesAge)
	row, err := in.row(book.List(account), model, kind, from)
	if err != nil {
		return err
	}
	if err := book.Set(c.r.Context(), account, row, name); err != nil {
		return full(err)
	}
	of := prices.Row{Row: row, From: prices.Operator, Name: name}
	if account != "" {
		of.From = prices.Account
	}
	return c.ok(map[string]any{"model_id": model, "price": viewPrice(&of, account, now)})
}

// priceOf reads what a price is for: the account, that may stand in body or query, the model and the kind of nodes.
func (c *call) priceOf(in *priceInput) (account, model string, kind core.Kind, err error) {
	account = text(in.Account)
	if q := c.r.URL.Query().Get("account_id"); q != "" {
		if account != "" && account != q {
			return "", "", "", bad("account_id: query and body name different accounts")
		}
		account = q
	}
	if account, err = c.priceScope(account); err != nil {
		return "", "", "", err
	}
	if model, err = priceModel("model_id", text(in.Model)); err != nil {
		return "", "", "", err
	}
	kind, err = priceKind(text(in.Kind))
	return account, model, kind, err
}

// full tells the caller what is wrong with a list that takes no more.
func full(err error) error {
	if errors.Is(err, prices.ErrFull) {
		return bad(err.Error())
	}
	return err
}

func (c *call) endPrice() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	q := c.r.URL.Query()
	account, err := c.priceScope(q.Get("account_id"))
	if err != nil {
		return err
	}
	if q.Get("id") == "" {
		return bad("id is required in the query")
	}
	model, err := priceModel("id", q.Get("id"))
	if err != nil {
		return err
	}
	kind, err := priceKind(q.Get("kind"))
	if err != nil {
		return err
	}
	if err := c.endPriceOf(account, model, kind, c.a.o.Now().UTC().Truncate(time.Millisecond)); err != nil {
		return err
	}
	return c.ok(map[string]string{"deleted": model})
}

func (c *call) endPriceOf(account, model string, kind core.Kind, at time.Time) error {
	err := c.a.o.Prices.End(c.r.Context(), account, model, kind, at)
	if store.Missing(err) {
		return core.E(core.CodeNotFound, "no such price was set here; built-in and imported prices are changed by setting another")
	}
	return full(err)
}

func (c *call) importPrices() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	dry, err := queryBool(c.r.URL.Query(), "dry_run")
	if err != nil {
		return err
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, pricing.MaxList))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return core.E(core.CodeTooLarge, "the price list is larger than 8 MiB")
	case err != nil:
		return bad("request body could not be read")
	}
	rows, skipped, err := pricing.ParseCounting(bytes.NewReader(data))
	if err != nil {
		return bad(err.Error())
	}
	now := c.a.o.Now().UTC().Truncate(time.Millisecond)
	changed, err := c.a.o.Prices.Update(c.r.Context(), rows, now, "a list imported on "+now.Format(time.DateOnly), dry)
	if err != nil {
		return full(err)
	}
	return c.ok(map[string]any{"rows": len(rows), "changed": changed, "skipped": skipped, "dry_run": dry})
}
