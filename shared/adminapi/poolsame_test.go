package adminapi_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/shared/core"
)

// Two nodes with one login end each other's: each refresh voids the other's token. So the answer warns of it; and the node
// that AMAZONQ_* made takes what the guide's call says of it, as step 8 repeats what the .env holds.
func TestOneLoginOneAccount(t *testing.T) {
	p := newPool(t, &fakeQ{})
	id := strings.TrimPrefix(p.add("one"), "/admin/accounts/")
	const body = `{"name":"NAME","refresh_token":"refresh-secret-one","client_id":"client-one","client_secret":"client-secret-one"}`
	two := p.want(200, "POST", "/admin/accounts", strings.Replace(body, "NAME", "two", 1)).json()
	if w, _ := two["warning"].(string); !strings.Contains(w, "the account one has the same login") {
		t.Errorf("no warning of a second account of one login: %v", two)
	}
	p.want(200, "DELETE", fmt.Sprintf("/admin/accounts/%v", two["id"]), "")
	if _, err := p.tables.Nodes.Update(t.Context(), id, func(n *core.Node) error { n.Operator, n.Name = true, "amazonq"; return nil }); err != nil {
		t.Fatal(err)
	}
	p.want(200, "POST", "/admin/accounts", strings.Replace(body, "NAME", "主账号", 1))
	nodes, err := p.tables.Nodes.All(t.Context(), "")
	if err != nil || len(nodes) != 1 || nodes[0].Value.Name != "主账号" || nodes[0].Value.Credential == "" {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
}
