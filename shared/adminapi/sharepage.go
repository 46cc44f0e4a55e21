package adminapi

import (
	"net/http"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
)

// monitorPath begins the address of a share that people are given.
const monitorPath = "/monitor/share/"

// sharePage serves the address of a share to programs, as JSON: browsers get the console's page.
func (a *API) sharePage(w http.ResponseWriter, r *http.Request) {
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
	if err != nil {
		c.fail(err)
		return
	}
	_ = c.ok(v)
}
