package adminapi

import (
	"cmp"
	"strings"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/upstream/bedrock"
)

// applyAddress puts the address into n. One that came by a call is never the operator's own.
func applyAddress(n *core.Node, in *nodeInput) error {
	s := text(in.BaseURL)
	reset := in.BaseURL != nil && s == "" && findsHost(n.Kind)
	if s == n.BaseURL || s == "" && !reset {
		return nil
	}
	if err := config.CheckURL(s); (err != nil || len(s) > 500) && !reset {
		return bad("base_url: must be an absolute http or https URL such as https://api.anthropic.com")
	}
	n.BaseURL, n.Operator = s, false
	return nil
}

// checkMove refuses to send a credential to another place for a caller who is no administrator and does not bring the
// credential along, unless the account itself had set it: whoever may edit a node must not come by what someone else sealed
// in it. Of nodes from before this was kept it counts as someone else's. It keeps who set the credential of n.
func (c *call) checkMove(before, n *core.Node, in *nodeInput) error {
	fresh, need := in.APIKey != nil, "api_key"
	switch n.Kind { // where an update may give a part of a credential
	case core.KindAmazonQ:
		fresh = text(in.APIKey) != "" || text(in.RefreshToken) != "" && text(in.ClientSecret) != ""
		need = "refresh_token, client_id and client_secret, or api_key,"
	case core.KindBedrock:
		fresh = text(in.APIKey) != "" || in.hasKeys()
		need = "access_key_id and secret_access_key, or api_key,"
	}
	switch {
	case n.Credential == "" || c.who.admin && n.Credential != before.Credential:
		n.Own = false
	case fresh:
		n.Own = !c.who.admin
	}
	if c.who.admin || fresh || before.Credential == "" || n.Credential == "" || before.Own && !before.Operator {
		return nil
	}
	field, err := c.moved(before, n)
	if err != nil || field == "" {
		return err
	}
	return core.E(core.CodeForbidden, field+": decides where the node's credential is sent, which the account did not set; send "+need+" with it, or ask an administrator")
}

// moved names the field by which n sends its credential elsewhere than before, "" when it does not.
func (c *call) moved(before, n *core.Node) (string, error) {
	switch {
	case n.BaseURL != before.BaseURL:
		return "base_url", nil
	case n.AuthHeader != before.AuthHeader:
		return "auth_header", nil
	case cmp.Or(n.API, usualAPI(n.Kind)) != cmp.Or(before.API, usualAPI(n.Kind)):
		return "api", nil
	case n.Kind == core.KindBedrock:
		return c.movedBedrock(before, n)
	case regionOf(n) != regionOf(before) && n.Region != before.Region:
		return "region", nil
	case regionOf(n) != regionOf(before):
		return "profile_arn", nil
	case n.Kind != core.KindAmazonQ || n.Credential == before.Credential:
		return "", nil
	}
	old, err := c.credential(before)
	if err != nil {
		return "", err
	}
	now, err := c.credential(n)
	switch {
	case err != nil:
		return "", err
	case cmp.Or(now.Region, defaultRegion) != cmp.Or(old.Region, defaultRegion):
		return "token_region", nil
	case now.StartURL != old.StartURL:
		return "start_url", nil
	}
	return "", nil
}

// usualAPI is the API of a kind's nodes that name none.
func usualAPI(k core.Kind) string {
	if k == core.KindBedrock {
		return bedrock.APIMessages
	}
	return "q"
}

const defaultRegion = "us-east-1"

// regionOf is the region of the hosts that an amazonq node calls.
func regionOf(n *core.Node) string {
	var ofProfile string
	if parts := strings.Split(n.Profile, ":"); len(parts) > 3 {
		ofProfile = parts[3]
	}
	return cmp.Or(n.Region, ofProfile, defaultRegion)
}
