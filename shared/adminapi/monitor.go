package adminapi

import (
	"context"
	"strings"
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

	// These are of all nodes, and there when the nodes are a part.
	Total   *int           `json:"total,omitempty"` // that the search found
	Counts  map[string]int `json:"counts,omitempty"`
	Traffic *trafficView   `json:"traffic,omitempty"`
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

	used core.UsageSum
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

// watchedShape is how the monitor's nodes are searched and sorted: by what of them is shown.
func watchedShape() *shape[monitorView] {
	return &shape[monitorView]{
		id: func(v *monitorView) string { return v.ID },
		text: func(v *monitorView) string {
			return strings.Join([]string{v.ID, v.Name, v.URL, string(v.State), v.LastError, v.Health.Error}, " ")
		},
		state: func(v *monitorView) string { return stateGroup(v.State) },
		by: map[string]func(a, b *monitorView) int{
			"name": byText(func(v *monitorView) string { return v.Name }), "weight": byNumber(func(v *monitorView) int { return v.Weight }),
			"state":    byText(func(v *monitorView) string { return string(v.State) }),
			"success":  byNumber(func(v *monitorView) float64 { return v.Traffic.Rate }),
			"requests": byNumber(func(v *monitorView) int64 { return v.Traffic.Total }),
		},
	}
}

func (c *call) showDashboard() error {
	account, err := c.nodesOf()
	if err != nil {
		return err
	}
	return c.answerDashboard(account, false)
}

// answerDashboard answers with an account's monitor, or the part of it that the call asks for.
func (c *call) answerDashboard(account string, shared bool) error {
	shape := watchedShape()
	l, err := c.listing(shape.sorts(), true)
	if err != nil {
		return err
	}
	v, err := c.dashboard(account, shared)
	if err != nil {
		return err
	}
	var all core.UsageSum
	for i := range v.Nodes {
		all = addSums(all, &v.Nodes[i].used)
	}
	p := choose(&l, v.Nodes, shape)
	v.Nodes = p.rows
	if l.limit > 0 {
		traffic := viewTraffic(all)
		v.Total, v.Counts, v.Traffic = &p.total, p.counts, &traffic
	}
	return c.ok(v)
}

// dashboard puts an account's monitor together. shared leaves out what is not for people without a login.
func (c *call) dashboard(account string, shared bool) (*dashboardView, error) {
	now := c.a.o.Now().UTC()
	var w *watched
	var trend map[string][]trendView
	err := each(2, 2, func(i int) (err error) {
		if i == 0 {
			w, err = c.watch(account)
		} else {
			trend, err = c.a.trends.of(c.r.Context(), c.a.o.Usage, account, now)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	v := &dashboardView{Account: account, Name: w.account.Name, Updated: now, Nodes: make([]monitorView, 0, len(w.nodes))}
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
		IsActive: n.ID == w.account.ActiveNode, Disabled: n.Disabled, Traffic: viewTraffic(w.used[n.ID]), used: w.used[n.ID]}
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
// that a monitor costs one or two sums a look, however many nodes it shows; whether the hours that are over changed is looked
// up once a minute.
type trends struct {
	mu sync.Mutex
	by map[string]*trendKept // by account
}

// trendKept are an account's hours, and when all of them were looked at.
type trendKept struct {
	read  time.Time
	hours map[int64]hourUse
}

// hourUse is what an account's nodes served in an hour, and the sum that was true of it then.
type hourUse struct {
	all   core.UsageSum
	nodes []nodeHour
}

// nodeHour is what a monitor shows of an hour of a node.
type nodeHour struct {
	id string
	trendView
}

// of returns the last 24 hours by node.
func (t *trends) of(ctx context.Context, u store.Usage, account string, now time.Time) (map[string][]trendView, error) {
	first, open := now.Truncate(time.Hour).Add(-(trendHours-1)*time.Hour), openHour(now)
	looks, read := t.trusted(account, first, open, now)
	from := open
	if read.IsZero() {
		from, read = first, now
	}
	hours, err := u.Sums(ctx, store.UsageFilter{Account: account, From: from, To: now.Add(time.Hour)}, store.GroupHour)
	if err != nil {
		return nil, err
	}
	fresh := make([]hourUse, len(plainSums(hours)))
	err = each(len(hours), trendsTrips, func(i int) error {
		var known bool
		if fresh[i], known = t.known(account, hours[i]); known {
			return nil
		}
		h := hours[i].Hour
		sums, err := u.Sums(ctx, store.UsageFilter{Account: account, From: h, To: h.Add(time.Hour)}, store.GroupNode)
		fresh[i] = hourUse{all: hours[i], nodes: make([]nodeHour, len(sums))}
		for j := range sums {
			rate, avg := rates(sums[j])
			fresh[i].nodes[j] = nodeHour{sums[j].Group, trendView{At: h, Rate: rate, AvgTime: avg}}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	looks = append(looks, fresh...)
	out := make(map[string][]trendView)
	for i := range looks {
		for _, n := range looks[i].nodes {
			out[n.id] = append(out[n.id], n.trendView)
		}
	}
	t.keep(account, looks, read)
	return out, nil
}

// trusted are the hours from first up to open, in order, and when they were read; the zero time: they must be read now.
func (t *trends) trusted(account string, first, open, now time.Time) (hours []hourUse, read time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.by[account]
	if k == nil || !openHour(k.read).Equal(open) || now.Before(k.read) || now.Sub(k.read) >= trustedFor {
		return nil, time.Time{}
	}
	for h := first; h.Before(open); h = h.Add(time.Hour) {
		if use, ok := k.hours[h.Unix()]; ok {
			hours = append(hours, use)
		}
	}
	return hours, k.read
}

func (t *trends) known(account string, sum core.UsageSum) (hourUse, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[account] == nil {
		return hourUse{}, false
	}
	h, ok := t.by[account].hours[sum.Hour.Unix()]
	return h, ok && h.all == sum
}

func (t *trends) keep(account string, uses []hourUse, read time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil || len(t.by) >= maxTrends && t.by[account] == nil {
		t.by = make(map[string]*trendKept)
	}
	m := make(map[int64]hourUse, len(uses))
	for _, h := range uses {
		m[h.all.Hour.Unix()] = h
	}
	t.by[account] = &trendKept{read, m}
}
