package boot

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
	"sluice/shared/tokens"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

// pool is all that serves nodes of Amazon Q: the client, the logins, and the vault of their access tokens.
type pool struct {
	a      *App
	client *amazonq.Client
	login  *amazonq.Login
	vault  *tokens.Vault

	mu    sync.Mutex
	asked map[string]time.Time // node -> when its quota was asked for
}

func newPool(a *App, c *config.Config, leases store.Leases, m Metrics) *pool {
	o := amazonq.Options{Transports: a.transports, Endpoint: c.AmazonQEndpoint, TokenEndpoint: c.AmazonQTokenEndpoint, Now: a.now}
	p := &pool{a: a, login: amazonq.NewLogin(o), asked: map[string]time.Time{}}
	p.vault = tokens.New(tokens.Options{Tables: a.Tables, Leases: leases, Box: a.Box, Now: a.now, Log: a.log,
		Refresh: func(ctx context.Context, credential, refresh core.Secret, _ core.Node) (upstream.Grant, error) {
			cred, err := amazonq.ParseCredential(credential)
			if err != nil {
				return upstream.Grant{}, &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential, Reason: err.Error()}}
			}
			g, err := p.login.Refresh(ctx, cred, refresh)
			if m != nil {
				m.TokenRefresh(core.KindAmazonQ, refreshed(err))
			}
			return g, err
		},
		Origin: origin,
		Static: func(credential core.Secret) (core.Secret, bool) {
			cred, err := amazonq.ParseCredential(credential)
			return core.NewSecret(cred.APIKey), err == nil && cred.APIKey != ""
		}})
	o.Tokens = p.vault
	p.client = amazonq.New(o)
	return p
}

// refreshed is what metrics call the outcome of a token refresh.
func refreshed(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, upstream.ErrInvalidGrant):
		return "login_needed"
	}
	return "failed"
}

// origin is what of a credential its access tokens come from. An edit of the rest, such as the region, must not void the
// refresh token that came with the last one: the credential's own is spent.
func origin(credential core.Secret) string {
	cred, err := amazonq.ParseCredential(credential)
	switch {
	case err != nil:
		return credential.Reveal()
	case cred.APIKey != "":
		return cred.APIKey
	}
	return cred.RefreshToken + "\x00" + cred.ClientID
}

// target opens a node's credential.
func (p *pool) target(n *core.Node) (upstream.Target, error) {
	cred, err := p.a.Box.Open(directory.CredentialOwner(n.ID), n.Credential)
	return upstream.Target{Node: n, Credential: cred}, err
}

// refresh renews the access tokens that end soon, so that no request waits for it, and blocks nodes whose login ended.
func (p *pool) refresh(ctx context.Context) error {
	nodes, err := p.a.Tables.Nodes.All(ctx, "")
	if err != nil {
		return err
	}
	var targets []upstream.Target
	names := map[string]*core.Node{}
	for i := range nodes {
		n := &nodes[i].Value
		if n.Kind != core.KindAmazonQ || n.Disabled || n.Credential == "" {
			continue
		}
		t, err := p.target(n)
		if err != nil {
			p.a.log.Error("credential of a node cannot be opened", "account", n.Account, "node", n.Name, "node_id", n.ID, "error", err)
			continue
		}
		targets, names[n.ID] = append(targets, t), n
	}
	failed := p.vault.Sweep(ctx, targets)
	for id, err := range failed {
		n := names[id]
		var told *upstream.Error
		if !errors.As(err, &told) || told.Blocked == "" {
			p.a.log.Warn("access token of a node was not refreshed; it is tried again in a minute", "account", n.Account, "node", n.Name, "node_id", n.ID, "error", err)
			continue
		}
		s := p.a.tracker.Node(ctx, n.ID, n.Account)
		p.a.tracker.Blocked(s, n.Name, told.Blocked, told.Reason, p.a.now())
		if err := p.a.tracker.Save(ctx, s); err != nil {
			return err
		}
	}
	good := targets[:0]
	for _, t := range targets {
		if failed[t.Node.ID] == nil {
			good = append(good, t)
		}
	}
	if len(good) == 0 {
		return nil
	}
	states, err := p.a.Tables.States.All(ctx, "") // not this instance's memory: another one may have learnt more
	if err != nil {
		return err
	}
	known := make(map[string]*core.NodeState, len(states))
	for i := range states {
		known[states[i].Value.Node] = &states[i].Value
	}
	return errors.Join(p.unblock(ctx, good, known), p.resume(ctx, good, known))
}

// unblock lets requests to nodes again whose logins were thought to have ended, and that have a token that is good: another
// instance saved one, or an edit of the credential has helped.
func (p *pool) unblock(ctx context.Context, targets []upstream.Target, known map[string]*core.NodeState) error {
	for _, t := range targets {
		n := t.Node
		if s := known[n.ID]; s == nil || s.Blocked != core.BlockedLogin {
			continue
		}
		info, err := p.vault.Info(ctx, t)
		if err != nil {
			return err
		}
		if !info.Valid {
			continue
		}
		if err := p.a.tracker.Reload(ctx, n.Account, []string{n.ID}); err != nil {
			return err
		}
		s := p.a.tracker.Node(ctx, n.ID, n.Account)
		p.a.tracker.Unblocked(s, n.Name, core.BlockedLogin)
		if err := p.a.tracker.Save(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

var _ adminapi.Pool = (*pool)(nil)

// BeginLogin implements adminapi.Pool.
func (p *pool) BeginLogin(ctx context.Context, where adminapi.LoginPlace) (adminapi.DeviceLogin, error) {
	r, err := p.login.Register(ctx, where.Region)
	if err != nil {
		return adminapi.DeviceLogin{}, err
	}
	d, err := p.login.StartDevice(ctx, amazonq.Credential{ClientID: r.ClientID, ClientSecret: r.ClientSecret.Reveal(), Region: where.Region, StartURL: where.StartURL})
	if err != nil {
		return adminapi.DeviceLogin{}, err
	}
	return adminapi.DeviceLogin{LoginPlace: where, ClientID: r.ClientID, ClientSecret: r.ClientSecret, DeviceCode: d.DeviceCode, UserCode: d.UserCode,
		VerificationURI: d.VerifyURL, VerificationURIComplete: d.CompleteURL, ExpiresIn: d.Expires.Sub(p.a.now()), Interval: d.Interval}, nil
}

// PollLogin implements adminapi.Pool.
func (p *pool) PollLogin(ctx context.Context, l adminapi.DeviceLogin) (adminapi.LoginStatus, upstream.Grant, error) {
	g, err := p.login.PollDevice(ctx, amazonq.Credential{ClientID: l.ClientID, ClientSecret: l.ClientSecret.Reveal(), Region: l.Region, StartURL: l.StartURL}, l.DeviceCode)
	switch {
	case err == nil:
		return adminapi.LoginComplete, g, nil
	case errors.Is(err, amazonq.ErrPending):
		return adminapi.LoginPending, g, nil
	case errors.Is(err, amazonq.ErrSlowDown):
		return adminapi.LoginSlowDown, g, nil
	case errors.Is(err, amazonq.ErrExpired):
		return adminapi.LoginExpired, g, nil
	case errors.Is(err, amazonq.ErrDenied):
		return adminapi.LoginDenied, g, nil
	}
	return "", g, err
}

// Refresh implements adminapi.Pool.
func (p *pool) Refresh(ctx context.Context, n core.Node) (time.Duration, error) {
	t, err := p.target(&n)
	if err != nil {
		return 0, err
	}
	if err := p.vault.Refresh(ctx, t); err != nil {
		return 0, err
	}
	info, err := p.vault.Info(ctx, t)
	if err != nil || info.Expires.IsZero() {
		return 0, err
	}
	return info.Expires.Sub(p.a.now()), nil
}

// TokenInfo implements adminapi.Pool.
func (p *pool) TokenInfo(ctx context.Context, n core.Node) (adminapi.TokenInfo, error) {
	t, err := p.target(&n)
	if err != nil {
		return adminapi.TokenInfo{}, err
	}
	info, err := p.vault.Info(ctx, t)
	out := adminapi.TokenInfo{Cached: info.Known, Valid: info.Valid}
	if !info.Expires.IsZero() {
		out.ExpiresAt = &info.Expires
	}
	return out, err
}

// Quota implements adminapi.Pool.
func (p *pool) Quota(ctx context.Context, n core.Node) (amazonq.Quota, error) {
	t, err := p.target(&n)
	if err != nil {
		return amazonq.Quota{}, err
	}
	return p.client.Quota(ctx, t)
}

// Forget implements adminapi.Pool.
func (p *pool) Forget(ctx context.Context, node string) error { return p.vault.Forget(ctx, node) }

// poolNodeRPM is what a node of the pool takes a minute, as the older pool had it.
const poolNodeRPM = 10

// seedPool makes the node of AMAZONQ_*, or applies what changed of it, by the rules of seedNode. A node that has the same
// login already, made by an import or through the API, becomes the variables' own: with two, each refresh of the one would
// end the other's login.
func (a *App) seedPool(ctx context.Context, c *config.Config, cred, profile bool) error {
	if err := a.adoptPool(ctx, c); err != nil {
		return err
	}
	id, err := a.seededNode(ctx, func(s *seeded) *string { return &s.Pool })
	if err != nil {
		return err
	}
	arn := c.AmazonQProfileARN
	if arn != "" && !strings.HasPrefix(arn, "arn:") { // the older pool wrote regions here, and ignored them
		a.Notes = append(a.Notes, "warning: AMAZONQ_PROFILE_ARN is no ARN and is ignored: the service chooses the profile")
		arn = ""
	}
	update := func(n *core.Node) error {
		if cred {
			a.setLogin(n, amazonq.Credential{RefreshToken: c.AmazonQRefreshToken.Reveal(), ClientID: c.AmazonQClientID.Reveal(), ClientSecret: c.AmazonQClientSecret.Reveal()})
		}
		if profile {
			n.Profile = arn
		}
		n.UpdatedAt = a.now().UTC()
		return nil
	}
	_, err = a.Tables.Nodes.Update(ctx, id, update)
	if store.Missing(err) {
		n := core.Node{ID: id, Account: core.DefaultAccount, Kind: core.KindAmazonQ, Name: "amazonq", Weight: 1, Limits: core.Limits{RPM: poolNodeRPM}, HealthMethod: "api", CreatedAt: a.now().UTC()}
		cred, profile = true, true
		_ = update(&n)
		if _, err = a.Tables.Nodes.Create(ctx, n); errors.Is(err, store.ErrExists) {
			err = nil // another instance starting beside us made it
		}
	}
	if err != nil || !cred {
		return err
	}
	return a.forgetState(ctx, id)
}

// setLogin gives a node the operator's login.
func (a *App) setLogin(n *core.Node, own amazonq.Credential) {
	if n.Credential != "" {
		old, err := a.Box.Open(directory.CredentialOwner(n.ID), n.Credential)
		have, perr := amazonq.ParseCredential(old)
		if err == nil && perr == nil && have.ClientID == own.ClientID {
			own.Region, own.StartURL = have.Region, have.StartURL // where the client is registered
			if own == have {
				return // and with it the refresh token that may have come since
			}
		}
	}
	if !n.Operator {
		// an address that was edited through the API must not get the operator's login: whoever edited it would
		n.BaseURL, n.Operator = "", true
	}
	n.Credential = a.Box.Seal(directory.CredentialOwner(n.ID), own.Secret())
}
