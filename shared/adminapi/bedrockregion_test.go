package adminapi_test

import (
	"testing"

	"sluice/shared/adminapi"
	"sluice/shared/web"
)

// TestBedrockRegion: a node needs no region of its own where it borrows the machine's identity and the machine has one.
func TestBedrockRegion(t *testing.T) {
	for _, c := range []struct {
		why, machine, fields string
		ok                   bool
	}{
		{"the machine's identity and region", "eu-west-1", `"default_chain":true`, true},
		{"a role that is assumed from it", "eu-west-1", bedrockRole, true},
		{"the machine's region is not known", "", `"default_chain":true`, false},
		{"keys of its own", "eu-west-1", accessKeys, false},
		{"a role that they assume", "eu-west-1", accessKeys + "," + bedrockRole, false},
		{"an API key", "eu-west-1", bedrockKey, false},
		{"nothing", "eu-west-1", `"name":"b"`, false},
	} {
		p := newPool(t, nil)
		p.o.Region = c.machine
		p.h = web.Wrap(adminapi.New(p.o), web.Options{Log: p.o.Log, Error: adminapi.WriteError, Draining: &web.Drain{}})
		body := `{"kind":"bedrock",` + c.fields + `}`
		if !c.ok {
			p.refused("region", "POST", "/admin/api/nodes", body, c.why)
			continue
		}
		id := p.want(201, "POST", "/admin/api/nodes", body).json()["id"].(string)
		if n := p.node("/" + id); n.Region != "" {
			t.Errorf("%s: the node keeps %q", c.why, n.Region)
		}
		p.refused("region", "PUT", "/admin/api/nodes?id="+id, `{`+bedrockKey+`}`, "an API key afterwards")
	}
}
