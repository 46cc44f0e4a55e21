package adminapi

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream/amazonq"
)

// The routes under which the older Amazon Q pool kept its accounts and their statistics, with its names and defaults. An
// account there is a node of kind amazonq here; ids are numbers.
const (
	accountsPath = "/admin/accounts"
	statsPath    = "/admin/stats"
)

// poolView is a node as these routes show it; the fields are the older pool's. What is not known is null.
type poolView struct {
	ID           int64      `json:"id"`
	Name         string     `json:"name"`
	Profile      *string    `json:"profile_arn"`
	IsActive     bool       `json:"is_active"`
	IsHealthy    bool       `json:"is_healthy"`
	Requests     int64      `json:"total_requests"`
	Tokens       int64      `json:"total_tokens"`
	LastUsed     *time.Time `json:"last_used"` // of the first 200 of a list
	LastCheck    *time.Time `json:"last_health_check"`
	CheckError   *string    `json:"health_check_error"`
	ErrorCount   int        `json:"error_count"`
	LastErrorAt  *time.Time `json:"last_error_time"`
	FirstErrorAt *time.Time `json:"first_error_time"`
	RecoverAt    *time.Time `json:"auto_recover_at"`
	RPM          int64      `json:"requests_per_minute"`
	CurrentRPM   int64      `json:"current_rpm"`
	ResetAt      *time.Time `json:"rpm_reset_at"`
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`
	Notes        *string    `json:"notes"`
	Warning      string     `json:"warning,omitempty"`
}

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
	if amazonq.ValidRegion(p) && in.TokenRegion == nil {
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

// poolNodes lists the amazonq nodes of an account ("" for all) by id, with their states read anew.
func (c *call) poolNodes(account string) ([]core.Node, error) {
	rows, err := c.a.o.Tables.Nodes.All(c.r.Context(), account)
	if err != nil {
		return nil, err
	}
	var nodes []core.Node
	byAccount := make(map[string][]string)
	for _, r := range rows {
		if n := r.Value; n.Kind == core.KindAmazonQ {
			nodes = append(nodes, n)
			byAccount[n.Account] = append(byAccount[n.Account], n.ID)
		}
	}
	for a, ids := range byAccount {
		if err := c.a.o.Health.Reload(c.r.Context(), a, ids); err != nil { // other instances may have learnt more
			return nil, err
		}
	}
	slices.SortFunc(nodes, func(a, b core.Node) int { return store.CompareIDs(a.ID, b.ID) })
	return nodes, nil
}

// poolNode reads the node that the path names; for anyone else's, and for one of another kind, it answers as if there were
// none.
func (c *call) poolNode() (core.Node, error) {
	missing := core.E(core.CodeNotFound, "Account not found")
	if !c.who.nodes {
		return core.Node{}, core.E(core.CodeForbidden, "this key may not manage accounts; send an admin key")
	}
	if !decimal(c.id) {
		return core.Node{}, missing
	}
	n, err := c.node(c.id)
	switch {
	case err != nil && core.AsError(err).Code == core.CodeNotFound || err == nil && n.Kind != core.KindAmazonQ:
		return core.Node{}, missing
	case err != nil:
		return core.Node{}, err
	}
	return n, nil
}

// healthy reports whether a node is neither failed nor blocked, nor cools down for all models.
func healthy(s *core.NodeState, now time.Time) bool {
	return s == nil || !s.Failed && s.Blocked == "" && !s.Cooling[""].After(now)
}

// state is what is known of a node here; nil when nothing is.
func (c *call) state(n *core.Node) *core.NodeState {
	return c.a.o.Health.Node(c.r.Context(), n.ID, n.Account).State()
}

// freshState is state with what other instances have learnt.
func (c *call) freshState(n *core.Node) (*core.NodeState, error) {
	if err := c.a.o.Health.Reload(c.r.Context(), n.Account, []string{n.ID}); err != nil {
		return nil, err
	}
	return c.state(n), nil
}

// viewPools shows nodes, of which used tells by id what they were used for, and checks how they were seen last.
func (c *call) viewPools(nodes []core.Node, used map[string]core.UsageSum, checks map[string]*core.NodeCheck) ([]poolView, error) {
	views := make([]poolView, 0, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		v := viewPool(n, c.state(n), used[n.ID], c.a.o.Now())
		v.checked(checks[n.ID])
		if i < maxLastUsed && used[n.ID].Requests > 0 {
			at, err := c.lastUsed(n)
			if err != nil {
				return nil, err
			}
			v.LastUsed = at
		}
		views = append(views, v)
	}
	return views, nil
}

func (c *call) lastUsed(n *core.Node) (*time.Time, error) {
	recs, _, err := c.a.o.Usage.Records(c.r.Context(), store.UsageFilter{Account: n.Account, Node: n.ID}, "", 1)
	if err != nil || len(recs) == 0 {
		return nil, err
	}
	return &recs[0].EndedAt, nil
}

func viewPool(n *core.Node, s *core.NodeState, used core.UsageSum, now time.Time) poolView {
	id, _ := strconv.ParseInt(n.ID, 10, 64)
	v := poolView{ID: id, Name: n.Name, Profile: orNull(n.Profile), IsActive: !n.Disabled, IsHealthy: healthy(s, now), Requests: used.Requests,
		Tokens: used.Tokens.TotalInput() + used.Tokens.Output, RPM: n.Limits.RPM, CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt, Notes: orNull(n.Notes)}
	if s == nil {
		return v
	}
	v.ErrorCount, v.CheckError = s.FailStreak, orNull(s.LastError)
	if s.Blocked != "" && s.LastError == "" {
		v.CheckError = &s.Blocked
	}
	if at := s.LastErrAt.UTC(); !s.LastErrAt.IsZero() {
		v.LastErrorAt = &at
	}
	if until := s.Cooling[""].UTC(); until.After(now) {
		v.RecoverAt = &until
	}
	return v
}

// checked shows the last health check. What clients' requests met is told in its place where that is known.
func (v *poolView) checked(last *core.NodeCheck) {
	if last == nil || last.Last.At.IsZero() {
		return
	}
	v.LastCheck = momentOf(last.Last.At)
	if !last.Last.OK && v.CheckError == nil {
		v.CheckError = orNull(last.Last.Error)
	}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// usedByNode sums usage by node.
func (c *call) usedByNode(f store.UsageFilter) (map[string]core.UsageSum, error) {
	sums, err := c.a.o.Usage.Sums(c.r.Context(), f, store.GroupNode)
	if err != nil {
		return nil, err
	}
	used := make(map[string]core.UsageSum, len(sums))
	for _, s := range sums {
		used[s.Group] = s
	}
	return used, nil
}

func (c *call) listPool() error {
	account, err := c.nodesOf()
	if err != nil {
		return err
	}
	only := c.r.URL.Query().Get("active_only")
	active, err := strconv.ParseBool(only)
	if only != "" && err != nil {
		return bad("active_only: must be true or false")
	}
	nodes, err := c.poolNodes(account)
	if err != nil {
		return err
	}
	if active {
		nodes = slices.DeleteFunc(nodes, func(n core.Node) bool { return n.Disabled })
	}
	used, err := c.usedByNode(store.UsageFilter{Account: account})
	if err != nil {
		return err
	}
	checks, err := c.checks(c.r.Context(), account)
	if err != nil {
		return err
	}
	views, err := c.viewPools(nodes, used, checks)
	if err != nil {
		return err
	}
	return c.ok(views)
}

// answerPool answers with one node.
func (c *call) answerPool(n core.Node, warning string) error {
	v, _, err := c.onePool(n)
	if err != nil {
		return err
	}
	v.Warning = warning
	return c.ok(v)
}

// onePool is a node as these routes show it, with the sum of what it was used for.
func (c *call) onePool(n core.Node) (poolView, core.UsageSum, error) {
	if _, err := c.freshState(&n); err != nil {
		return poolView{}, core.UsageSum{}, err
	}
	sums, err := c.a.o.Usage.Sums(c.r.Context(), store.UsageFilter{Account: n.Account, Node: n.ID}, store.GroupNone)
	if err != nil {
		return poolView{}, core.UsageSum{}, err
	}
	used := make(map[string]core.UsageSum, 1)
	if len(sums) > 0 {
		used[n.ID] = sums[0]
	}
	checks := make(map[string]*core.NodeCheck, 1)
	if last, err := c.a.o.Tables.Checks.Get(c.r.Context(), n.ID); err == nil {
		checks[n.ID] = &last.Value
	} else if !store.Missing(err) {
		return poolView{}, core.UsageSum{}, err
	}
	views, err := c.viewPools([]core.Node{n}, used, checks)
	if err != nil {
		return poolView{}, core.UsageSum{}, err
	}
	return views[0], used[n.ID], nil
}

func (c *call) showPool() error {
	n, err := c.poolNode()
	if err != nil {
		return err
	}
	return c.answerPool(n, "")
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
