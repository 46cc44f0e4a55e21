package adminui

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sum is a sum of usage as the API tells it.
type sum struct {
	AccountID    string    `json:"account_id"`
	ModelID      string    `json:"model_id"`
	NodeID       string    `json:"node_id"`
	KeyID        string    `json:"key_id"`
	SessionID    string    `json:"session_id"`
	AgentID      string    `json:"agent_id"`
	Hour         time.Time `json:"hour"`
	Day          string    `json:"day"`
	Month        string    `json:"month"`
	Others       int64     `json:"others"` // it is the sum of so many that have none of their own
	Requests     int64     `json:"total_requests"`
	Success      int64     `json:"success_requests"`
	Estimated    int64     `json:"estimated_requests"`
	InputTokens  int64     `json:"total_input_tokens"`
	OutputTokens int64     `json:"total_output_tokens"`
	Bytes        int64     `json:"bytes"`
	Uncached     int64     `json:"uncached_input_tokens"`
	CacheRead    int64     `json:"cache_read_tokens"`
	CacheWrite5m int64     `json:"cache_write_5m_tokens"`
	CacheWrite1h int64     `json:"cache_write_1h_tokens"`
	CostUSD      *float64  `json:"total_cost_usd"`
	Unpriced     int64     `json:"unpriced_requests"`
	CacheRatio   *float64  `json:"cache_read_ratio"`
	FirstByte    *spread   `json:"first_byte_ms"`
	Total        *spread   `json:"total_ms"`
}

// spread are percentiles in ms; nil where there is none.
type spread struct{ P50, P95 *float64 }

// Rate is the share of requests that succeeded.
func (s *sum) Rate() float64 {
	if s.Requests == 0 {
		return 1
	}
	return float64(s.Success) / float64(s.Requests)
}

// Succeeded is Rate in words; of nothing, a dash.
func (s *sum) Succeeded() string {
	if s.Requests == 0 {
		return "–"
	}
	return percent(s.Rate())
}

// FailedCount are the requests that did not.
func (s *sum) FailedCount() int64 { return s.Requests - s.Success }

// ShareOf is which part of all requests its are.
func (s *sum) ShareOf(all int64) string { return percent(float64(s.Requests) / float64(max(all, 1))) }

// CachedPercent is the share of the input that came from the cache.
func (s *sum) CachedPercent() string {
	if s.CacheRatio == nil {
		return "–"
	}
	return percent(*s.CacheRatio)
}

// cost is for sorting and charts: what has no price is nothing.
func (s *sum) cost() float64 {
	if s.CostUSD == nil {
		return 0
	}
	return *s.CostUSD
}

// TookP50 is the median of the whole answer; nil where there is none.
func (s *sum) TookP50() *float64 {
	if s.Total == nil {
		return nil
	}
	return s.Total.P50
}

// TookP95 is what 95 of 100 answers took at most.
func (s *sum) TookP95() *float64 {
	if s.Total == nil {
		return nil
	}
	return s.Total.P95
}

// class is a class of tokens, and its share of all.
type class struct {
	Name  string
	N     int64
	Share float64
}

// Classes are the tokens by class.
func (s *sum) Classes() []class {
	out := []class{{"uncached", s.Uncached, 0}, {"read", s.CacheRead, 0}, {"write5m", s.CacheWrite5m, 0}, {"write1h", s.CacheWrite1h, 0}, {"output", s.OutputTokens, 0}}
	if all := s.InputTokens + s.OutputTokens; all > 0 {
		for i := range out {
			out[i].Share = float64(out[i].N) / float64(all)
		}
	}
	return out
}

type node struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Reason   string `json:"state_reason"`
	Disabled bool   `json:"disabled"`

	Account, Link string
}

// overview is the first page.
type overview struct {
	period
	Spans       []span
	Account     string // that it is of; empty: all
	Accounts    []accountRow
	Captured    []accountRow // whose bodies are kept, of those that the reader may see
	Sum         sum
	Models      []sum
	Accountwise []sum
	Nodes       int64
	Online      int64
	Alerts      []node
	More        []moreFailed
	Raised      []raisedRule
	OwnOnly     bool // there are too many accounts to look at the nodes of each before the page is there
	Looked      int  // at so many of them by now, where the others are looked at
	One         bool // it is of one account, whose nodes share the requests
	Nodewise    []sum
	names       map[string]string // of those nodes
	Times       []int64
	Points      []sum
	Charted     bool // there is something in the chart
	Follows     bool // the live part, which takes its time, follows
}

// moreFailed are an account's failed nodes, of which the overview lists some.
type moreFailed struct {
	N             int64
	Account, Link string
}

// raisedRule is a rule that holds now.
type raisedRule struct {
	rule
	Account, Link string
}

// maxLooked is how many accounts' nodes and rules the overview of all looks at before it is there; of more it looks at the
// reader's own, and at the others in parts that follow, each of which takes lookFor.
const (
	maxLooked = 20
	lookFor   = time.Second
)

// maxAlerts is how many failed nodes of an account it lists.
const maxAlerts = 20

func showOverview(v *view) error {
	o := &overview{Spans: spans(), Account: v.Query("account_id"), period: v.periodOf(v.Query("span"), "24h")}
	var seen struct{ Accounts []accountRow }
	if err := allowed(v.get(tenantsAPI, light(""), &seen)); err != nil {
		return err
	}
	for _, a := range seen.Accounts {
		if !a.Until.IsZero() {
			o.Captured = append(o.Captured, a)
		}
	}
	if v.Me.Admin {
		o.Accounts = seen.Accounts
	}
	o.One = o.Account != "" || len(o.Accounts) < 2
	o.OwnOnly = o.Account == "" && len(o.Accounts) > maxLooked
	switch v.part() {
	case "others":
		return v.others(o)
	case "bynode":
		return v.byNode(o)
	}
	part, began := "overview "+o.Key+" "+v.Me.AccountID+" "+o.Account, time.Now()
	if o.Follows = !v.live() && v.Query("whole") == "" && v.c.pace.slow(part); o.Follows {
		return v.render("overview.html", o)
	}
	if err := v.overviewSums(o); err != nil {
		return err
	}
	of := []string{o.Account}
	if o.Account == "" && len(o.Accounts) > 0 && !o.OwnOnly {
		of = of[:0]
		for _, a := range o.Accounts {
			of = append(of, a.ID)
		}
	}
	for _, id := range of {
		if err := v.overviewNodes(o, id); err != nil {
			return err
		}
	}
	v.c.pace.note(part, time.Since(began))
	return v.render("overview.html", o)
}

// query is the API's for the period and the account.
func (o *overview) query() url.Values {
	q := url.Values{}
	o.fill(q)
	if o.Account != "" {
		q.Set("account_id", o.Account)
	}
	return q
}

func (v *view) overviewSums(o *overview) error {
	q := o.query()
	if err := v.get("/api/usage/summary", q, &o.Sum); err != nil {
		return err
	}
	var err error
	if o.Times, o.Points, o.Charted, err = v.points(&o.period, q); err != nil {
		return err
	}
	if o.Models, _, err = v.busiest(q, "model"); err == nil && !o.One {
		o.Accountwise, _, err = v.busiest(q, "account")
	}
	return err
}

// busiest are the sums of the groups with the most requests, and the requests of all.
func (v *view) busiest(q url.Values, by string) (top []sum, all int64, err error) {
	top, err = v.sums(q, by)
	for i := range top {
		all += top[i].Requests
	}
	slices.SortStableFunc(top, func(a, b sum) int { return cmp.Compare(b.Requests, a.Requests) })
	return top[:min(len(top), 20)], all, err
}

// overviewNodes adds an account's nodes that need someone, and its alerts.
func (v *view) overviewNodes(o *overview, id string) error {
	q := url.Values{"light": {"true"}, "state": {"failed"}, "limit": {strconv.Itoa(maxAlerts)}}
	if id != "" {
		q.Set("account_id", id)
	}
	var list struct {
		Nodes  []node
		Counts counts
	}
	if err := allowed(v.get(nodesAPI, q, &list)); err != nil {
		return err
	}
	suffix, name := "", ""
	if len(o.Accounts) > 0 && id != "" {
		suffix, name = "&"+account(id).Encode(), accountName(o.Accounts, id)
	}
	o.Nodes += list.Counts.All
	o.Online += list.Counts.Active
	for _, n := range list.Nodes {
		n.Account, n.Link = name, v.link("/admin/nodes/"+url.PathEscape(n.ID))+strings.Replace(suffix, "&", "?", 1)
		o.Alerts = append(o.Alerts, n)
	}
	if n := list.Counts.Failed; n > int64(len(list.Nodes)) {
		o.More = append(o.More, moreFailed{N: n, Account: name, Link: v.link("/admin/nodes") + "?state=failed" + suffix})
	}
	var rules struct{ Rules []rule }
	if err := allowed(v.get(rulesAPI, account(id), &rules)); err != nil {
		return err
	}
	for _, r := range rules.Rules {
		if r.Raised && r.Enabled {
			o.Raised = append(o.Raised, raisedRule{r, name, v.link(notifyPath) + "?tab=rules" + suffix})
		}
	}
	return nil
}

// others shows what overviewNodes finds of accounts that are not the reader's own, from one on, until the time for it is over.
func (v *view) others(o *overview) error {
	began := time.Now()
	o.Looked, _ = strconv.Atoi(v.Query("look"))
	for o.Looked = max(0, o.Looked); o.Looked < len(o.Accounts) && time.Since(began) < lookFor; o.Looked++ {
		id := o.Accounts[o.Looked].ID
		if id == v.Me.AccountID {
			continue
		}
		var no *Refusal
		if err := v.overviewNodes(o, id); err != nil && (!errors.As(err, &no) || no.Status != http.StatusNotFound) { // it went meanwhile
			return err
		}
	}
	return v.render("overview.html", o)
}

// byNode shows which nodes of an account the requests went to.
func (v *view) byNode(o *overview) (err error) {
	if o.Nodewise, o.Sum.Requests, err = v.busiest(o.query(), "node"); err != nil {
		return err
	}
	var out struct{ Nodes []node }
	if err := allowed(v.get(nodesAPI, light(o.Account), &out)); err != nil {
		return err
	}
	o.names = map[string]string{}
	for _, n := range out.Nodes {
		o.names[n.ID] = n.Name
	}
	return v.render("overview.html", o)
}

// NameOfNode is what a node is called.
func (o *overview) NameOfNode(id string) string { return cmp.Or(o.names[id], "#"+id) }

// allowed leaves out what the reader's key may not see.
func allowed(err error) error {
	var no *Refusal
	if errors.As(err, &no) && no.Status == http.StatusForbidden {
		return nil
	}
	return err
}

// NameOfAccount is what an account is called.
func (o *overview) NameOfAccount(id string) string { return accountName(o.Accounts, id) }

func accountName(all []accountRow, id string) string {
	for _, a := range all {
		if a.ID == id {
			return a.Name
		}
	}
	return id
}

func account(id string) url.Values {
	if id == "" {
		return nil
	}
	return url.Values{"account_id": {id}}
}

// sums are those of a group.
func (v *view) sums(q url.Values, by string) ([]sum, error) {
	of := url.Values{"group_by": {by}}
	for k, vs := range q {
		of[k] = vs
	}
	var out struct{ Summaries []sum }
	err := v.get("/api/usage/summary", of, &out)
	return out.Summaries, err
}

// points are the sums of a chart of the period, and whether there are requests in them. q is the API's query.
func (v *view) points(p *period, q url.Values) (times []int64, out []sum, some bool, err error) {
	c, of := p.charted(), maps.Clone(q)
	c.fill(of)
	sums, err := v.sums(of, p.By)
	if err != nil {
		return nil, nil, false, err
	}
	times, out = c.whole(sums)
	return times, out, slices.ContainsFunc(sums, func(s sum) bool { return s.Requests > 0 }), nil
}

// PerMinute is how much of counts came in a minute.
func (o *overview) PerMinute(of ...int64) string {
	n := 0.0
	for _, c := range of {
		n += float64(c)
	}
	return amount(n / max(o.Length().Minutes(), 1))
}

// Usage is the page of usage of the same period and account: pairs of name and value say what else of.
func (o *overview) Usage(v *view, pairs ...string) string {
	q := url.Values{"span": {o.Key}}
	if o.Account != "" {
		q.Set("account_id", o.Account)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return v.link(usagePath) + "?" + q.Encode()
}

// Chart is what the overview's chart draws: times in seconds, requests and failures.
func (o *overview) Chart() [3][]int64 {
	out := [3][]int64{o.Times}
	for i := range o.Points {
		out[1], out[2] = append(out[1], o.Points[i].Requests), append(out[2], o.Points[i].FailedCount())
	}
	return out
}
