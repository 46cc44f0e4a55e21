package tokens

import (
	"context"
	"fmt"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

func failed(f upstream.Failure) error { return &upstream.Error{Failure: f} }

func loginNeeded() error {
	return failed(upstream.Failure{Class: upstream.Credential, Blocked: core.BlockedLogin,
		Reason: "login needed: the token service refuses the refresh token; log in again"})
}

func tooLong() error {
	return failed(upstream.Failure{Class: upstream.Connection, Reason: "another request refreshes the access token and takes too long"})
}

// replaced is for a request that still has the credential that a node had before it was edited. It must not make a token: that
// would take the place of the new credential's.
func replaced() error {
	return failed(upstream.Failure{Class: upstream.RateLimited, All: true, RetryAfter: heldPause, Reason: "the node's credential was replaced a moment ago"})
}

// failing judges an error of the token service. While the present token is good it goes on to be used; it is not asked
// again before a pause is over.
func (v *Vault) failing(e *entry, t upstream.Target, w want, err error) (core.Secret, error) {
	f := upstream.ClassifyError(err)
	wait, refusals := failedPause, 0
	switch f.Class {
	case upstream.RateLimited:
		f.All = true // every model needs the token
		f.RetryAfter = min(max(f.RetryAfter, wait), maxPause)
		wait = f.RetryAfter
	case upstream.ClientFault:
		f.Class = upstream.Credential // the client has no part in it
	case upstream.OK, upstream.Stopped:
		f.Class = upstream.Connection
	}
	if f.Class == upstream.Credential { // it may pass, but not by being asked every few seconds
		refusals = min(e.state.Load().refusals+1, 8)
		wait = min(failedPause<<(refusals-1), maxPause)
	}
	f.Reason = "no new access token: " + f.Reason
	now := v.o.Now()
	e.set(func(s *state) { s.failure, s.retry, s.refusals = &f, now.Add(wait), refusals })
	if k := e.state.Load().tok; w.bridges(k, now) && !w.leave && w.since.IsZero() {
		v.o.Log.Warn("a node's access token could not be refreshed; the present one is used while it lasts", "node", t.Node.ID, "until", k.expires,
			"reason", f.Reason)
		return k.access, nil
	}
	return core.Secret{}, failed(f)
}

// storeAway is for a store that cannot be asked. A refresh without it might spend the refresh token of another instance, so
// the present token goes on to be used, or the node rests for a moment without blame.
func (v *Vault) storeAway(ctx context.Context, e *entry, t upstream.Target, w want, err error) (core.Secret, error) {
	if ctx.Err() != nil {
		return core.Secret{}, fmt.Errorf("read a token: %w", ctx.Err())
	}
	now := v.o.Now()
	f := upstream.Failure{Class: upstream.RateLimited, All: true, RetryAfter: heldPause, Reason: "the gateway's store cannot be reached to refresh the access token"}
	e.set(func(s *state) {
		s.failure, s.retry, s.refusals = &f, now.Add(heldPause), 0
	})
	v.o.Log.Warn("a node's access token cannot be refreshed without the store", "node", t.Node.ID, "error", err, "retry", heldPause.String())
	if k := e.state.Load().tok; w.bridges(k, now) && w.since.IsZero() && !w.leave {
		return k.access, nil
	}
	return core.Secret{}, failed(f)
}
