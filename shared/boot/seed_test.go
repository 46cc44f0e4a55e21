package boot_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/upstreamtest"
)

const boss = "my-secure-admin-key"

func nodes(t *testing.T, g *boottest.Gateway) []map[string]any {
	t.Helper()
	return g.Want(200, "GET", "/admin/api/nodes", "", "x-admin-key", boss).List("nodes")
}

func account(t *testing.T, g *boottest.Gateway) map[string]any {
	t.Helper()
	return g.Want(200, "GET", "/admin/api/accounts", "", "x-admin-key", boss).List("accounts")[0]
}

// TestStartupNotesOfGuideA: the two lines the guide promises, and no other secret.
func TestStartupNotesOfGuideA(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	g := boottest.Start(t, upstreamEnv(up))
	for _, want := range []string{"Admin API Key: admin", "Account 'default': proxy_api_key=default-proxy-key"} {
		if !slices.Contains(g.Notes, want) {
			t.Errorf("no note %q in\n%s", want, notes(g))
		}
	}
	if strings.Contains(notes(g), "sk-ant-your-key") {
		t.Errorf("the notes show the upstream's key:\n%s", notes(g))
	}
	if status, by := ask(g, "default-proxy-key"); status != 200 || by != "default" {
		t.Errorf("Guide A's first request: %d by %q", status, by)
	}
	restart(t, g, upstreamEnv(up, "ADMIN_API_KEY", boss, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "DEFAULT_ACCOUNT_NAME", "team-alpha"))
	if s := notes(g); strings.Contains(s, boss) || strings.Contains(s, "alpha-proxy") || !strings.Contains(s, "Account 'team-alpha': proxy_api_key is set") {
		t.Errorf("notes of the production start:\n%s", s)
	}
	if status, _ := ask(g, "default-proxy-key"); status != 401 {
		t.Errorf("the default proxy key after DEFAULT_PROXY_API_KEY was set: %d, want 401", status)
	}
}

// TestSeedsOfTheFirstStart: which variables make a node.
func TestSeedsOfTheFirstStart(t *testing.T) {
	for _, c := range []struct {
		reason         string
		env            map[string]string
		name, base     string
		nodes, hasCred bool
	}{
		{"nothing of the upstream: no node", nil, "", "", false, false},
		{"a name alone: no node", map[string]string{"UPSTREAM_NAME": "n"}, "", "", false, false},
		{"a key alone: Anthropic's address", map[string]string{"UPSTREAM_API_KEY": "sk-ant-x"}, "default", "https://api.anthropic.com", true, true},
		{"an address alone: no credential", map[string]string{"UPSTREAM_BASE_URL": "https://relay.example"}, "default", "https://relay.example", true, false},
		{"all three", map[string]string{"UPSTREAM_BASE_URL": "https://relay.example", "UPSTREAM_API_KEY": "k", "UPSTREAM_NAME": "n"}, "n", "https://relay.example", true, true},
		{"empty values, as compose passes them", map[string]string{"UPSTREAM_BASE_URL": "", "UPSTREAM_API_KEY": "", "DEFAULT_ACCOUNT_NAME": "", "DEFAULT_PROXY_API_KEY": ""}, "", "", false, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			env := map[string]string{"ADMIN_API_KEY": boss}
			for k, v := range c.env {
				env[k] = v
			}
			g := boottest.Start(t, env)
			ns := nodes(t, g)
			if (len(ns) == 1) != c.nodes {
				t.Fatalf("nodes: %v", ns)
			}
			if c.nodes && (ns[0]["name"] != c.name || ns[0]["base_url"] != c.base || ns[0]["has_api_key"] != c.hasCred) {
				t.Errorf("node: %v", ns[0])
			}
			if a := account(t, g); a["id"] != "default" || a["name"] != "default" || a["has_proxy_api_key"] != true {
				t.Errorf("account: %v", a)
			}
		})
	}
}

// TestRestartUndoesNoEdit: what the API changed or deleted stays so while the variables stay as they were, or go.
func TestRestartUndoesNoEdit(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	full := upstreamEnv(up, "ADMIN_API_KEY", boss, "DEFAULT_ACCOUNT_NAME", "team-alpha", "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_NAME", "alpha-node-1")
	g := boottest.Start(t, full)
	g.Secret(boss, "alpha-proxy-key-123", "edited-proxy-key-1", "sk-ant-your-key", "sk-ant-edited")
	id := nodes(t, g)[0]["id"].(string)
	g.Want(200, "PUT", "/admin/api/accounts?id=default", `{"name":"edited","proxy_api_key":"edited-proxy-key-1"}`, "x-admin-key", boss)
	g.Want(200, "PUT", "/admin/api/nodes?id="+id, `{"name":"edited-node","api_key":"sk-ant-edited","weight":4}`, "x-admin-key", boss)
	same := func(reason string) {
		t.Helper()
		if a := account(t, g); a["name"] != "edited" {
			t.Errorf("%s: account %v", reason, a)
		}
		if status, by := ask(g, "edited-proxy-key-1"); status != 200 || by != "edited-node" {
			t.Errorf("%s: %d by %q", reason, status, by)
		}
		if status, _ := ask(g, "alpha-proxy-key-123"); status != 401 {
			t.Errorf("%s: the variable's key answers %d", reason, status)
		}
		if up.Last().Credential() != "sk-ant-edited" {
			t.Errorf("%s: the upstream got %q", reason, up.Last().Credential())
		}
		if ns := nodes(t, g); len(ns) != 1 || ns[0]["weight"] != 4.0 {
			t.Errorf("%s: nodes %v", reason, ns)
		}
	}
	restart(t, g, full)
	same("restarted")
	restart(t, g, map[string]string{"ADMIN_API_KEY": boss})
	same("the variables are gone: unset is no change")
	restart(t, g, full)
	same("and are back, as they were applied last")

	g.Want(200, "DELETE", "/admin/api/nodes?id="+id, "", "x-admin-key", boss)
	restart(t, g, full)
	if ns := nodes(t, g); len(ns) != 0 {
		t.Errorf("a deleted node came back: %v", ns)
	}
	restart(t, g, map[string]string{"ADMIN_API_KEY": boss})
	restart(t, g, full)
	if ns := nodes(t, g); len(ns) != 0 {
		t.Errorf("a deleted node came back with the same variables: %v", ns)
	}
	full["UPSTREAM_API_KEY"] = "sk-ant-rotated"
	g.Secret("sk-ant-rotated")
	restart(t, g, full)
	ns := nodes(t, g)
	if len(ns) != 1 || ns[0]["name"] != "alpha-node-1" || ns[0]["weight"] != 1.0 {
		t.Fatalf("a changed variable must bring the whole node back: %v", ns)
	}
	if status, by := ask(g, "edited-proxy-key-1"); status != 200 || by != "alpha-node-1" || up.Last().Credential() != "sk-ant-rotated" {
		t.Errorf("%d by %q with %q", status, by, up.Last().Credential())
	}
}

// TestChangedVariablesAreApplied, each alone, without touching what the API set of the rest.
func TestChangedVariablesAreApplied(t *testing.T) {
	up, other := upstreamtest.NewAnthropic(t), upstreamtest.NewAnthropic(t)
	env := upstreamEnv(up, "ADMIN_API_KEY", boss, "DEFAULT_ACCOUNT_NAME", "a", "DEFAULT_PROXY_API_KEY", "proxy-key-one-1234", "UPSTREAM_NAME", "n")
	g := boottest.Start(t, env)
	id := nodes(t, g)[0]["id"].(string)
	g.Want(200, "PUT", "/admin/api/nodes?id="+id, `{"weight":6}`, "x-admin-key", boss)
	g.Secret("proxy-key-one-1234", "proxy-key-two-1234", "sk-ant-two")
	for _, c := range []struct {
		variable, value string
		ok              func() bool
	}{
		{"DEFAULT_ACCOUNT_NAME", "b", func() bool { return account(t, g)["name"] == "b" }},
		{"DEFAULT_PROXY_API_KEY", "proxy-key-two-1234", func() bool {
			old, _ := ask(g, "proxy-key-one-1234")
			now, _ := ask(g, "proxy-key-two-1234")
			return old == 401 && now == 200
		}},
		{"UPSTREAM_NAME", "m", func() bool { return nodes(t, g)[0]["name"] == "m" }},
		{"UPSTREAM_API_KEY", "sk-ant-two", func() bool {
			ask(g, "proxy-key-two-1234")
			return up.Last().Credential() == "sk-ant-two"
		}},
		{"UPSTREAM_BASE_URL", other.URL, func() bool {
			status, _ := ask(g, "proxy-key-two-1234")
			return status == 200 && other.Last().Credential() == "sk-ant-two" && nodes(t, g)[0]["base_url"] == other.URL
		}},
	} {
		env[c.variable] = c.value
		restart(t, g, env)
		if !c.ok() {
			t.Errorf("%s was changed to no effect: nodes %v, account %v", c.variable, nodes(t, g), account(t, g))
		}
		if ns := nodes(t, g); len(ns) != 1 || ns[0]["weight"] != 6.0 || ns[0]["id"] != id {
			t.Errorf("%s: the rest of the node changed: %v", c.variable, ns)
		}
	}
}

// TestRotatedOperatorKeyNeverGoesToATenantsAddress: the default account's key may point the node elsewhere with a
// credential of its own; the operator's next credential must not follow.
func TestRotatedOperatorKeyNeverGoesToATenantsAddress(t *testing.T) {
	up, evil := upstreamtest.NewAnthropic(t), upstreamtest.NewAnthropic(t)
	env := upstreamEnv(up, "ADMIN_API_KEY", boss, "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123", "UPSTREAM_ALLOW_PRIVATE", "true")
	g := boottest.Start(t, env)
	id := nodes(t, g)[0]["id"].(string)
	g.Want(200, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"`+evil.URL+`","api_key":"own"}`, "x-api-key", "alpha-proxy-key-123")
	env["UPSTREAM_API_KEY"] = "sk-ant-rotated"
	restart(t, g, env)
	ask(g, "alpha-proxy-key-123")
	for _, r := range evil.Requests() {
		if r.Credential() != "own" {
			t.Errorf("the tenant's address got %q", r.Credential())
		}
	}
	if up.Last().Credential() != "sk-ant-rotated" {
		t.Errorf("the operator's address got %q", up.Last().Credential())
	}
}

// TestCorrectedUpstreamKeyIsUsedAtOnce: the node that failed with the wrong key must not stay failed after the restart that
// corrects it.
func TestCorrectedUpstreamKeyIsUsedAtOnce(t *testing.T) {
	up := upstreamtest.NewAnthropic(t, upstreamtest.WithKey("sk-ant-right"))
	env := upstreamEnv(up, "ADMIN_API_KEY", boss, "PROXY_FAIL_THRESHOLD", "1", "DEFAULT_PROXY_API_KEY", "alpha-proxy-key-123")
	g := boottest.Start(t, env)
	if status, _ := ask(g, "alpha-proxy-key-123"); status == 200 {
		t.Fatal("the wrong key works")
	}
	if n := nodes(t, g)[0]; n["failed"] != true {
		t.Fatalf("the node has not failed: %v", n)
	}
	restart(t, g, env)
	if n := nodes(t, g)[0]; n["failed"] != true || n["last_error"] == "" {
		t.Errorf("a restart alone forgets what is known of a node: %v", n)
	}
	env["UPSTREAM_API_KEY"] = "sk-ant-right"
	restart(t, g, env)
	if status, _ := ask(g, "alpha-proxy-key-123"); status != 200 {
		t.Errorf("after the correction: %d", status)
	}
}

// TestInstancesStartingAtOnce on one store make exactly one of each.
func TestInstancesStartingAtOnce(t *testing.T) {
	up := upstreamtest.NewAnthropic(t)
	for round := range 5 {
		s := memory.New()
		c, err := boottest.Parse(upstreamEnv(up, "DEFAULT_ACCOUNT_NAME", fmt.Sprint("round ", round)))
		if err != nil {
			t.Fatal(err)
		}
		open := map[string]boot.Opener{"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
			return boot.Opened{Store: s, Where: "memory"}, nil
		}}
		apps := make([]*boot.App, 16)
		var wg sync.WaitGroup
		for i := range apps {
			wg.Go(func() {
				app, err := boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: c, Openers: open, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
				if err != nil {
					t.Error(err)
				}
				apps[i] = app
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		count := func(kind string) int {
			docs, err := s.List(t.Context(), kind, "", "", 100)
			if err != nil {
				t.Fatal(err)
			}
			return len(docs)
		}
		if a, k, n := count(store.KindAccount), count(store.KindKey), count(store.KindNode); a != 1 || k != 2 || n != 1 {
			t.Errorf("%d accounts, %d keys, %d nodes; want 1, 2, 1", a, k, n)
		}
		sealed := apps[0].Box.Seal("x", core.NewSecret("y"))
		for i, app := range apps {
			if _, err := app.Box.Open("x", sealed); err != nil || app.Box.Hash("k") != apps[0].Box.Hash("k") {
				t.Errorf("instance %d has another keyring: %v", i, err)
			}
		}
	}
}

// TestDeletedProxyKeyStaysDeleted until its variable changes.
func TestDeletedProxyKeyStaysDeleted(t *testing.T) {
	env := map[string]string{"ADMIN_API_KEY": boss, "DEFAULT_PROXY_API_KEY": "alpha-proxy-key-123"}
	g := boottest.Start(t, env)
	id := g.Want(200, "GET", "/admin/api/keys", "", "x-admin-key", boss).List("keys")[0]["id"].(string)
	g.Want(200, "DELETE", "/admin/api/keys?id="+id, "", "x-admin-key", boss)
	restart(t, g, env)
	if status, _ := ask(g, "alpha-proxy-key-123"); status != 401 {
		t.Errorf("it came back: %d", status)
	}
	if !strings.Contains(notes(g), "proxy_api_key was deleted") {
		t.Errorf("notes:\n%s", notes(g))
	}
	env["DEFAULT_PROXY_API_KEY"] = "another-proxy-key-1"
	restart(t, g, env)
	if status, _ := ask(g, "another-proxy-key-1"); status != 503 { // no node, but known
		t.Errorf("the changed variable's key: %d", status)
	}
}
