package gateway_test

import (
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/upstream/upstreamtest"
)

// fakePool adds a node of Amazon Q with an API key over a fake.
func (r *rig) fakePool(name string, edits ...func(*core.Node)) *upstreamtest.AmazonQ {
	r.t.Helper()
	up := upstreamtest.NewAmazonQ(r.t)
	r.node(name, up.URL, append([]func(*core.Node){func(n *core.Node) {
		n.Kind = core.KindAmazonQ
		n.Credential = r.app.Box.Seal(directory.CredentialOwner(n.ID), core.NewSecret("ksk_test"))
	}}, edits...)...)
	return up
}

func TestAmazonQ_Basic(t *testing.T) {
	r := newRig(t)
	up := r.fakePool("q")
	up.Default(upstreamtest.Reply(upstreamtest.Text("Hel", "lo"), upstreamtest.ToolUse("tooluse_1", "get_weather", `{"city":`, `"Paris"}`)))
	body := `{"model":"claude-sonnet-4-5-20250929","max_tokens":100,"tools":[{"name":"get_weather","description":"d","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"hi"}]}`
	got := r.post(body)
	t.Log(got.status, got.body, got.header, up.Refused())
	got = r.post(strings.Replace(body, `{`, `{"stream":true,`, 1))
	t.Log(got.status, got.body, string(up.Last().Body))
	got = r.do("POST", chatPath, `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
	t.Log(got.status, got.body)
	got = r.do("GET", "/v1/models", "")
	t.Log(got.status, got.body)
}
