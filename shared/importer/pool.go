package importer

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
)

// usualRPM is what the older pool gave an account.
const usualRPM = 10

// pool takes accounts as nodes.
type pool struct {
	base
	known map[string]string // hash of an identity -> id of the node that has it
	names map[string]bool   // of the account's nodes
}

// begin makes the account and looks at what is there.
func (p *pool) begin(ctx context.Context) error {
	p.known, p.names = make(map[string]string), make(map[string]bool)
	if err := p.defaultAccount(ctx); err != nil {
		return err
	}
	rows, err := p.Tables.Nodes.All(ctx, core.DefaultAccount)
	if err != nil {
		return err
	}
	for i := range rows {
		n := &rows[i].Value
		p.names[n.Name] = true
		if n.Kind != core.KindAmazonQ || n.Credential == "" {
			continue
		}
		cred, err := p.Box.Open(directory.CredentialOwner(n.ID), n.Credential)
		if err != nil { // such a node cannot serve; it is no reason not to import
			continue
		}
		if id := identityOf(cred); id != "" {
			p.known[p.Box.Hash(id)] = n.ID
		}
	}
	return nil
}

// identityOf is PoolAccount.Identity of a node's credential.
func identityOf(cred core.Secret) string {
	s := cred.Reveal()
	if !strings.HasPrefix(s, "{") {
		return s
	}
	var c struct {
		RefreshToken string `json:"refresh_token"`
		APIKey       string `json:"api_key"`
	}
	if json.Unmarshal([]byte(s), &c) != nil {
		return ""
	}
	if c.RefreshToken == "" {
		return c.APIKey
	}
	return c.RefreshToken
}

// take makes a node of an account and returns its id. created is zero for now.
func (p *pool) take(ctx context.Context, a *PoolAccount, created time.Time) (string, error) {
	hash := p.Box.Hash(a.Identity().Reveal())
	var m mark
	meta := metaOf(metaPool, "node", hash)
	if err := p.Tables.ReadMeta(ctx, meta, &m); err != nil && !store.Missing(err) {
		return "", err
	}
	switch have := p.known[hash]; {
	case have != "" && have != m.ID:
		p.skip(a.Where, "node "+have+" has the same login already")
		return have, nil
	case m.Done:
		return p.again(ctx, a, m.ID)
	case m.ID == "":
		var err error
		if m.ID, err = p.claim(ctx, meta, store.KindNode); err != nil {
			return "", err
		}
	}
	n := p.makeNode(a, m.ID, created)
	if _, err := p.Tables.Nodes.Create(ctx, n); err != nil && !errors.Is(err, store.ErrExists) {
		return "", err
	}
	p.known[hash], p.names[n.Name] = n.ID, true
	p.report.Nodes++
	m.Done = true
	return n.ID, p.Tables.WriteMeta(ctx, meta, m)
}

// again is for an account that an earlier run took.
func (p *pool) again(ctx context.Context, a *PoolAccount, id string) (string, error) {
	_, err := p.Tables.Nodes.Get(ctx, id)
	if store.Missing(err) {
		p.skip(a.Where, "it was taken before and deleted here since")
		return id, nil
	}
	if err == nil {
		p.report.Before++
	}
	return id, err
}

func (p *pool) makeNode(a *PoolAccount, id string, created time.Time) core.Node {
	now := p.Now().UTC()
	n := core.Node{ID: id, Account: core.DefaultAccount, Kind: core.KindAmazonQ, API: a.API, Name: a.Name, Profile: a.Profile, Notes: a.Notes,
		Credential: p.Box.Seal(directory.CredentialOwner(id), a.Credential()), Weight: 1, Disabled: a.Disabled,
		Limits: core.Limits{RPM: a.RPM}, HealthMethod: "api", CreatedAt: created, UpdatedAt: now}
	if created.IsZero() {
		n.CreatedAt = now
	}
	if n.Limits.RPM <= 0 {
		n.Limits.RPM = usualRPM
	}
	switch {
	case n.Name == "" || config.CheckName(n.Name) != nil:
		n.Name = "amazonq-" + id
	case p.names[n.Name]:
		n.Name = clip(n.Name, 80) + " (" + id + ")"
	}
	return n
}
