package adminui

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func pricingPages() []*page {
	return []*page{{path: pricingPath, title: "pricing.title", menu: "menu.manage", show: showPricing, body: maxPriceList + 64<<10,
		acts: map[string]func(*view) error{"set": setPrice, "end": endPrice, "bulk": endPrices, "import": importPrices, "preview": importPrices}}}
}

const (
	pricingPath  = "/admin/pricing"
	pricingAPI   = "/api/pricing"
	maxPriceList = 8 << 20 // bytes that the API takes
)

// rates are dollars for a million tokens; nil: unknown.
type rates struct {
	Input     *float64 `json:"input_price_mtok"`
	Output    *float64 `json:"output_price_mtok"`
	CacheRead *float64 `json:"cache_read_price_mtok"`
	Write5m   *float64 `json:"cache_write_5m_price_mtok"`
	Write1h   *float64 `json:"cache_write_1h_price_mtok"`
}

// rateNames are the fields of rates, by the API's names.
var rateNames = [...]string{"input_price_mtok", "output_price_mtok", "cache_read_price_mtok", "cache_write_5m_price_mtok", "cache_write_1h_price_mtok"}

// all are the rates in the order of their columns.
func (r *rates) all() []*float64 {
	return []*float64{r.Input, r.Output, r.CacheRead, r.Write5m, r.Write1h}
}

// Figures are the rates in words, none left out: a price may have more digits than a sum is shown with.
func (r *rates) Figures() (out []string) {
	for _, f := range r.all() {
		s := "–"
		if f != nil {
			whole, frac, _ := strings.Cut(plainNumber(*f), ".")
			s = "$" + whole + "." + frac + strings.Repeat("0", max(0, 2-len(frac)))
		}
		out = append(out, s)
	}
	return out
}

// Known are the rates that are known, with the number of their column.
func (r *rates) Known() map[int]string {
	out := map[int]string{}
	for i, s := range r.Figures() {
		if r.all()[i] != nil {
			out[i] = s
		}
	}
	return out
}

// price is a price as the API tells.
type price struct {
	Model string `json:"model_id"`
	Name  string `json:"model_name"`
	rates
	Active   bool      `json:"is_active"`
	Kind     string    `json:"kind"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Source   string    `json:"source"`
	Note     string    `json:"note"`
	LongOver int64     `json:"long_over_tokens"`
	Long     *rates    `json:"long"`
	Fast     *rates    `json:"fast"`
	Search   *float64  `json:"search_price_1k"`
	Regional int64     `json:"regional_percent"`
	Batch    int64     `json:"batch_percent"`
}

// IsSet reports whether it was set by an administrator, who may end it.
func (p *price) IsSet() bool { return p.Source == "operator" || p.Source == "account" }

// PriceID is what the form that ends it sends.
func (p *price) PriceID() string { return p.Source + " " + p.Kind + " " + p.Model }

// HasMore reports whether there is more to tell than the row does.
func (p *price) HasMore() bool {
	return p.Long != nil || p.Fast != nil || p.Search != nil || p.Regional > 0 || p.Note != ""
}

// PercentOf writes a share of 100.
func (p *price) PercentOf(n int64) string { return strconv.FormatInt(n, 10) + "%" }

// pricingView is the page of prices.
type pricingView struct {
	List     list[price]
	Accounts []accountRow
	Account  string // whose prices they are; empty: those of all accounts
	Zone     string
	Form     *form
	Edit     *price // nil: another model
	Err      *form  // of a small form
	Import   *form
	Report   *priceReport
}

// priceReport is the API's answer to an import.
type priceReport struct {
	Rows    int64 `json:"rows"`
	Changed int64 `json:"changed"`
	Skipped int64 `json:"skipped"`
}

// Sources are where prices come from, the last word first.
func (d *pricingView) Sources() []string { return []string{"account", "operator", "list", "builtin"} }

// Kinds are the kinds of nodes that have prices of their own.
func (d *pricingView) Kinds() []string { return []string{"anthropic", "openai", "bedrock", "amazonq"} }

// Rates are the names of the columns.
func (d *pricingView) Rates() []string { return rateNames[:] }

func showPricing(v *view) error { return v.pricing(&pricingView{}) }

// pricing shows the page with what became of a form.
func (v *view) pricing(d *pricingView) error {
	d.Account, d.Zone = v.Query("account_id"), v.zone().String()
	if d.Import == nil {
		d.Import = &form{}
	}
	if v.part() == "import" { // the rest of the page stays as it is
		return v.render("pricing.html", d)
	}
	if v.Me.Admin {
		var out struct{ Accounts []accountRow }
		if err := v.get(tenantsAPI, light(""), &out); err != nil {
			return err
		}
		d.Accounts = out.Accounts
	}
	q := url.Values{}
	for name, allowed := range map[string][]string{"source": d.Sources(), "kind": d.Kinds()} {
		if s := v.Query(name); slices.Contains(allowed, s) {
			q.Set(name, s)
		}
	}
	if d.Account != "" {
		q.Set("account_id", d.Account)
	}
	var out struct{ Pricing []price }
	if err := v.get(pricingAPI, q, &out); err != nil {
		return err
	}
	num := func(of func(*price) *float64) func(a, b price) int {
		return byNumber(func(p price) float64 {
			if f := of(&p); f != nil {
				return *f
			}
			return -1
		})
	}
	d.List = listOf(v, out.Pricing, func(p price) string { return p.Model + " " + p.Name }, order[price]{
		"model": byText(func(p price) string { return p.Model }), "kind": byText(func(p price) string { return p.Kind }), "source": byText(func(p price) string { return p.Source }),
		rateNames[0]: num(func(p *price) *float64 { return p.Input }), rateNames[1]: num(func(p *price) *float64 { return p.Output }),
		rateNames[2]: num(func(p *price) *float64 { return p.CacheRead }), rateNames[3]: num(func(p *price) *float64 { return p.Write5m }),
		rateNames[4]: num(func(p *price) *float64 { return p.Write1h }),
	}, "model")
	v.priceForm(d, out.Pricing)
	return v.render("pricing.html", d)
}

// priceForm fills the form with the price that is edited.
func (v *view) priceForm(d *pricingView, all []price) {
	if d.Form != nil {
		return
	}
	d.Form = &form{Values: url.Values{"account_id": {d.Account}}}
	id := v.Query("edit")
	i := slices.IndexFunc(all, func(p price) bool { return p.PriceID() == id })
	if i < 0 {
		return
	}
	d.Edit = &all[i]
	vs := d.Form.Values
	vs.Set("model_id", d.Edit.Model)
	vs.Set("kind", d.Edit.Kind)
	if d.Edit.Name != d.Edit.Model {
		vs.Set("model_name", d.Edit.Name)
	}
	for i, f := range d.Edit.all() {
		if f != nil {
			vs.Set(rateNames[i], plainNumber(*f))
		}
	}
}

// setPrice sets a price from a time on. A price is sent as it was written, for the API to judge; one that is left out follows.
func setPrice(v *view) error {
	in := map[string]string{"model_id": v.text("model_id"), "kind": v.text("kind")}
	for _, name := range append([]string{"model_name"}, rateNames[:]...) {
		if s := v.text(name); s != "" {
			in[name] = s
		}
	}
	from, err := v.localTime("from")
	if !from.IsZero() {
		in["from"] = from.UTC().Format(time.RFC3339)
	}
	if err == nil {
		if err = v.call(http.MethodPost, pricingAPI, account(v.text("account_id")), in, nil); err == nil {
			return v.done(v.back(pricingPath), "pricing.set", in["model_id"])
		}
	}
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	return v.pricing(&pricingView{Form: f})
}

// endPrice ends a price that was set: the next list has the word again.
func endPrice(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.endOne(v.form.Get("id"))
	}
	if err != nil {
		return v.refusedEnd(err)
	}
	return v.done(v.back(pricingPath), "pricing.ended", v.text("name"))
}

// endPrices ends those that are ticked.
func endPrices(v *view) error {
	n, err := v.eachDeleted(v.endOne)
	if err != nil {
		return v.refusedEnd(err)
	}
	return v.done(v.back(pricingPath), "pricing.bulk", grouped(int64(n)))
}

// endOne ends the price of an id of PriceID.
func (v *view) endOne(id string) error {
	source, rest, _ := strings.Cut(id, " ")
	kind, model, _ := strings.Cut(rest, " ")
	q := url.Values{"id": {model}, "kind": {kind}}
	if source == "account" {
		q.Set("account_id", v.Query("account_id"))
	}
	return v.call(http.MethodDelete, pricingAPI, q, nil, nil)
}

func (v *view) refusedEnd(err error) error {
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	return v.pricing(&pricingView{Err: f.small()})
}

// importPrices takes over a list, or, for a preview, tells how many prices it would change.
func importPrices(v *view) error {
	dry := v.Query("do") == "preview"
	data, err := v.priceList()
	if err == nil {
		var report priceReport
		if err = v.call(http.MethodPost, pricingAPI+"/import", url.Values{"dry_run": {strconv.FormatBool(dry)}}, data, &report); err == nil {
			if !dry {
				return v.done(v.back(pricingPath), "pricing.imported", grouped(report.Changed), grouped(report.Rows))
			}
			return v.pricing(&pricingView{Report: &report})
		}
	}
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	return v.pricing(&pricingView{Import: f})
}

// priceList is the form's file.
func (v *view) priceList() (json.RawMessage, error) {
	no := func(status int, key string) error {
		return &Refusal{Status: status, Field: "file", Message: v.t(key)}
	}
	err := v.r.ParseMultipartForm(maxForm)
	v.form = url.Values{"file": {""}}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, no(http.StatusRequestEntityTooLarge, "pricing.import.large")
	case err != nil:
		return nil, &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
	}
	defer func() { _ = v.r.MultipartForm.RemoveAll() }()
	files := v.r.MultipartForm.File["file"]
	if len(files) == 0 || files[0].Size == 0 {
		return nil, no(http.StatusBadRequest, "pricing.import.none")
	}
	f, err := files[0].Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, no(http.StatusBadRequest, "pricing.import.json")
	}
	return data, nil
}
