package adminapi

import (
	"slices"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

// poolInput is the body of create and update. On update a missing field changes nothing.
type poolInput struct {
	Name     *string `json:"name"`
	APIKey   *string `json:"api_key"`
	Notes    *string `json:"notes"`
	RPM      *int64  `json:"requests_per_minute"`
	IsActive *bool   `json:"is_active"`
	amazonQInput
}

// profileOf drops a profile that is none, as the older pool did, which wrote regions there, and tells so.
func (in *poolInput) profileOf() (warning string) {
	p := text(in.Profile)
	if p == "" || strings.HasPrefix(p, "arn:") {
		return ""
	}
	if upstream.ValidRegion(p) && in.TokenRegion == nil {
		in.TokenRegion = &p
	}
	in.Profile = nil
	return "profile_arn does not begin with arn: and was ignored; the service chooses the profile"
}

// apply checks the input and puts it into n.
func (c *call) applyPool(n *core.Node, in *poolInput) error {
	if err := c.applyNode(n, &nodeInput{Name: in.Name, APIKey: in.APIKey, Notes: in.Notes, amazonQInput: in.amazonQInput}); err != nil {
		return err
	}
	if in.IsActive != nil {
		n.Disabled = !*in.IsActive
	}
	return (&limitsInput{RPM: in.RPM}).apply(&n.Limits, "")
}

// alone waits until no other call makes pool accounts; done lets the next one in.
func (c *call) alone() (done func(), err error) {
	select {
	case c.a.making <- struct{}{}:
		return func() { <-c.a.making }, nil
	case <-c.r.Context().Done():
		return nil, core.E(core.CodeUnavailable, "too many calls make accounts at the same time; send the request again")
	}
}

// takenNames are the names of an account's amazonq nodes, the node self left out.
func (c *call) takenNames(account, self string) (map[string]bool, error) {
	rows, err := c.a.o.Tables.Nodes.All(c.r.Context(), account)
	if err != nil {
		return nil, err
	}
	taken := make(map[string]bool, len(rows))
	for _, r := range rows {
		if r.Value.Kind == core.KindAmazonQ && r.Value.ID != self {
			taken[r.Value.Name] = true
		}
	}
	return taken, nil
}

// poolTarget is the account that a call makes nodes in.
func (c *call) poolTarget() (string, error) {
	if !slices.Contains(c.a.o.Kinds, core.KindAmazonQ) {
		return "", core.E(core.CodeUnavailable, "not implemented here: this gateway serves no nodes of kind amazonq")
	}
	return c.nodesOf()
}

func (c *call) createPool() error {
	account, err := c.poolTarget()
	if err != nil {
		return err
	}
	var in poolInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if text(in.Name) == "" {
		return bad("name is required")
	}
	if text(in.APIKey) == "" {
		for _, f := range []struct {
			name  string
			value *string
		}{{"refresh_token", in.RefreshToken}, {"client_id", in.ClientID}, {"client_secret", in.ClientSecret}} {
			if text(f.value) == "" {
				return bad(f.name + " is required")
			}
		}
	}
	done, err := c.alone()
	if err != nil {
		return err
	}
	defer done()
	taken, err := c.takenNames(account, "")
	if err != nil {
		return err
	}
	if taken[text(in.Name)] {
		return bad("name: another account has it")
	}
	warning := in.profileOf()
	have, err := c.sameLogin(account, &in)
	if err != nil {
		return err
	}
	switch {
	case have == nil:
	case have.Operator && c.who.admin:
		return c.takeSeeded(have, &in, warning)
	default: // the older pool took it; its guide's loop over accounts must not stop here
		warning = strings.TrimPrefix(warning+"; ", "; ") + "the account " + have.Name + " has the same login: as each refresh voids the other's token, one of the two will need a new login. Delete one"
	}
	n, err := c.makePool(account, &in)
	if err != nil {
		return err
	}
	return c.answerPool(n, warning)
}

// sameLogin is the node that has the credential already, nil when none has: two with one login would end each other's, as
// each refresh voids the other's token.
func (c *call) sameLogin(account string, in *poolInput) (*core.Node, error) {
	rows, err := c.a.o.Tables.Nodes.All(c.r.Context(), account)
	if err != nil {
		return nil, err
	}
	id := identity(amazonq.Credential{APIKey: text(in.APIKey), ClientID: text(in.ClientID), RefreshToken: text(in.RefreshToken)})
	for i := range rows {
		n := &rows[i].Value
		if n.Kind != core.KindAmazonQ {
			continue
		}
		if cred, err := c.credential(n); err == nil && identity(cred) == id { // one that cannot be read is like no other
			return n, nil
		}
	}
	return nil, nil
}

// takeSeeded answers a call that makes an account of the login that AMAZONQ_* made a node of, as the older pool's guide has
// both side by side: the node takes what the call says of it.
func (c *call) takeSeeded(have *core.Node, in *poolInput, warning string) error {
	in.RefreshToken, in.ClientID, in.ClientSecret, in.APIKey = nil, nil, nil, nil
	r, err := c.a.o.Tables.Nodes.Update(c.r.Context(), have.ID, func(n *core.Node) error { return c.applyPool(n, in) })
	if err != nil {
		return err
	}
	if err := c.nodeChanged(have, &r.Value); err != nil {
		return err
	}
	c.edited(have, &r.Value)
	return c.answerPool(r.Value, warning)
}

// makePool stores a new node.
func (c *call) makePool(account string, in *poolInput) (core.Node, error) {
	id, err := c.a.o.Tables.NextID(c.r.Context(), store.KindNode)
	if err != nil {
		return core.Node{}, err
	}
	n, err := c.newPool(account, id, in)
	if err != nil {
		return n, err
	}
	if _, err = c.a.o.Tables.Nodes.Create(c.r.Context(), n); err == nil {
		c.added(&n)
	}
	return n, err
}

// newPool makes a node and stores nothing.
func (c *call) newPool(account, id string, in *poolInput) (core.Node, error) {
	n := core.Node{ID: id, Account: account, Kind: core.KindAmazonQ, Weight: 1, HealthMethod: "api", CreatedAt: c.a.o.Now().UTC(), Limits: core.Limits{RPM: poolNodeRPM}}
	err := c.applyPool(&n, in)
	return n, err
}

func (c *call) updatePool() error {
	old, err := c.poolNode()
	if err != nil {
		return err
	}
	var in poolInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if s := text(in.Name); s != "" && s != old.Name {
		done, err := c.alone()
		if err != nil {
			return err
		}
		defer done()
		taken, err := c.takenNames(old.Account, old.ID)
		if err != nil {
			return err
		}
		if taken[s] {
			return bad("name: another account has it")
		}
	}
	warning := in.profileOf()
	r, err := c.a.o.Tables.Nodes.Update(c.r.Context(), old.ID, func(n *core.Node) error { return c.applyPool(n, &in) })
	if err != nil {
		return err
	}
	if err := c.nodeChanged(&old, &r.Value); err != nil {
		return err
	}
	if in.IsActive != nil && *in.IsActive {
		s, err := c.freshState(&old)
		if err != nil {
			return err
		}
		if old.Disabled || !healthy(s, c.a.o.Now()) { // someone acted
			if err := c.a.o.Health.Clear(c.r.Context(), old.ID, old.Account); err != nil {
				return err
			}
		}
	}
	c.edited(&old, &r.Value)
	return c.answerPool(r.Value, warning)
}

func (c *call) deletePool() error {
	n, err := c.poolNode()
	if err != nil {
		return err
	}
	if err := c.removeNode(&n); err != nil {
		return err
	}
	return c.ok(map[string]string{"message": "Account deleted"})
}
