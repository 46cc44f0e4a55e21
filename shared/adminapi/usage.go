package adminapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// usageFilter reads account_id, node_id, key_id, model_id, from and to. Without account_id an administrator gets all.
func (c *call) usageFilter() (store.UsageFilter, error) {
	q := c.r.URL.Query()
	f := store.UsageFilter{Account: q.Get("account_id"), Node: q.Get("node_id"), Key: q.Get("key_id"), Model: q.Get("model_id"), Session: q.Get("session_id")}
	if !c.who.admin {
		if f.Account != "" && f.Account != c.who.account {
			return f, core.E(core.CodeForbidden, "forbidden")
		}
		f.Account = c.who.account
	}
	var err error
	if f.From, err = queryTime(q, "from"); err != nil {
		return f, err
	}
	if f.To, err = queryTime(q, "to"); err != nil {
		return f, err
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return f, bad("from: must be before to")
	}
	return f, nil
}

func queryTime(q url.Values, name string) (time.Time, error) {
	s := q.Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+")) // a plus that nobody escaped
	if err != nil {
		return t, bad(name + ": must be a time such as 2026-01-31T15:04:05Z")
	}
	return t, nil
}

func queryInt(q url.Values, name string, def, lo, hi int) (int, error) {
	s := q.Get(name)
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, bad(name + ": must be a whole number from " + itoa(lo) + " to " + itoa(hi))
	}
	return n, nil
}

// sumView is a sum of usage. CostUSD leaves unpriced requests out, and is null where there are no others: no price is not
// free.
type sumView struct {
	AccountID    string   `json:"account_id,omitempty"`
	ModelID      string   `json:"model_id,omitempty"`
	NodeID       string   `json:"node_id,omitempty"`
	KeyID        string   `json:"key_id,omitempty"`
	Hour         string   `json:"hour,omitempty"`
	Requests     int64    `json:"total_requests"`
	Success      int64    `json:"success_requests"`
	Estimated    int64    `json:"estimated_requests"`
	InputTokens  int64    `json:"total_input_tokens"` // all classes
	OutputTokens int64    `json:"total_output_tokens"`
	Uncached     int64    `json:"uncached_input_tokens"`
	CacheRead    int64    `json:"cache_read_tokens"`
	CacheWrite5m int64    `json:"cache_write_5m_tokens"`
	CacheWrite1h int64    `json:"cache_write_1h_tokens"`
	CostUSD      *float64 `json:"total_cost_usd"`
	Unpriced     int64    `json:"unpriced_requests"`
}

func viewSum(s core.UsageSum) sumView {
	v := sumView{Requests: s.Requests, Success: s.Success, Estimated: s.Estimated, InputTokens: s.Tokens.TotalInput(), OutputTokens: s.Tokens.Output,
		Uncached: s.Tokens.Input, CacheRead: s.Tokens.CacheRead, CacheWrite5m: s.Tokens.CacheWrite5m, CacheWrite1h: s.Tokens.CacheWrite1h, Unpriced: s.Unpriced}
	if s.Unpriced == 0 || s.Unpriced < s.Requests {
		v.CostUSD = new(dollars(s.CostUSD))
	}
	return v
}

func (c *call) usageSummary() error {
	f, err := c.usageFilter()
	if err != nil {
		return err
	}
	by := store.GroupBy(c.r.URL.Query().Get("group_by"))
	if !slices.Contains([]store.GroupBy{store.GroupNone, store.GroupModel, store.GroupNode, store.GroupKey, store.GroupAccount, store.GroupHour}, by) {
		return bad("group_by: must be model, node, key, account or hour")
	}
	sums, err := c.a.o.Usage.Sums(c.r.Context(), f, by)
	if err != nil {
		return err
	}
	if by == store.GroupNone {
		v := viewSum(core.UsageSum{})
		if len(sums) > 0 {
			v = viewSum(sums[0])
		}
		v.AccountID = f.Account
		return c.ok(v)
	}
	if by != store.GroupHour {
		slices.SortStableFunc(sums, func(a, b core.UsageSum) int {
			return int(b.Tokens.TotalInput() + b.Tokens.Output - a.Tokens.TotalInput() - a.Tokens.Output)
		})
	}
	views := make([]sumView, 0, len(sums))
	for _, s := range sums {
		v := viewSum(s)
		v.AccountID = f.Account
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
		}
		views = append(views, v)
	}
	return c.ok(map[string]any{"summaries": views})
}

// logView is one request.
type logView struct {
	ID           string    `json:"id"`
	RequestID    string    `json:"request_id"`
	UpstreamID   string    `json:"upstream_request_id,omitempty"`
	AccountID    string    `json:"account_id"`
	KeyID        string    `json:"key_id"`
	NodeID       string    `json:"node_id"`
	NodeName     string    `json:"node_name"`
	Endpoint     string    `json:"endpoint"`
	ModelID      string    `json:"model_id"`
	ServedModel  string    `json:"served_model,omitempty"`
	Session      string    `json:"session_id,omitempty"`
	Agent        string    `json:"agent_id,omitempty"`
	ClientAddr   string    `json:"client_addr,omitempty"`
	Stream       bool      `json:"stream"`
	Status       int       `json:"status"`
	ErrorCode    string    `json:"error_code,omitempty"`
	Attempts     int       `json:"attempts"`
	InputTokens  int64     `json:"input_tokens"` // all classes
	OutputTokens int64     `json:"output_tokens"`
	Uncached     int64     `json:"uncached_input_tokens"`
	CacheRead    int64     `json:"cache_read_tokens"`
	CacheWrite5m int64     `json:"cache_write_5m_tokens"`
	CacheWrite1h int64     `json:"cache_write_1h_tokens"`
	Estimated    bool      `json:"estimated"`
	CostUSD      *float64  `json:"cost_usd"`
	Success      bool      `json:"success"`
	FirstByteMS  int64     `json:"first_byte_ms"`
	TotalMS      int64     `json:"total_ms"`
	CreatedAt    time.Time `json:"created_at"`
}

func viewLog(s *core.Settlement) logView {
	return logView{ID: s.RequestID, RequestID: s.RequestID, UpstreamID: s.UpstreamID, AccountID: s.Account, KeyID: s.Key, NodeID: s.Node, NodeName: s.NodeName,
		Endpoint: s.Endpoint, ModelID: s.Model, ServedModel: s.ServedModel, Session: s.Session, Agent: s.Agent, ClientAddr: s.ClientAddr, Stream: s.Stream,
		Status: s.Status, ErrorCode: s.ErrorCode, Attempts: s.Attempts, InputTokens: s.Tokens.TotalInput(), OutputTokens: s.Tokens.Output,
		Uncached: s.Tokens.Input, CacheRead: s.Tokens.CacheRead, CacheWrite5m: s.Tokens.CacheWrite5m, CacheWrite1h: s.Tokens.CacheWrite1h,
		Estimated: s.Estimated, CostUSD: cost(s), Success: s.Success(), FirstByteMS: s.FirstByteMS, TotalMS: s.TotalMS(), CreatedAt: s.EndedAt.UTC()}
}

// cost is what a request cost in dollars; null where its tokens have no price.
func cost(s *core.Settlement) *float64 {
	if s.Unpriced {
		return nil
	}
	usd := dollars(s.CostUSD)
	return &usd
}

func (c *call) usageLogs() error {
	f, err := c.usageFilter()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	limit, err := queryInt(q, "limit", 100, 1, 1000)
	if err != nil {
		return err
	}
	skip, err := queryInt(q, "offset", 0, 0, 100_000)
	if err != nil {
		return err
	}
	logs := make([]logView, 0, limit)
	cursor := q.Get("cursor")
	for len(logs) < limit {
		recs, next, err := c.a.o.Usage.Records(c.r.Context(), f, cursor, min(1000, skip+limit-len(logs)))
		if err != nil {
			if cursor != "" && cursor == q.Get("cursor") {
				return bad("cursor: is not one that this API gave")
			}
			return err
		}
		for i := range recs {
			if skip > 0 {
				skip--
				continue
			}
			logs = append(logs, viewLog(&recs[i]))
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	return c.ok(map[string]any{"logs": logs, "count": len(logs), "next_cursor": cursor})
}
