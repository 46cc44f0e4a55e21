package adminapi

import (
	"context"
	"errors"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

// Pool is what the API needs of the client of Amazon Q and of the vault that keeps its access tokens. It is safe for
// concurrent use. Its errors: a *core.Error is shown as it is, an *upstream.Error by its reason, upstream.ErrInvalidGrant as
// what it says; anything else is logged and shown as a failed call of the service.
type Pool interface {
	// BeginLogin registers a client and starts a device login with it.
	BeginLogin(ctx context.Context, where LoginPlace) (DeviceLogin, error)
	// PollLogin asks once how a login stands. The grant is set for LoginComplete alone.
	PollLogin(ctx context.Context, l DeviceLogin) (LoginStatus, upstream.Grant, error)
	// Refresh exchanges the node's refresh token now and keeps what it brings; it returns the time until the new access
	// token ends. A node with an API key has nothing to refresh: 0.
	Refresh(ctx context.Context, n core.Node) (time.Duration, error)
	// TokenInfo tells of the access token that is kept for the node.
	TokenInfo(ctx context.Context, n core.Node) (TokenInfo, error)
	// Quota asks the service what the node's account has used.
	Quota(ctx context.Context, n core.Node) (amazonq.Quota, error)
	// Forget drops the tokens of a node that was deleted. Those of a credential that was replaced are void by themselves.
	Forget(ctx context.Context, node string) error
}

// LoginPlace is where a device login takes place.
type LoginPlace struct {
	StartURL string // of IAM Identity Center; empty: AWS Builder ID
	Region   string // of the token service; empty: us-east-1
}

// DeviceLogin is a device login under way.
type DeviceLogin struct {
	LoginPlace
	ClientID                string
	ClientSecret            core.Secret
	DeviceCode              core.Secret
	UserCode                string // what the page shows the user
	VerificationURI         string
	VerificationURIComplete string        // with the code in it; empty: the service gave none
	ExpiresIn               time.Duration // of DeviceCode
	Interval                time.Duration // between polls, at least
}

// LoginStatus is how a login stands.
type LoginStatus string

// How a login can stand.
const (
	LoginPending  LoginStatus = "pending"
	LoginSlowDown LoginStatus = "slow_down" // pending, and polled too often: 5 s more between polls from now on
	LoginExpired  LoginStatus = "expired"
	LoginDenied   LoginStatus = "denied"
	LoginComplete LoginStatus = "complete"
)

// TokenInfo tells of an access token without showing it.
type TokenInfo struct {
	Cached    bool       `json:"cached"`     // there is one
	ExpiresAt *time.Time `json:"expires_at"` // null: there is none, or it does not end
	Valid     bool       `json:"is_valid"`   // it is good for now
}

// pool is the Pool, or an error that tells that there is none.
func (c *call) pool() (Pool, error) {
	if c.a.o.Pool == nil {
		return nil, core.E(core.CodeUnavailable, "not implemented here: this gateway runs without a client of Amazon Q")
	}
	return c.a.o.Pool, nil
}

// poolFailed makes an error of the Pool into one to show.
func (c *call) poolFailed(err error) error {
	var own *core.Error
	var told *upstream.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, upstream.ErrInvalidGrant):
		return core.E(core.CodeBadGateway, upstream.ErrInvalidGrant.Error())
	case errors.As(err, &told):
		return core.E(core.CodeBadGateway, "the service refused: "+told.Reason)
	case errors.Is(err, context.DeadlineExceeded):
		return core.E(core.CodeTimeout, "the service did not answer in time")
	}
	c.a.o.Log.Warn("call of Amazon Q for the admin API failed", "path", c.r.URL.Path, "error", err)
	return core.E(core.CodeBadGateway, "the call of the service failed; the gateway's log tells why")
}

// poolTimeout bounds a call of the service.
const poolTimeout = 30 * time.Second

// upstreamContext bounds a call of the service. A caller that leaves does not end it: what it brings must be kept.
func (c *call) upstreamContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), poolTimeout)
}
