package adminapi

import (
	"errors"
	"net/url"
	"strings"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

// bedrockInput is what only nodes of kind bedrock have; api and region are amazonQInput's. A credential is api_key, or access
// keys, or a profile, or default_chain, or a role, which any of these but the key may be given with.
type bedrockInput struct {
	AccessKeyID     *string `json:"access_key_id"`
	SecretAccessKey *string `json:"secret_access_key"`
	SessionToken    *string `json:"session_token"`
	AWSProfile      *string `json:"profile"`
	DefaultChain    *bool   `json:"default_chain"`
	RoleARN         *string `json:"role_arn"`
	ExternalID      *string `json:"external_id"`
	SessionName     *string `json:"role_session_name"`
	WorkspaceID     *string `json:"workspace_id"` // of Claude Platform on AWS
}

// texts are the fields by name.
func (in *bedrockInput) texts() [8]struct {
	name string
	from *string
} {
	return [8]struct {
		name string
		from *string
	}{{"access_key_id", in.AccessKeyID}, {"secret_access_key", in.SecretAccessKey}, {"session_token", in.SessionToken}, {"profile", in.AWSProfile},
		{"role_arn", in.RoleARN}, {"external_id", in.ExternalID}, {"role_session_name", in.SessionName}, {"workspace_id", in.WorkspaceID}}
}

// given is the first of the fields that the call has, "" when it has none.
func (in *bedrockInput) given() string {
	for _, f := range in.texts() {
		if f.from != nil {
			return f.name
		}
	}
	if in.DefaultChain != nil {
		return "default_chain"
	}
	return ""
}

// hasKeys reports whether a call brings whole access keys.
func (in *bedrockInput) hasKeys() bool {
	return text(in.AccessKeyID) != "" && text(in.SecretAccessKey) != ""
}

// applyBedrock puts what nodes of kind bedrock have into n, the credential apart. A missing field changes nothing, an empty one
// goes back to the default.
func (c *call) applyBedrock(n *core.Node, in *nodeInput) error {
	if n.Kind != core.KindBedrock {
		for _, f := range in.texts() {
			if text(f.from) != "" {
				return bad(f.name + ": only nodes of kind bedrock have one")
			}
		}
		if in.DefaultChain != nil && *in.DefaultChain {
			return bad("default_chain: only nodes of kind bedrock have one")
		}
		return nil
	}
	if in.API != nil {
		switch s := text(in.API); s {
		case "", bedrock.APIMessages, bedrock.APIInvoke, bedrock.APIConverse:
			n.API = s
		default:
			return bad("api: must be messages, invoke or converse")
		}
	}
	if in.Region != nil {
		s := text(in.Region)
		if s != "" && !upstream.ValidRegion(s) {
			return bad("region: must be the name of an AWS region such as us-east-1")
		}
		n.Region = s
	}
	if n.Region == "" && n.BaseURL == "" && !c.inOwnRegion(n) {
		return bad("region: is required, such as us-east-1, unless base_url names the host, or default_chain, a profile or a role_arn alone " +
			"borrows the identity of the gateway's machine and AWS_REGION is set there")
	}
	return checkBedrockHost(n)
}

// inOwnRegion reports whether a node without a region is in the machine's, as package bedrock has it.
func (c *call) inOwnRegion(n *core.Node) bool {
	cred, err := c.bedrockCredential(n)
	return err == nil && n.Credential != "" && cred.Ambient() && c.a.o.Region != ""
}

// checkBedrockHost refuses AWS's own hosts that do not have the node's API.
func checkBedrockHost(n *core.Node) error {
	u, err := url.Parse(n.BaseURL)
	if err != nil || n.BaseURL == "" {
		return nil
	}
	host := strings.ToLower(u.Hostname())
	has := func(service string) bool {
		return (strings.HasPrefix(host, service+".") || strings.HasPrefix(host, service+"-fips.")) && (strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".api.aws"))
	}
	switch messages := n.API == "" || n.API == bedrock.APIMessages; {
	case !messages && (has("bedrock-mantle") || has("aws-external-anthropic")):
		return bad("api: the host of base_url has the messages API only; choose messages, or a bedrock-runtime host, or leave base_url empty")
	case has("bedrock"):
		return bad("base_url: this host serves no model; enter a bedrock-runtime or bedrock-mantle host, or leave it empty")
	}
	return nil
}

// sealBedrock puts the credential into n. What the call gives replaces its part: another source, which is an API key, whole
// access keys, a profile or the default chain, takes the place of the one that was set; the other fields stand alone.
func (c *call) sealBedrock(n *core.Node, in *nodeInput) error {
	key, field := text(in.APIKey), in.given()
	if err := checkSecret("api_key", key); err != nil {
		return err
	}
	switch {
	case field == "" && in.APIKey == nil:
		return nil
	case field == "" && key == "":
		n.Credential = ""
		return nil
	case key != "":
		field = "api_key"
	}
	old, err := c.bedrockCredential(n)
	if err != nil {
		old = bedrock.Credential{} // one that cannot be read has nothing to keep
	}
	cred := old
	if !c.who.admin && !n.Own && (key != "" || in.hasKeys()) {
		cred = bedrock.Credential{} // nothing of what somebody else set goes with one's own keys
	}
	if err := mergeBedrock(&cred, in, key); err != nil {
		return err
	}
	if cred == old {
		return nil // sealed anew it would look changed
	}
	if _, err := bedrock.ParseCredential(cred.Secret()); err != nil {
		return atField(err, field)
	}
	if cred.Ambient() && !c.who.admin {
		return core.E(core.CodeForbidden, field+": borrows the identity of the machine that the gateway runs on, which only an administrator may; "+
			"send api_key, or access_key_id and secret_access_key, which a role_arn may go with")
	}
	n.Credential = c.a.o.Box.Seal(directory.CredentialOwner(n.ID), cred.Secret())
	return nil
}

// mergeBedrock puts what is given into cred.
func mergeBedrock(cred *bedrock.Credential, in *nodeInput, key string) error {
	id, secret, session, profile := text(in.AccessKeyID), text(in.SecretAccessKey), text(in.SessionToken), text(in.AWSProfile)
	keys := id != "" || secret != "" || session != ""
	chain := in.DefaultChain != nil && *in.DefaultChain
	if keys && !in.hasKeys() {
		need := "access_key_id"
		if id != "" {
			need = "secret_access_key"
		}
		return bad(need + ": is required: access_key_id and secret_access_key are sent together, and session_token with them where there is one")
	}
	if key != "" || keys || profile != "" || chain {
		cred.APIKey, cred.AccessKeyID, cred.SecretAccessKey, cred.SessionToken, cred.Profile, cred.DefaultChain = key, id, secret, session, profile, chain
		if key != "" { // no role goes with one
			cred.RoleARN, cred.ExternalID, cred.SessionName = "", "", ""
		}
	}
	if in.AWSProfile != nil && profile == "" {
		cred.Profile = ""
	}
	if in.DefaultChain != nil && !chain {
		cred.DefaultChain = false
	}
	for _, f := range [...]struct{ from, to *string }{{in.RoleARN, &cred.RoleARN}, {in.ExternalID, &cred.ExternalID}, {in.SessionName, &cred.SessionName}, {in.WorkspaceID, &cred.WorkspaceID}} {
		if f.from != nil {
			*f.to = text(f.from)
		}
	}
	if in.RoleARN != nil && cred.RoleARN == "" { // what belongs to a role goes with it, unless the call names it
		if in.ExternalID == nil {
			cred.ExternalID = ""
		}
		if in.SessionName == nil {
			cred.SessionName = ""
		}
	}
	return nil
}

// atField makes an error of package bedrock, which names a field or none, one of the API.
func atField(err error, field string) error {
	said := err.Error()
	for _, f := range [...]string{"access_key_id", "secret_access_key", "session_token", "role_session_name", "role_arn", "external_id", "workspace_id", "profile"} {
		if strings.HasPrefix(said, f+" ") {
			field = f
		}
	}
	return bad(field + ": " + said)
}

// bedrockCredential opens the credential of a bedrock node; the zero one when it has none.
func (c *call) bedrockCredential(n *core.Node) (bedrock.Credential, error) {
	if n.Credential == "" {
		return bedrock.Credential{}, nil
	}
	s, err := c.a.o.Box.Open(directory.CredentialOwner(n.ID), n.Credential)
	if err != nil {
		return bedrock.Credential{}, err
	}
	return bedrock.ParseCredential(s)
}

// movedBedrock names the field by which a bedrock node's credential becomes another identity, or is sent elsewhere, than before;
// "" when it does not. The name of a session counts: policies may go by it.
func (c *call) movedBedrock(before, n *core.Node) (string, error) {
	if n.Region != before.Region {
		return "region", nil
	}
	if n.Credential == before.Credential {
		return "", nil
	}
	old, err := c.bedrockCredential(before)
	if err != nil {
		return "", errors.New("the node's credential cannot be read; enter it again")
	}
	now, err := c.bedrockCredential(n)
	switch {
	case err != nil:
		return "", err
	case now.RoleARN != old.RoleARN:
		return "role_arn", nil
	case now.ExternalID != old.ExternalID:
		return "external_id", nil
	case now.SessionName != old.SessionName:
		return "role_session_name", nil
	case now.WorkspaceID != old.WorkspaceID:
		return "workspace_id", nil
	}
	return "", nil
}

// credentialView tells of a bedrock node's credential what is no secret. Whoever neither is an administrator nor set it himself
// sees the form only: the rest tells of somebody else's account at AWS.
type credentialView struct {
	Form        string `json:"form"`                    // api_key, access_keys, profile, default_chain; role: one assumed as the gateway's machine
	AccessKey   string `json:"access_key_id,omitempty"` // its last four characters
	Temporary   bool   `json:"temporary,omitempty"`     // there is a session token
	Profile     string `json:"profile,omitempty"`
	RoleARN     string `json:"role_arn,omitempty"`
	HasExternal bool   `json:"has_external_id,omitempty"`
	SessionName string `json:"role_session_name,omitempty"`
	WorkspaceID string `json:"workspace_id,omitempty"`
}

// viewCredential is nil for nodes of other kinds and without a credential, and for one that cannot be read.
func (c *call) viewCredential(n *core.Node) *credentialView {
	if n.Kind != core.KindBedrock || n.Credential == "" {
		return nil
	}
	cred, err := c.bedrockCredential(n)
	if err != nil {
		return nil
	}
	v := &credentialView{Form: "role"}
	switch {
	case cred.APIKey != "":
		v.Form = "api_key"
	case cred.AccessKeyID != "":
		v.Form = "access_keys"
	case cred.Profile != "":
		v.Form = "profile"
	case cred.DefaultChain:
		v.Form = "default_chain"
	}
	if c.who.admin || n.Own {
		v.AccessKey = cred.AccessKeyID[max(0, len(cred.AccessKeyID)-4):]
		v.Temporary, v.Profile, v.RoleARN, v.HasExternal = cred.SessionToken != "", cred.Profile, cred.RoleARN, cred.ExternalID != ""
		v.SessionName, v.WorkspaceID = cred.SessionName, cred.WorkspaceID
	}
	return v
}
