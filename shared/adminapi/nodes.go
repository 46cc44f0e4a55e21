package adminapi

import (
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
)

// nodeView is a node as lists show it: the fields of Guide A's API beside our own. The credential never leaves.
type nodeView struct {
	ID            string            `json:"id"`
	AccountID     string            `json:"account_id"`
	Name          string            `json:"name"`
	Kind          core.Kind         `json:"kind"`
	BaseURL       string            `json:"base_url"`
	HasAPIKey     bool              `json:"has_api_key"`
	Weight        int               `json:"weight"`
	Models        []string          `json:"models,omitempty"`
	ModelMap      map[string]string `json:"model_map,omitempty"`
	Limits        limitsView        `json:"limits"`
	Wire          string            `json:"wire,omitempty"` // of nodes of kind openai
	AuthHeader    string            `json:"auth_header,omitempty"`
	HealthMethod  string            `json:"health_check_method"`
	HealthModel   string            `json:"health_check_model"`
	Active        bool              `json:"active"`
	Disabled      bool              `json:"disabled"`
	State         string            `json:"state"` // online, cooling, failed, disabled
	Failed        bool              `json:"failed"`
	CoolingUntil  *time.Time        `json:"cooling_until,omitempty"`
	FailStreak    int               `json:"fail_streak"`
	LastError     string            `json:"last_error"`
	LastErrorAt   *time.Time        `json:"last_error_at,omitempty"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
	Requests      int64             `json:"requests"`
	FailCount     int64             `json:"fail_count"`
	HealthRate    float64           `json:"health_rate"` // percent of requests that succeeded; 100 before the first
	InputTokens   int64             `json:"input_tokens"`
	OutputTokens  int64             `json:"output_tokens"`
	TotalBytes    int64             `json:"total_bytes"`
	StreamMS      int64             `json:"stream_dur_ms"`
	FirstByteMS   int64             `json:"first_byte_ms"` // mean
	PerToken      string            `json:"avg_recv_ms_per_token"`
	PingMS        *int64            `json:"ping_ms"` // of health checks; null before the first
	PingError     string            `json:"ping_error"`
	LastPingMS    *int64            `json:"last_ping_ms"`
	LastPingError string            `json:"last_ping_error"`
	LastCheckAt   *time.Time        `json:"last_health_check_at"`
}

func (c *call) listNodes() error {
	id, err := c.nodesOf()
	if err != nil {
		return err
	}
	views, err := c.nodeViews(id)
	if err != nil {
		return err
	}
	return c.ok(map[string]any{"nodes": views})
}

// nodesOf is the account whose nodes the call is about.
func (c *call) nodesOf() (string, error) {
	if !c.who.nodes {
		return "", core.E(core.CodeForbidden, "this key may not manage nodes")
	}
	return c.target()
}

func (c *call) nodeViews(account string) ([]nodeView, error) {
	ctx, t := c.r.Context(), c.a.o.Tables
	acct, err := t.Accounts.Get(ctx, account)
	if err != nil {
		return nil, err
	}
	rows, err := t.Nodes.All(ctx, account)
	if err != nil {
		return nil, err
	}
	nodes := make([]core.Node, len(rows))
	for i := range rows {
		nodes[i] = rows[i].Value
	}
	store.SortNodes(nodes)
	ids := make([]string, len(nodes))
	for i := range nodes {
		ids[i] = nodes[i].ID
	}
	if err := c.a.o.Health.Reload(ctx, account, ids); err != nil { // other instances may have learnt more
		return nil, err
	}
	sums, err := c.a.o.Usage.Sums(ctx, store.UsageFilter{Account: account}, store.GroupNode)
	if err != nil {
		return nil, err
	}
	used := make(map[string]core.UsageSum, len(sums))
	for _, s := range sums {
		used[s.Group] = s
	}
	now := c.a.o.Now()
	views := make([]nodeView, 0, len(nodes))
	for _, n := range nodes {
		v := nodeView{ID: n.ID, AccountID: n.Account, Name: n.Name, Kind: n.Kind, BaseURL: n.BaseURL, HasAPIKey: n.Credential != "",
			Weight: n.Weight, Models: n.Models, ModelMap: n.ModelMap, Limits: viewLimits(n.Limits), Wire: n.Wire, AuthHeader: n.AuthHeader, HealthMethod: n.HealthMethod,
			HealthModel: n.HealthModel, Active: n.ID == acct.Value.ActiveNode, Disabled: n.Disabled, CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt}
		if n.Kind == core.KindOpenAI && n.Wire == "" {
			v.Wire = "chat"
		}
		v.health(c.a.o.Health.Node(ctx, n.ID, n.Account).State(), now)
		v.usage(used[n.ID])
		views = append(views, v)
	}
	return views, nil
}

func (v *nodeView) health(s *core.NodeState, now time.Time) {
	v.State = "online"
	if s != nil {
		v.Failed, v.FailStreak, v.LastError = s.Failed, s.FailStreak, s.LastError
		if !s.LastErrAt.IsZero() {
			at := s.LastErrAt.UTC()
			v.LastErrorAt = &at
		}
		for _, until := range s.Cooling {
			if until = until.UTC(); until.After(now) && (v.CoolingUntil == nil || until.After(*v.CoolingUntil)) {
				v.CoolingUntil, v.State = &until, "cooling"
			}
		}
	}
	switch {
	case v.Disabled:
		v.State = "disabled"
	case v.Failed:
		v.State = "failed"
	}
}

func (v *nodeView) usage(s core.UsageSum) {
	v.Requests, v.FailCount = s.Requests, s.Requests-s.Success
	v.HealthRate, v.PerToken = 100, "-"
	if s.Requests > 0 {
		v.HealthRate = math.Round(float64(s.Success)*1000/float64(s.Requests)) / 10
	}
	v.InputTokens, v.OutputTokens, v.TotalBytes, v.StreamMS = s.Tokens.TotalInput(), s.Tokens.Output, s.Bytes, s.StreamMS
	if s.FirstBytes > 0 {
		v.FirstByteMS = s.FirstByteMS / s.FirstBytes
	}
	if s.Tokens.Output > 0 {
		v.PerToken = strconv.FormatFloat(float64(s.StreamMS)/float64(s.Tokens.Output), 'f', 2, 64)
	}
}

// nodeInput is the body of create and update. On update a missing field changes nothing, and so does an empty name;
// an empty api_key removes the credential, an empty wire or auth_header goes back to the default.
type nodeInput struct {
	Name         *string            `json:"name"`
	Kind         *string            `json:"kind"`
	BaseURL      *string            `json:"base_url"`
	APIKey       *string            `json:"api_key"`
	Weight       *int               `json:"weight"`
	Models       *[]string          `json:"models"`
	ModelMap     *map[string]string `json:"model_map"`
	Limits       *limitsInput       `json:"limits"`
	Wire         *string            `json:"wire"`
	AuthHeader   *string            `json:"auth_header"`
	HealthMethod *string            `json:"health_check_method"`
	HealthModel  *string            `json:"health_check_model"`
}

func (c *call) createNode() error {
	account, err := c.nodesOf()
	if err != nil {
		return err
	}
	var in nodeInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if text(in.BaseURL) == "" {
		return bad("base_url is required")
	}
	now := c.a.o.Now().UTC()
	n := core.Node{Account: account, Kind: core.KindAnthropic, Weight: 1, HealthMethod: "api", CreatedAt: now}
	if k := text(in.Kind); k != "" {
		n.Kind = core.Kind(k)
	}
	if !slices.Contains(c.a.o.Kinds, n.Kind) {
		return bad("kind: this version serves nodes of kind " + kindList(c.a.o.Kinds))
	}
	if n.Kind == core.KindAmazonQ {
		n.Limits.RPM = poolNodeRPM
	}
	if n.ID, err = c.a.o.Tables.NextID(c.r.Context(), store.KindNode); err != nil {
		return err
	}
	if err := c.applyNode(&n, &in); err != nil {
		return err
	}
	if n.Name == "" {
		u, _ := url.Parse(n.BaseURL)
		n.Name = u.Host
	}
	if _, err := c.a.o.Tables.Nodes.Create(c.r.Context(), n); err != nil {
		return err
	}
	return c.created(map[string]string{"id": n.ID})
}

func kindList(ks []core.Kind) string {
	var out []string
	for _, k := range ks {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}

// applyNode checks the input and puts it into n.
func (c *call) applyNode(n *core.Node, in *nodeInput) error {
	if s := text(in.Name); s != "" {
		if err := checkName("name", s); err != nil {
			return err
		}
		n.Name = s
	}
	if s := text(in.BaseURL); s != "" && s != n.BaseURL {
		if err := config.CheckURL(s); err != nil || len(s) > 500 {
			return bad("base_url: must be an absolute http or https URL such as https://api.anthropic.com")
		}
		if n.Operator && !c.who.admin && in.APIKey == nil && n.Credential != "" {
			return core.E(core.CodeForbidden, "base_url: this node has the operator's credential; send api_key with a new address")
		}
		n.BaseURL, n.Operator = s, false
	}
	if in.APIKey != nil {
		k := strings.TrimSpace(*in.APIKey)
		if len(k) > 8192 {
			return bad("api_key: is too long")
		}
		for _, r := range k {
			if r <= ' ' || r > '~' {
				return bad("api_key: must hold only visible ASCII characters")
			}
		}
		n.Credential = c.a.o.Box.Seal(directory.CredentialOwner(n.ID), core.NewSecret(k))
	}
	if in.Weight != nil {
		n.Weight = max(1, *in.Weight)
		if *in.Weight > 1_000_000 {
			return bad("weight: must be at most 1000000")
		}
	}
	if in.Models != nil {
		if err := checkModels(*in.Models); err != nil {
			return err
		}
		n.Models = *in.Models
	}
	if in.ModelMap != nil {
		if err := checkModelMap(*in.ModelMap); err != nil {
			return err
		}
		n.ModelMap = *in.ModelMap
	}
	if err := in.Limits.apply(&n.Limits, "limits."); err != nil {
		return err
	}
	if err := applyOpenAI(n, in); err != nil {
		return err
	}
	if s := text(in.HealthMethod); s != "" {
		if !slices.Contains([]string{"api", "head", "cli"}, s) {
			return bad("health_check_method: must be api, head or cli")
		}
		n.HealthMethod = s
	}
	if in.HealthModel != nil {
		if s := text(in.HealthModel); s != "" {
			if err := checkModels([]string{s}); err != nil {
				return bad("health_check_model: is no model name")
			}
			n.HealthModel = s
		}
	}
	n.UpdatedAt = c.a.o.Now().UTC()
	return nil
}

// node reads a node that the caller may manage; for anyone else's it answers as if there were none.
func (c *call) node(id string) (core.Node, error) {
	missing := core.E(core.CodeNotFound, "node not found")
	if !c.who.nodes {
		return core.Node{}, core.E(core.CodeForbidden, "this key may not manage nodes")
	}
	if id == "" {
		return core.Node{}, bad("id is required")
	}
	r, err := c.a.o.Tables.Nodes.Get(c.r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return core.Node{}, missing
	}
	if err != nil {
		return core.Node{}, err
	}
	if r.Value.Account != c.who.account && !c.who.admin {
		return core.Node{}, missing
	}
	return r.Value, nil
}

func (c *call) updateNode() error {
	old, err := c.node(c.r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	var in nodeInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if k := text(in.Kind); k != "" && core.Kind(k) != old.Kind {
		return bad("kind: cannot be changed; add a new node")
	}
	r, err := c.a.o.Tables.Nodes.Update(c.r.Context(), old.ID, func(n *core.Node) error { return c.applyNode(n, &in) })
	if err != nil {
		return err
	}
	if n := r.Value; n.BaseURL != old.BaseURL || in.APIKey != nil || n.Wire != old.Wire || n.AuthHeader != old.AuthHeader {
		// what is known of the old address, key or way to send them says nothing of the new one
		if err := c.a.o.Health.Clear(c.r.Context(), old.ID, old.Account); err != nil {
			return err
		}
	}
	return c.ok(map[string]string{"id": old.ID})
}

func (c *call) deleteNode() error {
	n, err := c.node(c.r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	if err := c.dropNode(n.ID); err != nil {
		return err
	}
	_, err = c.a.o.Tables.Accounts.Update(c.r.Context(), n.Account, func(a *core.Account) error {
		if a.ActiveNode == n.ID {
			a.ActiveNode = ""
		}
		return nil
	})
	if err != nil && !store.Missing(err) {
		return err
	}
	return c.ok(map[string]string{"deleted": n.ID})
}

func (c *call) dropNode(id string) error {
	if err := c.a.o.Tables.Nodes.Delete(c.r.Context(), id); err != nil && !store.Missing(err) {
		return err
	}
	return c.a.o.Health.Forget(c.r.Context(), id)
}

type idInput struct {
	ID *string `json:"id"`
}

// activateNode makes a node the first choice of its account; an empty id goes back to weights.
func (c *call) activateNode() error {
	var in idInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.ID == nil {
		return bad("id is required; an empty one clears the active node")
	}
	account, id := "", strings.TrimSpace(*in.ID)
	if id == "" {
		a, err := c.nodesOf()
		if err != nil {
			return err
		}
		account = a
	} else {
		n, err := c.node(id)
		if err != nil {
			return err
		}
		account = n.Account
	}
	_, err := c.a.o.Tables.Accounts.Update(c.r.Context(), account, func(a *core.Account) error {
		a.ActiveNode = id
		return nil
	})
	if err != nil {
		return err
	}
	return c.ok(map[string]string{"active": id})
}

// switchNode disables or enables a node. Enabling forgives what it failed before.
func (c *call) switchNode(disable bool) error {
	var in idInput
	if err := c.decode(&in); err != nil {
		return err
	}
	n, err := c.node(text(in.ID))
	if err != nil {
		return err
	}
	_, err = c.a.o.Tables.Nodes.Update(c.r.Context(), n.ID, func(n *core.Node) error {
		n.Disabled, n.UpdatedAt = disable, c.a.o.Now().UTC()
		return nil
	})
	if err != nil {
		return err
	}
	if disable {
		return c.ok(map[string]string{"disabled": n.ID})
	}
	if err := c.a.o.Health.Clear(c.r.Context(), n.ID, n.Account); err != nil {
		return err
	}
	return c.ok(map[string]string{"enabled": n.ID})
}
