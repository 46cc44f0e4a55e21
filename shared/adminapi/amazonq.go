package adminapi

import (
	"regexp"
	"strings"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

const maxNotes = 1000 // characters

// amazonQInput is what only nodes of kind amazonq have. A login is refresh_token, client_id and client_secret; api_key, which
// all kinds have, takes its place.
type amazonQInput struct {
	API          *string `json:"api"`    // q or kiro
	Region       *string `json:"region"` // of the service's hosts
	Profile      *string `json:"profile_arn"`
	RefreshToken *string `json:"refresh_token"`
	ClientID     *string `json:"client_id"`
	ClientSecret *string `json:"client_secret"`
	TokenRegion  *string `json:"token_region"` // of the token service
	StartURL     *string `json:"start_url"`    // of the identity provider
}

// profileARN is a profile's name. Its region becomes part of a host's name.
var profileARN = regexp.MustCompile(`^arn:aws[a-z-]{0,10}:[a-z-]{1,30}:([a-z0-9-]{1,32}):[0-9]{12}:[A-Za-z0-9/_.-]{1,800}$`)

func checkProfile(s string) error {
	m := profileARN.FindStringSubmatch(s)
	if len(s) > 950 || m == nil || !upstream.ValidRegion(m[1]) {
		return bad("profile_arn: must be an ARN such as arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL")
	}
	return nil
}

func checkRegion(field, s string) error {
	if s != "" && !upstream.ValidRegion(s) {
		return bad(field + ": must be the name of an AWS region such as us-east-1")
	}
	return nil
}

// startURL checks the address of an identity provider as people copy it from a browser, with "#/" behind it. It is told to
// the token service and never called.
func startURL(s string) (string, error) {
	s, _, _ = strings.Cut(s, "#")
	if s != "" && (len(s) > 500 || !strings.HasPrefix(s, "https://") || config.CheckURL(s) != nil) {
		return "", bad("start_url: must be a https URL such as https://d-1234567890.awsapps.com/start")
	}
	return s, nil
}

// applyAmazonQ puts what only nodes of kind amazonq have into n, the credential apart. A missing field changes nothing, an
// empty one goes back to the default.
func applyAmazonQ(n *core.Node, in *nodeInput) error {
	fields := []struct {
		name string
		from *string
		to   *string
	}{{"api", in.API, &n.API}, {"region", in.Region, &n.Region}, {"profile_arn", in.Profile, &n.Profile}, {"refresh_token", in.RefreshToken, nil},
		{"client_id", in.ClientID, nil}, {"client_secret", in.ClientSecret, nil}, {"token_region", in.TokenRegion, nil}, {"start_url", in.StartURL, nil}}
	for _, f := range fields {
		s := text(f.from)
		if n.Kind == core.KindBedrock && (f.name == "api" || f.name == "region") {
			continue // applyBedrock's
		}
		if n.Kind != core.KindAmazonQ && s != "" {
			return bad(f.name + ": only nodes of kind " + ofKinds(f.name) + " have one")
		}
		if f.from == nil || f.to == nil || n.Kind != core.KindAmazonQ {
			continue
		}
		if s != "" {
			if err := checkPlace(f.name, s); err != nil {
				return err
			}
		}
		*f.to = s
	}
	return nil
}

// ofKinds are the kinds that have a field.
func ofKinds(field string) string {
	if field == "api" || field == "region" {
		return "amazonq and bedrock"
	}
	return "amazonq"
}

func checkPlace(field, s string) error {
	switch field {
	case "api":
		if s != "q" && s != "kiro" {
			return bad("api: must be q or kiro")
		}
		return nil
	case "region":
		return checkRegion(field, s)
	}
	return checkProfile(s)
}

// sealAmazonQ puts the credential into n: an API key, or a login, of which an update may give a part.
func (c *call) sealAmazonQ(n *core.Node, in *nodeInput) error {
	login := []struct {
		name string
		from *string
	}{{"refresh_token", in.RefreshToken}, {"client_id", in.ClientID}, {"client_secret", in.ClientSecret}, {"token_region", in.TokenRegion}, {"start_url", in.StartURL}}
	key, part := text(in.APIKey), ""
	if err := checkSecret("api_key", key); err != nil {
		return err
	}
	for _, f := range login {
		if err := checkSecret(f.name, text(f.from)); err != nil {
			return err
		}
		if text(f.from) != "" && part == "" {
			part = f.name
		}
	}
	owner := directory.CredentialOwner(n.ID)
	switch {
	case key != "" && part != "":
		return bad("api_key: takes the place of refresh_token, client_id and client_secret; send either")
	case key != "" && (!strings.HasPrefix(key, "ksk_") || len(key) < 12):
		return bad("api_key: must be a Kiro API key, which begins with ksk_; an account of Amazon Q has refresh_token, client_id and client_secret")
	case key != "":
		n.Credential = c.a.o.Box.Seal(owner, amazonq.Credential{APIKey: key}.Secret())
		if n.API == "" {
			n.API = "kiro" // whose keys they are
		}
		return nil
	case part == "" && in.APIKey != nil:
		n.Credential = ""
		return nil
	case part == "":
		return nil
	}
	cred, err := c.credential(n)
	if err != nil {
		cred = amazonq.Credential{} // one that cannot be read has nothing to keep
	}
	if err := mergeLogin(&cred, in); err != nil {
		return err
	}
	n.Credential = c.a.o.Box.Seal(owner, cred.Secret())
	return nil
}

// mergeLogin puts what is given of a login into cred.
func mergeLogin(cred *amazonq.Credential, in *nodeInput) error {
	start, err := startURL(text(in.StartURL))
	if err != nil {
		return err
	}
	if err := checkRegion("token_region", text(in.TokenRegion)); err != nil {
		return err
	}
	cred.APIKey = ""
	for _, f := range []struct {
		name, value string
		to          *string
		need        bool
	}{{"refresh_token", text(in.RefreshToken), &cred.RefreshToken, true}, {"client_id", text(in.ClientID), &cred.ClientID, true},
		{"client_secret", text(in.ClientSecret), &cred.ClientSecret, true}, {"token_region", text(in.TokenRegion), &cred.Region, false}, {"start_url", start, &cred.StartURL, false}} {
		if f.value != "" {
			*f.to = f.value
		}
		if f.need && *f.to == "" {
			return bad(f.name + " is required: a login has refresh_token, client_id and client_secret")
		}
	}
	return nil
}

// credential opens the credential of an amazonq node; the zero one when it has none.
func (c *call) credential(n *core.Node) (amazonq.Credential, error) {
	if n.Credential == "" {
		return amazonq.Credential{}, nil
	}
	s, err := c.a.o.Box.Open(directory.CredentialOwner(n.ID), n.Credential)
	if err != nil {
		return amazonq.Credential{}, err
	}
	return amazonq.ParseCredential(s)
}
