package adminapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/upstream/bedrock"
)

// secrets of these tests begin with bedrock-secret-, which no answer may show (see quiet).
const (
	bedrockKey  = `"api_key":"bedrock-secret-key"`
	accessKeys  = `"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"bedrock-secret-access"`
	ownKeys     = `"access_key_id":"AKIAIOSFODNN7TENANT1","secret_access_key":"bedrock-secret-own"`
	bedrockRole = `"role_arn":"arn:aws:iam::123456789012:role/sluice"`
)

// keyHeader is the header for the operator's key or an account's.
func keyHeader(key string) string {
	if key == poolAdmin {
		return "x-admin-key"
	}
	return "x-api-key"
}

// bedrock makes a node of an account with a key, and returns its id.
func (p *pool) bedrock(key, fields string) string {
	p.t.Helper()
	a := p.call("POST", "/admin/api/nodes", `{"kind":"bedrock","name":"b","region":"eu-west-1",`+fields+`}`, keyHeader(key), key)
	if a.status != 201 {
		p.t.Fatalf("%s: status %d: %s", fields, a.status, a.body)
	}
	return a.json()["id"].(string)
}

// opened is the credential that a node keeps.
func (p *pool) opened(id string) bedrock.Credential {
	p.t.Helper()
	n := p.node("/" + id)
	if n.Credential == "" {
		return bedrock.Credential{}
	}
	s, err := p.box.Open(directory.CredentialOwner(n.ID), n.Credential)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := bedrock.ParseCredential(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// nodeAs is a node as a caller sees it in the list.
func (p *pool) nodeAs(key, id string) map[string]any {
	p.t.Helper()
	var out struct{ Nodes []map[string]any }
	if err := json.Unmarshal([]byte(p.call("GET", "/admin/api/nodes?id="+id, "", keyHeader(key), key).body), &out); err != nil || len(out.Nodes) != 1 {
		p.t.Fatalf("node %s: %v, %v", id, out.Nodes, err)
	}
	return out.Nodes[0]
}

// TestBedrockCredentials: each form of a credential is kept whole, and shown without its secrets.
func TestBedrockCredentials(t *testing.T) {
	for _, c := range []struct {
		why, fields string
		want        bedrock.Credential
		shown       string // of "credential", to an administrator
	}{
		{"an API key", bedrockKey, bedrock.Credential{APIKey: "bedrock-secret-key"}, `{"form":"api_key"}`},
		{"access keys", accessKeys, bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access"}, `{"access_key_id":"MPLE","form":"access_keys"}`},
		{"temporary ones", `"access_key_id":"ASIAIOSFODNN7EXAMPLE","secret_access_key":"bedrock-secret-access","session_token":"bedrock-secret-session"`,
			bedrock.Credential{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access", SessionToken: "bedrock-secret-session"}, `{"access_key_id":"MPLE","form":"access_keys","temporary":true}`},
		{"a role by access keys", accessKeys + `,"role_arn":"arn:aws:iam::123456789012:role/sluice","external_id":"bedrock-secret-ext","role_session_name":"team"`,
			bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access", RoleARN: "arn:aws:iam::123456789012:role/sluice", ExternalID: "bedrock-secret-ext", SessionName: "team"},
			`{"access_key_id":"MPLE","form":"access_keys","has_external_id":true,"role_arn":"arn:aws:iam::123456789012:role/sluice","role_session_name":"team"}`},
		{"a profile", `"profile":"work"`, bedrock.Credential{Profile: "work"}, `{"form":"profile","profile":"work"}`},
		{"the machine's identity", `"default_chain":true`, bedrock.Credential{DefaultChain: true}, `{"form":"default_chain"}`},
		{"a role of the machine's", bedrockRole, bedrock.Credential{RoleARN: "arn:aws:iam::123456789012:role/sluice"}, `{"form":"role","role_arn":"arn:aws:iam::123456789012:role/sluice"}`},
		{"a workspace", bedrockKey + `,"workspace_id":"wrkspc_1"`, bedrock.Credential{APIKey: "bedrock-secret-key", WorkspaceID: "wrkspc_1"}, `{"form":"api_key","workspace_id":"wrkspc_1"}`},
		{"none yet", `"weight":1`, bedrock.Credential{}, `null`},
	} {
		p := newPool(t, nil)
		id := p.bedrock(poolAdmin, c.fields)
		if got := p.opened(id); got != c.want {
			t.Errorf("%s: another credential is kept", c.why)
		}
		n := p.nodeAs(poolAdmin, id)
		if got, _ := json.Marshal(n["credential"]); string(got) != c.shown {
			t.Errorf("%s: shown as %s, want %s", c.why, got, c.shown)
		}
		if n["region"] != "eu-west-1" || n["api"] != "messages" || n["base_url"] != "" || n["has_api_key"] != (c.shown != "null") {
			t.Errorf("%s: shown as %v", c.why, n)
		}
		for _, e := range p.entries() { // the log tells that there is one, and no part of it
			if s := fmt.Sprintf("%s %s", e.Before, e.After); strings.Contains(s, "bedrock-secret-") || strings.Contains(s, "AKIA") || strings.Contains(s, "arn:aws:iam") {
				t.Errorf("%s: the audit log shows %s", c.why, s)
			}
		}
	}
}

// TestBedrockUpdates: what a call leaves out stays, another source takes the place of the one before.
func TestBedrockUpdates(t *testing.T) {
	keys := bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access"}
	role := keys
	role.RoleARN, role.ExternalID = "arn:aws:iam::123456789012:role/sluice", "ext-1"
	withRole := accessKeys + `,` + bedrockRole + `,"external_id":"ext-1"`
	rotated := role
	rotated.AccessKeyID, rotated.SecretAccessKey = "AKIAIOSFODNN7TENANT1", "bedrock-secret-own"
	for _, c := range []struct {
		why, first, update string
		want               bedrock.Credential
	}{
		{"nothing", withRole, `{"weight":3}`, role},
		{"the same once more", withRole, `{` + bedrockRole + `}`, role},
		{"keys are rotated, the role stays", withRole, `{` + ownKeys + `}`, rotated},
		{"no role any more, and nothing of it", withRole, `{"role_arn":""}`, keys},
		{"an API key takes all its place", withRole, `{` + bedrockKey + `}`, bedrock.Credential{APIKey: "bedrock-secret-key"}},
		{"a profile takes that of keys", accessKeys, `{"profile":"work"}`, bedrock.Credential{Profile: "work"}},
		{"an empty key removes it", withRole, `{"api_key":""}`, bedrock.Credential{}},
		{"a session token goes with its keys", `"access_key_id":"ASIAIOSFODNN7EXAMPLE","secret_access_key":"bedrock-secret-1","session_token":"bedrock-secret-2"`, `{` + accessKeys + `}`, keys},
	} {
		p := newPool(t, nil)
		id := p.bedrock(poolAdmin, c.first)
		before := p.node("/" + id).Credential
		p.want(200, "PUT", "/admin/api/nodes?id="+id, c.update)
		if p.opened(id) != c.want {
			t.Errorf("%s: another credential is kept", c.why)
		}
		if same := p.node("/"+id).Credential == before; same != (c.want == role) {
			t.Errorf("%s: sealed anew: %t", c.why, !same)
		}
	}
}

// TestBedrockRefusals: what is wrong is told at its field.
func TestBedrockRefusals(t *testing.T) {
	p := newPool(t, nil)
	for _, c := range []struct{ field, body, why string }{
		{"region", bedrockKey, "neither region nor address"},
		{"region", `"region":"eu-west-1.evil.example",` + bedrockKey, "a region becomes part of a host"},
		{"region", `"region":"eu-west-1/",` + bedrockKey, "likewise"},
		{"api", `"region":"eu-west-1","api":"chat"`, "no such API"},
		{"api", `"api":"converse","base_url":"https://bedrock-mantle.eu-west-1.api.aws/anthropic"`, "mantle has no Converse"},
		{"base_url", `"base_url":"https://bedrock.eu-west-1.amazonaws.com"`, "the control plane"},
		{"base_url", `"base_url":"bedrock-runtime.eu-west-1.amazonaws.com"`, "no URL"},
		{"health_check_method", `"region":"eu-west-1","health_check_method":"head"`, "HEAD tells nothing"},
		{"secret_access_key", `"region":"eu-west-1","access_key_id":"AKIAIOSFODNN7EXAMPLE"`, "half of the keys"},
		{"access_key_id", `"region":"eu-west-1","secret_access_key":"bedrock-secret-1"`, "the other half"},
		{"access_key_id", `"region":"eu-west-1","session_token":"bedrock-secret-1"`, "a session of no keys"},
		{"session_token", `"region":"eu-west-1","access_key_id":"ASIAIOSFODNN7EXAMPLE","secret_access_key":"bedrock-secret-1"`, "temporary keys need it"},
		{"api_key", `"region":"eu-west-1","api_key":"AKIAIOSFODNN7EXAMPLE"`, "an access key's id in its place"},
		{"api_key", `"region":"eu-west-1","api_key":"bedrock-secret- with spaces"`, "no header's value"},
		{"api_key", `"region":"eu-west-1",` + bedrockKey + `,` + accessKeys, "two sources"},
		{"api_key", `"region":"eu-west-1",` + bedrockKey + `,` + bedrockRole, "no role by an API key"},
		{"role_arn", `"region":"eu-west-1",` + accessKeys + `,"role_arn":"arn:aws:iam::1:user/x"`, "no role"},
		{"external_id", `"region":"eu-west-1",` + accessKeys + `,` + bedrockRole + `,"external_id":"a b"`, "not what AWS takes"},
		{"role_session_name", `"region":"eu-west-1",` + accessKeys + `,` + bedrockRole + `,"role_session_name":"a b"`, "likewise"},
		{"role_arn", `"region":"eu-west-1",` + accessKeys + `,"external_id":"ext-1"`, "an external id without a role"},
		{"workspace_id", `"region":"eu-west-1",` + bedrockKey + `,"workspace_id":"a\r\nb"`, "no header's value"},
		{"default_chain", `"region":"eu-west-1","default_chain":"yes"`, "no boolean"},
	} {
		p.refused(c.field, "POST", "/admin/api/nodes", `{"kind":"bedrock",`+c.body+`}`, c.why)
	}
	p.refused("role_arn", "POST", "/admin/api/nodes", `{"base_url":"https://a.example.com",`+bedrockRole+`}`, "another kind")
	p.refused("default_chain", "POST", "/admin/api/nodes", `{"base_url":"https://a.example.com","default_chain":true}`, "another kind")
	id := p.bedrock(poolAdmin, bedrockKey)
	p.refused("region", "PUT", "/admin/api/nodes?id="+id, `{"region":""}`, "nothing would tell the host")
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"https://bedrock-runtime.us-east-1.amazonaws.com","region":""}`)
	p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"base_url":"","region":"us-east-1","api":"invoke"}`)
	if n := p.node("/" + id); n.BaseURL != "" || n.Region != "us-east-1" || n.API != "invoke" {
		t.Errorf("%+v", n)
	}
}

// TestBedrockOfTenants: a tenant borrows neither the machine's identity nor what an administrator set, by whatever field.
func TestBedrockOfTenants(t *testing.T) {
	const ambient = "default_chain"
	role := accessKeys + `,` + bedrockRole + `,"external_id":"ext-1"`
	for _, c := range []struct {
		why, set string // by an administrator; "own": by the tenant; "": nothing yet
		body     string
		refused  string // the field; empty: it passes
		keeps    bedrock.Credential
	}{
		{"the default chain", "", `"default_chain":true`, ambient, bedrock.Credential{}},
		{"a profile", "", `"profile":"work"`, "profile", bedrock.Credential{}},
		{"a role of the machine", "", bedrockRole, "role_arn", bedrock.Credential{}},
		{"a role with keys of one's own", "", ownKeys + `,` + bedrockRole, "", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7TENANT1", SecretAccessKey: "bedrock-secret-own", RoleARN: "arn:aws:iam::123456789012:role/sluice"}},
		{"another region for the machine's identity", `"default_chain":true`, `"region":"us-east-1"`, "region", bedrock.Credential{DefaultChain: true}},
		{"another address", `"default_chain":true`, `"base_url":"https://evil.example"`, "base_url", bedrock.Credential{DefaultChain: true}},
		{"another API", `"default_chain":true`, `"api":"invoke"`, "api", bedrock.Credential{DefaultChain: true}},
		{"the default is no other API", `"default_chain":true`, `"api":"messages","region":"eu-west-1"`, "", bedrock.Credential{DefaultChain: true}},
		{"a role of its choice", `"default_chain":true`, bedrockRole, "role_arn", bedrock.Credential{DefaultChain: true}},
		{"another role", bedrockRole, `"role_arn":"arn:aws:iam::123456789012:role/admin"`, "role_arn", bedrock.Credential{RoleARN: "arn:aws:iam::123456789012:role/sluice"}},
		{"no role in place of one", role, `"role_arn":""`, "role_arn", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access", RoleARN: "arn:aws:iam::123456789012:role/sluice", ExternalID: "ext-1"}},
		{"a role for the administrator's keys", accessKeys, bedrockRole, "role_arn", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access"}},
		{"another external id", role, `"external_id":"ext-2"`, "external_id", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access", RoleARN: "arn:aws:iam::123456789012:role/sluice", ExternalID: "ext-1"}},
		{"another name of the session", role, `"role_session_name":"root"`, "role_session_name", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access", RoleARN: "arn:aws:iam::123456789012:role/sluice", ExternalID: "ext-1"}},
		{"another workspace", bedrockKey, `"workspace_id":"wrkspc_2"`, "workspace_id", bedrock.Credential{APIKey: "bedrock-secret-key"}},
		{"what every account edits", `"default_chain":true`, `"weight":4,"models":["claude-*"]`, "", bedrock.Credential{DefaultChain: true}},
		{"what it sees, sent back", bedrockRole, bedrockRole + `,"profile":""`, "", bedrock.Credential{RoleARN: "arn:aws:iam::123456789012:role/sluice"}},
		{"keys of its own, wherever; nothing of the administrator's role goes with them", role, ownKeys + `,"region":"us-east-1","base_url":"https://own.example"`, "", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7TENANT1", SecretAccessKey: "bedrock-secret-own"}},
		{"half of the keys leaves the other half", accessKeys, `"base_url":"https://evil.example","access_key_id":"AKIAIOSFODNN7TENANT1"`, "secret_access_key", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "bedrock-secret-access"}},
		{"what it set itself", "own", `"region":"us-east-1","api":"converse",` + bedrockRole, "", bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7TENANT1", SecretAccessKey: "bedrock-secret-own", RoleARN: "arn:aws:iam::123456789012:role/sluice"}},
		{"the machine's identity after its own", "own", `"default_chain":true`, ambient, bedrock.Credential{AccessKeyID: "AKIAIOSFODNN7TENANT1", SecretAccessKey: "bedrock-secret-own"}},
	} {
		p := newPool(t, nil)
		own := p.key(core.DefaultAccount, `{"name":"own","nodes":true}`)
		var id string
		switch c.set {
		case "own":
			id = p.bedrock(own, ownKeys)
		case "":
			id = p.bedrock(own, `"weight":1`)
		default:
			id = p.bedrock(poolAdmin, c.set)
		}
		before := p.node("/" + id)
		a := p.call("PUT", "/admin/api/nodes?id="+id, `{`+c.body+`}`, "x-api-key", own)
		said, _ := a.json()["error"].(string)
		switch {
		case c.refused == "" && a.status != 200:
			t.Errorf("%s: status %d: %s", c.why, a.status, a.body)
		case c.refused != "" && (a.status != 403 && a.status != 400 || !strings.HasPrefix(said, c.refused+":")):
			t.Errorf("%s: status %d: %s", c.why, a.status, a.body)
		}
		if now := p.node("/" + id); p.opened(id) != c.keeps || c.refused != "" && (now.BaseURL != before.BaseURL || now.Region != before.Region || now.API != before.API || now.Credential != before.Credential) {
			t.Errorf("%s: the node changed, or keeps another credential", c.why)
		}
		if c.set == "" && c.refused != "" { // nor when it is made
			if a := p.call("POST", "/admin/api/nodes", `{"kind":"bedrock","region":"eu-west-1",`+c.body+`}`, "x-api-key", own); a.status != 403 || !strings.Contains(a.body, "administrator") {
				t.Errorf("%s, at once: status %d: %s", c.why, a.status, a.body)
			}
		}
	}
}

// TestBedrockShownToTenants: of a credential that an administrator set, an account sees the form; of its own the rest, too.
func TestBedrockShownToTenants(t *testing.T) {
	p := newPool(t, nil)
	own := p.key(core.DefaultAccount, `{"name":"own","nodes":true}`)
	theirs := p.bedrock(poolAdmin, accessKeys+`,`+bedrockRole+`,"external_id":"ext-1"`)
	if got, _ := json.Marshal(p.nodeAs(own, theirs)["credential"]); string(got) != `{"form":"access_keys"}` {
		t.Errorf("of the administrator's: %s", got)
	}
	if got, _ := json.Marshal(p.nodeAs(own, p.bedrock(own, ownKeys))["credential"]); string(got) != `{"access_key_id":"ANT1","form":"access_keys"}` {
		t.Errorf("of its own: %s", got)
	}
	beta := p.key("acc-beta", `{"name":"beta","nodes":true}`)
	for _, method := range []string{"PUT", "DELETE"} {
		if a := p.call(method, "/admin/api/nodes?id="+theirs, `{"region":"us-east-1"}`, "x-api-key", beta); a.status != 404 {
			t.Errorf("%s by another account: %d %s", method, a.status, a.body)
		}
	}
	if body := p.call("GET", "/admin/api/nodes", "", "x-api-key", beta).body; strings.Contains(body, "eu-west-1") {
		t.Errorf("another account sees %s", body)
	}
}
