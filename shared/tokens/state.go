package tokens

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

// entry is what this process knows of a node. Who has the turn may change the state; all may read it.
type entry struct {
	turn   chan struct{} // holds one item
	holder string        // of the node's lease; the turn keeps two callers from being one holder
	state  atomic.Pointer[state]
	gone   atomic.Bool // deleted: nothing is saved any more
}

// set changes a copy of the state and publishes it. The caller has the turn.
func (e *entry) set(edit func(*state)) {
	s := *e.state.Load()
	edit(&s)
	e.state.Store(&s)
}

// state belongs to one origin, and to the latest credential of it. It is never changed, only replaced.
type state struct {
	credential core.Secret
	origin     string            // of the credential
	edited     time.Time         // the node's UpdatedAt, when the credential was first seen
	tok        *token            // nil: none
	retry      time.Time         // until then a present token is not refreshed, and a failure is repeated
	failure    *upstream.Failure // of the last refresh; nil: it went well
	refusals   int               // refreshes in a row that the token service refused without ending the login
	lost       *loss             // nil: the login is good
	debt       *debt             // nil: the store has what we have
}

// serves reports whether a request needs nothing but the token in memory.
func (s *state) serves(now time.Time) bool {
	if s.debt != nil && !now.Before(s.debt.retry) {
		return false
	}
	return s.tok.lasts(now, early) || now.Before(s.retry) && s.tok.usable(now)
}

// token is an access token. It is never changed.
type token struct {
	access        core.Secret
	fixed         bool // an API key: never ends
	made, expires time.Time
}

// usable reports whether a request can be sent with it. nil is none.
func (k *token) usable(now time.Time) bool {
	return k != nil && (k.fixed || now.Add(margin).Before(k.expires))
}

// lasts reports whether more than ahead of its life is left, or of a short life a quarter.
func (k *token) lasts(now time.Time, ahead time.Duration) bool {
	if !k.usable(now) || k.fixed {
		return k != nil && k.fixed
	}
	if !k.made.IsZero() {
		ahead = min(ahead, k.expires.Sub(k.made)/4)
	}
	return now.Add(ahead).Before(k.expires)
}

// loss is a login that ended.
type loss struct {
	tried core.Secret // the refresh token that was refused
	found time.Time   // when this process asked; zero: the document says so
	look  time.Time   // when to read the document again, in case that someone saved another
}

// debt is a token that could not be saved yet.
type debt struct {
	doc   core.NodeToken
	read  core.NodeToken // what the store had under the lease
	had   bool           // it had something
	fence int64
	retry time.Time
}

// want is what a caller asks for.
type want struct {
	early   time.Duration // life that must be left before another is made
	refused core.Secret   // not this one; empty: any
	since   time.Time     // made then or later; zero: any
	eager   bool          // not held up by the pause after a failure
	again   bool          // tries a login that ended
	leave   bool          // neither waits for others nor minds that they refresh
}

// met reports whether the token is what is asked for.
func (w want) met(k *token, now time.Time) bool {
	return k.lasts(now, w.early) && w.allows(k) && !k.made.Before(w.since)
}

// bridges reports whether the token will do while a better one cannot be had.
func (w want) bridges(k *token, now time.Time) bool { return k.usable(now) && w.allows(k) }

func (w want) allows(k *token) bool { return w.refused.IsZero() || k.access != w.refused }

// tries reports whether a login that ended is asked for once more: by an operator, unless it was, at another's word, since
// this one asked. nil is a login of which only the document tells.
func (w want) tries(l *loss) bool { return w.again && (l == nil || l.found.Before(w.since)) }

// record is a node's document in the clear.
type record struct {
	origin  string         // of the credential asked about
	saved   core.NodeToken // as it is stored; zero: nothing is
	had     bool           // something is, perhaps of another credential
	tok     *token         // nil: none of this credential
	refresh core.Secret    // empty: the credential's own
	lost    bool           // and the login that ended is the target's credential
	stale   bool           // written by who knows a newer credential
}

// origin is what documents name a credential's origin by.
func (v *Vault) origin(credential core.Secret) string { return v.o.Box.Hash(v.o.Origin(credential)) }

// read returns the node's document as it concerns the target's credential.
func (v *Vault) read(ctx context.Context, t upstream.Target) (record, error) {
	r := record{origin: v.origin(t.Credential)}
	row, err := v.o.Tables.Tokens.Get(ctx, t.Node.ID)
	if errors.Is(err, store.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.saved, r.had = row.Value, true
	if r.saved.Origin != r.origin {
		r.stale = t.Node.UpdatedAt.Before(r.saved.Edited)
		return r, nil // of a credential that was replaced
	}
	if r.saved.Lost && r.saved.LostBy != v.o.Box.Hash(t.Credential.Reveal()) {
		// what was wrong may have been the client's secret or the region, which are no part of the origin: each edit gets a try
		r.stale = t.Node.UpdatedAt.Before(r.saved.Edited)
	} else {
		r.lost = r.saved.Lost
	}
	access, err := v.o.Box.Open(AccessOwner(t.Node.ID), r.saved.Access)
	if err == nil {
		r.refresh, err = v.o.Box.Open(RefreshOwner(t.Node.ID), r.saved.Refresh)
	}
	if err != nil {
		// the credential's own refresh token is all that is left; when it is spent the node says so
		v.o.Log.Error("saved token of a node cannot be opened; a new one is made", "node", t.Node.ID, "error", err)
		return r, nil
	}
	if !access.IsZero() && !r.saved.Lost {
		r.tok = &token{access: access, made: r.saved.Made, expires: r.saved.Expires}
	}
	return r, nil
}

var (
	// errElsewhere is for who leaves a refresh to another instance.
	errElsewhere = errors.New("another instance refreshes the token")
	// errOvertaken is the answer of save when the store has a newer token.
	errOvertaken = errors.New("another instance saved a newer token")
)

// save writes the token unless a later holder of the lease wrote one. Nothing is saved for a node that was deleted.
func (v *Vault) save(ctx context.Context, e *entry, d *debt) error {
	if e.gone.Load() {
		return nil
	}
	_, err := v.o.Tables.Tokens.Upsert(ctx, d.doc.Node, func(cur *core.NodeToken) error {
		switch {
		case cur.Node == "" && d.had:
			return errOvertaken // deleted meanwhile
		case cur.Node != "" && !same(*cur, d.read) && cur.Fence > d.fence:
			return errOvertaken
		}
		fence := max(d.fence, cur.Fence) // the numbers may begin anew in a store that was moved to
		*cur = d.doc
		cur.Fence = fence
		return nil
	})
	return err
}

// same reports whether two documents are one: what is sealed is never the same twice.
func same(a, b core.NodeToken) bool {
	return a.Origin == b.Origin && a.Access == b.Access && a.Refresh == b.Refresh && a.Fence == b.Fence && a.Lost == b.Lost && a.LostBy == b.LostBy
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pause waits for d; the error is ctx's.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
