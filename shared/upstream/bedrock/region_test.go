package bedrock_test

import (
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

// TestRegionOfTheMachine: it is for nodes that borrow the machine's identity and say no region themselves, and for no others,
// which a tenant may have made.
func TestRegionOfTheMachine(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", keyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keySecret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	const chain = `{"default_chain":true}`
	for _, c := range []struct {
		why, credential string
		node            core.Node
		host, region    string // empty: refused
	}{
		{"the machine's identity", chain, core.Node{}, "bedrock-mantle.eu-central-1.api.aws", "eu-central-1"},
		{"by the runtime", chain, core.Node{API: "invoke"}, "bedrock-runtime.eu-central-1.amazonaws.com", "eu-central-1"},
		{"the node's own region", chain, core.Node{Region: "us-west-2"}, "bedrock-mantle.us-west-2.api.aws", "us-west-2"},
		{"the region of its host", chain, core.Node{BaseURL: "https://bedrock-runtime.us-west-2.amazonaws.com"}, "bedrock-runtime.us-west-2.amazonaws.com", "us-west-2"},
		{"a host that tells none", chain, core.Node{BaseURL: "https://relay.example"}, "relay.example", "eu-central-1"},
		{"keys of its own", keysJSON, core.Node{}, "", ""},
		{"an API key", apiKey, core.Node{}, "", ""},
		{"keys of its own, a host that tells none", keysJSON, core.Node{BaseURL: "https://relay.example"}, "", ""},
	} {
		rt := &capture{}
		cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Guarded: rt, Operator: rt}, Region: "eu-central-1"})
		r := request("{}")
		r.Model = "m.x"
		if c.host == "" {
			if f := failing(t, cl, target(c.credential, c.node), r); !strings.Contains(f.Reason, "has no region") || len(rt.got) != 0 {
				t.Errorf("%s: %+v", c.why, f)
			}
			continue
		}
		send(t, cl, target(c.credential, c.node), r)
		if len(rt.got) != 1 {
			t.Fatalf("%s: %d requests", c.why, len(rt.got))
		}
		if s, _, _, err := readStamp(rt.got[0].Header); err != nil || s.region != c.region || rt.got[0].URL.Host != c.host {
			t.Errorf("%s: %s, signed for %s, %v", c.why, rt.got[0].URL.Host, s.region, err)
		}
		rt.got = nil
		if _, err := cl.Models(t.Context(), target(c.credential, c.node)); err != nil || len(rt.got) == 0 || !strings.Contains(rt.got[0].URL.Host, c.region) && c.host != "relay.example" {
			t.Errorf("%s: its list: %v", c.why, err)
		}
	}
	at := bedrock.New(bedrock.Options{Region: "eu-central-1"})
	for _, c := range []struct {
		why  string
		node core.Node
		want string
	}{
		{"of the machine's region", core.Node{API: "invoke"}, "eu.anthropic.claude-opus-5-5"},
		{"of its own", core.Node{API: "invoke", Region: "us-west-2"}, "us.anthropic.claude-opus-5-5"},
		{"mantle has no profiles", core.Node{}, "anthropic.claude-opus-5-5"},
	} {
		if got := at.ModelID(&c.node, "claude-opus-5-5"); got != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
}
