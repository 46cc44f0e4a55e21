package gateway_test

import (
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream/amazonq"
)

// For five minutes after an edit of its credential or region, a node was listed with the models of the account of before.
func TestModels_OfAnEditedNodeAreReadAnew(t *testing.T) {
	for why, edit := range map[string]func(*rig, *core.Node){
		"another credential": func(r *rig, n *core.Node) { r.login(amazonq.Credential{APIKey: "ksk_other"})(n) },
		"another region":     func(_ *rig, n *core.Node) { n.Region = "eu-central-1" },
		"another API":        func(_ *rig, n *core.Node) { n.API = "kiro" },
	} {
		r, _ := newPoolRig(t)
		up, id := r.fakePoolID("a")
		up.SetModels("claude-of-before")
		if ids, _ := modelIDs(t, r.do("GET", "/v1/models?limit=1000", "")); strings.Join(ids, " ") != "claude-of-before" {
			t.Fatalf("%s: listed %v", why, ids)
		}
		up.SetModels("claude-of-now")
		r.editNode(id, func(n *core.Node) { edit(r, n) })
		if ids, _ := modelIDs(t, r.do("GET", "/v1/models?limit=1000", "")); strings.Join(ids, " ") != "claude-of-now" {
			t.Errorf("%s: still listed %v", why, ids)
		}
	}
}
