package adminapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/web"
)

const (
	auditTime   = 5 * time.Second // that an entry may take to be written
	maxRefusals = 30              // entries a minute and caller that tell of refused calls
	maxLoginLog = 5               // and a minute and address that tell of failed logins
)

// action is what the audit log calls a call.
type action struct {
	name  string
	noun  string // the kind of the object
	quiet bool   // a call that changed nothing gets no entry: it is made again and again
}

// actionOf is the action of a call; false: it is none that the log tells of. Every call that may change something is one,
// whether it is in the table or not, and so are readings of what is more than settings.
func actionOf(method, pattern string) (action, bool) {
	if a, ok := actions()[method+" "+pattern]; ok {
		return a, true
	}
	if method == http.MethodGet || method == http.MethodHead {
		return action{}, false
	}
	return action{name: strings.ToLower(method) + " " + pattern, noun: "route"}, true
}

func actions() map[string]action {
	const node, key, account, installation = store.KindNode, store.KindKey, store.KindAccount, "installation"
	return map[string]action{
		"POST /admin/api/accounts":       {"account.create", account, false},
		"PUT /admin/api/accounts":        {"account.update", account, false},
		"DELETE /admin/api/accounts":     {"account.delete", account, false},
		"PUT /admin/api/config":          {"settings.update", account, false},
		"DELETE /admin/api/sessions":     {"logout.everywhere", store.KindSession, false},
		"POST /admin/api/nodes":          {"node.create", node, false},
		"PUT /admin/api/nodes":           {"node.update", node, false},
		"DELETE /admin/api/nodes":        {"node.delete", node, false},
		"POST /admin/api/nodes/activate": {"node.activate", node, false},
		"POST /admin/api/nodes/disable":  {"node.disable", node, false},
		"POST /admin/api/nodes/enable":   {"node.enable", node, false},
		"POST /admin/api/nodes/check":    {"node.check", node, false},
		"POST /admin/api/keys":           {"key.create", key, false},
		"PUT /admin/api/keys":            {"key.update", key, false},
		"DELETE /admin/api/keys":         {"key.delete", key, false},
		"POST /admin/api/keys/rotate":    {"key.rotate", key, false},

		"POST " + apiKeysPath:                  {"key.create", key, false},
		"PUT " + apiKeysPath + "/{id}":         {"key.update", key, false},
		"DELETE " + apiKeysPath + "/{id}":      {"key.delete", key, false},
		"POST " + apiKeysPath + "/{id}/revoke": {"key.revoke", key, false},

		"POST " + accountsPath:                         {"node.create", node, false},
		"PUT " + accountsPath + "/{id}":                {"node.update", node, false},
		"DELETE " + accountsPath + "/{id}":             {"node.delete", node, false},
		"POST " + accountsPath + "/{id}/refresh-token": {"node.refresh_token", node, false},
		"POST " + accountsPath + "/upload-json":        {"node.import", node, false},
		"POST " + accountsPath + "/import":             {"node.import", node, false},
		"POST " + accountsPath + "/login":              {"node.login_begin", node, false},
		"POST " + accountsPath + "/login/{id}":         {"node.login", node, true},

		"POST " + sharesPath:                           {"share.create", store.KindShare, false},
		"DELETE " + sharesPath + "/{id}":               {"share.revoke", store.KindShare, false},
		"POST " + notifyPath + "/channels":             {"channel.create", store.KindChannel, false},
		"PUT " + notifyPath + "/channels/{id}":         {"channel.update", store.KindChannel, false},
		"DELETE " + notifyPath + "/channels/{id}":      {"channel.delete", store.KindChannel, false},
		"POST " + notifyPath + "/test":                 {"channel.test", store.KindChannel, false},
		"POST " + notifyPath + "/subscriptions":        {"subscription.create", store.KindSubscription, false},
		"PUT " + notifyPath + "/subscriptions/{id}":    {"subscription.update", store.KindSubscription, false},
		"DELETE " + notifyPath + "/subscriptions/{id}": {"subscription.delete", store.KindSubscription, false},
		"POST " + rulesPath:                            {"rule.create", store.KindAlertRule, false},
		"PUT " + rulesPath + "/{id}":                   {"rule.update", store.KindAlertRule, false},
		"DELETE " + rulesPath + "/{id}":                {"rule.delete", store.KindAlertRule, false},

		"POST /api/usage/cleanup":         {"usage.cleanup", installation, false},
		"POST /api/metrics/aggregate":     {"usage.aggregate", installation, false},
		"POST /api/metrics/cleanup":       {"usage.retention", installation, false},
		"POST " + pricingPath:             {"price.update", "prices", false},
		"DELETE " + pricingPath:           {"price.delete", "prices", false},
		"POST " + pricingPath + "/import": {"price.import", "prices", false},
		"PUT " + compatPath:               {"compat.update", "compat", false},
		"POST " + compatRowsPath:          {"compat.update", "compat", false},
		"PUT " + compatRowsPath:           {"compat.update", "compat", false},
		"DELETE " + compatRowsPath:        {"compat.update", "compat", false},

		"GET " + auditPath + "/export": {"audit.export", "audit", false},
		"GET " + bodiesPath:            {"capture.read", "capture", false},
	}
}

// keysPattern is the pattern of a path below apiKeysPath, and what stands for {id} in it.
func keysPattern(rest string) (pattern, id string) {
	id, verb, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	if id == "" {
		return apiKeysPath, ""
	}
	if verb != "" {
		verb = "/" + verb
	}
	return apiKeysPath + "/{id}" + verb, id
}

// do lets a caller in by enter and serves the call. What it changes, and what it is refused, goes into the audit log: here
// alone, for all routes. The entry is written after the change, and before the call ends: a process that dies between the two
// leaves a change without an entry.
func (c *call) do(pattern string, enter func() error, serve func(*call) error) (err error) {
	act, ok := actionOf(c.r.Method, pattern)
	if !ok || c.a.o.Audit == nil {
		if err = enter(); err == nil {
			err = serve(c)
		}
		return err
	}
	if err = enter(); err != nil {
		c.record(c.r, act, nil, err)
		return err
	}
	ctx, trail := audit.With(c.r.Context())
	c.r = c.r.WithContext(ctx)
	r, ended := c.r, false
	defer func() {
		if !ended { // a panic, whose recovery answers 500
			c.record(r, act, trail, core.E(core.CodeInternal, "panic"))
		}
	}()
	err = serve(c)
	ended = true
	c.record(r, act, trail, err)
	return err
}

// record writes the entry of a call. Whom nobody knows gets none.
func (c *call) record(r *http.Request, act action, t *audit.Trail, err error) {
	e := audit.Entry{Actor: c.who.actor, Action: act.name, Result: audit.ResultOK, Object: audit.Object{Kind: act.noun, ID: c.askedFor()}, Account: c.who.account}
	if err != nil {
		if e.Result, e.Code = audit.ResultRefused, string(c.answerTo(err).Code); e.Code == string(core.CodeUnauthenticated) {
			return
		}
	} else if id := r.URL.Query().Get("account_id"); id != "" && c.who.admin {
		e.Account = id
	}
	if e.Account == "" {
		e.Account = e.Actor.Account
	}
	changed := t != nil && t.Changed()
	if t != nil {
		c.a.o.Audit.Describe(&e, t, act.noun, err == nil)
	}
	switch {
	case changed:
	case act.quiet && err == nil:
		return
	case err != nil && !c.a.refusals.Pass(subjectOf(&e, r), &e):
		return
	case err == nil && !c.who.admin && !c.a.idle.Pass(subjectOf(&e, r), &e): // a tenant must not fill a store with nothing
		return
	}
	c.a.write(r, e)
}

// askedFor is the id that the call names, whether there is such an object or not.
func (c *call) askedFor() string {
	id := c.id
	if id == "" {
		id = c.r.URL.Query().Get("id")
	}
	if len(id) > maxID {
		return ""
	}
	return id
}

// subjectOf is whose refusals are counted together.
func subjectOf(e *audit.Entry, r *http.Request) string {
	if a := &e.Actor; a.Kind != "" && a.Kind != audit.ActorAnonymous {
		return a.Kind + " " + a.Account + " " + a.Key
	}
	return networkOf(r)
}

// networkOf is the address that a request came from, of IPv6 the network: one client can take any address of it.
func networkOf(r *http.Request) string {
	addr := web.FromContext(r.Context()).Client
	if addr.Is6() && !addr.Is4In6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.Unmap().String()
}

// write completes an entry and appends it, whatever became of the caller. That it cannot be written is no reason for the call
// to fail: the change is made. The operator hears of it.
func (a *API) write(r *http.Request, e audit.Entry) {
	if a.o.Audit == nil {
		return
	}
	info := web.FromContext(r.Context())
	if info.Client.IsValid() {
		e.Address = info.Client.Unmap().String()
	}
	e.Agent, e.Request = r.UserAgent(), info.ID
	if e.Actor.Kind == "" {
		e.Actor.Kind = audit.ActorAnonymous
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditTime)
	defer cancel()
	_, err := a.o.Audit.Append(ctx, e)
	if err == nil {
		return
	}
	a.o.Log.Error("a change has no entry in the audit log", "request_id", info.ID, "action", e.Action, "account", e.Account, "error", err)
	if a.o.Events != nil {
		lost := core.Event{Type: core.EventSystemError, Subject: "audit log", At: a.o.Now().UTC(),
			Text: "The audit log could not be written: a change of the administration has no entry. The gateway's log tells which."}
		if err := a.o.Events.Emit(ctx, lost); err != nil {
			a.o.Log.Warn("nobody will be notified of the audit log's failure", "request_id", info.ID, "error", err)
		}
	}
}

// answerTo is the error that a call answers with.
func (c *call) answerTo(err error) *core.Error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return core.E(core.CodeNotFound, "not found")
	case errors.Is(err, store.ErrConflict):
		return core.E(core.CodeConflict, "changed by someone else at the same time; send the request again")
	}
	return core.AsError(err)
}

// attempt is a login under way, as far as it is known who it is.
type attempt struct {
	who     audit.Actor
	account string
	link    bool // by a link, which anybody may have sent
}

// recordLogin writes the entry of a login that was made or refused. Failed ones are bounded by address, so that a flood of them
// fills no store: the last of a minute says that more may follow, and the next minute's first how many did.
func (a *API) recordLogin(r *http.Request, at *attempt, err error) {
	e := audit.Entry{Actor: at.who, Action: "login.ok", Object: audit.Object{Kind: store.KindSession}, Account: at.account, Result: audit.ResultOK}
	if err != nil {
		code := core.AsError(err).Code
		if code == core.CodeInvalid || code == core.CodeTooLarge || code == core.CodeConflict {
			return // nothing was tried, or is asked first
		}
		e.Action, e.Result, e.Code = "login.failed", audit.ResultRefused, string(code)
		if !a.badLogins.Pass(networkOf(r), &e) {
			return
		}
	}
	a.write(r, e)
}
