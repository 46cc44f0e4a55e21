package adminapi

import "sluice/shared/store"

// meView is who makes a call.
type meView struct {
	AccountID   string `json:"account_id"`
	AccountName string `json:"account_name"`
	Admin       bool   `json:"is_admin"` // administers every account
	Nodes       bool   `json:"nodes"`    // may manage the account's nodes
	Person      bool   `json:"person"`   // signed in by the account's password
	Version     string `json:"version"`
}

func (c *call) showMe() error {
	v := meView{AccountID: c.who.account, Admin: c.who.admin, Nodes: c.who.nodes, Person: c.who.person, Version: c.a.o.Version}
	a, err := c.a.o.Tables.Accounts.Get(c.r.Context(), c.who.account)
	if err != nil && !store.Missing(err) {
		return err
	}
	v.AccountName = a.Value.Name
	return c.ok(v)
}
