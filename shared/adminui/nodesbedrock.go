package adminui

import "net/url"

// bedrockCredential is what the API tells of the credential of a node of kind bedrock.
type bedrockCredential struct {
	Form        string `json:"form"`
	AccessKey   string `json:"access_key_id"` // its last characters
	Temporary   bool   `json:"temporary"`
	Profile     string `json:"profile"`
	RoleARN     string `json:"role_arn"`
	SessionName string `json:"role_session_name"`
	WorkspaceID string `json:"workspace_id"`
}

// BedrockAPIs are the ways to speak to Bedrock.
func (d *nodesView) BedrockAPIs() []string { return []string{"messages", "invoke", "converse"} }

// CredentialForms are the forms of a credential that the caller may enter; keep is the one that is set, or none.
func (d *nodesView) CredentialForms(admin bool) []string {
	forms := []string{"api_key", "access_keys"}
	if admin {
		forms = append(forms, "profile", "default_chain")
	}
	if d.Edit == nil {
		return append(forms, "keep")
	}
	forms = append([]string{"keep"}, forms...)
	if d.Edit.HasKey {
		forms = append(forms, "forget")
	}
	return forms
}

// KeptFields are those of a credential that a form sends only when they were changed: whoever does not see them must not take
// them away.
func (d *nodesView) KeptFields() []string {
	return []string{"role_arn", "role_session_name", "workspace_id"}
}

// fillBedrock puts what is no secret of a node of kind bedrock into the values of its form.
func fillBedrock(vs url.Values, n *nodeRow) {
	vs.Set("region", n.Region)
	vs.Set("api", n.API)
	vs.Set("credential", "keep")
	c := n.Cred
	if c == nil {
		return
	}
	vs.Set("profile", c.Profile)
	for name, value := range map[string]string{"role_arn": c.RoleARN, "role_session_name": c.SessionName, "workspace_id": c.WorkspaceID} {
		vs.Set(name, value)
		vs.Set("was_"+name, value)
	}
}

// bedrockInput reads what only nodes of kind bedrock have into the fields of a call.
func (v *view) bedrockInput(fields map[string]any, fresh bool) {
	fields["region"], fields["api"] = v.text("region"), v.text("api")
	send := func(names ...string) {
		for _, name := range names {
			if s := v.text(name); s != "" {
				fields[name] = s
			}
		}
	}
	switch v.form.Get("credential") {
	case "api_key":
		fields["api_key"] = v.text("api_key")
		if fresh && v.text("api_key") == "" {
			delete(fields, "api_key")
		}
	case "access_keys":
		send("access_key_id", "secret_access_key", "session_token")
	case "profile":
		fields["profile"] = v.text("profile")
	case "default_chain":
		fields["default_chain"] = true
	case "forget":
		fields["api_key"] = ""
		return
	}
	send("external_id")
	for _, name := range (*nodesView)(nil).KeptFields() {
		if s := v.text(name); s != v.form.Get("was_"+name) {
			fields[name] = s
		}
	}
}
