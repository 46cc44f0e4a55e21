// Package adminapi is the management API: accounts, nodes, keys, settings and usage, at the paths and with the fields of
// the older systems' guides, and the ways to sign in. Errors are {"error":"..."}; times are RFC 3339 in UTC.
//
// It has more than 1,500 lines because it is one flat list of routes over the same caller and the same errors; a file per
// noun keeps it in order.
package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/notify"
	"sluice/shared/store"
	"sluice/shared/web"
)

// Box seals and opens node credentials and hashes keys.
type Box interface {
	Seal(owner string, s core.Secret) core.Sealed
	Open(owner string, v core.Sealed) (core.Secret, error)
	Hash(credential string) string
}

// Options are what the API is made of.
type Options struct {
	Tables    *store.Tables
	Usage     store.Usage
	Directory *directory.Directory
	Health    *health.Tracker
	Box       Box
	Kinds     []core.Kind // of nodes that can be made
	Pool      Pool        // what speaks to Amazon Q; nil: the routes that need it answer 503
	Docs      store.Docs  // where device logins are kept; nil: none can begin
	Checker   Checker     // tests nodes when a call asks for it; nil: that route answers 503
	Events    Events      // hears of edits of nodes; nil: nobody does
	Notify    *notify.Hub // of channels, subscriptions and alert rules; nil: their routes answer 503
	// SweepEvery is how often all nodes are checked: a check older than twice that is shown as stale. 0: they never are, and
	// no check is too old.
	SweepEvery time.Duration
	AdminKey   core.Secret // ADMIN_API_KEY; empty: unset
	Control    core.Secret // credential of commands on this machine; empty: none
	PublicURL  string
	Defaults   Defaults
	Version    string
	Log        *slog.Logger
	Now        func() time.Time
}

// Defaults are the gateway's settings that an account may override.
type Defaults struct{ Retries, FailLimit, HealthSec int }

// API is the http.Handler. It is safe for concurrent use.
type API struct {
	o        Options
	mux      map[string]route
	logins   *store.Table[login] // nil without Options.Docs
	making   chan struct{}       // holds one: pool accounts are made one at a time, or two could have one name
	throttle *directory.Throttle // of logins
	badKeys  *directory.Throttle
	cop      *http.CrossOriginProtection

	gate      *checkGate
	trends    trends
	badShares *directory.Throttle // unknown tokens of shares
	views     *directory.Throttle // calls by token, good ones, too
}

// route is one path: a handler for each method.
type route map[string]func(*call) error

// call is one request to the API.
type call struct {
	a   *API
	w   http.ResponseWriter
	r   *http.Request
	who caller
	id  string // what stood for {id} in the path

	share *core.Share // by whose token it came, without a login; nil: it has one
}

// New makes the API.
func New(o Options) *API {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &API{o: o, gate: newCheckGate(), badShares: directory.NewThrottle(maxBadShares, o.Now), views: directory.NewThrottle(maxViews, o.Now), making: make(chan struct{}, 1), throttle: directory.NewThrottle(maxLogins, o.Now), badKeys: directory.NewThrottle(directory.MaxBadKeys, o.Now), cop: http.NewCrossOriginProtection()}
	if u, err := url.Parse(o.PublicURL); err == nil && u.Host != "" {
		// behind a proxy that changes Host, this is what browsers name as their origin; config has checked it
		_ = a.cop.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	a.mux = map[string]route{
		"/admin/api/accounts":       {"GET": (*call).listAccounts, "POST": (*call).createAccount, "PUT": (*call).updateAccount, "DELETE": (*call).deleteAccount},
		"/admin/api/nodes":          {"GET": (*call).listNodes, "POST": (*call).createNode, "PUT": (*call).updateNode, "DELETE": (*call).deleteNode},
		"/admin/api/nodes/activate": {"POST": (*call).activateNode},
		"/admin/api/nodes/disable":  {"POST": func(c *call) error { return c.switchNode(true) }},
		"/admin/api/nodes/enable":   {"POST": func(c *call) error { return c.switchNode(false) }},
		"/admin/api/nodes/check":    {"POST": (*call).checkNode},
		"/admin/api/config":         {"GET": (*call).getConfig, "PUT": (*call).putConfig},
		"/admin/api/keys":           {"GET": (*call).listKeys, "POST": (*call).createKey, "PUT": (*call).updateKey, "DELETE": (*call).deleteKey},
		"/admin/api/keys/rotate":    {"POST": (*call).rotateKey},
		"/api/usage/summary":        {"GET": (*call).usageSummary},
		"/api/usage/logs":           {"GET": (*call).usageLogs},

		accountsPath:                         {"GET": (*call).listPool, "POST": (*call).createPool},
		accountsPath + "/{id}":               {"GET": (*call).showPool, "PUT": (*call).updatePool, "DELETE": (*call).deletePool},
		accountsPath + "/{id}/refresh-token": {"POST": (*call).refreshPool},
		accountsPath + "/{id}/stats":         {"GET": (*call).poolStats},
		accountsPath + "/{id}/quota":         {"GET": (*call).poolQuota},
		accountsPath + "/upload-json":        {"POST": (*call).uploadPool},
		accountsPath + "/import":             {"POST": (*call).importPool},
		accountsPath + "/login":              {"POST": (*call).beginLogin},
		accountsPath + "/login/{id}":         {"POST": (*call).pollLogin},
		statsPath + "/accounts":              {"GET": (*call).statsAccounts},
		statsPath + "/api-keys":              {"GET": (*call).statsKeys},
		statsPath + "/tokens":                {"GET": (*call).statsTokens},
		statsPath + "/account-usage":         {"GET": (*call).statsUsage},

		historyPath:                        {"GET": (*call).nodeHistory},
		"/api/monitor/dashboard":           {"GET": (*call).showDashboard},
		sharePath + "/{id}":                {"GET": (*call).sharedDashboard, "HEAD": (*call).sharedDashboard}, // net/http leaves the body out
		sharesPath:                         {"GET": (*call).listShares, "POST": (*call).createShare},
		sharesPath + "/{id}":               {"DELETE": (*call).revokeShare},
		notifyPath + "/channels":           {"GET": (*call).listChannels, "POST": (*call).createChannel},
		notifyPath + "/channels/{id}":      {"PUT": (*call).updateChannel, "DELETE": (*call).deleteChannel},
		notifyPath + "/subscriptions":      {"GET": (*call).listSubscriptions, "POST": (*call).subscribe},
		notifyPath + "/subscriptions/{id}": {"PUT": (*call).updateSubscription, "DELETE": (*call).unsubscribe},
		notifyPath + "/event-types":        {"GET": (*call).eventTypes},
		notifyPath + "/test":               {"POST": (*call).testChannel},
		notifyPath + "/history":            {"GET": (*call).notifyHistory},
		rulesPath:                          {"GET": (*call).listRules, "POST": (*call).createRule},
		rulesPath + "/{id}":                {"PUT": (*call).updateRule, "DELETE": (*call).deleteRule},
	}
	if o.Docs != nil {
		a.logins = store.NewTable(o.Docs, store.KindLogin, o.Now, func(l *login) store.Meta {
			return store.Meta{ID: l.ID, Account: l.Account, Expires: l.ExpiresAt.Add(loginGrace)}
		})
	}
	return a
}

// route finds the route of a path: its pattern, and what stands for {id} in it.
func (a *API) route(path string) (rt route, pattern, id string) {
	if rt, ok := a.mux[path]; ok {
		return rt, path, ""
	}
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i >= max(3, len(parts)-2); i-- { // {id} is last, or before a verb
		id := parts[i]
		parts[i] = "{id}"
		pattern := strings.Join(parts, "/")
		if rt, ok := a.mux[pattern]; ok && id != "" && id != "{id}" {
			return rt, pattern, id
		}
		parts[i] = id
	}
	return nil, "", ""
}

// Handles reports whether the API or its pages serve the path.
func Handles(path string) bool {
	for _, p := range []string{"/admin", "/login", "/logout", "/api", "/monitor/share"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return path != "/api/hello"
		}
	}
	return false
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	switch r.URL.Path {
	case "/login":
		a.login(w, r)
		return
	case "/logout":
		a.logout(w, r)
		return
	case "/admin", "/admin/", "/admin/dashboard":
		a.page(w, r)
		return
	}
	if r.URL.Path == accountsPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) && wantsPage(r) {
		a.page(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, monitorPath) {
		a.sharePage(w, r)
		return
	}
	h := w.Header()
	h["Cache-Control"] = []string{"no-store"}
	if rest, ok := strings.CutPrefix(r.URL.Path, apiKeysPath); ok && (rest == "" || rest[0] == '/') {
		c := &call{a: a, w: w, r: r}
		err := a.identify(c)
		if err == nil {
			err = c.apiKeys(rest)
		}
		if err != nil {
			c.fail(err)
		}
		return
	}
	rt, pattern, id := a.route(r.URL.Path)
	if rt == nil {
		WriteError(w, r, core.E(core.CodeNotFound, "no such endpoint"))
		return
	}
	serve := rt[r.Method]
	if serve == nil {
		var allow []string
		for m := range rt {
			allow = append(allow, m)
		}
		slices.Sort(allow)
		h.Set("Allow", strings.Join(allow, ", "))
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "method not allowed"))
		return
	}
	c := &call{a: a, w: w, r: r, id: id}
	var err error
	if token, ok := shareToken(r, pattern, id); ok {
		err = c.enterByShare(token)
	} else {
		err = a.identify(c)
	}
	if err == nil {
		err = serve(c)
	}
	if err != nil {
		c.fail(err)
	}
}

// secure sets the headers that every answer of the API and its pages has.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
}

func (c *call) fail(err error) {
	switch {
	case err == errUnauthorized && olderPool(c.r.URL.Path):
		c.w.Header().Set("WWW-Authenticate", "Bearer")
		err = core.E(core.CodeUnauthenticated, "an admin key is needed, and none that is known came with the call; send it as the header "+
			`"Authorization: Bearer <admin key>" or as "x-admin-key"`)
	case errors.Is(err, store.ErrNotFound):
		err = core.E(core.CodeNotFound, "not found")
	case errors.Is(err, store.ErrConflict):
		err = core.E(core.CodeConflict, "changed by someone else at the same time; send the request again")
	}
	e := core.AsError(err)
	if e.Code == core.CodeInternal {
		c.a.o.Log.Error("admin request failed", "request_id", web.FromContext(c.r.Context()).ID, "path", web.LoggedPath(c.r.URL.Path), "error", err)
	}
	WriteError(c.w, c.r, e)
}

// olderPool reports whether a path is one that the older Amazon Q pool had.
func olderPool(path string) bool {
	for _, p := range []string{apiKeysPath, accountsPath, statsPath} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// WriteError answers with {"error":"..."}; the older pool's routes say the same as "detail", too, as its clients know it.
func WriteError(w http.ResponseWriter, r *http.Request, e *core.Error) {
	web.FromContext(r.Context()).ErrorCode = string(e.Code)
	retryAfter(w, e)
	body := map[string]string{"error": e.Message}
	if olderPool(r.URL.Path) {
		body["detail"] = e.Message
	}
	if e.Kind == errNoShare.Kind {
		body["code"] = e.Kind
	}
	writeJSON(w, e.Code.Status(), body)
}

func retryAfter(w http.ResponseWriter, e *core.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

func (c *call) ok(v any) error {
	writeJSON(c.w, http.StatusOK, v)
	return nil
}

func (c *call) created(v any) error {
	writeJSON(c.w, http.StatusCreated, v)
	return nil
}

func bad(message string) error { return core.E(core.CodeInvalid, message) }

// maxInput bounds a request body of the API.
const maxInput = 1 << 20

// decode reads the JSON body into v. Unknown fields are ignored, as older clients send some.
func (c *call) decode(v any) error {
	data, err := c.body()
	if err != nil {
		return err
	}
	return parse(data, v)
}

// optional is decode for a body that may be missing.
func (c *call) optional(v any) error {
	data, err := c.body()
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	return parse(data, v)
}

func parse(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		var t *json.UnmarshalTypeError
		switch {
		case errors.As(err, &t) && t.Field != "":
			return bad(fieldName(t.Field) + ": must be " + typeName(t.Type.Kind().String()) + ", not " + t.Value)
		case errors.As(err, &t):
			return bad("request body must be a JSON object, not " + t.Value)
		}
		return bad("request body is not valid JSON")
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return bad("request body must be a JSON object, not null")
	}
	return nil
}

// body reads the body within its bound.
func (c *call) body() ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxInput))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, core.E(core.CodeTooLarge, "request body is larger than 1 MiB")
	case err != nil:
		return nil, bad("request body could not be read")
	}
	return data, nil
}

// fieldName is a field as calls name it: without the Go names of what it is embedded in.
func fieldName(path string) string {
	for _, p := range []string{"limitsInput.", "amazonQInput."} {
		path = strings.TrimPrefix(path, p)
	}
	return path
}

func typeName(kind string) string {
	switch kind {
	case "int", "int64":
		return "a whole number"
	case "bool":
		return "true or false"
	case "string":
		return "a string"
	case "slice":
		return "a list"
	}
	return "an object"
}
