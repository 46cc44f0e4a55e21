package adminapi

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// dashboardView is the monitor of an account.
type dashboardView struct {
	Account string        `json:"account_id"`
	Name    string        `json:"account_name"`
	Updated time.Time     `json:"updated_at"`
	Nodes   []monitorView `json:"nodes"`
}

// monitorView is a node on the monitor. Rates are percent, times ms.
type monitorView struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	URL         string         `json:"url,omitempty"` // not in a share's view
	Status      string         `json:"status"`        // online, degraded, offline, disabled
	State       core.Condition `json:"state"`         // the same more exactly
	StateSince  *time.Time     `json:"state_since"`
	Weight      int            `json:"weight"`
	IsActive    bool           `json:"is_active"` // it was activated
	CircuitOpen bool           `json:"circuit_open"`
	Disabled    bool           `json:"disabled"`
	LastError   string         `json:"last_error"`
	Traffic     trafficView    `json:"traffic"`
	Health      healthView     `json:"health"`
	Trend       []trendView    `json:"trend_24h"` // hours with requests, oldest first
}

// trafficView is what a node served since it was made.
type trafficView struct {
	Rate    float64 `json:"success_rate"` // 100 before the first
	AvgTime int64   `json:"avg_response_time"`
	Total   int64   `json:"total_requests"`
	Failed  int64   `json:"failed_requests"`
}

// healthView is how a node was seen last.
type healthView struct {
	Status string     `json:"status"` // up, down, or stale: never checked, or not of late
	At     *time.Time `json:"last_check_at"`
	PingMS *int64     `json:"last_ping_ms"`
	Error  string     `json:"last_ping_err"`
	Method string     `json:"check_method"`
}

type trendView struct {
	At      time.Time `json:"timestamp"` // of the hour's beginning
	Rate    float64   `json:"success_rate"`
	AvgTime int64     `json:"avg_time"`
}

func (c *call) showDashboard() error {
	account, err := c.nodesOf()
	if err != nil {
		return err
	}
	v, err := c.dashboard(account, false)
	if err != nil {
		return err
	}
	return c.ok(v)
}

// dashboard puts an account's monitor together. shared leaves out what is not for people without a login.
func (c *call) dashboard(account string, shared bool) (*dashboardView, error) {
	w, err := c.watch(account)
	if err != nil {
		return nil, err
	}
	now := c.a.o.Now().UTC()
	trend, err := c.a.trends.of(c.r.Context(), c.a.o.Usage, account, now)
	if err != nil {
		return nil, err
	}
	v := &dashboardView{Account: account, Name: w.account.Name, Updated: now, Nodes: []monitorView{}}
	for i := range w.nodes {
		n := &w.nodes[i]
		if shared && n.Disabled {
			continue
		}
		m := c.monitored(n, w, now)
		if m.Trend = trend[n.ID]; m.Trend == nil {
			m.Trend = []trendView{}
		}
		if shared {
			m.Name, m.URL = plainName(n), ""
			m.LastError, m.Health.Error = plainReason(m.LastError), plainReason(m.Health.Error)
		}
		v.Nodes = append(v.Nodes, m)
	}
	return v, nil
}

func (c *call) monitored(n *core.Node, w *watched, now time.Time) monitorView {
	s, last := c.state(n), w.checks[n.ID]
	is, since, _ := c.condition(n, s, last, &w.account)
	m := monitorView{ID: n.ID, Name: n.Name, URL: n.BaseURL, Status: statusOf(is), State: is, StateSince: momentOf(since), Weight: n.Weight,
		IsActive: n.ID == w.account.ActiveNode, Disabled: n.Disabled, Traffic: viewTraffic(w.used[n.ID])}
	if s != nil {
		m.CircuitOpen, m.LastError = s.Failed, s.LastError
	}
	m.Health = healthView{Status: "stale", Method: n.HealthMethod}
	if last == nil || last.Last.At.IsZero() {
		return m
	}
	k := last.Last
	m.Health.At, m.Health.PingMS = momentOf(k.At), &k.MS
	if k.Method != "" {
		m.Health.Method = k.Method
	}
	if !k.OK {
		m.Health.Error = k.Error
	}
	switch {
	case c.a.o.SweepEvery > 0 && now.Sub(k.At) > 2*c.a.o.SweepEvery:
	case k.OK:
		m.Health.Status = "up"
	default:
		m.Health.Status = "down"
	}
	return m
}

// statusOf is a condition in the older system's words.
func statusOf(c core.Condition) string {
	switch c {
	case core.Online, core.Disabled:
		return string(c)
	case core.Degraded, core.Cooling:
		return "degraded"
	}
	return "offline"
}

func viewTraffic(s core.UsageSum) trafficView {
	rate, avg := rates(s)
	return trafficView{Rate: rate, AvgTime: avg, Total: s.Requests, Failed: s.Requests - s.Success}
}

// rates are the percentage of requests that succeeded, and their mean time.
func rates(s core.UsageSum) (percent float64, ms int64) {
	if s.Requests == 0 {
		return 100, 0
	}
	return rounded(float64(s.Success)*100/float64(s.Requests), 1), s.TotalMS / s.Requests
}

const (
	trendHours  = 24
	maxTrends   = 200 // accounts whose hours are remembered
	trendsTrips = 4   // to the store at a time
)

// trends remembers what nodes served by the hour. An hour is looked up again only when the account's sum of it changed, so
// that a monitor costs one or two sums a look, however many nodes it shows.
type trends struct {
	mu sync.Mutex
	by map[string]map[int64]hourUse // account -> hour
}

// hourUse is what an account's nodes served in an hour, and the sum that was true of it then.
type hourUse struct {
	all   core.UsageSum
	nodes []core.UsageSum
}

// of returns the last 24 hours by node.
func (t *trends) of(ctx context.Context, u store.Usage, account string, now time.Time) (map[string][]trendView, error) {
	first := now.Truncate(time.Hour).Add(-(trendHours - 1) * time.Hour)
	hours, err := u.Sums(ctx, store.UsageFilter{Account: account, From: first, To: now.Add(time.Hour)}, store.GroupHour)
	if err != nil {
		return nil, err
	}
	uses := make([]hourUse, len(hours))
	failed := make([]error, len(hours))
	slots := make(chan struct{}, trendsTrips)
	var wg sync.WaitGroup
	for i := range hours {
		var known bool
		if uses[i], known = t.known(account, hours[i]); known {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil { // in a goroutine of ours it would end the process, not the call
					failed[i] = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				}
				<-slots
			}()
			h := hours[i].Hour
			uses[i] = hourUse{all: hours[i]}
			uses[i].nodes, failed[i] = u.Sums(ctx, store.UsageFilter{Account: account, From: h, To: h.Add(time.Hour)}, store.GroupNode)
		})
	}
	wg.Wait()
	out := make(map[string][]trendView)
	for i := range hours {
		if failed[i] != nil {
			return nil, failed[i]
		}
		for _, s := range uses[i].nodes {
			rate, avg := rates(s)
			out[s.Group] = append(out[s.Group], trendView{At: hours[i].Hour.UTC(), Rate: rate, AvgTime: avg})
		}
	}
	t.keep(account, uses)
	return out, nil
}

func (t *trends) known(account string, sum core.UsageSum) (hourUse, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.by[account][sum.Hour.Unix()]
	return h, ok && h.all == sum
}

func (t *trends) keep(account string, uses []hourUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil || len(t.by) >= maxTrends && t.by[account] == nil {
		t.by = make(map[string]map[int64]hourUse)
	}
	m := make(map[int64]hourUse, len(uses))
	for _, h := range uses {
		m[h.all.Hour.Unix()] = h
	}
	t.by[account] = m
}
