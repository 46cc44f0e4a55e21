package bedrock_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
	"sluice/shared/upstream/upstreamtest"
)

// TestAgainstFake goes to the hosts' real names: the fake verifies signatures and scopes by a verifier of its own.
func TestAgainstFake(t *testing.T) {
	fake, err := upstreamtest.StartBedrock()
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	rt := fake.Transport()
	cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Guarded: rt, Operator: rt}})
	const body = `{"messages":[{"role":"user","content":"hi"}],"max_tokens":5`
	const platform = "https://aws-external-anthropic.us-east-1.api.aws"
	workspace := strings.Replace(keysJSON, "{", `{"workspace_id":"wrkspc_1",`, 1)
	for _, c := range []struct {
		why, credential string
		node            core.Node
		model, body     string
		stream, count   bool
	}{
		{"mantle", keysJSON, core.Node{Region: "us-east-1"}, "claude-opus-4-7", body + `,"model":"anthropic.claude-opus-4-7"}`, false, false},
		{"mantle, API key", apiKey, core.Node{Region: "eu-west-1"}, "claude-opus-4-7", body + `,"model":"anthropic.claude-opus-4-7"}`, false, false},
		{"platform", workspace, core.Node{BaseURL: platform}, "claude-sonnet-4-5", body + `,"model":"claude-sonnet-4-5"}`, false, false},
		{"invoke", keysJSON, core.Node{Region: "us-east-1", API: "invoke"}, "claude-sonnet-4-5", body + `,"anthropic_version":"bedrock-2023-05-31"}`, false, false},
		{"invoke, API key, streamed", apiKey, core.Node{Region: "us-east-1", API: "invoke"}, "claude-sonnet-4-5", body + `,"anthropic_version":"bedrock-2023-05-31"}`, true, false},
		{"count", keysJSON, core.Node{Region: "us-east-1", API: "invoke"}, "us." + sonnet, body + "}", false, true},
	} {
		r := request(c.body)
		r.Model, r.Stream = bedrock.ModelID(&c.node, c.model), c.stream
		if c.count {
			b, err := bedrock.CountBody(nil, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			counted := request(string(b))
			counted.Path, counted.Model = "/v1/messages/count_tokens", r.Model
			r = counted
		}
		status, text := send(t, cl, target(c.credential, c.node), r)
		if status != http.StatusOK {
			t.Errorf("%s: status %d: %s\n%v", c.why, status, text, fake.Refused())
		}
		if n, err := bedrock.ReadCount([]byte(text)); c.count && (err != nil || n <= 0) {
			t.Errorf("%s: got %d, %v: %s", c.why, n, err, text)
		}
	}
	for _, n := range []core.Node{{Region: "us-east-1"}, {Region: "us-east-1", API: "invoke"}} {
		list, err := cl.Models(t.Context(), target(keysJSON, n))
		if err != nil || len(list) == 0 {
			t.Errorf("models: %v, %v, %v", list, err, fake.Refused())
		}
		has := func(id string) bool {
			for _, m := range list {
				if m.ID == id {
					return true
				}
			}
			return false
		}
		if id := bedrock.ModelID(&n, "claude-opus-4-7"); !has(id) {
			t.Errorf("%s is not in the catalogue: %v", id, list)
		}
	}
	fake.SetRoles(upstreamtest.BedrockRole{ARN: roleARN, ExternalID: "tenant-7"})
	to := target(roleJSON, core.Node{Region: "us-east-1", API: "invoke"})
	for range 2 {
		r := request(body + `,"anthropic_version":"bedrock-2023-05-31"}`)
		r.Model = bedrock.ModelID(to.Node, "claude-opus-4-7")
		if status, text := send(t, cl, to, r); status != http.StatusOK {
			t.Errorf("role: status %d: %s", status, text)
		}
		for _, c := range fake.Calls() { // the second request meets expired keys
			if strings.HasPrefix(c.AccessKeyID, "ASIA") {
				fake.Expire(c.AccessKeyID)
			}
		}
	}
	to.Credential = core.NewSecret(strings.Replace(roleJSON, "tenant-7", "tenant-8", 1))
	if f := failing(t, cl, to, request("{}")); f.Class != upstream.Credential || !strings.Contains(f.Reason, "external id") {
		t.Errorf("wrong external id: %+v", f)
	}
	fake.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
	r := request(body + `,"model":"anthropic.claude-opus-4-7"}`)
	if status, text := send(t, cl, target(keysJSON, core.Node{Region: "us-east-1"}), r); status != http.StatusOK {
		t.Errorf("clock: status %d: %s", status, text)
	}
}
