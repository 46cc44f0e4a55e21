package adminapi

import (
	"cmp"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/amazonq"
)

// refreshPool exchanges the refresh token now.
func (c *call) refreshPool() error {
	n, err := c.poolNode()
	if err != nil {
		return err
	}
	expires, err := c.refreshNode(n)
	if err != nil {
		return err
	}
	v := viewPool(&n, nil, core.UsageSum{}, c.a.o.Now())
	return c.ok(map[string]any{"message": "Token refreshed", "account_id": v.ID, "account_name": n.Name, "expires_in": int64(expires / time.Second)})
}

// refreshNode refreshes a node's token. What held it back is over then, a cool-down for all models too, but no suspension.
func (c *call) refreshNode(n core.Node) (time.Duration, error) {
	p, err := c.pool()
	if err != nil {
		return 0, err
	}
	ctx, cancel := c.upstreamContext()
	defer cancel()
	expires, err := p.Refresh(ctx, n)
	if err != nil {
		return 0, c.poolFailed(err)
	}
	s, err := c.freshState(&n)
	if err != nil {
		return 0, err
	}
	if !healthy(s, c.a.o.Now()) && s.Blocked != core.BlockedSuspended {
		if err := c.a.o.Health.Clear(ctx, n.ID, n.Account); err != nil {
			return 0, err
		}
	}
	return expires, nil
}

// poolStatsView is a node in detail.
type poolStatsView struct {
	poolView
	Success      int64          `json:"success_requests"`
	InputTokens  int64          `json:"input_tokens"` // all classes
	OutputTokens int64          `json:"output_tokens"`
	State        core.Condition `json:"state"` // this and the next five as /admin/api/nodes tells them
	StateReason  string         `json:"state_reason"`
	AccountID    string         `json:"account_id"` // the tenant's
	API          string         `json:"api"`
	Region       string         `json:"region"`
	HasAPIKey    bool           `json:"has_api_key"`
	Token        *TokenInfo     `json:"token_info"`
}

func (c *call) poolStats() error {
	n, err := c.poolNode()
	if err != nil {
		return err
	}
	view, used, err := c.onePool(n)
	if err != nil {
		return err
	}
	v := poolStatsView{poolView: view, Success: used.Success, InputTokens: used.Tokens.TotalInput(), OutputTokens: used.Tokens.Output}
	acct, err := c.a.o.Tables.Accounts.Get(c.r.Context(), n.Account)
	if err != nil {
		return err
	}
	v.State, _, v.StateReason = c.condition(&n, c.state(&n), nil, &acct.Value)
	v.AccountID, v.API, v.Region, v.HasAPIKey = n.Account, cmp.Or(n.API, "q"), n.Region, n.Credential != ""
	if p := c.a.o.Pool; p != nil {
		info, err := p.TokenInfo(c.r.Context(), n)
		if err != nil {
			return err
		}
		v.Token = &info
	}
	return c.ok(v)
}

func (c *call) poolQuota() error {
	n, err := c.poolNode()
	if err != nil {
		return err
	}
	p, err := c.pool()
	if err != nil {
		return err
	}
	ctx, cancel := c.upstreamContext()
	defer cancel()
	q, err := p.Quota(ctx, n)
	if err != nil {
		return c.poolFailed(err)
	}
	now := c.a.o.Now()
	s, err := c.freshState(&n)
	if err != nil {
		return err
	}
	if s != nil && s.Cooling[""].After(now) && q.Room(now) {
		if err := c.a.o.Health.EndCooling(ctx, n.ID, n.Account); err != nil {
			return err
		}
	}
	v := viewPool(&n, nil, core.UsageSum{}, now)
	return c.ok(struct {
		ID      int64  `json:"account_id"`
		Account string `json:"account_name"`
		amazonq.Quota
	}{v.ID, n.Name, q})
}
