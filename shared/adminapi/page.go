package adminapi

import (
	"html/template"
	"net/http"

	"sluice/shared/core"
)

var loginPage = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Sluice: sign in</title></head>
<body><main><h1>Sluice</h1>
{{with .Error}}<p role="alert"><strong>{{.}}</strong></p>{{end}}
<form method="post" action="{{.Action}}"><h2>With an admin key</h2>
<p><label>Admin key <input type="password" name="admin_key" autocomplete="off" required></label> <button>Sign in</button></p></form>
<form method="post" action="{{.Action}}"><h2>With a password</h2>
<p><label>Account <input name="username" value="{{.Username}}" autocomplete="username" required></label></p>
<p><label>Password <input type="password" name="password" autocomplete="current-password" required></label> <button>Sign in</button></p></form>
</main></body></html>
`))

var adminPage = template.Must(template.New("admin").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Sluice</title></head>
<body><main><h1>Sluice {{.Version}}</h1>
<p>Signed in to account <strong>{{.Account}}</strong>{{if .Admin}} as administrator{{end}}.</p>
<h2>Nodes</h2>
{{if .Nodes}}<table><thead><tr><th>Id</th><th>Name</th><th>Kind</th><th>Base URL</th><th>Weight</th><th>State</th></tr></thead><tbody>
{{range .Nodes}}<tr><td>{{.ID}}</td><td>{{.Name}}</td><td>{{.Kind}}</td><td>{{.BaseURL}}</td><td>{{.Weight}}</td><td>{{.State}}</td></tr>
{{end}}</tbody></table>{{else}}<p>This account has no node yet. Add one with <code>POST /admin/api/nodes</code>.</p>{{end}}
<form method="post" action="{{.Logout}}"><button>Sign out</button></form>
</main></body></html>
`))

func writePage(w http.ResponseWriter, status int, t *template.Template, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = t.Execute(w, data) // the status is out; a client that left is the only way to fail
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
			http.Redirect(w, r, a.Link("/admin"), http.StatusSeeOther)
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
			http.Redirect(w, r, a.Link("/login"), http.StatusSeeOther)
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
	writePage(w, http.StatusOK, adminPage, map[string]any{"Version": a.o.Version, "Account": c.who.account, "Admin": c.who.admin,
		"Nodes": nodes, "Logout": a.Link("/logout")})
}
