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

	"sluice/shared/audit"
	"sluice/shared/compatbook"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/notify"
	"sluice/shared/prices"
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
	Budgets   store.Budgets // are held to what Usage says
	Directory *directory.Directory
	Health    *health.Tracker
	Box       Box
	Kinds     []core.Kind // of nodes that can be made
	Pool      Pool        // what speaks to Amazon Q; nil: the routes that need it answer 503
	Capture   Capture     // of bodies; nil: none is possible
	Docs      store.Docs  // where device logins are kept; nil: none can begin
	Checker   Checker     // tests nodes when a call asks for it; nil: that route answers 503
	Events    Events      // hears of edits of nodes; nil: nobody does
	Notify    *notify.Hub // of channels, subscriptions and alert rules; nil: their routes answer 503
	// Environment are the settings that administrators are shown, grouped by category, secrets masked.
	Environment []config.Variable
	// SweepEvery is how often all nodes are checked: a check older than twice that is shown as stale. 0: they never are, and
	// no check is too old.
	SweepEvery time.Duration
	AdminKey   core.Secret // ADMIN_API_KEY; empty: unset
	Control    core.Secret // credential of commands on this machine; empty: none
	PublicURL  string
	Keep       store.Retention // of usage, as configured; the zero value: for ever
	Defaults   Defaults
	Version    string
	Zone       *time.Location // where days of budgets begin; nil: UTC
	Audit      *audit.Log     // of who changed what; nil: it is not written, and its routes answer 503
	Log        *slog.Logger
	Now        func() time.Time
	// Prices are the lists of prices; nil: one of its own, which no other handler looks into.
	Prices *prices.Book
	// Compat is the compatibility table of nodes of Amazon Bedrock; nil: one of its own, as with Prices.
	Compat *compatbook.Book
	Region string // AWS's, of the machine: see bedrock.Options; empty: not known
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
	uses      uses
	exports   *exportGate
	refusals  *audit.Gate         // entries of refused calls
	idle      *audit.Gate         // and of tenants' calls that changed nothing
	badLogins *audit.Gate         // and of failed logins
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
	if o.Prices == nil {
		o.Prices = prices.New(prices.Options{Tables: o.Tables, Now: o.Now, Log: o.Log})
	}
	if o.Compat == nil {
		o.Compat = compatbook.New(compatbook.Options{Tables: o.Tables, Now: o.Now, Log: o.Log})
	}
	a := &API{o: o, gate: newCheckGate(), exports: newExportGate(), badShares: directory.NewThrottle(maxBadShares, o.Now), views: directory.NewThrottle(maxViews, o.Now), making: make(chan struct{}, 1), throttle: directory.NewThrottle(maxLogins, o.Now), badKeys: directory.NewThrottle(directory.MaxBadKeys, o.Now), cop: http.NewCrossOriginProtection()}
	if u, err := url.Parse(o.PublicURL); err == nil && u.Host != "" {
		// behind a proxy that changes Host, this is what browsers name as their origin; config has checked it
		_ = a.cop.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	a.refusals, a.idle, a.badLogins = audit.NewGate(maxRefusals, o.Now), audit.NewGate(maxRefusals, o.Now), audit.NewGate(maxLoginLog, o.Now)
	a.mux = map[string]route{
		"/admin/api/me":             {"GET": (*call).showMe},
		"/admin/api/sessions":       {"DELETE": (*call).endSessions},
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
		bodiesPath:                  {"GET": (*call).showBodies},
		exportPath:                  {"GET": (*call).usageExport},
		"/api/usage/cleanup":        {"POST": (*call).cleanUsage},
		"/api/metrics/aggregate":    {"POST": (*call).aggregateUsage},
		"/api/metrics/cleanup":      {"POST": (*call).cleanMetrics},
		nodeMetricsPath:             {"GET": (*call).nodeMetrics},
		accountMetricsPath:          {"GET": (*call).accountMetrics},
		"/api/usage/budgets":        {"GET": (*call).listBudgets},

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

		pricingPath:             {"GET": (*call).listPrices, "POST": (*call).setPrice, "DELETE": (*call).endPrice},
		pricingPath + "/import": {"POST": (*call).importPrices},
		compatPath:              {"GET": (*call).showCompat, "PUT": (*call).setCompat},
		compatRowsPath:          {"POST": (*call).addCompatRow, "PUT": (*call).changeCompatRow, "DELETE": (*call).removeCompatRow},

		envPath:                            {"GET": (*call).envVars},
		envPath + "/categories":            {"GET": (*call).envCategories},
		historyPath:                        {"GET": (*call).nodeHistory},
		"/api/monitor/dashboard":           {"GET": (*call).showDashboard},
		sharePath + "/{id}":                {"GET": (*call).sharedDashboard, "HEAD": (*call).sharedDashboard}, // net/http leaves the body out
		sharesPath:                         {"GET": (*call).listShares, "POST": (*call).createShare},
		sharesPath + "/{id}":               {"DELETE": (*call).revokeShare},
		auditPath:                          {"GET": (*call).listAudit},
		auditPath + "/export":              {"GET": (*call).exportAudit},
		auditPath + "/verify":              {"GET": (*call).verifyAudit},
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
	w.Header()["Cache-Control"] = []string{"no-store"}
	switch r.URL.Path {
	case "/login":
		a.login(w, r)
		return
	case "/logout":
		a.logout(w, r)
		return
	case "/admin", "/admin/", "/admin/dashboard":
		a.home(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, monitorPath) {
		a.sharePage(w, r)
		return
	}
	h := w.Header()
	if rest, ok := strings.CutPrefix(r.URL.Path, apiKeysPath); ok && (rest == "" || rest[0] == '/') {
		pattern, id := keysPattern(rest)
		c := &call{a: a, w: w, r: r, id: id}
		if err := c.do(pattern, func() error { return a.identify(c) }, func(c *call) error { return c.apiKeys(rest) }); err != nil {
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
	enter := func() error { return a.identify(c) }
	if token, ok := shareToken(r, pattern, id); ok {
		enter = func() error { return c.enterByShare(token) }
	}
	if err := c.do(pattern, enter, serve); err != nil {
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
	if err == errUnauthorized && olderPool(c.r.URL.Path) {
		c.w.Header().Set("WWW-Authenticate", "Bearer")
		err = core.E(core.CodeUnauthenticated, "an admin key is needed, and none that is known came with the call; send it as the header "+
			`"Authorization: Bearer <admin key>" or as "x-admin-key"`)
	}
	e := c.answerTo(err)
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
			kind := t.Type.Kind().String()
			if typeName(kind) == wholeNumber && isWhole(t.Value) {
				return bad(fieldName(t.Field) + ": must be a whole number of at most 18 digits")
			}
			return bad(fieldName(t.Field) + ": must be " + typeName(kind) + ", not " + valueName(t.Value))
		case errors.As(err, &t):
			return bad("request body must be a JSON object, not " + valueName(t.Value))
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
	for _, p := range []string{"limitsInput.", "amazonQInput.", "bedrockInput."} {
		path = strings.TrimPrefix(path, p)
	}
	return path
}

const wholeNumber = "a whole number"

func typeName(kind string) string {
	switch kind {
	case "int", "int64":
		return wholeNumber
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "string":
		return "a string"
	case "slice":
		return "a list"
	}
	return "an object"
}

// isWhole reports whether what was given is a whole number: one that is refused all the same has too many digits.
func isWhole(given string) bool {
	digits, ok := strings.CutPrefix(given, "number ")
	return ok && strings.Trim(digits, "-0123456789") == ""
}

const maxGiven = 20 // characters of a number that a message repeats

// valueName is what was given, in words for encoding/json's: of a number, the number itself.
func valueName(given string) string {
	switch given {
	case "number":
		return "a number"
	case "bool":
		return "true or false"
	case "string":
		return "a string"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	n := strings.TrimPrefix(given, "number ")
	if len(n) > maxGiven {
		n = n[:maxGiven] + "…"
	}
	return n
}
