package adminapi

import (
	"cmp"
	"errors"
	"math"
	"net/url"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// sumView is a sum of usage. CostUSD leaves unpriced requests out, and is null where there are no others: no price is not
// free.
type sumView struct {
	AccountID    string   `json:"account_id,omitempty"`
	ModelID      string   `json:"model_id,omitempty"`
	NodeID       string   `json:"node_id,omitempty"`
	KeyID        string   `json:"key_id,omitempty"`
	Hour         string   `json:"hour,omitempty"`
	Day          string   `json:"day,omitempty"`        // 2026-03-14, of the zone asked for
	Month        string   `json:"month,omitempty"`      // 2026-03
	SessionID    *string  `json:"session_id,omitempty"` // empty: of requests without one
	AgentID      *string  `json:"agent_id,omitempty"`
	Others       int64    `json:"others,omitempty"` // it is the sum of so many groups that have no sum of their own
	Requests     int64    `json:"total_requests"`
	Success      int64    `json:"success_requests"`
	SuccessRate  *float64 `json:"success_rate"` // percent; null without requests
	Estimated    int64    `json:"estimated_requests"`
	Attempts     int64    `json:"attempts"`
	InputTokens  int64    `json:"total_input_tokens"` // all classes
	OutputTokens int64    `json:"total_output_tokens"`
	Uncached     int64    `json:"uncached_input_tokens"`
	CacheRead    int64    `json:"cache_read_tokens"`
	CacheWrite5m int64    `json:"cache_write_5m_tokens"`
	CacheWrite1h int64    `json:"cache_write_1h_tokens"`
	CacheRatio   *float64 `json:"cache_read_ratio"` // of the input tokens, 0 to 1; null without any
	CostUSD      *float64 `json:"total_cost_usd"`
	Unpriced     int64    `json:"unpriced_requests"`
	Bytes        int64    `json:"bytes"`

	FirstByte *timesView `json:"first_byte_ms"`
	Total     *timesView `json:"total_ms"`
}

// timesView tells of times in ms. The percentiles are within 5 %, and null where older versions summed up, who kept averages
// alone.
type timesView struct {
	Avg float64  `json:"avg"`
	P50 *float64 `json:"p50"`
	P90 *float64 `json:"p90"`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
}

// tenth rounds to a decimal.
func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// viewTimes shows times by their sum, their number and their sketch; nil where nothing was measured.
func viewTimes(sum, n int64, s core.Sketch) *timesView {
	if n <= 0 {
		return nil
	}
	return &timesView{Avg: tenth(float64(sum) / float64(n)), P50: quantile(s, 0.50), P90: quantile(s, 0.90), P95: quantile(s, 0.95), P99: quantile(s, 0.99)}
}

func quantile(s core.Sketch, q float64) *float64 {
	if s == (core.Sketch{}) {
		return nil
	}
	return new(tenth(s.Quantile(q)))
}

// ratio is a part of a whole, times scale, to four places; nil where the whole is nothing.
func ratio(part, whole int64, scale float64) *float64 {
	if whole <= 0 {
		return nil
	}
	return new(math.Round(float64(part)/float64(whole)*scale*1e4) / 1e4)
}

func viewSum(s *core.UsageSum) sumView {
	v := sumView{Others: s.Others, Requests: s.Requests, Success: s.Success, SuccessRate: ratio(s.Success, s.Requests, 100), Estimated: s.Estimated, Attempts: s.Attempts,
		InputTokens: s.Tokens.TotalInput(), OutputTokens: s.Tokens.Output, Uncached: s.Tokens.Input, CacheRead: s.Tokens.CacheRead,
		CacheWrite5m: s.Tokens.CacheWrite5m, CacheWrite1h: s.Tokens.CacheWrite1h, CacheRatio: ratio(s.Tokens.CacheRead, s.Tokens.TotalInput(), 1),
		Unpriced: s.Unpriced, Bytes: s.Bytes, FirstByte: viewTimes(s.FirstByteMS, s.FirstBytes, s.FirstByte), Total: viewTimes(s.TotalMS, s.Requests, s.Total)}
	if s.Unpriced == 0 || s.Unpriced < s.Requests {
		v.CostUSD = new(dollars(s.CostUSD))
	}
	return v
}

// viewGroup is viewSum with what it is the sum of. account is that of the filter.
func viewGroup(s *core.UsageSum, by store.GroupBy, account string) sumView {
	v := viewSum(s)
	v.AccountID = account
	if s.Others > 0 {
		return v
	}
	switch by {
	case store.GroupModel:
		v.ModelID = s.Group
	case store.GroupNode:
		v.NodeID = s.Group
	case store.GroupKey:
		v.KeyID = s.Group
	case store.GroupAccount:
		v.AccountID = s.Group
	case store.GroupHour:
		v.Hour = s.Hour.UTC().Format(time.RFC3339)
	case store.GroupDay:
		v.Day = s.Group
	case store.GroupMonth:
		v.Month = s.Group
	case store.GroupSession:
		v.SessionID = &s.Group
	case store.GroupAgent:
		v.AgentID = &s.Group
	}
	return v
}

// timed reports whether a grouping is by time: its sums stay in the order of time.
func timed(by store.GroupBy) bool {
	return by == store.GroupHour || by == store.GroupDay || by == store.GroupMonth
}

// dearest orders sums by cost, then by tokens; that of all other groups is last.
func dearest(a, b core.UsageSum) int {
	return cmp.Or(cmp.Compare(a.Others, b.Others), cmp.Compare(b.CostUSD, a.CostUSD),
		cmp.Compare(b.Tokens.TotalInput()+b.Tokens.Output, a.Tokens.TotalInput()+a.Tokens.Output))
}

// grouping reads group_by, time_zone and top.
func grouping(q url.Values, f *store.UsageFilter) (by store.GroupBy, err error) {
	by = store.GroupBy(q.Get("group_by"))
	if !slices.Contains([]store.GroupBy{store.GroupNone, store.GroupModel, store.GroupNode, store.GroupKey, store.GroupAccount, store.GroupHour, store.GroupDay,
		store.GroupMonth, store.GroupSession, store.GroupAgent}, by) {
		return by, bad("group_by: must be model, node, key, account, session, agent, hour, day or month")
	}
	if f.Zone, err = queryZone(q); err != nil {
		return by, err
	}
	if q.Get("top") != "" && by != store.GroupSession && by != store.GroupAgent {
		return by, bad("top: goes with group_by=session or group_by=agent")
	}
	f.Top, err = queryInt(q, "top", 0, 1, store.MaxTop)
	return by, err
}

// summaries are the sums that the call asks for, in the order in which they are shown: one where it names no group.
func (c *call) summaries() ([]sumView, store.GroupBy, error) {
	f, err := c.usageFilter()
	if err != nil {
		return nil, "", err
	}
	by, err := grouping(c.r.URL.Query(), &f)
	if err != nil {
		return nil, by, err
	}
	c.windowed(&f, by)
	sums, err := c.a.o.Usage.Sums(c.r.Context(), f, by)
	if errors.Is(err, store.ErrWindow) {
		return nil, by, bad("from, to: of a session, an agent or of failures alone, sums are told for at most 31 days: name both, or neither")
	}
	if errors.Is(err, store.ErrGroups) {
		return nil, by, bad("group_by: there are more than " + itoa(store.MaxGroups) + " sessions or agents; name a shorter time by from and to, or one account, key or node")
	}
	if err != nil {
		return nil, by, err
	}
	if by == store.GroupNone && len(sums) == 0 {
		sums = []core.UsageSum{{}}
	}
	if !timed(by) {
		slices.SortStableFunc(sums, dearest)
	}
	views := make([]sumView, len(sums))
	for i := range sums {
		views[i] = viewGroup(&sums[i], by, f.Account)
	}
	return views, by, nil
}

func (c *call) usageSummary() error {
	views, by, err := c.summaries()
	if err != nil {
		return err
	}
	if by == store.GroupNone {
		return c.ok(views[0])
	}
	return c.ok(map[string]any{"summaries": views})
}
