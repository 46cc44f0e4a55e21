package adminui

import (
	"net/url"
	"strings"
	"testing"
)

const bedrockNodes = `{"nodes":[
 {"id":"4","account_id":"default","name":"keys","kind":"bedrock","region":"eu-west-1","api":"invoke","has_api_key":true,"weight":1,"state":"online","health_check_method":"api","health_rate":100,
  "credential":{"form":"access_keys","access_key_id":"MPLE","has_external_id":true,"role_arn":"arn:aws:iam::123456789012:role/<b>","role_session_name":"team"}},
 {"id":"5","account_id":"default","name":"theirs","kind":"bedrock","region":"us-east-1","api":"messages","has_api_key":true,"weight":2,"state":"online","health_check_method":"api","health_rate":100,"credential":{"form":"default_chain"}}]}`

// TestBedrockForm: what the form and the page of a node of Bedrock show, and to whom.
func TestBedrockForm(t *testing.T) {
	for _, c := range []struct {
		why, me, target string
		has, lacks      []string
	}{
		{"a new one", adminMe, "/admin/nodes?new=bedrock", []string{`name="region"`, `value="converse"`, `name="secret_access_key" type="password" value=""`, `value="default_chain"`, `name="profile"`, `<option value="api" selected`}, []string{`value="head"`, `value="forget"`, `name="base_url" type="url" value="" required`}},
		{"a tenant's", tenantMe, "/admin/nodes?new=bedrock", []string{`value="access_keys"`, `name="role_arn"`}, []string{`value="default_chain"`, `value="profile"`, `name="profile"`}},
		{"an edit", adminMe, "/admin/nodes?edit=4", []string{`value="keep" selected`, `value="invoke" selected`, `value="eu-west-1"`, `name="role_arn" type="text" value="arn:aws:iam::123456789012:role/&lt;b&gt;"`, `name="was_role_session_name" value="team"`, `value="forget"`, `name="external_id" type="password" value=""`}, []string{"MPLE"}},
		{"the list has the region where there is no address", adminMe, "/admin/nodes", []string{"eu-west-1", "Amazon Bedrock", "Add Bedrock node"}, nil},
	} {
		body := askNodes(&nodeAPI{me: c.me, nodes: bedrockNodes}, "GET", c.target, nil, "").Body.String()
		for _, s := range c.has {
			if !strings.Contains(body, s) {
				t.Errorf("%s: lacks %q: %s", c.why, s, body)
			}
		}
		for _, s := range c.lacks {
			if strings.Contains(body, s) {
				t.Errorf("%s: has %q", c.why, s)
			}
		}
	}
	a := &nodeAPI{me: adminMe, nodes: bedrockNodes, reply: map[string]string{"GET /api/nodes/4/health-history": `{"checks":[]}`}}
	body := askNodes(a, "GET", "/admin/nodes/4", nil, "").Body.String()
	for _, s := range []string{"eu-west-1", "InvokeModel (Claude)", "Access keys · …MPLE", "role/&lt;b&gt;", "team"} {
		if !strings.Contains(body, s) {
			t.Errorf("the node's page lacks %q: %s", s, body)
		}
	}
}

// TestBedrockFormSends: only what the chosen form of a credential has, and of the rest what was changed.
func TestBedrockFormSends(t *testing.T) {
	base := url.Values{"kind": {"bedrock"}, "name": {"n"}, "region": {"eu-west-1"}, "api": {"messages"}, "health_check_method": {"api"},
		"api_key": {"the-key"}, "access_key_id": {"AKIA1"}, "secret_access_key": {"the-secret"}, "profile": {"work"}}
	for _, c := range []struct {
		why, target string
		form        url.Values
		has, lacks  []string
	}{
		{"an API key", "/admin/nodes?do=create&new=bedrock", url.Values{"credential": {"api_key"}}, []string{`"kind":"bedrock"`, `"api_key":"the-key"`, `"region":"eu-west-1"`, `"base_url":""`}, []string{"AKIA1", "the-secret", `"profile"`, "role_arn"}},
		{"access keys", "/admin/nodes?do=create&new=bedrock", url.Values{"credential": {"access_keys"}, "role_arn": {"arn:r"}, "external_id": {"e1"}}, []string{`"access_key_id":"AKIA1"`, `"secret_access_key":"the-secret"`, `"role_arn":"arn:r"`, `"external_id":"e1"`}, []string{"the-key", "session_token", `"profile"`}},
		{"a profile", "/admin/nodes?do=create&new=bedrock", url.Values{"credential": {"profile"}}, []string{`"profile":"work"`}, []string{"the-key", "AKIA1"}},
		{"the machine's identity", "/admin/nodes?do=create&new=bedrock", url.Values{"credential": {"default_chain"}}, []string{`"default_chain":true`}, []string{"the-key", "AKIA1", `"profile"`}},
		{"none yet", "/admin/nodes?do=create&new=bedrock", url.Values{"credential": {"keep"}}, nil, []string{"the-key", "AKIA1", `"api_key"`}},
		{"an edit keeps it, with what nobody touched", "/admin/nodes?do=update&edit=4", url.Values{"credential": {"keep"}, "role_arn": {"arn:r"}, "was_role_arn": {"arn:r"}}, nil, []string{"the-key", "AKIA1", `"api_key"`, "role_arn", "external_id", "workspace_id"}},
		{"who sees no role takes none away", "/admin/nodes?do=update&edit=5", url.Values{"credential": {"keep"}}, nil, []string{"role_arn", `"profile"`}},
		{"a role is taken away", "/admin/nodes?do=update&edit=4", url.Values{"credential": {"keep"}, "role_arn": {""}, "was_role_arn": {"arn:r"}}, []string{`"role_arn":""`}, nil},
		{"it is removed", "/admin/nodes?do=update&edit=4", url.Values{"credential": {"forget"}, "role_arn": {"arn:r"}}, []string{`"api_key":""`}, []string{"role_arn", "the-key"}},
	} {
		f := url.Values{}
		for _, vs := range []url.Values{base, c.form} {
			for k, v := range vs {
				f[k] = v
			}
		}
		a := &nodeAPI{me: adminMe, nodes: bedrockNodes}
		w := askNodes(a, "POST", c.target, f, "")
		sent := strings.Join(a.sent, "\n")
		if w.Code != 303 || len(a.sent) != 1 {
			t.Errorf("%s: %d: %s", c.why, w.Code, sent)
		}
		for _, s := range c.has {
			if !strings.Contains(sent, s) {
				t.Errorf("%s: lacks %s: %s", c.why, s, sent)
			}
		}
		for _, s := range c.lacks {
			if strings.Contains(sent, s) {
				t.Errorf("%s: has %s: %s", c.why, s, sent)
			}
		}
	}
}

// TestBedrockFormRefused: what was wrong stands at its field, and no secret comes back.
func TestBedrockFormRefused(t *testing.T) {
	a := &nodeAPI{me: adminMe, nodes: bedrockNodes, refuse: map[string]string{"POST " + nodesAPI: "session_token: session_token is missing"}}
	f := url.Values{"kind": {"bedrock"}, "region": {"eu-west-1"}, "credential": {"access_keys"}, "access_key_id": {"ASIA1"}, "secret_access_key": {"secret-one"}, "session_token": {""},
		"external_id": {"secret-two"}, "api_key": {"secret-three"}, "role_arn": {"arn:r"}}
	w := askNodes(a, "POST", "/admin/nodes?do=create&new=bedrock", f, "")
	body := w.Body.String()
	if w.Code != 400 || strings.Contains(body, "secret-") {
		t.Errorf("%d: %s", w.Code, body)
	}
	for _, s := range []string{"session_token is missing", `value="arn:r"`, `value="access_keys" selected`, "Enter it again"} {
		if !strings.Contains(body, s) {
			t.Errorf("lacks %q: %s", s, body)
		}
	}
}
