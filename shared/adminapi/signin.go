package adminapi

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/web"
)

const (
	sessionCookie = "session_token"
	sessionTTL    = 24 * time.Hour
	maxLogins     = 10 // that fail, a minute and address
)

// caller is who makes a call.
type caller struct {
	admin   bool   // administers every account
	account string // own account; of the operator: the default one
	person  bool   // signed in with the account's password
	nodes   bool   // may manage own nodes
	actor   audit.Actor
}

var errUnauthorized = core.E(core.CodeUnauthenticated, "unauthorized")

// identify finds the caller: x-admin-key, Authorization: Bearer, x-api-key, else the session cookie.
func (a *API) identify(c *call) error {
	ctx, h, info := c.r.Context(), c.r.Header, web.FromContext(c.r.Context())
	var err error
	byKey := true
	switch bearer := h.Get("Authorization"); {
	case h.Get("X-Admin-Key") != "":
		c.who, err = a.byKey(ctx, h.Get("X-Admin-Key"), info)
		if err == nil && !c.who.admin {
			err = core.E(core.CodeForbidden, "this key is no admin key; send an account's own key as x-api-key")
		}
	case len(bearer) > 7 && strings.EqualFold(bearer[:7], "bearer "):
		c.who, err = a.byKey(ctx, strings.TrimSpace(bearer[7:]), info)
	case h.Get("X-Api-Key") != "":
		c.who, err = a.byKey(ctx, h.Get("X-Api-Key"), info)
	default:
		byKey = false
		c.who, err = a.bySession(c.r)
		if err == nil {
			if cerr := a.cop.Check(c.r); cerr != nil {
				err = core.E(core.CodeForbidden, "cross-origin request refused")
			}
		}
	}
	if byKey && err == errUnauthorized {
		if wait := a.badKeys.Take(info.Client); wait > 0 {
			err = &core.Error{Code: core.CodeRateLimited, RetryAfter: wait, Message: "too many wrong keys from this address; try again in a minute"}
		}
	}
	info.Account = c.who.account
	return err
}

// origin is where a request comes from.
func origin(info *web.Info) directory.Origin {
	return directory.Origin{Addr: info.Client, Direct: info.Direct}
}

func (a *API) byKey(ctx context.Context, credential string, info *web.Info) (caller, error) {
	if !a.o.Control.IsZero() && subtle.ConstantTimeCompare([]byte(credential), []byte(a.o.Control.Reveal())) == 1 {
		return caller{admin: true, account: core.DefaultAccount, nodes: true, actor: audit.Actor{Kind: audit.ActorControl, Account: core.DefaultAccount}}, nil
	}
	if len(credential) > 512 || !seal.WellFormed(credential) {
		return caller{}, errUnauthorized
	}
	var who caller
	for try := 0; ; try++ {
		p, err := a.o.Directory.Authenticate(ctx, credential, origin(info))
		if err != nil {
			if core.AsError(err).Code == core.CodeUnauthenticated {
				return caller{}, errUnauthorized
			}
			return caller{}, err
		}
		if who, err = a.callerOf(ctx, p, info); err == nil {
			break
		}
		if err != errUnauthorized || try > 0 {
			return caller{actor: who.actor}, err
		}
		// the directory's copy was old: the credential may be another key's by now
		a.o.Directory.Forget(p.Key)
	}
	if !who.admin && !who.nodes {
		return caller{actor: who.actor}, core.E(core.CodeForbidden, "this key may not use the admin API")
	}
	return who, nil
}

func (a *API) callerOf(ctx context.Context, p directory.Principal, info *web.Info) (caller, error) {
	if p.Operator {
		return operator(audit.ActorKey), nil
	}
	// the document itself, not a copy: a key revoked a moment ago must not manage anything
	k, err := a.o.Tables.Keys.Get(ctx, p.Key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return caller{}, errUnauthorized
	}
	if err != nil {
		return caller{}, err
	}
	if ok, _ := k.Value.Usable(a.o.Now()); !ok || !slices.Equal(k.Value.Hashes, p.Key.Hashes) {
		return caller{}, errUnauthorized
	}
	actor := audit.Actor{Kind: audit.ActorKey, Key: k.Value.ID, Prefix: k.Value.Prefix, Account: k.Value.Account, Name: k.Value.Name}
	if !k.Value.AllowsFrom(info.Client) {
		return caller{actor: actor}, core.E(core.CodeForbidden, "this key may not be used from this address")
	}
	who := caller{account: k.Value.Account, nodes: k.Value.Has(core.ScopeNodes), admin: k.Value.Has(core.ScopeAdmin), actor: actor}
	acct, err := a.o.Tables.Accounts.Get(ctx, k.Value.Account)
	if errors.Is(err, store.ErrNotFound) {
		return caller{}, errUnauthorized
	}
	if err != nil {
		return caller{}, err
	}
	if acct.Value.Admin && who.nodes {
		who.admin = true
	}
	return who, nil
}

// bySession finds the caller of a browser session. Rights are looked up anew each time: a session outlives neither the
// key nor the password it was opened with.
func (a *API) bySession(r *http.Request) (caller, error) {
	ck, err := r.Cookie(sessionCookie)
	if err != nil || ck.Value == "" || len(ck.Value) > 128 {
		return caller{}, errUnauthorized
	}
	ctx := r.Context()
	s, err := a.o.Tables.Sessions.Get(ctx, a.o.Box.Hash(ck.Value))
	if errors.Is(err, store.ErrNotFound) {
		return caller{}, errUnauthorized
	}
	if err != nil {
		return caller{}, err
	}
	v := s.Value
	switch {
	case v.Operator != "":
		if a.o.AdminKey.IsZero() || subtle.ConstantTimeCompare([]byte(v.Operator), []byte(a.o.Box.Hash(a.o.AdminKey.Reveal()))) != 1 {
			return caller{}, errUnauthorized
		}
		return operator(audit.ActorSession), nil
	case v.Key != "":
		who, err := a.callerOf(ctx, directory.Principal{Key: &directory.Key{Key: core.Key{ID: v.Key, Hashes: v.KeyHashes}}}, web.FromContext(ctx))
		who.actor.Kind = audit.ActorSession
		return who, err
	}
	acct, err := a.o.Tables.Accounts.Get(ctx, v.Account)
	if err != nil && !store.Missing(err) {
		return caller{}, err
	}
	if err != nil || acct.Value.PasswordHash == "" || acct.Value.PasswordHash != v.Password {
		return caller{}, errUnauthorized
	}
	return caller{admin: acct.Value.Admin, account: acct.Value.ID, nodes: true, person: true,
		actor: audit.Actor{Kind: audit.ActorPassword, Account: acct.Value.ID, Name: acct.Value.Name}}, nil
}

// operator is the holder of ADMIN_API_KEY.
func operator(kind string) caller {
	return caller{admin: true, account: core.DefaultAccount, nodes: true, actor: audit.Actor{Kind: kind, Account: core.DefaultAccount, Name: "ADMIN_API_KEY"}}
}

// open makes a session and sets its cookie. The token is random and new: nothing a browser brought is reused.
func (a *API) open(w http.ResponseWriter, r *http.Request, s store.Session) error {
	token := rand.Text() + rand.Text()
	now := a.o.Now()
	s.ID, s.Created, s.Expires = a.o.Box.Hash(token), now.UTC(), now.Add(sessionTTL).UTC()
	if _, err := a.o.Tables.Sessions.Create(r.Context(), s); err != nil {
		return err
	}
	http.SetCookie(w, a.cookie(r, token, int(sessionTTL.Seconds())))
	return nil
}

func (a *API) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	path := a.prefix(r)
	if u, err := url.Parse(a.o.PublicURL); err == nil && u.Path != "" {
		path = u.Path // as it is written: with a slash at its end or without
	} else if path == "" {
		path = "/"
	}
	return &http.Cookie{Name: sessionCookie, Value: value, Path: path, MaxAge: maxAge, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil || strings.HasPrefix(a.o.PublicURL, "https://")}
}

// Link makes a path of ours into one that the browser of r can follow behind a prefix.
func (a *API) Link(r *http.Request, path string) string { return a.prefix(r) + path }

// prefix is the path of PUBLIC_URL, else what the host says.
func (a *API) prefix(r *http.Request) string {
	if u, err := url.Parse(a.o.PublicURL); err == nil && a.o.PublicURL != "" {
		return strings.TrimRight(u.Path, "/")
	}
	return web.Prefix(r.Context())
}

// login signs in by a form with username and password, or with admin_key. The form itself is the console's.
func (a *API) login(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "POST a form with username and password, or with admin_key, to sign in. Browsers get the form here, where there is the console.\n")
		return
	case http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, POST")
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "method not allowed"))
		return
	}
	err := a.cop.Check(r)
	var at attempt
	if err != nil {
		err = core.E(core.CodeForbidden, "cross-origin request refused")
	} else {
		err = a.signIn(w, r, &at)
	}
	a.signedIn(w, r, &at, err)
}

// signedIn answers an attempt to sign in.
func (a *API) signedIn(w http.ResponseWriter, r *http.Request, at *attempt, err error) {
	a.recordLogin(r, at, err)
	if err != nil {
		(&call{a: a, w: w, r: r}).fail(err)
		return
	}
	http.Redirect(w, r, a.Link(r, "/admin"), http.StatusSeeOther)
}

// home serves /admin, whose page is the console's: ?admin_key= is exchanged for a session, for the console, too; else it tells
// who asks.
func (a *API) home(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "method not allowed"))
		return
	}
	if key := r.URL.Query().Get("admin_key"); key != "" && r.Method == http.MethodGet {
		var at attempt
		a.signedIn(w, r, &at, a.followLink(w, r, key, &at))
		return
	}
	c := &call{a: a, w: w, r: r}
	err := a.identify(c)
	if err == nil {
		err = c.showMe()
	}
	switch {
	case err == nil:
	case core.AsError(err).Code == core.CodeUnauthenticated:
		http.Redirect(w, r, a.Link(r, "/login"), http.StatusSeeOther)
	default:
		c.fail(err)
	}
}

// followLink signs in by a link with a key. Anybody can make somebody else follow one: it never opens a session in the place of
// another's, and none for whom another site sent here.
func (a *API) followLink(w http.ResponseWriter, r *http.Request, key string, at *attempt) error {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return core.E(core.CodeForbidden, "cross-origin request refused") // an image, frame or script of some page
	}
	at.link = true
	return a.throttled(r, func() error { return a.openByKey(w, r, key, at) })
}

// anotherOpen reports whether the browser has a session of somebody else than who, by account and rights, or none and comes from
// another site.
func (a *API) anotherOpen(r *http.Request, who caller) (bool, error) {
	have, err := a.bySession(r)
	switch code := core.AsError(err).Code; {
	case err == nil:
		return have.account != who.account || have.admin != who.admin, nil
	case code == core.CodeUnauthenticated || code == core.CodeForbidden:
		return r.Header.Get("Sec-Fetch-Site") == "cross-site", nil // what is entered later would be that account's
	}
	return false, err
}

// signIn checks what the form holds and opens a session.
func (a *API) signIn(w http.ResponseWriter, r *http.Request, at *attempt) error {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return bad("the form could not be read")
	}
	user, pass, key := r.PostForm.Get("username"), r.PostForm.Get("password"), strings.TrimSpace(r.PostForm.Get("admin_key"))
	switch {
	case key != "":
		return a.throttled(r, func() error { return a.openByKey(w, r, key, at) })
	case user == "" || pass == "":
		return bad("user name and password must not be empty")
	}
	return a.throttled(r, func() error { return a.openByPassword(w, r, user, pass, at) })
}

// throttled runs a login unless its address failed too often. A login counts as failed until it succeeds, so that many at
// once gain nothing.
func (a *API) throttled(r *http.Request, login func() error) error {
	addr := web.FromContext(r.Context()).Client
	if wait := a.throttle.Take(addr); wait > 0 {
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: wait, Message: "too many failed logins from this address; try again in a minute"}
	}
	err := login()
	if err == nil || core.AsError(err).Code != core.CodeUnauthenticated {
		a.throttle.GiveBack(addr)
	}
	return err
}

// openByKey opens a session for the holder of an admin key, or of a key that manages its account's nodes.
func (a *API) openByKey(w http.ResponseWriter, r *http.Request, key string, at *attempt) error {
	info := web.FromContext(r.Context())
	who, err := a.byKey(r.Context(), key, info)
	at.who, at.account = who.actor, who.actor.Account
	if err != nil {
		if err == errUnauthorized {
			return core.E(core.CodeUnauthenticated, "wrong key")
		}
		return err
	}
	if at.link {
		other, err := a.anotherOpen(r, who)
		if err != nil {
			return err
		}
		if other {
			return core.E(core.CodeConflict, "this link would sign this browser in as somebody else; open it by itself, signed out")
		}
	}
	p, err := a.o.Directory.Authenticate(r.Context(), key, origin(info))
	if err != nil {
		return err
	}
	s := store.Session{Account: who.account}
	if p.Operator {
		s.Operator = a.o.Box.Hash(a.o.AdminKey.Reveal())
	} else {
		s.Key, s.KeyHashes = p.Key.ID, p.Key.Hashes
	}
	return a.open(w, r, s)
}

// dummyHash makes an unknown user as slow as a wrong password.
var dummyHash = []byte("$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy")

func (a *API) openByPassword(w http.ResponseWriter, r *http.Request, user, pass string, at *attempt) error {
	accounts, err := a.o.Tables.Accounts.All(r.Context(), "")
	if err != nil {
		return err
	}
	hash, id := dummyHash, ""
	for _, row := range accounts {
		if v := row.Value; v.PasswordHash != "" && (v.Name == user || v.ID == user) {
			hash, id = []byte(v.PasswordHash), v.ID
			// a name that no account has is not kept: it may be a password in the wrong field
			at.who, at.account = audit.Actor{Kind: audit.ActorAnonymous, Account: id, Name: v.Name}, id
			break
		}
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(pass)) != nil || id == "" {
		return core.E(core.CodeUnauthenticated, "wrong user name or password")
	}
	at.who.Kind = audit.ActorPassword
	return a.open(w, r, store.Session{Account: id, Password: string(hash)})
}

func (a *API) logout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		WriteError(w, r, core.E(core.CodeMethodNotAllowed, "method not allowed"))
		return
	}
	// GET is for scripts and for people who type it, which say none or nothing: a link of another site must not end a session
	from := r.Header.Get("Sec-Fetch-Site")
	if a.cop.Check(r) != nil || r.Method == http.MethodGet && (from == "cross-site" || from == "same-site") {
		WriteError(w, r, core.E(core.CodeForbidden, "cross-origin request refused"))
		return
	}
	if ck, err := r.Cookie(sessionCookie); err == nil {
		who, known := a.bySession(r)
		if err := a.o.Tables.Sessions.Delete(r.Context(), a.o.Box.Hash(ck.Value)); err != nil && !store.Missing(err) {
			(&call{a: a, w: w, r: r}).fail(err)
			return
		}
		if known == nil {
			a.write(r, audit.Entry{Actor: who.actor, Action: "logout", Object: audit.Object{Kind: store.KindSession}, Account: who.account, Result: audit.ResultOK})
		}
	}
	http.SetCookie(w, a.cookie(r, "", -1))
	http.Redirect(w, r, a.Link(r, "/login"), http.StatusSeeOther)
}
