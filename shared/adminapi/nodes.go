package adminapi

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
)

// nodesOf is the account whose nodes the call is about.
func (c *call) nodesOf() (string, error) { return c.managed(c.r.URL.Query().Get("account_id")) }

// managed is the account with that id, "" for the caller's own, if the caller may manage its nodes and what belongs to them.
func (c *call) managed(id string) (string, error) {
	if !c.who.nodes {
		return "", core.E(core.CodeForbidden, "this key may not manage nodes")
	}
	return c.targetOf(id)
}

// owned reads a document that the path or the body names. For anyone else's, and for an id that no document of ours can
// have, it answers as if there were none.
func owned[T any](c *call, t *store.Table[T], id string, missing error, account func(*T) string) (T, error) {
	var none T
	if !c.who.nodes {
		return none, core.E(core.CodeForbidden, "this key may not manage nodes")
	}
	if len(id) > maxID || id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return none, missing
	}
	r, err := t.Get(c.r.Context(), id)
	if store.Missing(err) || err == nil && !c.who.admin && account(&r.Value) != c.who.account {
		return none, missing
	}
	if err != nil {
		return none, err
	}
	return r.Value, nil
}

// maxID bounds the ids that are looked up.
const maxID = 64

// nodeInput is the body of create and update. On update a missing field changes nothing, and so does an empty name;
// an empty api_key removes the credential, an empty wire, auth_header, api, region or profile_arn, and of an amazonq or bedrock
// node an empty base_url, goes back to the default.
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
	Notes        *string            `json:"notes"`
	amazonQInput
	bedrockInput
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
	if k := core.Kind(text(in.Kind)); text(in.BaseURL) == "" && !findsHost(k) {
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
		n.Name = string(n.Kind) + "-" + n.ID
		// only a host that a share knows again, and hides, when the node has moved
		if u, err := url.Parse(n.BaseURL); err == nil && tellsHost(u.Host) {
			n.Name = u.Host
		}
	}
	if _, err := c.a.o.Tables.Nodes.Create(c.r.Context(), n); err != nil {
		return err
	}
	c.added(&n)
	return c.created(map[string]string{"id": n.ID})
}

// findsHost reports whether nodes of a kind know their host without a base URL.
func findsHost(k core.Kind) bool { return k == core.KindAmazonQ || k == core.KindBedrock }

func kindList(ks []core.Kind) string {
	var out []string
	for _, k := range ks {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}

// applyNode checks the input and puts it into n.
func (c *call) applyNode(n *core.Node, in *nodeInput) error {
	before := *n
	if s := text(in.Name); s != "" {
		if err := checkName("name", s); err != nil {
			return err
		}
		n.Name = s
	}
	if err := applyAddress(n, in); err != nil {
		return err
	}
	if err := c.applyCredential(n, in); err != nil {
		return err
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
	if err := applyAmazonQ(n, in); err != nil {
		return err
	}
	if err := c.applyBedrock(n, in); err != nil {
		return err
	}
	if err := c.checkMove(&before, n, in); err != nil {
		return err
	}
	if in.Notes != nil {
		notes := strings.ReplaceAll(text(in.Notes), "\r\n", "\n")
		if err := checkText("notes", notes, maxNotes); err != nil {
			return err
		}
		n.Notes = notes
	}
	if s := text(in.HealthMethod); s != "" {
		if !slices.Contains([]string{"api", "head", "cli"}, s) {
			return bad("health_check_method: must be api, head or cli")
		}
		if n.Kind == core.KindBedrock && s != "api" {
			return bad("health_check_method: must be api: Bedrock's hosts answer nothing else")
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

// applyCredential seals the credential into n.
func (c *call) applyCredential(n *core.Node, in *nodeInput) error {
	switch n.Kind {
	case core.KindAmazonQ:
		return c.sealAmazonQ(n, in)
	case core.KindBedrock:
		return c.sealBedrock(n, in)
	}
	if in.APIKey == nil {
		return nil
	}
	k := strings.TrimSpace(*in.APIKey)
	if err := checkSecret("api_key", k); err != nil {
		return err
	}
	n.Credential = c.a.o.Box.Seal(directory.CredentialOwner(n.ID), core.NewSecret(k))
	return nil
}

// checkSecret refuses what cannot be sent in a header.
func checkSecret(field, s string) error {
	if len(s) > 8192 {
		return bad(field + ": is too long")
	}
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return bad(field + ": must hold only visible ASCII characters")
		}
	}
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
	r, err := c.a.o.Tables.Nodes.Update(c.r.Context(), old.ID, func(n *core.Node) error {
		if err := c.applyNode(n, &in); err != nil {
			return err
		}
		return in.Limits.carry(c, n.Limits, n.Account, store.KindNode, n.ID)
	})
	if err != nil {
		return err
	}
	if err := c.nodeChanged(&old, &r.Value); err != nil {
		return err
	}
	c.edited(&old, &r.Value)
	return c.ok(map[string]string{"id": old.ID})
}

// nodeChanged forgives a node whose address, credential or way to send it changed: what is known of the old one says nothing
// of the new one.
func (c *call) nodeChanged(old, now *core.Node) error {
	if now.BaseURL == old.BaseURL && now.Credential == old.Credential && now.Wire == old.Wire && now.AuthHeader == old.AuthHeader &&
		now.API == old.API && now.Region == old.Region && now.Profile == old.Profile {
		return nil
	}
	_, err := c.a.o.Tables.Checks.Update(c.r.Context(), now.ID, func(k *core.NodeCheck) error {
		k.Last = core.HealthCheck{}
		return nil
	})
	if err != nil && !store.Missing(err) {
		return err
	}
	return c.a.o.Health.Clear(c.r.Context(), now.ID, now.Account)
}

func (c *call) deleteNode() error {
	n, err := c.node(c.r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	if err := c.removeNode(&n); err != nil {
		return err
	}
	return c.ok(map[string]string{"deleted": n.ID})
}

// removeNode deletes a node and its activation.
func (c *call) removeNode(n *core.Node) error {
	if err := c.dropNode(n.ID); err != nil {
		return err
	}
	if err := c.dropDays(n); err != nil {
		return err
	}
	c.emit(core.EventNodeDeleted, n, "The node was deleted.")
	_, err := c.a.o.Tables.Accounts.Update(c.r.Context(), n.Account, func(a *core.Account) error {
		if a.ActiveNode == n.ID {
			a.ActiveNode = ""
		}
		return nil
	})
	if err != nil && !store.Missing(err) {
		return err
	}
	return nil
}

func (c *call) dropNode(id string) error {
	if err := c.a.o.Tables.Nodes.Delete(c.r.Context(), id); err != nil && !store.Missing(err) {
		return err
	}
	if c.a.o.Pool != nil {
		if err := c.a.o.Pool.Forget(c.r.Context(), id); err != nil {
			return err
		}
	} else if err := c.a.o.Tables.Tokens.Delete(c.r.Context(), id); err != nil && !store.Missing(err) {
		return err
	}
	if err := c.a.o.Health.Forget(c.r.Context(), id); err != nil {
		return err
	}
	if err := c.a.o.Tables.Checks.Delete(c.r.Context(), id); err != nil && !store.Missing(err) {
		return err
	}
	return nil
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
	account, name, id := "", "", strings.TrimSpace(*in.ID)
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
		account, name = n.Account, n.Name
	}
	before := ""
	_, err := c.a.o.Tables.Accounts.Update(c.r.Context(), account, func(a *core.Account) error {
		before, a.ActiveNode = a.ActiveNode, id
		return nil
	})
	if err != nil {
		return err
	}
	if before != id {
		c.tell(switchedTo(account, id, name))
	}
	return c.ok(map[string]string{"active": id})
}

// switchedTo is the event of an activation; id is empty when it ended.
func switchedTo(account, id, name string) core.Event {
	e := core.Event{Type: core.EventNodeSwitched, Account: account, Subject: "account " + account, Node: id, Name: name,
		Text: "The node was activated: requests go to it first."}
	if id == "" {
		e.Text = "No node is activated any more: requests go by weight."
	}
	return e
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
	var before core.Node
	r, err := c.a.o.Tables.Nodes.Update(c.r.Context(), n.ID, func(n *core.Node) error {
		before = *n
		n.Disabled, n.UpdatedAt = disable, c.a.o.Now().UTC()
		return nil
	})
	if err != nil {
		return err
	}
	if before.Disabled != disable {
		c.edited(&before, &r.Value)
	}
	if disable {
		return c.ok(map[string]string{"disabled": n.ID})
	}
	if err := c.a.o.Health.Clear(c.r.Context(), n.ID, n.Account); err != nil {
		return err
	}
	return c.ok(map[string]string{"enabled": n.ID})
}
