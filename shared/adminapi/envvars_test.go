package adminapi_test

import (
	"slices"
	"strings"
	"testing"

	"sluice/shared/adminapi"
	"sluice/shared/config"
	"sluice/shared/web"
)

// TestEnvironment: administrators see the settings, by the older system's names; nobody else does, and no secret is told.
func TestEnvironment(t *testing.T) {
	p := newPool(t, nil)
	p.o.Environment = config.Variables(map[string]string{"LOG_LEVEL": "debug", "ADMIN_API_KEY": "the-very-secret-key"})
	p.h = web.Wrap(adminapi.New(p.o), web.Options{Log: p.o.Log, Error: adminapi.WriteError, Draining: &web.Drain{}})
	all := p.want(200, "GET", "/api/envvars", "")
	rows := items(all, "data")
	sameKeys(t, "a variable", rows[0], "name", "category", "default_value", "description", "description_zh", "is_secret", "current_value", "is_set")
	if len(rows) < 50 || strings.Contains(all.body, "very-secret") {
		t.Errorf("%d variables: %s", len(rows), all.body)
	}
	some := items(p.want(200, "GET", "/api/envvars?category=log", ""), "data")
	at := slices.IndexFunc(some, func(v map[string]any) bool { return v["name"] == "LOG_LEVEL" })
	if at < 0 || len(some) >= len(rows) || some[at]["current_value"] != "debug" || some[at]["is_set"] != true || some[at]["default_value"] != "info" {
		t.Errorf("of the category log: %v", some)
	}
	if none := items(p.want(200, "GET", "/api/envvars?category=none", ""), "data"); len(none) != 0 {
		t.Errorf("of no category: %v", none)
	}
	cats := p.want(200, "GET", "/api/envvars/categories", "").json()["data"].([]any)
	if len(cats) != len(config.Categories()) || cats[0] != "basic" {
		t.Errorf("categories %v", cats)
	}
	key := p.key("acc-beta", `{"name":"own","nodes":true}`)
	for _, path := range []string{"/api/envvars", "/api/envvars/categories"} {
		if a := p.call("GET", path, "", "x-api-key", key); a.status != 403 {
			t.Errorf("%s to a tenant: %d %s", path, a.status, a.body)
		}
		if a := p.call("GET", path, ""); a.status != 401 {
			t.Errorf("%s to nobody: %d", path, a.status)
		}
	}
}
