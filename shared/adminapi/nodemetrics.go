package adminapi

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
)

const (
	nodeMetricsPath    = "/api/nodes/{id}/metrics"
	accountMetricsPath = "/api/accounts/{id}/metrics"
	defaultMetrics     = 100
	maxMetrics         = 1000
)

// metricsView is how a node or an account served over some time.
type metricsView struct {
	Data        []metricView `json:"data"` // the newest of the window, oldest first
	Granularity string       `json:"granularity"`
	From        time.Time    `json:"from"`
	To          time.Time    `json:"to"`
}

// metricView is one hour, day or month, or one request. Averages are 0 where nothing was measured, as the older API had it;
// percentiles, which it had not, are null there.
type metricView struct {
	At        time.Time `json:"timestamp"` // of the beginning, or of the request's end
	Requests  int64     `json:"requests_total"`
	Success   int64     `json:"requests_success"`
	Failed    int64     `json:"requests_failed"`
	AvgTime   float64   `json:"avg_response_time_ms"`
	P50Time   *float64  `json:"p50_response_time_ms"`
	P95Time   *float64  `json:"p95_response_time_ms"`
	Bytes     int64     `json:"bytes_total"`
	Input     int64     `json:"input_tokens"` // all classes
	Output    int64     `json:"output_tokens"`
	AvgFirst  float64   `json:"avg_first_byte_ms"`
	P50First  *float64  `json:"p50_first_byte_ms"`
	P95First  *float64  `json:"p95_first_byte_ms"`
	AvgStream float64   `json:"avg_stream_duration_ms"` // from the first content to the end
}

// metricsQuery is what a call asks for.
type metricsQuery struct {
	granularity string
	zone        *time.Location
	from, to    time.Time
	open        bool // the call names no to
	limit, skip int
}

func (c *call) metricsQuery() (m metricsQuery, err error) {
	q := c.r.URL.Query()
	if m.granularity = q.Get("granularity"); m.granularity == "" {
		m.granularity = "hour"
	}
	if !slices.Contains([]string{"raw", "hour", "day", "month"}, m.granularity) {
		return m, bad("granularity: must be raw, hour, day or month")
	}
	if m.zone, err = queryZone(q); err != nil {
		return m, err
	}
	if m.limit, err = queryInt(q, "limit", defaultMetrics, 1, maxMetrics); err != nil {
		return m, err
	}
	if m.skip, err = queryInt(q, "offset", 0, 0, 100_000); err != nil {
		return m, err
	}
	return m, m.window(q, c.a.o.Now())
}

// window reads from and to: by default 24 hours, 7 days, 30 days or 12 months up to now, and what began before of the first
// hour, day or month.
func (m *metricsQuery) window(q url.Values, now time.Time) (err error) {
	if m.from, m.to, err = queryWindow(q); err != nil {
		return err
	}
	if m.open = m.to.IsZero(); m.open {
		m.to = now
	}
	if m.from.IsZero() {
		m.from = m.begin()
	}
	m.from, m.to = m.from.UTC(), m.to.UTC()
	if !m.from.Before(m.to) {
		return bad("from: must be before to")
	}
	return nil
}

func (m *metricsQuery) begin() time.Time {
	switch m.granularity {
	case "raw":
		return m.to.Add(-24 * time.Hour)
	case "hour":
		return m.to.Truncate(time.Hour).Add(-7 * 24 * time.Hour)
	case "day":
		return limit.DayStart(limit.Day(m.to, m.zone)-30, m.zone)
	}
	return limit.MonthStart(limit.Month(m.to, m.zone)-12, m.zone)
}

func (c *call) nodeMetrics() error {
	if !decimal(c.id) {
		return core.E(core.CodeNotFound, "node not found")
	}
	n, err := c.node(c.id)
	if err != nil {
		return err
	}
	return c.metrics(store.UsageFilter{Account: n.Account, Node: n.ID})
}

// accountMetrics is of the caller's own account, or of any for an administrator. Nobody else learns which there are.
func (c *call) accountMetrics() error {
	missing := core.E(core.CodeNotFound, "account not found")
	if !c.who.admin && c.id != c.who.account || len(c.id) > maxID || strings.Trim(c.id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return missing
	}
	if _, err := c.a.o.Tables.Accounts.Get(c.r.Context(), c.id); store.Missing(err) {
		return missing
	} else if err != nil {
		return err
	}
	return c.metrics(store.UsageFilter{Account: c.id})
}

func (c *call) metrics(f store.UsageFilter) error {
	m, err := c.metricsQuery()
	if err != nil {
		return err
	}
	f.From, f.To, f.Zone = m.from, m.to, m.zone
	if m.open {
		f.To = time.Time{} // clocks of instances differ
	}
	out := metricsView{Data: []metricView{}, Granularity: m.granularity, From: m.from, To: m.to}
	if m.granularity == "raw" {
		_, err := c.records(f, "", m.skip, m.limit, func(r *core.Settlement) { out.Data = append(out.Data, metricOf(r)) })
		if err != nil {
			return err
		}
		slices.Reverse(out.Data)
		return c.ok(out)
	}
	sums, err := c.a.o.Usage.Sums(c.r.Context(), f, store.GroupBy(m.granularity))
	if err != nil {
		return err
	}
	last := max(0, len(sums)-m.skip)
	for i := max(0, last-m.limit); i < last; i++ {
		out.Data = append(out.Data, metricOfSum(&sums[i]))
	}
	return c.ok(out)
}

func metricOfSum(s *core.UsageSum) metricView {
	v := metricView{At: s.Hour.UTC(), Requests: s.Requests, Success: s.Success, Failed: s.Requests - s.Success, Bytes: s.Bytes, Input: s.Tokens.TotalInput(), Output: s.Tokens.Output}
	if t := viewTimes(s.TotalMS, s.Requests, s.Total); t != nil {
		v.AvgTime, v.P50Time, v.P95Time = t.Avg, t.P50, t.P95
	}
	if t := viewTimes(s.FirstByteMS, s.FirstBytes, s.FirstByte); t != nil {
		v.AvgFirst, v.P50First, v.P95First = t.Avg, t.P50, t.P95
		v.AvgStream = tenth(float64(s.StreamMS) / float64(s.FirstBytes))
	}
	return v
}

// metricOf is of one request, whose times are known exactly.
func metricOf(r *core.Settlement) metricView {
	total := float64(r.TotalMS())
	v := metricView{At: r.EndedAt.UTC(), Requests: 1, Failed: 1, AvgTime: total, P50Time: &total, P95Time: &total, Bytes: r.Bytes,
		Input: r.Tokens.TotalInput(), Output: r.Tokens.Output}
	if r.Success() {
		v.Success, v.Failed = 1, 0
	}
	if r.FirstByteMS > 0 {
		first := float64(r.FirstByteMS)
		v.AvgFirst, v.P50First, v.P95First, v.AvgStream = first, &first, &first, float64(r.StreamMillis)
	}
	return v
}
