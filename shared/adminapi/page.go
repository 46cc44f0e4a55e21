package adminapi

import (
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"

	"sluice/shared/core"
)

// The pages are put together by hand: a package that calls methods by name, as html/template does, makes the linker keep
// every method of the whole program, which makes a function's binary half as large again (a test watches over it).

// markup is a page in the making.
type markup struct{ strings.Builder }

// add appends html with each %s replaced by the next value, escaped for text and quoted attributes.
func (m *markup) add(format string, values ...string) {
	for _, v := range values {
		before, after, _ := strings.Cut(format, "%s")
		m.WriteString(before)
		m.WriteString(html.EscapeString(v))
		format = after
	}
	m.WriteString(format)
}

// loginPage shows the form; problem and username are those of an attempt that failed.
func loginPage(action, problem, username string) string {
	var m markup
	m.add(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Sluice: sign in</title></head>
<body><main><h1>Sluice</h1>
`)
	if problem != "" {
		m.add(`<p role="alert"><strong>%s</strong></p>`, problem)
	}
	m.add(`
<form method="post" action="%s"><h2>With an admin key</h2>
<p><label>Admin key <input type="password" name="admin_key" autocomplete="off" required></label> <button>Sign in</button></p></form>
<form method="post" action="%s"><h2>With a password</h2>
<p><label>Account <input name="username" value="%s" autocomplete="username" required></label></p>
<p><label>Password <input type="password" name="password" autocomplete="current-password" required></label> <button>Sign in</button></p></form>
</main></body></html>
`, action, action, username)
	return m.String()
}

// adminPage shows the caller's nodes.
func adminPage(version, logout string, who caller, nodes []nodeView) string {
	var m markup
	m.add(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Sluice</title></head>
<body><main><h1>Sluice %s</h1>
<p>Signed in to account <strong>%s</strong>`, version, who.account)
	if who.admin {
		m.add(` as administrator`)
	}
	m.add(`.</p>
<h2>Nodes</h2>
`)
	if len(nodes) == 0 {
		m.add(`<p>This account has no node yet. Add one with <code>POST /admin/api/nodes</code>.</p>`)
	} else {
		m.add(`<table><thead><tr><th>Id</th><th>Name</th><th>Kind</th><th>Base URL</th><th>Weight</th><th>State</th></tr></thead><tbody>
`)
		for _, n := range nodes {
			m.add(`<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>
`, n.ID, n.Name, string(n.Kind), n.BaseURL, strconv.Itoa(n.Weight), string(n.State))
		}
		m.add(`</tbody></table>`)
	}
	m.add(`
<form method="post" action="%s"><button>Sign out</button></form>
</main></body></html>
`, logout)
	return m.String()
}

func writePage(w http.ResponseWriter, status int, page string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, page) // the status is out; a client that left is the only way to fail
}

// page serves /admin. ?admin_key= is exchanged for a session and taken out of the address at once.
func (a *API) page(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "method not allowed"))
		return
	}
	c := &call{a: a, w: w, r: r}
	if key := r.URL.Query().Get("admin_key"); key != "" {
		err := a.throttled(r, func() error { return a.openByKey(w, r, key) })
		if err == nil {
			http.Redirect(w, r, a.Link(r, "/admin"), http.StatusSeeOther)
			return
		}
		e := core.AsError(err)
		if e.Code == core.CodeInternal {
			c.fail(err)
			return
		}
		a.refuse(w, r, e)
		return
	}
	if err := a.identify(c); err != nil {
		if core.AsError(err).Code == core.CodeUnauthenticated {
			http.Redirect(w, r, a.Link(r, "/login"), http.StatusSeeOther)
			return
		}
		c.fail(err)
		return
	}
	nodes, err := c.nodeViews(c.who.account)
	if err != nil {
		c.fail(err)
		return
	}
	writePage(w, http.StatusOK, adminPage(a.o.Version, a.Link(r, "/logout"), c.who, nodes))
}
