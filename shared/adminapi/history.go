package adminapi

import (
	"context"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

const (
	historyPath    = "/api/nodes/{id}/health-history"
	historyWindow  = 24 * time.Hour // when the call names no from
	defaultHistory = 300
	maxHistory     = 2000
)

// historyView is a node's history.
type historyView struct {
	Node   string      `json:"node_id"`
	From   time.Time   `json:"from"`
	To     time.Time   `json:"to"`
	Total  int         `json:"total"`  // in the window
	Checks []checkView `json:"checks"` // the newest of them, oldest first
}

// nodeHistory shows a node's checks and changes, to its account or to who has a link to the account's monitor.
func (c *call) nodeHistory() error {
	n, err := c.nodeSeen()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	from, err := queryTime(q, "from")
	if err != nil {
		return err
	}
	to, err := queryTime(q, "to")
	if err != nil {
		return err
	}
	limit, err := queryInt(q, "limit", defaultHistory, 1, maxHistory)
	if err != nil {
		return err
	}
	skip, err := queryInt(q, "offset", 0, 0, 100_000)
	if err != nil {
		return err
	}
	source := q.Get("source")
	if source != "" && !slices.Contains([]string{core.SourceProbe, core.SourceSweep, core.SourceWarmup, core.SourceManual, core.SourceTraffic}, source) {
		return bad("source: must be recovery, scheduled, warmup, manual or proxy_fail")
	}
	now := c.a.o.Now().UTC()
	if to.IsZero() {
		to = now
	}
	if from.IsZero() {
		from = to.Add(-historyWindow)
		if to.After(now) {
			from = now.Add(-historyWindow)
		}
	}
	if !from.Before(to) {
		return bad("from: must be before to")
	}
	found, err := c.history(c.r.Context(), &n, from, to, source)
	if err != nil {
		return err
	}
	out := historyView{Node: n.ID, From: from.UTC(), To: to.UTC(), Total: len(found), Checks: []checkView{}}
	last := max(0, len(found)-skip)
	for _, k := range found[max(0, last-limit):last] {
		v := viewCheck(k)
		if c.share != nil {
			v.Error = plainReason(v.Error)
		}
		out.Checks = append(out.Checks, v)
	}
	return c.ok(out)
}

// nodeSeen is the node that the path names, if the caller may look at it.
func (c *call) nodeSeen() (core.Node, error) {
	missing := core.E(core.CodeNotFound, "node not found")
	if !decimal(c.id) {
		return core.Node{}, missing
	}
	if c.share == nil {
		return c.node(c.id)
	}
	r, err := c.a.o.Tables.Nodes.Get(c.r.Context(), c.id)
	if err != nil && !store.Missing(err) {
		return core.Node{}, err
	}
	if err != nil || !shows(c.share, &r.Value) {
		return core.Node{}, missing
	}
	return r.Value, nil
}

// history reads the entries from from to before to, of one source or ("") of all. One listing, of the window's days alone.
func (c *call) history(ctx context.Context, n *core.Node, from, to time.Time, source string) ([]core.HealthCheck, error) {
	now := c.a.o.Now().UTC()
	if oldest := now.Add(-store.HistoryKept - 24*time.Hour); from.Before(oldest) {
		from = oldest
	}
	end := to
	if newest := now.Add(24 * time.Hour); end.After(newest) { // no later day can be there, by whichever clock
		end = newest
	}
	first, days := from.UTC().Truncate(24*time.Hour), 0
	for day := first; day.Before(end); day = day.Add(24 * time.Hour) {
		days++
	}
	if days == 0 {
		return nil, nil
	}
	rows, err := c.a.o.Tables.Days.Page(ctx, n.Account, store.DayID(n.ID, first.Add(-24*time.Hour).Format(time.DateOnly)), days)
	if err != nil {
		return nil, err
	}
	var found []core.HealthCheck
	for i := range rows {
		d := &rows[i].Value
		if d.Node != n.ID || d.Account != n.Account {
			break // the next node's
		}
		for _, k := range d.Checks {
			if !k.At.Before(from) && k.At.Before(to) && (source == "" || k.Source == source) {
				found = append(found, k)
			}
		}
	}
	return found, nil
}

// maxDayPage bounds a listing of days: each may hold 100 KB.
const maxDayPage = 40

// dropDays removes the history of a node that was deleted.
func (c *call) dropDays(n *core.Node) error {
	gone := c.a.o.Now().UTC().Add(-store.HistoryKept - 2*24*time.Hour).Format(time.DateOnly) // expired, and may fill the page
	rows, err := c.a.o.Tables.Days.Page(c.r.Context(), n.Account, store.DayID(n.ID, gone), maxDayPage)
	if err != nil {
		return err
	}
	for i := range rows {
		d := &rows[i].Value
		if d.Node != n.ID {
			break
		}
		if err := c.a.o.Tables.Days.Delete(c.r.Context(), store.DayID(d.Node, d.Day)); err != nil && !store.Missing(err) {
			return err
		}
	}
	return nil
}
