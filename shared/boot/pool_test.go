package boot_test

import (
	"testing"

	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/upstream/amazonq"
	"sluice/shared/upstream/upstreamtest"
)

// A node that waited for a login kept waiting although its token was good; one that is suspended waits on.
func TestSweepUnblocks(t *testing.T) {
	for why, want := range map[string]string{core.BlockedLogin: "", core.BlockedSuspended: core.BlockedSuspended} {
		oidc := upstreamtest.NewOIDC(t)
		l := oidc.Login()
		env := map[string]string{"AMAZONQ_TOKEN_ENDPOINT": oidc.URL, "AMAZONQ_REFRESH_TOKEN": l.RefreshToken, "AMAZONQ_CLIENT_ID": l.ClientID, "AMAZONQ_CLIENT_SECRET": l.ClientSecret}
		g := boottest.Start(t, env)
		nodes, err := g.Tables.Nodes.All(t.Context(), "")
		if err != nil || len(nodes) != 1 {
			t.Fatalf("%d nodes, %v", len(nodes), err)
		}
		id, account := nodes[0].Value.ID, nodes[0].Value.Account
		g.RefreshTokens(t.Context())
		_, err = g.Tables.States.Upsert(t.Context(), id, func(s *core.NodeState) error { // as another instance does
			*s = core.NodeState{Node: id, Account: account, Blocked: why, FailStreak: 1}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		g.RefreshTokens(t.Context())
		row, err := g.Tables.States.Get(t.Context(), id)
		if err != nil || row.Value.Blocked != want || row.Value.FailStreak != 1 {
			t.Errorf("%s: now %+v, %v", why, row.Value, err)
		}
	}
}

// An edit of the region or the start URL made the gateway forget the refresh token that came last, and spend the credential's
// own again: the node asked for a new login.
func TestEditOfALoginsRegionKeepsItsTokens(t *testing.T) {
	oidc := upstreamtest.NewOIDC(t)
	l := oidc.Login()
	env := map[string]string{"AMAZONQ_TOKEN_ENDPOINT": oidc.URL, "AMAZONQ_REFRESH_TOKEN": l.RefreshToken, "AMAZONQ_CLIENT_ID": l.ClientID, "AMAZONQ_CLIENT_SECRET": l.ClientSecret}
	g := boottest.Start(t, env)
	g.RefreshTokens(t.Context())
	nodes, err := g.Tables.Nodes.All(t.Context(), "")
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	n := nodes[0].Value
	before, err := g.Tables.Tokens.Get(t.Context(), n.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Tables.Nodes.Update(t.Context(), n.ID, func(n *core.Node) error {
		own, err := g.Box.Open(directory.CredentialOwner(n.ID), n.Credential)
		if err != nil {
			return err
		}
		cred, err := amazonq.ParseCredential(own)
		if err != nil {
			return err
		}
		cred.StartURL = "https://d-1.awsapps.com/start"
		n.Credential = g.Box.Seal(directory.CredentialOwner(n.ID), cred.Secret())
		n.UpdatedAt = n.UpdatedAt.Add(1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g.RefreshTokens(t.Context())
	after, err := g.Tables.Tokens.Get(t.Context(), n.ID)
	if err != nil || after.Value.Lost || after.Value.Access != before.Value.Access || oidc.Refreshes() != 1 {
		t.Errorf("%d refreshes; the token is now %+v, %v", oidc.Refreshes(), after.Value, err)
	}
}
