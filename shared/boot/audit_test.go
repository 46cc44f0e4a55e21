package boot_test

import (
	"strings"
	"testing"

	"sluice/shared/audit"
	"sluice/shared/boot/boottest"
	"sluice/shared/store"
)

// TestSeedsAreAudited: what a start takes over from its variables leaves one entry, a start that changes nothing leaves none, and
// no value of a secret variable is in it.
func TestSeedsAreAudited(t *testing.T) {
	env := map[string]string{"ADMIN_API_KEY": "audit-admin-key-0123", "DEFAULT_PROXY_API_KEY": "audit-proxy-key-0123", "UPSTREAM_API_KEY": "sk-ant-audit-upstream", "UPSTREAM_NAME": "first"}
	g := boottest.Start(t, env)
	for _, c := range []struct {
		why     string
		set     string // of UPSTREAM_NAME
		entries int
		before  string
		after   string
	}{
		{"the first start", "first", 1, "", `"node/1":{"base_url":`},
		{"the same again", "first", 1, "", ""},
		{"another name", "second", 2, `"node/1":{"name":"first"}`, `"node/1":{"name":"second"}`},
		{"the same again", "second", 2, "", ""},
	} {
		env["UPSTREAM_NAME"] = c.set
		if err := g.Restart(env); err != nil {
			t.Fatal(err)
		}
		docs, err := g.Store.List(t.Context(), store.KindAudit, "", "", 10)
		if err != nil || len(docs) != c.entries {
			t.Fatalf("%s: %d entries, %v, want %d", c.why, len(docs), err, c.entries)
		}
		e, err := audit.Parse(docs[len(docs)-1].Body)
		if err != nil || e.Action != "settings.seed" || e.Actor != (audit.Actor{Kind: audit.ActorEnvironment}) || e.Account != "default" ||
			!strings.Contains(string(e.Before), c.before) || !strings.Contains(string(e.After), c.after) {
			t.Errorf("%s: %+v, %v", c.why, e, err)
		}
		for _, secret := range []string{"audit-admin", "audit-proxy", "sk-ant-audit"} {
			if strings.Contains(string(docs[len(docs)-1].Body), secret) {
				t.Errorf("%s: shows %q", c.why, secret)
			}
		}
		if docs[0].Expires.Sub(e.At).Hours() > 366*24 || docs[0].Expires.IsZero() {
			t.Errorf("kept until %v", docs[0].Expires)
		}
	}
}
