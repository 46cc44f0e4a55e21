package adminapi_test

import (
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
)

// TestLesson_UpdateKeepsKeyAndCounters (1.18 of the older gateway: 0cf9294, an update without a key cleared it; persistence_fix,
// an update replaced the row and lost what had been counted).
func TestLesson_UpdateKeepsKeyAndCounters(t *testing.T) {
	p := newPool(t, nil)
	id := p.made("default", `{"base_url":"https://relay.example","name":"n","api_key":"sk-kept-1234567890"}`)
	rec := core.Settlement{RequestID: "r1", Account: "default", Node: id, Status: 200, StartedAt: p.clock(), EndedAt: p.clock(), Tokens: core.Tokens{Input: 50, Output: 7}}
	if err := p.store.Settle(t.Context(), store.SettleRequest{ID: "r1", Account: "default", Now: p.clock(), Zone: time.UTC, Record: rec}); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"base_url":"https://relay.example","name":"renamed"}`, `{"base_url":"https://relay.example","weight":7}`} {
		p.want(200, "PUT", "/admin/api/nodes?id="+id, body)
		n := p.seen("default", id)
		if n["has_api_key"] != true || n["requests"] != 1.0 || n["input_tokens"] != 50.0 || n["output_tokens"] != 7.0 {
			t.Errorf("after %s: %v", body, n)
		}
	}
	row, err := p.tables.Nodes.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := p.box.Open(directory.CredentialOwner(id), row.Value.Credential); err != nil || key.Reveal() != "sk-kept-1234567890" {
		t.Errorf("the key is %q, %v", key.Reveal(), err)
	}
}

// TestLesson_EnableForgives (1.9: enabling cleared the mark and not the breaker, so that the node stayed out).
func TestLesson_EnableForgives(t *testing.T) {
	p := newPool(t, nil)
	id := p.made("default", `{"base_url":"https://relay.example","name":"n","api_key":"k"}`)
	h := p.health.Node(t.Context(), id, "default")
	for range 5 {
		p.health.Failed(h, "n", "status 500", p.clock(), p.policy())
	}
	p.health.Cooled(h, "n", "", p.clock().Add(time.Hour), "status 429", p.clock())
	p.want(200, "POST", "/admin/api/nodes/disable", `{"id":"`+id+`"}`)
	p.want(200, "POST", "/admin/api/nodes/enable", `{"id":"`+id+`"}`)
	if n := p.seen("default", id); n["state"] != "online" || n["failed"] != false || n["fail_streak"] != 0.0 {
		t.Errorf("%v", n)
	}
}
