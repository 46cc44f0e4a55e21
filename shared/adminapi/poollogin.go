package adminapi

import (
	"crypto/rand"
	"errors"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

const (
	loginGrace   = 10 * time.Minute // that a login is still told about after its end
	loginSlower  = 5 * time.Second  // between polls, added when the service asks to slow down (RFC 8628 3.5)
	minInterval  = time.Second
	maxLoginTime = time.Hour
	maxPending   = 20 // logins of one account that are under way
)

// login is a device login under way. Its secrets are sealed for loginOwner.
type login struct {
	ID           string      `json:"id"`
	Account      string      `json:"account"`         // that gets the node
	Began        string      `json:"began"`           // account of who began it
	Admin        bool        `json:"admin,omitempty"` // who began it administers the gateway
	Name         string      `json:"name,omitempty"`
	Profile      string      `json:"profile_arn,omitempty"`
	API          string      `json:"api,omitempty"`
	RPM          *int64      `json:"rpm,omitempty"`
	StartURL     string      `json:"start_url,omitempty"`
	Region       string      `json:"region,omitempty"`
	ClientID     string      `json:"client_id"`
	ClientSecret core.Sealed `json:"client_secret,omitempty"`
	DeviceCode   core.Sealed `json:"device_code,omitempty"`
	UserCode     string      `json:"user_code,omitempty"` // this and the next two for the page, which may be loaded anew
	URI          string      `json:"uri,omitempty"`
	URIComplete  string      `json:"uri_complete,omitempty"`
	IntervalSec  int         `json:"interval"`
	NextPoll     time.Time   `json:"next_poll"` // not before
	ExpiresAt    time.Time   `json:"expires_at"`
	Ended        LoginStatus `json:"ended,omitempty"` // expired or denied
	Grant        core.Sealed `json:"grant,omitempty"` // refresh token of a login that was confirmed, until there is Node
	Node         *core.Node  `json:"node,omitempty"`  // what is or will be stored
	Done         bool        `json:"done,omitempty"`  // it was stored; who deletes it does not get it back
}

func loginOwner(id string) string { return "login/" + id }

func (l *login) granted() bool { return l.Grant != "" || l.Node != nil }

func (l *login) interval() time.Duration { return time.Duration(l.IntervalSec) * time.Second }

// input is what a call would say to make the node, the credential apart.
func (l *login) input() *poolInput {
	return &poolInput{Name: &l.Name, RPM: l.RPM, amazonQInput: amazonQInput{Profile: &l.Profile, API: &l.API, TokenRegion: &l.Region, StartURL: &l.StartURL}}
}

type loginInput struct {
	StartURL *string `json:"start_url"`
	Region   *string `json:"region"`
	Name     *string `json:"name"`
	Profile  *string `json:"profile_arn"`
	API      *string `json:"api"`
	RPM      *int64  `json:"requests_per_minute"`
}

// loginTable is where logins are kept.
func (c *call) loginTable() (*store.Table[login], Pool, error) {
	p, err := c.pool()
	if err != nil {
		return nil, nil, err
	}
	if c.a.logins == nil {
		return nil, nil, core.E(core.CodeUnavailable, "not implemented here: this gateway keeps no logins")
	}
	return c.a.logins, p, nil
}

// beginLogin starts a device login for a page to poll.
func (c *call) beginLogin() error {
	account, err := c.poolTarget()
	if err != nil {
		return err
	}
	logins, p, err := c.loginTable()
	if err != nil {
		return err
	}
	var in loginInput
	if err := c.optional(&in); err != nil {
		return err
	}
	l := login{ID: rand.Text(), Account: account, Began: c.who.account, Admin: c.who.admin, Name: text(in.Name), Profile: text(in.Profile), API: text(in.API), RPM: in.RPM, Region: text(in.Region)}
	if l.StartURL, err = startURL(text(in.StartURL)); err != nil {
		return err
	}
	if err := checkRegion("region", l.Region); err != nil {
		return err
	}
	if err := c.checkLogin(&l); err != nil {
		return err
	}
	if err := c.mayBegin(logins, account); err != nil {
		return err
	}
	ctx, cancel := c.upstreamContext()
	defer cancel()
	d, err := p.BeginLogin(ctx, LoginPlace{StartURL: l.StartURL, Region: l.Region})
	if err != nil {
		return c.poolFailed(err)
	}
	c.fill(&l, &d)
	if _, err := logins.Create(ctx, l); err != nil {
		return err
	}
	return c.ok(c.viewLogin(&l, ""))
}

// loginView is a login under way as a page shows it.
type loginView struct {
	ID          string      `json:"id"`
	Status      LoginStatus `json:"status,omitempty"` // of a poll
	UserCode    string      `json:"user_code"`
	URI         string      `json:"verification_uri"`
	URIComplete string      `json:"verification_uri_complete"`
	ExpiresIn   int64       `json:"expires_in"`
	Interval    int         `json:"interval"`
}

func (c *call) viewLogin(l *login, status LoginStatus) loginView {
	return loginView{ID: l.ID, Status: status, UserCode: l.UserCode, URI: l.URI, URIComplete: l.URIComplete,
		ExpiresIn: int64(l.ExpiresAt.Sub(c.a.o.Now()) / time.Second), Interval: l.IntervalSec}
}

// mayBegin bounds the logins under way: each is a client registered with the service.
func (c *call) mayBegin(logins *store.Table[login], account string) error {
	rows, err := logins.All(c.r.Context(), account)
	if err != nil {
		return err
	}
	now, pending := c.a.o.Now(), 0
	for i := range rows {
		if l := &rows[i].Value; !l.granted() && l.Ended == "" && now.Before(l.ExpiresAt) {
			pending++
		}
	}
	if pending >= maxPending {
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: time.Minute, Message: "this account has " + itoa(maxPending) + " logins under way; finish one, or wait until they expire"}
	}
	return nil
}

// fill puts into l what the service gave, within bounds.
func (c *call) fill(l *login, d *DeviceLogin) {
	now := c.a.o.Now().UTC()
	l.UserCode, l.URI, l.URIComplete = d.UserCode, d.VerificationURI, d.VerificationURIComplete
	l.ClientID, l.IntervalSec = d.ClientID, int(min(max(d.Interval, minInterval), time.Minute)/time.Second)
	l.ClientSecret, l.DeviceCode = c.a.o.Box.Seal(loginOwner(l.ID), d.ClientSecret), c.a.o.Box.Seal(loginOwner(l.ID), d.DeviceCode)
	l.ExpiresAt = now.Add(min(max(d.ExpiresIn, time.Minute), maxLoginTime))
	l.NextPoll = now.Add(l.interval())
}

// checkLogin refuses what would fail only after the user has confirmed.
func (c *call) checkLogin(l *login) error {
	probe, some := l.input(), "probe"
	probe.RefreshToken, probe.ClientID, probe.ClientSecret = &some, &some, &some
	if _, err := c.newPool(l.Account, "0", probe); err != nil {
		return err
	}
	taken, err := c.takenNames(l.Account, "")
	if err == nil && l.Name != "" && taken[l.Name] {
		err = bad("name: another account has it")
	}
	return err
}

var errTooEarly = errors.New("polled before its time")

// pollLogin asks once how a login stands; before its time it answers without asking.
func (c *call) pollLogin() error {
	logins, p, err := c.loginTable()
	if err != nil {
		return err
	}
	l, err := c.login(logins)
	if err != nil {
		return err
	}
	now := c.a.o.Now().UTC()
	switch {
	case l.granted():
		return c.completeLogin(logins, l)
	case l.Ended != "":
		return c.ok(map[string]any{"status": l.Ended})
	case !now.Before(l.ExpiresAt):
		return c.ok(map[string]any{"status": LoginExpired})
	}
	// claimed by compare-and-swap: of several polls at once, one asks
	r, err := logins.Update(c.r.Context(), l.ID, func(l *login) error {
		if now.Before(l.NextPoll) || l.granted() || l.Ended != "" {
			return errTooEarly
		}
		l.NextPoll = now.Add(l.interval())
		return nil
	})
	if errors.Is(err, errTooEarly) {
		return c.ok(c.viewLogin(l, LoginPending))
	}
	if err != nil {
		return err
	}
	return c.askLogin(logins, p, &r.Value)
}

// login reads the login that the path names, for who began it.
func (c *call) login(logins *store.Table[login]) (*login, error) {
	if !c.who.nodes {
		return nil, core.E(core.CodeForbidden, "this key may not manage accounts; send an admin key")
	}
	missing := core.E(core.CodeNotFound, "login not found; begin a new one")
	if len(c.id) > 64 {
		return nil, missing
	}
	r, err := logins.Get(c.r.Context(), c.id)
	switch {
	case store.Missing(err):
		return nil, missing
	case err != nil:
		return nil, err
	case r.Value.Began != c.who.account || r.Value.Account != c.who.account && !c.who.admin:
		return nil, missing
	}
	return &r.Value, nil
}

// askLogin asks the service and keeps what it says.
func (c *call) askLogin(logins *store.Table[login], p Pool, l *login) error {
	ctx, cancel := c.upstreamContext()
	defer cancel()
	d := DeviceLogin{LoginPlace: LoginPlace{l.StartURL, l.Region}, ClientID: l.ClientID, Interval: l.interval()}
	var err error
	if d.ClientSecret, err = c.a.o.Box.Open(loginOwner(l.ID), l.ClientSecret); err != nil {
		return err
	}
	if d.DeviceCode, err = c.a.o.Box.Open(loginOwner(l.ID), l.DeviceCode); err != nil {
		return err
	}
	status, grant, err := p.PollLogin(ctx, d)
	if err != nil {
		return c.poolFailed(err)
	}
	if status == LoginComplete && grant.Refresh.IsZero() {
		return core.E(core.CodeBadGateway, "the service granted no refresh token; begin a new login")
	}
	l, err = c.keepAnswer(logins, l.ID, status, grant)
	switch {
	case err != nil:
		return err
	case l.granted():
		return c.completeLogin(logins, l)
	case l.Ended != "":
		return c.ok(map[string]any{"status": l.Ended})
	default:
		return c.ok(c.viewLogin(l, status))
	}
}

// keepTries bounds the tries to keep an answer. The waits between them grow from firstWait to seconds.
const (
	keepTries = 5
	firstWait = 50 * time.Millisecond
)

// keepAnswer keeps what the service said of a login, a grant before anything is made of it: the service gives it once. So
// the time is not what is left of the call, and a store that fails is asked again.
func (c *call) keepAnswer(logins *store.Table[login], id string, status LoginStatus, grant upstream.Grant) (*login, error) {
	ctx, cancel := c.upstreamContext()
	defer cancel()
	var sealed core.Sealed
	if status == LoginComplete {
		sealed = c.a.o.Box.Seal(loginOwner(id), grant.Refresh)
	}
	for try, wait := 1, firstWait; ; try, wait = try+1, wait*4 {
		r, err := logins.Update(ctx, id, func(l *login) error {
			switch {
			case l.granted(): // by another poll meanwhile
			case sealed != "":
				l.Grant, l.DeviceCode, l.Ended = sealed, "", ""
			case status == LoginSlowDown:
				l.IntervalSec += int(loginSlower / time.Second)
				l.NextPoll = c.a.o.Now().UTC().Add(l.interval())
			case status != LoginPending:
				l.Ended = status
			}
			return nil
		})
		if err == nil || store.Missing(err) || sealed == "" || try == keepTries {
			return &r.Value, err
		}
		c.a.o.Log.Warn("grant of a login could not be stored yet", "try", try, "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// completeLogin makes the node of a granted login, unless there is one, and shows it. A poller that leaves does not end it.
func (c *call) completeLogin(logins *store.Table[login], l *login) error {
	ctx, cancel := c.upstreamContext()
	defer cancel()
	c.r = c.r.WithContext(ctx)
	if l.Node == nil {
		node, err := c.nodeOfLogin(l)
		if err != nil {
			return err
		}
		r, err := logins.Update(ctx, l.ID, func(l *login) error {
			if l.Node == nil { // else another poll was first
				l.Node, l.Grant, l.ClientSecret = node, "", ""
			}
			return nil
		})
		if err != nil {
			return err
		}
		l = &r.Value
	}
	return c.finishLogin(logins, l)
}

// nodeOfLogin makes the node of a granted login and stores nothing.
func (c *call) nodeOfLogin(l *login) (*core.Node, error) {
	grant, err := c.a.o.Box.Open(loginOwner(l.ID), l.Grant)
	if err != nil {
		return nil, err
	}
	client, err := c.a.o.Box.Open(loginOwner(l.ID), l.ClientSecret)
	if err != nil {
		return nil, err
	}
	id, err := c.a.o.Tables.NextID(c.r.Context(), store.KindNode)
	if err != nil {
		return nil, err
	}
	taken, err := c.takenNames(l.Account, "")
	if err != nil {
		return nil, err
	}
	in, refresh, secret := l.input(), grant.Reveal(), client.Reveal()
	name := l.Name
	if name == "" {
		name = "amazonq-" + id
	}
	name = uniqueName(name, taken)
	in.Name, in.RefreshToken, in.ClientID, in.ClientSecret = &name, &refresh, &l.ClientID, &secret
	n, err := c.newPool(l.Account, id, in)
	n.Own = n.Own && !l.Admin // whoever polls it
	return &n, err
}

// finishLogin stores the node of a granted login, once, and shows it.
func (c *call) finishLogin(logins *store.Table[login], l *login) error {
	ctx := c.r.Context()
	if !l.Done {
		switch _, err := c.a.o.Tables.Nodes.Create(ctx, *l.Node); {
		case err == nil:
			c.added(l.Node)
		case !errors.Is(err, store.ErrExists):
			return err
		}
		if _, err := logins.Update(ctx, l.ID, func(l *login) error { l.Done = true; return nil }); err != nil && !store.Missing(err) {
			return err
		}
	}
	r, err := c.a.o.Tables.Nodes.Get(ctx, l.Node.ID)
	if store.Missing(err) {
		return core.E(core.CodeNotFound, "the account of this login was deleted; begin a new login")
	}
	if err != nil {
		return err
	}
	v, _, err := c.onePool(r.Value)
	if err != nil {
		return err
	}
	return c.ok(map[string]any{"status": LoginComplete, "account": v})
}

// dropLogins removes the logins of an account that is deleted.
func (c *call) dropLogins(account string) error {
	if c.a.logins == nil {
		return nil
	}
	rows, err := c.a.logins.All(c.r.Context(), account)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := c.a.logins.Delete(c.r.Context(), r.Value.ID); err != nil && !store.Missing(err) {
			return err
		}
	}
	return nil
}
