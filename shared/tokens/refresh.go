package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

// obtain is the way of a token that memory alone does not give. Callers of one node take turns: who has the turn asks store
// and token service, and the others find the answer in memory.
func (v *Vault) obtain(ctx context.Context, t upstream.Target, w want) (core.Secret, error) {
	e := v.entry(t.Node.ID)
	select {
	case <-e.turn:
	default:
		if w.leave {
			return core.Secret{}, errElsewhere
		}
		if s := e.state.Load(); s != nil && s.credential == t.Credential && w.since.IsZero() && w.bridges(s.tok, v.o.Now()) {
			return s.tok.access, nil
		}
		if err := queue(ctx, e); err != nil {
			return core.Secret{}, err
		}
	}
	return v.run(ctx, e, t, w)
}

func queue(ctx context.Context, e *entry) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-e.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a token: %w", ctx.Err())
	case <-timer.C:
		return tooLong()
	}
}

// inTurn does what can be done without the lease.
func (v *Vault) inTurn(ctx context.Context, e *entry, t upstream.Target, w want) (core.Secret, error) {
	if !v.take(ctx, e, t) {
		return core.Secret{}, replaced()
	}
	s := e.state.Load()
	if s.tok != nil && s.tok.fixed {
		if !w.allows(s.tok) {
			return core.Secret{}, failed(upstream.Failure{Class: upstream.Credential, Reason: "the upstream refuses the API key"})
		}
		return s.tok.access, nil
	}
	if s.debt != nil && (w.eager || !v.o.Now().Before(s.debt.retry)) {
		if v.repay(ctx, e, t) {
			v.release(context.WithoutCancel(ctx), e, t)
		}
		s = e.state.Load()
	}
	now := v.o.Now()
	switch {
	case w.met(s.tok, now):
		return s.tok.access, nil
	case s.lost != nil && now.Before(s.lost.look) && !w.tries(s.lost):
		return core.Secret{}, loginNeeded()
	case now.Before(s.retry) && (!w.eager || w.leave && s.refusals > 0):
		if w.bridges(s.tok, now) {
			return s.tok.access, nil
		}
		if s.failure != nil {
			f := *s.failure
			if f.Class == upstream.RateLimited {
				f.RetryAfter = s.retry.Sub(now)
			}
			return core.Secret{}, failed(f)
		}
	}
	return v.fetch(ctx, e, t, w)
}

// take makes the state one of the target's credential. It reports false for a credential that was replaced meanwhile.
func (v *Vault) take(ctx context.Context, e *entry, t upstream.Target) bool {
	s := e.state.Load()
	if s != nil && s.credential == t.Credential {
		return true
	}
	if s != nil && t.Node.UpdatedAt.Before(s.edited) {
		return false
	}
	next := state{credential: t.Credential, origin: v.origin(t.Credential), edited: t.Node.UpdatedAt}
	if s != nil && s.origin == next.origin { // the same login: its tokens stay, and what went wrong may be right now
		next.tok, next.debt = s.tok, s.debt
	} else if s != nil && s.debt != nil { // nobody needs the old credential's token any more
		v.release(context.WithoutCancel(ctx), e, t)
	}
	if key, ok := v.o.Static(t.Credential); ok {
		next.tok = &token{access: key, fixed: true}
	}
	e.state.Store(&next)
	return true
}

// fetch reads the document until it has what is wanted, or the lease to make it can be had.
func (v *Vault) fetch(ctx context.Context, e *entry, t upstream.Target, w want) (core.Secret, error) {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		d, err := v.read(within, t)
		if err != nil {
			return v.storeAway(ctx, e, t, w, err)
		}
		if access, done, err := v.adopt(ctx, e, t, w, &d); done {
			return access, err
		}
		fence, err := v.acquire(ctx, e, t)
		if err == nil {
			return v.hold(ctx, e, t, w, fence)
		}
		if !errors.Is(err, store.ErrHeld) {
			return v.storeAway(ctx, e, t, w, err)
		}
		if w.leave {
			return core.Secret{}, errElsewhere
		}
		if s := e.state.Load(); w.since.IsZero() && w.bridges(s.tok, v.o.Now()) {
			e.set(func(s *state) { s.retry = v.o.Now().Add(heldPause) })
			return s.tok.access, nil
		}
		if err := pause(within, wait); err != nil {
			if ctx.Err() != nil {
				return core.Secret{}, fmt.Errorf("wait for a token: %w", ctx.Err())
			}
			return core.Secret{}, tooLong()
		}
	}
}

// acquire does not end with the caller: a lease whose number nobody heard would lock all instances out until it ends.
func (v *Vault) acquire(ctx context.Context, e *entry, t upstream.Target) (int64, error) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return v.o.Leases.Acquire(own, leaseName(t), e.holder, v.o.Now(), leaseTTL)
}

func leaseName(t upstream.Target) string { return "token:" + t.Node.ID }

// adopt takes over what the document says. done: that is the answer.
func (v *Vault) adopt(ctx context.Context, e *entry, t upstream.Target, w want, d *record) (access core.Secret, done bool, err error) {
	now := v.o.Now()
	if s := e.state.Load(); s.debt == nil { // else ours is newer than what is saved
		switch {
		case d.stale:
			return core.Secret{}, true, replaced()
		case (d.lost || s.lost != nil && s.lost.tried == d.refresh) && w.tries(s.lost):
			e.set(func(s *state) { s.tok = nil })
		case d.lost || s.lost != nil && s.lost.tried == d.refresh:
			if !d.lost {
				v.markLost(ctx, e, t, d) // it could not be saved when it was found
			}
			e.set(func(s *state) {
				found := time.Time{}
				if s.lost != nil {
					found = s.lost.found
				}
				s.tok, s.lost = nil, &loss{tried: d.refresh, found: found, look: now.Add(failedPause)}
			})
			return core.Secret{}, true, loginNeeded()
		case d.tok != nil && (s.tok == nil || s.tok.access != d.tok.access):
			e.set(func(s *state) { s.tok, s.retry, s.failure, s.refusals, s.lost = d.tok, time.Time{}, nil, 0, nil })
		case s.lost != nil:
			e.set(func(s *state) { s.lost = nil })
		}
	}
	k := e.state.Load().tok
	switch {
	case w.met(k, now):
		return k.access, true, nil
	case k != nil && !w.allows(k) && now.Sub(k.made) < newborn:
		return core.Secret{}, true, failed(upstream.Failure{Class: upstream.Credential, Reason: "the upstream refuses an access token that is new"})
	}
	return core.Secret{}, false, nil
}

// hold makes a token under the lease. What it does does not end with the caller: an answer of the token service that nobody
// takes is a login lost.
func (v *Vault) hold(ctx context.Context, e *entry, t upstream.Target, w want, fence int64) (core.Secret, error) {
	own := context.WithoutCancel(ctx)
	work, cancel := context.WithTimeout(own, workTime)
	defer cancel()
	defer func() {
		if e.state.Load().debt == nil { // else others would refresh with a token that is spent
			v.release(own, e, t)
		}
	}()
	if e.state.Load().debt != nil && !v.repay(work, e, t) {
		return v.storeAway(ctx, e, t, w, errors.New("the token made last is not saved yet"))
	}
	d, err := v.read(work, t) // again: from here on nobody else changes it
	if err != nil {
		return v.storeAway(ctx, e, t, w, err)
	}
	if access, done, err := v.adopt(work, e, t, w, &d); done {
		return access, err
	}
	grant, err := v.o.Refresh(work, t.Credential, d.refresh, *t.Node)
	if errors.Is(err, upstream.ErrInvalidGrant) {
		var access core.Secret
		var done bool
		if access, done, grant, err = v.secondTry(work, e, t, w, &d); done {
			return access, err
		}
	}
	if err != nil {
		return v.failing(e, t, w, err)
	}
	return v.keep(own, e, t, w, &d, fence, grant)
}

// secondTry is for a refresh token that was refused. When the document has another one meanwhile, its token is taken, or
// that one tried, once; for an operator the credential's own is tried as well. Else the login has ended. d becomes what was
// read.
func (v *Vault) secondTry(ctx context.Context, e *entry, t upstream.Target, w want, d *record) (core.Secret, bool, upstream.Grant, error) {
	again, err := v.read(ctx, t)
	if err != nil { // nothing is known for sure: the next call will ask again
		access, err := v.storeAway(ctx, e, t, w, err)
		return access, true, upstream.Grant{}, err
	}
	if again.refresh != d.refresh {
		*d = again
		if access, done, err := v.adopt(ctx, e, t, w, d); done {
			return access, true, upstream.Grant{}, err
		}
		grant, err := v.o.Refresh(ctx, t.Credential, d.refresh, *t.Node)
		if !errors.Is(err, upstream.ErrInvalidGrant) {
			return core.Secret{}, false, grant, err
		}
	}
	if w.again && !d.refresh.IsZero() {
		grant, err := v.o.Refresh(ctx, t.Credential, core.Secret{}, *t.Node)
		if err == nil && grant.Refresh.IsZero() {
			d.refresh = core.Secret{} // the one that is good
		}
		if !errors.Is(err, upstream.ErrInvalidGrant) {
			return core.Secret{}, false, grant, err
		}
	}
	v.markLost(ctx, e, t, d)
	e.set(func(s *state) {
		now := v.o.Now()
		s.tok, s.failure, s.refusals, s.lost = nil, nil, 0, &loss{tried: d.refresh, found: now, look: now.Add(failedPause)}
	})
	return core.Secret{}, true, upstream.Grant{}, loginNeeded()
}

// markLost tells all instances, now and after restarts, that the login has ended, unless the document changed since it was
// read as d. Memory knows it in any case.
func (v *Vault) markLost(ctx context.Context, e *entry, t upstream.Target, d *record) {
	if e.gone.Load() {
		return
	}
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	_, err := v.o.Tables.Tokens.Upsert(saving, t.Node.ID, func(cur *core.NodeToken) error {
		if (cur.Node != "") != d.had || d.had && !same(*cur, d.saved) {
			return errOvertaken
		}
		if cur.Origin != d.origin { // of a credential that was replaced
			*cur = core.NodeToken{Node: t.Node.ID, Account: t.Node.Account, Origin: d.origin, Fence: cur.Fence}
		}
		// the fence stays: this is no newer token, and one that another instance could not save yet may take its place
		cur.Access, cur.Lost, cur.LostBy, cur.Edited = "", true, v.o.Box.Hash(t.Credential.Reveal()), later(cur.Edited, t.Node.UpdatedAt)
		return nil
	})
	if err != nil && !errors.Is(err, errOvertaken) {
		v.o.Log.Warn("the end of a node's login could not be saved; it will be tried again", "node", t.Node.ID, "error", err)
	}
}

// keep saves what the token service gave, and only then uses it.
func (v *Vault) keep(own context.Context, e *entry, t upstream.Target, w want, d *record, fence int64, g upstream.Grant) (core.Secret, error) {
	now := v.o.Now().UTC()
	if g.Expires.Before(now.Add(minLife)) {
		g.Expires = now.Add(minLife) // one that ends at once would be refreshed by each request
	}
	if g.Refresh.IsZero() {
		g.Refresh = d.refresh
	}
	node := t.Node.ID
	owed := &debt{read: d.saved, had: d.had, fence: fence, doc: core.NodeToken{Node: node, Account: t.Node.Account, Origin: d.origin, Fence: fence,
		Access: v.o.Box.Seal(AccessOwner(node), g.Access), Refresh: v.o.Box.Seal(RefreshOwner(node), g.Refresh), Made: now, Expires: g.Expires.UTC(),
		Edited: later(d.saved.Edited, t.Node.UpdatedAt)}}
	tok := &token{access: g.Access, made: now, expires: g.Expires}
	if g.Access.IsZero() {
		tok = nil
	}
	err := v.saveHard(own, e, owed)
	e.set(func(s *state) {
		s.tok, s.failure, s.refusals, s.lost, s.retry, s.debt = tok, nil, 0, nil, time.Time{}, nil
		if err != nil && !errors.Is(err, errOvertaken) {
			owed.retry = v.o.Now().Add(failedPause)
			s.debt = owed
		}
	})
	switch {
	case errors.Is(err, errOvertaken):
		v.o.Log.Warn("the lease of a token refresh was lost; another instance's token takes the place of this one", "node", node)
		if d, err := v.read(own, t); err == nil && w.met(d.tok, v.o.Now()) {
			tok = d.tok
			e.set(func(s *state) { s.tok = tok })
		}
	case err != nil:
		v.o.Log.Error("A NODE'S NEW TOKEN COULD NOT BE SAVED. It is in use and saving goes on, but when this process ends first, the node needs a new login. "+
			"Check the store.", "node", node, "error", err)
	}
	if tok == nil {
		return v.failing(e, t, w, failed(upstream.Failure{Class: upstream.Server, Reason: "an answer without an access token"}))
	}
	return tok.access, nil
}

// saveHard tries a few times: more hangs on this write than on others.
func (v *Vault) saveHard(own context.Context, e *entry, d *debt) (err error) {
	ctx, cancel := context.WithTimeout(own, saveTime)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait *= 4 {
		if err = v.save(ctx, e, d); err == nil || errors.Is(err, errOvertaken) || wait > 500*time.Millisecond {
			return err
		}
		if pause(ctx, wait) != nil {
			return err
		}
	}
}

// repay saves what could not be saved when it was made. It reports whether nothing is owed any more; then the lease that was
// kept for it may go.
func (v *Vault) repay(ctx context.Context, e *entry, t upstream.Target) bool {
	owed := *e.state.Load().debt
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	err := v.save(saving, e, &owed)
	if err != nil && !errors.Is(err, errOvertaken) {
		owed.retry = v.o.Now().Add(failedPause)
		e.set(func(s *state) { s.debt = &owed })
		v.o.Log.Error("a node's new token is still not saved", "node", t.Node.ID, "error", err)
		return false
	}
	e.set(func(s *state) { s.debt = nil })
	if err == nil {
		v.o.Log.Info("a node's new token is saved at last", "node", t.Node.ID)
	}
	return true
}

func (v *Vault) release(own context.Context, e *entry, t upstream.Target) {
	ctx, cancel := context.WithTimeout(own, storeTime)
	defer cancel()
	if err := v.o.Leases.Release(ctx, leaseName(t), e.holder); err != nil {
		v.o.Log.Warn("lease of a token refresh could not be given back; it ends within a minute", "node", t.Node.ID, "error", err)
	}
}
