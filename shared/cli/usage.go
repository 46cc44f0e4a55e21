package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	summaryPath = "/api/usage/summary"
	logsPath    = "/api/usage/logs"
	exportPath  = "/api/usage/export"
)

func usageCommands() []command {
	return []command{
		{words: "usage", brief: "requests, tokens and cost, by model unless --by says otherwise", setup: usageCommand},
		{words: "logs", brief: "the last requests, the newest last", setup: logsCommand},
		{words: "top", brief: "what the gateway does now, refreshed in the terminal", setup: topCommand},
	}
}

// filter are the flags that select requests.
type filter struct {
	account, node, key, model, session, agent, zone *string
	failed                                          *bool
	period
}

// period are the flags that select a time.
type period struct{ from, to, last *string }

func newFilter(f *flags) *filter {
	f.ids["node"], f.ids["key"] = "nodes", "keys"
	return &filter{account: f.account("whose requests count; default all"), node: f.String("node", "", "`ID` of a node"), key: f.String("key", "", "`ID` of a key"),
		model: f.String("model", "", "`NAME` of a model, as clients sent it"), session: f.String("session", "", "`ID` of a client's session"), agent: f.String("agent", "", "`ID` of a client's agent"),
		failed: f.Bool("failed", false, "only requests that were no success"),
		period: period{f.String("from", "", "`TIME` to begin with, such as 2026-01-31 or 2026-01-31T15:04:05Z"), f.String("to", "", "`TIME` to end before"),
			f.String("last", "", "the last `SPAN`, such as 30m, 24h, 7d or 4w")},
		zone: f.String("zone", "UTC", "time `ZONE` of dates, days and months, such as Europe/Berlin")}
}

// query makes the query, with times by the gateway's clock where it was heard before.
func (t *filter) query(s *session) (url.Values, error) {
	q := url.Values{}
	for name, v := range map[string]*string{"account_id": t.account, "node_id": t.node, "key_id": t.key, "model_id": t.model, "session_id": t.session, "agent_id": t.agent} {
		if *v != "" {
			q.Set(name, *v)
		}
	}
	if *t.failed {
		q.Set("failed", "true")
	}
	zone, err := time.LoadLocation(*t.zone)
	if err != nil || *t.zone == "Local" {
		return nil, usageError("--zone: must be a time zone such as Europe/Berlin")
	}
	if *t.zone != "UTC" {
		q.Set("time_zone", *t.zone)
	}
	return q, t.add(q, s.env.Now(), zone)
}

// add adds the times to a query. Dates are of the zone.
func (t *period) add(q url.Values, now time.Time, zone *time.Location) error {
	if *t.last != "" {
		d, err := span(*t.last)
		if err != nil {
			return usageError("--last: %s", err)
		}
		if *t.from != "" || *t.to != "" {
			return usageError("--last: cannot stand beside --from and --to")
		}
		q.Set("from", now.Add(-d).UTC().Format(time.RFC3339))
		return nil
	}
	for name, v := range map[string]string{"from": *t.from, "to": *t.to} {
		if v == "" {
			continue
		}
		at, err := moment(v, zone)
		if err != nil {
			return usageError("--%s: %s", name, err)
		}
		q.Set(name, at.UTC().Format(time.RFC3339))
	}
	return nil
}

// sum is one sum of a summary, as far as tables show it.
type sum struct {
	AccountID string   `json:"account_id"`
	ModelID   string   `json:"model_id"`
	NodeID    string   `json:"node_id"`
	KeyID     string   `json:"key_id"`
	Hour      string   `json:"hour"`
	Day       string   `json:"day"`
	Month     string   `json:"month"`
	Session   string   `json:"session_id"`
	Agent     string   `json:"agent_id"`
	Others    int64    `json:"others"`
	Requests  int64    `json:"total_requests"`
	Success   int64    `json:"success_requests"`
	Input     int64    `json:"total_input_tokens"`
	Output    int64    `json:"total_output_tokens"`
	CacheRead int64    `json:"cache_read_tokens"`
	CostUSD   *float64 `json:"total_cost_usd"`
	Unpriced  int64    `json:"unpriced_requests"`
	FirstByte *times   `json:"first_byte_ms"`
	Total     *times   `json:"total_ms"`
}

// times are percentiles in milliseconds; null where nothing was measured.
type times struct {
	P50 *float64 `json:"p50"`
	P95 *float64 `json:"p95"`
}

func (t *times) cells() []cell {
	if t == nil {
		return []cell{text(none), text(none)}
	}
	return []cell{text(maybeMillis(t.P50)), text(maybeMillis(t.P95))}
}

// group is the name of the sum's group.
func (m *sum) group(by string) string {
	if m.Others > 0 {
		return count(m.Others) + " others"
	}
	name := map[string]string{"model": m.ModelID, "node": m.NodeID, "key": m.KeyID, "account": m.AccountID, "hour": m.Hour, "day": m.Day, "month": m.Month, "session": m.Session, "agent": m.Agent}[by]
	return cmp.Or(name, "(none)")
}

// add adds o's numbers, but not percentiles, which cannot be added.
func (m *sum) add(o *sum) {
	m.Requests += o.Requests
	m.Success += o.Success
	m.Input += o.Input
	m.Output += o.Output
	m.CacheRead += o.CacheRead
	m.Unpriced += o.Unpriced
	if o.CostUSD != nil {
		c := *o.CostUSD
		if m.CostUSD != nil {
			c += *m.CostUSD
		}
		m.CostUSD = &c
	}
}

var groupings = []string{"model", "node", "key", "account", "hour", "day", "month", "session", "agent"} // read only

// named is what ids are called by, and where their names are.
var named = map[string]string{"node": "nodes", "key": "keys", "account": "accounts"} // read only

func usageCommand(f *flags) action {
	f.remote()
	t := newFilter(f)
	by := f.choice("by", "model", "one line for each ", append([]string{"total"}, groupings...)...)
	format := f.choice("format", "table", "of the answer: ", "table", "json", "csv", "jsonl")
	logs := f.Bool("logs", false, "export every request instead of sums; with --format csv, json or jsonl")
	out := f.String("o", "", "`FILE` to write an export to")
	top := f.Int("top", 0, "most lines by session or agent; the rest are summed up")
	return func(ctx context.Context, s *session, _ []string) error {
		q, err := t.query(s)
		if err != nil {
			return err
		}
		if *by != "total" {
			q.Set("group_by", *by)
		}
		if *top > 0 {
			q.Set("top", strconv.Itoa(*top))
		}
		if *format == "csv" || *format == "jsonl" || *logs || *out != "" {
			if *format == "table" {
				return usageError("an export needs --format csv, json or jsonl")
			}
			return s.export(ctx, q, *format, *logs, *out)
		}
		f.json = f.json || *format == "json"
		return s.summary(ctx, q, *by)
	}
}

func (s *session) summary(ctx context.Context, q url.Values, by string) error {
	if by == "total" {
		var one sum
		if printed, err := s.ask(ctx, "GET", summaryPath, q, nil, &one); err != nil || printed {
			return err
		}
		return s.printSums([]sum{one}, "", nil)
	}
	var many struct{ Summaries []sum }
	if printed, err := s.ask(ctx, "GET", summaryPath, q, nil, &many); err != nil || printed {
		return err
	}
	return s.printSums(many.Summaries, by, s.names(ctx, named[by], q.Get("account_id")))
}

// printSums prints sums by group, and below them all together; by "": one sum.
func (s *session) printSums(sums []sum, by string, names map[string]string) error {
	cols := columns(strings.ToUpper(by), ">REQUESTS", ">SUCCESS", ">INPUT", ">CACHED", ">OUTPUT", ">COST", ">FIRST p50", ">p95", ">TOTAL p50", ">p95")
	var rows [][]cell
	var all sum
	for i := range sums {
		m := &sums[i]
		all.add(m)
		rows = append(rows, sumRow(m, label(m.group(by), names)))
	}
	if by == "" {
		cols = cols[1:]
		for i := range rows {
			rows[i] = rows[i][1:]
		}
	} else if len(rows) > 1 {
		total := sumRow(&all, "all")
		for i := range total {
			total[i].paint = bold
		}
		rows = append(rows, total)
	}
	if err := s.print(cols, rows); err != nil {
		return err
	}
	if all.Unpriced > 0 {
		fmt.Fprintf(s.env.Stderr, "%s requests have no price and are not in the cost.\n", count(all.Unpriced))
	}
	return nil
}

func sumRow(m *sum, name string) []cell {
	row := []cell{text(name), text(count(m.Requests)), success(m), text(count(m.Input)), text(percent(m.CacheRead, m.Input)), text(count(m.Output)), text(cost(m))}
	return append(append(row, m.FirstByte.cells()...), m.Total.cells()...)
}

// cost marks a sum that leaves requests out.
func cost(m *sum) string {
	if m.CostUSD != nil && m.Unpriced > 0 {
		return usd(m.CostUSD) + "+"
	}
	return usd(m.CostUSD)
}

func success(m *sum) cell {
	c := text(percent(m.Success, m.Requests))
	switch {
	case m.Requests == 0:
	case m.Success*100 < m.Requests*90:
		c.paint = red
	case m.Success*100 < m.Requests*99:
		c.paint = yellow
	}
	return c
}

// label is an id with its name.
func label(id string, names map[string]string) string {
	if n := names[id]; n != "" && n != id {
		return id + " " + n
	}
	return id
}

// names are the names of nodes, keys or accounts by id. It is a help for readers: what may not be read is left out.
func (s *session) names(ctx context.Context, what, account string) map[string]string {
	if what == "" {
		return nil
	}
	list, err := s.list(ctx, what, account)
	if err != nil {
		return nil
	}
	out := make(map[string]string, len(list))
	for _, n := range list {
		out[n.ID] = n.Name
	}
	return out
}

// thing is what all lists tell of their rows.
type thing struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// list returns nodes, keys or accounts.
func (s *session) list(ctx context.Context, what, account string) ([]thing, error) {
	if what == "accounts" {
		account = ""
	}
	data, err := s.call(ctx, "GET", "/admin/api/"+what, ofAccount(account), nil)
	if err != nil {
		return nil, err
	}
	var out struct{ Nodes, Keys, Accounts []thing }
	if err := decode(data, &out); err != nil {
		return nil, err
	}
	return slices.Concat(out.Nodes, out.Keys, out.Accounts), nil
}
