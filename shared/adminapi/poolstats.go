package adminapi

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// The statistics of the older pool. Without account_id they cover all accounts. Days are those of UTC, today the last.

// statsAccount is the account that statistics are asked for; "" is all.
func (c *call) statsAccount() (string, error) {
	if err := c.adminOnly(); err != nil {
		return "", core.E(core.CodeForbidden, "this key may not read the statistics; send an admin key")
	}
	return c.r.URL.Query().Get("account_id"), nil
}

func (c *call) statsAccounts() error {
	account, err := c.statsAccount()
	if err != nil {
		return err
	}
	nodes, err := c.poolNodes(account)
	if err != nil {
		return err
	}
	used, err := c.used(account)
	if err != nil {
		return err
	}
	var out struct {
		Total    int   `json:"total_accounts"`
		Active   int   `json:"active_accounts"`
		Healthy  int   `json:"healthy_accounts"` // and active
		Requests int64 `json:"total_requests"`
		Tokens   int64 `json:"total_tokens"`
	}
	out.Total = len(nodes)
	for i := range nodes {
		n := &nodes[i]
		if !n.Disabled {
			out.Active++
			if healthy(c.state(n), c.a.o.Now()) {
				out.Healthy++
			}
		}
		out.Requests += used[n.ID].Requests
		out.Tokens += used[n.ID].Tokens.TotalInput() + used[n.ID].Tokens.Output
	}
	return c.ok(out)
}

func (c *call) statsKeys() error {
	account, err := c.statsAccount()
	if err != nil {
		return err
	}
	rows, err := c.a.o.Tables.Keys.All(c.r.Context(), account)
	if err != nil {
		return err
	}
	var out struct {
		Total    int   `json:"total_keys"`
		Active   int   `json:"active_keys"`
		Requests int64 `json:"total_requests"`
	}
	out.Total = len(rows)
	for i := range rows {
		if ok, _ := rows[i].Value.Usable(c.a.o.Now()); ok {
			out.Active++
		}
	}
	sums, err := c.a.o.Usage.Sums(c.r.Context(), store.UsageFilter{Account: account}, store.GroupNone)
	if err != nil {
		return err
	}
	for _, s := range sums {
		out.Requests += s.Requests
	}
	return c.ok(out)
}

// tokensView are the tokens of a group.
type tokensView struct {
	Input    int64 `json:"input_tokens"` // all classes
	Output   int64 `json:"output_tokens"`
	Total    int64 `json:"total_tokens"`
	Requests int64 `json:"requests"`
}

func (v *tokensView) add(s core.UsageSum) {
	v.Input += s.Tokens.TotalInput()
	v.Output += s.Tokens.Output
	v.Total = v.Input + v.Output
	v.Requests += s.Requests
}

// periodView is the time that statistics cover.
type periodView struct {
	Start time.Time `json:"start_date"`
	End   time.Time `json:"end_date"`
	Days  int       `json:"days"`
}

const maxDays = 90

// period reads days: that many, today the last.
func (c *call) period() (periodView, error) {
	days, err := queryInt(c.r.URL.Query(), "days", 7, 1, maxDays)
	now := c.a.o.Now().UTC()
	return periodView{Start: now.Truncate(24*time.Hour).AddDate(0, 0, 1-days), End: now, Days: days}, err
}

// poolUse is what a node was used for in a period.
type poolUse struct {
	ID   int64  `json:"account_id"`
	Name string `json:"account_name"`
	tokensView
	node *core.Node
}

// useOf lists nodes with what they were used for since, the most used first.
func (c *call) useOf(nodes []core.Node, account string, since time.Time) ([]poolUse, error) {
	used, err := c.usedSince(store.UsageFilter{Account: account, From: since})
	if err != nil {
		return nil, err
	}
	list := make([]poolUse, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		list[i].ID, _ = strconv.ParseInt(n.ID, 10, 64)
		list[i].Name, list[i].node = n.Name, n
		list[i].add(used[n.ID])
	}
	slices.SortStableFunc(list, func(a, b poolUse) int { return cmp.Compare(b.Total, a.Total) })
	return list, nil
}

type dayView struct {
	Date string `json:"date"`
	tokensView
}

// statsTokens tells of tokens by day, of all nodes, and by account, of those of kind amazonq.
func (c *call) statsTokens() error {
	account, err := c.statsAccount()
	if err != nil {
		return err
	}
	p, err := c.period()
	if err != nil {
		return err
	}
	light, err := queryBool(c.r.URL.Query(), "light")
	if err != nil {
		return err
	}
	hours, err := c.a.o.Usage.Sums(c.r.Context(), store.UsageFilter{Account: account, From: p.Start}, store.GroupHour)
	if err != nil {
		return err
	}
	var total tokensView
	daily := make([]dayView, p.Days)
	for i := range daily {
		daily[i].Date = p.Start.AddDate(0, 0, i).Format(time.DateOnly)
	}
	for _, h := range hours {
		if i := int(h.Hour.Sub(p.Start) / (24 * time.Hour)); i >= 0 && i < len(daily) {
			daily[i].add(h)
			total.add(h)
		}
	}
	out := map[string]any{"period": p, "total": total, "daily": daily}
	if light {
		return c.ok(out)
	}
	nodes, err := c.poolNodes(account)
	if err != nil {
		return err
	}
	if out["by_account"], err = c.useOf(nodes, account, p.Start); err != nil {
		return err
	}
	return c.ok(out)
}

// usageView is an account in account-usage.
type usageView struct {
	ID        int64  `json:"account_id"`
	Name      string `json:"account_name"`
	IsActive  bool   `json:"is_active"`
	IsHealthy bool   `json:"is_healthy"`
	tokensView
	AllRequests int64      `json:"total_requests_all_time"`
	AllTokens   int64      `json:"total_tokens_all_time"`
	LastUsed    *time.Time `json:"last_used"` // of the first 200
}

func (c *call) statsUsage() error {
	account, err := c.statsAccount()
	if err != nil {
		return err
	}
	p, err := c.period()
	if err != nil {
		return err
	}
	nodes, err := c.poolNodes(account)
	if err != nil {
		return err
	}
	list, err := c.useOf(nodes, account, p.Start)
	if err != nil {
		return err
	}
	limit, err := queryInt(c.r.URL.Query(), "limit", 0, 1, maxListed)
	if err != nil {
		return err
	}
	ever, err := c.used(account)
	if err != nil {
		return err
	}
	total := len(list)
	if limit > 0 {
		list = list[:min(limit, total)]
	}
	views := make([]usageView, len(list))
	for i, u := range list {
		e := ever[u.node.ID]
		views[i] = usageView{ID: u.ID, Name: u.Name, IsActive: !u.node.Disabled, IsHealthy: healthy(c.state(u.node), c.a.o.Now()), tokensView: u.tokensView,
			AllRequests: e.Requests, AllTokens: e.Tokens.TotalInput() + e.Tokens.Output}
	}
	err = each(min(len(list), maxLastUsed), useTrips, func(i int) (err error) {
		if views[i].AllRequests > 0 {
			views[i].LastUsed, err = c.lastUsed(list[i].node)
		}
		return err
	})
	if err != nil {
		return err
	}
	out := map[string]any{"period": p, "accounts": views}
	if limit > 0 {
		out["total"] = total
	}
	return c.ok(out)
}
