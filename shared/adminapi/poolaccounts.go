package adminapi

import (
	"slices"
	"strconv"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
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

	State       core.Condition `json:"state,omitempty"` // this and the next in parts of a list
	StateReason string         `json:"state_reason,omitempty"`

	node *core.Node
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
func (c *call) viewPools(nodes []core.Node, used map[string]core.UsageSum, checks map[string]*core.NodeCheck) []poolView {
	views := make([]poolView, 0, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		v := viewPool(n, c.state(n), used[n.ID], c.a.o.Now())
		v.checked(checks[n.ID])
		v.node = n
		views = append(views, v)
	}
	return views
}

// poolsUsed looks up when the first of nodes were used last.
func (c *call) poolsUsed(views []poolView) error {
	return each(min(len(views), maxLastUsed), useTrips, func(i int) (err error) {
		if v := &views[i]; v.Requests > 0 {
			v.LastUsed, err = c.lastUsed(v.node)
		}
		return err
	})
}

func (c *call) lastUsed(n *core.Node) (*time.Time, error) {
	return c.lastUse(store.UsageFilter{Account: n.Account, Node: n.ID})
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

// usedSince sums usage by node, of a filter that names a time.
func (c *call) usedSince(f store.UsageFilter) (map[string]core.UsageSum, error) {
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
	views := c.viewPools([]core.Node{n}, used, checks)
	if err := c.poolsUsed(views); err != nil {
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
