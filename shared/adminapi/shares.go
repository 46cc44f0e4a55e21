package adminapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/web"
)

const (
	sharesPath   = "/api/monitor/shares"
	sharePath    = "/api/monitor/share"
	maxShares    = 100 // of an account, those that ended included
	tokenBytes   = 16
	maxBadShares = 60  // unknown tokens a minute and address: a page with many nodes asks for all of them at once
	maxViews     = 600 // calls a minute and address by token, good or not
)

// errNoShare is the answer to any token that opens nothing: whether it ever did is not told.
var errNoShare = &core.Error{Code: core.CodeNotFound, Kind: "SHARE_NOT_FOUND", Message: "share not found"}

// shareToken is the token of a call that needs no login, because it comes by a link to an account's monitor.
func shareToken(r *http.Request, pattern, id string) (string, bool) {
	switch pattern {
	case sharePath + "/{id}":
		return id, true
	case historyPath:
		q := r.URL.Query()
		return q.Get("share_token"), q.Has("share_token")
	}
	return "", false
}

// enterByShare lets a call in by a token, and takes the token out of the address, which other logs than the access log may
// show: whoever reads them could open the page.
func (c *call) enterByShare(token string) error {
	c.r.URL.RawQuery = withoutToken(c.r)
	c.r.URL.Path, c.r.URL.RawPath = web.LoggedPath(c.r.URL.Path), ""
	c.w.Header().Set("X-Robots-Tag", "noindex")
	addr := web.FromContext(c.r.Context()).Client
	wait := c.a.views.Take(addr)
	if wait == 0 {
		wait = c.a.badShares.Take(addr) // counts until it turns out to be good, so that many at once gain nothing
	}
	if wait > 0 {
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: wait, Message: "too many calls from this address; try again in a minute"}
	}
	s, err := c.findShare(token)
	if err != errNoShare {
		c.a.badShares.GiveBack(addr)
	}
	if err != nil {
		return err
	}
	c.share = s
	web.FromContext(c.r.Context()).Account = s.Account
	return nil
}

func withoutToken(r *http.Request) string {
	q := r.URL.Query()
	q.Del("share_token")
	return q.Encode()
}

// findShare looks a token up by its hash, which tells nothing by how long it takes.
func (c *call) findShare(token string) (*core.Share, error) {
	if raw, err := hex.DecodeString(token); err != nil || len(raw) != tokenBytes || token != strings.ToLower(token) {
		return nil, errNoShare
	}
	r, err := c.a.o.Tables.Shares.Find(c.r.Context(), c.a.o.Box.Hash(token))
	if store.Missing(err) || err == nil && !shareOpen(&r.Value, c.a.o.Now()) {
		return nil, errNoShare
	}
	return &r.Value, err
}

func shareOpen(s *core.Share, now time.Time) bool {
	return !s.Revoked && (s.ExpireAt.IsZero() || now.Before(s.ExpireAt))
}

func shareOwner(id string) string { return "share/" + id }

// shareView is a share as its owner sees it.
type shareView struct {
	ID        string     `json:"id"`
	Account   string     `json:"account_id"`
	Token     string     `json:"token"`
	URL       string     `json:"share_url"`
	ExpireAt  *time.Time `json:"expire_at"` // null: never
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by"`
	Revoked   bool       `json:"revoked"`
	RevokedAt *time.Time `json:"revoked_at"`
}

func (c *call) viewShare(s *core.Share) (shareView, error) {
	token, err := c.a.o.Box.Open(shareOwner(s.ID), s.Token)
	if err != nil {
		return shareView{}, err
	}
	return shareView{ID: s.ID, Account: s.Account, Token: token.Reveal(), URL: c.base() + monitorPath + token.Reveal(), ExpireAt: momentOf(s.ExpireAt),
		CreatedAt: s.CreatedAt, CreatedBy: s.CreatedBy, Revoked: s.Revoked, RevokedAt: momentOf(s.RevokedAt)}, nil
}

// base is the address that browsers reach the gateway by, without a slash at its end.
func (c *call) base() string {
	if c.a.o.PublicURL != "" {
		return strings.TrimRight(c.a.o.PublicURL, "/")
	}
	scheme := "http"
	if c.r.TLS != nil || strings.EqualFold(c.r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + c.r.Host + web.Prefix(c.r.Context())
}

func (c *call) createShare() error {
	var in struct {
		Account  *string `json:"account_id"`
		ExpireIn *string `json:"expire_in"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	account, err := c.managed(text(in.Account))
	if err != nil {
		return err
	}
	now := c.a.o.Now().UTC()
	s := core.Share{ID: "share-" + strings.ToLower(rand.Text()[:16]), Account: account, CreatedAt: now}
	switch text(in.ExpireIn) {
	case "1h":
		s.ExpireAt = now.Add(time.Hour)
	case "24h":
		s.ExpireAt = now.Add(24 * time.Hour)
	case "168h":
		s.ExpireAt = now.Add(168 * time.Hour)
	case "permanent":
	default:
		return bad("expire_in: must be 1h, 24h, 168h or permanent")
	}
	done, err := c.alone()
	if err != nil {
		return err
	}
	defer done()
	if err := c.roomForShares(c.r.Context(), account, now, 1); err != nil {
		return err
	}
	own, err := c.a.o.Tables.Accounts.Get(c.r.Context(), c.who.account)
	if err != nil {
		return err
	}
	var raw [tokenBytes]byte
	_, _ = rand.Read(raw[:]) // crypto/rand.Read never fails
	token := hex.EncodeToString(raw[:])
	s.CreatedBy, s.Hash, s.Token = own.Value.Name, c.a.o.Box.Hash(token), c.a.o.Box.Seal(shareOwner(s.ID), core.NewSecret(token))
	if _, err := c.a.o.Tables.Shares.Create(c.r.Context(), s); err != nil {
		return err
	}
	err = c.within(func(ctx context.Context) error { return c.roomForShares(ctx, account, now, 0) },
		func(ctx context.Context) error { return c.a.o.Tables.Shares.Delete(ctx, s.ID) })
	if err != nil {
		return err
	}
	v, err := c.viewShare(&s)
	if err != nil {
		return err
	}
	return c.created(v)
}

func queryBool(q url.Values, name string) (bool, error) {
	s := q.Get(name)
	if s == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, bad(name + ": must be true or false")
	}
	return v, nil
}

// roomForShares makes room for more shares: it removes the oldest of those that ended where an account has too many, and
// refuses when there are too few of these.
func (c *call) roomForShares(ctx context.Context, account string, now time.Time, more int) error {
	rows, err := c.a.o.Tables.Shares.All(ctx, account)
	if err != nil {
		return err
	}
	var ended []core.Share
	for i := range rows {
		if s := rows[i].Value; !shareOpen(&s, now) {
			ended = append(ended, s)
		}
	}
	slices.SortFunc(ended, func(a, b core.Share) int { return a.CreatedAt.Compare(b.CreatedAt) })
	over := len(rows) + more - maxShares
	if over > len(ended) {
		return bad("an account can have at most " + itoa(maxShares) + " shares; revoke one that is not needed any more")
	}
	for _, s := range ended[:max(0, over)] {
		if err := c.a.o.Tables.Shares.Delete(ctx, s.ID); err != nil && !store.Missing(err) {
			return err
		}
	}
	return nil
}

// listShares shows an account's shares, the newest first.
func (c *call) listShares() error {
	account, err := c.nodesOf()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	limit, err := queryInt(q, "limit", 20, 1, maxShares)
	if err != nil {
		return err
	}
	skip, err := queryInt(q, "offset", 0, 0, 100_000)
	if err != nil {
		return err
	}
	revoked, err := queryBool(q, "include_revoked")
	if err != nil {
		return err
	}
	rows, err := c.a.o.Tables.Shares.All(c.r.Context(), account)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b store.Row[core.Share]) int {
		if n := b.Value.CreatedAt.Compare(a.Value.CreatedAt); n != 0 {
			return n
		}
		return strings.Compare(b.Value.ID, a.Value.ID)
	})
	views := []shareView{}
	for i := range rows {
		s := &rows[i].Value
		if s.Revoked && !revoked {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(views) == limit {
			break
		}
		v, err := c.viewShare(s)
		if err != nil {
			return err
		}
		views = append(views, v)
	}
	return c.ok(map[string]any{"shares": views})
}

func (c *call) revokeShare() error {
	s, err := owned(c, c.a.o.Tables.Shares, c.id, errNoShare, func(s *core.Share) string { return s.Account })
	if err != nil {
		return err
	}
	_, err = c.a.o.Tables.Shares.Update(c.r.Context(), s.ID, func(s *core.Share) error {
		if !s.Revoked {
			s.Revoked, s.RevokedAt = true, c.a.o.Now().UTC()
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// sharedDashboard shows an account's monitor to who has a link to it.
func (c *call) sharedDashboard() error {
	err := c.answerDashboard(c.share.Account, true)
	if store.Missing(err) {
		return errNoShare // the account is being deleted
	}
	return err
}

// shows reports whether a share shows a node. Disabled ones concern nobody outside.
func shows(s *core.Share, n *core.Node) bool { return n.Account == s.Account && !n.Disabled }
