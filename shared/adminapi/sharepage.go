package adminapi

import (
	"net/http"
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
)

// monitorPath begins the address of a share that people are given.
const monitorPath = "/monitor/share/"

// sharePage serves the address of a share: a page to browsers, the same as JSON to all else.
func (a *API) sharePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "method not allowed"))
		return
	}
	c := &call{a: a, w: w, r: r}
	err := c.enterByShare(strings.TrimPrefix(r.URL.Path, monitorPath))
	var v *dashboardView
	if err == nil {
		v, err = c.dashboard(c.share.Account, true)
	}
	if store.Missing(err) {
		err = errNoShare
	}
	switch e := core.AsError(err); {
	case err == nil && wantsPage(r):
		writePage(w, http.StatusOK, monitorPage(v))
	case err == nil:
		_ = c.ok(v)
	case wantsPage(r) && e.Code != core.CodeInternal:
		retryAfter(w, e)
		writePage(w, e.Code.Status(), refusalPage(e.Message))
	default:
		c.fail(err)
	}
}

func refusalPage(why string) string {
	var m markup
	m.add(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Sluice</title></head>
<body><main><h1>Sluice</h1><p role="alert">%s</p></main></body></html>
`, why)
	return m.String()
}

// monitorPage shows the nodes of an account, and asks for itself again from time to time.
func monitorPage(v *dashboardView) string {
	var m markup
	m.add(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="refresh" content="30"><title>Sluice: %s</title></head>
<body><main><h1>%s</h1>
<table><thead><tr><th>Node</th><th>Status</th><th>Requests</th><th>Succeeded</th><th>Mean time</th><th>Last check</th></tr></thead><tbody>
`, v.Name, v.Name)
	for i := range v.Nodes {
		n := &v.Nodes[i]
		status, checked := n.Status, "not yet"
		if n.LastError != "" && n.Status != string(core.Online) {
			status += ": " + n.LastError
		}
		if n.Health.At != nil {
			checked = n.Health.Status + ", " + n.Health.At.Format("2006-01-02 15:04:05 MST")
		}
		m.add(`<tr><td>%s</td><td>%s</td><td>%s</td><td>%s %</td><td>%s ms</td><td>%s</td></tr>
`, n.Name, status, strconv.FormatInt(n.Traffic.Total, 10), strconv.FormatFloat(n.Traffic.Rate, 'f', 1, 64), strconv.FormatInt(n.Traffic.AvgTime, 10), checked)
	}
	m.add(`</tbody></table>
<p>As of %s.</p>
</main></body></html>
`, v.Updated.Format("2006-01-02 15:04:05 MST"))
	return m.String()
}
