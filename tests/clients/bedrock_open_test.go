package clients_test

import (
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// TestBedModeCLIWrongKey: Claude Code in its Bedrock mode asks again for minutes after a 403, whatever x-should-retry says, and
// once after a 401.
func TestBedModeCLIWrongKey(t *testing.T) {
	b := modeOn(t, invokeWay)
	r := b.inMode("ANTHROPIC_AUTH_TOKEN=no-such-key-anywhere-1", "Name a fruit")
	if r.exit == nil || len(b.asked()) != 1 || !strings.Contains(r.out+r.errs, "API key") {
		b.Errorf("%d requests: %s", len(b.asked()), r)
	}
}

// TestBedModeCLIConverse: a node with api converse gets the client's own id.
func TestBedModeCLIConverse(t *testing.T) {
	b := modeOn(t, converseWay)
	b.k.Default(up.Reply(up.Text("KIWI")).Usage(reported))
	b.checkMode(b.inMode(asToken, "Name a fruit"), "KIWI", 1)
}

// TestD8BedCLIPairs: effort within a conversation goes with its flag or not at all.
func TestD8BedCLIPairs(t *testing.T) {
	eachBed(t, []bedWay{mantleWay, runtimeWay, invokeWay}, func(b *bed) {
		b.k.Default(up.Reply(up.Text("KIWI")))
		if r := b.claude(with(asToken), "Name a fruit", "--model", model); r.exit != nil {
			b.Fatal(r)
		}
		met := false
		for _, k := range []*up.Bedrock{b.k, b.throttled, b.denied} {
			for _, c := range replies(k) {
				field := strings.Contains(string(c.Body), `"role":"system","output_config"`) || strings.Contains(string(c.Body), `],"output_config":{"effort":"medium"}}]`) ||
					strings.Contains(string(c.Body), `],"role":"system","output_config"`)
				flag := strings.Contains(c.Header.Get("Anthropic-Beta")+string(c.Body), "per-turn-control-2026-07-01")
				met = met || field
				if field && !flag {
					b.Errorf("%s got messages[].output_config without its flag", c.Host)
				}
			}
		}
		if !met {
			b.Log("Claude Code sends no messages[].output_config any more, or it was dropped")
		}
	})
}
