package adminui

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func usagePages() []*page {
	return []*page{{path: usagePath, title: "usage.title", menu: "menu.watch", show: showUsage},
		{path: usagePath + "/{id}", title: "usage.bodies", admin: true, show: showBodies}, filePage(usageAPI+"/export", usagePath, "usage.title")}
}

const (
	usagePath  = "/admin/usage"
	usageAPI   = "/api/usage"
	usageTop   = 200                 // sessions or agents that have a sum of their own
	recordTime = 31 * 24 * time.Hour // the longest that only the log tells of
	logPage    = 25
)

// usageView is the page of usage.
type usageView struct {
	period
	Form       *form // the filter
	Tab        string
	Refused    bool // the filter: there is nothing to show
	Accounts   []accountRow
	Account    string
	Sum        sum
	Times      []int64
	Points     []sum
	Charted    bool // there is something in the charts
	List       list[sum]
	names      map[string]string // of what the tab is of, nodes or keys, by id
	keys       map[string]string // names of keys, by id
	Budgets    []budget          // those used up the furthest
	AllBudgets int
	Logs       []*logRow
	Next       string // cursor of older requests
	One        *logRow

	query url.Values // of the API
}

// budget is a budget of an account or key, in dollars.
type budget struct {
	AccountID string    `json:"account_id"`
	KeyID     string    `json:"key_id"`
	Name      string    `json:"name"`
	Period    string    `json:"period"`
	Limit     float64   `json:"limit_usd"`
	Spent     float64   `json:"spent_usd"`
	Share     float64   `json:"used"`
	Forecast  float64   `json:"forecast_usd"`
	UsedUpAt  time.Time `json:"used_up_at"`
	ResetsAt  time.Time `json:"resets_at"`
}

// BarLength is the bar's length.
func (b *budget) BarLength() string { return strconv.FormatFloat(min(max(b.Share, 0), 1), 'f', 3, 64) }

// BarLevel is the bar's colour: what is used up, and what will be before the period ends.
func (b *budget) BarLevel() string {
	switch {
	case b.Share >= 1:
		return "full"
	case b.Forecast > b.Limit || b.Share > 0.8:
		return "high"
	}
	return ""
}

// filters are the fields that the API filters by, too.
var filters = [...]string{"account_id", "model_id", "node_id", "key_id", "session_id", "agent_id"}

// Tabs are the ways to divide usage.
func (v *view) usageTabs() []string {
	tabs := []string{"model", "node", "key", "account", "day", "session", "agent"}
	if !v.Me.Admin {
		return slices.DeleteFunc(tabs, func(t string) bool { return t == "account" })
	}
	return tabs
}

// UsageTabs are usageTabs, for the template.
func (v *view) UsageTabs() []string { return v.usageTabs() }

// SpanChoices are the periods to choose from.
func (d *usageView) SpanChoices() (out []string) {
	for _, s := range spans() {
		out = append(out, s.Key)
	}
	return append(out, spanOwn)
}

// Narrow reports whether one of the filters that are not always shown is set.
func (d *usageView) Narrow() bool {
	for _, name := range filters[1:] {
		if d.Form.ValueOf(name) != "" {
			return true
		}
	}
	return d.Form.ValueOf("failed") != ""
}

// NameOfAccount is what an account is called.
func (d *usageView) NameOfAccount(id string) string {
	for i := range d.Accounts {
		if d.Accounts[i].ID == id {
			return d.Accounts[i].Name
		}
	}
	return id
}

func showUsage(v *view) error {
	v.form = v.r.URL.Query()
	d := &usageView{Form: &form{Values: v.form}, Tab: v.Query("tab"), Account: v.Query("account_id"), query: url.Values{}}
	if !slices.Contains(v.usageTabs(), d.Tab) {
		d.Tab = "model"
	}
	if v.Me.Admin {
		var out struct{ Accounts []accountRow }
		if err := v.get(tenantsAPI, light(""), &out); err != nil {
			return err
		}
		d.Accounts = out.Accounts
	}
	err := v.usageFilter(d)
	if err == nil {
		err = v.usage(d)
	}
	if err != nil {
		f, err := v.refused(err, nil)
		if err != nil {
			return err
		}
		d.Form, d.Refused = f, true
	}
	return v.render("usage.html", d)
}

// usageFilter reads the filter into the API's words.
func (v *view) usageFilter(d *usageView) (err error) {
	def := "7d"
	if d.byLog() || v.text("session_id") != "" || v.text("agent_id") != "" || v.Query("failed") != "" {
		def = "24h" // of which the records are read one by one
	}
	d.period = v.periodOf(v.Query("span"), def)
	for _, name := range [...]string{"from", "to"} { // a time that is none is told, even where another period is chosen
		if _, err := v.localTime(name); err != nil {
			return err
		}
	}
	if s := v.Query("span"); s == spanOwn || s == "" && v.text("from")+v.text("to") != "" {
		if d.period, err = v.ownPeriod(); err != nil {
			return err
		}
	}
	d.fill(d.query)
	for _, name := range filters {
		if s := v.text(name); s != "" {
			d.query.Set(name, s)
		}
	}
	if v.Query("failed") != "" {
		d.query.Set("failed", "true")
	}
	if (d.logged() || d.byLog()) && d.Length() > recordTime {
		field := "span"
		if d.From.IsZero() && v.form.Has("from") { // an end alone is of all that was before it
			field = "from"
		}
		return &Refusal{Status: http.StatusBadRequest, Field: field, Message: v.t("usage.window")}
	}
	return nil
}

// logged reports whether sums of the filter come of the log alone.
func (d *usageView) logged() bool {
	return d.query.Has("session_id") || d.query.Has("agent_id") || d.query.Has("failed")
}

// byLog reports whether the sums of the tab do.
func (d *usageView) byLog() bool { return d.Tab == "session" || d.Tab == "agent" }

// usage asks for all that the page shows.
func (v *view) usage(d *usageView) error {
	if err := v.get(usageAPI+"/summary", d.query, &d.Sum); err != nil {
		return err
	}
	var err error
	if d.Times, d.Points, d.Charted, err = v.points(&d.period, d.query); err != nil {
		return err
	}
	q := url.Values{"limit": {strconv.Itoa(perPage)}}
	if d.Account != "" {
		q.Set("account_id", d.Account)
	}
	var budgets struct {
		Budgets []budget
		Total   int
	}
	if err := v.get(usageAPI+"/budgets", q, &budgets); err != nil {
		return err
	}
	d.Budgets, d.AllBudgets = budgets.Budgets, budgets.Total
	if err := v.usageTab(d); err != nil {
		return err
	}
	return v.usageLog(d)
}

// orNone is for sorting: what was not measured is less than all that was.
func orNone(ms *float64) float64 {
	if ms == nil {
		return -1
	}
	return *ms
}

// usageTab asks for the sums of the tab.
func (v *view) usageTab(d *usageView) error {
	q := d.query
	if d.byLog() {
		q = url.Values{"top": {strconv.Itoa(usageTop)}}
		for k, vs := range d.query {
			q[k] = vs
		}
	}
	sums, err := v.sums(q, d.Tab)
	if err != nil {
		return err
	}
	if err := v.usageNames(d); err != nil {
		return err
	}
	def := ""
	if d.Tab == "day" {
		def = "-name"
	}
	num := func(of func(*sum) int64) func(a, b sum) int { return byNumber(func(s sum) int64 { return of(&s) }) }
	d.List = listOf(v, sums, func(s sum) string { return d.SumID(&s) + " " + d.SumName(v, &s) }, order[sum]{
		"name": byText(func(s sum) string { return d.SumName(v, &s) }), "requests": num(func(s *sum) int64 { return s.Requests }),
		"success": byNumber(func(s sum) float64 { return s.Rate() }), "input": num(func(s *sum) int64 { return s.Uncached }),
		"read": num(func(s *sum) int64 { return s.CacheRead }), "write": num(func(s *sum) int64 { return s.CacheWrite5m + s.CacheWrite1h }),
		"output": num(func(s *sum) int64 { return s.OutputTokens }), "cost": byNumber(func(s sum) float64 { return s.cost() }),
		"p50": byNumber(func(s sum) float64 { return orNone(s.TookP50()) }), "p95": byNumber(func(s sum) float64 { return orNone(s.TookP95()) }),
	}, def)
	return nil
}

// usageNames finds out what nodes and keys are called: nodes of all accounts only of as many as the overview looks at. Who may
// not list them has their numbers, and the names that budgets tell.
func (v *view) usageNames(d *usageView) error {
	d.names, d.keys = map[string]string{}, map[string]string{}
	var out struct{ Keys []accountRow }
	if err := allowed(v.get(keysAPI, light(d.Account), &out)); err != nil {
		return err
	}
	for _, k := range out.Keys {
		d.keys[k.ID] = k.Name
	}
	for i := range d.Budgets {
		if b := &d.Budgets[i]; b.KeyID != "" && d.keys[b.KeyID] == "" {
			d.keys[b.KeyID] = b.Name
		}
	}
	if d.Tab == "key" {
		d.names = d.keys
	}
	if d.Tab != "node" {
		return nil
	}
	of := []string{d.Account}
	if d.Account == "" && len(d.Accounts) > 0 {
		of = nil
		for _, a := range d.Accounts[:min(len(d.Accounts), maxLooked)] {
			of = append(of, a.ID)
		}
	}
	for _, id := range of {
		var out struct{ Nodes []accountRow }
		err := v.get(nodesAPI, light(id), &out)
		var no *Refusal
		if err != nil && (!errors.As(err, &no) || no.Status == http.StatusUnauthorized) {
			return err
		}
		for _, n := range out.Nodes {
			d.names[n.ID] = n.Name
		}
	}
	return nil
}

// NameOfKey is what a key is called, else its number.
func (d *usageView) NameOfKey(id string) string {
	if name := d.keys[id]; name != "" {
		return name
	}
	return "#" + id
}

// SumID is what a sum is of, as the API names it.
func (d *usageView) SumID(s *sum) string {
	switch d.Tab {
	case "node":
		return s.NodeID
	case "key":
		return s.KeyID
	case "account":
		return s.AccountID
	case "day":
		return s.Day
	case "session":
		return s.SessionID
	case "agent":
		return s.AgentID
	}
	return s.ModelID
}

// SumName is what a sum is of, for people.
func (d *usageView) SumName(v *view, s *sum) string {
	id := d.SumID(s)
	switch {
	case s.Others > 0:
		return v.t("usage.others", grouped(s.Others))
	case id == "":
		return v.t(fmt.Sprintf("usage.none.%s", d.Tab))
	case d.Tab == "account":
		return d.NameOfAccount(id)
	case d.Tab == "node" || d.Tab == "key":
		if name := d.names[id]; name != "" {
			return name
		}
		return "#" + id
	}
	return id
}

// Only is the page of what one sum is of; empty where the API cannot name it.
func (d *usageView) Only(v *view, s *sum) string {
	id := d.SumID(s)
	if s.Others > 0 || id == "" {
		return ""
	}
	if d.Tab == "day" {
		at, err := time.ParseInLocation(time.DateOnly, id, d.zone)
		if err != nil {
			return ""
		}
		return d.WithFilter(v, "span", spanOwn, "from", at.Format(localTime), "to", at.AddDate(0, 0, 1).Format(localTime), "time_zone", d.ZoneName(), "tab", "model")
	}
	pairs := []string{d.Tab + "_id", id}
	if d.Tab == "account" {
		pairs = append(pairs, "tab", "model")
	}
	return d.WithFilter(v, pairs...)
}

// WithFilter is the page with another filter: from its beginning, in the order that it has of itself.
func (d *usageView) WithFilter(v *view, pairs ...string) string {
	return v.With(append([]string{"cursor", "", "id", "", "sort", "", "q", ""}, pairs...)...)
}

// Kept are the values of the address that a form has to bring along: all but those that it has fields for.
func (d *usageView) Kept(v *view, but ...string) (out []accountRow) {
	q := v.r.URL.Query()
	for _, name := range append([]string{"span", "from", "to", "failed", "time_zone", "tab", "sort"}, filters[:]...) {
		if s := q.Get(name); s != "" && !slices.Contains(but, name) {
			out = append(out, accountRow{ID: name, Name: s})
		}
	}
	return out
}

// Export is where the browser gets what is shown as a file.
func (d *usageView) Export(v *view, what, format string) string {
	q := url.Values{"what": {what}, "format": {format}}
	for k, vs := range d.query {
		q[k] = vs
	}
	if what == "summary" {
		q.Set("group_by", d.Tab)
	} else {
		q.Del("time_zone")
	}
	return v.link(usageAPI+"/export") + "?" + q.Encode()
}

// Formats are those of exports.
func (d *usageView) Formats() []string { return []string{"csv", "json", "jsonl"} }

// Upper is a format's name.
func (d *usageView) Upper(format string) string { return strings.ToUpper(format) }

// ChartOf is a chart of the period: times in seconds, and a number of each.
func (d *usageView) ChartOf(what string) [][]float64 {
	out := make([][]float64, 2, 3)
	for i, at := range d.Times {
		s := &d.Points[i]
		out[0] = append(out[0], float64(at))
		switch what {
		case "tokens":
			if len(out) < 3 {
				out = append(out, nil)
			}
			out[1], out[2] = append(out[1], float64(s.InputTokens)), append(out[2], float64(s.OutputTokens))
		case "cost":
			out[1] = append(out[1], s.cost())
		default:
			out[1] = append(out[1], float64(s.Requests))
		}
	}
	return out
}
